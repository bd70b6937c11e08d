"""The table on a terminal: fits 80 columns, and grows with the window."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from .asides import Aside, asides, by_difficulty, choosers, metric_in_words, other_metrics
from .caveats import caveats
from .findings import (
    carbon_sentence,
    finding,
    grade_sentence,
    imported_mark,
    interval_sentence,
    unclear_sentence,
    unfinished_sentence,
)
from .names import broken, legend, pieces
from .rows import Row
from .views import ALL, View
from .wording import (
    MISSING,
    Unit,
    ascii_only,
    carbon_unit,
    counted,
    decimals_for,
    energy_unit,
    fixed,
    number,
    rate_unit,
    safe,
    shared_decimals,
    span,
)

__all__ = ["Columns", "print_views", "rank_text"]

_MARKS = {"on": "on", "unclear": "unclear", "dominated": "dominated", None: MISSING}
_WIDE = 124
"""Columns from which on a window has more figures."""
_GAP, _LEAST, _ROOM = 2, 12, 30
"""Letters between columns, of names at least, and of names where there is room."""
_ENDLESS = 1000
_HEADING, _WORD, _WORDS = 13, 7, 12
"""Letters of a heading's line, at the least where it is narrow, and of a column of words."""
_FEW = 8
_WIDEST = 5
"""Figures that stand side by side in a small table."""
_STYLES = {"on": "bold green", "unclear": "yellow", "dominated": "dim", None: "dim"}


class Columns:
    """How the figures of one view are written: one unit and one number of decimals a column."""

    def __init__(self, view: View) -> None:
        self.energy: Unit = energy_unit(row.energy_wh_per_1k for row in view.rows)
        self.rate: Unit = rate_unit(row.correct_per_wh for row in view.rows)
        rates = [row.correct_per_wh * self.rate.factor for row in view.rows if row.correct_per_wh]
        self._rate_decimals = shared_decimals(rates, 2, 2 if self.rate.factor == 1 else 3)
        energies = [row.energy_wh_per_1k * self.energy.factor for row in view.rows if row.energy_wh_per_1k]
        self._energy_decimals = shared_decimals(energies, 3, 3)
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
        table, lacks = _table(view, console.width, plain, carbon=carbon)
        console.print(table)
        if short := legend(view.rows):
            console.print(Text(plain(short), style="dim"))
        for aside in _below(view, short=len(views) == 1 and len(view.rows) <= _FEW):
            _print_aside(console, aside, plain)
        console.print()
        console.print(Text(plain(finding(view)), style="bold"))
        general = [grade_sentence(view), interval_sentence(view), lacks]
        general += [carbon_sentence(view)] if carbon else []
        for sentence in filter(None, (*(text for text in general if text not in told), unclear_sentence(view))):
            console.print(Text(plain(sentence)))
        notes = caveats(view, views[:place])
        again = told.intersection(general + notes) - {""}
        more = ["All else as under the table above."] if again else []
        _print_list(console, [*(text for text in notes if text not in told), *more], plain)
        for name, sentences in view.not_told.items():
            if (lead := f"Not known of {safe(name)}:") not in told:
                _print_list(console, [lead], plain)
                _print_list(console, [*map(safe, sentences)], plain, depth=4)
            told.add(lead)
        told |= {lacking, *general, *notes}


def _below(view: View, *, short: bool) -> list[Aside]:
    """The small tables below a view's own, shortly named; difficulty where all else is short, else in reports."""
    view = replace(view, rows=tuple(row._replace(label=row.short_label) for row in view.rows))
    small = [*(asides(view) if len(view.tasks) == 1 else [other_metrics(view)]), choosers(view)]
    left_out = None if short else by_difficulty(view)
    return [aside for aside in small if aside and aside != left_out]


def _print_list(console: Console, sentences: Sequence[str], plain: Callable[[str], str], depth: int = 2) -> None:
    """Print sentences as points, so many letters from the left."""
    for sentence in sentences:
        lines = Text(plain(sentence), style="dim").wrap(console, console.width - depth - 2)
        for place, line in enumerate(lines):
            console.print(Text(" " * depth + ("  " if place else "- "), style="dim") + line)


