"""Put the claim to the test: ``python tools/claims.py``, or ``make claims``.

Measures the shipped models at batch 1 and 32, compares those that compute selectively with the dense models that
they must beat, and writes figures, pictures and verdicts into ``docs/claims.md`` between its markers. A
measurement that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from joulemark.harness.models import card, reference_models
from joulemark.harness.store import Run, read_run
from joulemark.reports.contest import By, differences
from joulemark.reports.entrants import gather
from joulemark.reports.findings import grade_sentence
from joulemark.reports.placing import entries_of
from joulemark.reports.plots import picture
from joulemark.reports.rows import Row, measure
from joulemark.reports.table import Columns
from joulemark.reports.views import View, make_views
from joulemark.reports.wording import MISSING, TIMES, fixed, span

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "claims.md"
PICTURES = ROOT / "docs" / "claims"
BEGIN, END = "<!-- made by `make claims` -->", "<!-- until here -->"
BATCHES = (1, 32)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A claim about the first of each pair, which the second must beat."""

    asks: str
    pairs: tuple[tuple[str, str], ...]


QUESTIONS = (
    Question(
        asks="Does a mixture of experts beat the dense model of equal active size?",
        pairs=(("moe-800k-a240k", "dense-240k"), ("moe-800k-a240k-s2", "dense-240k-s2")),
    ),
    Question(
        asks="Does it beat the dense model of equal total size?",
        pairs=(("moe-800k-a240k", "dense-800k"), ("moe-800k-a240k-s2", "dense-800k-s2")),
    ),
    Question(
        asks="Does early exit pay?",
        pairs=(
            ("exit-800k-t90", "dense-800k"),
            ("exit-800k-t99", "dense-800k"),
            ("exit-800k-s2-t90", "dense-800k-s2"),
            ("exit-800k-s2-t99", "dense-800k-s2"),
        ),
    ),
    Question(
        asks="Does a cascade beat its larger model?",
        pairs=(("cascade-60k-800k", "dense-800k"), ("cascade-240k-800k", "dense-800k")),
    ),
    Question(asks="Do 8 bits pay?", pairs=(("int8-800k", "dense-800k"),)),
)


@dataclass(frozen=True, kw_only=True)
class Contest:
    """One pair at one batch size, each with its 95 % interval: value, low, high.

    Attributes:
        quality: Points more than the other.
        energy: Times the other's.
        rate: Times the other's right answers per watt-hour.
    """

    one: str
    other: str
    batch: int
    quality: tuple[float, float, float]
    energy: tuple[float, float, float]
    rate: tuple[float, float, float]

    @property
    def won(self) -> bool | None:
        """Whether more right answers per watt-hour; None where that cannot be told."""
        return True if self.rate[1] > 1 else False if self.rate[2] < 1 else None

    @property
    def in_words(self) -> str:
        """What it gives for what it takes."""
        better, worse = self.quality[1] > 0, self.quality[2] < 0
        cheaper, dearer = self.energy[2] < 1, self.energy[1] > 1
        quality = (
            "better answers" if better else "worse answers" if worse else "answers as good, as far as can be told,"
        )
        energy = "less energy" if cheaper else "more energy" if dearer else "as much energy, as far as can be told"
        return f"{quality} for {energy}"


def run_all(folder: Path, repeats: int) -> list[Run]:
    """Measure every shipped model at each batch size."""
    runs = []
    for batch in BATCHES:
        out = folder / f"batch-{batch}"
        command = [sys.executable, "-m", "joulemark.harness.cli", "run"]
        if (out / "run.json").exists():
            command += ["--resume", str(out)]
        else:
            command += ["--preset", "full", "--repeats", str(repeats), "--batch-size", str(batch), "--out", str(out)]
            command += [part for name in reference_models() for part in ("-m", f"ref/{name}")]
        subprocess.run(command, check=True)
        runs.append(read_run(out))
    return runs


def contests(run: Run, batch: int) -> Iterator[Contest]:
    """All pairs of the questions that were measured."""
    entrants = {entrant.model.removeprefix("ref/"): entrant for entrant in gather([run])}
    tasks = sorted({cell.task for cell in run.cells})
    for one, other in dict.fromkeys(pair for question in QUESTIONS for pair in question.pairs):
        if one not in entrants or other not in entrants:
            continue
        entries = entries_of([measure(entrants[name], tasks) for name in (one, other)])

        def compared(by: By, sign: int = 1) -> tuple[float, float, float]:
            pairs = differences(entries, by)  # noqa: B023
            ends = pairs.interval(0, 1)
            assert ends is not None, "claims need repeats"
            low, high = sorted((sign * ends[0], sign * ends[1]))
            return sign * float(pairs.value[0, 1]), low, high

        # Differences of energy are larger where the row takes less.
        energy = tuple(math.exp(x) for x in compared("energy", -1))
        rate = tuple(math.exp(x) for x in compared("correct_per_wh"))
        yield Contest(
            one=one,
            other=other,
            batch=batch,
            quality=compared("quality"),
            energy=energy,
            rate=rate,  # type: ignore[arg-type]
        )


