"""What `joulemark import` says and refuses, and what an imported run still says of itself after an export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from lmfiles import write_emissions, write_lmeval
from theirs import FILES

from joulemark.harness.importcommand import import_results
from joulemark.harness.importing import formats, import_files
from joulemark.harness.store import Run, read_run
from joulemark.meters.errors import UsageError
from joulemark.reports.exports.lmeval import as_lmeval
from joulemark.reports.exports.openmetrics import as_openmetrics
from joulemark.reports.exports.told import named
from joulemark.reports.views import make_views


def typed(*words: str | Path) -> Result:
    return CliRunner().invoke(import_results, [str(word) for word in words])


def test_the_list_says_of_every_format_what_is_read_and_what_it_never_tells() -> None:
    told = json.loads(typed("--list", "--json").stdout)
    assert [each["name"] for each in told["formats"]] == formats()
    assert all(each["reads"] and each["gives"] and each["never"] for each in told["formats"])
    listed, helped = typed("--list").stdout, typed("--help").stdout
    assert all(name in listed and name in helped for name in formats())
    assert max(map(len, listed.splitlines())) < 80


def test_what_is_not_known_is_told_in_lines_of_a_terminal(tmp_path: Path) -> None:
    told = typed("ai-energy-score", FILES["ai-energy-score"][1], "--out", tmp_path / "run").stderr
    assert told.count("\n- ") > 3
    assert max(map(len, told.splitlines())) < 80


def test_what_is_wrong_with_a_file_is_told_before_that_the_folder_is_used(tmp_path: Path) -> None:
    table = write_emissions(tmp_path)
    import_files("codecarbon", [table], tmp_path / "run")
    with pytest.raises(UsageError, match=r"run holds a run already; name another folder with --out\.$"):
        import_files("codecarbon", [table], tmp_path / "run")
    table.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="no column timestamp"):
        import_files("codecarbon", [table], tmp_path / "run")


def test_a_time_that_no_file_tells_is_made_up_nowhere(tmp_path: Path) -> None:
    import_files("ai-energy-score", FILES["ai-energy-score"][1:], tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.header.created_at is None
    assert {cell.started_at for cell in run.cells} == {None}
    assert run.header.plan["imported"]["at"]
    assert "When it was measured is not told, or not in a known time zone." in run.header.plan["imported"]["missing"]
    entrant = next(iter(named(run, None)))
    assert json.loads(as_lmeval(run, entrant))["date"] is None
    assert b"run_created" not in as_openmetrics(run)


def test_files_that_tell_no_time_are_named_where_others_tell_theirs(tmp_path: Path) -> None:
    timed = Path(__file__).parent / "data/mlenergy/results.json"
    missing = import_files("ml-energy", [*FILES["ml-energy"], timed], tmp_path / "run").missing
    when = "When what is in lm-arena-chat.json, pictures.json was measured is not told, or not in a known time zone."
    assert when in missing
    assert not any(sentence.startswith("When it was") for sentence in _of(timed, tmp_path))


def _of(file: Path, folder: Path) -> tuple[str, ...]:
    return import_files("ml-energy", [file], folder / "alone").missing


def test_out_is_told_to_be_required() -> None:
    assert "[required, but for --list]" in typed("--help").stdout


def test_a_setting_that_files_do_not_tell_is_not_called_one_that_is_not_set(tmp_path: Path) -> None:
    told = json.loads(FILES["ml-energy"][0].read_text())
    told["configurations"] = told["configurations"][:1]
    for name, tokens in (("silent", None), ("short", 8), ("long", 64)):
        told["configurations"][0]["max_output_tokens"] = tokens
        (tmp_path / f"{name}.json").write_text(json.dumps(told))
    files = [tmp_path / f"{name}.json" for name in ("silent", "short", "long")]
    import_files("ml-energy", files, tmp_path / "run")
    titles = {view.peculiar for view in make_views([read_run(tmp_path / "run")], task="all")}
    assert titles == {"max gen toks not told", "max gen toks 8", "max gen toks 64"}
    # Of another task nobody expects to be asked alike.
    import_files("ml-energy", [files[0]], tmp_path / "one")
    told["task"] = "another"
    files[1].write_text(json.dumps(told))
    import_files("ml-energy", [files[1]], tmp_path / "other")
    both = make_views([read_run(tmp_path / "one"), read_run(tmp_path / "other")], task="all")
    assert not any("not" in view.peculiar for view in both)


def test_a_time_that_a_file_tells_is_that_of_the_run(tmp_path: Path) -> None:
    import_files("lm-eval", [write_lmeval(tmp_path)], tmp_path / "run")
    header = read_run(tmp_path / "run").header
    assert header.created_at == "2026-03-01T10:00:00.500+00:00"
    assert header.plan["imported"]["at"] > header.created_at


@pytest.mark.parametrize("name", [*FILES, "codecarbon"])
def test_what_a_file_does_not_say_is_known_after_an_export_and_an_import_too(name: str, tmp_path: Path) -> None:
    import_files(name, FILES.get(name) or [write_emissions(tmp_path)], tmp_path / "run")
    run = read_run(tmp_path / "run")
    for number, entrant in enumerate(named(run, None)):
        once, back = exported_and_imported(run, entrant, tmp_path / f"a{number}")
        twice, again = exported_and_imported(back, None, tmp_path / f"b{number}")
        assert {**twice, "joulemark": ""} == {**once, "joulemark": ""}
        # What an entrant is called depends on who is beside it.
        own = {"run_id": "", "label": ""}
        assert {**twice["joulemark"], **own} == {**once["joulemark"], **own}
        for other in (back, again):
            assert other.header.plan["imported"]["missing"] == run.header.plan["imported"]["missing"]
            [origin] = other.header.plan["imported"]["origins"]
            assert origin == run.header.plan["imported"]
            assert other.header.created_at == run.header.created_at
            assert all({"imported", "no_items"} <= set(cell.flags) for cell in other.cells)
            notes = [note for view in make_views([other]) for note in view.notes]
            assert any(f"files of {name}, and not measured by Joulemark" in note for note in notes)


def exported_and_imported(run: Run, entrant: str | None, folder: Path) -> tuple[dict[str, Any], Run]:
    """The results of lm-eval's form, and the run that they become."""
    folder.mkdir()
    (folder / "results.json").write_bytes(as_lmeval(run, entrant))
    import_files("lm-eval", [folder / "results.json"], folder / "run")
    content: dict[str, Any] = json.loads((folder / "results.json").read_bytes())
    return content, read_run(folder / "run")
