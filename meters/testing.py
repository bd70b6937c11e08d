"""A test that every meter can be given, ours and yours: does it keep what `Meter` promises?

In the tests of a package that brings a meter::

    from joulemark.meters.testing import check_meter

    def test_the_meter_keeps_its_promises():
        check_meter(MyMeter)
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .errors import MeterLost
from .types import GRADES, MOST_PLAUSIBLE_W, SCOPE_KINDS, Domain, Meter, Reading, Unavailable
from .window import Recorder

__all__ = ["BrokenPromise", "check_meter"]

_Timed = tuple[int, Reading, int]
"""A reading between two looks at the clock."""

_STEP_S, _MOST_STEP_S = 0.05, 1.0
_THREADS, _THREADS_S, _DEADLOCK_S = 2, 0.3, 30.0
_LEAST_S, _MOST_S = 2.0, 30.0
_LEAST_W = 1.0
"""Less than whatever is worth a meter draws."""
_MOST_MACHINE_W = 50_000.0
"""More than a whole machine draws: five times a server with eight GPUs."""


class BrokenPromise(AssertionError):
    """What a meter does otherwise than `Meter` promises, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def check_meter(
    make: Callable[[], Meter], *, pid: int | None = None, seconds: float | None = None
) -> tuple[Domain, ...]:
    """Probe a meter, open it, read it for a while and from several threads, close it and open it again.

    Args:
        make: Gives a new meter, as its entry point does.
        pid: The process that computes, busy all the while; None for this one, which the check keeps busy.
        seconds: How long to read; None for twelve times the slowest ``update_s``, at least 2 and at most 30. A source
            that is slower than a tenth of that is not judged for standing still.

    Returns:
        The domains that it offers here; none where it is unavailable and says why, which is no fault.

    Raises:
        BrokenPromise: It does not do what `Meter` says; all that was found.
    """
    try:
        meter = make()
        found = meter.probe()
        domains = () if isinstance(found, Unavailable) else tuple(found)
    except Exception as error:
        raise BrokenPromise([f"it cannot be probed: {error!r}; probe says Unavailable instead"]) from error
    if isinstance(found, Unavailable):
        _raise_if([f"Unavailable without a {part}" for part in ("reason", "fix") if not getattr(found, part).strip()])
        return ()
    try:
        problems = [*_of_id(meter), *_of_domains(meter.id, domains)]
    except (TypeError, AttributeError) as error:
        problems = [f"its domains are not as `Domain` has them: {error}"]
    _raise_if(problems)
    slowest = max(domain.update_s or 0.0 for domain in domains)
    use = _Use(pid, min(max(_LEAST_S, 12 * slowest), _MOST_S) if seconds is None else seconds, slowest)
    problems = list(_of_use(meter, domains, use))
    _raise_if(problems or list(_of_window(make, domains, use)))
    return domains


@dataclass(frozen=True)
class _Use:
    """How a meter is tried: for which process, how long, and how slow its slowest source is, in seconds."""

    pid: int | None
    seconds: float
    slowest_s: float

    @property
    def process(self) -> int:
        return os.getpid() if self.pid is None else self.pid

    def let_pass(self, seconds: float) -> None:
        """Time, half of it computing where this process is the one that is measured."""
        until = time.monotonic() + seconds
        while self.pid is None and time.monotonic() < until - seconds / 2:
            math.sqrt(2)
        time.sleep(max(0.0, until - time.monotonic()))


def _raise_if(problems: Sequence[str]) -> None:
    if problems:
        raise BrokenPromise(problems)


def _of_id(meter: Meter) -> Iterator[str]:
    if not meter.id or ":" in meter.id or not meter.id.isprintable():
        yield f"id {meter.id!r}: a name without a colon, since domains are called METER:NAME"


