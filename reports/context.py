"""What energy means in the world: carbon, cost, a battery's charge, and how much more use undoes a saving.

Each figure has its formula and the source of what it rests on beside it, and no price, country or growth is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joulemark.meters.carbon import CarbonIntensity

from .asides import Aside
from .findings import workload_factor
from .rows import Row
from .views import View
from .wording import TIMES, carbon_unit, fixed, number, percent, safe, span

__all__ = ["Chart", "Context", "World", "break_even_years", "make_context"]

BATTERY_WH = 15.0
"""About what a telephone's battery holds: 4,000 mAh at 3.85 V are 15.4 Wh."""
_BATTERY = " (a telephone's: about 4,000 mAh at 3.85 V)"

_MOST_YEARS = 30.0
_LARGE = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


@dataclass(frozen=True, kw_only=True)
class World:
    """What a reader says of their own; None where they do not.

    Attributes:
        carbon: Grams of CO2 equivalent a kilowatt-hour stands for.
        price_per_kwh: What a kilowatt-hour costs, in the reader's currency.
        battery_wh: What a battery holds.
        yearly_queries: Answers a year.
        growth: By what share these grow each year.
    """

    carbon: CarbonIntensity | None = None
    price_per_kwh: float | None = None
    battery_wh: float = BATTERY_WH
    yearly_queries: float | None = None
    growth: float | None = None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The yearly energy of a choice whose use grows, beside others whose use does not, in units of its first year.

    Attributes:
        label: The choice.
        growth: By what share its use grows each year.
        years: How far it goes.
        others: Name of each other one, its energy per answer over the choice's, and the year in which that is reached.
    """

    label: str
    growth: float
    years: float
    others: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Context:
    """The section: its tables, the formulas beside them, what to know, and the chart of growing use if there is one."""

    tables: tuple[Aside, ...]
    formulas: tuple[str, ...]
    notes: tuple[str, ...]
    chart: Chart | None


def make_context(views: Sequence[View], world: World) -> Context | None:
    """What the energies of these views come to, each by itself; None where nobody in them has any.

    Args:
        views: Those over all tasks; tables name the view where there are several.
        world: What the reader says.
    """
    views = [view for view in views if _with_energy(view)]
    if not views:
        return None
    spent = [_spent(view, world, _place(view, views)) for view in views]
    rebounds = [_rebound(view, world, _place(view, views)) for view in views]
    known = [aside for aside in rebounds if aside]
    charts = [(view, chart) for view in views if (chart := _chart(view, world))]
    notes = [
        "Of the energy that the meters saw alone: no cooling, no network, and not what making the hardware took. A "
        "battery would have to feed no more than that.",
        *(_modelled(view, _place(view, views)) for view in views if view.grade == "modelled"),
        *([_REBOUND] if known else []),
        *([_NO_REBOUND] if world.growth and not known else []),
        *([f"The chart is of the models{_place(charts[0][0], views)}."] if charts and len(views) > 1 else []),
    ]
    pairs = zip(spent, rebounds, strict=True)
    return Context(
        tables=tuple(aside for pair in pairs for aside in pair if aside),
        formulas=_formulas(world, is_undone=bool(known)),
        notes=tuple(notes),
        chart=charts[0][1] if charts else None,
    )


def break_even_years(ratio: float, growth: float) -> float | None:
    """Years of growing use after which a choice takes as much a year as one of ``ratio`` times its energy an answer.

    ``ln(ratio) / ln(1 + growth)``; None where use does not grow.
    """
    return math.log(ratio) / math.log1p(growth) if growth > 0 else None


def _with_energy(view: View) -> list[Row]:
    return [row for row in view.rows if row.energy_wh_per_1k is not None]


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
    factor = workload_factor(max(row.rel_u_workload or 0.0 for row in view.rows))
    return (
        f"Energy{place} was modelled, not measured: between models it may be off by a factor of "
        f"{number(factor, 2)}, which is in no break-even and no interval of one."
    )


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
    rows = _with_energy(view)
    columns: list[tuple[str, list[str]]] = []
    if world.price_per_kwh is not None:
        name, each = _how_many(rows, world.price_per_kwh)
        columns.append((f"Cost of {name} answers", _figures(rows, lambda wh: wh * each)))
    if world.carbon:
        grams = world.carbon.g_per_kwh / 1000
        unit = carbon_unit((row.energy_wh_per_1k or 0.0) * grams for row in rows)
        told = _figures(rows, lambda wh: wh * grams * unit.factor)
        columns.append((f"{unit.name} CO2e per 1,000 answers", told))
    columns.append(_in_large(f"Answers per charge of {world.battery_wh:g} Wh", rows, 1000 * world.battery_wh))
    if world.yearly_queries is not None:
        queries = world.yearly_queries
        columns.append(("kWh a year", _figures(rows, lambda wh: wh * queries / 1e6)))
    cells = zip(*(texts for _, texts in columns), strict=True)
    return Aside(
        title=f"What it comes to{place}",
        note="Intervals are 95 % and hold the meter's own error.",
        heads=tuple(head for head, _ in columns),
        lines=tuple((safe(row.label), own) for row, own in zip(rows, cells, strict=True)),
    )


def _in_large(head: str, rows: list[Row], over: float) -> tuple[str, list[str]]:
    """Something over the energy of 1,000 answers, in millions or so where that reads better."""
    middle = over / _middle(rows)
    factor, name = next(((size, name) for size, name in _LARGE if middle >= size), (1.0, ""))
    return f"{head}{f', {name}s' if name else ''}", _figures(rows, lambda wh: over / wh / factor)


def _figures(rows: list[Row], of: Callable[[float], float]) -> list[str]:
    """A figure of each row's energy with its interval, whichever way it goes."""
    texts = []
    for row in rows:
        wh, low, high = row.energy_wh_per_1k, row.energy_wh_per_1k_low, row.energy_wh_per_1k_high
        assert wh is not None
        text = number(of(wh))
        if low is not None and high is not None:
            least, most = sorted((of(low), of(high)))
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


