"""Where the energy goes, how fast answers come, and what the token cap cut off."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from joulemark.harness.record import Cell, Latency, Phases, Tokens
from joulemark.harness.store import Run
from joulemark.reports.asides import cut_off, pace, where_it_goes
from joulemark.reports.documents import as_json, as_markdown
from joulemark.reports.html import page
from joulemark.reports.views import View, make_views

Make = Callable[..., Run]
TWO = {"brief": (0.6, 0.001, 1000), "verbose": (0.8, 0.004, 9000)}


def told(cell: Cell) -> Cell:
    """A cell that tells its phases and its first tokens."""
    assert cell.energy is not None
    assert cell.energy.net_j is not None
    net_j = cell.energy.net_j
    phases = Phases(load_j=5.0, warmup_j=1.0, prefill_j=0.5 * net_j, decode_j=0.3 * net_j, other_j=0.2 * net_j)
    return cell.model_copy(update={"phases": phases, "ttft_s": Latency(p50=0.0004, p95=0.0005)})


def cut(_: str, items: pd.DataFrame) -> pd.DataFrame:
    """Every fourth answer is cut off, and wrong."""
    truncated = items["doc_id"] % 4 == 0
    return items.assign(truncated=truncated, score=items["score"].where(~truncated, 0.0))


@pytest.fixture
def view(make_run: Make) -> View:
    return make_views([make_run(models=TWO, change=told, change_items=cut)])[0]


def test_a_task_that_generates_nothing_does_not_make_tokens_dearer(make_run: Make) -> None:
    def scoring(cell: Cell) -> Cell:
        return cell if cell.task == "dates" else cell.model_copy(update={"tokens": Tokens(prompt=99, generated=0)})

    whole, *tasks = make_views([make_run(models=TWO, change=scoring)])
    [dates] = [view for view in tasks if view.task == "dates"]
    assert [row.j_per_generated_token for row in whole.rows] == pytest.approx(
        [next(own.j_per_generated_token for own in dates.rows if own.model == row.model) for row in whole.rows]
    )


def test_phases_and_idle_add_up_to_the_whole(view: View) -> None:
    for row in view.rows:
        assert list(row.phase_shares) == ["prefill", "decode", "other", "idle"]
        assert sum(row.phase_shares.values()) == pytest.approx(1)
    aside = where_it_goes(view)
    assert aside
    shown = [text.replace("\u00a0", " ") for text in aside.lines[0][1][:4]]
    assert shown == ["30.0 %", "18.0 %", "12.0 %", "40.0 %"]


def test_a_generated_token_costs_the_items_energy_by_its_tokens(view: View) -> None:
    for row in view.rows:
        assert row.j_per_generated_token == pytest.approx((row.energy_wh_per_1k or 0) * 3.6 / 6, rel=0.01)
        assert row.tokens_per_s == pytest.approx(6 * 120 * 20 / 2.0)


def test_pace_tells_first_tokens_and_slow_requests(view: View) -> None:
    aside = pace(view)
    assert aside
    assert dict(zip(aside.heads, aside.lines[0][1], strict=True)) == {
        "First token, ms": "0.400",
        "A request, ms": "0.900",
        "One in 20 over, ms": "1.30",
        "Tokens a second": "7,200",
    }


def test_answers_that_were_cut_off_are_told_apart_from_wrong_ones(view: View) -> None:
    for row in view.rows:
        assert row.truncated == pytest.approx(0.25)
        assert row.accuracy is not None
        assert row.accuracy_finished == pytest.approx(row.accuracy / 0.75)
    assert cut_off(view)


def test_what_is_not_told_is_missing_and_never_0(make_run: Make) -> None:
    plain = make_views([make_run(models=TWO, change_items=lambda _, items: items.drop(columns="truncated"))])[0]
    assert where_it_goes(plain) is None
    assert cut_off(plain) is None
    for row in as_json([plain])["views"][0]["rows"]:
        assert row["phase_shares"] == {}
        assert row["ttft_s_p50"] is row["truncated"] is row["accuracy_finished"] is row["peak_rss_mb"] is None


def test_the_page_and_the_markdown_show_them_over_all_tasks_and_by_task_and_pace_by_task_alone(make_run: Make) -> None:
    run = make_run(models=TWO, change=told, change_items=cut)
    views = make_views([run])
    for text in (page(views, [run]), as_markdown(views, [run])):
        assert text.count("Where the energy goes. ") + text.count("<h3>Where the energy goes</h3>") == 3
        assert text.count("Pace. ") + text.count("<h3>Pace</h3>") == 2
        assert (
            text.count("<h3>Answers cut off by the token cap</h3>") + text.count("cut off by the token cap. A cut") == 3
        )


@pytest.mark.parametrize(("precision", "flagged"), [(0.5, False), (0.0001, True)])
def test_energy_that_is_known_less_well_than_the_plan_asked_is_flagged(
    make_run: Make, precision: float, flagged: bool
) -> None:
    run = make_run(models=TWO)
    header = run.header.model_copy(update={"plan": run.header.plan | {"precision": precision}})
    [view, *_] = make_views([Run(path=run.path, header=header, cells=run.cells)])
    assert all(("imprecise" in row.flags) == flagged for row in view.rows)
