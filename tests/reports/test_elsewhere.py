"""What other tools measured, beside a run of ours: where it comes from, what nobody tells, and no made-up figure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from joulemark.harness.importing import import_files
from joulemark.harness.store import Run, read_run
from joulemark.reports.commands import rank
from joulemark.reports.documents import as_csv, as_markdown
from joulemark.reports.exports.lmeval import as_lmeval
from joulemark.reports.exports.openmetrics import as_openmetrics
from joulemark.reports.exports.table import as_csv as cells_as_csv
from joulemark.reports.exports.table import as_parquet
from joulemark.reports.html import page
from joulemark.reports.method import method
from joulemark.reports.provenance import machines
from joulemark.reports.views import View, make_views

Make = Callable[..., Run]
DATA = Path(__file__).parents[1] / "formats" / "data"
FILES = {
    "ml-energy": [DATA / "mlenergy/lm-arena-chat.json", DATA / "mlenergy/pictures.json"],
    "optimum-benchmark": [DATA / "optimum/benchmark.json", *sorted((DATA / "optimum-star").iterdir())],
}
OF_WINDOWS = "inside request windows only"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Run:
    """Four results of ML.ENERGY: three mean answers, and six pictures."""
    import_files("ml-energy", FILES["ml-energy"], tmp_path / "theirs")
    return read_run(tmp_path / "theirs")


def paragraphs(views: list[View]) -> str:
    return " ".join(paragraph for section in method(views) for paragraph in section.paragraphs)


def test_how_energy_is_counted_is_said_of_runs_of_ours_alone(make_run: Make, elsewhere: Run) -> None:
    own = make_run("ours")
    assert f"Energy is counted {OF_WINDOWS}" in paragraphs(make_views([own]))
    assert f"In what Joulemark measured (ours), energy is counted {OF_WINDOWS}" in paragraphs(
        make_views([own, elsewhere])
    )
    assert OF_WINDOWS not in paragraphs(make_views([elsewhere]))


def test_of_each_run_from_elsewhere_the_method_tells_the_files_the_joules_and_all_that_is_not_known(
    make_run: Make, elsewhere: Run
) -> None:
    [section] = [each for each in method(make_views([make_run(), elsewhere])) if each.lists]
    [(lead, points)] = section.lists
    assert lead.startswith("theirs was imported from files of ml-energy, and not measured by Joulemark.")
    assert "Energy: counter, gpu and polled, gpu; its error is not known." in lead
    assert list(points) == elsewhere.header.plan["imported"]["missing"]


def test_runs_whose_folders_have_one_name_keep_their_own_origin_and_gaps(make_run: Make, tmp_path: Path) -> None:
    runs = [make_run("mine/R")]
    for name, files in FILES.items():
        import_files(name, files, tmp_path / name / "R")
        runs.append(read_run(tmp_path / name / "R"))
    ours, *theirs = [run.header.run_id for run in runs]
    views = make_views(runs)
    [section] = [each for each in method(views) if each.lists]
    told = {lead.partition(" was imported")[0]: list(points) for lead, points in section.lists}
    assert told == {f"R [{run.header.run_id}]": run.header.plan["imported"]["missing"] for run in runs[1:]}
    assert f"In what Joulemark measured (R [{ours}]), energy" in paragraphs(views)
    text = as_markdown(views, runs).replace("&#91;", "[").replace("&#93;", "]")
    for name, own in zip(FILES, theirs, strict=True):
        assert f"- R [{own}] was imported from files of {name}, and not measured by Joulemark." in text
    assert set().union(*(view.not_told for view in views)) == set(told)


def test_each_table_of_a_report_tells_grade_and_scope_of_its_energy_and_that_its_error_is_unknown(
    make_run: Make, elsewhere: Run
) -> None:
    runs = [make_run(), elsewhere]
    views = make_views(runs)
    for text in (as_markdown(views, runs), page(views, runs)):
        assert "read from hardware counters (ml-energy:gpu), of scope gpu; how far off it may be is not known" in text
        assert "graded polled, since the files do not say how it was counted" in text
        assert text.count("Which machine of its kind measured is not told") == 1, "a list, once"
    assert "No entrant has both quality and energy" not in page(views, runs), "no empty picture"


def test_a_table_on_a_terminal_lists_what_is_not_known_line_by_line(elsewhere: Run) -> None:
    told = CliRunner().invoke(rank, [str(elsewhere.path)], terminal_width=80).stdout
    assert max(map(len, told.splitlines())) <= 80
    points = [line for line in told.splitlines() if line.startswith("    - ")]
    assert len(points) == len(elsewhere.header.plan["imported"]["missing"])
    as_json = json.loads(CliRunner().invoke(rank, [str(elsewhere.path), "--json"]).stdout)
    assert as_json["views"][0]["not_told"]["theirs"] == elsewhere.header.plan["imported"]["missing"]


def test_what_one_model_of_imported_files_was_not_asked_it_does_not_lack(tmp_path: Path) -> None:
    """Files from elsewhere planned nothing: each model has its energy, over all tasks too, and no rank."""
    import_files("optimum-benchmark", FILES["optimum-benchmark"], tmp_path / "run")
    rows = [row for view in make_views([read_run(tmp_path / "run")]) for row in view.rows]
    assert all(row.energy_wh_per_1k for row in rows)
    assert not any(row.rank or row.quality or flag.startswith("no_finished") for row in rows for flag in row.flags)


def test_how_many_questions_a_mean_is_of_is_missing_everywhere_and_never_1(elsewhere: Run) -> None:
    views = make_views([elsewhere])
    counts = {row.model: row.items for view in views for row in view.rows}
    assert counts == {"made/dense-8b": None, "made/moe-30b": None, "made/pictures": 6}
    table = {line["model"]: line["items"] for line in csv.DictReader(io.StringIO(as_csv(views)))}
    assert table == {"made/dense-8b": "", "made/moe-30b": "", "made/pictures": "6"}
    cells = {line["model"]: (line["n_items"], line["loops"]) for line in rows_of(cells_as_csv(elsewhere))}
    assert cells == {"made/dense-8b": ("", ""), "made/moe-30b": ("", ""), "made/pictures": ("6", "1")}
    parquet = pq.read_table(io.BytesIO(as_parquet(elsewhere))).to_pylist()
    assert {row["model"]: row["n_items"] for row in parquet} == counts
    gauges = [line for line in as_openmetrics(elsewhere).decode().splitlines() if "joulemark_questions{" in line]
    assert gauges
    assert all('model="made/pictures"' in line for line in gauges)
    asked = json.loads(as_lmeval(elsewhere, "made/moe-30b"))["n-samples"]["ml-energy/lm-arena-chat"]
    assert asked["effective"] is None


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_the_time_of_an_import_is_not_exported_as_that_of_the_measurement(make_run: Make, elsewhere: Run) -> None:
    assert elsewhere.header.created_at is None
    assert "run_created" not in as_openmetrics(elsewhere).decode()
    assert "run_created" in as_openmetrics(make_run()).decode()


def test_gpus_of_one_kind_are_counted_and_what_is_not_told_of_a_machine_is_said_once(elsewhere: Run) -> None:
    assert {view.hardware for view in make_views([elsewhere])} == {"2 x B200", "H100", "unknown GPU"}
    facts = [dict(told) for _, told in machines([elsewhere])]
    assert {each["Accelerators"] for each in facts} == {"2 x B200", "H100", "unknown GPU"}
    for each in facts:
        assert each["Not told"] == "processor, memory, system, virtual, frequency governor and GPU driver"
        assert "Processor" not in each
