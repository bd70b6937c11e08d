"""The neural reference models: ONNX graphs with a key-value cache, run by onnxruntime."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulemark.tasks.types import Answer

from .alphabet import CONTEXT, encode
from .answering import Growing

__all__ = ["OnnxEngine"]

Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Logits = npt.NDArray[np.float32]

_NEVER = 2.0
"""A probability that no character reaches: prompts go through all layers."""


class OnnxEngine:
    """Runs a graph made by ``tools/export.py``, greedily.

    Prompts are sorted by length and answered ``batch_size`` at a time, padded on the left. A batch
    goes on until its slowest answer is complete.
    """

    def __init__(
        self, path: Path, *, threads: int, batch_size: int = 1, threshold: float | None = None, confident: bool = False
    ) -> None:
        """Load a graph.

        Args:
            path: The graph.
            threads: Threads that compute.
            batch_size: Prompts answered at once.
            threshold: For a graph with early exits: how probable a character must be for the layers after it to
                be skipped.
            confident: Compute how probable each answer was while answering, for an engine that decides by it. Without,
                `note` keeps what it takes and `confidences` computes it afterwards.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.batch_size, self.threshold, self.confident = batch_size, threshold, confident
        self.prefill_s = self.decode_s = 0.0
        caches = [entry for entry in self.session.get_inputs() if entry.name.startswith("past_")]
        self._noting, self._noted = False, _Noted()
        self._empty_cache = {entry.name: (entry.shape[1], entry.shape[3]) for entry in caches}
        self._cache_inputs = [entry.name for entry in caches]
        self._outputs = ["logits", *(name.replace("past", "present") for name in self._cache_inputs)]
        if threshold is not None:
            self._outputs.append("layers")

    def generate(self, prompts: Sequence[str], until: Sequence[str], max_tokens: int) -> list[Answer]:
        """See `Engine.generate`."""
        order = sorted(range(len(prompts)), key=lambda at: (len(prompts[at]), at))
        noted, self._noting = _Noted(order) if self._noting else None, False
        answers: dict[int, Answer] = {}
        for begin in range(0, len(order), self.batch_size):
            chosen = order[begin : begin + self.batch_size]
            batch = self._batch([prompts[at] for at in chosen], until, max_tokens, noted)
            answers |= zip(chosen, batch, strict=True)
        if noted is not None:
            self._noted = noted
        return [answers[at] for at in range(len(prompts))]

    def note(self) -> None:
        """See `Noting.note`."""
        self._noting = True

    def confidences(self) -> list[float]:
        """See `Noting.confidences`: the product of the characters' probabilities."""
        noted, self._noted = self._noted, _Noted()
        return noted.confidences()

    def _batch(
        self, prompts: Sequence[str], until: Sequence[str], max_tokens: int, noted: _Noted | None
    ) -> list[Answer]:
        began, cpu = time.monotonic(), time.process_time()
        rows = [encode(prompt, CONTEXT - max_tokens) for prompt in prompts]
        state = _Batch(rows, self._empty_cache)
        growing = [Growing(stops=until) for _ in rows]
        logits, layers = self._step(state, growing, _NEVER)
        prefilled = time.process_time()
        self.prefill_s += prefilled - cpu
        log_p = np.zeros(len(rows))
        steps: list[Logits] = []
        if noted is not None:
            noted.batches.append((growing, steps))
        while True:
            if noted is not None:
                # No more than that, since it is in the window; see `_Noted`.
                steps.append(logits)
            if self.confident:
                log_p += _log_probability(logits, [row.done for row in growing])
            now = time.monotonic() - began
            for row, token in zip(growing, logits.argmax(axis=-1), strict=True):
                row.take(int(token), now, layers)
            if all(row.done for row in growing) or len(growing[0].seen) >= max_tokens:
                break
            state.advance([row.seen[-1] for row in growing])
            logits, layers = self._step(state, growing, self.threshold)
        self.decode_s += time.process_time() - prefilled
        return [
            row.answer(
                len(prompt),
                state.width,
                layers=row.layers if self.threshold is not None else None,
                confidence=float(np.exp(sure)) if self.confident else None,
            )
            for row, prompt, sure in zip(growing, rows, log_p, strict=True)
        ]

    def _step(self, state: _Batch, growing: Sequence[Growing], threshold: float | None) -> tuple[Logits, int]:
        """Logits of the next characters, and how many layers these took where the graph can tell."""
        feed = state.feed
        if self.threshold is not None:
            feed["threshold"] = np.array([threshold], dtype=np.float32)
            feed["finished"] = np.array([row.done for row in growing])
        logits, *rest = self.session.run(self._outputs, feed)
        layers = int(rest.pop()[0]) if self.threshold is not None else 0
        state.cache = dict(zip(self._cache_inputs, rest, strict=True))
        return np.asarray(logits), layers


@dataclass
class _Noted:
    """What one pass leaves to compute its answers' probabilities from: logits of each step, shape (rows, characters).

    ``order`` tells which prompt each row is of, batch after batch.
    """

    order: Sequence[int] = ()
    batches: list[tuple[Sequence[Growing], list[Logits]]] = field(default_factory=list)

    def confidences(self) -> list[float]:
        """By prompt."""
        found: list[float] = []
        for growing, steps in self.batches:
            log_p = np.zeros(len(growing))
            for number, logits in enumerate(steps):
                log_p += _log_probability(logits, [number >= row.tokens for row in growing])
            found += np.exp(log_p).tolist()
        return [sure for _, sure in sorted(zip(self.order, found, strict=True))]


def _log_probability(logits: Logits, done: Sequence[bool]) -> npt.NDArray[np.float64]:
    """Log of the largest softmax of each row; 0 for rows that are done."""
    peak = logits.max(axis=-1, keepdims=True)
    return np.where(done, 0.0, -np.log(np.exp(logits - peak).sum(axis=-1)))


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
