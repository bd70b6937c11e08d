"""A store of accepted submissions: a plain folder, fit for git.

``accepted/SHA256.json`` has each one's bytes as they came, ``index.json`` a line for each. A submission is in the store
if and only if its line is: its file is written first, then the index takes the old one's place, both flushed to disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from joulemark.harness.store import replace_file
from joulemark.meters.errors import UsageError

from .audit import audit
from .findings import Finding, Refused, refuse
from .reading import read_bytes
from .storeindex import NAME, Entry, entry_of, in_order, index_text, read_index
from .submission import Submission, parse_submission

__all__ = ["ACCEPTED", "INDEX", "Added", "Looked", "Store", "accepted_bytes", "add", "look_through", "read_store"]

ACCEPTED, INDEX = "accepted", "index.json"


@dataclass(frozen=True, kw_only=True)
class Store:
    """Accepted submissions.

    Attributes:
        path: The folder.
        entries: All, by the run's date and id.
        strays: Files in ``accepted/`` that the index does not have: they count for nothing.
    """

    path: Path
    entries: tuple[Entry, ...]
    strays: tuple[str, ...] = ()

    @cached_property
    def current(self) -> tuple[Entry, ...]:
        """Those that a board shows."""
        return tuple(entry for entry in self.entries if entry.superseded_by is None)

    @cached_property
    def superseded(self) -> tuple[Entry, ...]:
        """Those in whose place a newer one stands: the history."""
        return tuple(entry for entry in self.entries if entry.superseded_by is not None)

    def read(self, entry: Entry) -> Submission:
        """What was sent.

        Raises:
            Refused: Its file is not there, or not as it was accepted.
        """
        return _accepted(self.path / ACCEPTED / f"{entry.sha256}.json", entry.bytes_sha256)[1]


@dataclass(frozen=True, kw_only=True)
class Added:
    """What became of a file.

    Attributes:
        entry: Its line in the index; None where it was refused.
        findings: Why it was refused.
        known: It was there before, and nothing changed.
        supersedes: Those whose place it takes.
    """

    entry: Entry | None = None
    findings: tuple[Finding, ...] = ()
    known: bool = False
    supersedes: tuple[Entry, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What looking through a store found.

    Attributes:
        store: As it is now.
        findings: What a keeper has to put right.
        mended: The index was written anew from the files.
    """

    store: Store
    findings: tuple[Finding, ...]
    mended: bool


def read_store(folder: Path) -> Store:
    """The accepted submissions, without a look into their files.

    Where there is no index, it is worked out from the files; the folder is left as it is.

    Raises:
        UsageError: There is no store.
        Refused: The index cannot be read, or names a file that is not there.
    """
    if not (folder / INDEX).exists():
        if not (names := _names(folder)):
            raise UsageError(f"{folder} is no store; `joulemark leaderboard add FILE --store {folder}` makes one.")
        return Store(path=folder, entries=in_order(_fit(folder / ACCEPTED / name) for name in names))
    # Before the files: those of its lines are there, also while somebody adds.
    entries = _indexed(folder)
    names = _names(folder)
    if missing := _missing(entries, names):
        raise Refused(missing[0])
    return Store(path=folder, entries=entries, strays=_strays(entries, names))


def accepted_bytes(store: Store, entry: Entry) -> bytes:
    """An accepted file's content, byte for byte; `Store.read` tells whether it is still what was accepted.

    Raises:
        Refused: It cannot be read.
    """
    file = store.path / ACCEPTED / f"{entry.sha256}.json"
    try:
        return read_bytes(file)
    except OSError as problem:
        refuse("store-changed", f"{ACCEPTED}/{file.name}", f"it cannot be read: {problem.strerror}.")


