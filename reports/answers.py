"""What entrants answered: the items of a run read once, in a stream, and folded into a mean score for each question.

However many rows there are, what is held is a score an item, entrant and task.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from joulemark.harness.record import NO_ITEMS, Cell
from joulemark.harness.store import Run
from joulemark.meters.errors import UsageError

from .stats import Floats

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Answered", "Asked", "read_answers"]

_COLUMNS = ("doc_id", "score", "cluster", "level", "truncated")
Key = TypeVar("Key", bound=Hashable)
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The items that a task asks; one object for all that were asked the same ones.

    Attributes:
        docs: Item numbers, ascending, shape (items,).
        clusters: What each item shares with others, as text; an item alone has its own number.
        levels: Where the items of each level of difficulty stand in ``docs``; empty where a task has no levels.
    """

    docs: Ints
    clusters: NDArray[np.str_]
    levels: Mapping[int, Ints]

    @cached_property
    def codes(self) -> Ints:
        """The clusters as numbers from 0."""
        return np.unique(self.clusters, return_inverse=True)[1].astype(np.int64)

    def only(self, docs: Ints) -> Asked:
        """These of the items, without levels."""
        return Asked(docs=docs, clusters=self.clusters[np.searchsorted(self.docs, docs)], levels={})


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What an entrant did with the items of a task, all repeats together.

    Attributes:
        asked: The items.
        scores: Mean score of each over the repeats.
        truncated: Share of the answers that the token cap cut off; None where that is not known.
        mean_finished: Mean score of the others; None where there are none or it is not known.
    """

    asked: Asked
    scores: Floats
    truncated: float | None
    mean_finished: float | None


_NOTHING = Answered(
    asked=Asked(docs=np.zeros(0, dtype=np.int64), clusters=np.zeros(0, dtype=np.str_), levels={}),
    scores=np.zeros(0),
    truncated=None,
    mean_finished=None,
)


def read_answers(run: Run, groups: Mapping[Key, Sequence[Cell]]) -> dict[Key, Answered]:
    """What each group of finished cells answered; the cells of a group are the repeats of one task.

    Of one whose cells have no items nothing is known item by item.

    Raises:
        UsageError: The items of one of these cells cannot be read.
    """
    known = {key: [cell for cell in cells if NO_ITEMS not in cell.flags] for key, cells in groups.items()}
    folds = _Folds({key: cells for key, cells in known.items() if cells})
    try:
        for batch in run.item_batches(_COLUMNS):
            folds.take(batch)
    except (OSError, ValueError, KeyError) as problem:
        raise UsageError(f"{run.path}: the items of a finished cell cannot be read: {problem}") from problem
    if lost := folds.lost():
        raise UsageError(f"{run.path}: the items of cell {lost} are missing; run it again with --resume.")
    return dict.fromkeys(groups, _NOTHING) | folds.answered()


@dataclass(frozen=True)
class _Rows:
    """Rows of one cell, in one batch.

    Attributes:
        docs: Their items' numbers, in any order.
        scores: 0..1; NaN where there is none.
        cut: 1 where the token cap cut an answer off, 0 where not, NaN where that is not known; None: it cut off none.
        batch: Where they are.
        place: And where in it.
    """

    docs: Ints
    scores: Floats
    cut: Floats | None
    batch: pa.RecordBatch
    place: slice


@dataclass
class _Fold:
    """A group while its cells come in: sums and counts by item, and of all rows those ``told`` to be cut off or not."""

    asked: Asked | None = None
    total: Floats = field(default_factory=lambda: np.zeros(0))
    count: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    rows: int = 0
    told: int = 0
    cut: int = 0
    finished: float = 0.0

    def add(self, asked: Asked, scores: Floats) -> None:
        if self.asked is None:
            self.asked, self.total, self.count = asked, scores.copy(), np.ones(len(scores), dtype=np.int64)
            return
        if self.asked is not asked:
            self._widen(asked)
        at = slice(None) if self.asked is asked else np.searchsorted(self.asked.docs, asked.docs)
        self.total[at] += scores
        self.count[at] += 1

    def _widen(self, more: Asked) -> None:
        """Make room for items that came in one repeat only."""
        assert self.asked is not None
        own, self.asked = self.asked, _joined(self.asked, more)
        at = np.searchsorted(self.asked.docs, own.docs)
        total, count = np.zeros(len(self.asked.docs)), np.zeros(len(self.asked.docs), dtype=np.int64)
        total[at], count[at] = self.total, self.count
        self.total, self.count = total, count

    def count_cut(self, rows: _Rows) -> None:
        """Count the answers that were cut off, and sum the scores of the others."""
        self.rows += len(rows.scores)
        self.told += len(rows.scores) if rows.cut is None else int(np.count_nonzero(~np.isnan(rows.cut)))
        at = rows.cut == 1 if rows.cut is not None else np.zeros(0, dtype=bool)
        cut = int(np.count_nonzero(at))
        self.cut += cut
        self.finished += float(rows.scores[~at].sum() if cut else rows.scores.sum())

    def answered(self) -> Answered:
        assert self.asked is not None
        known, finished = self.told == self.rows, self.rows - self.cut
        return Answered(
            asked=self.asked,
            scores=self.total / self.count,
            truncated=self.cut / self.rows if known else None,
            mean_finished=self.finished / finished if known and finished else None,
        )


class _Folds(Generic[Key]):
    """All groups of a run while its batches come in."""

    def __init__(self, groups: Mapping[Key, Sequence[Cell]]) -> None:
        self._folds = {key: _Fold() for key in groups}
        self._of = {cell.cell_id: (key, cell.task) for key, cells in groups.items() for cell in cells}
        self._known: dict[str, list[Asked]] = defaultdict(list)
        self._open: tuple[str, list[_Rows]] | None = None
        self._seen: set[str] = set()

    def take(self, batch: pa.RecordBatch) -> None:
        """Fold in a batch; what it holds of its last cell waits for the next one."""
        for cell_id, rows in _by_cell(batch):
            if self._open and self._open[0] != cell_id:
                self._close()
            if cell_id in self._of:
                self._open = cell_id, [*(self._open[1] if self._open else []), rows]

    def lost(self) -> str | None:
        """A cell that has no items."""
        self._close()
        return next((cell_id for cell_id in self._of if cell_id not in self._seen), None)

    def answered(self) -> dict[Key, Answered]:
        return {key: fold.answered() for key, fold in self._folds.items()}

    def _close(self) -> None:
        """Fold in the cell whose rows are all there."""
        if self._open is None:
            return
        (cell_id, parts), self._open = self._open, None
        self._seen.add(cell_id)
        key, task = self._of[cell_id]
        rows = parts[0] if len(parts) == 1 else _all(parts)
        self._folds[key].count_cut(rows)
        docs, scores = rows.docs, rows.scores
        if (docs[1:] <= docs[:-1]).any():
            docs, at = np.unique(docs, return_inverse=True)
            scores = np.bincount(at, weights=scores) / np.bincount(at)
        self._folds[key].add(self._asked(task, docs, parts), scores)

    def _asked(self, task: str, docs: Ints, parts: Sequence[_Rows]) -> Asked:
        """The items, as one object where these were met before: a task's clusters and levels are those of its items."""
        for known in self._known[task]:
            if np.array_equal(known.docs, docs):
                return known
        self._known[task].append(_make_asked(docs, parts))
        return self._known[task][-1]


