"""Which meters there are, which work here, and which of them make up a total."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Literal

from .battery import BatteryMeter
from .errors import MeasuringFailed, UsageError
from .manual import Manual, read_manual
from .modelled import ModelledMeter
from .naming import KINDS, Named, find_maker, is_kind, make_named, meter_name, needed_keys, parse_named, takes_name
from .nvml import NvmlMeter, NvmlPowerMeter
from .perf import PerfMeter
from .rapl import RaplMeter
from .totals import HOLDS, grade_of, scope_of
from .types import GRADES, Domain, Grade, Meter, Reading, ScopeKind, Unavailable
from .zeus import ZeusMeter

__all__ = [
    "ENTRY_POINTS",
    "Choice",
    "Device",
    "Probed",
    "choose",
    "describe_kind",
    "find_meters",
    "find_names",
    "kinds",
    "probe_all",
]

ENTRY_POINTS = "joulemark.meters"
"""Group of the entry points that add meters: each names something that gives a `Meter` when called, without arguments
for one that a machine has by itself, and with those of ``NAME=KIND:key=value`` where a user names one."""

Device = Literal["cpu", "cuda"]
"""Where a model computes."""

_BUILT_IN: tuple[Callable[[], Meter], ...] = (
    RaplMeter,
    PerfMeter,
    NvmlMeter,
    NvmlPowerMeter,
    BatteryMeter,
    ZeusMeter,
    ModelledMeter,
)
_ADDED_UP: tuple[ScopeKind, ...] = ("package", "dram", "gpu")
_COVERS: dict[Device, frozenset[ScopeKind]] = {
    "cpu": frozenset({"package", "soc", "platform", "wall"}),
    "cuda": frozenset({"gpu", "soc", "wall"}),
}


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What a meter offers here: domains, or why there are none; both where it finds but a part of what it reads."""

    meter: Meter
    domains: tuple[Domain, ...] = ()
    unavailable: Unavailable | None = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a total is made of.

    Attributes:
        meters: The meters to open.
        domains: All their domains; ``summed`` says which are in the total, the others are recorded beside it.
        grade: The total's grade.
        scope: Kinds of the total's domains, joined with ``+``.
    """

    meters: tuple[Meter, ...]
    domains: tuple[Domain, ...]
    grade: Grade
    scope: str

    @property
    def summed(self) -> tuple[Domain, ...]:
        """The domains of the total."""
        return tuple(domain for domain in self.domains if domain.summed)

    @property
    def by_cpu_time(self) -> bool:
        """Whether the total is CPU time times watts, which other work on the machine does not disturb."""
        return all(meter_name(domain.id) == ModelledMeter.id for domain in self.summed)


def find_meters(ids: Sequence[str] | None = None) -> tuple[Meter, ...]:
    """All known meters, built in and added by entry points, or those named.

    Args:
        ids: Names of meters; a domain's id stands for its meter, and ``NAME=KIND:key=value,...`` makes one.

    Raises:
        UsageError: There is no such meter, or it cannot be made so.
    """
    if ids is None:
        return tuple(_by_themselves().values())
    named = [found for text in ids if (found := parse_named(text)) is not None]
    made = {found.name: _make(found) for found in named}
    if len(made) < len(named):
        raise UsageError("two meters have one name; give each its own, such as left=shelly:... and right=shelly:...")
    by_id = made if len(made) == len(ids) else _by_themselves() | made
    wanted = dict.fromkeys(map(meter_name, ids))
    for name in wanted:
        if name not in by_id and name in kinds():
            raise UsageError(f"{name} is a kind of meter: give one a name, as in --meter mine={name}:key=value")
        if name not in by_id:
            raise UsageError(f"no meter is called {name!r}; there are {', '.join(by_id)} (see joulemark meters)")
    return tuple(by_id[name] for name in wanted)


def kinds() -> tuple[str, ...]:
    """The kinds that a user can make a meter of by ``NAME=KIND:key=value``; not those that cannot be loaded."""
    return tuple(dict.fromkeys([*KINDS, *(name for name, load in _loaders().items() if is_kind(load))]))


def describe_kind(kind: str) -> Manual:
    """What may be said of a meter of a kind.

    Raises:
        UsageError: There is no such kind, or it cannot be loaded.
    """
    if kind not in KINDS and kind in {make().id for make in _BUILT_IN}:
        raise UsageError(f"{kind} is a meter and no kind of them: it takes no arguments; say --meter {kind}")
    return read_manual(kind, find_maker(kind, _loaders()))


def find_names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the built-in meters, and of all kinds, for those who type; nothing is loaded, probed or asked."""
    names = [*KINDS, *(point.name for point in entry_points(group=ENTRY_POINTS))]
    return tuple(make().id for make in _BUILT_IN), tuple(dict.fromkeys(names))


