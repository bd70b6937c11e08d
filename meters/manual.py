"""What a user may say of a meter of some kind, out of its maker's own docstring and signature."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from .naming import keys_of, needed_keys
from .types import Meter

__all__ = ["Argument", "Manual", "read_manual"]


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One key.

    Attributes:
        name: The key.
        needed: Whether it cannot be left out.
        default: What holds where it is; None for nothing.
        text: What it means.
    """

    name: str
    needed: bool
    default: str | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Manual:
    """What a kind of meter is, what may be said of one, and an example."""

    kind: str
    text: str
    arguments: tuple[Argument, ...]
    example: str


def read_manual(kind: str, make: Callable[..., Meter]) -> Manual:
    """The manual of a kind; its texts are empty where its maker has no docstring in Google's style."""
    doc, module = inspect.getdoc(make) or "", sys.modules.get(make.__module__)
    known = vars(module) if module else {}
    texts = _arguments(doc)
    told = re.search(rf"``(\S+={re.escape(kind)}:\S+)``", (module and module.__doc__) or "")
    needed = needed_keys(make)
    return Manual(
        kind=kind,
        text=_plain(doc.partition("\n")[0], known),
        arguments=tuple(
            Argument(
                name=key,
                needed=parameter.default is parameter.empty,
                default=None if parameter.default in (parameter.empty, None, "") else str(parameter.default),
                text=_plain(_looked_up(key, texts.get(key, ""), known), known),
            )
            for key, parameter in keys_of(make).items()
        ),
        example=told[1] if told else ":".join(filter(None, (f"mine={kind}", needed))),
    )


def _arguments(doc: str) -> dict[str, str]:
    """The texts under ``Args:``, by argument; several that share one are named before it with commas."""
    found: dict[str, str] = {}
    names: list[str] = []
    block = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, re.MULTILINE)
    for line in textwrap.dedent(block[1]).splitlines() if block else ():
        if begins := re.match(r"(\w+(?:, \w+)*): +(.*)", line):
            names = begins[1].split(", ")
            found |= dict.fromkeys(names, begins[2])
        else:
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return found


def _looked_up(key: str, text: str, known: dict[str, object]) -> str:
    """``As in `Class`.`` stands for what that class says of the argument."""
    refers = re.match(r"As in `(\w+)`\.?\s*(.*)", text)
    if refers is None or refers[1] not in known:
        return text
    there = getattr(known[refers[1]], "__init__", None)
    return f"{_arguments(inspect.getdoc(there) or '').get(key, '')} {refers[2]}".strip()


def _plain(text: str, known: dict[str, object]) -> str:
    """Without the marks of a docstring; a constant's name stands for what it holds."""
    held = {name: ", ".join(map(str, value)) for name, value in known.items() if isinstance(value, tuple | dict)}
    held |= {name: str(value) for name, value in known.items() if isinstance(value, int | float)}
    return re.sub(r"`+([^`]+)`+", lambda found: held.get(found[1], found[1]), text)
