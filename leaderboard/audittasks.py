"""Tasks: that our own were asked with the questions that are shipped."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from joulemark.tasks import reference
from joulemark.tasks.catalog import OUR_TASKS

from .findings import Finding
from .knowntasks import TASK_HASHES
from .outcomes import QuestionSet
from .submission import Submission

__all__ = ["MOST_TOKENS", "Shipped", "check_tasks", "foreign_tasks", "is_ours", "shipped"]

MOST_TOKENS = 24
"""That an answer of our tasks may have (``max_gen_toks`` in tasks/specs/_reference)."""
_CARDS = {card.name: card for card in OUR_TASKS}
_UPGRADE = "measure again with the release of Joulemark that the board names."


def is_ours(task: str) -> bool:
    """Whether its questions are shipped with Joulemark."""
    return task in _CARDS


def foreign_tasks(sent: Submission) -> list[str]:
    """The tasks whose questions are not shipped."""
    return sorted({cell.task for cell in sent.cells if not is_ours(cell.task)})


def check_tasks(sent: Submission) -> Iterator[Finding]:
    """Sets of questions belong to their cells, and those of our tasks are the shipped ones."""
    of_task: dict[tuple[str, str], int] = {}
    for number, cell in enumerate(sent.cells):
        if cell.status != "ok":
            continue
        place = sent.items.cells[cell.cell_id].set
        asked, at = sent.items.sets[place], f"cells[{number}]"
        if (asked.task, asked.task_hash) != (cell.task, cell.task_hash):
            message = "its questions are those of another task; pack the run again."
            yield Finding(code="task-set", path=f"items.cells.{cell.cell_id}.set", message=message)
        limit = cell.setting.get("limit")
        if isinstance(limit, int) and len(asked.docs) > limit and is_ours(cell.task):
            message = f"more questions than its limit of {limit} were asked; pack the run again."
            yield Finding(code="task-set", path=f"{at}.setting.limit", message=message)
        if of_task.setdefault((cell.task, json.dumps(cell.setting.get("limit"))), place) != place:
            message = "models were asked different questions of one task; pack the run again."
            yield Finding(code="task-set", path=f"items.cells.{cell.cell_id}.set", message=message)
        if is_ours(cell.task) and (cell.chance is None or abs(cell.chance - shipped(cell.task).chance) > 1e-6):
            message = f"a guesser scores {shipped(cell.task).chance:.6g} in this task; pack the run again."
            yield Finding(code="task-chance", path=f"{at}.chance", message=message)
    for place, asked in enumerate(sent.items.sets):
        if is_ours(asked.task):
            yield from _check_questions(asked, f"items.sets[{place}]")


def _check_questions(asked: QuestionSet, at: str) -> Iterator[Finding]:
    if asked.task_hash != TASK_HASHES[asked.task]:
        message = f"it is not the shipped {asked.task} ({TASK_HASHES[asked.task]}); {_UPGRADE}"
        yield Finding(code="task-hash", path=f"{at}.task_hash", message=message)
    known = shipped(asked.task).hashes
    if list(asked.docs) != list(range(len(asked.docs))) or not 0 < len(asked.docs) <= len(known):
        message = f"questions of {asked.task} are asked from the first on, and there are {len(known)}; {_UPGRADE}"
        yield Finding(code="task-questions", path=f"{at}.docs", message=message)
    elif len(asked.hashes) != len(asked.docs) or not all(
        len(own) >= 16 and theirs.startswith(own) for own, theirs in zip(asked.hashes, known, strict=False)
    ):
        message = f"they are not the shipped questions of {asked.task}; {_UPGRADE}"
        yield Finding(code="task-questions", path=f"{at}.hashes", message=message)
    elif asked.levels != shipped(asked.task).levels[: len(asked.docs)] or asked.clusters:
        message = f"the questions of {asked.task} have other levels, and each stands by itself; {_UPGRADE}"
        yield Finding(code="task-questions", path=f"{at}.levels", message=message)


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """A task's questions: SHA-256 of each, as lm-eval makes it, its level, and what the best constant answer scores."""

    hashes: tuple[str, ...]
    levels: tuple[int, ...]
    chance: float


@cache
def shipped(task: str) -> Shipped:
    """The questions of a task of ours; a variant asks the same as what it is a variant of."""
    family = (_CARDS[task].variant_of or task).removeprefix("jm_")
    lines = (Path(reference.__file__).parent / "data" / f"{family}.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [question for line in lines if (question := json.loads(line))["split"] == "test"]
    texts = (json.dumps(question, indent=2, ensure_ascii=False) for question in questions)
    most = Counter(question["answer"] for question in questions).most_common(1)[0][1]
    return Shipped(
        hashes=tuple(hashlib.sha256(text.encode()).hexdigest() for text in texts),
        levels=tuple(question["level"] for question in questions),
        chance=most / len(questions),
    )
