"""Measuring cells one by one: idle power, the windows around a cell's requests, waiting for a hot device to cool.

What decides which cells, and how many, builds on it: `run` by a plan, `soak` by the clock.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil

from joulemark.meters.errors import MeasuringFailed, MeterLost, UsageError
from joulemark.meters.naming import meter_name
from joulemark.meters.powerlimit import PowerLimits
from joulemark.meters.registry import Choice
from joulemark.meters.totals import min_window_s
from joulemark.meters.types import EnergyRecord
from joulemark.meters.window import Recorder

from .cellmeter import CellMeter
from .cells import failed_cell, finished_cell, power_table, span_of
from .cooling import MOST_S, cool_down
from .header import now
from .memory import forget_peaks, peak_rss_mb
from .pool import Pool
from .record import Cell, Invocation, RunHeader
from .said import one_line
from .schedule import CellPlan
from .session import Session
from .store import resume_command, seal
from .worker import Worker, WorkerFailed

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Keeper",
    "Measuring",
    "Progress",
    "interruptible",
    "refuse_changed",
    "terminable",
]

TRACE_S = 1.0
"""How often power is looked at inside a window, where a meter sees it."""

MODELLED_IDLE_S = 0.5
BUSY_PERCENT = 10.0
"""Other load that is told while nothing of ours runs."""

IDLE_DRIFT = 0.1
"""Idle power that changed by more than this share while measuring is told."""

_ANEW = "start one of its own with --out"
_ASKED = ("limit", "num_fewshot", "gen_kwargs", "max_gen_toks", "apply_chat_template", "system_instruction")
"""Keys of a cell's setting that say what is asked."""

SEEN_BY = {"cpu": {"package", "soc", "platform", "wall"}, "gpu": {"gpu", "soc", "wall"}, "server": set[str]()}
"""Which kinds of domain see a model that computes there."""


class Progress:
    """What is told while measuring; this one keeps silent."""

    def begin(self, cells: int, done: int, choice: Choice | None) -> None:
        """Measuring is about to begin; ``done`` cells are there already; no choice: each machine has its own."""

    def say(self, text: str) -> None:
        """Something that is not a cell: loading, idle power, a warning."""

    def cell(self, plan: CellPlan) -> None:
        """A cell begins."""

    def done(self, plan: CellPlan, cell: Cell) -> None:
        """A cell was stored."""


class Keeper(Protocol):
    """What keeps the record: a run directory's `RunWriter`, or what hands all on to one elsewhere."""

    @property
    def path(self) -> Path:
        """The run directory."""

    def write_header(self, header: RunHeader) -> None:
        """As `RunWriter` does."""

    def append(
        self,
        cell: Cell,
        items: pd.DataFrame | None = None,
        power: pd.DataFrame | None = None,
        samples: Sequence[str] | None = None,
    ) -> Cell:
        """As `RunWriter` does."""

    def keep_log(self, cell_id: str, text: str) -> str | None:
        """As `RunWriter` does."""


