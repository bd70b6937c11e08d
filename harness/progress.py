"""What is shown while measuring: what, by which meter, and how long is left."""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from joulemark.meters.registry import Choice
from joulemark.meters.totals import min_window_s

from .measuring import Progress
from .record import Cell
from .schedule import CellPlan

__all__ = ["Shown"]

DESCRIPTION_WIDTH = 44
LONG_WINDOW_S = 5.0
LINE_EVERY_S = 10.0
"""Where nobody watches, a line so often."""


class Shown(Progress):
    """A live line on a terminal, now and then a line elsewhere; always on stderr.

    It is drawn between cells only, so that drawing never falls into a window.
    """

    def __init__(self, note: str = "") -> None:
        self._note = note
        self._console = Console(file=sys.stderr, markup=False, highlight=False)
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}", justify="right"),
            console=self._console,
            auto_refresh=False,
            transient=True,
            expand=True,
        )
        self._task: TaskID | None = None
        self._total = self._done = self._measured = 0
        self._idle_windows = 2
        self._told: defaultdict[str, list[str]] = defaultdict(list)
        self._began = self._printed = time.monotonic()
        self._live = self._console.is_terminal

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def begin(self, cells: int, done: int, choice: Choice | None) -> None:
        """Say what is measured by what."""
        self._total, self._done = cells, done
        again = f", {done} of them there already" if done else ""
        what = "1 cell" if cells == 1 else f"{cells} cells"
        if choice is None:
            self._print(f"Measuring {what}{again}.")
            return
        meters = ", ".join(domain.id for domain in choice.summed)
        self._print(f"Measuring {what}{again}. Energy: {choice.grade} ({meters}), scope {choice.scope}.")
        if self._note:
            self._print(self._note)
        window_s = min_window_s(choice.summed)
        # The idle power takes a window before the first cell, and one after the last.
        windows = cells - done + self._idle_windows
        self._idle_windows = 1
        if window_s > LONG_WINDOW_S:
            minutes = math.ceil(windows * window_s / 60)
            least = f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
            self._print(
                f"This meter needs windows of at least {window_s:.0f} s: at least {least} in all with the idle "
                "power, and loading and warming up beside that."
            )

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._print(text)

    def cell(self, plan: CellPlan) -> None:
        """Show what is measured now."""
        if self._task is None:
            self._began = time.monotonic()
            if self._live:
                self._bar.start()
            self._task = self._bar.add_task("", total=self._total, completed=self._done, left="")
        what = plan.title
        if self._live:
            fixed = f"{what:{DESCRIPTION_WIDTH}.{DESCRIPTION_WIDTH}}"
            self._bar.update(self._task, description=fixed, completed=self._done, left=self._left())
            self._bar.refresh()
        elif time.monotonic() - self._printed > LINE_EVERY_S:
            self._print(f"{self._done}/{self._total} {what} {self._left()}".rstrip())

    def done(self, plan: CellPlan, cell: Cell) -> None:
        """Count a stored cell; a failed one is told at once, but a model's same failure once alone."""
        self._done += 1
        self._measured += 1
        if cell.status != "ok" and not (cell.error or "").startswith(tuple(self._told[cell.model])):
            self._told[cell.model].append(cell.error or "")
            self._print(f"Failed: {plan.title}: {cell.error}.")
        if self._done == self._total:
            self._stop()

    def _stop(self) -> None:
        if self._live:
            self._bar.stop()

    def _left(self) -> str:
        if self._measured < 3:
            return ""
        seconds = (time.monotonic() - self._began) / self._measured * (self._total - self._done)
        minutes, seconds = divmod(round(seconds), 60)
        return f"about {minutes}:{seconds:02d} left"

    def _print(self, text: str) -> None:
        self._printed = time.monotonic()
        self._console.print(text, soft_wrap=not self._live)