def probe_all(meters: Sequence[Meter] | None = None) -> tuple[Probed, ...]:
    """What each meter offers here; a meter whose probe breaks is unavailable, and says how it broke."""
    return tuple(_probe(meter) for meter in (find_meters() if meters is None else meters))


def choose(
    wanted: Sequence[str] | None = None, *, device: Device = "cpu", probed: Sequence[Probed] | None = None
) -> Choice:
    """The best total that covers where a model computes.

    Unless something is named: a wall meter; else package, memory and GPU together, of the best grade that reaches
    the computing. So a model on the CPU is never judged by a GPU's counter alone, and a total never mixes grades.

    Args:
        wanted: Names of meters (``rapl``) or of single domains (``rapl:psys``); None for the best there is.
        device: Where the model computes.
        probed: What `probe_all` found; None to probe now.

    Raises:
        UsageError: Something named does not exist, contains something else named, or does not see the device.
        MeasuringFailed: What was named does not work here, or nothing does.
    """
    if probed is None:
        probed = probe_all(find_meters(wanted or None))
    summed = _pick_named(wanted, probed) if wanted else _pick_best(device, probed)
    grade = grade_of(summed)
    if not {domain.kind for domain in summed} & _COVERS[device]:
        seen = ", ".join(domain.id for domain in summed)
        raise UsageError(f"{seen} does not see the {device} device, where the model computes; name another --meter")
    ids = {domain.id for domain in summed}
    used = [p for p in probed if any(domain.id in ids for domain in p.domains)]
    return Choice(
        meters=tuple(p.meter for p in used),
        domains=tuple(replace(domain, summed=domain.id in ids) for p in used for domain in p.domains),
        grade=grade,
        scope=scope_of(summed),
    )


def _pick_best(device: Device, probed: Sequence[Probed]) -> list[Domain]:
    wall = _first_of_kind("wall", [domain for p in probed for domain in p.domains if domain.summed])
    if wall:
        return wall
    for grade in GRADES:
        offered = [domain for p in probed for domain in p.domains if domain.summed and domain.grade == grade]
        # A system on a chip holds all the others.
        total = _first_of_kind("soc", offered) or [d for kind in _ADDED_UP for d in _first_of_kind(kind, offered)]
        if {domain.kind for domain in total} & _COVERS[device]:
            return total
    reasons = "; ".join(f"{p.meter.id}: {p.unavailable.reason}" for p in probed if p.unavailable)
    raise MeasuringFailed(
        f"no meter here sees the {device} device ({reasons or 'none is installed'}); joulemark doctor says what to do"
    )


def _first_of_kind(kind: ScopeKind, offered: Sequence[Domain]) -> list[Domain]:
    """The domains of one kind from the first meter that has any: two meters may well read one counter."""
    of_kind = [domain for domain in offered if domain.kind == kind]
    return [domain for domain in of_kind if meter_name(domain.id) == meter_name(of_kind[0].id)]


def _pick_named(wanted: Sequence[str], probed: Sequence[Probed]) -> list[Domain]:
    by_meter = {p.meter.id: p for p in probed}
    picked: dict[str, Domain] = {}
    for name in wanted:
        found = _named(name, by_meter)
        picked |= {domain.id: domain for domain in found}
    overlapping = _overlap(list(picked.values()), wanted)
    if overlapping is not None:
        raise UsageError(
            f"{overlapping} overlaps with the rest of {', '.join(picked)}, so their sum would count joules twice; "
            "name one of them"
        )
    return list(picked.values())


def _overlap(picked: Sequence[Domain], wanted: Sequence[str]) -> str | None:
    """A domain that sees what another of them sees.

    Within a meter what is not summed by default lies inside or around what is. Of two meters one may hold the other;
    two of one kind may read one counter, unless the user made both and so knows what each is for.
    """
    made = {meter_name(text) for text in wanted if parse_named(text) is not None}
    for one, other in itertools.permutations(picked, 2):
        meters = {meter_name(one.id), meter_name(other.id)}
        inside = len(meters) == 1 and not one.summed
        twice = len(meters) == 2 and one.kind == other.kind and not meters <= made
        if inside or twice or other.kind in HOLDS.get(one.kind, ()):
            return one.id
    return None


