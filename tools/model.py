"""The neural reference models in torch: Llama-shaped, over single characters.

Dense ones, mixtures of experts and models with early exits are one class: a dense model has one expert
and one exit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from joulemark.harness.alphabet import CONTEXT

VOCABULARY = 64
ROPE_BASE = 10_000.0
NORM_EPSILON = 1e-5
BALANCE = 0.01
"""Weight of the loss that spreads characters over experts, as in the Switch Transformer (arXiv 2101.03961)."""
EARLY_EXIT = 0.1
"""Weight of an early exit's loss beside the last one's."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a model.

    Attributes:
        width: Of the residual stream; a multiple of ``heads``.
        hidden: Inner width of the feed-forward part, or of each expert.
        experts: How many experts a layer has; 0 for a dense model.
        chosen: How many of them each character goes through.
        exits: Whether an answer can be read after each layer.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    experts: int = 0
    chosen: int = 2
    exits: bool = False

    @property
    def head_width(self) -> int:
        return self.width // self.heads


SHAPES = {
    "dense-60k": Shape(width=40, layers=3, heads=5, hidden=104),
    "dense-240k": Shape(width=64, layers=5, heads=4, hidden=168),
    "dense-800k": Shape(width=128, layers=4, heads=4, hidden=344),
    # As dense-240k, with two of nine experts: 247k of its 798k parameters work on each character.
    "moe-800k-a240k": Shape(width=64, layers=5, heads=4, hidden=82, experts=9),
    # As dense-800k, with an exit after each layer.
    "exit-800k": Shape(width=128, layers=4, heads=4, hidden=344, exits=True),
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


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_up = nn.Linear(shape.width, 2 * shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The result, and a balance loss of 0."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up), x.new_zeros(())


class Experts(nn.Module):
    """A mixture of SwiGLU experts whose weights are the softmax over the chosen ones, as in Mixtral."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.router = nn.Linear(shape.width, shape.experts, bias=False)
        self.gate_up = nn.Parameter(torch.empty(shape.experts, 2 * shape.hidden, shape.width))
        self.down = nn.Parameter(torch.empty(shape.experts, shape.width, shape.hidden))

    # What each expert gets has another length every time, which is compiled to nothing faster.
    @torch.compiler.disable
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The result ``(batch, time, width)``, and the balance loss: 1 where all experts are used alike."""
        flat = x.reshape(-1, self.shape.width)
        share = self.router(flat).softmax(dim=-1)
        top = share.topk(self.shape.chosen, dim=-1)
        weights = (top.values / top.values.sum(dim=-1, keepdim=True)).flatten()
        order = top.indices.flatten().argsort(stable=True)
        counts = top.indices.flatten().bincount(minlength=self.shape.experts)
        balance = self.shape.experts * (counts / counts.sum() * share.mean(dim=0)).sum()
        characters = order // self.shape.chosen
        given = flat[characters].split(counts.tolist())
        answers = torch.cat([self._expert(number, part) for number, part in enumerate(given)])
        answers = answers * weights[order].unsqueeze(-1)
        return torch.zeros_like(flat).index_add(0, characters, answers).view_as(x), balance

    def _expert(self, number: int, x: Tensor) -> Tensor:
        gate, up = F.linear(x, self.gate_up[number]).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * up, self.down[number])


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.attention_norm = nn.RMSNorm(shape.width, eps=NORM_EPSILON)
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)
        self.mlp_norm = nn.RMSNorm(shape.width, eps=NORM_EPSILON)
        self.mlp = Experts(shape) if shape.experts else FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        batch, time, width = x.shape
        q, k, v = (
            part.view(batch, time, self.shape.heads, self.shape.head_width).transpose(1, 2)
            for part in self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, time, width))
        added, balance = self.mlp(self.mlp_norm(x))
        return x + added, balance


class Transformer(nn.Module):
    """Next-character logits ``(batch, time, VOCABULARY)`` from ids ``(batch, time)``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(VOCABULARY, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        # One a place where an answer can be read: after the last layer, and before it if there are exits.
        self.norms = nn.ModuleList(
            nn.RMSNorm(shape.width, eps=NORM_EPSILON) for _ in range(shape.layers if shape.exits else 1)
        )
        cos, sin = rope_table(CONTEXT, shape.head_width)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() >= 2:
                scale = 0.5 / weight.shape[-1] ** 0.5
                if name.endswith(("out.weight", "down.weight", "down")):
                    scale /= (2 * shape.layers) ** 0.5
                nn.init.normal_(weight, std=scale)

    @property
    def params(self) -> int:
        return sum(weight.numel() for weight in self.parameters())

    @property
    def active_params(self) -> int:
        """Those that work on one character."""
        if not self.shape.experts:
            return self.params
        idle = self.shape.experts - self.shape.chosen
        return self.params - idle * 3 * self.shape.width * self.shape.hidden * self.shape.layers

    def states(self, ids: Tensor, depth: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """What can be read after each layer, each ``(batch, time, width)``, and the mean balance loss.

        Args:
            ids: Characters ``(batch, time)``.
            depth: Layers computed for each of them ``(batch, time)``; what a character is after its last one
                stands for it in all later layers. None for all layers.
        """
        x = self.embedding(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        after, unbalanced = [], x.new_zeros(())
        for number, block in enumerate(self.blocks):
            new, balance = block(x, cos, sin)
            x = new if depth is None else torch.where((depth > number).unsqueeze(-1), new, x)
            unbalanced = unbalanced + balance / self.shape.layers
            after.append(x)
        last = after[-len(self.norms) :]
        return [norm(x) for norm, x in zip(self.norms, last, strict=True)], unbalanced

    def forward(self, ids: Tensor) -> Tensor:
        return F.linear(self.states(ids)[0][-1], self.embedding.weight)

    def random_depth(self, wanted: Tensor) -> Tensor:
        """In every other row, a random number of layers for each character of an answer; else all layers."""
        depth = torch.randint(1, self.shape.layers + 1, wanted.shape)
        alternate = (torch.arange(wanted.shape[0]) % 2 == 0).unsqueeze(-1)
        return torch.where(alternate & wanted, depth, self.shape.layers)

    def loss(self, ids: Tensor, wanted: Tensor, early: bool = False) -> Tensor:
        """Mean cross-entropy over the answers' characters; ``wanted`` is true where a character counts.

        In training experts are balanced, and where ``early``, some characters end at an early exit, each of which
        counts `EARLY_EXIT` for each character that gets as far.
        """
        depth = self.random_depth(wanted[:, :-1]) if early else None
        states, unbalanced = self.states(ids[:, :-1], depth)
        asked, targets = wanted[:, 1:], ids[:, 1:]
        whole = asked if depth is None else asked & (depth == self.shape.layers)
        total = F.cross_entropy(*self._asked(states[-1], targets, whole))
        if self.training:
            total = total + BALANCE * unbalanced
        if depth is not None:
            for number, state in enumerate(states[:-1], start=1):
                total = total + EARLY_EXIT * F.cross_entropy(*self._asked(state, targets, asked & (depth >= number)))
        return total

    def _asked(self, state: Tensor, targets: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        return F.linear(state[where], self.embedding.weight), targets[where]
