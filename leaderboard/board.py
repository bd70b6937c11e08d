"""What a site shows: the views of all accepted submissions, and the runs behind them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from joulemark.harness.record import Cell, MeterInfo
from joulemark.harness.store import Run, canonical_json
from joulemark.meters.errors import Incomparable
from joulemark.reports.provenance import again, describe_run, machines, meters
from joulemark.reports.views import View, make_views
from joulemark.reports.wording import safe

from .pairs import Pairs, pair_up
from .submission import Submission, unpack

__all__ = ["Board", "BoardRun", "BoardView", "make_board", "page_name"]

_PLAIN = re.compile(r"(?!.*-[0-9a-f]{8}$)[a-z0-9][a-z0-9._-]{0,79}")
"""What may stay as it is: neither hidden, nor like a name that was made, nor one that some file systems fold."""
_HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_MARKS = re.compile(r"[^A-Za-z0-9._-]+")
_HASH, _NAME = 8, 60


@dataclass(frozen=True, kw_only=True)
class BoardView:
    """A view with an address of its own.

    Attributes:
        id: The same as long as the same is asked on the same hardware with the same grade and scope.
        view: What `joulemark rank` tells of it.
        pairs: What ranks a part of it; None where it is too large.
    """

    id: str
    view: View
    pairs: Pairs | None


@dataclass(frozen=True, kw_only=True)
class BoardRun:
    """A submitted run, as text and as raw figures.

    Attributes:
        id: Its run_id.
        page: The name of its page.
        sha256: Of the submission.
        facts: As `describe_run` tells them.
        machine: Facts by name.
        meters: All that it used.
        again: The commands that measure it anew.
        cells: Every cell that was sent.
    """

    id: str
    page: str
    sha256: str
    facts: dict[str, Any]
    machine: list[tuple[str, str]]
    meters: list[MeterInfo]
    again: list[str]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Board:
    """Views in the order of `joulemark rank`, and runs by id."""

    views: tuple[BoardView, ...]
    runs: tuple[BoardRun, ...]


def make_board(submissions: Sequence[Submission]) -> Board:
    """Rank the runs of these submissions together, just as `joulemark rank` ranks run directories.

    Raises:
        Incomparable: There is no submission, or none with anything to rank.
        UsageError: The items of one do not fit its cells.
    """
    if not submissions:
        raise Incomparable("the store has no submission; accept one with `joulemark leaderboard add FILE --store DIR`.")
    in_order = sorted(submissions, key=lambda sent: (sent.run.run_id, sent.sha256))
    with TemporaryDirectory() as folder:
        runs = [unpack(sent, _folder(Path(folder) / str(at), sent.run.run_id)) for at, sent in enumerate(in_order)]
        views = [BoardView(id=_id(view), view=view, pairs=pair_up(view)) for view in make_views(runs)]
        told = [_tell(run, sent) for run, sent in zip(runs, in_order, strict=True)]
    return Board(views=tuple(views), runs=tuple(told))


def page_name(name: str) -> str:
    """A name for a file or folder from a name that a stranger chose; no two names share one."""
    if _PLAIN.fullmatch(name):
        return name
    plain = _MARKS.sub("-", name).strip("-._").lower()[:_NAME]
    return f"{plain}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:_HASH]}".lstrip("-")


def _folder(parent: Path, run_id: str) -> Path:
    """Where to unpack a run: notes name runs by their folders."""
    return parent / (run_id if _HARMLESS.fullmatch(run_id) else page_name(run_id))


def _tell(run: Run, sent: Submission) -> BoardRun:
    return BoardRun(
        id=safe(run.header.run_id),
        page=page_name(run.header.run_id),
        sha256=sent.sha256,
        facts=describe_run(run),
        machine=machines([run])[0][1],
        meters=meters([run]),
        again=again([run])[:-2],
        cells=tuple(run.cells),
    )


def _id(view: View) -> str:
    what = [view.task, view.asked, view.hardware, view.scope, view.grade]
    return hashlib.sha256(canonical_json(what).encode()).hexdigest()[:_HASH]
