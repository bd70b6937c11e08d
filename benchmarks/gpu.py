"""An NVIDIA GPU's energy counter, its polled power, and Zeus, on the same known loads of 0.1, 1 and 10 s.

    python benchmarks/gpu.py > docs/evidence/gpu.md

Needs an NVIDIA GPU; with torch and CUDA the load is a stream of matrix products, else the card is left idle. The three
look at the same windows at once. A window of the counter's own lasts from step to step, so that each figure is given as
mean power over its own window.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from joulemark.meters.errors import JoulemarkError
from joulemark.meters.registry import choose
from joulemark.meters.window import Recorder

LOADS_S = (0.1, 1.0, 10.0)
ROUNDS = 5
SETTLE_S = 2.0


def make_load() -> tuple[str, Callable[[float], None]]:
    """What it is called, and what runs it for some seconds."""
    if importlib.util.find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            a = torch.randn(4096, 4096, device="cuda", dtype=torch.float16)

            def multiply(seconds: float) -> None:
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    for _ in range(4):
                        a @ a
                    torch.cuda.synchronize()

            multiply(1.0)
            return "float16 products of 4096 x 4096", multiply
    return "none: the card is idle, since torch with CUDA is not here", time.sleep


def zeus_monitor() -> Any:
    """Zeus on the first GPU; None where it is not installed."""
    if importlib.util.find_spec("zeus") is None:
        return None
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[], approx_instant_energy=False)
    monitor.begin_window("first", sync_execution=False)
    monitor.end_window("first", sync_execution=False)
    return monitor


def main() -> int:
    try:
        counter, power = (choose([name], device="cuda") for name in ("nvml", "nvml-power"))
    except JoulemarkError as problem:
        sys.exit(str(problem))
    what, load = make_load()
    zeus = zeus_monitor()
    card = counter.summed[0].device
    tick_ms = 1e3 * (counter.summed[0].update_s or 0.0)
    print(f"# {card}\n\n`python benchmarks/gpu.py`, {datetime.now(UTC):%Y-%m-%d}. Load: {what}.")
    print(f"Mean power in W, median of {ROUNDS} windows (least to most); the counter steps every {tick_ms:.0f} ms.\n")
    print("| load | counter | its 95 % error | polled power | Zeus |\n|---|---|---|---|---|")
    with (
        Recorder(counter.meters, counter.domains, os.getpid()) as by_counter,
        Recorder(power.meters, power.domains, os.getpid()) as by_power,
    ):
        for seconds in LOADS_S:
            watts: dict[str, list[float]] = {"counter": [], "power": [], "zeus": []}
            errors = []
            for _ in range(ROUNDS):
                time.sleep(SETTLE_S)
                by_power.start()
                by_counter.start()
                if zeus is not None:
                    zeus.begin_window("load", sync_execution=False)
                load(seconds)
                found = zeus.end_window("load", sync_execution=False) if zeus is not None else None
                counted, polled = by_counter.stop(), by_power.stop()
                watts["counter"].append(counted.gross_j / counted.window_s)
                watts["power"].append(polled.gross_j / polled.window_s)
                errors.append(1.96 * counted.u_j / counted.gross_j)
                if found is not None:
                    watts["zeus"].append(sum(found.gpu_energy.values()) / found.time)
            cells = [show(watts[name]) for name in ("counter", "power", "zeus")]
            print(f"| {seconds:g} s | {cells[0]} | {100 * statistics.median(errors):.2f} % | {cells[1]} | {cells[2]} |")
    return 0


def show(watts: list[float]) -> str:
    if not watts:
        return "not installed"
    return f"{statistics.median(watts):.1f} ({min(watts):.1f} to {max(watts):.1f})"


if __name__ == "__main__":
    sys.exit(main())
