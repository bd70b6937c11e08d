"""Recorded traces: the energy of any part of one, every common format, and no guess where a file is not clear."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.harness.cells import power_table
from joulemark.harness.record import Span
from joulemark.harness.recording import find_recording
from joulemark.meters.errors import MeterLost, UsageError
from joulemark.meters.polling import Sample, _Sum
from joulemark.meters.registry import choose, find_meters, probe_all
from joulemark.meters.replay import ReplayMeter, Trace, TraceFile, replay
from joulemark.meters.testing import check_meter
from joulemark.meters.types import Domain, Unavailable
from joulemark.meters.window import Recorder

NOON = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC).timestamp()


@st.composite
def traces(draw: st.DrawFn, *, means: bool = False) -> Trace:
    seconds = draw(st.lists(st.floats(0.01, 100), min_size=1, max_size=30))
    begin_s = draw(st.floats(-1e3, 1e6))
    edges = np.concatenate(([begin_s], begin_s + np.cumsum(seconds)))
    size = len(seconds) if means else len(edges)
    watts = draw(st.lists(st.floats(0, 1000), min_size=size, max_size=size))
    if means:
        return Trace(times_s=edges[1:], watts=np.array(watts), begin_s=float(edges[0]))
    return Trace(times_s=edges, watts=np.array(watts))


def moment(trace: Trace, share: float) -> float:
    return float(np.clip(trace.edges_s[0] + share * np.ptp(trace.edges_s), trace.edges_s[0], trace.edges_s[-1]))


SHARES = st.floats(0, 1)


@given(traces() | traces(means=True), st.tuples(SHARES, SHARES, SHARES))
def test_energy_of_adjacent_windows_adds_up_and_is_never_negative(trace: Trace, at: tuple[float, float, float]) -> None:
    start, middle, end = sorted(moment(trace, share) for share in at)
    parts = [trace.energy_j(start, middle), trace.energy_j(middle, end)]
    whole_j, variance = trace.energy_j(start, end)
    assert sum(joules for joules, _ in parts) == pytest.approx(whole_j, rel=1e-9, abs=1e-5)
    assert min(joules for joules, _ in parts) >= 0
    assert min(part for _, part in parts) >= 0
    assert variance >= 0


@given(traces(), SHARES, SHARES)
def test_between_samples_energy_is_that_of_straight_lines(trace: Trace, one: float, other: float) -> None:
    start, end = sorted((moment(trace, one), moment(trace, other)))
    inside = trace.times_s[(trace.times_s > start) & (trace.times_s < end)]
    knots = np.concatenate(([start], inside, [end]))
    truth_j = float(np.trapezoid(np.interp(knots, trace.times_s, trace.watts), knots))
    assert trace.energy_j(start, end)[0] == pytest.approx(truth_j, rel=1e-6, abs=1e-4)


@given(traces(means=True))
def test_means_of_spans_are_exact_over_whole_spans(trace: Trace) -> None:
    joules, variance = trace.energy_j(float(trace.edges_s[0]), float(trace.edges_s[-1]))
    assert joules == pytest.approx(float(np.sum(trace.watts * np.diff(trace.edges_s))), rel=1e-9, abs=1e-6)
    assert variance == 0


@given(traces())
def test_over_whole_samples_the_variance_is_that_of_the_polled_meters(trace: Trace) -> None:
    total = _Sum(Sample(moment_ns=0, u_moment_s=0, watts={"w": float(trace.watts[0])}), math.inf)
    for time_s, watts in zip(trace.times_s[1:], trace.watts[1:], strict=True):
        total.add(Sample(moment_ns=(time_s - trace.times_s[0]) * 1e9, u_moment_s=0, watts={"w": float(watts)}))
    joules, variance = trace.energy_j(float(trace.times_s[0]), float(trace.times_s[-1]))
    assert joules == pytest.approx(total.joules["w"], rel=1e-6, abs=1e-6)
    assert variance == pytest.approx(total.variances["w"], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("samples", [30, 200])
def test_a_power_that_jumps_quicker_than_it_is_sampled_lies_within_the_error(samples: int) -> None:
    draw = np.random.default_rng(1)
    inside, rounds = 0, 400
    for _ in range(rounds):
        times = np.arange(samples + 1.0)
        joules, variance = Trace(times_s=times, watts=draw.choice([100.0, 300.0], samples + 1)).energy_j(0, samples)
        inside += abs(joules - 200 * samples) <= 1.96 * math.sqrt(variance)
    assert 0.9 <= inside / rounds <= 0.99


@pytest.mark.parametrize(("x", "y"), [(0.0, 1.0), (0.0, 0.4), (0.3, 0.8), (0.7, 1.0)])
def test_a_step_at_any_moment_of_a_part_lies_within_the_error(x: float, y: float) -> None:
    trace = Trace(times_s=np.array([0.0, 2.0]), watts=np.array([50.0, 80.0]))
    steps = np.random.default_rng(1).uniform(0, 2, 200_000)
    true_j = 50 * 2 * (y - x) + 30 * np.clip(2 * y - np.maximum(steps, 2 * x), 0, None)
    joules, variance = trace.energy_j(2 * x, 2 * y)
    assert joules == pytest.approx(true_j.mean(), rel=0.01)
    assert true_j.var() <= variance <= (30.0 * 2 * (y - x)) ** 2


@pytest.mark.parametrize("x", [0.1, 0.5, 0.8])
def test_the_variance_of_a_part_of_a_mean_is_that_of_a_step_inside_its_span(x: float) -> None:
    steps = np.random.default_rng(1).uniform(0, 1, 200_000)
    change_w = 30.0
    before = 100 - change_w * (1 - steps)  # so that the mean of the span is 100 W
    true_j = before * x + change_w * np.clip(x - steps, 0, None)
    trace = Trace(times_s=np.array([1.0, 2.0]), watts=np.array([100.0, 130.0]), begin_s=0.0)
    joules, variance = trace.energy_j(0.0, x)
    assert joules == pytest.approx(100 * x)
    assert variance == pytest.approx(((true_j - 100 * x) ** 2).mean(), rel=0.02)


def test_a_window_outside_of_a_trace_or_over_a_gap_has_no_energy() -> None:
    trace = Trace(times_s=np.array([0.0, 1.0, 9.0, 10.0]), watts=np.full(4, 5.0), max_gap_s=2.0, label="bench.csv")
    assert trace.energy_j(9.0, 10.0)[0] == 5
    with pytest.raises(MeterLost, match=r"bench\.csv has a gap of 8 s from 1\.000 s on"):
        trace.energy_j(0.5, 1.5)
    for start, end in ((-0.1, 0.5), (9.5, 10.1)):
        with pytest.raises(MeterLost, match=r"bench\.csv goes from 0\.000 to 10\.000 s"):
            trace.energy_j(start, end)


@pytest.mark.parametrize(
    ("times", "watts"),
    [([0.0], [1.0]), ([0.0, 0.0], [1.0, 1.0]), ([1.0, 0.0], [1.0, 1.0]), ([0.0, 1.0], [1.0, -1.0])]
    + [([0.0, 1.0], [1.0, bad]) for bad in (math.nan, math.inf, 1e9)]
    + [([0.0, math.nan], [1.0, 1.0]), ([0.0, 1.0, 2.0], [1.0, 1.0])],
)
def test_a_trace_that_cannot_be_is_refused(times: list[float], watts: list[float]) -> None:
    with pytest.raises(UsageError):
        Trace(times_s=np.array(times), watts=np.array(watts))


FORMATS: dict[str, tuple[str, dict[str, str]]] = {
    "seconds since the start": ("t_s,power_w\n0,10\n1,20\n2,20\n", {}),
    "a stretch of uptime": ("time,watts\n86400.5,10\n86401.5,20\n86402.5,20\n", {}),
    "milliseconds by name": ("time_ms,power_w\n0,10\n1000,20\n2000,20\n", {}),
    "seconds since the epoch": (f"timestamp,power_w\n{NOON},10\n{NOON + 1},20\n{NOON + 2},20\n", {}),
    "milliseconds since the epoch": ("ts,power_w\n1782907200000,10\n1782907201000,20\n1782907202000,20\n", {}),
    "nanoseconds since the epoch": (
        "timestamp,power_w\n1782907200000000000,10\n1782907201000000000,20\n1782907202000000000,20\n",
        {},
    ),
    "ISO 8601 with a zone": (
        "timestamp,power_w\n2026-07-01T14:00:00+02:00,10\n2026-07-01T12:00:01Z,20\n2026-07-01T12:00:02.000000Z,20\n",
        {},
    ),
    "ISO 8601 without one": (
        "timestamp,power_w\n2026-07-01 14:00:00,10\n2026-07-01 14:00:01,20\n2026-07-01 14:00:02,20\n",
        {"zone": "Europe/Berlin"},
    ),
    "nvidia-smi": (
        "timestamp, power.draw [W], power.limit [W]\n2026/07/01 12:00:00.000, 10.00 W, 700.00 W\n"
        "2026/07/01 12:00:01.000, 20.00 W, 700.00 W\n2026/07/01 12:00:02.000, 20.00 W, 700.00 W\n",
        {"zone": "UTC"},
    ),
    "nvidia-smi without units, of two GPUs": (
        "index, timestamp, power.draw [W]\n0, 2026/07/01 12:00:00.000, 99.00\n1, 2026/07/01 12:00:00.000, 10.00\n"
        "0, 2026/07/01 12:00:01.000, 99.00\n1, 2026/07/01 12:00:01.000, 20.00\n"
        "0, 2026/07/01 12:00:02.000, 99.00\n1, 2026/07/01 12:00:02.000, 20.00\n",
        {"zone": "UTC", "rows": "index:1"},
    ),
    "an American clock": (
        "timestamp,power_w\n07/31/2026 11:59:59.500000 AM,10\n07/31/2026 12:00:00.500000 PM,20\n"
        "7/31/2026 12:00:01.5 pm,20\n",
        {"zone": "UTC"},
    ),
    "a month that begins": (
        "timestamp,power_w\n31.07.2026 23:59:59,10\n01.08.2026 00:00:00,20\n01.08.2026 00:00:01,20\n",
        {"zone": "UTC"},
    ),
    "a power analyser": (
        "Model,WT310E\nUpdate Rate,1 s\n\nStore No.,Date,Time,Millisecond,U-1 (V),P-1 (W)\n"
        "1,2026/07/01,12:00:00,500,230.1,10.0\n2,2026/07/01,12:00:01,500,230.0,20.0\n3,2026/7/1,12:00:02,500,230.2,20.0\n",
        {"zone": "UTC"},
    ),
    "milliseconds by a name of its own": ("Zeit [ms],power_w\n0,10\n1000,20\n2000,20\n", {"time": "Zeit [ms]"}),
    "minutes": ("Elapsed (min),power_w\n0,10\n0.0166666667,20\n0.0333333333,20\n", {"time": "Elapsed (min)"}),
    "watts in a word": ("Time (s),Power (Watts)\n0,10\n1,20\n2,20\n", {}),
    "milliseconds told twice": (
        "Date,Time,Millisecond,P-1 (W)\n2026/07/01,12:00:00.500,500,10\n2026/07/01,12:00:01.500,500,20\n"
        "2026/07/01,12:00:02.500,500,20\n",
        {"zone": "UTC"},
    ),
    "milliwatts": ("t_s,power_mw\n0,10000\n1,20000\n2,20000\n", {}),
    "kilowatts told": ("t_s,power\n0,0.01\n1,0.02\n2,0.02\n", {"unit": "kW"}),
    "semicolons and decimal commas": ("Time (s);Power (W)\n0,0;10,0\n1,0;20,0\n2,0;20,0\n", {}),
    "tabs, comments, and Windows' line ends": ("t_s\tpower_w\r\n# begins\r\n0\t10\r\n1\t20\r\n\r\n2\t20\r\n", {}),
    "one of several columns": ("t_s,cpu_w,wall_w\n0,1,10\n1,1,20\n2,1,20\n", {"column": "wall_w"}),
    "columns with names of their own": (
        "when,load\n0,10\n1,20\n2,20\n",
        {"time": "when", "column": "load", "unit": "W"},
    ),
    "a line that is not ended yet": ("t_s,power_w\n0,10\n1,20\n2,20\n3,1", {}),
}


def read(file: Path, text: str, arguments: dict[str, str]) -> Trace:
    file.write_bytes(text.encode())
    rows = dict(part.split(":") for part in arguments["rows"].split(";")) if "rows" in arguments else None
    others = {key: value for key, value in arguments.items() if key != "rows"}
    return TraceFile(file, rows=rows, **others).trace  # type: ignore[arg-type]


@pytest.mark.parametrize("case", FORMATS)
def test_traces_are_read_as_loggers_write_them(tmp_path: Path, case: str) -> None:
    trace = read(tmp_path / "trace.csv", *FORMATS[case])
    assert list(trace.watts) == [10, 20, 20]
    assert list(np.diff(trace.times_s)) == pytest.approx([1, 1])
    assert trace.energy_j(float(trace.times_s[0]), float(trace.times_s[-1]))[0] == pytest.approx(35)


@pytest.mark.parametrize(
    ("stamp", "meant"),
    [
        ("11/26/2026 07:24:00.164000 AM", "2026-11-26T07:24:00.164"),
        ("11/26/2026, 12:00:00 AM", "2026-11-26T00:00:00"),
        ("11/26/2026 12:30:00 P.M.", "2026-11-26T12:30:00"),
        ("26/11/2026 19:24:00", "2026-11-26T19:24:00"),
        ("5/5/2026 7:24:00", "2026-05-05T07:24:00"),
        ("2026-11-26 07:24:00 PM", "2026-11-26T19:24:00"),
        ("11/26/2026 07:24:00 AM +01:00", "2026-11-26T06:24:00"),
    ],
)
def test_dates_are_read_where_their_order_is_certain(tmp_path: Path, stamp: str, meant: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(f'time,power_w\n"{stamp}",10\n"{stamp.replace("2026", "2027")}",10\n')
    moment = datetime.fromisoformat(meant).replace(tzinfo=UTC)
    assert TraceFile(file, zone="UTC").trace.times_s[0] == moment.timestamp()


def flat_file(file: Path, watts: Sequence[str], *, every_s: float = 0.5) -> Path:
    """A minute of figures, in turn, as they are written."""
    rows = (f"{1e9 + every_s * k},{watts[k % len(watts)]}\n" for k in range(round(60 / every_s) + 1))
    file.write_text("timestamp,power_w\n" + "".join(rows))
    return file


@pytest.mark.parametrize(
    ("watts", "given", "step_w"),
    [
        (["5"], {}, 1.0),
        (["5.0"], {}, 0.1),
        (["100.00 W"], {}, 0.01),
        (["80", "100", "120", "100"], {}, 20.0),
        (["64.8", "64.85", "65"], {}, 0.05),
        (["100"], {"step_w": 20.0}, 20.0),
    ],
)
def test_the_step_of_the_figures_is_seen_in_the_column_and_is_in_the_error(
    tmp_path: Path, watts: list[str], given: dict[str, float], step_w: float
) -> None:
    file = flat_file(tmp_path / "flat.csv", watts)
    trace = TraceFile(file, **given).trace  # type: ignore[arg-type]
    assert trace.step_w == pytest.approx(step_w)
    domain = replay("bench", str(file), rel_u="0.005", **given).domain  # type: ignore[arg-type]
    assert domain.rel_u == pytest.approx(math.hypot(0.005, step_w / math.sqrt(12) / trace.mean_w))
    if len(watts) == 1:
        assert math.sqrt(trace.energy_j(1e9, 1e9 + 10)[1]) == pytest.approx(
            step_w / math.sqrt(12) * 0.5 * math.sqrt(20)
        )
    for start_s, end_s in ((0.1, 0.4), (0.1, 7.3), (0.0, 60.0)):
        assert trace.energy_j(1e9 + start_s, 1e9 + end_s)[1] > 0


def test_a_whole_watt_in_five_is_no_figure_of_one_percent(tmp_path: Path) -> None:
    domain = replay("bench", str(flat_file(tmp_path / "w.csv", ["5"])), rel_u="0.005").domain
    assert 1.96 * domain.rel_u == pytest.approx(0.11, abs=0.01)
    assert "told in steps of 1 W" in domain.source


@pytest.mark.parametrize(("spread_w", "step_w"), [(3.0, 1.0), (0.0, 1.0), (0.0, 20.0), (30.0, 20.0)])
def test_the_true_energy_of_a_rounded_power_lies_within_the_error(spread_w: float, step_w: float) -> None:
    """Of 100 W or so, which moves from figure to figure or does not."""
    draw = np.random.default_rng(2)
    inside, rounds = 0, 400
    for _ in range(rounds):
        watts = np.maximum(0, draw.uniform(90, 110) + draw.normal(0, spread_w, 101))
        times = np.arange(101) * 0.5
        truth_j = float(np.trapezoid(watts, times))
        trace = Trace(times_s=times, watts=np.round(watts / step_w) * step_w, step_w=step_w)
        joules, variance = trace.energy_j(0, 50)
        u_j = math.hypot(math.sqrt(variance), trace.rounding(joules / 50) * joules)
        inside += abs(joules - truth_j) <= 1.96 * u_j
    assert inside / rounds >= 0.95


def test_samples_that_agree_say_nothing_of_a_window_between_them() -> None:
    trace = Trace(times_s=np.array([0.0, 5.0, 10.0, 15.0]), watts=np.array([30.0, 100.0, 100.0, 30.0]), step_w=1.0)
    assert trace.unseen_variance(6.0, 9.0) == pytest.approx((70 * 3) ** 2 / 3)
    assert trace.unseen_variance(4.0, 9.0) == 0


COUNTERS: dict[str, tuple[str, float, dict[str, str]]] = {
    "energy_wh": ("{:.4f}", 3.6e3, {}),
    "energy_kwh": ("{:.7f}", 3.6e6, {}),
    "Energy (Wh)": ("{:.4f}", 3.6e3, {}),
    "aenergy_total": ("{:.4f}", 3.6e3, {}),
    "switch:0.aenergy.total": ("{:.4f}", 3.6e3, {}),
    "energy_j": ("{:.1f}", 1.0, {}),
    "energy_mj": ("{:.0f}", 1e-3, {}),
    "kWh": ("{:.7f}", 3.6e6, {}),
    "total": ("{:.4f} Wh", 3.6e3, {"column": "total", "unit": "Wh"}),
}


def counter_of(column: str, joules: np.ndarray, every_s: float) -> str:  # type: ignore[type-arg]
    """What a plug's log says of so many joules."""
    form, unit_j, _ = COUNTERS[column]
    rows = (f"{1e9 + every_s * k},{form.format(7 + total / unit_j)}\n" for k, total in enumerate(joules))
    return f"timestamp,{column}\n" + "".join(rows)


