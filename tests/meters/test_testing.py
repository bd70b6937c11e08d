"""The check for meters from elsewhere: ours pass it, and each broken promise is found and named."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from machines import FakePowercap, PowerDriver, wave

from joulemark.meters.errors import MeterLost
from joulemark.meters.modelled import ModelledMeter
from joulemark.meters.rapl import RaplMeter
from joulemark.meters.testing import BrokenPromise, check_meter
from joulemark.meters.types import Domain, Reading, Unavailable

ALL = Domain(
    id="steady:all", kind="wall", grade="polled", resolution_j=None, update_s=None, range_j=None, rel_u_scale=0.01,
    rel_u_workload=0.0, source="a test", provenance="a clock",
)  # fmt: skip


class Steady:
    """A hundred watts by the clock, as `Meter` promises them."""

    id = "steady"

    def __init__(self) -> None:
        self.opened_ns: int | None = None

    def probe(self) -> Sequence[Domain] | Unavailable:
        return [ALL]

    def open(self, pid: int) -> None:  # noqa: ARG002
        self.opened_ns = time.monotonic_ns()

    def read(self) -> Reading:
        if self.opened_ns is None:
            raise MeterLost("steady is not open")
        t0_ns = time.monotonic_ns()
        joules = self.joules((t0_ns - self.opened_ns) / 1e9)
        return Reading(t0_ns=t0_ns, t1_ns=time.monotonic_ns(), values={"steady:all": joules})

    def joules(self, since_s: float) -> float:
        return 100 * since_s

    def close(self) -> None:
        self.opened_ns = None


class Colon(Steady):
    id = "steady:1"


class Raises(Steady):
    def probe(self) -> Sequence[Domain] | Unavailable:
        raise OSError("no such device")


class NoReason(Steady):
    def probe(self) -> Sequence[Domain] | Unavailable:
        return Unavailable(reason=" ", fix="plug it in")


class NoDomain(Steady):
    def probe(self) -> Sequence[Domain] | Unavailable:
        return []


class Twice(Steady):
    def probe(self) -> Sequence[Domain] | Unavailable:
        return [ALL, ALL]


class WrongFacts(Steady):
    def probe(self) -> Sequence[Domain] | Unavailable:
        return [replace(ALL, id="other:all", kind="house", grade="guessed", update_s=0.0, rel_u_scale=0.0, source="")]  # type: ignore[arg-type]


class WallClock(Steady):
    def read(self) -> Reading:
        return super().read()._replace(t0_ns=time.time_ns(), t1_ns=time.time_ns())


class SinceBoot(Steady):
    def joules(self, since_s: float) -> float:
        return 5e6 + 100 * since_s


class Backwards(Steady):
    def joules(self, since_s: float) -> float:
        return 100 - 100 * since_s


class Frozen(Steady):
    def joules(self, since_s: float) -> float:  # noqa: ARG002
        return 0.0


class NotANumber(Steady):
    def joules(self, since_s: float) -> float:  # noqa: ARG002
        return math.nan


class LosesADomain(Steady):
    def read(self) -> Reading:
        return super().read()._replace(values={})


class NotForThreads(Steady):
    def read(self) -> Reading:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("made in another thread")
        return super().read()


class ReadsWhenClosed(Steady):
    def read(self) -> Reading:
        return Reading(t0_ns=0, t1_ns=0, values={}) if self.opened_ns is None else super().read()


class WrongError(Steady):
    def read(self) -> Reading:
        if self.opened_ns is None:
            raise AttributeError("fd")
        return super().read()


class OpensOnce(Steady):
    opened = 0

    def open(self, pid: int) -> None:
        self.opened += 1
        if self.opened > 1:
            raise RuntimeError("open already")
        super().open(pid)


class NeedsProbe(Steady):
    def __init__(self) -> None:
        super().__init__()
        self.probed = False

    def probe(self) -> Sequence[Domain] | Unavailable:
        self.probed = True
        return super().probe()

    def open(self, pid: int) -> None:
        if not self.probed:
            raise AttributeError("handle")
        super().open(pid)


class NoAnswer(Steady):
    def probe(self) -> Sequence[Domain] | Unavailable:
        return None  # type: ignore[return-value]


class Millijoules(Steady):
    def joules(self, since_s: float) -> float:
        return 100_000 * since_s


class NeverAnew(Steady):
    began = time.monotonic()

    def joules(self, since_s: float) -> float:  # noqa: ARG002
        return time.monotonic() - self.began


class OneAtATime(Steady):
    """Breaks where a second thread comes in while the first is waiting for its source."""

    busy = False

    def joules(self, since_s: float) -> float:
        if self.busy:
            raise RuntimeError("an answer is awaited")
        self.busy = True
        time.sleep(0.001)
        self.busy = False
        return 100 * since_s


class Percent(Steady):
    def probe(self) -> Sequence[Domain] | Unavailable:
        return [replace(ALL, rel_u_scale=5.0)]


class Stepped(Steady):
    """Renewed every tenth of a second."""

    def probe(self) -> Sequence[Domain] | Unavailable:
        return [replace(ALL, update_s=0.1)]

    def joules(self, since_s: float) -> float:
        return 100 * (since_s // 0.1 * 0.1)


class OncePerMinute(Stepped):
    def probe(self) -> Sequence[Domain] | Unavailable:
        return [replace(ALL, update_s=60.0)]

    def joules(self, since_s: float) -> float:
        return 6_000 * (since_s // 60)


class WattHours(Steady):
    """Counts whole watt-hours."""

    def probe(self) -> Sequence[Domain] | Unavailable:
        return [replace(ALL, resolution_j=3600.0)]

    def joules(self, since_s: float) -> float:
        return 100 * since_s // 3600 * 3600


class OwnWork(Steady):
    """Counts what this process computes, and nothing else."""

    def open(self, pid: int) -> None:
        super().open(pid)
        self.before_s = time.process_time()

    def joules(self, since_s: float) -> float:  # noqa: ARG002
        return 10 * (time.process_time() - self.before_s)


class BesideTheTotal(Steady):
    def probe(self) -> Sequence[Domain] | Unavailable:
        return [replace(ALL, summed=False)]


@pytest.mark.parametrize("fine", [Stepped, OncePerMinute, WattHours, OwnWork, BesideTheTotal])
def test_a_meter_may_be_slow_or_coarse_or_see_this_process_alone(fine: type[Steady]) -> None:
    assert len(check_meter(fine, seconds=1.5)) == 1


def test_a_meter_that_keeps_its_promises_passes_and_its_domains_are_given() -> None:
    assert check_meter(Steady, seconds=0.2) == (ALL,)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (Colon, "a name without a colon"),
        (Raises, "cannot be probed: OSError"),
        (NoReason, "Unavailable without a reason"),
        (NoDomain, "probe found no domain"),
        (Twice, "steady:all is there twice"),
        (WrongFacts, "its id begins with steady:"),
        (WrongFacts, "kind 'house' is none of"),
        (WrongFacts, "grade 'guessed' is none of"),
        (WrongFacts, "update_s is 0.0"),
        (WrongFacts, "no meter is without error"),
        (WrongFacts, "source is empty"),
        (WallClock, "not within the call of read"),
        (SinceBoot, "figures are joules since open"),
        (Backwards, "went backwards"),
        (Frozen, "stood still"),
        (NotANumber, "no number"),
        (LosesADomain, "missing from"),
        (NotForThreads, "from 2 threads at once: RuntimeError"),
        (ReadsWhenClosed, "read after close gave a reading"),
        (WrongError, "read after close raised AttributeError"),
        (OpensOnce, "RuntimeError('open already')"),
        (NeedsProbe, "a new meter, never probed, in a window of 0.2 s: AttributeError"),
        (NoAnswer, "cannot be probed: TypeError"),
        (Millijoules, "cannot be; figures are joules since open"),
        (NeverAnew, "goes on from"),
        (OneAtATime, "from 2 threads at once"),
        (Percent, "are shares from 0 to 1"),
    ],
)
def test_each_broken_promise_is_named(broken: type[Steady], told: str) -> None:
    with pytest.raises(BrokenPromise) as caught:
        check_meter(broken, seconds=0.2)
    assert any(told in problem for problem in caught.value.problems)


def test_a_meter_that_is_not_there_and_says_why_is_no_fault() -> None:
    class Unplugged(Steady):
        def probe(self) -> Sequence[Domain] | Unavailable:
            return Unavailable(reason="nothing answers", fix="plug it in")

    assert check_meter(Unplugged) == ()


def test_the_modelled_meter_keeps_its_promises() -> None:
    assert [domain.id for domain in check_meter(ModelledMeter, seconds=0.5)] == ["modelled:cpu"]


def test_rapl_keeps_its_promises_on_two_sockets(two_sockets: FakePowercap) -> None:
    shares = dict.fromkeys(two_sockets.zones.values(), 1.0)
    with PowerDriver(shares, wave()):
        domains = check_meter(RaplMeter, seconds=0.5)
    assert {domain.kind for domain in domains} >= {"package", "dram"}
