"""A submission: a run in one JSON file, with each item's outcome, so that a board computes every score again.

``{schema, run, states[], idle_windows[], cells[], items{sets[], cells{}}, sha256}``: the run's header, its cells with
their own key names, and for each finished cell which questions it was asked and what each answer scored. What a reader
knows is left out: what is as usual, such as null, and of a cell its ``run_id`` and ``machine_id``, which are the run's,
its ``task_hash``, that of its questions, and the ``domains`` of a total that is one meter's; what many cells share is a
number (`references`). Numbers have 9 digits, and those that random draws depend on all of theirs, so that a board draws
what the run's own report drew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import pandas as pd
from pydantic import (
    Field,
    ValidationError,
    field_validator,
)

from joulemark.harness.record import IMPORTED, Cell, DeviceState, Energy, RunHeader, Span
from joulemark.harness.store import Run, canonical_json, nothing_freed
from joulemark.meters.errors import Incomparable, UsageError
from joulemark.reports.folders import without_folders

from .findings import refuse
from .onemachine import of_one_machine
from .outcomes import HEX, MOST_CELLS, MOST_ENTRANTS, MOST_OUTCOMES, Items, Part, holds_bits, to_bits, to_text
from .reading import parse_json, read_bytes
from .references import MOST_SHARED, Number, SentSpan, check_references, put_together, share

__all__ = ["SCHEMA", "Submission", "digest", "length_s", "pack", "parse_submission", "read_submission"]

SCHEMA = "joulemark.submission/1"
_DIGITS, _FEW_DIGITS = 9, 6
_EXACT = {"slowed_s", "gross_j", "u_j", "rel_u_scale", "rel_u_workload", "accuracy", "chance", "scores"}
"""What ranges and the frontier are drawn from: the draws' seeds are made of it (`reports.contest`)."""
_ROUGH = {"duration_s", "other_cpu_cores", "cooled_s"}
"""What nothing else is worked out from."""
_MOST_ERRORS = 1000
_HASH = 16
"""Letters of a document's hash that are sent: 64 bits tell any two of a task apart."""
_SHOWN = 200


class SentEnergy(Energy):
    """A cell's energy; the ``domains`` may be left out where the run has one meter, which then gave all of it."""

    domains: dict[str, float] = Field(default_factory=dict)


class SentCell(Cell):
    """A cell; what is the same in all of a run may be left out.

    Attributes:
        idle_of: Number of the ``idle_windows`` that is its ``idle_window``.
    """

    run_id: str = ""
    machine_id: str = ""
    started_at: str
    energy: SentEnergy | None = None
    windows: tuple[SentSpan, ...] = ()
    idle_of: Number | None = Field(default=None, exclude=True)


class SentHeader(RunHeader):
    """A run's header; what Joulemark measured tells when it began."""

    created_at: str


class Submission(Part):
    """A run as it was sent, and as nothing but its own words says; `audit` tells what of it can be believed."""

    schema_: Literal["joulemark.submission/1"] = Field(alias="schema")
    run: SentHeader
    states: tuple[DeviceState, ...] = Field(fail_fast=True, default=(), max_length=MOST_SHARED)
    idle_windows: tuple[Span, ...] = Field(fail_fast=True, default=(), max_length=MOST_SHARED)
    cells: tuple[SentCell, ...] = Field(min_length=1, max_length=MOST_CELLS)
    items: Items
    sha256: str

    @field_validator("cells")
    @classmethod
    def _refuse_twice(cls, cells: tuple[SentCell, ...]) -> tuple[SentCell, ...]:
        if len({cell.cell_id for cell in cells}) < len(cells):
            raise ValueError("two cells have one cell_id")
        return cells

    def filled_in(self) -> Submission:
        """With what cells left out; whatever they refer to is there."""
        return self.model_copy(update={"cells": tuple(map(self._whole, self.cells)), "states": (), "idle_windows": ()})

    def _whole(self, cell: SentCell) -> SentCell:
        told: dict[str, Any] = {
            "run_id": cell.run_id or self.run.run_id,
            "machine_id": cell.machine_id or self.run.machine.machine_id,
            **put_together(cell, self),
        }
        outcome, energy = self.items.cells.get(cell.cell_id), cell.energy
        if cell.task_hash is None and outcome is not None:
            told["task_hash"] = self.items.sets[outcome.set].task_hash
        if energy is not None and energy.gross_j is not None and not energy.domains and len(self.run.meters) == 1:
            told["energy"] = energy.model_copy(update={"domains": {self.run.meters[0].id: energy.gross_j}})
        return cell.model_copy(update=told)

    def scores(self, cell_id: str) -> np.ndarray:
        """A cell's scores in the order of its questions; NaN where an answer has none."""
        outcome = self.items.cells[cell_id]
        if outcome.same_as is not None:
            outcome = self.items.cells[outcome.same_as]
        many = len(self.items.sets[outcome.set].docs)
        if outcome.right is not None:
            return to_bits(outcome.right, many).astype(np.float64)
        return np.array([np.nan if score is None else score for score in outcome.scores or ()], dtype=np.float64)

    def cut(self, cell_id: str) -> np.ndarray | None:
        """Which answers the token cap cut off; None where nobody knows."""
        outcome = self.items.cells[cell_id]
        many = len(self.items.sets[outcome.set].docs)
        if outcome.cut == "":
            return np.zeros(many, dtype=np.uint8)
        return None if outcome.cut is None else to_bits(outcome.cut, many)


