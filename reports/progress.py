"""How much of its plan a run has measured."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from joulemark.harness.models import parse_models
from joulemark.harness.plan import Plan
from joulemark.harness.record import IMPORTED, Cell
from joulemark.harness.schedule import settings
from joulemark.harness.store import Run, canonical_json
from joulemark.meters.errors import UsageError

__all__ = ["Progress", "not_begun", "planned_models", "planned_repeats", "planned_tasks", "progress"]


_SOAK = "soak"
"""The key of a plan that says how long a load was to last (`harness.soak`, which is not loaded for a table)."""
_NOT_NAMED = "the plan does not name models, tasks and repeats"
_NOT_READ = "this version cannot read the plan"
_OTHERWISE = "its cells have other settings than this version would give them"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Finished cells of a run against its plan.

    Attributes:
        run_id: The run.
        path: Its directory, as it was given.
        finished: Cells of the plan that are measured; all that are, where the plan cannot be counted.
        planned: Cells of the plan: models x settings that are possible for each x tasks x repeats; None: not known.
        failed: Cells of the plan that were tried and failed.
        remetered: Whether its energy was taken from a recorded trace.
        unknown: Why the plan cannot be counted; None where it can.
    """

    run_id: str
    path: str
    finished: int
    planned: int | None
    failed: int = 0
    remetered: bool = False
    unknown: str | None = None

    @property
    def sentence(self) -> str:
        """What is missing, and what to do."""
        if self.planned is None:
            return f"How much of the plan of {self.path} is measured is not known: {self.unknown}."
        if self.remetered:
            return (
                f"Unfinished: the trace has the energy of {self.finished} of {self.planned} cells; `joulemark remeter` "
                "with one that covers all, into another folder, has the rest."
            )
        failed = f", {self.failed} failed" if self.failed else ""
        goes_on = "tries these again" if self.finished + self.failed >= self.planned else "goes on"
        return (
            f"Unfinished: {self.finished} of {self.planned} cells are measured{failed}; "
            f"`joulemark run --resume {shlex.quote(self.path)}` {goes_on}."
        )


def progress(run: Run) -> Progress | None:
    """How far a run is, of which nothing is known where its plan cannot be counted; None where it is finished."""
    far = _counted(run)
    return None if far.planned is not None and far.finished >= far.planned else far


def _counted(run: Run) -> Progress:
    if run.header.plan.get(_SOAK) or IMPORTED in run.header.plan:
        return _all_there(run)
    models, tasks, repeats = _names(run, "models"), set(_names(run, "tasks")), planned_repeats(run)
    if not models or not tasks or repeats is None:
        return _unknown(run, _NOT_NAMED)
    ways = _ways(run)
    if ways is None:
        return _unknown(run, _NOT_READ)
    tried = {_place(cell): cell for cell in run.cells if cell.repeat <= repeats and cell.task in tasks}
    own = {place: cell for place, cell in tried.items() if place[1] in ways.get(place[0], ())}
    if tried and not own:
        return _unknown(run, _OTHERWISE)
    finished = sum(cell.status == "ok" for cell in own.values())
    return Progress(
        run_id=run.header.run_id,
        path=str(run.path),
        finished=finished,
        planned=sum(map(len, ways.values())) * len(tasks) * repeats,
        failed=len(own) - finished,
        remetered=run.header.remetered_from is not None,
    )


def _all_there(run: Run) -> Progress:
    """A soak plans no number of repeats, and imported files no cells: what is there is all of it."""
    done = sum(cell.status == "ok" for cell in run.cells)
    return Progress(run_id=run.header.run_id, path=str(run.path), finished=done, planned=done)


def _unknown(run: Run, why: str) -> Progress:
    done = sum(cell.status == "ok" for cell in run.cells)
    return Progress(run_id=run.header.run_id, path=str(run.path), finished=done, planned=None, unknown=why)


def planned_repeats(run: Run) -> int | None:
    """The repeats that the run's plan asks for; None where it does not say."""
    repeats = run.header.plan.get("repeats")
    return repeats if isinstance(repeats, int) and repeats > 0 else None


def planned_tasks(run: Run) -> list[str]:
    """The tasks that the run's plan names; none where it does not say."""
    return _names(run, "tasks")


def planned_models(run: Run) -> list[str]:
    """The models that the run's plan names; none where it cannot be read."""
    return list(_ways(run) or ())


def not_begun(runs: Sequence[Run]) -> list[str]:
    """A sentence for each planned task of which no model has a cell yet, and for each such model."""
    sentences = set()
    for run in runs:
        tried = {cell.model for cell in run.cells}
        begun = {cell.task for cell in run.cells}
        ways = _ways(run)
        labels = (
            [text.partition("=")[0] for text in _names(run, "models")] if ways is None else list(filter(ways.get, ways))
        )
        sentences |= {
            f"{label} is left out: none of its cells is measured yet." for label in labels if label not in tried
        }
        sentences |= {
            f"{task} is in no figure over all tasks: none of its cells is measured yet."
            for task in _names(run, "tasks")
            if task not in begun
        }
    return sorted(sentences)


def _ways(run: Run) -> dict[str, set[str]] | None:
    """The settings in which each model of the plan is measured, as canonical JSON; None where the plan cannot be read.

    Nothing but the plan is looked at: a server may have gone, and a report be written on another machine.
    """
    try:
        plan = Plan.model_validate(run.header.plan)
        specs = parse_models(plan.models, here=False)
        return {spec.name: {canonical_json(setting) for setting in settings(plan, spec)} for spec in specs}
    except (ValidationError, UsageError):
        return None


def _place(cell: Cell) -> tuple[str, str, str, int]:
    """Which cell of the plan it is."""
    return cell.model, canonical_json(cell.setting), cell.task, cell.repeat


def _names(run: Run, key: str) -> list[str]:
    names = run.header.plan.get(key)
    return [str(name) for name in names] if isinstance(names, list | tuple) else []
