"""A submission is of one machine, which measured cell by cell; a run on a cluster may not be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from joulemark.harness.record import Cell
from joulemark.harness.store import Run
from joulemark.meters.errors import UsageError

__all__ = ["of_one_machine"]


def of_one_machine(run: Run) -> Run:
    """The run as the machine's that measured it; those that stood by in a cluster are left out.

    Raises:
        UsageError: There are several, or several nodes of one measured at the same time.
    """
    measured_on = {cell.machine_id for cell in run.cells} if run.header.stations else set()
    if len(measured_on) > 1:
        raise UsageError(
            f"{run.path} was measured on {len(measured_on)} machines, and a submission is one machine's: run what is "
            "to be sent on one, such as by `--place` and its label."
        )
    if _side_by_side(run.cells):
        raise UsageError(
            f"{run.path} was measured by several Ray nodes of one machine side by side, and a submission's cells were "
            "measured one by one: run what is to be sent without --executor, or with one node a machine."
        )
    return next(iter(run.parts), run)


def _side_by_side(cells: Sequence[Cell]) -> bool:
    """Whether cells of different nodes were measured at the same time."""
    spans = sorted(
        (datetime.fromisoformat(cell.started_at).timestamp(), cell.duration_s or 0.0, cell.node)
        for cell in cells
        if cell.node and cell.started_at
    )
    return any(node != other and start < began + lasted for (began, lasted, node), (start, _, other) in pairwise(spans))
