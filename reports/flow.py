"""Where the energy goes, drawn: for each entrant a bar as long as its energy, cut by phase, beside the shares."""

from __future__ import annotations

from dataclasses import dataclass

from .asides import PHASES, WHERE_NOTE, phase_cells, where_it_goes
from .rows import Row
from .views import View
from .wording import energy_unit, number, safe

__all__ = ["MOST_BARS", "Flow", "flow"]

MOST_BARS = 40


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar in percent of the widest one: its whole length, and its parts by phase, of which none is missing."""

    length: float
    parts: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A table with bars.

    Attributes:
        note: How to read it.
        energy: Heading of the bars' column.
        heads: Of the columns after it, with the phase that each shows; empty for none.
        lines: Whom it is about, its energy, its bar and a text for each of ``heads``.
    """

    note: str
    energy: str
    heads: tuple[tuple[str, str], ...]
    lines: tuple[tuple[str, str, Bar | None, tuple[str, ...]], ...]


def flow(view: View) -> Flow | None:
    """The bars of a view's first entrants; None where no row tells phases."""
    table = where_it_goes(view)
    if table is None:
        return None
    rows = view.rows[:MOST_BARS]
    unit = energy_unit(row.energy_wh_per_1k for row in view.rows)
    most = max((row.energy_wh_per_1k or 0.0 for row in rows), default=0.0)
    note = f"Each bar is as long as the entrant's energy, and cut by its shares. {WHERE_NOTE}"
    if len(view.rows) > MOST_BARS:
        note += f" These are the first {MOST_BARS} of {len(view.rows):,} entrants; results.csv has all."
    phases = (*PHASES, *[""] * (len(table.heads) - len(PHASES)))
    return Flow(
        note=note,
        energy=f"{unit.name} per 1,000 answers",
        heads=tuple(zip(phases, table.heads, strict=True)),
        lines=tuple(
            (safe(row.label), number(_scaled(row, unit.factor)), _bar(row, most), cells)
            for row, cells in zip(rows, phase_cells(view, rows), strict=True)
        ),
    )


def _scaled(row: Row, factor: float) -> float | None:
    return None if row.energy_wh_per_1k is None else row.energy_wh_per_1k * factor


def _bar(row: Row, most: float) -> Bar | None:
    if row.energy_wh_per_1k is None or not row.phase_shares:
        return None
    shares = [(name, row.phase_shares[name]) for name in PHASES if name in row.phase_shares]
    parts = tuple((name, round(100 * max(0.0, share), 2)) for name, share in shares)
    return Bar(length=round(100 * row.energy_wh_per_1k / most, 2), parts=parts)
