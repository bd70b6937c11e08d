"""Laptop batteries: what the whole machine draws while no charger is plugged in, as Linux's power supplies tell it.

See Documentation/ABI/testing/sysfs-class-power in Linux. The figure is the fuel gauge's, and its firmware renews it
every few seconds to a minute and smooths it besides; so only windows of many minutes mean something. With a charger
plugged in it says nothing of the machine: the battery may be charged, or help a charger that is too weak.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import MeterLost
from .polling import NoSample, PolledMeter, Sample
from .sysfs import sysfs_folder, text_of
from .types import Domain, Unavailable

__all__ = ["BatteryMeter", "BatterySource"]

_DOMAIN = "battery:machine"
REL_U_SCALE, REL_U_WORKLOAD = 0.05, 0.05
_SOURCE = (
    "a smart battery's current is right to 1 % of its one-hour rate (Smart Battery Data Specification 1.1, Current()), "
    "0.5 W for 50 Wh, which is 5 % at 10 W; 5 % between kinds of load is assumed, since firmware smooths the figure "
    "over up to two minutes (https://www.amas.sh/power-readings-desmoothed, https://github.com/seerge/g-helper/issues/1605)"
)
_ASSUMED_UPDATE_S = 30.0
"""Renewals were seen every 8 s (www.amas.sh), every 10 s (freebsd-acpi, March 2008) and every 10 to 60 s
(https://github.com/seerge/g-helper/issues/3295); Linux itself asks ACPI firmware once a second at most (``cache_time``
in drivers/acpi/battery.c)."""
_RENEWALS = 3
_MOST_W = 500.0
"""More than batteries give: five times an hour what those hold that may be flown with (100 Wh, IATA)."""
_FIGURES = ("power_now", "current_now", "voltage_now", "energy_now", "charge_now")


class BatteryMeter(PolledMeter):
    """Joules that the batteries give to the whole machine. Grade ``polled``; used only where it is named."""

    def __init__(self) -> None:
        super().__init__("battery", BatterySource())


class BatterySource:
    """The power drawn from all batteries together, new whenever one of their figures changes."""

    def __init__(self, *, interval_s: float = 1.0, patience_s: float = 45.0, watch_s: float = 1.0) -> None:
        """Nothing is read yet.

        Args:
            interval_s: How often to look, in seconds.
            patience_s: How long nothing usable may be shown; figures that stand still twice as long are frozen.
            watch_s: How long to look for renewals when asked to describe, in seconds.
        """
        self.interval_s, self.patience_s = interval_s, patience_s
        self._watch_s = watch_s
        self._update_s = _ASSUMED_UPDATE_S
        self._names: tuple[str, ...] = ()
        self._looked_ns = 0
        self._last: tuple[_Look, Sample] | None = None

    def describe(self) -> Sequence[Domain] | Unavailable:
        """The machine, where it runs on batteries; looks for renewals of their figures for up to ``watch_s``."""
        folder = _folder()
        try:
            look = _look(folder)
            self._update_s = self._probe_update(folder)
        except _NoBattery as error:
            return Unavailable(reason=str(error), fix="use another meter: this one is for laptops under Linux")
        except _OnMains as error:
            return Unavailable(reason=f"on mains power: {error}", fix="unplug the charger, then joulemark doctor")
        except NoSample as error:
            return Unavailable(
                reason=str(error), fix="wait a minute after unplugging; not all firmware tells the power"
            )
        return [
            Domain(
                id=_DOMAIN,
                kind="platform",
                grade="polled",
                resolution_j=None,
                update_s=self._update_s,
                range_j=None,
                rel_u_scale=REL_U_SCALE,
                rel_u_workload=REL_U_WORKLOAD,
                source=_SOURCE,
                provenance=", ".join(str(folder / name) for name in look.names),
                # It holds what the meters of single parts show.
                summed=False,
            )
        ]

    def ask(self) -> Sample:
        """The power now; the last sample once more where nothing was renewed.

        Raises:
            MeterLost: A charger was plugged in, or a battery taken out.
            NoSample: No battery tells its power.
        """
        before_ns, self._looked_ns = self._looked_ns, time.monotonic_ns()
        try:
            look = _look(_folder())
        except (_NoBattery, _OnMains) as error:
            raise MeterLost(f"no longer on battery power: {error}") from error
        if self._names and look.names != self._names:
            raise MeterLost(f"the batteries changed from {', '.join(self._names)} to {', '.join(look.names)}")
        self._names = look.names
        if self._last is not None and look == self._last[0]:
            return self._last[1]
        renewed_ns = self._looked_ns if self._last is None else (before_ns + self._looked_ns) / 2
        # How old the gauge's own figure is when it is shown, nobody tells: as old as it may get.
        sample = Sample(
            moment_ns=renewed_ns, u_moment_s=self._update_s / math.sqrt(12), watts={_DOMAIN: look.total_w}, means=True
        )
        self._last = look, sample
        return sample

    def close(self) -> None:
        """Forget what was shown."""
        self._names, self._last = (), None

    def _probe_update(self, folder: Path) -> float:
        """Seconds between renewals: the median of those seen in ``watch_s``, the assumed where they are too few."""
        until_s = time.monotonic() + self._watch_s
        renewed_s: list[float] = []
        last = _look(folder)
        while len(renewed_s) <= _RENEWALS and time.monotonic() < until_s:
            time.sleep(min(0.01, self._watch_s / 50))
            if (now := _look(folder)) != last:
                renewed_s.append(time.monotonic())
            last = now
        gaps = sorted(b - a for a, b in itertools.pairwise(renewed_s))
        return gaps[len(gaps) // 2] if len(gaps) >= _RENEWALS else _ASSUMED_UPDATE_S


class _NoBattery(Exception):
    """There is none, or no power supply at all."""


class _OnMains(Exception):
    """A charger is plugged in, or no battery is being discharged."""


@dataclass(frozen=True, kw_only=True)
class _Look:
    """All batteries at one moment: their names, everything that a renewal changes, and what they give together."""

    names: tuple[str, ...]
    figures: tuple[str, ...]
    total_w: float


def _folder() -> Path:
    return sysfs_folder() / "class" / "power_supply"


def _look(folder: Path) -> _Look:
    """What the batteries show.

    Raises:
        _NoBattery: There is none.
        _OnMains: The machine is not on batteries, or not alone.
        NoSample: A battery that is being discharged does not tell its power.
    """
    supplies = sorted(folder.iterdir()) if folder.is_dir() else []
    # A mouse's battery is of the scope Device.
    ours = [supply for supply in supplies if text_of(supply / "scope") != "Device"]
    batteries = [s for s in ours if text_of(s / "type") == "Battery" and text_of(s / "present") != "0"]
    if not batteries:
        raise _NoBattery(f"no battery under {folder}")
    chargers = [s for s in ours if text_of(s / "type") not in ("Battery", "UPS", "") and _is_online(s)]
    if chargers:
        raise _OnMains(f"{chargers[0].name} is online")
    states = {battery: text_of(battery / "status") for battery in batteries}
    if "Charging" in states.values() or "Discharging" not in states.values():
        raise _OnMains(", ".join(f"{battery.name} is {state or 'silent'}" for battery, state in states.items()))
    total_w = sum(_drawn_w(battery) for battery, state in states.items() if state == "Discharging")
    if total_w <= 0:
        raise NoSample(f"{', '.join(battery.name for battery in batteries)}: discharging, yet giving no power")
    if total_w > _MOST_W:
        raise NoSample(f"{', '.join(battery.name for battery in batteries)}: {total_w:.4g} W, which no battery gives")
    return _Look(
        names=tuple(battery.name for battery in batteries),
        figures=tuple(text_of(battery / name) for battery in batteries for name in _FIGURES),
        total_w=total_w,
    )


def _is_online(supply: Path) -> bool:
    """1 is a fixed voltage, 2 a programmable one."""
    return text_of(supply / "online") in ("1", "2")


def _drawn_w(battery: Path) -> float:
    """Watts of a battery that is being discharged.

    Drivers differ in the sign they give to that: ACPI's has none, others follow the ABI, in which a current out of the
    battery is negative.
    """
    power_uw = _number(battery / "power_now")
    if power_uw is not None:
        return abs(power_uw) / 1e6
    current_ua, voltage_uv = _number(battery / "current_now"), _number(battery / "voltage_now")
    if current_ua is None or voltage_uv is None or voltage_uv <= 0:
        raise NoSample(f"{battery.name} tells neither power_now nor current_now with voltage_now")
    return abs(current_ua) * voltage_uv / 1e12


def _number(file: Path) -> int | None:
    text = text_of(file)
    if not text:
        return None
    if not re.fullmatch(r"-?\d+", text):
        raise NoSample(f"{file} says {text!r} instead of a number")
    return int(text)
