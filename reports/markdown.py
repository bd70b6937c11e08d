"""Text and tables that Markdown and HTML leave as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .wording import safe

__all__ = ["md", "md_row"]

_CODE = re.compile(r"`(joulemark [\w ./:=,+-]+)`")
"""A command of ours that nothing needs to be escaped in; a backtick elsewhere is a name's."""


def md(text: str) -> str:
    """Text that Markdown and HTML leave as it is; an underscore inside a word is one already."""
    text = " ".join(safe(re.sub(r"[\n\u00a0]", " ", text)).split())
    # Every second part is a command, which Markdown leaves as it is between backticks.
    parts = _CODE.split(text)
    return "".join(f"`{part}`" if place % 2 else _escaped(part) for place, part in enumerate(parts))


def md_row(cells: Sequence[str]) -> str:
    """A line of a table; its cells are escaped already."""
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(
        r"([\\`*{}\[\]|#~]|(?<!\w)_|_(?!\w)|://|@)", lambda found: "".join(f"&#{ord(c)};" for c in found.group(1)), text
    )
