"""Scores against items, tokens against caps, latencies against windows."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from joulemark.harness.record import Cell, Latency

from .audittasks import MOST_TOKENS, is_ours
from .findings import Finding
from .submission import Submission, length_s

__all__ = ["TOLERANCE", "check_scores", "check_tokens"]

TOLERANCE = 1e-6
"""Relative: numbers are sent with 9 digits."""
_OWN_WAY = re.compile(r"f1|acc_all")
"""Metrics of which lm-eval makes the mean otherwise than over items."""


def check_scores(sent: Submission) -> Iterator[Finding]:
    """The accuracy is the mean of the items' scores, and the quality what chance leaves of it."""
    for number, cell in enumerate(sent.cells):
        at = f"cells[{number}]"
        yield from _check_range(cell, at)
        if cell.status != "ok":
            continue
        asked = sent.items.sets[sent.items.cells[cell.cell_id].set]
        if cell.n_items != len(asked.docs):
            message = f"it says {cell.n_items:,} items, and has outcomes of {len(asked.docs):,}; pack the run again."
            yield Finding(code="sum-items", path=f"{at}.n_items", message=message)
            continue
        if is_ours(cell.task) and (cell.accuracy is None or cell.quality is None):
            message = "our tasks give every finished cell an accuracy and a quality; pack the run again."
            yield Finding(code="no-quality", path=f"{at}.quality", message=message)
        yield from _check_accuracy(cell, at, sent.scores(cell.cell_id))
        cut = sent.cut(cell.cell_id)
        if (cut is None) != (cell.truncated is None) or (cut is not None and _differ(cell.truncated, cut.mean())):
            message = "it is not the share of the items that are told as cut off; pack the run again."
            yield Finding(code="sum-truncated", path=f"{at}.truncated", message=message)


def _check_range(cell: Cell, at: str) -> Iterator[Finding]:
    # A metric that is no share, such as ROUGE in percent, gives no quality, and boards rank none of it.
    shares = ("chance", "truncated") if cell.quality is None else ("accuracy", "chance", "truncated")
    for name in shares:
        value = getattr(cell, name)
        if value is not None and not 0 <= value <= 1:
            yield Finding(code="score-range", path=f"{at}.{name}", message="it is no share between 0 and 1.")
    if cell.quality is not None and (cell.chance is None or cell.chance >= 1 or cell.accuracy is None):
        message = "quality is there only with an accuracy, and a chance below 1; pack the run again."
        yield Finding(code="score-range", path=f"{at}.quality", message=message)
    elif cell.quality is not None and cell.chance is not None and cell.accuracy is not None:
        expected = 100 * (cell.accuracy - cell.chance) / (1 - cell.chance)
        if abs(cell.quality - expected) > 100 * TOLERANCE / (1 - cell.chance):
            message = f"of its accuracy and chance comes {expected:.6g} points of quality; pack the run again."
            yield Finding(code="sum-quality", path=f"{at}.quality", message=message)


def _check_accuracy(cell: Cell, at: str, scores: np.ndarray) -> Iterator[Finding]:
    """A share that lm-eval makes in a way of its own is no mean over items; boards take the items."""
    if cell.accuracy is None or cell.quality is None or not len(scores):
        return
    if not ((scores >= 0) & (scores <= 1) | np.isnan(scores)).all():
        message = "a score is no share between 0 and 1, and so gives no quality; pack the run again."
        yield Finding(code="score-range", path=f"{at}.quality", message=message)
        return
    if _OWN_WAY.search(cell.metric or ""):
        return
    right = cell.accuracy * len(scores)
    whole = bool(np.isin(scores, (0.0, 1.0)).all())
    if whole and abs(right - round(right)) > TOLERANCE * len(scores):
        message = f"no number of {len(scores):,} right or wrong answers has this share; pack the run again."
        yield Finding(code="score-impossible", path=f"{at}.accuracy", message=message)
    elif _differ(cell.accuracy, float(scores.mean())):
        message = f"its items' scores have a mean of {scores.mean():.6g}; pack the run again."
        yield Finding(code="sum-accuracy", path=f"{at}.accuracy", message=message)


def check_tokens(sent: Submission) -> Iterator[Finding]:
    """Tokens are counts, no more than the cap lets through, and latencies lie inside the window."""
    for number, cell in enumerate(sent.cells):
        at = f"cells[{number}]"
        counts = {name: getattr(cell.tokens, name) for name in ("prompt", "generated", "computed")}
        for name, count in counts.items():
            if count is not None and count < 0:
                yield Finding(code="tokens", path=f"{at}.tokens.{name}", message="a count is below 0.")
        cap, generated = _cap(sent, cell), counts["generated"]
        if cap is not None and generated is not None and generated > cap * cell.n_items:
            message = f"{cell.n_items:,} answers of at most {cap} tokens cannot have {generated:,}; pack the run again."
            yield Finding(code="tokens", path=f"{at}.tokens.generated", message=message)
        window_s = length_s(cell.energy) if cell.energy is not None else cell.duration_s or 0.0
        for name in ("latency_s", "ttft_s"):
            if not _is_possible(getattr(cell, name), window_s):
                message = "its middle, its 95th percentile and the window do not ascend; pack the run again."
                yield Finding(code="latency", path=f"{at}.{name}", message=message)


def _cap(sent: Submission, cell: Cell) -> int | None:
    """Tokens that an answer may have; None where that is not known, as of tasks that ask a question several times."""
    if not is_ours(cell.task):
        return None
    if isinstance(cap := cell.setting.get("max_gen_toks"), int):
        return cap
    told = sent.run.plan.get("gen_kwargs") or cell.setting.get("gen_kwargs")
    return None if told else MOST_TOKENS


def _is_possible(latency: Latency, window_s: float) -> bool:
    told = [value for value in (latency.p50, latency.p95) if value is not None]
    return all(0 <= value <= window_s * (1 + TOLERANCE) for value in told) and told == sorted(told)


def _differ(one: float | None, other: float) -> bool:
    return one is None or abs(one - other) > TOLERANCE
