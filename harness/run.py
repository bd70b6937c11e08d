"""Measure a plan: workers, meters, idle power, cell after cell, and nothing measured is lost."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
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
from joulemark.meters.powerlimit import PowerLimits
from joulemark.meters.registry import Choice
from joulemark.meters.totals import min_window_s
from joulemark.meters.types import EnergyRecord
from joulemark.meters.window import Recorder

from .alone import measuring_alone
from .cellmeter import CellMeter
from .cells import failed_cell, finished_cell, power_table, span_of
from .cooling import MOST_S, cool_down
from .machine import describe_software
from .plan import Plan
from .pool import Pool
from .precision import looks, unsure
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

_ASKED = ("limit", "num_fewshot", "gen_kwargs", "max_gen_toks", "apply_chat_template", "system_instruction")
"""Keys of a cell's setting that say what is asked."""

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
    plan = session.plan
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
        return _Measuring(session, writer, header, progress, {}).run()


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
        return _Measuring(session, writer, before.header, progress, known).run()


@dataclass
class _Measuring:
    """One invocation: owns the models' processes, and writes a line for each cell."""

    session: Session
    writer: RunWriter
    header: RunHeader
    progress: Progress
    known: dict[str, Cell]
    limits: PowerLimits | None = None
    idle: EnergyRecord | None = None
    cooled_s: float | None = None
    tried: int = 0
    failed: list[Cell] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = Pool(self.session, self._recorder)

    def run(self) -> RunResult:
        """Measure what is left, and as many repeats as the plan's precision asks for."""
        problem = None
        with ExitStack() as stack, _interruptible(self.writer.path):
            if not self.session.choice.by_cpu_time:
                stack.enter_context(measuring_alone())
            stack.callback(self.pool.close)
            stack.callback(self._restore_caps)
            for repeats in self._looks():
                problem = self._measure(schedule(self.session.plan, self.session.specs, range(1, repeats + 1)))
                if problem or not self._is_too_unsure(repeats):
                    break
            if self.tried:
                self._measure_idle_after()
            else:
                self.progress.say("Every cell is measured already; nothing is left to do.")
        self.writer.compact()
        return RunResult(self.writer.path, problem or self._what_failed())

    def _looks(self) -> Iterable[int]:
        plan = self.session.plan
        return looks(plan.repeats, plan.max_repeats) if plan.precision else (plan.repeats,)

    def _measure(self, cells: Sequence[CellPlan]) -> str | None:
        """Measure those of these cells that are not there yet; returns why no further one can be, if so."""
        todo = [cell for cell in cells if not self._is_fine(cell)]
        if not todo:
            return None
        self._prepare_caps(todo)
        self.progress.begin(len(cells), len(cells) - len(todo), self.session.choice)
        if not self.tried:
            models = len({cell.load_key for cell in todo})
            self.progress.say(f"Loading {models} model{'s' if models > 1 else ''} ...")
            self.pool.start(todo)
            self._measure_idle_before()
        for plan in todo:
            self.tried += 1
            attempt = self.known[plan.cell_id].attempt + 1 if plan.cell_id in self.known else 1
            cell, lost = self._cell(plan, attempt)
            self.known[plan.cell_id] = cell
            self.progress.done(cell)
            if cell.status != "ok":
                self.failed.append(cell)
            if lost:
                return f"{lost}. {self._how_to_resume()}"
            self.cooled_s = self._cool_down() if "throttled" in cell.flags else None
        return None

    def _is_fine(self, plan: CellPlan) -> bool:
        """Whether a cell is there, or failed a moment ago."""
        cell = self.known.get(plan.cell_id)
        return cell is not None and (
            any(cell.cell_id == failed.cell_id for failed in self.failed)
            or (cell.status == "ok" and self.writer.has_items(cell))
        )

    def _is_too_unsure(self, repeats: int) -> bool:
        """Whether some entrant's energy is not known as well as the plan asks for; says how that stands."""
        plan = self.session.plan
        if plan.precision is None:
            return False
        wide = unsure(self.known.values(), plan.precision)
        if not wide:
            self.progress.say(f"After {repeats} repeats every energy is known to within {plan.precision:.2g}.")
            return False
        worst = max(wide, key=lambda name: wide[name])
        what = f"{len(wide)} energies are not known to within {plan.precision:.2g}: {worst}'s to {wide[worst]:.2g}"
        if repeats >= plan.max_repeats:
            self.progress.say(f"After {repeats} repeats, the most allowed, {what}.")
        else:
            self.progress.say(f"After {repeats} repeats {what}. Going on.")
        return True

    def _prepare_caps(self, todo: Sequence[CellPlan]) -> None:
        """Take over the GPUs' power caps where cells ask for some; raises UsageError where one is impossible."""
        caps = {cell.setting["power_cap_w"] for cell in todo if "power_cap_w" in cell.setting}
        if caps and self.limits is None:
            self.limits = PowerLimits()
        for watts in sorted(caps):
            assert self.limits is not None
            self.limits.refuse_impossible(watts)

    def _restore_caps(self) -> None:
        if self.limits is not None:
            self.limits.close()

    def _what_failed(self) -> str | None:
        if not self.failed:
            return None
        first, resume = self.failed[0], self._how_to_resume()
        if len(self.failed) == self.tried:
            resume = f"Nothing was measured; mend that, then `{resume_command(self.writer.path)}`."
        count = f"{len(self.failed)} of {self.tried} cells failed; the first"
        return f"{count}: {first.model} on {first.task}: {first.error}. {resume}"

    def _how_to_resume(self) -> str:
        return f"What was measured is kept; `{resume_command(self.writer.path)}` goes on from there."

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
        worker = self.pool.any()
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

    def _cool_down(self) -> float | None:
        worker = self.pool.any()
        if worker is None:
            return None
        self.progress.say(f"Heat held the clock down: waiting for up to {MOST_S:.0f} s until it is cool ...")
        with self._recorder(worker) as recorder:
            return round(cool_down(recorder.conditions), 1)

    def _cell(self, plan: CellPlan, attempt: int) -> tuple[Cell, str | None]:
        """Measure and store one cell; also says why no further cell can be measured, if so."""
        self.progress.cell(plan)
        began = time.monotonic()
        facts: dict[str, Any] = {"attempt": attempt, "started_at": _now(), "header": self.header, "plan": plan}
        facts["cooled_s"] = self.cooled_s
        lost = worker = None
        try:
            worker = self.pool.get(plan)
            if self.limits is not None:
                self.limits.set(plan.setting["power_cap_w"])
            meter, answered = self._ask(worker, plan)
            cell, items = finished_cell(
                **facts,
                duration_s=time.monotonic() - began,
                answered=answered,
                windows=meter.records,
                idle=self.idle,
                load_j=self.pool.load_j[plan.load_key],
                warmup_j=meter.warm_up_j,
                outside=self._computes_outside(worker),
                company=meter.company,
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
            return self.writer.append(cell, items, power_table(meter.traces)), None
        log = self.writer.keep_log(plan.cell_id, worker.log if worker else "")
        failed = failed_cell(**facts, duration_s=time.monotonic() - began, reason=reason, log=log)
        return self.writer.append(failed), lost

    def _ask(self, worker: Worker, plan: CellPlan) -> tuple[CellMeter, dict[str, Any]]:
        """The windows and the answers."""
        whole, setting = self.session.plan, plan.setting
        how = {name: setting[name] for name in _ASKED if name in setting}
        with self._recorder(worker) as recorder:
            meter = CellMeter(recorder)
            answered = worker.ask(
                plan.task,
                meter,
                timeout_s=whole.timeout_s,
                stock=plan.task in self.session.stock,
                include=whole.include_path,
                window_s=min_window_s(self.session.choice.summed),
                batch_size=setting["batch_size"],
                concurrency=setting.get("concurrency", 1),
                how=how | {"allow_unsafe_code": whole.allow_unsafe_code},
            )
        return meter, answered

    def _computes_outside(self, worker: Worker) -> bool:
        """Whether the model computes out of the meters' sight."""
        return not SEEN_BY[worker.place] & {domain.kind for domain in self.session.choice.summed}


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
