"""Put the claim to the test: ``python tools/claims.py``, or ``make claims``.

Measures the shipped models at batch 1 and 32, compares those that compute selectively with the dense models that
they must beat, and writes figures, a picture and verdicts into ``docs/claims.md`` between its markers; the words
around them are written by hand. A measurement that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from closeup import closeup
from contests import QUESTIONS, Contest, Spread, answer, contests, seed_of

from joulemark.harness.models import card, is_replica, parse_model, reference_models
from joulemark.harness.store import Run, read_run
from joulemark.reports.entrants import gather
from joulemark.reports.findings import grade_sentence
from joulemark.reports.rows import Row, measure
from joulemark.reports.stats import energy
from joulemark.reports.table import Columns
from joulemark.reports.views import View, make_views
from joulemark.reports.wording import MISSING, TIMES, fixed, span
from joulemark.tasks.catalog import OUR_TASKS, REFERENCE_TASKS, THREE_SHOT
from joulemark.tasks.reference import FAMILIES, held_out, questions_digest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "claims.md"
PICTURE = ROOT / "docs" / "claims" / "closeup.png"
BEGIN, END = "<!-- {} made by `make claims` -->", "<!-- until here -->"
BATCHES = (1, 32)
EXAMPLE_REPEATS = 3
CLOSEUP = (
    "![Quality against energy of the best models, beside the lines of those that compute everything]"
    "(claims/closeup.png)\n"
)


def run_all(folder: Path, repeats: int) -> dict[tuple[int, int], Run]:
    """Measure every shipped model at each batch size, those of each seed together; by seed and batch size."""
    runs = {}
    for seed in sorted(set(map(seed_of, reference_models()))):
        models = [f"ref/{name}" for name in reference_models() if seed_of(name) == seed]
        for batch in BATCHES:
            runs[seed, batch] = run(folder / f"seed-{seed}-batch-{batch}", models, [], batch, repeats)
    return runs


def run_with_examples(folder: Path, repeats: int) -> Run:
    """Measure the dense models with and without three examples before each question, all in turn."""
    dense = [f"ref/{name}" for name in reference_models() if card(name)["kind"] == "dense" and not is_replica(name)]
    return run(folder / "three-shot", dense, [task.name for task in OUR_TASKS], 1, repeats)


def run(begins: Path, models: Sequence[str], tasks: Sequence[str], batch: int, repeats: int) -> Run:
    """Make a run, or finish the one that is there; other weights, questions or choices have a folder of their own."""
    options = ["--preset", "full", "--repeats", str(repeats), "--batch-size", str(batch)]
    options += [*named("-m", models), *named("-t", tasks)]
    weights = [parse_model(model).weights for model in models]
    digest = hashlib.sha256(json.dumps([options, weights, questions_digest()]).encode()).hexdigest()[:8]
    out = begins.with_name(f"{begins.name}-{digest}")
    how = ["--resume", str(out)] if (out / "run.json").exists() else [*options, "--out", str(out)]
    subprocess.run([sys.executable, "-m", "joulemark.harness.cli", "run", *how], check=True)
    return read_run(out)


def named(option: str, values: Sequence[str]) -> list[str]:
    return [part for value in values for part in (option, value)]


def summary(found: Sequence[Contest], by: str) -> str:
    """All answers at once."""
    answers = {question.asks: answer([c for c in found if c.pair in question.pairs]) for question in QUESTIONS}
    lines = [
        f"| Question | Answer, by {by} |",
        "|---|---|",
        *(f"| {asks} | {told} |" for asks, told in answers.items()),
    ]
    return "\n".join(lines) + "\n"


def verdicts(found: Sequence[Contest], energy_name: str, by: str) -> str:
    """An answer and its lines for each question."""
    parts = []
    for question in QUESTIONS:
        mine = [c for c in found if c.pair in question.pairs]
        parts.append(f"### {question.asks}\n\n**{answer(mine)}** By {by}.\n")
        if not mine:
            continue
        heads = (
            f"| Pair | Batch | Quality, points | {energy_name} | Right answers per Wh | Above the dense line, points |"
        )
        in_order = sorted(mine, key=lambda c: (question.pairs.index(c.pair), c.seed, c.batch))
        lines = [f"{heads} In words | |", "|---|--:|--:|--:|--:|--:|---|---|", *(line(c, by) for c in in_order)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def line(c: Contest, by: str) -> str:
    figures = (points(c.quality), ratio(c.energy), ratio(c.rate), points(c.above))
    mark = {True: "yes", False: "no", None: "?"}[c.won]
    words = c.in_words.replace("energy", by)
    return f"| {c.one} / {c.other} | {c.batch} | {' | '.join(figures)} | {words} | {mark} |"


def points(values: Spread | None) -> str:
    if values is None:
        return MISSING
    sign = "+" if values[0] >= 0 else ""
    return f"{sign}{fixed(values[0])} ({span(values[1], values[2], 1)})"


def ratio(values: Spread | None) -> str:
    if values is None:
        return MISSING
    return f"{fixed(values[0], 2)}{TIMES} ({span(values[1], values[2], 2)})"


def entrants() -> str:
    """Who takes part: the first seed of each model on the shelf."""
    lines = [
        "| Model | What it is | Parameters | Active, seed 1 | CPU hours of training, by seed |",
        "|---|---|--:|--:|---|",
    ]
    for name in reference_models():
        if is_replica(name):
            continue
        facts, seeds = card(name), [name, *(other for other in reference_models() if replicates(other, name))]
        if facts["kind"] in ("int8", "cascade"):
            trained = f"as {facts.get('made_from', 'its two')}"
        else:
            trained = ", ".join(fixed(card(seed)["training"]["cpu_hours"], 2) for seed in seeds)
        lines.append(
            f"| {name} | {facts['description']} | {facts['params']:,} | {facts['active_params']:,} | {trained} |"
        )
    return "\n".join(lines) + "\n"


def replicates(other: str, name: str) -> bool:
    return card(other).get("replica_of") == name


def seedless(row: Row) -> str:
    """What the first seed of its model is called."""
    name = row.model.removeprefix("ref/")
    return str(card(name).get("replica_of", name))


def questions() -> str:
    """The families, each with a question of the easiest level and one of the hardest."""
    lines = ["| Family | A model ... | Level 1 | Level 4 |", "|---|---|---|---|"]
    for family in FAMILIES:
        asked = held_out(family, "test")
        examples = [next(q for q in asked if q.level == level) for level in (1, 4)]
        shown = " | ".join(f"`{q.prompt}` `{q.answer}`" for q in examples)
        lines.append(f"| {family.name} | {family.title} | {shown} |")
    return "\n".join(lines) + "\n"


def table(views: Mapping[int, View]) -> str:
    """Figures of every model at one batch size, from views by seed; what took least with the first seed first."""
    columns = Columns(views[1])
    of = {seed: {seedless(row): row for row in view.rows} for seed, view in views.items()}
    figures = {
        "Quality": columns.quality,
        f"{columns.energy.name} per 1,000 answers": columns.energy_per_1k,
        "Frontier": lambda row: (row.frontier or MISSING, ""),
    }
    heads = [f"{title}, seed {seed}" for title in figures for seed in of]
    lines = [f"| Model | {' | '.join(heads)} | Computes |", "|---|" + "--:|" * len(heads) + "---|"]
    for name in sorted(of[1], key=lambda name: of[1][name].energy_wh_per_1k or 0.0):
        rows = [known.get(name) for known in of.values()]
        cells = [_cell(write, row) for write in figures.values() for row in rows]
        computes = dict.fromkeys(selectively(row) for row in rows if row)
        lines.append(f"| {name} | {' | '.join(cells)} | {'; '.join(computes)} |")
    return "\n".join(lines)


def _cell(write: Callable[[Row], tuple[str, str]], row: Row | None) -> str:
    if row is None:
        return MISSING
    value, limits = write(row)
    return f"{value} ({limits})" if limits else value


def by_family(views: Mapping[int, Sequence[View]]) -> str:
    """Quality of every model in each family, in whole points, from the views of a run by seed."""
    families = [family.name for family in FAMILIES]
    of = {
        seed: {(seedless(row), view.task): row.quality for view in known for row in view.rows}
        for seed, known in views.items()
    }
    names = [seedless(row) for row in sorted(views[1][0].rows, key=lambda row: row.energy_wh_per_1k or 0.0)]
    lines = [f"| Model | {' | '.join(families)} |", "|---|" + "--:|" * len(families)]
    for name in names:
        cells = [", ".join(fixed(known.get((name, f"jm_{family}")), 0) for known in of.values()) for family in families]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def selectively(row: Row) -> str:
    """What a model that chooses did compute."""
    facts = card(row.model.removeprefix("ref/"))
    if row.layers_per_token is not None:
        return f"{row.layers_per_token:.2f} of {facts['shape']['layers']} layers a generated token"
    if row.escalated is not None:
        return f"asks {facts['members'][1]} {100 * row.escalated:.0f} % of the time"
    if facts["kind"] == "moe":
        return f"{facts['shape']['chosen']} of {facts['shape']['experts']} experts"
    return "all of it"


def cost_of_examples(run: Run) -> str:
    """Quality and energy of each model over all families, without and with three examples."""
    lines = ["| Model | Examples | Quality | mWh per 1,000 answers | Energy |", "|---|--:|--:|--:|--:|"]
    for entrant in gather([run]):
        without: float | None = None
        for examples, tasks in ((0, REFERENCE_TASKS), (3, THREE_SHOT)):
            figures = measure(entrant, sorted(task.name for task in tasks))
            if figures.quality is None or figures.log is None:
                raise ValueError(f"{entrant.model} has no quality or no energy; finish the run")
            points, joules = figures.quality, energy(figures.log)
            without = without or joules.value
            limits = MISSING if joules.low is None else span(1000 * joules.low, 1000 * (joules.high or 0.0), 3)
            lines.append(
                f"| {entrant.model.removeprefix('ref/')} | {examples} "
                f"| {fixed(points.value)} ({span(points.low, points.high, 1)}) "
                f"| {fixed(1000 * joules.value, 3)} ({limits}) | {fixed(joules.value / without, 2)}{TIMES} |"
            )
    return "\n".join(lines)


def write(runs: Mapping[tuple[int, int], Run], with_examples: Run) -> None:
    """Put verdicts, figures and the picture into the page."""
    found = [contest for (_, batch), run in runs.items() for contest in contests(run, batch)]
    views = {key: make_views([run]) for key, run in runs.items()}
    whole = {key: known[0] for key, known in views.items()}
    first = whole[1, BATCHES[0]]
    energy_name, by = ("CPU time, as energy", "CPU time") if first.grade == "modelled" else ("Energy", "energy")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_bytes(closeup(whole))
    seeds = sorted({seed for seed, _ in whole})
    verdict = [summary(found, by), grade_sentence(first) + "\n", CLOSEUP, "## The entrants\n", entrants()]
    parts = [verdicts(found, energy_name, by)]
    for batch in BATCHES:
        parts += [f"## Figures at batch {batch}\n", table({seed: whole[seed, batch] for seed in seeds}) + "\n"]
    repeats = min(row.repeats for view in whole.values() for row in view.rows)
    parts.append(
        f"On {first.hardware}, one of them used, {repeats} repeats in random order, {len(first.tasks)} families of 300 "
        f"questions, each seed in a run of its own, where the frontier is that of its seed alone. "
        f"{grade_sentence(first)}\n"
    )
    parts += ["## Quality by family\n", f"Points at batch {BATCHES[0]}, with each seed.\n"]
    parts.append(by_family({seed: views[seed, BATCHES[0]] for seed in seeds}))
    examples = (
        "The same questions at batch 1, with three examples before each, in one run with those without; "
        f"{EXAMPLE_REPEATS} repeats, the first seed.\n"
    )
    parts += ["## What three examples cost\n", examples, cost_of_examples(with_examples) + "\n"]
    page = PAGE.read_text(encoding="utf-8")
    for name, made in (("verdicts", verdict), ("questions", [questions()]), ("figures", parts)):
        before, begun, rest = page.partition(BEGIN.format(name))
        _, ended, after = rest.partition(END)
        if not begun or not ended:
            raise SystemExit(f"{PAGE} has no place for its {name}: {BEGIN.format(name)} up to {END}")
        page = f"{before}{begun}\n\n" + "\n".join(made) + f"\n{ended}{after}"
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=ROOT / "build" / "claims", help="where the runs lie")
    options = parser.parse_args()
    write(run_all(options.runs, options.repeats), run_with_examples(options.runs, EXAMPLE_REPEATS))
    print(PAGE)
