"""How far a command is that takes many files: nothing at first, then now and then a line on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO, TypeVar

__all__ = ["watched"]

QUIET_S, LINE_EVERY_S = 2.0, 10.0
"""What takes less than this says nothing; where nobody watches, a line so often."""
_CLEAR = "\r\x1b[K"
T = TypeVar("T")
R = TypeVar("R")


def watched(
    things: Sequence[T],
    work: Callable[[T], R],
    what: str,
    *,
    to: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[R]:
    """Do the work on one thing after the other, and yield what comes of each.

    On a terminal the line stands while it works, and is gone before a result is yielded, so that the caller may print.

    Args:
        things: What is worked on.
        work: What is done with each.
        what: Their name, such as ``files``.
        to: Where to tell; stderr if left out.
        clock: Seconds.
    """
    out = to or sys.stderr
    live = out.isatty()
    began = told = clock()
    for done, thing in enumerate(things):
        now = clock()
        tells = done > 0 and now - began > QUIET_S and (live or now - told > LINE_EVERY_S)
        if tells:
            told = now
            left = (now - began) / done * (len(things) - done)
            line = f"{done:,} of {len(things):,} {what}, about {_minutes(left)} left"
            print(line, end="" if live else "\n", file=out, flush=True)
        result = work(thing)
        if tells and live:
            print(_CLEAR, end="", file=out, flush=True)
        yield result


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
