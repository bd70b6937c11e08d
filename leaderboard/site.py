"""The static site: pages, data and its one script, each a file's bytes; the same board gives the same bytes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any

from joulemark.harness.record import Cell
from joulemark.reports.caveats import caveats
from joulemark.reports.documents import MOST_ROWS, as_csv, json_text, view_title
from joulemark.reports.findings import finding, grade_sentence, interval_sentence
from joulemark.reports.html import templates
from joulemark.reports.method import method
from joulemark.reports.rows import Row
from joulemark.reports.table import Columns, rank_text
from joulemark.reports.views import ALL, View
from joulemark.reports.wording import draws_share, number, reach, safe

from .board import Board, BoardRun, BoardView, page_name
from .columns import as_script
from .pairs import MOST_PAIRED

__all__ = ["FIRST_ROWS", "render_site"]

FIRST_ROWS = 50
"""Rows of the board's first page; its script turns to the others."""
_STATIC = ("board.js", "board.css")


def render_site(board: Board, base_url: str | None = None) -> dict[str, bytes]:
    """Every file of the site by its path.

    Args:
        board: What to show.
        base_url: Where it will stand, for links that must be whole; pages link each other without it.
    """
    made = {name: (files("joulemark.leaderboard") / "static" / name).read_bytes() for name in _STATIC}
    made["data.js"] = as_script(board).encode()
    for each in board.views:
        made[f"data/{each.id}.json"] = json_text([each.view]).encode()
        made[f"data/{each.id}.csv"] = as_csv([each.view]).encode()
    made["data/rank.json"] = json_text([each.view for each in board.views]).encode()
    for run in board.runs:
        made[f"data/run/{run.page}.json"] = _cells_json(run)
    pages = templates("joulemark.leaderboard", page_name=page_name, safe_text=safe, reach=reach, number=number)
    for path, template, values in _pages(board):
        common = {
            "root": "../" * path.count("/"),
            "canonical": f"{base_url.rstrip('/')}/{path}" if base_url else "",
            "path": path,
        }
        made[path] = pages.get_template(template).render(**common, **values).encode()
    return dict(sorted(made.items()))


