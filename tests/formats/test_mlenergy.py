"""ML.ENERGY's files become energy of GPUs without quality; what they do not say is said."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mangled import mangled, mangled_json, sound_or_refused

from joulemark.harness.formats.mlenergy import read
from joulemark.harness.importing import import_files
from joulemark.harness.store import read_run
from joulemark.meters.errors import UsageError

# Made by hand after the layouts of ml-energy/leaderboard (public/data/tasks/*.json at 0cd52da) and ml-energy/benchmark
# (mlenergy/benchmark/{llm,diffusion}/benchmark.py at c1d6557).
DATA = Path(__file__).parent / "data/mlenergy"
BOARD, REQUESTS, PICTURES = (DATA / name for name in ("lm-arena-chat.json", "results.json", "pictures.json"))


def put(file: Path, folders: str, root: Path) -> Path:
    """The file where the benchmark would have written it."""
    place = root / folders / "results.json"
    place.parent.mkdir(parents=True)
    shutil.copy(file, place)
    return place


def changed(file: Path, to: Path, **values: object) -> Path:
    told = json.loads(file.read_text()) | values
    to.write_text(json.dumps({key: value for key, value in told.items() if value is not ...}))
    return to


def test_a_row_of_the_leaderboard_is_one_mean_response_with_energy_of_the_gpus_by_their_counter() -> None:
    found = read([BOARD])
    small, large, moe = found.results
    assert (small.model, small.task, small.n_items) == ("made/dense-8b", "ml-energy/lm-arena-chat", 1)
    assert small.energy is not None
    assert (small.energy.gross_j, small.energy.grade, small.energy.scope) == (500.25, "counter", "gpu")
    assert small.energy.window_s == pytest.approx(500.25 / 300)
    assert (small.setting["max_num_seqs"], large.setting["max_num_seqs"]) == (8, 64)
    assert (small.machine_id == large.machine_id, small.machine_id == moe.machine_id) == (True, False)
    assert (moe.model_info.kind, moe.model_info.params, moe.model_info.active_params) == (
        "moe",
        30_000_000_000,
        3_000_000_000,
    )
    assert [gpu.name for gpu in found.stations[1].machine.accelerators] == ["B200", "B200"]


def test_requests_take_the_energy_per_token_of_the_steady_state_and_say_so(tmp_path: Path) -> None:
    file = put(REQUESTS, "run/llm/lm-arena-chat/results/made/dense-8b/H100/num_gpus+1+max_num_seqs+2", tmp_path)
    (result,) = read([file]).results
    assert result.task == "ml-energy/lm-arena-chat"
    assert result.energy is not None
    assert (result.energy.gross_j, result.n_items, result.flags) == (0.5 * 406, 4, ("steady_state",))
    assert result.energy.window_s == pytest.approx(203 / (120 / 5))
    assert (result.tokens.prompt, result.tokens.generated) == (86, 406)
    assert (result.latency_s.p50, result.ttft_s.p50) == (pytest.approx(2.15), pytest.approx(0.115))
    assert result.started_at == "2026-01-02T03:04:05+00:00"


def test_without_a_steady_state_the_energy_is_what_was_measured_over_all_requests(tmp_path: Path) -> None:
    file = changed(REQUESTS, tmp_path / "results.json", steady_state_energy_per_token=...)
    (result,) = read([file]).results
    assert result.energy is not None
    assert (result.energy.gross_j, result.energy.window_s, result.flags) == (230.0, 9.0, ())


def test_pictures_have_the_gpu_and_the_task_of_their_folders(tmp_path: Path) -> None:
    file = put(PICTURES, "run/diffusion/text-to-image/results/made/pictures/B200/batch_size+2", tmp_path)
    found = read([file])
    (result,) = found.results
    assert (result.task, found.stations[0].machine.accelerators[0].name) == ("ml-energy/text-to-image", "B200")
    assert result.setting["gen_kwargs"] == "width=512,height=512,inference_steps=20"
    assert result.energy is not None
    assert (result.energy.gross_j, result.energy.grade, result.n_items) == (3000.0, "counter", 6)


def test_a_gpu_that_is_not_told_may_have_no_counter_and_is_graded_so() -> None:
    found = read([PICTURES])
    assert found.results[0].energy is not None
    assert found.results[0].energy.grade == "polled"
    assert any("'unknown'" in sentence and "graded polled" in sentence for sentence in found.missing)
    assert any("does not name its task" in sentence for sentence in found.missing)


def test_failed_requests_are_no_answers(tmp_path: Path) -> None:
    found = read([changed(REQUESTS, tmp_path / "results.json", num_prompts=6)])
    assert found.results[0].n_items == 4
    assert any("2 of 6 requests failed" in sentence for sentence in found.missing)


def test_seconds_that_cannot_be_are_none(tmp_path: Path) -> None:
    rows = json.loads(BOARD.read_text())["configurations"]
    rows[0]["avg_power_watts"] = 1e-308
    found = read([changed(BOARD, tmp_path / "board.json", configurations=rows)])
    assert found.results[0].energy is not None
    assert found.results[0].energy.window_s is None


def test_a_row_without_energy_is_left_out_and_said(tmp_path: Path) -> None:
    rows = json.loads(BOARD.read_text())["configurations"]
    rows[0]["energy_per_request_joules"] = 0.0
    found = read([changed(BOARD, tmp_path / "board.json", configurations=rows)])
    assert len(found.results) == 2
    assert "board.json: row 1 has no energy; left out." in found.missing


def test_the_same_figure_in_two_files_is_taken_once_and_another_is_a_repeat(tmp_path: Path) -> None:
    again = changed(BOARD, tmp_path / "again.json")
    assert len(read([BOARD, again]).results) == 3
    rows = json.loads(BOARD.read_text())["configurations"]
    rows[0]["energy_per_request_joules"] *= 1.01
    again = changed(BOARD, tmp_path / "again.json", configurations=rows)
    import_files("ml-energy", [BOARD, again], tmp_path / "run")
    assert sorted(cell.repeat for cell in read_run(tmp_path / "run").cells) == [1, 1, 1, 2]


def test_what_is_none_of_its_files_is_one_clear_line(tmp_path: Path) -> None:
    cut = tmp_path / "cut.json"
    cut.write_bytes(BOARD.read_bytes()[:-200])
    with pytest.raises(UsageError, match=r"cut\.json: it is no JSON, or is cut short"):
        read([cut])
    with pytest.raises(UsageError, match="index holds no energy"):
        read([changed(BOARD, tmp_path / "index.json", configurations=..., models={}, tasks=[])])
    with pytest.raises(UsageError, match=r"no results\.json of ML\.ENERGY"):
        read([Path(__file__).parent / "data/ipw/summary.json"])
    with pytest.raises(UsageError, match="No such file"):
        read([tmp_path / "absent.json"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        *(mangled(file.read_bytes()) for file in (BOARD, REQUESTS)),
        *(mangled_json(json.loads(file.read_text())) for file in (BOARD, REQUESTS, PICTURES)),
    )
)
def test_whatever_a_file_holds_there_are_sound_rows_or_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(content)
    sound_or_refused(read, [file])
