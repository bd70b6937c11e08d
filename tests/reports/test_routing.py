"""The bound of a perfect choice among models: what brute force finds, and never a figure that could be ranked."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_runs import COUNTER, write_run

from joulemark.harness.record import Cell, Computed
from joulemark.harness.store import Run, read_run
from joulemark.reports.commands import report
from joulemark.reports.routing import MOST, headroom, perfect_router
from joulemark.reports.routingwords import routing_text
from joulemark.reports.views import make_views

Make = Callable[..., Run]
SCORES = arrays(float, (4, 3), elements=st.sampled_from([0.0, 0.5, 1.0]))
ENERGIES = st.lists(st.floats(0.1, 10), min_size=3, max_size=3).map(np.array)


def every_choice(scores: np.ndarray, wh: np.ndarray) -> list[tuple[float, float]]:
    """Energy and quality of each way to give the questions to the models."""
    ways = itertools.product(range(scores.shape[1]), repeat=len(scores))
    return [
        (float(np.mean([wh[m] for m in way])), 100 * float(np.mean([scores[i, m] for i, m in enumerate(way)])))
        for way in ways
    ]


@settings(max_examples=60)
@given(scores=SCORES, wh=ENERGIES)
def test_no_choice_is_above_the_bound_and_the_bound_is_made_of_choices(scores: np.ndarray, wh: np.ndarray) -> None:
    bound, choices = perfect_router([scores], [wh], [0.0]), every_choice(scores, wh)
    for energy, quality in choices:
        most = bound.quality_at(energy)
        assert most is not None
        assert quality <= most + 1e-9
    for corner in zip(bound.energy_wh, bound.quality, strict=True):
        assert any(corner == pytest.approx(choice) for choice in choices)
    assert (np.diff(bound.quality) > 0).all()
    assert (np.diff(bound.energy_wh) > 0).all()


def test_over_tasks_it_is_the_mean_of_the_tasks_and_chance_is_taken_off() -> None:
    right, wrong = np.ones((2, 1)), np.zeros((2, 1))
    bound = perfect_router([right, wrong], [np.array([2.0]), np.array([4.0])], [0.5, 0.0])
    assert (bound.energy_wh.tolist(), bound.quality.tolist()) == ([3.0], [50.0])


def test_each_entrant_is_at_the_bound_or_below_it(make_run: Make) -> None:
    run = make_run(meter=COUNTER)
    view = make_views([run])[0]
    found = headroom(view, [run])
    assert found is not None
    assert [line.row for line in found.lines] == list(view.rows)
    for line in found.lines:
        assert line.router_wh is not None
        assert line.router_points is not None
        assert 0 < line.router_wh <= line.frontier_wh * (1 + 1e-9)
        assert line.frontier_wh <= line.row.energy_wh_per_1k
        assert line.router_points >= -1e-9
        assert (line.frontier_wh == line.row.energy_wh_per_1k) == (line.row.frontier != "dominated")


def test_models_that_were_asked_different_questions_have_no_bound(make_run: Make) -> None:
    run = make_run(meter=COUNTER)
    view = make_views([run])[0]
    assert headroom(view, [run]) is not None
    assert headroom(replace(view, rows=view.rows[:1], figures=view.figures[:1]), [run]) is None
    first, *others = view.figures
    few = [replace(s, asked=s.asked.only(s.docs[:60]), scores=s.scores[:60]) for s in first.samples]
    assert headroom(replace(view, figures=(replace(first, samples=tuple(few)), *others)), [run]) is None


def knowing(model: str, knows: float = 1.0) -> Callable[[Cell, pd.DataFrame], pd.DataFrame]:
    """Adds how sure a model was: mostly more where it was right; others tell nothing."""

    def told(cell: Cell, items: pd.DataFrame) -> pd.DataFrame:
        noise = np.random.default_rng(len(cell.task)).random(len(items))
        sure = (knows * items["score"] + noise) / (knows + 1)
        return items.assign(confidence=sure if cell.model == model else np.nan)

    return told


@pytest.fixture
def sure_run(tmp_path: Path) -> Callable[..., Run]:
    """A run of four models of which one tells how sure it was; keywords as `write_run`'s."""

    def make(model: str = "dense-60k", knows: float = 1.0, **more: Any) -> Run:
        few: dict[str, Any] = {"meter": COUNTER, "tasks": ("dates", "units"), "items": 120, "compact": False}
        run = write_run(tmp_path / "sure", **(few | more))
        for cell in run.cells:
            file = run.path / "items" / f"{cell.cell_id}.parquet"
            knowing(model, knows)(cell, pd.read_parquet(file)).to_parquet(file, index=False)
        return read_run(run.path)

    return make


