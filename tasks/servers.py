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
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from .overlap import OverlapClock, Span
from .scores import check_scores
from .streams import NoAnswer, StreamedAnswer, choices_of
from .types import Answer
from .watch import PlainWatch

__all__ = ["ServerWatch"]

Way = dict[str, Any]
_WAYS: tuple[Way, ...] = ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}, {})
"""What is added to a request to have it answered as a stream, from the best to the plainest."""

_REFUSED = frozenset({400, 405, 415, 422, 501})
"""Statuses by which a server may say that it does not know what was added."""

_UNCACHED: dict[str, dict[str, Any]] = {"llama.cpp": {"cache_prompt": False}}
"""What keeps a server from answering a prompt from its memory of an earlier one, by the name that it goes by."""

_CACHED_SHARE = 0.05
"""More of the prompts' tokens than this from a cache is told; less is what all prompts begin with."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    """What one prompt of a request took; None where the server does not tell.

    ``sent`` are its tokens as they were sent; None where it went out as text.
    """

    sent: int | None
    prompt_tokens: int | None
    generated_tokens: int | None
    truncated: bool | None
    share_s: float | None
    latency_s: float | None
    ttft_s: float | None


_UNKNOWN = _Row(
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
        self._rows: dict[Hashable, deque[_Row]] = defaultdict(deque)
        self._scored: list[Hashable] = []
        self._cut: list[bool] = []
        self._spent: dict[int, float] = {}
        self._pending: list[_Row] = []
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

    def _row(self, key: Hashable) -> _Row:
        rows = self._rows[key]
        return rows.popleft() if rows else _UNKNOWN

    def _was_cut(self, prompt: Any, sent: int | None) -> bool | None:
        """Whether lm-eval sent fewer tokens than the prompt has; None where it sends text, which the server may cut."""
        if sent is None:
            return None
        tokens = self.lm.tok_encode(prompt, add_special_tokens=self.lm.add_bos_token)
        return len(tokens) > sent

    def _answer(self, row: _Row, answer: Any, cut: bool | None) -> Answer:
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
        with _Attempt(self, messages, generate) as attempt:
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
        travelling = _Session(session, self, messages, generate)
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

    def _note(self, keys: Sequence[Hashable], rows: Sequence[_Row]) -> None:
        if self._noting:
            for key, row in zip(keys, rows, strict=False):
                self._rows[key].append(row)


class _Attempt:
    """One sending of a request, timed; a ``with`` block that fails keeps its time for the next attempt."""

    def __init__(self, watch: ServerWatch, messages: Any, generate: bool) -> None:
        self._watch, self._messages, self._generate = watch, messages, generate
        self.streamed: StreamedAnswer | None = None

    def __enter__(self) -> Self:
        self._span = self._watch.clock.begin("streamed" if self._generate else "prompt")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._watch.clock.end(self._span)
        if kind is not None:
            self._watch.spend(self._messages, self._span)

    @property
    def ways(self) -> Sequence[Way]:
        """How it may be sent."""
        return self._watch.ways(self._generate)

    def post(self, payload: dict[str, Any]) -> Any:
        """Send it, and wait for the answer."""
        for way in self.ways:
            response = self._send(self._watch.dressed(payload, way))
            if not _is_refusal(response.status_code, way):
                break
            response.close()
        with response:
            if not response.ok:
                raise NoAnswer(response.status_code, response.text)
            self.accepted(way, response.headers)
            if not _is_stream(response.headers):
                return response.json()
            for data in response.iter_content(chunk_size=None):
                self.feed(data)
        return self.whole()

    def _send(self, payload: dict[str, Any]) -> Any:
        import requests

        lm = self._watch.lm
        return requests.post(
            lm.base_url,
            json=payload,
            headers=lm.header,
            verify=lm.verify_certificate,
            timeout=lm.timeout,
            stream=True,
        )

    def accepted(self, way: Way, headers: Mapping[str, str]) -> None:
        """The server is answering."""
        if self._generate:
            self._watch.settle(way, headers)

    def feed(self, data: bytes) -> None:
        """Take a piece of a stream."""
        self.streamed = self.streamed or StreamedAnswer()
        self.streamed.feed(data)
        if self.streamed.begun:
            self._watch.clock.first(self._span)

    def whole(self) -> Any:
        """The answer in one piece."""
        return (self.streamed or StreamedAnswer()).whole()

    def rows(self, outputs: Any) -> list[_Row]:
        """What each of the prompts took; they share the request's time alike."""
        prompts = list(self._messages)
        choices = {choice.get("index", 0): choice for choice in choices_of(outputs)}
        usage = outputs.get("usage") if isinstance(outputs, dict) else None
        share_s = (self._span.share_s + self._watch.spent_s(self._messages)) / len(prompts)
        rows = []
        for index, prompt in enumerate(prompts):
            choice = choices.get(index, {})
            own = choice.get("usage") or (usage if len(prompts) == 1 else None) or {}
            self._watch.count(own)
            finish = choice.get("finish_reason")
            rows.append(
                _Row(
                    sent=_length(prompt),
                    prompt_tokens=own.get("prompt_tokens", _length(prompt)),
                    generated_tokens=own.get("completion_tokens"),
                    truncated=None if finish is None else finish == "length",
                    share_s=share_s,
                    latency_s=self._span.latency_s,
                    ttft_s=self._span.ttft_s,
                )
            )
        return rows


