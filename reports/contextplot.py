"""The small chart of growing use: when a saving is used up."""

from __future__ import annotations

from xml.sax.saxutils import escape

from .context import Chart
from .wording import fixed

__all__ = ["chart_alt", "chart_svg"]

_WIDTH, _HEIGHT = 640, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 26, 44
_STEPS = 48
_APART = 13
"""Lines that are nearer to each other have one name; all are in the words beside the chart."""


def chart_alt(chart: Chart) -> str:
    """The chart in words."""
    met = "; ".join(f"{name} after {fixed(years)} years" for name, _, years in chart.others)
    return f"Yearly energy of {chart.label}, whose use grows by {_percent(chart)} a year, reaches that of {met}."


def chart_svg(chart: Chart) -> str:
    """An SVG that takes its colours from the page; the same bytes for the same figures."""
    highest = max(1.15 * max(ratio for _, ratio, _ in chart.others), 1.3)

    def at(years: float, energy: float) -> tuple[str, str]:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * years / chart.years
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * energy / highest
        return f"{x:.1f}", f"{y:.1f}"

    parts = []
    for tick in range(int(highest) + 1):
        (left, y), (right, _) = at(0, tick), at(chart.years, tick)
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="var(--grid)"/>')
        parts.append(_text(_LEFT - 8, y, f"{tick}\u00d7", anchor="end", middle=True))
    named_at = float(_HEIGHT)
    for number, (name, ratio, years) in enumerate(chart.others, start=2):
        (left, y), (right, _), colour = at(0, ratio), at(chart.years, ratio), f"var(--kind{(number - 1) % 6 + 1})"
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="{colour}" stroke-dasharray="5 4"/>')
        if named_at - float(y) > _APART:
            named_at = float(y)
            parts.append(_text(_LEFT + 6, named_at - 6, name, fill=colour))
        x, _ = at(years, ratio)
        parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="var(--paper)" stroke="{colour}" stroke-width="2"/>')
    curve = []
    for step in range(_STEPS + 1):
        years = chart.years * step / _STEPS
        energy = (1 + chart.growth) ** years
        if energy <= highest:
            curve.append(" ".join(at(years, energy)))
    parts.append(f'<path d="M{" L".join(curve)}" fill="none" stroke="var(--kind1)" stroke-width="2"/>')
    for year in range(0, int(chart.years) + 1, max(1, round(chart.years / 6))):
        x, y = at(year, 0)
        parts.append(_text(float(x), float(y) + 18, str(year), anchor="middle"))
    below = f"years, {chart.label} used {_percent(chart)} more each"
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 6, below, anchor="end"))
    parts.append(_text(_LEFT - 44, 14, f"Energy a year, in what {chart.label} takes in the first"))
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" font-size="12">{"".join(parts)}</svg>'


def _text(
    x: float, y: float | str, text: str, *, anchor: str = "start", fill: str = "var(--muted)", middle: bool = False
) -> str:
    place = f'x="{x:.1f}" y="{float(y):.1f}"' + (' dominant-baseline="middle"' if middle else "")
    return f'<text {place} text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'


def _percent(chart: Chart) -> str:
    return f"{100 * chart.growth:.3g} %"
