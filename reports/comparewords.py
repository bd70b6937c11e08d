"""A comparison in words, as a table for the terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .clauses import workload_factor
from .compare import Comparison, Contrast
from .effects import Effect
from .flags import in_words
from .progress import Progress
from .rows import Figures
from .stats import LEVEL, Estimate, energy
from .views import ALL
from .wording import MISSING, ascii_only, fixed, joined, number, safe, span, times

__all__ = ["as_object", "notes", "print_comparisons", "verdict"]

_MARK = "*"


def verdict(found: Comparison, first: str, second: str) -> str:
    """What comes out over all, in a sentence or two."""
    return _verdict(found, found.whole, first, second)


def notes(found: Comparison, first: str, second: str) -> list[str]:
    """What else a reader must know."""
    whole, told = found.whole, []
    if found.same_answers:
        told.append("Both hold the same answers, metered twice: only their energies can differ.")
    elif not found.one_sitting:
        between = "on the machine between them" if found.a.machine == found.b.machine else "between the machines"
        where = "on two machines of one run" if found.a.run_id == found.b.run_id else "in two runs"
        imported = any(own.imported is not None for own in (found.a, found.b))
        if imported and found.a.measured_in == found.b.measured_in:
            told.append("No file tells whether they were measured together: what else differed is in no interval.")
        else:
            told.append(f"Measured {where}: what else differed {between} is in no interval.")
    told += [f"Failed, so left out: {joined([safe(task) for task in found.failed])}."] if found.failed else []
    told += _not_finished(found, first, second)
    if found.apart:
        told.append(f"Not asked of both in the same way, so left out: {joined([safe(task) for task in found.apart])}.")
    if whole.dropped:
        told.append(
            f"{whole.dropped} items were asked of one of them alone: they are in no figure, and there is no ratio of "
            "energies, which are of all items."
        )
    elif whole.energy is None:
        told += _without_energy(found, first, second)
    if whole.repeats == 1:
        told.append("One repeat: no interval for energy.")
    told += _paired(found) + _remetered(found)
    told += _of_grade(found) if any(each.energy for each in found.contrasts) else []
    return told + _flags(whole, first, second) + _of_many(found)


def as_object(found: Comparison, first: str, second: str) -> dict[str, Any]:
    """The comparison as JSON has it; ratios and differences are the second's to the first's."""
    return {
        "a": _side(found.a, first),
        "b": _side(found.b, second),
        "paired": found.whole.paired,
        "verdict": verdict(found, first, second),
        "workload_factor": _factor(found) if found.a.grade == "modelled" and not found.one_model else None,
        "same_answers": found.same_answers,
        "comparisons": [
            _contrast(each) | {"verdict": _verdict(found, each, first, second)} for each in found.contrasts
        ],
        "not_shared": list(found.apart),
        "failed": list(found.failed),
        "not_finished_a": list(found.not_finished[0]),
        "not_finished_b": list(found.not_finished[1]),
        "unfinished": [_unfinished(far) for far in found.unfinished],
        "notes": [*_lacking(found), *notes(found, first, second)],
    }


def print_comparisons(each: Sequence[tuple[Comparison, str, str]], *, file: TextIO | None = None) -> None:
    """Print a verdict, a table of tasks and what else to know of each; what is to know of all of them, at the end."""
    console = Console(file=file, highlight=False, soft_wrap=False)
    plain = ascii_only if not console.encoding.lower().startswith("utf") else str
    told = [notes(*one) for one in each]
    shared = [note for note in told[0] if len(told) > 1 and all(note in other for other in told)]
    for sentence in dict.fromkeys(sentence for found, *_ in each for sentence in _lacking(found)):
        console.print()
        console.print(Text(plain(sentence), style="bold"))
    for one, own in zip(each, told, strict=True):
        console.print()
        console.print(Text(plain(verdict(*one)), style="bold"))
        console.print(_table(one[0].contrasts, plain))
        _print_notes([note for note in own if note not in shared], console, plain)
    if shared:
        console.print(f"\nOf all {len(each)} comparisons:", style="dim")
        _print_notes(shared, console, plain)


def _print_notes(sentences: Sequence[str], console: Console, plain: Callable[[str], str]) -> None:
    for note in sentences:
        lines = Text(plain(note), style="dim").wrap(console, console.width - 4)
        for place, line in enumerate(lines):
            console.print(Text("    " if place else "  - ", style="dim") + line)


def _verdict(found: Comparison, each: Contrast, first: str, second: str) -> str:
    same = found.same_answers and each.quality is not None
    parts = ["gives the same answers" if same else _quality(each), _energy(each.energy)]
    where = "" if each.task == ALL else f" on {safe(each.task)}"
    if not any(parts):
        who = f"{safe(second)} against {safe(first)}{where}"
        return f"Nothing can be said of {who}: neither quality nor energy is in both."
    modelled = each.energy is not None and found.a.grade == "modelled"
    start = "By a power model, not measured joules: against" if modelled else "Against"
    told = f"{start} {safe(first)}, {safe(second)} {' and '.join(filter(None, parts))}{where}."
    if each.correct_per_wh:
        told += f" Right answers per watt-hour: {_rate(each.correct_per_wh)}."
    return told + _may_be_otherwise(found, each) + _by_itself(found, each)


def _by_itself(found: Comparison, each: Contrast) -> str:
    """Where a task's own interval says more than Holm's correction over all of them lets stand."""
    named = {"quality": each.quality, "energy": each.energy}
    lost = [name for name, effect in named.items() if effect and effect.significant is False and _tells(effect)]
    tasks = sum(other.task != ALL for other in found.contrasts)
    return f" After allowing for {tasks} tasks, the difference in {joined(lost)} may be chance." if lost else ""


def _tells(effect: Effect) -> bool:
    """Whether its own interval leaves out that there is no difference."""
    return effect.p is not None and effect.p <= 1 - LEVEL


def _lacking(found: Comparison) -> list[str]:
    """What is missing of their runs' plans, a sentence for each run."""
    return [safe(far.sentence) for far in found.unfinished]


