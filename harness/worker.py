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
import traceback
from dataclasses import asdict
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any

from joulemark.meters.errors import UsageError
from joulemark.tasks.types import RequestMeter

from .models import REFERENCE, ModelSpec

__all__ = ["Worker", "WorkerFailed"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
QUIET = {"TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
STDERR_KEPT = 2000
SHUTDOWN_S = 5.0
LOOK_EVERY_S = 1.0


class WorkerFailed(Exception):
    """The model could not be loaded or did not answer; the worker is of no more use if it is not alive."""


class Worker:
    """One model's process, from this side. Make several at once: they start side by side."""

    def __init__(self, spec: ModelSpec, *, batch_size: int, threads: int, offline: bool) -> None:
        self.spec, self.batch_size, self.threads = spec, batch_size, threads
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

    def wait_ready(self) -> None:
        """Wait until it has imported what it needs."""
        self._receive("ready")

    def load(self) -> None:
        """Load the model."""
        self._send(do="load", spec=asdict(self.spec), batch_size=self.batch_size, threads=self.threads)
        self.place = str(self._receive("loaded")["place"])

    def ask(self, task: str, meter: RequestMeter, **settings: Any) -> dict[str, Any]:
        """Ask a task's questions; the fields of `TaskResult`, and ``peak_rss_mb``.

        Whatever goes wrong on this side stops the worker, so that no answer is ever taken for another's.

        Raises:
            WorkerFailed: The model failed, with the reason.
            MeterLost: As the meter raises.
        """
        try:
            self._send(do="ask", task=task, **settings)
            while (message := self._receive("start", "stop", "answered"))["say"] != "answered":
                (meter.start if message["say"] == "start" else meter.stop)()
                self._send()
        except (WorkerFailed, UsageError):
            raise
        except BaseException:
            self.close()
            raise
        return message

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

    def _receive(self, *wanted: str) -> dict[str, Any]:
        try:
            # A process it started may hold the connection open after its own end, which therefore is looked for.
            while not self._connection.poll(LOOK_EVERY_S):
                if self._process.poll() is not None:
                    raise EOFError
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
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - STDERR_KEPT))
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        if code < 0:
            hint = " (out of memory?)" if code == -signal.SIGKILL else ""
            return f"its process was ended by {signal.Signals(-code).name}{hint}{last}"
        return f"its process ended with exit code {code}{last}"


class _Remote:
    """The meter as the model's process sees it: says when, and waits until it was read."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def start(self) -> None:
        _tell(self._connection, "start")
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


def _load(spec: ModelSpec, batch_size: int, threads: int) -> Any:
    from joulemark.tasks import lmeval

    if spec.backend == REFERENCE:
        from .reference import load_engine

        return lmeval.EngineLM(load_engine(spec.args, batch_size, threads))
    return lmeval.load_model(spec.backend, spec.args, batch_size)


def _serve(connection: Connection) -> None:
    from joulemark.tasks import lmeval

    lm: Any = None
    tasks: dict[str, Any] = {}
    _tell(connection, "ready")
    while True:
        order = json.loads(connection.recv_bytes())
        try:
            if order.pop("do") == "load":
                lm = _load(ModelSpec(**order.pop("spec")), **order)
                _tell(connection, "loaded", place=lmeval.place_of(lm))
                continue
            name, stock = order.pop("task"), order.pop("stock")
            if name not in tasks:
                tasks[name] = lmeval.load_task(name, stock=stock)
            result = lmeval.ask(lm, tasks[name], _Remote(connection), **order)
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
