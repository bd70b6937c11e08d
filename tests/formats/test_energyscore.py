"""AI Energy Score's tables become energy of GPUs without quality; a zero is a tracker that failed."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mangled import mangled, sound_or_refused

from joulemark.harness.formats.energyscore import read
from joulemark.meters.errors import UsageError

# Made by hand after the columns of AIEnergyScore/Label on huggingface.co (text_gen_energyscore.csv at a3a4e38) and
# huggingface/AIEnergyScore (results_aggregator.py at a5b9a04).
DATA = Path(__file__).parent / "data/energyscore"
BOARD, BATCH = DATA / "text_gen_energyscore.csv", DATA / "master_results.csv"


def test_the_leaderboards_kilowatt_hours_are_of_a_thousand_queries_on_an_h100() -> None:
    found = read([BOARD])
    small, large = found.results
    assert (small.model, small.task, small.n_items) == ("made/small", "ai-energy-score/text_gen", 1000)
    assert small.energy is not None
    assert large.energy is not None
    assert (small.energy.gross_j, large.energy.gross_j) == (pytest.approx(7_200), pytest.approx(108_000))
    assert (small.energy.grade, small.energy.scope, small.energy.window_s) == ("polled", "gpu", None)
    assert "H100" in found.stations[0].machine.accelerators[0].name
    assert any("do not tell the unit" in sentence for sentence in found.missing)


def test_zero_energy_is_a_failed_tracker_and_no_row() -> None:
    found = read([BOARD])
    assert "made/untracked" not in {result.model for result in found.results}
    assert any("made/untracked: no energy, or 0" in sentence for sentence in found.missing)


def test_the_batch_runners_watt_hours_are_of_the_prompts_that_were_answered() -> None:
    found = read([BATCH])
    high, off = found.results
    assert high.energy is not None
    assert (high.energy.gross_j, high.energy.window_s) == (pytest.approx(25.4 * 3600), 30.5)
    assert (high.n_items, off.n_items) == (10, 8)
    assert (high.setting["reasoning"], off.setting["reasoning"]) == ("On (High)", "Off")
    assert (high.flags, off.flags) == ((), ("some_failed",))
    assert any("row 3 has no answered prompts; left out" in sentence for sentence in found.missing)


def test_a_last_line_without_end_may_have_another_number_and_is_left_out(tmp_path: Path) -> None:
    cut = tmp_path / "text_gen_energyscore.csv"
    cut.write_text(BOARD.read_text()[: BOARD.read_text().index("0.03") + 3])
    found = read([cut])
    assert [result.model for result in found.results] == ["made/small"]
    assert any("may be cut short" in sentence for sentence in found.missing)


def test_a_row_that_lacks_columns_is_left_out_and_said(tmp_path: Path) -> None:
    short = tmp_path / "text_gen_energyscore.csv"
    short.write_text("model,total_gpu_energy\nmade/small,0.002\nmade/large\n,0.1\n")
    found = read([short])
    assert [result.model for result in found.results] == ["made/small"]
    assert any("row 2, made/large" in sentence for sentence in found.missing)
    assert any("row 3 names no model" in sentence for sentence in found.missing)


def test_what_is_none_of_its_files_is_one_clear_line(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"other\.csv: it has neither the columns"):
        read([other])
    other.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        read([other])
    other.write_text("model,total_gpu_energy\n")
    with pytest.raises(UsageError, match="Nothing to import"):
        read([other])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(*(mangled(file.read_bytes()) for file in (BOARD, BATCH))))
def test_whatever_a_file_holds_there_are_sound_rows_or_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "text_gen_energyscore.csv"
    file.write_bytes(content)
    sound_or_refused(read, [file])
