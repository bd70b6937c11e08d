"""A row: one entrant's figures over the tasks of a view, before it has a place among the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from joulemark.harness.record import NO_ITEMS

from .entrants import Entrant
from .samples import NO_CHANCE, Sample
from .stats import Estimate, LogEnergy, Share, accuracy, combine, energy, log_energy, quality, right_per_wh

__all__ = ["Figures", "Row", "measure", "plain_row"]


class Row(NamedTuple):
    """An entrant in a view; the names and units are the contract's. None is missing, never 0.

    ``wall_s_per_item`` is the window's time an item; ``latency_s_p50`` that of a request, which may be a batch.
    ``_low`` and ``_high`` are 95 % intervals; those of energies carry the meter's whole uncertainty.
    ``carbon_g_per_1k`` is ``energy_wh_per_1k`` by what its run takes a kilowatt-hour to stand for
    (``carbon_g_per_kwh``), and has no interval: that is stated, with an error of its own that nobody told.
    Those that end in ``_within_low`` and ``_within_high`` hold what differs between entrants of the view
    alone, and are what its comparisons rest on. ``.._to_first`` compares with the first row.
    ``tied_with_first`` is whether nobody ranks surely higher, ``tied_for_quality`` whether nobody of those ranked has
    surely more quality.
    ``hypervolume_share`` is how much less the frontier would cover without it.
    ``phase_shares`` are parts of the gross energy; ``truncated`` is the share of answers that the token cap cut off,
    over the tasks that tell, and ``accuracy_finished`` the accuracy of the others, where all tasks tell. Peaks of
    memory are the largest of any cell.
    ``items`` is None where nobody tells how many were asked, as files from elsewhere may not.
    ``levels`` holds ``quality``, its interval and ``items`` by level of difficulty, where every task of the view
    has that level. In views of a single task ``metric`` names what its quality is made of, and ``other_metrics`` holds
    its further metrics; the headline too, where that is no share of right answers and there is no quality. Over
    several tasks without quality it holds their headlines, each after its task's name. A model that
    chooses how much it computes has ``layers_per_token``, or the share of questions ``escalated`` to a larger one.
    Where a task of the view is not finished all are None but counts and peaks: the others' mean is of another question.
    """

    model: str
    label: str
    short_label: str
    run_id: str
    setting: Mapping[str, Any]
    machine_id: str
    hardware: str
    scope: str | None
    grade: str | None
    quality: float | None = None
    quality_low: float | None = None
    quality_high: float | None = None
    accuracy: float | None = None
    energy_wh_per_1k: float | None = None
    energy_wh_per_1k_low: float | None = None
    energy_wh_per_1k_high: float | None = None
    energy_wh_per_1k_within_low: float | None = None
    energy_wh_per_1k_within_high: float | None = None
    net_energy_wh_per_1k: float | None = None
    carbon_g_per_1k: float | None = None
    carbon_g_per_kwh: float | None = None
    correct_per_wh: float | None = None
    correct_per_wh_low: float | None = None
    correct_per_wh_high: float | None = None
    correct_per_wh_within_low: float | None = None
    correct_per_wh_within_high: float | None = None
    wh_per_correct: float | None = None
    wh_per_correct_low: float | None = None
    wh_per_correct_high: float | None = None
    rel_u: float | None = None
    rel_u_scale: float | None = None
    rel_u_workload: float | None = None
    frontier: str | None = None
    p_frontier: float | None = None
    hypervolume_share: float | None = None
    rank: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    tied_with_first: bool | None = None
    tied_for_quality: bool | None = None
    ratio_to_first: float | None = None
    ratio_to_first_low: float | None = None
    ratio_to_first_high: float | None = None
    energy_ratio_to_first: float | None = None
    energy_ratio_to_first_low: float | None = None
    energy_ratio_to_first_high: float | None = None
    quality_minus_first: float | None = None
    quality_minus_first_low: float | None = None
    quality_minus_first_high: float | None = None
    items: int | None = None
    repeats: int = 0
    repeats_planned: int = 0
    tokens_per_item: float | None = None
    latency_s_p50: float | None = None
    latency_s_p95: float | None = None
    ttft_s_p50: float | None = None
    generated_per_item: float | None = None
    tokens_per_s: float | None = None
    j_per_generated_token: float | None = None
    phase_shares: dict[str, float] = {}  # noqa: RUF012 - nobody changes it
    truncated: float | None = None
    accuracy_finished: float | None = None
    peak_rss_mb: float | None = None
    peak_gpu_mb: float | None = None
    wall_s_per_item: float | None = None
    params: int | None = None
    active_params: int | None = None
    kind: str | None = None
    energy_shares: dict[str, float] = {}  # noqa: RUF012 - nobody changes it
    levels: dict[str, dict[str, float | None]] = {}  # noqa: RUF012 - nobody changes it
    metric: str | None = None
    other_metrics: dict[str, float] = {}  # noqa: RUF012 - nobody changes it
    layers_per_token: float | None = None
    escalated: float | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Level:
    """Quality on the items of one level of difficulty, and how many these are."""

    quality: Estimate
    items: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """An entrant's figures over the tasks of a view; None where a task lacks what they need.

    ``whole`` is whether it finished a cell of every task; ``samples`` are of those that it did. ``scale`` and
    ``workload`` are None where the error of the energy is not known; then it has no variance either.
    """

    entrant: Entrant
    samples: tuple[Sample, ...]
    whole: bool
    quality: Estimate | None
    log: LogEnergy | None
    net: float | None
    repeats: tuple[int, ...]
    scale: float | None
    workload: float | None
    levels: Mapping[int, Level]
    metric: str | None
    other_metrics: Mapping[str, float]
    flags: tuple[str, ...]

    @property
    def rel_u(self) -> float:
        """The meter's whole relative standard uncertainty; 0 where it is not known, and no interval holds it."""
        return math.hypot(self.scale or 0.0, self.workload or 0.0)


