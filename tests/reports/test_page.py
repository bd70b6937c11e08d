"""The report page in a real browser: what a reader, a telephone, a printer and a screen reader get."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from made_runs import COUNTER
from playwright.sync_api import Browser, Page

from joulemark.harness.record import Cell, Phases
from joulemark.harness.store import Run
from joulemark.meters.carbon import CarbonIntensity
from joulemark.reports.context import make_context
from joulemark.reports.documents import as_json
from joulemark.reports.findings import headline
from joulemark.reports.html import page as report_page
from joulemark.reports.views import View, make_views
from joulemark.reports.world import World

PAGES = ("plain", "context", "mixed", "missing")
THEMES = ("light", "dark")
WORLD = World(
    carbon=CarbonIntensity(g_per_kwh=400.0, source="a test", year=None),
    price_per_kwh=0.3,
    yearly_queries=1e9,
    growth=0.3,
)


def spent(cell: Cell) -> Cell:
    """A cell that tells its phases."""
    assert cell.energy is not None
    assert cell.energy.net_j is not None
    net_j = cell.energy.net_j
    phases = Phases(load_j=5.0, warmup_j=1.0, prefill_j=0.5 * net_j, decode_j=0.3 * net_j, other_j=0.2 * net_j)
    return cell.model_copy(update={"phases": phases})


def without_energy_in_a_task(cell: Cell) -> Cell:
    lacks = cell.model == "dense-60k" and cell.task == "dates"
    return cell.model_copy(update={"energy": None}) if lacks else spent(cell)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory, write: Callable[..., Run]) -> dict[str, tuple[str, list[View]]]:
    """Each kind of page as an address, and the views that it shows."""
    folder = tmp_path_factory.mktemp("pages")
    small: dict[str, Any] = {"tasks": ("dates", "units"), "items": 60, "compact": False, "change": spent}
    plain = write(folder / "a", **small)
    counted = write(folder / "b", run_id="run-2", **small | {"meter": COUNTER})
    lacking = write(folder / "c", **small | {"change": without_energy_in_a_task})
    runs = {"plain": [plain], "context": [plain], "mixed": [plain, counted], "missing": [lacking]}
    made = {}
    for name, own in runs.items():
        views = make_views(own, mix=name == "mixed")
        context = make_context(views[:1], WORLD) if name == "context" else None
        file = folder / f"{name}.html"
        file.write_text(report_page(views, own, context), encoding="utf-8")
        made[name] = file.as_uri(), views
    return made


@pytest.fixture
def open_page(browser: Browser, pages: dict[str, tuple[str, list[View]]]) -> Iterator[Callable[..., Page]]:
    """Open a page by its kind in a window of such a width and theme."""
    contexts = []

    def open_it(
        kind: str, width: int = 1280, theme: Any = "light", watch: Callable[[Page], None] | None = None
    ) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        contexts.append(context)
        page = context.new_page()
        if watch:
            watch(page)
        page.goto(pages[kind][0])
        return page

    yield open_it
    for context in contexts:
        context.close()


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_opens_from_a_file_without_a_complaint_or_a_request_to_anywhere(
    open_page: Callable[..., Page], kind: str
) -> None:
    said: list[str] = []
    asked: list[str] = []

    def watch(page: Page) -> None:
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda problem: said.append(str(problem)))
        page.on("request", lambda request: asked.append(request.url))

    opened = open_page(kind, watch=watch)
    assert opened.locator("h1").inner_text()
    assert said == []
    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("kind", PAGES)
def test_axe_finds_nothing_that_keeps_people_out(open_page: Callable[..., Page], kind: str, theme: str) -> None:
    found = Axe().run(open_page(kind, theme=theme))
    assert found.response["passes"]
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("kind", PAGES)
def test_the_document_never_scrolls_sideways(open_page: Callable[..., Page], kind: str, width: int) -> None:
    for theme in THEMES:
        reaches = open_page(kind, width, theme).evaluate("document.documentElement.scrollWidth")
        assert reaches <= width, theme


@pytest.mark.parametrize("kind", PAGES)
def test_words_in_pictures_are_large_enough_on_a_telephone_and_lie_inside(
    open_page: Callable[..., Page], kind: str
) -> None:
    """A letter's height on the screen, by the picture's scale; and no word is cut off at its picture's edge."""
    words = open_page(kind, 360).evaluate(
        """() => [...document.querySelectorAll("svg text")].filter(t => t.getClientRects().length).map(t => {
            const own = t.getBoundingClientRect(), svg = t.ownerSVGElement.getBoundingClientRect();
            const font = parseFloat(getComputedStyle(t).fontSize), to = t.getScreenCTM();
            return {text: t.textContent, size: font * Math.hypot(to.a, to.b),
                    out: Math.max(svg.left - own.left, own.right - svg.right)}; })"""
    )
    drawn = [word for word in words if word["text"].strip()]
    assert len(drawn) > 20
    assert [word for word in drawn if word["size"] < 10.99] == []
    assert [word for word in drawn if word["out"] > 1] == []


