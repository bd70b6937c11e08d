"""Intervals: quality over items, energy over repeats, their ratio, and many pairs at once.

Everything is 95 % unless told otherwise. Missing is None: a figure that cannot have an interval
(one repeat, one item) has none, rather than one of width 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

__all__ = [
    "LEVEL",
    "Estimate",
    "Floats",
    "LogEnergy",
    "accuracy",
    "combine",
    "energy",
    "half_width",
    "holm",
    "log_energy",
    "quality",
    "right_per_wh",
    "satterthwaite",
    "t_quantile",
    "two_sided_p",
]

LEVEL = 0.95
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: The point estimate.
        low: Lower end of the interval; None where there is none.
        high: Upper end.
        df: Degrees of freedom behind it; infinite where they are plenty.
    """

    value: float
    low: float | None = None
    high: float | None = None
    df: float = math.inf

    @property
    def se(self) -> float | None:
        """Standard error that the interval's width stands for, in the unit of ``value``."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / (2 * t_quantile(self.df))


@dataclass(frozen=True, kw_only=True)
class LogEnergy:
    """Energy of an entrant on the log scale.

    Attributes:
        mean: Mean over repeats of ln(Wh per 1,000 items).
        var: Variance of that mean, of what is independent between entrants; None for one repeat.
        df: Its degrees of freedom, repeats - 1.
    """

    mean: float
    var: float | None
    df: float


def t_quantile(df: float, level: float = LEVEL) -> float:
    """Two-sided quantile of Student's t; of the normal where ``df`` is infinite."""
    return float(stdtrit(min(df, 1e9), 0.5 + level / 2))


def two_sided_p(t: Floats, df: Floats) -> Floats:
    """P value of Student's t, elementwise; 1 where ``t`` is not a number."""
    p = 2 * stdtr(np.minimum(df, 1e9), -np.abs(t))
    return np.where(np.isnan(p), 1.0, p)


