"""How the figures were made, in words. The one source for the page and for Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulemark.harness.said import few

from .entrants import Entrant
from .hypervolume import sentence
from .names import LISTED
from .views import View
from .wording import joined

__all__ = ["Section", "method", "method_of_board"]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the method.

    Attributes:
        title: Empty for the first.
        paragraphs: One at least.
        formulas: They follow the first paragraph.
        lists: Below the paragraphs: what each is about, and its points.
    """

    title: str
    paragraphs: tuple[str, ...]
    formulas: tuple[str, ...] = ()
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()


def method(views: Sequence[View]) -> list[Section]:
    """The method of a report of these views."""
    modelled = _is_modelled(views)
    idle = "the power model's idle power" if modelled else "the idle power measured before"
    covers = next(filter(None, (sentence(view.covered) for view in views)), "")
    whole = [Section(title="The frontier as one number", paragraphs=(covers,))] if covers else []
    graded = any(row.levels for view in views for row in view.rows)
    imported, own = _by_origin(views)
    told = [_energy(idle, own=own if imported else None), *([_elsewhere(imported)] * bool(imported))]
    told += [_intervals(_IN_A_REPORT), _comparisons(views)]
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


def _by_origin(views: Sequence[View]) -> tuple[dict[str, list[Entrant]], list[str]]:
    """The entrants of each imported run by its name, and the names of the runs that Joulemark measured."""
    imported: dict[str, list[Entrant]] = defaultdict(list)
    own = set()
    for entrant in (f.entrant for view in views for f in view.figures):
        if entrant.imported is None:
            own.add(entrant.run_name)
        else:
            imported[entrant.run_name].append(entrant)
    return dict(sorted(imported.items())), sorted(own)


def _elsewhere(imported: Mapping[str, Sequence[Entrant]]) -> Section:
    """Of each imported run where its figures come from, and what nobody tells."""
    return Section(
        title="Results from elsewhere",
        paragraphs=(
            "These runs were read from files, and Joulemark saw nothing of them being measured. Which part of the work "
            "their energy covers, and how far off it may be, is what the files say; what they do not say is in no "
            "figure. Energy whose error nobody tells has no interval and ranks nothing.",
        ),
        lists=tuple((_lead(name, entrants), entrants[0].not_told) for name, entrants in imported.items()),
    )


def _lead(name: str, entrants: Sequence[Entrant]) -> str:
    """What a run was read from, and what its joules are."""
    joules = [(e, s) for e in entrants for s in e.samples.values() if s.energy_wh or s.uncounted]
    kinds = sorted({f"{e.grade}, {e.scope}" for e, _ in joules})
    unknown = any(s.rel_u_scale is None or s.uncounted for _, s in joules)
    error = "; its error is not known" if unknown else ""
    energy = f"Energy: {joined(kinds)}{error}." if kinds else "Energy: none."
    more = " Not known:" if entrants[0].not_told else ""
    return f"{name} was imported from {entrants[0].imported} {energy}{more}"


def _energy(idle: str, own: Sequence[str] | None = None) -> Section:
    """How energy was counted, and what the figures are.

    Args:
        idle: What net energy takes off.
        own: The runs that this is true of; None: all.
    """
    whose = "" if own is None else f"In what Joulemark measured ({few(own, LISTED)}), energy"
    windows = (
        f"{whose or 'Energy'} is counted inside request windows only: building prompts, scoring answers and loading "
        "models are outside. The same requests are asked again in loops until a window is long enough for the meter, "
        f"after a warm-up. Gross energy holds the idle power; net energy takes off {idle}."
    )
    return Section(
        title="",
        paragraphs=(
            *([windows] if own is None or own else []),
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
