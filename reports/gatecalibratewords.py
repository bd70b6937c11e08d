"""How small a change a machine can see, in words and as JSON."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from .effects import POWER
from .gatecalibrate import Calibration, Questions
from .gateconfig import GateConfig
from .gatefigures import NONE, more
from .gatefiles import finite, to_json
from .gateforesee import MOST, Around, Energy
from .gaterules import Outcome
from .gatewords import asides, make_account, whose_rules
from .pairing import Side
from .wording import DASH, fixed, safe

__all__ = ["Told", "as_json", "energy_seen", "in_words", "of_margin", "repeats_needed", "noise_text"]

SCHEMA = "joulemark.calibration/1"
USUAL = 6
"""Repeats that the headline is about where no looks are planned: what the gate's page says to begin with."""
_POWER = f"{100 * POWER:.0f} %"


@dataclass(frozen=True, kw_only=True)
class Told:
    """A calibration with all that a reader needs beside it.

    Attributes:
        found: The figures.
        baseline: The model, and its run.
        headline: What the machine sees, and what the margins need, in a sentence.
        sentences: What came of the model against itself, and what to know of quality.
        missing: Why some tasks tell nothing.
        warnings: What is torn, or missing of the plan.
        notes: How to read the figures, how joules were obtained, and what may be wrong with them.
        again: Commands that measure and tell it again.
    """

    found: Calibration
    baseline: Side
    headline: str
    sentences: tuple[str, ...]
    missing: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    again: tuple[str, ...]


def in_words(found: Calibration, sides: tuple[Side, Side], config: GateConfig, options: Sequence[str] = ()) -> Told:
    """Put a calibration into words; ``options`` are what the command line said of the table and the tasks."""
    account = make_account(found.gate, *sides, config)
    measured = [command for command in account.again if command.startswith("joulemark run ")]
    command = ["joulemark", "gate", "--calibrate", "--from", "again" if measured else str(sides[0].run.path), *options]
    quality = [_of_quality(found.quality)] if found.quality else []
    return Told(
        found=found,
        baseline=sides[0],
        headline=_headline(found),
        sentences=(_against_itself(found), *quality),
        missing=tuple(map(safe, found.missing)),
        warnings=account.warnings,
        notes=(*_notes(found), *_measured(found, sides[0], config), *asides(found.gate, sides)),
        again=(*measured, " ".join(shlex.quote(safe(word)) for word in command)),
    )


def as_json(told: Told) -> str:
    """One JSON object (`SCHEMA`); what is missing, or more than is counted, is null."""
    found, run = told.found, told.baseline.run
    grade = next(iter(told.baseline.entrants.values())).grade
    of_energy = {own.task: _energy_json(own) for own in found.energy}
    of_quality = {own.task: _quality_json(own) for own in found.quality}
    whole = {
        "schema": SCHEMA,
        "finding": " ".join((told.headline, *told.sentences)),
        "run_id": run.header.run_id,
        "path": str(run.path),
        "machine_id": run.header.machine.machine_id,
        "grade": grade,
        "verdict": found.gate.verdict,
        "alpha": found.alpha,
        "power": POWER,
        "repeats": found.repeats,
        "rules": found.rules,
        "looks": list(found.looks),
        "energy": of_energy,
        "energy_all": _energy_json(found.whole) if found.whole else None,
        "quality": of_quality,
        "itself": [{key: finite(value) for key, value in vars(rule).items()} for rule in found.gate.rules],
        "missing": list(told.missing),
        "warnings": list(told.warnings),
        "notes": list(told.notes),
        "reproduce": list(told.again),
    }
    return to_json(whole)


def energy_seen(ratio: float) -> str:
    """The smallest change that is seen, as the gate's tables write it; `NONE` where no number holds it."""
    return f"+{more(ratio)}" if math.isfinite(ratio) else NONE


def of_margin(own: Energy) -> str:
    """A margin of energy as the gate's tables write it."""
    return f"+{_share(own.margin)}" if own.margin else ""


