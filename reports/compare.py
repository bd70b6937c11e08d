"""Two entrants against each other on the same questions: what differs, how surely, and what could have been seen.

Items are paired, since both answer the same ones. Repeats are paired where one machine measured both in one run, whose
order lets a slow drift fall on both alike; those of two runs or machines are not, and what changed between them is in
no interval.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulemark.harness.store import Run, canonical_json
from joulemark.meters.errors import Incomparable, UsageError
from joulemark.tasks.catalog import THREE_SHOT

from .copies import are_copies, copied_from
from .effects import Effect, of_energies, of_quality, of_rates
from .entrants import Entrant, belied, by_run_name, without_quality_in
from .progress import Progress, planned_tasks, progress
from .rows import Figures, measure
from .samples import Sample
from .stats import holm
from .views import ALL

__all__ = ["Comparison", "Contrast", "compare"]

_VARIANTS = frozenset(task.name for task in THREE_SHOT)


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Both on one task, or on all that they share.

    Attributes:
        task: Its name, or ``all``.
        tasks: Names of all that it is over.
        items: Items that both were asked.
        dropped: Items that only one of them was asked, which are in no figure here.
        repeats: Repeats of energy that are compared, of the one with fewer; None where there is no energy.
        paired: Whether they are compared one by one.
        a: Figures of the first on these items.
        b: Those of the second.
        quality: Points that the second has more; None where one of them has no quality. The same answers, metered
            twice, have no interval of it.
        same_scores: Whether both score the same on each of these items.
        energy: Energy of the second over that of the first; None where one has none, or they were asked other items.
        correct_per_wh: The same of right answers per watt-hour; None where one may be guessing.
    """

    task: str
    tasks: tuple[str, ...]
    items: int
    dropped: int
    repeats: int | None
    paired: bool
    a: Figures
    b: Figures
    quality: Effect | None
    same_scores: bool
    energy: Effect | None
    correct_per_wh: Effect | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two entrants over all tasks that they share, and task by task.

    Attributes:
        contrasts: Over all tasks first, where there are several; then task by task.
        apart: Tasks that only one of them was asked, or each in another way.
        failed: Tasks of which all cells of one of them failed that were tried.
        not_finished: Tasks of which the first has no cell yet, and those of which the second has none.
        unfinished: Their runs that lack cells of their plan.
    """

    a: Entrant
    b: Entrant
    contrasts: tuple[Contrast, ...]
    apart: tuple[str, ...]
    failed: tuple[str, ...]
    not_finished: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    unfinished: tuple[Progress, ...] = ()

    @property
    def whole(self) -> Contrast:
        """What the verdict is over: all tasks that both have quality in, or all that they share, or the only one."""
        return self.contrasts[0]

    @property
    def one_meter(self) -> bool:
        """Whether both were measured by the same meters on the same machine, whose scale is then in no ratio."""
        return self.a.yardstick == self.b.yardstick

    @property
    def one_sitting(self) -> bool:
        """Whether one machine measured both in one run, be it that its energy was taken anew from a trace."""
        return _sitting(self.a) == _sitting(self.b)

    @property
    def one_model(self) -> bool:
        """Whether both are one model in one setting, so that what a power model gets wrong of it is in both."""
        return _key(self.a)[1:] == _key(self.b)[1:]

    @property
    def same_answers(self) -> bool:
        """Whether both are the same cells, metered twice: then only their energies can differ."""
        return _same_answers(self.a, self.b)


def compare(a: Entrant, b: Entrant, task: str | None = None, runs: Sequence[Run] = ()) -> Comparison:
    """The second entrant against the first; on one task alone if that is named.

    Args:
        a: The first.
        b: The second.
        task: The only one to look at; None: all that they share.
        runs: Those that they are of, whose plans tell what is not finished yet.

    Raises:
        UsageError: They do not share that task.
        Incomparable: Their hardware, scope or grade differ, or no task was asked of both in the same way.
    """
    a, b = by_run_name((a, b))
    _refuse_unlike(a, b)
    if _key(a) == _key(b):
        raise UsageError(f"both are {a.model} of {a.run_name}, the very same cells; name another one.")
    if are_copies(a, b):
        copy, other = (b, a) if b.imported is not None else (a, b)
        told = f"{copy.model} of {copy.run_name} is {copied_from(copy, other)} as well"
        raise UsageError(f"{told}: both are the very same cells; name another one.")
    wrong = belied((a, b))
    a, b = without_quality_in(wrong, a), without_quality_in(wrong, b)
    shared = sorted(task for task in a.samples.keys() & b.samples.keys() if _alike(a.samples[task], b.samples[task]))
    failed = {cell.task for own in (a, b) for cell in own.failed if cell.task not in own.samples}
    once = {run.header.run_id: run for run in runs}
    lacking = [_lacking(own, once.get(own.run_id)) - failed for own in (a, b)]
    if not shared:
        raise Incomparable(f"{_both(a, b)} {_why_nothing(a, b, begun=any(lacking))}")
    if task is not None and task not in shared:
        raise UsageError(f"{_both(a, b)} share no task {task!r}; they share {', '.join(shared)}.")
    chosen = shared if task is None else [task]
    plain = [task for task in chosen if task not in _VARIANTS] or chosen
    whole = [task for task in plain if _has_quality(a, b, task)]
    whole = whole if len(whole) > 1 else plain
    views = [(ALL, whole)] if len(whole) > 1 else []
    views += [(task, [task]) for task in chosen]
    return Comparison(
        a=a,
        b=b,
        contrasts=_corrected([_contrast(a, b, name, tasks) for name, tasks in views]),
        apart=tuple(sorted((a.samples.keys() | b.samples.keys()) - set(shared) - failed - lacking[0] - lacking[1])),
        failed=tuple(sorted(failed)),
        not_finished=(tuple(sorted(lacking[0])), tuple(sorted(lacking[1]))),
        unfinished=tuple(far for run in once.values() if (far := progress(run))),
    )


def _refuse_unlike(a: Entrant, b: Entrant) -> None:
    for what, first, second in (
        ("hardware", a.hardware, b.hardware),
        ("the scope of energy", a.scope, b.scope),
        ("the grade of energy", a.grade, b.grade),
    ):
        if first != second:
            raise Incomparable(
                f"{_both(a, b)} differ in {what} ({first}; {second}), so that no figure compares the models; "
                "`joulemark rank --mix` shows them side by side."
            )


def _why_nothing(a: Entrant, b: Entrant, *, begun: bool) -> str:
    """Why nothing compares two entrants that share no item."""
    common = a.samples.keys() & b.samples.keys()
    asked = [task for task in common if _question(a.samples[task]) == _question(b.samples[task])]
    pairs = [(a.samples[task], b.samples[task]) for task in asked]
    if pairs and all(not (len(first.docs) and len(second.docs)) for first, second in pairs):
        unsure = all(s.rel_u_scale is None for pair in pairs for s in pair)
        more = ", nor how far off their energy may be" if unsure else ""
        return (
            f"were asked the same, but what came of single questions is not known of both{more}, so nothing compares "
            "them; `joulemark rank` shows their figures."
        )
    why = "have finished no task in common" if begun and not common else "were asked no task in the same way"
    return f"{why}, so nothing compares them."


def _both(a: Entrant, b: Entrant) -> str:
    return (
        f"{a.model} of {a.run_name} and {b.model} of {b.run_name}" if a.model == b.model else f"{a.model} and {b.model}"
    )


def _lacking(entrant: Entrant, run: Run | None) -> set[str]:
    """Tasks that it is to be asked and has no finished cell of, as far as its run's cells and plan tell."""
    return {*entrant.questions, *(planned_tasks(run) if run else ())} - entrant.samples.keys()


