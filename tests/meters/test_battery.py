"""Batteries: what the machine draws while nothing else feeds it, and never a figure when something does."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joulemark.meters.battery import BatteryMeter, BatterySource
from joulemark.meters.errors import MeasuringFailed, MeterLost
from joulemark.meters.polling import NoSample, PolledMeter
from joulemark.meters.registry import Probed, choose
from joulemark.meters.testing import check_meter
from joulemark.meters.types import Domain, Unavailable
from joulemark.meters.window import Recorder


class Supplies:
    """Power supplies in a tree like /sys."""

    def __init__(self, sysfs: Path) -> None:
        self.root = sysfs / "class" / "power_supply"
        self.root.mkdir(parents=True)

    def add(self, supply: str, **files: object) -> None:
        (self.root / supply).mkdir()
        self.set(supply, **files)

    def battery(self, supply: str = "BAT0", **files: object) -> None:
        facts = {"type": "Battery", "scope": "System", "present": 1, "status": "Discharging", "voltage_now": 11_400_000}
        self.add(supply, **(facts | files))

    def set(self, supply: str, **files: object) -> None:
        """Each file as a whole, as sysfs shows it."""
        for name, content in files.items():
            fresh = self.root / supply / f".{name}"
            fresh.write_text(f"{content}\n")
            fresh.replace(self.root / supply / name)

    def remove(self, supply: str, *names: str) -> None:
        for name in names or [file.name for file in (self.root / supply).iterdir()]:
            (self.root / supply / name).unlink()
        if not names:
            (self.root / supply).rmdir()


class Firmware:
    """Renews the figures of BAT0 all the time; its voltage never stands still."""

    def __init__(self, supplies: Supplies, watts: Callable[[], float], *, every_s: float = 0.03) -> None:
        self._supplies, self._watts, self._every_s = supplies, watts, every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Firmware:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _renew(self) -> None:
        for count in itertools.count():
            self._supplies.set("BAT0", voltage_now=11_400_000 - count, power_now=round(self._watts() * 1e6))
            if self._stopping.wait(self._every_s):
                return


@pytest.fixture
def supplies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supplies:
    monkeypatch.setenv("JOULEMARK_SYSFS", str(tmp_path / "sys"))
    return Supplies(tmp_path / "sys")


@pytest.fixture
def meter() -> Iterator[PolledMeter]:
    made = quick_meter()
    yield made
    made.close()


def quick_meter() -> PolledMeter:
    return PolledMeter("battery", BatterySource(interval_s=0.01, patience_s=0.15, watch_s=0.5))


def domain_of(meter: PolledMeter) -> Domain:
    found = meter.probe()
    assert not isinstance(found, Unavailable), found
    (domain,) = found
    return domain


def asked(**given: float) -> float:
    return BatterySource(**given).ask().watts["battery:machine"]


def lost(meter: PolledMeter) -> str:
    """What the meter says when it is lost, which must be soon."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            meter.read()
        except MeterLost as error:
            return str(error)
        time.sleep(0.005)
    raise AssertionError("it went on")


def test_with_a_charger_plugged_in_it_says_so_and_to_unplug_it(supplies: Supplies) -> None:
    supplies.add("AC", type="Mains", online=1)
    supplies.battery(status="Charging", power_now=30_000_000)
    found = BatteryMeter().probe()
    assert isinstance(found, Unavailable)
    assert "on mains power: AC is online" in found.reason
    assert "unplug" in found.fix


@pytest.mark.parametrize(("kind", "online"), [("Mains", 1), ("USB", 1), ("USB", 2)])
def test_a_battery_that_only_helps_a_weak_charger_is_no_meter(supplies: Supplies, kind: str, online: int) -> None:
    supplies.add("charger", type=kind, online=online)
    supplies.battery(status="Discharging", power_now=5_000_000)
    assert isinstance(BatteryMeter().probe(), Unavailable)
    with pytest.raises(MeterLost, match="charger is online"):
        asked()


@pytest.mark.parametrize("status", ["Full", "Not charging", "Unknown", ""])
def test_a_battery_that_rests_is_no_meter_either(supplies: Supplies, status: str) -> None:
    supplies.battery(status=status, power_now=0)
    found = BatteryMeter().probe()
    assert isinstance(found, Unavailable)
    assert "on mains power" in found.reason


def test_a_machine_without_battery_says_so(supplies: Supplies) -> None:
    supplies.add("AC", type="Mains", online=1)
    supplies.add("mouse", type="Battery", scope="Device", status="Discharging", power_now=1_000)
    found = BatteryMeter().probe()
    assert isinstance(found, Unavailable)
    assert f"no battery under {supplies.root}" in found.reason


def test_the_figures_of_all_batteries_add_up_but_those_of_mice(supplies: Supplies) -> None:
    supplies.add("AC", type="Mains", online=0)
    supplies.battery("BAT0", power_now=8_000_000)
    supplies.battery("BAT1", current_now=500_000, voltage_now=12_000_000)
    supplies.battery("BAT2", status="Not charging", power_now=0)
    supplies.add("mouse", type="Battery", scope="Device", status="Discharging", power_now=1_000_000)
    assert asked() == pytest.approx(8 + 0.5 * 12)


def test_a_current_out_of_the_battery_may_have_either_sign(supplies: Supplies) -> None:
    supplies.battery(current_now=-1_500_000, voltage_now=10_000_000)
    assert asked() == pytest.approx(15)


