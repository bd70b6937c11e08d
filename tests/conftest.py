"""Fixtures of the fake machines, for all tests; and a temporary folder of their own, where runs keep each other out."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from machines import laptop, one_socket, open_to_all, powercap, two_sockets

__all__ = ["laptop", "one_socket", "open_to_all", "own_folder", "powercap", "two_sockets"]


@pytest.fixture(scope="session", autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A run that goes on elsewhere on this machine is none of the tests' business, nor they of its."""
    before, cached = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = str(tmp_path_factory.mktemp("tmp"))
    yield
    tempfile.tempdir = cached
    if before is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before
