"""Hostile submissions: each is a valid one with something done to it, and the code that it must be refused with."""

from __future__ import annotations

import copy
import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from joulemark.leaderboard.submission import digest

__all__ = ["CHEATS", "CONTENTS", "FILES", "FORGED", "resealed"]

Content = dict[str, Any]
Change = Callable[[Content], object]


def resealed(content: Content) -> bytes:
    """The file of a content, with the digest that it needs, as whoever forges one would write it."""
    return json.dumps(content | {"sha256": digest(content)}).encode()


def _set(*path: str | int, to: Any) -> Change:
    """Put something at a place of the content."""

    def change(content: Content) -> None:
        part: Any = content
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = to

    return change


def _scaled(*names: str, by: float) -> Change:
    def change(content: Content) -> None:
        for cell in content["cells"]:
            for name in names:
                cell["energy"][name] *= by

    return change


def _outcome(content: Content, number: int = 0) -> Content:
    """Of the so many-th cell that has scores of its own."""
    own = [outcome for outcome in content["items"]["cells"].values() if "right" in outcome]
    return own[number]  # type: ignore[no-any-return]


def _rename(name: str) -> Change:
    """A model has this name, everywhere."""

    def change(content: Content) -> None:
        old = content["cells"][0]["model"]
        for cell in content["cells"]:
            if cell["model"] == old:
                cell["model"] = name
        models = content["run"]["plan"]["models"]
        models[models.index(old)] = f"{name}={old}"

    return change


def _everywhere(key: str, change_one: Callable[[Content], object]) -> Change:
    return lambda content: [change_one(cell[key]) for cell in content["cells"]]


NAMES = {
    "name-markup": ["<b>m</b>", "<script>alert(1)</script>", "a\"onload='x", "m&lt;b&gt;", "`id`", "{{7*7}}", "${x}"],
    "name-formula": ["=1+1", "+SUM(A1)", "-2+3", "@cmd", " =HYPERLINK(1)"],
    "name-hidden": ["a\u202eb", "a\u200bb", "a\u0000b", "a\u001b[31mb", "a\nb", "a\u2028b", "\ufeffm"],
    "name-path": ["../../etc/passwd", "a/../../b", "/etc/passwd", "~/x"],
    "name-long": ["m" * 201],
}
PLACES: dict[str, Callable[[str], Change]] = {
    "task": lambda name: _set("cells", 0, "task", to=name),
    "set's task": lambda name: _set("items", "sets", 0, "task", to=name),
    "cpu": lambda name: _set("run", "machine", "cpu_model", to=name),
    "software": lambda name: _set("run", "software", name, to="1"),
    "metric": lambda name: _set("cells", 0, "metric", to=name),
    "licence": lambda name: _set("cells", 0, "model_info", "licence", to=name),
    "flag": lambda name: _set("cells", 0, "flags", to=[name]),
    "setting": lambda name: _set("cells", 0, "setting", "dtype", to=name),
    "other metric": lambda name: _set("cells", 0, "other_metrics", to={name: 1.0}),
    "accelerator": lambda name: _set("run", "machine", "accelerators", to=[{"name": name, "uuid": "G"}]),
    "cell_id": lambda name: _set("cells", 0, "cell_id", to=name),
}


def _names() -> Iterator[tuple[str, str, Change]]:
    for code, names in NAMES.items():
        yield from ((f"model {name[:12]!r}", code, _rename(name)) for name in names)
    for place, put in PLACES.items():
        if place != "cell_id":
            yield f"markup in {place}", "name-markup", put("<img src=x onerror=alert(1)>")


def _double(content: Content) -> None:
    """The same cell once more, by another id."""
    cell = copy.deepcopy(content["cells"][0])
    cell["cell_id"] = cell["cell_id"][:-8] + "00000000"
    content["cells"].append(cell)
    content["items"]["cells"][cell["cell_id"]] = {"set": 0, "right": "A" * 8} | content["items"]["cells"][
        content["cells"][0]["cell_id"]
    ]


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _chain(content: Content) -> None:
    """An outcome that is that of a cell whose outcome is another's."""
    cells = content["items"]["cells"]
    first, second = [key for key, outcome in cells.items() if outcome["set"] == 0][:2]
    cells[first] = {"set": 0, "same_as": second}
    cells[second] = {"set": 0, "same_as": first}


