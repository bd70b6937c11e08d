"""The pages and files beside the board: hardware, data, badges, Parquet, sitemap and citation."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from click.testing import CliRunner
from keeping import BASE, HOSTILE, MODELS, Kept, page
from made_runs import COUNTER, write_run
from playwright.sync_api import Browser

from joulemark.harness.cli import cli
from joulemark.harness.record import Accelerator, Cell
from joulemark.leaderboard import datafiles
from joulemark.leaderboard.board import make_board
from joulemark.leaderboard.buildcommand import write_site
from joulemark.leaderboard.names import page_name
from joulemark.leaderboard.site import render_site
from joulemark.leaderboard.sitemap import sitemap_files
from joulemark.leaderboard.store import ACCEPTED, INDEX
from joulemark.leaderboard.subjects import short_hardware
from joulemark.leaderboard.submission import pack, parse_submission, read_submission
from joulemark.meters.errors import UsageError
from joulemark.reports.documents import json_text


@pytest.fixture(scope="module")
def on_disk(kept: Kept, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "out"
    write_site(kept.plain, out)
    return out


def test_no_link_of_any_page_leads_nowhere(kept: Kept) -> None:
    missing = set()
    for path, content in kept.plain.items():
        if not path.endswith(".html"):
            continue
        anchors = re.findall(r'id="([^"]+)"', content.decode())
        for link in re.findall(r'(?:href|src)="([^"]*)"', content.decode()):
            target, _, place = link.partition("#")
            if target.startswith("data:"):
                continue
            name = (Path("/") / path).parent.joinpath(unquote(target)).as_posix() if target else f"/{path}"
            at = str(Path(name).resolve()).lstrip("/")
            if at not in kept.plain:
                missing.add((path, link))
            elif place and at == path:
                assert place in anchors
    assert missing == set()


def test_text_of_strangers_is_text_everywhere(kept: Kept) -> None:
    for path, content in kept.whole.items():
        if path.endswith((".html", ".xml", ".bib", ".cff")):
            assert "<img" not in content.decode()
            assert "<b>CPU" not in content.decode()
    hardware = page(kept.plain, f"hardware/{page_name(kept.board.views[0].view.hardware)}.html")
    assert "]]&gt; &amp; &#34;Fast&#34; &lt;b&gt;CPU&lt;/b&gt; %}{{ 7*7 }}" in hardware
    assert all(re.fullmatch(r"[A-Za-z0-9_./-]+", path) and ".." not in path for path in kept.plain)


def test_a_page_of_hardware_has_what_its_runs_tell(kept: Kept) -> None:
    name = next(each.view.hardware for each in kept.board.views if each.view.grade == "counter")
    told = page(kept.plain, f"hardware/{page_name(name)}.html")
    for fact in ("rapl:package-0", "counter", "4.1", "RUN/b", "m-1", "Task units on AMD EPYC 7B13"):
        assert fact in told
    assert "run-2" not in told
    for path in ("index.html", "task/units.html", f"run/{page_name('RUN/b')}.html"):
        assert f"hardware/{page_name(name)}.html" in page(kept.plain, path)


def test_parquet_has_the_columns_and_values_of_the_csv(kept: Kept) -> None:
    rows = 0
    for each in kept.board.views:
        frame = pd.read_parquet(io.BytesIO(kept.plain[f"data/{each.id}.parquet"]))
        lines = list(csv.DictReader(io.StringIO(page(kept.plain, f"data/{each.id}.csv"))))
        assert list(frame.columns) == list(lines[0])
        assert len(frame) == len(lines)
        for own, line in zip(frame.to_dict("records"), lines, strict=True):
            for key, value in own.items():
                assert alike(value, line[str(key)]), key
        rows += len(frame)
    together = pd.read_parquet(io.BytesIO(kept.plain["data/rank.parquet"]))
    assert len(together) == rows
    assert set(together["view"]) == {each.id for each in kept.board.views}
    assert together["quality"].dtype == "float64"


def test_the_file_of_all_views_is_what_rank_prints(kept: Kept) -> None:
    assert page(kept.plain, "data/rank.json") == json_text([each.view for each in kept.board.views])


def test_a_large_board_has_all_views_in_one_file_as_parquet_alone_and_says_so(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datafiles, "MOST_TOGETHER", kept.board.rows - 1)
    large = render_site(kept.board)
    assert "data/rank.json" not in large
    assert len(pd.read_parquet(io.BytesIO(large["data/rank.parquet"]))) == kept.board.rows
    assert f"more than {kept.board.rows - 1} rows, and each view has its JSON" in page(large, "data.html")
    assert "data/rank.json" not in page(large, "data.html")
    assert "each view has its JSON" not in page(kept.plain, "data.html")


def alike(value: Any, shown: str) -> bool:
    """Whether a value of Parquet is that of the CSV, where missing is empty and formulas have an apostrophe."""
    if pd.isna(value):
        return shown == ""
    if isinstance(value, bool):
        return shown == str(value).lower()
    return float(shown) == value if isinstance(value, int | float) else shown.removeprefix("'") == value


def test_a_badge_is_one_that_shields_draws_and_says_in_which_view(kept: Kept) -> None:
    for name in MODELS:
        told = json.loads(kept.plain[f"badge/{page_name(name)}.json"])
        assert told.keys() == {"schemaVersion", "label", "message", "color"}
        assert told["schemaVersion"] == 1
        assert all(isinstance(told[key], str) and told[key] for key in ("label", "message", "color"))
        row = next(row for row in kept.board.views[0].view.rows if row.model == name)
        if row.rank is None:
            assert told["message"] == "not ranked over 2 tasks, 1 run, modelled"
        else:
            assert re.fullmatch(r"\d(\u2013\d)? of 2 over 2 tasks, 1 run, [\d,.]+ right/Wh, modelled", told["message"])
            assert told["message"].startswith(str(row.rank if row.rank_low == row.rank_high else row.rank_low))
    assert json.loads(kept.plain["badge/guesser.json"])["message"].startswith("not ranked")


def test_a_line_for_the_badge_is_written_where_the_address_is_known(kept: Kept) -> None:
    line = f"endpoint?url=https%3A%2F%2Fboard.example%2Fx%2Fbadge%2Fguesser.json)]({BASE}/model/guesser.html)"
    assert line in page(kept.whole, "model/guesser.html")
    assert "endpoint?url" not in page(kept.plain, "model/guesser.html")
    assert "not ranked over 2 tasks, 1 run, modelled" in page(kept.plain, "model/guesser.html")


def busy(cell: Cell) -> Cell:
    return cell.model_copy(update={"flags": ("busy_machine",)})


def test_a_badge_has_all_runs_of_the_widest_view_and_no_rank_of_a_narrower_one(tmp_path: Path) -> None:
    """Of two people's runs not the better one; and below the floor over two tasks it is not ranked for one of them."""
    usual: dict[str, Any] = {"tasks": ("dates", "units"), "items": 60, "meter": COUNTER}
    low = {"low": (0.21, 0.004, 9_000)}
    models = {"m": (0.7, 0.001, 9_000), "x": (0.7, 0.002, 9_000)} | low
    first = write_run(tmp_path / "a", models, run_id="r-1", change=busy, **usual)
    other = write_run(tmp_path / "b", {"m": (0.7, 0.004, 9_000)}, run_id="r-2", seed=2, **usual)
    board = make_board([parse_submission(pack(run)) for run in (first, other)])
    made = render_site(board)
    badges = {name: json.loads(told)["message"] for name, told in made.items() if name.startswith("badge/")}
    message = r"1\u20133 of 3 over 2 tasks, 2 runs, [\d,.]+\u2013[\d,.]+ right/Wh, counter"
    assert re.fullmatch(message, badges["badge/m.json"])
    assert any(row.rank for each in board.views[1:] for row in each.view.rows if row.model == "low")
    assert badges["badge/low.json"] == "not ranked over 2 tasks, 1 run, counter"
    told = page(made, f"hardware/{page_name(board.views[0].view.hardware)}.html")
    for each in board.views[1:]:
        row = told.partition(f"index.html#view={each.id}")[2].partition("</tr>")[0]
        assert f"of {sum(row.rank is not None for row in each.view.rows)} ranked" in row
    assert "below the floor of 20 points" in page(made, "model/low.html")
    assert "other programs worked meanwhile" in page(made, "run/r-1.html")
    assert "other programs worked meanwhile" not in page(made, "run/r-2.html")


