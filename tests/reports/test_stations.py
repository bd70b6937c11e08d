"""A run that several machines measured: each machine's cells are its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import write_run

from joulemark.harness.record import Cell, Station
from joulemark.harness.store import Run, RunWriter, read_run
from joulemark.leaderboard.submission import pack
from joulemark.meters.errors import UsageError
from joulemark.reports.documents import as_markdown
from joulemark.reports.provenance import machines
from joulemark.reports.views import make_views

MODELS = {"one": (0.9, 0.25, 1000), "two": (0.8, 0.5, 1000), "three": (0.7, 1.0, 1000)}
WHERE = {"one": "aaaaaaaaaaaa", "two": "aaaaaaaaaaaa", "three": "bbbbbbbbbbbb"}


def write(path: Path, cpus: dict[str, str]) -> Run:
    """A run on two machines with these processors."""

    def moved(cell: Cell) -> Cell:
        return cell.model_copy(update={"machine_id": WHERE[cell.model]})

    run = write_run(path, MODELS, items=60, change=moved)
    known = {name: getattr(run.header, name) for name in Station.model_fields}
    stations = tuple(
        Station(**{**known, "machine": run.header.machine.model_copy(update={"machine_id": name, "cpu_model": cpu})})
        for name, cpu in cpus.items()
    )
    with RunWriter(path) as writer:
        writer.write_header(run.header.model_copy(update={"machine": stations[0].machine, "stations": stations}))
    return read_run(path)


def test_unlike_machines_of_one_run_have_views_of_their_own(tmp_path: Path) -> None:
    run = write(tmp_path / "run", {"aaaaaaaaaaaa": "Left CPU", "bbbbbbbbbbbb": "Right CPU"})
    whole = [view for view in make_views([run]) if view.task == "all"]
    assert {view.hardware.partition(",")[0]: {row.model for row in view.rows} for view in whole} == {
        "Left CPU": {"one", "two"},
        "Right CPU": {"three"},
    }
    assert [name for name, _ in machines([run])] == ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]
    assert "Right CPU" in as_markdown(make_views([run]), [run])


def test_between_machines_of_one_kind_the_meters_own_error_counts_and_within_one_it_does_not(tmp_path: Path) -> None:
    run = write(tmp_path / "run", {"aaaaaaaaaaaa": "One CPU", "bbbbbbbbbbbb": "One CPU"})
    [view] = [view for view in make_views([run]) if view.task == "all"]
    rows = {row.model: row for row in view.rows}
    assert {model: row.machine_id for model, row in rows.items()} == WHERE
    first = view.rows[0].model
    widths = {
        model: row.energy_ratio_to_first_high / row.energy_ratio_to_first_low
        for model, row in rows.items()
        if model != first and row.energy_ratio_to_first_high and row.energy_ratio_to_first_low
    }
    alone, *others = sorted(widths, key=lambda model: WHERE[model] != WHERE[first])
    assert others
    assert widths[others[0]] > 2 * widths[alone]


def test_it_cannot_be_packed_for_a_leaderboard_and_says_why(tmp_path: Path) -> None:
    run = write(tmp_path / "run", {"aaaaaaaaaaaa": "Left CPU", "bbbbbbbbbbbb": "Right CPU"})
    with pytest.raises(UsageError, match="was measured on 2 machines, and a submission is one machine's"):
        pack(run)
