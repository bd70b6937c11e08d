"""The dense reference models in torch: Llama-shaped, over single characters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from joulemark.harness.reference import CONTEXT

VOCABULARY = 64
ROPE_BASE = 10_000.0
NORM_EPSILON = 1e-5


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a dense model; ``width`` must be a multiple of ``heads``."""

    width: int
    layers: int
    heads: int
    hidden: int

    @property
    def head_width(self) -> int:
        return self.width // self.heads


SHAPES = {
    "dense-60k": Shape(width=40, layers=3, heads=5, hidden=104),
    "dense-240k": Shape(width=64, layers=5, heads=4, hidden=168),
    "dense-800k": Shape(width=128, layers=4, heads=8, hidden=344),
}


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on ``(batch, heads, time, head_width)``, halves not interleaved."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


def rope_table(length: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each ``(length, head_width / 2)``."""
    frequency = ROPE_BASE ** (-torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
    angle = torch.outer(torch.arange(length, dtype=torch.float32), frequency)
    return angle.cos(), angle.sin()


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.attention_norm = nn.RMSNorm(shape.width, eps=NORM_EPSILON)
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)
        self.mlp_norm = nn.RMSNorm(shape.width, eps=NORM_EPSILON)
        self.gate_up = nn.Linear(shape.width, 2 * shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, time, width = x.shape
        q, k, v = (
            part.view(batch, time, self.shape.heads, self.shape.head_width).transpose(1, 2)
            for part in self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, time, width))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Dense(nn.Module):
    """Next-character logits ``(batch, time, VOCABULARY)`` from ids ``(batch, time)``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(VOCABULARY, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=NORM_EPSILON)
        cos, sin = rope_table(CONTEXT, shape.head_width)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                scale = 0.5 / weight.shape[1] ** 0.5
                if name.endswith(("out.weight", "down.weight")):
                    scale /= (2 * shape.layers) ** 0.5
                nn.init.normal_(weight, std=scale)

    def hidden(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.norm(x)

    def forward(self, ids: Tensor) -> Tensor:
        return F.linear(self.hidden(ids), self.embedding.weight)

    def loss(self, ids: Tensor, wanted: Tensor) -> Tensor:
        """Mean cross-entropy over the answers' characters; ``wanted`` is true where the next one counts."""
        hidden = self.hidden(ids[:, :-1])[wanted[:, 1:]]
        return F.cross_entropy(F.linear(hidden, self.embedding.weight), ids[:, 1:][wanted[:, 1:]])