@dataclass
class Measuring:
    """One invocation: owns the models' processes, and writes a line for each cell.

    Attributes:
        known: The cells that are there, by id.
        window_s: Windows are at least so long, and as long as the meters need.
        tried: Cells that were measured, or tried, by this invocation.
        failed: Those of them that failed.
    """

    session: Session
    writer: Keeper
    header: RunHeader
    progress: Progress
    known: dict[str, Cell]
    window_s: float = 0.0
    limits: PowerLimits | None = None
    idle: EnergyRecord | None = None
    idles: dict[str, EnergyRecord | None] = field(default_factory=dict)
    cooled_s: float | None = None
    warned: bool = False
    tried: int = 0
    failed: list[tuple[CellPlan, Cell]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = Pool(self.session, self._recorder)

    def measure_idle_before(self) -> None:
        """Take the idle power that cells' net energy is above; into the header where it is not there."""
        self.idle = self._measure_idle("before", self.pool.any())
        if self.idle is None:
            return
        before, before_w = span_of(self.idle), self.idle.gross_j / self.idle.window_s
        self._note(invocations=(*self.header.invocations, Invocation(before=before, before_w=before_w)))
        if self.header.idle.before_w is None:
            self._note_idle(before_w=before_w, duration_s=round(self.idle.window_s, 3), before=before)

    def measure_idle_after(self) -> None:
        """Take it once more, and say where it is another one by now."""
        try:
            after = self._measure_idle("after", self.pool.any())
        except MeterLost as problem:
            self.progress.say(f"The idle power after measuring is not known: {problem}.")
            return
        if after is None or self.idle is None:
            return
        before_w, after_w = (window.gross_j / window.window_s for window in (self.idle, after))
        *earlier, last = self.header.invocations
        self._note(invocations=(*earlier, last.model_copy(update={"after_w": after_w})))
        self._note_idle(after_w=after_w, after=span_of(after))
        if abs(after_w - before_w) > IDLE_DRIFT * before_w:
            self.progress.say(
                f"The idle power went from {before_w:.3g} to {after_w:.3g} W while measuring: net figures are off by "
                "as much. Stop what else runs, or wait until the machine has settled, and measure again."
            )

    def _idle_of(self, plan: CellPlan, worker: Worker) -> EnergyRecord | None:
        """The idle power that a cell's net energy is above.

        Where energy follows the CPU time of processes, each has its own: a server may be pinned to some cores, or busy.
        """
        if not self.session.choice.by_cpu_time:
            return self.idle
        if plan.load_key not in self.idles:
            self.idles[plan.load_key] = self._measure_idle("before", worker)
        return self.idles[plan.load_key]

    def _measure_idle(self, when: str, worker: Worker | None) -> EnergyRecord | None:
        """Power while the models are loaded and nothing is asked; None where none is loaded."""
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
        if busy_percent > BUSY_PERCENT and not self.warned:
            self.warned = True
            self.progress.say(
                f"Other programs keep {busy_percent:.0f} % of the CPU busy: figures will scatter. "
                "Cells that had company are flagged busy_machine."
            )

    def _note_idle(self, **facts: Any) -> None:
        self._note(idle=self.header.idle.model_copy(update=facts))

    def _note(self, **facts: Any) -> None:
        self.header = self.header.model_copy(update=facts)
        self.writer.write_header(self.header)

    def measure(self, plan: CellPlan, attempt: int) -> tuple[Cell, str | None]:
        """Measure and store one cell; also says why no further cell can be measured, if so."""
        self.progress.cell(plan)
        began = time.monotonic()
        facts: dict[str, Any] = {"attempt": attempt, "started_at": now(), "header": self.header, "plan": plan}
        facts["cooled_s"] = self.cooled_s
        lost = worker = None
        try:
            worker = self.pool.get(plan)
            self._cap_power(plan)
            idle = self._idle_of(plan, worker)
            meter, answered = self._ask(worker, plan)
            cell, items = finished_cell(
                **facts,
                duration_s=time.monotonic() - began,
                answered=answered,
                windows=meter.records,
                idle=idle,
                load_j=self.pool.load_j[plan.load_key],
                warmup_j=meter.warm_up_j,
                outside=self._computes_outside(worker, plan),
                company=meter.company,
            )
            refuse_changed(cell, self.known.values())
            # What cannot be written as JSON must fail here, and fail this cell alone.
            seal(cell)
        except MeterLost as problem:
            # A server that has ended takes what is told of its energy along, and other models do not need it.
            gone = worker and self.pool.lost_server(worker)
            reason = gone or str(problem)
            lost = None if gone else reason
        except (WorkerFailed, UsageError) as problem:
            reason = (worker and self.pool.lost_server(worker)) or one_line(str(problem), 500)
        except (ValueError, ArithmeticError, LookupError, TypeError, psutil.Error) as problem:
            reason = f"its results make no sense: {type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
        else:
            return self.writer.append(cell, items, power_table(meter.traces), answered["result"]["samples"]), None
        said = worker.log if worker else self.pool.said.get(plan.load_key, "")
        log = self.writer.keep_log(plan.cell_id, said)
        failed = failed_cell(**facts, duration_s=time.monotonic() - began, reason=reason, log=log)
        stored = self.writer.append(failed)
        if lost is None and self.pool.make_room(plan, reason):
            # The failed attempt stays in the record, as attempts do that a resumed run makes good.
            self.progress.say(f"Failed beside other models: {plan.title}: {reason}. Trying again with no other loaded.")
            return self.measure(plan, attempt + 1)
        return stored, lost

    def _ask(self, worker: Worker, plan: CellPlan) -> tuple[CellMeter, dict[str, Any]]:
        """The windows and the answers."""
        whole, setting = self.session.plan, plan.setting
        how = {name: setting[name] for name in _ASKED if name in setting}
        with self._recorder(worker) as recorder:
            meter = CellMeter(recorder, self.pool.found_pid(worker))
            forgot = forget_peaks(self.pool.computing(worker))
            answered = worker.ask(
                plan.task,
                meter,
                timeout_s=whole.timeout_s,
                stock=plan.task in self.session.stock,
                include=whole.include_path,
                window_s=max(self.window_s, min_window_s(self.session.choice.summed)),
                log_samples=whole.log_samples,
                batch_size=setting["batch_size"],
                concurrency=setting.get("concurrency", 1),
                how=how | {"allow_unsafe_code": whole.allow_unsafe_code},
            )
        if gone := self.pool.lost_server(worker):
            raise WorkerFailed(gone)
        peak_mb = peak_rss_mb(self.pool.computing(worker)) if forgot else None
        answered["told"] = worker.facts | answered["memory"] | {"peak_rss_mb": peak_mb}
        return meter, answered

    def _computes_outside(self, worker: Worker, plan: CellPlan) -> bool:
        """Whether the model computes out of the meters' sight."""
        summed, seen_by = self.session.choice.summed, plan.spec.seen_by
        if seen_by:
            return any(meter_name(domain.id) != seen_by for domain in summed)
        return not SEEN_BY[self.pool.place_of(worker)] & {domain.kind for domain in summed}

    def cool_down(self) -> float | None:
        """Wait until a device that heat held down is cooler; seconds waited."""
        worker = self.pool.any()
        if worker is None:
            return None
        self.progress.say(f"Heat held the clock down: waiting for up to {MOST_S:.0f} s until it is cool ...")
        with self._recorder(worker) as recorder:
            return round(cool_down(recorder.conditions), 1)

    def _cap_power(self, plan: CellPlan) -> None:
        """Cap the GPUs' power as a cell asks; raises UsageError where that is impossible."""
        if "power_cap_w" in plan.setting:
            self.prepare_caps([plan])
            assert self.limits is not None
            self.limits.set(plan.setting["power_cap_w"])

    def prepare_caps(self, todo: Sequence[CellPlan]) -> None:
        """Take over the GPUs' power caps where cells ask for some; raises UsageError where one is impossible."""
        caps = {cell.setting["power_cap_w"] for cell in todo if "power_cap_w" in cell.setting}
        if caps and self.limits is None:
            self.limits = PowerLimits()
        for watts in sorted(caps):
            assert self.limits is not None
            self.limits.refuse_impossible(watts)

    def restore_caps(self) -> None:
        """Put the GPUs' own caps back."""
        if self.limits is not None:
            self.limits.close()

    def _recorder(self, worker: Worker) -> Recorder:
        choice = self.session.choice
        trace_s = None if choice.by_cpu_time else TRACE_S
        return Recorder(choice.meters, choice.domains, self.pool.pid_of(worker), trace_s=trace_s)


@contextmanager
def interruptible(path: Path) -> Iterator[None]:
    """Ctrl-C, a closed terminal and SIGTERM drop the cell in flight and keep all others."""
    try:
        with terminable():
            yield
    except KeyboardInterrupt:
        raise MeasuringFailed(f"stopped; all finished cells are kept. `{resume_command(path)}` goes on.") from None


@contextmanager
def terminable() -> Iterator[None]:
    """A closed terminal and SIGTERM are as Ctrl-C, whoever had these signals before."""

    def interrupt(number: int, frame: object) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    # What nohup has them ignore stays ignored.
    ours = [number for number, handler in previous.items() if handler is not signal.SIG_IGN]
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, previous[number] or signal.SIG_DFL)


def refuse_changed(cell: Cell, known: Iterable[Cell]) -> None:
    """Cells of one task and of one model belong together only where its questions and its weights stayed the same.

    Raises:
        UsageError: They did not.
    """
    for other in known:
        if other.status != "ok" or other.cell_id == cell.cell_id:
            continue
        if other.task == cell.task and other.task_hash != cell.task_hash:
            raise UsageError(f"{cell.task} has other questions than when this run began; {_ANEW}")
        ours, theirs = cell.model_info.sha256, other.model_info.sha256
        same = other.model == cell.model and other.setting.get("dtype") == cell.setting.get("dtype")
        if same and ours and theirs and ours != theirs:
            raise UsageError(f"{cell.model} has other weights than when this run began; {_ANEW}")
