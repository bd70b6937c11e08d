"""How far models are from what a perfect choice among them, question by question, could reach.

A bound, and no measurement: the choice is made with each answer's score known, and costs nothing. It is never ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from joulemark.harness.store import Run, canonical_json

from .asides import Aside
from .entrants import gather
from .rows import Figures, Row, measure
from .stats import Floats, energy
from .views import View
from .wording import fixed, safe, share

__all__ = ["Bound", "headroom", "perfect_router"]

_TITLE = "Routing headroom: a bound, not a measurement"
_NOTE = (
    "What these models would reach together if each question were asked of the right one, known beforehand and for "
    "nothing. A router that has to find out reaches less; this is never ranked."
)
_HEADS = ("Energy for the same quality", "Points more for the same energy")


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The best that any choice of a model for each question reaches, from the least energy to the most quality.

    Attributes:
        energy_wh: Watt-hours per 1,000 answers, rising; mean over tasks.
        quality: Points at that energy, rising ever less; mean over tasks. Between two of these the line joins them.
    """

    energy_wh: Floats
    quality: Floats

    def energy_at(self, quality: float) -> float | None:
        """The least energy for so many points; None where no choice reaches them."""
        if quality > self.quality[-1] + 1e-9:
            return None
        return float(np.interp(quality, self.quality, self.energy_wh))

    def quality_at(self, energy_wh: float) -> float | None:
        """The most points for so much energy; None where even the cheapest choice takes more."""
        if energy_wh < self.energy_wh[0] * (1 - 1e-9):
            return None
        return float(np.interp(energy_wh, self.energy_wh, self.quality))


def perfect_router(scores: Sequence[Floats], energies: Sequence[Floats], chances: Sequence[float]) -> Bound:
    """The upper concave envelope of quality over energy, for all choices of one model a question.

    Each question begins with its cheapest model, and changes to a dearer and better one in the order of what is gained
    for the energy: along each question's own envelope that is the best that any choice does (Fox 1966, "Discrete
    optimization via marginal analysis", Management Science 13, 210-216).

    Args:
        scores: By task, shape (questions, models).
        energies: By task, watt-hours per 1,000 answers of each model, shape (models,).
        chances: By task, the score of a guesser.
    """
    tasks = len(scores)
    start_energy = start_quality = 0.0
    gained, spent = [], []
    for task, wh, chance in zip(scores, energies, chances, strict=True):
        weight = 1 / (len(task) * tasks)
        points = 100 * (task - chance) / (1 - chance) * weight
        order = np.argsort(wh, kind="stable")
        for row in points[:, order]:
            first, steps = _envelope(row, wh[order] * weight)
            start_energy += wh[order][first] * weight
            start_quality += row[first]
            gained += [step[0] for step in steps]
            spent += [step[1] for step in steps]
    more, wh = np.array(gained), np.array(spent)
    best_first = np.argsort(-more / wh, kind="stable") if len(more) else np.zeros(0, dtype=np.int64)
    return Bound(
        energy_wh=start_energy + np.concatenate(([0.0], np.cumsum(wh[best_first]))),
        quality=start_quality + np.concatenate(([0.0], np.cumsum(more[best_first]))),
    )


def headroom(view: View, runs: Sequence[Run]) -> Aside | None:
    """Each entrant against the bound; None where fewer than two answered the very same questions."""
    found = _figures(view, runs)
    if len(found) < 2:
        return None
    bound = _bound(found)
    lines = []
    for row in (row for row in view.rows if _key_of_row(row) in {_key(f) for f in found}):
        own_wh, points = row.energy_wh_per_1k, row.quality
        assert own_wh is not None
        assert points is not None
        least, most = bound.energy_at(points), bound.quality_at(own_wh)
        cells = (share(None if least is None else least / own_wh), _more(None if most is None else most - points))
        lines.append((safe(row.label), cells))
    return Aside(title=_TITLE, note=_NOTE, heads=_HEADS, lines=tuple(lines))


def _envelope(points: Floats, wh: Floats) -> tuple[int, list[tuple[float, float]]]:
    """Of one question: the model to begin with, and the steps to better ones, each of less gain for the energy."""
    cheapest = np.flatnonzero(wh == wh[0])
    at = first = int(cheapest[np.argmax(points[cheapest])])
    steps: list[tuple[float, float]] = []
    while True:
        better = np.flatnonzero((points > points[at]) & (wh > wh[at]))
        if not len(better):
            return first, steps
        slopes = (points[better] - points[at]) / (wh[better] - wh[at])
        # Of equal slopes the furthest, so that no step is taken twice.
        nearest = better[np.flatnonzero(slopes == slopes.max())[-1]]
        steps.append((float(points[nearest] - points[at]), float(wh[nearest] - wh[at])))
        at = int(nearest)


def _figures(view: View, runs: Sequence[Run]) -> list[Figures]:
    """Those of the view's entrants that have quality and energy, if all were asked the very same questions."""
    rows = {_key_of_row(row) for row in view.rows if row.quality is not None and row.energy_wh_per_1k is not None}
    found = [measure(entrant, view.tasks) for entrant in gather(runs)]
    found = [f for f in found if f.quality and f.log and _key(f) in rows]
    docs = [[sample.docs.tolist() for sample in f.samples] for f in found]
    return found if all(own == docs[0] for own in docs) else []


def _bound(found: Sequence[Figures]) -> Bound:
    tasks = range(len(found[0].samples))
    return perfect_router(
        scores=[np.stack([f.samples[t].scores for f in found], axis=1) for t in tasks],
        energies=[np.array([_wh(f, t) for f in found]) for t in tasks],
        chances=[found[0].samples[t].chance or 0.0 for t in tasks],
    )


def _wh(f: Figures, task: int) -> float:
    """Energy of one task, so that the tasks' mean is what tables show over all of them."""
    assert f.log
    own = np.array([f.samples[task].energy_wh[k] for k in f.repeats])
    whole = np.array([[sample.energy_wh[k] for sample in f.samples] for k in f.repeats]).mean()
    return float(own.mean() / whole * energy(f.log).value)


def _key(f: Figures) -> tuple[str, str, str]:
    return f.entrant.run_id, f.entrant.model, canonical_json(dict(f.entrant.setting))


def _key_of_row(row: Row) -> tuple[str, str, str]:
    return row.run_id, row.model, canonical_json(dict(row.setting))


def _more(points: float | None) -> str:
    return fixed(points) if points is None or points <= 0 else f"+{fixed(points)}"
