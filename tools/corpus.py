"""What the reference models learn from: rows of whole questions, the same for all models of a seed."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import numpy.typing as npt

from joulemark.harness.alphabet import CONTEXT, encode
from joulemark.tasks.reference import FAMILIES, LEVELS, Split, draw, questions_digest

ONE_FAMILY = 0.25
"""Share of the rows that hold one family's questions alone, as a prompt with examples does."""

Ids = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


def rows(rng: random.Random, split: Split, count: int) -> tuple[Ids, Flags]:
    """Draw ``count`` rows of whole questions, packed: ids and answer mask, each ``(count, CONTEXT)``."""
    ids = np.zeros((count, CONTEXT), dtype=np.uint8)
    wanted = np.zeros((count, CONTEXT), dtype=np.bool_)
    for row in range(count):
        families = [rng.choice(FAMILIES)] if rng.random() < ONE_FAMILY else FAMILIES
        used = 0
        while True:
            question = draw(rng.choice(families), rng, rng.choice(LEVELS), split)
            text = encode(question.prompt + question.answer + "\n")
            if used + len(text) > CONTEXT:
                break
            ids[row, used : used + len(text)] = text
            wanted[row, used + len(question.prompt) : used + len(text)] = True
            used += len(text)
    return ids, wanted


def corpus_path(folder: Path, seed: int, tokens: int) -> Path:
    """Where the rows are kept; other questions of the test have rows of their own."""
    return folder / f"corpus-{seed}-{tokens}-{questions_digest()}.npz"


def corpus(folder: Path, seed: int, tokens: int) -> tuple[Ids, Flags]:
    """The training rows of a seed, at least ``tokens`` characters together; kept in ``folder`` once drawn."""
    path = corpus_path(folder, seed, tokens)
    if not path.exists():
        rng, parts, seen = random.Random(f"train:{seed}"), [], 0
        while seen < tokens:
            parts.append(rows(rng, "train", 1024))
            seen += int((parts[-1][0] > 0).sum())
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.npz")
        np.savez(unfinished, ids=np.concatenate([p[0] for p in parts]), wanted=np.concatenate([p[1] for p in parts]))
        unfinished.replace(path)
    with np.load(path) as kept:
        return kept["ids"], kept["wanted"]
