"""From cells and items to entrants: a model, in one run, computed in one way.

What is asked (task and its hash, few-shot, limit, template, token cap) defines the question. How it is
computed (batch, threads, ...) defines the entrant. Repeats are gathered, and nothing is ranked here.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from joulemark.harness.record import IMPORTED, Carbon, Cell, Machine, MeterInfo, ModelInfo
from joulemark.harness.store import Run, canonical_json
from joulemark.meters.types import Grade

from .answers import read_answers
from .origin import Source, imported_from, is_imported, not_told, sources_of
from .progress import planned_repeats
from .samples import ASKED, Sample, has_energy, make_sample, what_is_asked, without_quality

__all__ = [
    "Entrant",
    "asked_of",
    "belied",
    "by_run_name",
    "gather",
    "gpus_in_words",
    "in_order",
    "tried",
    "without_quality_in",
]


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A model, in one run, computed in one way, measured by one kind of meter.

    Attributes:
        model: Its name.
        run_id: Its run.
        run_name: The name of the run's folder, which its owner chose; with its id where another run's is the same.
        imported: Where its run was imported from; None where Joulemark measured.
        not_told: What the files that it was imported from do not say, a sentence each.
        sources: What its run's results are of; a copy shares one with what it was made of.
        remetered_from: The run whose answers these are, where the energy was taken anew from a trace.
        setting: The whole setting of its cells, what is asked included.
        machine: Where it ran.
        grade: How its joules were obtained; None where it has none.
        scope: What its joules cover.
        meters: The run's meters of that grade.
        carbon: What its run takes a kilowatt-hour to stand for; None where it does not say.
        precision: How well its run's plan asks for each energy to be known, as a share; None where it does not.
        planned: Repeats that its run's plan asks for, or that it began where the plan does not say.
        questions: What its run asks, by task; tasks that it did not finish included.
        samples: What it did, by task.
        info: What the model says of itself; peaks of memory, which each cell has its own of, are in ``samples``.
        failed: Its cells that failed or were declared invalid.
    """

    model: str
    run_id: str
    run_name: str
    remetered_from: str | None
    imported: str | None
    not_told: tuple[str, ...]
    sources: frozenset[Source]
    setting: Mapping[str, Any]
    machine: Machine
    grade: Grade | None
    scope: str | None
    meters: tuple[MeterInfo, ...]
    carbon: Carbon | None
    precision: float | None
    planned: int
    questions: Mapping[str, str]
    samples: Mapping[str, Sample]
    info: ModelInfo
    failed: tuple[Cell, ...]

    @cached_property
    def hardware(self) -> str:
        """What the machine computes with, in words."""
        cpu, threads = self.machine.cpu_model, self.machine.cpu_count
        parts = [] if cpu == "unknown" else [f"{cpu}, {threads} threads" if threads is not None else cpu]
        parts += gpus_in_words(self.machine)
        return sys.intern(" + ".join(parts) or "unknown hardware")

    @cached_property
    def yardstick(self) -> str:
        """Equal where a meter's scale is the same: one machine with the same GPUs, the same meters."""
        return canonical_json([self.machine.machine_id, self.gpus, sorted(meter.id for meter in self.meters)])

    @property
    def measured_in(self) -> str:
        """The run in which it answered; of what comes back from an export of ours that which the export is of."""
        if self.imported is not None and [kind for kind, _ in self.sources] == ["run"]:
            return next(name for _, name in self.sources)
        return self.remetered_from or self.run_id

    @property
    def gpus(self) -> list[str]:
        """What tells its GPUs from others of their kind: rented machines often share a name, and with it an id."""
        return sorted(gpu.uuid for gpu in self.machine.accelerators)


def gpus_in_words(machine: Machine) -> list[str]:
    """Its GPUs by kind, with how many there are of each: ``2 x B200``."""
    kinds = Counter("unknown GPU" if gpu.name == "unknown" else gpu.name for gpu in machine.accelerators)
    return [f"{many} x {name}" if many > 1 else name for name, many in sorted(kinds.items())]


