"""The picture of routing headroom: the measured frontier, what cascades come to, and the perfect router's bound."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .chart import Scale, axes, mark, path
from .pareto import frontier
from .routing import Headroom, judged
from .rows import Row
from .wording import energy_unit, fixed, number

__all__ = ["picture_alt", "picture_caption", "picture_legend", "picture_svg"]

_WIDTH, _HEIGHT = 560, 336
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 544, 12, 300
_FRONTIER, _CASCADE, _ROUTER = "var(--front)", "var(--kind1)", "var(--kind3)"
_GREY = "var(--none)"
_DASHES, _DOTS = ' stroke-dasharray="6 4"', ' stroke-dasharray="1 4" stroke-linecap="round"'
_MOST_STEPS = 200
"""Points that the bound is drawn with."""

Place = tuple[float, float]
"""Watt-hours per 1,000 answers, and points."""


def picture_alt(headroom: Headroom) -> str:
    """The picture in words."""
    wh, quality = headroom.bound.energy_wh[-1], headroom.bound.quality[-1]
    unit = energy_unit([line.row.energy_wh_per_1k for line in headroom.lines])
    told = ["Quality over energy"]
    if known := _measured(headroom):
        top = max(known, key=lambda place: place[1])
        told[0] += (
            f". The measured frontier ends at {fixed(top[1])} points for {number(top[0] * unit.factor)} {unit.name} "
            "per 1,000 answers"
        )
    if headroom.curve:
        best = max(headroom.curve, key=lambda place: place[1])
        told.append(f"cascades at {fixed(best[1])} points for {number(best[0] * unit.factor)} {unit.name}")
    told.append(f"a perfect router at {fixed(float(quality))} points for {number(float(wh) * unit.factor)} {unit.name}")
    return "; ".join(told) + "."


def picture_caption(headroom: Headroom) -> str:
    """What is drawn, for below it."""
    unit = energy_unit([line.row.energy_wh_per_1k for line in headroom.lines])
    cascades = " The cascades' line is told on other questions than it was chosen on." if headroom.curve else ""
    grey = "; grey ones are not judged, and on no frontier" if _unjudged(headroom) else ""
    return (
        f"Upwards: quality in points. To the right: {unit.name} per 1,000 answers, log scale. Circles are the "
        f"measured models{grey}.{cascades}"
    )


def picture_legend(headroom: Headroom) -> list[tuple[str, str]]:
    """What its lines are: a small SVG and words each."""
    names = [("measured frontier", _FRONTIER, ""), ("perfect router, a bound", _ROUTER, _DOTS)]
    names[1:1] = [("best cascades, an estimate", _CASCADE, _DASHES)] if headroom.curve else []
    return [
        (f'<svg viewBox="0 0 16 16" aria-hidden="true">{path([((0, 8), (16, 8))], tint, 2.5, look)}</svg>', name)
        for name, tint, look in names
    ]


def picture_svg(headroom: Headroom) -> str:
    """An SVG that takes its colours and its font's size from the page; the same bytes for the same figures."""
    unit = energy_unit([line.row.energy_wh_per_1k for line in headroom.lines])
    measured, others, bound = _measured(headroom), _unjudged(headroom), _thinned(headroom)
    every = [*measured, *others, *headroom.curve, *bound]
    x = Scale(
        low=min(wh for wh, _ in every) * unit.factor / 1.15,
        high=max(wh for wh, _ in every) * unit.factor * 1.15,
        start=_LEFT,
        end=_RIGHT,
    )
    worth = [points for _, points in every]
    y = Scale(low=min(0.0, *worth), high=max(100.0, *worth), start=_BOTTOM, end=_TOP, log=False)

    def spots(places: Sequence[Place]) -> list[Place]:
        return [(x.at(wh * unit.factor), y.at(points)) for wh, points in places]

    parts = axes(x, y, apart=(72, 44), drop=27)
    parts.append(path([spots(bound)], _ROUTER, 2.5, _DOTS))
    if measured:
        parts.append(path([_steps(spots(_best(measured)), x.end)], _FRONTIER, 2))
    if len(headroom.curve) > 1:
        parts.append(path([spots(headroom.curve)], _CASCADE, 2, _DASHES))
    elif headroom.curve:
        parts += [mark(*place, "D", _CASCADE, size=4) for place in spots(headroom.curve)]
    for places, tint in ((others, _GREY), (measured, _FRONTIER)):
        parts += [mark(*place, "o", tint, size=4, hollow=True) for place in spots(places)]
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg>'


def _measured(headroom: Headroom) -> list[Place]:
    return [_place(row) for row in judged([line.row for line in headroom.lines])]


def _unjudged(headroom: Headroom) -> list[Place]:
    return [_place(line.row) for line in headroom.lines if line.row.frontier is None]


def _place(row: Row) -> Place:
    return row.energy_wh_per_1k or 0.0, row.quality or 0.0


def _best(places: Sequence[Place]) -> list[Place]:
    wh, points = (np.array(column) for column in zip(*places, strict=True))
    return sorted(place for place, on in zip(places, frontier(wh, points), strict=True) if on)


def _steps(spots: Sequence[Place], end: float) -> list[Place]:
    """Along the frontier: to the right as far as the next better one, then up to it."""
    corners = [corner for (x, y), (to, up) in pairwise(spots) for corner in ((x, y), (to, y), (to, up))]
    return [*(corners or spots), (end, spots[-1][1])]


def _thinned(headroom: Headroom) -> list[Place]:
    """The bound's corners, or of very many so many that nobody sees the difference."""
    count = len(headroom.bound.energy_wh)
    at = np.unique(np.linspace(0, count - 1, min(count, _MOST_STEPS)).astype(int))
    return [(float(headroom.bound.energy_wh[k]), float(headroom.bound.quality[k])) for k in at]