def _by_cell(batch: pa.RecordBatch) -> Iterator[tuple[str, _Rows]]:
    names: pa.DictionaryArray = batch["cell_id"]
    at = names.indices.to_numpy()
    starts = [0, *(np.flatnonzero(np.diff(at)) + 1).tolist()] if len(at) else []
    known, docs, scores, cut = (
        names.dictionary.to_pylist(),
        _numbers(batch, "doc_id"),
        _numbers(batch, "score").astype(float, copy=False),
        _cut(batch),
    )
    for start, end in zip(starts, [*starts[1:], len(at)], strict=True):
        own = slice(start, end)
        yield known[at[start]], _Rows(docs[own], scores[own], None if cut is None else cut[own], batch, own)


def _numbers(batch: pa.RecordBatch, name: str) -> NDArray[Any]:
    numbers: NDArray[Any] = batch[name].to_numpy(zero_copy_only=False)
    return numbers


def _cut(batch: pa.RecordBatch) -> Floats | None:
    """See `_Rows`."""
    if "truncated" not in batch.schema.names:
        return np.full(len(batch), np.nan)
    told = batch["truncated"]
    if told.null_count == 0 and told.true_count == 0:
        return None
    return np.asarray(told.cast("int8").to_numpy(zero_copy_only=False), dtype=float)


def _all(parts: Sequence[_Rows]) -> _Rows:
    """The rows of a cell that came in several batches."""
    cut = [np.zeros(len(part.docs)) if part.cut is None else part.cut for part in parts]
    docs, scores = np.concatenate([part.docs for part in parts]), np.concatenate([part.scores for part in parts])
    return _Rows(docs, scores, np.concatenate(cut), parts[0].batch, parts[0].place)


def _make_asked(docs: Ints, parts: Sequence[_Rows]) -> Asked:
    """The items with what their rows say of them; ``docs`` are these rows' numbers, ascending."""
    clusters = np.array([f"item {doc}" for doc in docs], dtype=object)
    level = np.full(len(docs), np.nan)
    for part in parts:
        at = np.searchsorted(docs, part.docs)
        rows = part.batch.slice(part.place.start, len(at))
        if "cluster" in rows.schema.names:
            for place, name in zip(at, rows["cluster"].to_pylist(), strict=True):
                clusters[place] = clusters[place] if name is None else f"of {name}"
        if "level" in rows.schema.names:
            level[at] = _numbers(rows, "level")
    return Asked(docs=docs, clusters=clusters.astype(str), levels=_places(level))


def _joined(own: Asked, more: Asked) -> Asked:
    """The items of both."""
    docs = np.union1d(own.docs, more.docs)
    clusters, level = np.empty(len(docs), dtype=object), np.full(len(docs), np.nan)
    for part in (more, own):
        at = np.searchsorted(docs, part.docs)
        clusters[at] = part.clusters
        for name, places in part.levels.items():
            level[at[places]] = name
    return Asked(docs=docs, clusters=clusters.astype(str), levels=_places(level))


def _places(level: Floats) -> dict[int, Ints]:
    """Where the items of each level stand, ascending; NaN is none."""
    return {int(each): np.flatnonzero(level == each) for each in np.unique(level[~np.isnan(level)])}
