"""One entrant as results of lm-eval's form: whatever reads these reads ours; energy is in a block of our own."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from joulemark.harness.formats.ownblock import BLOCK
from joulemark.harness.record import ITEM_COLUMNS, Cell
from joulemark.harness.store import Run
from joulemark.tasks.samples import MOST_CHARACTERS

from .lmevalblock import block_of
from .told import Told, one_told

__all__ = ["as_lmeval", "samples_of"]

_NO_TEXTS: dict[str, Any] = {
    "target": None,
    "arguments": {},
    "resps": [],
    "filtered_resps": [],
    "prompt_hash": None,
    "target_hash": None,
}


def as_lmeval(run: Run, entrant: str | None = None) -> bytes:
    """What ``lm_eval --output_path`` writes, for one entrant; scores are means over its repeats.

    Raises:
        Incomparable: The run has no finished cell.
        UsageError: The run has several entrants and none is named, or no such one.
    """
    told = one_told(run, entrant)
    first = {task: next(cell for cell in told.cells if cell.task == task) for task in told.tasks}
    content = {
        "results": {task: _scores(told, cell) for task, cell in first.items()},
        "group_subtasks": {task: [] for task in first},
        "configs": {task: _config(told, cell) for task, cell in first.items()},
        "versions": {task: _version(cell.task_version) for task, cell in first.items()},
        "n-shot": {task: cell.setting["num_fewshot"] for task, cell in first.items() if _shots(cell)},
        "higher_is_better": {t: {c.metric: True} for t, c in first.items() if c.metric and _is_share(told, t)},
        "n-samples": {task: _asked(told, cell) for task, cell in first.items()},
        "config": _how(next(iter(first.values()))),
        "git_hash": None,
        "date": _epoch(run.header.created_at),
        "lm_eval_version": run.header.software.get("lm_eval"),
        "transformers_version": run.header.software.get("transformers"),
        "task_hashes": {task: cell.task_hash for task, cell in first.items() if cell.task_hash is not None},
        **_model(told),
        "total_evaluation_time_seconds": _seconds(told),
        BLOCK: block_of(told),
    }
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def samples_of(run: Run, entrant: str | None = None) -> dict[str, bytes]:
    """Samples of one entrant by file name: the items of all repeats, and the texts of one, as far as the run has them.

    Raises:
        As `as_lmeval`.
    """
    told = one_told(run, entrant)
    items = dict(list(run.items().groupby("cell_id", sort=False)))
    files: dict[str, bytes] = {}
    for task in told.tasks:
        cells = [cell for cell in told.cells if cell.task == task and cell.cell_id in items]
        if not cells:
            continue
        whose, texts = next(((cell, own) for cell in cells if (own := run.samples(cell.cell_id))), (cells[0], []))
        asked = {text["doc_id"]: text for text in texts}
        rows = [(cell.repeat, _by_doc(items[cell.cell_id])) for cell in cells]
        lines = [_sample(asked.get(doc, first), whose, rows) for doc, first in rows[0][1].items()]
        content = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
        files[_file_of(task, files)] = content.encode()
    return files


def _scores(told: Told, cell: Cell) -> dict[str, Any]:
    """A task's entry of ``results``; a metric without a standard error has N/A, as lm-eval says it."""
    sample = told.entrant.samples[cell.task]
    values = {**sample.headline, **sample.other_metrics}
    error = _standard_error(told, cell.task)
    scores: dict[str, Any] = {
        "name": cell.task,
        "alias": cell.task,
        "sample_len": told.entrant.samples[cell.task].items,
    }
    for metric, value in values.items():
        scores[_key(metric)] = value
        scores[_key(metric, "_stderr")] = error if metric == sample.metric and error is not None else "N/A"
    return scores


def _standard_error(told: Told, task: str) -> float | None:
    """Of the accuracy: that of quality, in points, on the accuracy's scale."""
    points, chance = told.figures(task).quality, told.entrant.samples[task].chance
    return None if points is None or points.se is None or chance is None else points.se * (1 - chance) / 100


def _key(metric: str, suffix: str = "") -> str:
    """``exact_match,none``: a metric and the filter that it was taken after, where that is told."""
    name, _, filtered = metric.partition(",")
    return f"{name}{suffix},{filtered or 'none'}"


def _is_share(told: Told, task: str) -> bool:
    return told.entrant.samples[task].chance is not None


def _config(told: Told, cell: Cell) -> dict[str, Any]:
    """What is known of a task's own configuration."""
    better = {"higher_is_better": True} if _is_share(told, cell.task) else {}
    return {
        "task": cell.task,
        "num_fewshot": cell.setting.get("num_fewshot"),
        "metric_list": [{"metric": cell.metric} | better] if cell.metric else [],
        "metadata": {"version": _version(cell.task_version)},
    }


