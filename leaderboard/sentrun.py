"""A submission as a run: what `joulemark rank` reads from a directory, from memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from joulemark.harness.store import Run

from .outcomes import QuestionSet
from .submission import Submission

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SentRun", "as_run"]


@dataclass(frozen=True)
class SentRun(Run):
    """A run that was sent; ``path`` is its name alone.

    Attributes:
        sent: Where its items come from.
    """

    sent: Submission | None = None

    def items(self) -> pd.DataFrame:
        """The rows of all finished cells, as far as they were sent."""
        frame: pd.DataFrame = self._table().to_pandas()
        return frame

    def item_batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The same rows and columns as of a run directory; see `joulemark.harness.items.stream`."""
        batch = self._table()
        yield batch.select([name for name in ("cell_id", *columns) if name in batch.schema.names])

    def _table(self) -> pa.RecordBatch:
        import pyarrow as pa

        assert self.sent is not None
        sent = self.sent
        cells = list(sent.items.cells.items())
        asked = [_Asked(each) for each in sent.items.sets]
        own = [asked[outcome.set] for _, outcome in cells]
        many = [len(each.docs) for each in own]
        cut = [sent.cut(cell_id) for cell_id, _ in cells]
        unknown = np.repeat([each is None for each in cut], many)
        bits = np.concatenate([np.zeros(n, dtype=np.uint8) if c is None else c for c, n in zip(cut, many, strict=True)])
        names = pa.DictionaryArray.from_arrays(
            np.repeat(np.arange(len(cells), dtype=np.int32), many), pa.array([cell_id for cell_id, _ in cells])
        )
        level = np.concatenate([each.level for each in own])
        return pa.RecordBatch.from_pydict(
            {
                "cell_id": names,
                "doc_id": np.concatenate([each.docs for each in own]),
                "score": np.concatenate([sent.scores(cell_id) for cell_id, _ in cells]),
                "doc_hash": _texts([each.hashes for each in asked], [outcome.set for _, outcome in cells]),
                "cluster": _texts([each.clusters for each in asked], [outcome.set for _, outcome in cells]),
                "level": pa.array(np.nan_to_num(level).astype(np.int64), mask=np.isnan(level)),
                "truncated": pa.array(bits.astype(bool), mask=unknown),
            }
        )


class _Asked:
    """A set of questions as columns."""

    def __init__(self, asked: QuestionSet) -> None:
        many = len(asked.docs)
        self.docs = np.array(asked.docs, dtype=np.int64)
        self.hashes = list(asked.hashes) or [""] * many
        self.level = np.array([np.nan if level is None else level for level in asked.levels or [None] * many])
        # Written so that they sort as their numbers do, or resampling would draw others.
        self.clusters = [f"{number:07d}" for number in asked.clusters] or [str(number) for number in asked.docs]


def as_run(sent: Submission, name: str) -> SentRun:
    """A submission as a run of this name, which notes call it by."""
    return SentRun(path=Path(name), header=sent.run, cells=sent.cells, sent=sent)


def _texts(of_sets: Sequence[Sequence[str]], sets: Sequence[int]) -> pa.DictionaryArray:
    """The texts of these sets one after the other, each text once."""
    import pyarrow as pa

    starts = np.cumsum([0, *map(len, of_sets)])
    at = np.concatenate([np.arange(starts[number], starts[number + 1], dtype=np.int32) for number in sets])
    return pa.DictionaryArray.from_arrays(at, pa.array([text for texts in of_sets for text in texts], pa.string()))
