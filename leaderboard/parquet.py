"""Views as Parquet: the columns of the CSV with their types, the same bytes for the same rows."""

from __future__ import annotations

import io
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from joulemark.harness.store import canonical_json
from joulemark.reports.rows import Row
from joulemark.reports.views import View

from .board import BoardView

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Together", "parquet_bytes", "table_of"]

_FORM: Any = {"compression": "zstd", "write_statistics": False}
_GROUP = 5_000
"""Rows of a group, at least."""


def table_of(view: View) -> pa.Table:
    """A view's rows; mappings are canonical JSON and flags are joined, as in the CSV. Missing is null."""
    import pyarrow as pa

    fixed = {"task": view.task, "by": view.by, "quality_floor": view.quality_floor}
    columns = {name: [value] * len(view.rows) for name, value in fixed.items()}
    for name, values in zip(Row._fields, zip(*view.rows, strict=True), strict=True):
        columns[name] = [_plain(value) for value in values] if isinstance(values[0], dict | tuple) else values
    return pa.table(columns, schema=_schema())


class Together:
    """Views one after another in one file; the first column names the view, as its files do.

    Its rows are written in groups, as they come, so that not all of them are in memory.
    """

    def __init__(self) -> None:
        self._waiting: list[pa.Table] = []
        self._out = io.BytesIO()
        self._writer: Any = None

    def add(self, each: BoardView, table: pa.Table) -> None:
        """The next view."""
        import pyarrow as pa

        self._waiting.append(table.add_column(0, "view", pa.array([each.id] * len(table), pa.string())))
        if sum(map(len, self._waiting)) >= _GROUP:
            self._write()

    def content(self) -> bytes:
        """The file."""
        self._write()
        self._writer.close()
        return self._out.getvalue()

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._waiting:
            whole = pa.concat_tables(self._waiting)
            self._writer = self._writer or pq.ParquetWriter(self._out, whole.schema, **_FORM)
            self._writer.write_table(whole, row_group_size=len(whole))
            self._waiting = []


def parquet_bytes(table: pa.Table) -> bytes:
    """A file of it. It names the version of Arrow that wrote it, and neither a time nor a place."""
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(table, out, **_FORM)
    return out.getvalue()


@cache
def _schema() -> pa.Schema:
    import pyarrow as pa

    hints = get_type_hints(Row)
    fixed = [("task", pa.string()), ("by", pa.string()), ("quality_floor", pa.float64())]
    return pa.schema(fixed + [(name, _type(hints[name])) for name in Row._fields])


def _type(hint: Any) -> pa.DataType:
    import pyarrow as pa

    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    known = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    return next((known[kind] for kind in kinds if kind is not NoneType and kind in known), pa.string())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return canonical_json(value) if value else "{}"
    return "; ".join(value) if isinstance(value, tuple) else value
