"""Columns of a table with a trace: which hold the time and the power, or a counter of energy, and in what units.

By their names, or as the user says; where that leaves a doubt, an error says how to end it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError
from .tracetimes import Zone

__all__ = [
    "ENERGY_UNITS",
    "TIME_UNITS",
    "UNITS",
    "Columns",
    "Wanted",
    "explain_no_header",
    "find_columns",
    "has_header",
]

UNITS = {"uW": 1e-6, "µW": 1e-6, "μW": 1e-6, "mW": 1e-3, "W": 1.0, "kW": 1e3}
"""Watts of one."""
ENERGY_UNITS = {"uJ": 1e-6, "mJ": 1e-3, "J": 1.0, "kJ": 1e3, "mWh": 3.6, "Wh": 3.6e3, "kWh": 3.6e6}
"""Joules of one."""
_ENERGY_SUFFIXES = {unit.lower(): joules for unit, joules in ENERGY_UNITS.items()}
_SHELLYS = re.compile(r"(.*\.)?aenergy[._]total", re.IGNORECASE)
"""Watt-hours, says Shelly's documentation of ``Switch.GetStatus``."""
_UNIT_WORDS = {"milliwatts": 1e-3, "watt": 1.0, "watts": 1.0}
_UNIT_SUFFIXES = _UNIT_WORDS | {"uw": 1e-6, "mw": 1e-3, "w": 1.0, "kw": 1e3}
_IN_BRACKETS = re.compile(r"[\[(]\s*(\S+?)\s*[\])]\s*$")
_POWER_NAME = re.compile(r"(active[ _.]?)?power([ _.]draw)?|p([-_ ]?e?\d+)?", re.IGNORECASE)
TIME_UNITS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "min": 60.0, "h": 3600.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Seconds of one."""
_A_TIME_UNIT = "|".join(TIME_UNITS)
_TIME_NAME = re.compile(
    r"(t|ts|time|timestamp|date ?time|date_time|elapsed|elapsed_time|epoch|unix_?time|seconds)"
    rf"([ _]*[\[(]\s*({_A_TIME_UNIT})\s*[\])]|[ _]({_A_TIME_UNIT}))?",
    re.IGNORECASE,
)
_TIME_SUFFIX = re.compile(rf"[ _]({_A_TIME_UNIT})$", re.IGNORECASE)
_MILLISECOND_NAME = re.compile(r"ms|millisec(ond)?s?", re.IGNORECASE)
_DEVICES = """
index uuid gpu_uuid gpu_bus_id pci.bus_id gpu_serial serial device device_id device_name name gpu host node
channel outlet plug socket port phase element sensor entity_id topic
"""
_KEYS = frozenset({"window", "domain", *_DEVICES.split()})


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the user said of the file."""

    column: str | None
    time: str | None
    unit: str | None
    rows: Mapping[str, str]
    zone: Zone


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where in a row to find what.

    Attributes:
        names: All of them.
        time: The time's, one or several that belong together.
        time_unit: That of a number there, such as ``ms``, by its name; None where its size must tell.
        power: The power's, or that of a counter of energy.
        is_energy: Whether it is such a counter.
        factor: Watts, or joules, of one unit of a number there; None where the figures must tell.
        only: What other columns must hold for a row to count.
        keys: Those that name a device or a window, of which a trace has one.
        zone: Time zone of stamps that name none.
        own: Whether it is one of Joulemark's own traces, whose figures are means of the span before.
        decimal_comma: Whether numbers are written with one.
    """

    names: tuple[str, ...]
    time: tuple[int, ...]
    time_unit: str | None
    power: int
    is_energy: bool
    factor: float | None
    only: Mapping[int, str]
    keys: tuple[int, ...]
    zone: Zone
    own: bool
    decimal_comma: bool


def has_header(names: Sequence[str], wanted: Wanted) -> bool:
    """Whether these name a time and a power, or a counter of energy."""
    return bool(_time_of(names, wanted.time) and (_powers_of(names, wanted) or _energies_of(names, wanted)))


def find_columns(path: Path, names: Sequence[str], wanted: Wanted, *, decimal_comma: bool) -> Columns:
    """Which columns to read; raises UsageError where that is not certain."""
    own = _is_own(names)
    only = {_place(path, names, name): value for name, value in wanted.rows.items()}
    if own and wanted.column is not None and wanted.column not in names:
        only[names.index("domain")] = wanted.column
        powers = [names.index("power_w")]
    else:
        powers = _powers_of(names, wanted) or _energies_of(names, wanted)
    is_energy = _is_energy(names[powers[0]], wanted.unit)
    if len(powers) > 1:
        listed = ", ".join(names[index] for index in powers)
        what = "counters of energy" if is_energy else "powers"
        raise UsageError(f"{path} has several {what} ({listed}): name one by column=")
    time = _time_of(names, wanted.time)
    if len(time) > 1 and wanted.time is None and not _is_date_and_time(names, time):
        listed = ", ".join(names[index] for index in time)
        raise UsageError(f"{path} has several times ({listed}): name one by time=")
    return Columns(
        names=tuple(names),
        time=time,
        time_unit=_time_unit_of(names[time[0]]),
        power=powers[0],
        is_energy=is_energy,
        factor=_factor(path, names[powers[0]], wanted.unit),
        only=only,
        keys=tuple(i for i, name in enumerate(names) if name.lower() in _KEYS and i not in (*only, powers[0], *time)),
        zone=wanted.zone,
        own=own,
        decimal_comma=decimal_comma,
    )


def explain_no_header(path: Path, first: str, wanted: Wanted) -> str:
    """What to say where no header was found in a file that begins with ``first``."""
    time = repr(wanted.time) if wanted.time else "a time (t_s, time, timestamp, or date and time)"
    power = (
        repr(wanted.column) if wanted.column else "a power or energy (power_w, watts, power.draw [W], energy_wh, ...)"
    )
    return (
        f"{path}: no line has a header with {time} and {power}; it begins with {first.strip()[:60]!r}. "
        "Name its columns with time= and column="
    )


def _is_own(names: Sequence[str]) -> bool:
    """Whether these are the columns of ``power/<cell_id>.parquet``."""
    return {"window", "t_s", "domain", "power_w"} <= set(names)


def _place(path: Path, names: Sequence[str], name: str) -> int:
    if name not in names:
        raise UsageError(f"{path} has no column {name!r}; it has {', '.join(names)}")
    return names.index(name)


def _powers_of(names: Sequence[str], wanted: Wanted) -> list[int]:
    """The columns that hold a power: the one named, or those whose names say so. Limits are none."""
    if wanted.column is not None and not _is_own(names):
        return [index for index, name in enumerate(names) if name == wanted.column]
    return [
        index
        for index, name in enumerate(names)
        if (_factor_of(name) is not None or _POWER_NAME.fullmatch(name)) and "limit" not in name.lower()
    ]


def _energies_of(names: Sequence[str], wanted: Wanted) -> list[int]:
    """The columns that are counters of energy by their names, where the user names none."""
    found = [index for index, name in enumerate(names) if _joules_of(name) is not None]
    return found if wanted.column is None else []


def _is_energy(name: str, unit: str | None) -> bool:
    return unit in ENERGY_UNITS or (unit is None and _joules_of(name) is not None)


def _joules_of(name: str) -> float | None:
    """Joules of one unit of a counter, by its name: ``energy_kwh``, ``Energy (Wh)``, ``aenergy.total``, ``kWh``."""
    if _SHELLYS.fullmatch(name):
        return ENERGY_UNITS["Wh"]
    if (found := _IN_BRACKETS.search(name)) is not None:
        return ENERGY_UNITS.get(found[1])
    suffix = name.lower().rpartition("_")[2]
    return _ENERGY_SUFFIXES.get(suffix) if "energy" in name.lower() or suffix.endswith("wh") else None


def _time_of(names: Sequence[str], wanted: str | None) -> tuple[int, ...]:
    """The columns that hold the time: those named, or date and time with what belongs to them, or all likely ones."""
    if wanted is not None:
        parts = [wanted] if wanted in names else wanted.split("+")
        return tuple(names.index(part) for part in parts) if all(part in names for part in parts) else ()
    lower = [name.lower() for name in names]
    if "date" in lower and "time" in lower:
        fine = [index for index, name in enumerate(lower) if _MILLISECOND_NAME.fullmatch(name)]
        return (lower.index("date"), lower.index("time"), *fine[:1])
    return tuple(index for index, name in enumerate(names) if _TIME_NAME.fullmatch(name))


def _is_date_and_time(names: Sequence[str], time: Sequence[int]) -> bool:
    return names[time[0]].lower() == "date"


def _factor_of(name: str) -> float | None:
    """Watts of one unit of a column, by its name: ``power_mw``, ``Power (W)``, ``power.draw [W]``."""
    if (found := _IN_BRACKETS.search(name)) is not None:
        return UNITS.get(found[1], _UNIT_WORDS.get(found[1].lower()))
    stem, _, suffix = name.lower().rpartition("_")
    return _UNIT_SUFFIXES.get(suffix) if stem or suffix in _UNIT_WORDS else None


def _factor(path: Path, name: str, unit: str | None) -> float | None:
    """Watts, or joules, of one unit of a column, by its name or as a user says; raises UsageError where they differ."""
    by_name = _factor_of(name) if unit in UNITS or _joules_of(name) is None else _joules_of(name)
    if unit is None:
        return by_name
    told = (UNITS | ENERGY_UNITS).get(unit)
    if told is None:
        raise UsageError(f"unit={unit} is none of W, mW, uW, kW, and for a counter of energy {', '.join(ENERGY_UNITS)}")
    if by_name not in (None, told) or (unit in UNITS and _joules_of(name) is not None):
        raise UsageError(
            f"{path}: unit={unit}, but its column is called {name!r}; leave unit= out, or rename the column"
        )
    return told


def _time_unit_of(name: str) -> str | None:
    found = _IN_BRACKETS.search(name) or _TIME_SUFFIX.search(name)
    return found[1].lower() if found else None
