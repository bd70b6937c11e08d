"""Sums of joules: net and idle, domains, phases, windows, carbon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from joulemark.harness.record import Cell, Energy, MeterInfo
from joulemark.meters.types import SCOPE_KINDS

from .auditscores import TOLERANCE
from .findings import Finding
from .submission import Submission, length_s

__all__ = ["check_energy"]


def check_energy(sent: Submission) -> Iterator[Finding]:
    """All parts of a cell's energy add up to what the meters counted, and belong to one total."""
    meters = {meter.id: meter for meter in sent.run.meters}
    for number, cell in enumerate(sent.cells):
        at = f"cells[{number}]"
        energy = cell.energy
        if energy is None or energy.gross_j is None:
            if cell.status == "ok" and "outside_meter" not in cell.flags:
                message = "a finished cell has energy, or the flag outside_meter; measure it again."
                yield Finding(code="no-energy", path=f"{at}.energy", message=message)
            continue
        yield from _check_net(cell, energy, energy.gross_j, f"{at}.energy")
        yield from _check_domains(energy, energy.gross_j, meters, f"{at}.energy")
        yield from _check_errors(sent, energy, meters, f"{at}.energy")
        yield from _check_phases(cell, energy, energy.gross_j, f"{at}.phases")
        yield from _check_carbon(sent, energy, energy.gross_j, f"{at}.energy.carbon_g")
        if cell.windows and _differ(sum(span.window_s for span in cell.windows), length_s(energy), length_s(energy)):
            message = "the windows do not add up to energy.window_s; pack the run again."
            yield Finding(code="sum-windows", path=f"{at}.windows", message=message)


def _check_net(cell: Cell, energy: Energy, gross_j: float, at: str) -> Iterator[Finding]:
    if energy.u_j is None:
        yield Finding(code="sum-net", path=f"{at}.u_j", message="a measured energy has an error; measure it again.")
    if energy.net_j is None or energy.idle_j is None or energy.idle_w is None or energy.u_net_j is None:
        if (energy.net_j, energy.idle_j) != (None, None) or not {"net_unresolved", "no_idle"} & {*cell.flags}:
            message = "net and idle energy are there with their errors, or a flag says why not; pack the run again."
            yield Finding(code="sum-net", path=f"{at}.net_j", message=message)
        return
    if min(energy.net_j, energy.idle_j) < 0:
        yield Finding(code="negative", path=at, message="a part of the energy is below 0, which no meter tells.")
    if _differ(energy.net_j + energy.idle_j, gross_j, gross_j):
        message = f"net_j and idle_j add up to {energy.net_j + energy.idle_j:.9g}, not to gross_j; pack the run again."
        yield Finding(code="sum-net", path=f"{at}.gross_j", message=message)
    if _differ(energy.idle_w * length_s(energy), energy.idle_j, gross_j):
        message = "it is not the idle power over the window; pack the run again."
        yield Finding(code="sum-idle", path=f"{at}.idle_j", message=message)
    if energy.u_j is not None and energy.u_net_j < energy.u_j * (1 - TOLERANCE):
        message = "net energy is known no better than gross energy; pack the run again."
        yield Finding(code="sum-net", path=f"{at}.u_net_j", message=message)


def _check_domains(energy: Energy, gross_j: float, meters: Mapping[str, MeterInfo], at: str) -> Iterator[Finding]:
    if unknown := energy.domains.keys() - meters.keys():
        message = f"the run has no meter {min(unknown)!r}; pack the run again."
        yield Finding(code="sum-domains", path=f"{at}.domains", message=message)
        return
    if any(joules < 0 for joules in energy.domains.values()):
        yield Finding(code="negative", path=f"{at}.domains", message="energy below 0 is none that a meter tells.")
    summed = [meter for meter in meters.values() if meter.summed]
    total = sum(energy.domains.get(meter.id, 0.0) for meter in summed)
    if _differ(total, gross_j, gross_j):
        message = f"the meters of the total add up to {total:.9g}, not to gross_j; pack the run again."
        yield Finding(code="sum-domains", path=f"{at}.domains", message=message)
    kinds = {meter.scope for meter in summed}
    scope = "+".join(kind for kind in SCOPE_KINDS if kind in kinds)
    if {energy.grade} != {meter.grade for meter in summed} or energy.scope != scope:
        message = "grade or scope are not those of the meters of the total; pack the run again."
        yield Finding(code="claim-grade", path=at, message=message)


def _check_errors(sent: Submission, energy: Energy, meters: Mapping[str, MeterInfo], at: str) -> Iterator[Finding]:
    """The error is that of the meters; what a recorded trace rounds off is a share of each window's own power."""
    names = ("rel_u_scale", "rel_u_workload") if sent.run.remetered_from is None else ("rel_u_scale",)
    for name in names:
        stated = [getattr(meter, name) for meter in meters.values() if meter.summed] or [0.0]
        if not min(stated) - TOLERANCE <= getattr(energy, name) <= max(stated) + TOLERANCE:
            message = "it is not what the meters of the total state; pack the run again."
            yield Finding(code="claim-error", path=f"{at}.{name}", message=message)


def _check_phases(cell: Cell, energy: Energy, gross_j: float, at: str) -> Iterator[Finding]:
    phases = cell.phases
    parts = [phases.prefill_j, phases.decode_j, phases.other_j]
    for name in ("load_j", "warmup_j", "prefill_j", "decode_j", "other_j"):
        joules = getattr(phases, name)
        if joules is not None and joules < -TOLERANCE * gross_j:
            yield Finding(code="negative", path=f"{at}.{name}", message="energy below 0 is none that a meter tells.")
    told = [part for part in parts if part is not None]
    if told and (len(told) < len(parts) or energy.net_j is None or _differ(sum(told), energy.net_j, gross_j)):
        message = "prefill, decode and other add up to net_j, and with idle_j to gross_j; pack the run again."
        yield Finding(code="sum-phases", path=at, message=message)


def _check_carbon(sent: Submission, energy: Energy, gross_j: float, at: str) -> Iterator[Finding]:
    stated = sent.run.carbon
    expected = gross_j / 3.6e6 * stated.g_per_kwh if stated else None
    if expected is None or energy.carbon_g is None:
        wrong = energy.carbon_g is not expected
    else:
        wrong = _differ(energy.carbon_g, expected, expected)
    if wrong:
        message = "it is not gross_j by the run's carbon intensity; pack the run again."
        yield Finding(code="sum-carbon", path=at, message=message)


def _differ(one: float, other: float, whole: float) -> bool:
    """By more than rounding may; ``whole`` is what both are parts of."""
    return abs(one - other) > TOLERANCE * abs(whole)
