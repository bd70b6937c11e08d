"""What the claim's page says of a measurement: its verdicts follow from the intervals, and from nothing else."""

import math
from dataclasses import replace
from pathlib import Path

import contests
import numpy as np
import pytest
from contests import DENSE_LINES, QUESTIONS, Contest, above_line, answer, as_ratio, meetings, spread
from made_runs import write_run

from joulemark.harness.models import card, reference_models
from joulemark.harness.store import Run
from joulemark.reports.contest import Entries, ItemTable, differences

MORE, ALIKE, LESS, VAGUE = (1.2, 1.1, 1.3), (1.0, 0.97, 1.03), (0.8, 0.7, 0.9), (1.1, 0.9, 1.3)
UP, LEVEL, DOWN, BROAD = (3.0, 1.0, 5.0), (0.1, -0.5, 0.7), (-3.0, -5.0, -1.0), (0.0, -2.0, 2.0)
Spread = tuple[float, float, float]


def contest(quality: Spread, energy: Spread, above: Spread | None = LEVEL, batch: int = 1, seed: int = 1) -> Contest:
    pair = ("sparse", "dense")
    return Contest(
        pair=pair, seed=seed, one=pair[0], other=pair[1], batch=batch, quality=quality, energy=energy, rate=None,
        above=above,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("quality", "energy", "above", "won", "words"),
    [
        (UP, LESS, DOWN, True, "better answers, less energy"),
        (UP, ALIKE, LEVEL, True, "better answers, the same energy within 5 %"),
        (LEVEL, LESS, UP, True, "as good within 1 point, less energy"),
        (LEVEL, LESS, DOWN, None, "as good within 1 point, less energy, yet below the dense line"),
        (DOWN, MORE, UP, False, "worse answers, more energy"),
        (LEVEL, MORE, DOWN, False, "as good within 1 point, more energy"),
        (LEVEL, MORE, UP, None, "as good within 1 point, more energy, yet above the dense line"),
        (LEVEL, ALIKE, UP, None, "as good within 1 point, the same energy within 5 %"),
        (DOWN, ALIKE, LEVEL, False, "worse answers, the same energy within 5 %"),
        (UP, ALIKE, DOWN, None, "better answers, the same energy within 5 %, yet below the dense line"),
        (BROAD, LESS, UP, True, "answers cannot be told apart, less energy: above the dense line"),
        (BROAD, LESS, LEVEL, None, "answers cannot be told apart, less energy: on the dense line within error"),
        (BROAD, MORE, DOWN, False, "answers cannot be told apart, more energy: below the dense line"),
        (UP, VAGUE, UP, True, "better answers, energy cannot be told apart: above the dense line"),
        (DOWN, VAGUE, LEVEL, None, "worse answers, energy cannot be told apart: on the dense line within error"),
        (BROAD, VAGUE, UP, None, "answers cannot be told apart, energy cannot be told apart"),
        (
            (0.8, -0.1, 1.7),
            MORE,
            LEVEL,
            None,
            "better answers, or at most 1 point worse, more energy: on the dense line within error",
        ),
        ((-0.8, -1.7, 0.1), MORE, LEVEL, False, "worse answers, or at most 1 point better, more energy"),
        (UP, (1.02, 0.99, 1.04), LEVEL, True, "better answers, the same energy within 5 %"),
        (UP, (1.02, 1.01, 1.04), LEVEL, True, "better answers, more energy"),
        (
            UP,
            (1.03, 0.99, 1.06),
            LEVEL,
            None,
            "better answers, more energy, or at most 5 % less: on the dense line within error",
        ),
        ((-0.5, -0.9, -0.1), LESS, LEVEL, True, "worse answers, less energy"),
        ((-0.6, -1.1, -0.1), LESS, LEVEL, None, "worse answers, less energy: on the dense line within error"),
        (UP, MORE, UP, True, "better answers, more energy: above the dense line"),
        (UP, MORE, DOWN, False, "better answers, more energy: below the dense line"),
        (DOWN, LESS, LEVEL, None, "worse answers, less energy: on the dense line within error"),
    ],
)
def test_a_pair_is_judged_on_both_axes_and_a_trade_by_the_dense_line(
    quality: Spread, energy: Spread, above: Spread, won: bool | None, words: str
) -> None:
    assert contest(quality, energy, above).won is won
    assert contest(quality, energy, above).in_words == words


