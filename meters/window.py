"""Windows: from two readings to joules with an uncertainty, and the sampling that keeps long ones right.

The independent part of a window's uncertainty (k=1), by domain, with ``P`` its mean power in the window:

- resolution ``r``: each reading is off by a uniform error of width ``r``, two of them: ``r / sqrt(6)``;
- edges: a source renewed every ``T`` seconds shows a figure that is 0 to ``T`` old, at either end:
  ``P T / sqrt(6)`` (the mean age is the same at both ends and cancels);
- skew: when inside a look of length ``s`` the domain was read is unknown, at either end: ``P s / sqrt(12)`` each.

These add in quadrature within a domain, since they have nothing to do with one another. Domains of one meter share
their moments, so theirs add up linearly; different meters add in quadrature. The formula for a uniform error is in
JCGM 100:2008 (GUM), 4.3.7.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from .errors import MeterLost
from .totals import grade_of, min_window_s, sampling_interval_s, scope_of
from .types import Domain, EnergyRecord, Meter, Reading

__all__ = ["PowerSample", "Recorder", "min_window_s"]


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
        self._pid = pid
        self._interval_s = sampling_interval_s(self._domains, trace_s)
        self._keep_trace = trace_s is not None
        self._lock = threading.Lock()
        self._sampled: list[_Look] = []
        self._trace: tuple[PowerSample, ...] = ()
        self._start: _Look | None = None
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
        if self._is_open:
            for meter in self._meters:
                meter.close()
        self._is_open = False

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
        self._start = self._look()

    def stop(self) -> EnergyRecord:
        """End the window that `start` began.

        Raises:
            MeterLost: A meter was lost in the window, or its figures cannot be: no energy at all, less than none, a
                counter that stood still.
        """
        if self._start is None:
            raise RuntimeError("Recorder.stop without start")
        start, self._start = self._start, None
        end = self._look()
        self._raise_if_lost()
        with self._lock:
            inside = [look for look in self._sampled if start.t_ns < look.t_ns < end.t_ns]
        self._trace = _power_between([start, *inside, end]) if self._keep_trace else ()
        return self._record(start, end)

    @property
    def trace(self) -> tuple[PowerSample, ...]:
        """Power over the last window, if a trace was asked for."""
        return self._trace

    def _record(self, start: _Look, end: _Look) -> EnergyRecord:
        window_s = (end.t_ns - start.t_ns) / 1e9
        joules = {domain.id: end.joules[domain.id] - start.joules[domain.id] for domain in self._domains}
        _refuse_nonsense(self._domains, joules, window_s)
        gross_j = sum(joules[domain.id] for domain in self._summed)
        skew_s = math.hypot(start.length_s, end.length_s) / math.sqrt(12)
        return EnergyRecord(
            gross_j=gross_j,
            u_j=_independent_u_j(self._summed, joules, window_s, skew_s),
            window_s=window_s,
            grade=self._grade,
            scope=scope_of(self._summed),
            domains=joules,
            # Errors of calibration are taken to go the same way in all domains: the cautious reading.
            rel_u_scale=sum(joules[domain.id] * domain.rel_u_scale for domain in self._summed) / gross_j,
            rel_u_workload=sum(joules[domain.id] * domain.rel_u_workload for domain in self._summed) / gross_j,
        )

    def _look(self) -> _Look:
        look = _Look.of([_read(meter) for meter in self._meters])
        missing = [domain.id for domain in self._domains if domain.id not in look.joules]
        if missing:
            raise MeterLost(f"{', '.join(missing)}: seen by probe, gone from the readings; see joulemark doctor")
        return look

    def _sample(self) -> None:
        while not self._closing.wait(self._interval_s):
            try:
                look = self._look()
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
    """One reading of every meter, as if at one moment."""

    t_ns: float
    length_s: float
    joules: Mapping[str, float]

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> _Look:
        first, last = min(r.t0_ns for r in readings), max(r.t1_ns for r in readings)
        joules = {name: value for reading in readings for name, value in reading.values.items()}
        return cls((first + last) / 2, (last - first) / 1e9, joules)


def _read(meter: Meter) -> Reading:
    try:
        return meter.read()
    except (OSError, ValueError, ArithmeticError, LookupError) as error:
        # A meter from outside may break its promise; what it measures is lost all the same.
        raise MeterLost(f"{meter.id}: {type(error).__name__}: {error}") from error


def _power_between(looks: Sequence[_Look]) -> tuple[PowerSample, ...]:
    return tuple(
        PowerSample(
            t_s=(after.t_ns - looks[0].t_ns) / 1e9,
            watts={
                name: (j - before.joules[name]) * 1e9 / (after.t_ns - before.t_ns) for name, j in after.joules.items()
            },
        )
        for before, after in itertools.pairwise(looks)
        if after.t_ns > before.t_ns
    )


def _independent_u_j(summed: Sequence[Domain], joules: Mapping[str, float], window_s: float, skew_s: float) -> float:
    """The formula at the top of this module, in joules."""
    by_meter: dict[str, float] = {}
    for domain in summed:
        power_w = joules[domain.id] / window_s
        resolution_j = (domain.resolution_j or 0.0) / math.sqrt(6)
        edges_j = power_w * (domain.update_s or 0.0) / math.sqrt(6)
        meter = domain.id.partition(":")[0]
        by_meter[meter] = by_meter.get(meter, 0.0) + math.hypot(resolution_j, edges_j, power_w * skew_s)
    return math.hypot(*by_meter.values())


def _refuse_nonsense(domains: Sequence[Domain], joules: Mapping[str, float], window_s: float) -> None:
    """No energy, less than none and a counter that stands still are faults of the meter, never results."""
    for domain in domains:
        joule = joules[domain.id]
        if not math.isfinite(joule) or joule < 0:
            raise MeterLost(f"{domain.id} says {joule} J for a window of {window_s:.3g} s, which cannot be")
        # Memory that does nothing may round down to 0; a package or GPU that is switched on never does.
        if joule == 0 and domain.summed and domain.kind != "dram" and window_s > 10 * (domain.update_s or 0.0):
            raise MeterLost(
                f"{domain.id} stood still for {window_s:.3g} s: its counter is frozen; see joulemark doctor"
            )
    if sum(joules[domain.id] for domain in domains if domain.summed) <= 0:
        raise MeterLost(f"no energy seen in {window_s:.3g} s: the window is too short for this meter, or it is frozen")
