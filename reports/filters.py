"""Which entrants a reader wants to see: by parameters, memory, licence, grade, and the energy that may be spent.

Who is left out has no part in ranks, ties or the frontier. What is not known passes no filter, and is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joulemark.meters.types import Grade

from .contest import By
from .entrants import Entrant
from .rows import Row
from .wording import energy_unit, joined, number, reach, safe

__all__ = ["Filters"]

_NAMED = 6
_BY = {"correct_per_wh": "right answers per Wh", "quality": "quality", "energy": "energy"}


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Limits; None, or none named, sets none.

    Attributes:
        max_params: Parameters of a model at most.
        max_memory_mb: MiB that a model's processes held at most, of a GPU's where it computed on one, else of RAM.
        licences: Licences that will do, as models name them.
        grades: Grades of energy that will do.
        budget_wh: Watt-hours per 1,000 answers at most, over the tasks of a view.
    """

    max_params: int | None = None
    max_memory_mb: float | None = None
    licences: tuple[str, ...] = ()
    grades: tuple[Grade, ...] = ()
    budget_wh: float | None = None

    def keep(self, entrants: Sequence[Entrant]) -> tuple[list[Entrant], tuple[str, ...]]:
        """Those that pass all but the budget, and a sentence for each filter on whom it leaves out."""
        kept, notes = list(entrants), []
        for test in self._tests():
            lost = [e for e in entrants if test.known(e) is not None and not test.passes(e)]
            dark = [e for e in entrants if test.known(e) is None]
            kept = [e for e in kept if e not in lost and e not in dark]
            there = test.there(lost) if test.is_named and len(lost) + len(dark) == len(entrants) else ""
            notes.append(_sentence(test.what, _names(lost), _names(dark)) + there)
        return kept, tuple(notes)

    def within_budget(self, rows: Sequence[Row], by: By) -> tuple[list[int], tuple[str, ...]]:
        """Places of the rows that keep to the budget, and a sentence on the others."""
        if self.budget_wh is None:
            return list(range(len(rows))), ()
        dark = [row for row in rows if row.energy_wh_per_1k is None]
        lost = [row for row in rows if (row.energy_wh_per_1k or 0.0) > self.budget_wh]
        near = [row for row in rows if _holds(row, self.budget_wh)]
        unit = energy_unit([self.budget_wh])
        what = f"at most {number(self.budget_wh * unit.factor)} {unit.name} per 1,000 answers, ranked by {_BY[by]}"
        notes = [_sentence(what, [safe(row.label) for row in lost], [safe(row.label) for row in dark])]
        if near:
            who = [f"{safe(row.label)} ({'left out' if row in lost else 'within it'})" for row in near]
            notes.append(f"The budget lies inside the interval of {joined(_few(who))}: on which side may be chance.")
        if known := [row.rel_u for row in rows if row.rel_u]:
            notes.append(
                f"What each truly takes lies within {reach(max(known))} (95 %) of its figure: so the budget may truly "
                "hold more of them, or fewer."
            )
        return [place for place, row in enumerate(rows) if row not in lost and row not in dark], tuple(notes)

    def _tests(self) -> list[_Test]:
        tests: list[_Test] = []
        if (params := self.max_params) is not None:
            what = f"at most {params:,} parameters"
            tests.append(_Test(what=what, known=_params, passes=lambda e: (_params(e) or 0) <= params))
        if (memory := self.max_memory_mb) is not None:
            what = f"at most {memory:,.0f} MiB of memory"
            tests.append(_Test(what=what, known=_memory, passes=lambda e: (_memory(e) or 0.0) <= memory))
        if self.licences:
            what, low = f"licence {' or '.join(self.licences)}", [licence.lower() for licence in self.licences]
            tests.append(
                _Test(what=what, known=_licence, passes=lambda e: (_licence(e) or "").lower() in low, is_named=True)
            )
        if self.grades:
            what = f"energy of grade {' or '.join(self.grades)}"
            tests.append(_Test(what=what, known=_grade, passes=lambda e: e.grade in self.grades, is_named=True))
        return tests


@dataclass(frozen=True, kw_only=True)
class _Test:
    """One filter: what it asks for, what is known of an entrant, and whether that will do."""

    what: str
    known: Callable[[Entrant], object]
    passes: Callable[[Entrant], bool]
    is_named: bool = False
    """Whether it asks for one of a few names."""

    def there(self, entrants: Sequence[Entrant]) -> str:
        """A sentence on the names that may be asked for; empty where there are none."""
        names = _few(sorted({safe(str(self.known(entrant))) for entrant in entrants}))
        return f" Known here: {joined(names)}." if names else ""


def _holds(row: Row, budget_wh: float) -> bool:
    """Whether a budget lies inside the row's interval of energy."""
    low, high = row.energy_wh_per_1k_within_low, row.energy_wh_per_1k_within_high
    return low is not None and high is not None and low <= budget_wh <= high


def _params(entrant: Entrant) -> int | None:
    return entrant.info.params


def _licence(entrant: Entrant) -> str | None:
    return entrant.info.licence


def _grade(entrant: Entrant) -> str | None:
    return entrant.grade


def _memory(entrant: Entrant) -> float | None:
    gpu = [sample.peak_gpu_mb for sample in entrant.samples.values()]
    rss = [sample.peak_rss_mb for sample in entrant.samples.values()]
    for peaks in (gpu, rss):
        known = [peak for peak in peaks if peak is not None]
        if known and len(known) == len(peaks):
            return max(known)
    return None


def _sentence(what: str, lost: Sequence[str], dark: Sequence[str]) -> str:
    parts = [f"left out: {joined(_few(lost))}"] if lost else []
    parts += [f"not known, so left out as well: {joined(_few(dark))}"] if dark else []
    return f"Only {what}{f' ({told})' if (told := '; '.join(parts)) else ''}."


def _names(entrants: Sequence[Entrant]) -> list[str]:
    return list(dict.fromkeys(safe(entrant.model) for entrant in entrants))


def _few(names: Sequence[str]) -> list[str]:
    return [*names[:_NAMED], f"{len(names) - _NAMED} more"] if len(names) > _NAMED + 1 else list(names)
