"""Reading JSON that strangers wrote: bounded in size, depth and numbers, and with one value for each key."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from joulemark.harness.store import nothing_freed

from .findings import Refused, refuse

__all__ = ["parse_json", "read_bytes"]

_MOST_BYTES = 8 << 20
"""Of a submission: 50 models on 20 tasks take some 5 MB. So much JSON takes at most some 250 MB once it is read."""
_MOST_DIGITS = 18
"""Of a whole number: what fits 64 bits."""
_MOST_LEVELS = 32
"""A submission has a dozen; Python itself gives up at some thousand."""
_MOST_PARTS, _MOST_VALUES, _MOST_IN_ONE = 200_000, 1_000_000, 100_000
"""Objects and lists, and values in them: each takes a hundred bytes, however few it has in the file."""
_TEXTS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""Texts, also one that never ends: then all the rest is tried just once."""
_LARGE = re.compile(rb"[eE]\+?\d{3}"), re.compile(rb"\d{300}")
"""Where one of these is, a number may be larger than any."""
_SHOWN = 40
_PARTS = (dict, list)


def read_bytes(path: Path) -> bytes:
    """The content of a file, if it is a plain one and not too large.

    Raises:
        Refused: It may not be taken; the code says why.
        OSError: It cannot be read.
    """
    # Opening a pipe without O_NONBLOCK waits for a writer that may never come.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        refuse("not-a-file", "", "it is no plain file; give one that `joulemark leaderboard pack` wrote.")
    with os.fdopen(handle, "rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        refuse(
            "too-large", "", f"it has more than {_MOST_BYTES >> 20} MiB; pack fewer runs, models or repeats into one."
        )
    return content


def parse_json(content: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        Refused: It is none that may be taken; the code says why.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as problem:
        refuse("not-json", "", f"it is no UTF-8 text (byte {problem.start:,}); send the file that was packed.")
    bare = _TEXTS.sub(b"", content)
    _refuse_shape(bare)
    # Python's own reading of a number is much faster than a call for each.
    with nothing_freed():
        value = _parse(text, _finite if any(each.search(bare) for each in _LARGE) else None)
    _refuse_long(value)
    return value


def _refuse_shape(bare: bytes) -> None:
    """Look at brackets and commas outside of texts, before anything is made of them."""
    marks = np.frombuffer(bare, dtype=np.uint8)
    opened, closed = (np.isin(marks, np.frombuffer(pair, dtype=np.uint8)) for pair in (b"[{", b"]}"))
    if len(marks) and np.cumsum(opened.astype(np.int32) - closed).max() > _MOST_LEVELS:
        refuse("too-deep", "", f"its objects and lists lie more than {_MOST_LEVELS} deep in one another; none does.")
    if np.count_nonzero(opened) > _MOST_PARTS or np.count_nonzero(marks == ord(",")) > _MOST_VALUES:
        refuse(
            "too-many",
            "",
            f"it has more than {_MOST_PARTS:,} objects and lists, or {_MOST_VALUES:,} values; no submission has.",
        )


def _refuse_long(value: Any) -> None:
    """Each wrong entry would be told by itself, which takes more memory than reading it."""
    waiting = [value] if isinstance(value, dict | list) else []
    while waiting:
        part = waiting.pop()
        if len(part) > _MOST_IN_ONE:
            refuse("too-many", "", f"an object or a list has more than {_MOST_IN_ONE:,} entries; no submission's has.")
        entries = part.values() if isinstance(part, dict) else part
        waiting += [each for each in entries if isinstance(each, _PARTS)]


def _parse(text: str, parse_float: Callable[[str], float] | None) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_int=_whole, parse_float=parse_float, parse_constant=_no_number
        )
    except Refused:
        raise
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        refuse("not-json", "", f"it is no JSON ({problem.msg}, {where}); send the file as it was packed.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        met: set[str] = set()
        for twice, _ in pairs:
            if twice in met:
                break
            met.add(twice)
        refuse(
            "duplicate-key", twice[:_SHOWN], "an object has this key twice, and readers would differ in which counts."
        )
    return found


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > _MOST_DIGITS:
        refuse("huge-number", text[:_SHOWN], f"a whole number has more than {_MOST_DIGITS} digits.")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        refuse("huge-number", text[:_SHOWN], "a number is larger than any that can be computed with.")
    return value


def _no_number(text: str) -> NoReturn:
    refuse("not-json", text, f"{text} is no JSON; what is missing is null.")
