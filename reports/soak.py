"""A soak summed up: its windows over time, and whether energy per item and power drift; as JSON and in files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import click

from joulemark.harness.record import Cell, DeviceState
from joulemark.harness.soak import SOAK
from joulemark.harness.store import Run, read_run, replace_file
from joulemark.meters.errors import Incomparable, UsageError

from .drift import Drift, drift

__all__ = ["Soak", "Window", "as_object", "conclude", "summed_up"]

SCHEMA = "joulemark.soak/1"
_CLOCK_SET_S = 5.0
"""Windows further from where the cells' durations put them: the wall clock was set meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """One window of sustained load; None where a figure is not told.

    Attributes:
        t_s: Its middle, in seconds since the first window began.
        window_s: Its length.
        items: Questions answered in it.
        energy_j_per_item: Gross joules for each.
        rel_u: Relative standard uncertainty of that, independent from window to window.
        power_w: Mean power.
        item_s: Seconds for each question.
        temperature_c: When it ended, of the hottest device that computes.
        clock_mhz: The same, the mean of its clocks.
        throttled: Whether heat held a clock down in it.
        busy_machine: Whether other programs worked beside it.
    """

    t_s: float
    window_s: float
    items: int
    energy_j_per_item: float | None
    rel_u: float
    power_w: float | None
    item_s: float
    temperature_c: float | None
    clock_mhz: float | None
    throttled: bool
    busy_machine: bool


@dataclass(frozen=True, kw_only=True)
class Soak:
    """A soak: what was asked of it, its windows, and the drift of energy per item, power and time per item."""

    run: Run
    model: str
    task: str
    minutes: float
    windows: tuple[Window, ...]
    failed: int
    grade: str
    scope: str
    energy: Drift
    power: Drift
    time: Drift

    @property
    def lasted_s(self) -> float:
        """Seconds from the beginning of the first window to the end of the last."""
        return self.windows[-1].t_s + self.windows[-1].window_s / 2

    @property
    def metered(self) -> float:
        """Share of that time inside windows; in the rest it was warmed up, or its answers were scored."""
        return sum(window.window_s for window in self.windows) / self.lasted_s


def conclude(path: Path, *, as_json: bool) -> None:
    """End a soak: print its table and verdict, or one JSON object; write these and its picture into ``path/report``.

    Raises:
        UsageError: The folder holds no soak, or cannot be written.
        Incomparable: No window is fine.
    """
    from .soakplot import picture
    from .soakwords import print_soak

    soak = summed_up(read_run(path))
    text = json.dumps(as_object(soak), indent=2, allow_nan=False) + "\n"
    out = path / "report"
    try:
        out.mkdir(exist_ok=True)
        for name, content in (("soak.json", text.encode()), *((f"soak.{f}", picture(soak, f)) for f in ("png", "svg"))):
            replace_file(out / name, content)
    except OSError as problem:
        raise UsageError(f"cannot write to {out}: {problem.strerror or problem}.") from problem
    for note in soak.run.notes:
        click.echo(note, err=True)
    if as_json:
        click.echo(text, nl=False)
    else:
        print_soak(soak)
        click.echo(f"\nPicture: {out / 'soak.png'}   Figures: {out / 'soak.json'}")


def summed_up(run: Run) -> Soak:
    """The windows of a soak's run and their drift.

    Raises:
        UsageError: The run is no soak.
        Incomparable: No window is fine.
    """
    asked = run.header.plan.get(SOAK)
    if not isinstance(asked, dict):
        raise UsageError(f"{run.path} is no soak; `joulemark rank` and `report` read runs.")
    cells = sorted((cell for cell in run.cells if cell.status == "ok"), key=lambda cell: cell.order)
    if not cells:
        raise Incomparable(f"{run.path} has no finished window.")
    windows = _windows(cells)
    hours = [window.t_s / 3600 for window in windows]
    rel_u = [window.rel_u for window in windows]
    energy = cells[0].energy
    return Soak(
        run=run,
        model=cells[0].model,
        task=cells[0].task,
        minutes=float(asked["minutes"]),
        windows=windows,
        failed=sum(cell.status != "ok" for cell in run.cells),
        grade=energy.grade if energy else "none",
        scope=energy.scope if energy else "none",
        energy=drift(hours, [window.energy_j_per_item for window in windows], rel_u),
        power=drift(hours, [window.power_w for window in windows], rel_u),
        time=drift(hours, [window.item_s for window in windows]),
    )


def as_object(soak: Soak) -> dict[str, Any]:
    """What ``soak.json`` and ``--json`` hold."""
    header, first = soak.run.header, soak.run.cells[0]
    return {
        "schema": SCHEMA,
        "run_id": header.run_id,
        "path": str(soak.run.path),
        "model": soak.model,
        "model_args": first.model_args,
        "task": soak.task,
        "setting": first.setting,
        "minutes": soak.minutes,
        "lasted_s": soak.lasted_s,
        "metered_share": soak.metered,
        "failed": soak.failed,
        "grade": soak.grade,
        "scope": soak.scope,
        "meters": [meter.id for meter in header.meters if meter.summed],
        "idle": {"before_w": header.idle.before_w, "after_w": header.idle.after_w},
        "energy_j_per_item": mean_of(soak.windows, lambda window: window.energy_j_per_item),
        "power_w": mean_of(soak.windows, lambda window: window.power_w),
        "item_s": mean_of(soak.windows, lambda window: window.item_s),
        "drift": {
            name: asdict(found) | {"direction": found.direction}
            for name, found in (("energy_per_item", soak.energy), ("power", soak.power), ("time_per_item", soak.time))
        },
        "throttled_windows": sum(window.throttled for window in soak.windows),
        "busy_windows": sum(window.busy_machine for window in soak.windows),
        "flags": sorted({flag for cell in soak.run.cells for flag in cell.flags}),
        "windows": [asdict(window) for window in soak.windows],
    }


def mean_of(windows: Sequence[Window], figure: Callable[[Window], float | None]) -> float | None:
    """The mean of a figure over those windows that tell it."""
    told = [value for value in map(figure, windows) if value is not None]
    return fmean(told) if told else None


def _windows(cells: Sequence[Cell]) -> tuple[Window, ...]:
    return tuple(_window(cell, begins_s) for cell, begins_s in zip(cells, _beginnings_s(cells), strict=True))


def _beginnings_s(cells: Sequence[Cell]) -> list[float]:
    """When each cell's windows began, since the first did: by the wall clock, unless that was set meanwhile."""
    times = [datetime.fromisoformat(cell.windows[0].began_at).timestamp() for cell in cells]
    by_clock = [at - times[0] for at in times]
    by_durations, passed_s = [], 0.0
    for cell in cells:
        by_durations.append(passed_s + (cell.duration_s or 0.0) - _length_s(cell))
        passed_s += cell.duration_s or 0.0
    by_durations = [at - by_durations[0] for at in by_durations]
    # What is between two cells is short, so from one to the next the two tell nearly the same.
    alike = all(
        abs((after - before) - (ended - began)) < _CLOCK_SET_S
        for (before, after), (began, ended) in zip(pairwise(by_clock), pairwise(by_durations), strict=True)
    )
    return by_clock if alike else by_durations


