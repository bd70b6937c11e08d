from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from joulemark.harness.record import Cell, Span
from joulemark.harness.store import Run, canonical_json, read_run
from joulemark.meters.errors import Incomparable, UsageError
from joulemark.reports.documents import told_once
from joulemark.reports.rows import Row
from joulemark.reports.views import View, make_views
from joulemark.tasks.catalog import THREE_SHOT

TWO = {"small": (0.6, 0.001, 1000), "large": (0.8, 0.004, 9000)}
COUNTER = {"grade": "counter", "scope": "package+dram", "rel_u_scale": 0.02, "rel_u_workload": 0.0}
Make = Callable[..., Run]


def by_name(view: View) -> dict[str, Row]:
    return {row.model: row for row in view.rows}


def test_the_view_over_all_tasks_comes_first_and_each_task_follows(demo_views: list[View]) -> None:
    views = demo_views
    assert [view.task for view in views] == ["all", "addition", "brackets", "dates", "reversal", "sorting", "units"]
    assert views[0].grade == "modelled"
    assert [row.model for row in views[0].ranked] == ["dense-60k", "dense-240k", "dense-800k"]


def test_figures_over_all_tasks_follow_the_contract(demo_views: list[View]) -> None:
    views = demo_views
    whole, parts = by_name(views[0])["dense-240k"], [by_name(view)["dense-240k"] for view in views[1:]]
    assert whole.quality == pytest.approx(sum(p.quality or 0 for p in parts) / 6)
    assert whole.energy_wh_per_1k == pytest.approx(sum(p.energy_wh_per_1k or 0 for p in parts) / 6, rel=1e-3)
    assert whole.correct_per_wh == pytest.approx(10 * (whole.quality or 0) / (whole.energy_wh_per_1k or 1))
    assert whole.wh_per_correct == pytest.approx(1 / (whole.correct_per_wh or 1))
    assert whole.net_energy_wh_per_1k == pytest.approx(0.6 * (whole.energy_wh_per_1k or 0))
    assert sum(whole.energy_shares.values()) == pytest.approx(1)
    assert (whole.items, whole.repeats, whole.tokens_per_item) == (1800, 3, 22)


def test_absolute_intervals_carry_the_meters_error_and_comparing_ones_do_not(demo_views: list[View]) -> None:
    row = demo_views[0].rows[0]
    assert (row.energy_wh_per_1k_high or 0) / (row.energy_wh_per_1k or 1) == pytest.approx(2.66, rel=0.05)
    assert (row.energy_wh_per_1k_within_high or 0) / (row.energy_wh_per_1k or 1) < 1.1


def test_below_the_floor_there_is_no_rank_and_the_floor_can_be_moved(demo_run: Run, demo_views: list[View]) -> None:
    assert by_name(demo_views[0])["ngram"].rank is None
    assert by_name(make_views([demo_run], quality_floor=5)[0])["ngram"].rank == 3


def test_energy_missing_in_one_task_is_null_over_all_tasks_with_a_flag(make_run: Make) -> None:
    def lose(cell: Cell) -> Cell:
        lost = cell.model == "small" and cell.task == "dates"
        return cell.model_copy(update={"energy": None, "flags": ("outside_meter",)}) if lost else cell

    views = make_views([make_run(models=TWO, change=lose)])
    row = by_name(views[0])["small"]
    assert (row.energy_wh_per_1k, row.correct_per_wh, row.rank, row.frontier) == (None, None, None, None)
    assert {"no_energy:dates", "outside_meter"} <= set(row.flags)
    assert row.quality is not None
    assert by_name(views[0])["large"].rank == 1
    assert by_name(next(v for v in views if v.task == "units"))["small"].rank == 1


def test_a_task_without_a_finished_cell_is_null_over_all_tasks_not_a_better_mean(make_run: Make) -> None:
    run = make_run(models=TWO, change=lambda c: None if c.model == "small" and c.task == "units" else c)
    row = by_name(make_views([run])[0])["small"]
    assert (row.quality, row.energy_wh_per_1k, row.rank) == (None, None, None)
    assert "no_finished_cell:units" in row.flags


def test_failed_cells_are_left_out_flagged_and_told(make_run: Make) -> None:
    def fail(cell: Cell) -> Cell:
        broken = cell.model == "small" and cell.task == "dates" and cell.repeat == 1
        update = {"status": "failed", "error": "meter lost", "energy": None}
        return cell.model_copy(update=update) if broken else cell

    view = make_views([make_run(models=TWO, change=fail)])[0]
    row = by_name(view)["small"]
    assert (row.repeats, row.repeats_planned) == (2, 3)
    assert "2 of 3 repeats" in row.flags
    assert view.losses == ("small: 1 of 6 cells failed (dates, repeat 1): meter lost.",)


