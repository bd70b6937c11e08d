"""Stands between lm-eval and a model: warms up, starts the meter, repeats the requests, stops the meter."""

from __future__ import annotations

import inspect
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from joulemark.meters.errors import UsageError

from .types import Answer, Passes, RequestMeter
from .watch import Watch

__all__ = ["MeteredLM"]

MOST_WARM_UP_REQUESTS = 32
SETTLED = 0.1
"""The coefficient of variation of the last `_LAST` passes at which a model counts as warm."""

_LAST, _LEAST_PASSES, _MOST_PASSES, _MOST_S = 3, 2, 20, 10.0
_FASTER = 0.9
"""Where passes never settle: whether the quickest of their second half took less than this share of the first half's,
so that the model was still getting warm. Other work only ever adds time, so that the quickest say most."""

_COLD = 1.2
"""A window that took so many times what it would have at the speed of its end was begun cold."""

_TORCH_SEED = 1234
"""What lm-eval's own command seeds torch with, so that answers that are drawn are the same here."""

_BEGINNINGS = ".,;:!?-+*/"
CACHE_SUSPECTED = 0.5
"""Later passes that take less than this share of the first were answered from a cache."""


class MeteredLM(LM):  # type: ignore[misc]
    """A model as lm-eval sees it, with the meter running while requests are answered and not otherwise.

    Attributes:
        told: The answers of the first pass, each with its request.
    """

    def __init__(self, inner: LM, watch: Watch, meter: RequestMeter, window_s: float) -> None:
        super().__init__()
        self.inner, self.watch, self.meter, self.window_s = inner, watch, meter, window_s
        self.told: list[tuple[Instance, Answer]] = []
        self._loops: int | None = None
        self._seconds: list[float] = []
        self._cached = self._cut = False
        self._shares = (0.0, 0.0, 0.0)
        self._warm_ups = 0
        self._warm = True

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> Any:  # noqa: ARG002
        """Generate, metered."""
        return self._measure(self.inner.generate_until, requests)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> Any:  # noqa: ARG002
        """Score continuations, metered."""
        return self._measure(self.inner.loglikelihood, requests)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> Any:  # noqa: ARG002
        """Score whole texts, metered."""
        return self._measure(self.inner.loglikelihood_rolling, requests)

    # LM defines these itself, so they would never reach __getattr__.
    rank = property(lambda self: self.inner.rank)
    world_size = property(lambda self: self.inner.world_size)
    device = property(lambda self: self.inner.device)
    tokenizer_name = property(lambda self: self.inner.tokenizer_name)

    def chat_template(self, chat_template: bool | str = False) -> Any:
        """The model's own."""
        return self.inner.chat_template(chat_template)

    def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> Any:
        """The model's own."""
        return self.inner.apply_chat_template(chat_history, add_generation_prompt=add_generation_prompt)

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Handed on."""
        self.inner.set_cache_hook(cache_hook)

    def all_gather(self, tensor: Any) -> Any:
        """Handed on."""
        return self.inner.all_gather(tensor)

    def gather_object(self, obj: Any, dst: int = 0) -> Any:
        """Handed on."""
        return self.inner.gather_object(obj, dst)

    def barrier(self) -> None:
        """Handed on."""
        self.inner.barrier()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["inner"], name)

    def passes(self) -> Passes:
        """How it went, all windows together."""
        prefill, decode, total = self._shares
        told = prefill + decode > 0 and total > 0
        return Passes(
            loops=self._loops or 0,
            seconds=tuple(self._seconds),
            cached=self.watch.may_be_cached and (self._cached or getattr(self.watch, "saw_cache", False)),
            cut=self._cut,
            warm_ups=self._warm_ups,
            warm=self._warm,
            prefill_share=prefill / total if told else None,
            decode_share=decode / total if told else None,
        )

    def _measure(self, call: Callable[..., Any], requests: list[Instance]) -> Any:
        quiet = {"disable_tqdm": True} if "disable_tqdm" in inspect.signature(call).parameters else {}
        self._warm_up(lambda few: call(few, **quiet), requests)
        _seed_torch()
        self.watch.begin()
        self.meter.start("requests")
        # Looked at after the meter, which may wait for a step of its own.
        before = self.watch.seconds()
        # Whatever is done in here besides calling is counted as the model's: so next to nothing is.
        opened = began = time.monotonic()
        own_began = self._clock()
        answers = call(requests, **quiet)
        ended, own_ended = time.monotonic(), self._clock()
        self.watch.end()
        seconds, own = [ended - began], [own_ended - own_began]
        last = answers
        # The first call of a task decides how often all of its calls run.
        while len(seconds) < self._loops if self._loops else ended - opened < self.window_s:
            began, own_began = ended, own_ended
            # Kept no longer than to the next one: a long window has thousands of passes.
            last = call(requests, **quiet)
            ended, own_ended = time.monotonic(), self._clock()
            seconds.append(ended - began)
            own.append(own_ended - own_began)
        if ended - opened < self.window_s:
            raise UsageError(
                f"it asks in more than one way, and one of them takes only {ended - opened:.2g} s: "
                "ask its tasks one by one."
            )
        after = self.watch.seconds()
        self.meter.stop()
        for found in (answers, last):
            _refuse_no_answers(found, requests)
        self._loops = len(seconds)
        self._seconds += seconds
        self._cached = self._cached or (_looks_cached(seconds) and self._confirms_cache(call, requests, seconds, quiet))
        self._cut = self._cut or getattr(self.watch, "saw_cut", False)
        self._shares = tuple(s + b - a for s, a, b in zip(self._shares, before, after, strict=True))  # type: ignore[assignment]
        self._warm = self._warm and not (self._sees_work and _began_cold(own))
        told = self.watch.answers(requests, answers)
        self.told += zip(requests, told, strict=True) if told else ()
        return answers

    def _warm_up(self, call: Callable[[list[Instance]], Any], requests: Sequence[Instance]) -> None:
        """Answer a batch again and again until that takes as long each time; never the very requests to come."""
        self.meter.start("warm_up")
        seconds: list[float] = []
        began = time.monotonic()
        for few in _batches(requests, self.watch.batch_size):
            before = self._clock()
            call(few)
            seconds.append(self._clock() - before)
            is_late = time.monotonic() - began > _MOST_S and len(seconds) >= _LEAST_PASSES
            if _settled(seconds) or len(seconds) == _MOST_PASSES or is_late:
                break
        self.meter.stop()
        self._warm_ups += len(seconds)
        self._warm = self._warm and (_settled(seconds) or not _getting_faster(seconds))

    def _confirms_cache(
        self, call: Callable[..., Any], requests: Sequence[Instance], seconds: Sequence[float], quiet: dict[str, bool]
    ) -> bool:
        """Whether requests that no cache knows take long again; else the first pass was slow for some other reason."""
        if not self.watch.may_be_cached:
            return False
        fresh = []
        for beginning in _BEGINNINGS[-2:]:
            began = time.monotonic()
            call([_altered(request, beginning) for request in requests], **quiet)
            fresh.append(time.monotonic() - began)
        return _later(seconds) < CACHE_SUSPECTED * min(fresh)

    @property
    def _sees_work(self) -> bool:
        return not self.watch.may_be_cached

    def _clock(self) -> float:
        """Seconds of the model's own work, where it is seen: other programs scatter it less than those of the wall."""
        return self.watch.seconds()[2] if self._sees_work else time.monotonic()


