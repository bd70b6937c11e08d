"""Windows: joules within 1 % of the truth, an uncertainty that covers the error, and never a made-up figure."""

from __future__ import annotations

import math
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random
from types import SimpleNamespace

import pytest
from machines import FakePowercap, PowerDriver, wave

from joulemark.meters.errors import MeterLost, UsageError
from joulemark.meters.registry import choose
from joulemark.meters.totals import sampling_interval_s
from joulemark.meters.types import Domain, Grade, Meter, Reading
from joulemark.meters.window import Recorder, min_window_s


def domain(name: str, **given: object) -> Domain:
    facts: dict[str, object] = {
        "kind": "package",
        "grade": "counter",
        "resolution_j": None,
        "update_s": None,
        "range_j": None,
        "rel_u_scale": 0.03,
        "rel_u_workload": 0.0,
        "source": "a test",
        "provenance": "a test",
    }
    return Domain(id=name, **(facts | given))  # type: ignore[arg-type]


class ScriptedMeter:
    """Gives the readings it was made with, one after the other, the last one for ever."""

    id = "scripted"

    def __init__(self, *looks: tuple[float, Mapping[str, float]], length_s: float = 0.0) -> None:
        self._looks = [(0.0, looks[0][1]), *looks]
        self._length_ns = round(length_s * 1e9)
        self.closed = 0

    def probe(self) -> Sequence[Domain]:
        return []

    def open(self, pid: int) -> None:
        pass

    def read(self) -> Reading:
        t_s, values = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        t_ns = round(t_s * 1e9)
        return Reading(t0_ns=t_ns - self._length_ns // 2, t1_ns=t_ns + self._length_ns // 2, values=values)

    def close(self) -> None:
        self.closed += 1


class SteppingMeter:
    """A counter on a clock of its own, which looking at it moves: it shows the energy at its last tick, in steps of
    ``unit_j``, and stands still from ``frozen_s`` on."""

    id = "stepping"

    def __init__(
        self, energy_j: Callable[[float], float], *, tick_s: float = 0.001, unit_j: float = 1e-6, seed: int = 0
    ) -> None:
        self._energy_j, self._tick_s, self._unit_j = energy_j, tick_s, unit_j
        self._random = Random(seed)
        self._phase_s = self._random.random() * tick_s
        self.now_s = 100.0
        self.frozen_s = math.inf

    def probe(self) -> Sequence[Domain]:
        return [self.domain()]

    def domain(self, **given: object) -> Domain:
        return domain("stepping:a", update_s=self._tick_s, resolution_j=self._unit_j, **given)

    def open(self, pid: int) -> None:
        pass

    def read(self) -> Reading:
        t0_s = self.now_s
        looked_s = t0_s + self._random.random() * 5e-6
        self.now_s += 5e-6
        # From one look to the next: a fiftieth of a tick, more or less.
        t1_s, self.now_s = self.now_s, self.now_s + self._tick_s * self._random.uniform(0.01, 0.03)
        ticked_s = (min(looked_s, self.frozen_s) - self._phase_s) // self._tick_s * self._tick_s + self._phase_s
        joules = self._energy_j(ticked_s) // self._unit_j * self._unit_j
        return Reading(t0_ns=round(t0_s * 1e9), t1_ns=round(t1_s * 1e9), values={"stepping:a": joules})

    def close(self) -> None:
        pass


@pytest.fixture
def only_meters_tell_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `SteppingMeter` has a clock of its own: that this process had to wait meanwhile is nothing to it."""
    monkeypatch.setattr("joulemark.meters.steps.time", SimpleNamespace(monotonic=lambda: 0.0, sleep=time.sleep))


def record(domains: Sequence[Domain], *meters: Meter) -> tuple[float, float]:
    with Recorder(meters, domains, os.getpid()) as recorder:
        recorder.start()
        found = recorder.stop()
    return found.gross_j, found.u_j


def test_a_window_is_the_difference_of_two_readings_from_middle_to_middle() -> None:
    domains = [domain("scripted:a"), domain("scripted:b", kind="dram"), domain("scripted:c", summed=False)]
    meter = ScriptedMeter(
        (10.0, {"scripted:a": 5, "scripted:b": 1, "scripted:c": 9}),
        (12.5, {"scripted:a": 30, "scripted:b": 3, "scripted:c": 99}),
    )
    with Recorder([meter], domains, os.getpid()) as recorder:
        recorder.start()
        found = recorder.stop()
    assert (found.gross_j, found.window_s, found.scope, found.grade) == (27, 2.5, "package+dram", "counter")
    assert found.domains == {"scripted:a": 25, "scripted:b": 2, "scripted:c": 90}


def test_uncertainty_counts_the_size_of_steps_and_the_length_of_a_look() -> None:
    looks = [(10.0, {"scripted:a": 0.0}), (20.0, {"scripted:a": 1000.0})]
    _, exact = record([domain("scripted:a")], ScriptedMeter(*looks))
    _, steps = record([domain("scripted:a", resolution_j=2.0)], ScriptedMeter(*looks))
    _, skew = record([domain("scripted:a")], ScriptedMeter(*looks, length_s=0.01))
    assert exact == 0
    assert steps == pytest.approx(2 / math.sqrt(6))
    assert skew == pytest.approx(100 * 0.01 / math.sqrt(6))


@pytest.mark.usefixtures("only_meters_tell_time")
def test_ten_steps_of_a_counter_are_enough_for_one_percent_and_its_interval_holds_the_truth() -> None:
    """A thousand windows of 10 to 200 ticks over a power that swings between 50 and 150 W, three times a second."""
    energy_j = wave(period_s=0.33)
    meter = SteppingMeter(energy_j)
    lengths, errors, inside = Random(1), [], 0
    with Recorder([meter], [meter.domain()], os.getpid()) as recorder:
        for _ in range(1000):
            recorder.start()
            meter.now_s += lengths.uniform(0.010, 0.200)
            found = recorder.stop()
            began_s = found.began_ns / 1e9
            truth_j = energy_j(began_s + found.window_s) - energy_j(began_s)
            errors.append(found.gross_j / truth_j - 1)
            inside += abs(found.gross_j - truth_j) <= 1.96 * found.u_j
    assert max(map(abs, errors)) < 0.01
    assert abs(statistics.fmean(errors)) < 1e-4
    assert 930 <= inside <= 970


@pytest.mark.usefixtures("only_meters_tell_time")
@pytest.mark.parametrize("stated", [0.25, 0.5, 2, 5, 20])
def test_a_tick_that_is_longer_or_shorter_than_stated_makes_no_figure_worse_than_it_says(stated: float) -> None:
    energy_j = wave(period_s=0.33)
    meter = SteppingMeter(energy_j)
    lengths, inside = Random(1), 0
    with Recorder([meter], [replace(meter.domain(), update_s=stated * 0.001)], os.getpid()) as recorder:
        for _ in range(200):
            recorder.start()
            meter.now_s += lengths.uniform(0.010, 0.200)
            found = recorder.stop()
            began_s = found.began_ns / 1e9
            truth_j = energy_j(began_s + found.window_s) - energy_j(began_s)
            inside += abs(found.gross_j - truth_j) <= 1.96 * found.u_j
    assert inside >= 180


class Scraped:
    """What a source that is asked now and then has told: every second, of a load that draws 300 W for a while and
    30 W else, on a clock that looking moves by 10 ms."""

    id = "scraped"

    def __init__(self) -> None:
        self.now_s = 1000.3
        self.busy = (math.inf, math.inf)
        self.silent_s = math.inf

    def domain(self, grade: Grade) -> Domain:
        return domain("scraped:a", update_s=1.0, grade=grade)

    def energy_j(self, t: float) -> float:
        begin, end = self.busy
        return 30 * t + 270 * (min(max(t, begin), end) - begin if begin < math.inf else 0.0)

    def probe(self) -> Sequence[Domain]:
        return []

    def open(self, pid: int) -> None:
        pass

    def read(self) -> Reading:
        self.now_s += 0.01
        if self.now_s > self.silent_s + 5:
            raise MeterLost("scraped has said nothing for 5 s")
        moment_s = math.floor(min(self.now_s, self.silent_s))
        now_ns = round(self.now_s * 1e9)
        values = {"scraped:a": self.energy_j(moment_s)}
        return Reading(t0_ns=now_ns, t1_ns=now_ns, values=values, moment_ns=moment_s * 1e9, u_moment_s=0.001)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("grade", ["counter", "polled", "modelled"])
def test_a_figure_that_lags_is_waited_for_so_that_all_of_the_work_lies_in_its_window(grade: Grade) -> None:
    meter = Scraped()
    with Recorder([meter], [meter.domain(grade)], os.getpid()) as recorder:
        recorder.start()
        began_s = meter.now_s
        meter.now_s += 1.7
        meter.busy = (began_s, meter.now_s)
        found = recorder.stop()
    assert found.began_ns / 1e9 <= began_s
    assert found.began_ns / 1e9 + found.window_s >= began_s + 1.7
    assert found.gross_j == pytest.approx(270 * 1.7 + 30 * found.window_s, abs=1)


def test_a_source_that_is_silent_when_a_window_begins_is_lost_and_gives_no_older_window() -> None:
    meter = Scraped()
    with Recorder([meter], [meter.domain("wall")], os.getpid()) as recorder:
        recorder.open()
        meter.silent_s = meter.now_s
        with pytest.raises(MeterLost, match="said nothing"):
            recorder.start()


def test_a_part_that_is_switched_off_draws_nothing_and_is_no_fault() -> None:
    class Rails(Scraped):
        """A processor at 30 W, and a GPU that is off."""

        def read(self) -> Reading:
            found = super().read()
            return found._replace(values={"scraped:a": found.values["scraped:a"], "scraped:b": 0.0})

    meter = Rails()
    domains = [meter.domain("polled"), domain("scraped:b", kind="gpu", grade="polled", update_s=1.0)]
    with Recorder([meter], domains, os.getpid()) as recorder:
        recorder.start()
        meter.now_s += 20
        found = recorder.stop()
    assert found.gross_j == pytest.approx(30 * found.window_s)


@pytest.mark.usefixtures("only_meters_tell_time")
def test_a_window_begins_and_ends_at_a_step_and_what_is_not_known_is_the_time_between_two_looks() -> None:
    meter = SteppingMeter(lambda t: 100 * t, tick_s=0.004)
    with Recorder([meter], [meter.domain()], os.getpid()) as recorder:
        recorder.start()
        meter.now_s += 0.1
        found = recorder.stop()
    ticks = found.window_s / 0.004
    assert ticks == pytest.approx(round(ticks), abs=0.03)
    assert found.u_j == pytest.approx(100 * 0.004 * 0.02 / math.sqrt(6), rel=0.5)


@pytest.mark.usefixtures("only_meters_tell_time")
def test_sources_with_steps_of_their_own_are_brought_to_one_window() -> None:
    slow, fast = SteppingMeter(lambda t: 100 * t, tick_s=0.004), SteppingMeter(lambda t: 50 * t, seed=1)
    slow.id, fast.id = "slow", "fast"

    class Renamed(SteppingMeter):
        """Two meters on one clock."""

        def __init__(self, name: str, inner: SteppingMeter) -> None:
            self.id, self._inner = name, inner

        def read(self) -> Reading:
            self._inner.now_s = max(slow.now_s, fast.now_s)
            found = self._inner.read()
            return Reading(t0_ns=found.t0_ns, t1_ns=found.t1_ns, values={f"{self.id}:a": found.values["stepping:a"]})

    domains = [domain("slow:a", update_s=0.004), domain("fast:a", kind="dram", update_s=0.001)]
    with Recorder([Renamed("fast", fast), Renamed("slow", slow)], domains, os.getpid()) as recorder:
        recorder.start()
        slow.now_s += 0.1
        found = recorder.stop()
    assert found.domains["slow:a"] == pytest.approx(100 * found.window_s, rel=0.002)
    assert found.domains["fast:a"] == pytest.approx(50 * found.window_s, rel=0.002)


def test_a_source_that_knows_its_moments_is_waited_for_and_its_errors_are_in_the_interval() -> None:
    class Told(ScriptedMeter):
        """Renews its figure at every third look, and tells when that was and how sure it is."""

        def read(self) -> Reading:
            self.looks = getattr(self, "looks", 0) + 1
            moment_s = self.looks // 3 * 3
            return Reading(
                t0_ns=self.looks * 10**9,
                t1_ns=self.looks * 10**9,
                values={"told:a": 20.0 * moment_s},
                moment_ns=moment_s * 1e9,
                u_moment_s=0.05,
                variances={"told:a": 2.0 * moment_s},
            )

    told = Told((0.0, {}))
    told.id = "told"
    with Recorder([told], [domain("told:a", grade="wall", kind="wall", update_s=0.003)], os.getpid()) as recorder:
        recorder.start()
        found = recorder.stop()
    assert (found.window_s, found.gross_j) == (3, 60)
    assert found.u_j == pytest.approx(math.hypot(20 * 0.05 * math.sqrt(2), math.sqrt(2 * 3)))


def test_domains_of_one_meter_err_together_and_different_meters_do_not() -> None:
    one = ScriptedMeter((10.0, {"one:a": 0, "one:b": 0}), (20.0, {"one:a": 10, "one:b": 10}), length_s=0.1)
    two = ScriptedMeter((10.0, {"two:a": 0}), (20.0, {"two:a": 10}), length_s=0.1)
    single = 1 * 0.1 / math.sqrt(6)
    _, together = record([domain("one:a"), domain("one:b")], one)
    assert together == pytest.approx(2 * single)
    one = ScriptedMeter((10.0, {"one:a": 0}), (20.0, {"one:a": 10}), length_s=0.1)
    _, apart = record([domain("one:a"), domain("two:a")], one, two)
    assert apart == pytest.approx(math.sqrt(2) * single)


def test_calibration_errors_are_weighted_by_joules() -> None:
    meter = ScriptedMeter((10.0, {"s:a": 0, "s:b": 0}), (20.0, {"s:a": 90, "s:b": 10}))
    domains = [domain("s:a", rel_u_scale=0.02), domain("s:b", kind="dram", rel_u_scale=0.12, rel_u_workload=0.1)]
    with Recorder([meter], domains, 0) as recorder:
        recorder.start()
        found = recorder.stop()
    assert found.rel_u_scale == pytest.approx(0.03)
    assert found.rel_u_workload == pytest.approx(0.01)


@pytest.mark.parametrize("joules", [0.0, -1.0, math.nan, math.inf])
def test_no_energy_less_than_none_and_no_number_are_never_results(joules: float) -> None:
    meter = ScriptedMeter((10.0, {"scripted:a": 0.0}), (20.0, {"scripted:a": joules}))
    with pytest.raises(MeterLost, match="scripted:a"):
        record([domain("scripted:a")], meter)
    assert meter.closed == 1


def test_a_package_that_stands_still_is_a_fault_even_while_memory_counts_on() -> None:
    meter = ScriptedMeter((10.0, {"s:a": 0, "s:b": 0}), (20.0, {"s:a": 0, "s:b": 10}))
    with pytest.raises(MeterLost, match=r"s:a stood still for 10 s: its counter is frozen"):
        record([domain("s:a"), domain("s:b", kind="dram")], meter)


@pytest.mark.usefixtures("only_meters_tell_time")
def test_a_counter_that_freezes_midway_is_a_fault_and_no_smaller_figure() -> None:
    meter = SteppingMeter(lambda t: 100 * t, tick_s=0.004)
    with Recorder([meter], [meter.domain()], os.getpid()) as recorder:
        recorder.start()
        meter.frozen_s = meter.now_s + 1.0
        meter.now_s += 2.0
        with pytest.raises(MeterLost, match=r"stepping:a stood still for 5 s: its counter is frozen"):
            recorder.stop()


def test_a_counter_that_froze_for_a_while_and_went_on_is_caught_by_the_sampler(powercap: FakePowercap) -> None:
    package = powercap.add("intel-rapl:0", "package-0")
    choice = choose()
    with Recorder(choice.meters, choice.domains, os.getpid(), trace_s=0.05) as recorder:
        recorder.start()
        time.sleep(6)
        package.spend(10)
        with pytest.raises(MeterLost, match=r"rapl:package-0 stood still"):
            recorder.stop()


@pytest.mark.usefixtures("only_meters_tell_time")
def test_a_figure_too_coarse_to_move_at_once_is_not_called_frozen() -> None:
    meter = SteppingMeter(lambda t: 100 * t, tick_s=0.1, unit_j=3.6)
    with Recorder([meter], [meter.domain()], os.getpid()) as recorder:
        recorder.start()
        meter.now_s += 20
        found = recorder.stop()
    assert found.gross_j == pytest.approx(100 * found.window_s, abs=1.96 * found.u_j)


def test_a_window_shorter_than_the_meter_can_see_is_no_zero() -> None:
    meter = ScriptedMeter((10.0, {"s:a": 0}), (10.05, {"s:a": 0}))
    with pytest.raises(MeterLost, match="too short"):
        record([domain("s:a")], meter)


def test_a_total_never_mixes_grades() -> None:
    with pytest.raises(UsageError, match=r"s:a \(counter\), s:b \(modelled\)"):
        Recorder([], [domain("s:a"), domain("s:b", grade="modelled")], 0)


def test_a_domain_that_probe_saw_and_readings_lack_is_a_fault() -> None:
    with pytest.raises(MeterLost, match=r"s:b: seen by probe"):
        record([domain("s:a"), domain("s:b")], ScriptedMeter((10.0, {"s:a": 0})))


def test_windows_are_as_long_as_the_slowest_source_of_the_total_needs() -> None:
    rapl = domain("rapl:package-0", update_s=0.001)
    slow = domain("rapl:package-1", update_s=0.5)
    assert min_window_s([rapl]) == 1.0
    assert min_window_s([rapl, slow]) == 25.0
    assert min_window_s([domain("plug:plug", kind="wall", grade="wall", update_s=1.0)]) == 50.0
    assert min_window_s([rapl, domain("rapl:psys", update_s=1.0, summed=False)]) == 1.0
    assert min_window_s([rapl, domain("nvml:gpu-0", kind="gpu", update_s=0.02)]) == 10.0
    assert min_window_s([domain("modelled:cpu", grade="modelled", update_s=0.01)]) == 0.5


def test_counters_that_wrap_are_looked_at_before_they_could_wrap_unseen() -> None:
    assert sampling_interval_s([domain("a")]) is None
    assert sampling_interval_s([domain("a", range_j=262_143.0)]) == 10.0
    assert sampling_interval_s([domain("a", range_j=65_532.0)]) == pytest.approx(3.2766)
    assert sampling_interval_s([domain("a", range_j=1.0)]) == 0.01
    assert sampling_interval_s([domain("a", range_j=65_532.0)], trace_s=0.1) == 0.1


@pytest.fixture
def driven(powercap: FakePowercap) -> Iterator[PowerDriver]:
    """One socket at 100 W +-50 W with 20 W of memory, whose counters wrap every half second."""
    package = powercap.add("intel-rapl:0", "package-0", range_uj=50_000_000)
    core = powercap.add("intel-rapl:0:0", "core", range_uj=50_000_000)
    memory = powercap.add("intel-rapl:0:1", "dram", range_uj=10_000_000)
    psys = powercap.add("intel-rapl:1", "psys", range_uj=90_000_000)
    with PowerDriver({package: 1.0, core: 0.8, memory: 0.2, psys: 1.5}, wave()) as driver:
        yield driver


def test_a_varying_power_is_measured_within_one_percent_over_many_wraps(driven: PowerDriver) -> None:
    choice = choose()
    assert (choice.grade, choice.scope) == ("counter", "package+dram")
    errors, traced = [], []
    with Recorder(choice.meters, choice.domains, os.getpid(), trace_s=0.05) as recorder:
        for _ in range(3):
            recorder.start()
            began = time.monotonic()
            time.sleep(1.1)
            found = recorder.stop()
            errors.append(found.gross_j / (1.2 * driven.shown_j(began, time.monotonic())) - 1)
            ends = [0.0, *(sample.t_s for sample in recorder.trace)]
            spans = [after - before for before, after in pairwise(ends)]
            powers = [sum(s.watts[d.id] for d in choice.summed) for s in recorder.trace]
            traced.append(sum(p * s for p, s in zip(powers, spans, strict=True)) / found.gross_j)
    assert statistics.median(map(abs, errors)) < 0.01
    assert traced == pytest.approx([1.0] * 3)
    assert len(recorder.trace) > 10


def test_a_zone_that_vanishes_while_nobody_reads_is_reported_when_the_window_ends(powercap: FakePowercap) -> None:
    package = powercap.add("intel-rapl:0", "package-0")
    core = powercap.add("intel-rapl:0:0", "core", range_uj=50_000_000)
    choice = choose()
    with Recorder(choice.meters, choice.domains, os.getpid()) as recorder:
        recorder.start()
        hidden = core.folder.rename(powercap.root / "hidden")
        time.sleep(0.2)
        hidden.rename(core.folder)
        package.spend(10)
        with pytest.raises(MeterLost, match=r"core-0 .* is gone"):
            recorder.stop()
        with pytest.raises(MeterLost, match=r"core-0 .* is gone"):
            recorder.start()


def test_a_lost_meter_closes_and_a_new_recorder_starts_afresh(one_socket: FakePowercap) -> None:
    choice = choose()
    recorder = Recorder(choice.meters, choice.domains, os.getpid())
    with recorder:
        recorder.start()
        one_socket["intel-rapl:0"].file.write_text("gone wrong")
        with pytest.raises(MeterLost):
            recorder.stop()
    one_socket["intel-rapl:0"].write(5_000_000)
    package = one_socket["intel-rapl:0"]
    with PowerDriver({package: 1.0}, lambda t: 100 * t) as driver, recorder:
        began = time.monotonic()
        recorder.start()
        time.sleep(0.5)
        found = recorder.stop()
        assert found.gross_j == pytest.approx(100 * found.window_s, rel=0.1)
        assert found.window_s <= time.monotonic() - began
        assert driver.shown_j(began, time.monotonic()) > 0


def test_stop_without_start_is_a_mistake_of_the_program() -> None:
    with pytest.raises(RuntimeError):
        Recorder([], [domain("s:a")], 0).stop()


def test_the_idle_power_is_a_window_over_a_process_that_sleeps() -> None:
    choice = choose(["modelled"])
    sleeper = subprocess.Popen([shutil.which("sleep") or "sleep", "30"])
    try:
        with Recorder(choice.meters, choice.domains, sleeper.pid) as recorder:
            recorder.start()
            time.sleep(0.3)
            found = recorder.stop()
    finally:
        sleeper.kill()
        sleeper.wait()
    assert found.gross_j > 0
    assert found.grade == "modelled"
