from __future__ import annotations

from itertools import combinations

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
