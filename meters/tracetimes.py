"""Times as loggers write them: stamps with a zone or without, or numbers since some start or the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Literal

from .errors import UsageError

__all__ = ["Zone", "is_absolute", "looks_like_stamp", "parse_stamp", "parse_zone", "scale_of", "since_epoch"]

Zone = tzinfo | Literal["local"] | None
"""Time zone of stamps that name none; None where that is not known."""

_STAMP = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})[T ]+(\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d+))?\s*(Z|UTC|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)
_MOST_RELATIVE_S, _LEAST_ABSOLUTE_S = 1e8, 1e9
"""Times since a start are below three years, those since the epoch between 2001 and 2286."""


def parse_zone(name: str | None) -> Zone:
    """The time zone that a user names; raises UsageError where there is none of that name."""
    if name is None:
        return None
    if name == "local":
        return "local"
    if name.upper() in ("UTC", "Z"):
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise UsageError(f"there is no time zone {name!r}; write UTC, local, or such as Europe/Berlin") from error


def looks_like_stamp(text: str) -> bool:
    """Whether it begins with a date and a time of the day, rather than being a number."""
    return _STAMP.match(text) is not None


def parse_stamp(text: str) -> datetime:
    """A stamp such as ``2026-07-01T10:00:00.25+02:00`` or ``2026/07/01 10:00:00.250``; raises ValueError."""
    found = _STAMP.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no time; write YYYY-MM-DD HH:MM:SS with a zone, or a number of seconds")
    *parts, fraction, zone = found.groups()
    year, month, day, hour, minute, second = map(int, parts)
    microsecond = int((fraction or "0").ljust(6, "0")[:6])
    moment = datetime(year, month, day, hour, minute, second, microsecond)
    if zone is None:
        return moment
    if zone.upper() in ("Z", "UTC"):
        return moment.replace(tzinfo=UTC)
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return moment.replace(tzinfo=timezone(timedelta(minutes=minutes if zone[0] == "+" else -minutes)))


def since_epoch(moment: datetime, zone: Zone) -> float:
    """Seconds since the epoch; raises ValueError where no zone is known."""
    if moment != moment:  # pandas' NaT is a datetime, too
        raise ValueError("no time")
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError(f"{moment} names no time zone; add zone=UTC, zone=local or such as zone=Europe/Berlin")
        # Anew, since those of pandas take times without a zone for UTC's.
        moment = datetime(*moment.timetuple()[:6], moment.microsecond)
        # Python takes times without a zone for local ones.
        moment = moment.replace(tzinfo=zone) if isinstance(zone, tzinfo) else moment
    return moment.timestamp()


def scale_of(value: float) -> float:
    """Seconds of one unit of a time, by its size: those since a start are small, those since the epoch far apart.

    Raises ValueError for what is neither.
    """
    if abs(value) < _MOST_RELATIVE_S:
        return 1.0
    for scale in (1.0, 1e-3, 1e-6, 1e-9):
        if _LEAST_ABSOLUTE_S <= value * scale < 10 * _LEAST_ABSOLUTE_S:
            return scale
    raise ValueError(f"{value:g} is no time in seconds since some start, nor in s, ms, us or ns since the epoch")


def is_absolute(seconds: float) -> bool:
    """Whether it is a time of the day rather than one since some start; raises ValueError for neither."""
    if abs(seconds) < _MOST_RELATIVE_S:
        return False
    if _LEAST_ABSOLUTE_S <= seconds < 10 * _LEAST_ABSOLUTE_S:
        return True
    raise ValueError(f"{seconds:g} s is neither a time since some start nor one since the epoch")
