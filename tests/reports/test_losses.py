from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from html import unescape

import pytest

from joulemark.harness.record import Cell
from joulemark.harness.store import Run
from joulemark.reports.caveats import caveats
from joulemark.reports.documents import as_json, as_markdown
from joulemark.reports.html import page
from joulemark.reports.table import print_views
from joulemark.reports.views import View, make_views

Make = Callable[..., Run]
TWO = {"small": (0.6, 0.001, 1000), "large": (0.8, 0.004, 9000)}
BATCHES = {"batch_size": (1, 8)}


def failing(
    where: Callable[[Cell], bool], error: Callable[[Cell], str] = lambda _: "RuntimeError: no room"
) -> Callable[[Cell], Cell]:
    """Cells fail where they are told to."""

    def change(cell: Cell) -> Cell:
        lost = {"status": "failed", "error": error(cell), "energy": None, "task_hash": None}
        return cell.model_copy(update=lost) if where(cell) else cell

    return change


def in_batches_of_8(cell: Cell) -> bool:
    return cell.model == "large" and cell.setting["batch_size"] == 8


def printed(views: list[View]) -> str:
    out = io.StringIO()
    print_views(views, file=out, width=80)
    return " ".join(out.getvalue().split())


def test_a_failure_is_told_once_at_the_model_and_setting_that_it_belongs_to(make_sweep: Make) -> None:
    lost = failing(lambda cell: in_batches_of_8(cell) and cell.task == "dates" and cell.repeat > 0)
    run = make_sweep(BATCHES, TWO, change=lost)
    views = make_views([run])
    said = "large (batch_size=8): 2 of 6 cells failed (dates): RuntimeError: no room."
    assert views[0].losses == (said,)
    for text in (as_markdown(views, [run]), unescape(page(views, [run])), printed(views)):
        assert text.count("RuntimeError") == 1
        assert said in text
    told = {view["task"]: view["notes"] for view in as_json(views)["views"]}
    assert "large (batch_size=8): 2 of 3 cells failed (dates): RuntimeError: no room." in told["dates"]
    assert not any("failed" in note for note in told["units"])


def test_equal_reasons_are_one_and_differing_ones_are_counted(make_run: Make) -> None:
    def error(cell: Cell) -> str:
        return f"tried to allocate {cell.order}.5 GiB" if cell.task == "dates" else "the server went away"

    lost = failing(lambda cell: cell.model == "large" and cell.repeat != 1, error)
    (said,) = make_views([make_run(models=TWO, change=lost)])[0].losses
    assert said.startswith("large: 4 of 6 cells failed (dates and units): tried to allocate ")
    assert said.endswith("GiB (figures differ) (2); the server went away (2).")


def test_entrants_that_lost_cells_for_one_reason_share_a_sentence(make_run: Make) -> None:
    lost = failing(lambda cell: cell.task == "dates" and cell.repeat == 0)
    assert make_views([make_run(models=TWO, change=lost)])[0].losses == (
        "large and small: 2 of 12 cells failed (dates): RuntimeError: no room.",
    )


def test_a_failed_cell_of_a_model_that_two_meters_measured_counts_once(make_run: Make) -> None:
    def change(cell: Cell) -> Cell:
        cell = failing(lambda c: c.repeat == 2 and c.model == "large")(cell)
        other = cell.energy and cell.energy.model_copy(update={"grade": "counter", "scope": "package+dram"})
        return cell.model_copy(update={"energy": other}) if cell.repeat == 1 else cell

    (view, *_) = make_views([make_run(models=TWO, change=change)], mix=True)
    (said,) = view.losses
    assert "2 of 6 cells failed" in said


def test_what_nobody_was_asked_in_the_same_way_is_not_taken_from_those_asked_otherwise(make_sweep: Make) -> None:
    """A model that failed a whole task stands in the tables of its own cap, beside the other, and in no third one."""
    lost = failing(lambda cell: cell.model == "small" and cell.task == "dates")
    views = make_views([make_sweep({"max_gen_toks": (8, 64)}, TWO, change=lost)])
    over_all = [view for view in views if view.task == "all"]
    assert sorted(view.peculiar for view in over_all) == ["max gen toks 64", "max gen toks 8"]
    assert all({row.model for row in view.rows} == {"small", "large"} for view in over_all)


def test_a_setting_of_which_no_cell_finished_is_named_and_so_is_the_one_that_did(make_sweep: Make) -> None:
    run = make_sweep(BATCHES, TWO, change=failing(in_batches_of_8))
    views = make_views([run])
    said = "large (batch_size=8) is left out: its 6 cells failed: RuntimeError: no room."
    assert "large (batch_size=1)" in {row.label for row in views[0].rows}
    assert len(views[0].rows) == 3
    assert said in caveats(views[0])
    assert as_markdown(views, [run]).count(said) == 1


def test_settings_that_failed_alike_are_left_out_together(make_sweep: Make) -> None:
    sweep = {"batch_size": (1, 8), "threads": (1, 2)}
    view = make_views([make_sweep(sweep, TWO, change=failing(in_batches_of_8))])[0]
    assert view.notes == (
        "large (batch_size=8, threads=1) and large (batch_size=8, threads=2) are left out: their 12 cells failed: "
        "RuntimeError: no room.",
    )


def test_a_task_whose_cells_all_failed_is_called_failed_and_not_unfinished(make_run: Make) -> None:
    run = make_run(models=TWO, change=failing(lambda cell: cell.model == "small" and cell.task == "dates"))
    views = make_views([run])
    row = next(row for row in views[0].rows if row.model == "small")
    assert {"failed:dates", "no_finished_cell:dates"} <= set(row.flags)
    for text in (as_markdown(views, [run]), page(views, [run]), printed(views)):
        assert "every cell tried on dates failed" in text
        assert "not finished yet" not in text


@pytest.mark.parametrize(("dropped", "goes_on"), [(0, "tries these again"), (2, "goes on")])
def test_what_failed_is_no_more_to_come_than_to_be_tried_again(make_run: Make, dropped: int, goes_on: str) -> None:
    run = make_run(models=TWO, change=failing(lambda cell: cell.model == "small" and cell.task == "dates"))
    run = replace(run, cells=run.cells[: len(run.cells) - dropped])
    (far,) = make_views([run])[0].unfinished
    assert f"{9 - dropped} of 12 cells are measured, 3 failed; `joulemark run --resume" in far.sentence
    assert far.sentence.endswith(f"{goes_on}.")


def test_a_reason_that_steers_a_terminal_or_has_no_end_is_cut_and_made_harmless(make_run: Make) -> None:
    lost = failing(lambda cell: cell.model == "small" and cell.repeat == 0, lambda _: "\x1b[2J" + "x" * 5000)
    text = printed(make_views([make_run(models=TWO, change=lost)]))
    assert "\x1b" not in text
    assert text.count("x") < 400
