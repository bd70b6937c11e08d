"""The site in a real browser: from a file and from loopback, by mouse and keys, on a telephone, without a script."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from believable import write_believable_run
from click.testing import CliRunner
from made_runs import COUNTER, write_run
from playwright.sync_api import Browser, Page

from joulemark.harness.record import Cell
from joulemark.harness.store import Run
from joulemark.leaderboard.board import Board, make_board, page_name
from joulemark.leaderboard.buildcommand import serving, write_site
from joulemark.leaderboard.commands import leaderboard
from joulemark.leaderboard.site import render_site
from joulemark.leaderboard.submission import Submission, pack, read_submission
from joulemark.meters.errors import UsageError
from joulemark.reports.documents import as_json, view_title
from joulemark.reports.filters import Filters
from joulemark.reports.views import View, make_views

WEB = Path(__file__).parents[2] / "leaderboard" / "web"
HOSTILE = "<img src=x onerror=alert(1)>"
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
    """One model in three does not tell its licence."""
    told = cell.model_info.model_copy(update={"licence": None if cell.model.endswith("0") else "MIT"})
    return cell.model_copy(update={"model_info": told})


def hashed(task: str, items: pd.DataFrame) -> pd.DataFrame:
    """With hashes such as lm-eval makes, and each question from a source of its own, as runs of ours say."""
    own = [hashlib.sha256(f"{task}-{doc}".encode()).hexdigest() for doc in items["doc_id"]]
    return items.assign(doc_hash=own, cluster=items["doc_id"].astype(str))


def many(count: int) -> dict[str, tuple[float, float, int]]:
    """Models that are hard to tell apart: better ones take more energy, with some that do worse."""
    return {
        f"m{n}": (0.3 + 0.6 * n / count - 0.25 * (n % 5 == 3), 0.001 * 1.05**n, 1000 * (n + 1)) for n in range(count)
    }


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
    crowd = usual | {"tasks": ("dates",), "items": 40, "repeats": 2}
    runs = [
        write_run(folder / "a", models, run_id="run-a", **usual),
        write_run(folder / "b", many(12), run_id="run-b", meter=COUNTER, seed=2, **usual),
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


def one_of_each(site: Site) -> list[str]:
    """A page of every kind, by the names most likely to break one."""
    run = next(run.page for run in site.board.runs if run.id == "RUN/c")
    return ["index.html", "method.html", "task/dates.html", f"model/{page_name(HOSTILE)}.html", f"run/{run}.html"]


def table(page: Page) -> list[dict[str, str]]:
    """The table as a reader sees it, by the headings' first words."""
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


def shown(page: Page) -> list[tuple[str, str, str]]:
    return [(row["Model"], row["Rank"], row["Frontier"]) for row in table(page)]


def ranked(site: Site, view: View, **how: Any) -> list[dict[str, Any]]:
    """What `joulemark rank --json` prints of such a view of the runs themselves."""
    same = [
        v
        for v in make_views(site.runs, **how)
        if (v.task, v.hardware, v.grade) == (view.task, view.hardware, view.grade)
    ]
    rows: list[dict[str, Any]] = as_json(same)["views"][0]["rows"] if same else []
    return rows


@pytest.mark.parametrize("how", ["file", "loopback"])
def test_every_page_opens_without_a_complaint_or_a_request_to_anybody_else(
    opened: Callable[..., Page], site: Site, loopback: str, how: str
) -> None:
    said: list[str] = []
    asked: list[str] = []

    def watch(page: Page) -> None:
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda problem: said.append(str(problem)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))

    base = loopback if how == "loopback" else f"{site.path.as_uri()}/"
    for path in one_of_each(site):
        page = opened(path, base=base, watch=watch)
        assert page.locator("h1").inner_text()
        assert page.locator("img, iframe").count() == 0
    assert said == []
    assert len(asked) > len(one_of_each(site))
    assert [url for url in asked if not url.startswith((base, "data:"))] == []


def test_each_view_has_the_order_ranks_and_frontier_of_rank_json(opened: Callable[..., Page], site: Site) -> None:
    page = opened()
    for each in site.board.views:
        page.evaluate("id => { location.hash = 'view=' + id; }", each.id)
        page.wait_for_function(
            "title => document.querySelector('#view-title').textContent === title", arg=view_title(each.view)
        )
        want = told(ranked(site, each.view))
        assert len(want) == len(each.view.rows)
        assert shown(page) == want[:50]


