"""What energy comes to in the world: every figure follows from what the reader said, and nothing is assumed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from made_runs import COUNTER

from joulemark.harness.record import Carbon, Cell
from joulemark.harness.store import Run
from joulemark.meters.carbon import CarbonIntensity
from joulemark.reports.commands import report
from joulemark.reports.context import Chart, Other, make_context
from joulemark.reports.contextplot import chart_alt, chart_caption, chart_legend, chart_svg
from joulemark.reports.views import make_views
from joulemark.reports.world import World, break_even_years, with_carbon

Make = Callable[..., Run]
ALL_TOLD = World(
    carbon=CarbonIntensity(g_per_kwh=500.0, source="a test", year=None),
    price_per_kwh=0.3,
    yearly_queries=1e6,
    growth=0.5,
)


def figure(text: str) -> float:
    return float(re.match(r"[\d.,]+", text)[0].replace(",", ""))  # type: ignore[index]


def test_each_figure_is_what_its_formula_says(make_run: Make) -> None:
    view = make_views([make_run(meter=COUNTER)])[0]
    context = make_context([view], ALL_TOLD)
    assert context is not None
    table = context.tables[0]
    assert len(table.heads) == 4
    assert table.heads[3] == "kWh a year"
    scale = {"1,000": 1e3, "a million": 1e6, "a billion": 1e9, "a trillion": 1e12}
    answers = scale[re.fullmatch(r"Cost of (.+) answers", table.heads[0])[1]]  # type: ignore[index]
    grams = {"kg": 1e-3, "g": 1.0, "mg": 1e3, "\u00b5g": 1e6}[table.heads[1].split()[0]]
    charges = {"": 1.0, "millions": 1e6, "billions": 1e9}[table.heads[2].partition(", ")[2]]
    for row, (label, cells) in zip(view.rows, table.lines, strict=True):
        wh = row.energy_wh_per_1k
        assert wh is not None
        assert label == row.label
        expected = (answers * wh / 1e6 * 0.3, wh / 1000 * 500 * grams, 15 / (wh / 1000) / charges, wh / 1e6 * 1e6)
        for cell, truth in zip(cells, expected, strict=True):
            assert figure(cell) == pytest.approx(truth, rel=0.01)
            assert re.fullmatch(r"[\d.,]+ \([\d.,]+\u2013[\d.,]+\)", cell)


def test_nothing_that_was_not_said_is_assumed(make_run: Make) -> None:
    view = make_views([make_run(meter=COUNTER)])[0]
    context = make_context([view], World())
    assert context is not None
    assert context.tables[0].heads[0].startswith("Answers per charge of 15 Wh")
    assert len(context.tables[0].heads) == 1
    assert context.chart is None
    assert not any("price" in formula or "CO2" in formula for formula in context.formulas)


def test_a_model_without_energy_is_in_no_table_and_nobody_with_any_is_no_section(make_run: Make) -> None:
    def lose(cell: Cell) -> Cell:
        return cell.model_copy(update={"energy": None}) if cell.model == "ngram" else cell

    context = make_context(make_views([make_run(meter=COUNTER, change=lose)])[:1], ALL_TOLD)
    assert context is not None
    assert {label for label, _ in context.tables[0].lines} == {"dense-60k", "dense-240k"}
    none = make_run("none", meter=COUNTER, change=lambda c: c.model_copy(update={"energy": None}))
    assert make_context(make_views([none])[:1], ALL_TOLD) is None


@given(ratio=st.floats(1.01, 100), growth=st.floats(0.01, 5))
def test_at_the_break_even_both_take_as_much_a_year(ratio: float, growth: float) -> None:
    years = break_even_years(ratio, growth)
    assert years is not None
    assert (1 + growth) ** years == pytest.approx(ratio)


def test_use_that_does_not_grow_never_undoes_a_saving() -> None:
    assert break_even_years(2.0, 0.0) is None


def test_only_who_surely_takes_more_an_answer_is_in_the_rebound_and_its_chart(make_run: Make) -> None:
    view = make_views([make_run(meter=COUNTER)])[0]
    context = make_context([view], ALL_TOLD)
    assert context is not None
    first, *others = view.rows
    surely = [row for row in others if (row.energy_ratio_to_first_low or 0) > 1]
    assert surely
    assert [label for label, _ in context.tables[1].lines] == [row.label for row in surely]
    assert context.tables[1].title == f"What undoes the saving of {first.label}"
    assert context.chart is not None
    [other] = context.chart.others
    assert other.name == surely[0].short_label
    assert other.years == pytest.approx(math.log(other.ratio) / math.log(1.5))
    svg = chart_svg(context.chart)
    assert svg == chart_svg(context.chart)
    assert "var(--kind1)" in svg
    assert "http" not in svg
    assert f"{other.name} after {other.years:.1f} years" in chart_alt(context.chart)


def test_every_line_of_the_chart_is_in_its_legend_and_looks_like_no_other() -> None:
    others = tuple(Other(name=f"m{n}", letter=chr(66 + n), ratio=1.1 + 0.05 * n, years=1.0 + n) for n in range(12))
    chart = Chart(label="small", growth=0.3, years=15.0, others=others, left_out=3)
    entries = chart_legend(chart)
    assert [name for _, name in entries] == [*(f"{o.letter} {o.name}" for o in reversed(others)), "small, growing"]
    looks = [re.findall(r'stroke="[^"]*"|stroke-dasharray="[^"]*"', swatch) for swatch, _ in entries]
    assert len({tuple(look) for look in looks}) == len(entries)
    svg = chart_svg(chart)
    assert all(look[0] in svg and look[-1] in svg for look in looks)
    assert "and 3 more" in chart_alt(chart)


def test_break_evens_that_the_power_model_alone_may_make_are_named(make_run: Make) -> None:
    models = {"thrifty": (0.7, 0.001, 9), "near": (0.7, 0.0015, 9), "far": (0.7, 0.02, 9)}
    modelled = make_context(make_views([make_run("a", models=models)])[:1], ALL_TOLD)
    measured = make_context(make_views([make_run("b", models=models, meter=COUNTER)])[:1], ALL_TOLD)
    assert modelled is not None
    assert measured is not None
    assert "That of near may be the power model's" in modelled.tables[1].note
    assert "power model" not in measured.tables[1].note
    assert modelled.chart
    assert "may be the power model's" in chart_caption(modelled.chart)


def test_results_json_has_each_table_in_numbers_and_the_rows_their_carbon(make_run: Make, tmp_path: Path) -> None:
    run = make_run(meter=COUNTER)
    told = ["--price-per-kwh", "0.3", "--carbon", "500", "--growth", "50%", "--yearly-queries", "1e6"]
    assert CliRunner().invoke(report, [str(run.path), "--out", str(tmp_path / "r"), *told]).exit_code == 0
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    spent, undone = results["context"]["tables"]
    assert results["context"]["formulas"]
    assert results["context"]["notes"]
    rows = {row["label"]: row for row in results["views"][0]["rows"]}
    for own in spent["rows"]:
        wh, row = rows[own["label"]]["energy_wh_per_1k"], rows[own["label"]]
        assert (own["model"], own["setting"]) == (row["model"], row["setting"])
        assert own["cost_per_1k"] == pytest.approx(wh / 1000 * 0.3)
        assert own["carbon_g_per_1k"] == pytest.approx(row["carbon_g_per_1k"]) == pytest.approx(wh / 1000 * 500)
        assert own["answers_per_charge"] == pytest.approx(15 / (wh / 1000))
        assert own["energy_kwh_per_year"] == pytest.approx(wh)
        assert all(own[f"{name}_low"] < own[name] < own[f"{name}_high"] for name in spent["units"])
    assert {row["carbon_g_per_kwh"] for view in results["views"] for row in view["rows"]} == {500.0}
    for own in undone["rows"]:
        assert own["break_even"] == pytest.approx(rows[own["label"]]["energy_ratio_to_first"])
        assert own["break_even_years"] == pytest.approx(math.log(own["break_even"]) / math.log(1.5))
    assert set(undone["units"]) <= set(undone["rows"][0])


def test_what_the_reader_says_of_carbon_stands_over_what_the_run_was_told_and_that_is_said(make_run: Make) -> None:
    view = replace(make_views([make_run(meter=COUNTER)])[0], carbon=(Carbon(g_per_kwh=56.0, source="a table"),))
    context = make_context([view], ALL_TOLD)
    assert context is not None
    assert any("in place of what its runs were" in note for note in context.notes)
    [told] = with_carbon([view], ALL_TOLD.carbon)
    assert [carbon.g_per_kwh for carbon in told.carbon] == [500.0]
    assert with_carbon([view], None) == [view]


@pytest.mark.parametrize("ratio", [1.2, 3.0, 60.0, 500.0])
def test_the_charts_words_beside_its_axis_never_touch(ratio: float) -> None:
    other = Other(name="large", letter="B", ratio=ratio, years=20.0)
    svg = chart_svg(Chart(label="small", growth=0.3, years=30.0, others=(other,)))
    heights = sorted(float(y) for y in re.findall(r'y="([\d.]+)"[^>]*>[\d,]+\u00d7<', svg))
    assert len(heights) >= 2
    assert min(np.diff(heights)) >= 20


def test_where_no_break_even_can_be_told_that_is_said(make_run: Make) -> None:
    context = make_context(make_views([make_run(meter=COUNTER, repeats=1)])[:1], ALL_TOLD)
    assert context is not None
    assert len(context.tables) == 1
    assert any(note.startswith("No break-even is told") for note in context.notes)


def test_the_report_has_the_section_where_it_is_asked_for_and_only_there(make_run: Make, tmp_path: Path) -> None:
    run = make_run(meter=COUNTER)

    def pages(*arguments: str) -> tuple[str, str]:
        result = CliRunner().invoke(report, [str(run.path), "--out", str(tmp_path / "r"), *arguments])
        assert result.exit_code == 0, result.output
        return (tmp_path / "r" / "report.html").read_text(), (tmp_path / "r" / "report.md").read_text()

    assert all("In the world" not in page for page in pages())
    html, markdown = pages("--price-per-kwh", "0.3", "--carbon", "500", "--growth", "50%", "--yearly-queries", "1e6")
    for page in (html, markdown):
        assert "In the world" in page
        assert "as given" in page
        assert "Jevons" in page
    assert pages("--context", "--battery-wh", "60")[0].count("Answers per charge of 60 Wh") == 1
    assert '<svg viewBox="0 0 640' in html


def test_each_view_over_all_tasks_has_tables_of_its_own_that_name_it(make_run: Make, tmp_path: Path) -> None:
    here = make_run("here", meter=COUNTER)
    there = make_run("there", meter=COUNTER, machine={"cpu_model": "Apple <M3>", "machine_id": "m-2"}, seed=2)
    views = [view for view in make_views([here, there]) if view.task == "all"]
    assert len(views) == 2
    both = make_context(views, ALL_TOLD)
    alone = [make_context([view], ALL_TOLD) for view in views]
    assert both is not None
    assert [table.lines for table in both.tables] == [table.lines for own in alone if own for table in own.tables]
    for view, table in zip(views, both.tables[::2], strict=True):
        assert table.title == f"What it comes to on {view.hardware}"
    assert all(own and own.tables[0].title == "What it comes to" for own in alone)
    assert both.formulas == (alone[0] and alone[0].formulas)
    assert f"The chart is of the models on {views[0].hardware}." in both.notes
    arguments = [str(here.path), str(there.path), "--out", str(tmp_path / "r"), "--context"]
    assert CliRunner().invoke(report, arguments).exit_code == 0
    for name in ("report.html", "report.md"):
        text = (tmp_path / "r" / name).read_text()
        for hardware in ("AMD EPYC 7B13", "Apple"):
            assert f"What it comes to on {hardware}" in text
        assert "<M3>" not in text


def test_two_grades_of_energy_on_one_machine_are_told_apart(make_run: Make) -> None:
    views = [view for view in make_views([make_run("a", meter=COUNTER), make_run("b")]) if view.task == "all"]
    context = make_context(views, World())
    assert context is not None
    titles = [table.title for table in context.tables]
    assert len(set(titles)) == len(titles) == 4
    assert "counter energy" in titles[0]
    assert "modelled energy" in titles[2]


def test_a_run_that_was_told_of_carbon_need_not_be_told_again(make_run: Make, tmp_path: Path) -> None:
    run = make_run(meter=COUNTER)
    header = json.loads((run.path / "run.json").read_text())
    header["carbon"] = {"g_per_kwh": 56.0, "source": "a table", "year": 2023}
    (run.path / "run.json").write_text(json.dumps(header))
    CliRunner().invoke(report, [str(run.path), "--out", str(tmp_path / "r"), "--context"])
    assert "56 g/kWh (a table, 2023)" in (tmp_path / "r" / "report.md").read_text()


@pytest.mark.parametrize(
    "wrong", ["--growth 0", "--growth 30", "--price-per-kwh nan", "--battery-wh 0", "--yearly-queries inf"]
)
def test_a_figure_that_cannot_be_is_refused(make_run: Make, tmp_path: Path, wrong: str) -> None:
    result = CliRunner().invoke(report, [str(make_run().path), "--out", str(tmp_path / "r"), *wrong.split()])
    assert result.exit_code == 2