def _window(cell: Cell, begins_s: float) -> Window:
    length_s = _length_s(cell)
    energy, loops = cell.energy, cell.energy.loops if cell.energy else 1
    items = cell.n_items * loops
    gross_j = energy.gross_j if energy else None
    state = _state([device for span in cell.windows[-1:] for device in span.after])
    return Window(
        t_s=begins_s + length_s / 2,
        window_s=length_s,
        items=items,
        energy_j_per_item=None if gross_j is None else gross_j / items,
        rel_u=0.0 if gross_j is None or energy is None or energy.u_j is None else energy.u_j / gross_j,
        power_w=None if gross_j is None else gross_j / length_s,
        item_s=length_s / items,
        temperature_c=state[0],
        clock_mhz=state[1],
        throttled="throttled" in cell.flags,
        busy_machine="busy_machine" in cell.flags,
    )


def _length_s(cell: Cell) -> float:
    return sum(span.window_s for span in cell.windows)


def _state(told: Sequence[DeviceState]) -> tuple[float | None, float | None]:
    """Temperature and clock of what computes: of the GPUs where some tell, else of the host."""
    gpus = [device for device in told if device.device != "host"]
    devices = gpus if any(gpu.temperature_c or gpu.clock_mhz for gpu in gpus) else told
    heats = [device.temperature_c for device in devices if device.temperature_c is not None]
    clocks = [device.clock_mhz for device in devices if device.clock_mhz is not None]
    return max(heats, default=None), fmean(clocks) if clocks else None
