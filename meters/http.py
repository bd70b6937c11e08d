"""Small JSON answers over HTTP, read with a bound on their size and on the time that a whole answer may take.

Nothing of the environment is used: no proxy, no netrc file. Redirects are refused, since a meter has one address.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import http.client
import io
import json
import math
import secrets
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

from .errors import UsageError
from .polling import NoSample

__all__ = ["Answer", "Garbled", "Http", "Refused", "Silent"]

MOST_BYTES = 1_000_000
"""More than any of these sources says at once."""

_DIGESTS = {"SHA-256": "sha256", "MD5": "md5"}
"""Algorithms of RFC 7616 that servers here use, the best first."""
_NOT_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}
"""What OpenSSL calls an answer that begins like no TLS record, in its several versions."""


class Silent(NoSample):
    """The server did not answer in time, or cannot be reached."""


class Refused(NoSample):
    """The server answered with an error; ``status`` is its number."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Garbled(NoSample):
    """The server answered with something other than JSON, or with far too much of it."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server said, and when it was asked and had answered, by the monotonic clock in nanoseconds."""

    content: Any
    t0_ns: int
    t1_ns: int

    @property
    def moment_ns(self) -> float:
        """The middle of the journey: when the server looked, give or take `u_moment_s`."""
        return (self.t0_ns + self.t1_ns) / 2

    @property
    def u_moment_s(self) -> float:
        """Standard uncertainty of that: the server looked at any moment of the journey."""
        return (self.t1_ns - self.t0_ns) / 1e9 / math.sqrt(12)


