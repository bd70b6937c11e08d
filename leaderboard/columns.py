"""The site's data: all rows as columns, names as numbers of a list, so that 50,000 rows stay small."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from joulemark.reports.caveats import caveats
from joulemark.reports.documents import view_title
from joulemark.reports.findings import finding, grade_sentence, interval_sentence
from joulemark.reports.rows import Figures, Row
from joulemark.reports.table import Columns
from joulemark.reports.views import ALL
from joulemark.reports.wording import safe

from .board import Board, BoardView, page_name
from .pairs import Pairs

__all__ = ["BOARD_SCHEMA", "as_columns", "as_script"]

BOARD_SCHEMA = "joulemark.board/1"
_DIGITS, _DIGITS_OF_LIMITS = 7, 5
_NAMES = ("label", "run", "model", "frontier", "licence", "precision", "kind")
"""Columns that hold numbers of a list in ``names``; the others hold figures."""

Read = Callable[[Row, Figures], Any]
_COLUMNS: dict[str, Read] = {
    "label": lambda row, _: safe(row.label),
    "model": lambda row, _: safe(row.model),
    "run": lambda row, _: safe(row.run_id),
    "frontier": lambda row, _: row.frontier,
    "licence": lambda _, figures: figures.entrant.info.licence and safe(figures.entrant.info.licence),
    "precision": lambda row, _: safe(str(row.setting["dtype"])) if row.setting.get("dtype") else None,
    "kind": lambda row, _: row.kind and safe(row.kind),
    "quality": lambda row, _: row.quality,
    "quality_low": lambda row, _: row.quality_low,
    "quality_high": lambda row, _: row.quality_high,
    "energy": lambda row, _: row.energy_wh_per_1k,
    "energy_low": lambda row, _: row.energy_wh_per_1k_within_low,
    "energy_high": lambda row, _: row.energy_wh_per_1k_within_high,
    "rate": lambda row, _: row.correct_per_wh,
    "rate_low": lambda row, _: row.correct_per_wh_within_low,
    "rate_high": lambda row, _: row.correct_per_wh_within_high,
    "rank": lambda row, _: row.rank,
    "rank_low": lambda row, _: row.rank_low,
    "rank_high": lambda row, _: row.rank_high,
    "params": lambda row, _: row.params,
    "memory_mb": lambda row, _: row.peak_rss_mb if row.peak_gpu_mb is None else row.peak_gpu_mb,
    "items": lambda row, _: row.items,
    "repeats": lambda row, _: row.repeats,
}


def as_columns(board: Board) -> dict[str, Any]:
    """Views, names and columns; a view's rows lie together, best first, as `joulemark rank` has them.

    Figures have 7 digits, ends of intervals 5, if the page then shows the same; the files beside have them whole.
    """
    pairs = [(row, own) for each in board.views for row, own in zip(each.view.rows, each.view.figures, strict=True)]
    columns = {name: [read(row, own) for row, own in pairs] for name, read in _COLUMNS.items()}
    names = {name: sorted({value for value in columns[name] if value is not None}) for name in _NAMES}
    for name, known in names.items():
        number = {value: at for at, value in enumerate(known)}
        columns[name] = [None if value is None else number[value] for value in columns[name]]
    return {
        "schema": BOARD_SCHEMA,
        "views": _views(board.views),
        "names": names,
        "pages": {"model": [page_name(name) for name in names["model"]], "run": _run_pages(board, names["run"])},
        "columns": {name: _short(name, values) for name, values in columns.items()},
    }


def as_script(board: Board) -> str:
    """The same as a classic script: pages that were opened from a file may not fetch one."""
    return f"window.joulemarkBoard={json.dumps(as_columns(board), separators=(',', ':'), allow_nan=False)};\n"


def variant(each: BoardView) -> str:
    """What tells a view from others of the same task, hardware and grade."""
    view = each.view
    count = f"{len(view.tasks)} {'task' if len(view.tasks) == 1 else 'tasks'}" if view.task == ALL else ""
    return ", ".join(filter(None, (count, view.scope or "no energy", safe(view.peculiar))))


def _views(views: Sequence[BoardView]) -> list[dict[str, Any]]:
    told, start = [], 0
    for each in views:
        view, end = each.view, start + len(each.view.rows)
        columns = Columns(view)
        told.append(
            {
                "id": each.id,
                "title": view_title(view),
                "task": safe(view.task),
                "hardware": safe(view.hardware),
                "grade": view.grade,
                "variant": variant(each),
                "floor": view.quality_floor,
                "energy_unit": [columns.energy.name, columns.energy.factor],
                "rate_unit": [columns.rate.name, columns.rate.factor],
                "finding": finding(view),
                "notes": [grade_sentence(view), interval_sentence(view), *caveats(view)],
                "start": start,
                "end": end,
                "pairs": _pairs(each.pairs),
            }
        )
        start = end
    return told


def _pairs(pairs: Pairs | None) -> dict[str, Any] | None:
    return None if pairs is None else {"rows": pairs.rows, "p": pairs.p, "beaten_by": pairs.beaten_by}


def _run_pages(board: Board, ids: Sequence[str]) -> list[str]:
    pages = {run.id: run.page for run in board.runs}
    return [pages[name] for name in ids]


def _short(name: str, values: Sequence[Any]) -> list[Any]:
    digits = _DIGITS_OF_LIMITS if name.endswith(("_low", "_high", "_mb")) else _DIGITS
    return [_shortened(value, digits) if isinstance(value, float) else value for value in values]


def _shortened(value: float, digits: int) -> float:
    """With so many digits; with all where rounding twice, here and on the page, would show another figure."""
    short = float(f"{value:.{digits}g}")
    return short if all(f"{short:.{n}g}" == f"{value:.{n}g}" for n in range(1, digits)) else value
