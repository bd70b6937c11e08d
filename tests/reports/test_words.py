from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.harness.store import Run
from joulemark.reports.caveats import caveats
from joulemark.reports.clauses import workload_factor
from joulemark.reports.findings import finding, grade_sentence, headline, interval_sentence
from joulemark.reports.flags import _OF_TASKS, _WORDS
from joulemark.reports.markdown import md
from joulemark.reports.names import broken, pieces
from joulemark.reports.table import Columns, print_views
from joulemark.reports.views import View, make_views
from joulemark.reports.wording import ascii_only, draws_share, energy_unit, number, rate_unit, safe, span

Make = Callable[..., Run]
ALIKE = {"left": (0.7, 0.0010, 9), "right": (0.7, 0.0010, 9)}
COUNTER = {"grade": "counter", "scope": "package", "rel_u_scale": 0.02, "rel_u_workload": 0.0}

quick = settings(max_examples=50, deadline=None)


def printed(views: list[View], width: int = 80) -> str:
    out = io.StringIO()
    print_views(views[:1], file=out, width=width)
    return out.getvalue()


def test_a_clear_lead_is_said_with_its_interval(demo_views: list[View]) -> None:
    text = finding(demo_views[0])
    assert "dense-60k gives the most right answers per watt-hour: 1.6" in text
    assert "(95 % 1." in text
    assert "points less quality" in text


def test_modelled_energy_is_called_cpu_time_wherever_a_claim_rests_on_it(demo_run: Run, demo_views: list[View]) -> None:
    for by in ("correct_per_wh", "energy"):
        assert "CPU time, not measured joules" in finding(make_views([demo_run], by=by)[0])  # type: ignore[arg-type]
    assert "not measured joules" in grade_sentence(demo_views[0])


@pytest.mark.parametrize(("thrift", "meter", "told"), [
    (1.3, {}, True), (20.0, {}, False), (1.3, {"meter": COUNTER}, False),
])  # fmt: skip
def test_a_lead_that_the_power_model_may_feign_is_called_one(
    make_run: Make, thrift: float, meter: dict[str, object], told: bool
) -> None:
    run = make_run(models={"thrifty": (0.7, 0.001, 9), "other": (0.7, 0.001 * thrift, 9)}, **meter)
    for by in ("correct_per_wh", "energy"):
        view = make_views([run], by=by)[0]  # type: ignore[arg-type]
        assert [row.label for row in view.ranked if row.tied_with_first] == ["thrifty"]
        assert ("In joules it may be the other way round" in finding(view)) is told


def test_who_is_unclear_at_the_frontier_is_told_in_how_many_draws(make_run: Make) -> None:
    view = make_views([make_run(models=ALIKE, seed=4, spread=0.05)])[0]
    unclear = [row for row in view.rows if row.frontier == "unclear"]
    assert len(unclear) == 2
    said = " ".join(printed([view]).split())
    assert all(f"{row.label} in {100 * row.p_frontier:.0f} % of draws" in said for row in unclear)


def test_nothing_is_said_of_unclear_where_all_is_clear(demo_views: list[View]) -> None:
    assert "Unclear" not in printed(demo_views)


def test_counters_are_named(make_run: Make) -> None:
    view = make_views([make_run(meter=COUNTER)])[0]
    assert "hardware counters (rapl:package-0); the true value lies within \u00b13.9 % (95 %)" in grade_sentence(view)
    assert "CPU time" not in finding(view)


@pytest.mark.parametrize("by", ["correct_per_wh", "quality", "energy"])
def test_what_cannot_be_told_apart_is_called_a_tie(make_run: Make, by: str) -> None:
    view = make_views([make_run(models=ALIKE, seed=4, spread=0.05)], by=by)[0]  # type: ignore[arg-type]
    assert "tie" in headline(view)
    assert "may be chance" in finding(view)
    assert all(row.tied_with_first for row in view.ranked)


def test_one_repeat_says_that_there_is_no_interval(make_run: Make) -> None:
    view = make_views([make_run(repeats=1)])[0]
    assert "one repeat: no interval" in finding(view)
    assert "one repeat: no interval" in interval_sentence(view)
    assert "proves nothing" in headline(view)


def test_who_is_not_ranked_is_told_why(demo_views: list[View]) -> None:
    assert any("ngram (8.0 points) is not ranked" in note and "floor of 20" in note for note in caveats(demo_views[0]))


