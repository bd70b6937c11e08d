"""All flags of a report, each told once: whose it is, and where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from joulemark.harness.store import canonical_json

from .flags import flags_of, in_words
from .names import LISTED, together
from .rows import Row
from .views import ALL, View
from .wording import joined

__all__ = ["flags_together"]

_Entrant = tuple[str, ...]
_EVERYWHERE = "in all tables"


def flags_together(views: Sequence[View], titles: Sequence[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each flag in words, with who has it and in which tables; those who have it in the same tables together.

    Args:
        views: Those of the report.
        titles: A short name for each of them.
    """
    rows: dict[_Entrant, Row] = {}
    there: dict[_Entrant, list[int]] = defaultdict(list)
    found: dict[str, dict[_Entrant, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, view in enumerate(views):
        for row in view.rows:
            rows.setdefault(_entrant(row), row)
            there[_entrant(row)].append(place)
            for words in in_words(flags_of(row)):
                found[words][_entrant(row)].append(place)
    told = []
    for words, owners in found.items():
        groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for entrant, places in owners.items():
            groups[_where(places, there[entrant], views, titles)].append(rows[entrant])
        told.append((words, [(together(own, list(rows.values())), _in_words(where)) for where, own in groups.items()]))
    return told


def _where(places: list[int], there: list[int], views: Sequence[View], titles: Sequence[str]) -> tuple[str, ...]:
    """The tables' names; none where it is everywhere; the tasks' alone where these are why all together have it."""
    if places == there:
        return ()
    alone = [place for place in places if views[place].task != ALL]
    return tuple(titles[place] for place in alone or places)


def _in_words(where: tuple[str, ...]) -> str:
    if not where:
        return _EVERYWHERE
    if len(where) <= 2 * LISTED:
        return f"in {joined(where)}"
    return f"in {len(where)} tables: {', '.join(where)}"


def _entrant(row: Row) -> _Entrant:
    """What tells a row from others in every view; labels may differ."""
    return row.run_id, row.machine_id, row.model, canonical_json(row.setting), row.grade or "", row.scope or ""
