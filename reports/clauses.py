"""The sentences that a finding is made of: who leads, who ties, who is best in quality, and at what energy.

Figures that compare rows have the intervals for that; figures that stand by themselves hold the meter's own error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .contest import By, differences
from .names import LISTED
from .placing import entries_of
from .rows import Row
from .views import View
from .wording import (
    DASH,
    TIMES,
    decimals_for,
    energy_unit,
    fixed,
    joined,
    number,
    rate_unit,
    reach,
    rough,
    safe,
    span,
    times,
)

__all__ = [
    "MOST",
    "alone",
    "among",
    "called",
    "highest_quality",
    "in_joules",
    "lead",
    "rests_on_model",
    "thriftiest",
    "tie",
    "tied_first",
    "unproven",
    "unrepeated",
    "verb",
    "workload_factor",
]

MOST = {
    "correct_per_wh": "the most right answers per watt-hour",
    "quality": "the highest quality",
    "energy": "the least energy",
}
MISSING_RATIO = "an unknown multiple of"


def tied_first(view: View) -> list[Row]:
    """Those that nobody surely beats."""
    return [row for row in view.ranked if row.tied_with_first]


def unrepeated(view: View) -> bool:
    """Whether the first two cannot be told apart because one of them has a single repeat."""
    return view.by != "quality" and any(row.energy_wh_per_1k_low is None for row in view.ranked[:2])


def rests_on_model(view: View) -> bool:
    """Whether who leads, or who may at all, goes by modelled energy."""
    return view.modelled_by is not None and (view.by != "quality" or view.budget_wh is not None)


def among(view: View) -> str:
    """Of whom the first is the best, where others show more that may not rank, or a budget leaves some out."""
    beyond = [row for row in view.rows if row.rank is None and _outdoes(row, view.ranked[0], view.by)]
    parts = [f"with at least {view.quality_floor:g} points"] if beyond else []
    if any((row.quality or 0.0) >= view.quality_floor for row in beyond):
        parts = ["that are ranked"]
    if view.budget_wh is not None:
        unit = energy_unit([view.budget_wh])
        parts.append(f"within {number(view.budget_wh * unit.factor)} {unit.name} per 1,000 answers")
    return f" of those {' and '.join(parts)}" if parts else ""


def called(rows: Sequence[Row]) -> str:
    """Several that tie: by name, or how many."""
    return f"{len(rows)} entrants" if len(rows) > LISTED else joined([safe(row.label) for row in rows])


def verb(view: View) -> str:
    """What the first does with what `MOST` says."""
    return {"correct_per_wh": "gives", "quality": "has", "energy": "uses"}[view.by]


def lead(view: View, first: Row, second: Row) -> str:
    """Who is first, and how far before the next."""
    name, other = safe(first.label), safe(second.label)
    if view.by == "quality":
        more = span(_minus(second.quality_minus_first_high), _minus(second.quality_minus_first_low), 1)
        return (
            f"{name} has the highest quality{among(view)}: {fixed(first.quality)} points, "
            f"{fixed(_minus(second.quality_minus_first))} (95 % {more}) more than {other}, the next."
        )
    if view.by == "energy":
        ratio = _ratio(
            second.energy_ratio_to_first, second.energy_ratio_to_first_low, second.energy_ratio_to_first_high
        )
        least, gap = f"{name} uses the least energy{among(view)}", _quality_gap(second, flip=True)
        return f"{least}: {other}, the next, uses {ratio}, {gap}."
    most = f"{name} gives the most right answers per watt-hour"
    return f"{most}{among(view)}: {_inverse(second)} those of {other}, the next, {_quality_gap(second)}."


def tie(view: View, tied: list[Row]) -> str:
    """A tie has no first: no name is put before another, and figures only stand for the distance of two."""
    gap = f" ({_apart(view, tied[1])})" if len(tied) == 2 else ""
    return f"{called(tied)} tie for {MOST[view.by]}{among(view)}{gap}: what sets them apart may be chance."


def unproven(view: View, first: Row, second: Row) -> str:
    """How far the first two lay apart, once."""
    name, other = safe(first.label), safe(second.label)
    if view.by == "energy":
        text = f"{other} used {times(second.energy_ratio_to_first or math.nan)} the energy of {name}"
    else:
        ratio = times(1 / (second.ratio_to_first or math.nan))
        text = f"{name} gave {ratio} the right answers per watt-hour of {other}"
    return f"{text}, but one repeat: no interval."


def alone(view: View, row: Row) -> str:
    """The only one that is ranked: figures by themselves, which hold the meter's own error."""
    name, rel_u = safe(row.label), row.rel_u or 0.0
    quality = f"{fixed(row.quality)} points"
    if view.by == "quality":
        limits = span(row.quality_low, row.quality_high, 1)
        best = f"{name} has the highest quality{among(view)}: {quality}" if among(view) else f"{name} has {quality}"
        return f"{best}{f' (95 % {limits})' if limits else ''}{'' if among(view) else ' of quality'}."
    if view.by == "energy":
        unit, value = energy_unit([row.energy_wh_per_1k]), row.energy_wh_per_1k
        low, high = row.energy_wh_per_1k_low, row.energy_wh_per_1k_high
        does, of, what = "uses", f" {unit.name}", " per 1,000 answers"
    else:
        unit, value = rate_unit([row.correct_per_wh]), row.correct_per_wh
        low, high = row.correct_per_wh_low, row.correct_per_wh_high
        does, of, what = "gives", f" {unit.name}" if unit.name else "", " right answers per watt-hour"
    told = rough((value or math.nan) * unit.factor, rel_u)
    if low is None or high is None:
        surely = f"one repeat: no interval, and the meter alone leaves {reach(rel_u)}"
    else:
        surely = f"95 % {rough(low * unit.factor, rel_u)}{DASH}{rough(high * unit.factor, rel_u)}{of}"
    return f"{name} {does} {told}{of}{what} ({surely}) at {quality} of quality."


