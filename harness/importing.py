"""Results of other tools as a run directory, with all that their files do not say."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from joulemark.meters.errors import UsageError

from .formats.found import About, File, Found, Origin, Read, Result
from .header import now
from .record import IMPORTED, ITEM_COLUMNS, NO_ITEMS, Cell, RunHeader
from .said import few
from .store import HEADER, RunWriter, canonical_json, refuse_used

__all__ = ["about", "formats", "import_files", "reader", "with_quality", "write_run"]

_GROUP = "joulemark.importers"
_NAMED = 6


def formats() -> list[str]:
    """The names of all formats that can be imported."""
    return sorted(_readers())


def reader(name: str) -> Read:
    """What reads files of a format.

    Raises:
        UsageError: There is no such format, or it cannot be imported.
    """
    known = _readers()
    if name not in known:
        raise UsageError(f"unknown format {name!r}; there are {', '.join(sorted(known))}.")
    try:
        found: Read = known[name].load()
    except (ImportError, AttributeError) as problem:
        raise UsageError(f"format {name!r} cannot be loaded from {known[name].value}: {problem}") from problem
    return found


def about(name: str) -> About | None:
    """What a format's module says of it; None where it says nothing, or cannot be imported."""
    try:
        told = getattr(sys.modules[reader(name).__module__], "ABOUT", None)
    except UsageError:
        return None
    return told if isinstance(told, About) else None


def _readers() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=_GROUP)}


def import_files(name: str, files: Sequence[Path], out: Path) -> Found:
    """Read files of a format into a new run directory; nothing is written where they cannot be read.

    Raises:
        UsageError: There is no such format, a file is not of it or cut short, or ``out`` is used.
    """
    read = reader(name)
    once = list(dict.fromkeys(files))
    try:
        found = read(once)
    except RecursionError as problem:
        raise UsageError(f"{once[0]} has values that lie too deep in one another.") from problem
    if found.created_at is None:
        found = replace(found, missing=tuple(dict.fromkeys((*found.missing, *_without_time(found.results)))))
    write_run(found, [*once, *found.beside], out, name=name)
    return found


def _without_time(results: Sequence[Result]) -> list[str]:
    """What is to be said of results whose time no file tells."""
    untold = {result.file: None for result in results if result.started_at is None}
    told = {result.file for result in results if result.started_at is not None}
    if not untold:
        return []
    # Two files in two folders may have one name.
    names = [name for name in untold if name is not None and name not in told]
    some = f"what is in {few(names, _NAMED)}" if len(names) == len(untold) else "some of it"
    return [f"When {some if told else 'it'} was measured is not told, or not in a known time zone."]


def with_quality(results: Sequence[Result]) -> list[bool]:
    """Of each result, whether tables show a quality: all repeats have it, and what came of single questions."""
    lacking = {_who(result) for result in results if result.quality is None or not _is_scored(result.items)}
    return [_who(result) not in lacking for result in results]


def _is_scored(items: pd.DataFrame | None) -> bool:
    return items is not None and bool(items["score"].between(0, 1).all())


def write_run(found: Found, files: Sequence[Path], out: Path, *, name: str) -> None:
    """Write what was found as a run directory.

    Args:
        found: What the files hold.
        files: These files.
        out: The directory.
        name: Of the format.

    Raises:
        UsageError: There is nothing in them, a figure in them is none, or the directory is used or cannot be written.
    """
    if not found.results:
        raise UsageError(f"{', '.join(map(str, files))}: there are no results in it; nothing was written.")
    try:
        header = _header(found, files, name)
        cells = [
            (_cell(header, result, order), _as_stored(result.items), result.samples)
            for order, result in enumerate(_numbered(found.results))
        ]
        # What JSON or UTF-8 cannot hold, such as half of a character, is found before anything is written.
        for told in (header, *(cell for cell, _, _ in cells)):
            canonical_json(told.model_dump(mode="json")).encode()
    except ValidationError as problem:
        error = problem.errors()[0]
        where = ".".join(map(str, error["loc"]))
        raise UsageError(f"{files[0]}: {where} is {error['msg'][:1].lower()}{error['msg'][1:]}.") from problem
    except ValueError as problem:
        raise UsageError(f"{files[0]}: a value in it is no number or text that can be kept.") from problem
    # What is wrong with the files comes first: another folder mends none of it.
    if (out / HEADER).exists():
        raise UsageError(f"{out} holds a run already; name another folder with --out.")
    refuse_used(out)
    with RunWriter(out) as writer:
        writer.write_header(header)
        for cell, items, samples in cells:
            writer.append(cell, items, samples=samples)
        writer.compact()


