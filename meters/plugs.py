"""Metering plugs: the whole machine's power at the wall, asked over the local network.

``plug=shelly:host=192.0.2.7`` and ``plug=tasmota:host=192.0.2.7``. Nothing but the machine that is measured may be
behind the plug, and the plug must answer on a network that the machine reaches.

The formats are those of the Shelly Gen2+ device API (``Switch.GetStatus``, ``PM1.GetStatus``) and of Tasmota's command
``Status 8`` (tasmota.github.io/docs/JSON-Status-Responses and xdrv_03_energy.ino).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from .errors import UsageError
from .gauges import GaugeSource, Identity, Told, Unfit, read_power
from .http import Answer, Http, Refused
from .polling import NoSample, PolledMeter
from .remote import KWH_J, count_decimals, find_at, float32_step, parse_seconds, parse_secret, read_number
from .types import Unavailable

__all__ = ["shelly", "tasmota"]

_WH_J = KWH_J / 1000
_BOUND_SERIAL, _BOUND_PULSES = 0.03, 0.05
_SOURCE = (
    "assumed within +-{:.0%}, uniform (a / sqrt(3), JCGM 100:2008, 4.3.7), which Tuya states for sockets with {}; "
    "{} states no figure for its API"
)
_TURN = "turn the plug round, or wire it the other way: it counts power that comes back out of the machine"
_WHICH = "say which channel this machine is behind"
_BEHIND = "switch the plug on, and put this machine, and nothing else, behind it"


def shelly(
    name: str,
    host: str,
    channel: str = "0",
    user: str = "admin",
    password_env: str = "",
    rel_u: str = "",
    update_s: str = "",
    interval_s: str = "0.5",
    patience_s: str = "10",
    timeout_s: str = "2",
    still_s: str = "200",
) -> PolledMeter:
    """A Shelly of the second generation or newer.

    Args:
        name: What to call the meter.
        host: Its address, with ``http://`` or without.
        channel: Which of its outputs.
        user: Login name; Shelly knows ``admin`` only.
        password_env: The environment variable with its password, where it asks for one.
        rel_u, update_s, interval_s, patience_s: As in `GaugeSource`.
        still_s: As in `GaugeSource`. Its counter is documented by the minute (``aenergy.by_minute``), so it may do so
            for three of these by default.
        timeout_s: As in `Http`.

    Raises:
        UsageError: An argument makes no sense.
    """
    if not channel.isdecimal():
        raise UsageError(f"meter {name!r}: channel={channel}: channels are numbered 0, 1, ...")
    http = Http(
        host,
        timeout_s=parse_seconds("timeout_s", timeout_s),
        user=user if password_env else None,
        password=parse_secret("password_env", password_env),
        digest=True,
    )
    source = GaugeSource(
        name,
        _Shelly(http, channel),
        rel_u=rel_u,
        update_s=update_s,
        interval_s=interval_s,
        patience_s=patience_s,
        still_s=still_s,
    )
    return PolledMeter(name, source)


def tasmota(
    name: str,
    host: str,
    channel: str = "",
    user: str = "admin",
    password_env: str = "",
    rel_u: str = "",
    update_s: str = "",
    interval_s: str = "0.5",
    patience_s: str = "10",
    timeout_s: str = "2",
    still_s: str = "200",
) -> PolledMeter:
    """A plug that runs Tasmota.

    Args:
        name: What to call the meter.
        host: Its address, with ``http://`` or without.
        channel: Which of its channels, from 1, where it has several.
        user: Login name; Tasmota's is ``admin`` unless built otherwise.
        password_env: The environment variable with its web password, where it asks for one. Tasmota takes it in the
            address of every question, readable for everyone on that network.
        rel_u, update_s, interval_s, patience_s, still_s: As in `GaugeSource`.
        timeout_s: As in `Http`.

    Raises:
        UsageError: An argument makes no sense.
    """
    if channel and (not channel.isdecimal() or int(channel) < 1):
        raise UsageError(f"meter {name!r}: channel={channel}: channels are numbered 1, 2, ...")
    password = parse_secret("password_env", password_env)
    login = {} if password is None else {"user": user, "password": password}
    http = Http(host, timeout_s=parse_seconds("timeout_s", timeout_s))
    source = GaugeSource(
        name,
        _Tasmota(http, int(channel) if channel else None, login),
        rel_u=rel_u,
        update_s=update_s,
        interval_s=interval_s,
        patience_s=patience_s,
        still_s=still_s,
    )
    return PolledMeter(name, source)


class _Shelly:
    """One output of a Shelly."""

    part = "plug"
    usual_update_s = 1.0
    slow_update_s = watch_s = 4.0

    def __init__(self, http: Http, channel: str) -> None:
        self._http, self._channel = http, channel
        self._method: str | None = None

    def identify(self) -> Identity | Unavailable:
        """Its model, by the one question that needs no login."""
        about = self._http.get("/shelly").content
        if not isinstance(about, dict) or not {"gen", "type"} & about.keys():
            raise Unfit(
                f"{self._http.base} is no Shelly",
                "give the address of a Shelly; `joulemark meters` lists what else can be asked",
            )
        if not isinstance(about.get("gen"), int) or about["gen"] < 2:
            return Unavailable(
                reason=f"{self._http.base} is no Shelly of the second generation or newer",
                fix="the first generation speaks another language: use a newer one, or a plug with Tasmota (tasmota:)",
            )
        return Identity(
            kind="wall",
            grade="wall",
            bound=_BOUND_SERIAL,
            source=_SOURCE.format(_BOUND_SERIAL, "serial metering chips (BL0942, HLW8032)", "Shelly"),
            provenance=f"{_known('Shelly', *map(about.get, ('app', 'model', 'id')))}, channel {self._channel}, "
            f"firmware {about.get('ver') or 'not told'}, at {self._http.base}",
        )

    def look(self) -> Told:
        """Power and energy of the output; ``apower`` in W with one decimal, ``aenergy.total`` in Wh with three."""
        answer = self._status()
        said = answer.content
        if isinstance(said, dict) and said.get("output") is False:
            raise Unfit(
                f"output {self._channel} is switched off, so the machine this runs on is not behind it", _BEHIND
            )
        if isinstance(said, dict) and "apower" not in said:
            raise Unfit(f"output {self._channel} has no power meter", "use a Shelly that meters: its name ends with PM")
        counted_wh = read_number(said, "aenergy", "total") if "aenergy" in said else None
        return Told(
            answer=answer,
            watts=read_power(said, "apower", backwards=_TURN, nothing=_BEHIND),
            step_w=0.1,
            counted_j=None if counted_wh is None else counted_wh * _WH_J,
            step_j=max(0.001, float32_step(counted_wh or 0.0)) * _WH_J,
        )

    def advise(self, problem: NoSample) -> str:
        """What to do about a problem."""
        if isinstance(problem, Refused) and "'id'" in str(problem):
            return "say which output this machine is behind: channel=0 is the first"
        return self._http.advise(problem, "Shelly", "/shelly")

    def close(self) -> None:
        """Let go of the connection."""
        self._method = None
        self._http.close()

    def _status(self) -> Answer:
        """By the component that the device has: a switch that meters, or a meter alone."""
        if self._method is not None:
            return self._http.get(f"/rpc/{self._method}", id=self._channel)
        try:
            answer, method = self._http.get("/rpc/Switch.GetStatus", id=self._channel), "Switch.GetStatus"
        except Refused as refused:
            # Without a switch there is no such method; with one, what it says of the channel is what matters.
            if refused.status != HTTPStatus.NOT_FOUND:
                raise
            answer, method = self._http.get("/rpc/PM1.GetStatus", id=self._channel), "PM1.GetStatus"
        self._method = method
        return answer


class _Tasmota:
    """One channel of a plug with Tasmota.

    Its ``Time`` is of no use here: it has whole seconds, and leaps with summer time and the network's clock.
    """

    part = "plug"
    # Chips that tell their power are asked every second (xdrv_03_energy.ino). Those that give pulses are looked at more
    # often, but an HLW8012 gives one for every 12.5 J only (xnrg_01_hlw8012.ino): below 13 W, update_s= says better.
    usual_update_s = slow_update_s = 1.0
    watch_s = 4.0

    def __init__(self, http: Http, channel: int | None, login: dict[str, str]) -> None:
        self._http, self._channel, self._login = http, channel, login
        self._decimals = 0
        self._decimals_w = 0

    def identify(self) -> Identity | Unavailable:
        """Its name and firmware; a plug that has none of these is as good."""
        self.look()
        version, device = self._about("Status 2", "StatusFWR", "Version"), self._about("Status", "Status", "DeviceName")
        return Identity(
            kind="wall",
            grade="wall",
            bound=_BOUND_PULSES,
            source=_SOURCE.format(_BOUND_PULSES, "pulse-counting metering chips (HLW8012, BL0937)", "Tasmota"),
            provenance=f"{_known('Tasmota', version, device)}, channel {self._channel or 1}, at {self._http.base}",
        )

    def look(self) -> Told:
        """Power and energy of the channel: ``ENERGY.Power`` in W, ``ENERGY.Total`` in kWh."""
        answer = self._command("Status 8")
        if not isinstance(find_at(answer.content, "StatusSNS"), dict):
            raise Unfit(f"{self._http.base} does not answer as Tasmota does", "give the address of a plug with Tasmota")
        energy = find_at(answer.content, "StatusSNS", "ENERGY")
        if not isinstance(energy, dict):
            raise Unfit(
                "its Status 8 has no ENERGY: it has no power meter, or none is configured",
                "use a plug that meters, and choose its model in Tasmota under Configure Module",
            )
        power = {"Power": self._of_channel(energy.get("Power"))}
        watts = read_power(power, "Power", backwards=_TURN, nothing=_BEHIND)
        self._decimals_w = max(self._decimals_w, count_decimals(watts))
        total_kwh = self._of_counter(energy.get("Total"))
        return Told(
            answer=answer,
            watts=watts,
            step_w=10.0**-self._decimals_w,
            counted_j=None if total_kwh is None else total_kwh * KWH_J,
            step_j=self._step_kwh(total_kwh) * KWH_J,
        )

    def advise(self, problem: NoSample) -> str:
        """What to do about a problem."""
        return self._http.advise(problem, "Tasmota plug", "/cm?cmnd=Status%208")

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _command(self, command: str) -> Answer:
        answer = self._http.get("/cm", **self._login, cmnd=command)
        if isinstance(answer.content, dict) and "WARNING" in answer.content:
            raise Refused("it wants a login: " + str(answer.content["WARNING"])[:80], 401)
        return answer

    def _about(self, command: str, *path: str) -> Any:
        return find_at(self._command(command).content, *path)

    def _of_channel(self, figure: Any) -> Any:
        """Figures of devices with several channels are lists, unless they are sums."""
        if not isinstance(figure, list):
            if self._channel not in (None, 1):
                raise Unfit(f"it has one channel, so there is no channel={self._channel}", "leave channel= out")
            return figure
        if self._channel is None and len(figure) > 1:
            raise Unfit(f"it has {len(figure)} channels", f"{_WHICH}, channel=1 to channel={len(figure)}")
        if (self._channel or 1) > len(figure):
            raise Unfit(f"it has {len(figure)} channels, so there is no channel={self._channel}", _WHICH)
        return figure[(self._channel or 1) - 1]

    def _of_counter(self, total: Any) -> float | None:
        """The channel's counter, or that of all of them: it moves as well if the channel draws power."""
        figure = self._of_channel(total) if isinstance(total, list) else total
        return None if figure is None else read_number({"Total": figure}, "Total")

    def _step_kwh(self, total_kwh: float | None) -> float:
        """``EnergyRes`` decimals, 0 to 5, as far as seen, of a number in single precision."""
        if total_kwh is None:
            return 0.0
        self._decimals = max(self._decimals, min(count_decimals(total_kwh), 5))
        return max(10.0**-self._decimals, float32_step(total_kwh))


def _known(*words: Any) -> str:
    """Those of a device's names that it tells."""
    return " ".join(word for word in words if isinstance(word, str) and word)
