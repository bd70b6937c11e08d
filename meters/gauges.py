"""Meters made of a gauge: a device that is asked over a network for the power drawn, which it renews now and then.

When asked, its figure was renewed up to ``update_s`` ago, and it is the mean of some time before that, of at most
``update_s`` too, which holds in its middle. So a sample is placed ``update_s / 2 + update_s / 4`` before the answer.
Both errors are uniform (JCGM 100:2008, 4.3.7), and the journey's is added to them.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import MeterLost
from .http import Answer
from .polling import NoSample, Sample
from .remote import USERS_REL_U, is_login_refused, parse_rel_u, parse_seconds, read_number, read_watts
from .types import Domain, Grade, ScopeKind, Unavailable

__all__ = ["Gauge", "GaugeSource", "Identity", "Standstill", "Told", "Unfit", "read_power", "watch_renewals"]

_STEPS = 5.0
"""So many steps of its own counter must a source be behind before it counts as stuck."""
_LOOKS_EVERY_S, _CHANGES = 0.05, 5
_AGE, _U_AGE = 1 / 2 + 1 / 4, math.hypot(1, 1 / 2) / math.sqrt(12)
"""How old a figure is, and the standard uncertainty of that, in times of ``update_s``."""


class Unfit(NoSample):
    """What the device says is of no use as it is; ``fix`` says what would be."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a gauge told.

    Attributes:
        answer: The answer it was in.
        watts: The power.
        step_w: The smallest step of that.
        counted_j: Its own energy counter, in joules; None where it has none.
        step_j: The smallest step of that.
    """

    answer: Answer
    watts: float
    step_w: float
    counted_j: float | None = None
    step_j: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a gauge is; see `Domain`.

    Attributes:
        kind: What it covers.
        grade: How its joules are obtained.
        bound: Its power is right within that share of it, either way, uniformly: as far as its maker tells, or as is
            assumed.
        source: Where that comes from.
        provenance: The device.
    """

    kind: ScopeKind
    grade: Grade
    bound: float
    source: str
    provenance: str


class Gauge(Protocol):
    """A device that tells the power drawn.

    Attributes:
        part: The domain's name after the meter's.
        usual_update_s: How often it usually renews its figure.
        slow_update_s: What to take where no renewal is seen.
        watch_s: How long to watch it for renewals, at most.
    """

    part: str
    usual_update_s: float
    slow_update_s: float
    watch_s: float

    def identify(self) -> Identity | Unavailable:
        """What it is; asks as often as needed. Raises `NoSample`."""

    def look(self) -> Told:
        """What it tells now. Raises `NoSample`."""

    def advise(self, problem: NoSample) -> str:
        """What to do about a problem, other than one with the login or an `Unfit`."""

    def close(self) -> None:
        """Let go of the connection."""


