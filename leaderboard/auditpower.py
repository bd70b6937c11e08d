"""Physics: power between idle and what the hardware can take, joules and seconds for the work that was done.

Bounds are generous: what lies beyond is no measurement; what lies within may be none either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from joulemark.harness.record import Cell, Energy, Machine, MeterInfo
from joulemark.meters.cpumodel import BUSY_SHARE, IDLE_SHARE
from joulemark.meters.naming import meter_name

from .findings import Finding
from .knownhardware import known_gpu
from .submission import Submission, length_s

__all__ = ["LEAST_J_PER_FLOP", "check_power", "check_work", "watts_a_thread"]

MOST_W = {"gpu": 2_000.0, "package": 1_000.0, "dram": 500.0, "soc": 1_000.0, "platform": 20_000.0, "wall": 20_000.0}
"""Of one domain whose hardware is not in `knownhardware`, in watts: twice a CPU's 500 W (AMD EPYC 9965, Intel Xeon
6980P), 1.4 times a GPU's 1,400 W (NVIDIA GB300); a server of eight GPUs takes 14.5 kW (NVIDIA DGX B300)."""
MOST_W_A_THREAD, PACKAGE_BASE_W = 40.0, 200.0
"""Of a package, for each hardware thread that Linux sees, and beside them, since it may see a few of many: an Intel
Core i9-14900K takes 253 W with 32 threads. Generous on purpose: nobody gains by telling too much."""
_OVER_CAP = 1.1
"""A cap holds on the average; a window may be a little above."""
_BELOW_IDLE = 0.7
"""Of the idle power: clocks fall and rooms cool, but not by more than this."""
_OWN_PACKAGE = {"rapl", "perf", "zeus"}
"""Meters that see the machine's own packages; others may see the host that a virtual machine is on."""
LEAST_GRANTED = 0.25
"""Hardware threads that a process may compute on at least; a control group may grant parts of one."""
LEAST_J_PER_FLOP = 1e-14
"""An NVIDIA B200 is rated 9e15 FLOP/s for 1,000 W in FP4, dense (1.1e-13 J), and twice as many with sparsity
(5.6e-14 J); five times below that there is nothing yet."""
MOST_FLOPS_A_THREAD, MOST_FLOPS_A_GPU = 5e12, 5e16
"""FLOP/s: a core with AMX has some 2e12 in BF16; an NVIDIA B300 is rated 1.5e16 in FP4, dense."""
_TDP = re.compile(r"TDP per hardware thread ([0-9.]{1,12}) W")


def check_power(sent: Submission) -> Iterator[Finding]:
    """Each domain's mean power, and the idle power, can be that of such hardware."""
    meters, machine = {meter.id: meter for meter in sent.run.meters}, sent.run.machine
    for number, cell in enumerate(sent.cells):
        energy, at = cell.energy, f"cells[{number}].energy"
        if energy is None or energy.gross_j is None:
            continue
        for name, joules in energy.domains.items():
            if name not in meters:
                continue
            power_w, most_w = joules / length_s(energy), _most_w(meters[name], machine, cell)
            if power_w > most_w:
                message = (
                    f"{power_w:,.4g} W in the window, and such hardware takes at most {most_w:,.4g} W; measure again."
                )
                yield Finding(code="power-high", path=f"{at}.domains.{name}", message=message)
        yield from _check_idle(sent, energy, at)


def _most_w(meter: MeterInfo, machine: Machine, cell: Cell) -> float:
    states = [state for span in cell.windows for state in (*span.before, *span.after) if state.device == meter.id]
    if caps := [state.power_cap_w for state in states if state.power_cap_w is not None]:
        return _OVER_CAP * max(caps)
    if (thread_w := watts_a_thread(meter)) is not None:
        # Its source has three digits of the watts.
        return 1.02 * BUSY_SHARE * thread_w * max(1, machine.cpu_count or 0)
    if meter.scope == "gpu" and (gpu := known_gpu(meter.provenance)) is not None:
        return _OVER_CAP * gpu.most_w
    if meter.scope == "package" and meter_name(meter.id) in _OWN_PACKAGE:
        return min(MOST_W["package"], PACKAGE_BASE_W + MOST_W_A_THREAD * (machine.cpu_count or 0))
    return MOST_W[meter.scope]