def test_a_small_model_that_knows_when_it_is_wrong_makes_a_cascade_that_needs_less(
    sure_run: Callable[..., Run],
) -> None:
    run = sure_run()
    found = headroom(make_views([run])[0], [run])
    assert found is not None
    assert [row.model for row in found.sure] == ["dense-60k"]
    [large] = [line for line in found.lines if line.row.model == "dense-800k"]
    assert large.cheapest is not None
    assert large.fixed is not None
    assert large.fixed.small.model == "dense-60k"
    assert large.fixed.large.model in ("dense-240k", "dense-800k")
    assert large.router_wh < large.cheapest.energy_wh < 0.7 * large.row.energy_wh_per_1k
    assert abs(large.cheapest.quality) < 5
    assert large.best.quality > 0
    # No cascade is above the bound: what is told of both halves together is one way to give the questions to models.
    for wh, points in found.curve:
        most = found.bound.quality_at(wh)
        assert most is not None
        assert points <= most + 1e-9


def test_no_cascade_is_told_where_a_measured_model_does_as_well(sure_run: Callable[..., Run]) -> None:
    run = sure_run(knows=0.3)
    found = headroom(make_views([run])[0], [run])
    assert found is not None
    places = [(line.row.energy_wh_per_1k or 0.0, line.row.quality or 0.0) for line in found.lines if line.row.frontier]
    told = [(line.row.quality, line.cheapest) for line in found.lines if line.cheapest]
    for own, cascade in told:
        reached = min(own, own + cascade.quality)
        assert not [wh for wh, points in places if points >= reached and wh <= cascade.energy_wh]
    for line in found.lines:
        if line.best:
            most = max(line.best.energy_wh, line.row.energy_wh_per_1k)
            assert not [p for wh, p in places if wh <= most and p >= line.row.quality + line.best.quality]
        assert (line.cheapest is None) == (line.fixed is None)
    assert any(line.cheapest is None for line in found.lines), "the cheapest model has no cascade that needs less"


def test_a_guesser_is_on_no_frontier_as_in_the_main_picture_and_that_is_said(make_run: Make) -> None:
    models = {"guesser": (0.0, 0.0004, 9), "small": (0.6, 0.001, 9), "large": (0.8, 0.004, 9)}
    run = make_run(models=models, meter=COUNTER)
    found = headroom(make_views([run])[0], [run])
    assert found is not None
    by_name = {line.row.model: line for line in found.lines}
    assert by_name["guesser"].row.frontier is None
    assert by_name["guesser"].frontier_wh is None
    assert by_name["small"].frontier_wh == by_name["small"].row.energy_wh_per_1k
    text = routing_text(found)
    assert dict(text.table.lines)["guesser"][0] == "not judged"
    assert any(column.startswith("guesser is not judged") for column in text.columns)
    [line] = re.findall(r'<path d="M([\d. L]+)" fill="none" stroke="var\(--front\)"', text.svg)
    [grey] = re.findall(r'<circle cx="([\d.]+)"[^>]*stroke="var\(--none\)"', text.svg)
    assert float(line.split()[0]) > float(grey), "the frontier begins at the first judged model"