@pytest.mark.parametrize("column", COUNTERS)
def test_a_counter_of_energy_is_a_trace_too(tmp_path: Path, column: str) -> None:
    draw = np.random.default_rng(3)
    watts = draw.uniform(80, 120, 200)
    joules = np.concatenate(([0.0], np.cumsum(watts * 0.5)))
    file = tmp_path / "plug.csv"
    file.write_text(counter_of(column, joules, 0.5))
    meter = replay("plug", str(file), **COUNTERS[column][2])  # type: ignore[arg-type]
    trace = meter.source.trace
    assert (meter.domain.grade, replay("rail", str(file), scope="gpu", **COUNTERS[column][2]).domain.grade) == (  # type: ignore[arg-type]
        "wall", "counter",
    )  # fmt: skip
    assert meter.domain.resolution_j == trace.step_j
    assert 0 < trace.step_j < 2
    assert meter.u_offset_s == pytest.approx(math.hypot(0.05, 0.5 / math.sqrt(12)), rel=0.01)
    found_j, variance = trace.energy_j(1e9 + 10, 1e9 + 60)
    assert found_j == pytest.approx(joules[120] - joules[20], abs=3 * trace.step_j / math.sqrt(6))
    assert variance == 0
    part_j, variance = trace.energy_j(1e9 + 10.2, 1e9 + 60)
    assert part_j == pytest.approx(joules[120] - joules[20] - 0.2 * watts[20], abs=3 * math.sqrt(variance) + 2)
    assert variance > 0


