"""Models behind OpenAI-compatible servers: the requests that lm-eval makes, sent as streams, and what each took.

lm-eval builds the requests and reads the answers as ever; only how these travel is changed, so that the moment of the
first token is seen. The text is the same.
"""

from __future__ import annotations

import copy
import functools
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from .attempts import Attempt, Row, Travelling, Way
from .overlap import OverlapClock, Span
from .scores import check_scores
from .types import Answer
from .watch import PlainWatch

__all__ = ["ServerWatch"]

_WAYS: tuple[Way, ...] = ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}, {})
"""What is added to a request to have it answered as a stream, from the best to the plainest."""

_UNCACHED: dict[str, dict[str, Any]] = {"llama.cpp": {"cache_prompt": False}}
"""What keeps a server from answering a prompt from its memory of an earlier one, by the name that it goes by."""

_CACHED_SHARE = 0.05
"""More of the prompts' tokens than this from a cache is told; less is what all prompts begin with."""


_UNKNOWN = Row(
    sent=None, prompt_tokens=None, generated_tokens=None, truncated=None, share_s=None, latency_s=None, ttft_s=None
)


class ServerWatch:
    """For lm-eval's clients of OpenAI-compatible servers, ``local-completions`` and its like.

    Requests that generate are sent as streams. A server that refuses is asked plainly from then on, and tells no time
    to first token.
    """

    may_be_cached = True

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        self.batch_size = lm._batch_size
        self.clock = OverlapClock()
        self._way = 0 if str(lm.base_url).rstrip("/").endswith("completions") else len(_WAYS) - 1
        self._uncached: dict[str, Any] = {}
        self._noting = self._scores = False
        self._rows: dict[Hashable, deque[Row]] = defaultdict(deque)
        self._scored: list[Hashable] = []
        self._cut: list[bool] = []
        self._spent: dict[int, float] = {}
        self._pending: list[Row] = []
        self._settings: Any = None
        self._tokens = [0, 0]
        self._parse, self._call_async = lm.parse_generations, lm.amodel_call
        self._score = lm._loglikelihood_tokens
        lm.model_call, lm.amodel_call = self._call, self._watched_async
        lm.parse_generations, lm._loglikelihood_tokens = self._watched_parse, self._watched_score
        for name in ("loglikelihood", "loglikelihood_rolling"):
            setattr(lm, name, self._checked(getattr(lm, name)))

    @property
    def saw_cache(self) -> bool:
        """Whether the server told, since `begin`, that it had a part of the prompts in a cache."""
        prompt, cached = self._tokens
        return cached > _CACHED_SHARE * prompt

    def begin(self) -> None:
        """Forget the warm-up, and note what comes."""
        self._rows.clear()
        self._scored, self._cut, self._tokens, self._spent = [], [], [0, 0], {}
        self._noting = True

    def end(self) -> None:
        """Note no more."""
        self._noting = False

    def seconds(self) -> tuple[float, float, float]:
        """Until first tokens, after them, and of the wall."""
        return self.clock.prefill_s, self.clock.decode_s, time.monotonic()

    def answers(self, requests: Sequence[Any], answers: Sequence[Any]) -> list[Answer]:
        """By what was asked, since lm-eval asks in an order of its own."""
        if answers and isinstance(answers[0], str):
            rows = [self._row(_asked(*request.args[:2])) for request in requests]
            cut = [self._was_cut(request.args[0], row.sent) for request, row in zip(requests, rows, strict=True)]
        elif len(self._scored) == len(requests):
            rows, cut = [self._row(key) for key in self._scored], [*self._cut]
        else:
            # A rolling likelihood is cut into windows of its own.
            return PlainWatch(self.lm).answers(requests, answers)
        return [self._answer(*each) for each in zip(rows, answers, cut, strict=True)]

    def _row(self, key: Hashable) -> Row:
        rows = self._rows[key]
        return rows.popleft() if rows else _UNKNOWN

    def _was_cut(self, prompt: Any, sent: int | None) -> bool | None:
        """Whether lm-eval sent fewer tokens than the prompt has; None where it sends text, which the server may cut."""
        if sent is None:
            return None
        tokens = self.lm.tok_encode(prompt, add_special_tokens=self.lm.add_bos_token)
        return len(tokens) > sent

    def _answer(self, row: Row, answer: Any, cut: bool | None) -> Answer:
        generated = isinstance(answer, str)
        return Answer(
            text=answer if generated else "",
            prompt_tokens=row.prompt_tokens,
            generated_tokens=row.generated_tokens if generated else 0,
            computed_tokens=None,
            latency_s=row.latency_s,
            truncated=row.truncated if generated else None,
            cut=cut,
            ttft_s=row.ttft_s,
            share_s=row.share_s,
        )

    # One request after the other.

    def _call(self, messages: Any, *, generate: bool = True, gen_kwargs: Any = None, **rest: Any) -> Any:
        """In place of lm-eval's own, which posts the same payload."""
        lm = self.lm
        # Making the payload takes keys out of what it is given.
        settings = copy.deepcopy(gen_kwargs)
        message = lm.create_message(messages)
        payload = lm._create_payload(
            message, generate=generate, gen_kwargs=settings, seed=lm._seed, eos=lm.eos_string, **rest
        )
        with Attempt(self, messages, generate) as attempt:
            outputs = attempt.post(payload)
        self._settings = gen_kwargs
        if not generate:
            self._note([tuple(tokens) for tokens in messages], attempt.rows(outputs))
        else:
            self._pending = attempt.rows(outputs)
        return outputs

    def _watched_parse(self, outputs: Any, **rest: Any) -> Any:
        """lm-eval reads an answer right after it has come, and then knows what was asked."""
        if "contexts" in rest:
            self._note([_asked(context, self._settings) for context in rest["contexts"]], self._pending)
            self._pending = []
        return self._parse(outputs=outputs, **rest)

    # Several at once.

    async def _watched_async(
        self, session: Any, sem: Any, messages: Any, *, generate: bool = True, cache_keys: Any = None, **rest: Any
    ) -> Any:
        travelling = Travelling(session, self, messages, generate)
        answers = await self._call_async(travelling, sem, messages, generate=generate, cache_keys=cache_keys, **rest)
        keys = [_asked(*key) for key in cache_keys] if generate else [tuple(tokens) for tokens in messages]
        self._note(keys, travelling.rows)
        return answers

    # Scoring.

    def _watched_score(self, requests: Sequence[Any], *rest: Any, **settings: Any) -> Any:
        if self._noting:
            whole = [context + continuation for _, context, continuation in requests]
            self._scored += [tuple(tokens[-self.lm.max_length :]) for tokens in whole]
            self._cut += [len(tokens) > self.lm.max_length for tokens in whole]
        return self._score(requests, *rest, **settings)

    def _checked(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def checked(*args: Any, **settings: Any) -> Any:
            if not self._scores:
                check_scores(self.lm)
                self._scores = True
            return call(*args, **settings)

        return checked

    # What both ways of asking share.

    def ways(self, generate: bool) -> Sequence[Way]:
        """What may be added to a request, from what the server is known to take to the plainest."""
        return _WAYS[self._way :] if generate else _WAYS[-1:]

    def dressed(self, payload: dict[str, Any], way: Way) -> dict[str, Any]:
        """A request with what is added; what it says itself stands over that."""
        return self._uncached | ({} if "stream" in payload else way) | payload

    def settle(self, way: Way, headers: Mapping[str, str]) -> None:
        """The server has taken a request that generates; what it refused before is not tried again."""
        self._uncached = _UNCACHED.get(headers.get("Server", ""), {})
        if _WAYS.index(way) > self._way:
            self._way = _WAYS.index(way)
            what = "streams without usage only" if way else "no streams, so that there is no time to first token"
            logging.getLogger("joulemark").warning("%s takes %s.", self.lm.base_url, what)

    def spend(self, messages: Any, span: Span) -> None:
        """Keep the time of an attempt that failed for the one that does not."""
        self._spent[id(messages)] = self._spent.get(id(messages), 0.0) + span.share_s

    def spent_s(self, messages: Any) -> float:
        """Seconds of attempts that failed."""
        return self._spent.pop(id(messages), 0.0)

    def count(self, usage: Mapping[str, Any] | None) -> None:
        """Add up how much of the prompts was cached."""
        if usage:
            self._tokens[0] += usage.get("prompt_tokens") or 0
            self._tokens[1] += (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0

    def _note(self, keys: Sequence[Hashable], rows: Sequence[Row]) -> None:
        if self._noting:
            for key, row in zip(keys, rows, strict=False):
                self._rows[key].append(row)


def _asked(context: Any, settings: Any) -> Hashable:
    return f"{settings}\0{context}"