def test_an_older_run_without_confidence_has_the_bound_alone_and_says_why(make_run: Make) -> None:
    run = make_run(meter=COUNTER)
    found = headroom(make_views([run])[0], [run])
    assert found is not None
    assert (found.sure, found.curve) == ((), ())
    text = routing_text(found)
    assert not any("Cascade" in head for head in text.table.heads)
    assert any("No cascade by confidence could be tried" in column for column in text.columns)


def test_one_repeat_without_confidence_is_enough_to_be_asked_first_by_nobody(sure_run: Callable[..., Run]) -> None:
    run = sure_run()
    file = next((run.path / "items").glob("dense-60k.dates.1.parquet"))
    pd.read_parquet(file).drop(columns="confidence").to_parquet(file, index=False)
    found = headroom(make_views([read_run(run.path)])[0], [run])
    assert found is not None
    assert found.sure == ()


def test_a_model_that_passes_questions_on_itself_is_never_asked_first(sure_run: Callable[..., Run]) -> None:
    def passes_on(cell: Cell) -> Cell:
        own = cell.model == "dense-60k"
        return cell.model_copy(update={"computed": Computed(escalated=0.2)}) if own else cell

    run = sure_run(change=passes_on)
    found = headroom(make_views([run])[0], [run])
    assert found is not None
    assert "dense-60k" in [row.model for row in found.tried]
    assert found.sure == ()


def test_a_single_question_cannot_be_halved(sure_run: Callable[..., Run]) -> None:
    run = sure_run(items=1, models={"dense-60k": (1.0, 0.001, 1), "dense-800k": (1.0, 0.006, 1)})
    found = headroom(make_views([run])[0], [run])
    assert found is not None
    assert (found.sure, found.curve) == ((), ())


def test_cascades_are_made_of_few_models_and_that_is_told(sure_run: Callable[..., Run]) -> None:
    models = {f"m{at:02d}": (0.3 + 0.02 * at, 0.001 * 1.2**at, 1000) for at in range(MOST + 3)}
    run = sure_run("m01", models=models, repeats=2)
    found = headroom(make_views([run])[0], [run])
    assert found is not None
    assert len(found.tried) == MOST < len(found.lines)
    left = {line.row.model for line in found.lines} - {row.model for row in found.tried}
    assert {line.row.frontier for line in found.lines if line.row.model in left} <= {"dominated", "unclear"}
    assert any(f"{MOST} of the {MOST + 3} models" in column for column in routing_text(found).columns)


def test_the_report_shows_it_as_a_bound_and_an_estimate_in_all_its_files_the_same_each_time(
    sure_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = sure_run()
    for folder in ("r", "again"):
        assert CliRunner().invoke(report, [str(run.path), "--out", str(tmp_path / folder)]).exit_code == 0
    for name in ("report.html", "report.md"):
        text = (tmp_path / "r" / name).read_text()
        assert "a bound and an estimate, not a measurement" in text
        assert "where dense-60k is less sure than" in text
        assert text == (tmp_path / "again" / name).read_text()
    routing = json.loads((tmp_path / "r" / "results.json").read_text())["routing"]
    assert [who["model"] for who in routing["asked_first"]] == ["dense-60k"]
    told = {own["model"]: own for own in routing["entrants"]}["dense-800k"]
    assert told["cascade_for_quality"]["chosen"]["small"]["model"] == "dense-60k"
    assert told["router_energy_wh_per_1k"] < told["cascade_for_quality"]["energy_wh_per_1k"]


def test_models_of_several_runs_are_told_as_such(make_run: Make) -> None:
    runs = [make_run(f"run-{at}", meter=COUNTER, seed=at) for at in (1, 2)]
    both, one = headroom(make_views(runs)[0], runs), headroom(make_views(runs[:1])[0], runs[:1])
    assert both is not None
    assert one is not None
    assert any("come from 2 runs" in column for column in routing_text(both).columns)
    assert not any("runs" in column for column in routing_text(one).columns)
