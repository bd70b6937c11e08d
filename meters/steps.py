"""When a source's figure holds: steps of counters are looked for, moments that a source tells are waited for."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .errors import MeterLost
from .types import Domain, Meter, Reading

__all__ = ["Shown", "StepFinder", "frozen", "frozen_after_s", "must_move", "read"]

_LEAST_W = 1.0
"""Less than a package or a GPU that is switched on draws: a figure too coarse to show that is not called frozen."""
_FROZEN_TICKS, _FROZEN_S = 10, 5.0
"""A counter that shows no step for so many of its ticks, and for so long, is frozen."""
_WAIT_TICKS, _WAIT_S = 3.0, 0.02
"""How long a step is waited for where none need come."""
_SPIN_TICKS = 10
"""How long a sharper one is waited for, and looked for without a pause."""
_SHARP = 0.05
"""The uncertainty of a step's moment, as a share of the tick, that no sharper one is waited for."""
_GAPS, _LEAST_GAPS, _QUICK_S = 15, 5, 0.03
"""Of so many times between steps, and at least so many, the median is taken for the tick; they are waited for where a
tick is so quick that nobody minds."""
_AT_MOST_S = 600.0
"""How long a source that knows its moments is waited for: it raises MeterLost by itself where it is silent."""
_SPIN_BELOW_S, _LEAST_PAUSE_S, _PAUSE_AT_MOST_S = 0.005, 0.0002, 0.005


@dataclass(frozen=True)
class Shown:
    """What a domain showed.

    Attributes:
        joules: Since its meter was opened.
        moment_ns: When they held, by the monotonic clock.
        u_moment_s: Standard uncertainty of that.
        variance: Square joules that integrating has added to the error.
        power_w: That of the tick which ended at the moment, where it was seen to end.
    """

    joules: float
    moment_ns: float
    u_moment_s: float
    variance: float
    power_w: float | None = None


class StepFinder:
    """Reads meters at the moments at which their sources renew their figures.

    It learns how long a tick is from the steps that it sees, since one that was probed on a busy machine may have been
    taken for longer.
    """

    def __init__(self, domains: Sequence[Domain]) -> None:
        self._domains = tuple(domains)
        self._stated_s = {domain.id: domain.update_s or 0.0 for domain in domains}
        self._gaps_s: dict[str, deque[float]] = {domain.id: deque(maxlen=_GAPS) for domain in domains}

    def take(self, reading: Reading) -> dict[str, Shown]:
        """What a reading says by itself, of a source that steps nothing of how old the figure is within its tick."""
        return self._plainly(reading, self._domains)

    def wait(self, meter: Meter, first: Reading, since_ns: float, *, must_step: bool) -> dict[str, Shown]:
        """What a meter shows once those of its domains that are summed and step have done so after ``since_ns``.

        A step that was seen late, since something else ran meanwhile, is passed over for the next ones while there is
        time. A counter without any step is taken as it is; where it ``must_step``, at the end of a window, it is given
        the time in which only a frozen one would show none. Before the first window there is time for several steps.

        Raises:
            MeterLost: A counter is frozen, or the meter says that its source is lost.
        """
        awaited = [d for d in self._domains if d.summed and d.id in first.values and _steps(d, first)]
        steps = {domain.id: _Steps(domain, enough=1 if must_step else self._enough(domain)) for domain in awaited}
        now, waited_s, began_s = first, 0.0, time.monotonic()
        while any(self._is_awaited(steps[domain.id], now, waited_s, must_step) for domain in awaited):
            self._pause(awaited, waited_s)
            before, now = now, read(meter)
            waited_s = max((now.t_ns - first.t_ns) / 1e9, time.monotonic() - began_s)
            for domain in awaited:
                seen = self._step_between(before, now, domain, since_ns)
                if seen is None:
                    continue
                step = steps[domain.id]
                # By what was stated, not by what was learned, or one wrong gap would keep all others out.
                if (
                    step.best is not None
                    and max(seen.u_moment_s, step.best.u_moment_s) < _SHARP * self._stated_s[domain.id]
                ):
                    self._gaps_s[domain.id].append((seen.moment_ns - step.best.moment_ns) / 1e9)
                step.add(seen, self._sharp_s(domain))
        found = {name: step.best for name, step in steps.items() if step.best is not None}
        return self._plainly(now, self._domains, still_s=waited_s) | found

    def _pause(self, awaited: Sequence[Domain], waited_s: float) -> None:
        """Looking without a pause costs energy, so it must soon lead to something."""
        slowest_s = max(map(self._tick_s, awaited))
        if slowest_s > _SPIN_BELOW_S or waited_s > _SPIN_TICKS * slowest_s:
            time.sleep(min(max(slowest_s / 50, _LEAST_PAUSE_S), _PAUSE_AT_MOST_S))

    def _is_awaited(self, steps: _Steps, now: Reading, waited_s: float, must_step: bool) -> bool:
        """Whether a sharp step is still to be waited for; raises MeterLost where there will be none."""
        domain, best = steps.domain, steps.best
        if domain.id not in now.values:
            return False  # It is missed by whoever puts the meters together.
        if now.moment_ns is not None:
            if best is None and waited_s > _AT_MOST_S:
                raise MeterLost(f"{domain.id} gave no new figure in {waited_s:.0f} s")
            return best is None
        if steps.sharp >= steps.enough or (best is not None and waited_s > _SPIN_TICKS * (domain.update_s or 0.0)):
            return False
        is_frozen = must_step and best is None and must_move(domain)
        if waited_s <= (frozen_after_s(domain) if is_frozen else _WAIT_TICKS * (domain.update_s or 0.0) + _WAIT_S):
            return True
        if is_frozen:
            raise frozen(domain, waited_s)
        return False

    def _step_between(self, before: Reading, now: Reading, domain: Domain, since_ns: float) -> Shown | None:
        """A figure that was renewed after ``since_ns`` and between two readings, or none."""
        if domain.id not in now.values:
            return None
        if now.moment_ns is not None:
            return self._plainly(now, [domain])[domain.id] if now.moment_ns >= since_ns else None
        return self._at_step(before, now, domain) if now.values[domain.id] != before.values[domain.id] else None

    def _at_step(self, before: Reading, now: Reading, domain: Domain) -> Shown:
        """A figure renewed between two readings; if several times, then last within a tick before the second.

        When inside of a reading the domain was looked at is not known either, but it is the same moment in both.
        """
        between_s, tick_s = (now.t_ns - before.t_ns) / 1e9, self._tick_s(domain)
        width_s = min(between_s, tick_s)
        power_w = (now.values[domain.id] - before.values[domain.id]) / max(between_s, tick_s)
        return replace(_shown(now, domain, now.t_ns - width_s / 2 * 1e9, width_s / math.sqrt(12)), power_w=power_w)

    def _plainly(self, reading: Reading, domains: Sequence[Domain], *, still_s: float = 0.0) -> dict[str, Shown]:
        """What a reading says by itself; ``still_s`` is how long a step was waited for in vain."""
        width_s = (reading.t1_ns - reading.t0_ns) / 1e9
        found = {}
        for domain in domains:
            if domain.id not in reading.values:
                continue
            if reading.moment_ns is not None:
                found[domain.id] = _shown(reading, domain, reading.moment_ns, reading.u_moment_s)
                continue
            steps = _steps(domain, reading)
            oldest_s = (domain.update_s or 0.0) + (still_s if steps and domain.summed else 0.0)
            u_s = math.hypot(width_s, oldest_s) / math.sqrt(12)
            found[domain.id] = _shown(reading, domain, reading.t_ns - (oldest_s / 2 * 1e9 if steps else 0.0), u_s)
        return found

    def _tick_s(self, domain: Domain) -> float:
        """How long a tick is: as stated, or shorter if the steps seen say so; one of them alone may have come late."""
        gaps, stated_s = self._gaps_s[domain.id], self._stated_s[domain.id]
        return min(stated_s, statistics.median(gaps)) if len(gaps) >= _LEAST_GAPS else stated_s

    def _enough(self, domain: Domain) -> int:
        """How many steps to wait for before a window: as many as tell a quick tick, once."""
        known = len(self._gaps_s[domain.id]) >= _LEAST_GAPS
        return 1 if known or self._stated_s[domain.id] > _QUICK_S else _LEAST_GAPS + 1

    def _sharp_s(self, domain: Domain) -> float:
        return _SHARP * self._tick_s(domain)