def in_joules(view: View) -> str:
    """Whether a modelled lead says anything about joules; empty where its whole interval does, or nobody leads."""
    if view.grade != "modelled" or view.by == "quality" or len(tied_first(view)) > 1 or unrepeated(view):
        return ""
    first, second = view.ranked[:2]
    if (first.model, first.setting, first.machine_id) == (second.model, second.setting, second.machine_id):
        return ""
    high = second.ratio_to_first_high
    least = second.energy_ratio_to_first_low if view.by == "energy" else 1 / high if high else None
    factor = workload_factor(max(first.rel_u_workload or 0.0, second.rel_u_workload or 0.0))
    if least is None or least >= factor:
        return ""
    return (
        f"In joules it may be the other way round: the power model alone may be off by {times(factor)} between models."
    )


def highest_quality(view: View, tied: Sequence[Row]) -> str:
    """For the reader who needs quality before thrift: who is best in it, and which of them takes the least energy."""
    best = [row for row in view.ranked if row.tied_for_quality]
    leading = {*map(id, tied)}
    both = [row for row in best if id(row) in leading]
    if len(both) == len(tied):
        return _nobody_better(view, tied, best)
    if both and len(best) == 1:
        return f"Of these, {safe(both[0].label)} also has the highest quality, {fixed(both[0].quality)} points."
    if both:
        return _best_of(tied, both)
    near = max(tied, key=lambda row: row.quality or -math.inf)
    cheap = min(best, key=lambda row: row.energy_wh_per_1k or math.inf)
    ratio, whose = _energy_against(view, cheap, near), f"of {safe(near.label)} ({fixed(near.quality)} points)"
    if len(best) == 1:
        quality = f"{safe(cheap.label)} has the highest quality, {fixed(cheap.quality)} points"
        return f"{quality}, at {ratio} the energy {whose}."
    return (
        f"{called(best)} tie for the highest quality, {_from_to(best)} points; of these {safe(cheap.label)} takes the "
        f"least energy, {ratio} that {whose}."
    )


def thriftiest(view: View, tied: Sequence[Row]) -> str:
    """Of several that tie for the highest quality the one that takes the least energy."""
    if len(tied) == 1:
        return ""
    cheap = min(tied, key=lambda row: row.energy_wh_per_1k or math.inf)
    by = f"by {view.modelled_by}, not measured joules, " if view.modelled_by and not rests_on_model(view) else ""
    least = f"They have {_from_to(tied)} points; {by}{safe(cheap.label)} takes the least energy of these"
    best = view.ranked[0]
    if cheap is best:
        return f"{least}."
    return f"{least}, {_energy_against(view, cheap, best)} that of {safe(best.label)}."


def workload_factor(rel_u_workload: float) -> float:
    """The ratio of two models' energies that the power model alone may feign (95 %).

    Each model's energy is off by a factor of its own, with the relative standard uncertainty (k=1)
    ``rel_u_workload`` on the log scale; a ratio of two has sqrt(2) times that, so 95 % of ratios between equal
    models lie within ``exp(1.96 sqrt(2) rel_u_workload)``.
    """
    return math.exp(1.96 * math.sqrt(2) * rel_u_workload)


def _outdoes(row: Row, first: Row, by: By) -> bool:
    """Whether its figure is better than the first's."""
    if by == "energy":
        return (row.energy_wh_per_1k or math.inf) < (first.energy_wh_per_1k or 0.0)
    own, best = (getattr(each, by) for each in (row, first))
    return own is not None and best is not None and own > best


