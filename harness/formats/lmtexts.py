"""What lm-eval's samples say was asked and answered, as a run of ours keeps it (`tasks.samples`)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from joulemark.tasks.samples import MOST_BYTES

from .foreign import count, listed, mapped

__all__ = ["lines_of"]


def lines_of(rows: Iterable[Mapping[str, Any]], *, task: str, metric: str | None) -> tuple[str, ...] | None:
    """A line of JSON for each sample, in their order; what comes after the first 32 MiB keeps its score alone.

    Args:
        rows: Samples of one task, after one filter.
        task: Whose they are.
        metric: Whose value is the score.

    Returns:
        The lines; None where no sample has any text.
    """
    told = [(_known(row, task, metric), _texts(row)) for row in rows]
    if not any(texts for _, texts in told):
        return None
    lines, room = [], MOST_BYTES
    for known, texts in told:
        line = _line(known | (texts or {"left_out": True}))
        room -= len(line.encode())
        lines.append(line if room >= 0 else _line(known | {"left_out": True}))
    return tuple(lines)


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _known(row: Mapping[str, Any], task: str, metric: str | None) -> dict[str, Any]:
    return {
        "doc_id": count(row.get("doc_id")),
        "doc_hash": _plain(row.get("doc_hash")),
        "task": task,
        "score": _plain(row.get(metric)) if metric else None,
    }


def _texts(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Prompts, once where all are the same, continuations that were scored, answers, target; None where all lack."""
    arguments = [mapped(argument) for argument in mapped(row.get("arguments")).values()]
    prompts = [_plain(argument.get("arg_0")) for argument in arguments]
    if not prompts:
        return None
    scored = [_plain(told) for argument in arguments if isinstance(told := argument.get("arg_1"), str)]
    return {
        "prompts": prompts[:1] if all(prompt == prompts[0] for prompt in prompts) else prompts,
        **({"continuations": scored} if scored else {}),
        "answers": [_plain(answer) for repeats in listed(row.get("resps")) for answer in listed(repeats)],
        "filtered": _plain(row.get("filtered_resps")),
        "target": _plain(row.get("target")),
    }


def _plain(value: Any) -> Any:
    """As JSON in UTF-8 can hold it: no number without an end, and no half of a character."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_plain(key): _plain(own) for key, own in value.items()}
    return [_plain(own) for own in value] if isinstance(value, list) else value
