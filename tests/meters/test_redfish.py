"""Redfish: a BMC's power in the format of DMTF's mockups, its joules, and an honest end for every fault."""

from __future__ import annotations

import base64
import shutil
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import FAULTS, Asked, Drawn, Loopback, Reply, domains_of, lost_by, measure, said, steady
from machines import wave

from joulemark.meters.errors import UsageError
from joulemark.meters.polling import PolledMeter
from joulemark.meters.redfish import redfish
from joulemark.meters.testing import check_meter
from joulemark.meters.types import Unavailable

QUICK = {"interval_s": "0.05", "patience_s": "0.2", "timeout_s": "0.2"}
PLAIN = QUICK | {"update_s": "0.1"}


class Bmc:
    """A server like DMTF's mockup ``public-rackmount1``, of an older or a newer kind."""

    def __init__(self, drawn: Drawn, *, newer: bool = False, slash: str = "", login: str | None = None) -> None:
        self.drawn, self.newer, self.slash, self.login = drawn, newer, slash, login
        self.changed: dict[str, Any] = {}
        self.others: dict[str, dict[str, Any]] = {}
        self.energy: dict[str, Any] | None = None
        self.accuracy: Any = None
        self.power_state = "On"
        self.names: dict[str, Any] = {"Manufacturer": "Contoso", "Model": "3500RX"}

    def __call__(self, asked: Asked) -> Reply:
        if self.login is not None and asked.path != "/redfish/v1/":
            wanted = "Basic " + base64.b64encode(self.login.encode()).decode()
            if asked.headers.get("authorization") != wanted:
                code = "Base.1.18.InsufficientPrivilege"
                error = {"error": {"code": code, "message": "There are insufficient privileges for the account."}}
                return said(error, 401)
        found = self._resources().get(asked.path)
        if found is None:
            return said({"error": {"code": "Base.1.18.ResourceMissingAtURI", "message": "It is missing."}}, 404)
        return said({"@odata.id": asked.path} | found)

    def _resources(self) -> dict[str, dict[str, Any]]:
        one = f"/redfish/v1/Chassis/1U{self.slash}"
        parts = (
            {"EnvironmentMetrics": _link(f"{one}/EnvironmentMetrics")}
            if self.newer
            else {"Power": _link(f"{one}/Power")}
        )
        chassis = {
            "@odata.type": "#Chassis.v1_22_0.Chassis", "Id": "1U", "Name": "Computer System Chassis",
            "ChassisType": "RackMount", "PowerState": self.power_state,
        } | self.names  # fmt: skip
        members = [one, *(path for path in self.others if path.count("/") == 4)]
        return {
            "/redfish/v1/": {"Id": "RootService", "Chassis": _link(f"/redfish/v1/Chassis{self.slash}")},
            f"/redfish/v1/Chassis{self.slash}": {"Members": [_link(path) for path in members]},
            one: chassis | parts,
            f"{one}/Power": self._power(),
            f"{one}/EnvironmentMetrics": self._environment(),
            "/redfish/v1/Chassis/1U/Sensors/TotalPower": self._sensor(),
        } | self.others

    def _power(self) -> dict[str, Any]:
        control = {
            "@odata.id": "/redfish/v1/Chassis/1U/Power#/PowerControl/0", "MemberId": "0", "Name": "System Input Power",
            "PowerConsumedWatts": round(self.drawn.watts()), "PowerCapacityWatts": 800,
            "PowerMetrics": {
                "IntervalInMin": 30, "MinConsumedWatts": 271, "MaxConsumedWatts": 489, "AverageConsumedWatts": 319
            },
        }  # fmt: skip
        memory = {"MemberId": "1", "Name": "Memory Sub-system Power", "PowerConsumedWatts": 11}
        return {"@odata.type": "#Power.v1_7_1.Power", "Id": "Power", "PowerControl": [control | self.changed, memory]}

    def _environment(self) -> dict[str, Any]:
        power = {
            "Reading": round(self.drawn.watts()), "DataSourceUri": "/redfish/v1/Chassis/1U/Sensors/TotalPower"
        }  # fmt: skip
        found = {
            "@odata.type": "#EnvironmentMetrics.v1_3_0.EnvironmentMetrics", "Name": "Chassis Environment Metrics",
            "TemperatureCelsius": {"Reading": 39}, "PowerWatts": power | self.changed,
        }  # fmt: skip
        return found | (self.energy or {})

    def _sensor(self) -> dict[str, Any]:
        sensor = {"@odata.type": "#Sensor.v1_6_0.Sensor", "Id": "TotalPower", "ReadingUnits": "W", "Reading": 374}
        return sensor | ({} if self.accuracy is None else {"Accuracy": self.accuracy})


