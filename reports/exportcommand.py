"""``joulemark export``: a run for other tools."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import click

from joulemark.harness.said import few
from joulemark.harness.store import Run, read_run, replace_file
from joulemark.meters.errors import UsageError

from .wording import safe

__all__ = ["GROUP", "Write", "export"]

GROUP = "joulemark.exporters"
"""The entry points' group: a format's name, and the function that writes it."""

Write = Callable[[Run, str | None], bytes]
"""Writes a run, or one entrant of it by the name that tables give it; raises UsageError where that is not clear."""

_WITH_SAMPLES = "lm-eval"
_TOLD = {
    "lm-eval": "one entrant as lm-eval writes results, energy in our own block",
    "csv": "a row a cell, with every figure of it",
    "parquet": "the same with types",
    "openmetrics": "gauges for Prometheus and its kin",
    "model-card": "one entrant's block and section for a model's page on a hub",
}


def _list(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        formatter = ctx.make_formatter()
        formatter.write_dl(_formats())
        click.echo(formatter.getvalue(), nl=False)
        ctx.exit()


def _formats() -> list[tuple[str, str]]:
    """Each format, ours first, and what it is; of another package's the name of what writes it."""
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    ours = [(name, told) for name, told in _TOLD.items() if name in known]
    return ours + [(name, f"by {known[name].value}") for name in sorted(known.keys() - _TOLD.keys())]


class _NamingFormats(click.Command):
    """A command whose help ends with the formats that there are, those of other packages among them."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write them."""
        with formatter.section("Formats"):
            formatter.write_dl(_formats())


@click.command(name="export", cls=_NamingFormats)
@click.argument("form", metavar="FORMAT")
@click.argument("run", metavar="RUN", type=click.Path(file_okay=False, path_type=Path))
@click.option("-o", "--out", required=True, metavar="FILE",
              type=click.Path(path_type=Path, allow_dash=True, dir_okay=False),
              help="The file to write; - is stdout.")  # fmt: skip
@click.option("--entrant", metavar="LABEL", help="One model of the run, by its name in tables.")
@click.option("--samples", is_flag=True, help="With lm-eval: also write samples_TASK.jsonl beside it.")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="Name all formats.")
def export(form: str, run: Path, out: Path, entrant: str | None, samples: bool) -> None:
    """Write a run in a form that other tools read."""
    write = _exporter(form)
    if samples and (form != _WITH_SAMPLES or str(out) == "-"):
        raise UsageError(f"--samples writes files beside that of -o FILE, and goes with {_WITH_SAMPLES} alone.")
    read = read_run(run)
    for note in read.notes:
        click.echo(note, err=True)
    content = write(read, entrant)
    if str(out) == "-":
        sys.stdout.buffer.write(content)
        return
    beside = _samples(read, entrant) if samples else {}
    for name, own in {out.name: content, **beside}.items():
        _put(read, out.with_name(name), own)


def _exporter(form: str) -> Write:
    """The function of a format.

    Raises:
        UsageError: There is none, or it cannot be imported.
    """
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if form not in known:
        raise UsageError(f"no format {form!r}; there are {few(sorted(known), 20)}.")
    try:
        write: Write = known[form].load()
    except (ImportError, AttributeError) as problem:
        raise UsageError(f"format {form!r} cannot be loaded from {known[form].value}: {problem}") from problem
    return write


def _samples(run: Run, entrant: str | None) -> dict[str, bytes]:
    from .exports.lmeval import samples_of

    found = samples_of(run, entrant)
    if not found:
        click.echo("No samples: the run has none of these questions' outcomes.", err=True)
    elif not (run.path / "samples").is_dir():
        click.echo("Samples have scores and no texts: the run kept none; `joulemark run --log-samples` does.", err=True)
    return found


def _put(run: Run, out: Path, content: bytes) -> None:
    """Write a file, and say so.

    Raises:
        UsageError: It cannot be written, or would be among the run's own.
    """
    try:
        if run.path.resolve() in out.resolve().parents:
            raise UsageError(f"{out} is in the run, whose own files stay as they are; name a file elsewhere.")
        made = not out.parent.exists()
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, content)
    except OSError as problem:
        raise UsageError(f"cannot write {out}: {problem.strerror or problem}; name another file.") from problem
    click.echo(f"{safe(str(out))}: {_size(len(content))}{', in a new folder' if made else ''}")


def _size(many: int) -> str:
    return f"{many / 1e6:.1f} MB" if many >= 1e6 else f"{many / 1e3:.1f} kB"
