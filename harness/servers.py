"""The server behind a model while it is measured: one that runs already, or one that is started for it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Protocol

import psutil

from . import guard
from .endpoints import Endpoint, check_listening, tree_of
from .memory import look_at_gpus
from .said import how_it_ended, readable
from .worker import LOG_KEPT, THREAD_VARIABLES, WorkerFailed

__all__ = ["Server", "open_server", "place_of"]

START_S = 600.0
"""How long a server may take until it answers: large models are read from slow disks."""

_GRACE_S = 5.0
"""How long it may take to end by itself."""

_LOADING = 503
_LOOK_EVERY_S = 0.05


class Server(Protocol):
    """A process of this machine that computes for a model.

    Attributes:
        pid: What it started counts with it.
        port: Where it is asked.
        started: Whether it was started here, for this model alone.
    """

    pid: int
    port: int
    started: bool

    @property
    def alive(self) -> bool:
        """Whether its process is there, and the same as ever."""

    @property
    def why_gone(self) -> str:
        """What became of it, in words."""

    def wait_until_it_answers(self, until_s: float | None) -> None:
        """Wait until it takes questions; ``until_s`` by the monotonic clock.

        Raises:
            WorkerFailed: It has ended, or takes too long.
            UsageError: Another process answers in its place.
        """

    def close(self) -> None:
        """End it and what it started, where it was started here."""


def open_server(endpoint: Endpoint, *, threads: int) -> Server | None:
    """The server that a model's arguments name; None where it is on another machine.

    Raises:
        WorkerFailed: It is not there any more, or cannot be started.
    """
    if endpoint.command:
        return _Started(endpoint, threads)
    return _Found(endpoint, endpoint.pid) if endpoint.pid else None


def place_of(pid: int) -> str:
    """``gpu`` where a process, or one that it started, holds one by NVIDIA's driver; else ``cpu``."""
    tree = {process.pid for process in tree_of(pid)}
    return "gpu" if any(tree & gpu.held.keys() for gpu in look_at_gpus()) else "cpu"


class _Found:
    """One that runs already, and that somebody else ends."""

    started = False

    def __init__(self, endpoint: Endpoint, pid: int) -> None:
        self._endpoint, self.pid, self.port = endpoint, pid, endpoint.port
        try:
            self._process = psutil.Process(pid)
        except psutil.Error as problem:
            raise WorkerFailed(self.why_gone) from problem

    @property
    def alive(self) -> bool:
        with contextlib.suppress(psutil.Error):
            return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
        return False

    @property
    def why_gone(self) -> str:
        return f"its server, process {self.pid}, has ended"

    def wait_until_it_answers(self, until_s: float | None) -> None:  # noqa: ARG002
        """See that it is still this one that is asked: its file may name another process by now."""
        check_listening(self._endpoint, self.pid)

    def close(self) -> None:
        """Nothing."""


class _Started:
    """One that is started here, with a guard that ends it whatever becomes of this process."""

    started = True

    def __init__(self, endpoint: Endpoint, threads: int) -> None:
        if _is_taken(endpoint.port):
            raise WorkerFailed(
                f"something listens at port {endpoint.port} already, so its server cannot; end that, or measure it by "
                "server_pid=",
                may_pass=True,
            )
        self._endpoint = endpoint
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        # So that what is said goes to the end of a log that the guard has shortened.
        fcntl.fcntl(self._log, fcntl.F_SETFL, fcntl.fcntl(self._log, fcntl.F_GETFL) | os.O_APPEND)
        lifeline, self._lifeline = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            self._process = subprocess.Popen(
                _guarded(endpoint.command, lifeline, nothing),
                pass_fds=(lifeline, nothing),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)),
                start_new_session=True,
            )
        except OSError as problem:
            os.close(self._lifeline)
            raise WorkerFailed(f"its server could not be started: {problem.strerror or problem}") from problem
        finally:
            os.close(lifeline)
            os.close(nothing)
        self.pid, self.port = self._process.pid, endpoint.port

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def why_gone(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        said = readable(os.pread(self._log.fileno(), LOG_KEPT, max(0, size - LOG_KEPT)))
        # The guard ends as the server did.
        return how_it_ended("its server", self._process.wait(), said)

    def wait_until_it_answers(self, until_s: float | None) -> None:
        latest_s = time.monotonic() + START_S
        latest_s = latest_s if until_s is None else min(latest_s, until_s)
        while not _answers(self._endpoint.url):
            if not self.alive:
                raise WorkerFailed(self.why_gone)
            if time.monotonic() > latest_s:
                raise WorkerFailed(f"its server did not answer at {self._endpoint.url} in time", may_pass=True)
            time.sleep(_LOOK_EVERY_S)
        check_listening(self._endpoint, self.pid)

    def close(self) -> None:
        children = tree_of(self.pid)[1:]
        for child in children[:1]:
            with contextlib.suppress(psutil.Error):
                child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S if children else 0)
        # The guard ends what is left as soon as this is cut.
        os.close(self._lifeline)
        self._process.wait()
        self._log.close()


def _guarded(command: Sequence[str], lifeline: int, nothing: int) -> list[str]:
    alone = [sys.executable, "-I", "-S", guard.__file__, str(lifeline), str(nothing)]
    # The guard adds its own number to what it runs, which the shell takes for a name.
    return [*alone, "/bin/sh", "-c", f"exec {shlex.join(command)}"]


def _answers(url: str) -> bool:
    """Whether it says anything but that it is still loading, asked for its models."""
    root = url.rstrip("/").removesuffix("/completions").removesuffix("/chat")
    try:
        with urllib.request.urlopen(f"{root}/models", timeout=5):  # noqa: S310 - a loopback address, checked before
            return True
    except urllib.error.HTTPError as reply:
        return reply.code != _LOADING
    except (OSError, ValueError):
        return False


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
