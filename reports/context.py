"""What energy means in the world: carbon, cost, a battery's charge, and how much more use undoes a saving.

Each figure has its formula and the source of what it rests on beside it, and no price, country or growth is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from .asides import Aside
from .clauses import workload_factor
from .names import LISTED
from .rows import Row
from .views import View
from .wording import TIMES, carbon_unit, fixed, joined, number, percent, safe, span
from .world import (
    BATTERY_WH,
    Quantity,
    Rebound,
    World,
    quantities,
    rebound_numbers,
    rebounds,
    spent_numbers,
    with_energy,
)

__all__ = ["Chart", "Context", "Other", "context_json", "make_context"]

_BATTERY = " (a telephone's: about 4,000 mAh at 3.85 V)"

_MOST_YEARS, _MOST_LINES = 30.0, 12
_LARGE = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The yearly energy of a choice whose use grows, beside others whose use does not, in units of its first year.

    Attributes:
        label: The choice.
        growth: By what share its use grows each year.
        years: How far it goes.
        others: The other ones, least energy first.
        left_out: How many more there are.
        factor: What a ratio may be off by where energy was modelled; None elsewhere.
    """

    label: str
    growth: float
    years: float
    others: tuple[Other, ...]
    left_out: int = 0
    factor: float | None = None


@dataclass(frozen=True, kw_only=True)
class Other:
    """One line of a `Chart`.

    Attributes:
        name: Of the model.
        letter: The one that it has in the small pictures of tasks; empty for none.
        ratio: Its energy per answer over the choice's.
        years: After how many of them that is reached.
    """

    name: str
    letter: str
    ratio: float
    years: float


@dataclass(frozen=True, kw_only=True)
class Context:
    """The section: its tables, the formulas beside them, what to know, and the chart of growing use if there is one.

    Attributes:
        tables: In words.
        numbers: What each of these holds, in numbers: its units by name, and its rows.
        formulas: How they come about.
        notes: What to know.
        chart: None where nothing grows, or nobody surely takes more than the first.
    """

    tables: tuple[Aside, ...]
    numbers: tuple[dict[str, Any], ...]
    formulas: tuple[str, ...]
    notes: tuple[str, ...]
    chart: Chart | None


def make_context(views: Sequence[View], world: World) -> Context | None:
    """What the energies of these views come to, each by itself; None where nobody in them has any.

    Args:
        views: Those over all tasks; tables name the view where there are several.
        world: What the reader says.
    """
    views = [view for view in views if with_energy(view)]
    if not views:
        return None
    tables, numbers, charts, undone = [], [], [], False
    for view in views:
        place, found = _place(view, views), rebounds(view, world)
        tables.append(_spent(view, world, place))
        numbers.append(spent_numbers(view, world))
        if found:
            undone = True
            tables.append(_rebound(view, found, place))
            numbers.append(rebound_numbers(found))
            charts += [(place, chart)] if (chart := _chart(view, found)) else []
    notes = [
        "Of the energy that the meters saw alone: no cooling, no network, and not what making the hardware took. A "
        "battery would have to feed no more than that.",
        *(_modelled(view, _place(view, views)) for view in views if view.grade == "modelled"),
        *([_CARBON] if _told_otherwise(views, world) else []),
        *([_REBOUND] if undone else []),
        *([_NO_REBOUND] if world.growth and not undone else []),
        *([f"The chart is of the models{charts[0][0]}."] if charts and len(views) > 1 else []),
    ]
    return Context(
        tables=tuple(tables),
        numbers=tuple(numbers),
        formulas=_formulas(world, is_undone=undone),
        notes=tuple(notes),
        chart=charts[0][1] if charts else None,
    )


def context_json(context: Context) -> dict[str, Any]:
    """The section for ``results.json``: each table's title, units and numbers; missing ones are None."""
    tables = zip(context.tables, context.numbers, strict=True)
    return {
        "tables": [{"title": table.title, "note": table.note} | numbers for table, numbers in tables],
        "formulas": list(context.formulas),
        "notes": list(context.notes),
    }


def _told_otherwise(views: Sequence[View], world: World) -> bool:
    """Whether a run was told another figure of carbon than the reader's."""
    told = {carbon.g_per_kwh for view in views for carbon in view.carbon}
    return world.carbon is not None and bool(told - {world.carbon.g_per_kwh})


