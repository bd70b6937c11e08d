"""Which powers that meters saw at once should agree, and whether they do.

Three things are asked of them, each as the ratio of two mean powers with its bounds:

- two that measure the same kind of thing see the same: 1 lies within the bounds;
- what contains other things draws no less than these together: the upper bound is at least 1;
- a model's share of a package (that of one process tree, on the threads granted to it) is no more than the package.

Several plugs may see a power supply each, or all of them the whole machine, and nothing tells which. So together they
contain what is inside, and two that tell different powers are unclear, not wrong.

The bounds come from both meters' uncertainties, which add in quadrature on the log scale. Meters that read one and the
same counter share its calibration, so only what is independent counts between them. All bounds hold together with
95 % (Bonferroni: each has 1 - 0.05 / pairs), so that many pairs raise no more false alarms than one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

from joulemark.meters.totals import HOLDS
from joulemark.meters.types import GRADES, SCOPE_KINDS, Grade, ScopeKind

__all__ = ["Sight", "compare", "explain", "relative_u"]

FALSE_ALARM = 0.05
_BESIDE = tuple(kind for kind in SCOPE_KINDS if kind not in HOLDS)
"""Kinds that lie beside each other, so that their powers add up."""
_ONE_COUNTER = frozenset({"rapl", "perf", "zeus", "codecarbon"})
"""Who reads the CPU's own counters, each by a way of its own: their calibration is the same, so it explains nothing."""
_READING_U = 0.01
"""What may still lie between two meters that begin and end at different moments of a load that is not quite even."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """The mean power that one meter saw, by kind of domain, in watts.

    Attributes:
        name: The meter's.
        grade: Of its figures.
        power_w: Mean power.
        calibration_w: Standard uncertainty of it by calibration (and by the model).
        edges_w: Standard uncertainty of it that is independent: of the total, so no less than that of any part.
    """

    name: str
    grade: Grade
    power_w: dict[ScopeKind, float]
    calibration_w: dict[ScopeKind, float]
    edges_w: float


_Part = tuple[Sight, tuple[ScopeKind, ...]]
"""Some kinds of one meter."""


@dataclass(frozen=True, kw_only=True)
class _Power:
    """What some meters saw of some kinds, added up; both uncertainties are relative and standard (k=1)."""

    names: tuple[str, ...]
    scope: str
    modelled: bool
    watts: float
    u_edges: float
    u_calibration: float


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two powers to set beside each other.

    Attributes:
        what: What they are compared as.
        holds: The first contains the second, so it need only be no less.
        are_parts: Each may see a part of the machine.
        added_up: A run would add them up.
    """

    first: _Power
    second: _Power
    what: str
    holds: bool
    are_parts: bool = False
    added_up: bool = False


def compare(sights: Sequence[Sight], added: Collection[str] = ()) -> list[dict[str, Any]]:
    """What can be set beside each other: equals first, then what contains something.

    Args:
        sights: What the meters saw over the same seconds.
        added: Meters that a run would add up.

    Returns:
        A row for each pair: ``first``, ``second``, ``scope``, their ``ratio``, its bounds ``low`` and ``high``,
        ``added_up``, whether they ``agree`` (None: that is unclear), and the ``verdict`` in words.
    """
    parts = _parts(sights, added)
    pairs = [*_equals(sights, parts, added), *_holding(sights, parts)]
    return [_judge(pair, len(pairs)) for pair in pairs]


def relative_u(sight: Sight, kind: ScopeKind) -> float | None:
    """Relative standard uncertainty (k=1) of what a meter saw of a kind; None where that was nothing."""
    power = _add([(sight, (kind,))])
    return math.hypot(power.u_edges, power.u_calibration) if power else None


def explain(pair: dict[str, Any]) -> str | None:
    """What a row of `compare` means where that is not plain, and what to look at; None where it is."""
    first, second = pair["first"], pair["second"]
    if pair["agree"] is None:
        return (
            f"{first} and {second} tell different powers. That is right where each feeds a power supply of its own; "
            "where both feed the whole machine, one of them is wrong."
        )
    if pair["agree"]:
        return (
            f"{first} and {second} tell the same power, and a run adds them up. That is right where each feeds a power "
            "supply of its own; where both feed the whole machine, name one of them alone."
            if pair["added_up"]
            else None
        )
    if " holds " in pair["scope"]:
        return (
            f"{first} says less than {second}, whose power it contains: one of them is wrong, or {first} is not where "
            "this machine draws its power, or not where it draws all of it."
        )
    whole = ", or does not see all of this machine" if pair["scope"] == "wall" else ""
    return f"{first} and {second} measure the same thing and tell different powers: one of them is wrong{whole}."


def _parts(sights: Sequence[Sight], added: Collection[str]) -> list[Sight]:
    """Meters that may see a part of the machine each: several plugs, and whatever else a run adds up at the wall."""
    found = [sight for sight in sights if "wall" in sight.power_w and (sight.grade == "wall" or sight.name in added)]
    return found if len(found) > 1 else []


def _equals(sights: Sequence[Sight], parts: Sequence[Sight], added: Collection[str]) -> list[_Pair]:
    """Two of one kind each; to what sees the whole machine, its parts are one."""
    pairs: list[_Pair] = []
    for one, other in combinations(sights, 2):
        are_parts = one in parts and other in parts
        for kind in SCOPE_KINDS:
            of_parts = kind == "wall" and (one in parts or other in parts)
            if kind in one.power_w and kind in other.power_w and (are_parts or not of_parts):
                pairs += _same(
                    _add([(one, (kind,))]),
                    _add([(other, (kind,))]),
                    are_parts=of_parts,
                    added_up={one.name, other.name} <= set(added),
                )
    wholes = [sight for sight in sights if parts and "wall" in sight.power_w and sight not in parts]
    for whole in wholes:
        pairs += _same(_add([(part, ("wall",)) for part in parts]), _add([(whole, ("wall",))]))
    return pairs


