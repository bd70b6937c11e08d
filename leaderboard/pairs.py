"""What a page must know to rank a part of a view anew: who surely differs from whom, and who surely beats whom.

It comes as a file of its own, which the page asks for when a filter first needs it. With it a reader's filters give the
ranges that `joulemark rank` gives for those entrants alone: Holm's correction is over the pairs that are shown, and an
entrant is dominated as long as one that surely beats it is shown.
"""

from __future__ import annotations

import json

import numpy as np

from joulemark.reports.placing import Judged
from joulemark.reports.stats import LEVEL, Floats

__all__ = ["MOST_PAIRED", "pair_up"]

MOST_PAIRED = 200
"""Judged entrants of a view at most: pairs grow with their square, and of so many take some 35 kB as a server sends
them."""
_DIGITS = 4


def pair_up(judged: Judged | None) -> str | None:
    """The judged entrants of a view among each other, as JSON; None where nobody is judged, or too many are.

    ``p``: P values of their differences in right answers per Wh, row by row above the diagonal, the judged rows in
    their order; 0 where a difference is sure among any of them, 1 where it is among none. ``beaten_by``: for each,
    which of them (by number among the judged) beat it in quality and energy in 95 % of the draws.
    """
    if judged is None or len(judged.rows) > MOST_PAIRED:
        return None
    in_order = np.argsort(judged.rows)
    place = {int(k): number for number, k in enumerate(in_order)}
    p = judged.entries.rates.p[np.ix_(in_order, in_order)][np.triu_indices(len(in_order), k=1)]
    beaten: list[list[int]] = [[] for _ in in_order]
    if judged.drawn:
        own = [place[k] for k in judged.repeated]
        for at, beats in zip(own, judged.drawn.beats, strict=True):
            beaten[at] = sorted(own[rival] for rival in np.flatnonzero(beats).tolist())
    # As text at once: numbers by themselves take ten times as much, and a board may have thousands of views.
    return json.dumps({"p": _shortened(p), "beaten_by": beaten}, separators=(",", ":"))


def _shortened(p: Floats) -> list[float]:
    """Only those are told that Holm's correction calls one or the other, by how many are compared; none too small."""
    alpha = 1 - LEVEL
    told: list[float] = np.where(p > alpha, 1, 0).tolist()
    for at in np.flatnonzero((p > alpha / max(len(p), 1)) & (p <= alpha)).tolist():
        told[at] = min(alpha, float(f"{p[at] * (1 + 0.5 * 10 ** (1 - _DIGITS)):.{_DIGITS}g}"))
    return told
