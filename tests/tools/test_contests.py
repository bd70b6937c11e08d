"""What the claim's page says of a measurement: its verdicts follow from the intervals, and from nothing else."""

import pytest
from contests import QUESTIONS, Contest, answer

from joulemark.harness.models import card, reference_models

BETTER, SAME, WORSE = (1.2, 1.1, 1.3), (1.0, 0.9, 1.1), (0.8, 0.7, 0.9)


def contest(batch: int, rate: tuple[float, float, float] | None, **given: tuple[float, float, float]) -> Contest:
    spreads = {"quality": (0.0, -1.0, 1.0), "energy": SAME} | given
    return Contest(one="sparse", other="dense", batch=batch, rate=rate, **spreads)


def test_yes_needs_every_seed_and_batch_and_no_needs_every_one_against_it() -> None:
    assert answer([contest(1, BETTER), contest(1, BETTER), contest(32, BETTER)]) == "Yes."
    assert answer([contest(1, WORSE), contest(32, WORSE)]) == "No."


def test_what_cannot_be_told_apart_is_neither_yes_nor_a_plain_no() -> None:
    assert answer([contest(1, BETTER), contest(32, SAME)]).startswith("Not surely")
    assert answer([contest(1, WORSE), contest(32, SAME)]).startswith("No: at best")
    assert answer([contest(1, BETTER), contest(32, None)]).startswith("Not surely")


def test_where_batch_sizes_disagree_each_is_told() -> None:
    assert answer([contest(1, BETTER), contest(32, WORSE)]) == "It depends: yes at batch 1, no at batch 32."


def test_where_seeds_disagree_at_one_batch_size_no_batch_size_is_credited() -> None:
    assert answer([contest(1, BETTER), contest(1, WORSE)]) == "It depends; see each line."


def test_nothing_measured_is_no_verdict() -> None:
    assert answer([]) == "Not measured."


@pytest.mark.parametrize(
    ("quality", "energy", "words"),
    [
        ((3.0, 1.0, 5.0), WORSE, "better answers, less energy"),
        ((-3.0, -5.0, -1.0), BETTER, "worse answers, more energy"),
        ((0.5, -1.0, 2.0), SAME, "the same answers within error, the same energy within error"),
    ],
)
def test_a_trade_is_told_by_its_intervals(
    quality: tuple[float, float, float], energy: tuple[float, float, float], words: str
) -> None:
    assert contest(1, SAME, quality=quality, energy=energy).in_words == words


def test_the_first_seed_of_every_pair_is_on_the_shelf() -> None:
    first = {name for question in QUESTIONS for pair in question.pairs for name in pair if "-s2" not in name}
    assert first <= set(reference_models())


def test_the_controls_are_as_large_as_what_they_control_within_one_percent() -> None:
    sparse, small, large = (card(name) for name in ("moe-800k-a240k", "dense-240k", "dense-800k"))
    assert sparse["active_params"] == pytest.approx(small["active_params"], rel=0.01)
    assert sparse["params"] == pytest.approx(large["params"], rel=0.01)
