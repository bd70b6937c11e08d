"""A row for each cell, as CSV and as Parquet: every figure of the cell, units in the names, missing ones empty."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from joulemark.harness.record import IMPORTED, MEAN_ANSWER, Cell, Record
from joulemark.harness.store import Run, canonical_json
from joulemark.meters.errors import Incomparable, UsageError

from ..documents import csv_cell
from .told import cells_of, named

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["as_csv", "as_parquet"]

SCHEMA = "joulemark.cells/1"
_NAMES = {
    "energy": "{}",
    "phases": "{}",
    "tokens": "{}_tokens",
    "computed": "{}",
    "latency_s": "latency_s_{}",
    "ttft_s": "ttft_s_{}",
    "model_info": "model_{}",
}
"""What the figures of a cell's part are called as columns."""
_WITH_UNIT = {"domains": "domains_j", "truncated": "truncated_share"}
_LEFT_OUT = ("schema_", "setting")
_COUNTS = ("n_items", "loops")
"""What is made up where a file tells a mean answer alone."""
_LARGEST = 2**63 - 1
"""Beyond, a setting is text."""

Kind = type[Any]
Rows = list[dict[str, Any]]


def as_csv(run: Run, entrant: str | None = None) -> bytes:
    """A line a cell, failed ones included. Text that a spreadsheet would run as a formula gets an apostrophe.

    Raises:
        UsageError: There is no such entrant, or the run's items cannot be read.
    """
    columns, rows = _table(run, entrant)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(csv_cell(name) for name in columns)
    writer.writerows([csv_cell(row.get(name)) for name in columns] for row in rows)
    return out.getvalue().encode()


def as_parquet(run: Run, entrant: str | None = None) -> bytes:
    """The same with types; ``joulemark.run`` of the file's metadata is the run's header as JSON.

    Raises:
        UsageError: As for `as_csv`; or a number does not fit Parquet's.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns, rows = _table(run, entrant)
    header = {"joulemark.schema": SCHEMA, "joulemark.run": run.header.model_dump_json(by_alias=True)}
    schema = pa.schema([(name, _arrow(kind)) for name, kind in columns.items()], metadata=header)
    try:
        table = pa.Table.from_pylist(rows, schema=schema)
    except (OverflowError, pa.ArrowInvalid) as problem:
        raise UsageError(f"{run.path} has a number that Parquet cannot hold ({problem}); csv can.") from problem
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", write_statistics=False)
    return out.getvalue()


def _table(run: Run, label: str | None) -> tuple[dict[str, Kind], Rows]:
    """Columns with their types, and rows: of one entrant, or all cells of the run in the order of measuring."""
    fixed = dict(_fields())
    rows = _finished(run, label)
    if label is None:
        rows |= {cell.cell_id: _row(cell) for cell in run.cells if cell.cell_id not in rows}
    in_order = [rows[cell.cell_id] for cell in sorted(run.cells, key=lambda c: c.order) if cell.cell_id in rows]
    kinds = {key: _common([row.get(key) for row in in_order]) for key in sorted({k for row in in_order for k in row})}
    columns = fixed | {key: kind for key, kind in kinds.items() if key not in fixed}
    return columns, [{key: _of_kind(value, columns[key]) for key, value in row.items()} for row in in_order]


def _finished(run: Run, label: str | None) -> dict[str, dict[str, Any]]:
    """Rows by cell of those that tables have figures of, with these."""
    try:
        entrants = named(run, label)
    except Incomparable:
        return {}
    return {
        cell.cell_id: _row(cell)
        | {
            "entrant": name,
            "energy_wh_per_1k": entrant.samples[cell.task].energy_wh.get(cell.repeat),
            "net_energy_wh_per_1k": entrant.samples[cell.task].net_wh.get(cell.repeat),
        }
        for name, entrant in entrants.items()
        for cell in cells_of(run, entrant)
    }


def _fields() -> Iterator[tuple[str, Kind]]:
    """Columns that every run has, with their types."""
    for name, field in Cell.model_fields.items():
        if name in _NAMES:
            part = _record_in(field.annotation)
            yield from ((_column(name, own), _kind(of.annotation)) for own, of in part.model_fields.items())
        elif name not in _LEFT_OUT:
            yield _WITH_UNIT.get(name, name), _kind(field.annotation)
        if name == "model":
            yield "entrant", str
        if name == "energy":
            yield from (("energy_wh_per_1k", float), ("net_energy_wh_per_1k", float))


def _row(cell: Cell) -> dict[str, Any]:
    """A cell's columns, those of its settings among them."""
    row: dict[str, Any] = {}
    for name, value in cell.model_dump(mode="json").items():
        if name in _NAMES:
            row |= {_column(name, own): told for own, told in (value or {}).items()}
        elif name not in _LEFT_OUT:
            row[_WITH_UNIT.get(name, name)] = "; ".join(value) if name == "flags" else value
    not_told = dict.fromkeys(_COUNTS) if _is_uncounted(cell) else {}
    return row | not_told | {f"setting_{key}": value for key, value in cell.setting.items()}


def _is_uncounted(cell: Cell) -> bool:
    """Whether nobody tells how many questions it is of, as imported files may not."""
    return MEAN_ANSWER in cell.flags or (IMPORTED in cell.flags and not cell.n_items)


def _column(part: str, name: str) -> str:
    return _NAMES[part].format(_WITH_UNIT.get(name, name))


def _of_kind(value: Any, kind: Kind) -> Any:
    """A value of its column's type; other ones are JSON, as mappings and lists are. A run holds no NaN."""
    fits = value is None or type(value) is kind or (kind is float and type(value) is int)
    return value if fits else canonical_json(value)


def _record_in(hint: Any) -> type[Record]:
    """The record of a field that holds one, or none."""
    [record] = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and issubclass(kind, Record)]
    return record


def _kind(hint: Any) -> Kind:
    """What a field's values are in a table: text, but for numbers and truths."""
    kinds = [kind for kind in get_args(hint) if kind is not NoneType] if isinstance(hint, UnionType) else [hint]
    if get_origin(kinds[0]) is Literal:
        return str
    return next((kind for kind in (bool, int, float) if kinds == [kind]), str)


def _common(values: Sequence[Any]) -> Kind:
    """The type of a setting's column: that of all its values."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int} and all(abs(value) <= _LARGEST for value in values if value is not None):
        return int
    return next((kind for kind in (bool, float) if kinds == {kind}), str)


def _arrow(kind: Kind) -> pa.DataType:
    import pyarrow as pa

    return {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}.get(kind, pa.string())
