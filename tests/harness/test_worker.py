"""The two sides of a worker's connection, with a real process at the other end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from troubled import put_on_path

from joulemark.harness import guard
from joulemark.harness.models import parse_model
from joulemark.harness.said import how_it_ended, last_words, one_line, readable
from joulemark.harness.worker import Worker, WorkerFailed
from joulemark.meters.errors import MeterLost
from joulemark.tasks.types import Part

ASKED = {"stock": False, "include": [], "batch_size": 4, "concurrency": 1, "window_s": 0.0, "how": {"limit": 8}}


class Watch:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def start(self, part: Part) -> None:
        self.seen.append(f"start {part}")

    def stop(self) -> None:
        self.seen.append("stop")


class Broken(Watch):
    def stop(self) -> None:
        raise MeterLost("gone")


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(parse_model("ref/ngram"), threads=1, offline=True)
    made.wait_ready()
    made.load()
    yield made
    made.close()


def test_a_worker_answers_and_tells_where_it_computed(worker: Worker) -> None:
    watch = Watch()
    answered = worker.ask("jm_units", watch, **ASKED)
    assert len(answered["result"]["items"]) == 8
    assert watch.seen == ["start warm_up", "stop", "start requests", "stop"]
    assert worker.place == "cpu"


def test_a_task_that_fails_leaves_the_worker_fit_for_the_next(worker: Worker) -> None:
    with pytest.raises(WorkerFailed, match="TypeError"):
        worker.ask("jm_units", Watch(), **ASKED | {"how": {"limit": "eight"}})
    assert worker.alive
    assert worker.ask("jm_dates", Watch(), **ASKED)["result"]["items"]


def test_a_worker_whose_meter_is_lost_is_stopped_so_that_no_answer_is_taken_for_anothers(worker: Worker) -> None:
    with pytest.raises(MeterLost):
        worker.ask("jm_units", Broken(), **ASKED)
    assert not worker.alive


def test_a_worker_that_was_killed_says_by_what(worker: Worker) -> None:
    process_of(worker).kill()
    with pytest.raises(WorkerFailed, match="SIGKILL"):
        worker.ask("jm_units", Watch(), **ASKED)
    assert not worker.alive


def process_of(worker: Worker) -> psutil.Process:
    [process] = psutil.Process(worker.pid).children()
    return process


def test_a_worker_whose_guard_is_killed_goes_with_it(worker: Worker) -> None:
    process = process_of(worker)
    os.kill(worker.pid, signal.SIGKILL)
    gone, _ = psutil.wait_procs([process], timeout=10)
    assert gone
    with pytest.raises(WorkerFailed, match="SIGKILL"):
        worker.ask("jm_units", Watch(), **ASKED)


def test_a_worker_whose_guard_is_stopped_can_be_ended_all_the_same(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("joulemark.harness.worker.SHUTDOWN_S", 0.2)
    process = process_of(worker)
    os.kill(worker.pid, signal.SIGSTOP)
    worker.kill()
    gone, _ = psutil.wait_procs([process], timeout=10)
    assert gone
    assert not worker.alive


def test_what_was_said_is_still_there_once_a_worker_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = troubled("hangs_up", tmp_path, monkeypatch)
    worker.wait_ready()
    worker.load()
    with pytest.raises(WorkerFailed, match="hung up"):
        worker.ask("jm_units", Watch(), **ASKED | {"window_s": 60.0})
    assert not worker.alive
    worker.close()
    assert "loading one that hangs_up" in worker.log


def test_a_process_that_is_not_ready_in_time_is_ended_with_advice() -> None:
    worker = Worker(parse_model("ref/ngram"), threads=1, offline=True)
    with pytest.raises(WorkerFailed, match=r"still starting after 0\.01 s.*a longer --timeout waits longer"):
        worker.wait_ready(timeout_s=0.01)
    assert not worker.alive
    worker.close()


def test_loading_takes_no_longer_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = troubled("hangs_loading", tmp_path, monkeypatch)
    worker.wait_ready()
    began = time.monotonic()
    with pytest.raises(WorkerFailed, match=r"took longer than the .* s that --timeout allows"):
        worker.load(timeout_s=0.3)
    assert time.monotonic() - began < 5
    worker.close()


def troubled(how: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    for name, value in put_on_path(folder / "modules").items():
        monkeypatch.setenv(name, value)
    return Worker(parse_model(f"it=troubled:how={how}"), threads=1, offline=True)


def test_a_process_that_cannot_be_started_is_a_failure_of_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    before = psutil.Process().num_fds()
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(WorkerFailed, match="no process could be started for it: No such file"):
        Worker(parse_model("ref/ngram"), threads=1, offline=True)
    assert psutil.Process().num_fds() == before


TALKS = """
import os, sys, time
for number in range(100):
    os.write(1, b"x" * (1 << 16) + b"\\n")
