"""Views as Parquet: the columns of the CSV with their types, the same bytes for the same rows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from joulemark.harness.store import canonical_json
from joulemark.reports.rows import Row
from joulemark.reports.views import View

from .board import BoardView

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["parquet_bytes", "table_of", "together"]


def table_of(view: View) -> pa.Table:
    """A view's rows; mappings are canonical JSON and flags are joined, as in the CSV. Missing is null."""
    import pyarrow as pa

    fixed = {"task": view.task, "by": view.by, "quality_floor": view.quality_floor}
    columns = {name: [value] * len(view.rows) for name, value in fixed.items()}
    columns |= {name: [_plain(getattr(row, name)) for row in view.rows] for name in Row.__dataclass_fields__}
    return pa.table(columns, schema=_schema())


def together(views: Sequence[BoardView], tables: Sequence[pa.Table]) -> pa.Table:
    """Views one after another; the first column names the view, as its files do."""
    import pyarrow as pa

    named = [
        table.add_column(0, "view", pa.array([each.id] * len(table), pa.string()))
        for each, table in zip(views, tables, strict=True)
    ]
    return pa.concat_tables(named)


def parquet_bytes(table: pa.Table) -> bytes:
    """A file of it. It names the version of Arrow that wrote it, and neither a time nor a place."""
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", write_statistics=False)
    return out.getvalue()


def _schema() -> pa.Schema:
    import pyarrow as pa

    hints = get_type_hints(Row)
    fixed = [("task", pa.string()), ("by", pa.string()), ("quality_floor", pa.float64())]
    return pa.schema(fixed + [(name, _type(hints[name])) for name in Row.__dataclass_fields__])


def _type(hint: Any) -> pa.DataType:
    import pyarrow as pa

    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    known = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    return next((known[kind] for kind in kinds if kind is not NoneType and kind in known), pa.string())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return canonical_json(value)
    return "; ".join(value) if isinstance(value, tuple) else value
