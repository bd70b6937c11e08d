"""The tests of a gate: an estimate of which more is worse, and how surely it lies beyond its margin or within."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import chdtri, nctdtrinc, ndtri, stdtr, stdtrit

from .effects import POWER, Effect, Energies
from .gatehistory import Spread
from .stats import Floats, LogEnergy, Share, half_width, right_per_wh, satterthwaite, t_quantile

__all__ = ["Ceiling", "Rate", "Test", "bound_test", "energy_test", "quality_bound", "quality_test", "rate_test"]

LARGEST = 700.0
"""A log ratio of which there is a ratio: two repeats and a thousand rules may leave intervals that have no number."""
_HUGE = 500.0
"""A critical value in standard errors."""

_FAR = 50.0
"""A log ratio that no limit is away by."""


@dataclass(frozen=True, kw_only=True)
class Test:
    """An estimate in units of which more is worse, and what it must not surely be beyond.

    Attributes:
        value: Log ratio of energies, or points lost.
        var: Its variance.
        df: Degrees of freedom.
        limit: The margin in the same unit.
    """

    value: float
    var: float
    df: float
    limit: float

    @property
    def error(self) -> float:
        """Standard error, in the unit of the estimate."""
        return math.sqrt(self.var)

    def p_beyond(self) -> float:
        """P value of its being within the margin: small where it is surely beyond."""
        if self.error == 0:
            return float(self.value <= self.limit)
        return self._below(self.limit - self.value)

    def p_within(self) -> float:
        """P value of its being beyond: small where it is surely within."""
        if self.error == 0:
            return float(self.value > self.limit)
        return self._below(self.value - self.limit)

    def _below(self, by: float) -> float:
        return float(stdtr(min(self.df, 1e9), by / self.error))

    def ends(self, alpha: float) -> tuple[float, float]:
        """The interval whose ends are both one-sided tests at ``alpha``."""
        half = float(stdtrit(min(self.df, 1e9), 1 - alpha)) * self.error
        return self.value - half, self.value + half

    def detectable(self, alpha: float) -> float:
        """What it must truly be to be found beyond the margin with 80 % probability."""
        return self.limit + _errors_beyond(self.df, alpha) * self.error


@dataclass(frozen=True, kw_only=True)
class Rate(Test):
    """Right answers per watt-hour, whose error is another at each limit.

    Attributes:
        points: Its quality.
        log: Its energy.
        rel_u: Relative standard uncertainty of the meter that no repeat averages out.
    """

    points: Share
    log: LogEnergy
    rel_u: float

    def ends(self, alpha: float) -> tuple[float, float]:
        """The limits that would just be surely broken and just surely kept, each with the error that belongs to it."""

        def at(limit: float) -> Test:
            return rate_test(self.points, self.log, math.exp(-limit), self.rel_u)

        more = _from(0.0, _FAR, lambda by: at(self.value - by).p_beyond() <= alpha)
        fewer = _from(0.0, _FAR, lambda by: at(self.value + by).p_within() <= alpha)
        return self.value - more, self.value + (fewer if fewer < _FAR else math.inf)


@dataclass(frozen=True, kw_only=True)
class Ceiling(Test):
    """Right answers per watt-hour of a model that may be guessing: no more than its most points over its least energy.

    Each of these two is bounded at half of alpha, so that together they err in at most alpha (Bonferroni). It is never
    kept, for the model may give none.

    Attributes:
        value: Log of Wh per 1,000 items; ``var`` and ``df`` are its own.
        limit: Log of the fewest right answers per Wh that are asked for, negated.
        points: Its quality.
    """

    points: Share

    def p_beyond(self) -> float:
        """The least alpha at which both bounds meet the limit: where both have one P value, and that is its half."""
        met = self._lowest(lambda points: self._p_fewer(points) <= self._p_dearer(points))
        return min(2 * max(self._p_fewer(met), self._p_dearer(met)), 1.0)

    def p_within(self) -> float:
        """Never surely within."""
        return 1.0

    def ends(self, alpha: float) -> tuple[float, float]:
        """From the fewest right answers per Wh that it may break the limit with, on the log scale, to none at all."""
        most = self._lowest(lambda points: self._p_fewer(points) <= alpha / 2)
        return super().ends(alpha / 2)[0] - math.log(10 * most), math.inf

    def detectable(self, _alpha: float) -> float:
        """Unknown: how far it must truly be beyond depends on points and energy both."""
        return math.inf

    def _p_fewer(self, points: float) -> float:
        """P value of its having so many points or more."""
        return quality_bound(self.points, points).p_beyond()

    def _p_dearer(self, points: float) -> float:
        """P value of its taking no more energy than that at which so many points keep the limit."""
        return self._below(math.log(10 * points) + self.limit - self.value)

    def _lowest(self, holds: Callable[[float], bool]) -> float:
        """The fewest points of which this holds."""
        return _from(max(self.points.value, 1e-9), self.points.top, holds)


def energy_test(found: Energies, most: float, spread: Spread | None = None) -> Test | None:
    """The test of a log ratio against ``most``, a share above the baseline; None where repeats do not tell its error.

    Of two runs each has its own day: the variance from day to day counts twice.
    """
    if found.variances is None:
        return None
    days, df_days = (2 * spread.var, spread.df) if spread else (0.0, math.inf)
    var, df = satterthwaite([np.array(v) for v in (*found.variances, days)], [*found.dfs, df_days])
    return Test(value=found.log_ratio, var=float(var), df=float(df), limit=math.log1p(most))


def quality_test(found: Effect, most: float, scores: Floats, chance: float) -> Test:
    """The test of points lost against ``most``; ``scores`` are the candidate's, by item, and ``chance`` the guesser's.

    Where answers are right or wrong, a loss of so many points has at least the error of so many lost answers: few that
    were lost by luck would have a small error as well, and pass up to 6.7 % where 5 % are allowed (simulated).
    """
    unit = 100 / (1 - chance)
    # Of part scores it has none of its own; answers that share a source are lost together.
    whole = float(np.isin(scores, (0.0, 1.0)).mean())
    floor = whole * _binomial(most / unit) / min(len(scores), found.df + 1) * unit**2
    return Test(value=-found.value, var=max(found.var or 0.0, floor), df=found.df, limit=most)


def quality_bound(points: Share, least: float) -> Test:
    """The test of points against the least that is asked for, with the error that they would have there.

    As in Wilson's interval, and not with the error that they happen to show: of 50 right answers none was wrong, which
    is no proof of 96 %.
    """
    reach = points.top - points.bottom
    inside = _binomial((points.value - points.bottom) / reach)
    var = points.var / reach**2
    effective = inside / var if var > 1e-18 and inside > 1e-12 else float(points.groups)
    var_there = _binomial((least - points.bottom) / reach) / effective * reach**2
    return Test(value=-points.value, var=var_there, df=points.df, limit=-least)


def rate_test(points: Share, log: LogEnergy, least: float, rel_u: float = 0.0) -> Test:
    """The test of right answers beyond guessing per watt-hour against the least that is asked for, on the log scale.

    Few points above guessing that are many by luck have a small relative error, and such models would pass in up to
    10.6 % where 5 % are allowed (simulated). So the error is no less than that of the points that would just keep the
    limit: divided by the logarithmic mean of both, it makes the test of points alone that of `quality_bound`.

    Args:
        points: Quality, with an interval.
        log: Energy, of several repeats.
        least: Right answers per Wh.
        rel_u: Relative standard uncertainty of the meter that no repeat averages out.
    """
    told, limit = right_per_wh(points, log, rel_u), -math.log(least)
    if told is None or points.se is None or log.var is None:
        mean, var, df = _with_meter(log, rel_u)
        return Ceiling(value=mean, var=var, df=df, limit=limit, points=points)
    enough = points.value * least / told.value
    there = quality_bound(points, enough).error / _log_mean(points.value, enough)
    parts = max(points.se / points.value, there) ** 2, log.var, rel_u**2
    half, df = half_width(parts, [points.df, log.df, math.inf])
    var = (half / t_quantile(df)) ** 2
    return Rate(value=-math.log(told.value), var=var, df=df, limit=limit, points=points, log=log, rel_u=rel_u)


def bound_test(log: LogEnergy, most: float, rel_u: float) -> Test:
    """The test of energy against the most Wh per 1,000 items, with the meter's own error."""
    mean, var, df = _with_meter(log, rel_u)
    return Test(value=mean, var=var, df=df, limit=math.log(most))


