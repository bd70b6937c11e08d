"""The run directory: what is written survives a crash at any moment, and a full disk.

A cell exists if and only if its line in ``cells.jsonl`` does. Its files are written and flushed
first, then the line. A line that a crash cut short is cut off before the next one is appended.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import pandas as pd
from pydantic import ValidationError

from joulemark.meters.errors import MeasuringFailed, UsageError

from .items import COMPACTED, ITEMS, compact, gather, resume_command, stream
from .record import NO_ITEMS, Cell, Record, RunHeader

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Run",
    "RunWriter",
    "canonical_json",
    "nothing_freed",
    "read_run",
    "refuse_used",
    "replace_file",
    "resume_command",
    "seal",
]

HEADER, CELLS, POWER, SAMPLES, LOGS = "run.json", "cells.jsonl", "power", "samples", "logs"


@dataclass(frozen=True)
class Run:
    """A run as it was read back.

    Attributes:
        path: Its directory.
        header: ``run.json``.
        cells: The last line of each cell id, in the order of ``cells.jsonl``, failed ones included.
        notes: What was wrong with the files, a sentence each; a torn last line, for instance.
    """

    path: Path
    header: RunHeader
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Run, ...]:
        """A run for each machine that measured it, with that machine's cells and meters; itself where there is one."""
        if not self.header.stations:
            return (self,)
        own: dict[str, list[Cell]] = {station.machine.machine_id: [] for station in self.header.stations}
        for cell in self.cells:
            own.setdefault(cell.machine_id, []).append(cell)
        return tuple(
            replace(self, header=self.header.at(station), cells=tuple(own[station.machine.machine_id]))
            for station in self.header.stations
            if own[station.machine.machine_id]
        )

    def items(self) -> pd.DataFrame:
        """Rows of all finished cells that have any: ``cell_id`` and the columns of `ITEM_COLUMNS`."""
        finished = _with_items(self.cells)
        compacted = self.path / COMPACTED
        if compacted.exists():
            frame = pd.read_parquet(compacted)
            if set(finished) == set(frame["cell_id"].unique()):
                return frame
        return gather(self.path, finished)

    def item_batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The same rows in a stream, whatever their number; see `items.stream`, whose errors it raises."""
        return stream(self.path, _with_items(self.cells), columns)

    def samples(self, cell_id: str) -> list[dict[str, Any]] | None:
        """What was asked and answered, item by item; None where the run keeps none (``--log-samples``)."""
        file = self.path / SAMPLES / f"{cell_id}.jsonl"
        if not file.exists():
            return None
        # Texts may hold what Python, and not JSON, takes for the end of a line.
        return [json.loads(line) for line in file.read_bytes().split(b"\n") if line]


def _with_items(cells: Sequence[Cell]) -> list[str]:
    """The ids of those cells that have rows of items."""
    return [cell.cell_id for cell in cells if cell.status == "ok" and NO_ITEMS not in cell.flags]


@contextmanager
def nothing_freed() -> Iterator[None]:
    """While very many objects are made and all are kept, looking for some to free takes most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, UTF-8, shortest floats."""
    return _CANONICAL.encode(value)


def seal(cell: Cell) -> Cell:
    """The cell with ``sha256`` of its canonical JSON without that key."""
    content = cell.model_dump(mode="json", by_alias=True, exclude={"sha256"})
    return cell.model_copy(update={"sha256": _digest(content)})


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def read_run(path: Path) -> Run:
    """Read a run directory.

    Raises:
        UsageError: It is not one, or its header cannot be read.
    """
    if not (path / HEADER).is_file():
        raise UsageError(f"{path} is not a run directory (it has no {HEADER}); give one that `joulemark run` made.")
    try:
        header = RunHeader.model_validate_json((path / HEADER).read_bytes())
    except (ValidationError, OSError) as problem:
        raise UsageError(f"{path / HEADER} cannot be read: {_first_line(problem)}") from problem
    cells: dict[str, Cell] = {}
    notes: list[str] = []
    lines = _lines(path / CELLS)
    if lines[-1]:
        notes.append(f"{path / CELLS}: the last line was cut short by a crash and is left out.")
    known: dict[Record, Record] = {}
    with nothing_freed():
        for number, line in enumerate(lines[:-1], start=1):
            try:
                cell = _read_cell(line, header.run_id)
            except ValueError as problem:
                notes.append(f"{path / CELLS}, line {number} is left out: {_first_line(problem)}")
                continue
            cells.pop(cell.cell_id, None)
            cells[cell.cell_id] = _sharing(cell, known)
    return Run(path=path, header=header, cells=tuple(cells.values()), notes=tuple(notes))


def _lines(log: Path) -> list[bytes]:
    try:
        return log.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [b""]
    except OSError as problem:
        raise UsageError(f"{log} cannot be read: {problem.strerror or problem}") from problem


def _read_cell(line: bytes, run_id: str) -> Cell:
    """The cell of a line.

    Raises:
        ValueError: It is none, or not of this run, or not what was written (its ``sha256`` tells).
    """
    cell = Cell.model_validate_json(line)
    if cell.run_id != run_id:
        raise ValueError(f"it belongs to run {cell.run_id}")
    if not _is_as_sealed(line, cell.sha256):
        raise ValueError("it was changed after it was written (its sha256 does not match)")
    return cell


def _sharing(cell: Cell, known: dict[Record, Record]) -> Cell:
    """The cell with parts that are equal in many cells as one object; there may be a hundred thousand of them."""
    parts: dict[str, Record] = {name: getattr(cell, name) for name in ("model_info", "computed", "ttft_s")}
    return cell.model_copy(update={name: known.setdefault(part, part) for name, part in parts.items()})


def _is_as_sealed(line: bytes, sha256: str | None) -> bool:
    """Whether a line is what its ``sha256`` was made of; of a canonical one its bytes tell, without reading them."""
    if hashlib.sha256(line.replace(f',"sha256":"{sha256}"'.encode(), b"", 1)).hexdigest() == sha256:
        return True
    content: dict[str, Any] = json.loads(line)
    return bool(content.pop("sha256", None) == _digest(content))


def refuse_used(path: Path) -> None:
    """Refuse to begin a run in a folder that has something in it.

    Raises:
        UsageError: It has a run, or anything else.
    """
    if (path / HEADER).exists():
        raise UsageError(
            f"{path} holds a run already; `{resume_command(path)}` goes on with it, or choose another --out."
        )
    if path.is_dir() and any(_is_of_use(entry) for entry in path.iterdir()):
        raise UsageError(f"{path} is not empty; choose another folder with --out.")


def _is_of_use(entry: Path) -> bool:
    """Whether it is more than what a run leaves behind that was ended before its header was there."""
    return entry.is_dir() or (entry.lstat().st_size > 0 and entry != _beside(entry.with_name(HEADER)))


class RunWriter:
    """The one writer of a run directory; a second one is refused while this one lives.

    Raises:
        UsageError: The folder cannot be made or written, or somebody else is writing to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what could not be written must not be tried again behind our back when it is closed.
            self._log = (path / CELLS).open("a+b", buffering=0)
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                raise MeasuringFailed(f"no space left on the disk of {path}: free some, then try again.") from problem
            reason = problem.strerror or str(problem)
            raise UsageError(f"cannot write to {path}: {reason}; choose another folder with --out.") from problem
        try:
            fcntl.flock(self._log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._log.close()
            raise UsageError(f"another joulemark is writing to {path}; wait for it, or choose another --out.") from None
        self._cut_torn_tail()

    def has_items(self, cell: Cell) -> bool:
        """Whether a cell's items can be read; a power cut can take what was not yet on the disk."""
        try:
            gather(self.path, [cell.cell_id])
        except UsageError:
            return False
        return True

    def write_header(self, header: RunHeader) -> None:
        """Put ``run.json`` in place in one step."""
        text = header.model_dump_json(by_alias=True, indent=2) + "\n"
        with self._disk():
            replace_file(self.path / HEADER, text.encode())

    def append(
        self,
        cell: Cell,
        items: pd.DataFrame | None = None,
        power: pd.DataFrame | None = None,
        samples: Sequence[str] | None = None,
    ) -> Cell:
        """Store a finished cell, its items, power trace and lines of samples first; returns it with its ``sha256``."""
        sealed = seal(cell)
        line = canonical_json(sealed.model_dump(mode="json", by_alias=True)).encode() + b"\n"
        with self._disk():
            # What was gathered before may hold rows of an earlier attempt.
            (self.path / COMPACTED).unlink(missing_ok=True)
            for folder, table in ((ITEMS, items), (POWER, power)):
                if table is not None:
                    (self.path / folder).mkdir(exist_ok=True)
                    replace_file(self.path / folder / f"{cell.cell_id}.parquet", table.to_parquet(index=False))
            if samples is not None:
                (self.path / SAMPLES).mkdir(exist_ok=True)
                text = "".join(f"{line}\n" for line in samples)
                replace_file(self.path / SAMPLES / f"{cell.cell_id}.jsonl", text.encode())
            end = self._log.seek(0, os.SEEK_END)
            try:
                if self._log.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(self._log.fileno())
            except OSError:
                os.ftruncate(self._log.fileno(), end)
                raise
        return sealed

    def keep_log(self, cell_id: str, text: str) -> str | None:
        """Keep what a failed cell's process said; where, relative to the run, or None where it said nothing."""
        if not text.strip():
            return None
        with self._disk():
            (self.path / LOGS).mkdir(exist_ok=True)
            replace_file(self.path / LOGS / f"{cell_id}.txt", text.encode())
        return f"{LOGS}/{cell_id}.txt"

    def compact(self) -> None:
        """Gather all items of finished cells in one file, which is what `rank` starts from."""
        finished = _with_items(read_run(self.path).cells)
        if finished:
            with self._disk(), _replacing(self.path / COMPACTED) as file:
                compact(self.path, finished, file)

    def close(self) -> None:
        """Let others write."""
        self._log.close()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            reason = problem.strerror or str(problem)
            raise MeasuringFailed(
                f"cannot write to {self.path}: {reason}. All finished cells are kept; "
                f"make room, then `{resume_command(self.path)}`."
            ) from problem

    def _cut_torn_tail(self) -> None:
        self._log.seek(0)
        content = self._log.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._log.fileno(), whole)


def replace_file(path: Path, content: bytes) -> None:
    """Write, flush to disk, and only then take the place of what was there."""
    with _replacing(path) as file:
        file.write(content)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of what was there once it is whole and on the disk.

    A device or a pipe is written to, and of a link what it points to takes the file.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    beside = _beside(path)
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _flush_folder(path.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _flush_folder(folder: Path) -> None:
    """Put a renamed file's new name on the disk as well."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _first_line(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        error = problem.errors()[0]
        where = ".".join(str(part) for part in error["loc"])
        return f"{where}: {error['msg']}" if where else str(error["msg"])
    return str(problem).splitlines()[0]
