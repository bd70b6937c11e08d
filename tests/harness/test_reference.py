"""The shipped models with real onnxruntime."""

import hashlib
import json
from pathlib import Path

import pytest

from joulemark.harness.models import ZOO, card, reference_models
from joulemark.harness.reference import CONTEXT, decode, encode, load_engine
from joulemark.tasks import reference

PROMPTS = [
    row["prompt"]
    for path in sorted((Path(reference.__file__).parent / "data").glob("*.jsonl"))
    for row in map(json.loads, path.read_text().splitlines()[:10])
]
any_model = pytest.mark.parametrize("name", reference_models())


@any_model
def test_a_card_tells_the_truth_about_its_file(name: str) -> None:
    content = (ZOO / card(name)["file"]).read_bytes()
    assert len(content) == card(name)["bytes"]
    assert hashlib.sha256(content).hexdigest() == card(name)["sha256"]
    assert card(name)["licence"] == "Apache-2.0"
    assert card(name)["what_it_is_not"]


@any_model
def test_answers_do_not_depend_on_the_batch(name: str) -> None:
    alone = load_engine(ZOO, name, batch_size=1, threads=1).generate(PROMPTS, ["\n"], 24)
    together = load_engine(ZOO, name, batch_size=32, threads=1).generate(PROMPTS, ["\n"], 24)
    assert [answer.text for answer in alone] == [answer.text for answer in together]
    assert [answer.generated_tokens for answer in alone] == [answer.generated_tokens for answer in together]


@any_model
def test_what_an_answer_took_is_told_and_adds_up(name: str) -> None:
    engine = load_engine(ZOO, name, batch_size=8, threads=1)
    for prompt, answer in zip(PROMPTS, engine.generate(PROMPTS, ["\n"], 24), strict=True):
        assert answer.prompt_tokens == len(prompt)
        assert 0 < answer.generated_tokens <= 24
        assert answer.computed_tokens >= answer.prompt_tokens + answer.generated_tokens - 1
        assert answer.latency_s > 0
        assert "\n" not in answer.text
        assert answer.truncated == (answer.generated_tokens == 24 and len(answer.text) == 24)
    assert engine.decode_s > 0


def test_a_prompt_that_is_too_long_keeps_its_end_and_strange_letters_become_spaces() -> None:
    engine = load_engine(ZOO, "dense-60k", batch_size=4, threads=1)
    answers = engine.generate(["max 12,34=\n" * 30 + "12+34=", "É?"], ["\n"], 24)
    assert answers[0].prompt_tokens == CONTEXT - 24
    assert decode(encode("É?")) == " ?"


def test_every_neural_model_knows_more_than_the_ngram() -> None:
    rows = [
        row
        for path in (Path(reference.__file__).parent / "data").glob("*.jsonl")
        for row in map(json.loads, path.read_text().splitlines()[:60])
    ]
    right = {}
    for name in reference_models():
        answers = load_engine(ZOO, name, batch_size=32, threads=1).generate([r["prompt"] for r in rows], ["\n"], 24)
        right[name] = sum(answer.text == row["answer"] for answer, row in zip(answers, rows, strict=True))
    assert min(count for name, count in right.items() if name != "ngram") > 3 * right["ngram"]
