"""From a plan to what a run needs: its models, its tasks, and the meters that see all of it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from joulemark.meters.errors import UsageError
from joulemark.meters.naming import meter_name
from joulemark.meters.nvidia import driver_version
from joulemark.meters.registry import Choice, Device, choose, find_meters, probe_all
from joulemark.meters.types import Domain
from joulemark.tasks.catalog import OUR_TASKS

from .machine import describe_machine, describe_software
from .memory import look_at_gpus
from .models import REFERENCE, ModelSpec, parse_models
from .plan import Plan
from .record import Accelerator, Cell, Machine, MeterInfo, RunHeader
from .schedule import impossible

_OWN_CODE = "trust_remote_code"

__all__ = [
    "Session",
    "check_same_work",
    "check_unchanged",
    "describe_this_machine",
    "meter_infos",
    "prepare",
    "specs_of",
]


@dataclass(frozen=True)
class Session:
    """What is to be measured, and by what.

    Attributes:
        plan: With groups of tasks taken apart into what is a cell each.
        stock: Those of its tasks that lm-eval's own index is needed for.
    """

    plan: Plan
    specs: list[ModelSpec]
    stock: frozenset[str]
    choice: Choice


def prepare(plan: Plan, say: Callable[[str], None]) -> Session:
    """Look up everything that a plan names, before anything is started.

    Raises:
        UsageError: A model, task or meter is unknown, named twice, or needs a flag that is not set.
        MeasuringFailed: No meter that works here sees the models compute.
    """
    specs = specs_of(plan)
    _refuse_twice("model", [spec.name for spec in specs], "; give each a label of its own: LABEL=...")
    _refuse_twice("task", plan.tasks, "; name it once.")
    _refuse_remote_code(plan, specs)
    _refuse_missing_folders(specs)
    _refuse_plain_chats(plan, specs)
    _refuse_too_many_examples(plan)
    stock: frozenset[str] = frozenset()
    backends = {spec.backend for spec in specs} - {REFERENCE}
    if backends:
        from joulemark.tasks import lmmodels

        _check_backends(backends, lmmodels.backend_names())
    # Asking lm-eval takes seconds, so it is asked only where something that is not ours was named.
    if plan.include_path or {*plan.tasks} - {task.name for task in OUR_TASKS}:
        from joulemark.tasks import lmeval

        include = [str(Path(folder).resolve()) for folder in plan.include_path]
        tasks, stock = lmeval.expand_tasks(plan.tasks, include, say)
        if plan.num_fewshot:
            lmeval.refuse_examples(tasks, include, stock=bool(stock))
        if own := [spec.name for spec in specs if spec.backend == REFERENCE]:
            _refuse_no_text(own, lmeval.not_generating(tasks, include, stock=bool(stock)))
        plan = plan.model_copy(update={"tasks": tuple(tasks), "include_path": tuple(include)})
    if plan.gen_kwargs:
        from joulemark.tasks import lmeval

        twice = plan.max_gen_toks or "max_gen_toks" in plan.sweep
        if "max_gen_toks" in lmeval.read_gen_kwargs(plan.gen_kwargs) and twice:
            raise UsageError("--gen-kwargs and --max-gen-toks both say max_gen_toks; leave one of the two out.")
    if "power_cap_w" in plan.sweep and not plan.allow_power_cap:
        raise UsageError(
            "a sweep over power_cap_w changes the GPUs' own settings; allow that by --allow-power-cap "
            "(the old caps are put back when the run ends, however it ends)."
        )
    choice = _choose_meters(plan, specs)
    _refuse_unseen_servers(specs, choice)
    for sentence in (*impossible(plan, specs), *_doubts(plan, specs)):
        say(sentence)
    return Session(plan, specs, stock, choice)


def specs_of(plan: Plan) -> list[ModelSpec]:
    """The plan's models, with what the plan allows them.

    Raises:
        UsageError: One is not known.
    """
    return [spec.trusting() if plan.trust_remote_code else spec for spec in parse_models(plan.models)]


def _refuse_twice(what: str, names: Sequence[str], advice: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{what} {name!r} is there twice{advice.format(name)}")


def _refuse_remote_code(plan: Plan, specs: Sequence[ModelSpec]) -> None:
    for spec in specs:
        if _runs_own_code(spec) and not plan.trust_remote_code:
            raise UsageError(f"model {spec.name!r} would run code of its own; allow that by --trust-remote-code.")


def _runs_own_code(spec: ModelSpec) -> bool:
    """Whether its arguments let it run code of its own, whatever way of saying yes lm-eval takes."""
    said = [part.partition("=")[2] for part in spec.args.split(",") if part.partition("=")[0].strip() == _OWN_CODE]
    return any(value.strip().lower() not in ("false", "0", "") for value in said)


def _refuse_missing_folders(specs: Sequence[ModelSpec]) -> None:
    """What looks like a folder must be one, or it is taken for a name on a hub, and told of as such, late."""
    for spec in specs:
        folder = dict(part.partition("=")[::2] for part in spec.args.split(",")).get("pretrained", "")
        if folder.startswith((".", "/", "~")) and not Path(folder).exists():
            raise UsageError(f"model {spec.name!r}: there is no folder {folder!r} in {Path.cwd()}.")


def _refuse_no_text(names: Sequence[str], tasks: Sequence[str]) -> None:
    if tasks:
        raise UsageError(
            f"reference models write their answers, and {', '.join(tasks)} asks for likelihoods; give "
            f"{', '.join(names)} a run of their own, with tasks of output_type generate_until."
        )


def _refuse_plain_chats(plan: Plan, specs: Sequence[ModelSpec]) -> None:
    chats = [spec.name for spec in specs if spec.backend.endswith("chat-completions")]
    if chats and not plan.apply_chat_template:
        raise UsageError(f"{', '.join(chats)}: chats are asked in their own format; give --apply-chat-template.")


def _refuse_unseen_servers(specs: Sequence[ModelSpec], choice: Choice) -> None:
    used = sorted({meter_name(domain.id) for domain in choice.summed})
    for spec in specs:
        if spec.seen_by and spec.seen_by not in used:
            raise UsageError(
                f"model {spec.name!r}: server_at={spec.seen_by} names no meter of this run, which measures by "
                f"{', '.join(used)}; give it by --meter {spec.seen_by}=KIND:key=value."
            )


def _doubts(plan: Plan, specs: Sequence[ModelSpec]) -> Iterable[str]:
    """What will spoil figures, and can be mended before they are measured."""
    unseen = [spec.name for spec in specs if spec.is_client and spec.endpoint is None]
    if unseen:
        yield (
            f"{', '.join(unseen)}: nothing says which process computes, so there will be no energy, but answers alone. "
            "Give server_pid=PID of the server, or server=COMMAND that starts it, or for another machine "
            "server_at=METER (docs/servers.md)."
        )
    threads, cores = max(map(int, plan.sweep.get("threads", (plan.threads,)))), _cores()
    if threads > cores:
        yield f"threads={threads}: only {cores} can run at once here, so they will wait for each other."


def _cores() -> int:
    """Hardware threads that programs started from here may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _refuse_too_many_examples(plan: Plan) -> None:
    for task in OUR_TASKS:
        if task.name in plan.tasks and (plan.num_fewshot or 0) > task.examples:
            raise UsageError(f"task {task.name!r} has {task.examples} examples to show; ask for fewer.")


