"""Memory of models' processes: the most that they held during a cell, and whether there is room for one more."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from joulemark.meters.nvidia import Gpu, Nvidia

__all__ = ["GpuMemory", "forget_peaks", "has_room", "look_at_gpus", "peak_rss_mb"]

_ROOM = 1.25
"""So many times the largest model's memory must be free for another one."""

_FORGET_PEAK = "5"
"""What Linux takes for it, in ``clear_refs`` (proc_pid_clear_refs(5))."""


@dataclass(frozen=True, kw_only=True)
class GpuMemory:
    """A GPU's memory, as its driver tells it.

    Attributes:
        uuid: Of the GPU.
        total: Bytes; None where the driver does not say.
        free: Bytes; None where the driver does not say.
        held: Bytes by process; 0 where the driver does not say how many.
    """

    uuid: str
    total: int | None
    free: int | None
    held: dict[int, int]


def forget_peaks(processes: Sequence[psutil.Process]) -> bool:
    """Let the peaks of processes begin at what they hold now; whether that could be done for all of them.

    Only Linux can, and only for processes of one's own. It changes nothing of what they do.
    """
    for process in processes:
        try:
            Path(f"/proc/{process.pid}/clear_refs").write_text(_FORGET_PEAK, encoding="ascii")
        except OSError:
            if process.is_running():
                return False
    return bool(processes)


def peak_rss_mb(processes: Sequence[psutil.Process]) -> float | None:
    """The most memory that each of these processes held since `forget_peaks`, or since it began, added up; in MiB.

    Of several it may be more than they held together: their peaks may have been at different times, and memory that
    they share counts for each. Those that have ended by now are not in it. None where nothing is told.
    """
    told = [peak for process in processes if (peak := _peak_kb(process.pid)) is not None]
    return round(sum(told) / 2**10, 1) if told else None


def has_room(models: Sequence[Sequence[psutil.Process]], *, on_gpu: bool) -> bool:
    """Whether there is memory for one more model, which is taken to be as large as the largest of these.

    Args:
        models: The processes of each that is loaded.
        on_gpu: Whether the further one computes on a GPU; each GPU that the driver tells of then has to have room.
    """
    largest = max(map(_rss, models), default=0)
    if psutil.virtual_memory().available <= _ROOM * largest:
        return False
    return not on_gpu or all(_has_room_on(gpu, models) for gpu in look_at_gpus())


def look_at_gpus() -> list[GpuMemory]:
    """Each visible GPU of NVIDIA's; none where there is no driver."""
    nvidia = Nvidia.start()
    if not isinstance(nvidia, Nvidia):
        return []
    with contextlib.closing(nvidia):
        return [_look_at(gpu) for gpu in nvidia.gpus]


def _look_at(gpu: Gpu) -> GpuMemory:
    total, free, held = None, None, {}
    with contextlib.suppress(gpu.nvml.NVMLError):
        told = gpu.nvml.nvmlDeviceGetMemoryInfo(gpu.handle)
        total, free = int(told.total), int(told.free)
    with contextlib.suppress(gpu.nvml.NVMLError):
        found = gpu.nvml.nvmlDeviceGetComputeRunningProcesses(gpu.handle)
        held = {process.pid: process.usedGpuMemory or 0 for process in found}
    return GpuMemory(uuid=gpu.uuid, total=total, free=free, held=held)


def _has_room_on(gpu: GpuMemory, models: Sequence[Sequence[psutil.Process]]) -> bool:
    largest = max((sum(gpu.held.get(process.pid, 0) for process in model) for model in models), default=0)
    return gpu.free is None or not largest or gpu.free > _ROOM * largest


def _rss(processes: Sequence[psutil.Process]) -> int:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _peak_kb(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), None)
