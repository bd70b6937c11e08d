"""The command line: loads each command by name when it is called, and is the only place that exits."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any, NoReturn

import click

from joulemark.meters.errors import Incomparable, JoulemarkError, MeasuringFailed

__all__ = ["cli", "main"]

COMMANDS = {
    "run": ("joulemark.harness.commands:run", "Measure models on tasks: quality and energy."),
    "init": ("joulemark.harness.planfile:init", "A plan file with every key explained, to start from."),
    "doctor": ("joulemark.harness.commands:doctor", "Which meters work here, which don't, and the fix."),
    "meters": ("joulemark.harness.commands:meters", "Meters that can be named."),
    "models": ("joulemark.harness.commands:models", "Models that can be named."),
    "tasks": ("joulemark.harness.commands:tasks", "Tasks that can be named."),
    "rank": ("joulemark.reports.commands:rank", "The table: who gives the most quality for the energy."),
    "compare": ("joulemark.reports.commands:compare", "Two models on the same questions: differences, with intervals."),
    "gate": ("joulemark.reports.gatecommands:gate", "Pass or fail: does a candidate take more, or answer worse?"),
    "report": ("joulemark.reports.commands:report", "Report, pictures and data of one or more runs."),
    "export": ("joulemark.reports.exportcommand:export", "A run for other tools: lm-eval's JSON, CSV and others."),
    "soak": ("joulemark.harness.soakcommands:soak", "Sustained load on one model: does its energy drift?"),
    "leaderboard": ("joulemark.leaderboard.commands:leaderboard", "A public board: submissions, checks, the site."),
    "import": ("joulemark.harness.importcommand:import_results", "Results of other tools, as a run of their own."),
    "remeter": ("joulemark.harness.commands:remeter", "Take a run's energy anew from a recorded power trace."),
}
"""Command -> where it is, and its line in ``joulemark --help``."""


def load(place: str) -> Any:
    """The object at ``module:name``."""
    module, name = place.split(":")
    return getattr(import_module(module), name)


class Commands(click.Group):
    """Commands whose modules are imported only when one of them is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names, in the order of a first session."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = load(COMMANDS[cmd_name][0])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine, 1 a check failed, 2 wrong usage, 3 inconclusive, 4 incomparable, 5 measuring failed, "
    "70 a fault of its own, 130 stopped.",
)
@click.version_option(version("joulemark"), prog_name="joulemark", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
def cli(debug: bool) -> None:
    """Quality per watt-hour: measure language models' answers and their energy, and rank them honestly."""


@cli.result_callback()
def finish(result: Any, **_: Any) -> int:
    """After ``run`` or ``soak``: the table, the report, and the exit code; a command's own code otherwise."""
    if not hasattr(result, "problem"):
        return result if isinstance(result, int) else 0
    try:
        conclude = getattr(result, "conclude", "joulemark.reports.commands:conclude")
        load(conclude)(result.path, as_json=result.as_json)
    except Incomparable:
        if not result.problem:
            raise
    except KeyboardInterrupt:
        again = f"`joulemark report {shlex.quote(str(result.path))}`"
        click.echo(f"joulemark: stopped; what was measured is kept, and {again} makes its report.", err=True)
        return 130
    if result.problem:
        raise MeasuringFailed(result.problem)
    return 0


def main() -> NoReturn:
    """Run the command line and exit."""
    debug = "--debug" in sys.argv[1:2]
    try:
        sys.exit(cli.main(standalone_mode=False, prog_name="joulemark"))
    except click.exceptions.NoArgsIsHelpError as problem:
        click.echo(problem.format_message())
        sys.exit(2)
    except (JoulemarkError, click.ClickException) as problem:
        if debug:
            raise
        message = problem.format_message() if isinstance(problem, click.ClickException) else str(problem)
        click.echo(f"joulemark: {' '.join(message.split())}", err=True)
        sys.exit(problem.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("joulemark: stopped.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except Exception as problem:
        if debug:
            raise
        what = f"{type(problem).__name__}: {' '.join(str(problem).split())[:300]}"
        click.echo(f"joulemark: this should not have happened: {what}; `joulemark --debug ...` shows where.", err=True)
        # Not 1: a gate that breaks has not found a regression.
        sys.exit(os.EX_SOFTWARE)


if __name__ == "__main__":
    main()
