"""Tasks whose metric is no share of right answers: bits per byte, perplexity, a score up to 100."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from html import unescape

import pandas as pd
import pytest
from click.testing import CliRunner

from joulemark.harness.record import Cell
from joulemark.harness.store import Run
from joulemark.reports.caveats import caveats
from joulemark.reports.commands import rank
from joulemark.reports.documents import as_csv, as_json, as_markdown
from joulemark.reports.findings import finding, interval_sentence
from joulemark.reports.html import page
from joulemark.reports.plots import _footnote, alt_text, caption, page_svg
from joulemark.reports.views import View, make_views

Make = Callable[..., Run]
TWO = {"small": (0.6, 0.001, 1000), "large": (0.8, 0.004, 9000)}
BITS = {"small": 1.2345, "large": 0.9876}
WHY = "bits_per_byte is no share of right answers"


def in_bits(*tasks: str) -> Callable[[Cell], Cell]:
    """The metric of these tasks is bits per byte."""

    def change(cell: Cell) -> Cell:
        told = {"bits_per_byte": BITS[cell.model] + 0.001 * cell.repeat, "byte_perplexity": 2.0}
        nothing = {"accuracy": None, "quality": None, "chance": None}
        update = nothing | {"metric": "bits_per_byte", "other_metrics": told}
        return cell.model_copy(update=update) if cell.task in tasks else cell

    return change


def without_scores(*tasks: str) -> Callable[[str, pd.DataFrame], pd.DataFrame]:
    return lambda task, items: items.assign(score=float("nan"), correct=None) if task in tasks else items


def measured(make_run: Make, *tasks: str, name: str = "run") -> Run:
    """A run of dates and units, some of them in bits per byte."""
    return make_run(name, models=TWO, change=in_bits(*tasks), change_items=without_scores(*tasks))


def view_of(views: list[View], task: str) -> View:
    return next(view for view in views if view.task == task)


@pytest.fixture
def run(make_run: Make) -> Run:
    return measured(make_run, "dates")


def test_its_table_shows_the_metric_by_name_energy_as_ever_and_no_rank(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = CliRunner().invoke(rank, [str(run.path), "--task", "dates"]).stdout
    table, below = said.split("Nothing is ranked", 1)
    assert "Bits per" in table
    assert "1.23" in table
    assert "0.98" in table
    assert "mWh per 1,000" in table
    assert not any(word in said for word in ("Frontier", "Right answers", "guessing", "Quality"))
    assert WHY in " ".join(below.split())
    assert "Byte perplexity" in said, "further metrics stand beside it"
    assert "Bits per byte" not in below


def test_its_rows_have_no_quality_but_the_metric_and_the_energy(run: Run) -> None:
    for row in view_of(make_views([run]), "dates").rows:
        assert (row.quality, row.accuracy, row.rank, row.correct_per_wh, row.frontier) == (None,) * 5
        assert row.metric == "bits_per_byte"
        assert row.other_metrics["bits_per_byte"] == pytest.approx(BITS[row.model] + 0.001)
        assert row.energy_wh_per_1k is not None
        assert row.energy_wh_per_1k_low is not None
        assert "no_quality:dates" in row.flags


def test_over_all_tasks_it_is_left_out_whole_and_that_is_said(run: Run) -> None:
    views = make_views([run])
    whole, units = views[0], view_of(views, "units")
    assert whole.tasks == ("units",)
    for row, alone in zip(whole.rows, units.rows, strict=True):
        assert (row.quality, row.energy_wh_per_1k) == (alone.quality, alone.energy_wh_per_1k)
        assert row.rank == alone.rank is not None
    said = "dates (bits_per_byte) is in no figure over all tasks: its metric is no share of right answers"
    assert any(note.startswith(said) for note in caveats(whole))
    assert not any(said in note for note in caveats(units))


def test_one_that_failed_there_is_no_less_ranked_over_the_other_tasks(make_run: Make) -> None:
    def lose(cell: Cell) -> Cell:
        lost = {"status": "failed", "error": "gone", "energy": None}
        return cell.model_copy(update=lost) if (cell.model, cell.task) == ("small", "dates") else in_bits("dates")(cell)

    view = make_views([make_run(models=TWO, change=lose, change_items=without_scores("dates"))])[0]
    assert len(view.ranked) == 2


def test_the_files_tell_the_metric(run: Run) -> None:
    views = make_views([run])
    found = {view["task"]: view for view in json.loads(json.dumps(as_json(views), allow_nan=False))["views"]}
    assert (found["dates"]["metric"], found["units"]["metric"]) == ("bits_per_byte", None)
    assert WHY in found["dates"]["finding"]
    lines = {(line["task"], line["model"]): line for line in csv.DictReader(io.StringIO(as_csv(views)))}
    assert lines["dates", "small"]["metric"] == "bits_per_byte"
    assert lines["dates", "small"]["quality"] == lines["dates", "small"]["accuracy"] == ""
    assert json.loads(lines["dates", "small"]["other_metrics"])["bits_per_byte"] == pytest.approx(1.2355)
    markdown, html = as_markdown(views, [run]), unescape(page(views, [run]))
    assert "| Rank | Model | Bits per byte | mWh per 1,000 answers |" in markdown
    assert '<th scope="col" class="num">Bits per byte</th>' in html
    assert markdown.count(WHY) == html.count(WHY) == 1
    assert "| \u2013 | small | 1.236 |" in markdown or "| \u2013 | small | 1.235 |" in markdown


def test_an_accuracy_that_no_quality_is_made_of_is_shown_by_its_name_too(make_run: Make) -> None:
    def over_all_items(cell: Cell) -> Cell:
        f1 = {"metric": "f1", "accuracy": 0.625, "quality": None, "chance": None}
        return cell.model_copy(update=f1) if cell.task == "dates" else cell

    run = make_run(models=TWO, change=over_all_items, change_items=without_scores("dates"))
    markdown = as_markdown(make_views([run]), [run])
    assert "| Rank | Model | F1 | mWh" in markdown
    assert "| small | 0.6250 |" in markdown


def test_where_one_models_values_show_that_a_metric_is_no_share_nobody_has_quality_in_it(make_run: Make) -> None:
    """A model that gets 0.6 points of 100 is not one that is right in six of ten questions."""

    def in_points(cell: Cell) -> Cell:
        nothing = {"accuracy": None, "chance": None, "quality": None, "other_metrics": {"score": 40.0}}
        update = {"metric": "score"} | (nothing if cell.model == "large" else {})
        return cell.model_copy(update=update) if cell.task == "dates" else cell

    run = make_run(models=TWO, change=in_points)
    views = make_views([run])
    dates, every = view_of(views, "dates"), view_of(views, "all")
    assert {row.model: row.other_metrics["score"] for row in dates.rows} == {
        "small": pytest.approx(0.6, abs=0.3),
        "large": 40.0,
    }
    assert not dates.ranked
    assert all((row.quality, row.accuracy, row.levels) == (None, None, {}) for row in dates.rows)
    assert any("some of its values show that score is no share" in note for note in dates.notes)
    assert every.tasks == ("units",)
    assert len(every.ranked) == 2


def test_where_no_task_has_quality_their_metrics_stand_side_by_side(make_run: Make) -> None:
    run = measured(make_run, "dates", "units")
    view = make_views([run])[0]
    assert view.tasks == ("dates", "units")
    assert "no shares of right answers" in finding(view)
    assert "quality" not in interval_sentence(view)
    for row in view.rows:
        assert set(row.other_metrics) == {"dates: bits_per_byte", "units: bits_per_byte"}
    said = CliRunner().invoke(rank, [str(run.path)]).stdout
    assert "Further metrics" in said
    assert "1.24" in said


def test_the_caption_explains_what_is_drawn_and_no_more(make_run: Make) -> None:
    guessing = {"small": (0.0, 0.001, 1000), "large": (0.0, 0.004, 9000)}
    full, poor = make_run("full", models=TWO), make_run("poor", models=guessing)
    for made, judged in ((full, True), (poor, False)):
        (view, *_) = make_views([made])
        (picture,) = [text for text in page([view], [made]).split("figcaption>") if text.startswith("Quality against")]
        assert "Hollow points" in picture, "points are drawn, and their energy is modelled"
        assert (("shaded" in picture), ("Bold" in picture)) == (judged, judged)
        assert ("shaded" in _footnote(view)) == judged
    (bits, *_) = make_views([measured(make_run, "dates", "units", name="bits")])
    assert caption(bits) == "No entrant has both quality and energy."


def test_a_picture_without_points_says_why_it_has_none(make_run: Make) -> None:
    view = make_views([measured(make_run, "dates", "units")])[0]
    assert "No entrant has both quality and energy." in page_svg(view)
    assert "No entrant has both quality and energy." in alt_text(view)


def test_a_task_that_nobody_finished_is_not_taken_for_one_without_quality(make_run: Make) -> None:
    def fail(cell: Cell) -> Cell:
        lost = {"status": "failed", "error": "gone", "energy": None, "quality": None}
        return cell.model_copy(update=lost) if cell.task == "dates" else cell

    view = make_views([make_run(models=TWO, change=fail)])[0]
    assert view.tasks == ("dates", "units")
    assert {row.quality for row in view.rows} == {None}
