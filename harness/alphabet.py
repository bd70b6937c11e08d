"""The characters that reference models know, and how long a text they can hold."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ALPHABET", "CONTEXT", "decode", "encode"]

ALPHABET = "\n 0123456789abcdefghijklmnopqrstuvwxyz+-=,:?()[]{}.<>/*#&%|!;'"
"""Characters 1, 2, 3...; 0 is padding."""

CONTEXT = 192
"""The longest text the graphs have positions for, prompt and answer together: three examples and a question."""

_IDS = {character: number for number, character in enumerate(ALPHABET, start=1)}
_SPACE = _IDS[" "]


def encode(text: str, room: int = CONTEXT) -> list[int]:
    """Character ids of the last ``room`` characters; those not known become spaces."""
    return [_IDS.get(character, _SPACE) for character in text[-room:]]


def decode(ids: Sequence[int]) -> str:
    """The text of character ids; padding, and ids that stand for no character, leave no trace."""
    return "".join(ALPHABET[number - 1 : number] for number in ids if number > 0)
