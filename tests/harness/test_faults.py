"""Models that misbehave, signals, full disks and sudden ends: nothing measured is lost, nothing is left running."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import textwrap
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import pytest
from machines import FakePowercap, PowerDriver
from troubled import put_on_path

from joulemark.harness.alone import measuring_alone
from joulemark.harness.models import parse_model
from joulemark.harness.record import Cell
from joulemark.harness.store import read_run
from joulemark.harness.worker import Worker
from joulemark.meters.errors import MeasuringFailed

from .conftest import COMMAND, call

MARK = "MARK_OF_A_TEST"
OVER = {"TROUBLE": "over"}


@pytest.fixture
def mark() -> dict[str, str]:
    """In the environment of what a test starts, and of all that this starts in turn."""
    return {MARK: uuid.uuid4().hex}


def marked(mark: dict[str, str]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark[MARK]:
                found.append(process)
        except psutil.Error:
            continue
    return found


def assert_nobody_is_left(mark: dict[str, str]) -> None:
    _, alive = psutil.wait_procs(marked(mark), timeout=10)
    assert not alive, [process.cmdline() for process in alive]


def check(path: Path) -> list[Cell]:
    """The finished cells, each of which can be read, with its items, and was measured once."""
    run = read_run(path)
    # A line whose checksum is wrong would be told.
    assert all("cut short" in note for note in run.notes)
    log = (path / "cells.jsonl").read_bytes().split(b"\n")[:-1]
    written = [json.loads(line) for line in log]
    assert all(count == 1 for count in Counter(line["cell_id"] for line in written if line["status"] == "ok").values())
    attempts: dict[str, list[int]] = {}
    for line in written:
        attempts.setdefault(line["cell_id"], []).append(line["attempt"])
    assert all(found == list(range(1, len(found) + 1)) for found in attempts.values())
    finished = [cell for cell in run.cells if cell.status == "ok"]
    for cell in finished:
        assert len(pd.read_parquet(path / "items" / f"{cell.cell_id}.parquet")) == cell.n_items
    assert len(run.items()) == sum(cell.n_items or 0 for cell in finished)
    return finished


@dataclass
class Faults:
    """A run of models in trouble and two that are well, and the same run gone on with once the trouble is over."""

    first: subprocess.CompletedProcess[str]
    before: dict[str, Cell]
    logs: dict[str, str]
    lines: list[str]
    mark: dict[str, str]
    again: subprocess.CompletedProcess[str]
    path: Path


REASONS = {
    "hangs_loading": "could not be loaded: loading took longer than the 5 s that --timeout allows",
    "fails_loading": "could not be loaded: RuntimeError: no weights here",
    "sleeps": "answering took longer than the 5 s that --timeout allows",
    "segfaults": "its process was ended by SIGSEGV",
    "prints_and_exits": "its process ended with exit code 9: cannot go on",
    "answers_few": "ValueError: the model gave 1 answers to 2 requests",
    "answers_none": "ValueError: the model gave a NoneType for an answer",
    "eats": "MemoryError",
    "eats_all": "its process was ended by SIGKILL (out of memory?)",
    "leaves": "its process was ended by SIGKILL",
}
WELL = {"prints", "ref/ngram"}
TWICE = {"eats", "eats_all", "leaves"}
"""What may have been a lack of memory is tried again with all of it. They come last: others have to go for that."""


@pytest.fixture(scope="module")
def small_group() -> Iterator[dict[str, str]]:
    """A control group with little memory, where one can be made; what is killed there endangers nobody else."""
    made = None
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root) / f"joulemark-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(400 << 20))
        except OSError:
            group.rmdir()
            continue
        made = group
        break
    yield {"SMALL_GROUP": str(made)} if made else {}
    if made:
        made.rmdir()


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory, small_group: dict[str, str]) -> Faults:
    folder = tmp_path_factory.mktemp("faults")
    mark = {MARK: uuid.uuid4().hex}
    environment = put_on_path(folder / "modules") | mark | small_group
    path = folder / "run"
    hows = [how for how in ("prints", *REASONS) if how != "eats_all" or small_group]
    models = [text for how in hows for text in ("-m", f"{how}=troubled:how={how}")]
    first = call(
        "run", "-m", "ref/ngram", *models, "-t", "jm_units", "--limit", "2", "--repeats", "1", "--timeout", "5",
        "--threads", "2", "--meter", "modelled", "--order", "blocked", "--out", path, **environment,
    )  # fmt: skip
    before = {cell.model: cell for cell in read_run(path).cells}
    logs = {model: (path / cell.log).read_text() for model, cell in before.items() if cell.log}
    lines = (path / "cells.jsonl").read_text().splitlines()
    check(path)
    assert_nobody_is_left(mark)
    again = call("run", "--resume", path, **environment | OVER)
    return Faults(first, before, logs, lines, mark, again, path)


@pytest.mark.parametrize("how", REASONS)
def test_a_model_in_trouble_fails_its_cell_in_a_line_that_says_what_happened_and_what_it_said_is_kept(
    faults: Faults, how: str
) -> None:
    if how not in faults.before:
        pytest.skip("no control group with a limit on memory can be made here")
    cell = faults.before[how]
    assert cell.status == "failed"
    assert cell.energy is None
    assert str(cell.error).startswith(REASONS[how])
    assert str(cell.error).isprintable()
    assert f"Failed: {how} on jm_units, repeat 1: {REASONS[how]}" in faults.first.stderr
    assert cell.log == f"logs/{cell.cell_id}.txt"
    if how != "prints_and_exits":
        assert f"loading one that {how}" in faults.logs[how]


def test_a_crash_is_kept_with_the_line_of_code_it_came_from(faults: Faults) -> None:
    assert "in segfault" in faults.logs["segfaults"]
    assert "in eat" in faults.logs["eats"]


def test_models_beside_those_in_trouble_are_measured_and_the_exit_code_tells(faults: Faults) -> None:
    assert faults.first.returncode == 5
    assert f"joulemark run --resume {faults.path}" in faults.first.stderr.splitlines()[-1]
    assert {model for model, cell in faults.before.items() if cell.status == "ok"} == WELL
    assert {cell.setting["threads"] for cell in faults.before.values()} == {2}


def test_what_a_model_prints_steers_no_terminal_and_fills_no_disk(faults: Faults) -> None:
    for text in (faults.first.stdout, faults.first.stderr, *faults.logs.values()):
        assert all(character.isprintable() or character in "\n\t" for character in text)
    assert "cannot go on" in faults.logs["prints_and_exits"]
    assert max(map(len, faults.logs.values())) <= 20_000


def test_going_on_measures_what_failed_and_nothing_else(faults: Faults) -> None:
    assert faults.again.returncode == 0, faults.again.stderr
    after = check(faults.path)
    assert {model: cell.attempt for model, cell in faults.before.items()} == {
        model: 2 if model in TWICE else 1 for model in faults.before
    }
    assert {cell.model: cell.attempt for cell in after} == {
        model: cell.attempt + (model not in WELL) for model, cell in faults.before.items()
    }
    assert (faults.path / "cells.jsonl").read_text().splitlines()[: len(faults.lines)] == faults.lines
    assert_nobody_is_left(faults.mark)


def test_libraries_in_a_models_process_use_as_many_threads_as_they_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in put_on_path(tmp_path / "modules").items():
        monkeypatch.setenv(name, value)
    counts = (1, 3)
    with contextlib.ExitStack() as closing:
        graphs, others = [], []
        for threads in counts:
            graphs.append(Worker(parse_model("ref/dense-60k"), threads=threads, offline=True))
            note = f"note={tmp_path / str(threads)}"
            others.append(Worker(parse_model(f"counts=troubled:how=counts,{note}"), threads=threads, offline=True))
        for worker in (*graphs, *others):
            closing.callback(worker.close)
            worker.wait_ready()
        before = [psutil.Process(worker.pid).children()[0].num_threads() for worker in graphs]
        for worker in (*graphs, *others):
            worker.load()
        after = [psutil.Process(worker.pid).children()[0].num_threads() for worker in graphs]
    few, many = (now - then for then, now in zip(before, after, strict=True))
    assert many - few == counts[1] - counts[0]
    for threads in counts:
        told = json.loads((tmp_path / str(threads)).read_text())
        assert told["torch"] == threads
        # One that was built for fewer takes no more than there are cores.
        assert set(told["pools"]) <= {threads, min(threads, os.cpu_count() or 1)}
        # The one that calls works as well.
        assert told["started"] == threads - 1


STAGE = """
    import os, random, signal, sys, time
    from pathlib import Path
    from joulemark.harness import pool, run
    from joulemark.harness.plan import make_plan
    path, seed, moments = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    plan = make_plan(None, {
        "models": ("ref/ngram",), "tasks": ("jm_units", "jm_dates"), "limit": 5, "repeats": 4, "meters": ("modelled",)
    })
    draw = random.Random(seed)

    def cells():
        log = path / "cells.jsonl"
        return log.read_bytes().count(b"\\n") if log.exists() else 0

    for number in range(moments):
        at, before = draw.random(), cells()
        child = os.fork()
        if child == 0:
            goes_on = (path / "run.json").exists()
            run.resume(path, run.Progress()) if goes_on else run.measure(plan, path, run.Progress())
            os._exit(0)
        if number % 3:
            # Somewhere before the first cell is there, most likely.
            time.sleep(1.2 * at)
        else:
            # Somewhere in the cell after the next.
            until = time.monotonic() + 60
            while cells() == before and time.monotonic() < until:
                time.sleep(0.002)
            time.sleep(0.6 * at)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print(number, before, cells(), flush=True)
