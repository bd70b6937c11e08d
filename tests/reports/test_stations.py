"""A run that several machines measured: each machine's cells are its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_runs import write_run

from joulemark.harness.record import Cell, Idle, Station
from joulemark.harness.store import Run, RunWriter, read_run
from joulemark.leaderboard.submission import pack
from joulemark.meters.errors import UsageError
from joulemark.reports.compare import compare
from joulemark.reports.comparewords import notes
from joulemark.reports.documents import as_markdown
from joulemark.reports.entrants import gather
from joulemark.reports.exports.lmevalblock import block_of
from joulemark.reports.exports.told import all_told
from joulemark.reports.html import page
from joulemark.reports.provenance import describe_run, machines
from joulemark.reports.views import make_views

MODELS = {"one": (0.9, 0.25, 1000), "two": (0.8, 0.5, 1000), "three": (0.7, 1.0, 1000)}
WHERE = {"one": "aaaaaaaaaaaa", "two": "aaaaaaaaaaaa", "three": "bbbbbbbbbbbb"}


def write(path: Path, cpus: dict[str, str], **facts: tuple[Any, ...]) -> Run:
    """A run on two machines with these processors, and of each machine what else is told of it."""

    def moved(cell: Cell) -> Cell:
        return cell.model_copy(update={"machine_id": WHERE[cell.model]})

    run = write_run(path, MODELS, items=60, change=moved)
    known = {name: getattr(run.header, name) for name in Station.model_fields}
    stations = tuple(
        Station(
            **{**known, "machine": run.header.machine.model_copy(update={"machine_id": name, "cpu_model": cpu})}
            | {fact: values[place] for fact, values in facts.items()}
        )
        for place, (name, cpu) in enumerate(cpus.items())
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


def test_what_differs_between_its_machines_is_told_of_each_and_what_is_alike_once(tmp_path: Path) -> None:
    both = {"aaaaaaaaaaaa": "Left CPU", "bbbbbbbbbbbb": "Right CPU"}
    idle = tuple(Idle(before_w=watts, after_w=watts, duration_s=5.0) for watts in (3.0, 70.0))
    versions = ({"python": "3.12.1"}, {"python": "3.11.0"})
    facts = dict(describe_run(write(tmp_path / "unlike", both, idle=idle, software=versions), None)["facts"])
    assert facts["Software, aaaaaaaaaaaa"] == "python 3.12.1"
    assert facts["Software, bbbbbbbbbbbb"] == "python 3.11.0"
    assert "3.00 W" in facts["Idle power, aaaaaaaaaaaa"] or "power model" in facts["Idle power, aaaaaaaaaaaa"]
    assert "70.0 W" in facts["Idle power, bbbbbbbbbbbb"]
    assert facts["Cells, bbbbbbbbbbbb"] == "18 finished"
    run = write(tmp_path / "alike", both)
    facts = dict(describe_run(run, None)["facts"])
    assert facts["Meters"] == "modelled:cpu (modelled)"
    assert set(facts) >= {"Idle power", "Software"}
    assert "Cells, aaaaaaaaaaaa" in page(make_views([run]), [run])


def test_an_export_of_one_entrant_tells_the_machine_that_measured_it(tmp_path: Path) -> None:
    versions = ({"python": "3.12.1"}, {"python": "3.11.0"})
    run = write(tmp_path / "run", {"aaaaaaaaaaaa": "Left CPU", "bbbbbbbbbbbb": "Right CPU"}, software=versions)
    told = {told.label: block_of(told)["stations"] for told in all_told(run)}
    assert [station["software"] for station in told["one"]] == [{"python": "3.12.1"}]
    assert [station["software"] for station in told["three"]] == [{"python": "3.11.0"}]


def test_entrants_on_two_machines_of_one_run_were_not_measured_together(tmp_path: Path) -> None:
    run = write(tmp_path / "run", {"aaaaaaaaaaaa": "One CPU", "bbbbbbbbbbbb": "One CPU"})
    by_name = {entrant.model: entrant for entrant in gather([run])}
    here, apart = compare(by_name["one"], by_name["two"]), compare(by_name["one"], by_name["three"])
    assert (here.one_sitting, apart.one_sitting) == (True, False)
    assert (here.whole.paired, apart.whole.paired) == (True, False)
    assert any("on two machines of one run" in note for note in notes(apart, "one", "three"))
    [view] = [view for view in make_views([run]) if view.task == "all"]
    assert any("2 machines of this kind (aaaaaaaaaaaa and bbbbbbbbbbbb)" in note for note in view.notes)


def test_it_cannot_be_packed_for_a_leaderboard_and_says_why(tmp_path: Path) -> None:
    run = write(tmp_path / "run", {"aaaaaaaaaaaa": "Left CPU", "bbbbbbbbbbbb": "Right CPU"})
    with pytest.raises(UsageError, match="was measured on 2 machines, and a submission is one machine's"):
        pack(run)
