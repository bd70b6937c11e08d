from __future__ import annotations

import csv
import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from joulemark.harness.commands import run as measure
from joulemark.harness.plan import Plan
from joulemark.harness.record import Cell
from joulemark.harness.store import Run, read_run
from joulemark.meters.errors import Incomparable, UsageError
from joulemark.reports.commands import rank, report, show_table, write_report
from joulemark.reports.documents import as_csv, as_json, as_markdown, view_title
from joulemark.reports.findings import finding, headline
from joulemark.reports.html import page
from joulemark.reports.plots import _FILE, _draw, page_svg, picture, style
from joulemark.reports.provenance import again
from joulemark.reports.views import View, make_views
from joulemark.reports.wording import energy_unit, number

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
    assert len(boxes) == 11
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
    for table in (block for block in markdown.split("\n\n") if block.startswith("|")):
        assert len({line.count("|") for line in table.splitlines()}) == 1


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


def test_a_report_goes_beside_a_runs_files_and_never_among_them(make_run: Make) -> None:
    run = make_run()
    before = sorted(run.path.iterdir())
    with pytest.raises(UsageError, match=r"is a run, whose own files stay as they are; use --out .*/report"):
        write_report([run.path], run.path)
    assert sorted(run.path.iterdir()) == before
    assert write_report([run.path], run.path / "report").is_file()


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


def cut_short(run: Run, lines: int) -> Run:
    """The run as it stands after so many cells."""
    log = run.path / "cells.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:lines]))
    return read_run(run.path)


def test_an_unfinished_run_says_so_first_everywhere(make_run: Make) -> None:
    run = cut_short(make_run(), 14)
    views = make_views([run])
    said = f"Unfinished: 14 of 18 cells are measured; `joulemark run --resume {run.path}` goes on."
    assert said.split("`")[0] in as_markdown(views, [run]).split("\n\n")[1]
    assert said in unescape(page(views, [run])).split("<main>")[0]
    assert "every cell finished" not in page(views, [run])
    assert as_json(views)["views"][0]["unfinished"] == {
        "finished": 14,
        "failed": 0,
        "planned": 18,
        "runs": [{"run_id": "run-1", "finished": 14, "failed": 0, "planned": 18}],
    }
    printed = CliRunner().invoke(rank, [str(run.path)]).stdout
    assert "Unfinished: 14 of 18" in printed.split("Rank")[0]
    assert printed.startswith("\n")
    assert "no_finished_cell" not in printed + as_markdown(views, [run]) + page(views, [run])


def test_repeats_and_models_that_are_not_begun_count_by_the_plan(make_run: Make) -> None:
    view = make_views([cut_short(make_run(), 8)])[0]
    assert {row.repeats_planned for row in view.rows} == {3}
    assert any("dense-240k is left out: none of its cells is measured yet" in note for note in view.notes)


def test_a_finished_run_says_nothing_of_the_kind(demo_run: Run, demo_views: list[View]) -> None:
    assert as_json(demo_views)["views"][0]["unfinished"] is None
    assert "Unfinished" not in page(demo_views, [demo_run])
    assert "every cell finished" in page(demo_views, [demo_run])


def test_a_run_of_one_task_shows_its_table_once_and_keeps_both_views_in_json(make_run: Make) -> None:
    run = make_run(tasks=("dates",))
    views = make_views([run])
    assert [view["task"] for view in as_json(views)["views"]] == ["all", "dates"]
    assert as_markdown(views, [run]).count("| Rank |") == 1
    assert page(views, [run]).count(">Rank</th>") == 1


def test_how_to_reproduce_measures_into_a_folder_and_ranks_that_one(make_run: Make) -> None:
    run = make_run()
    for text in (unescape(page(make_views([run]), [run])), as_markdown(make_views([run]), [run])):
        assert "joulemark run -m ngram=hf:pretrained=x" in text
        assert "-t dates -t units --preset full --repeats 3 --num-fewshot 0 --batch-size 1 --out again\n" in text
        assert "joulemark rank again --json" in text