def _sitting(entrant: Entrant) -> tuple[str, ...]:
    """The run in which it answered, and the machine: several may measure for one run, each at its own time.

    Files that were imported do not tell what was measured together, so there each has a sitting of its own.
    """
    alone = () if entrant.imported is None else (entrant.model, canonical_json(dict(entrant.setting)))
    return entrant.remetered_from or entrant.run_id, entrant.machine.machine_id, *alone


def _same_answers(a: Entrant, b: Entrant) -> bool:
    """Whether these are one model's answers of one sitting, metered twice; either may have gone on since."""
    shared = a.samples.keys() & b.samples.keys()
    return (
        _sitting(a) == _sitting(b)
        and _key(a)[1:] == _key(b)[1:]
        and all(np.array_equal(a.samples[task].docs, b.samples[task].docs) for task in shared)
        and _score_alike(a, b, sorted(shared))
    )


def _score_alike(a: Entrant, b: Entrant, tasks: Sequence[str]) -> bool:
    """Whether both have the same scores, item by item."""
    return all(np.array_equal(a.samples[task].scores, b.samples[task].scores) for task in tasks)


def _key(entrant: Entrant) -> tuple[str, str, str, str]:
    return entrant.run_id, entrant.model, canonical_json(dict(entrant.setting)), entrant.machine.machine_id


