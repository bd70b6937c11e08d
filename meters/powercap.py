"""The zones of Linux's powercap tree: which there are, what each covers, which of them add up.

A CPU's energy counters (RAPL) appear as folders ``intel-rapl:SOCKET`` and ``intel-rapl:SOCKET:PART``, on AMD
under the same names. See https://docs.kernel.org/power/powercap/powercap.html.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .sysfs import explain_missing, sysfs_folder, text_of
from .types import ScopeKind, Unavailable

__all__ = ["Zone", "explain_absence", "explain_permission", "find_zones", "powercap_folder"]

_ZONE_NAME = re.compile(r"[^:]*rapl[^:]*(:\d+)+")
_DEEPEST = 4


@dataclass(frozen=True, kw_only=True)
class Zone:
    """One energy counter of the tree.

    Attributes:
        name: What it is called in a domain's id: ``package-0``, ``dram-0``, ``psys``.
        folder: Where its files lie.
        kind: What it covers.
        summed: Whether it belongs in a total. Packages and their memory do, since neither contains the other;
            psys contains the package, and the package contains core and uncore.
        modulus_uj: Microjoules after which the counter starts again at 0; None where the tree does not say.
    """

    name: str
    folder: Path
    kind: ScopeKind
    summed: bool
    modulus_uj: int | None

    @property
    def energy_file(self) -> Path:
        """The counter, in microjoules."""
        return self.folder / "energy_uj"


def powercap_folder() -> Path:
    """Where the tree is, ``/sys/class/powercap`` unless ``JOULEMARK_SYSFS`` puts another in place of ``/sys``."""
    return sysfs_folder() / "class" / "powercap"


def find_zones(root: Path) -> list[Zone]:
    """All zones below ``root``, each physical counter once.

    Trees come flat (links to all zones side by side) and nested (a part inside its socket's folder), often both at
    once; a zone is known by its folder's name. The MMIO zones of a laptop mirror the counters of the MSR ones under
    the same labels, so what has the same name counts once, MSR first.
    """
    folders = {folder.name: folder for folder in _walk(root, _DEEPEST)}
    labels = {name: text_of(folder / "name") for name, folder in folders.items()}
    zones: dict[str, Zone] = {}
    for basename in sorted(folders, key=_msr_first):
        zone = _describe(basename, folders[basename], labels)
        if zone is not None:
            zones.setdefault(zone.name, zone)
    return list(zones.values())


def explain_permission(root: Path) -> Unavailable:
    """What to do where the counters are there, but only root may read them."""
    files = root / "*" / "energy_uj"
    return Unavailable(
        reason=f"{files} may be read by root alone, as Linux has it since CVE-2020-8694 (counters can leak secrets)",
        fix=f"until the next boot: sudo chmod a+r {files}; for good, a line in /etc/udev/rules.d/99-powercap.rules: "
        'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chmod a+r /sys%p/energy_uj"; or run Joulemark as root or '
        "with the capability CAP_DAC_READ_SEARCH. Every local user can then read them too, so only on machines of "
        "trusted users",
    )


def explain_absence(root: Path) -> Unavailable:
    """Why there may be no counters under ``root``, and what to do."""
    if (outside := explain_missing(f"no RAPL zone under {root}")) is not None:
        return outside
    if not sys.platform.startswith("linux"):
        return Unavailable(reason=f"powercap is Linux's, and this is {sys.platform}", fix="use --meter modelled")
    if _in_container():
        return Unavailable(
            reason=f"this is a container, and container engines hide {root}",
            fix="mount the host's /sys read-only at, say, /host/sys and set JOULEMARK_SYSFS=/host/sys",
        )
    return Unavailable(
        reason=f"no RAPL zone under {root}: this CPU has no such counters, or their driver is not loaded",
        fix="try: sudo modprobe intel_rapl_msr (AMD CPUs too), then joulemark doctor",
    )


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Folders of zones under ``folder``; follows links, but only into folders of powercap's names."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return
    for path in inside:
        if "rapl" not in path.name or not path.is_dir():
            continue
        if _ZONE_NAME.fullmatch(path.name) and os.path.lexists(path / "energy_uj"):
            yield path
        if depth > 1:
            yield from _walk(path, depth - 1)


def _msr_first(basename: str) -> tuple[bool, str, list[int]]:
    control, *numbers = basename.split(":")
    return "mmio" in control, control, [int(number) for number in numbers]


def _describe(basename: str, folder: Path, labels: dict[str, str]) -> Zone | None:
    label = labels[basename]
    if not label:
        return None
    socket = labels.get(basename.rpartition(":")[0], "").removeprefix("package-") or basename.split(":")[1]
    name, kind, summed = _meaning(label, socket)
    return Zone(name=name, folder=folder, kind=kind, summed=summed, modulus_uj=_modulus(folder))


def _meaning(label: str, socket: str) -> tuple[str, ScopeKind, bool]:
    """A domain's name, its kind, and whether it adds to a total, for a zone labelled ``label``."""
    if label.startswith("package"):
        return label, "package", True
    if label.startswith("psys"):
        return label, "platform", False
    if label.startswith("dram"):
        return f"dram-{socket}", "dram", True
    # core, uncore and whatever a package may name next: a part of it, never added to it.
    return f"{label}-{socket}", "package", False


def _modulus(folder: Path) -> int | None:
    """``max_energy_range_uj`` is the largest value, so the counter has one more state than that."""
    text = text_of(folder / "max_energy_range_uj")
    return int(text) + 1 if text.isdecimal() and int(text) > 0 else None


def _in_container() -> bool:
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or "container" in os.environ
