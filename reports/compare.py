"""Two entrants against each other on the same questions: what differs, how surely, and what could have been seen.

Items are paired, since both answer the same ones. Repeats are paired where both were measured in one run, whose order
lets a slow drift fall on both alike; those of two runs are not, and what changed between the runs is in no interval.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import nctdtrinc, ndtri

from joulemark.harness.store import canonical_json
from joulemark.meters.errors import Incomparable, UsageError
from joulemark.tasks.catalog import THREE_SHOT

from .contest import Entries, differences
from .entrants import Entrant, belied, without_quality_in
from .placing import tables_of
from .rows import Figures, measure
from .samples import Sample
from .stats import Floats, half_width, holm, log_energy, t_quantile, two_sided_p
from .views import ALL

__all__ = ["Comparison", "Contrast", "Effect", "compare", "detectable"]

POWER = 0.8
_VARIANTS = frozenset(task.name for task in THREE_SHOT)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What the second has more than the first: a difference in points, or a ratio.

    Attributes:
        value: The point estimate.
        low: Lower end of its 95 % interval; None where one repeat gives none.
        high: Upper end.
        detectable: The smallest true effect that a comparison like this would call different with 80 % probability; of
            a ratio how far it is above 1.
        p: P value of no difference, of the test that the interval stands for.
        significant: Whether it is one also after Holm's correction over all tasks, quality and energy; None over all
            tasks together, and where there is no interval.
    """

    value: float
    low: float | None = None
    high: float | None = None
    detectable: float | None = None
    p: float | None = None
    significant: bool | None = None


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
    energy: Effect | None
    correct_per_wh: Effect | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two entrants over all tasks that they share, and task by task.

    Attributes:
        contrasts: Over all tasks first, where there are several; then task by task.
        apart: Tasks that only one of them was asked, or each in another way.
        failed: Tasks of which one of them finished no cell.
    """

    a: Entrant
    b: Entrant
    contrasts: tuple[Contrast, ...]
    apart: tuple[str, ...]
    failed: tuple[str, ...]

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
        """Whether both were measured in one run, be it that its energy was taken anew from a trace."""
        return _sitting(self.a) == _sitting(self.b)

    @property
    def same_answers(self) -> bool:
        """Whether both are the same cells, metered twice: then only their energies can differ."""
        return _same_answers(self.a, self.b)


def compare(a: Entrant, b: Entrant, task: str | None = None) -> Comparison:
    """The second entrant against the first; on one task alone if that is named.

    Raises:
        UsageError: They do not share that task.
        Incomparable: Their hardware, scope or grade differ, or no task was asked of both in the same way.
    """
    _refuse_unlike(a, b)
    if _key(a) == _key(b):
        raise UsageError(f"both are {a.model} of {a.run_name}, the very same cells; name another one.")
    wrong = belied((a, b))
    a, b = without_quality_in(wrong, a), without_quality_in(wrong, b)
    shared = sorted(task for task in a.samples.keys() & b.samples.keys() if _alike(a.samples[task], b.samples[task]))
    if not shared:
        raise Incomparable(f"{_both(a, b)} were asked no task in the same way, so nothing compares them.")
    if task is not None and task not in shared:
        raise UsageError(f"{_both(a, b)} share no task {task!r}; they share {', '.join(shared)}.")
    chosen = shared if task is None else [task]
    plain = [task for task in chosen if task not in _VARIANTS] or chosen
    whole = [task for task in plain if _has_quality(a, b, task)]
    whole = whole if len(whole) > 1 else plain
    views = [(ALL, whole)] if len(whole) > 1 else []
    views += [(task, [task]) for task in chosen]
    failed = {cell.task for own in (a, b) for cell in own.failed if cell.task not in own.samples}
    return Comparison(
        a=a,
        b=b,
        contrasts=_corrected([_contrast(a, b, name, tasks) for name, tasks in views]),
        apart=tuple(sorted((a.samples.keys() | b.samples.keys()) - set(shared) - failed)),
        failed=tuple(sorted(failed)),
    )


def detectable(var: float, df: float) -> float:
    """The smallest true effect that a two-sided t test at 5 % finds with 80 % probability, in units of its value.

    By the noncentral t distribution; the far tail, which adds next to nothing, is left out.

    Args:
        var: Variance of the estimate.
        df: Its degrees of freedom; infinite where it is normal.
    """
    critical = t_quantile(df)
    noncentral = critical + ndtri(POWER) if df > 1e6 else float(nctdtrinc(df, 1 - POWER, critical))
    return float(noncentral) * math.sqrt(var)


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


def _both(a: Entrant, b: Entrant) -> str:
    return (
        f"{a.model} of {a.run_name} and {b.model} of {b.run_name}" if a.model == b.model else f"{a.model} and {b.model}"
    )


def _sitting(entrant: Entrant) -> str:
    """The run in which it answered."""
    return entrant.remetered_from or entrant.run_id


def _same_answers(a: Entrant, b: Entrant) -> bool:
    """Whether these are one model's answers of one sitting, metered twice; either may have gone on since."""
    shared = a.samples.keys() & b.samples.keys()
    return (
        _sitting(a) == _sitting(b)
        and _key(a)[1:] == _key(b)[1:]
        and all(np.array_equal(a.samples[task].docs, b.samples[task].docs) for task in shared)
        and all(np.array_equal(a.samples[task].scores, b.samples[task].scores) for task in shared)
    )