def _how_many(rows: list[Row], price_per_kwh: float) -> tuple[str, float]:
    """For how many answers the middle one's cost reads well, and what a watt-hour per 1,000 is to be multiplied by."""
    each = _middle(rows) * price_per_kwh / 1e6
    ladder = ((1e3, "1,000"), (1e6, "a million"), (1e9, "a billion"), (1e12, "a trillion"))
    answers, name = next(((count, name) for count, name in ladder if count * each >= 0.01), ladder[-1])
    return name, answers * price_per_kwh / 1e6


def _middle(rows: list[Row]) -> float:
    """The middle one of their energies."""
    energies = sorted(row.energy_wh_per_1k or 0.0 for row in rows)
    return energies[len(energies) // 2]


def _others(view: View) -> list[Row]:
    """Those that take more energy an answer than the first, of which the interval says so."""
    return [row for row in view.rows[1:] if (row.energy_ratio_to_first_low or 0.0) > 1]


def _rebound(view: View, world: World, place: str) -> Aside | None:
    if not (others := _others(view)):
        return None
    heads = ["Saving an answer", "Break-even: times as many answers"]
    heads += ["Break-even: answers a year"] if world.yearly_queries else []
    heads += [f"In years, at {percent(world.growth).lstrip(chr(177))} a year"] if world.growth else []
    lines = []
    for row in others:
        ratio, low, high = row.energy_ratio_to_first, row.energy_ratio_to_first_low, row.energy_ratio_to_first_high
        assert ratio is not None
        cells = [f"{100 * (1 - 1 / ratio):.0f} %", f"{number(ratio)}{TIMES} ({span(low, high)})"]
        cells += [_amount(float(f"{world.yearly_queries * ratio:.3g}"))] if world.yearly_queries else []
        if world.growth and low is not None and high is not None:
            after, least, most = (break_even_years(each, world.growth) for each in (ratio, low, high))
            cells.append(f"{fixed(after)} ({span(least, most, 1)})")
        lines.append((safe(row.label), tuple(cells)))
    first = safe(view.rows[0].label)
    note = (
        f"Asked more often than that, {first} takes more in all than the other did before. Intervals are of these "
        "models on this machine, without the meter's own error, which both share."
    )
    return Aside(title=f"What undoes the saving of {first}{place}", note=note, heads=tuple(heads), lines=tuple(lines))


def _chart(view: View, world: World) -> Chart | None:
    if not world.growth:
        return None
    others = []
    for row in _others(view):
        ratio = row.energy_ratio_to_first or 1.0
        years = break_even_years(ratio, world.growth) or math.inf
        if years <= _MOST_YEARS:
            others.append((safe(row.short_label), ratio, years))
    if not others:
        return None
    others.sort(key=lambda other: other[1])
    furthest = others[-1][2]
    label = safe(view.rows[0].short_label)
    return Chart(label=label, growth=world.growth, years=max(1.0, round(1.2 * furthest, 1)), others=tuple(others))