def test_nothing_above_the_floor_is_said(demo_run: Run) -> None:
    view = make_views([demo_run], quality_floor=99)[0]
    assert headline(view) == "Nothing is ranked"
    assert "99 points" in finding(view)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_table_fits_the_window(demo_views: list[View], width: int) -> None:
    lines = printed(demo_views, width).splitlines()
    assert max(map(len, lines)) <= width
    assert any("dense-800k" in line for line in lines)


def test_a_wide_window_shows_more(demo_views: list[View]) -> None:
    assert "Accuracy" not in printed(demo_views, 80)
    assert "Accuracy" in printed(demo_views, 140)


def test_long_names_still_fit_80_columns(make_run: Make) -> None:
    run = make_run(models={"organisation/a-model-with-a-very-long-name-0.5b-instruct-v2": (0.7, 0.001, 9)})
    assert max(map(len, printed(make_views([run])).splitlines())) <= 80


def test_names_cannot_steer_the_terminal(make_run: Make) -> None:
    text = printed(make_views([make_run(models={"\x1b[31mred\x07[bold]x[/]": (0.7, 0.001, 9)})]))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]x[/]" in text.replace("\n", "")


@pytest.mark.parametrize(("wh", "unit"), [(5.0, "Wh"), (0.002, "mWh"), (2e-6, "\u00b5Wh"), (9e5, "kWh")])
def test_energies_get_a_unit_that_reads_well(wh: float, unit: str) -> None:
    assert energy_unit([wh]).name == unit


def test_rates_are_counted_in_thousands_or_millions() -> None:
    assert [rate_unit([x]).name for x in (50.0, 5e5, 5e7)] == ["", "thousand", "million"]


@quick
@given(st.floats(-1e12, 1e12))
def test_numbers_show_three_digits_and_no_plain_hyphen(value: float) -> None:
    text = number(value).replace("\u2212", "-").replace(",", "")
    assert float(text) == pytest.approx(value, rel=6e-3, abs=1e-300)
    assert "-" not in number(value)


def test_missing_is_a_dash_and_never_0() -> None:
    assert number(None) == "\u2013"
    assert span(None, 1.0) == ""


@quick
@given(st.text())
def test_text_for_a_terminal_is_printable_and_ascii_where_asked(text: str) -> None:
    assert safe(text).isprintable()
    assert ascii_only(text).isascii()


def test_a_tie_names_no_first_and_sets_the_best_quality_against_the_tied_one_nearest_to_it(make_run: Make) -> None:
    models = {"low": (0.5, 0.001, 9), "mid": (0.7, 0.0014, 9), "high": (0.9, 0.009, 9)}
    view = make_views([make_run(models=models, items=200, spread=0.02, seed=3)])[0]
    assert {row.model for row in view.rows if row.tied_with_first} == {"low", "mid"}
    text = finding(view)
    assert "first" not in text
    assert "(ratio 1.0\u00d7, 95 % " in text or "(ratio 1.00\u00d7, 95 % " in text
    assert "the energy of mid (" in text


@pytest.mark.parametrize(("quality", "alike"), [(0.72, True), (0.9, False)])
def test_the_highest_score_is_called_better_only_where_it_is(make_run: Make, quality: float, alike: bool) -> None:
    models = {"thrifty": (0.7, 0.001, 9), "middle": (0.5, 0.004, 9), "best": (quality, 0.009, 9)}
    text = finding(make_views([make_run(models=models)])[0])
    assert ("It has 65.8 points of quality; no other has surely more." in text) is alike
    assert ("best has the highest quality, 88.3 points, at 9" in text) is not alike


def test_all_that_score_highest_are_named(make_run: Make) -> None:
    models = {"thrifty": (0.7, 0.001, 9), "middle": (0.5, 0.002, 9), "left": (1.0, 0.008, 9), "right": (1.0, 0.016, 9)}
    text = finding(make_views([make_run(models=models)])[0])
    assert "left and right tie for the highest quality, 100.0 points; of these left takes the least energy, 8" in text
    assert "that of thrifty (65.8 points)" in text


def test_who_ties_for_the_highest_quality_is_who_ties_when_ranked_by_it(make_run: Make) -> None:
    models = {"thrifty": (0.6, 0.001, 9), "good": (0.86, 0.006, 9), "best": (0.88, 0.009, 9)}
    run = make_run(models=models, items=200)
    plain, by_quality = (make_views([run], by=by)[0] for by in ("correct_per_wh", "quality"))  # type: ignore[arg-type]
    tied = {row.model for row in by_quality.ranked if row.tied_with_first}
    assert tied == {row.model for row in plain.ranked if row.tied_for_quality} == {"good", "best"}
    said = finding(plain)
    good = next(row for row in plain.rows if row.model == "good")
    assert "of these good takes the least energy, " in said
    assert f"{good.energy_ratio_to_first:.1f}\u00d7 (95 % " in said
    told = finding(by_quality)
    assert "by CPU time, not measured joules, good takes the least energy of these, 0.6" in told
    assert "that of best." in told