os.write(1, b"the last words\\n")
time.sleep(3600)
"""


def guarded(script: str, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A script under a guard; and the end of the lifeline to cut."""
    theirs, ours = os.pipe()
    connection = os.open(os.devnull, os.O_RDWR)
    command = [sys.executable, "-I", "-S", guard.__file__, str(theirs), str(connection), sys.executable, "-c", script]
    out = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    process = subprocess.Popen(command, pass_fds=[theirs, connection], stdout=out, start_new_session=True)
    for number in (theirs, connection, out):
        os.close(number)
    return process, ours


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_log_that_grows_too_long_keeps_its_end_only(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process, lifeline = guarded(TALKS, log)
    # While it is cut it may be empty for a moment.
    wait_until(lambda: log.read_bytes().endswith(b"the last words\n") and log.stat().st_size <= guard.LOG_MOST)
    os.close(lifeline)
    assert process.wait(10) == -signal.SIGKILL


ENDS = """
import json, os, subprocess, sys, time
asleep = [sys.executable, "-S", "-c", "import time; time.sleep(3600)"]
left = [subprocess.Popen(asleep, start_new_session=own).pid for own in (False, True)]
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(1, json.dumps([*left, os.getpid()]).encode() + b"\\n")
        time.sleep(3600)
    os._exit(0)
while not os.fstat(1).st_size:
    time.sleep(0.01)
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"), [("os._exit(7)", 7), ("os.abort()", -signal.SIGABRT), ("time.sleep(3600)", -signal.SIGKILL)]
)
def test_what_a_process_leaves_behind_ends_with_it_or_with_the_one_that_measures(
    tmp_path: Path, end: str, code: int
) -> None:
    log = tmp_path / "log"
    process, lifeline = guarded(ENDS.format(end=end), log)
    wait_until(lambda: log.read_bytes().endswith(b"\n"))
    if code == -signal.SIGKILL:
        os.close(lifeline)
    assert process.wait(10) == code
    assert not [pid for pid in json.loads(log.read_text()) if psutil.pid_exists(pid)]


def test_what_a_process_said_is_told_as_plain_text() -> None:
    said = b"10%\r50%\r100%\r\n\x1b[31mred\x1b[0m \x1b]0;title\x07\xff\x00ok\n\x1b[2J"
    assert readable(said) == "100%\nred \ufffd\ufffdok\n"
    assert one_line("two\nlines \x1b[2J\u202eof \udcff " + "x" * 400).startswith("two lines of xxx")
    assert len(one_line("x" * 400)) == 300
    assert last_words("why it ends\n\nFatal Python error: Aborted\n\nExtension modules: many") == "why it ends"
    assert last_words("") == ""
    # Sentences that have it at their end bring their own full stop.
    assert last_words("It is over.") == "It is over"
    assert one_line("and so on ...") == "and so on ..."
    assert (
        how_it_ended("its server", -signal.SIGABRT, "no GPU here\n") == "its server was ended by SIGABRT: no GPU here"
    )
    assert how_it_ended("its server", -63, "") == "its server was ended by signal 63"


def test_a_model_that_takes_too_long_is_stopped_and_what_it_said_is_kept(worker: Worker) -> None:
    with pytest.raises(WorkerFailed, match=r"took longer than the .* s that --timeout allows"):
        worker.ask("jm_units", Watch(), timeout_s=1.0, **ASKED | {"window_s": 3600.0})
    assert not worker.alive
    assert "Building contexts" in worker.log or worker.log == ""
