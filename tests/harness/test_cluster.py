"""Three nodes of a real Ray cluster on this machine; each is a machine to the run."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from joulemark.harness.alone import measuring_alone
from joulemark.harness.plan import make_plan
from joulemark.harness.posts import Posts
from joulemark.harness.store import read_run
from joulemark.meters.errors import MeasuringFailed
from joulemark.reports.views import make_views

from .conftest import Joulemark

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'joulemark[ray]'")

MODELS = ("ref/ngram", "ref/dense-60k", "ref/dense-240k", "ref/dense-800k")
WHAT = [word for model in MODELS for word in ("-m", model)]
WHAT += ["-t", "jm_units", "-t", "jm_dates", "--repeats", "3", "--limit", "10"]
CELLS = 24
SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "slurm-ray.sh"
LIMIT_S = 120


@pytest.fixture(scope="module", autouse=True)
def short_folder() -> Iterator[None]:
    """Ray's sockets lie in a folder of temporary files, and the names of sockets may not be long."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="jm-", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        yield
        del os.environ["RAY_TMPDIR"]


def three_nodes() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.labelled = {label: nodes.add_node(num_cpus=1, labels={"hw": label}) for label in ("b", "c")}
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


fragile = pytest.fixture(name="fragile")(three_nodes)
cluster = pytest.fixture(scope="module", name="cluster")(three_nodes)


def started(address: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "joulemark.harness.cli", "run", *words]
    command += [] if "--resume" in words else ["--executor", f"ray:{address}"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def ended(run: subprocess.Popen[str]) -> str:
    said, _ = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 0, said
    return said


def lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in (path / "cells.jsonl").read_text().split("\n")[:-1]]
    except FileNotFoundError:
        return []


def wait_for(path: Path, many: int, run: subprocess.Popen[str], node: str = "") -> list[dict[str, Any]]:
    """So many cells, of one node where that is given."""
    until = time.monotonic() + LIMIT_S
    while len(found := [each for each in lines(path) if node in ("", each["node"])]) < many:
        assert time.monotonic() < until, "it takes too long"
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.02)
    return found


def stations_of(node: Any) -> list[psutil.Process]:
    """The processes that measure on a node: children of its own process."""
    [raylet] = node.all_processes["raylet"]
    return [each for each in psutil.Process(raylet.process.pid).children() if "AtWork" in " ".join(each.cmdline())]


def assert_never_two_at_once_on_a_node(cells: list[dict[str, Any]]) -> None:
    spans = defaultdict(list)
    for cell in cells:
        began = datetime.fromisoformat(cell["started_at"]).timestamp()
        spans[cell["node"]].append((began, began + cell["duration_s"]))
    for own in spans.values():
        own.sort()
        # Times of beginning are told to the millisecond.
        assert all(end <= start + 0.002 for (_, end), (start, _) in pairwise(own))


def measured(path: Path) -> list[Any]:
    """What a run has; each cell just once, and fine."""
    cells = read_run(path).cells
    assert len(cells) == CELLS
    assert {cell.status for cell in cells} == {"ok"}
    return list(cells)


def test_a_killed_process_and_a_lost_node_cost_no_cell_and_count_none_twice(fragile: Any, tmp_path: Path) -> None:
    cluster = fragile
    out = tmp_path / "run"
    run = started(cluster.address, *WHAT, "--out", str(out))
    wait_for(out, 4, run)
    killed = stations_of(next(iter(cluster.worker_nodes)))
    assert len(killed) == 1
    killed[0].kill()
    before = len(wait_for(out, 9, run))
    gone = list(cluster.worker_nodes)[1]
    cluster.remove_node(gone, allow_graceful=False)
    said = ended(run)
    assert "its process was lost; it is started again" in said
    assert "the cluster lost it" in said
    assert "raylet" not in said, "what Ray says of it goes to standard output, beside what --json prints"
    cells = measured(out)
    assert before < CELLS, "the node was lost when all was done"
    told = lines(out)
    assert max(Counter(each["cell_id"] for each in told).values()) == 1
    again = [cell for cell in cells if "measured_again" in cell.flags]
    assert 1 <= len(again) <= 2
    assert {cell.attempt for cell in again} == {2}
    assert {cell.attempt for cell in cells if cell not in again} == {1}
    assert len({cell.node for cell in cells}) == 3
    assert_never_two_at_once_on_a_node(told)