def _key(entrant: Entrant) -> tuple[str, str, str]:
    return entrant.run_id, entrant.model, canonical_json(dict(entrant.setting))


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
    energy = None if dropped else _energies(first, second)
    quality = _qualities(first, second) if items and first.quality and second.quality else None
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
        energy=energy.effect if energy else None,
        correct_per_wh=_rates(first, second, energy) if energy and quality else None,
    )


def _corrected(contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """With what is significant: the tasks' qualities and energies are one family, of which 5 % have a wrong mark."""
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


def _qualities(a: Figures, b: Figures) -> Effect:
    """Paired by item, cluster-robust, with one made-up disagreement each way (`contest.differences`)."""
    if _same_answers(a.entrant, b.entrant):
        return Effect(value=0.0)
    pairs = differences(_without_energy(a, b), "quality")
    value, var, df = (float(each[1, 0]) for each in (pairs.value, pairs.var, pairs.df))
    half = t_quantile(df) * math.sqrt(var)
    p = _p_value(value, math.sqrt(var), df)
    return Effect(value=value, low=value - half, high=value + half, detectable=detectable(var, df), p=p)


@dataclass(frozen=True, kw_only=True)
class _Energies:
    """Log energies by repeat, and the parts of the error of their difference."""

    first: Floats
    second: Floats
    variances: tuple[float, ...] | None
    dfs: tuple[float, ...]
    paired: bool = False

    @property
    def log_ratio(self) -> float:
        return float(self.second.mean() - self.first.mean())

    @property
    def effect(self) -> Effect:
        return _ratio(self.log_ratio, self.variances, self.dfs)


def _energies(a: Figures, b: Figures) -> _Energies | None:
    """Energy per item of both; None where one has none."""
    if not a.log or not b.log:
        return None
    together = _sitting(a.entrant) == _sitting(b.entrant)
    common = sorted(set(a.repeats) & set(b.repeats)) if together else []
    of_a, of_b = (common, common) if len(common) > 1 else (a.repeats, b.repeats)
    (first, u_first), (second, u_second) = _by_repeat(a, of_a), _by_repeat(b, of_b)
    scale = 0.0 if a.entrant.yardstick == b.entrant.yardstick else a.scale**2 + b.scale**2
    if len(common) > 1:
        # The meter's own error is a floor under a scatter that is small by luck, as everywhere.
        floor = float(np.mean(u_first**2 + u_second**2)) / len(common)
        var = max(float(np.var(second - first, ddof=1)) / len(common), floor)
        return _Energies(
            first=first, second=second, variances=(var, scale), dfs=(len(common) - 1.0, math.inf), paired=True
        )
    logs = [log_energy(np.exp(own).tolist(), u.tolist()) for own, u in ((first, u_first), (second, u_second))]
    known = [log.var for log in logs if log.var is not None]
    variances = (*known, scale) if len(known) == len(logs) else None
    return _Energies(first=first, second=second, variances=variances, dfs=(*(log.df for log in logs), math.inf))


def _by_repeat(f: Figures, repeats: Sequence[int]) -> tuple[Floats, Floats]:
    """Log of the mean over tasks of energy per item, and its independent relative error, by repeat."""
    n = len(f.samples)
    wh = np.array([[sample.energy_wh[k] for sample in f.samples] for k in repeats])
    u = np.array([[sample.independent_u[k] for sample in f.samples] for k in repeats])
    mean = wh.mean(axis=1)
    return np.log(mean), np.sqrt(((u * wh) ** 2).sum(axis=1)) / n / mean


def _rates(a: Figures, b: Figures, energy: _Energies) -> Effect | None:
    """Right answers per watt-hour: the ratio of qualities over that of energies."""
    assert a.quality
    assert b.quality
    if any(points.low is None or points.low <= 0 for points in (a.quality, b.quality)):
        return None
    if _same_answers(a.entrant, b.entrant):
        return _ratio(-energy.log_ratio, energy.variances, energy.dfs)
    pairs = differences(_without_energy(a, b), "correct_per_wh")
    variances = None if energy.variances is None else (float(pairs.var[1, 0]), *energy.variances)
    return _ratio(float(pairs.value[1, 0]) - energy.log_ratio, variances, (float(pairs.df[1, 0]), *energy.dfs))


def _ratio(log: float, variances: Sequence[float] | None, dfs: Sequence[float]) -> Effect:
    if variances is None:
        return Effect(value=math.exp(log))
    half, df = half_width(variances, dfs)
    # Of a test that calls different what this very interval tells from 1, be it wider than Satterthwaite's.
    error = half / t_quantile(df)
    return Effect(
        value=math.exp(log),
        low=math.exp(log - half),
        high=math.exp(log + half),
        detectable=math.expm1(detectable(error**2, df)),
        p=_p_value(log, error, df),
    )


def _p_value(value: float, error: float, df: float) -> float:
    """Two-sided, of Student's t; 1 where there is neither a difference nor an error."""
    if error == 0:
        return float(value == 0)
    return float(two_sided_p(np.array(value / error), np.array(df)))


def _without_energy(a: Figures, b: Figures) -> Entries:
    """Both as a view of two, of which only the items tell."""
    qualities = np.array([points.value for points in (a.quality, b.quality) if points])
    none = np.zeros(2)
    return Entries(
        quality=qualities,
        log_energy=none,
        energy_var=none,
        energy_df=np.full(2, np.inf),
        scale_var=none,
        yardstick=np.zeros(2, dtype=np.int64),
        items=tables_of([a, b]),
    )
