"""A keeper's store: nothing invalid enters, nothing is lost, and git can keep it."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from believable import BEGAN, write_believable_run
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from joulemark.harness.cli import cli
from joulemark.leaderboard.audit import audit
from joulemark.leaderboard.findings import Refused
from joulemark.leaderboard.store import Store, add, look_through, read_store
from joulemark.leaderboard.storeindex import Entry, entry_of, in_order, index_schema, index_text, read_index
from joulemark.leaderboard.submission import digest, pack, read_submission
from joulemark.meters.errors import UsageError

PUBLISHED = Path(__file__).parents[2] / "docs" / "store.schema.json"
FORK = multiprocessing.get_context("fork")

Sent = Callable[..., Path]


@pytest.fixture
def sent(tmp_path: Path) -> Sent:
    """Write a submission of a run: begun so many days ago, on a machine of its own name, with other figures."""
    numbers = itertools.count()

    def write(run_id: str = "run-1", *, days_ago: int = 5, host: str = "one", repeats: int = 2, seed: int = 0) -> Path:
        number = next(numbers)
        run = write_believable_run(
            tmp_path / f"measured-{number}",
            ("ref/ngram",),
            ("jm_dates",),
            items=8,
            repeats=repeats,
            run_id=run_id,
            began=BEGAN - timedelta(days=days_ago),
            host=hashlib.sha256(host.encode()).hexdigest()[:12],
            seed=seed,
        )
        file = tmp_path / f"sent-{number}.json"
        file.write_bytes(pack(run))
        return file

    return write


def sealed(content: dict[str, Any], file: Path) -> Path:
    file.write_text(json.dumps(content | {"sha256": digest(content)}), encoding="utf-8")
    return file


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["leaderboard", *map(str, arguments)], standalone_mode=False)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_store_is_an_index_and_the_files_as_they_came(sent: Sent, tmp_path: Path) -> None:
    file = sent()
    done = command("add", file, "--store", tmp_path / "store", "--by", "ann")
    entry = read_store(tmp_path / "store").current[0]
    assert (done.return_value, done.output) == (0, f"{file}: accepted, run run-1: 1 model, 1 task, 2 finished cells.\n")
    assert everything(tmp_path / "store").keys() == {"index.json", f"accepted/{entry.sha256}.json"}
    assert (tmp_path / "store" / "accepted" / f"{entry.sha256}.json").read_bytes() == file.read_bytes()
    assert (entry.run_id, entry.by) == ("run-1", "ann")
    assert datetime.fromisoformat(entry.created_at) == BEGAN - timedelta(days=5)
    assert read_store(tmp_path / "store").read(entry).run.run_id == "run-1"


def test_the_same_file_again_changes_nothing_whoever_sends_it(sent: Sent, tmp_path: Path) -> None:
    file = sent()
    add(tmp_path / "store", file, by="ann")
    before = everything(tmp_path / "store")
    for sender in ("ann", "bob"):
        done = command("add", file, "--store", tmp_path / "store", "--by", sender)
        assert (done.return_value, done.output) == (
            0,
            f"{file}: run run-1 is in the store already; nothing was changed.\n",
        )
    assert everything(tmp_path / "store") == before


def test_all_files_are_tried_and_one_that_is_refused_is_told_by_the_exit_code(sent: Sent, tmp_path: Path) -> None:
    broken = sent("run-2")
    broken.write_text(broken.read_text().replace("ref/ngram", "ref/best"), encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")
    files = [broken, tmp_path / "pipe", sent("run-1"), sent("run-3", host="m-3")]
    done = command("add", *files, "--store", tmp_path / "store")
    said = [line.removeprefix(f"{file}: ") for file, line in zip(files, done.output.splitlines(), strict=True)]
    assert done.return_value == 1
    assert [line.split(":")[0] for line in said] == [
        "refused. changed",
        "refused. not-a-file",
        "accepted, run run-1",
        "accepted, run run-3",
    ]
    assert [entry.run_id for entry in read_store(tmp_path / "store").entries] == ["run-1", "run-3"]


def test_nothing_enters_in_which_validate_finds_anything(sent: Sent, tmp_path: Path) -> None:
    content = json.loads(sent().read_text())
    content["cells"][1]["energy"]["gross_j"] /= 10
    cheat = sealed(content, tmp_path / "cheat.json")
    done = command("add", cheat, "--store", tmp_path / "store")
    assert done.return_value == 1
    assert done.output.startswith(f"{cheat}: refused. ")
    assert done.output.count("\n") == len(audit(read_submission(cheat)))
    assert not (tmp_path / "store").exists()


def test_a_file_that_is_not_there_stops_the_command_before_it_adds_any(sent: Sent, tmp_path: Path) -> None:
    done = command("add", sent(), tmp_path / "typo.json", "--store", tmp_path / "store")
    assert isinstance(done.exception, UsageError)
    assert not (tmp_path / "store").exists()


def test_a_newer_run_of_the_same_key_supersedes_and_the_history_stays(sent: Sent, tmp_path: Path) -> None:
    add(tmp_path / "store", sent("run-1", days_ago=9), by="ann")
    done = command("add", sent("run-2", days_ago=5), "--store", tmp_path / "store", "--by", "ann")
    store = read_store(tmp_path / "store")
    assert (
        f"It supersedes run run-1 of {BEGAN - timedelta(days=9):%Y-%m-%d}, which the store keeps as history."
        in done.output
    )
    assert [entry.run_id for entry in store.current] == ["run-2"]
    assert [(entry.run_id, entry.superseded_by) for entry in store.superseded] == [("run-1", store.current[0].sha256)]
    assert store.read(store.superseded[0]).run.run_id == "run-1"


@pytest.mark.parametrize(("host", "sender"), [("two", "ann"), ("one", "bob"), ("one", None)])
def test_a_run_of_another_machine_or_sender_supersedes_nothing(
    sent: Sent, tmp_path: Path, host: str, sender: str | None
) -> None:
    add(tmp_path / "store", sent("run-1", days_ago=9), by="ann")
    added = add(tmp_path / "store", sent("run-2", days_ago=5, host=host), by=sender)
    assert not added.supersedes
    assert len(read_store(tmp_path / "store").current) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"model": "ref/dense-60k"},
        {"model_args": "revision=2"},
        {"task": "jm_units"},
        {"task_hash": "0123"},
        {"setting": {"batch_size": 2}},
        {"energy": {"grade": "wall"}},
        {"energy": {"scope": "wall"}},
        {"status": "failed"},
    ],
    ids=str,
)
def test_a_key_is_of_models_tasks_settings_and_meters_and_of_nothing_else(sent: Sent, change: dict[str, Any]) -> None:
    def key(change: dict[str, Any], cells: slice = slice(1)) -> str:
        found = read_submission(sent())
        for name, value in change.items():
            if isinstance(value, dict) and name == "energy":
                change = {name: found.cells[0].energy.model_copy(update=value)}
        changed = tuple(cell.model_copy(update=change) for cell in found.cells[cells])
        return entry_of(found.model_copy(update={"cells": changed})).key

    assert key(change) != key({})
    assert key({"accuracy": 0.5, "energy": {"gross_j": 1.0}, "duration_s": 9.0}, slice(3)) == key({})


def test_an_older_run_that_comes_late_becomes_history_and_says_so(sent: Sent, tmp_path: Path) -> None:
    add(tmp_path / "store", sent("run-2", days_ago=5))
    done = command("add", sent("run-1", days_ago=9), "--store", tmp_path / "store")
    assert "It is history: accepted/" in done.output
    assert [entry.run_id for entry in read_store(tmp_path / "store").current] == ["run-2"]


def test_the_same_run_with_other_content_is_refused(sent: Sent, tmp_path: Path) -> None:
    add(tmp_path / "store", sent("run-1"), by="ann")
    before = everything(tmp_path / "store")
    done = command("add", sent("run-1", seed=1), "--store", tmp_path / "store", "--by", "ann")
    assert done.return_value == 1
    assert ": refused. same-run: run.run_id: the store has run run-1 from ann" in done.output
    assert everything(tmp_path / "store") == before


def test_a_run_that_went_on_is_taken_again_from_its_sender_alone(sent: Sent, tmp_path: Path) -> None:
    add(tmp_path / "store", sent(repeats=2), by="ann")
    assert add(tmp_path / "store", sent(repeats=3), by="bob").findings[0].code == "same-run"
    added = add(tmp_path / "store", sent(repeats=3), by="ann")
    assert [entry.cells for entry in added.supersedes] == [2]
    assert [entry.cells for entry in read_store(tmp_path / "store").current] == [3]
    assert add(tmp_path / "store", sent(repeats=1), by="ann").findings[0].code == "same-run"


def test_a_run_cannot_come_back_without_its_worst_repeat(sent: Sent, tmp_path: Path) -> None:
    add(tmp_path / "store", sent(repeats=2), by="ann")
    content = json.loads(sent(repeats=3).read_text())
    content["cells"][0]["duration_s"] += 0.001
    better = sealed(content, tmp_path / "better.json")
    assert [finding.code for finding in add(tmp_path / "store", better, by="ann").findings] == ["same-run"]


def test_a_copy_under_another_id_or_sender_is_refused(sent: Sent, tmp_path: Path) -> None:
    """Else somebody's file would count as a second measurement, or a run come back without its worst repeat."""
    file = sent()
    add(tmp_path / "store", file, by="ann")
    copy = json.loads(file.read_text())
    copy["run"]["run_id"] = "20260101T000000-abcdef"
    copy["cells"] = [cell | {"run_id": copy["run"]["run_id"]} for cell in copy["cells"]]
    for sender in ("ann", "bob"):
        done = command("add", sealed(copy, tmp_path / "copy.json"), "--store", tmp_path / "store", "--by", sender)
        assert done.return_value == 1
        assert "refused. copied: cells: some of its cells were measured at the same moments" in done.output
        assert "run run-1 from ann" in done.output
    assert len(read_store(tmp_path / "store").entries) == 1


