from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.reports.labels import Box, place_labels

FRAME = Box(0, 0, 600, 400)
SPOTS = st.lists(st.tuples(st.floats(0, 600), st.floats(0, 400)), max_size=25)

quick = settings(max_examples=50, deadline=None)


@quick
@given(SPOTS)
def test_labels_never_cover_one_another_nor_a_point_nor_leave_the_frame(points: list[tuple[float, float]]) -> None:
    obstacles = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    spots = place_labels(points, [(80.0, 14.0)] * len(points), FRAME, obstacles)
    boxes = [spot.box for spot in spots if spot]
    assert len(spots) == len(points)
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert not any(box.overlaps(o) for box in boxes for o in obstacles)
    assert all(box.inside(FRAME) for box in boxes)


def test_a_lone_point_gets_its_label_beside_it_without_a_line() -> None:
    (spot,) = place_labels([(300.0, 200.0)], [(80.0, 14.0)], FRAME, [Box(295, 195, 305, 205)])
    assert spot
    assert not spot.led


def test_lines_to_names_run_through_no_other_name_where_points_stand_in_a_corner() -> None:
    points = [(560.0 - 34 * k, 360.0 - 9 * (k % 3)) for k in range(9)]
    spots = place_labels(points, [(110.0, 14.0)] * 9, FRAME, [Box(x - 6, y - 6, x + 6, y + 6) for x, y in points])
    placed = [spot for spot in spots if spot]
    assert len(placed) == 9
    assert any(spot.led for spot in placed)
    assert not any(two.box.crossed(one.line) for one in placed if one.led for two in placed if two is not one)


@quick
@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(-50, 50), st.floats(-50, 50))
def test_a_line_crosses_a_box_where_it_has_a_point_inside_it(x: float, y: float, to_x: float, to_y: float) -> None:
    box = Box(-10, -5, 20, 5)
    share = np.linspace(0, 1, 400)
    inside = (abs(x + share * (to_x - x) - 5) < 15) & (abs(y + share * (to_y - y)) < 5)
    grazes = (abs(x + share * (to_x - x) - 5) < 15.3) & (abs(y + share * (to_y - y)) < 5.3)
    assert box.crossed(((x, y), (to_x, to_y))) or not inside[1:-1].any()
    assert not box.crossed(((x, y), (to_x, to_y))) or grazes.any()


def test_where_spots_are_few_the_first_points_have_them() -> None:
    points = [(55.0, 31.0), (72.0, 17.0), (112.0, 16.0)]
    frame = Box(0, 0, 200, 60)
    spots = place_labels(points, [(80.0, 14.0)] * 3, frame, [Box(x - 5, y - 5, x + 5, y + 5) for x, y in points])
    assert spots[0]
    assert [spot is None for spot in spots] == sorted(spot is None for spot in spots)


def test_a_label_rather_stands_farther_off_than_on_a_curve_or_beside_anothers_point() -> None:
    above = Box(305, 205, 420, 240)
    (spot,) = place_labels([(300.0, 200.0)], [(80.0, 14.0)], FRAME, [], [above])
    assert spot
    assert not spot.box.overlaps(above)
    right = (322.0, 210.0)
    first, _ = place_labels([(300.0, 200.0), right], [(80.0, 14.0), (1.0, 1.0)], FRAME, [])
    assert first
    assert math.dist(right, first.box.nearest(right)) > math.dist((300, 200), first.box.nearest((300, 200)))
