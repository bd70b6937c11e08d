"""The tasks that can be named without asking lm-eval."""

from __future__ import annotations

from dataclasses import dataclass

from .reference import EXAMPLES_PER_LEVEL, FAMILIES, ITEMS_PER_LEVEL, LEVELS

__all__ = ["REFERENCE_TASKS", "TaskCard"]


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """A task of ours: what it asks of a model."""

    name: str
    title: str
    items: int
    examples: int
    output_type: str = "generate_until"
    metric: str = "exact_match"
    version: str = "1.0"


REFERENCE_TASKS: tuple[TaskCard, ...] = tuple(
    TaskCard(
        name=f"jm_{family.name}",
        title=family.title,
        items=ITEMS_PER_LEVEL * len(LEVELS),
        examples=EXAMPLES_PER_LEVEL * len(LEVELS),
    )
    for family in FAMILIES
)
