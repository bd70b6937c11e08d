"""The machine as lm-eval's results tell of it: what torch collected of its environment, as lines of text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..record import Station
from .foreign import count, station_of, text

__all__ = ["station_told"]

_PACKAGES = {"lm_eval": "lm_eval_version", "transformers": "transformers_version"}
_NOTHING = ("could not collect", "n/a", "no cuda")
_GPU = re.compile(r"^GPU (?:\d+|models and configuration): *(?:GPU \d+: *)?(.+)$", re.MULTILINE)


def station_told(results: Mapping[str, Any]) -> Station:
    """The machine that results were made on, as far as they tell."""
    told = results.get("pretty_env_info")
    lines = told if isinstance(told, str) else ""
    software = {name: version for name, key in _PACKAGES.items() if (version := text(results.get(key)))}
    software |= {
        name: version
        for name, head in (("torch", "PyTorch version"), ("python", "Python version"))
        if (version := _line(lines, head))
    }
    if "python" in software:
        software["python"] = software["python"].split(" ")[0]
    return station_of(
        gpus=[gpu for name in _GPU.findall(lines) if (gpu := _said(name))],
        cpu_model=_line(lines, "Model name"),
        cpu_count=count(_line(lines, r"CPU\(s\)")) or None,
        system=_line(lines, "OS"),
        software=software,
    )


def _line(lines: str, head: str) -> str | None:
    found = re.search(rf"^[ \t]*{head}: *(.+)$", lines, re.MULTILINE)
    return _said(found[1]) if found else None


def _said(value: str) -> str | None:
    told = text(value)
    return None if told is None or told.lower().startswith(_NOTHING) else told
