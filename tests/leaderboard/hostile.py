"""Hostile submissions: each is a valid one with something done to it, and the code that it must be refused with."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from joulemark.leaderboard.outcomes import to_text
from joulemark.leaderboard.submission import digest

__all__ = [
    "CONTENTS",
    "Change",
    "Content",
    "claim",
    "drop",
    "forge",
    "outcome_of",
    "put",
    "resealed",
    "scaled",
]

Content = dict[str, Any]
Change = Callable[[Content], object]


def resealed(content: Content) -> bytes:
    """The file of a content, with the digest that it needs, as whoever forges one would write it."""
    return json.dumps(content | {"sha256": digest(content)}).encode()


def put(*path: str | int, to: Any) -> Change:
    """Put something at a place of the content."""

    def change(content: Content) -> None:
        part: Any = content
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = to

    return change


def scaled(*names: str, by: float) -> Change:
    def change(content: Content) -> None:
        for cell in content["cells"]:
            for name in names:
                cell["energy"][name] *= by

    return change


def outcome_of(content: Content, number: int = 0) -> Content:
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
    "name-markup": [
        *("<b>m</b>", "<script>alert(1)</script>", "a\"onload='x", "m&lt;b&gt;", "`id`", "{{7*7}}", "${x}", "{% x %}"),
        *("![x](http://example.invalid/p)", "[x](http://example.invalid)", "a|b", "JaVaScRiPt:x", "&#60;b", "a'b"),
        "<!--",
    ],
    "name-formula": ["=1+1", "+SUM(A1)", "-2+3", "@cmd", " =HYPERLINK(1)", "\u00a0=1+1"],
    "name-hidden": [
        *("a\u202eb", "a\u200bb", "a\u0000b", "a\u001b[31mb", "a\nb", "a\u2028b", "\ufeffm", "a\u2066b", "a\u00adb"),
        *("a\u200db", "a\u061cb", "a\U000e0041", "a\ue000", "a\u0085b", "a\tb"),
    ],
    "name-path": ["../../etc/passwd", "a/../../b", "/etc/passwd", "~/x", "..", "a/.."],
    "name-long": ["m" * 201],
}
PLACES: dict[str, Callable[[str], Change]] = {
    "task": lambda name: put("cells", 0, "task", to=name),
    "set's task": lambda name: put("items", "sets", 0, "task", to=name),
    "cpu": lambda name: put("run", "machine", "cpu_model", to=name),
    "software": lambda name: put("run", "software", name, to="1"),
    "metric": lambda name: put("cells", 0, "metric", to=name),
    "licence": lambda name: put("cells", 0, "model_info", "licence", to=name),
    "flag": lambda name: put("cells", 0, "flags", to=[name]),
    "setting": lambda name: put("cells", 0, "setting", "dtype", to=name),
    "other metric": lambda name: put("cells", 0, "other_metrics", to={name: 1.0}),
    "accelerator": lambda name: put("run", "machine", "accelerators", to=[{"name": name, "uuid": "G"}]),
    "cell_id": lambda name: put("cells", 0, "cell_id", to=name),
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


STATE = {"device": "nvml:gpu-0", "clock_mhz": 1980.0, "temperature_c": 44.0}


def _states(states: Any, numbers: Any, **more: Any) -> Change:
    """States of devices, and those that the first cell's window refers to."""

    def change(content: Content) -> None:
        content["states"] = states
        content["cells"][0]["windows"][0] |= {"states": numbers, **more}

    return change


