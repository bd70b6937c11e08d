"""Results that are here twice: a run of ours beside what was exported of it, and files that were imported twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lmfiles import write_emissions, write_lmeval

from joulemark.harness.importing import import_files
from joulemark.harness.record import Cell
from joulemark.harness.store import Run, read_run
from joulemark.meters.errors import UsageError
from joulemark.reports.compare import compare
from joulemark.reports.comparewords import notes
from joulemark.reports.documents import as_json
from joulemark.reports.entrants import gather
from joulemark.reports.exports.lmeval import as_lmeval, samples_of
from joulemark.reports.views import ALL, make_views

Make = Callable[..., Run]
DATA = Path(__file__).parents[1] / "formats" / "data" / "mlenergy"


def metered(cell: Cell) -> Cell:
    """With the joules of its one meter told by themselves, as a real cell has them."""
    assert cell.energy is not None
    domains = {"modelled:cpu": cell.energy.gross_j}
    return cell.model_copy(update={"energy": cell.energy.model_copy(update={"domains": domains})})


@pytest.fixture
def brought_back(tmp_path: Path) -> Callable[..., Run]:
    """Export an entrant of a run, with its samples, and import that again."""

    def bring(run: Run, model: str, name: str) -> Run:
        folder = tmp_path / f"files-of-{name}"
        folder.mkdir()
        contents = {"results.json": as_lmeval(run, model), **samples_of(run, model)}
        for file, content in contents.items():
            (folder / file).write_bytes(content)
        import_files("lm-eval", [folder / file for file in contents], tmp_path / name)
        return read_run(tmp_path / name)

    return bring


def test_a_run_beside_what_was_exported_of_it_is_ranked_as_if_it_were_alone(
    make_run: Make, brought_back: Callable[..., Run]
) -> None:
    run = make_run(change=metered)
    copy = brought_back(run, "dense-60k", "copy")
    alone, both = make_views([run]), make_views([copy, run])
    assert [view.rows for view in both] == [view.rows for view in alone]
    [note] = {*both[0].notes} - {*alone[0].notes}
    assert note == "copy's dense-60k is what Joulemark exported of run run-1, which is here as well: it is left out."
    assert as_json(make_views([run, copy])) == as_json(both), "in whichever order"


def test_what_was_exported_of_another_run_stays_beside_it(make_run: Make, brought_back: Callable[..., Run]) -> None:
    other = brought_back(make_run("other", seed=2, change=metered), "dense-60k", "copy")
    rows = make_views([make_run(change=metered), other], task=ALL)[0].rows
    assert [row.run_id for row in rows if row.model == "dense-60k"].count(other.header.run_id) == 1
    assert len(rows) == 4


def test_two_copies_of_one_run_count_as_one_and_a_copy_of_a_copy_too(
    make_run: Make, brought_back: Callable[..., Run]
) -> None:
    run = make_run(change=metered)
    first = brought_back(run, "dense-60k", "first")
    second = brought_back(first, "dense-60k", "second")
    assert first.header.run_id != second.header.run_id
    [view] = make_views([first, second], task=ALL)
    [row] = view.rows
    assert row.label == "dense-60k"
    assert any("what Joulemark exported of run run-1, of which" in note for note in view.notes)


def test_exports_of_two_models_of_one_run_are_not_said_to_be_measured_in_two(
    make_run: Make, brought_back: Callable[..., Run]
) -> None:
    run = make_run(change=metered)
    parts = [brought_back(run, model, f"of-{model}") for model in ("dense-60k", "dense-240k")]
    [view] = make_views(parts, task=ALL)
    assert not any("Measured in" in note for note in view.notes)
    assert any("No file tells whether these entrants were measured together" in note for note in view.notes)
    sides = [gather([part])[0] for part in parts]
    assert not any("Measured in" in note for note in notes(compare(*sides), "dense-60k", "dense-240k"))


def test_of_two_copies_that_stays_which_tells_more(make_run: Make, brought_back: Callable[..., Run]) -> None:
    """As two exports of a run that went on between them."""
    begun = make_run("begun/run", run_id="run", change=lambda cell: metered(cell) if cell.task == "dates" else None)
    done = make_run("done/run", run_id="run", change=metered)
    few, more = (brought_back(run, "dense-60k", name) for run, name in ((begun, "few"), (done, "more")))
    rows = [row for view in make_views([few, more]) for row in view.rows]
    assert {row.run_id for row in rows} == {more.header.run_id}


def test_a_file_that_was_imported_twice_with_others_counts_once_and_all_of_the_larger_import_stay(
    tmp_path: Path,
) -> None:
    few, more = [DATA / "lm-arena-chat.json"], [DATA / "lm-arena-chat.json", DATA / "pictures.json"]
    for name, files in (("few", few), ("more", more)):
        import_files("ml-energy", files, tmp_path / name)
    runs = [read_run(tmp_path / name) for name in ("few", "more")]
    views = make_views(runs)
    assert {row.run_id for view in views for row in view.rows} == {runs[1].header.run_id}
    [note] = [note for note in views[0].notes if "left out" in note]
    assert note.startswith("few's ")
    assert note.endswith("are read from files that more was read from as well: they are left out.")


def test_two_results_that_share_a_file_of_energies_alone_are_two(tmp_path: Path) -> None:
    """As two evaluations beside one emissions.csv: what they share is not where their answers are from."""
    emissions = write_emissions(tmp_path)
    runs = []
    for name, right in (("good", 30), ("poor", 20)):
        answers = {"sums": [True] * right + [False] * (40 - right), "easy": [True] * 15 + [False] * 5}
        file = write_lmeval(tmp_path / name, answers)
        import_files("lm-eval", [file, emissions], tmp_path / f"of-{name}")
        runs.append(read_run(tmp_path / f"of-{name}"))
    (first, second) = (gather([run])[0] for run in runs)
    assert first.sources & second.sources
    assert len(make_views(runs, task=ALL)[0].rows) == 2
    assert len(make_views(runs, task="easy")[0].rows) == 2, "that they answer one task equally well is no proof"


@pytest.mark.parametrize("turned", [False, True])
def test_a_copy_is_not_compared_with_what_it_was_made_of(
    make_run: Make, brought_back: Callable[..., Run], turned: bool
) -> None:
    run = make_run(change=metered)
    copy = brought_back(run, "dense-60k", "copy")
    [own] = [entrant for entrant in gather([run]) if entrant.model == "dense-60k"]
    sides = [own, *gather([copy])]
    with pytest.raises(UsageError, match="dense-60k of copy is what Joulemark exported of run run-1, which is here"):
        compare(*(reversed(sides) if turned else sides))


def test_what_an_import_has_of_another_run_is_no_copy_of_the_run_that_it_has_more_of(
    make_run: Make, tmp_path: Path
) -> None:
    """An import of two runs' exports says of all its results that they are of both."""
    runs = [make_run(name, seed=seed, change=metered) for name, seed in (("one", 1), ("two", 2))]
    files = []
    for run, model in zip(runs, ("dense-60k", "dense-240k"), strict=True):
        folder = tmp_path / f"files-of-{model}"
        folder.mkdir()
        for file, content in {"results.json": as_lmeval(run, model), **samples_of(run, model)}.items():
            (folder / file).write_bytes(content)
        files += sorted(folder.iterdir())
    import_files("lm-eval", files, tmp_path / "both")
    both = read_run(tmp_path / "both")
    [view] = make_views([runs[0], both], task=ALL)
    kept = [row.model for row in view.rows if row.run_id == both.header.run_id]
    assert kept == ["dense-240k"], "run two's dense-240k is not run one's"


