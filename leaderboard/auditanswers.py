"""Answers of reference models, which are known: weights and questions are shipped, the likeliest token is taken."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from joulemark.harness.record import Cell

from .findings import Finding
from .knownanswers import KNOWN_ANSWERS, WEIGHTS
from .outcomes import to_bits
from .submission import Submission

__all__ = ["check_answers"]

_OTHER_SHARE = 0.01
"""Of the answers may differ, rounded down, but one always: where two tokens are as good as alike, processors differ."""
_PLAIN = {"batch_size", "limit", "num_fewshot", "threads"}
"""Settings with which the same is asked; `knownanswers` is of these."""


def check_answers(sent: Submission) -> Iterator[Finding]:
    """Reference models answered our questions as they do."""
    if sent.run.plan.get("gen_kwargs") or sent.run.plan.get("system_instruction"):
        return
    for number, cell in enumerate(sent.cells):
        name = cell.model_args.removeprefix("ref:")
        known = KNOWN_ANSWERS.get(name, {}) if cell.model_args.startswith("ref:") else {}
        if cell.status != "ok" or cell.task not in known or not _is_plain(cell):
            continue
        if not (cell.model_info.sha256 or "").startswith(WEIGHTS[name]):
            message = f"these are not the shipped weights of ref/{name}; measure again with the board's release."
            yield Finding(code="reference-weights", path=f"cells[{number}].model_info.sha256", message=message)
            continue
        scores = sent.scores(cell.cell_id)
        other = int(np.sum(scores != to_bits(known[cell.task], len(scores)))) if len(scores) else 0
        if other > max(1, int(_OTHER_SHARE * len(scores))):
            message = f"{other:,} of its {len(scores):,} answers are scored otherwise than ref/{name}'s; measure again."
            yield Finding(code="reference-answers", path=f"items.cells.{cell.cell_id}", message=message)


def _is_plain(cell: Cell) -> bool:
    return cell.setting.keys() <= _PLAIN and cell.setting.get("num_fewshot") is None
