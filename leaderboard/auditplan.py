"""Completeness: all cells that the plan has, each once, in the order that the plan's seed gives."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from joulemark.harness.models import parse_models
from joulemark.harness.plan import Plan
from joulemark.harness.record import Cell
from joulemark.harness.schedule import schedule
from joulemark.meters.errors import JoulemarkError

from .findings import Finding
from .outcomes import MOST_CELLS
from .submission import Submission

__all__ = ["check_ids", "check_plan"]

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DIGEST = re.compile(r"[0-9a-f]{8}")
_UNREADABLE = re.compile(r"[^A-Za-z0-9._]+")
_MOST_MODELS = 1_000


@dataclass(frozen=True, kw_only=True)
class _Key:
    """What there is one cell of."""

    model: str
    task: str
    setting: str
    repeat: int


def check_ids(sent: Submission) -> Iterator[Finding]:
    """Ids are such as a run gives, fit for the name of a file, and the plan's size is one that can be worked out."""
    if not _RUN_ID.fullmatch(sent.run.run_id):
        yield Finding(code="run-id", path="run.run_id", message="it is no id that a run gives; pack the run again.")
    for number, cell in enumerate(sent.cells):
        at = f"cells[{number}]"
        if (cell.run_id, cell.machine_id) != (sent.run.run_id, sent.run.machine.machine_id):
            message = "the cell is of another run or machine; pack each run by itself."
            yield Finding(code="other-run", path=at, message=message)
        readable = _UNREADABLE.sub("-", f"{cell.model}-{cell.task}")[:80].strip("-.")
        named, digest = cell.cell_id[:-8], cell.cell_id[-8:]
        if named != f"{readable}-r{cell.repeat}-" or not _DIGEST.fullmatch(digest):
            message = "it does not name its model, task and repeat as a run does; pack the run again."
            yield Finding(code="cell-id", path=f"{at}.cell_id", message=message)
    if (many := _size(sent.run.plan)) is None or many > MOST_CELLS:
        message = f"it has no models, tasks and repeats of at most {MOST_CELLS:,} cells; pack a run of `joulemark run`."
        yield Finding(code="plan", path="run.plan", message=message)


def _size(plan: dict[str, Any]) -> int | None:
    """How many cells a plan has at most; None where it does not tell."""
    models, tasks, repeats = plan.get("models"), plan.get("tasks"), plan.get("repeats")
    swept = plan.get("sweep") or {}
    if not isinstance(models, list) or not isinstance(tasks, list) or not isinstance(swept, dict):
        return None
    if not isinstance(repeats, int) or not all(isinstance(values, list) for values in swept.values()):
        return None
    if plan.get("precision") is not None:
        repeats = plan.get("max_repeats", 20)
    if not isinstance(repeats, int) or len(models) > _MOST_MODELS:
        return None
    return len(models) * len(tasks) * repeats * math.prod(map(len, swept.values()))


def check_plan(sent: Submission) -> Iterator[Finding]:
    """Nothing that was planned is missing, nothing is there twice, and nobody was measured out of turn."""
    there = {_key(cell): number for number, cell in enumerate(sent.cells)}
    if len(there) < len(sent.cells):
        message = "a model is there twice on one task, in one setting and repeat; pack the run again."
        yield Finding(code="doubled", path="cells", message=message)
    if len({cell.order for cell in sent.cells}) < len(sent.cells):
        yield Finding(
            code="doubled", path="cells", message="two cells have one place in the order; pack the run again."
        )
    try:
        plan = Plan.model_validate(sent.run.plan)
        specs = parse_models(plan.models, here=False)
        repeats = _repeats(plan, sent)
        planned = {_planned(each): each for each in schedule(plan, specs, range(1, repeats + 1))}
    except (ValidationError, JoulemarkError, ValueError, TypeError) as problem:
        why = problem.errors()[0]["msg"] if isinstance(problem, ValidationError) else str(problem)
        message = f"it is no plan of `joulemark run`: {why[:200]}"
        yield Finding(code="plan", path="run.plan", message=message)
        return
    for key in (key for key in planned if key not in there):
        message = (
            f"{key.model} on {key.task}, repeat {key.repeat}, is missing; `joulemark run --resume RUN`, then pack."
        )
        yield Finding(code="missing-cell", path="cells", message=message)
    for key, number in there.items():
        if key not in planned:
            message = "the plan has no such model, task, setting and repeat; pack the run again."
            yield Finding(code="not-planned", path=f"cells[{number}]", message=message)
            continue
        each, cell = planned[key], sent.cells[number]
        if each.order != cell.order:
            message = f"by the plan and its seed it comes as number {each.order}; pack the run as it was measured."
            yield Finding(code="order", path=f"cells[{number}].order", message=message)
        if cell.model_args != f"{each.spec.backend}:{each.spec.args}":
            message = "the plan has a model of this name, and of other arguments; pack the run as it was measured."
            yield Finding(code="not-planned", path=f"cells[{number}].model_args", message=message)


def _repeats(plan: Plan, sent: Submission) -> int:
    """How many there must be: those that are planned, or as many as it took to be precise enough."""
    if plan.precision is None:
        return plan.repeats
    return min(plan.max_repeats, max(plan.repeats, *(cell.repeat for cell in sent.cells)))


def _planned(each: Any) -> _Key:
    setting = json.dumps(each.setting, sort_keys=True)
    return _Key(model=each.spec.name, task=each.task, setting=setting, repeat=each.repeat)


def _key(cell: Cell) -> _Key:
    setting = json.dumps(cell.setting, sort_keys=True)
    return _Key(model=cell.model, task=cell.task, setting=setting, repeat=cell.repeat)
