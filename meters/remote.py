"""What meters asked over a network have in common: the arguments that a user writes, and figures out of JSON."""

from __future__ import annotations

import math
import os
from decimal import Decimal
from typing import Any

from .errors import UsageError
from .http import Refused
from .polling import NoSample

__all__ = [
    "KWH_J",
    "USERS_REL_U",
    "count_decimals",
    "find_at",
    "float32_step",
    "is_login_refused",
    "parse_login",
    "parse_rel_u",
    "parse_seconds",
    "parse_secret",
    "parse_yes",
    "read_number",
    "read_watts",
]

_DAY_S = 86_400.0
KWH_J = 3_600_000.0
USERS_REL_U = "the user's rel_u"
"""Where an error comes from that a user gave."""


def parse_seconds(key: str, text: str) -> float:
    """A time in seconds, above 0 and less than a day.

    Raises:
        UsageError: It is none.
    """
    return _parse_number(key, text, "a number of seconds above 0, and less than a day", _DAY_S)


def parse_rel_u(text: str) -> float | None:
    """A relative standard uncertainty, between 0 and 1; None where none is given.

    Raises:
        UsageError: It is none.
    """
    return _parse_number("rel_u", text, "a share between 0 and 1, such as 0.02", 1.0) if text else None


def parse_yes(key: str, text: str) -> bool:
    """``yes`` or ``no``.

    Raises:
        UsageError: It is neither.
    """
    if text not in ("yes", "no"):
        raise UsageError(f"{key}={text}: it is yes or no")
    return text == "yes"


def parse_login(user: str, password_env: str) -> tuple[str | None, str | None]:
    """User and password, the latter as in `parse_secret`.

    Raises:
        UsageError: A user alone is given, or it is as in `parse_secret`.
    """
    password = parse_secret("password_env", password_env)
    if user and password is None:
        raise UsageError(f"user={user} needs password_env=VARIABLE, the environment variable with the password")
    return user or None, password


def parse_secret(key: str, variable: str) -> str | None:
    """What an environment variable holds, since arguments show up in process lists and run files; None where none is
    named.

    Raises:
        UsageError: There is no such variable, or it holds what no header can carry, such as a file's last line break.
    """
    if not variable:
        return None
    if variable not in os.environ:
        raise UsageError(f"{key}={variable}: there is no such environment variable; export it first")
    if not os.environ[variable].isprintable():
        raise UsageError(f"{key}={variable}: it holds a line break or another control character; export it without")
    return os.environ[variable]


def find_at(content: Any, *path: str | int, missing: Any = None) -> Any:
    """What stands at a place in a JSON answer; ``missing`` where there is no such place."""
    for key in path:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            return missing
    return content


def read_number(content: Any, *path: str | int) -> float:
    """The number at a place in a JSON answer.

    Raises:
        NoSample: There is none, or it is not finite.
    """
    where, found = ".".join(map(str, path)), find_at(content, *path, missing=...)
    if found is ...:
        raise NoSample(f"the answer has no {where}")
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise NoSample(f"{where} is {found!r:.40}, which is no number")
    try:
        number = float(found)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise NoSample(f"{where} is {number}, which cannot be")
    return number


def read_watts(content: Any, *path: str | int) -> float:
    """The power at a place in a JSON answer.

    Raises:
        NoSample: There is none, or it cannot be that of the machine this runs on.
    """
    watts = read_number(content, *path)
    if watts < 0:
        raise NoSample(f"it says {watts:g} W: power flows back, or it is connected the wrong way round")
    if watts == 0:
        raise NoSample("it says 0 W: it is switched off, or the machine this runs on is not behind it")
    return watts


def float32_step(value: float) -> float:
    """The step of a single-precision number at ``value``: 2**-23 of its power of two (IEEE 754)."""
    return float(2.0 ** (math.frexp(value)[1] - 24))


def count_decimals(number: float) -> int:
    """Decimals that a number is written with, zeros at its end left out."""
    exponent = Decimal(repr(number)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def is_login_refused(problem: Exception) -> bool:
    """Whether a server wants a login, or another one (RFC 9110, 15.5.2 and 15.5.4)."""
    return isinstance(problem, Refused) and problem.status in (401, 403)


def _parse_number(key: str, text: str, what: str, below: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < below:
        raise UsageError(f"{key}={text}: it is {what}")
    return number
