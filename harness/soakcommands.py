"""The command ``soak``: sustained load on one model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from .commands import complete_meters, complete_models, complete_tasks
from .plan import make_plan

__all__ = ["Soaked", "soak"]


@dataclass(frozen=True)
class Soaked:
    """What ``soak`` hands on: where the run lies, what went wrong (None: nothing), and who sums it up."""

    path: Path
    as_json: bool
    problem: str | None
    conclude: str = "joulemark.reports.soak:conclude"


@click.command()
@click.argument("model", required=False, shell_complete=complete_models)
@click.option("--minutes", type=click.FloatRange(0, 10_080, min_open=True), metavar="N", help="How long, required.")
@click.option("-t", "--task", default="jm_units", show_default=True, shell_complete=complete_tasks,
              help="What is asked over and over: a task of ours or of lm-eval.")  # fmt: skip
@click.option("--limit", type=int, default=100, show_default=True, help="Only the first so many of its questions.")
@click.option("--num-fewshot", type=int, help="Examples before each question.")
@click.option("--max-gen-toks", type=int, help="Tokens that an answer may have at most.")
@click.option("--apply-chat-template", is_flag=True, default=None, help="Ask in the model's chat format.")
@click.option("--include-path", multiple=True, type=click.Path(exists=True, file_okay=False), metavar="DIR",
              help="A folder with tasks of your own, in lm-eval's YAML; may be repeated.")  # fmt: skip
@click.option("--batch-size", type=int, show_default="16, or 1 for servers", help="Questions given to it at once.")
@click.option("--concurrency", type=int, show_default="1", help="Batches that are under way to a server at once.")
@click.option("--threads", type=int, show_default="1", help="Threads of the model's process.")
@click.option("--dtype", metavar="NAME", help="Precision to load it in, such as bfloat16.")
@click.option(
    "--meter",
    "meters",
    multiple=True,
    shell_complete=complete_meters,
    metavar="ID",
    help="As of `joulemark run`; may be repeated.",
)
@click.option("--trust-remote-code", is_flag=True, default=None, help="Load a model that brings code of its own.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), show_default="joulemark-runs/soak-DATE-TIME",
              help="The run directory to make.")  # fmt: skip
@click.option("--summarise", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR",
              help="Sum up a soak that is there already, one that was killed perhaps.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def soak(
    model: str | None,
    minutes: float | None,
    task: str,
    out: Path | None,
    summarise: Path | None,
    as_json: bool,
    **given: Any,
) -> Soaked:
    """Keep MODEL busy for N minutes: its energy, power, temperature and clocks, and whether they drift.

    The task's questions are asked over and over, in windows of about 10 seconds. Ends with a table, a verdict, a
    picture and soak.json; Ctrl-C ends it sooner and sums up what is there.
    """
    from .soak import Countdown
    from .soak import soak as measure

    if summarise is not None:
        if model or minutes or out:
            raise click.UsageError("--summarise reads a soak that is there; give no model, minutes or --out with it.")
        return Soaked(summarise, as_json, None)
    if not model or not minutes:
        raise click.UsageError("name a model and how long, such as `joulemark soak ref/dense-60k --minutes 10`.")

    chosen = {key: value for key, value in given.items() if value not in (None, ())}
    plan = make_plan(None, chosen | {"models": (model,), "tasks": (task,), "repeats": 1, "order": "blocked"})
    out = out or Path("joulemark-runs") / f"soak-{datetime.now():%Y-%m-%d-%H%M%S}"
    with Countdown(minutes) as progress:
        result = measure(plan, minutes, out, progress)
    return Soaked(result.path, as_json, result.problem)
