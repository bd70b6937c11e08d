import hashlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from joulemark.harness.record import ITEM_COLUMNS, Cell, Energy, Idle, Machine, RunHeader
from joulemark.harness.store import RunWriter, canonical_json, read_run, refuse_used, replace_file, resume_command, seal
from joulemark.meters.errors import UsageError


def header() -> RunHeader:
    machine = Machine(
        machine_id="m", hostname_hash="h", os="Linux", kernel="6", cpu_model="CPU", cpu_count=2, memory_gb=4.0
    )
    return RunHeader(
        run_id="run-1",
        created_at="2026-01-01T00:00:00+00:00",
        joulemark_version="0",
        plan={},
        seed=0,
        machine=machine,
        software={},
        meters=(),
        idle=Idle(before_w=1.0, after_w=None, duration_s=1.0),
    )


def cell(cell_id: str = "a", **changed: object) -> Cell:
    fields: dict[str, object] = {
        "run_id": "run-1", "cell_id": cell_id, "machine_id": "m", "model": "x", "model_args": "ref:x", "task": "t",
        "setting": {}, "repeat": 1, "order": 0, "status": "ok", "started_at": "2026-01-01", "duration_s": 1.0,
    }  # fmt: skip
    return Cell(**fields | changed)


def items(count: int = 3) -> pd.DataFrame:
    row = {
        "doc_id": 0, "doc_hash": "h", "score": 1.0, "correct": True, "prompt_tokens": 3, "generated_tokens": 1,
        "computed_tokens": 5, "energy_j": 0.5, "latency_s": None, "ttft_s": None, "cluster": "0", "level": None,
        "truncated": None, "cut": None, "layers": None, "confidence": None, "escalated": None,
    }  # fmt: skip
    return pd.DataFrame([row | {"doc_id": at} for at in range(count)]).astype(ITEM_COLUMNS)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    with RunWriter(path) as writer:
        writer.write_header(header())
        writer.append(cell("a"), items())
        writer.append(cell("b"), items())
    return path


def test_what_was_written_is_read_back(run: Path) -> None:
    found = read_run(run)
    assert found.header == header()
    assert [c.cell_id for c in found.cells] == ["a", "b"]
    assert list(found.items().columns) == ["cell_id", *ITEM_COLUMNS]
    assert len(found.items()) == 6
    assert not found.notes


def test_samples_are_kept_beside_the_items_and_of_cells_without_there_are_none(run: Path) -> None:
    told = [{"doc_id": 0, "answers": ["a\u2028b\n"]}, {"doc_id": 1, "answers": ["\u00e9"]}]
    with RunWriter(run) as writer:
        writer.append(cell("c"), items(2), samples=[json.dumps(line, ensure_ascii=False) for line in told])
    found = read_run(run)
    assert found.samples("c") == told
    assert found.samples("a") is None
    assert [path.name for path in (run / "samples").iterdir()] == ["c.jsonl"]


def test_the_compacted_items_are_the_same_rows(run: Path) -> None:
    before = read_run(run).items()
    with RunWriter(run) as writer:
        writer.compact()
    assert (run / "items.parquet").exists()
    pd.testing.assert_frame_equal(before, read_run(run).items())


def test_items_of_versions_with_fewer_columns_are_compacted_with_the_others(run: Path) -> None:
    with RunWriter(run) as writer:
        writer.append(cell("c"), items().drop(columns=["ttft_s", "truncated"]))
        before = read_run(run).items()
        writer.compact()
    after = read_run(run).items()
    assert list(after.columns) == ["cell_id", *ITEM_COLUMNS]
    pd.testing.assert_frame_equal(before[after.columns], after)


def test_items_that_other_versions_of_libraries_wrote_with_other_types_are_compacted_too(run: Path) -> None:
    file = run / "items" / "a.parquet"
    table = pq.read_table(file).replace_schema_metadata()
    places = {name: table.schema.get_field_index(name) for name in ("doc_hash", "score")}
    table = table.set_column(places["doc_hash"], "doc_hash", table["doc_hash"].cast(pa.string()))
    table = table.set_column(places["score"], "score", table["score"].cast(pa.int64()))
    pq.write_table(table, file)
    with RunWriter(run) as writer:
        writer.compact()
    after = read_run(run).items()
    assert after["doc_hash"].tolist() == ["h"] * 6
    assert after["score"].tolist() == [1.0] * 6


def test_items_in_a_stream_are_all_rows_whether_compacted_or_not(run: Path) -> None:
    def rows() -> list[tuple[str, int]]:
        batches = read_run(run).item_batches(["doc_id", "not_there"])
        return [(row["cell_id"], row["doc_id"]) for batch in batches for row in batch.to_pylist()]

    told = rows()
    assert told == [(name, doc) for name in "ab" for doc in range(3)]
    with RunWriter(run) as writer:
        writer.compact()
    assert rows() == told


