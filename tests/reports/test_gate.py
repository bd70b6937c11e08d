"""A gate's verdicts: never a pass of what was not measured, and whatever cannot be compared is named."""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from made_runs import COUNTER, write_run

from joulemark.harness.record import Cell, Invocation, Span, Station
from joulemark.harness.store import Run, read_run
from joulemark.meters.errors import UsageError
from joulemark.reports import gatetests
from joulemark.reports.effects import Effect, one_by_one
from joulemark.reports.entrants import gather
from joulemark.reports.gate import Gate, decide, judge
from joulemark.reports.gatecommands import gate
from joulemark.reports.gateconfig import GateConfig, Limits, read_gate_config
from joulemark.reports.gatehistory import LEAST_DAYS, gather_history, spread_of
from joulemark.reports.gatetests import energy_test, quality_bound, quality_test, rate_test
from joulemark.reports.pairing import read_side
from joulemark.reports.stats import accuracy, log_energy, quality

from .conftest import planned

Make = Callable[..., Run]

ALIKE = {"base": (0.7, 0.001, 1), "cand": (0.7, 0.001, 1)}
ENERGY = GateConfig(limits=Limits(max_increase=0.05))


def gated(run: Run, config: GateConfig = ENERGY, **kwargs: Any) -> Gate:
    return judge(read_side(f"{run.path}:base"), read_side(f"{run.path}:cand"), config, **kwargs)


def gated_apart(base: Run, cand: Run, config: GateConfig = ENERGY, **kwargs: Any) -> Gate:
    return judge(read_side(f"{base.path}:base"), read_side(f"{cand.path}:cand"), config, **kwargs)


def dearer(share: float) -> dict[str, tuple[float, float, int]]:
    """A candidate that takes so much more energy and answers alike."""
    return {"base": ALIKE["base"], "cand": (0.7, 0.001 * (1 + share), 1)}


def of_candidate(**update: Any) -> Callable[[Cell], Cell]:
    return lambda cell: cell.model_copy(update=update) if cell.model == "cand" else cell


def command(*args: str) -> tuple[int, str]:
    told = CliRunner().invoke(gate, args, standalone_mode=False)
    return told.return_value, told.output


@pytest.fixture
def make(make_run: Make) -> Make:
    """A run of base and cand, 6 repeats, by a counter."""

    def write(name: str = "run-1", **kwargs: Any) -> Run:
        usual: dict[str, Any] = {"models": ALIKE, "repeats": 6, "meter": COUNTER, "spread": 0.005}
        return make_run(name, **(usual | kwargs))

    return write


def test_a_model_passes_against_itself_and_loses_nothing_where_nothing_may_be_lost(make: Make) -> None:
    run = make(spread=0.2)
    strict = GateConfig(limits=Limits(max_increase=0.001, max_drop=0.0))
    side = read_side(f"{run.path}:base")
    found = judge(side, side, strict)
    assert found.verdict == "pass"
    assert {(rule.low, rule.high) for rule in found.rules} == {(1.0, 1.0), (0.0, 0.0)}
    assert judge(read_side(str(run.path)), read_side(str(run.path)), strict).verdict == "pass"


def test_alike_energies_pass_and_dearer_ones_fail(make: Make) -> None:
    assert gated(make()).verdict == "pass"
    found = gated(make("run-2", models=dearer(0.15)))
    assert found.verdict == "fail"
    assert all(rule.low and rule.low > 1.05 and rule.repeats == 6 for rule in found.rules)


def test_lost_quality_fails_whatever_energy_does(make: Make) -> None:
    run = make(models={"base": (0.8, 0.001, 1), "cand": (0.3, 0.0005, 1)})
    found = gated(run, GateConfig())
    assert {(rule.metric, rule.verdict) for rule in found.rules} == {("energy", "pass"), ("quality", "fail")}
    assert found.verdict == "fail"


def test_scatter_that_hides_the_margin_is_inconclusive(make: Make) -> None:
    assert gated(make(spread=0.15)).verdict == "inconclusive"


def test_a_task_or_model_that_the_candidate_lacks_fails_in_one_run_and_in_two(make: Make) -> None:
    lacking = make(change=lambda cell: None if cell.model == "cand" and cell.task == "units" else cell)
    found = gated(lacking)
    assert found.verdict == "fail"
    assert found.reasons == ("cand has no finished cell of units.",)
    whole, other = make("run-2"), make("run-3", tasks=("dates", "sorting"))
    assert gated_apart(whole, other).verdict == "fail", "a renamed task is missing"
    alone = make("run-4", models={"base": ALIKE["base"], "new": ALIKE["base"]})
    lost = judge(read_side(str(whole.path)), read_side(str(alone.path)), ENERGY)
    assert lost.verdict == "fail"
    assert f"cand is in {whole.path} and not in {alone.path}." in lost.reasons


def test_a_run_that_was_interrupted_before_the_candidates_turn_breaks_no_rule(make: Make) -> None:
    """Which cell it was stopped in is no regression; one that failed in its turn is."""

    def stopped(name: str, **update: Any) -> Run:
        begun = {("base", "units", 0), ("base", "dates", 0), ("cand", "dates", 0)}
        return make(name, change=lambda cell: cell if (cell.model, cell.task, cell.repeat) in begun else
                    of_candidate(**update)(cell) if update and cell.model == "cand" else None)  # fmt: skip

    found = gated(stopped("run-1"))
    assert found.verdict == "inconclusive"
    assert "cand has no finished cell of units yet; go on with joulemark run --resume." in found.reasons
    failed = {"status": "failed", "error": "MemoryError", "energy": None, "accuracy": None}
    assert gated(stopped("run-2", **failed)).verdict == "fail"