CONTENTS: list[tuple[str, str, Change]] = [
    *_names(),
    ("no run", "schema", lambda c: c.pop("run")),
    ("no cells", "schema", _set("cells", to=[])),
    ("no items", "schema", lambda c: c.pop("items")),
    ("another schema", "schema", _set("schema", to="joulemark.submission/2")),
    ("a list for a cell", "schema", _set("cells", 0, to=[])),
    ("a text for a number", "schema", _set("cells", 0, "n_items", to="40")),
    ("a truth for a number", "schema", _set("cells", 0, "order", to=True)),
    ("a key of its own", "schema", _set("proof", to="it was me")),
    ("no model", "schema", lambda c: c["cells"][0].pop("model")),
    ("negative energy", "schema", _set("cells", 0, "energy", "gross_j", to=-1.0)),
    ("more energy than there is", "schema", _set("cells", 0, "energy", "gross_j", to=1e300)),
    ("a huge number", "huge-number", _set("cells", 0, "order", to=10**400)),
    ("no time", "schema", _set("cells", 0, "energy", "window_s", to=0.0)),
    ("cells of one id", "schema", lambda c: c["cells"].append(c["cells"][0])),
    ("a score of two", "schema", lambda c: _outcome(c).update(right=None, scores=[2.0] * 40)),
    ("docs below 0", "schema", _set("items", "sets", 0, "docs", 0, to=-1)),
    ("deep nesting", "too-deep", _set("run", "plan", "x", to=_deep(60))),
    ("many values", "too-many", _set("run", "plan", "x", to=[0] * 100_001)),
    ("many flags", "too-many", _set("cells", 0, "flags", to=["x"] * 1_001)),
    ("half of a character", "not-json", _set("cells", 0, "metric", to="\ud800")),
    ("bits too short", "items", lambda c: _outcome(c).update(right="AA==")),
    ("bits that are none", "items", lambda c: _outcome(c).update(right="!!!!")),
    ("two ways of scores", "items", lambda c: _outcome(c).update(scores=[1.0] * 40)),
    ("no scores", "items", lambda c: _outcome(c).pop("right")),
    ("too few scores", "items", lambda c: _outcome(c).update(right=None, scores=[1.0])),
    ("a cycle of same_as", "items", _chain),
    ("same_as of nobody", "items", lambda c: _outcome(c).update(right=None, same_as="nobody")),
    ("a set that is not there", "items", lambda c: _outcome(c).update(set=99)),
    ("lengths that differ", "items", _set("items", "sets", 0, "hashes", to=["ab"])),
    ("documents twice", "items", _set("items", "sets", 0, "docs", 1, to=0)),
    ("items of no cell", "items", _set("items", "cells", "x", to={"set": 0, "right": "AA=="})),
    ("a finished cell without items", "items", lambda c: c["items"]["cells"].pop(c["cells"][0]["cell_id"])),
    ("a cell by two ids", "doubled", _double),
    ("an id of a file", "cell-id", lambda c: _moved(c, "x.html")),
    ("a run's id of a file", "run-id", _set("run", "run_id", to="a b")),
    ("a cell of another run", "other-run", _set("cells", 0, "run_id", to="other")),
    ("a plan of nothing", "plan", _set("run", "plan", to={})),
    ("a plan without end", "plan", _set("run", "plan", "repeats", to=10**9)),
    ("a sweep without end", "plan", _set("run", "plan", "sweep", to={f"k{i}": [1, 2] * 20 for i in range(12)})),
    ("a cell that nobody planned", "not-planned", _set("cells", 0, "setting", "batch_size", to=7)),
    ("a failed cell that is not told", "missing-cell", lambda c: _drop(c, c["cells"][3])),
    ("out of turn", "order", lambda c: _swap(c, "order", 0, 1)),
    ("accuracy above its items", "sum-accuracy", lambda c: _right_more(c, 4)),
    ("accuracy of no count", "score-impossible", _set("cells", 0, "accuracy", to=0.4242)),
    ("accuracy above 1", "score-range", _set("cells", 0, "accuracy", to=1.5)),
    ("quality of its own", "sum-quality", _set("cells", 0, "quality", to=99.0)),
    ("chance of its own", "task-chance", lambda c: _guessing_less(c)),
    ("more items than asked", "sum-items", _set("cells", 0, "n_items", to=400)),
    ("answers cut off", "sum-truncated", _set("cells", 0, "truncated", to=0.5)),
    ("net above gross", "sum-net", _scaled("net_j", by=3.0)),
    ("idle of its own", "sum-idle", _set("cells", 0, "energy", "idle_w", to=0.5)),
    ("no net, no reason", "sum-net", lambda c: c["cells"][0]["energy"].update(net_j=None, idle_j=None)),
    ("no energy, no reason", "no-energy", lambda c: c["cells"][0].pop("energy")),
    ("other domains", "sum-domains", _set("cells", 0, "energy", "domains", to={"modelled:cpu": 1.0})),
    ("a domain of no meter", "sum-domains", _set("cells", 0, "energy", "domains", to={"rapl:psys": 5.0})),
    ("phases that lack", "sum-phases", _set("cells", 0, "phases", "decode_j", to=0.01)),
    ("a phase below 0", "negative", _set("cells", 0, "phases", "load_j", to=-5.0)),
    ("windows that lack", "sum-windows", _set("cells", 0, "windows", 0, "window_s", to=1.0)),
    ("carbon of nowhere", "sum-carbon", _set("cells", 0, "energy", "carbon_g", to=1.0)),
    ("power of a power station", "power-high", lambda c: _all_joules(c, 1000.0)),
    ("less than idle", "power-low", lambda c: _all_joules(c, 0.1)),
    (
        "joules below the floor",
        "energy-floor",
        _everywhere("model_info", lambda m: m.update(params=10**17, active_params=10**17)),
    ),
    (
        "faster than any machine",
        "too-fast",
        _everywhere("model_info", lambda m: m.update(params=10**11, active_params=10**11)),
    ),
    ("more active than there are", "model-size", _set("cells", 0, "model_info", "active_params", to=10**9)),
    ("tokens below 0", "tokens", _set("cells", 0, "tokens", "prompt", to=-1)),
    ("tokens above the cap", "tokens", _set("cells", 0, "tokens", "generated", to=10**6)),
    ("latency above the window", "latency", _set("cells", 0, "latency_s", to={"p50": 50.0, "p95": 60.0})),
    ("latency backwards", "latency", _set("cells", 0, "latency_s", to={"p50": 0.2, "p95": 0.1})),
    ("tomorrow", "time-future", _set("run", "created_at", to="2999-01-01T00:00:00Z")),
    ("before the run", "time-early", _set("cells", 0, "started_at", to="2025-06-01T00:00:00Z")),
    ("before there was Joulemark", "time-early", _set("run", "created_at", to="1970-01-01T00:00:00Z")),
    ("no time of day", "time-format", _set("cells", 0, "started_at", to="yesterday")),
    ("no zone", "time-format", _set("run", "created_at", to="2025-06-02T10:00:00")),
    ("a window outside", "time-window", _set("cells", 0, "windows", 0, "began_at", to="2025-06-02T12:00:00Z")),
    ("a cell of no time", "time-window", _set("cells", 0, "duration_s", to=0.001)),
    ("two at once", "time-overlap", lambda c: _at_once(c)),
    ("before its turn", "time-order", lambda c: _swap(c, "started_at", 0, -1)),
    ("a counter that is none", "claim-grade", _set("run", "meters", 0, "grade", to="counter")),
    ("a cell's grade", "claim-grade", _set("cells", 0, "energy", "grade", to="counter")),
    ("RAPL in a virtual machine", "claim-counter", lambda c: _claim(c, "rapl:package-0", "counter", 0.03)),
    ("NVML without a GPU", "claim-accelerator", lambda c: _claim(c, "nvml:gpu-0", "counter", 0.05, "gpu")),
    ("a meter of nobody", "claim-meter", lambda c: _claim(c, "mine:wall", "wall", 0.01, "wall")),
    ("no error at all", "claim-error", _set("run", "meters", 0, "rel_u", to=0.0)),
    ("a cell's error", "claim-error", _set("cells", 0, "energy", "rel_u_scale", to=0.0)),
    ("another task's questions", "task-set", lambda c: c["items"]["sets"].reverse()),
    ("a task that was changed", "task-hash", _set("items", "sets", 0, "task_hash", to="0123456789abcdef")),
    ("questions of one's own", "task-questions", _set("items", "sets", 0, "hashes", 3, to="0123456789abcdef")),
    ("questions to choose from", "task-questions", lambda c: _set("items", "sets", 0, "docs", to=[*range(1, 41)])(c)),
]
"""Name, code, and what is done to the content."""


