"""Files with a trace of power, or of a counter of energy, read once or on and on while a logger writes them.

They come as text with a header, as loggers, nvidia-smi and power analysers write them, or as Parquet, such as
Joulemark's own ``power/<cell_id>.parquet``.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import MeterLost, UsageError
from .tracecolumns import Columns, Wanted, explain_no_header, find_columns, has_header
from .tracerows import Rows
from .traces import Trace
from .tracetimes import parse_zone

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TraceFile"]

MOST_BYTES, MOST_FIGURES = 50_000_000, 20_000_000
"""Of text, two days of ten rows a second (a day of them is read in some five seconds); of Parquet, rows by columns."""
_HEADER_WITHIN = 60


class TraceFile:
    """A file with a power trace, which may grow: Parquet, or text whose columns commas, semicolons or tabs split.

    Attributes:
        path: Where it lies.
        trace: What it held when it was read last.
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
        step_w: float | None = None,
    ) -> None:
        """Reads what the file holds now.

        Args:
            path: The file.
            column: Which column holds the power; in Joulemark's own traces, which domain. None for the only one.
            time: Which column holds the time; ``DATE+TIME`` where it takes two. None for the only one that looks so.
            unit: Unit of the power, ``W``, ``mW``, ``uW`` or ``kW``, or of a counter of energy, such as ``Wh``; None
                where the column's name or the figures tell.
            zone: Time zone of stamps that name none: ``UTC``, ``local``, ``Europe/Berlin``.
            rows: What other columns must hold for a row to count, such as ``{"index": "0"}``.
            max_gap_s: As in `Trace`; None for ten times the median spacing, and at least a second.
            step_w: As in `Trace`; None for what the figures show.

        Raises:
            UsageError: It cannot be read so; names the file, the row and the column.
        """
        self.path = path
        self._max_gap_s, self._step_w = max_gap_s, step_w
        self._broken: UsageError | MeterLost | None = None
        self._seen = _identity(path)
        self._offset = self._line = 0
        wanted = Wanted(column=column, time=time, unit=unit, rows=dict(rows or {}), zone=parse_zone(zone))
        if _read(path, 4) == b"PAR1":
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
        """Whether its times are those of the day, in seconds since the epoch, rather than since some start."""
        return bool(self._rows.is_absolute)

    @property
    def column(self) -> str:
        """The column that holds the power; in Joulemark's own traces, the domain."""
        columns = self._rows.columns
        domains = [value for index, value in columns.only.items() if columns.own and columns.names[index] == "domain"]
        return domains[0] if domains else columns.names[columns.power]

    @property
    def is_of_whole_seconds(self) -> bool:
        """Whether no time has a fraction of a second, so that each may be cut to it."""
        return bool(np.all(self.trace.times_s == np.floor(self.trace.times_s)))

    @property
    def is_energy(self) -> bool:
        """Whether the column is a counter of energy, and the power made of what it gained."""
        return self._rows.columns.is_energy

    @property
    def row_s(self) -> float:
        """Median time from one row to the next, in seconds."""
        return float(np.median(np.diff(np.array(self._rows.times))))

    def fingerprint(self) -> tuple[str, int]:
        """SHA-256 of what was read, and its size in bytes: of a file that has grown since, of its beginning."""
        size = max(self._seen[2], self._offset)
        return hashlib.sha256(_read(self.path, size)).hexdigest(), size

    def refresh(self) -> None:
        """Read the lines that were appended; a line counts once it has ended. Parquet files do not grow.

        Raises:
            UsageError: They cannot be read, or could not before: what follows is not read without them.
            MeterLost: The file was replaced or cut.
        """
        if self._broken is not None:
            raise self._broken
        try:
            self._refresh()
        except (UsageError, MeterLost) as problem:
            self._broken = problem
            raise

    def _refresh(self) -> None:
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
        times, figures = (np.array(part, dtype=np.float64) for part in (self._rows.times, self._rows.figures))
        if len(times) == 0:
            raise UsageError(f"{self.path} {self._rows.why_none()}")
        if self.is_energy:
            return self._count_up(times, figures)
        own = self._rows.columns.own
        # Joulemark's own figures are computed, and written as they are.
        step_w = 0.0 if own else self._rows.step.size
        return Trace(
            times_s=times,
            watts=figures,
            begin_s=0.0 if own else None,
            max_gap_s=self._most_gap_s(times),
            step_w=step_w if self._step_w is None else self._step_w,
            label=str(self.path),
        )

    def _count_up(self, times_s: NDArray[np.float64], joules: NDArray[np.float64]) -> Trace:
        """Mean power from one rise of a counter to the next: between two, it shows what was, and not what is."""
        rises = np.flatnonzero(np.diff(joules) > 0) + 1
        if len(rises) < 2:
            raise UsageError(
                f"{self.path}: its counter {self.column!r} rises {len(rises)} times in {len(times_s)} rows, and energy "
                "takes at least 2"
            )
        times_s, joules = times_s[rises], joules[rises]
        return Trace(
            times_s=times_s[1:],
            watts=np.diff(joules) / np.diff(times_s),
            begin_s=float(times_s[0]),
            max_gap_s=self._most_gap_s(times_s),
            step_j=self._rows.step.size,
            label=str(self.path),
        )

    def _most_gap_s(self, times_s: NDArray[np.float64]) -> float:
        if self._max_gap_s is not None:
            return self._max_gap_s
        return max(10 * float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0, 1.0)

    def _read_on(self, skip: int = 0) -> None:
        """Take in what follows the last line that had ended."""
        assert self._layout is not None
        complete, newline, _ = _read(self.path, MOST_BYTES, self._offset).rpartition(b"\n")
        self._offset += len(complete) + len(newline)
        lines = _decode(self.path, complete).split("\n") if newline else []
        for line in lines:
            self._line += 1
            if self._line <= skip or not line.strip() or line.startswith("#"):
                continue
            try:
                cells = _cells(line, self._layout.delimiter)
            except csv.Error as error:
                raise UsageError(f"{self.path}, line {self._line} is no row of a table ({error})") from error
            self._rows.add(self._line, cells)


