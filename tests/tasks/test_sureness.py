"""How sure a model is of its choice: real lm-eval tasks, and a model that gives log-likelihoods that are known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from scipy.special import softmax

from joulemark.tasks import lmeval, lmmodels
from joulemark.tasks.types import Asking, Item, Part

CHOICES = ["ab", "abcdef", "\u00e9\u00e9\u00e9\u00e9"]
LOGS = {"ab": -3.0, "abcdef": -4.0, "\u00e9\u00e9\u00e9\u00e9": -3.5}
ALONE = {"ab": -1.0, "abcdef": -6.0, "\u00e9\u00e9\u00e9\u00e9": -2.0}
COMPARED = {
    "acc": [-3.0, -4.0, -3.5],
    "acc_norm": [-3.0 / 2, -4.0 / 6, -3.5 / 4],
    "acc_bytes": [-3.0 / 2, -4.0 / 6, -3.5 / 8],
    "acc_mutual_info": [-2.0, 2.0, -1.5],
}


class Knows(LM):
    """Scores continuations as `LOGS` says, and without a question as `ALONE` does."""

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [((LOGS if request.args[0] else ALONE)[request.args[1].strip()], False) for request in requests]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return ["ab" for _ in requests]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise NotImplementedError


class NoMeter:
    def start(self, part: Part) -> None:
        pass

    def stop(self) -> None:
        pass


def ask(folder: Path, *lines: str) -> list[Item]:
    """One question for each choice that may be the right one."""
    rows = [json.dumps({"q": "which?", "choices": CHOICES, "gold": gold}) for gold in range(3)]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    whole = [
        "task: which",
        "dataset_path: json",
        f"dataset_kwargs: {{data_files: {{test: {folder / 'rows.jsonl'}}}}}",
        "test_split: test",
        "doc_to_text: '{{q}}'",
        "doc_to_target: gold",
        "doc_to_choice: choices",
        *lines,
    ]
    (folder / "which.yaml").write_text("\n".join(whole))
    lm = Knows()
    question = lmeval.load_task("which", include=[str(folder)])
    result = lmeval.ask(lm, lmmodels.watch_of(lm), question, NoMeter(), window_s=0.0, how=Asking())
    return list(result.items)


def multiple_choice(folder: Path, metric: str, *more: str) -> list[Item]:
    listed = f"metric_list: [{{metric: {metric}, aggregation: mean, higher_is_better: true}}]"
    return ask(folder, "output_type: multiple_choice", listed, *more)


@pytest.mark.parametrize("metric", COMPARED)
def test_it_is_the_chosen_ones_share_of_the_softmax_of_what_lm_eval_compares(tmp_path: Path, metric: str) -> None:
    items = multiple_choice(tmp_path, metric)
    shares = softmax(COMPARED[metric])
    assert [item.confidence for item in items] == pytest.approx([shares.max()] * 3)
    # That the same choice is the one that lm-eval scores shows that it is compared in the same way.
    assert [item.score for item in items] == [float(gold == np.argmax(shares)) for gold in range(3)]


def test_a_task_that_compares_in_a_way_of_its_own_has_none(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def first(doc, results):\n    return {'acc': float(doc['gold'] == 0)}\n")
    items = multiple_choice(tmp_path, "acc", "process_results: !function own.first")
    assert [(item.score, item.confidence) for item in items] == [(1.0, None), (0.0, None), (0.0, None)]


def test_a_likelihood_that_is_missing_leaves_nothing_to_compare(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(LOGS, "abcdef", float("nan"))
    assert [item.confidence for item in multiple_choice(tmp_path, "acc")] == [None] * 3


def test_text_that_a_foreign_model_generates_has_none(tmp_path: Path) -> None:
    items = ask(tmp_path, "output_type: generate_until", "metric_list: [{metric: exact_match}]")
    assert [item.confidence for item in items] == [None] * 3
