"""Run directories with known truth, written through the store as a real run writes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from joulemark.harness.record import Cell, Energy, Idle, Latency, Machine, MeterInfo, ModelInfo, RunHeader, Tokens
from joulemark.harness.store import Run, RunWriter, read_run

TASKS = ("addition", "brackets", "dates", "reversal", "sorting", "units")
MODELS = {
    "ngram": (0.08, 0.00052, 4_096),
    "dense-60k": (0.62, 0.0011, 59_392),
    "dense-240k": (0.73, 0.0022, 238_080),
    "dense-800k": (0.80, 0.0061, 800_256),
}
"""Accuracy, gross Wh per 1,000 items, parameters."""
MODELLED = {"grade": "modelled", "scope": "package", "rel_u_scale": 0.4, "rel_u_workload": 0.3}
COUNTER = {"grade": "counter", "scope": "package+dram", "rel_u_scale": 0.02, "rel_u_workload": 0.0}


def write_run(
    path: Path,
    models: Mapping[str, tuple[float, float, int]] = MODELS,
    *,
    tasks: tuple[str, ...] = TASKS,
    items: int = 300,
    repeats: int = 3,
    seed: int = 1,
    run_id: str = "run-1",
    meter: Mapping[str, Any] = MODELLED,
    machine: Mapping[str, Any] | None = None,
    spread: float = 0.02,
    chance: float = 0.0,
    change: Callable[[Cell], Cell | None] = lambda cell: cell,
    change_items: Callable[[str, pd.DataFrame], pd.DataFrame] = lambda _task, items: items,
    compact: bool = True,
) -> Run:
    """A finished run; ``change`` may alter a cell before it is stored, or drop it, ``change_items`` a task's items."""
    rng = np.random.default_rng(seed)
    with RunWriter(path) as writer:
        plan = {
            "models": [f"{name}=hf:pretrained=x" for name in models],
            "tasks": list(tasks),
            "repeats": repeats,
            "batch_size": 1,
            "num_fewshot": 0,
            "limit": None,
            "order": "interleaved",
        }
        header = _header(run_id, seed, meter, machine or {}, plan)
        writer.write_header(header)
        order = 0
        difficulty = {task: rng.normal(size=items) for task in tasks}
        for model, (accuracy, wh, params) in models.items():
            for number, task in enumerate(tasks):
                scores = _scores(rng, difficulty[task], accuracy + (1 - accuracy) * accuracy * (number % 3 - 1) * 0.4)
                for repeat in range(repeats):
                    order += 1
                    gross = wh * (0.7 + 0.12 * number) * 3.6 * items * 20 * math.exp(rng.normal(0, spread))
                    cell = _cell(header, model, task, repeat, order, scores, gross, params, chance, meter)
                    kept = change(cell)
                    if kept:
                        rows = change_items(task, _items(task, scores, gross))
                        writer.append(kept, rows if kept.status == "ok" else None)
        if compact:
            writer.compact()
    return read_run(path)


def _scores(rng: np.random.Generator, difficulty: np.ndarray, accuracy: float) -> np.ndarray:
    """Right or wrong: harder items fail in all models, so that scores are correlated as in life."""
    if accuracy <= 0:
        return np.zeros(len(difficulty))
    mixed = 0.6 * difficulty + 0.8 * rng.normal(size=len(difficulty))
    return (mixed.argsort().argsort() < round(accuracy * len(difficulty))).astype(float)


def _header(
    run_id: str, seed: int, meter: Mapping[str, Any], machine: Mapping[str, Any], plan: dict[str, Any]
) -> RunHeader:
    info = MeterInfo(
        id="modelled:cpu" if meter["grade"] == "modelled" else "rapl:package-0",
        grade=meter["grade"],
        scope="package",
        provenance="CPU seconds of the process tree x watts a thread"
        if meter["grade"] == "modelled"
        else "/sys/class/powercap/intel-rapl:0",
        resolution_j=6.1e-5,
        update_s=0.001,
        rel_u=math.hypot(meter["rel_u_scale"], meter["rel_u_workload"]),
        rel_u_scale=meter["rel_u_scale"],
        rel_u_workload=meter["rel_u_workload"],
        source="arXiv 2509.22092: models of CPU time err by up to 40 % against the wall",
    )
    values: dict[str, Any] = {
        "machine_id": "m-1",
        "hostname_hash": "9f2c",
        "os": "Linux",
        "kernel": "6.1.0",
        "cpu_model": "AMD EPYC 7B13",
        "cpu_count": 2,
        "memory_gb": 7.8,
        "virtualised": True,
    }
    return RunHeader(
        run_id=run_id,
        created_at="2026-01-05T10:00:00Z",
        joulemark_version="0.1.0",
        plan=plan,
        seed=seed,
        machine=Machine(**(values | dict(machine))),
        software={"python": "3.12.1", "lm_eval": "0.4.13", "onnxruntime": "1.23.2"},
        meters=(info,),
        idle=Idle(before_w=4.1, after_w=4.2, duration_s=5.0),
    )


def _cell(
    header: RunHeader,
    model: str,
    task: str,
    repeat: int,
    order: int,
    scores: np.ndarray,
    gross: float,
    params: int,
    chance: float,
    meter: Mapping[str, Any],
) -> Cell:
    accuracy = float(scores.mean())
    safe = "".join(letter if letter.isalnum() else "-" for letter in model)
    return Cell(
        run_id=header.run_id,
        cell_id=f"{safe}.{task}.{repeat}",
        machine_id=header.machine.machine_id,
        model=model,
        model_args="",
        task=task,
        task_version="1",
        task_hash=f"hash-of-{task}",
        setting={"batch_size": 1, "num_fewshot": 0, "limit": None, "threads": 1},
        repeat=repeat,
        order=order,
        status="ok",
        n_items=len(scores),
        accuracy=accuracy,
        chance=chance,
        quality=100 * (accuracy - chance) / (1 - chance),
        metric="exact_match",
        energy=Energy(
            gross_j=gross,
            net_j=gross * 0.6,
            idle_j=gross * 0.4,
            u_j=gross * 0.003,
            rel_u_scale=meter["rel_u_scale"],
            rel_u_workload=meter["rel_u_workload"],
            grade=meter["grade"],
            scope=meter["scope"],
            domains={},
            idle_w=4.1,
            window_s=2.0,
            loops=20,
        ),
        tokens=Tokens(prompt=16 * len(scores), generated=6 * len(scores), computed=22 * len(scores)),
        latency_s=Latency(p50=0.0009, p95=0.0013),
        model_info=ModelInfo(kind="ngram" if model == "ngram" else "dense", params=params, active_params=params),
        started_at=header.created_at,
        duration_s=2.1,
    )


def _items(task: str, scores: np.ndarray, gross: float) -> pd.DataFrame:
    n = len(scores)
    return pd.DataFrame(
        {
            "doc_id": np.arange(n),
            "doc_hash": [f"{task}-{i}" for i in range(n)],
            "score": scores,
            "correct": scores > 0.5,
            "prompt_tokens": 16,
            "generated_tokens": 6,
            "energy_j": gross * 0.6 / n,
            "latency_s": 0.0009,
            "cluster": None,
            "level": np.arange(n) % 4 + 1,
            "truncated": False,
        }
    )