def _moved(content: Content, name: str) -> None:
    old = content["cells"][0]["cell_id"]
    content["cells"][0]["cell_id"] = name
    content["items"]["cells"][name] = content["items"]["cells"].pop(old)
    for outcome in content["items"]["cells"].values():
        if outcome.get("same_as") == old:
            outcome["same_as"] = name


def _drop(content: Content, *cells: Content) -> None:
    for cell in cells:
        content["cells"].remove(cell)
        gone = content["items"]["cells"].pop(cell["cell_id"])
        followers = [o for o in content["items"]["cells"].values() if o.get("same_as") == cell["cell_id"]]
        heir = next((key for key, o in content["items"]["cells"].items() if followers and o is followers[0]), None)
        for outcome in followers:
            outcome["same_as"] = heir
        if followers:
            del followers[0]["same_as"]
            followers[0]["right"] = gone["right"]


def _swap(content: Content, key: str, one: int, other: int) -> None:
    cells = sorted(content["cells"], key=lambda cell: int(cell["order"]))
    cells[one][key], cells[other][key] = cells[other][key], cells[one][key]


def _right_more(content: Content, many: int) -> None:
    cell = content["cells"][0]
    cell["accuracy"] = (round(cell["accuracy"] * cell["n_items"]) + many) / cell["n_items"]
    cell["quality"] = 100 * (cell["accuracy"] - cell["chance"]) / (1 - cell["chance"])


