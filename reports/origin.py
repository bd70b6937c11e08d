"""Runs that Joulemark did not measure: where they came from, and what nobody told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from joulemark.harness.formats.found import OURS
from joulemark.harness.record import IMPORTED, RunHeader
from joulemark.harness.store import Run

from .wording import joined

__all__ = ["Source", "files_of", "imported_at", "imported_from", "in_short", "is_imported", "not_told", "sources_of"]

Source = tuple[Literal["run", "file"], str]
"""A run of Joulemark's by its id, or a file by its SHA-256."""


def is_imported(run: Run) -> bool:
    """Whether it was read from files of another tool."""
    return IMPORTED in run.header.plan


def imported_from(run: Run) -> str | None:
    """The format of its files, as the end of a note; None where Joulemark measured it."""
    return f"{_where(_told(run.header))}." if is_imported(run) else None


def not_told(run: Run) -> tuple[str, ...]:
    """What the files that it was imported from do not say, a sentence each."""
    return tuple(str(sentence) for sentence in _told(run.header).get("missing") or ())


def sources_of(header: RunHeader) -> frozenset[Source]:
    """What a run's results are of: itself, and the run whose answers it holds; or where it was imported from."""
    if IMPORTED not in header.plan:
        return frozenset(("run", run_id) for run_id in (header.run_id, header.remetered_from) if run_id is not None)
    return frozenset(source for origin in _origins(_told(header)) for source in _sources(origin))


def in_short(header: RunHeader) -> str | None:
    """Where it was imported from in a few words, such as ``ml-energy``; None where Joulemark measured it."""
    if IMPORTED not in header.plan:
        return None
    return ", ".join(dict.fromkeys(_named(origin) for origin in _origins(_told(header))))


def files_of(header: RunHeader) -> tuple[str, ...]:
    """Names of the files that it was imported from; none where Joulemark measured it."""
    files = _told(header).get("files")
    told = files if isinstance(files, list | tuple) else ()
    return tuple(str(file["name"]) for file in told if isinstance(file, Mapping) and "name" in file)


def imported_at(header: RunHeader) -> str | None:
    """When it was imported, UTC, ISO 8601; None where it was not, or that is not told. It was measured before."""
    at = _told(header).get("at")
    return str(at) if at is not None else None


def _told(header: RunHeader) -> Mapping[str, Any]:
    told = header.plan.get(IMPORTED)
    return told if isinstance(told, Mapping) else {}


def _origins(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Where the results come from in the end: of an export of ours what that was made of, else the files themselves."""
    return _exported(told) or [told]


def _exported(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [origin for origin in told.get("origins") or () if isinstance(origin, Mapping)]


def _sources(origin: Mapping[str, Any]) -> list[Source]:
    if origin.get("format") == OURS and origin.get("run_id") is not None:
        return [("run", str(origin["run_id"]))]
    files = [file for file in origin.get("files") or () if isinstance(file, Mapping) and "sha256" in file]
    return [("file", str(file["sha256"])) for file in files]


def _named(origin: Mapping[str, Any]) -> str:
    ours = f"Joulemark's export of run {origin.get('run_id')}"
    return ours if origin.get("format") == OURS else str(origin.get("format", "another tool"))


def _where(told: Mapping[str, Any]) -> str:
    """The tools whose files these are; those of an export of ours that was read back are what it was made from."""
    origins = _exported(told)
    others = sorted({str(origin.get("format")) for origin in origins} - {OURS})
    runs = sorted({str(origin.get("run_id")) for origin in origins if origin.get("format") == OURS})
    if not origins:
        return f"files of {told.get('format', 'another tool')}, and not measured by Joulemark"
    if not others:
        return f"what Joulemark exported of {'run' if len(runs) == 1 else 'runs'} {joined(runs)}; nobody can check it"
    mine = f", and of Joulemark's {'run' if len(runs) == 1 else 'runs'} {joined(runs)}" if runs else ""
    which = "" if runs else ", and not measured by Joulemark"
    return f"what Joulemark exported of files of {joined(others)}{mine}{which}"
