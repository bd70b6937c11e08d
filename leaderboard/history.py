"""What came into the store, newest first: what it superseded, and what differs from that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from joulemark.meters.errors import JoulemarkError
from joulemark.reports.wording import safe

from .board import BoardRun, tell_run
from .differences import Difference, Figures, compare, figures_of
from .names import page_name
from .store import Store
from .storeindex import Entry, index_text
from .subjects import Subject, subject_of
from .submission import Submission

__all__ = ["Change", "History", "Replaced", "tell_history"]


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """A submission in whose place a newer one stands, and what differs: an entry for each model and task of both."""

    entry: Entry
    page: str
    subject: Subject
    differences: tuple[Difference, ...]

    @property
    def parted(self) -> int:
        """Figures whose 95 % intervals part."""
        return sum((each.quality.apart is True) + (each.energy.apart is True) for each in self.differences)

    @property
    def compared(self) -> int:
        """Figures that have both intervals."""
        return sum((each.quality.apart is not None) + (each.energy.apart is not None) for each in self.differences)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A submission that was accepted.

    Attributes:
        entry: Its line in the index.
        run_id: Its run, as text.
        page: The name of that run's page.
        at: When it was accepted, in UTC, or else when its run was begun; None where neither is a time.
        accepted: Whether ``at`` is when it was accepted.
        supersedes: In whose place it stands.
        superseded_by: What stands in its place.
    """

    entry: Entry
    run_id: str
    page: str
    at: datetime | None
    accepted: bool
    supersedes: tuple[Replaced, ...] = ()
    superseded_by: Entry | None = None

    @property
    def when(self) -> str:
        """The time as RFC 3339 has it; empty where there is none."""
        return f"{self.at:%Y-%m-%dT%H:%M:%SZ}" if self.at else ""


@dataclass(frozen=True, kw_only=True)
class History:
    """All that a store accepted; empty where a site is made without a store."""

    store: Store | None = None
    changes: tuple[Change, ...] = ()

    @cached_property
    def index(self) -> bytes:
        """The store's index."""
        return index_text(self.store.entries).encode() if self.store else b""

    @cached_property
    def by_sha256(self) -> Mapping[str, Change]:
        """Changes by the submission."""
        return {change.entry.sha256: change for change in self.changes}

    @cached_property
    def past_subjects(self) -> Mapping[str, Subject]:
        """What each superseded submission is about."""
        return {old.entry.sha256: old.subject for change in self.changes for old in change.supersedes}

    @cached_property
    def successors(self) -> Mapping[str, str]:
        """Of each run that is gone the one that stands in its place now, however often that went on."""
        found = {change.run_id: _last(change, self.by_sha256) for change in self.changes if change.superseded_by}
        there = {change.run_id for change in self.changes if not change.superseded_by}
        return {old: new for old, new in found.items() if old not in there}

    @property
    def newest(self) -> datetime | None:
        """When the last change was."""
        return next((change.at for change in self.changes if change.at), None)

    def past_runs(self) -> Iterator[BoardRun]:
        """Superseded runs, one at a time: a long history need not fit into memory.

        A run that was sent again when it had gone on is one run: its newest submission tells it.

        Raises:
            Refused: A file is not as it was accepted.
        """
        if self.store is None:
            return
        told = {entry.run_id for entry in self.store.current}
        for entry in reversed(self.store.superseded):
            if entry.run_id not in told:
                told.add(entry.run_id)
                yield tell_run(self.store.read(entry))


def tell_history(store: Store) -> History:
    """Read what is needed to compare whatever was superseded with what took its place.

    Raises:
        Refused: A file is not as it was accepted.
    """
    by_sha = {entry.sha256: entry for entry in store.entries}
    replaced: dict[str, list[Entry]] = {}
    for entry in store.superseded:
        replaced.setdefault(entry.superseded_by or "", []).append(entry)
    changes = [_change(store, entry, replaced.get(entry.sha256, ()), by_sha) for entry in store.entries]
    # What has no time comes last.
    return History(store=store, changes=tuple(sorted(changes, key=_age, reverse=True)))


def _change(store: Store, entry: Entry, older: Sequence[Entry], by_sha: Mapping[str, Entry]) -> Change:
    accepted, begun = _time(entry.added_at), _time(entry.created_at)
    new = _figures(store.read(entry)) if older else {}
    return Change(
        entry=entry,
        run_id=safe(entry.run_id),
        page=page_name(entry.run_id),
        at=accepted or begun,
        accepted=accepted is not None,
        supersedes=tuple(_replaced(old, store.read(old), new) for old in older),
        superseded_by=by_sha.get(entry.superseded_by or ""),
    )


def _replaced(old: Entry, sent: Submission, new: Figures) -> Replaced:
    differences = compare(_figures(sent), new)
    return Replaced(entry=old, page=page_name(old.run_id), subject=subject_of(sent), differences=differences)


def _last(change: Change, by_sha: Mapping[str, Change]) -> str:
    """The run at the end of what superseded it; an index that people edit may go round in a circle."""
    met: set[str] = set()
    while change.superseded_by and change.entry.sha256 not in met:
        met.add(change.entry.sha256)
        change = by_sha[change.superseded_by.sha256]
    return change.run_id


def _figures(sent: Submission) -> Figures:
    """Nothing where it cannot be ranked any more: its file is there, and says so."""
    try:
        return figures_of(sent)
    except JoulemarkError:
        return {}


def _age(change: Change) -> tuple[datetime, str, str]:
    entry = change.entry
    return change.at or datetime.min.replace(tzinfo=UTC), entry.created_at, entry.sha256


def _time(text: str | None) -> datetime | None:
    """A time with its zone; None for anything else, since an index is a file that people edit."""
    try:
        when = datetime.fromisoformat(text or "")
        return when.astimezone(UTC) if when.tzinfo else None
    except (ValueError, OverflowError):
        return None
