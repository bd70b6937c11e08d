"""Our own block in results of lm-eval's form: what these have no room for, written by ``joulemark export lm-eval``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

import pandas as pd
from pydantic import ValidationError

from joulemark.meters.errors import UsageError

from ..record import ITEM_COLUMNS, Carbon, Cell, Station
from ..said import one_line
from ..store import canonical_json
from .foreign import listed, mapped, text
from .found import OURS, Origin, Result
from .lmtexts import lines_of
from .ownsums import check_results

__all__ = ["BLOCK", "BLOCK_SCHEMA", "CELL_KEYS", "Block", "items_of", "read_block", "texts_of"]

BLOCK: Final = "joulemark"
BLOCK_SCHEMA: Final = "joulemark.lm-eval/1"
CELL_KEYS = tuple(field.name for field in fields(Result) if field.name in Cell.model_fields)
"""What the block has of a cell: all that a `Result` holds but its items, which are in the samples."""

_LONGEST = 2000
"""Characters of a sentence."""

_MADE_UP = {"run_id": "", "cell_id": "", "order": 0, "status": "ok"}
"""What a cell has in its own run alone."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """What the block holds.

    Attributes:
        results: One for each cell, without items.
        stations: The machines that they ran on.
        created_at: When the run began, UTC, ISO 8601; None where that is not known.
        origins: Where the run came from: Joulemark measured it, or it was imported.
        carbon: What the run takes a kilowatt-hour to stand for; None where it does not say.
    """

    results: tuple[Result, ...]
    stations: tuple[Station, ...]
    created_at: str | None
    origins: tuple[Origin, ...]
    carbon: Carbon | None

    @property
    def missing(self) -> tuple[str, ...]:
        """What the origins' files did not say, a sentence each."""
        return tuple(sentence for origin in self.origins for sentence in origin.missing)


def read_block(results: Mapping[str, Any], file: str) -> Block | None:
    """The block of a file of lm-eval's results; None where it has none.

    Args:
        results: The file's content.
        file: Its name, for errors.

    Raises:
        UsageError: It is of another version, not as we write it, or its figures contradict each other.
    """
    block = results.get(BLOCK)
    if not isinstance(block, Mapping):
        return None
    if block.get("schema") != BLOCK_SCHEMA:
        raise UsageError(f"{file}: its block {BLOCK!r} is not {BLOCK_SCHEMA}; another version of Joulemark reads it.")
    cells, stations = (block.get(name) for name in ("cells", "stations"))
    try:
        if not (isinstance(cells, list) and isinstance(stations, list) and cells and stations):
            raise ValueError("it has no cells, or no stations")
        ran_on = tuple(Station.model_validate(station) for station in stations)
        origins, created_at = _origins(block), block.get("created_at")
        if created_at is not None:
            datetime.fromisoformat(created_at)
        carbon = Carbon.model_validate(block["carbon"]) if block.get("carbon") is not None else None
        done = tuple(_result(Cell.model_validate({**dict(cell), **_MADE_UP})) for cell in cells)
        check_results(done, ran_on)
    except (ValidationError, ValueError, TypeError, ArithmeticError) as problem:
        raise UsageError(f"{file}: its block {BLOCK!r} cannot be read: {_in_a_line(problem)}.") from problem
    return Block(
        results=done,
        stations=ran_on,
        created_at=created_at,
        origins=origins,
        carbon=carbon,
    )


def items_of(samples: Iterable[Mapping[str, Any]], repeat: int) -> pd.DataFrame | None:
    """The items of one repeat from a task's samples, with columns of `ITEM_COLUMNS`; None where one lacks them.

    Raises:
        ValueError: They are not as we write them.
    """
    rows = []
    for sample in samples:
        own = listed(mapped(sample.get(BLOCK)).get("items"))
        mine = [row for row in own if isinstance(row, Mapping) and row.get("repeat") == repeat]
        if len(mine) != 1:
            return None
        rows.append({name: mine[0].get(name) for name in ITEM_COLUMNS})
    try:
        return pd.DataFrame(rows, columns=list(ITEM_COLUMNS)).astype(ITEM_COLUMNS) if rows else None
    except (TypeError, OverflowError) as problem:
        raise ValueError(f"its items cannot be read: {problem}") from problem


def texts_of(samples: Iterable[Mapping[str, Any]], repeat: int, metric: str | None) -> tuple[str, ...] | None:
    """Lines of what was asked and answered in a repeat, as its run kept them; None where these are of another one."""
    own: dict[str, list[Mapping[str, Any]]] = {}
    for sample in samples:
        kept = mapped(mapped(sample.get(BLOCK)).get("kept"))
        if kept.get("repeat") == repeat and (task := text(kept.get("task"))):
            own.setdefault(task, []).append(sample)
    lines = [lines_of(rows, task=task, metric=metric) or () for task, rows in own.items()]
    return tuple(line for part in lines for line in part) or None


def _origins(block: Mapping[str, Any]) -> tuple[Origin, ...]:
    """Where the block's run was imported from; itself where it was measured.

    Raises:
        ValueError: That is not as we write it.
    """
    told = block.get("imported")
    if told is None:
        return (_printable(Origin(format=OURS, run_id=block.get("run_id"))),)
    if not isinstance(told, list) or not told:
        raise ValueError("imported is no list of where it is from")
    return tuple(_printable(Origin.model_validate(origin)) for origin in told)


def _printable(origin: Origin) -> Origin:
    """Without what could steer a terminal, for it is shown."""
    files = tuple(file.model_copy(update={"name": one_line(file.name)}) for file in origin.files)
    missing = tuple(f"{one_line(sentence, _LONGEST)}." for sentence in origin.missing)
    told = {"format": one_line(origin.format), "run_id": origin.run_id and one_line(origin.run_id), "origins": ()}
    return origin.model_copy(update={**told, "files": files, "missing": missing})


def _result(cell: Cell) -> Result:
    """As a result.

    Raises:
        ValueError: A setting is a number that JSON does not have.
    """
    canonical_json(cell.setting)
    return Result(**{name: getattr(cell, name) for name in CELL_KEYS})


def _in_a_line(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        first = problem.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return " ".join(str(problem).split())
