"""A run that is told what a kilowatt-hour stands for keeps it, and says each cell's carbon."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemark.harness.plan import make_plan
from joulemark.harness.store import read_run

from .conftest import Joulemark

ONE = ("-m", "ref/ngram", "-t", "jm_comparison", "--limit", "8", "--repeats", "1", "--meter", "modelled")


def test_a_run_keeps_the_intensity_and_each_cell_its_carbon(joulemark: Joulemark, tmp_path: Path) -> None:
    done = joulemark("run", *ONE, "--carbon", "FRA", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    run = read_run(tmp_path / "run")
    assert run.notes == (), "the cells' digests hold"
    carbon = run.header.carbon
    assert carbon is not None
    assert "France (FRA)" in carbon.source
    assert carbon.year
    [cell] = run.cells
    assert cell.energy is not None
    assert cell.energy.gross_j is not None
    assert cell.energy.carbon_g == pytest.approx(cell.energy.gross_j / 3.6e6 * carbon.g_per_kwh)
    assert "CO2e" in done.stdout
    assert str(carbon.year) in done.stdout


def test_without_it_there_is_no_carbon_rather_than_none_at_all(small_run: tuple[Path, object]) -> None:
    run = read_run(small_run[0])
    assert run.header.carbon is None
    assert {cell.energy.carbon_g for cell in run.cells if cell.energy} == {None}


def test_an_unknown_country_is_refused_before_anything_is_measured(joulemark: Joulemark, tmp_path: Path) -> None:
    done = joulemark("run", *ONE, "--carbon", "Frnce", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "did you mean France (FRA)" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_plan_file_may_say_it_as_a_number_or_a_country(tmp_path: Path) -> None:
    for written, read in (("350", 350), ('"350 g/kWh"', "350 g/kWh"), ('"DEU"', "DEU")):
        file = tmp_path / "plan.toml"
        file.write_text(f"[run]\ncarbon = {written}\n")
        assert make_plan(file, {}).carbon == read
