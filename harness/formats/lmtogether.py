"""Several files of lm-eval's results as one run: each figure once, the earliest first, all of one descent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from joulemark.meters.errors import UsageError

from ..record import Energy, MeterInfo, Record, Station
from ..said import few
from .foreign import text
from .found import OURS, Found, Result

__all__ = ["each_once", "together"]

_NO_CARBON = "The files take a kilowatt-hour to stand for different amounts of carbon, so there is none in the run."
_NAMED = 6
_MEASURED = "Joulemark's export of what it measured"


def each_once(own: Mapping[Path, Sequence[Path]]) -> tuple[dict[Path, list[Path]], list[str]]:
    """Files of results, each with its samples; what a copy has is the first one's.

    Args:
        own: Samples by the results that they belong to.

    Returns:
        The same without copies; and a sentence for each copy.

    Raises:
        UsageError: One cannot be read.
    """
    first: dict[str, Path] = {}
    samples: dict[Path, dict[str, Path]] = {}
    said = []
    for file, files in own.items():
        kept = first.setdefault(_digest(file), file)
        if kept is not file:
            what = "is here twice" if kept.name == file.name else f"is a copy of {text(kept.name)}"
            said.append(f"{text(file.name)} {what}; it is taken once.")
        for each in files:
            samples.setdefault(kept, {}).setdefault(_digest(each), each)
    return {file: [*samples.get(file, {}).values()] for file in first.values()}, said


def together(found: Mapping[Path, Found]) -> Found:
    """All that was found in files of results.

    Raises:
        UsageError: Joulemark measured some of it and not all, they tell a meter of one machine in several ways, or
            have several energies of one measurement.
    """
    _refuse_mixture(found)
    _refuse_twice_metered(found)
    every = [*found.values()]
    results, missing = _once([result for one in every for result in one.results])
    dates = [one.created_at for one in every if one.created_at]
    whole = Found(
        results=tuple(_in_order(_apart(results))),
        stations=_stations(every),
        missing=tuple(dict.fromkeys([*(sentence for one in every for sentence in one.missing), *missing])),
        created_at=min(dates) if len(dates) == len(every) else None,
        origins=tuple({origin.model_dump_json(): origin for one in every for origin in one.origins}.values()),
        carbon=every[0].carbon,
    )
    return whole if all(one.carbon == every[0].carbon for one in every) else _without_carbon(whole)


def _refuse_mixture(found: Mapping[Path, Found]) -> None:
    """A run says of all its entrants where they are from, so that they come from one kind of place."""
    first, *others = ((file, _descent(one)) for file, one in found.items())
    for file, what in others:
        if what != first[1]:
            raise UsageError(
                f"{file}: it is {what}, and {first[0].name} is {first[1]}; import each into a run of its own, and name "
                "both runs to joulemark rank."
            )


def _descent(found: Found) -> str:
    if not found.origins:
        return "lm-eval's own"
    measured = all(origin.format == OURS for origin in found.origins)
    return _MEASURED if measured else "Joulemark's export of what was imported"


def _refuse_twice_metered(found: Mapping[Path, Found]) -> None:
    """What was metered anew by another trace is the same answers, and no further repeat."""
    seen: dict[str, tuple[Path, Energy | None]] = {}
    for file, one in found.items():
        for result in one.results if _descent(one) == _MEASURED else ():
            energy = result.energy and result.energy.model_copy(update={"carbon_g": None})
            kind = [energy.grade, energy.scope] if energy else None
            who = [result.machine_id, result.model, result.task, dict(result.setting), result.repeat, result.started_at]
            other_file, other = seen.setdefault(json.dumps([who, kind], sort_keys=True), (file, energy))
            if other_file != file and other != energy:
                raise UsageError(
                    f"{file}: of {text(result.model)} on {text(result.task)} it has the same measurement as "
                    f"{other_file.name}, with other energy; import each into a run of its own."
                )


def _once(results: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """Results that differ in more than their repeat, and what is to be said of the others.

    Of two that are alike, one without its questions, the other stays.
    """
    kept: dict[str, list[Result]] = {}
    copies: dict[str, dict[str, None]] = {}
    for result in results:
        alike = kept.setdefault(_figures(result), [])
        at = next((n for n, other in enumerate(alike) if _may_be_same(other.items, result.items)), None)
        if at is None:
            alike.append(result)
            continue
        if alike[at].items is None:
            alike[at] = replace(result, repeat=alike[at].repeat)
        copies.setdefault(text(result.model) or "", {})[text(result.task) or ""] = None
    said = [
        f"{name} on {few([*tasks], _NAMED)} is in these files twice; it is taken once."
        for name, tasks in copies.items()
    ]
    return [result for alike in kept.values() for result in alike], said


def _figures(result: Result) -> str:
    """All of it but which repeat it is, where it was read, and what came of single questions."""
    left_out = {"repeat", "items", "samples", "file"}
    told = {field.name: getattr(result, field.name) for field in fields(result) if field.name not in left_out}
    return json.dumps(told, sort_keys=True, default=_as_json)


def _as_json(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, Record) else dict(value)


def _may_be_same(one: pd.DataFrame | None, other: pd.DataFrame | None) -> bool:
    return one is None or other is None or one.equals(other)


def _stations(found: Sequence[Found]) -> tuple[Station, ...]:
    """The machines, each with the meters that any file has of it."""
    known: dict[str, Station] = {}
    for station in (station for one in found for station in one.stations):
        name = station.machine.machine_id
        known[name] = _with_meters(known[name], station) if name in known else station
    return tuple(known.values())


def _with_meters(station: Station, other: Station) -> Station:
    meters = {meter.id: meter for meter in station.meters}
    for meter in other.meters:
        if _claims(meters.setdefault(meter.id, meter)) != _claims(meter):
            raise UsageError(
                f"These files tell the meter {text(meter.id)} of one machine in two ways; import each into a run of "
                "its own."
            )
    return station.model_copy(update={"meters": tuple(meters.values())})


def _claims(meter: MeterInfo) -> tuple[object, ...]:
    """What ranks depend on, of all that is the meter's and not of the moment, as its rounding at some power is."""
    workload = meter.rel_u_workload if meter.grade == "modelled" else meter.rel_u_workload is None
    return meter.grade, meter.grade_told, meter.scope, meter.summed, meter.rel_u is None, meter.rel_u_scale, workload


def _without_carbon(found: Found) -> Found:
    """Where files take a kilowatt-hour to stand for different things, and a run has one."""
    results = [
        replace(result, energy=result.energy.model_copy(update={"carbon_g": None})) if result.energy else result
        for result in found.results
    ]
    return replace(found, results=tuple(results), missing=(*found.missing, _NO_CARBON), carbon=None)


def _apart(results: Sequence[Result]) -> list[Result]:
    """Models of one name that were loaded in several ways have that in their setting."""
    ways: dict[str, set[str]] = {}
    for result in results:
        ways.setdefault(result.model, set()).add(result.model_args)
    return [
        replace(result, setting={**result.setting, "model_args": result.model_args})
        if len(ways[result.model]) > 1
        else result
        for result in results
    ]


def _in_order(results: Sequence[Result]) -> list[Result]:
    """The earliest first, so that repeats are numbered in their order."""
    return sorted(results, key=lambda result: result.started_at or "")


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as problem:
        raise UsageError(f"{file}: {problem.strerror or problem}.") from problem
