"""The rules of a gate on one task: for each an estimate of which more is worse, and the margin it is held against."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.special import chdtri, nctdtrinc, ndtri, stdtr, stdtrit

from .effects import POWER, Effect, Energies, of_energies, of_quality
from .entrants import Entrant
from .gateconfig import GateConfig, Limits
from .gatehistory import Spread
from .rows import Figures, measure
from .stats import Floats, Share, right_per_wh, satterthwaite

__all__ = ["Outcome", "Test", "Tested", "Verdict", "energy_test", "quality_bound", "quality_test", "rules_of"]

_HUGE = 500.0
"""A critical value in standard errors."""

Verdict = Literal["pass", "fail", "inconclusive", "incomparable"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one rule; the names are the contract's.

    Attributes:
        model: Whom it is about.
        metric: ``energy``, ``quality``, or the name of an absolute bound.
        task: Its task.
        baseline: The baseline's figure: watt-hours per 1,000 items, or points; None where there is none.
        candidate: The candidate's.
        ratio_or_delta: Candidate over baseline of energies, candidate less baseline of qualities; of an absolute bound
            the candidate's own figure.
        low: Lower end of its interval of level 1 - 2 alpha, so that each end is one of the one-sided tests.
        high: Upper end.
        margin: What it must keep to, in the same unit: 1.05 for 5 %, -2 for 2 points.
        verdict: Of this rule.
        min_detectable: The smallest true effect that fails with 80 % probability, as ``ratio_or_delta`` is written.
        repeats: That it rests on; of energy those that baseline and candidate share.
        reason: Why nothing can be told, or what is missing; may be empty.
    """

    model: str
    metric: str
    task: str
    baseline: float | None = None
    candidate: float | None = None
    ratio_or_delta: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None
    verdict: Verdict
    min_detectable: float | None = None
    repeats: int = 0
    reason: str = ""


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


Tested = tuple[Outcome, Test | None]
"""A rule, and the test that decides it; none where nothing can be told."""


def rules_of(
    name: str,
    a: Entrant,
    b: Entrant,
    task: str,
    config: GateConfig,
    spread: Spread | None = None,
    apart: Collection[int] = (),
) -> list[Tested]:
    """What the rules of a task that both finished come to, not yet decided.

    Args:
        name: The candidate.
        a: The baseline.
        b: The candidate.
        task: The task.
        config: What is asked for.
        spread: From run to run, where both were not measured in one.
        apart: Repeats of which one was measured before a run was resumed, and the other after.
    """
    limits = config.limits_of(task)
    first, second = measure(a, [task]), measure(b, [task])
    first = replace(first, repeats=tuple(repeat for repeat in first.repeats if repeat not in apart))
    found = []
    if limits.max_increase is not None:
        found.append(_energy_rule(name, task, first, second, limits.max_increase, spread))
    if limits.max_drop is not None:
        found.append(_quality_rule(name, task, first, second, limits.max_drop))
    return found + _bounds(name, task, second, limits)


