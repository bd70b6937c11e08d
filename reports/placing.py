"""An entrant's place among the others of its view: frontier, ranks, and how far it is from the first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .contest import By, Differences, Entries, ItemTable, Ranks, differences, judge_draws, rank_entries
from .hypervolume import Hypervolume, cover
from .rows import Figures, Row
from .samples import Sample
from .stats import Floats

__all__ = ["Judged", "entries_of", "order", "place", "tables_of"]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What rows were judged by, for whoever needs the same draws again.

    Attributes:
        rows: Numbers of those that have energy and are surely better than guessing.
        entries: These as arrays, in the same order.
        repeated: Which of these have an interval of energy, by number among them.
        drawn: These as arrays; None where there are none.
        covered: What their frontier covers.
    """

    rows: tuple[int, ...]
    entries: Entries
    repeated: tuple[int, ...]
    drawn: Entries | None
    covered: Hypervolume


_OTHERS: tuple[By, ...] = ("quality", "energy")


def place(figures: Sequence[Figures], rows: Sequence[Row], by: By, floor: float) -> tuple[list[Row], Judged | None]:
    """The rows with frontier, ranks, and differences from the first; and what they were judged by.

    Args:
        figures: Of the same entrants as ``rows``, in the same order.
        rows: Without a place yet.
        by: What ranks go by.
        floor: Points of quality below which nothing is ranked.
    """
    # Energy of unknown error ranks nothing.
    sure = [
        i
        for i, row in enumerate(rows)
        if row.energy_wh_per_1k and row.rel_u is not None and row.quality_low is not None and row.quality_low > 0
    ]
    if not sure:
        return list(rows), None
    entries = entries_of([figures[i] for i in sure])
    placed: list[dict[str, Any]] = [{"frontier": "unclear"} for _ in sure]
    judged = _judge([rows[i] for i in sure], tuple(sure), entries, placed)
    _rank([rows[i] for i in sure], entries, placed, by, floor)
    told = dict(zip(sure, placed, strict=True))
    return [row._replace(**told[i]) if i in told else row for i, row in enumerate(rows)], judged


def _judge(rows: Sequence[Row], numbers: tuple[int, ...], entries: Entries, placed: list[dict[str, Any]]) -> Judged:
    """Tell each one's place on the frontier; where repeats do not tell, that is unclear."""
    repeated = [k for k, row in enumerate(rows) if row.energy_wh_per_1k_low is not None]
    front: tuple[Floats, Floats] | None = None
    drawn = entries.only(np.array(repeated, dtype=np.int64)) if repeated else None
    if drawn:
        points, logs = drawn.draws
        share, named = judge_draws(points, logs, drawn.lost)
        for k, own, name in zip(repeated, share.tolist(), named, strict=True):
            placed[k] |= {"frontier": name, "p_frontier": own}
        # Who is on the frontier in no draw covers nothing in any.
        front = points[:, share > 0], logs[:, share > 0]
    whole, rel_u = len(repeated) == len(rows), max(row.rel_u or 0.0 for row in rows)
    covered, shares = cover(entries.log_energy, entries.quality, front if whole else None, rel_u)
    for own, lost in zip(placed, shares.tolist(), strict=True):
        own["hypervolume_share"] = lost
    return Judged(rows=numbers, entries=entries, repeated=tuple(repeated), drawn=drawn, covered=covered)


def order(row: Row, by: By) -> tuple[Any, ...]:
    """Sort key: ranked rows first, then by what is asked for, missing last, then by name."""
    value = -math.inf if by == "energy" and row.energy_wh_per_1k is None else worth(row, by)
    return row.rank or math.inf, -value, -(row.quality or 0.0), row.label, row.run_id


