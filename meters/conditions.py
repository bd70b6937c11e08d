"""The state of the machine's CPUs at a window's edges: clock, temperature, and whether heat holds them down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from .sysfs import sysfs_folder, text_of
from .types import Conditions

__all__ = ["host_conditions", "slowed_down"]

_PACKAGE_SENSORS = frozenset({"x86_pkg_temp", "cpu-thermal", "cpu_thermal", "soc_thermal"})
_CHIPS = frozenset({"k10temp", "coretemp", "zenpower"})
_MOST_CLOCKS = 8
"""So many CPUs are asked for their clock: on some kernels each one that was idle takes 10 ms to answer."""


def host_conditions() -> Conditions:
    """What the kernel tells of the CPUs (https://docs.kernel.org/admin-guide/abi-stable-files.html)."""
    root = sysfs_folder()
    cpus = root / "devices" / "system" / "cpu"
    clocks = sorted(cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    clocks_khz = _numbers(clocks[:: max(1, len(clocks) // _MOST_CLOCKS)])
    # Every CPU of a package shows the package's time, so the largest is that of the package that suffers most.
    slowed_ms = _numbers(cpus.glob("cpu[0-9]*/thermal_throttle/package_throttle_total_time_ms"))
    zones = [zone for zone in root.glob("class/powercap/intel-rapl:*") if text_of(zone / "name").startswith("package")]
    limits_uw = _numbers(zone / "constraint_0_power_limit_uw" for zone in zones)
    heats_mc = _numbers(_heats(root))
    return Conditions(
        device="host",
        clock_mhz=sum(clocks_khz) / len(clocks_khz) / 1e3 if clocks_khz else None,
        temperature_c=max(heats_mc) / 1e3 if heats_mc else None,
        power_cap_w=sum(limits_uw) / 1e6 if limits_uw else None,
        slowed_s=max(slowed_ms) / 1e3 if slowed_ms else None,
    )


def _heats(root: Path) -> list[Path]:
    """The files that tell how hot the CPUs are, in thousandths of a degree."""
    zones = [z / "temp" for z in root.glob("class/thermal/thermal_zone*") if text_of(z / "type") in _PACKAGE_SENSORS]
    return zones or [c / "temp1_input" for c in root.glob("class/hwmon/hwmon*") if text_of(c / "name") in _CHIPS]


def slowed_down(before: Sequence[Conditions], after: Sequence[Conditions]) -> bool:
    """Whether heat, or another limit that the owner did not set, held a device's clock down in a window.

    A power cap alone is no fault: cards run at theirs all the time. Nor is a hardware slowdown by itself, which the
    driver also tells while a clock changes. Both are in the record.
    """
    began = {state.device: state for state in before}
    for state in after:
        earlier = began.get(state.device, state)
        if {*state.slowed_by, *earlier.slowed_by} & {"heat", "power brake"}:
            return True
        if state.slowed_s is not None and earlier.slowed_s is not None and state.slowed_s > earlier.slowed_s:
            return True
    return False


def _numbers(paths: Iterable[Path]) -> list[float]:
    texts = [text_of(path) for path in paths]
    return [float(text) for text in texts if text.isdecimal()]
