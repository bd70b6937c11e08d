"""What entrants are called: the model's name, with what tells it apart where several share it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .wording import joined, safe

if TYPE_CHECKING:
    from .entrants import Entrant
    from .rows import Row

__all__ = [
    "ALL",
    "LISTED",
    "Name",
    "all_of",
    "broken",
    "cut_apart",
    "is_short_for",
    "legend",
    "name_entrants",
    "pieces",
    "together",
]

ALL = "all"
"""What a view over all tasks calls its task."""
LISTED = 3
"""So many entrants are told by name; of more their number."""

_SHORT = {"batch_size": "bs", "threads": "t", "concurrency": "c"}
_BARE = {"dtype": "{}", "power_cap_w": "{} W"}
"""Settings whose value says by itself what it is."""


@dataclass(frozen=True)
class Name:
    """In full, with settings as the command line has them; and short, for a narrow table or a picture."""

    full: str
    short: str


def name_entrants(entrants: Sequence[Entrant], beside: Sequence[Entrant] = ()) -> list[Name]:
    """A name for each entrant; no two are alike.

    Args:
        entrants: Those to name.
        beside: Others, which they must be told from as well.
    """
    same: dict[str, list[Entrant]] = defaultdict(list)
    for entrant in (*entrants, *beside):
        same[entrant.model].append(entrant)
    names = [_name(entrant, same[entrant.model]) for entrant in entrants]
    full, short = Counter(name.full for name in names), Counter(name.short for name in names)
    in_run = Counter((name.full, entrant.run_id) for name, entrant in zip(names, entrants, strict=True))
    told = []
    for name, entrant in zip(names, entrants, strict=True):
        # What one run has twice was measured on two machines.
        apart = entrant.run_id if in_run[name.full, entrant.run_id] == 1 else entrant.machine.machine_id
        whole = name.full if full[name.full] == 1 else f"{name.full} [{apart}]"
        told.append(Name(whole, name.short if short[name.short] == 1 else whole))
    return told


def is_short_for(text: str, entrant: Entrant) -> bool:
    """Whether it is the model's name with some of its settings as narrow tables have them: ``mine bs=8 t=2``."""
    rest = text.removeprefix(entrant.model)
    known = [_in_short(key, value) for key, value in entrant.setting.items()] + [str(entrant.grade)]
    while rest and rest != text:
        piece = next((own for own in known if f"{rest} ".startswith(f" {own} ")), None)
        if piece is None:
            return False
        rest = rest[len(piece) + 1 :]
    return not rest


def legend(rows: Sequence[Row]) -> str:
    """What the abbreviations in these rows' short labels stand for; empty where there are none."""
    used = [
        f"{short}: {key}"
        for key, short in _SHORT.items()
        if any(f" {short}={row.setting.get(key)}" in row.short_label for row in rows)
    ]
    return ", ".join(used)


def together(rows: Sequence[Row], among: Sequence[Row], *, most: int | None = None) -> str:
    """Some of a view's rows in a sentence: by name, or by number where they are all of a model's or of the view's.

    Args:
        rows: Those that are meant.
        among: All rows of the view.
        most: Name so many, and count the others; None: name all.
    """
    if LISTED < len(rows) == len(among):
        return f"all {len(rows)} entrants"
    told: list[tuple[str, int]] = []
    own_rows: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        own_rows[row.model].append(safe(row.label))
    count = Counter(row.model for row in among)
    for model, own in own_rows.items():
        there = count[model]
        if 1 < len(own) == there:
            told.append((f"{safe(model)} {all_of(there)}", there))
        elif len(own) > LISTED or len(set(own)) < len(own):
            # Rows of several views may share a label.
            told.append((f"{safe(model)} ({len(own)} of {there})", len(own)))
        else:
            told += [(name, 1) for name in own]
    names = [name for name, _ in told]
    # A last one alone is no longer than "1 more".
    if most is not None and len(names) > most + 1:
        names = [*names[:most], f"{sum(many for _, many in told[most:]):,} more"]
    return joined(names)


def all_of(count: int) -> str:
    """What follows a model's name where all its rows are meant."""
    return "(both)" if count == 2 else f"(all {count})"


def pieces(name: str) -> list[str]:
    """The parts that a name may be broken between: after spaces, slashes, hyphens and underscores."""
    return re.findall(r"[^\s/_-]*[\s/_-]+|[^\s/_-]+", name)


def broken(name: str, width: int) -> list[str]:
    """The name in lines of at most ``width`` letters: broken at spaces, else between `pieces`, else anywhere."""
    lines: list[str] = []
    for word in name.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines += _split(word, width)
    return lines or [""]


def _split(word: str, width: int) -> list[str]:
    lines = [""]
    for piece in pieces(word):
        for part in (piece[at : at + width] for at in range(0, len(piece), width)):
            if len(lines[-1]) + len(part) > width:
                lines.append("")
            lines[-1] += part
    return lines


def cut_apart(names: Sequence[str], longest: int) -> list[str]:
    """The names, none longer than ``longest``, those that differ still different: cut where they are alike."""
    cut = [_cut_in_the_middle(name, longest) for name in names]
    for text in [text for text, count in Counter(cut).items() if count > 1]:
        alike = [place for place, other in enumerate(cut) if other == text]
        common = _common([names[place] for place in alike])
        for place in alike:
            cut[place] = _cut_in_the_middle("\u2026" + names[place][common:], longest)
    known: dict[str, str] = {}
    for place, name in enumerate(names):
        if known.setdefault(cut[place], name) != name:
            number = f" #{place + 1}"
            cut[place] = cut[place][: longest - len(number)] + number
    return cut


def _name(entrant: Entrant, same: Sequence[Entrant]) -> Name:
    """Its name among those of its model."""
    if len(same) == 1:
        return Name(entrant.model, entrant.model)
    keys = sorted({key for other in same for key in other.setting if _differ(key, same)})
    keys = [key for key in keys if key in entrant.setting]
    graded = [str(entrant.grade)] if len({other.grade for other in same}) > 1 else []
    told = [f"{key}={entrant.setting[key]}" for key in keys] + graded or [entrant.run_name]
    full = f"{entrant.model} ({', '.join(told)})"
    if not keys:
        return Name(full, full)
    return Name(full, " ".join([entrant.model, *(_in_short(key, entrant.setting[key]) for key in keys), *graded]))


def _differ(key: str, entrants: Sequence[Entrant]) -> bool:
    return any(other.setting.get(key) != entrants[0].setting.get(key) for other in entrants)


def _in_short(key: str, value: Any) -> str:
    return _BARE[key].format(value) if key in _BARE else f"{_SHORT.get(key, key)}={value}"


def _common(names: Sequence[str]) -> int:
    """How many letters all of them begin with."""
    columns = zip(*names, strict=False)
    return next((place for place, letters in enumerate(columns) if len(set(letters)) > 1), min(map(len, names)))


def _cut_in_the_middle(name: str, longest: int) -> str:
    """With its end whole as far as that goes: there the settings stand."""
    name = safe(name)
    if len(name) <= longest:
        return name
    tail = (longest - 1) // 2
    return f"{name[: longest - 1 - tail]}\u2026{name[-tail:]}"
