"""A soak in words: the verdict, what stands against it, and a table of its tenths for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import fmean
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .drift import FEWEST, Drift
from .soak import Soak, Window, mean_of
from .wording import MISSING, Unit, ascii_only, decimals_for, fixed, number, safe, unit_for

__all__ = ["caveats", "change", "joule_unit", "lasted", "print_soak", "time_unit", "verdict"]

_PARTS = 10
_SHORT_S = 100.0
_HOURLY_S = 570.0
"""Shorter soaks, of less than 10 minutes but for a last window, say nothing of an hour: they tell their own length."""
_TELLING = 5.0
"""Half a width of interval, in percent an hour, beyond which seeing no drift says little."""


def verdict(soak: Soak) -> str:
    """Whether energy per item drifts; time per item, where no meter sees the model."""
    what, found = _main(soak)
    if found.percent_per_hour is None:
        return f"Too short to tell a drift: {found.windows} windows, and it takes {FEWEST}."
    told = f"{change(soak, found)}, 95 % {_interval(soak, found)}"
    if found.direction != "none":
        return f"Drift: {what} is {found.direction}, by {told}."
    if _says_little(found):
        return f"No drift seen in {lasted(soak)}, which is too short to tell a slow one."
    return f"No drift seen: {what} changed by {told}."


def caveats(soak: Soak) -> list[str]:
    """What belongs to the verdict: the power's drift, what would not have been seen, heat, and who measured."""
    said = []
    what, found = _main(soak)
    if found.direction == "none" and _says_little(found):
        said.append(f"{what.capitalize()}: {change(soak, found)}, 95 % {_interval(soak, found)}.")
    if _has_energy(soak) and soak.power.percent_per_hour is not None:
        said.append(f"Power: {change(soak, soak.power)}, 95 % {_interval(soak, soak.power)}.")
    if hot := sum(window.throttled for window in soak.windows):
        said.append(f"Heat held a clock down in {hot} of {len(soak.windows)} windows.")
    if busy := sum(window.busy_machine for window in soak.windows):
        said.append(
            f"Other programs worked beside it in {busy} of {len(soak.windows)} windows: figures may be too high."
        )
    if any("prefix_cache" in cell.flags for cell in soak.run.cells):
        said.append("Later passes were much faster than the first: a cache may have answered, and energy is too low.")
    if soak.failed:
        count = "1 window" if soak.failed == 1 else f"{soak.failed} windows"
        said.append(f"{count} failed, left out here.")
    if not _has_energy(soak):
        said.append("No energy: the model computes where these meters do not look.")
    if soak.grade == "modelled":
        said.append(
            "Energy is modelled from CPU time: what heat does to power is not seen, only what it does to speed."
        )
    return said


def print_soak(soak: Soak, file: TextIO | None = None, width: int | None = None) -> None:
    """Print title, table, verdict and caveats."""
    console = Console(file=file, width=width, highlight=False, markup=False)
    plain = ascii_only if not console.encoding.lower().startswith("utf") else str
    windows = f"{len(soak.windows)} windows that cover {100 * soak.metered:.0f} % of it"
    title = f"{safe(soak.model)} on {safe(soak.task)} for {lasted(soak)}: {windows}"
    console.print()
    console.print(Text(plain(title), style="bold"))
    console.print(_table(soak, plain))
    console.print()
    console.print(Text(plain(verdict(soak)), style="bold"))
    for sentence in caveats(soak):
        console.print(Text(plain(sentence)))


def joule_unit(soak: Soak) -> Unit:
    """The unit in which energy per item reads well."""
    middle = mean_of(soak.windows, lambda window: window.energy_j_per_item) or 1.0
    return unit_for(middle, (("J", 1.0, 0.5), ("mJ", 1e3, 5e-4)), Unit("\u00b5J", 1e6))


def time_unit(soak: Soak) -> Unit:
    """The same for time per item."""
    middle = mean_of(soak.windows, lambda window: window.item_s) or 1.0
    return unit_for(middle, (("s", 1.0, 0.5), ("ms", 1e3, 5e-4)), Unit("\u00b5s", 1e6))


