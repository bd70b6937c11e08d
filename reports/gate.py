"""A candidate against its baseline: which rules it keeps, which it breaks, and of which neither can be told.

Each rule is two one-sided tests of one estimate against its margin. It is broken where the estimate is surely beyond
the margin, with Holm's correction over all rules, so that at most one gate in twenty fails at the margin; it is kept
where the estimate is surely within it. What was not measured is never kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .entrants import Entrant
from .gateconfig import GateConfig
from .gaterules import Outcome, Tested, Verdict, rules_of
from .pairing import Side
from .stats import holm

__all__ = ["Gate", "judge"]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The verdict with what it rests on.

    Attributes:
        verdict: ``fail`` if a rule is broken; else ``incomparable`` or ``inconclusive`` where one is; else ``pass``.
        rules: What came of each.
        reasons: Why it is not a pass, a sentence each.
        alpha: False fails that this look may have.
        repeats: That there are of all cells.
    """

    verdict: Verdict
    rules: tuple[Outcome, ...]
    reasons: tuple[str, ...]
    alpha: float
    repeats: int


def judge(baseline: Side, candidate: Side, config: GateConfig) -> Gate:
    """The verdict over all models that both sides name, or that have one name on both.

    A model or task that the candidate lacks is a broken rule. Whatever differs besides the models makes both
    incomparable, and is named.
    """
    pairs, lost = _matched(baseline, candidate)
    found: list[Tested] = list(lost)
    unlike: list[str] = []
    for name, a, b in pairs:
        told = _unlike(a, b)
        unlike += [f"{name}: {sentence}" for sentence in told]
        tasks = [] if told else sorted(a.samples.keys() | b.samples.keys())
        own = [rule for task in tasks for rule in rules_of(name, a, b, task, config)]
        found += [_certain(rule) for rule in own] if _is_itself(a, b) else own
    repeats, alpha = _repeats(pairs), config.alpha_at()
    rules = _decided(found, alpha)
    if repeats < 2:
        rules = [_unproven(rule) for rule in rules]
    reasons = [*unlike, *dict.fromkeys(rule.reason for rule in rules if rule.reason)]
    if not rules and not reasons:
        reasons = ["nothing was measured of both, so nothing was judged."]
    return Gate(
        verdict=_verdict({rule.verdict for rule in rules}, incomparable=bool(unlike)),
        rules=tuple(rules),
        reasons=tuple(reasons),
        alpha=alpha,
        repeats=repeats,
    )


def _verdict(found: set[Verdict], *, incomparable: bool) -> Verdict:
    """The worst that was found; nothing at all is no pass."""
    if "fail" in found:
        return "fail"
    if incomparable:
        return "incomparable"
    return "pass" if found == {"pass"} else "inconclusive"


def _is_itself(a: Entrant, b: Entrant) -> bool:
    """Whether both are the very same cells: then there is no difference, and no error of it."""
    return (a.run_id, a.model, a.setting) == (b.run_id, b.model, b.setting)


def _certain(rule: Tested) -> Tested:
    outcome, test = rule
    relative = test is not None and outcome.metric in ("energy", "quality")
    return outcome, replace(test, var=0.0) if test is not None and relative else test


def _unproven(rule: Outcome) -> Outcome:
    """One repeat proves nothing right: what scatters from one to the next was not seen."""
    if rule.verdict != "pass":
        return rule
    return replace(rule, verdict="inconclusive", reason="one repeat proves nothing; measure at least 2, better 6.")


def _matched(baseline: Side, candidate: Side) -> tuple[list[tuple[str, Entrant, Entrant]], list[Tested]]:
    """Who is compared with whom, and a broken rule for each model that the candidate lacks."""
    if (baseline.is_named and candidate.is_named) or len(baseline.entrants) == len(candidate.entrants) == 1:
        [(_, a)], [(name, b)] = baseline.entrants.items(), candidate.entrants.items()
        return [(name, a, b)], []
    pairs = [(name, a, candidate.entrants[name]) for name, a in baseline.entrants.items() if name in candidate.entrants]
    lost: list[Tested] = [
        (Outcome(model=name, metric="model", task="all", margin=None, verdict="fail",
                 reason=f"{name} is in {baseline.text} and not in {candidate.text}."), None)
        for name in baseline.entrants
        if name not in candidate.entrants
    ]  # fmt: skip
    return pairs, lost


def _unlike(a: Entrant, b: Entrant) -> list[str]:
    """A sentence for each thing that differs besides the models."""
    told = []
    for what, first, second in (
        ("hardware", a.hardware, b.hardware),
        ("machine", a.machine.machine_id, b.machine.machine_id),
        ("grade of energy", a.grade, b.grade),
        ("scope of energy", a.scope, b.scope),
        ("meters", _meters(a), _meters(b)),
    ):
        if first != second:
            told.append(f"{what} differs: {first or 'none'} against {second or 'none'}.")
    for key in sorted(a.setting.keys() | b.setting.keys()):
        first, second = a.setting.get(key), b.setting.get(key)
        if first != second:
            told.append(f"setting {key} differs: {first} against {second}.")
    told += [
        f"task {task} asks something else: its hash or version differs."
        for task in sorted(a.samples.keys() & b.samples.keys())
        if a.samples[task].question != b.samples[task].question
    ]
    if not _one_run(a, b):
        told.append(
            f"baseline and candidate were measured in two runs, {a.run_name} and {b.run_name}; measure both in one: "
            "joulemark run -m base=... -m cand=... --order abba."
        )
    return told


def _one_run(a: Entrant, b: Entrant) -> bool:
    return a.run_id == b.run_id


def _meters(entrant: Entrant) -> str:
    return ", ".join(sorted(meter.id for meter in entrant.meters))


def _repeats(pairs: Iterable[tuple[str, Entrant, Entrant]]) -> int:
    """Repeats that are there of all."""
    return min((s.repeats for _, *both in pairs for own in both for s in own.samples.values()), default=0)


def _decided(found: Sequence[Tested], alpha: float) -> list[Outcome]:
    """Each rule with its verdict and interval; what can fail is corrected for over all that were tested."""
    tested = [test for _, test in found if test]
    beyond = holm(np.array([test.p_beyond() for test in tested]), alpha) if tested else np.zeros(0, dtype=bool)
    broken, rules = iter(beyond.tolist()), []
    for rule, test in found:
        if test is None:
            rules.append(rule)
            continue
        fails = next(broken)
        verdict: Verdict = "fail" if fails else "pass" if test.p_within() <= alpha else "inconclusive"
        low, high = test.ends(alpha)
        seen = test.detectable(alpha / len(tested))
        rules.append(replace(rule, verdict=verdict, **_written(rule, low, high, seen)))
    return rules


def _written(rule: Outcome, low: float, high: float, seen: float) -> dict[str, Any]:
    """Ends of the interval and the smallest effect, as ``ratio_or_delta`` is written."""
    if rule.metric in ("energy", "max_wh_per_1k"):
        return {"low": math.exp(low), "high": math.exp(high), "min_detectable": math.exp(seen)}
    if rule.metric == "min_correct_per_wh":
        return {"low": math.exp(-high), "high": math.exp(-low), "min_detectable": math.exp(-seen)}
    return {"low": -high, "high": -low, "min_detectable": -seen}
