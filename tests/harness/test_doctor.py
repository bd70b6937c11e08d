"""``joulemark doctor``: what it says of machines whose power is known, read as its user would."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from loopback import Drawn, Loopback, steady
from machines import FakePowercap, FakeZone, PowerDriver
from plugs import ShellyPlug, TasmotaPlug

from joulemark.harness.alone import measuring_alone
from joulemark.harness.doctor import LONG_S, _idle_windows

from .conftest import Joulemark, call

TESTS = Path(__file__).parents[1]
QUICK = "update_s=0.04,interval_s=0.02"
"""A plug that is renewed 25 times a second: windows of 2 s."""
BRISKLY = """
from joulemark.harness import crosscheck, doctor
from joulemark.harness.cli import main

doctor.IDLE_WINDOWS, doctor.IDLE_WINDOW_S, doctor.IDLE_TICKS = doctor.LEAST_WINDOWS, 0.2, doctor.LEAST_IDLE_TICKS
crosscheck.SETTLE_S, crosscheck.LEAST_S = 0.3, 2.0
main()
"""
"""The whole program with shorter windows, for tests that ask what it makes of them."""
UNKNOWN = "192.0.2.7"


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """These machines are made up, so whoever measures the real one meanwhile is in nobody's way: a lock of our own."""
    folder = tmp_path_factory.mktemp("lock")
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def package(powercap: FakePowercap) -> Iterator[FakeZone]:
    """The package of a machine that draws 100 W in it, half of that in its cores."""
    zone, core = powercap.add("intel-rapl:0", "package-0"), powercap.add("intel-rapl:0:0", "core")
    with PowerDriver({zone: 1.0, core: 0.5}, steady(100)):
        yield zone


@contextlib.contextmanager
def plug(watts: float, make: Callable[[Drawn], Any] = ShellyPlug) -> Iterator[Loopback]:
    with Loopback(make(Drawn(steady(watts)))) as server:
        yield server


def tasmota(drawn: Drawn) -> TasmotaPlug:
    return TasmotaPlug(drawn, watt_decimals=1)


