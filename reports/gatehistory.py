"""What one model's energy does from day to day on one machine, for a baseline that was measured on another day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from joulemark.harness.store import Run, read_run
from joulemark.meters.errors import UsageError

from .entrants import Entrant, gather
from .origin import is_imported
from .rows import measure

__all__ = ["LEAST_DAYS", "History", "Spread", "gather_history", "read_history", "spread_of"]

LEAST_DAYS = 20
"""Fewer days do not tell their spread well enough: of 5 it is off by a third, of 20 by a sixth. Runs of one afternoon
tell nothing of how days differ, however many they are."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How much the log energy of one model in one task differs between runs of different days.

    Attributes:
        var: Variance of a run's mean over its repeats; it holds what repeats of a run scatter by as well.
        days: That tell it.
    """

    var: float
    days: int

    @property
    def df(self) -> float:
        """Degrees of freedom of the variance."""
        return self.days - 1.0


@dataclass(frozen=True, kw_only=True)
class History:
    """Entrants of each earlier run, by the day (UTC) on which it began; a run that was given twice is there once."""

    days: Mapping[str, Sequence[tuple[Entrant, ...]]]

    def of(self, entrant: Entrant, task: str) -> dict[str, list[float]]:
        """Log of the mean Wh per 1,000 items of each run that asked this very thing, measured alike, by day."""
        means = {day: [_mean(own, entrant, task) for own in runs] for day, runs in self.days.items()}
        known = {day: [mean for mean in own if mean is not None] for day, own in means.items()}
        return {day: own for day, own in known.items() if own}

    def strangers(self, entrant: Entrant, tasks: Collection[str]) -> int:
        """Runs that tell nothing of it: of another model, machine, meter, setting or task."""
        runs = [own for runs in self.days.values() for own in runs]
        return sum(all(_mean(own, entrant, task) is None for task in tasks) for own in runs)

    def spread(self, entrant: Entrant, task: str) -> Spread | None:
        """Its spread from day to day; None where fewer than `LEAST_DAYS` tell."""
        days = self.of(entrant, task)
        return spread_of(days.values()) if len(days) >= LEAST_DAYS else None


def spread_of(days: Collection[Sequence[float]]) -> Spread:
    """How much single runs of different days differ, from the log energies of one run or more on each of these days.

    The variance of the days' means, and of what runs of one day scatter by the part that such a mean takes out: of
    ``k`` runs ``1 - 1/k`` (law of total variance). So it has no bias, however many runs a day has.
    """
    between = np.var([np.mean(runs) for runs in days], ddof=1)
    within = np.mean([np.var(runs) for runs in days])
    return Spread(var=float(between + within), days=len(days))


def read_history(paths: Iterable[Path]) -> History:
    """Read the runs of a history.

    Raises:
        UsageError: One of them is not a run directory, or cannot be read.
    """
    return gather_history(read_run(path) for path in paths)


def gather_history(runs: Iterable[Run]) -> History:
    """The entrants of these runs.

    A run is of the day on which its first cell was measured, which does not change when its energy is taken anew.

    Raises:
        UsageError: One of them was imported.
    """
    days: dict[str, list[tuple[Entrant, ...]]] = defaultdict(list)
    known: set[str] = set()
    for run in runs:
        if is_imported(run):
            raise UsageError(f"{run.path} was imported, and a history is of what was measured here; leave it out.")
        if run.cells and run.header.run_id not in known:
            known.add(run.header.run_id)
            days[min(cell.started_at or "" for cell in run.cells)[:10]].append(tuple(gather([run])))
    return History(days=days)


def _mean(entrants: Iterable[Entrant], like: Entrant, task: str) -> float | None:
    """Of the entrant that is the same model, asked and measured in the same way; None where there is none."""
    for own in entrants:
        if _kind(own, task) == _kind(like, task) and (log := measure(own, [task]).log):
            return log.mean
    return None


def _kind(entrant: Entrant, task: str) -> tuple[object, ...]:
    sample = entrant.samples.get(task)
    meter = entrant.yardstick, entrant.grade, entrant.scope
    return entrant.model, dict(entrant.setting), *meter, sample and sample.question
