"""Which model it is that costs a cluster its stations, so that it fails alone and takes nothing else down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from .schedule import CellPlan

__all__ = ["Blame"]

_MOST = 3
"""Stations in a row that a model may cost on a machine."""


@dataclass
class Blame:
    """What is known of models from the stations that were lost at them, whose machines are still there.

    Attributes:
        cost: Stations in a row that were lost at a model and no other.
        suspects: Models that several were loaded with when a station was lost.
    """

    cost: Counter[str] = field(default_factory=Counter)
    suspects: set[str] = field(default_factory=set)

    def is_enough(self, models: Collection[str]) -> bool:
        """A station was lost at these; returns whether a single one has cost too many."""
        if len(models) != 1:
            self.suspects |= {*models}
            return False
        [model] = models
        self.cost[model] += 1
        return self.cost[model] >= _MOST

    def acquit(self, model: str) -> None:
        """A cell of it was measured for the first time, or it goes to another machine."""
        del self.cost[model]

    def to_load(self, cells: Sequence[CellPlan]) -> Sequence[CellPlan]:
        """Those of these cells whose models are loaded together; one's alone where a suspect is among them."""
        return cells[:1] if any(cell.spec.name in self.suspects for cell in cells) else cells
