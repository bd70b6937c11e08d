"""A run's page and file: all raw figures, flags, and how to reproduce them; superseded runs keep theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from joulemark.harness.record import Cell
from joulemark.reports.documents import view_title
from joulemark.reports.wording import MISSING, number, safe

from .board import BoardRun, BoardView, page_name
from .history import Change
from .sections import kind_of

__all__ = ["run_values"]


def run_values(run: BoardRun, views: Sequence[BoardView], change: Change | None) -> dict[str, Any]:
    """What the template of its page takes.

    Args:
        run: The run.
        views: Those that have it; none where it is superseded.
        change: How it came into the store; None where there is none.
    """
    # All tasks of a run with a single one are that one: two views of one title.
    titles = {f"{view_title(each.view)} ({kind_of(each)})": each.id for each in reversed(views)}
    hardware = dict.fromkeys(each.view.hardware for each in views)
    return {
        "run": run,
        "cells": [_cell(cell) for cell in run.cells],
        "more": run.cell_count - len(run.cells),
        "views": [(name, title) for title, name in reversed(titles.items())],
        "hardware": [(safe(name), page_name(name)) for name in hardware],
        "change": change,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    energy = cell.energy
    measured = [energy.gross_j, energy.net_j, energy.window_s] if energy else [None] * 3
    loops = f"{energy.loops:,}" if energy else MISSING
    return {
        "model": safe(cell.model),
        "task": safe(cell.task),
        "repeat": cell.repeat,
        "status": cell.status,
        "figures": [f"{cell.n_items:,}", *(number(value) for value in (cell.accuracy, *measured)), loops],
        "flags": safe(", ".join(cell.flags)),
    }
