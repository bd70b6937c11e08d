"""``joulemark gate``: pass or fail, for the owner of a pipeline."""

from __future__ import annotations

from pathlib import Path

import click

from .gate import Gate, judge
from .gateconfig import read_gate_config
from .pairing import read_side

__all__ = ["gate"]

_CODES = {"pass": 0, "fail": 1, "inconclusive": 3, "incomparable": 4}


@click.command()
@click.option("--baseline", required=True, metavar="RUN[:MODEL]", help="What must not get worse.")
@click.option("--candidate", required=True, metavar="RUN[:MODEL]", help="What it is to be replaced by.")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="A TOML file with a [gate] table; else joulemark.toml or pyproject.toml here.")  # fmt: skip
@click.option("--on-inconclusive", type=click.Choice(["code", "warn", "fail"]),
              help="Exit code where neither can be told: 3, 0 or 1.")  # fmt: skip
def gate(baseline: str, candidate: str, config: Path | None, on_inconclusive: str | None) -> int:
    """Pass or fail a candidate: does it take more energy, or answer worse, than its baseline may?

    Exit codes: 0 pass, 1 fail, 3 inconclusive, 4 incomparable.
    """
    asked = read_gate_config(config)
    sides = read_side(baseline), read_side(candidate)
    for note in dict.fromkeys(note for side in sides for note in side.run.notes):
        click.echo(note, err=True)
    found = judge(*sides, asked)
    click.echo(found.verdict)
    for rule in found.rules:
        click.echo(str(rule))
    for reason in found.reasons:
        click.echo(reason)
    return exit_code(found, on_inconclusive or asked.on_inconclusive)


def exit_code(found: Gate, on_inconclusive: str) -> int:
    """The contract's exit code of a verdict."""
    if found.verdict == "inconclusive":
        return {"code": 3, "warn": 0, "fail": 1}[on_inconclusive]
    return _CODES[found.verdict]
