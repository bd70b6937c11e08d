"""How much a frontier covers: against an oracle, and what must not change it."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import unescape

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import COUNTER

from joulemark.harness.store import Run
from joulemark.reports.contest import Entries, ItemTable, draw_jointly
from joulemark.reports.documents import as_markdown
from joulemark.reports.html import page
from joulemark.reports.hypervolume import REFERENCE_WH, exclusive, hypervolume, interval, sentence
from joulemark.reports.views import make_views

ENTRANTS = st.lists(st.tuples(st.floats(1e-6, 1e6), st.floats(-30, 100)), min_size=1, max_size=12)
UNIT = st.sampled_from([1e-3, 3.6, 1e3, 3600.0])
quick = settings(max_examples=80, deadline=None)
DRAWS = 150
MARGIN = 3 * math.sqrt(0.95 * 0.05 / DRAWS)


def covered(entrants: list[tuple[float, float]], reference_wh: float = REFERENCE_WH) -> float:
    wh, quality = np.array(entrants).T
    return float(hypervolume(np.log(wh), quality, math.log(reference_wh)))


@quick
@given(ENTRANTS)
def test_it_is_what_another_library_finds(entrants: list[tuple[float, float]]) -> None:
    decades = [[math.log10(wh), -quality] for wh, quality in entrants]
    wanted = moocore.hypervolume(decades, ref=[math.log10(REFERENCE_WH), 0.0])
    assert covered(entrants) == pytest.approx(wanted, abs=1e-9)


def test_two_steps_by_hand() -> None:
    assert covered([(100.0, 40.0), (10_000.0, 70.0)]) == pytest.approx(2 * 40 + 1 * 70)


@quick
@given(ENTRANTS, UNIT)
def test_another_unit_of_energy_changes_nothing(entrants: list[tuple[float, float]], unit: float) -> None:
    there = [(wh * unit, quality) for wh, quality in entrants]
    assert covered(there, REFERENCE_WH * unit) == pytest.approx(covered(entrants), abs=1e-9)


@quick
@given(ENTRANTS, st.data())
def test_whoever_is_beaten_adds_nothing(entrants: list[tuple[float, float]], data: st.DataObject) -> None:
    wh, quality = data.draw(st.sampled_from(entrants))
    beaten = (wh * data.draw(st.floats(1, 100)), quality - data.draw(st.floats(0, 50)))
    assert covered([*entrants, beaten]) == pytest.approx(covered(entrants), abs=1e-9)


@quick
@given(ENTRANTS, st.data())
def test_whoever_improves_takes_nothing_away(entrants: list[tuple[float, float]], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entrants) - 1))
    wh, quality = entrants[at]
    better = (wh * data.draw(st.floats(0.01, 1)), quality + data.draw(st.floats(0, 50)))
    assert covered([*entrants[:at], better, *entrants[at + 1 :]]) >= covered(entrants) - 1e-9


@quick
@given(ENTRANTS)
def test_what_each_alone_adds_is_what_is_lost_without_it(entrants: list[tuple[float, float]]) -> None:
    wh, quality = np.array(entrants).T
    alone = exclusive(np.log(wh), quality)
    for at, lost in enumerate(alone):
        rest = [*entrants[:at], *entrants[at + 1 :]]
        assert lost == pytest.approx(covered(entrants) - (covered(rest) if rest else 0.0), abs=1e-9)
    assert alone.sum() <= covered(entrants) + 1e-6


def test_a_guesser_and_whoever_takes_more_than_the_reference_cover_nothing() -> None:
    assert covered([(1e-3, 0.0)]) == 0
    assert covered([(1e-3, -5.0)]) == 0
    assert covered([(2 * REFERENCE_WH, 90.0)]) == 0


def measured(rng: np.random.Generator, rates: np.ndarray, wh: np.ndarray) -> Entries:
    """Entrants of known worth, 300 questions and 3 repeats."""
    scores = (rng.random((300, len(rates))) < rates).astype(float)
    logs = np.log(wh) + rng.normal(0, 0.03, size=(3, len(wh)))
    return Entries(
        quality=100 * scores.mean(axis=0),
        log_energy=logs.mean(axis=0),
        energy_var=logs.var(axis=0, ddof=1) / 3,
        energy_df=np.full(len(wh), 2.0),
        scale_var=np.zeros(len(wh)),
        yardstick=np.zeros(len(wh), dtype=np.int64),
        items=(ItemTable(scores=scores, clusters=np.arange(300), points=np.full(len(wh), 100.0)),),
    )


def test_the_interval_holds_the_truth_and_the_value() -> None:
    rng, rates, wh = np.random.default_rng(5), np.array([0.4, 0.6, 0.8, 0.9]), np.array([0.001, 0.01, 0.1, 1.0])
    truth, hits = float(hypervolume(np.log(wh), 100 * rates)), 0
    for seed in range(DRAWS):
        entries = measured(rng, rates, wh)
        value = float(hypervolume(entries.log_energy, entries.quality))
        low, high = interval(value, *draw_jointly(entries, 400, seed))
        hits += low <= truth <= high
        assert low <= value <= high
    assert 0.935 - MARGIN <= hits / DRAWS <= 0.965 + MARGIN


def test_the_meters_own_error_widens_the_interval_by_its_decades_and_shrinks_it_never() -> None:
    entries = measured(np.random.default_rng(1), np.array([0.5, 0.9]), np.array([0.01, 0.1]))
    value, draws = float(hypervolume(entries.log_energy, entries.quality)), draw_jointly(entries, 400)
    (low, high), (far_low, far_high) = interval(value, *draws), interval(value, *draws, rel_u=0.5)
    shift = 1.96 * 0.5 / math.log(10) * 90
    assert far_low < low <= value <= high < far_high
    assert value - far_low == pytest.approx(math.hypot(value - low, shift), rel=0.05)


def test_of_a_view_it_covers_the_judged_entrants_and_says_what_each_alone_adds(make_run: Callable[..., Run]) -> None:
    view = make_views([make_run(meter=COUNTER)])[0]
    found = view.covered
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    judged = [(r.energy_wh_per_1k or 0.0, r.quality or 0.0) for r in view.rows if r.frontier]
    assert found.value == pytest.approx(covered(judged))
    for row in view.rows:
        assert (row.hypervolume_share is None) == (row.frontier is None)
        assert row.hypervolume_share is None or (row.hypervolume_share > 0) == (row.frontier != "dominated")


def test_it_stands_in_the_method_with_what_it_is_for_and_below_no_table(make_run: Callable[..., Run]) -> None:
    run = make_run(meter=COUNTER)
    views = make_views([run])
    for text in (as_markdown(views, [run]), unescape(page(views, [run]))):
        before, _, after = text.partition("The frontier as one number")
        assert "point-decades" not in before
        assert sentence(views[0].covered) in after
        assert "that of another report" in after


def test_without_a_judged_entrant_there_is_none(make_run: Callable[..., Run]) -> None:
    guesser = make_run(models={"ngram": (0.0, 0.0005, 4096)}, meter=COUNTER)
    assert make_views([guesser])[0].covered is None


def test_one_repeat_has_no_interval(make_run: Callable[..., Run]) -> None:
    found = make_views([make_run(repeats=1)])[0].covered
    assert found is not None
    assert (found.low, found.high) == (None, None)
