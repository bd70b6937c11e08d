"""Meters made of a gauge: a device that is asked over a network for the power drawn, which it renews now and then.

So its figure is up to ``update_s`` old, half of that on average: samples are placed that much before the answer, with
``update_s / sqrt(12)`` as their standard uncertainty beside the journey's (a uniform error: JCGM 100:2008, 4.3.7).
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .errors import MeterLost
from .http import Answer
from .polling import NoSample, PolledMeter, Sample
from .remote import USERS_REL_U, is_login_refused, parse_rel_u, parse_seconds
from .types import Domain, Grade, ScopeKind, Unavailable

__all__ = ["Gauge", "GaugeSource", "Identity", "Standstill", "Told", "gauge_meter", "watch_renewals"]

_STEPS = 5.0
"""So many steps of its own counter must a source be behind before it counts as stuck."""
_LOOKS_EVERY_S, _CHANGES = 0.05, 5


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a gauge told.

    Attributes:
        answer: The answer it was in.
        watts: The power.
        shown: Whatever it renews together, to see when it does.
        counted_j: Its own energy counter, in joules; None where it has none.
        step_j: The smallest step of that.
    """

    answer: Answer
    watts: float
    shown: Hashable
    counted_j: float | None = None
    step_j: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a gauge is; see `Domain`.

    Attributes:
        kind: What it covers.
        grade: How its joules are obtained.
        step_w: The smallest step of its power.
        bound: Its power is right within that share of it, either way, uniformly: as far as its maker tells, or as is
            assumed.
        source: Where that comes from.
        provenance: The device.
    """

    kind: ScopeKind
    grade: Grade
    step_w: float
    bound: float
    source: str
    provenance: str


class Gauge(Protocol):
    """A device that tells the power drawn.

    Attributes:
        part: The domain's name after the meter's.
        fix: What to do where it does not work.
        usual_update_s: How often it usually renews its figure.
        slow_update_s: What to take where no renewal is seen.
        watch_s: How long to watch it for renewals, at most.
    """

    part: str
    fix: str
    usual_update_s: float
    slow_update_s: float
    watch_s: float

    def identify(self) -> Identity | Unavailable:
        """What it is; asks as often as needed. Raises `NoSample`."""

    def look(self) -> Told:
        """What it tells now. Raises `NoSample`."""

    def close(self) -> None:
        """Let go of the connection."""


def gauge_meter(
    name: str, gauge: Gauge, *, rel_u: str, update_s: str, interval_s: str, patience_s: str, still_s: str
) -> PolledMeter:
    """A meter made of a gauge; arguments as those of `GaugeSource`, the way a user writes them.

    Raises:
        UsageError: One of them is no time, or no share.
    """
    source = GaugeSource(
        name,
        gauge,
        rel_u=parse_rel_u(rel_u),
        update_s=parse_seconds("update_s", update_s) if update_s else None,
        interval_s=parse_seconds("interval_s", interval_s),
        patience_s=parse_seconds("patience_s", patience_s),
        still_s=parse_seconds("still_s", still_s),
    )
    return PolledMeter(name, source)


class GaugeSource:
    """A `polling.Source` made of a `Gauge`."""

    def __init__(
        self,
        name: str,
        gauge: Gauge,
        *,
        rel_u: float | None,
        update_s: float | None,
        interval_s: float,
        patience_s: float,
        still_s: float,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            name: The meter's.
            gauge: What to ask.
            rel_u: Relative standard uncertainty of its power, where it was calibrated; None for what it is assumed.
            update_s: How often it renews its figure; None to find out.
            interval_s: How often to ask.
            patience_s: How long it may give nothing.
            still_s: How long its own counter may stand still although power is drawn.
        """
        self.interval_s, self.patience_s = interval_s, patience_s
        self._gauge, self._id = gauge, f"{name}:{gauge.part}"
        self._rel_u, self._given_s = rel_u, update_s
        self._update_s = update_s or gauge.usual_update_s
        self._standstill = Standstill(still_s)

    def describe(self) -> Sequence[Domain] | Unavailable:
        """What it tells of; watches it for a few seconds to see how often it renews its figure."""
        try:
            identity = self._gauge.identify()
            if isinstance(identity, Unavailable):
                return identity
            told = self._gauge.look()
            how_often = self._find_update()
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
            moment_ns=told.answer.moment_ns - self._update_s / 2 * 1e9,
            u_moment_s=math.hypot(told.answer.u_moment_s, self._update_s / math.sqrt(12)),
            watts={self._id: told.watts},
            # Meters of this kind add up the power between two renewals.
            means=True,
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._standstill.forget()
        self._gauge.close()

    def _find_update(self) -> str:
        if self._given_s is not None:
            return f"renewed every {self._given_s:g} s, as update_s says"
        watch_s = self._gauge.watch_s
        seen_s = watch_renewals(lambda: self._gauge.look().shown, watch_s)
        self._update_s = seen_s or self._gauge.slow_update_s
        if seen_s is None:
            return f"no renewal seen in {watch_s:g} s, {self._update_s:g} s assumed (update_s= says better)"
        return f"seen to be renewed every {seen_s:.2g} s"

    def _fix(self, problem: NoSample) -> str:
        if is_login_refused(problem):
            return "give the login as user=NAME,password_env=VARIABLE, and export the password in that variable"
        return self._gauge.fix

    def _domain(self, identity: Identity, told: Told, how_often: str) -> Domain:
        # A step of the figure errs the same way as long as the power stays the same, so it does not average out.
        rounding = identity.step_w / math.sqrt(12) / told.watts
        rel_u, stated = identity.bound / math.sqrt(3), identity.source
        if self._rel_u is not None:
            rel_u, stated = self._rel_u, USERS_REL_U
        return Domain(
            id=self._id,
            kind=identity.kind,
            grade=identity.grade,
            resolution_j=identity.step_w * self._update_s,
            update_s=self._update_s,
            range_j=None,
            rel_u_scale=rel_u,
            rel_u_workload=min(rounding, 0.5),
            source=f"{stated}; the power is told in steps of {identity.step_w:g} W, {how_often}",
            # Nothing that was measured: a run goes on only where this is the same.
            provenance=identity.provenance,
        )


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


def watch_renewals(look: Callable[[], Hashable], at_most_s: float) -> float | None:
    """Seconds between renewals of what ``look`` shows: the least of up to five, since a figure that happens to stay the
    same hides one; None where fewer than two were seen.

    Raises:
        NoSample: From ``look``.
    """
    until_s = time.monotonic() + at_most_s
    changed_s: list[float] = []
    last = look()
    while len(changed_s) <= _CHANGES and time.monotonic() < until_s:
        time.sleep(_LOOKS_EVERY_S)
        now, last = last, look()
        if now != last:
            changed_s.append(time.monotonic())
    return min((after - before for before, after in itertools.pairwise(changed_s)), default=None)
