"""What stands on the ground of the picture: the frontier's steps, points with intervals, names, the legend."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .labels import Box, Spot, place_labels
from .names import all_of, cut_apart
from .pareto import frontier
from .rows import Row
from .scene import FRONT, INK, MUTED, PAPER, SHADE, Scene, extent
from .stats import Floats
from .wording import number

__all__ = ["MOST_BARS", "draw_legend", "draw_names", "draw_points", "draw_steps"]

MOST_BARS = 100
"""So many rows have their intervals drawn."""
_MOST_NAMES = 25
_LONGEST_NAME = 34


def draw_steps(scene: Scene) -> None:
    """The staircase through the best points that are judged, and the shade where a point would move it.

    None where entrants are unlike. The shade reaches from 0 points, which a guesser has, to the top, and to the left
    of the cheapest: less energy moves the frontier at any quality.
    """
    corners = _corners(scene)
    if not len(corners):
        return
    axes = scene.axes
    (left, right), top = axes.get_xlim(), axes.get_ylim()[1]
    xs = np.append(corners[:, 0], right)
    ys = np.append(corners[:, 1], corners[-1, 1])
    shaded: dict[str, Any] = {"color": SHADE, "linewidth": 0, "zorder": 0.5}
    axes.fill_between(np.insert(xs, 0, left), np.insert(ys, 0, 0.0), top, step="post", **shaded)
    if xs[0] > left:
        xs, ys = np.insert(xs, 0, xs[0]), np.insert(ys, 0, 0.0)
    axes.step(xs, ys, where="post", color=FRONT, linewidth=2.2, zorder=2, solid_joinstyle="miter")


def draw_points(scene: Scene) -> None:
    """A point for each row, hollow where its energy is modelled, with its intervals both ways.

    An arrow at the end of the axis for one that is far off. Of very many rows those on the frontier have intervals.
    """
    axes = scene.axes
    alike: dict[tuple[str, str, float, str, bool], list[tuple[float, float]]] = {}
    for row, (colour, mark, _), x, y in zip(scene.rows, scene.kinds(), scene.x.tolist(), scene.y.tolist(), strict=True):
        if _has_bars(scene, row):
            _draw_bars(scene, row, x, y, colour)
        far = scene.far_off(row)
        shape = ("<" if x == scene.reach[0] else ">") if far else mark
        size = 6.5 if row.frontier in ("dominated", None) else 8.0
        face = PAPER if row.grade == "modelled" else colour
        alike.setdefault((colour, shape, size, face, far), []).append((x, y))
    for (colour, shape, size, face, far), spots in alike.items():
        look: dict[str, Any] = {"markersize": size, "markerfacecolor": face, "markeredgecolor": colour}
        xs, ys = zip(*spots, strict=True)
        axes.plot(xs, ys, shape, clip_on=not far, markeredgewidth=2.0, zorder=4, **look)


def _draw_bars(scene: Scene, row: Row, x: float, y: float, colour: str) -> None:
    look: dict[str, Any] = {"color": colour, "linewidth": 1.3, "capsize": 3, "zorder": 3}
    if row.quality_low is not None and row.quality_high is not None:
        scene.axes.errorbar(x, y, yerr=_arms(y, (row.quality_low, row.quality_high)), **look)
    if ends := scene.bar(row):
        scene.axes.errorbar(x, y, xerr=_arms(x, ends), **look)


def _has_bars(scene: Scene, row: Row) -> bool:
    return len(scene.rows) <= MOST_BARS or row.frontier == "on"


def draw_names(scene: Scene, blocked: list[Box], curves: list[Box]) -> None:
    """Names beside points, never over one another; of very many rows only those on the frontier.

    Args:
        scene: The picture.
        blocked: What no name may cover, besides points and steps.
        curves: What names cover only where there is no other way.
    """
    far = [scene.far_off(row) for row in scene.rows]
    names = cut_apart([row.short_label for row in scene.rows], _LONGEST_NAME)
    crowds = _crowds(scene, far)
    order = sorted(
        [i for i in range(len(scene.rows)) if crowds.get(i, [i])[0] == i],
        key=lambda i: (not far[i], scene.rows[i].frontier != "on", scene.rows[i].rank or math.inf, i),
    )
    if len(order) > _MOST_NAMES:
        order = [i for i in order if far[i] or scene.rows[i].frontier == "on"][:_MOST_NAMES]
    if not order:
        return
    texts = [_name(scene, i, names[i], crowds.get(i, [i])) for i in order]
    sizes = [
        (box.right - box.left + 2, box.top - box.bottom + 1) for box in (extent(scene.axes, text) for text in texts)
    ]
    points = [(float(x), float(y)) for x, y in scene.pixels(np.column_stack([scene.x, scene.y])[order])]
    frame = scene.frame
    inner = Box(frame.left + 2, frame.bottom + 2, frame.right - 1, frame.top - 1)
    spots = place_labels(points, sizes, inner, blocked + _taken_by_points(scene) + _taken_by_steps(scene), curves)
    for text, spot in zip(texts, spots, strict=True):
        if spot is None:
            text.remove()
        else:
            _settle(scene, text, spot)


def draw_legend(scene: Scene) -> list[Box]:
    """One line over the picture that names shapes and lines; where entrants are unlike, a list inside it.

    Returns:
        What no name may cover.
    """
    from matplotlib.lines import Line2D

    layout, hollow = scene.layout, scene.view.grade == "modelled"
    entries = []
    far = [scene.far_off(row) for row in scene.rows]
    near = (kind for kind, off in zip(scene.kinds(), far, strict=True) if not off)
    for colour, mark, name in dict.fromkeys(near):
        face = PAPER if hollow else colour
        style: dict[str, Any] = {"markerfacecolor": face, "markeredgewidth": 1.8, "markersize": 7}
        entries.append(Line2D([], [], marker=mark, linestyle="", color=colour, label=name, **style))
    if any(far):
        entries.append(Line2D([], [], marker="<", linestyle="", color=MUTED, label="off the axis", markersize=6))
    if len(_corners(scene)):
        entries.append(Line2D([], [], color=FRONT, linewidth=2.2, label="best found"))
    if hollow and not layout.small:
        style = {"markerfacecolor": PAPER, "markersize": 6}
        entries.append(Line2D([], [], marker="o", linestyle="", color=MUTED, label="hollow: modelled", **style))
    if not layout.small and not scene.view.mixed:
        style = {"linewidth": 0.9, "linestyle": (0, (1, 2.4))}
        entries.append(Line2D([], [], color=MUTED, label="equal right answers per Wh", **style))
    if scene.view.mixed:
        legend = scene.axes.legend(handles=entries, loc="lower right", frameon=False, fontsize=layout.least)
        return [extent(scene.axes, legend)]
    lift = (layout.font + 7) / 72 / (layout.height - layout.top - layout.bottom)
    scene.axes.legend(
        handles=entries,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1 + lift),
        ncols=2 if layout.small else 7,
        frameon=False,
        fontsize=layout.least if layout.small else layout.font - min(2.8, 1.5 + 0.65 * max(0, len(entries) - 5)),
        handletextpad=0.4,
        columnspacing=1.3,
        borderaxespad=0,
        borderpad=0,
    )
    return []


def _corners(scene: Scene) -> Floats:
    """The frontier's points from the cheapest on; only what is judged counts, and nothing where entrants are unlike."""
    judged = np.array([row.frontier is not None and not scene.view.mixed for row in scene.rows], dtype=bool)
    x, y = scene.x[judged], scene.y[judged]
    on = frontier(np.array([row.energy_wh_per_1k for row in scene.rows])[judged], y)
    order = np.argsort(x[on], kind="stable")
    return np.column_stack([x[on][order], y[on][order]])


