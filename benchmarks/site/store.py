"""A store whose board has 50,000 rows: a site of sixty labs, each with its own machine, models and repeats.

60 submissions of 40 models x 20 tasks x 2 repeats x 100 items, on ten kinds of hardware, six machines each: 40 x (20
tasks + all of them) x 60 = 50,400 rows in 210 views of 240 entrants. A year of a lively board looks so: whoever sends
one measures some tens of models on the board's tasks, and a kind of hardware is common to several. Two repeats are the
fewest that give energy an interval; answers are the same in both, as without sampling. Half of the hardware are GPUs,
whose cells tell device states and a licence, precision and memory. The same bytes every time.
"""

from __future__ import annotations

import hashlib
import json
import math
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from joulemark.leaderboard.outcomes import to_text
from joulemark.leaderboard.storeindex import entry_of, index_text
from joulemark.leaderboard.submission import digest, parse_submission

__all__ = ["write_store"]

LICENCES = ("Apache-2.0", "MIT", "Llama-3.1", "Gemma", None)
PRECISIONS = ("bfloat16", "float16", "int8")
GPUS = ("NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "NVIDIA L4", "NVIDIA B200", "NVIDIA RTX 4090")
CPUS = ("AMD EPYC 9654", "AMD EPYC 7B13", "Intel(R) Xeon(R) Platinum 8480+", "Apple M4 Pro", "Ampere Altra Q80-30")


def write_store(
    folder: Path, *, submissions: int = 60, models: int = 40, tasks: int = 20, repeats: int = 2, items: int = 100
) -> int:
    """Write a store of so many submissions; the rows that its board has."""
    (folder / "accepted").mkdir(parents=True)
    every = [(folder, number, models, tasks, repeats, items) for number in range(submissions)]
    with ProcessPoolExecutor(2) as pool:
        entries = list(pool.map(_write, every))
    (folder / "index.json").write_text(index_text(entries), encoding="utf-8")
    return submissions * models * (tasks + 1)


def _write(what: tuple[Path, int, int, int, int, int]) -> Any:
    folder, number, *sizes = what
    content = _submission(number, *sizes)
    content["sha256"] = digest(content)
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    (folder / "accepted" / f"{content['sha256']}.json").write_bytes(text)
    return entry_of(parse_submission(text), text, by=f"lab-{number:02}", added_at="2026-03-01T00:00:00Z")


def _submission(number: int, models: int, tasks: int, repeats: int, items: int) -> dict[str, Any]:
    rng = np.random.default_rng([1, number])
    hard = np.random.default_rng(1).normal(size=(tasks, items))
    run = _run(number, [f"task_{task:02}" for task in range(tasks)], models, repeats)
    sets = [_asked(f"task_{task:02}", items) for task in range(tasks)]
    cells: list[dict[str, Any]] = []
    outcomes: dict[str, Any] = {}
    for model in range(models):
        own = _model(number, model, rng)
        for task in range(tasks):
            right = own["skill"] + 0.3 * rng.normal() + 0.8 * rng.normal(size=items) > hard[task]
            first = None
            for repeat in range(1, repeats + 1):
                cell = _cell(run, own, task, repeat, right, rng, len(cells))
                cells.append(cell)
                told = {"right": to_text(right)} if first is None else {"same_as": first}
                outcomes[cell["cell_id"]] = {"set": task, **told, "cut": ""}
                first = first or cell["cell_id"]
    return {
        "schema": "joulemark.submission/1",
        "run": run,
        "cells": cells,
        "items": {"sets": sets, "cells": outcomes},
    }


def _model(number: int, model: int, rng: np.random.Generator) -> dict[str, Any]:
    """What a model is: three in four are measured by others too."""
    params = int(10 ** (8 + 2.8 * rng.random()))
    family = ("aster", "birch", "cedar", "dahlia", "elm", "fern", "gorse")[model % 7]
    name = f"{family}-{params / 1e9:.1f}b" if model % 4 == 0 else f"{family}-{model:02}-instruct"
    licence = LICENCES[model % len(LICENCES)]
    precision = PRECISIONS[(model + number) % len(PRECISIONS)]
    return {
        "name": f"{name}-{model:02}",
        "skill": -1.2 + 0.45 * math.log10(params / 1e8) + 0.35 * rng.normal(),
        "wh": 0.02 * (params / 1e8) ** 0.8 * math.exp(0.4 * rng.normal()),
        "setting": {"batch_size": 16, "dtype": precision, "limit": 100, "num_fewshot": None, "threads": 8},
        "info": {
            "kind": "external",
            "params": params,
            "active_params": params,
            "bytes": 2 * params,
            **({"licence": licence} if licence else {}),
            "sha256": hashlib.sha256(name.encode()).hexdigest(),
        },
    }


def _cell(
    run: dict[str, Any], own: dict[str, Any], task: int, repeat: int, right: Any, rng: np.random.Generator, order: int
) -> dict[str, Any]:
    items, accuracy = len(right), float(right.mean())
    gross = own["wh"] * 3.6 * items * math.exp(0.02 * rng.normal()) * (1 + task / 10)
    net, window_s = 0.6 * gross, gross / 300
    meter = run["meters"][0]
    began = f"2026-02-{1 + order // 400:02}T{order % 400 // 20:02}:{3 * (order % 20):02}:00.000+00:00"
    name = f"{own['name']}-task_{task:02}-r{repeat}"
    gpu = meter["scope"] == "gpu"
    chance = 0.25 if task % 3 == 0 else 0.0
    window: dict[str, Any] = {"began_at": began, "window_s": _few(window_s)}
    if gpu:
        state = {"device": meter["id"], "clock_mhz": 1980.0, "power_cap_w": 700.0, "slowed_s": 0.0}
        window |= {edge: [state | {"temperature_c": float(rng.integers(40, 60))}] for edge in ("before", "after")}
    peak = {"peak_rss_mb": _few(own["info"]["bytes"] / 1e6 + 900)}
    return {
        "cell_id": f"{name}-{hashlib.sha256(name.encode()).hexdigest()[:8]}",
        "model": own["name"],
        "model_args": f"hf:pretrained={own['name']}",
        "task": f"task_{task:02}",
        "task_version": "1",
        "setting": own["setting"],
        "repeat": repeat,
        "order": order,
        "status": "ok",
        "n_items": items,
        "accuracy": accuracy,
        "chance": chance,
        "quality": 100 * (accuracy - chance) / (1 - chance),
        "metric": "exact_match",
        "energy": {
            "gross_j": gross,
            "net_j": _few(net),
            "idle_j": _few(gross - net),
            "u_j": 0.003 * gross,
            "u_net_j": _few(0.004 * gross),
            "rel_u_scale": meter["rel_u_scale"],
            "rel_u_workload": meter["rel_u_workload"],
            "grade": meter["grade"],
            "scope": meter["scope"],
            "idle_w": _few((gross - net) / window_s),
            "window_s": _few(window_s),
            "loops": 1,
        },
        "windows": [window],
        "idle_window": {"began_at": "2026-02-01T00:00:00.000+00:00", "window_s": 10.0},
        "phases": {
            "load_j": _few(5 * gross),
            "warmup_j": _few(gross / 9),
            "prefill_j": _few(0.3 * net),
            "decode_j": _few(0.6 * net),
            "other_j": _few(0.1 * net),
        },
        "tokens": {"prompt": 16 * items, "generated": 60 * items, "computed": 76 * items},
        "latency_s": {"p50": _few(window_s / items), "p95": _few(2 * window_s / items)},
        "ttft_s": {"p50": _few(window_s / items / 9), "p95": _few(window_s / items / 5)},
        "truncated": 0.0,
        "warm_ups": 4,
        "model_info": own["info"] | peak | ({"peak_gpu_mb": _few(peak["peak_rss_mb"] * 1.1)} if gpu else {}),
        "other_cpu_cores": 0.01,
        "started_at": began,
        "duration_s": _few(window_s + 2),
    }


def _run(number: int, tasks: list[str], models: int, repeats: int) -> dict[str, Any]:
    kind, gpu = number % 10, number % 10 < 5
    uuid = f"GPU-{number:08}"
    meter = (
        {"id": "nvml:gpu-0", "grade": "counter", "scope": "gpu", "provenance": f"{GPUS[kind % 5]} {uuid}"}
        if gpu
        else {"id": "rapl:package-0", "grade": "counter", "scope": "package", "provenance": "RAPL"}
    )
    span = {
        "before": {"began_at": "2026-02-01T00:00:00.000+00:00", "window_s": 10.0},
        "before_w": 90.0,
        "after_w": 91.0,
    }
    return {
        "run_id": f"20260201T000000-{number:06x}",
        "created_at": "2026-02-01T00:00:00.000+00:00",
        "joulemark_version": "0.1.0",
        "plan": {"models": [f"model-{n}=hf:pretrained=x" for n in range(models)], "tasks": tasks, "repeats": repeats},
        "seed": 0,
        "machine": {
            "machine_id": f"{number:012x}",
            "hostname_hash": f"{number:012x}",
            "os": "Linux x86_64",
            "kernel": "6.1.0",
            "cpu_model": CPUS[kind % 5],
            "cpu_count": 64,
            "memory_gb": 503.5,
            "accelerators": [{"name": GPUS[kind % 5], "uuid": uuid}] if gpu else [],
        },
        "software": {"python": "3.12.1", "lm_eval": "0.4.13"},
        "meters": [
            meter
            | {"resolution_j": 0.001, "update_s": 0.1, "rel_u": 0.05, "rel_u_scale": 0.05, "rel_u_workload": 0.0}
            | {"source": "made up"}
        ],
        "idle": {"before_w": 90.0, "after_w": 91.0, "duration_s": 10.0},
        "invocations": [span],
        "schema": "joulemark.run/1",
    }


def _asked(task: str, items: int) -> dict[str, Any]:
    hashes = [hashlib.sha256(f"{task} {item}".encode()).hexdigest()[:16] for item in range(items)]
    return {"task": task, "task_hash": f"{task}-hash", "docs": list(range(items)), "hashes": hashes}


def _few(value: float) -> float:
    return float(f"{value:.9g}")
