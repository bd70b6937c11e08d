"""Runs that Joulemark did not measure: where they came from, and what nobody told."""

from __future__ import annotations

from joulemark.harness.record import IMPORTED
from joulemark.harness.store import Run

__all__ = ["imported_from", "is_imported"]


def is_imported(run: Run) -> bool:
    """Whether it was read from files of another tool."""
    return IMPORTED in run.header.plan


def imported_from(run: Run) -> str | None:
    """The format of its files and what they do not say, as the end of a note; None where Joulemark measured it."""
    if not is_imported(run):
        return None
    told = run.header.plan[IMPORTED]
    told = told if isinstance(told, dict) else {}
    missing = [str(sentence) for sentence in told.get("missing") or ()]
    more = f" What is not known: {' '.join(missing)}" if missing else ""
    return f"files of {told.get('format', 'another tool')}, and not measured by Joulemark.{more}"
