"""The small chart of growing use: when a saving is used up."""

from __future__ import annotations

import math

from .chart import Scale, line, mark, path, text
from .context import Chart
from .wording import fixed

__all__ = ["chart_alt", "chart_caption", "chart_svg"]

_WIDTH, _HEIGHT = 640, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 624, 14, 236
_STEPS = 48
_APART = 25
"""Lines that are nearer to each other have one name; all are in the words beside the chart."""


def chart_alt(chart: Chart) -> str:
    """The chart in words."""
    met = "; ".join(f"{name} after {fixed(years)} years" for name, _, years in chart.others)
    return f"Yearly energy of {chart.label}, whose use grows by {_percent(chart)} a year, reaches that of {met}."


def chart_caption(chart: Chart) -> str:
    """What is drawn, for below it."""
    return (
        f"{chart_alt(chart)} Upwards: energy a year, in what {chart.label} takes in the first. "
        f"To the right: years, {_percent(chart)} more use in each."
    )


def chart_svg(chart: Chart) -> str:
    """An SVG that takes its colours and its font's size from the page; the same bytes for the same figures."""
    highest = max(1.15 * max(ratio for _, ratio, _ in chart.others), 1.3)
    x = Scale(low=0, high=chart.years, start=_LEFT, end=_RIGHT, log=False)
    y = Scale(low=0, high=highest, start=_BOTTOM, end=_TOP, log=False)
    ticks = [tick for tick in y.ticks(_APART) if tick == round(tick)]
    parts = [path([((x.start, y.at(tick)), (x.end, y.at(tick))) for tick in ticks], "var(--grid)", 1)]
    parts += [text(_LEFT - 8, y.at(tick), f"{tick:,.0f}\u00d7", anchor="end", middle=True) for tick in ticks]
    named_at = math.inf
    for number, (name, ratio, years) in enumerate(chart.others):
        at, tint = y.at(ratio), f"var(--kind{(number + 1) % 6 + 1})"
        parts.append(line((x.start, x.end), (at, at), tint, ' stroke-dasharray="5 4"'))
        if named_at - at > _APART:
            named_at = at
            parts.append(text(_LEFT + 6, at - 6, name, fill=tint))
        parts.append(mark(x.at(years), at, "o", tint, size=4, hollow=True))
    moments = [chart.years * step / _STEPS for step in range(_STEPS + 1)]
    curve = [(years, (1 + chart.growth) ** years) for years in moments]
    reached = [(x.at(years), y.at(energy)) for years, energy in curve if energy <= highest]
    parts.append(path([reached], "var(--kind1)", 2))
    for year in range(0, int(chart.years) + 1, max(1, round(chart.years / 6))):
        parts.append(text(x.at(year), _BOTTOM + 24, str(year), anchor="middle"))
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg>'


def _percent(chart: Chart) -> str:
    return f"{100 * chart.growth:.3g} %"
