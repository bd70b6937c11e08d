"""A row a cell, as CSV and as Parquet: every figure as it was measured, missing ones empty."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from joulemark.harness.record import Cell
from joulemark.harness.store import Run
from joulemark.reports.exports.table import as_csv, as_parquet
from joulemark.reports.views import make_views


def lines(run: Run, entrant: str | None = None) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(run, entrant).decode())))


def without_energy(cell: Cell) -> Cell:
    return cell.model_copy(update={"energy": None}) if cell.repeat == 1 else cell


def test_every_cell_has_a_row_with_its_figures_under_names_that_tell_their_units(make_run: Callable[..., Run]) -> None:
    run = make_run()
    rows = {row["cell_id"]: row for row in lines(run)}
    assert len(rows) == len(run.cells)
    for cell in run.cells:
        row, energy = rows[cell.cell_id], cell.energy
        assert energy is not None
        assert float(row["gross_j"]) == energy.gross_j
        assert float(row["quality"]) == cell.quality
        assert (row["entrant"], row["grade"], int(row["loops"])) == (cell.model, energy.grade, energy.loops)
        assert int(row["prompt_tokens"]) == cell.tokens.prompt
        assert int(row["setting_batch_size"]) == cell.setting["batch_size"]
        assert float(row["energy_wh_per_1k"]) == pytest.approx(energy.gross_j / 3.6 / (cell.n_items * energy.loops))


def test_energy_of_cells_is_that_of_the_table(make_run: Callable[..., Run]) -> None:
    run = make_run(repeats=1)
    rows = {(row.model, view.task): row for view in make_views([run]) for row in view.rows}
    for line in lines(run):
        assert float(line["energy_wh_per_1k"]) == pytest.approx(rows[line["model"], line["task"]].energy_wh_per_1k)


def test_what_is_missing_is_empty_and_null_and_never_0(make_run: Callable[..., Run]) -> None:
    run = make_run(change=without_energy)
    told = pq.read_table(io.BytesIO(as_parquet(run))).to_pylist()
    for line, row in zip(lines(run), told, strict=True):
        lacks = row["repeat"] == 1
        for name in ("gross_j", "u_j", "grade", "energy_wh_per_1k", "loops"):
            assert (line[name] == "") == (row[name] is None) == lacks
        assert line["load_j"] == ""
        assert row["load_j"] is None


def test_parquet_holds_the_same_with_types_and_the_runs_header(make_run: Callable[..., Run]) -> None:
    run = make_run()
    table = pq.read_table(io.BytesIO(as_parquet(run, "dense-60k")))
    assert set(table["entrant"].to_pylist()) == {"dense-60k"}
    kinds = {name: str(table.schema.field(name).type) for name in ("gross_j", "n_items", "task", "setting_threads")}
    assert kinds == {"gross_j": "double", "n_items": "int64", "task": "string", "setting_threads": "int64"}
    assert json.loads(table.schema.metadata[b"joulemark.run"])["run_id"] == run.header.run_id
    same = lines(run, "dense-60k")
    assert [line["gross_j"] for line in same] == [repr(value) for value in table["gross_j"].to_pylist()]
    assert list(same[0]) == table.column_names


def test_no_text_is_run_as_a_formula_and_settings_of_any_kind_fit(make_run: Callable[..., Run]) -> None:
    odd = {"limit": 2**70, "dtype": "+1", "chat": {"a": [1]}, "threads": True}

    def change(cell: Cell) -> Cell:
        setting = cell.setting | (odd if cell.repeat == 1 else {"dtype": 4})
        return cell.model_copy(update={"model": "=cmd()|x", "setting": setting})

    run = make_run(models={"mine": (0.7, 0.001, 1)}, change=change)
    assert {line["model"] for line in lines(run)} == {"'=cmd()|x"}
    assert {line["setting_dtype"] for line in lines(run)} == {"'+1", "4"}
    table = pq.read_table(io.BytesIO(as_parquet(run)))
    assert set(table["setting_limit"].to_pylist()) == {str(2**70), None}
    assert set(table["setting_chat"].to_pylist()) == {'{"a":[1]}', None}


def test_the_same_run_gives_the_same_bytes(make_run: Callable[..., Run]) -> None:
    run = make_run()
    assert as_parquet(run) == as_parquet(run)
    assert as_csv(run) == as_csv(run)
