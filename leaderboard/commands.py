"""``joulemark leaderboard``: submissions, and the board that is made of them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from joulemark.harness.store import read_run, replace_file
from joulemark.meters.errors import UsageError
from joulemark.reports.wording import safe

from .addcommand import add_files
from .audit import audit, notes
from .buildcommand import build, serve
from .findings import Finding, Refused
from .review import Checked, as_markdown, facts_of
from .submission import Submission, pack, read_submission
from .watching import watched

__all__ = ["leaderboard"]

_FILE = click.Path(path_type=Path)


@click.group()
def leaderboard() -> None:
    """Public boards: pack a run, check what others sent, keep a store, build its site."""


leaderboard.add_command(add_files)
leaderboard.add_command(build)
leaderboard.add_command(serve)


@leaderboard.command("pack")
@click.argument("run", metavar="RUN", type=click.Path(file_okay=False, path_type=Path))
@click.option("-o", "--out", required=True, type=_FILE, metavar="FILE", help="The JSON file to write.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
def pack_run(run: Path, out: Path, as_object: bool) -> int:
    """Write a run as one JSON file, with each item's outcome, for others to check.

    It has the machine, the meters, the plan and all cells as they are in the run; of paths it has the last name alone,
    and nothing of what was asked and answered but whether it was right.

    Exit codes: 0 nothing is wrong with it, 1 `validate` would say what is told, 2 the run cannot be packed.
    """
    content = pack(read_run(run))
    _write(out, content)
    sent = read_submission(out)
    findings = audit(sent)
    if as_object:
        told = {"file": str(out), "bytes": len(content), "sha256": sent.sha256, "run_id": sent.run.run_id}
        told |= {**_counts(sent), "findings": [vars(each) for each in findings]}
        click.echo(json.dumps({"schema": "joulemark.packed/1", **told}, indent=2))
        return int(bool(findings))
    click.echo(f"{out}: {_told(sent)}, {_size(len(content))}.")
    for finding in findings:
        click.echo(f"{out}: {finding}", err=True)
    return int(bool(findings))


def _print_schema(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Print it instead of checking files."""
    if wanted:
        from .schema import schema_text

        click.echo(schema_text(), nl=False)
        context.exit()


@leaderboard.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE..", type=_FILE)
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@click.option("--markdown", type=_FILE, metavar="FILE", help="Write what a reviewer reads as Markdown.")
@click.option(
    "--schema", is_flag=True, is_eager=True, expose_value=False, callback=_print_schema, help="Print the JSON schema."
)
def validate(files: tuple[Path, ...], as_object: bool, markdown: Path | None) -> int:
    """Check submissions: form, sums, physics; a problem a line.

    Exit codes: 0 nothing is wrong, 1 something is, 2 there is no such file.
    """
    checked = []
    for each, counts in watched(files, _look_at, "files"):
        checked.append(each)
        if not as_object:
            for finding in each.findings:
                click.echo(f"{safe(each.file)}: {finding}")
            if not each.findings:
                click.echo(" ".join([f"{safe(each.file)}: valid. {counts}.", *map(safe, each.notes)]))
    if as_object:
        told = [
            {"file": e.file, "valid": not e.findings, "findings": [vars(f) for f in e.findings], "notes": list(e.notes)}
            for e in checked
        ]
        click.echo(json.dumps({"schema": "joulemark.validation/1", "files": told}, indent=2))
    if markdown is not None:
        _write(markdown, as_markdown(checked).encode())
    return 1 if any(each.findings for each in checked) else 0


def check(file: Path) -> tuple[Submission | None, list[Finding]]:
    """A submission, if its form is right, and what is wrong with it.

    Raises:
        UsageError: There is no such file.
    """
    try:
        sent = read_submission(file)
    except Refused as problem:
        return None, [problem.finding]
    except FileNotFoundError as problem:
        raise UsageError(f"there is no file {file}.") from problem
    except OSError as problem:
        return None, [Finding(code="unreadable", path="", message=f"it cannot be read: {problem.strerror}.")]
    return sent, audit(sent)


def _look_at(file: Path) -> tuple[Checked, str]:
    """What to tell of a file, and how much is in it."""
    sent, findings = check(file)
    if sent is None:
        return Checked(file=str(file), findings=tuple(findings)), ""
    remarks = () if findings else tuple(notes(sent))
    return Checked(file=str(file), facts=facts_of(sent), findings=tuple(findings), notes=remarks), _told(sent)


def _write(out: Path, content: bytes) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, content)
    except OSError as problem:
        raise UsageError(f"cannot write {out}: {problem.strerror or problem}; name another file.") from problem


def _size(many: int) -> str:
    return f"{many / 1e6:.1f} MB" if many >= 1e6 else f"{many / 1e3:.0f} kB"


def _told(sent: Submission) -> str:
    return ", ".join(f"{many:,} {what}" for what, many in _counts(sent).items())


def _counts(sent: Submission) -> dict[str, int]:
    return {
        "models": len({cell.model for cell in sent.cells}),
        "tasks": len({cell.task for cell in sent.cells}),
        "cells": len(sent.cells),
    }
