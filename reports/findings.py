"""What a view says, in words. The one source for the terminal, the page, Markdown and JSON.

Words never say more than the figures: what cannot be told apart is called a tie, one repeat is no
interval, and modelled energy is called CPU time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from joulemark.harness.record import Carbon, MeterInfo
from joulemark.harness.said import few

from .clauses import (
    MOST,
    alone,
    among,
    called,
    highest_quality,
    in_joules,
    lead,
    rests_on_model,
    thriftiest,
    tie,
    tied_first,
    unproven,
    unrepeated,
    verb,
    workload_factor,
)
from .names import LISTED, together
from .views import View
from .wording import draws_percent, draws_share, joined, number, reach, safe, times

__all__ = [
    "carbon_sentence",
    "finding",
    "grade_sentence",
    "headline",
    "imported_mark",
    "outcome",
    "interval_sentence",
    "unclear_sentence",
    "unfinished_sentence",
]

_GRADES = {
    "wall": "measured at the wall",
    "counter": "read from hardware counters",
    "polled": "summed from polled power readings",
}
_NO_QUALITY = {
    "ungraded": "no answers were graded",
    "no_items": "what came of single questions is not known, nor an interval of their mean",
    "no_chance": "what a guesser scores is not known",
}
_NO_ENERGY = "Energy: none."
_SYSFS = re.compile(r"(.+?)/(?:class/(?:powercap|power_supply|hwmon)|bus/event_source/devices)/")
"""Where a figure that Linux shows in files is read: the tree, and a place in it."""


def headline(view: View) -> str:
    """The finding in a few words, for a title; no figures. Of what Joulemark did not measure it says so."""
    return f"{outcome(view)} (imported)" if view.all_imported else outcome(view)


def imported_mark(view: View) -> str:
    """The end of a title: which of its runs were imported; empty where Joulemark measured all."""
    if not view.imported:
        return ""
    names = few([safe(name) for name in view.imported], LISTED)
    return f" (imported: {names})" if view.all_imported else f" (some of it imported: {names})"


def outcome(view: View) -> str:
    """The finding in a few words, to stand where it is said whether the view was imported."""
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
    by = f"By {view.modelled_by}, " if rests_on_model(view) else ""
    tied, most = tied_first(view), MOST[view.by] + among(view)
    if len(tied) == 1:
        return f"{by}{first} {verb(view)} {most}"
    return f"{by}{called(tied)} tie for {most}"


def finding(view: View) -> str:
    """What the view's table means, in one to three sentences with figures and intervals."""
    ranked = view.ranked
    if view.mixed:
        kinds = "hardware, scope or grade of energy"
        return f"These entrants differ in {kinds}, so they stand side by side and nothing is ranked."
    if not ranked:
        return _nothing_ranked(view)
    if len(ranked) == 1:
        return _qualified(view, f"{alone(view, ranked[0])} {_nobody_else(view)}".strip())
    tied = tied_first(view)
    if unrepeated(view):
        text = unproven(view, ranked[0], ranked[1])
    elif len(tied) > 1:
        text = tie(view, tied)
    else:
        text = lead(view, ranked[0], ranked[1])
    more = thriftiest(view, tied) if view.by == "quality" else highest_quality(view, tied)
    return _qualified(view, " ".join(filter(None, [text, in_joules(view), more])))


def grade_sentence(view: View) -> str:
    """How the joules were obtained and how far off they may be: the one place that says the meter's error."""
    if view.mixed:
        return "Energy: of several kinds, named in each row; the kinds are not comparable."
    known = [row for row in view.rows if row.rel_u is not None]
    if not known or view.grade is None:
        if any(row.energy_wh_per_1k is not None for row in view.rows):
            return (
                f"Energy: {_how(view)}, of scope {view.scope}; how far off it may be is not known, so it has no "
                "interval, and nothing is ranked by it."
            )
        if any(flag.startswith("uncounted") for row in view.rows for flag in row.flags):
            how = f"{view.grade}, of scope {view.scope}, " if view.grade else ""
            return f"Energy: {how}of whole runs; of how many answers is not known, so there is none per answer."
        if any(flag.startswith(("no_energy", "no_finished_cell")) for row in view.rows for flag in row.flags):
            return _NO_ENERGY if len(view.tasks) == 1 else "Energy: no entrant has it for every task of this view."
        return "Energy: none was measured."
    rel_u = max(row.rel_u or 0.0 for row in known)
    if view.modelled_by:
        factor = workload_factor(max(row.rel_u_workload or 0.0 for row in known))
        between = (
            f" Differences of less than about {times(factor)} between models may come from the power model rather than"
            " the models; no rank allows for that."
        )
        true = f"the true value lies within {reach(rel_u)} (95 %)"
        return f"Energy: modelled from {view.modelled_by}, not measured joules; {true}.{between if factor > 1 else ''}"
    return f"Energy: {_how(view)}; the true value lies within {reach(rel_u)} (95 %)."


