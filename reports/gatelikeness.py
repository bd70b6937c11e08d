"""What differs between a baseline and its candidate besides the models; then they cannot be compared."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from joulemark.harness.record import Cell
from joulemark.harness.said import few
from joulemark.harness.store import Run, canonical_json

from .entrants import Entrant, by_run_name
from .gatehistory import LEAST_DAYS, History
from .pairing import Side
from .samples import ASKED, Sample
from .wording import joined

__all__ = ["asunder", "differences", "elsewhere", "in_turn", "unpaired"]

_NAMED = 3


def differences(a: Entrant, b: Entrant, tasks: Sequence[str]) -> list[str]:
    """A sentence for each thing that differs in these tasks besides the models and the run; all of them."""
    told = [
        f"{what} differs: {_plain(first)} against {_plain(second)}."
        for what, first, second in (
            ("hardware", a.hardware, b.hardware),
            ("machine", a.machine.machine_id, b.machine.machine_id),
            ("GPU", ", ".join(a.gpus), ", ".join(b.gpus)),
            ("CPU governor", a.machine.governor, b.machine.governor),
            ("driver", a.machine.driver, b.machine.driver),
            ("grade of energy", a.grade, b.grade),
            ("scope of energy", a.scope, b.scope),
            ("meter", _meters(a), _meters(b)),
        )
        if first != second
    ]
    return [*told, *_meters_told_otherwise(a, b), *_settings(a, b), *_questions(a, b, tasks)]


def elsewhere(entrants: Sequence[Entrant]) -> dict[str, str]:
    """Why runs that were imported are not judged, whatever else differs: a sentence for each by the run's name.

    Files of other tools tell neither how many repeats were planned nor in which order things were measured, and a
    figure that comes back from an export of ours may have been changed on its way.
    """
    return {own.run_name: _why_not_judged(own) for own in by_run_name(entrants) if own.imported is not None}


def _why_not_judged(entrant: Entrant) -> str:
    start = f"{entrant.run_name} was imported, and a gate judges what `joulemark run` measured"
    own = sorted(name for kind, name in entrant.sources if kind == "run")
    if not own or len(own) < len(entrant.sources):
        return f"{start}: its files tell neither the plan nor the order of its repeats. Measure both in one run."
    which = f"run {own[0]} itself" if len(own) == 1 else f"runs {joined(own)} themselves"
    return f"{start}: what comes back from an export may have been changed on its way. Name {which}."


def in_turn(baseline: Side, candidate: Side) -> list[str]:
    """That one was measured after the other, so that all drift of the machine falls on one of them."""
    one_run = baseline.run.header.run_id == candidate.run.header.run_id
    alike = one_run and baseline.entrants.keys() == candidate.entrants.keys()
    if not one_run or alike or baseline.run.header.plan.get("order") != "blocked":
        return []
    return [
        "one was measured after the other (--order blocked), so that drift of the machine falls on one of them; "
        "measure with --order abba."
    ]


def unpaired(a: Entrant, b: Entrant, tasks: Sequence[str], history: History | None) -> str:
    """Why two runs cannot be compared; empty where a history tells how much runs differ, or there is one run."""
    if a.run_id == b.run_id:
        return ""
    both = f"baseline and candidate were measured in two runs, {joined([own.run_name for own in by_run_name((a, b))])}"
    if history is None:
        return (
            f"{both}, and a machine differs from day to day; measure both in one: joulemark run -m base=... "
            "-m cand=... --order abba --repeats 6. Or give --allow-unpaired with --history, runs of "
            f"{LEAST_DAYS} days or more."
        )
    told = {task: history.of(a, task) for task in tasks}
    few = {task: days for task, days in told.items() if len(days) < LEAST_DAYS}
    if not few:
        return ""
    least = min(few, key=lambda task: len(few[task]))
    runs, days = sum(map(len, few[least].values())), len(few[least])
    others = history.strangers(a, [least])
    strange = f"; {_number(others, 'run')} of other models, tasks, settings, meters or machines" if others else ""
    return (
        f"{both}, and --allow-unpaired needs a history of {a.model} on this machine, measured alike, of at least "
        f"{LEAST_DAYS} days; of {least} it has {_number(runs, 'run')} on {_number(days, 'day')}{strange}."
    )


def asunder(run: Run, a: Entrant, b: Entrant) -> dict[str, set[int]]:
    """Repeats, by task, of which one run measured both at different times: one before it was resumed, one after.

    They are no pairs: days lie between. Of a run on several machines those of the two's own count: the others begin at
    other times, by clocks of their own. Two on two machines are not compared at all (`differences`).
    """
    own = next(part for part in run.parts if part.header.machine.machine_id == a.machine.machine_id)
    starts = sorted(each.before.began_at for each in own.header.invocations)
    if a.run_id != b.run_id or len(starts) < 2:
        return {}
    sides = [(each.model, canonical_json(dict(each.setting))) for each in (a, b)]
    began: dict[tuple[str, int], set[int]] = defaultdict(set)
    for cell in own.cells:
        if cell.status == "ok" and _side(cell) in sides:
            # Some meters take each model's idle power by itself, some moments after the invocation's own.
            known_at = cell.idle_window.began_at if cell.idle_window else cell.started_at
            assert known_at is not None, "imported runs are not judged"
            began[cell.task, cell.repeat].add(bisect_right(starts, known_at))
    apart: dict[str, set[int]] = defaultdict(set)
    for (task, repeat), invocations in began.items():
        if len(invocations) > 1:
            apart[task].add(repeat)
    return apart


def _side(cell: Cell) -> tuple[str, str]:
    return cell.model, canonical_json(cell.setting)


def _meters(entrant: Entrant) -> str:
    return ", ".join(sorted({meter.id for meter in entrant.meters}))


def _meters_told_otherwise(a: Entrant, b: Entrant) -> Iterator[str]:
    """Meters of one name that do not count in one way: a model of power may have other watts."""
    others = {meter.id: meter for meter in b.meters}
    for meter in a.meters:
        other = others.get(meter.id, meter)
        if meter.provenance != other.provenance:
            yield f"meter {meter.id} counts in another way: {meter.provenance} against {other.provenance}."


def _settings(a: Entrant, b: Entrant) -> Iterator[str]:
    """How they compute; what they are asked belongs to the tasks, for it may differ between these."""
    for key in sorted((a.setting.keys() | b.setting.keys()) - ASKED):
        first, second = a.setting.get(key), b.setting.get(key)
        if first != second:
            yield f"setting {key} differs: {_plain(first)} against {_plain(second)}."


def _questions(a: Entrant, b: Entrant, tasks: Sequence[str]) -> Iterator[str]:
    """What differs in what they were asked, each thing with its tasks."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for task in tasks:
        for what, how in _apart(a.samples[task], b.samples[task]):
            found[what][task] = how
    for what, places in found.items():
        each = set(places.values())
        how = f": {each.pop()}" if len(each) == 1 else ""
        yield f"{what} differs in {few(list(places), _NAMED)}{how}."


