"""The report page: one file, nothing loaded from anywhere, the same bytes on every rerun."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from joulemark.harness.store import Run

from .asides import Aside, all_asides, asides, chosen, pace
from .caveats import caveats
from .context import Context
from .contextplot import chart_alt, chart_caption, chart_legend, chart_svg
from .documents import MOST_ROWS, cut_note, first_rows, short_titles, told_once, view_title
from .effortplot import quality_against_computing, too_alike
from .findings import finding, grade_sentence, headline, interval_sentence, outcome, unfinished_sentence
from .flagged import flags_together
from .flow import flow
from .method import method
from .plots import alt_text, caption, has_points, page_svg
from .progress import progress
from .provenance import again, describe_run, machines, meters
from .routingwords import RoutingText
from .rows import Row
from .scatter import Picture, latency_against_energy
from .table import Columns, rank_text
from .tasksplot import multiples
from .views import ALL, View
from .wording import MISSING, counted, draws_share, fixed, number, reach, safe

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["page", "templates"]


@dataclass(frozen=True)
class Bar:
    """An interval drawn in a table cell, in percent of the cell's width."""

    left: float
    width: float
    at: float


def page(
    views: Sequence[View], runs: Sequence[Run], context: Context | None = None, bound: RoutingText | None = None
) -> str:
    """The whole page.

    Args:
        views: As `make_views` gives them; the first one leads.
        runs: What they were made from, for the method, the machines and how to reproduce.
        context: What the energies come to in the world, where that is asked for.
        bound: What the first view's entrants could reach together.
    """
    environment = templates("joulemark.reports", reach=reach, safe_text=safe, drawn=Markup)
    views = told_once(views)
    in_order = sorted(runs, key=lambda run: run.header.run_id)
    titles = short_titles(views)
    whole = [
        _section(view, titles[n], n, views) for n, view in enumerate(views) if view.task == ALL or views[0].task != ALL
    ]
    tasks = [
        _section(view, titles[n], n, views) for n, view in enumerate(views) if view.task != ALL and views[0].task == ALL
    ]
    return environment.get_template("report.html.j2").render(
        headline=headline(views[0]),
        finding=finding(views[0]),
        unfinished=unfinished_sentence(views[0]),
        grade=grade_sentence(views[0]),
        facts=_facts(views[0]),
        facts_of=_facts_of(views),
        told={section["grade"] for section in whole},
        whole=whole,
        tasks=tasks,
        most_rows=MOST_ROWS,
        context=context,
        bound=bound,
        chart=Markup(chart_svg(context.chart)) if context and context.chart else "",  # noqa: S704
        chart_alt=chart_alt(context.chart) if context and context.chart else "",
        chart_legend=chart_legend(context.chart) if context and context.chart else [],
        chart_caption=chart_caption(context.chart) if context and context.chart else "",
        method=method(views),
        runs=[describe_run(run, progress(run)) for run in in_order],
        again=again(in_order),
        machines=machines(runs),
        meters=meters(runs),
        flags=flags_together(views, titles),
    )