def _link(path: str) -> dict[str, str]:
    return {"@odata.id": path}


def _beside(name: str, kind: str) -> dict[str, dict[str, Any]]:
    """Another chassis that tells its power."""
    path = f"/redfish/v1/Chassis/{name}"
    return {
        path: {"Id": name, "ChassisType": kind, "EnvironmentMetrics": _link(f"{path}/EnvironmentMetrics")},
        f"{path}/EnvironmentMetrics": {"PowerWatts": {"Reading": 231.958}},
    }


@pytest.fixture
def bmc() -> Iterator[tuple[Bmc, Loopback]]:
    server = Bmc(Drawn(wave(344, 60)))
    with Loopback(server) as loopback:
        yield server, loopback


def meter_at(loopback: Loopback, **args: str) -> PolledMeter:
    return redfish("bmc", loopback.url, **(PLAIN | args))


def opened(meter: PolledMeter) -> PolledMeter:
    meter.open(0)
    return meter


def refused(meter: PolledMeter) -> Unavailable:
    found = meter.probe()
    assert isinstance(found, Unavailable), found
    assert found.fix.strip()
    return found


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("newer", [False, True])
def test_the_joules_of_a_varying_power_are_right_within_the_stated_error(newer: bool, slash: str) -> None:
    drawn = Drawn(wave(344, 60), update_s=0.05)
    with Loopback(Bmc(drawn, newer=newer, slash=slash)) as loopback:
        record = measure(meter_at(loopback, update_s="0.05"), 1.0)
    assert (record.grade, record.scope) == ("polled", "wall")
    assert abs(record.gross_j - drawn.true_j(record)) < 2 * record.u_j + 0.5
    assert record.u_j < 0.03 * record.gross_j


def test_a_bmc_keeps_the_promises_of_a_meter(bmc: tuple[Bmc, Loopback]) -> None:
    domains = check_meter(lambda: meter_at(bmc[1]), seconds=1.1)
    assert [domain.id for domain in domains] == ["bmc:machine"]


def test_probing_finds_the_machine_and_how_often_its_power_is_renewed(bmc: tuple[Bmc, Loopback]) -> None:
    bmc[0].drawn = Drawn(wave(344, 60, 1.1), update_s=0.3)
    domain = domains_of(redfish("bmc", bmc[1].url, **QUICK))["bmc:machine"]
    assert domain.update_s == pytest.approx(0.3, rel=0.4)
    assert "Contoso 3500RX" in domain.provenance
    assert "PowerConsumedWatts" in domain.provenance
    assert "assumed within +-5 %" in domain.source


def test_a_sensor_that_states_its_accuracy_is_believed_and_quoted() -> None:
    server = Bmc(Drawn(steady(344)), newer=True)
    server.accuracy = 2
    with Loopback(server) as loopback:
        domain = domains_of(meter_at(loopback))["bmc:machine"]
    assert domain.rel_u_scale == pytest.approx(0.02 / 3**0.5)
    assert "the sensor states +-2 %" in domain.source


@pytest.mark.parametrize("stated", [True, "2", 0, -2, 99, float("nan")])
def test_an_accuracy_that_cannot_be_is_not_believed(stated: Any) -> None:
    server = Bmc(Drawn(steady(344)), newer=True)
    server.accuracy = stated
    with Loopback(server) as loopback:
        assert domains_of(meter_at(loopback))["bmc:machine"].rel_u_scale == pytest.approx(0.05 / 3**0.5)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bmc_that_fails_midway_is_lost_within_seconds(fault: str, bmc: tuple[Bmc, Loopback]) -> None:
    meter = opened(meter_at(bmc[1]))
    bmc[1].fault = fault
    assert "bmc gave nothing usable" in lost_by(meter)
    meter.close()