class Http:
    """One server, asked over a connection that is kept open; for one thread at a time."""

    def __init__(
        self,
        base: str,
        *,
        timeout_s: float = 2.0,
        user: str | None = None,
        password: str | None = None,
        digest: bool = False,
        token: str | None = None,
        verify: bool = True,
    ) -> None:
        """Nothing is sent yet.

        Args:
            base: Address, such as ``http://192.0.2.7``; ``http://`` may be left out.
            timeout_s: Seconds for a whole answer, connecting included.
            user: For servers that ask for one.
            password: The same.
            digest: Whether to log in by digest (RFC 7616) rather than basic authentication.
            token: A bearer token, instead of a user.
            verify: Whether the certificate of an https server must be valid.

        Raises:
            UsageError: The address is none, or holds a password.
        """
        self.base = base.rstrip("/") if "://" in base else f"http://{base.rstrip('/')}"
        self._scheme, self._host, self._port, self._prefix = _parts(self.base)
        self._timeout_s, self._verify = timeout_s, verify
        self._digest = _Digest(user, password or "") if user is not None and digest else None
        self._fixed: dict[str, str] = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if token is not None:
            self._fixed["Authorization"] = f"Bearer {token}"
        elif user is not None and not digest:
            login = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
            self._fixed["Authorization"] = f"Basic {login}"
        self._connection: http.client.HTTPConnection | None = None
        self._due = _Due()

    def get(self, path: str, **query: str) -> Answer:
        """The JSON under ``path``.

        Raises:
            Refused: The server answered with an error, or wants to send us elsewhere.
            Silent: There was no answer in time.
            Garbled: It gave something other than JSON, or far too much of it.
        """
        target = self._prefix + path + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        self._due.start(self._timeout_s)
        try:
            heard = self._ask_twice_at_most(target)
        except (OSError, http.client.HTTPException, UnicodeError) as problem:
            self.close()
            why = "speaks plain http, not https" if _is_plain_http(problem) else f"does not answer ({_plain(problem)})"
            raise Silent(f"{self.base} {why}") from problem
        if heard.status != http.client.OK:
            said = _said(heard.body)
            raise Refused(
                f"{self.base} answered {heard.status} {_printable(heard.reason)}".rstrip() + said, heard.status
            )
        if len(heard.body) > MOST_BYTES:
            raise Garbled(f"{self.base} answered with more than {MOST_BYTES:,} bytes")
        try:
            content = json.loads(heard.body)
        except (ValueError, RecursionError) as problem:
            raise Garbled(f"{self.base} gave {heard.body[:40]!r} instead of JSON") from problem
        return Answer(content=content, t0_ns=heard.t0_ns, t1_ns=heard.t1_ns)

    def advise(self, problem: Exception, what: str, page: str) -> str:
        """What to do about a problem with this server, by its kind.

        Args:
            problem: What was raised.
            what: What the server should be, such as ``Shelly``.
            page: Where it says something that people can read.
        """
        look = f"see what {self.base}{page} says"
        if isinstance(problem, Silent):
            return self._advise_on_silence(problem.__cause__, what)
        if isinstance(problem, Refused) and HTTPStatus(300) <= problem.status < HTTPStatus.BAD_REQUEST:
            return f"{look}: it sends elsewhere, so give the address that it sends to"
        if isinstance(problem, Garbled) or (isinstance(problem, Refused) and problem.status == HTTPStatus.NOT_FOUND):
            return f"see that {self.base} is the {what}'s address: something else seems to answer there"
        if isinstance(problem, Refused):
            return f"{look}, and restart the {what} if it goes on"
        return f"{look}, and update the {what}'s firmware if that makes no sense"

    def _advise_on_silence(self, cause: BaseException | None, what: str) -> str:
        plain = "http" + self.base.removeprefix("https")
        if _is_plain_http(cause):
            return f"write {plain}, where a password can be read by whoever sits between"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "give it a valid certificate, or say verify=no to take any"
        if isinstance(cause, ssl.SSLError):
            return f"see which versions of TLS the {what} speaks, or write {plain} if it speaks plain http too"
        if isinstance(cause, socket.gaierror):
            return f"no machine here is called {self._host}: give the {what}'s address in numbers"
        longer = "; if it is merely slow, say timeout_s=SECONDS" if isinstance(cause, TimeoutError) else ""
        return (
            f"see that {self.base} is the {what}'s address, that it is on, and that it is in a network which this "
            f"machine reaches{longer}"
        )

    def close(self) -> None:
        """Let go of the connection; it may be used again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _ask_twice_at_most(self, target: str) -> _Heard:
        """Once more over a new connection where a kept one had been closed by the server meanwhile."""
        kept = self._connection is not None
        try:
            return self._ask_logging_in(target)
        except ConnectionError:
            self.close()
            if not kept:
                raise
            return self._ask_logging_in(target)

    def _ask_logging_in(self, target: str) -> _Heard:
        """Once more where the server gave a challenge (or a new one) for a login by digest."""
        heard = self._ask(target)
        if heard.status == http.client.UNAUTHORIZED and self._digest and self._digest.learn(heard.challenges):
            return self._ask(target)
        return heard

    def _ask(self, target: str) -> _Heard:
        headers = self._fixed | (self._digest.headers(target) if self._digest else {})
        connection = self._connect()
        if connection.sock is None:
            connection.connect()
        t0_ns = time.monotonic_ns()
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        try:
            body = response.read(MOST_BYTES + 1)
            t1_ns = time.monotonic_ns()
        finally:
            # A connection with an answer that was not read to its end cannot carry another.
            if not response.isclosed():
                response.close()
                self.close()
        challenges = response.headers.get_all("WWW-Authenticate") or []
        return _Heard(response.status, response.reason, challenges, body, t0_ns, t1_ns)

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            if self._scheme == "https":
                context = ssl.create_default_context()
                if not self._verify:
                    context.check_hostname = False
                    context.verify_mode = ssl.CERT_NONE
                self._connection = http.client.HTTPSConnection(self._host, self._port, context=context)
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port)
            self._connection.response_class = functools.partial(_Response, due=self._due)  # type: ignore[assignment]
        self._connection.timeout = self._due.left_s()
        if self._connection.sock is not None:
            self._connection.sock.settimeout(self._due.left_s())
        return self._connection


@dataclass(frozen=True)
class _Heard:
    status: int
    reason: str
    challenges: Sequence[str]
    body: bytes
    t0_ns: int
    t1_ns: int


class _Due:
    """When an answer must be there."""

    def __init__(self) -> None:
        self._at_s = 0.0

    def start(self, seconds: float) -> None:
        self._at_s = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds left; raises TimeoutError where there are none."""
        left = self._at_s - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class _Bounded(io.RawIOBase):
    """Bytes from a socket until they are due.

    A socket's own timeout begins anew with every packet, so that a server which drips could keep us for ever.
    """

    def __init__(self, sock: socket.socket, due: _Due) -> None:
        self._sock, self._due = sock, due
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._due.left_s())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer whose status, headers and body are all read in time."""

    def __init__(self, sock: socket.socket, *args: Any, due: _Due, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        unbounded, self.fp = self.fp, io.BufferedReader(_Bounded(sock, due))
        unbounded.close()


class _Digest:
    """Login by digest as in RFC 7616, with ``qop=auth``; the server's nonce is used again, counted up, while it may."""

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password
        self._challenge: dict[str, str] | None = None
        self._count = 0

    def learn(self, challenges: Sequence[str]) -> bool:
        """Take the best challenge there is; False where there is none that we can answer."""
        known: dict[str, dict[str, str]] = {}
        for text in challenges:
            scheme, _, rest = text.partition(" ")
            if scheme.lower() != "digest":
                continue
            with contextlib.suppress(ValueError, IndexError):  # What is no list of key=value is no challenge.
                challenge = parse_keqv_list(parse_http_list(rest))
                known.setdefault(challenge.get("algorithm", "MD5").upper(), challenge)
        self._challenge = next((known[name] for name in _DIGESTS if name in known), None)
        self._count = 0
        return self._challenge is not None and {"realm", "nonce"} <= self._challenge.keys()

    def headers(self, target: str) -> dict[str, str]:
        """For a question; none before the first challenge."""
        if self._challenge is None:
            return {}
        self._count += 1
        algorithm = self._challenge.get("algorithm", "MD5").upper()
        realm, nonce, count, own = self._challenge["realm"], self._challenge["nonce"], f"{self._count:08x}", _nonce()
        secret = _hash(algorithm, self._user, realm, self._password)
        asked = _hash(algorithm, "GET", target)
        parts = {"username": self._user, "realm": realm, "nonce": nonce, "uri": target, "cnonce": own}
        if "qop" in self._challenge:
            parts["response"] = _hash(algorithm, secret, nonce, count, own, "auth", asked)
            bare = f", qop=auth, nc={count}"
        else:
            parts["response"], bare = _hash(algorithm, secret, nonce, asked), ""
        if "opaque" in self._challenge:
            parts["opaque"] = self._challenge["opaque"]
        quoted = ", ".join(f'{key}="{value}"' for key, value in parts.items())
        return {"Authorization": f"Digest {quoted}, algorithm={algorithm}{bare}"}