def _title(view: View) -> str:
    task = f"all {len(view.tasks)} tasks" if view.task == ALL and len(view.tasks) > 1 else safe(view.tasks[0])
    peculiar = f", {safe(view.peculiar)}" if view.peculiar else ""
    energy = f"{view.grade or 'no grade'}, {view.scope or 'no scope'}" if view.grade or view.scope else "none"
    return f"{task}{peculiar} | {safe(view.hardware)} | energy: {energy}{imported_mark(view)}"


def _table(view: View, width: int, plain: Callable[[str], str], *, carbon: bool) -> tuple[Table, str]:
    """The table in the first of its forms that leaves room for names, and a sentence on what that leaves out."""
    longest = min(_ROOM, max(cell_len(plain(safe(row.short_label))) for row in view.rows))
    for form in _FORMS if width >= _WIDE else [form for form in _FORMS if not form.more]:
        columns = _columns(view, plain, form, carbon=carbon)
        room = width - sum(column.width + _GAP for column in columns)
        if room >= (min(_LEAST, longest) if form.stacked else longest):
            break
    table = _empty_table()
    table.add_column(columns[0].title, no_wrap=True)
    table.add_column("Model", min_width=min(_LEAST, longest), max_width=40)
    for column in columns[1:]:
        table.add_column(column.title, justify=column.justify, no_wrap=column.whole and room > 0, overflow="fold")
    for row, *cells in zip(view.rows, *(column.cells for column in columns), strict=True):
        name = _Name(plain(safe(row.short_label)), "bold" if row.tied_with_first else "")
        table.add_row(cells[0], name, *cells[1:])
    return table, form.lacks


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A column of figures: its heading, broken into lines, and its cells, whose lines are never broken.

    ``whole`` is False for words, which are broken where the window asks for it.
    """

    title: str
    cells: tuple[Text, ...]
    justify: Literal["left", "right"] = "right"
    whole: bool = True

    @property
    def width(self) -> int:
        """Letters that it takes up; of words as few as will do."""
        if not self.whole:
            return _WORDS
        return max(cell_len(line) for text in (self.title, *map(str, self.cells)) for line in text.split("\n"))


@dataclass(frozen=True, kw_only=True)
class _Form:
    """How a table is laid out: with further columns, with intervals below their figures, and which of these."""

    more: bool = False
    stacked: bool = True
    of_energy: bool = True
    of_others: bool = True

    @property
    def lacks(self) -> str:
        """What a wider window would show."""
        if not self.of_others:
            return "Intervals need a wider window."
        return "" if self.of_energy else "The intervals of energy need a wider window."


_FORMS = (
    _Form(more=True, stacked=False),
    _Form(more=True),
    _Form(stacked=False),
    _Form(),
    _Form(of_energy=False),
    _Form(of_energy=False, of_others=False),
)
"""The best first; the last stands where none fits."""


def _columns(view: View, plain: Callable[[str], str], form: _Form, *, carbon: bool) -> list[_Column]:
    """All columns but the names'."""
    columns, rows = Columns(view), view.rows

    def figures(title: str, told: Sequence[tuple[str, str]], *, intervals: bool = True) -> _Column:
        cells = [(plain(value), plain(limits) if intervals or not _is_figure(limits) else "") for value, limits in told]
        return _figures(plain(title), cells, form)

    ranks = tuple(Text(plain(rank_text(row)), "bold" if row.rank == 1 else "") for row in rows)
    found = [_Column(title="Rank", cells=ranks, justify="left")]
    if title := columns.quality_title:
        found.append(figures(title, [columns.quality(row) for row in rows], intervals=form.of_others))
    energies = [columns.energy_per_1k(row) for row in rows]
    found.append(figures(f"{columns.energy.name} per 1,000 answers", energies, intervals=form.of_energy))
    if carbon:
        grams = carbon_unit(row.carbon_g_per_1k for row in rows)
        found.append(figures(f"{grams.name} CO2e per 1,000 answers", [(_carbon(row, grams), "") for row in rows]))
    if columns.judged:
        rates = [columns.right_per_wh(row) for row in rows]
        found.append(figures(columns.rate_title, rates, intervals=form.of_others))
        marks = tuple(Text(plain(_MARKS[row.frontier]), _STYLES[row.frontier]) for row in rows)
        found.append(_Column(title="Frontier", cells=marks, justify="left"))
    if view.mixed:
        kinds = (f"{row.grade or 'none'}, {row.scope or 'none'}; {safe(row.hardware)}" for row in rows)
        found.append(
            _Column(title="Energy", cells=tuple(Text(plain(k), "dim") for k in kinds), justify="left", whole=False)
        )
    if form.more:
        found += [figures(name, [(text, "") for text in texts]) for name, texts in _more(rows)]
    return found


