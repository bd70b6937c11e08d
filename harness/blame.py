"""Which model it is that costs a cluster its stations, so that it fails alone and takes nothing else down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from .schedule import CellPlan

__all__ = ["Blame"]

_MOST = 3
"""Stations in a row that a model may cost."""


@dataclass
class Blame:
    """What is known of models from the stations that were lost at them.

    Attributes:
        cost: Stations in a row that were lost at a model and no other.
        suspects: Models that several were loaded with when a station was lost.
    """

    cost: Counter[str] = field(default_factory=Counter)
    suspects: set[str] = field(default_factory=set)

    def of(self, models: Collection[str]) -> str | None:
        """A station was lost at these; returns why the one is not measured any more, where that is so."""
        if len(models) != 1:
            self.suspects |= {*models}
            return None
        [model] = models
        self.cost[model] += 1
        many = self.cost[model]
        return f"{many} processes in a row were lost at this model" if many >= _MOST else None

    def acquit(self, model: str) -> None:
        """A cell of it was measured."""
        del self.cost[model]

    def to_load(self, cells: Sequence[CellPlan]) -> Sequence[CellPlan]:
        """Those of these cells whose models are loaded together; one's alone where a suspect is among them."""
        return cells[:1] if any(cell.spec.name in self.suspects for cell in cells) else cells
