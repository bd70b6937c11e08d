"""Measure a plan: workers, meters, idle power, cell after cell, and nothing measured is lost."""

from __future__ import annotations

import contextlib
import secrets
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from pydantic import ValidationError

from joulemark.meters.carbon import carbon_intensity
from joulemark.meters.errors import MeasuringFailed, MeterLost, UsageError
from joulemark.meters.registry import Choice
from joulemark.meters.totals import min_window_s
from joulemark.meters.types import EnergyRecord
from joulemark.meters.window import PowerSample, Recorder

from .alone import measuring_alone
from .cells import failed_cell, finished_cell, power_table, span_of
from .machine import describe_software
from .models import REFERENCE, ModelSpec
from .plan import Plan
from .record import Carbon, Cell, Idle, RunHeader
from .schedule import CellPlan, schedule
from .session import Session, check_same_work, check_unchanged, describe_this_machine, meter_infos, prepare
from .store import RunWriter, read_run, refuse_used, resume_command, seal
from .worker import Worker, WorkerFailed

__all__ = ["Progress", "RunResult", "measure", "resume"]

TRACE_S = 1.0
"""How often power is looked at inside a window, where a meter sees it."""

MODELLED_IDLE_S = 0.5
BUSY_PERCENT = 10.0
"""Other load that is told while nothing of ours runs."""

IDLE_DRIFT = 0.1
"""Idle power that changed by more than this share while measuring is told."""

SEEN_BY = {"cpu": {"package", "soc", "platform", "wall"}, "gpu": {"gpu", "soc", "wall"}, "server": set[str]()}
"""Which kinds of domain see a model that computes there."""


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
    problem: str | None


def measure(plan: Plan, out: Path, progress: Progress) -> RunResult:
    """Measure a plan into a new run directory.

    Raises:
        UsageError: A model, task, meter or country is unknown, or the folder cannot be written or has a run.
        MeasuringFailed: No meter works here, or the disk is full.
    """
    refuse_used(out)
    carbon = None if plan.carbon is None else Carbon(**asdict(carbon_intensity(str(plan.carbon))))
    session = prepare(plan, progress.say)
    with RunWriter(out) as writer:
        header = RunHeader(
            run_id=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
            created_at=_now(),
            joulemark_version=version("joulemark"),
            plan=plan.model_dump(mode="json"),
            seed=plan.seed,
            machine=describe_this_machine(session.choice),
            software=describe_software(),
            meters=meter_infos(session.choice),
            idle=Idle(before_w=None, after_w=None, duration_s=plan.idle_s),
            carbon=carbon,
        )
        writer.write_header(header)
        return _Measuring(session, writer, header, progress).run({})


def resume(path: Path, progress: Progress) -> RunResult:
    """Go on with a run: cells that are there and fine are not measured again.

    Raises:
        UsageError: It is no run, or not one that may go on here.
        MeasuringFailed: As `measure`.
    """
    if read_run(path).header.remetered_from:
        raise UsageError(f"{path} was made by `joulemark remeter`: go on with the run it is from, then remeter that.")
    with RunWriter(path) as writer:
        # Read again now that nobody else can write.
        before = read_run(path)
        try:
            plan = Plan.model_validate(before.header.plan)
        except ValidationError as problem:
            raise UsageError(f"{path} has a plan that this version does not know; start a run with --out.") from problem
        session = prepare(plan, progress.say)
        check_unchanged(before.header, session.choice)
        check_same_work(before.cells, session.specs)
        for note in before.notes:
            progress.say(note)
        known = {cell.cell_id: cell for cell in before.cells}
        return _Measuring(session, writer, before.header, progress).run(known)


