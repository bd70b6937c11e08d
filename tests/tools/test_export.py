"""Exported graphs compute what the models in torch do."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from eight_bits import in_eight_bits
from export import build, rounded
from model import SHAPES as REFERENCE_SHAPES
from model import Experts, Shape, Transformer

from joulemark.harness.alphabet import CONTEXT, decode, encode
from joulemark.harness.answering import Growing
from joulemark.harness.graphs import OnnxEngine, _Batch
from joulemark.tasks.types import Answer

Rows = list[list[int]]
Logits = npt.NDArray[np.float32]

SIZES = {"width": 32, "layers": 3, "heads": 4, "hidden": 48}
SHAPES = {
    "dense": Shape(**SIZES),
    "sparse": Shape(**SIZES, experts=9, chosen=2),
    "exits": Shape(**SIZES, exits=True),
}
NEVER, AT_ONCE = 2.0, 0.0
LONGEST = 12
PROMPTS = ["12+34=", "rev abcdef=", "e4 b7 ?b", "sort zyxw=", "0", "max 1234,1999,1100=", "ft in 60 in=", "close ([]{="]
# More threads than one only wait for each other in models as small as these.
torch.set_num_threads(1)
any_shape = pytest.mark.parametrize("name", SHAPES)


def made(shape: Shape, seed: int = 0) -> Transformer:
    """A model with weights so large that it has opinions."""
    torch.manual_seed(seed)
    model = Transformer(shape)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() >= 2:
                weight.mul_(3.0 if "embedding" in name else 2.0)
            else:
                weight.uniform_(0.5, 1.5)
    return rounded(model)


def engine_of(model: Transformer, folder: Path, *, threshold: float = NEVER, batch_size: int = 8) -> OnnxEngine:
    path = folder / "model.onnx"
    if not path.exists():
        onnx.save(build(model), path)
    exits = {"threshold": threshold} if model.shape.exits else {}
    return OnnxEngine(path, batch_size=batch_size, threads=1, **exits)


def fed(engine: OnnxEngine, rows: Rows, more: Rows) -> list[Logits]:
    """The graph's logits after a batch of rows, and after each further character, all by its cache."""
    state, nobody_done = _Batch(rows, engine._empty_cache), [Growing(stops=[]) for _ in rows]
    found = [engine._step(state, nobody_done, NEVER)[0]]
    for tokens in zip(*more, strict=True):
        state.advance(tokens)
        found.append(engine._step(state, nobody_done, NEVER)[0])
    return found


@torch.no_grad()
def alone(model: Transformer, row: Sequence[int]) -> Logits:
    """Torch's logits after a row without padding, and without a cache."""
    return model(torch.tensor([row]))[0, -1].numpy()


def random_rows(lengths: Sequence[int], seed: int = 1) -> Rows:
    chosen = np.random.default_rng(seed)
    return [chosen.integers(1, 64, length).tolist() for length in lengths]


@any_shape
def test_logits_are_torchs_through_the_prompt_and_each_further_character(name: str, tmp_path: Path) -> None:
    model = made(SHAPES[name])
    rows, more = random_rows([1, 40, 7, 23, 12]), random_rows([6] * 5, seed=2)
    largest = 0.0
    for step, found in enumerate(fed(engine_of(model, tmp_path), rows, more)):
        wanted = np.stack([alone(model, row + new[:step]) for row, new in zip(rows, more, strict=True)])
        np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)
        largest = max(largest, float(np.abs(wanted).max()))
    assert largest > 3, "logits so small would agree anyway"


@pytest.mark.parametrize("name", REFERENCE_SHAPES)
def test_logits_are_torchs_at_the_size_of_every_reference_model(name: str, tmp_path: Path) -> None:
    model = made(REFERENCE_SHAPES[name])
    rows, more = random_rows([31, 9]), random_rows([2, 2], seed=2)
    for step, found in enumerate(fed(engine_of(model, tmp_path), rows, more)):
        wanted = np.stack([alone(model, row + new[:step]) for row, new in zip(rows, more, strict=True)])
        np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)


@any_shape
def test_a_text_as_long_as_the_context_is_no_exception(name: str, tmp_path: Path) -> None:
    model = made(SHAPES[name])
    rows, more = random_rows([CONTEXT - 3]), random_rows([3], seed=2)
    *_, last = fed(engine_of(model, tmp_path), rows, more)
    np.testing.assert_allclose(last[0], alone(model, rows[0] + more[0]), atol=1e-4, rtol=0)


def chosen_by(model: Transformer, token: int) -> set[int]:
    """The experts of the first layer that a text of one character goes through."""
    seen: list[torch.Tensor] = []
    experts = model.blocks[0].mlp
    watch = experts.router.register_forward_hook(lambda _module, _given, logits: seen.append(logits))
    alone(model, [token])
    watch.remove()
    return set(seen[0].topk(model.shape.chosen).indices.flatten().tolist())


