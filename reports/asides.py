"""Small tables below a view's own: quality by difficulty, further metrics, phases, pace, what models chose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from .names import all_of, together
from .rows import Row
from .views import View
from .wording import energy_unit, fixed, number, safe, share

__all__ = [
    "PHASES",
    "WHERE_NOTE",
    "Aside",
    "all_asides",
    "asides",
    "by_difficulty",
    "choosers",
    "chosen",
    "cut_off",
    "metric_in_words",
    "other_metrics",
    "pace",
    "phase_cells",
    "where_it_goes",
]

PHASES = {"prefill": "Prompts", "decode": "Further tokens", "other": "Around the model", "idle": "Idle"}
"""Of the gross energy, in time's order."""
WHERE_NOTE = (
    "Around the model: lm-eval's and Python's own work. Loading and warming up are outside, in the cells' phases."
)
_CHOICES = "What models chose to compute"
_MANY_CUT = 0.01
"""A smaller share of answers cut off is told in a clause."""

_WORDS = {
    "made_up": "answered although the key was absent",
    "over_refusal": "refused although the key was there",
    "energy_wh": "energy of it all, Wh",
}
_UNITS = ("_j", "_s", "_w", "_wh", "_kwh")
"""What names of metrics end with that are no shares."""


@dataclass(frozen=True, kw_only=True)
class Aside:
    """A table of text, in the view's order; rows of one model that say the same share a line.

    Attributes:
        title: What it shows, a few words.
        note: How to read it, a sentence; may be empty.
        heads: Of the columns after the model's.
        lines: Whom it is about, and a text for each of ``heads``.
    """

    title: str
    note: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, tuple[str, ...]], ...]


def asides(view: View) -> list[Aside]:
    """What says more of a view's quality: by difficulty, further metrics, answers cut off."""
    return [aside for aside in (by_difficulty(view), other_metrics(view), cut_off(view)) if aside]


def all_asides(view: View) -> list[Aside]:
    """These, where the energy goes, and of a single task how fast answers come; for a report."""
    more = (where_it_goes(view), pace(view) if len(view.tasks) == 1 else None)
    return asides(view) + [aside for aside in more if aside]


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
    names = sorted({name for row in view.rows for name in row.other_metrics} - {view.metric})
    if not names:
        return None
    telling = [row for row in view.rows if row.other_metrics.keys() & {*names}]
    return Aside(
        title="Further metrics",
        note="",
        heads=tuple(metric_in_words(name) for name in names),
        lines=_lines(view, [_metric(view, name) for name in names], telling),
    )


def cut_off(view: View) -> Aside | None:
    """How many answers the token cap cut off, and how good the others are; None where it cut off hardly any."""
    cut = [row for row in view.rows if (row.truncated or 0.0) >= _MANY_CUT]
    if not cut:
        return None
    columns: list[tuple[str, Callable[[Row], str]]] = [("Cut off", lambda row: share(row.truncated))]
    note = "A cut answer counts as it stands."
    if len(view.tasks) > 1 and all(row.accuracy_finished is None for row in cut):
        note += " Over the tasks that tell; their own tables have the accuracy of the rest."
    else:
        note += " The last column is the accuracy of those that came to their end."
        columns += [
            ("Accuracy of all", lambda row: fixed(row.accuracy, 3)),
            ("Of the rest", lambda row: fixed(row.accuracy_finished, 3)),
        ]
    if any(row.generated_per_item is not None for row in cut):
        columns.insert(0, ("Tokens an answer", lambda row: number(row.generated_per_item)))
    return Aside(
        title="Answers cut off by the token cap",
        note=note + _hardly_cut(view),
        heads=tuple(head for head, _ in columns),
        lines=_lines(view, [write for _, write in columns], cut),
    )


def _hardly_cut(view: View) -> str:
    """A sentence on the entrants of which hardly an answer was cut off, or of which that is not known."""
    few = [row for row in view.rows if row.truncated is not None and row.truncated < _MANY_CUT]
    unknown = [row for row in view.rows if row.truncated is None]
    most = max((row.truncated or 0.0 for row in few), default=0.0)
    how = f"at most {share(most)}" if most else "none"
    said = f" Of {together(few, view.rows)} {how}." if few else ""
    return said + (f" Of {together(unknown, view.rows)} it is not known." if unknown else "")


def where_it_goes(view: View) -> Aside | None:
    """Shares of the energy by phase; None where no row tells them."""
    if not any(row.phase_shares for row in view.rows):
        return None
    unit = energy_unit(_token_wh(row) for row in view.rows)
    return Aside(
        title="Where the energy goes",
        note=f"Shares of the gross energy, by the time of each part. {WHERE_NOTE}",
        heads=(*PHASES.values(), f"{unit.name} a generated token"),
        lines=_lines(view, _phase_writers(view)),
    )


