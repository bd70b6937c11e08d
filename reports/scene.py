"""What a picture is drawn from: rows, axes, sizes, and the colours and shapes that carry meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .labels import Box
from .rows import Row
from .stats import Floats
from .views import View
from .wording import Unit, safe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "FRONT",
    "GRID",
    "INK",
    "MUTED",
    "PAPER",
    "SHADE",
    "VARIABLES",
    "Layout",
    "Scene",
    "energy_ends",
    "extent",
    "kinds",
]

INK, MUTED, GRID, PAPER, FRONT, SHADE = "#1b1f24", "#57606a", "#e3e7eb", "#ffffff", "#c04f00", "#fbf3ee"
_STATUS = {
    "on": ("#0072b2", "o", "on the frontier"),
    "unclear": ("#9a6a00", "D", "unclear"),
    "dominated": ("#a8467f", "v", "dominated"),
    None: ("#6e7781", "X", "not judged"),
}
_KINDS = (
    ("#0072b3", "o"),
    ("#c04f01", "s"),
    ("#00805c", "^"),
    ("#a8467e", "D"),
    ("#9a6a01", "v"),
    ("#2e86b8", "P"),
)
VARIABLES = (
    {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper", FRONT: "--front", SHADE: "--shade"}
    | {colour: f"--{status or 'none'}" for status, (colour, _, _) in _STATUS.items()}
    | {colour: f"--kind{number}" for number, (colour, _) in enumerate(_KINDS, start=1)}
)
"""The page's CSS variable for each colour, so that one drawing serves light and dark."""


@dataclass(frozen=True)
class Layout:
    """Sizes in inches, the font in points; ``small`` for a telephone."""

    width: float
    height: float
    font: float
    left: float
    right: float
    top: float
    bottom: float
    small: bool = False

    @property
    def least(self) -> float:
        """The smallest font: on a telephone 11 pixels, which has 328 for the width."""
        return self.font - (0.8 if self.small else 2)


@dataclass(frozen=True)
class Scene:
    """One picture while it is drawn.

    Attributes:
        axes: Where to draw.
        view: What it shows.
        rows: The rows that have quality and energy.
        x: Their energies per 1,000 answers, in ``unit``; of those that are far off, the end of the axis.
        y: Their qualities, points.
        reach: The ends of the energy axis.
        unit: Of the energy axis.
        layout: Sizes.
    """

    axes: Axes
    view: View
    rows: tuple[Row, ...]
    x: Floats
    y: Floats
    reach: tuple[float, float]
    unit: Unit
    layout: Layout

    def bar(self, row: Row) -> tuple[float, float] | None:
        """The ends of its bar along the axis; None where there is none to draw."""
        return None if self.far_off(row) else energy_ends(row, self.unit)

    def far_off(self, row: Row) -> bool:
        """Whether its energy lies beyond the axis, so that a mark at the end has to stand for it."""
        energy = (row.energy_wh_per_1k or 0.0) * self.unit.factor
        return not self.reach[0] <= energy <= self.reach[1]

    def kinds(self) -> list[tuple[str, str, str]]:
        """Colour, shape and name for each row."""
        return kinds(self.rows, mixed=self.view.mixed)

    def pixels(self, points: Floats | Sequence[tuple[float, float]]) -> Floats:
        """Pixel positions of points given in the axes' units, shape (points, 2)."""
        result: Floats = self.axes.transData.transform(points)
        return result

    @property
    def frame(self) -> Box:
        """The axes' rectangle in pixels."""
        box = self.axes.get_window_extent()
        return Box(box.x0, box.y0, box.x1, box.y1)


def kinds(rows: Sequence[Row], *, mixed: bool) -> list[tuple[str, str, str]]:
    """Colour, shape and name for each row: its place on the frontier; in a mixed view what measured it."""
    if not mixed:
        return [_STATUS[row.frontier] for row in rows]
    names = sorted({_kind(row) for row in rows})
    return [(*_KINDS[names.index(_kind(row)) % len(_KINDS)], _kind(row)) for row in rows]


def energy_ends(row: Row, unit: Unit) -> tuple[float, float] | None:
    """The interval of a row's energy that compares entrants, in ``unit``."""
    if row.energy_wh_per_1k_within_low is None or row.energy_wh_per_1k_within_high is None:
        return None
    return row.energy_wh_per_1k_within_low * unit.factor, row.energy_wh_per_1k_within_high * unit.factor


def extent(axes: Axes, text: Any) -> Box:
    """The rectangle that a text fills, in pixels."""
    figure: Any = axes.get_figure()
    box = text.get_window_extent(figure.canvas.get_renderer())
    return Box(box.x0, box.y0, box.x1, box.y1)


def _kind(row: Row) -> str:
    return safe(f"{row.hardware}; {row.grade or 'none'}, {row.scope or 'none'}")
