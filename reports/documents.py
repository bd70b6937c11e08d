"""The report's plain files: results.json, results.csv, report.md. All text from cells is escaped."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from textwrap import indent
from types import NoneType
from typing import Any

from joulemark.harness.store import Run, canonical_json

from .asides import Aside, all_asides, choosers
from .caveats import caveats
from .context import Context
from .findings import finding, grade_sentence, headline, imported_mark, interval_sentence, unfinished_sentence
from .flagged import flags_together
from .hypervolume import REFERENCE_QUALITY, REFERENCE_WH
from .markdown import md as _md
from .method import method
from .provenance import again, machines, meters
from .routingwords import RoutingText
from .rows import Row
from .table import Columns, rank_text
from .views import ALL, View
from .wording import MISSING, draws_share, reach, safe

__all__ = [
    "RANK_SCHEMA",
    "as_csv",
    "as_json",
    "as_markdown",
    "csv_cell",
    "cut_note",
    "first_rows",
    "json_text",
    "short_titles",
    "tables_as_markdown",
    "told_once",
    "view_subject",
    "view_title",
]

RANK_SCHEMA = "joulemark.rank/1"
MOST_ROWS = 100
_AS_IT_IS = {float, int, NoneType}
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def as_json(views: Sequence[View]) -> dict[str, Any]:
    """The object that ``rank --json`` prints and ``results.json`` holds (`RANK_SCHEMA`)."""
    return {"schema": RANK_SCHEMA, "views": [_view_json(view) for view in views]}


def json_text(
    views: Sequence[View], routing: Mapping[str, Any] | None = None, context: Mapping[str, Any] | None = None
) -> str:
    """`as_json` as text with a newline, a row a line; a report's ``routing`` and ``context`` beside.

    No control character of a name survives.
    """
    more = {name: told for name, told in (("routing", routing), ("context", context)) if told}
    empty = json.dumps(as_json(()) | more, indent=2, allow_nan=False) + "\n"
    before, _, after = empty.partition('"views": []')
    told = ",\n".join(map(_view_text, views))
    return f'{before}"views": [\n{told}\n  ]{after}' if views else empty


def _view_text(view: View) -> str:
    """A view of `as_json`: rows, of which there may be tens of thousands, are a line each."""
    encode = json.JSONEncoder(allow_nan=False).encode
    rows = ",\n".join(f"        {encode(_row_json(row))}" for row in view.rows)
    text = indent(json.dumps(_view_json(view) | {"rows": []}, indent=2, allow_nan=False), "    ")
    before, _, after = text.rpartition('"rows": []')
    return f'{before}"rows": [\n{rows}\n      ]{after}'


def _row_json(row: Row) -> dict[str, Any]:
    return row._asdict() | {"flags": list(row.flags)}


def as_csv(views: Sequence[View]) -> str:
    """One line for a row of a view. Text that a spreadsheet would run as a formula gets a leading apostrophe."""
    fixed, names = ["task", "by", "quality_floor"], Row._fields
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*fixed, *names])
    for view in views:
        first = [[csv_cell(getattr(view, name))] * len(view.rows) for name in fixed]
        columns = [*first, *map(_column, zip(*view.rows, strict=True))]
        writer.writerows(zip(*columns, strict=True))
    return out.getvalue()


def told_once(views: Sequence[View]) -> list[View]:
    """The views without those of a single task that a view over all tasks shows already.

    Who did no other task is in both; others have the single one alone, so that it may have more rows.
    """

    def shown(view: View) -> tuple[object, ...]:
        return (*view.asked.items(), view.hardware, view.scope, view.grade, len(view.rows))

    whole = {shown(view) for view in views if view.task == ALL}
    return [view for view in views if view.task == ALL or shown(view) not in whole]


def as_markdown(
    views: Sequence[View], runs: Sequence[Run] = (), context: Context | None = None, bound: RoutingText | None = None
) -> str:
    """The report for a pull request or a model card; ``runs`` are what the views were made from."""
    views = told_once(views)
    first = views[0]
    parts = [f"# {_md(headline(first))}"]
    lacking = unfinished_sentence(first)
    parts += [f"**{_md(lacking)}**"] if lacking else []
    parts += [_md(finding(first)), _md(grade_sentence(first))]
    told = {grade_sentence(first)}
    parts.append(f"![{_md(headline(first))}](pareto.svg)")
    for place, view in enumerate(views):
        parts += [f"## {_md(view_title(view))}"]
        more = unfinished_sentence(view)
        parts += [f"**{_md(more)}**"] if more and more != lacking else []
        parts += [] if view is first else [_md(finding(view))]
        how = grade_sentence(view)
        parts += [_md(how)] if how not in told or (view.imported and view is not first) else []
        told.add(how)
        few, cut = first_rows(view), cut_note(view)
        whole = view.task == ALL or view is first
        sentences = ("" if whole else cut, interval_sentence(view))
        parts += [_md_table(view if whole else few), *filter(None, [_md(" ".join(filter(None, sentences)))])]
        notes = caveats(view, views[:place])
        parts += ["\n".join(f"- {_md(note)}" for note in notes)] if notes else []
        for aside in _asides(few):
            parts += [_md(" ".join(filter(None, (f"{aside.title}.", aside.note, cut)))), _md_aside(aside)]
    parts += _md_routing(bound) if bound else []
    parts += _md_context(context) if context else []
    parts += _md_flags(views) + _md_method(views) + _md_meters(runs) + _md_machines(runs)
    return "\n\n".join(parts) + "\n"


def tables_as_markdown(views: Sequence[View]) -> str:
    """The tables alone, each with what it means, for a comment or a model card."""
    parts = []
    views = told_once(views)
    for place, view in enumerate(views):
        notes = caveats(view, views[:place])
        lacking = unfinished_sentence(view)
        parts += [f"### {_md(view_title(view))}", *([f"**{_md(lacking)}**"] if lacking else []), _md_table(view)]
        parts += filter(None, (_md(told(view)) for told in (finding, grade_sentence, interval_sentence)))
        parts += ["\n".join(f"- {_md(note)}" for note in notes)] if notes else []
        untold = {
            name: said for name, said in view.not_told.items() if not any(name in v.not_told for v in views[:place])
        }
        parts += [_md_points(f"Not known of {name}:", said) for name, said in untold.items()]
    return "\n\n".join(parts) + "\n"


def first_rows(view: View) -> View:
    """The view with so many rows as a reader looks through, for tables below the leading ones; the best."""
    return replace(view, rows=view.rows[:MOST_ROWS], figures=view.figures[:MOST_ROWS])


def cut_note(view: View) -> str:
    """How many rows `first_rows` leaves out, and where they are; empty for none."""
    many = len(view.rows)
    return f"The first {MOST_ROWS} of {many:,} entrants; results.csv has all." if many > MOST_ROWS else ""


def view_title(view: View) -> str:
    """What a view covers, for a heading."""
    task = view_subject(view) + (f", {safe(view.peculiar)}" if view.peculiar else "")
    if view.mixed:
        return f"{task}, side by side{imported_mark(view)}"
    return f"{task} on {safe(view.hardware)}{imported_mark(view)}"


def view_subject(view: View) -> str:
    """What it asks, in a few words."""
    return f"All {len(view.tasks)} tasks" if view.task == ALL and len(view.tasks) > 1 else f"Task {safe(view.tasks[0])}"


def short_titles(views: Sequence[View]) -> list[str]:
    """What tells each view from the others of a report: its tasks alone, where all are of one machine and grade."""
    kinds = {(view.task, view.hardware, view.scope, view.grade) for view in views}
    if len(kinds) > len({view.task for view in views}) or len(kinds) < len(views):
        return [view_title(view) for view in views]
    return [
        (f"all {len(v.tasks)} tasks" if v.task == ALL and len(v.tasks) > 1 else safe(v.tasks[0])) + imported_mark(v)
        for v in views
    ]


def _view_json(view: View) -> dict[str, Any]:
    return {
        "task": view.task,
        "tasks": list(view.tasks),
        "hardware": view.hardware,
        "scope": view.scope,
        "grade": view.grade,
        "by": view.by,
        "quality_floor": view.quality_floor,
        "metric": view.metric,
        "mixed": view.mixed,
        "peculiar": view.peculiar,
        "unfinished": _unfinished_json(view),
        "finding": finding(view),
        "energy_note": grade_sentence(view),
        "intervals_note": interval_sentence(view),
        "notes": caveats(view),
        "not_told": {name: list(sentences) for name, sentences in view.not_told.items()},
        "asked": {task: _asked_json(question) for task, question in view.asked.items()},
        "meters": [meter.model_dump(mode="json") for meter in view.meters],
        "carbon": [carbon.model_dump(mode="json") for carbon in view.carbon],
        "hypervolume": view.covered.value if view.covered else None,
        "hypervolume_low": view.covered.low if view.covered else None,
        "hypervolume_high": view.covered.high if view.covered else None,
        "hypervolume_reference": {"quality": REFERENCE_QUALITY, "energy_wh_per_1k": REFERENCE_WH},
        "rows": [_row_json(row) for row in view.rows],
    }


def _asked_json(question: str) -> dict[str, Any]:
    """What one task asked: its version (a hash where there is one) and its settings."""
    version, setting = json.loads(question) if question else (None, "{}")
    return {"version": version, "setting": json.loads(setting)}


def _unfinished_json(view: View) -> dict[str, Any] | None:
    """Finished, failed and planned cells of the view's unfinished runs, together and for each; None where all are.

    ``planned`` is None where that is not known.
    """
    if not view.unfinished:
        return None
    counts = ("finished", "failed", "planned")
    runs = [{"run_id": far.run_id} | {name: getattr(far, name) for name in counts} for far in view.unfinished]
    return {name: _total([run[name] for run in runs]) for name in counts} | {"runs": runs}


def _total(counts: Sequence[int | None]) -> int | None:
    """Their sum; None where one of them is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _column(values: Sequence[Any]) -> Sequence[Any]:
    """Cells of a column; most are numbers, which are written as they are."""
    return values if {*map(type, values)} <= _AS_IT_IS else list(map(csv_cell, values))


