"""Changes and the feed: what was accepted when, what it superseded, and what differs."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from believable import write_believable_run
from hypothesis import given
from hypothesis import strategies as st
from keeping import BASE, MODELS, Kept, keep, page

from joulemark.leaderboard.board import page_name
from joulemark.leaderboard.differences import Pair, Span
from joulemark.leaderboard.history import tell_history
from joulemark.leaderboard.site import render_site
from joulemark.leaderboard.store import INDEX, read_store

ATOM = "{http://www.w3.org/2005/Atom}"
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def atom(content: bytes) -> tuple[ET.Element, list[ET.Element]]:
    feed = ET.fromstring(content)
    assert feed.tag == f"{ATOM}feed"
    return feed, feed.findall(f"{ATOM}entry")


def text(element: ET.Element, name: str) -> str:
    found = element.findall(f"{ATOM}{name}")
    assert len(found) == 1, f"RFC 4287 asks for exactly one {name}"
    return found[0].text or ""


@pytest.mark.parametrize("address", ["plain", "whole"])
def test_the_feed_keeps_the_rules_of_atom(kept: Kept, address: str) -> None:
    """RFC 4287, 4.1.1 and 4.1.2: one id, title and updated each; an author; an alternate link or content."""
    feed, entries = atom(getattr(kept, address)["feed.xml"])
    assert len(entries) == 3
    for each in (feed, *entries):
        assert urlsplit(text(each, "id")).scheme == "urn"
        assert text(each, "title")
        assert RFC3339.fullmatch(text(each, "updated"))
        links = [(link.get("rel"), link.get("type")) for link in each.findall(f"{ATOM}link")]
        assert ("alternate", "text/html") in links
        assert len(links) == len(set(links))
        assert all(link.get("href") for link in each.findall(f"{ATOM}link"))
    assert feed.find(f"{ATOM}author/{ATOM}name") is not None
    assert len({text(each, "id") for each in (feed, *entries)}) == 4
    times = [datetime.fromisoformat(text(each, "updated")) for each in entries]
    assert times == sorted(times, reverse=True)
    assert text(feed, "updated") == text(entries[0], "updated")


def test_links_of_the_feed_are_whole_with_an_address_and_lead_somewhere_without(kept: Kept) -> None:
    for site, start in ((kept.plain, ""), (kept.whole, f"{BASE}/")):
        feed, entries = atom(site["feed.xml"])
        links = [link.get("href", "") for each in (feed, *entries) for link in each.findall(f"{ATOM}link")]
        assert all(link.startswith(start) and link.removeprefix(start) in site for link in links)
    ids = [[text(each, "id") for each in atom(site["feed.xml"])[1]] for site in (kept.plain, kept.whole)]
    assert ids[0] == ids[1]


def test_a_change_tells_what_it_superseded_and_which_figures_moved(kept: Kept) -> None:
    newest, middle, oldest = kept.history.changes
    assert [change.run_id for change in (newest, middle, oldest)] == ["run-2", "run-1", "RUN/b"]
    (old,) = newest.supersedes
    assert (old.entry.run_id, old.entry.superseded_by) == ("run-1", newest.entry.sha256)
    assert len(old.differences) == len(MODELS) * 2
    for each in old.differences:
        before, after = each.energy.before.value, each.energy.after.value
        assert before is not None
        assert after is not None
        assert after / before == pytest.approx(2, rel=0.1)
        assert each.energy.apart is True
        assert each.quality.apart is False
        assert each.quality.before.value == pytest.approx(each.quality.after.value)
    rows = [row for view in kept.board.views for row in view.view.rows if view.view.task == "units"]
    told = next(row for row in rows if row.model == "guesser")
    mine = next(each for each in old.differences if (each.model, each.task) == ("guesser", "units"))
    assert mine.energy.after.value == pytest.approx(told.energy_wh_per_1k)
    assert "Of 12 figures that both have, 6 have intervals that part." in page(kept.plain, "changes.html")


def test_a_time_that_is_not_known_is_not_made_up(kept: Kept) -> None:
    other = kept.history.changes[-1]
    assert (other.accepted, other.when) == (False, "2026-01-05T10:00:00Z")
    assert "when it was accepted is not known" in page(kept.plain, "changes.html")
    assert "at a time that is not known" in page(kept.plain, f"run/{page_name('RUN/b')}.html")


def test_an_entry_without_any_time_is_in_the_page_and_not_in_the_feed(kept: Kept, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(kept.store.path, folder)
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    for line in index.values():
        if isinstance(line, dict) and line["run_id"] == "RUN/b":
            line |= {"created_at": "yesterday", "added_at": "<soon>"}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    edited = render_site(kept.board, None, tell_history(read_store(folder)))
    assert len(atom(edited["feed.xml"])[1]) == 2
    assert page(edited, "changes.html").rindex("When it was accepted is not known.") > page(
        edited, "changes.html"
    ).index("run/run-1.html")


def test_a_superseded_run_keeps_its_page_and_file_and_has_no_place_on_the_board(kept: Kept) -> None:
    told = page(kept.plain, "run/run-1.html")
    assert 'Superseded by run <a href="../run/run-2.html">run-2</a>' in told
    assert "On the board" not in told.partition("<main>")[2]
    assert json.loads(kept.plain["data/run/run-1.json"])["run_id"] == "run-1"
    assert b'"run-1"' not in kept.plain["data.js"]
    assert b'"run-1"' not in kept.plain["data/rank.json"]


def test_a_run_that_went_on_is_one_page_and_that_of_its_newest_file(tmp_path: Path) -> None:
    runs = []
    for repeats in (2, 3):
        run = write_believable_run(tmp_path / f"r{repeats}", ("ref/ngram",), ("jm_dates",), items=8, repeats=repeats)
        runs.append((run, "ann", f"2026-02-0{repeats}T10:00:00Z"))
    whole = Kept(keep(tmp_path / "store", *runs))
    (entry,) = whole.store.superseded
    path = f"run/{page_name(entry.run_id)}.html"
    assert "Superseded by" not in page(whole.plain, path)
    assert page(whole.plain, path).count("<td>ok</td>") == 3
    assert f"data/submissions/{entry.sha256}.json" in whole.plain


figures = st.floats(min_value=-1e6, max_value=1e6)


@given(st.tuples(figures, figures), st.tuples(figures, figures))
def test_intervals_part_just_where_they_share_no_point(a: tuple[float, float], b: tuple[float, float]) -> None:
    one, two = (Span(value=min(ends), low=min(ends), high=max(ends)) for ends in (a, b))
    share = max(min(a), min(b)) <= min(max(a), max(b))
    assert Pair(before=one, after=two).apart is Pair(before=two, after=one).apart is not share
    assert Pair(before=one, after=Span(value=1.0, low=None, high=None)).apart is None
