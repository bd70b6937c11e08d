"""Reads the questions that are shipped with the package; lm-eval calls it by the name in ``_reference``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets


def load(family: str, **_: Any) -> dict[str, datasets.Dataset]:
    """The test questions of a family, and a few of its validation questions to show as examples."""
    folder = Path(__file__).parents[1] / "data"
    lines = (folder / f"{family}.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    return {
        split: datasets.Dataset.from_list([q for q in questions if q["split"] == split])
        for split in ("test", "fewshot")
    }
