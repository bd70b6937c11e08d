"""What the board says once a reader has filtered it: its words are about the rows that are shown, and no others."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

from made_runs import COUNTER, write_run
from playwright.sync_api import FloatRect, Page
from sites import Site, lit_spot, pinned, ranked, small_site, table

from joulemark.harness.record import Cell
from joulemark.leaderboard.board import BoardView
from joulemark.leaderboard.pairs import MOST_PAIRED
from joulemark.reports.filters import Filters

WHOLE = "About the whole view, without filters:"
MOST = "the most right answers per watt-hour"


def counted(site: Site, task: str = "all") -> BoardView:
    return next(e for e in site.board.views if e.view.task == task and e.view.grade == "counter")


def finding(page: Page) -> str:
    page.wait_for_selector("#table:not([aria-busy=true])")
    return page.locator("#finding").inner_text()


def test_as_soon_as_a_filter_or_a_floor_is_set_the_sentence_is_about_the_rows_that_are_shown(
    opened: Callable[..., Page], site: Site
) -> None:
    each = counted(site)
    page = opened(f"index.html#view={each.id}")
    page.wait_for_function("() => document.querySelector('#notes li')")
    own = page.locator("#finding").inner_text()
    assert WHOLE not in page.locator("#notes").inner_text()
    for control, value, how in (
        ("#search", "m1", {}),
        ("#floor", "60", {"quality_floor": 60.0}),
        ("#params", "10000", {"filters": Filters(max_params=10_000)}),
    ):
        field = page.locator(control)
        field.select_option(value) if control == "#params" else field.fill(value)
        rows = table(page)
        words = finding(page)
        assert words != own
        assert page.locator("#notes").inner_text().startswith(WHOLE)
        placed = [row for row in rows if row["Rank"] != "\u2013"]
        tied = [row["Model"] for row in placed if row["Rank"] == "1" or "(1\u2013" in row["Rank"]]
        if how:
            want = [row for row in ranked(site, each.view, **how) if row["rank"] is not None]
            assert tied == [row["label"] for row in want if row["rank_low"] == 1]
        whom = f"{len(placed)} ranked of {len(rows)}" if len(placed) < len(rows) else str(len(rows))
        assert words.startswith(f"Of the {whom} entrants shown, ")
        names = f"{', '.join(tied[:-1])} and {tied[-1]}" if len(tied) > 1 else tied[0]
        if len(tied) > 3:
            names = f"all {len(tied)}" if len(tied) == len(placed) else str(len(tied))
        assert (f", {names} tie for {MOST}." if len(tied) > 1 else f", {names} gives {MOST}.") in words
        best = max(rows, key=lambda row: float(row["Quality"].split()[0]))
        assert f"The highest quality shown is {best['Quality'].split()[0]} points, of {best['Model']}." in words
        page.get_by_role("button", name="Clear filters").click()
        table(page)
        assert page.locator("#finding").inner_text() == own


def test_words_on_a_part_of_modelled_energy_claim_no_joules_and_say_when_nobody_is_ranked(
    opened: Callable[..., Page], site: Site
) -> None:
    each = next(e for e in site.board.views if e.view.task == "dates" and e.view.hardware.startswith("Other"))
    page = opened(f"index.html#view={each.id}&params=3000")
    assert "by CPU time " in finding(page)
    page.locator("#floor").fill("100")
    assert finding(page).startswith("None of the 3 entrants shown is ranked: ")
    assert {row["Rank"] for row in table(page)} == {"\u2013"}
    page.locator("#search").fill("nobody")
    assert finding(page) == "No entrant passes all filters."


def test_under_a_filter_those_on_the_frontier_are_counted_as_surely_on_it(
    opened: Callable[..., Page], site: Site
) -> None:
    each = counted(site)
    on = [row.label for row in each.view.rows if row.frontier == "on"]
    assert on
    page = opened(f"index.html#view={each.id}")
    table(page)
    assert page.locator("#summary").inner_text().endswith(f" {len(on)} on the frontier.")
    page.locator("#search").fill(on[0])
    rows = table(page)
    assert next(row["Frontier"] for row in rows if row["Model"] == on[0]) == "on"
    left = sum(row["Frontier"] == "on" for row in rows)
    assert page.locator("#summary").inner_text().endswith(f" {left} surely on the frontier.")
    with page.expect_download() as caught:
        page.get_by_role("button", name="CSV", exact=True).click()
    told = list(csv.DictReader(io.StringIO(Path(caught.value.path()).read_text(encoding="utf-8"))))
    assert {(row["exact"], row["frontier_exact"]) for row in told} == {("true", "false")}


def test_a_view_of_more_than_can_be_compared_ranks_a_part_without_ranges(
    opened: Callable[..., Page], site: Site, loopback: str
) -> None:
    """A lowered floor gives ranks to rows that had none: they are as little known as the others."""
    script = (site.path / "data.js").read_text(encoding="utf-8")
    few = script.replace(f'"most_paired":{MOST_PAIRED}', '"most_paired":3')
    assert few != script
    each = counted(site)

    def hinder(page: Page) -> None:
        page.route("**/data.js", lambda route: route.fulfill(body=few, content_type="text/javascript"))

    page = opened(f"index.html#view={each.id}&floor=0", base=loopback, watch=hinder)
    assert [row["Rank"] for row in table(page)] == [f"~{at + 1}" for at in range(len(each.view.rows))]
    with page.expect_download() as caught:
        page.get_by_role("button", name="JSON", exact=True).click()
    rows = json.loads(Path(caught.value.path()).read_text(encoding="utf-8"))["rows"]
    assert {(row["exact"], row["rank_low"], row["rank_high"], row["frontier"]) for row in rows} == {
        (False, None, None, None)
    }
    page.get_by_role("button", name="Clear filters").click()
    assert "~" not in page.locator("#table").inner_text()
    assert "surely" not in page.locator("#summary").inner_text()


def test_a_link_whose_view_or_pins_are_gone_says_so(opened: Callable[..., Page], site: Site) -> None:
    page = opened("index.html#view=gone&pin=m1%40run-b&pin=left%40long-ago")
    words = page.locator("#lost").inner_text()
    assert words.startswith("The link's view is not on this board any more")
    assert words.endswith("Pins that are not on this board any more: left@long-ago.")
    page.locator("#search").fill("m")
    assert not page.locator("#lost").is_visible()
    assert "pin=m1%40run-b" in page.url
    assert "long-ago" not in page.url
    assert not opened(f"index.html#view={counted(site).id}").locator("#lost").is_visible()


def test_pins_of_a_superseded_run_are_those_of_the_run_in_its_place(
    opened: Callable[..., Page], site: Site, loopback: str
) -> None:
    script = (site.path / "data.js").read_text(encoding="utf-8")
    later = script.replace('"successors":{}', '"successors":{"run-0":"run-b"}')
    assert later != script

    def follow(page: Page) -> None:
        page.route("**/data.js", lambda route: route.fulfill(body=later, content_type="text/javascript"))

    pins = "pin=m1%40run-0&pin=m2+%28run-0%29%40run-0"
    page = opened(f"index.html#view={counted(site).id}&{pins}", base=loopback, watch=follow)
    table(page)
    assert sorted(page.locator("tr.pinned th > a").all_inner_texts()) == ["m1", "m2"]
    assert page.locator("#lost").inner_text().startswith("A pinned run was superseded")
    page = opened(f"compare.html#{pins}", base=loopback, watch=follow)
    heads = page.locator("table.facts thead th")
    heads.first.wait_for()
    assert heads.all_inner_texts() == ["m1", "m2"]
    assert page.locator("#said").inner_text() == "A run of the link was superseded: what took its place is shown."


def in_two_settings(cell: Cell) -> Cell:
    """ "m-8" is m in batches of 8."""
    if cell.model != "m-8":
        return cell
    return cell.model_copy(update={"model": "m", "setting": cell.setting | {"batch_size": 8}})


def marked(page: Page) -> list[str]:
    table(page)
    return page.locator("tr.pinned th > a").all_inner_texts()


def test_pins_stay_where_somebody_else_sends_the_same_model(opened: Callable[..., Page], tmp_path: Path) -> None:
    """Rows are called otherwise then, from one board to the next and from view to view; the pin is the same."""
    models = {"m": (0.7, 0.001, 9000), "n": (0.6, 0.002, 8000)}
    ann = write_run(tmp_path / "a", models, run_id="run-a", tasks=("dates", "units"), items=60, meter=COUNTER)
    ben = write_run(
        tmp_path / "b", {"m": (0.7, 0.001, 9000)}, run_id="run-b", tasks=("units",), items=60, meter=COUNTER
    )
    alone, _ = small_site(tmp_path / "alone", {"ann": ann})
    both, board = small_site(tmp_path / "both", {"ann": ann, "ben": ben})
    view = next(each.id for each in board.views if each.view.task == "units" and len(each.view.rows) == 3)
    page = opened(f"index.html#view={view}&pin=m%40run-a", base=both)
    assert marked(page) == ["m (ann)"]
    assert page.locator("#lost").inner_text() == ""
    page.locator("#task").select_option("dates")
    assert marked(page) == ["m"]
    page.locator("tr.pinned .pin").click()
    assert "pin=" not in page.url
    page.locator("#table tr:has(a:text-is('m')) .pin").click()
    page.locator("#task").select_option("units")
    assert "m (ann)" in marked(page)
    page.goto(f"{alone}index.html#pin=m+%28ann%29%40run-a&pin=m+%28ben%29%40run-b")
    assert marked(page) == ["m"]
    assert page.locator("#lost").inner_text() == "Pins that are not on this board any more: m (ben)@run-b."
    page.goto(alone + pinned("m (ann)@run-a", "n@run-a", "m (x)@run-x"))
    assert page.locator("table.facts thead th").all_inner_texts() == ["m", "n"]
    assert page.locator("#said").inner_text() == "Not on this board: m (x)@run-x."


def test_of_a_model_in_several_settings_the_pinned_one_is_found_by_them_and_none_is_guessed(
    opened: Callable[..., Page], tmp_path: Path
) -> None:
    models = {"m": (0.7, 0.001, 9000), "m-8": (0.7, 0.0005, 9000)}
    run = write_run(
        tmp_path / "a", models, run_id="run-a", tasks=("dates",), items=60, meter=COUNTER, change=in_two_settings
    )
    base, _ = small_site(tmp_path / "out", {"ann": run}, successors={"run-0": "run-a"})
    # The first is called so beside others with other threads.
    page = opened("index.html#pin=m+%28batch_size%3D8%2C+threads%3D2%29%40run-a&pin=m%40run-a", base=base)
    assert marked(page) == ["m (batch_size=8)"]
    assert page.locator("#lost").inner_text() == "Pins that are not on this board any more: m@run-a."
    page.evaluate("location.hash = 'pin=m+%28batch_size%3D1%29%40run-0'")
    page.locator("#lost", has_text="A pinned run was superseded").wait_for()
    assert marked(page) == ["m (batch_size=1)"]


def test_a_licence_in_a_link_is_the_choice_that_the_list_shows_however_it_is_written(
    opened: Callable[..., Page], site: Site
) -> None:
    page = opened(f"index.html#view={counted(site).id}&licence=mit")
    assert table(page)
    assert page.locator("#licence").input_value().lower() == "mit"
    assert page.locator("#licence option:checked").inner_text() == "MIT"


def test_of_one_entrant_no_sentence_speaks_as_of_many_and_a_links_floor_is_the_one_that_is_told(
    opened: Callable[..., Page], tmp_path: Path
) -> None:
    models = {"m": (0.7, 0.001, 9000), "n": (0.5, 0.002, 8000), "o": (0.41, 0.003, 8000)}
    run = write_run(tmp_path / "a", models, tasks=("dates",), items=300, meter=COUNTER)
    base, board = small_site(tmp_path / "out", {"ann": run})
    quality = {row.label: row.quality or 0.0 for row in board.views[0].view.rows}
    page = opened("index.html#q=m", base=base)
    assert finding(page) == f"m is the only entrant shown, with {quality['m']:.1f} points of quality."
    page.locator("#search").fill("")
    page.locator("#floor").fill(str(round(quality["n"] + 2)))
    best = f"The highest quality shown is {quality['m']:.1f} points, of m."
    assert finding(page) == f"Of the 3 entrants shown, only m is ranked. {best}"
    page.evaluate("floor => { location.hash = `floor=${floor}`; }", int(quality["n"]) + 0.4)
    page.wait_for_function(
        "before => document.querySelector('#floor').value !== before", arg=str(round(quality["n"] + 2))
    )
    told = page.locator("#floor-told").inner_text()
    with page.expect_download() as caught:
        page.get_by_role("button", name="JSON", exact=True).click()
    applied = json.loads(Path(caught.value.path()).read_text(encoding="utf-8"))["quality_floor"]
    assert told == f"{applied} points"
    assert page.locator("#floor").input_value() == str(applied)


def test_side_by_side_no_figure_loses_its_digits_and_no_line_joins_what_cannot_be_compared(
    opened: Callable[..., Page], site: Site, loopback: str
) -> None:
    """One machine's joules are made a hundredth of the other's, so that figures lie some hundred times apart."""
    id_, view = site.view("dates", "Other")
    start, _, content = (site.path / "data.js").read_text(encoding="utf-8").partition("=")
    told = json.loads(content.rstrip(";\n"))
    first = sum(told["views"]["rows"][: told["views"]["id"].index(id_)])
    energy = told["columns"]["energy"]
    energy[first : first + len(view.rows)] = [value and value / 100 for value in energy[first : first + len(view.rows)]]
    body = f"{start}={json.dumps(told)};"

    def hinder(page: Page) -> None:
        page.route("**/data.js", lambda route: route.fulfill(body=body, content_type="text/javascript"))

    page = opened(f"index.html#view={id_}&beside=all&sort=-energy", base=loopback, watch=hinder)
    table(page)
    two = (
        "rows => rows.flatMap(row => [...row.querySelectorAll('td.num')].slice(0, 2).map(each => each.firstChild.data))"
    )
    figures = [figure for figure in page.locator("#table tbody tr").evaluate_all(two) if figure != "\u2013"]
    assert len(figures) > 90
    assert min(len(figure.replace(",", "").replace(".", "").lstrip("0")) for figure in figures) >= 3
    assert "dotted lines" not in page.locator("#chart-help").inner_text()
    assert "per Wh" not in " ".join(page.locator("#chart svg text").all_text_contents())
    page.locator("#hardware").select_option(label="Other CPU, 2 threads")
    assert "dotted lines" in page.locator("#chart-help").inner_text()
    assert "per Wh" in " ".join(page.locator("#chart svg text").all_text_contents())


def test_on_a_telephone_quality_stands_with_the_name_and_rows_can_be_pinned(
    opened: Callable[..., Page], site: Site
) -> None:
    each = counted(site)
    for width in (390, 360):
        page = opened(f"index.html#view={each.id}", width=width)
        rows = page.locator("#table tbody tr")
        for at, row in enumerate(each.view.rows[:3]):
            name = rows.nth(at).locator("th")
            assert f"{row.quality:.1f} points" in name.inner_text()
            pin = name.get_by_role("button", name=f"Pin {row.label}")
            box, cell = pin.bounding_box(), name.bounding_box()
            assert box
            assert cell
            assert box["x"] >= cell["x"] - 1
            assert box["x"] + box["width"] <= cell["x"] + cell["width"] + 1
            assert min(box["width"], box["height"]) >= 24
            pin.click()
        assert page.locator("tr.pinned").count() == 3
        page = opened("compare.html#pin=m7%40run-b&pin=m9%40run-b", width=width)
        page.locator("#compared[aria-busy=false]").wait_for()
        assert " points" in page.locator("#compared table.wide tbody th").first.inner_text()


def test_a_tip_covers_fewer_points_than_one_that_always_stands_beside_its_own(
    opened: Callable[..., Page], site: Site
) -> None:
    page = opened(f"index.html#view={counted(site).id}")
    chart = page.locator("#chart")
    chart.focus()
    room = chart.bounding_box()
    assert room
    tips, spots = [], []
    for key in ("Home", *["ArrowRight"] * (len(counted(site).view.rows) - 1)):
        page.keyboard.press(key)
        tips.append(page.locator("#tip").bounding_box())
        spots.append(lit_spot(page))
    own, beside = 0, 0
    for tip, (x, y) in zip(tips, spots, strict=True):
        assert tip
        assert room["x"] - 1 <= tip["x"] <= room["x"] + room["width"] - tip["width"] + 1
        assert room["y"] - 1 <= tip["y"] <= room["y"] + room["height"] - tip["height"] + 1
        fits = x + 14 + tip["width"] <= room["x"] + room["width"]
        left = x + 14 if fits else x - 14 - tip["width"]
        own += covered(spots, tip["x"], tip["y"], tip)
        beside += covered(spots, left, y - tip["height"] / 2, tip)
    assert own < beside


def covered(spots: list[tuple[float, float]], left: float, top: float, size: FloatRect) -> int:
    return sum(0 < x - left < size["width"] and 0 < y - top < size["height"] for x, y in spots)


def test_the_chart_has_room_for_intervals_and_shows_them_on_the_frontiers_line(
    opened: Callable[..., Page], site: Site
) -> None:
    id_, view = site.view("dates", "Other")
    page = opened(f"index.html#view={id_}")
    in_order = sorted(view.rows, key=lambda row: row.energy_wh_per_1k or 0.0)
    page.locator("#chart").focus()
    spots = {}
    for key, row in (("Home", in_order[0]), ("End", in_order[-1])):
        page.keyboard.press(key)
        spots[row.label] = lit_spot(page)
    low, high = in_order[0], in_order[-1]
    (_, y_low), (_, y_high) = spots[low.label], spots[high.label]
    per_point = (y_low - y_high) / ((high.quality or 0.0) - (low.quality or 0.0))
    top = max(row.quality_high or 0.0 for row in view.rows)
    room = page.locator("#chart").bounding_box()
    assert room
    assert y_high - (top - (high.quality or 0.0)) * per_point >= room["y"] + 24
    # The dearest has the highest quality: the line goes on to its right, and its interval lies on that.
    page.keyboard.press("Escape")
    x, y = spots[high.label]
    colours = page.evaluate(
        """([x, y]) => { const [points] = document.querySelectorAll("#chart canvas"), pen = points.getContext("2d");
            const read = (x) => [...pen.getImageData(x, y - 6, 1, 13).data];
            const solid = data => data.filter((_, at) => at % 4 < 3 && data[at - at % 4 + 3] > 200);
            return [x + 10, points.width - 14].map(read).map(solid); }""",
        [round(x - room["x"]), round(y - room["y"])],
    )
    near, far = (max(red - green for red, green, _ in zip(*[iter(each)] * 3, strict=True)) for each in colours)
    # Orange has a red far above its green; the interval's brown, on whatever paper, 43 at most.
    assert far > 100
    assert near < 50


def test_one_kind_of_hardware_has_the_same_name_everywhere(opened: Callable[..., Page], site: Site) -> None:
    page = opened()
    told = page.locator("#hardware option").all_inner_texts()
    assert set(told) - {"All hardware, side by side"} == {each.view.hardware for each in site.board.views}
    assert page.locator("#hardware").get_attribute("title") in told
