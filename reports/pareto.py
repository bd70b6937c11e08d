"""The frontier of points: least energy, most quality."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["frontier"]


def frontier(energy: ArrayLike, quality: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point beats: at most its energy, at least its quality, and better in one.

    Equal points are on the frontier together. Sorting and one running maximum, which must rise where a cost is met
    first: O(n log n) a row.

    Args:
        energy: Any unit, shape (..., points); nothing missing.
        quality: The same shape.

    Returns:
        True where a point is on the frontier, same shape; rows of leading axes are independent.
    """
    cost, worth = np.asarray(energy, dtype=float), np.asarray(quality, dtype=float)
    if cost.shape[-1] == 0:
        return np.zeros(cost.shape, dtype=bool)
    order = np.argsort(cost, axis=-1)
    cost, worth = np.sort(cost, axis=-1), np.take_along_axis(worth, order, -1)
    best = np.maximum.accumulate(worth, axis=-1)
    dearer = cost[..., 1:] != cost[..., :-1]
    on = np.ones(cost.shape, dtype=bool)
    if dearer.all():
        np.greater(worth[..., 1:], best[..., :-1], out=on[..., 1:])
    else:
        before = np.concatenate([np.full_like(best[..., :1], -np.inf), best[..., :-1]], axis=-1)
        first, last = _ends(dearer)
        best, before = np.take_along_axis(best, last, -1), np.take_along_axis(before, first, -1)
        on = (worth == best) & (best > before)
    result = np.empty_like(on)
    np.put_along_axis(result, order, on, -1)
    return result


def _ends(dearer: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each place the first and the last one of equal cost; ``dearer`` tells where the next one costs more."""
    edge = np.ones_like(dearer[..., :1])
    starts, stops = np.concatenate([edge, dearer], axis=-1), np.concatenate([dearer, edge], axis=-1)
    place = np.arange(starts.shape[-1])
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=-1)
    last = np.minimum.accumulate(np.where(stops, place, place[-1])[..., ::-1], axis=-1)[..., ::-1]
    return first, last
