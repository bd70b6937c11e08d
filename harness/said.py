"""What a model's process said, made fit to be kept and shown: nothing in it steers a terminal."""

from __future__ import annotations

import re

__all__ = ["last_words", "one_line", "readable"]

_MOST = 300
"""Characters of what a process said that are told in a line."""

_STEERING = re.compile(
    # With parameters, such as colours; with a text up to its end, such as titles; and short ones.
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
_DUMP = "Fatal Python error: "
"""What Python's dump of a crashed process begins with."""


def readable(said: bytes) -> str:
    """Lines as they would have stood on a terminal in the end: without colours, and what was drawn over is gone."""
    text = _STEERING.sub("", said.decode(errors="replace"))
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "\n".join("".join(c if c.isprintable() or c == "\t" else "�" for c in line) for line in lines)


def one_line(text: str, most: int = _MOST) -> str:
    """A text as one printable line of at most so many characters."""
    plain = "".join(c if c.isprintable() else " " for c in _STEERING.sub("", text))
    line = " ".join(plain.split())
    return line if len(line) <= most else f"{line[: most - 4]} ..."


def last_words(log: str) -> str:
    """The last line that a process said by itself; empty where there is none."""
    lines = [line for line in log.partition(_DUMP)[0].splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else ""
