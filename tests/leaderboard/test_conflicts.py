"""One sender's word on a task of others changes no figure of anybody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_runs import COUNTER, write_run

from joulemark.harness.record import Cell
from joulemark.harness.store import Run
from joulemark.leaderboard.board import Board, make_board
from joulemark.leaderboard.storeindex import entry_of
from joulemark.leaderboard.submission import pack, parse_submission

HONEST = {"m": (0.7, 0.001, 9_000), "n": (0.6, 0.002, 9_000)}


def board_of(*runs: Run, senders: str = "") -> Board:
    """Of runs, accepted in this order; ``senders``: a letter for each."""
    sent = [parse_submission(pack(run)) for run in runs]
    entries = [
        entry_of(each, by=by, added_at=f"2026-03-{day:02}T00:00:00Z")
        for day, (each, by) in enumerate(zip(sent, senders, strict=bool(senders)), start=1)
    ]
    return make_board(sent, entries)


def figures(board: Board) -> dict[str, list[Any]]:
    """Of the honest models in the view that both are in."""
    view = next(each.view for each in board.views if {"m", "n"} <= {row.model for row in each.view.rows})
    return {
        row.model: [row.quality, row.quality_low, row.quality_high, row.correct_per_wh]
        for row in view.rows
        if row.model in HONEST
    }


def _otherwise(**change: Any) -> Callable[[Cell], Cell]:
    return lambda cell: cell.model_copy(update=change)


def _together(_task: str, items: pd.DataFrame) -> pd.DataFrame:
    return items.assign(cluster="one")


@pytest.mark.parametrize(
    "change",
    [
        {"change": _otherwise(accuracy=None, quality=None)},
        {"chance": 0.25},
        {"change_items": _together},
    ],
    ids=["no share of right answers", "another chance", "all questions belong together"],
)
def test_who_tells_otherwise_of_a_task_has_a_view_of_its_own(tmp_path: Path, change: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"tasks": ("arc",), "items": 60, "meter": COUNTER}
    honest = write_run(tmp_path / "a", HONEST, run_id="r-1", **usual)
    before = figures(board_of(honest))
    other = write_run(tmp_path / "b", {"x": (0.65, 0.001, 9_000)}, run_id="r-2", seed=2, **usual, **change)
    board = board_of(honest, other)
    assert figures(board) == before
    assert not any({"m", "x"} <= {row.model for row in each.view.rows} for each in board.views)
    told = [question for each in board.views for question in each.view.asked.values()]
    assert any(", told as " in question for question in told)


@pytest.mark.parametrize("senders", ["abeee", "abcde"], ids=["one who sends three", "three others"])
def test_what_most_senders_tell_keeps_the_address(tmp_path: Path, senders: str) -> None:
    """One sender counts once, however many files come from there."""
    usual: dict[str, Any] = {"tasks": ("arc",), "items": 60, "meter": COUNTER}
    honest = [write_run(tmp_path / f"h{n}", HONEST, run_id=f"r-{n}", seed=n, **usual) for n in (1, 2)]
    other = [
        write_run(tmp_path / f"o{n}", {f"x{n}": (0.9, 0.001, 9_000)}, run_id=f"{n}", chance=0.25, **usual)
        for n in range(3)
    ]
    before = {each.id for each in board_of(*honest).views}
    board = board_of(*honest, *other, senders=senders)
    moved = {each.id for each in board.views if {row.model for row in each.view.rows} == {"m", "n"}} != before
    assert moved == (senders == "abcde")


def test_of_as_many_senders_the_first_that_was_accepted_keeps_the_address(tmp_path: Path) -> None:
    """And not whose run has the lower id, which anybody can invent."""
    usual: dict[str, Any] = {"tasks": ("arc",), "items": 60, "meter": COUNTER}
    honest = write_run(tmp_path / "a", HONEST, run_id="r-1", **usual)
    odd = write_run(tmp_path / "c", {"y": (0.9, 0.001, 9_000)}, run_id="0", chance=0.25, **usual)
    before = {each.id for each in board_of(honest).views}
    assert before < {each.id for each in board_of(honest, odd, senders="ae").views}
    assert not before & {
        each.id for each in board_of(odd, honest, senders="ea").views if each.view.rows[0].model != "y"
    }


def test_those_who_tell_alike_share_a_view(tmp_path: Path) -> None:
    usual: dict[str, Any] = {"tasks": ("arc",), "items": 60, "meter": COUNTER}
    one = write_run(tmp_path / "a", HONEST, run_id="r-1", **usual)
    two = write_run(tmp_path / "b", {"x": (0.65, 0.001, 9_000)}, run_id="r-2", **usual)
    assert {"m", "n", "x"} <= {row.model for row in board_of(one, two).views[0].view.rows}
