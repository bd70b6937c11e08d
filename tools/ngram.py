"""Count an n-gram model: ``python tools/ngram.py --out build/zoo``.

The same characters as for the neural models. Of the contexts seen most often the best next character
is kept; the answer alone is counted, as it is all that the others learn as well.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from corpus import Flags, Ids, corpus

from joulemark.harness.alphabet import encode

LONGEST = 5
KEPT = 20_000
"""Contexts kept of each length; rarer ones are left to the next shorter length."""
_NEWLINE = encode("\n")[0]


def count(ids: Ids, wanted: Flags) -> list[dict[int, Counter[int]]]:
    """How often each character follows each context within a question, for contexts of 0 to `LONGEST` characters."""
    tables: list[dict[int, Counter[int]]] = [defaultdict(Counter) for _ in range(LONGEST + 1)]
    for row, asked in zip(ids.tolist(), wanted.tolist(), strict=True):
        begin = 0
        for at, token in enumerate(row):
            if asked[at]:
                context = 0
                for length in range(min(LONGEST, at - begin) + 1):
                    if length:
                        context += row[at - length] * 64 ** (length - 1)
                    tables[length][context][token] += 1
            if token == _NEWLINE:
                begin = at + 1
    return tables


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
    parser.add_argument("--tokens", type=int, default=30_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    ids, wanted = corpus(options.out, options.seed, options.tokens)
    began = time.process_time()
    params = save(count(ids, wanted), options.out / "ngram.npz")
    card = {"params": params, "tokens": int((ids > 0).sum()), "asked_tokens": options.tokens, "seed": options.seed}
    card["cpu_hours"] = round((time.process_time() - began) / 3600, 3)
    (options.out / "ngram.train.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card))
