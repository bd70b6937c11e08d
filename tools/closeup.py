"""The picture of the claim's page: what computes selectively beside the lines of what computes everything."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from contests import DENSE_LINES, Spread, of_seed, on_line
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from joulemark.harness.models import card
from joulemark.reports.labels import Box, place_labels
from joulemark.reports.rows import Row
from joulemark.reports.scene import FRONT, GRID, INK, MUTED, PAPER, extent
from joulemark.reports.views import View

DENSE = "#0072b2"
KINDS = {
    "dense": (DENSE, "o", "dense"),
    "int8": (DENSE, "s", "dense in 8 bits"),
    "moe": (FRONT, "^", "experts"),
    "early-exit": (FRONT, "v", "early exit"),
    "cascade": (FRONT, "D", "cascade"),
}
"""Colour, shape and name."""
DASHED = (0, (4, 2))
DEPTH = 12.0
"""Points below the best down to which models are shown; what is worse decides nothing."""
WIDTH, PANEL = 9.0, 4.4


@dataclass(frozen=True)
class Point:
    """A model with its energy in mWh and its quality in points."""

    name: str
    energy: Spread
    quality: Spread

    @property
    def at(self) -> tuple[float, float]:
        """Where it is drawn."""
        return self.energy[0], self.quality[0]

    @property
    def ends(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The lower left and the upper right end of its intervals."""
        return (self.energy[1], self.quality[1]), (self.energy[2], self.quality[2])


def closeup(views: Mapping[tuple[int, int], View]) -> bytes:
    """A PNG with a panel for each batch size, from views by seed and batch size; the first seed has the names."""
    batches = sorted({batch for _, batch in views})
    modelled = any(view.grade == "modelled" for view in views.values())
    figure = Figure(figsize=(WIDTH, PANEL * len(batches) + 0.9), facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    panels = np.atleast_1d(figure.subplots(len(batches)))
    for axes, batch in zip(panels, batches, strict=True):
        seeds = {seed: points(view.rows) for (seed, of), view in views.items() if of == batch}
        _frame(axes, [point for known in seeds.values() for point in _shown(known)], f"Batch {batch}", modelled)
        for seed, known in seeds.items():
            _lines(axes, known, seed)
            _marks(axes, _shown(known), seed, modelled)
    handles = _legend(modelled, more_seeds=any(seed != 1 for seed, _ in views))
    heading = {"size": 14.5, "weight": "bold"}
    figure.legend(
        handles=handles, loc="outside upper left", ncols=4, frameon=False, fontsize=9.5, alignment="left",
        title=f"Above the line: more right answers for the same {'CPU time' if modelled else 'energy'}",
        title_fontproperties=heading,
    )  # fmt: skip
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, batch in zip(panels, batches, strict=True):
        _labels(axes, _shown(points(views[1, batch].rows)))
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=160, metadata={"Software": None})
    return out.getvalue()


def points(rows: Sequence[Row]) -> list[Point]:
    """What can be drawn of these rows."""
    found = []
    for row in rows:
        wh = _spread(row.energy_wh_per_1k, row.energy_wh_per_1k_within_low, row.energy_wh_per_1k_within_high)
        quality = _spread(row.quality, row.quality_low, row.quality_high)
        if wh and quality:
            found.append(Point(row.model.removeprefix("ref/"), (1e3 * wh[0], 1e3 * wh[1], 1e3 * wh[2]), quality))
    return found


def _spread(value: float | None, low: float | None, high: float | None) -> Spread | None:
    return None if value is None or low is None or high is None else (value, low, high)


def _shown(known: Sequence[Point]) -> list[Point]:
    best = max(point.quality[0] for point in known)
    return [point for point in known if point.quality[0] >= best - DEPTH]


def _frame(axes: Axes, shown: Sequence[Point], title: str, modelled: bool) -> None:
    ends = np.array([point.ends for point in shown])
    axes.set_xscale("log")
    axes.set_xlim(ends[:, 0, 0].min() / 1.15, ends[:, 1, 0].max() * 1.15)
    axes.set_ylim(ends[:, 0, 1].min() - 1.5, ends[:, 1, 1].max() + 1.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0), numticks=99))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, length=3, labelsize=9)
    axes.set_title(title, loc="left", fontsize=11.5, fontweight="bold", color=INK)
    axes.set_ylabel("Quality (points), more is better", color=INK)
    by = ", modelled from CPU time" if modelled else ""
    axes.set_xlabel(f"Energy per 1,000 answers (mWh{by}, log scale), less is better", color=INK)


