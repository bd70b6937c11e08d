"""The same model by lm-eval's own command and by ours: the same accuracy on each task, and of each item."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny

from joulemark.harness.formats.lmeval import read as read_lmeval
from joulemark.harness.store import read_run

from .conftest import COMMAND

QUIET = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}

LM_EVAL = (
    sys.executable,
    "-m",
    "lm_eval",
    "run",
    "--model",
    "hf",
    "--device",
    "cpu",
    "--batch_size",
    "5",
    "--log_samples",
)
JOULEMARK = (*COMMAND, "run", "--preset", "full", "--repeats", "1", "--batch-size", "5", "--meter", "modelled")

OTHER = "max_gen_toks=3,until=['7','.','\n']"

WAYS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "as the tasks say": (("tiny_sums", "tiny_counts", "tiny_drawn", "tiny_group", "tiny_texts"), (), ()),
    "with examples, other settings and fewer questions": (
        ("tiny_counts", "tiny_picks"),
        ("--num_fewshot", "2", "--gen_kwargs", OTHER, "--limit", "7"),
        ("--num-fewshot", "2", "--gen-kwargs", OTHER, "--limit", "7"),
    ),
    "as a chat": (
        ("tiny_sums_shown", "tiny_picks"),
        ("--apply_chat_template", "--system_instruction", "Add up."),
        ("--apply-chat-template", "--system-instruction", "Add up."),
    ),
}
"""Tasks, what lm-eval's command is told, and what ours is."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model("llama", tmp_path_factory.mktemp("model") / "llama")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_tasks(tmp_path_factory.mktemp("own") / "tasks")


@pytest.mark.parametrize("way", WAYS)
def test_lm_evals_own_command_and_ours_agree_on_every_task_and_item(
    way: str, model: Path, folder: Path, tmp_path: Path
) -> None:
    tasks, theirs, ours = WAYS[way]
    theirs_in, ours_in = tmp_path / "theirs", tmp_path / "ours"
    commands = (
        (*LM_EVAL, "--model_args", f"pretrained={model}", "--tasks", *tasks, "--include_path", folder,
         "--output_path", theirs_in, *theirs),
        (*JOULEMARK, "-m", f"it=hf:pretrained={model},device=cpu", *[p for task in tasks for p in ("-t", task)],
         "--include-path", folder, "--out", ours_in, *ours),
    )  # fmt: skip
    for process in [start(command, tmp_path) for command in commands]:
        _, told = process.communicate(timeout=240)
        assert process.returncode == 0, told.decode()
    their_accuracy, their_items = read_theirs(theirs_in)
    our_accuracy, our_items = read_ours(ours_in)
    assert our_accuracy == {task: their_accuracy[task] for task in tasks}
    assert our_items == their_items
    # Some right and some wrong, or nothing would be said.
    assert any(len({score for _, score in items}) == 2 for items in our_items.values())
    what_is_imported_is_what_was_measured(theirs_in, ours_in, limited="--limit" in theirs)


def what_is_imported_is_what_was_measured(theirs_in: Path, ours_in: Path, *, limited: bool) -> None:
    """Their files, imported, have the figures of our own cells; but for chance, where not all was asked."""
    ours = {cell.task: cell for cell in read_run(ours_in).cells}
    found = {result.task: result for result in read_lmeval([*theirs_in.rglob("results_*.json")]).results}
    assert len(ours.keys() & found.keys()) > 1
    for task in ours.keys() & found.keys():
        own, their = ours[task], found[task]
        assert (their.metric, their.accuracy, their.n_items) == (own.metric, own.accuracy, own.n_items)
        assert (their.chance, their.quality) == ((None, None) if limited else (own.chance, own.quality))
        assert dict(their.other_metrics) == own.other_metrics


def start(command: Sequence[str | Path], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, cwd=folder, env=os.environ | QUIET, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


METRICS = ("exact_match", "acc", "bits_per_byte")

Items = dict[str, list[tuple[str, float]]]
"""By task: the hash of each question and its score, sorted."""


def read_theirs(path: Path) -> tuple[dict[str, float], Items]:
    [summary] = path.rglob("results_*.json")
    accuracy = {
        task: value
        for task, scores in json.loads(summary.read_text())["results"].items()
        for name, value in scores.items()
        if name.partition(",")[0] in METRICS
    }
    items = {}
    for file in path.rglob("samples_*.jsonl"):
        samples = [json.loads(line) for line in file.read_text().splitlines()]
        items[file.name.removeprefix("samples_").rpartition("_")[0]] = sorted(map(outcome, samples))
    return accuracy, {task: found for task, found in items.items() if found}


def outcome(sample: dict[str, Any]) -> tuple[str, float]:
    [score] = [sample[name] for name in METRICS if name in sample]
    return sample["doc_hash"], -1.0 if isinstance(score, list) else float(score)


def read_ours(path: Path) -> tuple[dict[str, float | None], Items]:
    run = read_run(path)
    accuracy = {c.task: c.other_metrics[c.metric] if c.accuracy is None else c.accuracy for c in run.cells}
    found: Items = {}
    for cell in run.cells:
        items = pd.read_parquet(run.path / "items" / f"{cell.cell_id}.parquet")
        for item in items.itertuples():
            task = item.cluster.partition("/")[0] if "/" in item.cluster else cell.task
            found.setdefault(task, []).append((item.doc_hash, -1.0 if pd.isna(item.score) else item.score))
    return accuracy, {task: sorted(outcomes) for task, outcomes in found.items()}
