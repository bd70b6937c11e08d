"""How sure entrants were of each answer: read of a few of them, since a run may have very many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemark.harness.record import Cell
from joulemark.harness.store import Run, canonical_json
from joulemark.meters.errors import UsageError

from .rows import Figures
from .samples import ASKED, what_is_asked
from .stats import Floats

__all__ = ["read_confidences"]

_Part = tuple[NDArray[np.int64], Floats]
"""Items' numbers and how sure an entrant was of each, of a part of a cell."""


def read_confidences(runs: Sequence[Run], figures: Sequence[Figures]) -> list[list[Floats]]:
    """By entrant and task, how sure it was of each item, mean over repeats; NaN where one repeat does not tell.

    Raises:
        UsageError: The items of a run cannot be read.
    """
    parts: dict[tuple[int, int], list[_Part]] = defaultdict(list)
    for run in runs:
        if wanted := _wanted(run, figures):
            for cell_id, part in _read(run, frozenset(wanted)):
                parts[wanted[cell_id]].append(part)
    return [
        [_mean(sample.docs, parts[at, task]) for task, sample in enumerate(own.samples)]
        for at, own in enumerate(figures)
    ]


def _wanted(run: Run, figures: Sequence[Figures]) -> dict[str, tuple[int, int]]:
    """Of the run's finished cells that are repeats of these entrants' tasks: which entrant, and which of its tasks."""
    known = {
        (own.entrant.model, _how(own.entrant.setting), sample.task, sample.question): (at, task)
        for at, own in enumerate(figures)
        if own.entrant.run_id == run.header.run_id
        for task, sample in enumerate(own.samples)
    }
    models = {model for model, *_ in known}
    places = {
        cell.cell_id: known.get(_trait(cell)) for cell in run.cells if cell.status == "ok" and cell.model in models
    }
    return {cell_id: place for cell_id, place in places.items() if place}


def _trait(cell: Cell) -> tuple[str, str, str, str]:
    asked = canonical_json([cell.task_hash or cell.task_version, what_is_asked(cell)])
    return cell.model, _how(cell.setting), cell.task, asked


def _how(setting: Mapping[str, Any]) -> str:
    return canonical_json({key: value for key, value in setting.items() if key not in ASKED})


def _read(run: Run, wanted: frozenset[str]) -> list[tuple[str, _Part]]:
    """By cell, which may come in several parts."""
    found = []
    try:
        for batch in run.item_batches(("doc_id", "confidence")):
            if wanted.isdisjoint(batch["cell_id"].unique().to_pylist()):
                continue
            frame = batch.to_pandas().reindex(columns=["cell_id", "doc_id", "confidence"])
            frame = frame[frame["cell_id"].isin(list(wanted))]
            for cell_id, rows in frame.groupby("cell_id", observed=True, sort=False):
                sure = rows["confidence"].to_numpy(float, na_value=np.nan)
                found.append((str(cell_id), (rows["doc_id"].to_numpy(np.int64), sure)))
    except (OSError, ValueError, KeyError) as problem:
        raise UsageError(f"{run.path}: the items of a finished cell cannot be read: {problem}") from problem
    return found


def _mean(docs: NDArray[np.int64], parts: Sequence[_Part]) -> Floats:
    """NaN spreads: an item that one repeat says nothing of has none."""
    total, count = np.zeros(len(docs)), np.zeros(len(docs))
    for own, sure in parts:
        at = np.searchsorted(docs, own)
        np.add.at(total, at, sure)
        np.add.at(count, at, 1)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
