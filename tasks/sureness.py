"""How sure a model is of the choice that it makes, from log-likelihoods that lm-eval has asked for anyway."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["of_choice"]

_PLAIN = frozenset({"acc", "f1", "mcc", "brier_score", "likelihood"})


def of_choice(task: Any, sample: dict[str, Any], metric: str) -> float | None:
    """The chosen one's share of the softmax over the choices, compared as lm-eval compares them for this metric.

    A share among what was offered: 1 / choices where the model prefers none, and no probability of being right. Under
    ``acc_norm`` and ``acc_bytes`` log-likelihoods are those of a character and a byte, so that shares lie nearer
    together; only shares of one model under one metric can be set beside each other.

    Args:
        task: lm-eval's, with choices.
        sample: What lm-eval noted of one question; ``filtered_resps`` holds a log-likelihood for each choice first.
        metric: The headline's name.

    Returns:
        0 to 1; None where a task compares in a way of its own, or a log-likelihood is missing.
    """
    if callable(task.config.process_results):
        return None
    told = [_log_likelihood(answer) for answer in sample["filtered_resps"]]
    logs = _compared(told, task.doc_to_choice(sample["doc"]), metric)
    if logs is None or not all(map(math.isfinite, logs)):
        return None
    values = np.array(logs)
    return float(1 / np.exp(values - values.max()).sum())


def _compared(told: Sequence[float], choices: Sequence[str], metric: str) -> list[float] | None:
    count = len(choices)
    if metric == "acc_mutual_info" and len(told) == 2 * count:
        # The second half is how likely each choice is without the question.
        return [with_it - without for with_it, without in zip(told[:count], told[count:], strict=True)]
    if len(told) not in (count, 2 * count) or not count:
        return None
    told = told[:count]
    if metric == "acc_norm":
        return [log / len(choice) if choice else math.nan for log, choice in zip(told, choices, strict=True)]
    if metric == "acc_bytes":
        return [log / len(choice.encode()) if choice else math.nan for log, choice in zip(told, choices, strict=True)]
    return list(told) if metric in _PLAIN else None


def _log_likelihood(answer: Any) -> float:
    try:
        return float(answer[0])
    except (TypeError, ValueError, LookupError):
        return math.nan
