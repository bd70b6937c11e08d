"""Arrow streams of Intelligence per Watt's records, read with care: 200 bytes can claim to hold billions of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from joulemark.meters.errors import UsageError

__all__ = ["read_rows"]

_PARTS = frozenset(["energy_metrics", "latency_metrics", "token_metrics", "gpu_info", "system_info"])
"""What is read of a query's figures; all else stays packed."""

_MOST_ROWS, _MOST_VALUES, _MOST_BYTES = 1_000_000, 10_000_000, 1 << 28
"""Of all files of a profile together; the largest data sets that the tool knows have some ten thousand queries."""

_TOO_MUCH = "{}: it has more than any profile: over {:,} queries, or as much to each; it is none of the tool's."
_NO_METRICS = "{}: it has no queries with model_metrics, so it is none of a profile's."


def read_rows(files: Sequence[Path]) -> list[Mapping[str, Any]]:
    """What each query has of its models, in `_PARTS`.

    Raises:
        UsageError: A file is no Arrow stream, cut short, without figures of models, or larger than any profile's.
    """
    room = _Room()
    return [row for file in files for row in _rows(file, room)]


class _Room:
    """What all files of a profile may hold together."""

    def __init__(self) -> None:
        self._rows = self._values = self._bytes = 0

    def take(self, file: Path, *, rows: int = 0, values: int = 0, size: int = 0) -> None:
        """Raises UsageError where it is more than any profile has."""
        self._rows, self._values, self._bytes = self._rows + rows, self._values + values, self._bytes + size
        if self._rows > _MOST_ROWS or self._values > _MOST_VALUES or self._bytes > _MOST_BYTES:
            raise UsageError(_TOO_MUCH.format(file, _MOST_ROWS))


def _rows(file: Path, room: _Room) -> list[Mapping[str, Any]]:
    import pyarrow as pa

    rows: list[Mapping[str, Any]] = []
    try:
        for column in _columns(file):
            room.take(file, rows=len(column))
            column.validate(full=True)
            rows += _unpacked(column, lambda **much: room.take(file, **much))
    except (pa.ArrowException, OSError, ValueError, KeyError, ArithmeticError) as problem:
        raise UsageError(f"{file}: it is no Arrow stream of the datasets library, or is cut short.") from problem
    if not rows:
        raise UsageError(_NO_METRICS.format(file))
    return rows


def _columns(file: Path) -> Iterator[Any]:
    """The column of figures, batch by batch."""
    import pyarrow as pa

    with pa.memory_map(str(file)) as source:
        with pa.ipc.open_stream(source) as stream:
            where = stream.schema.get_field_index("model_metrics")
            if where < 0 or not pa.types.is_struct(stream.schema.field(where).type):
                raise UsageError(_NO_METRICS.format(file))
        source.seek(0)
        only = pa.ipc.IpcReadOptions(included_fields=[where])
        with pa.ipc.open_stream(source, options=only) as stream:
            for batch in stream:
                yield batch.column(0)


def _unpacked(column: Any, take: Callable[..., None]) -> list[Mapping[str, Any]]:
    """Each query's figures by model: those that are numbers or texts."""
    rows: list[dict[str, Any]] = [{} for _ in range(len(column))]
    for model, own in _members(column, take):
        for part, figures in _members(own, take):
            for name, values in _members(figures, take) if part in _PARTS else ():
                if not _is_plain(values.type):
                    continue
                take(values=len(values), size=values.nbytes)
                for row, value in zip(rows, values.to_pylist(), strict=True):
                    if value is not None:
                        row.setdefault(model, {}).setdefault(part, {})[name] = value
    return [*rows]


def _members(column: Any, take: Callable[..., None]) -> Iterator[tuple[str, Any]]:
    """The parts of a structure by name; none of what is no structure."""
    import pyarrow as pa

    if pa.types.is_struct(column.type):
        # Each part gets its own bits of which rows it has.
        take(size=len(column) * column.type.num_fields // 8)
        yield from zip((field.name for field in column.type), column.flatten(), strict=True)


def _is_plain(kind: Any) -> bool:
    """Whether it is a number, a text, or true or false: a list or a reference may stand for far more than its bytes."""
    import pyarrow as pa

    known = pa.types
    ways = (known.is_integer, known.is_floating, known.is_boolean, known.is_string, known.is_large_string)
    return any(is_so(kind) for is_so in ways)
