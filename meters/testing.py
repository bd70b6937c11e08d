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
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from .errors import JoulemarkError, MeterLost
from .types import GRADES, MOST_PLAUSIBLE_W, SCOPE_KINDS, Domain, Meter, Reading, Unavailable
from .window import Recorder

__all__ = ["BrokenPromise", "check_meter"]

_STEP_S = 0.05
_THREADS, _READS = 2, 20


class BrokenPromise(AssertionError):
    """What a meter does otherwise than `Meter` promises, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def check_meter(make: Callable[[], Meter], *, pid: int | None = None, seconds: float = 2.0) -> tuple[Domain, ...]:
    """Probe a meter, open it, read it for a while and from several threads, close it and open it again.

    Args:
        make: Gives a new meter, as its entry point does.
        pid: The process that computes; None for this one.
        seconds: How long to read; more than ten times the slowest ``update_s`` to see whether figures stand still.

    Returns:
        The domains that it offers here; none where it is unavailable and says why, which is no fault.

    Raises:
        BrokenPromise: It does not do what `Meter` says; all that was found.
    """
    try:
        meter = make()
        found = meter.probe()
    except Exception as error:
        raise BrokenPromise([f"it cannot be probed: {error!r}; probe says Unavailable instead"]) from error
    if isinstance(found, Unavailable):
        _raise_if([f"Unavailable without a {part}" for part in ("reason", "fix") if not getattr(found, part).strip()])
        return ()
    domains = tuple(found)
    _raise_if([*_of_id(meter), *_of_domains(meter.id, domains)])
    problems = list(_of_use(meter, domains, os.getpid() if pid is None else pid, seconds))
    if not problems:
        problems += _of_window(make(), domains, os.getpid() if pid is None else pid, seconds)
    _raise_if(problems)
    return domains


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
    if not all(math.isfinite(error) and error >= 0 for error in errors) or not any(errors):
        yield "rel_u_scale and rel_u_workload: no meter is without error, and none is below 0"
    for key in ("source", "provenance"):
        if not getattr(domain, key).strip():
            yield f"{key} is empty"


def _of_use(meter: Meter, domains: Sequence[Domain], pid: int, seconds: float) -> Iterator[str]:
    try:
        for attempt in ("opened", "opened again"):
            opened_ns = time.monotonic_ns()
            meter.open(pid)
            try:
                readings = _read_for(meter, seconds if attempt == "opened" else 0.0)
                yield from (f"{attempt}: {problem}" for problem in _of_readings(readings, domains, opened_ns))
                yield from _of_threads(meter) if attempt == "opened" else ()
            finally:
                meter.close()
        meter.close()
    except Exception as error:
        yield f"opening, reading or closing failed: {error!r}"
        return
    try:
        meter.read()
    except JoulemarkError:
        return
    except Exception as error:
        yield f"read after close raised {error!r}, not MeterLost"
        return
    yield "read after close gave a reading; it raises MeterLost"


def _read_for(meter: Meter, seconds: float) -> list[tuple[int, Reading, int]]:
    """Readings, each between two looks at the clock; at least two."""
    until = time.monotonic() + seconds
    readings: list[tuple[int, Reading, int]] = []
    while len(readings) < 2 or time.monotonic() < until:
        before_ns = time.monotonic_ns()
        reading = meter.read()
        readings.append((before_ns, reading, time.monotonic_ns()))
        time.sleep(_STEP_S)
    return readings


def _of_readings(timed: Sequence[tuple[int, Reading, int]], domains: Sequence[Domain], opened_ns: int) -> Iterator[str]:
    if any(not before <= r.t0_ns <= r.t1_ns <= after for before, r, after in timed):
        yield "t0_ns and t1_ns are not time.monotonic_ns() just before and just after the look"
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
        yield from _of_first(domain, joules[0], (timed[0][2] - opened_ns) / 1e9)
        seen_s = (timed[-1][0] - timed[0][2]) / 1e9
        if domain.summed and domain.kind != "dram" and joules[-1] == joules[0] and seen_s > 10 * (domain.update_s or 0):
            yield f"{domain.id} stood still for {seen_s:.1f} s, more than ten times its update_s"


def _of_first(domain: Domain, joules: float, since_s: float) -> Iterator[str]:
    most = MOST_PLAUSIBLE_W * (since_s + (domain.update_s or 0.0)) + (domain.resolution_j or 0.0)
    if not -(domain.resolution_j or 0.0) <= joules <= most:
        yield f"{domain.id} says {joules:g} J {since_s:.3f} s after open; figures are joules since open"


def _of_threads(meter: Meter) -> Iterator[str]:
    """A sampler reads beside the measuring thread."""
    failures: list[str] = []

    def read_often() -> None:
        last: dict[str, float] = {}
        try:
            for _ in range(_READS):
                values = dict(meter.read().values)
                failures.extend(f"{name} went backwards" for name in last if values[name] < last[name])
                last = values
        except Exception as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=read_often) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        yield f"read from {_THREADS} threads at once: {failures[0]}"


def _of_window(meter: Meter, domains: Sequence[Domain], pid: int, seconds: float) -> Iterator[str]:
    """Whether the recorder, which judges every reading in a run, takes what it gives; a new meter, never probed."""
    summed = [domain for domain in domains if domain.summed]
    if not summed or len({domain.grade for domain in summed}) > 1:
        return
    try:
        with Recorder([meter], domains, pid) as recorder:
            recorder.start()
            time.sleep(seconds)
            recorder.stop()
    except MeterLost as error:
        yield f"a window of {seconds:g} s: {error}"