"""


def test_twenty_sudden_ends_at_random_moments_lose_nothing_and_measure_nothing_twice(
    tmp_path: Path, mark: dict[str, str]
) -> None:
    script = textwrap.dedent(STAGE)
    paths = [tmp_path / "one", tmp_path / "other"]
    stages = [begin([sys.executable, "-c", script, path, path.name, "10"], **mark) for path in paths]
    for stage in stages:
        told, problem = stage.communicate(timeout=120)
        assert stage.returncode == 0, problem
        assert len(told.splitlines()) == 10
    assert_nobody_is_left(mark)
    kept = [(path / "cells.jsonl").read_bytes() for path in paths]
    assert all(4 <= len(check(path)) <= 8 for path in paths)
    for process in [begin([*COMMAND, "run", "--resume", path], **mark) for path in paths]:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    for path, before in zip(paths, kept, strict=True):
        assert (path / "cells.jsonl").read_bytes().startswith(before[: before.rfind(b"\n") + 1])
        assert [cell.attempt for cell in check(path)] == [1] * 8
    assert_nobody_is_left(mark)


def begin(command: Sequence[str | Path], **environment: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=os.environ | environment, stdout=pipe, stderr=pipe, text=True)


PLAN = """
[run]
models = ["ref/ngram", "others=troubled:how=starts_others"]
tasks = ["jm_units"]
limit = 3
repeats = 3
idle_s = 0.5
"""
GOES_ON = "joulemark: stopped; all finished cells are kept. `joulemark run --resume"


def test_a_run_that_is_stopped_in_any_way_keeps_what_it_has_lets_the_machine_go_and_goes_on(
    tmp_path: Path, mark: dict[str, str], powercap: FakePowercap
) -> None:
    path, plan = tmp_path / "run", tmp_path / "plan.toml"
    plan.write_text(PLAN)
    package = powercap.add("intel-rapl:0", "package-0")
    environment = put_on_path(tmp_path / "modules") | mark | {"JOULEMARK_SYSFS": str(powercap.sysfs)}
    with PowerDriver({package: 1.0}, lambda t: 50.0 * t):
        for number, stop in enumerate((signal.SIGTERM, "Ctrl-C", "hang up", signal.SIGKILL)):
            goes_on = ("--resume", str(path)) if number else (str(plan), "--out", str(path))
            process, terminal = begin_on_terminal([*COMMAND, "run", *goes_on], **environment)
            before = (path / "cells.jsonl").read_bytes() if number else b""
            wait_for_cells(path, number + 1, process)
            if stop == "hang up":
                os.close(terminal)
            elif stop == "Ctrl-C":
                os.write(terminal, b"\x03")
            else:
                process.send_signal(stop)
            told = "" if stop == "hang up" else read_to_end(terminal)
            code = process.wait(30)
            # Nobody is left to read what becomes of one whose terminal is gone.
            assert code == (-signal.SIGKILL if stop == signal.SIGKILL else 5) or (stop == "hang up" and code > 0)
            if stop in (signal.SIGTERM, "Ctrl-C"):
                assert f"{GOES_ON} {path}`" in " ".join(told.split())
            assert (path / "cells.jsonl").read_bytes().startswith(before)
            assert len(check(path)) in (number + 1, number + 2)
            assert_nobody_is_left(mark)
            assert_machine_is_free()
        done = call("run", "--resume", path, **environment)
    assert done.returncode == 0, done.stderr
    assert [cell.attempt for cell in check(path)] == [1] * 6
    assert_nobody_is_left(mark)
    assert_machine_is_free()


def begin_on_terminal(command: Sequence[str], **environment: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a program on a terminal of its own, as the one that is in front there; and the terminal's other end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | environment,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    return process, ours


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # A shell makes what it starts in the background ignore Ctrl-C, the tests and this process perhaps as well.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def read_to_end(terminal: int) -> str:
    told = b""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 65536):
            told += part
    os.close(terminal)
    return told.decode()


def wait_for_cells(path: Path, cells: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    log = path / "cells.jsonl"
    while not log.exists() or log.read_bytes().count(b"\n") < cells:
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_machine_is_free() -> None:
    with measuring_alone():
        pass


def test_a_lock_that_cannot_be_made_is_told_and_nobody_elses_file_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lock, others = tmp_path / f"joulemark-{os.getuid()}.lock", tmp_path / "others"
    lock.symlink_to(others)
    with pytest.raises(MeasuringFailed, match=f"by {lock}: Too many levels of symbolic links"):
        assert_machine_is_free()
    assert not others.exists()


ON_A_SMALL_DISK = """
    mount -t tmpfs -o size=56k none {disk} || exit 99
    {run} -m ref/ngram -t jm_units --limit 3 --repeats 8 --meter modelled --out {disk}/run
    echo "ended with $?"
    cp {disk}/run/cells.jsonl {kept}
    {look} {disk}/run
    mount -o remount,size=8m {disk}
    {run} --resume {disk}/run
    echo "ended with $?"
    cmp -n $(stat -c %s {kept}) {kept} {disk}/run/cells.jsonl && echo "the same lines"
    {look} {disk}/run