def test_a_coarse_counter_is_known_where_it_rises_and_says_its_step(tmp_path: Path) -> None:
    """3,600 J at 100 W: one rise in 36 s."""
    joules = np.arange(0, 60_000, 50.0)
    file = tmp_path / "plug.csv"
    rows = (f"{1e9 + 0.5 * k},{math.floor(total / 3600) / 1000:.3f}\n" for k, total in enumerate(joules))
    file.write_text("timestamp,energy_kwh\n" + "".join(rows))
    trace = replay("plug", str(file)).source.trace
    assert trace.step_j == pytest.approx(3600)
    assert np.allclose(trace.watts, 100, rtol=0.02)
    assert trace.begin_s == 1e9 + 36


def test_a_log_that_stopped_for_a_while_says_nothing_of_a_window_that_ends_meanwhile(tmp_path: Path) -> None:
    seconds = [*range(20), *range(200, 220)]
    file = tmp_path / "plug.csv"
    file.write_text("timestamp,energy_j\n" + "".join(f"{1e9 + s},{100 * s + s % 3}\n" for s in seconds))
    trace = TraceFile(file).trace
    assert trace.energy_j(1e9 + 5, 1e9 + 205)[0] == pytest.approx(20_000, abs=5)
    with pytest.raises(MeterLost, match="has a gap of 181 s"):
        trace.energy_j(1e9 + 5, 1e9 + 100)


