"""The picture of the claim's page draws what was measured, and the same bytes from the same figures."""

from types import SimpleNamespace
from typing import Any

from closeup import Point, _shown, closeup, points


def row(name: str, wh: float | None, quality: float | None) -> Any:
    low, high = (None, None) if wh is None else (0.95 * wh, 1.05 * wh)
    around = (None, None) if quality is None else (quality - 1, quality + 1)
    return SimpleNamespace(
        model=f"ref/{name}", energy_wh_per_1k=wh, energy_wh_per_1k_within_low=low, energy_wh_per_1k_within_high=high,
        quality=quality, quality_low=around[0], quality_high=around[1],
    )  # fmt: skip


ROWS = [
    row("ngram", 1e-5, 2.0),
    row("dense-60k", 5e-4, 42.0),
    row("dense-240k", 1e-3, 89.0),
    row("dense-800k", 2e-3, 94.0),
    row("cascade-240k-800k", 1.5e-3, 94.0),
    row("moe-800k-a240k", None, 90.0),
]


def test_a_model_without_energy_or_quality_is_not_drawn_at_zero() -> None:
    assert [point.name for point in points(ROWS)] == [r.model[4:] for r in ROWS[:-1]]
    assert points([row("ngram", 1e-5, None)]) == []


def test_energy_is_in_milliwatt_hours_and_points_have_their_intervals() -> None:
    [point] = points([row("dense-240k", 1e-3, 89.0)])
    assert point == Point("dense-240k", (1.0, 0.95, 1.05), (89.0, 88.0, 90.0))
    assert point.ends == ((0.95, 88.0), (1.05, 90.0))


def test_what_is_far_below_the_best_is_left_to_the_whole_picture() -> None:
    assert [point.name for point in _shown(points(ROWS))] == ["dense-240k", "dense-800k", "cascade-240k-800k"]


def test_the_same_figures_make_the_same_bytes() -> None:
    views: Any = {(1, batch): SimpleNamespace(rows=ROWS, grade="modelled") for batch in (1, 32)}
    one, other = closeup(views), closeup(views)
    assert one.startswith(b"\x89PNG")
    assert one == other
