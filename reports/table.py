"""The table on a terminal: fits 80 columns, and grows with the window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .asides import Aside, asides, by_difficulty, choosers, metric_in_words, other_metrics
from .caveats import caveats
from .findings import (
    carbon_sentence,
    finding,
    grade_sentence,
    interval_sentence,
    unclear_sentence,
    unfinished_sentence,
)
from .names import legend
from .rows import Row
from .views import ALL, View
from .wording import (
    MISSING,
    Unit,
    ascii_only,
    carbon_unit,
    decimals_for,
    energy_unit,
    fixed,
    number,
    rate_unit,
    safe,
    span,
)

__all__ = ["Columns", "print_views", "rank_text"]

_MARKS = {"on": "on", "unclear": "unclear", "dominated": "dominated", None: MISSING}
_ROOMY, _WIDE = 100, 124
_FEW = 8
_FAR_APART = 300
_STYLES = {"on": "bold green", "unclear": "yellow", "dominated": "dim", None: "dim"}


class Columns:
    """How the figures of one view are written: one unit and one number of decimals a column."""

    def __init__(self, view: View) -> None:
        self.energy: Unit = energy_unit(row.energy_wh_per_1k for row in view.rows)
        self.rate: Unit = rate_unit(row.correct_per_wh for row in view.rows)
        rates = [row.correct_per_wh * self.rate.factor for row in view.rows if row.correct_per_wh]
        self._rate_decimals = _decimals(rates, 2, 2 if self.rate.factor == 1 else 3)
        energies = [row.energy_wh_per_1k * self.energy.factor for row in view.rows if row.energy_wh_per_1k]
        self._energy_decimals = _decimals(energies, 3, 3)
        self._metric = view.metric
        self.judged = not view.unscored
        """Whether there are columns for right answers per Wh and the frontier: not where there is no quality."""
        scores = [abs(row.other_metrics.get(view.metric or "", 0.0)) for row in view.rows]
        self._metric_decimals = decimals_for(max(scores, default=0.0), 4)

    @property
    def quality_title(self) -> str:
        """The heading of quality, or of the metric that stands for it; empty where several do, which have a table."""
        return metric_in_words(self._metric) if self._metric else "Quality" * self.judged

    def quality(self, row: Row) -> tuple[str, str]:
        """Points, and their interval; or the metric that stands for quality, as it is."""
        if self._metric:
            return fixed(row.other_metrics.get(self._metric), self._metric_decimals), ""
        return fixed(row.quality), span(row.quality_low, row.quality_high, 1)

    def energy_per_1k(self, row: Row) -> tuple[str, str]:
        """Energy per 1,000 items in `energy`, and the interval that compares entrants."""
        return self._scaled(
            row.energy_wh_per_1k,
            row.energy_wh_per_1k_within_low,
            row.energy_wh_per_1k_within_high,
            self.energy,
            self._energy_decimals,
        )

    def right_per_wh(self, row: Row) -> tuple[str, str]:
        """Right answers beyond guessing per Wh in `rate`, and the interval that compares entrants; or why none."""
        if row.correct_per_wh is None and row.energy_wh_per_1k is not None and _may_guess(row):
            return MISSING, "may be guessing" if (row.quality_high or 0.0) >= 0 else "worse than guessing"
        return self._scaled(
            row.correct_per_wh,
            row.correct_per_wh_within_low,
            row.correct_per_wh_within_high,
            self.rate,
            self._rate_decimals,
        )

    @property
    def rate_title(self) -> str:
        """The heading of the ratio."""
        return "Right answers beyond guessing per Wh" + (f", {self.rate.name}s" if self.rate.name else "")

    def _scaled(
        self, value: float | None, low: float | None, high: float | None, unit: Unit, decimals: int | None
    ) -> tuple[str, str]:
        if value is None:
            return MISSING, ""
        limits = "" if low is None or high is None else span(low * unit.factor, high * unit.factor, decimals)
        own = decimals_for(value * unit.factor) if decimals is None else decimals
        return fixed(value * unit.factor, own), limits


def _decimals(values: Sequence[float], most: int, digits: int) -> int | None:
    """So many that the least value has its digits; None, each its own, where values differ too much to share any."""
    least, largest = min(values, default=1.0), max(values, default=1.0)
    return min(most, decimals_for(least, digits)) if largest < _FAR_APART * least else None


def rank_text(row: Row) -> str:
    """A rank with its range where that is wider: ``2 (1-3)``."""
    if row.rank is None:
        return MISSING
    return str(row.rank) if row.rank_low == row.rank_high else f"{row.rank} ({span(row.rank_low, row.rank_high, 0)})"


def print_views(
    views: Sequence[View], file: TextIO | None = None, width: int | None = None, *, carbon: bool = False
) -> None:
    """Print these views, one after another, each with what its table means; with ``carbon`` as a column if asked."""
    console = Console(file=file, width=width, highlight=False, soft_wrap=False)
    plain = ascii_only if not console.encoding.lower().startswith("utf") else str
    told: set[str] = set()
    for place, view in enumerate(views):
        console.print()
        console.print(Text(plain(_title(view)), style="bold"))
        if (lacking := unfinished_sentence(view)) and lacking not in told:
            console.print(Text(plain(lacking), style="yellow"))
        console.print(_table(view, console.width, plain, carbon=carbon))
        if short := legend(view.rows):
            console.print(Text(plain(short), style="dim"))
        for aside in _below(view, short=len(views) == 1 and len(view.rows) <= _FEW):
            _print_aside(console, aside, plain)
        console.print()
        console.print(Text(plain(finding(view)), style="bold"))
        general = [grade_sentence(view), interval_sentence(view), carbon_sentence(view) if carbon else ""]
        for sentence in filter(None, (*(text for text in general if text not in told), unclear_sentence(view))):
            console.print(Text(plain(sentence)))
        notes = caveats(view, views[:place])
        again = told.intersection(general + notes) - {""}
        more = ["All else as under the table above."] if again else []
        _print_list(console, [*(text for text in notes if text not in told), *more], plain)
        told |= {lacking, *general, *notes}


def _below(view: View, *, short: bool) -> list[Aside]:
    """The small tables below a view's own, shortly named; difficulty where all else is short, else in reports."""
    view = replace(view, rows=tuple(replace(row, label=row.short_label) for row in view.rows))
    small = [*(asides(view) if len(view.tasks) == 1 else [other_metrics(view)]), choosers(view)]
    left_out = None if short else by_difficulty(view)
    return [aside for aside in small if aside and aside != left_out]


