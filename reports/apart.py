"""Work on many things in several processes that share what the first one has in memory.

Processes are forked, so that nothing is sent to them; what comes back refers to what was there before by its number.
"""

from __future__ import annotations

import ctypes
import io
import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, TypeVar

from joulemark.harness.store import nothing_freed
from joulemark.meters.errors import UsageError

__all__ = ["work_apart"]

MOST_PROCESSES = 4
_TASKS = 64
"""What a forked process does, before the results are taken and others are forked."""
_KEPT_BYTES, _TRIM_THRESHOLD, _MMAP_THRESHOLD = 256 << 20, -1, -3
"""What a forked process keeps of memory that it freed, and the numbers that glibc's `mallopt` knows two settings by."""
T = TypeVar("T")
R = TypeVar("R")
_task: tuple[Callable[[Any], Any], Sequence[Any], dict[int, int]]
"""What a forked process works on; it has this from the first one."""


def work_apart(
    work: Callable[[T], R], things: Sequence[T], *, kept: Sequence[object] = (), few: bool = False
) -> Generator[R, None, None]:
    """The results of the work on each thing, in their order; an error of one is raised.

    Args:
        work: What is done with each.
        things: What is worked on.
        kept: Objects that a result may hold, which are not copied.
        few: Stay in this process: forking takes longer than a little work does.
    """
    many = min(_cores(), MOST_PROCESSES, len(things))
    # Where threads of the system's own libraries may be running, as on a Mac, a forked process can fail.
    if few or many < 2 or not sys.platform.startswith("linux"):
        yield from map(work, things)
        return
    _return_memory()
    numbers = {id(each): number for number, each in enumerate(kept)}
    told = work, things, numbers
    with nothing_freed():
        for start in range(0, len(things), many * _TASKS):
            some = range(start, min(start + many * _TASKS, len(things)))
            # Anew for each part, since what a forked process looks at it copies, and never gives back.
            with _processes(many, told) as pool:
                try:
                    yield from (_read(content, kept) for content in pool.map(_do, some))
                except BrokenProcessPool as problem:
                    raise UsageError(
                        "a process that worked on a part of it was ended from outside, as a system does that runs out "
                        "of memory; free some, or use a larger machine."
                    ) from problem
                finally:
                    pool.shutdown(cancel_futures=True)


def _processes(many: int, told: tuple[Any, ...]) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(many, multiprocessing.get_context("fork"), _take, (told,))


def _return_memory() -> None:
    """Give what was freed back to the system, which glibc else keeps: forked processes would have it, too."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _keep_memory() -> None:
    """Use memory again rather than give it back and ask for it with each array, which takes a tenth of the time."""
    with suppress(AttributeError, OSError):
        for setting in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            ctypes.CDLL(None).mallopt(setting, _KEPT_BYTES)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _take(task: tuple[Callable[[Any], Any], Sequence[Any], dict[int, int]]) -> None:
    global _task
    _task = task
    _keep_memory()
    # Each process has a core: threads of its own for arithmetic would wait for each other.
    with suppress(ImportError):
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        threadpool_limits(1)


def _do(number: int) -> bytes:
    work, things, numbers = _task
    out = io.BytesIO()
    _Writer(out, numbers).dump(work(things[number]))
    return out.getvalue()


def _read(content: bytes, kept: Sequence[object]) -> Any:
    return _Reader(io.BytesIO(content), kept).load()


class _Writer(pickle.Pickler):
    """Writes what was there before as its number."""

    def __init__(self, out: io.BytesIO, numbers: dict[int, int]) -> None:
        super().__init__(out, protocol=5)
        self._numbers = numbers

    def persistent_id(self, each: Any) -> int | None:
        """The number of an object; None for a new one."""
        return self._numbers.get(id(each))


class _Reader(pickle.Unpickler):
    """Reads what `_Writer` wrote."""

    def __init__(self, content: io.BytesIO, kept: Sequence[object]) -> None:
        super().__init__(content)
        self._kept = kept

    def persistent_load(self, number: Any) -> object:
        """The object of a number."""
        return self._kept[number]
