"""What strangers send: valid runs are taken as they were measured, and nothing else gets in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from believable import write_believable_run
from cheats import CHEATS, COUNTED, FORGED, counted
from click.testing import CliRunner
from hostile import CONTENTS, resealed
from hostilefiles import FILES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import COUNTER, write_run

from joulemark.harness.cli import cli
from joulemark.harness.machine import describe_machine
from joulemark.harness.models import card
from joulemark.harness.store import Run
from joulemark.leaderboard.audit import audit, notes
from joulemark.leaderboard.auditclaims import check_machine
from joulemark.leaderboard.audittasks import shipped
from joulemark.leaderboard.commands import check
from joulemark.leaderboard.knownanswers import KNOWN_ANSWERS, WEIGHTS
from joulemark.leaderboard.knownhardware import known_gpu
from joulemark.leaderboard.knowntasks import TASK_HASHES
from joulemark.leaderboard.outcomes import holds_bits
from joulemark.leaderboard.schema import schema_text
from joulemark.leaderboard.sentrun import as_run
from joulemark.leaderboard.submission import pack, parse_submission, read_submission
from joulemark.meters.errors import UsageError
from joulemark.reports.documents import as_json
from joulemark.reports.views import make_views

DOCS = Path(__file__).parents[2] / "docs"
MOST_MB = 768
"""Of memory, for any file: what docs/leaderboard.md states."""

Content = dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_believable_run(tmp_path_factory.mktemp("believable") / "run")


@pytest.fixture(scope="module")
def valid(run: Run) -> bytes:
    return pack(run)


@pytest.fixture
def codes(tmp_path: Path) -> Callable[[bytes], list[str]]:
    """Codes of what is wrong with a file of these bytes."""

    def look(content: bytes) -> list[str]:
        file = tmp_path / "sent.json"
        file.write_bytes(content)
        return [finding.code for finding in check(file)[1]]

    return look


def _changed(valid: bytes, change: Callable[[Content], object]) -> bytes:
    content = json.loads(valid)
    change(content)
    try:
        return resealed(content)
    except UnicodeEncodeError:
        return json.dumps(content).encode()


def test_a_number_that_only_an_imported_run_lacks_is_missed(valid: bytes, codes: Callable[[bytes], list[str]]) -> None:
    places: tuple[Callable[[Content], Content], ...] = (
        lambda sent: sent["run"]["machine"],
        lambda sent: sent["run"]["meters"][0],
        lambda sent: sent["cells"][0]["energy"],
        lambda sent: sent["cells"][0],
    )
    for place, name in zip(places, ("cpu_count", "rel_u", "window_s", "duration_s"), strict=True):
        assert codes(_changed(valid, lambda sent, at=place, key=name: at(sent).update({key: None}))) == ["schema"]


def test_a_run_is_packed_and_told_as_valid(run: Run, tmp_path: Path) -> None:
    packed = CliRunner().invoke(cli, ["leaderboard", "pack", str(run.path), "-o", str(tmp_path / "s.json")])
    assert packed.exit_code == 0, packed.output
    told = CliRunner().invoke(cli, ["leaderboard", "validate", str(tmp_path / "s.json")])
    assert "valid. 2 models, 2 tasks, 12 cells" in told.output


def test_the_made_up_run_that_all_these_begin_with_is_valid(codes: Callable[[bytes], list[str]], valid: bytes) -> None:
    assert codes(valid) == []


@pytest.mark.parametrize(("code", "change"), [each[1:] for each in CONTENTS], ids=[each[0] for each in CONTENTS])
def test_what_was_done_to_a_submission_is_told(
    code: str, change: Callable[[Content], object], codes: Callable[[bytes], list[str]], valid: bytes
) -> None:
    assert code in codes(_changed(valid, change))


@pytest.mark.parametrize(("code", "make"), [each[1:] for each in FILES], ids=[each[0] for each in FILES])
def test_files_that_are_no_submission_are_refused_without_a_wait(
    code: str, make: Callable[[Path, bytes], object], valid: bytes, tmp_path: Path
) -> None:
    make(tmp_path / "sent.json", valid)
    assert [finding.code for finding in check(tmp_path / "sent.json")[1]] == [code]


def test_there_are_sixty_and_more_hostile_submissions() -> None:
    assert len(CONTENTS) + len(FILES) >= 60


@pytest.mark.parametrize(("expected", "change"), [each[1:] for each in CHEATS], ids=[each[0] for each in CHEATS])
def test_a_cheat_is_found(
    expected: set[str], change: Callable[[Content], object], codes: Callable[[bytes], list[str]], valid: bytes
) -> None:
    assert expected <= {*codes(_changed(valid, change))}


@pytest.mark.parametrize(("expected", "change"), [each[1:] for each in COUNTED], ids=[each[0] for each in COUNTED])
def test_a_factor_on_a_counters_joules_is_found(
    expected: set[str], change: Callable[[Content], object], codes: Callable[[bytes], list[str]], valid: bytes
) -> None:
    by_counter = _changed(valid, counted)
    assert codes(by_counter) == []
    assert expected <= {*codes(_changed(by_counter, change))}


@pytest.mark.parametrize("change", [each[1] for each in FORGED], ids=[each[0] for each in FORGED])
def test_what_nobody_can_see_is_not_claimed_to_be_seen(
    change: Callable[[Content], object], codes: Callable[[bytes], list[str]], valid: bytes
) -> None:
    """The documentation names these; whoever finds a way takes them off its list."""
    assert codes(_changed(valid, change)) == []


def test_every_code_is_documented() -> None:
    source = "".join(path.read_text() for path in (DOCS.parent / "leaderboard").glob("*.py") if _tells_codes(path))
    told = {*re.findall(r'code="([a-z-]+)"', source), *re.findall(r'refuse\(\s*"([a-z-]+)"', source)}
    documented = {*re.findall(r"^\| `([a-z-]+)` \|", (DOCS / "leaderboard.md").read_text(), re.MULTILINE)}
    assert told <= documented
    assert {each[1] for each in (*CONTENTS, *FILES)} <= told


def _tells_codes(path: Path) -> bool:
    return path.name.startswith("audit") or path.name in ("reading.py", "references.py", "submission.py", "commands.py")


_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_value_is_changed_to_nothing_crashes(data: st.DataObject, valid: bytes, tmp_path: Path) -> None:
    content = json.loads(valid)
    part: Any = content
    while True:
        steps = list(part) if isinstance(part, dict) else list(range(len(part)))
        step = data.draw(st.sampled_from(steps))
        if not isinstance(part[step], dict | list) or not part[step] or data.draw(st.integers(0, 4)) == 0:
            break
        part = part[step]
    if data.draw(st.booleans()) and isinstance(part, dict):
        del part[step]
    else:
        part[step] = data.draw(
            _LEAVES | st.lists(_LEAVES, max_size=3) | st.dictionaries(st.text(), _LEAVES, max_size=3)
        )
    file = tmp_path / "sent.json"
    file.write_bytes(_changed(json.dumps(content).encode(), lambda _: None))
    sent, findings = check(file)
    assert sent is not None or findings
    assert all("\n" not in str(finding) for finding in findings)


def test_a_board_ranks_what_was_sent_as_its_own_report_did(run: Run, valid: bytes, tmp_path: Path) -> None:
    _assert_alike(_ranked(_sent_and_unpacked(valid, tmp_path)), _ranked(run))


def test_states_of_devices_come_through_and_each_stands_once(tmp_path: Path) -> None:
    run = write_believable_run(tmp_path / "run", items=6, repeats=4, gpus=2)
    packed = pack(run)
    sent = parse_submission(packed)
    for name in ("windows", "idle_window"):
        assert [cell.model_dump()[name] for cell in sent.cells] == [cell.model_dump()[name] for cell in run.cells]
    states = json.loads(packed)["states"]
    assert len({json.dumps(each) for each in states}) == len(states)
    assert packed.count(b"temperature_c") == len(states)
    assert audit(sent) == []


def test_part_scores_clusters_and_cut_answers_come_through(tmp_path: Path) -> None:
    """Resampling draws clusters in their order, and from energies and scores to the last digit."""
    odd = {
        "score": lambda items: (items["doc_id"] % 7) / 7,
        "cluster": lambda items: (items["doc_id"] // 3).map("c{}".format),
    }
    measured = write_run(
        tmp_path / "run",
        items=60,
        meter=COUNTER,
        change_items=lambda task, items: (
            items.assign(truncated=items["doc_id"] % 5 == 0, **odd) if task == "dates" else items
        ),
    )
    _assert_alike(_ranked(_sent_and_unpacked(pack(measured), tmp_path)), _ranked(measured))


def _assert_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The same figures, to 8 digits; numbers apart, the same in all."""
    numbers = [{path: value for path, value in each.items() if isinstance(value, float)} for each in (one, other)]
    rest = [{path: value for path, value in each.items() if not isinstance(value, float)} for each in (one, other)]
    assert rest[0] == rest[1]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-8, abs=1e-12)
    assert any(path.endswith("p_frontier") for path in numbers[0])


