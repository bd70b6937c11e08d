"""What a meter is, and what comes out of it.

A meter offers *domains* (one thing it can measure each). Opened, it gives *readings*: joules since
it was opened, counted without wraps. Two readings span a *window*; its joules, their grade, scope
and uncertainty are an `EnergyRecord`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = [
    "GRADES",
    "MOST_PLAUSIBLE_W",
    "SCOPE_KINDS",
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

    @property
    def rel_u(self) -> float:
        """Both parts of the relative standard uncertainty together, ``sqrt(scale^2 + workload^2)``."""
        return float((self.rel_u_scale**2 + self.rel_u_workload**2) ** 0.5)


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    """Why a meter cannot be used here, and what would make it usable."""

    reason: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One look at a meter.

    Attributes:
        t0_ns: Monotonic clock just before the look, in nanoseconds.
        t1_ns: The same just after it.
        values: Joules since the meter was opened, by domain id; wraps are already undone.
    """

    t0_ns: int
    t1_ns: int
    values: Mapping[str, float]

    @property
    def t_ns(self) -> float:
        """The middle of the look."""
        return (self.t0_ns + self.t1_ns) / 2


class Meter(Protocol):
    """A source of energy figures. ``probe`` may be called without ``open``; it leaves nothing open.

    ``read`` raises `MeterLost` when the source is gone, frozen or gives nonsense. It may be called
    from a sampling thread and from the measuring one at once.
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
            (edges, resolution, read skew), in joules.
        window_s: Length of the window.
        grade: The one grade of all domains.
        scope: Kinds of the domains, joined with ``+`` in the order of `SCOPE_KINDS`.
        domains: Joules by domain id, domains outside the total included.
        rel_u_scale: As in `Domain`, of the total.
        rel_u_workload: As in `Domain`, of the total.
    """

    gross_j: float
    u_j: float
    window_s: float
    grade: Grade
    scope: str
    domains: Mapping[str, float]
    rel_u_scale: float
    rel_u_workload: float
