"""``rank`` for other programs: CSV, Markdown and JSON of the very tables that it prints."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from made_runs import COUNTER

from joulemark.harness.store import Run
from joulemark.meters.errors import UsageError
from joulemark.reports.commands import rank
from joulemark.reports.findings import finding
from joulemark.reports.views import make_views

Make = Callable[..., Run]


def printed(run: Run, *arguments: str) -> str:
    result = CliRunner().invoke(rank, [str(run.path), *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_csv_has_a_line_for_each_row_of_each_table_with_the_figures_of_json(make_run: Make) -> None:
    run = make_run(meter=COUNTER)
    lines = list(csv.DictReader(io.StringIO(printed(run, "--csv"))))
    rows = [(view["task"], row) for view in json.loads(printed(run, "--json"))["views"] for row in view["rows"]]
    assert [(line["task"], line["model"], float(line["quality"])) for line in lines] == [
        (task, row["model"], row["quality"]) for task, row in rows
    ]
    # Missing is an empty field.
    assert [line["rank"] for line in lines] == ["" if row["rank"] is None else str(row["rank"]) for _, row in rows]


def test_markdown_has_the_tables_and_what_they_mean(make_run: Make) -> None:
    run = make_run(meter=COUNTER)
    text = printed(run, "--markdown")
    views = make_views([run])
    assert text.count("### ") == len(views) == 3
    assert text.count("| Rank | Model |") == 3
    assert finding(views[0]) in text
    one = printed(run, "--task", "dates", "--markdown")
    assert one.count("### ") == 1
    assert "Task dates" in one


def test_each_task_that_is_named_has_its_table_once_in_the_order_given(make_run: Make) -> None:
    run = make_run(meter=COUNTER)
    named = ("--task", "units", "--task", "dates", "--task", "units")
    assert [view["task"] for view in json.loads(printed(run, *named, "--json"))["views"]] == ["units", "dates"]
    shown = printed(run, *named)
    assert 0 <= shown.index("units |") < shown.index("dates |")


@pytest.mark.parametrize("forms", [("--csv", "--json"), ("--json", "--markdown"), ("--csv", "--csv", "--markdown")])
def test_two_forms_at_once_are_refused(make_run: Make, forms: tuple[str, ...]) -> None:
    result = CliRunner().invoke(rank, [str(make_run().path), *forms])
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).endswith(": print one form at a time.")
    assert result.stdout == ""
