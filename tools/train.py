"""Train a reference model: ``python tools/train.py dense-60k --out build/zoo``.

Step-based and seeded: the same command on the same machine gives the same weights. All models see
the same number of tokens in the same order; only the learning rate depends on the size.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch
from model import SHAPES, Dense
from torch import Tensor

from joulemark.harness.reference import CONTEXT, encode
from joulemark.tasks.reference import FAMILIES, LEVELS, Split, draw

ROWS = 32
MUON_RATE = {"dense-60k": 0.03, "dense-240k": 0.02, "dense-800k": 0.012}
ADAM_RATE = 3e-3
WARM_UP_STEPS = 200
VALIDATION_ROWS = 512


def rows(rng: random.Random, split: Split, count: int) -> tuple[Tensor, Tensor]:
    """Draw ``count`` rows of whole questions, packed: ids and answer mask, each ``(count, CONTEXT)``."""
    ids = torch.zeros(count, CONTEXT, dtype=torch.long)
    wanted = torch.zeros(count, CONTEXT, dtype=torch.bool)
    for row in range(count):
        used = 0
        while True:
            family = FAMILIES[rng.randrange(len(FAMILIES))]
            question = draw(family, rng, LEVELS[rng.randrange(len(LEVELS))], split)
            text = encode(question.prompt + question.answer + "\n")
            if used + len(text) > CONTEXT:
                break
            ids[row, used : used + len(text)] = torch.tensor(text)
            wanted[row, used + len(question.prompt) : used + len(text)] = True
            used += len(text)
    return ids, wanted


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are orthogonalised matrices, in single precision.

    Newton-Schulz iteration with the quintic coefficients of K. Jordan, "Muon: an optimizer for
    hidden layers in neural networks" (2024). ``torch.optim.Muon`` iterates in bfloat16, which a CPU
    without that type computes so slowly that it took more than half of a training step.
    """

    def __init__(self, params: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                average = self.state[weight].setdefault("average", torch.zeros_like(weight))
                average.lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(average, group["momentum"])
                rate = group["lr"] * max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(orthogonal(ahead), alpha=-rate)


def orthogonal(matrix: Tensor, iterations: int = 5) -> Tensor:
    """The nearest matrix with singular values of about 1."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def optimizers(model: Dense, muon_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for the embedding and the norms."""
    matrices = [w for name, w in model.named_parameters() if w.dim() == 2 and "embedding" not in name]
    others = [w for name, w in model.named_parameters() if w.dim() != 2 or "embedding" in name]
    return [
        Muon(matrices, lr=muon_rate, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def train(name: str, tokens: int, seed: int, out: Path) -> None:
    torch.manual_seed(seed)
    model = Dense(SHAPES[name])
    params = sum(weight.numel() for weight in model.parameters())
    rng = random.Random(f"train:{seed}")
    held_ids, held_wanted = rows(random.Random("validation"), "validation", VALIDATION_ROWS)
    steps = tokens // (ROWS * CONTEXT)
    parts = optimizers(model, MUON_RATE[name])
    rates = [group["lr"] for part in parts for group in part.param_groups]
    best, seen, cpu = float("inf"), 0, time.process_time()
    out.mkdir(parents=True, exist_ok=True)
    for step in range(steps):
        share = min((step + 1) / WARM_UP_STEPS, 1 - step / steps)
        for part, rate in zip(parts, rates, strict=True):
            for group in part.param_groups:
                group["lr"] = rate * share
        ids, wanted = rows(rng, "train", ROWS)
        seen += int((ids > 0).sum())
        loss = model.loss(ids, wanted)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in parts:
            part.step()
            part.zero_grad(set_to_none=True)
        if (step + 1) % 250 == 0 or step + 1 == steps:
            with torch.no_grad():
                held = sum(
                    model.loss(held_ids[at : at + 64], held_wanted[at : at + 64]).item()
                    for at in range(0, VALIDATION_ROWS, 64)
                ) / (VALIDATION_ROWS / 64)
            hours = (time.process_time() - cpu) / 3600
            print(
                f"{name} step {step + 1}/{steps} loss {loss.item():.4f} validation {held:.4f} {hours:.3f} h", flush=True
            )
            if held < best:
                best = held
                torch.save(model.state_dict(), out / f"{name}.pt")
                card = {
                    "name": name,
                    "params": params,
                    "tokens": seen,
                    "steps": step + 1,
                    "planned_steps": steps,
                    "seed": seed,
                    "rows": ROWS,
                    "context": CONTEXT,
                    "muon_rate": MUON_RATE[name],
                    "adam_rate": ADAM_RATE,
                    "validation_loss": round(held, 5),
                    "cpu_hours": round(hours, 3),
                    "torch": torch.__version__,
                }
                (out / f"{name}.train.json").write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("--tokens", type=int, default=20_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train(options.name, options.tokens, options.seed, options.out)
