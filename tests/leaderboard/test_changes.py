"""Changes and the feed: what was accepted when, what it superseded, and what differs."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from believable import write_believable_run
from hypothesis import given
from hypothesis import strategies as st
from keeping import BASE, MODELS, Kept, keep, page
from made_runs import COUNTER, write_run

from joulemark.leaderboard.board import make_board
from joulemark.leaderboard.differences import Pair, Span
from joulemark.leaderboard.history import tell_history
from joulemark.leaderboard.names import page_name
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
    assert "Of 12 figures that both have, 6 changed by more than their 95 % intervals allow." in page(
        kept.plain, "changes.html"
    )


def test_a_change_is_called_by_what_was_measured_on_what_and_by_whom(kept: Kept) -> None:
    titles = [text(entry, "title") for entry in atom(kept.plain["feed.xml"])[1]]
    assert titles[0].startswith('3 models on ]]> & "Fast" <b>CPU</b> %}{{ 7*7 }}, 2 threads, by ann, measured again: ')
    assert titles[0].endswith(f"{sorted(MODELS)[0]}, {sorted(MODELS)[1]} and 1 more")
    assert titles[2] == "m on AMD EPYC 7B13, 2 threads"
    told = text(atom(kept.plain["feed.xml"])[1][2], "summary")
    assert told == "Task units; energy counter. Run RUN/b: 1 model, 1 task, 3 finished cells."
    assert "m on AMD EPYC 7B13, 2 threads</a></h2>" in page(kept.plain, "changes.html")


@pytest.mark.parametrize("meter", ["rapl:package-0", "perf:package-0"])
def test_another_meter_leaves_its_own_error_in_what_is_called_a_change(tmp_path: Path, meter: str) -> None:
    """A tenth more, by counters that are each 10 % off (k=1): sure of one counter, and not of two."""
    usual: dict[str, Any] = {"meter": COUNTER | {"rel_u_scale": 0.1}, "tasks": ("units",), "items": 60, "spread": 0.002}
    old = write_run(tmp_path / "old", {"m": (0.6, 0.01, 9_000)}, run_id="run-1", **usual)
    new = write_run(tmp_path / "new", {"m": (0.6, 0.011, 9_000)}, run_id="run-2", **usual)
    same = meter == new.header.meters[0].id
    own = new.header.meters[0].model_copy(update={"id": meter})
    new = replace(new, header=new.header.model_copy(update={"meters": (own,)}))
    dates = ("2026-02-01T10:00:00Z", "2026-02-03T10:00:00Z")
    kept = Kept(keep(tmp_path / "store", (old, "ann", dates[0]), (new, "ann", dates[1])))
    (told,) = kept.history.changes[0].supersedes[0].differences
    assert (told.same_meter, told.energy.apart) == (same, same)
    (line,) = json.loads(kept.plain["data/changes.json"])["changes"][0]["supersedes"][0]["differences"]
    assert line["same_meter"] is same
    assert ("another meter" in page(kept.plain, "changes.html").partition("<table")[2]) is not same


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
    link = re.search(r'href="../(data/submissions/[0-9a-f]{64}.json)">All cells', told)
    assert link
    assert json.loads(kept.plain[link[1]])["run"]["run_id"] == "run-1"
    assert b'"run-1"' not in kept.plain["data.js"].replace(b'"successors":{"run-1":"run-2"}', b"")
    assert b'"run-1"' not in kept.plain["data/rank.json"]


def test_a_link_to_a_superseded_run_is_told_which_run_stands_in_its_place_at_last(tmp_path: Path, kept: Kept) -> None:
    assert kept.history.successors == {"run-1": "run-2"}
    assert b'"successors":{"run-1":"run-2"}' in kept.plain["data.js"]
    runs = [write_run(tmp_path / f"{n}", MODELS, run_id=f"run-{n}", tasks=("dates",), items=20) for n in range(3)]
    days = ("2026-02-01T10:00:00Z", "2026-02-02T10:00:00Z", "2026-02-03T10:00:00Z")
    store = read_store(keep(tmp_path / "store", *((run, "ann", day) for run, day in zip(runs, days, strict=True))))
    history = tell_history(store)
    last = next(entry.run_id for entry in store.current)
    assert history.successors == {run.header.run_id: last for run in runs if run.header.run_id != last}


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


def test_rows_of_several_people_are_called_by_who_sent_them(tmp_path: Path) -> None:
    """By the run too where one sent several, and by that alone where nobody is named or the name is long."""
    senders = {"20260105T100000-aaaaa1": "ben", "20260105T100000-aaaaa2": "ann", "20260105T100000-aaaaa3": "ann"}
    senders |= {"20260105T100000-aaaaa4": None, "20260105T100000-aaaaa5": "x" * 41}
    sent = []
    for place, (run_id, by) in enumerate(senders.items()):
        # Each with a model of its own, so that none supersedes another.
        models = {"m": (0.6, 0.01, 9), f"m{place}": (0.6, 0.01, 9)}
        run = write_run(tmp_path / f"{place}", models, run_id=run_id, tasks=("units",), items=20)
        sent.append((run, by, "2026-02-01T10:00:00Z"))
    store = read_store(keep(tmp_path / "store", *sent))
    board = make_board(map(store.read, store.current), store.current)
    (one, _) = board.views
    called = {row.label for row in one.view.rows if row.model == "m"}
    assert called == {"m (ben)", "m (ann aaaaa2)", "m (ann aaaaa3)", "m (aaaaa4)", "m (aaaaa5)"}


figures = st.floats(min_value=-1e6, max_value=1e6)


@given(st.tuples(figures, figures), st.tuples(figures, figures))
def test_intervals_part_just_where_they_share_no_point(a: tuple[float, float], b: tuple[float, float]) -> None:
    one, two = (Span(value=min(ends), low=min(ends), high=max(ends)) for ends in (a, b))
    share = max(min(a), min(b)) <= min(max(a), max(b))
    assert Pair(before=one, after=two).apart is Pair(before=two, after=one).apart is not share
    assert Pair(before=one, after=Span(value=1.0, low=None, high=None)).apart is None