@dataclass
class _Measuring:
    """One invocation: owns the workers, and writes a line for each cell."""

    session: Session
    writer: RunWriter
    header: RunHeader
    progress: Progress
    workers: dict[str, Worker] = field(default_factory=dict)
    load_j: dict[str, float | None] = field(default_factory=dict)
    unloadable: dict[str, str] = field(default_factory=dict)
    idle: EnergyRecord | None = None

    def run(self, known: dict[str, Cell]) -> RunResult:
        cells = schedule(self.session.plan, self.session.specs)
        fine = {cell_id for cell_id, cell in known.items() if cell.status == "ok" and self.writer.has_items(cell)}
        todo = [cell for cell in cells if cell.cell_id not in fine]
        if not todo:
            self.progress.say("Every cell is measured already; nothing is left to do.")
            self.writer.compact()
            return RunResult(self.writer.path, None)
        self.progress.begin(len(cells), len(cells) - len(todo), self.session.choice)
        problem = self._measure(todo, known)
        self.writer.compact()
        return RunResult(self.writer.path, problem)

    def _measure(self, todo: Sequence[CellPlan], known: dict[str, Cell]) -> str | None:
        """Measure cells; returns what went wrong with them, if anything."""
        failed: list[Cell] = []
        with ExitStack() as stack, _interruptible(self.writer.path):
            if not self.session.choice.by_cpu_time:
                stack.enter_context(measuring_alone())
            stack.callback(self._stop_workers)
            self._start([spec for spec in self.session.specs if any(cell.spec == spec for cell in todo)])
            self._measure_idle_before()
            for plan in todo:
                attempt = known[plan.cell_id].attempt + 1 if plan.cell_id in known else 1
                cell, lost = self._cell(plan, attempt)
                self.progress.done(cell)
                if cell.status != "ok":
                    failed.append(cell)
                if lost:
                    return f"{lost}. {self._how_to_resume()}"
            self._measure_idle_after()
        if not failed:
            return None
        first, resume = failed[0], self._how_to_resume()
        if len(failed) == len(todo):
            resume = f"Nothing was measured; mend that, then `{resume_command(self.writer.path)}`."
        count = f"{len(failed)} of {len(todo)} cells failed; the first"
        return f"{count}: {first.model} on {first.task}: {first.error}. {resume}"

    def _how_to_resume(self) -> str:
        return f"What was measured is kept; `{resume_command(self.writer.path)}` goes on from there."

    def _start(self, specs: Sequence[ModelSpec]) -> None:
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
        except (WorkerFailed, UsageError) as problem:
            self.unloadable[name] = f"could not be loaded: {problem}"
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
        trace_s = None if choice.by_cpu_time else TRACE_S
        return Recorder(choice.meters, choice.domains, worker.pid, trace_s=trace_s)

    def _measure_idle_before(self) -> None:
        self.idle = self._measure_idle("before")
        if self.idle is not None and self.header.idle.before_w is None:
            duration_s = round(self.idle.window_s, 3)
            before_w = self.idle.gross_j / self.idle.window_s
            self._note_idle(before_w=before_w, duration_s=duration_s, before=span_of(self.idle))

    def _measure_idle_after(self) -> None:
        try:
            after = self._measure_idle("after")
        except MeterLost as problem:
            self.progress.say(f"The idle power after measuring is not known: {problem}.")
            return
        if after is None or self.idle is None:
            return
        before_w, after_w = (window.gross_j / window.window_s for window in (self.idle, after))
        self._note_idle(after_w=after_w, after=span_of(after))
        if abs(after_w - before_w) > IDLE_DRIFT * before_w:
            self.progress.say(
                f"The idle power went from {before_w:.3g} to {after_w:.3g} W while measuring: net figures are off by "
                "as much. Stop what else runs, or wait until the machine has settled, and measure again."
            )

    def _measure_idle(self, when: str) -> EnergyRecord | None:
        """Power while the models are loaded and nothing is asked; None where none is loaded."""
        worker = next((worker for worker in self.workers.values() if worker.alive), None)
        if worker is None:
            return None
        choice = self.session.choice
        seconds = max(self.session.plan.idle_s, min_window_s(choice.summed))
        if choice.by_cpu_time:
            # Nothing is looked at that could scatter.
            seconds = MODELLED_IDLE_S
        else:
            self.progress.say(f"Idle power {when} measuring, {seconds:g} s ...")
        psutil.cpu_percent()
        with self._recorder(worker) as recorder:
            recorder.start()
            time.sleep(seconds)
            try:
                record = recorder.stop()
            except MeterLost as problem:
                # What is shared out among processes may well give one that does nothing a share of 0 J.
                if choice.grade != "modelled":
                    raise
                self.progress.say(f"The idle power {when} measuring is not known: {problem}.")
                return None
        self._warn_of_other_load(psutil.cpu_percent())
        return record

    def _warn_of_other_load(self, busy_percent: float) -> None:
        if busy_percent > BUSY_PERCENT:
            self.progress.say(
                f"Other programs keep {busy_percent:.0f} % of the CPU busy: figures will scatter. "
                "Cells that had company are flagged busy_machine."
            )

    def _note_idle(self, **facts: Any) -> None:
        idle = self.header.idle.model_copy(update=facts)
        self.header = self.header.model_copy(update={"idle": idle})
        self.writer.write_header(self.header)

    def _worker(self, spec: ModelSpec) -> Worker:
        """The model's process; a new one where the last has died."""
        worker = self.workers.get(spec.name)
        if (worker is None or not worker.alive) and spec.name not in self.unloadable:
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
        began = time.monotonic()
        facts: dict[str, Any] = {"attempt": attempt, "started_at": _now(), "header": self.header, "plan": plan}
        lost = None
        try:
            window, answered, outside = self._ask(plan)
            cell, items = finished_cell(
                **facts,
                duration_s=time.monotonic() - began,
                answered=answered,
                windows=window.records,
                idle=self.idle,
                load_j=self.load_j[plan.spec.name],
                outside=outside,
                company=window.company,
            )
            # What cannot be written as JSON must fail here, and fail this cell alone.
            seal(cell)
        except MeterLost as problem:
            lost = reason = str(problem)
        except (WorkerFailed, UsageError) as problem:
            reason = str(problem)
        except (ValueError, ArithmeticError, LookupError, TypeError, psutil.Error) as problem:
            reason = f"its results make no sense: {type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
        else:
            return self.writer.append(cell, items, power_table(window.traces)), None
        return self.writer.append(failed_cell(**facts, duration_s=time.monotonic() - began, reason=reason)), lost

    def _ask(self, plan: CellPlan) -> tuple[_Window, dict[str, Any], bool]:
        """The windows, the answers, and whether the model computed out of the meters' sight."""
        worker, choice = self._worker(plan.spec), self.session.choice
        with self._recorder(worker) as recorder:
            window = _Window(recorder)
            answered = worker.ask(
                plan.task,
                window,
                stock=plan.task in self.session.stock,
                limit=plan.setting["limit"],
                num_fewshot=plan.setting["num_fewshot"],
                window_s=min_window_s(choice.summed),
                allow_unsafe_code=self.session.plan.allow_unsafe_code,
            )
        return window, answered, not SEEN_BY[worker.place] & {domain.kind for domain in choice.summed}

    def _stop_workers(self) -> None:
        for worker in self.workers.values():
            worker.close()


