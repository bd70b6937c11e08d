"""What follows from the domains of a total: its grade and scope, how long and how often to look at it."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import UsageError
from .types import MOST_PLAUSIBLE_W, SCOPE_KINDS, Domain, Grade, ScopeKind

__all__ = ["HOLDS", "grade_of", "min_window_s", "sampling_interval_s", "scope_of"]

HOLDS: dict[ScopeKind, frozenset[ScopeKind]] = {
    "wall": frozenset(SCOPE_KINDS) - {"wall"},
    "platform": frozenset({"package", "dram", "gpu", "soc"}),
    "soc": frozenset({"package", "dram", "gpu"}),
}
"""What lies inside of what: it is never added to it, and can't draw more."""

_LEAST_INTERVAL_S, _MOST_INTERVAL_S = 0.01, 10.0
_QUICK_S, _QUICK_STEPS, _SLOW_STEPS = 0.01, 10, 50


def grade_of(summed: Sequence[Domain]) -> Grade:
    """The one grade of all domains of a total.

    Raises:
        UsageError: There are none, or they have several.
    """
    if len({domain.grade for domain in summed}) != 1:
        names = ", ".join(f"{domain.id} ({domain.grade})" for domain in summed) or "nothing"
        raise UsageError(f"a total has joules of one grade, and this one would have {names}; use meters of one grade")
    return summed[0].grade


def scope_of(summed: Sequence[Domain]) -> str:
    """Kinds of the domains, joined with ``+`` in the order of `SCOPE_KINDS`."""
    kinds = {domain.kind for domain in summed}
    return "+".join(kind for kind in SCOPE_KINDS if kind in kinds)


def min_window_s(domains: Sequence[Domain]) -> float:
    """How long a window must be for its edges to weigh less than 1 % of the total, in seconds.

    Ten steps of a quick counter, since windows begin and end at steps, and at least a second. Fifty of a slow one: from
    the last answer to the next step is up to a step of idle power, which gross energy holds. Fifty samples of a power,
    whose figure may be as old as it takes to renew it (``sqrt(1/6) / 50`` is 0.8 %). At least ten seconds for
    GPUs, whose sensors look a part of the time only (arXiv 2312.02741). Half a second where energy is modelled from
    CPU clocks, which are exact whenever a process waits.
    """
    return max((_least_window_s(domain) for domain in domains if domain.summed), default=1.0)


def sampling_interval_s(domains: Sequence[Domain], trace_s: float | None = None) -> float | None:
    """How often to look during a window, in seconds; None where nothing wraps and no trace is wanted.

    A quarter of the time in which the smallest range could wrap: then no wrap goes unseen, and a counter that goes
    backwards by less than half its range is told from one that wrapped. Never more often than every 10 ms (a look at
    four zones costs some 50 us), and at least every 10 s.
    """
    wanted = [domain.range_j / MOST_PLAUSIBLE_W / 4 for domain in domains if domain.range_j is not None]
    wanted += [trace_s] if trace_s is not None else []
    return min(max(min(wanted), _LEAST_INTERVAL_S), _MOST_INTERVAL_S) if wanted else None


def _least_window_s(domain: Domain) -> float:
    update_s = domain.update_s or 0.0
    if domain.grade == "modelled" and update_s < 0.1:
        return 0.5
    updates = _QUICK_STEPS if domain.grade == "counter" and update_s <= _QUICK_S else _SLOW_STEPS
    return max(10.0 if domain.kind == "gpu" else 1.0, updates * update_s)
