"""lm-eval's results become quality without energy; with codecarbon's file beside them, energy that ranks nothing."""

import json
import math
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lmfiles import STAMP, write_emissions, write_lmeval
from mangled import mangled, mangled_json

from joulemark.harness.formats.found import Found
from joulemark.harness.formats.lmeval import read
from joulemark.harness.importing import import_files
from joulemark.harness.store import read_run
from joulemark.meters.errors import UsageError
from joulemark.reports.commands import rank
from joulemark.reports.views import make_views

MIXED = {"sums": [True] * 30 + [False] * 10, "counts": [True] * 5 + [False] * 15}


def test_accuracy_chance_and_quality_are_those_that_a_run_of_ours_would_have(tmp_path: Path) -> None:
    [result] = read([write_lmeval(tmp_path, {"sums": [True] * 30 + [False] * 10})]).results
    assert (result.model, result.model_args, result.task) == ("made/small", "hf:pretrained=made/small", "sums")
    assert (result.accuracy, result.chance, result.quality) == (0.75, 0.25, pytest.approx(100 * 2 / 3))
    assert (result.metric, result.other_metrics, result.n_items) == ("acc", {"acc_norm": 0.5}, 40)
    assert result.setting == {"limit": None, "batch_size": 4, "num_fewshot": 0, "dtype": "float32"}
    assert result.energy is None
    assert result.items is not None
    assert result.items["score"].tolist() == [1.0] * 30 + [0.0] * 10


def test_a_constant_answer_that_is_right_more_often_than_one_in_four_is_chance(tmp_path: Path) -> None:
    file = write_lmeval(tmp_path, {"sums": [True] * 6})
    # Of six questions two are answered by the first choice, and so are two by the second.
    assert read([file]).results[0].chance == pytest.approx(2 / 6)


def test_the_machine_is_what_the_file_tells_of_it_and_no_more(tmp_path: Path) -> None:
    [station] = read([write_lmeval(tmp_path)]).stations
    machine = station.machine
    assert (machine.cpu_model, machine.cpu_count, machine.memory_gb) == ("Some CPU", 8, None)
    assert [gpu.name for gpu in machine.accelerators] == ["NVIDIA L4"]
    assert station.software == {"lm_eval": "0.4.13", "torch": "2.13.0+cpu", "python": "3.11.7"}
    [bare] = read([write_lmeval(tmp_path / "bare", change={"pretty_env_info": None})]).stations
    assert (bare.machine.cpu_model, bare.machine.cpu_count, bare.machine.accelerators) == ("unknown", None, ())


