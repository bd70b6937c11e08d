"""The best fixed cascade: what each comes to by brute force, and by simulation that the best has no luck in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.reports.cascades import CrossFit, SureAnswers, halves, outcome, pool

SMALL, LARGE, SMALL_WH, LARGE_WH = 0.6, 0.9, 1.0, 4.0
MODELS, QUESTIONS, DRAWS = 3, 200, 150


def made(rng: np.random.Generator, tasks: int = 2, questions: int = 20, models: int = 3) -> SureAnswers:
    return SureAnswers(
        scores=tuple(rng.integers(3, size=(questions + t, models)) / 2 for t in range(tasks)),
        confidence=tuple(rng.choice([0.1, 0.4, 0.7, 0.9, 0.95], size=(questions + t, models)) for t in range(tasks)),
        energy_wh=tuple(rng.uniform(0.5, 5, models) for _ in range(tasks)),
        chances=tuple(rng.uniform(0, 0.5, tasks)),
    )


def knows_nothing(rng: np.random.Generator) -> SureAnswers:
    """Some small models and some large ones, each kind as good as another, whose confidence says nothing."""
    right = np.repeat([SMALL, LARGE], MODELS)
    return SureAnswers(
        scores=((rng.random((QUESTIONS, 2 * MODELS)) < right).astype(float),),
        confidence=(rng.random((QUESTIONS, 2 * MODELS)),),
        energy_wh=(np.repeat([SMALL_WH, LARGE_WH], MODELS),),
        chances=(0.0,),
    )


def everything(answers: SureAnswers) -> tuple[np.ndarray, ...]:
    return tuple(np.ones(len(own), dtype=bool) for own in answers.scores)


def split_of(answers: SureAnswers) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    clusters = [np.array([f"item {at}" for at in range(len(own))]) for own in answers.scores]
    return halves([f"task {t}" for t in range(len(clusters))], clusters)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_all_that_may_be_chosen_comes_to_what_asking_question_by_question_comes_to(seed: int) -> None:
    answers = made(np.random.default_rng(seed))
    found, items = pool(answers, everything(answers)), everything(answers)
    each = [outcome(answers, items, found._at(place)) for place in range(len(found.energy_wh))]
    assert [own.energy_wh for own in each] == pytest.approx(found.energy_wh)
    assert [own.quality for own in each] == pytest.approx(found.quality)
    assert all(0 < own.escalated < 1 for own in each)
    for place in range(len(each)):
        cascade = found._at(place)
        assert answers.mean_wh[cascade.large] > answers.mean_wh[cascade.small]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), points=st.floats(0, 100), wh=st.floats(0.5, 10))
def test_no_other_is_cheaper_for_the_quality_or_better_for_the_energy(seed: int, points: float, wh: float) -> None:
    answers = made(np.random.default_rng(seed))
    items = everything(answers)
    found = pool(answers, items)
    cheapest, best = found.cheapest(points), found.best(wh)
    enough, affordable = found.quality >= points, found.energy_wh <= wh
    assert (cheapest is None) == (not enough.any())
    assert (best is None) == (not affordable.any())
    if cheapest:
        assert outcome(answers, items, cheapest).energy_wh == pytest.approx(found.energy_wh[enough].min())
    if best:
        assert outcome(answers, items, best).quality == pytest.approx(found.quality[affordable].max())


def test_a_small_model_that_knows_when_it_is_wrong_costs_the_large_one_only_there() -> None:
    rng = np.random.default_rng(4)
    right = rng.random(400) < 0.7
    answers = SureAnswers(
        scores=(np.stack([right, np.ones(400)], axis=1),),
        confidence=(np.stack([np.where(right, rng.uniform(0.6, 1, 400), rng.uniform(0, 0.5, 400)), np.ones(400)], 1),),
        energy_wh=(np.array([1.0, 10.0]),),
        chances=(0.0,),
    )
    told = CrossFit(answers, *split_of(answers)).cheapest((98.0, 98.0))
    assert told is not None
    assert told.quality == pytest.approx(99, abs=1)
    assert told.energy_wh == pytest.approx(1 + 10 * (1 - right.mean()), rel=0.05)


def test_a_model_that_does_not_tell_everywhere_how_sure_it_is_is_not_asked_first() -> None:
    answers = made(np.random.default_rng(1))
    answers.confidence[1][3, 0] = np.nan
    assert answers.smalls.tolist() == [1, 2]
    assert set(pool(answers, everything(answers)).cascades[0]) <= {1, 2}


def test_the_best_of_many_is_told_without_luck_where_confidence_knows_nothing() -> None:
    rng = np.random.default_rng(11)
    above: dict[str, list[float]] = {"told best": [], "told cheapest": [], "picked best": [], "picked cheapest": []}
    for _ in range(DRAWS):
        answers = knows_nothing(rng)
        fit, items = CrossFit(answers, *split_of(answers)), everything(answers)
        whole = pool(answers, items)
        best, cheapest = whole.best(3.0), whole.cheapest(75.0)
        assert best
        assert cheapest
        for name, own in (
            ("told best", fit.best(3.0)),
            ("told cheapest", fit.cheapest((75.0, 75.0))),
            ("picked best", outcome(answers, items, best)),
            ("picked cheapest", outcome(answers, items, cheapest)),
        ):
            assert own is not None
            # What a blind choice of so many questions for the large model comes to on average.
            above[name].append(own.quality - 100 * (SMALL + own.escalated * (LARGE - SMALL)))
            # Less than the straight line between the models, since the small one is asked in vain.
            line = 100 * (SMALL + (own.energy_wh - SMALL_WH) / (LARGE_WH - SMALL_WH) * (LARGE - SMALL))
            above.setdefault(f"line {name}", []).append(own.quality - line)
    mean = {name: float(np.mean(own)) for name, own in above.items()}
    error = {name: float(np.std(own, ddof=1)) / DRAWS**0.5 for name, own in above.items()}
    for name in ("told best", "told cheapest"):
        assert abs(mean[name]) < 3 * error[name]
        assert mean[f"line {name}"] < 3 * error[f"line {name}"]
        # The same choice looks good on the questions that it was made on.
        assert mean[name.replace("told", "picked")] > 2 + 3 * error[name]


def test_halves_are_halves_and_what_shares_a_source_stays_together_in_whatever_order() -> None:
    clusters = np.array([f"of table {at // 5}" for at in range(300)])
    [[first], [second]] = halves(["t"], [clusters])
    assert (first ^ second).all()
    assert first.sum() == second.sum() == 150
    assert not set(clusters[first]) & set(clusters[second])
    order = np.random.default_rng(0).permutation(300)
    [[again], _] = halves(["t"], [clusters[order]])
    assert (again == first[order]).all()
    # Levels of difficulty come in turn: both halves have their share of each.
    alone = np.array([f"item {at}" for at in range(400)])
    [[first], _] = halves(["t"], [alone])
    assert all(30 < first[level::4].sum() < 70 for level in range(4))
