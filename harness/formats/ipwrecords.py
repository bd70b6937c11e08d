"""Intelligence per Watt's records of a profile: ``data-*.arrow``, a row a query.

Layout after github.com/HazyResearch/intelligence-per-watt at 11ba0dc (``execution/runner.py``, ``execution/types.py``):
``Dataset.save_to_disk`` writes one or more Arrow streams, and ``model_metrics`` has each query's figures by model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from joulemark.meters.errors import UsageError

from ..record import Latency, Tokens
from .foreign import amount, count, mapped, text
from .ipwarrow import read_rows

__all__ = ["Records", "read_records"]


@dataclass(frozen=True, kw_only=True)
class Records:
    """The queries of one profile.

    Attributes:
        folder: Of the profile.
        model: Who answered.
        queries: How many.
        without_energy: How many of them have no joules.
        gross_j: Joules of all; None where some have none, or all have 0.
        tokens: Sums, as far as all queries tell them.
        latency_s, ttft_s: Seconds a query.
        gpu_info, system_info: Of the last query that tells them.
    """

    folder: Path
    model: str
    queries: int
    without_energy: int
    gross_j: float | None
    tokens: Tokens = field(default_factory=Tokens)
    latency_s: Latency = field(default_factory=Latency)
    ttft_s: Latency = field(default_factory=Latency)
    gpu_info: Mapping[str, Any] = field(default_factory=dict)
    system_info: Mapping[str, Any] = field(default_factory=dict)


def read_records(files: Sequence[Path]) -> list[Records]:
    """The records of each folder that files are in.

    Raises:
        UsageError: A file is no Arrow stream, cut short, or without figures of models; or others of its folder lack.
    """
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.absolute().parent, []).append(file)
    return [_records(folder, sorted(own)) for folder, own in folders.items()]


def _records(folder: Path, files: Sequence[Path]) -> Records:
    numbered = re.fullmatch(r"data-\d+-of-(\d+)\.arrow", files[0].name)
    if numbered and int(numbered[1]) != len(files):
        raise UsageError(f"{files[0]}: it is one of {int(numbered[1])} files of its profile; name data-*.arrow, all.")
    rows = read_rows(files)
    models = sorted({model for row in rows for model, told in row.items() if told})
    if len(models) != 1 or text(models[0]) is None:
        raise UsageError(f"{files[0]}: its queries are answered by {len(models)} models, and a profile has one.")
    told = [mapped(row.get(models[0])) for row in rows]
    return _summed(folder, text(models[0]) or "", told)


def _summed(folder: Path, model: str, told: Sequence[Mapping[str, Any]]) -> Records:
    joules = [mapped(row.get("energy_metrics")).get("per_query_joules") for row in told]
    # A query within which the counter did not step has 0 J, and the step is in another one's.
    known = [float(j) for j in joules if isinstance(j, int | float) and (j == 0 or amount(j) is not None)]
    return Records(
        folder=folder,
        model=model,
        queries=len(told),
        without_energy=len(told) - len(known),
        gross_j=amount(sum(known)) if len(known) == len(told) else None,
        tokens=Tokens(prompt=_sum(told, "input"), generated=_sum(told, "output")),
        latency_s=_latency(told, "total_query_seconds"),
        ttft_s=_latency(told, "time_to_first_token_seconds"),
        gpu_info=_last(told, "gpu_info"),
        system_info=_last(told, "system_info"),
    )


def _sum(told: Sequence[Mapping[str, Any]], key: str) -> int | None:
    """Of tokens; a 0 stands where the server did not tell them."""
    known = [count(mapped(row.get("token_metrics")).get(key)) for row in told]
    return sum(number for number in known if number) if all(known) else None


def _latency(told: Sequence[Mapping[str, Any]], key: str) -> Latency:
    known = [seconds for row in told if (seconds := amount(mapped(row.get("latency_metrics")).get(key))) is not None]
    if len(known) < len(told):
        return Latency()
    return Latency(p50=float(np.percentile(known, 50)), p95=float(np.percentile(known, 95)))


def _last(told: Sequence[Mapping[str, Any]], key: str) -> Mapping[str, Any]:
    return next((own for row in reversed(told) if (own := mapped(row.get(key)))), {})