def _named(name: str, by_meter: dict[str, Probed]) -> list[Domain]:
    found = by_meter.get(meter_name(name))
    if found is None:
        raise UsageError(f"no meter is called {meter_name(name)!r}; there are {', '.join(by_meter)}")
    if found.unavailable is not None and not found.domains:
        raise MeasuringFailed(
            f"meter {found.meter.id} does not work here: {found.unavailable.reason}. To fix it: {found.unavailable.fix}"
        )
    if ":" not in name or parse_named(name) is not None:
        # What belongs in no total by itself, such as a battery, is one when it is named.
        return [domain for domain in found.domains if domain.summed] or list(found.domains)
    domains = [domain for domain in found.domains if domain.id == name]
    if not domains:
        there = ", ".join(domain.id for domain in found.domains)
        raise UsageError(f"meter {found.meter.id} has no domain {name!r} here; it has {there}")
    return domains


def _by_themselves() -> dict[str, Meter]:
    """The meters that need not be told anything; of two with one name the first, ours before those from outside."""
    known = [*(make() for make in _BUILT_IN), *map(_load, entry_points(group=ENTRY_POINTS))]
    by_id: dict[str, Meter] = {}
    for meter in known:
        by_id.setdefault(meter.id, meter)
    return by_id


def _make(named: Named) -> Meter:
    return make_named(named, _loaders())


def _loaders() -> dict[str, Callable[[], Callable[..., Meter]]]:
    """What loads the makers from outside, by the names of their entry points."""
    return {point.name: partial(_import, point) for point in entry_points(group=ENTRY_POINTS)}


def _import(point: EntryPoint) -> Callable[..., Meter]:
    """What an entry point names.

    Raises:
        UsageError: It cannot be loaded, or cannot be called.
    """
    try:
        make: Callable[..., Meter] = point.load()
        takes_name(make)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{_broken(point, error)}; {_reinstall(point)}") from error
    return make


def _broken(point: EntryPoint, error: BaseException) -> str:
    return f"the meter {point.name} of {_package(point)} cannot be loaded: {type(error).__name__}: {error}"


def _reinstall(point: EntryPoint) -> str:
    return f"reinstall {_package(point)} with what it needs, or remove it"


def _package(point: EntryPoint) -> str:
    """Which installed package has it."""
    found = getattr(point, "dist", None)
    return f"the package {found.name}" if found is not None else "another package"


def _probe(meter: Meter) -> Probed:
    try:
        found = meter.probe()
        if not isinstance(found, Unavailable):
            # A text where a number belongs breaks here, and not in the middle of a run.
            math.fsum(number or 0.0 for d in found for number in (d.rel_u, d.update_s, d.resolution_j, d.range_j))
    except Exception as error:
        found = Unavailable(reason=f"its probe broke: {error!r}", fix=f"report it to whoever made the meter {meter.id}")
    if isinstance(found, Unavailable):
        return Probed(meter=meter, unavailable=found)
    return Probed(meter=meter, domains=tuple(found), unavailable=getattr(meter, "lacks", None))


def _load(point: EntryPoint) -> Meter:
    try:
        make = point.load()
        if needed := needed_keys(make):
            return _Absent(
                point.name, "it has to be told where to look", f"name it: --meter mine={point.name}:{needed}"
            )
        meter: Meter = make()
    except (Exception, SystemExit) as error:
        return _Absent(point.name, _broken(point, error), _reinstall(point))
    return meter


class _Absent:
    """Stands in for a meter from outside that cannot be loaded, or has to be told where to look."""

    def __init__(self, name: str, reason: str, fix: str) -> None:
        self.id = name
        self._why = Unavailable(reason=reason, fix=fix)

    def probe(self) -> Unavailable:
        return self._why

    def open(self, pid: int) -> None:  # noqa: ARG002
        raise MeasuringFailed(self._why.reason)

    def read(self) -> Reading:
        raise MeasuringFailed(self._why.reason)

    def close(self) -> None:
        """There is nothing to close."""
