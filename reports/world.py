"""What energies come to as plain numbers: carbon, cost, a battery's charge, and how much more use undoes a saving."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from joulemark.harness.record import Carbon
from joulemark.meters.carbon import CarbonIntensity

from .rows import Row
from .views import View

__all__ = [
    "BATTERY_WH",
    "Quantity",
    "Rebound",
    "World",
    "break_even_years",
    "quantities",
    "rebound_numbers",
    "rebounds",
    "spent_numbers",
    "with_carbon",
    "with_energy",
]

BATTERY_WH = 15.0
"""About what a telephone's battery holds: 4,000 mAh at 3.85 V are 15.4 Wh."""


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
class Quantity:
    """One thing that an energy comes to.

    Attributes:
        name: In ``results.json``.
        unit: In words.
        of: From watt-hours for 1,000 answers; rises or falls all the way.
    """

    name: str
    unit: str
    of: Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class Rebound:
    """How many times as often the first row may be asked until it takes as much in all as this one did.

    Attributes:
        row: The one that takes more an answer.
        ratio: Its energy an answer over the first row's: the break-even.
        low: Of the 95 % interval for comparing, which holds what differs between rows alone.
        high: The same.
        growth: By what share use grows each year, if the reader says so.
        yearly_queries: Answers in the first year, if the reader says so.
    """

    row: Row
    ratio: float
    low: float
    high: float
    growth: float | None
    yearly_queries: float | None

    @property
    def saving(self) -> float:
        """What share of its energy the first row saves an answer."""
        return 1 - 1 / self.ratio

    @property
    def years(self) -> tuple[float, float, float] | None:
        """After how many years of growth that is reached, and the ends of its interval; None where nothing grows."""
        if not self.growth:
            return None
        after = [break_even_years(ratio, self.growth) for ratio in (self.ratio, self.low, self.high)]
        middle, least, most = (math.inf if years is None else years for years in after)
        return middle, least, most


def quantities(world: World) -> dict[str, Quantity]:
    """What can be told with what the reader says, by name; a battery's charge always can."""
    told = [Quantity(name="answers_per_charge", unit=f"answers per charge of {world.battery_wh:g} Wh",
                     of=lambda wh: 1000 * world.battery_wh / wh)]  # fmt: skip
    if (price := world.price_per_kwh) is not None:
        told.append(
            Quantity(
                name="cost_per_1k", unit="the currency of the price, for 1,000 answers", of=lambda wh: wh * price / 1000
            )
        )
    if carbon := world.carbon:
        told.append(
            Quantity(
                name="carbon_g_per_1k",
                unit="grams of CO2 equivalent, for 1,000 answers",
                of=lambda wh: wh * carbon.g_per_kwh / 1000,
            )
        )
    if (queries := world.yearly_queries) is not None:
        told.append(Quantity(name="energy_kwh_per_year", unit="kWh a year", of=lambda wh: wh * queries / 1e6))
    return {quantity.name: quantity for quantity in told}


def rebounds(view: View, world: World) -> list[Rebound]:
    """Of those that take more energy an answer than the first, where the interval says so."""
    return [
        Rebound(row=row, ratio=ratio, low=low, high=high, growth=world.growth, yearly_queries=world.yearly_queries)
        for row in view.rows[1:]
        if (ratio := row.energy_ratio_to_first)
        and (low := row.energy_ratio_to_first_low)
        and (high := row.energy_ratio_to_first_high)
        and low > 1
    ]


def break_even_years(ratio: float, growth: float) -> float | None:
    """Years of growing use after which a choice takes as much a year as one of ``ratio`` times its energy an answer.

    ``ln(ratio) / ln(1 + growth)``; None where use does not grow.
    """
    return math.log(ratio) / math.log1p(growth) if growth > 0 else None


def with_energy(view: View) -> list[Row]:
    """The rows that have any."""
    return [row for row in view.rows if row.energy_wh_per_1k is not None]


def spent_numbers(view: View, world: World) -> dict[str, Any]:
    """Units by name, and for each entrant that has energy its numbers, with ``_low`` and ``_high`` where known."""
    told = quantities(world)
    rows = []
    for row in with_energy(view):
        numbers = _who(row)
        for quantity in told.values():
            numbers |= _with_ends(quantity, row)
        rows.append(numbers)
    return {"units": {name: quantity.unit for name, quantity in told.items()}, "rows": rows}


def rebound_numbers(found: Sequence[Rebound]) -> dict[str, Any]:
    """The same of break-evens."""
    units = {"saving": "share of its energy an answer", "break_even": "times as many answers"}
    rows = []
    for own in found:
        numbers = _who(own.row) | {"saving": own.saving, **_triple("break_even", (own.ratio, own.low, own.high))}
        if own.yearly_queries:
            units["break_even_answers_per_year"] = "answers a year"
            each = [own.yearly_queries * ratio for ratio in (own.ratio, own.low, own.high)]
            numbers |= _triple("break_even_answers_per_year", each)
        if own.years:
            units["break_even_years"] = "years of growing use"
            numbers |= _triple("break_even_years", own.years)
        rows.append(numbers)
    return {"units": units, "rows": rows}


def with_carbon(views: Sequence[View], carbon: CarbonIntensity | None) -> list[View]:
    """The views with what a reader takes a kilowatt-hour to stand for in place of what the runs were told, if said."""
    if carbon is None:
        return list(views)
    stated = Carbon(g_per_kwh=carbon.g_per_kwh, source=carbon.source, year=carbon.year)
    return [
        replace(view, carbon=(stated,), rows=tuple(_carbon_of(row, carbon.g_per_kwh) for row in view.rows))
        for view in views
    ]


def _carbon_of(row: Row, g_per_kwh: float) -> Row:
    if row.energy_wh_per_1k is None:
        return row
    return row._replace(carbon_g_per_kwh=g_per_kwh, carbon_g_per_1k=row.energy_wh_per_1k / 1000 * g_per_kwh)


def _who(row: Row) -> dict[str, Any]:
    return {"model": row.model, "label": row.label, "run_id": row.run_id, "setting": dict(row.setting)}


def _with_ends(quantity: Quantity, row: Row) -> dict[str, float | None]:
    assert row.energy_wh_per_1k is not None
    ends = [end for end in (row.energy_wh_per_1k_low, row.energy_wh_per_1k_high) if end]
    least, most = sorted(map(quantity.of, ends)) if len(ends) == 2 else (None, None)
    return _triple(quantity.name, (quantity.of(row.energy_wh_per_1k), least, most))


def _triple(name: str, values: Sequence[float | None]) -> dict[str, float | None]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