def _apart(view: View, second: Row) -> str:
    if view.by == "quality":
        limits = span(_minus(second.quality_minus_first_high), _minus(second.quality_minus_first_low), 1)
        return f"{fixed(_minus(second.quality_minus_first))} points apart" + (f", 95 % {limits}" if limits else "")
    ratio = _energy_ratio(second) if view.by == "energy" else _inverse(second)
    return "ratio " + ratio.replace(" (", ", ").removesuffix(")")


def _nobody_better(view: View, tied: Sequence[Row], best: Sequence[Row]) -> str:
    """Where those that come first have the highest quality as well, or may have."""
    if len(view.ranked) == len(tied):
        return ""
    if len(best) == 1:
        return f"It also has the highest quality, {fixed(best[0].quality)} points."
    if len(tied) == 1 and (more := [row for row in view.ranked if (row.quality_minus_first_low or 0.0) > 0]):
        top = max(more, key=lambda row: (row.quality or 0.0, -(row.energy_wh_per_1k or math.inf)))
        return (
            f"{safe(top.label)} has {fixed(top.quality)} points, at {_energy_ratio(top)} the energy; allowing for all "
            "pairs, even such a difference in quality may be chance."
        )
    has = "It has" if len(tied) == 1 else "They have"
    return f"{has} {_from_to(tied)} points of quality; no other has surely more."


def _best_of(tied: Sequence[Row], both: Sequence[Row]) -> str:
    """Which of those that tie for the first place nobody surely exceeds in quality, though others may."""
    each = [fixed(row.quality) for row in both]
    points = joined(each) if len({*each}) == len(each) == 2 else _from_to(both)
    if len(both) > LISTED:
        points += f" points, {safe(max(both, key=lambda row: row.quality or 0.0).label)} the most"
    else:
        points += " points"
    others = [row.quality or 0.0 for row in tied if not row.tied_for_quality]
    if max(others, default=0.0) > min(row.quality or 0.0 for row in both):
        return f"Of these, {called(both)} ({points}) may have the highest quality: no other is surely better."
    has = "has" if len(both) == 1 else "have"
    return f"Of these, {called(both)} {has} the highest quality ({points}), and no other is surely better."


def _from_to(rows: Sequence[Row]) -> str:
    points = [row.quality or 0.0 for row in rows]
    low, high = fixed(min(points)), fixed(max(points))
    return low if low == high else span(min(points), max(points), 1)


def _energy_against(view: View, row: Row, other: Row) -> str:
    """The ratio of two energies; with its interval, which rows have against the first alone, from the figures."""
    if other is view.ranked[0]:
        return _energy_ratio(row)
    both = entries_of([view.figures[view.rows.index(each)] for each in (row, other)])
    pair = differences(both, "energy")
    low, high = pair.interval(0, 1) or (None, None)
    return _ratio(
        math.exp(-float(pair.value[0, 1])),
        None if high is None else math.exp(-high),
        None if low is None else math.exp(-low),
    )


def _quality_gap(row: Row, *, flip: bool = False) -> str:
    """How the first's quality stands to that of ``row``; with ``flip``, how the row's stands to the first's."""
    gap = (row.quality_minus_first or 0.0) * (1 if flip else -1)
    low, high = row.quality_minus_first_low, row.quality_minus_first_high
    if low is not None and high is not None and low <= 0 <= high:
        return "with no sure difference in quality"
    return f"at {fixed(abs(gap))} points {'less' if gap < 0 else 'more'} quality"


def _inverse(row: Row) -> str:
    """The first's ratio to ``row``, from the row's ratio to the first."""
    if row.ratio_to_first is None:
        return MISSING_RATIO
    low, high = row.ratio_to_first_low, row.ratio_to_first_high
    return _ratio(1 / row.ratio_to_first, 1 / high if high else None, 1 / low if low else None)


def _energy_ratio(row: Row) -> str:
    return _ratio(row.energy_ratio_to_first, row.energy_ratio_to_first_low, row.energy_ratio_to_first_high)


def _ratio(value: float | None, low: float | None, high: float | None) -> str:
    """A ratio with its interval, with enough decimals to tell the three apart."""
    if value is None:
        return MISSING_RATIO
    if low is None or high is None:
        return f"{times(value)} (one repeat: no interval)"
    decimals = decimals_for((high - low) / 2, 1) if high > low else 2
    decimals = min(3, max(decimals, 1 if value < 10 else 0))
    return f"{fixed(value, decimals)}{TIMES} (95 % {span(low, high, decimals)})"


def _minus(value: float | None) -> float | None:
    return None if value is None else -value
