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
from joulemark.leaderboard.submission import pack, parse_submission

HONEST = {"m": (0.7, 0.001, 9_000), "n": (0.6, 0.002, 9_000)}


def board_of(*runs: Run) -> Board:
    return make_board([parse_submission(pack(run)) for run in runs])


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


def test_those_who_tell_alike_share_a_view_and_keep_its_address(tmp_path: Path) -> None:
    usual: dict[str, Any] = {"tasks": ("arc",), "items": 60, "meter": COUNTER}
    one = write_run(tmp_path / "a", HONEST, run_id="r-1", **usual)
    two = write_run(tmp_path / "b", {"x": (0.65, 0.001, 9_000)}, run_id="r-2", **usual)
    odd = write_run(tmp_path / "c", {"y": (0.9, 0.001, 9_000)}, run_id="r-0", chance=0.25, **usual)
    together, with_odd = board_of(one, two), board_of(odd, one, two)
    assert {"m", "n", "x"} <= {row.model for row in together.views[0].view.rows}
    assert {each.id for each in together.views} < {each.id for each in with_odd.views}
