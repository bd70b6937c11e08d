"""RAPL: every joule once, no wrap lost, no fault taken for a figure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import FakePowercap, PowerDriver, wave

from joulemark.meters.errors import MeterLost
from joulemark.meters.rapl import RaplMeter, unwrap
from joulemark.meters.types import Domain, Reading, Unavailable


def domains_of(meter: RaplMeter) -> dict[str, Domain]:
    found = meter.probe()
    assert not isinstance(found, Unavailable), found
    return {domain.id: domain for domain in found}


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def opened() -> RaplMeter:
    meter = RaplMeter()
    meter.open(os.getpid())
    return meter


def read_on(meter: RaplMeter) -> Reading:
    """A reading after the time in which a counter may show the same value unasked."""
    time.sleep(0.011)
    return meter.read()


@pytest.mark.usefixtures("one_socket")
def test_only_package_and_memory_are_added_up_never_what_they_contain_or_what_contains_them() -> None:
    domains = domains_of(RaplMeter())
    assert {name: d.kind for name, d in domains.items() if d.summed} == {
        "rapl:package-0": "package",
        "rapl:dram-0": "dram",
    }
    assert {name for name, d in domains.items() if not d.summed} == {"rapl:core-0", "rapl:uncore-0", "rapl:psys"}
    assert domains["rapl:psys"].kind == "platform"
    assert all(d.grade == "counter" for d in domains.values())


@pytest.mark.usefixtures("two_sockets")
def test_a_zone_that_shows_both_nested_and_as_a_link_counts_once() -> None:
    assert set(domains_of(RaplMeter())) == {"rapl:package-0", "rapl:dram-0", "rapl:package-1", "rapl:dram-1"}


def test_a_package_that_msr_and_mmio_both_show_counts_once_through_msr(laptop: FakePowercap) -> None:
    domains = domains_of(RaplMeter())
    assert len(domains) == 5
    assert domains["rapl:package-0"].provenance == str(laptop["intel-rapl:0"].file)


def test_a_package_that_only_mmio_shows_is_read_there(powercap: FakePowercap) -> None:
    powercap.add("intel-rapl-mmio:0", "package-0")
    assert set(domains_of(RaplMeter())) == {"rapl:package-0"}


def test_dies_that_mirror_one_counter_count_once_and_dies_with_their_own_count_each(powercap: FakePowercap) -> None:
    for die, start_uj in enumerate((9_000_000_000, 9_000_000_400, 5_000_000_000)):
        powercap.add(f"intel-rapl:{die}", f"package-0-die-{die}", start_uj=start_uj)
    summed = {name for name, d in domains_of(RaplMeter()).items() if d.summed}
    assert summed == {"rapl:package-0-die-0", "rapl:package-0-die-2"}


def test_joules_are_those_spent_since_opening_domain_by_domain(two_sockets: FakePowercap) -> None:
    meter = opened()
    two_sockets["intel-rapl:0"].spend(30)
    two_sockets["intel-rapl:1:0"].spend(2.5)
    reading = meter.read()
    assert reading.values["rapl:package-0"] == pytest.approx(30)
    assert reading.values["rapl:dram-1"] == pytest.approx(2.5)
    assert reading.values["rapl:package-1"] == 0
    assert reading.t0_ns < reading.t1_ns


def test_wraps_lose_no_joule(powercap: FakePowercap) -> None:
    zone = powercap.add("intel-rapl:0", "package-0", range_uj=10_000_000, start_uj=9_900_000)
    meter = opened()
    for count in range(1, 40):
        zone.spend(7.3)
        assert meter.read().values["rapl:package-0"] == pytest.approx(count * 7.3)


@given(st.integers(1, 2**40), st.data())
def test_any_gain_below_the_range_is_found_wherever_the_counter_stands(modulus: int, data: st.DataObject) -> None:
    last = data.draw(st.integers(0, modulus - 1))
    gain = data.draw(st.integers(0, modulus - 1))
    assert unwrap(last, (last + gain) % modulus, modulus) == gain


@given(st.lists(st.integers(0, 999), min_size=1), st.integers(0, 999))
def test_gains_add_up_over_any_number_of_wraps(gains: list[int], start: int) -> None:
    seen = [start]
    for gain in gains:
        seen.append((seen[-1] + gain) % 1000)
    assert sum(unwrap(a, b, 1000) for a, b in pairwise(seen)) == sum(gains)


def test_a_counter_that_goes_backwards_is_a_fault_and_no_wrap(one_socket: FakePowercap) -> None:
    one_socket["intel-rapl:0"].write(500_000_000)
    meter = opened()
    one_socket["intel-rapl:0"].write(400_000_000)
    with pytest.raises(MeterLost, match=r"package-0 .* went backwards: 500000000 to 400000000"):
        meter.read()


def test_a_counter_without_a_range_that_goes_backwards_is_a_fault(powercap: FakePowercap) -> None:
    zone = powercap.add("intel-rapl:0", "package-0")
    (zone.folder / "max_energy_range_uj").unlink()
    meter = opened()
    zone.write(999_999)
    with pytest.raises(MeterLost, match="went backwards"):
        meter.read()


def test_a_leap_that_no_cpu_could_make_is_a_fault(one_socket: FakePowercap) -> None:
    meter = opened()
    one_socket["intel-rapl:0"].spend(100_000)
    with pytest.raises(MeterLost, match="leapt"):
        meter.read()


@pytest.mark.parametrize("text", ["banana", "-5", "1e9", "12 34", "0x10", "\0"])
def test_anything_but_a_number_of_microjoules_is_a_fault(one_socket: FakePowercap, text: str) -> None:
    meter = opened()
    one_socket["intel-rapl:0:2"].file.write_text(text)
    with pytest.raises(MeterLost, match=r"dram-0 .*instead of microjoules"):
        meter.read()


def test_a_value_above_the_counters_own_range_is_a_fault(powercap: FakePowercap) -> None:
    zone = powercap.add("intel-rapl:0", "package-0", range_uj=10_000_000)
    meter = opened()
    zone.write(10_000_001)
    with pytest.raises(MeterLost, match="max_energy_range_uj"):
        meter.read()


def test_a_zone_that_vanishes_is_named(one_socket: FakePowercap) -> None:
    meter = opened()
    shutil.rmtree(one_socket["intel-rapl:0:2"].folder)
    with pytest.raises(MeterLost, match=r"dram-0 .*intel-rapl:0:2.* is gone"):
        read_on(meter)


def test_a_zone_that_is_moved_away_is_not_read_on_at_its_last_value(one_socket: FakePowercap) -> None:
    meter = opened()
    one_socket["intel-rapl:0"].folder.rename(one_socket.root / "elsewhere")
    with pytest.raises(MeterLost, match=r"package-0 .* is gone"):
        read_on(meter)


def test_a_file_replaced_by_another_is_followed(one_socket: FakePowercap) -> None:
    zone = one_socket["intel-rapl:0"]
    meter = opened()
    for _ in range(5):
        fresh = zone.folder / "fresh"
        fresh.write_text(f"{zone.value_uj + 10_000_000}\n")
        zone.value_uj += 10_000_000
        fresh.rename(zone.file)
        read_on(meter)
    assert meter.read().values["rapl:package-0"] == pytest.approx(50)


def test_a_file_caught_between_truncating_and_writing_is_waited_for(one_socket: FakePowercap) -> None:
    zone = one_socket["intel-rapl:0"]
    meter = opened()
    zone.file.write_text("")
    writer = threading.Timer(0.03, zone.write, [zone.value_uj + 5_000_000])
    writer.start()
    reading = meter.read()
    writer.join()
    assert reading.values["rapl:package-0"] == pytest.approx(5)
    assert reading.t1_ns - reading.t0_ns < 20e6, "all values belong to one moment, after the wait"


def test_a_file_that_stays_empty_is_a_fault(one_socket: FakePowercap) -> None:
    meter = opened()
    one_socket["intel-rapl:1"].file.write_text("")
    with pytest.raises(MeterLost, match=r"psys .* is empty"):
        meter.read()


def test_what_a_longer_number_left_behind_is_not_read(one_socket: FakePowercap) -> None:
    meter = opened()
    one_socket["intel-rapl:0"].file.write_text("3000000\n00000\n")
    assert meter.read().values["rapl:package-0"] == pytest.approx(2)


def test_zones_that_the_driver_lists_but_the_cpu_lacks_are_left_out(one_socket: FakePowercap) -> None:
    one_socket["intel-rapl:0:1"].file.unlink()
    one_socket["intel-rapl:0:1"].file.mkdir()
    assert "rapl:uncore-0" not in domains_of(RaplMeter())


def test_two_threads_reading_at_once_lose_nothing(powercap: FakePowercap) -> None:
    zone = powercap.add("intel-rapl:0", "package-0", range_uj=1_000_000)
    meter = opened()
    stop = threading.Event()
    faults: list[BaseException] = []

    def sample() -> None:
        try:
            while not stop.is_set():
                meter.read()
        except BaseException as error:
            faults.append(error)

    sampler = threading.Thread(target=sample)
    sampler.start()
    for _ in range(300):
        zone.spend(0.4)
        meter.read()
    stop.set()
    sampler.join()
    assert not faults
    assert meter.read().values["rapl:package-0"] == pytest.approx(120)


def test_it_can_be_closed_and_opened_again_and_leaves_no_file_open(one_socket: FakePowercap) -> None:
    before = open_files()
    meter = opened()
    meter.close()
    with pytest.raises(MeterLost, match="not open"):
        meter.read()
    meter.open(0)
    one_socket["intel-rapl:0"].spend(1)
    assert meter.read().values["rapl:package-0"] == pytest.approx(1)
    meter.close()
    RaplMeter().probe()
    assert open_files() == before


def test_how_often_the_counter_is_renewed_is_found_out(one_socket: FakePowercap) -> None:
    shares = {one_socket["intel-rapl:0"]: 1.0, one_socket["intel-rapl:0:2"]: 0.1}
    with PowerDriver(shares, wave(), step_s=0.01):
        update_s = domains_of(RaplMeter())["rapl:package-0"].update_s
    assert update_s is not None
    assert 0.008 < update_s < 0.05


@pytest.mark.usefixtures("one_socket")
def test_resolution_and_range_are_those_of_the_hardware() -> None:
    meter = opened()
    domain = domains_of(meter)["rapl:package-0"]
    assert domain.resolution_j == pytest.approx(2**-14, rel=1e-3)  # Intel's usual energy unit, 61 uJ
    assert domain.range_j == pytest.approx(262_143.328851)


def test_no_tree_says_so_and_how_to_point_at_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEMARK_SYSFS", str(tmp_path))
    found = RaplMeter().probe()
    assert isinstance(found, Unavailable)
    assert str(tmp_path) in found.reason
    assert "JOULEMARK_SYSFS" in found.fix


def test_a_virtual_machine_without_counters_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from joulemark.meters import powercap, sysfs

    monkeypatch.delenv("JOULEMARK_SYSFS", raising=False)
    monkeypatch.setattr(sysfs, "is_virtual_machine", lambda: True)
    monkeypatch.setattr(sys, "platform", "linux")
    found = powercap.explain_absence(tmp_path)
    assert "virtual machine" in found.reason
    assert "modelled" in found.fix


def test_counters_of_root_alone_are_reported_with_the_command_that_opens_them(open_to_all: Path) -> None:
    tree = FakePowercap(open_to_all / "sys")
    tree.add("intel-rapl:0", "package-0").file.chmod(0o400)
    script = (
        "import os\n"
        "from joulemark.meters.rapl import RaplMeter\n"
        "RaplMeter().probe()  # loads all that Python needs, which other users may not be allowed to\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "else: os.chmod(os.environ['JOULEMARK_SYSFS'] + '/class/powercap/intel-rapl:0/energy_uj', 0)\n"
        "found = RaplMeter().probe()\n"
        "print(found.reason, '|', found.fix)\n"
    )
    env = os.environ | {"JOULEMARK_SYSFS": str(tree.sysfs)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=env, timeout=30, check=True
    )
    reason, _, fix = done.stdout.partition("|")
    assert "CVE-2020-8694" in reason
    assert f"sudo chmod a+r {tree.root}/*/energy_uj" in fix
    assert "udev" in fix


IN_NAMESPACE = """
set -e
mount -t tmpfs none /sys/class
zone=/sys/class/powercap/intel-rapl:0
mkdir -p $zone
echo package-0 > $zone/name; echo 262143328850 > $zone/max_energy_range_uj; echo 1000000 > $zone/energy_uj
exec "$0" -c '
import subprocess, time
from joulemark.meters.errors import MeterLost
from joulemark.meters.rapl import RaplMeter
meter = RaplMeter()
print(meter.probe()[0].provenance)
meter.open(0)
open("/sys/class/powercap/intel-rapl:0/energy_uj", "w").write("4000000")
print(meter.read().values)
subprocess.run(["umount", "-l", "/sys/class"], check=True)
time.sleep(0.011)
try:
    meter.read()
except MeterLost as error:
    print(error)
'
"""


def test_a_tree_really_mounted_at_sys_is_read_and_missed_when_unmounted() -> None:
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("this user may not make mount namespaces")
    env = {name: value for name, value in os.environ.items() if name != "JOULEMARK_SYSFS"}
    command = ["unshare", "-m", "sh", "-c", IN_NAMESPACE, sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == [
        "/sys/class/powercap/intel-rapl:0/energy_uj",
        "{'rapl:package-0': 3.0}",
    ]
    assert "package-0" in done.stdout.splitlines()[2]
    assert "is gone" in done.stdout.splitlines()[2]