def _how(view: View) -> str:
    """How its joules were obtained, and the meters."""
    names = joined([safe(meter.id) for meter in view.meters]) if view.meters else "an unnamed meter"
    if not all(meter.grade_told for meter in view.meters):
        return f"graded {view.grade}, since the files do not say how it was counted ({names})"
    return f"{_GRADES.get(view.grade or '', view.grade)} ({names}{_elsewhere(view.meters)})"


def _elsewhere(meters: Sequence[MeterInfo]) -> str:
    """Which other tree than ``/sys`` counters were read from, by JOULEMARK_SYSFS; empty where they were not."""
    trees = {found[1] for meter in meters if (found := _SYSFS.match(meter.provenance))} - {"/sys"}
    return f"; read under {joined([safe(tree) for tree in sorted(trees)])} in place of /sys" if trees else ""


def unfinished_sentence(view: View) -> str:
    """What is missing of the runs behind this view; empty where they are finished."""
    return " ".join(safe(far.sentence) for far in view.unfinished)


def interval_sentence(view: View) -> str:
    """What the intervals of the table and the picture hold."""
    quality = "" if view.unscored else "quality over items"
    if all(row.energy_wh_per_1k is None for row in view.rows):
        return f"Intervals are 95 %, of {quality}." if quality else ""
    if all(row.energy_wh_per_1k_low is None for row in view.rows):
        unknown = all(row.rel_u is None for row in view.rows if row.energy_wh_per_1k is not None)
        none = f"energy has none: {'its error is not known' if unknown else 'one repeat: no interval'}."
        # That its error is not known says the sentence on its grade.
        alone = "" if unknown else none.capitalize()
        return f"Intervals are 95 %, of {quality}; {none}" if quality else alone
    repeats = [row.repeats for row in view.rows if row.energy_wh_per_1k_low is not None]
    least, most = min(repeats), max(repeats)
    energy = f"energy over {most if least == most else f'{least} to {most}'} repeats"
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
        least, most = (draws_percent(of(row.p_frontier or 0.0 for row in unclear)) for of in (min, max))
        return (
            f"Unclear whether on the frontier: {together(unclear, view.rows, most=LISTED)}, in {least} to {most} % of "
            "draws; the report tells each one's."
        )
    told = [f"{safe(row.label)} {draws_share(row.p_frontier or 0.0, 'on')}" for row in unclear]
    return f"Unclear whether on the frontier: {joined(told)}." if told else ""


def _qualified(view: View, text: str) -> str:
    """Modelled energy carries its name wherever a claim rests on it."""
    return f"By {view.modelled_by}, not measured joules: {text}" if rests_on_model(view) else text


def _nothing_ranked(view: View) -> str:
    if view.unscored and (why := _NO_QUALITY.get("".join(set(view.lacking.values())))):
        return f"Nothing is ranked: {why}, so there is no quality."
    if view.unscored and set(view.lacking.values()) != {"no_quality"}:
        return "Nothing is ranked: nobody has quality here."
    if view.metric:
        return f"Nothing is ranked: {safe(view.metric)} is no share of right answers, so there is no quality."
    if view.unscored:
        return "Nothing is ranked: the metrics here are no shares of right answers, so there is no quality."
    if all(row.energy_wh_per_1k is None for row in view.rows):
        return "Nothing is ranked: energy is missing."
    if all(row.rel_u is None for row in view.rows):
        return "Nothing is ranked: how far off the energy may be is not known."
    return f"Nothing is ranked: no entrant with energy reaches the quality floor of {view.quality_floor:g} points."


def _nobody_else(view: View) -> str:
    return "No other entrant can be ranked." if len(view.rows) > 1 else ""
