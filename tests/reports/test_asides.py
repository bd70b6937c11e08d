from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from html import unescape

import pandas as pd
import pytest
from click.testing import CliRunner

from joulemark.harness.record import Cell, Computed
from joulemark.harness.store import Run
from joulemark.reports.asides import by_difficulty, chosen, cut_off, other_metrics
from joulemark.reports.commands import rank
from joulemark.reports.documents import as_csv, as_json, as_markdown
from joulemark.reports.html import page
from joulemark.reports.table import print_views
from joulemark.reports.views import View, make_views

Make = Callable[..., Run]
TWO = {"plain": (0.6, 0.001, 1000), "cascade": (0.8, 0.004, 9000)}
WORDS = ("Answered although the key was absent", "Refused although the key was there")


def abstaining(cell: Cell) -> Cell:
    """A task with further metrics, and a model that asks a larger one for an eighth of its answers."""
    computed = Computed(escalated=0.125) if cell.model == "cascade" else Computed()
    metrics = {"made_up": 0.25, "over_refusal": 0.0} if cell.task == "dates" else {}
    return cell.model_copy(update={"other_metrics": metrics, "computed": computed})


@pytest.fixture
def run(make_run: Make) -> Run:
    return make_run(models=TWO, change=abstaining)


def view_of(views: list[View], task: str) -> View:
    return next(view for view in views if view.task == task)


def measured(make_run: Make, metrics: dict[str, dict[str, float]]) -> View:
    """A view of a task whose models have these further metrics."""
    run = make_run(models=TWO, change=lambda c: c.model_copy(update={"other_metrics": metrics[c.model]}))
    return view_of(make_views([run]), "dates")


def test_levels_are_shown_in_points_in_the_rows_order(run: Run) -> None:
    view = make_views([run])[0]
    aside = by_difficulty(view)
    assert aside
    assert aside.heads == ("Level 1", "Level 2", "Level 3", "Level 4")
    assert [label for label, _ in aside.lines] == [row.label for row in view.rows]
    assert aside.lines[0][1][0] == f"{view.rows[0].levels['1']['quality']:.1f}".replace("-", "\u2212")
    assert "60 items a level" in aside.note


def test_the_page_and_the_markdown_show_levels_metrics_and_what_was_computed(run: Run) -> None:
    views = make_views([run])
    html, markdown = unescape(page(views, [run])), as_markdown(views, [run])
    assert html.count("<h3>By difficulty</h3>") == markdown.count("By difficulty. ") == 3
    for text in (html, markdown):
        assert all(text.count(words) == 1 for words in WORDS)
        assert "25.0\u00a0%" in text
        assert text.count("Asked the larger model") == 1
        assert "12.5\u00a0%" in text
        assert "Layers per generated token" not in text


def test_nothing_is_shown_where_there_is_nothing(make_run: Make) -> None:
    run = make_run(models=TWO, change_items=lambda _task, items: items.drop(columns="level"))
    views = make_views([run])
    for view in views:
        assert (by_difficulty(view), other_metrics(view), chosen(view)) == (None, None, None)
    for text in (page(views, [run]), as_markdown(views, [run])):
        assert not re.search(
            "Difficulty|By difficulty|Further metrics|Layers per generated token|Asked the larger", text
        )


