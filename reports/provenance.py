"""Where the figures come from: machines, meters, runs and the commands that make them again."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from joulemark.harness.plan import Plan
from joulemark.harness.record import Accelerator, Machine, MeterInfo, RunHeader
from joulemark.harness.store import Run, canonical_json

from .entrants import gpus_in_words
from .origin import files_of, imported_at, is_imported
from .progress import Progress
from .wording import joined, number, safe

__all__ = ["again", "describe_run", "machines", "meters"]


_OPTIONS = (
    "repeats",
    "precision",
    "max_repeats",
    "limit",
    "num_fewshot",
    "gen_kwargs",
    "max_gen_toks",
    "system_instruction",
    "batch_size",
    "concurrency",
    "threads",
    "dtype",
    "timeout_s",
    "order",
    "executor",
    "seed",
    "carbon",
)
_SWITCHES = ("log_samples", "apply_chat_template", "trust_remote_code", "allow_unsafe_code", "allow_power_cap")


def machines(runs: Sequence[Run]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each machine's id, and facts about it by name."""
    headers = [part.header for run in runs for part in run.parts]
    known = {header.machine.machine_id: header.machine for header in headers}
    return [(safe(name), _machine(known[name])) for name in sorted(known)]


def meters(runs: Sequence[Run]) -> list[MeterInfo]:
    """The meters of these runs, each once."""
    headers = [part.header for run in runs for part in run.parts]
    known = {canonical_json(meter.model_dump(mode="json")): meter for header in headers for meter in header.meters}
    return [known[key] for key in sorted(known)]


def again(runs: Sequence[Run]) -> list[str]:
    """Commands that make these runs anew, where their plans say how, and then the table and the report of these."""
    measured, paths = [], []
    for place, run in enumerate(runs, start=1):
        command, path = _measure(run), "again" if len(runs) == 1 else f"again-{place}"
        if command:
            measured.append(f"{command} --out {path}{_in_file(run)}")
        paths.append(path if command else shlex.quote(safe(str(run.path))))
    ranked = [f"joulemark rank {' '.join(paths)} --json", f"joulemark report {' '.join(paths)} --out report"]
    return [*measured, *ranked]


def describe_run(run: Run, far: Progress | None) -> dict[str, Any]:
    """What a reader may ask about a run, and how far it is if it is unfinished (`progress`), as text by name.

    ``facts`` is all of it as pairs of a name and text, where several machines measured for each of them; ``software``
    and ``idle`` are those of the first.
    """
    header, done = run.header, [cell for cell in run.cells if cell.status == "ok"]
    windows = [cell.energy.window_s for cell in done if cell.energy and cell.energy.window_s is not None]
    loops = [cell.energy.loops for cell in done if cell.energy]
    failed = len(run.cells) - len(done)
    told = {
        "id": safe(header.run_id),
        "path": safe(str(run.path)),
        "created": safe(_created(header)),
        "seed": "not told" if header.seed is None else header.seed,
        "version": safe(header.joulemark_version),
        "software": _versions(header),
        "cells": _cells(len(done), failed, far),
        "windows": _range(windows, " s"),
        "loops": f"{min(loops)} to {max(loops)}" if len(set(loops)) > 1 else str(loops[0]) if loops else "no",
        "idle": _idle(header),
    }
    return told | {"facts": _of_import(run, told) if is_imported(run) else _of_run(run, told)}


def _of_run(run: Run, told: Mapping[str, Any]) -> list[tuple[str, str]]:
    several = len(run.parts) > 1
    return [
        ("Made", f"{told['created']} by Joulemark {told['version']}"),
        ("Cells", told["cells"] + _on_nodes(run)),
        *(_by_machine(run, "Cells", _finished) if several else ()),
        ("Windows", f"{told['windows']}, {told['loops']} loops"),
        *_by_machine(run, "Idle power", lambda part: _idle(part.header)),
        *(_by_machine(run, "Meters", _meters_of) if several else ()),
        ("Seed", str(told["seed"])),
        *_by_machine(run, "Software", _software),
    ]


