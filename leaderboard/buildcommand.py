"""``joulemark leaderboard build`` and ``serve``: the static site of a store, and a look at it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click

from joulemark.meters.errors import UsageError

from .board import make_board
from .site import render_site
from .store import read_store

__all__ = ["build", "serve"]

_MARK = "data.js"
"""A file that every site has, and hardly any other folder."""


@click.command()
@click.option("--store", required=True, type=click.Path(file_okay=False, path_type=Path), help="Accepted submissions.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="SITE")
@click.option("--base-url", metavar="URL", help="Where the site will stand, for links that must be whole.")
def build(store: Path, out: Path, base_url: str | None) -> int:
    """Write the static site of a store: pages, data and one script.

    It opens from a file as well as from any server, asks nobody else for anything, and is the same bytes for the same
    store. A site that is already there is replaced.
    """
    kept = read_store(store)
    board = make_board([kept.read(entry) for entry in kept.current])
    made = render_site(board, base_url)
    write_site(made, out)
    pages, size = sum(path.endswith(".html") for path in made), sum(map(len, made.values()))
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


def write_site(made: Mapping[str, bytes], out: Path) -> None:
    """Write the files beside, then put them in place of the old site.

    Raises:
        UsageError: The folder holds something else, or cannot be written.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / _MARK).is_file():
        raise UsageError(f"{out} has other files in it; name an empty folder or an older site.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
            whole = Path(folder) / "site"
            for path, content in made.items():
                (whole / path).parent.mkdir(parents=True, exist_ok=True)
                (whole / path).write_bytes(content)
            if out.exists():
                out.rename(Path(folder) / "old")
            whole.rename(out)
    except OSError as problem:
        raise UsageError(f"cannot write {out}: {problem.strerror or problem}; name another folder.") from problem


class _Quiet(SimpleHTTPRequestHandler):
    """Says nothing of each request."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing."""