def test_who_sent_it_is_a_name_that_no_page_takes_for_more(sent: Sent, tmp_path: Path) -> None:
    for name in ("=1+1", "<b>", "../up", "", "a" * 65, "ann\n"):
        with pytest.raises(UsageError, match="--by takes an account's name"):
            add(tmp_path / "store", sent(), by=name)


def killed_at(line: int, store: Path, file: Path) -> bool:
    """Add a file in another process that is killed as it comes to this line of what writes; whether it was."""
    child = FORK.Process(target=_add_until, args=(line, store, file))
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def _add_until(line: int, store: Path, file: Path) -> None:
    writing = {"_alone", "_opened", "_enter", "replace_file", "_replacing", "_flush_folder"}
    passed = itertools.count()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_name not in writing:
            return None
        if event == "line" and next(passed) == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    add(store, file, by="ann")
    os._exit(0)


def test_an_add_that_is_killed_anywhere_leaves_a_whole_store_and_can_be_repeated(sent: Sent, tmp_path: Path) -> None:
    files = [sent("run-1", days_ago=9), sent("run-2", days_ago=5)]
    other = sent("run-3", host="two")
    for line in itertools.count(step=2):
        store = tmp_path / f"store-{line}"
        killed = [killed_at(line + at, store, file) for at, file in enumerate(files)]
        if not any(killed):
            break
        if (store / "index.json").exists():
            known = {entry.run_id for entry in read_store(store).entries}
            assert {f"run-{at + 1}" for at in (0, 1) if not killed[at]} <= known <= {"run-1", "run-2"}
            assert {finding.code for finding in look_through(store).findings} <= {"store-stray"}
        add(store, other, by="ann")
        assert not [name for name in everything(store) if "/." in f"/{name}"]
        assert [add(store, file, by="ann").findings for file in files] == [(), ()]
        assert [(entry.run_id, entry.by) for entry in read_store(store).current] == [("run-2", "ann"), ("run-3", "ann")]
        assert len(everything(store)) == 4
    assert line > 30