def test_a_driver_that_was_killed_goes_on_and_leaves_nothing_running(cluster: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = started(cluster.address, *WHAT, "--out", str(out))
    there = {each["cell_id"] for each in wait_for(out, 7, run)}
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    there |= {each["cell_id"] for each in lines(out)}
    assert len(there) < CELLS
    # By another address, as that of a cluster that was started anew would be.
    ended(started("", "--resume", str(out), "--executor", f"ray:localhost:{cluster.address.rpartition(':')[2]}"))
    measured(out)
    told = lines(out)
    assert len(told) == CELLS, "a cell that was there was measured again"
    assert there <= {each["cell_id"] for each in told}
    assert len(read_run(out).header.invocations) > 3
    assert_never_two_at_once_on_a_node(told)


@contextmanager
def another_host_name() -> Iterator[None]:
    """What is started meanwhile is on a machine of another name, by its own account."""
    system, names = ctypes.CDLL(None), 0x04000000
    with Path("/proc/self/ns/uts").open() as own:
        if system.unshare(names) != 0:
            pytest.skip("only root may give a process another host name")
        try:
            socket.sethostname("another")
            yield
        finally:
            assert system.setns(own.fileno(), names) == 0


@pytest.fixture
def two_machines() -> Iterator[tuple[Any, Any]]:
    """A cluster of this machine and one of another name, and the node that the other one is."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        with another_host_name():
            other = nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        yield nodes, other
    finally:
        nodes.shutdown()


def test_what_a_lost_machine_measured_is_measured_again_with_all_that_belongs_to_it(
    two_machines: tuple[Any, Any], tmp_path: Path
) -> None:
    cluster, other = two_machines
    out = tmp_path / "run"
    some = ["-m", "ref/ngram", "-m", "ref/dense-800k", "-t", "jm_units", "-t", "jm_dates"]
    run = started(cluster.address, *some, "--repeats", "4", "--limit", "20", "--out", str(out))
    found = wait_for(out, 2, run, node=other.node_id[:12])
    [[machine, moved]] = {(each["machine_id"], each["model"]) for each in found}
    cluster.remove_node(other, allow_graceful=False)
    said = ended(run)
    assert "another" in said
    assert "the cluster lost it" in said
    cells = read_run(out).cells
    assert len(cells) == 16
    assert machine not in {cell.machine_id for cell in cells}, "cells of a lost machine count"
    again = {cell.cell_id for cell in cells if "measured_again" in cell.flags}
    assert again >= {each["cell_id"] for each in found}
    assert {cell.model for cell in cells if cell.cell_id in again} == {moved}
    [view] = make_views([read_run(out)])[:1]
    assert {row.repeats for row in view.rows} == {4}
    cluster.shutdown()
    assert "Every cell is measured already" in ended(started("", "--resume", str(out))), "the cluster was asked for"


def test_where_only_gpus_are_measured_each_has_a_station_of_its_own_and_a_node_without_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    source = Path(__file__).parents[1] / "meters" / "fake_nvml.c"
    made = [compiler, "-shared", "-fPIC", "-o", str(tmp_path / "libnvidia-ml.so.1"), str(source), "-lm"]
    subprocess.run(made, check=True, timeout=60)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setenv("FAKE_GPUS", "300 300")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, "num_gpus": 2, "include_dashboard": False})
    asked = {"models": ("a=hf:pretrained=a",), "tasks": ("jm_units",), "meters": ("nvml",)}
    asked["executor"] = f"ray:{nodes.address}"
    said: list[str] = []
    try:
        monkeypatch.delenv("LD_LIBRARY_PATH")
        without = nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        with Posts(make_plan(None, asked, "quick"), None, "run", {}, {}, said.append) as posts:
            one, other = posts.get_ready()
            assert any(f"({without.node_id[:12]}) is left out: meter nvml does not work here" in text for text in said)
            machines = [each.header.machine for each in (one, other)]
            assert [len(machine.accelerators) for machine in machines] == [1, 1]
            assert machines[0].accelerators != machines[1].accelerators
            assert machines[0].machine_id != machines[1].machine_id
            monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
            with pytest.raises(MeasuringFailed, match="another joulemark is measuring"), measuring_alone():
                pass
    finally:
        nodes.shutdown()


def test_the_same_plan_gives_the_same_cells_and_ranks_alike_on_a_cluster_and_here(
    cluster: Any, tmp_path: Path, joulemark: Joulemark
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    foreseen = ended(started(cluster.address, *WHAT, "--dry-run"))
    said = ended(started(cluster.address, *WHAT, "--out", str(there)))
    for cell in read_run(there).cells:
        assert re.search(rf"\({cell.node}\) measures [^:]*{cell.model}\b", foreseen), "the dry run named another one"
    # Of four models on three nodes one is measured after another.
    assert "has measured its models; waiting for" in said
    done = joulemark("run", *WHAT, "--out", here)
    assert done.returncode == 0, done.stderr
    cells = [{cell.cell_id: cell for cell in measured(path)} for path in (there, here)]
    assert cells[0].keys() == cells[1].keys()
    for cell_id, cell in cells[0].items():
        assert cell.accuracy == cells[1][cell_id].accuracy
        assert cell.task_hash == cells[1][cell_id].task_hash
    rows = [{row.label: row for row in make_views([read_run(path)])[0].rows} for path in (there, here)]
    assert rows[0].keys() == rows[1].keys()
    for label, row in rows[0].items():
        other = rows[1][label]
        assert (row.quality, row.quality_low, row.quality_high) == (
            other.quality,
            other.quality_low,
            other.quality_high,
        )
        assert (row.items, row.repeats, row.hardware, row.machine_id) == (
            other.items,
            other.repeats,
            other.hardware,
            other.machine_id,
        )
        assert (row.rank is None) == (other.rank is None)


def test_labels_say_who_measures_what_and_none_that_fits_is_told_in_a_line(cluster: Any, tmp_path: Path) -> None:
    some = ["-m", "ref/ngram", "-m", "ref/dense-60k", "-t", "jm_units", "--repeats", "2", "--limit", "5"]
    out = tmp_path / "run"
    where = ["--place", "ref/dense-60k:hw=c"]
    foreseen = ended(started(cluster.address, *some, *where, "--dry-run"))
    assert f"({cluster.labelled['c'].node_id[:12]}) measures ref/dense-60k: 2 cells" in foreseen
    ended(started(cluster.address, *some, *where, "--out", str(out)))
    own = {cell.node for cell in read_run(out).cells if cell.model == "ref/dense-60k"}
    assert own == {cluster.labelled["c"].node_id[:12]}
    refused = started(cluster.address, *some, "--place", "hw=z", "--out", str(tmp_path / "other"))
    said, _ = refused.communicate(timeout=LIMIT_S)
    assert refused.returncode == 2
    assert said.startswith("joulemark: no machine of the cluster may measure: none has hw=z")
    assert "hw=b" in said
    assert len(said.splitlines()) == 1
    refused = started(cluster.address, *some, "--place", "ref/ngram:hw=z", "--out", str(tmp_path / "other"))
    said, _ = refused.communicate(timeout=LIMIT_S)
    assert refused.returncode == 2
    assert "no machine that may measure ref/ngram is there" in said
    assert not (tmp_path / "other").exists()


def test_no_cluster_is_told_in_a_line(tmp_path: Path, joulemark: Joulemark) -> None:
    done = joulemark("run", "--executor", "ray:127.0.0.1:1", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "no Ray cluster answers at 127.0.0.1:1" in done.stderr
    assert "ray start --head" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_cluster_whose_head_died_is_told_in_a_line_and_not_waited_for(
    tmp_path: Path, joulemark: Joulemark, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    done = joulemark("run", "--executor", "ray", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "no Ray cluster is running here" in done.stderr
    assert "after `ray stop`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_slurm_script_measures_on_a_jobs_node_and_goes_on_when_it_is_sent_again(tmp_path: Path) -> None:
    """What Slurm itself does is a line each; Ray, the script and the run are real."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    # Options of srun end where the command begins.
    (bin_ / "srun").write_text('#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n')
    (bin_ / "scontrol").write_text("#!/bin/bash\necho one\n")
    (bin_ / "hostname").write_text("#!/bin/bash\necho 127.0.0.1\n")
    for each in bin_.iterdir():
        each.chmod(0o755)
    (tmp_path / "plan.toml").write_text(
        '[run]\nmodels = ["ref/ngram", "ref/dense-60k"]\ntasks = ["jm_units"]\nrepeats = 2\nlimit = 5\n'
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = os.pathsep.join([str(bin_), str(Path(sys.executable).parent), os.environ["PATH"]])
    told = os.environ | {"PATH": path, "RAY_PORT": port, "SLURM_JOB_NODELIST": "one"}
    command = ["bash", str(SCRIPT), "plan.toml", "run"]
    for said in ("Report: run/report/report.html", "Every cell is measured already"):
        with subprocess.Popen(
            command, cwd=tmp_path, env=told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as job:
            try:
                output, _ = job.communicate(timeout=LIMIT_S)
            finally:
                # As Slurm ends a job: the script then ends what it started.
                job.terminate()
        assert job.returncode == 0, output
        assert said in output
        assert len(lines(tmp_path / "run")) == 4
