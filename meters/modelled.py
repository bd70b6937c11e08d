"""Modelled energy for machines without counters: CPU seconds of the measured processes times a stated power.

No joule is measured here. The figure follows CPU time, and says so: grade ``modelled``, an uncertainty of 30 % and
more, no claim about energy by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from .cpumodel import CpuPower, granted_threads, model_cpu_power
from .cputime import ProcessTree
from .errors import MeterLost
from .types import Domain, Reading, Unavailable

__all__ = ["ModelledMeter"]

_TICK_S = 0.01
"""A running thread's CPU clock is brought up to date at every scheduler tick at the latest: 10 ms at the slowest
rate that Linux is built with (HZ=100)."""


class ModelledMeter:
    """Joules that the CPU is taken to have used for one process tree.

    With ``idle`` and ``busy`` the watts of one hardware thread (`CpuPower`)::

        net   = CPU seconds x (busy - idle)
        gross = net + idle x seconds x threads granted

    the powers being those of the whole CPU divided by its threads. ``read`` gives gross joules, so the window of
    a process that sleeps holds its share of the idle power, and never 0.
    """

    id = "modelled"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tree: ProcessTree | None = None
        self._power: CpuPower | None = None
        self._threads = 0.0
        self._opened_ns = 0

    def probe(self) -> Sequence[Domain] | Unavailable:
        """One domain, on any machine."""
        power = model_cpu_power()
        return [
            Domain(
                id="modelled:cpu",
                kind="package",
                grade="modelled",
                resolution_j=None,
                update_s=_TICK_S,
                range_j=None,
                rel_u_scale=power.rel_u_scale,
                rel_u_workload=power.rel_u_workload,
                source=power.source,
                provenance="CPU time of the process tree, times a power model",
            )
        ]

    def open(self, pid: int) -> None:
        """Start counting the CPU time of ``pid`` and its descendants.

        Raises:
            MeterLost: There is no such process.
        """
        with self._lock:
            self._power = model_cpu_power()
            self._threads = granted_threads(pid)
            self._tree = ProcessTree(pid)
            self._opened_ns = time.monotonic_ns()

    def read(self) -> Reading:
        """Gross joules since `open`.

        Raises:
            MeterLost: The process has ended.
        """
        with self._lock:
            if self._tree is None or self._power is None:
                raise MeterLost("modelled is not open")
            t0_ns = time.monotonic_ns()
            cpu_s = self._tree.cpu_ns() / 1e9
            t1_ns = time.monotonic_ns()
            elapsed_s = ((t0_ns + t1_ns) / 2 - self._opened_ns) / 1e9
            net_j = cpu_s * (self._power.busy_w - self._power.idle_w)
            idle_j = self._power.idle_w * elapsed_s * self._threads
        return Reading(t0_ns=t0_ns, t1_ns=t1_ns, values={"modelled:cpu": net_j + idle_j})

    def close(self) -> None:
        """Forget the process."""
        with self._lock:
            self._tree = None
