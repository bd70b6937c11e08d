"""A model's page and badge: wherever it was measured, and the widest view that has it in a few words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from joulemark.reports.documents import view_title
from joulemark.reports.views import ALL
from joulemark.reports.wording import number, rough, safe, span

from .board import page_name
from .sections import Place, kind_of, line_of

__all__ = ["badge", "badge_json", "model_values"]

_SERVICE = "https://img.shields.io/endpoint?url="
"""Draws a badge from such a file; only who shows the badge asks it for anything."""
_LONGEST = 60
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
        "badge_ranked": widest(places).row.rank is not None,
        "badge_file": f"badge/{own}.json",
        "badge_line": _markdown(own, base_url) if base_url else "",
    }


def badge(places: Sequence[Place]) -> dict[str, Any]:
    """What Shields draws: the rank with its range, among how many, in which view, and how the energy was obtained."""
    place = widest(places)
    view, row = place.each.view, place.row
    ranked = row.rank is not None
    colour = (_MODELLED if view.grade == "modelled" else _MEASURED) if ranked else _UNRANKED
    label = f"quality per Wh, {_shortened(view.hardware)}"
    return {"schemaVersion": 1, "label": label, "message": badge_text(place), "color": colour}


def badge_text(place: Place) -> str:
    """Such as ``2-3 of 7 on 9 tasks, 41,000 right/Wh, modelled``."""
    view, row = place.each.view, place.row
    what = f"{len(view.tasks)} tasks" if view.task == ALL and len(view.tasks) > 1 else _shortened(view.tasks[0])
    grade = view.grade or "no energy"
    if row.rank is None or row.correct_per_wh is None:
        return f"not ranked on {what}, {grade}"
    low, high = row.rank_low, row.rank_high
    rank = f"{row.rank}" if low is None or low == high else span(low, high, 0)
    return f"{rank} of {place.each.ranked} on {what}, {rough(row.correct_per_wh, row.rel_u or 0.0)} right/Wh, {grade}"


def widest(places: Sequence[Place]) -> Place:
    """The first in which it has a rank, since those of most tasks and the best grade come first; else the first."""
    return next((place for place in places if place.row.rank is not None), places[0])


def badge_json(places: Sequence[Place]) -> bytes:
    """The badge as a file."""
    return (json.dumps(badge(places), indent=1) + "\n").encode()


def _shortened(text: str) -> str:
    return safe(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}\u2026")


def _line(place: Place, pages: Mapping[str, str]) -> dict[str, Any]:
    each = place.each
    return line_of(each, place.row) | {
        "view": each.id,
        "title": view_title(each.view),
        "kind": kind_of(each),
        "units": (each.columns.rate.name, each.columns.energy.name),
        "page": pages[safe(place.row.run_id)],
        "of": each.ranked,
    }


def _markdown(page: str, base_url: str) -> str:
    """A line for a model card or a README; names of pages are letters that Markdown leaves as they are."""
    picture = _SERVICE + quote(f"{base_url}/badge/{page}.json", safe="")
    return f"[![Quality per watt-hour]({picture})]({base_url}/model/{page}.html)"
