"""Whether repeats suffice: how well each entrant's energy is known, and when that is looked at.

Looking after every repeat and stopping at the first that pleases makes intervals too narrow, so there are few looks,
planned beforehand.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean, variance

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


def relative_half_width(joules: Sequence[float], relative_u: Sequence[float] = ()) -> float:
    """Half of the 95 % t-interval on the log scale, as a share of the value: ``exp(t s / sqrt(n)) - 1``.

    As in tables: the meter's independent error is a floor under the scatter, for repeats that agree by luck.

    Args:
        joules: One figure a repeat.
        relative_u: The relative standard uncertainty of each that is independent from repeat to repeat.
    """
    from scipy import stats

    if len(joules) < 2:
        return math.inf
    scatter = variance([math.log(value) for value in joules])
    floor = fmean(u**2 for u in relative_u) if relative_u else 0.0
    t = float(stats.t.ppf(0.975, len(joules) - 1))
    return math.expm1(t * math.sqrt(max(scatter, floor) / len(joules)))


def unsure(cells: Iterable[Cell], precision: float) -> dict[str, float]:
    """Models whose energy over their tasks is known less well than to a share of ``precision``, and how well it is.

    As in tables: the mean over tasks in each repeat, then the repeats. Infinity stands for a model without energy.
    """
    figures: dict[tuple[str, str], dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    widths: dict[str, float] = {}
    for cell in cells:
        if cell.status == "ok" and cell.energy and cell.energy.gross_j and cell.n_items:
            questions = cell.n_items * cell.energy.loops
            figure = cell.energy.gross_j / questions, (cell.energy.u_j or 0.0) / questions
            figures[cell.model, canonical_json(cell.setting)][cell.repeat].append(figure)
        else:
            widths[cell.model] = math.inf
    for (model, _), by_repeat in figures.items():
        most = max(map(len, by_repeat.values()))
        whole = [values for values in by_repeat.values() if len(values) == most]
        joules = [math.fsum(energy for energy, _ in values) for values in whole]
        errors = [math.hypot(*(u for _, u in values)) / total for values, total in zip(whole, joules, strict=True)]
        widths[model] = max(relative_half_width(joules, errors), widths.get(model, 0.0))
    return {model: width for model, width in widths.items() if width > precision}