def _of_domains(meter_id: str, domains: Sequence[Domain]) -> Iterator[str]:
    if not domains:
        yield "probe found no domain; it says Unavailable, with a reason and a fix, where there is none"
    names = [domain.id for domain in domains]
    yield from (f"domain {name} is there twice" for name in sorted({n for n in names if names.count(n) > 1}))
    for domain in domains:
        yield from (f"domain {domain.id}: {problem}" for problem in _of_domain(meter_id, domain))


def _of_domain(meter_id: str, domain: Domain) -> Iterator[str]:
    if not domain.id.startswith(f"{meter_id}:") or domain.id == f"{meter_id}:":
        yield f"its id begins with {meter_id}: and goes on with a name"
    if domain.kind not in SCOPE_KINDS:
        yield f"kind {domain.kind!r} is none of {', '.join(SCOPE_KINDS)}"
    if domain.grade not in GRADES:
        yield f"grade {domain.grade!r} is none of {', '.join(GRADES)}"
    for key in ("resolution_j", "update_s", "range_j"):
        value = getattr(domain, key)
        if value is not None and not (math.isfinite(value) and value > 0):
            yield f"{key} is {value}; a number above 0, or None"
    errors = (domain.rel_u_scale, domain.rel_u_workload)
    if not all(0 <= error < 1 for error in errors) or not any(errors):
        yield "rel_u_scale and rel_u_workload are shares from 0 to 1, not both 0: no meter is without error"
    for key in ("source", "provenance"):
        if not getattr(domain, key).strip():
            yield f"{key} is empty"


def _of_use(meter: Meter, domains: Sequence[Domain], use: _Use) -> Iterator[str]:
    step = "open"
    try:
        opened_ns = time.monotonic_ns()
        meter.open(use.process)
        step = "read"
        timed = _read_for(meter, use.seconds, use)
        yield from _of_readings(timed, domains, opened_ns)
        yield from _of_standing_still(timed, domains)
        last = timed[-1][1].values
        step = "read from several threads"
        yield from _of_threads(meter)
        step = "close"
        meter.close()
        step = "open again"
        opened_ns = time.monotonic_ns()
        meter.open(use.process)
        step = "read after opening again"
        timed = _read_for(meter, 0.0, use)
        yield from (f"opened again: {problem}" for problem in _of_readings(timed, domains, opened_ns))
        yield from _of_starting_anew(timed[0][1].values, last, domains, use)
        step = "close, twice"
        meter.close()
        meter.close()
    except Exception as error:
        yield f"{step} failed: {error!r}"
        return
    try:
        meter.read()
    except MeterLost:
        return
    except Exception as error:
        yield f"read after close raised {error!r}, not MeterLost"
        return
    yield "read after close gave a reading; it raises MeterLost"


def _read_for(meter: Meter, seconds: float, use: _Use) -> list[_Timed]:
    """Readings, each between two looks at the clock; at least two."""
    until = time.monotonic() + seconds
    readings: list[_Timed] = []
    while len(readings) < 2 or time.monotonic() < until:
        before_ns = time.monotonic_ns()
        reading = meter.read()
        readings.append((before_ns, reading, time.monotonic_ns()))
        use.let_pass(max(_STEP_S, min(_MOST_STEP_S, use.slowest_s / 10)))
    return readings


def _of_readings(timed: Sequence[_Timed], domains: Sequence[Domain], opened_ns: int) -> Iterator[str]:
    if any(not before <= r.t0_ns <= r.t1_ns <= after for before, r, after in timed):
        yield "t0_ns and t1_ns are not within the call of read, by time.monotonic_ns(); their age is update_s"
    if any(r.moment_ns is not None and r.moment_ns > after for _, r, after in timed):
        yield "moment_ns lies after the call of read; moments are by time.monotonic_ns()"
    for domain in domains:
        if missing := sum(domain.id not in reading.values for _, reading, _ in timed):
            yield f"{domain.id} is missing from {missing} of {len(timed)} readings; a lost source raises MeterLost"
            continue
        joules = [reading.values[domain.id] for _, reading, _ in timed]
        if not all(map(math.isfinite, joules)):
            yield f"{domain.id} gave a figure that is no number; a source that gives nonsense raises MeterLost"
            continue
        if any(later < earlier for earlier, later in itertools.pairwise(joules)):
            yield f"{domain.id} went backwards; wraps are undone, and a counter that went back raises MeterLost"
        for place in (0, -1):
            problem = _too_much(domain, joules[place], (timed[place][2] - opened_ns) / 1e9)
            if problem:
                yield problem
                break


