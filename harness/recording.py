"""A power trace that something else recorded while a run was measured, and the energy of the run's windows in it.

Cells keep when their windows were by the wall clock, and the trace says what was drawn meanwhile. The independent part
of the uncertainty (k=1) of what is read so has these parts, which add in quadrature:

- the trace's own, as `Trace` says, with what a window between two samples hides;
- a counter's step ``r``: ``r / sqrt(6)`` for the two edges of each window;
- its moment: how far the two clocks are apart is known to ``u_offset_s``, and when a window began to the millisecond
  that its stamp is cut to, ``1 ms / sqrt(12)``; together ``u``. Both move windows and stretch none. So energy is read
  with all windows of a cell moved by up to ``sqrt(3) u`` either way, the half-width of a uniform error that has the
  standard deviation ``u``. The largest difference ``M`` bounds the error that comes from it: ``M / sqrt(3)``, as of a
  uniform error again (JCGM 100:2008, GUM, 4.3.7). It is nothing where the power is steady.

Figures that are told in steps may be off alike in all windows of one model, so that no repeat averages it out, and
otherwise in another's, so that it does not cancel: that part is ``rel_u_workload`` (`Trace.rounding`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from joulemark.meters.errors import MeterLost, UsageError
from joulemark.meters.naming import parse_named
from joulemark.meters.registry import find_meters
from joulemark.meters.replay import ReplayMeter, Trace
from joulemark.meters.types import Domain, EnergyRecord

from .record import Span

__all__ = ["Recording", "find_recording"]

_STAMP_S = 0.001
"""A window's ``began_at`` is cut to whole milliseconds: on average it began half of one later."""
_MOVES = 65
"""Moments at which energy is looked at, from one end of the clocks' error to the other. It has sharp peaks where idle
gaps are about as short as that error, and too few moments step over them."""
_LEAST_STEPS = 3
"""A counter that rose by fewer of its steps in a cell's windows says nearly nothing of them."""
_LEAST_EPOCH_S = 1e9
"""Before 2001 nothing was measured: such times are not since the epoch."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A trace, and where in it the moments of this run are.

    Attributes:
        trace: Power over time.
        domain: What its power is of.
        ahead_s: The trace's time less the wall clock of the machine that ran, in seconds.
        u_moment_s: Standard uncertainty of where a window lies in the trace.
        sha256: Of what was read of its file.
        size: Of that, in bytes.
    """

    trace: Trace
    domain: Domain
    ahead_s: float
    u_moment_s: float
    sha256: str = ""
    size: int = 0

    def measure(self, spans: Sequence[Span]) -> EnergyRecord:
        """Energy of some windows together; the formula at the top of this module.

        Raises:
            MeterLost: The trace does not cover them, or tells of no power there.
        """
        windows = [self._place(span) for span in spans]
        reach_s = math.sqrt(3) * self.u_moment_s
        for start_s, end_s in windows:
            self._refuse_uncovered(start_s - reach_s, end_s + reach_s)
        gross_j, variance = self._energy(windows, 0.0)
        variance += sum(self.trace.unseen_variance(*window) + self.trace.step_j**2 / 6 for window in windows)
        if gross_j <= 0:
            raise MeterLost(f"{self.trace.label} says 0 W all along its windows, which no machine that works draws")
        if gross_j < _LEAST_STEPS * self.trace.step_j:
            raise MeterLost(
                f"the counter of {self.trace.label} rose by {gross_j:.3g} J in its windows and goes in steps of "
                f"{self.trace.step_j:.3g} J; at least {_LEAST_STEPS} steps are needed: record power, or measure longer"
            )
        moved = (self._energy(windows, by_s)[0] for by_s in np.linspace(-reach_s, reach_s, _MOVES))
        most_j = max(abs(joules - gross_j) for joules in moved)
        window_s = sum(span.window_s for span in spans)
        return EnergyRecord(
            gross_j=gross_j,
            u_j=math.sqrt(variance + most_j**2 / 3),
            began_ns=0,
            window_s=window_s,
            grade=self.domain.grade,
            scope=self.domain.kind,
            domains={self.domain.id: gross_j},
            rel_u_scale=self.domain.rel_u_scale,
            rel_u_workload=self.trace.rounding(gross_j / window_s),
        )

    def measure_idle(self, span: Span) -> EnergyRecord:
        """Energy of the idle window, for the difference to a cell's: both may be off by half a step of the figures.

        Raises:
            MeterLost: As `measure`.
        """
        record = self.measure([span])
        return replace(record, u_j=math.hypot(record.u_j, self.trace.step_w / math.sqrt(6) * record.window_s))

    def _place(self, span: Span) -> tuple[float, float]:
        """A window's start and end in the trace's time."""
        start_s = datetime.fromisoformat(span.began_at).timestamp() + _STAMP_S / 2 + self.ahead_s
        return start_s, start_s + span.window_s

    def _energy(self, windows: Sequence[tuple[float, float]], by_s: float) -> tuple[float, float]:
        """Joules and their variance, with all windows moved by so many seconds."""
        parts = [self.trace.energy_j(start_s + by_s, end_s + by_s) for start_s, end_s in windows]
        return sum(joules for joules, _ in parts), sum(variance for _, variance in parts)

    def _refuse_uncovered(self, start_s: float, end_s: float) -> None:
        """Raises MeterLost as the trace itself would, but in times that can be read."""
        trace, edges = self.trace, self.trace.edges_s
        if start_s < edges[0] or end_s > edges[-1]:
            raise MeterLost(
                f"{trace.label} goes from {self._tell(edges[0])} to {self._tell(edges[-1])} UTC, which does not cover "
                f"its window from {self._tell(start_s)} to {self._tell(end_s)} (the clocks' error included); check "
                "zone= and offset_s="
            )
        first = int(np.searchsorted(edges, start_s, side="right")) - 1
        last = int(np.searchsorted(edges, end_s, side="left"))
        seconds = np.diff(edges[first : last + 1])
        if trace.begin_s is None and np.any(seconds > trace.max_gap_s):
            at = int(np.argmax(seconds))
            raise MeterLost(
                f"{trace.label} has a gap of {seconds[at]:.3g} s in its window, from {self._tell(edges[first + at])} "
                f"UTC on, more than the {trace.max_gap_s:.3g} s of max_gap_s"
            )

    def _tell(self, trace_s: float) -> str:
        """A time of the trace by the clock of the machine that ran."""
        moment = datetime.fromtimestamp(float(trace_s) - self.ahead_s, UTC)
        return moment.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")


def find_recording(meter: str) -> Recording:
    """The trace that a user named, with times of the day.

    Raises:
        UsageError: It is no recorded trace, cannot be read, or nothing says when its times were.
    """
    named = parse_named(meter)
    if named is None or named.kind != "replay":
        raise UsageError(f"meter {meter!r}: a run is measured again from a recorded trace, NAME=replay:file=...")
    [made] = find_meters([meter])
    assert isinstance(made, ReplayMeter)
    # Its `probe` asks for a trace that reaches the present, which one of the past does not.
    source, domain = made.source, made.domain
    sha256, size = source.fingerprint()
    # A trace that is replayed from its start does not go by its offset; here that places it in the day.
    if not source.is_absolute and source.trace.edges_s[0] - made.offset_s < _LEAST_EPOCH_S:
        raise UsageError(
            f"{source.path}: its times count from some start, and nothing says when that was; where you know, "
            "give offset_s=-SECONDS, the Unix time of its 0"
        )
    return Recording(
        trace=source.trace,
        domain=replace(domain, summed=True),
        ahead_s=made.offset_s,
        u_moment_s=math.hypot(made.u_offset_s, _STAMP_S / math.sqrt(12)),
        sha256=sha256,
        size=size,
    )
