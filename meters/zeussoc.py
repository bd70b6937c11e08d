"""NVIDIA Jetson and Apple silicon through Zeus; runs in Zeus's process."""

from __future__ import annotations

import math
from typing import Any

from .types import Domain, ScopeKind
from .zeusparts import INTERVAL_S, Cannot, Look, zeus_version

__all__ = ["Apple", "Jetson", "apple_joules"]


class Jetson:
    """The power rails of a Jetson module, read where Zeus finds them and added up by the meter; each of its moment.

    Not by Zeus's `get_total_energy_consumption`, whose helper process adds up on its own, tells no error, and is
    waited for up to 15 s when it is gone.
    """

    kind = "jetson"

    def __init__(self) -> None:
        """Raises Cannot where there are none."""
        from zeus.device.soc import get_soc
        from zeus.device.soc.common import ZeusSoCInitError

        try:
            self._rails: dict[str, Any] = dict(get_soc().power_measurement)
        except ZeusSoCInitError as problem:
            raise Cannot(
                f"Zeus does not take this for a Jetson ({problem})", "uname -p must say aarch64, as Zeus asks for it"
            ) from problem
        if not self._rails:
            raise Cannot(
                "Zeus finds no power rail under /sys/bus/i2c/drivers/ina3221*",
                "in a container, mount the host's /sys; else see whether tegrastats shows any power",
            )
        whole = "total_power_mw" in self._rails
        self.domains = [
            _jetson_domain(rail, summed=rail == "total_power_mw" or not whole) for rail in sorted(self._rails)
        ]

    def look(self) -> Look:
        """The power of every rail."""
        return Look(watts={_RAILS[rail][0]: float(at.measure_power()) / 1e3 for rail, at in self._rails.items()})


_RAILS: dict[str, tuple[str, ScopeKind]] = {
    "total_power_mw": ("zeus:module", "soc"),
    "cpu_power_mw": ("zeus:cpu-rail", "package"),
    "gpu_power_mw": ("zeus:gpu-rail", "gpu"),
}


def _jetson_domain(rail: str, *, summed: bool) -> Domain:
    name, kind = _RAILS[rail]
    return Domain(
        id=name,
        kind=kind,
        grade="polled",
        resolution_j=None,
        update_s=INTERVAL_S,
        range_j=None,
        rel_u_scale=0.05,
        rel_u_workload=0.0,
        source=f"INA3221 through Zeus {zeus_version()}; assumed 5 %: its gain is within 0.25 % and its offset within "
        "80 uV (Texas Instruments, SBOS576), NVIDIA states nothing of the shunts; small rails are worse",
        provenance=f"NVIDIA Jetson {rail.removesuffix('_power_mw')}",
        summed=summed,
        device="NVIDIA Jetson" if kind == "gpu" else "",
    )


class Apple:
    """The figures of Apple's own model, part by part; their sum is the domain that counts."""

    kind = "apple"

    def __init__(self) -> None:
        """Raises Cannot where Zeus does not get at them."""
        from zeus.device.soc import get_soc
        from zeus.device.soc.apple import zeus_apple_available
        from zeus.device.soc.common import ZeusSoCInitError

        if not zeus_apple_available:
            raise Cannot("the Python package zeus-apple-silicon is missing", "pip install 'joulemark[zeus]'")
        try:
            self._soc: Any = get_soc()
        except ZeusSoCInitError as problem:
            raise Cannot(
                f"Zeus cannot read this Mac ({problem})", "use a Python built for arm64, not one under Rosetta"
            ) from problem
        self.domains = [_apple_domain(name) for name in apple_joules(self._soc.get_total_energy_consumption())]

    def look(self) -> Look:
        """Joules since Zeus began to watch."""
        return Look(joules=apple_joules(self._soc.get_total_energy_consumption()))


def apple_joules(figures: Any) -> dict[str, float]:
    """Joules by domain id: the chip's parts, which do not overlap, and their sum ``zeus:soc``.

    Args:
        figures: Zeus's ``AppleSiliconMeasurement``; millijoules, None for what this chip does not tell.

    Raises:
        ValueError: It tells nothing of its CPU, without which a sum would be a part taken for the whole.
    """
    parts = ("cpu_total", "gpu", "gpu_sram", "dram", "ane")
    told = {part: getattr(figures, f"{part}_mj") for part in parts}
    if told["cpu_total"] is None:
        raise ValueError("this chip tells nothing of its CPU's energy")
    joules = {f"zeus:{part.replace('_', '-')}": mj / 1e3 for part, mj in told.items() if mj is not None}
    return {"zeus:soc": math.fsum(joules.values())} | joules


def _apple_domain(name: str) -> Domain:
    return Domain(
        id=name,
        kind="soc",
        grade="modelled",
        resolution_j=1e-3,
        update_s=INTERVAL_S,
        range_j=None,
        rel_u_scale=0.2,
        rel_u_workload=0.1,
        source="assumed 20 % and 10 %: Apple calls such figures estimated and not fit for comparing devices "
        "(powermetrics(1)), and states no error",
        provenance=f"Apple's energy model in IOReport, through Zeus {zeus_version()}",
        summed=name == "zeus:soc",
    )