@pytest.mark.parametrize("case", [case for case in FORMATS if "epoch" in case or "ISO" in case or "nvidia" in case])
def test_times_of_the_day_are_those_of_their_zone(tmp_path: Path, case: str) -> None:
    assert read(tmp_path / "trace.csv", *FORMATS[case]).times_s[0] == pytest.approx(NOON, abs=1e-5)


@pytest.mark.parametrize(
    "times",
    [
        pd.Series([0.0, 1.0, 2.0]),
        pd.to_datetime(pd.Series([NOON, NOON + 1, NOON + 2]), unit="s", utc=True),
        pd.to_datetime(pd.Series([NOON, NOON + 1, NOON + 2]), unit="s", utc=True).dt.tz_localize(None),
        pd.Series([1782907200000, 1782907201000, 1782907202000]),
    ],
)
def test_parquet_is_read_like_text(tmp_path: Path, times: pd.Series) -> None:  # type: ignore[type-arg]
    file = tmp_path / "trace.parquet"
    pd.DataFrame({"time": times, "power_w": [10.0, 20.0, 20.0]}).to_parquet(file)
    trace = TraceFile(file, zone="UTC").trace
    assert list(trace.watts) == [10, 20, 20]
    assert trace.times_s[0] == pytest.approx(0 if times[0] == 0 else NOON)


@pytest.mark.parametrize("index", ["of times", "with holes"])
def test_what_pandas_calls_an_index_is_read_where_it_says_anything(tmp_path: Path, index: str) -> None:
    times = pd.date_range("2026-07-01T12:00:00", periods=4, freq="s", tz="UTC")
    table = pd.DataFrame({"power_w": [10.0, 20.0, 99.0, 20.0]}, index=times)
    table = (table if index == "of times" else table.reset_index(names="time"))[[True, True, False, True]]
    table.to_parquet(tmp_path / "trace.parquet")
    trace = TraceFile(tmp_path / "trace.parquet").trace
    assert list(trace.watts) == [10, 20, 20]
    assert trace.times_s[0] == NOON


def test_a_parquet_file_of_far_too_many_rows_is_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "large.parquet"
    zeros = pa.table({"t_s": pa.array(np.zeros(5_000_000)), "power_w": pa.array(np.zeros(5_000_000))})
    with pq.ParquetWriter(file, zeros.schema, compression="zstd") as writer:
        for _ in range(8):
            writer.write_table(zeros)
    assert file.stat().st_size < 1_000_000
    began_s = time.monotonic()
    with pytest.raises(UsageError, match=r"large\.parquet has 40,000,000 rows of 2 columns"):
        replay("bench", str(file))
    assert time.monotonic() - began_s < 1


