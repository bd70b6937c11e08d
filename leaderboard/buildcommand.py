"""``joulemark leaderboard build`` and ``serve``: the static site of a store, and a look at it."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click

from joulemark.harness.store import nothing_freed
from joulemark.meters.errors import UsageError
from joulemark.reports.wording import safe

from .store import read_store

__all__ = ["build", "serve"]

_MARK, _BEGINS = "data.js", b"window.joulemarkBoard="
"""A file that every site has, and how it begins, as no other folder's does."""
_FOLDERS = {"badge", "data", "hardware", "model", "run", "task"}
_FILES = re.compile(r"CITATION\.cff|citation\.bib|feed\.xml|robots\.txt|sitemap[0-9-]*\.xml|[a-z]+\.(html|js|css)")
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+(/[A-Za-z0-9._~%/-]*)?")
"""Of a site; what BibTeX or YAML would take for anything else has to be percent-encoded."""


@click.command()
@click.option("--store", required=True, type=click.Path(file_okay=False, path_type=Path), help="Accepted submissions.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="SITE")
@click.option("--base-url", metavar="URL", help="Where the site will stand, for links that must be whole.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
def build(store: Path, out: Path, base_url: str | None, as_object: bool) -> int:
    """Write the static site of a store: pages, data and scripts.

    It opens from a file as well as from any server, asks nobody else for anything, and is the same bytes for the same
    store. A site that is already there is replaced.
    """
    if base_url is not None and not _ADDRESS.fullmatch(base_url):
        raise UsageError(f"--base-url {base_url!r} is no address such as https://example.org/board.")
    # What ranks and draws takes longer to load than `validate` to check a file.
    from .board import read_board
    from .history import tell_history
    from .site import site_files

    kept = read_store(store)
    with nothing_freed():
        board = read_board(kept)
        pages, size = write_site(site_files(board, base_url, tell_history(kept)), out)
    if as_object:
        told = {"site": str(out), "runs": len(board.runs), "views": len(board.views), "pages": pages, "bytes": size}
        click.echo(json.dumps({"schema": "joulemark.site/1", **told}, indent=2))
        return 0
    click.echo(f"{out / 'index.html'}: {len(board.views):,} views, {pages:,} pages, {size / 1e6:.1f} MB.")
    return 0


@click.command()
@click.argument("site", metavar="SITE", type=click.Path(file_okay=False, path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one.")
def serve(site: Path, port: int) -> int:
    """Look at a site on this machine; nobody else can reach it. Ctrl-C ends it."""
    if not (site / "index.html").is_file():
        raise UsageError(
            f"{site} has no index.html; make it with `joulemark leaderboard build --store DIR --out {site}`."
        )
    with serving(site, port) as server:
        click.echo(f"http://127.0.0.1:{server.server_port}/ shows {site}; Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("", err=True)
    return 0


def serving(site: Path, port: int) -> ThreadingHTTPServer:
    """A server of these files on loopback alone, bound already.

    Raises:
        UsageError: The port is taken or forbidden.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(site)))
    except OSError as problem:
        raise UsageError(f"port {port}: {problem.strerror}; name another one with --port.") from problem


def write_site(made: Mapping[str, bytes] | Iterable[tuple[str, bytes]], out: Path) -> tuple[int, int]:
    """Write the files beside, as they are made, then put them in place of the old site.

    A path that comes again goes on, as `site_files` says.

    Returns:
        How many pages there are, and the bytes of all files.

    Raises:
        UsageError: The folder holds something else, or cannot be written.
    """
    pages = size = 0
    if (other := _no_site(out)) is not None:
        raise UsageError(f"{out} has other files in it ({other}); name an empty folder or an older site.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
            whole = Path(folder) / "site"
            for path, content in made.items() if isinstance(made, Mapping) else made:
                (whole / path).parent.mkdir(parents=True, exist_ok=True)
                with (whole / path).open("ab") as file:
                    file.write(content)
                pages, size = pages + path.endswith(".html"), size + len(content)
            old = Path(folder) / "old"
            if out.exists():
                out.rename(old)
            try:
                whole.rename(out)
            except OSError:
                if old.exists():
                    old.rename(out)
                raise
        return pages, size
    except OSError as problem:
        raise UsageError(f"cannot write {out}: {problem.strerror or problem}; name another folder.") from problem


def _no_site(folder: Path) -> str | None:
    """What a person put there; None where there is nothing, or a site of ours and nothing else."""
    if not folder.exists():
        return None
    if not folder.is_dir():
        return "it is a file"
    for each in sorted(folder.iterdir()):
        if not (each.name in _FOLDERS if each.is_dir() else _FILES.fullmatch(each.name)):
            return safe(each.name)
    mark = folder / _MARK
    if not mark.exists():
        return next((safe(each.name) for each in folder.iterdir()), None)
    with mark.open("rb") as file:
        return None if file.read(len(_BEGINS)) == _BEGINS else safe(_MARK)


class _Quiet(SimpleHTTPRequestHandler):
    """Says nothing of each request."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing."""
