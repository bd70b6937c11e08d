"""Results of lm-eval's form, read by lm-eval's own code; and our block in them, read back."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.loggers import EvaluationTracker
from lm_eval.utils import hash_string, make_table

from joulemark.harness.formats.found import Found
from joulemark.harness.formats.lmeval import read
from joulemark.harness.formats.ownblock import BLOCK, CELL_KEYS, items_of, read_block
from joulemark.harness.importing import import_files
from joulemark.harness.record import IMPORTED, ITEM_COLUMNS, Carbon, Cell
from joulemark.harness.store import Run, read_run
from joulemark.meters.errors import UsageError
from joulemark.reports.compare import compare
from joulemark.reports.entrants import gather
from joulemark.reports.exports.lmeval import as_lmeval, samples_of
from joulemark.reports.exports.told import one_told
from joulemark.reports.gatecommands import gate
from joulemark.reports.gatehistory import read_history
from joulemark.reports.views import make_views

WRITTEN_BY_LM_EVAL = {
    "results",
    "group_subtasks",
    "configs",
    "versions",
    "n-shot",
    "higher_is_better",
    "n-samples",
    "config",
    "git_hash",
    "date",
    "lm_eval_version",
    "transformers_version",
    "task_hashes",
    "model_source",
    "model_name",
    "model_name_sanitized",
    "system_instruction",
    "fewshot_as_multiturn",
    "chat_template",
    "total_evaluation_time_seconds",
}
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def make_run(make_run: Callable[..., Run]) -> Callable[..., Run]:
    """Runs whose cells tell what each meter counted, as those that were measured do."""

    def make(name: str = "run-1", change: Callable[[Cell], Cell] = lambda cell: cell, **kwargs: Any) -> Run:
        return make_run(name, change=lambda cell: change(counted(cell)), **kwargs)

    return make


def counted(cell: Cell) -> Cell:
    """The cell with all of its joules by the one meter."""
    assert cell.energy is not None
    return cell.model_copy(
        update={"energy": cell.energy.model_copy(update={"domains": {"modelled:cpu": cell.energy.gross_j}})}
    )


def exported(run: Run, entrant: str = "dense-60k") -> dict[str, Any]:
    content: dict[str, Any] = json.loads(as_lmeval(run, entrant))
    return content


def with_samples(run: Run) -> Run:
    """With texts beside each cell's items, as ``--log-samples`` keeps them."""
    (run.path / "samples").mkdir()
    for cell_id, items in run.items().groupby("cell_id"):
        lines = [
            {
                "doc_id": row.doc_id,
                "doc_hash": row.doc_hash,
                "task": "t",
                "score": row.score,
                "prompts": [f"asks {row.doc_id}"],
                "continuations": [" a", " b"],
                "answers": [[-1.5, True], [-2.5, False]],
                "filtered": [[-1.5, True], [-2.5, False]],
                "target": 0,
            }
            for row in items.itertuples()
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (run.path / "samples" / f"{cell_id}.jsonl").write_text(text, encoding="utf-8")
    return run


def test_lm_evals_own_table_shows_the_accuracy_and_its_error(make_run: Callable[..., Run]) -> None:
    run = make_run()
    content = exported(run)
    assert content.keys() == WRITTEN_BY_LM_EVAL | {BLOCK}
    lines = [[part.strip() for part in line.split("|")] for line in make_table(content).splitlines()[2:]]
    told = {line[1]: (line[5], float(line[7]), float(line[9])) for line in lines if len(line) > 9}
    for cell in run.cells:
        if cell.model == "dense-60k":
            metric, value, error = told[cell.task]
            assert metric == cell.metric
            assert value == pytest.approx(cell.accuracy, abs=1e-4)
            assert error == pytest.approx((value * (1 - value) / cell.n_items) ** 0.5, rel=0.1)


def test_energy_stands_in_our_block_as_in_the_table(make_run: Callable[..., Run]) -> None:
    run = make_run()
    block = exported(run)[BLOCK]
    for view in make_views([run]):
        [row] = [row for row in view.rows if row.model == "dense-60k"]
        figures = block["figures"][view.task]
        for name in ("energy_wh_per_1k", "energy_wh_per_1k_low", "quality", "quality_high", "correct_per_wh", "rel_u"):
            assert figures[name] == getattr(row, name)
        assert "rank" not in figures
    assert (block["grade"], block["scope"]) == ("modelled", "package")
    assert "not measured joules" in block["energy_note"]


def test_our_block_gives_back_all_of_each_cell_that_an_import_can_hold(make_run: Callable[..., Run]) -> None:
    run = make_run()
    found = read_block(exported(run), "results.json")
    assert found is not None
    own = one_told(run, "dense-60k").cells
    assert len(own) == 6
    for cell, result in zip(own, found.results, strict=True):
        assert {name: getattr(result, name) for name in CELL_KEYS} == {name: getattr(cell, name) for name in CELL_KEYS}
    [station] = found.stations
    header = run.header
    assert (station.machine, station.meters, station.idle) == (header.machine, header.meters, header.idle)
    assert found.created_at == header.created_at
    assert read_block({"results": {}}, "results.json") is None


def test_what_is_missing_is_left_out_or_null(make_run: Callable[..., Run]) -> None:
    def change(cell: Cell) -> Cell:
        no_share = {"chance": None, "quality": None, "accuracy": None, "other_metrics": {"word_perplexity": 21.5}}
        lost = {"energy": None, "setting": {}, "task_hash": None, "metric": "word_perplexity"}
        return cell.model_copy(update=no_share | lost)

    content = exported(make_run(change=change))
    assert content["results"]["dates"]["word_perplexity,none"] == 21.5
    assert content["results"]["dates"]["word_perplexity_stderr,none"] == "N/A"
    assert content["n-samples"]["dates"] == {"original": None, "effective": 120}
    assert (content["task_hashes"], content["n-shot"], content["higher_is_better"]) == ({}, {}, {})
    assert content[BLOCK]["figures"]["all"]["energy_wh_per_1k"] is None
    assert {cell["energy"] for cell in content[BLOCK]["cells"]} == {None}
    make_table(content)


def test_lm_evals_tracker_takes_our_results_and_samples(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = with_samples(make_run())
    files = samples_of(run, "dense-60k")
    assert sorted(files) == ["samples_dates.jsonl", "samples_units.jsonl"]
    samples = {t: [json.loads(line) for line in files[f"samples_{t}.jsonl"].splitlines()] for t in ("dates", "units")}
    tracker = EvaluationTracker(output_path=str(tmp_path))
    tracker.save_results_aggregated(results=exported(run), samples=samples)
    [saved] = tmp_path.rglob("results_*.json")
    assert json.loads(saved.read_bytes())[BLOCK]["grade"] == "modelled"
    first = samples["dates"][0]
    assert first["prompt_hash"] == hash_string("asks 0")
    assert first["arguments"] == {f"gen_args_{k}": {"arg_0": "asks 0", "arg_1": f" {w}"} for k, w in enumerate("ab")}
    scores = [sample["exact_match"] for sample in samples["dates"]]
    assert sum(scores) / len(scores) == pytest.approx(exported(run)["results"]["dates"]["exact_match,none"])


def test_samples_give_back_the_items_of_every_repeat(make_run: Callable[..., Run]) -> None:
    run = with_samples(make_run())
    samples = [json.loads(line) for line in samples_of(run, "dense-60k")["samples_units.jsonl"].splitlines()]
    every = run.items()
    for cell in one_told(run, "dense-60k").cells:
        if cell.task == "units":
            back = items_of(samples, cell.repeat)
            assert back is not None
            own = every[every["cell_id"] == cell.cell_id]
            for name in ("doc_id", "doc_hash", "score", "energy_j", "level", "truncated", "prompt_tokens"):
                assert back[name].tolist() == own[name].tolist()
            assert list(back) == list(ITEM_COLUMNS)
    assert items_of(samples, 99) is None
    assert items_of([{"doc_id": 0}], 1) is None


@pytest.mark.parametrize("keep_items", [True, False])
def test_what_was_exported_and_imported_is_exported_alike(
    make_run: Callable[..., Run], tmp_path: Path, keep_items: bool
) -> None:
    """But for what says that it was imported; without its items there are no intervals of quality, and no texts."""
    run = telling_carbon(with_samples(make_run()))
    files = written(run, tmp_path / "once", samples=keep_items)
    import_files("lm-eval", files, tmp_path / "imported")
    back = read_run(tmp_path / "imported")
    assert (back.header.carbon, back.header.created_at) == (run.header.carbon, run.header.created_at)
    again = written(back, tmp_path / "again", samples=keep_items)
    first, second = (lasting(json.loads(names[0].read_bytes()), figures=keep_items) for names in (files, again))
    assert second == first
    if keep_items:
        assert [name.read_bytes() for name in again[1:]] == [name.read_bytes() for name in files[1:]]
        texts = [back.samples(cell.cell_id) for cell in back.cells]
        first_of = {cell.task: cell.cell_id for cell in reversed(one_told(run, "dense-60k").cells)}
        assert [own for own in texts if own] == [run.samples(first_of[task]) for task in ("dates", "units")]
    import_files("lm-eval", again, tmp_path / "twice")
    assert same(read(again), read(files))
    # What was lost without samples stays known; else nothing is.
    lost = () if keep_items else tuple(back.header.plan["imported"]["missing"])
    assert [origin.missing for origin in read(again).origins] == [lost]
    assert [cell.energy for cell in read_run(tmp_path / "twice").cells] == [cell.energy for cell in back.cells]


def test_exports_of_two_models_become_one_run_and_a_gate_does_not_judge_it(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run()
    files = [written(run, tmp_path / name, samples=True, entrant=name) for name in ("dense-60k", "dense-240k")]
    import_files("lm-eval", [file for own in files for file in own], tmp_path / "back")
    back = read_run(tmp_path / "back")
    assert {cell.model for cell in back.cells} == {"dense-60k", "dense-240k"}
    assert len(back.items()) == 2 * 2 * 3 * 120
    assert back.header.plan["imported"]["origins"] == [{"format": "joulemark", "run_id": "run-1"}]
    [note, *_] = make_views([back])[0].notes
    assert note == "back was imported from what Joulemark exported of run run-1; nobody can check it."
    assert not compare(*gather([back]), task="dates").one_sitting
    sides = ["--baseline", f"{back.path}:dense-60k", "--candidate", f"{back.path}:dense-240k", "--json"]
    told = CliRunner().invoke(gate, sides, standalone_mode=False)
    [reason] = json.loads(told.stdout)["reasons"]
    assert (told.return_value, "back was imported, and a gate judges what `joulemark run` measured" in reason) == (
        4,
        True,
    )
    with pytest.raises(UsageError, match="was imported, and a history is of what was measured here"):
        read_history([back.path])


def test_files_that_take_a_kilowatt_hour_for_different_things_leave_carbon_out(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    runs = [telling_carbon(make_run(name), grams) for name, grams in (("one", 50.0), ("other", 400.0))]
    files = [written(run, tmp_path / f"of-{run.path.name}", samples=False)[0] for run in runs]
    found = import_files("lm-eval", files, tmp_path / "back")
    back = read_run(tmp_path / "back")
    assert back.header.carbon is None
    assert {cell.energy and cell.energy.carbon_g for cell in back.cells} == {None}
    assert any("so there is none in the run" in sentence for sentence in found.missing)


def telling_carbon(run: Run, grams: float = 50.0) -> Run:
    """The run with what a kilowatt-hour stands for."""
    header = run.header.model_copy(update={"carbon": Carbon(g_per_kwh=grams, source="somebody", year=2025)})
    (run.path / "run.json").write_text(header.model_dump_json(by_alias=True), encoding="utf-8")
    return read_run(run.path)


def written(run: Run, folder: Path, *, samples: bool, entrant: str = "dense-60k") -> list[Path]:
    """The files of an export, results first."""
    folder.mkdir()
    contents = {"results.json": as_lmeval(run, entrant)} | (samples_of(run, entrant) if samples else {})
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def lasting(content: dict[str, Any], *, figures: bool) -> dict[str, Any]:
    """What does not depend on the run that it was exported from."""
    block = content[BLOCK]
    assert (block.pop("run_id") == "run-1") == (block.pop("imported") is None)
    for told in block["figures"].values():
        told["flags"] = [flag for flag in told["flags"] if flag != IMPORTED]
        del told["repeats_planned"]
    if not figures:
        del block["figures"]
        content["results"], content["higher_is_better"] = sorted(content["results"]), {}
        content["configs"] = sorted(content["configs"])
    return content


def same(one: Found, other: Found) -> bool:
    """Whether two files hold the same."""
    pairs = list(zip(one.results, other.results, strict=True))
    items = [(a.items, b.items) for a, b in pairs]
    return (
        all((a is b is None) or (a is not None and a.equals(b)) for a, b in items)
        and [replace(a, items=None) for a, _ in pairs] == [replace(b, items=None) for _, b in pairs]
        and (one.stations, one.created_at, one.carbon) == (other.stations, other.created_at, other.carbon)
        and [origin.run_id for origin in one.origins] == [origin.run_id for origin in other.origins]
    )


def test_a_tasks_name_is_no_path(make_run: Callable[..., Run]) -> None:
    def change(cell: Cell) -> Cell:
        return cell.model_copy(update={"task": f"../../{cell.task}"})

    files = samples_of(with_samples(make_run(change=change)), "dense-60k")
    assert sorted(files) == ["samples_..-..-dates.jsonl", "samples_..-..-units.jsonl"]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory, write: Callable[..., Run]) -> dict[str, Any]:
    run = write(
        tmp_path_factory.mktemp("block") / "r", {"mine": (0.7, 0.001, 1)}, tasks=("units",), items=20, change=counted
    )
    return exported(run, "mine")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_block_that_was_changed_is_read_or_refused_in_one_line(content: dict[str, Any], data: st.DataObject) -> None:
    changed = copy.deepcopy(content)
    at: Any = changed[BLOCK]
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        inner = at[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        at = inner
    if data.draw(st.booleans()):
        at[key] = data.draw(JUNK)
    else:
        del at[key]
    refused = ""
    try:
        read_block(changed, "results.json")
    except UsageError as problem:
        refused = str(problem)
    assert "\n" not in refused
    assert not refused or "results.json" in refused
