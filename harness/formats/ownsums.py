"""That what a block of ours tells of a cell hangs together: nothing is ranked by what none of its meters says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from joulemark.meters.types import SCOPE_KINDS

from ..record import MEAN_ANSWER, Energy, MeterInfo, Station
from .foreign import LEAST_S
from .found import Result

__all__ = ["check_items", "check_results"]

_TOLERANCE = 1e-6
"""Relative: what rounding may do to a sum."""
_MOST = 10**15
"""Of items, tokens or seconds."""
_LEAST_J = 1e-12
"""Joules an answer: one operation on two numbers takes more."""
_OUTSIDE = "outside_meter"
_MEANS = frozenset({"acc", "exact_match"})
"""Metrics of which tasks take the mean over questions; of others some do otherwise, and an export does not say how."""

_Meters = Mapping[str, MeterInfo]


def check_results(results: Sequence[Result], stations: Sequence[Station]) -> None:
    """Check each result by itself, and against the meters of the machine that it ran on.

    Raises:
        ValueError: A figure does not follow from the others, or a machine or a meter is there twice.
    """
    meters = {station.machine.machine_id: {meter.id: meter for meter in station.meters} for station in stations}
    if len(meters) < len(stations):
        raise ValueError("one machine is there twice among its stations")
    if any(len(meters[station.machine.machine_id]) < len(station.meters) for station in stations):
        raise ValueError("a station has one meter twice")
    for result in results:
        if result.machine_id not in meters:
            raise ValueError("a cell ran on a machine that is not among its stations")
        _check_amounts(result)
        _check_quality(result)
        if result.energy is not None:
            _check_errors(result.energy)
            if result.energy.gross_j is not None:
                _check_energy(result, result.energy, result.energy.gross_j, meters[result.machine_id])


def check_items(result: Result, items: pd.DataFrame) -> None:
    """Check a result against what came of its questions.

    Raises:
        ValueError: They are not as many, one is there twice, or their mean is not the accuracy.
    """
    if len(items) != result.n_items:
        raise ValueError(f"it has {len(items):,} questions, and the results are of {result.n_items:,}")
    if not items["doc_id"].is_unique:
        raise ValueError("one question is there twice")
    if result.quality is None or result.accuracy is None or result.metric not in _MEANS:
        return
    if not abs(float(items["score"].mean()) - result.accuracy) <= _TOLERANCE:
        raise ValueError("the mean of its scores is not the accuracy of the results")


def _check_amounts(result: Result) -> None:
    parts = (result.tokens, result.latency_s, result.ttft_s, result.computed)
    numbers = [number for part in parts for number in vars(part).values()]
    if any(number is not None and not 0 <= number < _MOST for number in (*numbers, result.n_items, result.duration_s)):
        raise ValueError("a cell has more items, tokens or seconds than there can be, or less than none")
    if result.truncated is not None and not 0 <= result.truncated <= 1:
        raise ValueError("a cell's share of answers that were cut off is none")


def _check_quality(result: Result) -> None:
    if result.quality is None:
        return
    accuracy, chance = result.accuracy, result.chance
    if accuracy is None or chance is None or not (0 <= accuracy <= 1 and 0 <= chance < 1):
        raise ValueError("a cell has a quality without the accuracy and the chance that it comes from")
    expected = 100 * (accuracy - chance) / (1 - chance)
    if abs(result.quality - expected) > 100 * _TOLERANCE / (1 - chance):
        raise ValueError("a cell's quality is not what comes of its accuracy and chance")


def _check_errors(energy: Energy) -> None:
    # Of a cell without joules the meter's own errors are told alone.
    parts = (energy.rel_u_scale, energy.rel_u_workload, *([] if energy.gross_j is None else [energy.u_j]))
    if None in parts and any(part is not None for part in parts):
        raise ValueError("a cell tells a part of its energy's error alone")


def _check_energy(result: Result, energy: Energy, gross_j: float, meters: _Meters) -> None:
    if not energy.domains or energy.domains.keys() - meters.keys():
        raise ValueError("a cell's energy is not told to be of meters of its machine")
    summed = [meters[name] for name in energy.domains if meters[name].summed]
    scopes = {meter.scope for meter in summed}
    if {meter.grade for meter in summed} != {energy.grade}:
        raise ValueError("a cell's energy has not the grade of its meters")
    if energy.scope != "+".join(scope for scope in SCOPE_KINDS if scope in scopes):
        raise ValueError("a cell's energy has not the scope of its meters")
    if min(energy.domains.values()) < 0 or _differ(sum(energy.domains[m.id] for m in summed), gross_j, gross_j):
        raise ValueError("what a cell's meters counted does not add up to its energy")
    if (energy.net_j is None) != (energy.idle_j is None):
        raise ValueError("a cell has one of net and idle energy alone")
    parts = [part for part in (energy.net_j, energy.idle_j) if part is not None]
    if parts and (min(parts) < 0 or _differ(sum(parts), gross_j, gross_j)):
        raise ValueError("a cell's net and idle energy do not add up to its energy")
    if result.n_items * energy.loops > gross_j / _LEAST_J:
        raise ValueError("a cell has less energy for an answer than computing anything takes")
    if energy.window_s is not None and energy.window_s < LEAST_S:
        raise ValueError("a cell's energy is of no time at all")
    if _OUTSIDE in result.flags:
        raise ValueError("a cell that computed where no meter looks has energy")
    if energy.u_j is not None:
        _check_stated(energy, summed, result.flags)


def _check_stated(energy: Energy, summed: Sequence[MeterInfo], flags: Sequence[str]) -> None:
    """An error is told only where all of its meters tell theirs, and its scale is no less sure than theirs.

    What differs between kinds of work is each cell's own, such as its rounding, but where power is modelled.
    """
    stated = [(meter.rel_u_scale, meter.rel_u_workload) for meter in summed if meter.grade_told]
    known = [(scale, workload) for scale, workload in stated if scale is not None and workload is not None]
    if len(known) < len(summed) or any(meter.rel_u is None for meter in summed):
        raise ValueError("a cell's energy has an error that its meters do not tell")
    if MEAN_ANSWER in flags:
        raise ValueError("a cell's energy has an error, and of how many answers it is nobody knows")
    scales, workloads = zip(*known, strict=True)
    # More is no harm: a recorded trace that was rounded adds to what its meter states.
    told = [(energy.rel_u_scale, scales), *([(energy.rel_u_workload, workloads)] * (energy.grade == "modelled"))]
    if any(own is None or own < min(stated) - _TOLERANCE for own, stated in told):
        raise ValueError("a cell's energy has a smaller error than its meters")


def _differ(one: float, other: float, whole: float) -> bool:
    return abs(one - other) > _TOLERANCE * abs(whole)
