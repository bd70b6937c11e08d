"""Views: which entrants may be ranked together.

A view holds what is asked, on which hardware, with which scope and grade. The view over all tasks
comes first. Runs that ask different task sets have a view over all tasks each.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from joulemark.harness.record import Carbon, MeterInfo
from joulemark.harness.store import Run
from joulemark.meters.errors import Incomparable, UsageError
from joulemark.meters.types import GRADES
from joulemark.tasks.catalog import THREE_SHOT

from .apart import work_apart
from .contest import By
from .copies import without_copies
from .entrants import Entrant, asked_of, belied, by_run_name, in_order, without_quality_in
from .filters import Filters
from .flags import WHY_NO_QUALITY
from .hypervolume import Hypervolume
from .losses import left_out, losses
from .names import ALL, Name, name_entrants
from .peculiar import told_apart
from .placing import Judged, order, place
from .progress import Progress
from .rows import Figures, Row, measure, plain_row
from .runnotes import notes_on_runs, without_task
from .tried import Tried, look_at
from .wording import joined

__all__ = ["ALL", "FLOOR", "View", "make_views", "views_of"]

_VARIANTS = frozenset(task.name for task in THREE_SHOT)
"""Questions that are asked a second time, in another way: they would count twice over all tasks."""

FLOOR = 20.0
_MANY = 5_000
"""Rows of all views that are worth other processes."""


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
        losses: A sentence for each entrant that lost cells of these tasks, or for several that lost them alike.
        rows: One for each entrant.
        figures: What each of these rows was made of, in the same order.
        unfinished: Its runs that lack cells of their plan.
        peculiar: What tells it from the other views of the same tasks on the same hardware; else empty.
        covered: What its frontier covers; None where nothing in it is judged.
        apart: Tasks that its entrants did and that it does not cover.
        budget_wh: Watt-hours per 1,000 answers that its rows keep to; None: no budget.
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
    losses: tuple[str, ...] = ()
    unfinished: tuple[Progress, ...] = ()
    carbon: tuple[Carbon, ...] = ()
    peculiar: str = ""
    figures: tuple[Figures, ...] = field(default=(), repr=False, compare=False)
    covered: Hypervolume | None = None
    apart: tuple[str, ...] = ()
    budget_wh: float | None = None

    @cached_property
    def ranked(self) -> tuple[Row, ...]:
        """The rows that have a rank, best first."""
        return tuple(row for row in self.rows if row.rank is not None)

    @cached_property
    def metric(self) -> str | None:
        """The headline metric of its one task, where nobody has quality and it stands for that."""
        names = {row.metric for row in self.rows if row.metric in row.other_metrics}
        return names.pop() if self.unscored and len(names) == 1 else None

    @cached_property
    def unscored(self) -> bool:
        """Whether nobody has quality in any of its tasks, whose metrics are no shares, for instance."""
        return not any(row.quality is not None for row in self.rows) and len(self.lacking) == len(self.tasks)

    @cached_property
    def lacking(self) -> dict[str, str]:
        """Why there is no quality, by task, as the flag that says so; of a task without for an entrant."""
        told = {flag for row in self.rows for flag in row.flags}
        return {task: why for task in self.tasks for why in WHY_NO_QUALITY if f"{why}:{task}" in told}

    @cached_property
    def not_told(self) -> dict[str, tuple[str, ...]]:
        """What the files of its imported runs do not say, by the run's name."""
        entrants = [f.entrant for f in self.figures]
        return {e.run_name: e.not_told for e in sorted(entrants, key=lambda e: e.run_name) if e.not_told}

    @cached_property
    def imported(self) -> tuple[str, ...]:
        """The names of its imported runs."""
        return tuple(sorted({f.entrant.run_name for f in self.figures if f.entrant.imported is not None}))

    @property
    def all_imported(self) -> bool:
        """Whether Joulemark measured nothing in it."""
        return bool(self.figures) and all(f.entrant.imported is not None for f in self.figures)

    @property
    def modelled_by(self) -> str | None:
        """What modelled joules follow: CPU time, by our own meter, or another's power model; None for measured ones."""
        if self.grade != "modelled":
            return None
        ours = all(meter.id.startswith("modelled:") for meter in self.meters)
        return "CPU time" if ours else "a power model"


