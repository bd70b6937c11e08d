"""What a page must know to rank a part of a view anew: who surely differs from whom, and who surely beats whom.

With it a reader's filters give the ranges that `joulemark rank` gives for those entrants alone: Holm's correction is
over the pairs that are shown, and an entrant is dominated as long as one that surely beats it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemark.reports.contest import CONFIDENT, differences, draw_jointly
from joulemark.reports.placing import entries_of
from joulemark.reports.stats import LEVEL, Floats, p_of_sum
from joulemark.reports.views import View

__all__ = ["MOST_PAIRED", "Pairs", "pair_up"]

MOST_PAIRED = 100
"""Entrants of a view at most: pairs grow with their square, and a page has to stay small."""
_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The judged entrants of a view among each other.

    Attributes:
        rows: Their places in the view.
        p: P values of their differences in right answers per Wh, row by row above the diagonal; 0 where a difference is
            sure among any of them, 1 where it is among none.
        beaten_by: For each, which of them (by number here) beat it in quality and energy in 95 % of the draws.
    """

    rows: tuple[int, ...]
    p: tuple[float, ...]
    beaten_by: tuple[tuple[int, ...], ...]


def pair_up(view: View) -> Pairs | None:
    """The pairs of a view; None where nothing is judged, or too many are."""
    sure = [at for at, row in enumerate(view.rows) if row.frontier is not None]
    if view.mixed or not 0 < len(sure) <= MOST_PAIRED:
        return None
    entries = entries_of([view.figures[at] for at in sure])
    pairs, upper = differences(entries, "correct_per_wh"), np.triu_indices(len(sure), k=1)
    p = p_of_sum(*(part[upper] for part in (pairs.value, pairs.var, pairs.df, pairs.scatter, pairs.scatter_df)))
    repeated = [k for k, at in enumerate(sure) if view.rows[at].energy_wh_per_1k_low is not None]
    beaten: list[tuple[int, ...]] = [()] * len(sure)
    if repeated:
        points, logs = draw_jointly(entries.only(np.array(repeated, dtype=np.int64)))
        for place, k in enumerate(repeated):
            beaten[k] = tuple(repeated[rival] for rival in _beat(points, logs, place))
    return Pairs(rows=tuple(sure), p=_shortened(p), beaten_by=tuple(beaten))


def _shortened(p: Floats) -> tuple[float, ...]:
    """Only those are told in full that Holm's correction calls one or the other, by how many are compared."""
    alpha = 1 - LEVEL
    told = (0 if one <= alpha / len(p) else 1 if one > alpha else float(f"{one:.{_DIGITS}g}") for one in p.tolist())
    return tuple(told)


def _beat(points: Floats, logs: Floats, one: int) -> list[int]:
    """Who beats one in both; arrays of shape (draws, entrants)."""
    share = ((points > points[:, [one]]) & (logs < logs[:, [one]])).mean(axis=0)
    found: list[int] = np.flatnonzero(share >= CONFIDENT).tolist()
    return found
