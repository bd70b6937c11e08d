"""A meter that counts: the energy counters that Linux shows under ``/sys/class/hwmon``, for chips that have one.

https://docs.kernel.org/hwmon/sysfs-interface.html: ``energy1_input`` is in microjoules.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from joulemark_hwmon import REL_U, UPDATE_S, find_file

from joulemark.meters.errors import MeterLost
from joulemark.meters.types import Domain, Reading, Unavailable


class EnergyCounter:
    """The counter of one chip. `Meter` is a protocol: there is nothing to inherit from."""

    def __init__(self, chip: str, name: str = "hwmon-energy") -> None:
        """Prepare; nothing is read yet. As ``chip`` has no default, a user has to name a meter of this kind.

        Args:
            chip: What the chip's file ``name`` holds.
            name: What to call the meter; its domains' ids begin with it.
        """
        self.id = name
        self._chip = chip
        self._lock = threading.Lock()
        self._file: Path | None = None
        self._began_uj = self._last_uj = 0

    def probe(self) -> Sequence[Domain] | Unavailable:
        """One domain, or why there is none; it is asked before `open`, and leaves nothing open."""
        file = find_file(self._chip, "energy1_input")
        if file is None:
            return Unavailable(
                reason=f"no chip of Linux's hwmon that is called {self._chip} counts energy",
                fix="see what `grep . /sys/class/hwmon/*/name` lists, and which of these have an energy1_input",
            )
        return [
            Domain(
                id=f"{self.id}:board",
                kind="platform",
                grade="counter",
                resolution_j=1e-6,
                update_s=UPDATE_S,
                # It has 64 bits: at 1 kW they last for 500 years. What wraps is undone in `read`.
                range_j=None,
                rel_u_scale=REL_U,
                rel_u_workload=0.0,
                source="assumed: a shunt of 1 %",
                provenance=str(file),
                summed=False,
            )
        ]

    def open(self, pid: int) -> None:  # noqa: ARG002 - it matters to meters that tell processes apart
        """Begin at 0 J."""
        self._file = find_file(self._chip, "energy1_input")
        self._began_uj = self._last_uj = self._count()

    def read(self) -> Reading:
        """Joules since it was opened, and when they were looked at; several threads may ask at once.

        Raises:
            MeterLost: The counter is gone or fell, so that what it says would be a guess.
        """
        with self._lock:
            t0_ns = time.monotonic_ns()
            count_uj = self._count()
            t1_ns = time.monotonic_ns()
            if count_uj < self._last_uj:
                raise MeterLost(f"{self._file} fell from {self._last_uj} to {count_uj}")
            self._last_uj = count_uj
        return Reading(t0_ns=t0_ns, t1_ns=t1_ns, values={f"{self.id}:board": (count_uj - self._began_uj) / 1e6})

    def close(self) -> None:
        """Let go of everything; it may be opened again."""
        self._file = None

    def _count(self) -> int:
        if self._file is None:
            raise MeterLost(f"{self.id} is not open, or its chip is gone")
        try:
            return int(self._file.read_text())
        except (OSError, ValueError) as problem:
            raise MeterLost(f"{self._file} cannot be read: {problem}") from problem