def test_a_bmc_that_hangs_from_the_start_is_unavailable_within_seconds(bmc: tuple[Bmc, Loopback]) -> None:
    bmc[1].fault = "hangs"
    began_s = time.monotonic()
    assert "timed out" in refused(meter_at(bmc[1])).reason
    assert time.monotonic() - began_s < 1.5


def test_an_address_where_nothing_is_says_so(bmc: tuple[Bmc, Loopback]) -> None:
    bmc[1].unplug()
    assert "does not answer" in refused(meter_at(bmc[1])).reason


@pytest.mark.parametrize(
    ("watts", "why"),
    [(None, "no number"), (float("nan"), "cannot be"), (-1, "flows back"), (0, "not behind"), ("9", "no number")],
)
def test_a_power_that_cannot_be_is_never_counted(watts: object, why: str, bmc: tuple[Bmc, Loopback]) -> None:
    meter = opened(meter_at(bmc[1]))
    bmc[0].changed = {"PowerConsumedWatts": watts}
    assert why in lost_by(meter)
    meter.close()
    refused(meter_at(bmc[1]))


@pytest.mark.parametrize(("key", "value"), [("EnergyJoules", 71_412_345.0), ("EnergykWh", 19.836)])
def test_a_bmc_whose_own_counter_stands_still_is_stuck(key: str, value: float) -> None:
    server = Bmc(Drawn(steady(40_000)), newer=True)
    server.energy = {key: {"Reading": value}}
    with Loopback(server) as loopback:
        meter = opened(meter_at(loopback, still_s="0.3"))
        assert "stood still" in lost_by(meter)
        meter.close()


def test_a_coarse_counter_is_not_called_stuck() -> None:
    server = Bmc(Drawn(steady(344)), newer=True)
    server.energy = {"EnergykWh": {"Reading": 26880}}
    with Loopback(server) as loopback:
        assert measure(meter_at(loopback, still_s="0.1"), 0.5).gross_j > 120


def test_of_several_chassis_one_must_be_named(bmc: tuple[Bmc, Loopback]) -> None:
    server, loopback = bmc
    server.others = _beside("Blade2", "Blade") | {"/redfish/v1/Chassis/Backplane": {"Id": "Backplane"}}
    assert "1U, Blade2" in refused(meter_at(loopback)).reason
    record = measure(meter_at(loopback, chassis="Blade2"), 0.5)
    assert record.gross_j / record.window_s == pytest.approx(231.958)
    assert "no chassis '2U'" in refused(meter_at(loopback, chassis="2U")).reason


def test_a_gpu_or_a_network_card_is_never_taken_for_the_machine(bmc: tuple[Bmc, Loopback]) -> None:
    server, loopback = bmc
    server.others = _beside("HGX_GPU_SXM_1", "Module") | _beside("Card1", "Card")
    assert "Chassis/1U (Contoso" in domains_of(meter_at(loopback))["bmc:machine"].provenance
    for name in ("HGX_GPU_SXM_1", "Card1"):
        assert "whole machine" in refused(meter_at(loopback, chassis=name)).reason


def test_a_chassis_that_is_listed_and_not_there_is_no_fault_and_one_that_fails_is(bmc: tuple[Bmc, Loopback]) -> None:
    server, loopback = bmc
    server.others = _beside("Blade2", "Blade")
    del server.others["/redfish/v1/Chassis/Blade2/EnvironmentMetrics"]
    assert domains_of(meter_at(loopback))
    loopback.answer = lambda asked: said({}, 503) if asked.path.endswith("1U/Power") else server(asked)
    server.others = _beside("Blade2", "Blade")
    assert "503" in refused(meter_at(loopback)).reason, "the other blade is not the answer"


def test_of_too_many_chassis_the_machine_must_be_named(bmc: tuple[Bmc, Loopback]) -> None:
    server, loopback = bmc
    server.others = {f"/redfish/v1/Chassis/Bay{number}": {"Id": f"Bay{number}"} for number in range(40)}
    found = refused(meter_at(loopback))
    assert "41 chassis" in found.reason
    assert "chassis=" in found.fix
    assert domains_of(meter_at(loopback, chassis="1U"))


def test_a_machine_that_is_off_is_not_this_one(bmc: tuple[Bmc, Loopback]) -> None:
    bmc[0].power_state = "Off"
    assert "switched off" in refused(meter_at(bmc[1])).reason


