"""The commands ``rank`` and ``report``, and the same two for a run that has just ended."""

from __future__ import annotations

import errno
import gc
import json
import math
import re
import shutil
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from joulemark.harness.plan import parse_share
from joulemark.harness.store import Run, nothing_freed, read_run, replace_file
from joulemark.meters.errors import MeasuringFailed, UsageError
from joulemark.meters.types import GRADES

from .contest import By
from .documents import as_csv, as_markdown, json_text, tables_as_markdown
from .filters import Filters
from .table import print_views
from .views import ALL, FLOOR, View, make_views
from .wording import safe

if TYPE_CHECKING:
    from .world import World

__all__ = ["compare", "conclude", "rank", "report", "show_table", "write_report"]

_RUNS = click.argument(
    "runs", nargs=-1, required=True, metavar="RUN..", type=click.Path(file_okay=False, path_type=Path)
)


class _Positive(click.FloatRange):
    """A finite number above 0."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number > 0):
            self.fail(f"{value!r}: write a number above 0.", param, ctx)
        return number


class _Count(click.IntRange):
    """A whole number from 1 on."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        try:
            number = int(value)
        except ValueError:
            number = 0
        if number < 1:
            self.fail(f"{value!r}: write a whole number, 1 or more.", param, ctx)
        return number


_ABOVE_0 = _Positive(min=0, min_open=True)
_BY = click.Choice(["correct_per_wh", "quality", "energy"])


@click.command()
@_RUNS
@click.option("--task", "tasks", multiple=True, metavar="TASK",
              help="One task instead of all together; repeatable, with tables for each.")  # fmt: skip
@click.option("--by", type=_BY, show_default="correct_per_wh", help="What ranks go by.")
@click.option(
    "--quality-floor",
    type=float,
    default=FLOOR,
    show_default=True,
    metavar="Q",
    help="Rank nothing below so many points.",
)
@click.option("--budget-wh", type=_ABOVE_0, metavar="WH",
              help="Only models that take at most so many Wh per 1,000 answers; ranks then go by quality.")  # fmt: skip
@click.option("--max-params", type=_Count(min=1), metavar="N", help="Only models of at most so many parameters.")
@click.option("--max-memory-mb", type=_ABOVE_0, metavar="MB",
              help="Only models that held at most so many MiB, of GPUs or else of RAM.")  # fmt: skip
@click.option("--licence", "licences", multiple=True, metavar="NAME", help="Only models of this licence; repeatable.")
@click.option("--grade", "grades", multiple=True, type=click.Choice([str(grade) for grade in GRADES]),
              help="Only energy of this grade; repeatable.")  # fmt: skip
