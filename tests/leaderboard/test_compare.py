"""The page that compares entrants, in a real browser."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from made_runs import COUNTER, write_run
from playwright.sync_api import Page
from sites import COMPARED, Site, hashed, pinned, small_site, table

from joulemark.leaderboard.board import BoardView
from joulemark.reports.clauses import workload_factor
from joulemark.reports.contest import rank_entries
from joulemark.reports.placing import Judged
from joulemark.reports.tried import look_at
from joulemark.reports.views import views_of

FLOOR = 20.0
"""Points of quality from which the board ranks."""


def counted(site: Site, task: str) -> BoardView:
    return next(e for e in site.board.views if e.view.task == task and e.view.grade == "counter")


def section(page: Page, title: str) -> str:
    """The words under a heading, verdicts and table."""
    return page.locator("#compared section").filter(has=page.get_by_role("heading", name=title)).inner_text()


def sure(words: str) -> set[tuple[str, str]]:
    """Who is said to surely give more than whom."""
    told = re.findall(
        r"^(?:By CPU time )?(.+) surely gives more right answers per Wh than ([^.\n]+?)(?:, even so .+)?\.$",
        words,
        re.M,
    )
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


def better(judged: Judged | None) -> Any:
    """Who among all that are judged is surely better than whom; where both have a rank, among all that have one."""
    if judged is None:
        return None
    apart = rank_entries(judged.entries.rates, judged.entries.quality).better
    able = np.flatnonzero(judged.entries.quality >= FLOOR)
    if len(able):
        apart[np.ix_(able, able)] = rank_entries(judged.entries.rates.only(able), judged.entries.quality[able]).better
    return judged.rows, apart


def test_what_is_called_sure_is_so_among_all_of_the_view_by_ranks_or_else_by_judgement(
    opened: Callable[..., Page], site: Site
) -> None:
    """Readers pin the extremes: of 66 pairs the six of those that they chose are the likeliest to differ by chance."""
    views, found = views_of([look_at(run) for run in site.runs], beside=better)
    names = ["m0", "m1", "m2", "m3"]
    page, some = opened(pinned(*(f"{name}@run-b" for name in names))), False
    for task, title in (("all", "All 2 tasks"), ("dates", "Task dates"), ("units", "Task units")):
        view, (rows, apart) = next(
            each for each in zip(views, found, strict=True) if each[0].task == task and each[0].grade == "counter"
        )
        number = {view.figures[row].entrant.model: at for at, row in enumerate(rows)}
        words = section(page, title)
        judged = [name for name in names if name in number]
        want = {(a, b) for a, b in itertools.permutations(judged, 2) if apart[number[a], number[b]]}
        assert sure(words) == want
        for one, other in itertools.combinations(judged, 2):
            said = f"{one} and {other}" in words or f"{other} and {one}" in words
            assert said is not bool({(one, other), (other, one)} & want)
        some = some or bool(want)
    assert some


def test_two_that_lie_apart_by_the_chance_of_being_chosen_are_not_called_sure(
    opened: Callable[..., Page], site: Site, loopback: str
) -> None:
    """P 0.004 is little among the six pairs of four entrants, and nothing among the 66 of twelve."""
    each = counted(site, "all")
    script = (site.path / "data" / "pairs" / f"{each.id}.js").read_text(encoding="utf-8")
    even = re.sub(r'"p":\[[^]]*\]', lambda told: '"p":[' + ",".join(["0.004"] * (told[0].count(",") + 1)) + "]", script)

    def hinder(page: Page) -> None:
        page.route("**/data/pairs/*", lambda route: route.fulfill(body=even, content_type="text/javascript"))

    words = section(opened(pinned("m0@run-b", "m11@run-b"), base=loopback, watch=hinder), "All 2 tasks")
    assert sure(words) == set()
    assert "No sure difference in right answers per Wh: m0 and m11." in words


def test_two_whose_ranks_differ_surely_do_so_in_their_comparison_whoever_is_below_the_floor(
    opened: Callable[..., Page], tmp_path: Path
) -> None:
    """P 0.02 makes a first and a second of the only two with a rank, and nothing among all 14 that are judged."""
    low = {f"low{n}": (0.13, 0.001 + 0.0001 * n, 9000) for n in range(12)}
    models = {"first": (0.75, 0.001, 9000), "second": (0.70, 0.00107, 9000), **low}
    run = write_run(tmp_path / "run", models, tasks=("units",), repeats=2, meter=COUNTER, seed=1, change_items=hashed)
    base, board = small_site(tmp_path / "out", {"ann": run})
    rows = board.views[0].view.rows
    assert [row.label for row in rows if row.rank] == ["first", "second"]
    assert len([row for row in rows if row.frontier]) == 14
    page = opened(base=base)
    assert [row["Rank"] for row in table(page)][:2] == ["1", "2"]
    assert "first gives the most right answers per watt-hour" in page.locator("#finding").inner_text()
    page = opened(pinned("first@run-1", "second@run-1", "low0@run-1"), base=base)
    page.locator("#compared[aria-busy=false]").wait_for()
    told = sure(page.locator("#compared").inner_text())
    assert ("first", "second") in told
    assert {("first", "low0"), ("second", "low0")} <= told


def test_a_run_of_one_task_is_told_once_and_in_the_widest_company(opened: Callable[..., Page], tmp_path: Path) -> None:
    """Its views of all tasks and of the task are one; where another run has the task, too, all stand there."""
    models = {"m": (0.7, 0.001, 9000), "n": (0.6, 0.002, 8000)}
    one = write_run(tmp_path / "a", models, run_id="run-a", tasks=("units",), items=60, meter=COUNTER)
    other = {"machine_id": "m-2", "cpu_model": "Other CPU"}
    two = write_run(tmp_path / "b", models, run_id="run-b", tasks=("dates", "units"), items=60, machine=other)
    base, board = small_site(tmp_path / "out", {"ann": one, "ben": two})
    assert len([each for each in board.views if each.view.tasks == ("units",)]) == 3
    page = opened("compare.html", base=base)
    for pins, heads in (
        (("m@run-a", "n@run-a"), ["Task units on AMD EPYC 7B13, 2 threads"]),
        (("m@run-a", "n@run-a", "m@run-b"), ["Task units"]),
        (("m@run-b", "n@run-b"), ["All 2 tasks", "Task dates", "Task units"]),
    ):
        page.evaluate("address => { location.hash = address; }", pinned(*pins).partition("#")[2])
        page.locator(f"table.facts thead th:nth-child({len(pins) + 1}):last-child").wait_for()
        page.locator("#compared[aria-busy=false] section").last.wait_for()
        found = page.locator("#compared section h2").all_inner_texts()[:-1]
        assert [head if head in heads else head.partition(" on ")[0] for head in found] == heads
        assert page.locator(".panels figure").count() == len(heads)


def test_modelled_energy_is_told_as_cpu_time_and_called_sure_only_beyond_what_the_power_model_may_feign(
    opened: Callable[..., Page], site: Site
) -> None:
    views, found = views_of([look_at(run) for run in site.runs], beside=better)
    view, (rows, apart) = next(
        each
        for each in zip(views, found, strict=True)
        if each[0].task == "dates" and each[0].hardware.startswith("Other")
    )
    factor = workload_factor(max(row.rel_u_workload or 0.0 for row in view.rows))

    def beyond(winner: int, loser: int) -> bool:
        low = view.rows[rows[winner]].correct_per_wh_within_low
        return (low or 0.0) >= factor * (view.rows[rows[loser]].correct_per_wh_within_high or 0.0)

    sure_pairs = [pair for pair in itertools.permutations(range(len(rows)), 2) if apart[pair]]
    near, far = (next(pair for pair in sure_pairs if beyond(*pair) is way) for way in (False, True))
    names = {at: view.rows[rows[at]].label for at in (*near, *far)}
    page = opened(pinned(*(f"{name}@RUN/c" for name in names.values())))
    words = (
        page.locator("#compared section").filter(has=page.get_by_role("heading", name="Task dates")).last.inner_text()
    )
    pairs = [pair for pair in itertools.permutations(names, 2) if apart[pair]]
    assert sure(words) == {(names[a], names[b]) for a, b in pairs if beyond(a, b)}
    told = re.findall(
        r"^By CPU time (.+) gives more .+ than (.+); in joules it may be the other way round.$", words, re.M
    )
    open_pairs = {(winner, loser) for winner, losers in told for loser in re.split(r", | and ", losers)}
    assert open_pairs == {(names[a], names[b]) for a, b in pairs if not beyond(a, b)}
    assert all(line.startswith("By CPU time ") for line in words.splitlines() if "more right answers" in line)


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
            assert f"of {len(counted(site, task).view.ranked)}" in cells[4]
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


def test_a_part_of_a_name_that_one_entrant_has_chooses_it_and_one_that_several_have_names_these(
    opened: Callable[..., Page],
) -> None:
    page = opened("compare.html")
    boxes, said = page.locator("#chosen input"), page.locator("#said")
    boxes.nth(0).fill("GUES")
    boxes.nth(0).press("Enter")
    assert boxes.nth(0).input_value() == "guesser"
    boxes.nth(1).fill("m11 b")
    boxes.nth(1).press("Enter")
    assert boxes.nth(1).input_value() == "m11 [run-b]"
    boxes.nth(2).fill("m7")
    boxes.nth(2).press("Enter")
    assert said.inner_text() == "2 entrants have this in their name: m7 [run-b] and m7 [RUN/c]."
    boxes.nth(2).fill("m")
    boxes.nth(2).press("Enter")
    assert "entrants have this in their name: m11 [run-b], " in said.inner_text()
    assert said.inner_text().endswith(" more.")
    boxes.nth(2).fill("guesser")
    boxes.nth(2).press("Enter")
    assert said.inner_text() == "guesser is chosen already."
    assert boxes.nth(2).input_value() == ""
    assert page.locator("table.facts thead th").count() == 2
