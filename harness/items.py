"""The items of a run's cells: a file a cell, and all of them in one that `rank` starts from, read in a stream."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from joulemark.meters.errors import UsageError

from .record import ITEM_COLUMNS

__all__ = ["COMPACTED", "ITEMS", "compact", "gather", "resume_command", "stream"]

ITEMS, COMPACTED = "items", "items.parquet"
_ROWS = 1 << 17
"""Rows that are held at a time."""


def resume_command(path: Path) -> str:
    """What to type to go on with a run."""
    return f"joulemark run --resume {shlex.quote(str(path))}"


def gather(path: Path, cell_ids: Sequence[str]) -> pd.DataFrame:
    """Rows of these cells from their own files, ``cell_id`` first.

    Raises:
        UsageError: Those of a cell are lost.
    """
    frames = []
    for cell_id in cell_ids:
        with _file_of(path, cell_id) as file:
            frame = pd.read_parquet(file)
        frame.insert(0, "cell_id", cell_id)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"cell_id": pd.Series(dtype="str")})


def stream(path: Path, cell_ids: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Rows of these cells and maybe of others: ``cell_id`` and those of the columns that there are.

    Texts are dictionary-encoded. A cell's rows follow one another, maybe in several batches.

    Raises:
        UsageError: Those of a cell are lost.
        OSError: The compacted file cannot be read.
        ValueError: It is no Parquet file.
    """
    missing = dict.fromkeys(cell_ids)
    if (path / COMPACTED).exists():
        for batch in _batches(path / COMPACTED, ["cell_id", *columns]):
            for cell_id in batch["cell_id"].unique().to_pylist():
                missing.pop(cell_id, None)
            yield batch
    for cell_id in missing:
        with _file_of(path, cell_id) as file:
            found = list(_batches(file, columns))
        for batch in found:
            names = pa.DictionaryArray.from_arrays(np.zeros(len(batch), dtype=np.int32), [cell_id])
            yield pa.RecordBatch.from_arrays([names, *batch.columns], names=["cell_id", *batch.schema.names])


def compact(path: Path, cell_ids: Sequence[str], out: BinaryIO) -> None:
    """Copy the rows of these cells into one Parquet file, a few cells at a time.

    Raises:
        UsageError: Those of a cell are lost.
    """
    schemas = []
    for cell_id in cell_ids:
        with _file_of(path, cell_id) as file:
            schemas.append(pq.read_schema(file))
    # What pandas notes of its types is of the one that knows most columns; older versions wrote fewer.
    most = max(schemas, key=len)
    bare = dict.fromkeys(schema.remove_metadata() for schema in schemas)
    names = pa.schema([("cell_id", pa.string())])
    whole = pa.unify_schemas([names, most.remove_metadata(), *bare], promote_options="permissive")
    with pq.ParquetWriter(out, whole.with_metadata(most.metadata)) as writer:
        waiting: list[pa.Table] = []
        for cell_id in cell_ids:
            with _file_of(path, cell_id) as file:
                table = pq.read_table(file).replace_schema_metadata()
            waiting.append(table.add_column(0, "cell_id", pa.repeat(cell_id, len(table))))
            if sum(map(len, waiting)) >= _ROWS:
                writer.write_table(_joined(waiting, whole))
                waiting = []
        writer.write_table(_joined(waiting, whole))


def _joined(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables([schema.empty_table(), *tables], promote_options="permissive")


@contextmanager
def _file_of(path: Path, cell_id: str) -> Iterator[Path]:
    """The file of a cell's items, and what to do where it cannot be read."""
    try:
        yield path / ITEMS / f"{cell_id}.parquet"
    except (OSError, ValueError) as problem:
        raise UsageError(
            f"{path}: the items of cell {cell_id} are lost; `{resume_command(path)}` measures it again."
        ) from problem


def _batches(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    there = pq.read_schema(file).names
    known = [name for name in columns if name in there]
    texts = [name for name in known if ITEM_COLUMNS.get(name, "str") == "str"]
    with pq.ParquetFile(file, read_dictionary=texts) as table:
        yield from table.iter_batches(_ROWS, columns=known)
