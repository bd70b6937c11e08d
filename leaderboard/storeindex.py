"""A store's index: a line for each accepted submission, and which of them a newer one supersedes.

``{SHA256: {...}, "schema": "joulemark.store/1"}``: canonical JSON with a line for each key. ``schema`` is the last, so
that all entries' lines end alike, and git merges what two people added by taking the lines of both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from joulemark.harness.store import canonical_json

from .findings import refuse
from .submission import Submission

__all__ = ["NAME", "SCHEMA", "Entry", "counts_of", "entry_of", "in_order", "index_schema", "index_text", "read_index"]

SCHEMA = "joulemark.store/1"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Of who sent a submission: what no page, sheet or path takes for anything else. Names of accounts are such."""
_MEND = "Put it back as git has it, or delete it: `joulemark leaderboard add --store DIR` makes it anew, without `by`."

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Entry(BaseModel):
    """An accepted submission."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    sha256: Sha256
    """The submission's own, and the name of its file."""
    run_id: str
    """The run."""
    created_at: str
    """When the run was begun, as its header says; in UTC, so that texts sort as times do."""
    machine_id: str
    """Where it ran."""
    key: str
    """Of what was measured, where and by what grade: a newer run of the same key and sender supersedes."""
    models: int
    """Number of models."""
    tasks: int
    """Number of tasks."""
    cells: int
    """Number of finished cells."""
    bytes_sha256: Sha256 | None = None
    """Of its file, as `sha256sum` tells it: what has these bytes was checked when it came; null: not known."""
    by: Annotated[str, StringConstraints(pattern=NAME)] | None = None
    """Who sent it; null where nobody was named."""
    added_at: str | None = None
    """When it was accepted, in UTC; null where the index was lost."""
    superseded_by: Sha256 | None = None
    """The sha256 of the next newer one that takes its place."""


def entry_of(
    sent: Submission, content: bytes | None = None, *, by: str | None = None, added_at: str | None = None
) -> Entry:
    """What the index says of a submission.

    Args:
        sent: What it says.
        content: Its file's; None: nobody vouches for that file's bytes.
        by: Who sent it.
        added_at: When it was accepted.

    Raises:
        Refused: Its run has no date.
    """
    finished = [cell for cell in sent.cells if cell.status == "ok"]
    return Entry(
        sha256=sent.sha256,
        run_id=sent.run.run_id,
        created_at=_in_utc(sent.run.created_at),
        machine_id=sent.run.machine.machine_id,
        key=_key(sent),
        models=len({cell.model for cell in finished}),
        tasks=len({cell.task for cell in finished}),
        cells=len(finished),
        bytes_sha256=None if content is None else hashlib.sha256(content).hexdigest(),
        by=by,
        added_at=added_at,
    )


def counts_of(entry: Entry) -> str:
    """How much is in a submission, in words."""
    counts = (("model", entry.models), ("task", entry.tasks), ("finished cell", entry.cells))
    return ", ".join(f"{count:,} {what}{'' if count == 1 else 's'}" for what, count in counts)


def in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Entries by date and run, each with what supersedes it: the next one by its sender of its key or its run."""
    found = sorted(entries, key=lambda entry: (entry.created_at, entry.run_id, entry.cells, entry.sha256))
    later: dict[tuple[str | None, str, str], int] = {}
    for place in reversed(range(len(found))):
        entry = found[place]
        same = [(entry.by, "key", entry.key), (entry.by, "run", entry.run_id)]
        newer = [later[what] for what in same if what in later]
        found[place] = entry.model_copy(update={"superseded_by": found[min(newer)].sha256 if newer else None})
        later |= dict.fromkeys(same, place)
    return tuple(found)


def index_text(entries: Iterable[Entry]) -> str:
    """The whole of ``index.json``: the same text for the same entries, a line each, by their ``sha256``."""
    lines = [
        f'"{entry.sha256}":{canonical_json(entry.model_dump(mode="json", exclude={"sha256"}))},\n'
        for entry in sorted(in_order(entries), key=lambda entry: entry.sha256)
    ]
    return f'{{\n{"".join(lines)}"schema":"{SCHEMA}"\n}}\n'


def read_index(path: Path) -> tuple[Entry, ...]:
    """Entries in order; what supersedes what is worked out anew, as a merge leaves it as either side had it.

    Raises:
        Refused: It is no index, such as after a merge that went wrong.
        OSError: It cannot be opened.
    """
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_once)
        if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
            raise ValueError(f"it is no {SCHEMA}")
        return in_order(TypeAdapter(dict[Sha256, Entry]).validate_python(_named(content)).values())
    except ValidationError as problem:
        error = problem.errors(include_input=False, include_url=False)[0]
        _refuse(path, f"{'.'.join(map(str, error['loc']))}: {error['msg']}")
    except (ValueError, RecursionError) as problem:
        _refuse(path, str(problem))


def index_schema() -> dict[str, Any]:
    """The JSON schema of ``index.json``."""
    entry = Entry.model_json_schema()
    entry["properties"].pop("sha256")
    entry["required"].remove("sha256")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"The index of a store of submissions ({SCHEMA})",
        "type": "object",
        "required": ["schema"],
        "properties": {"schema": {"const": SCHEMA}},
        "patternProperties": {
            "^[0-9a-f]{64}$": {**entry, "description": "By its sha256, an accepted submission: accepted/SHA256.json."},
        },
    }


def _refuse(path: Path, wrong: str) -> NoReturn:
    refuse("store-index", path.name, f"it cannot be read ({wrong}). {_MEND}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a key may be there twice if both say the same, as git leaves lines that it took from two sides.

    Raises:
        ValueError: They do not.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and _lasting(found[key]) != _lasting(value):
            raise ValueError(f"it has {key} twice, and they differ: remove one of the two")
        found[key] = value
    return found


def _lasting(value: Any) -> Any:
    """What an entry says that no later one changes, nor an older release leaves out."""
    passing = ("superseded_by", "bytes_sha256")
    return {key: own for key, own in value.items() if key not in passing} if isinstance(value, dict) else value


def _named(content: dict[str, Any]) -> dict[str, Any]:
    """With each entry's own name in it."""
    return {
        sha256: {**entry, "sha256": sha256} if isinstance(entry, dict) else entry for sha256, entry in content.items()
    }


def _key(sent: Submission) -> str:
    """Of the machine, and of each model, task and setting with the meters' scope and grade; repeats do not count."""
    measured = {
        canonical_json(
            [cell.model, cell.model_args, cell.task, cell.task_hash, cell.setting]
            + ([cell.energy.scope, cell.energy.grade] if cell.energy else [])
        )
        for cell in sent.cells
        if cell.status == "ok"
    }
    content = canonical_json([sent.run.machine.machine_id, sorted(measured)])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _in_utc(text: str) -> str:
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        refuse("times", "run.created_at", "it is no date and time; pack the run again.")
