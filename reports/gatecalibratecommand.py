"""``joulemark gate --calibrate``: one model measured against itself, and what this machine could see."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from joulemark.harness.commands import complete_meters, complete_models
from joulemark.harness.models import REFERENCE, parse_model
from joulemark.harness.plan import Plan, make_plan
from joulemark.harness.store import read_run
from joulemark.meters.errors import MeasuringFailed

from .gatecalibrate import LEAST, alike, calibrate
from .gatecalibratetable import print_calibration
from .gatecalibratewords import as_json, in_words
from .gateconfig import read_gate_config

__all__ = ["calibration_options", "check_usage", "plan_calibration", "run_calibration"]

MODEL, TASKS, REPEATS, LIMIT = "ref/dense-800k", ("jm_units", "jm_sorting"), 10, 300
"""What is measured where nobody says otherwise: a minute on two cores."""

_MEASURES = ("model", "repeats", "limit", "meters", "out")
_OWN = (*_MEASURES, "source")
_OF_GATES = ("baseline", "candidate", "allow_unpaired", "history", "on_inconclusive", "junit", "markdown", "badge")


def calibration_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that belong to ``--calibrate``, and that itself."""
    options = (
        click.option("--calibrate", is_flag=True,
                     help="Measure one model against itself: how small a change does this machine see?"),
        click.option("-m", "--model", shell_complete=complete_models, metavar="MODEL",
                     help=f"To calibrate: this model, not {MODEL}, or a --config's first."),
        click.option("--repeats", type=click.IntRange(1, 1000), metavar="N",
                     help=f"To calibrate: measure so often, at least {LEAST}; {REPEATS}."),
        click.option("--limit", type=click.IntRange(1), metavar="N",
                     help=f"To calibrate: the first so many questions of each task; {LIMIT}."),
        click.option("--meter", "meters", multiple=True, shell_complete=complete_meters, metavar="METER",
                     help="To calibrate: use this meter, as `joulemark run` does."),
        click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
                     help="To calibrate: the run directory to make."),
        click.option("--from", "source", type=click.Path(path_type=Path, file_okay=False), metavar="RUN",
                     help="To calibrate: by a run of one model against itself that is there; measure nothing."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def check_usage() -> None:
    """Refuse options that would be ignored: those of calibrations in a gate, and the other way round.

    Raises:
        click.UsageError: Some are there, or something is missing.
    """
    ctx = click.get_current_context()
    if ctx.params["calibrate"]:
        if odd := _given(ctx, _OF_GATES):
            raise click.UsageError(f"--calibrate measures one model against itself; leave {odd} out.")
        if ctx.params["source"] and (odd := _given(ctx, _MEASURES)):
            raise click.UsageError(f"--from calibrates by a run that is there, and measures nothing; leave {odd} out.")
        if (repeats := ctx.params["repeats"]) and repeats < LEAST:
            raise click.UsageError(
                f"--repeats {repeats} would not tell the noise; measure at least {LEAST}, better 10."
            )
        return
    if odd := _given(ctx, _OWN):
        raise click.UsageError(f"{odd} belongs to --calibrate; a gate judges what `joulemark run` has measured.")
    for name in ("baseline", "candidate"):
        if not ctx.params[name]:
            raise click.UsageError(f"Missing option '--{name}': name a run, as RUN:MODEL; or give --calibrate.")


def run_calibration(
    config: Path | None, tasks: tuple[str, ...], source: Path | None, *, as_object: bool, **given: Any
) -> int:
    """Measure, unless a run is given, and print; returns the exit code, 3 where something has no figure.

    Raises:
        MeasuringFailed: Some of it could not be measured.
    """
    asked = read_gate_config(config)
    path = source or _measure(config, tasks, **given)
    sides = alike(read_run(path))
    only = tasks if source else ()
    found = calibrate(*sides, asked, only, by_precision="precision" in _plan_of(asked.source))
    ruled = ("--config", str(asked.source)) if asked.source else ()
    options = [*ruled, *(word for task in only for word in ("--task", task))]
    told = in_words(found, sides, asked, options)
    if as_object:
        click.echo(as_json(told))
    else:
        print_calibration(told)
        if source is None:
            click.echo(f"\nThe run: {path}")
    return 3 if found.missing else 0


def plan_calibration(
    config: Path | None,
    tasks: tuple[str, ...],
    *,
    model: str | None,
    repeats: int | None,
    limit: int | None,
    meters: tuple[str, ...],
) -> Plan:
    """The plan of one model against itself: asked and computed as the table's file says for runs, else as usual."""
    given: dict[str, Any] = {"limit": limit, "tasks": tasks or None, "meters": meters or None}
    planned = config if config and _plan_of(config) else None
    if planned is None:
        given = {"limit": limit or LIMIT, "tasks": tasks or TASKS, "meters": meters or None}
    whole = make_plan(planned, given)
    text = model or (whole.models[0] if planned else MODEL)
    spec = parse_model(text)
    loaded = f"{spec.backend}{'/' if spec.backend == REFERENCE else ':'}{spec.args}"
    fixed = {"models": (f"a={loaded}", f"b={loaded}"), "repeats": repeats or REPEATS, "order": "abba"}
    return whole.model_copy(update=fixed | {"precision": None, "sweep": {}})


def _given(ctx: click.Context, names: Sequence[str]) -> str:
    """Of these parameters those that the command line has, as it has them."""
    given = [name for name in names if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    known = {param.name: max(param.opts, key=len) for param in ctx.command.params}
    return ", ".join(known[name] for name in given)


def _measure(config: Path | None, tasks: tuple[str, ...], *, out: Path | None, **given: Any) -> Path:
    from joulemark.harness.progress import Shown
    from joulemark.harness.run import measure

    plan = plan_calibration(config, tasks, **given)
    out = out or Path("joulemark-runs") / f"calibration-{datetime.now():%Y-%m-%d-%H%M%S}"
    with Shown(f"{plan.models[0].removeprefix('a=')} against itself, {plan.repeats} repeats.") as progress:
        done = measure(plan, out, progress)
    if done.problem:
        raise MeasuringFailed(f"{done.problem} Then, or for what is there: joulemark gate --calibrate --from {out}.")
    return done.path


def _plan_of(config: Path | None) -> dict[str, Any]:
    """The [run] table of a file; empty where there is none."""
    table = tomllib.loads(config.read_text(encoding="utf-8")).get("run") if config else None
    return table if isinstance(table, dict) else {}
