"""Pictures of two figures of each entrant: how any is drawn, and latency against energy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .chart import Scale, axes, colour, legend, line, mark, path, text
from .ground import log_range
from .labels import Box, Spot, place_labels
from .names import cut_apart
from .names import legend as abbreviations
from .rows import Row
from .scene import energy_ends, kinds
from .views import View
from .wording import energy_unit, number, safe

__all__ = ["MOST_POINTS", "Axis", "Picture", "Plot", "Point", "latency_against_energy", "picture"]

MOST_POINTS = 100
_MOST_NAMES, _MOST_IN_WORDS = 25, 25
_LONGEST_NAME, _SHORT_NAME = 30, 15
_LETTER, _BOLD = 0.64, 0.72
"""Width of a letter in sizes of the font: fonts differ, and few are wider."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture for a page, in a form for a wide and one for a narrow window.

    Attributes:
        title: Its heading.
        caption: What is drawn.
        alt: The same in words, with the figures.
        legend: What its marks stand for: a small SVG and words each.
        wide: An SVG.
        narrow: An SVG.
    """

    title: str
    caption: str
    alt: str
    legend: list[tuple[str, str]]
    wide: str
    narrow: str


@dataclass(frozen=True, kw_only=True)
class _Size:
    """Of a picture and its font, in the picture's units."""

    width: float
    height: float
    font: float
    left: float
    bottom: float


