"""What a calibration says a gate would see: known noise, the gate's own figures, and no figure from nothing."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from made_runs import COUNTER

from joulemark.harness.record import Cell, Invocation, Span
from joulemark.harness.store import Run, read_run
from joulemark.reports.gate import judge
from joulemark.reports.gatecalibrate import Calibration, alike, calibrate
from joulemark.reports.gatecommands import gate
from joulemark.reports.gateconfig import GateConfig, Limits
from joulemark.reports.gateforesee import MOST, Energy, foresee
from joulemark.reports.gatetests import Test as OneTest

Make = Callable[..., Run]

TWICE = {"a": (0.7, 0.001, 1), "b": (0.7, 0.001, 1)}
JOULEMARK = [sys.executable, "-m", "joulemark.harness.cli"]
_BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "gate.py"


@pytest.fixture
def make(make_run: Make) -> Make:
    """A run of one model twice: the same answers, and energy that scatters by 2 % in each."""

    def answer_alike(_task: str, items: pd.DataFrame) -> pd.DataFrame:
        right = np.arange(len(items)) < items["score"].sum()
        return items.assign(score=right.astype(float), correct=right)

    def write(name: str = "run-1", **kwargs: Any) -> Run:
        usual: dict[str, Any] = {"models": TWICE, "repeats": 10, "meter": COUNTER, "spread": 0.02, "items": 300}
        return make_run(name, **(usual | {"change_items": answer_alike} | kwargs))

    return write


def calibrated(run: Run, config: GateConfig | None = None) -> Calibration:
    return calibrate(*alike(run), config or GateConfig())


def foreseen(sd: float, *, rules: int = 1, repeats: int = 10) -> Energy:
    ones = [OneTest(value=0.0, var=sd**2, df=repeats - 1.0, limit=math.log1p(0.05))] * rules
    return foresee("t", repeats, ones, repeats - 1.0, alpha=0.05, share=0.05 / rules)


def command(*args: str) -> tuple[int, str]:
    told = CliRunner().invoke(gate, ["--calibrate", *args], standalone_mode=False)
    if told.exception:
        return getattr(told.exception, "exit_code", 1), str(getattr(told.exception, "message", told.exception))
    return told.return_value, told.output


def test_known_noise_is_found_and_known_better_over_all_tasks_than_in_one(make: Make) -> None:
    found = calibrated(make(repeats=40, items=20))
    assert found.whole
    for own in (*found.energy, found.whole):
        assert own.noise.low < 0.02 * math.sqrt(2) < own.noise.high
    assert found.whole.noise.high / found.whole.noise.low < found.energy[0].noise.high / found.energy[0].noise.low


def test_a_gate_of_as_many_repeats_is_foreseen_to_see_just_what_it_prints(make: Make) -> None:
    run = make()
    found = calibrated(run)
    printed = {
        rule.task: rule.min_detectable for rule in judge(*alike(run), GateConfig()).rules if rule.metric == "energy"
    }
    assert {own.task: own.smallest[10] for own in found.energy} == pytest.approx(printed)
    assert found.whole
    assert found.whole.smallest[6] == max(own.smallest[6] for own in found.energy)


@given(st.floats(1e-5, 0.5), st.integers(1, 30), st.integers(4, 40))
def test_noise_never_makes_gates_see_more_nor_need_fewer_repeats(sd: float, rules: int, repeats: int) -> None:
    own, noisier = foreseen(sd, rules=rules, repeats=repeats), foreseen(2 * sd, rules=rules, repeats=repeats)
    assert 1.05 < own.smallest[10] < own.smallest[6] < own.smallest[4]
    for needed, more in ((own.to_pass, noisier.to_pass), (own.to_fail, noisier.to_fail)):
        assert 2 <= needed.low <= needed.value <= needed.high
        assert needed.value <= more.value
        assert math.isinf(needed.value) or (needed.value % 2 == 0 and needed.value <= MOST)
    assert foreseen(sd, rules=rules + 1, repeats=repeats).to_pass.value >= own.to_pass.value, "all have to pass"


def test_hardly_any_noise_needs_few_repeats_and_a_lot_more_than_can_be_counted() -> None:
    assert (foreseen(1e-5).to_pass.value, foreseen(1e-5).to_fail.value) == (2, 2)
    assert foreseen(500.0).smallest[4] == math.inf
    assert foreseen(2.0).to_pass.value == foreseen(2.0).to_fail.value == math.inf


@pytest.fixture(scope="module")
def simulated() -> Any:
    """The benchmark, whose figures are the same with fewer draws."""
    spec = importlib.util.spec_from_file_location("calibrated_gate", _BENCHMARK)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def within(rate: float, draws: int) -> float:
    """3 Monte Carlo standard errors."""
    return 3 * math.sqrt(rate * (1 - rate) / draws)


@pytest.mark.parametrize("repeats", [4, 10])
def test_what_a_long_calibration_foresees_fails_in_four_of_five_gates(simulated: Any, repeats: int) -> None:
    found = simulated.power_foreseen(simulated.Design(repeats=repeats, drift=0.0), 40, 1000)
    assert 0.77 - within(0.77, 1000) <= found <= 0.83 + within(0.83, 1000)


def test_after_as_many_repeats_as_are_needed_a_model_that_costs_the_same_passes(simulated: Any) -> None:
    # At 5 % the number is not rounded up by much.
    found = simulated.passes_foreseen(simulated.Design(spread=0.05, drift=0.0), 40, 1000)
    assert 0.77 - within(0.77, 1000) <= found <= 0.86 + within(0.86, 1000)


def test_bounds_are_allowed_for_and_do_not_judge_the_model_that_calibrates(make: Make) -> None:
    run = make()
    plain = calibrated(run)
    bound = calibrated(run, GateConfig(limits=Limits(max_increase=0.05, max_drop=2.0, min_quality=99.0), looks=(4, 6)))
    assert (plain.rules, bound.rules) == (4, 6)
    assert {rule.metric for rule in bound.gate.rules} == {"energy", "quality"}
    assert bound.energy[0].smallest[6] > plain.energy[0].smallest[6]


def test_each_task_has_its_own_margin_and_limits_of_other_tasks_do_not_matter(make: Make) -> None:
    tasks = {"un*": Limits.model_validate({"max_increase": "150%"}), "arc_*": Limits(max_increase=0.01)}
    found = calibrated(make(), GateConfig(limits=Limits(max_increase=0.05), tasks=tasks))
    assert {own.task: own.margin for own in found.energy} == pytest.approx({"dates": 1.05, "units": 2.5})
    assert found.whole
    assert found.whole.margin is None
    assert not found.missing


def test_the_same_answers_need_at_least_the_questions_that_lost_ones_would_scatter_by(make: Make) -> None:
    """Of 2 % lost answers the standard error is 14 points over the root of n; 1.645 + 0.842 of them are 2 points."""
    [own, _] = calibrated(make()).quality
    assert own.to_pass == pytest.approx((1.6449 + 0.8416) ** 2 * 0.02 * 0.98 * 1e4 / 4, abs=4)
    few = calibrated(make("run-2", items=100)).quality[0]
    assert few.to_pass == own.to_pass
    assert few.smallest > own.smallest


def test_a_calibration_that_was_resumed_loses_only_the_pair_between(make: Make) -> None:
    """Each model's idle power was taken by itself, at its own time, in either part."""

    def change(cell: Cell) -> Cell:
        late = cell.repeat > 4 or (cell.repeat == 4 and cell.model == "b")
        began = f"2026-01-0{6 if late else 5}T10:00:0{1 if cell.model == 'a' else 2}.000+00:00"
        return cell.model_copy(update={"idle_window": Span(began_at=began, window_s=0.5)})

    run = make(change=change)
    days = [Span(began_at=f"2026-01-0{day}T10:00:00.000+00:00", window_s=0.5) for day in (5, 6)]
    header = run.header.model_copy(update={"invocations": tuple(Invocation(before=day, before_w=4.0) for day in days)})
    (run.path / "run.json").write_text(header.model_dump_json(by_alias=True), encoding="utf-8")
    assert {own.repeats for own in calibrated(read_run(run.path)).energy} == {9}


