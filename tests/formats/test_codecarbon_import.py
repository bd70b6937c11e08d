"""codecarbon's emissions.csv becomes energy of whole processes: shown, without quality, rank or any error."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lmfiles import write_emissions
from mangled import mangled

from joulemark.harness.cli import main
from joulemark.harness.formats.codecarbon import read
from joulemark.harness.importing import import_files
from joulemark.harness.store import read_run
from joulemark.meters.errors import UsageError
from joulemark.reports.findings import finding, grade_sentence
from joulemark.reports.views import make_views

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Type a command; its exit code, and what it prints to both."""

    def invoke(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["joulemark", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return invoke


def test_a_row_is_energy_of_a_process_with_what_it_says_of_itself(tmp_path: Path) -> None:
    [result] = read([write_emissions(tmp_path)]).results
    assert (result.model, result.task, result.n_items) == ("evening", "codecarbon/process", 0)
    assert result.energy is not None
    assert result.energy.domains == {"codecarbon:cpu": pytest.approx(720), "codecarbon:ram": pytest.approx(360)}
    assert (result.energy.gross_j, result.energy.window_s) == (pytest.approx(1080), 21.5)
    assert (result.energy.grade, result.energy.scope) == ("modelled", "package+dram")
    assert result.energy.u_j is result.energy.rel_u_scale is result.energy.net_j is None


def test_a_real_file_of_its_own_tracker_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(
        country_iso_code="FRA", output_dir=str(tmp_path), project_name="real", log_level="critical",
        allow_multiple_runs=True, force_cpu_power=100, pue=1.5,
    )  # fmt: skip
    tracker.start()
    sum(range(3_000_000))
    tracker.stop()
    told = tracker.final_emissions_data
    found = read([tmp_path / "emissions.csv"])
    [result] = found.results
    assert result.model == "real"
    assert result.energy is not None
    assert result.energy.gross_j == pytest.approx(told.energy_consumed / 1.5 * 3.6e6)
    assert any("factor of 1.5 (PUE)" in sentence for sentence in found.missing)


def test_its_energy_is_shown_and_nobody_is_ranked(tmp_path: Path) -> None:
    import_files("codecarbon", [write_emissions(tmp_path)], tmp_path / "run")
    [view, _] = make_views([read_run(tmp_path / "run")])
    [row] = view.rows
    assert row.other_metrics == {"energy_wh": pytest.approx(0.3)}
    assert row.energy_wh_per_1k is row.quality is row.rank is None
    assert finding(view) == "Nothing is ranked: no answers were graded, so there is no quality."
    assert "of how many answers is not known" in grade_sentence(view)


def test_of_one_run_only_the_last_row_counts_since_it_holds_the_others(tmp_path: Path) -> None:
    early = {"duration": "1.0", "cpu_energy": "1e-5", "ram_energy": "1e-5", "energy_consumed": "2e-5"}
    found = read([write_emissions(tmp_path, early, {}, {"run_id": "second"})])
    assert [result.energy.gross_j for result in found.results if result.energy] == [pytest.approx(1080)] * 2
    assert any("only the longest row counts" in sentence for sentence in found.missing)


def test_the_gpus_energy_is_of_the_scope_gpu(tmp_path: Path) -> None:
    gpu = {"gpu_energy": "1e-4", "energy_consumed": "4e-4", "gpu_count": "2", "gpu_model": "2 x NVIDIA L4"}
    found = read([write_emissions(tmp_path, gpu)])
    assert [result.energy.scope for result in found.results if result.energy] == ["package+dram+gpu"]
    assert [gpu.name for gpu in found.stations[0].machine.accelerators] == ["NVIDIA L4", "NVIDIA L4"]


def test_runs_of_several_machines_stay_apart(tmp_path: Path) -> None:
    rows = ({}, {"run_id": "b", "cpu_model": "Another CPU"})
    import_files("codecarbon", [write_emissions(tmp_path, *rows)], tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert {station.machine.cpu_model for station in run.header.stations} == {"Some CPU", "Another CPU"}
    assert {view.hardware for view in make_views([run])} == {"Some CPU, 8 threads", "Another CPU, 8 threads"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (({"energy_consumed": "9e-4"},), "do not add up"),
        (({"cpu_energy": "nan", "ram_energy": ""},), "has no energy"),
    ],
)
def test_energy_that_is_none_is_left_out_and_said(rows: tuple[dict[str, str], ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        read([write_emissions(tmp_path, *rows)])
    found = read([write_emissions(tmp_path, *rows, {"run_id": "good"})])
    assert len(found.results) == 1
    assert any(said in sentence for sentence in found.missing)


def test_a_file_that_is_cut_short_or_of_another_kind_ends_with_one_line_and_2(tmp_path: Path, typed: Typed) -> None:
    table = write_emissions(tmp_path)
    whole = table.read_text()
    for content, said in (
        (whole[:-9], "has no end, so it may be cut short"),
        (whole + "2026-03-01T10:00:21,evening\n", "row 2 has 2 cells and not"),
        ("a,b\n1,2\n", "it has no column timestamp"),
        ("", "it is no emissions.csv"),
    ):
        table.write_text(content)
        code, _, told = typed("import", "codecarbon", table, "--out", tmp_path / "run")
        assert (code, len(told.splitlines())) == (2, 1)
        assert said in told
    assert not (tmp_path / "run").exists()


def test_the_command_says_what_is_missing_and_what_to_do_next(tmp_path: Path, typed: Typed) -> None:
    table, out = write_emissions(tmp_path), tmp_path / "run"
    code, printed, told = typed("import", "codecarbon", table, "--out", out)
    assert code == 0
    assert "    1 result with energy, without quality\n" in printed
    assert printed.endswith(f"joulemark rank {out}\n")
    assert "of unknown error" in told
    code, _, told = typed("import", "codecarbon", table, "--out", out)
    assert (code, len(told.splitlines())) == (2, 1)
    _, printed, _ = typed("import", "codecarbon", table, "--out", tmp_path / "other", "--json")
    assert json.loads(printed)["with_energy_alone"] == 1


def test_an_unknown_format_names_those_there_are(tmp_path: Path, typed: Typed) -> None:
    code, _, told = typed("import", "nothing", write_emissions(tmp_path), "--out", tmp_path / "run")
    assert code == 2
    assert "codecarbon" in told
    assert "lm-eval" in typed("import", "--list")[1].splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("leaderboard", "pack", "{run}", "-o", "{run}.json"), "nobody can check what was measured elsewhere"),
        (("run", "--resume", "{run}"), "was imported"),
        (("remeter", "{run}", "--meter", "m=replay:file=trace.csv", "--out", "{run}2"), "was imported"),
    ],
)
def test_what_was_imported_is_neither_sent_nor_measured_further(
    words: tuple[str, ...], said: str, tmp_path: Path, typed: Typed
) -> None:
    run = tmp_path / "run"
    import_files("codecarbon", [write_emissions(tmp_path)], run)
    code, _, told = typed(*[word.format(run=run) for word in words])
    assert (code, len(told.splitlines())) == (2, 1)
    assert said in told


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_in_a_file_it_is_imported_or_refused_in_one_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    table = write_emissions(folder)
    table.write_bytes(data.draw(mangled(table.read_bytes())))
    try:
        import_files("codecarbon", [table], folder / "run")
    except UsageError as problem:
        refused = str(problem)
    else:
        refused = ""
    if refused:
        assert "\n" not in refused
        return
    run = read_run(folder / "run")
    assert not run.notes
    assert all(row.rank is None for view in make_views([run]) for row in view.rows)
