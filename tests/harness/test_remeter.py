"""A real run, measured again from recordings of a known power: every figure, every sum, and every way to fail."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from machines import FakePowercap, PowerDriver

from joulemark.harness.record import Cell, Energy, Span
from joulemark.harness.recording import Recording, find_recording
from joulemark.harness.remeter import remeter
from joulemark.harness.store import Run, canonical_json, read_run, seal
from joulemark.meters.errors import MeasuringFailed, UsageError
from joulemark.meters.traces import Trace
from joulemark.meters.types import Domain

from .conftest import Joulemark, call

IDLE_W = 30.0
BUSY_W = {"ref/ngram": 60.0, "ref/dense-60k": 120.0}
STEP_S, FIGURES_STEP_W = 0.01, 0.01
Edit = Callable[[Cell], dict[str, Any]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on a task, twice, by counters that show 50 W whatever is done."""
    folder = tmp_path_factory.mktemp("remeter")
    tree = FakePowercap(folder / "sys")
    package = tree.add("intel-rapl:0", "package-0")
    plan = folder / "plan.toml"
    models = ", ".join(f'"{name}"' for name in BUSY_W)
    plan.write_text(
        f"[run]\nmodels = [{models}]\ntasks = ['jm_comparison']\nlimit = 10\nrepeats = 2\nidle_s = 1.0\ncarbon = 300\n"
        "log_samples = true\n"
    )
    with PowerDriver({package: 1.0}, lambda t: 50.0 * t):
        done = call("run", plan, "--out", folder / "run", JOULEMARK_SYSFS=str(tree.sysfs))
    assert done.returncode == 0, done.stderr
    return folder / "run"


def start_of(span: Span) -> float:
    return datetime.fromisoformat(span.began_at).timestamp()


def spans_of(run: Run) -> list[Span]:
    idle = [span for span in (run.header.idle.before, run.header.idle.after) if span]
    return [*idle, *(span for cell in run.cells for span in cell.windows)]


def recording_of(run: Run, busy_w: dict[str, float] = BUSY_W) -> pd.DataFrame:
    """What a logger wrote: ``IDLE_W``, but in the windows of each model's cells its own power."""
    starts = [start_of(span) for span in spans_of(run)]
    ends = [start_of(span) + span.window_s for span in spans_of(run)]
    times = np.arange(min(starts) - 2, max(ends) + 2, STEP_S)
    watts = np.full(len(times), IDLE_W)
    for cell in run.cells:
        for span in cell.windows:
            began_s = start_of(span) + 0.0005
            watts[(times >= began_s) & (times <= began_s + span.window_s)] = busy_w[cell.model]
    watts[::2] += FIGURES_STEP_W  # Or steps of 30 W would be all that these figures show.
    return pd.DataFrame({"t": times, "power_w": watts})


def write_csv(file: Path, rows: pd.DataFrame) -> Path:
    """With times as people write them: local time with its zone."""
    zone = timezone(timedelta(hours=2))
    stamps = [datetime.fromtimestamp(t, zone).isoformat(timespec="microseconds") for t in rows["t"]]
    file.write_text("time,power_w\n" + "".join(f"{t},{w:g}\n" for t, w in zip(stamps, rows["power_w"], strict=True)))
    return file


@pytest.fixture(scope="module")
def wall_csv(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("trace") / "wall.csv", recording_of(read_run(measured)))


def energy_of(cell: Cell) -> Energy:
    assert cell.status == "ok", cell.error
    assert cell.energy is not None
    return cell.energy


def check_figures(run: Run, idle_w: float = IDLE_W) -> None:
    """Every figure is right within its interval, and no interval is wide."""
    for cell in run.cells:
        energy = energy_of(cell)
        truth_j = BUSY_W[cell.model] * energy.window_s
        assert energy.u_j is not None
        assert energy.gross_j == pytest.approx(truth_j, abs=1.96 * energy.u_j)
        assert 0 < energy.u_j < 0.08 * truth_j
        assert energy.idle_w == pytest.approx(idle_w, rel=0.01)
        assert energy.net_j == pytest.approx(truth_j - idle_w * energy.window_s, abs=1.96 * energy.u_j)


