"""Rows of a table with a trace: times and figures, and an error that names row and column where there are none."""

from __future__ import annotations

import math
import re
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UsageError
from .polling import MOST_MACHINE_W
from .tracecolumns import ENERGY_UNITS, TIME_UNITS, UNITS, Columns
from .tracetimes import READ, Stamps, is_absolute, scale_of, since_epoch

__all__ = ["Rows"]

_ENOUGH = 1000
"""Of so many different figures, some are next to one another."""
_ALIKE = 1e-12
"""Figures that are nearer to one another than this share of them differ by the computer's own rounding."""
_FIGURE = re.compile(r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(\S+)?")


class Rows:
    """Times and figures of a table's rows, as they come: watts, or joules where the column is a counter of energy."""

    def __init__(self, path: Path, columns: Columns, what: str) -> None:
        self.columns = columns
        self.times, self.figures = array("d"), array("d")
        self.step = Step()
        self.is_absolute: bool | None = None
        self._path, self._what = path, what
        self._scale: float | None = None
        self._stamps = Stamps()
        self._units = ENERGY_UNITS if columns.is_energy else UNITS
        self._factor = columns.factor
        self._keys: tuple[str, ...] | None = None

    def add(self, number: int, cells: Sequence[Any]) -> None:
        """Take in a row, unless it is not of those wanted; raises UsageError naming row and column."""
        columns = self.columns
        needed = max([*columns.time, columns.power, *columns.only, *columns.keys])
        if len(cells) <= needed:
            raise UsageError(
                f"{self._path}, {self._what} {number}: {len(cells)} columns, while the header has {len(columns.names)}"
            )
        if any(str(cells[index]).strip() != value for index, value in columns.only.items()):
            return
        self._refuse_other_key(number, tuple(str(cells[index]).strip() for index in columns.keys))
        try:
            seconds = self._seconds([cells[index] for index in columns.time])
        except ValueError as error:
            raise self._bad(number, columns.time[0], str(error)) from None
        if self.times and seconds <= self.times[-1]:
            raise self._bad(number, columns.time[0], _falling(seconds - self.times[-1]))
        try:
            figure = self._figure_of(cells[columns.power])
        except ValueError as error:
            raise self._bad(number, columns.power, str(error)) from None
        self.times.append(seconds)
        self.figures.append(figure)

    def why_none(self) -> str:
        """What to say where no row was taken in."""
        if not self.columns.only:
            return "holds a header and no row yet; start the logger first"
        wanted = " and ".join(f"{self.columns.names[index]} {value!r}" for index, value in self.columns.only.items())
        return f"holds no row with {wanted}"

    def refuse_mixture(self) -> None:
        """Raises UsageError where nvidia-smi's rows come in bursts: of several GPUs that nothing tells apart."""
        if not self.columns.names[self.columns.power].startswith("power.draw") or len(self.times) < 8:
            return
        spacings = np.sort(np.diff(np.array(self.times)))
        if spacings[len(spacings) // 4] < 0.05 * spacings[int(0.9 * len(spacings))]:
            raise UsageError(
                f"{self._path}: its rows come in bursts, so they seem to be of several GPUs; record one with "
                "nvidia-smi -i 0, or query index as well and say rows=index:0"
            )

    def _seconds(self, cells: Sequence[Any]) -> float:
        """Seconds since the epoch or the start; raises ValueError."""
        text = " ".join(str(cell).strip() for cell in cells[:2])
        if isinstance(cells[0], datetime) or len(cells) > 1 or self._stamps.match(text):
            moment = cells[0] if isinstance(cells[0], datetime) else self._stamps.parse(text)
            # Some write the fraction twice, in the stamp and in milliseconds of its own.
            apart_s = _number(cells[2]) / 1e3 if len(cells) > 2 and not moment.microsecond else 0.0
            return self._of_kind(since_epoch(moment, self.columns.zone) + apart_s, is_absolute=True)
        try:
            value = _number(cells[0], decimal_comma=self.columns.decimal_comma)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is no time; {READ}") from None
        if self._scale is None:
            self._scale = self._scale_of(value)
        seconds = value * self._scale
        return self._of_kind(seconds, is_absolute=is_absolute(seconds))

    def _scale_of(self, value: float) -> float:
        """Seconds of one unit of a time: by its column's name, or its size; raises ValueError."""
        unit = self.columns.time_unit
        if unit is None:
            return scale_of(value)
        if unit not in TIME_UNITS:
            raise ValueError(f"its unit {unit!r} is none of {', '.join(TIME_UNITS)}; rename it")
        return TIME_UNITS[unit]

    def _of_kind(self, seconds: float, *, is_absolute: bool) -> float:
        if self.is_absolute is None:
            self.is_absolute = is_absolute
        if self.is_absolute != is_absolute:
            raise ValueError("some times are of the day, others since some start")
        return seconds

    def _figure_of(self, cell: Any) -> float:
        """Watts, or joules; raises ValueError."""
        text = str(cell).strip() if isinstance(cell, str) else str(cell).removesuffix(".0")
        found = _FIGURE.fullmatch(text.replace(",", ".") if self.columns.decimal_comma else text)
        if found is None:
            what = "energy" if self.columns.is_energy else "power"
            raise ValueError(f"{text[:40]!r} is no {what}, and missing is not 0; leave such rows out")
        unit = found[2]
        if unit is not None:
            if unit not in self._units or self._factor not in (None, self._units[unit]):
                raise ValueError(f"{text[:40]!r} is in another unit than the column")
            self._factor = self._units[unit]
        if self._factor is None:
            raise ValueError("neither the name nor the figures tell the unit; add unit=W, mW, uW or kW")
        value = _number(found[1]) * self._factor
        if self.columns.is_energy:
            self._count(value, found[1])
            return value
        if not 0 <= value <= MOST_MACHINE_W:
            raise ValueError(f"{value:g} W cannot be" + ("" if value < 0 else "; is unit= right?"))
        self.step.take(value, found[1], self._factor)
        return value

    def _count(self, joules: float, text: str) -> None:
        """Take what a counter shows; its steps show in what it gained. Raises ValueError where it fell."""
        gained_j = joules - self.figures[-1] if self.figures else 0.0
        if joules < 0:
            raise ValueError(f"{joules:g} J cannot be")
        if gained_j < 0:
            raise ValueError(
                f"it fell by {-gained_j:.6g} J: the counter was set to 0 (cut the file there), or this is no "
                "counter, but the energy of each row"
            )
        assert self._factor is not None
        self.step.take(gained_j, text, self._factor, most=joules)

    def _refuse_other_key(self, number: int, keys: tuple[str, ...]) -> None:
        if self._keys is None:
            self._keys = keys
        for index, first, now in zip(self.columns.keys, self._keys, keys, strict=True):
            if first != now:
                name = self.columns.names[index]
                how = f"column={first}" if name == "domain" and self.columns.own else f"rows={name}:{first}"
                raise self._bad(number, index, f"{now}, while before it was {first}: name one of them, {how}")

    def _bad(self, number: int, index: int, why: str) -> UsageError:
        return UsageError(f"{self._path}, {self._what} {number}, column {self.columns.names[index]!r}: {why}")


class Step:
    """The step in which a column's figures are told: the smallest difference between two, or their last decimal place.

    Attributes:
        size: In the unit of what it was given; 0 before that.
    """

    def __init__(self) -> None:
        self.size = 0.0
        self._seen: list[float] = []

    def take(self, figure: float, text: str, factor: float, *, most: float = 0.0) -> None:
        """Look at a figure.

        Args:
            figure: What is told in steps.
            text: How it, or what it comes from, is written.
            factor: Of one unit there.
            most: The largest figure that it comes from, whose own rounding by the computer is passed over.
        """
        if len(self._seen) >= _ENOUGH:
            return
        at = bisect_left(self._seen, figure)
        beside = self._seen[max(0, at - 1) : at + 1]
        gap = min((abs(figure - other) for other in beside), default=math.inf)
        if gap <= _ALIKE * max(most, figure):
            return
        place = 10.0 ** int(Decimal(text).as_tuple().exponent) * factor
        self.size = place if not self._seen else gap if len(self._seen) == 1 else min(self.size, gap)
        self._seen.insert(at, figure)


def _falling(by_s: float) -> str:
    if by_s == 0:
        return "the same time as in the row before (rows of several devices? then name one, such as rows=index:0)"
    return f"{-by_s:.6g} s before the row before (summer time ended? then use stamps with a zone)"


def _number(cell: Any, *, decimal_comma: bool = False) -> float:
    text = str(cell).strip()
    try:
        value = float(text.replace(",", ".") if decimal_comma else text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]!r} is no number")
    return value
