"""A finished cell from what the model answered and what the meters read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from joulemark.meters.conditions import slowed_down
from joulemark.meters.types import Conditions, EnergyRecord
from joulemark.meters.window import PowerSample

from .record import ITEM_COLUMNS, Cell, Computed, DeviceState, Energy, Latency, Phases, RunHeader, Span, Tokens
from .schedule import CellPlan

__all__ = [
    "NO_JOULES",
    "as_failed",
    "energy_of",
    "failed_cell",
    "finished_cell",
    "phases_of",
    "power_table",
    "span_of",
]

BUSY_CORES = 0.2
"""Other work beside a cell that is flagged; a quiet machine's is a few hundredths."""

COVERAGE = 2.0
"""Net energy not above this many standard uncertainties is not told from idle power."""

NO_JOULES: dict[str, Any] = {
    **dict.fromkeys(("gross_j", "net_j", "idle_j", "u_j", "u_net_j", "idle_w", "carbon_g")),
    "domains": {},
}
"""What the energy of a cell holds whose model computed where the meters do not look."""

_IDENTITY = (
    "run_id", "cell_id", "machine_id", "node", "model", "model_args", "task", "setting", "repeat", "order", "attempt",
    "started_at", "duration_s",
)  # fmt: skip
"""What tells a cell and its attempt from others, whatever came of it."""


def failed_cell(
    *,
    header: RunHeader,
    plan: CellPlan,
    attempt: int,
    started_at: str,
    duration_s: float,
    cooled_s: float | None,
    reason: str,
    log: str | None,
) -> Cell:
    """A cell that could not be measured, with the reason, and where what its process said is kept."""
    return Cell(
        **_identity(header, plan, attempt),
        status="failed",
        error=reason,
        log=log,
        started_at=started_at,
        duration_s=duration_s,
        cooled_s=cooled_s,
    )


def as_failed(cell: Cell, reason: str) -> Cell:
    """The cell without what it answered, as a run has it where measuring failed."""
    return Cell(**{name: getattr(cell, name) for name in _IDENTITY}, status="failed", error=reason)


def finished_cell(
    *,
    header: RunHeader,
    plan: CellPlan,
    attempt: int,
    started_at: str,
    duration_s: float,
    answered: dict[str, Any],
    windows: Sequence[EnergyRecord],
    idle: EnergyRecord | None,
    load_j: float | None,
    warmup_j: float | None,
    cooled_s: float | None = None,
    outside: bool = False,
    company: float = 0.0,
) -> tuple[Cell, pd.DataFrame]:
    """A measured cell and its items' rows.

    Args:
        header: Of the run.
        plan: Which cell.
        attempt: 1, or more where earlier ones failed.
        started_at: UTC, ISO 8601.
        duration_s: Of everything, what was not metered included.
        answered: The worker's message: the fields of `TaskResult`, and what it ``told`` of its size and memory.
        windows: Energy around the cell's requests.
        idle: The idle power's window, before measuring.
        load_j: Joules that loading the model took.
        warmup_j: Joules of the requests before the windows.
        cooled_s: Seconds waited beforehand, until a device was cool.
        outside: The model computes where these meters do not look, so that they say nothing of its energy.
        company: Cores that worked for other processes meanwhile, on average.
    """
    result = answered["result"]
    passes = result["passes"]
    energy = energy_of(windows, idle, passes["loops"])
    flags = []
    if outside:
        energy = energy.model_copy(update=NO_JOULES)
        flags.append("outside_meter")
        load_j = warmup_j = None
    elif energy.net_j is None:
        flags.append("no_idle" if idle is None else "net_unresolved")
    if company > BUSY_CORES:
        flags.append("busy_machine")
    if any(slowed_down(window.before, window.after) for window in windows):
        flags.append("throttled")
    if header.carbon and energy.gross_j is not None:
        energy = energy.model_copy(update={"carbon_g": energy.gross_j / 3.6e6 * header.carbon.g_per_kwh})
    items = _items(result["items"], energy.net_j, graded=result["accuracy"] is not None)
    if passes["cached"]:
        flags.append("prefix_cache")
    if not passes["warm"]:
        flags.append("not_warm")
    if passes["cut"] or items["cut"].any():
        flags.append("prompt_cut")
    cell = Cell(
        **_identity(header, plan, attempt),
        status="ok",
        task_version=result["version"],
        task_hash=result["hash"],
        n_items=len(items),
        accuracy=result["accuracy"],
        chance=result["chance"],
        quality=result["quality"],
        metric=result["metric"],
        other_metrics=result["others"],
        energy=energy,
        windows=tuple(map(span_of, windows)),
        idle_window=None if idle is None else span_of(idle),
        phases=phases_of(energy, passes, load_j, warmup_j),
        tokens=Tokens(
            prompt=_sum(result["items"], "prompt_tokens"),
            generated=_sum(result["items"], "generated_tokens"),
            computed=_sum(result["items"], "computed_tokens"),
        ),
        computed=_computed(items),
        latency_s=_percentiles(items["latency_s"]),
        ttft_s=_percentiles(items["ttft_s"]),
        truncated=_share(items["truncated"]),
        warm_ups=passes["warm_ups"],
        cooled_s=cooled_s,
        model_info=plan.spec.info().model_copy(update=answered["told"]),
        flags=tuple(flags),
        other_cpu_cores=round(company, 3),
        started_at=started_at,
        duration_s=duration_s,
    )
    return cell, items.drop(columns="share_s")


def power_table(traces: Sequence[Sequence[PowerSample]]) -> pd.DataFrame | None:
    """Rows of ``power/<cell_id>.parquet``: window, seconds since its start, domain, watts since the row before."""
    rows = [
        {"window": number, "t_s": sample.t_s, "domain": domain, "power_w": watts}
        for number, trace in enumerate(traces)
        for sample in trace
        for domain, watts in sample.watts.items()
    ]
    return pd.DataFrame(rows) if rows else None


