"""Whether a series of windows drifts: its slope in percent an hour, with an interval that allows for autocorrelation.

The slope is that of ordinary least squares on time. Figures of neighbouring windows resemble one another (heat, other
programs, the power supply), so that the usual standard error is too small. The one used here compares the slope with
the series' other slow movements: the series is projected on a few slow cosines that are orthonormal to a constant and
to time, and the mean square of these projections estimates its long-run variance. The slope by its standard error then
follows Student's t with as many degrees of freedom as there are cosines: exactly so for white noise, and closely for
all that has no more power at the trend's own frequency than at theirs (Sun 2011, Journal of Econometrics 164, 345-366;
Lazarus, Lewis, Stock and Watson 2018, Journal of Business and Economic Statistics 36, 541-559).

One cosine for 20 windows, from 2 to 8 of them. Simulated, a stationary series is called drifting in 4.9 to 5.8 % of
cases where neighbours correlate by up to 0.5 (20 to 1,000 windows), in 4.8 to 6.8 % at 0.7, and at 0.9 in 12 % with 20
windows, 10 % with 60 and 6 % with 360.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .stats import Floats, t_quantile

__all__ = ["FEWEST", "Drift", "drift"]

FEWEST = 12
"""Fewer windows tell no slow movement from a trend."""

_WINDOWS_A_COSINE, _FEWEST_COSINES, _MOST_COSINES = 20, 2, 8


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A slope over time, relative to the series' mean; None where it cannot be told.

    Attributes:
        percent_per_hour: The slope.
        low: Lower end of its 95 % interval.
        high: Upper end.
        percent: What it comes to from the first window to the last.
        percent_low: Lower end of that one's 95 % interval.
        percent_high: Upper end.
        windows: Windows that it rests on.
    """

    percent_per_hour: float | None
    low: float | None
    high: float | None
    percent: float | None
    percent_low: float | None
    percent_high: float | None
    windows: int

    @property
    def direction(self) -> str:
        """``rising`` or ``falling`` where the interval leaves out 0, ``none`` where it holds it, else ``unknown``."""
        if self.low is None or self.high is None:
            return "unknown"
        return "rising" if self.low > 0 else "falling" if self.high < 0 else "none"


def drift(hours: Sequence[float], values: Sequence[float | None], rel_u: Sequence[float] | None = None) -> Drift:
    """The slope of a series over time.

    Args:
        hours: When each window was, its middle, in hours; they need not be evenly spaced.
        values: The windows' figures, above 0; None where one is missing.
        rel_u: The meter's relative standard uncertainty of each, independent from window to window: a floor under the
            scatter, for windows that agree by luck.
    """
    told = [at for at, value in enumerate(values) if value is not None]
    if len(told) < FEWEST:
        return _untold(len(told))
    t = np.array([hours[at] for at in told])
    y = np.array([values[at] for at in told], dtype=float)
    y = 100 * y / y.mean()
    movements = _slow_movements(t)
    _, trend, *others = movements.T @ y
    floor = 0.0 if rel_u is None else float(np.mean(np.square([100 * rel_u[at] for at in told])))
    variance = max(float(np.mean(np.square(others))), floor)
    # The trend's own column is time, less its mean, brought to length 1: so much is an hour of it.
    an_hour = math.sqrt(float(np.sum(np.square(t - t.mean()))))
    lasted_h = t[-1] - t[0]
    slope, half = trend / an_hour, t_quantile(len(others)) * math.sqrt(variance) / an_hour
    return Drift(
        percent_per_hour=float(slope),
        low=float(slope - half),
        high=float(slope + half),
        percent=float(slope * lasted_h),
        percent_low=float((slope - half) * lasted_h),
        percent_high=float((slope + half) * lasted_h),
        windows=len(told),
    )


def _untold(windows: int) -> Drift:
    return Drift(
        percent_per_hour=None,
        low=None,
        high=None,
        percent=None,
        percent_low=None,
        percent_high=None,
        windows=windows,
    )


def _slow_movements(t: Floats) -> Floats:
    """Orthonormal columns: a constant, time, and slow cosines."""
    count = min(max(len(t) // _WINDOWS_A_COSINE, _FEWEST_COSINES), _MOST_COSINES)
    share = (t - t[0]) / (t[-1] - t[0])
    # Half a cosine over the whole looks like the trend itself; the next ones are bent at least once.
    cosines = [np.cos(math.pi * order * share) for order in range(2, count + 2)]
    columns, upper = np.linalg.qr(np.column_stack([np.ones_like(t), t - t.mean(), *cosines]))
    signed: Floats = columns * np.sign(np.diag(upper))
    return signed