def _hash(algorithm: str, *parts: str) -> str:
    return hashlib.new(_DIGESTS[algorithm], ":".join(parts).encode(), usedforsecurity=False).hexdigest()


def _nonce() -> str:
    return secrets.token_hex(8)


def _parts(base: str) -> tuple[str, str, int | None, str]:
    try:
        url = urlsplit(base)
        scheme, host, port = url.scheme, url.hostname, url.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in ("http", "https") or not host:
        raise UsageError(f"{base!r} is no address of a server; write http://ADDRESS or https://ADDRESS")
    if url.username is not None:
        raise UsageError("an address holds no user and no password; write user=NAME,password_env=VARIABLE")
    return scheme, host, port, url.path


def _is_plain_http(problem: BaseException | None) -> bool:
    """Whether a server answered our hello in something other than TLS."""
    return isinstance(problem, ssl.SSLError) and problem.reason in _NOT_TLS


def _said(body: bytes) -> str:
    """A server's reason for its error: ``error`` or ``message``, as Prometheus, Redfish and Shelly have it."""
    try:
        found = json.loads(body[:MOST_BYTES])
    except (ValueError, RecursionError):
        return ""
    for key in ("error", "message"):
        found = found.get(key, found) if isinstance(found, dict) else found
    return f": {found[:200].rstrip('. ')}" if isinstance(found, str) and _printable(found) else ""


def _printable(text: str) -> str:
    """What a server says, unless it would do something to the terminal."""
    return text if text.isprintable() else ""


def _plain(problem: BaseException) -> str:
    """The innermost cause, without the layers that libraries put around it."""
    inner = problem
    while (deeper := inner.__cause__ or inner.__context__) is not None:
        inner = deeper
    return str(inner) or type(inner).__name__
