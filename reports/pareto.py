"""The frontier of points: least energy, most quality."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["frontier"]


def frontier(energy: ArrayLike, quality: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point beats: at most its energy, at least its quality, and better in one.

    Equal points are on the frontier together. Sorting and one running maximum: O(n log n) a row.

    Args:
        energy: Any unit, shape (..., points); nothing missing.
        quality: The same shape.

    Returns:
        True where a point is on the frontier, same shape; rows of leading axes are independent.
    """
    cost, worth = np.asarray(energy, dtype=float), np.asarray(quality, dtype=float)
    if cost.shape[-1] == 0:
        return np.zeros(cost.shape, dtype=bool)
    order = _by_cost(cost, worth)
    cost, worth = np.take_along_axis(cost, order, -1), np.take_along_axis(worth, order, -1)
    best = np.maximum.accumulate(worth, axis=-1)
    first = np.ones(cost.shape, dtype=bool)
    first[..., 1:] = worth[..., 1:] > best[..., :-1]
    on = _spread_to_twins(first, cost, worth)
    result = np.empty_like(on)
    np.put_along_axis(result, order, on, -1)
    return result


def _by_cost(cost: NDArray[np.float64], worth: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order by cost, the best first among equal costs; one sort does where no costs are equal."""
    order = np.argsort(cost, axis=-1)
    sorted_cost = np.take_along_axis(cost, order, -1)
    if (sorted_cost[..., 1:] == sorted_cost[..., :-1]).any():
        order = np.lexsort((-worth, cost), axis=-1)
    return order


def _spread_to_twins(
    first: NDArray[np.bool_], cost: NDArray[np.float64], worth: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Twins follow each other in sorted order: each is on the frontier if the first of them is."""
    twin = np.zeros(first.shape, dtype=bool)
    twin[..., 1:] = (cost[..., 1:] == cost[..., :-1]) & (worth[..., 1:] == worth[..., :-1])
    if not twin.any():
        return first
    leader = np.where(twin, 0, np.arange(first.shape[-1]))
    leader = np.maximum.accumulate(leader, axis=-1)
    return np.take_along_axis(first, leader, -1)
