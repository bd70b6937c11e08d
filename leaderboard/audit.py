"""Whether a submission can be believed: names, sums, physics, completeness, claims; each finding with a code.

What a stranger writes can be made to fit together: nothing here proves that it was measured. It proves that it could
have been. docs/leaderboard.md has each code, and what nobody can see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version

from joulemark.harness.machine import PACKAGES
from joulemark.harness.said import few

from .auditanswers import check_answers
from .auditclaims import by_word_alone, check_machine, check_meters
from .auditenergy import check_energy
from .auditflags import check_flags, flags_told
from .auditnames import check_names
from .auditplan import check_ids, check_plan
from .auditpower import check_power, check_work
from .auditscores import check_scores, check_tokens
from .auditsteps import check_busy, check_steps
from .audittasks import check_tasks, foreign_tasks
from .audittimes import check_times
from .findings import Finding
from .submission import Submission

__all__ = ["audit", "notes"]

Check = Callable[[Submission], Iterator[Finding]]
FIRST: tuple[Check, ...] = (check_names, check_ids)
"""What must hold before anything else is looked at: the others read what these have bounded."""
CHECKS: tuple[Check, ...] = (
    check_scores,
    check_tokens,
    check_energy,
    check_flags,
    check_power,
    check_work,
    check_steps,
    check_busy,
    check_times,
    check_plan,
    check_tasks,
    check_answers,
    check_meters,
    check_machine,
)
_SHOWN = 5
"""Findings of one code that are told one by one."""


def audit(sent: Submission) -> list[Finding]:
    """All that is wrong with it, in the order of the checks; of many alike the first few, and how many there are."""
    found = _few(finding for check in FIRST for finding in check(sent))
    return found or _few(finding for check in CHECKS for finding in check(sent))


def notes(sent: Submission) -> list[str]:
    """What a keeper should know of a submission that is valid all the same, a sentence each."""
    found = []
    if foreign := foreign_tasks(sent):
        found.append(f"Not Joulemark's own, so that nobody here knows their questions: {few(foreign, _SHOWN)}.")
    if stated := by_word_alone(sent):
        found.append(
            f"Grade and error of {few(stated, _SHOWN)} are the sender's or a plugin's word, and compared with nothing."
        )
    if flags := flags_told(sent):
        found.append(f"Flags of its {len(sent.cells):,} cells: {few(flags, _SHOWN)}.")
    if strange := sorted(sent.run.software.keys() - {"python", *PACKAGES}):
        found.append(f"Software that a run of ours does not tell: {few(strange, _SHOWN)}.")
    if sent.run.joulemark_version != (own := version("joulemark")):
        found.append(f"Measured by Joulemark {few([sent.run.joulemark_version], 1)}, and looked at by {own}.")
    if failed := sum(cell.status != "ok" for cell in sent.cells):
        found.append(f"{failed:,} of its {len(sent.cells):,} cells failed, and say so.")
    return found


def _few(findings: Iterable[Finding]) -> list[Finding]:
    shown: list[Finding] = []
    many: Counter[str] = Counter()
    for finding in findings:
        many[finding.code] += 1
        if many[finding.code] <= _SHOWN:
            shown.append(finding)
    rest = ((code, number - _SHOWN) for code, number in many.items() if number > _SHOWN)
    return shown + [Finding(code=code, path="", message=f"and {more:,} more like these.") for code, more in rest]
