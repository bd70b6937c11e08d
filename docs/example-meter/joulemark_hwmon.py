"""A meter for the power sensors that Linux shows under ``/sys/class/hwmon``, such as a board's INA226.

https://docs.kernel.org/hwmon/sysfs-interface.html: ``power1_input`` is in microwatts.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

from joulemark.meters.errors import UsageError
from joulemark.meters.polling import NoSample, PolledMeter, Sample
from joulemark.meters.types import Domain, Unavailable

UPDATE_S = 0.1
"""Longer than an INA226 takes for a reading, as Linux sets it up: 35 ms."""
REL_U = 0.01
"""An INA226 with the usual shunt of 1 %; its own gain error, 0.1 % at most by its data sheet, is small beside that."""


def hwmon(name: str = "hwmon", chip: str = "ina226", rel_u: str = str(REL_U)) -> PolledMeter:
    """A meter for one chip; called without arguments for ``joulemark meters``, and with a user's own otherwise.

    What a user writes comes as text.

    Raises:
        UsageError: ``rel_u`` is no share.
    """
    try:
        error = float(rel_u)
    except ValueError:
        error = -1.0
    if not 0 < error < 1:
        raise UsageError(f"meter {name!r}: rel_u={rel_u} is no share between 0 and 1, such as 0.01")
    return PolledMeter(name, Sensor(name, chip, error))


class Sensor:
    """The sensor of one chip, asked ten times a second."""

    interval_s = 0.1
    patience_s = 2.0

    def __init__(self, name: str, chip: str, rel_u: float) -> None:
        self._name, self._chip, self._rel_u = name, chip, rel_u

    def describe(self) -> Sequence[Domain] | Unavailable:
        """One domain: the board behind the sensor."""
        file = find_file(self._chip, "power1_input")
        if file is None:
            return Unavailable(
                reason=f"no sensor of Linux's hwmon is called {self._chip}",
                fix="see what `grep . /sys/class/hwmon/*/name` lists, and name it: --meter board=hwmon:chip=NAME",
            )
        return [
            Domain(
                id=f"{self._name}:board",
                kind="platform",
                grade="polled",
                resolution_j=None,
                update_s=UPDATE_S,
                range_j=None,
                rel_u_scale=self._rel_u,
                rel_u_workload=0.0,
                source="INA226 data sheet, Texas Instruments SBOS547, and a shunt of 1 %",
                provenance=str(file),
                # The board holds what other meters see of it, so it belongs in no total by itself.
                summed=False,
            )
        ]

    def ask(self) -> Sample:
        """The power now."""
        file = find_file(self._chip, "power1_input")
        if file is None:
            raise NoSample(f"{self._chip} is gone")
        t0_ns = time.monotonic_ns()
        watts = int(file.read_text()) / 1e6
        # The figure is up to `UPDATE_S` old, and half of that on average.
        return Sample(
            moment_ns=(t0_ns + time.monotonic_ns()) / 2 - UPDATE_S / 2 * 1e9,
            u_moment_s=UPDATE_S / math.sqrt(12),
            watts={f"{self._name}:board": watts},
        )

    def close(self) -> None:
        """Nothing is held open."""


def find_file(chip: str, figure: str) -> Path | None:
    """Where a chip shows a figure; None where it is not there, or does not show it."""
    root = Path(os.environ.get("JOULEMARK_SYSFS") or "/sys") / "class" / "hwmon"
    for folder in sorted(root.glob("hwmon*")):
        file = folder / figure
        if file.exists() and (folder / "name").read_text().strip() == chip:
            return file
    return None
