"""lm-eval's results with codecarbon's energy of their process, as far as the two files can be of one."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from joulemark.meters.errors import UsageError

from .codecarbon import UNKNOWN_ERROR, WHOLE_PROCESS, Emissions, read_emissions
from .foreign import amount, read_json
from .found import Found, Result

__all__ = ["with_emissions"]

_WHOLE = "The energy is that of the whole process: loading the model, building prompts and scoring are in it."
_TIED = (
    "That codecarbon's file is of the same process as these results, only their being named together says: neither "
    "file tells of the other."
)
_ALL = "codecarbon/all tasks together"
_MOST_AROUND, _AROUND_S = 2.0, 600.0
"""What may be around lm-eval's own time in its process, such as downloads: as long again, and 10 minutes."""
_ZONES_S = 900.0
"""Zones are whole quarters of an hour apart, from 12 hours behind UTC to 14 before it."""
_FIRST_ZONE, _LAST_ZONE = -12 * 4, 14 * 4
_SLACK_S = 5.0
"""Whole seconds in codecarbon's times, and a clock that is set in between."""


def with_emissions(found: Found, results: Path, file: Path) -> Found:
    """Results with codecarbon's energy of their process.

    Args:
        found: What is in the results.
        results: Their file.
        file: codecarbon's.

    Raises:
        UsageError: It is not that of this process, as far as that shows.
    """
    if found.origins:
        raise UsageError(
            f"{file}: {results.name} is Joulemark's export, which says where its energy is from; leave codecarbon's "
            "file out."
        )
    row, missing = _only_row(file)
    _refuse_other(row, file, found, amount(read_json(results).get("total_evaluation_time_seconds")))
    software = {**found.stations[0].software, **row.station.software}
    station = row.station.model_copy(update={"software": software})
    here = [replace(result, machine_id=station.machine.machine_id) for result in found.results]
    missing = [*found.missing, *missing, _TIED, UNKNOWN_ERROR, _WHOLE]
    if len(here) == 1:
        flags = (*here[0].flags, WHOLE_PROCESS)
        here[0] = replace(here[0], energy=row.energy, duration_s=row.duration_s, flags=flags)
    else:
        missing.append(f"It covers all {len(here)} tasks and cannot be shared out: it stands by itself, as {_ALL}.")
        here.append(_whole(here, row))
    return replace(found, results=tuple(here), stations=(station,), missing=tuple(missing))


def _only_row(file: Path) -> tuple[Emissions, list[str]]:
    rows, missing = read_emissions(file)
    if len(rows) != 1:
        raise UsageError(f"{file}: it has {len(rows)} runs, and nothing tells which is this one; keep its row alone.")
    if rows[0].energy is None:
        raise UsageError(f"{file}: its run {rows[0].lacks}.")
    return rows[0], missing


def _refuse_other(row: Emissions, file: Path, found: Found, took_s: float | None) -> None:
    """Refuse a row whose process was shorter than lm-eval, much longer, or surely at another time."""
    if row.duration_s is None or took_s is None or row.duration_s < 0.99 * took_s - 1:
        spans = [f"{told:.3g} s" if told is not None else "an unknown time" for told in (row.duration_s, took_s)]
        raise UsageError(f"{file}: it covers {spans[0]}, and lm-eval took {spans[1]}; give that of the whole process.")
    if row.duration_s > _MOST_AROUND * took_s + _AROUND_S:
        raise UsageError(
            f"{file}: it covers {row.duration_s:.3g} s, and lm-eval took {took_s:.3g} s: most of its energy is of "
            "something else."
        )
    began = datetime.fromisoformat(found.created_at) if found.created_at else None
    if began and row.ended and not _may_hold(row.ended, row.duration_s, began):
        zone = "" if row.ended.tzinfo else " of an unknown zone"
        raise UsageError(
            f"{file}: its process took {row.duration_s:.3g} s and ended at "
            f"{row.ended.isoformat(' ', 'seconds')}{zone}, and lm-eval began at {began:%Y-%m-%d %H:%M:%S} UTC: "
            "whatever the zone, it is of another run."
        )


def _may_hold(ended: datetime, duration_s: float, began: datetime) -> bool:
    """Whether a process holds the moment when lm-eval began, in some zone where none is told.

    lm-eval's date is taken after its own clock was started, so that of its time this moment alone is sure.
    """
    aware = ended.tzinfo is not None
    ahead_s = (ended if aware else ended.replace(tzinfo=UTC)) - began
    least, most = (ahead_s / timedelta(seconds=1) - span for span in (duration_s + _SLACK_S, -_SLACK_S))
    first, last = (0, 0) if aware else (_FIRST_ZONE, _LAST_ZONE)
    return max(first, math.ceil(least / _ZONES_S)) <= min(last, math.floor(most / _ZONES_S))


def _whole(results: list[Result], row: Emissions) -> Result:
    """All tasks of a process together."""
    first = results[0]
    return Result(
        model=first.model,
        model_args=first.model_args,
        task=_ALL,
        setting={key: first.setting[key] for key in ("batch_size", "dtype") if key in first.setting},
        machine_id=first.machine_id,
        n_items=sum(result.n_items for result in results),
        model_info=first.model_info,
        flags=(WHOLE_PROCESS,),
        started_at=first.started_at,
        file=first.file,
        energy=row.energy,
        duration_s=row.duration_s,
    )