def _refuse_no_answers(answers: Any, requests: Sequence[Instance]) -> None:
    """One answer to each request, and none of them missing: energy of a pass that gave fewer is no answers' energy.

    Raises:
        ValueError: It is not so.
    """
    given = len(answers) if isinstance(answers, list | tuple) else 0
    if given != len(requests):
        raise ValueError(f"the model gave {given} answers to {len(requests)} requests")
    kind = str if requests[0].request_type == "generate_until" else object
    for answer in answers:
        if answer is None or not isinstance(answer, kind):
            raise ValueError(f"the model gave a {type(answer).__name__} for an answer")


def _batches(requests: Sequence[Instance], batch_size: int) -> Iterator[list[Instance]]:
    """The first batch of requests, each time with another beginning, so that no cache is warmed by it."""
    few = requests[: min(batch_size, MOST_WARM_UP_REQUESTS)]
    for beginning in itertools.cycle(_BEGINNINGS):
        yield [_altered(request, beginning) for request in few]


def _altered(request: Instance, beginning: str) -> Instance:
    """A request of the same size that shares no beginning with the asked one."""
    prompt, *rest = request.arguments
    if type(prompt) is str:
        return replace(request, arguments=(beginning + prompt, *rest))
    if hasattr(prompt, "prompt"):
        chat = json.loads(prompt.prompt)
        if chat and isinstance(chat[0].get("content"), str):
            chat[0]["content"] = beginning + chat[0]["content"]
        return replace(request, arguments=(type(prompt)(json.dumps(chat, ensure_ascii=False)), *rest))
    return request


def _settled(seconds: Sequence[float]) -> bool:
    last = seconds[-_LAST:]
    return len(last) == _LAST and statistics.stdev(last) <= SETTLED * statistics.mean(last)


def _getting_faster(seconds: Sequence[float]) -> bool:
    half = len(seconds) // 2
    return min(seconds[half:]) < _FASTER * min(seconds[:half])


def _began_cold(seconds: Sequence[float]) -> bool:
    last = seconds[-max(1, len(seconds) // 3) :]
    return len(seconds) > 1 and statistics.mean(seconds) > _COLD * statistics.median(last)


def _seed_torch() -> None:
    if torch := sys.modules.get("torch"):
        torch.manual_seed(_TORCH_SEED)


def _looks_cached(seconds: Sequence[float]) -> bool:
    return len(seconds) > 1 and _later(seconds) < CACHE_SUSPECTED * seconds[0]


def _later(seconds: Sequence[float]) -> float:
    """Mean seconds of a pass after the first."""
    return statistics.mean(seconds[1:])
