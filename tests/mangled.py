"""Files of other tools, mangled: cut short, of other bytes, with values that no benchmark writes, or without some."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from joulemark.harness.formats.found import Found, Read
from joulemark.meters.errors import UsageError

__all__ = ["mangled", "mangled_json", "sound_or_refused"]

_NASTY: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    10**400,
    1e308,
    1e-308,
    float("nan"),
    float("inf"),
    -float("inf"),
    "",
    "text",
    "1e9999",
    "\ud800 \x00\n\x1b[31m",
    "x" * 5_000,
    [],
    {},
    [[]],
    {"": {}},
    ["text", 1, None],
]
_DEEP = b'{"model": ' + b"[" * 100_000
_BYTES = [b"\x00", b"\xff\xfe", b'"', b"{", b"\n", b",", b"-", b"9" * 5_000, _DEEP]


@st.composite
def mangled(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file's content, cut somewhere, or with some bytes in the place of others."""
    at = draw(st.integers(0, len(whole)))
    upto = draw(st.one_of(st.just(len(whole)), st.integers(at, min(at + 20, len(whole)))))
    return whole[:at] + draw(st.one_of(st.just(b""), st.sampled_from(_BYTES))) + whole[upto:]


@st.composite
def mangled_json(draw: st.DrawFn, whole: dict[str, Any]) -> bytes:
    """A JSON object with one to three of its values, at any depth, missing or replaced by a nasty one."""
    told = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        place: Any = told
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and draw(st.integers(0, 4)):
                place = place[key]
                continue
            if draw(st.booleans()):
                del place[key]
            else:
                place[key] = copy.deepcopy(draw(st.sampled_from(_NASTY)))
            break
    return json.dumps(told).encode()


def sound_or_refused(read: Read, files: Sequence[Path]) -> None:
    """Assert that what is in files can be stored and claims nothing that they cannot tell, or is refused in a line."""
    try:
        found = read(files)
    except UsageError as problem:
        refused = str(problem)
    else:
        _check(found)
        return
    assert refused
    assert "\n" not in refused


def _check(found: Found) -> None:
    machines = {station.machine.machine_id for station in found.stations}
    for result in found.results:
        assert result.machine_id in machines
        assert result.n_items > 0
        assert result.quality is None
        assert result.accuracy is None or 0 <= result.accuracy <= 1
        assert result.energy is None or (result.energy.gross_j or 0) > 0
        assert result.energy is None or result.energy.u_j is result.energy.rel_u_scale is result.energy.net_j is None
        for number in (*vars(result.phases).values(), *vars(result.latency_s).values(), result.duration_s):
            assert number is None or number > 0
    assert str((found.results, found.missing)).encode("utf-8")
