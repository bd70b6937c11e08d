"""What an export of ours claims is believed only as far as it hangs together: nothing else may be ranked."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from lmfiles import write_emissions, write_lmeval
from made_runs import write_run

from joulemark.harness.formats.lmeval import read
from joulemark.harness.importcommand import import_results
from joulemark.harness.importing import import_files
from joulemark.harness.store import read_run
from joulemark.meters.errors import UsageError
from joulemark.reports.exports.lmeval import as_lmeval, samples_of
from joulemark.reports.views import make_views

Content = dict[str, Any]
ITEMS = 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Content, bytes]:
    """An export of a model on one task, two repeats, and its samples."""
    run = write_run(
        tmp_path_factory.mktemp("own") / "r", {"mine": (0.7, 0.001, 1)}, tasks=("units",), items=ITEMS, repeats=2
    )
    content: Content = json.loads(as_lmeval(run, "mine"))
    for cell in content["joulemark"]["cells"]:
        cell["energy"]["domains"] = {"modelled:cpu": cell["energy"]["gross_j"]}
    return content, samples_of(run, "mine")["samples_units.jsonl"]


@pytest.fixture
def ours(whole: tuple[Content, bytes], tmp_path: Path) -> Callable[..., list[Path]]:
    """Write the export with its block, or its samples, changed."""

    def write(
        change: Callable[[Content], object] = len,
        change_sample: Callable[[Content], object] = len,
        folder: str = "ours",
    ) -> list[Path]:
        content = copy.deepcopy(whole[0])
        change(content["joulemark"])
        samples = [json.loads(line) for line in whole[1].splitlines()]
        for sample in samples:
            change_sample(sample["joulemark"])
        (tmp_path / folder).mkdir()
        results, lines = tmp_path / folder / "results.json", tmp_path / folder / "samples_units.jsonl"
        results.write_text(json.dumps(content), encoding="utf-8")
        lines.write_text("".join(json.dumps(sample) + "\n" for sample in samples), encoding="utf-8")
        return [results, lines]

    return write


def energies(**claim: object) -> Callable[[Content], object]:
    return lambda block: [cell["energy"].update(claim) for cell in block["cells"]]


def cells(**claim: object) -> Callable[[Content], object]:
    return lambda block: [cell.update(claim) for cell in block["cells"]]


def meters(**claim: object) -> Callable[[Content], object]:
    return lambda block: [meter.update(claim) for meter in block["stations"][0]["meters"]]


def test_an_export_that_hangs_together_is_ranked(ours: Callable[..., list[Path]], tmp_path: Path) -> None:
    import_files("lm-eval", ours(), tmp_path / "run")
    [row] = make_views([read_run(tmp_path / "run")], task="units")[0].rows
    assert (row.rank, row.repeats, row.items) == (1, 2, ITEMS)


def test_a_cells_own_rounding_by_a_measuring_meter_may_be_less_than_its_meters(ours: Callable[..., list[Path]]) -> None:
    """A trace that was rounded, or a plug: what the moment's power makes of its steps."""
    counted = [meters(grade="counter", rel_u_workload=5.4e-5), energies(grade="counter", rel_u_workload=2.4e-5)]
    found = read(ours(lambda block: [change(block) for change in counted]))
    assert {result.energy.rel_u_workload for result in found.results if result.energy} == {2.4e-5}


def test_a_metric_of_which_nobody_tells_how_it_is_made_of_questions_is_taken(ours: Callable[..., list[Path]]) -> None:
    found = read(ours(cells(metric="balanced_acc", accuracy=0.5, chance=0.0, quality=50.0)))
    assert {result.accuracy for result in found.results} == {0.5}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (energies(domains={}), "not told to be of meters of its machine"),
        (energies(domains={"another": 1.0}), "not told to be of meters of its machine"),
        (energies(domains={"modelled:cpu": 1e-3}), "does not add up to its energy"),
        (energies(grade="wall"), "has not the grade of its meters"),
        (energies(scope="package+dram"), "has not the scope of its meters"),
        (energies(rel_u_scale=0.0), "a smaller error than its meters"),
        (energies(rel_u_workload=None), "a part of its energy's error alone"),
        (energies(net_j=1e-3), "net and idle energy do not add up"),
        (energies(window_s=5e-324), "is of no time at all"),
        (meters(rel_u=None), "an error that its meters do not tell"),
        (meters(rel_u_scale=None), "an error that its meters do not tell"),
        (meters(rel_u_workload=None), "an error that its meters do not tell"),
        (meters(grade_told=False), "an error that its meters do not tell"),
        (meters(summed=False), "has not the grade of its meters"),
        (cells(flags=["mean_answer"]), "of how many answers it is nobody knows"),
        (cells(flags=["outside_meter"]), "where no meter looks has energy"),
        (cells(quality=100.0), "is not what comes of its accuracy and chance"),
        (cells(chance=1.0), "without the accuracy and the chance"),
        (cells(tokens={"prompt": -1}), "or less than none"),
        (cells(tokens={"prompt": 10**400}), "more items, tokens or seconds than there can be"),
        (energies(loops=10**400), "less energy for an answer than computing anything takes"),
        (cells(n_items=100 * ITEMS), f"it has {ITEMS} questions, and the results are of 2,000"),
        (cells(accuracy=1.0, chance=0.0, quality=100.0), "mean of its scores is not the accuracy"),
        (lambda block: block["stations"].append(block["stations"][0]), "one machine is there twice"),
    ],
)
def test_what_contradicts_itself_is_refused_in_one_line(
    change: Callable[[Content], object], said: str, ours: Callable[..., list[Path]]
) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        read(ours(change))
    assert "\n" not in str(refused.value)


