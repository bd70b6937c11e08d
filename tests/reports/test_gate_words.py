"""What a gate shows: on a terminal, as JSON, JUnit, Markdown, a badge and annotations."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from made_runs import COUNTER, write_run

from joulemark.harness.store import Run
from joulemark.meters.errors import UsageError
from joulemark.reports.gate import Gate
from joulemark.reports.gatecommands import gate as command
from joulemark.reports.gateconfig import GateConfig, Limits
from joulemark.reports.gatefigures import rule_sentence, rule_text
from joulemark.reports.gatefiles import as_annotations, as_badge, as_json, as_junit, as_markdown
from joulemark.reports.gaterules import Outcome, Verdict
from joulemark.reports.gatetable import print_gate
from joulemark.reports.gatewords import Account

DOCS = Path(__file__).parents[2] / "docs" / "gate.md"
VERDICTS: dict[Verdict, tuple[str, str]] = {
    "pass": ("notice", "brightgreen"),
    "fail": ("error", "red"),
    "inconclusive": ("warning", "yellow"),
    "incomparable": ("error", "lightgrey"),
}
SHAPE = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped"}, {"testcase", "system-out", "properties"}),
    "testcase": ({"name", "classname", "time"}, {"failure", "error", "skipped", "system-out"}),
    "failure": ({"type", "message"}, set()),
    "error": ({"type", "message"}, set()),
    "skipped": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}
"""Elements, attributes and children that the Jenkins schema junit-10 knows, of those that we write."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A candidate that takes 18 % more, six repeats."""
    models = {"base": (0.62, 0.0011, 1000), "cand": (0.62, 0.0013, 1000)}
    kwargs: dict[str, Any] = {"tasks": ("dates", "units"), "items": 120, "compact": False, "meter": COUNTER}
    kwargs["change"] = lambda cell: cell.model_copy(update={"model_args": f"hf:pretrained=./{cell.model}"})
    return write_run(tmp_path_factory.mktemp("gate") / "R", models, repeats=6, **kwargs)


@pytest.fixture(autouse=True)
def _nobodys_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def gate(baseline: object, candidate: object, *options: object) -> Result:
    words = ["--baseline", str(baseline), "--candidate", str(candidate), *map(str, options)]
    return CliRunner().invoke(command, words, standalone_mode=False)


def rule(verdict: Verdict = "fail", **values: Any) -> Outcome:
    usual: dict[str, Any] = {
        "model": "cand", "metric": "energy", "task": "dates", "margin": 1.05, "baseline": 0.0011, "candidate": 0.0013,
        "ratio_or_delta": 1.18, "low": 1.16, "high": 1.2, "min_detectable": 1.08,
    }  # fmt: skip
    return Outcome(verdict=verdict, **(usual | values))


def account(*rules: Outcome, verdict: Verdict = "fail", **values: Any) -> Account:
    told = Gate(verdict=verdict, rules=rules, reasons=(), alpha=0.05, repeats=6)
    usual: dict[str, Any] = {
        "baseline": "R:base", "candidate": "R:cand", "headline": "Told.", "meaning": "Meant.", "reasons": (),
        "warnings": (), "notes": (), "again": ("joulemark gate",),
    }  # fmt: skip
    return Account(gate=told, rules=rules, **(usual | values))


def printed(told: Account) -> str:
    text = io.StringIO()
    print_gate(told, file=text)
    return text.getvalue()


def test_the_verdict_comes_first_then_broken_rules_and_no_line_is_too_wide(run: Run) -> None:
    done = gate(f"{run.path}:base", f"{run.path}:cand")
    lines = done.stdout.splitlines()
    assert lines[0] == "Fail: cand breaks 2 of 4 rules against base."
    table, _, rest = done.stdout.partition("\nWhy:")
    assert [line.split()[0] for line in table.splitlines() if re.match(r"fail|inconcl|pass", line)] == [
        "fail", "fail", "inconclusive", "inconclusive",
    ]  # fmt: skip
    assert all(len(line) <= 80 for line in table.splitlines())
    assert re.search(r"dates +0\.\d+ +\+\d\d\.\d % +\+5 % +\+\d+\.\d %\n +energy, mWh +→ 0\.\d+ +\(", table)
    assert "80 % probability" in " ".join(rest.split())
    assert done.return_value == 1


def test_how_to_reproduce_measures_both_and_gates_what_was_measured(run: Run) -> None:
    *_, measure, again = gate(f"{run.path}:base", f"{run.path}:cand", "--task", "d*").stdout.splitlines()
    assert measure.startswith("  joulemark run -m base=hf:pretrained=x ")
    assert measure.endswith(" --out again")
    assert again == "  joulemark gate --baseline again:base --candidate again:cand --task 'd*'"


