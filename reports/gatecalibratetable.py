"""A calibration on the terminal: what the machine sees first, then a row for each task."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TextIO, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .gatecalibrate import Questions
from .gatecalibratewords import Told, energy_seen, noise_text, of_margin, repeats_needed
from .gatefigures import NONE
from .gateforesee import FORESEEN, Energy
from .gatetable import print_again, print_list, print_sentence, print_whole, reader
from .wording import MINUS, fixed, safe

__all__ = ["print_calibration"]

_STYLES = {"pass": "green", "fail": "bold red"}
_MOST = 20
"""Tasks with rows of their own."""
Row = TypeVar("Row", Energy, Questions)


def print_calibration(told: Told, *, file: TextIO | None = None) -> None:
    """Print what the machine sees, its figures task by task, and how to read and repeat them."""
    console = Console(file=file, highlight=False, soft_wrap=False)
    plain, found = reader(console.encoding), told.found
    print_sentence(plain(told.headline), console, "bold")
    for place, sentence in enumerate(told.sentences):
        print_sentence(plain(sentence), console, _STYLES.get(found.gate.verdict, "yellow") if not place else "")
    for sentence in told.warnings:
        print_sentence(plain(sentence), console, "yellow")
    if found.energy:
        shown = _worst(found.energy, lambda own: own.noise.value)
        rows = [*shown, *([found.whole] if found.whole else [])]
        print_whole(_of_energy(rows, found.looks, plain), [own.task for own in rows], console)
    if found.quality:
        asked = _worst(found.quality, lambda own: own.to_pass)
        print_whole(_of_quality(asked, plain), [own.task for own in asked], console)
    if (more := max(len(found.energy), len(found.quality)) - _MOST) > 0:
        console.print(f"{more:,} more tasks have less noise, or need fewer questions; --json has all.")
    print_list("Missing:", told.missing, console, plain)
    print_list("To know:", told.notes, console, plain)
    print_again(told.again, console, plain)


def _worst(rows: Sequence[Row], badness: Callable[[Row], float]) -> Sequence[Row]:
    """All of a few; of many those that matter most."""
    return rows if len(rows) <= _MOST else sorted(rows, key=badness, reverse=True)[:_MOST]


def _table(plain: Callable[[str], str], *heads: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim", border_style="dim")
    table.add_column(plain(heads[0]), overflow="fold")
    for head in heads[1:]:
        table.add_column(plain(head), justify="right", no_wrap=True)
    return table


def _of_energy(rows: Sequence[Energy], looks: Sequence[int], plain: Callable[[str], str]) -> Table:
    numbers = _few(looks) or FORESEEN
    seen = [f"{'Seen' if n == numbers[0] else ''}\nat {n}" for n in numbers]
    table = _table(plain, "Energy,\nmargin", "Noise\n(95 %)", *seen, "Repeats\nto pass", "Repeats\nto fail")
    for own in rows:
        name = f"{safe(own.task)}\n{of_margin(own)}".rstrip()
        figures = ["\n".join(noise_text(own.noise)), *(energy_seen(own.smallest[n]) for n in numbers)]
        figures += ["\n".join(repeats_needed(needed, looks)) for needed in (own.to_pass, own.to_fail)]
        table.add_row(*(Text(plain(text)) for text in (name, *figures)))
    return table


def _few(looks: Sequence[int]) -> Sequence[int]:
    """All of a few looks; of more the first, one between, and the last, which fit a terminal."""
    return looks if len(looks) <= len(FORESEEN) else (looks[0], looks[len(looks) // 2], looks[-1])


def _of_quality(rows: Sequence[Questions], plain: Callable[[str], str]) -> Table:
    table = _table(plain, "Quality", "Margin", "Questions\nasked", "Seen\nat best", "Questions\nto pass")
    for own in rows:
        seen = NONE if own.smallest > 100 else f"{MINUS}{fixed(own.smallest, 1)}"
        needed = f"{own.to_pass:,.0f}" if math.isfinite(own.to_pass) else NONE
        margin = f"{MINUS}{own.margin:g}" if own.margin else "0"
        cells = (safe(own.task), margin, f"{own.asked:,}", seen, needed)
        table.add_row(*(Text(plain(text)) for text in cells))
    return table
