"""A soak's picture: energy per item, power, temperature and clock over time, one above the other.

Byte-identical on a rerun, as the other pictures are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .drift import Drift
from .entrants import gpus_in_words
from .plots import saved, style, wrapped
from .scene import FRONT, GRID, INK, MUTED, PAPER
from .soak import Soak, Window
from .soakwords import caveats, change, joule_unit, lasted, time_unit, verdict
from .stats import Floats
from .wording import safe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["picture"]

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 8.6, 0.82, 0.28, 0.98, 0.62
_PANEL, _FIRST_PANEL, _GAP = 0.92, 1.75, 0.3
_EDGE, _TITLE, _SUBTITLE, _NOTE, _FONT = 0.16, 12.5, 9.8, 8.3, 9.5
_LINE, _NOTE_LINE = 0.25, 0.165
_POINT = "#0072b2"
_MOST_JOINED = 120
"""More windows than that are a cloud of points; a line between them would hide it."""
_SHORT_S, _LONG_S = 100, 3 * 3600


@dataclass(frozen=True)
class _Panel:
    """One figure over time."""

    title: str
    figure: Callable[[Window], float | None]
    factor: float = 1.0
    drift: Drift | None = None


def picture(soak: Soak, form: str) -> bytes:
    """The picture as a file that stands alone, ``png`` or ``svg``."""
    with style("path"):
        metadata: dict[str, Any] = {"Software": None} if form == "png" else {"Date": None, "Creator": "joulemark"}
        return saved(_draw(soak), form, metadata)


def _panels(soak: Soak) -> list[_Panel]:
    """Those that something is told for."""
    unit = joule_unit(soak)
    listed = [
        _Panel(f"Energy per item, {unit.name}", lambda w: w.energy_j_per_item, unit.factor, soak.energy),
        _Panel("Power, W", lambda w: w.power_w, 1.0, soak.power),
        _Panel("Temperature, \u00b0C", lambda w: w.temperature_c),
        _Panel("Clock, MHz", lambda w: w.clock_mhz),
    ]
    told = [panel for panel in listed if any(panel.figure(window) is not None for window in soak.windows)]
    time = time_unit(soak)
    by_time = _Panel(f"Time per item, {time.name}", lambda w: w.item_s, time.factor, soak.time)
    # Where nothing else tells of speed, time per item does.
    return told if len(told) > 2 else [*told, by_time]


def _draw(soak: Soak) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = _panels(soak)
    inside = _WIDTH - 2 * _EDGE
    title = wrapped(verdict(soak), _TITLE, "bold", inside)
    note = wrapped(" ".join([_legend(soak), *caveats(soak)]), _NOTE, "normal", inside)
    top = _TOP + _LINE * (len(title) - 1)
    bottom = _BOTTOM + _NOTE_LINE * len(note)
    heights = [_FIRST_PANEL, *[_PANEL] * (len(panels) - 1)]
    high = top + bottom + sum(heights) + _GAP * (len(panels) - 1)
    figure = Figure(figsize=(_WIDTH, high), facecolor=PAPER)
    FigureCanvasAgg(figure)
    under = high - top
    for number, (panel, height) in enumerate(zip(panels, heights, strict=True)):
        under -= height
        box = (_LEFT / _WIDTH, under / high, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, height / high)
        _draw_panel(figure.add_axes(box, facecolor="none"), soak, panel, is_last=number == len(panels) - 1)
        under -= _GAP
    below = (
        f"{safe(soak.model)} on {safe(soak.task)} for {lasted(soak)} | {_hardware(soak)} | {soak.grade}, {soak.scope}"
    )
    words: list[tuple[str, float, dict[str, Any]]] = [
        ("\n".join(title), 1 - 0.16 / high, {"fontsize": _TITLE, "fontweight": "bold", "va": "top", "color": INK}),
        (below, 1 - (0.46 + top - _TOP) / high, {"fontsize": _SUBTITLE, "va": "top", "color": MUTED}),
        ("\n".join(note), 0.1 / high, {"fontsize": _NOTE, "va": "bottom", "color": MUTED, "linespacing": 1.4}),
    ]
    for text, at, how in words:
        figure.text(_EDGE / _WIDTH, at, text, parse_math=False, **how)
    return figure


def _legend(soak: Soak) -> str:
    hot = (
        ", an orange triangle where heat held a clock down" if any(window.throttled for window in soak.windows) else ""
    )
    trend = "" if soak.energy.low is None else " Line and grey: the trend and how steep it may be (95 %)."
    return f"Each point is a window{hot}.{trend}"


def _draw_panel(axes: Axes, soak: Soak, panel: _Panel, *, is_last: bool) -> None:
    by, unit = _time_axis(soak)
    shown = [(window, value * panel.factor) for window in soak.windows if (value := panel.figure(window)) is not None]
    t = np.array([window.t_s for window, _ in shown]) / by
    y = np.array([value for _, value in shown])
    hot = np.array([window.throttled for window, _ in shown])
    axes.set_xlim(-0.006 * soak.lasted_s / by, 1.006 * soak.lasted_s / by)
    axes.set_ylim(*_reach(y))
    size = float(np.clip(900 / len(t), 4, 22))
    if len(t) <= _MOST_JOINED:
        axes.plot(t, y, color=_POINT, linewidth=0.8, alpha=0.25, zorder=2)
    axes.scatter(t[~hot], y[~hot], s=size, color=_POINT, linewidths=0, alpha=0.8, zorder=3)
    axes.scatter(t[hot], y[hot], s=1.4 * size, color=FRONT, marker="v", linewidths=0, zorder=3)
    said = panel.title
    if panel.drift is not None and panel.drift.percent_per_hour is not None:
        _draw_trend(axes, t, y, panel.drift, 3600 / by)
        said += f"   {change(soak, panel.drift)}"
    axes.set_title(said, loc="left", fontsize=_FONT, color=INK, pad=4, parse_math=False)
    _clear(axes, is_last=is_last, unit=unit)


def _time_axis(soak: Soak) -> tuple[int, str]:
    if soak.lasted_s < _SHORT_S:
        return 1, "seconds"
    return (3600, "hours") if soak.lasted_s > _LONG_S else (60, "minutes")


def _draw_trend(axes: Axes, t: Floats, y: Floats, drift: Drift, per_hour: float) -> None:
    """The line, and how much steeper or flatter it may be, through the middle of all."""
    middle, ends = t.mean(), np.array([t[0], t[-1]])

    def line(percent: float | None) -> Floats:
        slope = y.mean() * (percent or 0.0) / 100 / per_hour
        result: Floats = y.mean() + slope * (ends - middle)
        return result

    axes.fill_between(
        [ends[0], middle, ends[1]],
        [line(drift.high)[0], y.mean(), line(drift.low)[1]],
        [line(drift.low)[0], y.mean(), line(drift.high)[1]],
        color=INK, alpha=0.08, linewidth=0, zorder=1,
    )  # fmt: skip
    axes.plot(ends, line(drift.percent_per_hour), color=INK, linewidth=1.2, zorder=4)


def _reach(y: Floats) -> tuple[float, float]:
    """The ends of the axis: all points, and at least 2 % of their mean, so that noise is not made to look large."""
    low, high = float(y.min()), float(y.max())
    room = max(0.12 * (high - low), (0.02 * float(y.mean()) - (high - low)) / 2)
    return low - room, high + room


def _clear(axes: Axes, *, is_last: bool, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for side in ("top", "right", "left") if is_last else ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8, zorder=0)
    axes.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=3))
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    axes.tick_params(length=0, labelsize=_FONT - 1, labelbottom=is_last)
    if is_last:
        axes.set_xlabel(unit, fontsize=_FONT, color=MUTED, loc="right")


def _hardware(soak: Soak) -> str:
    machine = soak.run.header.machine
    return safe(", ".join(gpus_in_words(machine)) or machine.cpu_model)