def test_a_line_that_a_crash_cut_short_is_left_out_and_said_so_and_later_ones_are_whole(run: Path) -> None:
    with (run / "cells.jsonl").open("ab") as log:
        log.write(b'{"schema":"joulemark.cell/1","run_id"')
    found = read_run(run)
    assert [c.cell_id for c in found.cells] == ["a", "b"]
    assert "cut short" in found.notes[0]
    with RunWriter(run) as writer:
        writer.append(cell("c"), items())
    assert [c.cell_id for c in read_run(run).cells] == ["a", "b", "c"]
    assert not read_run(run).notes


def test_the_last_line_of_a_cell_wins(run: Path) -> None:
    with RunWriter(run) as writer:
        writer.append(cell("a", status="failed", error="meter lost", attempt=2))
    assert {c.cell_id: c.status for c in read_run(run).cells} == {"a": "failed", "b": "ok"}


def test_the_checksum_is_that_of_the_canonical_line_without_itself(run: Path) -> None:
    line = json.loads((run / "cells.jsonl").read_text().splitlines()[0])
    claimed = line.pop("sha256")
    assert claimed == hashlib.sha256(canonical_json(line).encode()).hexdigest()
    assert seal(cell("a")).sha256 == claimed


def test_a_cell_that_was_changed_by_hand_is_left_out_and_said_so(run: Path) -> None:
    log = run / "cells.jsonl"
    log.write_text(log.read_text().replace('"repeat":1', '"repeat":2', 1))
    found = read_run(run)
    assert [c.cell_id for c in found.cells] == ["b"]
    assert "line 1 is left out: it was changed after it was written" in found.notes[0]


def test_a_line_of_an_older_version_with_its_keys_in_another_order_is_the_same_cell(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "cells.jsonl").read_text().splitlines()]
    text = "".join(json.dumps(dict(reversed(line.items()))) + "\n" for line in lines)
    (run / "cells.jsonl").write_text(text)
    found = read_run(run)
    assert [c.cell_id for c in found.cells] == ["a", "b"]
    assert not found.notes


def test_a_line_without_a_checksum_is_left_out_and_said_so(run: Path) -> None:
    log = run / "cells.jsonl"
    first, rest = log.read_text().split("\n", 1)
    content = json.loads(first)
    del content["sha256"]
    log.write_text(json.dumps(content) + "\n" + rest)
    found = read_run(run)
    assert [c.cell_id for c in found.cells] == ["b"]
    assert found.notes


def test_items_that_cannot_be_read_count_as_not_measured(run: Path) -> None:
    (run / "items" / "a.parquet").write_bytes(b"")
    with RunWriter(run) as writer:
        assert [writer.has_items(cell) for cell in read_run(run).cells] == [False, True]


def test_a_folder_with_a_space_is_quoted_in_what_to_type() -> None:
    assert resume_command(Path("my run")) == "joulemark run --resume 'my run'"


def test_a_cell_of_another_run_is_left_out_and_said_so(run: Path) -> None:
    with RunWriter(run) as writer:
        writer.append(cell("c", run_id="run-2"), items())
    found = read_run(run)
    assert [c.cell_id for c in found.cells] == ["a", "b"]
    assert "belongs to run run-2" in found.notes[0]


def test_a_folder_with_cells_and_no_header_takes_no_new_run(run: Path) -> None:
    (run / "run.json").unlink()
    with pytest.raises(UsageError, match="is not empty; choose another folder"):
        refuse_used(run)


