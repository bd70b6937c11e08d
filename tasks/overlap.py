"""Seconds shared out among requests that overlap: while ``n`` are under way, each gets ``1 / n`` of the time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

__all__ = ["OverlapClock", "Span"]

Kind = Literal["streamed", "prompt", "whole"]
"""What a request tells: when its first token came; that it is all prompt, nothing generated; or only when it ended."""


@dataclass(eq=False)
class Span:
    """One request, from when it was sent to its last token; times are monotonic seconds.

    Attributes:
        share_s: Seconds that are its own; those of all requests add up to the time in which any was under way.
        before_s: Those of them before its first token.
    """

    kind: Kind
    began_s: float
    first_s: float | None = None
    ended_s: float = 0.0
    share_s: float = 0.0
    before_s: float = 0.0

    @property
    def latency_s(self) -> float:
        """From when it was sent to its last token."""
        return self.ended_s - self.began_s

    @property
    def ttft_s(self) -> float | None:
        """From when it was sent to its first token, where that was told."""
        return None if self.first_s is None else self.first_s - self.began_s


class OverlapClock:
    """Shares the time out; for requests of one thread.

    Attributes:
        prefill_s: Seconds on prompts, of requests that told their first token or had nothing but a prompt.
        decode_s: Seconds on further tokens.
    """

    def __init__(self) -> None:
        self.prefill_s = self.decode_s = 0.0
        self._under_way: list[Span] = []
        self._shared_until_s = 0.0

    def begin(self, kind: Kind) -> Span:
        """A request is sent."""
        now_s = self._share_out()
        span = Span(kind, now_s)
        self._under_way.append(span)
        return span

    def first(self, span: Span) -> None:
        """Its first token has come; further calls change nothing."""
        if span.first_s is None:
            span.first_s = self._share_out()

    def end(self, span: Span) -> None:
        """It is answered, or has failed."""
        span.ended_s = self._share_out()
        self._under_way.remove(span)
        if span.kind == "prompt":
            self.prefill_s += span.share_s
        elif span.first_s is not None:
            self.prefill_s += span.before_s
            self.decode_s += span.share_s - span.before_s

    def _share_out(self) -> float:
        """Give the time since the last event to those that were under way; returns the time."""
        now_s = time.monotonic()
        if self._under_way:
            each_s = (now_s - self._shared_until_s) / len(self._under_way)
            for span in self._under_way:
                span.share_s += each_s
                if span.first_s is None:
                    span.before_s += each_s
        self._shared_until_s = now_s
        return now_s
