"""What a view says, in words. The one source for the terminal, the page, Markdown and JSON.

Words never say more than the figures: what cannot be told apart is called a tie, one repeat is no
interval, and modelled energy is called CPU time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from joulemark.harness.record import Carbon, MeterInfo

from .names import LISTED, together
from .rows import Row
from .views import View
from .wording import TIMES, decimals_for, draws_share, fixed, joined, number, reach, safe, span, times

__all__ = [
    "carbon_sentence",
    "finding",
    "grade_sentence",
    "headline",
    "interval_sentence",
    "unclear_sentence",
    "unfinished_sentence",
    "unrepeated",
    "workload_factor",
]

_MOST = {
    "correct_per_wh": "the most right answers per watt-hour",
    "quality": "the highest quality",
    "energy": "the least energy",
}
_GRADES = {
    "wall": "measured at the wall",
    "counter": "read from hardware counters",
    "polled": "summed from polled power readings",
}
_SYSFS = re.compile(r"(.+?)/(?:class/(?:powercap|power_supply|hwmon)|bus/event_source/devices)/")
"""Where a figure that Linux shows in files is read: the tree, and a place in it."""
MISSING_RATIO = "an unknown multiple of"


def headline(view: View) -> str:
    """The finding in a few words, for a title; no figures."""
    ranked = view.ranked
    if view.mixed:
        return "Side by side, not ranked: energy that cannot be compared"
    if not ranked:
        return "Nothing is ranked"
    first = safe(ranked[0].label)
    if len(ranked) == 1:
        return f"{first} is the only entrant that can be ranked"
    if unrepeated(view):
        return f"{first} comes first, but one repeat proves nothing"
    by = f"By {view.modelled_by}, " if view.modelled_by and view.by != "quality" else ""
    tied = _tied(view)
    if len(tied) == 1:
        return f"{by}{first} {_verb(view)} {_MOST[view.by]}"
    if len(tied) > LISTED:
        return f"{by}{len(tied)} entrants tie for {_MOST[view.by]}"
    return f"{by}{joined([safe(row.label) for row in tied])} tie for {_MOST[view.by]}"


def finding(view: View) -> str:
    """What the view's table means, in one to three sentences with figures and intervals."""
    ranked = view.ranked
    if view.mixed:
        kinds = "hardware, scope or grade of energy"
        return f"These entrants differ in {kinds}, so they stand side by side and nothing is ranked."
    if not ranked:
        return _nothing_ranked(view)
    if len(ranked) == 1:
        return _qualified(view, f"{_alone(ranked[0])} {_nobody_else(view)}".strip())
    tied = _tied(view)
    if unrepeated(view):
        text = _unproven(view, ranked[0], ranked[1])
    elif len(tied) > 1:
        text = _tie(view, tied)
    else:
        text = _lead(view, ranked[0], ranked[1])
    return _qualified(view, " ".join(filter(None, [text, _in_joules(view), _best_quality(view)])))


def grade_sentence(view: View) -> str:
    """How the joules were obtained and how far off they may be: the one place that says the meter's error."""
    if view.mixed:
        return "Energy: of several kinds, named in each row; the kinds are not comparable."
    known = [row for row in view.rows if row.rel_u is not None]
    if not known or view.grade is None:
        if any(flag.startswith(("no_energy", "no_finished_cell")) for row in view.rows for flag in row.flags):
            return "Energy: no entrant has it for every task of this view, so nothing is ranked."
        return "Energy: none was measured, so nothing is ranked."
    rel_u = max(row.rel_u or 0.0 for row in known)
    if view.modelled_by:
        factor = workload_factor(max(row.rel_u_workload or 0.0 for row in known))
        between = (
            f" Differences of less than about {times(factor)} between models may come from the power model rather than"
            " the models; no rank allows for that."
        )
        true = f"the true value lies within {reach(rel_u)} (95 %)"
        return f"Energy: modelled from {view.modelled_by}, not measured joules; {true}.{between if factor > 1 else ''}"
    names = joined([safe(meter.id) for meter in view.meters]) if view.meters else "an unnamed meter"
    how = f"{_GRADES.get(view.grade, view.grade)} ({names}{_elsewhere(view.meters)})"
    return f"Energy: {how}; the true value lies within {reach(rel_u)} (95 %)."


def _elsewhere(meters: Sequence[MeterInfo]) -> str:
    """Which other tree than ``/sys`` counters were read from, by JOULEMARK_SYSFS; empty where they were not."""
    trees = {found[1] for meter in meters if (found := _SYSFS.match(meter.provenance))} - {"/sys"}
    return f"; read under {joined([safe(tree) for tree in sorted(trees)])} in place of /sys" if trees else ""