CONTENTS: list[tuple[str, str, Change]] = [
    *_names(),
    ("no run", "schema", lambda c: c.pop("run")),
    ("no cells", "schema", put("cells", to=[])),
    ("no items", "schema", lambda c: c.pop("items")),
    ("another schema", "schema", put("schema", to="joulemark.submission/2")),
    ("a list for a cell", "schema", put("cells", 0, to=[])),
    ("a text for a number", "schema", put("cells", 0, "n_items", to="40")),
    ("a truth for a number", "schema", put("cells", 0, "order", to=True)),
    ("a key of its own", "schema", put("proof", to="it was me")),
    ("no model", "schema", lambda c: c["cells"][0].pop("model")),
    ("negative energy", "schema", put("cells", 0, "energy", "gross_j", to=-1.0)),
    ("more energy than there is", "schema", put("cells", 0, "energy", "gross_j", to=1e300)),
    ("a huge number", "huge-number", put("cells", 0, "order", to=10**400)),
    ("no time", "schema", put("cells", 0, "energy", "window_s", to=0.0)),
    ("cells of one id", "schema", lambda c: c["cells"].append(c["cells"][0])),
    ("a score of two", "score-range", lambda c: outcome_of(c).update(right=None, scores=[2.0] * 40)),
    ("docs below 0", "schema", put("items", "sets", 0, "docs", 0, to=-1)),
    ("deep nesting", "too-deep", put("run", "plan", "x", to=_deep(60))),
    ("many values", "too-many", put("run", "plan", "x", to=[0] * 100_001)),
    ("many flags", "too-many", put("cells", 0, "flags", to=["x"] * 1_001)),
    ("half of a character", "not-json", put("cells", 0, "metric", to="\ud800")),
    ("bits too short", "items", lambda c: outcome_of(c).update(right="AA==")),
    ("bits that are none", "items", lambda c: outcome_of(c).update(right="!!!!")),
    ("two ways of scores", "items", lambda c: outcome_of(c).update(scores=[1.0] * 40)),
    ("no scores", "items", lambda c: outcome_of(c).pop("right")),
    ("too few scores", "items", lambda c: outcome_of(c).update(right=None, scores=[1.0])),
    ("a cycle of same_as", "items", _chain),
    ("same_as of nobody", "items", lambda c: outcome_of(c).update(right=None, same_as="nobody")),
    ("a set that is not there", "items", lambda c: outcome_of(c).update(set=99)),
    ("lengths that differ", "items", put("items", "sets", 0, "hashes", to=["ab"])),
    ("documents twice", "items", put("items", "sets", 0, "docs", 1, to=0)),
    ("items of no cell", "items", put("items", "cells", "x", to={"set": 0, "right": "AA=="})),
    ("a finished cell without items", "items", lambda c: c["items"]["cells"].pop(c["cells"][0]["cell_id"])),
    ("a state that is not there", "reference", _states([STATE], [[0], [1]])),
    ("a state at the end of the world", "reference", _states([STATE], [[0], [10**17]])),
    ("a state below 0", "schema", _states([STATE], [[0], [-1]])),
    ("a truth for a state", "schema", _states([STATE], [[0], [True]])),
    ("a text for a state", "schema", _states([STATE], [[0], ["0"]])),
    ("half a state", "schema", _states([STATE], [[0], [0.5]])),
    ("one edge of two", "schema", _states([STATE], [[0]])),
    ("states that are none", "schema", _states([1], [[0], [0]])),
    ("states that nobody has", "reference", _states([STATE, STATE], [[0], [0]])),
    ("states without a list", "reference", put("cells", 0, "windows", 0, "states", to=[[0], [0]])),
    ("states of no window", "reference", put("states", to=[STATE])),
    ("states told twice", "reference", _states([STATE], [[0], [0]], before=[STATE])),
    ("a million states", "too-many", _states([{}] * 1_000_000, [[0], [0]])),
    ("states as many as may be", "reference", _states([{"device": "a"}] * 99_999, [[0], [0]])),
    ("a state that grows", "too-many", _states([STATE | {"slowed_by": ["x" * 90] * 900}], [[0] * 250, [0] * 250])),
    ("an idle window that grows", "too-many", lambda c: _idle(c, [STATE | {"slowed_by": ["x" * 90] * 900}] * 80)),
    ("a device that is markup", "name-markup", _states([STATE | {"device": "<b>"}], [[0], [0]])),
    ("an idle window of nobody", "reference", put("cells", 0, "idle_of", to=99)),
    ("idle windows without a list", "reference", lambda c: c.pop("idle_windows")),
    ("an idle window for nobody", "reference", lambda c: c["idle_windows"].append(c["idle_windows"][0])),
    ("an idle window below 0", "schema", put("cells", 0, "idle_of", to=-1)),
    ("a truth for an idle window", "schema", put("cells", 0, "idle_of", to=False)),
    (
        "two idle windows",
        "reference",
        put("cells", 0, "idle_window", to={"began_at": "2025-06-02T10:00:01Z", "window_s": 0.5}),
    ),
    ("a cell by two ids", "doubled", _double),
    ("an id of a file", "cell-id", lambda c: _moved(c, "x.html")),
    ("a run's id of a file", "run-id", put("run", "run_id", to="a b")),
    ("a cell of another run", "other-run", put("cells", 0, "run_id", to="other")),
    ("a plan of nothing", "plan", put("run", "plan", to={})),
    ("a plan without end", "plan", put("run", "plan", "repeats", to=10**9)),
    ("a sweep without end", "plan", put("run", "plan", "sweep", to={f"k{i}": [1, 2] * 20 for i in range(12)})),
    ("a cell that nobody planned", "not-planned", put("cells", 0, "setting", "batch_size", to=7)),
    ("a model by another's name", "not-planned", put("cells", 0, "model_args", to="hf:pretrained=x")),
    ("a failed cell that is not told", "missing-cell", lambda c: drop(c, c["cells"][3])),
    ("out of turn", "order", lambda c: _swap(c, "order", 0, 1)),
    ("accuracy above its items", "sum-accuracy", lambda c: _right_more(c, 4)),
    ("accuracy of no count", "score-impossible", put("cells", 0, "accuracy", to=0.4242)),
    ("accuracy above 1", "score-range", put("cells", 0, "accuracy", to=1.5)),
    ("quality of its own", "sum-quality", put("cells", 0, "quality", to=99.0)),
    ("chance of its own", "task-chance", lambda c: _guessing_less(c)),
    ("more items than asked", "sum-items", put("cells", 0, "n_items", to=400)),
    ("answers cut off", "sum-truncated", put("cells", 0, "truncated", to=0.5)),
    ("net above gross", "sum-net", scaled("net_j", by=3.0)),
    ("idle of its own", "sum-idle", put("cells", 0, "energy", "idle_w", to=0.5)),
    ("no net, no reason", "sum-net", lambda c: c["cells"][0]["energy"].update(net_j=None, idle_j=None)),
    ("no energy, no reason", "no-energy", lambda c: c["cells"][0].pop("energy")),
    ("other domains", "sum-domains", put("cells", 0, "energy", "domains", to={"modelled:cpu": 1.0})),
    ("a domain of no meter", "sum-domains", put("cells", 0, "energy", "domains", to={"rapl:psys": 5.0})),
    ("phases that lack", "sum-phases", put("cells", 0, "phases", "decode_j", to=0.01)),
    ("a phase below 0", "negative", put("cells", 0, "phases", "load_j", to=-5.0)),
    ("windows that lack", "sum-windows", put("cells", 0, "windows", 0, "window_s", to=1.0)),
    ("carbon of nowhere", "sum-carbon", put("cells", 0, "energy", "carbon_g", to=1.0)),
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
    ("more active than there are", "model-size", put("cells", 0, "model_info", "active_params", to=10**9)),
    ("tokens below 0", "tokens", put("cells", 0, "tokens", "prompt", to=-1)),
    ("tokens above the cap", "tokens", put("cells", 0, "tokens", "generated", to=10**6)),
    ("latency above the window", "latency", put("cells", 0, "latency_s", to={"p50": 50.0, "p95": 60.0})),
    ("latency backwards", "latency", put("cells", 0, "latency_s", to={"p50": 0.2, "p95": 0.1})),
    ("tomorrow", "time-future", put("run", "created_at", to="2999-01-01T00:00:00Z")),
    ("before the run", "time-early", put("cells", 0, "started_at", to="2025-06-01T00:00:00Z")),
    ("before there was Joulemark", "time-early", put("run", "created_at", to="1970-01-01T00:00:00Z")),
    ("no time of day", "time-format", put("cells", 0, "started_at", to="yesterday")),
    ("no zone", "time-format", put("run", "created_at", to="2025-06-02T10:00:00")),
    ("a window outside", "time-window", put("cells", 0, "windows", 0, "began_at", to="2025-06-02T12:00:00Z")),
    ("a cell of no time", "time-window", put("cells", 0, "duration_s", to=0.001)),
    ("two at once", "time-overlap", lambda c: _at_once(c)),
    ("before its turn", "time-order", lambda c: _swap(c, "started_at", 0, -1)),
    ("a counter that is none", "claim-grade", put("run", "meters", 0, "grade", to="counter")),
    ("a cell's grade", "claim-grade", put("cells", 0, "energy", "grade", to="counter")),
    ("RAPL in a virtual machine", "claim-counter", lambda c: claim(c, "rapl:package-0", "counter", 0.03)),
    ("NVML without a GPU", "claim-accelerator", lambda c: claim(c, "nvml:gpu-0", "counter", 0.05, "gpu")),
    ("a plug that nobody named", "claim-meter", lambda c: claim(c, "shelly:wall", "wall", 0.01, "wall")),
    ("a meter that was not asked for", "claim-meter", put("run", "plan", "meters", to=["rapl"])),
    ("a plugin's meter without an error", "claim-error", lambda c: _by_plugin(c, rel_u=0.0)),
    ("no meter at all", "claim-meter", put("run", "meters", 0, "summed", to=False)),
    ("answers of a cleverer one", "reference-answers", lambda c: forge(c)),
    ("weights of another", "reference-weights", _everywhere("model_info", lambda m: m.update(sha256="0" * 64))),
    ("computing without time", "power-low", lambda c: _slowly(c)),
    ("minus nothing", "schema", put("cells", 0, "energy", "gross_j", to=-0.0)),
    ("a whole number with a point", "schema", put("cells", 0, "n_items", to=40.0)),
    ("a huge score", "schema", lambda c: outcome_of(c).update(right=None, scores=[1e300] * 40)),
    ("a long list of a setting", "too-many", put("cells", 0, "setting", "x", to=[1] * 100_001)),
    ("a long flag", "name-long", put("cells", 0, "flags", to=["f" * 5_000])),
    ("a long text", "name-long", put("run", "meters", 0, "source", to="s" * 5_000)),
    ("a key of a plan that is markup", "name-markup", put("run", "plan", "<b>", to=1)),
    ("a setting that is a formula", "name-formula", put("cells", 0, "setting", "dtype", to="=cmd()")),
    ("a date of the year 9999", "time-format", put("cells", 0, "started_at", to="9999-12-31T23:59:59-23:59")),
    ("a date that is none", "time-format", put("run", "created_at", to="2025-13-45T00:00:00Z")),
    ("bits with a tail", "items", lambda c: outcome_of(c).update(right=outcome_of(c)["right"].rstrip("=") + "AAAA")),
    ("bits of another alphabet", "items", lambda c: outcome_of(c).update(right="-_" * 4)),
    ("bits with lines", "items", lambda c: outcome_of(c).update(right="\n" + outcome_of(c)["right"])),
    ("same_as of itself", "items", lambda c: _of_itself(c)),
    ("same_as through another", "items", lambda c: _through(c)),
    ("a set below 0", "schema", lambda c: outcome_of(c).update(set=-1)),
    ("too many sets", "schema", put("items", "sets", to=[{"task": "t", "docs": []}] * 2_001)),
    ("a key that is a number's text", "cell-id", lambda c: _moved(c, "0")),
    ("an id of a device", "run-id", put("run", "run_id", to="../con")),
    ("an idle power of nothing", "power-low", lambda c: _no_idle(c)),
    ("a tiny window", "power-high", lambda c: _in_no_time(c)),
    ("a model that is only spaces", "name-empty", _rename("  ")),
    ("letters that were not given out", "name-hidden", put("run", "machine", "cpu_model", to="a\U0003ffff")),
    ("a task of ours that nobody may have quality in", "no-quality", lambda c: _unscored(c)),
    ("a flag that was taken off", "flag", lambda c: c["cells"][0].update(other_cpu_cores=1.5, flags=[])),
    (
        "a flag that nothing asks for",
        "flag",
        lambda c: c["cells"][0].update(other_cpu_cores=0.0, flags=["busy_machine"]),
    ),
    ("levels of one's own", "task-questions", lambda c: c["items"]["sets"][0].update(levels=[])),
    ("questions that are said to belong together", "task-questions", lambda c: _clustered(c)),
    ("no question at all", "schema", lambda c: c["items"]["sets"][0].update(docs=[], hashes=[], levels=[])),
    ("nothing that was finished", "items", lambda c: _failed(c)),
    ("heat that no flag tells of", "flag", lambda c: _hot(c, [])),
    ("a flag of heat without any", "flag", lambda c: _hot(c, ["throttled"], slowed_s=5.0)),
    ("a task that is named as all of them are", "name-reserved", put("cells", 0, "task", to="all")),
    ("outcomes by reference that fill the memory", "too-many", lambda c: _repeated(c, 51, questions=100_000)),
    ("a crowd of models", "too-many", lambda c: _repeated(c, 501, questions=8)),
    ("no error at all", "claim-error", put("run", "meters", 0, "rel_u", to=0.0)),
    ("a cell's error", "claim-error", put("cells", 0, "energy", "rel_u_scale", to=0.0)),
    ("another task's questions", "task-set", lambda c: c["items"]["sets"].reverse()),
    ("a task that was changed", "task-hash", put("items", "sets", 0, "task_hash", to="0123456789abcdef")),
    ("questions of one's own", "task-questions", put("items", "sets", 0, "hashes", 3, to="0123456789abcdef")),
    ("questions to choose from", "task-questions", lambda c: put("items", "sets", 0, "docs", to=[*range(1, 41)])(c)),
]
"""Name, code, and what is done to the content."""


