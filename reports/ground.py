"""The ground of the picture: axes, curves of equal efficiency, the quality floor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .labels import Box
from .rows import Row
from .scene import GRID, MUTED, Scene, energy_ends, extent
from .wording import Unit

__all__ = ["draw_axes", "draw_curves", "draw_floor", "energy_range", "log_range"]

_FAR = 4.0
"""How many times less or more energy than all that is ranked is off the axis."""
_DOTTED, _DASHED = (0, (1, 2.4)), (0, (6, 3))


def energy_range(rows: Sequence[Row], unit: Unit) -> tuple[float, float]:
    """The ends of the energy axis: all that is ranked, and what is not too far from it.

    A guesser that needs a hundredth of the energy would else press all others into a corner.
    """
    spans = [energy_ends(row, unit) or 2 * ((row.energy_wh_per_1k or 0.0) * unit.factor,) for row in rows]
    return log_range(spans, [row.rank is not None for row in rows])


def log_range(spans: Sequence[tuple[float, float]], ranked_are: Sequence[bool]) -> tuple[float, float]:
    """The ends of a log axis for intervals above 0: all of what is ranked, and the others as far as they are near."""
    ranked = [ends for ends, is_ranked in zip(spans, ranked_are, strict=True) if is_ranked] or spans
    low, high = min((ends[0] for ends in ranked), default=0.1), max((ends[1] for ends in ranked), default=10.0)
    near = [ends for ends in spans if low / _FAR <= ends[0] and ends[1] <= high * _FAR]
    low, high = min((ends[0] for ends in near), default=low), max((ends[1] for ends in near), default=high)
    margin = max((high / low) ** 0.13, 1.35)
    return low / margin, high * margin


def draw_axes(scene: Scene) -> None:
    """Log energy to the right, quality upwards, with room around the intervals."""
    axes, layout = scene.axes, scene.layout
    left, right = scene.reach
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    lows = [row.quality_low for row in scene.rows if row.quality_low is not None]
    lowest = min([0.0, *lows, *map(float, scene.y)])
    axes.set_ylim(10 * math.floor(lowest / 10), 104)
    _ticks(scene, decades=math.log10(right / left))
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    name = scene.unit.name
    across = (
        f"{name} per 1,000 answers (log)"
        if layout.small
        else f"Energy per 1,000 answers ({name}, log scale), less is better"
    )
    axes.set_xlabel(across, fontsize=layout.font, labelpad=6)
    axes.set_ylabel(
        "Quality (points)" if layout.small else "Quality (points), more is better", fontsize=layout.font, labelpad=5
    )


def draw_curves(scene: Scene) -> list[Box]:
    """Curves on which right answers per Wh are equal, ``Q = rate x Wh / 10``, named where they leave the top.

    Returns:
        Thin boxes along the curves, which names had better not cross.
    """
    axes, factor = scene.axes, scene.unit.factor
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    boxes: list[Box] = []
    named: list[Box] = []
    for rate in _round_rates(10 * top * factor / right, 10 * top * factor / left):
        x = np.geomspace(left, right, 300)
        y = rate * x / factor / 10
        inside = (y <= top) & (y >= bottom)
        axes.plot(x[inside], y[inside], color=MUTED, linewidth=0.9, linestyle=_DOTTED, zorder=1.1)
        _name_curve(scene, rate, named)
        boxes += [
            Box(px - 1, py - 1, px + 1, py + 1) for px, py in scene.pixels(np.column_stack([x[inside], y[inside]]))
        ]
    return boxes


def draw_floor(scene: Scene) -> list[Box]:
    """The line below which nothing is ranked, where something lies below it; what no name may cover."""
    view, axes = scene.view, scene.axes
    if view.mixed or not any(row.rank is None and (row.quality or 0.0) < view.quality_floor for row in scene.rows):
        return []
    axes.axhline(view.quality_floor, color=MUTED, linewidth=0.8, linestyle=_DASHED, zorder=1.2)
    text = axes.annotate(
        f"{'' if scene.layout.small else 'quality '}floor {view.quality_floor:g}: no rank below",
        (1, view.quality_floor),
        xycoords=("axes fraction", "data"),
        xytext=(-3, -3),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=scene.layout.least,
        color=MUTED,
    )
    ((_, at),) = scene.pixels([(scene.reach[0], view.quality_floor)]).tolist()
    return [extent(axes, text), Box(scene.frame.left, at - 1, scene.frame.right, at + 1)]


def _ticks(scene: Scene, decades: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = scene.axes.xaxis
    steps = (1.0,) if decades > 3 else (1.0, 2.0, 5.0) if decades > 1 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())
    scene.axes.tick_params(labelsize=max(scene.layout.font - 1, scene.layout.least), length=3)


def _name_curve(scene: Scene, rate: float, named: list[Box]) -> None:
    """Write the rate over the curve's upper end, unless that would cover another one's."""
    axes = scene.axes
    top = axes.get_ylim()[1]
    text: Any = axes.annotate(
        _rate_name(rate),
        (10 * top * scene.unit.factor / rate, top),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=scene.layout.least,
        color=MUTED,
        annotation_clip=False,
    )
    box, frame = extent(axes, text), scene.frame
    if box.right > frame.right + 10 or box.left < frame.left - 10 or any(box.overlaps(other) for other in named):
        text.remove()
    else:
        named.append(Box(box.left - 8, box.bottom, box.right + 8, box.top))


def _round_rates(low: float, high: float) -> list[float]:
    """Round numbers within a range: powers of ten, or 1-2-5 where those are too few."""
    found: list[float] = []
    for steps in ((1.0,), (1.0, 2.0, 5.0)):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(found) >= 3:
            break
    return found


def _rate_name(rate: float) -> str:
    for factor, name in ((1e9, " billion"), (1e6, " million"), (1e3, ",000")):
        if rate >= factor:
            return f"{rate / factor:g}{name}/Wh"
    return f"{rate:g}/Wh"
