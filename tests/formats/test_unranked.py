"""What other tools measured stands in tables as energy alone, by its own task, and is never ranked."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from theirs import FILES

from joulemark.harness.importing import import_files
from joulemark.reports.commands import rank


@pytest.mark.parametrize("name", FILES)
def test_every_result_is_a_row_with_energy_and_without_rank(name: str, tmp_path: Path) -> None:
    found = import_files(name, FILES[name], tmp_path / "run")
    told = CliRunner().invoke(rank, [str(tmp_path / "run"), "--json"])
    views = [view for view in json.loads(told.output)["views"] if view["task"] != "all"]
    rows = [row for view in views for row in view["rows"]]
    assert len(rows) == len(found.results)
    assert all(row["energy_wh_per_1k"] for row in rows)
    assert not any(row["rank"] or row["quality"] or row["frontier"] or row["correct_per_wh"] for row in rows)


@pytest.mark.parametrize("name", FILES)
def test_what_is_missing_stays_with_the_run(name: str, tmp_path: Path) -> None:
    found = import_files(name, FILES[name], tmp_path / "run")
    kept = json.loads((tmp_path / "run/run.json").read_text())
    assert kept["plan"]["imported"]["missing"] == list(found.missing)
    assert all(meter["rel_u"] is None for meter in kept["meters"])
