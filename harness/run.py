"""Measure a plan: workers, meters, idle power, cell after cell, and nothing measured is lost."""

from __future__ import annotations

import difflib
import secrets
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from joulemark.meters.errors import MeasuringFailed, MeterLost, UsageError
from joulemark.meters.registry import Choice, Device, choose, find_meters, probe_all
from joulemark.meters.totals import min_window_s
from joulemark.meters.types import EnergyRecord
from joulemark.meters.window import PowerSample, Recorder
from joulemark.tasks.catalog import REFERENCE_TASKS

from .cells import failed_cell, finished_cell
from .machine import describe_machine, describe_software
from .models import REFERENCE, ModelSpec, parse_model
from .plan import Plan
from .record import Accelerator, Cell, Idle, Machine, MeterInfo, RunHeader
from .schedule import CellPlan, schedule
from .store import Run, RunWriter, read_run
from .worker import Worker, WorkerFailed

__all__ = ["Progress", "RunResult", "measure", "resume"]


TRACE_S = 1.0


class Progress:
    """What is told while measuring; this one keeps silent."""

    def begin(self, cells: int, done: int, choice: Choice) -> None:
        """Measuring is about to begin; ``done`` cells are there already."""

    def say(self, text: str) -> None:
        """Something that is not a cell: loading, idle power, a warning."""

    def cell(self, plan: CellPlan) -> None:
        """A cell begins."""

    def done(self, cell: Cell) -> None:
        """A cell was stored."""


@dataclass(frozen=True)
class RunResult:
    """Where a run lies and what became of it; ``problem`` is None if every cell is fine."""

    path: Path
    run_id: str
    cells: int
    failed: int
    problem: str | None


def measure(plan: Plan, out: Path, progress: Progress) -> RunResult:
    """Measure a plan into a new run directory.

    Raises:
        UsageError: A model, task or meter is unknown, or the folder cannot be written or has a run.
        MeasuringFailed: No meter works here, or the disk is full.
    """
    session = _prepare(plan)
    if (out / "run.json").exists():
        raise UsageError(f"{out} holds a run already; `joulemark run --resume {out}` goes on with it.")
    with RunWriter(out) as writer:
        header = RunHeader(
            run_id=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
            created_at=_now(),
            joulemark_version=version("joulemark"),
            plan=plan.model_dump(mode="json"),
            seed=plan.seed,
            machine=_machine(session.choice),
            software=describe_software(),
            meters=_meter_infos(session.choice),
            idle=Idle(before_w=None, after_w=None, duration_s=plan.idle_s),
        )
        writer.write_header(header)
        return _Measuring(session, writer, header, progress).run({})


def resume(path: Path, progress: Progress) -> RunResult:
    """Go on with a run: cells that are there and fine are not measured again."""
    before = read_run(path)
    session = _prepare(Plan.model_validate(before.header.plan))
    _check_same_machine(before, session.choice)
    with RunWriter(path) as writer:
        for note in before.notes:
            progress.say(note)
        return _Measuring(session, writer, before.header, progress).run({cell.cell_id: cell for cell in before.cells})


@dataclass(frozen=True)
class _Session:
    plan: Plan
    specs: list[ModelSpec]
    stock: frozenset[str]
    choice: Choice


def _prepare(plan: Plan) -> _Session:
    specs = [parse_model(text) for text in plan.models]
    names = [spec.name for spec in specs]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UsageError(f"model name {min(twice)!r} is there twice; give one a label, such as other={min(twice)}.")
    ours = {task.name for task in REFERENCE_TASKS}
    stock = frozenset(plan.tasks) - ours
    backends = {spec.backend for spec in specs} - {REFERENCE}
    # Asking lm-eval takes seconds, so it is asked only where something of its own was named.
    if stock or backends:
        from joulemark.tasks import lmeval

        _check_known("model type", backends, lmeval.backend_names())
        _check_known("task", stock, lmeval.stock_task_names() if stock else [])
    return _Session(plan, specs, stock, _choose_meters(plan, specs))


def _choose_meters(plan: Plan, specs: Sequence[ModelSpec]) -> Choice:
    """The one total that sees all models compute, wherever each does."""
    probed = probe_all(find_meters(plan.meters) if plan.meters else None)
    has_gpu = any(domain.kind == "gpu" for found in probed for domain in found.domains)
    choices: dict[Device, Choice] = {}
    for spec in specs:
        device: Device = "cuda" if has_gpu and spec.takes_gpu else "cpu"
        choices[device] = choose(plan.meters, device=device, probed=probed)
    first, *others = choices.values()
    if any(other.summed != first.summed for other in others):
        raise UsageError(
            "some of these models compute on the CPU, some on a GPU, and no total here sees both; "
            "give each kind a run of its own, or put all on one with device=cpu."
        )
    return first


