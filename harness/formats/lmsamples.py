"""lm-eval's ``samples_*.jsonl``: what became of each question, and what a guesser would score."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from joulemark.meters.errors import UsageError

from ..said import few
from .foreign import count, listed, mapped, read_text, text
from .lmtexts import lines_of

__all__ = ["Samples", "read_samples", "samples_for", "samples_not_read"]

_NAMED = 6


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples of one task.

    Attributes:
        file: Where they are.
        rows: All of them, as they are in the file.
    """

    file: Path
    rows: tuple[Mapping[str, Any], ...]

    @property
    def headline(self) -> tuple[str, str] | None:
        """The metric that the task lists first, and the filter that it is taken after."""
        metrics, filtered = listed(self.rows[0].get("metrics")), text(self.rows[0].get("filter"))
        metric = text(metrics[0]) if metrics else None
        return (metric, filtered) if metric and filtered else None

    def after(self, filtered: str) -> list[Mapping[str, Any]]:
        """Those after one filter."""
        return [row for row in self.rows if row.get("filter") == filtered]

    def items(self, metric: str, filtered: str) -> pd.DataFrame:
        """A row for each question; a score that is no number is none."""
        rows = [self._item(row, metric) for row in self.after(filtered)]
        if not rows or len({row["doc_id"] for row in rows}) < len(rows):
            raise UsageError(f"{self.file}: its samples do not have each question once after the filter {filtered!r}.")
        return pd.DataFrame(rows).sort_values("doc_id", kind="stable", ignore_index=True)

    def texts(self, task: str, metric: str, filtered: str) -> tuple[str, ...] | None:
        """What was asked and answered, a line a question; None where that is not told."""
        rows = sorted(self.after(filtered), key=lambda row: count(row.get("doc_id")) or 0)
        return lines_of(rows, task=task, metric=metric)

    def _item(self, row: Mapping[str, Any], metric: str) -> dict[str, Any]:
        doc_id, score = count(row.get("doc_id")), row.get(metric)
        if doc_id is None or doc_id >= 1 << 62:
            raise UsageError(f"{self.file}: a sample has no doc_id that is a number.")
        doc, told = mapped(row.get("doc")), row.get("doc_hash")
        level, cluster = doc.get("level"), doc.get("cluster", doc_id)
        number = float(score) if isinstance(score, int | float) and abs(score) < 1e300 else float("nan")
        return {
            "doc_id": doc_id,
            "doc_hash": _plain(told) if isinstance(told, str) else "",
            "score": number,
            "correct": number >= 0.5 if number == number else None,
            "cluster": _plain(str(cluster)),
            "level": level if isinstance(level, int) and abs(level) < 1 << 62 else None,
        }

    def chance(self, filtered: str, *, choosing: bool, doubled: bool) -> float | None:
        """What a guesser scores: the best constant answer's share, or the mean of 1 / choices, whichever is more.

        Args:
            filtered: The filter.
            choosing: Whether each question has choices, each of which is a request.
            doubled: Whether each choice is asked once more without its question.

        Returns:
            0 to 1; None where the samples do not tell.
        """
        rows = self.after(filtered)
        if any("target" not in row for row in rows):
            return None
        targets = Counter(json.dumps(row["target"], sort_keys=True) for row in rows)
        constant = targets.most_common(1)[0][1] / len(rows)
        if not choosing:
            return constant
        choices = [len(listed(row.get("resps"))) // (2 if doubled else 1) for row in rows]
        return max(constant, sum(1 / many for many in choices) / len(rows)) if min(choices) > 1 else None


def samples_for(results: Path, given: Sequence[Path], all_results: Sequence[Path]) -> list[Path]:
    """The files of samples of a file of results: those given, and those that lie beside it with the same time.

    Raises:
        UsageError: Some that are given belong to none of the results.
    """
    stamps = {file: _stamp(file) for file in all_results}
    if len(all_results) == 1:
        own = list(given)
    else:
        known = set(stamps.values()) - {""}
        folders = [file.absolute().parent for file in all_results]
        alone = {folder for folder in folders if folders.count(folder) == 1}
        if stray := [f for f in given if f.absolute().parent not in alone and not any(s in f.name for s in known)]:
            raise UsageError(
                f"{stray[0]}: whose samples these are, its name tells, samples_TASK_TIME.jsonl with the time of a "
                f"results_TIME.json, or its folder, where that has one file of results; neither does. The times are "
                f"{few(sorted(known), _NAMED) or 'in no name of these results'}."
            )
        own = [file for file in given if _belongs(file, results, stamps[results], alone)]
    stamp = stamps[results]
    beside = sorted(results.parent.glob(f"samples_*_{stamp}.jsonl")) if stamp else []
    return list({file.absolute(): file for file in (*own, *beside)}.values())


def samples_not_read(results: Path, tasks: Sequence[str]) -> list[Path]:
    """Samples of these tasks that lie beside a file of results whose time is not in their names."""
    beside = sorted(results.parent.glob("samples_*.jsonl"))
    return [file for file in beside if any(_is_of(file, task) for task in tasks)]


def _belongs(file: Path, results: Path, stamp: str, alone: Collection[Path]) -> bool:
    """By the time in its name, or by its folder where that has no other results."""
    beside = results.absolute().parent
    return bool(stamp and stamp in file.name) or (beside in alone and file.absolute().parent == beside)


def _stamp(results: Path) -> str:
    """The time in the name of a file of results; empty where there is none."""
    found = re.fullmatch(r"results_(\d{4}-\d\d-\d\dT[\d.-]+)\.json", results.name)
    return found[1] if found else ""


def read_samples(files: Sequence[Path], tasks: Sequence[str]) -> dict[str, Samples]:
    """The samples of tasks by the names of their files.

    Raises:
        UsageError: A file is no samples, cut short, or of no such task; or a task has several.
    """
    found: dict[str, Samples] = {}
    for file in files:
        task = next((task for task in sorted(tasks, key=len, reverse=True) if _is_of(file, task)), None)
        if task is None:
            raise UsageError(
                f"{file}: its name is to tell the task, as samples_TASK.jsonl or samples_TASK_TIME.jsonl, and the "
                f"tasks of the results are {few(sorted(tasks), _NAMED)}; rename it."
            )
        if task in found:
            raise UsageError(f"{file}: {found[task].file} has other samples of {task}; name one of them.")
        found[task] = Samples(file=file, rows=_rows(file))
    return found


def _is_of(file: Path, task: str) -> bool:
    """Whether a file's name is ``samples_TASK.jsonl``, or has the time after the task."""
    for name in (task, re.sub(r"[^A-Za-z0-9_.-]+", "-", task)):
        rest = file.stem.removeprefix(f"samples_{name}")
        if file.stem.startswith(f"samples_{name}") and re.fullmatch(r"(_\d{4}-\d\d-\d\dT[\d.-]+)?", rest):
            return True
    return False


def _rows(file: Path) -> tuple[Mapping[str, Any], ...]:
    rows = []
    for number, line in enumerate(read_text(file).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise UsageError(f"{file}: line {number} is no whole JSON object; was it cut short?") from problem
        if not isinstance(row, dict):
            raise UsageError(f"{file}: line {number} is no JSON object, so it is of another format.")
        rows.append(row)
    if not rows:
        raise UsageError(f"{file}: there are no samples in it.")
    return tuple(rows)


def _plain(value: str) -> str:
    """Half of a surrogate pair is no character, and no file of items can hold it."""
    return value[:500].encode("utf-8", "replace").decode("utf-8")
