"""What Joulemark's own meters do not read, through Zeus: AMD's GPUs, Apple silicon, NVIDIA Jetson, RAPL without root.

Zeus (https://ml.energy/zeus, 0.16) is optional, and runs in a process of its own: it is slow to load, lets libraries
print, asks some of them without a time limit, and starts helper processes that Zeus itself ends only at exit. It is
asked for counters and for power alone; its windows run on the wall clock, and its power monitor loses energy.
"""

from __future__ import annotations

import importlib.util
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from .child import Child, ChildFailed
from .errors import MeterLost
from .polling import NoSample, PolledMeter, Sample
from .powercap import find_zones, powercap_folder
from .sysfs import sysfs_folder
from .types import Domain, Unavailable
from .zeusd import zeusd_socket
from .zeusparts import INTERVAL_S

__all__ = ["ZeusMeter"]

PATIENCE_S = 3.0
START_S, ANSWER_S = 30.0, 4.0
"""How long Zeus may take to start (it watches AMD's counters for half a second, and `zeusamd` as long again) and to
answer; its client for zeusd gives up after 5 s by itself."""

_PROCESS = f"{__package__}.zeuschild"
_JETSON = ("/etc/nv_tegra_release", "/usr/lib/aarch64-linux-gnu/tegra")


class ZeusMeter(PolledMeter):
    """Joules of what Zeus sees here and neither ``rapl`` nor ``nvml`` does, asked for every 100 ms.

    AMD's GPUs are graded ``counter`` where the energy counters of all of them agree with the power that they show, else
    ``polled``, all of them; Jetson's rails ``polled``; Apple's figures ``modelled``, since Apple says that they are
    estimates; CPUs and memory through zeusd ``counter``.

    What was found first, by a probe or else by opening it, stays: a total is chosen by it.
    """

    def __init__(self) -> None:
        self._zeus = _Zeus()
        super().__init__("zeus", self._zeus)

    @property
    def lacks(self) -> Unavailable | None:
        """Why something that there is a sign of was not found beside what was; None where all of it was found."""
        return self._zeus.lacks


class _Zeus:
    """Zeus, in its process; a `Source`."""

    interval_s, patience_s = INTERVAL_S, PATIENCE_S

    def __init__(self) -> None:
        self._child: Child | None = None
        self._found: list[str] | None = None
        self.lacks: Unavailable | None = None

    def describe(self) -> Sequence[Domain] | Unavailable:
        """The domains; nothing is started on a machine that shows no sign of having any."""
        begun = self._begin()
        if isinstance(begun, Unavailable):
            return begun
        child, domains = begun
        child.close()
        return domains

    def ask(self) -> Sample:
        """One look at everything.

        Raises:
            NoSample: Zeus failed this time.
            MeterLost: It is gone, hangs, or a counter cannot be trusted any more.
        """
        if self._child is None:
            begun = self._begin()
            if isinstance(begun, Unavailable):
                raise MeterLost(begun.reason)
            self._child = begun[0]
        try:
            told = self._child.ask({}, ANSWER_S)
        except ChildFailed as problem:
            raise MeterLost(f"Zeus is gone: {problem}") from problem
        if "lost" in told:
            raise MeterLost(told["lost"])
        if "error" in told:
            raise NoSample(told["error"])
        return _sample(told)

    def close(self) -> None:
        """End Zeus and whatever it started."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _begin(self) -> tuple[Child, list[Domain]] | Unavailable:
        """Start Zeus where there is a sign of something for it; whoever asked for it ends it."""
        kinds = self._found or _find_signs()
        if isinstance(kinds, Unavailable):
            return kinds
        child = Child(_PROCESS)
        try:
            told = child.ask({"begin": kinds}, START_S)
        except ChildFailed as problem:
            told = {"error": str(problem)}
        lacks = _lacks(told)
        # What was there when a total was chosen must all be there again: its readings would lack it.
        if lacks and (self._found or not told.get("domains")):
            child.close()
            return lacks
        if self._found is None:
            self._found, self.lacks = told["kinds"], lacks
        return child, [Domain(**domain) for domain in told["domains"]]


def _lacks(told: Mapping[str, Any]) -> Unavailable | None:
    """What Zeus's process did not find when it began, if anything."""
    if "error" in told:
        return Unavailable(
            reason=f"Zeus does not start: {told['error']}", fix="pip install --upgrade 'joulemark[zeus]'"
        )
    return Unavailable(reason=told["reason"], fix=told["fix"]) if told["reason"] else None


def _sample(told: Mapping[str, Any]) -> Sample:
    """What Zeus's process told at a look."""
    journey_s = (told["t1_ns"] - told["t0_ns"]) / 1e9
    # A power figure is as old as it takes to be renewed at most, and half that on average. A counter is of the moment
    # it is read; where it is told beside power, it is placed that much too early as well.
    age_s = INTERVAL_S if told["watts"] else 0.0
    early_s = age_s / 2 if told["joules"] else 0.0
    return Sample(
        moment_ns=(told["t0_ns"] + told["t1_ns"]) / 2 - age_s / 2 * 1e9,
        u_moment_s=math.hypot(journey_s / math.sqrt(12), age_s / math.sqrt(12), early_s),
        watts=told["watts"],
        joules=told["joules"],
        means=told["means"],
    )


def _find_signs() -> list[str] | Unavailable:
    """What Zeus may have something to read of, by looking at a few paths; Zeus itself says nothing where it has not."""
    signs = {
        "apple": sys.platform == "darwin" and platform.machine() == "arm64",
        "amd": (sysfs_folder() / "class" / "kfd" / "kfd").exists(),
        "jetson": any(map(os.path.exists, _JETSON)),
        "zeusd": zeusd_socket() is not None and not _rapl_is_readable(),
    }
    kinds = [kind for kind, seen in signs.items() if seen]
    if not kinds:
        return Unavailable(
            reason="no AMD GPU, no Apple silicon, no Jetson, and no zeusd that is needed here",
            fix="nothing to mend: rapl reads CPUs and nvml reads NVIDIA's GPUs. For RAPL without root: run zeusd as "
            "root (https://ml.energy/zeus) and let ZEUSD_SOCK_PATH name its socket",
        )
    if importlib.util.find_spec("zeus") is None:
        return Unavailable(
            reason=f"there is something to read here ({', '.join(kinds)}), but the Python package zeus is missing",
            fix="pip install 'joulemark[zeus]'",
        )
    return kinds


def _rapl_is_readable() -> bool:
    zones = find_zones(powercap_folder())
    return bool(zones) and all(os.access(zone.energy_file, os.R_OK) for zone in zones)