def test_what_the_baseline_lacks_has_nothing_to_be_compared_with(make: Make) -> None:
    found = gated(make(change=lambda cell: None if cell.model == "base" and cell.task == "units" else cell))
    assert found.verdict == "incomparable"
    assert found.reasons == ("the baseline has no finished cell of units, which cand has.",)


def test_a_planned_task_that_nobody_finished_is_never_passed(make: Make) -> None:
    found = gated(make(change=lambda cell: None if cell.task == "units" else cell))
    assert found.verdict == "inconclusive"
    assert found.reasons == ("neither baseline nor candidate has a finished cell of units.",)


def test_each_difference_is_named_and_all_of_them_at_once(make: Make) -> None:
    modelled = {"grade": "modelled", "scope": "package", "rel_u_scale": 0.4, "rel_u_workload": 0.3}
    other = {"machine_id": "m-2", "cpu_model": "AMD EPYC 9654", "governor": "powersave", "driver": "550.1"}

    def change(cell: Cell) -> Cell:
        setting = cell.setting | {"batch_size": 8, "num_fewshot": 5}
        return cell.model_copy(update={"setting": setting, "task_hash": "another" + cell.task_hash})

    found = gated_apart(make(), make("run-2", meter=modelled, machine=other, change=change))
    assert found.verdict == "incomparable"
    for what in (
        "hardware differs", "machine differs: m-1 against m-2", "CPU governor differs: none against powersave",
        "driver differs", "grade of energy differs: counter against modelled", "scope of energy differs",
        "meter differs: rapl:package-0 against modelled:cpu", "setting batch_size differs: 1 against 8",
        "task hash differs in dates, units.", "setting num_fewshot differs in dates, units: 0 against 5",
        "measured in two runs, run-1 and run-2",
    ):  # fmt: skip
        assert any(what in reason for reason in found.reasons), what
    assert not found.rules


def test_another_gpu_of_its_kind_in_a_machine_of_the_same_name_is_another_machine(make: Make) -> None:
    """Rented machines are often called alike, and cards of one kind differ by some per cent."""
    base, cand = (
        make(f"run-{card}", machine={"accelerators": [{"name": "NVIDIA H100", "uuid": f"GPU-{card}"}]}) for card in "ab"
    )
    found = gated_apart(base, cand)
    assert found.verdict == "incomparable"
    assert "GPU differs: GPU-a against GPU-b." in found.reasons[0]
    first, second = (gather([run])[0].yardstick for run in (base, cand))
    assert first != second


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"task_hash": "other"}, "cand: task hash differs in dates, units."),
        ({"setting": {"batch_size": 8, "num_fewshot": 0, "limit": None, "threads": 1}},
         "cand: setting batch_size differs: 1 against 8."),
    ],
    ids=["hash", "setting"],
)  # fmt: skip
def test_one_difference_in_one_run_is_told_as_the_only_one(make: Make, change: Mapping[str, Any], reason: str) -> None:
    found = gated(make(change=of_candidate(**change)))
    assert found.verdict == "incomparable"
    assert found.reasons == (reason,)


def test_a_task_that_changed_between_repeats_is_no_one_task(make: Make) -> None:
    """As after a resume that a version of ours, or another program, did not refuse."""

    def changed(*models: str) -> Callable[[Cell], Cell]:
        new = {"task_hash": "hash-of-other"}
        return lambda cell: cell.model_copy(update=new) if cell.repeat > 3 and cell.model in models else cell

    told = "cand: task hash of the {}'s repeats differs in dates, units."
    found = gated(make(change=changed("cand")))
    assert found.verdict == "incomparable"
    assert found.reasons == (told.format("candidate"),)
    both = gated(make("run-2", change=changed("base", "cand"), tasks=("units",)))
    assert both.verdict == "incomparable"
    how = "differs in units: hash-of-other against hash-of-units."
    assert both.reasons == tuple(f"cand: task hash of the {who}'s repeats {how}" for who in ("baseline", "candidate"))


def test_other_questions_under_one_hash_are_other_questions(make: Make) -> None:
    """A file of items that was changed without its task: ids 0 to 119 for one, 20 to 119 for the other."""
    run = make(tasks=("units",))
    for file in (run.path / "items").glob("cand.units.*.parquet"):
        pd.read_parquet(file).query("doc_id >= 20").to_parquet(file, index=False)
    found = gated(run)
    assert found.verdict == "incomparable"
    assert found.reasons == ("cand: choice of questions differs in units: 120 against 100, of which 100 are in both.",)


def test_a_meter_of_one_name_that_counts_in_another_way_is_another_meter(make: Make) -> None:
    first, second = make(), make("run-2")
    header = json.loads((second.path / "run.json").read_text(encoding="utf-8"))
    header["meters"][0]["provenance"] = "another model of power"
    (second.path / "run.json").write_text(json.dumps(header), encoding="utf-8")
    assert any("counts in another way" in reason for reason in gated_apart(first, second).reasons)


