"""Gate a reference model against itself, and keep what came of it.

    python tools/gate_selftest.py

Both are the same file, measured in turn in one run, so that whatever differs is this machine's noise. A line of JSON
goes to ``benchmarks/gate-history.jsonl``: date, version, machine, load, verdict, and for each task the ratio of
energies, its interval, the spread of paired log ratios, and the smallest effect that would have been seen. Exit code 1
only where the gate fails, which is a false alarm: at most one in twenty by design.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from joulemark.harness.record import Cell
from joulemark.harness.store import read_run

MODEL, TASKS, REPEATS = "ref/dense-800k", ("jm_units", "jm_sorting"), 6
HISTORY = Path(__file__).parents[1] / "benchmarks" / "gate-history.jsonl"
JOULEMARK = (sys.executable, "-m", "joulemark.harness.cli")


def main() -> int:
    """Measure, gate, keep and tell."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        measure(run)
        line = account(run, gate(run), load=load)
    with HISTORY.open("a", encoding="utf-8") as history:
        history.write(json.dumps(line) + "\n")
    for task, told in line["tasks"].items():
        print(f"{task}: " + ", ".join(f"{key} {value}" for key, value in told.items()))
    print(f"{line['verdict']}; line {len(HISTORY.read_text(encoding='utf-8').splitlines())} of {HISTORY}")
    return 1 if line["verdict"] == "fail" else 0


def measure(run: Path) -> None:
    """Both, which are one model."""
    names = [f"a={MODEL}", f"b={MODEL}"]
    asked = [word for name in names for word in ("-m", name)] + [word for task in TASKS for word in ("-t", task)]
    settings = ["--limit", "300", "--batch-size", "1", "--order", "abba", "--repeats", str(REPEATS)]
    done = subprocess.run([*JOULEMARK, "run", *asked, *settings, "--out", run], stdout=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(done.returncode)


def gate(run: Path) -> dict[str, Any]:
    """What the gate says, by its usual rules whatever the folder's own are."""
    command = [*JOULEMARK, "gate", "--json", "--baseline", f"{run}:a", "--candidate", f"{run}:b"]
    said = subprocess.run(command, cwd=run.parent, capture_output=True, text=True)
    if not said.stdout:
        raise SystemExit(said.stderr)
    told: dict[str, Any] = json.loads(said.stdout)
    return told


def account(run: Path, told: dict[str, Any], *, load: float) -> dict[str, Any]:
    """The line of the history."""
    cells = read_run(run).cells
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("joulemark"),
        "machine": cells[0].machine_id,
        "load": round(load, 2),
        "model": MODEL,
        "repeats": told["repeats"],
        "grade": cells[0].energy.grade if cells[0].energy else None,
        "verdict": told["verdict"],
        "tasks": {
            rule["task"]: {
                "ratio": rounded(rule["ratio_or_delta"]),
                "low": rounded(rule["low"]),
                "high": rounded(rule["high"]),
                "spread": rounded(spread(cell for cell in cells if cell.task == rule["task"])),
                "min_detectable": rounded(rule["min_detectable"]),
            }
            for rule in told["rules"]
            if rule["metric"] == "energy"
        },
    }


def spread(cells: Iterable[Cell]) -> float | None:
    """Standard deviation of ln(b/a) over the repeats; None where fewer than two have both."""
    joules = {(c.model, c.repeat): c.energy.gross_j / c.energy.loops for c in cells if c.energy and c.energy.gross_j}
    repeats = sorted({repeat for _, repeat in joules})
    logs = [math.log(joules["b", k] / joules["a", k]) for k in repeats if {("a", k), ("b", k)} <= joules.keys()]
    return float(np.std(logs, ddof=1)) if len(logs) > 1 else None


def rounded(value: float | None) -> float | None:
    """To four places, as far as anybody reads."""
    return None if value is None else round(value, 4)


if __name__ == "__main__":
    sys.exit(main())
