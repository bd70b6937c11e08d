"""What an entrant did on one task: all its finished repeats together, from cells and their items."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from joulemark.harness.record import MEAN_ANSWER, NO_ITEMS, Cell, Computed, Energy, Invocation
from joulemark.harness.store import canonical_json

from .answers import Answered, Asked
from .stats import Floats, Share, accuracy, quality

__all__ = [
    "ASKED",
    "NO_CHANCE",
    "Sample",
    "has_energy",
    "make_sample",
    "question_of",
    "what_is_asked",
    "without_quality",
]

ASKED = frozenset(
    [
        "num_fewshot",
        "limit",
        "fewshot_seed",
        "apply_chat_template",
        "chat_template",
        "fewshot_as_multiturn",
        "system_instruction",
        "gen_kwargs",
        "max_gen_toks",
        "max_new_tokens",
        "max_tokens",
        "until",
        "include_path",
    ]
)
"""Keys of a cell's ``setting`` that say what is asked; all others say how it is computed."""
NO_CHANCE = "no_chance"
"""The flag of a cell of which it is not known what a guesser scores."""

_AS_USUAL = Computed()
"""Of all that choose nothing: a board has tens of thousands."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What an entrant did on one task, all finished repeats together.

    Attributes:
        task: The task's name.
        question: Tells what was asked: equal for entrants that may be compared. Of a task that changed between its
            repeats it has all of its hashes, as a list.
        chance: Score of a guesser, 0..1; None where quality is not defined for the metric.
        metric: Name of the task's headline metric; None where its cells do not tell.
        is_share: Whether every cell has an accuracy, so that the metric may be a share of right answers.
        headline: Its value by its name, where it is an accuracy.
        asked: The items that it was asked; none where only figures over all of them are known.
        told_items: How many these were, as its cells say; None where they do not.
        scores: Mean score of each item over the repeats, 0..1.
        energy_wh: Gross watt-hours per 1,000 items, by repeat; empty where there is none.
        net_wh: Net watt-hours per 1,000 items, by repeat.
        independent_u: Relative standard uncertainty that differs from cell to cell, by repeat.
        rel_u_scale: Relative standard uncertainty shared by all of this meter and machine; None where the error of the
            energy is not known.
        rel_u_workload: The same of what differs between kinds of code.
        uncounted: Whether it has energy, and of how many answers is not known.
        tokens_per_item: Prompt and generated tokens of an item; None where not counted.
        latency_s_p50: Median seconds of a request, mean over repeats.
        latency_s_p95: What one request in twenty takes longer than, mean over repeats.
        ttft_s_p50: Median seconds to a request's first token, mean over repeats.
        generated_per_item: Tokens generated for an item; None where not counted.
        tokens_per_s: Tokens generated in a second of the window.
        phases: Shares of the gross energy by phase, mean over repeats; empty where they are not told apart.
        truncated: Share of the answers that the token cap cut off; None where that is not known.
        accuracy_finished: Mean score of the others; None where there are none or it is not known.
        wall_s_per_item: Seconds of the window an item, mean over repeats; less than a request where these overlap.
        peak_rss_mb: The most memory that one of its cells took, MB; None where one does not tell.
        peak_gpu_mb: The same of GPUs.
        repeats: Finished repeats.
        other_metrics: The task's further metrics, mean over repeats; those that every repeat has. The headline as well,
            where quality is not defined for it.
        computed: How much a model that chooses chose to compute, mean over repeats.
        flags: Of its cells, each once.
    """

    task: str
    question: str
    chance: float | None
    metric: str | None
    is_share: bool
    headline: Mapping[str, float]
    asked: Asked
    told_items: int | None
    scores: Floats
    energy_wh: Mapping[int, float]
    net_wh: Mapping[int, float]
    independent_u: Mapping[int, float]
    rel_u_scale: float | None
    rel_u_workload: float | None
    uncounted: bool
    tokens_per_item: float | None
    latency_s_p50: float | None
    latency_s_p95: float | None
    ttft_s_p50: float | None
    generated_per_item: float | None
    tokens_per_s: float | None
    phases: Mapping[str, float]
    truncated: float | None
    accuracy_finished: float | None
    wall_s_per_item: float | None
    peak_rss_mb: float | None
    peak_gpu_mb: float | None
    repeats: int
    other_metrics: Mapping[str, float]
    computed: Computed
    flags: tuple[str, ...]

    @cached_property
    def points(self) -> Share | None:
        """Quality over the items; None where it is not defined."""
        return None if self.chance is None else quality(accuracy(self.scores, self.asked.codes), self.chance)

    @property
    def lacks(self) -> str:
        """The flag that says why it has no quality; empty where it has."""
        if self.chance is not None:
            return ""
        if self.metric is None:
            return "ungraded"
        return next((name for name in (NO_ITEMS, NO_CHANCE) if name in self.flags), "no_quality")

    @property
    def items(self) -> int | None:
        """How many items it was asked; None where nobody tells."""
        return len(self.docs) or self.told_items

    @property
    def docs(self) -> NDArray[np.int64]:
        """Numbers of its items, ascending, shape (items,)."""
        return self.asked.docs


