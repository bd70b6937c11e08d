"""What belongs to a view's table besides the finding: who is not ranked and why, lost cells, what may be wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from .clauses import unrepeated
from .flags import in_words
from .names import LISTED, together
from .rows import Row
from .views import ALL, View
from .wording import fixed, joined, safe, span

__all__ = ["caveats"]

_RARE = 0.05
"""A share of draws that needs a word beside "unclear"."""


def caveats(view: View, before: Sequence[View] = ()) -> list[str]:
    """What else a reader must know: who is not ranked and why, lost cells and repeats, missing figures.

    Args:
        view: What it is about.
        before: Views that stand above it on the same page: what was told there of runs and cells is not told again.
    """
    sentences = _unranked(view) + _below_floor(view) + _at_the_floor(view)
    single = [row for row in view.rows if row.repeats == 1 and row.rel_u is not None]
    if single and not unrepeated(view):
        sentences.append(f"{_all(single, view)}: one repeat: no interval.")
    sentences += _short_of_repeats(view)
    if busy := [row for row in view.rows if "busy_machine" in row.flags and row.energy_wh_per_1k is not None]:
        sentences.append(
            f"{_all(busy, view)}: other programs worked beside some cells (busy_machine); energy may be too high."
        )
    sentences += _hardly_on(view)
    if cut := [row for row in view.rows if "prompt_cut" in row.flags]:
        sentences.append(
            f"{_all(cut, view)}: some prompts were longer than the model takes and were cut (prompt_cut), so that it "
            "was asked something else than the others."
        )
    told = {note for other in before for note in other.notes}
    lost = [] if any(_covers(other, view) for other in before) else view.losses
    return [*dict.fromkeys(sentences), *map(safe, lost), *(safe(note) for note in view.notes if note not in told)]


def _hardly_on(view: View) -> list[str]:
    """Why some are unclear that hardly any draw finds on the frontier."""
    rare = [row for row in view.rows if row.frontier == "unclear" and (row.p_frontier or 1.0) < _RARE]
    rare += [row for row in view.rows if row.frontier == "unclear" and row.p_frontier == 0]
    if not rare:
        return []
    found = {*map(id, rare)}
    names = _all([row for row in view.rows if id(row) in found], view)
    verb = "is" if len(rare) == 1 else "are"
    return [
        f"{names} {verb} called unclear though hardly ever on the frontier: no single other entrant surely beats "
        f"{'it' if len(rare) == 1 else 'them'} in both quality and energy."
    ]


def _covers(whole: View, view: View) -> bool:
    """Whether a view over all tasks tells what was lost in this one as well."""
    alike = (whole.hardware, whole.scope, whole.grade) == (view.hardware, view.scope, view.grade)
    return alike and whole.task == ALL and set(view.asked.items()) <= set(whole.asked.items())


def _short_of_repeats(view: View) -> list[str]:
    short = [(row.repeats, row.repeats_planned) for row in view.rows if row.repeats < row.repeats_planned]
    return [
        f"{_all([r for r in view.rows if (r.repeats, r.repeats_planned) == (done, planned)], view)}: "
        f"{done} of {planned} repeats."
        for done, planned in dict.fromkeys(short)
    ]


def _all(rows: Sequence[Row], view: View) -> str:
    """Who is meant, at the beginning of a sentence."""
    names = together(rows, view.rows, most=LISTED)
    return names.replace("all ", "All ", 1) if LISTED < len(rows) == len(view.rows) else names


def _unranked(view: View) -> list[str]:
    """Who lacks a figure, or may be guessing; those with one and the same reason share a sentence."""
    reasons: dict[str, list[Row]] = defaultdict(list)
    for row in view.rows:
        if row.rank is None and not view.mixed and (reason := _why_unranked(view, row)):
            reasons[reason].append(row)
    sentences = []
    for reason, rows in reasons.items():
        who = f"{_all(rows, view)} {'is' if len(rows) == 1 else 'are'} not ranked"
        if reason in _POOR:
            whose = "its" if len(rows) == 1 else "their"
            reason = f"{whose} quality of {_from_to([row.quality or 0.0 for row in rows])} points {reason}"
        sentences.append(f"{who}: {reason}.")
    return sentences


_WORSE, _GUESSING = _POOR = ("is worse than guessing", "cannot be told from guessing")


def _why_unranked(view: View, row: Row) -> str | None:
    """Why an entrant has no rank, if that is for a missing figure or for guessing; of the latter the verb alone."""
    if row.energy_wh_per_1k is None or (row.quality is None and not view.unscored):
        if missing := in_words([f for f in row.flags if f.startswith(("no_finished_cell:", "failed:"))]):
            return "; ".join(missing)
        told = in_words([f for f in row.flags if f.startswith(("no_", "ungraded:", "uncounted:", "outside_meter"))])
        return "; ".join(told) or f"no {'energy' if row.energy_wh_per_1k is None else 'quality'}"
    if row.quality is None:
        return None
    if row.quality_high is not None and row.quality_high < 0:
        return _WORSE
    if row.quality_low is None or row.quality_low <= 0:
        return _GUESSING
    return None if row.rel_u is not None else "; ".join(in_words(["unknown_error"]))


def _from_to(values: Sequence[float]) -> str:
    low, high = fixed(min(values)), fixed(max(values))
    return low if low == high else span(min(values), max(values), 1)


def _below_floor(view: View) -> list[str]:
    """One sentence for all that are better than guessing, but below the floor."""
    low = [
        row for row in view.rows if row.rank is None and (row.quality_low or 0) > 0 and row.energy_wh_per_1k is not None
    ]
    low = [row for row in low if (row.quality or 0.0) < view.quality_floor]
    if view.mixed or not low:
        return []
    names = joined([f"{safe(row.label)} ({fixed(row.quality)} points)" for row in low])
    names = names if len(low) <= LISTED else _all(low, view)
    verb = "is" if len(low) == 1 else "are"
    return [f"{names} {verb} not ranked: below the quality floor of {view.quality_floor:g}."]


def _at_the_floor(view: View) -> list[str]:
    """One sentence for all whose quality may lie on either side of the floor, those aside who may be guessing."""
    floor = view.quality_floor
    unsure = [
        row
        for row in view.rows
        if row.quality_low is not None
        and row.quality_high is not None
        and 0 < row.quality_low <= floor <= row.quality_high
    ]
    if view.mixed or not unsure:
        return []
    names = joined([f"{safe(row.label)} ({span(row.quality_low, row.quality_high, 1)})" for row in unsure])
    names = names if len(unsure) <= LISTED else _all(unsure, view)
    whose = "its interval" if len(unsure) == 1 else "their intervals"
    return [f"{names}: the floor of {floor:g} lies inside {whose}."]
