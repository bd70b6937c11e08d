"""Names and other texts of a submission: what could be taken for something else by a page, a terminal or a table."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from joulemark.reports.names import ALL

from .findings import Finding
from .submission import Submission

__all__ = ["check_names"]

MOST_NAME, MOST_TEXT, MOST_TOLD = 200, 4_000, 1_000
"""Letters of a name, and of a text such as a meter's source or why a cell failed; things of one kind, such as flags."""
_TEXTS = {"source", "provenance", "error", "system_instruction", "gen_kwargs", "model_args", "models", "meters"}
"""Keys whose values are sentences or arguments, and not names."""
_ASKED = {"system_instruction", "gen_kwargs"}
"""Keys whose values belong to the question: ``until=["</s>"]`` and lines are usual there. Pages escape them."""
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode's categories of what is not seen, or turns around what is: controls, bidi marks, line breaks."""
_MARKUP = re.compile(
    r"<\s*[A-Za-z/!?]|&[#A-Za-z][A-Za-z0-9]*;|(?:javascript|vbscript)\s*:|data:\s*text/", re.IGNORECASE
)
_UNUSUAL = re.compile(r"""[<>"'`\\{}|^$]""")
"""What no name needs, and a page, a shell or a template may take for its own."""
_LINK = "]("
"""A link or a picture, for whoever shows a name as Markdown."""
_LINES = re.compile(r"[\n\t]")
_FORMULA = re.compile(r"[=+\-@]")
_STEPS = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\~]")


def check_names(sent: Submission) -> Iterator[Finding]:
    """Names are short, visible, and begin as names do; no text has markup or steps out of its folder."""
    met: set[tuple[str, bool]] = set()
    if long := list(_check_many(sent)):
        yield from long
        return
    for path, text, is_name in _texts(sent):
        if (text, is_name) not in met:
            met.add((text, is_name))
            yield from _look(path, text, is_name=is_name)
    for number, cell in enumerate(sent.cells):
        if cell.task == ALL:
            message = f"boards call all tasks together {ALL!r}; rename it."
            yield Finding(code="name-reserved", path=f"cells[{number}].task", message=message)


def _check_many(sent: Submission) -> Iterator[Finding]:
    """No list or object of the header or of a cell is longer than anybody would read."""
    lengths = dict(_lengths("run", sent.run.model_dump(mode="json", by_alias=True)))
    for number, cell in enumerate(sent.cells):
        parts = (cell.setting, cell.flags, cell.windows, cell.other_metrics, cell.energy.domains if cell.energy else ())
        lengths[f"cells[{number}]"] = max(map(len, parts))
    for path, many in lengths.items():
        if many > MOST_TOLD:
            message = f"{many:,} of one kind are more than any run has; pack the run again."
            yield Finding(code="too-many", path=path, message=message)


def _lengths(path: str, value: Any) -> Iterator[tuple[str, int]]:
    if isinstance(value, Mapping | list | tuple):
        yield path, len(value)
        own = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, each in own:
            yield from _lengths(f"{path}.{key}"[:MOST_NAME], each)


def _look(path: str, text: str, *, is_name: bool) -> Iterator[Finding]:
    kind = "name" if is_name else "text"
    if len(text) > (most := MOST_NAME if is_name else MOST_TEXT):
        yield Finding(code="name-long", path=path, message=f"a {kind} has more than {most:,} letters; shorten it.")
        return
    is_asked = path.rpartition(".")[2] in _ASKED
    if any(unicodedata.category(letter) in _HIDDEN for letter in (_LINES.sub("", text) if is_asked else text)):
        message = f"a {kind} has letters that are not seen, or that turn others around; take them out."
        yield Finding(code="name-hidden", path=path, message=message)
    if (_MARKUP.search(text) and not is_asked) or (is_name and (_UNUSUAL.search(text) or _LINK in text)):
        yield Finding(code="name-markup", path=path, message=f"a {kind} has markup or quotes in it; rename it.")
    if is_name and _FORMULA.match(text.lstrip()):
        message = "a spreadsheet would take this name for a formula; let it begin with a letter or a digit."
        yield Finding(code="name-formula", path=path, message=message)
    if is_name and _STEPS.search(text):
        yield Finding(code="name-path", path=path, message="a name steps out of its folder; rename it.")
    if is_name and not text.strip():
        yield Finding(code="name-empty", path=path, message="a name is empty; give it one.")


def _texts(sent: Submission) -> Iterator[tuple[str, str, bool]]:
    """All texts: where, what, and whether it is a name."""
    header, walked = sent.run.model_dump(mode="json", by_alias=True), set[str]()
    yield from _walk("run", header, is_name=True)
    parts = ("cell_id", "model", "model_args", "task", "task_version", "task_hash", "error", "log", "metric", "run_id")
    for number, cell in enumerate(sent.cells):
        at = f"cells[{number}]"
        for part in parts:
            text = getattr(cell, part)
            if text:
                yield f"{at}.{part}", text, part not in _TEXTS
            elif part in ("cell_id", "model", "task", "run_id"):
                yield f"{at}.{part}", "", True
        for part in ("setting", "other_metrics", "flags"):
            # Most cells have what others have.
            if (own := getattr(cell, part)) and (told := repr(own)) not in walked:
                walked.add(told)
                yield from _walk(f"{at}.{part}", own, is_name=True)
        for part in ("kind", "licence", "sha256"):
            if text := getattr(cell.model_info, part):
                yield f"{at}.model_info.{part}", text, True
        if cell.energy is not None:
            yield from _walk(f"{at}.energy.domains", cell.energy.domains, is_name=True)
    states = {id(state): state for cell in sent.cells for span in cell.windows for state in (*span.before, *span.after)}
    for state in states.values():
        yield from _walk("states", (state.device, *state.slowed_by), is_name=True)
    for number, asked in enumerate(sent.items.sets):
        yield f"items.sets[{number}].task", asked.task, True


def _walk(path: str, value: Any, *, is_name: bool) -> Iterator[tuple[str, str, bool]]:
    if isinstance(value, str):
        if value:
            yield path, value, is_name
    elif isinstance(value, Mapping):
        for key, own in value.items():
            yield f"{path} (a key)", key, True
            yield from _walk(f"{path}.{key}"[:MOST_NAME], own, is_name=is_name and key not in _TEXTS)
    elif isinstance(value, list | tuple):
        for number, own in enumerate(value):
            yield from _walk(f"{path}[{number}]", own, is_name=is_name)
