"""The reference tasks: generated questions with one right answer each.

Every family draws an operand, renders it as a one-line prompt, and computes the answer. Operands
have a *canonical* form that a question shares with its mirror images (``12+34`` and ``34+12``; ``in in 5 ft`` and
``ft in 60 in``). A hash of that form decides the split, so that nothing asked in the test set, nor its mirror
image, can ever be drawn for training. Relatives that take a step of thought may be: ``in in 5 ft 7 in`` for
``in in 5 ft``, or the largest of three numbers for that of two of them.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

__all__ = ["ABSENT", "FAMILIES", "Family", "Question", "draw", "held_out", "questions_digest", "split_of", "write_data"]

Split = Literal["train", "validation", "test"]

ITEMS_PER_LEVEL = 75
EXAMPLES_PER_LEVEL = 4
LEVELS = (1, 2, 3, 4)
SEED = 20260101


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question.

    Attributes:
        prompt: What the model is given, up to where its answer begins.
        answer: The only right continuation, without the closing newline.
        canonical: Shared by a question and its mirror images, which have the same answer or each other's.
        level: Difficulty, 1 (easiest) to 4.
    """

    prompt: str
    answer: str
    canonical: str
    level: int


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of question: its task's name, what it asks, and how one is drawn.

    Attributes:
        operands: What its canonical forms are of; families that ask about the same operands share it,
            so that none gives away what another asks.
        makes: Each draws a question of a level: prompt, answer, canonical form. Several take turns.
    """

    name: str
    title: str
    operands: str
    makes: tuple[Callable[[random.Random, int], tuple[str, str, str]], ...]

    def draw(self, rng: random.Random, level: int, turn: int | None = None) -> Question:
        """Draw one question of this level, of any split; without a ``turn`` any of the makes draws it."""
        turn = rng.randrange(len(self.makes)) if turn is None else turn % len(self.makes)
        prompt, answer, canonical = self.makes[turn](rng, level)
        return Question(prompt=prompt, answer=answer, canonical=f"{self.operands}:{canonical}", level=level)


def split_of(canonical: str) -> Split:
    """Which split a canonical operand belongs to: 10 % test, 5 % validation, 85 % training."""
    share = hashlib.blake2b(canonical.encode(), digest_size=8).digest()
    point = int.from_bytes(share, "big") % 100
    return "test" if point < 10 else "validation" if point < 15 else "train"


def draw(family: Family, rng: random.Random, level: int, split: Split, turn: int | None = None) -> Question:
    """Draw questions until one falls into ``split``."""
    while True:
        question = family.draw(rng, level, turn)
        if split_of(question.canonical) == split:
            return question


def held_out(family: Family, split: Split = "test", per_level: int = ITEMS_PER_LEVEL) -> Iterator[Question]:
    """Yield ``per_level`` questions of each level, no two with the same canonical form.

    The levels take turns, so that the first N questions are as hard as all of them.
    """
    rng = random.Random(f"{SEED}:{family.name}:{split}")
    seen: set[str] = set()
    for number in range(per_level):
        for level in LEVELS:
            question = draw(family, rng, level, split, number + level)
            while question.canonical in seen:
                question = draw(family, rng, level, split, number + level)
            seen.add(question.canonical)
            yield question


def write_data(folder: Path) -> list[Path]:
    """Write ``<family>.jsonl`` with the questions of each family; the same bytes every time.

    The test questions are asked. Those to show as examples come from the validation split, so that
    no example gives away a test question.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for family in FAMILIES:
        lines = [_line(family, "test", number, question) for number, question in enumerate(held_out(family))]
        examples = held_out(family, "validation", EXAMPLES_PER_LEVEL)
        lines += [_line(family, "fewshot", number, question) for number, question in enumerate(examples)]
        path = folder / f"{family.name}.jsonl"
        path.write_text("".join(lines), encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


def questions_digest(folder: Path = Path(__file__).parent / "data") -> str:
    """What tells these questions from others: 12 digits of a SHA-256 over all files that `write_data` wrote."""
    digest = hashlib.sha256()
    for family in FAMILIES:
        digest.update((folder / f"{family.name}.jsonl").read_bytes())
    return digest.hexdigest()[:12]


def _line(family: Family, split: str, number: int, question: Question) -> str:
    return (
        json.dumps(
            {
                "id": f"{family.name}-{split}-{number:03d}",
                "split": split,
                "level": question.level,
                "prompt": question.prompt,
                "answer": question.answer,
            }
        )
        + "\n"
    )


def _number(rng: random.Random, digits: int) -> int:
    return rng.randrange(10 ** (digits - 1), 10**digits)


def _letters(rng: random.Random, length: int) -> str:
    return "".join(chr(ord("a") + rng.randrange(26)) for _ in range(length))


_DIGITS = {1: 2, 2: 3, 3: 4, 4: 6}
_NUMBERS = {1: 2, 2: 3, 3: 5, 4: 7}


def _addition(rng: random.Random, level: int) -> tuple[str, str, str]:
    left, right = _number(rng, _DIGITS[level]), _number(rng, _DIGITS[level])
    return f"{left}+{right}=", str(left + right), f"{min(left, right)},{max(left, right)}"


def _comparison(rng: random.Random, level: int) -> tuple[str, str, str]:
    """The largest of several numbers that begin alike, so that their first digit never decides."""
    head = rng.randrange(1, 10)
    numbers = {head * 1000 + rng.randrange(1000)}
    while len(numbers) < _NUMBERS[level]:
        numbers.add(head * 1000 + rng.randrange(1000))
    shown = list(numbers)
    rng.shuffle(shown)
    return f"max {','.join(map(str, shown))}=", str(max(shown)), ",".join(map(str, sorted(shown)))


def _sorting(rng: random.Random, level: int) -> tuple[str, str, str]:
    letters = _letters(rng, 4 * level)
    ordered = "".join(sorted(letters))
    return f"sort {letters}=", ordered, ordered


def _reversal(rng: random.Random, level: int) -> tuple[str, str, str]:
    letters = _letters(rng, 4 * level + 2)
    mirrored = letters[::-1]
    return f"rev {letters}=", mirrored, min(letters, mirrored)


def _brackets(rng: random.Random, level: int) -> tuple[str, str, str]:
    """Close what is still open: ``([]{`` needs ``})``."""
    closing = {"(": ")", "[": "]", "{": "}"}
    open_now: list[str] = []
    text = ""
    length = 6 * level
    while len(text) < length or not open_now:
        if open_now and (rng.random() < 0.4 or len(open_now) > 2 * level + 2):
            text += closing[open_now.pop()]
        else:
            open_now.append("([{"[rng.randrange(3)])
            text += open_now[-1]
    return f"close {text}=", "".join(closing[mark] for mark in reversed(open_now)), text


# Larger unit, smaller unit, how many of the smaller make one of the larger.
_UNITS = (
    ("km", "m", 1000),
    ("m", "cm", 100),
    ("cm", "mm", 10),
    ("kg", "g", 1000),
    ("h", "min", 60),
    ("min", "s", 60),
    ("day", "h", 24),
    ("week", "day", 7),
    ("ft", "in", 12),
    ("yd", "ft", 3),
    ("lb", "oz", 16),
    ("gal", "pt", 8),
)


def _units(rng: random.Random, level: int) -> tuple[str, str, str]:
    """Level 1 and 2 convert one way or back, 3 and 4 a mixed amount (``oz in 3 lb 7 oz``)."""
    large, small, factor = _UNITS[rng.randrange(len(_UNITS))]
    count = rng.randrange(2, 100) if level in (1, 3) else rng.randrange(100, 1000)
    if level > 2:
        rest = rng.randrange(1, factor)
        return (
            f"{small} in {count} {large} {rest} {small}=",
            str(count * factor + rest),
            f"{count} {large} {rest} {small}",
        )
    canonical = f"{count} {large} {small}"
    if rng.randrange(2):
        return f"{small} in {count} {large}=", str(count * factor), canonical
    return f"{large} in {count * factor} {small}=", str(count), canonical


_DAYS_AHEAD = {1: (1, 10), 2: (10, 32), 3: (32, 100), 4: (100, 366)}
_NO_LEAP_YEAR = 2023


def _dates(rng: random.Random, level: int) -> tuple[str, str, str]:
    """Month and day after (or before) some days, in a year without a 29 February.

    Two dates give away the days between them both ways round the year, so that they are the canonical form.
    """
    start = date(_NO_LEAP_YEAR, 1, 1) + timedelta(days=rng.randrange(365))
    days = rng.randrange(*_DAYS_AHEAD[level])
    ordinal = (start - date(_NO_LEAP_YEAR, 1, 1)).days + days
    end = date(_NO_LEAP_YEAR, 1, 1) + timedelta(days=ordinal % 365)
    canonical = f"{min(start, end):%m-%d} {max(start, end):%m-%d}"
    if rng.randrange(2):
        return f"{start:%m-%d}+{days}=", f"{end:%m-%d}", canonical
    return f"{end:%m-%d}-{days}=", f"{start:%m-%d}", canonical


# Keys in the table, digits of its values.
_TABLES = {1: (2, 1), 2: (3, 2), 3: (4, 2), 4: (4, 3)}
ABSENT = "none"
"""The right answer where the key is not in the table."""


def _lookup(rng: random.Random, level: int) -> tuple[str, str, str]:
    """The value of one key in a table of two to four: ``e4 b7 ?b`` is 7."""
    table = _table(rng, level)
    asked = rng.choice(list(table))
    return _ask(table, asked), table[asked], _canonical_table(table)


def _absent(rng: random.Random, level: int) -> tuple[str, str, str]:
    """A lookup whose key is not there: ``e4 b7 ?k`` is none."""
    table = _table(rng, level)
    asked = rng.choice([key for key in _KEYS if key not in table])
    return _ask(table, asked), ABSENT, _canonical_table(table)


_KEYS = "abcdefghijklmnopqrstuvwxyz"


def _table(rng: random.Random, level: int) -> dict[str, str]:
    size, digits = _TABLES[level]
    return {key: str(_number(rng, digits)) for key in rng.sample(_KEYS, size)}


def _ask(table: dict[str, str], key: str) -> str:
    return " ".join(f"{key}{value}" for key, value in table.items()) + f" ?{key}"


def _canonical_table(table: dict[str, str]) -> str:
    return " ".join(f"{key}{value}" for key, value in sorted(table.items()))


FAMILIES: tuple[Family, ...] = (
    Family(name="addition", title="adds two numbers of 2 to 6 digits", operands="sum", makes=(_addition,)),
    Family(name="comparison", title="finds the largest of 2 to 7 numbers", operands="numbers", makes=(_comparison,)),
    Family(name="sorting", title="sorts 4 to 16 letters", operands="multiset", makes=(_sorting,)),
    Family(name="reversal", title="writes 6 to 18 letters backwards", operands="word", makes=(_reversal,)),
    Family(name="brackets", title="closes what is open in 6 to 25 brackets", operands="brackets", makes=(_brackets,)),
    Family(name="units", title="converts between units, whole and mixed amounts", operands="amount", makes=(_units,)),
    Family(name="dates", title="counts days forwards and backwards in a calendar", operands="dates", makes=(_dates,)),
    Family(name="lookup", title="finds the value of a key in a table of 2 to 4", operands="table", makes=(_lookup,)),
    Family(
        name="abstention", title='says "none" where a table lacks the key', operands="table", makes=(_lookup, _absent)
    ),
)


if __name__ == "__main__":
    for written in write_data(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data"):
        print(written)
