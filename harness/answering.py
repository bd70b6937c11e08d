"""One answer as it grows, character by character."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from joulemark.tasks.types import Answer

from .alphabet import decode

__all__ = ["Growing"]


@dataclass
class Growing:
    """An answer that is being generated; once ``done``, further characters are not its own."""

    stops: Sequence[str]
    seen: list[int] = field(default_factory=list)
    text: str = ""
    done: bool = False
    tokens: int = 0
    layers: int = 0
    latency_s: float = 0.0
    ttft_s: float = 0.0

    def take(self, token: int, now: float, layers: int = 0) -> None:
        """The next character, ``now`` seconds after the start, for which ``layers`` were computed."""
        self.seen.append(token)
        if self.done:
            return
        self.text += decode([token])
        self.ttft_s = self.ttft_s if self.tokens else now
        self.tokens += 1
        self.layers += layers
        self.latency_s = now
        self.done = token == 0 or any(stop in self.text for stop in self.stops)

    def answer(
        self, prompt_tokens: int, slots: int, *, layers: int | None = None, confidence: float | None = None
    ) -> Answer:
        """The answer as far as it got."""
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
            ttft_s=self.ttft_s,
            layers=layers,
            confidence=confidence,
        )
