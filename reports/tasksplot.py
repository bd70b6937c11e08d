"""A small frontier picture for each task, on one pair of axes, so that they compare."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np

from joulemark.harness.store import canonical_json

from .chart import Scale, axes, colour, legend, line, mark, path, text
from .ground import energy_range
from .labels import Box, place_letters
from .pareto import frontier
from .plots import alt_text
from .rows import Row
from .scene import energy_ends, kinds
from .views import ALL, View
from .wording import Unit, energy_unit, joined, safe

__all__ = ["MOST_TASKS", "Multiples", "multiples"]

MOST_TASKS = 24
"""So many tasks are drawn; the others have their tables."""
_MOST_MODELS = len(ascii_uppercase)
_WIDTH, _HEIGHT = 220, 186
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 214, 8, 158
_LOWEST = -20.0
"""Points down to which the axis goes: below, a mark at its end stands for what is worse."""
_LETTER = (11.0, 12.0)
_SIZE = 4.2
_CROWDED, _STEP, _LEAST = 4.0, 1.3, 1.4
"""Size of marks that overlap; of each further one on the same spot so much less, but never less than that."""

_Entrant = tuple[str, str, str, str, str]
"""What tells a row from others in every view: its run, model and setting; labels may differ."""


@dataclass(frozen=True, kw_only=True)
class Multiples:
    """The pictures, and what they share.

    Attributes:
        caption: What is drawn.
        legend: What marks and the line stand for: a small SVG and words each.
        key: Letters and the entrants that they stand for.
        panels: A task's name, its picture and that in words.
    """

    caption: str
    legend: list[tuple[str, str]]
    key: list[tuple[str, str]]
    panels: list[tuple[str, str, str]]


@dataclass(frozen=True)
class _Axes:
    unit: Unit
    x: Scale
    y: Scale

    def spot(self, energy_wh: float, quality: float) -> tuple[float, float]:
        """Where that stands; at an edge where it lies beyond."""
        return self.x.at(energy_wh * self.unit.factor), self.y.at(quality)

    def edge(self, row: Row) -> str:
        """The mark at an edge that stands for a row beyond it; empty for others."""
        aside = self.x.beyond((row.energy_wh_per_1k or 0.0) * self.unit.factor)
        return "<" if aside < 0 else ">" if aside > 0 else "v" if self.y.beyond(row.quality or 0.0) else ""


@dataclass(frozen=True)
class _Point:
    row: Row
    letter: str
    """Empty for none."""
    look: tuple[str, str, str]


@dataclass(frozen=True)
class _Panel:
    """A task's points, and its frontier's corners (Wh per 1,000 answers, points of quality), cheapest first."""

    view: View
    points: list[_Point]
    corners: list[tuple[float, float]]


def multiples(view: View, views: Sequence[View]) -> Multiples | None:
    """The pictures of a view over several tasks; None where fewer than two of these have anything to draw.

    Args:
        view: Over all tasks.
        views: Those of its tasks are among them.
    """
    found = [own for task in view.tasks if (own := _of_task(view, task, views)) and _drawn(own)]
    if view.task != ALL or len(found) < 2:
        return None
    entrants = [_entrant(row) for row in view.rows]
    letters = dict(zip(entrants, ascii_uppercase, strict=False))
    looks = dict(zip(entrants, kinds(view.rows, mixed=view.mixed), strict=True)) if view.mixed else {}
    panels = [_panel(own, letters, looks) for own in found[:MOST_TASKS]]
    rows = [point.row for panel in panels for point in panel.points]
    shared = _axes(rows)
    return Multiples(
        caption=_caption(view, found, rows, shared, crowded=any(_is_crowded(panel, shared) for panel in panels)),
        legend=legend(rows, mixed=view.mixed, front="best found" if any(panel.corners for panel in panels) else ""),
        key=[(letter, safe(row.label)) for letter, row in zip(ascii_uppercase, view.rows, strict=False)],
        panels=[
            (safe(panel.view.task), _draw(panel, shared), f"{safe(panel.view.task)}. {alt_text(panel.view)}")
            for panel in panels
        ],
    )


def _of_task(view: View, task: str, views: Sequence[View]) -> View | None:
    kind = (task, view.hardware, view.scope, view.grade, view.asked[task])
    return next((v for v in views if (v.task, v.hardware, v.scope, v.grade, v.asked.get(task)) == kind), None)


def _entrant(row: Row) -> _Entrant:
    return row.run_id, row.model, canonical_json(row.setting), row.grade or "", row.scope or ""


def _drawn(view: View) -> list[Row]:
    return [row for row in view.rows if row.quality is not None and row.energy_wh_per_1k is not None]


def _panel(view: View, letters: Mapping[_Entrant, str], looks: Mapping[_Entrant, tuple[str, str, str]]) -> _Panel:
    """The rows that have a letter, and of the others those on the line."""
    rows = _drawn(view)
    judged = [row for row in rows if row.frontier is not None and not view.mixed]
    energies = np.array([row.energy_wh_per_1k for row in judged], dtype=float)
    qualities = np.array([row.quality for row in judged], dtype=float)
    best = [judged[i] for i in np.flatnonzero(frontier(energies, qualities))] if judged else []
    points = [
        _Point(row, letters.get(_entrant(row), ""), looks.get(_entrant(row)) or look)
        for row, look in zip(rows, kinds(rows, mixed=view.mixed), strict=True)
        if _entrant(row) in letters or row in best
    ]
    return _Panel(view, points, sorted((row.energy_wh_per_1k or 0.0, row.quality or 0.0) for row in best))


def _axes(rows: Sequence[Row]) -> _Axes:
    unit = energy_unit(row.energy_wh_per_1k for row in rows)
    left, right = energy_range(rows, unit)
    lows = [value for row in rows for value in (row.quality, row.quality_low) if value is not None]
    lowest = max(_LOWEST, 10.0 * math.floor(min(0.0, *lows) / 10))
    x = Scale(low=left, high=right, start=_LEFT, end=_RIGHT)
    return _Axes(unit, x, Scale(low=lowest, high=104.0, start=_BOTTOM, end=_TOP, log=False))


def _draw(panel: _Panel, shared: _Axes) -> str:
    parts = axes(shared.x, shared.y, apart=(30, 30), drop=19)
    stair = [shared.spot(*corner) for corner in panel.corners]
    if stair:
        parts.append(_steps(stair, shared.y.at(0)))
    spots = _spots(panel, shared)
    crowds = _crowds(spots)
    for point, (x, y), below in zip(panel.points, spots, crowds, strict=True):
        row, (shade, shape, _), edge = point.row, point.look, shared.edge(point.row)
        parts += [] if edge else _bars(row, shared, (x, y), colour(shade))
        size = _SIZE if below is None else max(_LEAST, _CROWDED - _STEP * below)
        hollow, crowded = row.grade == "modelled", below is not None
        parts.append(mark(x, y, edge or shape, colour(shade), size=size, hollow=hollow, crowded=crowded))
    taken = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    frame = Box(_LEFT + 1, _TOP - 6, _WIDTH, _BOTTOM - 1)
    for point, box in zip(panel.points, place_letters(spots, _LETTER, frame, taken, _along(stair)), strict=True):
        if point.letter and box:
            faint, first = point.row.rank is None and not panel.view.mixed, bool(point.row.tied_with_first)
            at = (box.left + box.right) / 2, (box.bottom + box.top) / 2
            ink = "var(--muted)" if faint else "var(--ink)"
            parts.append(text(*at, point.letter, anchor="middle", middle=True, fill=ink, bold=first))
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg>'


def _spots(panel: _Panel, shared: _Axes) -> list[tuple[float, float]]:
    return [shared.spot(point.row.energy_wh_per_1k or 0.0, point.row.quality or 0.0) for point in panel.points]


def _is_crowded(panel: _Panel, shared: _Axes) -> bool:
    return any(below is not None for below in _crowds(_spots(panel, shared)))


def _crowds(spots: Sequence[tuple[float, float]]) -> list[int | None]:
    """For each mark how many were drawn before on the same spot; None where it overlaps no other."""
    found: list[int | None] = []
    for place, spot in enumerate(spots):
        near = [math.dist(spot, other) for n, other in enumerate(spots) if n != place]
        before = sum(math.dist(spot, other) < _CROWDED / 2 for other in spots[:place])
        found.append(before if min(near, default=math.inf) < 2.4 * _SIZE else None)
    return found


def _bars(row: Row, shared: _Axes, spot: tuple[float, float], tint: str) -> list[str]:
    """Its intervals both ways, as far as the axes reach."""
    x, y = spot
    parts = []
    if row.quality_low is not None and row.quality_high is not None:
        parts.append(line((x, x), (shared.y.at(row.quality_low), shared.y.at(row.quality_high)), tint))
    if ends := energy_ends(row, shared.unit):
        parts.append(line((shared.x.at(ends[0]), shared.x.at(ends[1])), (y, y), tint))
    return parts


def _steps(stair: Sequence[tuple[float, float]], ground: float) -> str:
    """The line through the best: up from the ground, and on to the right end."""
    points, height = [], ground
    for x, y in stair:
        points += [(x, height), (x, y)]
        height = y
    return path([[*points, (float(_RIGHT), height)]], "var(--front)", 1.8)


def _along(stair: Sequence[tuple[float, float]]) -> list[Box]:
    """Thin boxes along the line, which letters had better not cross."""
    boxes, below = [], float(_BOTTOM)
    for (x, y), (end, _) in zip(stair, [*stair[1:], (float(_RIGHT), 0.0)], strict=True) if stair else ():
        boxes += [Box(x - 1, y, x + 1, below), Box(x, y - 1, end, y + 1)]
        below = y
    return boxes


def _caption(view: View, found: Sequence[View], rows: Sequence[Row], shared: _Axes, *, crowded: bool) -> str:
    """What is drawn, and what is not."""
    missing = [safe(task) for task in view.tasks if task not in {own.task for own in found}]
    told = {
        f"Each task by itself, on the same axes: {shared.unit.name} per 1,000 answers to the right (log scale), "
        "quality in points upwards, with 95\u00a0% intervals for comparing points.": True,
        "A triangle at an edge stands for what lies beyond it.": any(shared.edge(row) for row in rows),
        "Marks that overlap are smaller, and of those on one spot each is smaller than the last; letters that find no "
        "room there are left out.": crowded,
        f"Letters are given to the first {_MOST_MODELS} of {len(view.rows):,} entrants; of the others only those on "
        "the line are drawn.": len(view.rows) > _MOST_MODELS,
        f"These are the first {MOST_TASKS} of {len(found)} tasks; the others have their tables.": len(found)
        > MOST_TASKS,
        f"Nothing to draw in {joined(missing) if missing else ''}.": bool(missing),
    }
    return " ".join(sentence for sentence, holds in told.items() if holds)
