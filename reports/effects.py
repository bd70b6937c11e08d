"""What one entrant has more than another: points of quality, times the energy, and what could have been seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import nctdtrinc, ndtri

from .contest import Entries, differences
from .placing import tables_of
from .rows import Figures
from .stats import Floats, half_width, log_energy, t_quantile, two_sided_p

__all__ = ["Effect", "Energies", "detectable", "of_energies", "of_quality", "of_rates", "one_by_one"]

POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What the second has more than the first: a difference in points, or a ratio.

    Attributes:
        value: The point estimate.
        low: Lower end of its 95 % interval; None where one repeat gives none.
        high: Upper end.
        detectable: The smallest true effect that a comparison like this would call different with 80 % probability; of
            a ratio how far it is above 1.
        p: P value of no difference, of the test that the interval stands for.
        var: Variance of the difference, of points squared; None of ratios.
        df: Its degrees of freedom.
        significant: Whether it is one also after Holm's correction over all tasks, quality and energy; None over all
            tasks together, of a single task, and where there is no interval.
    """

    value: float
    low: float | None = None
    high: float | None = None
    detectable: float | None = None
    p: float | None = None
    var: float | None = None
    df: float = math.inf
    significant: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Energies:
    """Log energies of two by repeat, and the parts of the error of their difference.

    Attributes:
        first: Log of the first one's Wh per 1,000 items, by repeat.
        second: That of the second.
        variances: Independent parts of the variance of the difference of their means; None for one repeat.
        dfs: Degrees of freedom of each part.
        paired: Whether repeats are compared one by one.
    """

    first: Floats
    second: Floats
    variances: tuple[float, ...] | None
    dfs: tuple[float, ...]
    paired: bool = False

    @property
    def log_ratio(self) -> float:
        """Log of the second's over the first's."""
        return float(self.second.mean() - self.first.mean())

    @property
    def effect(self) -> Effect:
        """That ratio with its interval."""
        return _ratio(self.log_ratio, self.variances, self.dfs)


def of_quality(a: Figures, b: Figures) -> Effect:
    """Paired by item, cluster-robust, with one made-up disagreement each way (`contest.differences`)."""
    pairs = differences(_without_energy(a, b), "quality")
    value, var, df = (float(each[1, 0]) for each in (pairs.value, pairs.var, pairs.df))
    half = t_quantile(df) * math.sqrt(var)
    p = _p_value(value, math.sqrt(var), df)
    seen = detectable(var, df)
    return Effect(value=value, low=value - half, high=value + half, detectable=seen, p=p, var=var, df=df)


def of_energies(a: Figures, b: Figures, *, together: bool) -> Energies | None:
    """Energy per item of both, repeat by repeat where they were measured together.

    None where one has none, or nobody knows how far off it may be.
    """
    if not a.log or not b.log or a.scale is None or b.scale is None:
        return None
    common = sorted(set(a.repeats) & set(b.repeats)) if together else []
    of_a, of_b = (common, common) if len(common) > 1 else (a.repeats, b.repeats)
    (first, u_first), (second, u_second) = _by_repeat(a, of_a), _by_repeat(b, of_b)
    scale = 0.0 if a.entrant.yardstick == b.entrant.yardstick else a.scale**2 + b.scale**2
    if len(common) > 1:
        # The meter's own error is a floor under a scatter that is small by luck, as everywhere.
        return one_by_one(first, second, float(np.mean(u_first**2 + u_second**2)) / len(common), scale)
    logs = [log_energy(np.exp(own).tolist(), u.tolist()) for own, u in ((first, u_first), (second, u_second))]
    known = [log.var for log in logs if log.var is not None]
    variances = (*known, scale) if len(known) == len(logs) else None
    return Energies(first=first, second=second, variances=variances, dfs=(*(log.df for log in logs), math.inf))


def one_by_one(first: Floats, second: Floats, floor: float = 0.0, scale: float = 0.0) -> Energies:
    """Log energies of two, repeat by repeat.

    Args:
        first: Of the first, shape (repeats,), at least two.
        second: Of the second.
        floor: Least variance of the mean difference.
        scale: Variance of what the meters do not share.
    """
    var = max(float(np.var(second - first, ddof=1)) / len(first), floor)
    return Energies(first=first, second=second, variances=(var, scale), dfs=(len(first) - 1.0, math.inf), paired=True)


def of_rates(a: Figures, b: Figures, energy: Energies, *, same_answers: bool) -> Effect | None:
    """Right answers per watt-hour: the ratio of qualities over that of energies; None where one may be guessing."""
    assert a.quality
    assert b.quality
    if any(points.low is None or points.low <= 0 for points in (a.quality, b.quality)):
        return None
    if same_answers:
        return _ratio(-energy.log_ratio, energy.variances, energy.dfs)
    pairs = differences(_without_energy(a, b), "correct_per_wh")
    variances = None if energy.variances is None else (float(pairs.var[1, 0]), *energy.variances)
    return _ratio(float(pairs.value[1, 0]) - energy.log_ratio, variances, (float(pairs.df[1, 0]), *energy.dfs))


def detectable(var: float, df: float) -> float:
    """The smallest true effect that a two-sided t test at 5 % finds with 80 % probability, in units of its value.

    By the noncentral t distribution; the far tail, which adds next to nothing, is left out.

    Args:
        var: Variance of the estimate.
        df: Its degrees of freedom; infinite where it is normal.
    """
    critical = t_quantile(df)
    noncentral = critical + ndtri(POWER) if df > 1e6 else float(nctdtrinc(df, 1 - POWER, critical))
    return float(noncentral) * math.sqrt(var)


def _by_repeat(f: Figures, repeats: Sequence[int]) -> tuple[Floats, Floats]:
    """Log of the mean over tasks of energy per item, and its independent relative error, by repeat."""
    n = len(f.samples)
    wh = np.array([[sample.energy_wh[k] for sample in f.samples] for k in repeats])
    u = np.array([[sample.independent_u[k] for sample in f.samples] for k in repeats])
    mean = wh.mean(axis=1)
    return np.log(mean), np.sqrt(((u * wh) ** 2).sum(axis=1)) / n / mean


def _ratio(log: float, variances: Sequence[float] | None, dfs: Sequence[float]) -> Effect:
    if variances is None:
        return Effect(value=math.exp(log))
    half, df = half_width(variances, dfs)
    # Of a test that calls different what this very interval tells from 1, be it wider than Satterthwaite's.
    error = half / t_quantile(df)
    return Effect(
        value=math.exp(log),
        low=math.exp(log - half),
        high=math.exp(log + half),
        detectable=math.expm1(detectable(error**2, df)),
        p=_p_value(log, error, df),
    )


def _p_value(value: float, error: float, df: float) -> float:
    """Two-sided, of Student's t; 1 where there is neither a difference nor an error."""
    if error == 0:
        return float(value == 0)
    return float(two_sided_p(np.array(value / error), np.array(df)))


def _without_energy(a: Figures, b: Figures) -> Entries:
    """Both as a view of two, of which only the items tell."""
    qualities = np.array([points.value for points in (a.quality, b.quality) if points])
    none = np.zeros(2)
    return Entries(
        quality=qualities,
        log_energy=none,
        energy_var=none,
        energy_df=np.full(2, np.inf),
        scale_var=none,
        yardstick=np.zeros(2, dtype=np.int64),
        items=tables_of([a, b]),
    )
