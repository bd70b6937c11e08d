"""Words fit to be kept and shown: what others said, of which nothing steers a terminal, and lists that are long."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

__all__ = ["few", "how_it_ended", "last_words", "one_line", "ran_out_of_memory", "readable"]

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

_SHORT_OF_MEMORY = (
    "out of memory", "memoryerror", "allocate memory", "not enough memory", "free memory on device", "sigkill",
)  # fmt: skip
"""What is said where memory was short: by Python, torch, the kernel's calls, vLLM; and how Linux ends a process."""


def readable(said: bytes) -> str:
    """Lines as they would have stood on a terminal in the end: without colours, and what was drawn over is gone."""
    text = _STEERING.sub("", said.decode(errors="replace"))
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "\n".join("".join(c if c.isprintable() or c == "\t" else "�" for c in line) for line in lines)


def one_line(text: str, most: int = _MOST) -> str:
    """A text as one printable line of at most so many characters; without a full stop, which a sentence puts there."""
    plain = "".join(c if c.isprintable() else " " for c in _STEERING.sub("", text))
    line = " ".join(plain.split())
    if len(line) > most:
        return f"{line[: most - 4]} ..."
    return line if line.endswith("..") else line.removesuffix(".")


def few(names: Sequence[str], most: int) -> str:
    """The first so many names, and how many there are besides: ``a, b and 12 more``."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def last_words(log: str) -> str:
    """The last line that a process said by itself; empty where there is none."""
    lines = [line for line in log.partition(_DUMP)[0].splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else ""


def how_it_ended(what: str, code: int, log: str) -> str:
    """What became of ``what`` ("its process"), by its exit code, negative for a signal, and what it said last."""
    words = last_words(log)
    last = f": {words}" if words else ""
    if code >= 0:
        return f"{what} ended with exit code {code}{last}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    # A process that aborts says why; what others said last has nothing to do with it.
    return f"{what} was ended by {_name_of(-code)}{hint}{last if -code == signal.SIGABRT else ''}"


def ran_out_of_memory(reason: str) -> bool:
    """Whether a failure may come from a lack of memory, as far as its reason tells."""
    return any(sign in reason.lower() for sign in _SHORT_OF_MEMORY)


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        # Most of the real-time signals have none.
        return f"signal {number}"
