"""Fixtures of the fake machines, for all tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from machines import laptop, one_socket, open_to_all, powercap, two_sockets

__all__ = ["laptop", "one_socket", "open_to_all", "powercap", "two_sockets"]
