"""The command ``import``: results of other tools as a run."""

from __future__ import annotations

import json
import shlex
import textwrap
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from joulemark.meters.errors import UsageError

from .formats.found import Found
from .importing import formats, import_files
from .said import one_line

__all__ = ["import_results"]


def _complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in formats() if name.startswith(incomplete)]


def _list(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo("\n".join(formats()))
        ctx.exit()


@click.command("import")
@click.argument("name", metavar="FORMAT", shell_complete=_complete)
@click.argument("files", nargs=-1, required=True, metavar="FILE..", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the run.")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="Name all formats.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_results(name: str, files: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Read results of another tool into a run, with all that they do not say.

    What has energy without quality, or quality without energy, stands in tables as such, and is never ranked.
    """
    for file in files:
        if not file.exists():
            raise UsageError(f"{file} does not exist.")
    found = import_files(name, files, out)
    if as_json:
        told = {"schema": "joulemark.import/1", "format": name, "out": str(out), **_counts(found)}
        click.echo(json.dumps(told | {"missing": list(found.missing)}, indent=2))
        return
    for sentence in found.missing:
        click.echo(
            textwrap.fill(one_line(sentence, 2000) + ".", 100, initial_indent="- ", subsequent_indent="  "), err=True
        )
    for line in _lines(found):
        click.echo(line)
    click.echo(f"joulemark rank {shlex.quote(str(out))}")


def _counts(found: Found) -> dict[str, int]:
    energy = [result.energy is not None and result.energy.gross_j is not None for result in found.results]
    quality = [result.quality is not None for result in found.results]
    return {
        "results": len(found.results),
        "with_quality_and_energy": sum(a and b for a, b in zip(energy, quality, strict=True)),
        "with_quality_alone": sum(b and not a for a, b in zip(energy, quality, strict=True)),
        "with_energy_alone": sum(a and not b for a, b in zip(energy, quality, strict=True)),
        "with_neither": sum(not a and not b for a, b in zip(energy, quality, strict=True)),
        "machines": len(found.stations),
    }


_WHAT = {
    "with_quality_and_energy": "with quality and energy",
    "with_quality_alone": "with quality, without energy",
    "with_energy_alone": "with energy, without quality",
    "with_neither": "with neither, but a metric that is no quality",
}


def _lines(found: Found) -> list[str]:
    """How many results there are of each kind."""
    counts = _counts(found)
    lines = [f"{counts[key]:>5} {'result' if counts[key] == 1 else 'results'} {what}" for key, what in _WHAT.items()]
    return [line for line, key in zip(lines, _WHAT, strict=True) if counts[key]]