@click.option("--mix", is_flag=True, help="Put unlike hardware, scope or grade side by side, unranked.")
@click.option("--carbon", is_flag=True, help="Also show carbon, of runs that were told what a kWh stands for.")
@click.option("--csv", is_flag=True, help="Print a line for each row of each table.")
@click.option("--markdown", is_flag=True, help="Print the tables and what they mean as Markdown.")
@click.option("--json", is_flag=True, help="Print one JSON object.")
def rank(
    runs: tuple[Path, ...],
    tasks: tuple[str, ...],
    by: By | None,
    quality_floor: float,
    mix: bool,
    carbon: bool,
    **limits: Any,
) -> None:
    """Rank the models of one run or several by right answers beyond guessing, per watt-hour.

    In --json, an interval that ends in _within_low and _within_high compares models that were measured
    together, as the table does; _low and _high hold the meter's own error as well.
    """
    if carbon:
        _refuse_a_figure_of_carbon(runs)
    form = _one_form([name for name in _FORMS if limits.pop(name)])
    if not 0 <= quality_floor <= 100:
        raise UsageError(f"--quality-floor {quality_floor:g}: give points from 0 (guessing) to 100 (perfect).")
    shown = tuple(dict.fromkeys(tasks)) or ((ALL,) if form is None else (None,))
    by = by or ("correct_per_wh" if limits["budget_wh"] is None else "quality")
    filters = Filters(**limits)
    make = partial(make_views, _read(runs), by=by, quality_floor=quality_floor, mix=mix, filters=filters)
    views = [view for task in shown for view in make(task=task)]
    if form is not None:
        click.echo(_FORMS[form](views), nl=False)
        return
    print_views(views, carbon=carbon)
    if not tasks:
        _tell_apart(views)
    if not tasks and len(views[0].tasks) > 1:
        names = " | ".join(safe(name) for name in views[0].tasks)
        width = shutil.get_terminal_size().columns
        wrapped = textwrap.wrap(
            f"One task: --task {names}", width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        click.echo("\n".join(wrapped), err=True)


_FORMS: dict[str, Callable[[list[View]], str]] = {"csv": as_csv, "markdown": tables_as_markdown, "json": json_text}


def _refuse_a_figure_of_carbon(runs: Sequence[Path]) -> None:
    """``report --carbon`` takes a figure; here, where one was written too, it would stand for a run."""
    for path in runs:
        if not path.exists() and re.fullmatch(r"[A-Za-z]{2,3}|\d+(\.\d+)?", str(path)):
            raise UsageError(
                f"--carbon {path}: here --carbon takes no value, and shows what the runs were told; "
                f"`joulemark report RUN --out DIR --carbon {path}` works it out."
            )


def _one_form(names: Sequence[str]) -> str | None:
    """The one that was asked for, if any."""
    if len(names) > 1:
        raise UsageError(f"{' and '.join(f'--{name}' for name in names)}: print one form at a time.")
    return names[0] if names else None


@click.command()
@click.argument("first", metavar="RUN[:MODEL]")
@click.argument("second", metavar="RUN[:MODEL]")
@click.option("--task", metavar="TASK", help="One task instead of all.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
def compare(first: str, second: str, task: str | None, as_object: bool) -> None:
    """Compare two models on the same questions: what the second has more or less than the first, and how surely.

    Without MODEL, each model of the second run is compared with its namesake in the first.
    """
    from .compare import compare as contrast
    from .comparewords import as_object as told
    from .comparewords import json_text as one_object
    from .comparewords import print_comparisons
    from .pairing import names_of, pair_up, read_side

    sides = read_side(first), read_side(second)
    for note in dict.fromkeys(note for side in sides for note in side.run.notes):
        click.echo(note, err=True)
    pairs = pair_up(*sides)
    runs = [side.run for side in sides]
    found = [(contrast(a, b, task, runs), *names) for (a, b), names in zip(pairs, names_of(pairs), strict=True)]
    if as_object:
        click.echo(one_object([told(*each) for each in found]))
        return
    print_comparisons(found)


def _growth(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:  # noqa: ARG001
    """``30%`` or ``0.3``, above 0; use may well more than double."""
    if text is None:
        return None
    try:
        return parse_share(text, below=100)
    except ValueError:
        told = f"{text!r}: write a share above 0, such as 30% or 0.3; doubling is 100%."
        raise click.BadParameter(told) from None


@click.command()
@_RUNS
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the report.")
@click.option("--context", is_flag=True, help="Also say what the energy comes to; so does any of the options below.")
@click.option("--carbon", metavar="G_PER_KWH|COUNTRY", help="Grams of CO2e a kWh stands for, or a country's mean.")
@click.option("--price-per-kwh", type=_ABOVE_0, metavar="PRICE", help="What a kWh costs, in your currency.")
@click.option("--battery-wh", type=_ABOVE_0, show_default="15", metavar="WH", help="What a battery holds.")
@click.option("--yearly-queries", type=_ABOVE_0, metavar="N", help="Answers a year.")
@click.option("--growth", callback=_growth, metavar="PERCENT", help="How much more these are each year, such as 30%.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object that names the files.")
def report(runs: tuple[Path, ...], out: Path, as_object: bool, context: bool, **told: Any) -> None:
    """Write report.html, report.md, pareto.png, pareto.svg, results.csv and results.json."""
    told = {name: value for name, value in told.items() if value is not None}
    world = _world(list(runs), told) if context or told else None
    page = write_report(list(runs), out, world)
    if as_object:
        files = {name: str(out / name) for name in _FILES}
        click.echo(json.dumps({"schema": "joulemark.report/1", "out": str(out), "files": files}))
    else:
        click.echo(page)


_FILES = ("report.html", "report.md", "pareto.png", "pareto.svg", "results.csv", "results.json")


def _world(runs: Sequence[Path], told: dict[str, Any]) -> World:
    """What the reader says, and of carbon what the runs were told where the reader says nothing."""
    from joulemark.meters.carbon import CarbonIntensity, carbon_intensity

    from .world import World

    if "carbon" in told:
        return World(**told | {"carbon": carbon_intensity(told["carbon"])})
    known = {run.header.carbon for run in map(read_run, runs) if run.header.carbon}
    if len(known) > 1:
        click.echo("These runs were told different figures of carbon; --carbon says which one to take.", err=True)
    elif known:
        [own] = known
        told |= {"carbon": CarbonIntensity(g_per_kwh=own.g_per_kwh, source=own.source, year=own.year)}
    return World(**told)


def show_table(run_paths: Sequence[Path]) -> None:
    """Print the table over all tasks of these runs, as ``joulemark rank`` does; with carbon where they have any."""
    runs = _read(run_paths)
    views = make_views(runs, task=ALL)
    print_views(views, carbon=any(run.header.carbon for run in runs))
    _tell_apart(views)


def write_report(run_paths: Sequence[Path], out: Path, world: World | None = None) -> Path:
    """Write all files of the report into ``out``; with what the energy comes to, where a ``world`` is given.

    Returns:
        The path of ``report.html``.

    Raises:
        UsageError: A run cannot be read, or the folder cannot be written, or is a run itself.
        Incomparable: No run has a finished cell.
    """
    from .context import context_json, make_context
    from .html import page
    from .plots import picture
    from .routing import headroom
    from .routingwords import routing_json, routing_text
    from .world import with_carbon

    runs = _read(run_paths)
    if _is_run(out):
        raise UsageError(f"{out} is a run, whose own files stay as they are; use --out {out / 'report'}.")
    views = make_views(runs)
    context, found = make_context(_leading(views), world) if world else None, headroom(views[0], runs)
    views = with_carbon(views, world.carbon if world else None)
    bound, routing = (routing_text(found), routing_json(found)) if found else (None, None)
    contents = {
        "report.html": page(views, runs, context, bound).encode(),
        "report.md": as_markdown(views, runs, context, bound).encode(),
        "pareto.png": picture(views[0], "png"),
        "pareto.svg": picture(views[0], "svg"),
        "results.csv": as_csv(views).encode(),
        "results.json": json_text(views, routing, context_json(context) if context else None).encode(),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            replace_file(out / name, content)
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MeasuringFailed(f"no space left for the report in {out}: make room, then try again.") from problem
        raise UsageError(f"cannot write to {out}: {problem.strerror}; choose another folder with --out.") from problem
    return out / "report.html"


def _is_run(folder: Path) -> bool:
    try:
        return (folder / "run.json").exists()
    except OSError:
        return False  # One that may not be looked into is no better for writing, which says why.


def conclude(path: Path, *, as_json: bool) -> None:
    """End a run: print its table and write its report into ``path/report``; or print one JSON object with both.

    Raises:
        Incomparable: No cell of the run is fine.
    """
    if not as_json:
        show_table([path])
    page = write_report([path], path / "report")
    if as_json:
        run_id = read_run(path).header.run_id
        ranking = json.loads((path / "report" / "results.json").read_text(encoding="utf-8"))
        ended = {"schema": "joulemark.ended/1", "run_id": run_id, "path": str(path), "report": str(page)}
        click.echo(json.dumps(ended | {"rank": ranking}, indent=2))
    else:
        click.echo(f"\nReport: {page}")


def _read(paths: Sequence[Path]) -> list[Run]:
    with nothing_freed():
        runs = {run.header.run_id: run for run in map(read_run, dict.fromkeys(paths))}
        # What was read lives as long as the command: it is not looked through again.
        gc.freeze()
    for run in runs.values():
        for note in run.notes:
            click.echo(note, err=True)
    return list(runs.values())


def _leading(views: list[View]) -> list[View]:
    return [view for view in views if view.task == ALL]


def _tell_apart(views: list[View]) -> None:
    """Name the tasks that the view over all tasks leaves out."""
    whole = {task for view in views for task in view.tasks}
    apart = sorted({task for view in views for task in view.apart} - whole)
    if apart:
        click.echo(f"Also measured, by themselves: {', '.join(map(safe, apart))} (joulemark rank RUN --task NAME).")
