"""Settings as a grid: every possible combination once, impossible ones named before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemark.harness.models import parse_model
from joulemark.harness.plan import make_plan
from joulemark.harness.schedule import impossible, schedule, settings
from joulemark.harness.store import read_run
from joulemark.meters.errors import UsageError
from joulemark.reports.views import make_views

from .conftest import Joulemark

HF, REF = parse_model("mine=hf:pretrained=x"), parse_model("ref/dense-60k")
CHAT = parse_model("chat=local-chat-completions:base_url=http://127.0.0.1:1")


def test_every_combination_is_there_once() -> None:
    plan = make_plan(None, {"sweep": {"batch_size": (1, 8), "max_gen_toks": (4, 8, 16)}, "repeats": 2})
    cells = schedule(plan, [REF], (1, 2))
    assert len(cells) == 2 * 3 * 2 * len(plan.tasks) == len({cell.cell_id for cell in cells})
    assert {(c.setting["batch_size"], c.setting["max_gen_toks"]) for c in cells} == {
        (batch, most) for batch in (1, 8) for most in (4, 8, 16)
    }


def test_what_one_load_serves_is_loaded_once() -> None:
    plan = make_plan(None, {"sweep": {"batch_size": (1, 8), "dtype": ("float32", "bfloat16")}})
    cells = schedule(plan, [HF], (1,))
    assert len({cell.load_key for cell in cells}) == 2
    assert {cell.loaded_as.args for cell in cells} == {"pretrained=x,dtype=float32", "pretrained=x,dtype=bfloat16"}


def test_impossible_settings_are_named_with_the_reason_and_left_out() -> None:
    plan = make_plan(None, {"sweep": {"batch_size": (1, 8), "concurrency": (1, 8), "dtype": ("float32",)}})
    told = impossible(plan, [HF, REF, CHAT])
    assert "mine is not measured with concurrency=8: it computes here, and one batch at a time." in told
    assert any(text.startswith("ref/dense-60k is not measured with dtype=float32") for text in told)
    assert any(text.startswith("chat is not measured with batch_size=8") for text in told)
    assert [setting["batch_size"] for setting in settings(plan, HF)] == [1, 8]
    assert settings(plan, REF) == []


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"batchsize": (1,)}, "'batchsize' cannot be swept; batch_size, concurrency"),
        ({"batch_size": ()}, "give batch_size one value or more"),
        ({"batch_size": (1, 1)}, "each once"),
        ({"batch_size": ("many",)}, "whole numbers from 1"),
        ({"threads": (0,)}, "whole numbers from 1"),
    ],
)
def test_a_wrong_sweep_is_told(sweep: dict[str, tuple[int | str, ...]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(None, {"sweep": sweep})


def test_without_a_sweep_cells_keep_the_ids_that_runs_of_older_versions_have() -> None:
    plan = make_plan(None, {"limit": 40})
    assert schedule(plan, [REF], (1,))[0].setting.keys() == {"batch_size", "num_fewshot", "limit", "threads"}


def test_a_sweep_is_measured_and_its_settings_stand_beside_each_other(joulemark: Joulemark, tmp_path: Path) -> None:
    path = tmp_path / "run"
    chosen = ("-m", "ref/dense-60k", "-t", "jm_units", "--limit", "16", "--repeats", "2", "--meter", "modelled")
    done = joulemark("run", *chosen, "--sweep", "batch_size=1,16", "--sweep", "dtype=float32", "--out", path)
    assert done.returncode == 2
    assert "no model takes these settings" in done.stderr
    done = joulemark("run", *chosen, "--sweep", "batch_size=1,16", "--out", path)
    assert done.returncode == 0, done.stderr
    [view, *_] = make_views([read_run(path)])
    assert {row.label for row in view.rows} == {"ref/dense-60k (batch_size=1)", "ref/dense-60k (batch_size=16)"}
    assert len({row.quality for row in view.rows}) == 1


def test_a_token_cap_is_a_question_of_its_own_and_says_what_it_cut_off(joulemark: Joulemark, tmp_path: Path) -> None:
    path = tmp_path / "run"
    chosen = ("-m", "ref/dense-240k", "-t", "jm_dates", "--limit", "20", "--repeats", "2", "--meter", "modelled")
    done = joulemark("run", *chosen, "--sweep", "max_gen_toks=3,24", "--out", path)
    assert done.returncode == 0, done.stderr
    [whole, cut] = sorted(make_views([read_run(path)])[:2], key=lambda view: view.rows[0].truncated)
    assert (whole.rows[0].truncated, cut.rows[0].truncated) == (0.0, 1.0)
    assert cut.rows[0].accuracy_finished is None
    assert whole.rows[0].accuracy_finished == whole.rows[0].accuracy
    assert (cut.rows[0].energy_wh_per_1k or 0) < (whole.rows[0].energy_wh_per_1k or 0)


def test_power_caps_are_changed_only_where_that_is_allowed(joulemark: Joulemark, tmp_path: Path) -> None:
    chosen = (
        "-m",
        "mine=hf:pretrained=x",
        "-t",
        "jm_units",
        "--sweep",
        "power_cap_w=200,300",
        "--out",
        tmp_path / "run",
    )
    done = joulemark("run", *chosen)
    assert done.returncode == 2
    assert "--allow-power-cap" in done.stderr
    done = joulemark("run", *chosen, "--allow-power-cap")
    assert done.returncode == 2
    assert "no NVIDIA driver answers" in done.stderr


def test_a_sweep_counts_as_unfinished_until_every_setting_is_measured(joulemark: Joulemark, tmp_path: Path) -> None:
    path = tmp_path / "run"
    chosen = ("-m", "ref/dense-60k", "-t", "jm_units", "--limit", "8", "--repeats", "1", "--meter", "modelled")
    done = joulemark("run", *chosen, "--sweep", "batch_size=1", "--sweep", "batch_size=8", "--out", path)
    assert done.returncode == 0, done.stderr
    run = read_run(path)
    assert {cell.setting["batch_size"] for cell in run.cells} == {1, 8}
    assert make_views([run])[0].unfinished == ()
    (path / "cells.jsonl").write_text((path / "cells.jsonl").read_text().splitlines()[0] + "\n")
    [unfinished] = make_views([read_run(path)])[0].unfinished
    assert (unfinished.finished, unfinished.planned) == (1, 2)


def test_a_model_that_takes_none_of_the_settings_is_not_waited_for(joulemark: Joulemark, tmp_path: Path) -> None:
    path = tmp_path / "run"
    chosen = ("-t", "jm_units", "--limit", "8", "--repeats", "1", "--meter", "modelled", "--out", path)
    done = joulemark(
        "run", "-m", "ref/dense-60k", "-m", "other=hf:pretrained=./none", "--sweep", "dtype=float32", *chosen
    )
    assert "ref/dense-60k is not measured with dtype=float32" in done.stderr
    assert {cell.model for cell in read_run(path).cells} == {"other"}
