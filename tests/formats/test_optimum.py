"""optimum-benchmark's reports become energy without quality, of the parts of the machine that it may have measured."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mangled import mangled, mangled_json, sound_or_refused

from joulemark.harness.formats.optimum import read
from joulemark.meters.errors import UsageError

# Written by optimum-benchmark 0.6.0, with a tiny random model on a CPU; all but three latencies of each were taken out.
DATA = Path(__file__).parent / "data"
WHOLE = DATA / "optimum/benchmark.json"
REPORT, CONFIG = (DATA / f"optimum-star/benchmark_{name}.json" for name in ("report", "config"))
J_PER_KWH = 3.6e6


def rewritten(file: Path, folder: Path, change: Callable[[Any], object]) -> Path:
    told = json.loads(file.read_text())
    change(told)
    new = folder / file.name
    new.write_text(json.dumps(told))
    return new


def test_a_call_of_the_inference_scenario_is_a_row_of_its_batch_with_the_cpus_energy_alone() -> None:
    found = read([WHOLE])
    (result,) = found.results
    report = json.loads(WHOLE.read_text())["report"]
    assert (result.model, result.task, result.n_items) == ("tiny", "optimum-benchmark/text-generation", 2)
    assert result.energy is not None
    assert result.energy.gross_j == pytest.approx(report["generate"]["energy"]["cpu"] * J_PER_KWH)
    assert (result.energy.grade, result.energy.scope) == ("modelled", "package")
    assert result.energy.gross_j == pytest.approx((result.phases.prefill_j or 0) + (result.phases.decode_j or 0))
    assert (result.tokens.prompt, result.tokens.generated) == (2 * 16, 2 * 8)
    assert (result.setting["batch_size"], result.setting["max_gen_toks"]) == (2, 8)
    assert result.setting["gen_kwargs"] == "sequence_length=16"
    assert result.latency_s.p50 == report["generate"]["latency"]["p50"]
    assert any("memory is an assumed power" in sentence for sentence in found.missing)
    assert found.stations[0].software["optimum_benchmark"] == "0.6.0"


def test_the_energy_star_scenario_is_a_row_of_its_data_set() -> None:
    (result,) = read([REPORT, CONFIG]).results
    report = json.loads(REPORT.read_text())
    assert (result.task, result.n_items) == ("optimum-benchmark/text-generation/made/words:train", 24)
    assert result.energy is not None
    both = sum(report[phase]["energy"]["cpu"] for phase in ("prefill", "decode"))
    assert result.energy.gross_j == pytest.approx(both * J_PER_KWH)
    assert result.energy.window_s == pytest.approx(
        sum(report[phase]["latency"]["total"] for phase in ("prefill", "decode"))
    )


def test_decoding_below_zero_is_left_out_and_generating_is_kept(tmp_path: Path) -> None:
    def less(told: Any) -> None:
        told["decode"]["energy"]["cpu"] = -told["prefill"]["energy"]["cpu"] / 4

    file, config = rewritten(REPORT, tmp_path, less), rewritten(CONFIG, tmp_path, lambda _: None)
    found = read([file, config])
    (result,) = found.results
    prefill_j = json.loads(REPORT.read_text())["prefill"]["energy"]["cpu"] * J_PER_KWH
    assert result.phases.decode_j is None
    assert result.energy is not None
    assert result.energy.gross_j == pytest.approx(prefill_j * 3 / 4)
    assert any("energy of decode is impossible; left out" in sentence for sentence in found.missing)


def test_on_gpus_theirs_alone_is_taken_and_only_those_in_use_are_named(tmp_path: Path) -> None:
    def on_gpu(told: Any) -> None:
        told["config"]["backend"] |= {"device": "cuda", "device_ids": "1"}
        told["config"]["environment"]["gpu"] = ["NVIDIA A100", "NVIDIA H100"]
        told["report"]["generate"]["energy"]["gpu"] = 1e-5

    found = read([rewritten(WHOLE, tmp_path, on_gpu)])
    energy = found.results[0].energy
    assert energy is not None
    assert (energy.gross_j, energy.grade, energy.scope) == (pytest.approx(36), "polled", "gpu")
    assert [gpu.name for gpu in found.stations[0].machine.accelerators] == ["NVIDIA H100"]


def test_without_energy_a_row_says_so(tmp_path: Path) -> None:
    def none(told: Any) -> None:
        for phase in told["report"].values():
            phase["energy"] = None

    found = read([rewritten(WHOLE, tmp_path, none)])
    assert found.results[0].energy is None
    assert any("no energy that can be told" in sentence for sentence in found.missing)


def test_what_is_none_of_its_files_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"name the benchmark_config\.json beside it"):
        read([REPORT])
    with pytest.raises(UsageError, match="alone holds no results"):
        read([CONFIG])
    with pytest.raises(UsageError, match=r"is no benchmark\.json"):
        read([DATA / "ipw/summary.json"])
    with pytest.raises(UsageError, match="names no model"):
        read([rewritten(WHOLE, tmp_path, lambda told: told["config"]["backend"].pop("model"))])
    with pytest.raises(UsageError, match="scenario, training, tells no number of answers"):
        read([rewritten(WHOLE, tmp_path, lambda told: told["config"]["scenario"].update(name="training"))])
    cut = tmp_path / "cut.json"
    cut.write_bytes(WHOLE.read_bytes()[:-100])
    with pytest.raises(UsageError, match="cut short"):
        read([cut])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(mangled(WHOLE.read_bytes()), mangled_json(json.loads(WHOLE.read_text()))))
def test_whatever_a_file_holds_there_are_sound_rows_or_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "benchmark.json"
    file.write_bytes(content)
    sound_or_refused(read, [file])
