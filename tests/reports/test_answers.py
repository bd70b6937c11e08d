from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from joulemark.harness import items as item_files
from joulemark.harness.store import Run, read_run
from joulemark.meters.errors import UsageError
from joulemark.reports.answers import Answered, read_answers

MakeRun = Callable[..., Run]


def answers(run: Run) -> dict[str, Answered]:
    """What the one model of a run answered, by task."""
    tasks = {cell.task for cell in run.cells}
    return read_answers(run, {task: [cell for cell in run.cells if cell.task == task] for task in tasks})


def by_hand(run: Run, task: str) -> pd.Series:
    frame = run.items()
    own = {cell.cell_id for cell in run.cells if cell.task == task}
    return frame[frame["cell_id"].isin(own)].groupby("doc_id")["score"].mean()


ONE = {"small": (0.6, 0.001, 1000)}


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("rows", [7, 120, 1 << 17])
def test_scores_are_the_means_over_repeats_however_the_rows_are_cut_into_batches(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, compact: bool, rows: int
) -> None:
    rng = np.random.default_rng(5)
    monkeypatch.setattr(item_files, "_ROWS", rows)
    run = make_run(models=ONE, compact=compact, change_items=lambda _, own: own.assign(score=rng.random(len(own))))
    for task, told in answers(run).items():
        expected = by_hand(run, task)
        assert told.asked.docs.tolist() == expected.index.tolist()
        assert told.scores == pytest.approx(expected.to_numpy())
        assert [len(told.asked.levels[level]) for level in (1, 2, 3, 4)] == [30] * 4
        assert len(set(told.asked.clusters)) == 120


def test_items_that_are_not_in_order_or_not_in_every_repeat_keep_their_own_scores(make_run: MakeRun) -> None:
    rng = np.random.default_rng(6)

    def some(_: str, own: pd.DataFrame) -> pd.DataFrame:
        return own.assign(score=rng.random(len(own)), cluster=own["doc_id"] // 10).sample(
            90, random_state=rng.integers(99)
        )

    run = make_run(models=ONE, change_items=lambda task, own: some(task, own).astype({"cluster": str}))
    told = answers(run)["dates"]
    expected = by_hand(run, "dates")
    assert 90 < len(expected) <= 120
    assert told.asked.docs.tolist() == expected.index.tolist()
    assert told.scores == pytest.approx(expected.to_numpy())
    assert told.asked.clusters.tolist() == [f"of {doc // 10}" for doc in told.asked.docs]
    assert sorted(np.concatenate(list(told.asked.levels.values()))) == list(range(len(expected)))


def test_tasks_of_the_same_items_share_one_object_for_all_repeats_and_models(make_run: MakeRun) -> None:
    run = make_run()
    groups = {name: [c for c in run.cells if (c.model, c.task) == (name, "dates")] for name in ("ngram", "dense-60k")}
    first, second = read_answers(run, groups).values()
    assert first.asked is second.asked


def test_answers_cut_off_are_counted_and_the_others_have_a_mean_of_their_own(make_run: MakeRun) -> None:
    run = make_run(models=ONE, change_items=lambda _, own: own.assign(truncated=own["doc_id"] < 30))
    told = answers(run)["dates"]
    assert told.truncated == 0.25
    assert told.mean_finished == pytest.approx(by_hand(run, "dates")[30:].mean())
    unknown = make_run(
        "unknown",
        models=ONE,
        change_items=lambda task, own: own.assign(truncated=None if task == "dates" else True).astype(
            {"truncated": "boolean"}
        ),
    )
    told = answers(unknown)
    assert (told["dates"].truncated, told["dates"].mean_finished) == (None, None)
    assert (told["units"].truncated, told["units"].mean_finished) == (1.0, None)


def test_items_that_are_lost_are_told_with_what_to_do(make_run: MakeRun) -> None:
    run = make_run(models=ONE)
    lost = next(iter((run.path / "items").iterdir()))
    lost.unlink()
    with pytest.raises(UsageError, match=f"items of cell {lost.stem} are lost; `joulemark run --resume"):
        answers(run)


def test_a_compacted_file_that_is_no_parquet_file_is_told(make_run: MakeRun) -> None:
    run = make_run(models=ONE, compact=True)
    (run.path / "items.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(UsageError, match="cannot be read"):
        answers(read_run(run.path))