def _choose_meters(plan: Plan, specs: Sequence[ModelSpec]) -> Choice:
    """The one total that sees all models compute, wherever each does."""
    probed = probe_all(find_meters(plan.meters) if plan.meters else None)
    has_gpu = any(domain.kind == "gpu" for found in probed for domain in found.domains)
    choices: dict[Device, Choice] = {}
    for spec in specs:
        device: Device = "cuda" if has_gpu and spec.takes_gpu else "cpu"
        choices[device] = choose(plan.meters, device=device, probed=probed)
    first, *others = choices.values()
    if any(other.summed != first.summed for other in others):
        raise UsageError(
            "some of these models compute on the CPU, some on a GPU, and no total here sees both; "
            "give each kind a run of its own, or put all on one with device=cpu."
        )
    return first


def _check_backends(names: Iterable[str], known: Sequence[str]) -> None:
    problems = []
    for name in sorted(set(names) - set(known)):
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"lm-eval has {', '.join(known)}."
        problems.append(f"unknown model type {name!r}; {hint}")
    if problems:
        raise UsageError(" ".join(problems))


def meter_infos(choice: Choice) -> tuple[MeterInfo, ...]:
    """The run header's account of the domains."""
    return tuple(
        MeterInfo(
            id=domain.id,
            grade=domain.grade,
            scope=domain.kind,
            provenance=domain.provenance,
            resolution_j=domain.resolution_j,
            update_s=domain.update_s,
            rel_u=domain.rel_u,
            rel_u_scale=domain.rel_u_scale,
            rel_u_workload=domain.rel_u_workload,
            source=domain.source,
            summed=domain.summed,
        )
        for domain in choice.domains
    )


def describe_this_machine(choice: Choice, *, share: bool = False) -> Machine:
    """This machine, or a share of it, with the GPUs that the meters see."""
    memory = {gpu.uuid: gpu.total for gpu in look_at_gpus()}
    # Of a GPU that only a remote source or a trace tells of, no more is known than what it is called there.
    gpus = tuple(
        Accelerator(name=domain.device or f"GPU {domain.id}", uuid=domain.device_id, memory_gb=_gb(memory, domain))
        for domain in choice.domains
        if domain.kind == "gpu"
    )
    return describe_machine(gpus, driver_version(), share=share)


def _gb(memory: Mapping[str, int | None], gpu: Domain) -> float | None:
    held = memory.get(gpu.device_id)
    return None if held is None else round(held / 2**30, 1)


def check_unchanged(header: RunHeader, choice: Choice) -> None:
    """Whether a run may go on here: on the same machine, by the same meters, with the same software.

    Raises:
        UsageError: It may not, and why.
    """
    machine = describe_this_machine(choice)
    then_by = {meter.id: meter.provenance for meter in header.meters}
    now_by = {domain.id: domain.provenance for domain in choice.domains}
    then_with, now_with = header.software, describe_software()
    for what, then, now in (
        ("on another machine", header.machine.machine_id, machine.machine_id),
        ("by other meters", then_by, now_by),
        ("with other versions", then_with, now_with),
    ):
        if then != now:
            raise UsageError(f"the run was measured {what} ({then}, here {now}); start one of its own with --out.")


def check_same_work(cells: Iterable[Cell], specs: Sequence[ModelSpec]) -> None:
    """Whether the reference models and our tasks are still those whose cells are there already.

    Raises:
        UsageError: One has other weights or other questions now.
    """
    weights = {spec.name: spec.info().sha256 for spec in specs if spec.backend == REFERENCE}
    versions = {task.name: task.version for task in OUR_TASKS}
    for cell in cells:
        for name, what, then, now in (
            (cell.model, "weights", cell.model_info.sha256, weights.get(cell.model)),
            (cell.task, "questions", cell.task_version, versions.get(cell.task)),
        ):
            if then and now and then != now:
                raise UsageError(f"{name} has other {what} than when this run began; start one of its own with --out.")
