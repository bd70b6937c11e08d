"""Meters of a whole machine would measure two runs at once as one; this keeps them apart."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from joulemark.meters.errors import MeasuringFailed

__all__ = ["measuring_alone"]


@contextmanager
def measuring_alone(gpus: Sequence[str] = ()) -> Iterator[None]:
    """Hold the machine against further runs of the same user while measuring; a crash lets it go.

    Args:
        gpus: Hold these alone, by their UUIDs, beside others who hold other GPUs: nothing else is measured.

    Raises:
        MeasuringFailed: Another run holds it, or there is no place for the lock.
    """
    with ExitStack() as stack:
        stack.enter_context(_hold("", fcntl.LOCK_SH if gpus else fcntl.LOCK_EX))
        for gpu in sorted(gpus):
            stack.enter_context(_hold(f"-{gpu}", fcntl.LOCK_EX))
        yield


@contextmanager
def _hold(what: str, how: int) -> Iterator[None]:
    lock = Path(tempfile.gettempdir()) / f"joulemark-{os.getuid()}{what}.lock"
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as problem:
        reason = problem.strerror or problem
        raise MeasuringFailed(
            f"cannot hold this machine by {lock}: {reason}; set TMPDIR to another folder."
        ) from problem
    try:
        _take(handle, how)
        yield
    finally:
        os.close(handle)


def _take(handle: int, how: int) -> None:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MeasuringFailed(
            "another joulemark is measuring on this machine, and each would measure the other's work as well; "
            "wait until it has ended."
        ) from None