def add(folder: Path, file: Path, *, by: str | None = None) -> Added:
    """Accept a submission if nothing is wrong with it; whenever this is cut short, the store is whole.

    Args:
        folder: The store, which is made where there is none.
        file: The submission.
        by: Who sent it.

    Raises:
        UsageError: The folder cannot be written, or nobody is called so.
        Refused: The store itself is broken.
    """
    if by is not None and not re.fullmatch(NAME, by):
        raise UsageError("--by takes an account's name: letters, digits, dots, dashes and underscores, at most 64.")
    try:
        content, sent = _take(file)
        new = entry_of(sent, content, by=by, added_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    except Refused as problem:
        return Added(findings=(problem.finding,))
    if findings := audit(sent):
        return Added(findings=tuple(findings))
    with _alone(folder):
        return _enter(_opened(folder), content, sent, new)


def look_through(folder: Path) -> Looked:
    """Read every file anew, and write the index as the files have it.

    ``by`` and ``added_at`` are in the index alone: they are taken from it. Lines whose files are gone or changed stay.

    Raises:
        UsageError: There is no store, or it cannot be written.
        Refused: The index cannot be read.
    """
    if not _names(folder) and not (folder / INDEX).exists():
        raise UsageError(f"{folder} is no store of submissions; name a FILE to add.")
    with _alone(folder):
        names = _names(folder)
        before = (folder / INDEX).read_bytes() if (folder / INDEX).exists() else None
        told, findings = _told_by_files(folder, names, None if before is None else _indexed(folder))
        after = index_text(told).encode()
        if after != before:
            replace_file(folder / INDEX, after)
    entries = in_order(told)
    store = Store(path=folder, entries=entries, strays=_strays(entries, names))
    return Looked(store=store, findings=tuple(findings), mended=after != before)


def _opened(folder: Path) -> Store:
    """The store, with an index from now on: without one, what a crash left in ``accepted`` would count."""
    if not (folder / INDEX).exists():
        entries = read_store(folder).entries if _names(folder) else ()
        replace_file(folder / INDEX, index_text(entries).encode())
    return read_store(folder)


def _enter(store: Store, content: bytes, sent: Submission, new: Entry) -> Added:
    """Put a sound submission into a store that nobody else is writing to."""
    if known := [entry for entry in store.entries if entry.sha256 == new.sha256]:
        return Added(entry=known[0], known=True)
    for entry in store.entries:
        if entry.run_id == new.run_id and not (entry.by == new.by and _goes_on(store.read(entry), sent)):
            return Added(findings=(_same_run(entry),))
        if entry.run_id != new.run_id and entry.machine_id == new.machine_id and _shares(store.read(entry), sent):
            return Added(findings=(_copied(entry),))
    entries = in_order([*store.entries, new])
    (store.path / ACCEPTED).mkdir(exist_ok=True)
    replace_file(store.path / ACCEPTED / f"{new.sha256}.json", content)
    replace_file(store.path / INDEX, index_text(entries).encode())
    shown = {entry.sha256 for entry in store.current}
    return Added(
        entry=next(entry for entry in entries if entry.sha256 == new.sha256),
        supersedes=tuple(e for e in entries if e.superseded_by == new.sha256 and e.sha256 in shown),
    )


def _told_by_files(
    folder: Path, names: tuple[str, ...], indexed: tuple[Entry, ...] | None
) -> tuple[list[Entry], list[Finding]]:
    """Entries as the files have them, and what is wrong; without an index, every sound file counts."""
    told = {entry.sha256: entry for entry in indexed or ()}
    findings = _missing(indexed or (), names)
    for name in names:
        line = told.get(name.removesuffix(".json"))
        if indexed is not None and line is None:
            findings.append(_stray(folder, name))
            continue
        try:
            if line is None:
                found = _fit(folder / ACCEPTED / name)
                told[found.sha256] = found
                continue
            content, sent = _accepted(folder / ACCEPTED / name)
        except Refused as problem:
            findings.append(problem.finding)
            continue
        findings += [_unsound(name, finding) for finding in audit(sent)[:1]]
        found = entry_of(sent, content, by=line.by, added_at=line.added_at)
        told[found.sha256] = line.model_copy(update=found.model_dump())
    return list(told.values()), findings


def _take(file: Path) -> tuple[bytes, Submission]:
    """A file's bytes, and what they say: read once, so that what is checked is what is kept.

    Raises:
        Refused: It cannot be read, or has not the form of a submission.
    """
    try:
        content = read_bytes(file)
    except OSError as problem:
        refuse("unreadable", "", f"it cannot be read: {problem.strerror or problem}.")
    return content, parse_submission(content)


def _same_run(entry: Entry) -> Finding:
    return Finding(
        code="same-run",
        path="run.run_id",
        message=f"the store has run {entry.run_id} from {entry.by or 'nobody named'}, as {entry.sha256}.json. Its "
        "sender may send it again once it has all of that, unchanged, and more (`joulemark run --resume`); otherwise "
        "measure anew.",
    )


def _copied(entry: Entry) -> Finding:
    return Finding(
        code="copied",
        path="cells",
        message=f"some of its cells were measured at the same moments with the same joules as those of run "
        f"{entry.run_id} from {entry.by or 'nobody named'}, which the store has; measure anew.",
    )


def _shares(old: Submission, new: Submission) -> bool:
    """Whether a cell was measured in both: no two measurements agree in their moment and in each digit."""
    one, other = (
        {(cell.started_at, cell.energy.gross_j) for cell in sent.cells if cell.energy and cell.energy.gross_j}
        for sent in (old, new)
    )
    return not one.isdisjoint(other)


def _goes_on(old: Submission, new: Submission) -> bool:
    """Whether a run has all finished cells that were sent before, with the same answers, and more."""
    before, after = ({cell.cell_id: cell for cell in sent.cells if cell.status == "ok"} for sent in (old, new))
    return (
        old.run.created_at == new.run.created_at
        and before.keys() < after.keys()
        and all(after[cell_id] == cell for cell_id, cell in before.items())
        and all(np.array_equal(old.scores(cell_id), new.scores(cell_id), equal_nan=True) for cell_id in before)
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder against others who add; a crash lets it go, and what it left half written is removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            for left in (*folder.glob(f".{INDEX}.new"), *folder.glob(f"{ACCEPTED}/.*.json.new")):
                left.unlink()
            yield
        finally:
            os.close(handle)
    except OSError as problem:
        raise UsageError(
            f"cannot write to {folder}: {problem.strerror or problem}; what was in it is kept."
        ) from problem


def _indexed(folder: Path) -> tuple[Entry, ...]:
    try:
        return read_index(folder / INDEX)
    except OSError as problem:
        raise UsageError(f"cannot read {folder / INDEX}: {problem.strerror or problem}.") from problem


def _accepted(file: Path, known: str | None = None) -> tuple[bytes, Submission]:
    """An accepted file's bytes and what they say, if it is as it was.

    Args:
        file: The file.
        known: The SHA-256 of bytes that were checked before; None: check it, whatever its bytes are.

    Raises:
        Refused: It is not.
    """
    try:
        content = read_bytes(file)
        sent = parse_submission(content, known=hashlib.sha256(content).hexdigest() == known)
        wrong = "" if f"{sent.sha256}.json" == file.name else "it is another submission than its name says."
    except Refused as problem:
        wrong = str(problem)
    except OSError as problem:
        wrong = f"it cannot be read: {problem.strerror}."
    if wrong:
        refuse(
            "store-changed", f"{ACCEPTED}/{file.name}", f"{wrong} Put it back as git has it, or remove it and its line."
        )
    return content, sent


def _unsound(name: str, finding: Finding) -> Finding:
    """Of a file that is in the index, though it would not be accepted today."""
    message = f"{finding} Remove the file and its line; if an older release accepted it, keep it knowingly."
    return Finding(code="store-invalid", path=f"{ACCEPTED}/{name}", message=message)


def _fit(file: Path) -> Entry:
    """An accepted file's line, if it could be accepted today: what no index vouches for.

    Raises:
        Refused: It could not.
    """
    content, sent = _accepted(file)
    for finding in audit(sent):
        refuse(
            "store-invalid", f"{ACCEPTED}/{file.name}", f"{finding} Remove the file, or get the index back from git."
        )
    return entry_of(sent, content)


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(file.name for file in (folder / ACCEPTED).glob("*.json")))


def _strays(entries: tuple[Entry, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    known = {f"{entry.sha256}.json" for entry in entries}
    return tuple(name for name in names if name not in known)


def _missing(entries: tuple[Entry, ...], names: tuple[str, ...]) -> list[Finding]:
    there = set(names)
    return [
        Finding(
            code="store-missing",
            path=f"{ACCEPTED}/{entry.sha256}.json",
            message=f"{INDEX} has it (run {entry.run_id}), and the file is not there: put it back, or remove its line.",
        )
        for entry in entries
        if f"{entry.sha256}.json" not in there
    ]


def _stray(folder: Path, name: str) -> Finding:
    file = folder / ACCEPTED / name
    return Finding(
        code="store-stray",
        path=f"{ACCEPTED}/{name}",
        message=f"{INDEX} does not have it: `joulemark leaderboard add {file} --store {folder}`, or remove it.",
    )
