"""Cheats: what somebody would do to a valid submission to rank better, and what of it is found."""

from __future__ import annotations

import hashlib

from hostile import Change, Content, claim, drop, forge, outcome_of, put, scaled

__all__ = ["CHEATS", "COUNTED", "FORGED", "counted"]


def _everything_less(content: Content) -> None:
    """All joules of the run a tenth, consistently, idle power included."""
    for cell in content["cells"]:
        energy = cell["energy"]
        for name in ("gross_j", "net_j", "idle_j", "u_j", "u_net_j", "idle_w"):
            energy[name] *= 0.1
        cell["phases"] = {name: joules * 0.1 for name, joules in cell["phases"].items()}
    for part in (content["run"]["idle"], *content["run"]["invocations"]):
        part.update({name: watts * 0.1 for name, watts in part.items() if name.endswith("_w")})


def _many_threads_less(content: Content) -> None:
    """The same on a machine of 64 threads, whose tenth is above what two threads take with nothing to do."""
    machine = content["run"]["machine"]
    machine["cpu_count"] = 64
    _name_machine(content)
    for cell in content["cells"]:
        energy = cell["energy"]
        added_j = 31 * energy["idle_j"]
        energy["idle_w"] *= 32
        energy["idle_j"] += added_j
        energy["gross_j"] += added_j
    for part in (content["run"]["idle"], *content["run"]["invocations"]):
        part.update({name: watts * 32 for name, watts in part.items() if name.endswith("_w")})
    _everything_less(content)


def _name_machine(content: Content) -> None:
    """The id that such a machine has."""
    machine = content["run"]["machine"]
    parts = (
        "joulemark",
        "machine",
        *(str(machine[key]) for key in ("hostname_hash", "cpu_model", "cpu_count", "memory_gb")),
    )
    machine["machine_id"] = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def counted(content: Content) -> None:
    """The same run by the counter of a CPU's package, as if the machine were no virtual one: whole microjoules."""
    content["run"]["machine"]["virtualised"] = False
    claim(content, "rapl:package-0", "counter", 0.03)
    content["run"]["meters"][0] |= {"provenance": "/sys/class/powercap/intel-rapl:0", "source": "assumed 3%"}
    content["run"]["plan"]["meters"] = None
    for cell in content["cells"]:
        energy = cell["energy"]
        energy.pop("domains", None)
        energy["gross_j"] = round(energy["gross_j"], 6)
        energy["net_j"] = energy["gross_j"] - energy["idle_j"]
        cell["phases"] = {"prefill_j": 0.0, "decode_j": 0.0, "other_j": energy["net_j"]}
    for each in content["run"]["invocations"]:
        each["before_w"] = content["cells"][0]["energy"]["idle_w"]


COUNTED: list[tuple[str, set[str], Change]] = [
    ("all energy times 0.1", {"counter-steps"}, lambda c: _everything_less(c)),
    ("gross energy times 0.1", {"sum-net", "counter-steps"}, scaled("gross_j", by=0.1)),
]
"""Cheats on a counter: name, codes that must be among those found, and what is done."""


def _flip_of_others(content: Content) -> None:
    """The models are called something else, as if nobody knew their weights."""
    for cell in content["cells"]:
        cell["model_args"] = cell["model_args"].replace("ref:", "hf:pretrained=")
    models = content["run"]["plan"]["models"]
    content["run"]["plan"]["models"] = [f"{name}=hf:pretrained={name.removeprefix('ref/')}" for name in models]
    forge(content)


def _flip(content: Content) -> None:
    """A few wrong answers become right; the accuracy is left."""
    outcome = outcome_of(content)
    outcome["right"] = ("/" if outcome["right"][0] != "/" else "A") + outcome["right"][1:]


def _drop_worst_repeat(content: Content) -> None:
    """The repeat that took most is gone, the others are numbered anew, and so many were planned."""
    gross = {k: sum(c["energy"]["gross_j"] for c in content["cells"] if c["repeat"] == k) for k in (1, 2, 3)}
    # Of the last one nothing can be told: docs/leaderboard.md says so.
    worst = max((1, 2), key=gross.__getitem__)
    drop(content, *[cell for cell in content["cells"] if cell["repeat"] == worst])
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


def _drop_last_repeat(content: Content) -> None:
    """As if only two repeats had been planned."""
    drop(content, *[cell for cell in content["cells"] if cell["repeat"] == 3])
    content["run"]["plan"]["repeats"] = 2


CHEATS: list[tuple[str, set[str], Change]] = [
    ("gross energy times 0.1", {"sum-net"}, scaled("gross_j", by=0.1)),
    ("all energy times 0.1", {"power-low"}, _everything_less),
    ("outcomes flipped", {"sum-accuracy"}, _flip),
    ("outcomes flipped, and all that follows", {"reference-answers"}, forge),
    ("all energy times 0.1 on many threads", {"power-low"}, _many_threads_less),
    ("the machine's name swapped", {"claim-machine"}, put("run", "machine", "cpu_model", to="Apple M9")),
    ("the machine's memory swapped", {"claim-machine"}, put("run", "machine", "memory_gb", to=1024.0)),
    ("the worst repeat dropped", {"order"}, _drop_worst_repeat),
    (
        "a repeat dropped",
        {"missing-cell"},
        lambda c: drop(c, *[cell for cell in c["cells"] if cell["repeat"] == 2]),
    ),
]
"""Name, codes that must be among those found, and what is done."""


def _rounded_less(content: Content) -> None:
    """A tenth of a counter's joules, rounded to its steps again."""
    counted(content)
    _everything_less(content)
    for cell in content["cells"]:
        energy = cell["energy"]
        energy["gross_j"] = round(energy["gross_j"], 6)
        energy["net_j"] = energy["gross_j"] - energy["idle_j"]
        cell["phases"] = {"prefill_j": 0.0, "decode_j": 0.0, "other_j": energy["net_j"]}


FORGED: list[tuple[str, Change]] = [
    ("a counter's energy times 0.1, rounded to whole steps", _rounded_less),
    ("outcomes of no reference model flipped, and all that follows", _flip_of_others),
    ("the last repeat dropped, and never planned", _drop_last_repeat),
]
"""What nobody can see in one file; docs/leaderboard.md says so, and why."""