def test_no_joules_are_no_energy(make_run: Make) -> None:
    def empty(cell: Cell) -> Cell:
        assert cell.energy
        energy = cell.energy.model_copy(update={"gross_j": None})
        return cell.model_copy(update={"energy": energy}) if cell.model == "small" else cell

    row = by_name(make_views([make_run(models=TWO, change=empty)])[0])["small"]
    assert row.energy_wh_per_1k is None


def test_different_grades_scopes_and_hardware_are_separate_views(make_run: Make) -> None:
    runs = [
        make_run("a", models=TWO),
        make_run("b", models=TWO, meter=COUNTER),
        make_run("c", models=TWO, machine={"cpu_model": "Apple M3", "machine_id": "m-2"}),
    ]
    whole = [view for view in make_views(runs) if view.task == "all"]
    assert len(whole) == 3
    assert [len(view.rows) for view in whole] == [2, 2, 2]
    assert whole[0].grade == "counter"


def test_mix_shows_them_side_by_side_marked_and_unranked(make_run: Make) -> None:
    runs = [make_run("a", models=TWO), make_run("b", models=TWO, meter=COUNTER)]
    view = make_views(runs, mix=True)[0]
    assert (view.mixed, view.grade, len(view.rows)) == (True, "mixed", 4)
    assert {(row.rank, row.frontier, row.p_frontier) for row in view.rows} == {(None, None, None)}
    assert {row.grade for row in view.rows} == {"modelled", "counter"}


def test_what_is_asked_differently_is_never_ranked_together(make_run: Make) -> None:
    def few_shot(cell: Cell) -> Cell:
        return cell.model_copy(update={"setting": cell.setting | {"num_fewshot": 5}})

    views = make_views([make_run("a", models=TWO), make_run("b", models=TWO, change=few_shot)])
    assert [len(view.rows) for view in views if view.task == "all"] == [2, 2]


def test_a_task_is_told_by_itself_unless_a_view_over_all_tasks_has_all_its_rows(make_run: Make) -> None:
    """Else whoever did that task alone would hide the view in which all that did it are compared."""
    both = make_run("a", models=TWO, tasks=("dates", "units"))
    alone = make_run("b", models={"x": TWO["small"]}, tasks=("units",), seed=2)
    assert [view.task for view in told_once(make_views([alone]))] == ["all"]
    told = [(view.task, len(view.rows)) for view in told_once(make_views([both, alone]))]
    assert told == [("all", 2), ("all", 1), ("dates", 2), ("units", 3)]


def test_how_it_is_computed_makes_entrants_of_one_view(make_run: Make) -> None:
    def batched(cell: Cell) -> Cell:
        return cell.model_copy(update={"setting": cell.setting | {"batch_size": 8}})

    view = make_views([make_run("a", models=TWO), make_run("b", models=TWO, change=batched)])[0]
    assert len(view.rows) == 4
    assert {row.label for row in view.rows if row.model == "small"} == {"small (batch_size=1)", "small (batch_size=8)"}


def test_a_run_given_twice_counts_once(demo_run: Run, demo_views: list[View]) -> None:
    assert make_views([demo_run, replace(demo_run)]) == demo_views


def test_nothing_finished_is_incomparable(make_run: Make) -> None:
    run = make_run(models=TWO, change=lambda c: c.model_copy(update={"status": "failed"}))
    with pytest.raises(Incomparable, match="nothing to rank"):
        make_views([run])


def test_a_model_that_never_finished_is_named(make_run: Make) -> None:
    def fail(cell: Cell) -> Cell:
        return cell.model_copy(update={"status": "failed", "error": "out of memory"}) if cell.model == "large" else cell

    notes = make_views([make_run(models=TWO, change=fail)])[0].notes
    assert any("large" in note and "out of memory" in note for note in notes)


def test_lost_items_are_an_error_that_says_which(make_run: Make) -> None:
    run = make_run(models=TWO)
    next((run.path / "items").iterdir()).unlink()
    with pytest.raises(UsageError, match="items"):
        make_views([run])


def test_questions_asked_again_after_examples_are_not_counted_twice_and_have_views_of_their_own(make_run: Make) -> None:
    variant = next(task for task in THREE_SHOT if task.variant_of == "jm_dates")
    both = make_views([make_run("a", models=TWO, tasks=("jm_dates", "jm_units", variant.name))])
    assert [view.task for view in both] == ["all", "jm_dates", variant.name, "jm_units"]
    assert both[0].tasks == ("jm_dates", "jm_units")
    parts = {view.task: by_name(view)["large"] for view in both[1:]}
    whole = by_name(both[0])["large"]
    assert whole.items == parts["jm_dates"].items + parts["jm_units"].items
    assert whole.quality == pytest.approx(((parts["jm_dates"].quality or 0) + (parts["jm_units"].quality or 0)) / 2)
    assert set(whole.energy_shares) == {"jm_dates", "jm_units"}
    assert parts[variant.name].rank is not None


