"""CPU seconds of a process and everything it started, without losing those of children that ended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from .errors import MeterLost

__all__ = ["ProcessTree"]

_ON_LINUX = sys.platform.startswith("linux")

_Member = tuple[int, int]
"""A process as its id and its time of birth, since ids are used again."""


@dataclass(frozen=True)
class _Usage:
    """CPU nanoseconds of one process: its own, and of children that it has waited for."""

    own_ns: int
    reaped_ns: int


class ProcessTree:
    """Adds up the CPU time of a process and all its descendants since it was made.

    A process's own clock is exact to the scheduler's tick. What a child used between the last look and its end shows
    in its parent's account of children waited for, which has steps of a clock tick (10 ms on Linux): the growth of
    those accounts beyond what was already counted for children that ended is added. The sum never falls.
    """

    def __init__(self, pid: int) -> None:
        """Start counting at 0.

        Raises:
            MeterLost: There is no process ``pid``.
        """
        self._root = pid
        self._seen = _survey(pid, ())
        self._born = self._root_birth(self._seen)
        self._total_ns = 0
        self._owed_ns = 0

    def cpu_ns(self) -> int:
        """CPU nanoseconds of the tree since the start.

        Raises:
            MeterLost: The root process has ended and was waited for.
        """
        now = _survey(self._root, self._seen)
        if self._root_birth(now) != self._born:
            raise MeterLost(f"process {self._root} has ended, and with it the measure of its CPU time")
        self._total_ns += self._growth_ns(now)
        self._seen = now
        return self._total_ns

    def _growth_ns(self, now: dict[_Member, _Usage]) -> int:
        none = _Usage(0, 0)
        own = sum(max(0, usage.own_ns - self._seen.get(member, none).own_ns) for member, usage in now.items())
        reaped = sum(max(0, usage.reaped_ns - self._seen.get(member, none).reaped_ns) for member, usage in now.items())
        ended = sum(usage.own_ns + usage.reaped_ns for member, usage in self._seen.items() if member not in now)
        # What the accounts lack may come at the next look (a child that ended in mid-survey) or, of rounding to
        # ticks, any time; it must not count twice then. More than that never comes: children nobody waited for.
        surplus = reaped - ended - self._owed_ns
        self._owed_ns = min(max(0, -surplus), ended + 2 * _tick_ns())
        return own + max(0, surplus)

    def _root_birth(self, members: dict[_Member, _Usage]) -> int:
        births = [born for pid, born in members if pid == self._root]
        if not births:
            raise MeterLost(f"there is no process {self._root} (any more), whose CPU time was to be measured")
        return births[0]


def _survey(root: int, known: Iterable[_Member]) -> dict[_Member, _Usage]:
    """What the root, its descendants and those ``known`` that still live have used.

    Each process is looked at before its children, so that none is counted both as alive and as waited for. Those
    whose parent ended have a new parent outside the tree; they still belong to what is measured.
    """
    found: dict[_Member, _Usage] = {}
    _survey_below(root, found)
    for member in known:
        looked = None if member in found else _look_at(member[0])
        if looked is not None and looked[0] == member:
            _survey_below(member[0], found)
    return found


def _survey_below(pid: int, found: dict[_Member, _Usage]) -> None:
    waiting = [pid]
    while waiting:
        pid = waiting.pop()
        looked = _look_at(pid)
        if looked is not None and looked[0] not in found:
            found[looked[0]] = looked[1]
            waiting += _children(pid)


def _children(pid: int) -> list[int]:
    if _ON_LINUX:
        try:
            tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - Path costs more than the look itself
            lists = [Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii") for task in tasks]
            return [int(child) for text in lists for child in text.split()]
        except OSError:
            # A thread that just ended, or a kernel without CONFIG_PROC_CHILDREN: the slow way knows too.
            pass
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def _look_at(pid: int) -> tuple[_Member, _Usage] | None:
    """Who the process is and what it has used so far; None where it has gone or may not be looked at."""
    try:
        return _look_at_linux(pid) if _ON_LINUX else _look_at_other(pid)
    except (OSError, psutil.Error):
        return None


def _look_at_linux(pid: int) -> tuple[_Member, _Usage]:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - half of Path's time
        # From the third field (state) on, see proc_pid_stat(5): the second, a name in brackets, may hold anything.
        fields = file.read().rpartition(")")[2].split()
    # The id of another process's CPU clock, as clock_getcpuclockid(3) of the C library makes it.
    own_ns = time.clock_gettime_ns((~pid << 3) | 2)
    reaped_ticks, born = int(fields[13]) + int(fields[14]), int(fields[19])
    return (pid, born), _Usage(own_ns, reaped_ticks * _tick_ns())


def _look_at_other(pid: int) -> tuple[_Member, _Usage]:
    process = psutil.Process(pid)
    times = process.cpu_times()
    reaped_s = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    born = int(process.create_time() * 1e6)
    return (pid, born), _Usage(int((times.user + times.system) * 1e9), int(reaped_s * 1e9))


def _tick_ns() -> int:
    return 1_000_000_000 // os.sysconf("SC_CLK_TCK") if _ON_LINUX else 0
