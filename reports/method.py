"""How the figures were made, in words. The one source for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .hypervolume import sentence
from .views import View

__all__ = ["Section", "method", "method_of_board"]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the method: a title (empty for the first), paragraphs, and formulas that follow the first of them."""

    title: str
    paragraphs: tuple[str, ...]
    formulas: tuple[str, ...] = ()


def method(views: Sequence[View]) -> list[Section]:
    """The method of a report of these views."""
    modelled = _is_modelled(views)
    idle = "the power model's idle power" if modelled else "the idle power measured before"
    covers = next(filter(None, (sentence(view.covered) for view in views)), "")
    whole = [Section(title="The frontier as one number", paragraphs=(covers,))] if covers else []
    graded = any(row.levels for view in views for row in view.rows)
    told = [_energy(idle), _intervals(_IN_A_REPORT), _comparisons(views)]
    return [*told, *whole, *([_DIFFICULTY] * graded), *([_MODELLED] * modelled)]


def method_of_board(views: Sequence[View]) -> list[Section]:
    """The method of a board, of which each sentence has to hold for all its views: measured ones and modelled ones."""
    modelled = _is_modelled(views)
    measured = any(view.grade and view.modelled_by != "CPU time" for view in views)
    before, own = "the idle power measured before", "the power model's idle power"
    idle = f"{before}, or, where it is modelled, {own}" if modelled and measured else own if modelled else before
    return [_energy(idle), _intervals(_ON_A_BOARD), _comparisons(views), *([_MODELLED] * modelled)]


def _is_modelled(views: Sequence[View]) -> bool:
    return any(view.modelled_by == "CPU time" for view in views)


def _energy(idle: str) -> Section:
    return Section(
        title="",
        paragraphs=(
            "Energy is counted inside request windows only: building prompts, scoring answers and loading models are "
            "outside. The same requests are asked again in loops until a window is long enough for the meter, after a "
            f"warm-up. Gross energy holds the idle power; net energy takes off {idle}.",
            "Right answers per watt-hour are right answers beyond guessing: Q is 0 for a model that guesses, so that a "
            "cheap guesser earns nothing. Over several tasks, Q and E are the plain means of the tasks' values, E "
            "within each repeat. An entrant that lacks a task has no figure over all tasks. Time per item is the "
            "window's time divided by the items in it, so that the items of a batch share its time.",
        ),
        formulas=(
            "Q = 100 (a \u2212 c) / (1 \u2212 c), with accuracy a and the score c of a guesser",
            "E = gross joules / 3.6 / (items \u00d7 loops), in watt-hours for 1,000 answers",
            "right answers beyond guessing per watt-hour = 10 Q / E",
        ),
    )


def _intervals(shown: str) -> Section:
    return Section(
        title="Intervals",
        paragraphs=(
            "All are 95 %. Quality: Wilson's interval with cluster-robust standard errors over items (arXiv "
            "2411.00640) and Student's t; over tasks variances add, and their mean has such an interval as a whole; "
            "where one task has more than twice another's items the squares of their intervals' half-widths add. "
            "Energy: the geometric mean over repeats with a t interval on the log scale; one repeat has no interval. "
            "The ratio: on the log scale, between Satterthwaite's interval and the sum of squared half-widths, which "
            "covers 94 to 97 % from three repeats on.",
            shown,
        ),
    )


def _comparisons(views: Sequence[View]) -> Section:
    floor = min(view.quality_floor for view in views)
    return Section(
        title="Comparisons",
        paragraphs=(
            "Entrants are compared pair by pair on the same items, with the repeats' scatter of both. A rank's range "
            "follows from the differences that are sure after allowing for the number of pairs (Holm's correction); "
            "entrants that nobody surely beats are tied with the first. Below a quality of "
            f"{floor:g} points nothing is ranked, nor where quality cannot be told from guessing.",
            "For the frontier, items are resampled jointly over all entrants and energies drawn from their t "
            "distributions: on if an entrant is on the frontier in at least 95 % of draws, dominated if one other "
            "entrant beats it in both quality and energy in at least 95 %, else unclear. No judgement where quality "
            "cannot be told from guessing.",
        ),
    )


_IN_A_REPORT = (
    "Tables and pictures show what differs between entrants measured together. In results.csv and "
    "results.json these intervals end in _within_low and _within_high; those in _low and _high hold the "
    "meter's own error as well, and are for figures that leave this machine."
)
_ON_A_BOARD = (
    "Tables and pictures show what differs between entrants of one view. In the files of a view these intervals end in "
    "_within_low and _within_high; those in _low and _high hold the meter's own error as well, and are for figures "
    "that are set beside those of other machines or meters."
)

_DIFFICULTY = Section(
    title="Difficulty",
    paragraphs=(
        "Quality by level is Q on the items of that level, with the whole task's c. Over several tasks it is the plain "
        "mean of the tasks' values, for the levels that every task has. An entrant that lacks a task has none.",
    ),
)


_MODELLED = Section(
    title="Modelled energy",
    paragraphs=(
        "Modelled energy is CPU time multiplied by a figure for the processor's power. It is no measurement of joules, "
        "and no claim about energy should rest on it alone.",
    ),
)
