"""Cells that failed, told once at the entrant they belong to: how many, and why."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from joulemark.harness.record import Cell

from .entrants import Entrant
from .wording import joined

__all__ = ["left_out", "losses"]

_REASONS, _LONGEST, _TASKS, _NAMES = 2, 240, 3, 3


@dataclass(frozen=True, kw_only=True)
class _Loss:
    """The failed cells of one entrant, and how many it finished."""

    name: str
    model: str
    cells: tuple[Cell, ...]
    finished: int = 0

    @property
    def reasons(self) -> dict[str, list[Cell]]:
        """Cells by reason, the most frequent first; reasons that differ in figures alone are one."""
        alike: dict[str, list[Cell]] = defaultdict(list)
        for cell in self.cells:
            alike[re.sub(r"\d[\d.,]*", "#", f"{cell.status} {cell.error}")].append(cell)
        return dict(sorted(alike.items(), key=lambda pair: -len(pair[1])))


def losses(entrants: Sequence[Entrant], names: Sequence[str], tasks: Sequence[str]) -> tuple[str, ...]:
    """A sentence for those of these entrants that lost cells of these tasks; equal losses share one."""
    found = []
    for entrant, name in zip(entrants, names, strict=True):
        if cells := tuple(cell for cell in entrant.failed if cell.task in tasks):
            finished = sum(sample.repeats for task, sample in entrant.samples.items() if task in tasks)
            found.append(_Loss(name=name, model=entrant.model, cells=cells, finished=finished))
    return tuple(_sentence(alike) for alike in _alike(found))


def left_out(entrants: Sequence[Entrant], names: Sequence[str]) -> list[str]:
    """A sentence for those of which no cell was finished; equal reasons share one."""
    found = [
        _Loss(name=name, model=entrant.model, cells=entrant.failed)
        for entrant, name in zip(entrants, names, strict=True)
    ]
    sentences = []
    for alike in _alike(found):
        who, cells = _who(alike), _cells_of(alike)
        whose = "its" if len(alike) == 1 else "their"
        how = "only cell" if len(cells) == 1 else f"{len(cells)} cells"
        none = f"{whose} {how} {_became(cells)}"
        sentences.append(f"{who} {'is' if len(alike) == 1 else 'are'} left out: {none}: {_why(alike[0], cells)}")
    return sentences


def _sentence(alike: Sequence[_Loss]) -> str:
    cells = _cells_of(alike)
    where = joined(_few(sorted({cell.task for cell in cells})))
    if len(cells) == 1:
        where += f", repeat {cells[0].repeat}"
    count = f"{len(cells)} of {len(cells) + sum(loss.finished for loss in alike)} cells {_became(cells)}"
    return f"{_who(alike)}: {count} ({where}): {_why(alike[0], cells)}"


def _cells_of(alike: Sequence[_Loss]) -> list[Cell]:
    """Their failed cells, each once: those of a model that two meters measured are both halves' own."""
    return list({(cell.run_id, cell.cell_id): cell for loss in alike for cell in loss.cells}.values())


def _alike(found: Sequence[_Loss]) -> list[list[_Loss]]:
    """Losses for one and the same reason together, in the order of the first of each."""
    groups: dict[str, list[_Loss]] = {}
    for loss in found:
        reasons = loss.reasons
        key = next(iter(reasons)) if len(reasons) == 1 else f"of {loss.name}"
        groups.setdefault(key, []).append(loss)
    return list(groups.values())


def _who(alike: Sequence[_Loss]) -> str:
    """Their names; of a model with many settings how many of these are meant."""
    names: dict[str, list[str]] = defaultdict(list)
    for loss in alike:
        names[loss.model].append(loss.name)
    few = [own if len(own) <= _NAMES else [f"{model} ({len(own)} settings)"] for model, own in names.items()]
    return joined([name for own in few for name in own])


def _became(cells: Sequence[Cell]) -> str:
    states = {cell.status for cell in cells}
    return "failed" if states == {"failed"} else "were invalid" if states == {"invalid"} else "failed or were invalid"


def _why(loss: _Loss, cells: Sequence[Cell]) -> str:
    reasons = list(loss.reasons.values())
    told = [_reason(own) + (f" ({len(own)})" if len(reasons) > 1 else "") for own in reasons[:_REASONS]]
    if len(reasons) == 1:
        told = [_reason(cells)]
    more = len(reasons) - _REASONS
    told += [f"{more} more reason{'s' if more > 1 else ''} in cells.jsonl"] if more > 0 else []
    text = "; ".join(told)
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _reason(cells: Sequence[Cell]) -> str:
    """The first cell's reason on one line, cut where it is long; marked where the others' figures are other ones."""
    text = " ".join((cells[0].error or "no reason given").split())
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\u2026"
    alike = len({cell.error for cell in cells}) == 1
    return text if alike else f"{text.rstrip('.')} (figures differ)"


def _few(tasks: Sequence[str]) -> list[str]:
    return list(tasks) if len(tasks) <= _TASKS else [f"{len(tasks)} tasks"]
