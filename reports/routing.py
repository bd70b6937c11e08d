"""How far models are from what choosing among them, question by question, could reach.

Three yardsticks beside each other: the measured frontier, the best fixed cascade by confidence (an estimate, see
`cascades`), and a perfect router (a bound: it knows each answer's score beforehand, and costs nothing). No measurement
is any of the last two, and they are never ranked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from joulemark.harness.store import Run

from .cascades import Cascade, CrossFit, Outcome, SureAnswers, halves, outcome, pool
from .confidences import read_confidences
from .rows import Figures, Row
from .stats import Floats, energy
from .views import View

__all__ = ["MOST", "Bound", "Fixed", "Headroom", "Line", "headroom", "judged", "perfect_router"]

MOST = 20
"""Entrants that cascades are made of, at most: those on the frontier first, then those that may be."""

_BUDGETS = 40
"""Places of the cascades' curve."""

_NEAR = {"on": 0, "unclear": 1, "dominated": 2, None: 3}


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


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """The cascade that one would run, chosen with all questions: ``outcome`` is of the same, and so too good."""

    small: Row
    large: Row
    threshold: float
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Line:
    """One entrant and its yardsticks; watt-hours per 1,000 answers and points, None where there is none.

    Attributes:
        row: The entrant.
        frontier_wh: The least measured energy of an entrant of at least its quality, of those whose place on the
            frontier is judged; None where its own is not.
        router_wh: What a perfect router needs for its quality.
        router_points: What that reaches beyond its quality for its energy.
        cheapest: The best cascade of about its quality, chosen on one half of the questions and told on the other;
            ``quality`` is in points beyond its own. None where a measured model of that quality, or of its own, takes
            no more.
        best: The same of about its energy; None where a measured model of that energy, or of its own, is as good.
        fixed: Which cascade that is, with all questions.
        fixed_best: The same for ``best``.
    """

    row: Row
    frontier_wh: float | None
    router_wh: float | None
    router_points: float | None
    cheapest: Outcome | None = None
    best: Outcome | None = None
    fixed: Fixed | None = None
    fixed_best: Fixed | None = None


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """What a view's entrants could reach together.

    Attributes:
        lines: In the view's order; those that have quality and energy.
        bound: The perfect router's.
        tried: The entrants that cascades were made of.
        sure: Those of them that tell how sure they are of every answer, and so may be asked first; empty where no
            cascade could be tried. One that is a cascade itself tells that of its small model alone, and is none of
            them.
        curve: Energies and qualities of the best cascades, each told on other questions than it was chosen on.
    """

    lines: tuple[Line, ...]
    bound: Bound
    tried: tuple[Row, ...]
    sure: tuple[Row, ...]
    curve: tuple[tuple[float, float], ...]


def perfect_router(scores: Iterable[Floats], energies: Sequence[Floats], chances: Sequence[float]) -> Bound:
    """The upper concave envelope of quality over energy, for all choices of one model a question.

    Each question begins with its cheapest model, and changes to a dearer and better one in the order of what is gained
    for the energy: along each question's own envelope that is the best that any choice does (Fox 1966, "Discrete
    optimization via marginal analysis", Management Science 13, 210-216).

    Args:
        scores: By task, shape (questions, models).
        energies: By task, watt-hours per 1,000 answers of each model, shape (models,).
        chances: By task, the score of a guesser.
    """
    start_energy = start_quality = 0.0
    gained, spent = [np.zeros(0)], [np.zeros(0)]
    for task, wh, chance in zip(scores, energies, chances, strict=True):
        weight = 1 / (len(task) * len(energies))
        order = np.argsort(wh, kind="stable")
        points = 100 * (task[:, order] - chance) / (1 - chance) * weight
        first, steps = _envelopes(points, wh[order] * weight)
        start_energy += wh[order[0]] / len(energies)
        start_quality += float(first.sum())
        gained += [more for more, _ in steps]
        spent += [cost for _, cost in steps]
    more, cost = np.concatenate(gained), np.concatenate(spent)
    best_first = np.argsort(-more / cost, kind="stable")
    return Bound(
        energy_wh=start_energy + np.concatenate(([0.0], np.cumsum(cost[best_first]))),
        quality=start_quality + np.concatenate(([0.0], np.cumsum(more[best_first]))),
    )


