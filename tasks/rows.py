"""Whose tokens were whose: the rows of lm-eval's batches, told apart after the window.

lm-eval orders requests by length, computes in batches what fits together, and once what differs in its last token
alone. Here each request gets back what was computed for it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .types import Answer

__all__ = ["Batch", "Row", "Scoring", "generated", "scored"]


@dataclass(frozen=True)
class Batch:
    """One call of ``generate``: when it began and ended, and the tokens of its rows.

    Attributes:
        forwards: When each forward of the model was over; the first of them had the prompts.
        slots: Tokens that went into the model, of all rows together.
        prompt: Tokens of each row's prompt, padding left out; shape (rows,).
        new: Tokens that came after the prompts; shape (rows, new).
        cap: How many these might be.
    """

    began: float
    ended: float
    forwards: Sequence[float]
    slots: int
    prompt: Any
    new: Any
    cap: int

    def until(self, token: int) -> float | None:
        """Seconds from the start until a row had so many new tokens; None where forwards do not tell."""
        if token >= self.new.shape[1]:
            return self.ended - self.began
        return self.forwards[token - 1] - self.began if len(self.forwards) == self.new.shape[1] else None


@dataclass(frozen=True)
class Row:
    """One row of a batch, and the request that it answers: a prompt and settings."""

    request: tuple[str, dict[str, Any]]
    batch: Batch
    at: int


@dataclass(frozen=True)
class Scoring:
    """One call that scores continuations, and the forwards that it took: rows, tokens a row, seconds."""

    asked: Sequence[Any]
    forwards: list[tuple[int, int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class _Scored:
    """What one continuation took: tokens that it had, slots that were computed for it, seconds of its batch.

    ``cut`` is whether there were more tokens than the model reads.
    """

    tokens: int
    cut: bool
    slots: int = 0
    seconds: float | None = None


def generated(lm: Any, rows: Sequence[Row], requests: Sequence[Any], texts: Sequence[str]) -> list[Answer]:
    """An answer for each request to generate; empty where the rows are not theirs.

    Rows of one prompt with the same settings come in the order in which they were asked.
    """
    waiting: dict[str, deque[Row]] = defaultdict(deque)
    for row in rows:
        waiting[_key(*row.request)].append(row)
    asked = [_key(*request.args[:2]) for request in requests]
    if Counter(asked) != {key: len(found) for key, found in waiting.items()}:
        return []
    ends = _end_tokens(lm)
    return [_generated(lm, waiting[key].popleft(), ends, text) for key, text in zip(asked, texts, strict=True)]


def scored(lm: Any, scorings: Sequence[Scoring], requests: Sequence[Any]) -> list[Answer]:
    """An answer for each request to score; empty where what was scored is not theirs."""
    windows = [window for scoring in scorings for window in _shares(lm, scoring)]
    # A rolling likelihood is cut into windows as long as the model's context.
    counts = [
        _windows(lm, request.args[0]) if request.request_type == "loglikelihood_rolling" else 1 for request in requests
    ]
    if not windows or sum(counts) != len(windows):
        return []
    upto = iter(windows)
    return [_together([next(upto) for _ in range(count)]) for count in counts]


def _generated(lm: Any, row: Row, ends: Container[int], text: str) -> Answer:
    batch, at = row.batch, row.at
    own, stopped = _own_tokens(lm, batch.new[at].tolist(), ends, _stops(row.request[1]))
    return Answer(
        text=text,
        prompt_tokens=int(batch.prompt[at]),
        generated_tokens=own,
        computed_tokens=_shared(batch.slots, [1] * len(batch.new))[at],
        latency_s=batch.until(own),
        truncated=not stopped and own >= batch.cap,
        cut=_was_cut(lm, row),
        ttft_s=batch.forwards[0] - batch.began if batch.forwards else None,
    )


def _was_cut(lm: Any, row: Row) -> bool | None:
    """Whether a part of the prompt was taken away to have room for the answer; None where that cannot be told."""
    went_in = int(row.batch.prompt[row.at])
    if went_in < int(row.batch.prompt.max()):
        # There was padding before it.
        return False
    with contextlib.suppress(Exception):
        tokens, _ = lm.tok_batch_encode([row.request[0]])
        return bool(tokens.shape[1] > went_in)
    return None


def _own_tokens(lm: Any, new: list[int], ends: Container[int], stops: Sequence[str]) -> tuple[int, bool]:
    """How many of a row's new tokens are its own, and whether it stopped by itself.

    A row that has stopped goes on until its whole batch has: with padding after its end token, with whatever
    comes next after a stop string. A stop string in a model's thinking is none of its answer's.
    """
    end = next((at for at, token in enumerate(new) if token in ends), None)
    if end is not None:
        new = new[: end + 1]
    thought = _thought(lm, new)

    def has_stopped(count: int) -> bool:
        text = _text(lm, new[thought:count])
        return any(stop in text for stop in stops)

    if stops and has_stopped(len(new)):
        return _fewest(has_stopped, thought, len(new)), True
    return len(new), end is not None


def _thought(lm: Any, new: list[int]) -> int:
    """How many of the tokens are thinking, which lm-eval takes off the answer."""
    mark = getattr(lm, "think_end_token", None)
    if isinstance(mark, int):
        return max((at + 1 for at, token in enumerate(new) if token == mark), default=0)
    count = _text(lm, new).count(mark) if mark else 0
    return _fewest(lambda tokens: _text(lm, new[:tokens]).count(str(mark)) >= count, 0, len(new)) if count else 0


def _text(lm: Any, tokens: list[int]) -> str:
    # Stop strings may be special tokens, which are not in the text that lm-eval takes for the answer.
    return str(lm.tok_decode(tokens, skip_special_tokens=False))


def _shares(lm: Any, scoring: Scoring) -> list[_Scored]:
    """What each continuation of a call took; those that differ in their last token alone share one row."""
    # The last token is scored and never goes in; what is longer than the context is cut on the left.
    whole = [len(before) + len(after) - 1 for _, before, after in scoring.asked]
    found = [_Scored(min(count, lm.max_length), count > lm.max_length) for count in whole]
    tokens = [each.tokens for each in found]
    rows = iter(_rows_of(scoring.asked, grouped=bool(getattr(lm, "logits_cache", True))))
    for count, width, seconds in scoring.forwards:
        batch = list(itertools.islice(rows, count))
        if len(batch) != count or max(tokens[row[0]] for row in batch) != width:
            # lm-eval did not order them as it used to.
            slots = _shared(sum(rows * width for rows, width, _ in scoring.forwards), tokens)
            return [replace(each, slots=share, seconds=None) for each, share in zip(found, slots, strict=True)]
        for row in batch:
            for at, share in zip(row, _shared(width, [1] * len(row)), strict=True):
                found[at] = replace(found[at], slots=share, seconds=seconds)
    return found


def _windows(lm: Any, text: str) -> int:
    from lm_eval.utils import get_rolling_token_windows

    return sum(1 for _ in get_rolling_token_windows(lm.tok_encode(text), lm.prefix_token_id, lm.max_length, 1))


def _rows_of(asked: Sequence[Any], *, grouped: bool) -> list[list[int]]:
    """Which of the requests each row answers, in the order in which lm-eval computes rows.

    It takes the longest first, and computes once what differs in its last token alone (its ``logits_cache``).
    """
    groups: dict[Any, list[int]] = defaultdict(list)
    for at, (_, before, after) in enumerate(asked):
        groups[tuple(before + after[:-1]) if grouped else at].append(at)

    def place(row: list[int]) -> tuple[int, tuple[int, ...]]:
        _, before, after = asked[row[0]]
        return -len(before) - len(after), tuple(before + after)

    # The one with the longest continuation stands for its group.
    rows = [sorted(row, key=lambda at: -len(asked[at][2])) for row in groups.values()]
    return sorted(rows, key=place)


def _together(windows: Sequence[_Scored]) -> Answer:
    seconds = [window.seconds for window in windows if window.seconds is not None]
    return Answer(
        text="",
        prompt_tokens=sum(window.tokens for window in windows),
        generated_tokens=0,
        computed_tokens=sum(window.slots for window in windows),
        latency_s=sum(seconds) if seconds and len(seconds) == len(windows) else None,
        truncated=None,
        cut=any(window.cut for window in windows),
    )


def _key(context: str, settings: dict[str, Any]) -> str:
    return json.dumps([context, settings | {"until": _stops(settings)}], sort_keys=True, default=str)


def _stops(settings: dict[str, Any]) -> list[str]:
    until = settings.get("until") or []
    return [until] if isinstance(until, str) else [stop for stop in until if stop]


def _end_tokens(lm: Any) -> set[int]:
    """The tokens at which ``generate`` ends a row, and lm-eval's own."""
    told = getattr(getattr(lm.model, "generation_config", None), "eos_token_id", None)
    return {lm.eot_token_id, *(told if isinstance(told, list | tuple) else [told])} - {None}


def _fewest(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The smallest number above ``low`` for which something holds that goes on to hold up to ``high``."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _shared(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers that add up to a total, as near to their weights' shares as can be."""
    whole, done, given, shares = sum(weights), 0, 0, []
    for weight in weights:
        done += weight
        upto = round(total * done / whole) if whole else 0
        shares.append(upto - given)
        given = upto
    return shares
