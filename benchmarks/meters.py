"""Error and cost of Joulemark's meters beside Zeus, pyJoules and codecarbon, on counters whose truth is known.

    python benchmarks/meters.py

Needs root (a tree like Linux's powercap is mounted over /sys/class, in a mount namespace of its own, so that every
library reads it unpatched), a C compiler and, for the peers, ``pip install 'joulemark[peers]'``; one that is missing
is left out and named. A small program moves the counters of a package and its memory every millisecond along a power
that swings between 50 and 150 W, wrapping every five seconds; a small libnvidia-ml.so.1 does the same for a GPU with
a tick of 100 ms. Prints

- the error of ours over 1,000 windows of 10 to 60 ticks, and how often its 95 % interval holds the truth;
- the error of each library over windows of a second, one after the other, against the truth between the two calls: ours
  wait for the next step, so that their windows are a step longer, and say so: joulemark* is against the truth between
  the edges that it states;
- what a reading of two zones costs, what importing costs, and what a sampler costs that looks ten times a second.

Exit code 1 where ours misses 1 %, or 93 % inside, or a reading costs more than a fifth of Zeus's.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

SOURCES = Path(__file__).resolve().parent.parent / "tests" / "meters"
WATTS, SWING, PERIOD_S = 100.0, 0.5, 0.7
MEMORY_SHARE = 0.2
RANGE_UJ, REAL_RANGE_UJ = 500_000_000, 262_143_328_850
SHORT_WINDOWS, LONG_WINDOWS = 1000, int(os.environ.get("JOULEMARK_BENCHMARK_WINDOWS", "20"))
GPU_TICK_MS, GPU_WINDOWS = 100, 8
READINGS = 2000
SAMPLER_S = 20.0


def truth_j(start_s: float, end_s: float) -> float:
    """Joules of the package between two times of the monotonic clock."""
    omega = 2 * math.pi / PERIOD_S
    at = lambda t: WATTS * (t + SWING / omega * (1 - math.cos(omega * t)))  # noqa: E731
    return at(end_s) - at(start_s)


# ---- what is measured ------------------------------------------------------------------------------------------------


def ours_short() -> dict[str, Any]:
    """Many short windows with the recorder that runs use, over package and memory."""
    from joulemark.meters.registry import choose
    from joulemark.meters.window import Recorder

    choice = choose(["rapl"])
    update_s = choice.summed[0].update_s or 0.0
    lengths, errors, inside, _wraps = Random(1), [], 0, 0
    with Recorder(choice.meters, choice.domains, os.getpid()) as recorder:
        for _ in range(SHORT_WINDOWS):
            recorder.start()
            time.sleep(lengths.uniform(10, 60) * update_s)
            found = recorder.stop()
            began_s = found.began_ns / 1e9
            joules = truth_j(began_s, began_s + found.window_s) * (1 + MEMORY_SHARE)
            errors.append(found.gross_j / joules - 1)
            inside += abs(found.gross_j - joules) <= 1.96 * found.u_j
    return {
        "update_ms": update_s * 1e3,
        "worst": max(map(abs, errors)),
        "mean": statistics.fmean(errors),
        "median": statistics.median(map(abs, errors)),
        "inside": inside / SHORT_WINDOWS,
    }


def windows_of(begin: Callable[[], None], end: Callable[[], float], *, memory: bool, count: int, seconds: float) -> Any:
    """Relative errors of windows around a pause; the truth is that between the two calls."""
    errors = []
    for _ in range(count):
        begin()
        start_s = time.monotonic()
        time.sleep(seconds)
        end_s = time.monotonic()
        joules = end()
        errors.append(joules / (truth_j(start_s, end_s) * (1 + MEMORY_SHARE * memory)) - 1)
    return errors


def by_ours(*, own_edges: bool = False) -> Any:
    """Against the truth between the two calls, as the others, or between the edges that it states."""
    from joulemark.meters.registry import choose
    from joulemark.meters.window import Recorder

    choice = choose(["rapl"])
    with Recorder(choice.meters, choice.domains, os.getpid()) as recorder:
        if not own_edges:
            return windows_of(
                recorder.start, lambda: recorder.stop().gross_j, memory=True, count=LONG_WINDOWS, seconds=1
            )
        return [own_error(recorder, 1.0, 1 + MEMORY_SHARE) for _ in range(LONG_WINDOWS)]


def own_error(recorder: Any, seconds: float, share: float) -> float:
    recorder.start()
    time.sleep(seconds)
    found = recorder.stop()
    start_s = found.began_ns / 1e9
    return float(found.gross_j / (truth_j(start_s, start_s + found.window_s) * share) - 1)


def by_zeus() -> Any:
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(gpu_indices=[], cpu_indices=[0], approx_instant_energy=False)

    def end() -> float:
        found = monitor.end_window("w", sync_execution=False)
        return sum((found.cpu_energy or {}).values()) + sum((found.dram_energy or {}).values())

    begin = lambda: monitor.begin_window("w", sync_execution=False)  # noqa: E731
    begin()
    end()
    return windows_of(begin, end, memory=True, count=LONG_WINDOWS, seconds=1)


def by_pyjoules() -> Any:
    from pyJoules.device import DeviceFactory
    from pyJoules.device.rapl_device import RaplDramDomain, RaplPackageDomain
    from pyJoules.energy_meter import EnergyMeter

    devices = DeviceFactory.create_devices([RaplPackageDomain(0), RaplDramDomain(0)])
    meter = EnergyMeter(devices)

    def end() -> float:
        meter.stop()
        return sum(sum(sample.energy.values()) for sample in meter.get_trace()) / 1e6

    return windows_of(meter.start, end, memory=True, count=LONG_WINDOWS, seconds=1)


def by_codecarbon() -> Any:
    import logging

    from codecarbon import OfflineEmissionsTracker

    logging.disable(logging.CRITICAL)
    tracker: Any = None

    def begin() -> None:
        nonlocal tracker
        tracker = OfflineEmissionsTracker(
            country_iso_code="FRA", save_to_file=False, log_level="critical", measure_power_secs=1000
        )
        tracker.start()

    def end() -> float:
        tracker.stop()
        return float(tracker._total_cpu_energy.kWh) * 3.6e6

    # It reads packages alone; its figure for memory is a constant.
    return windows_of(begin, end, memory=False, count=LONG_WINDOWS, seconds=1)


def reading_costs() -> dict[str, float]:
    """Microseconds of one reading of package and memory, in turn, the median of many."""
    from joulemark.meters.rapl import RaplMeter

    meter = RaplMeter()
    meter.open(os.getpid())
    readers: dict[str, Callable[[], object]] = {"joulemark": meter.read}
    if importlib.util.find_spec("zeus"):
        from zeus.device.cpu import get_cpus

        cpus = get_cpus()
        readers["zeus"] = lambda: cpus.get_total_energy_consumption(0)
    if importlib.util.find_spec("pyJoules"):
        from pyJoules.device import DeviceFactory
        from pyJoules.device.rapl_device import RaplDramDomain, RaplPackageDomain

        (device,) = DeviceFactory.create_devices([RaplPackageDomain(0), RaplDramDomain(0)])
        readers["pyJoules"] = device.get_energy
    if importlib.util.find_spec("codecarbon"):
        from codecarbon.core.cpu import IntelRAPL
        from codecarbon.core.units import Time

        rapl = IntelRAPL()
        second = Time.from_seconds(1)
        readers["codecarbon"] = lambda: rapl.get_cpu_details(second)
    took: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(READINGS):
        for name, read in readers.items():
            began = time.perf_counter_ns()
            read()
            took[name].append((time.perf_counter_ns() - began) / 1e3)
    return {name: statistics.median(times) for name, times in took.items()}


def sampler_share() -> float:
    """Share of a core that a recorder takes which looks ten times a second."""
    from joulemark.meters.registry import choose
    from joulemark.meters.window import Recorder

    choice = choose(["rapl"])
    with Recorder(choice.meters, choice.domains, os.getpid(), trace_s=0.1) as recorder:
        recorder.start()
        began, used = time.monotonic(), time.process_time()
        time.sleep(SAMPLER_S)
        share = (time.process_time() - used) / (time.monotonic() - began)
        recorder.stop()
    return share


def gpu_by_ours(*, own_edges: bool = False) -> Any:
    from joulemark.meters.registry import choose
    from joulemark.meters.window import Recorder

    choice = choose(["nvml"], device="cuda")
    errors = []
    with Recorder(choice.meters, choice.domains, os.getpid()) as recorder:
        for number in range(GPU_WINDOWS):
            seconds = 1 + number * 0.137
            if own_edges:
                errors.append(own_error(recorder, seconds, 1.0))
                continue
            recorder.start()
            start_s = time.monotonic()
            time.sleep(seconds)
            end_s = time.monotonic()
            errors.append(recorder.stop().gross_j / truth_j(start_s, end_s) - 1)
    return errors


def gpu_by_zeus() -> Any:
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[], approx_instant_energy=False)
    errors = []
    for number in range(GPU_WINDOWS):
        monitor.begin_window("w", sync_execution=False)
        start_s = time.monotonic()
        time.sleep(1 + number * 0.137)
        end_s = time.monotonic()
        found = monitor.end_window("w", sync_execution=False)
        errors.append(sum(found.gpu_energy.values()) / truth_j(start_s, end_s) - 1)
    return errors


# ---- the machine they see --------------------------------------------------------------------------------------------

PARTS: dict[str, tuple[str, Callable[[], Any]]] = {
    "short": ("joulemark", ours_short),
    "long joulemark": ("joulemark", by_ours),
    "long joulemark*": ("joulemark", lambda: by_ours(own_edges=True)),
    "long zeus": ("zeus", by_zeus),
    "long pyJoules": ("pyJoules", by_pyjoules),
    "long codecarbon": ("codecarbon", by_codecarbon),
    "reading": ("joulemark", reading_costs),
    "sampler": ("joulemark", sampler_share),
    "gpu joulemark": ("joulemark", gpu_by_ours),
    "gpu joulemark*": ("joulemark", lambda: gpu_by_ours(own_edges=True)),
    "gpu zeus": ("zeus", gpu_by_zeus),
}


def run_part(name: str, **environment: str) -> Any:
    """One part in a fresh process; None where its library is missing."""
    library, _ = PARTS[name]
    if importlib.util.find_spec(library) is None:
        return None
    done = subprocess.run(
        [sys.executable, __file__, name], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{name} failed: {(done.stderr.strip().splitlines() or ['it says nothing'])[-1]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def in_namespace() -> None:
    """Mounts below are seen by this process and its children alone."""
    clone_newns, ms_rec, ms_private = 0x20000, 0x4000, 0x40000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(clone_newns) or libc.mount(b"none", b"/", None, ms_rec | ms_private, None):
        sys.exit(f"a mount namespace is needed, and making one needs root: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def powercap_tree(driver: Path, range_uj: int) -> Iterator[None]:
    """One socket with memory under /sys/class/powercap, laid out as Linux does, and moving."""
    subprocess.run(["mount", "-t", "tmpfs", "none", "/sys/class"], check=True)
    root = Path("/sys/class/powercap")
    package = root / "intel-rapl" / "intel-rapl:0"
    memory = package / "intel-rapl:0:0"
    files = []
    for folder, label in ((package, "package-0"), (memory, "dram")):
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{label}\n")
        (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        (folder / "energy_uj").write_text("0\n")
        (root / folder.name).symlink_to(folder)
        files.append(folder / "energy_uj")
    (root / "intel-rapl" / "subsystem").symlink_to(root)
    arguments = ["1000", str(WATTS), str(SWING), str(PERIOD_S), str(files[0]), "1", str(range_uj)]
    arguments += [str(files[1]), str(MEMORY_SHARE), str(range_uj)]
    process = subprocess.Popen([driver, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.communicate()
        subprocess.run(["umount", "/sys/class"], check=True)


def compile_all(folder: Path) -> tuple[Path, Path]:
    """The program that moves the counters, and the folder of the library in NVIDIA's place."""
    compiler = shutil.which("cc") or sys.exit("a C compiler is needed")
    driver, library = folder / "fake_powercap", folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-O1", "-o", driver, SOURCES / "fake_powercap.c", "-lm"], check=True)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCES / "fake_nvml.c", "-lm"], check=True)
    return driver, folder


