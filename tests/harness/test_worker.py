"""The two sides of a worker's connection, with a real process at the other end."""

import pytest

from joulemark.harness.models import parse_model
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
def worker() -> Worker:
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
    worker._process.kill()
    with pytest.raises(WorkerFailed, match="SIGKILL"):
        worker.ask("jm_units", Watch(), **ASKED)


def test_a_model_that_takes_too_long_is_stopped_and_what_it_said_is_kept(worker: Worker) -> None:
    with pytest.raises(WorkerFailed, match="longer than --timeout"):
        worker.ask("jm_units", Watch(), timeout_s=1.0, **ASKED | {"window_s": 3600.0})
    assert not worker.alive
    assert "Building contexts" in worker.log or worker.log == ""