def _add_together(start: Any, store: Path, files: Sequence[Path]) -> None:
    start.wait()
    os._exit(0 if all(not add(store, file).findings for file in files) else 1)


def test_eight_who_add_at_once_lose_nothing_while_another_reads(sent: Sent, tmp_path: Path) -> None:
    start = FORK.Barrier(8)
    shared = sent("shared", host="m-0")
    own = [[sent(f"run-{who}-{at}", host=f"m-{who}-{at}") for at in range(2)] for who in range(8)]
    adding = [FORK.Process(target=_add_together, args=(start, tmp_path / "store", [*some, shared])) for some in own]
    for each in adding:
        each.start()
    while any(each.is_alive() for each in adding):
        if (tmp_path / "store" / "index.json").exists():
            read_store(tmp_path / "store")
    for each in adding:
        each.join()
    store = read_store(tmp_path / "store")
    assert [each.exitcode for each in adding] == [0] * 8
    assert sorted(entry.run_id for entry in store.entries) == sorted(
        ["shared", *(f"run-{who}-{at}" for who in range(8) for at in range(2))]
    )
    assert not store.strays
    assert not look_through(tmp_path / "store").findings


@pytest.fixture
def two(sent: Sent, tmp_path: Path) -> Store:
    """A store of two submissions."""
    for at in (1, 2):
        add(tmp_path / "store", sent(f"run-{at}", host=f"m-{at}"), by="ann")
    return read_store(tmp_path / "store")