def check_sums(run: Run) -> None:
    items = run.items()
    for cell in run.cells:
        energy, phases = energy_of(cell), cell.phases
        shares = items.loc[items["cell_id"] == cell.cell_id, "energy_j"]
        assert energy.net_j is not None
        assert energy.idle_j is not None
        assert len(shares) == cell.n_items
        assert math.isclose(shares.sum(), energy.net_j, rel_tol=1e-9)
        assert math.isclose(energy.net_j + energy.idle_j, energy.gross_j or 0, rel_tol=1e-9)
        assert math.isclose(sum(energy.domains.values()), energy.gross_j or 0, rel_tol=1e-9)
        if phases.prefill_j is not None:
            parts = (phases.prefill_j, phases.decode_j or 0, phases.other_j or 0, energy.idle_j)
            assert math.isclose(sum(parts), energy.gross_j or 0, rel_tol=1e-9)
        assert phases.load_j is None


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_has_the_energy_of_a_csv_and_keeps_its_answers(measured: Path, wall_csv: Path, tmp_path: Path) -> None:
    before = content_of(measured)
    meter = f"lab=replay:file={wall_csv},rel_u=0.01"
    done = call("remeter", measured, "--meter", meter, "--out", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert content_of(measured) == before, "the run is only read"
    assert f"4 of 4 cells have the energy of {wall_csv}, column power_w" in done.stdout
    assert done.stdout.splitlines()[-1] == f"joulemark rank {tmp_path / 'new'}"
    old, new = read_run(measured), read_run(tmp_path / "new")
    assert new.notes == (), "the cells' digests hold"
    check_figures(new)
    check_sums(new)
    assert new.header.run_id != old.header.run_id
    assert new.header.remetered_from == old.header.run_id
    assert new.header.plan == old.header.plan | {"meters": [meter]}
    [info] = new.header.meters
    assert (info.id, info.grade, info.scope, info.rel_u_scale, info.summed) == ("lab:wall", "wall", "wall", 0.01, True)
    assert 0 < info.rel_u_workload < 0.001
    kept = json.loads((tmp_path / "new" / "run.json").read_text())
    content = wall_csv.read_bytes()
    assert (kept["trace_sha256"], kept["trace_bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert new.header.idle.before_w == pytest.approx(IDLE_W, rel=0.01)
    assert new.header.idle.after_w == pytest.approx(IDLE_W, rel=0.01)
    for was, now in zip(old.cells, new.cells, strict=True):
        assert (now.cell_id, now.accuracy, now.tokens, now.windows) == (
            was.cell_id,
            was.accuracy,
            was.tokens,
            was.windows,
        )
        energy = energy_of(now)
        assert (energy.grade, energy.scope, energy.rel_u_scale, list(energy.domains)) == (
            "wall", "wall", 0.01, ["lab:wall"],
        )  # fmt: skip
        assert energy.window_s == pytest.approx(energy_of(was).window_s)
        assert energy.carbon_g == pytest.approx((energy.gross_j or 0) / 3.6e6 * 300)
        assert "net_unresolved" not in now.flags
    columns = ["cell_id", "doc_id", "score", "correct", "prompt_tokens"]
    pd.testing.assert_frame_equal(old.items()[columns], new.items()[columns])
    kept = content_of(measured / "samples")
    assert len(kept) == 4
    assert content_of(tmp_path / "new" / "samples") == kept


def test_the_table_of_the_new_run_has_the_traces_grade_scope_and_energy(
    joulemark: Joulemark, measured: Path, wall_csv: Path, tmp_path: Path
) -> None:
    remeter(measured, f"lab=replay:file={wall_csv}", tmp_path / "new")
    done = joulemark("rank", tmp_path / "new", "--json")
    assert done.returncode == 0, done.stderr
    view = json.loads(done.stdout)["views"][0]
    assert (view["grade"], view["scope"]) == ("wall", "wall")
    cells = read_run(tmp_path / "new").cells
    for row in view["rows"]:
        own = [energy_of(cell) for cell in cells if cell.model == row["model"]]
        truths = [BUSY_W[row["model"]] * energy.window_s / 3.6 / (10 * energy.loops) for energy in own]
        assert min(truths) * 0.95 < row["energy_wh_per_1k"] < max(truths) * 1.05
        assert row["net_energy_wh_per_1k"] < row["energy_wh_per_1k"]
    assert {row["model"] for row in view["rows"]} == set(BUSY_W)


def test_parquet_will_do_as_well_with_another_scope_and_json_says_what_was_made(
    joulemark: Joulemark, measured: Path, tmp_path: Path
) -> None:
    rows = recording_of(read_run(measured))
    times = pd.to_datetime(rows["t"] * 1e6, unit="us", utc=True)
    file = tmp_path / "rails.parquet"
    pd.DataFrame({"time": times, "fan_w": 3.0, "cpu_w": rows["power_w"]}).to_parquet(file)
    meter = f"rails=replay:file={file},column=cpu_w,scope=package"
    done = joulemark("remeter", measured, "--meter", meter, "--out", tmp_path / "new", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    run = read_run(tmp_path / "new")
    assert told["schema"] == "joulemark.remetered/1"
    assert (told["run_id"], told["remetered_from"]) == (run.header.run_id, read_run(measured).header.run_id)
    assert (told["path"], told["cells"], told["remetered"], told["problem"]) == (str(tmp_path / "new"), 4, 4, None)
    assert [(m["grade"], m["scope"]) for m in told["meters"]] == [("polled", "package")]
    check_figures(run)
    check_sums(run)


def test_items_and_phases_keep_their_shares_of_the_net_energy(small_run: tuple[Path, Any], tmp_path: Path) -> None:
    old = read_run(small_run[0])
    file = write_csv(tmp_path / "wall.csv", recording_of(old))
    remeter(small_run[0], f"lab=replay:file={file}", tmp_path / "new")
    new = read_run(tmp_path / "new")
    check_sums(new)
    items = {run.header.run_id: run.items().groupby("cell_id") for run in (old, new)}
    for was, now in zip(old.cells, new.cells, strict=True):
        then, today = energy_of(was), energy_of(now)
        assert then.net_j
        assert today.net_j
        assert today.gross_j == pytest.approx(BUSY_W[now.model] * today.window_s, rel=0.05)
        assert was.phases.prefill_j is not None
        for part in ("prefill_j", "decode_j", "other_j"):
            shares = getattr(was.phases, part) / then.net_j, getattr(now.phases, part) / today.net_j
            assert shares[0] == pytest.approx(shares[1], abs=1e-9)
        own = [items[run.header.run_id].get_group(was.cell_id)["energy_j"].to_numpy() for run in (old, new)]
        assert own[0] / then.net_j == pytest.approx(own[1] / today.net_j)


@pytest.mark.parametrize("known", [True, False])
def test_a_clock_that_is_ahead_moves_the_trace_back_and_one_that_may_be_off_widens_the_error(
    measured: Path, tmp_path: Path, known: bool
) -> None:
    ahead_s, told = (3600.0, "offset_s=3600,u_offset_s=0.01") if known else (0.08, "u_offset_s=0.08")
    rows = recording_of(read_run(measured))
    file = write_csv(tmp_path / "wall.csv", rows.assign(t=rows["t"] + ahead_s))
    remeter(measured, f"lab=replay:file={file},{told}", tmp_path / "new")
    errors_j, u_j = [], []
    for cell in read_run(tmp_path / "new").cells:
        energy = energy_of(cell)
        assert energy.gross_j is not None
        assert energy.u_j is not None
        errors_j.append(energy.gross_j - BUSY_W[cell.model] * energy.window_s)
        u_j.append(energy.u_j)
        assert abs(errors_j[-1]) <= 1.96 * energy.u_j
    # What comes before the first cell is the idle power, so that some of it is taken for the cell's.
    assert (errors_j[0] < -1.0) == (not known)
    assert (u_j[0] > 2.0) == (not known)


def test_the_stated_error_holds_the_true_energy_where_clocks_are_off() -> None:
    rng = np.random.default_rng(7)
    u_s, inside, draws = 0.05, 0, 400
    domain = Domain(
        id="lab:wall", kind="wall", grade="wall", resolution_j=None, update_s=0.1, range_j=None,
        rel_u_scale=0.01, rel_u_workload=0.0, source="", provenance="",
    )  # fmt: skip
    for _ in range(draws):
        # 60 W, and 150 W within two windows of 2 s; seen ten times a second by a clock that is off.
        began = [1e9 + 10 + rng.random(), 1e9 + 20 + rng.random()]
        times = 1e9 + 5 + rng.random() * 0.1 + 0.1 * np.arange(220)
        busy = np.any([(times >= start) & (times <= start + 2) for start in began], axis=0)
        trace = Trace(times_s=times + rng.normal(0, u_s), watts=np.where(busy, 150.0, 60.0))
        recording = Recording(trace=trace, domain=domain, ahead_s=0.0, u_moment_s=u_s)
        stamps = [datetime.fromtimestamp(start, UTC).isoformat(timespec="milliseconds") for start in began]
        record = recording.measure([Span(began_at=stamp, window_s=2.0) for stamp in stamps])
        assert record.u_j < 0.05 * record.gross_j
        inside += abs(record.gross_j - 600.0) <= 1.96 * record.u_j
    assert 0.91 <= inside / draws <= 0.995


def test_the_stated_error_holds_the_true_energy_where_stamps_are_cut_to_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    inside, draws = 0, 200
    for _ in range(draws):
        # 150 W, and 60 W from the end of a window of 20 s on; seen once a second.
        began = 1e9 + 20 + rng.random()
        times = 1e9 + 5 + rng.random() + np.arange(60)
        rows = zip(np.floor(times), np.where(times <= began + 20, 150, 60), strict=True)
        file = tmp_path / "log.csv"
        file.write_text("timestamp,power_w\n" + "".join(f"{when:.0f},{watts}\n" for when, watts in rows))
        stamp = datetime.fromtimestamp(began, UTC).isoformat(timespec="milliseconds")
        record = find_recording(f"lab=replay:file={file}").measure([Span(began_at=stamp, window_s=20.0)])
        assert record.u_j < 0.05 * record.gross_j
        inside += abs(record.gross_j - 3000.0) <= 1.96 * record.u_j
    assert inside / draws >= 0.93


def test_whole_watts_leave_their_step_in_every_figure(measured: Path, tmp_path: Path) -> None:
    """60 W, told as 60 in steps of 20 W, may be 50 or 70 in all repeats alike, and net energy twice as far off."""
    rows = recording_of(read_run(measured))
    file = write_csv(tmp_path / "wall.csv", rows.assign(power_w=(rows["power_w"] / 20).round() * 20))
    remeter(measured, f"lab=replay:file={file},rel_u=0.01", tmp_path / "new")
    for cell in read_run(tmp_path / "new").cells:
        energy = energy_of(cell)
        assert energy.gross_j
        assert energy.u_j
        assert energy.rel_u_workload == pytest.approx(20 / math.sqrt(12) * energy.window_s / energy.gross_j)
        assert energy.u_net_j is None or energy.u_net_j > 20 / math.sqrt(6) * energy.window_s


def counted(run: Run, step_j: float, file: Path) -> Path:
    """What a plug's counter said meanwhile."""
    rows = recording_of(run)
    joules = np.floor(np.cumsum(rows["power_w"]) * STEP_S / step_j) * step_j
    lines = (f"{t:.3f},{j:.3f}\n" for t, j in zip(rows["t"], joules, strict=True))
    file.write_text("timestamp,energy_j\n" + "".join(lines))
    return file


def test_a_counter_of_energy_gives_the_energy_and_its_step_is_in_the_error(measured: Path, tmp_path: Path) -> None:
    file = counted(read_run(measured), 0.5, tmp_path / "plug.csv")
    remeter(measured, f"plug=replay:file={file}", tmp_path / "new")
    for cell in read_run(tmp_path / "new").cells:
        energy = energy_of(cell)
        assert energy.u_j is not None
        assert energy.u_j > 0.5 / math.sqrt(6)
        # The steps at both edges, and what lies between two rows there: neither by more than sqrt(6) of its own u.
        assert energy.gross_j == pytest.approx(BUSY_W[cell.model] * energy.window_s, abs=math.sqrt(12) * energy.u_j)


def test_the_stated_error_holds_the_true_energy_where_cells_follow_faster_than_a_counter_shows(tmp_path: Path) -> None:
    """Rests of some 50 ms between cells, and a counter that is told every 100 ms: its means show no rest as it was."""
    rng = np.random.default_rng(11)
    inside = []
    for _ in range(60):
        seconds, rests = 1 + rng.random(4) * 0.05, 0.01 + rng.exponential(0.05, 4)
        starts = np.round(1e9 + 10 + rng.random() + np.cumsum(seconds + rests) - (seconds + rests), 3) + 0.0005
        powers = (60, 120, 120, 60)
        times = 1e9 + 5 + rng.random() + 0.1 * np.arange(150)
        busy = zip(starts, seconds, powers, strict=True)
        joules = 30 * (times - times[0]) + sum((w - 30) * np.clip(times - start, 0, s) for start, s, w in busy)
        file = tmp_path / "plug.csv"
        rows = zip(times, np.floor(joules / 0.5) * 0.5, strict=True)
        file.write_text("timestamp,energy_j\n" + "".join(f"{t:.3f},{j:.3f}\n" for t, j in rows))
        recording = find_recording(f"plug=replay:file={file}")
        for start, window_s, watts in zip(starts, seconds, powers, strict=True):
            stamp = datetime.fromtimestamp(start, UTC).isoformat(timespec="milliseconds")
            record = recording.measure([Span(began_at=stamp, window_s=window_s)])
            assert record.u_j < 0.07 * record.gross_j
            inside.append(abs(record.gross_j - watts * window_s) <= 1.96 * record.u_j)
    assert sum(inside) / len(inside) >= 0.93


def test_a_counter_too_coarse_for_the_windows_is_refused(measured: Path, tmp_path: Path) -> None:
    file = counted(read_run(measured), 60.0, tmp_path / "plug.csv")
    with pytest.raises(MeasuringFailed, match=r"goes in steps of 60 J; at least 3 steps are needed"):
        remeter(measured, f"plug=replay:file={file}", tmp_path / "new")


def test_a_cell_over_a_gap_fails_and_the_others_are_kept(joulemark: Joulemark, measured: Path, tmp_path: Path) -> None:
    run = read_run(measured)
    middle_s = start_of(run.cells[1].windows[0]) + run.cells[1].windows[0].window_s / 2
    rows = recording_of(run)
    file = write_csv(tmp_path / "wall.csv", rows[abs(rows["t"] - middle_s) > 0.2])
    meter = f"lab=replay:file={file},max_gap_s=0.3"
    done = joulemark("remeter", measured, "--meter", meter, "--out", tmp_path / "new", "--json")
    assert done.returncode == 5
    told = json.loads(done.stdout)
    assert (told["cells"], told["remetered"]) == (4, 3)
    assert "1 of 4 cells could not be measured again" in told["problem"]
    assert "has a gap of 0.4" in done.stderr.splitlines()[-1]
    [began] = re.findall(r"from (\S+ \S+) UTC", told["problem"])
    assert datetime.fromisoformat(f"{began}+00:00").timestamp() == pytest.approx(middle_s - 0.2, abs=3 * STEP_S)
    cells = read_run(tmp_path / "new").cells
    assert [cell.status for cell in cells] == ["ok", "failed", "ok", "ok"]
    assert (cells[1].energy, cells[1].windows) == (None, ())
    assert "has a gap" in str(cells[1].error)
    ranked = joulemark("rank", tmp_path / "new", "--json")
    assert ranked.returncode == 0, ranked.stderr
    [missing] = [row for row in json.loads(ranked.stdout)["views"][0]["rows"] if row["model"] == cells[1].model]
    assert missing["repeats"] == 1


def test_cells_after_the_end_of_the_trace_fail_and_without_idle_power_there_is_no_net_energy(
    joulemark: Joulemark, measured: Path, tmp_path: Path
) -> None:
    run = read_run(measured)
    first, last = run.cells[0].windows[0], run.cells[-1].windows[0]
    rows = recording_of(run)
    file = write_csv(
        tmp_path / "wall.csv", rows[rows["t"].between(start_of(first) - 0.3, start_of(last) + last.window_s / 2)]
    )
    done = joulemark("remeter", measured, "--meter", f"lab=replay:file={file}", "--out", tmp_path / "new")
    assert done.returncode == 5
    assert "3 of 4 cells have the energy of" in done.stdout
    assert "does not cover" in done.stderr.splitlines()[-1]
    assert "idle power before measuring is not known, so there is no net energy" in done.stderr
    new = read_run(tmp_path / "new")
    assert [cell.status for cell in new.cells] == ["ok", "ok", "ok", "failed"]
    assert (new.header.idle.before_w, new.header.idle.after_w) == (None, None)
    for cell in new.cells[:3]:
        energy = energy_of(cell)
        assert energy.gross_j == pytest.approx(BUSY_W[cell.model] * energy.window_s, rel=0.05)
        assert (energy.net_j, energy.idle_j, energy.idle_w) == (None, None, None)
        assert "no_idle" in cell.flags
        assert "net_unresolved" not in cell.flags
        assert cell.phases.prefill_j is None
    assert new.items()["energy_j"].isna().all()


def test_a_trace_that_ends_within_the_clocks_error_of_a_window_does_not_cover_it(
    measured: Path, tmp_path: Path
) -> None:
    run = read_run(measured)
    last = run.cells[-1].windows[0]
    rows = recording_of(run)
    file = write_csv(tmp_path / "wall.csv", rows[rows["t"] < start_of(last) + last.window_s + 0.05])
    for u_s, covered in ((0.01, 4), (0.05, 3)):
        made = remeter(measured, f"lab=replay:file={file},u_offset_s={u_s}", tmp_path / f"new-{u_s}")
        assert made.done == covered


@pytest.mark.parametrize("fault", ["another day", "no power", "gpu", "dram"])
def test_where_nothing_can_be_measured_again_nothing_is_written_and_one_line_says_why(
    joulemark: Joulemark, measured: Path, tmp_path: Path, fault: str
) -> None:
    rows = recording_of(read_run(measured))
    moved = {"t": rows["t"] + 86_400.0} if fault == "another day" else {}
    silent = {"power_w": 0.0} if fault == "no power" else {}
    file = write_csv(tmp_path / "wall.csv", rows.assign(**moved, **silent))
    scope = f",scope={fault}" if fault in ("gpu", "dram") else ""
    done = joulemark("remeter", measured, "--meter", f"lab=replay:file={file}{scope}", "--out", tmp_path / "new")
    assert done.returncode == 5
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    why = {"another day": "check zone= and offset_s=", "no power": "0 W all along"}
    assert why.get(fault, "computes where this trace does not look") in line
    assert "Nothing was written" in line
    assert not (tmp_path / "new").exists()


def test_times_since_some_start_are_refused_unless_it_is_said_when_that_was(measured: Path, tmp_path: Path) -> None:
    rows = recording_of(read_run(measured))
    began_s = float(rows["t"].iloc[0])
    file = tmp_path / "wall.csv"
    lines = (f"{t - began_s:.6f},{w:g}\n" for t, w in rows.itertuples(index=False))
    file.write_text("t_s,power_w\n" + "".join(lines))
    for offset in ("", ",offset_s=5"):
        with pytest.raises(UsageError, match="nothing says when that was") as told:
            remeter(measured, f"lab=replay:file={file}{offset}", tmp_path / "new")
        assert "\n" not in str(told.value)
        assert not (tmp_path / "new").exists()
    remeter(measured, f"lab=replay:file={file},offset_s={-began_s:.6f}", tmp_path / "new")
    check_figures(read_run(tmp_path / "new"))


def older(run: Path, out: Path, edit: Edit, header: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
    """A copy of a run with other cells, as if it had been written so."""
    shutil.copytree(run, out)
    sealed = [seal(cell.model_copy(update=edit(cell))) for cell in read_run(run).cells]
    lines = [canonical_json(cell.model_dump(mode="json", by_alias=True)) for cell in sealed]
    (out / "cells.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    content = json.loads((out / "run.json").read_text())
    header(content)
    (out / "run.json").write_text(json.dumps(content))
    assert len(read_run(out).cells) == len(sealed)
    return out


def first_alone(facts: dict[str, Any]) -> Edit:
    return lambda cell: facts if cell.repeat == 1 and cell.model == "ref/ngram" else {}


def cell_of(path: Path, model: str = "ref/ngram", repeat: int = 1) -> Cell:
    [cell] = [cell for cell in read_run(path).cells if (cell.model, cell.repeat) == (model, repeat)]
    return cell


def test_cells_from_before_windows_were_kept_fail_and_say_so(measured: Path, wall_csv: Path, tmp_path: Path) -> None:
    old = older(measured, tmp_path / "old", first_alone({"windows": ()}))
    made = remeter(old, f"lab=replay:file={wall_csv}", tmp_path / "new")
    assert made.done == 3
    assert "did not keep when its windows were" in str(cell_of(tmp_path / "new").error)
    none = older(measured, tmp_path / "none", lambda _: {"windows": ()})
    with pytest.raises(MeasuringFailed, match=r"4 of 4 cells .* did not keep when its windows were"):
        remeter(none, f"lab=replay:file={wall_csv}", tmp_path / "newer")


def test_a_run_from_before_idle_windows_were_kept_has_no_net_energy(
    measured: Path, wall_csv: Path, tmp_path: Path
) -> None:
    def without_idle(header: dict[str, Any]) -> None:
        del header["idle"]["before"], header["idle"]["after"]

    old = older(measured, tmp_path / "old", lambda _: {"idle_window": None}, without_idle)
    made = remeter(old, f"lab=replay:file={wall_csv}", tmp_path / "new")
    assert "the run does not say when that was" in " ".join(made.notes)
    for cell in read_run(tmp_path / "new").cells:
        assert energy_of(cell).gross_j
        assert energy_of(cell).net_j is None
        assert "no_idle" in cell.flags


def test_a_cell_that_had_failed_stays_failed(measured: Path, wall_csv: Path, tmp_path: Path) -> None:
    broken = {"status": "failed", "error": "the worker died", "energy": None, "log": "logs/x.txt"}
    old = older(measured, tmp_path / "old", first_alone(broken))
    (old / "logs").mkdir()
    (old / "logs" / f"{cell_of(old).cell_id}.txt").write_text("no room\n")
    made = remeter(old, f"lab=replay:file={wall_csv}", tmp_path / "new")
    assert made.done == 3
    assert "the worker died" in str(made.problem)
    cell = cell_of(tmp_path / "new")
    assert (cell.status, cell.error, cell.energy) == ("failed", "the worker died", None)
    assert (tmp_path / "new" / str(cell.log)).read_text() == "no room\n"


def test_a_cell_during_which_the_wall_clock_was_set_fails(measured: Path, wall_csv: Path, tmp_path: Path) -> None:
    began = datetime.fromisoformat(cell_of(measured).started_at)
    for by_s in (-20.0, 20.0):
        earlier = (began + timedelta(seconds=by_s)).isoformat(timespec="milliseconds")
        old = older(measured, tmp_path / f"old{by_s}", first_alone({"started_at": earlier}))
        remeter(old, f"lab=replay:file={wall_csv}", tmp_path / f"new{by_s}")
        assert "the wall clock was set" in str(cell_of(tmp_path / f"new{by_s}").error)


def seen_by(scope: str, flags: Sequence[str] = ()) -> Edit:
    """As if one cell were of a model that lm-eval loaded, seen by domains of such kinds."""

    def edit(cell: Cell) -> dict[str, Any]:
        if cell.repeat != 1 or cell.model != "ref/ngram":
            return {}
        energy = energy_of(cell).model_copy(update={"scope": scope})
        return {"model_args": "hf:pretrained=x", "energy": energy, "flags": tuple(flags)}

    return edit


@pytest.mark.parametrize(
    ("saw", "flags", "scope", "seen"),
    [
        ("package+dram", (), "package", True),
        ("package+dram", (), "wall", True),
        ("wall", (), "wall", True),
        ("wall", (), "package", False),
        ("gpu", (), "package", False),
        ("package", ("outside_meter",), "wall", False),
    ],
)
def test_a_model_that_the_trace_may_not_see_has_no_energy_rather_than_somebody_elses(
    measured: Path, wall_csv: Path, tmp_path: Path, saw: str, flags: tuple[str, ...], scope: str, seen: bool
) -> None:
    old = older(measured, tmp_path / "old", seen_by(saw, flags))
    made = remeter(old, f"lab=replay:file={wall_csv},scope={scope}", tmp_path / "new")
    cell = cell_of(tmp_path / "new")
    energy = energy_of(cell)
    assert (made.problem is None) == seen
    assert ("outside_meter" in cell.flags) == (not seen)
    assert (energy.gross_j is not None) == seen
    if not seen:
        assert (energy.net_j, energy.u_j, energy.idle_j, energy.carbon_g, energy.domains) == (None,) * 4 + ({},)
        assert (energy.grade, energy.scope) == ("wall" if scope == "wall" else "polled", scope)
        assert cell.accuracy == cell_of(measured).accuracy


def test_a_run_that_was_measured_again_can_be_so_once_more_but_not_gone_on_with(
    joulemark: Joulemark, measured: Path, wall_csv: Path, tmp_path: Path
) -> None:
    remeter(measured, f"lab=replay:file={wall_csv}", tmp_path / "new")
    remeter(tmp_path / "new", f"lab=replay:file={wall_csv}", tmp_path / "newer")
    one, other = read_run(tmp_path / "new"), read_run(tmp_path / "newer")
    assert other.header.remetered_from == one.header.run_id
    assert [cell.energy for cell in one.cells] == [cell.energy for cell in other.cells]
    before = content_of(tmp_path / "new")
    done = joulemark("run", "--resume", tmp_path / "new")
    assert done.returncode == 2
    assert "joulemark remeter" in done.stderr.splitlines()[-1]
    assert content_of(tmp_path / "new") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["remeter", "nowhere", "--meter", "{meter}", "--out", "new"], "nowhere is not a run directory"),
        (["remeter", "{run}", "--meter", "{meter}", "--out", "{run}"], "holds a run already"),
        (["remeter", "{run}", "--meter", "{meter}", "--out", "used"], "used is not empty"),
        (["remeter", "{run}", "--meter", "{meter}", "--out", "{run}/again"], "lies in the run itself"),
        (["remeter", "{run}", "--meter", "lab=replay:file=none.csv", "--out", "new"], "none.csv cannot be read"),
        (["remeter", "{run}", "--meter", "lab=replay:file=used/notes.txt", "--out", "new"], "no line has a header"),
        (["remeter", "{run}", "--meter", "{meter},colum=x", "--out", "new"], "no 'colum'; did you mean 'column'"),
        (["remeter", "{run}", "--meter", "{meter},rel_u=2", "--out", "new"], "is no share between 0 and 1"),
        (["remeter", "{run}", "--meter", "rapl", "--out", "new"], "from a recorded trace, NAME=replay:file="),
        (["remeter", "{run}", "--meter", "a=shelly:host=192.0.2.7", "--out", "new"], "from a recorded trace"),
        (["remeter", "{run}", "--meter", "{meter}", "--meter", "{meter}", "--out", "new"], "give --meter once"),
        (["remeter", "{run}", "--out", "new"], "Missing option '--meter'"),
        (["remeter", "{run}", "--meter", "{meter}"], "Missing option '--out'"),
    ],
)
def test_a_wrong_word_is_told_in_one_line_with_exit_code_2_and_nothing_is_written(
    joulemark: Joulemark, measured: Path, wall_csv: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine\n")
    before = content_of(measured)
    words = [word.format(run=measured, meter=f"lab=replay:file={wall_csv}") for word in arguments]
    done = joulemark(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert re.search(message, line), line
    assert [path.name for path in tmp_path.iterdir()] == ["used"]
    assert content_of(measured) == before
