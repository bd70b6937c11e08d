"""Any recorded power trace as a meter: ``bench=replay:file=wt310.csv,zone=local``.

Times since some start begin when the meter is opened. Times of the day are those of the wall clock, for a logger that
writes the file while the run goes on: its new lines are read as they come.

How far the clocks are apart moves a window and stretches none: its joules are off by what was drawn more at one edge
than at the other. That is at most ``u (P_high - P_low)`` by all that was seen since the meter was opened, and nothing
where the power is steady. (`harness.remeter`, which knows what came after, moves windows to see.) A reading can say so
only by the uncertainty of its moment, which counts at the window's mean power: so it is ``u (P_high - P_low) / P_low``,
and ``u`` at most.
"""

from __future__ import annotations

import difflib
import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from .errors import MeterLost, UsageError
from .tracefiles import TraceFile
from .traces import Trace
from .types import GRADES, SCOPE_KINDS, Domain, Grade, Reading, ScopeKind, Unavailable

__all__ = ["ReplayMeter", "Trace", "TraceFile", "replay"]

REL_U = 0.05
_ASSUMED = "assumed 5 %, since a file does not say how right its meter was; give rel_u= from the meter's data sheet"
_GIVEN = "given by the user as rel_u={:g}"
U_OFFSET_S = 0.05
"""Two clocks kept by NTP over the internet differ by some ten milliseconds (Mills, RFC 5905, section 1); a logger adds
the time from measuring to stamping."""
_U_WHOLE_S = 1 / math.sqrt(3)
"""A stamp that is cut or rounded to a second is off by up to one: a uniform error (JCGM 100:2008, 4.3.7)."""
_SILENT_TICKS, _SILENT_S = 2, 8.0
_CLOCK_STEP_S = 0.05


def replay(
    name: str,
    file: str,
    column: str | None = None,
    scope: str = "wall",
    *,
    time: str | None = None,
    unit: str | None = None,
    zone: str | None = None,
    rows: str | None = None,
    grade: str | None = None,
    rel_u: str | float | None = None,
    offset_s: str | float = 0.0,
    u_offset_s: str | float | None = None,
    max_gap_s: str | float | None = None,
    step_w: str | float | None = None,
) -> ReplayMeter:
    """A meter of what a file holds.

    Args:
        name: What to call it.
        file: CSV or Parquet, as `TraceFile` takes it.
        column: Which column holds the power, or a counter of energy; in Joulemark's own traces, which domain.
        scope: What was measured: one of `SCOPE_KINDS`.
        time: Which column holds the time.
        unit: Unit of the power or energy, where its column does not say it.
        zone: Time zone of stamps that name none.
        rows: What other columns must hold, ``index:0`` or ``window:0;index:1``.
        grade: How the joules were obtained; ``wall`` for the scope wall, else ``counter`` or ``polled``.
        rel_u: Relative standard uncertainty (k=1) of the meter that was recorded.
        offset_s: How far the recorder's clock is ahead of this machine's, in seconds.
        u_offset_s: Standard uncertainty of that, and of the stamps; None for `U_OFFSET_S`, and more where all stamps
            are whole seconds, or a counter may be as old as the time between two rows.
        max_gap_s: Samples further apart say nothing of the time between.
        step_w: The step in which the power is told; None for the smallest difference between two figures, or the last
            decimal place where all are the same.

    Raises:
        UsageError: An argument makes no sense, or the file cannot be read so.
    """
    kind = cast("ScopeKind", _one_of(name, "scope", scope, SCOPE_KINDS))
    if grade is not None and _one_of(name, "grade", grade, GRADES) == "wall" and kind != "wall":
        raise UsageError(f"meter {name!r}: the grade wall is for what was measured at the wall, not for scope={kind}")
    source = TraceFile(
        Path(file),
        column=column,
        time=time,
        unit=unit,
        zone=zone,
        rows=_rows(name, rows),
        max_gap_s=None if max_gap_s is None else _number(name, "max_gap_s", max_gap_s, least=0.0),
        step_w=None if step_w is None else _number(name, "step_w", step_w, least=0.0),
    )
    if step_w is not None and source.is_energy:
        raise UsageError(f"meter {name!r}: step_w= is for a power, and {source.column!r} is a counter of energy")
    error = REL_U if rel_u is None else _number(name, "rel_u", rel_u, least=0.0)
    if not 0 < error < 1:
        raise UsageError(f"meter {name!r}: rel_u={rel_u} is no share between 0 and 1, such as 0.01 for 1 %")
    domain = Domain(
        id=f"{name}:{kind}",
        kind=kind,
        grade=cast("Grade", grade or ("wall" if kind == "wall" else "counter" if source.is_energy else "polled")),
        resolution_j=source.trace.step_j or None,
        update_s=source.trace.spacing_s,
        range_j=None,
        rel_u_scale=error,
        rel_u_workload=source.trace.rounding(source.trace.mean_w),
        source=(_ASSUMED if rel_u is None else _GIVEN.format(error)) + _in_steps(source.trace),
        provenance=f"{file}, column {source.column}",
        summed=kind != "platform",
    )
    if u_offset_s is None:
        u_age_s = source.row_s / math.sqrt(12) if source.is_energy else 0.0
        u_offset_s = math.hypot(U_OFFSET_S, _U_WHOLE_S if source.is_of_whole_seconds else 0.0, u_age_s)
    return ReplayMeter(
        name,
        source,
        domain,
        offset_s=_number(name, "offset_s", offset_s),
        u_offset_s=_number(name, "u_offset_s", u_offset_s, least=0.0),
    )