def test_samples_whose_items_are_none_are_no_items(ours: Callable[..., list[Path]]) -> None:
    results = read(ours(change_sample=lambda own: own.update(items=5))).results
    assert [result.items for result in results] == [None, None]


def test_one_question_many_times_over_is_refused(ours: Callable[..., list[Path]]) -> None:
    with pytest.raises(UsageError, match="one question is there twice"):
        read(ours(change_sample=lambda own: [row.update(doc_id=0) for row in own["items"]]))


def test_a_copy_of_an_export_makes_no_further_repeats(ours: Callable[..., list[Path]], tmp_path: Path) -> None:
    once = ours()
    repeats = [result.repeat for result in read(once).results]
    copied = Path(shutil.copy(once[0], tmp_path / "copy_results.json"))
    told = import_files("lm-eval", [*once, copied], tmp_path / "run")
    assert [result.repeat for result in told.results] == repeats
    assert "copy_results.json is a copy of results.json; it is taken once." in told.missing
    other = ours(lambda block: block.update(label="the same cells, exported once more"), folder="again")
    more = read([*once, *other])
    assert [result.repeat for result in more.results] == repeats
    assert "mine on units is in these files twice; it is taken once." in more.missing


def test_what_joulemark_measured_and_what_it_did_not_make_no_run_together(
    ours: Callable[..., list[Path]], tmp_path: Path
) -> None:
    own, theirs = ours(), write_lmeval(tmp_path / "theirs")
    with pytest.raises(UsageError, match=r"it is lm-eval's own, and results\.json is Joulemark's export"):
        read([*own, theirs])
    with pytest.raises(UsageError, match="leave codecarbon's file out"):
        read([*own, write_emissions(tmp_path)])
    import_files("lm-eval", [theirs], tmp_path / "run")
    back = tmp_path / "back.json"
    back.write_bytes(as_lmeval(read_run(tmp_path / "run"), None))
    with pytest.raises(UsageError, match=r"export of what was imported, and results\.json is .* of what it measured"):
        read([*own, back])


def test_what_only_an_import_has_shown_stays_known_through_an_export_of_it(
    ours: Callable[..., list[Path]], tmp_path: Path
) -> None:
    once = ours()
    copied = Path(shutil.copy(once[0], tmp_path / "copy.json"))
    missing = import_files("lm-eval", [*once, copied], tmp_path / "run").missing
    assert missing
    run, back, samples = read_run(tmp_path / "run"), tmp_path / "back.json", tmp_path / "samples_units.jsonl"
    back.write_bytes(as_lmeval(run, None))
    samples.write_bytes(samples_of(run, "mine")["samples_units.jsonl"])
    assert import_files("lm-eval", [back, samples], tmp_path / "again").missing == missing


def test_an_export_without_its_samples_has_no_quality_and_the_import_says_so(
    ours: Callable[..., list[Path]], tmp_path: Path
) -> None:
    results, samples = ours()
    alone = Path(shutil.copy(results, tmp_path / "alone.json"))
    for named, counted in (([results, samples], "with_quality_and_energy"), ([alone], "with_energy_alone")):
        out = tmp_path / counted
        words = ["lm-eval", *map(str, named), "--out", str(out), "--json"]
        told = json.loads(CliRunner().invoke(import_results, words).stdout)
        assert (told["results"], told[counted]) == (2, 2)
        [row] = make_views([read_run(out)], task="units")[0].rows
        assert (row.quality is None) == any("so there is no quality: units." in each for each in told["missing"])
        assert (row.quality is None) == (named == [alone])