def _not_finished(found: Comparison, first: str, second: str) -> list[str]:
    """Who has not finished which tasks yet; both together where they lack the same."""
    by_tasks: dict[tuple[str, ...], list[str]] = {}
    for name, tasks in zip((first, second), found.not_finished, strict=True):
        if tasks:
            by_tasks.setdefault(tasks, []).append(safe(name))
    return [
        f"Not finished by {joined(names)}, so left out: {joined([safe(task) for task in tasks])}."
        for tasks, names in by_tasks.items()
    ]


def _paired(found: Comparison) -> list[str]:
    """Why ``rank`` has another interval for the same two, and which to go by; of few repeats, what more would bring."""
    whole = found.whole
    if not whole.paired:
        return []
    told = (
        "Repeats are paired here, so that a drift that both shared is in no interval. `rank` takes each model's "
        "repeats by themselves and allows for all its pairs, so that it may judge otherwise: go by this for two models "
        "that you chose beforehand, and by `rank` for the order of many."
    )
    few = "With 2 repeats only a large difference in energy can be seen; an interval of 3 is about a third as wide."
    return [told, few] if whole.repeats == 2 else [told]


def _flags(whole: Contrast, first: str, second: str) -> list[str]:
    """What may be wrong with either, told once where it is so of both."""
    of_a, of_b = (
        in_words([flag for flag in own.flags if not flag.startswith("no_energy:")]) for own in (whole.a, whole.b)
    )
    both = [text for text in of_a if text in of_b]
    told = [f"Each of the two: {text}." for text in both]
    for name, own in ((first, of_a), (second, of_b)):
        told += [f"{safe(name)}: {text}." for text in own if text not in both]
    return told


