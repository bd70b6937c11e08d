"""What a comparison says: what is not finished, what is one model, and nothing twice."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from made_runs import COUNTER

from joulemark.harness.record import Cell
from joulemark.harness.store import Run
from joulemark.meters.errors import Incomparable
from joulemark.reports.commands import compare as command
from joulemark.reports.compare import compare
from joulemark.reports.comparewords import as_object, notes, print_comparisons, verdict
from joulemark.reports.entrants import Entrant, gather

Make = Callable[..., Run]


def two(run: Run) -> tuple[Entrant, Entrant]:
    by_name = {entrant.model: entrant for entrant in gather([run])}
    return by_name["dense-60k"], by_name["dense-240k"]


def with_energy(entrant: Entrant, *wh: float) -> Entrant:
    """The same with these energies, one a repeat, in all tasks."""
    told = dict(enumerate(wh))
    u = dict.fromkeys(told, 0.001)
    samples = {t: replace(s, energy_wh=told, net_wh={}, independent_u=u) for t, s in entrant.samples.items()}
    return replace(entrant, samples=samples)


def test_what_is_not_finished_is_told_from_what_was_asked_otherwise(make_run: Make) -> None:
    def begun(cell: Cell) -> Cell | None:
        return None if cell.task == "units" and (cell.model != "dense-60k" or cell.repeat) else cell

    run = make_run("begun", meter=COUNTER, tasks=("dates", "sorting", "units"), change=begun)
    found = compare(*two(run), runs=[run])
    told = as_object(found, "a", "b")
    assert "Not finished by b, so left out: units." in told["notes"]
    assert (told["not_finished_a"], told["not_finished_b"], told["not_shared"]) == ([], ["units"], [])
    assert not any("in the same way" in note for note in told["notes"])
    assert told["unfinished"] == [{"run_id": "begun", "finished": 19, "failed": 0, "planned": 27}]
    assert told["notes"][0].startswith("Unfinished: 19 of 27 cells are measured; ")
    shown = CliRunner().invoke(command, [f"{run.path}:dense-60k", f"{run.path}:dense-240k"]).stdout
    assert shown.strip().startswith("Unfinished: 19 of 27 cells")
    assert shown.count("Unfinished") == 1


def test_a_planned_task_that_nobody_began_is_not_finished_by_either(make_run: Make) -> None:
    run = make_run("begun", meter=COUNTER, change=lambda cell: None if cell.task == "units" else cell)
    whole = make_run("whole", meter=COUNTER)
    assert "Not finished by a and b, so left out: units." in notes(compare(*two(run), runs=[run]), "a", "b")
    across = compare(two(whole)[0], two(run)[1], runs=[whole, run])
    assert (across.apart, across.not_finished) == ((), ((), ("units",)))
    left = {"units": two(whole)[1].samples["units"]}
    with pytest.raises(Incomparable, match="have finished no task in common"):
        compare(two(run)[0], replace(two(whole)[1], samples=left), runs=[run])


def test_two_that_score_alike_throughout_are_said_to_and_never_to_be_no_different(make_run: Make) -> None:
    a, b = two(make_run(meter=COUNTER))
    twin = replace(b, samples={task: replace(s, scores=a.samples[task].scores) for task, s in b.samples.items()})
    found = compare(a, twin)
    assert found.whole.same_scores
    assert "b scores the same on each of these questions (" in verdict(found, "a", "b")
    # Others like them may still come out otherwise.
    assert found.whole.quality is not None
    assert found.whole.quality.high is not None
    assert found.whole.quality.high > 0
    one_off = a.samples["dates"].scores.copy()
    one_off[0] = 1 - one_off[0]
    almost = replace(twin, samples={**twin.samples, "dates": replace(twin.samples["dates"], scores=one_off)})
    assert not compare(a, almost).whole.same_scores


def test_one_model_in_two_runs_is_not_said_to_be_the_other_way_round_in_joules(make_run: Make) -> None:
    a, b = two(make_run())
    low, high = (1.0, 1.01, 1.0), (1.2, 1.21, 1.21)
    again = replace(with_energy(a, *high), run_id="another")
    one, other = compare(with_energy(a, *low), again), compare(with_energy(a, *low), with_energy(b, *high))
    assert "the other way round" not in verdict(one, "a", "b")
    assert verdict(other, "a", "b").endswith("In joules it may be the other way round.")
    assert (as_object(one, "a", "b")["workload_factor"], as_object(other, "a", "b")["workload_factor"] > 1) == (
        None,
        True,
    )
    assert any("is alike in both" in note for note in notes(one, "a", "b"))
    # Nor is anything turned round where no way was told.
    unsure = compare(with_energy(a, 1.0, 1.3, 1.0), with_energy(b, 1.2, 1.0, 1.2))
    assert "no sure difference in energy" in verdict(unsure, "a", "b")
    assert "the other way round" not in verdict(unsure, "a", "b")


def test_a_single_task_that_was_asked_for_is_not_allowed_for_as_one_of_many(make_run: Make) -> None:
    a, b = two(make_run(meter=COUNTER))
    rng = np.random.default_rng(4)
    pair = with_energy(a, 1, 1, 1, 1), with_energy(b, *(1.012 + rng.normal(0, 0.004, 4)))
    among = compare(*pair).contrasts[1]
    alone = compare(*pair, task="dates").whole
    assert among.energy is not None
    assert alone.energy is not None
    assert (among.energy.low, among.energy.high) == (alone.energy.low, alone.energy.high)
    assert (among.energy.significant is None, alone.energy.significant) == (False, None)
    assert "allowing for" not in verdict(compare(*pair, task="dates"), "a", "b")


def test_why_rank_may_judge_otherwise_is_told_where_repeats_are_paired(make_run: Make) -> None:
    a, b = two(make_run(meter=COUNTER))
    told = notes(compare(a, b), "a", "b")
    assert any(note.startswith("Repeats are paired here") and "`rank`" in note for note in told)
    assert not any("With 2 repeats" in note for note in told)
    few = compare(with_energy(a, 1.0, 1.1), with_energy(b, 1.5, 1.6))
    assert any("With 2 repeats only a large difference" in note for note in notes(few, "a", "b"))
    apart = compare(a, replace(b, run_id="another"))
    assert not any("Repeats are paired" in note for note in notes(apart, "a", "b"))


def test_what_is_so_of_all_comparisons_is_told_once_under_the_last(make_run: Make) -> None:
    first, second = (make_run(name, meter=COUNTER, seed=seed) for seed, name in enumerate(("one", "two"), start=1))
    pairs = list(zip(two(first), two(second), strict=True))
    each = [(compare(a, b), f"{a.model} then", f"{b.model} now") for a, b in pairs]
    text = io.StringIO()
    print_comparisons(each, file=text)
    assert text.getvalue().count("Measured in two runs") == text.getvalue().count("Of all 2 comparisons:") == 1
    assert text.getvalue().index("dense-240k now") < text.getvalue().index("Of all 2 comparisons:")
    found = json.loads(CliRunner().invoke(command, [str(first.path), str(second.path), "--json"]).stdout)
    assert all(any("Measured in two runs" in note for note in own["notes"]) for own in found["comparisons"])


def test_two_runs_whose_folders_have_one_name_are_told_apart_by_their_ids(make_run: Make) -> None:
    monday, tuesday = (make_run(f"{day}/R", machine={"cpu_model": day}) for day in ("monday", "tuesday"))
    by_run = {entrant.run_id: entrant for entrant in gather([monday, tuesday]) if entrant.model == "ngram"}
    with pytest.raises(Incomparable, match=r"ngram of R \[monday/R\] and ngram of R \[tuesday/R\] differ in hardware"):
        compare(by_run["monday/R"], by_run["tuesday/R"])
