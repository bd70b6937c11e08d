"""Names beside points that never cover one another: tried spot by spot, left out where none is free."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Box", "Spot", "place_labels"]

_ANGLES = (35, 145, -35, -145, 90, -90, 0, 180, -62, -118, 62, 118)
_REACHES = (11.0, 17.0, 26.0, 38.0, 54.0, 76.0, 104.0, 138.0)


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
    """

    box: Box
    led: bool


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    frame: Box,
    obstacles: Sequence[Box],
    soft: Sequence[Box] = (),
) -> list[Spot | None]:
    """A free spot for each label, the first points first; None where there is none.

    Args:
        points: Centres of the points, pixels.
        sizes: Width and height of the labels, pixels.
        frame: What all labels must lie in.
        obstacles: What no label may cover: points, bars, lines.
        soft: What one covers only where there is no other way.
    """
    taken = list(obstacles)
    spots: list[Spot | None] = []
    for point, size in zip(points, sizes, strict=True):
        free = [
            s for s in _candidates(point, size) if s.box.inside(frame) and not any(s.box.overlaps(t) for t in taken)
        ]
        clear = [s for s in free if not any(s.box.overlaps(t) for t in soft) and not s.led]
        spot = next(iter(clear or free), None)
        if spot:
            taken.append(spot.box)
        spots.append(spot)
    return spots


def _candidates(point: tuple[float, float], size: tuple[float, float]) -> Iterator[Spot]:
    """Spots around a point, near ones first."""
    x, y = point
    width, height = size
    for reach in _REACHES:
        for angle in _ANGLES:
            dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            left = x + dx * reach - width * (0.5 - 0.5 * (dx > 0.1) + 0.5 * (dx < -0.1))
            bottom = y + dy * reach - height * (0.5 - 0.5 * (dy > 0.1) + 0.5 * (dy < -0.1))
            yield Spot(Box(left, bottom, left + width, bottom + height), led=reach > 20)
