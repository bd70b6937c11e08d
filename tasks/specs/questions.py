"""Reads the questions that are shipped with the package; lm-eval calls it by the name in ``_reference``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets

from joulemark.tasks.reference import ABSENT


def load(family: str, **_: Any) -> dict[str, datasets.Dataset]:
    """The test questions of a family, and a few of its validation questions to show as examples."""
    folder = Path(__file__).parents[1] / "data"
    lines = (folder / f"{family}.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    return {
        split: datasets.Dataset.from_list([q for q in questions if q["split"] == split])
        for split in ("test", "fewshot")
    }


def score_abstention(doc: dict[str, str], results: list[str]) -> dict[str, float]:
    """Whether the answer is right; where the key is absent, whether one was made up; else, whether it was refused.

    Each of the two is a mean over the questions that it can happen on.
    """
    answer = results[0]
    right = {"exact_match": float(answer == doc["answer"])}
    if doc["answer"] == ABSENT:
        return right | {"made_up": float(answer != ABSENT)}
    return right | {"over_refusal": float(answer == ABSENT)}
