"""What cells of a submission have in common is said once, and they refer to it by number.

States of devices at the edges of windows stand in ``states``, since a GPU that works steadily tells few different ones;
and the windows that idle power was taken in, which all cells of a model share, in ``idle_windows``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from joulemark.harness.record import Span
from joulemark.harness.store import canonical_json

from .findings import refuse

if TYPE_CHECKING:
    from .submission import SentCell, Submission

__all__ = ["MOST_SHARED", "Number", "SentSpan", "check_references", "put_together", "share"]

MOST_SHARED = 100_000
"""Of each."""
_MOST_BYTES = 32 << 20
"""Of all that cells refer to, written out: 20,000 of six devices have as much."""
Number = Annotated[int, Field(ge=0)]


class SentSpan(Span):
    """A window.

    Attributes:
        states: Numbers of the devices' states at both of its edges; None where ``before`` and ``after`` tell them.
    """

    states: tuple[tuple[Number, ...], tuple[Number, ...]] | None = Field(default=None, exclude=True)


def share(cells: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """What of these cells, which are JSON, is said once; they then have its numbers."""
    states, idle = _Numbers(), _Numbers()
    for cell in cells:
        for window in cell.get("windows", ()):
            edges = [window.pop(edge, []) for edge in ("before", "after")]
            if any(edges):
                window["states"] = [[states.of(state) for state in edge] for edge in edges]
        if "idle_window" in cell:
            cell["idle_of"] = idle.of(cell.pop("idle_window"))
    shared = {"states": states.values, "idle_windows": idle.values}
    return {name: values for name, values in shared.items() if values}


class _Numbers:
    """Different values by number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._known: dict[str, int] = {}

    def of(self, value: Any) -> int:
        """Its number; a new one where it is not there yet."""
        number = self._known.setdefault(canonical_json(value), len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


def check_references(sent: Submission) -> None:
    """That each number refers to something, all is referred to, and written out it is not too large.

    Raises:
        Refused: One is not so.
    """
    idle = _count("idle_windows", len(sent.idle_windows), _idle_numbers(sent))
    states = _count("states", len(sent.states), _state_numbers(sent))
    written = 0
    for name, used, shared in (("idle_windows", idle, sent.idle_windows), ("states", states, sent.states)):
        if 0 in used:
            refuse("reference", f"{name}[{used.index(0)}]", "no cell refers to it; pack the run again.")
        written += sum(many * len(own.model_dump_json()) for many, own in zip(used, shared, strict=True))
    if written > _MOST_BYTES:
        refuse("too-many", "states", "cells refer to more states of devices than any run has; pack fewer of them.")


def _count(name: str, known: int, numbers: Iterable[tuple[str, int]]) -> list[int]:
    """How often each is referred to."""
    used = [0] * known
    for where, number in numbers:
        if number >= known:
            refuse("reference", where, f"there are {known} {name}; pack the run again.")
        used[number] += 1
    return used


def _idle_numbers(sent: Submission) -> Iterator[tuple[str, int]]:
    for number, cell in enumerate(sent.cells):
        if cell.idle_of is not None:
            where = f"cells[{number}].idle_of"
            if cell.idle_window is not None:
                refuse("reference", where, "the cell tells its idle_window a second time; pack the run again.")
            yield where, cell.idle_of


def _state_numbers(sent: Submission) -> Iterator[tuple[str, int]]:
    for number, cell in enumerate(sent.cells):
        for place, span in enumerate(cell.windows):
            if span.states is None:
                continue
            where = f"cells[{number}].windows[{place}].states"
            if span.before or span.after:
                refuse("reference", where, "the window tells its states a second time; pack the run again.")
            yield from ((where, state) for edge in span.states for state in edge)


def put_together(cell: SentCell, sent: Submission) -> Mapping[str, Any]:
    """What of a cell stands elsewhere: its windows with their states, and its idle window."""
    told: dict[str, Any] = {}
    if any(span.states is not None for span in cell.windows):
        told["windows"] = tuple(_with_states(span, sent) for span in cell.windows)
    if cell.idle_of is not None:
        told |= {"idle_window": sent.idle_windows[cell.idle_of], "idle_of": None}
    return told


def _with_states(span: SentSpan, sent: Submission) -> SentSpan:
    if span.states is None:
        return span
    before, after = (tuple(sent.states[number] for number in edge) for edge in span.states)
    return span.model_copy(update={"before": before, "after": after, "states": None})
