"""Look at this machine's meters: which work, which don't and why, the idle power, the error to expect, the noise."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from joulemark.meters.conditions import host_conditions
from joulemark.meters.errors import JoulemarkError
from joulemark.meters.registry import Choice, Probed, choose, find_meters, probe_all
from joulemark.meters.totals import min_window_s
from joulemark.meters.types import Domain, EnergyRecord
from joulemark.meters.window import Recorder

from .machine import describe_machine

__all__ = ["examine", "list_meters", "look", "show"]

IDLE_WINDOWS, IDLE_WINDOW_S, IDLE_TICKS = 6, 0.5, 4
WINDOWS_S = (1, 10, 60)
"""Lengths of windows whose error is told."""
BUSY_PERCENT = 20


def look(named: Sequence[str] = ()) -> tuple[Probed, ...]:
    """All meters that this machine has by itself, and those that were named.

    Raises:
        UsageError: One named does not exist.
    """
    by_id = {meter.id: meter for meter in (*find_meters(), *(find_meters(named) if named else ()))}
    return probe_all(tuple(by_id.values()))


def list_meters(probed: Sequence[Probed]) -> list[dict[str, Any]]:
    """A row for each domain that works here, and one for each meter that does not."""
    rows = []
    for found in probed:
        if found.unavailable:
            rows.append(_row(found.meter.id, False, reason=found.unavailable.reason, fix=found.unavailable.fix))
        rows += [_row(domain.id, True, **_facts(domain)) for domain in found.domains]
    return rows


def _facts(domain: Domain) -> dict[str, Any]:
    return {
        "grade": domain.grade,
        "scope": domain.kind,
        "summed": domain.summed,
        "resolution_j": domain.resolution_j,
        "update_s": domain.update_s,
        "rel_u": domain.rel_u,
        "source": domain.source,
        "provenance": domain.provenance,
    }


def _row(meter_id: str, available: bool, **known: Any) -> dict[str, Any]:
    keys = (
        "grade",
        "scope",
        "summed",
        "reason",
        "fix",
        "resolution_j",
        "update_s",
        "rel_u",
        "source",
        "provenance",
    )
    return {"id": meter_id, "available": available} | {key: known.get(key) for key in keys}


def examine(
    named: Sequence[str] = (), *, check: bool = False, say: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """The content of ``doctor --json``. Takes some seconds, in which the idle power is measured.

    Args:
        named: Meters to measure with; none for the best that works here.
        check: Also run a known load and set meters that should agree beside each other.
        say: Is told what takes time.

    Raises:
        UsageError: A meter that was named does not exist.
    """
    say = say or _say_nothing
    say("Looking at the meters ...")
    probed = look(named)
    found: dict[str, Any] = {"schema": "joulemark.doctor/1", "meters": list_meters(probed), "best": None, "idle": None}
    load = psutil.cpu_percent(interval=0.5)
    try:
        choice = choose(named or None, probed=probed)
        found["idle"] = _idle(choice, say)
        found["best"] = {
            "grade": choice.grade,
            "scope": choice.scope,
            "meters": [domain.id for domain in choice.summed],
            "rel_u": max(domain.rel_u for domain in choice.summed),
            "min_window_s": min_window_s(choice.summed),
        }
        if check:
            from .crosscheck import cross_check

            found["check"] = cross_check(probed, say)
    except JoulemarkError as problem:
        found["problem"] = str(problem)
    found["noise"] = _noise(load)
    return found


def _say_nothing(text: str) -> None:
    """Where nobody listens."""


def _idle(choice: Choice, say: Callable[[str], None]) -> dict[str, Any]:
    """Power in several windows one after the other, and what one of them says of the error of longer ones."""
    window_s = max(IDLE_WINDOW_S, *(IDLE_TICKS * (domain.update_s or 0.0) for domain in choice.summed))
    say(f"Measuring the idle power, about {IDLE_WINDOWS * window_s:.0f} s ...")
    windows: list[EnergyRecord] = []
    with Recorder(choice.meters, choice.domains, os.getpid()) as recorder:
        for _ in range(IDLE_WINDOWS):
            recorder.start()
            time.sleep(window_s)
            windows.append(recorder.stop())
    seconds = sum(window.window_s for window in windows)
    power_w = sum(window.gross_j for window in windows) / seconds
    # The errors of edges and steps are some joules in every window, however long.
    edges_j = statistics.median(window.u_j for window in windows)
    return {
        "power_w": power_w,
        "spread_w": statistics.stdev(window.gross_j / window.window_s for window in windows),
        "duration_s": seconds,
        "windows": len(windows),
        "window_error": {f"{length}": 1.96 * edges_j / (power_w * length) for length in WINDOWS_S},
    }


def _noise(load: float) -> dict[str, Any]:
    machine, host = describe_machine(), host_conditions()
    return {
        "cpu_busy_percent": load,
        "load_average_1min": os.getloadavg()[0],
        "governor": machine.governor,
        "virtualised": machine.virtualised,
        "clock_mhz": host.clock_mhz,
        "temperature_c": host.temperature_c,
        "power_cap_w": host.power_cap_w,
        "slowed_s": host.slowed_s,
    }


def show(found: dict[str, Any]) -> None:
    """Print what `examine` found for people."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(markup=False, highlight=False)
    working = [meter for meter in found["meters"] if meter["available"]]
    if working:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for head in ("Works here", "Grade", "Scope", "Steps of", "Renewed", "Error (95 %)"):
            table.add_column(head, no_wrap=head == "Works here")
        for meter in working:
            beside = "" if meter["summed"] else " *"
            table.add_row(
                meter["id"] + beside,
                meter["grade"],
                meter["scope"],
                _joules(meter["resolution_j"]),
                _seconds(meter["update_s"]),
                _error(meter["rel_u"]),
            )
        console.print(table)
        if not all(meter["summed"] for meter in working):
            console.print("* not part of a total by itself; name it by --meter\n", style="dim")
    missing: dict[tuple[str, str], list[str]] = {}
    for meter in found["meters"]:
        if not meter["available"]:
            missing.setdefault((meter["reason"], meter["fix"]), []).append(meter["id"])
    if missing:
        console.print(Text("Does not work here", style="bold"))
    for (reason, fix), names in missing.items():
        console.print(Text(f"{', '.join(names)}: ", style="bold") + Text(f"{reason}.", style="not bold"))
        console.print(Text(f"  To have it: {fix}."))
    console.print()
    _show_best(console, found)
    if "check" in found:
        from .crosscheck import show_check

        show_check(console, found["check"])