def test_the_method_says_only_what_holds_for_every_view(kept: Kept) -> None:
    assert {each.view.grade for each in kept.board.views} == {"modelled", "counter"}
    told = page(kept.plain, "method.html")
    assert "the idle power measured before, or, where it is modelled, the power model&#39;s idle power" in told
    for only_of_a_report in ("results.csv", "results.json", "point-decades", "this machine", "Quality by level"):
        assert only_of_a_report not in told


def test_every_page_with_figures_leads_to_what_the_words_mean(kept: Kept) -> None:
    assert len(set(re.findall(r'<dt id="(word-[a-z-]+)">', page(kept.plain, "method.html")))) >= 12
    assert 'id="words"' in page(kept.plain, "method.html")
    for path in ("index.html", "compare.html", "task/units.html", "model/guesser.html"):
        assert page(kept.plain, path).count("method.html#words") == 1
    hardware = [name for name in kept.plain if name.startswith("hardware/")]
    assert all(page(kept.plain, name).count("method.html#words") == 1 for name in hardware)


def test_commands_say_that_a_path_in_them_was_cut(kept: Kept) -> None:
    told = page(kept.plain, "run/run-1.html")
    assert "hf:pretrained=x" in told
    assert "No folder was sent" in told


def test_the_files_of_a_board_with_a_single_task_are_listed_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {"m": (0.7, 0.001, 9_000)}, tasks=("units",), items=20)
    told = page(render_site(make_board([parse_submission(pack(run))])), "data.html")
    assert told.partition("Files of each view</caption>")[2].count('<th scope="row">') == 1


