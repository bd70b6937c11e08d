"""The rules of a gate on one task: for each an estimate of which more is worse, and the margin it is held against."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import nctdtrinc, ndtri, stdtr, stdtrit

from .effects import POWER, of_energies, of_quality
from .entrants import Entrant
from .gateconfig import GateConfig, Limits
from .rows import Figures, measure
from .stats import right_per_wh, satterthwaite

__all__ = ["Outcome", "Test", "Tested", "Verdict", "rules_of"]

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
        return self._below(self.limit - self.value)

    def p_within(self) -> float:
        """P value of its being beyond: small where it is surely within."""
        return self._below(self.value - self.limit)

    def _below(self, by: float) -> float:
        if self.error == 0:
            return float(by >= 0)
        return float(stdtr(min(self.df, 1e9), by / self.error))

    def ends(self, alpha: float) -> tuple[float, float]:
        """The interval whose ends are both one-sided tests at ``alpha``."""
        half = float(stdtrit(min(self.df, 1e9), 1 - alpha)) * self.error
        return self.value - half, self.value + half

    def detectable(self, alpha: float) -> float:
        """What it must truly be to be found beyond the margin with 80 % probability."""
        critical = float(stdtrit(min(self.df, 1e9), 1 - alpha))
        large = self.df > 1e6
        shift = critical + float(ndtri(POWER)) if large else float(nctdtrinc(self.df, 1 - POWER, critical))
        return self.limit + shift * self.error


Tested = tuple[Outcome, Test | None]
"""A rule, and the test that decides it; none where nothing can be told."""


def rules_of(name: str, a: Entrant, b: Entrant, task: str, config: GateConfig) -> list[Tested]:
    """What the rules of a task come to, not yet decided."""
    limits = config.limits_of(task)
    if task not in b.samples:
        reason = f"{name} has no finished cell of {task}."
        return [(Outcome(model=name, metric="task", task=task, margin=None, verdict="fail", reason=reason), None)]
    if task not in a.samples:
        reason = f"the baseline has no finished cell of {task}, which {name} has."
        return [(_untold(name, "task", task, None, reason), None)]
    first, second = measure(a, [task]), measure(b, [task])
    found = []
    if limits.max_increase is not None:
        found.append(_energy_rule(name, task, first, second, limits.max_increase))
    if limits.max_drop is not None:
        found.append(_quality_rule(name, task, first, second, limits.max_drop))
    return found + _bounds(name, task, second, limits)


def _untold(name: str, metric: str, task: str, margin: float | None, reason: str) -> Outcome:
    return Outcome(model=name, metric=metric, task=task, margin=margin, verdict="inconclusive", reason=reason)


def _energy_rule(name: str, task: str, a: Figures, b: Figures, most: float) -> Tested:
    found = of_energies(a, b, together=a.entrant.run_id == b.entrant.run_id)
    if found is None:
        return _untold(name, "energy", task, 1 + most, f"energy is missing in {task}, so nothing is told of it."), None
    plain = Outcome(
        model=name, metric="energy", task=task, margin=1 + most, verdict="inconclusive",
        baseline=math.exp(float(found.first.mean())), candidate=math.exp(float(found.second.mean())),
        ratio_or_delta=math.exp(found.log_ratio),
    )  # fmt: skip
    if found.variances is None:
        return replace(plain, reason="one repeat: no interval, so nothing is told of energy."), None
    var, df = satterthwaite([np.array(v) for v in found.variances], list(found.dfs))
    return plain, Test(value=found.log_ratio, var=float(var), df=float(df), limit=math.log1p(most))


def _quality_rule(name: str, task: str, a: Figures, b: Figures, most: float) -> Tested:
    if a.quality is None or b.quality is None:
        return _untold(name, "quality", task, -most, f"{task} has no quality, so nothing is told of it."), None
    found = of_quality(a, b)
    plain = Outcome(
        model=name, metric="quality", task=task, margin=-most, verdict="inconclusive",
        baseline=a.quality.value, candidate=b.quality.value, ratio_or_delta=found.value,
    )  # fmt: skip
    if found.low is None or found.high is None:
        return replace(plain, reason=f"{task} has one item: no interval of quality."), None
    return plain, Test(value=-found.value, var=found.var or 0.0, df=found.df, limit=most)


def _bounds(name: str, task: str, f: Figures, limits: Limits) -> list[Tested]:
    """Absolute bounds, which hold the meter's own error as well."""
    rel_u, found = math.hypot(f.scale, f.workload), []
    if limits.max_wh_per_1k is not None:
        found.append(_log_bound(name, "max_wh_per_1k", task, f, limits.max_wh_per_1k, rel_u))
    if limits.min_quality is not None:
        plain = _untold(name, "min_quality", task, limits.min_quality, "")
        if f.quality is None or f.quality.se is None:
            found.append((replace(plain, reason=f"{task} has no interval of quality."), None))
        else:
            told = replace(plain, candidate=f.quality.value, ratio_or_delta=f.quality.value)
            test = Test(value=-f.quality.value, var=f.quality.se**2, df=f.quality.df, limit=-limits.min_quality)
            found.append((told, test))
    if limits.min_correct_per_wh is not None:
        found.append(_rate_bound(name, task, f, limits.min_correct_per_wh, rel_u))
    return found


def _log_bound(name: str, metric: str, task: str, f: Figures, most: float, rel_u: float) -> Tested:
    plain = _untold(name, metric, task, most, "")
    if f.log is None:
        return replace(plain, reason=f"energy is missing in {task}, so nothing is told of it."), None
    plain = replace(plain, candidate=math.exp(f.log.mean), ratio_or_delta=math.exp(f.log.mean))
    if f.log.var is None:
        return replace(plain, reason="one repeat: no interval, so nothing is told of energy."), None
    var, df = satterthwaite([np.array(f.log.var), np.array(rel_u**2)], [f.log.df, math.inf])
    return plain, Test(value=f.log.mean, var=float(var), df=float(df), limit=math.log(most))


def _rate_bound(name: str, task: str, f: Figures, least: float, rel_u: float) -> Tested:
    plain = _untold(name, "min_correct_per_wh", task, least, "")
    told = right_per_wh(f.quality, f.log, rel_u) if f.quality and f.log else None
    if told is None:
        return replace(
            plain, reason=f"{task} has no right answers per watt-hour: it may be guessing, or lacks energy."
        ), None
    plain = replace(plain, candidate=told.value, ratio_or_delta=told.value)
    if told.low is None or told.high is None:
        return replace(plain, reason="one repeat: no interval, so nothing is told of energy."), None
    half = math.log(told.high / told.low) / 2
    error = half / float(stdtrit(min(told.df, 1e9), 0.975))
    return plain, Test(value=-math.log(told.value), var=error**2, df=told.df, limit=-math.log(least))
