"""Prometheus: every scrape at its own time by a clock of its own, and an honest end where scrapes or sense end."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from loopback import FAULTS, Asked, Loopback, Reply, domains_of, lost_by, measure, said, steady
from machines import wave

from joulemark.meters.errors import MeterLost, UsageError
from joulemark.meters.polling import PolledMeter
from joulemark.meters.prometheus import prometheus
from joulemark.meters.prometheusqueries import PRESETS
from joulemark.meters.testing import check_meter
from joulemark.meters.types import EnergyRecord, Unavailable

QUICK = {"interval_s": "0.05", "patience_s": "0.3", "timeout_s": "0.2"}
DCGM = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"


@dataclass
class Target:
    """A series: labels, and its value at a time in seconds since the server was made."""

    labels: dict[str, str]
    value: Callable[[float], float]
    every: int = 1
    samples: list[tuple[float, str]] = field(default_factory=list)
    gone: bool = False


class FakePrometheus:
    """Answers ``/api/v1/query`` as Prometheus documents it; scrapes every ``scrape_s`` by a clock of its own."""

    def __init__(self, *, scrape_s: float = 0.1, ahead_s: float = 3600.0) -> None:
        self.scrape_s = scrape_s
        self.time_is: Callable[[float], dict[str, Any]] = lambda now: _data("scalar", [now, f"{now}"])
        self._ahead_s = ahead_s
        self._began_s = time.monotonic()
        self._scraped = -30
        self.targets: list[Target] = []
        self.changed: str | None = None

    def add(self, name: str, value: Callable[[float], float], **labels: str) -> Target:
        target = Target({"__name__": name, "instance": "localhost:9400", "job": "gpus", **labels}, value)
        self.targets.append(target)
        return target

    def clock(self) -> float:
        return time.time() + self._ahead_s

    def set_clock(self, step_s: float) -> None:
        self._scrape()
        self._ahead_s += step_s

    def true_j(self, record: EnergyRecord, energy_j: Callable[[float], float]) -> float:
        start_s = record.began_ns / 1e9 - self._began_s
        return energy_j(start_s + record.window_s) - energy_j(start_s)

    def __call__(self, asked: Asked) -> Reply:
        self._scrape()
        assert asked.path == "/api/v1/query"
        query = asked.query["query"]
        now = round(self.clock(), 3)
        if query == "time()":
            return said(self.time_is(now))
        wanted = re.fullmatch(r"(\w*)(?:\{(.*)\})?\[(\d+)s\]", query)
        if wanted is None:
            error = {"status": "error", "errorType": "bad_data", "error": 'invalid parameter "query": parse error'}
            return said(error, 400)
        matchers = re.findall(r'(\w+)(=~?)"([^"]*)"', wanted[2] or "")
        matchers += [("__name__", "=", wanted[1])] if wanted[1] else []
        result = [
            {"metric": target.labels, "values": [[at, value] for at, value in kept]}
            for target in self.targets
            if all(_matches(target.labels.get(key, ""), how, text) for key, how, text in matchers)
            and (kept := [(at, v) for at, v in target.samples if now - int(wanted[3]) < at <= now])
        ]
        return said(_data("matrix", result))

    def _scrape(self) -> None:
        """All scrapes that are due, as if each had been done at its time; older ones than there are get no place."""
        now_s = time.monotonic() - self._began_s
        while (at_s := self._scraped * self.scrape_s) <= now_s:
            stamp = round(time.time() - now_s + at_s + self._ahead_s, 3)
            for target in self.targets:
                due = self._scraped % target.every == 0
                if due and not target.gone and (not target.samples or stamp > target.samples[-1][0]):
                    value = self.changed or f"{target.value(at_s):.0f}"
                    target.samples.append((stamp, value))
            self._scraped += 1


def _data(kind: str, result: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def _matches(value: str, how: str, text: str) -> bool:
    return value == text if how == "=" else re.fullmatch(text, value) is not None


def gpu_counter(energy_j: Callable[[float], float]) -> Callable[[float], float]:
    """Millijoules since the driver was loaded, long ago."""
    return lambda t: 5_551_899_580 + energy_j(t) * 1e3


def gpu_labels(number: int, **more: str) -> dict[str, str]:
    uuid = f"GPU-5b4e07f6-3a86-4340-039d-25f2a83cdc4{number}"
    return {
        "gpu": f"{number}", "UUID": uuid, "pci_bus_id": f"00000000:0{number}:00.0", "device": f"nvidia{number}",
        "modelName": "NVIDIA L40S", "Hostname": "gpu1-wl8sg", "DCGM_FI_DRIVER_VERSION": "595.58.03", **more,
    }  # fmt: skip


@pytest.fixture
def server() -> Iterator[tuple[FakePrometheus, Loopback]]:
    fake = FakePrometheus()
    with Loopback(fake) as loopback:
        yield fake, loopback


def with_gpu(server: tuple[FakePrometheus, Loopback], watts: float = 200.0) -> tuple[FakePrometheus, Loopback]:
    server[0].add(DCGM, gpu_counter(steady(watts)), **gpu_labels(0))
    return server


def meter_at(loopback: Loopback, preset: str = "dcgm", **args: str) -> PolledMeter:
    return prometheus("p", loopback.url, preset=preset, **(QUICK | {"exporter_s": "0.001"} | args))


def query_at(loopback: Loopback, query: str, unit: str, scope: str, **args: str) -> PolledMeter:
    return prometheus("p", loopback.url, query=query, unit=unit, scope=scope, **(QUICK | args))


def opened(meter: PolledMeter) -> PolledMeter:
    meter.open(0)
    return meter


def refused(meter: PolledMeter) -> Unavailable:
    found = meter.probe()
    assert isinstance(found, Unavailable), found
    assert found.fix.strip()
    return found


def test_the_joules_of_each_gpu_are_right_within_the_stated_error(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = server
    traces = [wave(200, 150, 0.9), wave(80, 20, 0.5)]
    for number, trace in enumerate(traces):
        fake.add(DCGM, gpu_counter(trace), **gpu_labels(number))
    record = measure(meter_at(loopback), 1.2)
    assert (record.grade, record.scope) == ("counter", "gpu")
    for name, trace in zip(("p:gpu-0", "p:gpu-1"), traces, strict=True):
        true_j = fake.true_j(record, trace)
        assert record.domains[name] == pytest.approx(true_j, rel=0.02)
    assert record.u_j < 0.02 * record.gross_j, "scrapes are placed at their own time, to milliseconds"


def test_a_server_keeps_the_promises_of_a_meter(server: tuple[FakePrometheus, Loopback]) -> None:
    _, loopback = with_gpu(server)
    domains = check_meter(lambda: meter_at(loopback), seconds=1.1)
    assert [domain.id for domain in domains] == ["p:gpu-0"]


def test_probing_finds_the_scrape_interval_and_where_the_figure_is_from(
    server: tuple[FakePrometheus, Loopback],
) -> None:
    _, loopback = with_gpu(server)
    domain = domains_of(meter_at(loopback))["p:gpu-0"]
    assert domain.update_s == pytest.approx(0.1, abs=0.002)
    assert domain.resolution_j == 1e-3
    assert "NVIDIA L40S" in domain.provenance
    assert "scraped every 0.1 s" in domain.source


def test_what_a_run_is_resumed_by_does_not_change_with_what_was_measured(
    server: tuple[FakePrometheus, Loopback],
) -> None:
    fake, loopback = with_gpu(server)
    before = domains_of(meter_at(loopback))["p:gpu-0"]
    fake.targets[0].samples = [(at + 0.004 * (-1) ** n, text) for n, (at, text) in enumerate(fake.targets[0].samples)]
    after = domains_of(meter_at(loopback))["p:gpu-0"]
    assert before.update_s != after.update_s
    assert before.provenance == after.provenance


def test_a_server_without_scalars_such_as_victoriametrics_tells_its_time_in_a_series(
    server: tuple[FakePrometheus, Loopback],
) -> None:
    fake, loopback = with_gpu(server)
    # Its value is that of half a minute ago (-search.latencyOffset), and its stamp is now.
    fake.time_is = lambda now: _data("vector", [{"metric": {}, "value": [now, f"{now - 30}"]}])
    assert domains_of(meter_at(loopback))


@pytest.mark.parametrize("stated", [{}, {"exporter_s": "0.2"}])
def test_an_exporter_slower_than_the_scrapes_is_noticed_and_its_old_figures_are_stated(stated: dict[str, str]) -> None:
    fake = FakePrometheus(scrape_s=0.1)
    fake.add(DCGM, lambda t: gpu_counter(steady(100))(math.floor(t / 0.5) * 0.5), **gpu_labels(0))
    with Loopback(fake) as loopback:
        domain = domains_of(prometheus("p", loopback.url, preset="dcgm", **QUICK, **stated))["p:gpu-0"]
    assert domain.update_s == pytest.approx(0.5, abs=0.11)
    assert "up to 0.5" in domain.source


@pytest.mark.parametrize(
    ("power_w", "stated", "age_s"),
    [
        (lambda t: 100 + t // 0.5 % 7, {}, 0.5),
        (lambda _: 100, {"exporter_s": "3"}, 3),
        (lambda t: 100 + t // 0.1 % 7, {"exporter_s": "3"}, 0.1),
        (lambda _: 100, {}, 0.1),
    ],
)
def test_a_power_is_as_old_as_it_is_seen_to_get_or_else_as_old_as_is_said(
    power_w: Callable[[float], float], stated: dict[str, str], age_s: float, server: tuple[FakePrometheus, Loopback]
) -> None:
    fake, loopback = server
    fake.add("pdu_watts", power_w)
    domain = domains_of(query_at(loopback, "pdu_watts", "W", "wall", **stated))["p:wall"]
    assert domain.update_s == pytest.approx(age_s, abs=0.11)
    assert f"up to {age_s:g}" in domain.source


def test_kepler_gives_packages_and_memory_of_one_machine(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = server
    for zone, watts in {"package": 60, "dram": 5, "core": 50, "psys": 90}.items():
        for path in ("0", "1"):
            labels = {"zone": zone, "path": f"/sys/class/powercap/intel-rapl:{path}", "node_name": "n1"}
            fake.add("kepler_node_cpu_joules_total", lambda t, w=watts: 1e6 + w * t, **labels)
    record = measure(meter_at(loopback, "kepler"), 0.8)
    assert (record.grade, record.scope) == ("counter", "package+dram")
    assert record.domains["p:package"] / record.window_s == pytest.approx(120, rel=0.05)
    assert record.domains["p:dram"] / record.window_s == pytest.approx(10, rel=0.15)


def test_scaphandre_gives_sockets_and_their_memory(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = server
    fake.add("scaph_socket_energy_microjoules", lambda t: 43_038_699_818 + 40e6 * t, socket_id="0")
    fake.add(
        "scaph_domain_energy_microjoules", lambda t: 9e9 + 3e6 * t, socket_id="0", domain_name="dram", domain_id="0"
    )
    fake.add(
        "scaph_domain_energy_microjoules", lambda t: 8e9 + 30e6 * t, socket_id="0", domain_name="core", domain_id="1"
    )
    record = measure(meter_at(loopback, "scaphandre"), 0.6)
    assert {name: round(j / record.window_s) for name, j in record.domains.items()} == {
        "p:package-0": 40,
        "p:dram-0": 3,
    }


def test_a_power_of_a_query_is_added_up_over_the_scrapes(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = server
    for outlet in ("7", "8"):
        fake.add("pdu_outlet_watts", lambda t: 150 + 50 * math.sin(t * 3), outlet=outlet)
    record = measure(query_at(loopback, "sum(pdu_outlet_watts)", "W", "wall", grade="wall"), 1.5)
    true_j = 2 * fake.true_j(record, lambda t: 150 * t - 50 / 3 * math.cos(3 * t))
    assert (record.grade, record.scope) == ("wall", "wall")
    assert abs(record.gross_j - true_j) < 3 * record.u_j
    assert record.u_j < 0.15 * true_j


@pytest.mark.parametrize("preset", [name for name, preset in PRESETS.items() if preset.grade == "modelled"])
def test_what_an_exporter_shares_out_is_modelled_and_says_so(
    preset: str, server: tuple[FakePrometheus, Loopback]
) -> None:
    fake, loopback = server
    labels = {"pod_name": "llm", "zone": "package"}
    fake.add(PRESETS[preset].metric, lambda t: 1e9 + 7e6 * t, **labels)
    fake.add(PRESETS[preset].metric, lambda t: 1e9 + 9e6 * t, **labels | {"pod_name": "other"})
    domain = domains_of(meter_at(loopback, preset, where='pod_name="llm"'))["p:share"]
    assert domain.grade == "modelled"
    assert domain.rel_u_workload >= 0.4
    assert "not measured" in domain.source
    assert "where=" in refused(meter_at(loopback, preset)).fix


def test_several_series_that_nothing_tells_apart_are_to_be_summed(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = server
    for outlet in ("7", "8"):
        fake.add("pdu_outlet_watts", lambda _: 150, outlet=outlet)
    found = refused(query_at(loopback, "pdu_outlet_watts", "W", "wall"))
    assert "2 series" in found.reason
    assert "query=sum(SELECTOR)" in found.fix


@pytest.mark.parametrize(
    ("instances", "told"),
    [
        (["a:1"], "(one series, instance=a:1)"),
        (["a:1", "a:1"], "(2 series, instance=a:1)"),
        (["b:1", "a:1"], "(2 series of 2 targets: a:1, b:1)"),
        ([f"n{number}:1" for number in range(12)], "(12 series of 12 targets)"),
    ],
)
def test_a_sum_says_the_query_as_asked_and_what_it_adds_up(
    instances: list[str], told: str, server: tuple[FakePrometheus, Loopback]
) -> None:
    fake, loopback = server
    for outlet, instance in enumerate(instances):
        fake.add("two_watts", lambda _: 150, instance=instance, outlet=f"{outlet}")
    domain = domains_of(query_at(loopback, "sum(two_watts)", "W", "wall"))["p:wall"]
    assert domain.provenance == f"sum(two_watts) at {loopback.url} {told}"


def test_what_does_not_answer_as_prometheus_is_told_from_a_query_that_finds_nothing(
    server: tuple[FakePrometheus, Loopback],
) -> None:
    _, loopback = server
    assert "/targets" in refused(meter_at(loopback)).fix
    for answer, fix in (
        (lambda _: Reply(b"# HELP up\n"), "is the Prometheus server's address"),
        (lambda _: said({"data": 1}), "is the Prometheus server's address"),
        (lambda _: said({}, 404), "is the Prometheus server's address"),
        (lambda _: said({}, 502), "restart the Prometheus server"),
        (lambda _: said({}, 400), "graph page"),
    ):
        loopback.answer = answer
        assert fix in refused(meter_at(loopback)).fix
    loopback.unplug()
    assert "that it is in a network which this machine reaches" in refused(meter_at(loopback)).fix


def test_of_two_machines_one_must_be_named(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = server
    for number, instance in enumerate(("10.0.0.1:9400", "10.0.0.2:9400")):
        fake.add(DCGM, gpu_counter(steady(100)), **gpu_labels(number, instance=instance))
    assert "instance=10.0.0.1:9400" in refused(meter_at(loopback)).fix
    assert set(domains_of(meter_at(loopback, instance="10.0.0.2:9400"))) == {"p:gpu-1"}


def test_gpus_can_be_picked_by_number_and_by_uuid(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = server
    for number in range(3):
        fake.add(DCGM, gpu_counter(steady(100)), **gpu_labels(number))
    assert set(domains_of(meter_at(loopback, gpu="2"))) == {"p:gpu-2"}
    assert set(domains_of(meter_at(loopback, uuid=gpu_labels(1)["UUID"]))) == {"p:gpu-1"}


def test_a_gpu_split_by_mig_has_no_energy_of_its_own(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = server
    for slice_id in ("3", "4"):
        fake.add(DCGM, gpu_counter(steady(100)), **gpu_labels(0, GPU_I_PROFILE="2g.20gb", GPU_I_ID=slice_id))
    assert "MIG" in refused(meter_at(loopback)).reason


def test_a_pod_that_comes_changes_labels_and_loses_no_joule(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = server
    before = fake.add(DCGM, gpu_counter(steady(200)), **gpu_labels(0))

    def start_pod() -> None:
        fake(Asked("/api/v1/query", {"query": "time()"}, {}))
        before.gone = True
        fake.add(DCGM, gpu_counter(steady(200)), **gpu_labels(0, pod="llm-7d9f"))

    record = measure(meter_at(loopback, patience_s="2"), 0.9, meanwhile=start_pod)
    assert record.gross_j / record.window_s == pytest.approx(200, rel=0.03)


def test_an_empty_answer_says_what_to_look_at(server: tuple[FakePrometheus, Loopback]) -> None:
    found = refused(meter_at(server[1]))
    assert f"there is no {DCGM}" in found.reason
    assert "/targets" in found.fix


def test_a_series_scraped_only_once_is_too_slow() -> None:
    fake = FakePrometheus(scrape_s=1000)
    fake.add(DCGM, gpu_counter(steady(100)), **gpu_labels(0))
    with Loopback(fake) as loopback:
        assert "scrape_interval" in refused(meter_at(loopback)).fix


def test_a_target_that_vanished_is_not_read_on_at_its_last_value(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = with_gpu(server)
    meter = opened(meter_at(loopback, patience_s="0.9"))
    fake.targets[0].gone = True
    message = lost_by(meter)
    assert re.search("its target is gone|there is no DCGM", message)
    meter.close()
    assert "its target is gone" in refused(meter_at(loopback)).reason


@pytest.mark.parametrize("step_s", [0.3, 86_400.0])
def test_a_server_whose_clock_is_set_forward_gives_the_same_joules(
    step_s: float, server: tuple[FakePrometheus, Loopback]
) -> None:
    fake, loopback = with_gpu(server)
    record = measure(meter_at(loopback, patience_s="5"), 0.9, meanwhile=lambda: fake.set_clock(step_s))
    assert record.gross_j / record.window_s == pytest.approx(200, rel=0.03)
    assert 0.7 < record.window_s < 1.8


def test_a_power_is_not_counted_for_the_time_that_the_servers_clock_leapt_over(
    server: tuple[FakePrometheus, Loopback],
) -> None:
    fake, loopback = server
    fake.add("pdu_outlet_watts", lambda _: 150, outlet="7")
    meter = query_at(loopback, "pdu_outlet_watts", "W", "wall", patience_s="5")
    record = measure(meter, 0.9, meanwhile=lambda: fake.set_clock(60.0))
    assert record.gross_j == pytest.approx(150 * record.window_s, rel=0.001)
    assert record.window_s < 1.8


@pytest.mark.parametrize("step_s", [-0.05, -0.25])
def test_a_server_whose_clock_is_set_back_a_little_gives_the_same_joules(
    step_s: float, server: tuple[FakePrometheus, Loopback]
) -> None:
    fake, loopback = with_gpu(server)
    record = measure(meter_at(loopback, patience_s="5"), 0.9, meanwhile=lambda: fake.set_clock(step_s))
    assert record.gross_j / record.window_s == pytest.approx(200, rel=0.03)


def test_a_server_whose_clock_is_set_back_a_lot_is_lost(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = with_gpu(server)
    meter = opened(meter_at(loopback))
    fake.set_clock(-3600)
    assert re.search(r"clock was set -3600\.\d s", lost_by(meter))
    meter.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_midway_is_lost_within_seconds(fault: str, server: tuple[FakePrometheus, Loopback]) -> None:
    _, loopback = with_gpu(server)
    meter = opened(meter_at(loopback, patience_s="0.3"))
    loopback.fault = fault
    assert "gave nothing usable" in lost_by(meter)
    meter.close()


@pytest.mark.parametrize(
    ("value", "why"),
    [("NaN", "cannot be"), ("+Inf", "cannot be"), ("-5", "cannot be"), ("9223372036854775794", "not know")],
)
def test_a_figure_that_cannot_be_is_never_counted(
    value: str, why: str, server: tuple[FakePrometheus, Loopback]
) -> None:
    fake, loopback = with_gpu(server)
    meter = opened(meter_at(loopback))
    fake.changed = value
    assert why in lost_by(meter)
    meter.close()
    assert why in refused(meter_at(loopback)).reason


def test_a_counter_that_starts_again_is_lost_rather_than_guessed(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = with_gpu(server)
    meter = opened(meter_at(loopback))
    fake.changed = "1000"
    assert "fell" in lost_by(meter)
    meter.close()


def test_a_sum_that_loses_a_series_is_not_taken_for_less_power(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = server
    for outlet in ("7", "8"):
        fake.add("pdu_outlet_watts", lambda _: 150, outlet=outlet)
    meter = opened(query_at(loopback, "sum(pdu_outlet_watts)", "W", "wall"))
    fake.targets[1].gone = True
    assert re.search("other series than before|its target is gone", lost_by(meter))
    meter.close()


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"status": "error", "errorType": "bad_data", "error": "no"},
        {"status": "success", "data": {"resultType": "vector", "result": []}},
        {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, 2, 3]]}]}},
        {"status": "success", "data": {"resultType": "matrix", "result": [{"values": [[1, "2"]]}]}},
        {"status": "success", "data": {"resultType": "matrix", "result": [7]}},
    ],
)
def test_another_answer_than_prometheus_gives_is_no_figure(content: object) -> None:
    with Loopback(lambda _: said(content)) as loopback:
        refused(meter_at(loopback))
        with pytest.raises(MeterLost):
            meter_at(loopback).open(0)


def test_a_sum_holds_targets_that_are_scraped_less_often(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = server
    for outlet, every in {"7": 1, "8": 8}.items():
        fake.add("pdu_outlet_watts", lambda _: 150, outlet=outlet).every = every
    record = measure(query_at(loopback, "sum(pdu_outlet_watts)", "W", "wall", patience_s="5"), 0.9)
    assert record.gross_j / record.window_s == pytest.approx(300)


def pause(fake: FakePrometheus, seconds: float) -> Callable[[], None]:
    """Something that keeps a server from scraping its targets for a while."""

    def stop_and_go() -> None:
        fake(Asked("/api/v1/query", {"query": "time()"}, {}))
        for target in fake.targets:
            target.gone = True
        time.sleep(seconds)
        fake(Asked("/api/v1/query", {"query": "time()"}, {}))
        for target in fake.targets:
            target.gone = False

    return stop_and_go


def test_a_counter_loses_nothing_by_scrapes_that_are_missed(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = with_gpu(server)
    record = measure(meter_at(loopback, patience_s="10"), 0.8, meanwhile=pause(fake, 1.2))
    assert record.gross_j / record.window_s == pytest.approx(200, rel=0.02)


def test_a_power_that_was_missing_for_several_scrapes_is_not_made_up(server: tuple[FakePrometheus, Loopback]) -> None:
    fake, loopback = server
    fake.add("pdu_outlet_watts", lambda _: 150)
    with pytest.raises(MeterLost, match=r"what was drawn meanwhile is not known"):
        measure(query_at(loopback, "pdu_outlet_watts", "W", "wall", patience_s="10"), 0.8, meanwhile=pause(fake, 1.2))


def test_what_the_server_says_against_a_query_is_passed_on() -> None:
    error = {"status": "error", "errorType": "bad_data", "error": 'invalid parameter "query": 1:1: parse error'}
    with Loopback(lambda _: said(error, 400)) as loopback:
        assert "1:1: parse error" in refused(meter_at(loopback)).reason


def test_a_token_comes_from_the_environment(
    server: tuple[FakePrometheus, Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROM_TOKEN", "abc.def")
    _, loopback = with_gpu(server)
    domains_of(meter_at(loopback, token_env="PROM_TOKEN"))
    assert loopback.asked[-1].headers["authorization"] == "Bearer abc.def"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({}, "preset="),
        ({"preset": "dcgm", "query": "x"}, "one of them"),
        ({"preset": "dcgmm"}, "dcgmm"),
        ({"preset": "kepler", "gpu": "0"}, "preset=dcgm"),
        ({"preset": "dcgm", "unit": "W"}, "unit="),
        ({"preset": "dcgm", "where": 'x="1"} or up{a="b"'}, "where="),
        ({"query": "rate(x[1m])", "unit": "W", "scope": "wall"}, "recording rule"),
        ({"query": "sum(rate(x[1m]))", "unit": "W", "scope": "wall"}, "recording rule"),
        ({"query": "x", "unit": "kWh", "scope": "wall"}, "unit=kWh"),
        ({"query": "x", "unit": "W"}, "scope="),
        ({"query": "x", "unit": "W", "scope": "wall", "grade": "best"}, "grade=best"),
        ({"query": "x", "unit": "W", "scope": "wall", "grade": "counter"}, "grade=counter"),
        ({"query": "x", "unit": "W", "scope": "wall", "gpu": "0"}, "gpu="),
        ({"preset": "dcgm", "token_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(args: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=re.escape(why)):
        prometheus("p", "http://192.0.2.5:9090", **args)
