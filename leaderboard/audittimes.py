"""Clocks: what was measured was measured after the run began, one cell at a time, and not tomorrow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from joulemark.harness.record import Cell

from .findings import Finding
from .submission import Submission, length_s

__all__ = ["check_times"]

SLACK_S = 1.0
"""By which times may be off: wall clocks are set while a run goes on."""
_MOST_SMALL = 2
"""Windows that may overlap by less: clocks are seldom set."""
_TOMORROW = timedelta(days=1)
_BEFORE_US = datetime(2025, 1, 1, tzinfo=UTC)
"""When there was no Joulemark."""


def check_times(sent: Submission) -> Iterator[Finding]:
    """Times can be read, lie between the run's beginning and now, and windows inside their cells, one by one."""
    began = _moment(sent.run.created_at)
    if began is None:
        yield _unreadable("run.created_at")
        return
    if began < _BEFORE_US:
        message = "Joulemark is younger than that; set the machine's clock and measure again."
        yield Finding(code="time-early", path="run.created_at", message=message)
    if began > datetime.now(UTC) + _TOMORROW:
        yield _ahead("run.created_at")
    spans: list[tuple[datetime, datetime, int]] = []
    for number, cell in enumerate(sent.cells):
        at, started = f"cells[{number}]", _moment(cell.started_at)
        if started is None:
            yield _unreadable(f"{at}.started_at")
            continue
        if started > datetime.now(UTC) + _TOMORROW:
            yield _ahead(f"{at}.started_at")
        # Energy that was taken from a trace later is of cells that were measured before.
        if _s(started, began) < -SLACK_S and sent.run.remetered_from is None:
            message = "the cell began before the run did; set the machine's clock and measure again."
            yield Finding(code="time-early", path=f"{at}.started_at", message=message)
        yield from _check_cell(cell, at, started, number, spans)
    yield from _check_order(sent)
    yield from _check_overlap(spans)


def _check_cell(
    cell: Cell, at: str, started: datetime, number: int, spans: list[tuple[datetime, datetime, int]]
) -> Iterator[Finding]:
    """A cell's windows lie in the time that it took; they are noted in ``spans``."""
    if not 0 <= (cell.duration_s or 0.0) < 1e9:
        yield Finding(code="time-window", path=f"{at}.duration_s", message="no cell takes so long; pack the run again.")
        return
    if cell.energy is not None and length_s(cell.energy) > (cell.duration_s or 0.0) + SLACK_S:
        message = "the windows are longer than the cell took; pack the run again."
        yield Finding(code="time-window", path=f"{at}.energy.window_s", message=message)
    for place, span in enumerate(cell.windows):
        opened = _moment(span.began_at)
        if opened is None:
            yield _unreadable(f"{at}.windows[{place}].began_at")
        elif not 0 < span.window_s < 1e9 or (
            _s(opened, started) < -SLACK_S or _s(opened, started) + span.window_s > (cell.duration_s or 0.0) + SLACK_S
        ):
            message = "the window does not lie in the time that the cell took; pack the run again."
            yield Finding(code="time-window", path=f"{at}.windows[{place}]", message=message)
        else:
            spans.append((opened, opened + timedelta(seconds=span.window_s), number))


def _check_order(sent: Submission) -> Iterator[Finding]:
    """Cells that one invocation measured at the first attempt began in their order."""
    if len(sent.run.invocations) > 1 or any(cell.attempt != 1 for cell in sent.cells):
        return
    times = [(cell.order, _moment(cell.started_at), number) for number, cell in enumerate(sent.cells)]
    latest: datetime | None = None
    for _, started, number in sorted(times, key=lambda each: each[0]):
        if started is not None and latest is not None and _s(started, latest) < -SLACK_S:
            message = "it began before cells that come earlier in the order; pack the run again."
            yield Finding(code="time-order", path=f"cells[{number}].started_at", message=message)
        latest = max(filter(None, (latest, started)), default=None)


def _check_overlap(spans: list[tuple[datetime, datetime, int]]) -> Iterator[Finding]:
    """One machine measures one cell at a time; a clock that is set may make one window seem to begin too early."""
    until: datetime | None = None
    small: list[int] = []
    for opened, closed, number in sorted(spans):
        over_s = 0.0 if until is None else _s(until, opened)
        if over_s > SLACK_S:
            yield _overlapping(number)
        elif over_s > _s(closed, opened) / 2:
            small.append(number)
        until = closed if until is None else max(until, closed)
    if len(small) > _MOST_SMALL:
        yield _overlapping(small[0])


def _overlapping(number: int) -> Finding:
    message = "its window overlaps with another cell's, and cells are measured one by one; pack the run again."
    return Finding(code="time-overlap", path=f"cells[{number}].windows", message=message)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        # Also refuses what lies outside of the calendar once its zone is taken off.
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _s(later: datetime, earlier: datetime) -> float:
    return (later - earlier).total_seconds()


def _unreadable(path: str) -> Finding:
    message = "it is no time in ISO 8601 with its zone, such as 2026-01-05T10:00:00Z; pack the run again."
    return Finding(code="time-format", path=path, message=message)


def _ahead(path: str) -> Finding:
    return Finding(code="time-future", path=path, message="it lies in the future; set the machine's clock.")