FAULTS: dict[str, tuple[str, dict[str, str], str]] = {
    "nothing": ("", {}, "is empty"),
    "a header alone": ("t_s,power_w\n", {}, "no row yet"),
    "one row": ("t_s,power_w\n0,10\n", {}, "holds 1 samples"),
    "garbage": ("\0\1\2\3" * 100, {}, "neither text nor Parquet"),
    "prose": ("Dear diary,\ntoday I measured nothing.\n", {}, "no line has a header"),
    "no header": ("0,10\n1,20\n", {}, "no line has a header"),
    "no power": ("t_s,volts\n0,10\n1,20\n", {}, "no line has a header"),
    "a column that is not there": ("t_s,power_w\n0,10\n1,20\n", {"column": "wall"}, "'wall'"),
    "several powers": ("t_s,a_w,b_w\n0,1,2\n1,1,2\n", {}, r"several powers \(a_w, b_w\)"),
    "several times": ("t_s,timestamp,a_w\n0,1,2\n1,1,2\n", {}, r"several times \(t_s, timestamp\)"),
    "no unit": ("t_s,power\n0,10\n1,20\n", {}, r"line 2, column 'power': neither .* unit="),
    "a unit that is none": ("t_s,power\n0,10\n1,20\n", {"unit": "hp"}, "unit=hp"),
    "two units": ("t_s,power_w\n0,10 W\n1,2000 mW\n", {}, r"line 3, column 'power_w': '2000 mW' is in another unit"),
    "an empty power": ("t_s,power_w\n0,10\n1,\n", {}, r"line 3, column 'power_w': '' is no power"),
    "a power that is no number": ("t_s,power_w\n0,nan\n1,1\n", {}, r"line 2, column 'power_w'"),
    "a line without end": ("t_s,power_w\n0,10\n1," + "9" * 200_000 + "\n", {}, "line 3 is no row of a table"),
    "an old Macintosh's line ends": ("t_s,power_w\r0,10\r1,10\r", {}, "no line has a header"),
    "a unit of time that is none": ("Time (d),power_w\n0,10\n1,10\n", {"time": "Time (d)"}, "its unit 'd' is none of"),
    "two columns of one name": ("t_s,power_w,power_w\n0,1,9\n1,1,9\n", {"column": "power_w"}, "several powers"),
    "a unit against the column's": ("t_s,power_mw\n0,10\n1,10\n", {"unit": "W"}, "unit=W, but its column"),
    "two outlets in turn": (
        "t_s,outlet,power_w\n0,1,100\n0.1,2,10\n1,1,100\n1.1,2,10\n",
        {},
        r"line 3, column 'outlet': 2, while before it was 1: name one of them, rows=outlet:1",
    ),
    "what nvidia-smi says of nothing": (
        "timestamp, power.draw [W]\n2026/07/01 12:00:00, [N/A]\n",
        {"zone": "UTC"},
        r"line 2, column 'power\.draw \[W\]': '\[N/A\]' is no power",
    ),
    "a negative power": ("t_s,power_w\n0,10\n1,-1\n", {}, r"line 3, column 'power_w': -1 W"),
    "milliwatts taken for watts": ("t_s,power_w\n0,123456\n1,1\n", {}, r"123456 W cannot be; is unit= right"),
    "times that go back": ("t_s,power_w\n0,10\n2,10\n1,10\n", {}, r"line 4, column 't_s': 1 s before"),
    "times that stand": ("t_s,power_w\n0,10\n0,10\n", {}, r"line 3, column 't_s': the same time"),
    "a time that is none": ("t_s,power_w\n0,10\nnoon,10\n", {}, r"line 3, column 't_s': 'noon'"),
    "a time between all units": ("time,power_w\n5e8,1\n6e8,1\n", {}, r"line 2, column 'time'"),
    "mixed times": (f"time,power_w\n0,10\n{NOON},10\n", {}, "others since some start"),
    "no zone": ("time,power_w\n2026-07-01 12:00:00,10\n", {}, r"line 2, column 'time': .* zone=UTC"),
    "a zone that is none": ("t_s,power_w\n0,10\n1,10\n", {"zone": "Middle/Earth"}, "Middle/Earth"),
    "the hour after summer time": (
        "time,power_w\n2026-10-25 02:59:59,10\n2026-10-25 02:00:00,10\n",
        {"zone": "Europe/Berlin"},
        "summer time",
    ),
    "a day that may be a month": (
        "time,power_w\n7/1/2026 12:00:00,10\n",
        {"zone": "UTC"},
        r"line 2, column 'time': '7/1/2026 12:00:00' may be of day 7 or of month 7; .*read are 2026-11-26T",
    ),
    "a month that there is not": (
        "time,power_w\n7/13/2026 12:00:00,10\n13/7/2026 12:00:01,10\n",
        {"zone": "UTC"},
        r"line 3, column 'time': month must be",
    ),
    "13 in the afternoon": ("time,power_w\n7/31/2026 13:00:00 PM,10\n", {"zone": "UTC"}, "no such hour as 13 PM"),
    "a month in a word": (
        "time,power_w\n31 July 2026 12:00:00,10\n",
        {"zone": "UTC"},
        "is no time; read are 2026-11-26T",
    ),
    "a counter that was set to 0": (
        "t_s,energy_wh\n0,10\n1,11\n2,0\n",
        {},
        r"line 4, column 'energy_wh': it fell by 39600 J: the counter was set to 0 \(cut the file there\), or this",
    ),
    "a counter that stands": ("t_s,energy_wh\n0,10\n1,11\n2,11\n", {}, r"its counter 'energy_wh' rises 1 times in 3"),
    "a counter that leaps": ("t_s,energy_wh\n0,10\n1,11\n2,911\n", {}, "a power is below 0, above 50000 W"),
    "a counter without a figure": ("t_s,energy_wh\n0,10\n1,\n", {}, r"line 3, column 'energy_wh': '' is no energy"),
    "several counters": ("t_s,energy_wh,aenergy_total\n0,1,2\n", {}, r"several counters of energy \(energy_wh, aen"),
    "a power's unit for a counter": ("t_s,energy_wh\n0,1\n1,2\n", {"unit": "W"}, "unit=W, but its column"),
    "a power's step for a counter": ("t_s,energy_wh\n0,1\n1,2\n2,3\n", {"step_w": "1"}, "step_w= is for a power"),
    "a row too short": ("t_s,x,power_w\n0,1,10\n1\n", {}, r"line 3: 1 columns, while the header has 3"),
    "two GPUs": (
        "index, timestamp, power.draw [W]\n0, 2026/07/01 12:00:00.000, 9 W\n1, 2026/07/01 12:00:00.004, 9 W\n",
        {"zone": "UTC"},
        r"line 3, column 'index': 1, while before it was 0: name one of them, rows=index:0",
    ),
    "several GPUs without a name": (
        "timestamp, power.draw [W]\n"
        + "".join(f"2026/07/01 12:00:{s:02d}.{g:03d}, {50 + g} W\n" for s in range(9) for g in range(8)),
        {"zone": "UTC"},
        "rows come in bursts",
    ),
    "a row that is never there": ("index,t_s,power_w\n0,0,1\n0,1,1\n", {"rows": "index:7"}, "no row with index '7'"),
    "a filter's column that is not there": ("t_s,power_w\n0,1\n1,1\n", {"rows": "gpu:7"}, "no column 'gpu'"),
    "PowerShell's own encoding": ("\ufefft_s,power_w\n0,1\n".encode("utf-16-le").decode("latin-1"), {}, "UTF-16"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_file_that_is_wrong_or_not_clear_is_refused_in_one_line_that_says_where(tmp_path: Path, case: str) -> None:
    text, arguments, told = FAULTS[case]
    file = tmp_path / "trace.csv"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=told) as caught:
        replay("bench", str(file), **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    if case not in ("a unit that is none", "a zone that is none", "a power's step for a counter"):
        assert str(file) in str(caught.value)


def test_a_file_that_is_missing_a_folder_or_far_too_large_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.csv cannot be read"):
        replay("bench", str(tmp_path / "nothing.csv"))
    with pytest.raises(UsageError, match="not a file"):
        replay("bench", str(tmp_path))
    large = tmp_path / "large.csv"
    large.write_text("t_s,power_w\n")
    os.truncate(large, 1_000_000_000)
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"large\.csv has 1,000 MB"):
        replay("bench", str(large))
    assert time.monotonic() - began < 1


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trace.parquet"
    pd.DataFrame({"t_s": [0.0, 1.0], "power_w": [1.0, 1.0]}).to_parquet(file)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(UsageError, match=r"trace\.parquet is a damaged"):
        replay("bench", str(file))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"scope": "wal"}, "scope=wal is none of .*did you mean 'wall'"),
        ({"grade": "exact"}, "grade=exact is none of"),
        ({"grade": "wall", "scope": "gpu"}, "at the wall"),
        ({"rel_u": "5"}, "rel_u=5"),
        ({"rel_u": "0"}, "rel_u=0"),
        ({"rel_u": "good"}, "rel_u=good"),
        ({"u_offset_s": "-1"}, "u_offset_s=-1"),
        ({"max_gap_s": "nan"}, "max_gap_s=nan"),
        ({"step_w": "-1"}, "step_w=-1"),
        ({"rows": "index"}, "rows=index should be COLUMN:VALUE"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(tmp_path: Path, arguments: dict[str, str], told: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("t_s,power_w\n0,10\n1,10\n")
    with pytest.raises(UsageError, match=f"'bench'.*{told}"):
        replay("bench", str(file), **arguments)  # type: ignore[arg-type]


def sine_file(folder: Path) -> Path:
    """Sixty seconds of 100 W and 50 W x sin, every 20 ms, with a period of 0.8 s."""
    times = np.arange(0, 60, 0.02)
    file = folder / "sine.csv"
    watts = 100 + 50 * np.sin(2 * np.pi * times / 0.8)
    pd.DataFrame({"t_s": times, "power_w": watts}).to_csv(file, index=False)
    return file


def sine_j(until_s: float) -> float:
    omega = 2 * math.pi / 0.8
    return 100 * until_s + 50 / omega * (1 - math.cos(omega * until_s))


def domains_of(meter: ReplayMeter) -> list[Domain]:
    found = meter.probe()
    assert not isinstance(found, Unavailable), found
    return list(found)


def test_a_known_trace_gives_its_energy_within_the_stated_error(tmp_path: Path) -> None:
    meter = replay("bench", str(sine_file(tmp_path)))
    with Recorder([meter], domains_of(meter), os.getpid()) as recorder:
        opened_s = time.monotonic()
        meter.open(0)  # A second time, between two looks at the clock: times begin here.
        late_s = time.monotonic() - opened_s
        time.sleep(0.13)
        recorder.start()
        time.sleep(0.95)
        record = recorder.stop()
    began_s = record.began_ns / 1e9 - opened_s - late_s / 2
    truth_j = sine_j(began_s + record.window_s) - sine_j(began_s)
    assert record.gross_j == pytest.approx(truth_j, abs=3 * record.u_j + 100 * late_s)
    assert record.u_j < 0.03 * record.gross_j
    assert (record.grade, record.scope) == ("wall", "wall")


def test_our_own_trace_gives_back_the_energy_it_was_made_from(tmp_path: Path) -> None:
    meter = replay("bench", str(sine_file(tmp_path)))
    with Recorder([meter], domains_of(meter), os.getpid(), trace_s=0.05) as recorder:
        records, kept = [], []
        for _ in range(2):
            recorder.start()
            time.sleep(0.4)
            records.append(recorder.stop())
            kept.append(recorder.trace)
    table = power_table(kept)
    assert table is not None
    file = tmp_path / "cell.parquet"
    table.to_parquet(file, index=False)
    for number, record in enumerate(records):
        trace = TraceFile(file, column="bench:wall", rows={"window": str(number)}).trace
        joules, variance = trace.energy_j(0.0, float(trace.times_s[-1]))
        assert joules == pytest.approx(record.gross_j, rel=1e-6)
        assert variance == 0
    with pytest.raises(UsageError, match=r"column 'window': 1, while before it was 0: name one of them, rows=window:0"):
        TraceFile(file)
    with pytest.raises(UsageError, match="no row with window '0' and domain 'rapl:psys'"):
        TraceFile(file, column="rapl:psys", rows={"window": "0"})


def test_our_own_trace_is_a_meter_too_and_windows_begin_at_its_spans(tmp_path: Path) -> None:
    rows = [{"window": 0, "t_s": 0.05 * (k + 1), "domain": "rapl:package-0", "power_w": 10 + k % 3} for k in range(400)]
    file = tmp_path / "cell.parquet"
    pd.DataFrame(rows).to_parquet(file)
    meter = replay("old", str(file), "rapl:package-0", "package")
    assert domains_of(meter)[0].provenance.endswith("column rapl:package-0")
    with Recorder([meter], domains_of(meter), os.getpid()) as recorder:
        recorder.start()
        time.sleep(0.5)
        record = recorder.stop()
    assert record.window_s / 0.05 == pytest.approx(round(record.window_s / 0.05), abs=1e-4)
    assert record.gross_j == pytest.approx(11 * record.window_s, abs=0.11)
    assert record.grade == "polled"


class Logger:
    """Appends lines to a file while a test goes on, stamped with the wall clock as a logger does."""

    def __init__(self, file: Path, *, steps_s: float = math.inf, every_s: float = 0.03, wobble_w: float = 0.1) -> None:
        self.file, self.began_s = file, time.time()
        self._steps_s, self._every_s, self._wobble_w, self._rows = steps_s, every_s, wobble_w, 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._log, daemon=True)
        file.write_text("timestamp,power_w\n")
        self.write(self.began_s - 1.0)
        self.write(self.began_s)

    def write(self, when_s: float) -> None:
        self._rows += 1
        watts = (50.0 if when_s < self.began_s + self._steps_s else 150.0) + self._wobble_w * (self._rows % 2)
        self.append(f"{when_s:.6f},{watts:.1f}\n")

    def append(self, text: str) -> None:
        with self.file.open("a") as file:
            file.write(text)

    def __enter__(self) -> Logger:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _log(self) -> None:
        while not self._stopping.wait(self._every_s):
            self.write(time.time())


@pytest.fixture
def wall_ahead_s() -> float:
    return time.time() - time.monotonic()


@pytest.fixture
def logger(tmp_path: Path) -> Iterator[Logger]:
    with Logger(tmp_path / "log.csv") as started:
        yield started


def test_a_log_that_grows_while_the_run_goes_on_is_followed(tmp_path: Path, wall_ahead_s: float) -> None:
    with Logger(tmp_path / "log.csv", steps_s=0.9) as logger:
        meter = replay("bench", str(logger.file), rel_u="0.002", u_offset_s="0.01")
        domains = domains_of(meter)
        with Recorder([meter], domains, os.getpid()) as recorder:
            recorder.start()
            time.sleep(1.4)
            record = recorder.stop()
    began_s = record.began_ns / 1e9 + wall_ahead_s
    stepped_s, end_s = logger.began_s + 0.9, began_s + record.window_s
    assert began_s < stepped_s < end_s
    truth_j = 50 * (stepped_s - began_s) + 150 * (end_s - stepped_s)
    assert record.gross_j == pytest.approx(truth_j, abs=3 * record.u_j)
    assert 0 < record.u_j < 0.1 * record.gross_j
    assert record.rel_u_scale == pytest.approx(0.002)
    assert domains[0].source == "given by the user as rel_u=0.002; told in steps of 0.1 W"


def test_where_the_power_is_steady_a_live_log_and_the_same_log_afterwards_tell_the_same_small_error(
    tmp_path: Path, wall_ahead_s: float
) -> None:
    """Clocks that are apart move a window and stretch none; what is left is the figures' step."""
    with Logger(tmp_path / "log.csv", wobble_w=0.0) as logger:
        meter = replay("bench", str(logger.file))
        with Recorder([meter], domains_of(meter), os.getpid()) as recorder:
            recorder.start()
            time.sleep(1.0)
            record = recorder.stop()
        time.sleep(0.3)
    began = datetime.fromtimestamp(record.began_ns / 1e9 + wall_ahead_s, UTC).isoformat(timespec="milliseconds")
    again = find_recording(f"bench=replay:file={logger.file}").measure([Span(began_at=began, window_s=record.window_s)])
    assert record.gross_j == pytest.approx(50 * record.window_s)
    assert again.gross_j == pytest.approx(record.gross_j)
    assert again.u_j == pytest.approx(record.u_j, rel=0.3)
    assert 0 < record.u_j < 0.02
    assert record.rel_u_workload == pytest.approx(0.1 / math.sqrt(12) / 50)
    assert again.rel_u_workload == pytest.approx(record.rel_u_workload)


def test_an_error_that_was_told_is_not_taken_back_where_the_figures_prove_finer(logger: Logger) -> None:
    logger.stop()
    meter = replay("bench", str(logger.file))
    meter.open(0)
    logger.append(f"{time.time():.6f},150\n")
    before = meter.read()
    logger.append(f"{time.time():.6f},150.01\n")
    after = meter.read()
    assert meter.source.trace.step_w == pytest.approx(0.01)
    for told in ("values", "variances"):
        assert getattr(after, told)["bench:wall"] >= getattr(before, told)["bench:wall"] > 0


def test_how_far_two_clocks_are_apart_moves_the_trace_and_widens_the_error(logger: Logger) -> None:
    time.sleep(0.1)
    logger.stop()
    logger.append(f"{time.time():.6f},500\n")
    readings = []
    for offset_s in ("0", "0.5"):
        meter = replay("bench", str(logger.file), offset_s=offset_s, u_offset_s="0.2")
        meter.open(0)
        readings.append(meter.read())
    plain, moved = (reading.moment_ns or 0.0 for reading in readings)
    # A recorder's clock that is half a second ahead stamped what it saw half a second late.
    assert moved - plain == pytest.approx(-0.5e9, abs=2e6)
    assert [reading.u_moment_s for reading in readings] == [0.2, 0.2]


def lost(meter: ReplayMeter, within_s: float = 5.0) -> str:
    """What the meter says when it is lost, which must be soon."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            meter.read()
        except MeterLost as error:
            return str(error)
        time.sleep(0.005)
    raise AssertionError("it went on")


def fresh_log(file: Path) -> Path:
    """Two rows of the last second."""
    file.write_text("timestamp,power_w\n" + "".join(f"{time.time() - 1 + k},50\n" for k in (0.0, 0.9)))
    return file


def opened(file: Path) -> ReplayMeter:
    meter = replay("bench", str(file))
    meter.open(0)
    meter.read()
    return meter


def test_a_line_that_makes_no_sense_ends_the_measurement_and_is_named(logger: Logger) -> None:
    meter = opened(logger.file)
    logger.stop()
    lines = len(logger.file.read_text().splitlines())
    logger.append(f"{time.time()},banana\n")
    assert f"line {lines + 1}, column 'power_w': 'banana' is no power" in lost(meter)


def test_half_a_line_is_not_read_before_its_end_has_come(logger: Logger) -> None:
    meter = opened(logger.file)
    logger.stop()
    meter.read()
    logger.append(f"{time.time():.6f},1")
    before = meter.read().moment_ns
    assert before == meter.read().moment_ns
    logger.append("23.5\n")
    now = meter.read()
    assert now.moment_ns is not None
    assert before is not None
    assert now.moment_ns > before


def test_a_log_that_is_cut_or_replaced_ends_the_measurement(logger: Logger) -> None:
    meter = opened(logger.file)
    logger.stop()
    fresh = logger.file.with_name("fresh.csv")
    fresh.write_text(logger.file.read_text())
    fresh.replace(logger.file)
    assert "replaced or cut" in lost(meter)
    meter = opened(logger.file)
    os.truncate(logger.file, 30)
    assert "replaced or cut" in lost(meter)
    meter = opened(fresh_log(logger.file))
    logger.file.unlink()
    assert "cannot be read" in lost(meter)
    assert "cannot be read" in lost(meter), "what is lost stays lost"


def test_a_logger_that_fell_silent_is_lost_and_not_read_on_at_its_last_figure(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    last_s = time.time() - 7.8
    file.write_text("timestamp,power_w\n" + "".join(f"{last_s - 1 + 0.05 * k:.3f},10\n" for k in range(21)))
    meter = opened(file)
    assert "ended 8." in lost(meter)


def test_a_log_that_ended_or_is_of_another_hour_cannot_be_used_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    for ahead_s, told in ((-3600, "ended 359"), (3600, r"a row from 3,60\d\.\d s in the future")):
        file.write_text("".join(["timestamp,power_w\n", *(f"{time.time() + ahead_s + k},10\n" for k in range(3))]))
        meter = replay("bench", str(file))
        found = meter.probe()
        assert isinstance(found, Unavailable)
        assert re.search(told, found.reason)
        assert "zone=" in found.fix
        with pytest.raises(MeterLost, match=told):
            meter.open(0)


def test_a_log_whose_stamps_are_ahead_is_refused_though_it_holds_the_present(tmp_path: Path) -> None:
    """What it says of now is what was drawn an hour ago: 50 W, while it is 200 W."""
    file, now_s = tmp_path / "log.csv", time.time()
    rows = [(now_s + 600.0 * k, 50 if k < 4 else 200) for k in range(-6, 7)]
    file.write_text("timestamp,power_w\n" + "".join(f"{when_s:.3f},{watts}\n" for when_s, watts in rows))
    meter = replay("bench", str(file))
    assert isinstance(meter.probe(), Unavailable)
    with pytest.raises(MeterLost, match=r"a row from 3,\d{3}\.\d s in the future.*zone= or offset_s="):
        meter.open(0)
    known = replay("bench", str(file), offset_s=3600)
    known.open(0)
    assert (known.read().moment_ns or 0) / 1e9 == pytest.approx(time.monotonic(), abs=1)


def test_a_log_whose_clock_runs_ahead_in_the_middle_ends_the_measurement(logger: Logger) -> None:
    meter = opened(logger.file)
    logger.stop()
    logger.append(f"{time.time() + 2:.6f},50\n")
    assert "s in the future" in lost(meter)


def test_a_gap_in_the_log_ends_the_measurement(logger: Logger) -> None:
    meter = replay("bench", str(logger.file), max_gap_s=0.5)
    meter.open(0)
    logger.stop()
    time.sleep(0.6)
    logger.append(f"{time.time():.6f},50\n")
    assert "has a gap of" in lost(meter)


def test_stamps_of_whole_seconds_say_when_to_a_second_only(tmp_path: Path) -> None:
    file, now_s = tmp_path / "log.csv", math.floor(time.time())
    file.write_text("timestamp,power_w\n" + "".join(f"{now_s - 9 + k},{50 + 50 * (k % 2)}\n" for k in range(10)))
    for told_s, u_s in ((None, pytest.approx(0.58, abs=0.01)), ("0.1", 0.1)):
        meter = replay("bench", str(file), u_offset_s=told_s)
        meter.open(0)
        assert meter.read().u_moment_s == u_s


def test_the_end_of_a_recording_is_the_end_and_no_idle_machine(tmp_path: Path) -> None:
    file = tmp_path / "short.csv"
    file.write_text("t_s,power_w\n0,10\n0.1,10\n0.2,10\n")
    meter = opened(file)
    assert "short.csv ended" in lost(meter)
    meter.close()
    with pytest.raises(MeterLost, match="not open"):
        meter.read()


def test_it_is_made_by_name_like_any_other_meter(tmp_path: Path) -> None:
    file = tmp_path / "smi.csv"
    file.write_text("t_s,gpu_w,wall_w\n0,10,20\n1,10,20\n")
    name = f"board=replay:file={file},column=gpu_w,scope=gpu,grade=counter,rel_u=0.03"
    (meter,) = find_meters([name])
    choice = choose([name], device="cuda", probed=probe_all([meter]))
    assert [domain.id for domain in choice.summed] == ["board:gpu"]
    assert (choice.grade, choice.scope, choice.summed[0].rel_u_scale) == ("counter", "gpu", 0.03)


def test_a_log_that_grows_keeps_all_promises_of_a_meter(logger: Logger) -> None:
    found = check_meter(lambda: replay("bench", str(logger.file)), seconds=1.0)
    assert [domain.id for domain in found] == ["bench:wall"]


def test_it_keeps_all_promises_of_a_meter(tmp_path: Path) -> None:
    file = sine_file(tmp_path)
    assert [domain.id for domain in check_meter(lambda: replay("bench", str(file)), seconds=1.0)] == ["bench:wall"]
