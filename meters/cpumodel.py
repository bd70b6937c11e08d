"""What this machine's CPU is, and the watts that a hardware thread of it is taken to draw.

Only for machines without energy counters. The watts come from the CPU's rated power (TDP), and a rating is a poor
guide to the power drawn: hence the wide uncertainties.
"""

from __future__ import annotations

import csv
import importlib.util
import math
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["CpuPower", "cpu_name", "granted_threads", "is_virtual_machine", "model_cpu_power"]

IDLE_SHARE, BUSY_SHARE = 0.12, 1.02
"""Power of an idle and of a fully busy CPU as shares of its TDP. Source: B. Davy (Teads), Building an AWS EC2
Carbon Emissions Dataset, 2021, the mean of RAPL figures of seven bare-metal server types at 0/10/50/100 % load:
https://medium.com/teads-engineering/building-an-aws-ec2-carbon-emissions-dataset-3f0fd76c98ac"""

DEFAULT_TDP_W = 4.0
"""TDP per hardware thread of an unknown CPU, in watts: what codecarbon falls back to
(``DEFAULT_POWER_PER_CORE`` in codecarbon/core/cpu.py, applied to hardware threads)."""

U_TOTAL_KNOWN, U_TOTAL_DEFAULT = 0.3, 0.5
U_WORKLOAD = 0.2
"""Relative standard uncertainties (k=1). Such estimates were found up to 40 % off external meters (arXiv 2509.22092):
read as two standard deviations, that is 20 % between kinds of code. The scale takes the rest of the total, which
is assumed: a chip's TDP is no measurement of it, and a default is none of its kind either."""