def watts_a_thread(meter: MeterInfo) -> float | None:
    """Rated watts of a hardware thread by the text of our own CPU model; None for any other meter."""
    if meter_name(meter.id) != "modelled":
        return None
    found = _TDP.match(meter.source)
    try:
        return float(found[1]) if found else 0.0
    except ValueError:
        return 0.0


def _check_idle(sent: Submission, energy: Energy, at: str) -> Iterator[Finding]:
    idle_w = energy.idle_w
    if idle_w is None or energy.gross_j is None:
        return
    if energy.gross_j / length_s(energy) < _BELOW_IDLE * idle_w - 3 * (energy.u_j or 0.0) / length_s(energy):
        mean_w = energy.gross_j / length_s(energy)
        message = f"a mean power of {mean_w:.4g} W is below the idle power of {idle_w:.4g} W; measure again."
        yield Finding(code="power-low", path=f"{at}.gross_j", message=message)
    least_w = _least_idle_w(sent)
    if idle_w < least_w:
        message = f"{idle_w:.4g} W, and such hardware takes at least {least_w:.4g} W with nothing to do; measure again."
        yield Finding(code="power-low", path=f"{at}.idle_w", message=message)
    told = [each.before_w for each in sent.run.invocations]
    own = all(watts_a_thread(meter) is None for meter in sent.run.meters) and sent.run.remetered_from is None
    if own and told and all(abs(idle_w - before_w) > 1e-6 * before_w for before_w in told):
        message = "it is no idle power that the run measured; pack the run again."
        yield Finding(code="sum-idle", path=f"{at}.idle_w", message=message)


def _least_idle_w(sent: Submission) -> float:
    """What the meters of the total show at least of hardware with nothing to do."""
    summed = [meter for meter in sent.run.meters if meter.summed]
    threads = [watts for meter in summed if (watts := watts_a_thread(meter)) is not None]
    gpus = [gpu for meter in summed if meter.scope == "gpu" and (gpu := known_gpu(meter.provenance)) is not None]
    return sum(IDLE_SHARE * watts * LEAST_GRANTED for watts in threads) + sum(gpu.least_w for gpu in gpus)


def check_work(sent: Submission) -> Iterator[Finding]:
    """No work for less energy, or in less time, than any machine of today needs: ``2 x active parameters x tokens``.

    The rule of two operations a parameter and token is that of arXiv 2001.08361.
    """
    machine = sent.run.machine
    most_flops = MOST_FLOPS_A_THREAD * (machine.cpu_count or 0) + MOST_FLOPS_A_GPU * len(machine.accelerators)
    for number, cell in enumerate(sent.cells):
        at, info = f"cells[{number}]", cell.model_info
        for name in ("params", "active_params", "bytes", "peak_rss_mb", "peak_gpu_mb"):
            if (size := getattr(info, name)) is not None and size < 0:
                yield Finding(
                    code="model-size", path=f"{at}.model_info.{name}", message="it is below 0; pack the run again."
                )
        if info.params is not None and info.active_params is not None and info.active_params > info.params:
            message = "more parameters compute than there are; pack the run again."
            yield Finding(code="model-size", path=f"{at}.model_info.active_params", message=message)
        energy, flop = cell.energy, _flop(cell)
        if energy is None or energy.gross_j is None or flop is None:
            continue
        if energy.gross_j < LEAST_J_PER_FLOP * flop:
            message = (
                f"{energy.gross_j / flop:.2g} J an operation is less than any machine of today takes; measure again."
            )
            yield Finding(code="energy-floor", path=f"{at}.energy.gross_j", message=message)
        if sees_all(sent) and flop / length_s(energy) > most_flops:
            message = (
                f"{flop / length_s(energy):.2g} operations a second are more than such hardware does; measure again."
            )
            yield Finding(code="too-fast", path=f"{at}.energy.window_s", message=message)


def sees_all(sent: Submission) -> bool:
    """Whether the run's machine is the one that computed: a wall meter or a remote one may see another."""
    return any(meter.scope in ("package", "gpu", "soc") for meter in sent.run.meters)


def _flop(cell: Cell) -> float | None:
    """Operations in all loops; None where parameters or tokens are not told. Of layers left out, none is counted."""
    tokens, active = cell.tokens, cell.model_info.active_params
    counted = tokens.computed if tokens.computed is not None else (tokens.prompt or 0) + (tokens.generated or 0)
    if cell.energy is None or active is None or not counted or cell.computed.layers_per_token is not None:
        return None
    return 2.0 * active * counted * cell.energy.loops
