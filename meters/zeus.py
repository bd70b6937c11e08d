"""What Joulemark's own meters do not read, through Zeus: AMD's GPUs, Apple silicon, NVIDIA Jetson, RAPL without root.

Zeus (https://ml.energy/zeus, 0.16) is optional, and runs in a process of its own: it is slow to load, lets libraries
print, asks some of them without a time limit, and starts helper processes that Zeus itself ends only at exit. It is
asked for counters and for power alone; its windows run on the wall clock, and its power monitor loses energy.
"""

from __future__ import annotations

import importlib.util
import math
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from .child import Child, ChildFailed, answer_questions
from .errors import MeterLost
from .polling import NoSample, PolledMeter, Sample
from .powercap import Zone, find_zones, powercap_folder
from .rapl import REL_U_DRAM, REL_U_PACKAGE, unwrap
from .sysfs import sysfs_folder
from .types import MOST_PLAUSIBLE_W, Domain, ScopeKind, Unavailable

__all__ = ["ZeusMeter", "apple_joules"]

INTERVAL_S, PATIENCE_S = 0.1, 3.0
START_S, ANSWER_S = 30.0, 4.0
"""How long Zeus may take to start (it watches AMD's counters for half a second, and so does this module) and to answer;
its client for zeusd gives up after 5 s by itself."""

ROCM_FIX = "install ROCm 6.2 or newer until amd-smi works, and its own version of the Python package amdsmi"
_SOCKETS = ("/run/zeusd/zeusd.sock", "/var/run/zeusd.sock")
_JETSON = ("/etc/nv_tegra_release", "/usr/lib/aarch64-linux-gnu/tegra")


class ZeusMeter(PolledMeter):
    """Joules of what Zeus sees here and neither ``rapl`` nor ``nvml`` does, asked for every 100 ms.

    AMD's GPUs are graded ``counter`` where their energy counter agrees with the power that they show, else ``polled``;
    Jetson's rails ``polled``; Apple's figures ``modelled``, since Apple says that they are estimates; CPUs and memory
    through zeusd ``counter``.
    """

    def __init__(self) -> None:
        super().__init__("zeus", _Zeus())


class _Zeus:
    """Zeus, in its process; a `Source`."""

    interval_s, patience_s = INTERVAL_S, PATIENCE_S

    def __init__(self) -> None:
        self._child: Child | None = None

    def describe(self) -> Sequence[Domain] | Unavailable:
        """The domains; nothing is started on a machine that shows no sign of having any."""
        found = _begin()
        if isinstance(found, Unavailable):
            return found
        child, domains = found
        child.close()
        return domains

    def ask(self) -> Sample:
        """One look at everything.

        Raises:
            NoSample: Zeus failed this time.
            MeterLost: It is gone, hangs, or a counter cannot be trusted any more.
        """
        if self._child is None:
            begun = _begin()
            if isinstance(begun, Unavailable):
                raise MeterLost(f"zeus: {begun.reason}")
            self._child = begun[0]
        try:
            told = self._child.ask({}, ANSWER_S)
        except ChildFailed as problem:
            raise MeterLost(f"Zeus is gone: {problem}") from problem
        if "lost" in told:
            raise MeterLost(told["lost"])
        if "error" in told:
            raise NoSample(told["error"])
        journey_s = (told["t1_ns"] - told["t0_ns"]) / 1e9
        # A counter is of the moment it is read; a power figure may be as old as it takes to be renewed.
        age_s = INTERVAL_S if told["watts"] else 0.0
        return Sample(
            moment_ns=(told["t0_ns"] + told["t1_ns"]) / 2,
            u_moment_s=math.hypot(journey_s, age_s) / math.sqrt(12),
            watts=told["watts"],
            joules=told["joules"],
        )

    def close(self) -> None:
        """End Zeus and whatever it started."""
        if self._child is not None:
            self._child.close()
            self._child = None


def _begin() -> tuple[Child, list[Domain]] | Unavailable:
    """Start Zeus where there is a sign of something for it; whoever asked for it ends it."""
    kinds = _find_signs()
    if isinstance(kinds, Unavailable):
        return kinds
    child = Child(__name__)
    try:
        told = child.ask({"begin": kinds}, START_S)
    except ChildFailed as problem:
        told = {"error": str(problem)}
    if told.get("domains"):
        return child, [Domain(**domain) for domain in told["domains"]]
    child.close()
    return Unavailable(
        reason=told.get("reason") or f"Zeus does not start: {told.get('error')}",
        fix=told.get("fix") or "pip install --upgrade 'joulemark[zeus]'",
    )


