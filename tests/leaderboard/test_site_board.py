"""The board in a real browser: views, filters, chart and table, by mouse and keys."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import COUNTER, write_run
from playwright.sync_api import Page
from sites import COMPARED, Site, lit_spot, ranked, shown, small_site, table, told

from joulemark.harness.record import Cell
from joulemark.leaderboard.pairs import MOST_PAIRED
from joulemark.reports.documents import view_title
from joulemark.reports.filters import Filters
from joulemark.reports.findings import finding
from joulemark.reports.views import make_views


def test_each_view_has_the_order_ranks_and_frontier_of_rank_json(opened: Callable[..., Page], site: Site) -> None:
    page = opened()
    for each in site.board.views:
        page.evaluate("id => { location.hash = 'view=' + id; }", each.id)
        page.wait_for_function(
            "id => document.querySelector('#files a').getAttribute('href') === `data/${id}.json`", arg=each.id
        )
        want = told(ranked(site, each.view))
        assert len(want) == len(each.view.rows)
        assert shown(page) == want[:50]


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


def test_what_compares_a_views_rows_is_asked_for_when_a_filter_first_needs_it(
    opened: Callable[..., Page], site: Site
) -> None:
    asked: list[str] = []
    page = opened(watch=lambda page: page.on("request", lambda request: asked.append(Path(request.url).stem)))
    id_, view = next((e.id, e.view) for e in site.board.views if e.view.task == "units" and e.view.grade == "counter")
    assert not {each.id for each in site.board.views} & set(asked)
    page.goto(f"{page.url}#view={id_}")
    page.wait_for_function("() => document.querySelector('#finding').textContent !== ''")
    assert asked.count(id_) == 1
    assert page.locator("#finding").inner_text() == finding(view)
    for words in ("m1", "m"):
        page.locator("#search").fill(words)
        table(page)
    page.locator("#search").fill("")
    assert shown(page) == told(ranked(site, view))
    assert asked.count(id_) == 2


def test_ranges_are_said_to_be_unknown_until_what_compares_the_rest_has_come(
    opened: Callable[..., Page], site: Site
) -> None:
    id_, view = next((e.id, e.view) for e in site.board.views if e.view.task == "all" and e.view.grade == "counter")
    watch = """window.seen = []; new MutationObserver(() => {
        const told = document.getElementById("hidden-by"), busy = document.getElementById("table")?.ariaBusy;
        if (told) window.seen.push([told.textContent, busy]); }).observe(document, {childList: true, subtree: true});"""
    page = opened(f"index.html#view={id_}&params=6000", watch=lambda page: page.add_init_script(watch))
    assert shown(page) == told(ranked(site, view, filters=Filters(max_params=6000)))
    seen = page.evaluate("window.seen")
    assert {busy for text, busy in seen if "until these rows are compared anew" in text} == {"true"}
    assert "~" not in seen[-1][0]


@pytest.mark.parametrize("why", ["could not be loaded", "of another day", "too large to compare anew"])
def test_where_nothing_compares_the_rest_ranges_and_frontier_are_unknown_everywhere(
    opened: Callable[..., Page], site: Site, loopback: str, why: str
) -> None:
    id_, view = next((e.id, e.view) for e in site.board.views if e.view.task == "all" and e.view.grade == "counter")
    script = (site.path / "data.js").read_text(encoding="utf-8")
    few = script.replace(f'"most_paired":{MOST_PAIRED}', '"most_paired":3')
    old = re.sub(
        r" \w{6}\"", ' 000000"', (site.path / "data" / "pairs" / f"{id_}.js").read_text(encoding="utf-8"), count=1
    )

    def hinder(page: Page) -> None:
        if why == "could not be loaded":
            page.route("**/data/pairs/*", lambda route: route.abort())
        elif why == "of another day":
            page.route("**/data/pairs/*", lambda route: route.fulfill(body=old, content_type="text/javascript"))
        else:
            page.route("**/data.js", lambda route: route.fulfill(body=few, content_type="text/javascript"))

    page = opened(f"index.html#view={id_}&params=6000", base=loopback, watch=hinder)
    rows = table(page)
    assert ("too large" if "large" in why else "could not be loaded") in page.locator("#hidden-by").inner_text()
    want = ranked(site, view, filters=Filters(max_params=6000))
    assert [row["Model"] for row in rows] == [row["label"] for row in want]
    assert [row["Rank"] for row in rows] == ["\u2013" if row["rank"] is None else f"~{row['rank']}" for row in want]
    assert {row["Frontier"] for row in rows} == {"unknown"}
    assert page.locator("#summary").inner_text().endswith("frontier unknown.")
    assert "who ties with it is not known" in page.locator("#finding").inner_text()
    page.locator("#chart").focus()
    page.keyboard.press("Home")
    assert "frontier: unknown" in page.locator("#tip").inner_text()
    with page.expect_download() as caught:
        page.get_by_role("button", name="JSON", exact=True).click()
    for row in json.loads(Path(caught.value.path()).read_text(encoding="utf-8"))["rows"]:
        assert (row["exact"], row["frontier_exact"]) == (False, False)
        assert {row["rank_low"], row["rank_high"], row["frontier"]} == {None}


def test_words_that_cannot_be_loaded_are_not_those_of_another_view(
    opened: Callable[..., Page], site: Site, loopback: str
) -> None:
    page = opened(base=loopback, watch=lambda page: page.route("**/data/words/*", lambda route: route.abort()))
    first = page.locator("#finding").inner_text()
    assert first == finding(site.board.views[0].view)
    page.evaluate("id => { location.hash = 'view=' + id; }", site.board.views[1].id)
    page.wait_for_function("() => document.querySelector('#finding').textContent.includes('could not be loaded')")
    assert page.locator("#notes li").count() == 0
    page.evaluate("location.hash = ''")
    page.wait_for_function("text => document.querySelector('#finding').textContent === text", arg=first)


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


@pytest.mark.parametrize("path", ["index.html", "index.html#beside=all&q=m1", COMPARED, "index.html#q=nobody"])
def test_the_tab_key_walks_through_every_control(opened: Callable[..., Page], path: str) -> None:
    page = opened(path)
    page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
    unreached = """() => [...document.querySelectorAll("a[href], button, select, input, summary, [tabindex='0']")]
        .filter(each => each.checkVisibility() && !each.disabled && !each.dataset.reached)"""
    steps = page.evaluate(f"({unreached})().length")
    assert steps > 15
    for _ in range(steps):
        page.keyboard.press("Tab")
        page.evaluate("document.activeElement.dataset.reached = 'yes'")
    assert page.evaluate(f"({unreached})().map(each => each.outerHTML)") == []


def test_every_kind_of_control_answers_to_keys(opened: Callable[..., Page], site: Site) -> None:
    id_, _ = site.view("all", "EPYC")
    page = opened(f"index.html#view={id_}")
    for control, key, want in (
        ("#task", "ArrowDown", "view="),
        ("#floor", "ArrowRight", "floor=21"),
        ("#budget", "ArrowLeft", "budget="),
        ("#licence", "ArrowDown", "licence=MIT"),
        ("th button[data-key=quality]", "Enter", "sort=-quality"),
        ("#table .pin >> nth=0", "Space", "pin="),
    ):
        page.locator(control).focus()
        page.keyboard.press(key)
        assert want in page.url
    page.locator("#filters summary").focus()
    page.keyboard.press("Enter")
    assert not page.locator("#search").is_visible()
    page.locator("#compare").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/compare.html#pin=*")


def test_the_mouse_links_chart_and_table(opened: Callable[..., Page], site: Site) -> None:
    id_, view = site.view("all", "EPYC")
    page = opened(f"index.html#view={id_}")
    page.locator("#chart").focus()
    page.keyboard.press("Home")
    spot = lit_spot(page)
    cheapest = min(view.rows, key=lambda row: row.energy_wh_per_1k or 9.0)
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()
    page.mouse.move(*spot)
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


@pytest.mark.parametrize("task", ["all", "dates", "units"])
def test_all_hardware_side_by_side_has_the_rows_of_rank_mix_and_ranks_nothing(
    opened: Callable[..., Page], site: Site, task: str
) -> None:
    want = max((v for v in make_views(site.runs, mix=True) if v.task == task and v.mixed), key=lambda v: len(v.rows))
    page = opened()
    page.locator("#task").select_option(task)
    page.locator("#hardware").select_option(label="All hardware, side by side")
    assert page.locator("#finding").inner_text().endswith("stand side by side and nothing is ranked.")
    rows = table(page)
    assert [row["Model"] for row in rows] == [row.label.partition(" (")[0] for row in want.rows][:50]
    assert [row["Hardware"] for row in rows] == [row.hardware for row in want.rows][:50]
    assert {"Rank", "Frontier"}.isdisjoint(rows[0])
    words = {"counter": "energy counters", "modelled": "a model of power"}
    assert [row["Energy"] for row in rows] == [f"{words[r.grade or '']}, {r.scope}" for r in want.rows][:50]
    kinds = {(row.hardware, row.grade) for row in want.rows}
    assert page.locator("#legend .sign").count() == len(kinds)
    assert page.locator("#legend .sign.hollow").count() == sum(grade == "modelled" for _, grade in kinds)


def test_what_stands_side_by_side_can_be_filtered_restored_and_taken_along(
    opened: Callable[..., Page], site: Site
) -> None:
    page = opened(f"index.html#view={site.view('dates', 'Other')[0]}&beside=all")
    page.locator("#search").fill("m1")
    page.get_by_role("button", name="Quality").click()
    page.locator("#table .pin").first.click()
    again = opened(page.url.rpartition("/")[2])
    assert table(again) == table(page)
    assert {row["Hardware"] for row in table(again)} == {"AMD EPYC 7B13, 2 threads", "Other CPU, 2 threads"}
    assert again.locator("#table .pin[aria-pressed=true]").count() == 1
    with again.expect_download() as caught:
        again.get_by_role("button", name="JSON", exact=True).click()
    told = json.loads(Path(caught.value.path()).read_text(encoding="utf-8"))
    assert {(row["hardware"], row["grade"], row["scope"]) for row in told["rows"]} == {
        ("AMD EPYC 7B13, 2 threads", "counter", "package+dram"),
        ("Other CPU, 2 threads", "modelled", "package"),
    }
    assert {row["rank"] for row in told["rows"]} == {None}
    again.locator("#hardware").select_option(label="Other CPU, 2 threads")
    assert "beside" not in again.url
    assert "Rank" in table(again)[0]


def test_precision_and_memory_leave_those_that_tell_them_and_fit(opened: Callable[..., Page], site: Site) -> None:
    id_, view = next((e.id, e.view) for e in site.board.views if e.view.task == "all" and e.view.grade == "counter")
    page = opened(f"index.html#view={id_}")
    page.locator("#precision").select_option("int8")
    assert {row["Precision"] for row in table(page)} == {"int8"}
    assert len(table(page)) == sum(row.setting["dtype"] == "int8" for row in view.rows)
    page.locator("#precision").select_option("")
    page.locator("#memory").select_option(label="up to 1.0 GiB")
    assert {row["Peak"] for row in table(page)} == {"600 MiB"}


def test_a_long_title_is_shortened_and_can_be_read_whole(opened: Callable[..., Page], site: Site) -> None:
    each = next(e for e in site.board.views if e.view.peculiar and e.view.task == "all" and e.view.grade == "counter")
    page = opened(f"index.html#view={each.id}")
    short = page.locator("#view-title").inner_text()
    page.locator("#asked summary").click()
    whole = page.locator("#asked-told").inner_text()
    assert len(short) < len(view_title(each.view))
    assert view_title(each.view) == short.replace(" on ", f", {whole} on ", 1)


def without_energy(cell: Cell) -> Cell:
    """Of "m" alone energy is known."""
    if cell.model == "m" or cell.energy is None:
        return cell
    unknown = {"gross_j": None, "net_j": None, "u_j": None, "domains": {}}
    return cell.model_copy(update={"energy": cell.energy.model_copy(update=unknown), "flags": ("outside_meter",)})


def test_where_no_row_that_is_shown_has_energy_there_is_no_chart_whose_scale_would_be_made_up(
    opened: Callable[..., Page], tmp_path: Path
) -> None:
    models = {"m": (0.7, 0.001, 9000), "n": (0.6, 0.002, 8000), "o": (0.5, 0.002, 8000)}
    run = write_run(tmp_path / "a", models, tasks=("dates",), items=60, meter=COUNTER, change=without_energy)
    base, _ = small_site(tmp_path / "out", {"ann": run})
    page = opened(base=base)
    assert len(table(page)) == 3
    assert page.locator("#picture").is_visible()
    for name, visible in (("n", False), ("m", True), ("o", False), ("", True)):
        page.locator("#search").fill(name)
        table(page)
        assert page.locator("#picture").is_visible() is visible