def _pages(board: Board) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, template and values of every page."""
    views = board.views
    tasks, models = _by_task(views), _by_model(views)
    first = replace(views[0].view, rows=views[0].view.rows[:FIRST_ROWS], figures=views[0].view.figures[:FIRST_ROWS])
    yield (
        "index.html",
        "index.html.j2",
        {
            "section": _section(views[0], first),
            "counts": {"runs": len(board.runs), "models": len(models), "tasks": len(tasks.keys() - {ALL})},
            "tasks": [(_task_title(name), page_name(name)) for name in tasks],
        },
    )
    how = {"sections": method([each.view for each in views]), "most_paired": MOST_PAIRED}
    yield "method.html", "method.html.j2", how
    for name, own in tasks.items():
        sections = [_section(each, _few(each.view)) for each in own]
        yield f"task/{page_name(name)}.html", "task.html.j2", {"title": _task_title(name), "sections": sections}
    for name, places in models.items():
        yield f"model/{page_name(name)}.html", "model.html.j2", _model(name, places, board)
    for run in board.runs:
        yield f"run/{run.page}.html", "run.html.j2", _run(run, views)


def _section(each: BoardView, shown: View) -> dict[str, Any]:
    """A view as a table with what a reader must know; of its rows those of ``shown``."""
    view, columns = each.view, Columns(each.view)
    more = len(view.rows) - len(shown.rows)
    return {
        "id": each.id,
        "title": view_title(view),
        "kind": _kind(view),
        "finding": finding(view),
        "notes": list(filter(None, [grade_sentence(view), interval_sentence(view), *caveats(view)])),
        "heads": [columns.rate_title, f"{columns.energy.name} per 1,000 answers", columns.quality_title or "Quality"],
        "rows": [_line(row, columns) for row in shown.rows],
        "more": f"{more:,} more rows are in the files." if more else "",
    }


def _line(row: Row, columns: Columns) -> dict[str, Any]:
    return {
        "rank": rank_text(row),
        "label": safe(row.label),
        "model": row.model,
        "run": row.run_id,
        "figures": [columns.right_per_wh(row), columns.energy_per_1k(row), columns.quality(row)],
        "frontier": row.frontier,
        "likely": "" if row.p_frontier is None else draws_share(row.p_frontier, row.frontier),
    }


def _model(name: str, places: Sequence[tuple[BoardView, Row]], board: Board) -> dict[str, Any]:
    """A model wherever it was measured."""
    each, row = places[0]
    info = next(f.entrant.info for f, own in zip(each.view.figures, each.view.rows, strict=True) if own is row)
    facts = [
        ("Kind", info.kind),
        ("Parameters", info.params and f"{info.params:,}"),
        ("Of them active", info.active_params and f"{info.active_params:,}"),
        ("Size on disk", info.bytes and f"{number(info.bytes / 1e6)} MB"),
        ("Licence", info.licence),
    ]
    pages = {run.id: run.page for run in board.runs}
    lines = []
    for place, own in places:
        columns = Columns(place.view)
        where = {
            "view": place.id,
            "title": view_title(place.view),
            "kind": _kind(place.view),
            "units": (columns.rate.name, columns.energy.name),
            "page": pages[safe(own.run_id)],
            "of": len(place.view.ranked),
        }
        lines.append(_line(own, columns) | where)
    return {
        "name": safe(name),
        "facts": [(key, safe(str(value or "not told"))) for key, value in facts],
        "lines": lines,
    }


def _run(run: BoardRun, views: Sequence[BoardView]) -> dict[str, Any]:
    mine = [each for each in views if any(row.run_id == run.id for row in each.view.rows)]
    # All tasks of a run with a single one are that one: two views of one title.
    titles = {f"{view_title(each.view)} ({each.view.grade or 'no energy'})": each.id for each in reversed(mine)}
    return {
        "run": run,
        "cells": [_cell(cell) for cell in run.cells[:MOST_ROWS]],
        "more": max(0, len(run.cells) - MOST_ROWS),
        "views": [(name, title) for title, name in reversed(titles.items())],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    energy = cell.energy
    measured = [energy.gross_j, energy.net_j, energy.window_s, energy.loops] if energy else [None] * 4
    return {
        "model": safe(cell.model),
        "task": safe(cell.task),
        "repeat": cell.repeat,
        "status": cell.status,
        "figures": [f"{cell.n_items:,}", *(number(value) for value in (cell.accuracy, *measured))],
        "flags": safe(", ".join(cell.flags)),
    }


def _cells_json(run: BoardRun) -> bytes:
    """The run as it was measured, cell by cell."""
    content = {
        "run_id": run.id,
        "submission_sha256": run.sha256,
        "cells": [cell.model_dump(mode="json", by_alias=True, exclude={"sha256"}) for cell in run.cells],
    }
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _by_task(views: Sequence[BoardView]) -> Mapping[str, list[BoardView]]:
    groups: dict[str, list[BoardView]] = defaultdict(list)
    for each in views:
        groups[each.view.task].append(each)
    return groups


def _by_model(views: Sequence[BoardView]) -> Mapping[str, list[tuple[BoardView, Row]]]:
    groups: dict[str, list[tuple[BoardView, Row]]] = defaultdict(list)
    for each in views:
        for row in each.view.rows:
            groups[row.model].append((each, row))
    return dict(sorted(groups.items()))


def _task_title(name: str) -> str:
    return "All tasks" if name == ALL else safe(name)


def _kind(view: View) -> str:
    """How the energy of a view was obtained, and what it covers."""
    return f"{view.grade}, {view.scope}" if view.grade else "no energy"


def _few(view: View) -> View:
    return replace(view, rows=view.rows[:MOST_ROWS], figures=view.figures[:MOST_ROWS])
