"""Intelligence per Watt: ``analysis/accuracy.json`` of a profile, with the ``summary.json`` of the same profile.

Layouts after github.com/HazyResearch/intelligence-per-watt at 0aa941d (``analysis/accuracy.py``,
``execution/runner.py``) and 11ba0dc (``energy-monitor/src/collectors``). Joules are taken, its ratios are not: one
divides by power, and for the other it fills joules in from power times time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from joulemark.meters.errors import UsageError

from ..record import MeterInfo, Station
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
    utc,
)
from .found import Found, Result

__all__ = ["read"]

NAME: Final = "intelligence-per-watt"

_ALWAYS = (
    "Answers were graded by Intelligence per Watt, by a model or by comparing them; what a guesser would score is not "
    "told, so there is an accuracy, no quality, and no rank.",
    "A query's joules begin where those of the last one ended, so that waiting and saving in between are within.",
    "Energy is that of all GPUs of the machine (on Apple's, of the whole chip); its error, the idle power and how long "
    "it took are not told.",
)
_POLLED = "Whether a GPU's counter of joules was read, or its power added up, is not told: graded polled, the lesser."
_NO_SUMMARY = (
    "{file}: no summary.json of {model} was named, so there is no telling what was measured: no energy, and no task."
)


@dataclass(frozen=True, kw_only=True)
class _Profile:
    """What a summary tells of where accuracies come from."""

    folder: Path
    model: str
    task: str
    station: Station
    meter: MeterInfo | None
    made_at: str | None


def read(files: Sequence[Path]) -> Found:
    """Read accuracies, and the summaries that belong to them, in any order.

    Raises:
        UsageError: A file is of another format, or cut short, or there is no accuracy.
    """
    gathering = Gathering(NAME)
    for sentence in _ALWAYS:
        gathering.lack(sentence)
    profiles: list[_Profile] = []
    graded: list[tuple[Path, Mapping[str, Any]]] = []
    for file in each(files):
        told = read_json(file)
        if told.get("analysis") == "accuracy":
            graded.append((file, told))
        elif "model" in told and "total_queries" in told:
            profiles.append(_profile(told, file, gathering))
        else:
            raise UsageError(
                f"{file}: it is neither the analysis/accuracy.json nor the summary.json of a profile; the other files "
                "of Intelligence per Watt are not read."
            )
    if not graded:
        raise UsageError("A summary.json alone holds no results: name its analysis/accuracy.json (`ipw analyze`) too.")
    for file, told in graded:
        _add(told, file, profiles, gathering)
    return gathering.found(max((p.made_at for p in profiles if p.made_at), default=None))


def _profile(told: Mapping[str, Any], file: Path, gathering: Gathering) -> _Profile:
    model = text(told.get("model"))
    if model is None:
        raise UsageError(f"{file}: it names no model.")
    gpu, system = mapped(told.get("gpu_info")), mapped(told.get("system_info"))
    name = text(gpu.get("name"))
    meter = _meter(text(gpu.get("backend")))
    if meter is None:
        gathering.lack(f"{file.name} of {model}: it does not tell what measured the energy, so there is none.")
    elif meter.grade == "polled":
        gathering.lack(_POLLED)
    station = station_of(
        gpus=[name] if name else (),
        meters=[meter] if meter else (),
        cpu_model=text(system.get("cpu_brand")),
        cpu_count=count(system.get("cpu_count")) or None,
        system=text(system.get("os_name")),
        kernel=text(system.get("kernel_version")),
    )
    task = text(told.get("dataset")) or UNKNOWN
    made_at = utc(told.get("generated_at"))
    return _Profile(folder=file.parent, model=model, task=task, station=station, meter=meter, made_at=made_at)


def _meter(backend: str | None) -> MeterInfo | None:
    """By what its monitor does: NVML's counter of joules, or power added up where that fails; AMD's power; Apple's.

    Apple calls the figures of powermetrics estimates; the monitor takes CPU, GPU and neural engine together.
    """
    match (backend or "").lower():
        case "nvml" | "amdsmi":
            return meter_of(f"{NAME}:gpu", grade="polled", scope="gpu", provenance=f"{backend}, every 50 ms")
        case "powermetrics":
            return meter_of(f"{NAME}:soc", grade="modelled", scope="soc", provenance="powermetrics")
        case _:
            return None


def _add(told: Mapping[str, Any], file: Path, profiles: Sequence[_Profile], gathering: Gathering) -> None:
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
    gathering.add(
        Result(
            model=model,
            task=f"{NAME}/{profile.task if profile else UNKNOWN}",
            machine_id=gathering.place(profile.station if profile else station_of()),
            n_items=scored,
            accuracy=correct / scored,
            metric="accuracy",
            energy=energy_of(gross_j, meter=profile.meter) if profile and profile.meter else None,
        )
    )


def _belonging(file: Path, model: str, profiles: Sequence[_Profile]) -> _Profile | None:
    """The summary of the profile that a file lies in; or else the only one of its model."""
    own = [profile for profile in profiles if profile.model == model]
    near = [profile for profile in own if profile.folder in (file.parent, file.parent.parent)]
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
