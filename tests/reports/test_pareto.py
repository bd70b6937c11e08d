from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from joulemark.reports.pareto import frontier

quick = settings(max_examples=50, deadline=None)


def by_brute_force(energy: np.ndarray, quality: np.ndarray) -> list[bool]:
    def beats(j: int, i: int) -> bool:
        no_worse = energy[j] <= energy[i] and quality[j] >= quality[i]
        return bool(no_worse and (energy[j] < energy[i] or quality[j] > quality[i]))

    everyone = range(len(energy))
    return [not any(beats(j, i) for j in everyone) for i in everyone]


@quick
@given(hnp.arrays(float, st.tuples(st.just(2), st.integers(0, 25)), elements=st.integers(-4, 4).map(float)))
def test_the_frontier_is_what_brute_force_finds_twins_and_ties_included(points: np.ndarray) -> None:
    assert frontier(points[0], points[1]).tolist() == by_brute_force(points[0], points[1])


@quick
@given(hnp.arrays(float, (2, 3, 7), elements=st.floats(-1e3, 1e3)))
def test_rows_are_independent_of_each_other(points: np.ndarray) -> None:
    whole = frontier(points[0], points[1])
    for row in range(3):
        assert (whole[row] == frontier(points[0][row], points[1][row])).all()


@quick
@given(hnp.arrays(float, (2, 12), elements=st.floats(0.1, 10)), st.randoms())
def test_the_order_of_the_points_does_not_matter(points: np.ndarray, random: object) -> None:
    order = np.random.default_rng(id(random) % 2**32).permutation(12)
    assert (frontier(points[0], points[1])[order] == frontier(points[0][order], points[1][order])).all()