@pytest.mark.parametrize("token", [1, 9, 33, 63])
def test_experts_that_were_not_chosen_are_not_computed(token: int, tmp_path: Path) -> None:
    model = made(replace(SHAPES["sparse"], layers=1))
    wanted, chosen = alone(model, [token]), chosen_by(model, token)
    experts = model.blocks[0].mlp
    assert isinstance(experts, Experts)
    with torch.no_grad():
        for number in set(range(9)) - chosen:
            # Not a number times 0 is not a number: whoever computes it and throws it away is found out.
            experts.gate_up[number], experts.down[number] = torch.nan, torch.nan
    [found] = fed(engine_of(model, tmp_path), [[token]], [[]])
    np.testing.assert_allclose(found[0], wanted, atol=1e-4, rtol=0)
    with torch.no_grad():
        experts.down[chosen.pop()] = torch.nan
    (tmp_path / "other").mkdir()
    [found] = fed(engine_of(model, tmp_path / "other"), [[token]], [[]])
    assert np.isnan(found).all(), "an expert that was chosen makes a difference"


def answers(model: Transformer, folder: Path, threshold: float, batch_size: int) -> list[Answer]:
    return engine_of(model, folder, threshold=threshold, batch_size=batch_size).generate(PROMPTS, ["\n"], LONGEST)


@pytest.mark.parametrize(("threshold", "layers"), [(AT_ONCE, 1), (NEVER, 3)])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_after_the_prompt_every_character_takes_one_layer_or_all(
    threshold: float, layers: int, batch_size: int, tmp_path: Path
) -> None:
    for answer in answers(made(SHAPES["exits"]), tmp_path, threshold, batch_size):
        # The first character comes with the prompt, which goes through all layers.
        assert answer.layers == 3 + layers * (answer.generated_tokens - 1)


@torch.no_grad()
def exits_in_torch(model: Transformer, prompt: str, threshold: float) -> tuple[str, int]:
    """Text and number of layers of a greedy answer, worked out anew for each character and without a cache."""
    row, depth = encode(prompt), [model.shape.layers] * len(prompt)
    new: list[int] = []
    spent = 0
    while len(new) < LONGEST and "\n" not in decode(new) and 0 not in new:
        for layers in range(1, model.shape.layers + 1):
            known = torch.tensor([[*depth[:-1], layers]])
            state = model.states(torch.tensor([row]), known if new else None)[0][layers - 1]
            shares = (state[0, -1] @ model.embedding.weight.T).softmax(-1)
            if (new and shares.max() >= threshold) or layers == model.shape.layers:
                break
        depth[-1] = layers
        spent += layers
        new.append(int(shares.argmax()))
        row, depth = [*row, new[-1]], [*depth, model.shape.layers]
    return decode(new).split("\n")[0], spent


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("seed", [0, 1])
def test_whoever_is_sure_early_answers_as_in_torch_and_the_same_in_company(
    threshold: float, seed: int, tmp_path: Path
) -> None:
    model = made(SHAPES["exits"], seed)
    found = answers(model, tmp_path, threshold, batch_size=1)
    assert [(a.text, a.layers) for a in found] == [exits_in_torch(model, prompt, threshold) for prompt in PROMPTS]
    together = answers(model, tmp_path, threshold, batch_size=8)
    assert [a.text for a in together] == [a.text for a in found]
    assert [a.generated_tokens for a in together] == [a.generated_tokens for a in found]
    # A batch computes a layer as long as anyone in it needs that.
    assert all(t.layers >= a.layers for t, a in zip(together, found, strict=True))


def test_these_thresholds_part_the_rows() -> None:
    """Else the test above would say nothing about rows that are sure at different depths."""
    model = made(SHAPES["exits"])
    spent = [sum(exits_in_torch(model, prompt, t)[1] for prompt in PROMPTS) for t in (AT_ONCE, 0.5, 0.9, NEVER)]
    assert spent == sorted(set(spent))


def test_in_8_bits_a_graph_is_smaller_and_says_nearly_the_same(tmp_path: Path) -> None:
    model = made(replace(SHAPES["dense"], width=128, hidden=344))
    whole = build(model)
    small = in_eight_bits(whole)
    assert small.ByteSize() < 0.65 * whole.ByteSize()
    onnx.save(small, tmp_path / "model.onnx")
    rows = random_rows([9, 30, 4])
    [found] = fed(engine_of(model, tmp_path), rows, [[]] * 3)
    wanted = np.stack([alone(model, row) for row in rows])
    assert np.corrcoef(found.flatten(), wanted.flatten())[0, 1] > 0.98
