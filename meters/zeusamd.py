"""AMD's GPUs through Zeus and AMD's library amdsmi; runs in Zeus's process."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from typing import Any

from .types import Domain
from .zeusparts import INTERVAL_S, Cannot, Look, zeus_version

__all__ = ["Amd"]

_ROCM_FIX = (
    "install ROCm 6.2 or newer and its own version of the Python package amdsmi, and let this user into the groups "
    "render and video, until amd-smi works without root"
)
_COUNTER_SOURCE = (
    "amdsmi through Zeus {}; assumed 5 %, as NVIDIA states for its own sensors: AMD states none; the counter agreed "
    "with the power shown to within a factor of two, and not every one does (https://github.com/ROCm/amdsmi/issues/38)"
)
_POWER_SOURCE = (
    "amdsmi through Zeus {}; assumed 10 %: AMD states no error, and neither how old the figure is nor over what time "
    "it is a mean"
)


class Amd:
    """AMD's GPUs that HIP programs see, all by their energy counters, or all by their power.

    One of them by itself would be a total of less than what computes, since a total never mixes grades.
    """

    def __init__(self, *, counting: bool | None = None) -> None:
        """Find them.

        Args:
            counting: Whether to read their counters; None to find out whether these are right.

        Raises:
            Cannot: They cannot be read, or not all of them.
        """
        self._every = _visible_gpus()
        # By their number among those that are visible, as HIP programs count.
        self._gpus = {i: gpu for i, gpu in enumerate(self._every.gpus) if _has_power(gpu)}
        _refuse_half_cards(list(self._gpus.values()), self._every.gpus)
        self._counts = _all_count_right(list(self._gpus.values())) if counting is None else counting
        if self._counts:
            _keep_counters(list(self._gpus.values()))
        self._means = not any(_shows_present_power(gpu) for gpu in self._gpus.values())
        self.kind = "amd-counters" if self._counts else "amd-power"

    @property
    def domains(self) -> Sequence[Domain]:
        """One for each of them."""
        describe = _counter_domain if self._counts else _power_domain
        return [describe(i, gpu) for i, gpu in self._gpus.items()]

    def look(self) -> Look:
        """Their joules since the driver was loaded, or their power."""
        if self._counts:
            joules = {_counter_id(i): gpu.get_total_energy_consumption() / 1e3 for i, gpu in self._gpus.items()}
            return Look(joules=joules)
        return Look(watts={_power_id(i): _watts(gpu) for i, gpu in self._gpus.items()}, means=self._means)


def _visible_gpus() -> Any:
    """Zeus's `AMDGPUs` rather than its `get_gpus`, which stops looking where it finds NVIDIA.

    It is to be kept, since the library shuts down when it goes.
    """
    from zeus.device.gpu.amd import AMDGPUs, amdsmi_is_available
    from zeus.device.gpu.common import ZeusBaseGPUError

    for name in ("ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"):
        if name in os.environ:
            raise Cannot(
                f"{name} renumbers the GPUs, and Zeus would read others than those that compute",
                f"unset {name} and choose GPUs with HIP_VISIBLE_DEVICES",
            )
    if not amdsmi_is_available():
        raise Cannot("AMD's library amdsmi does not answer", _ROCM_FIX)
    try:
        found = AMDGPUs()
    except (ValueError, ZeusBaseGPUError) as problem:
        raise Cannot(
            f"Zeus does not get at the AMD GPUs that are visible ({problem})",
            "where HIP_VISIBLE_DEVICES or CUDA_VISIBLE_DEVICES is set, let it hold numbers of GPUs, such as 0,1; else "
            "see what amd-smi metric says",
        ) from problem
    if not found.gpus:
        raise Cannot("AMD's driver is loaded, but its library amdsmi knows no GPU", "see what amd-smi list says")
    return found


def _has_power(gpu: Any) -> bool:
    """False for the second die of an MI250, whose power the first one shows, and for a GPU that claims to draw none."""
    from zeus.device.gpu.common import ZeusGPUNotSupportedError

    try:
        return _watts(gpu) > 0
    except ZeusGPUNotSupportedError:
        return False


def _refuse_half_cards(with_power: Sequence[Any], every: Sequence[Any]) -> None:
    """A die without a figure of its own is covered where the die before it, which shows both, is visible too."""
    covered = {gpu.gpu_index + 1 for gpu in with_power if "MI250" in gpu.get_name()}
    for gpu in every:
        if gpu not in with_power and gpu.gpu_index not in covered:
            raise Cannot(
                f"GPU {gpu.gpu_index} ({gpu.get_name()}) shows no power of its own",
                "leave it out of HIP_VISIBLE_DEVICES; of an MI250's two dies name both: the even one shows their sum",
            )


def _watts(gpu: Any) -> float:
    """Present power where the card shows it (MI300 and newer), else its average (MI200 and older, Navi)."""
    from zeus.device.gpu.common import ZeusGPUNotSupportedError

    try:
        return float(gpu.get_instant_power_usage()) / 1e3
    except ZeusGPUNotSupportedError:
        return float(gpu.get_average_power_usage()) / 1e3


def _shows_present_power(gpu: Any) -> bool:
    from zeus.device.gpu.common import ZeusGPUNotSupportedError

    try:
        gpu.get_instant_power_usage()
    except ZeusGPUNotSupportedError:
        return False
    return True


def _all_count_right(gpus: Sequence[Any], watched_s: float = 0.6) -> bool:
    """Whether every energy counter agrees with the power shown to within a factor of two, over a while.

    Some stand still or count in another unit (https://github.com/ROCm/amdsmi/issues/38). Zeus rules out factors of
    ten, and leaves the others to its users.
    """
    if not all(gpu.supports_get_total_energy_consumption() for gpu in gpus):
        return False
    began_s, first = time.monotonic(), [gpu.get_total_energy_consumption() for gpu in gpus]
    shown: list[list[float]] = [[] for _ in gpus]
    while time.monotonic() - began_s < watched_s:
        for gpu, watts in zip(gpus, shown, strict=True):
            watts.append(_watts(gpu))
        time.sleep(0.05)
    seconds, last = time.monotonic() - began_s, [gpu.get_total_energy_consumption() for gpu in gpus]
    gained_j = [(after - before) / 1e3 for before, after in zip(first, last, strict=True)]
    expected_j = [math.fsum(watts) / len(watts) * seconds for watts in shown]
    return all(told / 2 <= gained <= told * 2 for told, gained in zip(expected_j, gained_j, strict=True))


def _keep_counters(gpus: Sequence[Any]) -> None:
    """Zeus judges the counters anew whenever it starts, by one look at the power, which may come as work begins.

    What was found about them stands: a total that came and went with such looks would end the run.
    """
    for gpu in gpus:
        gpu._supports_get_total_energy_consumption = True


def _counter_id(number: int) -> str:
    return f"zeus:gpu-{number}"


def _power_id(number: int) -> str:
    return f"zeus:gpu-{number}-power"


def _counter_domain(number: int, gpu: Any) -> Domain:
    return Domain(
        id=_counter_id(number),
        kind="gpu",
        grade="counter",
        resolution_j=1e-3,
        update_s=INTERVAL_S,
        range_j=None,
        rel_u_scale=0.05,
        rel_u_workload=0.0,
        source=_COUNTER_SOURCE.format(zeus_version()),
        provenance=f"{gpu.get_name()} {_hip(gpu)}",
        device=gpu.get_name(),
        device_id=_hip(gpu),
    )


def _power_domain(number: int, gpu: Any) -> Domain:
    return Domain(
        id=_power_id(number),
        kind="gpu",
        grade="polled",
        resolution_j=None,
        update_s=INTERVAL_S,
        range_j=None,
        rel_u_scale=0.1,
        rel_u_workload=0.0,
        source=_POWER_SOURCE.format(zeus_version()),
        provenance=f"{gpu.get_name()} {_hip(gpu)}",
        device=gpu.get_name(),
        device_id=_hip(gpu),
    )


def _hip(gpu: Any) -> str:
    """Which card it is, as HIP numbers them; a card of two dies is two to HIP and one to its meter."""
    dies = f"{gpu.gpu_index}+{gpu.gpu_index + 1}" if "MI250" in gpu.get_name() else f"{gpu.gpu_index}"
    return f"HIP-{dies}"
