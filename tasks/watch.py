"""Looking at a model while it answers: how long prompts and further tokens take, and how many tokens there are.

Nothing here changes what a model computes. What would cost time (decoding to count tokens) is done after the window.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .types import Answer

__all__ = ["PlainWatch", "TorchWatch", "Watch"]


class Watch(Protocol):
    """What looks at one model.

    Attributes:
        batch_size: Requests that the model is given at once.
        may_be_cached: Whether a cache across requests is possible, so that passes should be checked for one.
    """

    batch_size: int
    may_be_cached: bool

    def begin(self) -> None:
        """The first pass is about to begin: from now on answers are noted."""

    def end(self) -> None:
        """The first pass is over: further ones repeat it."""

    def seconds(self) -> tuple[float, float, float]:
        """Seconds spent on prompts, on further tokens, and in all, since some moment; the CPU's, or a GPU's.

        The first two are 0 where the model does not tell them apart.
        """

    def answers(self, requests: Sequence[Any], answers: Sequence[Any]) -> list[Answer]:
        """What the first pass took, an answer a request; empty where nothing is known.

        Args:
            requests: lm-eval's instances, as they were asked.
            answers: What the model gave lm-eval: text, or log-likelihoods.
        """


class PlainWatch:
    """For a model of which nothing is known from inside: tokens are counted by its tokenizer, if it shows that."""

    may_be_cached = True

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        self.batch_size = _batch_size(lm)

    def begin(self) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""

    def seconds(self) -> tuple[float, float, float]:
        """Only the time in all."""
        return 0.0, 0.0, time.process_time()

    def answers(self, requests: Sequence[Any], answers: Sequence[Any]) -> list[Answer]:
        """Tokens of prompts and answers, as the tokenizer cuts them."""
        return [self._answer(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def _answer(self, request: Any, answer: Any) -> Answer:
        generated = isinstance(answer, str)
        return Answer(
            text=answer if generated else "",
            prompt_tokens=self._count("".join(map(str, request.args[:1] if generated else request.args))),
            generated_tokens=self._count(answer) if generated else 0,
            computed_tokens=None,
            latency_s=None,
            truncated=None,
        )

    def _count(self, text: str) -> int | None:
        with contextlib.suppress(Exception):
            tokens = self.lm.tok_encode(text)
            return len(tokens) if all(isinstance(token, int) for token in tokens) else None
        return None


@dataclass
class _Batch:
    """One call of ``generate``: rows of tokens, and when it began, had its first token, and ended."""

    began: float
    first: float
    ended: float
    prompt: Any
    """Tokens of each row's prompt, padding left out; shape (rows,)."""
    width: int
    """Tokens of the longest prompt, to which all are padded."""
    tokens: Any
    """Prompt and answer of each row, padded; shape (rows, width + new)."""
    cap: int
    """New tokens that were allowed."""


