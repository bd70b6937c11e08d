"""The example of a meter from outside: installed by pip, found by its entry point, its own tests run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "example-meter"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example installed in it; a copy, since building leaves files beside the source."""
    copy, target = tmp_path_factory.mktemp("example") / "copy", tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, copy)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(target), str(copy)], check=True, timeout=120)
    return target


def joulemark(installed: Path, *arguments: str, sysfs: Path) -> dict[str, object]:
    environment = os.environ | {"PYTHONPATH": str(installed), "JOULEMARK_SYSFS": str(sysfs)}
    command = [sys.executable, "-m", "joulemark.harness.cli", *arguments, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_it_is_listed_by_itself_and_made_with_a_users_arguments(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "class" / "hwmon" / "hwmon0"
    folder.mkdir(parents=True)
    (folder / "name").write_text("ina3221\n")
    (folder / "power1_input").write_text("9000000\n")
    found = joulemark(installed, "meters", "--meter", "board=hwmon:chip=ina3221", sysfs=tmp_path)
    meters = {meter["id"]: meter for meter in found["meters"]}  # type: ignore[attr-defined]
    assert "called ina226" in meters["hwmon"]["reason"]
    assert (meters["board:board"]["available"], meters["board:board"]["scope"]) == (True, "platform")


def test_its_own_tests_pass(installed: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(EXAMPLE), str(EXAMPLE)]
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False, cwd=EXAMPLE
    )
    assert done.returncode == 0, done.stdout