def _identity(header: RunHeader, plan: CellPlan, attempt: int) -> dict[str, Any]:
    return {
        "run_id": header.run_id,
        "cell_id": plan.cell_id,
        "machine_id": header.machine.machine_id,
        "model": plan.spec.name,
        "model_args": f"{plan.spec.backend}:{plan.spec.args}",
        "task": plan.task,
        "setting": plan.setting,
        "repeat": plan.repeat,
        "order": plan.order,
        "attempt": attempt,
    }


def energy_of(windows: Sequence[EnergyRecord], idle: EnergyRecord | None, loops: int) -> Energy:
    """Add the windows up; net is gross less the idle power over the same time.

    Net is None where it is not above its own error, which the idle power's error is part of.
    """
    gross_j = sum(window.gross_j for window in windows)
    window_s = sum(window.window_s for window in windows)
    u_j = float(np.sqrt(sum(window.u_j**2 for window in windows)))
    net_j = idle_j = idle_w = u_net_j = None
    if idle is not None:
        idle_w = idle.gross_j / idle.window_s
        u_net = float(np.hypot(u_j, idle.u_j / idle.window_s * window_s))
        difference = gross_j - idle_w * window_s
        if difference > COVERAGE * u_net:
            net_j, idle_j, u_net_j = difference, gross_j - difference, u_net
    domains: dict[str, float] = {}
    for window in windows:
        for domain, joules in window.domains.items():
            domains[domain] = domains.get(domain, 0.0) + joules
    first = windows[0]
    return Energy(
        gross_j=gross_j,
        net_j=net_j,
        idle_j=idle_j,
        u_j=u_j,
        u_net_j=u_net_j,
        rel_u_scale=first.rel_u_scale,
        rel_u_workload=first.rel_u_workload,
        grade=first.grade,
        scope=first.scope,
        domains=domains,
        idle_w=idle_w,
        window_s=window_s,
        loops=loops,
    )


def span_of(window: EnergyRecord) -> Span:
    """When a window was, by the wall clock, and how the devices were at its edges."""
    began_s = time.time() - (time.monotonic_ns() - window.began_ns) / 1e9
    return Span(
        began_at=datetime.fromtimestamp(began_s, UTC).isoformat(timespec="milliseconds"),
        window_s=window.window_s,
        before=_states(window.before),
        after=_states(window.after),
    )


def _states(told: Sequence[Conditions]) -> tuple[DeviceState, ...]:
    """Those that told anything."""
    states = (DeviceState(**asdict(state)) for state in told)
    return tuple(state for state in states if state != DeviceState(device=state.device))


def phases_of(energy: Energy, passes: dict[str, Any], load_j: float | None, warmup_j: float | None = None) -> Phases:
    """Net joules by the time of each phase; the rest is Python's and lm-eval's around the model."""
    prefill, decode = passes["prefill_share"], passes["decode_share"]
    if energy.net_j is None or prefill is None or decode is None:
        return Phases(load_j=load_j, warmup_j=warmup_j)
    prefill_j, decode_j = energy.net_j * prefill, energy.net_j * decode
    other_j = energy.net_j - prefill_j - decode_j
    return Phases(load_j=load_j, warmup_j=warmup_j, prefill_j=prefill_j, decode_j=decode_j, other_j=other_j)


def _items(rows: Sequence[dict[str, Any]], net_j: float | None, *, graded: bool) -> pd.DataFrame:
    """Rows with each item's share of the net energy, and whether it was right, where it is ``graded`` at all.

    By seconds where requests overlap, else by computed tokens; by all tokens where no more is told, or else alike.
    """
    items = pd.DataFrame(rows)
    # What has no score of its own is neither right nor wrong.
    items["correct"] = (items["score"] >= 0.5).astype("boolean").mask(items["score"].isna() | (not graded))
    items["energy_j"] = np.nan if net_j is None else shares_of(net_j, items)
    return items[[*ITEM_COLUMNS, "share_s"]].astype(ITEM_COLUMNS)


def shares_of(net_j: float, items: pd.DataFrame) -> pd.Series[float]:
    """Joules by item; they add up to ``net_j``."""
    told = items["prompt_tokens"].astype("float64") + items["generated_tokens"].astype("float64")
    for weights in (items.get("share_s"), items.get("computed_tokens"), told):
        numbers = pd.Series(np.nan, index=items.index) if weights is None else weights.astype("float64")
        if numbers.notna().all() and numbers.sum() > 0:
            return net_j * numbers / numbers.sum()
    return pd.Series(net_j / len(items), index=items.index)


def _computed(items: pd.DataFrame) -> Computed:
    layers, escalated = items["layers"].dropna(), items["escalated"].dropna()
    return Computed(
        layers_per_token=float(layers.sum() / items.loc[layers.index, "generated_tokens"].sum())
        if len(layers)
        else None,
        escalated=float(escalated.mean()) if len(escalated) else None,
    )


def _share(told: pd.Series[bool]) -> float | None:
    """How many are true; None where one is not told."""
    return float(told.mean()) if len(told) and told.notna().all() else None


def _percentiles(values: pd.Series[float]) -> Latency:
    seconds = values.dropna()
    if seconds.empty:
        return Latency()
    return Latency(p50=float(seconds.quantile(0.5)), p95=float(seconds.quantile(0.95)))


def _sum(rows: Sequence[dict[str, Any]], key: str) -> int | None:
    values = [row[key] for row in rows]
    return None if any(value is None for value in values) else sum(values)
