"""How often the gate errs and what it sees: simulated, against what it promises; all of it is in benchmarks/gate.py."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

DRAWS = 1000
_FILE = Path(__file__).parents[2] / "benchmarks" / "gate.py"


@pytest.fixture(scope="module")
def simulated() -> Iterator[ModuleType]:
    """The benchmark, whose figures are the same with fewer draws."""
    name = "simulated_gate"
    spec = importlib.util.spec_from_file_location(name, _FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


def most(rate: float, draws: int = DRAWS) -> float:
    """A nominal rate with 3 Monte Carlo standard errors."""
    return rate + 3 * math.sqrt(rate * (1 - rate) / draws)


@pytest.mark.parametrize("tails", [math.inf, 3.0], ids=["normal", "heavy tails"])
@pytest.mark.parametrize("spread", [0.01, 0.05])
def test_a_candidate_at_the_margin_seldom_fails_and_seldom_passes(
    simulated: ModuleType, spread: float, tails: float
) -> None:
    design = simulated.Design(spread=spread, tails=tails)
    assert simulated.share_of("fail", "fails", design, DRAWS) <= most(0.05)
    assert simulated.share_passed("passes", design, DRAWS) <= most(0.05)


@pytest.mark.parametrize("repeats", [4, 6, 10])
def test_the_smallest_effect_that_is_printed_fails_in_four_of_five(simulated: ModuleType, repeats: int) -> None:
    found = simulated.power(simulated.Design(repeats=repeats, drift=0.0), DRAWS)
    assert 1 - most(1 - 0.77) <= found <= most(0.83)


def test_with_several_rules_the_effect_that_is_printed_is_seen_as_often(simulated: ModuleType) -> None:
    assert simulated.power(simulated.Design(rules=4, drift=0.0), DRAWS) >= 1 - most(1 - 0.77)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_planned_looks_together_take_no_more_than_alpha(simulated: ModuleType, alpha: float) -> None:
    design = simulated.Design(alpha=alpha, looks=(4, 6, 10))
    assert simulated.failed_at_looks(design, DRAWS) <= most(alpha)


def test_looking_as_often_without_a_plan_fails_too_often(simulated: ModuleType) -> None:
    """The reason for the plan, and a check that these simulations can fail."""
    planned = simulated.Design(alpha=0.05, looks=(4, 6, 10), drift=0.0)
    unplanned = simulated.Design(alpha=0.05 / 0.38, looks=(4, 6, 10), drift=0.0)
    assert simulated.failed_at_looks(unplanned, DRAWS) > most(planned.alpha)


def test_of_twenty_rules_at_the_margin_seldom_any_fails(simulated: ModuleType) -> None:
    design = simulated.Design(rules=20)
    assert simulated.share_of("fail", "rules", design, DRAWS) <= most(0.05)


def test_two_runs_with_a_history_are_as_sure_and_without_one_they_are_not(simulated: ModuleType) -> None:
    told = simulated.Design(days=0.05, history=20, daily=3, hours=0.03, drift=0.0)
    assert simulated.share_of("fail", "days", told, DRAWS) <= most(0.05)
    assert simulated.share_of("pass", "days", told, DRAWS) <= most(0.05)
    assert simulated.share_of("fail", "days", simulated.Design(days=0.05), DRAWS) > 0.2, "that is refused"


def test_a_run_that_stops_when_it_is_precise_enough_errs_as_seldom_and_else_would_not(simulated: ModuleType) -> None:
    design = simulated.Design(repeats=3, precision=0.0225, steady=True, drift=0.0)
    assert simulated.stopped_share("fail", design, DRAWS) <= most(0.05)
    uncorrected, more = replace(design, alpha=0.15), 3 * DRAWS
    assert simulated.stopped_share("fail", uncorrected, more) > most(0.05, more)


def test_few_points_above_guessing_do_not_pass_by_luck(simulated: ModuleType) -> None:
    assert simulated.rate_share("pass", 5, simulated.Design(drift=0.0), DRAWS) <= most(0.05)


def test_two_points_that_are_lost_seldom_fail_and_seldom_pass(simulated: ModuleType) -> None:
    for verdict in ("fail", "pass"):
        assert simulated.quality_share(verdict, (0.9, 0.88), 300, DRAWS) <= most(0.05)
        assert simulated.quality_share(verdict, (0.9, 0.88), 1500, DRAWS, of_source=3) <= most(0.05)
        assert simulated.bound_share(verdict, 0.96, 50, DRAWS) <= most(0.05)
