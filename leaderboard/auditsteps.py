"""What real counters and real processes leave in their figures, and a factor on them takes away."""

from __future__ import annotations

from collections.abc import Iterator

from joulemark.harness.record import Cell
from joulemark.meters.cpumodel import BUSY_SHARE, IDLE_SHARE
from joulemark.meters.naming import meter_name

from .auditpower import watts_a_thread
from .findings import Finding
from .submission import Submission, length_s

__all__ = ["check_busy", "check_steps"]

_STEP_J = {"rapl": 1e-6, "nvml": 1e-3}
"""Linux shows RAPL in whole microjoules (docs.kernel.org/power/powercap/powercap.html), NVML in whole millijoules
(nvmlDeviceGetTotalEnergyConsumption); windows are differences of two such figures, and add up."""
_OFF = 0.01
"""Of a step: what adding up windows may round."""
_MOST_STEPS = 1e11
"""Up to which 16 digits tell a hundredth of a step."""
_LEAST_BUSY = 0.4
"""Of the time that a reference model's thread can have, over a run: 0.91 was the least in 220 of our own runs."""


def check_steps(sent: Submission) -> Iterator[Finding]:
    """Joules of a lone counter are a whole number of its steps; of several, some are worked out between two steps."""
    [*meters] = sent.run.meters
    step_j = _STEP_J.get(meter_name(meters[0].id)) if len(meters) == 1 and sent.run.remetered_from is None else None
    if step_j is None:
        return
    steps = [
        (number, cell.energy.gross_j / step_j)
        for number, cell in enumerate(sent.cells)
        if cell.energy is not None and cell.energy.gross_j is not None and cell.energy.gross_j < _MOST_STEPS * step_j
    ]
    off = [number for number, many in steps if abs(many - round(many)) > _OFF]
    if len(off) > len(steps) / 2:
        message = (
            f"the counter counts in steps of {step_j:g} J, and most of the run's figures are no whole number of them."
        )
        yield Finding(code="counter-steps", path=f"cells[{off[0]}].energy.gross_j", message=message)


def check_busy(sent: Submission) -> Iterator[Finding]:
    """By CPU time, a reference model keeps a thread busy while it answers, or as much of one as it was granted.

    A run is looked at as a whole, since other work may take a cell's time away; where that is known it is taken off.
    """
    [*watts] = [watts_a_thread(meter) for meter in sent.run.meters if meter.summed]
    if len(watts) != 1 or not watts[0]:
        return
    cells = [cell for cell in sent.cells if cell.model_args.startswith("ref:")]
    spent_s = possible_s = 0.0
    for cell in cells:
        busy_s, could_s = _cpu_s(cell, watts[0], sent.run.machine.cpu_count or 0)
        spent_s, possible_s = spent_s + busy_s, possible_s + could_s
    if spent_s < _LEAST_BUSY * possible_s:
        message = (
            f"the reference models computed for {spent_s:,.3g} s of CPU time, by their net energy, in windows in which "
            f"they had {possible_s:,.3g} s, and they wait for nothing; measure again."
        )
        yield Finding(code="power-low", path="cells", message=message)


def _cpu_s(cell: Cell, thread_w: float, threads: int) -> tuple[float, float]:
    """CPU seconds by a cell's net energy, and those that one thread could have had; zeros where that is not known."""
    energy = cell.energy
    if energy is None or energy.net_j is None or energy.idle_w is None or cell.other_cpu_cores is None:
        return 0.0, 0.0
    granted = energy.idle_w / (IDLE_SHARE * thread_w)
    free = min(1.0, granted, max(0.0, threads - cell.other_cpu_cores))
    return energy.net_j / ((BUSY_SHARE - IDLE_SHARE) * thread_w), free * length_s(energy)
