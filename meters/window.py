"""Windows: from two readings to joules with an uncertainty, and the sampling that keeps long ones right.

A source that steps shows a figure that is up to a step old, so a window begins and ends at a step: its sources are
looked at until they renew their figures, which tells when these hold, to within the time between two looks. Energies
of sources that step at different moments are brought to the window's length by their own mean power.

The independent part of a window's uncertainty (k=1), by domain, with ``P`` its mean power in the window, or at an edge
that of the tick which ends there:

- resolution ``r``: each reading is off by a uniform error of width ``r``, two of them: ``r / sqrt(6)``;
- moments: when a figure held is known to within a width ``w``, at either end: ``P w / sqrt(12)`` each. The width is
  the time between the two looks that saw the step; the length of the look where a source is exact at any time; the
  time ``update_s`` between steps where no step was seen; or what the meter says;
- joining: ``P d / sqrt(12)`` at either end, where the domain's own moment lies ``d`` before that of the total;
- integration: what the meter says that adding up its samples has cost (`Reading.variances`).

These add in quadrature within a domain, since they have nothing to do with one another. Domains of one meter share
their looks, so the errors of their moments add up linearly; all else, and different meters, add in quadrature. The
formula for a uniform error is in JCGM 100:2008 (GUM), 4.3.7.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from .conditions import host_conditions
from .errors import MeterLost
from .steps import Shown, StepFinder, frozen, frozen_after_s, must_move, read
from .totals import grade_of, min_window_s, sampling_interval_s, scope_of
from .types import Conditions, Domain, EnergyRecord, Meter

__all__ = ["PowerSample", "Recorder", "min_window_s"]

_FROZEN_LOOKS = 3
"""A counter is called frozen after so many looks of the sampler at the earliest."""
_EDGE_TICKS = 4
"""Of a trace: power between two looks that are closer together than so many ticks says more of the ticks than of it."""
_SLEPT_S = 0.5


@dataclass(frozen=True, kw_only=True)
class PowerSample:
    """Mean power since the sample before (or the window's start); weighted by time, samples add up to the window.

    Attributes:
        t_s: End of the span, in seconds since the window's start.
        watts: Mean power in the span, by domain id.
    """

    t_s: float
    watts: Mapping[str, float]


class Recorder:
    """Turns readings of some meters into the energy of windows, one window at a time.

    ``start`` and ``stop`` it as often as needed. It opens by itself, and stays open (its thread looking often enough
    at counters that wrap, and at all meters every ``trace_s`` seconds if asked to) until it is closed or the end of
    its ``with``.
    """

    def __init__(
        self, meters: Sequence[Meter], domains: Sequence[Domain], pid: int, *, trace_s: float | None = None
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            meters: The meters to read.
            domains: The domains to record; those ``summed`` make up the total.
            pid: The process whose tree does the computing.
            trace_s: How often to keep a power sample; None for no trace.

        Raises:
            UsageError: The total would be empty or mix grades.
        """
        self._meters = tuple(meters)
        self._domains = tuple(domains)
        self._summed = tuple(domain for domain in self._domains if domain.summed)
        self._grade = grade_of(self._summed)
        self._finder = StepFinder(self._domains)
        self._pid = pid
        self._interval_s = sampling_interval_s(self._domains, trace_s)
        self._keep_trace = trace_s is not None
        self._lock = threading.Lock()
        self._sampled: list[_Look] = []
        self._trace: tuple[PowerSample, ...] = ()
        self._start: _Look | None = None
        self._before: tuple[Conditions, ...] = ()
        self._slept_s = 0.0
        self._lost: MeterLost | None = None
        self._closing = threading.Event()
        self._sampler: threading.Thread | None = None
        self._is_open = False

    def open(self) -> None:
        """Open the meters and begin sampling; nothing where that is done.

        Raises:
            MeterLost: A meter cannot be opened any more.
        """
        if self._is_open:
            return
        self._lost = self._start = None
        self._closing.clear()
        with contextlib.ExitStack() as undo:
            for meter in self._meters:
                meter.open(self._pid)
                undo.callback(meter.close)
            self._look()
            undo.pop_all()
        self._is_open = True
        if self._interval_s is not None:
            self._sampler = threading.Thread(target=self._sample, name="joulemark-sampler", daemon=True)
            self._sampler.start()

    def close(self) -> None:
        """End sampling and close the meters."""
        self._closing.set()
        if self._sampler is not None:
            self._sampler.join()
            self._sampler = None
        was_open, self._is_open = self._is_open, False
        with contextlib.ExitStack() as all_of_them:
            for meter in self._meters if was_open else ():
                all_of_them.callback(meter.close)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begin a window.

        Raises:
            MeterLost: A meter is lost, now or since the last window.
        """
        self.open()
        self._raise_if_lost()
        with self._lock:
            self._sampled = []
        self._before = self.conditions()
        self._slept_s = _slept_s()
        self._start = self._look_at_steps()

    def stop(self) -> EnergyRecord:
        """End the window that `start` began.

        Raises:
            MeterLost: A meter was lost in the window, or its figures cannot be: no energy at all, less than none, a
                counter that stood still.
        """
        if self._start is None:
            raise RuntimeError("Recorder.stop without start")
        start, self._start = self._start, None
        self._raise_if_lost()
        end = self._look_at_steps(must_step=True)
        # Not before the meters: asking many CPUs for their clocks takes longer than many a step.
        after = self.conditions()
        if (slept_s := _slept_s() - self._slept_s) > _SLEPT_S:
            raise MeterLost(f"the machine slept for {slept_s:.0f} s in the middle of a window")
        self._raise_if_lost()
        with self._lock:
            inside = [look for look in self._sampled if start.t_ns < look.t_ns < end.t_ns]
        window = _Window(start, end, self._domains)
        self._trace = window.power_between(inside, self._domains) if self._keep_trace else ()
        return self._record(window, after)

    @property
    def trace(self) -> tuple[PowerSample, ...]:
        """Power over the last window, if a trace was asked for."""
        return self._trace

    def _record(self, window: _Window, after: tuple[Conditions, ...]) -> EnergyRecord:
        _refuse_nonsense(self._domains, window.joules, window.seconds)
        gross_j = sum(window.joules[domain.id] for domain in self._summed)
        return EnergyRecord(
            gross_j=gross_j,
            u_j=window.independent_u_j(self._summed),
            began_ns=window.start.t_ns,
            window_s=window.seconds,
            grade=self._grade,
            scope=scope_of(self._summed),
            domains=window.joules,
            # Errors of calibration are taken to go the same way in all domains: the cautious reading.
            rel_u_scale=sum(window.joules[domain.id] * domain.rel_u_scale for domain in self._summed) / gross_j,
            rel_u_workload=sum(window.joules[domain.id] * domain.rel_u_workload for domain in self._summed) / gross_j,
            before=self._before,
            after=after,
        )

    def conditions(self) -> tuple[Conditions, ...]:
        """The state of the host, and of what else the meters tell of."""
        told = [host_conditions()]
        for meter in self._meters:
            # They are told beside the joules, which are good without them.
            with contextlib.suppress(Exception):
                told += meter.conditions() if hasattr(meter, "conditions") else ()
        return tuple(told)

    def _look(self) -> _Look:
        """Every meter as it is now."""
        return self._checked([self._finder.take(reading) for reading in map(read, self._meters)])

    def _look_at_steps(self, *, must_step: bool = False) -> _Look:
        """Every meter as it is when its sources next renew their figures, the slowest first."""
        meters = sorted(self._meters, key=self._slowness_s, reverse=True)
        shown: list[dict[str, Shown]] = []
        since_ns: float | None = None
        for meter in meters:
            first = read(meter)
            since_ns = first.t0_ns if since_ns is None else since_ns
            shown.append(self._finder.wait(meter, first, since_ns, must_step=must_step))
        return self._checked(shown)

    def _slowness_s(self, meter: Meter) -> float:
        return max((d.update_s or 0.0 for d in self._summed if d.id.partition(":")[0] == meter.id), default=0.0)

    def _checked(self, shown: Sequence[Mapping[str, Shown]]) -> _Look:
        found = {name: figure for part in shown for name, figure in part.items()}
        missing = [domain.id for domain in self._domains if domain.id not in found]
        if missing:
            raise MeterLost(f"{', '.join(missing)}: seen by probe, gone from the readings; see joulemark doctor")
        return _Look(max(found[domain.id].moment_ns for domain in self._summed), found)

    def _sample(self) -> None:
        watch = _Watch(self._summed)
        while not self._closing.wait(self._interval_s):
            try:
                look = self._look()
                watch.refuse_standing_still(look)
            except MeterLost as error:
                self._lost = error
                return
            except Exception as error:
                self._lost = MeterLost(f"sampling failed: {error!r}")
                return
            if self._keep_trace:
                with self._lock:
                    self._sampled.append(look)

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise self._lost


@dataclass(frozen=True)
class _Look:
    """Every domain, as if at one moment: the last of the total's."""

    t_ns: float
    shown: Mapping[str, Shown]


class _Window:
    """The span between two looks: joules of each domain, at its own mean power over the whole of it."""

    def __init__(self, start: _Look, end: _Look, domains: Sequence[Domain]) -> None:
        self.start, self._end = start, end
        self.seconds = (end.t_ns - start.t_ns) / 1e9
        self._own_s = {d.id: (end.shown[d.id].moment_ns - start.shown[d.id].moment_ns) / 1e9 for d in domains}
        for name, seconds in self._own_s.items():
            if seconds <= 0:
                raise MeterLost(f"{name} gave no new figure in {self.seconds:.3g} s: the window is too short for it")
        self.joules = {name: self._gained_j(name) * self.seconds / own for name, own in self._own_s.items()}

    def independent_u_j(self, summed: Sequence[Domain]) -> float:
        """The formula at the top of this module, in joules."""
        together: dict[str, float] = {}
        apart = 0.0
        for domain in summed:
            name, power_w = domain.id, self.joules[domain.id] / self.seconds
            start, end = self.start.shown[name], self._end.shown[name]
            meter = name.partition(":")[0]
            edges_j = (edge.u_moment_s * _edge_w(edge, power_w) for edge in (start, end))
            early_s = [_early_s(look, look.shown[name]) for look in (self.start, self._end)]
            moments_j = math.hypot(*edges_j, *(power_w * early / math.sqrt(12) for early in early_s))
            together[meter] = together.get(meter, 0.0) + moments_j
            apart += (domain.resolution_j or 0.0) ** 2 / 6 + max(0.0, end.variance - start.variance)
        return math.hypot(*together.values(), math.sqrt(apart))

    def power_between(self, inside: Sequence[_Look], domains: Sequence[Domain]) -> tuple[PowerSample, ...]:
        """Mean power between looks, the window's own and those ``inside`` it; of a slow source between some of them."""
        watts: dict[float, dict[str, float]] = {}
        for domain in domains:
            looks = self._looks_that_tell(domain, inside)
            for before, after in itertools.pairwise(looks):
                joules = self._at_t(domain.id, after) - self._at_t(domain.id, before)
                watts.setdefault(after.t_ns, {})[domain.id] = joules * 1e9 / (after.t_ns - before.t_ns)
        return tuple(PowerSample(t_s=(t_ns - self.start.t_ns) / 1e9, watts=watts[t_ns]) for t_ns in sorted(watts))

    def _looks_that_tell(self, domain: Domain, inside: Sequence[_Look]) -> list[_Look]:
        """Looks far enough apart, in ticks of the domain, and from both ends."""
        apart_ns = _EDGE_TICKS * (domain.update_s or 0.0) * 1e9
        looks = [self.start]
        for look in inside:
            if look.t_ns - looks[-1].t_ns > apart_ns and self._end.t_ns - look.t_ns > apart_ns:
                looks.append(look)
        return [*looks, self._end]

    def _gained_j(self, name: str) -> float:
        return self._end.shown[name].joules - self.start.shown[name].joules

    def _at_t(self, name: str, look: _Look) -> float:
        """Joules of a domain at the look's own moment, by its mean power."""
        shown = look.shown[name]
        return shown.joules + self.joules[name] / self.seconds * (look.t_ns - shown.moment_ns) / 1e9


def _early_s(look: _Look, shown: Shown) -> float:
    """How long before the look's own moment a domain's surely lies: what it is unsure of is in its own error."""
    return max(0.0, (look.t_ns - shown.moment_ns) / 1e9 - math.sqrt(12) * shown.u_moment_s)


def _edge_w(edge: Shown, mean_w: float) -> float:
    """Power at an edge: not below half the mean, since a tick that is taken for longer than it is makes it smaller."""
    return mean_w if edge.power_w is None else max(edge.power_w, mean_w / 2)


class _Watch:
    """Sees whether a counter stands still while it is sampled."""

    def __init__(self, summed: Sequence[Domain]) -> None:
        self._domains = [domain for domain in summed if must_move(domain)]
        self._moved: dict[str, Shown] = {}
        self._still: dict[str, int] = {}

    def refuse_standing_still(self, look: _Look) -> None:
        """Raises MeterLost where a counter has not moved for long enough to be called frozen."""
        for domain in self._domains:
            now, last = look.shown[domain.id], self._moved.get(domain.id)
            if last is None or now.joules != last.joules:
                self._moved[domain.id], self._still[domain.id] = now, 0
                continue
            self._still[domain.id] += 1
            still_s = (now.moment_ns - last.moment_ns) / 1e9
            if still_s > frozen_after_s(domain) and self._still[domain.id] >= _FROZEN_LOOKS:
                raise frozen(domain, still_s)


def _slept_s() -> float:
    """Seconds that the machine was suspended since it started, which its counters and our clock see differently."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(boottime) - time.monotonic() if boottime is not None else 0.0


def _refuse_nonsense(domains: Sequence[Domain], joules: Mapping[str, float], window_s: float) -> None:
    """No energy, less than none and a counter that stands still are faults of the meter, never results."""
    for domain in domains:
        joule = joules[domain.id]
        if not math.isfinite(joule) or joule < 0:
            raise MeterLost(f"{domain.id} says {joule} J for a window of {window_s:.3g} s, which cannot be")
        if joule == 0 and must_move(domain) and window_s > frozen_after_s(domain):
            raise frozen(domain, window_s)
    if sum(joules[domain.id] for domain in domains if domain.summed) <= 0:
        raise MeterLost(f"no energy seen in {window_s:.3g} s: the window is too short for this meter, or it is frozen")