def _figures(title: str, told: Sequence[tuple[str, str]], form: _Form) -> _Column:
    """A column of figures, each with its interval behind or below it; words in an interval's place are broken."""
    figures = [cell_len(text) for pair in told for text in pair if _is_figure(text)]
    least = _HEADING if form.of_others else _WORD
    room = max([least, *(length + 2 for length in figures)])
    cells = tuple(_figure(value, limits, room if form.stacked else 0) for value, limits in told)
    lines = [line for cell in cells for line in str(cell).split("\n")]
    widest = max(cell_len(text) for text in (*lines, *title.split()))
    return _Column(title="\n".join(textwrap.wrap(title, max(least, widest), break_on_hyphens=False)), cells=cells)


def _figure(value: str, limits: str, room: int) -> Text:
    """A figure and its interval: behind it, or below it, words broken, where there is ``room`` for so many letters."""
    if not limits:
        return Text(value)
    if not _is_figure(limits):
        return Text("\n".join(textwrap.wrap(f"{value} ({limits})", room or _ENDLESS)))
    return Text.assemble(value, (f"\n({limits})" if room else f" ({limits})", "dim"))


def _is_figure(text: str) -> bool:
    return any(map(str.isdigit, text))


class _Name:
    """A name that is broken at hyphens, slashes and spaces, as far as these go."""

    def __init__(self, text: str, style: str = "") -> None:
        self._text, self._style = text, style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        longest = max((cell_len(piece.rstrip()) for piece in pieces(self._text)), default=0)
        return Measurement(longest, cell_len(self._text)).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in broken(self._text, options.max_width):
            yield Text(line, style=self._style)


def _print_aside(console: Console, aside: Aside, plain: Callable[[str], str]) -> None:
    first, heads, lines = "Model", aside.heads, aside.lines
    if len(heads) > max(_WIDEST, len(lines)):
        # A line a figure, and a column a model, which are fewer.
        turned = zip(*(cells for _, cells in lines), strict=True)
        first, heads, lines = "", tuple(label for label, _ in lines), tuple(zip(heads, turned, strict=True))
    table = _empty_table()
    table.add_column(first, min_width=8, max_width=40)
    for head in heads:
        table.add_column(Text(plain(head)), justify="right", max_width=24, overflow="fold")
    for label, cells in lines:
        table.add_row(_Name(plain(label)), *(Text(plain(text)) for text in cells))
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


def _more(rows: Sequence[Row]) -> list[tuple[str, list[str]]]:
    milliseconds = [None if row.wall_s_per_item is None else 1000 * row.wall_s_per_item for row in rows]
    return [
        ("Accuracy", [fixed(row.accuracy, 3) for row in rows]),
        ("Items", [counted(row.items) for row in rows]),
        ("Repeats", [str(row.repeats) for row in rows]),
        ("Tokens", [number(row.tokens_per_item) for row in rows]),
        ("ms per item", [number(value) for value in milliseconds]),
    ]


def _carbon(row: Row, grams: Unit) -> str:
    return MISSING if row.carbon_g_per_1k is None else number(row.carbon_g_per_1k * grams.factor)


def _may_guess(row: Row) -> bool:
    return row.quality_low is not None and row.quality_low <= 0
