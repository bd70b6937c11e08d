"""Write `leaderboard/knownanswers.py` of a run of the reference models on all questions of our tasks.

    joulemark run -m ref/ngram -m ref/dense-60k ... -t jm_units ... --repeats 1 --out RUN
    python tools/known_answers.py RUN

Models in eight bits are left out: what they answer depends on the instructions that a processor has.
"""

from __future__ import annotations

import sys
from pathlib import Path

from joulemark.harness.store import read_run
from joulemark.leaderboard.outcomes import to_text

TABLE = Path(__file__).parents[1] / "leaderboard" / "knownanswers.py"
HEAD = '''"""Which questions the shipped reference models answer rightly; made by tools/known_answers.py.

A bit for each question of a task, as submissions write them.
"""

from __future__ import annotations

__all__ = ["KNOWN_ANSWERS", "WEIGHTS"]

'''


def main(run: Path) -> None:
    """Write the table."""
    told = read_run(run)
    scores = {key: rows["score"].to_numpy() == 1.0 for key, rows in told.items().groupby("cell_id")}
    answers: dict[str, dict[str, str]] = {}
    weights: dict[str, str] = {}
    for cell in sorted(told.cells, key=lambda cell: (cell.model, cell.task)):
        name = cell.model_args.removeprefix("ref:")
        if cell.status == "ok" and "int8" not in name and "-s2" not in name:
            answers.setdefault(name, {})[cell.task] = to_text(scores[cell.cell_id])
            weights[name] = str(cell.model_info.sha256)[:16]
    lines = ["WEIGHTS = {", *(f'    "{name}": "{digest}",' for name, digest in weights.items()), "}"]
    lines += ['"""The first letters of the SHA-256 of each model\'s weights."""', "", "KNOWN_ANSWERS = {"]
    for name, of_task in answers.items():
        lines += [f'    "{name}": {{', *(f'        "{task}": "{bits}",' for task, bits in of_task.items()), "    },"]
    TABLE.write_text(HEAD + "\n".join([*lines, "}"]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