Trait = tuple[str, str, str, Grade | None, str | None]


def gather(runs: Sequence[Run]) -> list[Entrant]:
    """Those of which a cell was finished.

    Raises:
        UsageError: The items of a finished cell cannot be read.
    """
    return [entrant for entrant in tried(runs) if entrant.samples]


def tried(runs: Sequence[Run]) -> list[Entrant]:
    """All entrants of these runs, in an order that does not depend on theirs; some without any finished cell.

    Raises:
        UsageError: The items of a finished cell cannot be read.
    """
    return in_order(entrant for run in runs for part in run.parts for entrant in _of_run(part))


def in_order(entrants: Iterable[Entrant]) -> list[Entrant]:
    """Entrants of several runs, in an order that does not depend on theirs."""
    return sorted(
        entrants, key=lambda e: (e.model, e.run_id, canonical_json(dict(e.setting)), e.grade or "", e.scope or "")
    )


def by_run_name(entrants: Sequence[Entrant]) -> list[Entrant]:
    """The entrants, with a name for each run that no other of theirs has: ``R [run-id]`` where folders share one."""
    ids: dict[str, set[str]] = defaultdict(set)
    for entrant in entrants:
        ids[entrant.run_name].add(entrant.run_id)
    return [replace(e, run_name=f"{e.run_name} [{e.run_id}]") if len(ids[e.run_name]) > 1 else e for e in entrants]


def asked_of(entrant: Entrant) -> str:
    """What of its setting says what is asked, as canonical JSON."""
    return canonical_json({key: value for key, value in entrant.setting.items() if key in ASKED})


def belied(entrants: Iterable[Entrant]) -> set[tuple[str, str]]:
    """Questions, each with its task, that some have quality in and others an answer to that is no share of right ones.

    Then those have none either: a model's values may lie in 0..1 of a metric that goes up to 100.
    """
    samples = [sample for entrant in entrants for sample in entrant.samples.values()]
    scored = {(sample.task, sample.question) for sample in samples if sample.chance is not None}
    return scored & {(sample.task, sample.question) for sample in samples if not sample.is_share}


def without_quality_in(questions: set[tuple[str, str]], entrant: Entrant) -> Entrant:
    """The entrant without quality in these questions."""
    samples = {
        task: without_quality(sample) if (task, sample.question) in questions else sample
        for task, sample in entrant.samples.items()
    }
    return replace(entrant, samples=samples)


def _of_run(run: Run) -> list[Entrant]:
    # Nobody planned how often files from elsewhere would have a figure.
    planned = planned_repeats(run) or (1 if is_imported(run) else len({cell.repeat for cell in run.cells}))
    by_trait: dict[Trait, list[Cell]] = defaultdict(list)
    split = _asked_twice(run.cells)
    usual, invocations = _usual_meter(run), run.header.invocations
    for cell in run.cells:
        by_trait[_trait(cell, split, usual)].append(cell)
    finished = {trait: cells for trait, cells in by_trait.items() if any(c.status == "ok" for c in cells)}
    asked: dict[tuple[str, str], str] = {}
    samples: dict[Trait, dict[str, Sample]] = {}
    tasks_of = {trait: _by_task(cells) for trait, cells in finished.items()}
    answered = read_answers(run, {(trait, task): own for trait, by in tasks_of.items() for task, own in by.items()})
    for trait, cells in sorted(finished.items(), key=lambda pair: str(pair[0])):
        samples[trait] = {
            task: make_sample(task, own, answered[trait, task], invocations) for task, own in tasks_of[trait].items()
        }
        way = what_is_asked(cells[0])
        for task, sample in samples[trait].items():
            asked.setdefault((way, task), sample.question)
    # A failed cell does not tell what would have measured it: it is its entrants', whatever their meter.
    failed: dict[tuple[str, str, str], list[Cell]] = defaultdict(list)
    for trait, cells in by_trait.items():
        failed[trait[:3]] += [cell for cell in cells if cell.status != "ok"]
    done = {trait[:3] for trait in finished}
    lost = {trait[:3]: trait for trait in by_trait if trait[:3] not in done}
    # Files from elsewhere planned nothing: what one of their models was not asked, it does not lack.
    tasks = [] if is_imported(run) else sorted({cell.task for cell in run.cells})
    ways = {trait: what_is_asked(cells[0]) for trait, cells in by_trait.items()}
    # Of a task that it did not finish: what others were asked in the same way.
    questions = {way: {task: asked.get((way, task), "") for task in tasks} for way in ways.values()}
    return [
        _entrant(
            run, trait, by_trait[trait], samples.get(trait, {}), questions[ways[trait]], planned, failed[trait[:3]]
        )
        for trait in [*finished, *lost.values()]
    ]