def test_of_those_that_tie_the_ones_with_the_highest_quality_are_named_with_their_points(make_run: Make) -> None:
    models = {"low": (0.5, 0.001, 9), "good": (0.86, 0.0018, 9), "best": (0.88, 0.0019, 9)}
    view = make_views([make_run(models=models, items=200, spread=0.05, seed=5)])[0]
    assert {row.model for row in view.rows if row.tied_with_first} == {*models}
    points = {row.model: f"{row.quality:.1f}" for row in view.rows}
    names = [row.model for row in view.ranked if row.tied_for_quality]
    assert sorted(names) == ["best", "good"]
    told = " and ".join(points[name] for name in names)
    best = f"Of these, {' and '.join(names)} have the highest quality ({told} points), and no other is surely better."
    assert best in finding(view)


def test_of_many_that_share_a_caveat_three_are_named_and_the_others_counted(make_run: Make) -> None:
    poor = {f"poor-{n}": (0.05 + 0.001 * n, 0.001, 9) for n in range(9)}
    view = make_views([make_run(models={"good": (0.8, 0.002, 9), **poor}, tasks=("units",))], task="units")[0]
    (told,) = [note for note in caveats(view) if "below the quality floor" in note]
    assert re.match(r"poor-\d, poor-\d, poor-\d and 6 more are not ranked", told)


def test_nobody_is_set_against_itself(make_run: Make) -> None:
    view = make_views([make_run(models={**ALIKE, "low": (0.4, 0.001, 9)}, seed=4, spread=0.05)])[0]
    assert "energy of" not in finding(view)
    assert "no other has surely more" in finding(view)


@pytest.mark.parametrize(("floor", "told"), [(20.0, False), (60.0, True)])
def test_where_one_below_the_floor_shows_more_the_finding_says_among_whom(
    make_run: Make, floor: float, told: bool
) -> None:
    models = {"cheap": (0.6, 0.001, 9), "middle": (0.7, 0.005, 9), "best": (0.9, 0.009, 9)}
    view = make_views([make_run(models=models)], quality_floor=floor)[0]
    for text in (finding(view), headline(view)):
        assert ("of those with at least 60 points" in text) is told


def test_a_figure_by_itself_has_two_digits_and_the_meters_own_error(make_run: Make) -> None:
    one = {"dense": (0.7, 0.001, 9)}
    view = make_views([make_run(models=one)])[0]
    [row] = view.rows
    assert row.correct_per_wh_low is not None
    assert row.correct_per_wh_high is not None
    low, high = (float(f"{end / 1000:.2g}") for end in (row.correct_per_wh_low, row.correct_per_wh_high))
    text = finding(view)
    value = f"{float(f'{(row.correct_per_wh or 0) / 1000:.2g}'):,.0f}"
    assert text.startswith(
        f"By CPU time, not measured joules: dense gives {value} thousand right answers per watt-hour"
    )
    assert f"(95 % {low:,.0f}\u2013{high:,.0f} thousand)" in text
    once = finding(make_views([make_run("once", models=one, repeats=1)])[0])
    assert "one repeat: no interval, and the meter alone leaves a factor of 2.7 either way" in once


def test_a_lead_whose_interval_reaches_below_what_the_power_model_may_feign_is_called_one(make_run: Make) -> None:
    models = {"thrifty": (0.7, 0.001, 9), "other": (0.7, 0.00255, 9)}
    view = make_views([make_run(models=models, spread=0.12, seed=2)])[0]
    second = view.ranked[1]
    assert second.ratio_to_first is not None
    assert second.ratio_to_first_high is not None
    assert not second.tied_with_first
    assert 1 / second.ratio_to_first > workload_factor(0.3) > 1 / second.ratio_to_first_high
    assert "In joules it may be the other way round" in finding(view)


def test_several_runs_in_one_table_are_told_apart_in_time(make_run: Make) -> None:
    one, other = make_run(), make_run("run-2", seed=2)
    assert any("Measured in 2 runs (run-1 and run-2)" in note for note in caveats(make_views([one, other])[0]))
    assert not any("Measured in" in note for note in caveats(make_views([one])[0]))