def show_errors(name: str, errors: list[float] | None) -> None:
    if errors is None:
        print(f"  {name:12} not installed here, or failed")
        return
    outliers = sum(abs(error) > 0.05 for error in errors)
    print(
        f"  {name:12} median {100 * statistics.median(map(abs, errors)):7.3f} %   "
        f"worst {100 * max(errors, key=abs):+9.2f} %   {outliers} of {len(errors)} off by over 5 %"
    )


def main() -> int:
    in_namespace()
    good = True
    with tempfile.TemporaryDirectory() as name:
        driver, libraries = compile_all(Path(name))
        with powercap_tree(driver, RANGE_UJ):
            short = run_part("short")
            if short is None:
                return 1
            print(f"{SHORT_WINDOWS:,} windows of 10 to 60 ticks of {short['update_ms']:.2f} ms, package and memory")
            print(
                f"  joulemark    median {100 * short['median']:.3f} %   worst {100 * short['worst']:.2f} %   mean "
                f"{100 * short['mean']:+.4f} %   inside the 95 % interval {100 * short['inside']:.1f} %"
            )
            # Where nothing else runs, both edges of a window are seen at like phases and err together: then the
            # interval holds more than it says. With unrelated phases it is 96 % (tests/meters/test_window.py).
            good &= short["worst"] < 0.01 and short["inside"] >= 0.93
            print(f"{LONG_WINDOWS} windows of 1 s")
            for peer in ("joulemark*", "joulemark", "zeus", "pyJoules", "codecarbon"):
                show_errors(peer, run_part(f"long {peer}"))
            costs = run_part("reading")
            print("A reading of two zones, median of many, in turn")
            if costs is None:
                return 1
            for peer, micros in costs.items():
                print(f"  {peer:12} {micros:7.1f} us   {micros / costs['joulemark']:5.1f} x")
            good &= "zeus" not in costs or costs["joulemark"] <= costs["zeus"] / 5
        with powercap_tree(driver, REAL_RANGE_UJ):
            share = run_part("sampler")
            if share is None:
                return 1
            print(f"A sampler that looks 10 times a second takes {100 * share:.3f} % of a core")
            good &= share <= 0.002
        gpu = {
            "LD_LIBRARY_PATH": str(libraries),
            "FAKE_GPUS": f"{WATTS:.0f}",
            "FAKE_SWING": str(SWING),
            "FAKE_PERIOD_MS": str(PERIOD_S * 1e3),
            "FAKE_STEP_MS": str(GPU_TICK_MS),
        }
        print(f"{GPU_WINDOWS} windows of 1 to 2 s of a GPU whose counter has a tick of {GPU_TICK_MS} ms")
        for peer in ("joulemark*", "joulemark", "zeus"):
            show_errors(peer, run_part(f"gpu {peer}", **gpu))
    return 0 if good else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(PARTS[sys.argv[1]][1]()))
    else:
        sys.exit(main())
