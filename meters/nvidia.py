"""NVIDIA's library and the GPUs that it shows: which of them a CUDA program started now would see."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from .errors import MeterLost
from .types import Conditions, Unavailable

__all__ = ["Gpu", "Nvidia", "driver_version", "select_visible"]

_SEE = "see what nvidia-smi says"


class Nvidia:
    """The driver's library, started, and the visible GPUs; each needs a `close`.

    Attributes:
        gpus: The visible GPUs, none of them split by MIG.
    """

    def __init__(self, nvml: ModuleType, gpus: Sequence[Gpu]) -> None:
        self._nvml, self.gpus = nvml, tuple(gpus)

    @classmethod
    def start(cls) -> Nvidia | Unavailable:
        """The library and its GPUs, or why there are none."""
        nvml = _start()
        if isinstance(nvml, Unavailable):
            return nvml
        try:
            found = _find_gpus(nvml)
        except nvml.NVMLError as error:
            found = Unavailable(reason=f"NVML failed: {error}", fix=_SEE)
        except BaseException:
            _stop(nvml)
            raise
        if isinstance(found, Unavailable):
            _stop(nvml)
            return found
        return cls(nvml, found)

    def close(self) -> None:
        """Let go of the driver."""
        _stop(self._nvml)


@dataclass(frozen=True)
class Gpu:
    """One card. What it is asked raises MeterLost where it does not answer any more."""

    nvml: ModuleType
    handle: Any
    index: int
    name: str
    uuid: str
    tells_instant: bool
    averaged_s: float
    """Seconds that its power is a mean over, where it does not tell that of the moment."""

    @property
    def where(self) -> str:
        """What to call it in messages."""
        return f"GPU {self.index} ({self.name}, {self.uuid})"

    def energy_mj(self) -> int:
        """Millijoules since the driver was loaded."""
        return int(self._ask("nvmlDeviceGetTotalEnergyConsumption"))

    def power_w(self) -> float:
        """Watts of the moment, or the mean of the last ``averaged_s`` seconds, as the card's sensor has them."""
        if self.tells_instant:
            return float(self._ask("nvmlDeviceGetFieldValues", [_POWER_INSTANT])[0].value.uiVal) / 1e3
        return float(self._ask("nvmlDeviceGetPowerUsage")) / 1e3

    def tells_power(self) -> bool:
        """Whether it has a power sensor."""
        try:
            self.nvml.nvmlDeviceGetPowerUsage(self.handle)
        except (self.nvml.NVMLError_NotSupported, self.nvml.NVMLError_FunctionNotFound):
            return False
        except self.nvml.NVMLError as error:
            raise MeterLost(f"{self.where} is lost: {error}; {_SEE}") from error
        return True

    def counts_energy(self) -> bool:
        """Whether it has an energy counter."""
        try:
            self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle)
        except (self.nvml.NVMLError_NotSupported, self.nvml.NVMLError_FunctionNotFound):
            return False
        except self.nvml.NVMLError as error:
            raise MeterLost(f"{self.where} is lost: {error}; {_SEE}") from error
        return True

    def conditions(self) -> Conditions:
        """Clocks, temperature, power cap and what slows it down; what the card does not tell is None."""
        return Conditions(
            device=f"nvml:gpu-{self.index}",
            clock_mhz=self._tell("nvmlDeviceGetClockInfo", self.nvml.NVML_CLOCK_SM),
            temperature_c=self._tell("nvmlDeviceGetTemperature", self.nvml.NVML_TEMPERATURE_GPU),
            power_cap_w=_thousandth(self._tell("nvmlDeviceGetEnforcedPowerLimit")),
            slowed_by=self._slowed_by(),
            slowed_s=self._slowed_s(),
        )

    def _slowed_by(self) -> tuple[str, ...]:
        reasons = self._tell("nvmlDeviceGetCurrentClocksThrottleReasons")
        if reasons is None:
            return ()
        return tuple(dict.fromkeys(name for bit, name in _SLOWED_BY.items() if int(reasons) & bit))

    def _slowed_s(self) -> float | None:
        """Seconds that heat has slowed it down since the driver was loaded."""
        try:
            told = self.nvml.nvmlDeviceGetViolationStatus(self.handle, self.nvml.NVML_PERF_POLICY_THERMAL)
        except (self.nvml.NVMLError, AttributeError):
            return None
        return float(told.violationTime) / 1e9

    def _tell(self, function: str, *args: Any) -> float | None:
        try:
            return float(getattr(self.nvml, function)(self.handle, *args))
        except (self.nvml.NVMLError, AttributeError):
            return None

    def _ask(self, function: str, *args: Any) -> Any:
        for left in reversed(range(_TRIES)):
            try:
                return getattr(self.nvml, function)(self.handle, *args)
            except self.nvml.NVMLError as error:
                gone = isinstance(error, self.nvml.NVMLError_GpuIsLost | self.nvml.NVMLError_Uninitialized)
                if gone or not left:
                    raise MeterLost(f"{self.where} is lost: {error}; {_SEE}") from error
                time.sleep(_TRY_AGAIN_S)
        raise AssertionError(function)


