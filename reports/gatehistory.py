"""What one model's energy does from run to run on one machine, for a baseline that was measured on another day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from joulemark.harness.store import Run, read_run

from .entrants import Entrant, gather
from .rows import measure

__all__ = ["LEAST_RUNS", "History", "Spread", "gather_history", "read_history"]

LEAST_RUNS = 20
"""Fewer runs do not tell their spread well enough: of 5 it is off by a third, of 20 by a sixth."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How much the log energy of one model in one task differs between runs.

    Attributes:
        var: Variance of a run's mean over its repeats; it holds what repeats of a run scatter by as well.
        runs: That tell it.
    """

    var: float
    runs: int

    @property
    def df(self) -> float:
        """Degrees of freedom of the variance."""
        return self.runs - 1.0


@dataclass(frozen=True, kw_only=True)
class History:
    """Entrants of earlier runs, by run; a run that was given twice is there once."""

    runs: Mapping[str, tuple[Entrant, ...]]

    def of(self, entrant: Entrant, task: str) -> list[float]:
        """Log of the mean Wh per 1,000 items of each run that asked this very thing, measured alike."""
        means = [_mean(own, entrant, task) for own in self.runs.values()]
        return [mean for mean in means if mean is not None]

    def spread(self, entrant: Entrant, task: str) -> Spread | None:
        """Its spread from run to run; None where fewer than `LEAST_RUNS` tell."""
        means = self.of(entrant, task)
        if len(means) < LEAST_RUNS:
            return None
        return Spread(var=float(np.var(means, ddof=1)), runs=len(means))


def read_history(paths: Iterable[Path]) -> History:
    """Read the runs of a history.

    Raises:
        UsageError: One of them is not a run directory, or cannot be read.
    """
    return gather_history(read_run(path) for path in paths)


def gather_history(runs: Iterable[Run]) -> History:
    """The entrants of these runs."""
    return History(runs={run.header.run_id: tuple(gather([run])) for run in runs})


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
