"""How the devices were at a window's edges: told where the machine tells, and heat is flagged."""

from __future__ import annotations

import os
from pathlib import Path

from machines import FakePowercap, PowerDriver

from joulemark.meters.conditions import host_conditions, slowed_down
from joulemark.meters.registry import choose
from joulemark.meters.types import Conditions
from joulemark.meters.window import Recorder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")
    return path


def test_clock_heat_cap_and_slowing_down_are_read_from_the_kernel(powercap: FakePowercap) -> None:
    cpus = powercap.sysfs / "devices" / "system" / "cpu"
    write(cpus / "cpu0" / "cpufreq" / "scaling_cur_freq", "2000000")
    write(cpus / "cpu1" / "cpufreq" / "scaling_cur_freq", "3000000")
    write(cpus / "cpu0" / "thermal_throttle" / "package_throttle_total_time_ms", "1500")
    write(powercap.sysfs / "class" / "thermal" / "thermal_zone0" / "type", "acpitz")
    write(powercap.sysfs / "class" / "thermal" / "thermal_zone0" / "temp", "27800")
    write(powercap.sysfs / "class" / "thermal" / "thermal_zone1" / "type", "x86_pkg_temp")
    write(powercap.sysfs / "class" / "thermal" / "thermal_zone1" / "temp", "64000")
    powercap.add("intel-rapl:0", "package-0")
    write(powercap.root / "intel-rapl:0" / "constraint_0_power_limit_uw", "125000000")
    assert host_conditions() == Conditions(
        device="host", clock_mhz=2500, temperature_c=64, power_cap_w=125, slowed_by=(), slowed_s=1.5
    )


def test_amds_heat_comes_from_hwmon_and_the_cap_is_that_of_packages_alone(powercap: FakePowercap) -> None:
    for number, (chip, heat) in enumerate((("nvme", "31000"), ("k10temp", "71250"))):
        write(powercap.sysfs / f"class/hwmon/hwmon{number}/name", chip)
        write(powercap.sysfs / f"class/hwmon/hwmon{number}/temp1_input", heat)
    for folder, label, limit in (("intel-rapl:0", "package-0", "15000000"), ("intel-rapl:1", "psys", "28000000")):
        powercap.add(folder, label)
        write(powercap.root / folder / "constraint_0_power_limit_uw", limit)
    found = host_conditions()
    assert (found.temperature_c, found.power_cap_w) == (71.25, 15)


def test_a_machine_that_tells_nothing_has_no_made_up_figures(powercap: FakePowercap) -> None:  # noqa: ARG001
    assert host_conditions() == Conditions(device="host")


def test_a_window_in_which_heat_held_the_cpu_down_shows_it(powercap: FakePowercap) -> None:
    package = powercap.add("intel-rapl:0", "package-0")
    slowed = powercap.sysfs / "devices/system/cpu/cpu0/thermal_throttle/package_throttle_total_time_ms"
    write(slowed, "10")
    choice = choose()
    with (
        PowerDriver({package: 1.0}, lambda t: 100 * t),
        Recorder(choice.meters, choice.domains, os.getpid()) as recorder,
    ):
        recorder.start()
        cool = recorder.stop()
        recorder.start()
        write(slowed, "12")
        hot = recorder.stop()
    assert not slowed_down(cool.before, cool.after)
    assert slowed_down(hot.before, hot.after)


def test_a_power_cap_that_the_owner_set_is_no_fault_nor_is_a_clock_that_changes() -> None:
    capped = [Conditions(device="nvml:gpu-0", slowed_by=("power cap",))]
    changing = [Conditions(device="nvml:gpu-0", slowed_by=("power cap", "hardware slowdown"))]
    braked = [Conditions(device="nvml:gpu-0", slowed_by=("power cap", "power brake"))]
    assert not slowed_down(capped, capped)
    assert not slowed_down(capped, changing)
    assert slowed_down(capped, braked)