_WIDE = _Size(width=900, height=420, font=13, left=58, bottom=50)
_NARROW = _Size(width=328, height=360, font=11.5, left=48, bottom=46)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What one direction shows: a name for wide and narrow pictures, its ends, and whether it is a log scale."""

    name: str
    short: str
    ends: tuple[float, float]
    log: bool = True


@dataclass(frozen=True, kw_only=True)
class Point:
    """An entrant in a picture, and what it is called there."""

    row: Row
    x: float
    y: float
    across: tuple[float, float] | None
    """Ends of its bar to the right, where it has one; and upwards."""
    up: tuple[float, float] | None
    name: str
    far: str = ""
    """Its figures in lines, for a name beside the mark of what is off the axes."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """What a picture shows, before it has a size."""

    view: View
    x: Axis
    y: Axis
    points: list[Point]
    threads: tuple[tuple[int, ...], ...] = ()
    """Points that a line joins."""


def latency_against_energy(view: View) -> Picture | None:
    """Seconds of a request against energy, both on log scales; None where fewer than two rows have both."""
    rows = [row for row in view.rows if row.latency_s_p50 and row.energy_wh_per_1k]
    drawn = rows[:MOST_POINTS]
    if len(drawn) < 2:
        return None
    unit = energy_unit(row.energy_wh_per_1k for row in drawn)
    middle = sorted(row.latency_s_p50 or 0.0 for row in drawn)[len(drawn) // 2]
    shortest = ("\u00b5s", 1e6)
    time, factor = next((pair for pair in (("s", 1.0), ("ms", 1e3)) if middle * pair[1] >= 0.5), shortest)
    points = []
    for row in drawn:
        energy, latency = (row.energy_wh_per_1k or 0.0) * unit.factor, (row.latency_s_p50 or 0.0) * factor
        slow = (row.latency_s_p95 or 0.0) * factor
        whisker = (latency, slow) if slow > latency else None
        words = f"at {number(energy)} {unit.name},\n{number(latency)} {time}"
        across_ends = energy_ends(row, unit)
        points.append(
            Point(row=row, x=energy, y=latency, across=across_ends, up=whisker, name=row.short_label, far=words)
        )
    ranked = [point.row.rank is not None for point in points]
    across = Axis(
        name=f"Energy per 1,000 answers ({unit.name}, log scale), less is better",
        short=f"{unit.name} per 1,000 answers (log)",
        ends=log_range([point.across or (point.x, point.x) for point in points], ranked),
    )
    up = Axis(
        name=f"A request ({time}, log scale), less is better",
        short=f"A request ({time}, log)",
        ends=log_range([point.up or (point.y, point.y) for point in points], ranked),
    )
    many = len(view.tasks) > 1
    caption = [
        "Points: the middle request; the line goes up to what one in twenty exceeds."
        + (" Both are means over the tasks." if many else ""),
        "A request that is answered in a batch takes as long as its batch.",
        "Horizontal lines: 95\u00a0% intervals of energy, for comparing." if any(p.across for p in points) else "",
        "" if view.mixed else "Marks tell the place on the frontier of quality and energy.",
    ]
    told = [f"{safe(p.row.label)}: {number(p.y)} {time} at {number(p.x)} {unit.name}" for p in points]
    plot = Plot(view=view, x=across, y=up, points=points)
    return picture("Latency against energy", plot, caption, told, len(rows))


def picture(title: str, plot: Plot, caption: list[str], told: list[str], count: int) -> Picture:
    """A plot as a page has it.

    Args:
        title: Its heading.
        plot: What is drawn.
        caption: Sentences; empty ones are left out.
        told: Each point in words.
        count: How many entrants there are, those that are not drawn included.
    """
    rows = [point.row for point in plot.points]
    if count > len(rows):
        caption.append(f"Drawn are the first {len(rows)} of {count:,} entrants.")
    if short := abbreviations(rows):
        caption.append(f"{short}.")
    more = [f"and {count - _MOST_IN_WORDS:,} more"] if count > _MOST_IN_WORDS else []
    return Picture(
        title=title,
        caption=" ".join(filter(None, caption)),
        alt=f"{title}. {'; '.join(told[:_MOST_IN_WORDS] + more)}.",
        legend=legend(rows, mixed=plot.view.mixed),
        wide=_draw(plot, _WIDE),
        narrow=_draw(plot, _NARROW),
    )


def _draw(plot: Plot, size: _Size) -> str:
    x = Scale(low=plot.x.ends[0], high=plot.x.ends[1], start=size.left, end=size.width - 8, log=plot.x.log)
    y = Scale(low=plot.y.ends[0], high=plot.y.ends[1], start=size.height - size.bottom, end=22, log=plot.y.log)
    small, middle = size is _NARROW, (x.start + x.end) / 2
    parts = axes(x, y, apart=(3.4 * size.font, 2.6 * size.font), drop=size.font + 6)
    across, up = (plot.x.short, plot.y.short) if small else (plot.x.name, plot.y.name)
    parts.append(text(middle, size.height - 6, across, anchor="middle", fill="var(--ink)"))
    parts.append(text(0, size.font - 1, up, fill="var(--ink)"))
    spots = [(x.at(point.x), y.at(point.y)) for point in plot.points]
    parts.append(path([[spots[i] for i in thread] for thread in plot.threads], "var(--muted)", 1.2))
    obstacles = []
    for point, look, (px, py) in zip(
        plot.points, kinds([point.row for point in plot.points], mixed=plot.view.mixed), spots, strict=True
    ):
        tint, shape = colour(look[0]), look[1]
        edge = {-1: "<", 1: ">"}.get(x.beyond(point.x)) or {-1: "v", 1: "^"}.get(y.beyond(point.y)) or ""
        obstacles.append(Box(px - 7, py - 7, px + 7, py + 7))
        if point.across and not edge:
            ends = x.at(point.across[0]), x.at(point.across[1])
            parts.append(line(ends, (py, py), tint, ' stroke-width="1.3"'))
            obstacles.append(Box(ends[0], py - 2, ends[1], py + 2))
        if point.up and not edge:
            ends = y.at(point.up[0]), y.at(point.up[1])
            parts.append(line((px, px), ends, tint, ' stroke-width="1.3"'))
            # A name must not rest on another's whisker, nor its line run along its own: it would look longer.
            obstacles.append(Box(px - 3, min(ends) - 6, px + 3, max(ends) - 8))
        parts.append(mark(px, py, edge or shape, tint, size=4.6, hollow=point.row.grade == "modelled"))
    frame = Box(x.start + 2, y.end, x.end + 6, y.start - 3)
    far = [bool(x.beyond(point.x) or y.beyond(point.y)) for point in plot.points]
    parts += _names(plot, far, spots, obstacles, frame, size)
    return f'<svg viewBox="0 0 {size.width:g} {size.height:g}" font-size="{size.font:g}">{"".join(parts)}</svg>'


def _names(
    plot: Plot,
    far: Sequence[bool],
    spots: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    frame: Box,
    size: _Size,
) -> list[str]:
    """Names beside points, never over one another; of very many rows only those on the frontier."""
    order = list(range(len(spots)))
    if len(order) > _MOST_NAMES:
        order = [i for i in order if far[i] or plot.points[i].row.frontier == "on"][:_MOST_NAMES]
    different = list(dict.fromkeys(point.name for point in plot.points))
    cut = dict(zip(different, cut_apart(different, _LONGEST_NAME), strict=True))
    short = [cut[point.name] for point in plot.points]
    lines_of = [_folded(name) if size is _NARROW else [name] for name in short]
    figures = [[own.replace("\n", " ")] if size is _NARROW else own.split("\n") for own in (p.far for p in plot.points)]
    words = [lines_of[i] + (figures[i] if far[i] and plot.points[i].far else []) for i in order]
    high = 1.15 * size.font
    letters = [size.font * (_BOLD if plot.points[i].row.tied_with_first else _LETTER) for i in order]
    sizes = [
        (letter * max(map(len, lines)) + 2, high * len(lines)) for letter, lines in zip(letters, words, strict=True)
    ]
    # Boxes count upwards, the picture downwards.
    flipped = [Box(o.left, size.height - o.top, o.right, size.height - o.bottom) for o in (*obstacles, frame)]
    points = [(spots[i][0], size.height - spots[i][1]) for i in order]
    placed = place_labels(points, sizes, flipped[-1], flipped[:-1], _along(plot.threads, spots, size))
    return [
        drawn
        for i, lines, spot in zip(order, words, placed, strict=True)
        if spot
        for drawn in _name(plot.points[i].row, lines, spot, size, plot.view.mixed)
    ]


def _folded(name: str) -> list[str]:
    """A long name in two lines, near its middle: in a narrow picture these find more room than one."""
    ends = [found.end() for found in re.finditer(r"[-_ ]", name[:-1])]
    if len(name) <= _SHORT_NAME or not ends:
        return [name]
    at = min(ends, key=lambda end: abs(end - len(name) / 2))
    return [name[:at].rstrip(), name[at:]]


def _along(threads: Sequence[Sequence[int]], spots: Sequence[tuple[float, float]], size: _Size) -> list[Box]:
    """Small boxes along the lines that join points, which names had better not cross; counted upwards."""
    boxes = []
    for i, j in (pair for thread in threads for pair in pairwise(thread)):
        (x, y), (to_x, to_y) = spots[i], spots[j]
        for share in (n / 24 for n in range(1, 24)):
            px, py = x + share * (to_x - x), size.height - y - share * (to_y - y)
            boxes.append(Box(px - 2, py - 2, px + 2, py + 2))
    return boxes


def _name(row: Row, lines: Sequence[str], spot: Spot, size: _Size, mixed: bool) -> list[str]:
    """The lines of a name, and the line that leads there where it is far off its point."""
    (x, y), (to_x, to_y) = spot.line
    left, middle = spot.box.left > x, (spot.box.left + spot.box.right) / 2
    anchor, at = ("start", spot.box.left + 1) if left else ("end", spot.box.right - 1)
    if spot.box.left < x < spot.box.right:
        anchor, at = "middle", middle
    ink = "var(--muted)" if row.rank is None and not mixed else "var(--ink)"
    high = (spot.box.top - spot.box.bottom) / len(lines)
    drawn = [
        text(at, size.height - spot.box.top + high * (n + 0.8), words, anchor=anchor, fill=ink,
             bold=bool(row.tied_with_first))
        for n, words in enumerate(lines)
    ]  # fmt: skip
    if spot.led:
        drawn.append(line((x, to_x), (size.height - y, size.height - to_y), "var(--muted)", ' stroke-width="0.7"'))
    return drawn