def satterthwaite(variances: Sequence[Floats], dfs: Sequence[Floats | float]) -> tuple[Floats, Floats]:
    """Sum of independent variances and its degrees of freedom (Satterthwaite 1946), elementwise."""
    total = np.sum(np.broadcast_arrays(*variances), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sum(np.broadcast_arrays(*(v**2 / df for v, df in zip(variances, dfs, strict=True))), axis=0)
        return total, np.where(spread > 0, total**2 / spread, np.inf)


def half_width(variances: Sequence[float], dfs: Sequence[float]) -> tuple[float, float]:
    """Half the width of an interval for a sum of independent parts, and Satterthwaite's degrees of freedom.

    Midway between Satterthwaite's interval and the sum of squared half-widths (MOVER). With 3 repeats and
    a second part of known size the first covers 92.4 % at worst and the second up to 97.6 %; midway
    covers 94.3 to 96.5 % at any mix (simulated, 40,000 draws each; from 10 repeats all three agree).
    """
    var, df = satterthwaite([np.array(v) for v in variances], list(dfs))
    short = t_quantile(float(df)) * math.sqrt(float(var))
    long = math.sqrt(math.fsum(t_quantile(own) ** 2 * v for v, own in zip(variances, dfs, strict=True)))
    return (short + long) / 2, float(df)


def accuracy(scores: Floats, clusters: NDArray[np.int64] | None = None) -> Estimate:
    """Mean of item scores in 0..1 with an interval over items, or over clusters of items.

    The standard error is cluster-robust (arXiv 2411.00640) with the usual G/(G-1). It sets an
    effective number of items ``a(1-a)/se^2``, with which a Wilson interval is made, Student's t in
    place of z. For many items that is the usual t interval; near 0 and 1 it stays inside 0..1. Where
    all items score the same the standard error is 0, and the number of clusters G is the effective
    number: no set of items is proof of perfection. Fewer than 2 clusters: no interval.

    Args:
        scores: One score an item, shape (items,).
        clusters: Items with the same number share a source; None: each stands alone.
    """
    n, value = len(scores), float(np.mean(scores))
    sums = _cluster_sums(scores - value, clusters)
    groups = len(sums)
    if groups < 2:
        return Estimate(value=value)
    df = groups - 1.0
    se2 = float(sums @ sums) / n**2 * groups / df
    inside = value * (1 - value)
    effective = inside / se2 if se2 > 1e-18 and inside > 1e-12 else float(groups)
    t2 = t_quantile(df) ** 2
    middle = (value + t2 / (2 * effective)) / (1 + t2 / effective)
    half = math.sqrt(t2 * inside / effective + (t2 / (2 * effective)) ** 2) / (1 + t2 / effective)
    return Estimate(value=value, low=max(0.0, middle - half), high=min(1.0, middle + half), df=df)


def quality(accuracy: Estimate, chance: float) -> Estimate:
    """Points above guessing, ``100 (a - c) / (1 - c)``; negative below chance, never clipped."""

    def points(a: float | None) -> float | None:
        return None if a is None else 100 * (a - chance) / (1 - chance)

    value = points(accuracy.value)
    assert value is not None
    return Estimate(value=value, low=points(accuracy.low), high=points(accuracy.high), df=accuracy.df)


def combine(parts: Sequence[Estimate]) -> Estimate:
    """Plain mean of independent estimates.

    Each side's half-widths add in squares (MOVER: Zou and Donner 2008), which is the usual sum of
    squared standard errors for symmetric intervals, and keeps lopsided ones lopsided.
    """
    n = len(parts)
    if n == 1:
        return parts[0]
    value = math.fsum(p.value for p in parts) / n
    if any(p.low is None for p in parts):
        return Estimate(value=value)
    down = math.sqrt(sum((p.value - p.low) ** 2 for p in parts if p.low is not None)) / n
    up = math.sqrt(sum((p.high - p.value) ** 2 for p in parts if p.high is not None)) / n
    return Estimate(value=value, low=value - down, high=value + up, df=sum(p.df for p in parts))


def log_energy(wh: Sequence[float], independent_u: Sequence[float] | None = None) -> LogEnergy:
    """Energy over repeats on the log scale.

    The scatter of the repeats already holds the meter's independent error, so that error is not
    added again; it is a floor under the variance, for repeats that agree by luck.

    Args:
        wh: Watt-hours per 1,000 items, one a repeat, all above 0.
        independent_u: The meter's relative standard uncertainty of each that is independent from repeat to repeat.
    """
    logs = np.log(np.asarray(wh, dtype=float))
    n = len(logs)
    if n < 2:
        return LogEnergy(mean=float(logs.mean()), var=None, df=0.0)
    scatter = float(logs.var(ddof=1)) / n
    floor = float(np.mean(np.square(independent_u))) / n if independent_u is not None else 0.0
    return LogEnergy(mean=float(logs.mean()), var=max(scatter, floor), df=n - 1.0)


def energy(log: LogEnergy, rel_u: float = 0.0) -> Estimate:
    """Geometric mean of the repeats' energies, with a t interval on the log scale.

    Args:
        log: Energy on the log scale, ln Wh per 1,000 items.
        rel_u: Relative standard uncertainty (k=1) of the meter that no repeat averages out; 0 where
            entrants of one meter are compared. It adds in squares, with infinite degrees of freedom.
    """
    if log.var is None:
        return Estimate(value=math.exp(log.mean))
    half, df = half_width([log.var, rel_u**2], [log.df, math.inf])
    return Estimate(value=math.exp(log.mean), low=math.exp(log.mean - half), high=math.exp(log.mean + half), df=df)


def right_per_wh(points: Estimate, log: LogEnergy, rel_u: float = 0.0) -> Estimate | None:
    """Chance-adjusted right answers per watt-hour, ``10 Q / (Wh per 1,000)``.

    The interval is made on the log scale (`half_width`), where the linear delta method would cover
    91.5 %. None where the interval of the quality holds 0 or less.
    """
    if points.low is None or points.low <= 0:
        return None
    value = 10 * points.value / math.exp(log.mean)
    if log.var is None or points.se is None:
        return Estimate(value=value)
    half, df = half_width([(points.se / points.value) ** 2, log.var, rel_u**2], [points.df, log.df, math.inf])
    return Estimate(value=value, low=value * math.exp(-half), high=value * math.exp(half), df=df)


def holm(p: Floats, alpha: float = 1 - LEVEL) -> NDArray[np.bool_]:
    """Which of these P values are significant together (Holm 1979); shape as ``p``."""
    order = np.argsort(p, kind="stable")
    passed = p[order] <= alpha / (len(p) - np.arange(len(p)))
    significant = np.zeros(len(p), dtype=bool)
    significant[order] = np.logical_and.accumulate(passed)
    return significant


def _cluster_sums(residuals: Floats, clusters: NDArray[np.int64] | None) -> Floats:
    if clusters is None:
        return residuals
    _, codes = np.unique(clusters, return_inverse=True)
    return np.bincount(codes, weights=residuals).astype(float)