def _entrant(
    run: Run,
    trait: Trait,
    cells: list[Cell],
    samples: dict[str, Sample],
    asked: dict[str, str],
    planned: int,
    failed: list[Cell],
) -> Entrant:
    first = next((cell for cell in cells if cell.status == "ok"), cells[0])
    *_, grade, scope = trait
    own = {task: sample.question for task, sample in samples.items()}
    return Entrant(
        model=first.model,
        run_id=run.header.run_id,
        run_name=run.path.resolve().name,
        remetered_from=run.header.remetered_from,
        imported=imported_from(run),
        not_told=not_told(run),
        sources=sources_of(run.header),
        setting=first.setting,
        machine=run.header.machine,
        grade=grade,
        scope=scope,
        meters=tuple(meter for meter in run.header.meters if meter.grade == grade and meter.summed),
        carbon=run.header.carbon,
        precision=_precision(run),
        planned=planned,
        questions={**asked, **own},
        samples=samples,
        info=first.model_info,
        failed=tuple(sorted(failed, key=lambda cell: (cell.task, cell.repeat))),
    )


def _precision(run: Run) -> float | None:
    asked = run.header.plan.get("precision")
    return float(asked) if isinstance(asked, int | float) else None


def _trait(cell: Cell, split: bool, usual: tuple[Grade | None, str | None]) -> Trait:
    """What makes cells one entrant. A cell without energy goes with the run's usual meter."""
    how = {key: value for key, value in cell.setting.items() if key not in ASKED}
    grade, scope = (cell.energy.grade, cell.energy.scope) if cell.energy and has_energy(cell) else usual
    return cell.model, canonical_json(how), what_is_asked(cell) if split else "", grade, scope


def _asked_twice(cells: Iterable[Cell]) -> bool:
    """Whether one run asks some task in two ways (few-shot variants): then each way is an entrant of its own."""
    ways: dict[tuple[str, str], set[str]] = defaultdict(set)
    for cell in cells:
        ways[cell.model, cell.task].add(what_is_asked(cell))
    return any(len(way) > 1 for way in ways.values())


def _usual_meter(run: Run) -> tuple[Grade | None, str | None]:
    for cell in run.cells:
        if cell.energy and has_energy(cell):
            return cell.energy.grade, cell.energy.scope
    summed = [meter for meter in run.header.meters if meter.summed]
    return (summed[0].grade, "+".join(dict.fromkeys(m.scope for m in summed))) if summed else (None, None)


def _by_task(cells: list[Cell]) -> dict[str, list[Cell]]:
    tasks: dict[str, list[Cell]] = defaultdict(list)
    for cell in sorted(cells, key=lambda c: (c.task, c.repeat)):
        # What was imported may be the energy of nobody knows how many answers.
        if cell.status == "ok" and (cell.n_items or IMPORTED in cell.flags):
            tasks[cell.task].append(cell)
    return tasks
