"""NVML: read through the real pynvml from a small library of our own, in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from joulemark.meters.nvidia import select_visible

UUIDS = ["GPU-aa11", "GPU-ab22", "GPU-bb33"]

PROBE = """
from joulemark.meters.nvml import NvmlMeter
from joulemark.meters.types import Unavailable
found = NvmlMeter().probe()
if isinstance(found, Unavailable):
    print("unavailable:", found.reason, "| fix:", found.fix)
else:
    for d in found:
        print(d.id, d.kind, d.grade, d.provenance, d.rel_u_scale, d.resolution_j, 0.015 < d.update_s < 0.06)
"""

MEASURE = """
import os, pathlib, time
from joulemark.meters.errors import MeterLost
from joulemark.meters.nvml import NvmlMeter
meter = NvmlMeter()
meter.open(0)
first = meter.read()
time.sleep(1.0)
second = meter.read()
seconds = (second.t_ns - first.t_ns) / 1e9
print({name: round((second.values[name] - first.values[name]) / seconds) // 10 for name in second.values})
for fault in ("FAKE_LOST", "FAKE_RESET"):
    pathlib.Path(os.environ[fault]).touch()
    try:
        meter.read()
    except MeterLost as error:
        print(error)
    pathlib.Path(os.environ[fault]).unlink()
meter.close()
meter.open(0)
print(meter.read().values["nvml:gpu-0"] < 100)
meter.close()
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the compiled library."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    command = [
        compiler,
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-o",
        str(folder / "libnvidia-ml.so.1"),
        str(source),
        "-lm",
    ]
    subprocess.run(command, check=True, timeout=60)
    return folder


def run(script: str, library: Path, **env: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CUDA_")}
    clean |= {"LD_LIBRARY_PATH": str(library)} | env
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=clean, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_gpu_is_a_domain_that_names_its_card(library: Path) -> None:
    assert run(PROBE, library, FAKE_GPUS="300 300").splitlines() == [
        "nvml:gpu-0 gpu counter Fake 300 W GPU-000000a0-0000 0.05 0.001 True",
        "nvml:gpu-1 gpu counter Fake 300 W GPU-000000a1-0000 0.05 0.001 True",
    ]


def test_joules_follow_the_counter_and_a_lost_gpu_or_driver_is_a_fault(library: Path, tmp_path: Path) -> None:
    faults = {"FAKE_LOST": str(tmp_path / "lost"), "FAKE_RESET": str(tmp_path / "reset")}
    watts, lost, reset, again = run(MEASURE, library, FAKE_GPUS="305 105", **faults).splitlines()
    assert watts in {f"{{'nvml:gpu-0': {a}, 'nvml:gpu-1': {b}}}" for a in (29, 30, 31) for b in (10, 11, 9)}
    assert "GPU 0 (Fake 305 W, GPU-000000a0-0000) is lost" in lost
    assert "went backwards" in reset
    assert again == "True"


def test_only_gpus_that_cuda_may_see_are_counted(library: Path) -> None:
    assert "nvml:gpu-1" in run(PROBE, library, FAKE_GPUS="300 300", CUDA_VISIBLE_DEVICES="1")
    assert "nvml:gpu-0" not in run(PROBE, library, FAKE_GPUS="300 300", CUDA_VISIBLE_DEVICES="GPU-000000a1")
    none = run(PROBE, library, FAKE_GPUS="300", CUDA_VISIBLE_DEVICES="")
    assert "leaves none of them visible" in none


def test_numbers_of_unlike_gpus_are_refused_where_they_could_mean_another_card(library: Path) -> None:
    mixed = {"FAKE_GPUS": "300 70", "CUDA_VISIBLE_DEVICES": "0"}
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in run(PROBE, library, **mixed)
    assert "nvml:gpu-0 gpu" in run(PROBE, library, **mixed, CUDA_DEVICE_ORDER="PCI_BUS_ID")


def test_a_split_gpu_is_refused_since_its_slices_have_no_counter(library: Path) -> None:
    assert "split by MIG" in run(PROBE, library, FAKE_GPUS="300/mig")
    assert "split by MIG" in run(PROBE, library, FAKE_GPUS="300", CUDA_VISIBLE_DEVICES="MIG-1234")


def test_a_card_without_the_counter_has_its_power_polled_instead(library: Path) -> None:
    text = run(PROBE, library, FAKE_GPUS="300 70/old")
    assert "GPU 1 (Fake 70 W, GPU-000000a1-0000) has no energy counter" in text
    assert "nvml-power adds up its power instead" in text
    script = (
        "from joulemark.meters.registry import choose\n"
        "choice = choose(device='cuda')\n"
        "print(choice.grade, choice.scope, [domain.id for domain in choice.summed])"
    )
    chosen = run(script, library, FAKE_GPUS="300 70/old")
    assert chosen.strip() == "polled gpu ['nvml-power:gpu-0', 'nvml-power:gpu-1']"
    assert run(script, library, FAKE_GPUS="300").strip() == "counter gpu ['nvml:gpu-0']"


WINDOWS = """
import os, time
from random import Random
from math import cos, pi
from joulemark.meters.registry import choose
from joulemark.meters.window import Recorder
omega = 2 * pi / 0.7
energy_j = lambda t: 300 * (t + 0.5 / omega * (1 - cos(omega * t)))
choice = choose([METER], device="cuda")
lengths = Random(1)
with Recorder(choice.meters, choice.domains, os.getpid()) as recorder:
    for _ in range(COUNT):
        recorder.start()
        time.sleep(lengths.uniform(0.25, 0.5))
        found = recorder.stop()
        began_s = found.began_ns / 1e9
        truth_j = energy_j(began_s + found.window_s) - energy_j(began_s)
        print(found.gross_j / truth_j - 1, abs(found.gross_j - truth_j) <= 1.96 * found.u_j)
"""


def test_ten_ticks_of_the_counter_are_enough_for_one_percent(library: Path) -> None:
    """A power that swings by half, a tick of 20 ms, windows of 12 to 25 ticks."""
    script = WINDOWS.replace("METER", "'nvml'").replace("COUNT", "8")
    lines = run(script, library, FAKE_GPUS="300", FAKE_SWING="0.5").splitlines()
    errors = [abs(float(line.split()[0])) for line in lines]
    assert len(errors) == 8
    # The machine that tests may be busy: one look may come late.
    assert sorted(errors)[-2] < 0.01
    assert sum(line.endswith("True") for line in lines) >= 6


@pytest.mark.parametrize(
    "card", [{"FAKE_GPUS": "300"}, {"FAKE_GPUS": "300/old"}, {"FAKE_GPUS": "300", "FAKE_AVERAGE": "1"}]
)
def test_polled_power_adds_up_to_the_energy_also_where_it_is_a_mean_of_the_last_second(
    library: Path, card: dict[str, str]
) -> None:
    """A power that rises or falls by up to 94 W a second, so that half a second's delay would be 16 % of it."""
    script = WINDOWS.replace("METER", "'nvml-power'").replace("COUNT", "3").replace("0.25, 0.5", "1.5, 2")
    script = script.replace("2 * pi / 0.7", "2 * pi / 10")
    lines = run(script, library, **card, FAKE_SWING="0.5", FAKE_PERIOD_MS="10000").splitlines()
    assert [line.split()[1] for line in lines] == ["True"] * 3
    assert all(abs(float(line.split()[0])) < 0.02 for line in lines)


def test_a_card_whose_counter_stands_still_is_polled_instead(library: Path, tmp_path: Path) -> None:
    (tmp_path / "frozen").write_text("1000")
    text = run(PROBE, library, FAKE_GPUS="300", FAKE_FROZEN=str(tmp_path / "frozen"))
    assert "stood still for 1.2 s" in text
    assert "nvml-power adds up its power instead" in text


def test_a_counter_that_freezes_is_a_fault(library: Path, tmp_path: Path) -> None:
    script = (
        "import os, pathlib, time\n"
        "from joulemark.meters.errors import MeterLost\n"
        "from joulemark.meters.registry import choose\n"
        "from joulemark.meters.window import Recorder\n"
        "choice = choose(device='cuda')\n"
        "with Recorder(choice.meters, choice.domains, os.getpid()) as recorder:\n"
        "    recorder.start()\n"
        "    time.sleep(0.2)\n"
        "    pathlib.Path(os.environ['FAKE_FROZEN']).write_text(str(time.monotonic() * 1e3))\n"
        "    try:\n"
        "        recorder.stop()\n"
        "    except MeterLost as error:\n"
        "        print(error)\n"
    )
    text = run(script, library, FAKE_GPUS="300", FAKE_FROZEN=str(tmp_path / "frozen"))
    assert "nvml:gpu-0 stood still" in text


def test_clock_temperature_cap_and_what_slows_a_card_down_are_told_at_both_ends(library: Path, tmp_path: Path) -> None:
    script = (
        "import os, pathlib, time\n"
        "from joulemark.meters.conditions import slowed_down\n"
        "from joulemark.meters.registry import choose\n"
        "from joulemark.meters.window import Recorder\n"
        "choice = choose(device='cuda')\n"
        "with Recorder(choice.meters, choice.domains, os.getpid()) as recorder:\n"
        "    for hot in (False, True):\n"
        "        recorder.start()\n"
        "        if hot: pathlib.Path(os.environ['FAKE_HOT']).touch()\n"
        "        time.sleep(0.1)\n"
        "        found = recorder.stop()\n"
        "        states = [s for s in (*found.before, *found.after) if s.device != 'host']\n"
        "        print(slowed_down(found.before, found.after))\n"
        "        for s in states: print(s.device, s.clock_mhz, s.temperature_c, s.power_cap_w, s.slowed_by)\n"
    )
    cool = "nvml:gpu-0 1400.0 55.0 300.0 ('power cap',)"
    assert run(script, library, FAKE_GPUS="300", FAKE_HOT=str(tmp_path / "hot")).splitlines() == [
        "False",
        cool,
        cool,
        "True",
        cool,
        "nvml:gpu-0 600.0 95.0 300.0 ('heat',)",
    ]


def test_no_driver_is_said_with_what_to_do(library: Path) -> None:
    text = run(PROBE, library)
    assert "no NVIDIA driver answers (Driver Not Loaded)" in text
    assert "nvidia-smi" in text


@pytest.mark.parametrize(
    ("visible", "chosen"),
    [
        (None, [0, 1, 2]),
        ("2,0", [2, 0]),
        ("0, 1", [0, 1]),
        ("GPU-b", [2]),
        ("GPU-ab22,0", [1, 0]),
        ("GPU-a", []),
        ("0,7,1", [0]),
        ("-1", []),
        ("1,-1,0", [1]),
        ("", []),
        ("1,1", [1]),
        ("none", []),
    ],
)
def test_cuda_visible_devices_means_what_it_means_to_cuda(visible: str | None, chosen: list[int]) -> None:
    assert select_visible(UUIDS, visible) == chosen


def test_it_keeps_what_every_meter_promises(library: Path) -> None:
    script = (
        "from joulemark.meters.nvml import NvmlMeter\n"
        "from joulemark.meters.testing import check_meter\n"
        "print([domain.id for domain in check_meter(NvmlMeter, seconds=1)])"
    )
    assert run(script, library, FAKE_GPUS="305 105").strip() == "['nvml:gpu-0', 'nvml:gpu-1']"
