"""Waiting until a device that heat held down is cool again, so that the next cell does not pay for the last one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from joulemark.meters.types import Conditions

__all__ = ["MOST_S", "cool_down"]

MOST_S = 60.0
_LOOK_EVERY_S = 1.0
_COOLER_BY_C = 5.0


def cool_down(look: Callable[[], Sequence[Conditions]], *, most_s: float = MOST_S) -> float:
    """Wait until no device tells of heat and each is 5 degrees cooler than now, or for ``most_s``.

    Args:
        look: Tells the devices' state.
        most_s: How long to wait at most, in seconds.

    Returns:
        Seconds waited.
    """
    began = time.monotonic()
    hot = {state.device: state.temperature_c for state in look()}
    while time.monotonic() - began < most_s and not all(_is_cool(state, hot.get(state.device)) for state in look()):
        time.sleep(_LOOK_EVERY_S)
    return time.monotonic() - began


def _is_cool(state: Conditions, before_c: float | None) -> bool:
    if "heat" in state.slowed_by:
        return False
    if before_c is None or state.temperature_c is None:
        return True
    return state.temperature_c <= before_c - _COOLER_BY_C
