"""Measure a plan: workers, meters, idle power, cell after cell, and nothing measured is lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import ValidationError

from joulemark.meters.carbon import carbon_intensity
from joulemark.meters.errors import UsageError
from joulemark.meters.powerlimit import PowerLimits

from .alone import measuring_alone
from .measuring import Measuring, Progress, interruptible, make_header
from .plan import Plan, raise_repeats
from .precision import looks, unsure
from .record import Carbon, RunHeader
from .schedule import CellPlan, schedule
from .session import Session, check_same_work, check_unchanged, prepare
from .store import Run, RunWriter, read_run, refuse_used, resume_command

__all__ = ["Progress", "RunResult", "get_ready", "measure", "resume"]


@dataclass(frozen=True)
class RunResult:
    """Where a run lies and what became of it; ``problem`` is None if every cell is fine."""

    path: Path
    problem: str | None


def get_ready(plan: Plan, out: Path | None, say: Callable[[str], None]) -> tuple[Session, Carbon | None]:
    """All that can be found wrong with a plan, and with where it is to go, before anything is loaded.

    Raises:
        UsageError, MeasuringFailed: As `measure`.
    """
    if out is not None:
        refuse_used(out)
    carbon = None if plan.carbon is None else Carbon(**asdict(carbon_intensity(str(plan.carbon))))
    return prepare(plan, say), carbon


def measure(plan: Plan, out: Path, progress: Progress) -> RunResult:
    """Measure a plan into a new run directory.

    Raises:
        UsageError: A model, task, meter or country is unknown, or the folder cannot be written or has a run.
        MeasuringFailed: No meter works here, or the disk is full.
    """
    session, carbon = get_ready(plan, out, progress.say)
    with RunWriter(out) as writer:
        header = make_header(session, session.plan.model_dump(mode="json"), carbon)
        writer.write_header(header)
        return _Run(session, writer, header, progress, {}).run()


def resume(path: Path, progress: Progress, repeats: int | None = None) -> RunResult:
    """Go on with a run: cells that are there and fine are not measured again.

    Args:
        path: The run.
        progress: What is told meanwhile.
        repeats: Plan so many instead; the run's plan and order become those of a run that planned them at once.

    Raises:
        UsageError: It is no run, or not one that may go on here.
        MeasuringFailed: As `measure`.
    """
    header = read_run(path).header
    if "soak" in header.plan:
        raise UsageError(f"{path} is a soak, which cannot go on: `joulemark soak --summarise {path}` sums it up.")
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
        session = prepare(plan, progress.say)
        check_unchanged(before.header, session.choice)
        check_same_work(before.cells, session.specs)
        for note in before.notes:
            progress.say(note)
        known = {cell.cell_id: cell for cell in before.cells}
        header = before.header
        if plan.repeats > planned.repeats:
            header = _raised(before, planned.repeats, plan.repeats)
            writer.write_header(header)
        return _Run(session, writer, header, progress, known).run()


def _raised(run: Run, planned: int, repeats: int) -> RunHeader:
    """The run's header with more repeats in its plan; how many there were is kept where some cell got so far."""
    reached = any(cell.repeat == planned and cell.status == "ok" for cell in run.cells)
    raised_from = (*run.header.raised_from, planned) if reached else run.header.raised_from
    return run.header.model_copy(update={"plan": run.header.plan | {"repeats": repeats}, "raised_from": raised_from})


@dataclass
class _Run(Measuring):
    """Measures the cells of a plan."""

    def run(self) -> RunResult:
        """Measure what is left, and as many repeats as the plan's precision asks for."""
        problem = None
        with ExitStack() as stack, interruptible(self.writer.path):
            if not self.session.choice.by_cpu_time:
                stack.enter_context(measuring_alone())
            stack.callback(self.pool.close)
            stack.callback(self._restore_caps)
            before = 0
            for repeats in self._looks():
                further = range(before + 1, repeats + 1)
                problem = self._measure(schedule(self.session.plan, self.session.specs, further))
                if problem or not self._is_too_unsure(repeats):
                    break
                before = repeats
            if self.tried:
                self.measure_idle_after()
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
                return f"{lost}. {self._how_to_resume()}"
            self.cooled_s = self.cool_down() if "throttled" in cell.flags else None
        return None

    def _is_fine(self, plan: CellPlan) -> bool:
        """Whether a cell is there, or failed a moment ago."""
        cell = self.known.get(plan.cell_id)
        return cell is not None and (
            any(cell.cell_id == failed.cell_id for _, failed in self.failed)
            or (cell.status == "ok" and self.writer.has_items(cell))
        )

    def _is_too_unsure(self, repeats: int) -> bool:
        """Whether some entrant's energy is not known as well as the plan asks for; says how that stands."""
        plan = self.session.plan
        if plan.precision is None:
            return False
        wide = unsure((cell for cell in self.known.values() if cell.repeat <= repeats), plan.precision)
        if not wide:
            self.progress.say(f"After {repeats} repeats every energy is known to within {100 * plan.precision:.2g} %.")
            return False
        measured = {name: width for name, width in wide.items() if math.isfinite(width)}
        if not measured:
            self.progress.say(f"After {repeats} repeats all is known so well but for {', '.join(wide)}: no energy.")
            return False
        worst = max(measured, key=lambda name: measured[name])
        known = f"the energy of {worst} is known to {100 * wide[worst]:.2g} %, not to {100 * plan.precision:.2g} %"
        what = known + (f", and that of {len(wide) - 1} more neither" if len(wide) > 1 else "")
        end = "the most allowed" if repeats >= plan.max_repeats else "going on"
        self.progress.say(f"After {repeats} repeats ({end}), {what}.")
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
        (plan, first), resume = self.failed[0], self._how_to_resume()
        if not any(cell.status == "ok" for cell in self.known.values()):
            resume = (
                "Nothing was measured: correct the command and name another --out, or mend what is in the way and try "
                f"again by `{resume_command(self.writer.path)}`."
            )
        alike = sum((cell.error or "").startswith(first.error or "") for _, cell in self.failed)
        which = "" if len(self.failed) == 1 else ", all for one reason" if alike == len(self.failed) else ", the first"
        return f"{len(self.failed)} of {self.tried} cells failed{which}: {plan.title}: {first.error}. {resume}"

    def _how_to_resume(self) -> str:
        return f"What was measured is kept; `{resume_command(self.writer.path)}` measures what is missing."
