"""Sustained load on real models: what is measured, what ends it early, and what is kept."""

import json
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from machines import FakePowercap, PowerDriver

from joulemark.harness.soak import window_length_s
from joulemark.harness.store import read_run
from joulemark.meters.types import Domain

from .conftest import COMMAND, Joulemark, call
from .test_run import wait_for

NGRAM = ("soak", "ref/ngram", "--limit", "20", "--meter", "modelled")


def domain(kind: str, update_s: float) -> Domain:
    return Domain(
        id="x:y", kind=kind, grade="counter", resolution_j=1e-6, update_s=update_s, range_j=None, rel_u_scale=0.01,
        rel_u_workload=0.0, source="", provenance="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("minutes", "kind", "update_s", "seconds"),
    [(30, "package", 0.001, 10), (2, "package", 0.001, 2), (0.1, "package", 0.001, 1), (2, "gpu", 0.1, 10),
     (600, "package", 0.001, 36), (30, "wall", 1.0, 50)],
)  # fmt: skip
def test_windows_are_10_seconds_or_what_the_time_and_the_meter_make_of_it(
    minutes: float, kind: str, update_s: float, seconds: float
) -> None:
    assert window_length_s(minutes, [domain(kind, update_s)]) == seconds


def test_a_soak_is_a_run_of_many_windows_and_one_json_object(joulemark: Joulemark, tmp_path: Path) -> None:
    path = tmp_path / "soak"
    done = joulemark(*NGRAM, "--minutes", "0.1", "--out", path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    run = read_run(path)
    assert found["schema"] == "joulemark.soak/1"
    assert found["run_id"] == run.header.run_id
    assert run.header.plan["soak"] == {"minutes": 0.1, "window_s": 0.5}
    assert [cell.repeat for cell in run.cells] == list(range(1, len(found["windows"]) + 1))
    assert 2 <= len(run.cells) <= 12
    assert found["lasted_s"] >= 0.5 * len(run.cells)
    for window, cell in zip(found["windows"], run.cells, strict=True):
        assert cell.energy is not None
        assert cell.energy.gross_j is not None
        assert window["items"] == 20 * cell.energy.loops
        assert window["energy_j_per_item"] * window["items"] == pytest.approx(cell.energy.gross_j)
        assert window["window_s"] >= 0.5
    times = [window["t_s"] for window in found["windows"]]
    assert times == sorted(times)
    assert {file.name for file in (path / "report").iterdir()} == {"soak.json", "soak.png", "soak.svg"}
    # It is a run like any other to read, and none to go on with: the machine has cooled down.
    assert json.loads(joulemark("rank", path, "--json").stdout)["views"][0]["rows"][0]["repeats"] == len(run.cells)
    assert joulemark("run", "--resume", path).returncode == 2
    assert len(read_run(path).cells) == len(run.cells)


def begin(path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *NGRAM, "--minutes", "1", "--out", str(path), *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A shell makes what it starts in the background ignore Ctrl-C, the tests and this process perhaps as well.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_soak_that_is_stopped_sums_up_what_is_there(tmp_path: Path, number: signal.Signals) -> None:
    process = begin(tmp_path / "soak", "--json")
    wait_for(tmp_path / "soak", 2, process)
    children = psutil.Process(process.pid).children()
    process.send_signal(number)
    out, told = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "stopped after 0." in told.decode().splitlines()[-1]
    assert "of 1 min;" in told.decode().splitlines()[-1]
    assert len(json.loads(out)["windows"]) == len(read_run(tmp_path / "soak").cells) >= 2
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_a_soak_that_was_killed_can_be_summed_up(joulemark: Joulemark, tmp_path: Path) -> None:
    process = begin(tmp_path / "soak")
    wait_for(tmp_path / "soak", 2, process)
    process.kill()
    process.communicate(timeout=30)
    done = joulemark("soak", "--summarise", tmp_path / "soak")
    assert done.returncode == 0, done.stderr
    assert "Too short to tell a drift" in done.stdout
    assert "Unfinished" not in joulemark("rank", tmp_path / "soak").stdout


def test_a_window_whose_model_dies_fails_and_the_load_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "soak"
    process = begin(path, "--json")
    wait_for(path, 1, process)
    [worker] = psutil.Process(process.pid).children()
    worker.kill()
    wait_for(path, 4, process)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    found = json.loads(out)
    assert found["failed"] == 1
    assert len(found["windows"]) == len(read_run(path).cells) - 1


def test_a_model_that_cannot_be_loaded_ends_it_at_once(joulemark: Joulemark, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = joulemark("soak", f"no=hf:pretrained={tmp_path}/empty", "--minutes", "60", "--out", tmp_path / "soak")
    assert done.returncode == 5
    assert "no window was measured" in done.stderr.splitlines()[-1]
    assert "could not be loaded" in done.stderr.splitlines()[-1]


def test_power_that_rises_is_seen_to_rise_beside_the_temperature_and_the_clock(
    powercap: FakePowercap, tmp_path: Path
) -> None:
    package = powercap.add("intel-rapl:0", "package-0")
    heat = powercap.sysfs / "class" / "thermal" / "thermal_zone0"
    clock = powercap.sysfs / "devices" / "system" / "cpu" / "cpu0" / "cpufreq"
    for folder, files in ((heat, {"type": "x86_pkg_temp", "temp": "61000"}), (clock, {"scaling_cur_freq": "3400000"})):
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text + "\n")
    # 50 W, and 1 W more each second: over the seconds from start to end far more than chance would do.
    with PowerDriver({package: 1.0}, lambda t: 50.0 * t + 0.5 * t * t):
        arguments = ("soak", "ref/ngram", "--minutes", "0.4", "--limit", "20", "--out", tmp_path / "soak", "--json")
        done = call(*arguments, JOULEMARK_SYSFS=str(powercap.sysfs))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["grade"], found["scope"]) == ("counter", "package")
    assert all(window["window_s"] >= 1.0 for window in found["windows"])
    assert {(window["temperature_c"], window["clock_mhz"]) for window in found["windows"]} == {(61.0, 3400.0)}
    assert found["drift"]["power"]["direction"] == "rising"
    first, last = found["windows"][0], found["windows"][-1]
    assert last["power_w"] - first["power_w"] == pytest.approx(last["t_s"] - first["t_s"], rel=0.05)
    [trace, *_] = (tmp_path / "soak" / "power").iterdir()
    assert trace.suffix == ".parquet"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a model and how long"),
        (("ref/ngram",), "name a model and how long"),
        (("ref/ngram", "--minutes", "0"), "--minutes"),
        (("ref/ngramm", "--minutes", "1"), "did you mean ref/ngram"),
        (("gone=hf:pretrained=./nowhere", "--minutes", "1"), "there is no folder './nowhere'"),
        (("ref/ngram", "--summarise", "."), "give no model"),
        (("--summarise", "."), "is not a run directory"),
    ],
)
def test_a_wrong_word_is_told_with_exit_code_2(
    joulemark: Joulemark, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = joulemark("soak", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
