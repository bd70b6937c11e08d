"""Make a board of runs that are measured here, with a history: what a keeper gets, in under four minutes.

    python tools/board.py [FOLDER]

Two senders measure reference models on three tasks: ann sends a run, ben one of other models and of 8 bits, and ann
measures hers again, which supersedes her first. Each is packed, validated and added by the commands that keepers and
submitters use. FOLDER (``board``) gets ``runs/``, ``sent/``, ``store/`` and ``site/``, in place of those of the last
time.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TASKS = ("jm_units", "jm_dates", "jm_sorting")
REPEATS, LIMIT = 3, 300
OURS = ("runs", "sent", "store", "site")
"""What the folder holds; nothing else in it is touched."""


@dataclass(frozen=True, kw_only=True)
class Sending:
    """One submission.

    Attributes:
        name: Of its run's folder and of the file that is sent.
        by: Who sends it.
        models: What was measured.
    """

    name: str
    by: str
    models: tuple[str, ...]


OLD = ("ref/dense-60k", "ref/dense-240k", "ref/moe-800k-a240k")
NEW = ("ref/int8-240k", "ref/int8-800k", "ref/dense-800k", "ref/cascade-240k-800k")
HISTORY = (
    Sending(name="ann-1", by="ann", models=OLD),
    Sending(name="ben-1", by="ben", models=NEW),
    Sending(name="ann-2", by="ann", models=OLD),
)


def main(folder: Path = Path("board")) -> int:
    """Measure, send, build, and say how to look at it."""
    for name in OURS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for number, each in enumerate(HISTORY, 1):
        print(f"{number} of {len(HISTORY)}: {each.by} measures {', '.join(each.models)}.", flush=True)
        send(each, folder)
    joulemark("leaderboard", "build", "--store", folder / "store", "--out", folder / "site")
    print(f"To look at it: joulemark leaderboard serve {shlex.quote(str(folder / 'site'))}")
    return 0


def send(each: Sending, folder: Path) -> None:
    """Measure a run, make a file of it, look it through as a board does, and accept it."""
    run, file = folder / "runs" / each.name, folder / "sent" / f"{each.name}.json"
    asked = [*(f"-m{model}" for model in each.models), *(f"-t{task}" for task in TASKS)]
    joulemark("run", *asked, "--repeats", REPEATS, "--limit", LIMIT, "--out", run)
    joulemark("leaderboard", "pack", run, "-o", file)
    joulemark("leaderboard", "validate", file)
    joulemark("leaderboard", "add", file, "--store", folder / "store", "--by", each.by)


def joulemark(*arguments: object) -> None:
    """One command of ours; what fails ends it all with its exit code."""
    done = subprocess.run([sys.executable, "-m", "joulemark.harness.cli", *map(str, arguments)])
    if done.returncode:
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
