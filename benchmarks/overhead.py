"""What measuring costs: CPU time of metered request windows against the same model called bare.

    python benchmarks/overhead.py

Both run in one process, in turn, on the same requests, ABBA. Bare is the model's own ``generate_until``
and nothing else. Metered is `lmeval.ask` with real meters read at the window's edges, as in a run. Prints
the ratio of CPU seconds a pass with its 95 % interval; exit code 1 where all of it lies above 2 %.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from joulemark.harness.reference import load_engine
from joulemark.meters.registry import choose
from joulemark.meters.window import Recorder
from joulemark.tasks import lmeval, lmmodels
from joulemark.tasks.types import Asking, Part

MODELS = ("ngram", "dense-60k", "dense-800k")
TASK = "jm_units"
PASSES = 10
ROUNDS = 12


class Watched:
    """Real meters around the requests, and this process's CPU time between their readings.

    In a run the meters are read by another process, so the time that reading takes is left out here.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder, self.cpu_s = recorder, 0.0

    def start(self, part: Part) -> None:  # noqa: ARG002
        self.recorder.start()
        # The warm-up's is overwritten by that of the requests.
        self.cpu_s = -time.process_time()

    def stop(self) -> None:
        self.cpu_s += time.process_time()
        self.recorder.stop()


LIMIT_PERCENT = 2.0


def compare(name: str) -> bool:
    """Print one model's line; whether its overhead is not surely above the limit."""
    lm = lmmodels.EngineLM(load_engine(name, threads=1))
    watch = lmmodels.watch_of(lm)
    lmmodels.set_pace(lm, watch, batch_size=16, concurrency=1)
    question = lmeval.load_task(TASK)
    choice = choose()
    with Recorder(choice.meters, choice.domains, os.getpid()) as recorder:
        meter = Watched(recorder)
        requests = _requests(question.tasks[TASK])
        seconds = _time_a_pass(lambda: lm.generate_until(requests))

        def metered() -> float:
            result = lmeval.ask(lm, watch, question, meter, window_s=PASSES * seconds, how=Asking())
            return meter.cpu_s / result.passes.loops

        def bare() -> float:
            began = time.process_time()
            for _ in range(PASSES):
                lm.generate_until(requests)
            return (time.process_time() - began) / PASSES

        logs = [_round(bare, metered, number) for number in range(ROUNDS)]
    middle, spread = np.mean(logs), stats.sem(logs) * stats.t.ppf(0.975, ROUNDS - 1)
    low, ratio, high = (100 * (np.exp(x) - 1) for x in (middle - spread, middle, middle + spread))
    print(
        f"{name:12} {1000 * seconds:8.2f} ms a pass   metered / bare {ratio:+.2f} %  (95 % {low:+.2f} to {high:+.2f})"
    )
    return bool(low <= LIMIT_PERCENT)


def _round(bare: Callable[[], float], metered: Callable[[], float], number: int) -> float:
    if number % 2:
        second = metered()
        return float(np.log(second / bare()))
    first = bare()
    return float(np.log(metered() / first))


def _requests(task: Any) -> list[Any]:
    task.build_all_requests(limit=None, rank=0, world_size=1)
    return list(task.instances)


def _time_a_pass(call: Callable[[], Any]) -> float:
    call()
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    os.environ["TQDM_DISABLE"] = "1"
    print(f"{TASK}, {ROUNDS} rounds of about {PASSES} passes, batch 16")
    within = [compare(model) for model in MODELS]
    sys.exit(not all(within))
