"""Power that is asked for: joules within their interval, gaps cost certainty, silence is never a figure."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.meters.errors import MeterLost
from joulemark.meters.polling import NoSample, Poller, Sample, _Sum


def watts(moment_s: float, power_w: float, *, means: bool = True) -> Sample:
    return Sample(moment_ns=moment_s * 1e9, u_moment_s=0.0, watts={"a": power_w}, means=means)


def total_of(*samples: tuple[float, float], means: bool = True, interval_s: float = math.inf) -> tuple[float, float]:
    total = _Sum(watts(*samples[0], means=means), interval_s)
    for sample in samples[1:]:
        total.add(watts(*sample, means=means))
    return total.joules["a"], total.variances["a"]


def test_a_constant_power_is_held_and_has_no_error_of_adding_up() -> None:
    assert total_of((0, 250), (1, 250), (9, 250)) == (2250, 0)


def test_a_step_counts_as_having_come_in_the_middle_with_an_error_as_wide_as_the_gap() -> None:
    joules, variance = total_of((0, 100), (2, 200))
    assert joules == 300
    assert math.sqrt(variance) == pytest.approx(100 * 2 / math.sqrt(12))


def test_where_answers_are_missing_the_power_may_have_been_whatever_it_was_seen_to_be() -> None:
    """A burst of 500 W inside a gap with equal ends is seen by nobody: the error must hold it."""
    seen = [(0.0, 50.0), (0.1, 500.0), (0.2, 50.0)]
    before = total_of(*seen, interval_s=0.1)
    joules, variance = total_of(*seen, (1.1, 50), interval_s=0.1)
    assert abs(joules - before[0] - 0.9 * 500) < 1.96 * math.sqrt(variance - before[1])
    quick = total_of(*seen, *[(0.2 + at / 10, 50) for at in range(1, 10)], interval_s=0.1)
    assert quick == pytest.approx((joules, before[1]))


def test_the_same_answer_twice_adds_nothing() -> None:
    assert total_of((0, 100), (1, 100), (1, 100), (0.5, 900), (2, 100)) == (200, 0)


@given(st.lists(st.tuples(st.floats(0.01, 10), st.floats(0, 500)), min_size=2, max_size=20), st.integers(1, 18))
def test_joules_and_variances_of_parts_add_up_to_those_of_the_whole(steps: list[tuple[float, float]], cut: int) -> None:
    moment, samples = 0.0, []
    for step, power in steps:
        moment += step
        samples.append((moment, power))
    cut = min(cut, len(samples) - 1)
    whole, first, second = total_of(*samples), total_of(*samples[: cut + 1]), total_of(*samples[cut:])
    assert whole[0] == pytest.approx(first[0] + second[0])
    assert whole[1] == pytest.approx(first[1] + second[1])
    assert whole[0] >= 0


def test_where_figures_are_means_a_step_at_any_moment_lies_inside_the_interval() -> None:
    """1.96 standard deviations of a uniform error hold all of it: a step is never further off than half the gap."""
    joules, variance = total_of((0, 100), (1, 300))
    for moved_s in (0.0, 0.25, 0.5, 0.75, 1.0):
        truth_j = 100 * moved_s + 300 * (1 - moved_s)
        assert abs(joules - truth_j) <= 1.96 * math.sqrt(variance)


def test_where_figures_are_of_a_moment_a_power_that_changes_faster_lies_inside_the_interval() -> None:
    """A thousand windows of 40 samples of a power that is something else each time; its true mean is 200 W."""
    draws, inside = Random(1), 0
    for _ in range(1000):
        samples = [(0.05 * number, draws.uniform(100, 300)) for number in range(41)]
        joules, variance = total_of(*samples, means=False)
        inside += abs(joules - 200 * 2.0) <= 1.96 * math.sqrt(variance)
    assert 930 <= inside <= 970


class Script:
    """Answers questions in turn; the last answer for ever. Each answer is asked for when the one before is taken."""

    def __init__(self, *answers: float | Exception) -> None:
        self._answers = list(answers)
        self.asked = threading.Semaphore(0)

    def __call__(self) -> Sample:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.asked.release()
        if isinstance(answer, Exception):
            raise answer
        return Sample(moment_ns=time.monotonic_ns(), u_moment_s=0.0, watts={"a": answer})


def poller(ask: Callable[[], Sample], patience_s: float = 0.06) -> Poller:
    return Poller("plug", ask, interval_s=0.02, patience_s=patience_s)


def lost_by(asked: Poller, within_s: float = 5.0) -> str:
    """What a reading says once the source is lost."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            asked.reading()
        except MeterLost as error:
            return str(error)
        time.sleep(0.005)
    return "still there"


