"""What tells views of one task, or of all, apart: what was asked, of which run, and how the joules were obtained."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .views import View

__all__ = ["told_apart"]


def told_apart(views: list[View]) -> list[View]:
    """The views, each with what tells it from those of the same task, or of all tasks, on the same hardware."""
    alike: dict[tuple[Any, ...], list[View]] = defaultdict(list)
    for view in views:
        alike[view.task, view.hardware].append(view)
    return [replace(v, peculiar=_unlike(v, _near(v, alike[v.task, v.hardware]))) for v in views]


def _near(view: View, others: Sequence[View]) -> list[View]:
    """Those that a title may be taken for; of imported runs it says so, and theirs are seldom the same tasks."""
    return [other for other in others if other.tasks == view.tasks or _is_imported(other) == _is_imported(view)]


def _is_imported(view: View) -> bool:
    return all(figures.entrant.imported is not None for figures in view.figures)


def _unlike(view: View, others: Sequence[View]) -> str:
    if len(others) == 1:
        return ""
    traits = [_traits(other) for other in others]
    keys = sorted({key for trait in traits for key in trait})
    own = _traits(view)
    differing = [key for key in keys if len({trait.get(key) for trait in traits}) > 1]
    # Other tasks are other versions anyway.
    versions = {_traits(other)["version"] for other in others if other.tasks == view.tasks}
    if len(versions) == 1 and len({other.tasks for other in others}) > 1:
        differing = [key for key in differing if key != "version"]
    if own["grade"] == own["scope"] == "none":
        # What has no energy has no scope of it either.
        differing = [key for key in differing if key != "scope" or "grade" not in differing]
    if _is_imported(view):
        differing = _spoken(differing, own, [_traits(other) for other in others if other.tasks == view.tasks])
        return ", ".join(
            f"{key.replace('_', ' ')} not told" if _is_silent(key, own.get(key)) else _in_words(key, own[key])
            for key in differing
        )
    return ", ".join(_in_words(key, own.get(key)) for key in differing)


def _traits(view: View) -> dict[str, str]:
    """What is asked and how the joules were obtained, as JSON by name; over tasks that differ, all values."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for question in view.asked.values():
        version, asked = json.loads(question) if question else ("", "{}")
        for key, value in (json.loads(asked) | {"version": version}).items():
            found[key][json.dumps(value)] = None
    traits = {key: _few(sorted(values)) for key, values in found.items()}
    runs = sorted({f.entrant.run_name for f in view.figures})
    return traits | {"scope": view.scope or "none", "grade": view.grade or "none", "run": _few(runs)}


def _few(values: Sequence[str]) -> str:
    """Values for a heading: up to two as they are, of more the first and a digest of all."""
    if len(values) <= 2:
        return " and ".join(values)
    return f"{values[0]} and {len(values) - 1} more (#{zlib.crc32(chr(0).join(values).encode()):08x})"


def _spoken(keys: Sequence[str], own: dict[str, str], near: Sequence[dict[str, str]]) -> list[str]:
    """Without those that files are silent about, unless others of the same tasks tell them."""
    told = {key for trait in near for key, value in trait.items() if not _is_silent(key, value)}
    return [key for key in keys if key in told or not _is_silent(key, own.get(key))]


def _is_silent(key: str, value: str | None) -> bool:
    """Whether imported files do not tell a setting; a limit that is null is all questions."""
    return value is None or (value == "null" and key != "limit")


def _in_words(key: str, value: str | None) -> str:
    missing = value in (None, "null")
    if key == "limit":
        return "all questions" if missing else f"{value} questions a task"
    if key == "num_fewshot":
        return "few-shot as the task has it" if missing else f"{value}-shot"
    if key == "version":
        return f"tasks of version {str(value).replace(chr(34), '')}" if not missing else "version unknown"
    if key == "run":
        return f"run{'s' if ' and ' in str(value) else ''} {value}"
    if key in ("grade", "scope") and value == "none":
        return "no energy" if key == "grade" else "of no scope"
    if key in ("grade", "scope"):
        return f"{value} energy" if key == "grade" else f"scope {value}"
    return f"{key.replace('_', ' ')} {'not set' if missing else value}"