def make_sample(task: str, cells: Sequence[Cell], items: Answered, invocations: Sequence[Invocation]) -> Sample:
    """One task's finished cells as a sample.

    Args:
        task: Its name.
        cells: Of one entrant, by repeat.
        items: What these answered.
        invocations: Of the run.
    """
    energies = {cell.repeat: cell for cell in cells if has_energy(cell) and cell.n_items}
    flags = {flag for cell in cells for flag in cell.flags}
    scored = NO_ITEMS not in flags and bool(((items.scores >= 0) & (items.scores <= 1)).all())
    defined = scored and all(c.chance is not None and c.quality is not None for c in cells)
    net = {repeat: cell for repeat, cell in energies.items() if cell.energy and cell.energy.net_j is not None}
    clear = {repeat: cell for repeat, cell in net.items() if _above_drift(cell, invocations)}
    if len(clear) < len(net):
        flags.add("idle_drifted")
    unknown = any(_is_unknown(cell.energy) for cell in energies.values())
    flags |= {"unknown_error"} if unknown else set()
    headline = _headline(cells)
    return Sample(
        task=task,
        question=question_of(cells),
        chance=cells[0].chance if defined and cells[0].chance != 1 else None,
        metric=cells[0].metric,
        is_share=all(cell.accuracy is not None or cell.metric is None for cell in cells),
        headline=headline,
        asked=items.asked,
        told_items=None if MEAN_ANSWER in flags else max(cell.n_items for cell in cells) or None,
        scores=items.scores,
        energy_wh={repeat: _wh_per_1k(cell, net=False) for repeat, cell in energies.items()},
        net_wh={repeat: _wh_per_1k(cell, net=True) for repeat, cell in clear.items()},
        independent_u={r: _relative_u(c) for r, c in energies.items()},
        rel_u_scale=None if unknown else _greatest(c.energy.rel_u_scale for c in energies.values() if c.energy),
        rel_u_workload=None if unknown else _greatest(c.energy.rel_u_workload for c in energies.values() if c.energy),
        uncounted=not energies and any(has_energy(cell) for cell in cells),
        tokens_per_item=_mean([_tokens(cell) for cell in cells]),
        latency_s_p50=_mean([cell.latency_s.p50 for cell in cells]),
        latency_s_p95=_mean([cell.latency_s.p95 for cell in cells]),
        ttft_s_p50=_mean([cell.ttft_s.p50 for cell in cells]),
        generated_per_item=_mean([_generated(cell) for cell in cells]),
        tokens_per_s=_mean([_per_second(cell) for cell in cells]),
        phases=_phases(cells),
        truncated=items.truncated,
        accuracy_finished=items.mean_finished if defined else None,
        wall_s_per_item=_mean([_wall_s(cell) for cell in cells]),
        peak_rss_mb=_most([cell.model_info.peak_rss_mb for cell in cells]),
        peak_gpu_mb=_most([cell.model_info.peak_gpu_mb for cell in cells]),
        repeats=len({cell.repeat for cell in cells}),
        other_metrics=({} if defined else headline) | _other_metrics(cells),
        computed=_computed(cells),
        flags=tuple(sorted(flags)),
    )


def without_quality(sample: Sample) -> Sample:
    """The same where another's values show that the metric is no share: its headline is one metric among others."""
    others = {**sample.headline, **sample.other_metrics}
    return replace(sample, chance=None, accuracy_finished=None, other_metrics=others)


def _is_unknown(energy: Energy | None) -> bool:
    """Whether nobody tells how far off the joules may be."""
    return energy is not None and None in (energy.rel_u_scale, energy.rel_u_workload)


