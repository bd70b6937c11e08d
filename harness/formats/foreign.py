"""Files of other tools, of which nothing can be trusted: read with care, and gathered into a `Found`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from joulemark.meters.errors import UsageError
from joulemark.meters.types import Grade, ScopeKind

from ..record import Accelerator, Energy, Idle, Machine, MeterInfo, Station
from .found import Found, Result

__all__ = [
    "J_PER_KWH",
    "J_PER_WH",
    "LEAST_S",
    "UNKNOWN",
    "Gathering",
    "amount",
    "count",
    "each",
    "energy_of",
    "listed",
    "mapped",
    "meter_of",
    "read_json",
    "read_text",
    "station_of",
    "text",
    "utc",
]

UNKNOWN: Final = "unknown"
J_PER_WH, J_PER_KWH = 3600.0, 3.6e6

_MOST = 1e15
_LEAST_J = 1e-9
"""What `Energy` takes."""
LEAST_S: Final = 1e-6
"""Of a window: rates over less are no numbers."""
_LONGEST = 300
_REASONS = 2


def read_text(file: Path) -> str:
    """The text of a file.

    Raises:
        UsageError: It cannot be read, or is no UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise UsageError(f"{file}: {problem.strerror or problem}.") from problem
    except UnicodeDecodeError as problem:
        raise UsageError(f"{file}: it is no text in UTF-8, so it is of another format.") from problem


def read_json(file: Path) -> Mapping[str, Any]:
    """The JSON object that a file holds.

    Raises:
        UsageError: It cannot be read, is cut short, or is no JSON object.
    """
    try:
        told = json.loads(read_text(file))
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise UsageError(f"{file}: it is no JSON, or is cut short ({problem.msg}, {where}).") from problem
    except (ValueError, RecursionError) as problem:  # Numbers of thousands of digits, or thousands of brackets.
        raise UsageError(f"{file}: its JSON is not one that a benchmark writes.") from problem
    if not isinstance(told, dict):
        raise UsageError(f"{file}: it holds no JSON object, so it is of another format.")
    return told


def each(files: Sequence[Path]) -> Iterator[Path]:
    """The files, each once.

    Raises:
        UsageError: There are none.
    """
    if not files:
        raise UsageError("No file to read: name one.")
    known: set[Path] = set()
    for file in files:
        whole = file.absolute()
        if whole not in known:
            known.add(whole)
            yield file


def mapped(value: object) -> Mapping[str, Any]:
    """It, if it is a JSON object; else an empty one."""
    return value if isinstance(value, Mapping) else {}


def listed(value: object) -> list[Any]:
    """It, if it is a list; else an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> str | None:
    """It, if it is a text with something in it, and as much of it as a table takes; else None."""
    if not isinstance(value, str):
        return None
    printable = "".join(c if c.isprintable() else " " for c in value[: 4 * _LONGEST])
    return " ".join(printable.encode("utf-8", "replace").decode().split())[:_LONGEST] or None


def amount(value: object) -> float | None:
    """It as a number, if it is one above zero that physics allows; else None: in these files zero is a failure."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 < number < _MOST else None


def count(value: object) -> int | None:
    """It as a whole number, if it is one from 0 on; else None."""
    if value in (0, "0") and not isinstance(value, bool):
        return 0
    number = amount(value)
    return int(number) if number is not None and number.is_integer() else None


def utc(seconds: object) -> str | None:
    """A time in seconds since 1970 as UTC in ISO 8601; None where it is none."""
    since = amount(seconds)
    try:
        return datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds") if since else None
    except (ValueError, OverflowError, OSError):
        return None


def energy_of(
    gross_j: float | None, *, meter: MeterInfo, window_s: float | None = None, scope: str | None = None
) -> Energy | None:
    """Joules of unknown error and unknown idle share; None where there are none, or none that can be.

    Args:
        gross_j: Of all items.
        meter: Where they come from.
        window_s: How long that took, in seconds; None where it is not told.
        scope: What they cover; None: as the meter.
    """
    if gross_j is None or not _LEAST_J < gross_j < _MOST:
        return None
    seconds = amount(window_s)
    return Energy(
        gross_j=gross_j,
        net_j=None,
        idle_j=None,
        u_j=None,
        rel_u_scale=None,
        rel_u_workload=None,
        grade=meter.grade,
        scope=scope or meter.scope,
        domains={meter.id: gross_j},
        idle_w=None,
        window_s=seconds if seconds and seconds >= LEAST_S else None,
        loops=1,
    )


