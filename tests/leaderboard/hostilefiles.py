"""Files that are no submissions, and what may hide behind a name: each with the code that it must be refused with."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import socket
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["FILES"]


def _sparse(path: Path, _valid: bytes) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 30)


def _zipped(path: Path, valid: bytes) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("submission.json", b" " * (1 << 22) + valid)
    path.write_bytes(packed.getvalue())


def _tarred(path: Path, valid: bytes) -> None:
    with tarfile.open(path, "w:gz") as archive:
        told = tarfile.TarInfo("../submission.json")
        told.size = len(valid)
        archive.addfile(told, io.BytesIO(valid))


def _listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))


def _written(change: Callable[[bytes], bytes]) -> Callable[[Path, bytes], object]:
    return lambda path, valid: path.write_bytes(change(valid))


FILES: list[tuple[str, str, Callable[[Path, bytes], object]]] = [
    ("10 GB of nothing", "too-large", _sparse),
    ("a pipe", "not-a-file", lambda path, _: os.mkfifo(path)),
    ("a device", "not-a-file", lambda path, _: path.symlink_to("/dev/zero")),
    ("a folder", "not-a-file", lambda path, _: path.mkdir()),
    ("a gzip bomb", "not-json", _written(lambda _: gzip.compress(b"0" * (1 << 24)))),
    ("a zip bomb", "not-json", _zipped),
    ("a byte order mark", "not-json", _written(lambda valid: b"\xef\xbb\xbf" + valid)),
    ("UTF-16", "not-json", _written(lambda valid: valid.decode().encode("utf-16"))),
    ("nothing", "not-json", _written(lambda _: b"")),
    ("half of it", "not-json", _written(lambda valid: valid[: len(valid) // 2])),
    ("two of it", "not-json", _written(lambda valid: valid + valid)),
    ("a number", "schema", _written(lambda _: b"1")),
    ("a list", "schema", _written(lambda _: b"[]")),
    ("duplicate keys", "duplicate-key", _written(lambda valid: b'{"schema":1,' + valid[1:])),
    ("NaN", "not-json", _written(lambda valid: b'{"x":NaN,' + valid[1:])),
    ("infinity", "huge-number", _written(lambda valid: b'{"x":1e999,' + valid[1:])),
    ("brackets alone", "too-deep", _written(lambda _: b"[" * (8 << 20))),
    ("empty lists alone", "too-many", _written(lambda _: b"[" + b"[]," * (1 << 21) + b"[]]")),
    ("values without end", "too-many", _written(lambda _: b"[" + b"1," * 1_100_000 + b"1]")),
    ("keys without end", "too-many", _written(lambda _: json.dumps({str(n): 0 for n in range(300_000)}).encode())),
    ("brackets in texts", "schema", _written(lambda _: json.dumps({"x": "[" * 1_000_000}).encode())),
    ("digits without end", "huge-number", _written(lambda _: b'{"x":' + b"9" * 1_000_000 + b"}")),
    ("an exponent without end", "huge-number", _written(lambda _: b'{"x":1e' + b"9" * 1_000 + b"}")),
    ("NaN as a text", "schema", _written(lambda _: b'{"schema":"NaN"}')),
    ("half of a character", "not-json", _written(lambda _: b'{"x":"\xff"}')),
    ("a bzip bomb", "not-json", _written(lambda _: bz2.compress(b"0" * (1 << 24)))),
    ("an archive", "not-json", _tarred),
    ("a link to itself", "unreadable", lambda path, _: path.symlink_to(path)),
    ("a device of chance", "not-a-file", lambda path, _: path.symlink_to("/dev/urandom")),
    ("a socket", "unreadable", lambda path, _: _listening(path)),
    ("a file of the system", "not-json", lambda path, _: path.symlink_to("/proc/self/status")),
    ("a comment", "not-json", _written(lambda valid: b"/* x */" + valid)),
    ("a value behind it", "not-json", _written(lambda valid: valid + b"{}")),
    ("a comma too many", "not-json", _written(lambda valid: valid[:-1] + b",}")),
    ("quotes alone", "not-json", _written(lambda _: b'"' + b'\\"' * (3 << 20))),
    ("a changed byte", "changed", _written(lambda valid: valid.replace(b'"modelled"', b'"wall"', 1))),
]
"""Name, code, and how the file is made of a valid one's bytes."""