def _alike(a: Sample, b: Sample) -> bool:
    """Whether both were asked in the same way, be it another number of items, and share some of these."""
    return _question(a) == _question(b) and len(np.intersect1d(a.docs, b.docs)) > 0


def _question(sample: Sample) -> tuple[str, str]:
    task, asked = json.loads(sample.question)
    return task, json.dumps({key: value for key, value in json.loads(asked).items() if key != "limit"}, sort_keys=True)


def _has_quality(a: Entrant, b: Entrant, task: str) -> bool:
    return a.samples[task].chance is not None and b.samples[task].chance is not None


def _contrast(a: Entrant, b: Entrant, name: str, tasks: Sequence[str]) -> Contrast:
    common = {task: np.intersect1d(a.samples[task].docs, b.samples[task].docs) for task in tasks}
    asked = sum(len(own.samples[task].docs) for own in (a, b) for task in tasks)
    items = sum(map(len, common.values()))
    dropped = asked - 2 * items
    first, second = (measure(_only(own, common), tasks) for own in (a, b))
    energy = None if dropped else of_energies(first, second, together=_sitting(a) == _sitting(b))
    same = _same_answers(first.entrant, second.entrant)
    quality = None
    if items and first.quality and second.quality:
        quality = Effect(value=0.0) if same else of_quality(first, second)
    return Contrast(
        task=name,
        tasks=tuple(tasks),
        items=items,
        dropped=dropped,
        repeats=min(len(energy.first), len(energy.second)) if energy else None,
        paired=energy is not None and energy.paired,
        a=first,
        b=second,
        quality=quality,
        same_scores=quality is not None and _score_alike(first.entrant, second.entrant, tasks),
        energy=energy.effect if energy else None,
        correct_per_wh=of_rates(first, second, energy, same_answers=same) if energy and quality else None,
    )


def _corrected(contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """With what is significant: the tasks' qualities and energies are one family, of which 5 % have a wrong mark.

    A single task that was asked for is not one of many, and stands as all tasks together do.
    """
    if len(contrasts) == 1:
        return tuple(contrasts)
    told = [
        (place, name, effect.p)
        for place, each in enumerate(contrasts)
        for name, effect in (("quality", each.quality), ("energy", each.energy))
        if each.task != ALL and effect is not None and effect.p is not None
    ]
    marked = list(contrasts)
    if told:
        for (place, name, _), yes in zip(told, holm(np.array([p for *_, p in told])), strict=True):
            effect = replace(getattr(marked[place], name), significant=bool(yes))
            marked[place] = replace(marked[place], **{name: effect})
    return tuple(marked)


def _only(entrant: Entrant, common: dict[str, np.ndarray]) -> Entrant:
    """The entrant with these items alone; energy is of all that it was asked."""
    samples = {}
    for task, docs in common.items():
        sample = entrant.samples[task]
        at = np.searchsorted(sample.docs, docs)
        samples[task] = replace(sample, asked=sample.asked.only(docs), scores=sample.scores[at])
    return replace(entrant, samples=samples)
