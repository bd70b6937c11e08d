"""Who must beat whom for the claim to hold, and what a measurement says of each pair."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from joulemark.harness.models import card, reference_models
from joulemark.harness.store import Run
from joulemark.reports.contest import Differences, Entries, differences, draw_jointly
from joulemark.reports.entrants import gather
from joulemark.reports.placing import entries_of
from joulemark.reports.rows import Figures, measure
from joulemark.reports.stats import Floats

Spread = tuple[float, float, float]
"""A value with the ends of its 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Whether the first of each pair beats the second."""

    asks: str
    pairs: tuple[tuple[str, str], ...]


QUESTIONS = (
    Question(
        asks="Does a mixture of experts (2 of 9) beat the dense model of equal active size?",
        pairs=(("moe-800k-a240k", "dense-240k"),),
    ),
    Question(
        asks="Does a mixture of experts (2 of 9) beat the dense model of equal total size?",
        pairs=(("moe-800k-a240k", "dense-800k"),),
    ),
    Question(
        asks="Do early exits beat the dense model of their size?",
        pairs=(("exit-800k-t90", "dense-800k"), ("exit-800k-t99", "dense-800k")),
    ),
    Question(
        asks="Does a cascade of 240k before 800k beat its dense models?",
        pairs=(("cascade-240k-800k", "dense-240k"), ("cascade-240k-800k", "dense-800k")),
    ),
    Question(
        asks="Does a cascade of 60k before 800k beat dense models?",
        pairs=(("cascade-60k-800k", "dense-240k"), ("cascade-60k-800k", "dense-800k")),
    ),
    Question(
        asks="Control: do dense models in 8 bits beat the same in single precision?",
        pairs=(("int8-240k", "dense-240k"), ("int8-800k", "dense-800k")),
    ),
    Question(
        asks="Does a cascade of 240k before 800k beat dense models, all in 8 bits?",
        pairs=(("cascade-int8", "int8-240k"), ("cascade-int8", "int8-800k")),
    ),
    Question(
        asks="Does a cascade in single precision beat dense models in 8 bits?",
        pairs=(("cascade-240k-800k", "int8-240k"), ("cascade-240k-800k", "int8-800k")),
    ),
)
"""Of the first seed; the same is asked of every other seed on the shelf."""

DENSE_LINES = (("dense-60k", "dense-240k", "dense-800k"), ("int8-240k", "int8-800k"))
"""What quality costs without being selective, in single precision and in 8 bits."""

MARGIN_POINTS, MARGIN_ENERGY = 1.0, 1.05
"""Points of quality and times the energy by which one may be behind and still count as no worse and no dearer."""


def seed_of(name: str) -> int:
    """The seed that a model on the shelf was trained from."""
    found = re.search(r"-s(\d+)(-|$)", name)
    return int(found[1]) if found else 1


def of_seed(name: str, seed: int) -> str | None:
    """What the shelf calls a model of the first seed when trained from another; None where it has none."""
    if seed == 1:
        return name
    alike = (other for other in reference_models() if card(other).get("replica_of") == name)
    return next((other for other in alike if seed_of(other) == seed), None)


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """Two models of one seed, and those that the dense line goes through.

    Attributes:
        pair: As `QUESTIONS` has it.
        one, other: The same two, trained from this ``seed``.
    """

    pair: tuple[str, str]
    seed: int
    one: str
    other: str
    line: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Contest(Meeting):
    """How one of them did against the other at one batch size.

    Attributes:
        quality: Points more than the other.
        energy: Times the other's.
        rate: Times the other's right answers per watt-hour; None where one of them may be guessing.
        above: Points more than a dense model of the same seed and energy would have, by the dense line that the
            other one is on; None where that line has surely ended, or is a single model.
    """

    batch: int
    quality: Spread
    energy: Spread
    rate: Spread | None
    above: Spread | None

    @property
    def better(self) -> int:
        """1 for better answers, -1 for worse ones, 0 where that cannot be told."""
        return int(self.quality[1] > 0) - int(self.quality[2] < 0)

    @property
    def cheaper(self) -> int:
        """1 for less energy, -1 for more, 0 where that cannot be told."""
        return int(self.energy[2] < 1) - int(self.energy[1] > 1)

    @property
    def no_worse(self) -> bool:
        """Whether its answers are surely less than `MARGIN_POINTS` points worse."""
        return self.quality[1] > -MARGIN_POINTS

    @property
    def no_better(self) -> bool:
        """Whether its answers are surely less than `MARGIN_POINTS` points better."""
        return self.quality[2] < MARGIN_POINTS

    @property
    def no_dearer(self) -> bool:
        """Whether it surely takes less than `MARGIN_ENERGY` times the energy."""
        return self.energy[2] < MARGIN_ENERGY

    @property
    def no_cheaper(self) -> bool:
        """Whether the other one surely takes less than `MARGIN_ENERGY` times its energy."""
        return self.energy[1] > 1 / MARGIN_ENERGY

    @property
    def beside_line(self) -> int:
        """1 above the dense line, -1 below it, 0 where that cannot be told."""
        if self.above is None:
            return 0
        return int(self.above[1] > 0) - int(self.above[2] < 0)

    @property
    def in_itself(self) -> int:
        """1 for better and no dearer or cheaper and no worse, -1 for the reverse, 0 for neither or both."""
        ahead = (self.better > 0 and self.no_dearer) or (self.cheaper > 0 and self.no_worse)
        behind = (self.better < 0 and self.no_cheaper) or (self.cheaper < 0 and self.no_better)
        return int(ahead) - int(behind)

    @property
    def by_line(self) -> bool:
        """Whether the dense line has to decide: the two differ, but neither is ahead in itself."""
        return self.in_itself == 0 and (self.better, self.cheaper) != (0, 0)

    @property
    def against_line(self) -> bool:
        """Whether the dense line says the reverse, where one axis alone differs."""
        one_axis = self.better == 0 or self.cheaper == 0
        return one_axis and self.in_itself != 0 and self.beside_line == -self.in_itself

    @property
    def won(self) -> bool | None:
        """Whether it is better and no dearer, or cheaper and no worse; a trade is decided by the dense line.

        None where that cannot be told.
        """
        sign = self.beside_line if self.by_line else 0 if self.against_line else self.in_itself
        return None if sign == 0 else sign > 0

    @property
    def in_words(self) -> str:
        """What it gives for what it takes."""
        line = {1: "above the dense line", -1: "below the dense line", 0: "on the dense line within error"}
        words = f"{self._answers}, {self._joules}"
        if self.by_line and self.above is None:
            return f"{words}, where there is no dense line"
        if self.against_line:
            return f"{words}, yet {line[self.beside_line]}"
        return words + (f": {line[self.beside_line]}" if self.by_line else "")

    @property
    def _answers(self) -> str:
        if self.better:
            return "better answers" if self.better > 0 else "worse answers"
        return {
            (True, True): f"as good within {MARGIN_POINTS:g} point",
            (True, False): f"better answers, or at most {MARGIN_POINTS:g} point worse",
            (False, True): f"worse answers, or at most {MARGIN_POINTS:g} point better",
            (False, False): "answers cannot be told apart",
        }[self.no_worse, self.no_better]

    @property
    def _joules(self) -> str:
        if self.cheaper:
            return "less energy" if self.cheaper > 0 else "more energy"
        margin = f"{100 * MARGIN_ENERGY - 100:.0f} %"
        return {
            (True, True): f"the same energy within {margin}",
            (True, False): f"less energy, or at most {margin} more",
            (False, True): f"more energy, or at most {margin} less",
            (False, False): "energy cannot be told apart",
        }[self.no_dearer, self.no_cheaper]


def contests(run: Run, batch: int) -> Iterator[Contest]:
    """All pairs of the questions that were measured, of every seed.

    Raises:
        ValueError: A model of a pair has no quality, no energy, one repeat, or is there twice.
    """
    tasks = sorted({cell.task for cell in run.cells})
    figures: dict[str, Figures] = {}
    for entrant in gather([run]):
        name, found = entrant.model.removeprefix("ref/"), measure(entrant, tasks)
        if found.quality is None or found.log is None or name in figures:
            raise ValueError(f"{run.path}: {name} is there twice, or has no quality or energy over all tasks")
        figures[name] = found
    for meeting in meetings(figures):
        pair = [figures[meeting.one], figures[meeting.other]]
        line = [figures[name] for name in meeting.line]
        entries = entries_of(pair)
        guessing = any(f.quality is not None and (f.quality.low or 0.0) <= 0 for f in pair)
        yield Contest(
            **vars(meeting),
            batch=batch,
            quality=spread(differences(entries, "quality")),
            # A difference of energy is larger where the first takes less.
            energy=as_ratio(spread(differences(entries, "energy"), -1)),
            rate=None if guessing else as_ratio(spread(differences(entries, "correct_per_wh"))),
            above=above_line(entries_of([pair[0], *line])) if len(line) > 1 else None,
        )


def meetings(measured: Collection[str]) -> Iterator[Meeting]:
    """Who meets whom among what was measured."""
    pairs = dict.fromkeys(pair for question in QUESTIONS for pair in question.pairs)
    for seed, pair in itertools.product(sorted(set(map(seed_of, measured))), pairs):
        one, other, *line = (
            of_seed(name, seed) or "" for name in (*pair, *next(line for line in DENSE_LINES if pair[1] in line))
        )
        if one in measured and other in measured:
            known = tuple(name for name in line if name in measured)
            yield Meeting(pair=pair, seed=seed, one=one, other=other, line=known)


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


def above_line(entries: Entries) -> Spread | None:
    """Points of the first entrant above the line through the others; 95 % of joint draws of items and repeats.

    None where it takes more than all of these, or less, in over 95 % of the draws.
    """
    points, logs = draw_jointly(entries)
    own, others = logs[:, 0], logs[:, 1:]
    if max((own > others.max(axis=1)).mean(), (own < others.min(axis=1)).mean()) > _SURE:
        return None
    drawn = [_above(p, x) for p, x in zip(points, logs, strict=True)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return _above(entries.quality, entries.log_energy), float(low), float(high)


_SURE = 0.95
_LEAST_MISSING = 0.1


def _above(points: Floats, logs: Floats) -> float:
    return float(points[0] - on_line(logs[0], points[1:], logs[1:]))


def on_line(at: Floats | float, points: Floats, logs: Floats) -> Floats:
    """Points on the dense line at log energies ``at``, through models with these ``points`` and log energies.

    Straight in the logarithms of energy and of what is missing to 100 points, as errors that fall by a power law are;
    flat beyond its ends. A line that is straight in points would run below it and be easier to beat.
    """
    order = np.argsort(logs)
    missing = np.log(np.maximum(100 - points[order], _LEAST_MISSING))
    found: Floats = 100 - np.exp(np.interp(at, logs[order], missing))
    return found


def answer(found: Sequence[Contest]) -> str:
    """Yes, no, or in how many lines which at each batch size; and whether luck of training was looked at."""
    if not found:
        return "Not measured."
    seeds = {pair: {contest.seed for contest in found if contest.pair == pair} for pair in {c.pair for c in found}}
    alone = any(len(of_pair) == 1 for of_pair in seeds.values())
    return _agreed(found) + (" One training seed." if alone else "")


def _agreed(found: Sequence[Contest]) -> str:
    """One word where all lines say the same, else how many say what at each batch size."""
    whole = _counted(found)
    if " " not in whole:
        return f"{whole}.".capitalize()
    batches = sorted({contest.batch for contest in found})
    told = [f"batch {batch}: {_counted([c for c in found if c.batch == batch])}" for batch in batches]
    return f"{'; '.join(told)}.".capitalize()


def _counted(found: Sequence[Contest]) -> str:
    won = [contest.won for contest in found]
    counts = {word: won.count(is_so) for word, is_so in (("yes", True), ("no", False), ("undecided", None))}
    told = [f"{word} in {count}" for word, count in counts.items() if count]
    if len(told) == 1:
        return told[0].split()[0]
    first, *rest = told
    return ", ".join([f"{first} of {len(won)} comparisons", *rest])
