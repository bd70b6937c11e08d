"""The JSON schema of a ``[gate]`` table, by which editors complete and check it; `joulemark init --schema` has it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from joulemark.harness.planfile import described

from .gateconfig import GateConfig, Limits

__all__ = ["schema"]

_PERCENT = {"type": "string", "pattern": r"^([0-9]*\.?[0-9]+ *%|0?\.[0-9]+)$"}


def schema() -> dict[str, Any]:
    """The schema of the table, the limits of all tasks in it as they stand in the file."""
    own = _keys(GateConfig)
    del own["limits"]
    own["tasks"]["additionalProperties"] = _table("What these tasks must keep to.", _keys(Limits))
    own["alpha"] = _in_percent_too(own["alpha"])
    own["looks"] |= {"items": {"type": "integer", "minimum": 2}, "uniqueItems": True}
    limits = _keys(Limits)
    for key, default in GateConfig().limits.model_dump(exclude_none=True).items():
        limits[key]["default"] = default
    return _table("What `joulemark gate` asks for.", limits | own)


def _table(description: str, keys: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "type": "object", "properties": keys, "additionalProperties": False}


def _keys(table: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Each key's schema with its meaning."""
    plain, said = table.model_json_schema()["properties"], described(table)
    return {
        key: {
            "description": said[key],
            **{name: value for name, value in content.items() if name not in ("title", "default", "anyOf", "$ref")},
            **_limit(key, content),
            **({"default": content["default"]} if content.get("default") else {}),
        }
        for key, content in plain.items()
    }


def _in_percent_too(key: dict[str, Any]) -> dict[str, Any]:
    """A number's bounds go to one of two choices."""
    number = {name: key.pop(name) for name in ("type", "exclusiveMinimum", "exclusiveMaximum")}
    return {"description": key.pop("description"), "anyOf": [number, _PERCENT], **key}


def _limit(key: str, content: dict[str, Any]) -> dict[str, Any]:
    """A number, or ``false`` for none, which TOML has for null; a share from 1 on is written in percent."""
    choices = [choice for choice in content.get("anyOf", ()) if choice["type"] != "null"]
    if key == "max_increase":
        choices = [{**choices[0], "exclusiveMaximum": 1}, _PERCENT]
    return {"anyOf": [*choices, {"const": False}]} if choices else {}
