"""What the protocol is for: a drift of the machine falls on all alike, and heat is waited for."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import pytest

from joulemark.harness.cooling import cool_down
from joulemark.harness.models import parse_model
from joulemark.harness.plan import Order, make_plan
from joulemark.harness.schedule import schedule
from joulemark.meters.types import Conditions

MODELS = tuple(f"m{number}=ref/ngram" for number in range(4))


def bias(order: Order, seed: int) -> float:
    """How far off the ratio of two equal models is at worst, with a meter that reads 6 % more at the end."""
    plan = make_plan(None, {"models": MODELS, "order": order, "repeats": 6, "seed": seed})
    cells = schedule(plan, [parse_model(text) for text in MODELS], range(1, 7))
    joules: dict[str, list[float]] = defaultdict(list)
    for cell in cells:
        joules[cell.spec.name].append(math.log(1 + 0.06 * cell.order / (len(cells) - 1)))
    means = [math.fsum(logs) / len(logs) for logs in joules.values()]
    return math.expm1(max(means) - min(means))


def test_a_drift_of_6_percent_moves_interleaved_ratios_by_less_than_one_and_blocked_ones_by_more() -> None:
    interleaved = sorted(bias("interleaved", seed) for seed in range(200))
    assert interleaved[190] < 0.01
    assert bias("abba", 0) < 0.01
    assert bias("blocked", 0) > 0.03


def states(*told: tuple[float | None, str]) -> Callable[[], Sequence[Conditions]]:
    """A device that tells these temperatures and reasons one after another, the last for ever."""
    left = [
        (Conditions(device="gpu", temperature_c=heat, slowed_by=(reason,) if reason else ()),) for heat, reason in told
    ]
    return lambda: left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joulemark.harness.cooling._LOOK_EVERY_S", 0.01)


def test_the_next_cell_waits_until_heat_is_gone_and_the_device_is_cooler() -> None:
    seconds = cool_down(states((90.0, "heat"), (89.0, "heat"), (84.0, "heat"), (84.0, "")), most_s=10)
    assert 0.01 < seconds < 5


def test_a_device_that_tells_no_temperature_is_waited_for_as_long_as_it_tells_of_heat() -> None:
    assert cool_down(states((None, "heat"), (None, "")), most_s=10) < 5


def test_nobody_waits_for_ever() -> None:
    assert cool_down(states((90.0, "heat")), most_s=0.1) == pytest.approx(0.1, abs=1.0)