def _find_signs() -> list[str] | Unavailable:
    """What Zeus may have something to read of, by looking at a few paths; Zeus itself says nothing where it has not."""
    signs = {
        "apple": sys.platform == "darwin" and platform.machine() == "arm64",
        "amd": (sysfs_folder() / "class" / "kfd" / "kfd").exists(),
        "jetson": any(map(os.path.exists, _JETSON)),
        "zeusd": _zeusd_socket() is not None and not _rapl_is_readable(),
    }
    kinds = [kind for kind, seen in signs.items() if seen]
    if not kinds:
        return Unavailable(
            reason="no AMD GPU, no Apple silicon, no Jetson, and no zeusd that is needed here",
            fix="nothing to mend: rapl reads CPUs and nvml reads NVIDIA's GPUs. For RAPL without root: run zeusd as "
            "root (https://ml.energy/zeus) and let ZEUSD_SOCK_PATH name its socket",
        )
    if importlib.util.find_spec("zeus") is None:
        return Unavailable(
            reason=f"there is something to read here ({', '.join(kinds)}), but the Python package zeus is missing",
            fix="pip install 'joulemark[zeus]'",
        )
    return kinds


def _zeusd_socket() -> str | None:
    """Zeus itself looks for no daemon unless the variable is set; here its usual places are tried as well."""
    named = os.environ.get("ZEUSD_SOCK_PATH")
    return named or next((path for path in _SOCKETS if os.path.exists(path)), None)  # noqa: PTH110


def _rapl_is_readable() -> bool:
    zones = find_zones(powercap_folder())
    return bool(zones) and all(os.access(zone.energy_file, os.R_OK) for zone in zones)


# What follows runs in Zeus's process.


