"""A view as a table with what a reader must know, for any page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from joulemark.reports.caveats import caveats
from joulemark.reports.documents import told_once, view_title
from joulemark.reports.findings import finding, grade_sentence, interval_sentence
from joulemark.reports.rows import Figures, Row
from joulemark.reports.table import rank_text
from joulemark.reports.views import ALL, View
from joulemark.reports.wording import draws_share, safe

from .board import BoardView

__all__ = [
    "Place",
    "full_title",
    "kind_of",
    "line_of",
    "notes_of",
    "once",
    "places_by_model",
    "section",
    "task_title",
    "views_by",
]


class Place(NamedTuple):
    """A row where it stands."""

    each: BoardView
    row: Row
    figures: Figures


def section(each: BoardView, most: int) -> dict[str, Any]:
    """A view with its first rows, and how many are not among them."""
    view, columns = each.view, each.columns
    more = len(view.rows) - most
    return {
        "id": each.id,
        "title": view_title(view),
        "kind": kind_of(each),
        "finding": finding(view),
        "notes": notes_of(view),
        "heads": [columns.rate_title, f"{columns.energy.name} per 1,000 answers", columns.quality_title or "Quality"],
        "rows": [line_of(each, row) for row in view.rows[:most]],
        "more": f"{more:,} more {'row is' if more == 1 else 'rows are'} in the files." if more > 0 else "",
    }


def line_of(each: BoardView, row: Row) -> dict[str, Any]:
    """A row as text."""
    columns = each.columns
    return {
        "rank": rank_text(row),
        "label": safe(row.label),
        "model": row.model,
        "run": row.run_id,
        "figures": [columns.right_per_wh(row), columns.energy_per_1k(row), columns.quality(row)],
        "frontier": row.frontier,
        "likely": "" if row.p_frontier is None else draws_share(row.p_frontier, row.frontier),
    }


def views_by(key: str, views: Sequence[BoardView]) -> Mapping[str, list[BoardView]]:
    """Views of one task, or of one hardware, together; in the order of the board."""
    groups: dict[str, list[BoardView]] = defaultdict(list)
    for each in views:
        groups[getattr(each.view, key)].append(each)
    return groups


def once(views: Sequence[BoardView]) -> list[BoardView]:
    """Without those of a single task that a view over all tasks shows already."""
    told = {*map(id, told_once([each.view for each in views]))}
    return [each for each in views if id(each.view) in told]


def places_by_model(views: Sequence[BoardView]) -> Mapping[str, list[Place]]:
    """Every row by its model's name."""
    groups: dict[str, list[Place]] = defaultdict(list)
    for each in views:
        for row, figures in zip(each.view.rows, each.view.figures, strict=True):
            groups[row.model].append(Place(each=each, row=row, figures=figures))
    return dict(sorted(groups.items()))


def task_title(name: str) -> str:
    """A task's name, for a heading."""
    return "All tasks" if name == ALL else safe(name)


def notes_of(view: View) -> list[str]:
    """What stands below a view's table."""
    return [note for note in (grade_sentence(view), interval_sentence(view), *caveats(view)) if note]


def full_title(each: BoardView) -> str:
    """A view's title and how its energy was obtained, which tell it from all others."""
    return f"{view_title(each.view)} ({kind_of(each)})"


def kind_of(each: BoardView) -> str:
    """How the energy of a view was obtained, and what it covers."""
    return f"{each.view.grade}, {each.view.scope}" if each.view.grade else "no energy"
