from __future__ import annotations

import io
from collections.abc import Callable
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.harness.store import Run
from joulemark.reports.caveats import caveats
from joulemark.reports.documents import as_markdown
from joulemark.reports.html import page
from joulemark.reports.names import cut_apart
from joulemark.reports.plots import _FILE, _draw, style
from joulemark.reports.table import print_views
from joulemark.reports.views import View, make_views

Make = Callable[..., Run]
LONG = "organisation/a-model-with-a-very-long-name-0.5b-instruct-v2"
GRID = {"batch_size": (1, 8), "threads": (1, 2), "dtype": ("float32", "bfloat16")}
MODELS = {"small": (0.6, 0.001, 1000), "guesser": (0.0, 0.00001, 9)}

quick = settings(max_examples=100, deadline=None)


def printed(views: list[View]) -> str:
    out = io.StringIO()
    print_views([view for view in views if view.task == "all"], file=out, width=80)
    return out.getvalue()


def names_in_the_picture(view: View) -> set[str]:
    with style("path"):
        return {text.get_text() for text in _draw(view, _FILE, titled=False).axes[0].texts}


@quick
@given(st.lists(st.text(alphabet="ab1 -=", max_size=80), max_size=12, unique=True), st.integers(16, 40))
def test_names_that_differ_still_differ_when_cut(names: list[str], longest: int) -> None:
    cut = cut_apart(names, longest)
    assert len(set(cut)) == len(names)
    assert all(len(name) <= longest for name in cut)


def test_names_are_cut_where_they_are_alike() -> None:
    first, second = cut_apart([f"{LONG} bs={size} t=2" for size in (1, 8)], 34)
    assert (first[-8:], second[-8:]) == ("bs=1 t=2", "bs=8 t=2")
    alike_at_both_ends = [f"organisation/a-model-of-{size}b-instruct-v2-and-more bs=8 t=2" for size in (7, 13)]
    assert cut_apart(alike_at_both_ends, 34) == [
        "\u20267b-instruct-v2-and-more bs=8 t=2",
        "\u202613b-instruct-v2-and-more bs=8 t=2",
    ]


@pytest.mark.parametrize("model", ["small", LONG])
def test_in_the_picture_of_a_sweep_every_name_tells_its_setting(make_sweep: Make, model: str) -> None:
    view = make_views([make_sweep({"batch_size": (1, 8), "threads": (1, 2)}, {model: (0.6, 0.001, 9)})])[0]
    names = [name for name in names_in_the_picture(view) if "bs=" in name]
    assert sorted(name[-8:] for name in names) == ["bs=1 t=1", "bs=1 t=2", "bs=8 t=1", "bs=8 t=2"]


def test_rows_that_lie_on_one_spot_off_the_axis_have_one_name(make_sweep: Make) -> None:
    view = make_views([make_sweep({"batch_size": (1, 8)}, MODELS)])[0]
    assert [name for name in names_in_the_picture(view) if name.startswith("guesser (both)\nat 0.0")]


def test_what_short_names_stand_for_is_told_where_they_stand_and_files_have_them_in_full(make_sweep: Make) -> None:
    run = make_sweep({"batch_size": (1, 8), "power_cap_w": (200, 300)}, MODELS)
    views = make_views([run])
    text = printed(views)
    assert "small bs=8 200 W" in text
    assert "\nbs: batch_size\n" in text
    assert "bs: batch_size." in unescape(page(views, [run]))
    assert "| small (batch_size=8, power_cap_w=200) |" in as_markdown(views, [run])


def test_without_a_sweep_nothing_is_short(demo_views: list[View]) -> None:
    assert all(row.short_label == row.label == row.model for row in demo_views[0].rows)
    assert "bs:" not in printed(demo_views)


def test_a_large_sweep_is_about_a_screen_and_a_half(make_sweep: Make) -> None:
    run = make_sweep(GRID, MODELS, tasks=("dates",), change=lambda c: c.model_copy(update={"flags": ("busy_machine",)}))
    lines = printed(make_views([run])).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 65, "16 entrants have two lines each"


def test_what_holds_for_all_settings_of_a_model_is_told_once(make_sweep: Make) -> None:
    run = make_sweep(GRID, MODELS, change=lambda c: c.model_copy(update={"flags": ("busy_machine",)}))
    views = make_views([run])
    said = caveats(views[0])
    assert "guesser (all 8) are not ranked: their quality of 0.0 points cannot be told from guessing." in said
    assert sum("busy_machine" in sentence for sentence in said) == 1
    assert any(sentence.startswith("All 16 entrants: other programs") for sentence in said)
    assert "| guesser (all 8) | 0.0 | 0.0 | 0.0 | 0.0 |" in as_markdown(views, [run])