def brisk(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BRISKLY, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def by_id(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {meter["id"]: meter for meter in found["meters"]}


def words(text: str) -> str:
    """Without line ends, which fall where the terminal ends."""
    return " ".join(text.split())


# What it says


@pytest.mark.usefixtures("package")
def test_a_machine_that_draws_100_watts_is_told_so_with_steps_spread_and_the_errors_to_expect() -> None:
    done = call("doctor", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == "joulemark.doctor/1"
    package = by_id(found)["rapl:package-0"]
    assert (package["available"], package["grade"], package["scope"], package["summed"]) == (
        True, "counter", "package", True,
    )  # fmt: skip
    assert package["resolution_j"] == pytest.approx(61e-6, rel=0.01)
    assert 0.004 < package["update_s"] < 0.03
    assert not by_id(found)["rapl:core-0"]["summed"]
    best, idle = found["best"], found["idle"]
    assert (best["grade"], best["scope"], best["meters"]) == ("counter", "package", ["rapl:package-0"])
    assert idle["power_w"] == pytest.approx(100, rel=0.01)
    assert 0 <= idle["spread_w"] < 2
    assert idle["duration_s"] == pytest.approx(3, abs=0.5)
    one, ten, sixty = (idle["window_error"][length] for length in ("1", "10", "60"))
    assert 0 < one < 0.05
    assert (one / ten, one / sixty) == (pytest.approx(10), pytest.approx(60))
    assert {"cpu_busy_percent", "governor", "virtualised"} <= found["noise"].keys()


@pytest.mark.usefixtures("package")
def test_it_reads_well_on_a_terminal_of_80_columns() -> None:
    done = call("doctor", COLUMNS="80")
    lines = done.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) <= 40
    assert lines[0].startswith("Works here")
    text = words(done.stdout)
    assert "rapl:package-0 counter package 61 µJ" in text
    assert "joulemark run will use rapl:package-0 (grade counter, scope package), in windows of at least 1 s." in text
    assert "Idle power: 100 W, spread " in text
    assert "--preset quick" not in text, "a run with such a meter is soon done"
    assert done.stderr.splitlines()[0] == "Looking at the meters ..."


def test_counters_that_only_root_may_read_come_with_the_command_and_the_rule_that_open_them(open_to_all: Path) -> None:
    tree = FakePowercap(open_to_all / "sys")
    tree.add("intel-rapl:0", "package-0").file.chmod(0o400)
    script = (
        "import contextlib, io, os, sys\n"
        "from joulemark.harness import crosscheck, doctor\n"
        "from joulemark.harness.cli import cli, main\n"
        "with contextlib.redirect_stdout(io.StringIO()):  # loads what other users may not be allowed to\n"
        "    cli.main(['meters'], standalone_mode=False)\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "else: os.chmod(os.environ['JOULEMARK_SYSFS'] + '/class/powercap/intel-rapl:0/energy_uj', 0)\n"
        "doctor.IDLE_WINDOWS = doctor.LEAST_WINDOWS\n"
        "sys.argv[1:] = ['doctor', '--json']\n"
        "main()\n"
    )
    env = os.environ | {"JOULEMARK_SYSFS": str(tree.sysfs)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=env, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rapl = by_id(found)["rapl"]
    assert not rapl["available"]
    assert "CVE-2020-8694" in rapl["reason"]
    assert f"sudo chmod a+r {tree.root}/*/energy_uj" in rapl["fix"]
    assert 'SUBSYSTEM=="powercap"' in rapl["fix"]
    assert found["best"]["grade"] == "modelled"


def test_a_counter_that_stands_still_is_told_and_no_meter_is_recommended(powercap: FakePowercap) -> None:
    powercap.add("intel-rapl:0", "package-0")
    done = call("doctor")
    assert done.returncode == 1
    text = words(done.stdout)
    assert "Nothing here can measure: rapl:package-0 stood still for" in text
    assert "see joulemark doctor" not in text
    assert "will use" not in text


def test_gpus_are_named_for_the_models_that_run_on_them(tmp_path: Path, powercap: FakePowercap) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    source = TESTS / "meters" / "fake_nvml.c"
    made = [compiler, "-shared", "-fPIC", "-o", str(tmp_path / "libnvidia-ml.so.1"), str(source), "-lm"]
    subprocess.run(made, check=True, timeout=60)
    gpus = {"LD_LIBRARY_PATH": str(tmp_path), "FAKE_GPUS": "300", "JOULEMARK_SYSFS": str(powercap.sysfs)}
    found = json.loads(brisk("doctor", "--json", **gpus).stdout)
    assert found["best"]["meters"] == ["modelled:cpu"]
    assert found["best_gpu"]["meters"] == ["nvml:gpu-0"]
    assert found["best_gpu"]["min_window_s"] == 10


@pytest.mark.parametrize("slowest_s", [0.0, 0.001, 0.1, 1.0, 4.0, 15.0, 30.0])
def test_the_idle_power_of_a_slow_source_takes_a_while_and_no_more(slowest_s: float) -> None:
    window_s, count = _idle_windows(slowest_s)
    assert 3 <= count <= 6
    assert window_s >= 0.5
    assert window_s >= 2 * slowest_s
    assert count * window_s <= max(LONG_S, 6 * slowest_s)


# Meters that the user names


@pytest.mark.usefixtures("package")
def test_a_plug_is_told_with_its_device_its_power_and_how_long_its_windows_make_a_run() -> None:
    with plug(150) as server:
        done = brisk("doctor", "--meter", f"desk=shelly:host={server.host},update_s=0.4,interval_s=0.1")
    assert done.returncode == 0
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    text = words(done.stdout)
    assert "desk:plug wall wall 40 mJ 400 ms ±3.4 %" in text
    assert "desk:plug is Shelly PlusPlugS SNPL-00112EU" in text
    assert "run with this --meter will use desk:plug (grade wall, scope wall), in windows of at least 20 s." in text
    assert "the 189 cells of --preset quick at least 1 h 03 min" in text
    assert "Idle power: 150 W, spread below 0.01 W" in text
    assert "1 s is too short" in text


@pytest.mark.usefixtures("package")
def test_meters_that_cannot_be_added_up_are_told_and_the_best_of_them_is_looked_at() -> None:
    with plug(150) as server:
        both = ("--meter", "rapl", "--meter", f"desk=shelly:host={server.host},{QUICK}")
        done = brisk("doctor", *both, "--json")
        assert done.returncode == 0
        found = json.loads(done.stdout)
        assert found["best"]["meters"] == ["desk:plug"]
        assert found["idle"]["power_w"] == pytest.approx(150, rel=0.01)
        assert "count joules twice" in found["apart"]
        text = words(brisk("doctor", *both).stdout)
    assert "Not together: desk:plug overlaps" in text
    assert "joulemark run with one of them alone will use desk:plug" in text


def test_domains_that_only_together_see_what_computes_are_a_total(powercap: FakePowercap) -> None:
    package, dram = powercap.add("intel-rapl:0", "package-0"), powercap.add("intel-rapl:0:0", "dram")
    with PowerDriver({package: 1.0, dram: 0.1}, steady(100)):
        found = json.loads(brisk("doctor", "--meter", "rapl:dram-0", "--meter", "rapl:package-0", "--json").stdout)
    assert (found["best"]["scope"], found["apart"]) == ("package+dram", None)
    assert found["idle"]["power_w"] == pytest.approx(110, rel=0.03)


def test_a_plug_that_does_not_answer_is_told_with_exit_code_1(powercap: FakePowercap) -> None:
    powercap.add("intel-rapl:0", "package-0")
    with plug(150) as server:
        host = server.host
    done = call("doctor", "--meter", f"desk=shelly:host={host},timeout_s=0.3", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["best"] is found["idle"] is None
    desk = by_id(found)["desk"]
    assert not desk["available"]
    assert "does not answer" in desk["reason"]
    assert desk["fix"]
    assert "What was named cannot measure" in words(call("doctor", "--meter", f"desk=shelly:host={host}").stdout)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("command", ["doctor", "meters"])
@pytest.mark.parametrize(
    ("meter", "message"),
    [
        ("rappel", "no meter is called 'rappel'"),
        (f"desk=shelley:host={UNKNOWN}", "no kind of meter 'shelley'; did you mean 'shelly'?"),
        (f"desk=shelly:hots={UNKNOWN}", "shelly has no 'hots'; did you mean 'host'?"),
        ("desk=shelly:channel=0", "shelly needs host="),
        (f"desk=shelly:host={UNKNOWN},update_s=soon", "update_s=soon: it is a number of seconds above 0"),
        (f"desk=shelly:host={UNKNOWN},password_env=JM_NO_SUCH", "there is no such environment variable"),
        ("desk=shelly", "shelly needs host="),
        ("=shelly:host=x", "a meter's name is a letter"),
    ],
)
def test_a_wrong_meter_is_told_in_one_line_with_exit_code_2(
    joulemark: Joulemark, command: str, meter: str, message: str
) -> None:
    done = joulemark(command, "--meter", meter)
    assert done.returncode == 2
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("joulemark: ")
    assert message in last


@pytest.mark.usefixtures("package")
def test_a_domain_that_is_not_there_is_told_with_exit_code_2() -> None:
    done = call("doctor", "--meter", "rapl:dram-7")
    assert done.returncode == 2
    assert "rapl has no domain 'rapl:dram-7' here; it has rapl:package-0" in done.stderr.splitlines()[-1]


@pytest.mark.usefixtures("package")
def test_meters_lists_what_was_named_beside_what_is_there_by_itself() -> None:
    with plug(150) as server:
        done = call("meters", "--meter", f"desk=shelly:host={server.host},{QUICK}", "--json")
    listed = by_id(json.loads(done.stdout))
    assert listed["desk:plug"]["grade"] == "wall"
    assert "SNPL-00112EU" in listed["desk:plug"]["provenance"]
    assert listed["rapl:package-0"]["available"]


# The check with a known load


def checked(*arguments: str, code: int) -> dict[str, Any]:
    done = brisk("doctor", "--check", "--json", *arguments)
    assert done.returncode == code, done.stderr
    check: dict[str, Any] = json.loads(done.stdout)["check"]
    return check


def pair(check: dict[str, Any], first: str, second: str) -> dict[str, Any]:
    [found] = [pair for pair in check["pairs"] if (pair["first"], pair["second"]) == (first, second)]
    return found


@pytest.mark.usefixtures("package")
def test_a_plug_that_sees_more_than_the_package_inside_it_agrees_and_the_load_is_gone_afterwards() -> None:
    with plug(150) as server:
        process, load = begin_check("--meter", f"desk=shelly:host={server.host},{QUICK}")
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert not psutil.wait_procs(load, timeout=10)[1]
    check = json.loads(said)["check"]
    seen = {row["meter"]: row["power_w"] for row in check["seen"]}
    assert seen["rapl"] == pytest.approx(100, rel=0.02)
    assert seen["desk"] == pytest.approx(150, rel=0.02)
    held = pair(check, "desk", "rapl")
    assert held["scope"] == "wall holds package"
    assert held["ratio"] == pytest.approx(1.5, rel=0.03)
    assert held["low"] < held["ratio"] < held["high"]
    assert held["agree"]
    assert check["agree"]
    assert check["lost"] == []


@pytest.mark.usefixtures("package")
def test_a_plug_that_sees_less_than_the_package_inside_it_differs_and_the_check_fails() -> None:
    with plug(60) as server:
        done = brisk("doctor", "--check", "--meter", f"desk=shelly:host={server.host},{QUICK}")
    assert done.returncode == 1
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    text = words(done.stdout)
    assert "desk : rapl wall holds package 0.6" in text
    assert "DIFFER" in text
    assert "desk says less than rapl, whose power it contains" in text


@pytest.mark.usefixtures("package")
def test_two_plugs_that_may_see_a_power_supply_each_are_unclear_and_together_hold_the_package() -> None:
    with plug(80) as left, plug(55, tasmota) as right:
        made = [f"left=shelly:host={left.host},{QUICK}", f"right=tasmota:host={right.host},{QUICK}"]
        done = brisk("doctor", "--check", "--meter", made[0], "--meter", made[1])
    assert done.returncode == 0
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    text = words(done.stdout)
    assert re.search(r"left : right wall 1\.4\d [^a-z]*to [^a-z]*unclear", text)
    assert re.search(r"left\+right : rapl wall holds (package )?1\.3\d [^a-z]*to [^a-z]*no contradiction", text)
    assert "right where each feeds a power supply of its own" in text


def begin_check(*arguments: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """The check when its load runs, and the processes of that load."""
    process = subprocess.Popen(
        [sys.executable, "-c", BRISKLY, "doctor", "--check", "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell makes what it starts in the background ignore Ctrl-C, the tests and this process perhaps as well.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Running a known load"):
            break
    load = psutil.Process(process.pid).children(recursive=True)
    assert len(load) >= 2, "one that starts, and at least one that is busy"
    return process, load


def test_meters_that_are_lost_midway_are_told_and_the_check_fails_without_them(powercap: FakePowercap) -> None:
    zone = powercap.add("intel-rapl:0", "package-0")
    with plug(150) as server, plug(80) as steady_on, PowerDriver({zone: 1.0}, steady(100)) as driver:
        lost_one = f"desk=shelly:host={server.host},{QUICK},patience_s=0.5,timeout_s=0.3"
        process, _ = begin_check("--meter", lost_one, "--meter", f"other=shelly:host={steady_on.host},{QUICK}")
        server.fault = "hangs"
        driver.__exit__()
        shutil.rmtree(zone.folder)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    check = json.loads(said)["check"]
    lost = {row["meter"]: row["reason"] for row in check["lost"]}
    assert lost.keys() == {"desk", "rapl"}
    assert "gave nothing usable" in lost["desk"]
    assert "is gone" in lost["rapl"]
    assert {row["meter"] for row in check["seen"]} == {"other", "modelled"}
    assert all(pair["agree"] for pair in check["pairs"])
    assert not check["agree"]


@pytest.mark.usefixtures("powercap")
def test_where_one_meter_works_there_is_nothing_to_compare_and_that_is_said() -> None:
    done = brisk("doctor", "--check")
    assert done.returncode == 3
    text = words(done.stdout)
    assert "modelled saw" in text
    assert "No two meters here see the same thing" in text


@pytest.mark.usefixtures("powercap")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_load_is_gone_however_the_check_is_ended(number: signal.Signals) -> None:
    process, load = begin_check()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert not psutil.wait_procs(load, timeout=10)[1]


@pytest.mark.usefixtures("powercap")
def test_a_load_that_ends_midway_takes_its_busy_processes_along_and_the_check_fails() -> None:
    process, load = begin_check()
    [starter] = [one for one in load if one.ppid() == process.pid]
    starter.kill()
    assert not psutil.wait_procs([one for one in load if one != starter], timeout=10)[1]
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ended midway" in json.loads(said)["check"]["problem"]


@pytest.mark.usefixtures("package")
def test_the_load_is_not_put_into_the_figures_of_a_run_that_is_measuring(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(alone))
    with measuring_alone():
        done = brisk("doctor", "--check")
    assert done.returncode == 1
    text = words(done.stdout)
    assert re.search(r"Idle power: (9\d(\.\d)?|10\d) W", text)
    assert "The check could not be made: another joulemark is measuring" in text


IN_NAMESPACE = """
set -e
mount -t tmpfs none /sys/class
exec "$0" - "$@" <<'SCRIPT'
import os, subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from loopback import steady
from machines import FakePowercap, PowerDriver

os.environ.pop("JOULEMARK_SYSFS", None)
tree = FakePowercap(Path("/sys"))
package = tree.add("intel-rapl/intel-rapl:0", "package-0")
(tree.root / "intel-rapl:0").symlink_to(package.folder)
(tree.root / "intel-rapl" / "subsystem").symlink_to(tree.root)
with PowerDriver({package: 1.0}, steady(100)):
    command = [sys.executable, "-c", sys.argv[2], "doctor", "--check", "--json"]
    sys.exit(subprocess.run(command, check=False).returncode)
SCRIPT
"""


def test_codecarbon_reads_the_same_counters_and_agrees_to_within_a_few_percent() -> None:
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("this user may not make mount namespaces")
    command = ["unshare", "-m", "sh", "-c", IN_NAMESPACE, sys.executable, str(TESTS), BRISKLY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    check = json.loads(done.stdout)["check"]
    assert check["notes"] == []
    both = pair(check, "rapl", "codecarbon")
    assert both["agree"]
    assert both["high"] / both["low"] < 1.3, "their one counter's calibration explains no difference between them"
