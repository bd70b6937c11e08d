"""RAPL through perf: the real system call counts a clock, so the right joules are known; and every fault is one."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulemark.meters.errors import MeterLost
from joulemark.meters.perf import PerfMeter, find_mirrors
from joulemark.meters.testing import check_meter
from joulemark.meters.types import Domain, Unavailable
from joulemark.meters.window import Recorder

PERF_TYPE_SOFTWARE = 1
CPU_CLOCK = 0
"""Counts the nanoseconds of a CPU; so at a scale of 1e-7 J it counts 100 W."""
PERF_EVENT_IOC_DISABLE = 0x2401

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "aarch64"), reason="perf is Linux's"
)


class FakePmu:
    """A ``power`` PMU in a tree like /sys, whose events are software clocks that the kernel really counts."""

    def __init__(self, sysfs: Path) -> None:
        self.sysfs = sysfs
        self.root = sysfs / "bus" / "event_source" / "devices" / "power"
        for folder in ("events", "format"):
            (self.root / folder).mkdir(parents=True)
        self.write("type", PERF_TYPE_SOFTWARE)
        self.write("format/event", "config:0-7")
        self.sits_on(cpus()[0])

    def write(self, name: str, content: object) -> None:
        (self.root / name).write_text(f"{content}\n")

    def add(self, event: str, watts: float) -> None:
        self.write(f"events/{event}", f"event=0x{CPU_CLOCK:02x}")
        self.write(f"events/{event}.scale", f"{watts * 1e-9:.20e}")
        self.write(f"events/{event}.unit", "Joules")

    def sits_on(self, *mask: int, packages: tuple[int, ...] = (0,), dies: tuple[int, ...] = (0,)) -> None:
        self.write("cpumask", ",".join(map(str, mask)))
        for cpu, package, die in zip(mask, packages, dies, strict=False):
            topology = self.sysfs / f"devices/system/cpu/cpu{cpu}/topology"
            topology.mkdir(parents=True, exist_ok=True)
            (topology / "physical_package_id").write_text(f"{package}\n")
            (topology / "die_id").write_text(f"{die}\n")


def cpus() -> list[int]:
    return sorted(os.sched_getaffinity(0))


@pytest.fixture
def pmu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePmu:
    """One package with memory, cores, graphics and the platform around them: 100, 10, 60, 5 and 150 W."""
    tree = FakePmu(tmp_path / "sys")
    for event, watts in {"pkg": 100.0, "ram": 10.0, "cores": 60.0, "gpu": 5.0, "psys": 150.0}.items():
        tree.add(f"energy-{event}", watts)
    monkeypatch.setenv("JOULEMARK_SYSFS", str(tree.sysfs))
    found = PerfMeter().probe()
    if isinstance(found, Unavailable) and "may not count" in found.reason:
        pytest.skip(found.reason)
    return tree


@pytest.fixture
def two_cpus() -> tuple[int, int]:
    if len(cpus()) < 2:
        pytest.skip("a second socket takes a second CPU")
    return cpus()[0], cpus()[1]


@pytest.fixture
def meter(pmu: FakePmu) -> Iterator[PerfMeter]:  # noqa: ARG001 - the tree it reads
    made = PerfMeter()
    made.open(os.getpid())
    yield made
    made.close()


def domains_of(meter: PerfMeter) -> dict[str, Domain]:
    found = meter.probe()
    assert not isinstance(found, Unavailable), found
    return {domain.id: domain for domain in found}


def counters() -> list[int]:
    """Descriptors of the perf events that this process has open, in the order of the meter's events."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            if "perf_event" in str(link.readlink()):
                found.append(int(link.name))
        except FileNotFoundError:
            continue  # The descriptor of the listing itself.
    return sorted(found)


def put_in_place_of(fd: int, count: float, tmp_path: Path, *, counted_s: float = 1e6) -> None:
    """Let a counter show what a test says, through the descriptor that the meter reads."""
    file = tmp_path / "counter"
    file.write_bytes(struct.pack("=QQQ", int(count), int(counted_s * 1e9), int(counted_s * 1e9)))
    stand_in = os.open(file, os.O_RDONLY)
    os.dup2(stand_in, fd)
    os.close(stand_in)


@pytest.mark.usefixtures("pmu")
def test_only_package_and_memory_are_added_up_never_what_they_contain_or_what_contains_them() -> None:
    domains = domains_of(PerfMeter())
    assert {name: d.kind for name, d in domains.items() if d.summed} == {
        "perf:package-0": "package",
        "perf:dram-0": "dram",
    }
    assert {name: d.kind for name, d in domains.items() if not d.summed} == {
        "perf:core-0": "package",
        "perf:uncore-0": "package",
        "perf:psys": "platform",
    }
    assert all(d.grade == "counter" and d.range_j is None for d in domains.values())