@pytest.mark.parametrize("kind", PAGES)
def test_a_printed_page_cuts_no_table_and_no_picture_off(open_page: Callable[..., Page], kind: str) -> None:
    page = open_page(kind, 718)  # A4 less margins of 1 cm, at 96 pixels an inch
    page.emulate_media(media="print")
    cut = page.evaluate(
        """() => [...document.querySelectorAll("table, svg, pre, .formula")].filter(e => e.getClientRects().length)
            .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
            .map(e => e.textContent.trim())"""
    )
    assert cut == []
    assert page.evaluate('getComputedStyle(document.querySelector(".scroll")).overflowX') == "visible"


def test_on_paper_every_task_has_its_table_though_the_reader_folded_it(open_page: Callable[..., Page]) -> None:
    page = open_page("plain", 718)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = false; })")
    seen = "[...document.querySelectorAll('details table')].map(each => each.checkVisibility())"
    assert not any(page.evaluate(seen))
    page.emulate_media(media="print")
    told = page.evaluate(seen)
    assert len(told) >= 2
    assert all(told)


@pytest.mark.parametrize("width", [320, 360, 430])
@pytest.mark.parametrize("kind", ["plain", "context", "missing"])
def test_on_a_telephone_no_number_is_cut_at_the_edge_of_a_table(
    open_page: Callable[..., Page], kind: str, width: int
) -> None:
    cut = open_page(kind, width).evaluate(
        """() => [...document.querySelectorAll(".scroll")].filter(b => b.scrollWidth > b.clientWidth).flatMap(box =>
            [...box.querySelectorAll("td.num")].filter(cell => {
                const own = document.createRange(), edge = box.getBoundingClientRect().right;
                own.selectNodeContents(cell);
                return [...own.getClientRects()].some(r => r.width && r.left < edge - 1 && r.right > edge + 1); })
            .map(cell => box.ariaLabel + ": " + cell.textContent))"""
    )
    assert cut == []


@pytest.mark.parametrize("kind", PAGES)
def test_the_words_on_top_are_those_of_the_results(
    open_page: Callable[..., Page], pages: dict[str, tuple[str, list[View]]], kind: str
) -> None:
    views = pages[kind][1]
    page = open_page(kind)
    assert page.locator("h1").inner_text() == headline(views[0])
    assert page.locator("p.lead").inner_text() == json.loads(json.dumps(as_json(views)))["views"][0]["finding"]


def test_every_figure_of_the_finding_is_one_of_the_results_rounded(
    open_page: Callable[..., Page], pages: dict[str, tuple[str, list[View]]]
) -> None:
    """As a reader would check: each number in the words lies within its own rounding of a number in results.json."""
    page, rows = open_page("plain"), as_json(pages["plain"][1])["views"][0]["rows"]
    names = [name for row in rows for name in (row["label"], row["model"])]
    words = page.locator("p.lead").inner_text()
    for name in sorted(names, key=len, reverse=True):
        words = words.replace(name, "NAME")
    words = words.replace("95\u00a0%", "").replace("95 %", "")
    factor = re.search(r"off by ([\d.]+)\u00d7", words)
    assert factor, "modelled energy says how far its model may be off between models"
    told = re.findall(r"\d[\d,]*\.?\d*", words.replace(factor[0], ""))
    assert len(told) >= 5
    compared = ("quality", "ratio_to_first", "energy_ratio_to_first", "quality_minus_first")
    known = [row[key + end] for row in rows for key in compared for end in ("", "_low", "_high") if row.get(key + end)]
    values = list(chain.from_iterable((abs(value), 1 / abs(value)) for value in known))
    for figure in told:
        digits = figure.replace(",", "")
        half = 0.5 * 10.0 ** -len(digits.partition(".")[2])
        assert any(abs(value - float(digits)) <= half * 1.0001 for value in values), figure