def test_one_measured_after_the_other_is_incomparable_for_drift_falls_on_it(make: Make) -> None:
    run = make()
    header = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    header["plan"]["order"] = "blocked"
    (run.path / "run.json").write_text(json.dumps(header), encoding="utf-8")
    found = gated(run)
    assert found.verdict == "incomparable"
    assert "--order abba" in found.reasons[0]
    side = read_side(f"{run.path}:base")
    assert judge(side, side, ENERGY).verdict == "pass", "itself has no order"


def test_energy_that_is_missing_is_never_passed(make: Make) -> None:
    def change(cell: Cell) -> Cell:
        assert cell.energy
        none = {"energy": cell.energy.model_copy(update={"gross_j": None})}
        return cell.model_copy(update=none) if (cell.model, cell.task) == ("cand", "units") else cell

    found = gated(make(change=change))
    assert found.verdict == "inconclusive"
    assert found.reasons == ("energy is missing in units, so nothing is told of it.",)
    assert [rule.ratio_or_delta for rule in found.rules if rule.task == "units"] == [None]


@pytest.mark.parametrize(
    ("joules", "why"),
    [
        ("NaN", "Input should be a finite number"),
        ("Infinity", "Input should be a finite number"),
        ("-Infinity", "Input should be a finite number"),
        ("1e999", "Input should be a finite number"),
        ('"12"', "Input should be a valid number"),
        ("-5.0", "Input should be greater than 0.000000001"),
        ("0", "Input should be greater than 0.000000001"),
        ("1e-320", "Input should be greater than 0.000000001"),
    ],
)
def test_cells_whose_energy_is_no_number_in_the_file_are_left_out_and_named(make: Make, joules: str, why: str) -> None:
    """As another program may have written them, and sealed them as ours are."""
    run = make(items=20)
    rewrite_joules(run, "cand", 1, joules)
    code, found = gated_as_json(run)
    assert (code, found["verdict"]) == (3, "inconclusive")
    assert "units has 5 of 6 planned repeats; go on with joulemark run --resume." in found["reasons"]
    [warning] = [told for told in found["warnings"] if "is left out" in told]
    assert why in warning


def test_where_no_cell_of_a_task_has_a_number_it_is_as_good_as_not_there(make: Make) -> None:
    for model, told in (
        ("cand", (1, "cand has no finished cell of units.")),
        ("base", (4, "the baseline has no finished cell of units, which cand has.")),
    ):
        run = make(f"{model}-lost", items=20)
        rewrite_joules(run, model, 6, "NaN")
        code, found = gated_as_json(run)
        assert (code, found["reasons"][0]) == told


def gated_as_json(run: Run) -> tuple[int, dict[str, Any]]:
    """The exit code of the command, and the object between what it says on stderr."""
    code, text = command("--baseline", f"{run.path}:base", "--candidate", f"{run.path}:cand", "--json")
    return code, json.loads(text[text.index("{") : text.rindex("}") + 1])


def rewrite_joules(run: Run, model: str, cells: int, joules: str) -> None:
    """Put this text into a model's first cells of a task in place of the number, each with the digest of its line."""
    log = run.path / "cells.jsonl"
    lines = log.read_text(encoding="utf-8").split("\n")
    own = [place for place, line in enumerate(lines) if f'"model":"{model}"' in line and '"units"' in line]
    for place in own[:cells]:
        bare = re.sub(r',"sha256":"\w+"', "", re.sub(r'("gross_j"):[^,}]+', rf"\1:{joules}", lines[place]))
        digest = hashlib.sha256(bare.encode()).hexdigest()
        lines[place] = re.sub(r',("started_at")', rf',"sha256":"{digest}",\1', bare)
    log.write_text("\n".join(lines), encoding="utf-8")


def test_one_repeat_proves_nothing(make: Make) -> None:
    for number, models in enumerate((ALIKE, {"base": (0.8, 0.001, 1), "cand": (0.2, 0.01, 1)})):
        run = make(f"run-{number}", repeats=1, models=models)
        found = gated(run, GateConfig())
        assert found.verdict == "inconclusive"
        assert any("better 6" in reason for reason in found.reasons)
    lacking = make("run-3", repeats=1, change=lambda c: None if (c.model, c.task) == ("cand", "units") else c)
    assert gated(lacking).verdict == "fail", "what is missing is missing"


def test_repeats_that_only_one_of_them_has_are_no_pairs(make: Make) -> None:
    """The first three of one and the last three of the other: drift of the machine would lie between."""
    run = make(change=lambda cell: cell if (cell.model == "base") == (cell.repeat < 3) else None)
    found = gated(run)
    assert found.verdict == "inconclusive"
    assert found.reasons[0].startswith("no repeat of dates has the energy of both")


def test_pairs_between_which_a_run_was_resumed_are_left_out(make: Make) -> None:
    """Of the last two repeats the candidate was measured a day later, when all took 20 % more; a third model always."""
    began = ("2026-01-05T10:00:00Z", "2026-01-06T10:00:00Z")

    def change(cell: Cell) -> Cell:
        late = cell.model == "cand" and cell.repeat >= 4
        assert cell.energy
        energy = cell.energy.model_copy(update={"gross_j": cell.energy.gross_j * (1.2 if late else 1)})
        when = Span(began_at=began[late or cell.model == "third"], window_s=3.0)
        return cell.model_copy(update={"idle_window": when, "energy": energy})

    run = make(change=change, models=ALIKE | {"third": ALIKE["base"]})
    header = run.header.model_copy(
        update={"invocations": tuple(Invocation(before=Span(began_at=at, window_s=3.0), before_w=4.0) for at in began)}
    )
    (run.path / "run.json").write_text(header.model_dump_json(by_alias=True), encoding="utf-8")
    found = gated(read_run(run.path))
    assert found.verdict == "pass"
    assert {rule.repeats for rule in found.rules} == {4}
    assert found.reasons == (
        "cand: the run was resumed between the two of 4 pairs of repeats; their energy is left out.",
    )