@pytest.mark.usefixtures("pmu")
def test_the_joules_of_a_window_are_the_watts_that_were_really_counted_times_its_seconds() -> None:
    meter = PerfMeter()
    domains = list(domains_of(meter).values())
    with Recorder([meter], domains, os.getpid()) as recorder:
        recorder.start()
        time.sleep(1.0)
        record = recorder.stop()
    assert record.gross_j == pytest.approx(110 * record.window_s, rel=0.01)
    assert record.domains["perf:psys"] == pytest.approx(150 * record.window_s, rel=0.01)
    assert record.scope == "package+dram"
    assert record.grade == "counter"
    assert 0 < record.u_j < 0.01 * record.gross_j


@pytest.mark.usefixtures("pmu")
def test_it_keeps_all_promises_of_a_meter() -> None:
    assert {domain.id for domain in check_meter(PerfMeter, seconds=1.0)} >= {"perf:package-0", "perf:dram-0"}


def test_each_socket_counts_under_its_own_number_and_the_platform_once(pmu: FakePmu, two_cpus: tuple[int, int]) -> None:
    pmu.sits_on(*two_cpus, packages=(1, 0), dies=(0, 0))
    domains = domains_of(PerfMeter())
    assert {name for name, d in domains.items() if d.summed} == {
        "perf:package-1",
        "perf:dram-1",
        "perf:package-0",
        "perf:dram-0",
    }
    assert domains["perf:package-1"].provenance.endswith(f"energy-pkg on CPU {two_cpus[0]}")
    assert [name for name in domains if "psys" in name] == ["perf:psys"]


def test_dies_of_one_package_count_each_under_the_dies_number(pmu: FakePmu, two_cpus: tuple[int, int]) -> None:
    pmu.sits_on(*two_cpus, packages=(0, 0), dies=(0, 1))
    summed = {name for name, d in domains_of(PerfMeter()).items() if d.summed and d.kind == "package"}
    assert summed == {"perf:package-0-die-0", "perf:package-0-die-1"}


def test_dies_that_mirror_one_counter_count_once_even_if_it_was_renewed_between_two_looks() -> None:
    names = ["package-0-die-0", "package-0-die-1", "package-0-die-2", "package-1-die-0"]
    one = [0, 7, 7, 15, 21, 30, 38, 44]
    late = [100, 107, 107, 115, 115, 130, 138, 144]  # the same counter, seen before a renewal once
    own = [0, 6, 6, 13, 22, 29, 39, 43]
    looks = list(zip(one, late, own, one, strict=True))
    assert find_mirrors(names, looks) == {"package-0-die-1"}


def test_dies_whose_counters_stand_still_tell_nothing_of_mirrors() -> None:
    assert find_mirrors(["package-0-die-0", "package-0-die-1"], [(5, 5)] * 10) == set()


@pytest.mark.usefixtures("pmu")
def test_it_can_be_closed_and_opened_again_and_leaves_no_counter_open() -> None:
    meter = PerfMeter()
    meter.probe()
    assert counters() == []
    meter.open(0)
    assert len(counters()) == 5
    meter.open(0)
    assert len(counters()) == 5
    meter.close()
    assert counters() == []
    with pytest.raises(MeterLost, match="not open"):
        meter.read()


def test_an_event_that_stops_counting_is_a_fault_and_no_small_energy(meter: PerfMeter) -> None:
    fcntl.ioctl(counters()[0], PERF_EVENT_IOC_DISABLE, 0)
    time.sleep(0.05)
    with pytest.raises(MeterLost, match=r"package-0 .*was counted for .* of .* s"):
        meter.read()