def _version(text: str | None) -> str | float | None:
    """A number, as lm-eval has it, where that is the same."""
    try:
        number = float(text or "")
    except ValueError:
        return text
    return number if str(number) == text and math.isfinite(number) else text


def _shots(cell: Cell) -> bool:
    return isinstance(cell.setting.get("num_fewshot"), int)


def _asked(told: Told, cell: Cell) -> dict[str, int | None]:
    """How many questions the task has, where there was no limit, and how many were asked; None where nobody tells."""
    asked = told.entrant.samples[cell.task].items
    return {"original": asked if cell.setting.get("limit", 0) is None else None, "effective": asked}


def _how(cell: Cell) -> dict[str, Any]:
    """How it was run, by lm-eval's names."""
    backend, _, args = cell.model_args.partition(":")
    told = {name: cell.setting.get(name) for name in ("batch_size", "limit", "gen_kwargs")}
    return {"model": backend, "model_args": args, "batch_sizes": [], "device": None, "use_cache": None} | told


def _model(told: Told) -> dict[str, Any]:
    """What lm-eval calls the model and says of how it was asked."""
    setting, name = told.entrant.setting, told.entrant.model
    return {
        "model_source": _how(told.cells[0])["model"],
        "model_name": name,
        "model_name_sanitized": re.sub(r"[^\w.-]+", "__", name),
        "system_instruction": setting.get("system_instruction"),
        "fewshot_as_multiturn": setting.get("fewshot_as_multiturn"),
        "chat_template": None,
    }


def _seconds(told: Told) -> str | None:
    """Of all cells, as the text that lm-eval has here; None where one does not tell."""
    known = [cell.duration_s for cell in told.cells if cell.duration_s is not None]
    return str(math.fsum(known)) if len(known) == len(told.cells) else None


def _epoch(text: str | None) -> float | None:
    """Seconds since 1970; None where the time of measurement is not known."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def _sample(
    told: Mapping[str, Any], cell: Cell, rows: Sequence[tuple[int, Mapping[int, Mapping[str, Any]]]]
) -> dict[str, Any]:
    """A line of lm-eval's samples: what was asked and answered, and each repeat's item in our own block.

    Args:
        told: What a run keeps of the texts; or an item, where it keeps none.
        cell: The cell whose texts these are, or else any.
        rows: Each repeat's number, and its items by document.
    """
    doc_id = told["doc_id"]
    kept = {"kept": {"repeat": cell.repeat, "task": told["task"]}} if "task" in told else {}
    return {
        "doc_id": doc_id,
        "doc": None,
        **(_texts(told) if "prompts" in told else _NO_TEXTS),
        "filter": (cell.metric or "").partition(",")[2] or "none",
        "metrics": [cell.metric] if cell.metric else [],
        "doc_hash": told["doc_hash"],
        **({cell.metric: told["score"]} if cell.metric else {}),
        BLOCK: kept | {"items": [{"repeat": repeat, **own[doc_id]} for repeat, own in rows if doc_id in own]},
    }


def _texts(kept: Mapping[str, Any]) -> dict[str, Any]:
    prompts, continuations = kept["prompts"], kept.get("continuations", [])
    asked = prompts * len(continuations) if len(prompts) == 1 and continuations else prompts
    arguments = [{"arg_0": prompt} for prompt in asked]
    for argument, continuation in zip(arguments, continuations, strict=False):
        argument["arg_1"] = continuation
    return {
        "target": kept["target"],
        "arguments": {f"gen_args_{place}": argument for place, argument in enumerate(arguments)},
        "resps": [[answer] for answer in kept["answers"]],
        "filtered_resps": kept["filtered"],
        "prompt_hash": _hash(prompts[0] if prompts else None),
        "target_hash": _hash(str(kept["target"])),
    }


def _hash(text: Any) -> str | None:
    """lm-eval's hash of a text; None where the text was not kept whole."""
    whole = isinstance(text, str) and len(text) < MOST_CHARACTERS
    return hashlib.sha256(text.encode()).hexdigest() if whole else None


def _by_doc(items: pd.DataFrame) -> dict[int, dict[str, Any]]:
    """Rows of items as JSON can hold them, by document; what is missing is null."""
    whole = items.reindex(columns=list(ITEM_COLUMNS)).itertuples(index=False, name=None)
    rows = [dict(zip(ITEM_COLUMNS, map(_plain, row), strict=True)) for row in whole]
    return {row["doc_id"]: row for row in rows}


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if pd.isna(value) or value in (math.inf, -math.inf) else value


def _file_of(task: str, taken: Mapping[str, bytes]) -> str:
    """``samples_TASK.jsonl``; a task's name is no path, and no two tasks share a file."""
    name = f"samples_{re.sub(r'[^A-Za-z0-9_.-]+', '-', task)}.jsonl"
    return name if name not in taken else f"samples_{hashlib.sha256(task.encode()).hexdigest()[:16]}.jsonl"
