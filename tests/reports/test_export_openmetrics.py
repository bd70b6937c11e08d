"""OpenMetrics, read by Prometheus' own parser."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from joulemark.harness.record import Cell
from joulemark.harness.store import Run
from joulemark.reports.exports.openmetrics import as_openmetrics
from joulemark.reports.views import make_views

EVIL = 'a"b\\nc\n# EOF\r{x="y"} \u202e7'
Samples = dict[tuple[str, str, str], float]


def read(run: Run, entrant: str | None = None) -> tuple[dict[str, str], Samples]:
    """Units of the metrics, and values by metric, model and task."""
    families = list(text_string_to_metric_families(as_openmetrics(run, entrant).decode()))
    every = [sample for family in families for sample in family.samples]
    told = {(s.name, s.labels.get("model", ""), s.labels.get("task", "")): s.value for s in every}
    assert len({(s.name, *sorted(s.labels.items())) for s in every}) == len(every), "no series twice"
    return {family.name: family.unit for family in families}, told


def test_figures_are_those_of_the_tables_with_units_in_the_names(make_run: Callable[..., Run]) -> None:
    run = make_run()
    units, told = read(run)
    for view in make_views([run]):
        for row in view.rows:
            at = (row.model, view.task)
            assert told["joulemark_quality_points", *at] == row.quality
            assert told["joulemark_energy_per_1k_watthours", *at] == row.energy_wh_per_1k
            assert told["joulemark_energy_per_1k_low_watthours", *at] == row.energy_wh_per_1k_low
            assert told.get(("joulemark_correct_answers_per_watthour", *at)) == row.correct_per_wh
    assert all(name.endswith(f"_{unit}") for name, unit in units.items() if unit)
    assert units["joulemark_energy_per_1k_watthours"] == "watthours"


def test_each_sample_says_what_kind_of_joules_and_which_machine(make_run: Callable[..., Run]) -> None:
    run = make_run()
    text = as_openmetrics(run).decode()
    for line in text.splitlines():
        if line.startswith("joulemark_energy_per_1k"):
            assert 'grade="modelled",scope="package",machine_id="m-1"' in line
    assert f'run_id="{run.header.run_id}"' in text


def test_what_is_missing_has_no_sample(make_run: Callable[..., Run]) -> None:
    def change(cell: Cell) -> Cell:
        return cell.model_copy(update={"energy": None} if cell.model == "ngram" else {"chance": None, "quality": None})

    _, told = read(make_run(change=change))
    energy = {key[1:] for key in told if key[0] == "joulemark_energy_per_1k_watthours"}
    assert {model for model, _ in energy} == {"dense-60k", "dense-240k"}
    assert not any(name.startswith("joulemark_correct") for name, *_ in told)
    assert 0.0 not in {value for (name, *_), value in told.items() if "energy" in name}


def test_a_name_can_neither_end_the_text_nor_forge_a_sample(make_run: Callable[..., Run]) -> None:
    def change(cell: Cell) -> Cell:
        return cell.model_copy(update={"model": EVIL, "task": cell.task + EVIL})

    run = make_run(models={"mine": (0.7, 0.001, 1)}, change=change)
    text = as_openmetrics(run).decode()
    assert text.splitlines().count("# EOF") == 1
    assert text.endswith("# EOF\n")
    _, told = read(run)
    assert {model for name, model, _ in told if name == "joulemark_questions"} == {
        'a"b\\nc\ufffd# EOF\ufffd{x="y"} \ufffd7'
    }


def test_settings_of_one_model_are_told_apart(make_sweep: Callable[..., Run]) -> None:
    run = make_sweep({"batch_size": (1, 8)}, {"mine": (0.7, 0.001, 1)})
    _, told = read(run)
    models = {model for name, model, _ in told if name == "joulemark_repeats"}
    assert models == {"mine (batch_size=1)", "mine (batch_size=8)"}
    _, one = read(run, "mine (batch_size=8)")
    assert {model for name, model, _ in one if name == "joulemark_repeats"} == {"mine (batch_size=8)"}