def test_another_machine_of_a_run_that_begins_between_the_two_of_a_pair_parts_no_pair(make: Make) -> None:
    """Their own machine was resumed before the fifth repeat, between its two; the other one began amid all others."""
    began, other = ("2026-01-05T09:00:00Z", "2026-01-06T09:00:00Z"), "2026-01-05T10:30:00Z"

    def change(cell: Cell) -> Cell:
        late = cell.repeat == 5 and cell.model == "cand"
        at = began[1] if late else f"2026-01-05T{10 if cell.model == 'base' else 11}:00:00Z"
        own = "m-2" if cell.model == "third" else cell.machine_id
        return cell.model_copy(update={"idle_window": Span(began_at=at, window_s=3.0), "machine_id": own})

    run = make(change=change, models=ALIKE | {"third": ALIKE["base"]})

    def station(name: str, *starts: str) -> Station:
        begun = tuple(Invocation(before=Span(began_at=at, window_s=3.0), before_w=4.0) for at in starts)
        machine = run.header.machine.model_copy(update={"machine_id": name})
        return run.header.station.model_copy(update={"machine": machine, "invocations": begun})

    own, beside = station(run.header.machine.machine_id, *began), station("m-2", other)
    header = run.header.at(beside, (beside, own))
    (run.path / "run.json").write_text(header.model_dump_json(by_alias=True), encoding="utf-8")
    found = gated(read_run(run.path))
    assert found.verdict == "pass"
    assert {rule.repeats for rule in found.rules} == {5}
    assert found.reasons == (
        "cand: the run was resumed between the two of 2 pairs of repeats; their energy is left out.",
    )


def test_a_torn_tail_is_judged_without_it_and_a_lost_half_is_no_pass(make: Make) -> None:
    run = make()
    log = run.path / "cells.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    found = gated(read_run(run.path))
    assert found.verdict == "inconclusive"
    assert "5 of 6 planned repeats" in found.reasons[0]
    log.write_bytes(b"".join(lines[:18]))
    lost = gated(read_run(run.path))
    assert (lost.verdict, lost.reasons) == ("fail", ("cand has no finished cell of units.",))


def test_a_candidate_that_failed_most_of_its_planned_repeats_does_not_pass(make: Make) -> None:
    run = make(change=lambda cell: None if cell.model == "cand" and cell.repeat > 1 else cell)
    found = gated(run)
    assert found.verdict == "inconclusive"
    assert all(rule.verdict == "inconclusive" for rule in found.rules)
    assert any("2 of 6 planned repeats" in reason for reason in found.reasons)
    # At a look that was planned they decide.
    looked = gated(run, ENERGY.model_copy(update={"looks": (2, 4, 6)}))
    assert not any("planned repeats" in reason for reason in looked.reasons)


def test_half_named_sides_of_one_run_are_refused_for_each_would_meet_itself(make: Make) -> None:
    run = make()
    for first, second in ((f"{run.path}:base", str(run.path)), (str(run.path), f"{run.path}:cand")):
        with pytest.raises(UsageError, match="name a model of it in both"):
            judge(read_side(first), read_side(second), ENERGY)


def test_a_named_candidate_meets_its_namesake_and_no_other_model_is_missing(make: Make) -> None:
    first, second = make(), make("run-2")
    found = judge(read_side(str(first.path)), read_side(f"{second.path}:cand"), ENERGY)
    assert found.verdict == "incomparable"
    only = make("run-3", models={"other": ALIKE["base"], "new": ALIKE["cand"]})
    with pytest.raises(UsageError, match="is the baseline"):
        judge(read_side(str(first.path)), read_side(f"{only.path}:new"), ENERGY)


def test_absolute_bounds_hold_the_meter_s_own_error_and_relative_ones_do_not(make: Make) -> None:
    run = make(meter=COUNTER | {"rel_u_scale": 0.2})
    wh = gated(run).rules[0].candidate or 0.0
    for most, verdict in ((wh * 1.2, "inconclusive"), (wh * 2, "pass"), (wh / 2, "fail")):
        rule = gated(run, GateConfig(limits=Limits(max_wh_per_1k=most))).rules[0]
        assert (rule.metric, rule.verdict, rule.margin) == ("max_wh_per_1k", verdict, most)
    assert gated(run).verdict == "pass"


def test_bounds_of_quality_and_of_right_answers_per_watt_hour(make: Make) -> None:
    run = make(items=300)
    for least, verdict in ((40.0, "pass"), (95.0, "fail"), (70.0, "inconclusive")):
        found = gated(run, GateConfig(limits=Limits(min_quality=least)), only=["units"])
        assert [rule.verdict for rule in found.rules] == [verdict]
    rate = gated(run, GateConfig(limits=Limits(min_correct_per_wh=1.0))).rules[0]
    assert rate.verdict == "pass"
    assert rate.ratio_or_delta
    assert rate.low
    assert rate.high
    assert rate.low < rate.ratio_or_delta < rate.high
    assert gated(run, GateConfig(limits=Limits(min_correct_per_wh=rate.ratio_or_delta * 2))).verdict == "fail"


