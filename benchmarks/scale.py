"""How ranking and the frontier bear many entrants.

    python benchmarks/scale.py [ENTRANTS TASKS REPEATS ITEMS]

The frontier of a million points beside moocore and paretoset (``pip install 'joulemark[peers]'``), in clouds of several
shapes; what is found must be the same. Then `joulemark rank` over made-up runs, ten of them, of 1,000 entrants x
20 tasks x 5 repeats x 1,000 items (100 million item rows; about a minute to write, 250 MB in a temporary folder):
seconds and peak memory of the whole command on two cores, with all of its 2,000 resamples. Exit code 1 where a limit is
not kept: 0.5 s for a frontier, 20 s and 2 GB for the table.
"""

from __future__ import annotations

import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from joulemark.harness.record import Cell, Energy, Idle, Latency, Machine, MeterInfo, ModelInfo, RunHeader, Tokens
from joulemark.harness.store import canonical_json, seal
from joulemark.reports.pareto import frontier
from joulemark.reports.stats import Floats

POINTS, ROUNDS, RUNS = 1_000_000, 5, 10
FRONTIER_S, RANK_S, RANK_MB = 0.5, 20.0, 2000.0
MOST_ON_FRONT = 5_000
"""With more points on the front paretoset, which compares each with all of them, takes minutes."""
CORES = 2


def clouds() -> dict[str, tuple[Floats, Floats]]:
    """Energies and qualities of several shapes."""
    rng = np.random.default_rng(1)
    rising = rng.permutation(POINTS) / POINTS
    return {
        "uniform": (rng.random(POINTS), rng.random(POINTS)),
        "correlated": (rising, rising + rng.normal(0, 0.01, POINTS)),
        "many equal": (rng.integers(0, 100, POINTS) / 100, rng.integers(0, 100, POINTS) / 100),
        "all on the front": (rising, rising**0.5),
    }


def peers() -> dict[str, Callable[[Floats], Any]]:
    """What finds the frontier of points of shape (points, 2), by the library's name; those that are installed."""
    found: dict[str, Callable[[Floats], Any]] = {}
    with suppress(ImportError):
        import moocore

        found["moocore"] = lambda both: moocore.is_nondominated(both, maximise=[False, True], keep_weakly=True)
    with suppress(ImportError):
        from paretoset import paretoset

        found["paretoset"] = lambda both: paretoset(both, sense=["min", "max"], distinct=False)
        found["paretoset"](np.ones((2, 2)))  # It compiles itself when first called.
    return found


