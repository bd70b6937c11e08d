"""How small a change this machine can see: its noise, from one model that was measured against itself.

The user's rules on changes are applied to it, task by task; what gates of other lengths would come to is foreseen from
the errors of these (`gateforesee`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from joulemark.harness.models import parse_models
from joulemark.harness.store import Run, canonical_json
from joulemark.meters.errors import Incomparable, UsageError

from .effects import Effect
from .entrants import Entrant, tried
from .gate import Gate, judge
from .gateconfig import GateConfig, Limits
from .gateforesee import Energy, fewest_questions, foresee
from .gaterules import Tested
from .gatetests import Test, quality_test
from .names import name_entrants
from .pairing import Side
from .stats import satterthwaite

__all__ = ["LEAST", "Calibration", "Questions", "alike", "calibrate"]

LEAST = 4
"""Repeats of a calibration: of three, scatter may be half or six times what it seems."""
_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What gates of a task's quality would see; at the least, for the answers of another model differ more than these.

    Attributes:
        task: The task.
        asked: Questions; where some share a source, as many as they are worth.
        margin: Points that it may lose.
        smallest: The smallest loss of points that fails with 80 % probability.
        to_pass: Questions with which a candidate that is as good passes with 80 % probability, at the least; infinite
            where no number does.
    """

    task: str
    asked: int
    margin: float
    smallest: float
    to_pass: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a machine can see.

    Attributes:
        gate: The model gated against itself, with all rules that are about a change.
        energy: By task.
        whole: Of all these tasks; None where there are fewer than two.
        quality: By task.
        missing: Why some tasks tell nothing, a sentence each.
        rules: That the user's table has for these tasks, bounds included; all are allowed for.
        alpha: False fails that one look may have.
        repeats: That there are of all.
        looks: Numbers of repeats at which alone the user's gates decide; none: at any.
    """

    gate: Gate
    energy: tuple[Energy, ...]
    whole: Energy | None
    quality: tuple[Questions, ...]
    missing: tuple[str, ...]
    rules: int
    alpha: float
    repeats: int
    looks: tuple[int, ...]

    @property
    def leading(self) -> Energy | None:
        """Of energy, that over all tasks, or that of the only one."""
        return self.whole or (self.energy[0] if self.energy else None)


def alike(run: Run) -> tuple[Side, Side]:
    """The two of a run that are one model, computed in one way.

    Raises:
        UsageError: It has no such two, or several.
    """
    loads = {spec.name: (spec.backend, spec.args) for spec in parse_models(_planned(run), here=False)}
    found = tried([run])
    groups: dict[str, list[tuple[str, Entrant]]] = {}
    for name, entrant in zip(name_entrants(found), found, strict=True):
        key = canonical_json([loads.get(entrant.model, entrant.model), dict(entrant.setting)])
        groups.setdefault(key, []).append((name.full, entrant))
    twos = [group for group in groups.values() if len(group) == 2]
    if len(twos) != 1:
        raise UsageError(
            f"{run.path} does not have one model twice, and a calibration is a run of one model against itself; leave "
            "--from out to measure one."
        )
    first, second = (
        Side(text=f"{run.path}:{name}", run=run, entrants={name: entrant}, is_named=True) for name, entrant in twos[0]
    )
    return first, second


def calibrate(
    baseline: Side, candidate: Side, config: GateConfig, only: Sequence[str] = (), *, by_precision: bool = False
) -> Calibration:
    """What gates by this table would see on the machine that measured one model against itself.

    Args:
        baseline: The model.
        candidate: The same, measured in turn with it.
        config: What the user's gates ask for.
        only: Patterns of the tasks to look at; none: all.
        by_precision: Whether the user's runs stop once their energies are known well enough.

    Raises:
        Incomparable: More than chance may differ between the two, or they finished nothing, or stopped where repeats
            agreed by luck.
        UsageError: No task is called so, or no rule is about a change of these.
    """
    [a], [b] = baseline.entrants.values(), candidate.entrants.values()
    tasks = _chosen(a, b, only)
    asked = _about_changes(config, tasks)
    # No verdict of these two decides how long they are measured.
    header = baseline.run.header.model_copy(update={"raised_from": ()})
    first, second = (replace(side, run=replace(side.run, header=header)) for side in (baseline, candidate))
    gate = judge(first, second, asked, only=only)
    if why := _no_calibration(baseline.run, gate, a):
        raise Incomparable(f"{baseline.run.path} tells nothing of this machine's noise: {why}")
    rules = sum(value is not None for task in tasks for value in config.limits_of(task).model_dump().values())
    alpha = config.alpha_at(rules, by_precision=by_precision and not config.looks)
    energy, missing = _scatters([rule for rule in gate.tested if rule[0].metric == "energy"])
    quality = [rule for rule in gate.tested if rule[0].metric == "quality"]
    told = [(rule, _least(test, a, b, rule.task)) for rule, test in quality if test]
    missing += [rule.reason for rule, test in quality if not test]
    missing += [_part_scores(rule.task) for rule, test in told if not test.var]
    share = alpha / max(rules, 1)

    def foreseen(task: str, repeats: int, ones: Sequence[Test]) -> Energy:
        return foresee(task, repeats, ones, _df(ones), alpha=alpha, share=share, looks=config.looks)

    return Calibration(
        gate=gate,
        energy=tuple(foreseen(task, repeats, [one]) for task, repeats, one in energy),
        whole=foreseen("all", min(n for _, n, _ in energy), [one for *_, one in energy]) if len(energy) > 1 else None,
        quality=tuple(_questions(rule.task, test, b, alpha, share) for rule, test in told if test.var),
        missing=tuple(missing + _not_told(gate, tasks)),
        rules=rules,
        alpha=alpha,
        repeats=gate.repeats,
        looks=config.looks,
    )


def _no_calibration(run: Run, gate: Gate, entrant: Entrant) -> str:
    """Why a run tells nothing of noise; empty where it does."""
    if gate.differs:
        return gate.differs[0]
    if entrant.precision:
        return "it went on until its energies were known well enough (--precision), where repeats agree by luck."
    if not gate.rules or run.header.plan.get("order") == "blocked":
        return gate.reasons[0] if gate.reasons else "nothing of it can be judged."
    return ""


def _part_scores(task: str) -> str:
    return f"the same part scores in {task} do not tell by how much those of two models would differ."


def _planned(run: Run) -> list[str]:
    models = run.header.plan.get("models")
    return [text for text in models if isinstance(text, str)] if isinstance(models, list | tuple) else []


def _chosen(a: Entrant, b: Entrant, patterns: Collection[str]) -> list[str]:
    both = sorted(a.samples.keys() & b.samples.keys())
    if not both:
        raise Incomparable(f"{a.run_name} has no task of which both {a.model} and {b.model} finished a cell.")
    chosen = [task for task in both if not patterns or any(fnmatchcase(task, pattern) for pattern in patterns)]
    if not chosen:
        raise UsageError(f"--task {' '.join(patterns)}: no task is called so; there are {', '.join(both[:_NAMED])}.")
    return chosen


def _about_changes(config: GateConfig, tasks: Sequence[str]) -> GateConfig:
    """The table for a model against itself: bounds are about the user's models, and so are tasks that are not here.

    Raises:
        UsageError: Nothing is left of it.
    """
    here = {
        pattern: _changes(own)
        for pattern, own in config.tasks.items()
        if any(fnmatchcase(task, pattern) for task in tasks)
    }
    asked = config.model_copy(update={"limits": _changes(config.limits), "tasks": here, "looks": ()})
    if all(asked.limits_of(task) == Limits() for task in tasks):
        raise UsageError("[gate] has neither max_increase nor max_drop for these tasks: nothing of it rests on noise.")
    return asked


def _changes(limits: Limits) -> Limits:
    told = limits.model_dump(exclude_unset=True)
    # Not validated again: what was read as a share is a number now.
    return Limits.model_construct(**{key: told[key] for key in ("max_increase", "max_drop") if key in told})


def _scatters(found: Sequence[Tested]) -> tuple[list[tuple[str, int, Test]], list[str]]:
    """Of each task its repeats, and the test of a single one; and why some tell none."""
    told, missing = [], []
    for rule, test in found:
        if test is None:
            missing.append(rule.reason)
        elif rule.repeats < LEAST:
            few = f"{rule.repeats} repeats of {rule.task} do not tell its noise"
            missing.append(f"{few}; measure at least {LEAST}, better 10.")
        else:
            told.append((rule.task, rule.repeats, replace(test, value=0.0, var=test.var * rule.repeats)))
    return told, missing


def _not_told(gate: Gate, tasks: Sequence[str]) -> list[str]:
    """Why other tasks are not there at all."""
    return [rule.reason for rule in gate.rules if rule.metric in ("task", "model") and rule.task not in tasks]


def _df(ones: Sequence[Test]) -> float:
    """Degrees of freedom of their mean variance: of several tasks it is known better than of each."""
    return float(satterthwaite([np.array(one.var) for one in ones], [one.df for one in ones])[1])


def _least(test: Test, a: Entrant, b: Entrant, task: str) -> Test:
    """The test of quality; of the very same answers with the scatter of as many lost ones as the margin lets lose."""
    first, second = (entrant.samples[task] for entrant in (a, b))
    if test.limit == 0 or not np.array_equal(first.scores, second.scores):
        return test
    return quality_test(Effect(value=0.0, var=0.0, df=test.df), test.limit, second.scores, second.chance or 0.0)


def _questions(task: str, test: Test, b: Entrant, alpha: float, share: float) -> Questions:
    scores = b.samples[task].scores
    asked = min(len(scores), round(test.df + 1) if math.isfinite(test.df) else len(scores))
    one = replace(test, value=0.0, var=test.var * asked)
    return Questions(
        task=task,
        asked=asked,
        margin=test.limit,
        smallest=test.detectable(share),
        to_pass=fewest_questions(one, alpha),
    )
