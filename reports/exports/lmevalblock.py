"""The block ``joulemark`` of exported results: energy, quality, and the cells that both are made of."""

from __future__ import annotations

from typing import Any

from joulemark.harness.formats.found import Origin
from joulemark.harness.formats.ownblock import BLOCK_SCHEMA, CELL_KEYS
from joulemark.harness.record import IMPORTED, NO_ITEMS, Cell, RunHeader, Station
from joulemark.harness.store import Run

from ..findings import grade_sentence
from ..rows import Row
from ..views import ALL
from .told import Told

__all__ = ["block_of", "figures_of"]

_OF_A_VIEW = frozenset(
    [
        "frontier",
        "p_frontier",
        "hypervolume_share",
        "rank",
        "rank_low",
        "rank_high",
        "tied_with_first",
        "tied_for_quality",
    ]
)
_OF_THE_ENTRANT = frozenset(
    ["model", "label", "short_label", "run_id", "setting", "machine_id", "hardware", "scope", "grade"]
)


def block_of(told: Told) -> dict[str, Any]:
    """What lm-eval's form has no room for: figures with intervals, machine and meters, and each repeat by itself."""
    entrant, header = told.entrant, told.run.header
    return {
        "schema": BLOCK_SCHEMA,
        "joulemark_version": header.joulemark_version,
        "run_id": header.run_id,
        "created_at": header.created_at,
        "imported": _origins(header),
        "label": told.label,
        "setting": dict(entrant.setting),
        "hardware": entrant.hardware,
        "machine_id": entrant.machine.machine_id,
        "grade": entrant.grade,
        "scope": entrant.scope,
        "energy_note": grade_sentence(told.views[ALL]),
        "carbon": entrant.carbon.model_dump(mode="json") if entrant.carbon else None,
        "figures": {task: figures_of(view.rows[0]) for task, view in told.views.items()},
        "stations": [_station(told.run, entrant.machine.machine_id).model_dump(mode="json")],
        "cells": [_cell(cell) for cell in told.cells],
    }


def _origins(header: RunHeader) -> list[dict[str, Any]] | None:
    """Where the run was imported from, not by way of which export of ours; None where Joulemark measured it."""
    if IMPORTED not in header.plan:
        return None
    told = Origin.model_validate(header.plan[IMPORTED])
    known = {sentence for origin in told.origins for sentence in origin.missing}
    # What only reading the export back has shown is not known of any of them either.
    added = tuple(sentence for sentence in told.missing if sentence not in known)
    origins = [one.model_copy(update={"missing": (*one.missing, *added)}) for one in told.origins] or [told]
    return [origin.model_dump(mode="json", exclude_defaults=True) for origin in origins]


def figures_of(row: Row) -> dict[str, Any]:
    """A row of a table, without what it is beside other entrants. Missing is null."""
    told = {name: value for name, value in row._asdict().items() if name not in _OF_A_VIEW | _OF_THE_ENTRANT}
    return {name: value for name, value in told.items() if "_first" not in name} | {"flags": list(row.flags)}


def _station(run: Run, machine_id: str) -> Station:
    """The machine, and what there is of it."""
    header = next(part.header for part in run.parts if part.header.machine.machine_id == machine_id)
    return Station(**{name: getattr(header, name) for name in Station.model_fields})


def _cell(cell: Cell) -> dict[str, Any]:
    """Without the flags that an import adds again."""
    told = cell.model_dump(mode="json")
    told["flags"] = [flag for flag in cell.flags if flag not in (IMPORTED, NO_ITEMS)]
    return {name: told[name] for name in CELL_KEYS}