def frontiers() -> bool:
    """Print the seconds of each library; whether ours keeps the limit and finds what they find."""
    others = peers()
    print(f"Frontier of {POINTS:,} points, seconds (the best of {ROUNDS})\n")
    print(f"{'shape':18}{'on it':>10}{'joulemark':>11}" + "".join(f"{name:>11}" for name in others))
    fine = True
    for name, (energy, quality) in clouds().items():
        both = np.column_stack([energy, quality])
        ours, seconds = timed(lambda e=energy, q=quality: frontier(e, q))  # type: ignore[misc]
        shown, same = [f"{seconds:.3f}"], True
        for other, find in others.items():
            if other == "paretoset" and ours.sum() > MOST_ON_FRONT:
                shown.append("-")
                continue
            found, theirs = timed(lambda f=find, b=both: f(b))  # type: ignore[misc]
            shown.append(f"{theirs:.3f}")
            same &= bool((ours == found).all())
        told = "".join(f"{text:>11}" for text in shown)
        print(f"{name:18}{ours.sum():>10,}{told}{'' if same else '   THEY DIFFER'}")
        fine &= same and seconds <= FRONTIER_S
    print(f"\n-: not run; over {MOST_ON_FRONT:,} points are on the front, and its time grows with the square of those.")
    return fine


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result, and the least seconds of several rounds."""
    best, result = math.inf, None
    for _ in range(ROUNDS):
        began = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - began)
    return result, best


def ranking(entrants: int, tasks: int, repeats: int, items: int) -> bool:
    """Print seconds and memory of `joulemark rank`; whether they keep the limits."""
    folder = Path(tempfile.mkdtemp(prefix="joulemark-scale-"))
    try:
        paths = [folder / f"run-{number}" for number in range(RUNS)]
        rng = np.random.default_rng(1)
        difficulty = rng.normal(size=(tasks, items))
        for number, path in enumerate(paths):
            write_run(path, number, entrants // RUNS, difficulty, repeats, rng)
        rows = entrants // RUNS * RUNS * tasks * repeats * items
        print(
            f"\njoulemark rank, {entrants:,} entrants x {tasks} tasks x {repeats} repeats x {items:,} items: ", end=""
        )
        print(f"{rows:,} rows, {sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()) / 1e6:.0f} MB\n")
        began = time.perf_counter()
        done = subprocess.run(
            [str(Path(sys.executable).parent / "joulemark"), "rank", *map(str, paths)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES]),
            check=True,
        )
        seconds = time.perf_counter() - began
    finally:
        shutil.rmtree(folder)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    megabytes = used.ru_maxrss * 1.024 / 1000  # It is in KiB.
    print(f"{seconds:.1f} s on {CORES} cores ({used.ru_utime + used.ru_stime:.1f} s of CPU time), {megabytes:,.0f} MB")
    print(f"{sum('model-' in line for line in done.stdout.splitlines()):,} lines name a model")
    return seconds <= RANK_S and megabytes <= RANK_MB


def write_run(path: Path, number: int, models: int, difficulty: Floats, repeats: int, rng: np.random.Generator) -> None:
    """A finished run with its compacted items, as `joulemark run` leaves it."""
    path.mkdir()
    names = [f"model-{number * models + place:04d}" for place in range(models)]
    tasks = [f"task-{place:02d}" for place in range(len(difficulty))]
    header = make_header(number, names, tasks, repeats)
    (path / "run.json").write_text(header.model_dump_json(by_alias=True), encoding="utf-8")
    writer = None
    with (path / "cells.jsonl").open("w", encoding="utf-8") as log:
        for name in names:
            skill, tables = rng.uniform(-1, 1.5), []
            wh = 0.01 * math.exp(rng.normal(0, 1.2) + 0.8 * skill)
            for task, hard in zip(tasks, difficulty, strict=True):
                margin = skill + 0.2 * rng.normal() - hard + 0.8 * rng.normal(size=len(hard))
                for repeat in range(1, repeats + 1):
                    scores = (margin + 0.1 * rng.normal(size=len(hard)) > 0).astype(float)
                    gross = wh * 3.6 * len(hard) * math.exp(rng.normal(0, 0.02))
                    cell = seal(make_cell(header, name, task, repeat, scores, gross))
                    log.write(canonical_json(cell.model_dump(mode="json", by_alias=True)) + "\n")
                    tables.append(make_items(cell.cell_id, scores, gross))
            table = pa.concat_tables(tables)
            writer = writer or pq.ParquetWriter(path / "items.parquet", table.schema)
            writer.write_table(table)
    if writer:
        writer.close()


def make_header(number: int, names: list[str], tasks: list[str], repeats: int) -> RunHeader:
    meter = MeterInfo(
        id="rapl:package-0", grade="counter", scope="package", provenance="made up", resolution_j=6.1e-5,
        update_s=0.001, rel_u=0.02, rel_u_scale=0.02, rel_u_workload=0.0, source="made up",
    )  # fmt: skip
    return RunHeader(
        run_id=f"run-{number}",
        created_at="2026-01-05T10:00:00Z",
        joulemark_version="0.1.0",
        plan={"models": [f"{name}=hf:pretrained=x" for name in names], "tasks": tasks, "repeats": repeats},
        seed=1,
        machine=Machine(
            machine_id=f"machine-{number}", hostname_hash="9f2c", os="Linux", kernel="6.1", cpu_model="made up",
            cpu_count=2, memory_gb=8,
        ),
        software={},
        meters=(meter,),
        idle=Idle(before_w=4.1, after_w=4.2, duration_s=5),
    )  # fmt: skip


def make_cell(header: RunHeader, model: str, task: str, repeat: int, scores: Floats, gross: float) -> Cell:
    accuracy, items = float(scores.mean()), len(scores)
    energy = Energy(
        gross_j=gross, net_j=0.6 * gross, idle_j=0.4 * gross, u_j=0.003 * gross, rel_u_scale=0.02, rel_u_workload=0.0,
        grade="counter", scope="package", domains={}, idle_w=4.1, window_s=2.0, loops=1,
    )  # fmt: skip
    return Cell(
        run_id=header.run_id, cell_id=f"{model}.{task}.{repeat}", machine_id=header.machine.machine_id, model=model,
        model_args="", task=task, task_version="1", task_hash=f"hash of {task}", repeat=repeat, order=repeat,
        setting={"batch_size": 1, "num_fewshot": 0, "limit": None, "threads": 1}, status="ok", n_items=items,
        accuracy=accuracy, chance=0.0, quality=100 * accuracy, metric="exact_match", energy=energy,
        tokens=Tokens(prompt=16 * items, generated=6 * items, computed=22 * items),
        latency_s=Latency(p50=0.0009, p95=0.0013), model_info=ModelInfo(kind="dense", params=10**6),
        started_at="2026-01-05T10:00:00Z", duration_s=2.1,
    )  # fmt: skip


def make_items(cell_id: str, scores: Floats, gross: float) -> pa.Table:
    docs, count = np.arange(len(scores)), len(scores)
    names = pa.array(docs.astype(str))
    return pa.table(
        {
            "cell_id": pa.repeat(cell_id, count), "doc_id": docs, "doc_hash": names, "score": scores,
            "correct": scores > 0.5, "energy_j": np.full(count, 0.6 * gross / count), "latency_s": np.full(count, 9e-4),
            "cluster": names, "level": docs % 4 + 1, "truncated": np.zeros(count, dtype=bool),
        }
    )  # fmt: skip


if __name__ == "__main__":
    sizes = [int(text) for text in sys.argv[1:]] or [1000, 20, 5, 1000]
    fine = frontiers()
    sys.exit(0 if ranking(*sizes) & fine else 1)
