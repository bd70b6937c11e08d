"""How much of its plan a run has measured."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from joulemark.harness.models import parse_models
from joulemark.harness.plan import Plan
from joulemark.harness.record import Cell
from joulemark.harness.schedule import settings
from joulemark.harness.store import Run, canonical_json
from joulemark.meters.errors import UsageError

__all__ = ["Progress", "not_begun", "planned_repeats", "progress"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Finished cells of a run against its plan.

    Attributes:
        run_id: The run.
        path: Its directory, as it was given.
        finished: Cells of the plan that are measured.
        planned: Cells of the plan: models x settings that are possible for each x tasks x repeats.
        failed: Cells of the plan that were tried and failed.
        remetered: Whether its energy was taken from a recorded trace.
    """

    run_id: str
    path: str
    finished: int
    planned: int
    failed: int = 0
    remetered: bool = False

    @property
    def sentence(self) -> str:
        """What is missing, and what to do."""
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
    """How far a run is; None where it is finished, or where its plan does not say what was to be measured."""
    models, tasks, repeats = _names(run, "models"), _names(run, "tasks"), planned_repeats(run)
    if not models or not tasks or repeats is None:
        return None
    planned = sum(_ways(run).values()) * len(set(tasks)) * repeats
    done = {_place(cell) for cell in run.cells if cell.status == "ok" and cell.repeat <= repeats}
    tried = {_place(cell) for cell in run.cells if cell.repeat <= repeats}
    finished = len(done)
    if finished >= planned:
        return None
    return Progress(
        run_id=run.header.run_id,
        path=str(run.path),
        finished=finished,
        planned=planned,
        failed=len(tried - done),
        remetered=run.header.remetered_from is not None,
    )


def planned_repeats(run: Run) -> int | None:
    """The repeats that the run's plan asks for; None where it does not say."""
    repeats = run.header.plan.get("repeats")
    return repeats if isinstance(repeats, int) and repeats > 0 else None


def not_begun(runs: Sequence[Run]) -> list[str]:
    """A sentence for each planned task of which no model has a cell yet, and for each such model."""
    sentences = set()
    for run in runs:
        tried = {cell.model for cell in run.cells}
        begun = {cell.task for cell in run.cells}
        labels = [label for label, ways in _ways(run).items() if ways]
        sentences |= {
            f"{label} is left out: none of its cells is measured yet." for label in labels if label not in tried
        }
        sentences |= {
            f"{task} is in no figure over all tasks: none of its cells is measured yet."
            for task in _names(run, "tasks")
            if task not in begun
        }
    return sorted(sentences)


def _ways(run: Run) -> dict[str, int]:
    """In how many settings each model of the plan is measured; in one each, where the plan is of another version."""
    try:
        plan = Plan.model_validate(run.header.plan)
        return {spec.name: len(settings(plan, spec)) for spec in parse_models(plan.models)}
    except (ValidationError, UsageError):
        return {text.partition("=")[0]: 1 for text in _names(run, "models")}


def _place(cell: Cell) -> tuple[str, str, str, int]:
    """Which cell of the plan it is."""
    return cell.model, canonical_json(cell.setting), cell.task, cell.repeat


def _names(run: Run, key: str) -> list[str]:
    names = run.header.plan.get(key)
    return [str(name) for name in names] if isinstance(names, list | tuple) else []
