"""What models that compute selectively save, and whether what they use is counted whole.

    python benchmarks/selective.py

Early exits: layers a generated token, CPU time and right answers as the threshold falls, against the same graph
with all layers, and the dense model of its size beside it; at batch 1 and 32. Cascades: energy of the cascade
against that of its parts asked one by one, the small model on all questions and the large one on those that were
passed on; exit code 1 where they differ by over 5 %.
Everything runs in one process, in turn.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from joulemark.harness.cascade import CascadeEngine
from joulemark.harness.graphs import OnnxEngine
from joulemark.harness.models import ZOO, card, is_replica, reference_models
from joulemark.harness.reference import load_engine
from joulemark.meters.registry import choose
from joulemark.meters.window import Recorder
from joulemark.tasks.reference import FAMILIES, Question, held_out
from joulemark.tasks.types import Answer, Engine

ALL_LAYERS = 2.0
THRESHOLDS = (0.99, 0.9, 0.7, 0.5)
ROUNDS = 8
LIMIT = 0.05
QUESTIONS: list[Question] = [question for family in FAMILIES for question in held_out(family, per_level=10)]
PROMPTS = [question.prompt for question in QUESTIONS]


@dataclass
class Asked:
    """What an engine did with its questions, and the joules of each round."""

    engine: Engine
    prompts: Sequence[str]
    answers: list[Answer]
    joules: list[float]


def rounds(engines: Sequence[Engine], prompts: Sequence[Sequence[str]]) -> list[Asked]:
    """Ask each engine its questions `ROUNDS` times, there and back in turn."""
    asked = [Asked(e, p, generate(e, p), []) for e, p in zip(engines, prompts, strict=True)]
    choice = choose()
    with Recorder(choice.meters, choice.domains, os.getpid()) as recorder:
        for number in range(ROUNDS):
            for one in asked if number % 2 else asked[::-1]:
                recorder.start()
                generate(one.engine, one.prompts)
                one.joules.append(recorder.stop().gross_j)
    return asked


def generate(engine: Engine, prompts: Sequence[str]) -> list[Answer]:
    return engine.generate(prompts, ["\n"], 24)


def ratio(ones: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """Ratio of paired rounds with its 95 % interval."""
    logs = np.log(np.asarray(ones) / np.asarray(others))
    half = stats.sem(logs) * stats.t.ppf(0.975, len(logs) - 1)
    return tuple(float(np.exp(x)) for x in (logs.mean(), logs.mean() - half, logs.mean() + half))  # type: ignore[return-value]


def early_exits(batch_size: int) -> None:
    name = next(name for name in reference_models() if card(name)["kind"] == "early-exit")
    engines = [
        OnnxEngine(ZOO / card(name)["file"], batch_size=batch_size, threads=1, threshold=threshold)
        for threshold in (ALL_LAYERS, *THRESHOLDS)
    ]
    dense = card(name)["training"]["first_half_of"]
    engines.append(load_engine(dense, batch_size=batch_size, threads=1))
    whole, *early, without = rounds(engines, [PROMPTS] * len(engines))
    for one, threshold in zip((whole, *early), (ALL_LAYERS, *THRESHOLDS), strict=True):
        layers = sum(a.layers or 0 for a in one.answers) / sum(a.generated_tokens for a in one.answers)
        value, low, high = ratio(one.joules, whole.joules)
        print(
            f"batch {batch_size:2}  threshold {threshold:4}  {layers:.2f} layers a generated token  "
            f"{100 * right(one.answers):.1f} % right  energy {value:.3f} ({low:.3f} to {high:.3f}) of all layers"
        )

    value, low, high = ratio(without.joules, whole.joules)
    print(
        f"batch {batch_size:2}  {dense}, without exits  {100 * right(without.answers):.1f} % right  "
        f"energy {value:.3f} ({low:.3f} to {high:.3f}) of all layers"
    )


def right(answers: Sequence[Answer]) -> float:
    return float(np.mean([a.text == q.answer for a, q in zip(answers, QUESTIONS, strict=True)]))


def cascade(name: str, batch_size: int) -> bool:
    """Print one cascade's line; whether its energy is that of its parts."""
    whole = load_engine(name, batch_size=batch_size, threads=1)
    parts = load_engine(name, batch_size=batch_size, threads=1)
    assert isinstance(parts, CascadeEngine)
    unsure = [p for p, a in zip(PROMPTS, generate(whole, PROMPTS), strict=True) if a.escalated]
    together, small, large = rounds([whole, parts.small, parts.large], [PROMPTS, PROMPTS, unsure])
    value, low, high = ratio(together.joules, np.add(small.joules, large.joules).tolist())
    print(
        f"batch {batch_size:2}  {name}: {len(unsure)} of {len(PROMPTS)} questions passed on; "
        f"energy {value:.3f} ({low:.3f} to {high:.3f}) of its parts"
    )
    return abs(value - 1) <= LIMIT


def main() -> int:
    for batch_size in (1, 32):
        early_exits(batch_size)
    names = [name for name in reference_models() if card(name)["kind"] == "cascade" and not is_replica(name)]
    within = [cascade(name, batch_size) for name in names for batch_size in (1, 32)]
    return int(not all(within))


if __name__ == "__main__":
    sys.exit(main())