class TorchWatch:
    """For lm-eval's ``hf`` models: hooks on the model tell prompts (the first forward of a batch) from decoding.

    Seconds are the CPU's where the model computes there, all threads together; on an accelerator they are those of
    the wall, and the device is waited for at each reading.
    """

    may_be_cached = False

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        self.batch_size = _batch_size(lm)
        self._prefill_s = self._decode_s = 0.0
        self._first: tuple[float, float] | None = None
        self._noting = False
        self._batches: list[tuple[_Batch, int]] = []
        self._rows: dict[str, deque[tuple[_Batch, int]]] = defaultdict(deque)
        self._pending: deque[tuple[_Batch, int]] = deque()
        self._lengths: list[int] = []
        self._slots = 0
        self._sync = _synchroniser(str(lm.device))
        self._generate, self._call = lm._model_generate, lm._model_call
        self._score = lm._loglikelihood_tokens
        lm._model_generate, lm._model_call = self._watched_generate, self._watched_call
        lm._loglikelihood_tokens = self._watched_score
        lm.cache_hook = self
        lm.model.register_forward_hook(self._after_forward)

    def begin(self) -> None:
        """Forget the warm-up, and note what comes."""
        self._rows.clear()
        self._pending.clear()
        self._lengths, self._slots = [], 0
        self._noting = True

    def end(self) -> None:
        """Note no more."""
        self._noting = False

    def seconds(self) -> tuple[float, float, float]:
        """By the clock of `_now`."""
        return self._prefill_s, self._decode_s, self._now()

    def answers(self, requests: Sequence[Any], answers: Sequence[Any]) -> list[Answer]:
        """Of generated answers by row; of scored ones by the tokens that went in, which share the slots computed."""
        if answers and isinstance(answers[0], str):
            return [self._generated(request, text) for request, text in zip(requests, answers, strict=True)]
        if len(self._lengths) != len(requests):
            # A rolling likelihood is cut into windows of its own.
            return PlainWatch(self.lm).answers(requests, answers)
        slots = _shared(self._slots, self._lengths)
        return [
            Answer(
                text="",
                prompt_tokens=length,
                generated_tokens=0,
                computed_tokens=computed,
                latency_s=None,
                truncated=None,
            )
            for length, computed in zip(self._lengths, slots, strict=True)
        ]

    def add_partial(self, kind: str, request: Any, answer: Any) -> None:  # noqa: ARG002
        """lm-eval calls this for each answer in the order of rows, which tells whose row it was."""
        if self._noting and kind == "generate_until" and self._pending:
            self._rows[_key(*request)].append(self._pending.popleft())

    def _generated(self, request: Any, text: str) -> Answer:
        rows = self._rows[_key(*request.args)]
        if not rows:
            return Answer(
                text=text,
                prompt_tokens=None,
                generated_tokens=None,
                computed_tokens=None,
                latency_s=None,
                truncated=None,
            )
        batch, at = rows.popleft()
        new = batch.tokens[at][batch.width :].tolist()
        own, stopped = self._own_tokens(new, request.args[1])
        return Answer(
            text=text,
            prompt_tokens=int(batch.prompt[at]),
            generated_tokens=own,
            computed_tokens=int(batch.tokens.shape[1]),
            latency_s=batch.ended - batch.began,
            truncated=not stopped and own >= batch.cap,
            ttft_s=batch.first - batch.began,
        )

    def _own_tokens(self, new: list[int], settings: dict[str, Any]) -> tuple[int, bool]:
        """How many of a row's new tokens are its own, and whether it stopped by itself.

        A row that has stopped goes on until its whole batch has: with padding after its end token, with whatever
        comes next after a stop string.
        """
        eos = self.lm.eot_token_id
        if eos in new:
            new = new[: new.index(eos) + 1]
        until = settings.get("until") or []
        stops = [until] if isinstance(until, str) else list(until)
        stopped = bool(new) and new[-1] == eos
        low, high = 1, len(new)
        if not stops or not any(stop in self._text(new) for stop in stops):
            return len(new), stopped
        # The fewest tokens whose text holds a stop string.
        while low < high:
            middle = (low + high) // 2
            if any(stop in self._text(new[:middle]) for stop in stops):
                high = middle
            else:
                low = middle + 1
        return low, True

    def _text(self, tokens: list[int]) -> str:
        return str(self.lm.tok_decode(tokens))

    def _watched_generate(self, context: Any, max_length: int, **settings: Any) -> Any:
        mask = settings.get("attention_mask")
        began, began_s = time.monotonic(), self._now()
        self._first = None
        tokens = self._generate(context=context, max_length=max_length, **settings)
        ended_s = self._now()
        first, first_s = self._first or (time.monotonic(), ended_s)
        self._prefill_s += first_s - began_s
        self._decode_s += ended_s - first_s
        if self._noting:
            batch = _Batch(
                began=began,
                first=first,
                ended=time.monotonic(),
                prompt=context.new_full(context.shape[:1], context.shape[1]) if mask is None else mask.sum(dim=1),
                width=context.shape[1],
                tokens=tokens,
                cap=max_length - context.shape[1],
            )
            self._pending.extend((batch, at) for at in range(context.shape[0]))
        return tokens

    def _watched_call(self, inps: Any, *rest: Any, **settings: Any) -> Any:
        began_s = self._now()
        logits = self._call(inps, *rest, **settings)
        self._prefill_s += self._now() - began_s
        if self._noting:
            self._slots += inps.numel()
        return logits

    def _watched_score(self, requests: Sequence[Any], *rest: Any, **settings: Any) -> Any:
        if self._noting:
            # The last token of a continuation is scored and never goes in.
            self._lengths += [len(context) + len(continuation) - 1 for _, context, continuation in requests]
        return self._score(requests, *rest, **settings)

    def _after_forward(self, *_: Any) -> None:
        if self._first is None:
            now_s = self._now()
            self._first = time.monotonic(), now_s

    def _now(self) -> float:
        if self._sync is None:
            return time.process_time()
        self._sync()
        return time.monotonic()


def _batch_size(lm: Any) -> int:
    size = getattr(lm, "batch_size", None)
    return size if isinstance(size, int) and size > 0 else 1


def _key(context: str, settings: Any) -> str:
    return f"{settings}\0{context}"


def _synchroniser(device: str) -> Callable[[], None] | None:
    """What waits until a device has done its work; None for the CPU, which has whenever it returns."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.synchronize
    if device.startswith("mps"):
        return torch.mps.synchronize
    return None


def _shared(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers that add up to a total, as near to their weights' shares as can be."""
    whole, done, given, shares = sum(weights), 0, 0, []
    for weight in weights:
        done += weight
        upto = round(total * done / whole) if whole else 0
        shares.append(upto - given)
        given = upto
    return shares
