"""Intervals: quality over items, energy over repeats, their ratio, and many pairs at once.

Everything is 95 % unless told otherwise. Missing is None: a figure that cannot have an interval
(one repeat, one item) has none, rather than one of width 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr, stdtrit

__all__ = [
    "LEVEL",
    "Estimate",
    "Floats",
    "LogEnergy",
    "Share",
    "accuracy",
    "combine",
    "energy",
    "half_width",
    "holm",
    "log_energy",
    "p_of_sum",
    "quality",
    "right_per_wh",
    "satterthwaite",
    "t_quantile",
    "two_sided_p",
]

LEVEL = 0.95
_UNEVEN = 2
"""Tasks of which one has more than so many times another's items are combined as uneven ones."""

_FAR = 8.3
_TAILS = (0.0, *np.geomspace(1e-10, 0.5, 33).tolist())
"""Edges of the slices of a t distribution over which `p_of_sum` takes the mean."""

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
class Share(Estimate):
    """A mean of scores, or of such means, that has a smallest and a largest possible value.

    Attributes:
        var: Its variance over items, which is 0 where all of them score the same.
        groups: Clusters of items behind it.
        bottom: What it is where all scores are 0.
        top: What it is where all are 1.
    """

    var: float = 0.0
    groups: int
    bottom: float = 0.0
    top: float = 1.0


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


@lru_cache(maxsize=4096)
def t_quantile(df: float, level: float = LEVEL) -> float:
    """Two-sided quantile of Student's t; of the normal where ``df`` is infinite."""
    return float(stdtrit(min(df, 1e9), 0.5 + level / 2))


def two_sided_p(t: Floats, df: Floats) -> Floats:
    """P value of Student's t, elementwise; 1 where ``t`` is not a number."""
    p = 2 * stdtr(np.minimum(df, 1e9), -np.abs(t))
    return np.where(np.isnan(p), 1.0, p)