class _Layout(NamedTuple):
    """How a text file is laid out: number of the header's line, what splits columns, and which these are."""

    line: int
    delimiter: str
    columns: Columns


def _find_layout(path: Path, wanted: Wanted) -> _Layout:
    """The header: the first line of the first sixty that names a time and a power. What is before it, is not read."""
    head = _read(path, 1_000_000)
    if not head.strip():
        raise UsageError(f"{path} is empty; start the logger first, and let it write a header")
    lines = _decode(path, head.rpartition(b"\n")[0] or head).split("\n")
    for number, line in enumerate(lines[:_HEADER_WITHIN], start=1):
        for delimiter in ",;\t":
            with contextlib.suppress(csv.Error):  # What is no row is no header.
                names = [cell.strip() for cell in _cells(line, delimiter)]
                if len(names) > 1 and has_header(names, wanted):
                    columns = find_columns(path, names, wanted, decimal_comma=delimiter == ";")
                    return _Layout(number, delimiter, columns)
    raise UsageError(explain_no_header(path, lines[0], wanted))


def _read_parquet(path: Path, wanted: Wanted) -> Rows:
    """The rows of a Parquet file. A few bytes can stand for any number of them there, so they are counted first."""
    import pandas as pd
    import pyarrow.parquet as pq

    try:
        about = pq.read_metadata(path)
        if about.num_rows * about.num_columns > MOST_FIGURES:
            raise UsageError(
                f"{path} has {about.num_rows:,} rows of {about.num_columns} columns, and at most {MOST_FIGURES:,} "
                "figures are read: cut it to the time and the columns that matter"
            )
        frame = _with_index_as_column(pd.read_parquet(path))
    except UsageError:
        raise
    except Exception as error:  # whatever pyarrow makes of a damaged file
        raise UsageError(f"{path} is a damaged Parquet file: {str(error).splitlines()[0][:100]}") from error
    names = [str(name) for name in frame.columns]
    if not has_header(names, wanted):
        raise UsageError(explain_no_header(path, ", ".join(names), wanted))
    rows = Rows(path, find_columns(path, names, wanted, decimal_comma=False), "row")
    for number, cells in enumerate(frame.itertuples(index=False, name=None), start=1):
        rows.add(number, cells)
    return rows


def _with_index_as_column(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose index is a column as well, unless it only numbers the rows."""
    index = frame.index
    if index.dtype.kind == "M" and index.name is None and "time" not in frame:
        index.name = "time"
    return frame.reset_index(drop=index.names == [None])


def _read(path: Path, most: int, offset: int = 0) -> bytes:
    """At most so many bytes from a place on; raises UsageError where they cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(most)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from error


def _cells(line: str, delimiter: str) -> list[str]:
    """The cells of a line; raises csv.Error for one that is no row."""
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