@pytest.mark.parametrize(
    "files",
    [
        {"power_now": 0},
        {},
        {"current_now": 1_000_000, "voltage_now": 0},
        {"power_now": "banana"},
        {"power_now": "1e7"},
        {"power_now": 655_350_000},
        {"current_now": 65_535_000},
    ],
)
def test_no_power_and_what_no_battery_gives_is_no_sample_and_never_0_w(
    supplies: Supplies, files: dict[str, object]
) -> None:
    supplies.battery(**files)
    with pytest.raises(NoSample):
        asked()
    assert isinstance(BatteryMeter().probe(), Unavailable)


def test_it_covers_the_platform_and_is_taken_only_where_it_is_named(supplies: Supplies) -> None:
    supplies.battery(power_now=8_000_000)
    meter = PolledMeter("battery", BatterySource(watch_s=0.0))
    domain = domain_of(meter)
    assert (domain.kind, domain.grade, domain.summed) == ("platform", "polled", False)
    probed = [Probed(meter=meter, domains=(domain,))]
    with pytest.raises(MeasuringFailed):
        choose(probed=probed)
    assert choose(["battery:machine"], probed=probed).scope == "platform"


def test_how_often_firmware_renews_its_figures_is_found_out_or_assumed(supplies: Supplies, meter: PolledMeter) -> None:
    supplies.battery(power_now=8_000_000)
    assert domain_of(meter).update_s == 30
    with Firmware(supplies, lambda: 8.0, every_s=0.05):
        found_s = domain_of(meter).update_s
    assert found_s is not None
    assert 0.04 < found_s < 0.2


def test_probing_takes_no_longer_than_a_second(supplies: Supplies) -> None:
    supplies.battery(power_now=8_000_000)
    began = time.monotonic()
    domain_of(BatteryMeter())
    assert time.monotonic() - began < 1.3


def test_steady_power_gives_power_times_time(supplies: Supplies, meter: PolledMeter) -> None:
    supplies.battery()
    with Firmware(supplies, lambda: 20.0):
        time.sleep(0.1)
        domain = domain_of(meter)
        with Recorder([meter], choose_alone(domain), os.getpid()) as recorder:
            recorder.start()
            time.sleep(0.6)
            record = recorder.stop()
    assert record.gross_j == pytest.approx(20 * record.window_s, rel=1e-6)
    assert (record.grade, record.scope) == ("polled", "platform")


def test_a_step_of_power_is_seen_within_the_stated_error(supplies: Supplies, meter: PolledMeter) -> None:
    supplies.battery()
    stepped = time.monotonic() + 1.0
    with Firmware(supplies, lambda: 10.0 if time.monotonic() < stepped else 30.0):
        time.sleep(0.1)
        domain = domain_of(meter)
        with Recorder([meter], choose_alone(domain), os.getpid()) as recorder:
            recorder.start()
            time.sleep(max(0.0, stepped + 0.5 - time.monotonic()))
            record = recorder.stop()
    began, end = record.began_ns / 1e9, record.began_ns / 1e9 + record.window_s
    assert began < stepped < end
    truth_j = 10 * (stepped - began) + 30 * (end - stepped)
    assert record.gross_j == pytest.approx(truth_j, abs=3 * record.u_j)
    assert record.u_j < 0.2 * record.gross_j


def choose_alone(domain: Domain) -> tuple[Domain, ...]:
    probed = [Probed(meter=quick_meter(), domains=(domain,))]
    return choose([domain.id], probed=probed).domains


def test_plugging_the_charger_in_ends_the_measurement(supplies: Supplies, meter: PolledMeter) -> None:
    supplies.add("AC", type="Mains", online=0)
    supplies.battery(power_now=8_000_000)
    with Firmware(supplies, lambda: 8.0):
        meter.open(0)
        supplies.set("AC", online=1)
        assert "no longer on battery power: AC is online" in lost(meter)


def test_a_battery_that_begins_to_charge_ends_it_too(supplies: Supplies, meter: PolledMeter) -> None:
    supplies.battery(power_now=8_000_000)
    with Firmware(supplies, lambda: 8.0):
        meter.open(0)
        supplies.set("BAT0", status="Charging")
        assert "BAT0 is Charging" in lost(meter)


def test_a_battery_taken_out_ends_it(supplies: Supplies, meter: PolledMeter) -> None:
    supplies.battery("BAT0", power_now=8_000_000)
    supplies.battery("BAT1", power_now=8_000_000)
    meter.open(0)
    supplies.set("BAT1", present=0)
    assert "changed from BAT0, BAT1 to BAT0" in lost(meter)


def test_figures_that_stand_still_for_long_are_frozen(supplies: Supplies, meter: PolledMeter) -> None:
    supplies.battery(power_now=8_000_000)
    meter.open(0)
    assert "said nothing" in lost(meter)


def test_power_that_stays_away_ends_it(supplies: Supplies, meter: PolledMeter) -> None:
    supplies.battery(power_now=8_000_000)
    meter.open(0)
    supplies.remove("BAT0", "power_now")
    assert "neither power_now nor current_now" in lost(meter)


def test_it_cannot_be_opened_on_mains(supplies: Supplies, meter: PolledMeter) -> None:
    supplies.battery(status="Charging", power_now=8_000_000)
    with pytest.raises(MeterLost, match="BAT0 is Charging"):
        meter.open(0)


def test_it_keeps_all_promises_of_a_meter(supplies: Supplies) -> None:
    supplies.battery(power_now=12_000_000)
    with Firmware(supplies, lambda: 12.0):
        assert [d.id for d in check_meter(quick_meter, seconds=1.0)] == ["battery:machine"]