class _Session:
    """lm-eval's session as it sees it; what it posts goes out as a stream."""

    def __init__(self, session: Any, watch: ServerWatch, messages: Any, generate: bool) -> None:
        self._session, self._watch, self._messages, self._generate = session, watch, messages, generate
        self.rows: list[_Row] = []

    def post(self, url: str, *, json: dict[str, Any], headers: Any) -> _Posted:
        def send(way: Way) -> Awaitable[Any]:
            # llama.cpp hangs up after some streams without saying so beforehand, which the next request on that
            # connection would find out. lm-eval makes a new one for each request, too, where it sends one by one.
            once = {"Connection": "close"} if way else {}
            sent: Awaitable[Any] = self._session.post(
                url, json=self._watch.dressed(json, way), headers={**headers, **once}
            )
            return sent

        return _Posted(self, _Attempt(self._watch, self._messages, self._generate), send)


class _Posted:
    """A posted request: an asynchronous ``with`` block around the response, which it stands for as well."""

    def __init__(self, session: _Session, attempt: _Attempt, send: Callable[[Way], Awaitable[Any]]) -> None:
        self._session, self._attempt, self._send = session, attempt, send
        self._outputs: Any = None
        self._text = ""

    async def __aenter__(self) -> Self:
        self._attempt.__enter__()
        try:
            for way in self._attempt.ways:
                self._way, self._response = way, await self._send(way)
                if not _is_refusal(self._response.status, way):
                    break
                self._response.release()
        except BaseException as problem:
            self._attempt.__exit__(type(problem))
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._attempt.__exit__(kind)
        if kind is None:
            self._session.rows = self._attempt.rows(self._outputs)
            self._response.release()
        else:
            # What is left of a broken answer is of no use to a later request.
            self._response.close()

    async def text(self) -> str:
        """What a server says that has no answer."""
        self._text = str(await self._response.text())
        return self._text

    def raise_for_status(self) -> None:
        """As lm-eval asks for, with the server's own words."""
        if not self._response.ok:
            raise NoAnswer(self._response.status, self._text)

    async def json(self) -> Any:
        """The answer in one piece."""
        self._attempt.accepted(self._way, self._response.headers)
        if not _is_stream(self._response.headers):
            self._outputs = await self._response.json()
        else:
            async for data in self._response.content.iter_any():
                self._attempt.feed(data)
            self._outputs = self._attempt.whole()
        return self._outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_response"], name)


def _is_refusal(status: int, way: Way) -> bool:
    """Whether a server may have refused what was added to a request, so that a plainer one is worth a try."""
    return bool(way) and status in _REFUSED


def _is_stream(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Type", "").startswith("text/event-stream")


def _length(prompt: Any) -> int | None:
    """Of a prompt that was sent as tokens."""
    return len(prompt) if isinstance(prompt, list) and all(isinstance(token, int) for token in prompt) else None


def _asked(context: Any, settings: Any) -> Hashable:
    return f"{settings}\0{context}"