def csv_cell(value: Any) -> Any:
    """A value as a CSV file has it: mappings as JSON; text that a spreadsheet would run gets an apostrophe."""
    if type(value) in _AS_IT_IS:
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        return canonical_json(value) if value else "{}"
    text = "; ".join(value) if isinstance(value, tuple) else str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _md_table(view: View) -> str:
    columns = Columns(view)
    judged = [columns.rate_title, "Frontier"] if columns.judged else []
    quality = [_md(columns.quality_title)] if columns.quality_title else []
    heads = ["Rank", "Model", *quality, f"{columns.energy.name} per 1,000 answers", *judged]
    heads += ["Energy"] if view.mixed else []
    rule = (
        "|---|---|" + "--:|" * len(quality) + "--:|" + ("--:|---|" if judged else "") + ("---|" if view.mixed else "")
    )
    lines = ["| " + " | ".join(heads) + " |", rule]
    for row in view.rows:
        figures = [columns.quality(row)] if quality else []
        figures += [columns.energy_per_1k(row), *([columns.right_per_wh(row)] if judged else [])]
        cells = [rank_text(row), _md(row.label)]
        cells += [f"{value} ({limits})" if limits else value for value, limits in figures]
        likely = f" ({draws_share(row.p_frontier, row.frontier)})" if row.p_frontier is not None else ""
        cells += [(row.frontier or MISSING) + likely] if judged else []
        cells += [_md(f"{row.grade}, {row.scope}; {row.hardware}")] if view.mixed else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _asides(view: View) -> list[Aside]:
    """The small tables of a view; what was computed is told once, over all tasks, of the models that choose."""
    computed = choosers(view) if view.task == ALL else None
    return [*all_asides(view), computed] if computed else all_asides(view)


