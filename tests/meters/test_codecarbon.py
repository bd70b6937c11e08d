"""codecarbon as a second opinion: right where it measures, told apart where it does not, and never in the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from joulemark.meters import codecarbon
from joulemark.meters.codecarbon import CrossCheck, SecondOpinion
from joulemark.meters.errors import MeasuringFailed

TESTS = Path(__file__).parents[1]

IN_NAMESPACE = """
set -e
mount -t tmpfs none /sys/class
exec "$0" - "$1" "$2" <<'SCRIPT'
import json, os, sys, time
from dataclasses import asdict
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from machines import FakePowercap, PowerDriver, wave
from joulemark.meters.codecarbon import SecondOpinion
from joulemark.meters.rapl import RaplMeter
from joulemark.meters.window import Recorder

os.environ.pop("JOULEMARK_SYSFS", None)
tree = FakePowercap(Path("/sys"))
for socket in (0, 1):
    tree.add(f"intel-rapl/intel-rapl:{socket}", f"package-{socket}")
    tree.add(f"intel-rapl/intel-rapl:{socket}/intel-rapl:{socket}:0", "dram")
    (tree.root / f"intel-rapl:{socket}").symlink_to(tree.root / f"intel-rapl/intel-rapl:{socket}")
(tree.root / "intel-rapl" / "subsystem").symlink_to(tree.root)
shares = {tree[f"intel-rapl:{zone}"]: share for zone, share in {"0": 1.0, "1": 0.5, "0:0": 0.1, "1:0": 0.1}.items()}
with PowerDriver(shares, wave()) as driver, SecondOpinion() as opinion:
    meter = RaplMeter()
    domains = meter.probe()
    with Recorder([meter], domains, os.getpid()) as recorder:
        opinion.start()
        recorder.start()
        time.sleep(1.5)
        if sys.argv[2] == "lose":
            folder = tree["intel-rapl:1"].folder
            folder.rename(folder.parent / "gone")
            check = opinion.stop()
            ours_w = 0.0
        else:
            record = recorder.stop()
            check = opinion.stop()
            ours_w = sum(record.domains[f"rapl:package-{socket}"] for socket in (0, 1)) / record.window_s
print(json.dumps({"check": asdict(check), "cpu_w": check.cpu_w, "ours_w": ours_w}))
SCRIPT
"""


def in_namespace(what: str) -> dict[str, Any]:
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("this user may not make mount namespaces")
    command = ["unshare", "-m", "sh", "-c", IN_NAMESPACE, sys.executable, str(TESTS), what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def idling(tmp_path_factory: pytest.TempPathFactory) -> tuple[CrossCheck, Path]:
    """A check made where a user's configuration lies in every place that codecarbon looks at; and the home."""
    home = tmp_path_factory.mktemp("home")
    (home / ".codecarbon.config").write_text(
        "[codecarbon]\nforce_cpu_power=9000\npue=5000\noutput_methods=csv\noutput_dir=.\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("CODECARBON_FORCE_CPU_POWER", "9000")
        patch.setenv("codecarbon_pue", "5000")
        patch.chdir(home)
        with SecondOpinion() as opinion:
            opinion.start()
            time.sleep(1.0)
            return opinion.stop(), home


def test_it_tells_of_the_same_seconds(idling: tuple[CrossCheck, Path]) -> None:
    check, _ = idling
    assert 1.0 <= check.seconds < 2.0
    assert check.u_edge_s < 0.3


def test_what_is_estimated_is_called_so_and_is_no_power_to_compare_with(
    idling: tuple[CrossCheck, Path],
) -> None:
    check, _ = idling
    assert check.cpu is not None
    if check.cpu.measured:
        assert check.cpu.how.startswith("RAPL")
        assert check.cpu_w is not None
    else:
        assert "rated" in check.cpu.how
        assert check.cpu_w is None


def test_no_configuration_of_the_users_takes_part(idling: tuple[CrossCheck, Path]) -> None:
    check, home = idling
    assert check.cpu is not None
    assert check.cpu.joules is not None
    assert 0 < check.cpu.joules / check.seconds < 2000
    assert sorted(path.name for path in home.iterdir()) == [".codecarbon.config"]


def test_where_it_reads_rapl_it_agrees_with_ours() -> None:
    found = in_namespace("keep")
    assert found["check"]["cpu"]["how"] == "RAPL: package-0, package-1"
    # Two windows a few milliseconds apart on a power that swings by half.
    assert found["cpu_w"] == pytest.approx(found["ours_w"], rel=0.05)


def test_a_counter_that_it_loses_midway_leaves_no_figure() -> None:
    """Its own tracker goes on, and gives what the others had."""
    cpu = in_namespace("lose")["check"]["cpu"]
    assert cpu["joules"] is None
    assert "lost meanwhile" in cpu["how"]


def test_one_that_hangs_is_given_up_and_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecarbon, "ANSWER_S", 0.5)
    with SecondOpinion() as opinion:
        [process] = [p for p in psutil.Process().children() if "joulemark.meters.codecarbon" in p.cmdline()]
        opinion.start()
        process.suspend()
        began = time.monotonic()
        with pytest.raises(MeasuringFailed, match=r"no answer within 0\.5 s"):
            opinion.stop()
        assert time.monotonic() - began < 5
    assert not psutil.pid_exists(process.pid)


def test_one_that_does_not_load_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "codecarbon.py").write_text("raise ImportError('this codecarbon is broken')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MeasuringFailed, match="this codecarbon is broken"), SecondOpinion():
        pass
    assert os.environ.get("PYTHONPATH", "").count(str(tmp_path)) == 0
