"""Count an n-gram model: ``python tools/ngram.py --out harness/zoo``.

The same questions as for the neural models. Of the contexts seen most often the best next character
is kept; the answer alone is counted, as it is all that the others learn as well.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from joulemark.harness.reference import encode
from joulemark.tasks.reference import FAMILIES, LEVELS, draw

LONGEST = 5
KEPT = 20_000
"""Contexts kept of each length; rarer ones are left to the next shorter length."""


def count(questions: int, seed: int) -> tuple[list[dict[int, Counter[int]]], int]:
    rng = random.Random(f"ngram:{seed}")
    tables: list[dict[int, Counter[int]]] = [defaultdict(Counter) for _ in range(LONGEST + 1)]
    tokens = 0
    for _ in range(questions):
        family = FAMILIES[rng.randrange(len(FAMILIES))]
        question = draw(family, rng, LEVELS[rng.randrange(len(LEVELS))], "train")
        ids = encode(question.prompt + question.answer + "\n")
        tokens += len(ids)
        for at in range(len(question.prompt), len(ids)):
            context = 0
            for length in range(min(LONGEST, at) + 1):
                if length:
                    context += ids[at - length] * 64 ** (length - 1)
                tables[length][context][ids[at]] += 1
    return tables, tokens


def save(tables: list[dict[int, Counter[int]]], path: Path) -> int:
    arrays = {}
    for length, table in enumerate(tables):
        frequent = sorted(table, key=lambda context: (-table[context].total(), context))[:KEPT]
        contexts = sorted(frequent)
        arrays[f"contexts_{length}"] = np.array(contexts, dtype=np.int64)
        arrays[f"nexts_{length}"] = np.array(
            [min(table[c], key=lambda token, c=c: (-table[c][token], token)) for c in contexts], dtype=np.uint8
        )
    np.savez_compressed(path, **arrays)
    return sum(len(values) for name, values in arrays.items() if name.startswith("contexts"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=750_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    began = time.process_time()
    tables, tokens = count(options.questions, options.seed)
    params = save(tables, options.out / "ngram.npz")
    card = {"params": params, "tokens": tokens, "seed": options.seed, "questions": options.questions}
    card["cpu_hours"] = round((time.process_time() - began) / 3600, 3)
    (options.out / "ngram.train.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card))
