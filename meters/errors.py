"""The one error tree: every expected failure has a message for the user and an exit code."""

from __future__ import annotations

__all__ = ["Incomparable", "JoulemarkError", "MeasuringFailed", "MeterLost", "UsageError"]


class JoulemarkError(Exception):
    """A failure that one line explains: what, where, and what to do about it."""

    exit_code = 1


class UsageError(JoulemarkError):
    """Wrong usage or configuration: the user can put it right by typing something else."""

    exit_code = 2


class Incomparable(JoulemarkError):
    """Two measurements that must not be compared, or nothing to compare with."""

    exit_code = 4


class MeasuringFailed(JoulemarkError):
    """Measuring could not go on; what was measured before is kept."""

    exit_code = 5


class MeterLost(MeasuringFailed):
    """A source of energy figures stopped giving trustworthy figures."""