_Made = tuple[View | None, tuple[str, ...], Any]
"""A view, unless nothing in it keeps to the budget; what to say of that; and what was made beside."""


@dataclass(frozen=True, kw_only=True)
class _Key:
    task: str
    asked: tuple[tuple[str, str], ...]
    kind: tuple[str, str, str]
    """Hardware, scope, grade."""


def make_views(
    runs: Sequence[Run],
    *,
    by: By = "correct_per_wh",
    quality_floor: float = FLOOR,
    mix: bool = False,
    filters: Filters = Filters(),  # noqa: B008 - frozen
    task: str | None = None,
) -> list[View]:
    """All views of these runs; those over all tasks first, then task by task, best grade first.

    Args:
        runs: As read; the same run given twice counts once.
        by: What ranks go by.
        quality_floor: Points of quality below which nothing is ranked.
        mix: Put entrants of different hardware, scope or grade side by side, unranked.
        filters: Which entrants to look at; the others are as if they had not been measured.
        task: Only views of this task, or only those over ``all``; None: every view, which takes that much longer.

    Raises:
        Incomparable: No run has a finished cell, or none of them passes the filters.
        UsageError: A run's items cannot be read, or nobody did the task.
    """
    once = {run.header.run_id: run for run in runs}.values()
    return views_of(
        [look_at(run) for run in once], by=by, quality_floor=quality_floor, mix=mix, filters=filters, task=task
    )[0]


