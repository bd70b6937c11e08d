"""The bound of a perfect choice among models: what brute force finds, and never a figure that could be ranked."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_runs import COUNTER

from joulemark.harness.store import Run
from joulemark.reports.commands import report
from joulemark.reports.routing import headroom, perfect_router
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
    assert "bound" in found.title
    assert [label for label, _ in found.lines] == [row.label for row in view.rows]
    for _, (energy, points) in found.lines:
        assert 0 < float(energy.split("\u00a0")[0]) <= 100
        assert float(points) >= 0


def test_models_that_were_asked_different_questions_have_no_bound(make_run: Make) -> None:
    run, few = make_run(meter=COUNTER), make_run("few", meter=COUNTER, items=60)
    view = make_views([run])[0]
    assert headroom(view, [run]) is not None
    alone = replace(view, rows=view.rows[:1])
    assert headroom(alone, [run]) is None
    assert headroom(make_views([few])[0], [run]) is None


def test_the_report_shows_it_as_a_bound(make_run: Make, tmp_path: Path) -> None:
    CliRunner().invoke(report, [str(make_run(meter=COUNTER).path), "--out", str(tmp_path / "r")])
    for name in ("report.html", "report.md"):
        assert "a bound, not a measurement" in (tmp_path / "r" / name).read_text()