def looked(store: Store) -> tuple[int, str]:
    done = command("add", "--store", store.path)
    return done.return_value, done.output


def test_a_sound_store_is_told_to_be_so(two: Store) -> None:
    assert looked(two) == (
        0,
        f"{two.path}: 2 current, 0 superseded; the index agrees with the files; nothing is wrong.\n",
    )


def test_a_file_that_was_edited_is_named(two: Store) -> None:
    file = two.path / "accepted" / f"{two.entries[0].sha256}.json"
    file.write_text(file.read_text().replace("ref/ngram", "ref/best"), encoding="utf-8")
    code, said = looked(two)
    assert code == 1
    assert f"store-changed: accepted/{file.name}: changed: sha256: " in said
    with pytest.raises(Refused, match="store-changed"):
        two.read(two.entries[0])


def test_a_file_in_another_layout_is_still_what_was_accepted(two: Store) -> None:
    entry = two.entries[0]
    file = two.path / "accepted" / f"{entry.sha256}.json"
    before = two.read(entry)
    assert entry.bytes_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_text(json.dumps(json.loads(file.read_text()), indent=1), encoding="utf-8")
    assert two.read(entry) == before
    assert looked(two)[0] == 0
    assert read_store(two.path).read(entry) == before


def test_a_build_takes_the_indexs_word_for_bytes_and_looking_through_the_store_takes_nobodys(two: Store) -> None:
    entry = two.entries[0]
    file = two.path / "accepted" / f"{entry.sha256}.json"
    file.write_text(file.read_text().replace("ref/ngram", "ref/best"), encoding="utf-8")
    forged = entry.model_copy(update={"bytes_sha256": hashlib.sha256(file.read_bytes()).hexdigest()})
    assert "ref/best" in {cell.model for cell in two.read(forged).cells}
    (two.path / "index.json").write_text(index_text([forged, *two.entries[1:]]), encoding="utf-8")
    code, said = looked(two)
    assert code == 1
    assert f"store-changed: accepted/{file.name}: changed: sha256: " in said


def test_a_file_that_was_edited_and_sealed_again_is_named(two: Store) -> None:
    file = two.path / "accepted" / f"{two.entries[0].sha256}.json"
    content = json.loads(file.read_text())
    content["run"]["seed"] = 2
    sealed(content, file)
    code, said = looked(two)
    assert code == 1
    assert f"store-changed: accepted/{file.name}: it is another submission than its name says." in said