def test_a_run_of_variants_alone_has_a_view_over_all_of_them(make_run: Make) -> None:
    names = tuple(task.name for task in THREE_SHOT[:2])
    assert make_views([make_run(models=TWO, tasks=names)])[0].tasks == tuple(sorted(names))


def test_a_run_of_an_older_version_still_reads(make_run: Make) -> None:
    def older(_task: str, items: pd.DataFrame) -> pd.DataFrame:
        return items.drop(columns=["cluster", "level", "truncated"])

    now, old = make_run("now", models=TWO), make_run("old", models=TWO, change_items=older)
    forget(old, "other_metrics", "computed")
    before, after = by_name(make_views([now])[0]), by_name(make_views([read_run(old.path)])[0])
    for name, row in after.items():
        assert (row.levels, row.other_metrics, row.layers_per_token, row.escalated) == ({}, {}, None, None)
        assert before[name].levels
        assert (row.quality, row.rank) == (before[name].quality, before[name].rank)


def forget(run: Run, *keys: str) -> None:
    """Take keys out of a run's cells, as a version that did not know them would have written them."""
    log = run.path / "cells.jsonl"
    contents = [json.loads(line) for line in log.read_bytes().splitlines()]
    lines = []
    for content in contents:
        kept = {key: value for key, value in content.items() if key not in (*keys, "sha256")}
        text = canonical_json(kept)
        lines.append(canonical_json(kept | {"sha256": hashlib.sha256(text.encode()).hexdigest()}))
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")


def with_header(run: Run, **changes: object) -> Run:
    """The run with other things in its header."""
    file = run.path / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return read_run(run.path)


def test_net_energy_that_idle_power_drowned_by_changing_is_none_and_says_why(make_run: Make) -> None:
    own = Span(began_at="2026-01-05T10:00:00.000+00:00", window_s=5.0)
    run = make_run(change=lambda cell: cell.model_copy(update={"idle_window": own}))
    watts = max(cell.energy.net_j / cell.energy.window_s for cell in run.cells if cell.energy and cell.energy.net_j)

    def view(began_at: str, after_w: float) -> View:
        told = {"before": {"began_at": began_at, "window_s": 5.0}, "before_w": 4.0, "after_w": after_w}
        return make_views([with_header(run, invocations=[told])])[0]

    for steady in (view(own.began_at, 4.0), view("2026-01-06T10:00:00.000+00:00", 4.0 + 2 * watts)):
        assert all(row.net_energy_wh_per_1k is not None for row in steady.rows)
    drifted = view(own.began_at, 4.0 + 2 * watts)
    assert {row.net_energy_wh_per_1k for row in drifted.rows} == {None}
    assert all("idle_drifted" in row.flags and row.energy_wh_per_1k for row in drifted.rows)


def test_runs_are_told_apart_by_the_names_of_their_folders(make_run: Make) -> None:
    [view, *_] = make_views([make_run("before"), make_run("after", seed=2)])
    assert {row.label for row in view.rows} == {
        f"{model} ({run})" for model in ("ngram", "dense-60k", "dense-240k") for run in ("before", "after")
    }


def test_folders_of_one_name_are_told_apart_by_their_runs(make_run: Make) -> None:
    [view, *_] = make_views([make_run("monday/run"), make_run("tuesday/run", seed=2)])
    assert "ngram (run [monday/run])" in {row.label for row in view.rows}


def test_a_run_beside_its_own_answers_metered_anew_is_told(make_run: Make) -> None:
    first = make_run("first")
    second = with_header(make_run("second"), remetered_from="first")
    told = "second holds the answers of first"
    taken = "The energy of second was taken afterwards from a recorded trace"
    for runs in ([first, second], [second]):
        assert all(any(taken in note for note in view.notes) for view in make_views(runs))
    assert not any("recorded trace" in note for view in make_views([first]) for note in view.notes)
    assert any(told in note for note in make_views([first, second])[0].notes)
    assert not any(told in note for view in make_views([second]) for note in view.notes)


def test_of_views_of_the_same_tasks_the_one_that_was_asked_most_leads(make_run: Make) -> None:
    runs = [
        make_run(
            f"cap-{cap}",
            models={"small": TWO["small"]},
            change=lambda cell, cap=cap: cell.model_copy(update={"setting": cell.setting | {"max_gen_toks": cap}}),
        )
        for cap in (2, 12, None, 8)
    ]
    views = [view for view in make_views(runs) if view.task == "all"]
    caps = [view.rows[0].setting["max_gen_toks"] for view in views]
    assert caps == [None, 12, 8, 2]
