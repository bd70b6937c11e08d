"""``joulemark gate``: pass or fail, for the owner of a pipeline."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from joulemark.harness.said import few
from joulemark.harness.store import replace_file
from joulemark.meters.errors import UsageError

from .gate import Gate, judge
from .gatecalibratecommand import calibration_options, check_usage, run_calibration
from .gateconfig import read_gate_config
from .gatefiles import as_annotations, as_badge, as_json, as_junit, as_markdown
from .gatehistory import read_history
from .gatetable import print_gate
from .gatewords import Account, make_account
from .pairing import Side, read_side
from .progress import planned_tasks
from .wording import safe

__all__ = ["gate"]

_CODES = {"pass": 0, "fail": 1, "inconclusive": 3, "incomparable": 4}
_FILE = click.Path(dir_okay=False, path_type=Path)
_NAMED = 8


@click.command()
@click.option("--baseline", metavar="RUN[:MODEL]", help="What must not get worse.")
@click.option("--candidate", metavar="RUN[:MODEL]", help="What it is to be replaced by.")
@click.option("--config", type=_FILE, metavar="FILE",
              help="A TOML file with a [gate] table; else joulemark.toml or pyproject.toml here.")  # fmt: skip
@click.option("-t", "--task", "tasks", multiple=True, metavar="GLOB",
              help="Only tasks of such names; to calibrate: these; repeatable.")  # fmt: skip
@click.option("--allow-unpaired", is_flag=True, help="Compare two runs, by how far --history says that runs differ.")
@click.option("--history", multiple=True, type=click.Path(file_okay=False, path_type=Path), metavar="RUN",
              help="An earlier run of the baseline's model; repeatable: one of each of 20 days or more.")  # fmt: skip
@click.option("--on-inconclusive", type=click.Choice(["code", "warn", "fail"]), show_default="code",
              help="Exit code where neither can be told: 3, 0 or 1.")  # fmt: skip
@click.option("--junit", type=_FILE, metavar="FILE", help="Write JUnit XML, a test case for each rule.")
@click.option("--markdown", type=_FILE, metavar="FILE", help="Write Markdown for a job's summary or a comment.")
@click.option("--badge", type=_FILE, metavar="FILE", help="Write JSON for a Shields endpoint badge.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@calibration_options
def gate(
    baseline: str,
    candidate: str,
    config: Path | None,
    tasks: tuple[str, ...],
    allow_unpaired: bool,
    history: tuple[Path, ...],
    on_inconclusive: str | None,
    as_object: bool,
    junit: Path | None,
    markdown: Path | None,
    badge: Path | None,
    calibrate: bool,
    **measured: Any,
) -> int:
    """Pass or fail a candidate: does it take more energy, or answer worse, than its baseline may?

    Measure both in one run: joulemark run -m base=... -m cand=... --order abba --repeats 6 --out R; then
    --baseline R:base --candidate R:cand.

    Exit codes: 0 pass, 1 fail, 3 inconclusive, 4 incomparable.

    How small a change does this machine see? joulemark gate --calibrate measures that in a minute or two.

    In GitHub's jobs it also prints annotations, and adds the Markdown to the job's summary unless --markdown says
    where.
    """
    check_usage()
    if calibrate:
        return run_calibration(config, tasks, as_object=as_object, **measured)
    asked = read_gate_config(config)
    if bool(history) != allow_unpaired:
        raise UsageError(
            "--allow-unpaired and --history belong together: the history says how far two runs may differ."
        )
    _clear(junit, markdown, badge)
    first, second = read_side(baseline, finished=False), read_side(candidate, finished=False)
    _check(tasks, first, second)
    found = judge(first, second, asked, only=tasks, history=read_history(history) if history else None)
    otherwise = on_inconclusive or asked.on_inconclusive
    given = _as_given(config=[asked.source], task=tasks, history=history, on_inconclusive=[on_inconclusive])
    options = [*(["--allow-unpaired"] if allow_unpaired else []), *given]
    account = make_account(found, first, second, asked, options)
    if as_object:
        for warning in account.warnings:
            click.echo(warning, err=True)
        click.echo(as_json(account))
    else:
        print_gate(account)
    _tell_github(account, summary=markdown is None)
    _write(account, inconclusive_fails=otherwise == "fail", junit=junit, markdown=markdown, badge=badge)
    return exit_code(found, otherwise)


def exit_code(found: Gate, on_inconclusive: str) -> int:
    """The contract's exit code of a verdict."""
    if found.verdict == "inconclusive":
        return {"code": 3, "warn": 0, "fail": 1}[on_inconclusive]
    return _CODES[found.verdict]


def _check(patterns: Sequence[str], *sides: Side) -> None:
    """Refuse a pattern that no task fits: what was meant would not be judged."""
    known = {task for side in sides for entrant in side.entrants.values() for task in entrant.samples}
    known |= {task for side in sides for task in planned_tasks(side.run)}
    for pattern in patterns:
        if not any(fnmatchcase(task, pattern) for task in known):
            some = few(sorted(map(safe, known)), _NAMED)
            raise UsageError(f"--task {pattern}: no task is called so; there are {some}.")


def _as_given(**options: Sequence[Any]) -> list[str]:
    """Options as they stand on a command line."""
    given = [
        (f"--{name.replace('_', '-')}", str(value)) for name, values in options.items() for value in values if value
    ]
    return [word for pair in given for word in pair]


def _tell_github(account: Account, *, summary: bool) -> None:
    """Annotations, which a job reads on stderr as well, and its summary; neither ever changes the exit code."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in as_annotations(account):
            click.echo(line, err=True)
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if file and summary:
        try:
            with Path(file).open("a", encoding="utf-8") as opened:
                opened.write(as_markdown(account))
        except OSError as problem:
            click.echo(f"cannot add to the job's summary {file}: {problem.strerror or problem}.", err=True)


def _clear(*files: Path | None) -> None:
    """Take away what an earlier gate wrote: where nothing can be judged now, its verdict is not this one's."""
    for file in filter(None, files):
        with contextlib.suppress(OSError):  # What cannot be removed cannot be written either, and is told of then.
            file.unlink()


def _write(
    account: Account, *, inconclusive_fails: bool, junit: Path | None, markdown: Path | None, badge: Path | None
) -> None:
    """Write the files that were asked for.

    Raises:
        UsageError: One of them cannot be written.
    """
    contents = [
        (junit, as_junit(account, inconclusive_fails=inconclusive_fails)),
        (markdown, as_markdown(account).encode()),
        (badge, as_badge(account).encode()),
    ]
    for file, content in contents:
        if file is None:
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, content)
        except OSError as problem:
            raise UsageError(f"cannot write {file}: {problem.strerror or problem}; name another file.") from problem
