"""Files as lm-eval 0.4.13 and codecarbon 3.3 write them, of known content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["EMISSIONS", "STAMP", "write_emissions", "write_lmeval"]

STAMP = "2026-03-01T10-00-00.123456"
_ENVIRONMENT = """PyTorch version: 2.13.0+cpu

OS: Debian GNU/Linux 12 (bookworm) (x86_64)
Python version: 3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0] (64-bit runtime)
GPU models and configuration: GPU 0: NVIDIA L4

CPU:
CPU(s):                                  8
Model name:                              Some CPU
"""


def write_lmeval(
    folder: Path,
    tasks: Mapping[str, Sequence[bool]] = {"sums": (True, True, True, False)},
    *,
    samples: bool = True,
    original: int | None = None,
    stamp: str = STAMP,
    change: Mapping[str, Any] = {},
) -> Path:
    """Results of tasks that ask for one of four choices, each with what was right; returns ``results_*.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "results": {
            task: {"alias": task, "acc,none": sum(right) / len(right), "acc_stderr,none": 0.1, "acc_norm,none": 0.5}
            for task, right in tasks.items()
        },
        "group_subtasks": {},
        "configs": {task: {"task": task, "output_type": "multiple_choice", "metadata": {}} for task in tasks},
        "versions": dict.fromkeys(tasks, 1.0),
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": {task: {"acc": True, "acc_norm": True} for task in tasks},
        "n-samples": {t: {"original": original or len(r), "effective": len(r)} for t, r in tasks.items()},
        "config": {
            "model": "hf",
            "model_args": {"pretrained": "made/small"},
            "model_num_parameters": 1000,
            "model_dtype": "torch.float32",
            "batch_size": "4",
            "limit": None,
            "gen_kwargs": {},
        },
        "date": 1772359200.5,
        "pretty_env_info": _ENVIRONMENT,
        "lm_eval_version": "0.4.13",
        "task_hashes": {task: f"hash-of-{task}" for task in tasks},
        "model_name": "made/small",
        "chat_template": None,
        "total_evaluation_time_seconds": "20.5",
    }
    file = folder / f"results_{stamp}.json"
    file.write_text(json.dumps({**content, **change}, indent=2), encoding="utf-8")
    for task, right in tasks.items() if samples else ():
        lines = [json.dumps(_sample(number, good)) for number, good in enumerate(right)]
        (folder / f"samples_{task}_{stamp}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def _sample(number: int, right: bool) -> dict[str, Any]:
    return {
        "doc_id": number,
        "doc": {"question": f"question {number}"},
        "target": str(number % 4),
        "arguments": {f"gen_args_{k}": {"arg_0": "q", "arg_1": str(k)} for k in range(4)},
        "resps": [[["-1.0", "False"]]] * 4,
        "filter": "none",
        "metrics": ["acc", "acc_norm"],
        "doc_hash": hashlib.sha256(str(number).encode()).hexdigest(),
        "acc": float(right),
        "acc_norm": 0.5,
    }


EMISSIONS = {
    "timestamp": "2026-03-01T10:00:21",
    "project_name": "evening",
    "run_id": "5b0fa12a",
    "duration": "21.5",
    "emissions": "1e-6",
    "cpu_energy": "2e-4",
    "gpu_energy": "0.0",
    "ram_energy": "1e-4",
    "energy_consumed": "3e-4",
    "os": "Linux",
    "python_version": "3.11.7",
    "codecarbon_version": "3.3.2",
    "cpu_count": "8",
    "cpu_model": "Some CPU",
    "gpu_count": "",
    "gpu_model": "",
    "ram_total_size": "31.4",
    "tracking_mode": "machine",
    "pue": "1.0",
}
"""A row: 0.3 Wh, 1,080 J."""


def write_emissions(folder: Path, *rows: Mapping[str, str]) -> Path:
    """An ``emissions.csv`` of these rows; each is `EMISSIONS` but for what it says."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join(EMISSIONS), *(",".join({**EMISSIONS, **row}.values()) for row in rows or ({},))]
    (folder / "emissions.csv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder / "emissions.csv"
