"""The meters around the requests of one cell, and who else worked meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import psutil

from joulemark.meters.errors import MeterLost
from joulemark.meters.types import EnergyRecord
from joulemark.meters.window import PowerSample, Recorder
from joulemark.tasks.types import Part

__all__ = ["CellMeter"]


class CellMeter:
    """Told by `lmeval.ask` when requests begin and end; a task may have several windows.

    Attributes:
        records: Energy of the windows.
        traces: Power over each of them.
        warm_up_j: Joules of the warm-ups; None where one was too short for the meter.
        company: Cores that worked for other processes meanwhile, on average.
    """

    def __init__(self, recorder: Recorder, server: int | None = None) -> None:
        """``server`` is the process that computes, where it was not started by this one: it is no company."""
        self._recorder, self._server = recorder, server
        self._part: Part = "requests"
        self._before = self._others_s()
        self.records: list[EnergyRecord] = []
        self.traces: list[Sequence[PowerSample]] = []
        self.warm_up_j: float | None = 0.0
        self.company = 0.0

    def start(self, part: Part) -> None:
        """Begin a window."""
        self._part, self._before = part, self._others_s()
        self._recorder.start()

    def stop(self) -> None:
        """End it; a meter that was lost in a warm-up is told by the next one."""
        if self._part == "warm_up":
            self._stop_warm_up()
            return
        record = self._recorder.stop()
        self.records.append(record)
        self.traces.append(self._recorder.trace)
        self.company = max(self.company, (self._others_s() - self._before) / record.window_s)

    def _stop_warm_up(self) -> None:
        try:
            warm_up_j = self._recorder.stop().gross_j
        except MeterLost:
            self.warm_up_j = None
        else:
            self.warm_up_j = None if self.warm_up_j is None else self.warm_up_j + warm_up_j

    def _others_s(self) -> float:
        """CPU seconds that all others have used since the machine started, what a hypervisor took away included."""
        machine = psutil.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        # Guests' time is part of user and nice already.
        guests = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
        ours_s = _tree_s(psutil.Process())
        with contextlib.suppress(psutil.NoSuchProcess):
            ours_s += 0.0 if self._server is None else _tree_s(psutil.Process(self._server))
        return float(sum(machine) - idle - guests) - ours_s


def _tree_s(process: psutil.Process) -> float:
    """CPU seconds of a process and all that it started; of those that are gone, what it waited for."""
    total = 0.0
    for member in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = member.cpu_times()
            total += sum(getattr(times, part, 0.0) for part in ("user", "system", "children_user", "children_system"))
    return total