def pack(run: Run) -> bytes:
    """A run as one JSON file; names of folders, and what failed models said, stay at home.

    Raises:
        Incomparable: It has no finished cell.
        UsageError: It was imported, several machines measured it, or the items of a finished cell cannot be read.
    """
    if IMPORTED in run.header.plan:
        raise UsageError(
            f"{run.path} was imported, and nobody can check what was measured elsewhere; pack a run that "
            "`joulemark run` measured."
        )
    run = of_one_machine(run)
    finished = [cell for cell in run.cells if cell.status == "ok"]
    if not finished:
        raise Incomparable(f"{run.path} has no finished cell, so there is nothing to submit.")
    cells = [_slim(_public(cell, run.header)) for cell in run.cells]
    content = {
        "schema": SCHEMA,
        "run": _public_header(run.header),
        **share(cells),
        "cells": cells,
        "items": _pack_items(finished, run.items()),
    }
    return _in_order({**content, "sha256": digest(content)}).encode()


def length_s(energy: Energy) -> float:
    """Seconds of a cell's windows; every submission tells them (`_refuse_untold`)."""
    assert energy.window_s is not None
    return energy.window_s


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of a submission without its ``sha256``."""
    bare = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(canonical_json(bare).encode()).hexdigest()


def read_submission(path: Path) -> Submission:
    """Read a file that a stranger sent, whose form is right; whether it can be believed is another question.

    Raises:
        Refused: It has not the form of a submission; the code says why.
        OSError: It cannot be read.
    """
    return parse_submission(read_bytes(path))


def parse_submission(sent: bytes, *, known: bool = False) -> Submission:
    """The same of such a file's content.

    Args:
        sent: The content.
        known: The same bytes were parsed before, and nothing was wrong: their JSON and digest are not looked at again.

    Raises:
        Refused: It has not the form of a submission; the code says why.
    """
    try:
        if not known:
            _check_json(sent)
        with nothing_freed():
            found = Submission.model_validate_json(sent, strict=True)
    except UnicodeEncodeError:
        refuse("not-json", "", "a text has half of a surrogate pair, which is no character; send the file as packed.")
    except ValidationError as problem:
        _refuse_wrong(problem)
    _refuse_untold(found)
    _check_outcomes(found)
    check_references(found)
    with nothing_freed():
        return found.filled_in()


def _check_json(sent: bytes) -> None:
    """That it is JSON that may be taken, and says what was packed."""
    content = parse_json(sent)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        refuse("schema", "schema", f"it is no {SCHEMA}; write it with `joulemark leaderboard pack RUN`.")
    if content.get("sha256") != digest(content):
        refuse("changed", "sha256", "it was changed after it was packed; pack the run again.")


def _in_order(content: Mapping[str, Any]) -> str:
    """As JSON, its keys as they come: those of a plan's sweep say in which order its settings were measured."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _refuse_wrong(problem: ValidationError) -> NoReturn:
    """Tell the first of what is wrong; a list of millions would take more memory than there is."""
    if problem.error_count() > _MOST_ERRORS:
        refuse(
            "schema", "", f"more than {_MOST_ERRORS:,} of its values are none that belong there; pack the run again."
        )
    error = problem.errors(include_input=False, include_url=False)[0]
    what = error["msg"].removeprefix("Value error, ")[:_SHOWN]
    refuse("schema", _path(error["loc"]), f"{what}; pack the run again.")


