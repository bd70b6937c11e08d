"""Which metrics are shares of right answers: by what a task says of them, never by what a model got."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["MEANS", "is_share", "sounds_like_share"]

MEANS = frozenset({"mean", "nanmean", "f1_score", "acc_all"})
"""Of lm-eval's ways to make one number of all items those that make a share of shares; bits per byte or BLEU do not."""

_ACCURACY = re.compile(r"(?<![a-z])(acc|accuracy)(?![a-z])")
"""A share whichever way the items are put together: that is what the word means."""

_MATCHES = re.compile(
    r"(?<![a-z])(em|exact|exact_match|f1|precision|recall|contains|correct|correctness"
    r"|math_verify|numerical_match|string_match|pass(@|_at_)(\d+|k))(?![a-z])"
)
"""Shares where the items' mean is taken; a task's own way may make points up to 100 of them, as SQuAD's does."""

_CHANGED = re.compile(r"(?<![a-z])(bias|change|diff|difference|drop|error|gap|loss|pct|percent|percentage)(?![a-z])")
_LIKENESS = re.compile(r"(?<![a-z])(bert|bleu|chrf|rouge)")
"""What such names hold that are no share of right answers after all: their change, or how alike texts are."""


def is_share(tasks: Iterable[Any], metric: str) -> bool:
    """Whether a metric of these tasks is a share of right answers: 0 to 1, and better the larger.

    Its name tells, with how the items are put together; unless a task's ``metadata`` says ``share: true`` or ``false``
    of its first metric.
    """
    return all(_is_share_of(task, metric) for task in tasks)


def _is_share_of(task: Any, metric: str) -> bool:
    if not task.higher_is_better().get(metric):
        return False
    metadata = task.get_config("metadata")
    said = metadata.get("share") if isinstance(metadata, dict) else None
    return said if isinstance(said, bool) else sounds_like_share(metric, _is_mean(task.aggregation().get(metric)))


def _is_mean(way: Any) -> bool | None:
    by_lm_eval = getattr(way, "__module__", "").partition(".")[0] in ("lm_eval", "numpy")
    return getattr(way, "__name__", "") in MEANS if by_lm_eval else None


def sounds_like_share(metric: str, is_mean: bool | None) -> bool:
    """Whether a metric's name says so, where more is better.

    Args:
        metric: Its name.
        is_mean: Whether the items are put together by one of `MEANS`; None: in a way of the task's own.
    """
    name = metric.lower()
    if _CHANGED.search(name) or is_mean is False:
        return False
    if _ACCURACY.search(name):
        return True
    return is_mean is True and bool(_MATCHES.search(name)) and not _LIKENESS.search(name)