def views_of(
    runs: Sequence[Tried],
    *,
    by: By = "correct_per_wh",
    quality_floor: float = FLOOR,
    mix: bool = False,
    filters: Filters = Filters(),  # noqa: B008 - frozen
    task: str | None = None,
    beside: Callable[[Judged | None], Any] | None = None,
) -> tuple[list[View], list[Any]]:
    """The same of runs that were looked at, each once; see `make_views`.

    With each view comes what ``beside`` makes of what it was judged by, while that is at hand.
    """
    every, copies = without_copies(by_run_name(in_order(entrant for run in runs for entrant in run.entrants)))
    wrong = belied(every)
    every = [without_quality_in(wrong, entrant) if wrong else entrant for entrant in every]
    entrants, lost = [e for e in every if e.samples], [e for e in every if not e.samples]
    if not entrants:
        raise Incomparable(
            "nothing to rank: none of these runs has a finished cell; finish one with `joulemark run --resume RUN`."
        )
    entrants, only = filters.keep(entrants)
    if not entrants:
        raise Incomparable(f"nothing to rank: no model passes. {' '.join(only)}")
    done = sorted({name for entrant in entrants for name in entrant.samples})
    if task not in (None, ALL, *done):
        raise UsageError(f"no task {task!r} in these runs; they have {', '.join(done)}.")
    names = [name.full for name in name_entrants(lost, entrants)]
    absent = without_task(entrants, task) if task and task != ALL else ()
    notes = (*only, *absent, *copies, *left_out(lost, names), *sorted({each for run in runs for each in run.not_begun}))
    unscored = _unscored(entrants)
    lacking = [(run.run_id, run.progress) for run in runs if run.progress]
    idle = {run_id for run_id, _ in lacking} - {e.run_id for e in entrants}
    views, told = [], []
    groups = _grouped(entrants, set(unscored), mix)
    keys = sorted(sorted(groups, key=_most_first, reverse=True), key=_order)
    # What Joulemark measured leads, whatever files hold.
    keys.sort(key=lambda key: (key.task != ALL, all(entrant.imported is not None for entrant in groups[key])))
    keys = [key for key in keys if task in (None, key.task)]

    called: dict[tuple[int, ...], list[Name]] = {}
    for key in keys:
        # The same entrants have a view for each task.
        if (who := tuple(map(id, groups[key]))) not in called:
            called[who] = name_entrants(groups[key], _asked_alike(lost, groups[key]))

    def of_key(key: _Key) -> _Made:
        group, tasks = groups[key], tuple(task for task, _ in key.asked)
        kinds = _kinds(group)
        mixed = len(kinds) > 1
        hardware, scope, grade = (_one({kind[i] for kind in kinds}) for i in range(3))
        own = called[tuple(map(id, group))]
        figures, rows, judged, beyond = _rows(group, own, tasks, filters, by=by, floor=quality_floor, ranking=not mixed)
        if not rows:
            return None, beyond, None
        mine = idle | {e.run_id for e in group}
        meters = {meter.id: meter for e in group for meter in e.meters}
        view = View(
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
            notes=beyond
            + notes
            + _apart(group, key, unscored)
            + _no_shares(key, wrong, unscored)
            + notes_on_runs(group, () if mixed else [f.entrant for f in figures]),
            losses=losses(group, [name.full for name in own], tasks),
            rows=rows,
            unfinished=tuple(far for run_id, far in sorted(lacking, key=_first) if run_id in mine),
            carbon=tuple(dict.fromkeys(e.carbon for e in group if e.carbon)),
            figures=figures,
            covered=judged.covered if judged else None,
            apart=tuple(sorted({name for e in group for name in e.samples} - set(tasks))),
            budget_wh=filters.budget_wh,
        )
        return view, beyond, beside(judged) if beside else None

    kept: list[object] = [*entrants, *(entrant.setting for entrant in entrants)]
    for sample in (sample for entrant in entrants for sample in entrant.samples.values()):
        kept += [sample, sample.points]
    kept += [meter for entrant in entrants for meter in entrant.meters]
    kept += [text for names in called.values() for name in names for text in (name.full, name.short)]
    made = work_apart(of_key, keys, kept=kept, few=sum(len(groups[key]) for key in keys) < _MANY)
    for key, (view, beyond, more) in zip(keys, made, strict=True):
        if view is None:
            only += beyond if key.task in (ALL, task) else ()
        else:
            views.append(view)
            told.append(more)
    if not any(view.task == (task or ALL) for view in views):
        raise Incomparable(f"nothing to rank: no model passes. {' '.join(dict.fromkeys(only))}")
    return told_apart(views), told


def _kinds(entrants: Sequence[Entrant]) -> set[tuple[str, str | None, str | None]]:
    """Hardware, scope and grade of each."""
    return {(e.hardware, e.scope, e.grade) for e in entrants}


def _first(pair: tuple[str, Progress]) -> str:
    return pair[0]


def _unscored(entrants: Sequence[Entrant]) -> dict[tuple[str, str], str]:
    """The metric by question, of those that nobody has quality in: of those no mean over tasks can be made."""
    samples = [sample for entrant in entrants for sample in entrant.samples.values()]
    scored = {(sample.task, sample.question) for sample in samples if sample.chance is not None}
    return {
        (sample.task, sample.question): sample.metric or ""
        for sample in samples
        if (sample.task, sample.question) not in scored
    }


def _apart(entrants: Sequence[Entrant], key: _Key, unscored: Mapping[tuple[str, str], str]) -> tuple[str, ...]:
    """A sentence for the tasks that the view over all tasks leaves out, since they have no quality."""
    if key.task != ALL or not unscored:
        return ()
    asked = {question for entrant in entrants for question in entrant.questions.items()} - set(key.asked)
    left = asked & set(unscored)
    names = [f"{task} ({unscored[task, text] or 'no metric'})" for task, text in sorted(left)]
    if not names:
        return ()
    found = {s.lacks for e in entrants for s in e.samples.values() if (s.task, s.question) in left}
    if found != {"no_quality"}:
        which = joined([task for task, _ in sorted(left)])
        return (f"{which} {'is' if len(left) == 1 else 'are'} in no figure over all tasks: nobody has quality there.",)
    metric = "its metric is no share" if len(names) == 1 else "their metrics are no shares"
    verb = "is" if len(names) == 1 else "are"
    return (f"{joined(names)} {verb} in no figure over all tasks: {metric} of right answers beyond guessing.",)


