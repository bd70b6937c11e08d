"""Does more computing help? Quality against what an answer computes: tokens, layers, questions passed on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .ground import log_range
from .rows import Row
from .scatter import MOST_POINTS, Axis, Picture, Plot, Point, picture
from .views import View
from .wording import number, safe

__all__ = ["quality_against_computing", "too_alike"]

_CAP = "max_gen_toks"
_ALIKE = 1.2
"""Where the most is so many times the least or fewer, there is nothing to see."""


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
        points.append(Point(row=row, x=x, y=row.quality or 0.0, across=None, up=up, name=name))
    lows = [min(point.y, *(point.up or ())) for point in points]
    told = [f"{safe(p.name)}: {number(p.y)} points at {number(p.x)} {effort.words}" for p in points]
    threads = _threads(points, capped=len(together) > 1)
    if len(together) > 1:
        for i in (i for thread in threads for i in thread[:-1]):
            points[i] = replace(points[i], name=_cap_in_words(points[i].row))
    plot = Plot(
        view=view,
        x=Axis(
            name=f"{effort.axis} (log scale)",
            short=f"{effort.axis} (log)",
            ends=log_range([(x, x) for x in spent], [True] * len(spent)),
        ),
        y=Axis(
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
    return picture(effort.title, plot, caption, told, len(rows))


def _cap_in_words(row: Row) -> str:
    cap = row.setting.get(_CAP)
    return "no cap" if cap is None else f"\u2264{cap}"


def _threads(points: Sequence[Point], *, capped: bool) -> tuple[tuple[int, ...], ...]:
    """For each model with several points these, the least computing first; by its other settings where caps differ."""
    own: dict[Any, list[int]] = {}
    for i, point in enumerate(points):
        rest = {key: value for key, value in point.row.setting.items() if key != _CAP} if capped else None
        own.setdefault((point.row.run_id, point.row.model, json.dumps(rest, sort_keys=True)), []).append(i)
    threads = (tuple(sorted(thread, key=lambda i: points[i].x)) for thread in own.values())
    return tuple(thread for thread in threads if len(thread) > 1)