def test_a_guesser_fails_where_the_most_that_it_may_give_is_too_few_and_never_passes(make: Make) -> None:
    """None right of 300: at most some 2 %, which are 20,000 right answers per Wh at 0.001 Wh per 1,000."""
    run = make(models={"base": ALIKE["base"], "cand": (0.0, 0.001, 1)}, items=300, tasks=("units",))
    for least, verdict in ((1.0, "inconclusive"), (10_000.0, "inconclusive"), (40_000.0, "fail")):
        found = gated(run, GateConfig(limits=Limits(min_correct_per_wh=least)))
        assert found.verdict == verdict
        assert found.reasons[0].startswith("cand may be guessing in units")
        assert ("Even that is surely too few." in found.reasons[0]) == (verdict == "fail")
        [rule] = found.rules
        assert (rule.ratio_or_delta, rule.low, rule.min_detectable) == (None, 0.0, None)
        assert 10_000 < (rule.high or 0) < 40_000


@given(st.integers(0, 300), st.floats(1e-5, 10), st.sampled_from([0.05, 0.01]), st.floats(0, 0.5))
def test_at_the_ends_of_right_answers_per_watt_hour_a_model_would_just_fail_and_just_pass(
    right: int, wh: float, alpha: float, rel_u: float
) -> None:
    """Up to 89 of 300 a model of four choices may be guessing, and has no lower end."""
    points = quality(accuracy(np.arange(300) < right), 0.25)
    log = log_energy([wh, wh * 1.03, wh * 0.98])

    def tested(least: float) -> gatetests.Test:
        return rate_test(points, log, least, rel_u)

    fewest, most = (math.exp(-end) for end in reversed(tested(1.0).ends(alpha)))
    assert tested(most * 1.001).p_beyond() <= alpha <= tested(most * 0.999).p_beyond()
    assert tested(max(fewest, 1e-12) * 0.999).p_within() <= alpha or fewest == 0
    assert tested(max(fewest, 1e-12) * 1.001).p_within() >= alpha
    assert (fewest == 0) >= (right < 90)


def test_repeats_that_a_coarse_meter_cannot_tell_apart_are_no_certainty(make: Make) -> None:
    """A meter that counts whole joules and tells no error: 5 J each time may be 4.5 or 5.5."""

    def coarse(cell: Cell) -> Cell:
        assert cell.energy
        joules = 5.0 if cell.model == "base" else 5.1
        energy = cell.energy.model_copy(update={"gross_j": joules, "net_j": 3.0, "idle_j": joules - 3, "u_j": None})
        return cell.model_copy(update={"energy": energy})

    run = make(change=coarse, tasks=("units",))
    limits = Limits(max_increase=0.05, max_wh_per_1k=1.0, min_correct_per_wh=1e-3)
    found = gated(run, GateConfig(limits=limits))
    assert {rule.verdict for rule in found.rules} == {"inconclusive"}
    assert found.reasons == (
        "the repeats of units agree exactly: the meter's step is too coarse to tell repeats apart; take a finer meter, "
        "or more questions.",
    )
    side = read_side(f"{run.path}:base")
    assert judge(side, side, ENERGY).verdict == "pass", "itself is itself"


def test_fifty_right_answers_are_no_proof_of_96_percent() -> None:
    """A model that is right in 96 % answers 50 questions rightly in 13 % of cases."""
    all_right = quality(accuracy(np.ones(50)), 0.0)
    assert quality_bound(all_right, 96.0).p_within() > 0.05
    assert quality_bound(all_right, 90.0).p_within() < 0.05


def test_few_answers_lost_by_luck_do_not_make_a_loss_sure() -> None:
    """Of 2 lost in 300 the error seems small; of the 6 that 2 points are it is larger."""
    scores = np.array([1.0] * 298 + [0.0] * 2)
    luck = Effect(value=-2 / 3, var=4e4 / 300**2)
    assert quality_test(luck, 2.0, scores, 0.0).var == pytest.approx(0.02 * 0.98 / 300 * 1e4)
    assert quality_test(luck, 2.0, scores / 3, 0.0).var == luck.var, "parts of answers tell their own error"


def test_a_pattern_s_limits_stand_over_the_others_key_by_key(make: Make) -> None:
    run = make(models=dearer(0.15))
    lenient = GateConfig(limits=Limits(max_increase=0.05), tasks={"un*": Limits(max_increase=0.5)})
    assert {rule.task: rule.verdict for rule in gated(run, lenient).rules} == {"dates": "fail", "units": "pass"}
    off = GateConfig(limits=Limits(max_increase=0.05), tasks={"*": Limits(max_increase=None, min_quality=10.0)})
    assert {rule.metric for rule in gated(run, off).rules} == {"min_quality"}
    found = gated(run, GateConfig(limits=Limits(max_increase=0.5), tasks={"typo*": Limits(max_increase=0.5)}))
    assert found.verdict == "inconclusive"
    assert found.reasons == ("no task is called typo*, so its limits in [gate.tasks] were not judged.",)


