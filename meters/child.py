"""A process of its own for a library that is slow to load, prints, hangs, or leaves processes behind.

The two talk in lines of JSON. Whatever the library prints goes elsewhere, every answer has a time limit, and in the
end the process and all that it started are gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Child", "ChildFailed", "answer_questions"]

_LEAVES_S = 2.0
"""How long a process is given to end by itself."""


class ChildFailed(Exception):
    """The process ended, or gave no answer in time; it is gone, and says no more."""


class Child:
    """The other end of `answer_questions`: a module that is run as ``python -m MODULE``."""

    def __init__(self, module: str, *, env: Mapping[str, str] | None = None, folder: Path | None = None) -> None:
        """Start it.

        Args:
            module: What to run; it calls `answer_questions`.
            env: Its environment; None for this process's own. It finds the same packages as this process either way.
            folder: Its working directory; None for this process's own.
        """
        packages = os.pathsep.join(dict.fromkeys(str(Path(entry).absolute()) for entry in sys.path))
        self._said = b""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close
        # A session of its own: Ctrl-C is this process's to handle, and its group can be ended as a whole.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
            env=dict(os.environ if env is None else env) | {"PYTHONPATH": packages},
            cwd=folder,
            start_new_session=True,
        )

    def ask(self, question: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Its answer; one with the key ``error`` where answering failed.

        Raises:
            ChildFailed: There is none within ``timeout_s``, or the process has ended.
        """
        if self._process.stdin is None or self._process.stdin.closed:
            raise ChildFailed("its process has ended")
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            line = self._read_line(time.monotonic() + timeout_s)
        except TimeoutError as problem:
            self._end(0.0)
            raise ChildFailed(f"no answer within {timeout_s:g} s") from problem
        except (OSError, EOFError) as problem:
            last_words = self._last_words()
            self._end(0.0)
            raise ChildFailed(f"its process ended{last_words}") from problem
        with contextlib.suppress(ValueError):
            if isinstance(found := json.loads(line), dict):
                return found
        self._end(0.0)
        raise ChildFailed(f"{line[:80].decode(errors='replace')!r} instead of an answer")

    def close(self, patience_s: float = _LEAVES_S) -> None:
        """End the process and all that it started; it is given a moment to do that by itself."""
        self._end(patience_s)

    def _end(self, patience_s: float) -> None:
        if self._process.stdin is None or self._process.stdin.closed:
            return
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError, EOFError, OSError):
            until = time.monotonic() + patience_s
            while True:
                self._said = b""
                self._read_line(until)
        # It is not waited for yet, so the number of its group cannot have become another's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def _read_line(self, until: float) -> bytes:
        """Raises TimeoutError, or EOFError where the process has closed its end."""
        assert self._process.stdout is not None
        ready = select.poll()
        ready.register(self._process.stdout, select.POLLIN)
        while b"\n" not in self._said:
            if not ready.poll(max(0.0, until - time.monotonic()) * 1e3):
                raise TimeoutError
            part = self._process.stdout.read(65536)
            if not part:
                raise EOFError
            self._said += part
        line, _, self._said = self._said.partition(b"\n")
        return line

    def _last_words(self) -> str:
        """The last line that it wrote as an error."""
        with contextlib.suppress(OSError, ValueError):
            self._log.seek(0)
            lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
            return f": {lines[-1][:200]}" if lines else ""
        return ""


def answer_questions(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer until the other end hangs up; what raises becomes an answer with the key ``error``."""
    # Libraries print, in C too: what they print must not get among the answers.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        for line in sys.stdin:
            try:
                said = answer(json.loads(line))
            except Exception as problem:
                said = {"error": str(problem) or type(problem).__name__}
            print(json.dumps(said), file=out, flush=True)
