from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from joulemark.harness.store import Run
from joulemark.meters.errors import Incomparable, UsageError
from joulemark.reports.commands import rank, report, show_table, write_report
from joulemark.reports.documents import as_csv, as_json, as_markdown
from joulemark.reports.findings import finding, headline
from joulemark.reports.html import page
from joulemark.reports.plots import page_svg, picture
from joulemark.reports.views import View, make_views

Make = Callable[..., Run]
FILES = {"report.html", "report.md", "pareto.png", "pareto.svg", "results.csv", "results.json"}
NASTY = "<script>alert(1)</script>|`x`[a](http://evil)"
CONTRACT_KEYS = {
    "model",
    "run_id",
    "quality",
    "quality_low",
    "quality_high",
    "accuracy",
    "energy_wh_per_1k",
    "energy_wh_per_1k_low",
    "energy_wh_per_1k_high",
    "net_energy_wh_per_1k",
    "correct_per_wh",
    "correct_per_wh_low",
    "correct_per_wh_high",
    "wh_per_correct",
    "frontier",
    "p_frontier",
    "rank",
    "rank_low",
    "rank_high",
    "items",
    "repeats",
    "tokens_per_item",
    "latency_s_p50",
    "active_params",
    "flags",
    "setting",
    "machine_id",
}


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory, write: Callable[..., Run]) -> Run:
    return write(tmp_path_factory.mktemp("small") / "run-1", tasks=("dates", "units"), items=120)


