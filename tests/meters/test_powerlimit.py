"""Power caps through the real pynvml: set, refused, and always put back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .test_nvml import library, run

__all__ = ["library"]

SET = """
import os, pathlib, sys
from joulemark.meters.errors import JoulemarkError
from joulemark.meters.powerlimit import PowerLimits
caps = pathlib.Path(os.environ.get("FAKE_CAPS", "/nonexistent"))
try:
    limits = PowerLimits()
    limits.refuse_impossible(float(sys.argv[1]) if len(sys.argv) > 1 else 250)
    limits.set(250)
    limits.set(200)
except JoulemarkError as problem:
    print(type(problem).__name__, problem)
else:
    print([int(file.read_text()) for file in sorted(caps.iterdir())], flush=True)
    {then}
    limits.close()
    print([int(file.read_text()) for file in sorted(caps.iterdir())])
"""


@pytest.fixture
def caps(tmp_path: Path) -> Path:
    folder = tmp_path / "caps"
    folder.mkdir()
    return folder


def test_every_visible_gpu_is_capped_and_gets_its_own_cap_back(library: Path, caps: Path) -> None:
    (caps / "0").write_text("280000")
    said = run(SET.format(then=""), library, FAKE_GPUS="300 400", FAKE_CAPS=str(caps)).splitlines()
    assert said == ["[200000, 200000]", "[280000, 400000]"]


def test_a_gpu_that_is_not_visible_keeps_its_cap(library: Path, caps: Path) -> None:
    (caps / "1").write_text("390000")
    env = {"FAKE_GPUS": "300 300", "FAKE_CAPS": str(caps), "CUDA_VISIBLE_DEVICES": "0"}
    assert run(SET.format(then=""), library, **env).splitlines()[0] == "[200000, 390000]"


def test_caps_are_put_back_when_the_process_that_set_them_is_killed(library: Path, caps: Path) -> None:
    env = os.environ | {"LD_LIBRARY_PATH": str(library), "FAKE_GPUS": "300", "FAKE_CAPS": str(caps)}
    env.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-c", SET.format(then="import time; time.sleep(60)")]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "[200000]\n"
        process.send_signal(signal.SIGKILL)
    until = time.monotonic() + 10
    while (caps / "0").read_text() != "300000" and time.monotonic() < until:
        time.sleep(0.02)
    assert (caps / "0").read_text() == "300000"


def test_a_cap_that_a_gpu_cannot_take_is_told_with_its_range(library: Path, caps: Path) -> None:
    script = SET.format(then="").replace("sys.argv[1]) if len(sys.argv) > 1 else 250", "'90')")
    said = run(script, library, FAKE_GPUS="300", FAKE_CAPS=str(caps))
    assert "takes caps from 100 to 300 W" in said
    assert list(caps.iterdir()) == []


def test_who_may_not_set_caps_is_told_so(library: Path) -> None:
    assert "UsageError power caps: the driver lets root alone" in run(SET.format(then=""), library, FAKE_GPUS="300")


def test_without_a_gpu_there_is_no_cap(library: Path) -> None:
    assert "UsageError power caps: no NVIDIA driver answers" in run(SET.format(then=""), library)
