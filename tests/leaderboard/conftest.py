"""What tests of the leaderboard share: runs that could have been measured, and a site that a browser opens."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from made_runs import COUNTER, write_run

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from keeping import Kept, make_kept
from sites import FORMULA, HOSTILE, Site, hashed, licensed, many, precise

from joulemark.leaderboard.board import make_board
from joulemark.leaderboard.buildcommand import serving, write_site
from joulemark.leaderboard.site import render_site
from joulemark.leaderboard.submission import pack, read_submission

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Three runs on two machines: modelled, counted, and one of 60 models."""
    folder = tmp_path_factory.mktemp("site")
    models = {
        HOSTILE: (0.55, 0.001, 50_000),
        FORMULA: (0.7, 0.002, 200_000),
        "../../up": (0.8, 0.006, 800_000),
        "guesser": (0.0, 0.0005, 4_096),
    }
    usual: dict[str, Any] = {"change": licensed, "change_items": hashed, "tasks": ("dates", "units"), "items": 80}
    other = {"machine_id": "m-2", "cpu_model": "Other CPU"}
    crowd = usual | {"tasks": ("dates",), "repeats": 2}
    runs = [
        write_run(folder / "a", models, run_id="run-a", **usual),
        write_run(folder / "b", many(12), run_id="run-b", meter=COUNTER, seed=2, **usual | {"change": precise}),
        write_run(folder / "c", many(60), run_id="RUN/c", machine=other, **crowd),
    ]
    sent = []
    for run in runs:
        file = folder / f"{run.path.name}.json"
        file.write_bytes(pack(run))
        sent.append(read_submission(file))
    board = make_board(sent)
    write_site(render_site(board), folder / "out")
    return Site(folder / "out", board, runs, sent)


@pytest.fixture
def opened(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Open a page of the site, from its file unless a base is given."""
    contexts = []

    def open_it(path: str = "index.html", width: int = 1180, base: str | None = None, **more: Any) -> Page:
        watch = more.pop("watch", None)
        context = browser.new_context(viewport={"width": width, "height": 900}, **more)
        contexts.append(context)
        page = context.new_page()
        if watch:
            watch(page)
        page.goto((base or f"{site.path.as_uri()}/") + path)
        return page

    yield open_it
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def loopback(site: Site) -> Iterator[str]:
    """The site as `joulemark leaderboard serve` shows it."""
    with serving(site.path, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A store with a history, and its sites."""
    return make_kept(tmp_path_factory.mktemp("kept"))
