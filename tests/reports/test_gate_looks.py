"""Looks that were planned, and runs whose repeats were raised to come to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from made_runs import COUNTER

from joulemark.harness.record import Cell, Invocation, Span
from joulemark.harness.store import Run, read_run
from joulemark.reports.gate import Gate, judge, next_look
from joulemark.reports.gatecommands import gate
from joulemark.reports.gateconfig import GateConfig, Limits
from joulemark.reports.pairing import read_side
from joulemark.reports.progress import progress

Make = Callable[..., Run]

ALIKE = {"base": (0.7, 0.001, 1), "cand": (0.7, 0.001, 1)}
ONCE = GateConfig(limits=Limits(max_increase=0.05))
LOOKS = ONCE.model_copy(update={"looks": (4, 6, 10)})


@pytest.fixture
def make(make_run: Make) -> Make:
    """A run of base and cand by a counter, as if it had been raised to its repeats."""

    def write(repeats: int, *raised_from: int, **kwargs: Any) -> Run:
        usual: dict[str, Any] = {"models": ALIKE, "tasks": ("units",), "meter": COUNTER, "spread": 0.005}
        run = make_run(repeats=repeats, **(usual | kwargs))
        return headed(run, raised_from=list(raised_from))

    return write


def headed(run: Run, **facts: Any) -> Run:
    file = run.path / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | facts), encoding="utf-8")
    return read_run(run.path)


def gated(run: Run, config: GateConfig) -> Gate:
    return judge(read_side(f"{run.path}:base"), read_side(f"{run.path}:cand"), config)


def test_a_raised_run_is_finished_and_decides_at_the_look_it_was_raised_to(make: Make) -> None:
    run = make(6, 4)
    assert progress(run) is None
    found = gated(run, LOOKS)
    assert (found.verdict, found.reasons, found.alpha) == ("pass", (), pytest.approx(0.019))


def test_a_run_that_was_raised_without_planned_looks_is_no_verdict(make: Make) -> None:
    """Who looks again until it decides sees it decide: of alpha nothing would be left."""
    found = gated(make(8, 4, 6), ONCE)
    assert found.verdict == "inconclusive"
    assert found.reasons == (
        "the run was raised from 6 to 8 repeats, and looking again until it decides is no test; say in [gate] at which "
        "numbers you look: looks = [4, 6, 8].",
    )
    assert gated(make(8, name="run-2"), ONCE).verdict == "pass"


def test_an_undecided_look_names_the_command_that_goes_on_to_the_next(make: Make, tmp_path: Any) -> None:
    table = tmp_path / "gate.toml"
    table.write_text("[gate]\nlooks = [4, 6]\nmax_drop = false\n", encoding="utf-8")
    for name, repeats, told in (
        (
            "run-1",
            4,
            "Go on to the next look, at 6 repeats, by `joulemark run --resume {} --repeats 6`, and gate again",
        ),
        ("run-2", 6, "No planned look is left: measure anew"),
    ):
        run = make(repeats, name=name, spread=0.2)
        sides = [f"--{side}={run.path}:{model}" for side, model in (("baseline", "base"), ("candidate", "cand"))]
        shown = CliRunner().invoke(gate, [*sides, "--config", str(table), "--json"], standalone_mode=False)
        assert shown.return_value == 3
        assert told.format(run.path) in json.loads(shown.output)["finding"]


@pytest.mark.parametrize(
    ("repeats", "planned", "look"), [(4, 4, 6), (5, 5, 6), (5, 6, 6), (5, 8, 10), (10, 10, None), (5, 12, None)]
)
def test_the_next_look_is_one_that_the_plan_can_still_come_to(repeats: int, planned: int, look: int | None) -> None:
    assert next_look((4, 6, 10), repeats, planned) == look


def test_a_pair_that_a_kill_tore_apart_is_left_out_and_the_look_stands(make: Make) -> None:
    """Of the second repeat the candidate was measured after the run was resumed, and so was all that follows."""
    began = ("2026-01-05T10:00:00Z", "2026-01-06T10:00:00Z")

    def change(cell: Cell) -> Cell:
        late = (cell.repeat, cell.model == "cand") >= (1, True)
        return cell.model_copy(update={"idle_window": Span(began_at=began[late], window_s=3.0)})

    windows = [Invocation(before=Span(began_at=at, window_s=3.0), before_w=4.0) for at in began]
    run = make(4, change=change)
    found = gated(headed(run, invocations=[each.model_dump(mode="json") for each in windows]), LOOKS)
    assert found.verdict == "pass"
    assert {rule.metric: rule.repeats for rule in found.rules} == {"energy": 3}
    assert found.reasons == (
        "cand: the run was resumed between the two of 1 pair of repeats; their energy is left out.",
    )