def _refuse_untold(sent: Submission) -> None:
    """Only what was measured can be checked: of imported runs numbers may be missing that a measured one has."""
    told = {"run.seed": sent.run.seed, "run.idle.duration_s": sent.run.idle.duration_s}
    machine = sent.run.machine
    told |= {"run.machine.cpu_count": machine.cpu_count, "run.machine.memory_gb": machine.memory_gb}
    for where, own in [(f"run.meters[{at}]", meter) for at, meter in enumerate(sent.run.meters)]:
        told |= {f"{where}.{name}": getattr(own, name) for name in ("rel_u", "rel_u_scale", "rel_u_workload")}
    for at, cell in enumerate(sent.cells):
        told[f"cells[{at}].duration_s"] = cell.duration_s
        if cell.energy is not None:
            energy = cell.energy
            names = ("rel_u_scale", "rel_u_workload", "window_s")
            told |= {f"cells[{at}].energy.{name}": getattr(energy, name) for name in names}
    for where, value in told.items():
        if value is None:
            refuse("schema", where, "a measured run tells this number; pack the run again.")


def _check_outcomes(sent: Submission) -> None:
    """That scores are there for just the questions that were asked, of just the cells that were finished."""
    finished = {cell.cell_id for cell in sent.cells if cell.status == "ok"}
    if not finished:
        refuse("items", "cells", "no cell was finished, so that there is nothing to show; measure again.")
    for cell_id in finished ^ sent.items.cells.keys():
        refuse("items", f"items.cells.{cell_id}", "each finished cell has items, and no other has; pack the run again.")
    for cell_id, outcome in sent.items.cells.items():
        where = f"items.cells.{cell_id}"
        if outcome.set >= len(sent.items.sets):
            refuse("items", f"{where}.set", f"there are {len(sent.items.sets)} sets of questions; pack the run again.")
        given = [name for name in ("right", "scores", "same_as") if getattr(outcome, name) is not None]
        if len(given) != 1:
            refuse("items", where, "one of right, scores and same_as tells the scores; pack the run again.")
        like = sent.items.cells.get(outcome.same_as) if outcome.same_as is not None else outcome
        if like is None or like.same_as is not None or like.set != outcome.set:
            refuse("items", f"{where}.same_as", "it names no cell of the same questions that has scores of its own.")
        many = len(sent.items.sets[outcome.set].docs)
        if outcome.scores is not None and len(outcome.scores) != many:
            refuse("items", f"{where}.scores", f"it has {len(outcome.scores)} scores for {many} questions.")
        for name in ("right", "cut"):
            text = getattr(outcome, name)
            if text is not None and not holds_bits(text, many) and (name, text) != ("cut", ""):
                refuse("items", f"{where}.{name}", f"it does not hold {many} bits, one for each question.")
    _refuse_many(sent)
    for place, asked in enumerate(sent.items.sets):
        for name in ("hashes", "levels", "clusters"):
            if (many := len(getattr(asked, name))) not in (0, len(asked.docs)):
                refuse("items", f"items.sets[{place}].{name}", f"there are {many} for {len(asked.docs)} questions.")
        if list(asked.docs) != sorted(set(asked.docs)):
            refuse("items", f"items.sets[{place}].docs", "numbers of documents ascend, and none is there twice.")


def _refuse_many(sent: Submission) -> None:
    """What is short in a file may be long once it is ranked: outcomes by reference, and pairs of entrants."""
    if sum(len(sent.items.sets[outcome.set].docs) for outcome in sent.items.cells.values()) > MOST_OUTCOMES:
        refuse("too-many", "items", f"it has more than {MOST_OUTCOMES:,} outcomes; pack fewer models into one.")
    if len({(cell.model, canonical_json(dict(cell.setting))) for cell in sent.cells}) > MOST_ENTRANTS:
        refuse("too-many", "cells", f"it has more than {MOST_ENTRANTS:,} models by settings; pack fewer into one.")


def _pack_items(cells: list[Cell], frame: pd.DataFrame) -> dict[str, Any]:
    sets: dict[str, int] = {}
    known: dict[tuple[int, str], str] = {}
    outcomes: dict[str, Any] = {}
    rows = dict(iter(frame.sort_values("doc_id").groupby("cell_id", sort=False)))
    for cell in cells:
        own = rows.get(cell.cell_id)
        if own is None:
            raise UsageError(f"the items of cell {cell.cell_id} are missing; run it again with --resume.")
        number = sets.setdefault(canonical_json(_slim(_asked(cell, own))), len(sets))
        told = _scored(own["score"].to_numpy(dtype=np.float64))
        like = known.setdefault((number, canonical_json(told)), cell.cell_id)
        outcomes[cell.cell_id] = {"set": number, **(told if like == cell.cell_id else {"same_as": like}), **_cut(own)}
    return {"sets": [json.loads(text) for text in sets], "cells": outcomes}


