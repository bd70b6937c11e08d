"""How one request travels to a server, from lm-eval's payload to its answer in one piece, and what it took."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from .streams import NoAnswer, NoServer, StreamedAnswer, choices_of

if TYPE_CHECKING:
    from .servers import ServerWatch

__all__ = ["Attempt", "Row", "Travelling", "Way"]

Way = dict[str, Any]
"""What is added to a request to have it answered as a stream."""

_REFUSED = frozenset({400, 405, 415, 422, 501})
"""Statuses by which a server may say that it does not know what was added."""


@dataclass(frozen=True, kw_only=True)
class Row:
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


class Attempt:
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
        try:
            return requests.post(
                lm.base_url,
                json=payload,
                headers=lm.header,
                verify=lm.verify_certificate,
                timeout=lm.timeout,
                stream=True,
            )
        except requests.ConnectionError as problem:
            raise NoServer(lm.base_url) from problem

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

    def rows(self, outputs: Any) -> list[Row]:
        """What each of the prompts took; they share the request's time alike."""
        prompts = list(self._messages)
        if len(found := choices_of(outputs)) < len(prompts):
            raise ValueError(
                f"the server answered {len(found)} of {len(prompts)} prompts; --batch-size 1 asks one by one"
            )
        choices = {choice.get("index", 0): choice for choice in found}
        usage = outputs.get("usage") if isinstance(outputs, dict) else None
        share_s = (self._span.share_s + self._watch.spent_s(self._messages)) / len(prompts)
        rows = []
        for index, prompt in enumerate(prompts):
            choice = choices.get(index, {})
            own = choice.get("usage") or (usage if len(prompts) == 1 else None) or {}
            self._watch.count(own)
            finish = choice.get("finish_reason")
            rows.append(
                Row(
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


class Travelling:
    """lm-eval's session as it sees it; what it posts goes out as a stream."""

    def __init__(self, session: Any, watch: ServerWatch, messages: Any, generate: bool) -> None:
        self._session, self._watch, self._messages, self._generate = session, watch, messages, generate
        self.rows: list[Row] = []

    def post(self, url: str, *, json: dict[str, Any], headers: Any) -> _Posted:
        """In place of the session's own; it is sent as the block around it begins."""

        """In place of the session's own; sent once the block around it begins."""

        def send(way: Way) -> Awaitable[Any]:
            # llama.cpp hangs up after some streams without saying so beforehand, which the next request on that
            # connection would find out. lm-eval makes a new one for each request, too, where it sends one by one.
            once = {"Connection": "close"} if way else {}
            sent: Awaitable[Any] = self._session.post(
                url, json=self._watch.dressed(json, way), headers={**headers, **once}
            )
            return sent

        return _Posted(self, Attempt(self._watch, self._messages, self._generate), url, send)


class _Posted:
    """A posted request: an asynchronous ``with`` block around the response, which it stands for as well."""

    def __init__(self, session: Travelling, attempt: Attempt, url: str, send: Callable[[Way], Awaitable[Any]]) -> None:
        self._session, self._attempt, self._url, self._send = session, attempt, url, send
        self._outputs: Any = None
        self._text = ""

    async def __aenter__(self) -> Self:
        self._attempt.__enter__()
        try:
            for way in self._attempt.ways:
                self._way, self._response = way, await self._sent(way)
                if not _is_refusal(self._response.status, way):
                    break
                self._response.release()
        except BaseException as problem:
            self._attempt.__exit__(type(problem))
            raise
        return self

    async def _sent(self, way: Way) -> Any:
        import aiohttp

        try:
            return await self._send(way)
        except aiohttp.ClientConnectorError as problem:
            raise NoServer(self._url) from problem

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
