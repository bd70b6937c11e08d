"""A gate's verdict in words: what it means, what each rule came to, and how to measure it again."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from joulemark.harness.store import Run, resume_command

from .clauses import workload_factor
from .entrants import Entrant, by_run_name
from .flags import in_words
from .gate import Gate, next_look
from .gateconfig import GateConfig
from .gatefigures import is_beyond, rule_name, rule_sentence, so_many
from .gaterules import Outcome, Verdict
from .pairing import Side
from .progress import planned_repeats, progress
from .provenance import again
from .rows import measure
from .views import ALL
from .wording import joined, safe, times

__all__ = ["Account", "asides", "make_account", "whose_rules"]

_NAMED = 4
_ITSELF = "itself"
_OF_ITSELF = (
    "These are the very same cells: nothing is said of any change. Name another model, or another run, as candidate."
)
_ORDER: dict[Verdict, int] = {"fail": 0, "incomparable": 1, "inconclusive": 2, "pass": 3}


@dataclass(frozen=True, kw_only=True)
class Account:
    """A gate's verdict with all that a reader needs beside it.

    Attributes:
        gate: The verdict, and what came of each rule.
        rules: The rules, broken ones first, kept ones last.
        baseline: What the baseline was given as.
        candidate: What the candidate was given as.
        headline: The verdict in a sentence.
        meaning: What it means, and what it does not.
        reasons: Why it is no pass, or what to know of one, a sentence each.
        warnings: What is missing or torn of what was measured.
        notes: What else to know: how joules were obtained, and how to read the figures.
        again: Commands that measure and judge it again.
    """

    gate: Gate
    rules: tuple[Outcome, ...]
    baseline: str
    candidate: str
    headline: str
    meaning: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    again: tuple[str, ...]

    @property
    def level(self) -> str:
        """The level of the intervals, such as ``90 %``."""
        return _percent(1 - 2 * self.gate.alpha)

    @property
    def why(self) -> str:
        """What to call the reasons."""
        return "Note" if self.gate.verdict == "pass" else "Why"

    @property
    def several(self) -> bool:
        """Whether the rules are about several models, so that each has to be named."""
        return len({rule.model for rule in self.rules} - {ALL}) > 1


def make_account(
    gate: Gate, baseline: Side, candidate: Side, config: GateConfig, options: Sequence[str] = ()
) -> Account:
    """Put a verdict into words; ``options`` are what the command line said besides the two sides."""
    who, against = _names(baseline, candidate)
    runs = list({side.run.header.run_id: side.run for side in (baseline, candidate)}.values())
    return Account(
        gate=gate,
        rules=tuple(sorted(gate.rules, key=lambda rule: (_ORDER[rule.verdict], not is_beyond(rule)))),
        baseline=baseline.text,
        candidate=candidate.text,
        headline=_headline(gate, who, against),
        meaning=_OF_ITSELF
        if against == _ITSELF and not gate.imported
        else _meaning(gate, config, runs) + _by_model(gate, [baseline, candidate]),
        reasons=tuple(_reasons(gate)),
        warnings=tuple(_warnings(runs)),
        notes=tuple(_notes(gate, config, [baseline, candidate])),
        again=tuple(_again(runs, baseline, candidate, options)),
    )


def asides(gate: Gate, sides: Sequence[Side]) -> list[str]:
    """How joules were obtained, and what may be wrong with the figures, such as a busy machine."""
    return _of_grade(gate, sides) + _flags(sides)


def whose_rules(config: GateConfig) -> str:
    """The file that the rules came from."""
    rules = f"those of {config.source}" if config.source else "the usual ones, as no file here has a [gate] table"
    return f"Rules are {safe(rules)}."


def _reasons(gate: Gate) -> list[str]:
    """Broken rules one by one, then what nothing could be told of, then how many tests decided nothing."""
    level = _percent(1 - 2 * gate.alpha)
    told = [rule_sentence(rule, level) for rule in gate.rules if rule.verdict == "fail" and not rule.reason]
    told += [safe(reason) for reason in gate.reasons]
    unsure = [rule for rule in gate.rules if rule.verdict == "inconclusive" and not rule.reason]
    if unsure:
        are = "is" if len(unsure) == 1 else "are"
        told.append(f"{so_many(len(unsure))} {are} neither surely kept nor surely broken: {_where(unsure)}.")
    if beyond := [rule for rule in unsure if is_beyond(rule)]:
        by_itself = "its margin by itself" if len(beyond) == 1 else "their margins by themselves"
        told.append(
            f"Beyond {by_itself}: {_where(beyond)}. Of {so_many(len(gate.rules))} "
            f"some one is so by chance more often than {_percent(gate.alpha)}."
        )
    return told


def _where(rules: Sequence[Outcome]) -> str:
    """Which rules these are, such as ``energy of jm_dates and jm_units``."""
    tasks: dict[str, list[str]] = {}
    for rule in rules:
        tasks.setdefault(rule_name(rule), []).append(safe(rule.task))
    return "; ".join(f"{name} of {joined(_some(own))}" for name, own in tasks.items())


def _some(names: Sequence[str]) -> list[str]:
    return [*names[:_NAMED], *([f"{len(names) - _NAMED:,} more"] if len(names) > _NAMED else [])]


def _percent(share: float) -> str:
    return f"{round(100 * share, 1):g} %"


def _names(baseline: Side, candidate: Side) -> tuple[str, str]:
    """What to call the candidate and the baseline in a sentence; with their runs where they share a name."""
    if baseline.run.header.run_id == candidate.run.header.run_id and list(baseline.entrants) == list(
        candidate.entrants
    ):
        return next(iter(candidate.entrants)) if len(candidate.entrants) == 1 else "each model", _ITSELF
    who, against = (
        next(iter(side.entrants)) if len(side.entrants) == 1 else f"all models of {side.text}"
        for side in (candidate, baseline)
    )
    return (who, against) if who != against else (candidate.text, baseline.text)


def _headline(gate: Gate, who: str, against: str) -> str:
    who, against = safe(who), safe(against)
    many, by = len(gate.rules), Counter(rule.verdict for rule in gate.rules)
    rules = so_many(many)
    if gate.verdict == "pass":
        kept = {1: "its rule", 2: "both rules"}.get(many, f"all {rules}")
        return f"Pass: {who} keeps {kept} against {against}."
    if gate.verdict == "fail":
        return f"Fail: {who} breaks {by['fail']:,} of {rules} against {against}."
    if gate.imported:
        names, were = joined([safe(name) for name in gate.imported]), "was" if len(gate.imported) == 1 else "were"
        return f"Incomparable: {names} {were} imported, so nothing was judged of {who} against {against}."
    if gate.verdict == "incomparable":
        judged = "so nothing was judged" if not many else "so not all was judged"
        return f"Incomparable: more than the model differs between {who} and {against}, {judged}."
    if not many:
        return f"Inconclusive: nothing was judged of {who} against {against}."
    return f"Inconclusive: {who} surely keeps {by['pass']:,} of {rules} against {against}, and surely breaks none."


def _meaning(gate: Gate, config: GateConfig, runs: Sequence[Run]) -> str:
    alpha = _percent(config.alpha if gate.by_precision else gate.alpha)
    if gate.verdict == "pass":
        return f"Each is surely within its margin: one that breaks a rule would pass in at most {alpha} of such gates."
    if gate.verdict == "fail":
        if all(rule.margin is None for rule in gate.rules if rule.verdict == "fail"):
            return "What the candidate lacks is never a pass."
        return f"A candidate that keeps all rules would fail in at most {alpha} of such gates."
    if gate.verdict == "incomparable":
        return "That is neither a pass nor a fail: measure both in one run, on one machine, in the same way."
    return f"That is no pass, and no proof of a fault. {_remedy(gate, config, runs)}"


def _remedy(gate: Gate, config: GateConfig, runs: Sequence[Run]) -> str:
    """What would tell more: repeats for energy, questions for quality. Rules with a reason say it there."""
    unsure = [rule for rule in gate.rules if rule.verdict == "inconclusive" and rule.low is not None]
    lacking = {rule.metric for rule in unsure if config.looks or not rule.reason}
    told = []
    if gate.repeats < 2:
        return "Measure at least 2 repeats, better 6."
    if lacking & {"energy", "max_wh_per_1k", "min_correct_per_wh"}:
        told.append(_more_repeats(gate, config, runs))
    if lacking & {"quality", "min_quality", "min_correct_per_wh"}:
        told.append("more questions (--limit) tell smaller changes of quality")
    text = "; ".join(told) or "the reasons below say what is missing"
    return f"{text[0].upper()}{text[1:]}."


def _more_repeats(gate: Gate, config: GateConfig, runs: Sequence[Run]) -> str:
    """How to come to more repeats: where looks are planned, by the command that goes on to the next one."""
    if not config.looks:
        return "more repeats, an even number in abba order, tell smaller changes of energy"
    planned = max(planned_repeats(run) or 0 for run in runs)
    look = next_look(config.looks, gate.repeats, planned)
    if look is None:
        return "no planned look is left: measure anew, on a quieter machine, with fewer rules or later looks"
    raised = f" --repeats {look}" if look > planned else ""
    commands = joined([f"`{safe(resume_command(run.path))}{raised}`" for run in runs])
    return f"go on to the next look, at {look} repeats, by {commands}, and gate again"


def _warnings(runs: Sequence[Run]) -> list[str]:
    """What is torn, and what is missing of the plans, a sentence each."""
    unfinished = [far.sentence for far in map(progress, runs) if far]
    return list(dict.fromkeys(safe(text) for text in (*(note for run in runs for note in run.notes), *unfinished)))


def _notes(gate: Gate, config: GateConfig, sides: Sequence[Side]) -> list[str]:
    tested = sum(rule.low is not None for rule in gate.rules)
    told = [*_who_is_who(sides), whose_rules(config), *_of_grade(gate, sides)]
    if tested:
        each, alpha = f"{gate.repeats} {'repeat' if gate.repeats == 1 else 'repeats'}", _percent(gate.alpha)
        told.append(
            f"From {each}. Intervals hold {_percent(1 - 2 * gate.alpha)}: each end is a one-sided test at {alpha}. "
            "What would have been seen is the smallest true change that fails with 80 % probability, all rules "
            "allowed for."
        )
    if gate.repeats % 2 and tested and any(side.run.header.plan.get("order") == "abba" for side in sides):
        told.append(
            f"{gate.repeats} is an odd number: in abba order drift of the machine cancels over every two repeats."
        )
    if gate.by_precision and tested:
        told.append(
            "The run went on until its energies were known well enough (--precision), which stops where repeats agree "
            f"by luck: so each test has a third of the {_percent(config.alpha)}. A fixed number of --repeats sees more."
        )
    if config.looks and gate.rules:
        looks = joined([str(look) for look in config.looks])
        told.append(
            f"Planned looks are at {looks} repeats; each may take {_percent(gate.alpha)} of false fails, and all "
            f"together {_percent(config.alpha)}."
        )
    return told + _flags(sides)


def _who_is_who(sides: Sequence[Side]) -> list[str]:
    """What labels stand for, where somebody chose them."""
    meant = {entrant.model for side in sides for entrant in side.entrants.values()}
    loaded = {cell.model: cell.model_args for side in sides for cell in side.run.cells if cell.model in meant}
    asked = {model: re.sub("^ref:", "ref/", args) for model, args in loaded.items()}
    told = [
        f"{safe(model)} is {safe(args)}" for model, args in asked.items() if args not in ("", model, f"ref/{model}")
    ]
    return [f"{joined(told)}."] if 0 < len(told) <= _NAMED else []


def _flags(sides: Sequence[Side]) -> list[str]:
    """What may be wrong with the figures of either, such as a busy machine; told once of all whom it is true of."""
    whose: dict[str, list[str]] = {}
    for name, entrant in _called_apart(sides).items():
        flags = measure(entrant, sorted(entrant.samples)).flags
        for text in in_words([flag for flag in flags if not flag.startswith("no_energy:")]):
            whose.setdefault(text, []).append(safe(name))
    return [f"{joined(names)}: {text}." for text, names in whose.items()]


def _called_apart(sides: Sequence[Side]) -> dict[str, Entrant]:
    """The entrants of both sides by name; with the run's, where two runs have one of a name."""
    entrants = {(entrant.run_id, name): entrant for side in sides for name, entrant in side.entrants.items()}
    names = Counter(name for _, name in entrants)
    runs = [own.run_name for own in by_run_name(list(entrants.values()))]
    return {
        f"{name} of {run}" if names[name] > 1 else name: entrant
        for ((_, name), entrant), run in zip(entrants.items(), runs, strict=True)
    }


