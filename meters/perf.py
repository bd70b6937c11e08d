"""RAPL through Linux's perf: the counters that `rapl` reads, for machines that keep powercap's files for root alone.

The ``power`` PMU counts the energy of packages, memory and platform. The kernel undoes the hardware's 32-bit wraps and
adds up in 64 bits of 2**-32 J, whatever the hardware's own unit (Linux, arch/x86/events/rapl.c). How to ask for an
event is in perf_event_open(2); where its figures are found, in Documentation/ABI/testing, files
``sysfs-bus-event_source-devices-events`` and ``-format``. The ``power_core`` PMU of newer kernels is left alone: what
single cores use is part of their package.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import math
import os
import platform
import re
import shlex
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import MeterLost
from .rapl import REL_U_DRAM, REL_U_PACKAGE, REL_U_SOURCE, probe_update_s
from .sysfs import explain_missing, sysfs_folder
from .types import MOST_PLAUSIBLE_W, Domain, Reading, ScopeKind, Unavailable

__all__ = ["PerfMeter", "find_mirrors"]

_EVENTS: dict[str, tuple[str, ScopeKind, bool]] = {
    "energy-pkg": ("package", "package", True),
    "energy-ram": ("dram", "dram", True),
    "energy-cores": ("core", "package", False),
    "energy-gpu": ("uncore", "package", False),
    "energy-psys": ("psys", "platform", False),
}
"""What powercap calls the counter of an event, its kind, and whether it adds to a total: as in `powercap`."""

_SYSCALLS = {"x86_64": 298, "aarch64": 241}
"""Number of perf_event_open in 64-bit processes (Linux, arch/x86/entry/syscalls and include/uapi/asm-generic)."""
_COUNT_AND_TIMES = 0b11  # PERF_FORMAT_TOTAL_TIME_ENABLED and ..._RUNNING
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC
_READ = struct.Struct("=QQQ")
_MOST_PAUSED, _MOST_PAUSED_S = 0.002, 0.01
"""An event pauses for microseconds when others are added beside it; and its clock is not disciplined by NTP, which
moves the monotonic one by up to 0.05 %."""
_LEAST_GAINS = 5


class PerfMeter:
    """Joules of packages and memory. Grade ``counter``: the hardware adds them up by itself."""

    id = "perf"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: list[_Counter] = []

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


@dataclass(frozen=True, kw_only=True)
class _Event:
    """What to count, and what it means.

    Attributes:
        name: As in a domain's id, ``package-0``.
        kind: What it covers.
        summed: Whether it adds to a total.
        file: The event's description.
        pmu: Number of the PMU.
        config: Number of the event.
        cpu: The CPU that reads the counter, one of the package's.
        scale_j: Joules of one count.
    """

    name: str
    kind: ScopeKind
    summed: bool
    file: Path
    pmu: int
    config: int
    cpu: int
    scale_j: float


class _Attributes(ctypes.Structure):
    """``struct perf_event_attr`` as the first kernels had it, 64 bytes, which all kernels take."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("sample_period", ctypes.c_uint64),
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("wakeup_events", ctypes.c_uint32),
        ("bp_type", ctypes.c_uint32),
        ("config1", ctypes.c_uint64),
    )


