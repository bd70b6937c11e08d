"""The rules of a gate on one task: for each an estimate of which more is worse, and the margin it is held against."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from .effects import of_energies, of_quality
from .entrants import Entrant
from .gateconfig import GateConfig, Limits
from .gatehistory import Spread
from .gatetests import Test, bound_test, energy_test, quality_bound, quality_test, rate_test
from .rows import Figures, measure
from .stats import LogEnergy, Share, right_per_wh

__all__ = ["Outcome", "Tested", "Verdict", "rules_of", "told_apart"]

_NO_SCATTER = 1e-18
"""Repeats whose log energies have less variance agree exactly, but for rounding."""

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
        spread: From day to day, where both were not measured in one run.
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


def told_apart(rule: Tested) -> Tested:
    """The rule without its test where repeats of different cells agree exactly: then their error is not known."""
    outcome, test = rule
    if test is None or outcome.metric != "energy" or test.var > _NO_SCATTER:
        return rule
    return replace(outcome, reason=_too_coarse(outcome.task)), None


def _no_energy(task: str) -> str:
    return f"energy is missing in {task}, so nothing is told of it."


def _too_coarse(task: str) -> str:
    return (
        f"the repeats of {task} agree exactly: the meter's step is too coarse to tell repeats apart; take a finer "
        "meter, or more questions."
    )


def _untold(name: str, metric: str, task: str, margin: float | None, reason: str) -> Outcome:
    return Outcome(model=name, metric=metric, task=task, margin=margin, verdict="inconclusive", reason=reason)


def _energy_rule(name: str, task: str, a: Figures, b: Figures, most: float, spread: Spread | None) -> Tested:
    if not a.log or not b.log:
        return _untold(name, "energy", task, 1 + most, _no_energy(task)), None
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
    rel_u, found = f.rel_u, []
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
    if f.log:
        wh = math.exp(f.log.mean)
        plain = replace(plain, candidate=wh, ratio_or_delta=wh, repeats=len(f.repeats))
    if f.log is None or (lacking := _lacking(task, f.log)):
        return replace(plain, reason=lacking if f.log else _no_energy(task)), None
    return plain, bound_test(f.log, most, rel_u)


def _lacking(task: str, log: LogEnergy) -> str:
    """Why energy has no interval; empty where it has one."""
    if log.var is None:
        return f"one repeat of {task}: no interval, so nothing is told of energy."
    return _too_coarse(task) if log.var <= _NO_SCATTER else ""


def _rate_bound(name: str, task: str, f: Figures, least: float, rel_u: float) -> Tested:
    plain = replace(_untold(name, "min_correct_per_wh", task, least, ""), repeats=len(f.repeats))
    if not isinstance(f.quality, Share) or f.quality.low is None:
        return replace(plain, reason=f"{task} has no interval of quality, so nothing is told of it."), None
    if f.log is None:
        return replace(plain, reason=_no_energy(task)), None
    told = right_per_wh(f.quality, f.log, rel_u)
    if told:
        plain = replace(plain, candidate=told.value, ratio_or_delta=told.value)
    if lacking := _lacking(task, f.log):
        return replace(plain, reason=lacking), None
    if told is None:
        reason = (
            f"{name} may be guessing in {task}, so its right answers per Wh, of which {least:,g} are asked for, have "
            "only an upper end."
        )
        plain = replace(plain, reason=reason)
    return plain, rate_test(f.quality, f.log, least, rel_u)