def test_of_a_model_from_two_runs_only_the_tasks_of_the_run_that_is_here_are_left_out(
    make_run: Make, tmp_path: Path
) -> None:
    runs = [make_run(f"run-{task}", tasks=(task,), change=metered) for task in ("dates", "units")]
    files = []
    for run in runs:
        folder = tmp_path / f"files-of-{run.path.name}"
        folder.mkdir()
        for file, content in {"results.json": as_lmeval(run, "dense-60k"), **samples_of(run, "dense-60k")}.items():
            (folder / file).write_bytes(content)
        files += sorted(folder.iterdir())
    import_files("lm-eval", files, tmp_path / "both")
    both = read_run(tmp_path / "both")
    views = {task: make_views([runs[0], both], task=task)[0] for task in ("dates", "units")}
    assert [row.model for row in views["units"].rows] == ["dense-60k"]
    assert all(row.run_id == runs[0].header.run_id for row in views["dates"].rows)
    told = (
        "both's dense-60k on dates is what Joulemark exported of run run-dates, which is here as well: it is left out."
    )
    assert told in views["dates"].notes


def test_exports_of_one_measurement_that_was_metered_twice_are_no_further_repeats(
    make_run: Make, tmp_path: Path
) -> None:
    def anew(cell: Cell) -> Cell:
        """As remetered by another trace: a tenth more."""
        told = metered(cell)
        assert told.energy is not None
        energy = {name: 1.1 * getattr(told.energy, name) for name in ("gross_j", "net_j", "idle_j", "u_j")}
        energy["domains"] = {name: 1.1 * joules for name, joules in told.energy.domains.items()}
        return told.model_copy(update={"energy": told.energy.model_copy(update=energy)})

    for name, change in (("once", metered), ("again", anew)):
        (tmp_path / f"{name}.json").write_bytes(as_lmeval(make_run(f"run-{name}", change=change), "dense-60k"))
    with pytest.raises(UsageError, match=r"again\.json: of dense-60k on \w+ it has the same measurement as once\.json"):
        import_files("lm-eval", [tmp_path / "once.json", tmp_path / "again.json"], tmp_path / "both")


def test_an_export_without_its_samples_is_a_copy_as_well(make_run: Make, tmp_path: Path) -> None:
    run = make_run(change=metered)
    (tmp_path / "results.json").write_bytes(as_lmeval(run, "dense-60k"))
    import_files("lm-eval", [tmp_path / "results.json"], tmp_path / "copy")
    [view] = make_views([run, read_run(tmp_path / "copy")], task=ALL)
    assert len({row.run_id for row in view.rows}) == 1


def test_results_whose_tasks_have_other_examples_are_found_to_be_the_same(tmp_path: Path) -> None:
    """An export has its tasks in another order than the file, and with it another first one."""
    shots = {"sums": 5, "counts": 0}
    file = write_lmeval(tmp_path / "theirs", {"sums": [True] * 30 + [False] * 10, "counts": [True] * 5 + [False] * 15},
                        change={"n-shot": shots})  # fmt: skip
    import_files("lm-eval", [file], tmp_path / "first")
    first = read_run(tmp_path / "first")
    label = gather([first])[0].model
    folder = tmp_path / "ours"
    folder.mkdir()
    for name, content in {"results.json": as_lmeval(first, label), **samples_of(first, label)}.items():
        (folder / name).write_bytes(content)
    import_files("lm-eval", sorted(folder.iterdir()), tmp_path / "second")
    views = make_views([first, read_run(tmp_path / "second")])
    assert all(len(view.rows) == 1 for view in views)
