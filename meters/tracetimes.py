"""Times as loggers write them: stamps with a zone or without, or numbers since some start or the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Literal

from .errors import UsageError

__all__ = ["READ", "Stamps", "Zone", "is_absolute", "parse_zone", "scale_of", "since_epoch"]

Zone = tzinfo | Literal["local"] | None
"""Time zone of stamps that name none; None where that is not known."""

READ = (
    "read are 2026-11-26T07:24:00.164+01:00 (also with / or a space; its zone as Z, UTC, +01:00 or by zone=), "
    "11/26/2026 07:24:00.164 AM and 26.11.2026 07:24:00 where a day above 12 shows which is the month, and numbers: "
    "seconds since a start, or s, ms, us or ns since the epoch"
)
"""What `Stamps` and the numbers beside them take, in words."""
_CLOCK = r"[T, ]+(\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d+))?\s*([AP]\.?M\.?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?"
_YEAR_FIRST = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})" + _CLOCK, re.IGNORECASE)
_YEAR_LAST = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})" + _CLOCK, re.IGNORECASE)
_MONTHS = 12
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


class Stamps:
    """Stamps of one file, which write all days alike: ``2026-07-01T10:00:00.25+02:00`` or ``7/31/2026 10:00:00 AM``.

    Where the year comes last, the first day above 12 shows whether days or months come first; before it no date is
    taken, since it may be of another month.
    """

    def __init__(self) -> None:
        self._day_first: bool | None = None

    def match(self, text: str) -> bool:
        """Whether it begins with a date and a time of the day, rather than being a number."""
        return (_YEAR_FIRST.match(text) or _YEAR_LAST.match(text)) is not None

    def parse(self, text: str) -> datetime:
        """The moment, with its zone if it names one; raises ValueError."""
        if (found := _YEAR_FIRST.fullmatch(text)) is not None:
            year, month, day = map(int, found.groups()[:3])
        elif (found := _YEAR_LAST.fullmatch(text)) is not None:
            year = int(found[3])
            month, day = self._month_and_day(text, int(found[1]), int(found[2]))
        else:
            raise ValueError(f"{text[:40]!r} is no time; {READ}")
        hour, minute, second, fraction, half, zone = found.groups()[3:]
        microsecond = int((fraction or "0").ljust(6, "0")[:6])
        moment = datetime(year, month, day, _hour(text, int(hour), half), int(minute), int(second), microsecond)
        return moment if zone is None else moment.replace(tzinfo=_zone(zone))

    def _month_and_day(self, text: str, first: int, second: int) -> tuple[int, int]:
        if max(first, second) > _MONTHS and self._day_first is None:
            self._day_first = first > _MONTHS
        if first == second:
            return first, second
        if self._day_first is None:
            raise ValueError(
                f"{text[:40]!r} may be of day {first} or of month {first}; let the logger write YYYY-MM-DD, or replace "
                f"the dates so ({READ})"
            )
        return (second, first) if self._day_first else (first, second)


def _hour(text: str, hour: int, half: str | None) -> int:
    """Hour of the day; 12 AM is midnight."""
    if half is None:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError(f"{text[:40]!r} has no such hour as {hour} {half}")
    return hour % 12 + (12 if half.upper().startswith("P") else 0)


def _zone(zone: str) -> timezone:
    if zone.upper() in ("Z", "UTC"):
        return UTC
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return timezone(timedelta(minutes=minutes if zone[0] == "+" else -minutes))


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
