"""The schemas of a run directory: the header, a finished cell, an item's row.

Key names are the contract's. A new key is free; a renamed or removed one needs a new schema version.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from joulemark.meters.types import Grade, ScopeKind

__all__ = [
    "CELL_SCHEMA",
    "IMPORTED",
    "ITEM_COLUMNS",
    "MEAN_ANSWER",
    "RUN_SCHEMA",
    "Accelerator",
    "Carbon",
    "Cell",
    "Computed",
    "DeviceState",
    "Energy",
    "Idle",
    "Invocation",
    "Latency",
    "Machine",
    "MeterInfo",
    "ModelInfo",
    "NO_ITEMS",
    "Phases",
    "Record",
    "RunHeader",
    "Span",
    "Station",
    "Tokens",
]

RUN_SCHEMA: Final = "joulemark.run/1"
CELL_SCHEMA: Final = "joulemark.cell/1"

IMPORTED: Final = "imported"
"""The key of a plan that says which files a run was imported from, and the flag of its cells."""

NO_ITEMS: Final = "no_items"
"""The flag of a finished cell of which no outcome of a single question is known, so that it has no rows of items."""

MEAN_ANSWER: Final = "mean_answer"
"""The flag of an imported cell whose file tells one mean answer: ``n_items`` is what its joules are of, and nobody
knows how many questions were asked."""

ITEM_COLUMNS = {
    "doc_id": "int64",
    "doc_hash": "str",
    "score": "float64",
    "correct": "boolean",
    "prompt_tokens": "Int64",
    "generated_tokens": "Int64",
    "computed_tokens": "Int64",
    "energy_j": "float64",
    "latency_s": "float64",
    "ttft_s": "float64",
    "cluster": "str",
    "level": "Int64",
    "truncated": "boolean",
    "cut": "boolean",
    "layers": "Int64",
    "confidence": "float64",
    "escalated": "boolean",
}
"""Columns of ``items/<cell_id>.parquet``; an item's ``energy_j`` is its share of the cell's ``net_j``."""


class Record(BaseModel):
    """A frozen record; unknown keys of newer versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=(), allow_inf_nan=False)


class Accelerator(Record):
    """A GPU of the machine."""

    name: str
    uuid: str
    memory_gb: float | None = None


class Machine(Record):
    """Where a run was measured. ``hostname_hash`` tells machines apart without naming them.

    What an imported file does not tell of it is ``unknown``, and None where it is a number.
    """

    machine_id: str
    hostname_hash: str
    os: str
    kernel: str
    cpu_model: str
    cpu_count: int | None
    memory_gb: float | None
    accelerators: tuple[Accelerator, ...] = ()
    driver: str | None = None
    virtualised: bool | None = None
    governor: str | None = None


class MeterInfo(Record):
    """One domain that the run's energy comes from; its errors are None where an imported file does not tell them."""

    id: str
    grade: Grade
    scope: ScopeKind
    provenance: str
    resolution_j: float | None
    update_s: float | None
    rel_u: float | None
    rel_u_scale: float | None
    rel_u_workload: float | None
    source: str
    summed: bool = True
    grade_told: bool = True
    """False: an imported file does not tell how it counted, and the grade is the least of those that it may have."""


class DeviceState(Record):
    """What a device told of itself at an edge of a window; None where it does not."""

    device: str
    clock_mhz: float | None = None
    temperature_c: float | None = None
    power_cap_w: float | None = None
    slowed_by: tuple[str, ...] = ()
    slowed_s: float | None = None


class Span(Record):
    """One window: when it was, by the wall clock, and how the devices were at its edges."""

    began_at: str
    window_s: float
    before: tuple[DeviceState, ...] = ()
    after: tuple[DeviceState, ...] = ()


class Idle(Record):
    """Power with the models loaded and nothing asked, before and after measuring; and when that was."""

    before_w: float | None
    after_w: float | None
    duration_s: float | None
    before: Span | None = None
    after: Span | None = None


class Invocation(Record):
    """Idle power before and after what one invocation measured; a run that was resumed has several."""

    before: Span
    before_w: float
    after_w: float | None = None


class Carbon(Record):
    """What a kilowatt-hour is taken to stand for, in grams of CO2 equivalent, and the year that it is the mean of.

    It is stated, not measured; the electricity of the hour may have had several times as much, or less.
    """

    g_per_kwh: float = Field(gt=0)
    source: str
    year: int | None = None


class Station(Record):
    """A machine of a run that has several, and what there is of it; a cell's ``machine_id`` tells whose it is."""

    machine: Machine
    software: dict[str, str] = {}
    meters: tuple[MeterInfo, ...] = ()
    idle: Idle
    invocations: tuple[Invocation, ...] = ()


