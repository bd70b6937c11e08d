from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from scipy.integrate import quad
from scipy.stats import norm
from scipy.stats import t as student_t

from joulemark.reports.stats import (
    accuracy,
    combine,
    energy,
    holm,
    log_energy,
    p_of_sum,
    quality,
    right_per_wh,
    satterthwaite,
    two_sided_p,
)

DRAWS = 2000
MARGIN = 3 * math.sqrt(0.95 * 0.05 / DRAWS)

quick = settings(max_examples=50, deadline=None)


def covers(share: float) -> bool:
    """Within 93.5-96.5 %, with 3 Monte Carlo standard errors."""
    return 0.935 - MARGIN <= share <= 0.965 + MARGIN


@quick
@given(st.lists(st.floats(0, 1), min_size=2, max_size=60))
def test_an_accuracy_lies_in_its_interval_and_the_interval_in_0_to_1(scores: list[float]) -> None:
    estimate = accuracy(np.array(scores))
    assert estimate.low is not None
    assert estimate.high is not None
    assert 0 <= estimate.low <= estimate.value + 1e-12
    assert estimate.value - 1e-12 <= estimate.high <= 1
    assert estimate.high - estimate.low > 0


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("items", [2, 30, 3000])
def test_equal_scores_never_give_an_interval_of_width_0(score: float, items: int) -> None:
    estimate = accuracy(np.full(items, score))
    assert estimate.high is not None
    assert estimate.low is not None
    assert estimate.high - estimate.low > 1 / items / 10


def test_one_item_has_no_interval() -> None:
    assert accuracy(np.array([1.0])).low is None
    assert accuracy(np.ones(50), np.zeros(50, dtype=np.int64)).low is None


def test_the_interval_of_right_and_wrong_answers_is_wilsons_with_t_for_z() -> None:
    scores = np.array([1.0] * 230 + [0.0] * 70)
    t = scipy_stats.t.ppf(0.975, 299)
    n = 300 * (300 - 1) / 300
    middle, width = (230 / 300 + t**2 / (2 * n)) / (1 + t**2 / n), t / (1 + t**2 / n)
    half = width * math.sqrt(230 / 300 * 70 / 300 / n + t**2 / (4 * n**2))
    assert accuracy(scores).low == pytest.approx(middle - half)
    usual = scipy_stats.t.interval(0.95, 299, 230 / 300, scipy_stats.sem(scores))
    assert accuracy(scores).low == pytest.approx(usual[0], abs=0.004)


def test_items_that_share_a_source_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    scores = np.repeat((rng.random(60) < 0.6).astype(float), 5)
    alone, shared = accuracy(scores), accuracy(scores, np.repeat(np.arange(60), 5))
    assert alone.se is not None
    assert shared.se is not None
    assert shared.se == pytest.approx(alone.se * math.sqrt(5), rel=0.05)


@quick
@given(st.floats(0, 1), st.floats(0, 0.9))
def test_quality_is_0_at_chance_and_100_when_perfect(value: float, chance: float) -> None:
    assert quality(accuracy(np.array([1.0, 1.0])), chance).value == pytest.approx(100)
    assert quality(accuracy(np.array([chance, chance])), chance).value == pytest.approx(0, abs=1e-9)
    better = quality(accuracy(np.array([value, min(1.0, value + 0.1)])), chance).value
    assert better >= quality(accuracy(np.array([value, value])), chance).value - 1e-9


@quick
@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 0.9)), min_size=1, max_size=5))
def test_the_mean_over_tasks_lies_in_its_interval_and_that_between_all_wrong_and_all_right(
    tasks: list[tuple[int, float]],
) -> None:
    whole = combine([quality(accuracy(np.array([1.0] * k + [0.0] * (30 - k))), chance) for k, chance in tasks])
    worst = np.mean([-100 * chance / (1 - chance) for _, chance in tasks])
    assert whole.low is not None
    assert whole.high is not None
    assert worst - 1e-9 <= whole.low <= whole.value + 1e-9
    assert whole.value - 1e-9 <= whole.high <= 100 + 1e-9
    assert whole.high > whole.low


def test_one_task_without_an_interval_leaves_the_mean_without_one() -> None:
    assert combine([accuracy(np.array([1.0])), accuracy(np.array([1.0, 0.0, 1.0]))]).low is None