def test_a_pattern_for_a_task_that_is_planned_is_no_mistake_where_only_others_are_judged(make: Make) -> None:
    run = make(change=lambda cell: None if cell.task == "units" else cell)
    shared = GateConfig(limits=Limits(max_increase=0.5), tasks={"units": Limits(max_increase=0.1)})
    assert gated(run, shared, only=["dates"]).verdict == "pass"
    mistaken = shared.model_copy(update={"tasks": {"unit": Limits(max_increase=0.1)}})
    assert gated(run, mistaken, only=["dates"]).verdict == "inconclusive"


def test_a_table_that_takes_every_rule_away_says_that_no_rule_is_set(make: Make) -> None:
    found = gated(make(), GateConfig(limits=Limits()))
    assert (found.verdict, found.reasons) == ("inconclusive", ("no rule is set, so nothing was judged.",))


def test_a_model_that_only_the_candidate_s_run_has_is_told_of(make: Make) -> None:
    first, second = make(), make("run-2", models=ALIKE | {"new": ALIKE["cand"]})
    told = f"new is in {second.path} and not in {first.path}, so it was not judged."
    assert told in judge(read_side(str(first.path)), read_side(str(second.path)), ENERGY).reasons
    one = judge(read_side(str(first.path)), read_side(f"{second.path}:base"), ENERGY)
    assert not any("new is in" in reason for reason in one.reasons), "nobody asked for it"


def test_only_tasks_that_are_asked_for_are_judged(make: Make) -> None:
    run = make(change=lambda cell: None if cell.task == "units" and cell.model == "cand" else cell)
    assert gated(run, only=["da*"]).verdict == "pass"


def test_alpha_decides_how_sure_a_fail_must_be(make: Make) -> None:
    run = make(models=dearer(0.066), spread=0.01, repeats=4, tasks=("dates",))
    loose, strict = (gated(run, ENERGY.model_copy(update={"alpha": alpha})) for alpha in (0.3, 1e-6))
    assert (loose.verdict, strict.verdict) == ("fail", "inconclusive")
    assert (loose.rules[0].low or 0) > (strict.rules[0].low or 0)


def test_a_look_that_nobody_planned_decides_nothing(make: Make) -> None:
    planned = ENERGY.model_copy(update={"looks": (4, 6, 10)})
    assert gated(make(), planned).verdict == "pass"
    found = gated(make("run-2", repeats=5), planned)
    assert found.verdict == "inconclusive"
    assert found.reasons[0] == (
        "dates has 5 repeats, and looks are planned at 4, 6, 10; go on with joulemark run --resume RUN --repeats 6."
    )


def test_a_run_that_stopped_when_it_was_precise_enough_has_a_third_of_alpha_and_says_so(make: Make) -> None:
    """It stops where repeats agree by luck."""
    run, plain = (make(name, models=dearer(0.058), tasks=("units",), spread=0.004) for name in ("run-1", "run-2"))
    run = planned(run, precision=0.01)
    wide, usual = gated(run), gated(plain)
    assert (wide.by_precision, usual.by_precision) == (True, False)
    assert (wide.alpha, usual.alpha) == (pytest.approx(0.05 / 3), 0.05)
    assert (wide.rules[0].low or 0) < (usual.rules[0].low or 0)
    sides = [f"{run.path}:{model}" for model in ("base", "cand")]
    _, told = command("--baseline", sides[0], "--candidate", sides[1])
    assert "each test has a third of the 5 %" in " ".join(told.split())
    # Planned looks allow for whatever stops it at one of them.
    looked = gated(run, ENERGY.model_copy(update={"looks": (4, 6, 10)}))
    assert (looked.by_precision, looked.alpha) == (False, pytest.approx(0.019))


def test_many_or_strict_rules_share_looks_equally_for_they_hardly_overlap() -> None:
    planned = GateConfig(looks=(4, 6, 10))
    assert planned.alpha_at() == pytest.approx(0.019)
    assert planned.alpha_at(rules=20) == pytest.approx(0.05 / 3)
    assert planned.model_copy(update={"alpha": 0.005}).alpha_at() == pytest.approx(0.005 / 3)
    assert GateConfig(looks=(3, 9)).alpha_at() == pytest.approx(0.025)
    assert GateConfig().alpha_at(rules=20) == 0.05


def test_more_rules_need_a_larger_effect_and_say_so(make: Make) -> None:
    run = make()
    many, one = gated(run, GateConfig()), gated(run, only=["units"])
    seen = {(rule.task, rule.metric): rule.min_detectable or 0.0 for rule in many.rules}
    assert seen["units", "energy"] > (one.rules[0].min_detectable or 0.0) > 1.05
    assert seen["units", "quality"] < -2


