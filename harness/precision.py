"""Whether repeats suffice: how well each entrant's energy is known, and when that is looked at.

Looking after every repeat and stopping at the first that pleases makes intervals too narrow, so there are few looks,
planned beforehand.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from statistics import mean, stdev

from .record import Cell
from .store import canonical_json

__all__ = ["looks", "relative_half_width", "unsure"]

_GROWTH = 1.5
_LEAST = 3
"""With two repeats an interval is a matter of luck."""


def looks(first: int, most: int) -> Iterator[int]:
    """Numbers of repeats after which is looked: each half as many again as the one before, the last ``most``."""
    repeats = min(max(first, _LEAST), most)
    while repeats < most:
        yield repeats
        repeats = min(math.ceil(repeats * _GROWTH), most)
    yield most


def relative_half_width(joules: list[float]) -> float:
    """Half of the 95 % t-interval on the log scale, as a share of the value: ``exp(t s / sqrt(n)) - 1``."""
    from scipy import stats

    if len(joules) < 2:
        return math.inf
    logs = [math.log(value) for value in joules]
    t = float(stats.t.ppf(0.975, len(logs) - 1))
    return math.expm1(t * stdev(logs) / math.sqrt(len(logs)))


def unsure(cells: Iterable[Cell], precision: float) -> dict[str, float]:
    """Entrants whose energy over their tasks is known less well than to a share of ``precision``, and how well it is.

    As in tables: the mean over tasks in each repeat, then the repeats.
    """
    wh: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        if cell.status == "ok" and cell.energy and cell.energy.gross_j and cell.n_items:
            entrant = f"{cell.model} {canonical_json(cell.setting)}"
            wh[entrant][cell.repeat].append(cell.energy.gross_j / (cell.n_items * cell.energy.loops))
    found: dict[str, float] = {}
    for entrant, by_repeat in wh.items():
        most = max(map(len, by_repeat.values()))
        width = relative_half_width([mean(values) for values in by_repeat.values() if len(values) == most])
        if width > precision:
            found[entrant.partition(" ")[0]] = max(width, found.get(entrant.partition(" ")[0], 0.0))
    return found