def _sent_and_unpacked(content: bytes, folder: Path) -> Run:
    (folder / "sent.json").write_bytes(content)
    return as_run(read_submission(folder / "sent.json"), "unpacked")


def _ranked(run: Run) -> dict[str, Any]:
    """All figures of `rank --json`, by where they are."""
    found: dict[str, Any] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, dict | list):
            for key, own in value.items() if isinstance(value, dict) else enumerate(value):
                walk(f"{path}.{key}", own)
        else:
            found[path] = value

    walk("", as_json(make_views([run])))
    return found


def test_names_of_folders_and_what_meters_were_told_stay_at_home(run: Run) -> None:
    told_to = {"include_path": ["/home/ada/tasks"], "meters": ["plug=shelly:host=192.0.2.7,password=ada1815", "nvml"]}
    header = run.header.model_copy(update={"plan": run.header.plan | told_to})
    args = "hf:pretrained=/home/ada love/models/m1,peft=file:///home/ada/p2,tokenizer=$HOME/ada/t3"
    told = run.cells[0].model_copy(update={"model_args": args, "error": "no ~/x/y.bin"})
    content = pack(Run(path=run.path, header=header, cells=(told, *run.cells[1:])))
    assert b"ada" not in content
    assert b"love" not in content
    assert b"pretrained=m1,peft=p2,tokenizer=t3" in content
    assert b'"plug=shelly","nvml"' in content