def _md_aside(aside: Aside) -> str:
    lines = ["| " + " | ".join(["Model", *map(_md, aside.heads)]) + " |", "|---|" + "--:|" * len(aside.heads)]
    lines += ["| " + " | ".join([_md(label), *cells]) + " |" for label, cells in aside.lines]
    return "\n".join(lines)


def _md_routing(bound: RoutingText) -> list[str]:
    parts = [f"## {_md(bound.title)}", _md(bound.introduction), _md_aside(bound.table)]
    parts += ["\n".join(f"- {_md(column)}" for column in bound.columns)]
    return parts + (["\n".join(f"- {_md(words)}" for words in bound.cascades)] if bound.cascades else [])


def _md_context(context: Context) -> list[str]:
    parts = ["## In the world", "\n".join(f"- {_md(formula)}" for formula in context.formulas)]
    for table in context.tables:
        parts += [_md(f"{table.title}. {table.note}"), _md_aside(table)]
    return [*parts, "\n".join(f"- {_md(note)}" for note in context.notes)]


def _md_method(views: Sequence[View]) -> list[str]:
    parts = ["## Method"]
    for section in method(views):
        parts += [f"### {_md(section.title)}"] if section.title else []
        first, *rest = section.paragraphs
        parts += [
            _md(first),
            *(["\n".join(f"- {_md(formula)}" for formula in section.formulas)] * bool(section.formulas)),
        ]
        parts += [_md(paragraph) for paragraph in rest]
        parts += [_md_points(lead, points) for lead, points in section.lists]
    return parts


def _md_points(lead: str, points: Sequence[str]) -> str:
    return "\n".join([_md(lead), "", *(f"- {_md(point)}" for point in points)]).rstrip()


def _md_meters(runs: Sequence[Run]) -> list[str]:
    """What the energy comes from: the table of the page, less the columns that would not fit."""
    used = meters(runs)
    if not used:
        return []
    heads = ["Meter", "Grade", "Scope", "Error (95 %)", "Of it, shared by all models", "In the total", "Read from"]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|---|--:|--:|---|---|"]
    for meter in used:
        errors = ["not known" if u is None else reach(u) for u in (meter.rel_u, meter.rel_u_scale)]
        cells = [meter.id, meter.grade, meter.scope, *errors, "yes" if meter.summed else "no", meter.provenance]
        lines.append("| " + " | ".join(map(_md, cells)) + " |")
    return ["## Meters", "\n".join(lines)]


def _md_machines(runs: Sequence[Run]) -> list[str]:
    if not runs:
        return []
    parts = ["## Machine"]
    for name, facts in machines(runs):
        parts.append("\n".join([f"- Machine: {_md(name)}", *(f"- {key}: {_md(value)}" for key, value in facts)]))
    in_order = sorted(runs, key=lambda run: run.header.run_id)
    commands = [" ".join(command.split()) for command in again(in_order)]
    return [*parts, "## How to reproduce", "\n".join(f"    {command}" for command in commands)]


def _md_flags(views: Sequence[View]) -> list[str]:
    lines = [
        f"- {_md(words)}: " + "; ".join(_md(f"{who}, {where}") for who, where in told)
        for words, told in flags_together(views, short_titles(views))
    ]
    return ["## Flags", "\n".join(lines)] if lines else []
