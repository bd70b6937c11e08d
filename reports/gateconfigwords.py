"""What is wrong in a file with a ``[gate]`` table, in a sentence that says what to write."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from joulemark.meters.errors import UsageError

__all__ = ["in_toml", "refuse_misspelt", "wrong_table"]

_ALIKE = 0.75
"""How like two names are of which one may be misspelt: gates and gaet are like gate, data and gateway are not."""
_BOUNDS = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "finite_number": "a number",
    "float_type": "a number",
    "float_parsing": "a number",
    "literal_error": "{expected}",
}
"""What to write, by pydantic's type of the error, with what it says of it."""


def refuse_misspelt(path: Path, content: Mapping[str, Any], name: str) -> None:
    """Refuse a table that was meant to be the gate's: by its rules nothing would be judged, and nobody would know.

    Args:
        path: The file.
        content: What is in it.
        name: What the gate's table is called there, such as ``tool.joulemark.gate``.

    Raises:
        UsageError: It has such a table.
    """
    *outer, own = name.split(".")
    tables: Any = content
    for place, key in enumerate([*outer, own]):
        # What is beside [tool] is none of ours.
        for other in tables if key != "tool" else ():
            if other != key and isinstance(tables[other], Mapping) and _is_like(other, key):
                there = ".".join([*outer[:place], other])
                raise UsageError(f"{path} has a table [{there}], which nothing reads; did you mean [{name}]?")
        tables = tables.get(key)
        if not isinstance(tables, Mapping):
            break
    for elsewhere in ("gate", "joulemark.gate", "tool.joulemark.gate"):
        if elsewhere != name and _has(content, elsewhere):
            raise UsageError(f"{path} has a table [{elsewhere}], which nothing reads; write [{name}].")


def wrong_table(problem: ValidationError, name: str, limits: Sequence[str], own: Sequence[str]) -> str:
    """The first error of a table.

    Args:
        problem: All errors.
        name: What the table is called.
        limits: Keys that it has, and that tables for tasks have as well.
        own: Further keys that it has.
    """
    error = problem.errors()[0]
    where = [str(part) for part in error["loc"] if part != "limits"]
    if error["type"] == "extra_forbidden":
        *outer, key = where
        return _no_key(key, ".".join([name, *outer]), limits if outer else [*limits, *own])
    at, kind = ".".join([name, *where]), error["type"]
    if kind in _BOUNDS:
        return f"{at}: write {_BOUNDS[kind].format(**error.get('ctx', {}))}, not {in_toml(error['input'])}."
    return f"{at}: {error['msg'].removeprefix('Value error, ')}."


def in_toml(value: Any) -> str:
    """A value about as it stands in the file."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _no_key(key: str, table: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f"[{table}] has no key {key!r}; " + (
        f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}."
    )


def _is_like(name: str, meant: str) -> bool:
    return bool(difflib.get_close_matches(name.lower(), [meant], cutoff=_ALIKE))


def _has(content: Mapping[str, Any], name: str) -> bool:
    below: Any = content
    for key in name.split("."):
        below = below.get(key) if isinstance(below, Mapping) else None
    return isinstance(below, Mapping)
