"""NVML: the energy counter of NVIDIA GPUs, Volta and newer."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from .errors import MeterLost
from .types import Domain, Reading, Unavailable

__all__ = ["NvmlMeter", "select_visible"]

REL_U = 0.05
_SOURCE = (
    "NVIDIA, NVML API reference: power readings within +-5 % (nvmlDeviceGetPowerUsage); on A100 and H100 the sensor "
    "looks a quarter of the time (arXiv 2312.02741), so only windows of 10 s and more average that out"
)
_UPDATE_S = 0.1
_POLL_AT_MOST_S = 0.35


class NvmlMeter:
    """Joules of the GPUs that a CUDA program started now would see. Grade ``counter``."""

    id = "nvml"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gpus: list[_Gpu] = []
        self._opened_mj: list[int] = []

    def probe(self) -> Sequence[Domain] | Unavailable:
        """The visible GPUs, and how often their counters are renewed (found out by looking for up to 350 ms)."""
        nvml = _start()
        if isinstance(nvml, Unavailable):
            return nvml
        try:
            found = _find_gpus(nvml)
            if isinstance(found, Unavailable):
                return found
            update_s = _probe_update(found)
            return [_domain(gpu, update_s) for gpu in found]
        except (nvml.NVMLError, MeterLost) as error:
            return Unavailable(reason=f"NVML failed: {error}", fix="see what nvidia-smi says")
        finally:
            _stop(nvml)

    def open(self, pid: int) -> None:  # noqa: ARG002 - the counters cover whole GPUs
        """Start counting.

        Raises:
            MeterLost: What `probe` found cannot be read any more.
        """
        self.close()
        nvml = _start()
        if isinstance(nvml, Unavailable):
            raise MeterLost(nvml.reason)
        try:
            found = _find_gpus(nvml)
            if isinstance(found, Unavailable):
                raise MeterLost(found.reason)
            self._opened_mj = [gpu.energy_mj() for gpu in found]
        except BaseException as error:
            _stop(nvml)
            if isinstance(error, nvml.NVMLError):
                raise MeterLost(f"NVML failed: {error}; see what nvidia-smi says") from error
            raise
        self._gpus = found

    def read(self) -> Reading:
        """Joules of every visible GPU since `open`.

        Raises:
            MeterLost: A GPU fell off the bus, or its counter went backwards (its driver was loaded anew).
        """
        with self._lock:
            if not self._gpus:
                raise MeterLost("nvml is not open")
            t0_ns = time.monotonic_ns()
            now_mj = [gpu.energy_mj() for gpu in self._gpus]
            t1_ns = time.monotonic_ns()
            values = {}
            for gpu, start, now in zip(self._gpus, self._opened_mj, now_mj, strict=True):
                if now < start:
                    raise MeterLost(f"{gpu.where} went backwards: {start} to {now} mJ since it was opened")
                values[gpu.domain_id] = (now - start) / 1e3
        return Reading(t0_ns=t0_ns, t1_ns=t1_ns, values=values)

    def close(self) -> None:
        """Let go of the driver."""
        with self._lock:
            if self._gpus:
                _stop(self._gpus[0].nvml)
            self._gpus = []


def select_visible(uuids: Sequence[str], visible: str | None) -> list[int]:
    """Indices of the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves visible.

    Args:
        uuids: UUIDs of all GPUs, by index.
        visible: The variable's value; None where it is not set.

    Returns:
        Indices in the variable's order. As in CUDA, the first entry that names no GPU ends the list
        (CUDA C++ Programming Guide, "CUDA Environment Variables").
    """
    if visible is None:
        return list(range(len(uuids)))
    chosen: list[int] = []
    for token in (part.strip() for part in visible.split(",")):
        if token.isdecimal():
            found = [int(token)] if int(token) < len(uuids) else []
        else:
            found = [i for i, uuid in enumerate(uuids) if token.startswith("GPU-") and uuid.startswith(token)]
        if len(found) != 1:
            break
        if found[0] not in chosen:
            chosen += found
    return chosen


@dataclass(frozen=True)
class _Gpu:
    nvml: ModuleType
    handle: Any
    index: int
    name: str
    uuid: str

    @property
    def domain_id(self) -> str:
        return f"nvml:gpu-{self.index}"

    @property
    def where(self) -> str:
        return f"GPU {self.index} ({self.name}, {self.uuid})"

    def energy_mj(self) -> int:
        """Millijoules since the driver was loaded."""
        try:
            return int(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle))
        except self.nvml.NVMLError as error:
            raise MeterLost(f"{self.where} is lost: {error}; see what nvidia-smi says") from error


def _start() -> ModuleType | Unavailable:
    """The NVML library, initialised; each start needs a `_stop`."""
    try:
        import pynvml
    except ImportError:
        return Unavailable(reason="the Python package nvidia-ml-py is missing", fix="pip install nvidia-ml-py")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Unavailable(
            reason=f"no NVIDIA driver answers ({error})",
            fix="if this machine has an NVIDIA GPU: install its driver until nvidia-smi works; in a container, "
            "start it with --gpus all (NVIDIA Container Toolkit)",
        )
    module: ModuleType = pynvml
    return module


def _stop(nvml: ModuleType) -> None:
    with contextlib.suppress(nvml.NVMLError):  # The driver may be gone already.
        nvml.nvmlShutdown()


def _find_gpus(nvml: ModuleType) -> list[_Gpu] | Unavailable:
    """The visible GPUs, all with an energy counter; a total that lacks one of them would be no total."""
    every = [_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    problem = _refuse_naming(every, visible)
    if problem is not None:
        return problem
    gpus = [every[index] for index in select_visible([gpu.uuid for gpu in every], visible)]
    if not gpus:
        return Unavailable(
            reason=f"NVML sees {len(every)} GPU(s), and CUDA_VISIBLE_DEVICES={visible!r} leaves none of them visible",
            fix="unset CUDA_VISIBLE_DEVICES or let it name a GPU that nvidia-smi -L lists",
        )
    return next((problem for gpu in gpus if (problem := _refuse(gpu)) is not None), gpus)


def _gpu(nvml: ModuleType, index: int) -> _Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name, uuid = (_decode(get(handle)) for get in (nvml.nvmlDeviceGetName, nvml.nvmlDeviceGetUUID))
    return _Gpu(nvml, handle, index, name, uuid)


def _decode(text: str | bytes) -> str:
    """Older versions of pynvml give bytes."""
    return text.decode() if isinstance(text, bytes) else text


def _refuse_naming(every: Sequence[_Gpu], visible: str | None) -> Unavailable | None:
    """Where ``CUDA_VISIBLE_DEVICES`` names no whole GPU, or not for certain which."""
    if visible is None:
        return None
    if "MIG-" in visible:
        return _no_slices(f"CUDA_VISIBLE_DEVICES={visible!r} names a slice of a GPU split by MIG")
    by_number = any(part.strip().isdecimal() for part in visible.split(","))
    unlike = len({gpu.name for gpu in every}) > 1
    if by_number and unlike and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        return Unavailable(
            reason=f"CUDA_VISIBLE_DEVICES={visible!r}: CUDA numbers the fastest GPU first, NVML goes by slot, and here "
            "are unlike GPUs, so a number may mean either",
            fix="set CUDA_DEVICE_ORDER=PCI_BUS_ID, or let CUDA_VISIBLE_DEVICES give the UUIDs of nvidia-smi -L",
        )
    return None


def _refuse(gpu: _Gpu) -> Unavailable | None:
    if _is_partitioned(gpu):
        return _no_slices(f"{gpu.where} is split by MIG")
    try:
        gpu.nvml.nvmlDeviceGetTotalEnergyConsumption(gpu.handle)
    except (gpu.nvml.NVMLError_NotSupported, gpu.nvml.NVMLError_FunctionNotFound):
        return Unavailable(
            reason=f"{gpu.where} has no energy counter (it came with Volta, and not on every card)",
            fix="hide this GPU with CUDA_VISIBLE_DEVICES; adding up polled power readings is not in Joulemark yet",
        )
    return None


def _no_slices(what: str) -> Unavailable:
    return Unavailable(
        reason=f"{what}, and a slice has no energy counter of its own",
        fix="measure on a whole GPU: sudo nvidia-smi -mig 0, where the GPU is yours to change",
    )


def _is_partitioned(gpu: _Gpu) -> bool:
    try:
        return bool(gpu.nvml.nvmlDeviceGetMigMode(gpu.handle)[0] == gpu.nvml.NVML_DEVICE_MIG_ENABLE)
    except gpu.nvml.NVMLError:
        return False  # A card or a driver that knows no MIG.


def _domain(gpu: _Gpu, update_s: float) -> Domain:
    return Domain(
        id=gpu.domain_id,
        kind="gpu",
        grade="counter",
        resolution_j=1e-3,
        update_s=update_s,
        range_j=None,
        rel_u_scale=REL_U,
        rel_u_workload=0.0,
        source=_SOURCE,
        provenance=f"{gpu.name} {gpu.uuid}",
    )


def _probe_update(gpus: Sequence[_Gpu]) -> float:
    """Seconds between renewals of the first GPU's counter; 0.1 where it did not move twice while watched.

    Counters step every 10 to 100 ms, depending on the card (arXiv 2312.02741).
    """
    began_ns = time.monotonic_ns()
    changes_ns: list[int] = []
    last = gpus[0].energy_mj()
    while len(changes_ns) < 4 and time.monotonic_ns() - began_ns < _POLL_AT_MOST_S * 1e9:
        time.sleep(0.001)
        now = gpus[0].energy_mj()
        if now != last:
            changes_ns.append(time.monotonic_ns())
        last = now
    gaps = sorted((b - a) / 1e9 for a, b in itertools.pairwise(changes_ns))
    return gaps[len(gaps) // 2] if gaps else _UPDATE_S