def _idle(content: Content, states: list[Content]) -> None:
    """All cells have one idle window, with these states."""
    content["idle_windows"] = [content["idle_windows"][0] | {"before": states}]
    for cell in content["cells"]:
        cell["idle_of"] = 0


def _slowly(content: Content) -> None:
    """A tenth of the CPU time, at the idle power that was there."""
    for cell in content["cells"]:
        energy = cell["energy"]
        energy["net_j"] *= 0.1
        energy["gross_j"] = energy["net_j"] + energy["idle_j"]
        cell["phases"] = {name: joules * 0.1 for name, joules in cell["phases"].items()}


def _clustered(content: Content) -> None:
    asked = content["items"]["sets"][0]
    asked["clusters"] = [0] * len(asked["docs"])


def _failed(content: Content) -> None:
    for cell in content["cells"]:
        cell["status"] = "failed"
    content["items"] = {"sets": [], "cells": {}}


def _hot(content: Content, flags: list[str], slowed_s: float = 5.000001) -> None:
    """In the window the clock was held down for a microsecond more than before, beside a long time before that."""
    content["states"] = [{"device": "host", "slowed_s": 5.0}, {"device": "host", "slowed_s": slowed_s}]
    cell = content["cells"][0]
    cell["flags"] = flags
    cell["windows"] = [{**cell["windows"][0], "states": [[0], [1]]}]
    for other in content["cells"][1:]:
        for window in other["windows"]:
            window.pop("states", None)
    for idle in content["idle_windows"]:
        idle.pop("states", None)


