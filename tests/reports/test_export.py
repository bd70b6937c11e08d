"""`joulemark export`: who is meant, what is written where, and one clear line for what cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from joulemark.harness.store import Run
from joulemark.meters.errors import Incomparable, UsageError
from joulemark.reports.exportcommand import export
from joulemark.reports.exports.told import all_told, cells_of, named
from joulemark.reports.views import ALL, make_views

FORMATS = ("lm-eval", "csv", "parquet", "openmetrics", "model-card")


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_is_written_to_a_file_and_to_stdout_alike(
    make_run: Callable[..., Run], tmp_path: Path, form: str
) -> None:
    run, out = make_run(), tmp_path / "new folder" / "file"
    who = ["--entrant", "dense-60k"]
    done = CliRunner().invoke(export, [form, str(run.path), "-o", str(out), *who])
    assert done.exit_code == 0, done.exception
    assert str(out) in done.output
    printed = CliRunner().invoke(export, [form, str(run.path), "-o", "-", *who])
    assert printed.stdout_bytes == out.read_bytes()


def test_an_unknown_format_is_one_line_that_names_the_known_ones(make_run: Callable[..., Run]) -> None:
    command = [Path(sys.executable).parent / "joulemark", "export", "xml", make_run().path, "-o", "-"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert all(form in done.stderr for form in FORMATS)


@pytest.mark.parametrize("form", ["lm-eval", "model-card"])
def test_a_format_of_one_entrant_asks_which_where_the_run_has_several(make_run: Callable[..., Run], form: str) -> None:
    done = CliRunner().invoke(export, [form, str(make_run().path), "-o", "-"])
    assert isinstance(done.exception, UsageError)
    assert "--entrant" in str(done.exception)
    assert "'dense-60k'" in str(done.exception)
    alone = make_run("alone", models={"mine": (0.7, 0.001, 1)})
    assert CliRunner().invoke(export, [form, str(alone.path), "-o", "-"]).exit_code == 0


def test_an_entrant_is_named_as_tables_name_it(make_sweep: Callable[..., Run]) -> None:
    run = make_sweep({"batch_size": (1, 8)}, {"mine": (0.7, 0.001, 1)})
    rows = make_views([run], task=ALL)[0].rows
    assert {told.label for told in all_told(run)} == {row.label for row in rows}
    [told] = all_told(run, "mine (batch_size=8)")
    assert {cell.setting["batch_size"] for cell in told.cells} == {8}
    with pytest.raises(UsageError, match="name one"):
        named(run, "mine")
    with pytest.raises(UsageError, match="did you mean"):
        named(run, "mine (batch_size=9)")


def test_every_finished_cell_is_one_entrants(make_sweep: Callable[..., Run]) -> None:
    """With settings and few-shot variants; and one that failed is nobody's."""
    run = make_sweep(
        {"batch_size": (1, 8), "num_fewshot": (0, 3)},
        {"mine": (0.7, 0.001, 1), "other": (0.5, 0.002, 1)},
        change=lambda cell: cell.model_copy(update={"status": "failed"}) if cell.order == 3 else cell,
    )
    own = [cell.cell_id for entrant in named(run, None).values() for cell in cells_of(run, entrant)]
    assert sorted(own) == sorted(cell.cell_id for cell in run.cells if cell.status == "ok")
    assert len(own) == len(run.cells) - 1


def test_a_runs_own_files_are_never_written_over(make_run: Callable[..., Run]) -> None:
    run = make_run()
    before = (run.path / "cells.jsonl").read_bytes()
    done = CliRunner().invoke(export, ["csv", str(run.path), "-o", str(run.path / "cells.jsonl")])
    assert isinstance(done.exception, UsageError)
    assert (run.path / "cells.jsonl").read_bytes() == before


def test_a_run_without_a_finished_cell_has_nothing_to_tell_but_its_failures(make_run: Callable[..., Run]) -> None:
    run = make_run(change=lambda cell: cell.model_copy(update={"status": "failed", "error": "no memory"}))
    table = CliRunner().invoke(export, ["csv", str(run.path), "-o", "-"])
    assert table.exit_code == 0
    assert table.stdout.count("no memory") == len(run.cells)
    for form in ("lm-eval", "openmetrics", "model-card"):
        done = CliRunner().invoke(export, [form, str(run.path), "-o", "-"])
        assert isinstance(done.exception, Incomparable)


def test_texts_that_were_not_kept_are_said_to_be_missing(make_run: Callable[..., Run], tmp_path: Path) -> None:
    asked = ["lm-eval", str(make_run().path), "--entrant", "ngram", "--samples", "-o"]
    done = CliRunner().invoke(export, [*asked, str(tmp_path / "results.json")])
    assert done.exit_code == 0
    assert "no texts" in done.stderr
    first = json.loads((tmp_path / "samples_units.jsonl").read_bytes().partition(b"\n")[0])
    assert (first["arguments"], first["prompt_hash"], first["resps"]) == ({}, None, [])
    assert first["exact_match"] in (0.0, 1.0)
    assert isinstance(CliRunner().invoke(export, [*asked, "-"]).exception, UsageError)


def test_a_folder_is_no_file_to_write(make_run: Callable[..., Run], tmp_path: Path) -> None:
    done = CliRunner().invoke(export, ["csv", str(make_run().path), "-o", str(tmp_path)])
    assert done.exit_code == 2
    assert "is a directory" in done.output


def test_the_formats_are_listed_with_a_line_each_and_named_in_help() -> None:
    lines = CliRunner().invoke(export, ["--list"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(FORMATS)
    assert all(len(line.split()) > 3 for line in lines)
    told = CliRunner().invoke(export, ["--help"]).stdout
    assert all(f"\n  {form} " in told for form in FORMATS)