def energy_test(found: Energies, most: float, spread: Spread | None = None) -> Test | None:
    """The test of a log ratio against ``most``, a share above the baseline; None where repeats do not tell its error.

    Of two runs each has its own day: the variance from run to run counts twice.
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


def _binomial(share: float) -> float:
    return max(share * (1 - share), 0.0)


def _untold(name: str, metric: str, task: str, margin: float | None, reason: str) -> Outcome:
    return Outcome(model=name, metric=metric, task=task, margin=margin, verdict="inconclusive", reason=reason)


def _energy_rule(name: str, task: str, a: Figures, b: Figures, most: float, spread: Spread | None) -> Tested:
    if not a.log or not b.log:
        return _untold(name, "energy", task, 1 + most, f"energy is missing in {task}, so nothing is told of it."), None
    shared = len(set(a.repeats) & set(b.repeats))
    plain = Outcome(
        model=name, metric="energy", task=task, margin=1 + most, verdict="inconclusive", baseline=math.exp(a.log.mean),
        candidate=math.exp(b.log.mean), ratio_or_delta=math.exp(b.log.mean - a.log.mean), repeats=shared,
    )  # fmt: skip
    if spread is None and shared < 2:
        reason = f"{_repeats(shared)} of {task} has the energy of both, measured in turn; 2 are needed, better 6."
        return replace(plain, reason=reason), None
    found = of_energies(a, b, together=spread is None)
    test = energy_test(found, most, spread) if found else None
    if not found or not test:
        return replace(plain, reason=f"one repeat of {task}: no interval, so nothing is told of energy."), None
    first, second = (math.exp(float(own.mean())) for own in (found.first, found.second))
    repeats = min(len(found.first), len(found.second))
    return replace(
        plain, baseline=first, candidate=second, ratio_or_delta=math.exp(found.log_ratio), repeats=repeats
    ), test


def _repeats(number: int) -> str:
    return {0: "no repeat", 1: "one repeat"}.get(number, f"{number} repeats")


def _quality_rule(name: str, task: str, a: Figures, b: Figures, most: float) -> Tested:
    if a.quality is None or b.quality is None:
        return _untold(name, "quality", task, -most, f"{task} has no quality, so nothing is told of it."), None
    found = of_quality(a, b)
    plain = Outcome(
        model=name, metric="quality", task=task, margin=-most, verdict="inconclusive",
        baseline=a.quality.value, candidate=b.quality.value, ratio_or_delta=found.value,
        repeats=min(sample.repeats for f in (a, b) for sample in f.samples),
    )  # fmt: skip
    if a.quality.low is None or b.quality.low is None:
        return replace(plain, reason=f"{task} has one item: no interval of quality."), None
    return plain, quality_test(found, most, b.samples[0].scores, b.samples[0].chance or 0.0)


def _bounds(name: str, task: str, f: Figures, limits: Limits) -> list[Tested]:
    """Absolute bounds, which hold the meter's own error as well."""
    rel_u, found = math.hypot(f.scale, f.workload), []
    if limits.max_wh_per_1k is not None:
        found.append(_log_bound(name, "max_wh_per_1k", task, f, limits.max_wh_per_1k, rel_u))
    if limits.min_quality is not None:
        found.append(_quality_bound(name, task, f, limits.min_quality))
    if limits.min_correct_per_wh is not None:
        found.append(_rate_bound(name, task, f, limits.min_correct_per_wh, rel_u))
    return found


def _quality_bound(name: str, task: str, f: Figures, least: float) -> Tested:
    plain = _untold(name, "min_quality", task, least, "")
    if not isinstance(f.quality, Share) or f.quality.low is None:
        return replace(plain, reason=f"{task} has no interval of quality, so nothing is told of it."), None
    told = replace(plain, candidate=f.quality.value, ratio_or_delta=f.quality.value, repeats=f.samples[0].repeats)
    return told, quality_bound(f.quality, least)


def _log_bound(name: str, metric: str, task: str, f: Figures, most: float, rel_u: float) -> Tested:
    plain = _untold(name, metric, task, most, "")
    if f.log is None:
        return replace(plain, reason=f"energy is missing in {task}, so nothing is told of it."), None
    plain = replace(plain, candidate=math.exp(f.log.mean), ratio_or_delta=math.exp(f.log.mean))
    plain = replace(plain, repeats=len(f.repeats))
    if f.log.var is None:
        return replace(plain, reason=f"one repeat of {task}: no interval, so nothing is told of energy."), None
    var, df = satterthwaite([np.array(f.log.var), np.array(rel_u**2)], [f.log.df, math.inf])
    return plain, Test(value=f.log.mean, var=float(var), df=float(df), limit=math.log(most))


def _rate_bound(name: str, task: str, f: Figures, least: float, rel_u: float) -> Tested:
    plain = _untold(name, "min_correct_per_wh", task, least, "")
    told = right_per_wh(f.quality, f.log, rel_u) if f.quality and f.log else None
    if told is None:
        reason = f"{task} has no right answers per watt-hour: {name} may be guessing, or lacks energy."
        return replace(plain, reason=reason), None
    plain = replace(plain, candidate=told.value, ratio_or_delta=told.value, repeats=len(f.repeats))
    if told.low is None or told.high is None:
        return replace(plain, reason=f"one repeat of {task}: no interval, so nothing is told of energy."), None
    half = math.log(told.high / told.low) / 2
    error = half / float(stdtrit(min(told.df, 1e9), 0.975))
    return plain, Test(value=-math.log(told.value), var=error**2, df=told.df, limit=-math.log(least))