def test_the_files_beside_are_those_of_rank_json(site: Site) -> None:
    whole = json.loads((site.path / "data" / "rank.json").read_text(encoding="utf-8"))
    want = json.loads(json.dumps(as_json(make_views(site.runs))))
    assert [view["task"] for view in whole["views"]] == [view["task"] for view in want["views"]]
    names = ("model", "rank", "rank_low", "rank_high", "frontier", "tied_with_first")
    for got, own in zip(whole["views"], want["views"], strict=True):
        assert [[row[name] for name in names] for row in got["rows"]] == [
            [row[name] for name in names] for row in own["rows"]
        ]
        for row, other in zip(got["rows"], own["rows"], strict=True):
            assert row["quality"] == pytest.approx(other["quality"], rel=1e-6)
            assert row["energy_wh_per_1k"] == pytest.approx(other["energy_wh_per_1k"], rel=1e-6)


@pytest.mark.parametrize(
    ("hash_", "how"),
    [
        ("params=6000", {"filters": Filters(max_params=6000)}),
        ("licence=MIT", {"filters": Filters(licences=("MIT",))}),
        ("budget=0.0013", {"filters": Filters(budget_wh=0.0013)}),
        ("floor=55", {"quality_floor": 55.0}),
        ("floor=0", {"quality_floor": 0.0}),
        (
            "floor=40&params=9000&licence=MIT",
            {"quality_floor": 40.0, "filters": Filters(max_params=9000, licences=("MIT",))},
        ),
    ],
)
def test_what_filters_leave_is_ranked_as_rank_ranks_it_alone(
    opened: Callable[..., Page], site: Site, hash_: str, how: dict[str, Any]
) -> None:
    """Ranks, ranges and order just so; a frontier may stay unclear where draws without the others would decide."""
    page = opened()
    for task in ("all", "units"):
        id_, view = next((e.id, e.view) for e in site.board.views if e.view.task == task and e.view.grade == "counter")
        want = told(ranked(site, view, **how))
        page.goto("about:blank")
        page.goto(f"{site.path.as_uri()}/index.html#view={id_}&{hash_}")
        got = shown(page)
        assert 1 < len(want) <= len(view.rows)
        assert [row[:2] for row in got] == [row[:2] for row in want]
        for (_, _, own), (_, _, other) in zip(got, want, strict=True):
            assert own in (other, "unclear")
        assert [row[2] for row in want].count("dominated") == [row[2] for row in got].count("dominated")


def test_the_address_restores_what_a_reader_chose(opened: Callable[..., Page]) -> None:
    page = opened()
    page.locator("#task").select_option("units")
    page.locator("#grade").select_option("counter")
    page.locator("#search").fill("m")
    page.locator("#params").select_option("10000")
    page.locator("#floor").fill("31")
    page.get_by_role("button", name="Quality").click()
    page.locator("#table .pin").first.click()
    again = opened(page.url.rpartition("/")[2])
    assert table(again) == table(page)
    assert len(table(page)) == 10
    assert again.locator("#floor-told").inner_text() == "31 points"
    assert again.locator("#table .pin[aria-pressed=true]").count() == 1
    assert again.locator("[aria-sort=descending]").inner_text().startswith("Quality")
    quality = [float(row["Quality"].split()[0]) for row in table(again)]
    assert quality == sorted(quality, reverse=True)


def test_an_empty_table_says_which_filter_hides_what_and_each_can_be_dropped(
    opened: Callable[..., Page], site: Site
) -> None:
    id_, view = site.view("all", "EPYC")
    page = opened(f"index.html#view={id_}&q=nobody&licence=GPL")
    words = page.locator("#table").inner_text()
    assert f"hides {len(view.rows)} of {len(view.rows)}" in words
    assert "licence GPL" in words
    assert "do not tell" not in words or "of which" in words
    page.get_by_role("button", name="Drop the filter licence").click()
    page.get_by_role("button", name="Drop the filter name").click()
    assert len(table(page)) == len(view.rows)


