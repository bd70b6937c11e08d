"""What the Ray executor costs: time beside the cells, and CPU of the driver and of Ray itself while a machine waits.

    python benchmarks/cluster.py [REPEATS]

A cluster of one node on this machine, and the same plan on it and by the local executor, in turn. Of each: seconds
from the first cell's start to the last one's end less what the cells themselves took, a cell; and CPU seconds of the
driver. Of Ray: the share of a core that all its processes take in 20 s in which nothing is measured; that is part of
the idle power that stations measure. Nothing is asserted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from joulemark.harness.store import read_run

MODELS = ("ref/ngram", "ref/dense-60k", "ref/dense-240k")
IDLE_S = 20.0


def main(repeats: int = 8) -> int:
    """Measure and print."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": os.cpu_count(), "include_dashboard": False})
    try:
        print(f"Ray itself, idle: {100 * _idle_share(cluster):.1f} % of a core, over {IDLE_S:.0f} s")
        with tempfile.TemporaryDirectory(prefix="joulemark-cluster-") as folder:
            for name in ("local", f"ray:{cluster.address}"):
                found = _measure(name, Path(folder) / name.partition(":")[0], repeats)
                print(f"{name.partition(':')[0]:5}: {found}")
    finally:
        cluster.shutdown()
    return 0


def _idle_share(cluster: Any) -> float:
    """CPU seconds of all of Ray's processes, a second."""
    time.sleep(5)
    before, began = _cpu_s(cluster), time.monotonic()
    time.sleep(IDLE_S)
    return (_cpu_s(cluster) - before) / (time.monotonic() - began)


def _cpu_s(cluster: Any) -> float:
    total = 0.0
    for processes in cluster.head_node.all_processes.values():
        for each in processes:
            root = psutil.Process(each.process.pid)
            for process in (root, *root.children(recursive=True)):
                times = process.cpu_times()
                total += times.user + times.system
    return total


def _measure(executor: str, out: Path, repeats: int) -> str:
    words = [word for model in MODELS for word in ("-m", model)]
    words += ["-t", "jm_units", "--limit", "20", "--repeats", str(repeats), "--executor", executor, "--out", str(out)]
    command = [sys.executable, "-m", "joulemark.harness.cli", "run", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        driver, spent, began = psutil.Process(run.pid), 0.0, time.monotonic()
        while run.poll() is None:
            if (out / "cells.jsonl").exists():
                times = driver.cpu_times()
                spent = times.user + times.system
            time.sleep(0.2)
    cells = read_run(out).cells
    starts = [datetime.fromisoformat(cell.started_at).timestamp() for cell in cells]
    end = max(start + cell.duration_s for start, cell in zip(starts, cells, strict=True))
    beside = (end - min(starts) - sum(cell.duration_s for cell in cells)) / len(cells)
    whole = time.monotonic() - began
    return (
        f"{len(cells)} cells, {1e3 * beside:.1f} ms beside each; driver {spent:.1f} s of CPU in {whole:.0f} s, "
        "loading and the report included"
    )


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
