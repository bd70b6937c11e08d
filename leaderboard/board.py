"""What a site shows: the views of all accepted submissions, and the runs behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from joulemark.harness.record import Cell, MeterInfo
from joulemark.harness.store import Run, canonical_json
from joulemark.meters.errors import Incomparable, UsageError
from joulemark.reports.apart import work_apart
from joulemark.reports.documents import MOST_ROWS
from joulemark.reports.entrants import Entrant
from joulemark.reports.progress import Progress, progress
from joulemark.reports.provenance import again, describe_run, machines, meters
from joulemark.reports.rows import Figures
from joulemark.reports.table import Columns
from joulemark.reports.tried import Tried, look_at
from joulemark.reports.views import View, views_of
from joulemark.reports.wording import safe

from .conflicts import Tellings, keep_apart, tellings_of
from .findings import refuse
from .names import names_by_sender, page_name, run_tag
from .pairs import pair_up
from .sentrun import SentRun, as_run
from .store import ACCEPTED, Store
from .storeindex import Entry
from .subjects import Subject, subject_of
from .submission import Submission
from .watching import watched

__all__ = [
    "MANY_ROWS",
    "Board",
    "BoardRun",
    "BoardView",
    "ToldCell",
    "make_board",
    "read_board",
    "sent_run",
    "tell_run",
]

_ID = 8
_MANY, MANY_ROWS = 8, 5_000
"""Submissions, and rows of all views, that are worth other processes."""


@dataclass(frozen=True, kw_only=True)
class BoardView:
    """A view with an address of its own.

    Attributes:
        id: The same as long as the same is asked on the same hardware with the same grade and scope.
        view: What `joulemark rank` tells of it.
        pairs: What ranks a part of it, as JSON (`pair_up`); None where it is too large.
    """

    id: str
    view: View
    pairs: str | None = field(repr=False)

    @cached_property
    def columns(self) -> Columns:
        """How its figures are written."""
        return Columns(self.view)

    @cached_property
    def ranked(self) -> int:
        """How many of its rows have a rank."""
        return len(self.view.ranked)


class ToldCell(NamedTuple):
    """What a run's page tells of a cell; a whole one takes twenty times the memory."""

    model: str
    task: str
    repeat: int
    status: str
    n_items: int
    accuracy: float | None
    gross_j: float | None
    net_j: float | None
    window_s: float | None
    loops: int | None
    flags: str


@dataclass(frozen=True, kw_only=True)
class BoardRun:
    """A submitted run, as text and as raw figures.

    Attributes:
        id: Its run_id.
        page: The name of its page.
        sha256: Of the submission.
        subject: What it is about.
        facts: As `describe_run` tells them.
        machine_id: Its machine.
        machine: Facts about that by name.
        meters: All that it used.
        again: The commands that measure it anew.
        cells: Of the first cells that were sent what its page tells.
        cell_count: How many were sent.
        flags: Of all cells, each once.
    """

    id: str
    page: str
    sha256: str
    subject: Subject
    facts: dict[str, Any]
    machine_id: str
    machine: list[tuple[str, str]]
    meters: list[MeterInfo]
    again: list[str]
    cells: tuple[ToldCell, ...]
    cell_count: int
    flags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Board:
    """Views in the order of `joulemark rank`, and runs by id."""

    views: tuple[BoardView, ...]
    runs: tuple[BoardRun, ...]

    @cached_property
    def rows(self) -> int:
        """Of all views together."""
        return sum(len(each.view.rows) for each in self.views)


@dataclass(frozen=True, kw_only=True)
class _Read:
    """What a board keeps of a submission."""

    run: BoardRun
    tried: Tried
    tellings: Tellings


def make_board(submissions: Iterable[Submission], entries: Sequence[Entry] = ()) -> Board:
    """Rank the runs of these submissions together, just as `joulemark rank` ranks run directories.

    Args:
        submissions: What to rank.
        entries: What a store's index says of them: who sent them, and when they were accepted.

    Raises:
        Incomparable: There is no submission, or none with anything to rank.
        UsageError: The items of one do not fit its cells.
    """
    names = names_by_sender(entries)
    return _rank([_look_at(sent, names) for sent in submissions], entries)


