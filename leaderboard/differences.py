"""What differs between a run and the one whose place it takes: energy and quality of each model on each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from joulemark.harness.store import canonical_json
from joulemark.reports.entrants import Entrant, gather
from joulemark.reports.names import name_entrants
from joulemark.reports.rows import Row, measure, plain_row

from .board import sent_run
from .submission import Submission

__all__ = ["Difference", "Figures", "Pair", "Span", "Told", "compare", "figures_of"]


@dataclass(frozen=True, kw_only=True)
class Told:
    """A row, and what its joules were measured by (`Entrant.yardstick`)."""

    row: Row
    yardstick: str


Figures = Mapping[tuple[str, str], Told]
"""Rows of single tasks, by the task and by what was asked of which model in which setting, grade and scope."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """A figure and its 95 % interval; None is missing."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A figure before and after."""

    before: Span
    after: Span

    @property
    def apart(self) -> bool | None:
        """Whether the intervals part; None where one of them is missing."""
        a, b = self.before, self.after
        if a.low is None or a.high is None or b.low is None or b.high is None:
            return None
        return a.high < b.low or b.high < a.low


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A model on a task that both runs have.

    ``quality`` is in points, ``energy`` in watt-hours per 1,000 answers. Where the same machine and meters measured
    both (``same_meter``), the energies' intervals hold what differs from repeat to repeat alone, since both share the
    meter's own error; else they hold that error as well.
    """

    model: str
    label: str
    task: str
    grade: str | None
    scope: str | None
    same_meter: bool
    quality: Pair
    energy: Pair


def figures_of(sent: Submission) -> Figures:
    """Every task of every entrant.

    Raises:
        UsageError: The items of a cell cannot be read.
    """
    entrants = gather([sent_run(sent)])
    names = [name.full for name in name_entrants(entrants)]
    return {
        _key(entrant, task): Told(row=plain_row(measure(entrant, (task,)), name), yardstick=entrant.yardstick)
        for entrant, name in zip(entrants, names, strict=True)
        for task in sorted(entrant.samples)
    }


def compare(before: Figures, after: Figures) -> tuple[Difference, ...]:
    """What both have, by model and task."""
    both = sorted(before.keys() & after.keys(), key=lambda key: (after[key].row.label, key))
    return tuple(_difference(key[0], before[key], after[key]) for key in both)


def _key(entrant: Entrant, task: str) -> tuple[str, str]:
    how = [entrant.model, entrant.questions.get(task), dict(entrant.setting), entrant.grade, entrant.scope]
    return task, canonical_json(how)


def _difference(task: str, before: Told, after: Told) -> Difference:
    row, same = after.row, before.yardstick == after.yardstick
    return Difference(
        model=row.model,
        label=row.label,
        task=task,
        grade=row.grade,
        scope=row.scope,
        same_meter=same,
        quality=Pair(before=_quality(before.row), after=_quality(row)),
        energy=Pair(before=_energy(before.row, within=same), after=_energy(row, within=same)),
    )


def _quality(row: Row) -> Span:
    return Span(value=row.quality, low=row.quality_low, high=row.quality_high)


def _energy(row: Row, *, within: bool) -> Span:
    """The energy; ``within`` leaves the meter's own error out of its interval."""
    if within:
        low, high = row.energy_wh_per_1k_within_low, row.energy_wh_per_1k_within_high
    else:
        low, high = row.energy_wh_per_1k_low, row.energy_wh_per_1k_high
    return Span(value=row.energy_wh_per_1k, low=low, high=high)
