"""Which powers should agree: from what meters saw to verdicts, and how often these are wrong."""

from __future__ import annotations

import math
import random

from joulemark.harness.agreement import Sight, compare, explain
from joulemark.meters.types import Grade, ScopeKind


def sight(name: str, grade: Grade = "counter", *, u: float = 0.03, edges_w: float = 0.1, **power_w: float) -> Sight:
    watts: dict[ScopeKind, float] = {kind: power_w[kind] for kind in power_w}  # type: ignore[misc]
    return Sight(
        name=name,
        grade=grade,
        power_w=watts,
        calibration_w={kind: u * power for kind, power in watts.items()},
        edges_w=edges_w,
    )


def judged(*sights: Sight) -> dict[tuple[str, str, str], bool | None]:
    return {(row["first"], row["scope"], row["second"]): row["agree"] for row in compare(sights)}


def test_readers_of_one_counter_must_agree_better_than_its_calibration() -> None:
    def verdict(name: str, watts: float) -> bool:
        [agree] = judged(sight("rapl", package=100), sight(name, package=watts)).values()
        assert agree is not None
        return agree

    assert verdict("perf", 101)
    assert not verdict("perf", 106)
    assert verdict("another", 106)
    assert not verdict("another", 120)


def test_a_one_sided_pair_that_holds_is_called_no_contradiction_and_not_agreement() -> None:
    def verdict(*sights: Sight) -> tuple[bool | None, str]:
        [row] = compare(sights)
        return row["agree"], row["verdict"]

    share, package = sight("modelled", "modelled", package=2), sight("rapl", package=87)
    assert verdict(package, share) == (True, "no contradiction")
    assert verdict(package, sight("perf", package=87)) == (True, "agree")
    assert verdict(package, sight("perf", package=20)) == (False, "differ")
    assert verdict(sight("desk", "wall", wall=60), package) == (False, "differ")
    assert verdict(*(sight(f"plug{w}", "wall", wall=w) for w in (80, 55))) == (None, "unclear")


def test_what_is_in_the_machine_is_added_up_before_the_plug_is_asked_for_it() -> None:
    plug, cpu, gpu = sight("desk", "wall", wall=150), sight("rapl", package=90, dram=10), sight("nvml", gpu=90)
    assert judged(plug, cpu, gpu) == {
        ("desk", "wall holds package+dram", "rapl"): True,
        ("desk", "wall holds gpu", "nvml"): True,
        ("desk", "wall holds package+dram+gpu", "rapl+nvml"): False,
    }


def test_two_plugs_that_may_see_a_power_supply_each_only_together_hold_what_is_inside() -> None:
    for left_w, right_w, same, held in ((80, 55, None, True), (60, 60, True, True), (45, 30, None, False)):
        plugs = sight("left", "wall", wall=left_w), sight("right", "wall", wall=right_w)
        assert judged(*plugs, sight("rapl", package=100)) == {
            ("left", "wall", "right"): same,
            ("left+right", "wall holds package", "rapl"): held,
        }


def test_of_plugs_that_a_run_adds_up_it_is_said_when_that_is_right_and_of_others_that_agree_nothing() -> None:
    plugs = sight("left", "wall", wall=60), sight("right", "wall", wall=60)
    for added, told in (({"left", "right"}, True), ({"left"}, False)):
        [row] = compare(plugs, added)
        assert (row["agree"], row["added_up"]) == (True, told)
        assert ("name one of them alone" in str(explain(row))) == told


def test_what_sees_the_whole_machine_is_set_beside_all_plugs_together() -> None:
    for whole_w, agree in ((135, True), (200, False), (80, False)):
        plugs = sight("left", "wall", wall=80), sight("right", "wall", wall=55)
        assert judged(*plugs, sight("bmc", "polled", wall=whole_w)) == {
            ("left", "wall", "right"): None,
            ("left+right", "wall", "bmc"): agree,
        }
    assert judged(sight("left", "wall", wall=80), sight("bmc", "polled", wall=135)) == {("left", "wall", "bmc"): False}


def test_a_system_on_a_chip_holds_its_gpu_and_of_what_holds_one_another_the_outermost_counts() -> None:
    plug, board, gpu = sight("desk", "wall", wall=60), sight("module", soc=40, package=20), sight("tegra", gpu=15)
    assert judged(plug, board, gpu) == {
        ("desk", "wall holds soc", "module"): True,
        ("desk", "wall holds gpu", "tegra"): True,
        ("module", "soc holds gpu", "tegra"): True,
    }


def test_a_plug_may_see_any_amount_more_and_a_little_less_by_the_errors_alone() -> None:
    for watts, agree in ((1000, True), (95, True), (80, False)):
        [verdict] = judged(sight("desk", "wall", wall=watts), sight("rapl", package=100)).values()
        assert verdict is agree


def test_a_models_share_of_a_package_need_not_be_all_of_it_but_must_not_be_more() -> None:
    for watts, agree in ((5, True), (150, True), (1000, False)):
        found = judged(sight("rapl", package=100), sight("modelled", "modelled", u=0.5, package=watts))
        assert found == {("rapl", "package holds modelled share", "modelled"): agree}


def test_kinds_that_lie_beside_each_other_and_meters_that_saw_nothing_are_not_compared() -> None:
    assert judged(sight("rapl", package=100), sight("nvml", gpu=100)) == {}
    assert judged(sight("desk", "wall", wall=100), sight("rapl", dram=0)) == {}
    assert judged(sight("modelled", "modelled", package=5), sight("pod", "modelled", package=50)) == {}


def test_many_meters_raise_no_more_false_alarms_than_two_and_a_wrong_one_is_found() -> None:
    draw, rounds, u = random.Random(1), 2000, 0.05

    def share_with_alarm(meters: int, factor: float = 1.0) -> float:
        alarms = 0
        for _ in range(rounds):
            powers = [100 * math.exp(draw.gauss(0, u)) for _ in range(meters)]
            powers[0] *= factor
            sights = [sight(f"m{k}", u=u, package=power) for k, power in enumerate(powers)]
            alarms += not all(judged(*sights).values())
        return alarms / rounds

    error = 3 * math.sqrt(0.05 * 0.95 / rounds)
    assert share_with_alarm(2) < 0.05 + error
    assert share_with_alarm(5) < 0.05 + error
    assert share_with_alarm(5, factor=1.5) > 0.95