def templates(package: str, **filters: Callable[..., Any]) -> Environment:
    """The templates of a package, in which whatever is filled in is escaped, and what is not there is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment


def _section(view: View, short: str, place: int, views: Sequence[View]) -> dict[str, Any]:
    columns, name = Columns(view), f"v{place}"
    pictured, few = view.task == ALL, first_rows(view)
    drawn = pictured and has_points(view)
    shown = view if pictured else few
    return {
        "id": name,
        "title": view_title(view),
        "short": short,
        "headline": outcome(view),
        "imported": bool(view.imported),
        "unfinished": unfinished_sentence(view),
        "finding": finding(view),
        "grade": grade_sentence(view),
        "intervals": interval_sentence(view),
        "caveats": caveats(view, views[:place]),
        "caption": caption(view) if drawn else "",
        "ranked": bool(view.ranked),
        "elsewhere": [safe(name) for name in view.not_told],
        "judged": columns.judged,
        "quality_title": columns.quality_title,
        "mixed": view.mixed,
        "energy_title": f"{columns.energy.name} per 1,000 answers",
        "rate_title": columns.rate_title,
        "rows": [_line(view, row, columns, bar) for row, bar in zip(shown.rows, _bars(shown.rows), strict=True)],
        "cut": cut_note(view),
        "multiples": multiples(view, views) if pictured else None,
        "flow": flow(view) if pictured else None,
        "pictures": _pictures(view, views) if pictured else [],
        "alike": too_alike(view, views) if pictured else "",
        "asides": _whole_asides(few) if pictured else all_asides(few),
        "computed": chosen(few),
        "wide": Markup(page_svg(view, prefix=f"{name}w")) if drawn else "",  # noqa: S704
        "narrow": Markup(page_svg(view, narrow=True, prefix=f"{name}n")) if drawn else "",  # noqa: S704
        "alt": alt_text(view),
    }


def _pictures(view: View, views: Sequence[View]) -> list[Picture]:
    latency = latency_against_energy(view)
    return quality_against_computing(view, views) + ([latency] if latency else [])


def _whole_asides(view: View) -> list[Aside]:
    """The small tables without where the energy goes, which is drawn."""
    paced = pace(view) if len(view.tasks) == 1 else None
    return asides(view) + ([paced] if paced else [])


def _line(view: View, row: Row, columns: Columns, bar: Bar | None) -> dict[str, Any]:
    milliseconds = None if row.wall_s_per_item is None else 1000 * row.wall_s_per_item
    return {
        "rank": rank_text(row),
        "first": bool(row.tied_with_first),
        "label": safe(row.label),
        "quality": columns.quality(row),
        "energy": columns.energy_per_1k(row),
        "rate": columns.right_per_wh(row),
        "bar": bar,
        "frontier": row.frontier or "none",
        "likely": None if row.p_frontier is None else draws_share(row.p_frontier, row.frontier),
        "accuracy": fixed(row.accuracy, 3),
        "params": "" if row.params is None else _short(row.params),
        "tokens": number(row.tokens_per_item),
        "latency": number(milliseconds),
        "n_items": counted(row.items),
        "repeats": MISSING if row.items is None else row.repeats,
        "kind": safe(f"{row.grade or 'no energy'}, {row.scope or 'no scope'}; {row.hardware}"),
        "unranked": row.rank is None and not view.mixed,
    }


def _bars(rows: Sequence[Row]) -> list[Bar | None]:
    """Intervals of right answers per Wh on one log scale for the whole table."""
    ends = [
        (
            r.correct_per_wh_within_low or r.correct_per_wh,
            r.correct_per_wh_within_high or r.correct_per_wh,
            r.correct_per_wh,
        )
        for r in rows
    ]
    known = [end for trio in ends for end in trio if end]
    if not known or min(known) <= 0:
        return [None for _ in rows]
    low, high = math.log(min(known)), math.log(max(known))
    reach = max(high - low, 0.2)

    def place(value: float) -> float:
        return round(4 + 92 * (math.log(value) - low) / reach, 2)

    return [Bar(place(a), round(place(b) - place(a), 2), place(at)) if a and b and at else None for a, b, at in ends]


def _facts(view: View) -> list[tuple[str, str]]:
    """Four figures that say how much stands behind the finding."""
    rows = view.rows
    counts = {row.repeats for row in rows}
    repeats = str(max(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    items = max((row.items for row in rows if row.items is not None), default=None)
    asked = "" if items is None else f", {items:,} items"
    return [
        ("Entrants", f"{len(rows)}, {len(view.ranked)} ranked"),
        ("Tasks", f"{len(view.tasks)}{asked}"),
        ("Repeats", repeats),
        ("Energy", view.grade or "none"),
    ]


def _facts_of(views: Sequence[View]) -> str:
    """Which of several tables over all tasks the headline and the four figures are of; empty where there is one."""
    many = sum(view.task == ALL for view in views)
    return f"All of this is of the first of {many} tables: {view_title(views[0])}." if many > 1 else ""


def _short(count: int) -> str:
    for factor, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{number(count / factor, 2 if count < 10 * factor else 3)}{name}"
    return str(count)
