"""Numbers as text: few digits, one unit a column, and signs that a printer would use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "DASH",
    "MISSING",
    "TIMES",
    "Unit",
    "ascii_only",
    "carbon_unit",
    "counted",
    "decimals_for",
    "draws_percent",
    "draws_share",
    "energy_unit",
    "fixed",
    "joined",
    "number",
    "percent",
    "reach",
    "rough",
    "rate_unit",
    "safe",
    "share",
    "shared_decimals",
    "span",
    "times",
    "unit_for",
]

DASH, TIMES, MINUS, PLUS_MINUS, MISSING = "\u2013", "\u00d7", "\u2212", "\u00b1", "\u2013"
_FAR_APART = 300


@dataclass(frozen=True)
class Unit:
    """A unit for a column: the name to print, and what a value in the base unit is multiplied by."""

    name: str
    factor: float


def unit_for(value: float, ladder: Iterable[tuple[str, float, float]], smallest: Unit) -> Unit:
    """The first unit of a ladder (name, factor, from which value on) that a value reaches, or else the smallest."""
    return next((Unit(name, factor) for name, factor, above in ladder if value >= above), smallest)


def energy_unit(wh: Iterable[float | None]) -> Unit:
    """The unit in which the middle one of these watt-hours reads well."""
    ladder = (("kWh", 1e-3, 2e3), ("Wh", 1.0, 0.05), ("mWh", 1e3, 5e-5), ("\u00b5Wh", 1e6, 5e-8))
    return unit_for(_middle(wh), ladder, Unit("nWh", 1e9))


def carbon_unit(grams: Iterable[float | None]) -> Unit:
    """The unit in which the middle one of these grams reads well."""
    return unit_for(_middle(grams), (("kg", 1e-3, 1e3), ("g", 1.0, 1.0), ("mg", 1e3, 1e-3)), Unit("\u00b5g", 1e6))


def rate_unit(per_wh: Iterable[float | None]) -> Unit:
    """The unit for right answers per Wh: as they are, thousands or millions."""
    middle = _middle(per_wh)
    if middle >= 1e6:
        return Unit("million", 1e-6)
    return Unit("thousand", 1e-3) if middle >= 1e4 else Unit("", 1.0)


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, never in powers of ten where a person can read it."""
    if value is None:
        return MISSING
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if not 1e-4 <= abs(value) < 1e9:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def fixed(value: float | None, decimals: int = 1) -> str:
    """A number with so many decimals; none is a negative zero."""
    return MISSING if value is None else f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", MINUS)


def shared_decimals(values: Sequence[float], most: int, digits: int) -> int | None:
    """So many that the least value has its digits; None, each its own, where values differ too much to share any."""
    least, largest = min(values, default=1.0), max(values, default=1.0)
    return min(most, decimals_for(least, digits)) if largest < _FAR_APART * least else None


def counted(many: int | None) -> str:
    """A count, its thousands apart."""
    return MISSING if many is None else f"{many:,}"


def span(low: float | None, high: float | None, decimals: int | None = None, digits: int = 3) -> str:
    """An interval, such as ``1.6-2.2`` with a proper dash; ``to`` where an end is negative. Empty where missing."""
    if low is None or high is None:
        return ""
    if decimals is None:
        decimals = decimals_for(max(abs(low), abs(high)), digits)
    between = " to " if low < 0 else DASH
    return f"{fixed(low, decimals)}{between}{fixed(high, decimals)}"


def decimals_for(value: float, digits: int = 3) -> int:
    """Decimals that show so many significant digits of a value."""
    return max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else digits - 1


def times(ratio: float) -> str:
    """A ratio in words, such as ``1.9x`` with a proper sign."""
    return number(ratio, 2 if ratio < 100 else 3) + TIMES if ratio < 9.95 or ratio >= 99.5 else f"{ratio:.0f}{TIMES}"


def percent(share: float) -> str:
    """A relative uncertainty, such as ``+-50 %``."""
    shown = f"{100 * share:.0f}" if share >= 0.0995 or share == 0 else f"{100 * share:.2g}"
    return f"{PLUS_MINUS}{shown} %"


def share(value: float | None) -> str:
    """A share of a whole, such as ``12.5 %``; the space does not break."""
    return MISSING if value is None else f"{fixed(100 * value)}\u00a0%"


def reach(rel_u: float) -> str:
    """How far a true value may lie from its figure with 95 %, from a relative standard uncertainty (k=1)."""
    if rel_u < 0.15:
        return percent(1.96 * rel_u)
    return f"a factor of {number(math.exp(1.96 * rel_u), 2)} either way"


def draws_share(p: float, frontier: str | None) -> str:
    """In how many of a few thousand draws an entrant is on the frontier; these prove neither 0 nor 1."""
    return f"{'' if frontier == 'on' else 'on it '}in {draws_percent(p)} % of draws"


def draws_percent(p: float) -> str:
    """A share of draws in percent, without the sign. What is called on from 95 % on is not told 95 below it."""
    if p >= 0.995:
        return "over 99"
    if p < 0.005:
        return "under 1"
    return "just under 95" if 0.945 <= p < 0.95 else f"{100 * p:.0f}"


def rough(value: float, rel_u: float = 0.0) -> str:
    """A figure by itself, with the digits that its error leaves: two, or three where that is under 15 % (k=1)."""
    digits = 3 if rel_u < 0.15 else 2
    return number(float(f"{value:.{digits}g}"), digits)


def joined(names: Sequence[str]) -> str:
    """Names in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def safe(text: str) -> str:
    """Text from a file without what could steer a terminal: control characters become a visible mark."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def ascii_only(text: str) -> str:
    """For terminals that know nothing else."""
    for sign, plain in (
        ("\u00a0", " "),
        (DASH, "-"),
        (TIMES, "x"),
        (MINUS, "-"),
        (PLUS_MINUS, "+-"),
        ("\u00b5", "u"),
        ("\u2026", "~"),
    ):
        text = text.replace(sign, plain)
    return text.encode("ascii", "replace").decode()


def _middle(values: Iterable[float | None]) -> float:
    known = sorted(value for value in values if value is not None)
    return known[len(known) // 2] if known else 1.0
