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
from .submission import Submission, pack, read_submission

__all__ = ["leaderboard"]

_FILE = click.Path(path_type=Path)


@click.group()
def leaderboard() -> None:
    """Submissions to a public board: pack a run, and check what others sent."""


leaderboard.add_command(add_files)
leaderboard.add_command(build)
leaderboard.add_command(serve)


@leaderboard.command("pack")
@click.argument("run", metavar="RUN", type=click.Path(file_okay=False, path_type=Path))
@click.option("-o", "--out", required=True, type=_FILE, metavar="FILE", help="The JSON file to write.")
def pack_run(run: Path, out: Path) -> int:
    """Write a run as one JSON file, with each item's outcome, for others to check.

    It has the machine, the meters, the plan and all cells as they are in the run; of paths it has the last name alone,
    and nothing of what was asked and answered but whether it was right.
    """
    content = pack(read_run(run))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, content)
    except OSError as problem:
        raise UsageError(f"cannot write {out}: {problem.strerror or problem}; name another file.") from problem
    sent = read_submission(out)
    click.echo(f"{out}: {_told(sent)}, {len(content) / 1e6:.1f} MB.")
    for finding in audit(sent):
        click.echo(f"{out}: {finding}", err=True)
    return 0


def _print_schema(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Print it instead of checking files."""
    if wanted:
        from .schema import schema_text

        click.echo(schema_text(), nl=False)
        context.exit()


@leaderboard.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE..", type=_FILE)
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@click.option(
    "--schema", is_flag=True, is_eager=True, expose_value=False, callback=_print_schema, help="Print the JSON schema."
)
def validate(files: tuple[Path, ...], as_object: bool) -> int:
    """Check submissions: form, sums, physics; a problem a line.

    Exit codes: 0 nothing is wrong, 1 something is, 2 there is no such file.
    """
    told = []
    for file in files:
        sent, findings = check(file)
        remarks = notes(sent) if sent and not findings else []
        told.append(
            {"file": str(file), "valid": not findings, "findings": [vars(each) for each in findings], "notes": remarks}
        )
        if not as_object:
            for each in findings:
                click.echo(f"{file}: {each}")
            if sent and not findings:
                click.echo(" ".join([f"{file}: valid. {_told(sent)}.", *map(safe, remarks)]))
    if as_object:
        click.echo(json.dumps({"schema": "joulemark.validation/1", "files": told}, indent=2))
    return 0 if all(each["valid"] for each in told) else 1


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


def _told(sent: Submission) -> str:
    models, tasks = (len({getattr(cell, name) for cell in sent.cells}) for name in ("model", "task"))
    return f"{models:,} models, {tasks:,} tasks, {len(sent.cells):,} cells"
