"""One tree of counters, mounted where Linux has it, read by ours and by unpatched Zeus, pyJoules and codecarbon."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

SIDE_BY_SIDE = """
import json, sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import meters
meters.SHORT_WINDOWS = 100
meters.in_namespace()
with tempfile.TemporaryDirectory() as folder:
    driver, _ = meters.compile_all(Path(folder))
    with meters.powercap_tree(driver, meters.REAL_RANGE_UJ):
        found = {name: meters.run_part(f"long {name}") for name in ("joulemark", "zeus", "pyJoules", "codecarbon")}
    with meters.powercap_tree(driver, meters.RANGE_UJ):
        found["short"] = meters.ours_short()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, list[float]]:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user may not make mount namespaces")
    environment = {name: value for name, value in os.environ.items() if name != "JOULEMARK_SYSFS"}
    environment["JOULEMARK_BENCHMARK_WINDOWS"] = "3"
    command = [sys.executable, "-c", SIDE_BY_SIDE, str(BENCHMARKS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize("peer", ["joulemark", "zeus", "pyJoules", "codecarbon"])
def test_all_see_the_same_joules_where_no_counter_wraps(found: dict[str, list[float]], peer: str) -> None:
    """Theirs are against the time between two calls, which a busy machine stretches."""
    assert statistics.median(map(abs, found[peer])) < 0.02


def test_ours_are_within_one_percent_over_short_windows_and_wraps(found: dict[str, dict[str, float]]) -> None:
    assert found["short"]["median"] < 0.01
    assert found["short"]["inside"] > 0.9
