"""The page's smaller pictures: each task, where the energy goes, quality against tokens, latency against energy."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import COUNTER

from joulemark.harness.record import Cell, Latency, Phases, Tokens
from joulemark.harness.store import Run
from joulemark.reports.chart import Scale
from joulemark.reports.effortplot import quality_against_computing, too_alike
from joulemark.reports.flow import MOST_BARS, flow
from joulemark.reports.html import page
from joulemark.reports.labels import Box
from joulemark.reports.plots import caption
from joulemark.reports.scatter import MOST_POINTS, latency_against_energy
from joulemark.reports.tasksplot import MOST_TASKS, multiples
from joulemark.reports.views import View, make_views

Make = Callable[..., Run]
TOKENS = {"ngram": 5, "dense-60k": 6, "dense-240k": 24}


def told(cell: Cell) -> Cell:
    """A cell that tells phases, tokens of its model's own number, and how long requests took."""
    assert cell.energy is not None
    assert cell.energy.net_j is not None
    net_j = cell.energy.net_j
    phases = Phases(load_j=5.0, warmup_j=1.0, prefill_j=0.5 * net_j, decode_j=0.3 * net_j, other_j=0.2 * net_j)
    tokens = Tokens(prompt=16, generated=TOKENS.get(cell.model, 6) * cell.n_items, computed=99)
    return cell.model_copy(update={"phases": phases, "tokens": tokens, "latency_s": Latency(p50=0.002, p95=0.003)})


