"""The site in a real browser: from a file and from loopback, on a telephone, on paper, in light and dark."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from believable import write_believable_run
from click.testing import CliRunner
from playwright.sync_api import Page
from sites import COMPARED, HOSTILE, Site, one_of_each

from joulemark.leaderboard.board import make_board
from joulemark.leaderboard.buildcommand import write_site
from joulemark.leaderboard.commands import leaderboard
from joulemark.leaderboard.names import page_name
from joulemark.leaderboard.site import render_site
from joulemark.leaderboard.submission import pack
from joulemark.meters.errors import UsageError
from joulemark.reports.documents import as_json
from joulemark.reports.views import make_views

WEB = Path(__file__).parents[2] / "leaderboard" / "web"


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


def look(page: Page) -> tuple[str, str]:
    """The paper's colour, and the chart as it is drawn."""
    return page.evaluate(
        "() => [getComputedStyle(document.body).backgroundColor, document.querySelector('canvas')?.toDataURL() ?? '']"
    )


def test_a_reader_chooses_light_or_dark_for_all_pages_and_nothing_flashes(opened: Callable[..., Page]) -> None:
    page = opened(color_scheme="light")
    button = page.locator("#theme")
    as_system = look(page)
    seen = []
    for want in ("light", "dark"):
        button.press("Enter")
        assert button.inner_text() == page.locator("#theme-said").inner_text() == f"Theme: {want}"
        seen.append(look(page))
    assert tuple(seen[0]) == tuple(as_system)
    assert seen[1][0] != seen[0][0]
    assert seen[1][1] != seen[0][1]
    page.add_init_script(
        """new MutationObserver(() => { if (document.body) window.atFirst ??= document.documentElement.dataset.theme; })
            .observe(document, {childList: true, subtree: true});"""
    )
    page.goto(page.url.replace("index.html", "method.html"))
    assert page.evaluate("window.atFirst") == "dark"
    assert look(page)[0] == seen[1][0]
    page.locator("#theme").press("Enter")
    page.reload()
    assert page.locator("#theme").inner_text() == "Theme: system"
    assert look(page)[0] == as_system[0]


def test_a_theme_holds_for_the_page_where_nothing_may_be_stored(opened: Callable[..., Page]) -> None:
    said: list[str] = []

    def forbid(page: Page) -> None:
        page.on("pageerror", lambda problem: said.append(str(problem)))
        page.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('forbidden'); }})")

    page = opened(watch=forbid, color_scheme="light")
    before = look(page)
    page.locator("#theme").click()
    page.locator("#theme").click()
    assert look(page)[0] != before[0]
    assert said == []


def test_without_a_script_colours_are_the_systems(opened: Callable[..., Page]) -> None:
    papers = {}
    for scheme in ("light", "dark"):
        page = opened(java_script_enabled=False, color_scheme=scheme)
        papers[scheme] = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
        assert not page.locator("#theme").is_visible()
    assert papers["light"] == "rgb(255, 255, 255)"
    assert papers["dark"] == "rgb(20, 24, 28)"


@pytest.mark.parametrize(("path", "picture"), [("index.html", "#chart"), (COMPARED, ".panels")])
def test_on_paper_nothing_is_cut_off_and_no_control_is_left(
    opened: Callable[..., Page], path: str, picture: str
) -> None:
    page = opened(path, width=718, color_scheme="dark")
    page.emulate_media(media="print")
    cut = page.evaluate(
        """() => [...document.querySelectorAll("table, canvas, figure")].filter(e => e.getClientRects().length)
            .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).length"""
    )
    assert cut == 0
    assert [each for each in page.locator("button:not(thead button), select, input").all() if each.is_visible()] == []
    assert page.locator(picture).is_visible()
    assert look(page)[0] == "rgb(255, 255, 255)"


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
    data = b"window.joulemarkBoard={}"
    write_site({"data.js": data, "old.html": b""}, out)
    write_site({"data.js": data}, out)
    assert [path.name for path in out.iterdir()] == ["data.js"]
    mine = tmp_path / "mine"
    (mine / ".git").mkdir(parents=True)
    for name, content in {"data.js": data, "index.html": b"", "thesis.txt": b"work"}.items():
        (mine / name).write_bytes(content)
    for name in (".git", "thesis.txt"):
        with pytest.raises(UsageError, match=re.escape(f"other files in it ({name})")):
            write_site({"data.js": data}, mine)
        (mine / name).rename(tmp_path / name)
    (mine / "data.js").write_text("const mine = 1;")
    with pytest.raises(UsageError, match=r"data\.js"):
        write_site({"data.js": data}, mine)
    assert (mine / "index.html").exists()


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


@pytest.mark.parametrize("name", ["board.js", "compare.js", "take.js", "theme.js"])
def test_the_committed_scripts_were_built_from_the_committed_sources(name: str) -> None:
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(WEB.glob("*.ts")))).hexdigest()
    script = (WEB.parent / "static" / name).read_text(encoding="utf-8")
    assert script.startswith(f"// Built from leaderboard/web, sha256 {digest}\n"), "run `npm ci && npm run build` there"
