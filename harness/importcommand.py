"""The command ``import``: results of other tools as a run."""

from __future__ import annotations

import json
import shlex
import textwrap
from dataclasses import asdict
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from joulemark.meters.errors import UsageError

from .formats.found import Found
from .importing import about, formats, import_files, reader, with_quality
from .said import one_line

__all__ = ["import_results"]

_WIDE = 79


class _WithFormats(click.Command):
    """A command whose help ends with the formats."""

    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each format and the files that it is."""
        with formatter.section("Formats"):
            formatter.write_dl([(name, told.reads if (told := about(name)) else "") for name in formats()])


def _complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in formats() if name.startswith(incomplete)]


@click.command("import", cls=_WithFormats)
@click.argument("name", metavar="FORMAT", shell_complete=_complete, required=False)
@click.argument("files", nargs=-1, metavar="FILE..", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the run.  [required, but for --list]"
)
@click.option("--list", "as_list", is_flag=True, help="Name all formats, what each reads, and what it never tells.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_results(name: str | None, files: tuple[Path, ...], out: Path | None, as_list: bool, as_json: bool) -> None:
    """Read results of another tool into a run, with all that they do not say.

    What has energy without quality, or quality without energy, stands in tables as such, and is never ranked.
    """
    if as_list:
        _list(as_json=as_json)
        return
    if name is None or not files or out is None:
        raise UsageError("name a FORMAT, its FILEs and --out; `joulemark import --list` names the formats.")
    reader(name)
    for file in files:
        if not file.exists():
            raise UsageError(f"{file} does not exist.")
    found = import_files(name, files, out)
    if as_json:
        told = {"schema": "joulemark.import/1", "format": name, "out": str(out), **_counts(found)}
        click.echo(json.dumps(told | {"missing": list(found.missing)}, indent=2))
        return
    _tell(found.missing)
    for line in _lines(found):
        click.echo(line)
    click.echo(f"joulemark rank {shlex.quote(str(out))}")


def _list(*, as_json: bool) -> None:
    """Print what there is to know of each format."""
    told = {name: about(name) for name in formats()}
    if as_json:
        rows = [{"name": name, **(asdict(own) if own else {})} for name, own in told.items()]
        click.echo(json.dumps({"schema": "joulemark.import-formats/1", "formats": rows}, indent=2))
        return
    for name, own in told.items():
        click.echo(name)
        for head, text in asdict(own).items() if own else ():
            click.echo(textwrap.fill(text, _WIDE, initial_indent=f"  {head:<7}", subsequent_indent=" " * 9))


def _tell(missing: tuple[str, ...]) -> None:
    """Say what is not known, a paragraph with a dash for each thing."""
    if missing:
        click.echo("What these files do not say, and what was made of that:", err=True)
    for sentence in missing:
        line = one_line(sentence, 2000) + "."
        click.echo(textwrap.fill(line, _WIDE, initial_indent="- ", subsequent_indent="  "), err=True)


def _counts(found: Found) -> dict[str, int]:
    energy = [result.energy is not None and result.energy.gross_j is not None for result in found.results]
    quality = with_quality(found.results)
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