def test_a_file_that_nobody_looked_at_is_named(two: Store) -> None:
    """Whoever may write to the store can put a file and its line there: looking through it finds what `add` refuses."""
    entry = two.entries[0]
    old = two.path / "accepted" / f"{entry.sha256}.json"
    content = json.loads(old.read_text())
    content["cells"][0]["energy"]["gross_j"] *= 0.1
    new = sealed(content, two.path / "accepted" / "new")
    sha256 = json.loads(new.read_text())["sha256"]
    new.rename(two.path / "accepted" / f"{sha256}.json")
    old.unlink()
    index = two.path / "index.json"
    index.write_text(index.read_text().replace(entry.sha256, sha256))
    code, told = looked(two)
    assert code == 1
    assert f"store-invalid: accepted/{sha256}.json: sum-net" in told
    assert "put right what is named above" in told.splitlines()[-1]


def test_a_file_that_is_gone_is_named_and_no_board_is_made_without_it(two: Store) -> None:
    (two.path / "accepted" / f"{two.entries[1].sha256}.json").unlink()
    code, said = looked(two)
    assert code == 1
    assert "store-missing: " in said
    assert "(run run-2)" in said
    with pytest.raises(Refused, match="store-missing"):
        read_store(two.path)


def test_a_file_put_there_by_hand_counts_for_nothing_and_can_be_added(two: Store, sent: Sent) -> None:
    content = sent("run-3", host="m-3").read_bytes()
    sha256 = json.loads(content)["sha256"]
    stray = two.path / "accepted" / f"{sha256}.json"
    stray.write_bytes(content)
    assert len(read_store(two.path).entries) == 2
    assert read_store(two.path).strays == (stray.name,)
    code, said = looked(two)
    assert code == 1
    assert (
        f"store-stray: accepted/{stray.name}: index.json does not have it: `joulemark leaderboard add {stray} " in said
    )
    assert add(two.path, stray).entry
    assert looked(two)[0] == 0


def test_an_index_that_was_edited_is_written_as_the_files_have_it(two: Store) -> None:
    index = two.path / "index.json"
    before = index.read_text()
    index.write_text(before.replace('"run_id":"run-1"', '"run_id":"run-9"'), encoding="utf-8")
    assert looked(two) == (0, f"{two.path}: 2 current, 0 superseded; the index was written anew; nothing is wrong.\n")
    assert index.read_text() == before


def test_a_lost_index_is_made_from_the_files_and_reading_needs_none(two: Store) -> None:
    (two.path / "index.json").unlink()
    assert [entry.run_id for entry in read_store(two.path).current] == ["run-1", "run-2"]
    assert not (two.path / "index.json").exists()
    assert looked(two)[0] == 0
    assert [(entry.run_id, entry.by, entry.added_at) for entry in read_store(two.path).entries] == [
        ("run-1", None, None),
        ("run-2", None, None),
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "<<<<<<< HEAD\n" + text,
        lambda text: text.replace("joulemark.store/1", "joulemark.store/2"),
        lambda text: text.replace('"cells":2', '"cells":"many"'),
        lambda text: text.replace(text[3:67], "../../../etc/passwd", 1),
        lambda text: text.replace("{\n", "{\n" + text.splitlines()[1].replace("run-", "run-9") + "\n", 1),
        lambda _: "[]",
    ],
    ids=["conflict marks", "a newer schema", "words for numbers", "a path for a hash", "two lines of one", "a list"],
)
def test_an_index_that_cannot_be_read_is_told_in_one_line_and_left_alone(
    two: Store, sent: Sent, spoil: Callable[[str], str]
) -> None:
    index = two.path / "index.json"
    index.write_text(spoil(index.read_text()), encoding="utf-8")
    spoilt = index.read_bytes()
    for arguments in (["add", "--store", two.path], ["add", sent("run-3"), "--store", two.path]):
        done = command(*arguments)
        assert isinstance(done.exception, Refused)
        assert str(done.exception).startswith("store-index: index.json: ")
        assert "\n" not in str(done.exception)
        assert done.exception.exit_code == 1
    assert index.read_bytes() == spoilt


