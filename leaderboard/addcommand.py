"""``joulemark leaderboard add``: submissions into a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from joulemark.meters.errors import UsageError
from joulemark.reports.wording import safe

from .store import ACCEPTED, Added, Looked, add, look_through
from .storeindex import counts_of
from .watching import watched

__all__ = ["add_files"]


@click.command("add")
@click.argument("files", nargs=-1, metavar="[FILE]..", type=click.Path(path_type=Path))
@click.option(
    "--store",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The store; made where there is none.",
)
@click.option("--by", metavar="NAME", help="Who sent them: a newer run supersedes only its own sender's.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
def add_files(files: tuple[Path, ...], store: Path, by: str | None, as_object: bool) -> int:
    """Accept submissions in which `validate` finds nothing wrong; a line for each.

    The same file again changes nothing. Without FILE the store itself is looked through: files that were changed are
    named, and an index that is not as the files have it is written anew.

    Exit codes: 0 all are in the store, 1 one was refused or the store is broken, 2 there is no such file.
    """
    for file in files:
        if not file.exists():
            raise UsageError(f"there is no file {file}; nothing was added.")
    if not files:
        return _look(store, as_object=as_object)
    told = []
    for file, added in zip(files, watched(files, lambda each: add(store, each, by=by), "files"), strict=True):
        told.append({"file": str(file), **_as_object(added)})
        if not as_object:
            for line in _lines(added):
                click.echo(f"{safe(str(file))}: {line}")
    if as_object:
        click.echo(json.dumps({"schema": "joulemark.added/1", "store": str(store), "files": told}, indent=2))
    return 1 if any(each["result"] == "refused" for each in told) else 0


def _as_object(added: Added) -> dict[str, Any]:
    """What became of a file; ``result`` is accepted, known or refused."""
    entry = added.entry
    return {
        "result": "refused" if entry is None else "known" if added.known else "accepted",
        "entry": entry and entry.model_dump(mode="json"),
        "supersedes": [each.sha256 for each in added.supersedes],
        "findings": [vars(finding) for finding in added.findings],
    }


def _lines(added: Added) -> list[str]:
    entry = added.entry
    if entry is None:
        return [f"refused. {finding}" for finding in added.findings]
    run = f"run {safe(entry.run_id)}"
    if added.known:
        return [f"{run} is in the store already; nothing was changed."]
    told = f"accepted, {run}: {counts_of(entry)}."
    if added.supersedes:
        told += f" It supersedes {_runs(added)}, which the store keeps as history."
    if entry.superseded_by:
        told += f" It is history: {ACCEPTED}/{entry.superseded_by}.json is newer."
    return [told]


def _runs(added: Added) -> str:
    return " and ".join(f"run {safe(entry.run_id)} of {entry.created_at[:10]}" for entry in added.supersedes)


def _look(folder: Path, *, as_object: bool) -> int:
    looked = look_through(folder)
    if as_object:
        click.echo(json.dumps({"schema": "joulemark.looked/1", "store": str(folder), **_counts(looked)}, indent=2))
        return 1 if looked.findings else 0
    for finding in looked.findings:
        click.echo(f"{safe(str(folder))}: {finding}")
    store = looked.store
    told = f"{len(store.current):,} current, {len(store.superseded):,} superseded"
    if looked.findings:
        index = "put right what is named above" + ("; the index was written anew" if looked.mended else "")
    else:
        index = ("the index was written anew" if looked.mended else "the index agrees with the files") + (
            "; nothing is wrong"
        )
    click.echo(f"{safe(str(folder))}: {told}; {index}.")
    return 1 if looked.findings else 0


def _counts(looked: Looked) -> dict[str, Any]:
    return {
        "current": len(looked.store.current),
        "superseded": len(looked.store.superseded),
        "mended": looked.mended,
        "findings": [vars(finding) for finding in looked.findings],
    }
