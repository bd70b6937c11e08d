"""What answers questions, and what comes of asking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Answer", "Engine", "Item", "Passes", "RequestMeter", "TaskResult"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One generated answer and what it took.

    Attributes:
        text: What was generated, without the stop string.
        prompt_tokens: Tokens of the prompt.
        generated_tokens: Tokens generated, the stop string's included.
        computed_tokens: Token slots computed for it, padding and waiting for slower rows included.
        latency_s: From the start of its batch to its last token.
        truncated: Whether the token cap ended it.
        layers: Layers computed for the generated tokens, where the model decides on that.
        confidence: How probable the model found its answer, where it tells; 0 to 1.
        escalated: Whether a larger model was asked as well; None where there is no larger one.
    """

    text: str
    prompt_tokens: int
    generated_tokens: int
    computed_tokens: int
    latency_s: float
    truncated: bool
    layers: int | None = None
    confidence: float | None = None
    escalated: bool | None = None


class Engine(Protocol):
    """A model of ours that generates greedily."""

    @property
    def prefill_s(self) -> float:
        """CPU seconds spent on prompts since the engine was made."""

    @property
    def decode_s(self) -> float:
        """CPU seconds spent on all further tokens."""

    def generate(self, prompts: Sequence[str], until: Sequence[str], max_tokens: int) -> list[Answer]:
        """Answer the prompts, in their order."""


class RequestMeter(Protocol):
    """What `lmeval.ask` tells when requests begin and end; the meters are read in these calls."""

    def start(self) -> None:
        """The first request is about to be sent."""

    def stop(self) -> None:
        """The last answer has come back."""


@dataclass(frozen=True, kw_only=True)
class Passes:
    """How often the request set ran inside the windows.

    Attributes:
        loops: Times that every request ran.
        seconds: Length of each loop.
        cached: Whether later loops were so much faster than the first that a cache must have answered.
        prefill_share, decode_share: Parts of the CPU time in the windows, where the model tells them.
    """

    loops: int
    seconds: tuple[float, ...]
    cached: bool
    prefill_share: float | None = None
    decode_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question's outcome; None where the model does not tell."""

    doc_id: int
    doc_hash: str
    score: float
    prompt_tokens: int | None
    generated_tokens: int | None
    computed_tokens: int | None
    latency_s: float | None
    cluster: str
    level: int | None
    truncated: bool | None
    layers: int | None = None
    confidence: float | None = None
    escalated: bool | None = None


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One pass of a task: its score as lm-eval computes it, and every item.

    Attributes:
        version: The task's version.
        hash: Of everything that is asked: configuration and documents.
        metric: The metric's name; the first that the task lists.
        accuracy: Its aggregate; None where that is no finite number.
        chance: What a guesser scores.
        quality: ``100 (accuracy - chance) / (1 - chance)``, or None for a metric outside 0..1 or
            where less is better.
        others: The task's further metrics, by name.
    """

    version: str
    hash: str
    metric: str
    accuracy: float | None
    chance: float
    quality: float | None
    items: tuple[Item, ...]
    passes: Passes
    others: Mapping[str, float] = field(default_factory=dict)
