"""What a calibration says a gate would see: known noise, the gate's own figures, and no figure from nothing."""

from __future__ import annotations

import importlib.util
import json
import math
import re
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
from scipy.special import chdtri

from joulemark.harness.plan import SWEPT, make_plan
from joulemark.harness.record import Cell, Invocation, Span
from joulemark.harness.store import Run, read_run
from joulemark.reports.gate import judge
from joulemark.reports.gatecalibrate import Calibration, alike, calibrate
from joulemark.reports.gatecalibratecommand import plan_calibration
from joulemark.reports.gatecommands import gate
from joulemark.reports.gateconfig import GateConfig, Limits
from joulemark.reports.gateforesee import MOST, Energy, foresee
from joulemark.reports.gatetests import Test as OneTest

from .conftest import planned

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


def foreseen(sd: float, *, rules: int = 1, repeats: int = 10, looks: tuple[int, ...] = ()) -> Energy:
    ones = [OneTest(value=0.0, var=sd**2, df=repeats - 1.0, limit=math.log1p(0.05))] * rules
    return foresee("t", repeats, ones, repeats - 1.0, alpha=0.05, share=0.05 / rules, looks=looks)


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


def test_with_planned_looks_only_these_are_foreseen_and_the_first_that_is_enough_is_needed() -> None:
    for sd in (1e-5, 0.02, 0.04, 0.06):
        free, planned = foreseen(sd), foreseen(sd, looks=(8, 16))
        assert list(planned.smallest) == [8, 16]
        for most, looks in ((free.to_pass.value, planned.to_pass), (free.to_fail.value, planned.to_fail)):
            assert looks.value == next((look for look in (8, 16) if look >= most), math.inf)
    assert foreseen(0.02, looks=(8, 16)).smallest[8] > foreseen(0.02).smallest[10]


def test_a_calibration_for_planned_looks_tells_the_first_and_the_last_and_none_beyond(make: Make) -> None:
    path = make(spread=0.06).path
    table = path / "looks.toml"
    table.write_text("[gate]\nlooks = [8, 16]\n", encoding="utf-8")
    code, told = command("--from", str(path), "--config", str(table))
    said = " ".join(told.split())
    assert code == 0
    assert said.startswith("On this machine the first look, at 8 repeats, sees ")
    assert "more energy, and the last, at 16, " in said
    assert "needs more than 16 repeats, the last look, for a model that costs the same" in said
    assert ">16" in said
    assert "at 10" not in said
    found = json.loads(command("--json", "--from", str(path), "--config", str(table))[1])
    assert (found["looks"], list(found["energy_all"]["smallest"])) == ([8, 16], ["8", "16"])
    assert found["energy_all"]["repeats_to_pass"]["value"] is None


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


def test_what_was_not_measured_is_not_blamed_on_noise(make: Make) -> None:
    lost = make("lost", change=lambda cell: None if (cell.model, cell.task) == ("b", "units") else cell)
    code, told = command("--from", str(lost.path))
    assert code == 3
    assert "Against itself the model passes" in told
    assert "b has no finished cell of units." in " ".join(told.split())
    none = make("none", change=of_energy(lambda _: None))
    told = command("--from", str(none.path))[1]
    assert "too few repeats" not in told


def test_a_run_in_which_more_than_chance_differs_or_that_stopped_by_luck_is_no_calibration(make: Make) -> None:
    changed = make("changed", change=lambda cell: cell.model_copy(update={"task_hash": f"other-{cell.model}"})
                   if cell.task == "dates" else None if cell.model == "b" else cell)  # fmt: skip
    code, told = command("--from", str(changed.path))
    assert code == 4
    assert "tells nothing of this machine's noise: b: task hash differs in dates" in told
    code, told = command("--from", str(planned(make("precise"), precision=0.01).path))
    assert code == 4
    assert "where repeats agree by luck" in told


def test_part_scores_that_are_the_same_tell_nothing_of_other_models(make: Make) -> None:
    half = make(change_items=lambda _task, items: items.assign(score=0.5, correct=None))
    code, told = command("--from", str(half.path))
    assert code == 3
    assert "the same part scores in units do not tell" in " ".join(told.split())
    assert "In quality" not in told


def test_brackets_are_the_95_percent_interval_of_a_standard_deviation(make: Make) -> None:
    """Of 9 degrees of freedom; two tasks that scatter alike have twice as many together."""
    own = foreseen(0.03, repeats=10).noise
    assert (own.low / own.value, own.high / own.value) == (
        pytest.approx(0.688, abs=1e-3),
        pytest.approx(1.826, abs=1e-3),
    )
    found = calibrated(make())
    assert found.whole
    variances = np.array([task.noise.value**2 for task in found.energy])
    df = variances.sum() ** 2 / (variances**2 / 9).sum()
    assert 9 < df <= 18
    assert found.whole.noise.high / found.whole.noise.value == pytest.approx(math.sqrt(df / chdtri(df, 0.975)))


