"""Flags that a cell's own figures ask for: who takes one off hides what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from joulemark.harness.cells import BUSY_CORES
from joulemark.harness.record import Cell, DeviceState
from joulemark.meters.conditions import slowed_down
from joulemark.meters.types import Conditions

from .findings import Finding
from .submission import Submission

__all__ = ["check_flags", "flags_told"]

_ROUNDED = 0.0005
"""``other_cpu_cores`` is kept with three decimals."""


def check_flags(sent: Submission) -> Iterator[Finding]:
    """Flags of company, heat and a lack of energy are there where the cell's own figures say so, and nowhere else."""
    for number, cell in enumerate(sent.cells):
        if cell.status != "ok":
            continue
        for flag, wanted in _wanted(cell).items():
            if wanted != (flag in cell.flags):
                does = "ask for this flag" if wanted else "do not ask for this flag"
                message = f"{flag}: the cell's own figures {does}; pack the run as it was measured."
                yield Finding(code="flag", path=f"cells[{number}].flags", message=message)


def flags_told(sent: Submission) -> list[str]:
    """Each flag and in how many cells it is, the most frequent first."""
    flags = Counter(flag for cell in sent.cells for flag in set(cell.flags))
    return [f"{flag} in {many:,}" for flag, many in flags.most_common()]


def _wanted(cell: Cell) -> dict[str, bool]:
    found = {}
    if cell.other_cpu_cores is not None and abs(cell.other_cpu_cores - BUSY_CORES) > _ROUNDED:
        found["busy_machine"] = cell.other_cpu_cores > BUSY_CORES
    told = [state for span in cell.windows for state in (*span.before, *span.after)]
    if any(state.slowed_by or state.slowed_s for state in told):
        found["throttled"] = any(slowed_down(_at(span.before), _at(span.after)) for span in cell.windows)
    return found


def _at(states: tuple[DeviceState, ...]) -> list[Conditions]:
    return [Conditions(**dict(state)) for state in states]