class _Counter:
    """One event that is being counted, and its running total."""

    def __init__(self, event: _Event) -> None:
        """Raises OSError where it cannot be counted, and MeterLost where it cannot be read."""
        self.event = event
        self.total = 0
        self._fd = _perf_event_open(event)
        self._opened_ns = time.monotonic_ns()
        try:
            self._last, self._last_ns = self.look(), time.monotonic_ns()
        except BaseException:
            self.close()
            raise

    def look(self) -> int:
        """The count as it stands; raises MeterLost where it is not counted all the time."""
        open_ns = time.monotonic_ns() - self._opened_ns
        try:
            found = os.read(self._fd, _READ.size)
        except OSError as error:
            raise MeterLost(f"{self._where} cannot be read ({error.strerror}); see joulemark doctor") from error
        if len(found) != _READ.size:
            raise MeterLost(f"{self._where} gives no count any more: is CPU {self.event.cpu} offline?")
        count, _, counted_ns = _READ.unpack(found)
        if open_ns - counted_ns > _MOST_PAUSED * open_ns + _MOST_PAUSED_S * 1e9:
            raise MeterLost(
                f"{self._where} was counted for {counted_ns / 1e9:.3f} of {open_ns / 1e9:.3f} s: "
                f"CPU {self.event.cpu} went offline, or something else stopped the event"
            )
        return int(count)

    def advance(self, count: int, now_ns: int) -> None:
        """Add what was gained since the last look, unless it cannot be true: a CPU that slept may have begun anew."""
        gained_j = (count - self._last) * self.event.scale_j
        if not 0 <= gained_j <= MOST_PLAUSIBLE_W * ((now_ns - self._last_ns) / 1e9 + 1.0):
            how = "went backwards" if gained_j < 0 else "leapt"
            raise MeterLost(f"{self._where} {how} by {abs(gained_j):.6g} J, which no CPU could use")
        self.total += count - self._last
        self._last, self._last_ns = count, now_ns

    def close(self) -> None:
        os.close(self._fd)

    @property
    def _where(self) -> str:
        return f"{self.event.name} ({self.event.file})"


def _open_counters() -> list[_Counter] | Unavailable:
    """Counters of all events that work; a total that lacks a part of it would be no total."""
    events = _find_events(sysfs_folder())
    if isinstance(events, Unavailable):
        return events
    counters: list[_Counter] = []
    try:
        for event in events:
            try:
                counters.append(_Counter(event))
            except OSError as error:
                # Some kernels list parts that this CPU lacks.
                if event.summed or error.errno in (errno.EACCES, errno.EPERM):
                    _close_all(counters)
                    return _explain(error, event)
    except BaseException:
        _close_all(counters)
        raise
    return counters


def _close_all(counters: Sequence[_Counter]) -> None:
    for counter in counters:
        counter.close()


def _look_at(counters: Sequence[_Counter]) -> tuple[int, int, list[int]]:
    """One look at all counters: clock before and after in nanoseconds, and their counts."""
    t0_ns = time.monotonic_ns()
    counts = [counter.look() for counter in counters]
    return t0_ns, time.monotonic_ns(), counts


def _probe_domains(counters: Sequence[_Counter]) -> list[Domain]:
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


def _domain(event: _Event, update_s: float, step: int, *, mirrored: bool) -> Domain:
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


def _find_events(sysfs: Path) -> list[_Event] | Unavailable:
    """The energy events of every package, those of a total first."""
    pmu = sysfs / "bus" / "event_source" / "devices" / "power"
    if not (pmu / "type").exists():
        return _explain_absence(pmu)
    if platform.machine() not in _SYSCALLS or sys.maxsize < 2**32:
        return Unavailable(
            reason=f"how to call perf is not known here for {platform.machine()} ({8 * struct.calcsize('P')}-bit)",
            fix="use a 64-bit Python on x86-64, or --meter rapl",
        )
    try:
        events = list(_describe_events(pmu, _places(sysfs, _cpus(_text(pmu / "cpumask")))))
    except (OSError, ValueError) as error:
        return Unavailable(
            reason=f"{pmu} is not laid out as Linux documents: {error}",
            fix="see what that file holds, and report it with the output of uname -r; meanwhile use --meter rapl",
        )
    if not any(event.summed for event in events):
        return Unavailable(
            reason=f"{pmu / 'events'} lists no energy-pkg: the kernel knows no package counter of this CPU",
            fix="use a newer kernel, or --meter modelled",
        )
    return events


def _describe_events(pmu: Path, places: dict[int, str]) -> Iterator[_Event]:
    """Raises OSError and ValueError where a description is incomplete or makes no sense."""
    number = int(_text(pmu / "type"))
    for event, (label, kind, summed) in _EVENTS.items():
        file = pmu / "events" / event
        if not file.exists():
            continue
        config, scale_j = _config(pmu, file), _scale_j(file)
        for cpu, place in places.items():
            name = label if kind == "platform" else f"{label}-{place}"
            yield _Event(
                name=name, kind=kind, summed=summed, file=file, pmu=number, config=config, cpu=cpu, scale_j=scale_j
            )
            if kind == "platform":
                break  # There is one platform, whichever package is asked.


