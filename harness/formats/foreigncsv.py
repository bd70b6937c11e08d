"""Tables of other tools: CSV with names of columns, whole or refused."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from joulemark.meters.errors import UsageError

from .foreign import read_text

__all__ = ["read_table"]


def read_table(
    file: Path, wrong: Callable[[Sequence[str]], str | None]
) -> tuple[Sequence[str], Sequence[dict[str, str]]]:
    """The names of a table's columns, and its rows.

    Args:
        file: The table.
        wrong: What is wrong with the names of its columns; None where they are those of the format.

    Raises:
        UsageError: It cannot be read, is cut short, or has not the columns of its format.
    """
    written = read_text(file)
    try:
        lines = [line for line in csv.reader(io.StringIO(written, newline=""), strict=True) if line]
    except csv.Error as problem:
        raise UsageError(f"{file}: it is no whole CSV file ({problem}).") from problem
    heads = lines[0] if lines else []
    if strange := wrong(heads):
        raise UsageError(f"{file}: {strange}.")
    if len(set(heads)) < len(heads):
        raise UsageError(f"{file}: two of its columns have one name.")
    if len(lines) > 1 and not written.endswith(("\n", "\r")):
        # All tools that are read here end each line, so a number may be cut, and be another one.
        raise UsageError(f"{file}: its last line has no end, so it may be cut short; give the whole file.")
    for number, line in enumerate(lines[1:], 1):
        if len(line) != len(heads):
            raise UsageError(f"{file}: row {number} has {len(line)} cells and not {len(heads)}; was it cut short?")
    return heads, [dict(zip(heads, line, strict=True)) for line in lines[1:]]
