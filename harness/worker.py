"""A process for each model: loading, asking and crashing happen there, measuring happens here.

The two sides talk over a pair of sockets, a line of JSON a message:

    here:  {"do": "load" | "ask", ...}
    there: {"say": "ready" | "loaded" | "start" | "stop" | "answered" | "failed", ...}

``start`` and ``stop`` are answered with ``{}`` as soon as the meters were read. A process of its own (`guard`) stands
between the two and sees to it that nothing is left of a model, however either side ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import psutil

from joulemark.meters.errors import UsageError
from joulemark.tasks.types import Part, RequestMeter

from . import guard
from .endpoints import tree_of
from .models import REFERENCE, ModelSpec
from .said import how_it_ended, one_line, ran_out_of_memory, readable

__all__ = ["READY_S", "Worker", "WorkerFailed"]

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
AS_MANY_AS_TOLD = {"OMP_DYNAMIC": "FALSE", "MKL_DYNAMIC": "FALSE"}
"""Else libraries take fewer threads than they are told, for instance no more than there are cores."""
QUIET = {"TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
LOG_KEPT = 20_000
READY_S = 300.0
"""A process may take so long to import what it needs: from a cold network disk it is minutes."""
SHUTDOWN_S = 5.0
GONE_S = 2.0
"""A process that has hung up is given so long to end before it is called hanging."""
LOOK_EVERY_S = 1.0
ENDED_FIRST = 500
"""Added to a model's weight when the kernel is short of memory: it goes before the process that keeps the records."""


class WorkerFailed(Exception):
    """The model could not be loaded or did not answer; the worker is of no more use if it is not alive.

    Attributes:
        may_pass: Whether it may be otherwise with another setting, or in a while: time was short, a port was taken.
    """

    def __init__(self, reason: str, *, may_pass: bool = False) -> None:
        super().__init__(reason)
        self.may_pass = may_pass