def _without_energy(found: Comparison, first: str, second: str) -> list[str]:
    """Who lacks energy of which tasks."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for name, own in ((first, found.a), (second, found.b)):
        tasks = tuple(safe(task) for task in found.whole.tasks if not own.samples[task].energy_wh)
        if tasks:
            lacking.setdefault(tasks, []).append(safe(name))
    end = (
        "so none is compared over all tasks."
        if any(each.energy for each in found.contrasts)
        else "so none is compared."
    )
    return [
        f"{joined(names)} {'has' if len(names) == 1 else 'have'} no energy in {joined(tasks)}, {end}"
        for tasks, names in lacking.items()
    ]


def _remetered(found: Comparison) -> list[str]:
    """Whose energy was not measured while it ran."""
    names = sorted({safe(own.run_name) for own in (found.a, found.b) if own.remetered_from is not None})
    return [f"The energy of {joined(names)} was taken afterwards from a recorded trace."] if names else []


def _of_many(found: Comparison) -> list[str]:
    """What the marks in the table mean, where there are several tasks."""
    effects = [effect for each in found.contrasts for effect in (each.quality, each.energy) if effect]
    judged = [effect for effect in effects if effect.significant is not None]
    if len(found.contrasts) < 3 or not judged:
        return []
    if not any(effect.significant for effect in judged):
        return [f"By Holm's correction for {len(judged)} intervals, each 95 % by itself, no task surely differs."]
    model = " Those of energy are the power model's." if found.a.grade == "modelled" else ""
    return [
        f"{_MARK} differs also by Holm's correction for the {len(judged)} intervals of single tasks, each 95 % by "
        f"itself: at most one comparison in twenty has a wrong mark.{model}"
    ]


def _may_be_otherwise(found: Comparison, each: Contrast) -> str:
    """Where a ratio of modelled energies may be no larger than what the power model may feign between two models."""
    effect = each.energy
    if effect is None or found.a.grade != "modelled" or found.one_model:
        return ""
    low, high = effect.low or effect.value, effect.high or effect.value
    if low < 1 < high:
        return ""  # Which way round it is was not said.
    nearest = min(max(end, 1 / end) for end in (low, high))
    return " In joules it may be the other way round." if nearest < _factor(found) else ""


def _factor(found: Comparison) -> float:
    return workload_factor(max(found.whole.a.workload or 0.0, found.whole.b.workload or 0.0))


def _of_grade(found: Comparison) -> list[str]:
    """What the way in which joules were obtained leaves open between two models."""
    meters = sorted({meter.id for own in (found.a, found.b) for meter in own.meters})
    names = joined([safe(name) for name in meters]) if meters else "an unnamed meter"
    scale = "cancels" if found.one_meter else "does not cancel between them, and is in the intervals"
    if found.a.grade != "modelled":
        return [f"Energy: {found.a.grade} ({names}); the meter's own scale {scale}."]
    if found.one_model:
        return [f"Energy: modelled ({names}), not measured joules; what the power model gets wrong is alike in both."]
    return [
        f"Energy: modelled ({names}), not measured joules; a ratio of less than about {times(_factor(found))} between "
        "models may come from the power model, which is in no interval."
    ]


def _quality(each: Contrast) -> str:
    effect = each.quality
    if effect is None:
        return ""
    points = f"{_signed(effect.value)} points, {_interval(effect, 1)}"
    assert effect.low is not None
    assert effect.high is not None
    if effect.low > 0 or effect.high < 0:
        return f"answers {'better' if effect.value > 0 else 'worse'} ({points})"
    seen = fixed(effect.detectable)
    if each.same_scores:
        return f"scores the same on each of these questions ({seen} points apart would most likely have been seen)"
    return f"shows no sure difference in quality ({points}; {seen} would most likely have been seen)"


def _energy(effect: Effect | None) -> str:
    if effect is None:
        return ""
    if effect.low is None or effect.high is None:
        return f"took {number(effect.value)} times the energy in one repeat, which proves nothing"
    ratio = _interval(effect)
    if effect.low > 1 or effect.high < 1:
        return f"takes {number(effect.value)} times the energy ({ratio})"
    told = f"{number(effect.value)} times, {ratio}; {_percent_seen(effect)} would most likely have been seen"
    return f"shows no sure difference in energy ({told})"


def _rate(effect: Effect) -> str:
    return f"{number(effect.value)} times ({_interval(effect)})"


def _interval(effect: Effect, decimals: int | None = None) -> str:
    told = span(effect.low, effect.high, decimals)
    return f"95 % {told}" if told else "no interval"


def _table(contrasts: Sequence[Contrast], plain: Callable[[str], str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("Task", overflow="fold")
    table.add_column("Items", justify="right")
    for heading in ("Quality,\npoints more", "Energy,\ntimes", "Seen from:\npoints, energy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in contrasts:
        table.add_row(*(plain(text) for text in _cells(each)))
    return table


def _cells(each: Contrast) -> tuple[str, ...]:
    quality, energy = each.quality, each.energy
    return (
        f"all {len(each.tasks)} tasks" if each.task == ALL else safe(each.task),
        f"{each.items:,}",
        _points(quality),
        MISSING if energy is None else _marked(energy, number(energy.value), span(energy.low, energy.high)),
        f"{MISSING if quality is None else fixed(quality.detectable)}, {_percent_seen(energy)}",
    )


def _points(quality: Effect | None) -> str:
    if quality is None:
        return MISSING
    told = span(quality.low, quality.high, 1)
    return _marked(quality, _signed(quality.value), told) if told else "same answers"


def _marked(effect: Effect, value: str, interval: str) -> str:
    return f"{f'{_MARK} ' if effect.significant else ''}{value}\n({interval or 'no interval'})"


def _percent_seen(energy: Effect | None) -> str:
    return MISSING if energy is None or energy.detectable is None else f"{number(100 * energy.detectable, 2)} %"


def _signed(points: float) -> str:
    return ("+" if points > 0 else "") + fixed(points)


def _side(entrant: Any, name: str) -> dict[str, Any]:
    return {
        "model": entrant.model,
        "label": name,
        "run_id": entrant.run_id,
        "setting": dict(entrant.setting),
        "machine_id": entrant.machine.machine_id,
        "hardware": entrant.hardware,
        "scope": entrant.scope,
        "grade": entrant.grade,
    }


def _unfinished(far: Progress) -> dict[str, Any]:
    return {"run_id": far.run_id, "finished": far.finished, "failed": far.failed, "planned": far.planned}


def _contrast(each: Contrast) -> dict[str, Any]:
    values: dict[str, Any] = {
        "task": each.task,
        "tasks": list(each.tasks),
        "items": each.items,
        "dropped_items": each.dropped,
        "repeats": each.repeats,
        "paired": each.paired,
        "same_scores": each.same_scores,
    }
    for name, figures in (("a", each.a), ("b", each.b)):
        values |= _spread(f"quality_{name}", figures.quality) | _spread(f"energy_wh_per_1k_{name}", _wh(figures))
        values |= {f"flags_{name}": list(figures.flags)}
    for name, effect in (
        ("quality_delta", each.quality),
        ("energy_ratio", each.energy),
        ("correct_per_wh_ratio", each.correct_per_wh),
    ):
        values |= {
            name: effect and effect.value,
            f"{name}_low": effect and effect.low,
            f"{name}_high": effect and effect.high,
            f"{name}_detectable": effect and effect.detectable,
        }
        if name != "correct_per_wh_ratio":
            values[f"{name}_significant_holm"] = effect and effect.significant
    return values


def _spread(name: str, told: Estimate | None) -> dict[str, float | None]:
    value, low, high = (told.value, told.low, told.high) if told else (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _wh(figures: Figures) -> Estimate | None:
    """With the meter's own error, as an absolute figure has it."""
    return energy(figures.log, figures.rel_u) if figures.log else None


def json_text(found: Sequence[dict[str, Any]]) -> str:
    """One JSON object with all comparisons."""
    return json.dumps({"schema": "joulemark.compare/1", "comparisons": list(found)}, indent=2, allow_nan=False)
