"""What a gate asks for: the ``[gate]`` table of joulemark.toml, or ``[tool.joulemark.gate]`` of pyproject.toml."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from joulemark.harness.plan import parse_share
from joulemark.meters.errors import UsageError

from .gateconfigwords import in_toml, refuse_misspelt, wrong_table

__all__ = ["LOOKS", "GateConfig", "Limits", "read_gate_config"]

LOOKS: dict[tuple[int, ...], float] = {(4, 6, 10): 0.38}
"""Planned looks, and the part of alpha that each may take, so that all together take no more; of others each takes
its equal part (Bonferroni). Simulated: looks of one normal mean take 0.86 of alpha 0.05 and 0.98 of 0.01."""

BY_PRECISION = 1 / 3
"""The part of alpha for runs that went on until their energies were known well enough (``--precision``). They stop
where repeats agree by luck, and so would err in up to 1.6 times alpha 0.05, and 3 times 0.0005, where one model
scatters and the other does not; of this part they take at most alpha (simulated, 3 to 10 repeats at first)."""

_LEAST_ALPHA = 0.01
"""Below this, a rule, such looks hardly overlap and would take up to 1.08 of it: then the parts are equal as well."""


def _off(value: Any) -> Any:
    """``false`` takes a rule away, for TOML has no null; ``true`` names no limit."""
    if value is True:
        raise ValueError("write the limit, or false for no such rule")
    return None if value is False else value


def _share(value: Any) -> Any:
    """``"5%"`` or 0.05; from 1 on only with the sign, or nobody knows whether 5 means 5 %."""
    if value is None:
        return None
    if isinstance(value, str) or (isinstance(value, int | float) and value >= 1):
        try:
            text = str(value)
            return 0.0 if float(text.removesuffix("%")) == 0 else parse_share(text, below=100)
        except ValueError as problem:
            raise ValueError(f'write a share, such as "5%" or 0.05, not {in_toml(value)}') from problem
    return value


def _limits_table(value: Any) -> Any:
    if not isinstance(value, dict | Limits):
        raise ValueError(f"write a table of limits, such as {{ max_drop = 1.0 }}, not {in_toml(value)}")
    return value


def _tables_by_task(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f'write a table for each pattern, such as [gate.tasks."jm_*"], not {in_toml(value)}')
    return value


def _repeats(value: Any) -> Any:
    """Numbers of repeats: no text, and neither true nor false, which are numbers to Python."""
    if not isinstance(value, list | tuple) or any(type(look) is not int for look in value):
        raise ValueError(f"write numbers of repeats in a list, such as [4, 6, 10], not {in_toml(value)}")
    return value


Share = Annotated[Annotated[float, Field(ge=0)] | None, BeforeValidator(_share), BeforeValidator(_off)]
Drop = Annotated[Annotated[float, Field(ge=0, le=100)] | None, BeforeValidator(_off)]
Above = Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_off)]
Points = Annotated[Annotated[float, Field(lt=100)] | None, BeforeValidator(_off)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Limits(_Table):
    """What a task must keep to; None, in the file ``false``, is no rule.

    Attributes:
        max_increase: How much more energy per item the candidate may take, as a share; 0: none.
        max_drop: How many points of quality it may lose, at most 100.
        max_wh_per_1k: Watt-hours per 1,000 items that it may take, whatever the baseline does.
        min_quality: Points that it must have; fewer than 100, which no number of right answers proves.
        min_correct_per_wh: Right answers beyond guessing per watt-hour that it must give.
    """

    max_increase: Share = None
    max_drop: Drop = None
    max_wh_per_1k: Above = None
    min_quality: Points = None
    min_correct_per_wh: Above = None


class GateConfig(_Table):
    """The whole table.

    Attributes:
        limits: For tasks that no pattern names.
        tasks: For tasks by pattern, such as ``jm_*``: the last that fits stands over the others, key by key.
        alpha: False fails at the margin, at most, over all rules; a share of less than a half.
        looks: Numbers of repeats at which it is planned to look, ascending, at least 2 each; empty: one look.
        on_inconclusive: ``code``: exit code 3; ``warn``: 0; ``fail``: 1.
    """

    limits: Limits = Limits(max_increase=0.05, max_drop=2.0)
    tasks: Annotated[
        dict[str, Annotated[Limits, BeforeValidator(_limits_table)]], BeforeValidator(_tables_by_task)
    ] = {}
    alpha: Annotated[float, BeforeValidator(_share)] = Field(default=0.05, gt=0, lt=0.5)
    looks: Annotated[tuple[int, ...], BeforeValidator(_repeats)] = ()
    on_inconclusive: Literal["code", "warn", "fail"] = "code"
    _source: Path | None = PrivateAttr(default=None)

    @property
    def source(self) -> Path | None:
        """The file that the table was read from; None where there was none, so that the rules are the usual ones."""
        return self._source

    @model_validator(mode="before")
    @classmethod
    def _gather_limits(cls, table: Any) -> Any:
        """Limits for all tasks stand in the table itself; those that are not named have their default."""
        if not isinstance(table, dict) or "limits" in table:
            return table
        usual = cls.model_fields["limits"].default.model_dump()
        own = {key: table[key] for key in Limits.model_fields if key in table}
        return {key: value for key, value in table.items() if key not in own} | {"limits": usual | own}

    @field_validator("looks")
    @classmethod
    def _check_looks(cls, looks: tuple[int, ...]) -> tuple[int, ...]:
        if any(look < 2 for look in looks) or list(looks) != sorted(set(looks)):
            raise ValueError("write numbers of repeats from 2 on, each more than the one before, such as [4, 6, 10]")
        return looks

    def limits_of(self, task: str) -> Limits:
        """What a task must keep to."""
        found = self.limits
        for pattern, own in self.tasks.items():
            if fnmatchcase(task, pattern):
                found = found.model_copy(update=own.model_dump(exclude_unset=True))
        return found

    def alpha_at(self, rules: int = 1, *, by_precision: bool = False) -> float:
        """What one look may take, over so many rules that are tested.

        Planned looks hold whatever stops a run at one of them, its own precision as well.
        """
        if not self.looks:
            return self.alpha * (BY_PRECISION if by_precision else 1)
        equal = 1 / len(self.looks)
        many = self.alpha / max(rules, 1) < _LEAST_ALPHA
        return self.alpha * (equal if many else LOOKS.get(self.looks, equal))


def read_gate_config(file: Path | None) -> GateConfig:
    """The table of a file; without one that of ``joulemark.toml`` or ``pyproject.toml`` here, or what is usual.

    Its ``source`` says which.

    Raises:
        UsageError: The file cannot be read, a key or value in it is wrong, or a table's name is misspelt.
    """
    for path in [file] if file else [Path("joulemark.toml"), Path("pyproject.toml")]:
        if file is None and not path.is_file():
            continue
        table = _table(path)
        if table is not None:
            return _checked(path, table)
        if file:
            raise UsageError(f"{path} has no [{_name_in(path)}] table; see `joulemark gate --help`.")
    return GateConfig()


def _name_in(path: Path) -> str:
    """What the table is called in a file of this name."""
    return "tool.joulemark.gate" if path.name == "pyproject.toml" else "gate"


def _table(path: Path) -> dict[str, Any] | None:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise UsageError(f"cannot read {path}: {problem.strerror or problem}.") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise UsageError(f"{path} is no TOML file: {problem}") from problem
    name = _name_in(path)
    refuse_misspelt(path, content, name)
    *outer, own = name.split(".")
    for key in outer:
        content = content.get(key, {})
        if not isinstance(content, dict):
            raise UsageError(f"{path}: {key} is a table, with keys below it.")
    table = content.get(own)
    if table is not None and not isinstance(table, dict):
        raise UsageError(f"{path}: gate is a table, [{name}], with keys below it.")
    return table


def _checked(path: Path, table: dict[str, Any]) -> GateConfig:
    name = _name_in(path)
    if "limits" in table:
        raise UsageError(f"{path}: [{name}] has no key 'limits'; its limits stand in the table itself.")
    try:
        found = GateConfig.model_validate(table)
    except ValidationError as problem:
        own = [key for key in GateConfig.model_fields if key != "limits"]
        raise UsageError(f"{path}: {wrong_table(problem, name, [*Limits.model_fields], own)}") from problem
    found._source = path
    return found
