"""The frontier picture: quality against energy, with intervals, for one view.

Byte-identical on a rerun: no dates, a fixed hash salt, fonts that come with matplotlib. On the page
the picture takes its colours from CSS variables, so that one drawing serves light and dark.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .findings import finding, headline
from .ground import draw_axes, draw_curves, draw_floor, energy_range
from .marks import MOST_BARS, draw_legend, draw_names, draw_points, draw_steps
from .names import legend
from .rows import Row
from .scene import INK, MUTED, PAPER, VARIABLES, Layout, Scene
from .views import ALL, View
from .wording import Unit, energy_unit, number, reach, safe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["alt_text", "caption", "has_points", "page_svg", "picture", "saved", "style", "wrapped"]

_FILE = Layout(width=9.0, height=5.9, font=10.5, left=0.8, right=0.3, top=1.12, bottom=1.12)
_WIDE = Layout(width=8.6, height=4.7, font=10.5, left=0.72, right=0.2, top=0.54, bottom=0.62)
_NARROW = Layout(width=4.0, height=4.65, font=10.5, left=0.62, right=0.14, top=0.89, bottom=0.62, small=True)
_MOST_IN_WORDS = 25
_EDGE, _TITLE, _SUBTITLE, _NOTE = 0.16, 14.5, 10.0, 8.3
_MOST_LINES = 3
_NOTHING = "No entrant has both quality and energy."
_DPI = 160


def picture(view: View, form: str) -> bytes:
    """The picture as a file that stands alone, ``png`` or ``svg``, with its title and footnote."""
    with style("path"):
        figure = _draw(view, _FILE, titled=True)
        metadata: dict[str, Any] = {"Software": None} if form == "png" else {"Date": None, "Creator": "joulemark"}
        return saved(figure, form, metadata)


def page_svg(view: View, *, narrow: bool = False, prefix: str = "p") -> str:
    """The picture for a page: an SVG element with CSS variables for colours, and no title of its own.

    Args:
        view: What to draw.
        narrow: For a telephone.
        prefix: Put before all ids, so that several pictures may stand on one page.
    """
    with style("none"):
        figure = _draw(view, _NARROW if narrow else _WIDE, titled=False)
        text = saved(figure, "svg", {"Date": None, "Creator": None, "Format": None, "Type": None}).decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<style type=.*?</style>", "", text, flags=re.DOTALL)
    head, rest = text.split(">", 1)
    head = re.sub(r' (?:width|height)="[^"]*"', "", head) + ' stroke-linejoin="round"'
    rest = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", rest)
    rest = re.sub(r"font-family: [^;\"]*;? ?", "", rest)
    for colour, variable in VARIABLES.items():
        rest = rest.replace(colour, f"var({variable})")
    return f"{head}>{rest}"


def has_points(view: View) -> bool:
    """Whether anything is in the picture but its axes."""
    return bool(_drawn(view))


def alt_text(view: View) -> str:
    """The picture in words, for those who cannot see it."""
    rows = _drawn(view)
    if not rows:
        return _NOTHING
    unit = energy_unit(row.energy_wh_per_1k for row in rows)
    first = sorted(rows, key=lambda row: row.energy_wh_per_1k or 0.0)[:_MOST_IN_WORDS]
    parts = [_in_words(row, unit) for row in first]
    more = f"; and {len(rows) - _MOST_IN_WORDS} more" if len(rows) > _MOST_IN_WORDS else ""
    return f"Quality against energy per 1,000 answers on a log scale. {'; '.join(parts)}{more}."


def _in_words(row: Row, unit: Unit) -> str:
    energy = f"{number((row.energy_wh_per_1k or 0.0) * unit.factor)} {unit.name}"
    return f"{safe(row.label)}: {number(row.quality)} points at {energy}" + (
        f", {row.frontier}" if row.frontier else ""
    )


def _drawn(view: View) -> tuple[Row, ...]:
    return tuple(row for row in view.rows if row.quality is not None and row.energy_wh_per_1k is not None)


def caption(view: View) -> str:
    """What is drawn in the picture on a page, and nothing that is not."""
    rows = _drawn(view)
    if not rows:
        return _NOTHING
    told = {
        "Quality against energy, with 95\u00a0% intervals for comparing points.": len(rows) <= MOST_BARS,
        f"Quality against energy of {len(rows):,} entrants, with 95\u00a0% intervals for comparing those on the "
        "frontier.": len(rows) > MOST_BARS,
        "The line joins the best found; a point in the shaded part would move the frontier.": _has_frontier(view),
        "Dotted curves join equal right answers beyond guessing per watt-hour.": True,
        "Hollow points: modelled energy.": any(row.grade == "modelled" for row in rows),
        "Bold: first, or tied with the first.": any(row.tied_with_first for row in rows),
        f"{legend(view.rows)}.": bool(legend(view.rows)),
    }
    return " ".join(sentence for sentence, holds in told.items() if holds)


def _has_frontier(view: View) -> bool:
    """Whether the picture has the line through the best, and the shade above it."""
    return not view.mixed and any(row.frontier is not None for row in _drawn(view))


def style(fonttype: str) -> Any:
    """The look of all pictures; letters as paths, or as text that the page sets."""
    import matplotlib as mpl

    usual = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")}
    own = {
        "svg.hashsalt": "joulemark",
        "svg.fonttype": fonttype,
        "font.family": "DejaVu Sans",
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.linewidth": 0.8,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
    }
    settings: dict[Any, Any] = {**usual, **own}
    return mpl.rc_context(settings)


def saved(figure: Figure, form: str, metadata: dict[str, Any]) -> bytes:
    """The figure as a file's bytes, the same every time."""
    out = io.BytesIO()
    figure.savefig(out, format=form, dpi=_DPI, metadata=metadata)
    return out.getvalue()