def of_energy(change: Callable[[Cell], dict[str, Any] | None]) -> Callable[[Cell], Cell]:
    def changed(cell: Cell) -> Cell:
        assert cell.energy
        update = change(cell)
        energy = None if update is None else cell.energy.model_copy(update=update)
        return cell.model_copy(update={"energy": energy})

    return changed


@pytest.mark.parametrize(
    ("kwargs", "why"),
    [
        ({"repeats": 3}, "3 repeats of dates do not tell its noise; measure at least 4, better 10."),
        ({"change": of_energy(lambda cell: {} if cell.task == "units" else None)}, "energy is missing in dates"),
        ({"change": of_energy(lambda _: {"gross_j": 8.0, "u_j": 0.0})}, "too coarse"),
    ],
    ids=["few repeats", "no energy", "coarse meter"],
)
def test_what_cannot_be_told_is_said_and_is_exit_code_3(make: Make, kwargs: dict[str, Any], why: str) -> None:
    code, told = command("--from", str(make(**kwargs).path))
    assert code == 3
    assert why in " ".join(told.split())


def test_a_model_that_fails_against_itself_is_told_plainly(make: Make) -> None:
    run = make(models={"a": TWICE["a"], "b": (0.7, 0.0013, 1)})
    code, told = command("--from", str(run.path))
    assert code == 0
    assert "Against itself the model fails" in told
    assert "do not gate on this machine" in " ".join(told.split())


