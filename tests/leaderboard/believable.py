"""Runs that could have been measured: made of the harness's own parts, so that all their sums hold as in a real one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from joulemark.harness.cells import finished_cell
from joulemark.harness.models import parse_models
from joulemark.harness.plan import Plan
from joulemark.harness.record import Cell, DeviceState, Idle, Invocation, Machine, MeterInfo, RunHeader
from joulemark.harness.schedule import CellPlan, schedule
from joulemark.harness.store import Run, RunWriter, read_run
from joulemark.leaderboard.audittasks import is_ours, shipped
from joulemark.leaderboard.knownanswers import KNOWN_ANSWERS, WEIGHTS
from joulemark.leaderboard.knowntasks import TASK_HASHES
from joulemark.leaderboard.outcomes import to_bits
from joulemark.meters.types import EnergyRecord
from joulemark.tasks.types import Item, Passes

__all__ = ["write_believable_run"]

BEGAN = datetime(2025, 6, 2, 10, 0, tzinfo=UTC)
IDLE_W, WINDOW_S, LOOPS = 0.96, 2.0, 20


def write_believable_run(
    path: Path,
    models: Sequence[str] = ("ref/ngram", "ref/dense-60k"),
    tasks: Sequence[str] = ("jm_units", "jm_dates"),
    *,
    items: int = 40,
    repeats: int = 3,
    run_id: str = "20250602T100000-a1b2c3",
    began: datetime = BEGAN,
    host: str = "9f2c9f2c9f2c",
    seed: int = 0,
    gpus: int = 0,
) -> Run:
    """A run of these models on these tasks, modelled energy on two threads; ``host`` makes it another machine's.

    ``gpus`` devices tell their states at the edges of each window.
    """
    plan = Plan(models=tuple(models), tasks=tuple(tasks), repeats=repeats, limit=items, seed=seed)
    header = _header(plan, run_id, began, host)
    with RunWriter(path) as writer:
        writer.write_header(header)
        for each in schedule(plan, parse_models(plan.models, here=False), range(1, repeats + 1)):
            cell, rows = _measured(header, each, began, seed)
            writer.append(_beside_gpus(cell, gpus), rows)
        writer.compact()
    return read_run(path)


def _header(plan: Plan, run_id: str, began: datetime, host: str) -> RunHeader:
    parts = ("joulemark", "machine", host, "AMD EPYC 7B13", "2", "7.8")
    meter = MeterInfo(
        id="modelled:cpu",
        grade="modelled",
        scope="package",
        provenance="CPU time of the process tree, times a power model",
        resolution_j=None,
        update_s=0.01,
        rel_u=0.5,
        rel_u_scale=0.21**0.5,
        rel_u_workload=0.2,
        source="TDP per hardware thread 4 W (4 W default, AMD EPYC 7B13: virtual machine); idle 12%, busy 102% of it",
    )
    dated = {"began_at": (began + timedelta(seconds=1)).isoformat(), "window_s": 0.5}
    return RunHeader(
        run_id=run_id,
        created_at=began.isoformat(),
        joulemark_version="0.1.0",
        plan=plan.model_dump(mode="json"),
        seed=plan.seed,
        machine=Machine(
            machine_id=hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12],
            hostname_hash=host,
            os="Linux x86_64",
            kernel="6.1.0",
            cpu_model="AMD EPYC 7B13",
            cpu_count=2,
            memory_gb=7.8,
            virtualised=True,
        ),
        software={"python": "3.12.1", "lm_eval": "0.4.13"},
        meters=(meter,),
        idle=Idle(before_w=IDLE_W, after_w=IDLE_W, duration_s=0.5),
        invocations=(Invocation.model_validate({"before": dated, "before_w": IDLE_W, "after_w": IDLE_W}),),
    )


def _measured(header: RunHeader, each: CellPlan, began: datetime, seed: int) -> tuple[Cell, pd.DataFrame]:
    """A cell and its items, as the harness makes them of what a model answered and what a meter read."""
    rng = random.Random(f"{each.spec.name} {each.task} {each.repeat} {seed}")
    items = [_item(each, number) for number in range(each.setting["limit"])]
    chance = shipped(each.task).chance if is_ours(each.task) else 0.0
    accuracy = sum(item.score for item in items) / len(items)
    result = {
        "version": "2.1",
        "hash": TASK_HASHES.get(each.task, "0123456789abcdef"),
        "metric": "exact_match",
        "accuracy": accuracy,
        "chance": chance,
        "quality": 100 * (accuracy - chance) / (1 - chance),
        "items": [asdict(item) for item in items],
        "passes": asdict(
            Passes(loops=LOOPS, seconds=(0.1,) * LOOPS, cached=False, prefill_share=0.3, decode_share=0.6)
        ),
        "others": {},
    }
    started = began + timedelta(seconds=2 + 3 * each.order)
    cell, rows = finished_cell(
        header=header,
        plan=each,
        attempt=1,
        started_at=started.isoformat(),
        duration_s=2.6,
        answered={"result": result, "told": _told(each)},
        windows=[_window(WINDOW_S, (2.2 + len(each.spec.name) % 5 / 5) * WINDOW_S * rng.uniform(0.98, 1.02))],
        idle=_window(0.5, IDLE_W * 0.5),
        load_j=0.2,
        warmup_j=0.1,
    )
    spans = {
        "windows": tuple(
            span.model_copy(update={"began_at": (started + timedelta(seconds=0.4)).isoformat()})
            for span in cell.windows
        ),
        "idle_window": header.invocations[0].before,
    }
    return cell.model_copy(update=spans), rows


def _beside_gpus(cell: Cell, gpus: int) -> Cell:
    rng = random.Random(cell.cell_id)

    def states() -> tuple[DeviceState, ...]:
        told = {"clock_mhz": 1980.0, "power_cap_w": 700.0, "slowed_s": 0.0}
        return tuple(
            DeviceState.model_validate({"device": f"nvml:gpu-{at}", "temperature_c": rng.randint(40, 60), **told})
            for at in range(gpus)
        )

    spans = [span.model_copy(update={"before": states(), "after": states()}) for span in cell.windows]
    return cell.model_copy(update={"windows": tuple(spans)})


def _told(each: CellPlan) -> dict[str, object]:
    """What a model says of itself."""
    weights = WEIGHTS.get(_reference(each), "") and {"sha256": WEIGHTS[_reference(each)] + 48 * "0"}
    return {"params": 59_392, "active_params": 59_392, "bytes": 119_000} | (weights or {})


def _reference(each: CellPlan) -> str:
    """The reference model that it is; empty for any other."""
    return each.spec.args if each.spec.backend == "ref" else ""


def _score(each: CellPlan, number: int) -> float:
    """The same in every repeat, as from a model that always takes the likeliest token; reference models' own."""
    if (known := KNOWN_ANSWERS.get(_reference(each), {}).get(each.task)) is not None:
        return float(to_bits(known, number + 1)[number])
    rng = random.Random(f"{each.spec.name} {each.task} {number}")
    return float(rng.random() < 0.4 + 0.1 * (len(each.spec.name) % 5))


def _item(each: CellPlan, number: int) -> Item:
    hashes = shipped(each.task).hashes if is_ours(each.task) else ()
    return Item(
        doc_id=number,
        doc_hash=hashes[number] if hashes else hashlib.sha256(f"{each.task} {number}".encode()).hexdigest(),
        score=_score(each, number),
        prompt_tokens=16,
        generated_tokens=6,
        computed_tokens=22,
        latency_s=0.002,
        cluster=str(number),
        level=number % 4 + 1,
        truncated=False,
        cut=False,
    )


def _window(seconds: float, joules: float) -> EnergyRecord:
    return EnergyRecord(
        gross_j=joules,
        u_j=0.005 * joules,
        began_ns=0,
        window_s=seconds,
        grade="modelled",
        scope="package",
        domains={"modelled:cpu": joules},
        rel_u_scale=0.21**0.5,
        rel_u_workload=0.2,
    )
