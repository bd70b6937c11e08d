"""The page's data: smaller than the figures that they stand for, and work in several processes that changes nothing."""

from __future__ import annotations

import os
import random
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import COUNTER, write_run

from joulemark.leaderboard.board import make_board
from joulemark.leaderboard.columns import as_columns
from joulemark.leaderboard.findings import Refused, refuse
from joulemark.leaderboard.pairs import _shortened
from joulemark.leaderboard.submission import pack, parse_submission
from joulemark.meters.errors import UsageError
from joulemark.reports import apart
from joulemark.reports.apart import work_apart
from joulemark.reports.documents import as_json
from joulemark.reports.views import make_views


def test_what_the_page_works_out_reads_as_the_figures_that_were_left_out(tmp_path: Path) -> None:
    models = {f"m{n}": (0.3 + 0.05 * n, 0.0013 * 1.7**n, 1000 * (n + 1)) for n in range(12)}
    run = write_run(tmp_path / "run", models, run_id="run-a", meter=COUNTER, tasks=("dates", "units"), items=80)
    board = make_board([parse_submission(pack(run))])
    columns = as_columns(board)["columns"]
    rows = [row for each in board.views for row in each.view.rows]
    worked_out = 0
    for at, row in enumerate(rows):
        told = {name: values[at] for name, values in columns.items()}
        rate = told["rate"][0] if isinstance(told["rate"], list) else 10 * told["quality"] / told["energy"]
        worked_out += told["rate"] == 0
        assert f"{rate:.6g}" == f"{row.correct_per_wh:.6g}"
        low, high = row.energy_wh_per_1k_within_low, row.energy_wh_per_1k_within_high
        below, above = told["energy_low"], told["energy_high"]
        shown = below[0] if isinstance(below, list) else told["energy"] * (1 - below / 1_000_000)
        assert f"{shown:.5g}" == f"{low:.5g}"
        top = above[0] if isinstance(above, list) else told["energy"] * told["energy"] / shown
        assert f"{top:.5g}" == f"{high:.5g}"
        if row.rank is not None:
            assert (row.rank - told["rank_low"], row.rank + told["rank_high"]) == (row.rank_low, row.rank_high)
    assert worked_out > len(rows) / 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300))
def test_no_difference_is_told_to_be_surer_than_it_is(p: list[float]) -> None:
    for own, told in zip(p, _shortened(np.array(p)), strict=True):
        if own > 0.05:
            assert told == 1
        elif own <= 0.05 / len(p):
            assert told == 0
        else:
            assert own <= told <= min(0.05 + 1e-9, own * 1.002)


def test_views_that_several_processes_make_are_those_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = {f"m{n}": (0.4 + 0.04 * n, 0.001 * 1.4**n, 1000) for n in range(8)}
    run = write_run(tmp_path / "run", models, run_id="run-a", meter=COUNTER, tasks=("dates", "units"), items=60)
    alone = make_views([run])
    monkeypatch.setattr("joulemark.reports.views._MANY", 0)
    monkeypatch.setattr(apart, "_cores", lambda: 2)
    shared = make_views([run])
    assert as_json(shared) == as_json(alone)
    for view in shared:
        # The entrants that were there before, not copies of them.
        assert {id(figures.entrant) for figures in view.figures} == {id(f.entrant) for f in shared[0].figures}


def test_an_error_in_another_process_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_cores", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        list(work_apart(lambda number: 1 / number, [2, 1, 0]))


def test_a_process_that_is_killed_ends_the_work_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a system does that runs out of memory: else a build would wait for ever."""
    monkeypatch.setattr(apart, "_cores", lambda: 2)
    with pytest.raises(UsageError, match="runs out of memory"):
        list(work_apart(lambda number: os.kill(os.getpid(), signal.SIGKILL) if number == 3 else number, range(8)))


def test_what_is_wrong_with_a_file_is_told_by_whoever_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_cores", lambda: 2)
    with pytest.raises(Refused, match=re.escape("store-changed: accepted/x.json")):
        list(work_apart(lambda _: refuse("store-changed", "accepted/x.json", "It is another."), range(4)))


def test_results_come_in_the_order_of_the_things(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where an early one takes longest, and of more than the processes take at once."""
    monkeypatch.setattr(apart, "_cores", lambda: 2)
    monkeypatch.setattr(apart, "_TASKS", 2)
    things = random.Random(1).sample(range(100), 11)
    assert list(work_apart(lambda each: -sum(range(300_000 * (each == things[0]))) - each, things))[1:] == [
        -each for each in things[1:]
    ]