class ReplayMeter:
    """Joules by a recorded trace, as if it were being measured now.

    Attributes:
        id: Its name.
        source: The file.
        domain: What its power is of.
        offset_s: How far the recorder's clock is ahead of this machine's, in seconds.
        u_offset_s: Standard uncertainty of that, and of the stamps; of whole windows, none of which it stretches.
    """

    def __init__(
        self, name: str, source: TraceFile, domain: Domain, *, offset_s: float = 0.0, u_offset_s: float = U_OFFSET_S
    ) -> None:
        """Nothing is replayed yet; arguments as the attributes."""
        self.id = name
        self.source, self.domain = source, domain
        self.offset_s, self.u_offset_s = offset_s, u_offset_s
        self._u_moment_s = u_offset_s if source.is_absolute else 0.0
        self._lock = threading.Lock()
        self._zero_ns = 0  # When, by the monotonic clock, the trace's time is 0.
        self._from_s: float | None = None
        self._told_s = self._joules = self._variance = 0.0
        self._since = 0

    def probe(self) -> Sequence[Domain] | Unavailable:
        """Its one domain; a file with times of the day only while its logger goes on."""
        if not self.source.is_absolute:
            return [self.domain]
        with self._lock:
            try:
                self._refresh()
                self._start_s(self._find_zero_ns())
            except MeterLost as error:
                return Unavailable(
                    reason=str(error),
                    fix="start the logger first, so that it writes while Joulemark measures; if it does: check zone= "
                    "and offset_s=, and that it flushes every line",
                )
        return [self.domain]

    def open(self, pid: int) -> None:  # noqa: ARG002 - what was recorded is recorded
        """Begin, at the trace's first moment or at the present.

        Raises:
            MeterLost: The file does not reach the present.
        """
        with self._lock:
            self._refresh()
            self._zero_ns = self._find_zero_ns()
            self._from_s = self._told_s = self._start_s(self._zero_ns)
            self._joules = self._variance = 0.0
            reach_s = math.sqrt(3) * self._u_moment_s
            times_s = self.source.trace.times_s[:-1]
            self._since = max(0, int(np.searchsorted(times_s, self._from_s - reach_s, side="right")) - 1)

    def read(self) -> Reading:
        """Joules since `open`, up to now or to the file's last line.

        Raises:
            MeterLost: It is not open, the file ended or has a gap, or a clock was set.
        """
        t0_ns = time.monotonic_ns()
        with self._lock:
            if self._from_s is None:
                raise MeterLost(f"{self.id} is not open")
            self._refuse_set_clock()
            self._refresh()
            now_s = _seconds_since(self._zero_ns)
            self._refuse_other_times(now_s)
            self._told_s = max(self._told_s, self.source.trace.last_told_s(now_s))
            joules, variance = self.source.trace.energy_j(self._from_s, self._told_s)
            return Reading(
                t0_ns=t0_ns,
                t1_ns=time.monotonic_ns(),
                values={self.domain.id: self._joules + joules},
                moment_ns=self._zero_ns + self._told_s * 1e9,
                u_moment_s=self._u_moment_s * self._unsteadiness(),
                variances={self.domain.id: self._variance + variance},
            )

    def close(self) -> None:
        """Forget where it began."""
        with self._lock:
            self._from_s = None

    def _refresh(self) -> None:
        before = self.source.trace
        try:
            self.source.refresh()
        except UsageError as error:
            raise MeterLost(str(error)) from error
        if self._from_s is not None and self.source.trace.step_w != before.step_w:
            # What is known better from now on must not take back an error that readings have told.
            joules, variance = before.energy_j(self._from_s, self._told_s)
            self._joules, self._variance = self._joules + joules, self._variance + variance
            self._from_s = self._told_s

    def _unsteadiness(self) -> float:
        """How much the power changed since the meter was opened, as a share of the least; 1 at most."""
        if self._u_moment_s == 0:
            return 0.0
        seen_w = self.source.trace.watts[self._since :]
        low_w, high_w = float(seen_w.min()), float(seen_w.max())
        return min(1.0, (high_w - low_w) / low_w) if low_w > 0 else 1.0

    def _find_zero_ns(self) -> int:
        if self.source.is_absolute:
            return -_wall_ahead_ns() - round(self.offset_s * 1e9)
        return time.monotonic_ns() - round(float(self.source.trace.edges_s[0]) * 1e9)

    def _start_s(self, zero_ns: int) -> float:
        """Where in the trace to begin; raises MeterLost where it does not hold the present."""
        first_s, last_s = (float(self.source.trace.edges_s[at]) for at in (0, -1))
        if not self.source.is_absolute:
            return first_s
        now_s = _seconds_since(zero_ns)
        self._refuse_other_times(now_s)
        return max(first_s, min(now_s, last_s))

    def _refuse_other_times(self, now_s: float) -> None:
        """Raises MeterLost where the trace is over, its logger silent for too long, or its clock ahead of ours.

        Rows from the future prove that what is taken for now is of another moment.
        """
        trace = self.source.trace
        late_s = now_s - float(trace.edges_s[-1])
        if self.source.is_absolute and -late_s > self._tolerance_s:
            raise MeterLost(
                f"{self.source.path} has a row from {-late_s:,.1f} s in the future, so its clock is not ours: give "
                "zone= or offset_s= (or u_offset_s=, where stamps are rounded)"
            )
        # Less than what the recorder waits for a new figure: it must not take an old one for it.
        patience_s = _SILENT_TICKS * trace.spacing_s + _SILENT_S if self.source.is_absolute else 0.0
        if late_s > patience_s:
            raise MeterLost(f"{self.source.path} ended {late_s:.1f} s ago")

    @property
    def _tolerance_s(self) -> float:
        """How far clocks may be apart without anything being wrong."""
        return max(_CLOCK_STEP_S, 3 * self._u_moment_s)

    def _refuse_set_clock(self) -> None:
        """Raises MeterLost where the wall clock jumped, and with it the stamps of a logger on this machine."""
        if not self.source.is_absolute:
            return
        jumped_s = (self._zero_ns - self._find_zero_ns()) / 1e9
        if abs(jumped_s) > self._tolerance_s:
            raise MeterLost(f"the wall clock was set {jumped_s:+.3f} s during the measurement; {self.id} goes by it")