def test_what_is_imported_reads_back_with_the_same_figures(tmp_path: Path) -> None:
    found = import_files("lm-eval", [write_lmeval(tmp_path / "theirs", MIXED)], tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert not run.notes
    for result, cell in zip(found.results, run.cells, strict=True):
        for name in ("task", "task_hash", "accuracy", "chance", "quality", "metric", "n_items", "energy", "repeat"):
            assert getattr(cell, name) == getattr(result, name)
        assert dict(cell.setting) == dict(result.setting)
        items = run.items()
        own = items[items["cell_id"] == cell.cell_id]
        assert result.items is not None
        assert own["score"].tolist() == result.items["score"].tolist()


def test_quality_without_energy_stands_in_the_table_with_its_interval_and_without_rank(tmp_path: Path) -> None:
    import_files("lm-eval", [write_lmeval(tmp_path / "theirs", MIXED)], tmp_path / "run")
    view = make_views([read_run(tmp_path / "run")])[0]
    [row] = view.rows
    assert row.quality == pytest.approx((100 * 2 / 3 + 0) / 2)
    assert row.quality_low is not None
    assert row.quality_low < row.quality
    assert row.energy_wh_per_1k is row.rank is row.frontier is None
    assert any("imported from files of lm-eval" in note for note in view.notes)


def test_without_samples_the_accuracy_is_shown_as_a_metric_and_there_is_no_quality(tmp_path: Path) -> None:
    import_files("lm-eval", [write_lmeval(tmp_path / "theirs", MIXED, samples=False)], tmp_path / "run")
    whole, *_, sums = make_views([read_run(tmp_path / "run")])
    [row] = sums.rows
    assert (sums.task, sums.metric, row.other_metrics["acc"], row.items) == ("sums", "acc", 0.75, 40)
    assert row.quality is row.accuracy is row.rank is None
    assert {"imported", "no_items:sums"} <= set(row.flags)
    assert whole.unscored


def test_some_of_the_questions_do_not_tell_what_a_guesser_scores_on_all(tmp_path: Path) -> None:
    file = write_lmeval(tmp_path / "theirs", {"sums": [True] * 30 + [False] * 10}, original=500)
    found = import_files("lm-eval", [file], tmp_path / "run")
    assert (found.results[0].accuracy, found.results[0].chance, found.results[0].quality) == (0.75, None, None)
    [row] = make_views([read_run(tmp_path / "run")], task="sums")[0].rows
    assert row.quality is None
    assert "no_chance:sums" in row.flags


def test_a_metric_that_is_no_share_has_no_quality(tmp_path: Path) -> None:
    change = {
        "results": {"sums": {"alias": "sums", "word_perplexity,none": 0.7}},
        "higher_is_better": {"sums": {"word_perplexity": False}},
    }
    [result] = read([write_lmeval(tmp_path, samples=False, change=change)]).results
    assert (result.accuracy, result.quality, result.other_metrics) == (None, None, {"word_perplexity": 0.7})


def test_a_group_is_taken_apart(tmp_path: Path) -> None:
    file = write_lmeval(tmp_path, MIXED)
    content = json.loads(file.read_text())
    content["results"]["both"] = {"alias": "both", "acc,none": 0.6}
    content |= {"groups": {"both": {}}, "group_subtasks": {"both": ["sums", "counts"]}}
    file.write_text(json.dumps(content))
    found = read([file])
    assert [result.task for result in found.results] == ["sums", "counts"]
    assert any("both is taken apart" in sentence for sentence in found.missing)


def test_two_runs_of_one_model_are_two_repeats_in_the_order_of_time(tmp_path: Path) -> None:
    first = write_lmeval(tmp_path / "a", {"sums": [True] * 30 + [False] * 10}, change={"date": 1772359200.5})
    later = write_lmeval(
        tmp_path / "b",
        {"sums": [True] * 20 + [False] * 20},
        change={"date": 1772369200.5},
        stamp="2026-03-01T13-00-00.1",
    )
    import_files("lm-eval", [later, first], tmp_path / "run")
    assert [(cell.repeat, cell.accuracy) for cell in read_run(tmp_path / "run").cells] == [(1, 0.75), (2, 0.5)]
    [row] = make_views([read_run(tmp_path / "run")], task="sums")[0].rows
    assert (row.repeats, row.items) == (2, 40)


def test_a_copy_of_a_file_in_another_folder_is_no_further_repeat(tmp_path: Path) -> None:
    file = write_lmeval(tmp_path / "a", MIXED)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    found = read([file, tmp_path / "b" / file.name])
    assert [(result.task, result.repeat) for result in found.results] == [("sums", 1), ("counts", 1)]
    assert f"{file.name} is here twice; it is taken once." in found.missing
    # The same results in other bytes.
    (tmp_path / "b" / file.name).write_text(json.dumps(json.loads(file.read_text())))
    found = read([file, tmp_path / "b" / file.name])
    assert [result.task for result in found.results] == ["sums", "counts"]
    assert "made/small on sums, counts is in these files twice; it is taken once." in found.missing


def test_samples_of_one_task_in_two_files_that_differ_are_refused(tmp_path: Path) -> None:
    file = write_lmeval(tmp_path)
    other = tmp_path / "samples_sums.jsonl"
    lines = (tmp_path / f"samples_sums_{STAMP}.jsonl").read_text().splitlines()
    other.write_text("".join(f"{line}\n" for line in lines[::-1]))
    with pytest.raises(UsageError, match="has other samples of sums; name one of them"):
        read([file, other])


def test_energy_of_the_process_of_one_task_is_that_cells_and_ranks_nothing(tmp_path: Path) -> None:
    file = write_lmeval(tmp_path / "theirs", {"sums": [True] * 30 + [False] * 10})
    import_files("lm-eval", [file, write_emissions(tmp_path)], tmp_path / "run")
    [cell] = read_run(tmp_path / "run").cells
    assert cell.energy is not None
    assert (cell.energy.gross_j, cell.energy.net_j, cell.energy.u_j) == (pytest.approx(1080), None, None)
    assert (cell.energy.grade, cell.energy.scope) == ("modelled", "package+dram")
    assert "whole_process" in cell.flags
    view = make_views([read_run(tmp_path / "run")])[0]
    [row] = view.rows
    assert (row.energy_wh_per_1k, row.quality) == (pytest.approx(0.3 / 40 * 1000), pytest.approx(100 * 2 / 3))
    assert row.energy_wh_per_1k_low is row.rel_u is row.rank is row.frontier is row.correct_per_wh_low is None
    assert "unknown_error" in row.flags


def test_energy_of_several_tasks_is_not_shared_out(tmp_path: Path) -> None:
    found = read([write_lmeval(tmp_path, MIXED), write_emissions(tmp_path)])
    *tasks, whole = found.results
    assert [result.energy for result in tasks] == [None, None]
    assert whole.energy is not None
    assert (whole.quality, whole.n_items, whole.energy.gross_j) == (None, 60, pytest.approx(1080))
    assert any("cannot be shared out" in sentence for sentence in found.missing)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (({"duration": "3.0"},), "it covers 3 s, and lm-eval took 20.5 s"),
        (({}, {"run_id": "another"}), "it has 2 runs"),
        (({"cpu_energy": "0", "ram_energy": "0", "energy_consumed": "0"},), "its run has no energy"),
    ],
)
def test_emissions_that_are_not_those_of_the_results_are_refused(
    rows: tuple[dict[str, str], ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        read([write_lmeval(tmp_path), write_emissions(tmp_path, *rows)])


@given(quarters=st.integers(-12 * 4, 14 * 4), took_s=st.floats(21, 400), part=st.floats(0, 1))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_emissions_fit_in_any_zone_where_lm_eval_began_within_their_process_and_in_none_where_not(
    quarters: int, took_s: float, part: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("times")
    file = write_lmeval(folder, {"sums": [True] * 4})
    began = datetime(2026, 3, 1, 10) + timedelta(minutes=15 * quarters)

    def read_with(ended: datetime) -> Found:
        row = {"timestamp": ended.isoformat(timespec="seconds"), "duration": str(took_s)}
        return read([file, write_emissions(folder, row)])

    missing = read_with(began + timedelta(seconds=part * took_s)).missing
    assert any("only their being named together says" in sentence for sentence in missing)
    # Over some seconds before, and as many after a process that another zone might have.
    with pytest.raises(UsageError, match="it is of another run"):
        read_with(began - timedelta(seconds=7 + part * (900 - took_s - 14)))


def test_another_runs_emissions_five_minutes_later_are_refused(tmp_path: Path) -> None:
    file = write_lmeval(tmp_path)
    assert read([file, write_emissions(tmp_path, {"timestamp": "2026-03-01T15:45:21"})]).results[0].energy
    for other in ("2026-03-01T10:05:21", "2026-03-03T10:00:21", "2026-03-01T12:00:21+00:00"):
        with pytest.raises(UsageError, match=r"emissions\.csv: its process took 21\.5 s and .* it is of another run"):
            read([file, write_emissions(tmp_path, {"timestamp": other})])


def test_files_that_are_cut_short_or_of_others_are_one_clear_line(tmp_path: Path) -> None:
    file = write_lmeval(tmp_path, MIXED)
    samples = tmp_path / f"samples_sums_{STAMP}.jsonl"
    whole = samples.read_text()
    samples.write_text(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="line 21 is no whole JSON object; was it cut short"):
        read([file])
    samples.write_text("".join(line + "\n" for line in whole.splitlines()[:30]))
    with pytest.raises(UsageError, match="it has 30 of 40 questions; was it cut short"):
        read([file])
    samples.write_text(whole.replace('"acc": 0.0', '"acc": 1.0'))
    with pytest.raises(UsageError, match="its mean is not that of results_"):
        read([file])
    with pytest.raises(UsageError, match="name the results"):
        read([samples])
    (tmp_path / "other.json").write_text('{"schema": "another"}')
    with pytest.raises(UsageError, match=r"other\.json: it is no file of lm-eval's results"):
        read([tmp_path / "other.json"])
    file.write_text(file.read_text()[:-20])
    with pytest.raises(UsageError, match="cut short"):
        read([file])


def test_prompts_and_answers_come_with_the_samples(tmp_path: Path) -> None:
    import_files("lm-eval", [write_lmeval(tmp_path / "theirs")], tmp_path / "run")
    run = read_run(tmp_path / "run")
    first, *_ = run.samples(run.cells[0].cell_id) or []
    assert (first["doc_id"], first["task"], first["score"], first["target"]) == (0, "sums", 1.0, "0")
    assert (first["prompts"], first["continuations"]) == (["q"], ["0", "1", "2", "3"])
    assert first["answers"] == [["-1.0", "False"]] * 4
    files = [file["name"] for file in run.header.plan["imported"]["files"]]
    assert files == [f"results_{STAMP}.json", f"samples_sums_{STAMP}.jsonl"]


def test_samples_of_another_name_are_refused_with_the_names_that_are_looked_for(tmp_path: Path) -> None:
    file = write_lmeval(tmp_path, MIXED)
    renamed = (tmp_path / f"samples_sums_{STAMP}.jsonl").rename(tmp_path / "mine.jsonl")
    with pytest.raises(UsageError, match=r"mine\.jsonl: its name is to tell the task, .* are counts, sums; rename it"):
        read([file, renamed])
    later = write_lmeval(tmp_path, stamp="2026-03-01T13-00-00.1")
    with pytest.raises(UsageError, match=r"mine\.jsonl: whose samples these are, .* are 2026-03-01T10-00-00"):
        read([file, later, renamed])


def test_samples_that_lie_beside_results_of_another_name_are_told_of_and_not_read(tmp_path: Path) -> None:
    file = write_lmeval(tmp_path).rename(tmp_path / "mine.json")
    found = read([file])
    assert found.results[0].items is None
    assert any(f"samples_sums_{STAMP}.jsonl; name them too" in sentence for sentence in found.missing)
    assert read([file, tmp_path / f"samples_sums_{STAMP}.jsonl"]).results[0].items is not None


def test_samples_of_other_tasks_that_lie_beside_results_are_not_told_of(tmp_path: Path) -> None:
    file = write_lmeval(tmp_path, samples=False).rename(tmp_path / "mine.json")
    write_lmeval(tmp_path, {"others": [True] * 4})
    assert not any("name them too" in sentence for sentence in read([file]).missing)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_in_a_file_it_is_imported_and_ranked_or_refused_in_one_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    file, table = write_lmeval(folder), write_emissions(folder)
    which = data.draw(st.sampled_from(["results", "bytes", "samples", "emissions"]))
    if which == "results":
        file.write_bytes(data.draw(mangled_json(json.loads(file.read_text()))))
    elif which == "samples":
        samples = folder / f"samples_sums_{STAMP}.jsonl"
        lines = samples.read_bytes().splitlines()
        samples.write_bytes(b"\n".join([data.draw(mangled_json(json.loads(lines[0]))), *lines[1:]]))
    else:
        changed = file if which == "bytes" else table
        changed.write_bytes(data.draw(mangled(changed.read_bytes())))
    try:
        import_files("lm-eval", [file, table] if which == "emissions" else [file], folder / "run")
    except UsageError as problem:
        refused = str(problem)
    else:
        refused = ""
    if refused:
        assert "\n" not in refused
        return
    run = read_run(folder / "run")
    assert run.cells
    assert not run.notes
    for row in (row for view in make_views([run]) for row in view.rows):
        assert row.rank is None
        assert row.quality is None or math.isfinite(row.quality)


def test_scores_of_many_tasks_are_told_a_line_each(tmp_path: Path) -> None:
    right = {f"task_{place}": [True] * (place + 1) + [False] * 9 for place in range(7)}
    # Without samples there is no quality, and so each task's own score is what is told.
    import_files("lm-eval", [write_lmeval(tmp_path / "theirs", right, samples=False)], tmp_path / "run")
    told = CliRunner().invoke(rank, [str(tmp_path / "run")]).output
    assert [line.split() for line in told.splitlines() if line.startswith("task_")] == [
        [f"{task}:", "acc", f"{sum(own) / len(own):.3f}"] for task, own in right.items()
    ]