def test_json_is_one_object_with_the_contracts_keys_and_why_it_is_no_pass(run: Run) -> None:
    found = json.loads(gate(f"{run.path}:base", f"{run.path}:cand", "--json").stdout)
    assert (found["schema"], found["verdict"]) == ("joulemark.gate/1", "fail")
    keys = "metric task baseline candidate ratio_or_delta low high margin verdict min_detectable model reason"
    assert all(set(keys.split()) <= set(each) for each in found["rules"])
    [energy, _] = [each for each in found["rules"] if each["metric"] == "energy"]
    assert energy["low"] < energy["candidate"] / energy["baseline"] == pytest.approx(energy["ratio_or_delta"])
    assert any(reason.startswith("Energy in dates: ") for reason in found["reasons"])
    assert (found["alpha"], found["repeats"]) == (0.05, 6)


def test_what_has_no_finite_value_is_null() -> None:
    found = json.loads(as_json(account(rule(min_detectable=math.inf, high=math.nan))))
    assert (found["rules"][0]["min_detectable"], found["rules"][0]["high"]) == (None, None)
    assert "inf" not in printed(account(rule(min_detectable=math.inf)))


def test_a_model_against_itself_passes_and_is_called_so(run: Run) -> None:
    done = gate(f"{run.path}:base", f"{run.path}:base")
    assert (done.return_value, done.stdout.splitlines()[0]) == (0, "Pass: base keeps all 4 rules against itself.")
    assert "These are the very same cells: nothing is said of any change." in " ".join(done.stdout.split())
    found = json.loads(gate(f"{run.path}:base", f"{run.path}:base", "--json").stdout)
    assert {each["min_detectable"] for each in found["rules"]} == {None}, "nothing could have been seen"


def test_an_earlier_verdict_does_not_stay_where_nothing_can_be_judged(run: Run, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("gate.xml", "gate.md", "badge.json")]
    options = [word for pair in zip(("--junit", "--markdown", "--badge"), files, strict=True) for word in pair]
    assert gate(f"{run.path}:base", f"{run.path}:cand", *options).exit_code == 0
    assert all(file.is_file() for file in files)
    assert isinstance(gate(f"{run.path}:base", f"{run.path}:nobody", *options).exception, UsageError)
    assert not any(file.exists() for file in files)


def test_what_labels_stand_for_is_told_and_what_energies_are_of(run: Run, tmp_path: Path) -> None:
    told = " ".join(gate(f"{run.path}:base", f"{run.path}:cand", "--markdown", tmp_path / "gate.md").stdout.split())
    assert "base is hf:pretrained=./base and cand is hf:pretrained=./cand." in told
    assert re.search(r"mWh per 1,000 answers \(\+\d", told)
    assert "mWh per 1,000 answers |" in (tmp_path / "gate.md").read_text(encoding="utf-8")


def test_only_tasks_that_were_asked_for_are_judged_and_a_pattern_that_fits_none_is_refused(run: Run) -> None:
    found = json.loads(gate(f"{run.path}:base", f"{run.path}:cand", "--task", "da*", "--json").stdout)
    assert {each["task"] for each in found["rules"]} == {"dates"}
    problem = gate(f"{run.path}:base", f"{run.path}:cand", "--task", "da*", "--task", "unit").exception
    assert isinstance(problem, UsageError)
    assert str(problem) == "--task unit: no task is called so; there are dates, units."


