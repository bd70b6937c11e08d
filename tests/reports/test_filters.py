"""Leaving models out: they take no part in ranks, and nobody passes whose figure is not known."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from made_runs import COUNTER, MODELS

from joulemark.harness.record import Cell
from joulemark.harness.store import Run
from joulemark.meters.errors import Incomparable
from joulemark.reports.commands import rank
from joulemark.reports.filters import Filters
from joulemark.reports.views import make_views

Make = Callable[..., Run]
SMALL = {name: MODELS[name] for name in ("ngram", "dense-60k")}


def names(run: Run, **limits: object) -> set[str]:
    [whole, *_] = make_views([run], filters=Filters(**limits))  # type: ignore[arg-type]
    return {row.model for row in whole.rows}


def test_who_is_left_out_has_no_part_in_ranks_ties_or_frontier(make_run: Make) -> None:
    filtered = make_views([make_run(meter=COUNTER)], filters=Filters(max_params=60_000))
    alone = make_views([make_run("alone", meter=COUNTER, models=SMALL)])
    for one, other in zip(filtered, alone, strict=True):
        places = [(row.model, row.rank, row.rank_low, row.rank_high, row.frontier) for row in one.rows]
        assert places == [(row.model, row.rank, row.rank_low, row.rank_high, row.frontier) for row in other.rows]
        assert "Only at most 60,000 parameters (left out: dense-240k)." in one.notes


def test_what_is_not_known_passes_no_filter_and_is_named(make_run: Make) -> None:
    def forget(cell: Cell) -> Cell:
        facts: dict[str, object] = {"licence": "Apache-2.0", "peak_rss_mb": 100.0 if cell.task == "dates" else 300.0}
        if cell.model == "ngram":
            facts = {"params": None, "peak_rss_mb": None}
        return cell.model_copy(update={"model_info": cell.model_info.model_copy(update=facts)})

    run = make_run(meter=COUNTER, change=forget)
    assert names(run, max_params=10**9) == {"dense-60k", "dense-240k"}
    [whole, *_] = make_views([run], filters=Filters(max_params=10**9))
    assert "Only at most 1,000,000,000 parameters (not known, so left out as well: ngram)." in whole.notes
    assert names(run, licences=("apache-2.0",)) == {"dense-60k", "dense-240k"}
    assert names(run, max_memory_mb=300) == {"dense-60k", "dense-240k"}
    # The most that any of its cells held.
    with pytest.raises(Incomparable, match="at most 200 MiB of memory"):
        names(run, max_memory_mb=200)


def test_a_budget_leaves_the_best_quality_within_it_first(make_run: Make) -> None:
    run = make_run(meter=COUNTER)
    plain = {row.model: row.energy_wh_per_1k or 0.0 for row in make_views([run])[0].rows}
    budget = (plain["dense-60k"] + plain["dense-240k"]) / 2
    told = json.loads(CliRunner().invoke(rank, [str(run.path), "--budget-wh", str(budget), "--json"]).stdout)
    [whole, *_] = told["views"]
    assert (whole["by"], [row["model"] for row in whole["rows"]]) == ("quality", ["dense-60k", "ngram"])
    assert any("per 1,000 answers, ranked by quality (left out: dense-240k)." in note for note in whole["notes"])
    shown = " ".join(CliRunner().invoke(rank, [str(run.path), "--budget-wh", str(budget)]).stdout.split())
    assert "per 1,000 answers, ranked by quality (left out: dense-240k)" in shown


def test_a_budget_that_an_interval_holds_is_told_as_such(make_run: Make) -> None:
    run = make_run(meter=COUNTER)
    [row] = [row for row in make_views([run])[0].rows if row.model == "dense-60k"]
    assert row.energy_wh_per_1k is not None
    for share, where in ((1.0001, "within it"), (0.9999, "left out")):
        [whole, *_] = make_views([run], filters=Filters(budget_wh=row.energy_wh_per_1k * share))
        told = f"The budget lies inside the interval of dense-60k ({where}): on which side may be chance."
        assert told in whole.notes
        assert any("truly takes lies within \u00b13.9 % (95 %)" in note for note in whole.notes)


def test_within_a_budget_the_finding_speaks_of_quality_and_of_modelled_energy(make_run: Make) -> None:
    run = make_run()
    budget = max(row.energy_wh_per_1k or 0.0 for row in make_views([run])[0].rows if row.model == "dense-60k") * 1.2
    told = json.loads(CliRunner().invoke(rank, [str(run.path), "--budget-wh", str(budget), "--json"]).stdout)
    said = told["views"][0]["finding"]
    assert said.startswith("By CPU time, not measured joules: dense-60k has the highest quality of those within ")
    assert "right answers per" not in said


def test_a_model_without_energy_is_within_no_budget(make_run: Make) -> None:
    run = make_run(meter=COUNTER, change=lambda c: c.model_copy(update={"energy": None} if c.model == "ngram" else {}))
    assert names(run, budget_wh=1000.0) == {"dense-60k", "dense-240k"}


def test_where_a_name_fits_nobody_the_refusal_tells_those_that_would(make_run: Make) -> None:
    def licensed(cell: Cell) -> Cell:
        licence = {"ngram": "MIT", "dense-60k": "Apache-2.0"}.get(cell.model)
        return cell.model_copy(update={"model_info": cell.model_info.model_copy(update={"licence": licence})})

    run = make_run(meter=COUNTER, change=licensed)
    with pytest.raises(Incomparable, match=r"not known, .*: dense-240k\). Known here: Apache-2\.0 and MIT\.$"):
        names(run, licences=("GPL-3.0",))
    with pytest.raises(Incomparable, match=r"Known here: counter\.$"):
        names(run, grades=("wall", "polled"))
    # Where one fits, the others need no telling.
    [whole, *_] = make_views([run], filters=Filters(licences=("mit",)))
    assert not any("Known here" in note for note in whole.notes)


def test_nobody_left_is_exit_code_4_and_says_why(make_run: Make) -> None:
    run = make_run(meter=COUNTER)
    for arguments in (["--budget-wh", "1e-9"], ["--max-params", "1"], ["--grade", "wall"], ["--licence", "MIT"]):
        failed = CliRunner().invoke(rank, [str(run.path), *arguments])
        assert isinstance(failed.exception, Incomparable)
        assert str(failed.exception).startswith("nothing to rank: no model passes. Only ")
    for wrong in ("0", "nan", "inf", "x"):
        refused = CliRunner().invoke(rank, [str(run.path), "--budget-wh", wrong])
        assert refused.exit_code == 2
        assert f"'{wrong}': write a number above 0." in refused.stderr
    for wrong in ("0", "1.5", "x"):
        refused = CliRunner().invoke(rank, [str(run.path), "--max-params", wrong])
        assert refused.exit_code == 2
        assert f"'{wrong}': write a whole number, 1 or more." in refused.stderr