def test_links_to_elsewhere_are_not_followed(bmc: tuple[Bmc, Loopback]) -> None:
    server, loopback = bmc
    for far in ("http://192.0.2.1/redfish/v1/Chassis/x", "//192.0.2.1/x", 7, None):
        server.others = {"/redfish/v1/Chassis": {"Members": [{"@odata.id": far}, 3]}}
        assert "no chassis that is a whole machine" in refused(meter_at(loopback)).reason


def test_the_login_comes_from_the_environment(bmc: tuple[Bmc, Loopback], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMC_PASSWORD", "calvin:2")
    bmc[0].login = "reader:calvin:2"
    assert domains_of(meter_at(bmc[1], user="reader", password_env="BMC_PASSWORD"))
    monkeypatch.setenv("BMC_PASSWORD", "wrong-one")
    for args in ({"user": "reader", "password_env": "BMC_PASSWORD"}, {}):
        found = refused(meter_at(bmc[1], **args))
        assert "401" in found.reason
        assert "insufficient privileges" in found.reason
        assert "password_env=VARIABLE" in found.fix
        assert "wrong-one" not in found.reason + found.fix


def test_a_login_that_is_taken_away_midway_ends_honestly(bmc: tuple[Bmc, Loopback]) -> None:
    meter = opened(meter_at(bmc[1]))
    bmc[0].login = "somebody:else"
    assert "401" in lost_by(meter)
    meter.close()


def test_a_bmc_that_tells_neither_maker_nor_model_is_not_called_none(bmc: tuple[Bmc, Loopback]) -> None:
    server, loopback = bmc
    for told, named in (({}, ""), ({"Manufacturer": "Contoso", "Model": None}, " (Contoso)")):
        server.names = told
        provenance = domains_of(meter_at(loopback))["bmc:machine"].provenance
        assert provenance == f"PowerControl.0.PowerConsumedWatts of /redfish/v1/Chassis/1U{named}, at {loopback.url}"


@pytest.mark.parametrize(
    ("answer", "fix"),
    [
        (lambda _: said({}, 503), "restart the BMC"),
        (lambda _: Reply(b"<html>"), "something else seems to answer there"),
        (lambda _: said([]), "switch Redfish on there"),
    ],
)
def test_each_fault_of_an_answer_has_a_fix_of_its_own(answer: Callable[[Asked], Reply], fix: str) -> None:
    with Loopback(answer) as loopback:
        found = refused(meter_at(loopback))
    assert fix in found.fix
    assert "verify=" not in found.fix, "no certificate was looked at"


class PlainHttp(socketserver.BaseRequestHandler):
    """Answers in plain http whatever is said, as many a small server does with a TLS hello."""

    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def test_a_bmc_that_speaks_plain_http_is_told_so_and_no_certificate_is_blamed() -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), PlainHttp) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        found = refused(redfish("bmc", host, **PLAIN | {"timeout_s": "5"}))
        server.shutdown()
    assert found.reason == f"https://{host} speaks plain http, not https"
    assert found.fix.startswith(f"write http://{host}")
    assert "verify" not in found.fix


def test_a_certificate_of_its_own_is_refused_until_told_otherwise(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "1", "-subj", "/CN=bmc"]
    subprocess.run(command, check=True, capture_output=True, timeout=20)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with Loopback(Bmc(Drawn(steady(344)))) as loopback:
        loopback.socket = context.wrap_socket(loopback.socket, server_side=True)
        address, slow = f"https://{loopback.host}", {"timeout_s": "2"}
        found = refused(redfish("bmc", address, **(PLAIN | slow)))
        assert "certificate" in found.reason.lower()
        assert "verify=no" in found.fix
        meter = redfish("bmc", loopback.host, verify="no", **(PLAIN | slow))
        assert measure(meter, 0.5).gross_j > 100


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"verify": "maybe"}, "verify=maybe"),
        ({"chassis": "/redfish/v1/Chassis/1U"}, "chassis="),
        ({"user": "root"}, "password_env"),
        ({"password_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE"),
        ({"still_s": "no"}, "still_s=no"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(args: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        redfish("bmc", "https://192.0.2.9", **args)
