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


@pytest.mark.parametrize("table", [BOARD, BATCH])
def test_a_table_that_is_cut_short_within_a_row_is_refused_as_codecarbons_is(table: Path, tmp_path: Path) -> None:
    cut, whole = tmp_path / table.name, table.read_text()
    # Within a number, which would be another one.
    cut.write_text(whole[:-4])
    with pytest.raises(UsageError, match="its last line has no end, so it may be cut short"):
        read([cut])
    cut.write_text(whole.rstrip().rpartition(",")[0] + "\n")
    with pytest.raises(UsageError, match=r"row \d has \d+ cells and not \d+; was it cut short"):
        read([cut])


def test_a_row_of_no_model_is_left_out_and_said(tmp_path: Path) -> None:
    short = tmp_path / "text_gen_energyscore.csv"
    short.write_text("model,total_gpu_energy\nmade/small,0.002\n,0.1\n")
    found = read([short])
    assert [result.model for result in found.results] == ["made/small"]
    assert "text_gen_energyscore.csv: row 2 names no model; left out." in found.missing


def test_where_no_row_is_left_the_cause_alone_is_told(tmp_path: Path) -> None:
    table = tmp_path / "text_gen_energyscore.csv"
    table.write_text("model,total_gpu_energy\n" + "made/small,0\n" + ",0.1\n" * 5)
    with pytest.raises(UsageError) as refused:
        read([table])
    assert str(refused.value) == (
        "Nothing to import from these files of ai-energy-score: text_gen_energyscore.csv: row 1, made/small: no "
        "energy, or 0, which is a failed tracker's; text_gen_energyscore.csv: row 2 names no model; and 4 more."
    )


def test_what_is_none_of_its_files_is_one_clear_line(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"other\.csv: it has neither the columns"):
        read([other])
    other.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        read([other])
    other.write_text("model,total_gpu_energy\n")
    with pytest.raises(UsageError, match="they have no rows"):
        read([other])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(*(mangled(file.read_bytes()) for file in (BOARD, BATCH))))
def test_whatever_a_file_holds_there_are_sound_rows_or_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "text_gen_energyscore.csv"
    file.write_bytes(content)
    sound_or_refused(read, [file])