UNUSUAL: dict[str, Any] = {
    "models": ["mine=hf:pretrained=x"],
    "tasks": ["dates"],
    "repeats": 4,
    "limit": 7,
    "num_fewshot": 2,
    "gen_kwargs": "temperature=0",
    "max_gen_toks": 9,
    "apply_chat_template": True,
    "system_instruction": "Be brief.",
    "include_path": ["own"],
    "batch_size": 3,
    "concurrency": 5,
    "threads": 6,
    "sweep": {"dtype": ["float32", "bfloat16"]},
    "precision": 0.05,
    "max_repeats": 11,
    "log_samples": True,
    "meters": ["lab=watts:w=5"],
    "order": "abba",
    "executor": "ray:head:6379",
    "placement": ["gpu=h100", "mine:room=2"],
    "seed": 13,
    "idle_s": 2.5,
    "timeout_s": 99.0,
    "carbon": "FRA",
    "trust_remote_code": True,
    "allow_unsafe_code": True,
    "allow_power_cap": True,
}


def test_how_to_reproduce_has_all_of_a_plan_that_is_not_as_usual(make_run: Make, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    run = make_run(tasks=("dates",))
    plan = UNUSUAL | {"include_path": [str(tmp_path / "own")]}
    assert {*Plan.model_fields} - {*plan} == {"dtype"}, "it is swept"
    command, *_ = again([replace(run, header=run.header.model_copy(update={"plan": plan}))])
    words, _, in_file = command.partition(" # ")
    assert in_file.endswith("idle_s = 2.5")
    given = measure.make_context("run", shlex.split(words)[2:]).params
    read = Plan.model_validate({key: given[key] for key in plan if given.get(key) is not None} | {"idle_s": 2.5})
    assert read == Plan.model_validate(plan)


def test_how_to_reproduce_ranks_a_run_as_given_whose_plan_is_not_known(make_run: Make) -> None:
    run = make_run()
    stranger = replace(run, header=run.header.model_copy(update={"plan": {}}))
    assert again([run, stranger])[1:] == [
        f"joulemark rank again-1 {run.path} --json",
        f"joulemark report again-1 {run.path} --out report",
    ]


def test_flags_are_words(make_run: Make) -> None:
    run = make_run(change=lambda c: c.model_copy(update={"flags": ("prefix_cache", "net_unresolved", "outside_meter")}))
    for text in (page(make_views([run]), [run]), as_markdown(make_views([run]), [run])):
        assert not [code for code in ("prefix_cache", "net_unresolved", "outside_meter") if code in unescape(text)]
        assert "a cache may have answered" in text


def test_a_command_in_markdown_is_code_and_a_hostile_name_is_not(make_run: Make) -> None:
    run = make_run(change=lambda c: None if c.repeat == 2 else c)
    text = as_markdown(make_views([run]), [run])
    assert f"`joulemark run --resume {run.path}`" in text
    assert "&#96;joulemark" not in text
    nasty = make_run("nasty", models={NASTY: (0.7, 0.001, 9), "b": (0.5, 0.002, 9)})
    words, _, commands = as_markdown(make_views([nasty]), [nasty]).partition("## How to reproduce")
    assert "`x`" not in words
    assert "`x`" in commands


def test_views_that_ask_differently_have_headings_that_say_how(make_run: Make) -> None:
    def limited(limit: int) -> Callable[[Cell], Cell]:
        return lambda c: c.model_copy(update={"setting": {**c.setting, "limit": limit, "num_fewshot": limit // 40}})

    runs = [make_run(name, change=limited(limit)) for name, limit in (("a", 80), ("b", 120))]
    titles = [view_title(view) for view in make_views(runs)]
    assert len(set(titles)) == len(titles) == 6
    assert "All 2 tasks, 80 questions a task, 2-shot, run a on AMD EPYC 7B13, 2 threads" in titles


def test_time_per_item_is_the_windows_time_shared_by_its_items(demo_views: list[View]) -> None:
    row = demo_views[0].rows[0]
    assert row.wall_s_per_item == pytest.approx(2.0 / (300 * 20))
    assert row.latency_s_p50 == pytest.approx(0.0009)


@pytest.mark.parametrize("floor", ["-1", "101", "nan"])
def test_a_floor_that_no_quality_has_is_refused(demo_run: Run, floor: str) -> None:
    result = CliRunner().invoke(rank, [str(demo_run.path), "--quality-floor", floor])
    assert isinstance(result.exception, UsageError)


def test_the_list_of_tasks_wraps_at_the_window(demo_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    said = CliRunner().invoke(rank, [str(demo_run.path)]).stderr
    assert "units" in said
    assert max(map(len, said.splitlines())) <= 40


def test_words_of_the_picture_stay_inside_it(make_run: Make) -> None:
    name = "organisation/a-model-with-a-very-long-name-0.5b-instruct-v2"
    run = make_run(models={f"{name}-{k}": (0.7, 0.001, 9) for k in "abc"}, seed=4, spread=0.05)
    view = make_views([run])[0]
    with style("path"):
        figure = _draw(view, _FILE, titled=True)
    figure.set_dpi(160)
    drawer: Any = figure.canvas
    for text in figure.texts:
        box = text.get_window_extent(drawer.get_renderer())
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
    assert len(figure.texts[0].get_text().splitlines()) > 1


def test_the_frontiers_line_starts_from_what_is_judged(make_run: Make) -> None:
    models = {"guesser": (0.0, 0.0001, 9), "small": (0.6, 0.001, 9), "large": (0.8, 0.004, 9)}
    view = make_views([make_run(models=models)])[0]
    with style("path"):
        axes = _draw(view, _FILE, titled=False).axes[0]
    steps: Any = next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
    small = next(row for row in view.rows if row.model == "small")
    assert min(steps.get_xdata()) == pytest.approx((small.energy_wh_per_1k or 0) * 1000)


def test_a_guesser_far_below_all_energies_is_an_arrow_with_its_figure_and_presses_nobody_into_a_corner(
    make_run: Make,
) -> None:
    models = {"guesser": (0.05, 0.00001, 9), "small": (0.6, 0.001, 9), "large": (0.8, 0.004, 9)}
    view = make_views([make_run(models=models)])[0]
    with style("path"):
        axes = _draw(view, _FILE, titled=False).axes[0]
    left, right = axes.get_xlim()
    assert right / left < 20
    guesser = next(row for row in view.rows if row.model == "guesser")
    words = f"guesser\nat {number((guesser.energy_wh_per_1k or 0) * 1000)} mWh"
    assert words in {text.get_text() for text in axes.texts}
    arrows: Any = [line for line in axes.lines if line.get_marker() == "<"]
    assert [line.get_xdata()[0] for line in arrows] == [left]


def test_whoever_is_ranked_is_never_off_the_axis(make_run: Make) -> None:
    models = {"tiny": (0.5, 0.00001, 9), "small": (0.6, 0.001, 9), "large": (0.8, 0.4, 9)}
    view = make_views([make_run(models=models)])[0]
    with style("path"):
        axes = _draw(view, _FILE, titled=False).axes[0]
    left, right = axes.get_xlim()
    factor = energy_unit(row.energy_wh_per_1k for row in view.rows).factor
    assert all(left < (row.energy_wh_per_1k or 0) * factor < right for row in view.rows)


def test_markdown_names_the_meters_with_their_errors_and_leaves_words_alone(make_run: Make) -> None:
    run = make_run(models={"my_model": (0.7, 0.001, 1000), "__init__": (0.6, 0.001, 1000)})
    text = as_markdown(make_views([run]), [run])
    assert "| modelled:cpu | modelled | package | a factor of 2.7 either way |" in text
    assert "my_model" in text
    assert "__init__" not in text.partition("## How to reproduce")[0]


def test_of_more_than_100_entrants_the_leading_table_has_all_and_the_others_the_first_and_say_so(
    tmp_path: Path, write: Make
) -> None:
    models = {f"model-{place:03d}": (0.3 + 0.005 * place, 0.001 * 1.02**place, 1000) for place in range(103)}
    run = write(tmp_path / "run", models, tasks=("dates", "units"), items=12, repeats=2, compact=False)
    views = make_views([run])
    html, text = page(views, [run]), as_markdown(views, [run])
    told = "The first 100 of 103 entrants; results.csv has all."
    for place in (0, 100, 102):
        label = views[0].rows[place].label
        assert f'<th scope="row">{label}<' in html
        assert f"| {label} |" in text
    leading, _, by_task = html.partition('id="by-task"')
    assert leading.count('<td class="rank">') == 103
    assert by_task.count('<td class="rank">') == 2 * 100
    assert told in leading
    assert by_task.count(told) >= 2
    assert text.count(told) >= 2
