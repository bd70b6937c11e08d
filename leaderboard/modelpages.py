"""A model's page and badge: wherever it was measured, and the widest view that has it in a few words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from joulemark.reports.documents import view_title
from joulemark.reports.rows import Row
from joulemark.reports.views import ALL
from joulemark.reports.wording import DASH, number, rough, safe, span

from .names import page_name
from .sections import Place, kind_of, line_of
from .subjects import short_hardware, shortened

__all__ = ["badge", "badge_json", "model_values"]

_SERVICE = "https://img.shields.io/endpoint?url="
"""Draws a badge from such a file; only who shows the badge asks it for anything."""
_UNRANKED, _MODELLED, _MEASURED = "lightgrey", "57606a", "0072b2"
"""Colours say how the energy was obtained, never how good a model is."""


def model_values(name: str, places: Sequence[Place], pages: Mapping[str, str], base_url: str) -> dict[str, Any]:
    """What the template of its page takes.

    Args:
        name: The model.
        places: Its rows, in the order of the board.
        pages: Names of runs' pages by run.
        base_url: Where the site will stand; empty where nobody knows.
    """
    info = places[0].figures.entrant.info
    facts = [
        ("Kind", info.kind),
        ("Parameters", info.params and f"{info.params:,}"),
        ("Of them active", info.active_params and f"{info.active_params:,}"),
        ("Size on disk", info.bytes and f"{number(info.bytes / 1e6)} MB"),
        ("Licence", info.licence),
    ]
    own = page_name(name)
    return {
        "name": safe(name),
        "facts": [(key, safe(str(value or "not told"))) for key, value in facts],
        "lines": [_line(place, pages) for place in places],
        "badge": badge(places),
        "badge_file": f"badge/{own}.json",
        "badge_line": _markdown(own, base_url) if base_url else "",
    }


def badge(places: Sequence[Place]) -> dict[str, Any]:
    """What Shields draws: the range of its ranks, among how many, in which view, and how the energy was obtained.

    The view is the widest that has it, whether it is ranked there or not: a badge of the view in which a model does
    best would say more for it than the board does.
    """
    own = widest(places)
    view = own[0].each.view
    ranked = any(place.row.rank is not None for place in own)
    colour = (_MODELLED if view.grade == "modelled" else _MEASURED) if ranked else _UNRANKED
    label = f"quality per Wh, {short_hardware(own[0].figures.entrant.machine)}"
    return {"schemaVersion": 1, "label": label, "message": badge_text(own), "color": colour}


def badge_text(own: Sequence[Place]) -> str:
    """Such as ``2-3 of 7 over 9 tasks, 1 run, 41,000 right/Wh, modelled``, from all rows of a model in a view."""
    view = own[0].each.view
    many = len(view.tasks)
    what = f"over {many} tasks" if view.task == ALL and many > 1 else f"on {shortened(view.tasks[0])}"
    measured = any(place.row.energy_wh_per_1k is not None for place in own)
    grade = view.grade if view.grade and measured else "no energy"
    rows = [place.row for place in own if place.row.rank is not None]
    if not rows:
        return f"not ranked {what}, {_rows_of(own)}, {grade}"
    low, high = min(row.rank_low or 1 for row in rows), max(row.rank_high or own[0].each.ranked for row in rows)
    rank = f"{low}" if low == high else span(low, high, 0)
    without = len(own) - len(rows)
    who = f"{_rows_of(own)}{f' ({without} not ranked)' if without else ''}"
    return f"{rank} of {own[0].each.ranked} {what}, {who}, {_rates(rows)} right/Wh, {grade}"


def widest(places: Sequence[Place]) -> list[Place]:
    """Its rows in the view of most tasks and, of these, the best grade: views come in that order."""
    return [place for place in places if place.each is places[0].each]


def _rows_of(own: Sequence[Place]) -> str:
    runs = len({place.row.run_id for place in own})
    told = f"{runs} run{'' if runs == 1 else 's'}"
    return told if runs == len(own) else f"{len(own)} settings in {told}"


def _rates(rows: Sequence[Row]) -> str:
    """The rate, or the lowest and the highest."""
    known = sorted((row.correct_per_wh or 0.0, row.rel_u or 0.0) for row in rows)
    least, most = (rough(*known[at]) for at in (0, -1))
    return least if least == most else f"{least}{DASH}{most}"


def badge_json(places: Sequence[Place]) -> bytes:
    """The badge as a file."""
    return (json.dumps(badge(places), indent=1) + "\n").encode()


def _line(place: Place, pages: Mapping[str, str]) -> dict[str, Any]:
    each = place.each
    return line_of(each, place.row) | {
        "view": each.id,
        "title": view_title(each.view),
        "kind": kind_of(each),
        "units": (each.columns.rate.name, each.columns.energy.name),
        "page": pages[safe(place.row.run_id)],
        "of": each.ranked,
        "why": _why_unranked(place),
    }


def _why_unranked(place: Place) -> str:
    """Why a row has no rank, in few words; that it may be guessing stands where its rate would."""
    view, row = place.each.view, place.row
    if row.rank is not None:
        return ""
    if any(flag.startswith(("no_finished_cell:", "failed:")) for flag in row.flags):
        return "not every task was finished"
    if row.energy_wh_per_1k is None or row.quality is None:
        return "no energy" if row.energy_wh_per_1k is None else "no quality"
    guessing = row.quality_low is None or row.quality_low <= 0
    return "" if guessing else f"below the floor of {view.quality_floor:g} points"


def _markdown(page: str, base_url: str) -> str:
    """A line for a model card or a README; names of pages are letters that Markdown leaves as they are."""
    picture = _SERVICE + quote(f"{base_url}/badge/{page}.json", safe="")
    return f"[![Quality per watt-hour]({picture})]({base_url}/model/{page}.html)"
