"""A real HTTP server on loopback that can be made to fail in the ways that servers do, and a known power to tell."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from joulemark.meters.errors import MeterLost
from joulemark.meters.polling import PolledMeter
from joulemark.meters.types import Domain, EnergyRecord, Unavailable
from joulemark.meters.window import Recorder

__all__ = ["FAULTS", "Asked", "Drawn", "Loopback", "Reply", "domains_of", "lost_by", "measure", "said", "steady"]


@dataclass(frozen=True)
class Asked:
    """One question."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    reason: str | None = None


def said(content: Any, status: int = 200, **headers: str) -> Reply:
    """JSON, as small devices write it."""
    return Reply(json.dumps(content, separators=(",", ":")).encode(), status, headers)


class Loopback:
    """The server; ``fault`` is the name of one of `FAULTS`, or None; one that ``hangs_up`` closes connections."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.answer = answer
        self.fault: str | None = None
        self.hangs_up = False
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def setup(self) -> None:
                super().setup()
                outer._open.add(self.connection)

            def do_GET(self) -> None:
                outer._handle(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # Clients that hang up early are what these tests are about.

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    @property
    def socket(self) -> socket.socket:
        return self._server.socket

    @socket.setter
    def socket(self, wrapped: socket.socket) -> None:
        self._server.socket = wrapped

    def unplug(self) -> None:
        """Close it and all its connections."""
        if self.closing.is_set():
            return
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        asked = Asked(url.path, dict(parse_qsl(url.query)), {k.lower(): v for k, v in handler.headers.items()})
        self.asked.append(asked)
        if self.fault is not None:
            handler.close_connection = True
            FAULTS[self.fault](handler, self.closing)
            return
        reply = self.answer(asked)
        handler.send_response(reply.status, reply.reason)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(reply.body)))
        handler.end_headers()
        handler.wfile.write(reply.body)
        handler.close_connection = self.hangs_up


def _begin(handler: BaseHTTPRequestHandler, length: int, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def _fail(handler: BaseHTTPRequestHandler, _closing: threading.Event) -> None:
    _begin(handler, 5, 500)
    handler.wfile.write(b"Oops!")


def _hang(_handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
    closing.wait(30)


def _garble(handler: BaseHTTPRequestHandler, _closing: threading.Event) -> None:
    garbage = b"\x00\xff<html>" + os.urandom(100)
    _begin(handler, len(garbage))
    handler.wfile.write(garbage)


def _break_off(handler: BaseHTTPRequestHandler, _closing: threading.Event) -> None:
    _begin(handler, 1000)
    handler.wfile.write(b'{"id":0,"apower":57')


def _hang_up(handler: BaseHTTPRequestHandler, _closing: threading.Event) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def _drip(handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
    _begin(handler, 100_000)
    while not closing.wait(0.02):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def _drip_headers(handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not closing.wait(0.02):
        handler.wfile.write(b"z")
        handler.wfile.flush()


def _flood(handler: BaseHTTPRequestHandler, _closing: threading.Event) -> None:
    _begin(handler, 1_000_000_000)
    for _ in range(1000):
        handler.wfile.write(b"[" * 1_000_000)


def _send_away(handler: BaseHTTPRequestHandler, _closing: threading.Event) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://192.0.2.1/elsewhere")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


FAULTS: dict[str, Callable[[BaseHTTPRequestHandler, threading.Event], None]] = {
    "HTTP 500": _fail,
    "hangs": _hang,
    "garbage": _garble,
    "breaks off": _break_off,
    "hangs up": _hang_up,
    "drips": _drip,
    "drips headers": _drip_headers,
    "a gigabyte": _flood,
    "redirects": _send_away,
}
"""Ways to fail, by name."""


class Drawn:
    """A power that a device measures: the mean of every ``update_s`` seconds, known once these are over.

    Args:
        energy_j: Joules up to a time in seconds since this was made.
        update_s: How often the device renews its figures.
    """

    def __init__(self, energy_j: Callable[[float], float], *, update_s: float = 0.1) -> None:
        self._energy_j, self.update_s = energy_j, update_s
        self._began_s = time.monotonic() - 10 * update_s

    def watts(self) -> float:
        end_s = self._renewed_s()
        return (self._energy_j(end_s) - self._energy_j(end_s - self.update_s)) / self.update_s

    def counted_j(self) -> float:
        """Joules up to the last renewal."""
        return self._energy_j(self._renewed_s())

    def energy_j(self, since_begin_s: float) -> float:
        """Joules up to a time since this was made."""
        return self._energy_j(since_begin_s)

    def true_j(self, record: EnergyRecord) -> float:
        """What was really drawn in a window."""
        start_s = record.began_ns / 1e9 - self._began_s
        return self._energy_j(start_s + record.window_s) - self._energy_j(start_s)

    @property
    def began_s(self) -> float:
        """When this was made, by the monotonic clock."""
        return self._began_s

    def _renewed_s(self) -> float:
        return math.floor((time.monotonic() - self._began_s) / self.update_s) * self.update_s


def steady(watts: float) -> Callable[[float], float]:
    """Joules up to a time for a constant power."""
    return lambda t: watts * t


def domains_of(meter: PolledMeter) -> dict[str, Domain]:
    """What a meter offers, by id."""
    found = meter.probe()
    assert not isinstance(found, Unavailable), found
    return {domain.id: domain for domain in found}


def measure(meter: PolledMeter, seconds: float, *, meanwhile: Callable[[], None] | None = None) -> EnergyRecord:
    """The energy of a window, by the real recorder."""
    with Recorder([meter], list(domains_of(meter).values()), os.getpid()) as recorder:
        recorder.start()
        time.sleep(seconds / 2)
        if meanwhile is not None:
            meanwhile()
        time.sleep(seconds / 2)
        return recorder.stop()


def lost_by(meter: PolledMeter, within_s: float = 4.0) -> str:
    """Read an open meter until it is lost; what it says then."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        try:
            meter.read()
        except MeterLost as lost:
            with pytest.raises(MeterLost):
                meter.read()
            return str(lost)
        time.sleep(0.01)
    pytest.fail(f"it still gives readings after {within_s} s")