class Worker:
    """One model's process, from this side. Make several at once: they start side by side.

    Raises:
        WorkerFailed: The machine does not allow another process.
    """

    def __init__(self, spec: ModelSpec, *, threads: int, offline: bool) -> None:
        self.spec, self.threads = spec, threads
        self.place = ""
        """Where the model turned out to compute once loaded: ``cpu``, ``gpu`` or ``server``."""
        self.facts: dict[str, Any] = {}
        """What it told of its size."""
        self._said = bytearray()
        self._last_log = ""
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)) | AS_MANY_AS_TOLD | QUIET
        if offline:
            environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        with contextlib.ExitStack() as undo:
            try:
                self._start(environment, undo)
            except OSError as problem:
                reason = f"no process could be started for it: {problem.strerror or problem}"
                raise WorkerFailed(reason, may_pass=True) from problem
            undo.pop_all()

    def _start(self, environment: dict[str, str], undo: contextlib.ExitStack) -> None:
        self._connection, there = socket.socketpair()
        undo.callback(self._connection.close)
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        undo.callback(self._log.close)
        # So that what is said goes to the end of a log that the guard has shortened.
        fcntl.fcntl(self._log, fcntl.F_SETFL, fcntl.fcntl(self._log, fcntl.F_GETFL) | os.O_APPEND)
        lifeline, self._lifeline = os.pipe()
        undo.callback(os.close, self._lifeline)
        passed = (lifeline, there.fileno())
        alone = [sys.executable, "-I", "-S", guard.__file__, *map(str, passed)]
        try:
            self._process = subprocess.Popen(
                [*alone, sys.executable, "-m", "joulemark.harness.worker", str(there.fileno())],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=environment,
                # Ctrl-C is for the side that keeps the records, and the terminal is not for models.
                start_new_session=True,
            )
        finally:
            there.close()
            os.close(lifeline)

    @property
    def pid(self) -> int:
        """The process whose tree does the computing."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.poll() is None and self._connection.fileno() >= 0

    def wait_ready(self, *, timeout_s: float = READY_S) -> None:
        """Wait until it has imported what it needs.

        Raises:
            WorkerFailed: It ended instead, or takes longer.
        """
        late = (
            f"its process was still starting after {timeout_s:g} s: see what it said, whether "
            "`python -c 'import lm_eval, torch'` ends, and how busy the disk is; a longer --timeout waits longer"
        )
        self._receive("ready", until_s=time.monotonic() + timeout_s, late=late)

    def load(self, *, timeout_s: float | None = None) -> None:
        """Load the model.

        Raises:
            WorkerFailed: That failed, or took longer than ``timeout_s``, with the reason.
            UsageError: Its arguments are wrong.
        """
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._send(do="load", spec=asdict(self.spec), threads=self.threads)
        told = self._receive("loaded", until_s=until_s, late=_late("loading", timeout_s))
        self.place, self.facts = str(told["place"]), dict(told["facts"])

    def ask(self, task: str, meter: RequestMeter, *, timeout_s: float | None = None, **settings: Any) -> dict[str, Any]:
        """Ask a task's questions; ``result``, the fields of `TaskResult`, and ``memory``, the most held on GPUs.

        Whatever goes wrong on this side stops the worker, so that no answer is ever taken for another's.

        Raises:
            WorkerFailed: The model failed, or took longer than ``timeout_s``, with the reason.
            MeterLost: As the meter raises.
        """
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            self._send(do="ask", task=task, **settings)
            late = _late("answering", timeout_s)
            while True:
                message = self._receive("start", "stop", "answered", until_s=until_s, late=late)
                if message["say"] == "answered":
                    return message
                if message["say"] == "start":
                    meter.start(message["part"])
                else:
                    meter.stop()
                self._send()
        except (WorkerFailed, UsageError):
            raise
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> str:
        """The end of what the process said on stdout and stderr, fit to be shown; still there once it is closed."""
        if not self._log.closed:
            size = os.fstat(self._log.fileno()).st_size
            said = os.pread(self._log.fileno(), LOG_KEPT, max(0, size - LOG_KEPT))
            self._last_log = readable(said)
        return self._last_log

    def kill(self) -> None:
        """End the process and all that it started by force; what it said is still there."""
        self._cut_lifeline()
        try:
            self._process.wait(SHUTDOWN_S)
        except subprocess.TimeoutExpired:
            self._kill_one_by_one()

    def close(self) -> None:
        """End the process and what it started; by force if it does not go."""
        self._connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(SHUTDOWN_S if sys.exc_info()[0] is None else 0)
        self.kill()
        _ = self.log
        self._log.close()

    def _cut_lifeline(self) -> None:
        lifeline, self._lifeline = self._lifeline, -1
        if lifeline >= 0:
            os.close(lifeline)

    def _kill_one_by_one(self) -> None:
        """Without the guard's help, which may have been stopped itself."""
        for member in reversed(tree_of(self.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self._process.wait()

    def _send(self, **message: Any) -> None:
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError as problem:
            raise WorkerFailed(self._why_gone()) from problem

    def _receive(self, *wanted: str, until_s: float | None = None, late: str = "") -> dict[str, Any]:
        try:
            line = self._read_line(until_s)
        except TimeoutError as problem:
            self.kill()
            raise WorkerFailed(late, may_pass=True) from problem
        except (EOFError, OSError) as problem:
            raise WorkerFailed(self._why_gone()) from problem
        try:
            message: dict[str, Any] = json.loads(line)
            said = message["say"]
        except (ValueError, LookupError, TypeError) as problem:
            self.kill()
            raise WorkerFailed(f"its process sent what is no message: {one_line(repr(line[:100]))}") from problem
        if said == "failed":
            if message["over"]:
                self.kill()
            raise (UsageError if message["usage"] else WorkerFailed)(message["error"])
        if said not in wanted:
            self.kill()
            raise WorkerFailed(f"its process said {said!r} out of turn")
        return message

    def _read_line(self, until_s: float | None) -> bytes:
        """Raises TimeoutError, or EOFError where nobody is left to say anything."""
        looked_at = 0
        while (end := self._said.find(b"\n", looked_at)) < 0:
            looked_at = len(self._said)
            left_s = LOOK_EVERY_S if until_s is None else until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            ready, _, _ = select.select([self._connection], [], [], min(left_s, LOOK_EVERY_S))
            if ready:
                part = self._connection.recv(1 << 20)
                if not part:
                    raise EOFError
                self._said += part
            elif self._process.poll() is not None:
                raise EOFError
        line = bytes(self._said[:end])
        del self._said[: end + 1]
        return line

    def _why_gone(self) -> str:
        try:
            code = self._process.wait(GONE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return "its process hung up"
        return how_it_ended("its process", code, self.log)


def _late(what: str, timeout_s: float | None) -> str:
    return f"{what} took longer than the {timeout_s or 0:g} s that --timeout allows"


class _Remote:
    """The meter as the model's process sees it: says when, and waits until it was read."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def start(self, part: Part) -> None:
        self._connection.tell("start", part=part)
        self._connection.hear()

    def stop(self) -> None:
        self._connection.tell("stop")
        self._connection.hear()


class _Connection:
    """The process's end of the line."""

    def __init__(self, number: int) -> None:
        # What the model starts must not hold the line.
        os.set_inheritable(number, False)
        self._socket = socket.socket(fileno=number)
        self._heard = self._socket.makefile("rb")

    def tell(self, say: str, **content: Any) -> None:
        self._socket.sendall(json.dumps({"say": say, **content}).encode() + b"\n")

    def hear(self) -> dict[str, Any]:
        line = self._heard.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        heard: dict[str, Any] = json.loads(line)
        return heard

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def _load(spec: ModelSpec, threads: int) -> Any:
    from joulemark.tasks import lmmodels

    if spec.backend == REFERENCE:
        from .reference import load_engine

        return lmmodels.EngineLM(load_engine(spec.args, threads=threads))
    return lmmodels.load_model(spec.backend, spec.args)


def _serve(connection: _Connection) -> None:
    from joulemark.tasks import lmeval, lmmodels
    from joulemark.tasks.facts import facts_of, forget_peak_gpu, peak_gpu_mb
    from joulemark.tasks.types import Asking

    lm: Any = None
    watch: Any = None
    tasks: dict[str, lmeval.Question] = {}
    connection.tell("ready")
    while True:
        order = connection.hear()
        try:
            if order.pop("do") == "load":
                lm = _load(ModelSpec(**order.pop("spec")), **order)
                watch = lmmodels.watch_of(lm)
                connection.tell("loaded", place=lmmodels.place_of(lm), facts=facts_of(lm))
                continue
            name, stock, include = order.pop("task"), order.pop("stock"), order.pop("include")
            if name not in tasks:
                tasks[name] = lmeval.load_task(name, stock=stock, include=include)
            lmmodels.set_pace(lm, watch, batch_size=order.pop("batch_size"), concurrency=order.pop("concurrency"))
            how = Asking(**order.pop("how"))
            forget_peak_gpu()
            result = lmeval.ask(lm, watch, tasks[name], _Remote(connection), how=how, **order)
            connection.tell("answered", result=asdict(result), memory={"peak_gpu_mb": peak_gpu_mb()})
        except EOFError:
            raise
        except Exception as problem:
            traceback.print_exc()
            error = _one_line(problem)
            # One that ran out of memory still holds most of it.
            over = isinstance(problem, MemoryError) or ran_out_of_memory(error)
            connection.tell("failed", usage=isinstance(problem, UsageError), error=error, over=over)


def _one_line(problem: Exception) -> str:
    text = one_line(str(problem), 500)
    if isinstance(problem, UsageError):
        return text
    if isinstance(problem, ModuleNotFoundError):
        extra = "'joulemark[api]'" if "API model" in text else "'joulemark[hf]'"
        # Others, such as vllm, are no extra of ours.
        name = (problem.name or "").partition(".")[0]
        what = extra if name in ("", "torch", "transformers", "accelerate") else name
        return f"{text[:200]}; `pip install {what}` brings what is missing"
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__


def _die_with(parent: int) -> None:
    """End this process as soon as its guard ends, and before others where the machine is short of memory."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(guard.PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError, ValueError):
            weight = Path("/proc/self/oom_score_adj")
            weight.write_text(str(max(ENDED_FIRST, int(weight.read_text()))))
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")


def main() -> None:
    """Serve the process at the other end until it hangs up."""
    faulthandler.enable()
    _die_with(int(sys.argv[2]))
    connection = _Connection(int(sys.argv[1]))
    try:
        _serve(connection)
    except (EOFError, BrokenPipeError):
        return
    finally:
        # Threads that a model left running may keep this process for long after it is of use.
        connection.close()


if __name__ == "__main__":
    main()
