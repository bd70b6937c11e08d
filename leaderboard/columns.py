"""The site's data: all rows as columns, so that 50,000 rows stay small.

Of an entrant what is the same in all views is told once, and a row has its number. Texts are numbers of a list. What a
page can work out is left out: ``rate`` is 10 x quality / energy, and the upper end of an interval that is even on the
log scale is value^2 / lower end; such an end is told by how far it lies below its value, in millionths. Where the page
would then show another figure the figure stands itself, in brackets. `web/data.ts` puts all of it back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from joulemark.harness.store import canonical_json
from joulemark.reports.clauses import workload_factor
from joulemark.reports.documents import view_subject
from joulemark.reports.findings import finding
from joulemark.reports.rows import Figures, Row
from joulemark.reports.views import View
from joulemark.reports.wording import safe

from .board import Board, BoardView
from .names import page_name
from .pairs import MOST_PAIRED
from .sections import notes_of

__all__ = ["BOARD_SCHEMA", "as_columns", "as_script", "later_scripts"]

BOARD_SCHEMA = "joulemark.board/1"
_DIGITS, _DIGITS_OF_LIMITS, _DIGITS_OF_RATES = 7, 5, 6
_PARTS = 1_000_000
"""An end of an interval is told in such parts of its value."""
_STEPS = (100, 10, 1)
"""Of these parts; round numbers take less when they are compressed."""
_EDITION = 6
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


def as_columns(board: Board, successors: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Views, names, entrants and columns; a view's rows lie together, best first, as `joulemark rank` has them.

    Figures have 7 digits, ends of intervals 5, if the page then shows the same; the files beside have them whole.

    Args:
        board: What to tell.
        successors: Of runs that are gone by which of the board's each was superseded, for links that name it.
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
    return {
        "schema": BOARD_SCHEMA,
        "most_paired": MOST_PAIRED,
        "views": _views(board.views),
        "names": names,
        "pages": {"model": [page_name(name) for name in names["model"]], "run": _run_pages(board, names["run"])},
        "successors": dict(successors or {}),
        "entrants": dict(zip(_OF_ENTRANT, map(list, zip(*entrants, strict=True)), strict=True)),
        "columns": _packed(columns),
    }


def as_script(board: Board, successors: Mapping[str, str] | None = None) -> str:
    """The same as a classic script: pages that were opened from a file may not fetch one."""
    return f"window.joulemarkBoard={_json(as_columns(board, successors))};\n"


def later_scripts(each: BoardView) -> Iterator[tuple[str, str]]:
    """What of a view comes when it is needed, by its name under ``data/``: classic scripts, for the same reason.

    They tell the view's edition: a browser may have kept one of another day, which its rows must not be ranked by.
    """
    words = _json({"finding": finding(each.view), "notes": notes_of(each.view)})
    for name, told in (("words", words), ("pairs", each.pairs)):
        if told is not None:
            key = f"{name}/{each.id} {_edition(each)}"
            yield f"{name}/{each.id}.js", f'(window.joulemarkParts??={{}})["{key}"]={told};\n'


def _json(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"), allow_nan=False)


def _views(views: Sequence[BoardView]) -> dict[str, list[Any]]:
    """What is told of each, as columns, too."""
    asked: dict[str, int] = {}
    told = [_view(each, asked) for each in views]
    return {name: [each[name] for each in told] for name in told[0]}


def _view(each: BoardView, asked: dict[str, int]) -> dict[str, Any]:
    view, columns = each.view, each.columns
    return {
        "id": each.id,
        "task": safe(view.task),
        "what": view_subject(view),
        "peculiar": safe(view.peculiar),
        "hardware": safe(view.hardware),
        "grade": view.grade,
        "scope": view.scope,
        "modelled_by": view.modelled_by,
        "feigned": _feigned(view),
        "asked": asked.setdefault(canonical_json([view.task, view.asked]), len(asked)),
        "floor": view.quality_floor,
        "energy_unit": [columns.energy.name, columns.energy.factor],
        "rate_unit": [columns.rate.name, columns.rate.factor],
        "rows": len(view.rows),
        "edition": _edition(each),
    }


def _edition(each: BoardView) -> str:
    """Another one where rows are others, or stand otherwise; what is said of them and their pairs follow from that."""
    rows = [(row.label, row.run_id, row.rank, row.rank_low, row.rank_high, row.frontier) for row in each.view.rows]
    figures = [(row.correct_per_wh, row.energy_wh_per_1k, row.quality) for row in each.view.rows]
    return hashlib.sha256(repr((rows, figures)).encode("utf-8", "replace")).hexdigest()[:_EDITION]


def _feigned(view: View) -> float:
    """The ratio of two models' energies that the power model alone may feign; 1 where energy is measured."""
    if view.modelled_by is None:
        return 1.0
    return float(f"{workload_factor(max((row.rel_u_workload or 0.0 for row in view.rows), default=0.0)):.3g}")


def _run_pages(board: Board, ids: Sequence[str]) -> list[str]:
    pages = {run.id: run.page for run in board.runs}
    return [pages[name] for name in ids]


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
    below: int | None = None
    for step in _STEPS:
        below = round((1 - low / value) * _PARTS / step) * step
        own = value * (1 - below / _PARTS)
        if own and _reads(own, low) and _reads(value * value / own, high):
            return below, 0
    if not _reads(own, low):
        own, below = _shortened(low, _DIGITS_OF_LIMITS), None
    upper = 0 if own and _reads(value * value / own, high) else _bracketed(high)
    return _bracketed(low) if below is None else below, upper


def _reads(own: float, end: float) -> bool:
    return _alike(own, end, _DIGITS_OF_LIMITS)


def _bracketed(value: float | None) -> list[float] | None:
    return None if value is None else [_shortened(value, _DIGITS_OF_LIMITS)]


def _alike(one: float, other: float, digits: int) -> bool:
    """Whether both read the same with so many digits, and with fewer."""
    text = f"{one:.{digits}g}"
    if text != f"{other:.{digits}g}":
        return False
    return not _halfway(text) or all(f"{one:.{n}g}" == f"{other:.{n}g}" for n in range(digits - 1, 0, -1))


def _halfway(text: str) -> bool:
    """Only a number that ends in 5 can lie between two shorter ones, and be rounded to either."""
    return text.partition("e")[0].rstrip("0.").endswith("5")


def _short(name: str, values: Sequence[Any]) -> list[Any]:
    digits = _DIGITS_OF_LIMITS if name.endswith(("_low", "_high", "_mb")) else _DIGITS
    return [_shortened(value, digits) if isinstance(value, float) else value for value in values]


def _shortened(value: float, digits: int) -> float:
    """With so many digits; with all where rounding twice, here and on the page, would show another figure."""
    text = f"{value:.{digits}g}"
    short = float(text)
    return short if not _halfway(text) or _alike(short, value, digits) else value
