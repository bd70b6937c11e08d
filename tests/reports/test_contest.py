from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erfinv

from joulemark.reports.contest import (
    By,
    Entries,
    ItemTable,
    differences,
    draws_lost,
    judge_draws,
    judge_frontier,
    rank_entries,
)
from joulemark.reports.pareto import frontier
from joulemark.reports.stats import p_of_sum

BYS: tuple[By, ...] = ("correct_per_wh", "quality", "energy")
DRAWS = 2000
MARGIN = 3 * math.sqrt(0.95 * 0.05 / DRAWS)


def simulated(
    rng: np.random.Generator,
    accuracy: list[float],
    wh: list[float],
    *,
    items: int = 300,
    repeats: int = 3,
    spread: float = 0.03,
    cluster: int = 1,
) -> Entries:
    """Entrants with known truth that answer the same items, the harder ones wrong more often in all."""
    clusters = np.repeat(np.arange(items // cluster), cluster)
    difficulty = rng.normal(size=(items, 1))
    if cluster > 1:
        difficulty = math.sqrt(0.5) * (difficulty + rng.normal(size=(items // cluster, 1))[clusters])
    own = 0.6 * difficulty + 0.8 * rng.normal(size=(items, len(accuracy)))
    scores = (own < math.sqrt(2) * erfinv(2 * np.array(accuracy) - 1)).astype(float)
    logs = np.log(wh) + rng.normal(0, spread, size=(repeats, len(wh)))
    return Entries(
        quality=100 * scores.mean(axis=0),
        log_energy=logs.mean(axis=0),
        energy_var=logs.var(axis=0, ddof=1) / repeats,
        energy_df=np.full(len(wh), repeats - 1.0),
        scale_var=np.full(len(wh), 0.16),
        yardstick=np.zeros(len(wh), dtype=np.int64),
        items=(ItemTable(scores=scores, clusters=clusters, points=np.full(len(wh), 100.0)),),
    )


@pytest.mark.parametrize(
    ("entrants", "items", "repeats", "spread", "clusters"),
    [(4, 300, 3, 0.03, 1), (10, 50, 3, 0.05, 1), (4, 300, 10, 0.01, 5), (2, 50, 2, 0.05, 1)],
)
def test_entrants_of_equal_worth_are_called_different_in_at_most_5_percent(
    entrants: int, items: int, repeats: int, spread: float, clusters: int
) -> None:
    rng, false_alarms = np.random.default_rng(21), dict.fromkeys(BYS, 0)
    for _ in range(DRAWS):
        e = simulated(
            rng, [0.7] * entrants, [1.0] * entrants, items=items, repeats=repeats, spread=spread, cluster=clusters
        )
        worth = {"quality": e.quality, "energy": -e.log_energy, "correct_per_wh": np.log(e.quality) - e.log_energy}
        for by in BYS:
            false_alarms[by] += bool(rank_entries(differences(e, by), worth[by]).better.any())
    assert {by: share / DRAWS <= 0.05 + MARGIN for by, share in false_alarms.items()} == dict.fromkeys(BYS, True)


@pytest.mark.parametrize(
    ("accuracy", "items", "repeats", "spread"),
    [([0.7, 0.6], 300, 3, 0.03), ([0.9, 0.88], 1000, 5, 0.01), ([0.1, 0.15], 300, 10, 0.05)],
)
def test_intervals_of_differences_cover_95_percent(
    accuracy: list[float], items: int, repeats: int, spread: float
) -> None:
    rng, hits = np.random.default_rng(22), dict.fromkeys(BYS, 0)
    first, second = accuracy
    half = math.log(2)
    truth = {"quality": 100 * (first - second), "energy": half, "correct_per_wh": math.log(first / second) + half}
    for _ in range(DRAWS):
        entries = simulated(rng, accuracy, [0.5, 1.0], items=items, repeats=repeats, spread=spread)
        for by in BYS:
            low, high = differences(entries, by).interval(0, 1) or (math.nan, math.nan)
            hits[by] += low <= truth[by] <= high
    covered = {by: 0.935 - MARGIN <= share / DRAWS <= 0.965 + MARGIN for by, share in hits.items()}
    assert covered == dict.fromkeys(BYS, True)


@pytest.mark.parametrize(("items", "repeats", "spread", "cluster"), [(300, 3, 0.03, 1), (50, 3, 0.01, 5)])
def test_members_of_the_true_frontier_are_called_dominated_in_at_most_5_percent(
    items: int, repeats: int, spread: float, cluster: int
) -> None:
    rng, lost = np.random.default_rng(23), 0
    accuracy, wh = [0.45, 0.55, 0.56, 0.7, 0.71], [0.5, 1.0, 1.03, 2.0, 2.05]
    for _ in range(DRAWS):
        entries = simulated(rng, accuracy, wh, items=items, repeats=repeats, spread=spread, cluster=cluster)
        lost += judge_frontier(entries, draws=200)[1].count("dominated")
    assert lost / (DRAWS * len(wh)) <= 0.05


def test_a_clear_loser_is_dominated_and_clear_winners_are_on() -> None:
    entries = simulated(np.random.default_rng(24), [0.9, 0.6, 0.3], [2.0, 1.0, 3.0])
    share, named = judge_frontier(entries)
    assert named == ["on", "on", "dominated"]
    assert share[2] <= 0.001


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_who_surely_beats_whom_is_what_counting_all_draws_of_each_pair_says(seed: int, entrants: int) -> None:
    rng = np.random.default_rng(seed)
    at = rng.normal(size=(2, entrants))
    # Whole numbers, so that many are equal: who is no better does not win.
    points = np.round(3 * (at[0] + 0.3 * rng.normal(size=(200, entrants))))
    logs = np.round(3 * (at[1] + 0.3 * rng.normal(size=(200, entrants))))
    wins = (points[:, None, :] > points[:, :, None]) & (logs[:, None, :] < logs[:, :, None])
    assert ((draws_lost(points, logs) <= 10) == (wins.sum(axis=0) >= 190)).all()


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_who_is_on_the_frontier_in_how_many_draws_is_what_each_draw_says(seed: int, entrants: int) -> None:
    rng = np.random.default_rng(seed)
    at = 5 * rng.normal(size=(2, entrants))
    points, logs = (np.round(own + rng.normal(size=(200, entrants))) for own in at)
    share, _ = judge_draws(points, logs)
    assert share == pytest.approx(frontier(logs, points).mean(axis=0))


def test_pairs_that_no_correction_could_part_have_a_p_value_of_1_and_the_others_their_own() -> None:
    entries = simulated(np.random.default_rng(33), [0.9, 0.6, 0.61, 0.3], [2.0, 1.0, 1.0, 3.0])
    pairs = differences(entries, "correct_per_wh")
    whole = p_of_sum(pairs.value, pairs.var, pairs.df, pairs.scatter, pairs.scatter_df)
    likely = whole <= 0.05
    np.fill_diagonal(likely, False)
    assert likely.any()
    assert pairs.p[likely] == pytest.approx(whole[likely])
    assert pairs.p[1, 2] == 1.0
    assert (pairs.only([3, 0]).p == pairs.p[np.ix_([3, 0], [3, 0])]).all()


def test_twins_are_neither_better_than_each_other_nor_dominated() -> None:
    entries = simulated(np.random.default_rng(25), [0.7, 0.5], [1.0, 2.0]).only(np.array([0, 0, 1]))
    _, named = judge_frontier(entries)
    ranks = rank_entries(differences(entries, "correct_per_wh"), entries.quality / np.exp(entries.log_energy))
    assert "dominated" not in named[:2]
    assert ranks.rank.tolist() == [1, 1, 3]
    assert not ranks.better[:2, :2].any()


def test_the_same_seed_gives_the_same_probabilities_whatever_the_order() -> None:
    entries = simulated(np.random.default_rng(26), [0.7, 0.69, 0.71, 0.5], [1.0, 1.02, 1.01, 0.99])
    order = np.array([2, 0, 3, 1])
    share, _ = judge_frontier(entries)
    assert share[order] == pytest.approx(judge_frontier(entries.only(order))[0], abs=1e-12)


def test_with_two_repeats_that_scatter_ten_equal_entrants_are_called_different_in_at_most_5_percent() -> None:
    rng, false_alarms, draws = np.random.default_rng(31), 0, 600
    for _ in range(draws):
        entries = simulated(rng, [0.7] * 10, [1.0] * 10, repeats=2, spread=0.05)
        worth = entries.quality / np.exp(entries.log_energy)
        false_alarms += bool(rank_entries(differences(entries, "correct_per_wh"), worth).better.any())
    assert false_alarms / draws <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / draws)


def test_entrants_of_the_same_answers_and_the_same_error_are_drawn_apart() -> None:
    from dataclasses import replace

    twins = simulated(np.random.default_rng(29), [0.7], [1.0]).only(np.array([0, 0]))
    near = replace(twins, log_energy=twins.log_energy + np.array([0.0, 0.001]), energy_var=np.full(2, 1e-5))
    share, named = judge_frontier(near)
    assert named == ["unclear", "unclear"]
    assert 0.52 < share[0] < 0.68
    assert share[0] + share[1] == pytest.approx(1)
    assert judge_frontier(near.only(np.array([1, 0])))[0] == pytest.approx(share[::-1])


def test_a_meters_scale_counts_only_between_machines() -> None:
    from dataclasses import replace

    together = simulated(np.random.default_rng(27), [0.7, 0.7], [1.0, 1.5])
    apart = replace(together, yardstick=np.array([0, 1]))
    near, far = differences(together, "energy"), differences(apart, "energy")
    assert far.var[0, 1] == pytest.approx(near.var[0, 1] + 0.32)
    assert judge_frontier(together)[1] == ["on", "dominated"] or judge_frontier(apart)[1][1] == "unclear"


def test_one_repeat_makes_nothing_significant() -> None:
    from dataclasses import replace

    entries = simulated(np.random.default_rng(28), [0.9, 0.3], [1.0, 9.0])
    single = replace(entries, energy_var=np.full(2, np.nan), energy_df=np.zeros(2))
    pairs = differences(single, "correct_per_wh")
    assert pairs.interval(0, 1) is None
    assert not rank_entries(pairs, entries.quality).better.any()