def workload_factor(rel_u_workload: float) -> float:
    """The ratio of two models' energies that the power model alone may feign (95 %).

    Each model's energy is off by a factor of its own, with the relative standard uncertainty (k=1)
    ``rel_u_workload`` on the log scale; a ratio of two has sqrt(2) times that, so 95 % of ratios between equal
    models lie within ``exp(1.96 sqrt(2) rel_u_workload)``.
    """
    return math.exp(1.96 * math.sqrt(2) * rel_u_workload)


def unfinished_sentence(view: View) -> str:
    """What is missing of the runs behind this view; empty where they are finished."""
    return " ".join(safe(far.sentence) for far in view.unfinished)


def interval_sentence(view: View) -> str:
    """What the intervals of the table and the picture hold."""
    quality = "" if view.unscored else "quality over items"
    if all(row.energy_wh_per_1k is None for row in view.rows):
        return f"Intervals are 95 %, of {quality}." if quality else ""
    if all(row.energy_wh_per_1k_low is None for row in view.rows):
        none = "energy has none: one repeat: no interval."
        return f"Intervals are 95 %, of {quality}; {none}" if quality else none.capitalize()
    energy = f"energy over {max(row.repeats for row in view.rows)} repeats"
    return (
        f"Intervals are 95 %: {', '.join(filter(None, (quality, energy)))}. "
        "They are for comparing rows, and leave out the meter's error."
    )


def carbon_sentence(view: View) -> str:
    """What the column of carbon rests on."""
    if not view.carbon:
        return "Carbon: none of these runs was told what a kWh stands for; `joulemark run --carbon` does that."
    told = [
        f"{number(c.g_per_kwh)} g/kWh ({safe(c.source)}{f', mean of {c.year}' if c.year else ''})"
        + (f" for {_rows_of(view, c)}" if len(view.carbon) > 1 else "")
        for c in view.carbon
    ]
    return f"Carbon is energy times {joined(told)}: stated, not measured, and without an interval."


def _rows_of(view: View, carbon: Carbon) -> str:
    """The entrants whose run was told this figure."""
    names = [safe(row.label) for row in view.rows if row.carbon_g_per_kwh == carbon.g_per_kwh]
    return joined(names) if len(names) <= LISTED else f"{len(names)} entrants"


def unclear_sentence(view: View) -> str:
    """What stands behind "unclear" in the column of the frontier; empty where nobody is, or nothing was drawn."""
    unclear = [row for row in view.rows if row.frontier == "unclear" and row.p_frontier is not None]
    if len(unclear) > LISTED:
        least, most = (100 * of(row.p_frontier or 0.0 for row in unclear) for of in (min, max))
        return (
            f"Unclear whether on the frontier: {together(unclear, view.rows)}, in {least:.0f} to {most:.0f} % of "
            "draws; the report tells each one's."
        )
    told = [f"{safe(row.label)} {draws_share(row.p_frontier or 0.0, 'on')}" for row in unclear]
    return f"Unclear whether on the frontier: {joined(told)}." if told else ""


def _qualified(view: View, text: str) -> str:
    """Modelled energy carries its name wherever a claim rests on it."""
    if view.modelled_by and view.by != "quality":
        return f"By {view.modelled_by}, not measured joules: {text}"
    return text


def _verb(view: View) -> str:
    return {"correct_per_wh": "gives", "quality": "has", "energy": "uses"}[view.by]


def _tied(view: View) -> list[Row]:
    return [row for row in view.ranked if row.tied_with_first]


def unrepeated(view: View) -> bool:
    """Whether the first two cannot be told apart because one of them has a single repeat."""
    return view.by != "quality" and any(row.energy_wh_per_1k_low is None for row in view.ranked[:2])


def _nothing_ranked(view: View) -> str:
    if view.metric:
        return f"Nothing is ranked: {safe(view.metric)} is no share of right answers, so there is no quality."
    if view.unscored:
        return "Nothing is ranked: the metrics here are no shares of right answers, so there is no quality."
    if all(row.energy_wh_per_1k is None for row in view.rows):
        return "Nothing is ranked: no entrant has energy for every task of this view."
    return f"Nothing is ranked: no entrant with energy reaches the quality floor of {view.quality_floor:g} points."


def _alone(row: Row) -> str:
    per_wh = f"{number(row.correct_per_wh)} right answers per watt-hour" if row.correct_per_wh else "no ratio"
    limits = span(row.correct_per_wh_within_low, row.correct_per_wh_within_high)
    surely = f" (95 % {limits})" if limits else " (one repeat: no interval)"
    return f"{safe(row.label)} gives {per_wh}{surely} at {fixed(row.quality)} points of quality."


def _nobody_else(view: View) -> str:
    return "No other entrant can be ranked." if len(view.rows) > 1 else ""