def _of_import(run: Run, told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is told of a run that Joulemark did not measure; of windows and idle power nothing is but what is told."""
    header = run.header
    at = imported_at(header)
    return [
        ("Measured", safe(header.created_at or "not told")),
        ("Imported", f"{f'{safe(at)} ' if at else ''}by Joulemark {told['version']}"),
        ("Files", safe(", ".join(files_of(header))) or "not told"),
        ("Results", f"{len(run.cells)}"),
        ("Windows", told["windows"] if told["windows"] != "none" else "not told"),
        *_by_machine(run, "Idle power", lambda p: "not told" if p.header.idle.before_w is None else _idle(p.header)),
        *_by_machine(run, "Software", _software),
    ]


def _by_machine(run: Run, name: str, tell: Callable[[Run], str]) -> list[tuple[str, str]]:
    """The same fact of each of its machines; those that are alike in it share one."""
    told: dict[str, list[str]] = defaultdict(list)
    for part in run.parts:
        told[tell(part)].append(safe(part.header.machine.machine_id))
    if len(told) == 1:
        return [(name, text) for text in told]
    return [(f"{name}, {joined(sorted(ids))}", text) for text, ids in told.items()]


def _finished(part: Run) -> str:
    return f"{sum(cell.status == 'ok' for cell in part.cells)} finished"


def _meters_of(part: Run) -> str:
    return safe(joined([f"{meter.id} ({meter.grade})" for meter in part.header.meters] or ["none"]))


def _software(part: Run) -> str:
    return ", ".join(f"{name} {version}" for name, version in _versions(part.header)) or "not told"


def _versions(header: RunHeader) -> list[tuple[str, str]]:
    return [(safe(name), safe(version)) for name, version in sorted(header.software.items())]


def _cells(done: int, failed: int, far: Progress | None) -> str:
    """How many finished and failed, and of how many where some are missing."""
    more = f", {failed} failed" if failed else ""
    if far and far.planned is None:
        return f"{done} measured{more}; of how many is not known"
    return f"{far.finished} of {far.planned} finished{more}" if far else f"{done} finished{more}"


def _on_nodes(run: Run) -> str:
    """On how many nodes of a cluster they were measured; empty for one, or where there was no cluster."""
    nodes = {cell.node for cell in run.cells if cell.node is not None}
    return f", on {len(nodes)} nodes" if len(nodes) > 1 else ""


def _created(header: RunHeader) -> str:
    if header.created_at is None:
        return f"not told; imported {imported_at(header) or 'at a time that is not told either'}"
    if header.remetered_from is None:
        return header.created_at
    meters = ", ".join(str(meter) for meter in header.plan.get("meters") or ())
    return f"{header.created_at}: energy taken anew from a recorded trace ({meters}) for run {header.remetered_from}"


def _measure(run: Run) -> str | None:
    """The ``joulemark run`` whose plan is this run's; None where it is not told, or the energy came later."""
    plan = run.header.plan
    if run.header.remetered_from is not None or "soak" in plan:
        return None
    models, tasks = plan.get("models"), plan.get("tasks")
    if not isinstance(models, list | tuple) or not isinstance(tasks, list | tuple):
        return None
    words = ["joulemark", "run"]
    words += [word for model in models for word in ("-m", str(model))]
    words += [word for task in tasks for word in ("-t", str(task))]
    if plan.get("limit") is None:
        words += ["--preset", "full"]
    for name in _OPTIONS:
        if plan.get(name) not in (None, Plan.model_fields[name].default):
            words += [f"--{name.removesuffix('_s').replace('_', '-')}", str(plan[name])]
    for name, values in (plan.get("sweep") or {}).items():
        words += ["--sweep", f"{name}={','.join(map(str, values))}"]
    words += [word for folder in plan.get("include_path") or () for word in ("--include-path", str(folder))]
    words += [word for label in plan.get("placement") or () for word in ("--place", str(label))]
    words += [word for meter in plan.get("meters") or () for word in ("--meter", str(meter))]
    words += [f"--{name.replace('_', '-')}" for name in _SWITCHES if plan.get(name)]
    return " ".join(shlex.quote(safe(word)) for word in words)


def _in_file(run: Run) -> str:
    """What only a plan file can say, as a comment after the command."""
    idle_s, usual = run.header.plan.get("idle_s"), Plan.model_fields["idle_s"].default
    return "" if idle_s in (None, usual) else f" # and in the [run] of a plan file: idle_s = {safe(str(idle_s))}"


def _idle(header: RunHeader) -> str:
    idle = header.idle
    if idle.before_w is None:
        return "not measured"
    if any(meter.id.startswith("modelled:") and meter.summed for meter in header.meters):
        return f"{number(idle.before_w)} W, the power model's idle power (not measured)"
    after = "after: not known" if idle.after_w is None else f"{number(idle.after_w)} W after"
    return f"{number(idle.before_w)} W before, {after}, {number(idle.duration_s)} s each"


def _range(values: Sequence[float], unit: str) -> str:
    if not values:
        return "none"
    low, high = number(min(values)), number(max(values))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def _machine(machine: Machine) -> list[tuple[str, str]]:
    """What is known of it; what is not is named at the end."""
    threads = None if machine.cpu_count is None else f"{machine.cpu_count} threads"
    facts = {
        "Processor": ", ".join(filter(None, (_known(machine.cpu_model), threads))),
        "Accelerators": ", ".join(_accelerators(machine)) or "none",
        "Memory": machine.memory_gb and f"{number(machine.memory_gb)} GB",
        "System": " ".join(filter(None, map(_known, (machine.os, machine.kernel)))),
        "Virtual": None if machine.virtualised is None else "yes" if machine.virtualised else "no",
        "Frequency governor": machine.governor,
        "GPU driver": machine.driver or (None if machine.accelerators else "none"),
    }
    told = [(name, safe(value)) for name, value in facts.items() if value]
    lacks = [name if name[:2] == "GP" else name.lower() for name, value in facts.items() if not value]
    return [*told, ("Not told", joined(lacks))] if lacks else told


def _known(text: str) -> str | None:
    return None if text == "unknown" else text


def _accelerators(machine: Machine) -> list[str]:
    """Its GPUs with their memory, those that are alike together."""
    return gpus_in_words(machine.model_copy(update={"accelerators": tuple(map(_with_memory, machine.accelerators))}))


def _with_memory(gpu: Accelerator) -> Accelerator:
    return gpu if gpu.memory_gb is None else gpu.model_copy(update={"name": f"{gpu.name}, {number(gpu.memory_gb)} GB"})
