"""Meters that a user names: ``NAME=KIND:key=value,key=value``, such as ``plug=shelly:host=192.0.2.7``."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import JoulemarkError, UsageError
from .types import Meter

__all__ = [
    "KINDS",
    "Named",
    "find_maker",
    "is_kind",
    "keys_of",
    "make_named",
    "meter_name",
    "needed_keys",
    "parse_named",
    "takes_name",
]

KINDS: dict[str, str] = {
    "shelly": "plugs:shelly",
    "tasmota": "plugs:tasmota",
    "prometheus": "prometheus:prometheus",
    "redfish": "redfish:redfish",
    "replay": "replay:replay",
}
"""Where what makes each kind is, ``MODULE:FUNCTION``."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a user wrote, taken apart."""

    name: str
    kind: str
    args: Mapping[str, str]


def meter_name(text: str) -> str:
    """The meter's name, of a name, of a domain's id, or of ``NAME=KIND:...``."""
    return text.partition(":")[0].partition("=")[0]


def parse_named(text: str) -> Named | None:
    """Read ``NAME=KIND:key=value,...``; None for a mere name. Commas in quotes and brackets belong to the value.

    Raises:
        UsageError: It is neither.
    """
    head, _, rest = text.partition(":")
    name, equals, kind = head.partition("=")
    if not equals:
        return None
    if not _NAME.fullmatch(name):
        raise UsageError(f"meter {text!r}: a meter's name is a letter, then letters, digits, '_', '.' or '-'")
    args: dict[str, str] = {}
    for part in _split(rest):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier() or key in args:
            raise UsageError(f"meter {name!r}: {part!r} should be key=value, each key once")
        args[key] = _unquoted(value)
    return Named(name=name, kind=kind, args=args)


def find_maker(kind: str, others: Mapping[str, Callable[[], Callable[..., Meter]]]) -> Callable[..., Meter]:
    """What makes meters of a kind.

    Args:
        kind: Its name.
        others: What loads the makers of kinds from outside, by kind.

    Raises:
        UsageError: There is no such kind, or it cannot be loaded.
    """
    if kind in KINDS:
        module, _, attribute = KINDS[kind].partition(":")
        make: Callable[..., Meter] = getattr(importlib.import_module(f".{module}", __package__), attribute)
        return make
    if kind in others:
        return others[kind]()
    known = [*KINDS, *(name for name, load in others.items() if is_kind(load))]
    raise UsageError(f"there is no kind of meter {kind!r}{_hint(kind, known)}")


def make_named(named: Named, others: Mapping[str, Callable[[], Callable[..., Meter]]]) -> Meter:
    """Make the meter.

    Args:
        named: What to make.
        others: As in `find_maker`.

    Raises:
        UsageError: There is no such kind, it cannot be loaded, it knows no such key, lacks one, or refuses a value.
    """
    make = find_maker(named.kind, others)
    if not takes_name(make):
        raise UsageError(f"meter {named.name!r}: {named.kind} takes no name; say --meter {named.kind}")
    keys = keys_of(make)
    for key in named.args:
        if key not in keys:
            raise UsageError(f"meter {named.name!r}: {named.kind} has no {key!r}{_hint(key, keys)}")
    for key, parameter in keys.items():
        if parameter.default is parameter.empty and key not in named.args:
            raise UsageError(f"meter {named.name!r}: {named.kind} needs {key}=...")
    try:
        return make(name=named.name, **named.args)
    except (TypeError, ValueError) as problem:
        raise UsageError(f"meter {named.name!r}: {named.kind} refuses these arguments: {problem}") from problem
    except Exception as problem:
        if named.kind in KINDS or isinstance(problem, JoulemarkError):
            raise
        raise UsageError(f"meter {named.name!r}: {named.kind}, from another package, broke: {problem!r}") from problem


def needed_keys(make: Callable[..., Meter]) -> str:
    """What a maker cannot do without, as ``key=KEY,key=KEY``; nothing for one that needs nothing but a name."""
    return ",".join(f"{key}={key.upper()}" for key, p in keys_of(make).items() if p.default is p.empty)


def keys_of(make: Callable[..., Meter]) -> dict[str, inspect.Parameter]:
    """What a user may say beside the name."""
    parameters = inspect.signature(make).parameters.values()
    return {p.name: p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != "name"}


def is_kind(load: Callable[[], Callable[..., Meter]]) -> bool:
    """Whether what makes meters can be loaded, and gives them the name that a user wants."""
    try:
        return takes_name(load())
    except UsageError:
        return False


def takes_name(make: Callable[..., Meter]) -> bool:
    """Whether what a maker gives can be called as a user likes."""
    parameters = inspect.signature(make).parameters
    return "name" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _hint(given: str, known: Any) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known) or 'none'}"


def _unquoted(value: str) -> str:
    """A value that is quoted whole, without its quotes."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" and value[0] not in value[1:-1]
    return value[1:-1] if quoted else value


def _split(text: str) -> list[str]:
    """Split at commas outside of quotes and brackets."""
    parts, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        else:
            depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return parts if text else []
