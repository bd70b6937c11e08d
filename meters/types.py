"""What a meter is, and what comes out of it.

A meter offers *domains* (one thing it can measure each). Opened, it gives *readings*: joules since
it was opened, counted without wraps. Two readings span a *window*; its joules, their grade, scope
and uncertainty are an `EnergyRecord`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

__all__ = [
    "GRADES",
    "MOST_PLAUSIBLE_W",
    "SCOPE_KINDS",
    "Conditions",
    "Domain",
    "EnergyRecord",
    "Grade",
    "Meter",
    "Reading",
    "ScopeKind",
    "Unavailable",
]

Grade = Literal["wall", "counter", "polled", "modelled"]
GRADES: tuple[Grade, ...] = ("wall", "counter", "polled", "modelled")
"""How joules were obtained, best first."""

ScopeKind = Literal["wall", "platform", "package", "dram", "gpu", "soc"]
SCOPE_KINDS: tuple[ScopeKind, ...] = ("wall", "platform", "package", "dram", "gpu", "soc")

MOST_PLAUSIBLE_W = 5_000.0
"""More than any one domain with a wrapping counter can draw, in watts: ten times the rating of the largest
CPUs (500 W: AMD EPYC 9965, Intel Xeon 6980P). It tells how soon a counter could wrap, and that a counter
which seems to have gained more than this allows has gone backwards or was replaced."""


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One thing that a meter can measure.

    Attributes:
        id: ``METER:NAME``, such as ``rapl:package-0``.
        kind: What the figure covers.
        grade: How the joules are obtained.
        resolution_j: The smallest step of the figure, in joules; None where it has none.
        update_s: How often the source renews its figure, in seconds; None where it is exact at any time.
        range_j: Joules after which the source's counter starts again at 0; None where it never does.
        rel_u_scale: Relative standard uncertainty (k=1) that is the same for everything this meter
            measures on this machine, and so cancels between entrants.
        rel_u_workload: Relative standard uncertainty (k=1) that differs between kinds of code.
        source: Where ``rel_u_*`` (and a model's watts) come from.
        provenance: Where the figure is read: a path, a device's UUID, a library.
        summed: Whether it belongs in a total by default. False for what another domain contains already.
        device: A GPU's name, as its driver tells it; empty where nobody does, and for what is no GPU.
        device_id: What tells it from others of its name.
    """

    id: str
    kind: ScopeKind
    grade: Grade
    resolution_j: float | None
    update_s: float | None
    range_j: float | None
    rel_u_scale: float
    rel_u_workload: float
    source: str
    provenance: str
    summed: bool = True
    device: str = ""
    device_id: str = ""

    @property
    def rel_u(self) -> float:
        """Both parts of the relative standard uncertainty together, ``sqrt(scale^2 + workload^2)``."""
        return float((self.rel_u_scale**2 + self.rel_u_workload**2) ** 0.5)


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    """Why a meter cannot be used here, and what would make it usable."""

    reason: str
    fix: str


class Reading(NamedTuple):
    """One look at a meter. A named tuple, since some are made in a microsecond.

    Attributes:
        t0_ns: Monotonic clock just before the look, in nanoseconds.
        t1_ns: The same just after it.
        values: Joules since the meter was opened, by domain id; wraps are already undone.
        moment_ns: When the values held, by the monotonic clock, where the meter knows it: of a source that is asked
            now and then, the last answer's moment. None where they are whatever the source showed at the look.
        u_moment_s: Standard uncertainty (k=1) of ``moment_ns`` in seconds: the journey, the age of the figure.
        variances: Square joules by domain id that integrating has added to the error since the meter was opened;
            nothing for a source that counts by itself.
    """

    t0_ns: int
    t1_ns: int
    values: Mapping[str, float]
    moment_ns: float | None = None
    u_moment_s: float = 0.0
    variances: Mapping[str, float] = MappingProxyType({})

    @property
    def t_ns(self) -> float:
        """The middle of the look."""
        return (self.t0_ns + self.t1_ns) / 2


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The state of a device at one moment, as far as it tells.

    Attributes:
        device: The domain it belongs to, or ``host``.
        clock_mhz: Of its cores.
        temperature_c: Of the device.
        power_cap_w: The most that it may draw.
        slowed_by: What holds its clock down against its owner's wish just now.
        slowed_s: Seconds that heat has held it down, from any beginning.
    """

    device: str
    clock_mhz: float | None = None
    temperature_c: float | None = None
    power_cap_w: float | None = None
    slowed_by: tuple[str, ...] = ()
    slowed_s: float | None = None


class Meter(Protocol):
    """A source of energy figures. ``probe`` may be called without ``open``; it leaves nothing open.

    ``read`` raises `MeterLost` when the source is gone, frozen or gives nonsense. It may be called
    from a sampling thread and from the measuring one at once. A meter may also have a method
    ``conditions() -> Sequence[Conditions]``, which is asked at both ends of each window, and an attribute ``lacks``, an
    `Unavailable` or None, which says after a probe why a part of what it could read was not found.
    """

    @property
    def id(self) -> str:
        """Its name, which its domains' ids begin with."""

    def probe(self) -> Sequence[Domain] | Unavailable:
        """What it can measure here, or why it can't."""

    def open(self, pid: int) -> None:
        """Start counting; ``pid`` is the process whose tree does the computing."""

    def read(self) -> Reading:
        """Look at all domains at once."""

    def close(self) -> None:
        """Let go of everything; it may be opened again."""


@dataclass(frozen=True, kw_only=True)
class EnergyRecord:
    """The energy of one window.

    Attributes:
        gross_j: All joules in the window, over ``domains``.
        u_j: Standard uncertainty (k=1) of ``gross_j`` that is independent from window to window
            (edges, resolution, read skew, gaps between samples), in joules.
        began_ns: When it began, by the monotonic clock, in nanoseconds.
        window_s: Length of the window.
        grade: The one grade of all domains.
        scope: Kinds of the domains, joined with ``+`` in the order of `SCOPE_KINDS`.
        domains: Joules by domain id, domains outside the total included.
        rel_u_scale: As in `Domain`, of the total.
        rel_u_workload: As in `Domain`, of the total.
        before: The state of the host and of the meters' devices when it began.
        after: The same when it ended.
    """

    gross_j: float
    u_j: float
    began_ns: float
    window_s: float
    grade: Grade
    scope: str
    domains: Mapping[str, float]
    rel_u_scale: float
    rel_u_workload: float
    before: tuple[Conditions, ...] = ()
    after: tuple[Conditions, ...] = ()
