"""What the gate says of candidates whose truth is known, measured on this machine.

    python benchmarks/gate_real.py [--gates 20] [--repeats 6] [--out FOLDER]

Three kinds of gates on one reference model, each measured in a run of its own, ABBA, margins 5 % of energy and 2 points
of quality: the model against itself must never fail; the same model that answers 15 % of its questions
twice must fail in at least 18 of 20; the same model with the signs of one tensor turned must fail on quality. Prints a
line a gate with the load of the machine, and the counts; exit code 1 where one of the three does not hold. Twice 20
gates take 10 minutes on a quiet machine. Runs that lie in the folder already are gated again, not measured again. Needs
the extra `test`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper
from remade import put_on_path

from joulemark.harness.models import ZOO

MODEL, TASK = "dense-800k", "jm_units"
JOULEMARK = (sys.executable, "-m", "joulemark.harness.cli")
PLAN = f"""[run]
tasks = ["{TASK}"]
limit = 300
batch_size = 1
order = "abba"
idle_s = 1
"""
AGAIN = 15
MUST_FAIL = 0.9
"""Of the dearer candidate's gates: 18 of 20."""


def main() -> int:
    """Measure what is missing, gate all, and count."""
    options = argparse.ArgumentParser()
    options.add_argument("--gates", type=int, default=20)
    options.add_argument("--repeats", type=int, default=6)
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    folder = given.out or Path(tempfile.mkdtemp(prefix="gates-"))
    folder.mkdir(parents=True, exist_ok=True)
    plain, turned = ZOO / f"{MODEL}.onnx", turn_a_tensor(folder)
    same = (f"a=ref/{MODEL}", f"b=ref/{MODEL}")
    dearer = (f"a=remade:graph={plain}", f"b=remade:graph={plain},again={AGAIN}")
    broken = (f"a=remade:graph={plain}", f"b=remade:graph={turned}")
    for number in range(given.gates):
        measure(folder / f"same-{number}", same, given.repeats)
        measure(folder / f"dearer-{number}", dearer, given.repeats)
    measure(folder / "broken-0", broken, given.repeats)
    found = {kind: gate_all(folder, kind) for kind in ("same", "dearer", "broken")}
    for kind, gates in found.items():
        counts = Counter(gate["verdict"] for gate in gates)
        print(f"{kind}: {len(gates)} gates, " + ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common()))
    holds = (
        not any(failed(gate, "energy") or failed(gate, "quality") for gate in found["same"])
        and sum(failed(gate, "energy") for gate in found["dearer"]) >= MUST_FAIL * given.gates
        and all(failed(gate, "quality") for gate in found["broken"])
    )
    return 0 if holds else 1


def turn_a_tensor(folder: Path) -> Path:
    """A copy of the model in which the largest tensor has the other sign."""
    model = onnx.load(ZOO / f"{MODEL}.onnx")
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    largest.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(largest), largest.name))
    onnx.save(model, folder / "turned.onnx")
    return folder / "turned.onnx"


def measure(run: Path, models: tuple[str, str], repeats: int) -> None:
    """A run of both models; what the machine was busy with before is noted in it."""
    plan = run.parent / "plan.toml"
    if (run / "load").exists():
        return
    plan.write_text(PLAN, encoding="utf-8")
    load = os.getloadavg()[0]
    asked = [plan, "-m", models[0], "-m", models[1], "--repeats", str(repeats), "--out", run]
    with tempfile.TemporaryDirectory() as path:
        env = put_on_path(Path(path))
        done = subprocess.run([*JOULEMARK, "run", *asked], env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{run}: {done.stderr}")
    (run / "load").write_text(f"{load:.1f}", encoding="utf-8")


def gate_all(folder: Path, kind: str) -> list[dict[str, Any]]:
    """What the gate says of each run of that kind, printed as well."""
    gates = []
    for number in range(sum(1 for _ in folder.glob(f"{kind}-*"))):
        run = folder / f"{kind}-{number}"
        command = [*JOULEMARK, "gate", "--json", "--baseline", f"{run}:a", "--candidate", f"{run}:b"]
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        gate = json.loads(said.stdout)
        load = (run / "load").read_text(encoding="utf-8")
        rules = "; ".join(told(rule) for rule in gate["rules"])
        print(f"{run.name:12} {gate['verdict']:12} {rules}; load {load}", flush=True)
        gates.append(gate)
    return gates


def told(rule: dict[str, Any]) -> str:
    """A rule's estimate and interval, and what became of it."""
    digits = 3 if rule["metric"] == "energy" else 1
    figures = (f"{rule[key]:.{digits}f}" for key in ("ratio_or_delta", "low", "high"))
    return "{} {} ({} to {})".format(rule["metric"], *figures) + ("" if rule["verdict"] == "pass" else " !")


def failed(gate: dict[str, Any], metric: str) -> bool:
    """Whether a rule on that failed."""
    return any(rule["verdict"] == "fail" and rule["metric"] == metric for rule in gate["rules"])


if __name__ == "__main__":
    sys.exit(main())