def _in_steps(trace: Trace) -> str:
    step, unit = (trace.step_j, "J") if trace.step_j else (trace.step_w, "W")
    return f"; told in steps of {step:.3g} {unit}" if step else ""


def _seconds_since(zero_ns: int) -> float:
    return (time.monotonic_ns() - zero_ns) / 1e9


def _wall_ahead_ns() -> int:
    """Wall clock less monotonic clock, by the quickest of some looks at both."""
    looks = []
    for _ in range(5):
        before_ns, wall_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        looks.append((after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2))
    return min(looks)[1]


def _one_of(name: str, key: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        close = difflib.get_close_matches(value, allowed, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"meter {name!r}: {key}={value} is none of {', '.join(allowed)}{hint}")
    return value


def _number(name: str, key: str, value: str | float, *, least: float = -math.inf) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < least:
        raise UsageError(f"meter {name!r}: {key}={value} is no number" + (f" from {least:g} on" if least > -1 else ""))
    return number


def _rows(name: str, text: str | None) -> dict[str, str]:
    """``index:0;window:1`` taken apart."""
    found: dict[str, str] = {}
    for part in text.split(";") if text else ():
        column, colon, value = part.partition(":")
        if not colon:
            raise UsageError(f"meter {name!r}: rows={text} should be COLUMN:VALUE, several of them split by semicolons")
        found[column.strip()] = value.strip()
    return found
