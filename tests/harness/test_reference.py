"""The shipped models with real onnxruntime."""

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from joulemark.harness.alphabet import CONTEXT, decode, encode
from joulemark.harness.graphs import OnnxEngine
from joulemark.harness.models import ZOO, card, is_replica, reference_models
from joulemark.harness.reference import load_engine
from joulemark.tasks import reference
from joulemark.tasks.reference import questions_digest
from joulemark.tasks.types import Answer

PROMPTS = [
    row["prompt"]
    for path in sorted((Path(reference.__file__).parent / "data").glob("*.jsonl"))
    for row in map(json.loads, path.read_text().splitlines()[:10])
]
CASCADES = [name for name in reference_models() if card(name)["kind"] == "cascade"]
EXITS = [name for name in reference_models() if card(name)["kind"] == "early-exit"]
any_model = pytest.mark.parametrize("name", reference_models())
any_cascade = pytest.mark.parametrize("name", CASCADES)


@cache
def answers(name: str, batch_size: int = 8) -> list[Answer]:
    return load_engine(name, batch_size, threads=1).generate(PROMPTS, ["\n"], 24)


def test_every_kind_of_model_is_on_the_shelf() -> None:
    kinds = {card(name)["kind"] for name in reference_models()}
    assert kinds == {"ngram", "dense", "moe", "early-exit", "int8", "cascade"}


@any_model
def test_a_card_tells_the_truth_about_its_file(name: str) -> None:
    facts = card(name)
    assert facts["name"] == name
    assert facts["licence"] == "Apache-2.0"
    assert facts["what_it_is_not"]
    assert 0 < facts["active_params"] <= facts["params"]
    if "members" not in facts:
        content = (ZOO / facts["file"]).read_bytes()
        assert len(content) == facts["bytes"]
        assert hashlib.sha256(content).hexdigest() == facts["sha256"]


@any_cascade
def test_a_cascades_card_adds_its_members_up_and_changes_with_their_weights(name: str) -> None:
    facts = card(name)
    small, large = map(card, facts["members"])
    assert "file" not in facts
    assert facts["bytes"] == small["bytes"] + large["bytes"]
    assert facts["params"] == small["params"] + large["params"]
    identity = json.dumps([small["sha256"], large["sha256"], facts["threshold"]])
    assert facts["sha256"] == hashlib.sha256(identity.encode()).hexdigest()


def test_a_replica_names_a_shipped_model_of_its_shape_and_comes_after_all_that_are_none() -> None:
    names = reference_models()
    assert [is_replica(name) for name in names] == sorted(is_replica(name) for name in names)
    for name in filter(is_replica, names):
        first = card(card(name)["replica_of"])
        assert first["kind"] == card(name)["kind"]
        assert first.get("shape") == card(name).get("shape")
        if "training" in first:
            assert first["training"]["seed"] != card(name)["training"]["seed"]
        assert first["sha256"] != card(name)["sha256"]


def test_what_was_trained_was_checked_for_leaks_of_the_questions_that_are_asked_now() -> None:
    checked = [card(name)["training"]["leaks"] for name in reference_models() if "training" in card(name)]
    assert len(checked) >= 9
    assert {(leaks["test"], leaks["leaked"]) for leaks in checked} == {(questions_digest(), 0)}
    assert min(leaks["questions"] for leaks in checked) >= 1_000_000


def test_all_that_is_shipped_is_at_most_15_megabytes_and_named_by_a_card() -> None:
    files = {path for path in ZOO.iterdir() if path.is_file()}
    assert sum(path.stat().st_size for path in files) <= 15_000_000
    cards = {ZOO / f"{name}.json" for name in reference_models()}
    assert files - cards == {ZOO / card(name)["file"] for name in reference_models() if "file" in card(name)}


def in_8_bits(name: str) -> bool:
    return any(card(member)["kind"] == "int8" for member in card(name).get("members", [name]))


@pytest.mark.parametrize("name", [name for name in reference_models() if not in_8_bits(name)])
def test_answers_do_not_depend_on_the_batch(name: str) -> None:
    alone, together = answers(name, 1), answers(name, 32)
    assert [answer.text for answer in alone] == [answer.text for answer in together]
    assert [answer.generated_tokens for answer in alone] == [answer.generated_tokens for answer in together]


