"""How long `joulemark leaderboard validate` takes, and how large a submission of many cells is.

    python benchmarks/leaderboard.py [MODELS TASKS REPEATS ITEMS GPUS]

50 models on 20 tasks of 300 items, three times, beside eight GPUs that tell their states, unless told otherwise: made
up as the tests make theirs, of the harness's own parts. Prints what each cell takes in the file, the time of packing
and, in a process of its own as a user would start it, of validating, with the most memory that it held. Limits: 2 s and
5 MB for the default size.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "leaderboard"))

from believable import write_believable_run

from joulemark.leaderboard.submission import pack
from joulemark.tasks.catalog import OUR_TASKS

MOST_S, MOST_MB = 2.0, 5.0
_CHILD = """
import atexit, pathlib, runpy, sys
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: print(status.read_text().partition("VmHWM:")[2].split()[0]))
sys.argv = ["joulemark", "leaderboard", "validate", sys.argv[1]]
runpy.run_module("joulemark.harness.cli", run_name="__main__")
"""
"""The command, and its most memory in kB at the end: what `getrusage` tells of a child holds its parent's."""


def main(models: int = 50, tasks: int = 20, repeats: int = 3, items: int = 300, gpus: int = 8) -> int:
    """Make one, pack it, validate it, and print the figures; 1 where a limit is passed."""
    names = [*(card.name for card in OUR_TASKS), *(f"other_{number}" for number in range(tasks))][:tasks]
    labels = [f"model-{number:02}-7b-instruct=hf:pretrained=organisation/model-{number:02}" for number in range(models)]
    with tempfile.TemporaryDirectory() as folder:
        run = write_believable_run(Path(folder) / "run", labels, names, items=items, repeats=repeats, gpus=gpus)
        began = time.perf_counter()
        content = pack(run)
        packing_s = time.perf_counter() - began
        file = Path(folder) / "sent.json"
        file.write_bytes(content)
        seconds, peak_mb, code, said = _validate(file)
    megabytes, cells = len(content) / 1e6, len(run.cells)
    print(f"{cells:,} cells of {items} items: {megabytes:.2f} MB, {len(content) / cells:.0f} bytes a cell")
    print(f"most bytes a cell: {_largest(content, cells)}")
    print(f"pack: {packing_s:.2f} s; validate: {seconds:.2f} s, {peak_mb:.0f} MB of memory; {os.cpu_count()} CPUs")
    print(said)
    return int(code != 0 or seconds > MOST_S or megabytes > MOST_MB)


def _validate(file: Path) -> tuple[float, float, int, str]:
    """Seconds, most memory in MB, exit code and what was said, of a process of its own."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", _CHILD, str(file)], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    said, _, peak_kb = done.stdout.strip().rpartition("\n")
    return seconds, int(peak_kb) / 1024, done.returncode, said + done.stderr


def _largest(content: bytes, cells: int) -> str:
    """The keys of a cell that take most."""
    sizes: Counter[str] = Counter()
    for cell in json.loads(content)["cells"]:
        for key, value in cell.items():
            sizes[key] += len(json.dumps({key: value}, separators=(",", ":"))) - 1
    return ", ".join(f"{key} {size / cells:.0f}" for key, size in sizes.most_common(8))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