def test_tasks_combine_to_their_plain_mean() -> None:
    parts = [quality(accuracy(np.array([1.0] * k + [0.0] * (100 - k))), 0.0) for k in (30, 50, 80)]
    whole = combine(parts)
    assert whole.value == pytest.approx((30 + 50 + 80) / 3)
    assert whole.se == pytest.approx(math.sqrt(sum(p.se**2 for p in parts if p.se)) / 3, rel=0.02)


@quick
@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=10))
def test_the_energy_interval_is_scipys_t_interval_of_the_logs(wh: list[float]) -> None:
    logs = np.log(wh)
    estimate = energy(log_energy(wh))
    assert estimate.value == pytest.approx(math.exp(logs.mean()))
    if logs.std() > 1e-9:
        low, high = scipy_stats.t.interval(0.95, len(wh) - 1, logs.mean(), scipy_stats.sem(logs))
        assert math.log(estimate.low or 0) == pytest.approx(low, rel=1e-6, abs=1e-9)
        assert math.log(estimate.high or 0) == pytest.approx(high, rel=1e-6, abs=1e-9)


def test_one_repeat_has_no_energy_interval() -> None:
    estimate = energy(log_energy([0.3]), rel_u=0.1)
    assert (estimate.value, estimate.low, estimate.high) == (pytest.approx(0.3), None, None)


def test_repeats_that_agree_by_luck_keep_the_meters_own_error() -> None:
    assert log_energy([2.0, 2.0, 2.0], [0.01, 0.01, 0.01]).var == pytest.approx(1e-4 / 3)


@quick
@given(st.lists(st.floats(0.5, 2), min_size=3, max_size=6), st.floats(1e-6, 1e6))
def test_a_change_of_units_scales_the_ratio_and_its_interval(wh: list[float], unit: float) -> None:
    points = quality(accuracy(np.array([1.0] * 60 + [0.0] * 40)), 0.25)
    here, there = right_per_wh(points, log_energy(wh)), right_per_wh(points, log_energy([e * unit for e in wh]))
    assert here
    assert there
    assert there.value * unit == pytest.approx(here.value)
    assert (there.low or 0) * unit == pytest.approx(here.low, rel=1e-6)


def test_there_is_no_ratio_where_quality_may_be_0() -> None:
    guesser = quality(accuracy(np.array([1.0] * 26 + [0.0] * 74)), 0.25)
    assert right_per_wh(guesser, log_energy([1.0, 1.1])) is None


def test_satterthwaite_is_welchs_for_two_means() -> None:
    a, b = np.array([1.0, 1.2, 0.9]), np.array([2.0, 2.5, 2.2, 2.4])
    var, df = satterthwaite([np.array(a.var(ddof=1) / 3), np.array(b.var(ddof=1) / 4)], [2.0, 3.0])
    oracle = scipy_stats.ttest_ind(a, b, equal_var=False)
    p = two_sided_p(np.array((a.mean() - b.mean()) / math.sqrt(float(var))), df)
    assert float(df) == pytest.approx(oracle.df)
    assert float(p) == pytest.approx(oracle.pvalue)


@quick
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_rejects_no_more_than_unadjusted_and_no_fewer_than_bonferroni(values: list[float]) -> None:
    p = np.array(values)
    significant = holm(p)
    assert not (significant & (p > 0.05)).any()
    assert significant[p <= 0.05 / len(p)].all()


@quick
@given(st.permutations([0.001, 0.01, 0.02, 0.2, 0.03]))
def test_holm_does_not_mind_the_order(values: list[float]) -> None:
    assert {p for p, yes in zip(values, holm(np.array(values)), strict=True) if yes} == {0.001, 0.01}


@pytest.mark.parametrize(
    ("p", "items", "tasks", "chance"),
    [(0.5, 300, 1, 0.25), (0.1, 300, 1, 0.0), (0.9, 50, 6, 0.25), (0.97, 300, 1, 0.25), (0.99, 50, 8, 0.0)],
)
def test_the_quality_interval_covers_95_percent(p: float, items: int, tasks: int, chance: float) -> None:
    rng, hits = np.random.default_rng(11), 0
    truth = 100 * (p - chance) / (1 - chance)
    for _ in range(DRAWS):
        draw = (rng.random((tasks, items)) < p).astype(float)
        q = combine([quality(accuracy(scores), chance) for scores in draw])
        hits += (q.low or -math.inf) <= truth <= (q.high or math.inf)
    assert covers(hits / DRAWS)