def repeats_needed(needed: Around, looks: Sequence[int] = ()) -> tuple[str, str]:
    """So many repeats, and the fewest and the most they may be; more than the last look where none is enough."""
    value, low, high = (f"{n:,.0f}" if math.isfinite(n) else f">{_most(looks):,}" for n in vars(needed).values())
    if low == high:
        return value, ""
    return value, f"({low} or more)" if math.isinf(needed.high) else f"({low}{DASH}{high})"


def noise_text(noise: Around) -> tuple[str, str]:
    """Noise in percent, and its interval."""
    value, low, high = (fixed(100 * sd, 1) for sd in vars(noise).values())
    return f"{value} %", f"({low}{DASH}{high})"


def _headline(found: Calibration) -> str:
    own = found.leading
    if own is None:
        if found.missing or not found.quality:
            why = found.missing[0] if found.missing else "nothing was measured."
            return f"What this machine can see is not known: {safe(why)}"
        return "No rule is about more energy, so repeats are not counted."
    return f"On this machine {_seen(own, found.looks)}; {_margin_needs(own, found.looks)}."


def _seen(own: Energy, looks: Sequence[int]) -> str:
    """What is seen by the usual number of repeats, or at the planned looks."""
    seen = {
        n: f"{more(ratio)} more energy" if math.isfinite(ratio) else "no change of energy"
        for n, ratio in own.smallest.items()
    }
    if len(looks) > 1:
        first, last = looks[0], looks[-1]
        return f"the first look, at {first} repeats, sees {seen[first]}, and the last, at {last}, {seen[last]}"
    number = looks[0] if looks else USUAL
    return f"{number} repeats see {seen[number]}"


def _margin_needs(own: Energy, looks: Sequence[int]) -> str:
    """What a margin asks for: ``the margin of 5 % needs 6 repeats for ...``."""
    if own.margin == 1:
        return "by the margin of 0 % a model that costs the same never surely passes, however many they are"
    to_pass, to_fail = (_counted(needed, looks) for needed in (own.to_pass, own.to_fail))
    last = ", the last look," if looks and math.isinf(own.to_pass.value) else ""
    if own.margin is None:
        needs, dearer = "the margins need", "twice its margin dearer"
    else:
        needs = f"the margin of {_share(own.margin)} needs"
        dearer = f"{_share(1 + 2 * (own.margin - 1))} dearer"
    same = "a model that costs the same" + " in every task" * (own.task == "all")
    return f"{needs} {to_pass} repeats{last} for {same} to pass, and {to_fail} for one {dearer} to fail"


def _share(margin: float) -> str:
    """A margin with no more digits than somebody wrote."""
    return f"{round(100 * (margin - 1), 6):g} %"


def _counted(needed: Around, looks: Sequence[int]) -> str:
    return f"{needed.value:,.0f}" if math.isfinite(needed.value) else f"more than {_most(looks):,}"


def _most(looks: Sequence[int]) -> int:
    """Repeats beyond which no gate is, or none is counted."""
    return looks[-1] if looks else MOST


def _against_itself(found: Calibration) -> str:
    """Of what was tested; what could not be is told apart."""
    tested = [rule for rule in found.gate.rules if rule.low is not None]
    verdicts = {rule.verdict for rule in tested}
    if not tested:
        return "Against itself nothing of the model could be tested."
    if "fail" in verdicts:
        return (
            f"Against itself the model fails, which chance does in at most {round(100 * found.gate.alpha, 1):g} % of "
            "calibrations: calibrate again, and do not gate on this machine if it fails again."
        )
    if verdicts == {"pass"}:
        return "Against itself the model passes, as it should."
    return f"Against itself the model is inconclusive{_why(found, tested)}."


