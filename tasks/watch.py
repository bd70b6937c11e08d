"""Looking at a model while it answers: how long prompts and further tokens take, and how many tokens there are.

Nothing here changes what a model computes. What would cost time (counting tokens, finding out whose row was whose) is
done after the window.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .rows import Batch, Row, Scoring, generated, scored
from .types import Answer

__all__ = ["PlainWatch", "TorchWatch", "Watch"]


class Watch(Protocol):
    """What looks at one model.

    Attributes:
        batch_size: Requests that the model is given at once.
        may_be_cached: Whether a cache across requests is possible, so that passes should be checked for one. Where it
            is not, the model computes in this process, and the clock of `seconds` is that of its work.
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
        self._listening = _Listening()

    @property
    def saw_cut(self) -> bool:
        """Whether lm-eval said, since `begin`, that it cut prompts to fit the model; of which ones it does not tell."""
        return self._listening.cut

    def begin(self) -> None:
        """Listen to what lm-eval says."""
        self._listening.begin()

    def end(self) -> None:
        """Listen no more."""
        self._listening.end()

    def seconds(self) -> tuple[float, float, float]:
        """Only the time in all."""
        return 0.0, 0.0, time.process_time()

    def answers(self, requests: Sequence[Any], answers: Sequence[Any]) -> list[Answer]:
        """Tokens of prompts and answers, as the tokenizer cuts them."""
        return [self._answer(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def _answer(self, request: Any, answer: Any) -> Answer:
        generated = isinstance(answer, str)
        asked = request.args[:1] if generated else request.args
        return Answer(
            text=answer if generated else "",
            # A chat that goes out as JSON becomes a prompt at the server, out of sight.
            prompt_tokens=self._count("".join(asked)) if all(type(part) is str for part in asked) else None,
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


class _Listening(logging.Handler):
    """Hears whether lm-eval's loggers tell of prompts that were cut, which are silent otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = False
        self._before: tuple[int, bool] | None = None

    def begin(self) -> None:
        self.end()
        self.cut = False
        logger = logging.getLogger("lm_eval")
        self._before = logger.level, logger.propagate
        logger.addHandler(self)
        logger.setLevel(logging.WARNING)
        logger.propagate = False

    def end(self) -> None:
        if self._before is not None:
            logger = logging.getLogger("lm_eval")
            logger.removeHandler(self)
            logger.setLevel(self._before[0])
            logger.propagate = self._before[1]
            self._before = None

    def emit(self, record: logging.LogRecord) -> None:
        self.cut = self.cut or "truncat" in record.getMessage().lower()


class TorchWatch:
    """For lm-eval's ``hf`` models: what wraps the model's forward tells prompts (the first of a batch) from decoding.

    Seconds are the CPU's where the model computes there, all threads together; on an accelerator they are those of
    the wall, and the device is waited for at each reading.
    """

    may_be_cached = False

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        self.batch_size = _batch_size(lm)
        self._prefill_s = self._decode_s = 0.0
        self._told_apart = True
        self._noting = False
        self._forwards: list[float] | None = None
        self._slots, self._first_s = 0, 0.0
        self._pending: deque[tuple[Batch, int]] = deque()
        self._rows: list[Row] = []
        self._scorings: list[Scoring] = []
        self._sync = _synchroniser(lm)
        self._generate, self._call = lm._model_generate, lm._model_call
        self._score = lm._loglikelihood_tokens
        lm._model_generate, lm._model_call = self._watched_generate, self._watched_call
        lm._loglikelihood_tokens = self._watched_score
        lm.cache_hook = self
        # A hook would take torch's slow way to call modules, 10 us a forward.
        model = _innermost(lm.model)
        model.forward = self._watched_forward(model.forward)

    def begin(self) -> None:
        """Forget the warm-up, and note what comes."""
        self._forget()
        self._noting = True

    def end(self) -> None:
        """Note no more."""
        self._noting = False

    def seconds(self) -> tuple[float, float, float]:
        """By the clock of `_now`; the first two 0 where some ``generate`` never called the model's own forward."""
        if not self._told_apart:
            return 0.0, 0.0, self._now()
        return self._prefill_s, self._decode_s, self._now()

    def answers(self, requests: Sequence[Any], answers: Sequence[Any]) -> list[Answer]:
        """Of generated answers by row; of scored ones by the forwards that they were in."""
        if self._rows:
            found = generated(self.lm, self._rows, requests, answers)
        else:
            found = scored(self.lm, self._scorings, requests)
        self._forget()
        # What is computed by ways of its own (pictures, for instance) leaves no notes.
        return found or PlainWatch(self.lm).answers(requests, answers)

    def add_partial(self, kind: str, request: Any, answer: Any) -> None:  # noqa: ARG002
        """lm-eval calls this for each answer in the order of rows, which tells whose row it was."""
        if self._noting and kind == "generate_until" and self._pending:
            self._rows.append(Row(request, *self._pending.popleft()))

    def _forget(self) -> None:
        self._pending.clear()
        self._rows, self._scorings = [], []

    def _watched_generate(self, context: Any, max_length: int, **settings: Any) -> Any:
        self._forwards, self._slots = [], 0
        began_s, began = self._now(), time.monotonic()
        try:
            tokens = self._generate(context=context, max_length=max_length, **settings)
        finally:
            forwards, self._forwards = self._forwards, None
        ended_s = self._now()
        if forwards:
            self._prefill_s += self._first_s - began_s
            self._decode_s += ended_s - self._first_s
        else:
            self._told_apart = False
        if self._noting:
            self._note(context, settings.get("attention_mask"), tokens, began, forwards, max_length)
        return tokens

    def _note(
        self, context: Any, mask: Any, tokens: Any, began: float, forwards: Sequence[float], max_length: int
    ) -> None:
        """Keep what is needed, and neither the prompts nor anything on a device."""
        import torch

        rows, width = context.shape
        new = tokens[:, width:].to("cpu", torch.int32, copy=True)
        batch = Batch(
            began=began,
            ended=time.monotonic(),
            forwards=forwards,
            # The last token that comes out never goes in.
            slots=self._slots or rows * (width + max(new.shape[1] - 1, 0)),
            prompt=torch.full((rows,), width) if mask is None else mask.sum(dim=1).cpu(),
            new=new,
            cap=max_length - width,
        )
        self._pending.extend((batch, at) for at in range(rows))

    def _watched_call(self, inps: Any, *rest: Any, **settings: Any) -> Any:
        began_s, began = self._now(), time.monotonic()
        logits = self._call(inps, *rest, **settings)
        self._prefill_s += self._now() - began_s
        if self._noting and self._scorings:
            self._scorings[-1].forwards.append((*inps.shape, time.monotonic() - began))
        return logits

    def _watched_score(self, requests: Sequence[Any], *rest: Any, **settings: Any) -> Any:
        if self._noting:
            self._scorings.append(Scoring(requests))
        return self._score(requests, *rest, **settings)

    def _watched_forward(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def watched(*args: Any, **settings: Any) -> Any:
            given = forward(*args, **settings)
            if self._forwards is not None:
                self._note_forward(self._forwards, args, settings)
            return given

        return watched

    def _note_forward(self, forwards: list[float], args: Sequence[Any], settings: dict[str, Any]) -> None:
        if not forwards:
            self._first_s = self._now()
        forwards.append(time.monotonic())
        ids = settings.get("input_ids", args[0] if args else None)
        if ids is not None:
            self._slots += ids.numel()
        elif (vectors := settings.get("inputs_embeds")) is not None:
            self._slots += vectors[..., 0].numel()

    def _now(self) -> float:
        if self._sync is None:
            return time.process_time()
        self._sync()
        return time.monotonic()


def _batch_size(lm: Any) -> int:
    size = getattr(lm, "batch_size", None)
    return size if isinstance(size, int) and size > 0 else 1


def _innermost(model: Any) -> Any:
    """The module whose forward ``generate`` calls: an adapter's own is gone past."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _synchroniser(lm: Any) -> Callable[[], None] | None:
    """What waits until the model's devices have done their work; None for the CPU, which has whenever it returns."""
    import torch

    parts = {part.device for part in lm.model.parameters()} if hasattr(lm.model, "parameters") else set()
    devices = {device for device in parts | {torch.device(lm.device)} if device.type not in ("cpu", "meta")}
    waits = [(getattr(torch, device.type), device) for device in devices]

    def wait() -> None:
        for kind, device in waits:
            # Only CUDA's waits for one of several.
            kind.synchronize(device) if device.type == "cuda" else kind.synchronize()

    return wait if waits else None