def test_the_terminal_shows_them_below_the_table_of_one_task_and_fits_80_columns(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = CliRunner().invoke(rank, [str(run.path), "--task", "dates"]).stdout
    table, below = said.split("By difficulty", 1)
    assert "Rank" in table
    assert "Level 4" in below
    assert "Answered although" in below
    assert "25.0" in below
    assert max(map(len, said.splitlines())) <= 80


def test_the_terminal_tells_over_all_tasks_what_models_chose_to_compute_but_no_levels(run: Run) -> None:
    said = CliRunner().invoke(rank, [str(run.path)]).stdout
    assert "Level 4" not in said
    table = said.split("What models chose to compute", 1)[1].split("By CPU time", 1)[0]
    assert "12.5" in table
    assert "plain" not in table, "it computes everything"


def test_long_names_and_many_metrics_still_fit_80_columns(make_run: Make) -> None:
    metrics = {f"a_metric_with_a_long_name_{k}": 0.123 for k in range(6)}
    models = {"organisation/a-model-with-a-very-long-name-0.5b-instruct-v2": (0.7, 0.001, 9)}
    run = make_run(models=models, change=lambda c: c.model_copy(update={"other_metrics": metrics}))
    out = io.StringIO()
    print_views([view_of(make_views([run]), "dates")], file=out, width=80)
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert out.getvalue().count("12.3") == 6


def test_the_files_for_programs_carry_them(run: Run) -> None:
    views = make_views([run])
    found = json.loads(json.dumps(as_json(views)))["views"]
    rows = {(view["task"], row["model"]): row for view in found for row in view["rows"]}
    assert set(rows["all", "plain"]["levels"]["1"]) == {"quality", "quality_low", "quality_high", "items"}
    assert rows["dates", "plain"]["other_metrics"] == {"made_up": 0.25, "over_refusal": 0.0}
    assert (rows["all", "cascade"]["escalated"], rows["all", "plain"]["escalated"]) == (0.125, None)
    for line in csv.DictReader(io.StringIO(as_csv(views))):
        row = rows[line["task"], line["model"]]
        assert json.loads(line["levels"]) == row["levels"]
        assert json.loads(line["other_metrics"]) == row["other_metrics"]
        assert line["escalated"] == ("" if row["escalated"] is None else repr(row["escalated"]))


def test_other_tasks_metrics_keep_their_names_and_only_shares_are_percentages(make_run: Make) -> None:
    aside = other_metrics(measured(make_run, {"plain": {"acc_norm": 0.5, "bleu": 0.8}, "cascade": {"bleu": 23.1}}))
    assert aside
    assert aside.heads == ("Acc norm", "Bleu")
    lines = dict(aside.lines)
    assert lines["plain"] == ("50.0\u00a0%", "0.800")
    assert lines["cascade"] == ("\u2013", "23.1")


def cutting(make_run: Make, share: dict[str, float | None]) -> View:
    """A view of models that had this share of their 200 answers cut off."""
    names = list(share)

    def change_items(_task: str, items: pd.DataFrame) -> pd.DataFrame:
        told = share[names[len(seen) // 3 % len(names)]]
        seen.append(told)
        cut = [pd.NA if told is None else at < told * len(items) for at in range(len(items))]
        return items.assign(truncated=pd.array(cut, dtype="boolean"))

    seen: list[float | None] = []
    models = {name: (0.6, 0.001 * (at + 1), 9) for at, name in enumerate(names)}
    run = make_run(models=models, items=200, tasks=("dates",), change_items=change_items)
    return view_of(make_views([run]), "dates")


def test_only_who_had_many_answers_cut_off_has_a_line_and_the_others_a_clause(make_run: Make) -> None:
    aside = cut_off(cutting(make_run, {"none": 0.0, "one": 0.005, "many": 0.25, "silent": None}))
    assert aside
    assert [(label, cells[1]) for label, cells in aside.lines] == [("many", "25.0\u00a0%")]
    assert aside.note.endswith("Of none and one at most 0.5\u00a0%. Of silent it is not known.")


def test_where_hardly_an_answer_was_cut_off_nothing_is_said_of_it(make_run: Make) -> None:
    assert cut_off(cutting(make_run, {"none": 0.0, "one": 0.005})) is None


def test_over_several_tasks_those_that_tell_say_how_much_was_cut_off(make_run: Make) -> None:
    """A task of multiple choice has no answers that could be cut off; that is not the same as not knowing."""

    def change_items(task: str, items: pd.DataFrame) -> pd.DataFrame:
        cut = [pd.NA if task == "units" else at % 4 == 0 for at in range(len(items))]
        return items.assign(truncated=pd.array(cut, dtype="boolean"))

    (every, *_) = make_views([make_run(change_items=change_items)])
    aside = cut_off(every)
    assert aside
    assert [cells[aside.heads.index("Cut off")] for _, cells in aside.lines] == ["25.0\u00a0%"] * 3
    assert "not known" not in aside.note
    assert "Accuracy of all" not in aside.heads, "that would be of other tasks"


def test_a_hostile_metric_is_text(make_run: Make) -> None:
    nasty = "<script>|`x`[a](http://evil)\x1b[31m"
    run = make_run(models=TWO, change=lambda c: c.model_copy(update={"other_metrics": {nasty: 0.5}}))
    views = make_views([run])
    assert "<script" not in page(views, [run])
    markdown = as_markdown(views, [run])
    assert "<script" not in markdown
    assert "](http" not in markdown
    assert "\x1b" not in CliRunner().invoke(rank, [str(run.path), "--task", "dates"]).stdout
