"""RAPL through Linux's perf: the counters that `rapl` reads, for machines that keep powercap's files for root alone.

The ``power`` PMU counts the energy of packages, memory and platform, in 64 bits of 2**-32 J, whatever the hardware's
own unit (Linux, arch/x86/events/rapl.c).
"""

from __future__ import annotations

import errno
import itertools
import math
import platform
import shlex
import struct
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from .errors import MeterLost
from .perfcounter import Counter, can_call
from .perfevents import Event, find_events
from .rapl import REL_U_DRAM, REL_U_PACKAGE, REL_U_SOURCE, probe_update_s
from .sysfs import sysfs_folder
from .types import Domain, Reading, Unavailable

__all__ = ["PerfMeter", "find_mirrors"]

_LEAST_GAINS = 5
"""So often must a counter have moved for its step, or another that mirrors it, to be told."""


class PerfMeter:
    """Joules of packages and memory. Grade ``counter``: the hardware adds them up by itself."""

    id = "perf"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: list[Counter] = []

    def probe(self) -> Sequence[Domain] | Unavailable:
        """Events that can be counted, and how often they are renewed (found out by looking for 60 to 250 ms)."""
        try:
            found = _open_counters()
        except MeterLost as error:
            return Unavailable(reason=str(error), fix="run joulemark doctor again")
        if isinstance(found, Unavailable):
            return found
        try:
            return _probe_domains(found)
        except MeterLost as error:
            return Unavailable(reason=str(error), fix="run joulemark doctor again")
        finally:
            _close_all(found)

    def open(self, pid: int) -> None:  # noqa: ARG002 - the counters cover the whole machine
        """Start counting.

        Raises:
            MeterLost: What `probe` found cannot be counted any more.
        """
        self.close()
        found = _open_counters()
        if isinstance(found, Unavailable):
            raise MeterLost(found.reason)
        self._counters = found

    def read(self) -> Reading:
        """Joules of every event since `open`.

        Raises:
            MeterLost: An event is not counted any more, went backwards, or leapt.
        """
        with self._lock:
            if not self._counters:
                raise MeterLost("perf is not open")
            t0_ns, t1_ns, counts = _look_at(self._counters)
            for counter, count in zip(self._counters, counts, strict=True):
                counter.advance(count, t1_ns)
            values = {f"perf:{c.event.name}": c.total * c.event.scale_j for c in self._counters}
        return Reading(t0_ns=t0_ns, t1_ns=t1_ns, values=values)

    def close(self) -> None:
        """Count no more."""
        with self._lock:
            _close_all(self._counters)
            self._counters = []


def find_mirrors(names: Sequence[str], looks: Sequence[Sequence[int]]) -> set[str]:
    """Dies that show the counter of another die of their package, which must not be added to it.

    From 6.9 until it was mended, Linux took each core die of an AMD CPU for one with a package counter of its own
    (commit 8d72eba1cf8c, "perf/x86/rapl: Fix the energy-pkg event for AMD CPUs"). One counter read through two dies
    gains the same in nearly every look, unless it is renewed between the two; two counters hardly ever do.

    Args:
        names: What the counters are called.
        looks: What they showed, look by look.
    """
    gains = [[b - a for a, b in itertools.pairwise(shown)] for shown in zip(*looks, strict=True)]
    mirrors: set[str] = set()
    for one, other in itertools.combinations(range(len(names)), 2):
        package, _, die = names[one].partition("-die-")
        if not die or package != names[other].partition("-die-")[0] or names[one] in mirrors:
            continue
        moved = [(a, b) for a, b in zip(gains[one], gains[other], strict=True) if a or b]
        if len(moved) >= _LEAST_GAINS and sum(a == b for a, b in moved) > len(moved) / 2:
            mirrors.add(names[other])
    return mirrors


def _open_counters() -> list[Counter] | Unavailable:
    """Counters of all events that work; a total that lacks a part of it would be no total."""
    events = find_events(sysfs_folder())
    if isinstance(events, Unavailable):
        return events
    if not can_call():
        return Unavailable(
            reason=f"how to call perf is not known here for {platform.machine()} ({8 * struct.calcsize('P')}-bit)",
            fix="use a 64-bit Python on x86-64, or --meter rapl",
        )
    counters: list[Counter] = []
    try:
        for event in events:
            try:
                counters.append(Counter(event))
            except OSError as error:
                # Some kernels list parts that this CPU lacks.
                if event.summed or error.errno in (errno.EACCES, errno.EPERM):
                    _close_all(counters)
                    return _explain(error, event)
    except BaseException:
        _close_all(counters)
        raise
    return counters