def _config(pmu: Path, file: Path) -> int:
    """The event's number: its terms, ``event=0x02``, in the bits that ``format/event``, ``config:0-7``, gives them."""
    config = 0
    for term in _text(file).split(","):
        name, _, value = term.partition("=")
        place = re.fullmatch(r"config:(\d+)(?:-(\d+))?", _text(pmu / "format" / name.strip()))
        if place is None:
            raise ValueError(f"{pmu / 'format' / name.strip()} does not say config:FIRST-LAST")
        first, last = int(place[1]), int(place[2] or place[1])
        number = int(value or "1", 0)
        if not 0 <= number < 2 ** (last - first + 1):
            raise ValueError(f"{file} says {term}, which does not fit into bits {first} to {last}")
        config |= number << first
    return config


def _scale_j(file: Path) -> float:
    unit, text = _text(file.with_name(f"{file.name}.unit")), _text(file.with_name(f"{file.name}.scale"))
    if unit != "Joules":
        raise ValueError(f"{file}.unit says {unit!r} instead of Joules")
    scale_j = float(text)
    if not 0 < scale_j < 1:
        raise ValueError(f"{file}.scale says {text}")
    return scale_j


def _cpus(text: str) -> list[int]:
    """CPUs of a list such as ``0,18-19``."""
    cpus: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus


def _places(sysfs: Path, cpus: Sequence[int]) -> dict[int, str]:
    """Where each CPU sits: ``SOCKET``, or ``SOCKET-die-DIE`` where a socket has several of the CPUs."""
    sockets = _numbers(sysfs, cpus, "physical_package_id")
    places: dict[int, str] = {}
    for socket in dict.fromkeys(sockets):
        inside = [cpu for cpu, of in zip(cpus, sockets, strict=True) if of == socket]
        dies = _numbers(sysfs, inside, "die_id")
        if len(set(dies)) < len(dies):
            dies = list(range(len(inside)))
        for cpu, die in zip(inside, dies, strict=True):
            places[cpu] = f"{socket}-die-{die}" if len(inside) > 1 else str(socket)
    return places


def _numbers(sysfs: Path, cpus: Sequence[int], what: str) -> list[int]:
    """What the tree says of each CPU's place; counted in order where it does not say."""
    try:
        found = [int(_text(sysfs / f"devices/system/cpu/cpu{cpu}/topology" / what)) for cpu in cpus]
    except (OSError, ValueError):
        return list(range(len(cpus)))
    return found if all(number >= 0 for number in found) else list(range(len(cpus)))


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace").strip()


def _perf_event_open(event: _Event) -> int:
    """A descriptor that counts the event for the whole of its package.

    Raises:
        OSError: As perf_event_open(2) has it.
    """
    attributes = _Attributes(
        type=event.pmu, size=ctypes.sizeof(_Attributes), config=event.config, read_format=_COUNT_AND_TIMES
    )
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    numbers = (-1, event.cpu, -1, _CLOSE_ON_EXEC)  # of any process, on that CPU, in no group
    arguments = [ctypes.c_long(number) for number in numbers]
    fd = int(libc.syscall(ctypes.c_long(_SYSCALLS[platform.machine()]), ctypes.byref(attributes), *arguments))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd


def _explain(error: OSError, event: _Event) -> Unavailable:
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


def _explain_absence(pmu: Path) -> Unavailable:
    if (outside := explain_missing(f"no power PMU at {pmu}")) is not None:
        return outside
    if not sys.platform.startswith("linux"):
        return Unavailable(reason=f"perf is Linux's, and this is {sys.platform}", fix="use --meter modelled")
    return Unavailable(
        reason=f"no power PMU at {pmu}: this CPU has no RAPL counters, or their driver is not loaded",
        fix="try: sudo modprobe rapl (AMD CPUs too), then joulemark doctor",
    )
