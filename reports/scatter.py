"""Pictures of two figures of each entrant: quality against what it computes, latency against energy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from .chart import Scale, axes, colour, legend, line, mark, path, text
from .ground import log_range
from .labels import Box, Spot, place_labels
from .names import cut_apart
from .names import legend as abbreviations
from .rows import Row
from .scene import energy_ends, kinds
from .views import View
from .wording import energy_unit, number, safe

__all__ = ["Picture", "latency_against_energy", "quality_against_computing", "too_alike"]

MOST_POINTS = 100
_MOST_NAMES, _MOST_IN_WORDS = 25, 25
_LONGEST_NAME = 30
_CAP = "max_gen_toks"
_LETTER, _BOLD = 0.64, 0.72
"""Width of a letter in sizes of the font: fonts differ, and few are wider."""
_ALIKE = 1.2
"""Where the most is so many times the least or fewer, there is nothing to see."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture for a page, in a form for a wide and one for a narrow window.

    Attributes:
        title: Its heading.
        caption: What is drawn.
        alt: The same in words, with the figures.
        legend: What its marks stand for: a small SVG and words each.
        wide: An SVG.
        narrow: An SVG.
    """

    title: str
    caption: str
    alt: str
    legend: list[tuple[str, str]]
    wide: str
    narrow: str


@dataclass(frozen=True, kw_only=True)
class _Size:
    """Of a picture and its font, in the picture's units."""

    width: float
    height: float
    font: float
    left: float
    bottom: float


_WIDE = _Size(width=900, height=420, font=13, left=58, bottom=50)
_NARROW = _Size(width=328, height=340, font=11.5, left=48, bottom=46)


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """What one direction shows: a name for wide and narrow pictures, its ends, and whether it is a log scale."""

    name: str
    short: str
    ends: tuple[float, float]
    log: bool = True


@dataclass(frozen=True, kw_only=True)
class _Point:
    row: Row
    x: float
    y: float
    across: tuple[float, float] | None
    """Ends of its bar to the right, where it has one; and upwards."""
    up: tuple[float, float] | None
    name: str
    far: str = ""
    """Its figures, for a name beside the mark of what is off the axes."""


@dataclass(frozen=True, kw_only=True)
class _Plot:
    view: View
    x: _Axis
    y: _Axis
    points: list[_Point]
    threads: tuple[tuple[int, ...], ...] = ()
    """Points that a line joins."""


@dataclass(frozen=True, kw_only=True)
class _Effort:
    """One way to tell how much was computed for an answer."""

    of: Callable[[Row], float | None]
    title: str
    axis: str
    words: str
    note: str
    everyone: bool = False
    """Whether it compares models, rather than the settings of one."""


_EFFORTS = (
    _Effort(
        of=lambda row: row.generated_per_item or None,
        title="Quality against tokens spent",
        axis="Generated tokens an answer",
        words="tokens an answer",
        note="Tokens that were generated for an answer, mean over all; those of a larger model that was asked as well "
        "count. They are not of one price: a larger model's take more energy.",
        everyone=True,
    ),
    _Effort(
        of=lambda row: row.layers_per_token,
        title="Quality against layers computed",
        axis="Layers per generated token",
        words="layers a token",
        note="Layers that were computed for a generated token, mean over all, of models that stop early where they "
        "are sure.",
    ),
    _Effort(
        of=lambda row: row.escalated or None,
        title="Quality against questions passed on",
        axis="Share of questions asked of the larger model",
        words="of the questions passed on",
        note="The share of the questions that a small model passed on to a larger one.",
    ),
)


def quality_against_computing(view: View, views: Sequence[View]) -> list[Picture]:
    """Does more computing help? A picture for each way to tell it in which entrants differ enough.

    Args:
        view: Over all tasks.
        views: Those that differ from it in the cap on tokens alone are drawn with it, with the first of them.
    """
    alike = [other for other in views if _but_for_the_cap(other) == _but_for_the_cap(view)]
    return [picture for effort in _EFFORTS if (picture := _of_effort(view, alike, effort))]


