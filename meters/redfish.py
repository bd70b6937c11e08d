"""Redfish: the power of a whole server as its management controller (BMC) sees it at the power supplies.

``bmc=redfish:host=https://192.0.2.9,user=NAME,password_env=VARIABLE``. It covers what a plug does, hence the kind
``wall``. Its grade is ``polled``, not ``wall``: the figure comes from sensors inside the supplies, which the machine's
maker chose and nobody calibrated as a meter, by way of a controller that renews and rounds it as it likes; and the
joules are the sum of what was seen at the moments of asking. So a BMC never shares a ranking with a plug.

The formats are DMTF's (DSP2046): ``EnvironmentMetrics`` with ``PowerWatts.Reading``, else the older ``Power`` with
``PowerControl[].PowerConsumedWatts``.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from .errors import UsageError
from .gauges import GaugeSource, Identity, Told, Unfit, read_power
from .http import Http, Refused
from .polling import NoSample, PolledMeter
from .remote import (
    KWH_J,
    count_decimals,
    find_at,
    float32_step,
    parse_login,
    parse_seconds,
    parse_yes,
    read_number,
)
from .types import Unavailable

__all__ = ["redfish"]

_BOUND = 0.05
_ASSUMED = (
    "assumed within +-5 %, uniform (a / sqrt(3), JCGM 100:2008, 4.3.7): Redfish states no accuracy for this figure; "
    "compare it with a plug's and say rel_u="
)
_SENSOR = "update or restart the BMC: its sensor is wrong; or measure with a plug"
_MOST_CHASSIS = 32
_NOTHING_THERE = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}
_PARTS = {"Card", "Component", "Expansion", "IPBasedDrive", "Module", "StorageEnclosure"}
"""Kinds of chassis (`ChassisType`) that are in a machine, or beside it: a GPU, a network card with a BMC of its own."""


def redfish(
    name: str,
    host: str,
    user: str = "",
    password_env: str = "",
    verify: str = "yes",
    chassis: str = "",
    rel_u: str = "",
    update_s: str = "",
    interval_s: str = "1",
    patience_s: str = "60",
    timeout_s: str = "5",
    still_s: str = "600",
) -> PolledMeter:
    """A server's BMC.

    Args:
        name: What to call the meter.
        host: The BMC's address; ``https://`` may be left out.
        user: Login name of an account that may read.
        password_env: The environment variable with its password.
        verify: ``no`` where the BMC has no valid certificate; whoever sits between can then read the password.
        chassis: Which chassis, where several tell of power (the last part of its address).
        rel_u, update_s, interval_s, patience_s, still_s: As in `GaugeSource`.
        timeout_s: As in `Http`.

    Raises:
        UsageError: An argument makes no sense.
    """
    if "/" in chassis:
        raise UsageError(f"meter {name!r}: chassis={chassis}: give the last part of its address only")
    login, password = parse_login(user, password_env)
    http = Http(
        host if "://" in host else f"https://{host}",
        timeout_s=parse_seconds("timeout_s", timeout_s),
        user=login,
        password=password,
        verify=parse_yes("verify", verify),
    )
    source = GaugeSource(
        name,
        _Bmc(http, chassis),
        rel_u=rel_u,
        update_s=update_s,
        interval_s=interval_s,
        patience_s=patience_s,
        still_s=still_s,
    )
    return PolledMeter(name, source)


class _Bmc:
    """The power of one chassis."""

    part = "machine"
    usual_update_s = 5.0
    # Controllers renew their figure every second to every half a minute; unseen, the slowest is the honest guess.
    slow_update_s = 30.0
    watch_s = 10.0

    def __init__(self, http: Http, chassis: str) -> None:
        self._http, self._wanted = http, chassis
        self._place: _Place | None = None
        self._decimals = 0

    def identify(self) -> Identity | Unavailable:
        """Which chassis it is, and what its sensor states of itself."""
        place = self._place = self._find()
        if place.chassis.get("PowerState") == "Off":
            return Unavailable(
                reason=f"{place.where} is switched off, so it is not the machine this runs on",
                fix="name the BMC of this machine, or another of its chassis with chassis=...",
            )
        stated = self._stated_percent(place)
        return Identity(
            kind="wall",
            grade="polled",
            bound=stated / 100 if stated else _BOUND,
            source=f"the sensor states +-{stated:g} %, uniform (JCGM 100:2008, 4.3.7)" if stated else _ASSUMED,
            provenance=f"{place.name} of {place.where}{place.maker}, at {self._http.base}",
        )

    def look(self) -> Told:
        """Its power, and its energy where it counts that."""
        if self._place is None:
            self._place = self._find()
        answer = self._http.get(self._place.path)
        watts = read_power(answer.content, *self._place.keys, backwards=_SENSOR, nothing=_SENSOR)
        counted_j, step_j = self._counter(answer.content)
        return Told(answer=answer, watts=watts, step_w=1.0, counted_j=counted_j, step_j=step_j)

    def advise(self, problem: NoSample) -> str:
        """What to do about a problem."""
        return self._http.advise(problem, "BMC", "/redfish/v1/Chassis")

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _find(self) -> _Place:
        """The one place with a machine's power.

        Raises:
            Unfit: There is none, or more than one, or too many chassis to look at.
            NoSample: The BMC fails.
        """
        choose = f"see what {self._http.base}/redfish/v1/Chassis lists, and name this machine's with chassis=NAME"
        root = self._http.get("/redfish/v1/").content
        if not isinstance(root, dict) or not {"Chassis", "@odata.id"} & root.keys():
            raise Unfit(
                f"{self._http.base} does not speak Redfish", "give the address of a BMC, and switch Redfish on there"
            )
        every = self._http.get(_link(root, "Chassis") or "/redfish/v1/Chassis").content
        listed = find_at(every, "Members")
        members = [path for path in map(_link, listed if isinstance(listed, list) else []) if path]
        if self._wanted:
            members = [path for path in members if path.rstrip("/").rpartition("/")[2] == self._wanted]
        if len(members) > _MOST_CHASSIS:
            raise Unfit(f"{self._http.base} has {len(members)} chassis, and does not say which is the machine", choose)
        found = [place for path in members if (place := self._place_in(path)) is not None]
        if not found:
            what = "that is a whole machine and tells its power" if members or not self._wanted else repr(self._wanted)
            raise Unfit(f"{self._http.base} has no chassis {what}", choose)
        if len(found) > 1:
            names = ", ".join(place.where.rpartition("/")[2] for place in found)
            raise Unfit(f"{self._http.base} has several chassis that tell their power: {names}", choose)
        return found[0]

    def _place_in(self, path: str) -> _Place | None:
        chassis = self._content(path)
        if not isinstance(chassis, dict) or chassis.get("ChassisType") in _PARTS:
            return None
        for place in _places(path.rstrip("/"), chassis):
            if _number(self._content(place.path), *place.keys) is not None:
                return place
        return None

    def _counter(self, content: Any) -> tuple[float | None, float]:
        """Joules that the BMC counted by itself, and their step as far as it was seen."""
        for key, unit_j in (("EnergyJoules", 1.0), ("EnergykWh", KWH_J)):
            if (reading := _number(content, key, "Reading")) is not None:
                self._decimals = max(self._decimals, min(count_decimals(reading), 6))
                return reading * unit_j, max(10.0**-self._decimals, float32_step(reading)) * unit_j
        return None, 0.0

    def _stated_percent(self, place: _Place) -> float | None:
        """The accuracy that the sensor behind the figure states; None where the BMC does not say."""
        link = _path(find_at(self._content(place.path), *place.keys[:-1], "DataSourceUri"))
        stated = _number(self._content(link), "Accuracy") if link else None
        return stated if stated is not None and 0 < stated < 50 else None

    def _content(self, path: str) -> Any:
        """What stands there; None where there is nothing, though the BMC links to it.

        Raises:
            NoSample: The BMC fails, which must not lead to another chassis than the one that would be found.
        """
        try:
            return self._http.get(path).content
        except Refused as refused:
            if refused.status not in _NOTHING_THERE:
                raise
            return None


class _Place:
    """Where a power stands: a resource, and the keys in it."""

    def __init__(self, where: str, chassis: dict[str, Any], path: str, *keys: str | int) -> None:
        self.where, self.chassis, self.path, self.keys = where, chassis, path, keys

    @property
    def name(self) -> str:
        """The figure's, as in the provenance."""
        return ".".join(map(str, self.keys))

    @property
    def maker(self) -> str:
        """The machine's maker and model in brackets, as far as the BMC tells."""
        told = [name for key in ("Manufacturer", "Model") if isinstance(name := self.chassis.get(key), str) and name]
        return f" ({' '.join(told)})" if told else ""


def _places(where: str, chassis: dict[str, Any]) -> Iterator[_Place]:
    """The newer resource first; of several ``PowerControl`` the first, which is the whole chassis by convention."""
    if path := _link(chassis, "EnvironmentMetrics"):
        yield _Place(where, chassis, path, "PowerWatts", "Reading")
    if path := _link(chassis, "Power"):
        yield _Place(where, chassis, path, "PowerControl", 0, "PowerConsumedWatts")


def _link(content: Any, *path: str) -> str:
    """The address of what is linked there; empty where nothing is."""
    return _path(find_at(content, *path, "@odata.id"))


def _path(link: Any) -> str:
    """Links of a BMC lead to itself."""
    return link if isinstance(link, str) and link.startswith("/redfish/") else ""


def _number(content: Any, *path: str | int) -> float | None:
    """The number at a place in an answer; None where there is none."""
    try:
        return read_number(content, *path)
    except NoSample:
        return None