def test_an_unfinished_run_and_a_torn_tail_are_told(run: Run, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(run.path, torn)
    cells = (torn / "cells.jsonl").read_bytes()
    (torn / "cells.jsonl").write_bytes(cells[:-40])
    done = gate(f"{torn}:base", f"{torn}:cand", "--markdown", tmp_path / "m.md")
    assert done.stdout.startswith(("Fail", "Inconclusive"))
    for told in (done.stdout, (tmp_path / "m.md").read_text()):
        plain = " ".join(told.split())
        assert "the last line was cut short by a crash and is left out." in plain
        assert "Unfinished: 23 of 24 cells are measured; " in plain
    found = gate(f"{torn}:base", f"{torn}:cand", "--json")
    assert len(json.loads(found.stdout)["warnings"]) == len(found.stderr.splitlines()) == 2


def test_modelled_energy_is_never_told_as_measured(make_run: Callable[..., Run]) -> None:
    made = make_run()
    done = gate(f"{made.path}:dense-60k", f"{made.path}:dense-240k", "--markdown", "m.md")
    for told in (done.stdout, Path("m.md").read_text()):
        assert "Energy is CPU time by a power model: of measured joules nothing is said." in " ".join(told.split())


def test_a_terminal_without_unicode_gets_signs_that_it_has() -> None:
    bytes_ = io.BytesIO()
    text = io.TextIOWrapper(bytes_, encoding="ascii")
    bound = rule("pass", metric="max_wh_per_1k", baseline=None, ratio_or_delta=0.0013, low=0.0012, high=0.0014)
    print_gate(account(rule(), dataclasses.replace(bound, margin=0.002)), file=text)
    text.flush()
    told = bytes_.getvalue().decode("ascii")
    assert "?" not in told
    assert "-> 1.30" in told
    assert "<= 2.00" in told


def test_many_rules_that_pass_are_a_line_and_all_that_fail_have_rows() -> None:
    kept = [rule("pass", task=f"task_{n}") for n in range(300)]
    told = printed(account(*[rule(task=f"broken_{n}") for n in range(5)], *kept))
    assert told.count("broken_") == 5
    assert "task_" not in told
    assert "300 rules pass: 300 of energy; --json has all." in told


@pytest.mark.parametrize("verdict", ["fail", "inconclusive", "pass"])
def test_markdown_stays_below_64_kb_however_many_rules_and_counts_what_has_no_room(verdict: Verdict) -> None:
    hostile = "<b>|`é\u4e2d" * 60
    rules = [rule(verdict, task=f"{n}{hostile}", model=hostile) for n in range(10_000)]
    reasons = tuple(f"{n} {hostile}" for n in range(10_000))
    told = as_markdown(account(*rules, verdict=verdict, reasons=reasons, warnings=reasons, notes=reasons))
    assert 20_000 < len(told.encode()) < 64_000
    assert told.startswith("## Told.")
    shown = sum(line.startswith(("| **", "| pass", "| inconclusive")) for line in told.splitlines())
    assert f"{10_000 - shown:,} more rules ({10_000 - shown:,} {verdict}) have no room here" in told
    assert "To reproduce" in told


def test_one_rule_is_told_as_one() -> None:
    told = as_markdown(account(rule(), rule("pass")))
    assert "<summary>1 rule passes: 1 of energy</summary>" in told
    shown = printed(account(*[rule(task=f"broken_{n}") for n in range(61)]))
    assert "1 more rule is not kept, 1 of them surely broken; --json has all." in shown


def test_broken_rules_stand_whole_in_markdown_where_others_are_cut() -> None:
    kept = [rule("pass", task=f"kept_task_with_a_name_{n}") for n in range(5_000)]
    told = as_markdown(account(*[rule(task=f"broken_{n}") for n in range(40)], *kept))
    assert told.count("**fail**") == 40
    assert "<summary>5,000 rules pass" in told
    assert re.search(r"[\d,]+ more rules \([\d,]+ pass\) have no room here", told)
    assert told.count("</details>") == 1


@given(st.text(min_size=1, max_size=80))
def test_no_name_breaks_a_row_of_markdown_out_of_its_cells(name: str) -> None:
    lines = as_markdown(account(rule(task=name))).splitlines()
    [row] = [line for line in lines if line.startswith("| **fail**")]
    assert row.count("|") == 8
    assert "<" not in row


@given(st.text(min_size=1, max_size=80))
def test_no_name_breaks_the_xml(name: str) -> None:
    root = ET.fromstring(as_junit(account(rule(task=name, model=name), headline=name)))
    assert root.findall(".//failure")


def check_shape(element: ET.Element) -> None:
    attributes, children = SHAPE[element.tag]
    assert set(element.attrib) <= attributes
    assert {child.tag for child in element} <= children
    for child in element:
        check_shape(child)


def test_junit_has_a_case_for_each_rule_with_what_came_of_it_in_text_and_message(run: Run) -> None:
    gate(f"{run.path}:base", f"{run.path}:cand", "--junit", "deep/gate.xml")
    root = ET.parse("deep/gate.xml").getroot()
    check_shape(root)
    [suite] = root
    assert [suite.attrib[key] for key in ("tests", "failures", "errors", "skipped")] == ["4", "2", "0", "2"]
    cases = suite.findall("testcase")
    assert len({(case.attrib["classname"], case.attrib["name"]) for case in cases}) == 4
    for found in [*suite.iter("failure"), *suite.iter("skipped")]:
        assert found.text == found.attrib["message"]
        assert "allowed is" in found.attrib["message"]


def test_an_inconclusive_rule_is_a_failure_in_junit_only_where_it_fails_the_job(run: Run) -> None:
    gate(f"{run.path}:base", f"{run.path}:cand", "--junit", "a.xml", "--on-inconclusive", "fail")
    root = ET.parse("a.xml").getroot()
    assert (root.attrib["failures"], len(root.findall(".//skipped"))) == ("4", 0)


def test_a_gate_that_judged_nothing_is_an_error_in_junit_and_no_empty_file(
    run: Run, make_run: Callable[..., Run]
) -> None:
    other = make_run("other", machine={"machine_id": "m-2"})
    done = gate(f"{run.path}:base", f"{other.path}:ngram", "--junit", "a.xml")
    root = ET.parse("a.xml").getroot()
    check_shape(root)
    [error] = root.findall(".//error")
    assert error.attrib["type"] == "incomparable"
    assert "machine differs: m-1 against m-2" in (error.text or "")
    assert done.return_value == 4


@pytest.mark.parametrize("verdict", VERDICTS)
def test_badge_and_annotations_show_the_verdict_in_its_colour(verdict: Verdict) -> None:
    level, color = VERDICTS[verdict]
    told = account(rule(verdict), verdict=verdict)
    badge = json.loads(as_badge(told))
    assert badge["schemaVersion"] == 1
    assert (badge["color"], badge["message"].partition(":")[0]) == (color, verdict)
    assert as_annotations(told)[0] == f"::{level} title=Joulemark gate%3A {verdict}::Told. Meant."


def test_annotations_are_no_more_than_github_shows_and_no_name_ends_one_or_starts_another() -> None:
    rules = [rule(task=f"x::error,\n::stop-commands::{n} 5%") for n in range(50)]
    lines = as_annotations(account(*rules))
    assert len(lines) == 10
    for line in lines:
        assert "\n" not in line
        assert re.match(r"::error title=[^:,]*::", line)
        assert not re.search(r"%(?!25|3A|2C)", line)


@pytest.mark.parametrize(
    "name", ["::error::x", "a\n::error::x", "##[error]x", f"{'word ' * 15}::error::x", "x" + "::" * 40]
)
def test_no_name_is_a_command_in_the_log_of_a_github_job(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = account(rule(task=name), headline=name.replace("\n", " " * 80), reasons=(name,), warnings=(name,))
    assert any(map(is_command, printed(told).splitlines())), "elsewhere names stay as they are"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert not any(map(is_command, printed(told).splitlines()))
    assert not any(map(is_command, as_json(told).splitlines()))
    assert json.loads(as_json(told))["rules"][0]["task"] == name


def is_command(line: str) -> bool:
    """As GitHub's runner tells: two colons behind spaces that begin a line, or its older mark anywhere in it."""
    return line.lstrip().startswith("::") or "##[" in line


def test_in_githubs_jobs_annotations_go_beside_the_json_and_markdown_into_the_summary(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("summary.md").write_text("before\n")
    done = gate(f"{run.path}:base", f"{run.path}:cand", "--json")
    assert json.loads(done.stdout)["verdict"] == "fail"
    assert done.stderr.count("::error title=") == 3
    summary = Path("summary.md").read_text()
    assert summary.startswith("before\n## Fail: cand breaks 2 of 4 rules")
    gate(f"{run.path}:base", f"{run.path}:cand", "--markdown", "own.md")
    assert Path("summary.md").read_text() == summary
    assert summary == "before\n" + Path("own.md").read_text()


def test_a_summary_that_cannot_be_written_changes_no_verdict_and_a_file_that_was_asked_for_is_an_error(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "nowhere/summary.md")
    done = gate(f"{run.path}:base", f"{run.path}:base")
    assert (done.return_value, "cannot add to the job's summary" in done.stderr) == (0, True)
    Path("file").write_text("")
    problem = gate(f"{run.path}:base", f"{run.path}:base", "--badge", "file/badge.json").exception
    assert isinstance(problem, UsageError)
    assert str(problem).startswith("cannot write file/badge.json: ")


@given(st.floats(0.01, 100))
def test_a_change_of_energy_has_its_sign_and_is_a_factor_only_where_percent_would_be_large(ratio: float) -> None:
    told = rule_text(rule(ratio_or_delta=ratio, low=ratio / 1.1, high=ratio * 1.1)).change
    assert told.endswith("\u00d7") == (ratio >= 3)
    if ratio < 3:
        percent = round(100 * (ratio - 1), 1)
        assert told.startswith("+" if percent > 0 else "\u2212" if percent < 0 else "0.0")


def test_why_a_rule_is_undecided_is_told_apart_from_what_all_rules_together_forbid() -> None:
    beyond, either = rule("inconclusive"), rule("inconclusive", low=1.01)
    assert "By itself it is beyond, but not once all rules are allowed for." in rule_sentence(beyond, "90 %")
    assert "It may lie on either side." in rule_sentence(either, "90 %")


def test_each_key_of_the_table_and_each_option_is_explained_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    keys = {*Limits.model_fields, *GateConfig.model_fields} - {"limits"}
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    assert [option for option in sorted(options) if option not in text] == []
