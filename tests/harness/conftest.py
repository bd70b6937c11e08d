import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-m", "joulemark.harness.cli")
Joulemark = Callable[..., subprocess.CompletedProcess[str]]

SMALL = ("-m", "ref/ngram", "-m", "ref/dense-60k", "-t", "jm_comparison", "-t", "jm_brackets", "--limit", "40")


def call(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would; bounded in time."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="session")
def joulemark() -> Joulemark:
    return call


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A whole run of two models on two tasks, three repeats, and what it printed with ``--json``."""
    path = tmp_path_factory.mktemp("small") / "run"
    chosen = ("--repeats", "3", "--seed", "7", "--meter", "modelled")
    done = call("run", *SMALL, *chosen, "--out", path, "--json")
    assert done.returncode == 0, done.stderr
    return path, done