class _Window:
    """The meters around the requests of one cell; a task may have several windows.

    Attributes:
        company: Cores that worked for other processes meanwhile, on average.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._before = self._others_s()
        self.records: list[EnergyRecord] = []
        self.traces: list[Sequence[PowerSample]] = []
        self.company = 0.0

    def start(self) -> None:
        self._before = self._others_s()
        self._recorder.start()

    def stop(self) -> None:
        record = self._recorder.stop()
        self.records.append(record)
        self.traces.append(self._recorder.trace)
        self.company = max(self.company, (self._others_s() - self._before) / record.window_s)

    def _others_s(self) -> float:
        """CPU seconds that all others have used since the machine started, what a hypervisor took away included."""
        machine = psutil.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        # Guests' time is part of user and nice already.
        guests = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
        return float(sum(machine) - idle - guests) - _tree_s(psutil.Process())


def _tree_s(process: psutil.Process) -> float:
    """CPU seconds of a process and all that it started; of those that are gone, what it waited for."""
    total = 0.0
    for member in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = member.cpu_times()
            total += sum(getattr(times, part, 0.0) for part in ("user", "system", "children_user", "children_system"))
    return total


@contextmanager
def _interruptible(path: Path) -> Iterator[None]:
    """Ctrl-C, a closed terminal and SIGTERM drop the cell in flight and keep all others."""

    def interrupt(number: int, frame: object) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    signals = (signal.SIGTERM, signal.SIGHUP)
    previous = [signal.signal(number, interrupt) for number in signals]
    try:
        yield
    except KeyboardInterrupt:
        raise MeasuringFailed(f"stopped; all finished cells are kept. `{resume_command(path)}` goes on.") from None
    finally:
        for number, handler in zip(signals, previous, strict=True):
            signal.signal(number, handler)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