def test_a_monotonic_clock_that_is_being_slewed_is_not_taken_for_an_event_that_stopped(
    meter: PerfMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As chrony does by up to 8 %; the kernel's clock is everybody's, so it is slewed here for this process alone."""
    began_ns, monotonic_ns = time.monotonic_ns(), time.monotonic_ns
    monkeypatch.setattr(time, "monotonic_ns", lambda: began_ns + (monotonic_ns() - began_ns) * 108 // 100)
    first, began_s = meter.read().values, time.perf_counter()
    time.sleep(0.4)
    gained_j = meter.read().values["perf:package-0"] - first["perf:package-0"]
    assert gained_j == pytest.approx(100 * (time.perf_counter() - began_s), rel=0.1)


def test_an_event_that_ends_is_a_fault(meter: PerfMeter) -> None:
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, counters()[0])  # The kernel, too, answers a read of a dead event with nothing.
    os.close(empty)
    with pytest.raises(MeterLost, match=r"package-0 .*no count any more"):
        meter.read()


def test_a_counter_that_cannot_be_read_is_a_fault(meter: PerfMeter) -> None:
    unreadable = os.open(os.devnull, os.O_WRONLY)
    os.dup2(unreadable, counters()[1])
    os.close(unreadable)
    with pytest.raises(MeterLost, match=r"dram-0 .*cannot be read"):
        meter.read()


def test_a_counter_that_goes_backwards_is_a_fault(meter: PerfMeter, tmp_path: Path) -> None:
    time.sleep(0.01)
    meter.read()
    put_in_place_of(counters()[0], 1, tmp_path)
    with pytest.raises(MeterLost, match=r"package-0 .*went backwards"):
        meter.read()


def test_a_leap_that_no_cpu_could_make_is_a_fault(meter: PerfMeter, tmp_path: Path) -> None:
    put_in_place_of(counters()[0], 262_144 / 1e-7, tmp_path)
    with pytest.raises(MeterLost, match=r"package-0 .*leapt"):
        meter.read()


def test_a_user_who_may_not_is_told_the_command_that_allows_it(open_to_all: Path) -> None:
    level = Path("/proc/sys/kernel/perf_event_paranoid")
    if not level.exists() or int(level.read_text()) <= 0:
        pytest.skip("perf lets everybody count here")
    tree = FakePmu(open_to_all / "sys")
    tree.add("energy-pkg", 100.0)
    script = (
        "import os\n"
        "from joulemark.meters.perf import PerfMeter\n"
        "PerfMeter().probe()  # loads all that Python needs, which other users may not be allowed to\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "found = PerfMeter().probe()\n"
        "print(found.reason, '|', found.fix)\n"
    )
    env = os.environ | {"JOULEMARK_SYSFS": str(tree.sysfs)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=env, timeout=30, check=True
    )
    reason, _, fix = done.stdout.partition("|")
    assert f"0 or less, and it is {level.read_text().strip()}" in reason
    assert "sudo sysctl kernel.perf_event_paranoid=0" in fix
    assert re.search(r"sudo setcap cap_perfmon=ep /\S*python\S* ", fix)
    assert "--cap-add PERFMON" in fix


def test_a_part_that_the_kernel_lists_but_does_not_count_is_left_out(pmu: FakePmu) -> None:
    pmu.write("events/energy-gpu", "event=0xfe")
    assert "perf:uncore-0" not in domains_of(PerfMeter())


def test_a_package_that_the_kernel_does_not_count_makes_the_meter_unavailable(pmu: FakePmu) -> None:
    pmu.write("events/energy-pkg", "event=0xfe")
    found = PerfMeter().probe()
    assert isinstance(found, Unavailable)
    assert "energy-pkg on CPU" in found.reason
    assert counters() == []
    with pytest.raises(MeterLost, match="energy-pkg"):
        PerfMeter().open(0)


def test_a_cpu_that_is_not_there_is_named(pmu: FakePmu) -> None:
    pmu.sits_on(100_000)
    found = PerfMeter().probe()
    assert isinstance(found, Unavailable)
    assert "CPU 100000" in found.reason


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("type", "banana", "banana"),
        ("cpumask", "", "invalid literal"),
        ("events/energy-pkg", "event=0x1ff", "bits 0 to 7"),
        ("events/energy-pkg", "umask=1", "umask"),
        ("format/event", "config1:0-7", "config:FIRST-LAST"),
        ("events/energy-pkg.unit", "Watts", "instead of Joules"),
        ("events/energy-pkg.scale", "1e9", "scale says 1e9"),
        ("events/energy-pkg.scale", "nan", "scale says nan"),
    ],
)
def test_a_description_that_makes_no_sense_is_never_counted(pmu: FakePmu, file: str, content: str, told: str) -> None:
    pmu.write(file, content)
    found = PerfMeter().probe()
    assert isinstance(found, Unavailable)
    assert told in found.reason


def test_a_kernel_that_knows_no_package_counter_says_so(pmu: FakePmu) -> None:
    for part in ("pkg", "ram"):
        (pmu.root / "events" / f"energy-{part}").unlink()
    found = PerfMeter().probe()
    assert isinstance(found, Unavailable)
    assert "energy-pkg" in found.reason


def test_no_tree_says_so_and_how_to_point_at_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEMARK_SYSFS", str(tmp_path))
    found = PerfMeter().probe()
    assert isinstance(found, Unavailable)
    assert str(tmp_path) in found.reason
    assert "JOULEMARK_SYSFS" in found.fix


@pytest.mark.usefixtures("pmu")
def test_a_reading_is_quick() -> None:
    meter = PerfMeter()
    meter.open(0)
    took_s = []
    for _ in range(200):
        began = time.perf_counter()
        meter.read()
        took_s.append(time.perf_counter() - began)
    meter.close()
    assert min(took_s) < 0.001
