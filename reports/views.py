"""Views: which entrants may be ranked together.

A view holds what is asked, on which hardware, with which scope and grade. The view over all tasks
comes first. Runs that ask different task sets have a view over all tasks each.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from joulemark.harness.record import MeterInfo
from joulemark.harness.store import Run
from joulemark.meters.errors import Incomparable
from joulemark.meters.types import GRADES

from .contest import By
from .entrants import Entrant, absent, gather
from .placing import order, place
from .rows import Row, measure, plain_row

__all__ = ["ALL", "FLOOR", "View", "make_views"]

ALL = "all"
FLOOR = 20.0


@dataclass(frozen=True, kw_only=True)
class View:
    """Rows that may be compared, best first; unranked ones last.

    Attributes:
        task: A task's name, or ``all``.
        tasks: The tasks that it covers.
        hardware: What computed; ``mixed`` where entrants of several stand side by side, unranked.
        scope: What the joules cover; None without energy; or ``mixed``.
        grade: How they were obtained; None without energy; or ``mixed``.
        by: What the rank goes by.
        quality_floor: Points below which nothing is ranked.
        mixed: Whether unlike entrants stand side by side.
        asked: What was asked, by task, as canonical JSON of its hash and settings.
        meters: Those that the energy comes from.
        notes: What a reader must know besides the rows, a sentence each.
        rows: One for each entrant.
    """

    task: str
    tasks: tuple[str, ...]
    hardware: str
    scope: str | None
    grade: str | None
    by: By
    quality_floor: float
    mixed: bool
    asked: dict[str, str]
    meters: tuple[MeterInfo, ...]
    notes: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def ranked(self) -> tuple[Row, ...]:
        """The rows that have a rank, best first."""
        return tuple(row for row in self.rows if row.rank is not None)


@dataclass(frozen=True, kw_only=True)
class _Key:
    task: str
    asked: tuple[tuple[str, str], ...]
    kind: tuple[str, str, str]
    """Hardware, scope, grade."""


def make_views(
    runs: Sequence[Run], *, by: By = "correct_per_wh", quality_floor: float = FLOOR, mix: bool = False
) -> list[View]:
    """All views of these runs; those over all tasks first, then task by task, best grade first.

    Args:
        runs: As read; the same run given twice counts once.
        by: What ranks go by.
        quality_floor: Points of quality below which nothing is ranked.
        mix: Put entrants of different hardware, scope or grade side by side, unranked.

    Raises:
        Incomparable: No run has a finished cell.
        UsageError: A run's items cannot be read.
    """
    once = list({run.header.run_id: run for run in runs}.values())
    entrants = gather(once)
    if not entrants:
        raise Incomparable(
            "nothing to rank: none of these runs has a finished cell; finish one with `joulemark run --resume RUN`."
        )
    notes = tuple(absent(once))
    views = []
    for key, group in sorted(_grouped(entrants, mix).items(), key=lambda pair: _order(pair[0])):
        kinds = {(e.hardware, e.scope, e.grade) for e in group}
        mixed = len(kinds) > 1
        hardware, scope, grade = (_one({kind[i] for kind in kinds}) for i in range(3))
        tasks = tuple(task for task, _ in key.asked)
        rows, own = _rows(group, tasks, by=by, floor=quality_floor, ranking=not mixed)
        meters = {meter.id: meter for e in group for meter in e.meters}
        views.append(
            View(
                task=key.task,
                tasks=tasks,
                hardware=hardware or "unknown",
                scope=scope,
                grade=grade,
                by=by,
                quality_floor=quality_floor,
                mixed=mixed,
                asked=dict(key.asked),
                meters=tuple(meters[name] for name in sorted(meters)),
                notes=notes + own,
                rows=rows,
            )
        )
    return views


def _grouped(entrants: list[Entrant], mix: bool) -> dict[_Key, list[Entrant]]:
    groups: dict[_Key, list[Entrant]] = defaultdict(list)
    for entrant in entrants:
        kind = ("", "", "") if mix else (entrant.hardware, entrant.scope or "", entrant.grade or "")
        whole = tuple(sorted(entrant.questions.items()))
        groups[_Key(task=ALL, asked=whole, kind=kind)].append(entrant)
        for question in whole:
            if question[0] in entrant.samples:
                groups[_Key(task=question[0], asked=(question,), kind=kind)].append(entrant)
    return groups


def _rows(
    entrants: Sequence[Entrant], tasks: Sequence[str], *, by: By, floor: float, ranking: bool
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Rows of a view, best first, and sentences on what is missing."""
    figures = [measure(entrant, tasks) for entrant in entrants]
    rows = [plain_row(f, label) for f, label in zip(figures, _labels(entrants), strict=True)]
    if ranking:
        rows = list(place(figures, rows, by, floor))
    rows.sort(key=lambda row: order(row, by))
    trouble = dict.fromkeys(sentence for entrant in entrants for sentence in entrant.trouble)
    return tuple(rows), tuple(trouble)


def _labels(entrants: Sequence[Entrant]) -> list[str]:
    """The model's name, with what tells it apart where entrants share it."""
    plain = Counter(e.model for e in entrants)
    names = [e.model if plain[e.model] == 1 else f"{e.model} ({_peculiar(e, entrants)})" for e in entrants]
    taken = Counter(names)
    return [n if taken[n] == 1 else f"{n} [{e.run_id}]" for n, e in zip(names, entrants, strict=True)]


def _peculiar(entrant: Entrant, entrants: Sequence[Entrant]) -> str:
    same = [e for e in entrants if e.model == entrant.model]
    keys = sorted({key for e in same for key in e.setting if any(o.setting.get(key) != e.setting[key] for o in same)})
    told = [f"{key}={entrant.setting[key]}" for key in keys if key in entrant.setting]
    if len({e.grade for e in same}) > 1:
        told.append(str(entrant.grade))
    return ", ".join(told) or entrant.run_id


def _order(key: _Key) -> tuple[Any, ...]:
    hardware, scope, grade = key.kind
    rank = [str(known) for known in GRADES].index(grade) if grade in GRADES else len(GRADES)
    return key.task != ALL, -len(key.asked), key.task, rank, hardware, scope, key.asked


def _one(values: set[Any]) -> Any:
    return values.pop() if len(values) == 1 else "mixed"