def test_machines_of_a_cluster_that_stood_by_are_no_part_of_what_is_sent(run: Run, valid: bytes) -> None:
    """The one that measured stands second, as where another one came first and had nothing to do."""
    idle = run.header.idle.model_copy(update={"before_w": 300.0})
    machine = run.header.machine.model_copy(update={"machine_id": "stood-by-0001"})
    beside = run.header.station.model_copy(update={"machine": machine, "idle": idle, "meters": ()})
    header = run.header.at(beside, (beside, run.header.station))
    content = pack(Run(path=run.path, header=header, cells=run.cells))
    assert content == valid
    assert audit(parse_submission(content)) == []
    both = (run.cells[0].model_copy(update={"machine_id": "stood-by-0001"}), *run.cells[1:])
    with pytest.raises(UsageError, match="was measured on 2 machines, and a submission is one machine's"):
        pack(Run(path=run.path, header=header, cells=both))


def test_what_two_nodes_of_one_machine_measured_side_by_side_cannot_be_sent(run: Run) -> None:
    def at(node: str, start: str, cell: Any) -> Any:
        return cell.model_copy(update={"node": node, "started_at": f"2026-01-05T10:00:{start}+00:00", "duration_s": 2})

    first, second, *_ = run.cells
    for start, refused in (("01", True), ("03", False)):
        cells = (at("a", "00", first), at("b", start, second))
        if refused:
            with pytest.raises(UsageError, match="several Ray nodes of one machine side by side"):
                pack(Run(path=run.path, header=run.header, cells=cells))
        else:
            pack(Run(path=run.path, header=run.header, cells=cells))


