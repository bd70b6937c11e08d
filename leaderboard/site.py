"""The static site: pages, data and scripts, each a file's bytes; the same store gives the same bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.resources import files
from typing import Any

from joulemark.reports.apart import work_apart
from joulemark.reports.documents import MOST_ROWS
from joulemark.reports.html import templates
from joulemark.reports.method import method_of_board
from joulemark.reports.views import ALL
from joulemark.reports.wording import number, reach, safe

from .board import MANY_ROWS, Board, BoardRun, BoardView
from .changespage import changes_values, feed_values
from .citation import bibtex, cff, version_of
from .columns import as_script
from .datafiles import SUMS, Ledger, data_files, files_table
from .hardwarepages import hardware_pages
from .history import History
from .modelpages import badge_json, model_values
from .names import page_name
from .pairs import MOST_PAIRED
from .runpages import run_values
from .sections import Place, once, places_by_model, section, task_title, views_by
from .sitemap import sitemap_files
from .tablerows import board_row, figure, model_row, with_unit

__all__ = ["FIRST_ROWS", "render_site", "site_files"]

FIRST_ROWS = 50
"""Rows of the board's first page; its script turns to the others."""

Made = Iterator[tuple[str, bytes]]
Page = tuple[str, str, Callable[[], Mapping[str, Any]]]
"""Path, template, and what gives the values."""


def render_site(board: Board, base_url: str | None = None, history: History | None = None) -> dict[str, bytes]:
    """Every file of the site by its path; arguments as `site_files` takes them."""
    made: dict[str, list[bytes]] = defaultdict(list)
    for path, piece in site_files(board, base_url, history):
        made[path].append(piece)
    return {path: b"".join(pieces) for path, pieces in sorted(made.items())}


def site_files(board: Board, base_url: str | None = None, history: History | None = None) -> Made:
    """Every file's path and content, one at a time, so that a large site need not fit into memory.

    A path that comes again goes on: what comes is a further piece of that file.

    Args:
        board: What to show.
        base_url: Where it will stand, for links that must be whole; pages link each other without it.
        history: What the store accepted; None: the board alone, without submissions, index and feed.

    Raises:
        Refused: A file of the store is not as it was accepted.
    """
    base, history, ledger = (base_url or "").rstrip("/"), history or History(), Ledger()
    models = places_by_model(once(board.views))
    for made in _beside(board, base, history, models):
        yield ledger.note(*made)
    render = _renderer(base, history)
    for made in _in_processes(board, history, [*_pages(board, base, history, models)], render):
        yield ledger.note(*made)
    for run in history.past_runs():
        values = partial(run_values, run, (), history.by_sha256[run.sha256])
        yield ledger.note(*render(f"run/{run.page}.html", "run.html.j2", values))
    yield SUMS, ledger.sums()
    about = {
        "files": files_table(board, ledger),
        "bibtex": bibtex(history, base),
        "version": version_of(history),
        "stored": history.store is not None,
    }
    yield ledger.note(*render("data.html", "data.html.j2", lambda: about))
    if base:
        yield from sitemap_files(sorted(name for name in ledger.sizes if name.endswith(".html")), base)


def _beside(board: Board, base: str, history: History, models: Mapping[str, list[Place]]) -> Made:
    """All that is no page."""
    for file in (files("joulemark.leaderboard") / "static").iterdir():
        yield file.name, file.read_bytes()
    yield from data_files(board, history)
    for name, places in models.items():
        yield f"badge/{page_name(name)}.json", badge_json(places)
    yield "CITATION.cff", cff(history, base).encode()
    yield "citation.bib", bibtex(history, base).encode()


def _in_processes(board: Board, history: History, pages: Sequence[Page], render: Any) -> Made:
    """The data of the board's page, which take longest, and these pages."""

    def make(page: Page | None) -> tuple[str, bytes]:
        return render(*page) if page else ("data.js", as_script(board, history.successors).encode())

    yield from work_apart(make, [None, *pages], few=board.rows < MANY_ROWS)


def _renderer(base: str, history: History) -> Any:
    """What makes a page of its path, template and values."""
    rows: dict[str, Callable[..., Any]] = {
        "board_row": board_row,
        "model_row": model_row,
        "figure": figure,
        "with_unit": with_unit,
    }
    pages = templates("joulemark.leaderboard", page_name=page_name, safe_text=safe, reach=reach, number=number, **rows)
    feed = history.newest is not None

    def render(path: str, template: str, values: Callable[[], Mapping[str, Any]]) -> tuple[str, bytes]:
        common = {
            "root": "../" * path.count("/"),
            "canonical": f"{base}/{path}" if base else "",
            "path": path,
            "feed": feed,
        }
        return path, pages.get_template(template).render(**common, **values()).encode()

    return render


def _pages(board: Board, base: str, history: History, models: Mapping[str, list[Place]]) -> Iterator[Page]:
    views, hardware = board.views, hardware_pages(board)
    tasks = views_by("task", views)
    counts = {"runs": len(board.runs), "models": len(models), "tasks": len(tasks.keys() - {ALL})}
    titles = [(task_title(name), page_name(name)) for name in tasks]
    kinds = [(safe(name), page_name(name)) for name in hardware]
    yield (
        "index.html",
        "index.html.j2",
        lambda: {
            "section": section(views[0], FIRST_ROWS),
            "counts": counts,
            "tasks": titles,
            "hardware": kinds,
        },
    )
    how = {"sections": method_of_board([each.view for each in views]), "most_paired": MOST_PAIRED}
    yield "method.html", "method.html.j2", lambda: how
    yield "compare.html", "compare.html.j2", lambda: {"tasks": titles}
    for name, own in tasks.items():
        yield f"task/{page_name(name)}.html", "task.html.j2", partial(_task, name, own)
    for name, values in hardware.items():
        yield f"hardware/{page_name(name)}.html", "hardware.html.j2", values
    pages = {run.id: run.page for run in board.runs}
    for name, places in models.items():
        yield f"model/{page_name(name)}.html", "model.html.j2", partial(model_values, name, places, pages, base)
    yield from _runs(board, history)
    yield "changes.html", "changes.html.j2", partial(changes_values, history, board)
    if history.newest is not None:
        yield "feed.xml", "feed.xml.j2", partial(feed_values, history, board, base)


def _task(name: str, own: list[BoardView]) -> dict[str, Any]:
    sections = [section(each, MOST_ROWS) | {"hardware": each.view.hardware} for each in own]
    return {"title": task_title(name), "sections": sections}


def _runs(board: Board, history: History) -> Iterator[Page]:
    """Those that views have."""
    views: dict[str, list[BoardView]] = defaultdict(list)
    for each in board.views:
        for run_id in dict.fromkeys(row.run_id for row in each.view.rows):
            views[safe(run_id)].append(each)
    for run in _runs_once(board):
        change = history.by_sha256.get(run.sha256)
        yield f"run/{run.page}.html", "run.html.j2", partial(run_values, run, views[run.id], change)


def _runs_once(board: Board) -> Iterable[BoardRun]:
    """Each run by its page: an index that was merged by hand may have one twice."""
    return {run.page: run for run in board.runs}.values()