def _arms(at: float, ends: tuple[float, float]) -> list[list[float]]:
    return [[max(0.0, at - ends[0])], [max(0.0, ends[1] - at)]]


def _crowds(scene: Scene, far: list[bool]) -> dict[int, list[int]]:
    """Rows of one model that are all off the axis at one end and of one quality: these lie on one spot."""
    spots: dict[Any, list[int]] = {}
    for i, row in enumerate(scene.rows):
        if far[i]:
            spots.setdefault((row.model, float(scene.x[i]), round(float(scene.y[i]), 1)), []).append(i)
    whole = [c for c in spots.values() if len(c) == sum(r.model == scene.rows[c[0]].model for r in scene.view.rows)]
    return {i: crowd for crowd in whole if len(crowd) > 1 for i in crowd}


def _name(scene: Scene, i: int, name: str, crowd: list[int]) -> Any:
    """The name beside a point; one for all that lie on its spot."""
    row = scene.rows[i]
    if len(crowd) > 1:
        (name,) = cut_apart([f"{row.model} {all_of(len(crowd))}"], _LONGEST_NAME)
    if scene.far_off(row):
        energies = [(scene.rows[k].energy_wh_per_1k or 0.0) * scene.unit.factor for k in crowd]
        low, high = number(min(energies)), number(max(energies))
        name = f"{name}\nat {low if low == high else f'{low} to {high}'} {scene.unit.name}"
    return scene.axes.text(
        0,
        0,
        name,
        fontsize=scene.layout.font - 0.5,
        fontweight="bold" if row.tied_with_first else "normal",
        color=MUTED if row.rank is None and not scene.view.mixed else INK,
        zorder=6,
        parse_math=False,
    )


def _settle(scene: Scene, text: Any, spot: Spot) -> None:
    back, box = scene.axes.transData.inverted(), spot.box
    text.set_position(back.transform((box.left + 1, box.bottom + 2.5)))
    if spot.led:
        ends = back.transform(spot.line)
        scene.axes.plot(ends[:, 0], ends[:, 1], color=MUTED, linewidth=0.7, zorder=2.5)


def _taken_by_points(scene: Scene) -> list[Box]:
    boxes = []
    for row, x, y in zip(scene.rows, scene.x.tolist(), scene.y.tolist(), strict=True):
        left, right = scene.bar(row) or (x, x)
        low = y if row.quality_low is None else row.quality_low
        high = y if row.quality_high is None else row.quality_high
        (px, py), (p0, p1), (p2, p3) = scene.pixels([(x, y), (left, low), (right, high)]).tolist()
        boxes.append(Box(px - 7, py - 7, px + 7, py + 7))
        if not _has_bars(scene, row):
            continue
        boxes += [
            Box(px - 3, p1 - 1, px + 3, p3 + 1),
            Box(p0 - 1, py - 3, p2 + 1, py + 3),
        ]
    return boxes


def _taken_by_steps(scene: Scene) -> list[Box]:
    found = _corners(scene)
    if not len(found):
        return []
    corners = scene.pixels(found).tolist()
    boxes, below = [], scene.frame.bottom
    for place, (x, y) in enumerate(corners):
        after = corners[place + 1][0] if place + 1 < len(corners) else scene.frame.right
        boxes += [Box(x - 2, below, x + 2, y), Box(x, y - 2, after, y + 2)]
        below = y
    return boxes
