from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulemark.harness.record import Cell, Computed, Latency
from joulemark.harness.store import Run
from joulemark.reports.answers import Asked
from joulemark.reports.documents import as_markdown
from joulemark.reports.entrants import Entrant, gather
from joulemark.reports.rows import Row, measure, plain_row
from joulemark.reports.views import make_views

Make = Callable[..., Run]
ONE = {"small": (0.6, 0.001, 1000)}
ANSWERS = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 4)), min_size=1, max_size=60)

quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def entrant(tmp_path_factory: pytest.TempPathFactory, write: Callable[..., Run]) -> Entrant:
    run = write(tmp_path_factory.mktemp("one") / "run-1", models=ONE, tasks=("dates", "units"), items=8)
    return gather([run])[0]


def answering(entrant: Entrant, task: str, answers: list[tuple[float, int]], chance: float) -> Entrant:
    """The entrant with these scores and levels on a task."""
    level = np.array([level for _, level in answers])
    sample = replace(
        entrant.samples[task],
        chance=chance,
        asked=Asked(
            docs=np.arange(len(answers)),
            clusters=np.arange(len(answers)).astype(str),
            levels={int(each): np.flatnonzero(level == each) for each in np.unique(level)},
        ),
        scores=np.array([score for score, _ in answers]),
    )
    return replace(entrant, samples={**entrant.samples, task: sample})


def figures(entrant: Entrant, *tasks: str) -> Row:
    return plain_row(measure(entrant, tasks), "small")


def only_row(run: Run, task: str = "all") -> Row:
    (row,) = next(view for view in make_views([run]) if view.task == task).rows
    return row


@quick
@given(answers=ANSWERS, chance=st.floats(0, 0.9))
def test_the_levels_weighted_by_their_items_give_the_tasks_quality(
    entrant: Entrant, answers: list[tuple[float, int]], chance: float
) -> None:
    row = figures(answering(entrant, "dates", answers, chance), "dates")
    items = sum(own["items"] or 0 for own in row.levels.values())
    assert items == row.items == len(answers)
    mean = sum((own["quality"] or 0) * (own["items"] or 0) for own in row.levels.values()) / items
    assert mean == pytest.approx(row.quality, abs=1e-9)


@quick
@given(answers=ANSWERS, chance=st.floats(0, 0.9))
def test_a_levels_interval_holds_its_quality_and_one_item_has_none(
    entrant: Entrant, answers: list[tuple[float, int]], chance: float
) -> None:
    for own in figures(answering(entrant, "dates", answers, chance), "dates").levels.values():
        low, high = own["quality_low"], own["quality_high"]
        if own["items"] == 1:
            assert (low, high) == (None, None)
        else:
            assert (low or 0) - 1e-9 <= (own["quality"] or 0) <= (high or 0) + 1e-9


@quick
@given(first=ANSWERS, second=ANSWERS)
def test_over_all_tasks_there_are_the_levels_that_every_task_has_and_each_is_the_tasks_mean(
    entrant: Entrant, first: list[tuple[float, int]], second: list[tuple[float, int]]
) -> None:
    both = answering(answering(entrant, "dates", first, 0.0), "units", second, 0.25)
    dates, units, whole = figures(both, "dates"), figures(both, "units"), figures(both, "dates", "units")
    assert set(whole.levels) == set(dates.levels) & set(units.levels)
    for level, own in whole.levels.items():
        parts = [dates.levels[level], units.levels[level]]
        assert own["quality"] == pytest.approx(sum(part["quality"] or 0 for part in parts) / 2, abs=1e-9)
        assert own["items"] == sum(part["items"] or 0 for part in parts)


def test_a_task_without_levels_leaves_none_over_all_tasks(make_run: Make) -> None:
    def level_less(task: str, items: pd.DataFrame) -> pd.DataFrame:
        return items.assign(level=pd.array([pd.NA] * len(items), dtype="Int64")) if task == "units" else items

    run = make_run(models=ONE, change_items=level_less)
    assert only_row(run).levels == {}
    assert only_row(run, "units").levels == {}
    assert set(only_row(run, "dates").levels) == {"1", "2", "3", "4"}


def test_an_entrant_that_lacks_a_task_has_no_levels_over_all_tasks_nor_a_task_without_quality(make_run: Make) -> None:
    two = {**ONE, "large": (0.8, 0.004, 9000)}
    lacking = make_run("a", models=two, change=lambda c: None if (c.model, c.task) == ("small", "units") else c)
    found = {row.model: set(row.levels) for row in make_views([lacking])[0].rows}
    assert found == {"small": set(), "large": {"1", "2", "3", "4"}}
    perplexed = make_run("b", models=ONE, change=_perplexed)
    assert only_row(perplexed, "dates").levels == {}
    assert only_row(perplexed, "units").levels


def _perplexed(cell: Cell) -> Cell:
    return cell.model_copy(update={"quality": None, "chance": None}) if cell.task == "dates" else cell


