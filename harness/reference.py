"""The reference models' engines: ONNX graphs with a key-value cache, and an n-gram table.

They generate greedily, a batch at a time, and tell what each answer took. Both read prompts
character by character; characters they do not know become spaces.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulemark.tasks.types import Answer, Engine

__all__ = ["ALPHABET", "NgramEngine", "OnnxEngine", "load_engine"]

ALPHABET = "\n 0123456789abcdefghijklmnopqrstuvwxyz+-=,:?()[]{}.<>/*#&%|!;'"
"""Characters 1, 2, 3...; 0 is padding."""

CONTEXT = 96
"""The longest text the graphs have positions for, prompt and answer together."""

_IDS = {character: number for number, character in enumerate(ALPHABET, start=1)}
_SPACE = _IDS[" "]

Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def load_engine(zoo: Path, name: str, batch_size: int, threads: int) -> Engine:
    """The engine of a reference model, from its card in ``zoo``."""
    card = json.loads((zoo / f"{name}.json").read_text(encoding="utf-8"))
    if card["kind"] == "ngram":
        return NgramEngine(zoo / card["file"])
    return OnnxEngine(zoo / card["file"], batch_size=batch_size, threads=threads)


def encode(text: str, room: int = CONTEXT) -> list[int]:
    """Character ids of the last ``room`` characters."""
    return [_IDS.get(character, _SPACE) for character in text[-room:]]


def decode(ids: Sequence[int]) -> str:
    """The text of character ids."""
    return "".join(ALPHABET[number - 1] for number in ids if number > 0)


class OnnxEngine:
    """Runs a graph made by ``tools/export.py``.

    Prompts are sorted by length and answered ``batch_size`` at a time, padded on the left. A batch
    goes on until its slowest answer is complete.
    """

    def __init__(self, path: Path, batch_size: int, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.batch_size = batch_size
        self.prefill_s = self.decode_s = 0.0
        caches = [entry for entry in self.session.get_inputs() if entry.name.startswith("past_")]
        self._empty_cache = {entry.name: (entry.shape[1], entry.shape[3]) for entry in caches}
        outputs = [entry.name for entry in self.session.get_outputs()]
        self._cache_inputs = [name.replace("present", "past") for name in outputs[1:]]

    def generate(self, prompts: Sequence[str], until: Sequence[str], max_tokens: int) -> list[Answer]:
        """See `Engine.generate`."""
        order = sorted(range(len(prompts)), key=lambda at: (len(prompts[at]), at))
        answers: list[Answer | None] = [None] * len(prompts)
        for begin in range(0, len(order), self.batch_size):
            chosen = order[begin : begin + self.batch_size]
            for at, answer in zip(chosen, self._batch([prompts[at] for at in chosen], until, max_tokens), strict=True):
                answers[at] = answer
        return [answer for answer in answers if answer is not None]

    def _batch(self, prompts: Sequence[str], until: Sequence[str], max_tokens: int) -> list[Answer]:
        began, cpu = time.monotonic(), time.process_time()
        rows = [encode(prompt, CONTEXT - max_tokens) for prompt in prompts]
        state = _Batch(rows, self._empty_cache)
        logits = self._step(state)
        prefilled = time.process_time()
        self.prefill_s += prefilled - cpu
        progress = [_Row(stops=until) for _ in rows]
        while True:
            now = time.monotonic() - began
            for row, token in zip(progress, logits.argmax(axis=-1), strict=True):
                row.take(int(token), now)
            if all(row.done for row in progress) or len(progress[0].seen) >= max_tokens:
                break
            state.advance([row.seen[-1] for row in progress])
            logits = self._step(state)
        self.decode_s += time.process_time() - prefilled
        slots = state.width
        return [row.answer(len(prompt), slots) for row, prompt in zip(progress, rows, strict=True)]

    def _step(self, state: _Batch) -> npt.NDArray[np.float32]:
        logits, *caches = self.session.run(None, state.feed)
        state.cache = dict(zip(self._cache_inputs, caches, strict=True))
        return np.asarray(logits)


class _Batch:
    """Left-padded rows on their way through a graph."""

    def __init__(self, rows: Sequence[Sequence[int]], empty_cache: dict[str, tuple[int, int]]) -> None:
        count, width = len(rows), max(map(len, rows))
        self.ids: Ids = np.zeros((count, width), dtype=np.int64)
        self.shown: Flags = np.zeros((count, width), dtype=np.bool_)
        for number, row in enumerate(rows):
            self.ids[number, width - len(row) :] = row
            self.shown[number, width - len(row) :] = True
        self.positions: Ids = np.maximum(np.cumsum(self.shown, axis=1) - 1, 0)
        # A padded place may look at itself, so that no row of the softmax is empty.
        causal = np.tril(np.ones((width, width), dtype=np.bool_))
        self.mask: Flags = ((causal & self.shown[:, None, :]) | np.eye(width, dtype=np.bool_))[:, None]
        self.cache = {
            name: np.zeros((count, heads, 0, width_of_head), dtype=np.float32)
            for name, (heads, width_of_head) in empty_cache.items()
        }
        self.width = width

    @property
    def feed(self) -> dict[str, Any]:
        return {"ids": self.ids, "positions": self.positions, "mask": self.mask, **self.cache}

    def advance(self, tokens: Sequence[int]) -> None:
        self.ids = np.array(tokens, dtype=np.int64)[:, None]
        self.positions = self.positions[:, -1:] + 1
        self.shown = np.concatenate([self.shown, np.ones((len(tokens), 1), dtype=np.bool_)], axis=1)
        self.mask = self.shown[:, None, None, :]
        self.width += 1


@dataclass
class _Row:
    """One answer as it grows."""

    stops: Sequence[str]
    seen: list[int] = field(default_factory=list)
    text: str = ""
    done: bool = False
    tokens: int = 0
    latency_s: float = 0.0

    def take(self, token: int, now: float) -> None:
        self.seen.append(token)
        if self.done:
            return
        self.text += decode([token])
        self.tokens += 1
        self.latency_s = now
        self.done = token == 0 or any(stop in self.text for stop in self.stops)

    def answer(self, prompt_tokens: int, slots: int) -> Answer:
        text = self.text
        for stop in self.stops:
            text = text.split(stop)[0]
        return Answer(
            text=text,
            prompt_tokens=prompt_tokens,
            generated_tokens=self.tokens,
            computed_tokens=slots,
            latency_s=self.latency_s,
            truncated=not self.done,
        )


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

    def generate(self, prompts: Sequence[str], until: Sequence[str], max_tokens: int) -> list[Answer]:
        """See `Engine.generate`."""
        cpu = time.process_time()
        answers = [self._answer(prompt, until, max_tokens) for prompt in prompts]
        self.decode_s += time.process_time() - cpu
        return answers

    def _answer(self, prompt: str, until: Sequence[str], max_tokens: int) -> Answer:
        began = time.monotonic()
        ids = encode(prompt)
        row = _Row(stops=until)
        while not row.done and row.tokens < max_tokens:
            token = self._next(ids)
            ids.append(token)
            row.take(token, time.monotonic() - began)
        return row.answer(len(prompt), len(ids))

    def _next(self, ids: Sequence[int]) -> int:
        for length in range(min(len(self.known) - 1, len(ids)), -1, -1):
            context = 0
            for number in ids[len(ids) - length :]:
                context = context * 64 + number
            if context in self.known[length]:
                return self.known[length][context]
        return 0