def _rank(rows: Sequence[Row], entries: Entries, placed: list[dict[str, Any]], by: By, floor: float) -> None:
    able = [k for k, row in enumerate(rows) if (row.quality or 0.0) >= floor]
    if not able:
        return
    pairs: dict[By, Differences] = {"correct_per_wh": entries.rates}
    pairs |= {name: differences(entries, name) for name in _OTHERS}
    ranks = _ranks(rows, able, pairs, by)
    best = ranks if by == "quality" else _ranks(rows, able, pairs, "quality")
    first = int(np.argmin(ranks.rank))
    for place, k in enumerate(able):
        placed[k] |= {
            "rank": int(ranks.rank[place]),
            "rank_low": int(ranks.low[place]),
            "rank_high": int(ranks.high[place]),
            "tied_with_first": bool(ranks.low[place] == 1),
            "tied_for_quality": bool(best.low[place] == 1),
        }
    for k, own in enumerate(placed):
        if k != able[first]:
            own |= _against(pairs, k, able[first])


def _ranks(rows: Sequence[Row], able: list[int], pairs: Mapping[By, Differences], by: By) -> Ranks:
    return rank_entries(pairs[by].only(able), np.array([worth(rows[k], by) for k in able]))


def worth(row: Row, by: By) -> float:
    if by == "energy":
        return -(row.energy_wh_per_1k or 0.0)
    return (row.quality if by == "quality" else row.correct_per_wh) or 0.0


def _against(pairs: Mapping[By, Differences], k: int, first: int) -> dict[str, Any]:
    """Ratios and differences of entrant ``k`` to the first, with intervals of their own (no correction)."""
    values: dict[str, Any] = {}
    for name, by, sign in (("ratio_to_first", "correct_per_wh", 1), ("energy_ratio_to_first", "energy", -1)):
        pair = pairs["correct_per_wh" if by == "correct_per_wh" else "energy"]
        ends = pair.interval(k, first)
        low, high = sorted(math.exp(sign * end) for end in ends) if ends else (None, None)
        values |= {name: math.exp(sign * float(pair.value[k, first])), f"{name}_low": low, f"{name}_high": high}
    apart = pairs["quality"]
    low, high = apart.interval(k, first) or (None, None)
    return values | {
        "quality_minus_first": float(apart.value[k, first]),
        "quality_minus_first_low": low,
        "quality_minus_first_high": high,
    }


def entries_of(figures: Sequence[Figures]) -> Entries:
    """Entrants as arrays; each must have quality and energy over the same tasks."""
    meters = {name: n for n, name in enumerate(sorted({f.entrant.yardstick for f in figures}))}
    logs = [f.log for f in figures if f.log]
    return Entries(
        quality=np.array([f.quality.value for f in figures if f.quality]),
        log_energy=np.array([log.mean for log in logs]),
        energy_var=np.array([np.nan if log.var is None else log.var for log in logs]),
        energy_df=np.array([log.df for log in logs]),
        scale_var=np.array([(f.scale or 0.0) ** 2 for f in figures]),
        yardstick=np.array([meters[f.entrant.yardstick] for f in figures], dtype=np.int64),
        items=tables_of(figures),
    )


def tables_of(figures: Sequence[Figures]) -> tuple[ItemTable, ...]:
    """The entrants' scores, a table for each of their tasks; each must have the same tasks."""
    tasks = len(figures[0].samples)
    return tuple(_table([f.samples[t] for f in figures], tasks) for t in range(tasks))


def _table(samples: Sequence[Sample], tasks: int) -> ItemTable:
    points = np.array([100 / (1 - (s.chance or 0.0)) / tasks for s in samples])
    different = {id(s.asked): s.asked for s in samples}
    docs = np.unique(np.concatenate([asked.docs for asked in different.values()]))
    places, clusters = {}, np.empty(len(docs), dtype=object)
    for name, asked in different.items():
        places[name] = np.searchsorted(docs, asked.docs)
        clusters[places[name]] = asked.clusters
    scores = np.full((len(docs), len(samples)), np.nan)
    for column, sample in enumerate(samples):
        scores[places[id(sample.asked)], column] = sample.scores
    codes = np.unique(clusters.astype(str), return_inverse=True)[1].astype(np.int64)
    return ItemTable(scores=scores, clusters=codes, points=points)