def _close_all(counters: Sequence[Counter]) -> None:
    for counter in counters:
        counter.close()


def _look_at(counters: Sequence[Counter]) -> tuple[int, int, list[int]]:
    """One look at all counters: clock before and after in nanoseconds, and their counts."""
    t0_ns = time.monotonic_ns()
    counts = [counter.look() for counter in counters]
    return t0_ns, time.monotonic_ns(), counts


def _probe_domains(counters: Sequence[Counter]) -> list[Domain]:
    looks: list[list[int]] = []

    def look() -> tuple[int, list[int]]:
        _, t1_ns, counts = _look_at(counters)
        looks.append(counts)
        return t1_ns, [count for count, counter in zip(counts, counters, strict=True) if counter.event.summed]

    update_s = probe_update_s(look)
    mirrors = find_mirrors([counter.event.name for counter in counters], looks)
    shown = zip(*looks, strict=True)
    return [
        _domain(counter.event, update_s, _step(counts), mirrored=counter.event.name in mirrors)
        for counter, counts in zip(counters, shown, strict=True)
    ]


def _step(counts: Sequence[int]) -> int:
    """The hardware's own unit in counts: what all gains are multiples of; 1 where it moved too rarely to tell."""
    gains = [b - a for a, b in itertools.pairwise(counts) if b > a]
    return math.gcd(*gains) if len(gains) >= _LEAST_GAINS else 1


def _domain(event: Event, update_s: float, step: int, *, mirrored: bool) -> Domain:
    rel_u = REL_U_DRAM if event.kind == "dram" else REL_U_PACKAGE
    return Domain(
        id=f"perf:{event.name}",
        kind=event.kind,
        grade="counter",
        resolution_j=step * event.scale_j,
        update_s=update_s,
        range_j=None,
        rel_u_scale=rel_u,
        rel_u_workload=0.0,
        source=REL_U_SOURCE.format(rel_u),
        provenance=f"{event.file} on CPU {event.cpu}{', mirrors another die' if mirrored else ''}",
        summed=event.summed and not mirrored,
    )


def _explain(error: OSError, event: Event) -> Unavailable:
    """Why the kernel does not count an event, and what to do."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return _explain_permission(error)
    if error.errno == errno.ENODEV:
        return Unavailable(
            reason=f"CPU {event.cpu}, through which {event.name} is read, is offline",
            fix=f"echo 1 | sudo tee /sys/devices/system/cpu/cpu{event.cpu}/online",
        )
    if error.errno == errno.ENOSYS:
        return Unavailable(reason="this kernel was built without perf events", fix="use --meter rapl")
    return Unavailable(
        reason=f"the kernel does not count {event.file} on CPU {event.cpu} ({error.strerror})",
        fix="use --meter rapl; if JOULEMARK_SYSFS is set, it must name the /sys of the running kernel",
    )


def _explain_permission(error: OSError) -> Unavailable:
    """As Linux has it in Documentation/admin-guide/perf-security.rst and sysctl/kernel.rst, perf_event_paranoid."""
    try:
        level = Path("/proc/sys/kernel/perf_event_paranoid").read_text().strip()
    except OSError:
        level = "unknown"
    python = shlex.quote(str(Path(sys.executable).resolve()))
    return Unavailable(
        reason=f"this user may not count events of whole CPUs ({error.strerror}): that takes CAP_PERFMON, or a "
        f"kernel.perf_event_paranoid of 0 or less, and it is {level}",
        fix="until the next boot: sudo sysctl kernel.perf_event_paranoid=0; for good: echo kernel.perf_event_paranoid=0"
        f" | sudo tee /etc/sysctl.d/99-perf.conf; or for this Python alone: sudo setcap cap_perfmon=ep {python} "
        "(cap_sys_admin before Linux 5.8); in a container: start it with --cap-add PERFMON. Other users can then watch "
        "the machine's counters too, so only where users are trusted",
    )