def test_rows_come_fifty_a_page_and_what_is_missing_sorts_last_both_ways(
    opened: Callable[..., Page], site: Site
) -> None:
    id_, view = site.view("dates", "Other")
    page = opened(f"index.html#view={id_}")
    first = shown(page)
    page.get_by_role("button", name="Next").click()
    rest = shown(page)
    assert len(first) == 50
    assert [row[0] for row in first + rest] == [row.label for row in view.rows]
    for _ in range(2):
        page.get_by_role("button", name="Licence").click()
        page.evaluate("location.hash += '&page=2'")
        page.wait_for_function("document.querySelector('#turn').textContent.includes('page 2')")
        assert table(page)[-1]["Licence"] == "\u2013"


def test_keys_alone_reach_a_point_tell_it_and_pin_it(opened: Callable[..., Page], site: Site) -> None:
    id_, view = site.view("all", "EPYC")
    page = opened(f"index.html#view={id_}")
    page.locator("#chart").focus()
    page.keyboard.press("End")
    dearest = max(view.rows, key=lambda row: row.energy_wh_per_1k or 0.0)
    assert page.locator("#said").inner_text().startswith(f"{dearest.label}:")
    assert page.locator("#tip b").inner_text() == dearest.label
    assert page.locator("tr.lit th > a").inner_text() == dearest.label
    page.keyboard.press("Enter")
    assert page.locator("tr.pinned th > a").all_inner_texts() == [dearest.label]
    reached = set()
    page.locator("body").evaluate("body => body.querySelector('#task').focus()")
    for _ in range(60):
        reached.add(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
            )
        )
        page.keyboard.press("Tab")
    assert {
        "task",
        "hardware",
        "grade",
        "search",
        "floor",
        "budget",
        "clear",
        "chart",
        "copy",
        "csv",
        "json",
        "pin",
    } <= reached


def test_the_mouse_links_chart_and_table(opened: Callable[..., Page], site: Site) -> None:
    id_, view = site.view("all", "EPYC")
    page = opened(f"index.html#view={id_}")
    page.locator("#chart").focus()
    page.keyboard.press("Home")
    beside = page.locator("#tip").bounding_box()
    cheapest = min(view.rows, key=lambda row: row.energy_wh_per_1k or 9.0)
    page.keyboard.press("Escape")
    assert beside
    assert not page.locator("#tip").is_visible()
    page.mouse.move(beside["x"] - 10, beside["y"] + beside["height"] / 2)
    assert page.locator("#tip b").inner_text() == cheapest.label
    assert page.locator("tr.lit th > a").inner_text() == cheapest.label
    page.mouse.down()
    page.mouse.up()
    assert page.locator("tr.pinned th > a").all_inner_texts() == [cheapest.label]


def test_downloads_hold_the_rows_that_are_shown_and_no_formula(opened: Callable[..., Page], site: Site) -> None:
    id_, view = next((e.id, e.view) for e in site.board.views if e.view.task == "all" and e.view.grade == "modelled")
    page = opened(f"index.html#view={id_}&params=500000")
    files = {}
    for name in ("CSV", "JSON"):
        with page.expect_download() as caught:
            page.get_by_role("button", name=name, exact=True).click()
        files[name] = Path(caught.value.path()).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(files["CSV"])))
    want = [row for row in view.rows if (row.params or 0) <= 500_000]
    assert [row["model"].removeprefix("'") for row in rows] == [row.model for row in want]
    assert not any(value.startswith(("=", "+", "@")) for row in rows for value in row.values())
    whole = json.loads(files["JSON"])
    assert [row["label"] for row in whole["rows"]] == [row.label for row in want]
    assert whole["filters"] == ["up to 500k parameters"]
    guesser = next(row for row in whole["rows"] if row["model"] == "guesser")
    assert guesser["rank"] is None
    assert guesser["correct_per_wh"] is None


def test_without_a_script_the_first_view_is_a_table_and_every_task_a_link(
    opened: Callable[..., Page], site: Site
) -> None:
    page = opened(java_script_enabled=False)
    labels = page.locator("#table tbody th").all_inner_texts()
    assert labels == [row.label for row in site.board.views[0].view.rows][:50]
    assert not page.locator("#controls").is_visible()
    links = [link.get_attribute("href") for link in page.locator("main a").all()]
    assert "task/units.html" in links
    assert all((site.path / str(link).partition("#")[0]).is_file() for link in links)