def test_tables_of_two_runs_say_how_much_each_was_asked_and_which_it_is(make_run: Make) -> None:
    limited = make_run(
        "few", tasks=("dates",), change=lambda c: c.model_copy(update={"setting": {**c.setting, "limit": 40}})
    )
    titles = [view.peculiar for view in make_views([make_run(), limited], task="all")]
    assert titles == ["all questions, run run-1", "40 questions a task, run few"]


@pytest.mark.parametrize(("p", "frontier", "told"), [
    (0.9475, "unclear", "on it in just under 95 % of draws"), (0.95, "on", "in 95 % of draws"),
    (0.001, "unclear", "on it in under 1 % of draws"), (0.997, "on", "in over 99 % of draws"),
])  # fmt: skip
def test_no_share_is_rounded_onto_the_threshold(p: float, frontier: str, told: str) -> None:
    assert draws_share(p, frontier) == told


def test_why_one_is_unclear_that_is_hardly_ever_on_the_frontier_is_told(make_run: Make) -> None:
    # Both have all answers right: neither beats the other in quality, though one takes a tenth of the energy.
    models = {"thrifty": (1.0, 0.001, 9), "other": (1.0, 0.01, 9)}
    view = make_views([make_run(models=models)])[0]
    assert [row.frontier for row in view.rows] == ["on", "unclear"]
    assert any("other is called unclear though hardly ever on the frontier" in note for note in caveats(view))


def test_intervals_and_words_of_names_stay_whole_on_a_terminal(make_run: Make) -> None:
    names = {"ref/cascade-240k-800k": (0.7, 0.001, 9), "organisation/some-model-0.5b": (0.8, 0.003, 9)}
    view = make_views([make_run(models=names)])[0]
    for width in (80, 90, 100, 124, 140, 200):
        text = printed([view], width)
        table = text.split("\n\n")[0]
        assert max(map(len, text.splitlines())) <= width
        for row in view.rows:
            columns = Columns(view)
            for told in (columns.quality(row), columns.energy_per_1k(row), columns.right_per_wh(row)):
                assert f"({told[1]})" in table
        # A name is broken after a hyphen or a slash, never inside "cascade", "240k" or "800k".
        assert all(re.search(rf"(?<![a-z0-9]){word}(?![a-z0-9])", table) for word in ("cascade", "240k", "800k"))


def test_a_narrow_window_says_what_it_leaves_out(demo_views: list[View]) -> None:
    assert "need a wider window" not in printed(demo_views, 80)
    narrow = printed(demo_views, 60)
    assert "Intervals need a wider window." in narrow
    assert max(map(len, narrow.splitlines())) <= 60


@quick
@given(st.text(alphabet="ab1/- _", max_size=60), st.integers(3, 30))
def test_a_broken_name_loses_no_letter_and_is_cut_inside_a_word_only_where_that_is_too_long(
    name: str, width: int
) -> None:
    lines = broken(name, width)
    assert max(map(len, lines)) <= width
    assert "".join(lines).replace(" ", "") == "".join(name.split())
    longest = max(map(len, pieces(name)), default=0)
    if longest <= width:
        assert {word for line in lines for word in re.findall("[ab1]+", line)} == set(re.findall("[ab1]+", name))


def test_a_title_says_where_it_is_about_cpu_time(make_run: Make, demo_views: list[View]) -> None:
    assert headline(demo_views[0]).startswith("By CPU time, ")
    assert "CPU time" not in headline(make_views([make_run(meter=COUNTER)])[0])


def test_the_meters_error_is_said_once_and_the_power_models_share_in_ratios(demo_views: list[View]) -> None:
    said = grade_sentence(demo_views[0])
    assert "the true value lies within a factor of 2.7 either way (95 %)" in said
    assert "Differences of less than about 2.3\u00d7 between models" in said
    assert "factor" not in interval_sentence(demo_views[0])
    assert workload_factor(0.2) == pytest.approx(1.741, abs=0.001)
    assert workload_factor(0.0) == 1


def test_a_floor_inside_an_interval_is_told(demo_run: Run) -> None:
    view = make_views([demo_run], quality_floor=62)[0]
    assert any("the floor of 62 lies inside" in note and "dense-60k" in note for note in caveats(view))


def test_every_flag_is_explained_on_the_page_of_results() -> None:
    told = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    assert all(f"`{flag}" in told for flag in [*_WORDS, *_OF_TASKS])


def test_a_space_that_does_not_break_is_a_space_in_markdown() -> None:
    assert md("11\u00a0% of\nall\u202e") == "11 % of all\ufffd"