_TRIES, _TRY_AGAIN_S = 3, 0.01
"""A driver that is busy with something else may fail to answer once."""
_POWER_INSTANT = 186
"""NVML_FI_DEV_POWER_INSTANT in nvml.h: since driver 530, on Ampere and newer."""
_AVERAGED_S = 1.0
"""On Ampere and newer, except GA100 (A100, A30, A800), nvmlDeviceGetPowerUsage is a mean over the last second (NVML API
reference)."""
_GA100 = ("A100", "A30", "A800")

_SLOWED_BY = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "heat",
    0x40: "heat",
    0x80: "power brake",
}
"""Bits of the clocks' throttle (now: event) reasons in nvml.h that slow a busy card down against its owner's wish."""


def driver_version() -> str | None:
    """The version of NVIDIA's driver; None where there is none, or it does not say."""
    nvml = _start()
    if isinstance(nvml, Unavailable):
        return None
    try:
        return _decode(nvml.nvmlSystemGetDriverVersion())
    except nvml.NVMLError:
        return None
    finally:
        _stop(nvml)


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


def _find_gpus(nvml: ModuleType) -> list[Gpu] | Unavailable:
    """The visible GPUs, all of them whole; a total that lacks one of them would be no total."""
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
    split = next((gpu for gpu in gpus if _is_partitioned(gpu)), None)
    return gpus if split is None else _no_slices(f"{split.where} is split by MIG")


def _gpu(nvml: ModuleType, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name, uuid = (_decode(get(handle)) for get in (nvml.nvmlDeviceGetName, nvml.nvmlDeviceGetUUID))
    return Gpu(nvml, handle, index, name, uuid, _tells_instant(nvml, handle), _averaged_s(nvml, handle, name))


def _tells_instant(nvml: ModuleType, handle: Any) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetFieldValues(handle, [_POWER_INSTANT])[0].nvmlReturn == nvml.NVML_SUCCESS)
    except nvml.NVMLError:
        return False


def _averaged_s(nvml: ModuleType, handle: Any, name: str) -> float:
    try:
        averages = nvml.nvmlDeviceGetArchitecture(handle) >= nvml.NVML_DEVICE_ARCH_AMPERE
    except nvml.NVMLError:
        averages = False
    return _AVERAGED_S if averages and not any(word in _GA100 for word in name.replace("-", " ").split()) else 0.0


def _decode(text: str | bytes) -> str:
    """Older versions of pynvml give bytes."""
    return text.decode() if isinstance(text, bytes) else text


def _refuse_naming(every: Sequence[Gpu], visible: str | None) -> Unavailable | None:
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


def _no_slices(what: str) -> Unavailable:
    return Unavailable(
        reason=f"{what}, and a slice has no energy counter of its own",
        fix="measure on a whole GPU: sudo nvidia-smi -mig 0, where the GPU is yours to change",
    )


def _is_partitioned(gpu: Gpu) -> bool:
    try:
        return bool(gpu.nvml.nvmlDeviceGetMigMode(gpu.handle)[0] == gpu.nvml.NVML_DEVICE_MIG_ENABLE)
    except gpu.nvml.NVMLError:
        return False  # A card or a driver that knows no MIG.


def _thousandth(milli: float | None) -> float | None:
    return None if milli is None else milli / 1e3