def judged(rows: Sequence[Row]) -> list[Row]:
    """Those of which the measured frontier is: the main picture's. Others may be guessing."""
    return [row for row in rows if row.frontier is not None]


def headroom(view: View, runs: Sequence[Run]) -> Headroom | None:
    """Each entrant against its yardsticks; None where fewer than two answered the very same questions."""
    found = _figures(view)
    if len(found) < 2:
        return None
    rows = [row for row, _ in found]
    bound = _bound([own for _, own in found])
    lines = _plain(rows, bound)
    few = sorted(range(len(rows)), key=lambda at: (_NEAR[rows[at].frontier], -(rows[at].p_frontier or 0.0), at))[:MOST]
    answers, split = _answers(runs, [found[at] for at in few])
    tried = [rows[at] for at in few]
    curve: tuple[tuple[float, float], ...] = ()
    if len(answers.smalls) and all(own.any() for half in split for own in half):
        lines, curve = _with_cascades(lines, [own for _, own in found], answers, split, tried)
    return Headroom(
        lines=tuple(lines),
        bound=bound,
        tried=tuple(tried),
        sure=tuple(tried[at] for at in answers.smalls) if curve else (),
        curve=curve,
    )


def _envelopes(points: Floats, wh: Floats) -> tuple[Floats, list[tuple[Floats, Floats]]]:
    """Of all questions at once: points to begin with, and steps to better models, each of less gain for the energy.

    Args:
        points: Shape (questions, models), models by rising energy.
        wh: Shape (models,), rising.
    """
    at = np.argmax(points[:, wh == wh[0]], axis=1)
    rows = np.arange(len(points))
    first, steps = points[rows, at], []
    while len(rows):
        own, here, left = points[rows], points[rows, at][:, None], wh[None, :] - wh[at][:, None]
        better = (own > here) & (left > 0)
        slopes = np.where(better, (own - here) / np.where(left > 0, left, 1.0), -1.0)
        # Of equal slopes the furthest, so that no step is taken twice.
        to = wh.size - 1 - np.argmax(slopes[:, ::-1], axis=1)
        goes = better.any(axis=1)
        rows, before, at = rows[goes], at[goes], to[goes]
        if len(rows):
            steps.append((points[rows, at] - points[rows, before], wh[at] - wh[before]))
    return first, steps


def _plain(rows: Sequence[Row], bound: Bound) -> list[Line]:
    """The lines without cascades."""
    lines, places = [], [_place(row) for row in judged(rows)]
    for row in rows:
        own_wh, own = _place(row)
        most = bound.quality_at(own_wh)
        lines.append(
            Line(
                row=row,
                frontier_wh=_least(places, own) if row.frontier else None,
                router_wh=bound.energy_at(own),
                router_points=None if most is None else most - own,
            )
        )
    return lines


def _with_cascades(
    lines: Sequence[Line],
    found: Sequence[Figures],
    answers: SureAnswers,
    split: tuple[tuple[NDArray[np.bool_], ...], ...],
    tried: Sequence[Row],
) -> tuple[list[Line], tuple[tuple[float, float], ...]]:
    """The lines with what cascades come to, and the cascades' curve."""
    fit = CrossFit(answers, split[0], split[1])
    everything = tuple(np.ones(len(own), dtype=bool) for own in split[0])
    whole = pool(answers, everything)

    def named(cascade: Cascade | None) -> Fixed | None:
        if cascade is None:
            return None
        small, large = tried[cascade.small], tried[cascade.large]
        told = outcome(answers, everything, cascade)
        return Fixed(small=small, large=large, threshold=cascade.threshold, outcome=told)

    made, places = [], [_place(row) for row in judged([line.row for line in lines])]
    for line, own in zip(lines, found, strict=True):
        wh, points = _place(line.row)
        there = [_quality_on(own, half) for half in split]
        cheapest, best = (
            told and told.beyond(sum(there) / 2) for told in (fit.cheapest((there[0], there[1])), fit.best(wh))
        )
        saves = cheapest and cheapest.energy_wh < _least(places, points + min(0.0, cheapest.quality))
        gains = best and points + best.quality > _most(places, max(wh, best.energy_wh))
        made.append(
            replace(
                line,
                cheapest=cheapest if saves else None,
                best=best if gains else None,
                fixed=named(whole.cheapest(points)) if saves else None,
                fixed_best=named(whole.best(wh)) if gains else None,
            )
        )
    told = [fit.best(budget) for budget in _budgets(whole.energy_wh)]
    return made, tuple(sorted({(own.energy_wh, own.quality) for own in told if own}))