def test_joules_follow_the_power() -> None:
    asked = poller(Script(50.0))
    asked.start()
    first = asked.reading()
    time.sleep(0.3)
    second = asked.reading()
    asked.stop()
    assert first.moment_ns is not None
    assert second.moment_ns is not None
    seconds = (second.moment_ns - first.moment_ns) / 1e9
    assert seconds > 0.2
    assert second.values["a"] - first.values["a"] == pytest.approx(50 * seconds)


def test_one_bad_answer_is_made_up_for_by_the_next() -> None:
    script = Script(50.0, 50.0, NoSample("busy"), math.nan, -3.0, ValueError("nonsense"), 50.0)
    asked = poller(script, patience_s=5)
    began_ns = time.monotonic_ns()
    asked.start()
    for _ in range(10):
        assert script.asked.acquire(timeout=5)
    found = asked.reading()
    asked.stop()
    assert found.moment_ns is not None
    # What was missed is made up for at the power before and after, and all of it counts.
    assert found.values["a"] == pytest.approx(50 * (found.moment_ns - began_ns) / 1e9, rel=0.05)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (NoSample("it answered 500"), "gave nothing usable for .* s; last: it answered 500"),
        (math.nan, "a said nan W, which cannot be"),
        (-1.0, "a said -1.0 W, which cannot be"),
        (1e9, "which cannot be"),
        (OSError("no route"), "no route"),
        (MeterLost("the counter fell"), "plug: the counter fell"),
    ],
)
def test_a_source_that_goes_wrong_for_good_is_lost(answer: float | Exception, message: str) -> None:
    asked = poller(Script(50.0, 50.0, answer))
    asked.start()
    try:
        import re

        assert re.search(message, lost_by(asked))
        with pytest.raises(MeterLost):
            asked.reading()
    finally:
        asked.stop()


def test_a_question_that_never_comes_back_is_no_reason_to_repeat_the_last_figure() -> None:
    hanging, answers = threading.Event(), iter([50.0, 50.0])

    def ask() -> Sample:
        power = next(answers, None)
        if power is None:
            hanging.wait(10)
            raise NoSample("woken")
        return Sample(moment_ns=time.monotonic_ns(), u_moment_s=0.0, watts={"a": power})

    asked = poller(ask)
    asked.start()
    try:
        assert "has said nothing for" in lost_by(asked)
    finally:
        hanging.set()
        asked.stop()


def test_without_a_first_answer_there_is_no_meter() -> None:
    asked = poller(Script(NoSample("it does not answer")))
    with pytest.raises(MeterLost, match="plug: it does not answer"):
        asked.start()
    with pytest.raises(MeterLost, match="not open"):
        asked.reading()


def test_a_counter_that_falls_or_leaps_is_lost_at_once() -> None:
    total = _Sum(Sample(moment_ns=0, u_moment_s=0.0, joules={"a": 500.0}), 1.0)
    total.add(Sample(moment_ns=1e9, u_moment_s=0.0, joules={"a": 600.0}))
    assert total.joules == {"a": 100.0}
    for joules in (599.0, 1e9):
        with pytest.raises(MeterLost, match=r"a (fell|leapt)"):
            total.add(Sample(moment_ns=2e9, u_moment_s=0.0, joules={"a": joules}))


def test_a_domain_missing_from_an_answer_is_no_answer() -> None:
    total = _Sum(watts(0, 50), 1.0)
    with pytest.raises(NoSample, match="a, b came or went"):
        total.add(Sample(moment_ns=1e9, u_moment_s=0.0, watts={"b": 50.0}))
