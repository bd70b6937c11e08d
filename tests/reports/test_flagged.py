"""Flags in a report: each once, with whose it is and where."""

from __future__ import annotations

from collections.abc import Callable

from joulemark.harness.record import Cell
from joulemark.harness.store import Run
from joulemark.reports.documents import as_markdown, short_titles
from joulemark.reports.flagged import flags_together
from joulemark.reports.html import page
from joulemark.reports.views import make_views

Make = Callable[..., Run]


def test_a_flag_that_all_have_everywhere_is_told_once(make_run: Make) -> None:
    models = {f"m{n}": (0.5 + 0.1 * n, 0.001, 9) for n in range(4)}
    run = make_run(models=models, change=lambda c: c.model_copy(update={"flags": ("busy_machine",)}))
    views = make_views([run])
    [(words, told)] = flags_together(views, short_titles(views))
    assert told == [("all 4 entrants", "in all tables")]
    assert page(views, [run]).count(words) == as_markdown(views, [run]).count(words) == 1


def test_flags_are_told_by_who_has_them_and_where(make_run: Make) -> None:
    def busy(cell: Cell) -> Cell:
        own = cell.task == "dates" and cell.model != "ngram"
        return cell.model_copy(update={"flags": ("throttled",) if own else ()})

    views = make_views([make_run(tasks=("dates", "sums", "units"), change=busy)])
    [(words, told)] = flags_together(views, short_titles(views))
    assert words.startswith("heat held")
    [(who, where)] = told
    assert set(who.split(" and ")) == {"dense-60k", "dense-240k"}
    assert where == "in dates"


def test_rows_of_several_tables_that_share_a_label_are_said_once_with_how_many_they_are(make_run: Make) -> None:
    """One model of three runs on machines of their own: each table calls it by its name alone."""

    def heat(cell: Cell) -> Cell:
        return cell.model_copy(update={"flags": ("throttled",) if cell.machine_id != "m-3" else ()})

    models = {"mine": (0.7, 0.001, 9)}
    runs = [
        make_run(f"run-{n}", models=models, machine={"machine_id": f"m-{n}", "cpu_model": f"CPU {n}"}, change=heat)
        for n in (1, 2, 3)
    ]
    views = make_views(runs)
    assert {row.label for view in views for row in view.rows} == {"mine"}
    [(_, told)] = flags_together(views, short_titles(views))
    assert told == [("mine (2 of 3)", "in all tables")]