def meter_of(meter_id: str, *, grade: Grade, scope: ScopeKind, provenance: str, grade_told: bool = True) -> MeterInfo:
    """A meter of another tool, of which no error is known; and maybe not even how it counts, but at best so."""
    return MeterInfo(
        id=meter_id,
        grade=grade,
        scope=scope,
        provenance=provenance,
        resolution_j=None,
        update_s=None,
        rel_u=None,
        rel_u_scale=None,
        rel_u_workload=None,
        source="the file tells no error",
        grade_told=grade_told,
    )


def station_of(
    *,
    gpus: Sequence[str] = (),
    meters: Sequence[MeterInfo] = (),
    cpu_model: str | None = None,
    cpu_count: int | None = None,
    memory_gb: float | None = None,
    system: str | None = None,
    kernel: str | None = None,
    software: Mapping[str, str] | None = None,
) -> Station:
    """A machine as far as a file tells of it; those that it describes alike are one."""
    told = (*gpus, *(f"{m.id} {m.grade} {m.scope}" for m in meters), cpu_model, cpu_count, memory_gb, system, kernel)
    machine = Machine(
        machine_id=hashlib.sha256("\0".join(("imported", *map(str, told))).encode()).hexdigest()[:12],
        hostname_hash=UNKNOWN,
        os=system or UNKNOWN,
        kernel=kernel or UNKNOWN,
        cpu_model=cpu_model or UNKNOWN,
        cpu_count=cpu_count,
        memory_gb=memory_gb,
        accelerators=tuple(Accelerator(name=gpu, uuid=UNKNOWN) for gpu in gpus),
    )
    idle = Idle(before_w=None, after_w=None, duration_s=None)
    return Station(machine=machine, software=dict(software or {}), meters=tuple(meters), idle=idle)


class Gathering:
    """What was found so far.

    Args:
        format_name: Of the format, for errors.
    """

    def __init__(self, format_name: str) -> None:
        self._format = format_name
        self._results: list[Result] = []
        self._met: set[tuple[Any, ...]] = set()
        self._stations: dict[str, Station] = {}
        self._missing: dict[str, None] = {}
        self._left_out: dict[str, None] = {}

    def place(self, station: Station) -> str:
        """Note a machine; returns its id."""
        return self._stations.setdefault(station.machine.machine_id, station).machine.machine_id

    def add(self, result: Result) -> None:
        """Take a result; the very same one is left out the second time."""
        thing = json.dumps(
            [
                result.model,
                result.model_args,
                result.task,
                result.task_version,
                dict(result.setting),
                result.machine_id,
            ],
            sort_keys=True,
        )
        energy = result.energy.model_dump_json() if result.energy else ""
        figures = (thing, energy, result.accuracy, result.n_items)
        if figures in self._met:
            self.lack(f"{result.model} on {result.task} is in these files twice; it is taken once.")
            return
        self._met.add(figures)
        self._results.append(result)

    def lack(self, sentence: str) -> None:
        """Note what is missing, or was left out; each sentence once."""
        self._missing[sentence] = None

    def leave_out(self, what: str) -> None:
        """Note a row that becomes no result, and why: ``FILE: row 3 names no model``."""
        self._left_out[what] = None
        self.lack(f"{what}; left out.")

    def found(self) -> Found:
        """All of it.

        Raises:
            UsageError: There is no result; what was left out is why.
        """
        results = tuple(self._results)
        if not results:
            left_out = [*self._left_out]
            more = f"; and {len(left_out) - _REASONS:,} more" if len(left_out) > _REASONS else ""
            why = "; ".join(left_out[:_REASONS]) + more or "they have no rows"
            raise UsageError(f"Nothing to import from these files of {self._format}: {why}.")
        ran_on = {result.machine_id for result in results}
        stations = tuple(station for name, station in self._stations.items() if name in ran_on)
        return Found(results=results, stations=stations, missing=tuple(self._missing))