_NOISE = re.compile(
    r"\((?:R|TM|C)\)|®|™|@.*$|\bCPU\b|\bProcessor\b|\b\d+-Core\b|\bwith Radeon.*$|\b\d+th Gen\b|\bw/.*$", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class CpuPower:
    """The power model of one hardware thread.

    Attributes:
        idle_w: Watts of a thread that does nothing, its share of the whole CPU's idle power.
        busy_w: Watts of a thread that computes all the time, idle power included.
        rel_u_scale: As in `Domain`.
        rel_u_workload: As in `Domain`.
        source: Where the watts come from.
    """

    idle_w: float
    busy_w: float
    rel_u_scale: float
    rel_u_workload: float
    source: str


def model_cpu_power() -> CpuPower:
    """The power of a hardware thread of this machine's CPU.

    A virtual machine shows neither how many threads the chip has nor, often, its whole name, so that a TDP, which is
    of the whole chip, cannot be shared out: there, and for a CPU missing in the table, a default per thread stands.
    """
    name = cpu_name()
    tdp = None if is_virtual_machine() else _table().get(_plain(name))
    if tdp is None:
        why = "virtual machine" if is_virtual_machine() else "not in codecarbon's table"
        return _per_thread(
            DEFAULT_TDP_W, U_TOTAL_DEFAULT, f"{DEFAULT_TDP_W:g} W default, {name or 'unknown CPU'}: {why}"
        )
    sockets, threads = _count_sockets(), os.cpu_count() or 1
    text = f"{tdp:g} W x {sockets} socket(s) / {threads} threads, codecarbon's table for {name}"
    return _per_thread(tdp * sockets / threads, U_TOTAL_KNOWN, text)


def _per_thread(tdp_w: float, u_total: float, where: str) -> CpuPower:
    return CpuPower(
        idle_w=IDLE_SHARE * tdp_w,
        busy_w=BUSY_SHARE * tdp_w,
        rel_u_scale=math.sqrt(u_total**2 - U_WORKLOAD**2),
        rel_u_workload=U_WORKLOAD,
        source=f"TDP per hardware thread {tdp_w:.3g} W ({where}); idle {IDLE_SHARE:.0%}, busy {BUSY_SHARE:.0%} of it "
        "(Davy, Teads 2021); such models err up to 40 % (arXiv 2509.22092)",
    )


@cache
def cpu_name() -> str:
    """The CPU's name as its maker gives it; empty where the system does not tell."""
    if sys.platform == "darwin":
        return _ask_macos("machdep.cpu.brand_string")
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return match.group(1).strip() if match else platform.processor()


@cache
def is_virtual_machine() -> bool:
    """Whether a hypervisor shows itself. One that hides, or another architecture's, may go unseen."""
    if sys.platform == "darwin":
        return _ask_macos("kern.hv_vmm_present") == "1"
    flags = re.search(r"^flags\s*:.*\bhypervisor\b", _cpuinfo(), re.MULTILINE)
    return bool(flags) or Path("/proc/device-tree/hypervisor").exists() or _runs_on_known_hypervisor()


def granted_threads(pid: int) -> float:
    """Hardware threads that ``pid`` may use: its affinity, or less where its control group's quota is less.

    The control group is the one of the real ``/sys``, also where ``JOULEMARK_SYSFS`` names the host's tree.
    """
    try:
        allowed = float(len(os.sched_getaffinity(pid))) if hasattr(os, "sched_getaffinity") else None
    except OSError:
        allowed = None
    return min(allowed or float(os.cpu_count() or 1), _cgroup_quota(pid))


def _cgroup_quota(pid: int) -> float:
    """The tightest ``cpu.max`` (cgroup v2) or ``cpu.cfs_quota_us`` (v1) from the process's group up, in threads."""
    tightest = math.inf
    for line in _read(Path(f"/proc/{pid}/cgroup")).splitlines():
        _, controllers, inner = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup") / controllers
        group = root / inner.lstrip("/")
        for folder in [group, *group.parents]:
            tightest = min(tightest, _quota_of(folder))
            if folder == root:
                break
    return tightest


def _quota_of(folder: Path) -> float:
    text = _read(folder / "cpu.max") or f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"
    match text.split():
        case [quota, period] if quota.isdecimal() and period.isdecimal() and int(quota) * int(period) > 0:
            return int(quota) / int(period)
    return math.inf


@cache
def _table() -> dict[str, float]:
    """TDP in watts by plain CPU name; names that come with several TDPs are left out."""
    # find_spec finds the data without running codecarbon's code: importlib.resources.files would import it.
    spec = importlib.util.find_spec("codecarbon")
    if spec is None or not spec.submodule_search_locations:
        return {}
    path = Path(spec.submodule_search_locations[0]) / "data" / "hardware" / "cpu_power.csv"
    watts: dict[str, set[float]] = {}
    for row in csv.DictReader(_read(path).splitlines()):
        # A few rows hold something that is no number.
        if re.fullmatch(r"\d+(\.\d+)?", row.get("TDP") or ""):
            watts.setdefault(_plain(row["Name"]), set()).add(float(row["TDP"]))
    return {name: found.pop() for name, found in watts.items() if len(found) == 1 and min(found) > 0}


def _plain(name: str) -> str:
    """A CPU's name without trademarks, clock rates and core counts, for looking it up."""
    return " ".join(_NOISE.sub(" ", name).lower().split())


def _count_sockets() -> int:
    return max(1, len(set(re.findall(r"^physical id\s*:\s*(\d+)", _cpuinfo(), re.MULTILINE))))


def _runs_on_known_hypervisor() -> bool:
    vendor = _read(Path("/sys/class/dmi/id/sys_vendor")) + _read(Path("/sys/class/dmi/id/product_name"))
    return bool(re.search(r"QEMU|KVM|VMware|VirtualBox|Xen|Virtual Machine|Google Compute Engine|OpenStack", vendor))


def _cpuinfo() -> str:
    return _read(Path("/proc/cpuinfo"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _ask_macos(key: str) -> str:
    try:
        done = subprocess.run(["/usr/sbin/sysctl", "-n", key], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
