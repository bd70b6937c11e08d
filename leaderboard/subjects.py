"""What a run is about, in few words: for titles of changes, and for badges."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from joulemark.harness.record import Machine
from joulemark.harness.said import few
from joulemark.reports.samples import has_energy
from joulemark.reports.wording import TIMES, joined, safe

from .submission import Submission

__all__ = ["Subject", "short_hardware", "shortened", "subject_of"]

_LONGEST, _NAMED, _TASKS = 60, 2, 6
"""Letters of a text, and models and tasks that are told by name."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Models and tasks of which a run finished a cell, on what, and how their energy was obtained."""

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    hardware: str
    grades: tuple[str, ...]

    @property
    def what(self) -> str:
        """How many models on what: ``3 models on NVIDIA H100``; a single one by its name."""
        many = len(self.models)
        return f"{shortened(self.models[0]) if many == 1 else f'{many:,} models'} on {self.hardware}"

    @property
    def named(self) -> str:
        """The first models by name, where there are several; else empty."""
        names = [shortened(name) for name in self.models]
        return few(names, _NAMED) if len(names) > _NAMED else joined(names) if len(names) > 1 else ""

    @property
    def asked(self) -> str:
        """Its tasks and its energy, as a sentence."""
        if not self.models:
            return "No cell was finished."
        tasks = few([shortened(name) for name in self.tasks], _TASKS)
        energy = f"energy {joined(self.grades)}" if self.grades else "no energy"
        return f"{'Task' if len(self.tasks) == 1 else 'Tasks'} {tasks}; {energy}."


def subject_of(sent: Submission) -> Subject:
    """What a submission is about."""
    done = [cell for cell in sent.cells if cell.status == "ok"]
    return Subject(
        models=tuple(sorted({cell.model for cell in done})),
        tasks=tuple(sorted({cell.task for cell in done})),
        hardware=short_hardware(sent.run.machine),
        grades=tuple(sorted({str(cell.energy.grade) for cell in done if cell.energy and has_energy(cell)})),
    )


def short_hardware(machine: Machine) -> str:
    """Its accelerators, where it has some, else its processor and threads; safe to show."""
    counts = Counter(gpu.name for gpu in machine.accelerators)
    if not counts:
        return f"{shortened(machine.cpu_model)}, {machine.cpu_count} threads"
    return shortened(
        " + ".join(f"{many} {TIMES} {name}" if many > 1 else name for name, many in sorted(counts.items()))
    )


def shortened(text: str) -> str:
    """Its first words, as many as there is room for: at most 60 letters; within a word only where that is longer."""
    if len(text) <= _LONGEST:
        return safe(text)
    whole = text[:_LONGEST].rpartition(" ")[0].rstrip(" ,+")
    return safe(f"{whole or text[: _LONGEST - 1]}\u2026")
