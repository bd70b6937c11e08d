"""What is shipped is what is in the tree."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("meters", "tasks", "harness", "reports", "leaderboard")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return listed.stdout.splitlines()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    copy = tmp_path_factory.mktemp("tree")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name, follow_symlinks=False)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", copy, copy],
        check=True,
    )
    return zipfile.ZipFile(next(copy.glob("*.whl")))


def test_the_wheel_holds_every_file_of_the_five_folders_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    # The sources of the board's scripts are no part of it, what is built of them is; nor is the example of a store.
    beside = ("leaderboard/web/", "leaderboard/example/")
    ours = [name for name in tracked() if name.split("/")[0] in FOLDERS and not name.startswith(beside)]
    wanted = {f"joulemark/{name}" for name in ours}
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == wanted


def test_the_wheel_brings_the_licence_and_the_command(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    entry_points = next(name for name in names if name.endswith("entry_points.txt"))
    assert "joulemark = joulemark.harness.cli:main" in wheel.read(entry_points).decode()


def test_every_picture_and_page_that_the_documents_link_to_is_there() -> None:
    for document in (name for name in tracked() if name.endswith(".md")):
        text = re.sub(r"`[^`\n]*`", "", (ROOT / document).read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / document).parent.joinpath(target).exists(), f"{document} links to {target}"
