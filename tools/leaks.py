"""Whether a corpus holds a test question, or one that gives it away.

Reads questions as they stand in the text, so that it does not trust the generator's own account of what is
the same: ``12+34`` and ``34+12``, both directions of a conversion, all questions of one table.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable

from corpus import Ids

from joulemark.harness.alphabet import decode
from joulemark.tasks.reference import FAMILIES, held_out


def count_leaks(ids: Ids) -> dict[str, int]:
    """How many questions the rows of a corpus hold, and how many of them are asked in the test."""
    asked = {operands(q.prompt + q.answer) for family in FAMILIES for q in held_out(family)}
    found = Counter[str]()
    for row in ids:
        for line in decode(row.tolist()).splitlines():
            found.update(questions=1, leaked=int(operands(line) in asked))
    return dict(found)


def operands(line: str) -> tuple[Hashable, ...]:
    """What a question with its answer is about; equal for those that give each other away.

    Raises:
        ValueError: It is no question of ours.
    """
    if found := re.fullmatch(r"(\d+)\+(\d+)=\d+", line):
        return "sum", *sorted(found.groups())
    if found := re.fullmatch(r"max ([\d,]+)=\d+", line):
        return "numbers", *sorted(found[1].split(","))
    if found := re.fullmatch(r"sort ([a-z]+)=[a-z]+", line):
        return "multiset", *sorted(found[1])
    if found := re.fullmatch(r"rev ([a-z]+)=[a-z]+", line):
        return "word", min(found[1], found[1][::-1])
    if found := re.fullmatch(r"close ([][(){}]+)=[])}]+", line):
        return "brackets", found[1]
    if found := re.fullmatch(r"(\w+) in (\d+) (\w+)=(\d+)", line):
        to, count, of, answer = found.groups()
        return "amount", frozenset({(count, of), (answer, to)})
    if found := re.fullmatch(r"\w+ in (\d+ \w+ \d+ \w+)=\d+", line):
        return "amount", found[1]
    if found := re.fullmatch(r"(\d\d-\d\d)[+-]\d+=(\d\d-\d\d)", line):
        # The days between two dates, forwards or backwards, give away those the other way round the year.
        return "dates", frozenset(found.groups())
    if found := re.fullmatch(r"([a-z]\d+(?: [a-z]\d+)+) \?[a-z](?:\d+|none)", line):
        return "table", *sorted(found[1].split())
    raise ValueError(f"no question of ours: {line!r}")
