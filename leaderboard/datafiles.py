"""Everything under ``data/``: the views in three formats, runs, submissions as they came, the index and the schemas."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from joulemark.reports.apart import work_apart
from joulemark.reports.documents import as_csv, json_text

from .board import MANY_ROWS, Board, BoardView
from .changespage import changes_json
from .columns import later_scripts
from .history import History
from .parquet import Together, parquet_bytes, table_of
from .schema import schema_text
from .sections import full_title, once
from .store import accepted_bytes
from .storeindex import index_schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Ledger", "data_files", "files_table"]

SUMS = "data/SHA256SUMS"
MOST_TOGETHER = 10_000
"""Rows that ``rank.json`` has at most, some 27 MB: of more each view's file and ``rank.parquet`` tell the same."""
_VIEWS = 40
"""Views whose files the page lists; ``SHA256SUMS`` has all."""
_FORMATS = {"json": "JSON", "csv": "CSV", "parquet": "Parquet"}
_WHOLE = {
    "data/rank.json": "All views, as joulemark rank --json prints them",
    "data/rank.parquet": "All views: the columns of the CSV files with their types, and the view's name",
    "data/changes.json": "Every change, with what differs from what it superseded",
    "data/index.json": "The store's index: a line for each accepted submission",
    "data/submission.schema.json": "The JSON schema of a submission",
    "data/store.schema.json": "The JSON schema of the index",
    "data.js": "What the board draws: columns with lists of names",
    "feed.xml": "Changes as an Atom feed",
    "CITATION.cff": "How to cite this board, in the Citation File Format",
    "citation.bib": "The same for BibTeX",
}
_MANY = {
    "data/submissions/": (
        "data/submissions/SHA256.json",
        "Each accepted file, byte for byte as it came: every cell of a run",
    ),
    "data/words/": ("data/words/VIEW.js", "What the board says of a view"),
    "data/pairs/": ("data/pairs/VIEW.js", "What the board ranks a part of a view by"),
    "badge/": ("badge/MODEL.json", "Each model's badge, in the form of the Shields endpoint"),
}


@dataclass(kw_only=True)
class Ledger:
    """Files that were made: bytes of each, and its SHA-256 where it is no page."""

    sizes: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, Any] = field(default_factory=dict)

    def note(self, path: str, piece: bytes) -> tuple[str, bytes]:
        """Count a piece of a file, and hand both on."""
        self.sizes[path] = self.sizes.get(path, 0) + len(piece)
        if not path.endswith(".html"):
            self.hashes.setdefault(path, hashlib.sha256()).update(piece)
        return path, piece

    def sums(self) -> bytes:
        """As `sha256sum --check` reads them, from the site's own folder."""
        own = sorted(path for path in self.hashes if path.startswith("data/"))
        return "".join(f"{self.hashes[path].hexdigest()}  {path}\n" for path in own).encode()


def data_files(board: Board, history: History) -> Iterator[tuple[str, bytes]]:
    """Paths and contents, one at a time; ``rank.json``, which has all rows, comes in pieces between the views."""
    together, as_json_too = Together(), board.rows <= MOST_TOGETHER
    made = work_apart(_in_formats, board.views, few=board.rows < MANY_ROWS)
    for place, (table, text, others) in enumerate(made):
        together.add(board.views[place], table)
        yield f"data/{board.views[place].id}.json", text.encode()
        if as_json_too:
            yield "data/rank.json", _piece(text, first=place == 0, last=place == len(board.views) - 1)
        yield from others
    yield "data/rank.parquet", together.content()
    yield "data/submission.schema.json", schema_text().encode()
    yield "data/store.schema.json", (json.dumps(index_schema(), indent=2) + "\n").encode()
    if history.store is not None:
        yield "data/index.json", history.index
        yield "data/changes.json", changes_json(history)
        for entry in history.store.entries:
            yield f"data/submissions/{entry.sha256}.json", accepted_bytes(history.store, entry)


def _in_formats(each: BoardView) -> tuple[pa.Table, str, list[tuple[str, bytes]]]:
    """A view as a table, as JSON, and its other files."""
    table = table_of(each.view)
    others = [(f"data/{each.id}.csv", as_csv([each.view]).encode()), (f"data/{each.id}.parquet", parquet_bytes(table))]
    others += [(f"data/{name}", script.encode()) for name, script in later_scripts(each)]
    return table, json_text([each.view]), others


def files_table(board: Board, ledger: Ledger) -> dict[str, Any]:
    """Lines of path, what, size and SHA-256, and each view's three files; of many files of a kind only their number."""
    lines = [_line(path, what, ledger) for path, what in _WHOLE.items() if path in ledger.sizes]
    for start, (path, what) in _MANY.items():
        sizes = [size for name, size in ledger.sizes.items() if name.startswith(start)]
        if sizes:
            lines.append({"path": path, "what": what, "count": len(sizes), "size": _size(sum(sizes)), "sha256": ""})
    told = once(board.views)
    views = [(full_title(each), [_of_view(each.id, ending, ledger) for ending in _FORMATS]) for each in told[:_VIEWS]]
    return {
        "lines": lines,
        "views": views,
        "more_views": max(0, len(told) - _VIEWS),
        "sums": SUMS,
        "as_json_too": "data/rank.json" in ledger.sizes,
        "most_together": MOST_TOGETHER,
    }


def _line(path: str, what: str, ledger: Ledger) -> dict[str, Any]:
    size, digest = _size(ledger.sizes[path]), ledger.hashes[path].hexdigest()
    return {"path": path, "what": what, "count": 0, "size": size, "sha256": digest}


def _of_view(view: str, ending: str, ledger: Ledger) -> tuple[str, str, str]:
    """Format, path and size."""
    path = f"data/{view}.{ending}"
    return _FORMATS[ending], path, _size(ledger.sizes[path])


def _size(count: int) -> str:
    for factor, name in ((1e6, "MB"), (1e3, "kB")):
        if count >= factor:
            return f"{count / factor:.1f} {name}"
    return f"{count} B"


def _piece(text: str, *, first: bool, last: bool) -> bytes:
    """Of the text of one view what it is in the text of all: the opening of the first, and the end of the last."""
    opening, end = '"views": [\n', "\n  ]\n}\n"
    start = 0 if first else text.index(opening) + len(opening)
    return (text[start:] if last else f"{text[start : -len(end)]},\n").encode()
