"""Metering plugs: the joules of a known power, and an honest end for every way in which a plug can fail."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import FAULTS, Asked, Drawn, Loopback, Reply, domains_of, lost_by, measure, said, steady
from machines import wave
from plugs import ShellyPlug, TasmotaPlug

from joulemark.meters.errors import MeterLost, UsageError
from joulemark.meters.gauges import GaugeSource, Standstill, watch_renewals
from joulemark.meters.http import Http
from joulemark.meters.plugs import _Shelly, shelly, tasmota
from joulemark.meters.polling import PolledMeter
from joulemark.meters.registry import find_meters
from joulemark.meters.testing import check_meter
from joulemark.meters.types import Unavailable

QUICK = {"interval_s": "0.05", "patience_s": "0.2", "timeout_s": "0.2"}
PLAIN = QUICK | {"update_s": "0.1"}


def plug_of(kind: str, drawn: Drawn) -> Callable[[Asked], Reply]:
    return {
        "shelly": ShellyPlug(drawn),
        "shelly that only meters": ShellyPlug(drawn, component="PM1"),
        "tasmota": TasmotaPlug(drawn, watt_decimals=1),
    }[kind]


def meter_of(kind: str, host: str, **args: str) -> PolledMeter:
    return (tasmota if kind == "tasmota" else shelly)("plug", host, **args)


@pytest.fixture
def shelly_plug() -> Iterator[tuple[ShellyPlug, Loopback]]:
    plug = ShellyPlug(Drawn(wave()))
    with Loopback(plug) as server:
        yield plug, server


@pytest.fixture
def tasmota_plug() -> Iterator[tuple[TasmotaPlug, Loopback]]:
    plug = TasmotaPlug(Drawn(wave()))
    with Loopback(plug) as server:
        yield plug, server


def opened(meter: PolledMeter) -> PolledMeter:
    meter.open(0)
    return meter


def refused(meter: PolledMeter) -> Unavailable:
    found = meter.probe()
    assert isinstance(found, Unavailable), found
    assert found.fix.strip()
    return found


@pytest.mark.parametrize("kind", ["shelly", "shelly that only meters", "tasmota"])
def test_the_joules_of_a_varying_power_are_right_within_the_stated_error(kind: str) -> None:
    drawn = Drawn(wave(), update_s=0.05)
    with Loopback(plug_of(kind, drawn)) as server:
        record = measure(meter_of(kind, server.host, **QUICK, update_s="0.05"), 1.0)
    assert record.scope == record.grade == "wall"
    assert abs(record.gross_j - drawn.true_j(record)) < 3 * record.u_j
    assert record.u_j < 0.08 * record.gross_j, "the stated error says something"


@pytest.mark.parametrize("kind", ["shelly", "tasmota"])
def test_a_plug_keeps_the_promises_of_a_meter(kind: str) -> None:
    with Loopback(plug_of(kind, Drawn(wave(), update_s=0.05))) as server:
        domains = check_meter(lambda: meter_of(kind, server.host, **QUICK, update_s="0.05"), seconds=0.6)
    assert [domain.id for domain in domains] == ["plug:plug"]


def test_probing_finds_the_model_and_how_often_it_renews_its_power(shelly_plug: tuple[ShellyPlug, Loopback]) -> None:
    domain = domains_of(shelly("plug", shelly_plug[1].host))["plug:plug"]
    assert (domain.kind, domain.grade) == ("wall", "wall")
    assert "PlusPlugS" in domain.provenance
    assert "SNPL-00112EU" in domain.provenance
    assert domain.update_s is not None
    assert 0.1 <= domain.update_s < 0.2, "at most as quick as it is"
    assert 0.01 < domain.rel_u_scale < 0.03
    assert "Tuya" in domain.source


def test_only_the_power_tells_how_often_it_is_renewed() -> None:
    began_s = time.monotonic()

    def plug(_: Asked) -> Reply:
        ticks = (time.monotonic() - began_s) / 0.2
        return said({"gen": 2, "output": True, "apower": 50 + int(ticks) % 7, "voltage": 230 + int(ticks + 0.7) % 5})

    with Loopback(plug) as server:
        domain = domains_of(shelly("plug", server.host))["plug:plug"]
    assert domain.update_s is not None
    assert domain.update_s >= 0.2, "the voltage has ticks of its own, 60 ms before those of the power"


def test_answers_that_come_late_do_not_make_a_plug_look_quicker() -> None:
    began_s, looks = time.monotonic(), itertools.count()

    def look() -> float:
        if next(looks) % 6 == 5:
            time.sleep(0.15)
        return (time.monotonic() - began_s) // 0.2

    renewed_s = watch_renewals(look, 2.0)
    assert renewed_s is not None
    assert renewed_s >= 0.2


def test_one_lost_answer_is_no_reason_to_call_a_plug_unavailable(shelly_plug: tuple[ShellyPlug, Loopback]) -> None:
    plug, server = shelly_plug
    server.answer = lambda asked: said({}, 500) if len(server.asked) == 6 else plug(asked)
    assert domains_of(shelly("plug", server.host))["plug:plug"].update_s is not None


def test_a_power_counts_for_when_it_held() -> None:
    drawn = Drawn(lambda t: 100 * t + 50 * t * t)
    late_s = []
    with Loopback(ShellyPlug(drawn)) as server:
        source = GaugeSource(
            "plug",
            _Shelly(Http(server.host), "0"),
            rel_u="",
            update_s="0.1",
            interval_s="1",
            patience_s="1",
            still_s="9",
        )
        for _ in range(60):
            sample = source.ask()
            risen_w = 100 + 100 * (sample.moment_ns / 1e9 - drawn.began_s)
            late_s.append((risen_w - sample.watts["plug:plug"]) / 100)
            time.sleep(0.013)
        source.close()
    assert abs(fmean(late_s)) < sample.u_moment_s, "a rising power is met where it was, give or take the stated error"


@pytest.mark.parametrize(("interval_s", "means"), [("0.1", True), ("0.3", False)])
def test_what_a_plug_showed_between_two_questions_is_not_known(
    interval_s: str, means: bool, shelly_plug: tuple[ShellyPlug, Loopback]
) -> None:
    gauge = _Shelly(Http(shelly_plug[1].host), "0")
    source = GaugeSource("plug", gauge, rel_u="", update_s="0.1", interval_s=interval_s, patience_s="1", still_s="9")
    assert source.ask().means is means
    source.close()


def test_a_plug_that_tells_whole_watts_says_what_that_costs(tasmota_plug: tuple[TasmotaPlug, Loopback]) -> None:
    tasmota_plug[0].drawn = Drawn(steady(20))
    domain = domains_of(tasmota("plug", tasmota_plug[1].host, **PLAIN))["plug:plug"]
    assert domain.rel_u_workload == pytest.approx(1 / 12**0.5 / 20)
    assert "steps of 1 W" in domain.source
    assert "13.1.0.2(tasmota) Desk" in domain.provenance


def test_a_calibrated_plug_has_the_users_error(shelly_plug: tuple[ShellyPlug, Loopback]) -> None:
    domain = domains_of(shelly("plug", shelly_plug[1].host, rel_u="0.004", **PLAIN))["plug:plug"]
    assert domain.rel_u_scale == 0.004


def test_a_user_names_it_on_the_command_line(shelly_plug: tuple[ShellyPlug, Loopback]) -> None:
    (meter,) = find_meters([f"desk=shelly:host={shelly_plug[1].host},update_s=0.1"])
    found = meter.probe()
    assert not isinstance(found, Unavailable)
    assert [domain.id for domain in found] == ["desk:plug"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plug_that_fails_midway_is_lost_within_seconds(fault: str, shelly_plug: tuple[ShellyPlug, Loopback]) -> None:
    meter = opened(shelly("plug", shelly_plug[1].host, **PLAIN))
    shelly_plug[1].fault = fault
    message = lost_by(meter)
    assert "plug gave nothing usable" in message
    meter.close()


@pytest.mark.parametrize("fault", ["HTTP 500", "hangs", "drips", "a gigabyte"])
def test_a_tasmota_that_fails_midway_is_lost_within_seconds(
    fault: str, tasmota_plug: tuple[TasmotaPlug, Loopback]
) -> None:
    meter = opened(tasmota("plug", tasmota_plug[1].host, **PLAIN))
    tasmota_plug[1].fault = fault
    assert "plug gave nothing usable" in lost_by(meter)
    meter.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plug_that_fails_from_the_start_is_unavailable_within_seconds(
    fault: str, shelly_plug: tuple[ShellyPlug, Loopback]
) -> None:
    shelly_plug[1].fault = fault
    began_s = time.monotonic()
    refused(shelly("plug", shelly_plug[1].host, **PLAIN))
    assert time.monotonic() - began_s < 1.5


def test_a_plug_that_is_pulled_out_is_lost(shelly_plug: tuple[ShellyPlug, Loopback]) -> None:
    meter = opened(shelly("plug", shelly_plug[1].host, **PLAIN))
    shelly_plug[1].unplug()
    assert "does not answer" in lost_by(meter)
    meter.close()


def test_an_address_where_nothing_is_says_so(shelly_plug: tuple[ShellyPlug, Loopback]) -> None:
    shelly_plug[1].unplug()
    assert "does not answer" in refused(shelly("plug", shelly_plug[1].host, **PLAIN)).reason
    with pytest.raises(MeterLost, match="does not answer"):
        shelly("plug", shelly_plug[1].host, **PLAIN).open(0)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"apower": None}, "no number"),
        ({"apower": float("nan")}, "cannot be"),
        ({"apower": float("inf")}, "cannot be"),
        ({"apower": -57.1}, "flows back"),
        ({"apower": "57.1"}, "no number"),
        ({"apower": True}, "no number"),
        ({"apower": 10**400}, "cannot be"),
        ({"apower": 1e9}, "cannot be"),
        ({"apower": 0}, "not behind it"),
        ({"output": False, "apower": 0}, "switched off"),
        ({"aenergy": {"total": None}}, "no number"),
    ],
)
def test_a_power_that_cannot_be_is_never_counted(
    changed: dict[str, Any], why: str, shelly_plug: tuple[ShellyPlug, Loopback]
) -> None:
    plug, server = shelly_plug
    meter = opened(shelly("plug", server.host, **PLAIN))
    plug.changed = changed
    assert why in lost_by(meter)
    meter.close()
    if changed != {"apower": 1e9}:
        assert why in refused(shelly("plug", server.host, **PLAIN)).reason


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"Power": None}, "no number"),
        ({"Power": 0}, "0 W"),
        ({"Power": []}, "no channel"),
        ({"Power": -3}, "flows back"),
    ],
)
def test_a_power_of_tasmotas_that_cannot_be_is_never_counted(
    changed: dict[str, Any], why: str, tasmota_plug: tuple[TasmotaPlug, Loopback]
) -> None:
    plug, server = tasmota_plug
    meter = opened(tasmota("plug", server.host, **PLAIN))
    plug.changed = changed
    assert why in lost_by(meter)
    meter.close()
    assert why in refused(tasmota("plug", server.host, **PLAIN)).reason


def test_an_answer_that_fails_once_is_made_up_for_by_the_next() -> None:
    drawn = Drawn(steady(100))
    plug = ShellyPlug(drawn)
    with Loopback(plug) as server:

        def fail_for_a_while() -> None:
            plug.changed = {"apower": None}
            time.sleep(0.2)
            plug.changed = {}

        record = measure(shelly("plug", server.host, **PLAIN | {"patience_s": "2"}), 0.8, meanwhile=fail_for_a_while)
    assert record.gross_j == pytest.approx(drawn.true_j(record), rel=0.02)


def test_a_plug_that_closes_its_connections_and_a_proxy_for_everything_are_no_fault(
    shelly_plug: tuple[ShellyPlug, Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    _plug, server = shelly_plug
    server.hangs_up = True
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    record = measure(shelly("plug", server.host, **PLAIN), 0.5)
    assert record.gross_j > 20
    assert len(server.asked) > 8


def test_a_plug_whose_counter_stands_still_while_it_tells_of_power_is_stuck(
    shelly_plug: tuple[ShellyPlug, Loopback],
) -> None:
    plug, server = shelly_plug
    meter = opened(shelly("plug", server.host, **PLAIN, still_s="0.4"))
    plug.stuck = True
    assert "stood still" in lost_by(meter)
    meter.close()


def test_a_coarse_counter_is_not_called_stuck(tasmota_plug: tuple[TasmotaPlug, Loopback]) -> None:
    plug, server = tasmota_plug
    plug.total_kwh = 6.04
    meter = tasmota("plug", server.host, **PLAIN, still_s="0.1")
    assert measure(meter, 0.6).gross_j > 30


def keep_looking(watch: Standstill, from_s: float, watts: float, counted_j: float, step_j: float) -> None:
    """At a counter that stands still, until it is several steps behind."""
    for later in range(int(210 + 7 * step_j / watts)):
        watch.look((from_s + later) * 1e9, watts, counted_j, step_j)


@given(
    watts=st.floats(1, 3000),
    renewed_s=st.floats(0.5, 60),
    step_j=st.sampled_from([3.6, 36.0, 3600.0]),
    asked_s=st.floats(0.5, 5),
)
def test_no_working_plug_is_ever_called_stuck_and_a_stuck_one_always(
    watts: float, renewed_s: float, step_j: float, asked_s: float
) -> None:
    watch = Standstill(200.0)
    now_s = 0.0
    while now_s < 3000:
        counted = watts * (now_s // renewed_s) * renewed_s // step_j * step_j
        watch.look(now_s * 1e9, watts, counted, step_j)
        now_s += asked_s
    with pytest.raises(MeterLost, match="stood still"):
        keep_looking(watch, now_s, watts, counted, step_j)


def test_a_counter_set_to_0_by_its_owner_is_no_fault() -> None:
    watch = Standstill(1.0)
    for second, counted in enumerate([5000.0, 5100.0, 0.0, 100.0, 200.0]):
        watch.look(second * 1e9, 100.0, counted, 3.6)


def test_the_plugs_clock_may_leap_as_it_likes(tasmota_plug: tuple[TasmotaPlug, Loopback]) -> None:
    plug, server = tasmota_plug

    def set_back() -> None:
        plug.time = "2024-03-30T23:59:59"

    record = measure(tasmota("plug", server.host, **PLAIN), 0.8, meanwhile=set_back)
    assert abs(record.gross_j - plug.drawn.true_j(record)) < 3 * record.u_j


def test_a_shelly_with_a_password_lets_us_in_by_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUG_PASSWORD", 'geheim, "und" so')
    drawn = Drawn(steady(60))
    with Loopback(ShellyPlug(drawn, password='geheim, "und" so')) as server:
        meter = shelly("plug", server.host, password_env="PLUG_PASSWORD", **PLAIN)
        assert measure(meter, 0.6).gross_j == pytest.approx(0.6 * 60, rel=0.5)
        first, second = (a.headers.get("authorization") for a in server.asked[-2:])
    assert first != second, "every question has an answer of its own"
    assert not any("geheim" in str(asked) for asked in server.asked)


def test_a_password_with_a_line_break_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUG_PASSWORD", "secret\n")
    with pytest.raises(UsageError, match="PLUG_PASSWORD: it holds a line break") as refusal:
        shelly("plug", "192.0.2.7", password_env="PLUG_PASSWORD")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("challenge", ["Digest", "Digest realm", "Digest realm=", "Digest nonce=1, realm", "Basic"])
def test_a_login_that_is_asked_for_in_no_known_way_is_refused(challenge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUG_PASSWORD", "right")
    with Loopback(lambda _: Reply(b"", 401, {"WWW-Authenticate": challenge})) as server:
        assert "401" in refused(shelly("plug", server.host, password_env="PLUG_PASSWORD", **PLAIN)).reason


def test_what_a_server_says_does_nothing_to_the_terminal() -> None:
    with Loopback(lambda _: Reply(b"", 500, reason="\x1b[2Jgone")) as server:
        assert refused(shelly("plug", server.host, **PLAIN)).reason.isprintable()


def test_a_wrong_password_says_what_to_type_and_not_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUG_PASSWORD", "wrong-one")
    with Loopback(ShellyPlug(Drawn(steady(60)), password="right")) as server:
        for found in (
            refused(shelly("plug", server.host, password_env="PLUG_PASSWORD", **PLAIN)),
            refused(shelly("plug", server.host, **PLAIN)),
        ):
            assert "401" in found.reason
            assert "password_env=VARIABLE" in found.fix
            assert "wrong-one" not in found.reason + found.fix


def test_a_tasmota_with_a_password_takes_it_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUG_PASSWORD", "ge&heim")
    with Loopback(TasmotaPlug(Drawn(steady(60)), password="ge&heim")) as server:
        assert domains_of(tasmota("plug", server.host, password_env="PLUG_PASSWORD", **PLAIN))
        found = refused(tasmota("plug", server.host, **PLAIN))
    assert "password_env" in found.fix


def test_a_shelly_of_the_first_generation_is_told_apart(shelly_plug: tuple[ShellyPlug, Loopback]) -> None:
    shelly_plug[0].gen = 1
    assert "second generation" in refused(shelly("plug", shelly_plug[1].host, **PLAIN)).reason


def test_an_output_that_is_not_there_is_named(shelly_plug: tuple[ShellyPlug, Loopback]) -> None:
    found = refused(shelly("plug", shelly_plug[1].host, channel="3", **PLAIN))
    assert "value 3 not found" in found.reason
    assert "channel=" in found.fix


def test_of_several_channels_one_must_be_named(tasmota_plug: tuple[TasmotaPlug, Loopback]) -> None:
    plug, server = tasmota_plug
    plug.changed = {"Power": [40, 60], "Total": 12.345}
    assert "channel=1 to channel=2" in refused(tasmota("plug", server.host, **PLAIN)).fix
    assert "no channel=3" in refused(tasmota("plug", server.host, channel="3", **PLAIN)).reason
    record = measure(tasmota("plug", server.host, channel="2", **PLAIN), 0.5)
    assert record.gross_j / record.window_s == pytest.approx(60, rel=0.01)


Answer = Callable[[Asked], Reply]


def answers(status: int, content: Any) -> Answer:
    return lambda _: said(content, status)


@pytest.mark.parametrize("kind", ["shelly", "tasmota"])
@pytest.mark.parametrize(
    ("answer", "fix"),
    [
        (answers(503, {}), "restart the"),
        (answers(404, {}), "something else seems to answer there"),
        (answers(302, {}), "give the address that it sends to"),
        (lambda _: Reply(b"<html>"), "something else seems to answer there"),
        (answers(200, {"data": []}), "give the address of a"),
    ],
)
def test_each_fault_of_an_answer_has_a_fix_of_its_own(kind: str, answer: Answer, fix: str) -> None:
    with Loopback(answer) as server:
        found = refused(meter_of(kind, server.host, **PLAIN))
    assert fix in found.fix
    assert not any(text.endswith(".") for text in [*found.fix.split(), found.reason]), found


@pytest.mark.parametrize("kind", ["shelly", "tasmota"])
@pytest.mark.parametrize(("watts", "fix"), [(-57.1, "turn the plug round"), (0, "switch the plug on")])
def test_a_power_the_wrong_way_round_is_not_one_that_is_nothing(kind: str, watts: float, fix: str) -> None:
    plug = ShellyPlug(Drawn(steady(60))) if kind == "shelly" else TasmotaPlug(Drawn(steady(60)))
    plug.changed = {"apower": watts} if kind == "shelly" else {"Power": watts}
    with Loopback(plug) as server:
        assert fix in refused(meter_of(kind, server.host, **PLAIN)).fix


def test_what_cannot_be_reached_says_why_in_each_case(shelly_plug: tuple[ShellyPlug, Loopback]) -> None:
    _plug, server = shelly_plug
    server.fault = "hangs"
    assert "say timeout_s=SECONDS" in refused(shelly("plug", server.host, **PLAIN)).fix
    server.unplug()
    found = refused(shelly("plug", server.host, **PLAIN))
    assert f"see that {server.url} is the Shelly's address, that it is on, and that it is in a network" in found.fix
    assert "timeout" not in found.fix
    nowhere = refused(shelly("plug", "no-such-plug.invalid", **PLAIN | {"timeout_s": "20"}))
    assert "no machine here is called no-such-plug.invalid" in nowhere.fix


def test_a_device_that_does_not_tell_its_names_is_not_called_none() -> None:
    def bare(asked: Asked) -> Reply:
        return said({"gen": 2}) if asked.path == "/shelly" else plug(asked)

    def nameless(asked: Asked) -> Reply:
        return tasmota_plug(asked) if asked.query.get("cmnd") == "Status 8" else said({"Command": "Unknown"})

    plug, tasmota_plug = ShellyPlug(Drawn(steady(60))), TasmotaPlug(Drawn(steady(60)))
    with Loopback(bare) as server:
        told = domains_of(shelly("plug", server.host, **PLAIN))["plug:plug"].provenance
    assert told == f"Shelly, channel 0, firmware not told, at {server.url}"
    with Loopback(nameless) as server:
        told = domains_of(tasmota("plug", server.host, **PLAIN))["plug:plug"].provenance
    assert told == f"Tasmota, channel 1, at {server.url}"


def test_a_plug_without_a_power_meter_says_so() -> None:
    def plain(asked: Asked) -> Reply:
        if asked.path == "/shelly":
            return said({"gen": 2, "app": "Plus1", "id": "shellyplus1-a8032ab11111", "model": "SNSW-001X16EU"})
        if asked.path == "/cm":
            return said({"StatusSNS": {"Time": "2023-09-18T16:31:08", "Switch1": "OFF"}})
        return said({"id": 0, "source": "init", "output": True, "temperature": {"tC": 48.1, "tF": 118.6}})

    with Loopback(plain) as server:
        assert "no power meter" in refused(shelly("plug", server.host, **PLAIN)).reason
        assert "no power meter" in refused(tasmota("plug", server.host, **PLAIN)).reason


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"channel": "one"}, "channel=one"),
        ({"update_s": "soon"}, "update_s=soon"),
        ({"interval_s": "0"}, "interval_s=0"),
        ({"patience_s": "-1"}, "patience_s=-1"),
        ({"rel_u": "2"}, "rel_u=2"),
        ({"timeout_s": "nan"}, "timeout_s=nan"),
        ({"timeout_s": "1e300"}, "timeout_s=1e300"),
        ({"password_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(args: dict[str, str], why: str) -> None:
    for make in (shelly, tasmota):
        with pytest.raises(UsageError, match=why):
            make("plug", "192.0.2.7", **args)


@pytest.mark.parametrize("host", ["", "ftp://192.0.2.7", "http://", "192.0.2.7:port", "http://admin:secret@192.0.2.7"])
def test_an_address_that_is_none_is_refused_at_once(host: str) -> None:
    with pytest.raises(UsageError):
        shelly("plug", host)
