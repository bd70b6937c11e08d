"""Questions and outcomes as a submission has them: compact, and bounded."""

from __future__ import annotations

import base64
import re
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = [
    "HEX",
    "MOST_CELLS",
    "MOST_ENTRANTS",
    "MOST_OUTCOMES",
    "Items",
    "Outcome",
    "Part",
    "QuestionSet",
    "holds_bits",
    "to_bits",
    "to_text",
]

MOST_CELLS, MOST_ITEMS, MOST_SETS = 20_000, 100_000, 2_000
MOST_OUTCOMES, MOST_ENTRANTS = 5_000_000, 500
"""In all: 50 models have 0.9 million on 20 tasks of 300 questions, three times; ranking takes 50 bytes for each."""
Score = Annotated[float, Field(ge=-1e9, le=1e9)]
"""A share of 0 to 1, but for metrics that are none, such as ROUGE in percent: such cells have no quality."""
HEX = re.compile(r"[0-9a-f]{1,64}")
Hash = Annotated[str, StringConstraints(pattern=rf"^{HEX.pattern}$")]


class Part(BaseModel):
    """Of a submission; a key that it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class QuestionSet(Part):
    """The questions that cells of one task were asked.

    Of many wrong entries only the first is told (``fail_fast``): each takes more memory than it has in the file.

    Attributes:
        task: The task.
        task_hash: Of all its documents and how they are asked.
        docs: Numbers of the documents, ascending.
        hashes: The first letters of each document's hash; empty where the run has none.
        levels: Difficulty of each; empty where the task has none.
        clusters: What each shares its source with, by number; empty where each is by itself.
    """

    task: str
    task_hash: str | None = None
    docs: tuple[Annotated[int, Field(ge=0)], ...] = Field(fail_fast=True, min_length=1, max_length=MOST_ITEMS)
    hashes: tuple[Hash, ...] = Field(fail_fast=True, default=(), max_length=MOST_ITEMS)
    levels: tuple[Annotated[int, Field(ge=0, le=1000)] | None, ...] = Field(
        fail_fast=True, default=(), max_length=MOST_ITEMS
    )
    clusters: tuple[Annotated[int, Field(ge=0)], ...] = Field(fail_fast=True, default=(), max_length=MOST_ITEMS)


class Outcome(Part):
    """What a cell's answers scored.

    Attributes:
        set: Number of its questions.
        right: Where each answer is right or wrong: a bit for each question, the first one the highest of the first
            byte, in Base64.
        scores: Where answers have part scores: each one; None where one has none.
        same_as: The cell of the same questions whose scores these are.
        cut: Answers that the token cap cut off, as ``right`` is written; empty where it cut off none, None where that
            is not known of each.
    """

    set: Annotated[int, Field(ge=0)]
    right: Annotated[str, StringConstraints(max_length=MOST_ITEMS // 6 + 4)] | None = None
    scores: tuple[Score | None, ...] | None = Field(fail_fast=True, default=None, max_length=MOST_ITEMS)
    same_as: str | None = None
    cut: Annotated[str, StringConstraints(max_length=MOST_ITEMS // 6 + 4)] | None = None


class Items(Part):
    """Questions, and the outcome of each finished cell by its id."""

    sets: tuple[QuestionSet, ...] = Field(max_length=MOST_SETS)
    cells: dict[str, Outcome] = Field(max_length=MOST_CELLS)


def to_text(bits: np.ndarray) -> str:
    """Bits, the first one the highest of the first byte, in Base64."""
    return base64.b64encode(np.packbits(bits).tobytes()).decode("ascii")


def to_bits(text: str, many: int) -> np.ndarray:
    """The so many bits of a text that `holds_bits`, shape (many,), as 0 and 1."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=many)


def holds_bits(text: str, many: int) -> bool:
    """Whether a text is Base64 of just so many bits, filled up to whole bytes."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return len(content) == (many + 7) // 8
