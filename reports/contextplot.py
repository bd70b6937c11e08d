"""The small chart of growing use: when a saving is used up."""

from __future__ import annotations

from .chart import Scale, line, mark, path, text
from .context import Chart
from .labels import Box, place_letters
from .wording import fixed, number

__all__ = ["chart_alt", "chart_caption", "chart_legend", "chart_svg"]

_WIDTH, _HEIGHT = 640, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 624, 14, 236
_STEPS = 48
_APART = 25
"""How far ticks stand from one another at least."""
_DASHES = ("6 4", "2 4", "12 4", "12 4 2 4", "8 3 2 3 2 3")
"""Five, and six colours: thirty lines look different."""
_LETTER = (15.0, 17.0)


def chart_alt(chart: Chart) -> str:
    """The chart in words."""
    met = "; ".join(f"{other.name} after {fixed(other.years)} years" for other in chart.others)
    more = f"; and {chart.left_out:,} more" if chart.left_out else ""
    return f"Yearly energy of {chart.label}, whose use grows by {_percent(chart)} a year, reaches that of {met}{more}."


def chart_caption(chart: Chart) -> str:
    """What is drawn, for below it."""
    words = (
        f"{chart_alt(chart)} Upwards: energy a year, in what {chart.label} takes in the first. "
        f"To the right: years, {_percent(chart)} more use in each."
    )
    if chart.factor and any(other.ratio < chart.factor for other in chart.others):
        words += f" Lines below {number(chart.factor, 2)}\u00d7 may be the power model's: it may be off by as much."
    return words


def chart_legend(chart: Chart) -> list[tuple[str, str]]:
    """What its lines are, the highest first: a small SVG and words each."""
    lines = [
        (_swatch(*_look(place)), f"{other.letter} {other.name}".strip()) for place, other in enumerate(chart.others)
    ]
    return [*reversed(lines), (_swatch("var(--kind1)", ""), f"{chart.label}, growing")]


def chart_svg(chart: Chart) -> str:
    """An SVG that takes its colours and its font's size from the page; the same bytes for the same figures."""
    highest = max(1.15 * max(other.ratio for other in chart.others), 1.3)
    x = Scale(low=0, high=chart.years, start=_LEFT, end=_RIGHT, log=False)
    y = Scale(low=0, high=highest, start=_BOTTOM, end=_TOP, log=False)
    ticks = [tick for tick in y.ticks(_APART) if tick == round(tick)]
    parts = [path([((x.start, y.at(tick)), (x.end, y.at(tick))) for tick in ticks], "var(--grid)", 1)]
    parts += [text(_LEFT - 8, y.at(tick), f"{tick:,.0f}\u00d7", anchor="end", middle=True) for tick in ticks]
    spots = [(x.at(other.years), y.at(other.ratio)) for other in chart.others]
    for place, spot in enumerate(spots):
        tint, dashes = _look(place)
        parts.append(line((x.start, x.end), (spot[1], spot[1]), tint, dashes))
        parts.append(mark(*spot, "o", tint, size=4, hollow=True))
    taken = [Box(cx - 6, cy - 6, cx + 6, cy + 6) for cx, cy in spots]
    frame = Box(_LEFT + 2, 0, _WIDTH, _BOTTOM - 2)
    for other, box in zip(chart.others, place_letters(spots, _LETTER, frame, taken), strict=True):
        if box and other.letter:
            at = (box.left + box.right) / 2, (box.bottom + box.top) / 2
            parts.append(text(*at, other.letter, anchor="middle", middle=True, fill="var(--ink)"))
    moments = [chart.years * step / _STEPS for step in range(_STEPS + 1)]
    curve = [(years, (1 + chart.growth) ** years) for years in moments]
    reached = [(x.at(years), y.at(energy)) for years, energy in curve if energy <= highest]
    parts.append(path([reached], "var(--kind1)", 2))
    for year in range(0, int(chart.years) + 1, max(1, round(chart.years / 6))):
        parts.append(text(x.at(year), _BOTTOM + 24, str(year), anchor="middle"))
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg>'


def _look(place: int) -> tuple[str, str]:
    """Colour and dashes of a line; the colour of the growing one comes last."""
    return f"var(--kind{(place + 1) % 6 + 1})", f' stroke-dasharray="{_DASHES[place % len(_DASHES)]}"'


def _swatch(tint: str, dashes: str) -> str:
    return f'<svg viewBox="0 0 34 16" aria-hidden="true">{path([((0, 8), (34, 8))], tint, 2, dashes)}</svg>'


def _percent(chart: Chart) -> str:
    return f"{100 * chart.growth:.3g} %"
