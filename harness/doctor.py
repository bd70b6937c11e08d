"""Look at this machine's meters: which work, which don't and why, the idle power, the error to expect, the noise."""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from joulemark.meters.conditions import host_conditions
from joulemark.meters.errors import MeasuringFailed, UsageError
from joulemark.meters.naming import meter_name, parse_named
from joulemark.meters.registry import Choice, Probed, choose, find_meters, probe_all
from joulemark.meters.totals import min_window_s
from joulemark.meters.types import GRADES, Domain, EnergyRecord
from joulemark.meters.window import Recorder

from .machine import describe_machine
from .plan import make_plan

__all__ = ["examine", "list_meters", "look", "show"]

IDLE_WINDOWS, IDLE_WINDOW_S, IDLE_TICKS = 6, 0.5, 4
LEAST_WINDOWS, LEAST_IDLE_TICKS, LONG_S = 3, 2, 30.0
"""What the idle power is measured with: so many windows, of so many ticks of the slowest source; fewer, down to the
least, where that would take longer than `LONG_S`."""
WINDOWS_S = (1, 10, 60)
"""Lengths of windows whose error is told."""
BUSY_PERCENT = 20
LONG_RUN_S = 1800
"""A run that is told how long it takes before it begins."""
LEAST_SPREAD_W, TOO_SHORT = 0.01, 0.25
NAMES_WIDTH = 12


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
        UsageError: A meter or domain that was named does not exist.
    """
    say = say or _say_nothing
    say("Looking at the meters ...")
    probed = look(named)
    found: dict[str, Any] = {"schema": "joulemark.doctor/1", "meters": list_meters(probed), "best": None, "idle": None}
    found["named"] = list(named)
    load = psutil.cpu_percent(interval=0.5)
    choice, found["apart"], found["best_gpu"] = None, None, None
    try:
        choice, found["apart"] = _choose(named, probed)
        found["idle"] = _idle(choice, say)
        found["best"] = _best(choice)
        found["best_gpu"] = None if named else _best_for_gpus(choice, probed)
    except MeasuringFailed as problem:
        # Meters that fail say where to look for help, which is here.
        found["problem"] = str(problem).removesuffix("; see joulemark doctor")
    if check:
        from .crosscheck import cross_check

        found["check"] = cross_check(probed, say, total=choice.summed if choice else ())
    found["noise"] = _noise(load)
    return found


def _say_nothing(text: str) -> None:
    """Where nobody listens."""


def _choose(named: Sequence[str], probed: Sequence[Probed]) -> tuple[Choice, str | None]:
    """The total that a run would use; of named meters that make none together, the best, and why they make none.

    Raises:
        UsageError: One that was named does not exist.
        MeasuringFailed: One that was named does not work here, or nothing does.
    """
    if not named:
        return choose(probed=probed), None
    try:
        return _choose_for_any_device(named, probed), None
    except UsageError as problem:
        alone = [_choose_for_any_device([name], probed) for name in named]
        return min(alone, key=lambda choice: GRADES.index(choice.grade)), str(problem)


def _choose_for_any_device(named: Sequence[str], probed: Sequence[Probed]) -> Choice:
    """Meters of a GPU alone are as welcome here as those that see the CPU."""
    try:
        return choose(named, probed=probed)
    except UsageError:
        with contextlib.suppress(UsageError):
            return choose(named, device="cuda", probed=probed)
        raise


def _best_for_gpus(choice: Choice, probed: Sequence[Probed]) -> dict[str, Any] | None:
    """What a run uses for models on a GPU, where that is something else."""
    try:
        other = choose(device="cuda", probed=probed)
    except MeasuringFailed:
        return None
    return None if other.summed == choice.summed else _best(other)


def _best(choice: Choice) -> dict[str, Any]:
    least_s = min_window_s(choice.summed)
    quick = make_plan(None, {})
    cells = len(quick.models) * len(quick.tasks) * quick.repeats
    return {
        "grade": choice.grade,
        "scope": choice.scope,
        "meters": [domain.id for domain in choice.summed],
        "rel_u": max(domain.rel_u for domain in choice.summed),
        "min_window_s": least_s,
        "quick_cells": cells,
        "quick_at_least_s": cells * least_s,
    }


def _idle(choice: Choice, say: Callable[[str], None]) -> dict[str, Any]:
    """Power in several windows one after the other, and what one of them says of the error of longer ones."""
    slowest_s = max(domain.update_s or 0.0 for domain in choice.summed)
    window_s, count = _idle_windows(slowest_s)
    say(f"Measuring the idle power, about {count * (window_s + slowest_s / 2):.0f} s ...")
    windows: list[EnergyRecord] = []
    with Recorder(choice.meters, choice.domains, os.getpid()) as recorder:
        for _ in range(count):
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


def _idle_windows(slowest_s: float) -> tuple[float, int]:
    """How long, and how many: with a source that is renewed slowly, fewer and of fewer ticks, to be done in a while."""
    ticks_s = min(IDLE_TICKS * slowest_s, max(LEAST_IDLE_TICKS * slowest_s, LONG_S / LEAST_WINDOWS))
    window_s = max(IDLE_WINDOW_S, ticks_s)
    return window_s, max(LEAST_WINDOWS, min(IDLE_WINDOWS, int(LONG_S / window_s)))


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
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    made = [meter_name(text) for text in found["named"] if parse_named(text) is not None]
    _show_working(console, [meter for meter in found["meters"] if meter["available"]], made)
    _show_missing(console, [meter for meter in found["meters"] if not meter["available"]])
    _show_best(console, found)
    _show_noise(console, found["noise"])
    if "check" in found:
        from .crosscheck import show_check

        show_check(console, found["check"])


def _show_working(console: Any, meters: Sequence[dict[str, Any]], made: Sequence[str]) -> None:
    """A table; below it, what the meters are that the user made."""
    from rich import box
    from rich.table import Table

    if not meters:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("Works here", overflow="fold")
    for head in ("Grade", "Scope", "Steps of", "Renewed", "Error (95 %)"):
        table.add_column(head, no_wrap=True)
    for meter in meters:
        table.add_row(
            meter["id"] + ("" if meter["summed"] else " *"),
            meter["grade"],
            meter["scope"],
            _joules(meter["resolution_j"]),
            _seconds(meter["update_s"]),
            _error(meter["rel_u"]),
        )
    console.print(table)
    if not all(meter["summed"] for meter in meters):
        console.print("* not part of a total by itself; name it by --meter", style="dim")
    for meter in meters:
        if meter_name(meter["id"]) in made:
            console.print(f"{meter['id']} is {meter['provenance']}: {meter['source']}.")
    console.print()


def _show_missing(console: Any, meters: Sequence[dict[str, Any]]) -> None:
    """Those that do not work for one reason together, their names beside it."""
    from rich.table import Table

    if not meters:
        return
    by_reason: dict[tuple[str, str], list[str]] = {}
    for meter in meters:
        by_reason.setdefault((meter["reason"], meter["fix"]), []).append(meter["id"])
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(max_width=NAMES_WIDTH)
    table.add_column(overflow="fold")
    for (reason, fix), names in by_reason.items():
        table.add_row(", ".join(names), f"{reason}. Fix: {fix}.")
    console.print("Does not work here", style="bold")
    console.print(table)
    console.print()


def _joules(joules: float | None) -> str:
    if joules is None:
        return "-"
    return (
        f"{joules:.3g} J" if joules >= 0.1 else f"{joules * 1e3:.2g} mJ" if joules >= 1e-4 else f"{joules * 1e6:.2g} µJ"
    )


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.0f} ms" if seconds >= 1e-3 else "below 1 ms"


def _error(rel_u: float) -> str:
    """As in tables: a large error is a factor, since no energy is below zero."""
    return f"±{196 * rel_u:.2g} %" if rel_u < 0.15 else f"factor {math.exp(1.96 * rel_u):.1f}"


def _show_best(console: Any, found: dict[str, Any]) -> None:
    best = found["best"]
    if found["apart"]:
        console.print(f"Not together: {found['apart']}.")
    if best is None:
        what = "What was named cannot measure" if found["named"] else "Nothing here can measure"
        console.print(f"{what}: {found['problem']}.")
        return
    how = " with one of them alone" if found["apart"] else " with this --meter" if found["named"] else ""
    console.print(f"joulemark run{how} will use {_total(best)}.")
    if found["best_gpu"]:
        console.print(f"For models on a GPU: {_total(found['best_gpu'])}.")
    if best["quick_at_least_s"] > LONG_RUN_S:
        console.print(
            f"Such windows take their time: the {best['quick_cells']} cells of --preset quick at least "
            f"{_hours(best['quick_at_least_s'])}. Fewer models, tasks or repeats take less."
        )
    _show_idle(console, found["idle"])


def _total(best: dict[str, Any]) -> str:
    by_cpu_time = all(name.startswith("modelled:") for name in best["meters"])
    model = f"{'CPU time' if by_cpu_time else 'a power model'}, not measured joules; "
    return (
        f"{', '.join(best['meters'])} ({model if best['grade'] == 'modelled' else ''}grade {best['grade']}, scope "
        f"{best['scope']}), in windows of at least {best['min_window_s']:.3g} s"
    )


def _show_idle(console: Any, idle: dict[str, Any]) -> None:
    spread_w = idle["spread_w"]
    spread = f"spread {spread_w:.2g} W" if spread_w >= LEAST_SPREAD_W else f"spread below {LEAST_SPREAD_W:g} W"
    console.print(
        f"Idle power: {idle['power_w']:.3g} W, {spread} over {idle['windows']} windows of "
        f"{idle['duration_s'] / idle['windows']:.1f} s."
    )
    fine = {length: error for length, error in idle["window_error"].items() if error < TOO_SHORT}
    errors = [f"±{100 * error:.2g} % in {length} s" for length, error in fine.items()]
    errors += [f"{length} s is too short" for length in idle["window_error"] if length not in fine]
    console.print(f"Error of one window, beside the meter's own above: {', '.join(errors)}.")


def _hours(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _show_noise(console: Any, noise: dict[str, Any]) -> None:
    told = [f"other programs use {noise['cpu_busy_percent']:.0f} % of the CPU"]
    told += [f"governor {noise['governor']}"] if noise["governor"] else []
    told += [f"{noise['clock_mhz']:.0f} MHz"] if noise["clock_mhz"] else []
    told += [f"{noise['temperature_c']:.0f} °C"] if noise["temperature_c"] else []
    told += ["held down by heat before"] if noise["slowed_s"] else []
    told += ["what a virtual machine's neighbours do is not seen"] if noise["virtualised"] else []
    console.print(f"Noise: {', '.join(told)}.")
    if noise["cpu_busy_percent"] > BUSY_PERCENT:
        console.print("Figures from a busy machine scatter: stop what else runs, or wait, before you measure.")
