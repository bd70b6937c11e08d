"""Sustained load: one model is asked one task's questions over and over, window after window, for some minutes.

A soak is a run of one model on one task in a run directory like any other: its repeats are the windows, as many as the
time allows, and nothing is waited for in between. ``plan`` in ``run.json`` says so under ``soak``. It cannot be gone on
with, since the machine has cooled down by then; what was measured until it ended is kept whatever ends it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from joulemark.meters.errors import MeasuringFailed, UsageError
from joulemark.meters.totals import min_window_s
from joulemark.meters.types import Domain

from .alone import measuring_alone
from .course import RunResult
from .header import make_header
from .measuring import Measuring, Progress, interruptible
from .plan import Plan
from .progress import Shown
from .schedule import schedule
from .session import prepare
from .store import RunWriter, refuse_used

__all__ = ["SOAK", "Countdown", "soak", "window_length_s"]

SOAK = "soak"
"""The key of ``plan`` in ``run.json`` that says how long the load was to last, and how long the windows are."""

_USUAL_WINDOW_S = 10.0
_WANTED, _MOST = 60, 1000
"""Windows that a short soak has if its meter allows, and that a long one has at most."""


def soak(plan: Plan, minutes: float, out: Path, progress: Progress) -> RunResult:
    """Keep a model busy for some minutes, and measure it window after window into a new run directory.

    Ctrl-C and SIGTERM end it early; the windows until then are kept, and ``problem`` says so.

    Raises:
        UsageError: The plan has not one model and one task, or as `run.measure`.
        MeasuringFailed: No window could be measured, no meter works here, or the disk is full.
    """
    refuse_used(out)
    session = prepare(plan, progress.say)
    if len(session.plan.models) != 1 or len(session.plan.tasks) != 1:
        raise UsageError(f"a soak asks one task; name one of {', '.join(session.plan.tasks)}.")
    window_s = window_length_s(minutes, session.choice.summed)
    with RunWriter(out) as writer:
        # How many windows there will be is not known, and no run of so many repeats is the same.
        plan_told = session.plan.model_dump(mode="json")
        plan_told |= {"repeats": None, SOAK: {"minutes": minutes, "window_s": window_s}}
        header = make_header(session, plan_told)
        writer.write_header(header)
        return _Soaking(session, writer, header, progress, {}, minutes=minutes, window_s=window_s).run()


def window_length_s(minutes: float, summed: Sequence[Domain]) -> float:
    """How long windows are, in seconds: 10, less for a short soak and more for a long one, as the meter allows."""
    seconds = 60 * minutes
    return max(min_window_s(summed), min(_USUAL_WINDOW_S, seconds / _WANTED), seconds / _MOST)


class Countdown(Shown):
    """Tells the time that is left by the clock, not by the number of windows."""

    def __init__(self, minutes: float) -> None:
        super().__init__()
        self._seconds = 60 * minutes

    def _left(self) -> str:
        seconds = round(max(0.0, self._seconds - (time.monotonic() - self._began)))
        return f"{seconds // 60}:{seconds % 60:02d} left"


@dataclass
class _Soaking(Measuring):
    """Measures one model's cells, one after the other, until the time is up."""

    writer: RunWriter
    minutes: float = 0.0
    began: float = 0.0

    def run(self) -> RunResult:
        """Ask until the time is up, or until nothing can be measured any more."""
        with ExitStack() as stack, interruptible(self.writer.path):
            if not self.session.choice.by_cpu_time:
                stack.enter_context(measuring_alone())
            stack.callback(self.pool.close)
            try:
                problem = self._keep_asking()
                if problem is None:
                    self.measure_idle_after()
            except KeyboardInterrupt:
                problem = self._ended("stopped")
        if len(self.failed) == self.tried:
            raise MeasuringFailed(f"no window was measured: {problem or 'the time was up too soon'}")
        self.writer.compact()
        kept = f"{problem}; what was measured until then is kept." if problem else None
        return RunResult(self.writer.path, kept or self._what_failed())

    def _keep_asking(self) -> str | None:
        """Measure windows; returns why it ended before its time, if it did."""
        spec = self.session.specs
        self.progress.begin(max(1, int(60 * self.minutes / self.window_s)), 0, self.session.choice)
        self.progress.say(f"Sustained load for {self.minutes:g} min, in windows of {self.window_s:.3g} s or more.")
        self.pool.start(schedule(self.session.plan, spec, [1]))
        self.measure_idle_before()
        self.began = time.monotonic()
        in_a_row = 0
        while time.monotonic() - self.began < 60 * self.minutes and in_a_row < 2:
            [plan] = schedule(self.session.plan, spec, [self.tried + 1])
            cell, lost = self.measure(plan, attempt=1)
            self.tried += 1
            self.progress.done(plan, cell)
            in_a_row = 0 if cell.status == "ok" else in_a_row + 1
            self.failed += [(plan, cell)] if in_a_row else []
            if lost:
                return self._ended("ended", f": {lost}")
            length_s = cell.energy.window_s if cell.energy else None
            if self.tried == 1 and length_s is not None and length_s > 2 * self.window_s:
                self._tell_how_long(length_s)
        return self._ended("ended", f": {self.failed[-1][1].error}") if in_a_row == 2 else None

    def _tell_how_long(self, seconds: float) -> None:
        self.progress.say(
            f"Asking all questions once takes {seconds:.0f} s, and no window is shorter than that; --limit asks fewer."
        )

    def _ended(self, how: str, reason: str = "") -> str:
        minutes = (time.monotonic() - self.began) / 60 if self.began else 0.0
        return f"{how} after {minutes:.1f} of {self.minutes:g} min{reason}"

    def _what_failed(self) -> str | None:
        if not self.failed:
            return None
        return f"{len(self.failed)} of {self.tried} windows failed; the first: {self.failed[0][1].error}."
