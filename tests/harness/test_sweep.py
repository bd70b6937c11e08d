"""Settings as a grid: every possible combination once, impossible ones named before anything is measured."""

from __future__ import annotations

import json
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
    assert "concurrency=8 is left out for mine, ref/dense-60k: it computes here, and one batch at a time." in told
    assert any(text.startswith("dtype=float32 is left out for ref/dense-60k, chat") for text in told)
    assert any(text.startswith("batch_size=8 is left out for chat") for text in told)
    assert [(s["batch_size"], s["concurrency"], s["dtype"]) for s in settings(plan, HF)] == [
        (1, 1, "float32"),
        (8, 1, "float32"),
    ]
    assert [(s["batch_size"], s["concurrency"]) for s in settings(plan, CHAT)] == [(1, 1), (1, 8)]


def test_a_setting_that_a_model_cannot_have_does_not_keep_it_from_being_measured() -> None:
    """A server with eight requests under way and a model on this machine can be asked in one run."""
    plan = make_plan(None, {"concurrency": 8, "dtype": "bfloat16", "limit": 40, "threads": 2})
    assert settings(plan, CHAT) == [{"batch_size": 1, "num_fewshot": None, "limit": 40, "concurrency": 8}]
    usual = {"batch_size": 16, "num_fewshot": None, "limit": 40, "threads": 2}
    assert settings(plan, REF) == [usual]
    assert settings(plan, HF) == [usual | {"dtype": "bfloat16"}]
    swept = make_plan(None, {"sweep": {"dtype": ("float32", "bfloat16")}, "limit": 40})
    assert settings(swept, REF) == [usual | {"threads": 1}]
    assert impossible(swept, [REF]) == [
        "dtype=float32,bfloat16 is left out for ref/dense-60k: its precision is not chosen when it is loaded."
    ]


