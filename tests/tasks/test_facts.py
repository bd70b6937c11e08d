"""What a model's own parameters tell of its size."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from joulemark.tasks.facts import facts_of, forget_peak_gpu, peak_gpu_mb

SHAPE: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
EXPERT = 3 * 16 * 24
"""Parameters of one expert of one layer: three matrices."""


def test_a_dense_model_uses_all_of_its_parameters() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SHAPE))
    whole = sum(each.numel() for each in model.parameters())
    facts = facts_of(SimpleNamespace(model=model))
    assert (facts["params"], facts["bytes"], facts["active_params"]) == (whole, 4 * whole, whole)


def test_another_training_has_another_digest_and_the_same_one_the_same() -> None:
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE))
    before = facts_of(SimpleNamespace(model=model))["sha256"]
    assert facts_of(SimpleNamespace(model=model))["sha256"] == before
    with torch.no_grad():
        model.model.norm.weight += 0.001
    assert facts_of(SimpleNamespace(model=model))["sha256"] != before


def test_of_a_mixture_of_experts_a_token_uses_some() -> None:
    model = MixtralForCausalLM(MixtralConfig(**SHAPE, num_local_experts=8, num_experts_per_tok=2))
    facts = facts_of(SimpleNamespace(model=model.to(torch.bfloat16)))
    assert facts["params"] - facts["active_params"] == 2 * 6 * EXPERT
    assert facts["bytes"] == 2 * facts["params"]


def test_a_mixture_that_does_not_say_how_many_experts_a_token_sees_has_no_active_parameters() -> None:
    model = MixtralForCausalLM(MixtralConfig(**SHAPE, num_local_experts=8, num_experts_per_tok=2))
    model.config = SimpleNamespace(num_local_experts=8)
    assert "active_params" not in facts_of(SimpleNamespace(model=model))


def test_what_is_no_torch_model_tells_nothing() -> None:
    assert facts_of(SimpleNamespace(model="a name")) == {}
    assert facts_of(SimpleNamespace()) == {}
    forget_peak_gpu()
    assert peak_gpu_mb() is None or torch.cuda.is_initialized()
