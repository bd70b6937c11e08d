"""What answers questions, and what comes of asking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

__all__ = ["Answer", "Asking", "Engine", "Item", "Noting", "Part", "Passes", "RequestMeter", "TaskResult"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one request and what it took; None where the model does not tell.

    Attributes:
        text: What was generated, without the stop string; empty where a continuation was scored.
        prompt_tokens: Tokens of the prompt; of a scored continuation too, which goes in as a prompt does.
        generated_tokens: Tokens generated, the stop string's included.
        computed_tokens: Token slots computed for it, padding and waiting for slower rows included.
        latency_s: From the start of its batch to its last token.
        truncated: Whether the token cap ended it.
        cut: Whether a part of its prompt was taken away, since the model's context has no room for all of it.
        ttft_s: From the start of its batch to its first token.
        share_s: Seconds of the window that count as its own where requests overlap: those in which `n` were under way
            count as a share of `1 / n` for each.
        layers: Layers computed for the generated tokens, where the model decides on that.
        confidence: How probable the model found its answer, where it tells; 0 to 1. Of generated text the product of
            its tokens' probabilities.
        escalated: Whether a larger model was asked as well; None where there is no larger one.
    """

    text: str
    prompt_tokens: int | None
    generated_tokens: int | None
    computed_tokens: int | None
    latency_s: float | None
    truncated: bool | None
    cut: bool | None = None
    ttft_s: float | None = None
    share_s: float | None = None
    layers: int | None = None
    confidence: float | None = None
    escalated: bool | None = None


class Engine(Protocol):
    """A model of ours that generates greedily, ``batch_size`` prompts at once."""

    batch_size: int

    @property
    def prefill_s(self) -> float:
        """CPU seconds spent on prompts since the engine was made."""

    @property
    def decode_s(self) -> float:
        """CPU seconds spent on all further tokens."""

    def generate(self, prompts: Sequence[str], until: Sequence[str], max_tokens: int) -> list[Answer]:
        """Answer the prompts, in their order."""


@runtime_checkable
class Noting(Protocol):
    """An engine that can tell afterwards how sure it was, so that the computing of that is in no window."""

    def note(self) -> None:
        """Keep of the next `Engine.generate`, and of that alone, what `confidences` needs."""

    def confidences(self) -> list[float]:
        """How probable each answer of the noted pass was, in the order of its prompts; 0 to 1."""


Part = Literal["warm_up", "requests"]
"""What a window is around: requests that are asked to warm up, or those that count."""


class RequestMeter(Protocol):
    """What `lmeval.ask` tells when requests begin and end; the meters are read in these calls."""

    def start(self, part: Part) -> None:
        """The first request is about to be sent."""

    def stop(self) -> None:
        """The last answer has come back."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What is asked besides the questions themselves; all as lm-eval has it.

    Attributes:
        limit: Only the first so many questions of each task.
        num_fewshot: Examples before each question; None leaves it to the task.
        gen_kwargs: Settings of generation, ``k=v,k=v``, over the task's own.
        max_gen_toks: Tokens that an answer may have at most; None leaves it to the task.
        apply_chat_template: Ask in the model's chat format.
        system_instruction: What the chat, or the prompt, begins with.
        allow_unsafe_code: Ask tasks that run what a model writes.
    """

    limit: int | None = None
    num_fewshot: int | None = None
    gen_kwargs: str | None = None
    max_gen_toks: int | None = None
    apply_chat_template: bool = False
    system_instruction: str | None = None
    allow_unsafe_code: bool = False


@dataclass(frozen=True, kw_only=True)
class Passes:
    """How often the request set ran inside the windows.

    Attributes:
        loops: Times that every request ran.
        seconds: Length of each loop.
        cached: Whether later loops were so much faster than the first that a cache must have answered.
        cut: Whether prompts were cut to fit the model, where only that is known and not which.
        warm_ups: Batches that were answered before the windows.
        warm: Whether its speed had settled by then, as far as that shows.
        prefill_share, decode_share: Parts of the time in the windows (the CPU's, or a GPU's), where the model
            tells them.
    """

    loops: int
    seconds: tuple[float, ...]
    cached: bool
    cut: bool = False
    warm_ups: int = 0
    warm: bool = True
    prefill_share: float | None = None
    decode_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question's outcome; None where the model does not tell.

    ``confidence`` is the `Answer`'s where one was generated, and of multiple choice what `sureness.of_choice` makes of
    the choices' log-likelihoods.
    """

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
    cut: bool | None = None
    ttft_s: float | None = None
    share_s: float | None = None
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
        accuracy: Its aggregate, where that is a share: in 0..1, and more is better. Else it stands first in ``others``.
        chance: What a guesser scores; None where there is no accuracy.
        quality: ``100 (accuracy - chance) / (1 - chance)``; None where there is no accuracy, or none of each item.
        others: The task's further metrics, by name.
        samples: What was asked and answered, a line of JSON an item; None where nobody wants to keep it.
    """

    version: str
    hash: str
    metric: str
    accuracy: float | None
    chance: float | None
    quality: float | None
    items: tuple[Item, ...]
    passes: Passes
    others: Mapping[str, float] = field(default_factory=dict)
    samples: tuple[str, ...] | None = None