class GaugeSource:
    """A `polling.Source` made of a `Gauge`."""

    def __init__(
        self, name: str, gauge: Gauge, *, rel_u: str, update_s: str, interval_s: str, patience_s: str, still_s: str
    ) -> None:
        """Prepare; nothing is asked yet. The keywords are as a user writes them.

        Args:
            name: The meter's.
            gauge: What to ask.
            rel_u: Relative standard uncertainty of its power, where it was calibrated; empty for what it is assumed.
            update_s: How often it renews its power, in seconds; empty to find out.
            interval_s: How often to ask, in seconds.
            patience_s: For how many seconds it may give nothing before the meter counts as lost.
            still_s: For how many seconds its own energy counter may stand still although power is drawn.

        Raises:
            UsageError: One of them is no time, or no share.
        """
        self.interval_s = parse_seconds("interval_s", interval_s)
        self.patience_s = parse_seconds("patience_s", patience_s)
        self._gauge, self._id = gauge, f"{name}:{gauge.part}"
        self._rel_u = parse_rel_u(rel_u)
        self._given_s = parse_seconds("update_s", update_s) if update_s else None
        self._update_s = self._given_s or gauge.usual_update_s
        self._standstill = Standstill(parse_seconds("still_s", still_s))

    def describe(self) -> Sequence[Domain] | Unavailable:
        """What it tells of; watches it for a few seconds to see how often it renews its figure."""
        try:
            identity = self._gauge.identify()
            if isinstance(identity, Unavailable):
                return identity
            how_often = self._find_update()
            told = self._gauge.look()
        except NoSample as problem:
            return Unavailable(reason=str(problem), fix=self._fix(problem))
        return [self._domain(identity, told, how_often)]

    def ask(self) -> Sample:
        """The power now.

        Raises:
            NoSample: It tells nothing usable.
            MeterLost: It is stuck.
        """
        told = self._gauge.look()
        self._standstill.look(told.answer.moment_ns, told.watts, told.counted_j, told.step_j)
        return Sample(
            moment_ns=told.answer.moment_ns - _AGE * self._update_s * 1e9,
            u_moment_s=math.hypot(told.answer.u_moment_s, _U_AGE * self._update_s),
            watts={self._id: told.watts},
            # Of a figure that is not asked for as often as it is renewed, what was in between is not known.
            means=self.interval_s <= self._update_s,
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._standstill.forget()
        self._gauge.close()

    def _find_update(self) -> str:
        if self._given_s is not None:
            return f"renewed every {self._given_s:g} s, as update_s says"
        watch_s = self._gauge.watch_s
        seen_s = watch_renewals(lambda: self._gauge.look().watts, watch_s)
        self._update_s = seen_s or self._gauge.slow_update_s
        if seen_s is None:
            return f"no renewal seen in {watch_s:g} s, {self._update_s:g} s assumed (update_s= says better)"
        return f"seen to be renewed every {seen_s:.2g} s"

    def _fix(self, problem: NoSample) -> str:
        if is_login_refused(problem):
            return "give the login as user=NAME,password_env=VARIABLE, and export the password in that variable"
        return problem.fix if isinstance(problem, Unfit) else self._gauge.advise(problem)

    def _domain(self, identity: Identity, told: Told, how_often: str) -> Domain:
        # A step of the figure errs the same way as long as the power stays the same, so it does not average out.
        rounding = told.step_w / math.sqrt(12) / told.watts
        rel_u, stated = identity.bound / math.sqrt(3), identity.source
        if self._rel_u is not None:
            rel_u, stated = self._rel_u, USERS_REL_U
        return Domain(
            id=self._id,
            kind=identity.kind,
            grade=identity.grade,
            resolution_j=told.step_w * self._update_s,
            update_s=self._update_s,
            range_j=None,
            rel_u_scale=rel_u,
            rel_u_workload=min(rounding, 0.5),
            source=f"{stated}; the power is told in steps of {told.step_w:g} W, {how_often}",
            # Nothing that was measured: a run goes on only where this is the same.
            provenance=identity.provenance,
        )


def read_power(content: Any, *path: str | int, backwards: str, nothing: str) -> float:
    """The power at a place in a JSON answer, in watts.

    Args:
        content: The answer.
        path: The place.
        backwards: What to do where it is negative.
        nothing: What to do where it is 0.

    Raises:
        Unfit: It is one of these.
        NoSample: It is no number.
    """
    watts = read_number(content, *path)
    try:
        return read_watts(content, *path)
    except NoSample as problem:
        raise Unfit(str(problem), backwards if watts < 0 else nothing) from problem


class Standstill:
    """Notices a source whose own energy counter stands still although it tells of power.

    It never cries wolf where a counter is merely coarse or slow: the power told must have made up several steps of
    the counter, and it must have stood for longer than any healthy one takes to be renewed. A counter that falls (set
    to 0 by its owner) is a counter that moves.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._counted_j: float | None = None
        self._since_ns = self._last_ns = self._last_w = self._owed_j = 0.0

    def look(self, moment_ns: float, watts: float, counted_j: float | None, step_j: float) -> None:
        """Take what the source told.

        Args:
            moment_ns: When, by the monotonic clock.
            watts: The power it told.
            counted_j: Its counter in joules; None where it has none.
            step_j: The counter's smallest step there.

        Raises:
            MeterLost: It is stuck.
        """
        if counted_j is None or counted_j != self._counted_j:
            self.forget()
            self._counted_j, self._since_ns = counted_j, moment_ns
        else:
            self._owed_j += min(watts, self._last_w) * (moment_ns - self._last_ns) / 1e9
        self._last_ns, self._last_w = moment_ns, watts
        still_s = (moment_ns - self._since_ns) / 1e9
        if still_s > self._patience_s and self._owed_j > _STEPS * step_j:
            raise MeterLost(
                f"it tells of {watts:g} W, but its counter has stood still for {still_s:.1f} s, {self._owed_j:.0f} J "
                "long: it is stuck; restart it"
            )


def watch_renewals(look: Callable[[], float], at_most_s: float) -> float | None:
    """Seconds between renewals of the figure that ``look`` gives, at the most; None where fewer than two were seen.

    The least of up to five: a figure that happens to stay the same hides one. Each is taken from before the last look
    at the old figure, so that an answer which comes late makes it longer and never shorter.

    Raises:
        NoSample: From the first ``look``; a later one may fail, as long as others do not.
    """
    until_s = time.monotonic() + at_most_s
    changed_s: list[tuple[float, float]] = []
    before_s, last = time.monotonic(), look()
    while len(changed_s) <= _CHANGES and time.monotonic() < until_s:
        time.sleep(_LOOKS_EVERY_S)
        asked_s = time.monotonic()
        with contextlib.suppress(NoSample):
            now = look()
            if now != last:
                changed_s.append((before_s, time.monotonic()))
            before_s, last = asked_s, now
    return min((end - start for (start, _), (_, end) in itertools.pairwise(changed_s)), default=None)
