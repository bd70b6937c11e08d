"""Training gives what the cards say: seeded, steps counted, exits from half of the way on."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import train as training
from corpus import rows
from model import Shape, Transformer
from torch import Tensor
from train import train

TOKENS = 50_000
SIZES = {"width": 16, "layers": 3, "heads": 2, "hidden": 24}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The shapes of 800k, tiny; one thread, since another number of them rounds otherwise."""
    shapes = {"dense-800k": Shape(**SIZES), "exit-800k": Shape(**SIZES, exits=True)}
    monkeypatch.setattr(training, "SHAPES", shapes)
    monkeypatch.setattr(training, "VALIDATION_ROWS", 32)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def card(folder: Path, label: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / f"{label}.train.json").read_text())
    return found


def weights(folder: Path, label: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(folder / f"{label}.pt")
    return found


@pytest.mark.usefixtures("small")
def test_exits_go_on_from_half_of_the_dense_models_way_as_if_they_had_gone_it_themselves(tmp_path: Path) -> None:
    alone, after = tmp_path / "alone", tmp_path / "after"
    train("exit-800k", TOKENS, 1, alone, fast=False)
    train("dense-800k", TOKENS, 1, after, fast=False)
    train("exit-800k", TOKENS, 1, after, fast=False)
    one, other = weights(alone, "exit-800k"), weights(after, "exit-800k")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert card(after, "exit-800k")["first_half_of"] == "dense-800k"
    for label in ("dense-800k", "exit-800k"):
        told = card(after, label)
        assert told["steps_done"] == told["steps"]
        assert told["tokens"] == card(alone, "exit-800k")["tokens"]
        assert int(str(told["tokens"])) >= TOKENS


@pytest.mark.usefixtures("small")
def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    monkeypatch.setattr(training, "VALIDATE_EVERY", 20)
    train("exit-800k", TOKENS, 1, whole, fast=False)
    validate, calls = training.validate, []

    def interrupted(*given: Any) -> float:
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return validate(*given)

    monkeypatch.setattr(training, "validate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train("exit-800k", TOKENS, 1, parted, fast=False)
    train("exit-800k", TOKENS, 1, parted, fast=False)
    one, other = weights(whole, "exit-800k"), weights(parted, "exit-800k")
    assert all(torch.equal(one[name], other[name]) for name in one)
    told = [{k: v for k, v in card(folder, "exit-800k").items() if "cpu" not in k and "energy" not in k}
            for folder in (whole, parted)]  # fmt: skip
    assert told[0] == told[1]
    assert not list(parted.glob("*.unfinished.pt"))


@pytest.mark.usefixtures("small")
def test_a_half_that_learnt_from_another_corpus_is_not_gone_on_with(tmp_path: Path) -> None:
    train("dense-800k", TOKENS, 1, tmp_path, fast=False)
    with pytest.raises(SystemExit, match="learnt from corpus-1-50000"):
        train("exit-800k", 2 * TOKENS, 1, tmp_path, fast=False)


@pytest.mark.usefixtures("small")
def test_another_seed_has_its_own_corpus_name_and_weights(tmp_path: Path) -> None:
    for seed in (1, 2):
        train("dense-800k", TOKENS, seed, tmp_path, fast=False)
    one, other = weights(tmp_path, "dense-800k"), weights(tmp_path, "dense-800k-s2")
    assert not torch.equal(one["embedding.weight"], other["embedding.weight"])
    assert card(tmp_path, "dense-800k-s2")["seed"] == 2


def some_rows() -> tuple[Tensor, Tensor]:
    ids, wanted = map(torch.from_numpy, rows(random.Random(0), "train", 8))
    return ids.long(), wanted


def test_only_with_early_exits_do_their_norms_learn() -> None:
    torch.manual_seed(0)
    model = Transformer(Shape(**SIZES, exits=True)).train()
    learns = {}
    for early in (False, True):
        model.zero_grad(set_to_none=True)
        model.loss(*some_rows(), early=early).backward()
        learns[early] = [norm.weight.grad is not None and bool(norm.weight.grad.any()) for norm in model.norms]
    assert learns == {False: [False, False, True], True: [True, True, True]}


def test_a_character_that_leaves_early_stays_what_it_was_in_all_later_layers() -> None:
    torch.manual_seed(0)
    model = Transformer(Shape(**SIZES, exits=True)).eval()
    ids, wanted = some_rows()
    depth = torch.where(wanted, 1, 3)
    after: list[Tensor] = []
    for norm in model.norms:
        norm.register_forward_hook(lambda _, given, __: after.append(given[0]))
    model.states(ids, depth)
    assert torch.equal(after[0][wanted], after[2][wanted])
    assert not torch.equal(after[0][~wanted], after[2][~wanted])


def test_prompts_and_every_other_row_go_through_all_layers_in_training() -> None:
    torch.manual_seed(0)
    model = Transformer(Shape(**SIZES, exits=True))
    _, wanted = some_rows()
    depth = model.random_depth(wanted)
    assert (depth[~wanted] == 3).all()
    assert (depth[1::2] == 3).all()
    assert set(depth[::2][wanted[::2]].tolist()) == {1, 2, 3}
