"""One event that Linux's perf counts: the system call that asks for it, and its running total.

How to ask is in perf_event_open(2). The kernel undoes the hardware's 32-bit wraps and adds up in 64 bits.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import time

from .errors import MeterLost
from .perfevents import Event
from .types import MOST_PLAUSIBLE_W

__all__ = ["Counter", "can_call"]

_SYSCALLS = {"x86_64": 298, "aarch64": 241}
"""Number of perf_event_open in 64-bit processes (Linux, arch/x86/entry/syscalls and include/uapi/asm-generic)."""
_COUNT_AND_TIMES = 0b11  # PERF_FORMAT_TOTAL_TIME_ENABLED and ..._RUNNING
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC
_READ = struct.Struct("=QQQ")
_MOST_PAUSED, _MOST_PAUSED_S = 0.002, 0.01
"""An event pauses for microseconds when others are added beside it; and its clock and the raw one are each derived from
the hardware's."""


def can_call() -> bool:
    """Whether the number of the system call is known for this machine."""
    return platform.machine() in _SYSCALLS and sys.maxsize > 2**32


class Counter:
    """One event that is being counted, and its running total."""

    def __init__(self, event: Event) -> None:
        """Raises OSError where it cannot be counted, and MeterLost where it cannot be read."""
        self.event = event
        self.total = 0
        self._fd = _perf_event_open(event)
        self._opened_ns = _raw_ns()
        try:
            self._last, self._last_ns = self.look(), time.monotonic_ns()
        except BaseException:
            self.close()
            raise

    def look(self) -> int:
        """The count as it stands; raises MeterLost where it is not counted all the time."""
        open_ns = _raw_ns() - self._opened_ns
        try:
            found = os.read(self._fd, _READ.size)
        except OSError as error:
            raise MeterLost(f"{self._where} cannot be read ({error.strerror}); see joulemark doctor") from error
        if len(found) != _READ.size:
            raise MeterLost(f"{self._where} gives no count any more: is CPU {self.event.cpu} offline?")
        count, _, counted_ns = _READ.unpack(found)
        if open_ns - counted_ns > _MOST_PAUSED * open_ns + _MOST_PAUSED_S * 1e9:
            raise MeterLost(
                f"{self._where} was counted for {counted_ns / 1e9:.3f} of {open_ns / 1e9:.3f} s: "
                f"CPU {self.event.cpu} went offline, or something else stopped the event"
            )
        return int(count)

    def advance(self, count: int, now_ns: int) -> None:
        """Add what was gained since the last look, unless it cannot be true: a CPU that slept may have begun anew."""
        gained_j = (count - self._last) * self.event.scale_j
        if not 0 <= gained_j <= MOST_PLAUSIBLE_W * ((now_ns - self._last_ns) / 1e9 + 1.0):
            how = "went backwards" if gained_j < 0 else "leapt"
            raise MeterLost(f"{self._where} {how} by {abs(gained_j):.6g} J, which no CPU could use")
        self.total += count - self._last
        self._last, self._last_ns = count, now_ns

    def close(self) -> None:
        """Count no more."""
        os.close(self._fd)

    @property
    def _where(self) -> str:
        return f"{self.event.name} ({self.event.file})"


def _raw_ns() -> int:
    """A clock that is not slewed, as an event's is not; a time server's client may make the monotonic one run fast or
    slow by up to 8 % for a while (chrony.conf(5), maxslewrate), which would look like an event that was stopped."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


class _Attributes(ctypes.Structure):
    """``struct perf_event_attr`` as the first kernels had it, 64 bytes, which all kernels take."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("sample_period", ctypes.c_uint64),
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("wakeup_events", ctypes.c_uint32),
        ("bp_type", ctypes.c_uint32),
        ("config1", ctypes.c_uint64),
    )


def _perf_event_open(event: Event) -> int:
    """A descriptor that counts the event for the whole of its package.

    Raises:
        OSError: As perf_event_open(2) has it.
    """
    attributes = _Attributes(
        type=event.pmu, size=ctypes.sizeof(_Attributes), config=event.config, read_format=_COUNT_AND_TIMES
    )
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    numbers = (-1, event.cpu, -1, _CLOSE_ON_EXEC)  # of any process, on that CPU, in no group
    arguments = [ctypes.c_long(number) for number in numbers]
    fd = int(libc.syscall(ctypes.c_long(_SYSCALLS[platform.machine()]), ctypes.byref(attributes), *arguments))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd
