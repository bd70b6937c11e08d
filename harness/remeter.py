"""A run's energy anew, from a power trace that something else recorded while the run was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from joulemark.meters.errors import MeasuringFailed, MeterLost, UsageError
from joulemark.meters.registry import Choice
from joulemark.meters.types import Domain, EnergyRecord

from .cells import NO_JOULES, as_failed, energy_of, phases_of
from .header import new_run_id, now
from .measuring import SEEN_BY
from .models import ModelSpec
from .record import IMPORTED, Cell, Energy, Phases, RunHeader, Span
from .recording import Recording, find_recording
from .session import meter_infos
from .store import LOGS, Run, RunWriter, read_run, refuse_used

__all__ = ["Remetered", "remeter"]

_CLOCK_STEP_S = 0.05
_OF_NET = ("net_unresolved", "no_idle")
_TOO_OLD = (
    "it was measured by a version that did not keep when its windows were, so nothing tells which part of a trace "
    "is its own; measure it again"
)


@dataclass(frozen=True, kw_only=True)
class Remetered:
    """The new run, and what became of the cells.

    Attributes:
        path: Where it lies.
        header: Its ``run.json``.
        cells: How many cells it has.
        done: How many of these have their energy from the trace.
        problem: Why others have not; None where all have.
        notes: What else is to be told, a sentence each.
    """

    path: Path
    header: RunHeader
    cells: int
    done: int
    problem: str | None
    notes: tuple[str, ...]


def remeter(path: Path, meter: str, out: Path) -> Remetered:
    """Write a new run that has the answers of a run and the energy of a recorded trace.

    Nothing is written where no cell can be measured again.

    Args:
        path: The run; only read.
        meter: ``NAME=replay:file=...``.
        out: The new run's directory.

    Raises:
        UsageError: The run or the trace cannot be read or is none, the trace's times are of no day, or ``out`` is used.
        MeasuringFailed: No cell can be measured again, or the disk is full.
    """
    refuse_used(out)
    run = read_run(path)
    if IMPORTED in run.header.plan:
        raise UsageError(f"{path} was imported, and does not say when its windows were; give a run of `joulemark run`.")
    if run.header.stations:
        raise UsageError(f"{path} was measured on several machines, and a trace is of one; give a run of that machine.")
    if path.resolve() in out.resolve().parents:
        raise UsageError(f"{out} lies in the run itself; choose another folder with --out.")
    again = _Again(run, find_recording(meter))
    made = again.cells()
    done = sum(_has_energy(cell) for cell, _ in made)
    problem = _problem(path, [cell for cell, _ in made])
    if not done:
        raise MeasuringFailed(f"{problem} Nothing was written.")
    header = again.header(meter)
    with RunWriter(out) as writer:
        writer.write_header(header)
        for cell, items in made:
            log = _keep_log(run, cell, writer)
            new = cell.model_copy(update={"run_id": header.run_id, "log": log})
            writer.append(new, items, samples=_samples(run, cell))
        writer.compact()
    notes = (*run.notes, *again.notes)
    return Remetered(path=out, header=header, cells=len(made), done=done, problem=problem, notes=notes)


class _Again:
    """A run's header and cells with the energy of a recording.

    Attributes:
        notes: What is to be told of them.
    """

    def __init__(self, run: Run, recording: Recording) -> None:
        """Reads the idle power from the trace, and the items that the run has."""
        self.notes: list[str] = []
        self._run, self._recording = run, recording
        self._items = {str(name): rows.drop(columns="cell_id") for name, rows in run.items().groupby("cell_id")}
        self._idles: dict[str, EnergyRecord | None] = {}
        self._before = self._idle_before(run.header.idle.before)
        self._after = self._idle("after", run.header.idle.after)

    def cells(self) -> list[tuple[Cell, pd.DataFrame | None]]:
        """Each cell with its energy or why it has none, and its items."""
        return [self._cell(cell) for cell in self._run.cells]

    def header(self, meter: str) -> RunHeader:
        """The run's, with another meter."""
        old, domain = self._run.header, self._recording.domain
        choice = Choice(meters=(), domains=(domain,), grade=domain.grade, scope=domain.kind)
        return RunHeader.model_validate(
            dict(old)
            | {
                "run_id": new_run_id(),
                "created_at": now(),
                "joulemark_version": version("joulemark"),
                "plan": old.plan | {"meters": [meter]},
                "meters": meter_infos(choice),
                "idle": old.idle.model_copy(update={"before_w": _watts(self._before), "after_w": _watts(self._after)}),
                "remetered_from": old.run_id,
                # These watts are of the meter that the run had.
                "invocations": (),
                "trace_sha256": self._recording.sha256,
                "trace_bytes": self._recording.size,
            }
        )

    def _idle_before(self, span: Span | None) -> EnergyRecord | None:
        """The same; each invocation of a run took its own, and it is told of but once."""
        key = "" if span is None else span.began_at
        if key not in self._idles:
            self._idles[key] = self._idle("before", span)
        return self._idles[key]

    def _idle(self, when: str, span: Span | None) -> EnergyRecord | None:
        """The idle power's window; None where the trace does not tell, which is never guessed."""
        reason = "the run does not say when that was"
        if span is not None:
            try:
                return self._recording.measure_idle(span)
            except MeterLost as problem:
                reason = str(problem)
        so = ", so there is no net energy" if when == "before" else ""
        self.notes.append(f"The idle power {when} measuring is not known{so}: {reason}.")
        return None

    def _cell(self, cell: Cell) -> tuple[Cell, pd.DataFrame | None]:
        if cell.status != "ok":
            return cell.model_copy(update={"energy": None, "phases": Phases()}), None
        if cell.energy is None or not cell.windows:
            return as_failed(cell, _TOO_OLD), None
        if not _sees(self._recording.domain, cell, cell.energy):
            return self._outside(cell, cell.energy), _shared(self._items[cell.cell_id], None)
        try:
            _refuse_set_clock(cell)
            record = self._recording.measure(cell.windows)
        except MeterLost as problem:
            return as_failed(cell, str(problem)), None
        return self._measured(cell, cell.energy, record)

    def _measured(self, cell: Cell, old: Energy, record: EnergyRecord) -> tuple[Cell, pd.DataFrame]:
        # Cells of runs of older versions do not say which idle window was theirs.
        idle = self._idle_before(cell.idle_window or self._run.header.idle.before)
        energy = energy_of([record], idle, old.loops)
        if self._run.header.carbon and energy.gross_j is not None:
            grams = energy.gross_j / 3.6e6 * self._run.header.carbon.g_per_kwh
            energy = energy.model_copy(update={"carbon_g": grams})
        why = () if energy.net_j is not None else ("no_idle",) if idle is None else ("net_unresolved",)
        flags = tuple(flag for flag in cell.flags if flag not in _OF_NET)
        changed = {"energy": energy, "phases": _rescaled(cell.phases, old, energy), "flags": why + flags}
        return cell.model_copy(update=changed), _shared(self._items[cell.cell_id], energy.net_j)

    def _outside(self, cell: Cell, old: Energy) -> Cell:
        """A cell of whose energy the trace says nothing, as a run has it."""
        domain = self._recording.domain
        by = {"grade": domain.grade, "scope": domain.kind}
        scales = {"rel_u_scale": domain.rel_u_scale, "rel_u_workload": domain.rel_u_workload}
        energy = old.model_copy(update={**NO_JOULES, **by, **scales})
        flags = tuple(flag for flag in cell.flags if flag not in (*_OF_NET, "outside_meter"))
        changed = {"energy": energy, "phases": Phases(), "flags": ("outside_meter", *flags)}
        return cell.model_copy(update=changed)


def _sees(domain: Domain, cell: Cell, old: Energy) -> bool:
    """Whether the domain sees the model compute, in each of the places where it may have done so.

    A cell does not say where that was. A reference model computes on the CPU; of others it is known what kinds of
    domain saw them.
    """
    backend, _, args = cell.model_args.partition(":")
    if "outside_meter" in cell.flags:
        return False
    if not ModelSpec(name=cell.model, backend=backend, args=args).takes_gpu:
        return domain.kind in SEEN_BY["cpu"]
    saw = set(old.scope.split("+"))
    places = [kinds for kinds in SEEN_BY.values() if kinds & saw]
    return bool(places) and all(domain.kind in kinds for kinds in places)


def _refuse_set_clock(cell: Cell) -> None:
    """Raises MeterLost where a window does not lie within its cell: then the wall clock was set meanwhile."""
    assert cell.started_at is not None, "imported runs are refused"
    started_s = datetime.fromisoformat(cell.started_at).timestamp()
    for span in cell.windows:
        after_s = datetime.fromisoformat(span.began_at).timestamp() - started_s
        if after_s < -_CLOCK_STEP_S or after_s + span.window_s > (cell.duration_s or 0.0) + _CLOCK_STEP_S:
            raise MeterLost("the wall clock was set while it was measured, so its windows cannot be found in a trace")


def _rescaled(phases: Phases, old: Energy, energy: Energy) -> Phases:
    """The phases' shares of the net energy stay what they were; loading is not in the windows."""
    parts = {"prefill_share": phases.prefill_j, "decode_share": phases.decode_j}
    shares = {key: joules / old.net_j if old.net_j and joules is not None else None for key, joules in parts.items()}
    return phases_of(energy, shares, None)


def _shared(items: pd.DataFrame, net_j: float | None) -> pd.DataFrame:
    """Items with their shares of the net energy: as before, or equal where they had none.

    What each computed, which shares go by, is not kept but in them.
    """
    had = items["energy_j"]
    weights = had if had.notna().all() and had.sum() > 0 else pd.Series(1.0, index=items.index)
    return items.assign(energy_j=np.nan if net_j is None else net_j * weights / weights.sum())


def _samples(run: Run, cell: Cell) -> list[str] | None:
    """What was asked and answered, line by line; None where the run keeps none, or the cell has no answers now."""
    kept = run.samples(cell.cell_id) if cell.status == "ok" else None
    return None if kept is None else [json.dumps(sample, ensure_ascii=False) for sample in kept]


def _keep_log(run: Run, cell: Cell, writer: RunWriter) -> str | None:
    """Keep what the process of a failed cell said; where, as `RunWriter.keep_log` has it."""
    log = run.path / LOGS / f"{cell.cell_id}.txt"
    if cell.log is None or not log.is_file():
        return None
    return writer.keep_log(cell.cell_id, log.read_text(encoding="utf-8", errors="replace"))


def _watts(record: EnergyRecord | None) -> float | None:
    return None if record is None else record.gross_j / record.window_s


def _has_energy(cell: Cell) -> bool:
    return cell.status == "ok" and cell.energy is not None and cell.energy.gross_j is not None


def _problem(path: Path, cells: Sequence[Cell]) -> str | None:
    """Why some cells have no energy of the trace; None where all have."""
    if not cells:
        return f"{path} has no cells."
    without = [cell for cell in cells if not _has_energy(cell)]
    if not without:
        return None
    first = without[0]
    reason = first.error or "its model computes where this trace does not look, or may do so"
    return (
        f"{len(without)} of {len(cells)} cells could not be measured again; the first: {first.model} on "
        f"{first.task}, repeat {first.repeat}: {reason.rstrip('.')}."
    )
