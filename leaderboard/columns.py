"""The site's data: all rows as columns, so that 50,000 rows stay small.

Of an entrant what is the same in all views is told once, and a row has its number. Texts are numbers of a list. What a
page can work out is left out: ``rate`` is 10 x quality / energy, and the upper end of an interval that is even on the
log scale is value^2 / lower end; such an end is told by how far it lies below its value, in millionths. Where the page
would then show another figure the figure stands itself, in brackets. `web/data.ts` puts all of it back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from joulemark.harness.store import canonical_json
from joulemark.reports.caveats import caveats
from joulemark.reports.documents import view_title
from joulemark.reports.findings import finding, grade_sentence, interval_sentence
from joulemark.reports.rows import Figures, Row
from joulemark.reports.table import Columns
from joulemark.reports.views import ALL, View
from joulemark.reports.wording import safe

from .board import Board, BoardView, page_name
from .pairs import Pairs

__all__ = ["BOARD_SCHEMA", "as_columns", "as_script"]

BOARD_SCHEMA = "joulemark.board/1"
_DIGITS, _DIGITS_OF_LIMITS, _DIGITS_OF_RATES = 7, 5, 6
_PARTS = 1_000_000
"""An end of an interval is told in such parts of its value."""
_NAMES = ("label", "run", "model", "frontier", "licence", "precision", "kind")
"""Columns that hold numbers of a list in ``names``; the others hold figures."""
_OF_ENTRANT = ("label", "run", "model", "licence", "precision", "kind", "params")
"""What is the same in all views, but for labels of a few."""

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
    """Views, names, entrants and columns; a view's rows lie together, best first, as `joulemark rank` has them.

    Figures have 7 digits, ends of intervals 5, if the page then shows the same; the files beside have them whole.
    """
    pairs = [(row, own) for each in board.views for row, own in zip(each.view.rows, each.view.figures, strict=True)]
    columns = {name: [read(row, own) for row, own in pairs] for name, read in _COLUMNS.items()}
    names = {name: sorted({value for value in columns[name] if value is not None}) for name in _NAMES}
    for name, known in names.items():
        number = {value: at for at, value in enumerate(known)}
        columns[name] = [None if value is None else number[value] for value in columns[name]]
    entrants: dict[tuple[Any, ...], int] = {}
    told = zip(*(columns.pop(name) for name in _OF_ENTRANT), strict=True)
    columns["entrant"] = [entrants.setdefault(each, len(entrants)) for each in told]
    texts: dict[str, int] = {}
    return {
        "schema": BOARD_SCHEMA,
        "views": _views(board.views, texts),
        "texts": list(texts),
        "names": names,
        "pages": {"model": [page_name(name) for name in names["model"]], "run": _run_pages(board, names["run"])},
        "entrants": dict(zip(_OF_ENTRANT, map(list, zip(*entrants, strict=True)), strict=True)),
        "columns": _packed(columns),
    }


def as_script(board: Board) -> str:
    """The same as a classic script: pages that were opened from a file may not fetch one."""
    return f"window.joulemarkBoard={json.dumps(as_columns(board), separators=(',', ':'), allow_nan=False)};\n"


def variant(each: BoardView) -> str:
    """What tells a view from others of the same task, hardware and grade."""
    view = each.view
    count = f"{len(view.tasks)} {'task' if len(view.tasks) == 1 else 'tasks'}" if view.task == ALL else ""
    return ", ".join(filter(None, (count, view.scope or "no energy", safe(view.peculiar))))


def _views(views: Sequence[BoardView], texts: dict[str, int]) -> list[dict[str, Any]]:
    """What is told of each; its notes, which many share, are numbers of ``texts``."""
    told, start = [], 0
    asked: dict[str, int] = {}
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
                "asked": asked.setdefault(canonical_json([view.task, view.asked]), len(asked)),
                "floor": view.quality_floor,
                "energy_unit": [columns.energy.name, columns.energy.factor],
                "rate_unit": [columns.rate.name, columns.rate.factor],
                "finding": finding(view),
                "notes": [texts.setdefault(note, len(texts)) for note in _notes(view)],
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


def _notes(view: View) -> list[str]:
    return [note for note in (grade_sentence(view), interval_sentence(view), *caveats(view)) if note]


def _packed(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The columns as they are sent."""
    short = {name: _short(name, values) for name, values in columns.items()}
    energy, quality = short["energy"], short["quality"]
    rate = [_figure(rate) for rate in zip(quality, energy, columns["rate"], strict=True)]
    whole = {"energy": energy, "rate": [_unpacked_rate(*each) for each in zip(quality, energy, rate, strict=True)]}
    for name, values in whole.items():
        ends = zip(values, columns[f"{name}_low"], columns[f"{name}_high"], strict=True)
        both = [_ends(*each) for each in ends]
        short |= {f"{name}_low": [low for low, _ in both], f"{name}_high": [high for _, high in both]}
    for end in ("rank_low", "rank_high"):
        apart = zip(columns["rank"], columns[end], strict=True)
        short[end] = [None if rank is None or own is None else abs(own - rank) for rank, own in apart]
    return short | {"rate": rate}


def _figure(told: tuple[float | None, float | None, float | None]) -> Any:
    """A rate: 0 where the page works it out, itself in brackets where it would show another."""
    quality, energy, rate = told
    if rate is None:
        return None
    return (
        0
        if quality is not None and energy and _alike(10 * quality / energy, rate, _DIGITS_OF_RATES)
        else [_shortened(rate, _DIGITS)]
    )


def _unpacked_rate(quality: float | None, energy: float | None, rate: Any) -> float | None:
    """As the page has it."""
    if quality is None or not energy or rate is None:
        return None
    return rate[0] if isinstance(rate, list) else 10 * quality / energy


def _ends(value: float | None, low: float | None, high: float | None) -> tuple[Any, Any]:
    """Both ends of an interval that is even on the log scale."""
    if value is None or low is None or high is None:
        return _bracketed(low), _bracketed(high)
    below = round((1 - low / value) * _PARTS)
    own = value * (1 - below / _PARTS)
    lower: Any = below
    if not _alike(own, low, _DIGITS_OF_LIMITS):
        own = _shortened(low, _DIGITS_OF_LIMITS)
        lower = [own]
    return lower, 0 if own and _alike(value * value / own, high, _DIGITS_OF_LIMITS) else _bracketed(high)


def _bracketed(value: float | None) -> list[float] | None:
    return None if value is None else [_shortened(value, _DIGITS_OF_LIMITS)]


def _alike(one: float, other: float, digits: int) -> bool:
    """Whether both read the same with so many digits, and with fewer."""
    return all(f"{one:.{n}g}" == f"{other:.{n}g}" for n in range(digits, 0, -1))


def _short(name: str, values: Sequence[Any]) -> list[Any]:
    digits = _DIGITS_OF_LIMITS if name.endswith(("_low", "_high", "_mb")) else _DIGITS
    return [_shortened(value, digits) if isinstance(value, float) else value for value in values]


def _shortened(value: float, digits: int) -> float:
    """With so many digits; with all where rounding twice, here and on the page, would show another figure."""
    short = float(f"{value:.{digits}g}")
    return short if _alike(short, value, digits) else value
