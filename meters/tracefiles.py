"""Files with a power trace: which columns hold what, and no guess where that is not certain.

They come as text with a header, as loggers, nvidia-smi and power analysers write them, or as Parquet, such as
Joulemark's own ``power/<cell_id>.parquet``.
"""

from __future__ import annotations

import csv
import math
import os
import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from .errors import MeterLost, UsageError
from .polling import MOST_MACHINE_W
from .traces import Trace

__all__ = ["TraceFile", "read_trace"]

MOST_BYTES = 50_000_000
"""Two days of ten rows a second; a day of them is read in some five seconds."""

_Zone = tzinfo | Literal["local"] | None


def read_trace(
    path: Path,
    *,
    column: str | None = None,
    time: str | None = None,
    unit: str | None = None,
    zone: str | None = None,
    rows: Mapping[str, str] | None = None,
    max_gap_s: float | None = None,
) -> Trace:
    """The power trace in a file: Parquet, or text with a header and columns split by commas, semicolons or tabs.

    Args:
        path: The file.
        column: Which column holds the power; in Joulemark's own traces, which domain. None for the only one.
        time: Which column holds the time; ``DATE+TIME`` where it takes two. None for the only one that looks like it.
        unit: Unit of the power, ``W``, ``mW``, ``uW`` or ``kW``; None where the column's name or the figures tell.
        zone: Time zone of stamps that name none: ``UTC``, ``local``, ``Europe/Berlin``.
        rows: What other columns must hold for a row to count, such as ``{"index": "0"}``.
        max_gap_s: As in `Trace`; None for ten times the median spacing, and at least a second.

    Raises:
        UsageError: It cannot be read so; names the file, the row and the column.
    """
    return TraceFile(path, column=column, time=time, unit=unit, zone=zone, rows=rows, max_gap_s=max_gap_s).trace


class TraceFile:
    """A file with a power trace, which may grow. Arguments as those of `read_trace`.

    Attributes:
        is_absolute: Whether its times are those of the day, in seconds since the epoch, rather than since some start.
    """

    def __init__(
        self,
        path: Path,
        *,
        column: str | None = None,
        time: str | None = None,
        unit: str | None = None,
        zone: str | None = None,
        rows: Mapping[str, str] | None = None,
        max_gap_s: float | None = None,
    ) -> None:
        """Reads what the file holds now.

        Raises:
            UsageError: It cannot be read so.
        """
        self.path = path
        self._max_gap_s = max_gap_s
        self._seen = _identity(path)
        self._offset = self._line = 0
        wanted = _Wanted(column=column, time=time, unit=unit, rows=dict(rows or {}), zone=_zone(zone))
        if _starts_with(path, b"PAR1"):
            self._rows = _read_parquet(path, wanted)
            self._layout: _Layout | None = None
        else:
            self._layout = _find_layout(path, wanted)
            self._rows = _Rows(path, self._layout.columns, "line")
            self._read_on(skip=self._layout.line)
        self._rows.refuse_mixture()
        self.trace = self._make_trace()

    @property
    def is_absolute(self) -> bool:
        """Whether its times are those of the day."""
        return bool(self._rows.is_absolute)

    @property
    def column(self) -> str:
        """The column that holds the power; in Joulemark's own traces, the domain."""
        columns = self._rows.columns
        domains = [value for index, value in columns.only.items() if columns.own and columns.names[index] == "domain"]
        return domains[0] if domains else columns.names[columns.power]

    def refresh(self) -> None:
        """Read the lines that were appended; a line counts once it has ended. Parquet files do not grow.

        Raises:
            UsageError: They cannot be read.
            MeterLost: The file was replaced or cut.
        """
        if self._layout is None:
            return
        now = _identity(self.path)
        if now == self._seen:
            return
        if now[:2] != self._seen[:2] or now[2] < self._seen[2]:
            raise MeterLost(f"{self.path} was replaced or cut while it was read; let the logger append to one file")
        before = len(self._rows.times)
        self._seen = now
        self._read_on()
        if len(self._rows.times) > before:
            self.trace = self._make_trace()

    def _make_trace(self) -> Trace:
        times, watts = (np.array(part, dtype=np.float64) for part in (self._rows.times, self._rows.watts))
        if len(times) == 0:
            raise UsageError(f"{self.path} {self._rows.why_none()}")
        spacing_s = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
        return Trace(
            times_s=times,
            watts=watts,
            begin_s=0.0 if self._rows.columns.own else None,
            max_gap_s=max(10 * spacing_s, 1.0) if self._max_gap_s is None else self._max_gap_s,
            label=str(self.path),
        )

    def _read_on(self, skip: int = 0) -> None:
        """Take in what follows the last line that had ended."""
        if self._layout is None:
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            new = file.read(MOST_BYTES)
        complete, newline, _ = new.rpartition(b"\n")
        self._offset += len(complete) + len(newline)
        lines = _decode(self.path, complete).split("\n") if newline else []
        for line in lines:
            self._line += 1
            if self._line > skip and line.strip() and not line.startswith("#"):
                self._rows.add(self._line, _cells(line, self._layout.delimiter))


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What the user said of the file."""

    column: str | None
    time: str | None
    unit: str | None
    rows: Mapping[str, str]
    zone: _Zone


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Where in a row to find what.

    Attributes:
        names: All of them.
        time: The time's, one or several that belong together.
        time_scale: Seconds of one unit of a number there; None where its size must tell.
        power: The power's.
        factor: Watts of one unit of a number there; None where the figures must tell.
        only: What other columns must hold for a row to count.
        keys: Those that name a device or a window, of which a trace has one.
        zone: Time zone of stamps that name none.
        own: Whether it is one of Joulemark's own traces, whose figures are means of the span before.
        decimal_comma: Whether numbers are written with one.
    """

    names: tuple[str, ...]
    time: tuple[int, ...]
    time_scale: float | None
    power: int
    factor: float | None
    only: Mapping[int, str]
    keys: tuple[int, ...]
    zone: _Zone
    own: bool
    decimal_comma: bool


