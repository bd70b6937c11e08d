"""A store whose history a test knows, and the sites that are made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made_runs import COUNTER, write_run

from joulemark.harness.store import Run
from joulemark.leaderboard.board import Board, make_board
from joulemark.leaderboard.history import History, tell_history
from joulemark.leaderboard.site import render_site
from joulemark.leaderboard.store import ACCEPTED, INDEX, Store, read_store
from joulemark.leaderboard.storeindex import Entry, entry_of, index_text
from joulemark.leaderboard.submission import pack, parse_submission

__all__ = ["BASE", "HOSTILE", "MODELS", "Kept", "keep", "make_kept", "page"]

HOSTILE = "<img src=x onerror=alert(1)>"
FORMULA = '=HYPERLINK("http://elsewhere.invalid")'
CPU = ']]> & "Fast" <b>CPU</b> %}{{ 7*7 }}'
BASE = "https://board.example/x"
MODELS = {HOSTILE: (0.55, 0.001, 50_000), FORMULA: (0.7, 0.002, 200_000), "guesser": (0.0, 0.0005, 4_096)}


class Kept:
    """A store, and the sites that are made of it without an address and with one."""

    def __init__(self, folder: Path) -> None:
        self.store: Store = read_store(folder)
        self.board: Board = make_board([self.store.read(entry) for entry in self.store.current], self.store.current)
        self.history: History = tell_history(self.store)
        self.plain = render_site(self.board, None, self.history)
        self.whole = render_site(self.board, f"{BASE}/", self.history)


def keep(folder: Path, *runs: tuple[Run, str | None, str | None]) -> Path:
    """A store of runs, each with who sent it and when, whose names no check has seen."""
    entries: list[Entry] = []
    (folder / ACCEPTED).mkdir(parents=True)
    for run, by, added_at in runs:
        content = pack(run)
        entries.append(entry_of(parse_submission(content), content, by=by, added_at=added_at))
        (folder / ACCEPTED / f"{entries[-1].sha256}.json").write_bytes(content)
    (folder / INDEX).write_text(index_text(entries), encoding="utf-8")
    return folder


def make_kept(folder: Path) -> Kept:
    """A run that its sender measured again with twice the energy, and another one of somebody else's, on a counter."""
    usual: dict[str, Any] = {"tasks": ("dates", "units"), "items": 60, "machine": {"cpu_model": CPU}}
    dearer = {name: (accuracy, 2 * wh, params) for name, (accuracy, wh, params) in MODELS.items()}
    old = write_run(folder / "old", MODELS, run_id="run-1", **usual)
    new = write_run(folder / "new", dearer, run_id="run-2", **usual)
    other = write_run(
        folder / "b", {"m": (0.6, 0.01, 9_000)}, run_id="RUN/b", meter=COUNTER, tasks=("units",), items=60
    )
    runs = [(old, "ann", "2026-02-01T10:00:00Z"), (new, "ann", "2026-02-03T10:00:00Z"), (other, None, None)]
    return Kept(keep(folder / "store", *runs))


def page(site: dict[str, bytes], path: str) -> str:
    return site[path].decode()