def _place(view: View, views: Sequence[View]) -> str:
    """What tells a view from the others, for the end of a title; empty where there are no others."""
    if len(views) == 1:
        return ""
    traits = [f"{len(view.tasks)} tasks"] if len({other.tasks for other in views}) > 1 else []
    if len([other for other in views if other.hardware == view.hardware]) > 1:
        traits.append(safe(view.peculiar or f"{view.grade} energy"))
    return f" on {safe(view.hardware)}" + (f" ({', '.join(traits)})" if traits else "")


def _formulas(world: World, *, is_undone: bool) -> tuple[str, ...]:
    holds = f"{world.battery_wh:g} Wh{_BATTERY if world.battery_wh == BATTERY_WH else ''}"
    formulas = [f"answers per charge = {holds} / (E / 1000)"]
    if world.carbon:
        formulas.insert(0, f"grams of CO2e for 1,000 answers = E / 1000 \u00d7 {world.carbon}")
    if world.price_per_kwh is not None:
        price = number(world.price_per_kwh)
        formulas.insert(0, f"cost = answers \u00d7 E / 1,000,000 \u00d7 {price} per kWh, as given")
    if world.yearly_queries is not None:
        formulas.append(f"kWh a year = E / 1,000,000 \u00d7 {_amount(world.yearly_queries)} answers, as given")
    if is_undone:
        formulas.append("break-even = E of the other / E of the choice; in years: ln(break-even) / ln(1 + growth)")
    return (*formulas, "E is in watt-hours for 1,000 answers")


def _modelled(view: View, place: str) -> str:
    return (
        f"Energy{place} was modelled, not measured: between models it may be off by a factor of "
        f"{number(_factor(view), 2)}, which is in no break-even and no interval of one."
    )


def _factor(view: View) -> float:
    """What the power model alone may make of two models' energies that are the same."""
    return workload_factor(max(row.rel_u_workload or 0.0 for row in view.rows))


_CARBON = "Carbon is what this report was told, in place of what its runs were."
_NO_REBOUND = (
    "No break-even is told: nobody surely takes more energy an answer than the first model of the table, or one repeat "
    "does not tell."
)
_REBOUND = (
    "What takes less an answer is often asked more. From the break-even on, a saving is no saving any more: Jevons, "
    "The Coal Question, 1865; Sorrell, Jevons' Paradox revisited, Energy Policy 37 (2009), 1456\u20131469. That use "
    "grows at one rate for years is the reader's assumption, not a forecast."
)


def _spent(view: View, world: World, place: str) -> Aside:
    rows, told = with_energy(view), quantities(world)
    columns: list[tuple[str, list[str]]] = []
    if cost := told.get("cost_per_1k"):
        name, answers = _how_many(rows, cost)
        columns.append((f"Cost of {name} answers", _figures(rows, cost, answers / 1000)))
    if grams := told.get("carbon_g_per_1k"):
        unit = carbon_unit(grams.of(row.energy_wh_per_1k or 0.0) for row in rows)
        columns.append((f"{unit.name} CO2e per 1,000 answers", _figures(rows, grams, unit.factor)))
    columns.append(_in_large(f"Answers per charge of {world.battery_wh:g} Wh", rows, told["answers_per_charge"]))
    if year := told.get("energy_kwh_per_year"):
        columns.append(("kWh a year", _figures(rows, year)))
    cells = zip(*(texts for _, texts in columns), strict=True)
    return Aside(
        title=f"What it comes to{place}",
        note="Intervals are 95 % and hold the meter's own error.",
        heads=tuple(head for head, _ in columns),
        lines=tuple((safe(row.label), own) for row, own in zip(rows, cells, strict=True)),
    )


def _in_large(head: str, rows: list[Row], quantity: Quantity) -> tuple[str, list[str]]:
    """A column in millions or so where that reads better."""
    middle = quantity.of(_middle(rows))
    factor, name = next(((size, name) for size, name in _LARGE if middle >= size), (1.0, ""))
    return f"{head}{f', {name}s' if name else ''}", _figures(rows, quantity, 1 / factor)


