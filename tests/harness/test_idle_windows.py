"""A run that was resumed has several idle windows; each cell's net energy is above its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from joulemark.harness.store import read_run

from .conftest import call
from .test_remeter import IDLE_W, check_figures, energy_of, measured, wall_csv

__all__ = ["measured", "wall_csv"]


def test_a_trace_gives_each_cell_the_idle_power_of_its_own_invocation(
    measured: Path, wall_csv: Path, tmp_path: Path
) -> None:
    """As after a resume on a machine that draws more by then: the header's idle window is another invocation's."""
    resumed = shutil.copytree(measured, tmp_path / "resumed")
    header = json.loads((resumed / "run.json").read_text())
    busy = next(cell for cell in read_run(measured).cells if cell.windows)
    header["idle"]["before"] |= {"began_at": busy.windows[0].began_at, "window_s": busy.windows[0].window_s}
    (resumed / "run.json").write_text(json.dumps(header))
    done = call("remeter", resumed, "--meter", f"lab=replay:file={wall_csv},rel_u=0.01", "--out", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    again = read_run(tmp_path / "new")
    assert again.header.idle.before_w != pytest.approx(IDLE_W, rel=0.1)
    assert all(energy_of(cell).net_j is not None for cell in again.cells)
    check_figures(again)