def _draw(view: View, layout: Layout, *, titled: bool) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    words: list[tuple[str, dict[str, Any]]] = []
    if titled:
        layout, words = _words(view, layout)
    figure = Figure(figsize=(layout.width, layout.height), facecolor=PAPER)
    FigureCanvasAgg(figure)
    across, up = layout.width - layout.left - layout.right, layout.height - layout.top - layout.bottom
    box = (layout.left / layout.width, layout.bottom / layout.height, across / layout.width, up / layout.height)
    axes = figure.add_axes(box, facecolor="none")
    rows = _drawn(view)
    unit = energy_unit(row.energy_wh_per_1k for row in rows)
    reach = energy_range(rows, unit)
    x = np.clip([(row.energy_wh_per_1k or math.nan) * unit.factor for row in rows], *reach)
    y = np.array([row.quality if row.quality is not None else math.nan for row in rows])
    scene = Scene(axes, view, rows, x, y, reach, unit, layout)
    draw_axes(scene)
    if rows:
        curves = draw_curves(scene)
        blocked = draw_floor(scene)
        draw_steps(scene)
        draw_points(scene)
        blocked += draw_legend(scene)
        draw_names(scene, blocked, curves)
    else:
        axes.set_xticks([])
        axes.set_xticks([], minor=True)
        axes.text(0.5, 0.5, _NOTHING, transform=axes.transAxes, ha="center", color=MUTED, fontsize=layout.font)
    for text, style in words:
        figure.text(_EDGE / layout.width, style.pop("y"), text, parse_math=False, **style)
    return figure


def _words(view: View, layout: Layout) -> tuple[Layout, list[tuple[str, dict[str, Any]]]]:
    """Title, subtitle and footnote of a picture that stands alone, wrapped to its width; and room for them all."""
    task = f"all {len(view.tasks)} tasks" if view.task == ALL and len(view.tasks) > 1 else safe(view.tasks[0])
    below = " | ".join(filter(None, [f"{task} on {safe(view.hardware)}", safe(view.peculiar)]))
    width = layout.width - 2 * _EDGE
    title = wrapped(headline(view), _TITLE, "bold", width)[:_MOST_LINES]
    subtitle = wrapped(below, _SUBTITLE, "normal", width)[:1]
    note = wrapped(_footnote(view), _NOTE, "normal", width)
    more = 0.26 * (len(title) - 1)
    under = 0.17 * max(0, len(note) - 2)
    layout = replace(layout, height=layout.height + more + under, top=layout.top + more, bottom=layout.bottom + under)
    high = layout.height
    return layout, [
        ("\n".join(title), {"y": 1 - 0.22 / high, "fontsize": _TITLE, "fontweight": "bold", "va": "top", "color": INK}),
        ("\n".join(subtitle), {"y": 1 - (0.54 + more) / high, "fontsize": _SUBTITLE, "va": "top", "color": MUTED}),
        ("\n".join(note), {"y": 0.09 / high, "fontsize": _NOTE, "va": "bottom", "color": MUTED, "linespacing": 1.45}),
    ]


def wrapped(text: str, size: float, weight: str, width: float) -> list[str]:
    """The text in lines no wider than ``width`` inches, as its font measures; a word that is wider is cut."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    renderer: Any = cast(Any, RendererAgg)(10, 10, float(_DPI))
    font = FontProperties(size=size, weight=weight)

    def fits(line: str) -> bool:
        return bool(renderer.get_text_width_height_descent(line, font, ismath=False)[0] <= 0.98 * _DPI * width)

    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if fits(joined):
            lines[-1] = joined
            continue
        while not fits(word):
            word = word.rstrip("\u2026")[:-1] + "\u2026"
        lines = [*lines, word] if lines[-1] else [word]
    return lines


def _footnote(view: View) -> str:
    repeats = max((row.repeats for row in view.rows), default=0)
    bars = f"energy over {repeats} repeats" if repeats > 1 else "energy has none (one repeat: no interval)"
    rel_u = max((row.rel_u or 0.0 for row in view.rows), default=0.0)
    modelled = f"modelled from {view.modelled_by}, not measured joules"
    grade = modelled if view.modelled_by else (view.grade or "none")
    error = f"the true value lies within {reach(rel_u)} (95 %), which is not in the bars"
    crowd = " (on the frontier only)" if len(_drawn(view)) > MOST_BARS else ""
    parts = [
        f"Bars{crowd}: 95 % intervals for comparing points; quality over items, {bars}.",
        f"Energy: {grade}; {error}.",
        "Right answers are counted beyond guessing.",
    ]
    if not _drawn(view):
        return finding(view)
    parts += ["A point in the shaded part would move the frontier."] if _has_frontier(view) else []
    return " ".join(parts + [f"{short}." for short in [legend(view.rows)] if short])
