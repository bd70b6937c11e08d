"""The models' processes: started side by side, loaded under the meters, kept as long as there is room."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psutil

from joulemark.meters.errors import MeterLost, UsageError
from joulemark.meters.window import Recorder

from .endpoints import tree_of
from .memory import has_room
from .models import REFERENCE
from .said import one_line, ran_out_of_memory
from .schedule import CellPlan
from .servers import Server, open_server, place_of
from .session import Session
from .worker import READY_S, Worker, WorkerFailed

__all__ = ["Pool"]

_AT_ONCE = 8
"""Processes that are started side by side: each takes a core for seconds."""

_OFTEN_ENOUGH = 2
"""Settings in which a model could not be loaded for one and the same reason, before the others are given up as well."""


@dataclass
class Pool:
    """Processes by what they have loaded; the least recently asked goes first where memory is short.

    Attributes:
        servers: By process, what computes for it where that is another one.
        said: What the processes said whose model could not be loaded.
        alone: Those that ran out of memory beside others, and are asked with all of it.
        refusals: How many settings of a model could not be loaded, by its name and the reason.
    """

    session: Session
    record: Callable[[Worker], Recorder]
    workers: dict[str, Worker] = field(default_factory=dict)
    servers: dict[Worker, Server] = field(default_factory=dict)
    load_j: dict[str, float | None] = field(default_factory=dict)
    unloadable: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)
    refusals: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def start(self, cells: Iterable[CellPlan]) -> None:
        """Load the models of these cells, as far as there is room; the rest are loaded when they are asked."""
        first = list({cell.load_key: cell for cell in cells if cell.load_key not in self.workers}.values())[:_AT_ONCE]
        spawned: list[tuple[CellPlan, Worker]] = []
        with contextlib.suppress(WorkerFailed):
            # Those that the machine allows no process for have it tried again when they are asked.
            spawned.extend((cell, self._spawn(cell)) for cell in first)
        for cell, worker in spawned:
            if self._has_room(cell) and not self._in_the_way(cell) and not self._hopeless(cell):
                self._load(cell, worker)
            else:
                worker.close()

    def any(self) -> Worker | None:
        """One of those that are loaded."""
        return next((worker for worker in self.workers.values() if worker.alive and not self.lost_server(worker)), None)

    def pid_of(self, worker: Worker) -> int:
        """The process whose tree computes."""
        server = self.servers.get(worker)
        return worker.pid if server is None else server.pid

    def found_pid(self, worker: Worker) -> int | None:
        """The server's process, where it was not started here and so is not below this one."""
        server = self.servers.get(worker)
        return None if server is None or server.started else server.pid

    def computing(self, worker: Worker) -> list[psutil.Process]:
        """The processes that compute; none where nobody said which these are."""
        server = self.servers.get(worker)
        if server is None:
            # Its guard is none of them.
            return [] if worker.place == "server" else tree_of(worker.pid)[1:]
        return tree_of(server.pid)[1 if server.started else 0 :]

    def place_of(self, worker: Worker) -> str:
        """Where it computes: ``cpu`` or ``gpu``, or ``server`` for one that nobody said the process of."""
        return place_of(self.servers[worker].pid) if worker in self.servers else worker.place

    def lost_server(self, worker: Worker) -> str | None:
        """What became of its server, where it had one and that is gone; None where all is well."""
        server = self.servers.get(worker)
        return None if server is None or server.alive else server.why_gone

    def get(self, cell: CellPlan) -> Worker:
        """The process that answers a cell; a new one where the last has died, or its server.

        Raises:
            WorkerFailed: The model could not be loaded.
        """
        key = cell.load_key
        worker = self.workers.pop(key, None)
        if worker is not None and (not worker.alive or self.lost_server(worker)):
            self._end(worker)
            worker = None
        if worker is None and key in self.unloadable:
            raise WorkerFailed(self.unloadable[key])
        if key in self.alone:
            self.close()
        if worker is None:
            if reason := self._hopeless(cell):
                raise WorkerFailed(reason)
            while self.workers and not self._has_room(cell):
                self._drop(next(iter(self.workers)))
            for other in self._in_the_way(cell):
                self._drop(other)
            self._load(cell, self._spawn(cell))
            worker = self.workers.pop(key, None)
        if worker is None:
            raise WorkerFailed(self.unloadable[key])
        # Last in the dictionary is the last that was asked.
        self.workers[key] = worker
        return worker

    def make_room(self, cell: CellPlan, reason: str) -> bool:
        """Whether a cell that failed may do better with all memory to itself; if so, its model has that from now on."""
        others = self.workers.keys() - {cell.load_key}
        # Loading was tried alone already.
        tried = cell.load_key in self.alone or cell.load_key in self.unloadable
        if not others or tried or not ran_out_of_memory(reason):
            return False
        self.alone.add(cell.load_key)
        return True

    def close(self) -> None:
        """End them all."""
        for worker in self.workers.values():
            self._end(worker)
        self.workers.clear()

    def _spawn(self, cell: CellPlan) -> Worker:
        offline = cell.spec.backend == REFERENCE and not self.session.stock
        return Worker(cell.loaded_as, threads=cell.threads, offline=offline)

    def _load(self, cell: CellPlan, worker: Worker) -> None:
        """Load, and once more with the memory to itself where that may be what was missing."""
        problem = self._try(cell, worker)
        if problem and self.workers and ran_out_of_memory(str(problem)):
            self.close()
            problem = self._try(cell, self._spawn(cell))
        if problem:
            self.unloadable[cell.load_key] = f"could not be loaded: {problem}"
            if not problem.may_pass and not ran_out_of_memory(str(problem)):
                self.refusals[cell.spec.name][str(problem)] += 1

    def _try(self, cell: CellPlan, worker: Worker) -> WorkerFailed | None:
        try:
            worker.wait_ready(timeout_s=max(READY_S, self.session.plan.timeout_s or 0.0))
            endpoint = cell.spec.endpoint
            server = open_server(endpoint, threads=cell.threads) if endpoint else None
            if server is not None:
                self.servers[worker] = server
            self.load_j[cell.load_key] = self._load_metered(worker, server)
        except (WorkerFailed, UsageError, MeterLost) as problem:
            reason = self.lost_server(worker)
            self._end(worker)
            self.said[cell.load_key] = worker.log
            if reason is None and isinstance(problem, MeterLost):
                raise
            may_pass = isinstance(problem, WorkerFailed) and problem.may_pass
            return WorkerFailed(one_line(reason or str(problem), 500), may_pass=may_pass)
        self.workers[cell.load_key] = worker
        return None

    def _load_metered(self, worker: Worker, server: Server | None) -> float | None:
        """Joules of loading; None where that was too short for the meter, or done before."""
        timeout_s = self.session.plan.timeout_s
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self.record(worker) as recorder:
            recorder.start()
            if server is not None:
                server.wait_until_it_answers(until_s)
            worker.load(timeout_s=timeout_s)
            try:
                loaded_j = recorder.stop().gross_j
            except MeterLost:
                return None
        return loaded_j if server is None or server.started else None

    def _hopeless(self, cell: CellPlan) -> str | None:
        """Why a model need not be tried: other settings of it could not be loaded for a reason that is not theirs."""
        for reason, times in self.refusals[cell.spec.name].items():
            if times >= _OFTEN_ENOUGH:
                return f"could not be loaded: {reason} (nor in another setting, so not tried any more)"
        return None

    def _has_room(self, cell: CellPlan) -> bool:
        computes_here = not cell.spec.is_client or cell.spec.starts_server
        loaded = [self._processes(worker) for worker in self.workers.values()]
        return has_room(loaded, on_gpu=computes_here and cell.spec.takes_gpu)

    def _processes(self, worker: Worker) -> list[psutil.Process]:
        """Those that end with it."""
        server = self.servers.get(worker)
        return tree_of(worker.pid) + (tree_of(server.pid) if server is not None and server.started else [])

    def _in_the_way(self, cell: CellPlan) -> list[str]:
        """Those whose servers were started where this cell's is to be."""
        endpoint = cell.spec.endpoint if cell.spec.starts_server else None
        if endpoint is None:
            return []
        return [
            key
            for key, worker in self.workers.items()
            if worker in self.servers and self.servers[worker].port == endpoint.port
        ]

    def _drop(self, key: str) -> None:
        self._end(self.workers.pop(key))

    def _end(self, worker: Worker) -> None:
        worker.close()
        if server := self.servers.pop(worker, None):
            server.close()
