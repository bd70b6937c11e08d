"""A model type for lm-eval that gets into trouble: ``NAME=troubled:how=segfaults``, and so on.

It is loaded by the processes that find the folder of `put_on_path` on their ``PYTHONPATH``. With ``TROUBLE=over`` in
the environment it is a model like any other, so that a run can be gone on with.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from lm_eval.api.model import LM

__all__ = ["Troubled", "put_on_path"]

REGISTER = """
import lm_eval.models
from lm_eval.api.registry import model_registry

lm_eval.models.MODEL_MAPPING["troubled"] = "troubled:Troubled"
model_registry.register("troubled", target="troubled:Troubled")
"""
STEERING = b"\x1b[2J\x1b]0;a title of its own\x07\x1b[31m\x9b5A\r"
AN_HOUR_S = 3600
FINE_CALLS = 4
"""Calls that are answered before the trouble begins: in the window, or while warming up."""


def put_on_path(folder: Path) -> dict[str, str]:
    """Make a folder that tells lm-eval of this model; the environment to start processes in."""
    folder.mkdir()
    shutil.copy(__file__, folder / "troubled.py")
    (folder / "sitecustomize.py").write_text(REGISTER, encoding="utf-8")
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(folder), *([others] if others else [])])}


class Troubled(LM):
    """Answers 7, whatever is asked, until it gets into trouble."""

    def __init__(self, how: str = "", note: str = "", **_: Any) -> None:
        super().__init__()
        self.trouble = None if os.environ.get("TROUBLE") == "over" else WHILE_ANSWERING.get(how)
        self.calls, self.how = 0, how
        print(f"loading one that {how}", flush=True)
        if how == "counts":
            Path(note).write_text(json.dumps(count_threads()), encoding="utf-8")
        elif how == "loads":
            with Path(note).open("a", encoding="utf-8") as noted:
                noted.write("loaded\n")
        elif how == "holds_gpu":
            hold_gpu(Path(note))
        elif os.environ.get("TROUBLE") != "over" and how in WHILE_LOADING:
            WHILE_LOADING[how]()

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:  # noqa: ARG002
        self.calls += 1
        time.sleep(0.01)
        if self.how == "grows":
            grow(requests[0].args[1]["max_gen_toks"])
        answers = ["7"] * len(requests)
        if self.trouble is None or self.calls <= FINE_CALLS:
            return answers
        changed = self.trouble(answers)
        return answers if changed is None else changed

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError


def count_threads() -> dict[str, Any]:
    """What the libraries here say that they use, and what the kernel counts while they do."""
    import threadpoolctl
    import torch

    before = len(list(Path("/proc/self/task").iterdir()))
    large = torch.ones(1500, 1500)
    for _ in range(3):
        (large @ large + large).sum()
    return {
        "torch": torch.get_num_threads(),
        "pools": [pool["num_threads"] for pool in threadpoolctl.threadpool_info()],
        "started": len(list(Path("/proc/self/task").iterdir())) - before,
    }


def sleep(*_: Any) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(AN_HOUR_S)


def segfault(*_: Any) -> None:
    ctypes.string_at(0)


def eat(*_: Any) -> None:
    """All memory that it may have, which is 256 MB more than it has already."""
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + (256 << 20),) * 2)
    hoard = []
    while True:
        hoard.append(bytearray(8 << 20))


def grow(megabytes: int) -> None:
    """Hold so much for a moment, in a piece that goes back to the kernel."""
    import numpy as np

    np.ones(megabytes << 17)


def want_all(*_: Any) -> None:
    """Run out of memory as long as the process that measures has another model."""
    guard = psutil.Process().parent()
    assert guard is not None
    if len(guard.parent().children()) > 1:  # type: ignore[union-attr]
        raise MemoryError


GPU_MB = 600


def hold_gpu(note: Path) -> None:
    """Hold memory of the GPU that the tests' own library tells of, if there is so much; and note whether there was."""
    import pynvml

    pynvml.nvmlInit()
    free = pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).free
    with note.open("a", encoding="utf-8") as noted:
        noted.write(f"{free >> 20}\n")
    with Path(os.environ["FAKE_HOLDS"]).open("a", encoding="utf-8") as holds:
        holds.write(f"0 {os.getpid()} {GPU_MB}\n")


def eat_until_killed(*_: Any) -> None:
    """Grow in a control group that the test made, until the kernel ends it."""
    (Path(os.environ["SMALL_GROUP"]) / "cgroup.procs").write_text(str(os.getpid()))
    hoard = []
    while True:
        hoard.append(b"\1" * (8 << 20))


def print_garbage(*_: Any) -> None:
    garbage = STEERING + os.urandom(1 << 20) + b"\n" + STEERING
    for _ in range(12):
        os.write(1, garbage)
        os.write(2, garbage)


def print_and_exit(*_: Any) -> None:
    print_garbage()
    os.write(2, b"\n" + STEERING + b"cannot go on\xff\x00\n")
    os._exit(9)


def leave(*_: Any) -> None:
    """Die and leave processes behind: of its group, of a session of their own, and of one that is gone already."""
    asleep = [sys.executable, "-S", "-c", "import time; time.sleep(3600)"]
    subprocess.Popen(asleep)
    subprocess.Popen(asleep, start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            sleep()
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


def start_others(*_: Any) -> None:
    """Work with further processes, one of them of a session of its own, and heed no signal."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for own_session in (False, True):
        subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(3600)"], start_new_session=own_session)


def hang_up(*_: Any) -> None:
    os.closerange(3, 1000)
    sleep()


def fail(*_: Any) -> None:
    raise RuntimeError(f"no weights\n{STEERING.decode('latin-1')}here \udcff\u202e")


def lack_memory(*_: Any) -> None:
    raise MemoryError


WHILE_LOADING = {
    "hangs_loading": sleep,
    "fails_loading": fail,
    "loads_too_much": lack_memory,
    "starts_others": start_others,
}
WHILE_ANSWERING: dict[str, Callable[[list[str]], Any]] = {
    "sleeps": sleep,
    "segfaults": segfault,
    "eats": eat,
    "eats_all": eat_until_killed,
    "wants_all": want_all,
    "prints": print_garbage,
    "prints_and_exits": print_and_exit,
    "leaves": leave,
    "hangs_up": hang_up,
    "answers_few": lambda answers: answers[1:],
    "answers_none": lambda answers: [None] * len(answers),
}