def test_two_runs_are_compared_with_a_history_of_twenty_days_and_it_says_so(make: Make) -> None:
    days = [write_day(make, day, 0.002 * (day % 5)) for day in range(LEAST_DAYS)]
    base, cand = days[0], make("today", items=20)
    history = gather_history([*days, days[0]])
    found = gated_apart(base, cand, history=history)
    assert found.verdict == "pass"
    assert "--allow-unpaired" in found.reasons[0]
    paired = gated(cand)
    assert (found.rules[0].high or 0) / (found.rules[0].low or 1) > (paired.rules[0].high or 0) / (
        paired.rules[0].low or 1
    )
    for few in (days[1:], [*days[1:], days[1]]):
        short = gated_apart(base, cand, history=gather_history(few))
        assert short.verdict == "incomparable"
        assert "a history of base on this machine, measured alike, of at least 20 days" in short.reasons[0]
        assert short.reasons[0].endswith("of dates it has 19 runs on 19 days.")
    stranger = make("stranger", tasks=("units",))
    strange = gated_apart(base, cand, history=gather_history([*days, stranger]), only=["dates"])
    assert "cand: 1 of the history's runs tell nothing of base: of another model, task" in strange.reasons[0]
    short = gated_apart(base, cand, history=gather_history([*days[1:], stranger]), only=["dates"])
    assert short.reasons[0].endswith("19 days; 1 run of other models, tasks, settings, meters or machines.")
    other = make("other", machine={"machine_id": "m-2"})
    assert "machine differs: m-1 against m-2." in gated_apart(base, other, history=history).reasons[0]


def test_twenty_runs_of_two_days_do_not_show_how_days_differ(make: Make) -> None:
    """Of one day runs scatter by little; and a run's energy that was taken anew on another day is of its own day."""
    runs = [write_day(make, n % 2, 0.002 * (n % 5), f"run-{n}", hour=n) for n in range(LEAST_DAYS)]
    anew = runs[0].header.model_copy(update={"run_id": "anew", "created_at": "2026-02-01T10:00:00Z"})
    found = gated_apart(
        runs[0], make("today", items=20), history=gather_history([*runs, replace(runs[0], header=anew)])
    )
    assert found.verdict == "incomparable"
    assert found.reasons[0].endswith("of dates it has 21 runs on 2 days.")


@given(st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=4), min_size=2, max_size=20), st.integers(2, 5))
def test_what_days_differ_by_is_no_matter_of_how_many_runs_each_has(days: list[list[float]], times: int) -> None:
    once = spread_of(days)
    assert spread_of([own * times for own in days]).var == pytest.approx(once.var, abs=1e-12)
    assert once.days == len(days)
    single = [own[:1] for own in days]
    assert spread_of(single).var == pytest.approx(np.var(single, ddof=1), abs=1e-12)


def write_day(make: Make, day: int, shift: float, name: str = "", hour: int = 10) -> Run:
    """A run of the baseline on that day, which shifts its energy on the log scale."""
    models, began_at = {"base": (0.7, 0.001 * math.exp(shift), 1)}, f"2026-01-{day + 1:02}T{hour:02}:00:00Z"
    return make(
        name or f"day-{day}", models=models, repeats=2, items=20, seed=6,
        change=lambda cell: cell.model_copy(update={"started_at": began_at}),
    )  # fmt: skip


def test_what_runs_of_one_day_differ_by_is_in_the_spread_as_well() -> None:
    """Two days of one mean, of which one had two runs: half of these two's variance is not in that mean."""
    assert spread_of([[1.0, 2.0], [1.5]]).var == pytest.approx(0.25 / 2)


def test_a_spread_from_day_to_day_that_hides_the_margin_hides_it(make: Make) -> None:
    days = [write_day(make, day, 0.1 * (day % 3)) for day in range(LEAST_DAYS)]
    dear = make("today", models={"cand": (0.7, 0.00115, 1)}, items=20)
    assert gated_apart(days[0], dear, history=gather_history(days)).verdict == "inconclusive"


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=2, max_size=10),
    st.floats(0.01, 0.5),
    st.sampled_from([0.05, 0.01]),
)
def test_swapping_negates_the_log_ratio_and_mirrors_the_verdict(
    logs: list[tuple[float, float]], margin: float, alpha: float
) -> None:
    """Beyond ``1 + margin`` one way is below ``1 / (1 + margin)`` the other way."""
    first, second = np.array(logs).T
    there, back = (energy_test(one_by_one(*pair), margin) for pair in ((first, second), (second, first)))
    assert there
    assert back
    assert there.value == pytest.approx(-back.value, abs=1e-12)
    mirrored = gatetests.Test(value=back.value, var=back.var, df=back.df, limit=-there.limit)
    assert there.p_beyond() == pytest.approx(mirrored.p_within(), abs=1e-9) or there.error == 0
    low, high = there.ends(alpha)
    assert back.ends(alpha) == pytest.approx((-high, -low), abs=1e-9)
    assert not (there.p_beyond() <= alpha and back.p_beyond() <= alpha), "not both can be dearer"


@given(st.floats(-1, 1), st.floats(1e-6, 1), st.integers(1, 30), st.floats(1e-6, 0.4))
def test_ends_of_the_interval_are_the_tests_and_what_would_be_seen_lies_beyond_the_margin(
    value: float, var: float, df: int, alpha: float
) -> None:
    test = gatetests.Test(value=value, var=var, df=float(df), limit=0.05)
    low, high = test.ends(alpha)
    assert (low > test.limit) == (test.p_beyond() < alpha) or low == pytest.approx(test.limit)
    assert (high < test.limit) == (test.p_within() < alpha) or high == pytest.approx(test.limit)
    assert test.limit < test.detectable(alpha) < math.inf


