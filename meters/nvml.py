"""NVIDIA GPUs: their energy counter, on Volta and newer, and their power, on all."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence

from .errors import MeterLost
from .nvidia import Gpu, Nvidia
from .polling import PolledMeter, Sample
from .types import Conditions, Domain, Grade, Reading, Unavailable

__all__ = ["NvmlMeter", "NvmlPowerMeter"]

REL_U = 0.05
_SOURCE = (
    "NVIDIA, NVML API reference: power readings within +-5 % (nvmlDeviceGetPowerUsage); on A100 and H100 the sensor "
    "looks a quarter of the time (arXiv 2312.02741), so only windows of 10 s and more average that out"
)
_SEEN_ENOUGH, _POLL_AT_MOST_S = 4, 1.2
"""Figures are renewed every 10 to 100 ms, depending on the card (arXiv 2312.02741): one is watched until it was renewed
so often, or for so many seconds."""
_UPDATE_S = 0.1
"""For a power that stays the same while it is watched: the slowest."""
_POWER = "nvml-power"
_LEAP_W, _LEAP_S = 5_000.0, 1.0


class NvmlMeter:
    """Joules of the GPUs that a CUDA program started now would see. Grade ``counter``."""

    id = "nvml"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nvidia: Nvidia | None = None
        self._opened_mj: list[int] = []
        self._last_mj: list[int] = []
        self._last_ns = 0

    def probe(self) -> Sequence[Domain] | Unavailable:
        """The visible GPUs, and how often their counters are renewed (found out by looking for up to 1.2 s)."""
        return _probe(_no_counter, _counter_domain)

    def open(self, pid: int) -> None:  # noqa: ARG002 - the counters cover whole GPUs
        """Start counting.

        Raises:
            MeterLost: What `probe` found cannot be read any more.
        """
        self.close()
        found = _start()
        try:
            self._opened_mj = self._last_mj = [gpu.energy_mj() for gpu in found.gpus]
            self._last_ns = time.monotonic_ns()
        except BaseException:
            found.close()
            raise
        self._nvidia = found

    def read(self) -> Reading:
        """Joules of every visible GPU since `open`.

        Raises:
            MeterLost: A GPU fell off the bus, or its counter went backwards (its driver was loaded anew).
        """
        with self._lock:
            if self._nvidia is None:
                raise MeterLost("nvml is not open")
            gpus = self._nvidia.gpus
            t0_ns = time.monotonic_ns()
            now_mj = [gpu.energy_mj() for gpu in gpus]
            t1_ns = time.monotonic_ns()
            possible_mj = _LEAP_W * ((t1_ns - self._last_ns) / 1e9 + _LEAP_S) * 1e3
            for gpu, last, now in zip(gpus, self._last_mj, now_mj, strict=True):
                if not last <= now <= last + possible_mj:
                    how = "went backwards" if now < last else "leapt"
                    raise MeterLost(f"{gpu.where} {how}: {last} to {now} mJ")
            self._last_mj, self._last_ns = now_mj, t1_ns
            gained = zip(gpus, self._opened_mj, now_mj, strict=True)
            values = {f"nvml:gpu-{gpu.index}": (now - start) / 1e3 for gpu, start, now in gained}
        return Reading(t0_ns=t0_ns, t1_ns=t1_ns, values=values)

    def conditions(self) -> Sequence[Conditions]:
        """The state of every visible GPU."""
        return [gpu.conditions() for gpu in self._nvidia.gpus] if self._nvidia is not None else []

    def close(self) -> None:
        """Let go of the driver."""
        with self._lock:
            if self._nvidia is not None:
                self._nvidia.close()
            self._nvidia = None


class NvmlPowerMeter(PolledMeter):
    """Joules of the same GPUs from their power, asked for twenty times a second. Grade ``polled``: for cards without an
    energy counter, and as a check on those that have one."""

    def __init__(self) -> None:
        super().__init__(_POWER, _GpuPower())


class _GpuPower:
    """The power of the visible GPUs, as a `Source`."""

    interval_s, patience_s = 0.05, 2.0

    def __init__(self) -> None:
        self._nvidia: Nvidia | None = None
        self._update_s = _UPDATE_S

    def describe(self) -> Sequence[Domain] | Unavailable:
        """The visible GPUs, and how often their power is renewed (found out by looking for up to 1.2 s)."""
        found = _probe(_no_power, _power_domain)
        if not isinstance(found, Unavailable):
            self._update_s = max(domain.update_s or _UPDATE_S for domain in found)
        return found

    def ask(self) -> Sample:
        """The power of every visible GPU.

        Raises:
            MeterLost: A GPU fell off the bus, or what `describe` found cannot be read any more.
        """
        if self._nvidia is None:
            self._nvidia = _start()
        t0_ns, gpus = time.monotonic_ns(), self._nvidia.gpus
        watts = {f"{_POWER}:gpu-{gpu.index}": gpu.power_w() for gpu in gpus}
        asked_ns = (t0_ns + time.monotonic_ns()) / 2
        # A mean over some time holds in its middle; besides it may be as old as it takes to be renewed. Of a load that
        # ends in that middle, an eighth of the time's joules is not in the mean yet.
        averaged_s = [0.0 if gpu.tells_instant else gpu.averaged_s for gpu in gpus]
        age_s = (max(averaged_s) + min(averaged_s)) / 4 + self._update_s / 2
        return Sample(
            moment_ns=asked_ns - age_s * 1e9,
            u_moment_s=math.hypot(self._update_s / math.sqrt(12), max(averaged_s) / 8),
            watts=watts,
            means=min(averaged_s) > 0,
        )

    def conditions(self) -> Sequence[Conditions]:
        """The state of every visible GPU."""
        return [gpu.conditions() for gpu in self._nvidia.gpus] if self._nvidia is not None else []

    def close(self) -> None:
        """Let go of the driver."""
        if self._nvidia is not None:
            self._nvidia.close()
        self._nvidia = None


def _start() -> Nvidia:
    found = Nvidia.start()
    if isinstance(found, Unavailable):
        raise MeterLost(found.reason)
    return found


def _probe(
    refuse: Callable[[Gpu], Unavailable | None], describe: Callable[[Gpu], Domain | Unavailable]
) -> Sequence[Domain] | Unavailable:
    nvidia = Nvidia.start()
    if isinstance(nvidia, Unavailable):
        return nvidia
    try:
        domains: list[Domain] = []
        for gpu in nvidia.gpus:
            found = refuse(gpu) or describe(gpu)
            if isinstance(found, Unavailable):
                return found
            domains.append(found)
    except MeterLost as error:
        return Unavailable(reason=str(error), fix="see what nvidia-smi says")
    else:
        return domains
    finally:
        nvidia.close()


def _no_counter(gpu: Gpu) -> Unavailable | None:
    if gpu.counts_energy():
        return None
    return Unavailable(
        reason=f"{gpu.where} has no energy counter (it came with Volta, and not on every card)",
        fix="nothing to do: nvml-power adds up its power instead; or hide this GPU with CUDA_VISIBLE_DEVICES",
    )


def _no_power(gpu: Gpu) -> Unavailable | None:
    if gpu.tells_power():
        return None
    return Unavailable(
        reason=f"{gpu.where} does not tell its power",
        fix="hide this GPU with CUDA_VISIBLE_DEVICES, or measure at the wall",
    )


def _counter_domain(gpu: Gpu) -> Domain | Unavailable:
    update_s = _probe_update(gpu.energy_mj)
    if update_s is None:
        return Unavailable(
            reason=f"the energy counter of {gpu.where} stood still for {_POLL_AT_MOST_S:g} s",
            fix="nothing to do: nvml-power adds up its power instead",
        )
    return _domain(NvmlMeter.id, gpu, update_s, "counter")


def _power_domain(gpu: Gpu) -> Domain:
    return _domain(_POWER, gpu, _probe_update(gpu.power_w) or _UPDATE_S, "polled")


def _domain(meter: str, gpu: Gpu, update_s: float, grade: Grade) -> Domain:
    return Domain(
        id=f"{meter}:gpu-{gpu.index}",
        kind="gpu",
        grade=grade,
        resolution_j=1e-3 if grade == "counter" else None,
        update_s=update_s,
        range_j=None,
        rel_u_scale=REL_U,
        rel_u_workload=0.0,
        source=_SOURCE,
        provenance=f"{gpu.name} {gpu.uuid}",
        device=gpu.name,
        device_id=gpu.uuid,
    )


def _probe_update(look: Callable[[], float]) -> float | None:
    """Seconds between renewals of a figure; None where it did not move twice while it was watched."""
    began_ns = time.monotonic_ns()
    changes_ns: list[int] = []
    last = look()
    while len(changes_ns) < _SEEN_ENOUGH and time.monotonic_ns() - began_ns < _POLL_AT_MOST_S * 1e9:
        time.sleep(0.001)
        now = look()
        if now != last:
            changes_ns.append(time.monotonic_ns())
        last = now
    gaps = sorted((b - a) / 1e9 for a, b in itertools.pairwise(changes_ns))
    return gaps[len(gaps) // 2] if gaps else None
