"""Names: of pages, from names that strangers chose; of runs, from who sent them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

from joulemark.reports.wording import safe

from .storeindex import Entry

__all__ = ["names_by_sender", "page_name", "run_tag"]

_PLAIN = re.compile(
    r"(?!.*-[0-9a-f]{8}$)(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))[a-z0-9](?:[a-z0-9._-]{0,78}[a-z0-9_-])?"
)
"""What may stay as it is: neither hidden, nor like a name that was made, nor what some file systems fold or keep."""
_HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_MARKS = re.compile(r"[^A-Za-z0-9_-]+")
_RUN_ID = re.compile(r"\d{8}T\d{6}-([0-9a-f]{6})")
_HASH, _NAME, _SENDER = 8, 60, 40


def page_name(name: str) -> str:
    """A name for a file or folder from a name that a stranger chose; no two names share one."""
    if _PLAIN.fullmatch(name):
        return name
    plain = _MARKS.sub("-", name).strip("-_").lower()[:_NAME]
    return f"{plain}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:_HASH]}".lstrip("-")


def names_by_sender(entries: Sequence[Entry]) -> dict[str, str]:
    """What to call the runs of these submissions: by who sent them, with the end of its id where one sent several.

    Without those that nobody, or somebody of a long name, has sent: such runs are called by the end of their ids alone.
    """
    many = Counter(entry.by for entry in entries)
    told = {entry.sha256: entry for entry in entries if entry.by and len(entry.by) <= _SENDER}
    return {
        sha256: safe(f"{entry.by}" if many[entry.by] == 1 else f"{entry.by} {run_tag(entry.run_id)}")
        for sha256, entry in told.items()
    }


def run_tag(run_id: str) -> str:
    """The end of a run's id, as far as that tells it apart; the whole where it is no usual one."""
    usual = _RUN_ID.fullmatch(run_id)
    return usual[1] if usual else run_id if _HARMLESS.fullmatch(run_id) else page_name(run_id)