YES, NO, UNTOLD = contest(UP, LESS), contest(DOWN, MORE), contest(LEVEL, ALIKE)


def test_yes_and_no_need_every_line() -> None:
    assert answer([YES, contest(UP, LESS, seed=2)]) == "Yes."
    assert answer([NO, contest(DOWN, MORE, seed=2)]) == "No."
    assert answer([UNTOLD, contest(LEVEL, ALIKE, seed=2)]) == "Undecided."


def test_where_lines_differ_each_kind_is_counted_at_each_batch_size() -> None:
    seconds = [contest(UP, LESS, seed=2), contest(LEVEL, ALIKE, seed=2)]
    assert answer([YES, *seconds]) == "Batch 1: yes in 2 of 3 comparisons, undecided in 1."
    assert answer([NO, *seconds]) == "Batch 1: yes in 1 of 3 comparisons, no in 1, undecided in 1."
    at_32 = [replace(NO, batch=32), replace(NO, batch=32, seed=2)]
    assert answer([YES, *seconds, *at_32]) == "Batch 1: yes in 2 of 3 comparisons, undecided in 1; batch 32: no."


def test_one_training_seed_is_said_to_be_one_and_nothing_measured_is_no_verdict() -> None:
    assert answer([YES]) == "Yes. One training seed."
    assert answer([]) == "Not measured."


def test_a_second_seed_of_one_pair_is_none_for_another() -> None:
    other_pair = replace(YES, pair=("other", "dense"))
    assert answer([YES, contest(UP, LESS, seed=2), other_pair]) == "Yes. One training seed."


def entries(right: list[float], wh: list[float]) -> Entries:
    """Entrants that answer these shares of 1,000 questions, for these watt-hours, each known to 1 %."""
    items = np.array([[number < 1000 * share for share in right] for number in range(1000)], dtype=float)
    n = len(right)
    return Entries(
        quality=100 * items.mean(axis=0),
        log_energy=np.log(wh),
        energy_var=np.full(n, 1e-4),
        energy_df=np.full(n, 4.0),
        scale_var=np.full(n, 0.2),
        yardstick=np.zeros(n, dtype=np.int64),
        items=(ItemTable(scores=items, clusters=np.arange(1000), points=np.full(n, 100.0)),),
    )


def test_signs_are_the_first_ones_less_the_second_ones_and_turn_round_with_them() -> None:
    there, back = entries([0.9, 0.8], [2.0, 1.0]), entries([0.8, 0.9], [1.0, 2.0])
    assert spread(differences(there, "quality"))[0] == pytest.approx(10)
    ratio = as_ratio(spread(differences(there, "energy"), -1))
    assert ratio[0] == pytest.approx(2)
    assert ratio[1] < 2 < ratio[2]
    assert as_ratio(spread(differences(back, "energy"), -1)) == pytest.approx(
        (1 / ratio[0], 1 / ratio[2], 1 / ratio[1])
    )
    assert as_ratio(spread(differences(there, "correct_per_wh")))[0] == pytest.approx(90 / 2 / 80)


def test_the_dense_line_is_straight_in_what_is_missing_and_energy_on_log_scales() -> None:
    middle = math.sqrt(1.0 * 4.0)
    value, low, high = above_line(entries([0.75, 0.6, 0.8], [middle, 1.0, 4.0]))
    assert value == pytest.approx(75 - (100 - math.sqrt(40 * 20)))
    assert low < value < high
    assert above_line(entries([0.7, 0.6, 0.8], [9.0, 1.0, 4.0])) is None, "beyond its end there is no line"
    assert above_line(entries([0.7, 0.6, 0.8], [0.5, 1.0, 4.0])) is None, "nor before its beginning"
    assert contest(UP, MORE, None).won is None
    assert "no dense line" in contest(UP, MORE, None).in_words


