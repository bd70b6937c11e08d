"""From power that is asked for now and then to joules: a thread that asks, and the sum of what it was told.

Between two samples nothing is known of the power, so the mean of both counts for the time between them; a figure that
stays the same is held. The error (k=1) of that time's joules, with ``dP`` the difference of the two samples:

- of figures that are means over the time since the last one: the power went from the one to the other at some moment
  between them, so the error is uniform over ``dP dt``: ``|dP| dt / sqrt(12)`` (JCGM 100:2008, 4.3.7);
- of figures of a moment: each stands for its whole interval, though the power may have been anything in it. If samples
  scatter by ``s`` and have nothing to do with one another, the sum of ``n`` is off by ``sqrt(n) s dt``, and ``dP``
  scatters by ``sqrt(2) s``: ``|dP| dt / sqrt(2)`` each adds up to that.

Where answers are missing, two samples that happen to agree say nothing of what lies between. The power may then have
been anything that it was seen to be so far. With ``D`` from the mean of the two to the furthest of that, and all of it
alike, it is off by ``D dt / sqrt(3)`` at most: so much more.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .errors import MeterLost
from .types import Conditions, Domain, Reading, Unavailable

__all__ = ["NoSample", "PolledMeter", "Poller", "Sample", "Source"]

MOST_MACHINE_W = 50_000.0
"""More than a whole machine draws: five times a server with eight GPUs."""


_MISSING_INTERVALS = 3.0
"""A gap of more than so many intervals is one in which answers are missing."""

_AHEAD_NS = 1_000_000_000


class NoSample(Exception):
    """The source gave nothing usable this time; it may be asked again."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a source told at one moment.

    Attributes:
        moment_ns: When that held, by the monotonic clock.
        u_moment_s: Standard uncertainty of it: the journey, and how old the figure may have been.
        watts: By domain id.
        joules: By domain id, for what a source counts by itself; from any beginning, never falling.
        means: Whether each power is a mean over the time since the one before, and not of a moment.
    """

    moment_ns: float
    u_moment_s: float
    watts: Mapping[str, float] = field(default_factory=dict)
    joules: Mapping[str, float] = field(default_factory=dict)
    means: bool = False


class Source(Protocol):
    """Something that tells, when asked, what power is drawn or what energy was used.

    Attributes:
        interval_s: How often to ask.
        patience_s: How long it may give nothing before it counts as lost.
    """

    interval_s: float
    patience_s: float

    def describe(self) -> Sequence[Domain] | Unavailable:
        """What it tells of, or why it tells nothing."""

    def ask(self) -> Sample:
        """What it tells now; raises `NoSample` where that is nothing usable."""

    def close(self) -> None:
        """Let go of it; it may be asked again."""


class PolledMeter:
    """A `Meter` made of a `Source`."""

    def __init__(self, name: str, source: Source) -> None:
        self.id = name
        self._source = source
        self._poller = Poller(name, source.ask, interval_s=source.interval_s, patience_s=source.patience_s)

    def probe(self) -> Sequence[Domain] | Unavailable:
        """What the source tells of."""
        try:
            return self._source.describe()
        finally:
            if not self._poller.started:
                self._source.close()

    def open(self, pid: int) -> None:  # noqa: ARG002 - such sources see whole devices
        """Begin asking.

        Raises:
            MeterLost: The source gives nothing.
        """
        self.close()
        try:
            self._poller.start()
        except BaseException:
            self._source.close()
            raise

    def read(self) -> Reading:
        """Joules up to the source's last answer.

        Raises:
            MeterLost: It is not open, or the source is silent or gives nonsense.
        """
        return self._poller.reading()

    def conditions(self) -> Sequence[Conditions]:
        """What the source tells of its devices' state, if it does."""
        told: Sequence[Conditions] = self._source.conditions() if hasattr(self._source, "conditions") else ()
        return told

    def close(self) -> None:
        """Ask no more."""
        self._poller.stop()
        self._source.close()


