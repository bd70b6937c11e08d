"""Linux's ``power`` PMU as the kernel describes it: which events it counts, in what units, and where.

The layout is in Documentation/ABI/testing, files ``sysfs-bus-event_source-devices-events`` and ``-format``. The
``power_core`` PMU of newer kernels is left alone: what single cores use is part of their package.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .sysfs import explain_missing
from .types import ScopeKind, Unavailable

__all__ = ["Event", "find_events"]

_EVENTS: dict[str, tuple[str, ScopeKind, bool]] = {
    "energy-pkg": ("package", "package", True),
    "energy-ram": ("dram", "dram", True),
    "energy-cores": ("core", "package", False),
    "energy-gpu": ("uncore", "package", False),
    "energy-psys": ("psys", "platform", False),
}
"""What powercap calls the counter of an event, its kind, and whether it adds to a total: as in `powercap`."""


@dataclass(frozen=True, kw_only=True)
class Event:
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


def find_events(sysfs: Path) -> list[Event] | Unavailable:
    """The energy events of every package, those of a total first."""
    pmu = sysfs / "bus" / "event_source" / "devices" / "power"
    if not (pmu / "type").exists():
        return _explain_absence(pmu)
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


def _describe_events(pmu: Path, places: dict[int, str]) -> Iterator[Event]:
    """Raises OSError and ValueError where a description is incomplete or makes no sense."""
    number = int(_text(pmu / "type"))
    for event, (label, kind, summed) in _EVENTS.items():
        file = pmu / "events" / event
        if not file.exists():
            continue
        config, scale_j = _config(pmu, file), _scale_j(file)
        for cpu, place in places.items():
            name = label if kind == "platform" else f"{label}-{place}"
            yield Event(
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


def _explain_absence(pmu: Path) -> Unavailable:
    if (outside := explain_missing(f"no power PMU at {pmu}")) is not None:
        return outside
    if not sys.platform.startswith("linux"):
        return Unavailable(reason=f"perf is Linux's, and this is {sys.platform}", fix="use --meter modelled")
    return Unavailable(
        reason=f"no power PMU at {pmu}: this CPU has no RAPL counters, or their driver is not loaded",
        fix="try: sudo modprobe rapl (AMD CPUs too), then joulemark doctor",
    )
