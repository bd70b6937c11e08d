"""Who must beat whom for the claim to hold, and what a measurement says of each pair."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from joulemark.harness.store import Run
from joulemark.reports.contest import Differences, differences
from joulemark.reports.entrants import gather
from joulemark.reports.placing import entries_of
from joulemark.reports.rows import measure

Spread = tuple[float, float, float]
"""A value with the ends of its 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A claim about the first of each pair, which the second must beat."""

    asks: str
    pairs: tuple[tuple[str, str], ...]


QUESTIONS = (
    Question(
        asks="Does a mixture of experts beat the dense model of equal active size?",
        pairs=(("moe-800k-a240k", "dense-240k"), ("moe-800k-a240k-s2", "dense-240k-s2")),
    ),
    Question(
        asks="Does it beat the dense model of equal total size?",
        pairs=(("moe-800k-a240k", "dense-800k"), ("moe-800k-a240k-s2", "dense-800k-s2")),
    ),
    Question(
        asks="Does early exit pay?",
        pairs=(
            ("exit-800k-t90", "dense-800k"),
            ("exit-800k-t99", "dense-800k"),
            ("exit-800k-s2-t90", "dense-800k-s2"),
            ("exit-800k-s2-t99", "dense-800k-s2"),
        ),
    ),
    Question(
        asks="Does a cascade beat its larger model?",
        pairs=(("cascade-60k-800k", "dense-800k"), ("cascade-240k-800k", "dense-800k")),
    ),
    Question(asks="Do 8 bits pay?", pairs=(("int8-800k", "dense-800k"),)),
)


@dataclass(frozen=True, kw_only=True)
class Contest:
    """One pair at one batch size.

    Attributes:
        quality: Points more than the other.
        energy: Times the other's.
        rate: Times the other's right answers per watt-hour; None where one of them may be guessing.
    """

    one: str
    other: str
    batch: int
    quality: Spread
    energy: Spread
    rate: Spread | None

    @property
    def won(self) -> bool | None:
        """Whether more right answers per watt-hour; None where that cannot be told."""
        if self.rate is None:
            return None
        return True if self.rate[1] > 1 else False if self.rate[2] < 1 else None

    @property
    def in_words(self) -> str:
        """What it gives for what it takes."""
        better, worse = self.quality[1] > 0, self.quality[2] < 0
        cheaper, dearer = self.energy[2] < 1, self.energy[1] > 1
        quality = "better answers" if better else "worse answers" if worse else "the same answers within error"
        joules = "less energy" if cheaper else "more energy" if dearer else "the same energy within error"
        return f"{quality}, {joules}"


def contests(run: Run, batch: int) -> Iterator[Contest]:
    """All pairs of the questions that were measured."""
    entrants = {entrant.model.removeprefix("ref/"): entrant for entrant in gather([run])}
    tasks = sorted({cell.task for cell in run.cells})
    for one, other in dict.fromkeys(pair for question in QUESTIONS for pair in question.pairs):
        if one in entrants and other in entrants:
            figures = [measure(entrants[name], tasks) for name in (one, other)]
            entries = entries_of(figures)
            guessing = any(f.quality is None or (f.quality.low or 0.0) <= 0 for f in figures)
            yield Contest(
                one=one,
                other=other,
                batch=batch,
                quality=spread(differences(entries, "quality")),
                # A difference of energy is larger where the first takes less.
                energy=as_ratio(spread(differences(entries, "energy"), -1)),
                rate=None if guessing else as_ratio(spread(differences(entries, "correct_per_wh"))),
            )


def spread(pairs: Differences, sign: int = 1) -> Spread:
    """The first entrant less the second."""
    ends = pairs.interval(0, 1)
    if ends is None:
        raise ValueError("one repeat has no interval; measure with --repeats 2 or more")
    low, high = sorted(sign * end for end in ends)
    return sign * float(pairs.value[0, 1]), low, high


def as_ratio(logs: Spread) -> Spread:
    """From logarithms."""
    value, low, high = map(math.exp, logs)
    return value, low, high


def answer(found: Sequence[Contest]) -> str:
    """Yes, no, or where it depends."""
    if not found:
        return "Not measured."
    won = {contest.won for contest in found}
    if won == {True}:
        return "Yes."
    if won == {False}:
        return "No."
    if True not in won:
        return "No: at best it cannot be told apart."
    if False not in won:
        return "Not surely: somewhere it cannot be told apart."
    at = {b: {c.won for c in found if c.batch == b} for b in sorted({c.batch for c in found})}
    if all(len(verdicts) == 1 for verdicts in at.values()):
        words = {True: "yes", False: "no", None: "cannot be told"}
        return "It depends: " + ", ".join(f"{words[verdicts.pop()]} at batch {b}" for b, verdicts in at.items()) + "."
    return "It depends; see each line."