def _apart(a: Sample, b: Sample) -> Iterator[tuple[str, str]]:
    """What of two samples of a task differs, its hash, a setting that says what is asked, or its items, and how."""
    (hash_a, way_a), (hash_b, way_b) = json.loads(a.question), json.loads(b.question)
    changed = {
        f"task hash of the {whose}'s repeats": " against ".join(map(_plain, told))
        for whose, told in (("baseline", hash_a), ("candidate", hash_b))
        if isinstance(told, list)
    }
    yield from changed.items()
    if hash_a != hash_b and not changed:
        yield "task hash", f"{_plain(hash_a)} against {_plain(hash_b)}"
    if a.question == b.question and not np.array_equal(a.docs, b.docs):
        shared = len(np.intersect1d(a.docs, b.docs))
        yield "choice of questions", f"{len(a.docs):,} against {len(b.docs):,}, of which {shared:,} are in both"
    asked_a, asked_b = json.loads(way_a), json.loads(way_b)
    for key in sorted(asked_a.keys() | asked_b.keys()):
        if asked_a.get(key) != asked_b.get(key):
            yield f"setting {key}", f"{_plain(asked_a.get(key))} against {_plain(asked_b.get(key))}"


def _number(many: int, what: str) -> str:
    return f"{many} {what}{'' if many == 1 else 's'}"


def _plain(value: Any) -> str:
    return "none" if value is None or value == "" else str(value)
