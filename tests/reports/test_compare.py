"""Two models on the same questions: intervals that hold the truth, and never figures of different things."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from made_runs import COUNTER, MODELS

from joulemark.harness.record import Cell
from joulemark.harness.store import Run, read_run
from joulemark.meters.errors import Incomparable, UsageError
from joulemark.reports.commands import compare as command
from joulemark.reports.compare import Comparison, compare
from joulemark.reports.comparewords import as_object, notes, print_comparisons, verdict
from joulemark.reports.effects import Effect, detectable
from joulemark.reports.entrants import Entrant, gather
from joulemark.reports.pairing import pair_up, read_side
from joulemark.reports.stats import holm

Make = Callable[..., Run]
DRAWS = 2000
MARGIN = 3 * math.sqrt(0.95 * 0.05 / DRAWS)


def two(run: Run, first: str = "dense-60k", second: str = "dense-240k") -> tuple[Entrant, Entrant]:
    by_name = {entrant.model: entrant for entrant in gather([run])}
    return by_name[first], by_name[second]


def with_energy(entrant: Entrant, wh: np.ndarray) -> Entrant:
    """The same with these energies: repeats from 1, a column for each task."""
    samples = {
        task: replace(
            sample,
            energy_wh=dict(enumerate(wh[:, column], start=1)),
            net_wh={},
            independent_u=dict.fromkeys(range(1, len(wh) + 1), 0.001),
        )
        for column, (task, sample) in enumerate(entrant.samples.items())
    }
    return replace(entrant, samples=samples)


def energy_of(found: Comparison) -> tuple[float, float, float]:
    effect = found.whole.energy
    assert effect is not None
    assert effect.low is not None
    assert effect.high is not None
    return effect.low, effect.value, effect.high


@pytest.mark.parametrize("same_run", [True, False])
def test_the_interval_of_a_ratio_of_energies_holds_the_true_one(make_run: Make, same_run: bool) -> None:
    a, b = two(make_run(meter=COUNTER, items=20))
    b = b if same_run else replace(b, run_id="another")
    rng, hits, widths = np.random.default_rng(31), 0, []
    for _ in range(DRAWS):
        # In one run a slow drift of 20 % falls on both alike; in two there must be none.
        drift = np.linspace(0, 0.2 if same_run else 0.0, 4)[:, None]
        logs = [math.log(wh) + drift + rng.normal(0, 0.03, (4, 2)) for wh in (1.0, 2.0)]
        found = compare(with_energy(a, np.exp(logs[0])), with_energy(b, np.exp(logs[1])), task="dates")
        low, _, high = energy_of(found)
        hits += low <= 2.0 <= high
        widths.append(high / low)
    assert 0.935 - MARGIN <= hits / DRAWS <= 0.965 + MARGIN
    # Narrower than the drift: four differences whose spread is 3 %.
    assert np.median(widths) < 1.17


def test_what_could_have_been_seen_is_seen_in_four_of_five_comparisons() -> None:
    from joulemark.reports.stats import t_quantile

    rng, draws = np.random.default_rng(32), 4000
    for repeats in (3, 5, 10):
        effect = detectable(1.0 / repeats, repeats - 1)
        differences = effect + rng.normal(0, 1, (draws, repeats))
        t = differences.mean(axis=1) / (differences.std(axis=1, ddof=1) / math.sqrt(repeats))
        power = float(np.mean(t > t_quantile(repeats - 1)))
        assert abs(power - 0.8) < 3 * math.sqrt(0.8 * 0.2 / draws)
    assert detectable(1.0, math.inf) == pytest.approx(1.96 + 0.8416, abs=1e-3)


def test_the_other_way_round_all_signs_and_ratios_are_turned_over(make_run: Make) -> None:
    a, b = two(make_run(meter=COUNTER))
    for there, back in zip(compare(a, b).contrasts, compare(b, a).contrasts, strict=True):
        for name, turned in (
            ("quality", lambda x: -x),
            ("energy", lambda x: 1 / x),
            ("correct_per_wh", lambda x: 1 / x),
        ):
            one, other = getattr(there, name), getattr(back, name)
            assert one.value == pytest.approx(turned(other.value))
            assert (one.low, one.high) == pytest.approx((turned(other.high), turned(other.low)))
            assert one.detectable == pytest.approx(other.detectable)


def test_the_verdict_says_what_the_figures_say(make_run: Make) -> None:
    run = make_run(meter=COUNTER, items=300)
    text = verdict(compare(*two(run)), "small", "large")
    assert text.startswith("Against small, large answers better (+")
    assert " times the energy (95 % " in text
    told = as_object(compare(*two(run)), "small", "large")
    whole, *single = told["comparisons"]
    assert (whole["task"], [each["task"] for each in single]) == ("all", ["dates", "units"])
    assert whole["quality_delta"] == pytest.approx(whole["quality_b"] - whole["quality_a"])
    assert whole["energy_ratio"] == pytest.approx(whole["energy_wh_per_1k_b"] / whole["energy_wh_per_1k_a"], rel=0.01)
    assert whole["correct_per_wh_ratio"] == pytest.approx(
        whole["quality_b"] / whole["quality_a"] / whole["energy_ratio"], rel=1e-9
    )
    assert f"{whole['quality_delta']:.1f} points" in text


def test_a_model_is_not_compared_with_itself_and_its_twin_shows_no_difference(make_run: Make) -> None:
    a, _ = two(make_run(meter=COUNTER))
    with pytest.raises(UsageError, match="the very same cells"):
        compare(a, a)
    found = compare(a, replace(a, run_id="another"))
    assert found.whole.quality is not None
    assert (found.whole.quality.value, energy_of(found)[1]) == (0.0, 1.0)
    text = verdict(found, "one", "the same")
    assert "scores the same on each of these questions (" in text
    assert "shows no sure difference in energy" in text


def test_only_items_that_both_were_asked_count_and_the_others_are_told(make_run: Make) -> None:
    a, b = two(make_run(meter=COUNTER, items=100))
    few = {task: replace(s, asked=s.asked.only(s.docs[:60]), scores=s.scores[:60]) for task, s in b.samples.items()}
    found = compare(a, replace(b, samples=few))
    assert (found.whole.items, found.whole.dropped) == (120, 80)
    assert found.whole.quality is not None
    first = np.mean([s.scores[:60].mean() for s in a.samples.values()])
    second = np.mean([s.scores.mean() for s in few.values()])
    assert found.whole.quality.value == pytest.approx(100 * (second - first))
    # Energy is of all that was asked, so there is no ratio of it.
    assert found.whole.energy is None
    assert found.whole.correct_per_wh is None
    assert found.whole.repeats is None
    assert any("80 items were asked of one of them alone" in note for note in notes(found, "a", "b"))


def test_tasks_that_were_asked_otherwise_are_left_out_by_name(make_run: Make) -> None:
    a, b = two(make_run(meter=COUNTER))
    samples = dict(b.samples)
    samples["units"] = replace(samples["units"], question=json.dumps(["other", "{}"]))
    found = compare(a, replace(b, samples=samples))
    assert [each.task for each in found.contrasts] == ["dates"]
    assert "Not asked of both in the same way, so left out: units." in notes(found, "a", "b")
    with pytest.raises(Incomparable, match="asked no task in the same way"):
        compare(a, replace(b, samples={"units": samples["units"]}))


def test_a_task_that_failed_is_called_failed_and_one_task_alone_leaves_none_out(make_run: Make) -> None:
    def fail(cell: Cell) -> Cell:
        lost = cell.model == "dense-240k" and cell.task == "units"
        return cell.model_copy(update={"status": "failed", "error": "it broke"}) if lost else cell

    found = compare(*two(make_run(meter=COUNTER, change=fail)))
    assert (found.apart, found.failed) == ((), ("units",))
    assert "Failed, so left out: units." in notes(found, "a", "b")
    single = compare(*two(make_run("whole", meter=COUNTER)), task="dates")
    assert (single.apart, single.failed) == ((), ())


def test_modelled_energy_is_told_as_such_and_where_it_may_be_the_other_way_round(make_run: Make) -> None:
    a, b = two(make_run())
    text = verdict(compare(a, b), "a", "b")
    assert text.startswith("By a power model, not measured joules: against a, b ")
    close = with_energy(a, np.full((3, 2), 1.0)), with_energy(b, np.full((3, 2), 1.1))
    assert verdict(compare(*close), "a", "b").endswith("In joules it may be the other way round.")
    far = with_energy(a, np.full((3, 2), 1.0)), with_energy(b, np.full((3, 2), 10.0))
    assert "the other way round" not in verdict(compare(*far), "a", "b")
    assert as_object(compare(*close), "a", "b")["workload_factor"] > 1.1


def test_what_may_be_wrong_with_cells_is_told_here_too(make_run: Make) -> None:
    run = make_run(meter=COUNTER, change=lambda c: c.model_copy(update={"flags": ("busy_machine",)}))
    told = as_object(compare(*two(run)), "a", "b")
    assert told["comparisons"][0]["flags_a"] == ["busy_machine"]
    # Of both it is said once, of one by its name.
    assert sum("other programs worked" in note for note in told["notes"]) == 1
    assert any(note.startswith("Each of the two: other programs") for note in told["notes"])
    one = make_run("other", meter=COUNTER, change=lambda c: c.model_copy(
        update={"flags": ("busy_machine",) if c.model == "dense-60k" else ()}))  # fmt: skip
    assert any(note.startswith("a: other programs") for note in notes(compare(*two(one)), "a", "b"))


def test_energies_of_different_kinds_are_never_compared(make_run: Make) -> None:
    a, b = two(make_run(meter=COUNTER))
    for other, what in (
        (replace(b, grade="wall"), "the grade of energy"),
        (replace(b, scope="wall"), "the scope of energy"),
        (replace(b, machine=b.machine.model_copy(update={"cpu_model": "another"})), "hardware"),
    ):
        with pytest.raises(Incomparable, match=what):
            compare(a, other)


def test_a_scale_that_is_not_shared_widens_the_ratio_between_machines_of_one_kind(make_run: Make) -> None:
    a, b = two(make_run(meter=COUNTER))
    near = energy_of(compare(a, replace(b, run_id="another")))
    moved = b.machine.model_copy(update={"machine_id": "m-2"})
    far = energy_of(compare(a, replace(b, run_id="another", machine=moved)))
    assert far[1] == near[1]
    told = notes(compare(a, replace(b, run_id="another", machine=moved)), "a", "b")
    assert any("scale does not cancel between them, and is in the intervals" in note for note in told)
    assert math.log(far[2] / far[0]) > 2 * 1.96 * math.hypot(0.02, 0.02)
    assert math.log(near[2] / near[0]) < math.log(far[2] / far[0])


def test_one_repeat_has_a_ratio_and_no_interval(make_run: Make) -> None:
    found = compare(*two(make_run(meter=COUNTER, repeats=1)))
    assert found.whole.energy == Effect(value=found.whole.energy.value)  # type: ignore[union-attr]
    assert " times the energy in one repeat, which proves nothing." in verdict(found, "a", "b")
    assert any(note.startswith("One repeat") for note in notes(found, "a", "b"))


def test_a_model_without_energy_in_one_task_has_none_over_all(make_run: Make) -> None:
    def lose(cell: Cell) -> Cell:
        lost = cell.model == "dense-240k" and cell.task == "units"
        return cell.model_copy(update={"energy": None}) if lost else cell

    found = compare(*two(make_run(meter=COUNTER, change=lose)))
    whole, dates, units = found.contrasts
    assert "b has no energy in units, so none is compared over all tasks." in notes(found, "a", "b")
    assert (whole.energy, units.energy) == (None, None)
    assert dates.energy is not None
    assert whole.quality is not None


def test_where_no_energy_was_measured_that_is_said_once_and_no_meter_is_named(make_run: Make) -> None:
    run = make_run(change=lambda cell: cell.model_copy(update={"energy": None}))
    found = compare(*two(run))
    told = notes(found, "a", "b")
    assert "a and b have no energy in dates and units, so none is compared." in told
    assert not any("Energy:" in note or "no energy for" in note for note in told)
    assert verdict(found, "a", "b").startswith("Against a, b ")


def test_a_task_is_marked_where_it_differs_also_after_holms_correction(make_run: Make) -> None:
    run = make_run(meter=COUNTER, tasks=("dates", "sorting", "units"))
    a, b = two(run)
    # Three energies: surely more, more by its own interval alone, and the same.
    wh = np.exp(np.random.default_rng(33).normal(0, 0.003, (5, 3))) * [2.0, 1.006, 1.0]
    found = compare(with_energy(a, np.ones((5, 3))), with_energy(b, wh))
    whole, *tasks = found.contrasts
    assert whole.energy is not None
    assert whole.energy.significant is None
    effects = [effect for each in tasks for effect in (each.quality, each.energy) if effect]
    marked = holm(np.array([effect.p for effect in effects]))
    assert [effect.significant for effect in effects] == marked.tolist()
    by_itself = [effect for each in tasks if (effect := each.energy) and effect.low and effect.low > 1]
    assert [effect.significant for effect in by_itself] == [True, False]
    told = as_object(found, "a", "b")
    assert [each["energy_ratio_significant_holm"] for each in told["comparisons"]] == [None, True, False, False]
    lines = [each["verdict"] for each in told["comparisons"]]
    assert lines[0] == told["verdict"]
    assert " on sorting. " in lines[2]
    assert lines[2].endswith("After allowing for 3 tasks, the difference in quality and energy may be chance.")
    assert any(note.startswith("* differs also by Holm's correction for the 6 intervals") for note in told["notes"])
    text = io.StringIO()
    print_comparisons([(found, "a", "b")], file=text)
    assert [("* 2.0" in line, "* 1.0" in line) for line in text.getvalue().splitlines() if "sorting  " in line] == [
        (False, False)
    ]
    assert text.getvalue().count("* ") == sum(marked) + 1


def test_the_mark_stands_for_the_test_of_the_interval_beside_it(make_run: Make) -> None:
    a, b = two(make_run(meter=COUNTER))
    for run in (b, replace(b, run_id="another")):
        for seed in range(40):
            wh = 1 + np.random.default_rng(seed).normal(0.01, 0.01, (4, 2))
            effect = compare(with_energy(a, np.ones((4, 2))), with_energy(run, wh)).whole.energy
            assert effect is not None
            assert effect.low is not None
            assert effect.high is not None
            assert effect.p is not None
            assert (effect.p < 0.05) == (effect.low > 1 or effect.high < 1)


def with_scores(entrant: Entrant, scores: list[float]) -> Entrant:
    samples = {task: replace(sample, scores=np.array(scores)) for task, sample in entrant.samples.items()}
    return replace(entrant, samples=samples)


def test_the_same_answers_metered_twice_can_differ_in_energy_alone(make_run: Make) -> None:
    first, second = make_run("first", meter=COUNTER), make_run("second", meter=COUNTER)
    header = json.loads((second.path / "run.json").read_text())
    (second.path / "run.json").write_text(json.dumps(header | {"remetered_from": "first"}))
    a, b = two(first)[0], two(read_run(second.path))[0]
    drift = np.linspace(1, 1.5, 4)[:, None] * np.ones((4, 2))
    found = compare(with_energy(a, drift), with_energy(b, 1.1 * drift))
    assert found.same_answers
    assert found.whole.quality == Effect(value=0.0)
    # Repeat by repeat it is one and the same work, so that drift falls on both alike.
    low, value, high = energy_of(found)
    assert value == pytest.approx(1.1)
    assert high / low < 1.01
    assert found.whole.correct_per_wh is not None
    assert found.whole.correct_per_wh.high == pytest.approx(1 / low)
    told = as_object(found, "a", "b")
    assert told["same_answers"]
    assert "b gives the same answers and takes 1.10 times the energy" in told["verdict"]
    assert "Both hold the same answers, metered twice: only their energies can differ." in told["notes"]
    assert "The energy of second was taken afterwards from a recorded trace." in told["notes"]
    # A run that went on since holds other answers.
    went_on = with_scores(b, [0.0 if at % 7 == 0 else 1.0 for at in range(120)])
    assert not compare(a, went_on).same_answers
    # Another model of it is another model.
    other = compare(a, two(read_run(second.path))[1])
    assert not other.same_answers
    assert other.whole.paired
    assert not any("Measured in two runs" in note for note in notes(other, "a", "b"))


def test_models_are_named_after_the_run_or_matched_by_name(make_run: Make) -> None:
    first, second = make_run("run:1", meter=COUNTER), make_run("run-2", meter=COUNTER, seed=2)
    [(a, b)] = pair_up(read_side(f"{first.path}:dense-60k"), read_side(f"{second.path}:dense-240k"))
    assert (a.model, a.run_id, b.model, b.run_id) == ("dense-60k", "run:1", "dense-240k", "run-2")
    pairs = pair_up(read_side(str(first.path)), read_side(str(second.path)))
    assert [(a.model, b.model) for a, b in pairs] == [
        (name, name) for name in sorted(("ngram", "dense-60k", "dense-240k"))
    ]
    [(a, b)] = pair_up(read_side(f"{first.path}:ngram"), read_side(str(second.path)))
    assert (a.model, b.model) == ("ngram", "ngram")
    with pytest.raises(UsageError, match="did you mean 'dense-60k'"):
        read_side(f"{first.path}:dense-60")
    with pytest.raises(UsageError, match=r"run:1 is one run; name two of its models as RUN:MODEL: it has dense"):
        pair_up(read_side(str(first.path)), read_side(str(first.path)))
    with pytest.raises(UsageError):
        read_side(f"{first.path}-nowhere:ngram")


def test_a_model_in_several_settings_is_named_with_its_own(make_sweep: Make) -> None:
    run = make_sweep({"batch_size": [1, 8]}, {"dense-60k": MODELS["dense-60k"]}, meter=COUNTER)
    with pytest.raises(UsageError, match=r"in 2 settings; name one: 'dense-60k \(batch_size=1\)'"):
        read_side(f"{run.path}:dense-60k")
    # As tables of one task may have it, with fewer or other settings.
    assert read_side(f"{run.path}:dense-60k (batch_size=8, num_fewshot=0)").is_named
    [(a, b)] = pair_up(*(read_side(f"{run.path}:dense-60k (batch_size={size})") for size in (1, 8)))
    assert (a.setting["batch_size"], b.setting["batch_size"]) == (1, 8)


def test_the_command_prints_a_verdict_and_a_table_or_one_json_object(make_run: Make) -> None:
    run = make_run(meter=COUNTER, items=300)
    sides = [f"{run.path}:dense-60k", f"{run.path}:dense-240k"]
    shown = CliRunner().invoke(command, sides)
    assert shown.exit_code == 0
    assert " ".join(shown.stdout.split()).startswith("Against dense-60k, dense-240k answers better")
    assert max(map(len, shown.stdout.splitlines())) <= 80
    told = json.loads(CliRunner().invoke(command, [*sides, "--json"]).stdout)
    assert told["schema"] == "joulemark.compare/1"
    [found] = told["comparisons"]
    assert found["verdict"] in " ".join(shown.stdout.split())
    single = json.loads(CliRunner().invoke(command, [*sides, "--task", "dates", "--json"]).stdout)
    assert [each["task"] for each in single["comparisons"][0]["comparisons"]] == ["dates"]
    for wrong in ([sides[0], f"{run.path}:none"], [*sides, "--task", "none"]):
        assert isinstance(CliRunner().invoke(command, wrong).exception, UsageError)