def test_no_file_takes_more_memory_than_is_stated(valid: bytes, tmp_path: Path) -> None:
    """Ten lists of wrong values, each as long as any may be: the most that was found."""
    content = json.loads(valid)
    for cell in content["cells"][:10]:
        cell["flags"] = [0] * 99_000
    (tmp_path / "sent.json").write_bytes(resealed(content))
    code = (
        "import sys, pathlib; from joulemark.leaderboard.commands import check;"
        "print(check(pathlib.Path(sys.argv[1]))[1][0].code,"
        "pathlib.Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "sent.json"], capture_output=True, text=True, check=True
    )
    told, peak_kb = done.stdout.split()
    assert told == "schema"
    assert int(peak_kb) < MOST_MB * 1024


def test_this_machine_has_the_id_that_submissions_are_checked_for(valid: bytes, tmp_path: Path) -> None:
    (tmp_path / "sent.json").write_bytes(valid)
    sent = read_submission(tmp_path / "sent.json")
    here = sent.model_copy(update={"run": sent.run.model_copy(update={"machine": describe_machine()})})
    assert list(check_machine(here)) == []


def test_the_hashes_of_our_tasks_are_those_of_what_is_shipped() -> None:
    from joulemark.tasks import lmeval
    from joulemark.tasks.catalog import OUR_TASKS

    assert {card.name: lmeval.load_task(card.name).hash for card in OUR_TASKS} == TASK_HASHES


def test_the_known_answers_are_of_the_shipped_weights_and_of_all_questions() -> None:
    told = {name: card(name) for name in KNOWN_ANSWERS}
    assert {name: facts["sha256"][:16] for name, facts in told.items() if facts.get("sha256")} == {
        name: digest for name, digest in WEIGHTS.items() if told[name].get("sha256")
    }
    for tasks in KNOWN_ANSWERS.values():
        assert tasks.keys() == TASK_HASHES.keys()
        assert all(holds_bits(bits, len(shipped(task).hashes)) for task, bits in tasks.items())


@pytest.mark.parametrize(
    ("name", "most_w", "least_w"),
    [
        ("NVIDIA H100 80GB HBM3 GPU-1", 700, 25),
        ("NVIDIA GB300", 1400, 25),
        ("NVIDIA A10G", None, None),
        ("Tesla T4 GPU-2", 70, 0),
        ("NVIDIA L40S", 350, 0),
        ("AMD Instinct MI300X", 750, 25),
        ("NVIDIA GeForce RTX 4090", None, None),
        ("H100 of mine", None, None),
    ],
)
def test_what_a_gpu_takes_is_known_by_its_drivers_name_or_not_at_all(
    name: str, most_w: float | None, least_w: float | None
) -> None:
    found = known_gpu(name)
    assert (found and found.most_w, found and found.least_w) == (most_w, least_w)


def test_the_published_schema_is_current() -> None:
    assert (DOCS / "submission.schema.json").read_text(encoding="utf-8") == schema_text(), (
        "run `joulemark leaderboard validate --schema > docs/submission.schema.json`"
    )


def test_tasks_of_others_are_a_note_and_no_finding(tmp_path: Path) -> None:
    run = write_believable_run(tmp_path / "run", ["ref/ngram"], ["jm_units", "arc_easy"])
    (tmp_path / "sent.json").write_bytes(pack(run))
    sent = read_submission(tmp_path / "sent.json")
    assert audit(sent) == []
    assert "arc_easy" in notes(sent)[0]


def test_of_many_alike_a_few_are_told_with_how_many_there_are(valid: bytes, tmp_path: Path) -> None:
    content = json.loads(valid)
    for cell in content["cells"]:
        cell["quality"] = 99.0
    (tmp_path / "sent.json").write_bytes(resealed(content))
    found = audit(read_submission(tmp_path / "sent.json"))
    assert [finding.code for finding in found] == ["sum-quality"] * 6
    assert found[-1].message == "and 7 more like these."


def test_validate_tells_each_file_and_the_worst_decides(valid: bytes, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(valid)
    bad.write_bytes(b"{}")
    asked = ["leaderboard", "validate", "--json", str(good), str(bad)]
    done = CliRunner().invoke(cli, asked, standalone_mode=False)
    told = json.loads(done.stdout)["files"]
    assert done.return_value == 1
    assert [each["valid"] for each in told] == [True, False]
    assert told[1]["findings"][0]["code"] == "schema"