def test_further_metrics_are_means_over_repeats_in_views_of_one_task_alone(make_run: Make) -> None:
    def abstaining(cell: Cell) -> Cell:
        metrics = {"made_up": 0.1 * (cell.repeat + 1), "over_refusal": 0.0}
        return cell.model_copy(update={"other_metrics": metrics}) if cell.task == "dates" else cell

    run = make_run(models=ONE, change=abstaining)
    assert only_row(run, "dates").other_metrics == {"made_up": pytest.approx(0.2), "over_refusal": 0.0}
    assert only_row(run, "units").other_metrics == {}
    assert only_row(run).other_metrics == {}


def test_a_metric_that_a_repeat_lacks_is_absent_and_not_0(make_run: Make) -> None:
    def once(cell: Cell) -> Cell:
        return cell.model_copy(update={"other_metrics": {"f1": 0.5} if cell.repeat == 0 else {}})

    assert only_row(make_run(models=ONE, change=once), "dates").other_metrics == {}


def test_what_a_model_chose_to_compute_is_the_mean_over_repeats_and_tasks(make_run: Make) -> None:
    def choosing(cell: Cell) -> Cell:
        share = {"dates": 0.2, "units": 0.6}[cell.task] + 0.1 * (cell.repeat - 1)
        return cell.model_copy(update={"computed": Computed(layers_per_token=2.5, escalated=share)})

    run = make_run(models=ONE, change=choosing)
    assert only_row(run, "dates").escalated == pytest.approx(0.2)
    assert only_row(run).escalated == pytest.approx(0.4)
    assert only_row(run).layers_per_token == 2.5


def test_what_is_not_chosen_in_every_task_is_missing_over_all_and_not_0(make_run: Make) -> None:
    def sometimes(cell: Cell) -> Cell:
        chosen = Computed(escalated=0.5) if cell.task == "dates" else Computed()
        return cell.model_copy(update={"computed": chosen})

    run = make_run(models=ONE, change=sometimes)
    assert only_row(run).escalated is None
    assert only_row(run, "dates").escalated == 0.5
    assert only_row(run).layers_per_token is None


def test_what_an_entrant_did_of_some_tasks_is_no_figure_over_all_of_them(make_run: Make) -> None:
    def begun(cell: Cell) -> Cell | None:
        told = {"computed": Computed(layers_per_token=2.5, escalated=0.5), "ttft_s": Latency(p50=0.1, p95=0.2)}
        return None if (cell.model, cell.task) == ("begun", "units") else cell.model_copy(update=told)

    views = make_views([make_run(models={**ONE, "begun": (0.7, 0.002, 9)}, change=begun)])
    over_all, dates = (next(r for r in view.rows if r.model == "begun") for view in views[:2])
    means = {"tokens_per_item", "generated_per_item", "tokens_per_s", "truncated", "accuracy_finished"}
    means |= {"latency_s_p50", "latency_s_p95", "ttft_s_p50", "wall_s_per_item", "layers_per_token", "escalated"}
    assert {name for name in means if getattr(over_all, name) is not None} == set()
    assert {name for name in means if getattr(dates, name) is None} == set()
    # Of the other, that finished both, all are known; and counts are counts.
    whole = next(r for r in views[0].rows if r.model != "begun")
    assert {name for name in means if getattr(whole, name) is None} == set()
    assert (over_all.items, whole.items) == (120, 240)


def test_peaks_of_memory_are_the_largest_of_any_cell_and_unknown_where_one_cell_does_not_tell(make_run: Make) -> None:
    def took(mb: Callable[[Cell], float | None]) -> Callable[[Cell], Cell]:
        return lambda cell: cell.model_copy(
            update={"model_info": cell.model_info.model_copy(update={"peak_rss_mb": mb(cell), "peak_gpu_mb": 7.0})}
        )

    def largest(cell: Cell) -> float:
        return 100.0 * cell.repeat + (50.0 if cell.task == "units" else 0.0)

    run = make_run("all", models=ONE, change=took(largest))
    assert [only_row(run, task).peak_rss_mb for task in ("all", "dates", "units")] == [250.0, 200.0, 250.0]
    assert only_row(run).peak_gpu_mb == 7.0
    gap = make_run("gap", models=ONE, change=took(lambda c: None if (c.task, c.repeat) == ("dates", 1) else 5.0))
    assert [only_row(gap, task).peak_rss_mb for task in ("all", "dates", "units")] == [None, None, 5.0]


def test_of_energy_that_is_not_known_nobody_says_that_it_may_be_too_high(make_run: Make) -> None:
    def beside_others(cell: Cell) -> Cell:
        unseen = {"energy": None} if cell.model == "unseen" else {}
        return cell.model_copy(update={"flags": ("busy_machine",)} | unseen)

    run = make_run(models={"seen": (0.6, 0.001, 9), "unseen": (0.7, 0.002, 9)}, change=beside_others)
    views = make_views([run])
    told = [line for line in as_markdown(views, [run]).splitlines() if "too high" in line]
    assert told
    assert not [line for line in told if "unseen" in line]
