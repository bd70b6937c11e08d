"""What was asked and what was answered, a line of JSON an item, for whoever wonders why a model scores as it does."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .types import Item

__all__ = ["sample_lines"]

MOST_CHARACTERS = 20_000
"""Of one text; a longer one keeps its beginning and its end."""

MOST_BYTES = 32 * 2**20
"""Of all lines of a cell together; items that come later keep their score and no texts."""


def sample_lines(samples: Mapping[str, Sequence[Mapping[str, Any]]], items: Sequence[Item]) -> tuple[str, ...]:
    """Lines of JSON, in the order of the items and with their numbers.

    Args:
        samples: lm-eval's, by task.
        items: What became of them, all tasks one after another.
    """
    asked = [(task, sample) for task, own in samples.items() for sample in own]
    lines, room = [], MOST_BYTES
    for (task, sample), item in zip(asked, items, strict=True):
        known = {"doc_id": item.doc_id, "doc_hash": item.doc_hash, "task": task, "score": _plain(item.score)}
        line = _json(known | _texts(sample))
        room -= len(line.encode())
        lines.append(line if room >= 0 else _json(known | {"left_out": True}))
    return tuple(lines)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _texts(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Prompts, once where all are the same, and answers: texts, or of each continuation how likely it is.

    That is its log-likelihood, and whether it is the likeliest of all.
    """
    arguments = sample["arguments"]
    prompts = [_plain(getattr(each[0], "prompt", each[0])) for each in arguments]
    scored = [_plain(each[1]) for each in arguments if len(each) > 1 and isinstance(each[1], str)]
    return {
        "prompts": prompts[:1] if len(set(map(_json_of, prompts))) == 1 else prompts,
        **({"continuations": scored} if scored else {}),
        "answers": [_plain(answer) for repeats in sample["resps"] for answer in repeats],
        "filtered": _plain(sample["filtered_resps"]),
        "target": _plain(sample["target"]),
    }


def _json_of(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _plain(value: Any) -> Any:
    """A value as JSON can hold it; a number that is not finite is null."""
    if isinstance(value, str):
        return _shortened(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [_plain(entry) for entry in value]
    # numpy's numbers and arrays.
    return _plain(value.tolist()) if hasattr(value, "tolist") else _shortened(str(value))


def _shortened(text: str) -> str:
    # Half of a character, as a model may well end with, has no bytes of its own.
    text = text.encode(errors="replace").decode()
    if len(text) <= MOST_CHARACTERS:
        return text
    half = MOST_CHARACTERS // 2
    return f"{text[:half]} [... {len(text) - 2 * half:,} characters left out ...] {text[-half:]}"