def _print_list(console: Console, sentences: Sequence[str], plain: Callable[[str], str]) -> None:
    for sentence in sentences:
        lines = Text(plain(sentence), style="dim").wrap(console, console.width - 4)
        for place, line in enumerate(lines):
            console.print(Text("    " if place else "  - ", style="dim") + line)


def _title(view: View) -> str:
    task = f"all {len(view.tasks)} tasks" if view.task == ALL and len(view.tasks) > 1 else safe(view.tasks[0])
    peculiar = f", {safe(view.peculiar)}" if view.peculiar else ""
    return f"{task}{peculiar} | {safe(view.hardware)} | energy: {view.grade or 'none'}, {view.scope or 'no scope'}"


def _table(view: View, width: int, plain: Callable[[str], str], *, carbon: bool) -> Table:
    columns = Columns(view)
    table = _empty_table()
    table.add_column("Rank", justify="left", no_wrap=True)
    table.add_column("Model", overflow="fold", min_width=8, max_width=40)
    # In a narrow window intervals stand below their figures, so that names stay whole.
    narrow = width < _ROOMY
    if title := plain(columns.quality_title):
        table.add_column(title, justify="right", max_width=12 if narrow else None, overflow="fold")
    per_1k = plain(f"{columns.energy.name} per 1,000 answers")
    table.add_column(per_1k, justify="right", max_width=9 if narrow and columns.judged else 20, overflow="fold")
    grams = carbon_unit(row.carbon_g_per_1k for row in view.rows)
    if carbon:
        heading = plain(f"{grams.name} CO2e per 1,000 answers")
        table.add_column(heading, justify="right", max_width=9 if narrow else 20, overflow="fold")
    if columns.judged:
        rate = plain(columns.rate_title)
        table.add_column(rate, justify="right", max_width=13 if narrow else 22, overflow="fold")
        table.add_column("Frontier", no_wrap=True)
    if view.mixed:
        table.add_column("Energy", overflow="fold")
    extra = [] if width < _WIDE else ["Accuracy", "Items", "Repeats", "Tokens", "ms per item"]
    for name in extra:
        table.add_column(name, justify="right", no_wrap=True)
    for row in view.rows:
        cells = [_plain_text(plain, rank_text(row), "bold" if row.rank == 1 else "")]
        cells.append(_plain_text(plain, safe(row.short_label), "bold" if row.tied_with_first else ""))
        energy, energy_limits = columns.energy_per_1k(row)
        if title:
            cells.append(_figure(plain, *columns.quality(row)))
        cells.append(_figure(plain, energy, "" if narrow and columns.judged else energy_limits))
        if carbon:
            cells.append(_plain_text(plain, _carbon(row, grams)))
        if columns.judged:
            cells.append(_figure(plain, *columns.right_per_wh(row)))
            cells.append(_plain_text(plain, _MARKS[row.frontier], _STYLES[row.frontier]))
        if view.mixed:
            cells.append(
                _plain_text(plain, f"{row.grade or 'none'}, {row.scope or 'none'}; {safe(row.hardware)}", "dim")
            )
        cells += [_plain_text(plain, text) for text in (_more(row) if extra else [])]
        table.add_row(*cells)
    return table


def _print_aside(console: Console, aside: Aside, plain: Callable[[str], str]) -> None:
    table = _empty_table()
    table.add_column("Model", overflow="fold", min_width=8, max_width=40)
    for head in aside.heads:
        table.add_column(Text(plain(head)), justify="right", max_width=24, overflow="fold")
    for label, cells in aside.lines:
        table.add_row(*(Text(plain(text)) for text in (label, *cells)))
    console.print()
    console.print(Text(plain(". ".join(part for part in (aside.title, aside.note) if part)), style="dim"))
    console.print(table)


def _empty_table() -> Table:
    return Table(
        box=SIMPLE_HEAD,
        padding=(0, 1),
        pad_edge=False,
        show_edge=False,
        border_style="dim",
        header_style="dim",
        collapse_padding=True,
    )


def _figure(plain: Callable[[str], str], value: str, limits: str) -> Text:
    return Text.assemble(plain(value), (plain(f" ({limits})") if limits else "", "dim"))


def _plain_text(plain: Callable[[str], str], text: str, style: str = "") -> Text:
    return Text(plain(text), style=style)


def _more(row: Row) -> list[str]:
    milliseconds = None if row.wall_s_per_item is None else 1000 * row.wall_s_per_item
    return [
        fixed(row.accuracy, 3),
        f"{row.items:,}",
        str(row.repeats),
        number(row.tokens_per_item),
        number(milliseconds),
    ]


def _carbon(row: Row, grams: Unit) -> str:
    return MISSING if row.carbon_g_per_1k is None else number(row.carbon_g_per_1k * grams.factor)


def _may_guess(row: Row) -> bool:
    return row.quality_low is not None and row.quality_low <= 0
