"""Whole runs with real models, real lm-eval, and a machine whose counters the test moves."""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from machines import FakePowercap, PowerDriver

from joulemark.harness.alone import measuring_alone
from joulemark.harness.cellmeter import _tree_s
from joulemark.harness.record import Cell
from joulemark.harness.store import canonical_json, read_run, seal

from .conftest import COMMAND, SMALL, Joulemark, call

Ran = tuple[Path, subprocess.CompletedProcess[str]]


def test_a_run_has_every_cell_with_quality_and_energy(small_run: Ran) -> None:
    run = read_run(small_run[0])
    assert len(run.cells) == 2 * 2 * 3
    for cell in run.cells:
        assert cell.status == "ok"
        assert cell.energy is not None
        assert cell.energy.gross_j is not None
        assert cell.energy.gross_j > 0
        assert cell.energy.grade == "modelled"
        assert cell.energy.window_s >= 0.5
        assert cell.energy.rel_u_scale**2 + cell.energy.rel_u_workload**2 >= 0.3**2
        assert cell.quality == pytest.approx(100 * (cell.accuracy - cell.chance) / (1 - cell.chance))
    assert run.header.idle.before_w
    assert run.header.idle.after_w


def test_shares_add_up_to_the_meter(small_run: Ran) -> None:
    run = read_run(small_run[0])
    for cell in run.cells:
        energy, phases = cell.energy, cell.phases
        items = pd.read_parquet(run.path / "items" / f"{cell.cell_id}.parquet")
        assert math.isclose(items["energy_j"].sum(), energy.net_j, rel_tol=1e-9)
        assert math.isclose(
            phases.prefill_j + phases.decode_j + phases.other_j + energy.idle_j, energy.gross_j, rel_tol=1e-9
        )
        assert items["score"].mean() == cell.accuracy
        assert items["prompt_tokens"].sum() == cell.tokens.prompt


def test_json_is_one_object_on_stdout_and_all_else_is_on_stderr(small_run: Ran) -> None:
    found = json.loads(small_run[1].stdout)
    assert found["run_id"] == read_run(small_run[0]).header.run_id
    assert Path(found["report"]).is_file()
    assert "Measuring 12 cells" in small_run[1].stderr


def test_the_view_over_all_tasks_comes_first_and_is_complete(joulemark: Joulemark, small_run: Ran) -> None:
    found = json.loads(joulemark("rank", small_run[0], "--json").stdout)
    view = found["views"][0]
    assert (found["schema"], view["task"], view["grade"]) == ("joulemark.rank/1", "all", "modelled")
    assert {row["model"] for row in view["rows"]} == {"ref/ngram", "ref/dense-60k"}
    for row in view["rows"]:
        for key in ("quality", "quality_low", "quality_high", "energy_wh_per_1k", "energy_wh_per_1k_low"):
            assert row[key] is not None


def accuracies(path: Path) -> dict[str, float | None]:
    return {cell.cell_id: cell.accuracy for cell in read_run(path).cells}