def test_it_covers_95_percent_where_tasks_that_are_nearly_all_right_stand_among_others() -> None:
    rng, hits, rates = np.random.default_rng(14), 0, (0.99, 0.99, 0.99, 0.1, 0.2, 0.3)
    for _ in range(DRAWS):
        whole = combine([accuracy((rng.random(100) < p).astype(float)) for p in rates])
        hits += (whole.low or 0) <= np.mean(rates) <= (whole.high or 1)
    assert covers(hits / DRAWS)


@pytest.mark.parametrize(
    ("items", "rates"),
    [((30, 1300), (0.03, 0.4)), ((10, 1000, 1000), (0.9, 0.5, 0.5)), ((20, 500, 500, 500), (0.95, 0.5, 0.5, 0.5))],
)
def test_it_covers_95_percent_where_a_small_task_stands_among_large_ones(
    items: tuple[int, ...], rates: tuple[float, ...]
) -> None:
    rng, hits = np.random.default_rng(15), 0
    for _ in range(DRAWS):
        whole = combine([accuracy((rng.random(n) < p).astype(float)) for n, p in zip(items, rates, strict=True)])
        hits += (whole.low or 0) <= np.mean(rates) <= (whole.high or 1)
    assert 0.935 - MARGIN <= hits / DRAWS <= 0.985


@pytest.mark.parametrize(
    ("value", "steady", "scatter", "df"),
    [(0.3, 0.005, 0.005, 2.0), (0.5, 0.003, 0.006, 1.5), (0.6, 0.0005, 0.01, 4.0), (1.0, 0.01, 0.001, 2.0)],
)
def test_the_p_value_of_a_sum_is_between_the_two_that_it_is_made_of(
    value: float, steady: float, scatter: float, df: float
) -> None:
    var, freedom = satterthwaite([np.array([steady]), np.array([scatter])], [300.0, df])
    first = float(two_sided_p(np.array([value]) / np.sqrt(var), freedom)[0])

    def beyond(t: float) -> float:
        shift = math.sqrt(scatter) * t
        sides = (norm.cdf((shift - value) / math.sqrt(steady)), norm.cdf((-shift - value) / math.sqrt(steady)))
        return float(student_t.pdf(t, df) * sum(sides))

    second = quad(beyond, -np.inf, np.inf, limit=500)[0]
    found = p_of_sum(np.array([value]), var, freedom, np.array([scatter]), np.array([df]))
    assert found[0] == pytest.approx(math.sqrt(first * max(first, second)), rel=0.05)
    # Where repeats tell nothing, or all, it is the usual one.
    for part in (0.0, float(var[0])):
        assert p_of_sum(np.array([value]), var, freedom, np.array([part]), np.array([df]))[0] == pytest.approx(first)


@pytest.mark.parametrize("tasks", [1, 6])
def test_the_quality_interval_covers_95_percent_with_clusters(tasks: int) -> None:
    rng, hits, clusters = np.random.default_rng(12), 0, np.repeat(np.arange(80), 4)
    for _ in range(DRAWS):
        rates = np.repeat(rng.beta(3, 2, size=(tasks, 80)), 4, axis=1)
        a = combine([accuracy((rng.random(320) < rate).astype(float), clusters) for rate in rates])
        hits += (a.low or 0) <= 0.6 <= (a.high or 1)
    assert covers(hits / DRAWS)


@pytest.mark.parametrize(
    ("repeats", "spread", "rel_u"),
    [(2, 0.05, 0.0), (3, 0.01, 0.0), (3, 0.05, 0.02), (5, 0.05, 0.02), (10, 0.01, 0.0), (3, 0.03, 0.4)],
)
def test_energy_and_ratio_intervals_cover_95_percent(repeats: int, spread: float, rel_u: float) -> None:
    rng, energy_hits, ratio_hits = np.random.default_rng(13), 0, 0
    for _ in range(DRAWS):
        wh = np.exp(rng.normal(0, spread, repeats) + rng.normal(0, rel_u))
        log = log_energy(wh.tolist())
        e = energy(log, rel_u)
        energy_hits += (e.low or 0) <= 1 <= (e.high or 0)
        q = quality(accuracy((rng.random(300) < 0.7).astype(float)), 0.25)
        ratio = right_per_wh(q, log, rel_u)
        assert ratio
        ratio_hits += (ratio.low or 0) <= 600 <= (ratio.high or 0)
    assert covers(energy_hits / DRAWS)
    # Two repeats tell so little of their scatter that the interval of a ratio errs on the wide side.
    assert covers(min(ratio_hits / DRAWS, 0.965) if repeats == 2 else ratio_hits / DRAWS)
