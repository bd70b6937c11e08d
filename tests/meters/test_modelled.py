"""Modelled energy: CPU time of the measured processes, all of it and nothing else."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulemark.meters import cpumodel, modelled
from joulemark.meters.cpumodel import CpuPower, granted_threads, model_cpu_power
from joulemark.meters.cputime import ProcessTree
from joulemark.meters.errors import MeterLost
from joulemark.meters.modelled import ModelledMeter
from joulemark.meters.types import Unavailable

SPIN = "import time\nwhile time.process_time() < {}: pass\n"


def spin(cpu_s: float) -> list[str]:
    return [sys.executable, "-S", "-c", SPIN.format(cpu_s)]


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    time.sleep(0.2)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def four_watts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that draw 1 W idle and 5 W busy; two of them granted."""
    power = CpuPower(idle_w=1.0, busy_w=5.0, rel_u_scale=0.3, rel_u_workload=0.2, source="a test")
    monkeypatch.setattr(modelled, "model_cpu_power", lambda: power)
    monkeypatch.setattr(modelled, "granted_threads", lambda _: 2.0)


@pytest.mark.usefixtures("four_watts")
def test_an_idle_process_has_its_share_of_the_idle_power_and_never_zero(sleeper: subprocess.Popen[bytes]) -> None:
    meter = ModelledMeter()
    meter.open(sleeper.pid)
    first = meter.read()
    time.sleep(0.3)
    second = meter.read()
    joules = second.values["modelled:cpu"] - first.values["modelled:cpu"]
    assert joules == pytest.approx(2 * 1.0 * (second.t_ns - first.t_ns) / 1e9, rel=0.05)


@pytest.mark.usefixtures("four_watts")
def test_a_busy_process_has_net_joules_for_its_cpu_seconds_on_top() -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", SPIN.format(0.3) + "time.sleep(60)"])
    try:
        meter = ModelledMeter()
        meter.open(process.pid)
        deadline = time.monotonic() + 20
        tree = ProcessTree(process.pid)
        while tree.cpu_ns() < 0.2e9 and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        reading = meter.read()
        cpu_s = time.clock_gettime_ns((~process.pid << 3) | 2) / 1e9
    finally:
        process.kill()
        process.wait()
    gross = reading.values["modelled:cpu"]
    idle = 2 * 1.0 * (reading.t_ns - meter._opened_ns) / 1e9
    assert 0.2 * 4 < gross - idle <= cpu_s * 4 * 1.02


def test_children_that_end_unseen_are_counted_and_not_twice() -> None:
    tree = ProcessTree(os.getpid())
    before, own = children_cpu_s(), time.process_time()
    subprocess.run(spin(0.15), check=True)
    subprocess.run(spin(0.15), check=True)
    expected = children_cpu_s() - before + time.process_time() - own
    assert tree.cpu_ns() / 1e9 == pytest.approx(expected, abs=0.05)


def test_children_that_are_watched_until_they_end_are_counted_once_and_the_sum_never_falls() -> None:
    """Grandchildren too: each reaped by its parent, which is reaped in turn."""
    program = textwrap.dedent(f"""
        import subprocess
        for _ in range(3):
            subprocess.run({spin(0.1)!r})
    """)
    tree = ProcessTree(os.getpid())
    before, own = children_cpu_s(), time.process_time()
    process = subprocess.Popen([sys.executable, "-S", "-c", program])
    seen = [0]
    while process.poll() is None:
        seen.append(tree.cpu_ns())
        time.sleep(0.01)
    seen.append(tree.cpu_ns())
    expected = children_cpu_s() - before + time.process_time() - own
    assert seen == sorted(seen)
    assert seen[-1] / 1e9 == pytest.approx(expected, abs=0.06)


ORPHAN = """
import os, subprocess, sys, time
match sys.argv[1]:
    case "root":
        middle = subprocess.Popen([sys.executable, "-S", __file__, "middle"], stdout=subprocess.PIPE, text=True)
        print(middle.stdout.readline(), flush=True)
        middle.wait()
        time.sleep(60)
    case "middle":
        print(subprocess.Popen([sys.executable, "-S", __file__, "child"]).pid, flush=True)
        time.sleep(0.5)
    case "child":
        time.sleep(0.8)
        while time.process_time() < 0.3: pass
        time.sleep(60)
"""


