"""A page for each kind of hardware: its machines, meters, idle power, runs, and who leads in each view on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from joulemark.harness.record import MeterInfo
from joulemark.harness.store import canonical_json
from joulemark.reports.documents import view_title
from joulemark.reports.views import ALL
from joulemark.reports.wording import safe

from .board import Board, BoardRun, BoardView
from .sections import full_title, kind_of, line_of, once, section, views_by

__all__ = ["hardware_pages"]

_LEADING, _WHOLE, _OF_A_TASK, _LISTED = 10, 6, 100, 60
"""Rows of a view, views over all tasks, views of one task, and lines of any other list on a page; more is counted."""


def hardware_pages(board: Board) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """What gives the template's values, by the hardware's name. All of it comes from runs."""
    runs = {run.id: run for run in board.runs}
    return {
        name: partial(_values, name, views, runs) for name, views in views_by("hardware", once(board.views)).items()
    }


def _values(name: str, views: Sequence[BoardView], runs: Mapping[str, BoardRun]) -> dict[str, Any]:
    ids = dict.fromkeys(safe(row.run_id) for each in views for row in each.view.rows)
    own = sorted((runs[run_id] for run_id in ids), key=lambda run: run.id)
    machines = {run.machine_id: run.machine for run in own}
    whole = [each for each in views if each.view.task == ALL]
    single = [each for each in views if each.view.task != ALL]
    return {
        "name": safe(name),
        "machines": list(machines.items())[:_LISTED],
        "more_machines": max(0, len(machines) - _LISTED),
        "meters": _meters(own),
        "runs": [
            {"id": run.id, "page": run.page, "machine": run.machine_id} | run.facts for run in reversed(own[-_LISTED:])
        ],
        "more_runs": max(0, len(own) - _LISTED),
        "sections": [section(each, _LEADING) for each in whole[:_WHOLE]],
        "tasks": [_first(each) for each in single[:_OF_A_TASK]],
        "more_views": [(each.id, full_title(each)) for each in whole[_WHOLE:] + single[_OF_A_TASK:]],
    }


def _first(each: BoardView) -> dict[str, Any]:
    """A view of one task in a line: its first row, and how many may be first as well."""
    view = each.view
    may_be = sum(row.rank_low == 1 for row in view.ranked)
    return {
        "id": each.id,
        "title": view_title(view),
        "kind": kind_of(each),
        "of": each.ranked,
        "rows": len(view.rows),
        "units": (each.columns.rate.name, each.columns.energy.name),
        "row": line_of(each, view.rows[0]) if view.ranked else None,
        "tied": may_be - 1 if may_be > 1 else 0,
    }


def _meters(runs: Sequence[BoardRun]) -> list[MeterInfo]:
    """Each meter once, however many runs read it."""
    known = {canonical_json(meter.model_dump(mode="json")): meter for run in runs for meter in run.meters}
    return [known[key] for key in sorted(known)][:_LISTED]