def test_a_badge_names_its_hardware_in_whole_words(kept: Kept) -> None:
    machine = kept.board.views[0].view.figures[0].entrant.machine
    gpu = Accelerator(name="NVIDIA H100", uuid="GPU-1")
    long = {"cpu_model": " ".join(["Processor"] * 12)}
    names = [
        short_hardware(machine.model_copy(update=long | {"accelerators": gpus})) for gpus in ((), (gpu,), (gpu, gpu))
    ]
    assert names == [" ".join(["Processor"] * 6) + "\u2026, 2 threads", "NVIDIA H100", "2 \u00d7 NVIDIA H100"]


def test_files_are_as_they_came_and_as_the_sums_say(kept: Kept, on_disk: Path) -> None:
    for entry in kept.store.entries:
        file = on_disk / "data" / "submissions" / f"{entry.sha256}.json"
        assert file.read_bytes() == (kept.store.path / ACCEPTED / file.name).read_bytes()
        assert read_submission(file).sha256 == entry.sha256
    lines = (on_disk / "data" / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = dict(reversed(line.split("  ", 1)) for line in lines)
    there = {path.relative_to(on_disk).as_posix() for path in (on_disk / "data").rglob("*") if path.is_file()}
    assert sums.keys() == there - {"data/SHA256SUMS"}
    assert all(hashlib.sha256((on_disk / path).read_bytes()).hexdigest() == digest for path, digest in sums.items())
    assert sums["data/rank.parquet"] in page(kept.plain, "data.html")
    assert (on_disk / "data" / "index.json").read_bytes() == (kept.store.path / INDEX).read_bytes()


def test_the_sitemap_has_every_page_and_never_too_many_in_a_file(kept: Kept) -> None:
    tag = "{http://www.sitemaps.org/schemas/sitemap/0.9}loc"
    found = {loc.text for loc in ET.fromstring(kept.whole["sitemap.xml"]).iter(tag)}
    assert found == {f"{BASE}/{path}" for path in kept.whole if path.endswith(".html")}
    assert f"Sitemap: {BASE}/sitemap.xml" in page(kept.whole, "robots.txt")
    assert not {"sitemap.xml", "robots.txt"} & kept.plain.keys()
    many = dict(sitemap_files([f"model/{n}.html" for n in range(50_001)], BASE))
    named = [loc.text for loc in ET.fromstring(many["sitemap.xml"]).iter(tag)]
    assert named == [f"{BASE}/sitemap-1.xml", f"{BASE}/sitemap-2.xml"]
    assert sum(len(list(ET.fromstring(many[f"sitemap-{n}.xml"]).iter(tag))) for n in (1, 2)) == 50_001


def test_the_citation_keeps_the_form_of_its_schema(kept: Kept, tmp_path: Path) -> None:
    for name, site in (("plain", kept.plain), ("whole", kept.whole)):
        (tmp_path / f"{name}.cff").write_bytes(site["CITATION.cff"])
        assert page(site, "citation.bib").count("{") == page(site, "citation.bib").count("}")
        assert (BASE in page(site, "citation.bib")) == (name == "whole")
    files = [str(tmp_path / "plain.cff"), str(tmp_path / "whole.cff")]
    how = ["--builtin-schema", "vendor.citation-file-format", "--default-filetype", "yaml"]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *how, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_address_adds_whole_links_and_nothing_else(kept: Kept) -> None:
    more = {"sitemap.xml", "robots.txt"}
    assert kept.whole.keys() - kept.plain.keys() == more
    for path in kept.plain.keys() - {"feed.xml", "CITATION.cff", "citation.bib", "data.html"}:
        bare = re.sub(rb'<link rel="canonical" href="[^"]*">\n', b"", kept.whole[path])
        if not path.startswith("model/"):
            assert bare == kept.plain[path], path


@pytest.mark.parametrize("address", ["javascript:alert(1)", 'https://x.example/"><script>', "https://x.example/}", "x"])
def test_what_is_no_address_is_refused_before_anything_is_made(kept: Kept, tmp_path: Path, address: str) -> None:
    asked = [
        "leaderboard",
        "build",
        "--store",
        str(kept.store.path),
        "--out",
        str(tmp_path / "o"),
        "--base-url",
        address,
    ]
    with pytest.raises(UsageError, match="no address"):
        CliRunner().invoke(cli, asked, standalone_mode=False, catch_exceptions=False)
    assert not (tmp_path / "o").exists()


def test_the_same_store_gives_the_same_bytes_wherever_it_lies(kept: Kept, tmp_path: Path) -> None:
    shutil.copytree(kept.store.path, tmp_path / "moved")
    asked = ["leaderboard", "build", "--store", str(tmp_path / "moved"), "--out", str(tmp_path / "out")]
    CliRunner().invoke(cli, asked, standalone_mode=False, catch_exceptions=False)
    made = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert made == kept.plain


@pytest.fixture
def pages(kept: Kept) -> list[str]:
    hardware = page_name(kept.board.views[0].view.hardware)
    return [
        f"hardware/{hardware}.html",
        "data.html",
        "changes.html",
        "run/run-1.html",
        f"model/{page_name(HOSTILE)}.html",
    ]


def test_pages_keep_nobody_out_and_say_nothing_to_the_console(
    browser: Browser, on_disk: Path, pages: list[str]
) -> None:
    said: list[str] = []
    for width, theme, own in ((1180, "dark", pages[:3]), (390, "light", pages[2:])):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        for path in own:
            shown = context.new_page()
            shown.on("console", lambda message: said.append(message.text))
            shown.goto(f"{on_disk.as_uri()}/{path}")
            assert said == []  # Before axe, which asks for the style sheet and is forbidden to.
            found = Axe().run(shown)
            assert found.response["passes"]
            assert found.violations_count == 0, path + found.generate_report()
            said.clear()
        context.close()


def test_no_page_scrolls_sideways_on_a_telephone(browser: Browser, on_disk: Path, pages: list[str]) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 800})
    for path in pages:
        shown = context.new_page()
        shown.goto(f"{on_disk.as_uri()}/{path}")
        assert shown.evaluate("document.documentElement.scrollWidth") <= 360, path
    context.close()
