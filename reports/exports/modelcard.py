"""One entrant as a block of a model card: what the hub reads between ``---``, and a section for people below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from joulemark.harness.store import Run

from ..asides import metric_in_words
from ..findings import carbon_sentence, grade_sentence
from ..flags import flags_of, in_words
from ..folders import without_folders
from ..markdown import md, md_row
from ..origin import in_short
from ..rows import Row
from ..views import ALL
from ..wording import (
    MISSING,
    Unit,
    decimals_for,
    energy_unit,
    fixed,
    joined,
    number,
    rate_unit,
    safe,
    shared_decimals,
    span,
)
from .told import Told, one_told

__all__ = ["as_model_card"]

_TASK = "text-generation"
_DIGITS = 6
"""Of a figure in the block: more than any meter is good for, and fewer than a computer writes."""
_WHOLE_WH = "energy_wh"
"""The metric of what has energy, and nobody knows of how many answers."""


def as_model_card(run: Run, entrant: str | None = None) -> bytes:
    """YAML with ``model-index``, and Markdown.

    Raises:
        Incomparable: The run has no finished cell.
        UsageError: The run has several entrants and none is named, or no such one.
    """
    import yaml

    told = one_told(run, entrant)
    known: dict[str, Any] = {"model-index": [{"name": _public(told, told.label), "results": list(_results(told))}]}
    if carbon := _carbon(told):
        known["co2_eq_emissions"] = carbon
    head = yaml.safe_dump(known, sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{head}---\n\n{_section(told)}\n".encode()


def _results(told: Told) -> Iterator[dict[str, Any]]:
    """An entry for each task, and one over all where there are several; none without any figure."""
    for task, row in _rows(told).items():
        if metrics := [metric | _imported(told, metric) for metric in _metrics(told, task, row)]:
            title, covered = _title(told, task), told.views[task].tasks
            asked: dict[str, Any] = {"tasks": [safe(name) for name in covered]} if task == ALL else {}
            dataset = {"name": title, "type": safe(task)} | ({"args": asked} if asked else {})
            yield {"task": {"type": _TASK, "name": title}, "dataset": dataset, "metrics": metrics}


def _rows(told: Told) -> dict[str, Row]:
    """Its figures by task; last those over all tasks that count, where these are several."""
    return told.tasks | ({ALL: told.whole} if len(told.views[ALL].tasks) > 1 else {})


def _title(told: Told, task: str) -> str:
    return safe(task) if task != ALL else f"{len(told.views[ALL].tasks)} tasks together"


def _metrics(told: Told, task: str, row: Row) -> Iterator[dict[str, Any]]:
    """What there is of accuracy, quality, energy and their ratio; what is missing is left out."""
    if row.metric and row.accuracy is not None:
        yield _metric(safe(row.metric), row.accuracy, safe(row.metric))
    for name, value in row.other_metrics.items():
        yield _metric(safe(name), value, safe(name))
    if row.quality is not None:
        interval = _interval(row.quality_low, row.quality_high)
        yield _metric("quality", row.quality, "Quality in points: 0 is guessing, 100 is perfect", interval)
    repeats = {"repeats": row.repeats} if _repeats(told, row) else {}
    how = {"grade": row.grade, "scope": row.scope, "hardware": safe(row.hardware), **repeats}
    if row.energy_wh_per_1k is not None:
        interval = _interval(row.energy_wh_per_1k_low, row.energy_wh_per_1k_high)
        name = f"Energy, Wh per 1,000 answers ({row.grade}, {row.scope})"
        yield _metric("energy_wh_per_1k", row.energy_wh_per_1k, name, interval | how | _of_cells(told, task, row))
    if row.correct_per_wh is not None:
        interval = _interval(row.correct_per_wh_low, row.correct_per_wh_high)
        name = f"Right answers beyond guessing per Wh ({row.grade}, {row.scope})"
        yield _metric("correct_per_wh", row.correct_per_wh, name, interval | how)


def _imported(told: Told, metric: dict[str, Any]) -> dict[str, Any]:
    """Arguments that say where a figure was imported from, since the block is copied by itself; else nothing."""
    source = in_short(told.run.header)
    return {} if source is None else {"args": {"imported": safe(source)} | metric.get("args", {})}


def _metric(kind: str, value: float, name: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": kind, "value": _short(value), "name": name} | ({"args": args} if args else {})


def _interval(low: float | None, high: float | None) -> dict[str, Any]:
    """The 95 % interval, the meter's error included; empty where there is none."""
    return {} if low is None or high is None else {"low_95": _short(low), "high_95": _short(high)}


