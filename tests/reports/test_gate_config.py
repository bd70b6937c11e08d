"""A mistake in a gate's file never comes to other rules than somebody wrote; it is answered with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from made_runs import COUNTER, write_run

from joulemark.meters.errors import UsageError
from joulemark.reports.gate import judge
from joulemark.reports.gatecommands import gate
from joulemark.reports.gateconfig import GateConfig, Limits, read_gate_config
from joulemark.reports.pairing import read_side


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told_of(table: str, name: str = "joulemark.toml") -> str:
    """What is said of a file that nobody names."""
    Path(name).write_text(table + "\n", encoding="utf-8")
    with pytest.raises(UsageError) as problem:
        read_gate_config(None)
    return str(problem.value)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("name", "table", "told"),
    [
        ("joulemark.toml", "[gates]", "a table [gates], which nothing reads; did you mean [gate]?"),
        ("joulemark.toml", "[Gate]", "did you mean [gate]?"),
        ("joulemark.toml", "[gate]\n[gates.tasks.jm_units]", "did you mean [gate]?"),
        ("joulemark.toml", "[tool.joulemark.gate]", "[tool.joulemark.gate], which nothing reads; write [gate]"),
        ("pyproject.toml", "[tool.joulemark.gates]", "did you mean [tool.joulemark.gate]?"),
        ("pyproject.toml", "[tool.joule-mark.gate]", "did you mean [tool.joulemark.gate]?"),
        ("pyproject.toml", "[gate]", "[gate], which nothing reads; write [tool.joulemark.gate]"),
    ],
)
def test_a_table_that_is_misspelt_or_misplaced_is_not_judged_by_the_usual_rules(
    name: str, table: str, told: str
) -> None:
    assert told in told_of(table, name)


def test_tables_of_others_are_none_of_ours(here: Path) -> None:
    (here / "joulemark.toml").write_text("[run]\n[data]\n[gateway.x]\n", encoding="utf-8")
    (here / "pyproject.toml").write_text("[tool.black]\n[project]\n[tools.gate]\n", encoding="utf-8")
    assert read_gate_config(None) == GateConfig()


def test_it_is_known_which_file_the_rules_are_from(here: Path) -> None:
    assert read_gate_config(None).source is None
    (here / "pyproject.toml").write_text("[tool.joulemark.gate]\nmax_drop = 1\n", encoding="utf-8")
    assert read_gate_config(None).source == Path("pyproject.toml")
    (here / "other.toml").write_text("[gate]\n", encoding="utf-8")
    assert read_gate_config(here / "other.toml").source == here / "other.toml"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("looks = 6", "gate.looks: write numbers of repeats in a list, such as [4, 6, 10], not 6"),
        ("looks = [true, 4]", "gate.looks: write numbers of repeats"),
        ("tasks = 5", 'gate.tasks: write a table for each pattern, such as [gate.tasks."jm_*"], not 5'),
        ("tasks = { jm_units = 5 }", "gate.tasks.jm_units: write a table of limits, such as { max_drop = 1.0 }, not 5"),
        ("max_drop = 200", "gate.max_drop: write at most 100, not 200"),
        ('max_drop = "two"', "gate.max_drop: write a number, not 'two'"),
        ("max_increase = -0.1", "gate.max_increase: write at least 0, not -0.1"),
        ("max_wh_per_1k = 0", "gate.max_wh_per_1k: write more than 0, not 0"),
        ('alpha = "60%"', "gate.alpha: write less than 0.5"),
        ("alpha = 5", 'gate.alpha: write a share, such as "5%" or 0.05, not 5'),
        ('on_inconclusive = "stop"', "write 'code', 'warn' or 'fail', not 'stop'"),
        ("task = {}", "[gate] has no key 'task'; did you mean 'tasks'?"),
        ("max_incraese = 0.1", "[gate] has no key 'max_incraese'; did you mean 'max_increase'?"),
        ("tasks.a.maxdrop = 1", "[gate.tasks.a] has no key 'maxdrop'; did you mean 'max_drop'?"),
    ],
)
def test_a_mistake_is_answered_with_what_to_write(table: str, told: str) -> None:
    assert told in told_of(f"[gate]\n{table}")


@pytest.mark.usefixtures("here")
def test_of_keys_only_those_are_named_that_may_stand_there() -> None:
    assert "on_inconclusive" in told_of("[gate]\nnonsense = 1")
    told = told_of("[gate.tasks.a]\nalpha = 0.1")
    assert "it has max_increase, max_drop" in told
    assert "on_inconclusive" not in told
    assert "looks" not in told


def test_shares_are_written_alike_and_nothing_more_may_be_asked_for(here: Path) -> None:
    file = here / "joulemark.toml"
    file.write_text('[gate]\nalpha = "1%"\nmax_increase = 0\nmax_drop = 100\n', encoding="utf-8")
    assert read_gate_config(None).alpha == 0.01
    assert read_gate_config(None).limits == Limits(max_increase=0.0, max_drop=100.0)
    file.write_text('[gate]\nmax_increase = "0%"\n', encoding="utf-8")
    assert read_gate_config(None).limits.max_increase == 0.0


def test_where_no_more_energy_is_allowed_a_cheaper_model_passes_and_a_dearer_one_fails(tmp_path: Path) -> None:
    models = {"base": (0.7, 0.001, 1), "less": (0.7, 0.0009, 1), "more": (0.7, 0.0011, 1)}
    run = write_run(tmp_path / "run", models, repeats=6, meter=COUNTER, spread=0.01)
    asked = GateConfig(limits=Limits(max_increase=0.0))
    found = {name: judge(*map(read_side, (f"{run.path}:base", f"{run.path}:{name}")), asked) for name in models}
    assert {name: gate.verdict for name, gate in found.items() if name != "base"} == {"less": "pass", "more": "fail"}
    assert {rule.margin for rule in found["more"].rules} == {1.0}


def test_help_does_not_say_that_a_run_of_the_history_lasts_for_days() -> None:
    told = " ".join(CliRunner().invoke(gate, ["--help"]).output.split())
    assert "one of each of 20 days or more" in told