def _guessing_less(content: Content) -> None:
    cell = content["cells"][0]
    cell["chance"], cell["quality"] = 0.0, 100 * cell["accuracy"]


def _all_joules(content: Content, by: float) -> None:
    """Gross energy and its parts, but not idle power."""
    for cell in content["cells"]:
        energy = cell["energy"]
        energy["gross_j"] *= by
        energy["net_j"] = energy["gross_j"] - energy["idle_j"]


def _at_once(content: Content) -> None:
    first, second = sorted(content["cells"], key=lambda cell: int(cell["order"]))[:2]
    second["started_at"] = first["started_at"]
    second["windows"] = first["windows"]


def _claim(content: Content, meter: str, grade: str, rel_u: float, scope: str = "package") -> None:
    """All cells were measured by this meter."""
    told = {"id": meter, "grade": grade, "scope": scope, "rel_u": rel_u, "rel_u_scale": rel_u, "rel_u_workload": 0.0}
    content["run"]["meters"][0] |= told
    for cell in content["cells"]:
        cell["energy"] |= {"grade": grade, "scope": scope, "rel_u_scale": rel_u, "rel_u_workload": 0.0}


def _everything_less(content: Content) -> None:
    """All joules of the run a tenth, consistently, idle power included."""
    for cell in content["cells"]:
        energy = cell["energy"]
        for name in ("gross_j", "net_j", "idle_j", "u_j", "u_net_j", "idle_w"):
            energy[name] *= 0.1
        cell["phases"] = {name: joules * 0.1 for name, joules in cell["phases"].items()}
    for part in (content["run"]["idle"], *content["run"]["invocations"]):
        part.update({name: watts * 0.1 for name, watts in part.items() if name.endswith("_w")})


def _flip(content: Content) -> None:
    """A few wrong answers become right; the accuracy is left."""
    outcome = _outcome(content)
    outcome["right"] = ("/" if outcome["right"][0] != "/" else "A") + outcome["right"][1:]


