"""What gates of so many repeats, or questions, would see and pass, where the error of a single one is known.

The error of n is that of one over the root of n, since repeats are measured in turn, and the gate's own tests judge it
(`gatetests.Test`). What few repeats tell of scatter is rough, so that each number of repeats has the interval of the
scatter.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.special import chdtri, nctdtr, ndtr, stdtrit

from .effects import POWER
from .gatetests import LARGEST, Test

__all__ = ["FORESEEN", "MOST", "Around", "Energy", "fewest_questions", "foresee"]

FORESEEN = (4, 6, 10)
"""Repeats of the gates that are foreseen, where no looks are planned."""
MOST = 1000
"""Repeats beyond which it is of no use to count; a plan may have no more."""
MOST_QUESTIONS = 1_000_000
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Around:
    """A figure, and what it is at both ends of the 95 % interval of the scatter; infinite where no number is enough.

    Attributes:
        value: The figure.
        low: Where the machine scatters as little as it may.
        high: Where it scatters as much.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Energy:
    """What gates of one task's energy, or of several, would see.

    Attributes:
        task: The task; of several ``all``.
        repeats: That tell the noise; of several tasks the fewest.
        noise: Standard deviation of the log of the candidate's energy over the baseline's, from repeat to repeat; of
            several tasks their root mean square.
        margin: How many times the baseline's energy is allowed; None where several tasks differ in that.
        smallest: The smallest ratio of energies that fails with 80 % probability, all rules allowed for, by the number
            of repeats; of several tasks the largest of theirs. The numbers are the planned looks, else `FORESEEN`.
        to_pass: Repeats after which a candidate that takes as much passes with 80 % probability; of several tasks, all
            of their rules together. A planned look, or an even number.
        to_fail: Repeats after which a candidate that is twice the margin dearer fails with 80 % probability; of
            several tasks, in whichever it is.
    """

    task: str
    repeats: int
    noise: Around
    margin: float | None
    smallest: Mapping[int, float]
    to_pass: Around
    to_fail: Around


def foresee(
    task: str,
    repeats: int,
    ones: Sequence[Test],
    df: float,
    *,
    alpha: float,
    share: float,
    looks: Sequence[int] = (),
) -> Energy:
    """What gates would see whose single repeats have these errors.

    Args:
        task: What to call it.
        repeats: That tell the errors.
        ones: For each rule its test as one repeat would make it, of a candidate that is just as dear.
        df: Degrees of freedom of their mean variance.
        alpha: Of one look.
        share: Of that, what the hardest rule may take by Holm's correction.
        looks: Numbers of repeats at which alone gates decide, ascending; none: at any.
    """
    numbers = looks or range(2, MOST + 2, 2)
    noise = math.sqrt(sum(one.var for one in ones) / len(ones))
    low, high = _ends(df)

    def around(needed: Callable[[Sequence[Test]], float]) -> Around:
        value, least, most = (
            needed([replace(one, var=one.var * factor**2) for one in ones]) for factor in (1.0, low, high)
        )
        return Around(value=value, low=least, high=most)

    margins = {math.exp(one.limit) for one in ones}
    return Energy(
        task=task,
        repeats=repeats,
        noise=Around(value=noise, low=noise * low, high=noise * high),
        margin=margins.pop() if len(margins) == 1 else None,
        smallest={n: max(_smallest(_at(one, n), share) for one in ones) for n in looks or FORESEEN},
        to_pass=around(lambda tests: _fewest(numbers, lambda n: _all_pass(tests, n, alpha))),
        to_fail=around(lambda tests: _fewest(numbers, lambda n: all(_is_seen(one, n, share) for one in tests))),
    )


def fewest_questions(one: Test, alpha: float) -> float:
    """Questions with which a candidate that is as good passes with 80 % probability, at the least; or infinite.

    Args:
        one: The test as one question would make it.
        alpha: Of one look.
    """
    if one.var <= 0 or one.limit <= 0:
        return math.inf
    numbers = range(2, MOST_QUESTIONS)
    place = bisect_left(numbers, True, key=lambda n: replace(_at(one, n), limit=0.0).detectable(alpha) <= one.limit)
    return numbers[place] if place < len(numbers) else math.inf


def _smallest(test: Test, share: float) -> float:
    log = test.detectable(share)
    return math.exp(log) if log < LARGEST else math.inf


def _ends(df: float) -> tuple[float, float]:
    """By what a standard deviation is to be multiplied for the ends of its interval, which is a chi-squared one."""
    out = (1 - LEVEL) / 2
    low, high = (math.sqrt(df / float(chdtri(df, tail))) for tail in (out, 1 - out))
    return low, high


def _at(one: Test, n: int) -> Test:
    return replace(one, var=one.var / n, df=n - 1.0)


def _fewest(numbers: Sequence[int], is_enough: Callable[[int], bool]) -> float:
    """The smallest of these numbers of repeats, which are even or planned looks; infinite where none is enough.

    Even ones, since half of all repeats are measured backwards.
    """
    place = bisect_left(numbers, True, key=is_enough)
    return numbers[place] if place < len(numbers) else math.inf


def _all_pass(ones: Sequence[Test], n: int, alpha: float) -> bool:
    """Whether a candidate that takes as much keeps all rules with a probability of `POWER`."""
    critical = float(stdtrit(n - 1.0, 1 - alpha))
    errors = (one.limit / _at(one, n).error for one in ones)
    return math.prod(_chance(away, n - 1.0, critical) for away in errors) >= POWER


def _chance(away: float, df: float, critical: float) -> float:
    """That a noncentral t is above its critical value."""
    below = float(nctdtr(df, away, critical))
    # Where it is next to nothing there may be no number for it.
    return float(ndtr(away - critical)) if math.isnan(below) else 1 - below


def _is_seen(one: Test, n: int, share: float) -> bool:
    """Whether a candidate that is twice its margin dearer fails with a probability of `POWER`."""
    return _at(one, n).detectable(share) <= math.log1p(2 * math.expm1(one.limit))