def _lead(view: View, first: Row, second: Row) -> str:
    name, other = safe(first.label), safe(second.label)
    if view.by == "quality":
        more = span(_minus(second.quality_minus_first_high), _minus(second.quality_minus_first_low), 1)
        return (
            f"{name} has the highest quality: {fixed(first.quality)} points, "
            f"{fixed(_minus(second.quality_minus_first))} (95 % {more}) more than {other}, the next."
        )
    if view.by == "energy":
        ratio = _ratio(
            second.energy_ratio_to_first, second.energy_ratio_to_first_low, second.energy_ratio_to_first_high
        )
        return f"{name} uses the least energy: {other}, the next, uses {ratio}, {_quality_gap(second, flip=True)}."
    most = f"{name} gives the most right answers per watt-hour"
    return f"{most}: {_inverse(second)} those of {other}, the next, {_quality_gap(second)}."


def _tie(view: View, tied: list[Row]) -> str:
    """A tie has no first: no name is put before another, and figures only stand for the distance of two."""
    names = f"{len(tied)} entrants" if len(tied) > LISTED else joined([safe(row.label) for row in tied])
    gap = f" ({_apart(view, tied[1])})" if len(tied) == 2 else ""
    return f"{names} tie for {_MOST[view.by]}{gap}: what sets them apart may be chance."


def _apart(view: View, second: Row) -> str:
    if view.by == "quality":
        limits = span(_minus(second.quality_minus_first_high), _minus(second.quality_minus_first_low), 1)
        return f"{fixed(_minus(second.quality_minus_first))} points apart" + (f", 95 % {limits}" if limits else "")
    ratio = _energy_ratio(second) if view.by == "energy" else _inverse(second)
    return "ratio " + ratio.replace(" (", ", ").removesuffix(")")


def _unproven(view: View, first: Row, second: Row) -> str:
    name, other = safe(first.label), safe(second.label)
    if view.by == "energy":
        text = f"{other} used {times(second.energy_ratio_to_first or math.nan)} the energy of {name}"
    else:
        ratio = times(1 / (second.ratio_to_first or math.nan))
        text = f"{name} gave {ratio} the right answers per watt-hour of {other}"
    return f"{text}, but one repeat: no interval."


def _in_joules(view: View) -> str:
    """Whether a modelled lead says anything about joules; empty where it does, or where nobody leads."""
    if view.grade != "modelled" or view.by == "quality" or len(_tied(view)) > 1 or unrepeated(view):
        return ""
    second = view.ranked[1]
    lead = second.energy_ratio_to_first if view.by == "energy" else second.ratio_to_first
    factor = workload_factor(max(row.rel_u_workload or 0.0 for row in view.ranked[:2]))
    if not lead or max(lead, 1 / lead) >= factor:
        return ""
    return (
        f"In joules it may be the other way round: the power model alone may be off by {times(factor)} between models."
    )


def _best_quality(view: View) -> str:
    """A second sentence for the reader who needs quality before thrift."""
    best = max(view.ranked, key=lambda row: row.quality or -math.inf)
    tied = _tied(view)
    told = len(tied) == 1 and best.label == view.ranked[1].label
    if view.by == "quality" or told or best in tied or not best.energy_wh_per_1k:
        return ""
    alike = [row for row in view.ranked if row.quality == best.quality and row.energy_wh_per_1k]
    best = min(alike, key=lambda row: row.energy_wh_per_1k or math.inf)
    near = max(tied, key=lambda row: row.quality or -math.inf)
    energy = f"{times((best.energy_wh_per_1k or math.nan) / (near.energy_wh_per_1k or math.nan))} the energy"
    names = together(alike, view.rows)
    scores = f"{names} score{'s' if len(alike) == 1 else ''} highest, {fixed(best.quality)} points"
    if len(alike) > 1:
        energy = f"{energy} or more"
    if _surely_better(best, near, view):
        return f"{scores}, at {energy} of {safe(near.label)} ({fixed(near.quality)} points)."
    return f"{scores}, at {energy} of {safe(near.label)}, whose {fixed(near.quality)} cannot be told apart from that."


def _surely_better(row: Row, other: Row, view: View) -> bool:
    """Whether its answers are better; item by item where the other is the first, else by both intervals."""
    if other is view.ranked[0]:
        return (row.quality_minus_first_low or 0.0) > 0
    return (row.quality_low or 0.0) > (math.inf if other.quality_high is None else other.quality_high)


def _quality_gap(row: Row, *, flip: bool = False) -> str:
    """How the first's quality stands to that of ``row``; with ``flip``, how the row's stands to the first's."""
    gap = (row.quality_minus_first or 0.0) * (1 if flip else -1)
    low, high = row.quality_minus_first_low, row.quality_minus_first_high
    if low is not None and high is not None and low <= 0 <= high:
        return "at a quality that cannot be told apart"
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