@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (390, "dark"), (1180, "light"), (1180, "dark")])
def test_axe_finds_nothing_that_keeps_people_out(
    opened: Callable[..., Page], site: Site, width: int, theme: str
) -> None:
    once = ["index.html#q=nobody", *one_of_each(site)[1:]]
    for path in ["index.html", *(once if (width, theme) in ((390, "dark"), (1180, "light")) else [])]:
        found = Axe().run(opened(path, width, color_scheme=theme))
        assert found.response["passes"]
        assert found.violations_count == 0, path + found.generate_report()


@pytest.mark.parametrize("width", [320, 360])
def test_on_a_telephone_no_page_scrolls_sideways_and_no_number_is_cut(
    opened: Callable[..., Page], site: Site, width: int
) -> None:
    for path in one_of_each(site):
        page = opened(path, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    cut = opened("index.html", width).evaluate(
        """() => { const edge = document.querySelector("#table .scroll").getBoundingClientRect().right;
            return [...document.querySelectorAll("#table td.num")].filter(cell => {
                const own = document.createRange();
                own.selectNodeContents(cell);
                return [...own.getClientRects()].some(r => r.width && r.left < edge - 1 && r.right > edge + 1); })
            .map(cell => cell.textContent); }"""
    )
    assert cut == []


def test_on_paper_nothing_is_cut_off_and_no_control_is_left(opened: Callable[..., Page]) -> None:
    page = opened(width=718)
    page.emulate_media(media="print")
    cut = page.evaluate(
        """() => [...document.querySelectorAll("table, canvas")].filter(e => e.getClientRects().length)
            .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).length"""
    )
    assert cut == 0
    assert not page.locator("#controls").is_visible()
    assert page.locator("#chart").is_visible()


def test_the_same_submissions_give_the_same_bytes_in_any_order(site: Site) -> None:
    again = render_site(make_board(site.sent[::-1]))
    on_disk = {
        path.relative_to(site.path).as_posix(): path.read_bytes() for path in site.path.rglob("*") if path.is_file()
    }
    assert again == on_disk


def test_whole_links_stand_only_where_a_base_is_given(site: Site) -> None:
    made = render_site(site.board, "https://board.example/x/")
    assert b'<link rel="canonical" href="https://board.example/x/task/units.html">' in made["task/units.html"]
    plain = (site.path / "task" / "units.html").read_text(encoding="utf-8")
    assert re.findall(r'(?:href|src)="(?:https?:)?//', plain) == []


def test_names_of_strangers_stay_inside_the_site_and_apart(site: Site) -> None:
    names = ["../../up", "..", "a/b", "a-b", "A-b", "a b", "con:", "x" * 300, "\u0000", "a-b-12345678", HOSTILE]
    pages = [page_name(name) for name in names]
    assert len(set(pages)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,79}", page) for page in pages)
    html = [path.read_text(encoding="utf-8") for path in site.path.rglob("*.html")]
    assert sum("&lt;img src=x" in text for text in html) > 2
    assert not any("<img" in text for text in html)


def test_a_site_replaces_an_older_one_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_site({"data.js": b"1", "old.html": b""}, out)
    write_site({"data.js": b"2"}, out)
    assert [path.name for path in out.iterdir()] == ["data.js"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("work")
    with pytest.raises(UsageError, match="other files"):
        write_site({"data.js": b"2"}, tmp_path / "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]


def test_from_a_store_to_a_site_by_the_command_line(tmp_path: Path) -> None:
    run = write_believable_run(tmp_path / "run")
    (tmp_path / "s.json").write_bytes(pack(run))
    asked = CliRunner()
    store, out = str(tmp_path / "store"), str(tmp_path / "out")
    added = asked.invoke(leaderboard, ["add", str(tmp_path / "s.json"), "--store", store])
    assert "accepted" in added.output
    built = asked.invoke(leaderboard, ["build", "--store", store, "--out", out])
    assert built.exception is None
    assert (tmp_path / "out" / "index.html").is_file()


def test_the_committed_script_was_built_from_the_committed_sources() -> None:
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(WEB.glob("*.ts")))).hexdigest()
    script = (WEB.parent / "static" / "board.js").read_text(encoding="utf-8")
    assert script.startswith(f"// Built from leaderboard/web, sha256 {digest}\n"), "run `npm ci && npm run build` there"