def measure(entrant: Entrant, tasks: Sequence[str]) -> Figures:
    """An entrant's figures over these tasks; what a task lacks is None over all of them, and flagged."""
    samples = tuple(entrant.samples[task] for task in tasks if task in entrant.samples)
    whole = len(samples) == len(tasks)
    flags = {flag for sample in samples for flag in sample.flags}
    unfinished = {task for task in tasks if task not in entrant.samples}
    flags |= {f"no_finished_cell:{task}" for task in unfinished}
    flags |= {f"failed:{cell.task}" for cell in entrant.failed if cell.task in unfinished}
    points = [s.points for s in samples if s.points is not None]
    # What cells say of one task is said with its name.
    flags = (flags - {NO_ITEMS, NO_CHANCE}) | {f"{s.lacks}:{s.task}" for s in samples if s.lacks}
    flags |= {f"{'uncounted' if s.uncounted else 'no_energy'}:{s.task}" for s in samples if not s.energy_wh}
    common = sorted(set.intersection(*(set(s.energy_wh) for s in samples))) if whole and samples else []
    done = min((s.repeats for s in samples), default=0) if not common else len(common)
    if done < entrant.planned:
        flags.add(f"{done} of {entrant.planned} repeats")
    log = _log_energy(samples, common) if common else None
    scale, workload = _greatest([s.rel_u_scale for s in samples]), _greatest([s.rel_u_workload for s in samples])
    if log and scale is None:
        log = replace(log, var=None, df=0.0)
    if log and entrant.precision and not _is_within(log, entrant.precision):
        flags.add("imprecise")
    return Figures(
        entrant=entrant,
        samples=samples,
        whole=whole,
        quality=combine(points) if whole and len(points) == len(tasks) else None,
        log=log,
        net=_net(samples, common),
        repeats=tuple(common),
        scale=scale,
        workload=workload,
        levels=_levels(samples) if whole else {},
        metric=samples[0].metric if whole and len(tasks) == 1 else None,
        other_metrics=_other_metrics(samples) if whole else {},
        flags=tuple(sorted(flags)),
    )


