"""Intelligence per Watt's accuracies and joules become a row; its ratios and what it fills in do not."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mangled import mangled, mangled_json, sound_or_refused

from joulemark.harness.formats.ipw import read
from joulemark.meters.errors import UsageError

# Made by hand after HazyResearch/intelligence-per-watt (analysis/accuracy.py at 0aa941d, execution/runner.py).
DATA = Path(__file__).parent / "data/ipw"
GRADED, SUMMARY = DATA / "accuracy.json", DATA / "summary.json"


def graded(folder: Path, **energy: object) -> Path:
    """The accuracies, with other energies."""
    told = json.loads(GRADED.read_text())
    told["data"]["efficiency"]["made-1b"]["energy"] |= energy
    file = folder / "accuracy.json"
    file.write_text(json.dumps(told))
    return file


def on(folder: Path, **gpu: str) -> Path:
    """The summary, of another GPU."""
    told = json.loads(SUMMARY.read_text())
    told["gpu_info"] |= gpu
    file = folder / "summary.json"
    file.write_text(json.dumps(told))
    return file


def joules(*files: Path) -> Any:
    energy = read(files).results[0].energy
    return energy and energy.gross_j


def test_accuracy_and_the_sum_of_joules_are_taken_without_those_that_were_filled_in() -> None:
    found = read([SUMMARY, GRADED])
    (result,) = found.results
    assert (result.model, result.task, result.n_items) == ("made-1b", "intelligence-per-watt/mmlu-pro", 100)
    assert (result.accuracy, result.chance, result.quality) == (0.42, None, None)
    assert result.energy is not None
    assert result.energy.gross_j == pytest.approx(5000 - 4 * 30)
    assert found.created_at is None, "generated_at is when the summary was written"
    assert any("4 of 100 queries have 0 J" in sentence for sentence in found.missing)


@pytest.mark.parametrize(
    ("backend", "grade", "scope"),
    [("NVML", "polled", "gpu"), ("AMDSMI", "polled", "gpu"), ("powermetrics", "modelled", "soc")],
)
def test_grade_and_scope_are_those_of_what_its_monitor_asks(
    backend: str, grade: str, scope: str, tmp_path: Path
) -> None:
    energy = read([on(tmp_path, backend=backend), GRADED]).results[0].energy
    assert energy is not None
    assert (energy.grade, energy.scope) == (grade, scope)


def test_without_knowing_what_was_measured_there_is_accuracy_alone(tmp_path: Path) -> None:
    alone = read([GRADED])
    assert (alone.results[0].energy, alone.results[0].accuracy) == (None, 0.42)
    assert any("no summary.json of made-1b was named" in sentence for sentence in alone.missing)
    assert joules(on(tmp_path, backend="other"), GRADED) is None


@pytest.mark.parametrize(
    ("told", "gpus"),
    [("NVIDIA L4 x1", ["NVIDIA L4"]), ("NVIDIA L4 x2", ["NVIDIA L4"] * 2), ("Apple M4 Max", ["Apple M4 Max"])],
)
def test_gpus_of_one_kind_are_counted_and_their_number_is_in_no_name(
    told: str, gpus: list[str], tmp_path: Path
) -> None:
    summary = tmp_path / "summary.json"
    summary.write_text(SUMMARY.read_text().replace("NVIDIA H100 80GB HBM3 x1", told))
    [station] = read([GRADED, summary]).stations
    assert [gpu.name for gpu in station.machine.accelerators] == gpus


def test_of_accuracy_alone_no_energy_is_described() -> None:
    assert not any("joules" in sentence or "counter" in sentence for sentence in read([GRADED]).missing)


def recorded(folder: Path, joules: Sequence[float | None]) -> Path:
    """The records of a profile of so many queries, written by what the tool writes them with."""
    figures = [
        {
            "energy_metrics": {"per_query_joules": own, "total_joules": own},
            "latency_metrics": {"total_query_seconds": 2.0 + number, "time_to_first_token_seconds": 0.5},
            "token_metrics": {"input": 10, "output": 20, "total": 30},
            "gpu_info": {"name": "NVIDIA H100 80GB HBM3 x1", "backend": "NVML"},
            "system_info": {"os_name": "Ubuntu", "cpu_count": 64, "cpu_brand": "AMD EPYC 9534"},
            "lm_correctness": False,
        }
        for number, own in enumerate(joules)
    ]
    rows = [{"problem": "?", "answer": "!", "model_metrics": {"made-1b": own}} for own in figures]
    Dataset.from_list(rows).save_to_disk(folder)
    return folder / "data-00000-of-00001.arrow"


def test_records_are_energy_tokens_and_latency_of_all_queries_without_quality(tmp_path: Path) -> None:
    file = recorded(tmp_path / "profile", [5.0, 0.0, 7.0])
    found = read([file])
    (result,) = found.results
    assert result.energy is not None
    assert (result.energy.gross_j, result.energy.grade, result.n_items, result.accuracy) == (12.0, "polled", 3, None)
    assert (result.tokens.prompt, result.tokens.generated) == (30, 60)
    assert (result.latency_s.p50, result.ttft_s.p95) == (3.0, 0.5)
    assert result.task == "intelligence-per-watt/unknown"
    assert any("no summary.json of its records" in sentence for sentence in found.missing)
    (tmp_path / "profile/summary.json").write_bytes(SUMMARY.read_bytes())
    assert read([file, tmp_path / "profile/summary.json"]).results[0].task == "intelligence-per-watt/mmlu-pro"


def test_records_of_which_some_have_no_joules_are_no_energy(tmp_path: Path) -> None:
    found = read([recorded(tmp_path, [5.0, None, 7.0])])
    assert found.results[0].energy is None
    assert "made-1b: 1 of 3 queries have no joules; there is no energy." in found.missing


def test_records_beside_graded_answers_of_as_many_queries_add_tokens_and_latency_to_these(tmp_path: Path) -> None:
    file = recorded(tmp_path, [5.0] * 100)
    for own in (GRADED, SUMMARY):
        (tmp_path / own.name).write_bytes(own.read_bytes())
    (result,) = read([file, tmp_path / GRADED.name, tmp_path / SUMMARY.name]).results
    assert (result.accuracy, result.tokens.generated) == (0.42, 2000)
    assert result.energy is not None
    assert result.energy.gross_j == pytest.approx(5000 - 4 * 30)


def test_records_that_are_cut_short_or_of_another_kind_are_one_clear_line(tmp_path: Path) -> None:
    whole = recorded(tmp_path, [5.0, 7.0]).read_bytes()
    other = tmp_path / "data-00000-of-00001.arrow"
    for cut in (0, 10, len(whole) // 2):
        other.write_bytes(whole[:cut])
        with pytest.raises(UsageError, match="no Arrow stream of the datasets library, or is cut short"):
            read([other])
    Dataset.from_list([{"problem": "?"}]).save_to_disk(tmp_path / "plain")
    with pytest.raises(UsageError, match="no queries with model_metrics"):
        read([tmp_path / "plain/data-00000-of-00001.arrow"])
    part = tmp_path / "data-00000-of-00002.arrow"
    part.write_bytes(whole)
    with pytest.raises(UsageError, match="it is one of 2 files of its profile"):
        read([part])


def test_records_of_other_queries_than_were_graded_are_said_to_be_left_out(tmp_path: Path) -> None:
    file = recorded(tmp_path, [5.0] * 7)
    (tmp_path / GRADED.name).write_bytes(GRADED.read_bytes())
    found = read([file, tmp_path / GRADED.name])
    assert found.results[0].tokens.generated is None
    assert any("data-*.arrow of 7 queries of made-1b were named and not read" in each for each in found.missing)


def metered(joules: pa.Array) -> pa.Array:
    """A column of figures with these joules."""
    for name in ("per_query_joules", "energy_metrics", "made-1b"):
        joules = pa.StructArray.from_arrays([joules], [name])
    return joules


MANY = 20_000_000


@pytest.mark.parametrize(
    ("column", "batches", "said"),
    [
        (pa.nulls(MANY), 1, "no queries with model_metrics"),
        (pa.nulls(MANY), 50, "no queries with model_metrics"),
        (metered(pa.nulls(MANY)), 1, "more than any profile"),
        (metered(pa.nulls(600_000)), 2, "more than any profile"),
        (metered(pa.FixedSizeListArray.from_arrays(pa.nulls(MANY), MANY)), 1, "answered by 0 models"),
        (metered(pa.array([2**60]).view(pa.timestamp("s"))), 1, "answered by 0 models"),
        (metered(pa.array([2**62]).view(pa.duration("s"))), 1, "answered by 0 models"),
        (metered(pa.array([2**30], pa.int32()).view(pa.date32())), 1, "answered by 0 models"),
        (metered(pa.array([2**62]).view(pa.time64("us"))), 1, "no Arrow stream"),
    ],
)
def test_a_small_file_that_claims_what_no_profile_has_is_one_clear_line(
    column: pa.Array, batches: int, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "data.arrow"
    batch = pa.record_batch([column], names=["model_metrics"])
    with pa.OSFile(str(file), "wb") as out, pa.ipc.new_stream(out, batch.schema) as stream:
        for _ in range(batches):
            stream.write_batch(batch)
    with pytest.raises(UsageError, match=said):
        read([file])


def test_joules_of_some_queries_are_no_energy_of_all(tmp_path: Path) -> None:
    assert joules(SUMMARY, graded(tmp_path, count=90)) is None
    assert joules(SUMMARY, graded(tmp_path, imputed_count=100, imputed_from_power=50.0, zero_values=100)) is None
    assert joules(SUMMARY, graded(tmp_path, total=None)) is None
    assert joules(SUMMARY, graded(tmp_path, imputed_count=0, zero_values=0)) == 5000


def test_what_is_none_of_its_files_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"A summary\.json alone holds no results"):
        read([SUMMARY])
    other = tmp_path / "regression.json"
    other.write_text('{"analysis": "regression", "summary": {}}')
    with pytest.raises(UsageError, match=r"regression\.json: it is neither"):
        read([other])
    other.write_text('{"analysis": "accuracy", "summary": {"model": "made-1b", "correct": 7, "total_scored": 5}}')
    with pytest.raises(UsageError, match="how many of how many answers were right"):
        read([other])
    other.write_bytes(GRADED.read_bytes()[:-20])
    with pytest.raises(UsageError, match="cut short"):
        read([other])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    accuracy=st.one_of(mangled(GRADED.read_bytes()), mangled_json(json.loads(GRADED.read_text()))),
    summary=st.one_of(st.just(SUMMARY.read_bytes()), mangled_json(json.loads(SUMMARY.read_text()))),
)
def test_whatever_the_files_hold_there_are_sound_rows_or_one_line(
    accuracy: bytes, summary: bytes, tmp_path: Path
) -> None:
    files = [tmp_path / "accuracy.json", tmp_path / "summary.json"]
    for file, content in zip(files, (accuracy, summary), strict=True):
        file.write_bytes(content)
    sound_or_refused(read, files)
