"""Linux's ``/sys``: where it is, and what its small files say."""

from __future__ import annotations

import os
from pathlib import Path

from .cpumodel import is_virtual_machine
from .types import Unavailable

__all__ = ["explain_missing", "sysfs_folder", "text_of"]


def sysfs_folder() -> Path:
    """``/sys``, unless ``JOULEMARK_SYSFS`` puts another tree in its place."""
    return Path(os.environ.get("JOULEMARK_SYSFS") or "/sys")


def text_of(file: Path) -> str:
    """What a file says; nothing where it is absent or its driver knows no answer (then reading is an error)."""
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def explain_missing(what: str) -> Unavailable | None:
    """Why the CPU's energy counters are not there for reasons that lie outside of this system, if so.

    Args:
        what: What is missing and where.
    """
    if os.environ.get("JOULEMARK_SYSFS"):
        return Unavailable(
            reason=f"{what}, where JOULEMARK_SYSFS points",
            fix="let JOULEMARK_SYSFS name a folder laid out like /sys, or unset it",
        )
    if is_virtual_machine():
        return Unavailable(
            reason="this is a virtual machine, and hypervisors do not pass the CPU's energy counters on",
            fix="ask whoever runs the host to measure there, or use bare metal, or a smart plug that this machine is "
            "alone behind (--meter plug=shelly:host=ADDRESS); here --meter modelled works",
        )
    return None
