"""Names beside points that never cover one another: tried spot by spot, left out where none is free."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Box", "Spot", "place_labels", "place_letters"]

_ANGLES = (35, 145, -35, -145, 90, -90, 0, 180, -62, -118, 62, 118, -75, -105)
_REACHES = (11.0, 17.0, 26.0, 38.0, 54.0, 76.0, 104.0, 138.0, 176.0)
_NEAR = (8.0, 12.0)
"""For letters, to which no line leads."""
_SOFT, _LED, _AMBIGUOUS, _CROSSED, _TANGLED = 25.0, 20.0, 50.0, 60.0, 300.0
"""Pixels that a label may rather be away: than on a curve, with a line, beside another's point, its line through
points or bars, its line through a name."""
_ROUNDS = 6
"""How often each label may move."""


Point = tuple[float, float]
Line = tuple[Point, Point]
Priced = tuple["Spot", float]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: Box) -> bool:
        """Whether they share any area."""
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )

    def crossed(self, line: Line) -> bool:
        """Whether a line runs through it; the clipping is Liang and Barsky's (1984)."""
        (x, y), (to_x, to_y) = line
        enters, leaves = 0.0, 1.0
        for at, way, low, high in ((x, to_x - x, self.left, self.right), (y, to_y - y, self.bottom, self.top)):
            if way == 0:
                if not low < at < high:
                    return False
                continue
            near, far = sorted(((low - at) / way, (high - at) / way))
            enters, leaves = max(enters, near), min(leaves, far)
        return enters < leaves

    def nearest(self, point: Point) -> Point:
        """The place in it that is nearest to a point."""
        return min(max(point[0], self.left), self.right), min(max(point[1], self.bottom), self.top)

    def holds(self, point: Point) -> bool:
        """Whether a point lies in it."""
        return self.nearest(point) == point

    def inside(self, other: Box) -> bool:
        """Whether it lies wholly in ``other``."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.bottom >= other.bottom
            and self.top <= other.top
        )


@dataclass(frozen=True)
class Spot:
    """Where a label goes.

    Attributes:
        box: The rectangle it fills.
        led: Whether it is so far from its point that a line must lead there.
        line: Where that line would run, from the point to the rectangle.
    """

    box: Box
    led: bool
    line: Line


def place_labels(
    points: Sequence[Point],
    sizes: Sequence[tuple[float, float]],
    frame: Box,
    obstacles: Sequence[Box],
    soft: Sequence[Box] = (),
) -> list[Spot | None]:
    """A free spot for each label; None where there is none, and where they are few, for the last points.

    Each label first takes the best spot that is left, then all are moved, one after another, while that helps: near to
    its point and nearer to it than to others, with no line through names or points.

    Args:
        points: Centres of the points, pixels.
        sizes: Width and height of the labels, pixels.
        frame: What all labels must lie in.
        obstacles: What no label may cover: points, bars, lines.
        soft: What one covers only where there is no other way.
    """
    free = [
        [
            (spot, _price(spot, points, obstacles, soft))
            for spot in _candidates(point, size, _REACHES)
            if spot.box.inside(frame) and not any(spot.box.overlaps(other) for other in obstacles)
        ]
        for point, size in zip(points, sizes, strict=True)
    ]
    layouts = [_settle(free, order) for order in _orders(points)]
    return min(layouts, key=lambda layout: ([spot is None for spot in layout[1]], layout[0]))[1]


def place_letters(
    points: Sequence[Point], size: tuple[float, float], frame: Box, obstacles: Sequence[Box], soft: Sequence[Box] = ()
) -> list[Box | None]:
    """A free spot close to each point for a letter, first come first served; None where there is none.

    Quick, for a page of many small pictures. The arguments are those of `place_labels`, all of one size.
    """
    taken: list[Box | None] = []
    for point in points:
        others = [*obstacles, *filter(None, taken)]
        free = [
            spot
            for spot in _candidates(point, size, _NEAR)
            if spot.box.inside(frame) and not any(spot.box.overlaps(other) for other in others)
        ]
        best = min(free, key=lambda spot: _price(spot, points, (), soft), default=None)
        taken.append(best.box if best else None)
    return taken


def _orders(points: Sequence[Point]) -> list[list[int]]:
    """As given, and from each side."""
    given = list(range(len(points)))
    return [given, *(sorted(given, key=lambda i: way * points[i][axis]) for axis in (0, 1) for way in (1, -1))]


def _settle(free: Sequence[Sequence[Priced]], order: Sequence[int]) -> tuple[float, list[Spot | None]]:
    """The price of a layout, and its spots."""
    spots: list[Spot | None] = [None] * len(free)
    prices = [0.0] * len(free)
    for _ in range(_ROUNDS):
        before = list(spots)
        for i in order:
            others = [spot for spot in spots[:i] + spots[i + 1 :] if spot]
            prices[i], spots[i] = _cheapest(free[i], others)
        if spots == before:
            break
    return sum(prices), spots


def _cheapest(free: Sequence[Priced], others: Sequence[Spot]) -> tuple[float, Spot | None]:
    """The spot that costs least beside the others, and its price; 0 for none."""
    best, least = None, math.inf
    for spot, price in free:
        if price < least and not any(spot.box.overlaps(other.box) for other in others):
            whole = price + sum(_entangled(spot, other) for other in others)
            if whole < least:
                best, least = spot, whole
    return (least, best) if best else (0.0, None)


def _price(spot: Spot, points: Sequence[Point], obstacles: Sequence[Box], soft: Sequence[Box]) -> float:
    """How bad a spot is by itself, in pixels of distance from its point."""
    point, near = spot.line
    price = math.dist(point, near)
    price += _SOFT * any(spot.box.overlaps(other) for other in soft)
    if spot.led:
        return price + _LED + _CROSSED * any(o.crossed(spot.line) and not o.holds(point) for o in obstacles)
    nearer = (math.dist(other, spot.box.nearest(other)) < math.dist(point, near) for other in points if other != point)
    return price + _AMBIGUOUS * any(nearer)


def _entangled(one: Spot, other: Spot) -> float:
    """How bad it is that lines run through names or one another."""
    through = (one.led and other.box.crossed(one.line)) + (other.led and one.box.crossed(other.line))
    return _TANGLED * through + _CROSSED * (one.led and other.led and _cross(one.line, other.line))


def _cross(one: Line, other: Line) -> bool:
    """Whether the ends of each lie on either side of the other."""
    return _sides(one, other) and _sides(other, one)


def _sides(line: Line, ends: Line) -> bool:
    (x, y), (to_x, to_y) = line
    first, second = ((to_x - x) * (b - y) - (to_y - y) * (a - x) for a, b in ends)
    return first * second < 0


def _candidates(point: tuple[float, float], size: tuple[float, float], reaches: Sequence[float]) -> Iterator[Spot]:
    """Spots around a point, near ones first."""
    x, y = point
    width, height = size
    for reach in reaches:
        for angle in _ANGLES:
            dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            left = x + dx * reach - width * (0.5 - 0.5 * (dx > 0.1) + 0.5 * (dx < -0.1))
            bottom = y + dy * reach - height * (0.5 - 0.5 * (dy > 0.1) + 0.5 * (dy < -0.1))
            box = Box(left, bottom, left + width, bottom + height)
            yield Spot(box, led=reach > 20, line=(point, box.nearest(point)))
