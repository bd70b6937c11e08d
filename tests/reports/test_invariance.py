"""What may change around an entrant without changing its place: names, order, units, and whoever is worse."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_runs import COUNTER, MODELS

from joulemark.harness.record import Cell
from joulemark.harness.store import Run, read_run
from joulemark.reports.contest import By, Entries, ItemTable, Ranks, differences, judge_frontier, rank_entries
from joulemark.reports.documents import as_markdown
from joulemark.reports.html import page
from joulemark.reports.stats import accuracy, quality
from joulemark.reports.table import print_views
from joulemark.reports.views import View, make_views

Make = Callable[..., Run]
THREE = {"small": (0.6, 0.001, 1000), "large": (0.8, 0.004, 9000), "huge": (0.9, 0.02, 99_000)}
BYS: tuple[By, ...] = ("correct_per_wh", "quality", "energy")
some_entries = st.builds(
    lambda seed, n, repeats, spread: drawn(seed, n, repeats, spread),
    st.integers(0, 10_000),
    st.integers(2, 6),
    st.integers(2, 5),
    st.sampled_from([0.01, 0.05]),
)
few = settings(max_examples=40, deadline=None)


def drawn(seed: int, n: int, repeats: int, spread: float) -> Entries:
    """Entrants with 40 to 95 % of 60 items right, near enough to each other for any verdict."""
    rng = np.random.default_rng(seed)
    scores = (rng.random((60, n)) < rng.uniform(0.4, 0.95, n)).astype(float)
    logs = rng.normal(0, 0.3, n) + rng.normal(0, spread, (repeats, n))
    return Entries(
        quality=100 * scores.mean(axis=0),
        log_energy=logs.mean(axis=0),
        energy_var=logs.var(axis=0, ddof=1) / repeats,
        energy_df=np.full(n, repeats - 1.0),
        scale_var=np.zeros(n),
        yardstick=np.zeros(n, dtype=np.int64),
        items=(ItemTable(scores=scores, clusters=np.arange(60), points=np.full(n, 100.0)),),
    )


def worth(entries: Entries, by: By) -> np.ndarray:
    log = np.log(entries.quality) - entries.log_energy
    return {"quality": entries.quality, "energy": -entries.log_energy}.get(by, log)


def ranked(entries: Entries, by: By) -> Ranks:
    return rank_entries(differences(entries, by), worth(entries, by))


def with_worse(entries: Entries, points: float, factor: float) -> Entries:
    """One more entrant, last: right on fewer items than any by so many points, and so many times as dear as any."""
    [table] = entries.items
    least = entries.quality.min()
    right = max(1, round(0.6 * (least - points)))
    scores = np.column_stack([table.scores, np.arange(60) < right])
    return Entries(
        quality=np.append(entries.quality, 100 * scores[:, -1].mean()),
        log_energy=np.append(entries.log_energy, entries.log_energy.max() + np.log(factor)),
        energy_var=np.append(entries.energy_var, entries.energy_var.mean()),
        energy_df=np.append(entries.energy_df, entries.energy_df[0]),
        scale_var=np.append(entries.scale_var, 0.0),
        yardstick=np.append(entries.yardstick, 0),
        items=(replace(table, scores=scores, points=np.full(scores.shape[1], 100.0)),),
    )


@few
@given(some_entries, st.sampled_from(BYS), st.floats(2, 30), st.floats(1.05, 3))
def test_a_worse_entrant_changes_no_rank_and_no_range_for_the_narrower(
    entries: Entries, by: By, points: float, factor: float
) -> None:
    before, after = ranked(entries, by), ranked(with_worse(entries, points, factor), by)
    assert after.rank[:-1].tolist() == before.rank.tolist()
    assert after.rank[-1] == len(entries) + 1
    assert (after.low[:-1] <= before.low).all()
    assert (after.high[:-1] >= before.high).all()


@few
@given(some_entries, st.sampled_from(BYS))
def test_one_that_is_surely_worse_than_all_changes_no_range_and_no_frontier(entries: Entries, by: By) -> None:
    more = with_worse(entries, 35, 1000)
    before, after = ranked(entries, by), ranked(more, by)
    share, named = judge_frontier(entries, draws=200)
    share_of_more, named_of_more = judge_frontier(more, draws=200)
    assume(after.better[:-1, -1].all() and share_of_more[-1] == 0)
    assert (after.low[:-1].tolist(), after.high[:-1].tolist()) == (before.low.tolist(), before.high.tolist())
    assert share_of_more[:-1] == pytest.approx(share)
    assert named_of_more[:-1] == named


@few
@given(some_entries, st.sampled_from(BYS), st.randoms(use_true_random=False))
def test_the_order_of_entrants_changes_nothing(entries: Entries, by: By, shuffled: random.Random) -> None:
    order = np.array(shuffled.sample(range(len(entries)), len(entries)))
    before, after = ranked(entries, by), ranked(entries.only(order), by)
    for name in ("rank", "low", "high"):
        assert getattr(after, name).tolist() == getattr(before, name)[order].tolist()
    share, named = judge_frontier(entries, draws=200)
    share_then, named_then = judge_frontier(entries.only(order), draws=200)
    assert share_then == pytest.approx(share[order])
    assert named_then == [named[at] for at in order]


@few
@given(some_entries, st.sampled_from(BYS), st.floats(1e-6, 1e6))
def test_units_of_energy_change_no_rank_no_range_and_the_frontier_by_chance_alone(
    entries: Entries, by: By, unit: float
) -> None:
    other = replace(entries, log_energy=entries.log_energy + np.log(unit))
    before, after = ranked(entries, by), ranked(other, by)
    for name in ("rank", "low", "high"):
        assert getattr(after, name).tolist() == getattr(before, name).tolist()
    # Energies are drawn anew: shares agree to their Monte Carlo error, of a difference of two.
    shares = [judge_frontier(each, draws=1000)[0] for each in (entries, other)]
    assert np.abs(shares[0] - shares[1]).max() < 5 * np.sqrt(2 * 0.25 / 1000)


def places(view: View) -> dict[str, tuple[Any, ...]]:
    return {row.label: (row.rank, row.rank_low, row.rank_high, row.frontier, row.p_frontier) for row in view.rows}


def ranks(view: View) -> dict[str, tuple[int | None, str | None]]:
    return {row.model: (row.rank, row.frontier) for row in view.rows}


@pytest.mark.parametrize("by", BYS)
def test_a_run_of_worse_models_changes_no_rank_and_no_frontier(make_run: Make, by: By) -> None:
    better, worse = make_run("a", models=THREE), make_run("b", models={"worse": (0.3, 0.05, 9)})
    before, after = make_views([better], by=by), make_views([better, worse], by=by)
    for one, other in zip(before, after, strict=True):
        told = ranks(other)
        assert told.pop("worse") == (4, "dominated")
        assert told == ranks(one)


def test_renaming_models_changes_no_rank_and_no_frontier(make_run: Make) -> None:
    names = {"small": "zz", "large": "aa", "huge": "Mm: \u00e9 <b>"}
    before = make_views([make_run("a", models=THREE)])
    after = make_views([make_run("b", models={names[name]: figures for name, figures in THREE.items()})])
    for one, other in zip(before, after, strict=True):
        assert {names[name]: place for name, place in places(one).items()} == places(other)


def test_the_order_of_runs_and_of_the_lines_of_a_run_changes_nothing(make_run: Make) -> None:
    runs = [make_run(name, models={name: (0.5 + k / 10, 0.001 * (k + 1), 9)}, seed=5) for k, name in enumerate("abc")]
    views = make_views(runs)
    assert make_views(runs[::-1]) == views
    for run in runs:
        log = run.path / "cells.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
        log.write_text("".join(random.Random(3).sample(lines, len(lines))), encoding="utf-8")
    assert make_views([read_run(run.path) for run in runs]) == views


def test_joules_that_are_all_in_another_unit_change_no_rank_and_no_frontier(make_run: Make) -> None:
    def in_milli(cell: Cell) -> Cell:
        assert cell.energy
        keys = ("gross_j", "net_j", "idle_j", "u_j")
        return cell.model_copy(
            update={"energy": cell.energy.model_copy(update={key: 1000 * getattr(cell.energy, key) for key in keys})}
        )

    before = make_views([make_run("a", models=THREE, meter=COUNTER)])
    after = make_views([make_run("b", models=THREE, meter=COUNTER, change=in_milli)])
    for one, other in zip(before, after, strict=True):
        assert ranks(one) == ranks(other)
        for row, scaled in zip(one.rows, other.rows, strict=True):
            assert (row.rank_low, row.rank_high) == (scaled.rank_low, scaled.rank_high)
            assert scaled.correct_per_wh == pytest.approx((row.correct_per_wh or 0) / 1000)
            assert scaled.ratio_to_first_low == (row.ratio_to_first_low and pytest.approx(row.ratio_to_first_low))


@pytest.mark.parametrize(("chance", "guessed"), [(0.25, 0.26), (0.5, 0.5), (0.0, 0.0)])
def test_a_guesser_never_ranks_however_little_it_takes_and_however_low_the_floor(
    make_run: Make, chance: float, guessed: float
) -> None:
    guesser = {"guesser": (guessed, 0.00001, 1)}
    alone = make_run("a", models=THREE, chance=chance, tasks=("sorting",))
    beside = make_run("b", models=THREE | guesser, chance=chance, tasks=("sorting",))
    for by in BYS:
        [without, *_], [view, *_] = (make_views([run], by=by, quality_floor=-100) for run in (alone, beside))
        told = ranks(view)
        assert told.pop("guesser") == (None, None)
        assert told == ranks(without)
        [row] = [row for row in view.rows if row.model == "guesser"]
        assert row.correct_per_wh is None


def test_of_thousands_of_guessers_none_reaches_the_floor() -> None:
    rng = np.random.default_rng(41)
    points = [quality(accuracy((rng.random(300) < 0.25).astype(float)), 0.25) for _ in range(2000)]
    assert max(each.value for each in points) < 20
    # Nor is one told from guessing more often than an interval of 95 % errs on one side.
    told = np.mean([(each.low or 0.0) > 0 for each in points])
    assert told <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / 2000)


def test_one_repeat_has_no_interval_of_energy_anywhere_and_all_texts_say_so(make_run: Make) -> None:
    run = make_run(models=dict(list(MODELS.items())[:3]), repeats=1)
    views = make_views([run])
    for row in (row for view in views for row in view.rows):
        assert row.energy_wh_per_1k is not None
        unknown = [name for name in row._fields if name.endswith(("_low", "_high")) and getattr(row, name) is None]
        for name in ("energy_wh_per_1k", "correct_per_wh", "wh_per_correct", "ratio_to_first", "energy_ratio_to_first"):
            assert {f"{name}_low", f"{name}_high"} <= set(unknown)
        assert row.p_frontier is None
        assert row.frontier in ("unclear", None)
        assert row.rank is None or (row.rank_low, row.rank_high) == (1, len(views[0].ranked))
    printed = io.StringIO()
    print_views(views[:1], file=printed, width=80)
    for text in (printed.getvalue(), page(views, [run]), as_markdown(views, [run])):
        assert "one repeat: no interval" in " ".join(text.split())