def test_all_fits_80_columns_and_the_first_sentence_says_what_is_seen_and_needed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, told = command("--from", str(make().path))
    assert code == 0
    assert told.startswith("On this machine 6 repeats see ")
    table = told.split("To reproduce:")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert "the margin of 5 % needs" in " ".join(table.split())


def test_json_has_every_figure_and_no_infinite_one(make: Make) -> None:
    code, told = command("--json", "--from", str(make(spread=0.9).path))
    found = json.loads(told, parse_constant=pytest.fail)
    assert (code, found["schema"]) == (0, "joulemark.calibration/1")
    units = found["energy"]["units"]
    assert units["repeats_to_pass"]["value"] is None
    assert units["smallest"].keys() == {"4", "6", "10"}
    assert found["energy_all"]["noise"]["low"] < found["energy_all"]["noise"]["value"]
    assert found["quality"]["units"]["margin"] == -2.0
    assert {rule["metric"] for rule in found["itself"]} == {"energy", "quality"}


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--baseline", "x", "--junit", "f"], "leave --baseline, --junit out"),
        (["--from", "x", "-m", "ref/ngram"], "leave --model out"),
        (["--from", "nowhere"], "is not a run directory"),
        (["--from", "RUN", "-t", "typo"], "there are dates, units"),
        (["--from", "OTHER"], "does not have one model twice"),
        (["-m", "ref/nobody"], "unknown model 'ref/nobody'"),
        (["--repeats", "1"], "1 is not in the range"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line(make: Make, make_run: Make, args: list[str], why: str) -> None:
    code, told = command(*(_put(arg, make, make_run) for arg in args))
    assert code == 2
    assert why in told


def _put(arg: str, make: Make, make_run: Make) -> str:
    if arg == "RUN":
        return str(make(items=20).path)
    # Of three models of one file.
    return str(make_run("other").path) if arg == "OTHER" else arg


def test_options_of_calibrations_do_not_pass_silently_in_a_gate() -> None:
    told = CliRunner().invoke(gate, ["--baseline", "x", "--candidate", "y", "--repeats", "4"])
    assert told.exit_code == 2
    assert "--repeats belongs to --calibrate" in told.output
    assert "Missing option '--candidate'" in CliRunner().invoke(gate, ["--baseline", "x"]).output


def test_runs_that_went_one_after_the_other_tell_no_noise(make: Make) -> None:
    run = make(items=20)
    header = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    header["plan"]["order"] = "blocked"
    (run.path / "run.json").write_text(json.dumps(header), encoding="utf-8")
    code, told = command("--from", str(run.path))
    assert code == 4
    assert "--order abba" in told


def test_a_real_calibration_asks_as_the_plan_does_and_is_not_measured_twice(tmp_path: Path) -> None:
    """Of two repeats, which tell no noise: it is about what is measured."""
    asked = {"limit": 20, "batch_size": 4, "idle_s": 0.5}
    plan = {"models": ["mine=ref/ngram"], "tasks": ["jm_units"], "repeats": 7, "precision": 0.01} | asked
    lines = ["[run]", *(f"{key} = {json.dumps(value)}" for key, value in plan.items()), "[gate]", "alpha = 0.04"]
    (tmp_path / "joulemark.toml").write_text("\n".join(lines), encoding="utf-8")

    def run(*more: str) -> Any:
        args = ["gate", "--calibrate", "--config", "joulemark.toml", "--json", *more]
        done = subprocess.run([*JOULEMARK, *args], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 3, done.stderr
        return json.loads(done.stdout)

    measured = run("--repeats", "2", "--out", "R")
    fixed = {"models": ["a=ref/ngram", "b=ref/ngram"], "repeats": 2, "order": "abba", "precision": None}
    done = read_run(tmp_path / "R")
    assert {key: done.header.plan[key] for key in fixed | asked} == fixed | asked
    assert measured["missing"] == ["2 repeats of jm_units do not tell its noise; measure at least 4, better 10."]
    assert measured["alpha"] == 0.04
    assert run("--from", "R") == measured
    assert len(read_run(tmp_path / "R").cells) == len(done.cells) == 4


def test_a_table_without_any_rule_about_a_change_has_nothing_to_calibrate(make: Make, tmp_path: Path) -> None:
    table = tmp_path / "only-bounds.toml"
    table.write_text("[gate]\nmax_increase = false\nmax_drop = false\nmin_quality = 50.0\n", encoding="utf-8")
    code, told = command("--from", str(make(items=20).path), "--config", str(table))
    assert (code, "nothing of it rests on noise" in told) == (2, True)
    table.write_text("[gate]\nmax_increase = false\n", encoding="utf-8")
    code, told = command("--from", str(make("run-2").path), "--config", str(table))
    assert code == 0
    assert told.startswith("No rule is about more energy")
    assert "In quality 300 questions" in told
