"""Which cells of a plan are still to be measured, and when that is enough; who measures them is another's affair."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .measuring import Progress
from .models import ModelSpec
from .plan import Plan
from .precision import looks, unsure
from .record import Cell
from .schedule import CellPlan, schedule
from .store import RunWriter, resume_command

__all__ = ["Course", "Look", "RunResult"]


@dataclass(frozen=True)
class RunResult:
    """Where a run lies and what became of it; ``problem`` is None if every cell is fine."""

    path: Path
    problem: str | None


class Course(ABC):
    """The course of a run through its plan: repeat after repeat, as many as its precision asks for.

    Attributes:
        known: The cells that are there, by id.
        tried: Cells that were measured, or tried, by this invocation.
        failed: Those of them that failed.
    """

    writer: RunWriter
    progress: Progress
    known: dict[str, Cell]
    tried: int
    failed: list[tuple[CellPlan, Cell]]

    @abstractmethod
    def measure_cells(self, cells: Sequence[CellPlan]) -> str | None:
        """Measure those of these cells that are not there yet; returns why no further one can be, if so."""

    def follow(self, plan: Plan, specs: Sequence[ModelSpec]) -> str | None:
        """Measure what is left, and as many repeats as the plan's precision asks for; returns what is amiss."""
        before = 0
        for repeats in _looks(plan):
            further = range(before + 1, repeats + 1)
            problem = self.measure_cells(schedule(plan, specs, further))
            if problem or not self._is_too_unsure(plan, repeats):
                return problem
            before = repeats
        return None

    def still_counts(self, _model: str) -> bool:
        """Whether how often a model is to be measured asks for its energy, too."""
        return True

    def is_fine(self, plan: CellPlan) -> bool:
        """Whether a cell is there, or failed a moment ago."""
        cell = self.known.get(plan.cell_id)
        return cell is not None and (
            any(cell.cell_id == failed.cell_id for _, failed in self.failed)
            or (cell.status == "ok" and self.writer.has_items(cell))
        )

    def _is_too_unsure(self, plan: Plan, repeats: int) -> bool:
        """Whether some entrant's energy is not known as well as the plan asks for; says how that stands."""
        if plan.precision is None:
            return False
        seen = (cell for cell in self.known.values() if cell.repeat <= repeats and self.still_counts(cell.model))
        wide = unsure(seen, plan.precision)
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

    def what_failed(self, *reasons: str) -> str | None:
        """What became of the cells that failed, and what else is amiss, in a sentence; None where nothing is."""
        if self.failed:
            plan, first = self.failed[0]
            alike = sum((cell.error or "").startswith(first.error or "") for _, cell in self.failed)
            which = (
                "" if len(self.failed) == 1 else ", all for one reason" if alike == len(self.failed) else ", the first"
            )
            reasons = *reasons, f"{len(self.failed)} of {self.tried} cells failed{which}: {plan.title}: {first.error}"
        if not reasons:
            return None
        resume = self.how_to_resume()
        if not any(cell.status == "ok" for cell in self.known.values()):
            resume = (
                "Nothing was measured: correct the command and name another --out, or mend what is in the way and try "
                f"again by `{resume_command(self.writer.path)}`."
            )
        return f"{'; '.join(reasons)}. {resume}"

    def how_to_resume(self) -> str:
        """What is kept, and how the rest is measured."""
        return f"What was measured is kept; `{resume_command(self.writer.path)}` measures what is missing."


@dataclass
class Look(Course):
    """Looks what is left to measure, and measures nothing."""

    writer: RunWriter
    known: dict[str, Cell]
    progress: Progress = field(default_factory=Progress)
    failed: list[tuple[CellPlan, Cell]] = field(default_factory=list)
    left: set[str] = field(default_factory=set)

    def find_left(self, plan: Plan, specs: Sequence[ModelSpec]) -> set[str]:
        """The models that are not finished: a cell is not there, or they have cells of two machines."""
        places = {(cell.model, cell.machine_id) for cell in self.known.values() if cell.status == "ok"}
        self.left = {model for model, many in Counter(model for model, _ in places).items() if many > 1}
        self.follow(plan, specs)
        # How often one is measured where energies are to be known so well, the others decide as well.
        return {spec.name for spec in specs} if self.left and plan.precision else self.left

    def measure_cells(self, cells: Sequence[CellPlan]) -> str | None:
        """Says whether any of these is left."""
        self.left |= {cell.spec.name for cell in cells if not self.is_fine(cell)}
        return "some are left" if self.left else None


def _looks(plan: Plan) -> Iterable[int]:
    return looks(plan.repeats, plan.max_repeats) if plan.precision else (plan.repeats,)
