"""Changes as a page, a feed and a file."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from joulemark.reports.wording import MISSING, decimals_for, energy_unit, fixed, safe, span

from .board import Board
from .differences import Difference, Pair, Span
from .history import Change, History, Replaced
from .names import page_name
from .storeindex import counts_of
from .subjects import Subject

__all__ = ["CHANGES_SCHEMA", "changes_json", "changes_values", "feed_values"]

CHANGES_SCHEMA = "joulemark.changes/1"
_CHANGES, _DIFFERENCES, _ENTRIES = 100, 60, 100
"""Of changes on the page, of lines in a table of differences, of entries in the feed; the file has all."""


def changes_values(history: History, board: Board) -> dict[str, Any]:
    """What the page's template takes."""
    subjects = _subjects(history, board)
    told = [_told(change, subjects[change.entry.sha256]) for change in history.changes[:_CHANGES]]
    return {"changes": told, "more": max(0, len(history.changes) - _CHANGES)}


def feed_values(history: History, board: Board, base_url: str) -> dict[str, Any]:
    """What the feed's template takes; RFC 4287 asks every entry for a time, so what has none is left out.

    Ids are made of submissions alone, so that they stay when the site moves. The feed's own is that of the first
    submission that was accepted.
    """
    dated, subjects = [change for change in history.changes if change.at], _subjects(history, board)
    return {
        "base": f"{base_url}/" if base_url else "",
        "id": _urn("feed", dated[-1]),
        "updated": dated[0].when,
        "entries": [
            {
                "id": _urn("change", change),
                "title": _title(change, subjects[change.entry.sha256]),
                "updated": change.when,
                "by": change.entry.by,
                "link": f"run/{change.page}.html",
                "summary": _summary(change, subjects[change.entry.sha256]),
            }
            for change in dated[:_ENTRIES]
        ],
    }


def changes_json(history: History) -> bytes:
    """All changes with all that differs (`CHANGES_SCHEMA`)."""
    content = {"schema": CHANGES_SCHEMA, "changes": [_as_json(change) for change in history.changes]}
    return (json.dumps(content, indent=1) + "\n").encode()


def _urn(what: str, change: Change) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"joulemark {what} {change.entry.sha256}").urn


def _subjects(history: History, board: Board) -> Mapping[str, Subject]:
    """What each submission is about: those in place are on the board, the others were read to be compared."""
    return {**{run.sha256: run.subject for run in board.runs}, **history.past_subjects}


def _title(change: Change, subject: Subject) -> str:
    """What on what, by whom: ``3 models on AMD EPYC, 2 threads, by ann: a, b and 1 more``."""
    by = f", by {change.entry.by}" if change.entry.by else ""
    again = ", measured again" if change.supersedes else ""
    return f"{subject.what}{by}{again}{f': {subject.named}' if subject.named else ''}"


def _summary(change: Change, subject: Subject) -> str:
    sentences = [subject.asked, f"Run {change.run_id}: {counts_of(change.entry)}."]
    sentences += [f"It takes the place of run {safe(old.entry.run_id)}. {_verdict(old)}" for old in change.supersedes]
    return " ".join(sentences)


def _verdict(old: Replaced) -> str:
    """How many figures moved for sure."""
    if not old.differences:
        return "No model and task of both can be compared."
    if not old.compared:
        return "No figure has an interval in both, so that nothing can be said of what changed."
    its = "its" if old.parted < 2 else "their"
    how = f"{old.parted or 'none'} changed by more than {its} 95 % intervals allow"
    return f"Of {old.compared:,} figures that both have, {how}."


def _told(change: Change, subject: Subject) -> dict[str, Any]:
    later = change.superseded_by
    return {
        "change": change,
        "title": _title(change, subject),
        "asked": subject.asked,
        "date": change.when.replace("T", " ").removesuffix("Z"),
        "counts": counts_of(change.entry),
        "replaced": [_replaced(old) for old in change.supersedes],
        "later": {"run_id": safe(later.run_id), "page": page_name(later.run_id)} if later else None,
    }


def _replaced(old: Replaced) -> dict[str, Any]:
    unit = energy_unit(each.energy.after.value for each in old.differences)
    return {
        "run_id": safe(old.entry.run_id),
        "page": old.page,
        "verdict": _verdict(old),
        "unit": unit.name,
        "lines": [_line(each, unit.factor) for each in old.differences[:_DIFFERENCES]],
        "more": max(0, len(old.differences) - _DIFFERENCES),
    }


def _line(each: Difference, factor: float) -> dict[str, Any]:
    energy, quality = each.energy, each.quality
    return {
        "label": safe(each.label),
        "model": each.model,
        "task": safe(each.task),
        "kind": _kind(each),
        "energy": [_scaled(energy.before, factor), _scaled(energy.after, factor)],
        "quality": [_points(quality.before), _points(quality.after)],
        "moved": [_apart(energy), _apart(quality)],
    }


def _kind(each: Difference) -> str:
    if not each.grade:
        return "no energy"
    return f"{each.grade}, {each.scope}{'' if each.same_meter else ', another meter'}"


def _scaled(figure: Span, factor: float) -> tuple[str, str]:
    if figure.value is None:
        return MISSING, ""
    value, decimals = figure.value * factor, decimals_for(figure.value * factor)
    if figure.low is None or figure.high is None:
        return fixed(value, decimals), ""
    return fixed(value, decimals), span(figure.low * factor, figure.high * factor, decimals)


def _points(figure: Span) -> tuple[str, str]:
    return fixed(figure.value), span(figure.low, figure.high, 1)


def _apart(pair: Pair) -> str:
    return {True: "changed", False: "not surely", None: "no interval"}[pair.apart]


def _as_json(change: Change) -> dict[str, Any]:
    entry = change.entry
    return {
        "run_id": entry.run_id,
        "sha256": entry.sha256,
        "by": entry.by,
        "added_at": entry.added_at,
        "created_at": entry.created_at,
        "models": entry.models,
        "tasks": entry.tasks,
        "cells": entry.cells,
        "superseded_by": entry.superseded_by,
        "supersedes": [
            {
                "run_id": old.entry.run_id,
                "sha256": old.entry.sha256,
                "differences": [_difference(each) for each in old.differences],
            }
            for old in change.supersedes
        ],
    }


def _difference(each: Difference) -> dict[str, Any]:
    told: dict[str, Any] = {"model": each.model, "label": each.label, "task": each.task}
    told |= {"grade": each.grade, "scope": each.scope, "same_meter": each.same_meter}
    for name, pair in (("quality", each.quality), ("energy_wh_per_1k", each.energy)):
        for when, figure in (("before", pair.before), ("after", pair.after)):
            told |= {f"{name}_{when}": figure.value, f"{name}_{when}_low": figure.low}
            told[f"{name}_{when}_high"] = figure.high
        told[f"{name}_apart"] = pair.apart
    return told
