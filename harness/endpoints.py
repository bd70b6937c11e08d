"""Where the server of a model is: what its arguments say of that, and whether it can be true."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from joulemark.meters.errors import UsageError
from joulemark.tasks.ownargs import split_args

__all__ = ["Endpoint", "check_here", "check_listening", "endpoint_of", "tree_of"]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A server whose energy is to be measured.

    Attributes:
        url: Where it is asked.
        port: Of that.
        pid: The process that computes, where it runs already.
        command: What starts it, where Joulemark does.
        seen_by: The meter that sees its machine, where that is another one.
    """

    url: str
    port: int
    pid: int | None = None
    command: tuple[str, ...] = ()
    seen_by: str | None = None


def endpoint_of(label: str, args: str) -> Endpoint | None:
    """Read ``server_pid=``, ``server=`` or ``server_at=`` among a model's arguments; None where there is none of them.

    ``server_pid=`` may name a file that holds the number, which is read each time.

    Raises:
        UsageError: They contradict each other or ``base_url``, or name what is not there.
    """
    theirs, ours = split_args(args)
    if not ours:
        return None
    if len(ours) > 1:
        raise UsageError(f"model {label!r}: give one of {', '.join(f'{key}=' for key in sorted(ours))}, not several.")
    url = next((part.partition("=")[2] for part in theirs.split(",") if part.startswith("base_url=")), "")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (KeyError, ValueError):
        raise UsageError(f"model {label!r}: say where the server is: base_url=http://127.0.0.1:8000/v1/...") from None
    if ours.get("server_at"):
        return Endpoint(url=url, port=port, seen_by=ours["server_at"])
    if not _is_loopback(host or ""):
        raise UsageError(
            f"model {label!r}: base_url is at {host}, and a process of this machine is reached at 127.0.0.1. "
            "For a server elsewhere name a meter that sees its machine: --meter NAME=..., and server_at=NAME."
        )
    if command := ours.get("server"):
        return Endpoint(url=url, port=port, command=_command(label, command))
    return Endpoint(url=url, port=port, pid=_pid(label, ours.get("server_pid", "")))


def check_here(label: str, endpoint: Endpoint) -> None:
    """See that the process, or the program, is on this machine.

    Raises:
        UsageError: It is not, or it is not what is asked.
    """
    if endpoint.command and shutil.which(endpoint.command[0]) is None:
        raise UsageError(f"model {label!r}: server=: there is no program {endpoint.command[0]!r} here.")
    if endpoint.pid is not None:
        if not psutil.pid_exists(endpoint.pid):
            raise UsageError(
                f"model {label!r}: no process {endpoint.pid} is on this machine. A server that is started again has "
                "another number: server_pid=FILE reads it from a file, as servers write with --pidfile."
            )
        if os.getpid() in (process.pid for process in tree_of(endpoint.pid)):
            raise UsageError(
                f"model {label!r}: process {endpoint.pid} has started this run itself, whose work would be counted as "
                "its server's. Give the process id of the server."
            )
        check_listening(endpoint, endpoint.pid)


def check_listening(endpoint: Endpoint, pid: int) -> None:
    """See that it is this process, or one that it started, that is asked; where that can be seen.

    Raises:
        UsageError: Another one is.
    """
    if not _same_network(pid):
        # A container has ports of its own.
        return
    tree = tree_of(pid)
    ports = {port for process in tree for port in _listens_at(process)}
    if None not in ports and endpoint.port not in ports:
        raise UsageError(
            f"process {pid} ({tree[0].name() if tree else 'gone'}) does not listen at port {endpoint.port}, where "
            "base_url asks: its energy would be another's. Give the process id of the server itself."
        )


def tree_of(pid: int) -> list[psutil.Process]:
    """A process and all that it started; empty where it has ended."""
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _command(label: str, text: str) -> tuple[str, ...]:
    try:
        words = shlex.split(text)
    except ValueError as problem:
        raise UsageError(f"model {label!r}: server={text}: {problem}.") from None
    if not words:
        raise UsageError(f"model {label!r}: server= says no command.")
    return tuple(words)


def _pid(label: str, text: str) -> int:
    """A number, or what stands first in a file: a server that is started again writes its new one there."""
    number = text if text.isdecimal() else _first_word(Path(text).expanduser())
    if not number.isdecimal() or int(number) < 1:
        raise UsageError(
            f"model {label!r}: server_pid={text}: give the number of the server's process, or a file that holds it."
        )
    return int(number)


def _first_word(path: Path) -> str:
    """What a file begins with; empty where there is none."""
    try:
        return next(iter(path.read_text(encoding="utf-8").split()), "")
    except (OSError, ValueError):
        return ""


def _same_network(pid: int) -> bool:
    """Whether a process has the same ports as this one; True where there is no telling."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()
    return True


def _listens_at(process: psutil.Process) -> list[int | None]:
    """Its ports; None among them where it does not show them to us."""
    try:
        connections = process.net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return []
    except psutil.Error:
        return [None]
    return [each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN]
