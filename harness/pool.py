"""The models' processes: started side by side, loaded under the meters, kept as long as there is room."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psutil

from joulemark.meters.errors import MeterLost, UsageError
from joulemark.meters.window import Recorder

from .models import REFERENCE
from .schedule import CellPlan
from .session import Session
from .worker import Worker, WorkerFailed

__all__ = ["Pool"]

_ROOM = 1.25
"""So many times the largest model's memory must be free for another one."""

_AT_ONCE = 8
"""Processes that are started side by side: each takes a core for seconds."""

_SHORT_OF_MEMORY = ("out of memory", "memoryerror", "sigkill", "free memory on device")


@dataclass
class Pool:
    """Processes by what they have loaded; the least recently asked goes first where memory is short."""

    session: Session
    record: Callable[[Worker], Recorder]
    workers: dict[str, Worker] = field(default_factory=dict)
    load_j: dict[str, float | None] = field(default_factory=dict)
    unloadable: dict[str, str] = field(default_factory=dict)

    def start(self, cells: Iterable[CellPlan]) -> None:
        """Load the models of these cells, as far as there is room; the rest are loaded when they are asked."""
        first = list({cell.load_key: cell for cell in cells if cell.load_key not in self.workers}.values())[:_AT_ONCE]
        spawned = [(cell, self._spawn(cell)) for cell in first]
        for cell, worker in spawned:
            if self._has_room():
                self._load(cell, worker)
            else:
                worker.close()

    def any(self) -> Worker | None:
        """One of those that are loaded."""
        return next((worker for worker in self.workers.values() if worker.alive), None)

    def get(self, cell: CellPlan) -> Worker:
        """The process that answers a cell; a new one where the last has died.

        Raises:
            WorkerFailed: The model could not be loaded.
        """
        key = cell.load_key
        worker = self.workers.pop(key, None)
        if worker is not None and not worker.alive:
            worker.close()
            worker = None
        if worker is None and key not in self.unloadable:
            while self.workers and not self._has_room():
                self._drop_oldest()
            self._load(cell, self._spawn(cell))
            worker = self.workers.pop(key, None)
        if worker is None:
            raise WorkerFailed(self.unloadable[key])
        # Last in the dictionary is the last that was asked.
        self.workers[key] = worker
        return worker

    def close(self) -> None:
        """End them all."""
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()

    def _spawn(self, cell: CellPlan) -> Worker:
        offline = cell.spec.backend == REFERENCE and not self.session.stock
        return Worker(cell.loaded_as, threads=cell.setting["threads"], offline=offline)

    def _load(self, cell: CellPlan, worker: Worker) -> None:
        """Load, and once more with the memory to itself where that may be what was missing."""
        problem = self._try(cell, worker)
        if problem and self.workers and any(sign in problem.lower() for sign in _SHORT_OF_MEMORY):
            self.close()
            problem = self._try(cell, self._spawn(cell))
        if problem:
            self.unloadable[cell.load_key] = f"could not be loaded: {problem}"

    def _try(self, cell: CellPlan, worker: Worker) -> str | None:
        try:
            worker.wait_ready()
            self.load_j[cell.load_key] = self._load_metered(worker)
        except (WorkerFailed, UsageError) as problem:
            worker.close()
            return str(problem)
        self.workers[cell.load_key] = worker
        return None

    def _load_metered(self, worker: Worker) -> float | None:
        """Joules of loading; None where that was too short for the meter."""
        with self.record(worker) as recorder:
            recorder.start()
            worker.load()
            try:
                return recorder.stop().gross_j
            except MeterLost:
                return None

    def _has_room(self) -> bool:
        largest = max((worker.rss for worker in self.workers.values()), default=0)
        return bool(psutil.virtual_memory().available > _ROOM * largest)

    def _drop_oldest(self) -> None:
        self.workers.pop(next(iter(self.workers))).close()
