"""What is wrong with a submission: a code, where, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from joulemark.meters.errors import JoulemarkError
from joulemark.reports.wording import safe

__all__ = ["Finding", "Refused", "refuse"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        code: What kind of thing, such as ``sum-phases``; documented in docs/leaderboard.md.
        path: Where in the file, such as ``cells[3].energy.gross_j``; empty where it is the whole.
        message: What is wrong, and what to do about it.
    """

    code: str
    path: str
    message: str

    def __str__(self) -> str:
        """One line, whose names cannot break it."""
        where = f"{safe(self.path)}: " if self.path else ""
        return f"{self.code}: {where}{safe(self.message)}"


class Refused(JoulemarkError):
    """A file of which nothing may be taken."""

    exit_code = 1

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


def refuse(code: str, path: str, message: str) -> NoReturn:
    """Take nothing of a file.

    Raises:
        Refused: Always.
    """
    raise Refused(Finding(code=code, path=path, message=message))