def p_of_sum(value: Floats, var: Floats, df: Floats, scatter: Floats, scatter_df: Floats) -> Floats:
    """P value of a sum of an error that many items tell and one that few repeats tell, elementwise; 1 where unknown.

    The geometric mean of Satterthwaite's and of Behrens and Fisher's, which is the mean over what the scatter may be.
    Where many pairs are corrected for, far tails are asked: by itself the first calls any of 10 equal entrants
    different in up to 20 % (2 repeats that scatter by 8 %), and the second in 1 %, with a third of the power; together
    2 to 5 % from 2 repeats on (`benchmarks/simulations.py`).

    Args:
        value: The differences.
        var: Their variances, ``scatter`` included.
        df: Satterthwaite's degrees of freedom of ``var``.
        scatter: The part of ``var`` that repeats tell.
        scatter_df: Its degrees of freedom.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        p = two_sided_p(value / np.sqrt(var), df)
    asked = (p < 1 - LEVEL) & (scatter > 0) & (scatter < var)
    # Quantiles are looked up by degrees of freedom, of which there are few once rounded down.
    freedom, place = np.unique(np.floor(20 * scatter_df[asked]) / 20, return_inverse=True)
    steady = np.sqrt((var - scatter)[asked])
    error, far = np.sqrt(scatter[asked]) / steady, np.abs(value[asked]) / steady
    other = np.zeros(len(far))
    for below, above in pairwise(_TAILS):
        shift = error * -stdtrit(freedom, math.sqrt(max(below, above / 4) * above))[place]
        other += 2 * (above - below) * (_normal_cdf(shift - far) + _normal_cdf(-shift - far))
    p[asked] = np.sqrt(p[asked] * np.maximum(other, p[asked]))
    return p


def _normal_cdf(z: Floats) -> Floats:
    """Of the standard normal, to 1e-16; most of very many pairs lie where that is 0 or 1."""
    near = np.abs(z) < _FAR
    p = (z > 0).astype(float)
    p[near] = ndtr(z[near])
    return p


def satterthwaite(variances: Sequence[Floats], dfs: Sequence[Floats | float]) -> tuple[Floats, Floats]:
    """Sum of independent variances and its degrees of freedom (Satterthwaite 1946), elementwise."""
    total: Floats = np.asarray(sum(variances))
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = sum(v**2 / df for v, df in zip(variances, dfs, strict=True))
        return total, np.where(spread > 0, total**2 / spread, np.inf)


def half_width(variances: Sequence[float], dfs: Sequence[float]) -> tuple[float, float]:
    """Half the width of an interval for a sum of independent parts, and Satterthwaite's degrees of freedom.

    Midway between Satterthwaite's interval and the sum of squared half-widths (MOVER). With 3 repeats and
    a second part of known size the first covers 92.4 % at worst and the second up to 97.6 %; midway
    covers 94.3 to 96.5 % at any mix (simulated, 40,000 draws each; from 10 repeats all three agree).
    """
    # As `satterthwaite`, of numbers: a table has tens of thousands of intervals.
    var = float(sum(variances))
    spread = sum(v * v / own if own else math.inf * v for v, own in zip(variances, dfs, strict=True))
    df = float(var * var / spread) if spread > 0 else math.inf
    short = t_quantile(df) * math.sqrt(var)
    long = math.sqrt(math.fsum(t_quantile(own) ** 2 * v for v, own in zip(variances, dfs, strict=True)))
    return (short + long) / 2, df


def accuracy(scores: Floats, clusters: NDArray[np.int64] | None = None) -> Share:
    """Mean of item scores in 0..1 with an interval over items, or over clusters of items.

    The standard error is cluster-robust (arXiv 2411.00640) with the usual G/(G-1); of it and the value a
    Wilson interval is made. Fewer than 2 clusters: no interval.

    Args:
        scores: One score an item, shape (items,).
        clusters: Items with the same number share a source; None: each stands alone.
    """
    n, value = len(scores), float(np.mean(scores))
    sums = _cluster_sums(scores - value, clusters)
    groups = len(sums)
    if groups < 2:
        return Share(value=value, groups=groups)
    df = groups - 1.0
    return _wilson(Share(value=value, df=df, var=float(sums @ sums) / n**2 * groups / df, groups=groups))


def quality(accuracy: Share, chance: float) -> Share:
    """Points above guessing, ``100 (a - c) / (1 - c)``; negative below chance, never clipped."""

    def points(a: float) -> float:
        return 100 * (a - chance) / (1 - chance)

    low, high = accuracy.low, accuracy.high
    return replace(
        accuracy,
        value=points(accuracy.value),
        low=None if low is None else points(low),
        high=None if high is None else points(high),
        var=accuracy.var * (100 / (1 - chance)) ** 2,
        bottom=points(accuracy.bottom),
        top=points(accuracy.top),
    )


def combine(parts: Sequence[Share]) -> Share:
    """Plain mean of independent shares.

    Of shares of about as many items variances add, and the mean has an interval like that of a single one: half-widths
    of the parts' own intervals, added in squares (MOVER: Zou and Donner 2008), would cover 86 to 91 % for tasks that
    are nearly all right. Of uneven shares they are added so: a small task that is all right by luck has no variance,
    and much weight, so that the first way would cover 65 to 90 % (simulated; `benchmarks/simulations.py`).
    """
    n = len(parts)
    if n == 1:
        return parts[0]
    whole = Share(
        value=math.fsum(p.value for p in parts) / n,
        df=math.fsum(p.df for p in parts),
        var=math.fsum(p.var for p in parts) / n**2,
        groups=sum(p.groups for p in parts),
        bottom=math.fsum(p.bottom for p in parts) / n,
        top=math.fsum(p.top for p in parts) / n,
    )
    if any(p.low is None for p in parts):
        return replace(whole, df=math.inf)
    groups = [p.groups for p in parts]
    return _wilson(whole) if max(groups) <= _UNEVEN * min(groups) else _mover(whole, parts)


def _mover(whole: Share, parts: Sequence[Share]) -> Share:
    """The mean of these parts, with the squares of their half-widths added on each side."""
    n = len(parts)
    down = math.sqrt(math.fsum((p.value - p.low) ** 2 for p in parts if p.low is not None)) / n
    up = math.sqrt(math.fsum((p.high - p.value) ** 2 for p in parts if p.high is not None)) / n
    _, df = satterthwaite([np.array(p.var) for p in parts], [p.df for p in parts])
    return replace(whole, low=whole.value - down, high=whole.value + up, df=float(df))


def log_energy(wh: Sequence[float], independent_u: Sequence[float] | None = None) -> LogEnergy:
    """Energy over repeats on the log scale.

    The scatter of the repeats already holds the meter's independent error, so that error is not
    added again; it is a floor under the variance, for repeats that agree by luck.

    Args:
        wh: Watt-hours per 1,000 items, one a repeat, all above 0.
        independent_u: The meter's relative standard uncertainty of each that is independent from repeat to repeat.
    """
    # Of a few numbers, and of very many entrants: arrays would take several times as long.
    logs = [math.log(each) for each in wh]
    n = len(logs)
    mean = math.fsum(logs) / n
    if n < 2:
        return LogEnergy(mean=mean, var=None, df=0.0)
    scatter = math.fsum((each - mean) ** 2 for each in logs) / (n - 1) / n
    floor = math.fsum(u * u for u in independent_u) / n**2 if independent_u is not None else 0.0
    return LogEnergy(mean=mean, var=max(scatter, floor), df=n - 1.0)


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


def _wilson(share: Share) -> Share:
    """The share with its interval: Wilson's, Student's t in place of z.

    The standard error sets an effective number of items ``a(1-a)/se^2``. For many items that is the usual t
    interval; near both ends it stays inside them. Where all items score the same the standard error is 0, and
    the number of clusters is the effective number: no set of items is proof of perfection.
    """
    reach = share.top - share.bottom
    a, var = (share.value - share.bottom) / reach, share.var / reach**2
    inside = a * (1 - a)
    effective = inside / var if var > 1e-18 and inside > 1e-12 else float(share.groups)
    t2 = t_quantile(share.df) ** 2
    middle = (a + t2 / (2 * effective)) / (1 + t2 / effective)
    half = math.sqrt(t2 * max(inside, 0.0) / effective + (t2 / (2 * effective)) ** 2) / (1 + t2 / effective)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return replace(share, low=share.bottom + reach * low, high=share.bottom + reach * high)


def _cluster_sums(residuals: Floats, clusters: NDArray[np.int64] | None) -> Floats:
    if clusters is None:
        return residuals
    return np.bincount(clusters, weights=residuals).astype(float)[np.bincount(clusters) > 0]
