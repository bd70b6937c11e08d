"""A machine of a cluster at work: it measures the cells that it is told to, and hands on what is to be kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .alone import measuring_alone
from .dryrun import foresee
from .header import make_header
from .measuring import Measuring, Progress
from .plan import Plan
from .record import Carbon, Cell, RunHeader, Station
from .schedule import CellPlan
from .session import prepare
from .store import LOGS, seal

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AtWork", "Described", "Parcel", "Stored"]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A cell with what belongs to it; see `RunWriter.append`."""

    cell: Cell
    items: pd.DataFrame | None
    power: pd.DataFrame | None
    samples: Sequence[str] | None


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a station says when it is ready.

    Attributes:
        header: Of the run, as if it were this machine's alone.
        plan: With groups of tasks taken apart.
        version: Of Joulemark.
        said: Warnings, a sentence each.
        foreseen: What the whole plan would come to here; see `dryrun.foresee`.
    """

    header: RunHeader
    plan: Plan
    version: str
    said: tuple[str, ...]
    foreseen: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What became of a piece of work.

    Attributes:
        stored: Cells, in the order in which they were measured; the last is the one that was asked for.
        logs: What processes of failed cells said, by cell.
        station: The machine, with its idle power as far as it is known.
        said: Warnings, a sentence each.
        lost: Why no further cell can be measured here; None where one can.
    """

    stored: tuple[Stored, ...]
    logs: dict[str, str]
    station: Station
    said: tuple[str, ...]
    lost: str | None = None


class AtWork:
    """A station; only one at a time measures on its machine.

    Args:
        plan: What is measured.
        carbon: What a kilowatt-hour stands for.
        run_id: Of the run.
        before: What the run knows of this machine, by its id, from earlier invocations.
        share: Whether it measures but some of the GPUs, beside other stations of the machine, and nothing else.
    """

    def __init__(
        self, plan: Plan, carbon: Carbon | None, run_id: str, before: dict[str, Station], *, share: bool
    ) -> None:
        # Nothing that may fail, since of that whoever asked would not be told the reason.
        self._given = plan, carbon, run_id, before
        self._share = share
        self._stack = ExitStack()
        self._kept, self._said, self._hot = _Kept(), _Said(), False

    def is_here(self) -> bool:
        """Say that it has what it needs of Ray."""
        return True

    def get_ready(self) -> Described:
        """Look everything up, and say who is at work here, and by what meters.

        Raises:
            UsageError, MeasuringFailed: As `prepare`, or another run holds the machine.
        """
        plan, carbon, run_id, before = self._given
        # Ray numbers GPUs as NVML does, by their slots.
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        session = prepare(plan, self._said.say)
        header = make_header(session, session.plan.model_dump(mode="json"), carbon, share=self._share)
        if not session.choice.by_cpu_time:
            gpus = [gpu.uuid for gpu in header.machine.accelerators] if self._share else []
            self._stack.enter_context(measuring_alone(gpus))
        known = before.get(header.machine.machine_id)
        told = {"run_id": run_id} | ({"idle": known.idle, "invocations": known.invocations} if known else {})
        self._measuring = Measuring(session, self._kept, header.model_copy(update=told), self._said, {})
        self._stack.callback(self._measuring.pool.close)
        self._stack.callback(self._measuring.restore_caps)
        header, said = self._measuring.header, self._said.taken()
        return Described(
            header=header, plan=session.plan, version=version("joulemark"), said=said, foreseen=foresee(session)
        )

    def begin(self, cells: Sequence[CellPlan]) -> Parcel:
        """Load the models of these cells, and measure the idle power with them; Ray's own is part of it."""
        self._measuring.pool.start(cells)
        self._measuring.measure_idle_before()
        return self._parcel()

    def measure(self, cell: CellPlan, attempt: int) -> Parcel:
        """Measure a cell."""
        measuring = self._measuring
        # Before a cell, and not after one, which would be lost if a meter failed meanwhile.
        measuring.cooled_s = measuring.cool_down() if self._hot else None
        measured, lost = measuring.measure(cell, attempt)
        measuring.known[cell.cell_id] = measured
        self._hot = "throttled" in measured.flags
        return self._parcel(lost)

    def end(self) -> Parcel:
        """Measure the idle power once more, and end all models."""
        self._measuring.measure_idle_after()
        self._stack.close()
        return self._parcel()

    def _parcel(self, lost: str | None = None) -> Parcel:
        stored, logs = self._kept.taken()
        station, said = self._measuring.header.station, self._said.taken()
        return Parcel(stored=stored, logs=logs, station=station, said=said, lost=lost)


@dataclass
class _Kept:
    """In the place of a run directory: what was to be written, until it is handed on."""

    path: Path = Path()
    stored: list[Stored] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)

    def write_header(self, header: RunHeader) -> None:
        """Nothing: whoever measures has it."""

    def append(
        self,
        cell: Cell,
        items: pd.DataFrame | None = None,
        power: pd.DataFrame | None = None,
        samples: Sequence[str] | None = None,
    ) -> Cell:
        sealed = seal(cell)
        self.stored.append(Stored(cell=sealed, items=items, power=power, samples=samples))
        return sealed

    def keep_log(self, cell_id: str, text: str) -> str | None:
        if not text.strip():
            return None
        self.logs[cell_id] = text
        return f"{LOGS}/{cell_id}.txt"

    def taken(self) -> tuple[tuple[Stored, ...], dict[str, str]]:
        stored, logs = tuple(self.stored), self.logs
        self.stored, self.logs = [], {}
        return stored, logs


class _Said(Progress):
    """Keeps what was said until it is handed on."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def say(self, text: str) -> None:
        self._told.append(text)

    def taken(self) -> tuple[str, ...]:
        told, self._told = tuple(self._told), []
        return told