class RunHeader(Record):
    """``run.json``; of a run on several machines ``machine`` and what belongs to it are those of the first."""

    schema_: Literal["joulemark.run/1"] = Field(default=RUN_SCHEMA, alias="schema")
    run_id: str
    created_at: str | None
    """When it began, UTC, ISO 8601; None only where an imported file does not tell when it was measured."""
    joulemark_version: str
    plan: dict[str, Any]
    seed: int | None
    machine: Machine
    software: dict[str, str]
    meters: tuple[MeterInfo, ...]
    idle: Idle
    invocations: tuple[Invocation, ...] = ()
    stations: tuple[Station, ...] = ()
    """All machines of a run that has several, the first included; empty where ``machine`` is the only one."""
    raised_from: tuple[int, ...] = ()
    """Repeats that were planned, and reached, before ``--resume --repeats`` planned more: each may have been a look."""
    carbon: Carbon | None = None
    remetered_from: str | None = None
    """The run that the answers are of, where the energy was taken from a recorded trace afterwards."""
    trace_sha256: str | None = None
    """Of that trace's file, so that it can be checked; ``trace_bytes`` is its size."""
    trace_bytes: int | None = None

    @property
    def station(self) -> Station:
        """The machine that stands in the header itself, as a station."""
        return Station(**{name: getattr(self, name) for name in Station.model_fields})

    def at(self, station: Station, every: tuple[Station, ...] = ()) -> RunHeader:
        """The header with this machine in itself, and with these as all of them where there are several."""
        own = {name: getattr(station, name) for name in Station.model_fields}
        return self.model_copy(update={**own, "stations": every})


class Energy(Record):
    """Energy of a cell's request windows; ``gross_j`` and ``window_s`` cover all ``loops``."""

    model_config = ConfigDict(strict=True)

    gross_j: float | None = Field(gt=1e-9, lt=1e15)
    """Between what no meter sees and what no machine takes; beyond, arithmetic fails."""
    net_j: float | None
    idle_j: float | None
    u_j: float | None = Field(ge=0, lt=1e15)
    """Standard uncertainty (k=1) of ``gross_j`` that is independent from cell to cell."""
    u_net_j: float | None = Field(default=None, ge=0, lt=1e15)
    """The same of ``net_j``: that of the idle window, over the same time, is added."""
    rel_u_scale: float | None = Field(ge=0, lt=1e3)
    rel_u_workload: float | None = Field(ge=0, lt=1e3)
    """None: of unknown error, as an imported file has it; then nothing is ranked by it."""
    grade: Grade
    scope: str
    domains: dict[str, float]
    idle_w: float | None
    window_s: float | None = Field(gt=0)
    loops: int = Field(ge=1)
    carbon_g: float | None = None
    """Grams of CO2 equivalent of ``gross_j`` by the run's ``carbon``; None where either is missing."""


class Phases(Record):
    """Joules by phase; load and warm-up are outside ``gross_j``. None where they were not told apart."""

    load_j: float | None = None
    warmup_j: float | None = None
    prefill_j: float | None = None
    decode_j: float | None = None
    other_j: float | None = None


class Tokens(Record):
    """Sums over the items of one loop; ``computed`` counts padding and slots of finished rows too."""

    prompt: int | None = None
    generated: int | None = None
    computed: int | None = None


class Computed(Record):
    """How much a model that chooses chose to compute; None for one that always does the same.

    ``layers_per_token`` is the mean over generated tokens; ``escalated`` the share of the questions that went on
    to a larger model.
    """

    layers_per_token: float | None = None
    escalated: float | None = None


class Latency(Record):
    """Seconds an item: the middle one, and that which one in twenty exceeds."""

    p50: float | None = None
    p95: float | None = None


class ModelInfo(Record):
    """What a model says of itself; None where it does not."""

    kind: str | None = None
    params: int | None = None
    active_params: int | None = None
    bytes: int | None = None
    licence: str | None = None
    sha256: str | None = None
    peak_rss_mb: float | None = None
    peak_gpu_mb: float | None = None


class Cell(Record):
    """One line of ``cells.jsonl``: a model on a task, one repeat, one setting."""

    schema_: Literal["joulemark.cell/1"] = Field(default=CELL_SCHEMA, alias="schema")
    run_id: str
    cell_id: str
    machine_id: str
    node: str | None = None
    """Of a run on a cluster: the node that measured it, by the start of its id there."""
    model: str
    model_args: str
    task: str
    task_version: str | None = None
    task_hash: str | None = None
    setting: dict[str, Any]
    repeat: int
    order: int
    attempt: int = 1
    status: Literal["ok", "failed", "invalid"]
    error: str | None = None
    log: str | None = None
    """Of a failed cell: the file in the run directory with the end of what its process said."""
    n_items: int = 0
    accuracy: float | None = None
    chance: float | None = None
    quality: float | None = None
    metric: str | None = None
    other_metrics: dict[str, float] = {}
    """The task's further metrics, such as ``made_up`` of an abstention task."""
    energy: Energy | None = None
    windows: tuple[Span, ...] = ()
    idle_window: Span | None = None
    """When the idle power was taken that its net energy is above; each invocation takes its own."""
    phases: Phases = Phases()
    tokens: Tokens = Tokens()
    computed: Computed = Computed()
    latency_s: Latency = Latency()
    ttft_s: Latency = Latency()
    """From the start of an item's batch to its first token."""
    truncated: float | None = None
    """Share of the answers that the token cap cut off."""
    warm_ups: int | None = None
    """Batches that were answered before the windows."""
    cooled_s: float | None = None
    """Seconds waited beforehand until a device was cool."""
    model_info: ModelInfo = ModelInfo()
    flags: tuple[str, ...] = ()
    other_cpu_cores: float | None = None
    """Cores that worked for other processes during the windows, on average."""
    started_at: str | None
    """UTC, ISO 8601; None only where an imported file does not tell it."""
    duration_s: float | None
    sha256: str = ""