class Poller:
    """Asks a source for samples in a thread of its own and adds them up.

    A sample that fails is made up for by the next one, the error growing with the gap; a source that fails for longer
    than it may is lost, and stays so.
    """

    def __init__(self, name: str, ask: Callable[[], Sample], *, interval_s: float, patience_s: float) -> None:
        """Prepare; nothing is asked yet.

        Args:
            name: What to call the source in messages.
            ask: Gives a sample, or raises `NoSample` or `MeterLost`; whatever it raises counts as no sample.
            interval_s: From one question to the next.
            patience_s: How long the source may give nothing.
        """
        self._name, self._ask = name, ask
        self._interval_s, self._patience_s = interval_s, max(patience_s, 3 * interval_s)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sum: _Sum | None = None
        self._lost: MeterLost | None = None

    def start(self) -> None:
        """Take the first sample and begin asking for more.

        Raises:
            MeterLost: There is no first sample.
        """
        self.stop()
        self._lost = None
        self._sum = self._first()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._sum, self._stopping), name=self._name)
        self._thread.daemon = True
        self._thread.start()

    def _first(self) -> _Sum:
        """The sum that a first sample begins, asked for as long as it may be missing."""
        until_s = time.monotonic() + self._patience_s
        while True:
            try:
                return _Sum(_checked(self._ask()), self._interval_s)
            except MeterLost as lost:
                raise MeterLost(f"{self._name}: {lost}") from lost
            except Exception as problem:
                if time.monotonic() > until_s:
                    why = str(problem) if isinstance(problem, NoSample) else repr(problem)
                    raise MeterLost(f"{self._name}: {why}") from problem
            time.sleep(min(self._interval_s, 1.0))

    @property
    def started(self) -> bool:
        """Whether it asks."""
        return self._thread is not None

    def stop(self) -> None:
        """Ask no more; waits for the question that is under way."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = self._sum = None

    def reading(self) -> Reading:
        """Joules up to the last sample.

        Raises:
            MeterLost: It is not started, or the source was silent for too long or gave nonsense.
        """
        t0_ns = time.monotonic_ns()
        with self._lock:
            if self._lost is not None:
                raise self._lost
            if self._sum is None:
                raise MeterLost(f"{self._name} is not open")
            silent_s = (t0_ns - self._sum.last.moment_ns) / 1e9
            # The thread itself may hang in a question: that is no reason to repeat the last figure for ever.
            if silent_s > 2 * self._patience_s:
                raise MeterLost(f"{self._name} has said nothing for {silent_s:.0f} s")
            return Reading(
                t0_ns=t0_ns,
                t1_ns=time.monotonic_ns(),
                values=dict(self._sum.joules),
                moment_ns=self._sum.last.moment_ns,
                u_moment_s=self._sum.last.u_moment_s,
                variances=dict(self._sum.variances),
            )

    def _run(self, total: _Sum, stopping: threading.Event) -> None:
        due_s = time.monotonic()
        while True:
            # A question that took long must not be followed by a burst of others.
            due_s = max(due_s + self._interval_s, time.monotonic())
            if stopping.wait(due_s - time.monotonic()):
                return
            try:
                self._take(total)
            except MeterLost as lost:
                with self._lock:
                    self._lost = lost
                return

    def _take(self, total: _Sum) -> None:
        try:
            sample = _checked(self._ask())
            with self._lock:
                total.add(sample)
        except MeterLost as lost:
            raise MeterLost(f"{self._name}: {lost}") from lost
        except Exception as problem:
            silent_s = (time.monotonic_ns() - total.last.moment_ns) / 1e9
            if silent_s > self._patience_s:
                why = str(problem) if isinstance(problem, NoSample) else repr(problem)
                raise MeterLost(f"{self._name} gave nothing usable for {silent_s:.0f} s; last: {why}") from problem


class _Sum:
    """Joules and their variances since the first sample, of a source that is asked every ``interval_s``."""

    def __init__(self, first: Sample, interval_s: float) -> None:
        self.last = first
        self._most_s = _MISSING_INTERVALS * interval_s
        self._lowest, self._highest = dict(first.watts), dict(first.watts)
        self.joules = dict.fromkeys([*first.watts, *first.joules], 0.0)
        self.variances = dict.fromkeys(first.watts, 0.0)

    def add(self, now: Sample) -> None:
        """Raises MeterLost where a counter fell, and `NoSample` where something is missing."""
        last, seconds = self.last, (now.moment_ns - self.last.moment_ns) / 1e9
        if changed := self.joules.keys() ^ (now.watts.keys() | now.joules.keys()):
            raise NoSample(f"{', '.join(sorted(changed))} came or went")
        if seconds <= 0:
            return  # The same figure once more.
        for name, watts in now.watts.items():
            self.joules[name] += (last.watts[name] + watts) / 2 * seconds
            self.variances[name] += ((watts - last.watts[name]) * seconds) ** 2 / (12 if now.means else 2)
            self._lowest[name] = min(self._lowest[name], watts)
            self._highest[name] = max(self._highest[name], watts)
            if seconds > self._most_s:
                mean = (last.watts[name] + watts) / 2
                furthest = max(self._highest[name] - mean, mean - self._lowest[name])
                self.variances[name] += (furthest * seconds) ** 2 / 3
        for name, joules in now.joules.items():
            gained_j = joules - last.joules[name]
            if gained_j < 0 or gained_j > MOST_MACHINE_W * (seconds + 1):
                raise MeterLost(f"{name} {'fell' if gained_j < 0 else 'leapt'} from {last.joules[name]} to {joules} J")
            self.joules[name] += gained_j
        self.last = now


def _checked(sample: Sample) -> Sample:
    """Raises NoSample for what cannot be."""
    if sample.moment_ns > time.monotonic_ns() + _AHEAD_NS:
        raise NoSample("its moment lies in the future; moments are by time.monotonic_ns()")
    for name, watts in sample.watts.items():
        if not (math.isfinite(watts) and 0 <= watts <= MOST_MACHINE_W):
            raise NoSample(f"{name} said {watts} W, which cannot be")
    for name, joules in sample.joules.items():
        if not math.isfinite(joules) or joules < 0:
            raise NoSample(f"{name} said {joules} J, which cannot be")
    return sample
