"""The commands that measure, or measure again, and that tell what can be measured."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from joulemark.meters.errors import MeasuringFailed, UsageError

from .models import card, reference_models
from .plan import PRESETS, Plan, make_plan, parse_share

__all__ = [
    "Measured",
    "complete_meters",
    "complete_models",
    "complete_tasks",
    "doctor",
    "meters",
    "models",
    "remeter",
    "run",
    "tasks",
]


@dataclass(frozen=True)
class Measured:
    """What ``run`` hands on: where the run lies, and what went wrong (None: nothing)."""

    path: Path
    as_json: bool
    problem: str | None


def complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Names that a model's may be completed to."""
    return [f"ref/{name}" for name in reference_models() if f"ref/{name}".startswith(incomplete)]


def complete_tasks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Names that a task's may be completed to."""
    from joulemark.tasks.catalog import OUR_TASKS

    return [task.name for task in OUR_TASKS if task.name.startswith(incomplete)]


def complete_meters(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Built-in meters and ``NAME=KIND:``; no meter is probed, since that may take seconds."""
    from joulemark.meters.registry import find_names

    ids, kinds = find_names()
    name, equals, _ = incomplete.partition("=")
    named = [f"{name if equals else kind}={kind}:" for kind in kinds]
    return [word for word in (*ids, *named) if word.startswith(incomplete)]


def _complete_kinds(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    from joulemark.meters.registry import find_names

    return [kind for kind in find_names()[1] if kind.startswith(incomplete)]


def _complete_countries(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Codes of countries whose code or name begins so."""
    from joulemark.meters.carbon import find_countries

    try:
        return [CompletionItem(code, help=name) for code, name in find_countries(incomplete).items()]
    except UsageError:
        return []


def _share(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:  # noqa: ARG001
    """``5%`` or ``0.05``, as a share."""
    if text is None:
        return None
    try:
        return parse_share(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: write a share such as 5% or 0.05.") from None


def _grid(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    texts: tuple[str, ...],
) -> dict[str, tuple[int | str, ...]] | None:
    """``KEY=V,V`` several times, as names with values; numbers become numbers."""
    grid: dict[str, tuple[int | str, ...]] = {}
    for text in texts:
        key, _, values = text.partition("=")
        if not key or not values:
            raise click.BadParameter(f"{text!r}: write KEY=VALUE,VALUE such as batch_size=1,8,32.")
        listed = [value.strip() for value in values.split(",")]
        name = key.strip().replace("-", "_")
        grid[name] = grid.get(name, ()) + tuple(int(v) if v.isdecimal() else v for v in listed)
    return grid or None


@click.command()
@click.argument("plan", required=False, type=click.Path(path_type=Path, dir_okay=False), metavar="[PLAN.toml]")
@click.option("-m", "--model", "models", multiple=True, shell_complete=complete_models,
              help="ref/NAME, LABEL=ref/NAME or LABEL=BACKEND:key=value,...; may be repeated.")  # fmt: skip
@click.option("-t", "--task", "tasks", multiple=True, shell_complete=complete_tasks,
              help="A task of ours or of lm-eval; may be repeated.")  # fmt: skip
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    show_default="quick",
    help="What is not said otherwise; quick asks some models 100 questions of each task, full asks all of both.",
)
@click.option("--repeats", type=int, help="Times that every model meets every task; with --resume, so many in all.")
@click.option("--precision", callback=_share, metavar="PERCENT",
              help="Repeat until each model's energy is known so well, such as 5%.")  # fmt: skip
@click.option("--max-repeats", type=int, show_default="20", help="The most repeats that --precision may take.")
@click.option("--limit", type=int, help="Only the first so many questions of each task.")
@click.option("--num-fewshot", type=int, help="Examples before each question.")
@click.option("--apply-chat-template", is_flag=True, default=None, help="Ask in the models' chat format.")
@click.option("--system-instruction", metavar="TEXT", help="What each chat, or each prompt, begins with.")
@click.option("--gen-kwargs", metavar="K=V,...", help="lm-eval's settings of generation, over the tasks' own.")
@click.option("--max-gen-toks", type=int, help="Tokens that an answer may have at most.")
@click.option("--include-path", multiple=True, type=click.Path(exists=True, file_okay=False), metavar="DIR",
              help="A folder with tasks of your own, in lm-eval's YAML; may be repeated.")  # fmt: skip
@click.option("--batch-size", type=int, show_default="16, or 1 for servers", help="Questions given to a model at once.")
@click.option("--concurrency", type=int, show_default="1", help="Batches that are under way to a server at once.")
@click.option("--threads", type=int, show_default="1", help="Threads of a model's process.")
@click.option("--dtype", metavar="NAME", help="Precision to load models in, such as bfloat16.")
@click.option("--sweep", multiple=True, callback=_grid, metavar="KEY=V,V,...",
              help="batch_size, concurrency, threads, dtype, max_gen_toks, power_cap_w: with each value.")  # fmt: skip
@click.option("--timeout", "timeout_s", type=float, metavar="SECONDS",
              help="Fail a cell, or a model's loading, that takes longer.")  # fmt: skip
@click.option("--meter", "meters", multiple=True, shell_complete=complete_meters,
              help="Use this meter, domain or NAME=KIND:key=value,... (see `joulemark meters`).")  # fmt: skip
@click.option(
    "--order",
    type=click.Choice(["interleaved", "abba", "blocked"]),
    help="Shuffled anew each repeat; models there and back; or model after model.",
)
@click.option("--executor", metavar="local|ray[:ADDRESS]", show_default="local",
              help="Where cells run: here, or on all machines of a Ray cluster.")  # fmt: skip
@click.option("--place", "placement", multiple=True, metavar="[MODEL:]KEY=VALUE",
              help="Only machines with this label measure, or measure that model; may be repeated.")  # fmt: skip
@click.option("--seed", type=int, help="Of the random order.")
@click.option("--carbon", metavar="G_PER_KWH|COUNTRY", shell_complete=_complete_countries,
              help="Also tell grams of CO2 equivalent, by so many a kWh or a country's mean.")  # fmt: skip
@click.option("--log-samples", is_flag=True, default=None, help="Keep what was asked and answered, item by item.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), show_default="joulemark-runs/DATE-TIME",
              help="The run directory to make.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be measured, by which meter, and stop.")
@click.option("--resume", "resumed", type=click.Path(path_type=Path, file_okay=False), metavar="RUN",
              help="Go on with a run; nothing but --repeats, to plan more, and --executor may be given.")  # fmt: skip
@click.option("--trust-remote-code", is_flag=True, default=None, help="Load models that bring code of their own.")
@click.option("--allow-unsafe-code", is_flag=True, default=None, help="Ask tasks that run what a model writes.")
@click.option("--allow-power-cap", is_flag=True, default=None, help="Let --sweep change the GPUs' power caps.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(
    plan: Path | None,
    preset: str | None,
    out: Path | None,
    dry_run: bool,
    resumed: Path | None,
    as_json: bool,
    **given: Any,
) -> Measured | None:
    """Measure models on tasks: the quality of their answers and the energy these take.

    Without arguments: the reference models on the reference tasks. Ends with a table, what it means,
    and a report. A plan file says the same as the options, which stand over it:

    \b
        [run]
        models = ["ref/dense-60k", "mine=hf:pretrained=./folder"]
        tasks = ["jm_units", "jm_dates"]
        repeats = 5
        limit = 100
    """
    from .progress import Shown
    from .run import measure, resume

    chosen = {key: value for key, value in given.items() if value not in (None, ())}
    if resumed is not None:
        repeats, executor = chosen.pop("repeats", None), chosen.pop("executor", None)
        if plan or out or preset or dry_run or chosen:
            raise click.UsageError(
                "--resume goes on with a run's own plan, of which --repeats alone can be raised, and --executor name "
                "another address of its cluster; give no plan, --out or other choice with it."
            )
        with Shown() as progress:
            result = resume(resumed, progress, repeats, executor)
    else:
        whole = make_plan(plan, chosen, preset or "quick")
        if dry_run:
            _foresee(whole, out, as_json)
            return None
        quick = preset is None and plan is None and "tasks" in chosen and "limit" not in chosen
        note = f"The first {whole.limit} questions of each task; --preset full asks all of them." if quick else ""
        out = out or Path("joulemark-runs") / f"{datetime.now():%Y-%m-%d-%H%M%S}"
        with Shown(note) as progress:
            result = measure(whole, out, progress)
    return Measured(result.path, as_json, result.problem)


def _foresee(plan: Plan, out: Path | None, as_json: bool) -> None:
    from .dryrun import foresee, foresee_on_cluster, in_words
    from .run import get_ready

    def say(text: str) -> None:
        click.echo(text, err=True)

    told = foresee_on_cluster(plan, out, say) if plan.on_cluster else foresee(get_ready(plan, out, say)[0])
    if as_json:
        _print_json(told)
    else:
        click.echo("\n".join(in_words(told)))


@click.command()
@click.argument("measured", type=click.Path(path_type=Path, file_okay=False), metavar="RUN")
@click.option("--meter", "named", multiple=True, required=True, metavar="NAME=replay:file=...",
              help="What recorded the power while the run was measured.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The run to make.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def remeter(measured: Path, named: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Take a run's energy anew from a power trace that was recorded meanwhile, into a run of its own.

    The answers stay as they are, and RUN is only read. Cells whose windows the trace does not cover fail.
    """
    from .remeter import remeter as measure_again

    if len(named) > 1:
        raise click.UsageError("one trace makes a run's energy; give --meter once.")
    made = measure_again(measured, named[0], out)
    for note in made.notes:
        click.echo(note, err=True)
    if as_json:
        _print_json(
            {
                "schema": "joulemark.remetered/1",
                "run_id": made.header.run_id,
                "remetered_from": made.header.remetered_from,
                "path": str(made.path),
                "meters": [meter.model_dump(mode="json") for meter in made.header.meters],
                "cells": made.cells,
                "remetered": made.done,
                "problem": made.problem,
            }
        )
    else:
        [meter] = made.header.meters
        click.echo(f"{made.done} of {made.cells} cells have the energy of {meter.provenance}: {made.path}")
        click.echo(f"joulemark rank {shlex.quote(str(made.path))}")
    if made.problem:
        raise MeasuringFailed(f"{made.problem} What could be is in {made.path}.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def models(as_json: bool) -> None:
    """List the reference models. Any model that lm-eval can load works as well: LABEL=BACKEND:key=value,..."""
    keys = ("kind", "params", "active_params", "bytes", "licence", "description", "sha256", "replica_of")
    listed: list[dict[str, Any]] = [
        {"name": f"ref/{name}"} | {key: card(name).get(key) for key in keys} for name in reference_models()
    ]
    if as_json:
        _print_json({"schema": "joulemark.models/1", "models": listed})
        return
    rows = [
        (m["name"], f"{m['params']:,}", f"{m['active_params']:,}", f"{m['bytes'] / 1e6:.2f} MB", m["description"])
        for m in listed
        if not m["replica_of"]
    ]
    _print_table(("Model", "Parameters>", "Active>", "Size>", "What it is"), rows)
    if again := [m["name"] for m in listed if m["replica_of"]]:
        click.echo(f"Trained a second time, from another seed: {', '.join(again)}.")
    click.echo("And any model that lm-eval loads: LABEL=BACKEND:key=value,...")
    click.echo("such as -m mine=hf:pretrained=./folder")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def tasks(as_json: bool) -> None:
    """List the reference tasks. Any task or group of lm-eval's can be named as well."""
    from dataclasses import asdict

    from joulemark.tasks.catalog import OUR_TASKS, REFERENCE_TASKS, THREE_SHOT

    if as_json:
        _print_json({"schema": "joulemark.tasks/1", "tasks": [asdict(task) for task in OUR_TASKS]})
        return
    _print_table(("Task", "Questions>", "A model ..."), [(t.name, str(t.items), t.title) for t in REFERENCE_TASKS])
    click.echo(f"Each also after three examples: {THREE_SHOT[0].name} and so on; not in the view over all tasks.")
    click.echo("And any task or group that lm-eval knows, by its name there; and your own, by --include-path.")


def _name_meters(command: Any) -> Any:
    return click.option(
        "--meter",
        "named",
        multiple=True,
        shell_complete=complete_meters,
        help="Also this meter: NAME=KIND:key=value,... (such as plug=shelly:host=192.0.2.7); may be repeated.",
    )(command)


@click.command()
@click.argument("kind", required=False, shell_complete=_complete_kinds)
@_name_meters
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def meters(kind: str | None, named: tuple[str, ...], as_json: bool) -> None:
    """List every meter, and whether it works here; or what may be said of a KIND, such as shelly."""
    from joulemark.meters.registry import kinds

    from .doctor import list_meters, look

    if kind is not None:
        _show_kind(kind, as_json)
        return
    listed = list_meters(look(named))
    if as_json:
        _print_json({"schema": "joulemark.meters/1", "meters": listed, "kinds": list(kinds())})
        return
    rows = [
        (m["id"], "yes" if m["available"] else "no", m["grade"] or "", m["scope"] or "", m["reason"] or "")
        for m in listed
    ]
    _print_table(("Meter", "Works", "Grade", "Scope", "Why not"), rows)
    click.echo(f"And by NAME=KIND:key=value,...: {', '.join(kinds())}.")
    click.echo("joulemark meters KIND says what may be said of one.")


def _show_kind(kind: str, as_json: bool) -> None:
    """What may be said of a meter of that kind."""
    from dataclasses import asdict

    from joulemark.meters.registry import describe_kind

    manual = describe_kind(kind)
    if as_json:
        _print_json({"schema": "joulemark.kind/1"} | asdict(manual))
        return
    if manual.text:
        click.echo(manual.text)
    rows = [(a.name, "needed" if a.needed else a.default or "-", a.text) for a in manual.arguments]
    _print_table(("Argument", "If left out", "What it is"), rows)
    click.echo(f"Such as --meter {shlex.quote(manual.example)}")


@click.command()
@_name_meters
@click.option("--check", is_flag=True, help="Run a known load, and set meters that should agree beside each other.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(named: tuple[str, ...], check: bool, as_json: bool) -> int:
    """Look at the meters of this machine: what works, what doesn't and why, and how good it will be.

    With --check it ends with 1 where two meters differ that should agree, with 3 where there are no two to compare or
    nobody can tell whether they should.
    """
    from .doctor import examine, show

    found = examine(named, check=check, say=lambda text: click.echo(text, err=True))
    if as_json:
        _print_json(found)
    else:
        show(found)
    if not found["best"] or found.get("check", {}).get("agree") is False:
        return 1
    # Nothing to set beside each other is inconclusive.
    return 3 if check and found["check"]["agree"] is None else 0


def _print_json(value: dict[str, Any]) -> None:
    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def _print_table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(
            head.removesuffix(">"), justify="right" if head.endswith(">") else "left", no_wrap=head == heads[0]
        )
    for row in rows:
        table.add_row(*row)
    Console(markup=False).print(table)
