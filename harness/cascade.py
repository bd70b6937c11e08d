"""Small before large: a small model answers, and a larger one only where the small one is unsure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from joulemark.tasks.types import Answer, Engine

__all__ = ["CascadeEngine"]


class CascadeEngine:
    """Two engines as one; what both took is counted for every question that went to both.

    An answer's confidence is the product of its characters' probabilities. That of the small model is kept
    where it is at least ``threshold``. The small one answers all prompts that it is given first, so that the large
    one has full batches; a latency is the sum of both models', without the wait in between.
    """

    def __init__(self, small: Engine, large: Engine, threshold: float) -> None:
        self.small, self.large, self.threshold = small, large, threshold

    @property
    def batch_size(self) -> int:
        """See `Engine`; of both."""
        return self.large.batch_size

    @batch_size.setter
    def batch_size(self, prompts: int) -> None:
        self.small.batch_size = self.large.batch_size = prompts

    @property
    def prefill_s(self) -> float:
        """See `Engine`."""
        return self.small.prefill_s + self.large.prefill_s

    @property
    def decode_s(self) -> float:
        """See `Engine`."""
        return self.small.decode_s + self.large.decode_s

    def generate(self, prompts: Sequence[str], until: Sequence[str], max_tokens: int) -> list[Answer]:
        """See `Engine.generate`."""
        answers = [replace(a, escalated=False) for a in self.small.generate(prompts, until, max_tokens)]
        unsure = [at for at, answer in enumerate(answers) if _confidence(answer) < self.threshold]
        second = self.large.generate([prompts[at] for at in unsure], until, max_tokens)
        for at, answer in zip(unsure, second, strict=True):
            first = answers[at]
            answers[at] = replace(
                answer,
                generated_tokens=_both(first.generated_tokens, answer.generated_tokens),
                computed_tokens=_both(first.computed_tokens, answer.computed_tokens),
                latency_s=_both(first.latency_s, answer.latency_s),
                ttft_s=_both(first.latency_s, answer.ttft_s),
                confidence=first.confidence,
                escalated=True,
            )
        return answers


def _both(first: Any, second: Any) -> Any:
    """What both took; None where one of them does not tell."""
    return None if first is None or second is None else first + second


def _confidence(answer: Answer) -> float:
    if answer.confidence is None:
        raise ValueError("the small model of a cascade must tell how sure it is")
    return answer.confidence
