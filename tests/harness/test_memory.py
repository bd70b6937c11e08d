"""How much memory a cell took, and models for which there is not enough of it beside others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from troubled import GPU_MB, put_on_path

from joulemark.harness.store import read_run

from .conftest import call

ASKED = ("-t", "jm_units", "--limit", "2", "--repeats", "1", "--meter", "modelled", "--order", "blocked")
NVML = Path(__file__).parents[1] / "meters" / "fake_nvml.c"


def test_each_cells_peak_is_its_own_and_a_model_that_ran_out_of_memory_beside_others_is_asked_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run"
    models = ("-m", "large=troubled:how=grows", "-m", "proud=troubled:how=wants_all")
    done = call(
        "run", *models, *ASKED, "--sweep", "max_gen_toks=256,16", "--out", path, **put_on_path(tmp_path / "modules")
    )
    assert done.returncode == 0, done.stderr
    cells = {(cell.model, cell.setting["max_gen_toks"]): cell for cell in read_run(path).cells}
    first, then = (cells["large", tokens].model_info.peak_rss_mb for tokens in (256, 16))
    assert 230 < first - then < 260
    assert then > 100
    # What failed stays in the record; once it is known, the next cell does not fail first.
    assert [cells["proud", tokens].attempt for tokens in (256, 16)] == [2, 1]
    assert [cell.status for cell in cells.values()] == ["ok"] * 4
    lines = [json.loads(line) for line in (path / "cells.jsonl").read_text().splitlines()]
    [failed] = [line for line in lines if line["status"] == "failed"]
    assert (failed["model"], failed["attempt"], failed["error"], failed["energy"]) == ("proud", 1, "MemoryError", None)
    assert "MemoryError. Trying again with no other loaded." in done.stderr


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small library in place of NVIDIA's."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    made = [compiler, "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(NVML), "-lm"]
    subprocess.run(made, check=True, timeout=60)
    return folder


def test_a_gpus_memory_and_its_driver_are_written_down(library: Path, tmp_path: Path) -> None:
    (tmp_path / "holds").write_text("81559\n")
    described = (
        "from joulemark.harness.session import describe_this_machine\n"
        "from joulemark.meters.registry import choose\n"
        "machine = describe_this_machine(choose(device='cuda'))\n"
        "print(machine.driver, *(f'{gpu.name} {gpu.memory_gb}' for gpu in machine.accelerators))\n"
    )
    env = {"LD_LIBRARY_PATH": str(library), "FAKE_GPUS": "300", "FAKE_HOLDS": str(tmp_path / "holds")}
    done = subprocess.run(
        [sys.executable, "-c", described], env=os.environ | env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "580.159.04 Fake 300 W 79.6\n"


def test_a_gpus_memory_is_looked_at_before_another_model_is_loaded(library: Path, tmp_path: Path) -> None:
    holds, note = tmp_path / "holds", tmp_path / "free"
    # One fits twice, but not with a quarter to spare.
    total = 2 * GPU_MB + GPU_MB // 8
    holds.write_text(f"{total}\n")
    models = [part for name in "ab" for part in ("-m", f"{name}=troubled:how=holds_gpu,note={note}")]
    machine = {"LD_LIBRARY_PATH": str(library), "FAKE_GPUS": "300", "FAKE_HOLDS": str(holds)}
    done = call(
        "run", *models, *ASKED, "--out", tmp_path / "run", **machine,
        **put_on_path(tmp_path / "modules"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # The second was loaded once the first was gone.
    assert note.read_text().split() == [str(total)] * 2


def test_a_model_that_cannot_be_loaded_for_the_same_reason_twice_is_not_tried_with_every_setting(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run"
    done = call(
        "run", "-m", "broken=troubled:how=fails_loading", *ASKED, "--sweep", "threads=1,2,3", "--out", path,
        **put_on_path(tmp_path / "modules"),
    )  # fmt: skip
    assert done.returncode == 5
    *tried, last = [cell.error for cell in read_run(path).cells]
    assert all(error.startswith("could not be loaded: RuntimeError: no weights here") for error in tried)
    assert last.startswith(tried[0])
    assert last.endswith("(nor in another setting, so not tried any more)")
    assert done.stderr.count("Failed: ") == 1
    assert "3 of 3 cells failed, all for one reason" in done.stderr


def test_a_model_that_runs_out_of_memory_while_it_is_loaded_costs_the_others_nothing_afterwards(tmp_path: Path) -> None:
    path, note = tmp_path / "run", tmp_path / "loaded"
    models = ("-m", f"fine=troubled:how=loads,note={note}", "-m", "huge=troubled:how=loads_too_much")
    done = call("run", *models, *ASKED, "--repeats", "3", "--out", path, **put_on_path(tmp_path / "modules"))
    assert done.returncode == 5
    assert [cell.status for cell in read_run(path).cells if cell.model == "fine"] == ["ok"] * 3
    assert {cell.attempt for cell in read_run(path).cells} == {1}
    # Once beside the other, and once more after it had to make room.
    assert note.read_text().splitlines() in (["loaded"], ["loaded"] * 2)


def test_a_model_for_which_time_was_short_is_tried_with_every_setting(tmp_path: Path) -> None:
    path = tmp_path / "run"
    slow = ("-m", "slow=troubled:how=hangs_loading", "--timeout", "0.5", "--sweep", "threads=1,2,3")
    done = call("run", *slow, *ASKED, "--out", path, **put_on_path(tmp_path / "modules"))
    assert done.returncode == 5
    late = "could not be loaded: loading took longer than the 0.5 s that --timeout allows"
    assert [cell.error for cell in read_run(path).cells] == [late] * 3
