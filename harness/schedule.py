"""Which cells a plan has, and in which order they are measured."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .models import ModelSpec
from .plan import SWEPT, Plan

__all__ = ["CellPlan", "impossible", "schedule", "settings"]


@dataclass(frozen=True, kw_only=True)
class CellPlan:
    """A cell that is to be measured: a model on a task, one repeat.

    Attributes:
        order: Its place in the run, from 0.
        setting: How it is computed and what is asked; part of the cell's identity.
        swept: Those of its settings that differ within the plan.
    """

    spec: ModelSpec
    task: str
    repeat: int
    order: int
    setting: dict[str, Any]
    swept: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What it is, for people."""
        own = ", ".join(f"{key}={self.setting[key]}" for key in self.swept if key in self.setting)
        return f"{self.spec.name}{f' ({own})' if own else ''} on {self.task}, repeat {self.repeat}"

    @property
    def load_key(self) -> str:
        """Equal for cells that one load of the model serves."""
        return json.dumps([self.spec.name, self.threads, self.setting.get("dtype")])

    @property
    def threads(self) -> int:
        """Threads that its process, or the server that is started for it, is told to take."""
        return int(self.setting.get("threads", 1))

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
        CellPlan(spec=spec, task=task, repeat=k, order=order, setting=setting, swept=tuple(plan.sweep))
        for order, (spec, setting, task, k) in enumerate(cells, start=first)
    ]


def settings(plan: Plan, spec: ModelSpec) -> list[dict[str, Any]]:
    """How a model is asked and computed: every combination of the swept values that are possible for it.

    What is not possible is left out: a swept setting of which no value is, or a plain one, as if nobody had set it.
    """
    usual = _usual(plan, spec) | {key: value for key, value in _plain(plan).items() if not spec.cannot(key, value)}
    possible = {key: [v for v in values if not spec.cannot(key, v)] for key, values in plan.sweep.items()}
    axes = {key: values for key, values in possible.items() if values}
    combined = itertools.product(*axes.values())
    return [usual | dict(zip(axes, values, strict=True)) for values in combined]


def impossible(plan: Plan, specs: Sequence[ModelSpec]) -> list[str]:
    """A sentence for each setting that is left out of the plan for some models, and why."""
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for spec in specs:
        for key, values in ({key: (value,) for key, value in _plain(plan).items()} | plan.sweep).items():
            refused = {value: why for value in values if (why := spec.cannot(key, value))}
            for why in dict.fromkeys(refused.values()):
                told = ",".join(str(value) for value, other in refused.items() if other == why)
                names[f"{key}={told}", why].append(spec.name)
    return [f"{setting} is left out for {', '.join(models)}: {why}." for (setting, why), models in names.items()]


def _usual(plan: Plan, spec: ModelSpec) -> dict[str, Any]:
    """What a cell's setting always says. Threads are not told of a server that somebody else started."""
    usual = {"batch_size": spec.usual_batch, "num_fewshot": plan.num_fewshot, "limit": plan.limit}
    return usual | ({} if spec.cannot("threads", 1) else {"threads": 1})


def _plain(plan: Plan) -> dict[str, Any]:
    """The settings that are given, and not swept, with their values.

    What nobody gave is in no cell's setting, so that a new setting leaves the ids of older cells as they are.
    """
    keys = (*SWEPT, "gen_kwargs", "system_instruction", "apply_chat_template")
    given = {key: getattr(plan, key) for key in keys if key in Plan.model_fields and key not in plan.sweep}
    return {key: value for key, value in given.items() if value != Plan.model_fields[key].default}