def _why(found: Calibration, tested: Sequence[Outcome]) -> str:
    """Repeats or questions are too few for a rule that was tested; others tell themselves what is missing."""
    lacking = [rule for rule in tested if rule.verdict != "pass"]
    unsure = {rule.metric for rule in lacking if not rule.reason}
    few = [what for metric, what in (("energy", "repeats"), ("quality", "questions")) if metric in unsure]
    if few:
        return f": there are too few {' and too few '.join(few)} for these margins"
    further = [rule.reason for rule in lacking if rule.reason and rule.reason not in found.missing]
    return f": {safe(further[0]).removesuffix('.')}" if further else ", for what is missing"


def _of_quality(quality: Sequence[Questions]) -> str:
    """Of the task that needs most."""
    worst = max(quality, key=lambda own: (own.to_pass, own.smallest))
    task = f" of {safe(worst.task)}" if len(quality) > 1 else ""
    seen = "no drop" if worst.smallest > 100 else f"a drop of {fixed(worst.smallest, 1)} points"
    told = f"In quality {worst.asked:,} questions{task} see {seen} at best"
    if not math.isfinite(worst.to_pass):
        return f"{told}; by the margin of {worst.margin:g} no number of them lets a model that is as good pass."
    return (
        f"{told}. By the margin of {worst.margin:g} a model that is as good, of whose answers as many change as it may "
        f"lose, passes in {_POWER} of gates with {worst.to_pass:,.0f}."
    )


def _notes(found: Calibration) -> list[str]:
    told = []
    if own := found.leading:
        interval = noise_text(own.noise)[1].strip("()")
        rules = f"all {found.rules:,} rules" if found.rules > 1 else "one rule"
        told += [
            f"Noise is by how much the two differ from repeat to repeat, a standard deviation. {own.repeats} repeats "
            f"tell it only roughly: figures in brackets are those at both ends of its 95 % interval, {interval} %. "
            "More repeats of the calibration narrow it.",
            f"So much more energy as is seen fails in {_POWER} of gates, {rules} allowed for. To pass: after so many "
            f"repeats a model that costs the same keeps the rules of energy in {_POWER} of gates. To fail: so often "
            f"one fails that is twice the margin dearer. {_numbers(found.looks)}",
        ]
    if found.whole:
        told.append(
            "all: the tasks' mean noise; what is seen, and fails, in whichever task it is; what passes in all at once."
        )
    if found.quality:
        told.append(
            "Answers of one model hardly differ; those of two models differ more, and the more of them do, the more "
            "questions are needed. Their gate says what it would have seen."
        )
    return told


def _numbers(looks: Sequence[int]) -> str:
    if not looks:
        return "Both are even numbers, for half of all repeats go backwards."
    return "All are by a single look: your gates decide at planned ones alone, each by its part of alpha."


def _measured(found: Calibration, side: Side, config: GateConfig) -> list[str]:
    """How it was asked, for a gate of other runs may see more or less; and whose rules these are."""
    [entrant] = side.entrants.values()
    asked = sorted(
        {len(entrant.samples[rule.task].scores) for rule in found.gate.rules if rule.task in entrant.samples}
    )
    questions = f"{asked[0]:,}" if len(asked) == 1 else f"{asked[0]:,} to {asked[-1]:,}"
    batch = entrant.setting.get("batch_size")
    told = f"Measured: {questions} questions of each task{f', batch size {batch}' if batch else ''}. "
    return [f"{told}Gates of runs that are measured otherwise may see more, or less.", whose_rules(config)]


def _energy_json(own: Energy) -> dict[str, object]:
    return {
        "repeats": own.repeats,
        "noise": vars(own.noise),
        "margin": own.margin,
        "smallest": {str(n): finite(ratio) for n, ratio in own.smallest.items()},
        "repeats_to_pass": {key: finite(value) for key, value in vars(own.to_pass).items()},
        "repeats_to_fail": {key: finite(value) for key, value in vars(own.to_fail).items()},
    }


def _quality_json(own: Questions) -> dict[str, object]:
    return {
        "questions": own.asked,
        "margin": -own.margin,
        "smallest": -own.smallest,
        "questions_to_pass": finite(own.to_pass),
    }
