"""What a keeper reads before accepting submissions, in Markdown for a job's summary or a comment.

Everything in it that comes from a file is a stranger's: it is neutralised (`reports.markdown`) and cut short.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from joulemark.harness.said import few
from joulemark.reports.entrants import gpus_in_words
from joulemark.reports.markdown import md, md_row

from .auditflags import flags_told
from .findings import Finding
from .submission import Submission

__all__ = ["Checked", "as_markdown", "facts_of"]

_MOST_BYTES = 60_000
"""Below the 64 KB of a comment."""
_LONGEST, _NAMES = 300, 12
"""Letters of a text, and names of a kind, that are shown."""
_BELIEF = (
    "Valid means that it could have been measured, not that it was. Look at machine, meters and flags, and ask where "
    "something is unusual."
)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A file that was looked at; what it holds is let go, since there may be many.

    Attributes:
        file: Its path, as it was given.
        facts: What it says, by name (`facts_of`); empty where it has not the form of a submission.
        findings: What is wrong with it.
        notes: What to know of one that is valid.
    """

    file: str
    facts: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()


def as_markdown(checked: Sequence[Checked]) -> str:
    """All files, each with what it is and what is wrong; under 64 KB, however many and whatever they hold."""
    valid = sum(not each.findings for each in checked)
    many = "submission is" if len(checked) == 1 else "submissions are"
    parts = [f"## {valid:,} of {len(checked):,} {many} valid"]
    parts += [_BELIEF] if valid else []
    for number, each in enumerate(checked):
        made = _section(each)
        if sum(map(_size, [*parts, *made])) > _MOST_BYTES:
            parts.append(
                f"{len(checked) - number:,} more are left out here; `joulemark leaderboard validate` tells all."
            )
            break
        parts += made
    return "\n\n".join(parts) + "\n"


def facts_of(sent: Submission) -> dict[str, str]:
    """What a reviewer asks first, by name; as the file has it, so not neutralised."""
    run, cells, machine = sent.run, sent.cells, sent.run.machine
    grades = {f"{cell.energy.grade}, {cell.energy.scope}" for cell in cells if cell.energy}
    hardware = [f"{machine.cpu_model}, {machine.cpu_count} threads", *gpus_in_words(machine)]
    return {
        "Models": _named(cell.model for cell in cells),
        "Tasks": _named(cell.task for cell in cells),
        "Cells": f"{len(cells):,}, {max(cell.repeat for cell in cells):,} repeats",
        "Machine": f"{' + '.join(hardware)}; id {machine.machine_id}",
        "Energy": f"{_named(sorted(grades)) or 'none'}; meters {_named(meter.id for meter in run.meters) or 'none'}",
        "Flags": few(flags_told(sent), _NAMES) or "none",
        "Run": f"{run.run_id}, begun {run.created_at}, Joulemark {run.joulemark_version}",
        "SHA-256": sent.sha256,
    }


def _section(each: Checked) -> list[str]:
    name = md(_short(each.file))
    facts = _table(["What", "As the file says"], [[key, md(_short(text))] for key, text in each.facts.items()])
    if not each.findings:
        notes = [f"- {md(_short(note))}" for note in each.notes]
        return [f"### {name}: valid", facts, *(["\n".join(notes)] if notes else [])]
    rows = [[one.code, md(_short(one.path)) or "the whole", md(_short(one.message))] for one in each.findings]
    wrong = _table(["Code", "Where", "What is wrong, and what to do"], rows)
    return [f"### {name}: not valid", wrong, *(["What is in it:", facts] if each.facts else [])]


def _named(names: Iterable[str]) -> str:
    return few([_short(name, 60) for name in dict.fromkeys(names)], _NAMES)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([md_row(heads), md_row(["---"] * len(heads)), *map(md_row, rows)])


def _short(text: str, most: int = _LONGEST) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"


def _size(text: str) -> int:
    return len(text.encode()) + len("\n\n")