def test_ten_thousand_rules_are_decided(make: Make) -> None:
    """Of two repeats the critical value is then 60,000 standard errors, which no search may hang at."""
    found = gated(make(repeats=2), GateConfig(alpha=1e-4))
    many = [(rule, gatetests.Test(value=0.0, var=1e-6, df=1.0, limit=0.05)) for rule in found.rules] * 2500
    rules, _ = decide(many, GateConfig())
    assert len(rules) == 10_000
    assert {rule.verdict for rule in rules} == {"pass"}
    energies = [rule.min_detectable for rule in rules if rule.metric == "energy"]
    assert all(seen and 1.05 < seen < math.inf for seen in energies)
    wild = gatetests.Test(value=0.0, var=1.0, df=1.0, limit=0.05)
    assert decide([(rule, wild) for rule, _ in many], GateConfig())[0][0].min_detectable is None, "no number holds it"


def test_a_run_of_many_tasks_is_judged(tmp_path: Path) -> None:
    tasks = tuple(f"t{number}" for number in range(100))
    run = write_run(tmp_path / "run", ALIKE, tasks=tasks, items=10, repeats=2, meter=COUNTER, spread=0.001)
    assert len(gated(run, GateConfig()).rules) == 200


def test_exit_codes_are_the_contract_s(make: Make, tmp_path: Path) -> None:
    run, dear = make(), make("run-2", models=dearer(0.15))
    energy = tmp_path / "energy.toml"
    energy.write_text("[gate]\nmax_drop = false\n", encoding="utf-8")
    noisy = make("run-3", spread=0.15)

    def code(run: Run, *more: str, candidate: Run | None = None) -> int:
        sides = ["--baseline", f"{run.path}:base", "--candidate", f"{(candidate or run).path}:cand"]
        return command(*sides, "--config", str(energy), *more)[0]

    assert (code(run), code(dear), code(noisy), code(run, candidate=dear)) == (0, 1, 3, 4)
    assert (code(noisy, "--on-inconclusive", "warn"), code(noisy, "--on-inconclusive", "fail")) == (0, 1)
    assert code(dear, "--on-inconclusive", "warn") == 1
    energy.write_text('[gate]\nmax_drop = false\non_inconclusive = "warn"\n', encoding="utf-8")
    assert code(noisy) == 0
    assert code(noisy, "--on-inconclusive", "code") == 3


def test_an_unknown_model_is_wrong_usage_and_an_empty_run_has_no_baseline(make: Make) -> None:
    run, empty = make(), make("empty", change=lambda _cell: None)

    def exits(baseline: str, candidate: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "joulemark.harness.cli", "gate", "--baseline", baseline, "--candidate", candidate],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stderr

    code, told = exits(f"{run.path}:base", f"{run.path}:cant")
    assert (code, len(told.strip().splitlines())) == (2, 1)
    assert "did you mean 'cand'?" in told
    code, told = exits(str(empty.path), str(run.path))
    assert (code, len(told.strip().splitlines())) == (4, 1)
    assert "no finished cell" in told


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("[gate]\nmax_incraese = 0.05", "has no key 'max_incraese'"),
        ("[gate]\nmax_increase = 5", 'write a share, such as "5%" or 0.05, not 5'),
        ('[gate]\nmax_increase = "5 percent"', 'write a share, such as "5%" or 0.05'),
        ("[gate]\nmax_increase = true", "write the limit, or false"),
        ("[gate]\nmax_drop = -1", "max_drop"),
        ("[gate]\nmin_quality = 100", "less than 100"),
        ("[gate]\nmax_wh_per_1k = nan", "max_wh_per_1k"),
        ("[gate]\nalpha = 0.5", "alpha"),
        ("[gate]\nlooks = [6, 4]", "each more than the one before"),
        ("[gate]\nlooks = [1, 4]", "from 2 on"),
        ('[gate]\non_inconclusive = "ignore"', "on_inconclusive"),
        ('[gate.tasks."jm_*"]\nmax_dorp = 1', "max_dorp"),
        ("[gate]\n[gate.tasks]\njm = 5", "gate.tasks.jm"),
        ("gate = 5", "gate is a table"),
        ("[run]\nrepeats = 3", "has no [gate] table"),
        ("[gate", "is no TOML file"),
    ],
)
def test_what_is_wrong_in_the_table_is_told_in_one_line(tmp_path: Path, table: str, told: str) -> None:
    file = tmp_path / "joulemark.toml"
    file.write_text(table + "\n", encoding="utf-8")
    with pytest.raises(UsageError) as problem:
        read_gate_config(file)
    assert told in str(problem.value)
    assert str(file) in str(problem.value)
    assert len(str(problem.value).splitlines()) == 1


def test_the_table_is_read_from_either_file_and_says_what_is_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_gate_config(None) == GateConfig()
    assert GateConfig().limits == Limits(max_increase=0.05, max_drop=2.0)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.joulemark.gate]\nmax_increase = "10%"\nlooks = [4, 6, 10]\n[tool.joulemark.gate.tasks."jm_*"]\n'
        "max_drop = false\n",
        encoding="utf-8",
    )
    found = read_gate_config(None)
    assert found.limits == Limits(max_increase=0.1, max_drop=2.0)
    assert found.limits_of("jm_dates") == Limits(max_increase=0.1)
    (tmp_path / "joulemark.toml").write_text("[gate]\nmax_increase = false\n", encoding="utf-8")
    assert read_gate_config(None).limits == Limits(max_drop=2.0)
    with pytest.raises(UsageError, match="cannot read"):
        read_gate_config(tmp_path / "none.toml")
