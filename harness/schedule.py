"""Which cells a plan has, and in which order they are measured."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
from dataclasses import dataclass
from typing import Any

from .models import ModelSpec
from .plan import Plan

__all__ = ["CellPlan", "schedule"]


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
    def cell_id(self) -> str:
        """The same for the same model, weights, task, setting and repeat; fit for a file name."""
        spec = self.spec
        identity = [spec.name, spec.backend, spec.args, spec.weights, self.task, self.repeat, self.setting]
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
        readable = re.sub(r"[^A-Za-z0-9._]+", "-", f"{self.spec.name}-{self.task}")[:80].strip("-.")
        return f"{readable}-r{self.repeat}-{digest}"


def schedule(plan: Plan, specs: list[ModelSpec]) -> list[CellPlan]:
    """All cells of a plan in the order of measuring, which the plan's seed decides.

    ``interleaved`` shuffles models and tasks anew in each repeat, so that a slow drift of the
    machine falls on all alike. ``abba`` goes through the models forwards and backwards in turn,
    task by task. ``blocked`` finishes a model before the next.
    """
    rng = random.Random(f"order:{plan.seed}")
    repeats = range(1, plan.repeats + 1)
    pairs: list[tuple[ModelSpec, str, int]] = []
    if plan.order == "blocked":
        pairs = [(spec, task, repeat) for spec, repeat, task in itertools.product(specs, repeats, plan.tasks)]
    else:
        for repeat in repeats:
            if plan.order == "abba":
                turn = specs if repeat % 2 else specs[::-1]
                pairs += [(spec, task, repeat) for task in plan.tasks for spec in turn]
            else:
                shuffled = [(spec, task, repeat) for spec in specs for task in plan.tasks]
                rng.shuffle(shuffled)
                pairs += shuffled
    setting = {
        "batch_size": plan.batch_size,
        "num_fewshot": plan.num_fewshot,
        "limit": plan.limit,
        "threads": plan.threads,
    }
    return [
        CellPlan(spec=spec, task=task, repeat=repeat, order=order, setting=setting)
        for order, (spec, task, repeat) in enumerate(pairs)
    ]