def phase_cells(view: View, rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """What `where_it_goes` says of each of these rows."""
    writers = _phase_writers(view)
    return [tuple(write(row) for write in writers) for row in rows]


def _phase_writers(view: View) -> list[Callable[[Row], str]]:
    unit = energy_unit(_token_wh(row) for row in view.rows)
    return [*(partial(_phase, name) for name in PHASES), lambda row: number(_scaled(_token_wh(row), unit.factor))]


def pace(view: View) -> Aside | None:
    """How fast answers come; None where no row tells of requests."""
    columns: list[tuple[str, Callable[[Row], float | None]]] = [
        ("First token, ms", lambda row: _scaled(row.ttft_s_p50, 1000)),
        ("A request, ms", lambda row: _scaled(row.latency_s_p50, 1000)),
        ("One in 20 over, ms", lambda row: _scaled(row.latency_s_p95, 1000)),
        ("Tokens a second", lambda row: row.tokens_per_s),
        ("Memory, MB", lambda row: row.peak_rss_mb),
        ("On GPUs, MB", lambda row: row.peak_gpu_mb),
    ]
    told = [(head, of) for head, of in columns if any(of(row) is not None for row in view.rows)]
    if not any(row.latency_s_p50 is not None for row in view.rows):
        return None
    return Aside(
        title="Pace",
        note=_of_pace(view),
        heads=tuple(head for head, _ in told),
        lines=_lines(view, [partial(_number, of) for _, of in told]),
    )


def _of_pace(view: View) -> str:
    """How these times came about; of those from elsewhere no more is known than the files say."""
    which = "the middle one, and that which one in twenty exceeds."
    if view.all_imported:
        return f"As the files have it, of all that was asked or of a part: {which}"
    whose = "In what Joulemark measured, of" if view.imported else "Of"
    return f"{whose} the first pass over the questions. A request's time is its batch's; {which}"


def chosen(view: View) -> Aside | None:
    """What models that choose how much they compute chose, a line for each row; None where none chooses."""
    heads, writers = _choices(view)
    lines = tuple((safe(row.label), tuple(write(row) for write in writers)) for row in view.rows)
    return Aside(title=_CHOICES, note="", heads=heads, lines=lines) if heads else None


def choosers(view: View) -> Aside | None:
    """The same, without the models that compute everything."""
    heads, writers = _choices(view)
    choosing = [row for row in view.rows if row.layers_per_token is not None or row.escalated is not None]
    return Aside(title=_CHOICES, note="", heads=heads, lines=_lines(view, writers, choosing)) if heads else None


def _choices(view: View) -> tuple[tuple[str, ...], list[Callable[[Row], str]]]:
    columns: list[tuple[str, Callable[[Row], str]]] = []
    if any(row.layers_per_token is not None for row in view.rows):
        columns.append(("Layers per generated token", lambda row: fixed(row.layers_per_token, 2)))
    if any(row.escalated is not None for row in view.rows):
        columns.append(("Asked the larger model", lambda row: share(row.escalated)))
    return tuple(head for head, _ in columns), [write for _, write in columns]


def _lines(
    view: View, writers: Sequence[Callable[[Row], str]], rows: Sequence[Row] | None = None
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A line for each of these rows, or of all; a single one for a model whose rows all read the same."""
    told = [(row, tuple(write(row) for write in writers)) for row in (view.rows if rows is None else rows)]
    lines: dict[tuple[str, tuple[str, ...]], None] = {}
    own, alike = Counter(row.model for row in view.rows), Counter((row.model, cells) for row, cells in told)
    for row, cells in told:
        many = own[row.model]
        label = f"{safe(row.model)} {all_of(many)}" if 1 < many == alike[row.model, cells] else safe(row.label)
        lines[label, cells] = None
    return tuple(lines)


def _points(level: str, row: Row) -> str:
    return fixed(row.levels.get(level, {}).get("quality"))


def _phase(name: str, row: Row) -> str:
    return share(row.phase_shares.get(name))


def _token_wh(row: Row) -> float | None:
    return _scaled(row.j_per_generated_token, 1 / 3600)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _number(of: Callable[[Row], float | None], row: Row) -> str:
    return number(of(row))


def _items(rows: Sequence[Row]) -> str:
    """How many items a level has, or between which numbers."""
    counts = sorted({int(own["items"] or 0) for row in rows for own in row.levels.values()})
    many = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    return f"{many} item" if many == "1" else f"{many} items"


def _metric(view: View, name: str) -> Callable[[Row], str]:
    """How the values of a metric are written: all alike, since 0.8 of a metric up to 100 is no share."""
    values = [row.other_metrics[name] for row in view.rows if name in row.other_metrics]
    is_share = all(0 <= value <= 1 for value in values) and not name.endswith(_UNITS)
    of_one_task = share if is_share else number
    write = of_one_task if len(view.tasks) == 1 else partial(fixed, decimals=3) if is_share else number
    return lambda row: write(row.other_metrics.get(name))


def metric_in_words(name: str) -> str:
    """A metric's name for a heading, after its task's where several tasks have it."""
    task, colon, own = name.rpartition(": ")
    words = safe(_WORDS.get(own, own.replace("_", " ")))
    return f"{safe(task)}: {words}" if colon else words[:1].upper() + words[1:]
