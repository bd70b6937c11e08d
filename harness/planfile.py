"""Plan files to start from: ``joulemark.toml`` with every key explained, and their JSON schema for editors.

What a key means is said once, in the docstring of `Plan`; ``None`` there is what a key has that a file leaves out.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import click
from pydantic import BaseModel

from joulemark.meters.errors import UsageError

from .plan import PRESETS, SWEPT, Plan

__all__ = ["described", "init", "schema", "template"]

_START: dict[str, Any] = {
    "models": ["ref/ngram", "ref/dense-60k", "ref/dense-240k"],
    "tasks": ["jm_units", "jm_dates"],
    "limit": 100,
    "repeats": 3,
}
"""What a new file has set, so that it is a plan as it stands."""

_EXAMPLES: dict[str, Any] = {
    "include_path": ["./tasks"],
    "num_fewshot": 3,
    "system_instruction": "Answer with the result alone.",
    "gen_kwargs": "temperature=0",
    "max_gen_toks": 64,
    "batch_size": 8,
    "dtype": "bfloat16",
    "sweep": {"threads": [1, 2, 4]},
    "precision": "5%",
    "timeout_s": 600,
    "meters": ["rapl"],
    "carbon": "FRA",
    "placement": ["gpu=h100"],
}
"""For keys that are unset, or have nothing in them, unless somebody sets them."""

_GROUPS = {
    "What is measured": ("models", "tasks", "include_path", "limit"),
    "How it is asked": ("num_fewshot", "apply_chat_template", "system_instruction", "gen_kwargs", "max_gen_toks"),
    "How it is computed": ("batch_size", "concurrency", "threads", "dtype", "sweep"),
    "How often, and in which order": ("repeats", "precision", "max_repeats", "order", "seed", "timeout_s"),
    "What it takes, and what is kept": ("meters", "idle_s", "carbon", "log_samples"),
    "Where it is measured": ("executor", "placement"),
    "What has to be allowed": ("trust_remote_code", "allow_unsafe_code", "allow_power_cap"),
}
_FURTHER = "Further"
_UNSET = "unset"
_SCHEMA_FILE = "joulemark.schema.json"
_OTHERS = {"gate": "joulemark.reports.gateschema:schema"}
"""Tables that other commands read, and where their schemas are: known by name alone, as `cli` knows the commands."""
_WIDTH = 100


@click.command()
@click.argument("file", default="joulemark.toml", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option("--schema", "only_schema", is_flag=True, help="Print the JSON schema of such files, and write nothing.")
def init(file: Path, force: bool, only_schema: bool) -> None:
    """Write a plan file in which every key is explained; it can be run as it is."""
    if only_schema:
        click.echo(json.dumps(schema(), indent=2))
        return
    try:
        with file.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(template(file.name))
    except FileExistsError as problem:
        raise UsageError(f"{file} is there already; name another file, or write over it with --force.") from problem
    except OSError as problem:
        raise UsageError(f"cannot write {file}: {problem.strerror or problem}.") from problem
    click.echo(f"Wrote {file}. `joulemark run {file}` measures it.")
    click.echo(f"Completion in an editor: `joulemark init --schema > {_SCHEMA_FILE}` beside it.")


def template(name: str = "joulemark.toml") -> str:
    """The text of a plan file that can be run as it is, with every key of `Plan`, most of them commented out."""
    lines = [
        f"#:schema ./{_SCHEMA_FILE}",
        f"# (for editors that know taplo; `joulemark init --schema > {_SCHEMA_FILE}` makes that file)",
        "#",
        f"# A plan: `joulemark run {name}` measures it. Options on the command line stand over it.",
        "# Behind a # is a key's default, or an example where it is unset; take the # away to set it.",
        "",
        "[run]",
    ]
    for group, keys in _grouped().items():
        lines += ["", f"# ---- {group} ----"]
        for key in keys:
            lines += ["", *_comment(_explained(key)), _setting(key)]
    lines += ["", "# A table [gate] beside it says what `joulemark gate` asks for: docs/gate.md."]
    return "\n".join(lines) + "\n"


def schema() -> dict[str, Any]:
    """The JSON schema of a plan file, with the tables that other commands of ours read; further ones are free."""
    plan = Plan.model_json_schema()
    keys = {key: _for_toml(key, content) for key, content in plan["properties"].items()}
    run = {
        "description": "What `joulemark run` measures. What is left out is as --preset says, or has its default.",
        "type": "object",
        "properties": keys,
        "additionalProperties": False,
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A plan file of Joulemark's",
        "type": "object",
        "properties": {"run": run} | {name: resolve_name(place)() for name, place in _OTHERS.items()},
        "required": ["run"],
        "additionalProperties": {"type": "object"},
    } | ({"$defs": plan["$defs"]} if "$defs" in plan else {})


def described(table: type[BaseModel] = Plan) -> dict[str, str]:
    """What each key of a table means, from its docstring."""
    text = inspect.cleandoc(table.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", text, flags=re.MULTILINE)
    return {key: _plain(" ".join(said.split())) for key, said in entries}


def _plain(text: str) -> str:
    """Without marks of emphasis, and with the word for None that fits a file."""
    return re.sub(r"\bNone\b", "unset", re.sub(r"`+", "", text))


def _grouped() -> dict[str, tuple[str, ...]]:
    """Every key of `Plan` in its group; those that nobody has put in one come last."""
    placed = {key for keys in _GROUPS.values() for key in keys}
    return _GROUPS | {_FURTHER: tuple(key for key in Plan.model_fields if key not in placed)}


def _explained(key: str) -> str:
    """What a key means, and what it is unless somebody sets it."""
    said, default = described()[key], _default(key)
    return said if default == _UNSET and _UNSET in said else f"{said} Default: {default}."


def _default(key: str) -> str:
    preset = PRESETS["quick"]
    if key == "models":
        return "some of the reference models"
    if key in preset:
        return "all reference tasks" if key == "tasks" else f"{preset[key]}, as of --preset quick"
    value = Plan.model_fields[key].get_default(call_default_factory=True)
    return _UNSET if value is None else "none" if value in ((), {}) else _toml(value)


def _setting(key: str) -> str:
    if key in _START:
        return f"{key} = {_toml(_START[key])}"
    default = Plan.model_fields[key].get_default(call_default_factory=True)
    return f"# {key} = {_toml(_EXAMPLES.get(key, default))}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _toml(value: Any) -> str:
    """A value as TOML writes it: as JSON does, but for tables."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(entry)}' for key, entry in value.items())} }}"
    return json.dumps(value)


def _for_toml(key: str, content: dict[str, Any]) -> dict[str, Any]:
    """A key's schema with its meaning, and without null, which TOML lacks."""
    content = {
        "description": _explained(key),
        **{name: value for name, value in content.items() if name not in ("title", "default", "anyOf")},
        **_alternatives(content),
    }
    default = Plan.model_fields[key].get_default(call_default_factory=True)
    if default not in (None, (), {}) and not Plan.model_fields[key].is_required():
        content["default"] = default
    if key == "sweep":
        content["propertyNames"] = {"enum": list(SWEPT)}
    return content


def _alternatives(content: dict[str, Any]) -> dict[str, Any]:
    choices = [choice for choice in content.get("anyOf", ()) if choice.get("type") != "null"]
    return choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else {}
