"""RAPL without root: CPUs and memory through zeusd, Zeus's daemon; runs in Zeus's process."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from typing import Any

from .powercap import Zone, find_zones, powercap_folder
from .rapl import REL_U_DRAM, REL_U_PACKAGE, unwrap
from .types import MOST_PLAUSIBLE_W, Domain
from .zeusparts import INTERVAL_S, Cannot, Look, Lost

__all__ = ["Zeusd", "zeusd_socket"]

_SOCKETS = ("/run/zeusd/zeusd.sock", "/var/run/zeusd.sock")


def zeusd_socket() -> str | None:
    """Where the daemon listens; None where there is none.

    Zeus itself looks for no daemon unless the variable is set; here its usual places are tried as well.
    """
    named = os.environ.get("ZEUSD_SOCK_PATH")
    return named or next((path for path in _SOCKETS if os.path.exists(path)), None)  # noqa: PTH110


class Zeusd:
    """CPUs and memory through zeusd's socket.

    With Zeus's client rather than `get_cpus`, which asks package by package, and takes psys for one more of them. What
    zeusd's numbers mean is in the names of the powercap zones, which everybody may read.
    """

    kind = "zeusd"

    def __init__(self) -> None:
        """Raises Cannot where it does not let one read, or leaves open what its numbers mean."""
        from zeus.exception import ZeusBaseError
        from zeus.utils.zeusd import ZeusdClient, ZeusdConfig, require_capabilities

        path = zeusd_socket() or ""
        try:
            self._client = ZeusdClient(ZeusdConfig.uds(path, token=os.environ.get("ZEUSD_TOKEN")))
            require_capabilities(self._client, read_cpu=True)
        except ZeusBaseError as problem:
            raise Cannot(
                f"zeusd cannot be used: {problem}",
                f"see that zeusd runs with cpu-read enabled, and that this user may write to its socket {path} "
                "(zeusd serve --socket-permissions)",
            ) from problem
        self._counters = _zeusd_counters(self._client.cpu_ids, find_zones(powercap_folder()))
        self.domains = [counter.domain(path) for counter in self._counters]

    def look(self) -> Look:
        """Joules since the first look.

        Raises:
            Lost: A counter went backwards.
            ValueError: The daemon told something else than counts.
        """
        told = self._client.get_cpu_energy(self._client.cpu_ids)
        now_ns = time.monotonic_ns()
        for counter in self._counters:
            entry = told.get(counter.cpu)
            value_uj = getattr(entry, "dram_energy_uj" if counter.zone.kind == "dram" else "cpu_energy_uj", None)
            counter.advance(value_uj, now_ns)
        return Look(joules={counter.name: counter.total_uj / 1e6 for counter in self._counters})


def _zeusd_counters(cpus: Sequence[int], zones: Sequence[Zone]) -> list[_Counter]:
    """A counter for each of zeusd's CPUs, and for the memory of each package."""
    by_folder = {zone.folder.name: zone for zone in zones}
    found = []
    for cpu in cpus:
        zone = by_folder.get(f"intel-rapl:{cpu}")
        if zone is None:
            raise Cannot(
                f"zeusd numbers its CPUs, and {powercap_folder()} does not show whether CPU {cpu} is a package or psys",
                "in a container, mount the host's /sys read-only at, say, /host/sys and set JOULEMARK_SYSFS=/host/sys",
            )
        if "-die-" in zone.name:
            raise Cannot(
                f"{zone.name} may mirror another die's counter, which zeusd does not tell",
                "let this user read the counters themselves, as joulemark doctor says under rapl",
            )
        inside = [z for name, z in by_folder.items() if re.fullmatch(rf"intel-rapl:{cpu}:\d+", name)]
        found += [_Counter(cpu, zone), *(_Counter(cpu, z) for z in inside if z.kind == "dram")]
    if not any(counter.zone.kind == "package" for counter in found):
        raise Cannot("zeusd shows no package", "see what its log says when it starts")
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
        """Raises ValueError for what is no count of microjoules, and Lost for a counter that went backwards."""
        if not isinstance(value_uj, int) or isinstance(value_uj, bool) or value_uj < 0:
            raise ValueError(f"zeusd says {value_uj!r} microjoules of {self.zone.name}")
        modulus = self.zone.modulus_uj
        raw_uj = value_uj % (modulus - 1) if modulus else value_uj
        if self._last_uj is not None:
            gained = unwrap(self._last_uj, raw_uj, modulus)
            seconds = (now_ns - self._last_ns) / 1e9
            if gained < 0 or gained / 1e6 > MOST_PLAUSIBLE_W * (seconds + INTERVAL_S):
                raise Lost(f"{self.name} went from {self._last_uj} to {raw_uj} uJ in {seconds:.3g} s, which cannot be")
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
