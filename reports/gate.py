"""A candidate against its baseline: which rules it keeps, which it breaks, and of which neither can be told.

Each rule is two one-sided tests of one estimate against its margin. It is broken where the estimate is surely beyond
the margin, with Holm's correction over all rules, so that at most one gate in twenty fails at the margin; it is kept
where the estimate is surely within it. What was not measured is never kept.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from joulemark.meters.errors import UsageError

from .entrants import Entrant, by_run_name
from .gateconfig import GateConfig
from .gatehistory import History
from .gatelikeness import asunder, differences, elsewhere, in_turn, unpaired
from .gaterules import Outcome, Tested, Verdict, rules_of, told_apart
from .gatetests import LARGEST
from .pairing import Side
from .progress import planned_models, planned_tasks
from .stats import holm
from .wording import joined

__all__ = ["Asked", "Gate", "decide", "judge", "next_look"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The repeats of a task that the plans of both sides ask for.

    Attributes:
        planned: How many; a rule with fewer is no verdict.
        left_out: Those of them that are no pairs, so that their energy is left out.
        raised_from: How many were planned before, each of which may have been looked at.
    """

    planned: int = 0
    left_out: int = 0
    raised_from: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The verdict with what it rests on.

    Attributes:
        verdict: ``fail`` if a rule is broken; else ``incomparable`` or ``inconclusive`` where one is; else ``pass``.
        rules: What came of each.
        reasons: Why it is not a pass, or what to know of one, a sentence each.
        alpha: False fails that this look may have.
        repeats: That there are of all cells.
        differs: What differs between the two besides the models, a sentence each.
        tested: The rules with the tests that decided them, none where nothing can be told.
        by_precision: Whether a run went on until its energies were known well enough, for which ``alpha`` is less.
        imported: Names of the runs that were imported, of which nothing is judged.
    """

    verdict: Verdict
    rules: tuple[Outcome, ...]
    reasons: tuple[str, ...]
    alpha: float
    repeats: int
    differs: tuple[str, ...] = ()
    tested: tuple[Tested, ...] = ()
    by_precision: bool = False
    imported: tuple[str, ...] = ()


def judge(
    baseline: Side,
    candidate: Side,
    config: GateConfig,
    *,
    history: History | None = None,
    only: Sequence[str] = (),
) -> Gate:
    """The verdict over all models that both sides name, or that have one name on both.

    A model or task that the candidate lacks is a broken rule. Whatever differs besides the models makes both
    incomparable, and is named. What the plan asks for and nobody measured is not passed. Of runs that were imported
    nothing is judged.

    Args:
        baseline: What must not get worse.
        candidate: What it is to be replaced by.
        config: What is asked for.
        history: Runs that tell how much days differ, so that two may be compared; None: they may not.
        only: Patterns of the tasks to judge; none: all.

    Raises:
        UsageError: It is not clear which models are meant.
    """
    pairs, found = _matched(baseline, candidate)
    if foreign := elsewhere([own for side in (baseline, candidate) for own in side.entrants.values()]):
        return _not_judged(foreign, config)
    unlike, notes = in_turn(baseline, candidate), _ignored(baseline, candidate)
    found += _not_begun(baseline, candidate)
    planned = {*planned_tasks(baseline.run), *planned_tasks(candidate.run)}
    asked: dict[tuple[str, str], Asked] = {}
    for name, a, b in pairs:
        tasks = _chosen(a.samples.keys() | b.samples.keys() | planned, only)
        both = [task for task in tasks if task in a.samples and task in b.samples]
        told = [*differences(a, b, both), *filter(None, [unpaired(a, b, both, history)])]
        unlike += [f"{name}: {sentence}" for sentence in told]
        found += [_lacking(name, a, b, task) for task in tasks if task not in both]
        if not told:
            apart = asunder(baseline.run, a, b)
            asked |= {(name, task): _asked(baseline, candidate, a, b, task, apart) for task in both}
            found += _rules(name, a, b, both, config, history, apart)
            notes += [*_resting_on(name, a, b, both, history), *_left_out(name, apart)]
    found += _unused(config, planned | {cell.task for side in (baseline, candidate) for cell in side.run.cells})
    by_precision = not config.looks and any(own.precision for _, *both in pairs for own in both)
    rules, alpha = decide(found, config, asked, by_precision=by_precision)
    reasons = [*unlike, *dict.fromkeys(rule.reason for rule in rules if rule.reason), *notes]
    if not rules and not unlike:
        reasons.append(f"{'no rule is set' if asked else 'nothing was measured of both'}, so nothing was judged.")
    return Gate(
        verdict=_verdict({rule.verdict for rule in rules}, incomparable=bool(unlike)),
        rules=tuple(rules),
        reasons=tuple(reasons),
        alpha=alpha,
        repeats=_repeats(pairs),
        differs=tuple(unlike),
        tested=tuple(found),
        by_precision=by_precision,
    )


def _not_judged(foreign: Mapping[str, str], config: GateConfig) -> Gate:
    """The gate of runs of which some were imported: why each of those is not judged, by its name."""
    told = tuple(foreign.values())
    return Gate(
        verdict="incomparable",
        rules=(),
        reasons=told,
        alpha=decide([], config)[1],
        repeats=0,
        differs=told,
        imported=tuple(foreign),
    )


def decide(
    found: Sequence[Tested],
    config: GateConfig,
    asked: Mapping[tuple[str, str], Asked] | None = None,
    *,
    by_precision: bool = False,
) -> tuple[list[Outcome], float]:
    """Each rule with its verdict and interval, and the alpha of this look.

    What can fail is corrected for over all rules that were tested (Holm). A pass of all needs each to pass, so that
    no correction is due: the worst of them is beyond its margin or none is.

    Args:
        found: The rules.
        config: What is asked for.
        asked: Repeats that are planned, by model and task.
        by_precision: Whether a run stopped once its energies were known well enough.
    """
    tested = [test for _, test in found if test]
    alpha = config.alpha_at(len(tested), by_precision=by_precision)
    beyond = holm(np.array([test.p_beyond() for test in tested]), alpha) if tested else np.zeros(0, dtype=bool)
    broken, rules = iter(beyond.tolist()), []
    for rule, test in found:
        if test is None:
            rules.append(rule)
            continue
        fails = next(broken)
        verdict: Verdict = "fail" if fails else "pass" if test.p_within() <= alpha else "inconclusive"
        low, high = test.ends(alpha)
        # What is certain is the very same cells, in which nothing could be seen.
        seen = test.detectable(alpha / len(tested)) if test.error else math.inf
        decided = replace(rule, verdict=verdict, **_written(rule, low, high, seen))
        if fails and rule.reason:
            decided = replace(decided, reason=f"{rule.reason} Even that is surely too few.")
        rules.append(_as_planned(decided, config.looks, (asked or {}).get((rule.model, rule.task), Asked())))
    return rules, alpha


def next_look(looks: Sequence[int], repeats: int, planned: int) -> int | None:
    """The first planned look at more repeats that a run can still come to; None where none is left."""
    return next((look for look in looks if look > repeats and look >= planned), None)


def _as_planned(rule: Outcome, looks: Sequence[int], asked: Asked) -> Outcome:
    """What one repeat, or a look that nobody planned, says is no verdict: looking until one comes out is no test."""
    repeats = rule.repeats + (asked.left_out if rule.metric == "energy" else 0)
    if rule.repeats < 2:
        reason = "one repeat proves nothing; measure at least 2, better 6."
    elif looks and repeats not in looks:
        look = next_look(looks, repeats, asked.planned)
        raised = f" --repeats {look}" if look and look > asked.planned else ""
        further = f"go on with joulemark run --resume RUN{raised}" if look else "none of these is left; measure anew"
        reason = f"{rule.task} has {repeats} repeats, and looks are planned at {_listed(looks)}; {further}."
    elif not looks and repeats < asked.planned:
        reason = f"{rule.task} has {repeats} of {asked.planned} planned repeats; go on with joulemark run --resume."
    elif not looks and asked.raised_from:
        several = _listed((*asked.raised_from, asked.planned))
        reason = (
            f"the run was raised from {asked.raised_from[-1]} to {asked.planned} repeats, and looking again until it "
            f"decides is no test; say in [gate] at which numbers you look: looks = [{several}]."
        )
    else:
        return rule
    return replace(rule, verdict="inconclusive", reason=reason)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _asked(
    baseline: Side, candidate: Side, a: Entrant, b: Entrant, task: str, apart: Mapping[str, Collection[int]]
) -> Asked:
    """Repeats that both plan; of one that did not finish its own plan, what that asks for."""
    lacking = [own.planned for own in (a, b) if own.samples[task].repeats < own.planned]
    raised_from = {repeats for side in (baseline, candidate) for repeats in side.run.header.raised_from}
    return Asked(
        planned=max(lacking, default=min(a.planned, b.planned)),
        left_out=len(apart.get(task, ())),
        raised_from=tuple(sorted(raised_from)),
    )


def _not_begun(baseline: Side, candidate: Side) -> list[Tested]:
    """A rule for each model that is planned, and that nobody measured, where a whole run is gated."""
    lost: dict[str, Outcome] = {}
    for side in (baseline, candidate):
        begun = {entrant.model for entrant in side.entrants.values()}
        for name in [] if side.is_named else planned_models(side.run):
            if name not in begun:
                reason = f"{name} is planned in {side.text}, and none of its cells is measured."
                lost[name] = Outcome(
                    model=name, metric="model", task="all", margin=None, verdict="inconclusive", reason=reason
                )
    return [(outcome, None) for outcome in lost.values()]


def _verdict(found: set[Verdict], *, incomparable: bool) -> Verdict:
    """The worst that was found; nothing at all is no pass."""
    if "fail" in found:
        return "fail"
    if incomparable or "incomparable" in found:
        return "incomparable"
    return "pass" if found == {"pass"} else "inconclusive"


def _rules(
    name: str,
    a: Entrant,
    b: Entrant,
    tasks: Iterable[str],
    config: GateConfig,
    history: History | None,
    apart: Mapping[str, set[int]],
) -> list[Tested]:
    """The rules of all tasks that both finished."""
    days = history if a.run_id != b.run_id else None
    own = [
        rule
        for task in tasks
        for rule in rules_of(name, a, b, task, config, days.spread(a, task) if days else None, apart.get(task, ()))
    ]  # fmt: skip
    return list(map(_certain if _is_itself(a, b) else told_apart, own))


def _is_itself(a: Entrant, b: Entrant) -> bool:
    """Whether both are the very same cells: then there is no difference, and no error of it."""
    if (a.run_id, a.model, a.setting, a.samples.keys()) != (b.run_id, b.model, b.setting, b.samples.keys()):
        return False
    others = [(own, b.samples[task]) for task, own in a.samples.items()]
    return all(own.energy_wh == other.energy_wh and np.array_equal(own.scores, other.scores) for own, other in others)


def _certain(rule: Tested) -> Tested:
    outcome, test = rule
    relative = test is not None and outcome.metric in ("energy", "quality")
    return outcome, replace(test, var=0.0) if test is not None and relative else test


def _resting_on(name: str, a: Entrant, b: Entrant, tasks: Sequence[str], history: History | None) -> list[str]:
    """That two runs were compared, and by what."""
    if a.run_id == b.run_id or history is None:
        return []
    others = history.strangers(a, tasks)
    strange = (
        f"{name}: {others} of the history's runs tell nothing of {a.model}: of another model, task, setting, meter or "
        "machine."
    )
    return [strange] * bool(others) + [
        f"{name}: baseline and candidate are of two runs, {joined([own.run_name for own in by_run_name((a, b))])}; the "
        "interval of energy is wider by what the history's days differ by (--allow-unpaired)."
    ]


def _left_out(name: str, apart: Mapping[str, set[int]]) -> list[str]:
    """That some repeats are no pairs."""
    number = sum(map(len, apart.values()))
    if not number:
        return []
    return [
        f"{name}: the run was resumed between the two of {number} {'pair' if number == 1 else 'pairs'} of repeats; "
        "their energy is left out."
    ]


def _matched(baseline: Side, candidate: Side) -> tuple[list[tuple[str, Entrant, Entrant]], list[Tested]]:
    """Who is compared with whom, and a broken rule for each model that the candidate lacks."""
    if (baseline.is_named and candidate.is_named) or len(baseline.entrants) == len(candidate.entrants) == 1:
        [(_, a)], [(name, b)] = baseline.entrants.items(), candidate.entrants.items()
        return [(name, a, b)], []
    if (baseline.is_named or candidate.is_named) and baseline.run.header.run_id == candidate.run.header.run_id:
        raise UsageError(f"{baseline.text} and {candidate.text} are one run; name a model of it in both, as RUN:MODEL.")
    asked = baseline.entrants
    if candidate.is_named:
        asked = {name: baseline.entrants[name] for name in candidate.entrants if name in baseline.entrants}
        if not asked:
            few = ", ".join(list(baseline.entrants)[:4])
            raise UsageError(f"which model of {baseline.text} is the baseline? Name one, as RUN:MODEL: it has {few}.")
    pairs = [(name, a, candidate.entrants[name]) for name, a in asked.items() if name in candidate.entrants]
    lost: list[Tested] = [
        (Outcome(model=name, metric="model", task="all", margin=None, verdict="fail",
                 reason=f"{name} is in {baseline.text} and not in {candidate.text}."), None)
        for name in asked
        if name not in candidate.entrants
    ]  # fmt: skip
    return pairs, lost


def _ignored(baseline: Side, candidate: Side) -> list[str]:
    """That models of the candidate's run have nothing to be compared with, where whole runs are gated."""
    if baseline.is_named or candidate.is_named or len(baseline.entrants) == len(candidate.entrants) == 1:
        return []
    return [
        f"{name} is in {candidate.text} and not in {baseline.text}, so it was not judged."
        for name in candidate.entrants
        if name not in baseline.entrants
    ]