def _other_metrics(samples: Sequence[Sample]) -> Mapping[str, float]:
    """Of a single task all; of several only what stands for quality, where no task has any."""
    if len(samples) == 1:
        return samples[0].other_metrics
    told = {f"{s.task}: {s.metric}": s.other_metrics.get(s.metric or "") for s in samples if s.chance is None}
    whole = len(told) == len(samples)
    return {name: value for name, value in told.items() if value is not None} if whole else {}


def _levels(samples: Sequence[Sample]) -> dict[int, Level]:
    """By level: the mean of the tasks' qualities on its items, where every task has both."""
    shared = sorted(set.intersection(*(set(s.asked.levels) if s.chance is not None else set() for s in samples)))
    levels = {}
    for level in shared:
        at = [s.asked.levels[level] for s in samples]
        points = [_level_quality(s, own) for s, own in zip(samples, at, strict=True)]
        levels[level] = Level(quality=combine(points), items=sum(map(len, at)))
    return levels


def _level_quality(sample: Sample, at: NDArray[np.int64]) -> Share:
    assert sample.chance is not None
    return quality(accuracy(sample.scores[at], sample.asked.codes[at]), sample.chance)


def _log_energy(samples: Sequence[Sample], repeats: Sequence[int]) -> LogEnergy:
    """Over tasks: the mean of the tasks' values in each repeat, then the repeats."""
    wh = [math.fsum(s.energy_wh[k] for s in samples) / len(samples) for k in repeats]
    u = []
    for k, mean in zip(repeats, wh, strict=True):
        squares = math.fsum((s.independent_u[k] * s.energy_wh[k]) ** 2 for s in samples)
        u.append(math.sqrt(squares) / len(samples) / mean)
    return log_energy(wh, u)


def _is_within(log: LogEnergy, share: float) -> bool:
    """Whether half of the interval, without the meter's own error, is at most such a share of the energy."""
    told = energy(log)
    return told.high is not None and told.high <= told.value * (1 + share)


def _net(samples: Sequence[Sample], repeats: Sequence[int]) -> float | None:
    if not repeats or any(k not in s.net_wh or s.net_wh[k] <= 0 for s in samples for k in repeats):
        return None
    means = [math.fsum(s.net_wh[k] for s in samples) / len(samples) for k in repeats]
    return math.exp(math.fsum(math.log(mean) for mean in means) / len(means))


