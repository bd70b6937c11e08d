"""codecarbon as a second opinion: what it makes of the same seconds, and how it came by that.

No meter. Its CPU energy is right where it reads RAPL, and an estimate from load and rated power where it does not. It
says the same word for both, so how the figure came about is asked for here, and nothing of it is ever added to a joule
of Joulemark's.

codecarbon runs in a process of its own, with an empty home, an empty working directory and none of its variables, so
that no configuration of the user's takes part; offline, and writing nothing.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from .child import Child, ChildFailed, answer_questions
from .errors import MeasuringFailed

__all__ = ["CrossCheck", "Figure", "SecondOpinion"]

READY_S, ANSWER_S = 60.0, 20.0
"""How long it may look for hardware (it asks several programs in turn), and how long it may take to begin or end."""

_NEVER_S = 86_400.0
_J_PER_KWH = 3.6e6


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Energy of the CPU as codecarbon has it.

    Attributes:
        joules: None where there is none, or none that can be believed.
        measured: Whether it read RAPL's counters; False for an estimate.
        how: Where it comes from: ``RAPL: package-0``, ``estimated from CPU load and a rated 85 W``.
    """

    joules: float | None
    measured: bool
    how: str


@dataclass(frozen=True, kw_only=True)
class CrossCheck:
    """What codecarbon says of one window.

    Attributes:
        cpu: Of its RAPL files it reads packages, never memory; ``how`` names them. None where it found no CPU.
        seconds: How long it was.
        u_edge_s: Standard uncertainty of either end, in seconds: it looks at some moment of its start and stop.
    """

    cpu: Figure | None
    seconds: float
    u_edge_s: float

    @property
    def cpu_w(self) -> float | None:
        """Mean power of the packages; None where it was not measured. Its own ``cpu_power`` is no such mean."""
        return self.cpu.joules / self.seconds if self.cpu and self.cpu.measured and self.cpu.joules else None


class SecondOpinion:
    """codecarbon beside a window of ours: ready inside ``with``, begun by `start`, ended by `stop`.

    It costs a wake-up each second; both sides see that alike.
    """

    def __enter__(self) -> Self:
        """Start it and let it find its hardware.

        Raises:
            MeasuringFailed: It cannot be started, or takes longer than `READY_S`.
        """
        self._empty = tempfile.TemporaryDirectory(prefix="joulemark-")
        self._child = Child(__name__, env=_clean_environment(self._empty.name), folder=Path(self._empty.name))
        try:
            self._ask("ready", READY_S)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._end()

    def start(self) -> None:
        """Begin its window.

        Raises:
            MeasuringFailed: It failed, or hangs.
        """
        self._ask("start", ANSWER_S)

    def stop(self) -> CrossCheck:
        """End its window.

        Raises:
            MeasuringFailed: It failed, hangs, or did not track at all.
        """
        told = self._ask("stop", ANSWER_S)
        cpu = Figure(**told["cpu"]) if told["cpu"] else None
        return CrossCheck(cpu=cpu, seconds=told["seconds"], u_edge_s=told["u_edge_s"])

    def _ask(self, what: str, timeout_s: float) -> dict[str, Any]:
        try:
            told = self._child.ask({"do": what}, timeout_s)
        except ChildFailed as problem:
            raise MeasuringFailed(f"codecarbon gives no second opinion: {problem}") from problem
        if "error" in told:
            raise MeasuringFailed(f"codecarbon gives no second opinion: {told['error']}")
        return told

    def _end(self) -> None:
        self._child.close()
        self._empty.cleanup()


def _clean_environment(home: str) -> dict[str, str]:
    """This process's, without what configures codecarbon (``codecarbon/core/config.py``: in any case)."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().startswith("codecarbon_")}
    return kept | {"HOME": home, "USERPROFILE": home}


# What follows runs in codecarbon's process.


class _Answering:
    """codecarbon's process; its tracker swallows all exceptions, so whether it tracked is asked of what it left."""

    def __init__(self) -> None:
        self._tracker: Any = None
        self._began = (0, 0)

    def __call__(self, question: dict[str, Any]) -> dict[str, Any]:
        return {"ready": self._ready, "start": self._start, "stop": self._stop}[question["do"]]()

    def _ready(self) -> dict[str, Any]:
        # Its stop would load these two, inside of the window.
        import codecarbon.core.emissions
        import codecarbon.external.geography

        # A given carbon intensity spares it a table; its carbon is not asked for. It looks at the start and at the
        # end only: a counter that it finds missing at the end is then told, not bridged.
        self._tracker = codecarbon.OfflineEmissionsTracker(
            tracking_mode="machine",
            measure_power_secs=_NEVER_S,
            output_methods=[],
            allow_multiple_runs=True,
            force_carbon_intensity_g_co2e_kwh=1.0,
            log_level="error",
        )
        self._tracker.get_detected_hardware()
        return {}

    def _start(self) -> dict[str, Any]:
        before_ns = time.monotonic_ns()
        self._tracker.start()
        self._began = (before_ns, time.monotonic_ns())
        return {}

    def _stop(self) -> dict[str, Any]:
        before_ns = time.monotonic_ns()
        self._tracker.stop()
        after_ns = time.monotonic_ns()
        found = getattr(self._tracker, "final_emissions_data", None)
        if found is None:
            raise RuntimeError("its tracker did not start, and does not say why")
        began_ns, ended_ns = sum(self._began) / 2, (before_ns + after_ns) / 2
        edges_s = max(self._began[1] - self._began[0], after_ns - before_ns) / 1e9
        hardware = {type(item).__name__: item for item in self._tracker._hardware}
        return {
            "cpu": _figure(found.cpu_energy, _cpu_source(hardware)),
            "seconds": (ended_ns - began_ns) / 1e9,
            "u_edge_s": edges_s / 12**0.5,
        }


class _Source(NamedTuple):
    """How a figure came about."""

    measured: bool
    how: str
    lost: bool = False


def _figure(kwh: float, source: _Source | None) -> dict[str, Any] | None:
    """No energy at all is no figure: a CPU that is tracked draws some."""
    if source is None:
        return None
    joules = None if source.lost or not kwh > 0 else kwh * _J_PER_KWH
    return asdict(Figure(joules=joules, measured=source.measured, how=source.how))


def _cpu_source(hardware: dict[str, Any]) -> _Source | None:
    """Whether it measured, and what; None where it has no CPU that may have RAPL. Its public names do not tell."""
    cpu = hardware.get("CPU")
    if cpu is None:
        return None
    if cpu._mode == "intel_rapl":
        return _rapl_source(cpu._intel_interface._rapl_files)
    if cpu._mode == "cpu_load":
        return _Source(False, f"estimated from CPU load and a rated {cpu._tdp:g} W")
    return _Source(False, f"not from RAPL, but by what it calls {cpu._mode}")


def _rapl_source(files: Sequence[Any]) -> _Source:
    """A counter that was not there at the end leaves what it had before as if that were all."""
    gone = [_zone_of(file) for file in files if getattr(file, "sample_skipped", False) or file.last_energy is None]
    how = f"RAPL: {', '.join(map(_zone_of, files))}" + (f"; lost meanwhile: {', '.join(gone)}" if gone else "")
    return _Source(True, how, lost=bool(gone))


def _zone_of(file: Any) -> str:
    """The powercap zone's own name; codecarbon numbers them anew."""
    folder = Path(file.path).parent
    try:
        return (folder / "name").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return folder.name


if __name__ == "__main__":
    answer_questions(_Answering())