@pytest.mark.parametrize("name", [name for name in reference_models() if in_8_bits(name)])
def test_in_8_bits_few_answers_depend_on_the_batch_whose_largest_number_sets_the_scale(name: str) -> None:
    same = [a.text == b.text for a, b in zip(answers(name, 1), answers(name, 32), strict=True)]
    assert sum(same) >= 0.85 * len(same)
    again = load_engine(name, 32, threads=1).generate(PROMPTS, ["\n"], 24)
    assert [answer.text for answer in again] == [answer.text for answer in answers(name, 32)]


@any_model
def test_what_an_answer_took_is_told_and_adds_up(name: str) -> None:
    engine = load_engine(name, 8, threads=1)
    passes = 2 if name in CASCADES else 1
    for prompt, answer in zip(PROMPTS, engine.generate(PROMPTS, ["\n"], 24), strict=True):
        assert answer.prompt_tokens == len(prompt)
        assert 0 < answer.generated_tokens <= 24 * passes
        assert answer.computed_tokens >= answer.prompt_tokens + answer.generated_tokens - passes
        assert answer.latency_s > 0
        assert "\n" not in answer.text
        if passes == 1:
            # The end that came of itself is no part of the text.
            assert answer.truncated or len(answer.text) < answer.generated_tokens
            assert not answer.truncated or answer.generated_tokens == 24
    assert engine.decode_s > 0
    assert (engine.prefill_s > 0) == (name != "ngram")


@any_model
def test_a_model_tells_what_it_chose_and_nothing_of_choices_that_it_has_not(name: str) -> None:
    for answer in answers(name):
        assert (answer.layers is not None) == (name in EXITS)
        assert (answer.escalated is not None) == (name in CASCADES)
        assert (answer.confidence is not None) == (name in CASCADES)


@any_cascade
def test_a_cascade_keeps_what_its_small_model_is_sure_of_and_asks_the_large_one_for_the_rest(name: str) -> None:
    small, large = card(name)["members"]
    both = zip(PROMPTS, answers(name, 1), answers(small, 1), answers(large, 1), strict=True)
    for prompt, answer, first, second in both:
        assert 0 < answer.confidence <= 1
        sure = answer.confidence >= card(name)["threshold"]
        assert answer.escalated == (not sure), prompt
        assert answer.text == (first.text if sure else second.text)
        assert answer.truncated == (first.truncated if sure else second.truncated)
        asked = [first] if sure else [first, second]
        assert answer.prompt_tokens == first.prompt_tokens
        assert answer.computed_tokens == sum(each.computed_tokens for each in asked)
        assert answer.generated_tokens == sum(each.generated_tokens for each in asked)
    assert {answer.escalated for answer in answers(name, 1)} == {True, False}


@any_cascade
def test_at_batch_8_only_the_unsure_go_on(name: str) -> None:
    small, large = (load_engine(member, 8, threads=1) for member in card(name)["members"])
    found = answers(name, 8)
    first = small.generate(PROMPTS, ["\n"], 24)
    unsure = [at for at, answer in enumerate(found) if answer.escalated]
    second = dict(zip(unsure, large.generate([PROMPTS[at] for at in unsure], ["\n"], 24), strict=True))
    for at, answer in enumerate(found):
        again = second[at].computed_tokens if at in second else 0
        assert answer.computed_tokens == first[at].computed_tokens + again


def probability(session: onnxruntime.InferenceSession, prompt: str) -> float:
    """How probable a greedy answer is: softmax by softmax, each from the whole text anew, without a cache."""
    ids, product = encode(prompt), 1.0
    for _ in range(24):
        feed = {
            "ids": np.array([ids]),
            "positions": np.arange(len(ids))[None],
            "mask": np.tril(np.ones((1, 1, len(ids), len(ids)), dtype=np.bool_)),
        }
        for entry in session.get_inputs()[3:]:
            feed[entry.name] = np.zeros((1, entry.shape[1], 0, entry.shape[3]), dtype=np.float32)
        [logits] = session.run(["logits"], feed)
        weights = np.exp(logits[0].astype(np.float64))
        product *= weights.max() / weights.sum()
        ids.append(int(logits[0].argmax()))
        if decode(ids[-1:]) in ("\n", ""):
            break
    return float(product)


NEURAL = [name for name in reference_models() if card(name)["kind"] in ("dense", "moe", "early-exit", "int8")]


