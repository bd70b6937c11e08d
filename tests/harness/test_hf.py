"""Models that lm-eval's ``hf`` loads, measured from the command line as a user would: a Llama and a Mixtral."""

from __future__ import annotations

import math
import re
import subprocess

import pandas as pd
import pytest
import tiny

from joulemark.harness.record import Cell
from joulemark.harness.store import Run, read_run

from .conftest import call

TASKS = ("tiny_sums_shown", "tiny_counts", "tiny_group", "tiny_texts", "tiny_long", "tiny_chrf")
GENERATING = ("tiny_sums_shown", "tiny_counts", "tiny_long", "tiny_chrf")
OWN = {
    "tiny_long": """include: tiny_sums.yaml
task: tiny_long
tag: []
doc_to_text: "{{ '3+4=7. ' * (40 if prompt[0] == '3' else 1) }}{{ prompt }}"
""",
    "tiny_chrf": """include: tiny_counts.yaml
task: tiny_chrf
tag: []
metric_list: [{metric: chrf}]
""",
}
"""Some prompts longer than the models read; and a metric of all answers together, up to 100."""

BATCH = 5


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, subprocess.CompletedProcess[str]]:
    """Two models on tasks that generate, choose and score."""
    folder = tmp_path_factory.mktemp("hf")
    models = [f"{kind}=hf:pretrained={tiny.make_model(kind, folder / kind)}" for kind in ("llama", "mixtral")]
    tasks = tiny.make_tasks(folder / "tasks")
    for name, text in OWN.items():
        (tasks / f"{name}.yaml").write_text(text)
    named = [part for model in models for part in ("-m", model)] + [part for task in TASKS for part in ("-t", task)]
    done = call(
        "run", *named, "--include-path", tasks, "--batch-size", str(BATCH), "--repeats", "1", "--meter", "modelled",
        "--log-samples", "--out", folder / "run", HF_HUB_OFFLINE="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return read_run(folder / "run"), done


def items_of(run: Run, cell: Cell) -> pd.DataFrame:
    return pd.read_parquet(run.path / "items" / f"{cell.cell_id}.parquet")


def test_every_model_meets_every_task_and_each_cell_has_energy(measured: tuple[Run, object]) -> None:
    run = measured[0]
    assert {(cell.model, cell.task) for cell in run.cells} == {(m, t) for m in ("llama", "mixtral") for t in TASKS}
    for cell in run.cells:
        assert cell.status == "ok", cell.error
        assert cell.energy is not None
        assert cell.energy.gross_j is not None
        assert cell.energy.window_s >= 0.5
        assert "outside_meter" not in cell.flags
        assert "prefix_cache" not in cell.flags
        assert cell.phases.load_j is not None
        assert cell.model_info.peak_rss_mb > 50  # type: ignore[operator]


def test_what_items_take_adds_up_to_the_meter_and_so_do_the_phases(measured: tuple[Run, object]) -> None:
    run = measured[0]
    for cell in run.cells:
        energy, phases = cell.energy, cell.phases
        assert math.isclose(items_of(run, cell)["energy_j"].sum(), energy.net_j, rel_tol=1e-9)
        parts = (phases.prefill_j, phases.decode_j, phases.other_j, energy.idle_j)
        assert all(part >= 0 for part in parts)
        assert math.isclose(sum(parts), energy.gross_j, rel_tol=1e-9)


def test_generating_has_both_phases_and_scoring_one(measured: tuple[Run, object]) -> None:
    for cell in measured[0].cells:
        generates = cell.task in GENERATING
        assert cell.phases.prefill_j > 0  # type: ignore[operator]
        assert (cell.phases.decode_j > 0) == generates  # type: ignore[operator]
        assert (cell.ttft_s.p50 is not None) == generates
        assert cell.latency_s.p50 is not None


def test_tokens_are_those_of_the_first_loop_and_of_nothing_else(measured: tuple[Run, object]) -> None:
    run = measured[0]
    for cell in run.cells:
        items = items_of(run, cell)
        for name, total in cell.tokens.model_dump().items():
            assert items[f"{name}_tokens"].sum() == total
        assert cell.tokens.prompt / cell.n_items < tiny.CONTEXT * 5  # type: ignore[operator]
        assert cell.energy.loops > 1


def test_answers_that_the_token_cap_cut_off_are_told_apart(measured: tuple[Run, object]) -> None:
    run = measured[0]
    [counts] = [cell for cell in run.cells if (cell.model, cell.task) == ("llama", "tiny_counts")]
    items = items_of(run, counts)
    # Counting to 5 and further takes more tokens than the task allows.
    assert items["truncated"].tolist()[4:] == [True] * 5
    assert (items.loc[items["truncated"], "generated_tokens"] == 5).all()
    assert 5 / 9 <= counts.truncated < 1  # type: ignore[operator]
    [shown] = [cell for cell in run.cells if (cell.model, cell.task) == ("llama", "tiny_sums_shown")]
    assert shown.truncated == 0


def test_a_group_is_one_cell_with_the_items_of_all_its_tasks(measured: tuple[Run, object]) -> None:
    run = measured[0]
    for cell in run.cells:
        if cell.task == "tiny_group":
            items = items_of(run, cell)
            assert items["doc_id"].is_unique
            assert {cluster.partition("/")[0] for cluster in items["cluster"]} == {"tiny_picks", "tiny_odd"}
            assert items["score"].mean() == pytest.approx(cell.accuracy)
            assert (cell.metric, cell.task_version) == ("acc", "2.0")


NO_SHARES = {"tiny_texts": "bits_per_byte", "tiny_chrf": "chrf"}


def test_a_metric_that_is_no_share_of_right_answers_is_told_by_its_name_and_as_no_accuracy(
    measured: tuple[Run, subprocess.CompletedProcess[str]],
) -> None:
    run, done = measured
    for cell in run.cells:
        no_share = NO_SHARES.get(cell.task)
        assert (cell.accuracy is None) == (cell.quality is None) == (cell.chance is None) == bool(no_share)
        items = items_of(run, cell)
        assert items["score"].isna().all() == items["correct"].isna().all() == bool(no_share)
        assert items["score"].isna().any() == items["correct"].isna().any() == bool(no_share)
        if no_share:
            assert cell.metric == next(iter(cell.other_metrics)) == no_share
            assert 1 < cell.other_metrics[no_share] < 100
    assert re.search("tiny_chrf .*tiny_texts .* no shares? of right answers", " ".join(done.stdout.split()))


def test_scores_tell_right_answers_from_wrong_ones(measured: tuple[Run, object]) -> None:
    run = measured[0]
    found: dict[str, set[float]] = {"llama": set(), "mixtral": set()}
    for cell in run.cells:
        items = items_of(run, cell)
        found[cell.model] |= set(items["score"].dropna())
        assert (items["correct"].dropna() == (items["score"].dropna() == 1)).all()
    assert all(scores == {0.0, 1.0} for scores in found.values())


def test_prompts_that_lost_a_part_are_told_by_item_and_their_cells_are_flagged(measured: tuple[Run, object]) -> None:
    run = measured[0]
    for cell in run.cells:
        cut = items_of(run, cell)["cut"]
        assert ("prompt_cut" in cell.flags) == cut.any() == (cell.task == "tiny_long")
        assert cut.notna().all()
        if cell.task == "tiny_long":
            # The sums that begin with a 3.
            asked = [sample["prompts"][0] for sample in run.samples(cell.cell_id) or ()]
            assert cut.tolist() == [prompt.count("7") >= 40 for prompt in asked]
            assert 0 < cut.sum() < len(cut)
    report = (run.path / "report" / "report.md").read_text()
    assert "lost a part: what was asked is not what the task says" in report


def test_samples_tell_what_was_asked_and_answered_and_why_it_scored_so(measured: tuple[Run, object]) -> None:
    run = measured[0]
    for cell in run.cells:
        samples, items = run.samples(cell.cell_id), items_of(run, cell)
        assert samples is not None
        assert [sample["doc_id"] for sample in samples] == items["doc_id"].tolist()
        assert [sample["doc_hash"] for sample in samples] == items["doc_hash"].tolist()
        scores = [math.nan if sample["score"] is None else sample["score"] for sample in samples]
        assert scores == pytest.approx(items["score"].tolist(), nan_ok=True)
        for sample in samples:
            if cell.task in ("tiny_sums_shown", "tiny_counts"):
                assert (sample["filtered"] == [sample["target"]]) == (sample["score"] == 1)
            elif cell.task == "tiny_group":
                likeliest = max(range(len(sample["answers"])), key=lambda at: sample["answers"][at][0])
                assert len(sample["continuations"]) == len(sample["answers"]) > 1
                assert (likeliest == sample["target"]) == (sample["score"] == 1)
                assert sample["task"] in ("tiny_picks", "tiny_odd")
            elif cell.task == "tiny_texts":
                assert sample["answers"][0] < 0
        assert "log_samples" not in cell.setting