def test_a_folder_without_a_store_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="is no store"):
        read_store(tmp_path / "empty")
    assert isinstance(command("add", "--store", tmp_path / "empty").exception, UsageError)
    assert not list((tmp_path / "empty").iterdir())


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an index may be written, again and again."""
    return tmp_path_factory.mktemp("index") / "index.json"


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    """Entries of a few keys, days, senders and runs."""
    many = draw(st.integers(0, 8))
    pick = st.sampled_from
    return [
        Entry(
            sha256=f"{at:064x}",
            run_id=draw(pick(("r1", "r2", "=HYPERLINK()", 'a"\n,}'))),
            created_at=draw(pick(("2026-01-05T10:00:00.000+00:00", "2026-01-06T10:00:00.000+00:00"))),
            machine_id="m",
            key=draw(pick(("k1", "k2"))),
            models=1,
            tasks=1,
            cells=draw(pick((1, 2))),
            by=draw(pick((None, "ann"))),
        )
        for at in range(many)
    ]


@given(entries(), st.randoms())
def test_what_supersedes_what_depends_on_no_order_of_adding(some: list[Entry], order: random.Random) -> None:
    shuffled = order.sample(some, len(some))
    found = in_order(some)
    one_by_one: tuple[Entry, ...] = ()
    for entry in shuffled:
        one_by_one = in_order([*one_by_one, entry])
    assert one_by_one == found
    places = {entry.sha256: place for place, entry in enumerate(found)}
    for place, entry in enumerate(found):
        if entry.superseded_by:
            newer = found[places[entry.superseded_by]]
            assert places[entry.superseded_by] > place
            assert entry.by == newer.by
            assert entry.key == newer.key or entry.run_id == newer.run_id
    shown = [(entry.by, what) for entry in found if not entry.superseded_by for what in (entry.key, entry.run_id)]
    assert len(set(shown)) == len(shown)


@given(some=entries())
def test_an_index_says_the_same_when_it_is_read_back_a_line_an_entry(some: list[Entry], index: Path) -> None:
    text = index_text(some)
    index.write_text(text, encoding="utf-8")
    assert read_index(index) == in_order(some)
    assert len(text.splitlines()) == len(some) + 3


def test_the_published_schema_is_that_of_the_code_and_fits_an_index(two: Store) -> None:
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert published == index_schema(), "a key has changed: write json.dumps(index_schema(), indent=2) into the file"
    line = json.loads((two.path / "index.json").read_text())[two.entries[0].sha256]
    assert line.keys() == published["patternProperties"]["^[0-9a-f]{64}$"]["properties"].keys()


def test_git_merges_what_two_people_added_by_taking_the_lines_of_both(sent: Sent, tmp_path: Path) -> None:
    board = tmp_path / "board"

    def git(*arguments: str) -> None:
        told = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *told, *arguments], cwd=board, check=True, capture_output=True)

    def commit(*files: Path) -> None:
        for file in files:
            add(board / "store", file, by="ann")
        git("add", "-A")
        git("commit", "-m", "add")

    board.mkdir()
    git("init", "-b", "main")
    (board / ".gitattributes").write_text("store/index.json merge=union\n")
    commit(sent("first", days_ago=9))
    git("checkout", "-b", "other")
    commit(sent("second", days_ago=8), *(sent(f"theirs-{at}", host=f"their {at}") for at in range(5)))
    git("checkout", "main")
    commit(sent("third", days_ago=7), *(sent(f"ours-{at}", host=f"our {at}") for at in range(4)))
    git("merge", "other")
    looked_at = look_through(board / "store")
    expected = {"third", *(f"theirs-{at}" for at in range(5)), *(f"ours-{at}" for at in range(4))}
    assert {entry.run_id for entry in looked_at.store.current} == expected
    assert [entry.run_id for entry in looked_at.store.superseded] == ["first", "second"]
    assert {entry.by for entry in looked_at.store.entries} == {"ann"}
    assert not looked_at.findings