def _with_meter(log: LogEnergy, rel_u: float) -> tuple[float, float, float]:
    """Log energy, its variance with the meter's own error, and degrees of freedom."""
    var, df = satterthwaite([np.array(log.var), np.array(rel_u**2)], [log.df, math.inf])
    return log.mean, float(var), float(df)


def _log_mean(x: float, y: float) -> float:
    """The logarithmic mean: a difference by it is the difference of logs."""
    return (x - y) / math.log(x / y) if abs(x / y - 1) > 1e-6 else x


def _binomial(share: float) -> float:
    return max(share * (1 - share), 0.0)


def _from(low: float, high: float, holds: Callable[[float], bool]) -> float:
    """From where on this holds, by halving; ``high`` where it does nowhere."""
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


@lru_cache(maxsize=4096)
def _errors_beyond(df: float, alpha: float) -> float:
    """By how many standard errors it must truly be beyond, for a power of `POWER`: of the noncentral t distribution.

    Where the critical value is huge (two repeats, a thousand rules) the search takes seconds, or never ends; there the
    error's own error is all that counts, and its quantile is a chi-squared one.
    """
    critical = float(stdtrit(min(df, 1e9), 1 - alpha))
    if df > 1e6:
        return critical + float(ndtri(POWER))
    if critical > _HUGE:
        return critical * math.sqrt(float(chdtri(df, 1 - POWER)) / df)
    return float(nctdtrinc(df, 1 - POWER, critical))