def _asked(cell: Cell, rows: pd.DataFrame) -> dict[str, Any]:
    named = rows["cluster"] if "cluster" in rows else pd.Series(None, index=rows.index, dtype=object)
    # An item without a source is one by itself; names as reports sort them (`reports.answers`).
    names = [f"item {doc}" if pd.isna(own) else f"of {own}" for doc, own in zip(rows["doc_id"], named, strict=True)]
    _, clusters = np.unique(np.array(names, dtype=str), return_inverse=True)
    shared = len(set(clusters.tolist())) < len(rows)
    levels = [None if pd.isna(level) else int(level) for level in rows.get("level", pd.Series([None] * len(rows)))]
    hashes = [str(text)[:_HASH] for text in rows.get("doc_hash", ())]
    return {
        "task": cell.task,
        "task_hash": cell.task_hash,
        "docs": rows["doc_id"].tolist(),
        "hashes": hashes if all(HEX.fullmatch(text) for text in hashes) else [],
        "levels": levels if any(level is not None for level in levels) else [],
        "clusters": clusters.tolist() if shared else [],
    }


def _scored(scores: np.ndarray) -> dict[str, Any]:
    if np.isin(scores, (0.0, 1.0)).all():
        return {"right": to_text(scores == 1.0)}
    return {"scores": [None if np.isnan(score) else float(score) for score in scores]}


def _cut(rows: pd.DataFrame) -> dict[str, str]:
    """Which answers were cut off; empty text where none was, nothing where that is not known of each."""
    if "truncated" not in rows or rows["truncated"].isna().any():
        return {}
    cut = rows["truncated"].to_numpy(dtype=bool)
    return {"cut": to_text(cut) if cut.any() else ""}


def _slim(value: Any, digits: int = _DIGITS) -> Any:
    """With numbers of so many digits as anybody reads, but for `_EXACT`."""
    if isinstance(value, Mapping):
        return {key: own if key in _EXACT else _slim(own, _digits(key, digits)) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_slim(own, digits) for own in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def _digits(key: str, digits: int) -> int:
    return _FEW_DIGITS if key in _ROUGH else digits


def _public_header(header: RunHeader) -> Any:
    content = header.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    # What is asked stands in each cell's setting as it is, and a board compares the two.
    asked = {key: content["plan"][key] for key in ("gen_kwargs", "system_instruction") if key in content["plan"]}
    plan = _without_folders(content["plan"]) | asked
    # Where a cluster is, is nobody's business either.
    plan |= {"executor": plan["executor"].partition(":")[0]} if "executor" in plan else {}
    # What a meter was told, such as an address and a password, is nobody's business; its kind is.
    if isinstance(meters := plan.get("meters"), list):
        plan["meters"] = [text.partition(":")[0] if "=" in text.partition(":")[0] else text for text in meters]
    return _slim({**content, "schema": header.schema_, "plan": plan})


def _public(cell: Cell, header: RunHeader) -> dict[str, Any]:
    known = {"sha256", "log", "run_id"}
    known |= {"machine_id"} if cell.machine_id == header.machine.machine_id else set()
    known |= {"task_hash"} if cell.status == "ok" else set()
    content: dict[str, Any] = cell.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=known)
    energy = cell.energy
    if energy is not None and [(meter.id, energy.gross_j) for meter in header.meters] == [*energy.domains.items()]:
        del content["energy"]["domains"]
    if "idle_window" in content:
        # How the devices were is in the header.
        content["idle_window"] = {name: content["idle_window"][name] for name in ("began_at", "window_s")}
    told = {name: _without_folders(content[name]) for name in ("model_args", "error") if name in content}
    if "error" in told:
        # Python's own errors have such as "<module>", which a board takes for markup.
        told["error"] = told["error"].translate(str.maketrans("<>", "()"))
    return content | told


def _without_folders(value: Any) -> Any:
    """Names of files alone: a path tells whose they are."""
    if isinstance(value, str):
        return without_folders(value, [value])
    if isinstance(value, Mapping):
        return {key: _without_folders(own) for key, own in value.items()}
    return [_without_folders(own) for own in value] if isinstance(value, list | tuple) else value


def _path(parts: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.lstrip(".")[:_SHOWN]
