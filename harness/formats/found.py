"""What a file of another tool holds: results, each with what is known of it, and in words what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from joulemark.harness.record import Carbon, Computed, Energy, Latency, ModelInfo, Phases, Record, Station, Tokens

__all__ = ["OURS", "About", "File", "Found", "Origin", "Read", "Result"]

OURS: Final = "joulemark"
"""The format of an `Origin` that is a run of Joulemark's own."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What becomes a cell. None, or empty, is what the file does not say; nothing is guessed.

    Attributes:
        model: Its name, as the file calls it.
        model_args: What the other tool loaded it by.
        task: What was asked; tasks of a tool that grades no answers have its name before theirs: ``ml-energy/...``.
        task_version, task_hash: As far as the file tells.
        setting: What was asked and how it was computed, by `Plan`'s names where there is one.
        repeat: From 1.
        machine_id: Of the station where it ran.
        n_items: Questions, or requests.
        accuracy, chance, quality, metric, other_metrics: As a cell has them.
        energy: Joules of all loops; None where the file has none. Of unknown error where ``u_j`` is None.
        items: Rows with columns of `ITEM_COLUMNS`; None where the file has none.
        samples: What was asked and answered, a line of JSON an item, as ``--log-samples`` keeps it; None: not told.
        flags: Such as ``whole_process``: the joules cover loading, too.
        started_at: UTC, ISO 8601.
        duration_s: Seconds.
        file: The name of the file that tells of it; None where it is of no use to say so.
    """

    model: str
    model_args: str = ""
    task: str
    task_version: str | None = None
    task_hash: str | None = None
    setting: Mapping[str, Any] = field(default_factory=dict)
    repeat: int = 1
    machine_id: str
    n_items: int = 0
    accuracy: float | None = None
    chance: float | None = None
    quality: float | None = None
    metric: str | None = None
    other_metrics: Mapping[str, float] = field(default_factory=dict)
    energy: Energy | None = None
    phases: Phases = field(default_factory=Phases)
    tokens: Tokens = field(default_factory=Tokens)
    computed: Computed = field(default_factory=Computed)
    latency_s: Latency = field(default_factory=Latency)
    ttft_s: Latency = field(default_factory=Latency)
    truncated: float | None = None
    model_info: ModelInfo = field(default_factory=ModelInfo)
    items: pd.DataFrame | None = None
    samples: tuple[str, ...] | None = None
    flags: tuple[str, ...] = ()
    started_at: str | None = None
    duration_s: float | None = None
    file: str | None = None


class File(Record):
    """A file that was read."""

    name: str
    sha256: str
    bytes: int


class Origin(Record):
    """Where results come from; what ``run.json`` has in ``plan.imported``.

    Attributes:
        format: Of the files; `OURS` where they are a run that Joulemark measured.
        files: These.
        missing: What they do not say, a sentence each.
        at: When they were imported, UTC, ISO 8601.
        run_id: Of a run of ours.
        origins: Of an export of ours that was read back: what it says of where its results come from.
    """

    format: str
    files: tuple[File, ...] = ()
    missing: tuple[str, ...] = ()
    at: str | None = None
    run_id: str | None = None
    origins: tuple[Origin, ...] = ()


@dataclass(frozen=True, kw_only=True)
class About:
    """What there is to know of a format before one has a file; a module has it in ``ABOUT``.

    Attributes:
        reads: The files.
        gives: What is taken of them.
        never: What they can never tell.
    """

    reads: str
    gives: str
    never: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """What files of one format hold together.

    Attributes:
        results: All of them.
        stations: The machines that they ran on, at least one; what a file does not say of one is ``unknown``.
        missing: What the files do not say, or what was left out and why, a sentence each.
        created_at: When it was measured, UTC, ISO 8601; None where the files do not say.
        beside: Files that were read without being named.
        origins: Where an export of ours says that its results come from.
        carbon: What they take a kilowatt-hour to stand for; None where they do not say.
    """

    results: tuple[Result, ...]
    stations: tuple[Station, ...]
    missing: tuple[str, ...] = ()
    created_at: str | None = None
    beside: tuple[Path, ...] = ()
    origins: tuple[Origin, ...] = ()
    carbon: Carbon | None = None


Read = Callable[[Sequence[Path]], Found]
"""Reads files of a format; raises UsageError, one line, where one is not of it or cut short."""
