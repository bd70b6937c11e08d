"""Whole runs by meters that the user names: plugs on a real network, that fall silent and come back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from loopback import Drawn, Loopback, steady
from machines import FakePowercap, PowerDriver, wave
from plugs import ShellyPlug, TasmotaPlug

from joulemark.harness.progress import Shown
from joulemark.harness.store import read_run
from joulemark.meters.registry import choose

from .conftest import COMMAND, Joulemark, call
from .test_run import lines, wait_for

CHOSEN = ("-m", "ref/ngram", "-t", "jm_units", "--limit", "10")
QUICK = "update_s=0.05,interval_s=0.02"
"""A plug that is renewed twenty times a second: windows of 2.5 s."""
PASSWORD = "hunter2-but-longer"


def test_a_run_by_a_plug_has_its_energy_its_grade_and_its_name_but_no_password(tmp_path: Path) -> None:
    path = tmp_path / "run"
    # It swings every 0.7 s, so that no window of some seconds is off its mean by more than a percent.
    with Loopback(ShellyPlug(Drawn(wave(80, 20)), password=PASSWORD)) as server:
        meter = f"desk=shelly:host={server.host},{QUICK},password_env=JM_PLUG"
        done = call("run", *CHOSEN, "--repeats", "2", "--meter", meter, "--out", path, JM_PLUG=PASSWORD)
    assert done.returncode == 0, done.stderr
    assert "Energy: wall (desk:plug), scope wall." in done.stderr
    run = read_run(path)
    assert [cell.status for cell in run.cells] == ["ok", "ok"]
    for cell in run.cells:
        energy = cell.energy
        assert energy is not None
        assert (energy.grade, energy.scope) == ("wall", "wall")
        assert energy.window_s >= 2.5
        assert 0 < energy.u_j < 0.02 * energy.gross_j
        assert abs(energy.gross_j - 80 * energy.window_s) < 1.96 * energy.u_j + 0.01 * energy.gross_j
        assert (path / "power" / f"{cell.cell_id}.parquet").is_file()
    assert run.header.idle.before_w == pytest.approx(80, rel=0.05)
    header = json.loads((path / "run.json").read_text())
    assert header["plan"]["meters"] == [meter]
    [listed] = header["meters"]
    assert (listed["id"], listed["grade"]) == ("desk:plug", "wall")
    assert "SNPL-00112EU" in listed["provenance"]
    for file in path.rglob("*"):
        assert file.is_dir() or PASSWORD.encode() not in file.read_bytes(), file
    assert PASSWORD not in done.stdout + done.stderr


def test_a_plug_that_falls_silent_fails_that_cell_and_resume_goes_on_when_it_is_back(
    joulemark: Joulemark, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    with Loopback(ShellyPlug(Drawn(steady(80)))) as server:
        meter = f"desk=shelly:host={server.host},{QUICK},patience_s=0.5,timeout_s=0.3"
        process = subprocess.Popen(
            [*COMMAND, "run", *CHOSEN, "--repeats", "2", "--meter", meter, "--out", str(path)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        wait_for(path, 1, process)
        server.fault = "hangs"
        _, told = process.communicate(timeout=60)
        assert process.returncode == 5
        last = told.decode().splitlines()[-1]
        assert any(why in last for why in ("desk gave nothing usable", "desk: http://"))
        assert f"run --resume {path}" in last
        first, second = read_run(path).cells
        assert (first.status, second.status, second.energy) == ("ok", "failed", None)
        kept = lines(path)

        silent = joulemark("run", "--resume", path)
        assert silent.returncode == 5
        assert "meter desk does not work here" in silent.stderr
        assert lines(path) == kept

        server.fault = None
        back = joulemark("run", "--resume", path)
    assert back.returncode == 0, back.stderr
    assert lines(path)[: len(kept)] == kept
    assert [(cell.status, cell.attempt) for cell in read_run(path).cells] == [("ok", 1), ("ok", 2)]


def test_counters_of_another_tree_than_sys_are_told_below_the_table(
    powercap: FakePowercap, joulemark: Joulemark, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    with PowerDriver({powercap.add("intel-rapl:0", "package-0"): 1.0}, steady(50)):
        done = joulemark("run", *CHOSEN, "--repeats", "1", "--meter", "rapl", "--out", path)
    assert done.returncode == 0, done.stderr
    told = " ".join(joulemark("rank", path, COLUMNS="300").stdout.split())
    assert f"(rapl:package-0; read under {powercap.sysfs} in place of /sys)" in told
    assert f"{powercap.sysfs}/class/powercap" in read_run(path).header.meters[0].provenance


def test_a_slow_meter_is_announced_with_the_windows_of_the_idle_power(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with Loopback(ShellyPlug(Drawn(steady(80)))) as server:
        choice = choose([f"desk=shelly:host={server.host},update_s=1"])
    with Shown() as progress:
        progress.begin(4, 0, choice)
        assert "windows of at least 50 s: at least 5 min in all" in capsys.readouterr().err
        # More repeats, as --precision asks for them: the idle power after them is still to come, the one before is not.
        progress.begin(6, 4, choice)
        assert "at least 3 min in all" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("meter", "message"),
    [
        ("desk=shelly:hots=192.0.2.7", "shelly has no 'hots'; did you mean 'host'?"),
        ("desk=shelley:host=192.0.2.7", "no kind of meter 'shelley'; did you mean 'shelly'?"),
        ("desk=shelly:host=192.0.2.7,interval_s=-1", "interval_s=-1: it is a number of seconds above 0"),
        ("desk=shelly:host=192.0.2.7,password_env=JM_NO_SUCH", "there is no such environment variable"),
    ],
)
def test_a_wrong_meter_is_told_before_any_model_is_loaded_and_no_folder_is_made(
    joulemark: Joulemark, tmp_path: Path, meter: str, message: str
) -> None:
    done = joulemark("run", *CHOSEN, "--meter", meter, cwd=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_plug_that_does_not_answer_is_told_before_any_model_is_loaded_and_no_folder_is_made(
    joulemark: Joulemark, tmp_path: Path
) -> None:
    with Loopback(ShellyPlug(Drawn(steady(80)))) as server:
        meter = f"desk=shelly:host={server.host},timeout_s=0.3"
    done = joulemark("run", *CHOSEN, "--meter", meter, cwd=tmp_path)
    assert done.returncode == 5
    [line] = done.stderr.splitlines()
    assert "meter desk does not work here" in line
    assert list(tmp_path.iterdir()) == []


def test_two_plugs_for_two_power_supplies_are_added_up(joulemark: Joulemark, tmp_path: Path) -> None:
    left, right = ShellyPlug(Drawn(steady(60))), TasmotaPlug(Drawn(steady(45)), watt_decimals=1)
    path = tmp_path / "run"
    with Loopback(left) as one, Loopback(right) as other:
        meters = (f"left=shelly:host={one.host},{QUICK}", f"right=tasmota:host={other.host},{QUICK}")
        done = joulemark(
            "run", *CHOSEN, "--repeats", "1", "--meter", meters[0], "--meter", meters[1], "--out", path
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = read_run(path)
    assert {meter.id for meter in run.header.meters if meter.summed} == {"left:plug", "right:plug"}
    for cell in run.cells:
        energy = cell.energy
        assert energy is not None
        assert (energy.grade, energy.scope) == ("wall", "wall")
        assert abs(energy.gross_j - 105 * energy.window_s) < 1.96 * energy.u_j
        assert energy.domains["left:plug"] == pytest.approx(60 * energy.window_s, rel=0.01)
        assert energy.domains["right:plug"] == pytest.approx(45 * energy.window_s, rel=0.01)
        # Both may be off by 1.7 % and 2.9 % in the same direction.
        assert energy.rel_u_scale == pytest.approx((60 * 0.03 + 45 * 0.05) / 3**0.5 / 105, rel=0.01)


def test_two_plugs_of_one_name_are_refused(joulemark: Joulemark, tmp_path: Path) -> None:
    meters = ("--meter", "desk=shelly:host=192.0.2.7", "--meter", "desk=shelly:host=192.0.2.8")
    done = joulemark("run", *CHOSEN, *meters, cwd=tmp_path)
    assert done.returncode == 2
    assert "two meters have one name" in done.stderr
    assert list(tmp_path.iterdir()) == []
