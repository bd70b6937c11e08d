"""The plan file that `joulemark init` writes, and the schema that editors check it by."""

import contextlib
import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from joulemark.harness.plan import SWEPT, Plan, make_plan
from joulemark.harness.planfile import described, schema, template
from joulemark.harness.store import read_run
from joulemark.meters.errors import UsageError
from joulemark.reports.gateconfig import read_gate_config

from .conftest import Joulemark

COMMITTED = Path(__file__).parents[2] / "docs" / "joulemark.schema.json"
GATE = "\n[gate]\nalpha = 0.05\n"


def problems_of(content: dict[str, Any]) -> list[str]:
    """What the schema finds wrong, where something is there that reads schemas; else what our own reading does."""
    if importlib.util.find_spec("jsonschema"):
        from jsonschema import Draft7Validator

        return [problem.message for problem in Draft7Validator(schema()).iter_errors(content)]
    file_keys, run_keys = schema()["properties"], schema()["properties"]["run"]["properties"]
    stray = [key for key in content["run"] if key not in run_keys]
    stray += [key for key, value in content.items() if key not in file_keys and not isinstance(value, dict)]
    if not stray:
        Plan.model_validate(content["run"])
    return stray


def everything_set() -> str:
    """The template with all that is commented out taken in."""
    return re.sub(r"^# (\w+ = )", r"\1", template(), flags=re.MULTILINE)


def test_what_init_writes_runs_as_it_stands_and_from_it_with_options(joulemark: Joulemark, tmp_path: Path) -> None:
    done = joulemark("init", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    with (tmp_path / "joulemark.toml").open("a") as file:
        file.write(GATE)
    quick = ("--limit", "4", "--repeats", "1", "-m", "ref/ngram", "-t", "jm_units", "--out", "run")
    done = joulemark("run", "joulemark.toml", *quick, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [cell] = read_run(tmp_path / "run").cells
    assert (cell.model, cell.task, cell.n_items) == ("ref/ngram", "jm_units", 4)
    plan = make_plan(tmp_path / "joulemark.toml", {})
    assert (len(plan.models), len(plan.tasks), plan.repeats, plan.limit) == (3, 2, 3, 100)


def test_a_file_that_is_there_is_never_written_over_unless_forced(joulemark: Joulemark, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[run]\n")
    done = joulemark("init", mine)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line == f"joulemark: {mine} is there already; name another file, or write over it with --force."
    assert mine.read_text() == "[run]\n"
    assert joulemark("init", mine, "--force").returncode == 0
    assert "joulemark run mine.toml" in mine.read_text()


def test_a_folder_that_is_not_there_is_told_in_one_line(joulemark: Joulemark, tmp_path: Path) -> None:
    done = joulemark("init", tmp_path / "nowhere" / "plan.toml")
    assert done.returncode == 2
    assert "No such file or directory" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_template_has_every_key_each_with_what_it_means_and_a_value_that_is_allowed() -> None:
    content = tomllib.loads(everything_set())
    assert set(content["run"]) == set(Plan.model_fields) == set(described()), (
        "every key of Plan needs a line in its docstring; those that are unset by default an example in planfile.py"
    )
    assert problems_of(content) == []
    assert problems_of(tomllib.loads(template())) == []
    for key, said in described().items():
        assert said.split()[0] in template(), key
    assert all(len(line) <= 110 for line in template().splitlines())


def test_what_is_commented_out_with_a_default_is_that_default() -> None:
    content = tomllib.loads(everything_set())["run"]
    for key, field in Plan.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if default and not field.is_required():
            assert content[key] == default


def test_the_first_line_names_the_schema_for_editors() -> None:
    assert template().splitlines()[0] == "#:schema ./joulemark.schema.json"


def test_the_schema_that_is_printed_is_the_one_in_the_docs(joulemark: Joulemark) -> None:
    printed = joulemark("init", "--schema").stdout
    assert printed == COMMITTED.read_text(encoding="utf-8"), (
        "a key of Plan has changed: `joulemark init --schema > docs/joulemark.schema.json`"
    )


def test_the_schema_is_the_plans_with_a_meaning_for_each_key_and_no_null() -> None:
    run = schema()["properties"]["run"]
    plain = Plan.model_json_schema()["properties"]
    assert list(run["properties"]) == list(plain)
    for key, told in run["properties"].items():
        assert told["description"].startswith(described()[key])
        assert "null" not in json.dumps(told)
        for limit in ("minimum", "maximum", "minItems", "enum"):
            assert told.get(limit) == plain[key].get(limit, told.get(limit)), (key, limit)
    assert run["properties"]["limit"]["minimum"] == 1
    assert run["properties"]["sweep"]["propertyNames"] == {"enum": list(SWEPT)}


@pytest.mark.parametrize(
    "text", [template() + GATE, "[run]\n" + GATE, GATE + "[run]\nrepeats = 2\n[other.deep]\nx = 1\n"]
)
def test_tables_for_others_are_refused_by_neither_run_nor_schema(tmp_path: Path, text: str) -> None:
    content = tomllib.loads(text)
    assert schema()["additionalProperties"] == {"type": "object"}
    assert [table for table in content if not isinstance(content[table], dict)] == []
    (tmp_path / "plan.toml").write_text(text)
    assert make_plan(tmp_path / "plan.toml", {}).repeats in (2, 3)


@pytest.mark.parametrize(
    ("table", "is_right"),
    [
        ('max_increase = "5%"\nlooks = [4, 6, 10]\n[gate.tasks."jm_*"]\nmax_drop = false', True),
        ("max_increase = 0.05\nmin_quality = -3\non_inconclusive = 'warn'", True),
        ("max_increase = 5", False),
        ("max_increase = '5'", False),
        ("max_drop = true", False),
        ("alpha = 0.5", False),
        ("looks = [1, 4]", False),
        ("limits = {}", False),
        ("max_incraese = 0.05", False),
        ('[gate.tasks."jm_*"]\nalpha = 0.05', False),
    ],
)
def test_an_editor_finds_in_the_gate_s_table_what_the_gate_would(tmp_path: Path, table: str, is_right: bool) -> None:
    text = f"[run]\n[gate]\n{table}\n"
    (tmp_path / "plan.toml").write_text(text)
    with contextlib.nullcontext() if is_right else pytest.raises(UsageError):
        read_gate_config(tmp_path / "plan.toml")
    assert len(problems_of(tomllib.loads(text))) == (not is_right)


def test_a_key_that_is_no_key_is_wrong_by_the_schema_too() -> None:
    content = tomllib.loads(template())
    content["run"]["repeat"] = 3
    assert len(problems_of(content)) == 1
