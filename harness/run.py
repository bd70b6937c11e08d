"""Measure a plan: workers, meters, idle power, cell after cell, and nothing measured is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from joulemark.meters.errors import UsageError

from .alone import measuring_alone
from .course import Course, RunResult
from .header import make_header, stated_carbon
from .measuring import Measuring, Progress, interruptible
from .plan import Plan, moved, raise_repeats
from .record import IMPORTED, Carbon, RunHeader
from .schedule import CellPlan
from .session import Session, check_same_work, check_unchanged, prepare
from .store import Run, RunWriter, read_run, refuse_used

__all__ = ["Progress", "RunResult", "get_ready", "measure", "resume"]


def get_ready(plan: Plan, out: Path | None, say: Callable[[str], None]) -> tuple[Session, Carbon | None]:
    """All that can be found wrong with a plan, and with where it is to go, before anything is loaded.

    Raises:
        UsageError, MeasuringFailed: As `measure`.
    """
    if out is not None:
        refuse_used(out)
    carbon = stated_carbon(plan)
    return prepare(plan, say), carbon


def measure(plan: Plan, out: Path, progress: Progress) -> RunResult:
    """Measure a plan into a new run directory.

    Raises:
        UsageError: A model, task, meter or country is unknown, or the folder cannot be written or has a run.
        MeasuringFailed: No meter works here, or the disk is full.
    """
    if plan.placement and not plan.on_cluster:
        raise UsageError("--place says which machines of a cluster measure; give --executor ray with it.")
    if plan.on_cluster:
        from .cluster import measure_on_cluster

        return measure_on_cluster(plan, out, progress)
    session, carbon = get_ready(plan, out, progress.say)
    with RunWriter(out) as writer:
        header = make_header(session, session.plan.model_dump(mode="json"), carbon)
        writer.write_header(header)
        return _Run(session, writer, header, progress, {}).run()


def resume(path: Path, progress: Progress, repeats: int | None = None, executor: str | None = None) -> RunResult:
    """Go on with a run: cells that are there and fine are not measured again.

    Args:
        path: The run.
        progress: What is told meanwhile.
        repeats: Plan so many instead; the run's plan and order become those of a run that planned them at once.
        executor: Where the cluster is now, for a run that was begun on one.

    Raises:
        UsageError: It is no run, or not one that may go on here.
        MeasuringFailed: As `measure`.
    """
    header = read_run(path).header
    if "soak" in header.plan:
        raise UsageError(f"{path} is a soak, which cannot go on: `joulemark soak --summarise {path}` sums it up.")
    if IMPORTED in header.plan:
        raise UsageError(f"{path} was imported: nothing in it can be measured here; start a run with --out.")
    if header.remetered_from:
        raise UsageError(f"{path} was made by `joulemark remeter`: go on with the run it is from, then remeter that.")
    with RunWriter(path) as writer:
        # Read again now that nobody else can write.
        before = read_run(path)
        try:
            planned = Plan.model_validate(before.header.plan)
        except ValidationError as problem:
            raise UsageError(f"{path} has a plan that this version does not know; start a run with --out.") from problem
        plan = planned if repeats is None else raise_repeats(planned, repeats)
        header = before.header if plan.repeats == planned.repeats else _raised(before, planned.repeats, plan.repeats)
        if executor is not None:
            plan = moved(plan, executor)
            header = header.model_copy(update={"plan": header.plan | {"executor": plan.executor}})
        if plan.on_cluster:
            from .cluster import resume_on_cluster

            return resume_on_cluster(plan, header, before, writer, progress)
        session = prepare(plan, progress.say)
        check_unchanged(before.header, session.choice)
        check_same_work(before.cells, session.specs)
        for note in before.notes:
            progress.say(note)
        known = {cell.cell_id: cell for cell in before.cells}
        if plan.repeats > planned.repeats:
            writer.write_header(header)
        return _Run(session, writer, header, progress, known).run()


def _raised(run: Run, planned: int, repeats: int) -> RunHeader:
    """The run's header with more repeats in its plan; how many there were is kept where some cell got so far."""
    reached = any(cell.repeat == planned and cell.status == "ok" for cell in run.cells)
    raised_from = (*run.header.raised_from, planned) if reached else run.header.raised_from
    return run.header.model_copy(update={"plan": run.header.plan | {"repeats": repeats}, "raised_from": raised_from})


@dataclass
class _Run(Course, Measuring):
    """Measures the cells of a plan on this machine."""

    writer: RunWriter

    def run(self) -> RunResult:
        """Measure what is left, and as many repeats as the plan's precision asks for."""
        problem = None
        with ExitStack() as stack, interruptible(self.writer.path):
            if not self.session.choice.by_cpu_time:
                stack.enter_context(measuring_alone())
            stack.callback(self.pool.close)
            stack.callback(self.restore_caps)
            problem = self.follow(self.session.plan, self.session.specs)
            if self.tried:
                self.measure_idle_after()
            else:
                self.progress.say("Every cell is measured already; nothing is left to do.")
        self.writer.compact()
        return RunResult(self.writer.path, problem or self.what_failed())

    def measure_cells(self, cells: Sequence[CellPlan]) -> str | None:
        """Measure those of these cells that are not there yet; returns why no further one can be, if so."""
        todo = [cell for cell in cells if not self.is_fine(cell)]
        if not todo:
            return None
        self.prepare_caps(todo)
        self.progress.begin(len(cells), len(cells) - len(todo), self.session.choice)
        if not self.tried:
            models = len({cell.load_key for cell in todo})
            self.progress.say(f"Loading {models} model{'s' if models > 1 else ''} ...")
            self.pool.start(todo)
            self.measure_idle_before()
        for plan in todo:
            self.tried += 1
            attempt = self.known[plan.cell_id].attempt + 1 if plan.cell_id in self.known else 1
            cell, lost = self.measure(plan, attempt)
            self.known[plan.cell_id] = cell
            self.progress.done(plan, cell)
            if cell.status != "ok":
                self.failed.append((plan, cell))
            if lost:
                return f"{lost}. {self.how_to_resume()}"
            self.cooled_s = self.cool_down() if "throttled" in cell.flags else None
        return None
