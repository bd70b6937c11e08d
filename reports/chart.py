"""Hand-written SVG for the page's smaller pictures: scales, axes, marks and words in the page's own colours.

A tenth of what matplotlib writes, so that a page may have a picture for each task.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

from .rows import Row
from .scene import VARIABLES, kinds

__all__ = ["Scale", "axes", "colour", "legend", "line", "mark", "path", "text"]

_SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "s": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "D": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
    "v": ((-1.15, -0.9), (1.15, -0.9), (0, 1.2)),
    "^": ((-1.15, 0.9), (1.15, 0.9), (0, -1.2)),
    "<": ((0.9, -1.15), (0.9, 1.15), (-1.2, 0)),
    ">": ((-0.9, -1.15), (-0.9, 1.15), (1.2, 0)),
    "X": ((-1, -0.45), (-0.45, -1), (0, -0.5), (0.45, -1), (1, -0.45), (0.5, 0),
          (1, 0.45), (0.45, 1), (0, 0.5), (-0.45, 1), (-1, 0.45), (-0.5, 0)),
    "P": ((-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4),
          (0.4, 1.2), (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4)),
}  # fmt: skip
"""Outlines by matplotlib's names of markers, downwards positive, of about radius 1; ``o`` is a circle."""
_ORDER = list(VARIABLES)
_STEPS: tuple[tuple[float, ...], ...] = (
    (1, 1.5, 2, 3, 4, 5, 6, 8),
    (1, 2, 3, 4, 6, 8),
    (1, 2, 3, 5),
    (1, 2, 5),
    (1, 3),
    (1,),
)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Values from ``low`` to ``high`` on a line from ``start`` to ``end``, in the picture's units; log or even."""

    low: float
    high: float
    start: float
    end: float
    log: bool = True

    def at(self, value: float) -> float:
        """Where a value stands; at the line's end where it lies beyond."""
        value = min(max(value, self.low), self.high)
        share = (
            math.log(value / self.low) / math.log(self.high / self.low)
            if self.log
            else (value - self.low) / (self.high - self.low)
        )
        return self.start + share * (self.end - self.start)

    def beyond(self, value: float) -> int:
        """-1 below the line, 1 above it, 0 on it."""
        return (value > self.high) - (value < self.low)

    def ticks(self, apart: float) -> list[float]:
        """Round values, as many as stand so far from one another."""
        for values in self._series():
            places = sorted(self.at(value) for value in values)
            if all(b - a >= apart for a, b in pairwise(places)):
                return values
        return []

    def _series(self) -> Iterable[list[float]]:
        """Ever fewer round values."""
        if not self.log:
            top = math.floor(math.log10(self.high - self.low))
            for step in (factor * 10.0**power for power in range(top - 1, top + 1) for factor in (1, 2, 2.5, 5)):
                yield [n * step for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
            return
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in _STEPS:
            values = (step * 10.0**power for power in powers for step in steps)
            yield [value for value in values if self.low <= value <= self.high]
        for stride in range(2, len(powers) + 1):
            yield [10.0**power for power in powers if power % stride == 0 and self.low <= 10.0**power <= self.high]


def axes(x: Scale, y: Scale, *, apart: tuple[float, float], drop: float, fill: str = "var(--muted)") -> list[str]:
    """Grid and tick labels of a picture.

    Args:
        x: Across.
        y: Up; it starts at the bottom.
        apart: How far ticks stand from one another at least, across and up.
        drop: From the bottom to the baseline of the labels below it.
        fill: Colour of the labels.
    """
    grid, words = [], []
    for tick in x.ticks(apart[0]):
        at = x.at(tick)
        grid.append(((at, y.start), (at, y.end)))
        words.append(text(at, y.start + drop, _label(tick), anchor="middle", fill=fill))
    for tick in _upwards(y).ticks(apart[1]):
        at = y.at(tick)
        grid.append(((x.start, at), (x.end, at)))
        words.append(text(x.start - 8, at, _label(tick), anchor="end", fill=fill, middle=True))
    lines = path(grid, "var(--grid)", 1)
    return [lines, path([((x.start, y.end), (x.start, y.start), (x.end, y.start))], "var(--muted)", 1), *words]


def path(strokes: Iterable[Sequence[tuple[float, float]]], stroke: str, width: float, more: str = "") -> str:
    """Lines through points, all of one look, in one element."""
    d = "".join("M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points) for points in strokes)
    return f'<path d="{d}" fill="none" stroke="{stroke}" stroke-width="{width:g}"{more}/>' if d else ""


def line(x: tuple[float, float], y: tuple[float, float], stroke: str, more: str = "") -> str:
    """A straight line, from the first to the second of each."""
    ends = f'x1="{_n(x[0])}" x2="{_n(x[1])}" y1="{_n(y[0])}" y2="{_n(y[1])}"'
    return f'<line {ends} stroke="{stroke}"{more}/>'


def mark(
    x: float, y: float, shape: str, stroke: str, *, size: float, hollow: bool = False, crowded: bool = False
) -> str:
    """A point in one of matplotlib's shapes, filled, or with the paper showing.

    In a crowd the others beneath show as well: through a hollow one, and beside a filled one by its pale edge.
    """
    fill = "none" if hollow and crowded else "var(--paper)" if hollow else stroke
    edge, width = ("var(--paper)" if crowded and not hollow else stroke), 1.1 if crowded else 1.6
    look = f'fill="{fill}" stroke="{edge}" stroke-width="{width}"'
    if shape == "o":
        return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{size:g}" {look}/>'
    points = "L".join(f"{_n(x + size * dx)} {_n(y + size * dy)}" for dx, dy in _SHAPES[shape])
    return f'<path d="M{points}Z" {look}/>'


def text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    fill: str = "var(--muted)",
    middle: bool = False,
    bold: bool = False,
) -> str:
    """Words at a place; ``middle`` sets them halfway up there, not on it."""
    look = f' text-anchor="{anchor}"' * (anchor != "start") + ' dominant-baseline="central"' * middle
    look += ' font-weight="700"' * bold
    return f'<text x="{_n(x)}" y="{_n(y)}"{look} fill="{fill}">{escape(words)}</text>'


def colour(shade: str) -> str:
    """The page's variable for one of the pictures' colours."""
    return f"var({VARIABLES[shade]})"


def legend(rows: Sequence[Row], *, mixed: bool, front: str = "") -> list[tuple[str, str]]:
    """What the marks of these rows stand for, each as a small picture and words; and the frontier's line, if named."""
    hollow = any(row.grade == "modelled" for row in rows)
    told = [
        (_swatch(mark(8, 8, shape, colour(shade), size=4.2, hollow=hollow)), name)
        for shade, shape, name in sorted(set(kinds(rows, mixed=mixed)), key=lambda kind: _ORDER.index(kind[0]))
    ]
    steps = _swatch('<path d="M0 12H8V4H16" fill="none" stroke="var(--front)" stroke-width="2"/>')
    return told + ([(steps, front)] if front else [])


def _swatch(drawn: str) -> str:
    return f'<svg viewBox="0 0 16 16" aria-hidden="true">{drawn}</svg>'


def _upwards(y: Scale) -> Scale:
    """The same with places that rise, for the distances between ticks."""
    return Scale(low=y.low, high=y.high, start=0, end=abs(y.end - y.start), log=y.log)


def _label(value: float) -> str:
    return f"{value:,.10g}".replace("-", "\u2212")


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