def _too_much(domain: Domain, joules: float, since_s: float) -> str | None:
    """Whether so much cannot have been used since it was opened."""
    most_w = _MOST_MACHINE_W if domain.kind in ("wall", "platform") else MOST_PLAUSIBLE_W
    most_j = most_w * (since_s + (domain.update_s or 0.0)) + (domain.resolution_j or 0.0)
    if -(domain.resolution_j or 0.0) <= joules <= most_j:
        return None
    return f"{domain.id} says {joules:g} J {since_s:.3f} s after open, which cannot be; figures are joules since open"


def _of_standing_still(timed: Sequence[_Timed], domains: Sequence[Domain]) -> Iterator[str]:
    seen_s = (timed[-1][0] - timed[0][2]) / 1e9
    for domain in domains:
        joules = [reading.values.get(domain.id) for _, reading, _ in timed]
        judged = (domain.summed or not any(other.summed for other in domains)) and domain.kind != "dram"
        if judged and _seen_to_move(domain, seen_s) and joules[0] == joules[-1]:
            yield f"{domain.id} stood still for {seen_s:.1f} s, more than ten times its update_s"


def _seen_to_move(domain: Domain, seconds: float) -> bool:
    """Whether its figure must have moved in this time."""
    return seconds > 10 * (domain.update_s or 0.0) and seconds * _LEAST_W > (domain.resolution_j or 0.0)


def _of_starting_anew(
    first: Mapping[str, float], last: Mapping[str, float], domains: Sequence[Domain], use: _Use
) -> Iterator[str]:
    for domain in domains:
        before, after = last.get(domain.id), first.get(domain.id)
        if before and after is not None and _seen_to_move(domain, use.seconds) and after >= before:
            yield f"{domain.id} goes on from {before:g} J when opened again; figures are joules since open"


def _of_threads(meter: Meter) -> Iterator[str]:
    """A sampler reads beside the measuring thread."""
    failures: list[str] = []
    together = threading.Barrier(_THREADS)

    def read_often() -> None:
        last: dict[str, float] = {}
        try:
            together.wait()
            until = time.monotonic() + _THREADS_S
            while time.monotonic() < until:
                values = dict(meter.read().values)
                failures.extend(f"{name} went backwards" for name in last if values[name] < last[name])
                last = values
        except Exception as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=read_often, daemon=True) for _ in range(_THREADS)]
    switches = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_DEADLOCK_S)
    finally:
        sys.setswitchinterval(switches)
    if any(thread.is_alive() for thread in threads):
        failures.append(f"read did not come back within {_DEADLOCK_S:.0f} s")
    if failures:
        yield f"read from {_THREADS} threads at once: {failures[0]}"


def _of_window(make: Callable[[], Meter], domains: Sequence[Domain], use: _Use) -> Iterator[str]:
    """Whether the recorder, which judges every reading in a run, takes what it gives; a new meter, never probed."""
    lead = next((domain for domain in domains if domain.summed), domains[0])
    total = [
        replace(domain, summed=domain is lead or (domain.summed and domain.grade == lead.grade)) for domain in domains
    ]
    if not all(_seen_to_move(domain, use.seconds) for domain in total if domain.summed):
        return
    try:
        with Recorder([make()], total, use.process) as recorder:
            recorder.start()
            use.let_pass(use.seconds)
            recorder.stop()
    except Exception as error:
        yield f"a new meter, never probed, in a window of {use.seconds:g} s: {error!r}"