"""
LOOK = """
import sys
from pathlib import Path
from joulemark.harness.store import read_run
run = read_run(Path(sys.argv[1]))
print("cells", [cell.attempt for cell in run.cells], {cell.status for cell in run.cells}, len(run.items()), run.notes)
"""


def can_mount() -> bool:
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return probe.returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a small disk")
def test_a_disk_that_gets_full_ends_the_run_and_it_goes_on_once_there_is_room(
    tmp_path: Path, mark: dict[str, str]
) -> None:
    disk, look = tmp_path / "disk", tmp_path / "look.py"
    disk.mkdir()
    look.write_text(LOOK)
    words = {
        "disk": disk,
        "kept": tmp_path / "kept",
        "run": f"{' '.join(COMMAND)} run",
        "look": f"{sys.executable} {look}",
    }
    script = textwrap.dedent(ON_A_SMALL_DISK).format(**words)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], env=os.environ | mark, capture_output=True, text=True, timeout=120,
        check=True,
    )  # fmt: skip
    ends = [line for line in done.stdout.splitlines() if line.startswith(("ended with", "cells", "the same"))]
    assert ends[0] == "ended with 5"
    assert "No space left on device. All finished cells are kept; make room" in done.stderr
    kept = ends[1].count("1")
    assert 1 <= kept < 8
    assert ends[2:4] == ["ended with 0", "the same lines"]
    assert ends[4] == "cells [1, 1, 1, 1, 1, 1, 1, 1] {'ok'} 24 ()"
    assert_nobody_is_left(mark)