def too_alike(view: View, views: Sequence[View]) -> str:
    """A sentence where all entrants generate about as many tokens, so that there is no picture; empty elsewhere."""
    alike = [other for other in views if _but_for_the_cap(other) == _but_for_the_cap(view)]
    told = [_EFFORTS[0].of(row) or 0.0 for other in alike for row in _candidates(other, _EFFORTS[0])]
    tokens = sorted(told) if alike[:1] == [view] else []
    if len(tokens) < 2 or tokens[-1] > _ALIKE * tokens[0]:
        return ""
    low, high = number(tokens[0]), number(tokens[-1])
    return (
        "Does more computing help? That cannot be seen from tokens here: all that is judged generates about as many "
        f"an answer ({low if low == high else f'{low} to {high}'})."
    )


def latency_against_energy(view: View) -> Picture | None:
    """Seconds of a request against energy, both on log scales; None where fewer than two rows have both."""
    rows = [row for row in view.rows if row.latency_s_p50 and row.energy_wh_per_1k]
    drawn = rows[:MOST_POINTS]
    if len(drawn) < 2:
        return None
    unit = energy_unit(row.energy_wh_per_1k for row in drawn)
    middle = sorted(row.latency_s_p50 or 0.0 for row in drawn)[len(drawn) // 2]
    shortest = ("\u00b5s", 1e6)
    time, factor = next((pair for pair in (("s", 1.0), ("ms", 1e3)) if middle * pair[1] >= 0.5), shortest)
    points = []
    for row in drawn:
        energy, latency = (row.energy_wh_per_1k or 0.0) * unit.factor, (row.latency_s_p50 or 0.0) * factor
        slow = (row.latency_s_p95 or 0.0) * factor
        whisker = (latency, slow) if slow > latency else None
        words = f"at {number(energy)} {unit.name}, {number(latency)} {time}"
        across_ends = energy_ends(row, unit)
        points.append(
            _Point(row=row, x=energy, y=latency, across=across_ends, up=whisker, name=row.short_label, far=words)
        )
    ranked = [point.row.rank is not None for point in points]
    across = _Axis(
        name=f"Energy per 1,000 answers ({unit.name}, log scale), less is better",
        short=f"{unit.name} per 1,000 answers (log)",
        ends=log_range([point.across or (point.x, point.x) for point in points], ranked),
    )
    up = _Axis(
        name=f"A request ({time}, log scale), less is better",
        short=f"A request ({time}, log)",
        ends=log_range([point.up or (point.y, point.y) for point in points], ranked),
    )
    many = len(view.tasks) > 1
    caption = [
        "Points: the middle request; the line goes up to what one in twenty exceeds."
        + (" Both are means over the tasks." if many else ""),
        "A request that is answered in a batch takes as long as its batch.",
        "Horizontal lines: 95\u00a0% intervals of energy, for comparing." if any(p.across for p in points) else "",
        "" if view.mixed else "Marks tell the place on the frontier of quality and energy.",
    ]
    told = [f"{safe(p.row.label)}: {number(p.y)} {time} at {number(p.x)} {unit.name}" for p in points]
    plot = _Plot(view=view, x=across, y=up, points=points)
    return _picture("Latency against energy", plot, caption, told, len(rows))


def _candidates(view: View, effort: _Effort) -> list[Row]:
    """The rows that a picture of such an effort may show."""
    rows = [row for row in view.rows if row.quality is not None and effort.of(row)]
    if effort.everyone:
        return [row for row in rows if row.frontier is not None or view.mixed]
    return [row for row in rows if sum(other.model == row.model for other in rows) > 1]


def _but_for_the_cap(view: View) -> tuple[Any, ...]:
    """What a view is of, but for how many tokens an answer may have."""
    asked = [(task, json.loads(question) if question else None) for task, question in sorted(view.asked.items())]
    rest = [(task, q and (q[0], {k: v for k, v in json.loads(q[1]).items() if k != _CAP})) for task, q in asked]
    return view.task, view.tasks, view.hardware, view.scope, view.grade, rest


def _of_effort(view: View, alike: Sequence[View], effort: _Effort) -> Picture | None:
    together = alike if effort.everyone else [view]
    rows = [row for other in together for row in _candidates(other, effort)]
    if together[0] is not view:
        return None
    spent = [effort.of(row) or 0.0 for row in rows]
    if len(rows) < 2 or max(spent) <= _ALIKE * min(spent):
        return None
    points = []
    for row, x in list(zip(rows, spent, strict=True))[:MOST_POINTS]:
        known = row.quality_low is not None and row.quality_high is not None
        up = (row.quality_low or 0.0, row.quality_high or 0.0) if known else None
        name = row.short_label if len(together) == 1 else f"{row.short_label} {_cap_in_words(row)}"
        points.append(_Point(row=row, x=x, y=row.quality or 0.0, across=None, up=up, name=name))
    lows = [min(point.y, *(point.up or ())) for point in points]
    told = [f"{safe(p.name)}: {number(p.y)} points at {number(p.x)} {effort.words}" for p in points]
    threads = _threads(points, capped=len(together) > 1)
    if len(together) > 1:
        for i in (i for thread in threads for i in thread[:-1]):
            points[i] = replace(points[i], name=_cap_in_words(points[i].row))
    plot = _Plot(
        view=view,
        x=_Axis(
            name=f"{effort.axis} (log scale)",
            short=f"{effort.axis} (log)",
            ends=log_range([(x, x) for x in spent], [True] * len(spent)),
        ),
        y=_Axis(
            name="Quality (points), more is better",
            short="Quality (points)",
            ends=(10 * math.floor(min(0.0, *lows) / 10), 104.0),
            log=False,
        ),
        points=points,
        threads=threads,
    )
    caption = [effort.note, "Lines join the settings of one model." if plot.threads else ""]
    if len(together) > 1:
        caption.append("\u2264: the most tokens that an answer may have; each is a table of its own, with its ranks.")
    caption.append("Vertical lines: 95\u00a0% intervals." if any(point.up for point in points) else "")
    return _picture(effort.title, plot, caption, told, len(rows))


def _picture(title: str, plot: _Plot, caption: list[str], told: list[str], count: int) -> Picture:
    rows = [point.row for point in plot.points]
    if count > len(rows):
        caption.append(f"Drawn are the first {len(rows)} of {count:,} entrants.")
    if short := abbreviations(rows):
        caption.append(f"{short}.")
    more = [f"and {count - _MOST_IN_WORDS:,} more"] if count > _MOST_IN_WORDS else []
    return Picture(
        title=title,
        caption=" ".join(filter(None, caption)),
        alt=f"{title}. {'; '.join(told[:_MOST_IN_WORDS] + more)}.",
        legend=legend(rows, mixed=plot.view.mixed),
        wide=_draw(plot, _WIDE),
        narrow=_draw(plot, _NARROW),
    )


def _draw(plot: _Plot, size: _Size) -> str:
    x = Scale(low=plot.x.ends[0], high=plot.x.ends[1], start=size.left, end=size.width - 8, log=plot.x.log)
    y = Scale(low=plot.y.ends[0], high=plot.y.ends[1], start=size.height - size.bottom, end=22, log=plot.y.log)
    small, middle = size is _NARROW, (x.start + x.end) / 2
    parts = axes(x, y, apart=(3.4 * size.font, 2.6 * size.font), drop=size.font + 6)
    across, up = (plot.x.short, plot.y.short) if small else (plot.x.name, plot.y.name)
    parts.append(text(middle, size.height - 6, across, anchor="middle", fill="var(--ink)"))
    parts.append(text(0, size.font - 1, up, fill="var(--ink)"))
    spots = [(x.at(point.x), y.at(point.y)) for point in plot.points]
    parts.append(path([[spots[i] for i in thread] for thread in plot.threads], "var(--muted)", 1.2))
    obstacles = []
    for point, look, (px, py) in zip(
        plot.points, kinds([point.row for point in plot.points], mixed=plot.view.mixed), spots, strict=True
    ):
        tint, shape = colour(look[0]), look[1]
        edge = {-1: "<", 1: ">"}.get(x.beyond(point.x)) or {-1: "v", 1: "^"}.get(y.beyond(point.y)) or ""
        obstacles.append(Box(px - 7, py - 7, px + 7, py + 7))
        if point.across and not edge:
            ends = x.at(point.across[0]), x.at(point.across[1])
            parts.append(line(ends, (py, py), tint, ' stroke-width="1.3"'))
            obstacles.append(Box(ends[0], py - 2, ends[1], py + 2))
        if point.up and not edge:
            ends = y.at(point.up[0]), y.at(point.up[1])
            parts.append(line((px, px), ends, tint, ' stroke-width="1.3"'))
            obstacles.append(Box(px - 2, min(ends), px + 2, max(ends)))
        parts.append(mark(px, py, edge or shape, tint, size=4.6, hollow=point.row.grade == "modelled"))
    frame = Box(x.start + 2, y.end, x.end + 6, y.start - 3)
    far = [bool(x.beyond(point.x) or y.beyond(point.y)) for point in plot.points]
    parts += _names(plot, far, spots, obstacles, frame, size)
    return f'<svg viewBox="0 0 {size.width:g} {size.height:g}" font-size="{size.font:g}">{"".join(parts)}</svg>'


def _cap_in_words(row: Row) -> str:
    cap = row.setting.get(_CAP)
    return "no cap" if cap is None else f"\u2264{cap}"


def _threads(points: Sequence[_Point], *, capped: bool) -> tuple[tuple[int, ...], ...]:
    """For each model with several points these, the least computing first; by its other settings where caps differ."""
    own: dict[Any, list[int]] = {}
    for i, point in enumerate(points):
        rest = {key: value for key, value in point.row.setting.items() if key != _CAP} if capped else None
        own.setdefault((point.row.run_id, point.row.model, json.dumps(rest, sort_keys=True)), []).append(i)
    threads = (tuple(sorted(thread, key=lambda i: points[i].x)) for thread in own.values())
    return tuple(thread for thread in threads if len(thread) > 1)


def _names(
    plot: _Plot,
    far: Sequence[bool],
    spots: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    frame: Box,
    size: _Size,
) -> list[str]:
    """Names beside points, never over one another; of very many rows only those on the frontier."""
    order = list(range(len(spots)))
    if len(order) > _MOST_NAMES:
        order = [i for i in order if far[i] or plot.points[i].row.frontier == "on"][:_MOST_NAMES]
    different = list(dict.fromkeys(point.name for point in plot.points))
    cut = dict(zip(different, cut_apart(different, _LONGEST_NAME), strict=True))
    short = [cut[point.name] for point in plot.points]
    words = [[short[i], plot.points[i].far] if far[i] and plot.points[i].far else [short[i]] for i in order]
    high = 1.15 * size.font
    letters = [size.font * (_BOLD if plot.points[i].row.tied_with_first else _LETTER) for i in order]
    sizes = [
        (letter * max(map(len, lines)) + 2, high * len(lines)) for letter, lines in zip(letters, words, strict=True)
    ]
    # Boxes count upwards, the picture downwards.
    flipped = [Box(o.left, size.height - o.top, o.right, size.height - o.bottom) for o in (*obstacles, frame)]
    points = [(spots[i][0], size.height - spots[i][1]) for i in order]
    placed = place_labels(points, sizes, flipped[-1], flipped[:-1], _along(plot.threads, spots, size))
    return [
        drawn
        for i, lines, spot in zip(order, words, placed, strict=True)
        if spot
        for drawn in _name(plot.points[i].row, lines, spot, size, plot.view.mixed)
    ]


def _along(threads: Sequence[Sequence[int]], spots: Sequence[tuple[float, float]], size: _Size) -> list[Box]:
    """Small boxes along the lines that join points, which names had better not cross; counted upwards."""
    boxes = []
    for i, j in (pair for thread in threads for pair in pairwise(thread)):
        (x, y), (to_x, to_y) = spots[i], spots[j]
        for share in (n / 24 for n in range(1, 24)):
            px, py = x + share * (to_x - x), size.height - y - share * (to_y - y)
            boxes.append(Box(px - 2, py - 2, px + 2, py + 2))
    return boxes


def _name(row: Row, lines: Sequence[str], spot: Spot, size: _Size, mixed: bool) -> list[str]:
    """The lines of a name, and the line that leads there where it is far off its point."""
    (x, y), (to_x, to_y) = spot.line
    left, middle = spot.box.left > x, (spot.box.left + spot.box.right) / 2
    anchor, at = ("start", spot.box.left + 1) if left else ("end", spot.box.right - 1)
    if spot.box.left < x < spot.box.right:
        anchor, at = "middle", middle
    ink = "var(--muted)" if row.rank is None and not mixed else "var(--ink)"
    high = (spot.box.top - spot.box.bottom) / len(lines)
    drawn = [
        text(at, size.height - spot.box.top + high * (n + 0.8), words, anchor=anchor, fill=ink,
             bold=bool(row.tied_with_first))
        for n, words in enumerate(lines)
    ]  # fmt: skip
    if spot.led:
        drawn.append(line((x, to_x), (size.height - y, size.height - to_y), "var(--muted)", ' stroke-width="0.7"'))
    return drawn