def answer(found: Sequence[Contest]) -> str:
    """Yes, no, or where it depends."""
    if not found:
        return "Not measured."
    won = {contest.won for contest in found}
    if won == {True}:
        return "Yes."
    if won == {False}:
        return "No."
    if True not in won:
        return "No: at best it cannot be told apart."
    if False not in won:
        return "Not surely: somewhere it cannot be told apart."
    at = {b: {c.won for c in found if c.batch == b} for b in BATCHES}
    if all(len(verdicts) == 1 for verdicts in at.values()):
        words = {True: "yes", False: "no", None: "cannot be told"}
        return "It depends: " + ", ".join(f"{words[verdicts.pop()]} at batch {b}" for b, verdicts in at.items()) + "."
    return "It depends; see each line."


def verdicts(found: Sequence[Contest]) -> str:
    parts = []
    for question in QUESTIONS:
        mine = [c for c in found if (c.one, c.other) in question.pairs]
        parts.append(f"### {question.asks}\n\n**{answer(mine)}**\n")
        if not mine:
            continue
        lines = [
            "| | Batch | Quality, points | Energy | Right answers per Wh | |",
            "|---|--:|--:|--:|--:|---|",
        ]
        for c in sorted(mine, key=lambda c: (question.pairs.index((c.one, c.other)), c.batch)):
            signed = f"{'+' if c.quality[0] >= 0 else ''}{fixed(c.quality[0])} ({span(c.quality[1], c.quality[2], 1)})"
            lines.append(
                f"| {c.one} / {c.other} | {c.batch} | {signed} | {ratio(c.energy)} | {ratio(c.rate)} | {c.in_words} |"
            )
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def ratio(values: tuple[float, float, float]) -> str:
    return f"{fixed(values[0], 2)}{TIMES} ({span(values[1], values[2], 2)})"


def table(view: View) -> str:
    columns = Columns(view)
    lines = [
        f"| Model | Parameters, active | Quality | {columns.energy.name} per 1,000 answers | {columns.rate_title} | "
        "Computes | Frontier |",
        "|---|--:|--:|--:|--:|---|---|",
    ]
    for row in view.rows:
        figures = [columns.quality(row), columns.energy_per_1k(row), columns.right_per_wh(row)]
        cells = [f"{value} ({limits})" if limits else value for value, limits in figures]
        lines.append(
            f"| {row.model.removeprefix('ref/')} | {row.params:,}, {row.active_params:,} | {' | '.join(cells)} | "
            f"{selectively(row)} | {row.frontier or MISSING} |"
        )
    return "\n".join(lines)


def selectively(row: Row) -> str:
    """What a model that chooses did compute."""
    facts = card(row.model.removeprefix("ref/"))
    if row.layers_per_token is not None:
        return f"{row.layers_per_token:.2f} of {facts['shape']['layers']} layers a token"
    if row.escalated is not None:
        return f"asks {facts['members'][1]} {100 * row.escalated:.0f} % of the time"
    if facts["kind"] == "moe":
        return f"{facts['shape']['chosen']} of {facts['shape']['experts']} experts"
    return "all of it"


def without_replicas(run: Run) -> Run:
    return replace(run, cells=tuple(c for c in run.cells if "replica_of" not in card(c.model.removeprefix("ref/"))))


def write(runs: Sequence[Run]) -> None:
    """Put figures, pictures and verdicts into the page."""
    found = [contest for run, batch in zip(runs, BATCHES, strict=True) for contest in contests(run, batch)]
    parts = ["## Verdicts\n", verdicts(found)]
    for run, batch in zip(runs, BATCHES, strict=True):
        whole, pictured = make_views([run])[0], make_views([without_replicas(run)])[0]
        (PICTURES / f"batch-{batch}.png").write_bytes(picture(pictured, "png"))
        parts.append(f"## Figures at batch {batch}\n")
        parts.append(f"![Quality against energy at batch {batch}](claims/batch-{batch}.png)\n")
        parts.append(table(whole) + "\n")
        repeats = max(row.repeats for row in whole.rows)
        parts.append(
            f"On {whole.hardware}, 1 thread, {repeats} repeats in random order, {len(whole.tasks)} tasks of 300 "
            f"questions. {grade_sentence(whole)}\n"
        )
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=ROOT / "build" / "claims", help="where the runs lie")
    options = parser.parse_args()
    write(run_all(options.runs, options.repeats))
    print(PAGE)