def plain_row(f: Figures, label: str, short_label: str | None = None) -> Row:
    """Figures and intervals of an entrant, without a place; named so, and for narrow places by the short label."""
    entrant, rel_u = f.entrant, f.rel_u
    done = f.samples if f.whole else ()
    values: dict[str, Any] = {}
    if f.quality:
        values |= _spread("quality", f.quality)
        values["accuracy"] = math.fsum(float(s.scores.mean()) for s in f.samples) / len(f.samples)
    if f.log:
        values |= _spread("energy_wh_per_1k", energy(f.log, rel_u), energy(f.log))
        values |= {"net_energy_wh_per_1k": f.net, "energy_shares": _shares(f)}
        values["j_per_generated_token"] = _j_per_generated_token(f)
        values["phase_shares"] = _phase_shares(f)
        if entrant.carbon:
            values["carbon_g_per_kwh"] = entrant.carbon.g_per_kwh
            values["carbon_g_per_1k"] = values["energy_wh_per_1k"] / 1000 * entrant.carbon.g_per_kwh
        if f.scale is not None:
            values |= {"rel_u": rel_u, "rel_u_scale": f.scale, "rel_u_workload": f.workload}
    if f.quality and f.log and (ratio := right_per_wh(f.quality, f.log, rel_u)):
        values |= _spread("correct_per_wh", ratio, right_per_wh(f.quality, f.log))
        values["wh_per_correct"] = 1 / ratio.value
        if ratio.low is not None and ratio.high is not None:
            values |= {"wh_per_correct_low": 1 / ratio.high, "wh_per_correct_high": 1 / ratio.low}
    return Row(
        model=entrant.model,
        label=label,
        short_label=short_label or label,
        run_id=entrant.run_id,
        setting=entrant.setting,
        machine_id=entrant.machine.machine_id,
        hardware=entrant.hardware,
        scope=entrant.scope,
        grade=entrant.grade,
        items=_sum([s.items for s in f.samples]),
        repeats=len(f.repeats) or min((s.repeats for s in f.samples), default=0),
        repeats_planned=entrant.planned,
        tokens_per_item=_mean([s.tokens_per_item for s in done]),
        latency_s_p50=_mean([s.latency_s_p50 for s in done]),
        latency_s_p95=_mean([s.latency_s_p95 for s in done]),
        ttft_s_p50=_mean([s.ttft_s_p50 for s in done]),
        generated_per_item=_mean([s.generated_per_item for s in done]),
        tokens_per_s=_mean([s.tokens_per_s for s in done]),
        truncated=_mean([s.truncated for s in done if s.truncated is not None]),
        accuracy_finished=_mean([s.accuracy_finished for s in done]),
        peak_rss_mb=_most([s.peak_rss_mb for s in f.samples]),
        peak_gpu_mb=_most([s.peak_gpu_mb for s in f.samples]),
        wall_s_per_item=_mean([s.wall_s_per_item for s in done]),
        params=entrant.info.params,
        active_params=entrant.info.active_params,
        kind=entrant.info.kind,
        levels={str(level): _spread("quality", own.quality) | {"items": own.items} for level, own in f.levels.items()},
        metric=f.metric,
        other_metrics=dict(f.other_metrics),
        layers_per_token=_mean([s.computed.layers_per_token for s in done]),
        escalated=_mean([s.computed.escalated for s in done]),
        flags=f.flags,
        **values,
    )


def _spread(name: str, whole: Estimate, within: Estimate | None = None) -> dict[str, float | None]:
    values = {name: whole.value, f"{name}_low": whole.low, f"{name}_high": whole.high}
    if within:
        values |= {f"{name}_within_low": within.low, f"{name}_within_high": within.high}
    return values


def _j_per_generated_token(f: Figures) -> float | None:
    """Joules of the tasks that generate, by the tokens that they generated; None where none does."""
    told = [(_mean_wh(s, f.repeats) * 3.6, s.generated_per_item) for s in f.samples if s.generated_per_item]
    return math.fsum(joules for joules, _ in told) / math.fsum(tokens for _, tokens in told) if told else None


def _phase_shares(f: Figures) -> dict[str, float]:
    """Shares of the energy over all tasks; empty where one of them does not tell."""
    names = f.samples[0].phases if f.samples and all(s.phases for s in f.samples) else ()
    if len(f.samples) == 1 or not names:
        return {name: f.samples[0].phases[name] for name in names}
    parts = [_mean_wh(s, f.repeats) for s in f.samples]
    whole = math.fsum(parts)
    return {
        name: math.fsum(s.phases.get(name, 0.0) * part for s, part in zip(f.samples, parts, strict=True)) / whole
        for name in names
    }


def _mean_wh(sample: Sample, repeats: Sequence[int]) -> float:
    """Gross watt-hours per 1,000 items, mean over these repeats."""
    return math.fsum(sample.energy_wh[k] for k in repeats) / len(repeats)


def _shares(f: Figures) -> dict[str, float]:
    parts = {s.task: math.fsum(s.energy_wh[k] for k in f.repeats) for s in f.samples}
    return {task: part / math.fsum(parts.values()) for task, part in parts.items()}


def _greatest(errors: Sequence[float | None]) -> float | None:
    """The largest; None where one is not known."""
    known = [error for error in errors if error is not None]
    return max(known, default=0.0) if len(known) == len(errors) else None


def _sum(counts: Sequence[int | None]) -> int | None:
    """Their sum; None where one is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _most(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def _mean(values: Sequence[float | None]) -> float | None:
    if len(values) == 1:
        return values[0]
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None
