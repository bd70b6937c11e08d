"""The machine and the software that a run was measured with."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from joulemark.meters.cpumodel import cpu_name, is_virtual_machine

from .record import Accelerator, Machine

__all__ = ["describe_machine", "describe_software"]

PACKAGES = ("joulemark", "lm_eval", "onnxruntime", "numpy", "torch", "transformers", "vllm")


def describe_machine(
    accelerators: tuple[Accelerator, ...] = (), driver: str | None = None, *, share: bool = False
) -> Machine:
    """What this machine is, without its name; of a share of it, these GPUs make the id as well."""
    hostname_hash = _hash("host", platform.node())
    cpu_model = cpu_name() or platform.machine()
    cpu_count = psutil.cpu_count() or 1
    memory_gb = round(psutil.virtual_memory().total / 2**30, 1)
    parts = [hostname_hash, cpu_model, cpu_count, memory_gb, *(gpu.uuid for gpu in accelerators if share)]
    return Machine(
        machine_id=_hash("machine", *map(str, parts)),
        hostname_hash=hostname_hash,
        os=f"{platform.system()} {platform.machine()}",
        kernel=platform.release(),
        cpu_model=cpu_model,
        cpu_count=cpu_count,
        memory_gb=memory_gb,
        accelerators=accelerators,
        driver=driver,
        virtualised=is_virtual_machine(),
        governor=_governor(),
    )


def describe_software() -> dict[str, str]:
    """Versions of what computes: Python and the packages of `PACKAGES` that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(("joulemark", *parts)).encode()).hexdigest()[:12]


def _governor() -> str | None:
    sysfs = Path(os.environ.get("JOULEMARK_SYSFS", "/sys"))
    try:
        return (sysfs / "devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text(encoding="utf-8").strip()
    except OSError:
        return None
