"""A process for each model: loading, asking and crashing happen there, measuring happens here.

The two sides talk over a socket pair, one JSON object a message:

    here:  {"do": "load" | "ask", ...}
    there: {"say": "ready" | "loaded" | "start" | "stop" | "answered" | "failed", ...}

``start`` and ``stop`` are answered with ``{}`` as soon as the meters were read.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any

import psutil

from joulemark.meters.errors import UsageError
from joulemark.tasks.types import Part, RequestMeter

from .models import REFERENCE, ModelSpec

__all__ = ["Worker", "WorkerFailed"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
QUIET = {"TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
LOG_KEPT = 20_000
SHUTDOWN_S = 5.0
LOOK_EVERY_S = 1.0


class WorkerFailed(Exception):
    """The model could not be loaded or did not answer; the worker is of no more use if it is not alive."""


class Worker:
    """One model's process, from this side. Make several at once: they start side by side."""

    def __init__(self, spec: ModelSpec, *, threads: int, offline: bool) -> None:
        self.spec, self.threads = spec, threads
        self.place = ""
        """Where the model turned out to compute once loaded: ``cpu``, ``gpu`` or ``server``."""
        here, there = Pipe()
        self._connection = here
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)) | QUIET
        if offline:
            environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "joulemark.harness.worker", str(there.fileno()), str(os.getpid())],
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._stderr,
            stderr=self._stderr,
            env=environment,
            # Ctrl-C is for the side that keeps the records.
            start_new_session=True,
        )
        there.close()

    @property
    def pid(self) -> int:
        """The process whose tree does the computing."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.poll() is None and not self._connection.closed

    @property
    def rss(self) -> int:
        """Bytes of memory that its process tree holds."""
        with contextlib.suppress(psutil.NoSuchProcess):
            tree = psutil.Process(self.pid)
            return sum(member.memory_info().rss for member in (tree, *tree.children(recursive=True)))
        return 0

    def wait_ready(self) -> None:
        """Wait until it has imported what it needs."""
        self._receive("ready")

    def load(self) -> None:
        """Load the model."""
        self._send(do="load", spec=asdict(self.spec), threads=self.threads)
        self.place = str(self._receive("loaded")["place"])

    def ask(self, task: str, meter: RequestMeter, *, timeout_s: float | None = None, **settings: Any) -> dict[str, Any]:
        """Ask a task's questions; the fields of `TaskResult`, and ``peak_rss_mb``.

        Whatever goes wrong on this side stops the worker, so that no answer is ever taken for another's.

        Raises:
            WorkerFailed: The model failed, or took longer than ``timeout_s``, with the reason.
            MeterLost: As the meter raises.
        """
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            self._send(do="ask", task=task, **settings)
            while (message := self._receive("start", "stop", "answered", until_s=until_s))["say"] != "answered":
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
        return message

    @property
    def log(self) -> str:
        """The end of what the process said on stdout and stderr."""
        if self._stderr.closed:
            return ""
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - LOG_KEPT))
        return self._stderr.read().decode(errors="replace")

    def kill(self) -> None:
        """End the process by force; what it said is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End the process and what it started; by force if it does not go."""
        self._connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(SHUTDOWN_S if sys.exc_info()[0] is None else 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._stderr.close()

    def _send(self, **message: Any) -> None:
        try:
            self._connection.send_bytes(json.dumps(message).encode())
        except OSError as problem:
            raise WorkerFailed(self._why_gone()) from problem

    def _receive(self, *wanted: str, until_s: float | None = None) -> dict[str, Any]:
        try:
            # A process it started may hold the connection open after its own end, which therefore is looked for.
            while not self._connection.poll(LOOK_EVERY_S):
                if self._process.poll() is not None:
                    raise EOFError
                if until_s is not None and time.monotonic() > until_s:
                    self.kill()
                    raise WorkerFailed("it took longer than --timeout allows")
            message: dict[str, Any] = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as problem:
            raise WorkerFailed(self._why_gone()) from problem
        if message["say"] == "failed":
            raise (UsageError if message["usage"] else WorkerFailed)(message["error"])
        if message["say"] not in wanted:
            self.close()
            raise WorkerFailed(f"its process said {message['say']!r} out of turn")
        return message

    def _why_gone(self) -> str:
        try:
            code = self._process.wait(SHUTDOWN_S)
        except subprocess.TimeoutExpired:
            return "its process hung up"
        lines = self.log.strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        if code < 0:
            hint = " (out of memory?)" if code == -signal.SIGKILL else ""
            return f"its process was ended by {signal.Signals(-code).name}{hint}{last}"
        return f"its process ended with exit code {code}{last}"


class _Remote:
    """The meter as the model's process sees it: says when, and waits until it was read."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def start(self, part: Part) -> None:
        _tell(self._connection, "start", part=part)
        self._connection.recv_bytes()

    def stop(self) -> None:
        _tell(self._connection, "stop")
        self._connection.recv_bytes()


def _tell(connection: Connection, say: str, **content: Any) -> None:
    connection.send_bytes(json.dumps({"say": say, **content}).encode())


def _peak_rss_mb() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _load(spec: ModelSpec, threads: int) -> Any:
    from joulemark.tasks import lmmodels

    if spec.backend == REFERENCE:
        from .reference import load_engine

        return lmmodels.EngineLM(load_engine(spec.args, threads=threads))
    return lmmodels.load_model(spec.backend, spec.args)


def _serve(connection: Connection) -> None:
    from joulemark.tasks import lmeval, lmmodels
    from joulemark.tasks.types import Asking

    lm: Any = None
    watch: Any = None
    tasks: dict[str, lmeval.Question] = {}
    _tell(connection, "ready")
    while True:
        order = json.loads(connection.recv_bytes())
        try:
            if order.pop("do") == "load":
                lm = _load(ModelSpec(**order.pop("spec")), **order)
                watch = lmmodels.watch_of(lm)
                _tell(connection, "loaded", place=lmmodels.place_of(lm))
                continue
            name, stock, include = order.pop("task"), order.pop("stock"), order.pop("include")
            if name not in tasks:
                tasks[name] = lmeval.load_task(name, stock=stock, include=include)
            lmmodels.set_pace(lm, watch, batch_size=order.pop("batch_size"), concurrency=order.pop("concurrency"))
            how = Asking(**order.pop("how"))
            result = lmeval.ask(lm, watch, tasks[name], _Remote(connection), how=how, **order)
            _tell(connection, "answered", result=asdict(result), peak_rss_mb=_peak_rss_mb())
        except EOFError:
            raise
        except Exception as problem:
            traceback.print_exc()
            usage = isinstance(problem, UsageError)
            _tell(connection, "failed", usage=usage, error=_one_line(problem))


def _one_line(problem: Exception) -> str:
    text = " ".join(str(problem).split())[:500]
    if isinstance(problem, UsageError):
        return text
    if isinstance(problem, ModuleNotFoundError):
        extra = "api" if "API model" in text else "hf"
        return f"{text[:200]}; `pip install 'joulemark[{extra}]'` brings what is missing"
    return f"{type(problem).__name__}: {text}"


def _die_with(parent: int) -> None:
    """End this process as soon as the one that keeps the records ends, however that happens."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")


def main() -> None:
    """Serve the process at the other end until it hangs up."""
    _die_with(int(sys.argv[2]))
    try:
        _serve(Connection(int(sys.argv[1])))
    except (EOFError, BrokenPipeError):
        return


if __name__ == "__main__":
    main()
