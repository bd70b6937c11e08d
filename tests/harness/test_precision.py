"""Repeats until energy is known well enough: few looks, planned, and an interval that holds what it says."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.harness.precision import looks, relative_half_width, unsure
from joulemark.harness.record import Cell
from joulemark.harness.store import read_run

from .conftest import Joulemark
from .test_run import lines

SMALL = ("-m", "ref/ngram", "-m", "ref/dense-60k", "-t", "jm_units", "--limit", "8", "--meter", "modelled")


@given(st.integers(1, 30), st.integers(2, 60))
def test_looks_are_few_rise_and_end_with_the_most_repeats(first: int, most: int) -> None:
    found = list(looks(first, most))
    assert found[-1] == most
    assert found == sorted(set(found))
    assert found[0] == min(max(first, 3), most)
    assert len(found) <= 2 + math.log(most / min(found[0], most), 1.4)


def test_the_interval_of_one_look_holds_the_true_energy_in_95_percent() -> None:
    rng, held, draws = Random(5), 0, 4000
    for _ in range(draws):
        joules = [100 * math.exp(rng.gauss(0, 0.04)) for _ in range(5)]
        centre = math.exp(math.fsum(map(math.log, joules)) / 5)
        width = relative_half_width(joules)
        held += centre / (1 + width) <= 100 <= centre * (1 + width)
    # Three standard errors of 4,000 draws.
    assert held / draws == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / draws))


def test_stopping_at_planned_looks_costs_little_of_what_the_interval_promises() -> None:
    """Where one stops at the first narrow interval, it holds less than 95 %; few looks keep that above 90 %."""
    rng, held, draws = Random(6), 0, 2000
    for _ in range(draws):
        joules: list[float] = []
        for upto in looks(3, 20):
            joules += [100 * math.exp(rng.gauss(0, 0.05)) for _ in range(upto - len(joules))]
            if (width := relative_half_width(joules)) <= 0.05:
                break
        centre = math.exp(math.fsum(map(math.log, joules)) / len(joules))
        held += centre / (1 + width) <= 100 <= centre * (1 + width)
    assert held / draws > 0.90


def test_one_repeat_is_never_precise() -> None:
    assert relative_half_width([5.0]) == math.inf


def test_a_run_goes_on_until_the_most_repeats_where_the_precision_is_out_of_reach(
    joulemark: Joulemark, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    done = joulemark("run", *SMALL, "--repeats", "2", "--precision", "0.01%", "--max-repeats", "5", "--out", path)
    assert done.returncode == 0, done.stderr
    cells = read_run(path).cells
    assert {cell.repeat for cell in cells} == {1, 2, 3, 4, 5}
    assert len(lines(path)) == len({cell.cell_id for cell in cells}) == 10
    assert "going on" in done.stderr
    assert "the most allowed" in done.stderr
    assert "less well than the plan asked for" in (path / "report" / "report.md").read_text()


def test_a_run_stops_at_the_first_look_that_is_precise_enough_and_resume_finds_nothing_to_do(
    joulemark: Joulemark, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    done = joulemark("run", *SMALL, "--repeats", "2", "--precision", "99%", "--max-repeats", "20", "--out", path)
    assert done.returncode == 0, done.stderr
    cells: tuple[Cell, ...] = read_run(path).cells
    assert {cell.repeat for cell in cells} == {1, 2, 3}
    assert unsure(cells, 0.99) == {}
    again = joulemark("run", "--resume", path)
    assert again.returncode == 0, again.stderr
    assert len(lines(path)) == len(cells)


def test_repeats_that_agree_by_luck_are_known_no_better_than_the_meter_allows() -> None:
    assert relative_half_width([1.0, 1.001, 1.002], [0.1] * 3) > 0.25
    assert relative_half_width([1.0, 1.001, 1.002]) < 0.01


def test_a_model_without_energy_is_never_called_well_known(joulemark: Joulemark, tmp_path: Path) -> None:
    path = tmp_path / "run"
    done = joulemark("run", *SMALL, "--repeats", "2", "--precision", "99%", "--out", path)
    assert done.returncode == 0, done.stderr
    cells = [
        cell.model_copy(update={"energy": None}) if cell.model == "ref/ngram" else cell for cell in read_run(path).cells
    ]
    assert unsure(cells, 0.99) == {"ref/ngram": math.inf}


def test_more_repeats_than_the_most_are_refused(joulemark: Joulemark, tmp_path: Path) -> None:
    done = joulemark(
        "run", *SMALL, "--repeats", "9", "--precision", "5%", "--max-repeats", "4", "--out", tmp_path / "r"
    )
    assert done.returncode == 2
    assert "repeats (9) is above max_repeats (4)" in done.stderr