@pytest.fixture(scope="module")
def written(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([small_run.path], tmp_path_factory.mktemp("out") / "report").parent


def test_a_report_is_six_files_and_the_same_bytes_on_a_rerun(written: Path, small_run: Run, tmp_path: Path) -> None:
    assert {path.name for path in written.iterdir()} == FILES
    again = write_report([small_run.path], tmp_path / "again").parent
    for name in FILES:
        assert (written / name).read_bytes() == (again / name).read_bytes(), name


def test_the_page_loads_nothing_and_runs_nothing(written: Path) -> None:
    text = (written / "report.html").read_text()
    reader = Reader()
    reader.feed(text)
    assert not {"script", "link", "iframe", "object", "embed", "img"} & {tag for tag, _ in reader.tags}
    for _, attributes in reader.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "url(http" not in text
    assert "default-src 'none'" in text


def test_ids_on_the_page_are_unique_and_references_resolve(written: Path) -> None:
    text = (written / "report.html").read_text()
    reader = Reader()
    reader.feed(text)
    assert len(reader.ids) == len(set(reader.ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(reader.ids)
    assert {a["aria-labelledby"] for _, a in reader.tags if "aria-labelledby" in a} <= set(reader.ids)


def test_tables_scroll_in_a_box_that_the_keyboard_reaches_and_that_has_a_name(written: Path) -> None:
    reader = Reader()
    reader.feed((written / "report.html").read_text())
    boxes = [attributes for _, attributes in reader.tags if "scroll" in (attributes.get("class") or "").split()]
    assert len(boxes) == 5
    assert all(box.get("tabindex") == "0" and box.get("role") == "region" and box.get("aria-label") for box in boxes)


def test_the_page_says_what_the_json_says(written: Path) -> None:
    results = json.loads((written / "results.json").read_text())
    text = (written / "report.html").read_text()
    assert results["schema"] == "joulemark.rank/1"
    assert results["views"][0]["finding"] in text
    assert results["views"][0]["finding"].split(":")[0] in (written / "report.md").read_text()


def test_rows_have_the_contracts_keys_and_nothing_missing_is_0(written: Path) -> None:
    view = json.loads((written / "results.json").read_text())["views"][0]
    assert {"task", "hardware", "scope", "grade", "quality_floor", "rows"} <= set(view)
    for row in view["rows"]:
        assert set(row) >= CONTRACT_KEYS
        assert row["energy_wh_per_1k_low"] > 0
        assert row["frontier"] in {"on", "unclear", "dominated"}


def test_a_hostile_name_is_text_everywhere(make_run: Make) -> None:
    run = make_run(models={NASTY: (0.7, 0.001, 9), "plain": (0.6, 0.002, 9)})
    views = make_views([run])
    html = page(views, [run])
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    markdown = as_markdown(views)
    assert "<script" not in markdown
    assert "](http" not in markdown
    assert len({line.count("|") for line in markdown.splitlines() if line.startswith("|")}) == 1


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_a_spreadsheet_runs_no_name(make_run: Make, start: str) -> None:
    name = f"{start}cmd|' /C calc'!A0"
    rows = list(csv.DictReader(io.StringIO(as_csv(make_views([make_run(models={name: (0.7, 0.001, 9)})])))))
    assert all(row["model"].startswith("'") for row in rows)
    assert float(rows[0]["quality"]) > 0


def test_dollar_signs_in_names_are_no_formula_in_the_picture(make_run: Make) -> None:
    views = make_views([make_run(models={"a$\\frac{b$": (0.7, 0.001, 9), "b": (0.5, 0.002, 9)})])
    assert picture(views[0], "png").startswith(b"\x89PNG")
    assert "<svg" in page_svg(views[0])


def test_pictures_of_nothing_of_one_repeat_and_of_unlike_entrants_are_drawn(make_run: Make) -> None:
    counter = {"grade": "counter", "scope": "package", "rel_u_scale": 0.02, "rel_u_workload": 0.0}
    odd = [
        make_views([make_run("a", change=lambda c: c.model_copy(update={"energy": None}))])[0],
        make_views([make_run("b", repeats=1)])[0],
        make_views([make_run("c", tasks=("dates",)), make_run("d", tasks=("dates",), meter=counter)], mix=True)[0],
    ]
    for view in odd:
        assert "<svg" in page_svg(view)
        assert "<svg" in page_svg(view, narrow=True)
        assert headline(view)


def test_the_picture_on_the_page_takes_all_colours_from_the_page(demo_views: list[View]) -> None:
    colours = set(re.findall(r"#[0-9a-f]{6}", page_svg(demo_views[0])))
    assert colours <= {"#000000"}


def test_rank_prints_one_json_object_and_nothing_else(demo_run: Run, demo_views: list[View]) -> None:
    result = CliRunner().invoke(rank, [str(demo_run.path), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads(json.dumps(as_json(demo_views)))


def test_rank_ends_with_the_finding_and_the_grade(demo_run: Run, demo_views: list[View]) -> None:
    text = " ".join(CliRunner().invoke(rank, [str(demo_run.path)]).stdout.split())
    assert finding(demo_views[0]) in text
    assert "not measured joules" in text


def test_rank_of_one_task_or_of_none(demo_run: Run) -> None:
    result = CliRunner().invoke(rank, [str(demo_run.path), "--task", "dates", "--json"])
    assert [view["task"] for view in json.loads(result.stdout)["views"]] == ["dates"]
    missing = CliRunner().invoke(rank, [str(demo_run.path), "--task", "nope"])
    assert isinstance(missing.exception, UsageError)
    assert "dates" in str(missing.exception)


def test_a_torn_line_is_told_on_stderr_only(make_run: Make) -> None:
    run = make_run()
    with (run.path / "cells.jsonl").open("ab") as file:
        file.write(b'{"torn')
    result = CliRunner().invoke(rank, [str(run.path), "--json"])
    assert json.loads(result.stdout)
    assert "cut short" in result.stderr


def test_errors_are_ours(tmp_path: Path, make_run: Make) -> None:
    assert isinstance(CliRunner().invoke(rank, [str(tmp_path)]).exception, UsageError)
    nothing = make_run(tasks=("dates",), change=lambda c: c.model_copy(update={"status": "failed"}))
    assert isinstance(CliRunner().invoke(rank, [str(nothing.path)]).exception, Incomparable)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        write_report([make_run("other", tasks=("dates",)).path], tmp_path / "file" / "out")


def test_report_says_where_the_page_lies(make_run: Make, tmp_path: Path) -> None:
    path = str(make_run(tasks=("dates",)).path)
    result = CliRunner().invoke(report, [path, "--out", str(tmp_path / "r")])
    assert result.stdout.strip() == str(tmp_path / "r" / "report.html")
    as_object = CliRunner().invoke(report, [path, "--out", str(tmp_path / "r"), "--json"])
    assert set(json.loads(as_object.stdout)["files"]) == FILES


def test_the_table_can_be_shown_after_a_run(demo_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    show_table([demo_run.path])
    assert "dense-60k" in capsys.readouterr().out


def test_rank_loads_no_heavy_library(demo_run: Run) -> None:
    code = (
        "import sys; from click.testing import CliRunner; from joulemark.reports.commands import rank\n"
        f"assert CliRunner().invoke(rank, [{str(demo_run.path)!r}, '--json']).exit_code == 0\n"
        "heavy = ('torch', 'lm_eval', 'onnxruntime', 'matplotlib', 'zeus', 'codecarbon')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
