"""Gate a reference model against itself, and keep what came of it.

    python tools/gate_selftest.py

It is `joulemark gate --calibrate` with 6 repeats, so that whatever differs is this machine's noise. A line of JSON
goes to ``benchmarks/gate-history.jsonl``: date, version, machine, load, verdict, and for each task the ratio of
energies, its interval, the spread of paired log ratios, and the smallest effect that would have been seen. Exit code 1
only where the gate fails, which is a false alarm: at most one in twenty by design.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from joulemark.reports.gatecalibratecommand import MODEL

REPEATS = 6
HISTORY = Path(__file__).parents[1] / "benchmarks" / "gate-history.jsonl"


def main() -> int:
    """Measure, gate, keep and tell."""
    load = os.getloadavg()[0]
    line = account(calibrate(), load=load)
    with HISTORY.open("a", encoding="utf-8") as history:
        history.write(json.dumps(line) + "\n")
    for task, told in line["tasks"].items():
        print(f"{task}: " + ", ".join(f"{key} {value}" for key, value in told.items()))
    print(f"{line['verdict']}; line {len(HISTORY.read_text(encoding='utf-8').splitlines())} of {HISTORY}")
    return 1 if line["verdict"] == "fail" else 0


def calibrate() -> dict[str, Any]:
    """What the calibration says, by the usual rules whatever this folder's own are."""
    command = [sys.executable, "-m", "joulemark.harness.cli", "gate", "--calibrate", "--json", "--out", "run"]
    with tempfile.TemporaryDirectory() as folder:
        said = subprocess.run([*command, "--repeats", str(REPEATS)], cwd=folder, stdout=subprocess.PIPE, text=True)
    if not said.stdout:
        raise SystemExit(said.returncode)
    told: dict[str, Any] = json.loads(said.stdout)
    return told


def account(told: dict[str, Any], *, load: float) -> dict[str, Any]:
    """The line of the history."""
    noise = {task: own["noise"]["value"] for task, own in told["energy"].items()}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("joulemark"),
        "machine": told["machine_id"],
        "load": round(load, 2),
        "model": MODEL,
        "repeats": told["repeats"],
        "grade": told["grade"],
        "verdict": told["verdict"],
        "tasks": {
            rule["task"]: {
                "ratio": rounded(rule["ratio_or_delta"]),
                "low": rounded(rule["low"]),
                "high": rounded(rule["high"]),
                "spread": rounded(noise.get(rule["task"])),
                "min_detectable": rounded(rule["min_detectable"]),
            }
            for rule in told["itself"]
            if rule["metric"] == "energy"
        },
    }


def rounded(value: float | None) -> float | None:
    """To four places, as far as anybody reads."""
    return None if value is None else round(value, 4)


if __name__ == "__main__":
    sys.exit(main())
