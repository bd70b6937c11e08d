"""Which cells a plan has, and in which order they are measured."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .models import ModelSpec
from .plan import Plan

__all__ = ["CellPlan", "impossible", "schedule", "settings"]


@dataclass(frozen=True, kw_only=True)
class CellPlan:
    """A cell that is to be measured: a model on a task, one repeat.

    Attributes:
        order: Its place in the run, from 0.
        setting: How it is computed and what is asked; part of the cell's identity.
    """

    spec: ModelSpec
    task: str
    repeat: int
    order: int
    setting: dict[str, Any]

    @property
    def load_key(self) -> str:
        """Equal for cells that one load of the model serves."""
        return json.dumps([self.spec.name, self.setting["threads"], self.setting.get("dtype")])

    @property
    def loaded_as(self) -> ModelSpec:
        """The model with what its setting adds to its arguments."""
        dtype = self.setting.get("dtype")
        return replace(self.spec, args=f"{self.spec.args},dtype={dtype}") if dtype else self.spec

    @property
    def cell_id(self) -> str:
        """The same for the same model, weights, task, setting and repeat; fit for a file name."""
        spec = self.spec
        identity = [spec.name, spec.backend, spec.args, spec.weights, self.task, self.repeat, self.setting]
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
        readable = re.sub(r"[^A-Za-z0-9._]+", "-", f"{self.spec.name}-{self.task}")[:80].strip("-.")
        return f"{readable}-r{self.repeat}-{digest}"


def schedule(plan: Plan, specs: Sequence[ModelSpec], repeats: Sequence[int]) -> list[CellPlan]:
    """The cells of some repeats in the order of measuring, which the plan's seed and the repeat's number decide.

    ``interleaved`` shuffles models, settings and tasks anew, there and back in two repeats, so that a slow drift of the
    machine falls on all alike. ``abba`` goes through the models forwards and backwards in turn, task by task.
    ``blocked`` finishes a model before the next.
    """
    entrants = [(spec, setting) for spec in specs for setting in settings(plan, spec)]
    cells: list[tuple[ModelSpec, dict[str, Any], str, int]] = []
    if plan.order == "blocked":
        cells = [(*entrant, task, k) for entrant, k, task in itertools.product(entrants, repeats, plan.tasks)]
    else:
        for k in repeats:
            if plan.order == "abba":
                turn = entrants if k % 2 else entrants[::-1]
                cells += [(*entrant, task, k) for task in plan.tasks for entrant in turn]
            else:
                # Every second repeat goes the way of the one before backwards: a steady drift then falls on all alike.
                shuffled = [(*entrant, task, k) for entrant in entrants for task in plan.tasks]
                random.Random(f"order:{plan.seed}:{(k + 1) // 2}").shuffle(shuffled)
                cells += shuffled if k % 2 else shuffled[::-1]
    first = (min(repeats, default=1) - 1) * len(entrants) * len(plan.tasks)
    return [
        CellPlan(spec=spec, task=task, repeat=k, order=order, setting=setting)
        for order, (spec, setting, task, k) in enumerate(cells, start=first)
    ]


def settings(plan: Plan, spec: ModelSpec) -> list[dict[str, Any]]:
    """How a model is asked and computed, for each possible combination of what is swept."""
    return [setting for setting in _grid(plan, spec) if _obstacle(spec, setting) is None]


def impossible(plan: Plan, specs: Sequence[ModelSpec]) -> list[str]:
    """A sentence for each setting that is left out of the plan for a model, and why."""
    found = dict.fromkeys(
        f"{spec.name} is not measured with {key}={value}: {why}."
        for spec in specs
        for setting in _grid(plan, spec)
        for key, value, why in filter(None, [_obstacle(spec, setting)])
    )
    return list(found)


def _grid(plan: Plan, spec: ModelSpec) -> list[dict[str, Any]]:
    usual: dict[str, Any] = {
        "batch_size": plan.batch_size or spec.usual_batch,
        "num_fewshot": plan.num_fewshot,
        "limit": plan.limit,
        "threads": plan.threads,
    }
    # What was not there before is only written where it is used, so that the cells of older runs keep their ids.
    usual |= {key: getattr(plan, key) for key in ("gen_kwargs", "max_gen_toks", "system_instruction", "dtype")}
    usual |= {"concurrency": plan.concurrency if plan.concurrency > 1 else None}
    usual |= {"apply_chat_template": plan.apply_chat_template or None}
    combined = itertools.product(*plan.sweep.values())
    grid = [usual | dict(zip(plan.sweep, values, strict=True)) for values in combined]
    return [{key: value for key, value in one.items() if value is not None or key in _ALWAYS} for one in grid]


_ALWAYS = frozenset({"batch_size", "num_fewshot", "limit", "threads"})


def _obstacle(spec: ModelSpec, setting: dict[str, Any]) -> tuple[str, Any, str] | None:
    """The first value of a setting that is impossible for a model, and why."""
    for key, value in setting.items():
        if why := spec.cannot(key, value):
            return key, value, why
    return None
