"""What to measure: from a plan file, the command line and a preset, in falling order of the last word."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from joulemark.meters.errors import UsageError
from joulemark.tasks.catalog import REFERENCE_TASKS

from .models import REFERENCE, is_replica, reference_models

__all__ = ["PRESETS", "SWEPT", "Plan", "make_plan", "moved", "parse_share", "raise_repeats"]

SWEPT = ("batch_size", "concurrency", "threads", "dtype", "max_gen_toks", "power_cap_w")
"""Settings of which a plan may have several values."""

_DTYPE = re.compile(r"auto|half|float|double|b?float\d+(_\w+)?|u?int\d+")
"""What torch and lm-eval's backends call their types; a misspelt one need not be loaded to be found out."""

_EXECUTOR = re.compile(r"^(local|ray(:\S+)?)$")
_PLACE = re.compile(r"^([^\s=]+:)?[^\s:=]+=\S+$")

Order = Literal["interleaved", "abba", "blocked"]


class Plan(BaseModel):
    """Everything that decides what a run does; it is stored whole in ``run.json``.

    Attributes:
        models: ``ref/NAME``, ``LABEL=ref/NAME`` or ``LABEL=BACKEND:key=value,...``, any model type of lm-eval.
        tasks: Names of tasks and groups, ours or lm-eval's.
        repeats: Times that every model meets every task; the least, where ``precision`` is given.
        precision: Go on until each model's energy is known to within this share (95 %); None keeps to ``repeats``.
        max_repeats: The most repeats that ``precision`` may ask for.
        limit: Only the first so many questions of each task.
        num_fewshot: Examples before each question; None leaves it to the task.
        gen_kwargs: lm-eval's settings of generation, ``k=v,k=v``, over the task's own.
        max_gen_toks: Tokens that an answer may have at most; None leaves it to the task.
        apply_chat_template: Ask in the model's chat format.
        system_instruction: What each prompt begins with.
        include_path: Folders with tasks of your own, in lm-eval's YAML.
        batch_size: Questions that a model is given at once; None: 16, or 1 where a server computes.
        concurrency: Batches that are under way to a server at once.
        threads: Threads of a model's process.
        dtype: Precision that a model is loaded in, where it can be chosen; None leaves it to the model.
        sweep: Further values of settings, by name: every combination is measured.
        log_samples: Keep what was asked and answered, in ``samples/`` of the run.
        meters: Meters to use, by id or ``NAME=KIND:key=value,...``; None chooses the best that works here.
        order: ``interleaved``: each repeat in a random order of its own; ``abba``: models forwards,
            then backwards; ``blocked``: one model after the other.
        executor: Where cells run: ``local``, or ``ray`` or ``ray:ADDRESS`` for all machines of a Ray cluster.
        placement: Labels that machines of a cluster need to measure, ``KEY=VALUE``; ``MODEL:KEY=VALUE``: that model.
        seed: Of the random order.
        idle_s: Seconds for which the idle power is measured, before and after.
        timeout_s: Seconds that a cell may take; None: as long as it takes.
        carbon: What a kilowatt-hour stands for: grams of CO2 equivalent, or a country; None for no carbon figures.
        trust_remote_code: Load models that bring code of their own.
        allow_unsafe_code: Ask tasks that run what a model writes.
        allow_power_cap: Let a sweep over ``power_cap_w`` change the GPUs' caps; the old ones are put back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    repeats: int = Field(ge=1, le=1000)
    limit: int | None = Field(default=None, ge=1)
    num_fewshot: int | None = Field(default=None, ge=0)
    gen_kwargs: str | None = None
    max_gen_toks: int | None = Field(default=None, ge=1)
    apply_chat_template: bool = False
    system_instruction: str | None = None
    include_path: tuple[str, ...] = ()
    batch_size: int | None = Field(default=None, ge=1)
    concurrency: int = Field(default=1, ge=1)
    threads: int = Field(default=1, ge=1)
    dtype: str | None = None
    sweep: dict[str, tuple[int | str, ...]] = Field(default_factory=dict)
    precision: float | None = Field(default=None, gt=0, lt=1)
    max_repeats: int = Field(default=20, ge=2, le=1000)
    log_samples: bool = False
    meters: tuple[str, ...] | None = None
    order: Order = "interleaved"
    executor: str = Field(default="local", json_schema_extra={"pattern": _EXECUTOR.pattern})
    placement: tuple[Annotated[str, Field(json_schema_extra={"pattern": _PLACE.pattern})], ...] = ()
    seed: int = Field(default=0, ge=0)
    idle_s: float = Field(default=3.0, ge=0.5, le=600)
    timeout_s: float | None = Field(default=None, gt=0)
    carbon: str | float | None = None
    trust_remote_code: bool = False
    allow_unsafe_code: bool = False
    allow_power_cap: bool = False

    @property
    def on_cluster(self) -> bool:
        """Whether the machines of a cluster measure, and not this one."""
        return self.executor != "local"

    @field_validator("executor")
    @classmethod
    def _check_executor(cls, executor: str) -> str:
        if not _EXECUTOR.fullmatch(executor):
            raise PydanticCustomError("executor", "write local, ray or ray:ADDRESS, such as ray:10.0.0.1:6379")
        return executor

    @field_validator("placement")
    @classmethod
    def _check_placement(cls, placement: tuple[str, ...]) -> tuple[str, ...]:
        for rule in placement:
            if not _PLACE.fullmatch(rule):
                how = "write KEY=VALUE, or MODEL:KEY=VALUE, such as gpu=h100"
                raise PydanticCustomError("placement", "{rule}: {how}", {"rule": repr(rule), "how": how})
        return placement

    @field_validator("precision", mode="before", json_schema_input_type=float | str | None)
    @classmethod
    def _read_precision(cls, precision: Any) -> Any:
        if not isinstance(precision, str):
            return precision
        try:
            return parse_share(precision)
        except ValueError as problem:
            raise PydanticCustomError("precision", "write a share such as 5% or 0.05") from problem

    @field_validator("sweep")
    @classmethod
    def _check_sweep(cls, sweep: dict[str, tuple[int | str, ...]]) -> dict[str, tuple[int | str, ...]]:
        for key, values in sweep.items():
            if key not in SWEPT:
                raise PydanticCustomError("sweep", f"{key!r} cannot be swept; {', '.join(SWEPT)} can")
            if not values or len(set(values)) < len(values):
                raise PydanticCustomError("sweep", f"give {key} one value or more, each once")
            whole = key != "dtype"
            if whole and not all(isinstance(value, int) and value >= 1 for value in values):
                raise PydanticCustomError("sweep", f"{key} takes whole numbers from 1")
        return sweep

    @model_validator(mode="after")
    def _check_dtypes(self) -> Plan:
        for name in filter(None, (self.dtype, *self.sweep.get("dtype", ()))):
            if not _DTYPE.fullmatch(str(name)):
                raise PydanticCustomError("dtype", f"no dtype is called {name!r}; float32 and bfloat16 are some")
        return self

    @model_validator(mode="after")
    def _check_repeats(self) -> Plan:
        if self.precision is not None and self.repeats > self.max_repeats:
            raise PydanticCustomError("repeats", f"repeats ({self.repeats}) is above max_repeats ({self.max_repeats})")
        return self


_ALL_TASKS = tuple(task.name for task in REFERENCE_TASKS)
_SOME_MODELS = ("ngram", "dense-60k", "dense-240k", "dense-800k", "moe-800k-a240k", "cascade-240k-800k", "int8-800k")
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"tasks": _ALL_TASKS, "repeats": 3, "limit": 100},
    "full": {"tasks": _ALL_TASKS, "repeats": 3},
}
"""What a preset says where neither the plan file nor the command line does; it names models as well."""


def parse_share(text: str, below: float = 1.0) -> float:
    """``5%`` or ``0.05``, as a share; from 1 on only with the sign, or nobody knows whether 30 means 30 %.

    Raises:
        ValueError: It is neither, or not between 0 and ``below``.
    """
    share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 < share < (below if text.endswith("%") else 1):
        raise ValueError(f"{text} is not between 0 and {below:g}")
    return share


def make_plan(file: Path | None, given: dict[str, Any], preset: str = "quick") -> Plan:
    """Put a plan together; what the command line gives stands over the file, and both over the preset.

    Raises:
        UsageError: The file cannot be read, or a key or value in it is wrong.
    """
    read = _read(file) if file else {}
    chosen = {key: value for key, value in given.items() if value is not None}
    _refuse_given_and_swept(str(file), read)
    _refuse_given_and_swept("command line", chosen)
    # Whichever way the command line says it, a setting of the file's gives way.
    read = {key: value for key, value in read.items() if key not in chosen.get("sweep", {})}
    if isinstance(swept := read.get("sweep"), dict):
        read["sweep"] = {key: values for key, values in swept.items() if key not in chosen}
    try:
        return Plan.model_validate({"models": _models_of(preset), **PRESETS[preset], **read, **chosen})
    except ValidationError as problem:
        raise UsageError(f"{file or 'command line'}: {_explain(problem)}") from problem


def raise_repeats(plan: Plan, repeats: int) -> Plan:
    """The plan of a run that goes on, with more repeats: what it would be had they been planned at once.

    Raises:
        UsageError: They are fewer than planned or too many, or cannot come where they would have come then.
    """
    if plan.precision is not None:
        raise UsageError(
            "the run repeats until its energies are known well enough (--precision), and chooses the repeats itself; "
            "leave --repeats out, or start a run of its own with --out."
        )
    if repeats < plan.repeats:
        raise UsageError(
            f"--repeats {repeats}: the run plans {plan.repeats} repeats, and --resume can only raise that."
        )
    if repeats > plan.repeats and plan.order == "blocked":
        raise UsageError(
            "the run measures one model after the other (--order blocked), so further repeats would come too late; "
            "start one of its own with --out."
        )
    try:
        return Plan.model_validate(plan.model_dump() | {"repeats": repeats})
    except ValidationError as problem:
        raise UsageError(f"command line: {_explain(problem)}") from problem


def moved(plan: Plan, executor: str) -> Plan:
    """The plan of a run of a cluster that goes on where the cluster is now.

    Raises:
        UsageError: It is none, or that is no cluster.
    """
    if not plan.on_cluster:
        raise UsageError("the run measures on one machine, without --executor, and goes on there; leave it out.")
    if executor == "local":
        raise UsageError("the run measures on a cluster, and goes on in one: --executor ray or ray:ADDRESS.")
    try:
        return Plan.model_validate(plan.model_dump() | {"executor": executor})
    except ValidationError as problem:
        raise UsageError(f"command line: {_explain(problem)}") from problem


def _refuse_given_and_swept(where: str, given: dict[str, Any]) -> None:
    swept = given.get("sweep")
    for key in swept if isinstance(swept, dict) else ():
        if key in given:
            raise UsageError(f"{where}: {key} is given and swept; leave one of the two out.")


def _models_of(preset: str) -> tuple[str, ...]:
    """Some of the reference models, or all that are no second training of another one."""
    names = _SOME_MODELS if preset == "quick" else [name for name in reference_models() if not is_replica(name)]
    return tuple(f"{REFERENCE}/{name}" for name in names)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise UsageError(f"{file}: {problem.strerror or problem}") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise UsageError(f"{file} is not valid TOML: {problem}") from problem
    stray = [key for key, value in content.items() if not isinstance(value, dict)]
    if stray and "run" in content:
        raise UsageError(f"{file}: {stray[0]!r} stands outside of [run]; move it below that line.")
    for name in content:
        # Tables of others are none of ours; but one that was meant for us would be a wish that nobody hears.
        if name in Plan.model_fields and "run" in content:
            raise UsageError(f"{file} has a table [{name}], which nothing reads; write [run.{name}].")
        if name != "run" and difflib.get_close_matches(name, ["run"]):
            raise UsageError(f"{file} has a table [{name}]; did you mean [run]?")
    table = content.get("run")
    if not isinstance(table, dict):
        raise UsageError(f"{file} has no [run] table; put models, tasks and repeats there.")
    return table


def _explain(problem: ValidationError) -> str:
    error = problem.errors()[0]
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "tuple_type":
        return f'{key}: write a list of texts, such as {key} = ["..."].'
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, Plan.model_fields, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(Plan.model_fields)}."
        return f"[run] has no key {key!r}; {hint}"
    message = f"{error['msg'][0].lower()}{error['msg'][1:]}"
    return f"{key}: {message}{_given(error['input'])}" if key else f"{message}."


def _given(value: Any) -> str:
    """What was written, where that is one word."""
    return f" (given: {value!r})" if isinstance(value, str | int | float) else "."
