"""Look at this machine's meters: which work, which don't and why, the idle power, the noise."""

from __future__ import annotations

import math
import os
import time
from typing import Any

import psutil

from joulemark.meters.errors import JoulemarkError
from joulemark.meters.registry import Choice, Probed, choose, probe_all
from joulemark.meters.totals import min_window_s
from joulemark.meters.window import Recorder

from .machine import describe_machine

__all__ = ["examine", "list_meters", "show"]

IDLE_S = 3.0


def list_meters(probed: tuple[Probed, ...] | None = None) -> list[dict[str, Any]]:
    """A row for each domain that works here, and one for each meter that does not."""
    rows = []
    for found in probe_all() if probed is None else probed:
        if found.unavailable:
            rows.append(_row(found.meter.id, False, reason=found.unavailable.reason, fix=found.unavailable.fix))
        rows += [
            _row(
                domain.id,
                True,
                grade=domain.grade,
                scope=domain.kind,
                resolution_j=domain.resolution_j,
                update_s=domain.update_s,
                rel_u=domain.rel_u,
                source=domain.source,
                provenance=domain.provenance,
            )
            for domain in found.domains
        ]
    return rows


def _row(meter_id: str, available: bool, **known: Any) -> dict[str, Any]:
    keys = (
        "grade",
        "scope",
        "reason",
        "fix",
        "resolution_j",
        "update_s",
        "rel_u",
        "source",
        "provenance",
    )
    return {"id": meter_id, "available": available} | {key: known.get(key) for key in keys}


def examine() -> dict[str, Any]:
    """The content of ``doctor --json``. Takes some seconds, in which the idle power is measured."""
    probed = probe_all()
    found: dict[str, Any] = {"schema": "joulemark.doctor/1", "meters": list_meters(probed), "best": None, "idle": None}
    load = psutil.cpu_percent(interval=0.5)
    try:
        choice = choose(probed=probed)
        found["idle"] = _idle(choice)
        found["best"] = {
            "grade": choice.grade,
            "scope": choice.scope,
            "meters": [domain.id for domain in choice.summed],
            "rel_u": max(domain.rel_u for domain in choice.summed),
            "min_window_s": min_window_s(choice.summed),
        }
    except JoulemarkError as problem:
        found["problem"] = str(problem)
    machine = describe_machine()
    found["noise"] = {
        "cpu_busy_percent": load,
        "load_average_1min": os.getloadavg()[0],
        "governor": machine.governor,
        "virtualised": machine.virtualised,
    }
    return found


def _idle(choice: Choice) -> dict[str, Any]:
    with Recorder(choice.meters, choice.domains, os.getpid()) as recorder:
        recorder.start()
        time.sleep(IDLE_S)
        record = recorder.stop()
    return {"power_w": record.gross_j / record.window_s, "duration_s": record.window_s}


def show(found: dict[str, Any]) -> None:
    """Print what `examine` found for people."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(markup=False, highlight=False)
    listed = Table.grid(padding=(0, 2))
    for meter in found["meters"]:
        if meter["available"]:
            resolution = f", steps of {meter['resolution_j']:.2g} J" if meter["resolution_j"] else ""
            update = f", renewed every {meter['update_s'] * 1000:.3g} ms" if meter["update_s"] else ""
            listed.add_row("works", Text(f"{meter['id']}: {meter['grade']}, {meter['scope']}{resolution}{update}"))
            note = f"error {_error(meter['rel_u'])} (95 %): {meter['source']}"
        else:
            listed.add_row("no", Text(f"{meter['id']}: {meter['reason']}"))
            note = f"Fix: {meter['fix']}"
        listed.add_row("", Text(note))
    console.print(listed)
    console.print()
    _show_best(console, found)


def _error(rel_u: float) -> str:
    """As in tables: a large error is a factor, since no energy is below zero."""
    return f"±{196 * rel_u:.2g} %" if rel_u < 0.15 else f"a factor of {math.exp(1.96 * rel_u):.1f} either way"


def _show_best(console: Any, found: dict[str, Any]) -> None:
    best, idle, noise = found["best"], found["idle"], found["noise"]
    if best is None:
        console.print(f"Nothing here can measure: {found['problem']}")
        return
    console.print(
        f"joulemark run will use {', '.join(best['meters'])}: grade {best['grade']}, scope {best['scope']}, "
        f"windows of at least {best['min_window_s']:g} s."
    )
    console.print(f"Idle power: {idle['power_w']:.3g} W over {idle['duration_s']:.1f} s.")
    governor = f", governor {noise['governor']}" if noise["governor"] else ""
    where = ", in a virtual machine" if noise["virtualised"] else ""
    console.print(f"Other load: {noise['cpu_busy_percent']:.0f} % of the CPU is busy{governor}{where}.")
    if noise["cpu_busy_percent"] > 20:
        console.print("Figures from a busy machine scatter: stop what else runs, or wait, before you measure.")
