"""Submissions that tell of one task in different ways: each telling has views of its own.

Of tasks that are not shipped with Joulemark nobody here knows the questions: what a guesser scores, which questions
belong together and whether a score is a share of right answers is the sender's word. In one view, one sender's word
would change the figures of all others.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from joulemark.harness.record import Cell
from joulemark.harness.store import canonical_json
from joulemark.reports.entrants import Entrant
from joulemark.reports.samples import question_of
from joulemark.reports.tried import Tried

from .audittasks import is_ours
from .outcomes import QuestionSet
from .submission import Submission

__all__ = ["Tellings", "keep_apart", "tellings_of"]

Tellings = Mapping[tuple[str, str], str]
"""What a sender says of a task's questions, as a digest, by the task and how it was asked (`Sample.question`)."""
_DIGITS = 8


def tellings_of(sent: Submission) -> Tellings:
    """Of each task of a submission but those that are shipped, which `audit` compares with what they are."""
    sets = [_digest(_known(each)) for each in sent.items.sets]
    cells: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in sent.cells:
        if cell.status == "ok" and not is_ours(cell.task):
            cells[cell.task, question_of([cell])].append(cell)
    return {key: _digest(_told(own, sets, sent)) for key, own in cells.items()}


def keep_apart(found: Sequence[tuple[Tried, Tellings, str]]) -> list[Tried]:
    """The runs; who tells otherwise than most senders do, or than the first of as many, asks another question.

    Args:
        found: Runs, in the order in which they were accepted, what is told of their tasks, and by whom.
    """
    senders: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for _, tellings, sender in found:
        for key, digest in tellings.items():
            senders[key][digest].add(sender)
    # Of those that as many tell, `max` takes the first.
    usual = {key: max(told, key=lambda each: len(told[each])) for key, told in senders.items()}
    return [_set_apart(tried, {k: d for k, d in told.items() if usual[k] != d}) for tried, told, _ in found]


def _set_apart(tried: Tried, other: Tellings) -> Tried:
    return replace(tried, entrants=[_renamed(each, other) for each in tried.entrants]) if other else tried


def _renamed(entrant: Entrant, other: Tellings) -> Entrant:
    def own(task: str, question: str) -> str:
        digest = other.get((task, question))
        if digest is None:
            return question
        version, asked = json.loads(question)
        return canonical_json([f"{version}, told as {digest}", asked])

    return replace(
        entrant,
        questions={task: own(task, question) for task, question in entrant.questions.items()},
        samples={task: replace(each, question=own(task, each.question)) for task, each in entrant.samples.items()},
    )


def _known(asked: QuestionSet) -> list[Any]:
    return [asked.docs, asked.hashes, asked.levels, asked.clusters]


def _told(cells: Sequence[Cell], sets: Sequence[str], sent: Submission) -> list[Any]:
    asked = {sets[sent.items.cells[cell.cell_id].set] for cell in cells}
    chances = {json.dumps(cell.chance) for cell in cells if cell.quality is not None}
    return [sorted(asked), sorted(chances), all(cell.accuracy is not None for cell in cells)]


def _digest(content: Any) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:_DIGITS]
