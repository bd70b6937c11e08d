"""What is said of imported runs, wherever it is read: in titles, comparisons, gates, cards and names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from lmfiles import write_lmeval

from joulemark.harness.importing import import_files
from joulemark.harness.record import Cell
from joulemark.harness.store import Run, read_run
from joulemark.meters.errors import Incomparable, UsageError
from joulemark.reports.asides import pace
from joulemark.reports.commands import compare, rank
from joulemark.reports.documents import as_markdown, view_title
from joulemark.reports.exportcommand import export
from joulemark.reports.exports.modelcard import as_model_card
from joulemark.reports.findings import finding, grade_sentence, headline, interval_sentence
from joulemark.reports.gatecommands import gate
from joulemark.reports.html import page
from joulemark.reports.names import name_entrants
from joulemark.reports.pairing import side_of
from joulemark.reports.provenance import describe_run
from joulemark.reports.views import ALL, make_views

Make = Callable[..., Run]
DATA = Path(__file__).parents[1] / "formats" / "data"


@pytest.fixture
def brought(tmp_path: Path) -> Callable[..., Run]:
    """Import files into a run of this name."""

    def bring(form: str, name: str, *files: Path) -> Run:
        import_files(form, files, tmp_path / name)
        return read_run(tmp_path / name)

    return bring


@pytest.fixture
def served(brought: Callable[..., Run]) -> Run:
    """Three results of ML.ENERGY, two of them of one model in two settings."""
    return brought("ml-energy", "theirs", DATA / "mlenergy/lm-arena-chat.json")


@pytest.fixture
def scored(brought: Callable[..., Run]) -> Run:
    """Energy of the AI Energy Score: two models, one task."""
    return brought("ai-energy-score", "scores", DATA / "energyscore/text_gen_energyscore.csv")


def test_what_joulemark_measured_comes_first_though_files_have_more_tasks(
    make_run: Make, served: Run, scored: Run
) -> None:
    views = make_views([scored, served, make_run(tasks=("dates",))])
    for part in ([v for v in views if v.task == ALL], [v for v in views if v.task != ALL]):
        assert [view.all_imported for view in part] == sorted(view.all_imported for view in part)
    assert "(imported)" not in headline(views[0])
    assert all(headline(view).endswith(" (imported)") for view in views if view.all_imported)


def test_each_title_of_what_was_imported_names_the_run_and_each_table_has_its_energy(
    make_run: Make, served: Run, scored: Run
) -> None:
    runs = [make_run(), served, scored]
    views = make_views(runs)
    for view in views:
        names = sorted({f.entrant.run_name for f in view.figures})
        assert view_title(view).endswith(f" (imported: {names[0]})") == (names != ["run-1"])
    text, shown = as_markdown(views, runs), page(views, runs)
    sections = [part for part in re.split(r"\n## ", text) if "(imported: " in part.partition("\n")[0]]
    assert len(sections) == len([view for view in views if view.all_imported and view.task == ALL])
    assert all("\nEnergy: " in part for part in sections)
    assert f"All of this is of the first of 4 tables: {view_title(views[0])}." in shown
    assert "the first of" not in page(make_views(runs[:1]), runs[:1])


def test_two_that_no_question_compares_are_told_so_and_not_that_they_were_asked_otherwise(scored: Run) -> None:
    sides = [f"{scored.path}:made/{name}" for name in ("large", "small")]
    told = str(CliRunner().invoke(compare, sides).exception)
    assert "were asked the same, but what came of single questions is not known of both, nor how far off" in told


def test_a_gate_says_that_a_run_was_imported_and_nothing_else_of_it(make_run: Make, scored: Run) -> None:
    whole = ["--baseline", str(scored.path), "--candidate", str(scored.path)]
    done = CliRunner().invoke(gate, whole, terminal_width=200)
    assert done.stdout.startswith("Incomparable: scores was imported, so nothing was judged of each model against")
    assert "the very same cells" not in done.stdout
    assert done.stdout.count("scores was imported, and a gate judges what `joulemark run` measured") == 1
    own = make_run()
    mixed = ["--baseline", f"{own.path}:ngram", "--candidate", f"{scored.path}:made/large"]
    done = CliRunner().invoke(gate, mixed, terminal_width=200)
    assert "again-1" not in done.stdout, "nothing is measured anew that is not gated then"
    assert "more than the model differs" not in done.stdout


def test_flags_of_two_runs_with_one_model_say_whose_they_are(tmp_path: Path, brought: Callable[..., Run]) -> None:
    runs = []
    for name, samples in (("with", True), ("without", False)):
        file = write_lmeval(tmp_path / f"files-{name}", {"sums": [True] * 9 + [False] * 3}, samples=samples)
        runs.append(brought("lm-eval", name, file, *file.parent.glob("*.jsonl")))
    sides = ["--baseline", str(runs[0].path), "--candidate", str(runs[1].path)]
    text = " ".join(CliRunner().invoke(gate, sides, terminal_width=200).stdout.split())
    assert "made/small of without: no quality for sums" in text


def test_the_block_of_a_card_says_by_itself_that_it_was_imported(make_run: Make, served: Run) -> None:
    def metrics(run: Run, model: str) -> list[dict[str, object]]:
        block = yaml.safe_load(as_model_card(run, model).split(b"---\n")[1])
        return [metric for result in block["model-index"][0]["results"] for metric in result["metrics"]]

    assert metrics(served, "made/moe-30b")
    assert all(metric["args"]["imported"] == "ml-energy" for metric in metrics(served, "made/moe-30b"))  # type: ignore[index]
    assert not any("imported" in str(metric) for metric in metrics(make_run(), "ngram"))


def test_an_entrant_may_be_named_in_either_of_its_forms_in_tables(served: Run, make_sweep: Make) -> None:
    runs = [served, make_sweep({"batch_size": (1, 8), "threads": (1, 2)}, {"mine": (0.7, 0.001, 1)})]
    for run in runs:
        entrants = list(side_of(run, None).entrants.values())
        for name, entrant in zip(name_entrants(entrants), entrants, strict=True):
            for text in (name.full, name.short):
                [found] = side_of(run, text).entrants.values()
                assert found.setting == entrant.setting
    with pytest.raises(UsageError, match="in 2 settings"):
        side_of(runs[1], "mine bs=8")
    with pytest.raises(UsageError, match="has no model"):
        side_of(runs[1], "mine bs=9 t=1")


def test_times_of_answers_from_files_are_not_said_to_be_of_a_first_pass(
    make_run: Make, brought: Callable[..., Run]
) -> None:
    theirs = brought("ml-energy", "theirs", DATA / "mlenergy/results.json")
    views = make_views([make_run(), theirs])
    told = {view.all_imported: aside.note for view in views if (aside := pace(view))}
    assert told[False].startswith("Of the first pass over the questions.")
    assert told[True].startswith("As the files have it")


def test_that_energy_is_missing_is_said_once(tmp_path: Path, brought: Callable[..., Run]) -> None:
    file = write_lmeval(tmp_path / "files", {"sums": [True] * 30 + [False] * 10})
    run = brought("lm-eval", "run", file, *file.parent.glob("*.jsonl"))
    [view, _] = make_views([run])
    assert (finding(view), grade_sentence(view)) == ("Nothing is ranked: energy is missing.", "Energy: none.")
    title = CliRunner().invoke(rank, [str(run.path)], terminal_width=200).stdout.splitlines()[1]
    assert title.endswith("| energy: none (imported: run)")


def test_what_has_no_energy_has_no_scope_in_its_title(
    tmp_path: Path, brought: Callable[..., Run], make_run: Make
) -> None:
    file = write_lmeval(tmp_path / "files", {"dates": [True] * 30 + [False] * 10})
    theirs = brought("lm-eval", "theirs", file, *file.parent.glob("*.jsonl"))
    hardware = {
        "machine": {"cpu_model": "Some CPU", "cpu_count": 8, "accelerators": ({"name": "NVIDIA L4", "uuid": "x"},)}
    }
    views = make_views([make_run(tasks=("dates",), **hardware), theirs], task="dates")
    titles = [view_title(view) for view in views]
    assert len(titles) == 2
    assert "no energy" in titles[1]
    assert "none" not in " ".join(titles)
    assert "scope package" in titles[0]


def test_a_run_on_several_nodes_says_on_how_many(make_run: Make) -> None:
    run = make_run(change=lambda cell: cell.model_copy(update={"node": f"n{cell.order % 2}"}))
    assert ("Cells", "18 finished, on 2 nodes") in describe_run(run, None)["facts"]
    one = make_run("one", change=lambda cell: cell.model_copy(update={"node": "n0"}))
    assert ("Cells", "18 finished") in describe_run(one, None)["facts"]


def test_a_folder_that_an_export_makes_is_told(make_run: Make, tmp_path: Path) -> None:
    words = ["csv", str(make_run().path), "-o", str(tmp_path / "new" / "cells.csv")]
    assert CliRunner().invoke(export, words).stdout.rstrip().endswith(", in a new folder")
    assert "new folder" not in CliRunner().invoke(export, words).stdout


def test_models_of_imported_and_own_runs_that_share_no_task_are_still_told_so(make_run: Make) -> None:
    runs = [make_run("one", tasks=("dates",)), make_run("other", tasks=("units",))]
    done = CliRunner().invoke(compare, [f"{run.path}:ngram" for run in runs])
    assert isinstance(done.exception, Incomparable)
    assert "were asked no task in the same way" in str(done.exception)


def test_titles_of_own_runs_do_not_tell_what_the_files_of_others_are_silent_about(
    make_run: Make, brought: Callable[..., Run]
) -> None:
    theirs = brought("optimum-benchmark", "theirs", DATA / "optimum" / "benchmark.json")
    machine = theirs.header.machine
    ours = make_run(machine={"cpu_model": machine.cpu_model, "cpu_count": machine.cpu_count})
    views = make_views([ours, theirs], task=ALL)
    assert len({view.hardware for view in views}) == 1
    assert [view.peculiar for view in views] == ["", ""]


def test_a_run_that_has_nothing_of_the_task_that_is_asked_for_is_named(make_run: Make) -> None:
    runs = [make_run("units-alone", tasks=("units",)), make_run("both", seed=2)]
    [dates] = make_views(runs, task="dates")
    assert "units-alone has nothing of dates." in dates.notes
    [units] = make_views(runs, task="units")
    assert not any("has nothing of" in note for note in units.notes)


def test_unlike_numbers_of_repeats_are_both_told(make_run: Make) -> None:
    def cut_short(cell: Cell) -> Cell | None:
        return None if cell.model == "ngram" and cell.repeat > 1 else cell

    [view] = make_views([make_run(repeats=4, change=cut_short)], task="dates")
    assert "energy over 2 to 4 repeats" in interval_sentence(view)
