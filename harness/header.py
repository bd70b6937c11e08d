"""What a run says of itself as it begins: id, moment, machine and meters, and what a kilowatt-hour stands for."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from joulemark.meters.carbon import carbon_intensity

from .machine import describe_software
from .plan import Plan
from .record import Carbon, Idle, RunHeader, Station
from .session import Session, describe_this_machine, meter_infos

__all__ = ["make_header", "new_run_id", "now", "stated_carbon", "stations_of", "with_station"]


def new_run_id() -> str:
    """Of a run that begins now."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def stated_carbon(plan: Plan) -> Carbon | None:
    """What the plan takes a kilowatt-hour to stand for.

    Raises:
        UsageError: It names no country that is known.
    """
    return None if plan.carbon is None else Carbon(**asdict(carbon_intensity(str(plan.carbon))))


def make_header(
    session: Session, plan: dict[str, Any], carbon: Carbon | None = None, *, share: bool = False
) -> RunHeader:
    """The header of a run that begins now, on this machine, or on a share of it."""
    return RunHeader(
        run_id=new_run_id(),
        created_at=now(),
        joulemark_version=version("joulemark"),
        plan=plan,
        seed=session.plan.seed,
        machine=describe_this_machine(session.choice, share=share),
        software=describe_software(),
        meters=meter_infos(session.choice),
        idle=Idle(before_w=None, after_w=None, duration_s=session.plan.idle_s),
        carbon=carbon,
    )


def now() -> str:
    """The moment by the wall clock, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def stations_of(header: RunHeader) -> dict[str, Station]:
    """The machines that a run was measured on, by their ids."""
    every = header.stations or (header.station,)
    return {station.machine.machine_id: station for station in every}


def with_station(header: RunHeader, station: Station) -> RunHeader:
    """The header with what is known of a machine now. Of a single one it is as that of a local run."""
    stations = stations_of(header)
    known = stations.get(station.machine.machine_id)
    stations[station.machine.machine_id] = _together(known, station) if known else station
    first, *others = every = tuple(stations.values())
    return header.at(first, every if others else ())


def _together(known: Station, now: Station) -> Station:
    """Invocations of both: several nodes may stand on one machine."""
    every = {each.before.began_at: each for each in (*known.invocations, *now.invocations)}
    return now.model_copy(update={"invocations": tuple(every[at] for at in sorted(every))})