def _header(found: Found, files: Sequence[Path], name: str) -> RunHeader:
    first = found.stations[0]
    prints = tuple(map(_fingerprint, files))
    told = Origin(format=name, files=prints, missing=found.missing, at=now(), origins=found.origins)
    # The same files make the same run.
    run_id = hashlib.sha256(json.dumps([name, [each.sha256 for each in prints]]).encode()).hexdigest()[:12]
    return RunHeader(
        run_id=f"imported-{run_id}",
        created_at=found.created_at or _earliest(found.results),
        joulemark_version=version("joulemark"),
        plan={IMPORTED: told.model_dump(mode="json", exclude_defaults=True)},
        seed=None,
        machine=first.machine,
        software=first.software,
        meters=first.meters,
        idle=first.idle,
        invocations=first.invocations,
        stations=found.stations if len(found.stations) > 1 else (),
        carbon=found.carbon,
    )


def _earliest(results: Sequence[Result]) -> str | None:
    """When the first of them began; None where that is not known of all."""
    known = [result.started_at for result in results if result.started_at is not None]
    return min(known) if len(known) == len(results) else None


def _fingerprint(file: Path) -> File:
    content = file.read_bytes()
    return File(name=file.name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def _numbered(results: Sequence[Result]) -> list[Result]:
    """With repeats that differ where all else is the same."""
    taken: dict[str, set[int]] = {}
    found = []
    for result in results:
        own = taken.setdefault(_who(result), set())
        repeat = result.repeat if result.repeat not in own else max(own) + 1
        own.add(repeat)
        found.append(replace(result, repeat=repeat))
    return found


def _who(result: Result) -> str:
    """What is the same in all repeats."""
    return json.dumps(
        [result.model, result.model_args, result.machine_id, result.task, dict(result.setting)],
        sort_keys=True,
        default=str,
    )


def _cell(header: RunHeader, result: Result, order: int) -> Cell:
    facts = {name: getattr(result, name) for name in Cell.model_fields if name in Result.__dataclass_fields__}
    flags = (IMPORTED, *result.flags, *(() if result.items is not None else (NO_ITEMS,)))
    return Cell(
        **facts
        | {
            "run_id": header.run_id,
            "cell_id": _cell_id(result),
            "setting": dict(result.setting),
            "other_metrics": dict(result.other_metrics),
            "order": order,
            "status": "ok",
            "flags": tuple(dict.fromkeys(flags)),
        }
    )


def _cell_id(result: Result) -> str:
    """The same for the same model, task, setting, machine and repeat; fit for a file name."""
    digest = hashlib.sha256(json.dumps([_who(result), result.repeat]).encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9._]+", "-", f"{result.model}-{result.task}")[:80].strip("-.")
    return f"{readable or 'cell'}-r{result.repeat}-{digest}"


def _as_stored(items: pd.DataFrame | None) -> pd.DataFrame | None:
    """The columns of items in their own types; those that a file does not tell are missing."""
    if items is None:
        return None
    return pd.DataFrame(
        {
            name: pd.Series(items.get(name), index=items.index, dtype=kind)
            for name, kind in ITEM_COLUMNS.items()
            if name in items or name in _NEEDED
        }
    )


_NEEDED = ("doc_id", "doc_hash", "score", "correct", "energy_j", "latency_s", "cluster", "level", "truncated")
