"""The page that compares entrants, in a real browser."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

from playwright.sync_api import Page
from sites import COMPARED, Site, pinned, ranked

from joulemark.leaderboard.board import BoardView
from joulemark.reports.filters import Filters


def counted(site: Site, task: str) -> BoardView:
    return next(e for e in site.board.views if e.view.task == task and e.view.grade == "counter")


def section(page: Page, title: str) -> str:
    """The words under a heading, verdicts and table."""
    return page.locator("#compared section").filter(has=page.get_by_role("heading", name=title)).inner_text()


def sure(words: str) -> set[tuple[str, str]]:
    """Who is said to surely give more than whom."""
    told = re.findall(r"^(.+) surely gives more right answers per Wh than (.+)\.$", words, re.M)
    return {(winner, loser) for winner, losers in told for loser in re.split(r", | and ", losers)}


def test_pins_of_the_board_lead_to_their_comparison(opened: Callable[..., Page], site: Site) -> None:
    page = opened(f"index.html#view={counted(site, 'all').id}")
    assert not page.locator("#compare").is_visible()
    for at in (0, 2):
        page.locator("#table .pin").nth(at).click()
    labels = page.locator("tr.pinned th > a").all_inner_texts()
    page.get_by_role("link", name="Compare pinned").click()
    heads = page.locator("table.facts thead th")
    heads.first.wait_for()
    assert heads.all_inner_texts() == labels
    boxes = [box.input_value() for box in page.locator("#chosen input").all()]
    assert [box.partition(" [")[0] for box in boxes] == [*labels, "", ""]


def test_what_is_called_sure_is_what_rank_finds_among_these_alone(opened: Callable[..., Page], site: Site) -> None:
    found = set()
    for task, title in (("all", "All 2 tasks"), ("dates", "Task dates"), ("units", "Task units")):
        view = counted(site, task).view
        want = ranked(site, view, filters=Filters(max_params=4_000), quality_floor=-1.0)
        names = [row["label"] for row in want]
        assert len(names) == 4
        page = opened(pinned(*(f"{name}@run-b" for name in names)))
        words = section(page, title)
        pairs = sure(words)
        judged = [row for row in want if row["rank"] is not None]
        for row in judged:
            assert sum(loser == row["label"] for _, loser in pairs) == row["rank_low"] - 1
            assert sum(winner == row["label"] for winner, _ in pairs) == len(judged) - row["rank_high"]
        for one, other in itertools.combinations([row["label"] for row in judged], 2):
            said = f"{one} and {other}" in words or f"{other} and {one}" in words
            assert said or {(one, other), (other, one)} & pairs
        found |= pairs
    assert found


def test_entrants_measured_apart_stand_side_by_side_and_nothing_between_them_is_called_sure(
    opened: Callable[..., Page],
) -> None:
    page = opened(COMPARED)
    words = section(page, "Task dates")
    assert "Energy across these cannot be compared" in words
    assert sure(words) <= {("m5 [run-b]", "m3 [run-b]"), ("m3 [run-b]", "m5 [run-b]")}
    assert "Other CPU, 2 threads" in words
    assert page.locator(".panels figure").count() == 3
    dates = page.locator(".panels figure").filter(has_text="dates")
    assert dates.locator(".sign.hollow").count() == 2
    assert dates.locator(".name").all_text_contents() == ["m3 [run-b]", "m5 [run-b]", "guesser", "m5 [RUN/c]"]


def test_who_is_not_judged_is_not_compared(opened: Callable[..., Page]) -> None:
    words = section(opened(pinned("guesser@run-a", "../../up@run-a")), "Task dates")
    assert "Not compared, since not judged in this view: guesser." in words
    assert sure(words) == set()


def test_tables_have_the_figures_and_ranks_of_the_views(opened: Callable[..., Page], site: Site) -> None:
    page = opened(pinned("m7@run-b", "m9@run-b"))
    for task, title in (("all", "All 2 tasks"), ("dates", "Task dates")):
        rows = {row.label: row for row in counted(site, task).view.rows}
        own = page.locator("#compared section").filter(has=page.get_by_role("heading", name=title))
        for line in own.locator("tbody tr").all():
            cells = line.locator("th, td").all_inner_texts()
            row = rows[cells[0]]
            assert row.quality is not None
            assert cells[3].split("\n")[0] == f"{row.quality:.1f}"
            assert cells[4].split()[0] == str(row.rank)
            assert f"({row.rank_low}\u2013{row.rank_high})" in cells[4] or row.rank_low == row.rank_high
            assert cells[5].strip() == row.frontier
        assert own.locator("tbody tr").count() == 2


def test_names_are_typed_and_the_address_restores_them(opened: Callable[..., Page]) -> None:
    page = opened("compare.html")
    assert "Choose at least two" in page.locator("#said").inner_text()
    for at, name in enumerate(("m7 [run-b]", "guesser", "nobody")):
        page.locator("#chosen input").nth(at).fill(name)
        page.keyboard.press("Tab")
    assert "No entrant is called \u201cnobody\u201d" in page.locator("#said").inner_text()
    again = opened(page.url.rpartition("/")[2])
    assert again.locator("#compared").inner_text() == page.locator("#compared").inner_text()
    assert again.locator("table.facts thead th").all_inner_texts() == ["m7 [run-b]", "guesser"]
    gone = opened(pinned("m7@run-b", "left@long-ago"))
    assert gone.locator("#said").inner_text() == "Not on this board: left@long-ago."


def test_without_a_script_it_says_so_and_links_every_task(opened: Callable[..., Page]) -> None:
    page = opened(COMPARED, java_script_enabled=False)
    assert page.get_by_text("Comparing needs JavaScript").is_visible()
    assert not page.locator("#chosen").is_visible()
    links = [link.get_attribute("href") for link in page.locator("main a").all()]
    assert {"task/all.html", "task/dates.html", "task/units.html"} <= set(links)
