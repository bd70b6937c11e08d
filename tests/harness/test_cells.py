"""What a cell tells of tasks with more than one metric and of models that choose what they compute."""

import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.harness.cells import energy_of
from joulemark.harness.models import card
from joulemark.harness.record import Cell
from joulemark.harness.store import Run, read_run
from joulemark.meters.types import EnergyRecord
from joulemark.tasks import reference

from .conftest import call

MODELS = ("ref/dense-60k", "ref/exit-800k-t90", "ref/cascade-60k-800k")
ROWS = list(map(json.loads, (Path(reference.__file__).parent / "data" / "abstention.jsonl").read_text().splitlines()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("choosy") / "run"
    models = [part for name in MODELS for part in ("-m", name)]
    chosen = ("-t", "jm_abstention", "--limit", "40", "--repeats", "1", "--batch-size", "4", "--meter", "modelled")
    done = call("run", *models, *chosen, "--out", path)
    assert done.returncode == 0, done.stderr
    return read_run(path)


def cell_of(run: Run, model: str) -> tuple[Cell, pd.DataFrame]:
    [cell] = [cell for cell in run.cells if cell.model == model]
    items = run.items()
    return cell, items[items["cell_id"] == cell.cell_id].sort_values("doc_id")


@pytest.mark.parametrize("model", MODELS)
def test_a_cell_of_an_abstention_task_tells_made_up_answers_and_refusals_apart(run: Run, model: str) -> None:
    cell, items = cell_of(run, model)
    assert cell.metric == "exact_match"
    assert set(cell.other_metrics) == {"made_up", "over_refusal"}
    absent = items["doc_id"].map(lambda at: ROWS[at]["answer"] == "none")
    assert absent.sum() == 20
    # Where the key is absent, whatever is wrong is made up; where it is present, it may be wrong in other ways.
    assert cell.other_metrics["made_up"] == pytest.approx(1 - items.loc[absent, "score"].mean())
    assert 0 <= cell.other_metrics["over_refusal"] <= 1 - items.loc[~absent, "score"].mean()


def test_a_cell_of_a_cascade_tells_how_often_the_large_model_was_asked(run: Run) -> None:
    cell, items = cell_of(run, "ref/cascade-60k-800k")
    assert cell.computed.layers_per_token is None
    assert cell.computed.escalated == items["escalated"].mean()
    unsure = items["confidence"] < card("cascade-60k-800k")["threshold"]
    assert items["escalated"].tolist() == unsure.tolist()


def test_a_cell_of_a_model_with_early_exits_tells_how_many_layers_a_character_took(run: Run) -> None:
    cell, items = cell_of(run, "ref/exit-800k-t90")
    assert cell.computed.escalated is None
    assert cell.computed.layers_per_token == pytest.approx(items["layers"].sum() / items["generated_tokens"].sum())
    assert 1 < cell.computed.layers_per_token <= card("exit-800k-t90")["shape"]["layers"]


def test_a_cell_of_a_model_that_chooses_nothing_says_so(run: Run) -> None:
    cell, items = cell_of(run, "ref/dense-60k")
    assert (cell.computed.layers_per_token, cell.computed.escalated) == (None, None)
    assert items[["layers", "escalated"]].isna().all(axis=None)


def test_a_model_tells_how_sure_it_was_of_each_answer_without_computing_that_in_the_window(run: Run) -> None:
    _, small = cell_of(run, "ref/dense-60k")
    _, both = cell_of(run, "ref/cascade-60k-800k")
    # The cascade decides by the same number, so that it computes it while it answers.
    assert small["confidence"].to_numpy() == pytest.approx(both["confidence"].to_numpy(), rel=1e-6)
    _, exits = cell_of(run, "ref/exit-800k-t90")
    assert exits["confidence"].between(0, 1, inclusive="right").all()


def test_a_cascades_items_carry_what_both_of_its_models_took(run: Run) -> None:
    _, small = cell_of(run, "ref/dense-60k")
    _, both = cell_of(run, "ref/cascade-60k-800k")
    more = both["generated_tokens"].to_numpy() - small["generated_tokens"].to_numpy()
    assert ((more > 0) == both["escalated"].to_numpy()).all()


def window(gross_j: float, u_j: float, window_s: float) -> EnergyRecord:
    return EnergyRecord(
        gross_j=gross_j,
        u_j=u_j,
        began_ns=0,
        window_s=window_s,
        grade="counter",
        scope="package",
        domains={"rapl:package-0": gross_j},
        rel_u_scale=0.02,
        rel_u_workload=0.0,
    )


ERRORS = st.floats(0, 10)


@given(u_first=ERRORS, u_second=ERRORS, u_idle=ERRORS, idle_s=st.floats(1, 100))
def test_net_energy_carries_the_errors_of_its_windows_and_of_idle_power_or_is_none(
    u_first: float, u_second: float, u_idle: float, idle_s: float
) -> None:
    cell = energy_of([window(60, u_first, 2), window(90, u_second, 3)], window(5 * idle_s, u_idle, idle_s), loops=1)
    expected = (u_first**2 + u_second**2 + (u_idle / idle_s * 5) ** 2) ** 0.5
    if 2 * expected < 150 - 25:
        assert cell.net_j == pytest.approx(125)
        assert cell.u_net_j == pytest.approx(expected)
    else:
        assert cell.net_j is None
        assert cell.u_net_j is None