def _lines(axes: Axes, known: Sequence[Point], seed: int) -> None:
    by_name = {point.name: point for point in known}
    for names, style in zip(DENSE_LINES, ("-", DASHED), strict=True):
        of_this_seed = [of_seed(name, seed) for name in names]
        on = sorted(by_name[name].at for name in of_this_seed if name in by_name)
        width, alpha = (1.8, 1.0) if seed == 1 else (1.1, 0.45)
        if len(on) > 1:
            x, y = np.array(on).T
            along = np.geomspace(x[0], x[-1], 200)
            line = on_line(np.log(along), y, np.log(x))
            axes.plot(along, line, color=DENSE, linestyle=style, linewidth=width, alpha=alpha, zorder=2)


def _marks(axes: Axes, shown: Sequence[Point], seed: int, modelled: bool) -> None:
    size, alpha = (7.5, 1.0) if seed == 1 else (5.0, 0.5)
    for point in shown:
        colour, mark, _ = KINDS[card(point.name)["kind"]]
        arms = np.abs(np.array(point.ends).T - np.array(point.at)[:, None])
        axes.errorbar(
            *point.at, xerr=arms[:1].T, yerr=arms[1:].T, fmt=mark, color=colour, alpha=alpha, markersize=size,
            markerfacecolor=PAPER if modelled else colour, markeredgewidth=0.25 * size, linewidth=1.1, capsize=2.5,
            zorder=4 if seed == 1 else 3,
        )  # fmt: skip


def _labels(axes: Axes, shown: Sequence[Point]) -> None:
    """Names where they cover neither a point, a bar, a line nor one another."""
    texts = [axes.text(*point.at, point.name, fontsize=9, color=INK, zorder=6) for point in shown]
    sizes = [(box.right - box.left + 4, box.top - box.bottom + 2) for box in (extent(axes, text) for text in texts)]
    to_pixels, window = axes.transData, axes.get_window_extent()
    spots = [tuple(map(float, to_pixels.transform(point.at))) for point in shown]
    taken = [Box(x - 8, y - 8, x + 8, y + 8) for x, y in spots]
    for point, (x, y) in zip(shown, spots, strict=True):
        (left, bottom), (right, top) = to_pixels.transform(point.ends)
        taken += [Box(left, y - 3, right, y + 3), Box(x - 3, bottom, x + 3, top)]
    for line in axes.lines:
        corners = to_pixels.transform(line.get_xydata()) if line.get_linestyle() != "None" else []
        for start, end in pairwise(corners):
            taken += [Box(x - 2, y - 2, x + 2, y + 2) for x, y in np.linspace(start, end, 200)]
    back = to_pixels.inverted()
    frame = Box(window.x0, window.y0, window.x1, window.y1)
    for text, spot in zip(texts, place_labels(spots, sizes, frame, taken), strict=True):
        if spot is None:
            text.remove()
            continue
        text.set_position(back.transform((spot.box.left + 2, spot.box.bottom + 3)))
        if spot.led:
            axes.plot(*back.transform(spot.line).T, color=MUTED, linewidth=0.7, zorder=2.5)


def _legend(modelled: bool, more_seeds: bool) -> list[Line2D]:
    looks = [(*kind, 7.5) for kind in KINDS.values()]
    if more_seeds:
        looks.append((MUTED, "o", "small: another seed", 5.0))
    handles = [
        Line2D([], [], marker=mark, linestyle="", color=colour, label=name, markersize=size,
               markerfacecolor=PAPER if modelled else colour, markeredgewidth=0.25 * size)
        for colour, mark, name, size in looks
    ]  # fmt: skip
    handles.append(Line2D([], [], color=DENSE, label="dense line"))
    handles.append(Line2D([], [], color=DENSE, linestyle=DASHED, label="dense line in 8 bits"))
    return handles