@pytest.mark.parametrize("sd", [0.02, 0.05, 0.1])
def test_after_the_repeats_to_fail_a_model_that_is_twice_the_margin_dearer_is_seen_and_not_before(sd: float) -> None:
    def seen(repeats: float) -> float:
        one = OneTest(value=0.0, var=sd**2 / repeats, df=repeats - 1, limit=math.log1p(0.05))
        return math.exp(one.detectable(0.05))

    needed = foreseen(sd).to_fail.value
    assert seen(needed) <= 1.10 < seen(needed - 2)


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


def test_on_a_narrow_terminal_every_row_has_its_task_and_its_last_figure(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    told = command("--from", str(make().path))[1]
    rows = [line.split() for line in told.splitlines() if line.startswith(("dates", "units", "all "))]
    assert [row[0] for row in rows] == ["dates", "units", "all", "dates", "units"]
    assert {len(row) for row in rows[:3]} == {11}, "noise and three that are seen have a sign; then two numbers"
    assert all(row[-1].isdigit() for row in rows)


@pytest.mark.parametrize("columns", range(60, 100, 3))
def test_no_line_ends_between_a_number_and_its_percent_sign(
    make: Make, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    run = make(items=20)
    for told in (command("--from", str(run.path))[1], _gated(run)):
        assert " %" in told
        assert not [line for line in told.splitlines() if line.lstrip().startswith("%")]


def _gated(run: Run) -> str:
    return CliRunner().invoke(gate, ["--baseline", f"{run.path}:a", "--candidate", f"{run.path}:b"]).output


def test_it_is_told_how_it_was_asked_and_whose_rules_these_are(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, usual = str(make().path), "Rules are the usual ones, as no file here has a [gate] table."
    told = " ".join(command("--from", path)[1].split())
    assert usual in told
    assert "Measured: 300 questions of each task, batch size" in told
    Path("joulemark.toml").write_text("[gate]\n", encoding="utf-8")
    told = " ".join(command("--from", path)[1].split())
    assert usual not in told
    assert "Rules are those of joulemark.toml." in told
    assert told.endswith("--config joulemark.toml")


def test_questions_that_pass_a_model_now_and_then_are_not_called_too_few_for_that(make: Make) -> None:
    """As many answers change as a candidate may lose; of one whose answers are the very same fewer pass, as here."""
    told = " ".join(command("--from", str(make().path))[1].split())
    assert re.search(r"of whose answers as many change as it may lose, passes in 80 % of gates with 30\d\.", told)
    assert "Against itself the model passes" in told


def test_an_unfinished_calibration_lacks_repeats_and_no_questions(make: Make) -> None:
    run = make(change=lambda cell: cell if cell.repeat < 3 else None)
    assert {rule.verdict for rule in calibrated(run).gate.rules} == {"inconclusive"}
    told = " ".join(command("--from", str(run.path))[1].split())
    assert re.search(r"Against itself the model is inconclusive: \w+ has 3 of 10 planned repeats", told)
    assert "too few" not in told


def test_by_a_margin_of_nothing_no_number_of_repeats_or_questions_is_named(make: Make) -> None:
    found = calibrated(make(), GateConfig(limits=Limits(max_increase=0.0, max_drop=0.0)))
    assert found.whole
    assert found.whole.to_pass.value == found.whole.to_fail.value == math.inf
    assert {own.to_pass for own in found.quality} == {math.inf}
    assert all(own.smallest > 0 for own in found.quality)


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
        (["--repeats", "3"], "--repeats 3 would not tell the noise; measure at least 4, better 10."),
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
    asked = {"limit": 20, "batch_size": 4, "idle_s": 0.5}
    plan = {"models": ["mine=ref/ngram"], "tasks": ["jm_units"], "repeats": 7, "precision": 0.01} | asked
    lines = ["[run]", *(f"{key} = {json.dumps(value)}" for key, value in plan.items()), "[gate]", "alpha = 0.04"]
    (tmp_path / "joulemark.toml").write_text("\n".join(lines), encoding="utf-8")

    def run(*more: str) -> Any:
        args = ["gate", "--calibrate", "--config", "joulemark.toml", "--json", *more]
        done = subprocess.run([*JOULEMARK, *args], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    measured = run("--repeats", "4", "--out", "R")
    fixed = {"models": ["a=ref/ngram", "b=ref/ngram"], "repeats": 4, "order": "abba", "precision": None}
    done = read_run(tmp_path / "R")
    assert {key: done.header.plan[key] for key in fixed | asked} == fixed | asked
    assert measured["energy"]["jm_units"]["repeats"] == 4
    # The user's runs stop by precision, whose gates have a third of alpha; the calibration does not.
    assert measured["alpha"] == pytest.approx(0.04 / 3)
    assert run("--from", "R") == measured
    assert len(read_run(tmp_path / "R").cells) == len(done.cells) == 8


def test_what_nobody_says_is_computed_as_in_a_run() -> None:
    """Noise at another batch size would be that of other gates."""
    plan, run = plan_calibration(None, (), model=None, repeats=None, limit=None, meters=()), make_plan(None, {})
    assert plan.model_dump(include=set(SWEPT)) == run.model_dump(include=set(SWEPT))
    assert (plan.repeats, plan.limit, plan.order) == (10, 300, "abba")


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
