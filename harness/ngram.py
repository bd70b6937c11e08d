"""The n-gram reference model: a table, and nothing to compute."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from joulemark.tasks.types import Answer

from .alphabet import encode
from .answering import Growing

__all__ = ["NgramEngine"]


class NgramEngine:
    """The most frequent next character after the longest known context, made by ``tools/ngram.py``.

    A context of n characters is one number, its ids in base 64; ``contexts_n`` holds those that are
    known, sorted, and ``nexts_n`` the character after each.
    """

    def __init__(self, path: Path) -> None:
        with np.load(path) as table:
            longest = max(int(name.removeprefix("contexts_")) for name in table.files if name.startswith("contexts_"))
            self.known: list[dict[int, int]] = [
                dict(zip(table[f"contexts_{n}"].tolist(), table[f"nexts_{n}"].tolist(), strict=True))
                for n in range(longest + 1)
            ]
        self.prefill_s = self.decode_s = 0.0
        self.batch_size = 1

    def generate(self, prompts: Sequence[str], until: Sequence[str], max_tokens: int) -> list[Answer]:
        """See `Engine.generate`."""
        cpu = time.process_time()
        answers = [self._answer(prompt, until, max_tokens) for prompt in prompts]
        self.decode_s += time.process_time() - cpu
        return answers

    def _answer(self, prompt: str, until: Sequence[str], max_tokens: int) -> Answer:
        began = time.monotonic()
        ids = encode(prompt)
        known = len(ids)
        row = Growing(stops=until)
        while not row.done and row.tokens < max_tokens:
            token = self._next(ids)
            ids.append(token)
            row.take(token, time.monotonic() - began)
        return row.answer(known, len(ids))

    def _next(self, ids: Sequence[int]) -> int:
        for length in range(min(len(self.known) - 1, len(ids)), -1, -1):
            context = 0
            for number in ids[len(ids) - length :]:
                context = context * 64 + number
            if context in self.known[length]:
                return self.known[length][context]
        return 0
