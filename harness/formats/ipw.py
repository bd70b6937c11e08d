"""Intelligence per Watt: ``analysis/accuracy.json`` of a profile, its ``summary.json``, and its records.

Layouts after github.com/HazyResearch/intelligence-per-watt at 0aa941d (``analysis/accuracy.py``,
``execution/runner.py``) and 11ba0dc (``energy-monitor/src/collectors``). Joules are taken, its ratios are not: one
divides by power, and for the other it fills joules in from power times time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from joulemark.meters.errors import UsageError

from ..record import Energy, Latency, MeterInfo, Station, Tokens
from .foreign import (
    UNKNOWN,
    Gathering,
    amount,
    count,
    each,
    energy_of,
    mapped,
    meter_of,
    read_json,
    station_of,
    text,
)
from .found import About, Found, Result
from .ipwrecords import Records, read_records

__all__ = ["ABOUT", "read"]

NAME: Final = "intelligence-per-watt"
ABOUT: Final = About(
    reads="a profile's analysis/accuracy.json, summary.json and data-*.arrow",
    gives="accuracy, and energy of all graded queries; of the records energy, latency and tokens of all queries",
    never="quality, for a guesser's score is not told; the energy's error; idle power; how long it took",
)

_GRADED = (
    "Answers were graded by Intelligence per Watt, by a model or by comparing them; what a guesser would score is not "
    "told, so there is an accuracy, no quality, and no rank."
)
_UNGRADED = "{model}: its queries were not graded (`ipw analyze`), or its accuracy.json was not named: energy alone."
_METERED = (
    "A query's joules begin where those of the last one ended, so that waiting and saving in between are within.",
    "Energy is that of all GPUs of the machine (on Apple's, of the whole chip); its error, the idle power and how long "
    "it took are not told.",
)
_POLLED = "Whether a GPU's counter of joules was read, or its power added up, is not told: graded polled, the lesser."
_NO_SUMMARY = (
    "{file}: no summary.json of {model} was named, so there is no telling what was measured: no energy, and no task."
)
_OTHERS = "data-*.arrow of {records} were named and not read: the accuracy.json in their folder is of {graded}."
_NO_TASK = "{model}: no summary.json of its records was named, which tells the task."


@dataclass(frozen=True, kw_only=True)
class _Profile:
    """What a summary tells of where accuracies come from."""

    folder: Path
    model: str
    task: str
    station: Station
    meter: MeterInfo | None


def read(files: Sequence[Path]) -> Found:
    """Read accuracies, records, and the summaries that belong to them, in any order.

    Raises:
        UsageError: A file is of another format, or cut short, or there is neither accuracy nor record.
    """
    gathering = Gathering(NAME)
    profiles: list[_Profile] = []
    graded: list[tuple[Path, Mapping[str, Any]]] = []
    once = list(each(files))
    records = read_records([file for file in once if file.suffix == ".arrow"])
    for file in once:
        if file.suffix == ".arrow":
            continue
        told = read_json(file)
        if told.get("analysis") == "accuracy":
            graded.append((file, told))
        elif "model" in told and "total_queries" in told:
            profiles.append(_profile(told, file, gathering))
        else:
            raise UsageError(
                f"{file}: it is neither the analysis/accuracy.json nor the summary.json of a profile; of its other "
                "files data-*.arrow are read."
            )
    if not graded and not records:
        raise UsageError(
            "A summary.json alone holds no results: name its analysis/accuracy.json (`ipw analyze`) too, or its "
            "data-*.arrow."
        )
    for sentence in [_GRADED] if graded else []:
        gathering.lack(sentence)
    for file, told in graded:
        _add(told, file, profiles, records, gathering)
    for own in records:
        if not any(_near(file, own.folder) for file, _ in graded):
            _add_records(own, profiles, gathering)
    # A summary tells when it was written, which may be long after measuring.
    return gathering.found()


def _profile(told: Mapping[str, Any], file: Path, gathering: Gathering) -> _Profile:
    model = text(told.get("model"))
    if model is None:
        raise UsageError(f"{file}: it names no model.")
    station, meter = _station(told, f"{file.name} of {model}", gathering)
    task = text(told.get("dataset")) or UNKNOWN
    return _Profile(folder=file.absolute().parent, model=model, task=task, station=station, meter=meter)


def _station(told: Mapping[str, Any], where: str, gathering: Gathering) -> tuple[Station, MeterInfo | None]:
    """The machine, and what measured its energy, as a summary or the records tell it."""
    gpu, system = mapped(told.get("gpu_info")), mapped(told.get("system_info"))
    meter = _meter(text(gpu.get("backend")))
    if meter is None:
        gathering.lack(f"{where}: it does not tell what measured the energy, so there is none.")
    station = station_of(
        gpus=_gpus(text(gpu.get("name"))),
        meters=[meter] if meter else (),
        cpu_model=text(system.get("cpu_brand")),
        cpu_count=count(system.get("cpu_count")) or None,
        system=text(system.get("os_name")),
        kernel=text(system.get("kernel_version")),
    )
    return station, meter


def _gpus(name: str | None) -> list[str]:
    """The GPUs of a machine, which its monitor tells as ``NAME xCOUNT`` where they are of one kind (``collectors``)."""
    several = _SEVERAL.fullmatch(name or "")
    return [several[1]] * min(int(several[2]), 1024) if several else [name] if name else []


_SEVERAL = re.compile(r"(.*\S) x([1-9]\d{0,3})")


def _meter(backend: str | None) -> MeterInfo | None:
    """By what its monitor does: NVML's counter of joules, or power added up where that fails; AMD's power; Apple's.

    Apple calls the figures of powermetrics estimates; the monitor takes CPU, GPU and neural engine together.
    """
    match (backend or "").lower():
        case ("nvml" | "amdsmi") as known:
            how, told = f"{backend}, every 50 ms", known == "amdsmi"
            return meter_of(f"{NAME}:gpu", grade="polled", scope="gpu", provenance=how, grade_told=told)
        case "powermetrics":
            return meter_of(f"{NAME}:soc", grade="modelled", scope="soc", provenance="powermetrics")
        case _:
            return None


def _add(
    told: Mapping[str, Any],
    file: Path,
    profiles: Sequence[_Profile],
    records: Sequence[Records],
    gathering: Gathering,
) -> None:
    summary = mapped(told.get("summary"))
    model = text(summary.get("model"))
    correct, scored = count(summary.get("correct")), count(summary.get("total_scored"))
    if model is None or correct is None or not scored or correct > scored:
        raise UsageError(f"{file}: it does not tell the model, and how many of how many answers were right.")
    for state in ("unevaluated", "failed"):
        if number := count(summary.get(state)):
            gathering.lack(f"{file.name} of {model}: {number} answers {state}; figures are those of the others.")
    profile = _belonging(file, model, profiles)
    if profile is None:
        gathering.lack(_NO_SUMMARY.format(file=file.name, model=model))
    gross_j = _joules(told, summary, scored, f"{file.name} of {model}", gathering) if profile else None
    energy = _energy(gross_j, profile.meter if profile else None, gathering)
    near = [own for own in records if _near(file, own.folder)]
    own = next((own for own in near if (own.model, own.queries) == (model, scored)), None)
    for other in near if own is None else []:
        gathering.lack(_OTHERS.format(records=_told(other.queries, other.model), graded=_told(scored, model)))
    gathering.add(
        Result(
            model=model,
            task=f"{NAME}/{profile.task if profile else UNKNOWN}",
            machine_id=gathering.place(profile.station if profile else station_of()),
            n_items=scored,
            accuracy=correct / scored,
            metric="accuracy",
            energy=energy,
            tokens=own.tokens if own else Tokens(),
            latency_s=own.latency_s if own else Latency(),
            ttft_s=own.ttft_s if own else Latency(),
        )
    )


def _add_records(own: Records, profiles: Sequence[_Profile], gathering: Gathering) -> None:
    """A profile whose answers nobody graded, or whose grades were not named."""
    gathering.lack(_UNGRADED.format(model=own.model))
    found = [profile for profile in profiles if (profile.folder, profile.model) == (own.folder, own.model)]
    if not found:
        gathering.lack(_NO_TASK.format(model=own.model))
    told = {"gpu_info": own.gpu_info, "system_info": own.system_info}
    station, meter = (found[0].station, found[0].meter) if found else _station(told, own.model, gathering)
    if own.gross_j is None:
        lack = f"{own.without_energy} of {own.queries} queries have no joules" if own.without_energy else "all have 0 J"
        gathering.lack(f"{own.model}: {lack}; there is no energy.")
    gathering.add(
        Result(
            model=own.model,
            task=f"{NAME}/{found[0].task if found else UNKNOWN}",
            machine_id=gathering.place(station),
            n_items=own.queries,
            energy=_energy(own.gross_j, meter, gathering),
            tokens=own.tokens,
            latency_s=own.latency_s,
            ttft_s=own.ttft_s,
        )
    )


def _energy(gross_j: float | None, meter: MeterInfo | None, gathering: Gathering) -> Energy | None:
    """With what is to be said of any."""
    energy = energy_of(gross_j, meter=meter) if meter else None
    if energy and meter:
        for sentence in (*_METERED, *([] if meter.grade_told else [_POLLED])):
            gathering.lack(sentence)
    return energy


def _told(queries: int, model: str) -> str:
    return f"{queries:,} {'query' if queries == 1 else 'queries'} of {model}"


def _near(file: Path, folder: Path) -> bool:
    """Whether an ``accuracy.json`` is that of a profile: in its folder, or its ``analysis``."""
    return folder.absolute() in file.absolute().parents[:2]


def _belonging(file: Path, model: str, profiles: Sequence[_Profile]) -> _Profile | None:
    """The summary of the profile that a file lies in; or else the only one of its model."""
    own = [profile for profile in profiles if profile.model == model]
    near = [profile for profile in own if _near(file, profile.folder)]
    candidates = near or own
    return candidates[0] if len(candidates) == 1 else None


def _joules(
    told: Mapping[str, Any], summary: Mapping[str, Any], scored: int, where: str, gathering: Gathering
) -> float | None:
    """Joules of all graded queries, without what was filled in; None where some of them have none.

    A query in which the counter did not step has 0 J, and the step is in another one's: the sum of all is right. The
    tool puts power times time in the place of such a 0, which counts these joules twice.
    """
    by_model = mapped(mapped(told.get("data")).get("efficiency"))
    energy = mapped(mapped(by_model.get(str(summary.get("model")))).get("energy"))
    total, known = amount(energy.get("total")), count(energy.get("count"))
    if total is None or known is None:
        gathering.lack(f"{where}: it has no sum of the queries' joules (data.efficiency), so there is no energy.")
        return None
    filled, zeros = count(energy.get("imputed_count")) or 0, count(energy.get("zero_values")) or 0
    filled_j = filled * (amount(energy.get("imputed_from_power")) or 0.0)
    if filled and (not filled_j or filled_j >= total):
        gathering.lack(f"{where}: its joules are filled in from power and time, not measured; there is no energy.")
        return None
    if known - filled + zeros != scored:
        gathering.lack(f"{where}: only {known - filled + zeros} of {scored} queries have joules; there is no energy.")
        return None
    if zeros:
        gathering.lack(f"{where}: {zeros} of {scored} queries have 0 J, counted with another; what fills them is out.")
    return total - filled_j
