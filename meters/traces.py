"""Power over time, as somebody recorded it: the energy of any part, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import MeterLost, UsageError
from .polling import MOST_MACHINE_W

__all__ = ["Trace"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """Power over time.

    Between two samples nothing is known of the power, so the energy of the part from ``x`` to ``y`` of the time ``dt``
    between samples ``P1`` and ``P2`` is that of the straight line. A file does not say whether its figures are means or
    of a moment; of a moment each stands for its whole interval, though the power may have been anything in it. So the
    variance is that of `polling` for such, ``((P2 - P1) w dt)^2 / 2`` with ``w = y - x``. It holds as well where the
    power went once from the one to the other, at whatever moment between.

    Where each figure is the mean of the span before its time, whole spans are exact. A span's part is taken at the
    span's mean, whose error after a part ``x`` is ``D dt x (1 - x) / sqrt(3)``, if the power changed by ``D`` at any
    moment in the span; ``D`` is the largest difference among its mean and those of the two spans beside it.

    A figure told in steps ``q`` is off by up to half of one, a uniform error of ``q / sqrt(12)`` (JCGM 100:2008,
    4.3.7). Where the power moves by some steps, figures err apart from one another, and each adds ``(q w dt)^2 / 12``.
    Where it does not, they err alike, in all windows of that power: that part is no window's own, and `rounding` is it.

    Attributes:
        times_s: Seconds, rising; shape (n,). Since whatever moment, such as the epoch.
        watts: Power; shape (n,).
        begin_s: When the first span began, where each figure is the mean of the span before its time; None where
            figures are those of their moments.
        max_gap_s: Samples further apart say nothing of the time between.
        step_w: The step in which its power is told; 0 where there is none.
        step_j: That of the counter whose differences it is made of: where it is read, it is off by a uniform error of
            that width, so a window by ``step_j / sqrt(6)``, which is in no variance here.
        label: What to call it in messages.
    """

    times_s: _Floats
    watts: _Floats
    begin_s: float | None = None
    max_gap_s: float = math.inf
    step_w: float = 0.0
    step_j: float = 0.0
    label: str = "the trace"

    def __post_init__(self) -> None:
        """Raises UsageError for figures that cannot be, or too few of them."""
        object.__setattr__(self, "times_s", np.array(self.times_s, dtype=np.float64))
        object.__setattr__(self, "watts", np.array(self.watts, dtype=np.float64))
        if self.times_s.shape != self.watts.shape or self.times_s.ndim != 1:
            raise UsageError(f"{self.label}: as many times as figures of power, please, in one row each")
        if len(self.edges_s) < 2:
            raise UsageError(f"{self.label} holds {len(self.times_s)} samples, and energy takes at least 2")
        if not np.all(np.isfinite(self.edges_s)) or not np.all(np.diff(self.edges_s) > 0):
            raise UsageError(f"{self.label}: its times do not rise all along")
        if not np.all((self.watts >= 0) & (self.watts <= MOST_MACHINE_W)):
            raise UsageError(f"{self.label}: a power is below 0, above {MOST_MACHINE_W:.0f} W, or no number")

    @cached_property
    def edges_s(self) -> _Floats:
        """Ends of the stretches it is made of, in seconds: its times, and the beginning of the first span."""
        return self.times_s if self.begin_s is None else np.concatenate(([self.begin_s], self.times_s))

    @property
    def spacing_s(self) -> float:
        """Median time from one sample to the next, in seconds."""
        return float(np.median(np.diff(self.edges_s)))

    @property
    def mean_w(self) -> float:
        """Mean power over all of it, in watts."""
        return float(self._parts.joules[-1] / (self.edges_s[-1] - self.edges_s[0]))

    def last_told_s(self, until_s: float) -> float:
        """The last time up to ``until_s`` at which energy is known: among means, only spans' ends."""
        if self.begin_s is None:
            return min(until_s, float(self.edges_s[-1]))
        return float(self.edges_s[max(0, int(np.searchsorted(self.edges_s, until_s, side="right")) - 1)])

    def energy_j(self, start_s: float, end_s: float) -> tuple[float, float]:
        """Joules between two times, and their variance in square joules.

        Raises:
            MeterLost: The trace does not reach so far, or has a gap there.
            ValueError: The end is before the start.
        """
        edges, parts = self.edges_s, self._parts
        if not start_s <= end_s:
            raise ValueError(f"a window from {start_s} to {end_s} s")
        if start_s < edges[0] or end_s > edges[-1]:
            raise MeterLost(
                f"{self.label} goes from {edges[0]:.3f} to {edges[-1]:.3f} s, "
                f"and the window from {start_s:.3f} to {end_s:.3f} s"
            )
        if start_s == end_s:
            return 0.0, 0.0
        first = int(np.searchsorted(edges, start_s, side="right")) - 1
        last = int(np.searchsorted(edges, end_s, side="left")) - 1
        x = float((start_s - edges[first]) / parts.seconds[first])
        y = float((end_s - edges[last]) / parts.seconds[last])
        self._refuse_gap(first, last, x, y)
        if first == last:
            return parts.piece(first, x, y)
        head, tail = parts.piece(first, x, 1.0), parts.piece(last, 0.0, y)
        between = [float(sums[last] - sums[first + 1]) for sums in (parts.joules, parts.variances)]
        return head[0] + between[0] + tail[0], head[1] + between[1] + tail[1]

    def rounding(self, mean_w: float) -> float:
        """Relative standard uncertainty that all windows of such a mean power may share, since it is told in steps."""
        return min(1.0, self.step_w / math.sqrt(12) / mean_w) if mean_w > 0 else 1.0

    def unseen_variance(self, start_s: float, end_s: float) -> float:
        """Square joules to be added for a window between two samples, which nothing tells of but what is outside of it.

        The power may have been any that the trace holds, all along: with ``D`` from the window's own to the furthest of
        these it is off by ``D w dt`` at most, a uniform error (JCGM 100:2008, 4.3.7).
        """
        first = int(np.searchsorted(self.edges_s, start_s, side="right")) - 1
        if self.begin_s is not None or end_s > self.edges_s[min(first + 1, len(self.edges_s) - 1)]:
            return 0.0
        near_w = self.watts[first : first + 2]
        furthest_w = max(float(near_w.max() - self.watts.min()), float(self.watts.max() - near_w.min()))
        return (furthest_w * (end_s - start_s)) ** 2 / 3

    @cached_property
    def _parts(self) -> _Parts:
        seconds, watts = np.diff(self.edges_s), self.watts
        if self.begin_s is None:
            left, right = watts[:-1], watts[1:]
            steps = np.abs(right - left)
            variances = (steps * seconds) ** 2 / 2
        else:
            left = right = watts
            # Of a jump within a span its own mean shows a part only; the two beside it show all of it.
            near = np.stack([np.append(watts[0], watts[:-1]), watts, np.append(watts[1:], watts[-1])])
            steps = np.ptp(near, axis=0) if len(watts) > 1 else watts
            variances = np.zeros(len(watts))
        joules = (left + right) / 2 * seconds
        variances = variances + (self.step_w * seconds) ** 2 / 12
        sums = _sums(joules), _sums(variances)
        return _Parts(seconds, left, right, steps, *sums, self.step_w**2 / 12, self.begin_s is not None)

    def _refuse_gap(self, first: int, last: int, x: float, y: float) -> None:
        """Raises MeterLost where too much time is not told of; whole spans are, by their means."""
        wide = self._parts.seconds[first : last + 1] > self.max_gap_s
        if self.begin_s is not None:
            wide[1:-1] = False
            wide[0] &= x > 0 or (first == last and y < 1)
            wide[-1] &= y < 1 or (first == last and x > 0)
        if np.any(wide):
            at = first + int(np.argmax(wide))
            raise MeterLost(
                f"{self.label} has a gap of {self._parts.seconds[at]:.3g} s from {self.edges_s[at]:.3f} s on, more "
                f"than the {self.max_gap_s:.3g} s of max_gap_s"
            )


class _Parts(NamedTuple):
    """The stretches of a trace: length, power at both ends, how much it may have jumped, and sums up to each."""

    seconds: _Floats
    left: _Floats
    right: _Floats
    steps: _Floats
    joules: _Floats
    variances: _Floats
    rounding_w2: float
    are_means: bool

    def piece(self, index: int, x: float, y: float) -> tuple[float, float]:
        """Joules and variance of a stretch from its share ``x`` to its share ``y``; the formulas of `Trace`."""
        seconds, left, right = float(self.seconds[index]), float(self.left[index]), float(self.right[index])
        w = y - x
        joules = seconds * w * (left + (right - left) * (x + y) / 2)
        square = (float(self.steps[index]) * seconds) ** 2
        share = ((x * (1 - x)) ** 2 + (y * (1 - y)) ** 2) / 3 if self.are_means else w**2 / 2
        return max(0.0, joules), square * share + self.rounding_w2 * (seconds * w) ** 2


def _sums(values: _Floats) -> _Floats:
    return np.concatenate(([0.0], np.cumsum(values)))
