"""Which entrants are meant by ``RUN[:MODEL] RUN[:MODEL]``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from joulemark.harness.said import few
from joulemark.harness.store import Run, read_run
from joulemark.meters.errors import Incomparable, UsageError

from .entrants import Entrant, gather, tried
from .names import is_short_for, name_entrants

__all__ = ["Side", "names_of", "pair_up", "read_side", "side_of"]

_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one of the two arguments names.

    Attributes:
        text: As it was given.
        run: The run.
        entrants: Those that are meant, by the names that tables give them.
        is_named: Whether the argument says which one.
    """

    text: str
    run: Run
    entrants: dict[str, Entrant]
    is_named: bool


def read_side(text: str, *, finished: bool = True) -> Side:
    """Read ``RUN`` or ``RUN:MODEL``, MODEL being a model's name, or that with its settings as tables show it.

    Args:
        text: As it was given.
        finished: Whether only those that finished a cell are meant; else those that tried to as well.

    Raises:
        UsageError: There is no such run, or none of its models is called so, or several are.
        Incomparable: It has no finished cell.
    """
    path, model = _split(text)
    return side_of(read_run(path), model, text=text, finished=finished)


def side_of(run: Run, model: str | None, *, text: str = "", finished: bool = True) -> Side:
    """What is meant by a model's name in a run; as `read_side`, whose errors it raises."""
    found = (gather if finished else tried)([run])
    if not found:
        notes = f" ({run.notes[0]})" if run.notes else ""
        more = f"`joulemark run --resume {run.path}` goes on with it."
        raise Incomparable(f"{run.path} has no finished cell{notes}; {more}")
    names = {name.full: entrant for name, entrant in zip(name_entrants(found), found, strict=True)}
    if model is None:
        return Side(text=text, run=run, entrants=names, is_named=False)
    meant = {name: entrant for name, entrant in names.items() if _is_meant(model, name, entrant)}
    if not meant:
        close = difflib.get_close_matches(model, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {few(list(names), _NAMED)}."
        raise UsageError(f"{run.path} has no model {model!r}; {hint}")
    if len(meant) > 1:
        told = few([repr(name) for name in meant], _NAMED)
        raise UsageError(f"{run.path} has {model} in {len(meant)} settings; name one: {told}.")
    return Side(text=text, run=run, entrants=meant, is_named=True)


def pair_up(first: Side, second: Side) -> list[tuple[Entrant, Entrant]]:
    """The entrants to be compared: those named, or those of one name on both sides.

    Raises:
        UsageError: Both sides are one run, or it is not clear who is meant.
    """
    if (first.is_named and second.is_named) or len(first.entrants) == len(second.entrants) == 1:
        pairs = [(next(iter(first.entrants.values())), next(iter(second.entrants.values())))]
    elif first.is_named or second.is_named:
        pairs = [_with_namesake(first, second)]
    else:
        pairs = [(first.entrants[name], second.entrants[name]) for name in first.entrants if name in second.entrants]
    has = f"has {few(list(first.entrants), _NAMED)}"
    if first.run.header.run_id == second.run.header.run_id and not (first.is_named or second.is_named):
        both = f"{first.text} and {second.text} are" if first.text != second.text else f"{first.text} is"
        raise UsageError(f"{both} one run; name two of its models as RUN:MODEL: it {has}.")
    if not pairs:
        other = f"{second.text} has {few(list(second.entrants), _NAMED)}"
        raise UsageError(f"no model is in both: {first.text} {has}; {other}; name two as RUN:MODEL.")
    return pairs


def _split(text: str) -> tuple[Path, str | None]:
    """A folder, and what follows it after a colon; a folder's own name may have colons."""
    if Path(text).is_dir():
        return Path(text), None
    colons = [place for place, letter in enumerate(text) if letter == ":"]
    for place in reversed(colons):
        if Path(text[:place]).is_dir():
            return Path(text[:place]), text[place + 1 :]
    return Path(text), None


def _is_meant(text: str, name: str, entrant: Entrant) -> bool:
    """Whether it is an entrant's name, its model's, or that with some of its settings, as tables of fewer have them."""
    if text in (name, entrant.model, f"{entrant.model} ({entrant.run_name})") or is_short_for(text, entrant):
        return True
    told = re.fullmatch(rf"{re.escape(entrant.model)} \((\w+=[^,]+(?:, \w+=[^,]+)*)\)", text)
    pairs = [part.split("=", 1) for part in told[1].split(", ")] if told else []
    return bool(pairs) and all(str(entrant.setting.get(key)) == value for key, value in pairs)


def _with_namesake(first: Side, second: Side) -> tuple[Entrant, Entrant]:
    named, other = (first, second) if first.is_named else (second, first)
    [(name, entrant)] = named.entrants.items()
    if len(other.entrants) == 1:
        [namesake] = other.entrants.values()
    elif name in other.entrants:
        namesake = other.entrants[name]
    else:
        raise UsageError(f"{other.text} has no {name!r}; say which is meant of {few(list(other.entrants), _NAMED)}.")
    return (entrant, namesake) if first.is_named else (namesake, entrant)


def names_of(pairs: Sequence[tuple[Entrant, Entrant]]) -> list[tuple[str, str]]:
    """What to call both of each pair; never the same."""
    told = []
    for pair in pairs:
        first, second = name_entrants(list(pair))
        told.append((first.full, second.full))
    return told
