"""A gate on the terminal: the verdict first, then a row for each rule, broken ones at the top."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .gatefigures import ARROW, AT_LEAST, AT_MOST, counted, rule_name, rule_text, so_many
from .gaterules import Outcome
from .gatewords import Account
from .wording import ascii_only, safe

__all__ = ["print_again", "print_gate", "print_list", "print_sentence", "print_whole", "reader"]

_STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow", "incomparable": "magenta"}
_MOST_KEPT = 20
"""Rules that are kept and have rows of their own; more are counted."""
_MOST = 60
"""Other rules with rows of their own."""
_MOST_REASONS = 20
_LONGEST = 2_000
"""Letters of a command."""
_NAME = 16
"""Letters of a line that a name has where a terminal is narrow."""
_ENDLESS = 10_000
"""A width that holds any table."""
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=%)")
_UNBROKEN = "\ue000"
"""What stands for a space at which no line ends; to Rich a no-break space is a space like any other."""
_COMMAND = re.compile(r":(?=:)|#(?=#\[)")
"""What begins a command to GitHub: ``::`` after any space that begins a line, ``##[`` anywhere in it."""


def print_gate(account: Account, *, file: TextIO | None = None) -> None:
    """Print the verdict and what it means, the rules, why, and how to reproduce it."""
    console = Console(file=file, highlight=False, soft_wrap=False)
    plain = reader(console.encoding)
    print_sentence(plain(account.headline), console, _STYLES[account.gate.verdict])
    print_sentence(plain(account.meaning), console)
    for sentence in _first(account.warnings):
        print_sentence(plain(sentence), console, "yellow")
    shown, left = _shown(account.rules)
    if shown:
        names = [line for rule in shown for line in _name(rule, several=account.several)]
        print_whole(_table(shown, account, plain), names, console, column=1)
    for sentence in left:
        print_sentence(plain(sentence), console)
    print_list(f"{account.why}:", account.reasons, console, plain)
    print_list("To know:", account.notes, console, plain)
    print_again(account.again, console, plain)


def print_again(commands: Sequence[str], console: Console, plain: Callable[[str], str]) -> None:
    """Print commands that reproduce it, unbroken, so that they can be pasted."""
    console.print("\nTo reproduce:", style="dim")
    for command in commands:
        line = command if len(command) <= _LONGEST else f"({command[:40]}... is long; --json has it whole)"
        console.print(Text(f"  {plain(line)}", style="dim"), soft_wrap=True)


def print_whole(table: Table, names: Sequence[str], console: Console, column: int = 0) -> None:
    """Print a table with all its columns, and names in no less than `_NAME` letters a line, in this column.

    Where a terminal is too narrow for that its lines run on, which is better than figures without a name.
    """
    longest = max(cell_len(safe(name)) for name in names)
    table.columns[column].min_width = min(longest, _NAME)
    for each in table.columns:
        if each.no_wrap:
            lines = [line for cell in (each.header, *each.cells) for line in str(cell).splitlines()]
            each.min_width = max(map(cell_len, lines))
    width = console.width
    console.width = max(width, console.measure(table, options=console.options.update(width=_ENDLESS)).minimum)
    console.print()
    console.print(table)
    console.width = width


def reader(encoding: str) -> Callable[[str], str]:
    """What makes text fit for a terminal without Unicode, and for GitHub, which obeys lines of a job's log."""
    plain = str if encoding.lower().startswith("utf") else _ascii
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return plain
    return lambda text: _COMMAND.sub(r"\g<0> ", plain(text))


def _ascii(text: str) -> str:
    return ascii_only(text.replace(ARROW, "->").replace(AT_MOST, "<=").replace(AT_LEAST, ">="))


def _shown(rules: Sequence[Outcome]) -> tuple[list[Outcome], list[str]]:
    """The rules that have rows, and sentences on the others."""
    kept = [rule for rule in rules if rule.verdict == "pass"]
    others = [rule for rule in rules if rule.verdict != "pass"]
    shown, left = others[:_MOST], []
    if more := others[_MOST:]:
        broken = sum(rule.verdict == "fail" for rule in more)
        are = "is" if len(more) == 1 else "are"
        left.append(f"{so_many(len(more), 'more')} {are} not kept, {broken:,} of them surely broken; --json has all.")
    if len(kept) <= _MOST_KEPT:
        shown += kept
    else:
        left.append(f"{len(kept):,} rules pass: {counted(kept)}; --json has all.")
    return shown, left


def _table(rules: Sequence[Outcome], account: Account, plain: Callable[[str], str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim", border_style="dim")
    table.add_column("Verdict", no_wrap=True)
    of_energy = any(rule_text(rule).per for rule in rules)
    table.add_column("Task, rule;\nenergy per 1,000" if of_energy else "Task,\nrule", overflow="fold")
    for heading in (plain(f"Baseline\n{ARROW} candidate"), f"Change\n({account.level})", "Margin", "Would have\nseen"):
        table.add_column(heading, justify="right", no_wrap=heading != "Margin")
    for rule in rules:
        table.add_row(*_cells(rule, plain, several=account.several))
    return table


def _cells(rule: Outcome, plain: Callable[[str], str], *, several: bool) -> tuple[Text, ...]:
    told = rule_text(rule)
    cells = (told.sides("\n"), told.changed("\n"), told.margin, told.seen)
    return (
        Text(rule.verdict, style=_STYLES[rule.verdict]),
        Text(plain("\n".join(_name(rule, several=several)))),
        *(Text(plain(text)) for text in cells),
    )


def _name(rule: Outcome, *, several: bool) -> list[str]:
    """Lines that say what a rule is about."""
    unit = rule_text(rule).unit
    what = f"{rule_name(rule)}, {unit}" if unit not in ("", "points") else rule_name(rule)
    return [safe(rule.model)] * several + [safe(rule.task), what]


def _first(sentences: Sequence[str]) -> list[str]:
    """The first of many sentences, and how many there are besides."""
    more = len(sentences) - _MOST_REASONS
    return [*sentences[:_MOST_REASONS], *([f"{more:,} more; --json has all."] if more > 0 else [])]


def print_sentence(text: str, console: Console, style: str = "") -> None:
    """Print a sentence over as many lines as it takes."""
    for line in _lines(text, console, console.width):
        console.print(Text(line, style=style))


def _lines(text: str, console: Console, width: int) -> list[str]:
    """The lines of a sentence; a number and its percent sign stay together."""
    lines = Text(_BEFORE_UNIT.sub(_UNBROKEN, text)).wrap(console, width)
    return [line.plain.replace(_UNBROKEN, " ").rstrip() for line in lines]


def print_list(title: str, sentences: Sequence[str], console: Console, plain: Callable[[str], str]) -> None:
    """Print what is to be said beside a table, as far as there is anything."""
    if not sentences:
        return
    console.print(f"\n{title}", style="dim")
    for sentence in _first(sentences):
        for place, line in enumerate(_lines(plain(safe(sentence)), console, console.width - 4)):
            console.print(Text(f"{'    ' if place else '  - '}{line}", style="dim"))
