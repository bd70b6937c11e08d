"""Train a reference model: ``python tools/train.py dense-60k --out build/zoo``.

Step-based and seeded: the same command on the same machine gives the same weights, also where it was interrupted
and called again. All models see the same characters in the same order; only the learning rate depends on the size.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from corpus import corpus, corpus_path, rows
from model import BALANCE, EARLY_EXIT, SHAPES, Transformer
from torch import Tensor

from joulemark.harness.alphabet import CONTEXT
from joulemark.harness.machine import describe_machine
from joulemark.meters.registry import choose
from joulemark.meters.window import Recorder

ROWS = 16
MUON_RATE = {
    "dense-60k": 0.03,
    "dense-240k": 0.02,
    "dense-800k": 0.012,
    "moe-800k-a240k": 0.02,
    "exit-800k": 0.012,
}
ADAM_RATE = 3e-3
EXITS_FROM = 0.5
"""Share of the steps after which early exits are trained; until then their model is the dense one of its size."""
DENSE_OF = {"exit-800k": "dense-800k"}
WARM_UP_STEPS = 200
VALIDATION_ROWS = 512
VALIDATE_EVERY = 500


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are orthogonalised matrices, in single precision; a stack of matrices is one each.

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
                rate = group["lr"] * max(1.0, weight.shape[-2] / weight.shape[-1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(orthogonal(ahead), alpha=-rate)


def orthogonal(matrix: Tensor, iterations: int = 5) -> Tensor:
    """The nearest matrix with singular values of about 1, ``(..., rows, columns)``."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if tall else matrix
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def optimizers(model: Transformer, muon_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for the embedding, the norms and the routers."""
    by_adam = ("embedding", "norm", "router")
    named = dict(model.named_parameters())
    return [
        Muon([w for n, w in named.items() if not any(part in n for part in by_adam)], muon_rate, 0.95, 0.01),
        torch.optim.AdamW(
            [w for n, w in named.items() if any(part in n for part in by_adam)],
            lr=ADAM_RATE,
            betas=(0.9, 0.95),
            weight_decay=0.0,
        ),
    ]


def snapshot(model: Transformer, parts: list[torch.optim.Optimizer]) -> dict[str, tuple[Tensor, dict[str, Tensor]]]:
    """Each weight by its name, with what its optimizer remembers of it."""
    memory = {weight: known for part in parts for weight, known in part.state.items()}
    return {name: (weight.detach(), memory.get(weight, {})) for name, weight in model.named_parameters()}


@torch.no_grad()
def resume(model: Transformer, parts: list[torch.optim.Optimizer], kept: dict[str, Any]) -> None:
    """Go on with a snapshot, maybe one of a dense model of the same size: its only exit is the last one here."""
    last = f"norms.{len(model.norms) - 1}.weight"
    holders = {weight: part for part in parts for group in part.param_groups for weight in group["params"]}
    if last not in kept:
        kept = {last if name == "norms.0.weight" else name: known for name, known in kept.items()}
    for name, weight in model.named_parameters():
        if name in kept:
            old, known = kept[name]
            weight.copy_(old)
            holders[weight].state[weight].update(known)


def read_state(path: Path, of: str) -> dict[str, Any] | None:
    """What a training was when it last validated; None where there is nothing to go on with."""
    if not path.exists():
        return None
    kept: dict[str, Any] = torch.load(path)
    if kept["of"] != of:
        raise SystemExit(f"{path} learnt from {kept['of']}, not {of}; remove it to begin anew")
    return kept


def write_state(path: Path, state: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


@torch.no_grad()
def validate(model: Transformer, ids: Tensor, wanted: Tensor) -> float:
    """Mean loss of the answers' characters over rows that are neither trained on nor tested."""
    model.eval()
    losses = [model.loss(*part).item() for part in zip(ids.split(ROWS), wanted.split(ROWS), strict=True)]
    model.train()
    return sum(losses) / len(losses)


def train(name: str, tokens: int, seed: int, out: Path, fast: bool) -> None:
    """Train a model, keeping its weights where validation was best, and its card's ``training`` beside them."""
    torch.manual_seed(seed)
    label = name if seed == 1 else f"{name}-s{seed}"
    model = Transformer(SHAPES[name]).train()
    held = [torch.from_numpy(a) for a in rows(random.Random("validation"), "validation", VALIDATION_ROWS)]
    held[0] = held[0].long()
    all_ids, all_wanted = map(torch.from_numpy, corpus(out, seed, tokens))
    if fast:
        model.states = torch.compile(model.states, dynamic=False)  # type: ignore[method-assign]
    parts = optimizers(model, MUON_RATE[name])
    rates = [group["lr"] for part in parts for group in part.param_groups]
    steps = len(all_ids) // ROWS
    choice = choose()
    record: dict[str, Any] = {
        "name": label, "model": name, "params": model.params, "active_params": model.active_params,
        "shape": asdict(SHAPES[name]), "seed": seed, "asked_tokens": tokens, "steps": steps, "rows": ROWS,
        "context": CONTEXT, "muon_rate": MUON_RATE[name], "adam_rate": ADAM_RATE, "balance": BALANCE,
        "early_exit": EARLY_EXIT, "exits_from": EXITS_FROM, "torch": str(torch.__version__),
        "cpu_model": describe_machine(()).cpu_model,
    }  # fmt: skip
    best, seen, joules, cpu = float("inf"), 0, 0.0, time.process_time()
    half, first, of = round(steps * EXITS_FROM), 0, corpus_path(out, seed, tokens).name
    dense = label.replace(name, DENSE_OF.get(name, name))
    unfinished, shared = out / f"{label}.unfinished.pt", out / f"{dense}.half.pt"
    if kept := read_state(unfinished, of) or (read_state(shared, of) if model.shape.exits else None):
        resume(model, parts, kept["weights"])
        torch.set_rng_state(kept["rng"])
        first, seen, joules, cpu = kept["step"], kept["seen"], kept["joules"], cpu - kept["cpu"]
        if unfinished.exists():
            best, record = kept["best"], kept["record"]
        else:
            record["first_half_of"] = dense
    with Recorder(choice.meters, choice.domains, os.getpid()) as recorder:
        recorder.start()
        for step in range(first, steps):
            share = min((step + 1) / WARM_UP_STEPS, 1 - step / steps)
            for part, rate in zip(parts, rates, strict=True):
                for group in part.param_groups:
                    group["lr"] = rate * share
            chosen = slice(step * ROWS, (step + 1) * ROWS)
            ids, wanted = all_ids[chosen].long(), all_wanted[chosen]
            seen += int((ids > 0).sum())
            loss = model.loss(ids, wanted, early=model.shape.exits and step >= half)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for part in parts:
                part.step()
                part.zero_grad(set_to_none=True)
            if (step + 1) % VALIDATE_EVERY and step + 1 not in (half, steps):
                continue
            loss_held = validate(model, *held)
            energy = recorder.stop()
            recorder.start()
            joules += energy.gross_j
            hours = (time.process_time() - cpu) / 3600
            print(f"{label} {step + 1}/{steps} loss {loss:.4f} validation {loss_held:.4f} {hours:.3f} h", flush=True)
            # Weights from before the exits were trained would be best at what they are not for.
            if loss_held < best and (not model.shape.exits or step >= half):
                best = loss_held
                torch.save(model.state_dict(), out / f"{label}.pt")
                record |= {"best_step": step + 1, "validation_loss": round(best, 5)}
            record |= {
                "steps_done": step + 1, "tokens": seen, "cpu_hours": round(hours, 3),
                "energy_wh": round(joules / 3600, 3), "energy_grade": energy.grade, "energy_scope": energy.scope,
                "energy_rel_u": round((energy.rel_u_scale**2 + energy.rel_u_workload**2) ** 0.5, 3),
            }  # fmt: skip
            (out / f"{label}.train.json").write_text(json.dumps(record, indent=2) + "\n")
            state = {
                "of": of, "step": step + 1, "seen": seen, "joules": joules, "cpu": hours * 3600, "best": best,
                "record": record, "rng": torch.get_rng_state(), "weights": snapshot(model, parts),
            }  # fmt: skip
            write_state(unfinished, state)
            if step + 1 == half and name in DENSE_OF.values():
                write_state(shared, state)
    unfinished.unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("--tokens", type=int, default=30_000_000, help="characters to learn from, padding not counted")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fast", action="store_true", help="compile first; needs a C++ compiler")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train(options.name, options.tokens, options.seed, options.out, options.fast)