class _Part(Protocol):
    """One kind of hardware, as Zeus gives it."""

    @property
    def domains(self) -> Sequence[Domain]:
        """What it tells of."""

    def look(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Watts and joules by domain id."""


class _Cannot(Exception):
    """What was looked for cannot be read, and what to do about it."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix


class _Lost(Exception):
    """A counter that must not be read on."""


class _Amd:
    """AMD's GPUs that HIP programs see. `AMDGPUs` rather than `get_gpus`, which stops looking where it finds NVIDIA."""

    def __init__(self) -> None:
        from zeus.device.gpu.amd import AMDGPUs, amdsmi_is_available

        for name in ("ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"):
            if name in os.environ:
                raise _Cannot(
                    f"{name} renumbers the GPUs, and Zeus would read others than those that compute",
                    f"unset {name} and choose GPUs with HIP_VISIBLE_DEVICES",
                )
        if not amdsmi_is_available():
            raise _Cannot("AMD's library amdsmi does not answer", ROCM_FIX)
        # Kept, since the library shuts down when it goes.
        self._all = AMDGPUs()
        own_power = [(i, gpu) for i, gpu in enumerate(self._all.gpus) if _has_power(gpu)]
        _refuse_half_cards([gpu for _, gpu in own_power], self._all.gpus)
        right = _find_right_counters([gpu for _, gpu in own_power])
        self._counting = {f"zeus:gpu-{i}": gpu for (i, gpu), fine in zip(own_power, right, strict=True) if fine}
        self._showing = {
            f"zeus:gpu-{i}-power": gpu for (i, gpu), fine in zip(own_power, right, strict=True) if not fine
        }
        self.domains = [_amd_domain(name, gpu) for name, gpu in (self._counting | self._showing).items()]

    def look(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        return {name: _amd_watts(gpu) for name, gpu in self._showing.items()}, {
            name: float(gpu.get_total_energy_consumption()) / 1e3 for name, gpu in self._counting.items()
        }


def _has_power(gpu: Any) -> bool:
    """False for the second die of an MI250, whose power the first one shows."""
    from zeus.device.gpu.common import ZeusGPUNotSupportedError

    try:
        _amd_watts(gpu)
    except ZeusGPUNotSupportedError:
        return False
    return True


def _refuse_half_cards(with_power: Sequence[Any], every: Sequence[Any]) -> None:
    """A die without a figure of its own is covered where the die before it, which shows both, is visible too."""
    covered = {gpu.gpu_index + 1 for gpu in with_power if "MI250" in gpu.get_name()}
    for gpu in every:
        if gpu not in with_power and gpu.gpu_index not in covered:
            raise _Cannot(
                f"GPU {gpu.gpu_index} ({gpu.get_name()}) shows no power of its own",
                "of an MI250's two dies the even one shows the power of both: let HIP_VISIBLE_DEVICES name it as well",
            )


def _amd_watts(gpu: Any) -> float:
    """Present power where the card shows it (MI300 and newer), else its average (MI200 and older, Navi)."""
    from zeus.device.gpu.common import ZeusGPUNotSupportedError

    try:
        return float(gpu.get_instant_power_usage()) / 1e3
    except ZeusGPUNotSupportedError:
        return float(gpu.get_average_power_usage()) / 1e3


def _find_right_counters(gpus: Sequence[Any], watched_s: float = 0.6) -> list[bool]:
    """Which energy counters agree with the power shown to within a factor of two, over a while.

    Some stand still or count in another unit (https://github.com/ROCm/amdsmi/issues/38). Zeus rules out factors of
    ten, and leaves the others to its users.
    """
    counted = [gpu for gpu in gpus if gpu.supports_get_total_energy_consumption()]
    began_s, first = time.monotonic(), [gpu.get_total_energy_consumption() for gpu in counted]
    shown: list[list[float]] = [[] for _ in counted]
    while counted and time.monotonic() - began_s < watched_s:
        for gpu, watts in zip(counted, shown, strict=True):
            watts.append(_amd_watts(gpu))
        time.sleep(0.05)
    seconds, last = time.monotonic() - began_s, [gpu.get_total_energy_consumption() for gpu in counted]
    right = []
    for gpu, before, after, watts in zip(counted, first, last, shown, strict=True):
        expected_j = math.fsum(watts) / len(watts) * seconds
        if expected_j / 2 <= (after - before) / 1e3 <= expected_j * 2:
            right.append(gpu)
    return [gpu in right for gpu in gpus]


def _amd_domain(name: str, gpu: Any) -> Domain:
    polled = name.endswith("-power")
    both = ", both dies" if "MI250" in gpu.get_name() else ""
    return Domain(
        id=name,
        kind="gpu",
        grade="polled" if polled else "counter",
        resolution_j=None if polled else 1e-3,
        update_s=INTERVAL_S,
        range_j=None,
        rel_u_scale=0.1 if polled else 0.05,
        rel_u_workload=0.0,
        source="assumed 10 %: AMD states no error, and neither how old the figure is nor over what time it is a mean"
        if polled
        else "assumed 5 %, as NVIDIA states for its own sensors: AMD states none; the counter agreed with the power "
        "shown to within a factor of two, and not every one does (https://github.com/ROCm/amdsmi/issues/38)",
        provenance=f"{gpu.get_name()}, HIP index {gpu.gpu_index}{both}, amdsmi through Zeus {_zeus_version()}",
    )


class _Jetson:
    """The power rails of a Jetson module, read where Zeus finds them and added up by this side.

    Not by Zeus's `get_total_energy_consumption`, whose helper process adds up on its own, tells no error, and is
    waited for up to 15 s when it is gone.
    """

    def __init__(self) -> None:
        from zeus.device.soc import get_soc
        from zeus.device.soc.common import ZeusSoCInitError

        try:
            self._rails: dict[str, Any] = dict(get_soc().power_measurement)
        except ZeusSoCInitError as problem:
            raise _Cannot(
                f"Zeus does not take this for a Jetson ({problem})", "uname -p must say aarch64, as Zeus asks for it"
            ) from problem
        if not self._rails:
            raise _Cannot(
                "Zeus finds no power rail under /sys/bus/i2c/drivers/ina3221*",
                "in a container, mount the host's /sys; else see whether tegrastats shows any power",
            )
        whole = "total_power_mw" in self._rails
        self.domains = [
            _jetson_domain(rail, summed=rail == "total_power_mw" or not whole) for rail in sorted(self._rails)
        ]

    def look(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        return {_RAILS[rail][0]: float(at.measure_power()) / 1e3 for rail, at in self._rails.items()}, {}


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
        source="assumed 5 %: the monitor's gain is within 0.25 % and its offset within 80 uV (Texas Instruments, "
        "INA3221, SBOS576), NVIDIA states nothing of the shunts; small rails are worse",
        provenance=f"INA3221 rail that Zeus {_zeus_version()} takes for {rail.removesuffix('_power_mw')}",
        summed=summed,
    )


class _Apple:
    """The figures of Apple's own model, part by part; their sum is the domain that counts."""

    def __init__(self) -> None:
        from zeus.device.soc import get_soc
        from zeus.device.soc.apple import zeus_apple_available
        from zeus.device.soc.common import ZeusSoCInitError

        if not zeus_apple_available:
            raise _Cannot("the Python package zeus-apple-silicon is missing", "pip install 'joulemark[zeus]'")
        try:
            self._soc: Any = get_soc()
        except ZeusSoCInitError as problem:
            raise _Cannot(
                f"Zeus cannot read this Mac ({problem})", "use a Python built for arm64, not one under Rosetta"
            ) from problem
        self.domains = [_apple_domain(name) for name in apple_joules(self._soc.get_total_energy_consumption())]

    def look(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        return {}, apple_joules(self._soc.get_total_energy_consumption())


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
        provenance=f"Apple's energy model in IOReport, through Zeus {_zeus_version()}",
        summed=name == "zeus:soc",
    )


class _Zeusd:
    """CPUs and memory through zeusd's socket.

    With Zeus's client rather than `get_cpus`, which asks package by package, and takes psys for one more of them. What
    zeusd's numbers mean is in the names of the powercap zones, which everybody may read.
    """

    def __init__(self) -> None:
        from zeus.exception import ZeusBaseError
        from zeus.utils.zeusd import ZeusdClient, ZeusdConfig, require_capabilities

        path = _zeusd_socket() or ""
        try:
            self._client = ZeusdClient(ZeusdConfig.uds(path, token=os.environ.get("ZEUSD_TOKEN")))
            require_capabilities(self._client, read_cpu=True)
        except ZeusBaseError as problem:
            raise _Cannot(
                f"zeusd cannot be used: {problem}",
                f"see that zeusd runs with cpu-read enabled, and that this user may write to its socket {path} "
                "(zeusd serve --socket-permissions)",
            ) from problem
        self._counters = _zeusd_counters(self._client.cpu_ids, find_zones(powercap_folder()))
        self.domains = [counter.domain(path) for counter in self._counters]

    def look(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        told = self._client.get_cpu_energy(self._client.cpu_ids)
        now_ns = time.monotonic_ns()
        for counter in self._counters:
            entry = told.get(counter.cpu)
            value_uj = getattr(entry, "dram_energy_uj" if counter.zone.kind == "dram" else "cpu_energy_uj", None)
            counter.advance(value_uj, now_ns)
        return {}, {counter.name: counter.total_uj / 1e6 for counter in self._counters}


def _zeusd_counters(cpus: Sequence[int], zones: Sequence[Zone]) -> list[_Counter]:
    """A counter for each of zeusd's CPUs, and for the memory of each package."""
    by_folder = {zone.folder.name: zone for zone in zones}
    found = []
    for cpu in cpus:
        zone = by_folder.get(f"intel-rapl:{cpu}")
        if zone is None:
            raise _Cannot(
                f"zeusd numbers its CPUs, and {powercap_folder()} does not show whether CPU {cpu} is a package or psys",
                "in a container, mount the host's /sys read-only at, say, /host/sys and set JOULEMARK_SYSFS=/host/sys",
            )
        if "-die-" in zone.name:
            raise _Cannot(
                f"{zone.name} may mirror another die's counter, which zeusd does not tell",
                "let this user read the counters themselves, as joulemark doctor says under rapl",
            )
        inside = [z for name, z in by_folder.items() if re.fullmatch(rf"intel-rapl:{cpu}:\d+", name)]
        found += [_Counter(cpu, zone), *(_Counter(cpu, z) for z in inside if z.kind == "dram")]
    if not any(counter.zone.kind == "package" for counter in found):
        raise _Cannot("zeusd shows no package", "see what its log says when it starts")
    return found


class _Counter:
    """One of zeusd's counters, and its running total in microjoules.

    zeusd adds the counter's range for each wrap that it has seen, which in some versions is up to a second after the
    wrap: figures fall and leap back. The range is taken off again here, and wraps are found from what is left.
    """

    def __init__(self, cpu: int, zone: Zone) -> None:
        self.cpu, self.zone, self.name = cpu, zone, f"zeus:{zone.name}"
        self.total_uj = 0
        self._last_uj: int | None = None
        self._last_ns = 0

    def advance(self, value_uj: Any, now_ns: int) -> None:
        """Raises ValueError for what is no count of microjoules, and `_Lost` for a counter that went backwards."""
        if not isinstance(value_uj, int) or isinstance(value_uj, bool) or value_uj < 0:
            raise ValueError(f"zeusd says {value_uj!r} microjoules of {self.zone.name}")
        modulus = self.zone.modulus_uj
        raw_uj = value_uj % (modulus - 1) if modulus else value_uj
        if self._last_uj is not None:
            gained = unwrap(self._last_uj, raw_uj, modulus)
            seconds = (now_ns - self._last_ns) / 1e9
            if gained < 0 or gained / 1e6 > MOST_PLAUSIBLE_W * (seconds + INTERVAL_S):
                raise _Lost(f"{self.name} went from {self._last_uj} to {raw_uj} uJ in {seconds:.3g} s, which cannot be")
            self.total_uj += gained
        self._last_uj, self._last_ns = raw_uj, now_ns

    def domain(self, path: str) -> Domain:
        rel_u = REL_U_DRAM if self.zone.kind == "dram" else REL_U_PACKAGE
        return Domain(
            id=self.name,
            kind=self.zone.kind,
            grade="counter",
            resolution_j=max(1.0, (self.zone.modulus_uj or 0) / 2**32) / 1e6,
            update_s=INTERVAL_S,
            range_j=None,
            rel_u_scale=rel_u,
            rel_u_workload=0.0,
            source=f"assumed {rel_u:.0%}, as for rapl, whose counter it is (Khan et al., RAPL in Action, 2018)",
            provenance=f"{self.zone.energy_file}, by zeusd at {path}",
            summed=self.zone.summed,
        )


_PARTS: dict[str, Callable[[], _Part]] = {"apple": _Apple, "amd": _Amd, "jetson": _Jetson, "zeusd": _Zeusd}


def _zeus_version() -> str:
    from zeus import __version__

    return str(__version__)


class _Answering:
    """Zeus's process: told once what to look for, then asked again and again."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []

    def __call__(self, question: Mapping[str, Any]) -> dict[str, Any]:
        return self._begin(question["begin"]) if "begin" in question else self._look()

    def _begin(self, kinds: Sequence[str]) -> dict[str, Any]:
        problems: dict[str, Exception] = {}
        for kind in kinds:
            try:
                part = _PARTS[kind]()
                part.look()  # Thrown away: Zeus starts its helpers when it is first asked.
            except Exception as problem:
                problems[kind] = problem
            else:
                self._parts.append(part)
        return {
            "domains": [asdict(domain) for part in self._parts for domain in part.domains],
            "reason": "; ".join(map(_explain, problems.values())),
            "fix": "; ".join(problem.fix for problem in problems.values() if isinstance(problem, _Cannot)),
        }

    def _look(self) -> dict[str, Any]:
        watts: dict[str, float] = {}
        joules: dict[str, float] = {}
        t0_ns = time.monotonic_ns()
        try:
            for part in self._parts:
                more_watts, more_joules = part.look()
                watts, joules = watts | dict(more_watts), joules | dict(more_joules)
        except _Lost as lost:
            return {"lost": str(lost)}
        return {"t0_ns": t0_ns, "t1_ns": time.monotonic_ns(), "watts": watts, "joules": joules}


def _explain(problem: Exception) -> str:
    if isinstance(problem, _Cannot):
        return str(problem)
    if isinstance(problem, ImportError):
        return f"the installed Zeus is not one that Joulemark knows ({problem})"
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"


if __name__ == "__main__":
    answer_questions(_Answering())