def _check_known(what: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in sorted(set(names) - set(known)):
        close = difflib.get_close_matches(name, known, n=1)
        raise UsageError(
            f"unknown {what} {name!r}; " + (f"did you mean {close[0]}?" if close else "see lm-eval's list.")
        )


def _meter_infos(choice: Choice) -> tuple[MeterInfo, ...]:
    return tuple(
        MeterInfo(
            id=domain.id,
            grade=domain.grade,
            scope=domain.kind,
            provenance=domain.provenance,
            resolution_j=domain.resolution_j,
            update_s=domain.update_s,
            rel_u=domain.rel_u,
            rel_u_scale=domain.rel_u_scale,
            rel_u_workload=domain.rel_u_workload,
            source=domain.source,
            summed=domain.summed,
        )
        for domain in choice.domains
    )


def _machine(choice: Choice) -> Machine:
    """This machine, with the GPUs that the meters see."""
    gpus = [domain.provenance.rpartition(" ") for domain in choice.domains if domain.kind == "gpu"]
    return describe_machine(tuple(Accelerator(name=name, uuid=uuid) for name, _, uuid in gpus))


def _check_same_machine(before: Run, choice: Choice) -> None:
    machine, then = _machine(choice), before.header.machine
    if machine.machine_id != then.machine_id:
        raise UsageError(f"{before.path} was measured on another machine; start a run of its own here with --out.")
    ids = {meter.id for meter in before.header.meters}
    now = {domain.id for domain in choice.domains}
    if ids != now:
        raise MeasuringFailed(
            f"{before.path} was measured by {', '.join(sorted(ids))}, but here is {', '.join(sorted(now))} now; "
            "bring that meter back, or start a new run with --out."
        )


@dataclass
class _Measuring:
    """One invocation: owns the workers, and writes a line for each cell."""

    session: _Session
    writer: RunWriter
    header: RunHeader
    progress: Progress
    workers: dict[str, Worker] = field(default_factory=dict)
    load_j: dict[str, float | None] = field(default_factory=dict)
    unloadable: dict[str, str] = field(default_factory=dict)
    idle: EnergyRecord | None = None

    def run(self, known: dict[str, Cell]) -> RunResult:
        plan, choice = self.session.plan, self.session.choice
        cells = schedule(plan, self.session.specs)
        fine = {cell_id for cell_id, cell in known.items() if cell.status == "ok"}
        todo = [cell for cell in cells if cell.cell_id not in fine]
        failed: list[Cell] = []
        self.progress.begin(len(cells), len(cells) - len(todo), choice)
        with ExitStack() as stack, _interruptible(self.writer.path):
            stack.callback(self._stop_workers)
            if todo:
                needed = {cell.spec.name for cell in todo}
                self._start([spec for spec in self.session.specs if spec.name in needed])
                self.idle = self._measure_idle("before")
            for plan_cell in todo:
                attempt = known[plan_cell.cell_id].attempt + 1 if plan_cell.cell_id in known else 1
                cell, lost = self._cell(plan_cell, attempt)
                self.progress.done(cell)
                if cell.status != "ok":
                    failed.append(cell)
                if lost:
                    raise MeasuringFailed(f"{lost} {self._how_to_resume()}")
            if todo:
                self._measure_idle("after")
        self.writer.compact()
        problem = None
        if failed:
            some = f"{len(failed)} of {len(cells)} cells failed; the first: {failed[0].model} on {failed[0].task}: "
            problem = f"{some}{failed[0].error}. {self._how_to_resume()}"
        return RunResult(self.writer.path, self.header.run_id, len(cells), len(failed), problem)

    def _how_to_resume(self) -> str:
        return f"What was measured is kept; `joulemark run --resume {self.writer.path}` goes on from there."

    def _start(self, specs: list[ModelSpec]) -> None:
        self.progress.say(f"Loading {len(specs)} model{'s' if len(specs) > 1 else ''} ...")
        for spec in specs:
            self.workers[spec.name] = self._spawn(spec)
        for worker in list(self.workers.values()):
            self._load(worker)

    def _spawn(self, spec: ModelSpec) -> Worker:
        plan = self.session.plan
        offline = spec.backend == REFERENCE and not self.session.stock
        return Worker(spec, batch_size=plan.batch_size, threads=plan.threads, offline=offline)

    def _load(self, worker: Worker) -> None:
        name = worker.spec.name
        try:
            worker.wait_ready()
            self.load_j[name] = self._load_metered(worker)
        except WorkerFailed as problem:
            self.unloadable[name] = f"{name} could not be loaded: {problem}"
            self.progress.say(self.unloadable[name])
            worker.close()
            del self.workers[name]

    def _load_metered(self, worker: Worker) -> float | None:
        """Joules of loading; None where that was too short for the meter."""
        with self._recorder(worker) as recorder:
            recorder.start()
            worker.load()
            try:
                return recorder.stop().gross_j
            except MeterLost:
                return None

    def _recorder(self, worker: Worker) -> Recorder:
        choice = self.session.choice
        return Recorder(choice.meters, choice.domains, worker.pid, trace_s=trace_s(choice))

    def _measure_idle(self, when: str) -> EnergyRecord | None:
        """Power while the models are loaded and nothing is asked."""
        worker = next(iter(self.workers.values()), None)
        if worker is None:
            return None
        seconds = self.session.plan.idle_s
        self.progress.say(f"Idle power {when} measuring, {seconds:g} s ...")
        with self._recorder(worker) as recorder:
            recorder.start()
            time.sleep(seconds)
            record = recorder.stop()
        watts = record.gross_j / record.window_s
        idle = self.header.idle.model_copy(update={f"{when}_w": watts})
        self.header = self.header.model_copy(update={"idle": idle})
        self.writer.write_header(self.header)
        return record

    def _worker(self, spec: ModelSpec) -> Worker:
        """The model's process; a new one where the last has died."""
        worker = self.workers.get(spec.name)
        if worker is None or not worker.alive:
            if spec.name in self.unloadable:
                raise WorkerFailed(self.unloadable[spec.name])
            if worker is not None:
                worker.close()
            self.workers[spec.name] = self._spawn(spec)
            self._load(self.workers[spec.name])
            if spec.name in self.unloadable:
                raise WorkerFailed(self.unloadable[spec.name])
        return self.workers[spec.name]

    def _cell(self, plan: CellPlan, attempt: int) -> tuple[Cell, str | None]:
        """Measure and store one cell; also says why no further cell can be measured, if so."""
        self.progress.cell(plan)
        began, started_at = time.monotonic(), _now()
        facts: dict[str, Any] = {"attempt": attempt, "started_at": started_at, "header": self.header, "plan": plan}
        lost: str | None = None
        try:
            worker = self._worker(plan.spec)
            window = _Window(self._recorder(worker))
            answered = worker.ask(
                plan.task,
                window,
                stock=plan.task in self.session.stock,
                limit=plan.setting["limit"],
                num_fewshot=plan.setting["num_fewshot"],
                window_s=min_window_s(self.session.choice.summed),
            )
            facts["duration_s"] = time.monotonic() - began
            cell, items = finished_cell(
                **facts,
                answered=answered,
                windows=window.records,
                idle=self.idle,
                load_j=self.load_j[plan.spec.name],
                elsewhere=worker.elsewhere,
            )
            return self.writer.append(cell, items, power_table(window.traces)), None
        except MeterLost as problem:
            lost = reason = str(problem)
        except (WorkerFailed, UsageError) as problem:
            reason = str(problem)
        facts["duration_s"] = time.monotonic() - began
        return self.writer.append(failed_cell(**facts, reason=reason)), lost

    def _stop_workers(self) -> None:
        for worker in self.workers.values():
            worker.close()


class _Window:
    """The meters around the requests of one cell; a task may have several windows."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.records: list[EnergyRecord] = []
        self.traces: list[Sequence[PowerSample]] = []

    def start(self) -> None:
        """Open the meters and begin a window."""
        self._recorder.open()
        self._recorder.start()

    def stop(self) -> None:
        """End the window and close the meters."""
        try:
            self.records.append(self._recorder.stop())
            self.traces.append(self._recorder.trace)
        finally:
            self._recorder.close()


def trace_s(choice: Choice) -> float | None:
    """How often power is looked at inside a window; never where it is only modelled from CPU time."""
    return None if choice.grade == "modelled" else TRACE_S


def power_table(traces: Sequence[Sequence[PowerSample]]) -> pd.DataFrame | None:
    """Rows of ``power/<cell_id>.parquet``: window, seconds since its start, domain, watts since the row before."""
    rows = [
        {"window": number, "t_s": sample.t_s, "domain": domain, "power_w": watts}
        for number, trace in enumerate(traces)
        for sample in trace
        for domain, watts in sample.watts.items()
    ]
    return pd.DataFrame(rows) if rows else None


@contextmanager
def _interruptible(path: Path) -> Iterator[None]:
    """Ctrl-C and SIGTERM drop the cell in flight and keep all others."""

    def interrupt(number: int, frame: object) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        raise MeasuringFailed(
            f"stopped; all finished cells are kept. `joulemark run --resume {path}` goes on."
        ) from None
    finally:
        signal.signal(signal.SIGTERM, previous)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