def change(soak: Soak, found: Drift) -> str:
    """How much a figure drifts: in an hour, or of a short soak over the soak itself; such as ``+0.31 % an hour``."""
    if soak.lasted_s < _HOURLY_S:
        return f"{_signed_percent(found.percent)} over {lasted(soak)}"
    return f"{_signed_percent(found.percent_per_hour)} an hour"


def _signed_percent(value: float | None) -> str:
    """A change with its sign and two digits."""
    if value is None:
        return MISSING
    shown = fixed(value, decimals_for(value, 2)) if abs(value) >= 0.01 else "0.0"
    return f"{'+' if value >= 0.01 else ''}{shown} %"


def lasted(soak: Soak) -> str:
    """How long it was: ``42 s``, ``12 min`` or ``3.5 h``."""
    seconds = soak.lasted_s
    if seconds < _SHORT_S:
        return f"{seconds:.0f} s"
    return f"{number(seconds / 60, 2)} min" if seconds < 5970 else f"{number(seconds / 3600, 2)} h"


def _main(soak: Soak) -> tuple[str, Drift]:
    return ("energy per item", soak.energy) if _has_energy(soak) else ("time per item", soak.time)


def _says_little(found: Drift) -> bool:
    return found.low is not None and found.high is not None and found.high - found.low > 2 * _TELLING


def _has_energy(soak: Soak) -> bool:
    return any(window.energy_j_per_item is not None for window in soak.windows)


def _interval(soak: Soak, found: Drift) -> str:
    """The 95 % interval of `change`."""
    short = soak.lasted_s < _HOURLY_S
    low, high = (found.percent_low, found.percent_high) if short else (found.low, found.high)
    assert low is not None
    assert high is not None
    decimals = min(decimals_for(max(abs(low), abs(high)), 2), 2)
    return f"{fixed(low, decimals)} to {fixed(high, decimals)}"


def _table(soak: Soak, plain: Callable[[str], str]) -> Table:
    by_s, clock = (1.0, "Seconds") if soak.lasted_s < _SHORT_S else (60.0, "Minutes")
    parts = _parts(soak.windows)
    edges = [part[0].t_s - part[0].window_s / 2 for part in parts] + [soak.lasted_s]
    names = [f"{begins / by_s:.1f}\u2013{ends / by_s:.1f}" for begins, ends in pairwise(edges)]
    if len(soak.windows) > len(parts):
        worst = max(soak.windows, key=lambda window: window.energy_j_per_item or window.item_s)
        parts, names = [*parts, [worst]], [*names, f"worst window, at {worst.t_s / by_s:.1f}"]
    columns = _columns(soak)
    texts = [_column([mean_of(part, figure) for part in parts], factor) for _, figure, factor in columns]
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column(clock)
    for head, _, _ in columns:
        table.add_column(plain(head), justify="right")
    for name, *figures in zip(names, *texts, strict=True):
        table.add_row(*map(plain, (name, *figures)), style="dim" if name.startswith("worst") else None)
    return table


def _columns(soak: Soak) -> list[tuple[str, Callable[[Window], float | None], float]]:
    """Heading, figure, and what that is multiplied by; those that no window tells are left out."""
    joules, time = joule_unit(soak), time_unit(soak)
    columns: list[tuple[str, Callable[[Window], float | None], float]] = [
        (f"{joules.name} an item", lambda window: window.energy_j_per_item, joules.factor),
        ("W", lambda window: window.power_w, 1.0),
        (f"{time.name} an item", lambda window: window.item_s, time.factor),
        ("Celsius", lambda window: window.temperature_c, 1.0),
        ("MHz", lambda window: window.clock_mhz, 1.0),
    ]
    return [column for column in columns if mean_of(soak.windows, column[1]) is not None]


def _parts(windows: Sequence[Window]) -> list[Sequence[Window]]:
    """Tenths, or each window by itself where there are few."""
    count = min(_PARTS, len(windows))
    edges = [round(number * len(windows) / count) for number in range(count + 1)]
    return [windows[start:end] for start, end in pairwise(edges)]


def _column(values: Sequence[float | None], factor: float) -> list[str]:
    """Figures of one column: four digits, as far as the middle of them goes."""
    told = [value * factor for value in values if value is not None]
    decimals = decimals_for(fmean(told), 4) if told else 0
    return [MISSING if value is None else fixed(value * factor, decimals) for value in values]
