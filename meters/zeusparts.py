"""What the parts of Zeus's process have in common: what a look gives, and how one says that it cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .types import Domain

__all__ = ["INTERVAL_S", "Cannot", "Look", "Lost", "Part", "zeus_version"]

INTERVAL_S = 0.1
"""How often Zeus is asked, in seconds. Its sources do not say how often they renew their figures: this is assumed."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a part tells at once; see `polling.Sample`.

    Attributes:
        watts: By domain id.
        joules: By domain id.
        means: Whether the power is a mean over the time before, and not of the moment.
    """

    watts: Mapping[str, float] = field(default_factory=dict)
    joules: Mapping[str, float] = field(default_factory=dict)
    means: bool = False


class Part(Protocol):
    """One kind of hardware, as Zeus gives it; `Cannot` is raised where one is made in vain.

    Attributes:
        kind: What makes it once more just as it is, whatever was decided when it was first made.
    """

    kind: str

    @property
    def domains(self) -> Sequence[Domain]:
        """What it tells of."""

    def look(self) -> Look:
        """What it tells now; raises `Lost`."""


class Cannot(Exception):
    """What was looked for cannot be read; ``fix`` says what to do about it."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix


class Lost(Exception):
    """A counter that must not be read on."""


def zeus_version() -> str:
    """The installed one's."""
    from zeus import __version__

    return str(__version__)