class _Steps:
    """The steps of one domain that were seen so far: the sharpest, and of sharp ones the last, so that all domains are
    seen at nearly one moment."""

    def __init__(self, domain: Domain, *, enough: int) -> None:
        self.domain, self.enough = domain, enough
        self.best: Shown | None = None
        self.sharp = 0

    def add(self, seen: Shown, sharp_s: float) -> None:
        """Take a step."""
        self.sharp += seen.u_moment_s < sharp_s
        if self.best is None or seen.u_moment_s < max(self.best.u_moment_s, sharp_s):
            self.best = seen


def read(meter: Meter) -> Reading:
    """Look at a meter.

    Raises:
        MeterLost: It is lost, or breaks its promise, which comes to the same.
    """
    try:
        return meter.read()
    except MeterLost:
        raise
    except Exception as error:
        raise MeterLost(f"{meter.id}: {type(error).__name__}: {error}") from error


def must_move(domain: Domain) -> bool:
    """Whether its figure moves as long as its source works: a counter's does, but for memory that does nothing, which
    may round down to 0 J. A power may well be 0 W, such as that of a part which is switched off."""
    coarse_s = (domain.resolution_j or 0.0) / _LEAST_W
    coarse = coarse_s > frozen_after_s(domain)
    return domain.summed and domain.grade == "counter" and domain.kind != "dram" and not coarse


def frozen_after_s(domain: Domain) -> float:
    """How long a counter stands still until it is called frozen, in seconds."""
    return max(_FROZEN_TICKS * (domain.update_s or 0.0), _FROZEN_S)


def frozen(domain: Domain, still_s: float) -> MeterLost:
    """What is raised for a counter that stands still."""
    return MeterLost(f"{domain.id} stood still for {still_s:.3g} s: its counter is frozen; see joulemark doctor")


def _steps(domain: Domain, reading: Reading) -> bool:
    """Whether its figure stands still between renewals. That of our own model does not: it is of the moment it is
    asked."""
    return reading.moment_ns is not None or (domain.update_s is not None and domain.grade != "modelled")


def _shown(reading: Reading, domain: Domain, moment_ns: float, u_moment_s: float) -> Shown:
    variance = reading.variances.get(domain.id, 0.0)
    return Shown(reading.values[domain.id], moment_ns, u_moment_s, variance)