def _unscored(content: Content) -> None:
    content["cells"][0] |= {"accuracy": None, "quality": None}


def _repeated(content: Content, many: int, questions: int) -> None:
    """One cell as so many models', each with the outcomes of the first."""
    cell, outcome = content["cells"][0], content["items"]["cells"][content["cells"][0]["cell_id"]]
    asked = content["items"]["sets"][outcome["set"]]
    asked |= {"docs": [*range(questions)], "hashes": [], "levels": [], "clusters": []}
    content["cells"] = [cell | {"model": f"m{n}", "cell_id": f"m{n}"} for n in range(many)]
    own = {"set": outcome["set"], "right": to_text(np.zeros(questions, dtype=np.uint8)), "cut": ""}
    content["items"]["cells"] = {"m0": own} | {
        f"m{n}": {"set": outcome["set"], "same_as": "m0", "cut": ""} for n in range(1, many)
    }


def _of_itself(content: Content) -> None:
    name = next(iter(content["items"]["cells"]))
    content["items"]["cells"][name] = {"set": content["items"]["cells"][name]["set"], "same_as": name}


def _through(content: Content) -> None:
    """An outcome that is another's, which is a third's."""
    cells = content["items"]["cells"]
    follower = next(key for key, outcome in cells.items() if "same_as" in outcome)
    other = next(
        key for key, o in cells.items() if "same_as" in o and key != follower and o["set"] == cells[follower]["set"]
    )
    cells[other] = {"set": cells[follower]["set"], "same_as": follower}


