from __future__ import annotations

import math

import numpy as np
import pytest

from joulemark.reports.contest import Entries, ItemTable, differences, judge_frontier, rank_entries

DRAWS = 600
MARGIN = 3 * math.sqrt(0.95 * 0.05 / DRAWS)


def simulated(
    rng: np.random.Generator,
    accuracy: list[float],
    wh: list[float],
    *,
    items: int = 300,
    repeats: int = 3,
    spread: float = 0.03,
) -> Entries:
    """Entrants with known truth that answer the same items, the harder ones wrong more often in all."""
    difficulty = rng.normal(size=items)
    scores = np.empty((items, len(accuracy)))
    for column, rate in enumerate(accuracy):
        own = 0.6 * difficulty + 0.8 * rng.normal(size=items)
        cut = math.sqrt(2) * _erf_inverse(2 * rate - 1)
        scores[:, column] = own < cut
    logs = np.log(wh) + rng.normal(0, spread, size=(repeats, len(wh)))
    return Entries(
        quality=100 * scores.mean(axis=0),
        log_energy=logs.mean(axis=0),
        energy_var=logs.var(axis=0, ddof=1) / repeats,
        energy_df=np.full(len(wh), repeats - 1.0),
        scale_var=np.full(len(wh), 0.16),
        yardstick=np.zeros(len(wh), dtype=np.int64),
        items=(ItemTable(scores=scores, clusters=np.arange(items), points=np.full(len(wh), 100.0)),),
    )


def _erf_inverse(x: float) -> float:
    from scipy.special import erfinv

    return float(erfinv(x))


@pytest.mark.parametrize("by", ["correct_per_wh", "quality", "energy"])
def test_entrants_of_equal_worth_are_called_different_in_at_most_5_percent(by: str) -> None:
    rng, false_alarms = np.random.default_rng(21), 0
    for _ in range(DRAWS):
        entries = simulated(rng, [0.7] * 4, [1.0] * 4)
        worth = {"quality": entries.quality, "energy": -entries.log_energy}.get(
            by, entries.quality / np.exp(entries.log_energy)
        )
        false_alarms += bool(rank_entries(differences(entries, by), worth).better.any())  # type: ignore[arg-type]
    assert false_alarms / DRAWS <= 0.05 + MARGIN


@pytest.mark.parametrize("by", ["correct_per_wh", "quality", "energy"])
def test_intervals_of_differences_cover_95_percent(by: str) -> None:
    rng, hits = np.random.default_rng(22), 0
    truth = {"quality": 10.0, "energy": math.log(0.5) * -1}.get(by, math.log(0.7 / 0.6 / 0.5))
    for _ in range(DRAWS):
        entries = simulated(rng, [0.7, 0.6], [0.5, 1.0])
        low, high = differences(entries, by).interval(0, 1) or (math.nan, math.nan)  # type: ignore[arg-type]
        hits += low <= truth <= high
    assert 0.935 - MARGIN <= hits / DRAWS <= 0.985


def test_members_of_the_true_frontier_are_called_dominated_in_at_most_5_percent() -> None:
    rng, lost, rounds = np.random.default_rng(23), 0, 150
    accuracy, wh = [0.45, 0.55, 0.56, 0.7, 0.71], [0.5, 1.0, 1.03, 2.0, 2.05]
    for _ in range(rounds):
        _, named = judge_frontier(simulated(rng, accuracy, wh), draws=300)
        lost += named.count("dominated")
    assert lost / (rounds * len(wh)) <= 0.05


def test_a_clear_loser_is_dominated_and_clear_winners_are_on() -> None:
    entries = simulated(np.random.default_rng(24), [0.9, 0.6, 0.3], [2.0, 1.0, 3.0])
    share, named = judge_frontier(entries)
    assert named == ["on", "on", "dominated"]
    assert share[2] == 0


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