def many(view: View, count: int) -> View:
    """The view with so many rows of names of their own."""
    rows = [
        row._replace(model=f"m{n}", label=f"m{n}", short_label=f"m{n}")
        for n, row in enumerate(view.rows * (count // len(view.rows) + 1))
    ]
    return replace(view, rows=tuple(rows[:count]))


def circles(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)]


@pytest.fixture
def views(make_run: Make) -> list[View]:
    return make_views([make_run(change=told, meter=COUNTER)])


@given(st.floats(1e-6, 1e6), st.floats(1.05, 1e9), st.booleans())
def test_ticks_are_round_lie_on_the_axis_and_apart(low: float, times: float, log: bool) -> None:
    scale = Scale(low=low, high=low * times, start=10, end=300, log=log)
    ticks = scale.ticks(30)
    places = [scale.at(tick) for tick in ticks]
    assert all(b - a >= 30 - 1e-6 for a, b in pairwise(places))
    assert all(10 <= place <= 300 and scale.beyond(tick) == 0 for place, tick in zip(places, ticks, strict=True))
    assert len(ticks) >= (1 if times > 10 or not log else 0)


@given(st.floats(1e-3, 1e3), st.floats(1e-6, 1e6))
def test_what_lies_beyond_an_axis_stands_at_its_end(high: float, value: float) -> None:
    scale = Scale(low=high / 7, high=high, start=0, end=70)
    assert 0 <= scale.at(value) <= 70
    assert (scale.beyond(value) == 0) == (high / 7 <= value <= high)


def test_each_task_has_a_picture_and_all_have_the_same_axes(views: list[View]) -> None:
    drawn = multiples(views[0], views)
    assert drawn
    assert [title for title, _, _ in drawn.panels] == list(views[0].tasks)
    grids = [re.findall(r">([\d.\u2212]+)</text>", svg) for _, svg, _ in drawn.panels]
    assert grids[0] == grids[1]
    assert [label for _, label in drawn.key] == [row.label for row in views[0].rows]


def test_a_panel_tells_its_figures_in_words_and_a_better_model_stands_higher(views: list[View]) -> None:
    drawn = multiples(views[0], views)
    assert drawn
    for title, svg, alt in drawn.panels:
        own = next(view for view in views if view.task == title)
        assert all(row.label in alt for row in own.rows)
        on = sorted((row for row in own.rows if row.frontier == "on"), key=lambda row: row.energy_wh_per_1k or 0)
        spots = sorted(circles(svg))
        assert len(spots) == len(on) > 0
        assert [y for _, y in spots] == sorted((y for _, y in spots), reverse=True)


def test_marks_on_one_spot_of_a_small_picture_are_all_seen(make_run: Make) -> None:
    models = {f"twin-{n}": (1.0, 0.001, 9) for n in range(3)}
    views = make_views([make_run(models=models, meter=COUNTER, change=told, spread=0.0)])
    drawn = multiples(views[0], views)
    assert drawn
    for _, svg, _ in drawn.panels:
        widths = []
        for outline in re.findall(r'<path d="M([^"]*)Z" ', svg):
            across = [float(pair.split()[0]) for pair in outline.split("L")]
            widths.append(max(across) - min(across))
        assert len(set(widths)) == 3
    assert "Marks that overlap are smaller" in drawn.caption


def test_a_run_of_one_task_has_no_pictures_of_tasks(make_run: Make) -> None:
    views = make_views([make_run(tasks=("dates",), change=told)])
    assert multiples(views[0], views) is None


def test_nothing_is_drawn_from_what_is_missing_and_that_is_said(make_run: Make) -> None:
    def lacking(cell: Cell) -> Cell:
        return cell.model_copy(update={"energy": None}) if cell.task == "dates" else told(cell)

    views = make_views([make_run(tasks=("dates", "sums", "units"), change=lacking)])
    drawn = multiples(views[0], views)
    assert drawn
    assert [title for title, _, _ in drawn.panels] == ["sums", "units"]
    assert "Nothing to draw in dates." in drawn.caption
    assert flow(views[0]) is None
    assert latency_against_energy(views[0]) is None


def test_very_many_tasks_and_entrants_are_drawn_in_part_and_the_rest_told(make_run: Make) -> None:
    names = tuple(f"t{k:02}" for k in range(MOST_TASKS + 2))
    views = make_views([make_run(tasks=names, items=20, repeats=2, change=told)])
    drawn = multiples(views[0], views)
    assert drawn
    assert len(drawn.panels) == MOST_TASKS
    assert f"first {MOST_TASKS} of {MOST_TASKS + 2} tasks" in drawn.caption
    crowd = many(views[0], 1000)
    bars, latency = flow(crowd), latency_against_energy(crowd)
    assert bars
    assert latency
    assert len(bars.lines) == MOST_BARS
    assert "first 40 of 1,000 entrants" in bars.note
    assert f"first {MOST_POINTS} of 1,000 entrants" in latency.caption
    assert "those on the frontier" in caption(crowd)
    assert "first 26 of 1,000 entrants" in multiples(crowd, [crowd, *views[1:]]).caption  # type: ignore[union-attr]
    assert len(latency.wide) < 100_000


def test_bars_are_as_long_as_the_energy_and_their_parts_as_its_shares(views: list[View]) -> None:
    drawn = flow(views[0])
    assert drawn
    most = max(row.energy_wh_per_1k or 0.0 for row in views[0].rows)
    for row, (label, _, bar, cells) in zip(views[0].rows, drawn.lines, strict=True):
        assert label == row.label
        assert bar
        assert bar.length == pytest.approx(100 * (row.energy_wh_per_1k or 0.0) / most, abs=0.01)
        assert sum(part for _, part in bar.parts) == pytest.approx(100, abs=0.05)
        assert [f"{part:.1f}\u00a0%" for _, part in bar.parts] == list(cells[:4])


def test_where_the_energy_goes_is_told_once_of_each_view(make_run: Make) -> None:
    run = make_run(change=told, meter=COUNTER)
    text = unescape(page(make_views([run]), [run]))
    assert text.count("<h3>Where the energy goes</h3>") == 3
    assert text.count('class="scroll flow"') == 1


def test_quality_stands_against_tokens_only_where_these_differ(views: list[View], make_run: Make) -> None:
    [picture] = quality_against_computing(views[0], views)
    assert picture.title == "Quality against tokens spent"
    assert "at 24.0 tokens an answer" in picture.alt
    assert too_alike(views[0], views) == ""
    alike = make_views([make_run("alike")])
    assert quality_against_computing(alike[0], alike) == []
    assert "about as many an answer (6.00)" in too_alike(alike[0], alike)


def test_a_cap_on_tokens_makes_views_of_their_own_and_one_picture_with_a_line_a_model(make_sweep: Make) -> None:
    def capped(cell: Cell) -> Cell:
        generated = cell.setting["max_gen_toks"] * cell.n_items
        return cell.model_copy(update={"tokens": Tokens(prompt=16, generated=generated, computed=99)})

    models = {"small": (0.5, 0.001, 9), "large": (0.8, 0.004, 9)}
    views = make_views([make_sweep({"max_gen_toks": (32, 128)}, models, capped, meter=COUNTER)])
    whole = [view for view in views if view.task == "all"]
    [picture] = quality_against_computing(whole[0], whole)
    assert quality_against_computing(whole[1], whole) == []
    assert all(name in picture.alt for name in ("small \u226432", "small \u2264128", "large \u226432"))
    assert all(f">{name}</text>" in picture.wide for name in ("\u226432", "small \u2264128", "large \u2264128"))
    [lines] = re.findall(r'<path d="(M[^"Z]*)" fill="none" stroke="var\(--muted\)" stroke-width="1.2"', picture.wide)
    assert lines.count("M") == 2
    assert "Lines join the settings of one model." in picture.caption


def test_latency_is_the_middle_request_and_the_slow_one_its_whisker(make_run: Make) -> None:
    def timed(cell: Cell) -> Cell:
        p50 = {"ngram": 0.001, "dense-60k": 0.01, "dense-240k": 0.1}[cell.model]
        return cell.model_copy(update={"latency_s": Latency(p50=p50, p95=2 * p50)})

    view = make_views([make_run(change=timed, meter=COUNTER)])[0]
    picture = latency_against_energy(view)
    assert picture
    assert re.search(r"dense-240k: 100 ms at [\d.]+ mWh", picture.alt)
    assert "takes as long as its batch" in picture.caption
    on = {y for _, y in circles(picture.wide)}
    bars = re.findall(r'<line x1="([\d.]+)" x2="\1" y1="([\d.]+)" y2="([\d.]+)"', picture.wide)
    assert on <= {float(low) for _, low, _ in bars}
    assert all(float(high) < float(low) for _, low, high in bars)
    spans = {round(math.dist((float(low),), (float(high),))) for _, low, high in bars}
    assert max(spans) - min(spans) <= 1, "twice the time is as far everywhere"


def test_names_never_cover_one_another(make_run: Make) -> None:
    models: dict[str, Any] = {f"model-{k}": (0.5 + 0.02 * k, 0.001 * 1.02**k, 9) for k in range(12)}
    view = make_views([make_run(models=models, change=told, meter=COUNTER)])[0]
    picture = latency_against_energy(view)
    assert picture
    for svg, font in ((picture.wide, 13), (picture.narrow, 11.5)):
        boxes = []
        for x, y, look, name in re.findall(r'<text x="([\d.]+)" y="([\d.]+)"([^>]*)>(model-\d+)</text>', svg):
            wide = 0.55 * font * len(name)
            left = float(x) - wide * (1 if '"end"' in look else 0.5 if '"middle"' in look else 0)
            boxes.append(Box(left, float(y) - 0.7 * font, left + wide, float(y)))
        assert len(boxes) >= 6
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_pictures_take_all_colours_from_the_page_and_hostile_names_are_text(make_run: Make) -> None:
    nasty = "<script>alert(1)</script>"
    views = make_views([make_run(models={nasty: (0.7, 0.001, 9), "b": (0.5, 0.002, 9)}, change=told)])
    latency, drawn = latency_against_energy(views[0]), multiples(views[0], views)
    assert latency
    assert drawn
    for svg in (latency.wide, latency.narrow, *(panel for _, panel, _ in drawn.panels)):
        assert "<script" not in svg
        assert not re.search("#[0-9a-f]{3}", svg)
    text = page(views, [make_run("other", tasks=("dates",))])
    assert "<script" not in text