def _chosen(tasks: Iterable[str], only: Sequence[str]) -> list[str]:
    return sorted(task for task in tasks if not only or any(fnmatchcase(task, pattern) for pattern in only))


def _lacking(name: str, a: Entrant, b: Entrant, task: str) -> Tested:
    """A task that one of them did not finish: broken if that is the candidate, unless its turn had not come yet."""
    verdict: Verdict = "fail"
    # In turn with the baseline it would have as many repeats as that, or one fewer.
    begun = a.run_id == b.run_id and task in a.samples and a.samples[task].repeats < a.planned
    if begun and not any(cell.task == task for cell in b.failed):
        verdict, reason = (
            "inconclusive",
            f"{name} has no finished cell of {task} yet; go on with joulemark run --resume.",
        )
    elif task in a.samples:
        reason = f"{name} has no finished cell of {task}."
    elif task in b.samples:
        verdict, reason = "incomparable", f"the baseline has no finished cell of {task}, which {name} has."
    else:
        verdict, reason = "inconclusive", f"neither baseline nor candidate has a finished cell of {task}."
    return Outcome(model=name, metric="task", task=task, margin=None, verdict=verdict, reason=reason), None


def _unused(config: GateConfig, tasks: Collection[str]) -> list[Tested]:
    """Limits for tasks that are in neither run: asked for, and not judged. One that --task leaves out is there."""
    return [
        (Outcome(model="all", metric="task", task=pattern, margin=None, verdict="inconclusive",
                 reason=f"no task is called {pattern}, so its limits in [gate.tasks] were not judged."), None)
        for pattern in config.tasks
        if tasks and not any(fnmatchcase(task, pattern) for task in tasks)
    ]  # fmt: skip


def _repeats(pairs: Iterable[tuple[str, Entrant, Entrant]]) -> int:
    """Repeats that there are of all."""
    return min((s.repeats for _, *both in pairs for own in both for s in own.samples.values()), default=0)


def _written(rule: Outcome, low: float, high: float, seen: float) -> dict[str, Any]:
    """Ends of the interval and the smallest effect, as ``ratio_or_delta`` is written; None where no number holds it."""
    if rule.metric in ("energy", "max_wh_per_1k", "min_correct_per_wh"):
        if rule.metric == "min_correct_per_wh":
            low, high, seen = -high, -low, -seen
        # A model that may be guessing has no lower end but 0.
        known = max(abs(low) if low > -math.inf else 0.0, abs(high)) < LARGEST
        return {
            "low": math.exp(low) if known else None,
            "high": math.exp(high) if known else None,
            "min_detectable": math.exp(seen) if abs(seen) < LARGEST else None,
        }
    most = 100.0 if rule.metric == "min_quality" else math.inf
    return {"low": -high, "high": min(-low, most), "min_detectable": -seen if math.isfinite(seen) else None}