def _same(one: _Power | None, other: _Power | None, *, are_parts: bool = False, added_up: bool = False) -> list[_Pair]:
    """Two of one kind. A model's is a share; two shares, perhaps of different processes, have nothing in common."""
    if one is None or other is None or (one.modelled and other.modelled):
        return []
    if one.modelled:
        one, other = other, one
    what = f"{one.scope} holds modelled share" if other.modelled else one.scope
    return [_Pair(first=one, second=other, what=what, holds=other.modelled, are_parts=are_parts, added_up=added_up)]


def _holding(sights: Sequence[Sight], parts: Sequence[Sight]) -> list[_Pair]:
    """What contains other things, beside what the other meters saw of these."""
    outers: list[tuple[list[_Part], ScopeKind]] = [([(part, ("wall",)) for part in parts], "wall")] if parts else []
    outers += [
        ([(sight, (kind,))], kind) for sight in sights for kind in sight.power_w if kind in HOLDS and sight not in parts
    ]
    pairs = []
    for outer, kind in outers:
        inside = [(sight, _inside(kind, sight)) for sight in sights if all(sight is not seen for seen, _ in outer)]
        for inner in _sums(inside):
            first, second = _add(outer), _add(inner)
            if first is not None and second is not None:
                share = "modelled share" if second.modelled else second.scope
                pairs.append(_Pair(first=first, second=second, what=f"{first.scope} holds {share}", holds=True))
    return pairs


def _inside(outer: ScopeKind, sight: Sight) -> tuple[ScopeKind, ...]:
    """The kinds that a meter saw inside of another kind; of those that contain one another, the outermost."""
    held = [kind for kind in SCOPE_KINDS if kind in HOLDS[outer] and kind in sight.power_w]
    return tuple(kind for kind in held if not any(kind in HOLDS.get(other, ()) for other in held))


def _sums(inside: Sequence[_Part]) -> list[list[_Part]]:
    """What is set beside what contains it: each meter's own sum, a model's only where nothing is measured."""
    there = [part for part in inside if part[1]]
    measured = [part for part in there if part[0].grade != "modelled"]
    return [*([part] for part in measured or there), *_joint(measured)]


def _joint(measured: Sequence[_Part]) -> list[list[_Part]]:
    """The best figure of each kind, where it takes several meters to have them all."""
    chosen: dict[ScopeKind, Sight] = {}
    for sight, kinds in sorted(measured, key=lambda part: GRADES.index(part[0].grade)):
        for kind in kinds:
            if kind in _BESIDE:
                chosen.setdefault(kind, sight)
    taken = {sight.name: sight for sight in chosen.values()}
    joint = [(sight, tuple(kind for kind in chosen if chosen[kind] is sight)) for sight in taken.values()]
    return [joint] if len(joint) > 1 else []


def _add(parts: Sequence[_Part]) -> _Power | None:
    """Some kinds of some meters together; None where they drew nothing.

    Calibrations of one meter are taken to err the same way, those of different meters have nothing in common.
    """
    watts = sum(sight.power_w[kind] for sight, kinds in parts for kind in kinds)
    if watts <= 0:
        return None
    kinds_there = {kind for _, kinds in parts for kind in kinds}
    calibrations_w = [sum(sight.calibration_w[kind] for kind in kinds) for sight, kinds in parts]
    return _Power(
        names=tuple(dict.fromkeys(sight.name for sight, _ in parts)),
        scope="+".join(kind for kind in SCOPE_KINDS if kind in kinds_there),
        modelled=any(sight.grade == "modelled" for sight, _ in parts),
        watts=watts,
        u_edges=math.hypot(*(sight.edges_w for sight, _ in parts)) / watts,
        u_calibration=math.hypot(*calibrations_w) / watts,
    )


def _judge(pair: _Pair, pairs: int) -> dict[str, Any]:
    """Their ratio on the log scale, its bounds, and the verdict."""
    first, second = pair.first, pair.second
    one_counter = first.scope == second.scope != "gpu" and {*first.names, *second.names} <= _ONE_COUNTER
    calibration = () if one_counter else (first.u_calibration, second.u_calibration)
    u = math.hypot(first.u_edges, second.u_edges, *calibration, _READING_U)
    coverage = NormalDist().inv_cdf(1 - FALSE_ALARM / 2 / pairs)
    ratio, width = first.watts / second.watts, math.exp(coverage * u)
    agree = ratio * width >= 1 and (pair.holds or ratio / width <= 1)
    return {
        "first": "+".join(first.names),
        "second": "+".join(second.names),
        "scope": pair.what,
        "ratio": ratio,
        "low": ratio / width,
        "high": ratio * width,
        "added_up": pair.added_up,
        "agree": agree or (None if pair.are_parts else False),
        "verdict": _verdict(pair, agree),
    }


def _verdict(pair: _Pair, agree: bool) -> str:
    """In words. What contains something may draw any amount more, so that such a pair can at most fail to differ."""
    if agree:
        return "no contradiction" if pair.holds else "agree"
    return "unclear" if pair.are_parts else "differ"
