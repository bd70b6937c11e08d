"""Files with a power trace, read once or on and on while a logger writes them.

They come as text with a header, as loggers, nvidia-smi and power analysers write them, or as Parquet, such as
Joulemark's own ``power/<cell_id>.parquet``.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .errors import MeterLost, UsageError
from .tracecolumns import Columns, Wanted, explain_no_header, find_columns, has_header
from .tracerows import Rows
from .traces import Trace
from .tracetimes import parse_zone

__all__ = ["TraceFile", "read_trace"]

MOST_BYTES = 50_000_000
"""Two days of ten rows a second; a day of them is read in some five seconds."""
_HEADER_WITHIN = 60


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
        wanted = Wanted(column=column, time=time, unit=unit, rows=dict(rows or {}), zone=parse_zone(zone))
        if _starts_with(path, b"PAR1"):
            self._rows = _read_parquet(path, wanted)
            self._layout: _Layout | None = None
        else:
            self._layout = _find_layout(path, wanted)
            self._rows = Rows(path, self._layout.columns, "line")
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


class _Layout(NamedTuple):
    """How a text file is laid out: number of the header's line, what splits columns, and which these are."""

    line: int
    delimiter: str
    columns: Columns


def _find_layout(path: Path, wanted: Wanted) -> _Layout:
    """The header: the first line of the first sixty that names a time and a power. What is before it, is not read."""
    with path.open("rb") as file:
        head = file.read(1_000_000)
    if not head.strip():
        raise UsageError(f"{path} is empty; start the logger first, and let it write a header")
    lines = _decode(path, head.rpartition(b"\n")[0] or head).split("\n")
    for number, line in enumerate(lines[:_HEADER_WITHIN], start=1):
        for delimiter in ",;\t":
            names = [str(cell).strip() for cell in _cells(line, delimiter)]
            if len(names) > 1 and has_header(names, wanted):
                columns = find_columns(path, names, wanted, decimal_comma=delimiter == ";")
                return _Layout(number, delimiter, columns)
    raise UsageError(explain_no_header(path, lines[0], wanted))


def _read_parquet(path: Path, wanted: Wanted) -> Rows:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # whatever pyarrow makes of a damaged file
        raise UsageError(f"{path} is a damaged Parquet file: {str(error).splitlines()[0][:100]}") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    names = [str(name) for name in frame.columns]
    if not has_header(names, wanted):
        raise UsageError(explain_no_header(path, ", ".join(names), wanted))
    rows = Rows(path, find_columns(path, names, wanted, decimal_comma=False), "row")
    for number, cells in enumerate(frame.itertuples(index=False, name=None), start=1):
        rows.add(number, cells)
    return rows


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
        raise UsageError(f"{path} cannot be read ({error.strerror})") from error
    if not path.is_file():
        raise UsageError(f"{path} is not a file")
    if found.st_size > MOST_BYTES:
        raise UsageError(
            f"{path} has {found.st_size / 1e6:,.0f} MB, and at most {MOST_BYTES / 1e6:.0f} MB are read: cut it to the "
            "time that matters, or record less often"
        )
    return found.st_dev, found.st_ino, found.st_size
