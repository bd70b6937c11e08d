r"""Texts for anyone to read: of a path of somebody's machine they keep its last part alone.

``maker/model``, ``kWh /h``, ``</s>``, ``\n`` and addresses of the web are no paths. A name such as ``out/mine/x`` may
be a maker's as well, and stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection

__all__ = ["without_folders"]

_LINE = r"[nrt](?:$|\\|['\"](?!\w)|[A-Z]\w{0,100}:)"
r"""What follows a backslash that begins no name: ``Q:\nA:`` are two lines."""
_BEGINS = rf"(?:file:|~\w{{0,100}}|\.[\w.-]{{0,100}}|\$\{{?\w{{1,100}}\}}?|%\w{{1,100}}%|[A-Za-z]:(?!\\{_LINE}))[\\/]+"
"""The begin of a path that is none of a name; its last part may follow at once."""
_ROOT = r"(?:/+|\\(?![nrt\\])|\\\\(?![nrt]\b))"
"""A root; only if a folder follows, it is one of a path."""
_BEFORE = r"(?<![\w./\\])(?!(?<=:)//)"
_START = rf"{_BEFORE}(?:{_BEGINS}|{_ROOT}(?=[^\\/]+[\\/]))"

_PART = r"(?:[^\s,;:`|\"\u201c\u201d\u2039\u203a{}<>\\/]|[,;:](?!\s|[\w.-]{1,100}=)){1,255}[\\/]+"
_IN_TEXT = re.compile(rf"{_BEFORE}(?:{_BEGINS}(?:{_PART})*|{_ROOT}(?:{_PART})+)(?=[^\\/\s])")
"""Folders within a text, where nobody knows whether a space belongs to them."""
_QUOTED = re.compile(
    rf"(?<=[`'\"\u201c\u2018\u2039{{(\[|]){_START}"
    r"[^\n`'\"\u201d\u2019\u203a})\]|]{0,4000}[\\/](?=[^\\/\s])"
)
"""The same between signs that tell where a path ends, so that spaces belong to it."""

_PATH = re.compile(_START)
_COMMA = re.compile(rf"(,\s*['\"]?(?=[\w.-]{{1,100}}=|{_START}))")
"""Between values, as in ``a=/x/y,b=/z``; the name of a folder may have a comma, too."""


def without_folders(text: str, names: Collection[str] = ()) -> str:
    """The text, and of each path in it the last part alone.

    Args:
        text: Any.
        names: Names and values that may be in it, and may be paths: their spaces are known to be their own.
    """
    for name in sorted(names, key=lambda name: (-len(name), name)):
        if (short := _of_value(name)) != name:
            text = text.replace(name, short)
    return _IN_TEXT.sub("", _QUOTED.sub("", text))


def _of_value(value: str) -> str:
    """The same of a value that is a path, or has some, as ``pretrained=/x/y,peft=/z``."""
    return "".join(_last_part(each) for each in _COMMA.split(value))


def _last_part(value: str) -> str:
    """The last part of a path, with what stands before it; anything else as it is."""
    bare = value.rstrip("\\/")
    begin = _PATH.search(bare)
    if begin is None:
        return value
    before = bare[: begin.start()]
    if before.strip() and before[-1] not in "=:'\"[({":
        # A path within a sentence, which may go on after it.
        return value
    return before + re.split(r"[\\/]", bare)[-1]
