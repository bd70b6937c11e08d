"""Fake machines: trees like Linux's powercap, whose counters tests move by hand or by a clock."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import threading
import time
from bisect import bisect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joulemark.meters import rapl

__all__ = ["FakePowercap", "FakeZone", "PowerDriver", "laptop", "one_socket", "two_sockets", "wave"]

REAL_RANGE_UJ = 262_143_328_850
"""``max_energy_range_uj`` of many Intel CPUs."""


class FakeZone:
    """A zone's folder; its counter wraps as the hardware does."""

    def __init__(self, folder: Path, label: str, range_uj: int, start_uj: int) -> None:
        self.folder = folder
        self.file = folder / "energy_uj"
        self.range_uj = range_uj
        self.value_uj = start_uj
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "name").write_text(f"{label}\n")
        (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        self.write(start_uj)

    def write(self, value_uj: int) -> None:
        """Set the counter. Not by truncating first: ext4 answers that with 3 ms of flushing."""
        self.value_uj = value_uj
        text = f"{value_uj}\n".encode()
        file = os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(file, text, 0)
        os.ftruncate(file, len(text))
        os.close(file)

    def spend(self, joules: float) -> None:
        self.write((self.value_uj + round(joules * 1e6)) % (self.range_uj + 1))


class FakePowercap:
    """A powercap tree under ``sysfs/class/powercap``."""

    def __init__(self, sysfs: Path) -> None:
        self.sysfs = sysfs
        self.root = sysfs / "class" / "powercap"
        self.root.mkdir(parents=True)
        self.zones: dict[str, FakeZone] = {}

    def add(self, folder: str, label: str, *, range_uj: int = REAL_RANGE_UJ, start_uj: int = 1_000_000) -> FakeZone:
        """A zone; ``folder`` may be nested, as ``intel-rapl:0/intel-rapl:0:1``."""
        zone = FakeZone(self.root / folder, label, range_uj, start_uj)
        self.zones[folder.rpartition("/")[2]] = zone
        return zone

    def __getitem__(self, folder: str) -> FakeZone:
        return self.zones[folder]


class PowerDriver:
    """Moves zones in real time along a known power, every ``step_s`` seconds, in a thread.

    Args:
        shares: What part of the energy each zone counts.
        energy_j: Joules of the trace up to a time in seconds since the driver was made.
        step_s: How often the counters are renewed.
    """

    def __init__(
        self, shares: dict[FakeZone, float], energy_j: Callable[[float], float], *, step_s: float = 0.005
    ) -> None:
        self._shares = {zone: (share, zone.value_uj) for zone, share in shares.items()}
        self._energy_j = energy_j
        self._step_s = step_s
        self._began = time.monotonic()
        self._steps = [(self._began, 0.0)]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._drive, daemon=True)

    def __enter__(self) -> PowerDriver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def trace_j(self, start: float, end: float) -> float:
        """Joules of the trace between two times of the monotonic clock."""
        return self._energy_j(end - self._began) - self._energy_j(start - self._began)

    def shown_j(self, start: float, end: float) -> float:
        """Joules by which the counters moved between two times: the trace, as far as this thread got to run."""
        return self._shown_at(end) - self._shown_at(start)

    def _shown_at(self, when: float) -> float:
        return self._steps[bisect(self._steps, (when, math.inf)) - 1][1]

    def _drive(self) -> None:
        # A real counter does not wait for its turn on a busy machine.
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
        while not self._stopping.wait(self._step_s):
            spent_j = self._energy_j(time.monotonic() - self._began)
            for zone, (share, start_uj) in self._shares.items():
                zone.write((start_uj + round(share * spent_j * 1e6)) % (zone.range_uj + 1))
            self._steps.append((time.monotonic(), spent_j))


def wave(mean_w: float = 100.0, swing_w: float = 50.0, period_s: float = 0.7) -> Callable[[float], float]:
    """Joules up to a time for a power of ``mean_w + swing_w x sin``, as `PowerDriver` takes them."""
    omega = 2 * math.pi / period_s
    return lambda t: mean_w * t + swing_w / omega * (1 - math.cos(omega * t))


@pytest.fixture
def powercap(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePowercap]:
    """An empty tree that Joulemark takes for the machine's; in memory, since a disk may hold a write up."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="powercap-", dir=memory if os.access(memory, os.W_OK) else None))
    tree = FakePowercap(folder / "sys")
    monkeypatch.setenv("JOULEMARK_SYSFS", str(tree.sysfs))
    # Most of these counters stand still until a test moves them: no use in watching them for long.
    monkeypatch.setattr(rapl, "_POLL_AT_MOST_S", 0.06)
    yield tree
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def one_socket(powercap: FakePowercap) -> FakePowercap:
    """One socket with package, core, uncore and memory, and psys around them; flat, as in /sys/class/powercap."""
    for folder, label in {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "uncore",
        "intel-rapl:0:2": "dram",
        "intel-rapl:1": "psys",
    }.items():
        powercap.add(folder, label)
    return powercap


@pytest.fixture
def two_sockets(powercap: FakePowercap) -> FakePowercap:
    """Two sockets with package and memory each; nested, with links beside them, as in a real tree."""
    for socket in (0, 1):
        outer = f"intel-rapl/intel-rapl:{socket}"
        powercap.add(outer, f"package-{socket}")
        powercap.add(f"{outer}/intel-rapl:{socket}:0", "dram")
        (powercap.root / f"intel-rapl:{socket}").symlink_to(powercap.root / outer)
        (powercap.root / f"intel-rapl:{socket}:0").symlink_to(powercap.root / outer / f"intel-rapl:{socket}:0")
    return powercap


@pytest.fixture
def laptop(one_socket: FakePowercap) -> FakePowercap:
    """One socket whose package shows once through MSR and once through MMIO."""
    one_socket.add("intel-rapl-mmio:0", "package-0", start_uj=7_000_000)
    one_socket.add("intel-rapl-mmio:0:0", "dram", start_uj=7_000_000)
    return one_socket


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that other users may enter, which pytest's own folders are not."""
    folder = Path(tempfile.mkdtemp(prefix="joulemark-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
