"""What a gate asks for: the ``[gate]`` table of joulemark.toml, or ``[tool.joulemark.gate]`` of pyproject.toml."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from joulemark.harness.plan import parse_share
from joulemark.meters.errors import UsageError

__all__ = ["LOOKS", "GateConfig", "Limits", "read_gate_config"]

LOOKS: dict[tuple[int, ...], float] = {(4, 6, 10): 0.38}
"""Planned looks, and the part of alpha that each may take, so that all together take no more (simulated); of others
each takes its equal part (Bonferroni)."""


def _share(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_share(value, below=100)
    except ValueError as problem:
        raise ValueError(f"write a share, such as 5% or 0.05, not {value!r}") from problem


Share = Annotated[float, BeforeValidator(_share), Field(gt=0)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Limits(_Table):
    """What a task must keep to; None is no rule.

    Attributes:
        max_increase: How much more energy per item the candidate may take, as a share.
        max_drop: How many points of quality it may lose.
        max_wh_per_1k: Watt-hours per 1,000 items that it may take, whatever the baseline does.
        min_quality: Points that it must have.
        min_correct_per_wh: Right answers beyond guessing per watt-hour that it must give.
    """

    max_increase: Share | None = None
    max_drop: float | None = Field(default=None, ge=0)
    max_wh_per_1k: float | None = Field(default=None, gt=0)
    min_quality: float | None = None
    min_correct_per_wh: float | None = Field(default=None, gt=0)


class GateConfig(_Table):
    """The whole table.

    Attributes:
        limits: For tasks that no pattern names.
        tasks: For tasks by pattern, such as ``jm_*``: the last that fits stands over the others, key by key.
        alpha: False fails at the margin, at most, over all rules.
        looks: Numbers of repeats at which it is planned to look; empty: one look.
        on_inconclusive: ``code``: exit code 3; ``warn``: 0; ``fail``: 1.
    """

    limits: Limits = Limits(max_increase=0.05, max_drop=2.0)
    tasks: dict[str, Limits] = {}
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    looks: tuple[int, ...] = ()
    on_inconclusive: Literal["code", "warn", "fail"] = "code"

    @model_validator(mode="before")
    @classmethod
    def _gather_limits(cls, table: Any) -> Any:
        """Limits for all tasks stand in the table itself; those that are not named have their default."""
        if not isinstance(table, dict) or "limits" in table:
            return table
        usual = cls.model_fields["limits"].default.model_dump()
        own = {key: table[key] for key in Limits.model_fields if key in table}
        return {key: value for key, value in table.items() if key not in own} | {"limits": usual | own}

    def limits_of(self, task: str) -> Limits:
        """What a task must keep to."""
        found = self.limits
        for pattern, own in self.tasks.items():
            if fnmatchcase(task, pattern):
                found = found.model_copy(update=own.model_dump(exclude_unset=True))
        return found

    def alpha_at(self) -> float:
        """What one look may take."""
        if not self.looks:
            return self.alpha
        return self.alpha * LOOKS.get(self.looks, 1 / len(self.looks))


def read_gate_config(file: Path | None) -> GateConfig:
    """The table of a file; without one that of ``joulemark.toml`` or ``pyproject.toml`` here, or what is usual.

    Raises:
        UsageError: The file cannot be read, or a key or value in it is wrong.
    """
    for path in [file] if file else [Path("joulemark.toml"), Path("pyproject.toml")]:
        if file is None and not path.is_file():
            continue
        table = _table(path)
        if table is not None:
            return _checked(path, table)
        if file:
            raise UsageError(f"{path} has no [gate] table; see `joulemark gate --help`.")
    return GateConfig()


def _table(path: Path) -> dict[str, Any] | None:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise UsageError(f"cannot read {path}: {problem.strerror or problem}.") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise UsageError(f"{path} is no TOML file: {problem}") from problem
    if path.name == "pyproject.toml":
        content = content.get("tool", {}).get("joulemark", {})
    table = content.get("gate")
    if table is not None and not isinstance(table, dict):
        raise UsageError(f"{path}: gate is a table, [gate], with keys below it.")
    return table


def _checked(path: Path, table: dict[str, Any]) -> GateConfig:
    try:
        return GateConfig.model_validate(table)
    except ValidationError as problem:
        error = problem.errors()[0]
        where = ".".join(str(part) for part in error["loc"] if part != "limits")
        if error["type"] == "extra_forbidden":
            known = ", ".join([*Limits.model_fields, *(key for key in GateConfig.model_fields if key != "limits")])
            raise UsageError(f"{path}: [gate] has no key {where!r}; it has {known}.") from problem
        raise UsageError(f"{path}: gate.{where}: {error['msg'].removeprefix('Value error, ')}.") from problem