def test_just_beyond_its_end_the_dense_line_keeps_its_last_quality() -> None:
    value, low, high = above_line(entries([0.83, 0.6, 0.8], [4.02, 1.0, 4.0]))
    assert value == pytest.approx(3)
    assert low < value < high


def test_a_perfect_dense_model_has_a_line_too() -> None:
    assert above_line(entries([0.9, 0.6, 1.0], [2.0, 1.0, 4.0]))[0] < 0


def test_a_random_mix_of_two_dense_models_is_not_above_their_line() -> None:
    # Half of the questions at 1 Wh and half at 4 Wh cost 2.5 Wh, more than the 2 Wh of the line's middle.
    assert above_line(entries([0.7, 0.6, 0.8], [2.5, 1.0, 4.0]))[0] < 0


def test_each_seed_and_precision_meets_its_own_dense_models(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["moe-800k-a240k", "cascade-int8", *(name for line in DENSE_LINES for name in line)]
    shelf = {name: {} for name in names} | {f"{name}-s2": {"replica_of": name} for name in names}
    monkeypatch.setattr(contests, "reference_models", lambda: list(shelf))
    monkeypatch.setattr(contests, "card", shelf.__getitem__)
    met = {(found.one, found.other): list(found.line) for found in meetings(shelf)}
    for tail in ("", "-s2"):
        single, eight = ([name + tail for name in line] for line in DENSE_LINES)
        assert met["moe-800k-a240k" + tail, "dense-240k" + tail] == single
        assert met["cascade-int8" + tail, "int8-240k" + tail] == eight
    assert len(met) == 2 * 6


def test_the_first_seed_of_every_pair_is_on_the_shelf() -> None:
    assert {name for question in QUESTIONS for pair in question.pairs for name in pair} <= set(reference_models())


def test_the_controls_are_as_large_as_what_they_control_within_one_percent() -> None:
    sparse, small, large = (card(name) for name in ("moe-800k-a240k", "dense-240k", "dense-800k"))
    assert sparse["active_params"] == pytest.approx(small["active_params"], rel=0.01)
    assert sparse["params"] == pytest.approx(large["params"], rel=0.01)


@pytest.fixture
def measured(tmp_path: Path) -> Run:
    """Models of two seeds: experts that do better and take half as much as either dense model of theirs."""
    figures = {"moe-800k-a240k": (0.9, 0.001, 9), "dense-240k": (0.6, 0.002, 9), "dense-800k": (0.8, 0.004, 9)}
    figures |= {f"{name}-s2": of for name, of in figures.items() if name != "dense-240k"}
    return write_run(tmp_path / "run", {f"ref/{name}": of for name, of in figures.items()}, items=600, repeats=4)


def test_all_four_figures_of_a_contest_point_the_same_way(monkeypatch: pytest.MonkeyPatch, measured: Run) -> None:
    shelf = {name: {} for name in ("moe-800k-a240k", "dense-240k", "dense-800k")}
    shelf |= {f"{name}-s2": {"replica_of": name} for name in shelf}
    monkeypatch.setattr(contests, "reference_models", lambda: list(shelf))
    monkeypatch.setattr(contests, "card", shelf.__getitem__)
    found = {(c.one, c.other): c for c in contests.contests(measured, 32)}
    assert set(found) == {
        ("moe-800k-a240k", "dense-240k"), ("moe-800k-a240k", "dense-800k"), ("moe-800k-a240k-s2", "dense-800k-s2")
    }  # fmt: skip
    small = found["moe-800k-a240k", "dense-240k"]
    assert small.quality[0] == pytest.approx(30, abs=3)
    assert small.energy[0] == pytest.approx(0.5, abs=0.05)
    assert small.rate[0] == pytest.approx(3, abs=0.4)
    assert small.above is None, "no dense model takes so little"
    assert (small.won, small.batch, small.seed) == (True, 32, 1)
    assert found["moe-800k-a240k-s2", "dense-800k-s2"].above is None, "one dense model makes no line"