def _drop_worst_repeat(content: Content) -> None:
    """The repeat that took most is gone, the others are numbered anew, and so many were planned."""
    gross = {k: sum(c["energy"]["gross_j"] for c in content["cells"] if c["repeat"] == k) for k in (1, 2, 3)}
    # Of the last one nothing can be told: docs/leaderboard.md says so.
    worst = max((1, 2), key=gross.__getitem__)
    _drop(content, *[cell for cell in content["cells"] if cell["repeat"] == worst])
    content["run"]["plan"]["repeats"] = 2
    for number, cell in enumerate(sorted(content["cells"], key=lambda cell: int(cell["order"]))):
        cell["order"] = number
        if cell["repeat"] > worst:
            cell["repeat"] -= 1
            _rename_id(content, cell, cell["repeat"])


def _rename_id(content: Content, cell: Content, repeat: int) -> None:
    old = cell["cell_id"]
    head, _, tail = old.rpartition("-r")
    cell["cell_id"] = f"{head}-r{repeat}-{tail.partition('-')[2]}"
    content["items"]["cells"][cell["cell_id"]] = content["items"]["cells"].pop(old)
    for outcome in content["items"]["cells"].values():
        if outcome.get("same_as") == old:
            outcome["same_as"] = cell["cell_id"]


def _forged_flip(content: Content) -> None:
    """One more answer of one model is right in all repeats, and all that follows from it follows."""
    first = content["cells"][0]
    for cell in content["cells"]:
        if (cell["model"], cell["task"]) == (first["model"], first["task"]):
            outcome = content["items"]["cells"][cell["cell_id"]]
            if "right" in outcome:
                outcome["right"] = "/" + outcome["right"][1:]
                _count(cell, outcome)
    for cell in content["cells"]:
        outcome = content["items"]["cells"][cell["cell_id"]]
        if "same_as" in outcome:
            _count(cell, content["items"]["cells"][outcome["same_as"]])


def _count(cell: Content, outcome: Content) -> None:
    import base64

    right = sum(byte.bit_count() for byte in base64.b64decode(outcome["right"]))
    cell["accuracy"] = right / cell["n_items"]
    cell["quality"] = 100 * (cell["accuracy"] - cell["chance"]) / (1 - cell["chance"])


def _drop_last_repeat(content: Content) -> None:
    """As if only two repeats had been planned."""
    _drop(content, *[cell for cell in content["cells"] if cell["repeat"] == 3])
    content["run"]["plan"]["repeats"] = 2


CHEATS: list[tuple[str, set[str], Change]] = [
    ("gross energy times 0.1", {"sum-net"}, _scaled("gross_j", by=0.1)),
    ("all energy times 0.1", {"power-low"}, _everything_less),
    ("outcomes flipped", {"sum-accuracy"}, _flip),
    ("the machine's name swapped", {"claim-machine"}, _set("run", "machine", "cpu_model", to="Apple M9")),
    ("the machine's memory swapped", {"claim-machine"}, _set("run", "machine", "memory_gb", to=1024.0)),
    ("the worst repeat dropped", {"order"}, _drop_worst_repeat),
    (
        "a repeat dropped",
        {"missing-cell"},
        lambda c: _drop(c, *[cell for cell in c["cells"] if cell["repeat"] == 2]),
    ),
]
"""Name, codes that must be among those found, and what is done."""

FORGED: list[tuple[str, Change]] = [
    ("outcomes flipped, and accuracy with them", _forged_flip),
    ("the last repeat dropped, and never planned", _drop_last_repeat),
]
"""What nobody can see in one file; docs/leaderboard.md says so, and why."""


def _sparse(path: Path, _valid: bytes) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 30)


def _zipped(path: Path, valid: bytes) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("submission.json", b" " * (1 << 22) + valid)
    path.write_bytes(packed.getvalue())


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
    ("quotes alone", "not-json", _written(lambda _: b'"' + b'\\"' * (3 << 20))),
    ("a changed byte", "changed", _written(lambda valid: valid.replace(b'"modelled"', b'"wall"', 1))),
]
"""Name, code, and how the file is made of a valid one's bytes."""