def _joules(joules: float | None) -> str:
    if joules is None:
        return "-"
    return (
        f"{joules:.3g} J" if joules >= 0.1 else f"{joules * 1e3:.2g} mJ" if joules >= 1e-4 else f"{joules * 1e6:.2g} uJ"
    )


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.2g} ms"


def _error(rel_u: float) -> str:
    """As in tables: a large error is a factor, since no energy is below zero."""
    return f"±{196 * rel_u:.2g} %" if rel_u < 0.15 else f"factor {math.exp(1.96 * rel_u):.1f}"


def _show_best(console: Any, found: dict[str, Any]) -> None:
    best, idle, noise = found["best"], found["idle"], found["noise"]
    if best is None:
        console.print(f"Nothing here can measure: {found['problem']}")
        return
    by_cpu_time = all(name.startswith("modelled:") for name in best["meters"])
    what = (
        f"{'CPU time' if by_cpu_time else 'a power model'}, not measured joules; "
        if best["grade"] == "modelled"
        else ""
    )
    console.print(
        f"joulemark run will use {', '.join(best['meters'])} ({what}grade {best['grade']}, scope {best['scope']}), "
        f"in windows of at least {best['min_window_s']:g} s."
    )
    console.print(
        f"Idle power: {idle['power_w']:.3g} W, spread {idle['spread_w']:.2g} W over {idle['windows']} windows of "
        f"{idle['duration_s'] / idle['windows']:.1f} s."
    )
    errors = ", ".join(f"±{100 * error:.2g} % in {length} s" for length, error in idle["window_error"].items())
    console.print(f"Error of one window beside calibration: {errors}.")
    told = [f"other load {noise['cpu_busy_percent']:.0f} % of the CPU"]
    told += [f"governor {noise['governor']}"] if noise["governor"] else []
    told += [f"{noise['clock_mhz']:.0f} MHz"] if noise["clock_mhz"] else []
    told += [f"{noise['temperature_c']:.0f} °C"] if noise["temperature_c"] else []
    told += ["held down by heat before"] if noise["slowed_s"] else []
    told += ["in a virtual machine, whose neighbours are not seen"] if noise["virtualised"] else []
    console.print(f"Noise: {', '.join(told)}.")
    if noise["cpu_busy_percent"] > BUSY_PERCENT:
        console.print("Figures from a busy machine scatter: stop what else runs, or wait, before you measure.")