def read_board(store: Store) -> Board:
    """The same of a store's current submissions, which are read in several processes and never all in memory.

    Raises:
        Refused: One cannot be read, or not be ranked.
        Incomparable, UsageError: As `make_board`.
    """
    # Here, so that all processes share it.
    import pyarrow.parquet  # noqa: F401

    entries = store.current
    names = names_by_sender(entries)

    def look(entry: Entry) -> _Read:
        try:
            return _look_at(store.read(entry), names)
        except UsageError as problem:
            refuse("store-invalid", f"{ACCEPTED}/{entry.sha256}.json", f"{problem} Remove the file and its line.")

    with closing(work_apart(look, entries, few=len(entries) < _MANY)) as found:
        looked_at = [*watched(entries, lambda _: next(found), "submissions")]
    return _rank(looked_at, entries)


def tell_run(sent: Submission) -> BoardRun:
    """A run that no view has, such as a superseded one."""
    run = sent_run(sent)
    return _tell(run, sent, progress(run))


def sent_run(sent: Submission, names: Mapping[str, str] = MappingProxyType({})) -> SentRun:
    """A submission as a run, called so or else by the end of its id."""
    return as_run(sent, names.get(sent.sha256) or run_tag(sent.run.run_id))


def _look_at(sent: Submission, names: Mapping[str, str]) -> _Read:
    run = sent_run(sent, names)
    tried = look_at(run)
    return _Read(run=_tell(run, sent, tried.progress), tried=tried, tellings=tellings_of(sent))


def _rank(found: Sequence[_Read], entries: Sequence[Entry]) -> Board:
    if not found:
        raise Incomparable("the store has no submission; accept one with `joulemark leaderboard add FILE --store DIR`.")
    in_order = sorted(found, key=lambda each: (each.tried.run_id, each.run.sha256))
    once = {each.tried.run_id: each for each in in_order}
    views, pairs = views_of(keep_apart(_as_accepted(once.values(), entries)), beside=pair_up)
    bare: dict[int, Entrant] = {}
    return Board(
        views=tuple(
            BoardView(id=_id(view), view=_without_answers(view, bare), pairs=own)
            for view, own in zip(views, pairs, strict=True)
        ),
        runs=tuple(each.run for each in in_order),
    )


def _as_accepted(found: Iterable[_Read], entries: Sequence[Entry]) -> list[tuple[Tried, Tellings, str]]:
    """Runs, the first that was accepted first, with what each tells of its tasks, and who sent it.

    Of what the index does not have, each is a sender's of its own.
    """
    known = {entry.sha256: entry for entry in entries}
    told = []
    for each in found:
        entry = known.get(each.run.sha256)
        when, who = (entry.added_at or entry.created_at, entry.by or "") if entry else ("", each.run.sha256)
        told.append((when, (each.tried, each.tellings, who)))
    return [one for _, one in sorted(told, key=itemgetter(0))]


def _without_answers(view: View, bare: dict[int, Entrant]) -> View:
    """The view without each one's answers, which nothing needs once it is ranked: they take half of the memory."""
    for each in view.figures:
        if id(each.entrant) not in bare:
            bare[id(each.entrant)] = replace(each.entrant, samples={}, questions={})
    own = tuple(Figures(**vars(each) | {"entrant": bare[id(each.entrant)], "samples": ()}) for each in view.figures)
    return replace(view, figures=own)


def _tell(run: Run, sent: Submission, far: Progress | None) -> BoardRun:
    return BoardRun(
        id=safe(run.header.run_id),
        page=page_name(run.header.run_id),
        sha256=sent.sha256,
        subject=subject_of(sent),
        facts=describe_run(run, far),
        machine_id=safe(run.header.machine.machine_id),
        machine=machines([run])[0][1],
        meters=meters([run]),
        again=again([run])[:-2],
        cells=tuple(map(_tell_cell, run.cells[:MOST_ROWS])),
        cell_count=len(run.cells),
        flags=tuple(sorted({flag for cell in run.cells for flag in cell.flags})),
    )


def _tell_cell(cell: Cell) -> ToldCell:
    energy = cell.energy
    return ToldCell(
        model=safe(cell.model),
        task=safe(cell.task),
        repeat=cell.repeat,
        status=cell.status,
        n_items=cell.n_items,
        accuracy=cell.accuracy,
        gross_j=energy.gross_j if energy else None,
        net_j=energy.net_j if energy else None,
        window_s=energy.window_s if energy else None,
        loops=energy.loops if energy else None,
        flags=safe(", ".join(cell.flags)),
    )


def _id(view: View) -> str:
    what = [view.task, view.asked, view.hardware, view.scope, view.grade]
    return hashlib.sha256(canonical_json(what).encode()).hexdigest()[:_ID]
