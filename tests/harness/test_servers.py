"""Whole runs of models behind llama.cpp's own server: which joules are theirs, and what if the server dies."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import llamacpp
import pandas as pd
import psutil
import pytest
from llamacpp import LlamaCpp, free_port, llama_cpp, write_gguf
from machines import FakePowercap, PowerDriver

from joulemark.harness.models import parse_model
from joulemark.harness.record import Cell
from joulemark.harness.store import read_run
from joulemark.meters.cpumodel import model_cpu_power
from joulemark.meters.errors import UsageError

from .conftest import COMMAND, Joulemark, call

ASKED = ("-t", "jm_units", "--limit", "24", "--meter", "modelled")


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf("dense-60k", tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="module")
def server(gguf: Path) -> Iterator[LlamaCpp]:
    with llama_cpp(gguf) as up:
        yield up


def named(name: str, server: LlamaCpp, *, chat: bool = False, ours: str = "") -> str:
    return f"{name}=local-{'chat-' if chat else ''}completions:{server.args(chat=chat)}{ours}"


def started(gguf: Path, port: int, name: str = "own") -> str:
    """A model whose server Joulemark starts."""
    command = shlex.join([sys.executable, llamacpp.__file__, str(gguf), str(port)])
    url = f"http://127.0.0.1:{port}/v1/completions"
    return f"{name}=local-completions:model=tiny,base_url={url},tokenizer_backend=None,server={command}"


def by_model(path: Path) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell in read_run(path).cells:
        found.setdefault(cell.model, []).append(cell)
    return found


def test_the_servers_cpu_time_is_the_models_and_its_items_share_it(
    joulemark: Joulemark, server: LlamaCpp, tmp_path: Path
) -> None:
    path, pid = tmp_path / "run", f",server_pid={server.process.pid}"
    before = psutil.Process(server.process.pid).cpu_times()
    done = joulemark(
        "run", "-m", named("one", server, ours=pid), "-m", named("unknown", server), *ASKED,
        "--sweep", "concurrency=1,8", "--repeats", "1", "--out", path,
    )  # fmt: skip
    after = psutil.Process(server.process.pid).cpu_times()
    held_mb = psutil.Process(server.process.pid).memory_info().rss / 2**20
    assert done.returncode == 0, done.stderr
    cells = by_model(path)
    assert len(cells["one"]) == len(cells["unknown"]) == 2
    for cell in cells["one"]:
        assert cell.status == "ok"
        assert "outside_meter" not in cell.flags
        assert f"server_pid={server.process.pid}" in cell.model_args
        items = pd.read_parquet(path / "items" / f"{cell.cell_id}.parquet")
        assert math.isclose(items["energy_j"].sum(), cell.energy.net_j, rel_tol=1e-9)
        assert items["energy_j"].sum() < cell.energy.gross_j
        assert (items["energy_j"] > 0).all()
        assert cell.phases.prefill_j + cell.phases.decode_j <= cell.energy.net_j
        assert cell.phases.prefill_j > 0
        assert cell.phases.decode_j > 0
        # It was loaded before, by others; and its memory is not its client's, which has imported torch.
        assert cell.phases.load_j is None
        assert cell.model_info.peak_rss_mb == pytest.approx(held_mb, rel=0.3)
        assert cell.ttft_s.p50 < cell.latency_s.p50
        assert cell.tokens.generated > 24
        assert cell.truncated == 0
    for cell in cells["unknown"]:
        assert cell.flags[0] == "outside_meter"
        assert cell.model_info.peak_rss_mb is None
        assert cell.energy.gross_j is None
    # No more joules than its CPU seconds make.
    busy_s = after.user + after.system - before.user - before.system
    power = model_cpu_power()
    most_j = busy_s * (power.busy_w - power.idle_w)
    assert 0.05 * most_j < sum(cell.energy.net_j for cell in cells["one"]) < most_j


def test_a_server_is_started_for_its_model_and_ended_when_another_needs_its_port_and_with_the_run(
    joulemark: Joulemark, gguf: Path, tmp_path: Path
) -> None:
    path, port = tmp_path / "run", free_port()
    # Two models that share a port have it in turn.
    models = ("-m", started(gguf, port), "-m", started(gguf, port, "other"))
    done = joulemark("run", *models, *ASKED, "--repeats", "1", "--out", path)
    assert done.returncode == 0, done.stderr
    for [cell] in by_model(path).values():
        assert cell.status == "ok"
        assert cell.energy.net_j > 0
        assert cell.phases.load_j > 0
    assert not listening(port)


def listening(port: int) -> bool:
    return any(
        connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
        for connection in psutil.net_connections(kind="tcp")
    )


def lines(path: Path, model: str) -> list[dict[str, object]]:
    log = path / "cells.jsonl"
    text = log.read_text() if log.exists() else ""
    cells = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    return [cell for cell in cells if cell["model"] == model]


def wait_for(path: Path, model: str, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while len(lines(path, model)) < count:
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_server_that_dies_midway_fails_its_cells_and_its_file_tells_which_process_to_go_on_with(
    joulemark: Joulemark, gguf: Path, tmp_path: Path
) -> None:
    path, pid_file = tmp_path / "run", tmp_path / "server.pid"
    with llama_cpp(gguf) as server:
        pid_file.write_text(f"{server.process.pid}\n")
        model = named("mortal", server, ours=f",server_pid={pid_file}")
        command = [*COMMAND, "run", "-m", model, "-m", "ref/ngram", *ASKED, "--order", "blocked", "--repeats", "3"]
        with subprocess.Popen([*command, "--out", str(path)], stderr=subprocess.PIPE, text=True) as run:
            wait_for(path, "mortal", 1, run)
            server.process.kill()
            server.process.wait()
            _, told = run.communicate(timeout=120)
    assert run.returncode == 5
    cells = by_model(path)
    assert cells["mortal"][0].status == "ok"
    lost = [cell for cell in cells["mortal"] if cell.status == "failed"]
    assert len(lost) == 2
    assert all(f"its server, process {server.process.pid}, has ended" in cell.error for cell in lost)
    assert [cell.status for cell in cells["ref/ngram"]] == ["ok"] * 3
    assert "2 of 6 cells failed" in told
    done = joulemark("run", "--resume", path)
    assert done.returncode == 2
    assert f"no process {server.process.pid} is on this machine" in done.stderr
    with llama_cpp(gguf, server.port) as again:
        pid_file.write_text(f"{again.process.pid}\n")
        done = joulemark("run", "--resume", path)
    assert done.returncode == 0, done.stderr
    assert [cell.attempt for cell in by_model(path)["mortal"]] == [1, 2, 2]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_ended_leaves_no_server_behind(gguf: Path, tmp_path: Path, number: signal.Signals) -> None:
    path, port = tmp_path / "run", free_port()
    command = [*COMMAND, "run", "-m", started(gguf, port), *ASKED, "--repeats", "50", "--out", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        wait_for(path, "own", 1, run)
        below = psutil.Process(run.pid).children(recursive=True)
        assert listening(port)
        run.send_signal(number)
        run.communicate(timeout=60)
    _, left = psutil.wait_procs(below, timeout=20)
    assert not left
    assert not listening(port)


def test_a_started_server_that_cannot_start_fails_its_cells_with_what_it_said(
    joulemark: Joulemark, gguf: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    broken = started(gguf.with_name("missing.gguf"), free_port(), "broken")
    killed = f"{started(gguf, free_port(), 'killed').partition('server=')[0]}server=sh -c 'kill -9 $$'"
    models = ("-m", broken, "-m", killed, "-m", "ref/ngram")
    done = joulemark("run", *models, *ASKED, "--repeats", "1", "--out", path)
    assert done.returncode == 5
    cells = by_model(path)
    assert "could not be loaded: its server ended with exit code 1: " in cells["broken"][0].error
    assert cells["killed"][0].error == "could not be loaded: its server was ended by SIGKILL (out of memory?)"
    assert cells["ref/ngram"][0].status == "ok"


def test_a_port_that_somebody_else_listens_at_is_told(
    joulemark: Joulemark, gguf: Path, server: LlamaCpp, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    done = joulemark("run", "-m", started(gguf, server.port), *ASKED, "--repeats", "1", "--out", path)
    assert done.returncode == 5
    assert "something listens at port" in by_model(path)["own"][0].error
    assert server.process.poll() is None


@pytest.mark.parametrize(("ours", "reason"), [
    ("server_pid=4194305", "no process 4194305"),
    ("server_pid=abc", "give the number of the server's process, or a file"),
    ("server_pid=/dev/null", "give the number of the server's process, or a file"),
    ("server_pid={me}", "this run itself"),
    ("server_pid={other}", "does not listen at port"),
    ("server_pid={pid},server_at=rack", "give one of"),
    ("server=no-such-program --port 1", "no program 'no-such-program'"),
    ("server=echo 'a", "No closing quotation"),
])  # fmt: skip
def test_what_cannot_be_true_of_a_server_is_told_before_anything_starts(
    ours: str, reason: str, server: LlamaCpp
) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        text = ours.format(me=os.getpid(), pid=server.process.pid, other=other.pid)
        with pytest.raises(UsageError, match=reason):
            parse_model(named("m", server, ours=f",{text}"))
        other.kill()


def test_a_server_elsewhere_has_the_energy_of_the_meter_that_is_said_to_see_it(
    powercap: FakePowercap, server: LlamaCpp, tmp_path: Path
) -> None:
    """These counters stand for those of its machine, and eight requests at once share what they count."""
    package = powercap.add("intel-rapl:0", "package-0")
    models = ("-m", named("far", server, ours=",server_at=rapl"), "-m", named("unknown", server))
    asked = ("-t", "jm_units", "--limit", "24", "--concurrency", "8", "--repeats", "2", "--out", tmp_path / "run")
    with PowerDriver({package: 1.0}, lambda t: 50.0 * t):
        done = call("run", *models, *asked, JOULEMARK_SYSFS=str(powercap.sysfs))
    assert done.returncode == 0, done.stderr
    cells = by_model(tmp_path / "run")
    for cell in cells["far"]:
        assert "outside_meter" not in cell.flags
        # The thread that stands for the counter writes what it worked out a moment before; a real one has no such lag.
        late_j = 50 * 1e-4
        assert cell.energy.gross_j == pytest.approx(50 * cell.energy.window_s, abs=3 * cell.energy.u_j + late_j)
        # The counters count as much while nothing is asked, so that nothing is above that.
        assert cell.energy.net_j is None
        assert cell.model_info.peak_rss_mb is None
    assert [cell.energy.gross_j for cell in cells["unknown"]] == [None] * 2


def test_a_server_elsewhere_needs_a_meter_there(server: LlamaCpp) -> None:
    elsewhere = "m=local-completions:model=x,base_url=http://192.0.2.7:8000/v1/completions"
    with pytest.raises(UsageError, match=r"base_url is at 192\.0\.2\.7"):
        parse_model(f"{elsewhere},server_pid={server.process.pid}")
    assert parse_model(f"{elsewhere},server_at=rack").endpoint.seen_by == "rack"
    assert parse_model(elsewhere).endpoint is None
    with pytest.raises(UsageError, match="hf computes here"):
        parse_model("m=hf:pretrained=x,server_pid=1")
    with pytest.raises(UsageError, match="base_url="):
        parse_model("m=local-completions:model=x,server_pid=1")
