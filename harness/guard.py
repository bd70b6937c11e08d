"""Stands between the process that measures and a model's: whatever becomes of either, nothing is left behind.

A script for the bare interpreter, which loads nothing else and sleeps while the model works:

    python -I -S guard.py LIFELINE CONNECTION COMMAND...

It runs the command, adopts what the command's process leaves behind, and ends all of it once that process has ended
or the lifeline is cut: the reading end of a pipe whose other end only the process that measures holds, so that the
kernel cuts it however that one ends. It then ends in the same way as the command's process did.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys

LOG_MOST, LOG_KEPT = 4 << 20, 64 << 10
"""Bytes that a model may have said before all but the last is let go."""

LOOK_EVERY_S = 1.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_stopped: list[int] = []
"""Signals that told this process to end."""


def main() -> None:
    """Run the command until it ends, or has to."""
    lifeline, connection, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    os.set_inheritable(lifeline, False)
    woken = _wake_on_signals()
    _adopt_orphans()
    worker = os.posix_spawn(command[0], [*command, str(os.getpid())], os.environ, setpgroup=0, setsigmask=())
    # From now on the other end learns at once when the last process that could answer is gone.
    os.close(connection)
    status = None
    while status is None and not _cut(lifeline, woken):
        status = _reap(worker)
        _shorten_log()
    last = _end_all(worker)
    _end_like(last if status is None else status)


def _wake_on_signals() -> int:
    """A file that has something to read once a child has ended, or this process should."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in _STOPPING:
        signal.signal(number, lambda number, _: _stopped.append(number))
    return reading


def _adopt_orphans() -> None:
    """Become the parent of all that a descendant leaves behind; and be told, too, when the one that measures ends."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        # Should a copy of the lifeline's other end live on in a process that was forked meanwhile.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _cut(lifeline: int, woken: int) -> bool:
    """Sleep until something happens; whether it is time to end."""
    ready, _, _ = select.select([lifeline, woken], [], [], LOOK_EVERY_S)
    if woken in ready:
        os.read(woken, 4096)
    return lifeline in ready or bool(_stopped)


def _reap(worker: int) -> int | None:
    """The status that the command's process ended with; None while it lives."""
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended in (0, worker):
            return status if ended else None


def _end_all(worker: int) -> int:
    """End every process below this one; the status of the command's, if that was among them."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker, signal.SIGKILL)
    found = 0
    while True:
        for child in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        try:
            # Those that it leaves behind become this one's children before it can be waited for.
            ended, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return found
        found = status if ended == worker else found


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:  # noqa: PTH123
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def _shorten_log() -> None:
    """Keep the end of a log that has grown too long; it is appended to, so that writers go on at its new end."""
    with contextlib.suppress(OSError):
        size = os.fstat(1).st_size
        if size > LOG_MOST:
            end = os.pread(1, LOG_KEPT, size - LOG_KEPT)
            os.ftruncate(1, 0)
            os.write(1, end)


def _end_like(status: int) -> None:
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


if __name__ == "__main__":
    main()
