"""Views: which entrants may be ranked together.

A view holds what is asked, on which hardware, with which scope and grade. The view over all tasks
comes first. Runs that ask different task sets have a view over all tasks each.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from joulemark.harness.record import Carbon, MeterInfo
from joulemark.harness.store import Run
from joulemark.meters.errors import Incomparable
from joulemark.meters.types import GRADES
from joulemark.tasks.catalog import THREE_SHOT

from .contest import By
from .entrants import Entrant, absent, gather
from .placing import order, place
from .progress import Progress, not_begun, progress
from .rows import Row, measure, plain_row

__all__ = ["ALL", "FLOOR", "View", "make_views"]

_VARIANTS = frozenset(task.name for task in THREE_SHOT)
"""Questions that are asked a second time, in another way: they would count twice over all tasks."""

ALL = "all"
FLOOR = 20.0


@dataclass(frozen=True, kw_only=True)
class View:
    """Rows that may be compared, best first; unranked ones last.

    Attributes:
        task: A task's name, or ``all``.
        tasks: The tasks that it covers.
        hardware: What computed; ``mixed`` where entrants of several stand side by side, unranked.
        scope: What the joules cover; None without energy; or ``mixed``.
        grade: How they were obtained; None without energy; or ``mixed``.
        by: What the rank goes by.
        quality_floor: Points below which nothing is ranked.
        mixed: Whether unlike entrants stand side by side.
        asked: What was asked, by task, as canonical JSON of its hash and settings.
        meters: Those that the energy comes from.
        carbon: What its runs take a kilowatt-hour to stand for, each figure once.
        notes: What a reader must know besides the rows, a sentence each.
        rows: One for each entrant.
        unfinished: Its runs that lack cells of their plan.
        peculiar: What tells it from the other views of the same tasks on the same hardware; else empty.
    """

    task: str
    tasks: tuple[str, ...]
    hardware: str
    scope: str | None
    grade: str | None
    by: By
    quality_floor: float
    mixed: bool
    asked: dict[str, str]
    meters: tuple[MeterInfo, ...]
    notes: tuple[str, ...]
    rows: tuple[Row, ...]
    unfinished: tuple[Progress, ...] = ()
    carbon: tuple[Carbon, ...] = ()
    peculiar: str = ""

    @property
    def ranked(self) -> tuple[Row, ...]:
        """The rows that have a rank, best first."""
        return tuple(row for row in self.rows if row.rank is not None)

    @property
    def modelled_by(self) -> str | None:
        """What modelled joules follow: CPU time, by our own meter, or another's power model; None for measured ones."""
        if self.grade != "modelled":
            return None
        ours = all(meter.id.startswith("modelled:") for meter in self.meters)
        return "CPU time" if ours else "a power model"


@dataclass(frozen=True, kw_only=True)
class _Key:
    task: str
    asked: tuple[tuple[str, str], ...]
    kind: tuple[str, str, str]
    """Hardware, scope, grade."""


def make_views(
    runs: Sequence[Run], *, by: By = "correct_per_wh", quality_floor: float = FLOOR, mix: bool = False
) -> list[View]:
    """All views of these runs; those over all tasks first, then task by task, best grade first.

    Args:
        runs: As read; the same run given twice counts once.
        by: What ranks go by.
        quality_floor: Points of quality below which nothing is ranked.
        mix: Put entrants of different hardware, scope or grade side by side, unranked.

    Raises:
        Incomparable: No run has a finished cell.
        UsageError: A run's items cannot be read.
    """
    once = list({run.header.run_id: run for run in runs}.values())
    entrants = gather(once)
    if not entrants:
        raise Incomparable(
            "nothing to rank: none of these runs has a finished cell; finish one with `joulemark run --resume RUN`."
        )
    notes = tuple(absent(once) + not_begun(once))
    lacking = [(run.header.run_id, far) for run in once if (far := progress(run))]
    idle = {run_id for run_id, _ in lacking} - {e.run_id for e in entrants}
    views = []
    for key, group in sorted(_grouped(entrants, mix).items(), key=lambda pair: _order(pair[0])):
        kinds = {(e.hardware, e.scope, e.grade) for e in group}
        mixed = len(kinds) > 1
        hardware, scope, grade = (_one({kind[i] for kind in kinds}) for i in range(3))
        tasks = tuple(task for task, _ in key.asked)
        rows, own = _rows(group, tasks, by=by, floor=quality_floor, ranking=not mixed)
        mine = idle | {e.run_id for e in group}
        meters = {meter.id: meter for e in group for meter in e.meters}
        views.append(
            View(
                task=key.task,
                tasks=tasks,
                hardware=hardware or "unknown",
                scope=scope,
                grade=grade,
                by=by,
                quality_floor=quality_floor,
                mixed=mixed,
                asked=dict(key.asked),
                meters=tuple(meters[name] for name in sorted(meters)),
                notes=notes + own + _remetered(group) + _same_answers(group),
                rows=rows,
                unfinished=tuple(far for run_id, far in sorted(lacking, key=_first) if run_id in mine),
                carbon=tuple(dict.fromkeys(e.carbon for e in group if e.carbon)),
            )
        )
    return _told_apart(views)


def _first(pair: tuple[str, Progress]) -> str:
    return pair[0]


def _told_apart(views: list[View]) -> list[View]:
    """The views, each with what tells it from those of the same tasks on the same hardware."""
    alike: dict[tuple[Any, ...], list[View]] = defaultdict(list)
    for view in views:
        alike[view.task, view.tasks, view.hardware].append(view)
    return [replace(v, peculiar=_unlike(v, alike[v.task, v.tasks, v.hardware])) for v in views]


def _unlike(view: View, others: Sequence[View]) -> str:
    if len(others) == 1:
        return ""
    traits = [_traits(other) for other in others]
    keys = sorted({key for trait in traits for key in trait})
    own = _traits(view)
    differing = [key for key in keys if len({trait.get(key) for trait in traits}) > 1]
    return ", ".join(_in_words(key, own.get(key)) for key in differing)


def _traits(view: View) -> dict[str, str]:
    """What is asked and how the joules were obtained, as JSON by name; over tasks that differ, all values."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for question in view.asked.values():
        version, asked = json.loads(question) if question else ("", "{}")
        for key, value in (json.loads(asked) | {"version": version}).items():
            found[key][json.dumps(value)] = None
    traits = {key: _few(sorted(values)) for key, values in found.items()}
    return traits | {"scope": view.scope or "none", "grade": view.grade or "none"}


def _few(values: Sequence[str]) -> str:
    """Values for a heading: up to two as they are, of more the first and a digest of all."""
    if len(values) <= 2:
        return " and ".join(values)
    return f"{values[0]} and {len(values) - 1} more (#{zlib.crc32(chr(0).join(values).encode()):08x})"


def _in_words(key: str, value: str | None) -> str:
    missing = value in (None, "null")
    if key == "limit":
        return "all questions" if missing else f"{value} questions a task"
    if key == "num_fewshot":
        return "few-shot as the task has it" if missing else f"{value}-shot"
    if key == "version":
        return f"tasks of version {str(value).replace(chr(34), '')}" if not missing else "version unknown"
    if key in ("grade", "scope"):
        return f"{value} energy" if key == "grade" else f"scope {value}"
    return f"{key.replace('_', ' ')} {'not set' if missing else value}"


def _grouped(entrants: list[Entrant], mix: bool) -> dict[_Key, list[Entrant]]:
    groups: dict[_Key, list[Entrant]] = defaultdict(list)
    for entrant in entrants:
        kind = ("", "", "") if mix else (entrant.hardware, entrant.scope or "", entrant.grade or "")
        questions = sorted(entrant.questions.items())
        whole = tuple(question for question in questions if question[0] not in _VARIANTS) or tuple(questions)
        groups[_Key(task=ALL, asked=whole, kind=kind)].append(entrant)
        for question in questions:
            if question[0] in entrant.samples:
                groups[_Key(task=question[0], asked=(question,), kind=kind)].append(entrant)
    return groups


def _rows(
    entrants: Sequence[Entrant], tasks: Sequence[str], *, by: By, floor: float, ranking: bool
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Rows of a view, best first, and sentences on what is missing."""
    figures = [measure(entrant, tasks) for entrant in entrants]
    rows = [plain_row(f, label) for f, label in zip(figures, _labels(entrants), strict=True)]
    if ranking:
        rows = list(place(figures, rows, by, floor))
    rows.sort(key=lambda row: order(row, by))
    trouble = dict.fromkeys(sentence for entrant in entrants for sentence in entrant.trouble)
    return tuple(rows), tuple(trouble)


def _remetered(entrants: Sequence[Entrant]) -> tuple[str, ...]:
    """A sentence for each run whose energy was not measured by it."""
    made = {e.run_name: ", ".join(meter.id for meter in e.meters) for e in entrants if e.remetered_from is not None}
    return tuple(
        f"The energy of {name} was taken afterwards from a recorded trace{meters and f' ({meters})'}, not while it ran."
        for name, meters in sorted(made.items())
    )


def _same_answers(entrants: Sequence[Entrant]) -> tuple[str, ...]:
    """A sentence for each run that stands beside the run whose answers it holds."""
    names = {entrant.run_id: entrant.run_name for entrant in entrants}
    pairs = sorted({(e.run_name, names[e.remetered_from]) for e in entrants if e.remetered_from in names})
    return tuple(
        f"{new} holds the answers of {old}, metered anew: compare their energy; their quality is one and the same."
        for new, old in pairs
    )


def _labels(entrants: Sequence[Entrant]) -> list[str]:
    """The model's name, with what tells it apart where entrants share it."""
    plain = Counter(e.model for e in entrants)
    names = [e.model if plain[e.model] == 1 else f"{e.model} ({_peculiar(e, entrants)})" for e in entrants]
    taken = Counter(names)
    return [n if taken[n] == 1 else f"{n} [{e.run_id}]" for n, e in zip(names, entrants, strict=True)]


def _peculiar(entrant: Entrant, entrants: Sequence[Entrant]) -> str:
    same = [e for e in entrants if e.model == entrant.model]
    keys = sorted({key for e in same for key in e.setting if any(o.setting.get(key) != e.setting[key] for o in same)})
    told = [f"{key}={entrant.setting[key]}" for key in keys if key in entrant.setting]
    if len({e.grade for e in same}) > 1:
        told.append(str(entrant.grade))
    return ", ".join(told) or entrant.run_name


def _order(key: _Key) -> tuple[Any, ...]:
    hardware, scope, grade = key.kind
    rank = [str(known) for known in GRADES].index(grade) if grade in GRADES else len(GRADES)
    return key.task != ALL, -len(key.asked), key.task, rank, hardware, scope, key.asked


def _one(values: set[Any]) -> Any:
    return values.pop() if len(values) == 1 else "mixed"
