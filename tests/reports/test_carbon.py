"""Carbon beside energy: only where a run was told what a kilowatt-hour stands for, and never as if it were measured."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence

import pytest
from click.testing import CliRunner

from joulemark.harness.store import Run, read_run
from joulemark.meters.errors import UsageError
from joulemark.reports.commands import rank
from joulemark.reports.documents import as_json
from joulemark.reports.provenance import again
from joulemark.reports.table import print_views
from joulemark.reports.views import View, make_views

Make = Callable[..., Run]
FRANCE = {"g_per_kwh": 56.0, "source": "France (FRA), codecarbon 3.3.2's table of countries", "year": 2023}


def told(run: Run, carbon: dict[str, object]) -> Run:
    """The run as it is stored where it was told."""
    file = run.path / "run.json"
    header = json.loads(file.read_text(encoding="utf-8"))
    header["plan"]["carbon"] = "FRA"
    file.write_text(json.dumps(header | {"carbon": carbon}), encoding="utf-8")
    return read_run(run.path)


def printed(views: Sequence[View], *, carbon: bool, width: int = 160) -> str:
    out = io.StringIO()
    print_views(views, out, width, carbon=carbon)
    return " ".join(out.getvalue().split())


@pytest.mark.parametrize("figure", ["FRA", "56"])
def test_where_a_table_is_asked_for_with_a_figure_of_carbon_it_says_which_command_takes_one(
    make_run: Make, figure: str
) -> None:
    result = CliRunner().invoke(rank, [str(make_run().path), "--carbon", figure])
    assert isinstance(result.exception, UsageError)
    assert f"--carbon {figure}: here --carbon takes no value" in str(result.exception)
    assert "joulemark report RUN --out DIR --carbon" in str(result.exception)


def test_carbon_is_the_energy_times_what_the_run_was_told(make_run: Make) -> None:
    [view, *_] = make_views([told(make_run(), FRANCE)])
    for row in view.rows:
        assert row.energy_wh_per_1k is not None
        assert row.carbon_g_per_1k == pytest.approx(row.energy_wh_per_1k / 1000 * 56)
    assert as_json([view])["views"][0]["carbon"] == [FRANCE]


def test_runs_that_were_told_nothing_have_no_carbon_rather_than_none_at_all(make_run: Make) -> None:
    views = make_views([make_run()])
    assert {row.carbon_g_per_1k for row in views[0].rows} == {None}
    assert "joulemark run --carbon" in printed(views[:1], carbon=True)


def test_the_table_shows_it_when_asked_with_its_source_and_year(make_run: Make) -> None:
    views = make_views([told(make_run(), FRANCE)])[:1]
    text = printed(views, carbon=True)
    assert "CO2e per" in text
    assert "56.0 g/kWh (France (FRA), codecarbon 3.3.2's table of countries, mean of 2023)" in text
    assert "stated, not measured" in text
    assert "CO2" not in printed(views, carbon=False)


def test_the_table_with_carbon_still_fits_80_columns(make_run: Make) -> None:
    out = io.StringIO()
    print_views(make_views([told(make_run(), FRANCE)])[:1], out, 80, carbon=True)
    assert max(map(len, out.getvalue().splitlines())) <= 80


def test_the_command_that_measures_again_says_it_too(make_run: Make) -> None:
    assert "--carbon FRA" in again([told(make_run(), FRANCE)])[0]


def test_two_figures_of_carbon_in_one_table_say_whose_each_is(make_run: Make) -> None:
    few = {"dense-60k": (0.62, 0.0011, 59_392)}
    coal = {"g_per_kwh": 800.0, "source": "given", "year": None}
    views = make_views(
        [told(make_run("nuclear", models=few), FRANCE), told(make_run("coal", models=few, seed=2), coal)]
    )
    text = printed(views[:1], carbon=True)
    assert "mean of 2023) for dense-60k (nuclear)" in text
    assert "800 g/kWh (given) for dense-60k (coal)" in text