def _figures(rows: list[Row], quantity: Quantity, factor: float = 1.0) -> list[str]:
    """A figure of each row's energy in a unit so many times as small, with its interval, whichever way it goes."""
    texts = []
    for row in rows:
        wh, low, high = row.energy_wh_per_1k, row.energy_wh_per_1k_low, row.energy_wh_per_1k_high
        assert wh is not None
        text = number(quantity.of(wh) * factor)
        if low is not None and high is not None:
            least, most = sorted((quantity.of(low) * factor, quantity.of(high) * factor))
            text += f" ({_rounded(least)}\u2013{_rounded(most)})"
        texts.append(text)
    return texts


def _rounded(value: float, digits: int = 2) -> str:
    """With so many digits and no more, however large it is."""
    if value <= 0:
        return number(value)
    step = 10.0 ** (math.floor(math.log10(value)) + 1 - digits)
    return number(round(value / step) * step, digits)


def _amount(value: float) -> str:
    factor, name = next(((size, name) for size, name in _LARGE if value >= size), (1.0, ""))
    return f"{value / factor:g} {name}".rstrip() if name else f"{value:,.10g}"


def _how_many(rows: list[Row], cost: Quantity) -> tuple[str, float]:
    """For how many answers the middle one's cost reads well."""
    each = cost.of(_middle(rows)) / 1000
    ladder = ((1e3, "1,000"), (1e6, "a million"), (1e9, "a billion"), (1e12, "a trillion"))
    answers, name = next(((count, name) for count, name in ladder if count * each >= 0.01), ladder[-1])
    return name, answers


def _middle(rows: list[Row]) -> float:
    """The middle one of their energies."""
    energies = sorted(row.energy_wh_per_1k or 0.0 for row in rows)
    return energies[len(energies) // 2]


def _rebound(view: View, found: Sequence[Rebound], place: str) -> Aside:
    queries, growth = found[0].yearly_queries, found[0].growth
    heads = ["Saving an answer", "Break-even: times as many answers"]
    heads += ["Break-even: answers a year"] if queries else []
    heads += [f"In years, at {percent(growth).lstrip(chr(177))} a year"] if growth else []
    lines = []
    for own in found:
        cells = [f"{100 * own.saving:.0f} %", f"{number(own.ratio)}{TIMES} ({span(own.low, own.high)})"]
        cells += [_amount(float(f"{queries * own.ratio:.3g}"))] if queries else []
        if own.years:
            after, least, most = own.years
            cells.append(f"{fixed(after)} ({span(least, most, 1)})")
        lines.append((safe(own.row.label), tuple(cells)))
    first = safe(view.rows[0].label)
    note = f"Asked more often than that, {first} takes more in all than the other did before. {_rests_on(view, found)}"
    return Aside(title=f"What undoes the saving of {first}{place}", note=note, heads=tuple(heads), lines=tuple(lines))


def _rests_on(view: View, found: Sequence[Rebound]) -> str:
    """What the intervals of break-evens hold, and which of these the power model alone may make."""
    words = "Intervals are of these models on this machine"
    if view.grade != "modelled":
        return f"{words}, without the meter's own error, which both share."
    factor = _factor(view)
    words += (
        ", without the power model's error, of which both share a part alone: between models it may make a factor of "
        f"{number(factor, 2)}."
    )
    if not (low := [own for own in found if own.low < factor]):
        return words
    whose = "Each of these break-evens" if len(low) == len(found) else f"That of {_named(low)}"
    return f"{words} {whose} may be the power model's, and in joules there may be no saving."


def _named(found: Sequence[Rebound]) -> str:
    names = [safe(own.row.label) for own in found]
    return joined(names) if len(names) <= LISTED else f"the {len(names)} lowest"


def _chart(view: View, found: Sequence[Rebound]) -> Chart | None:
    near = [(own, own.years[0]) for own in found if own.years and own.years[0] <= _MOST_YEARS]
    if not near:
        return None
    letters = dict(zip((id(row) for row in view.rows), ascii_uppercase, strict=False))
    others = [
        Other(name=safe(own.row.short_label), letter=letters.get(id(own.row), ""), ratio=own.ratio, years=years)
        for own, years in near[:_MOST_LINES]
    ]
    furthest = max(other.years for other in others)
    return Chart(
        label=safe(view.rows[0].short_label),
        growth=found[0].growth or 0.0,
        years=max(1.0, round(1.2 * furthest, 1)),
        others=tuple(sorted(others, key=lambda other: other.ratio)),
        left_out=len(near) - len(others),
        factor=_factor(view) if view.grade == "modelled" else None,
    )
