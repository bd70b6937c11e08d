"""How much a frontier covers: points of quality times decades of energy, up to a published reference point.

The reference is 0 points, a guesser's, and 100,000 Wh for 1,000 answers: 100 Wh an answer, more than any language
model of today takes. It is the same for all views, so that their hypervolumes may be set beside each other. Zitzler
and Thiele 1998, "Multiobjective optimization using evolutionary algorithms", define the measure; here energy is in
decades, since a tenth less is worth the same everywhere on the scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .pareto import frontier
from .stats import Floats
from .wording import number, span

__all__ = [
    "REFERENCE_QUALITY",
    "REFERENCE_WH",
    "Hypervolume",
    "cover",
    "exclusive",
    "hypervolume",
    "interval",
    "sentence",
]

REFERENCE_QUALITY = 0.0
"""Points: what a guesser gets."""

REFERENCE_WH = 100_000.0
"""Watt-hours per 1,000 answers; what takes more adds nothing."""


@dataclass(frozen=True, kw_only=True)
class Hypervolume:
    """A view's hypervolume, in point-decades.

    Attributes:
        value: Of the entrants' figures as they are.
        low, high: A 95 % interval; None where there is none.
    """

    value: float
    low: float | None
    high: float | None


def hypervolume(log_energy: Floats, quality: Floats, log_reference: float = math.log(REFERENCE_WH)) -> Floats:
    """The area that points dominate: the best quality up to an energy, over decades of it up to the reference.

    Args:
        log_energy: Natural logs of energy, shape (..., points); the reference's unit.
        quality: Points, the same shape; what is below 0 counts as 0.
        log_reference: Natural log of the energy up to which it is counted.

    Returns:
        Point-decades, shape (...).
    """
    order = np.argsort(log_energy, axis=-1)
    logs = np.minimum(np.take_along_axis(log_energy, order, -1), log_reference)
    best = np.maximum.accumulate(np.maximum(np.take_along_axis(quality, order, -1), REFERENCE_QUALITY), axis=-1)
    steps = np.diff(logs, axis=-1, append=np.full((*logs.shape[:-1], 1), log_reference))
    return np.asarray((best * steps).sum(axis=-1) / math.log(10))


def exclusive(log_energy: Floats, quality: Floats, log_reference: float = math.log(REFERENCE_WH)) -> Floats:
    """What each of the points alone adds, in point-decades; 0 off the frontier. Shape (points,)."""
    whole = hypervolume(log_energy, quality, log_reference)
    lost = np.zeros(len(quality))
    for at in np.flatnonzero(frontier(log_energy, quality)):
        rest = np.delete(np.arange(len(quality)), at)
        lost[at] = max(0.0, float(whole - hypervolume(log_energy[rest], quality[rest], log_reference)))
    return lost


def interval(value: float, points: Floats, log_energy: Floats, rel_u: float = 0.0) -> tuple[float, float]:
    """A 95 % interval from joint resamples of all entrants, as `contest.draw_jointly` gives them.

    The best of several figures with errors comes out too high, and too high again when these are drawn anew: so the
    draws' quantiles are mirrored at the value, which takes that off instead of adding it (Efron and Tibshirani 1993,
    "An introduction to the bootstrap", 13.3). The value itself always lies inside. Where many entrants are alike on
    the frontier it may hold the truth in fewer than 95 % of cases.

    Args:
        value: Of the figures themselves.
        points: Quality, shape (draws, entrants).
        log_energy: The same shape.
        rel_u: The meter's own relative standard uncertainty, the same for all: it moves the frontier to either side,
            by as many decades for each point of the best quality.
    """
    low, high = np.quantile(hypervolume(log_energy, points), [0.025, 0.975])
    shift = 1.96 * rel_u * max(0.0, float(points.mean(axis=0).max())) / math.log(10)
    below, above = math.hypot(max(0.0, float(high) - value), shift), math.hypot(max(0.0, value - float(low)), shift)
    return max(0.0, value - below), value + above


def cover(
    log_energy: Floats, quality: Floats, draws: tuple[Floats, Floats] | None = None, rel_u: float = 0.0
) -> tuple[Hypervolume, Floats]:
    """The hypervolume of points, and the share of it that would be lost without each.

    Args:
        log_energy: Natural logs of Wh per 1,000 answers, shape (points,).
        quality: Points, the same shape.
        draws: Quality and log energy as they could have come out, each ``(draws, points)``; None: no interval.
        rel_u: See `interval`.
    """
    value = float(hypervolume(log_energy, quality))
    low, high = interval(value, *draws, rel_u=rel_u) if draws else (None, None)
    shares = exclusive(log_energy, quality) / value if value else np.zeros(len(quality))
    return Hypervolume(value=value, low=low, high=high), shares


def sentence(found: Hypervolume | None) -> str:
    """What a view's frontier covers, and what that is for; empty where nothing is judged."""
    if found is None:
        return ""
    limits = span(found.low, found.high)
    return (
        "For setting the first table's frontier as a whole beside that of another report on the same tasks: it covers "
        f"{number(found.value)}{f' (95 % {limits})' if limits else ''} point-decades, points of quality times decades "
        f"of energy up to {REFERENCE_WH:,.0f} Wh per 1,000 answers. More is better; it says nothing of any one entrant."
    )
