"""A run's page and file: all raw figures, flags, and how to reproduce them; superseded runs keep theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from joulemark.reports.flags import in_words
from joulemark.reports.wording import MISSING, joined, number, safe

from .board import BoardRun, BoardView, ToldCell
from .history import Change
from .names import page_name
from .sections import full_title

__all__ = ["run_values"]


def run_values(run: BoardRun, views: Sequence[BoardView], change: Change | None) -> dict[str, Any]:
    """What the template of its page takes.

    Args:
        run: The run.
        views: Those that have it; none where it is superseded.
        change: How it came into the store; None where there is none.
    """
    # All tasks of a run with a single one are that one: two views of one title.
    titles = {full_title(each): each.id for each in reversed(views)}
    hardware = dict.fromkeys(each.view.hardware for each in views)
    return {
        "run": run,
        "cells": [_cell(cell) for cell in run.cells],
        "more": run.cell_count - len(run.cells),
        "flags": _flags(run.flags),
        "cut": any("=" in command or "--include-path" in command for command in run.again),
        "views": [(name, title) for title, name in reversed(titles.items())],
        "hardware": [(safe(name), page_name(name)) for name in hardware],
        "change": change,
    }


def _flags(flags: Sequence[str]) -> list[tuple[str, str]]:
    """Those that a reader can be told the meaning of."""
    words = {safe(flag): joined(in_words([flag])) for flag in flags}
    return [(flag, meaning) for flag, meaning in words.items() if meaning != flag]


def _cell(cell: ToldCell) -> dict[str, Any]:
    measured = [cell.accuracy, cell.gross_j, cell.net_j, cell.window_s]
    loops = MISSING if cell.loops is None else f"{cell.loops:,}"
    return cell._asdict() | {"figures": [f"{cell.n_items:,}", *map(number, measured), loops]}