def _of_grade(gate: Gate, sides: Sequence[Side]) -> list[str]:
    """How joules were obtained, and what that leaves open between two models."""
    entrants = [entrant for side in sides for entrant in side.entrants.values()]
    grades = sorted({str(entrant.grade) for entrant in entrants if entrant.grade})
    if not grades or not gate.rules:
        return []
    meters = sorted({safe(meter.id) for entrant in entrants for meter in entrant.meters})
    named = joined(meters) if meters else "an unnamed meter"
    if "modelled" not in grades:
        return [f"Energy: {joined(grades)} ({named}); the meter's own scale cancels between the two."]
    workload = max(meter.rel_u_workload or 0.0 for entrant in entrants for meter in entrant.meters)
    return [
        f"Energy: modelled ({named}), not measured joules. A change of less than about "
        f"{times(workload_factor(workload))} between different models may come from the power model, which is in no "
        "interval."
    ]


def _by_model(gate: Gate, sides: Sequence[Side]) -> str:
    """That energy was not measured, where a rule is about it."""
    modelled = any(entrant.grade == "modelled" for side in sides for entrant in side.entrants.values())
    about = any("energy" in rule_name(rule) or "Wh" in rule_name(rule) for rule in gate.rules)
    return " Energy is CPU time by a power model: of measured joules nothing is said." if modelled and about else ""


def _again(runs: Sequence[Run], baseline: Side, candidate: Side, options: Sequence[str]) -> list[str]:
    """How to measure both anew, where the run's plan says how, and the gate of that; else the gate of what is there."""
    measured = [command for command in again(runs) if command.startswith("joulemark run ")]
    measured = measured if len(measured) == len(runs) else []
    places = {run.header.run_id: f"again-{place}" for place, run in enumerate(runs, start=1)}
    words = ["joulemark", "gate"]
    for name, side in (("--baseline", baseline), ("--candidate", candidate)):
        path, model = str(side.run.path), side.text.removeprefix(str(side.run.path))
        if measured:
            path = "again" if len(runs) == 1 else places[side.run.header.run_id]
        words += [name, path + model if model.startswith(":") or not model else side.text]
    return [*measured, " ".join(shlex.quote(safe(word)) for word in (*words, *options))]