def test_what_a_run_leaves_that_was_ended_before_its_header_was_there_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "cells.jsonl").touch()
    (tmp_path / ".run.json.new").write_text("{")
    refuse_used(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        refuse_used(tmp_path)


def test_a_cell_that_is_measured_again_has_its_new_items_before_they_are_compacted(run: Path) -> None:
    with RunWriter(run) as writer:
        writer.compact()
        writer.append(cell("a", attempt=2), items(5))
    assert read_run(run).items()["cell_id"].value_counts().to_dict() == {"a": 5, "b": 3}


def test_energy_is_never_zero_or_less() -> None:
    energy = {
        "gross_j": 0.0, "net_j": None, "idle_j": None, "u_j": None, "rel_u_scale": 0.0, "rel_u_workload": 0.0,
        "grade": "counter", "scope": "package", "domains": {}, "idle_w": None, "window_s": 1.0, "loops": 1,
    }  # fmt: skip
    with pytest.raises(ValidationError, match="greater than 0"):
        Energy.model_validate(energy)
    assert Energy.model_validate(energy | {"gross_j": None}).gross_j is None


def test_two_processes_never_write_to_one_run(run: Path) -> None:
    with RunWriter(run), pytest.raises(UsageError, match="another joulemark is writing"):
        RunWriter(run)


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run directory"):
        read_run(tmp_path)


def test_a_folder_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another folder"):
        RunWriter(tmp_path / "file" / "run")


def test_a_header_with_a_wrong_value_names_it(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    content["seed"] = "seven"
    (run / "run.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"seed: Input should be a valid integer"):
        read_run(run)


FULL_DISK = """
    import json, sys
    from pathlib import Path
    sys.path.insert(0, {here!r})
    from test_store import cell, header, items
    from joulemark.harness.store import RunWriter, read_run
    from joulemark.meters.errors import MeasuringFailed
    path = Path({disk!r}) / "run"
    with RunWriter(path) as writer:
        writer.write_header(header())
        try:
            for number in range(10_000):
                writer.append(cell(str(number), error="x" * {line}), {items})
        except MeasuringFailed as problem:
            print(problem.exit_code, problem)
    found = read_run(path)
    print(number, len(found.cells), found.notes)
    if {items} is not None:
        assert len(found.items()) == 2000 * number
"""


def can_mount() -> bool:
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return probe.returncode == 0


@pytest.mark.skipif(os.name != "posix" or not can_mount(), reason="needs the right to mount a small disk")
@pytest.mark.parametrize(("rows", "line"), [("items(2000)", 0), ("None", 3000)], ids=["in items", "in a line"])
def test_a_full_disk_loses_nothing_that_was_measured(tmp_path: Path, rows: str, line: int) -> None:
    here = str(Path(__file__).parent)
    script = textwrap.dedent(FULL_DISK).format(here=here, disk=str(tmp_path), items=rows, line=line)
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(tmp_path)]
    inside = f'{" ".join(mount)} && exec {sys.executable} -c "$SCRIPT"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", inside],
        env=os.environ | {"SCRIPT": script},
        capture_output=True,
        text=True,
        check=True,
    )
    message, counts = done.stdout.splitlines()
    assert message.startswith("5 cannot write to")
    assert "No space left on device" in message
    written, kept, notes = counts.split(" ", 2)
    assert int(written) == int(kept) > 3
    assert notes == "()"


def test_a_file_that_may_not_grow_further_loses_nothing_that_was_measured(tmp_path: Path) -> None:
    script = textwrap.dedent(FULL_DISK).format(
        here=str(Path(__file__).parent), disk=str(tmp_path), items="None", line=3000
    )
    done = subprocess.run(
        ["sh", "-c", f'ulimit -f 100 && exec {sys.executable} -c "$SCRIPT"'],
        env=os.environ | {"SCRIPT": script, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    message, counts = done.stdout.splitlines()
    assert message.startswith("5 cannot write to")
    written, kept, notes = counts.split(" ", 2)
    assert int(written) == int(kept) > 3
    assert notes == "()"


ENDED_ANYWHERE = """
    import os, shutil, signal, sys
    from pathlib import Path
    sys.path.insert(0, {here!r})
    from test_store import cell, header, items
    from joulemark.harness import store
    whole, path = Path({folder!r}) / "whole", Path({folder!r}) / "run"
    with store.RunWriter(whole) as writer:
        writer.write_header(header())
        writer.append(cell("a"), items())
        writer.compact()

    def work():
        with store.RunWriter(path) as writer:
            writer.append(cell("b"), items(4))
            writer.write_header(header())
            writer.compact()

    WRITING = {{"append", "write_header", "compact", "replace_file", "_replacing", "_flush_folder"}}

    def end_at(line):
        left = line
        def trace(frame, event, argument):
            nonlocal left
            if frame.f_code.co_filename != store.__file__ or frame.f_code.co_name not in WRITING:
                return None
            left -= event == "line"
            if left == 0:
                left = -1
                {end}
            return trace
        sys.settrace(trace)

    seen = set()
    for line in range(1, 1000, {step}):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(whole, path)
        child = os.fork()
        if child == 0:
            end_at(line)
            try:
                work()
            except KeyboardInterrupt:
                os._exit(3)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        left = [each.name for each in path.rglob("*.new")]
        assert os.WIFSIGNALED(status) or not left, (line, left)
        run = store.read_run(path)
        found = "".join(cell.cell_id for cell in run.cells)
        assert len(run.items()) == (7 if "b" in found else 3), line
        seen.add(found)
        work()
        run = store.read_run(path)
        assert [cell.cell_id for cell in run.cells] == ["a", "b"] and not run.notes, line
        assert len(run.items()) == 7, line
        assert not [*path.rglob("*.new")], line
        if status == 0:
            break
    print(line, sorted(seen))
"""


@pytest.mark.parametrize(("end", "step"), [("os.kill(os.getpid(), signal.SIGKILL)", 1), ("raise KeyboardInterrupt", 3)])
def test_a_run_that_is_ended_at_any_line_of_its_writing_has_a_cell_whole_or_not_at_all(
    tmp_path: Path, end: str, step: int
) -> None:
    here = str(Path(__file__).parent)
    script = textwrap.dedent(ENDED_ANYWHERE).format(here=here, folder=str(tmp_path), end=end, step=step)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines, seen = done.stdout.split(maxsplit=1)
    assert int(lines) > 40
    assert seen.strip() == "['a', 'ab']"


def test_a_link_stays_one_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    target.write_bytes(b"old")
    link.symlink_to(target)
    replace_file(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        replace_file(pipe, b"through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