def _least(places: Sequence[tuple[float, float]], quality: float) -> float:
    """The least measured energy of so many points; infinite where nobody has them."""
    return min((wh for wh, points in places if points >= quality), default=np.inf)


def _most(places: Sequence[tuple[float, float]], energy_wh: float) -> float:
    """The most points measured for so much energy; minus infinite where all take more."""
    return max((points for wh, points in places if wh <= energy_wh), default=-np.inf)


def _budgets(energy_wh: Floats) -> list[float]:
    """From the cheapest cascade to the dearest one, evenly on a log scale; energies rise."""
    if not len(energy_wh):
        return []
    return [float(budget) for budget in np.geomspace(energy_wh[0], energy_wh[-1], _BUDGETS)]


def _figures(view: View) -> list[tuple[Row, Figures]]:
    """Those of the view's entrants that have quality and energy, in its order, if all were asked the same questions."""
    found = [(row, own) for row, own in zip(view.rows, view.figures, strict=True) if own.quality and own.log]
    first = [sample.docs for sample in found[0][1].samples] if found else []
    same = all(np.array_equal(s.docs, docs) for _, f in found for s, docs in zip(f.samples, first, strict=True))
    return found if same else []


def _bound(found: Sequence[Figures]) -> Bound:
    tasks = range(len(found[0].samples))
    return perfect_router(
        # One task at a time: of a thousand models all together would take much memory.
        scores=(np.stack([f.samples[t].scores for f in found], axis=1) for t in tasks),
        energies=[np.array([_wh(f, t) for f in found]) for t in tasks],
        chances=[found[0].samples[t].chance or 0.0 for t in tasks],
    )


def _answers(
    runs: Sequence[Run], found: Sequence[tuple[Row, Figures]]
) -> tuple[SureAnswers, tuple[tuple[NDArray[np.bool_], ...], ...]]:
    """What these answered and how sure they were, and the two halves of the questions."""
    few = [own for _, own in found]
    samples, sure = few[0].samples, read_confidences(runs, few)
    for own, (row, _) in zip(sure, found, strict=True):
        if row.escalated is not None:
            own[:] = [np.full_like(part, np.nan) for part in own]
    tasks = range(len(samples))
    answers = SureAnswers(
        scores=tuple(np.stack([f.samples[t].scores for f in few], axis=1) for t in tasks),
        confidence=tuple(np.stack([own[t] for own in sure], axis=1) for t in tasks),
        energy_wh=tuple(np.array([_wh(f, t) for f in few]) for t in tasks),
        chances=tuple(sample.chance or 0.0 for sample in samples),
    )
    return answers, halves([s.task for s in samples], [s.asked.clusters for s in samples])


def _quality_on(own: Figures, half: Sequence[NDArray[np.bool_]]) -> float:
    """Points on these of an entrant's questions, mean over tasks."""
    parts = zip(own.samples, half, strict=True)
    points = [100 * (float(s.scores[at].mean()) - (s.chance or 0.0)) / (1 - (s.chance or 0.0)) for s, at in parts]
    return sum(points) / len(points)


def _wh(f: Figures, task: int) -> float:
    """Energy of one task, so that the tasks' mean is what tables show over all of them."""
    assert f.log
    own = np.array([f.samples[task].energy_wh[k] for k in f.repeats])
    whole = np.array([[sample.energy_wh[k] for sample in f.samples] for k in f.repeats]).mean()
    return float(own.mean() / whole * energy(f.log).value)


def _place(row: Row) -> tuple[float, float]:
    """Its energy and its quality."""
    assert row.energy_wh_per_1k is not None
    assert row.quality is not None
    return row.energy_wh_per_1k, row.quality