def _public(told: Told, text: str) -> str:
    """Text for anyone to read: of a path, which may name a home folder, its last part alone."""
    models = {cell.model for cell in told.run.cells}
    return safe(without_folders(text, {*models, *map(str, told.entrant.setting.values())}))


def _repeats(told: Told, row: Row) -> str:
    """How often all was measured; empty where nobody tells: a file from elsewhere may have the mean of many."""
    if told.entrant.imported is not None and row.repeats <= 1:
        return ""
    return f"{row.repeats} {'repeat' if row.repeats == 1 else 'repeats'}"


def _of_cells(told: Told, task: str, row: Row) -> dict[str, Any]:
    """Seconds of the windows, all repeats of a task together; empty where one is not known, or whose it is."""
    if row.items is None:
        return {}
    windows = [cell.energy.window_s for cell in told.cells if cell.energy and task in (cell.task, ALL)]
    known = [seconds for seconds in windows if seconds is not None]
    return {"window_s": _short(sum(known))} if known and len(known) == len(windows) else {}


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _carbon(told: Told) -> dict[str, Any] | None:
    """Grams of answering; the hub's field is usually of training, so that the source says what this is of."""
    grams, carbon = told.whole.carbon_g_per_1k, told.entrant.carbon
    if grams is None or carbon is None:
        return None
    year = f", mean of {carbon.year}" if carbon.year else ""
    told_by = f"{_short(carbon.g_per_kwh):g} g/kWh ({safe(carbon.source)}{year})"
    return {
        "emissions": _short(grams),
        "source": f"Joulemark: grams for 1,000 answers, not for training; {told.whole.grade} energy times {told_by}",
        "hardware_used": safe(told.entrant.hardware),
    }


def _section(told: Told) -> str:
    parts = ["## Quality and energy", md(_introduction(told)), _table(told), md(_energy_told(told)), _intervals(told)]
    parts += [md(carbon_sentence(told.views[ALL]))] if told.whole.carbon_g_per_1k is not None else []
    flags = in_words(sorted({flag for row in (told.whole, *told.tasks.values()) for flag in flags_of(row)}))
    parts += [_bullets(flags)] if flags else []
    if unknown := told.entrant.not_told:
        others = ", of it or of others in them" if len({cell.model for cell in told.run.cells}) > 1 else ""
        parts += [
            f"What the files that it was imported from do not say{others}:",
            _bullets([_public(told, each) for each in unknown]),
        ]
    return "\n\n".join(filter(None, parts))


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {md(words)}" for words in sentences)


def _energy_told(told: Told) -> str:
    """How the joules were obtained, and how far off they may be."""
    known = [view for view in told.views.values() if view.rows[0].energy_wh_per_1k is not None]
    known += [view for view in told.views.values() if _WHOLE_WH in view.rows[0].other_metrics]
    none = "told" if told.entrant.imported else "measured"
    return grade_sentence(known[0]) if known else f"Energy: none was {none}."


