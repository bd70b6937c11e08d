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
from .record import Carbon, Idle, RunHeader
from .session import Session, describe_this_machine, meter_infos

__all__ = ["make_header", "new_run_id", "now", "stated_carbon"]


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