class _Layout(NamedTuple):
    """How a text file is laid out: number of the header's line, what splits columns, and which these are."""

    line: int
    delimiter: str
    columns: _Columns


_UNITS = {"uW": 1e-6, "µW": 1e-6, "μW": 1e-6, "mW": 1e-3, "W": 1.0, "kW": 1e3}
_UNIT_SUFFIXES = {"uw": 1e-6, "mw": 1e-3, "milliwatts": 1e-3, "w": 1.0, "watt": 1.0, "watts": 1.0, "kw": 1e3}
_UNIT_IN_BRACKETS = re.compile(r"[\[(]\s*(\S+?)\s*[\])]\s*$")
_POWER_NAME = re.compile(r"(active[ _.]?)?power([ _.]draw)?|p([-_ ]?e?\d+)?", re.IGNORECASE)
_TIME_UNITS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_TIME_NAME = re.compile(
    r"(t|ts|time|timestamp|date ?time|date_time|elapsed|elapsed_time|epoch|unix_?time|seconds)"
    r"([ _]*[\[(]\s*(?P<inside>s|sec|seconds|ms|us|ns)\s*[\])]|[ _](?P<behind>s|sec|seconds|ms|us|ns))?",
    re.IGNORECASE,
)
_MILLISECOND_NAME = re.compile(r"ms|millisec(ond)?s?", re.IGNORECASE)
_KEYS = frozenset(
    {
        "window",
        "domain",
        "index",
        "uuid",
        "gpu_uuid",
        "gpu_bus_id",
        "pci.bus_id",
        "gpu_serial",
        "serial",
        "device",
        "gpu",
    }
    | {"host", "channel", "element", "sensor"}
)
_STAMP = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})[T ]+(\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d+))?\s*(Z|UTC|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)
_FIGURE = re.compile(r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(\S+)?")
_HEADER_WITHIN = 60
_MOST_RELATIVE_S, _LEAST_ABSOLUTE_S = 1e8, 1e9
"""Times since a start are below three years, those since the epoch between 2001 and 2286."""


class _Rows:
    """Times and watts of a table's rows, as they come."""

    def __init__(self, path: Path, columns: _Columns, what: str) -> None:
        self.columns = columns
        self.times, self.watts = array("d"), array("d")
        self.is_absolute: bool | None = None
        self._path, self._what = path, what
        self._scale = columns.time_scale
        self._factor = columns.factor
        self._keys: tuple[str, ...] | None = None

    def add(self, number: int, cells: Sequence[Any]) -> None:
        """Take in a row, unless it is not of those wanted; raises UsageError naming row and column."""
        columns = self.columns
        needed = max([*columns.time, columns.power, *columns.only, *columns.keys])
        if len(cells) <= needed:
            raise UsageError(
                f"{self._path}, {self._what} {number}: {len(cells)} columns, while the header has {len(columns.names)}"
            )
        if any(str(cells[index]).strip() != value for index, value in columns.only.items()):
            return
        self._refuse_other_key(number, tuple(str(cells[index]).strip() for index in columns.keys))
        try:
            seconds = self._seconds([cells[index] for index in columns.time])
        except ValueError as error:
            raise self._bad(number, columns.time[0], str(error)) from None
        if self.times and seconds <= self.times[-1]:
            raise self._bad(number, columns.time[0], _falling(seconds - self.times[-1]))
        try:
            watts = self._watts_of(cells[columns.power])
        except ValueError as error:
            raise self._bad(number, columns.power, str(error)) from None
        self.times.append(seconds)
        self.watts.append(watts)

    def why_none(self) -> str:
        """What to say where no row was taken in."""
        if not self.columns.only:
            return "holds a header and no row yet; start the logger first"
        wanted = " and ".join(f"{self.columns.names[index]} {value!r}" for index, value in self.columns.only.items())
        return f"holds no row with {wanted}"

    def refuse_mixture(self) -> None:
        """Raises UsageError where nvidia-smi's rows come in bursts: of several GPUs that nothing tells apart."""
        if not self.columns.names[self.columns.power].startswith("power.draw") or len(self.times) < 8:
            return
        spacings = np.sort(np.diff(np.array(self.times)))
        if spacings[len(spacings) // 4] < 0.05 * spacings[int(0.9 * len(spacings))]:
            raise UsageError(
                f"{self._path}: its rows come in bursts, so they seem to be of several GPUs; record one with "
                "nvidia-smi -i 0, or query index as well and say rows=index:0"
            )

    def _seconds(self, cells: Sequence[Any]) -> float:
        """Seconds since the epoch or the start; raises ValueError."""
        text = " ".join(str(cell).strip() for cell in cells[:2])
        if isinstance(cells[0], datetime) or len(cells) > 1 or _STAMP.match(text):
            moment = cells[0] if isinstance(cells[0], datetime) else _moment(text)
            seconds = _since_epoch(moment, self.columns.zone)
            return self._of_kind(seconds + (_number(cells[2]) / 1e3 if len(cells) > 2 else 0.0), is_absolute=True)
        value = _number(cells[0], decimal_comma=self.columns.decimal_comma)
        if self._scale is None:
            self._scale = _scale_of(value)
        seconds = value * self._scale
        return self._of_kind(seconds, is_absolute=_is_absolute(seconds))

    def _of_kind(self, seconds: float, *, is_absolute: bool) -> float:
        if self.is_absolute is None:
            self.is_absolute = is_absolute
        if self.is_absolute != is_absolute:
            raise ValueError("some times are of the day, others since some start")
        return seconds

    def _watts_of(self, cell: Any) -> float:
        text = str(cell).strip()
        found = _FIGURE.fullmatch(text.replace(",", ".") if self.columns.decimal_comma else text)
        if found is None:
            raise ValueError(f"{text[:40]!r} is no power, and missing is not 0; leave such rows out")
        unit = found[2]
        if unit is not None:
            if unit not in _UNITS or self._factor not in (None, _UNITS[unit]):
                raise ValueError(f"{text[:40]!r} is in another unit than the column")
            self._factor = _UNITS[unit]
        if self._factor is None:
            raise ValueError("neither the name nor the figures tell the unit; add unit=W, mW, uW or kW")
        watts = _number(found[1]) * self._factor
        if not 0 <= watts <= MOST_MACHINE_W:
            raise ValueError(f"{watts:g} W cannot be" + ("" if watts < 0 else "; is unit= right?"))
        return watts

    def _refuse_other_key(self, number: int, keys: tuple[str, ...]) -> None:
        if self._keys is None:
            self._keys = keys
        for index, first, now in zip(self.columns.keys, self._keys, keys, strict=True):
            if first != now:
                name = self.columns.names[index]
                how = f"column={first}" if name == "domain" and self.columns.own else f"rows={name}:{first}"
                raise self._bad(number, index, f"{now}, while before it was {first}: name one of them, {how}")

    def _bad(self, number: int, index: int, why: str) -> UsageError:
        return UsageError(f"{self._path}, {self._what} {number}, column {self.columns.names[index]!r}: {why}")


def _falling(by_s: float) -> str:
    if by_s == 0:
        return "the same time as in the row before (rows of several devices? then name one, such as rows=index:0)"
    return f"{-by_s:.6g} s before the row before (summer time ended? then use stamps with a zone)"


def _find_layout(path: Path, wanted: _Wanted) -> _Layout:
    """The header: the first line of the first sixty that names a time and a power. What is before it, is not read."""
    with path.open("rb") as file:
        head = file.read(1_000_000)
    if not head.strip():
        raise UsageError(f"{path} is empty; start the logger first, and let it write a header")
    lines = _decode(path, head.rpartition(b"\n")[0] or head).split("\n")
    for number, line in enumerate(lines[:_HEADER_WITHIN], start=1):
        for delimiter in ",;\t":
            names = [str(cell).strip() for cell in _cells(line, delimiter)]
            if len(names) > 1 and _time_of(names, wanted.time) and _powers_of(names, wanted):
                columns = _columns(path, names, wanted, decimal_comma=delimiter == ";")
                return _Layout(number, delimiter, columns)
    raise UsageError(_no_header(path, lines[0], wanted))


def _no_header(path: Path, first: str, wanted: _Wanted) -> str:
    time = repr(wanted.time) if wanted.time else "a time (t_s, time, timestamp, or date and time)"
    power = repr(wanted.column) if wanted.column else "a power (power_w, watts, power.draw [W], ...)"
    return (
        f"{path}: no line has a header with {time} and {power}; it begins with {first.strip()[:60]!r}. "
        "Name its columns with time= and column="
    )


def _columns(path: Path, names: Sequence[str], wanted: _Wanted, *, decimal_comma: bool) -> _Columns:
    """Which columns to read; raises UsageError where that is not certain."""
    own = _is_own(names)
    only = {_place(path, names, name): value for name, value in wanted.rows.items()}
    if own and wanted.column is not None and wanted.column not in names:
        only[names.index("domain")] = wanted.column
        powers = [names.index("power_w")]
    else:
        powers = _powers_of(names, wanted)
    if len(powers) > 1:
        listed = ", ".join(names[index] for index in powers)
        raise UsageError(f"{path} has several powers ({listed}): name one by column=")
    time = _time_of(names, wanted.time)
    if len(time) > 1 and wanted.time is None and not _is_date_and_time(names, time):
        listed = ", ".join(names[index] for index in time)
        raise UsageError(f"{path} has several times ({listed}): name one by time=")
    named = _TIME_NAME.fullmatch(names[time[0]])
    time_unit = named["inside"] or named["behind"] if named else None
    return _Columns(
        names=tuple(names),
        time=time,
        time_scale=_TIME_UNITS[time_unit.lower()] if time_unit else None,
        power=powers[0],
        factor=_unit_factor(wanted.unit) if wanted.unit else _factor_of(names[powers[0]]),
        only=only,
        keys=tuple(i for i, name in enumerate(names) if name.lower() in _KEYS and i not in (*only, powers[0], *time)),
        zone=wanted.zone,
        own=own,
        decimal_comma=decimal_comma,
    )


def _is_own(names: Sequence[str]) -> bool:
    """Whether these are the columns of ``power/<cell_id>.parquet``."""
    return {"window", "t_s", "domain", "power_w"} <= set(names)


def _place(path: Path, names: Sequence[str], name: str) -> int:
    if name not in names:
        raise UsageError(f"{path} has no column {name!r}; it has {', '.join(names)}")
    return names.index(name)


def _powers_of(names: Sequence[str], wanted: _Wanted) -> list[int]:
    """The columns that hold a power: the one named, or those whose names say so. Limits are none."""
    if wanted.column is not None and not _is_own(names):
        return [names.index(wanted.column)] if wanted.column in names else []
    return [
        index
        for index, name in enumerate(names)
        if (_factor_of(name) is not None or _POWER_NAME.fullmatch(name)) and "limit" not in name.lower()
    ]


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
    if (found := _UNIT_IN_BRACKETS.search(name)) is not None:
        return _UNITS.get(found[1])
    stem, _, suffix = name.lower().rpartition("_")
    return _UNIT_SUFFIXES.get(suffix) if stem or suffix in ("watt", "watts", "milliwatts") else None


def _unit_factor(unit: str) -> float:
    if unit not in _UNITS:
        raise UsageError(f"unit={unit} is none of W, mW, uW, kW")
    return _UNITS[unit]


def _read_parquet(path: Path, wanted: _Wanted) -> _Rows:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # whatever pyarrow makes of a damaged file
        raise UsageError(f"{path} is a damaged Parquet file: {str(error).splitlines()[0][:100]}") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    names = [str(name) for name in frame.columns]
    if not _time_of(names, wanted.time) or not _powers_of(names, wanted):
        raise UsageError(_no_header(path, ", ".join(names), wanted))
    rows = _Rows(path, _columns(path, names, wanted, decimal_comma=False), "row")
    for number, cells in enumerate(frame.itertuples(index=False, name=None), start=1):
        rows.add(number, cells)
    return rows


def _zone(name: str | None) -> _Zone:
    """Raises UsageError where there is no such time zone."""
    if name is None:
        return None
    if name == "local":
        return "local"
    if name.upper() in ("UTC", "Z"):
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise UsageError(f"there is no time zone {name!r}; write UTC, local, or such as Europe/Berlin") from error


def _moment(text: str) -> datetime:
    """A stamp such as ``2026-07-01T10:00:00.25+02:00`` or ``2026/07/01 10:00:00.250``; raises ValueError."""
    found = _STAMP.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no time; write YYYY-MM-DD HH:MM:SS with a zone, or a number of seconds")
    *parts, fraction, zone = found.groups()
    year, month, day, hour, minute, second = map(int, parts)
    microsecond = int((fraction or "0").ljust(6, "0")[:6])
    moment = datetime(year, month, day, hour, minute, second, microsecond)
    if zone is None:
        return moment
    if zone.upper() in ("Z", "UTC"):
        return moment.replace(tzinfo=UTC)
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return moment.replace(tzinfo=timezone(timedelta(minutes=minutes if zone[0] == "+" else -minutes)))


def _since_epoch(moment: datetime, zone: _Zone) -> float:
    if moment != moment:  # pandas' NaT is a datetime, too
        raise ValueError("no time")
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError(f"{moment} names no time zone; add zone=UTC, zone=local or such as zone=Europe/Berlin")
        # Anew, since those of pandas take times without a zone for UTC's.
        moment = datetime(*moment.timetuple()[:6], moment.microsecond)
        # Python takes times without a zone for local ones.
        moment = moment.replace(tzinfo=zone) if isinstance(zone, tzinfo) else moment
    return moment.timestamp()


def _scale_of(value: float) -> float:
    """Seconds of one unit of a time, by its size: those since a start are small, those since the epoch far apart."""
    if abs(value) < _MOST_RELATIVE_S:
        return 1.0
    for scale in (1.0, 1e-3, 1e-6, 1e-9):
        if _LEAST_ABSOLUTE_S <= value * scale < 10 * _LEAST_ABSOLUTE_S:
            return scale
    raise ValueError(f"{value:g} is no time in seconds since some start, nor in s, ms, us or ns since the epoch")


def _is_absolute(seconds: float) -> bool:
    """Whether it is a time of the day rather than one since some start; raises ValueError for neither."""
    if abs(seconds) < _MOST_RELATIVE_S:
        return False
    if _LEAST_ABSOLUTE_S <= seconds < 10 * _LEAST_ABSOLUTE_S:
        return True
    raise ValueError(f"{seconds:g} s is neither a time since some start nor one since the epoch")


def _number(cell: Any, *, decimal_comma: bool = False) -> float:
    text = str(cell).strip()
    try:
        value = float(text.replace(",", ".") if decimal_comma else text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]!r} is no number")
    return value


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line.strip("\r")], delimiter=delimiter, skipinitialspace=True), [])


def _decode(path: Path, content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{path} is UTF-16 (PowerShell writes that): save it as UTF-8")
    if b"\0" in content:
        raise UsageError(f"{path} is neither text nor Parquet")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _identity(path: Path) -> tuple[int, int, int]:
    """Device, file and size; raises UsageError where there is none, or far too much."""
    try:
        found = os.stat(path)  # noqa: PTH116 - quicker than Path
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); start the logger first") from error
    if not path.is_file():
        raise UsageError(f"{path} is not a file")
    if found.st_size > MOST_BYTES:
        raise UsageError(
            f"{path} has {found.st_size / 1e6:,.0f} MB, and at most {MOST_BYTES / 1e6:.0f} MB are read: cut it to the "
            "time that matters, or record less often"
        )
    return found.st_dev, found.st_ino, found.st_size
