"""How much of its plan a run has measured, whatever became of its servers and of the version that wrote it."""

from __future__ import annotations

from collections.abc import Callable

from joulemark.harness.record import Cell
from joulemark.harness.store import Run
from joulemark.reports.documents import as_json, as_markdown
from joulemark.reports.html import page
from joulemark.reports.progress import progress
from joulemark.reports.views import make_views

from .conftest import planned

Make = Callable[..., Run]
TWO = {"small": (0.6, 0.001, 1000), "large": (0.8, 0.004, 9000)}


def test_a_run_whose_server_and_command_are_gone_is_counted_as_ever(make_sweep: Make) -> None:
    def as_servers_are_asked(cell: Cell) -> Cell | None:
        told = cell.setting if cell.model == "large" else {k: v for k, v in cell.setting.items() if k != "threads"}
        return None if cell.setting["batch_size"] == 8 else cell.model_copy(update={"setting": told})

    run = make_sweep({"batch_size": (1, 8)}, TWO, change=as_servers_are_asked)
    url = "base_url=http://127.0.0.1:9/v1/completions"
    models = [
        f"small=local-completions:model=m,{url},server_pid=99999999",
        f"large=local-completions:{url},server=/gone",
    ]
    far = progress(planned(run, models=models))
    assert far
    assert (far.finished, far.planned) == (12, 24)


def test_cells_in_settings_that_are_not_the_plans_are_none_of_its_finished_ones(make_run: Make) -> None:
    def otherwise(cell: Cell) -> Cell:
        changed = {**cell.setting, "batch_size": 4}
        return cell.model_copy(update={"setting": changed}) if cell.model == "small" else cell

    far = progress(make_run(models=TWO, change=otherwise))
    assert far
    assert (far.finished, far.planned) == (6, 12)


def test_where_a_plan_cannot_be_counted_nothing_is_called_finished(make_run: Make) -> None:
    def in_threads(cell: Cell) -> Cell:
        return cell.model_copy(update={"setting": {**cell.setting, "threads": 2}})

    runs = {
        "cannot read the plan": planned(make_run("new", models=TWO), a_key_to_come=1),
        "does not name": planned(make_run("bare", models=TWO), repeats=None),
        "other settings": make_run("other", models=TWO, change=in_threads),
    }
    for why, run in runs.items():
        views = make_views([run])
        assert "is measured is not known" in views[0].unfinished[0].sentence
        assert why in views[0].unfinished[0].sentence
        assert as_json(views)["views"][0]["unfinished"]["planned"] is None
        assert as_json(views)["views"][0]["unfinished"]["finished"] == 12
        assert "is not known" in as_markdown(views, [run])
        assert "every cell finished" not in page(views, [run])
        assert "12 measured; of how many is not known" in page(views, [run])


def test_a_soak_has_measured_all_that_its_time_allowed(make_run: Make) -> None:
    run = planned(make_run(models=TWO), repeats=None, soak={"minutes": 1.0, "window_s": 2.0})
    assert progress(run) is None
    assert make_views([run])[0].unfinished == ()
