"""What a run has for views: its entrants, and what it lacks. A run itself may be forgotten after that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulemark.harness.store import Run

from .entrants import Entrant, tried
from .progress import Progress, not_begun, progress

__all__ = ["Tried", "look_at"]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """Of a run.

    Attributes:
        run_id: Its id.
        entrants: All that it tried to measure.
        not_begun: A sentence for each planned task or model without any cell.
        progress: How far it is; None where it is finished.
    """

    run_id: str
    entrants: Sequence[Entrant]
    not_begun: Sequence[str]
    progress: Progress | None


def look_at(run: Run) -> Tried:
    """Read a run.

    Raises:
        UsageError: The items of a finished cell cannot be read.
    """
    entrants = tried([run])
    for sample in (sample for entrant in entrants for sample in entrant.samples.values()):
        # Here, where many runs are read in several processes; each of its views needs it.
        _ = sample.points
    return Tried(run_id=run.header.run_id, entrants=entrants, not_begun=not_begun([run]), progress=progress(run))