def test_a_child_whose_parent_ended_still_counts(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    command = [sys.executable, "-S", str(script), "root"]
    root = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert root.stdout is not None
    orphan = int(root.stdout.readline())
    try:
        tree = ProcessTree(root.pid)
        deadline = time.monotonic() + 10
        while tree.cpu_ns() < 0.2e9 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert tree.cpu_ns() >= 0.2e9
    finally:
        os.kill(orphan, 9)
        root.kill()
        root.wait()
        root.stdout.close()


def test_other_processes_of_the_machine_do_not_count(sleeper: subprocess.Popen[bytes]) -> None:
    tree = ProcessTree(sleeper.pid)
    subprocess.run(spin(0.2), check=True)
    assert tree.cpu_ns() < 0.02e9


def test_a_process_that_ended_is_a_lost_meter(sleeper: subprocess.Popen[bytes]) -> None:
    meter = ModelledMeter()
    meter.open(sleeper.pid)
    meter.read()
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(MeterLost, match=f"process {sleeper.pid}"):
        meter.read()
    with pytest.raises(MeterLost, match=f"process {sleeper.pid}"):
        meter.open(sleeper.pid)


def test_modelled_says_what_it_is_and_how_unsure_with_its_sources() -> None:
    found = ModelledMeter().probe()
    assert not isinstance(found, Unavailable)
    (domain,) = found
    assert (domain.grade, domain.kind, domain.id) == ("modelled", "package", "modelled:cpu")
    assert domain.rel_u >= 0.3
    assert "2509.22092" in domain.source
    assert "Davy" in domain.source


def test_a_known_cpu_on_bare_metal_shares_its_rated_power_among_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpumodel, "is_virtual_machine", lambda: False)
    monkeypatch.setattr(cpumodel, "cpu_name", lambda: "AMD Ryzen 7 5800X 8-Core Processor")
    monkeypatch.setattr(cpumodel, "_count_sockets", lambda: 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    power = model_cpu_power()
    assert power.busy_w == pytest.approx(1.02 * 105 / 16)
    assert power.idle_w == pytest.approx(0.12 * 105 / 16)
    assert (power.rel_u_scale**2 + power.rel_u_workload**2) ** 0.5 == pytest.approx(0.3)
    assert "AMD Ryzen 7 5800X" in power.source


@pytest.mark.parametrize(
    ("name", "virtual"), [("AMD Ryzen 7 5800X", True), ("AMD EPYC", True), ("A CPU of next year", False), ("", False)]
)
def test_an_unknown_cpu_and_a_virtual_one_have_a_stated_default_and_more_doubt(
    monkeypatch: pytest.MonkeyPatch, name: str, virtual: bool
) -> None:
    monkeypatch.setattr(cpumodel, "is_virtual_machine", lambda: virtual)
    monkeypatch.setattr(cpumodel, "cpu_name", lambda: name)
    power = model_cpu_power()
    assert power.busy_w == pytest.approx(1.02 * 4)
    assert (power.rel_u_scale**2 + power.rel_u_workload**2) ** 0.5 == pytest.approx(0.5)
    assert "4 W default" in power.source


@pytest.mark.parametrize(
    ("told", "listed"),
    [
        ("Intel(R) Xeon(R) Gold 6134 CPU @ 3.20GHz", "Intel Xeon Gold 6134"),
        ("12th Gen Intel(R) Core(TM) i7-12700K", "Intel Core i7-12700K"),
        ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763"),
        ("Apple M2 Pro", "Apple M2 Pro"),
    ],
)
def test_names_as_cpus_tell_them_are_found_in_the_table(told: str, listed: str) -> None:
    assert cpumodel._plain(told) == cpumodel._plain(listed)
    assert cpumodel._table()[cpumodel._plain(told)] > 0


def test_the_table_is_read_without_running_its_package() -> None:
    script = (
        "import sys; from joulemark.meters.cpumodel import _table\n"
        "assert len(_table()) > 1000; print('codecarbon' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_container_s_quota_limits_the_threads_granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cpumodel._quota_of(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpumodel._quota_of(tmp_path) == float("inf")
    monkeypatch.setattr(cpumodel, "_cgroup_quota", lambda _: 0.5)
    assert granted_threads(os.getpid()) == 0.5
