"""The tasks that can be named without asking lm-eval."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .reference import EXAMPLES_PER_LEVEL, FAMILIES, ITEMS_PER_LEVEL, LEVELS

__all__ = ["OUR_TASKS", "REFERENCE_TASKS", "THREE_SHOT", "TaskCard"]


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """A task of ours: what it asks of a model.

    Attributes:
        examples: How many it has to show.
        shown: How many it shows before each question.
        variant_of: The task that it asks in another way; variants are not in the view over all tasks.
    """

    name: str
    title: str
    items: int
    examples: int
    shown: int = 0
    variant_of: str | None = None
    output_type: str = "generate_until"
    metric: str = "exact_match"
    version: str = "2.1"


REFERENCE_TASKS: tuple[TaskCard, ...] = tuple(
    TaskCard(
        name=f"jm_{family.name}",
        title=family.title,
        items=ITEMS_PER_LEVEL * len(LEVELS),
        examples=EXAMPLES_PER_LEVEL * len(LEVELS),
    )
    for family in FAMILIES
)

THREE_SHOT: tuple[TaskCard, ...] = tuple(
    replace(task, name=f"{task.name}_3shot", title=f"{task.title}, after 3 examples", shown=3, variant_of=task.name)
    for task in REFERENCE_TASKS
)
"""The same questions after three examples: what these add, and what they cost."""

OUR_TASKS = REFERENCE_TASKS + THREE_SHOT
"""Every task that can be named without asking lm-eval."""