def _no_shares(key: _Key, wrong: set[tuple[str, str]], unscored: Mapping[tuple[str, str], str]) -> tuple[str, ...]:
    """A sentence for each task of the view whose metric some answers showed to be no share."""
    return tuple(
        f"Nobody has quality in {task}: some of its values show that {unscored[task, text] or 'its metric'} "
        "is no share of right answers."
        for task, text in key.asked
        if (task, text) in wrong
    )


def _asked_alike(lost: Sequence[Entrant], entrants: Sequence[Entrant]) -> list[Entrant]:
    """Those without any finished cell that were asked as these were."""
    asked = {asked_of(entrant) for entrant in entrants} if lost else set()
    return [entrant for entrant in lost if asked_of(entrant) in asked]


def _grouped(entrants: list[Entrant], unscored: set[tuple[str, str]], mix: bool) -> dict[_Key, list[Entrant]]:
    groups: dict[_Key, list[Entrant]] = defaultdict(list)
    for entrant in entrants:
        kind = ("", "", "") if mix else (entrant.hardware, entrant.scope or "", entrant.grade or "")
        questions = sorted(entrant.questions.items())
        scored = [question for question in questions if question not in unscored] or questions
        whole = tuple(question for question in scored if question[0] not in _VARIANTS) or tuple(scored)
        groups[_Key(task=ALL, asked=whole, kind=kind)].append(entrant)
        for question in questions:
            if question[0] in entrant.samples:
                groups[_Key(task=question[0], asked=(question,), kind=kind)].append(entrant)
    return groups


def _rows(
    entrants: Sequence[Entrant],
    names: Sequence[Name],
    tasks: Sequence[str],
    filters: Filters,
    *,
    by: By,
    floor: float,
    ranking: bool,
) -> tuple[tuple[Figures, ...], tuple[Row, ...], Judged | None, tuple[str, ...]]:
    """Figures and rows of a view, best first; what they are judged by; sentences on those that are over the budget."""
    figures = [measure(entrant, tasks) for entrant in entrants]
    rows = [plain_row(f, name.full, name.short) for f, name in zip(figures, names, strict=True)]
    kept, notes = filters.within_budget(rows, by)
    figures, rows = [figures[at] for at in kept], [rows[at] for at in kept]
    rows, judged = place(figures, rows, by, floor) if ranking else (rows, None)
    best_first = sorted(range(len(rows)), key=lambda at: order(rows[at], by))
    if judged:
        stands = {at: number for number, at in enumerate(best_first)}
        judged = replace(judged, rows=tuple(stands[at] for at in judged.rows))
    return tuple(figures[at] for at in best_first), tuple(rows[at] for at in best_first), judged, notes


def _order(key: _Key) -> tuple[Any, ...]:
    hardware, scope, grade = key.kind
    rank = [str(known) for known in GRADES].index(grade) if grade in GRADES else len(GRADES)
    return key.task != ALL, -len(key.asked), _natural(key.task), rank, hardware, scope


def _most_first(key: _Key) -> list[list[str | int]]:
    """What is asked: turned round, no cap comes before a high one, and that before a low one; so do limits."""
    return [_natural(text) for question in key.asked for text in question]


def _natural(text: str) -> list[str | int]:
    """For sorting as people do: 2 before 12."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]


def _one(values: set[Any]) -> Any:
    return values.pop() if len(values) == 1 else "mixed"