@pytest.mark.parametrize("name", NEURAL)
def test_how_sure_it_was_is_told_of_the_noted_pass_afterwards(name: str) -> None:
    engine, alike = (load_engine(name, 8, threads=1) for _ in range(2))
    # An engine of a cascade computes it as it answers.
    alike.confident = True
    wanted = [answer.confidence for answer in alike.generate(PROMPTS, ["\n"], 24)]
    engine.note()
    assert [answer.confidence for answer in engine.generate(PROMPTS, ["\n"], 24)] == [None] * len(PROMPTS)
    # Passes after the noted one are not kept.
    engine.generate(PROMPTS[:9], ["\n"], 24)
    assert engine.confidences() == pytest.approx(wanted)
    assert engine.confidences() == []


def test_whoever_does_not_choose_is_surer_of_what_is_right() -> None:
    rows = [json.loads(line) for line in (Path(reference.__file__).parent / "data" / "units.jsonl").open()][:150]
    engine = load_engine("dense-60k", 32, threads=1)
    engine.note()
    found = engine.generate([row["prompt"] for row in rows], ["\n"], 24)
    right = np.array([answer.text == row["answer"] for answer, row in zip(found, rows, strict=True)])
    sure = np.array(engine.confidences())
    assert sure[right].mean() > sure[~right].mean() + 0.1


# In 8 bits a character's probability depends on what is computed beside it: the whole text here, itself in the engine.
@pytest.mark.parametrize("name", [name for name in CASCADES if not in_8_bits(name)])
def test_confidence_is_the_product_of_the_probabilities_of_an_answers_characters(name: str) -> None:
    session = onnxruntime.InferenceSession(str(ZOO / card(card(name)["members"][0])["file"]))
    wanted = [probability(session, prompt) for prompt in PROMPTS[::5]]
    for batch_size in (1, 8):
        found = [answer.confidence for answer in answers(name, batch_size)][::5]
        assert found == pytest.approx(wanted, rel=1e-3)


def depth(found: list[Answer]) -> float:
    return sum(answer.layers for answer in found) / sum(answer.generated_tokens for answer in found)


@pytest.mark.parametrize("file", sorted({card(name)["file"] for name in EXITS}))
def test_the_less_sure_a_model_must_be_the_fewer_layers_it_computes(file: str) -> None:
    layers = next(card(name)["shape"]["layers"] for name in EXITS if card(name)["file"] == file)
    depths = []
    for threshold in (0.0, 0.5, 0.9, 0.99, 2.0):
        engine = OnnxEngine(ZOO / file, batch_size=1, threads=1, threshold=threshold)
        found = engine.generate(PROMPTS, ["\n"], 24)
        depths.append(depth(found))
        # The first character comes with the prompt, which goes through all layers.
        least = sum(layers + answer.generated_tokens - 1 for answer in found)
        assert sum(answer.layers for answer in found) >= least
        assert threshold > 0 or sum(answer.layers for answer in found) == least
    assert depths == sorted(depths)
    assert depths[0] < depths[2] < depths[-1] == layers


def test_an_early_exit_models_name_says_how_sure_it_must_be() -> None:
    for name in EXITS:
        assert name.endswith(f"-t{100 * card(name)['threshold']:.0f}")
    assert depth(answers("exit-800k-t90", 1)) < depth(answers("exit-800k-t99", 1)) < 4


def test_a_prompt_that_is_too_long_keeps_its_end_and_strange_letters_become_spaces() -> None:
    engine = load_engine("dense-60k", 4, threads=1)
    found = engine.generate(["max 12,34=\n" * 30 + "12+34=", "É?"], ["\n"], 24)
    assert found[0].prompt_tokens == CONTEXT - 24
    assert decode(encode("É?")) == " ?"


def test_every_neural_model_knows_more_than_the_ngram() -> None:
    rows = [
        row
        for path in (Path(reference.__file__).parent / "data").glob("*.jsonl")
        for row in map(json.loads, path.read_text().splitlines()[:60])
    ]
    right = {}
    for name in reference_models():
        found = load_engine(name, 32, threads=1).generate([r["prompt"] for r in rows], ["\n"], 24)
        right[name] = sum(answer.text == row["answer"] for answer, row in zip(found, rows, strict=True))
    assert min(count for name, count in right.items() if name != "ngram") > 3 * right["ngram"]