def _intervals(told: Told) -> str:
    """What the table's intervals hold; empty where it has none."""
    rows = _rows(told).values()
    quality = any(row.quality_low is not None for row in rows)
    if any(row.energy_wh_per_1k_low is not None for row in rows):
        return "Intervals are 95 %, and those of energy hold the meter's error."
    if any(row.energy_wh_per_1k is not None for row in rows):
        unknown = all(row.rel_u is None for row in rows if row.energy_wh_per_1k is not None)
        single = ": one repeat" if max(row.repeats for row in rows) == 1 else ""
        why = ": its error is not known" if unknown else single
        return f"{'Intervals are 95 %; energy has none' if quality else 'Energy has no interval'}{why}."
    return "Intervals are 95 %." if quality else ""


def _introduction(told: Told) -> str:
    row, tasks = told.whole, len(told.tasks)
    version, imported = safe(told.run.header.joulemark_version), told.entrant.imported
    by = f"Imported from {safe(imported)} It ran" if imported else f"Measured by Joulemark {version}"
    on = f"{by} on {safe(row.hardware)}"
    asked = ", ".join(filter(None, (f"{tasks} {'task' if tasks == 1 else 'tasks'}", _repeats(told, row))))
    known = {key: value for key, value in told.entrant.setting.items() if value is not None}
    setting = [_public(told, f"{key}={value}") for key, value in known.items()]
    return f"{on}: {asked}; {joined(setting)}." if setting else f"{on}: {asked}."


def _table(told: Told) -> str:
    """Figures that stand alone: intervals of energies hold the meter's own error. Empty columns are left out."""
    rows = _rows(told)
    energy = energy_unit(row.energy_wh_per_1k for row in rows.values())
    rate = rate_unit(row.correct_per_wh for row in rows.values())
    per_wh = "Right answers beyond guessing per Wh" + (f", {rate.name}s" if rate.name else "")
    columns = {
        "Score": [_score(row) for row in rows.values()],
        "Quality, points": [_points(row) for row in rows.values()],
        f"{energy.name} per 1,000 answers": _scaled(
            energy,
            rows.values(),
            lambda row: (row.energy_wh_per_1k, row.energy_wh_per_1k_low, row.energy_wh_per_1k_high),
        ),
        per_wh: _scaled(
            rate, rows.values(), lambda row: (row.correct_per_wh, row.correct_per_wh_low, row.correct_per_wh_high)
        ),
        metric_in_words(_WHOLE_WH): [number(row.other_metrics.get(_WHOLE_WH)) for row in rows.values()],
    }
    known = {name: cells for name, cells in columns.items() if set(cells) != {MISSING}}
    names = [md(task) if task != ALL else f"**{_title(told, task)}**" for task in rows]
    if not known:
        return ""
    lines = [md_row(["Task", *known]), "|---|" + "--:|" * len(known)]
    return "\n".join([*lines, *map(md_row, zip(names, *known.values(), strict=True))])


def _score(row: Row) -> str:
    """The task's own metric; over several tasks there is none."""
    value = row.other_metrics.get(row.metric or "", row.accuracy)
    if row.metric is None or value is None:
        return MISSING
    return f"{fixed(value, 3) if abs(value) <= 1 else number(value)} {md(row.metric)}"


def _points(row: Row) -> str:
    limits = span(row.quality_low, row.quality_high, 1)
    return fixed(row.quality) + (f" ({limits})" if limits else "")


_Ends = tuple[float | None, float | None, float | None]


def _scaled(unit: Unit, rows: Iterable[Row], of: Callable[[Row], _Ends]) -> list[str]:
    """A column of figures with their intervals, in a unit, with the decimals that its least one needs."""
    told = [of(row) for row in rows]
    known = [value * unit.factor for value, _, _ in told if value]
    shared = shared_decimals(known, 3, 3)
    return [_with_interval(*ends, unit, shared) for ends in told]


def _with_interval(value: float | None, low: float | None, high: float | None, unit: Unit, decimals: int | None) -> str:
    if value is None:
        return MISSING
    own = decimals_for(value * unit.factor) if decimals is None else decimals
    limits = "" if low is None or high is None else f" ({span(low * unit.factor, high * unit.factor, own)})"
    return fixed(value * unit.factor, own) + limits
