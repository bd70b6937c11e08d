"""Small tables below a view's own: quality by difficulty, a task's further metrics, what a model chose to compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from .rows import Row
from .views import View
from .wording import MISSING, fixed, number, safe, share

__all__ = ["Aside", "asides", "by_difficulty", "choosers", "chosen", "other_metrics"]

_WORDS = {
    "made_up": "answered although the key was absent",
    "over_refusal": "refused although the key was there",
}


@dataclass(frozen=True, kw_only=True)
class Aside:
    """A table of text, one line a row of the view, in the view's order.

    Attributes:
        title: What it shows, a few words.
        note: How to read it, a sentence; may be empty.
        heads: Of the columns after the model's.
        lines: The model's label, and a text for each of ``heads``.
    """

    title: str
    note: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, tuple[str, ...]], ...]


def asides(view: View) -> list[Aside]:
    """What a view has besides its table: by difficulty, and further metrics."""
    return [aside for aside in (by_difficulty(view), other_metrics(view)) if aside]


def by_difficulty(view: View) -> Aside | None:
    """Points of quality by level; None where no row has levels."""
    levels = sorted({level for row in view.rows for level in row.levels}, key=int)
    if not levels:
        return None
    return Aside(
        title="By difficulty",
        note=f"Quality in points, level {levels[0]} the easiest, {_items(view.rows)} a level; the intervals are in "
        "--json and results.json.",
        heads=tuple(f"Level {level}" for level in levels),
        lines=_lines(view, [partial(_points, level) for level in levels]),
    )


def other_metrics(view: View) -> Aside | None:
    """A task's further metrics, as percentages where they are shares; None where it has none."""
    names = sorted({name for row in view.rows for name in row.other_metrics})
    if not names:
        return None
    return Aside(
        title="Further metrics",
        note="",
        heads=tuple(_in_words(name) for name in names),
        lines=_lines(view, [_metric(view, name) for name in names]),
    )


def chosen(view: View) -> Aside | None:
    """What models that choose how much they compute chose; None where none chooses."""
    columns: list[tuple[str, Callable[[Row], str]]] = []
    if any(row.layers_per_token is not None for row in view.rows):
        columns.append(("Layers per generated token", lambda row: fixed(row.layers_per_token, 2)))
    if any(row.escalated is not None for row in view.rows):
        columns.append(("Asked the larger model", lambda row: share(row.escalated)))
    if not columns:
        return None
    heads, writers = zip(*columns, strict=True)
    return Aside(title="What models chose to compute", note="", heads=heads, lines=_lines(view, writers))


def choosers(view: View) -> Aside | None:
    """The same, without the models that compute everything."""
    aside = chosen(view)
    return aside and replace(aside, lines=tuple(line for line in aside.lines if set(line[1]) != {MISSING}))


def _lines(view: View, writers: Sequence[Callable[[Row], str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((safe(row.label), tuple(write(row) for write in writers)) for row in view.rows)


def _points(level: str, row: Row) -> str:
    return fixed(row.levels.get(level, {}).get("quality"))


def _items(rows: Sequence[Row]) -> str:
    """How many items a level has, or between which numbers."""
    counts = sorted({int(own["items"] or 0) for row in rows for own in row.levels.values()})
    many = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    return f"{many} item" if many == "1" else f"{many} items"


def _metric(view: View, name: str) -> Callable[[Row], str]:
    """How the values of a metric are written: all alike, since 0.8 of a metric up to 100 is no share."""
    values = [row.other_metrics[name] for row in view.rows if name in row.other_metrics]
    write = share if all(0 <= value <= 1 for value in values) else number
    return lambda row: write(row.other_metrics.get(name))


def _in_words(name: str) -> str:
    words = safe(_WORDS.get(name, name.replace("_", " ")))
    return words[:1].upper() + words[1:]
