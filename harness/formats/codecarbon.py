"""codecarbon's ``emissions.csv``: energy of whole processes, of which nobody says what they answered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from joulemark.meters.types import ScopeKind

from ..record import Energy, MeterInfo, Station
from .foreign import (
    J_PER_KWH,
    J_PER_WH,
    Gathering,
    amount,
    count,
    each,
    energy_of,
    meter_of,
    station_of,
    text,
)
from .foreigncsv import read_table
from .found import About, Found, Result

__all__ = ["ABOUT", "UNKNOWN_ERROR", "WHOLE_PROCESS", "Emissions", "read", "read_emissions"]

ABOUT: Final = About(
    reads="emissions.csv",
    gives="energy of whole processes, modelled: CPU, memory and GPUs",
    never="quality; of how many answers the energy is; its error; idle power; when, for its times have no zone",
)

WHOLE_PROCESS = "whole_process"
_SCOPES: Mapping[str, ScopeKind] = {"cpu_energy": "package", "ram_energy": "dram", "gpu_energy": "gpu"}
_NEEDED = ("timestamp", "run_id", "duration", "energy_consumed", *_SCOPES)
UNKNOWN_ERROR = (
    "codecarbon's file does not say how far off its energy may be, nor whether it was read from counters or estimated: "
    "it is graded modelled, of unknown error, and nothing is ranked by it."
)
_WHOLE = "The energy is that of a whole process, its loading included, and nothing was taken off for idle power."
_UNCOUNTED = "What the process answered, and how often, is not told: there is neither quality nor energy per answer."


@dataclass(frozen=True, kw_only=True)
class Emissions:
    """A row: one process that was tracked.

    Attributes:
        project, run_id: As it was named.
        energy: Its joules; None where there are none in the row.
        lacks: Why it has no energy; empty where it has.
        duration_s: Seconds.
        ended: When it was written, by a clock on the wall, mostly of a zone that is not told; None where that is none.
        station: The machine.
        setting: How it was tracked.
    """

    project: str
    run_id: str
    energy: Energy | None
    lacks: str
    duration_s: float | None
    ended: datetime | None
    station: Station
    setting: Mapping[str, str]


def read(files: Sequence[Path]) -> Found:
    """Each process of ``emissions.csv`` files as a result with energy alone.

    Raises:
        UsageError: A file is none that codecarbon writes, or is cut short.
    """
    gathering = Gathering("codecarbon")
    for sentence in (UNKNOWN_ERROR, _WHOLE, _UNCOUNTED):
        gathering.lack(sentence)
    for file in each(files):
        rows, missing = read_emissions(file)
        for sentence in missing:
            gathering.lack(sentence)
        for row in rows:
            if row.energy is None:
                gathering.leave_out(f"{file.name}: run {row.run_id} of {row.project} {row.lacks}")
                continue
            gathering.add(_result(row, gathering.place(row.station)))
    return gathering.found()


def _result(row: Emissions, machine_id: str) -> Result:
    assert row.energy is not None
    assert row.energy.gross_j is not None
    return Result(
        model=row.project,
        task="codecarbon/process",
        setting={**row.setting, "run": row.run_id},
        machine_id=machine_id,
        other_metrics={"energy_wh": row.energy.gross_j / J_PER_WH},
        energy=row.energy,
        flags=(WHOLE_PROCESS,),
        duration_s=row.duration_s,
    )


def read_emissions(file: Path) -> tuple[list[Emissions], list[str]]:
    """The rows of a file, and what is missing in them.

    codecarbon writes a further row of a run each time it is asked how far it is, with all so far: the last one counts.

    Raises:
        UsageError: It is none that codecarbon writes, or is cut short.
    """
    missing: list[str] = []
    _, rows = read_table(file, _wrong)
    last: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 1):
        name = text(row.get("run_id")) or f"row {number}"
        if name in last:
            missing.append(f"{file.name}: of run {name} only the longest row counts, which holds the others.")
        if name not in last or (amount(row.get("duration")) or 0.0) >= (amount(last[name].get("duration")) or 0.0):
            last[name] = row
    found = [_emissions(row, name, f"{file.name}: run {name}", missing) for name, row in last.items()]
    return found, list(dict.fromkeys(missing))


def _wrong(columns: Sequence[str]) -> str | None:
    lost = [name for name in _NEEDED if name not in columns]
    return f"it is no emissions.csv of codecarbon: it has no column {', '.join(lost)}" if lost else None


def _emissions(row: Mapping[str, str], name: str, where: str, missing: list[str]) -> Emissions:
    meters, joules = [], {}
    version = text(row.get("codecarbon_version"))
    for column, scope in _SCOPES.items():
        if kwh := amount(row.get(column)):
            meter = _meter(scope, version)
            meters.append(meter)
            joules[meter.id] = kwh * J_PER_KWH
    seconds = amount(row.get("duration"))
    energy, lacks = _energy(joules, meters, seconds, amount(row.get("energy_consumed")))
    if energy is not None and (pue := _pue(row)) != 1:
        energy = _scaled(energy, 1 / pue)
        missing.append(f"{where}: the data centre's factor of {pue:g} (PUE) was taken off again.")
    tracked = text(row.get("tracking_mode"))
    if tracked and tracked != "machine":
        missing.append(f"{where}: the {tracked} alone was tracked, as codecarbon makes it out, and not the machine.")
    return Emissions(
        project=text(row.get("project_name")) or "unnamed project",
        run_id=name,
        energy=energy,
        lacks=lacks,
        duration_s=seconds,
        ended=_time(row.get("timestamp")),
        station=_station(row, meters, version),
        setting={"tracking_mode": tracked} if tracked else {},
    )


def _energy(
    joules: Mapping[str, float], meters: Sequence[MeterInfo], seconds: float | None, total_kwh: float | None
) -> tuple[Energy | None, str]:
    """All parts together, which must be what the row calls the total; or why there is none."""
    gross_j = math.fsum(joules.values())
    if meters and total_kwh is not None and not math.isclose(gross_j, total_kwh * J_PER_KWH, rel_tol=1e-3):
        return None, "has parts that do not add up to energy_consumed, so nobody knows which is right"
    if not meters or total_kwh is None:
        return None, "has no energy, or 0"
    made = energy_of(gross_j, meter=meters[0], window_s=seconds, scope="+".join(meter.scope for meter in meters))
    return (made.model_copy(update={"domains": dict(joules)}), "") if made else (None, "has no energy that can be")


def _time(value: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(value or "")
    except ValueError:
        return None


def _scaled(energy: Energy, factor: float) -> Energy:
    assert energy.gross_j is not None
    domains = {name: joules * factor for name, joules in energy.domains.items()}
    return energy.model_copy(update={"gross_j": energy.gross_j * factor, "domains": domains})


def _pue(row: Mapping[str, str]) -> float:
    """What codecarbon multiplied all energy by, as it was told of a data centre; at least 1."""
    return max(1.0, amount(row.get("pue")) or 1.0)


def _meter(scope: ScopeKind, version: str | None) -> MeterInfo:
    name = {"package": "cpu", "dram": "ram", "gpu": "gpu"}[scope]
    told = f"codecarbon {version}" if version else "codecarbon"
    return meter_of(
        f"codecarbon:{name}",
        grade="modelled",
        scope=scope,
        provenance=f"emissions.csv of {told}",
        grade_told=scope == "dram",  # Memory is always estimated.
    )


def _station(row: Mapping[str, str], meters: Sequence[MeterInfo], version: str | None) -> Station:
    gpus = count(row.get("gpu_count")) or 0
    model = text(row.get("gpu_model"))
    # "2 x NAME" is how codecarbon writes several of a kind.
    name = model.partition(" x ")[2] or model if model else "unknown GPU"
    software = {"codecarbon": version} if version else {}
    if python := text(row.get("python_version")):
        software["python"] = python
    memory = amount(row.get("ram_total_size"))
    return station_of(
        gpus=[name] * min(gpus, 1024),
        meters=meters,
        cpu_model=text(row.get("cpu_model")),
        cpu_count=count(row.get("cpu_count")) or None,
        memory_gb=None if memory is None else round(memory, 1),
        system=text(row.get("os")),
        software=software,
    )