def test_threads_are_told_of_what_is_started_here_alone() -> None:
    plan = make_plan(None, {"threads": 2})
    started = parse_model(
        "own=local-completions:base_url=http://127.0.0.1:1/v1/completions,server=python -m http.server"
    )
    assert [setting["threads"] for setting in settings(plan, started)] == [2]
    assert "threads" not in settings(plan, CHAT)[0]
    assert impossible(plan, [CHAT]) == [
        "threads=2 is left out for chat: its server has as many as it was started with."
    ]


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"batchsize": (1,)}, "'batchsize' cannot be swept; batch_size, concurrency"),
        ({"batch_size": ()}, "give batch_size one value or more"),
        ({"batch_size": (1, 1)}, "each once"),
        ({"batch_size": ("many",)}, "whole numbers from 1"),
        ({"threads": (0,)}, "whole numbers from 1"),
        ({"gen_kwargs": ("a",)}, "cannot be swept"),
    ],
)
def test_a_wrong_sweep_is_told(sweep: dict[str, tuple[int | str, ...]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(None, {"sweep": sweep})


def test_a_setting_that_is_given_and_swept_is_refused() -> None:
    with pytest.raises(UsageError, match=r"command line: batch_size is given and swept; leave one of the two out\.$"):
        make_plan(None, {"batch_size": 4, "sweep": {"batch_size": (1, 8)}})


def test_further_repeats_go_on_counting_the_order_whichever_it_is() -> None:
    for order in ("interleaved", "abba", "blocked"):
        plan = make_plan(None, {"order": order, "tasks": ["jm_units", "jm_dates"]})
        cells = schedule(plan, [HF, REF], (1, 2, 3)) + schedule(plan, [HF, REF], (4, 5))
        assert [cell.order for cell in cells] == list(range(20))
        assert len({cell.cell_id for cell in cells}) == 20


def test_without_a_sweep_cells_keep_the_ids_that_runs_of_older_versions_have() -> None:
    plan = make_plan(None, {"limit": 40})
    assert schedule(plan, [REF], (1,))[0].setting.keys() == {"batch_size", "num_fewshot", "limit", "threads"}


def test_a_sweep_is_measured_and_its_settings_stand_beside_each_other(joulemark: Joulemark, tmp_path: Path) -> None:
    path = tmp_path / "run"
    chosen = ("-m", "ref/dense-60k", "-t", "jm_units", "--limit", "16", "--repeats", "2", "--meter", "modelled")
    sweep = ("--sweep", "batch_size=1,16", "--sweep", "dtype=float32")
    told = json.loads(joulemark("run", *chosen, *sweep, "--dry-run", "--json", "--out", path).stdout)
    assert not path.exists()
    assert (told["cells"], len(told["entrants"]), told["grade"]) == (4, 2, "modelled")
    done = joulemark("run", *chosen, *sweep, "--out", path)
    assert done.returncode == 0, done.stderr
    assert "dtype=float32 is left out for ref/dense-60k" in done.stderr
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


def test_what_would_fail_or_mislead_is_told_before_anything_is_measured(joulemark: Joulemark, tmp_path: Path) -> None:
    server = "far=local-completions:base_url=http://127.0.0.1:1/v1/completions"
    chat = "chat=local-chat-completions:base_url=http://127.0.0.1:1/v1/chat/completions"
    for arguments, told in {
        ("-m", "mine=hf:pretrained=./nowhere"): f"there is no folder './nowhere' in {tmp_path}.",
        ("-m", f"{server},server_at=plug"): "server_at=plug names no meter of this run, which measures by modelled",
        ("-m", chat): "chat: chats are asked in their own format; give --apply-chat-template.",
        ("-m", "ref/ngram", "--gen-kwargs", "max_gen_toks=4", "--max-gen-toks", "8"): "both say max_gen_toks",
        ("-m", "a=ref/ngram", "-m", "a=ref/dense-60k"): "is there twice; give each a label of its own",
        ("-m", "ref/ngram", "--carbon", "XXX", "--dry-run"): "'XXX' is no country",
        ("-m", "ref/ngram", "--out", "..", "--dry-run"): ".. is not empty",
    }.items():
        done = joulemark("run", *arguments, "-t", "jm_units", "--meter", "modelled", cwd=tmp_path)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    done = joulemark("run", "-m", server, "-t", "jm_units", "--meter", "modelled", "--threads", "512", "--dry-run")
    assert done.returncode == 0, done.stderr
    for remedy in ("server_pid=PID", "server=COMMAND", "server_at=METER"):
        assert remedy in done.stderr
    done = joulemark("run", "-m", "ref/ngram", "-t", "jm_units", "--threads", "512", "--dry-run")
    assert "threads=512: only" in done.stderr


def test_a_file_that_names_a_servers_process_is_not_needed_to_plan_what_is_left_when_the_server_is_gone() -> None:
    url = "base_url=http://127.0.0.1:1/v1/completions"
    plan = make_plan(None, {"limit": 8})
    gone = parse_model(f"mine=local-completions:{url},server_pid=/nowhere/pid", here=False)
    assert len(schedule(plan, [gone], (1,))) == len(plan.tasks)
    with pytest.raises(UsageError, match="a file that holds it"):
        parse_model(f"mine=local-completions:{url},server_pid=/nowhere/pid")


def test_a_folder_below_the_home_directory_may_be_written_with_a_tilde() -> None:
    assert parse_model("mine=hf:pretrained=~/m,tokenizer=~/t,dtype=auto").args == (
        f"pretrained={Path.home()}/m,tokenizer={Path.home()}/t,dtype=auto"
    )


def test_a_failure_that_all_cells_of_a_sweep_share_is_told_once(joulemark: Joulemark, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    path = tmp_path / "run"
    chosen = ("-t", "jm_units", "--limit", "8", "--repeats", "2", "--meter", "modelled", "--out", path)
    done = joulemark("run", "-m", f"mine=hf:pretrained={tmp_path / 'empty'}", "--sweep", "batch_size=1,8", *chosen)
    assert done.returncode == 5
    assert done.stderr.count("could not be loaded") == 2  # At once, and in the end.
    assert "Failed: mine (batch_size=" in done.stderr
    assert "4 of 4 cells failed, all for one reason: mine (batch_size=" in done.stderr
    assert "Nothing was measured: correct the command and name another --out, or" in done.stderr
    assert ".." not in done.stderr.replace("...", "")