def _greatest(errors: Iterable[float | None]) -> float:
    return max((error or 0.0 for error in errors), default=0.0)


def _above_drift(cell: Cell, invocations: Sequence[Invocation]) -> bool:
    """Whether what a cell took above idle is more than what idle power itself changed by, over the same time."""
    energy, began_at = cell.energy, cell.idle_window.began_at if cell.idle_window else None
    own = next((each for each in invocations if each.before.began_at == began_at), None)
    if energy is None or own is None or own.after_w is None:
        return True
    return (energy.net_j or 0.0) > abs(own.after_w - own.before_w) * (energy.window_s or 0.0)


def _other_metrics(cells: Sequence[Cell]) -> dict[str, float]:
    means = {name: _mean([cell.other_metrics.get(name) for cell in cells]) for name in sorted(cells[0].other_metrics)}
    return {name: mean for name, mean in means.items() if mean is not None}


def _headline(cells: Sequence[Cell]) -> dict[str, float]:
    """An accuracy that no quality is made of, by its metric's name: F1 over all items, for instance."""
    mean = _mean([cell.accuracy for cell in cells])
    return {} if mean is None or cells[0].metric is None else {cells[0].metric: mean}


def _computed(cells: Sequence[Cell]) -> Computed:
    layers = _mean([cell.computed.layers_per_token for cell in cells])
    escalated = _mean([cell.computed.escalated for cell in cells])
    return _AS_USUAL if layers is escalated is None else Computed(layers_per_token=layers, escalated=escalated)


def _generated(cell: Cell) -> float | None:
    return None if cell.tokens.generated is None or not cell.n_items else cell.tokens.generated / cell.n_items


def _per_second(cell: Cell) -> float | None:
    energy, generated = cell.energy, cell.tokens.generated
    return generated * energy.loops / energy.window_s if energy and energy.window_s and generated else None


def _phases(cells: Sequence[Cell]) -> dict[str, float]:
    """Shares of the gross energy, in the order of their names; empty unless every cell tells them."""
    shares: dict[str, list[float]] = defaultdict(list)
    for cell in cells:
        energy, phases = cell.energy, cell.phases
        if not energy or not energy.gross_j or energy.idle_j is None or phases.prefill_j is None:
            return {}
        parts = (phases.prefill_j, phases.decode_j, phases.other_j, energy.idle_j)
        for name, joules in zip(("prefill", "decode", "other", "idle"), parts, strict=True):
            shares[name].append((joules or 0.0) / energy.gross_j)
    return {name: math.fsum(values) / len(values) for name, values in shares.items()}


def _wh_per_1k(cell: Cell, *, net: bool) -> float:
    """``gross_j / 3.6 / (n_items * loops)``: joules / 3600 for a Wh, x 1,000 items."""
    assert cell.energy is not None
    joules = cell.energy.net_j if net else cell.energy.gross_j
    assert joules is not None
    return joules / 3.6 / (cell.n_items * cell.energy.loops)


def _relative_u(cell: Cell) -> float:
    energy = cell.energy
    return energy.u_j / energy.gross_j if energy and energy.gross_j and energy.u_j is not None else 0.0


def _wall_s(cell: Cell) -> float | None:
    """Seconds of the window for one item once; a batch's time is shared by its items."""
    energy = cell.energy
    if energy is None or not energy.window_s or not cell.n_items:
        return None
    return energy.window_s / (cell.n_items * energy.loops)


def _tokens(cell: Cell) -> float | None:
    if cell.tokens.prompt is None or cell.tokens.generated is None or not cell.n_items:
        return None
    return (cell.tokens.prompt + cell.tokens.generated) / cell.n_items


def _most(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def has_energy(cell: Cell) -> bool:
    """Whether it has joules; 0 J is no measurement."""
    return cell.energy is not None and cell.energy.gross_j is not None and cell.energy.gross_j > 0


def what_is_asked(cell: Cell) -> str:
    """What of its setting says what is asked, as canonical JSON."""
    return canonical_json({key: value for key, value in cell.setting.items() if key in ASKED})


def question_of(cells: Sequence[Cell]) -> str:
    """The task's hash and how it was asked; cells of one sample are asked in one way."""
    known = sorted({str(cell.task_hash or cell.task_version or "") for cell in cells})
    task = known if len(known) > 1 else cells[0].task_hash or cells[0].task_version
    # One text for all models of a run.
    return sys.intern(canonical_json([task, what_is_asked(cells[0])]))
