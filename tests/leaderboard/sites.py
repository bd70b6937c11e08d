"""A site with everything in it, and how a reader sees its board; what several tests of it share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pandas as pd
from playwright.sync_api import Page

from joulemark.harness.record import Cell
from joulemark.harness.store import Run
from joulemark.leaderboard.board import Board, make_board
from joulemark.leaderboard.buildcommand import write_site
from joulemark.leaderboard.names import page_name
from joulemark.leaderboard.site import render_site
from joulemark.leaderboard.storeindex import entry_of
from joulemark.leaderboard.submission import Submission, pack, parse_submission
from joulemark.reports.documents import as_json
from joulemark.reports.views import View, make_views

HOSTILE = "<img src=x onerror=alert(1)>"
COMPARED = "compare.html#pin=m3%40run-b&pin=m5%40run-b&pin=m5%40RUN%2Fc&pin=guesser%40run-a"
"""Entrants on two machines, measured and modelled, one of them not judged."""
FORMULA = '=HYPERLINK("http://elsewhere.invalid")'


@dataclass(frozen=True)
class Site:
    """A site on disk, and what it was made from."""

    path: Path
    board: Board
    runs: list[Run]
    sent: list[Submission]

    def view(self, task: str, hardware: str) -> tuple[str, View]:
        return next((e.id, e.view) for e in self.board.views if e.view.task == task and hardware in e.view.hardware)


def licensed(cell: Cell) -> Cell:
    """One model in ten does not tell its licence, and another writes it otherwise."""
    licence = {"0": None, "1": "mit"}.get(cell.model[-1], "MIT")
    told = cell.model_info.model_copy(update={"licence": licence})
    return cell.model_copy(update={"model_info": told})


def precise(cell: Cell) -> Cell:
    """Odd ones compute in 8 bits, even ones in 16, and all tell what memory that took."""
    odd = int(cell.model.removeprefix("m")) % 2
    known = licensed(cell)
    info = known.model_info.model_copy(update={"peak_rss_mb": 1200.0 - 600 * odd})
    setting = cell.setting | {"dtype": "int8" if odd else "bfloat16"}
    return known.model_copy(update={"setting": setting, "model_info": info})


def hashed(task: str, items: pd.DataFrame) -> pd.DataFrame:
    """With hashes such as lm-eval makes, and each question from a source of its own, as runs of ours say."""
    own = [hashlib.sha256(f"{task}-{doc}".encode()).hexdigest() for doc in items["doc_id"]]
    return items.assign(doc_hash=own, cluster=items["doc_id"].astype(str))


def many(count: int) -> dict[str, tuple[float, float, int]]:
    """Models that are hard to tell apart: better ones take more energy, with some that do worse."""
    return {
        f"m{n}": (0.3 + 0.6 * n / count - 0.25 * (n % 5 == 3), 0.001 * 1.05**n, 1000 * (n + 1)) for n in range(count)
    }


def one_of_each(site: Site) -> list[str]:
    """A page of every kind, by the names most likely to break one."""
    run = next(run.page for run in site.board.runs if run.id == "RUN/c")
    beside = f"index.html#view={site.view('dates', 'Other')[0]}&beside=all"
    return [
        "index.html",
        beside,
        COMPARED,
        "method.html",
        "task/dates.html",
        f"model/{page_name(HOSTILE)}.html",
        f"run/{run}.html",
    ]


def table(page: Page) -> list[dict[str, str]]:
    """The table as a reader sees it once it is settled, by the headings' first words."""
    page.wait_for_selector("#table:not([aria-busy=true])")
    return page.evaluate(
        """() => { const heads = [...document.querySelectorAll("#table thead th")].map(h => h.innerText.split(" ")[0]);
            return [...document.querySelectorAll("#table tbody tr")].map(row => Object.fromEntries(
                [...row.children].map((cell, at) => [heads[at],
                    (cell.querySelector("a, .mark") ?? cell).innerText.replace(/\\n/g, " ").trim()]))); }"""
    )


def told(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Label, rank with its range, and frontier, as the table has them, of rows of `rank --json`."""
    found = []
    for row in rows:
        low, high = row["rank_low"], row["rank_high"]
        rank = "\u2013" if row["rank"] is None else f"{row['rank']}" + (f" ({low}\u2013{high})" if low != high else "")
        found.append((row["label"], rank, row["frontier"] or "not judged"))
    return found


def lit_spot(page: Page) -> tuple[float, float]:
    """Where in the window the point lies that the chart marks."""
    x, y = page.evaluate(
        """() => { const [, over] = document.querySelectorAll("#chart canvas"), room = over.getBoundingClientRect();
            const { data } = over.getContext("2d").getImageData(0, 0, over.width, over.height), seen = [];
            for (let at = 0; at < data.length / 4; at++) if (data[4 * at + 3]) seen.push(at);
            const middle = all => (Math.min(...all) + Math.max(...all) + 1) / 2;
            return [room.x + middle(seen.map(at => at % over.width)) * room.width / over.width,
                room.y + middle(seen.map(at => Math.floor(at / over.width))) * room.height / over.height]; }"""
    )
    return x, y


def small_site(folder: Path, runs: Mapping[str, Run], successors: Mapping[str, str] | None = None) -> tuple[str, Board]:
    """The address of a site of these runs, by who sent them, and its board."""
    sent = {by: parse_submission(pack(run)) for by, run in runs.items()}
    board = make_board(list(sent.values()), [entry_of(each, by=by, added_at=None) for by, each in sent.items()])
    files = render_site(board)
    if successors:
        gone = json.dumps(successors, separators=(",", ":"))
        files |= {"data.js": files["data.js"].replace(b'"successors":{}', f'"successors":{gone}'.encode())}
    write_site(files, folder)
    return f"{folder.as_uri()}/", board


def pinned(*entrants: str) -> str:
    """The address that compares these, as `label@run`."""
    return "compare.html#" + urlencode([("pin", each) for each in entrants])


def shown(page: Page) -> list[tuple[str, str, str]]:
    return [(row["Model"], row["Rank"], row["Frontier"]) for row in table(page)]


def ranked(site: Site, view: View, **how: Any) -> list[dict[str, Any]]:
    """What `joulemark rank --json` prints of such a view of the runs themselves."""
    same = [
        v
        for v in make_views(site.runs, task=view.task, **how)
        if (v.task, v.hardware, v.grade) == (view.task, view.hardware, view.grade)
    ]
    rows: list[dict[str, Any]] = as_json(same)["views"][0]["rows"] if same else []
    return rows
