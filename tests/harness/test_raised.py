"""More repeats for a run that is there: what comes of it is what would have come of planning them at once."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import write_run

from joulemark.harness.models import parse_models
from joulemark.harness.plan import Plan, raise_repeats
from joulemark.harness.run import Progress, _raised, resume
from joulemark.harness.schedule import schedule
from joulemark.harness.store import read_run
from joulemark.meters.errors import UsageError
from joulemark.meters.registry import Choice

from .conftest import COMMAND, Joulemark
from .test_run import Ran, lines, wait_for


def planned(repeats: int, **choices: Any) -> Plan:
    return Plan(models=("a=ref/ngram", "b=ref/ngram"), tasks=("jm_units", "jm_dates"), repeats=repeats, **choices)


class Counted(Progress):
    """Keeps what is told of how many cells there are, and how many are done."""

    told: tuple[int, int] = (0, 0)

    def begin(self, cells: int, done: int, choice: Choice) -> None:  # noqa: ARG002
        self.told = cells, done


def test_a_raised_run_that_was_killed_ends_with_the_plan_and_the_order_of_one_that_planned_all_at_once(
    small_run: Ran, tmp_path: Path
) -> None:
    path, progress = shutil.copytree(small_run[0], tmp_path / "run"), Counted()
    before = read_run(path)
    command = [*COMMAND, "run", "--resume", str(path), "--repeats", "4"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait_for(path, 13, process)
        process.kill()
    assert read_run(path).header.plan["repeats"] == 4
    done = len(lines(path))
    # The same line again, as a user would give it.
    assert resume(path, progress, repeats=4).problem is None
    assert progress.told == (16, done)
    run, whole = read_run(path), Plan.model_validate(before.header.plan | {"repeats": 4})
    asked = schedule(whole, parse_models(whole.models), range(1, 5))
    assert run.header.plan == whole.model_dump(mode="json")
    assert [(cell.cell_id, cell.order) for cell in run.cells] == [(cell.cell_id, cell.order) for cell in asked]
    assert run.cells[:12] == before.cells
    assert len(lines(path)) == 16
    assert (run.header.raised_from, len(run.header.invocations)) == ((3,), 3)


@given(
    st.sampled_from(["abba", "interleaved"]), st.integers(0, 99), st.lists(st.integers(1, 9), min_size=2, max_size=4)
)
def test_raised_step_by_step_the_order_is_that_of_all_at_once(order: Any, seed: int, steps: list[int]) -> None:
    first, *further = sorted(steps)
    plan, done = planned(first, order=order, seed=seed), []
    specs = parse_models(plan.models)
    for repeats in (first, *further):
        plan = raise_repeats(plan, repeats)
        # A run measures what is not there yet, in the order of the whole.
        done += [cell for cell in schedule(plan, specs, range(1, repeats + 1)) if cell not in done]
    whole = planned(max(steps), order=order, seed=seed)
    assert plan == whole
    assert done == schedule(whole, specs, range(1, whole.repeats + 1))


@pytest.mark.parametrize(
    ("plan", "repeats", "told"),
    [
        (planned(4), 3, "the run plans 4 repeats, and --resume can only raise that"),
        (planned(4), 0, "the run plans 4 repeats, and --resume can only raise that"),
        (planned(4), 1001, "repeats: input should be less than or equal to 1000"),
        (planned(3, precision=0.05), 6, "the run repeats until its energies are known well enough"),
        (planned(4, order="blocked"), 6, "the run measures one model after the other"),
    ],
)
def test_repeats_that_cannot_be_added_are_refused(plan: Plan, repeats: int, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        raise_repeats(plan, repeats)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (("--repeats", "2"), "the run plans 3 repeats"),
        (("--repeats", "6", "--seed", "8"), "--repeats alone can be raised"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_the_run_as_it_was(
    joulemark: Joulemark, small_run: Ran, choice: tuple[str, ...], told: str
) -> None:
    header = (small_run[0] / "run.json").read_bytes()
    done = joulemark("run", "--resume", small_run[0], *choice)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (small_run[0] / "run.json").read_bytes() == header


def test_a_number_of_repeats_that_no_cell_reached_was_no_look(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run", tasks=("units",), items=5, repeats=3, change=lambda c: c if c.repeat < 2 else None
    )
    assert _raised(run, 2, 6).raised_from == ()
    assert _raised(run, 1, 6).raised_from == (1,)
