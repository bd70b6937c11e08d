"""What is kept of questions and answers: readable by anyone, whatever a task or a model makes of them, and bounded."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from lm_eval.models.api_models import JsonChatStr

from joulemark.tasks.samples import sample_lines
from joulemark.tasks.types import Item


def item(doc_id: int, score: float) -> Item:
    told: dict[str, Any] = dict.fromkeys(
        ("prompt_tokens", "generated_tokens", "computed_tokens", "latency_s", "level", "truncated")
    )
    return Item(doc_id=doc_id, doc_hash=f"h{doc_id}", score=score, cluster=str(doc_id), **told)


def sample(**changed: Any) -> dict[str, Any]:
    usual = {"arguments": [("3+4=", {"until": []})], "resps": [["7."]], "filtered_resps": ["7"], "target": "7"}
    return usual | changed


def kept(*samples: dict[str, Any], score: float = 1.0) -> list[Any]:
    lines = sample_lines({"sums": samples}, [item(at, score) for at in range(len(samples))])
    assert not any("\n" in line for line in lines)
    return [json.loads(line, parse_constant=pytest.fail) for line in lines]


def test_a_line_has_what_was_asked_answered_read_and_wanted() -> None:
    [line] = kept(sample())
    assert line == {
        "doc_id": 0, "doc_hash": "h0", "task": "sums", "score": 1.0,
        "prompts": ["3+4="], "answers": ["7."], "filtered": ["7"], "target": "7",
    }  # fmt: skip


def test_a_prompt_that_several_continuations_share_is_kept_once_and_a_chat_as_it_was_sent() -> None:
    pairs, scores = [("3+4=", "7"), ("3+4=", "8")], [[(-0.5, True)], [(-math.inf, False)]]
    [line] = kept(sample(arguments=pairs, resps=scores, filtered_resps=[s for [s] in scores], target=np.int64(0)))
    assert line["prompts"] == ["3+4="]
    assert line["continuations"] == ["7", "8"]
    assert line["answers"] == [[-0.5, True], [None, False]]
    assert line["target"] == 0
    chat = '[{"role": "user", "content": "3+4="}]'
    assert kept(sample(arguments=[(JsonChatStr(chat), {})]))[0]["prompts"] == [chat]


def test_whatever_a_task_or_a_model_gives_becomes_json() -> None:
    [line] = kept(sample(target={1: {"a"}, "b": np.array([1.5])}, resps=[["half \ud83d"]]), score=math.nan)
    assert line["score"] is None
    assert line["target"] == {"1": ["a"], "b": [1.5]}
    assert line["answers"] == ["half ?"]
    assert kept(sample(target=object))[0]["target"] == "<class 'object'>"


def test_long_texts_lose_their_middle_and_items_after_too_much_text_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = kept(sample(resps=[["a" * 30_000 + "z" * 30_000]]))
    [answer] = line["answers"]
    assert len(answer) < 21_000
    assert answer.startswith("aaa")
    assert "[... 40,000 characters left out ...]" in answer
    assert answer.endswith("zzz")
    monkeypatch.setattr("joulemark.tasks.samples.MOST_BYTES", 40_000)
    first, *_, last = kept(*[sample(resps=[["a" * 15_000]])] * 4)
    assert len(first["answers"][0]) == 15_000
    assert last == {"doc_id": 3, "doc_hash": "h3", "task": "sums", "score": 1.0, "left_out": True}