def _no_idle(content: Content) -> None:
    for cell in content["cells"]:
        energy = cell["energy"]
        energy |= {"idle_w": 0.0, "idle_j": 0.0, "net_j": energy["gross_j"]}


def _in_no_time(content: Content) -> None:
    energy = content["cells"][0]["energy"]
    energy["window_s"] = 1e-9


def _moved(content: Content, name: str) -> None:
    old = content["cells"][0]["cell_id"]
    content["cells"][0]["cell_id"] = name
    content["items"]["cells"][name] = content["items"]["cells"].pop(old)
    for outcome in content["items"]["cells"].values():
        if outcome.get("same_as") == old:
            outcome["same_as"] = name


def drop(content: Content, *cells: Content) -> None:
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
    """All cells began with the longest one."""
    longest = max(content["cells"], key=lambda cell: float(cell["duration_s"]))
    for cell in content["cells"]:
        cell["started_at"], cell["duration_s"] = longest["started_at"], longest["duration_s"]
        for span in cell["windows"]:
            span["began_at"] = longest["windows"][0]["began_at"]


def claim(content: Content, meter: str, grade: str, rel_u: float, scope: str = "package") -> None:
    """All cells were measured by this meter."""
    told = {"id": meter, "grade": grade, "scope": scope, "rel_u": rel_u, "rel_u_scale": rel_u, "rel_u_workload": 0.0}
    content["run"]["meters"][0] |= told
    content["run"]["plan"]["meters"] = None
    for cell in content["cells"]:
        cell["energy"] |= {"grade": grade, "scope": scope, "rel_u_scale": rel_u, "rel_u_workload": 0.0}


def _by_plugin(content: Content, **told: float) -> None:
    claim(content, "mine:wall", "wall", 0.01, "wall")
    content["run"]["meters"][0] |= told


def forge(content: Content) -> None:
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