def test_the_same_seed_gives_the_same_cells_order_and_accuracies(
    joulemark: Joulemark, small_run: Ran, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    joulemark("run", *SMALL, "--repeats", "3", "--seed", "7", "--out", again)
    assert list(accuracies(again).items()) == list(accuracies(small_run[0]).items())


def lines(path: Path) -> list[str]:
    log = path / "cells.jsonl"
    return log.read_text().splitlines() if log.exists() else []


def wait_for(path: Path, cells: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while len(lines(path)) < cells:
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_finished_run_has_nothing_to_resume(joulemark: Joulemark, small_run: Ran) -> None:
    before = (small_run[0] / "cells.jsonl").read_bytes()
    assert joulemark("run", "--resume", small_run[0]).returncode == 0
    refused = joulemark("run", "--resume", small_run[0], "--executor", "ray")
    assert refused.returncode == 2
    assert "the run measures on one machine" in refused.stderr
    assert (small_run[0] / "cells.jsonl").read_bytes() == before


def test_a_model_that_cannot_be_loaded_fails_its_cells_and_spares_the_others(
    joulemark: Joulemark, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    (tmp_path / "empty").mkdir()
    done = joulemark(
        "run", "-m", "ref/ngram", "-m", f"broken=hf:pretrained={tmp_path}/empty", "-t", "jm_units", "--limit", "10",
        "--repeats", "2", "--out", path,
    )  # fmt: skip
    assert done.returncode == 5
    assert f"run --resume {path}" in done.stderr
    status = {(cell.model, cell.repeat): cell.status for cell in read_run(path).cells}
    assert status == {("ref/ngram", 1): "ok", ("ref/ngram", 2): "ok", ("broken", 1): "failed", ("broken", 2): "failed"}
    broken = next(cell for cell in read_run(path).cells if cell.model == "broken")
    assert broken.error
    assert broken.energy is None
    assert "ref/ngram" in done.stdout


def test_a_model_that_dies_in_the_middle_fails_its_cell_and_is_loaded_again_for_the_next(
    joulemark: Joulemark, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    process = subprocess.Popen(
        [*COMMAND, "run", "-m", "ref/ngram", "-t", "jm_units", "--limit", "5", "--repeats", "4", "--out", str(path)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    wait_for(path, 1, process)
    [guard] = psutil.Process(process.pid).children()
    [worker] = guard.children()
    worker.kill()
    _, told = process.communicate(timeout=120)
    assert process.returncode == 5
    assert "SIGKILL" in told.decode().splitlines()[-1]
    assert [cell.status for cell in read_run(path).cells].count("failed") == 1
    assert joulemark("run", "--resume", path).returncode == 0
    cells = read_run(path).cells
    assert {cell.status for cell in cells} == {"ok"}
    assert sorted(cell.attempt for cell in cells) == [1, 1, 1, 2]


def test_a_cell_that_had_company_is_flagged_and_the_run_says_so(joulemark: Joulemark, tmp_path: Path) -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        chosen = ("-m", "ref/ngram", "-t", "jm_units", "--limit", "10", "--repeats", "2")
        done = joulemark("run", *chosen, "--out", tmp_path / "run")
    finally:
        busy.kill()
        busy.wait()
    assert "Other programs keep" in done.stderr
    for cell in read_run(tmp_path / "run").cells:
        assert "busy_machine" in cell.flags
        assert cell.other_cpu_cores > 0.5


def test_what_a_model_starts_itself_is_no_company() -> None:
    spin = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    before = _tree_s(psutil.Process())
    subprocess.run([sys.executable, "-c", spin], check=True)
    assert _tree_s(psutil.Process()) - before >= 0.5


def test_two_runs_on_one_machine_never_count_each_others_joules(powercap: FakePowercap, tmp_path: Path) -> None:
    package = powercap.add("intel-rapl:0", "package-0")
    with measuring_alone(), PowerDriver({package: 1.0}, lambda t: 50.0 * t):
        done = metered(powercap.sysfs, tmp_path / "second")
    assert done.returncode == 5
    assert "another joulemark is measuring on this machine" in done.stderr.splitlines()[-1]


def test_a_cell_whose_items_were_lost_is_measured_again(joulemark: Joulemark, tmp_path: Path) -> None:
    path = tmp_path / "run"
    joulemark("run", "-m", "ref/ngram", "-t", "jm_units", "--limit", "10", "--repeats", "2", "--out", path)
    (path / "items.parquet").unlink()
    next((path / "items").iterdir()).unlink()
    assert joulemark("run", "--resume", path).returncode == 0
    assert len(read_run(path).items()) == 20


def metered(sysfs: Path, path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call("run", *SMALL, "--repeats", "2", "--out", path, *arguments, JOULEMARK_SYSFS=str(sysfs))


def test_counters_are_believed_to_within_a_percent_and_what_contains_another_is_not_added(
    powercap: FakePowercap, tmp_path: Path
) -> None:
    package = powercap.add("intel-rapl:0", "package-0", range_uj=60_000_000)
    core = powercap.add("intel-rapl:0:0", "core")
    dram = powercap.add("intel-rapl:0:2", "dram")
    psys = powercap.add("intel-rapl:1", "psys")
    with PowerDriver({package: 0.8, core: 0.5, dram: 0.2, psys: 2.0}, lambda t: 50.0 * t):
        done = metered(powercap.sysfs, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    cells = read_run(tmp_path / "run").cells
    assert len(cells) == 8
    for cell in cells:
        assert cell.energy is not None
        assert (cell.energy.grade, cell.energy.scope) == ("counter", "package+dram")
        assert cell.energy.window_s >= 1.0
        assert cell.energy.gross_j == pytest.approx(50.0 * cell.energy.window_s, rel=0.01)
        # A machine that draws the same whether or not it is asked: nothing, or next to it, is told from idle power.
        assert (cell.energy.net_j or 0.0) < 0.01 * cell.energy.gross_j
        assert ("net_unresolved" in cell.flags) == (cell.energy.net_j is None)


def test_a_counter_that_vanishes_midway_fails_that_cell_and_ends_the_run_with_exit_code_5(
    powercap: FakePowercap, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    package = powercap.add("intel-rapl:0", "package-0")
    dram = powercap.add("intel-rapl:0:2", "dram")
    with PowerDriver({package: 1.0, dram: 0.1}, lambda t: 50.0 * t) as driver:
        process = subprocess.Popen(
            [*COMMAND, "run", *SMALL, "--repeats", "2", "--out", str(path)],
            env=os.environ | {"JOULEMARK_SYSFS": str(powercap.sysfs)},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        wait_for(path, 2, process)
        driver.__exit__()
        for file in package.folder.iterdir():
            file.unlink()
        package.folder.rmdir()
        _, told = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "package-0" in told.decode().splitlines()[-1]
    cells: tuple[Cell, ...] = read_run(path).cells
    assert [cell.status for cell in cells[:2]] == ["ok", "ok"]
    assert cells[-1].status == "failed"
    assert "package-0" in str(cells[-1].error)
    assert all(cell.energy is None for cell in cells if cell.status == "failed")


@pytest.mark.parametrize(
    ("changed", "older"),
    [("weights", lambda c: {"model_info": c.model_info.model_copy(update={"sha256": "0" * 64})}),
     ("questions", lambda _: {"task_version": "1.0"})],
)  # fmt: skip
def test_a_run_of_other_weights_or_questions_is_not_gone_on_with(
    small_run: Ran, tmp_path: Path, changed: str, older: Callable[[Cell], dict[str, Any]]
) -> None:
    path = tmp_path / "run"
    shutil.copytree(small_run[0], path)
    cells = read_run(path).cells[:-1]
    sealed = [seal(cell.model_copy(update=older(cell))) for cell in cells]
    lines = [canonical_json(cell.model_dump(mode="json", by_alias=True)) for cell in sealed]
    (path / "cells.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    done = call("run", "--resume", path)
    assert done.returncode == 2
    assert f"other {changed}" in done.stderr
    assert len(read_run(path).cells) == len(cells)
