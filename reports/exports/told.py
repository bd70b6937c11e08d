"""What exports tell of an entrant: its cells, and the figures that tables have of it, by task."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from joulemark.harness.record import IMPORTED, Cell
from joulemark.harness.said import few
from joulemark.harness.store import Run, canonical_json
from joulemark.meters.errors import UsageError

from ..entrants import Entrant
from ..pairing import side_of
from ..rows import Figures, Row
from ..samples import ASKED, has_energy, what_is_asked
from ..tried import look_at
from ..views import ALL, View, views_of

__all__ = ["Told", "all_told", "cells_of", "named", "one_told"]

_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class Told:
    """One entrant of a run.

    Attributes:
        run: The run.
        label: What tables of all its entrants call it.
        entrant: The entrant.
        views: Its views by task, ``all`` first; each with this entrant's row alone, ranked as among all.
    """

    run: Run
    label: str
    entrant: Entrant
    views: Mapping[str, View]

    @property
    def whole(self) -> Row:
        """Its figures over all tasks."""
        return self.views[ALL].rows[0]

    @property
    def tasks(self) -> dict[str, Row]:
        """Its figures by task, without those over all; tasks by name."""
        return {task: self.views[task].rows[0] for task in sorted(self.views) if task != ALL}

    def figures(self, task: str) -> Figures:
        """What the figures of a task were made of."""
        return self.views[task].figures[0]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Its finished cells, by task and repeat."""
        return cells_of(self.run, self.entrant)


def all_told(run: Run, label: str | None = None) -> list[Told]:
    """The entrants of a run that finished a cell; only one of them, where a label is given.

    Raises:
        Incomparable: None did.
        UsageError: The run's items cannot be read, or nobody is called so, or several are.
    """
    entrants = named(run, label)
    own: dict[str, dict[str, View]] = defaultdict(dict)
    for view in views_of([look_at(run)])[0]:
        for row, figures in zip(view.rows, view.figures, strict=True):
            own[_key(figures.entrant)].setdefault(view.task, replace(view, rows=(row,), figures=(figures,)))
    return [
        Told(run=run, label=name, entrant=entrant, views=own[_key(entrant)])
        for name, entrant in entrants.items()
        if ALL in own[_key(entrant)]
    ]


def one_told(run: Run, label: str | None) -> Told:
    """The one that is meant; a run of one entrant needs no label.

    Raises:
        Incomparable: None has finished a cell.
        UsageError: Several are meant, or none is called so; or the run's items cannot be read.
    """
    entrants = named(run, label)
    if len(entrants) > 1:
        raise UsageError(
            f"{run.path} has {len(entrants)} entrants, and this format holds one: name it by --entrant, one of "
            f"{few([repr(name) for name in entrants], _NAMED)}."
        )
    [told] = all_told(run, next(iter(entrants)))
    return told


def named(run: Run, label: str | None) -> dict[str, Entrant]:
    """The entrants of a run that finished a cell, by the names that tables give them; all, or who is called so.

    Raises:
        Incomparable: None did.
        UsageError: Nobody is called so, or several are.
    """
    every = side_of(run, None).entrants
    if label is None or label in every:
        return every if label is None else {label: every[label]}
    return side_of(run, label).entrants


def cells_of(run: Run, entrant: Entrant) -> tuple[Cell, ...]:
    """The finished cells that an entrant's figures are made of, by task and repeat."""
    asked = {task: json.loads(sample.question)[1] for task, sample in entrant.samples.items()}
    own = [
        cell
        for cell in run.cells
        if cell.status == "ok"
        and (cell.n_items or IMPORTED in cell.flags)
        and (cell.model, cell.machine_id) == (entrant.model, entrant.machine.machine_id)
        and _computed_by(cell.setting) == _computed_by(entrant.setting)
        and what_is_asked(cell) == asked.get(cell.task)
        and _kind(run, cell) in (None, (entrant.grade, entrant.scope))
    ]
    return tuple(sorted(own, key=lambda cell: (cell.task, cell.repeat)))


def _computed_by(setting: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in setting.items() if key not in ASKED}


def _kind(run: Run, cell: Cell) -> tuple[str, str] | None:
    """Grade and scope of its joules; of a cell without any, those of the first cell of its machine that has some."""
    alike = (other for other in run.cells if other.machine_id == cell.machine_id)
    metered = cell if has_energy(cell) else next(filter(has_energy, alike), cell)
    return (metered.energy.grade, metered.energy.scope) if metered.energy else None


def _key(entrant: Entrant) -> str:
    """The same for one entrant whose quality was taken away, since another's answers belied it."""
    told = (entrant.model, dict(entrant.setting), entrant.machine.machine_id, entrant.grade, entrant.scope)
    return canonical_json(told)
