"""Claims: a meter's grade and error are those of its kind, and the machine is one that it works on."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from joulemark.harness.record import Machine, MeterInfo
from joulemark.meters.battery import REL_U_SCALE, REL_U_WORKLOAD
from joulemark.meters.cpumodel import DEFAULT_TDP_W, U_TOTAL_DEFAULT, U_TOTAL_KNOWN, U_WORKLOAD
from joulemark.meters.naming import KINDS, meter_name
from joulemark.meters.nvml import REL_U as REL_U_NVML
from joulemark.meters.rapl import REL_U_DRAM, REL_U_PACKAGE
from joulemark.meters.types import GRADES

from .auditpower import watts_a_thread
from .findings import Finding
from .submission import Submission

__all__ = ["by_word_alone", "check_machine", "check_meters"]


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What meters of one kind may say of themselves.

    Attributes:
        grades: How its joules may be obtained.
        scopes: What its domains may cover; empty for anything.
        errors: Its ``rel_u`` (k=1); empty where its user may state it.
    """

    grades: frozenset[str]
    scopes: frozenset[str] = frozenset()
    errors: tuple[float, ...] = ()


_COUNTER, _POLLED = frozenset({"counter"}), frozenset({"polled"})
_RAPL = _Kind(grades=_COUNTER, scopes=frozenset({"package", "dram", "platform"}), errors=(REL_U_PACKAGE, REL_U_DRAM))
_KINDS = {
    "rapl": _RAPL,
    "perf": _RAPL,
    "nvml": _Kind(grades=_COUNTER, scopes=frozenset({"gpu"}), errors=(REL_U_NVML,)),
    "nvml-power": _Kind(grades=_POLLED, scopes=frozenset({"gpu"}), errors=(REL_U_NVML,)),
    "battery": _Kind(
        grades=_POLLED, scopes=frozenset({"platform", "wall"}), errors=(math.hypot(REL_U_SCALE, REL_U_WORKLOAD),)
    ),
    "zeus": _Kind(grades=frozenset({"counter", "polled", "modelled"})),
    "modelled": _Kind(
        grades=frozenset({"modelled"}), scopes=frozenset({"package"}), errors=(U_TOTAL_KNOWN, U_TOTAL_DEFAULT)
    ),
    "shelly": _Kind(grades=frozenset({"wall"}), scopes=frozenset({"wall"})),
    "tasmota": _Kind(grades=frozenset({"wall"}), scopes=frozenset({"wall"})),
    "redfish": _Kind(grades=_POLLED),
    "prometheus": _Kind(grades=frozenset({"wall", "counter", "polled", "modelled"})),
    "replay": _Kind(grades=frozenset({"wall", "counter", "polled", "modelled"})),
}
_ANY = _Kind(grades=frozenset(GRADES))
_BY_WORD = {"replay", "prometheus"}
"""Kinds of ours whose user says what was measured, and how."""
_DEFAULT = f"TDP per hardware thread {DEFAULT_TDP_W:.3g} W ({DEFAULT_TDP_W:g} W default, "


def check_meters(sent: Submission) -> Iterator[Finding]:
    """Each meter is one that the plan names or leaves open, and says of itself what its kind does."""
    if not any(meter.summed for meter in sent.run.meters):
        yield Finding(code="claim-meter", path="run.meters", message="no meter belongs to the total; measure again.")
    planned = sent.run.plan.get("meters")
    asked = {meter_name(text) for text in planned if isinstance(text, str)} if isinstance(planned, list) else None
    for number, meter in enumerate(sent.run.meters):
        at, name, kind = f"run.meters[{number}]", meter_name(meter.id), _kind_of(sent, meter)
        if sent.run.remetered_from is None and (name in KINDS or (asked is not None and name not in asked)):
            message = f"the plan names no meter {name}; pack the run as it was measured."
            yield Finding(code="claim-meter", path=f"{at}.id", message=message)
            continue
        yield from _check_kind(meter, _KINDS.get(kind, _ANY), at)
        yield from _check_hardware(meter, sent.run.machine, at)


def by_word_alone(sent: Submission) -> list[str]:
    """Ids of the meters whose grade and error nobody here can compare with anything.

    They come from a plugin, or their user said what they measure; see docs/leaderboard.md.
    """
    kinds = {meter.id: _kind_of(sent, meter) for meter in sent.run.meters}
    return [name for name, kind in kinds.items() if kind not in _KINDS or kind in _BY_WORD]


def _kind_of(sent: Submission, meter: MeterInfo) -> str:
    """The kind of a meter, by its plan's ``NAME=KIND:...`` or its own name; that of a recorded trace is ``replay``."""
    if sent.run.remetered_from is not None:
        return "replay"
    name = meter_name(meter.id)
    return _named(sent.run.plan.get("meters")).get(name, name)


def _named(meters: object) -> dict[str, str]:
    """Kinds by the names that the plan's ``NAME=KIND:...`` give them."""
    texts = [text for text in meters if isinstance(text, str)] if isinstance(meters, list | tuple) else []
    found = (re.match(r"([A-Za-z][\w.-]*)=([\w-]+)", text) for text in texts)
    return {match[1]: match[2] for match in found if match}


def _errors_of(meter: MeterInfo) -> tuple[float, float, float]:
    """Its whole error, scale and workload; a submission's are all told (`submission`)."""
    return meter.rel_u or 0.0, meter.rel_u_scale or 0.0, meter.rel_u_workload or 0.0


def _check_kind(meter: MeterInfo, kind: _Kind, at: str) -> Iterator[Finding]:
    if meter.grade not in kind.grades or (kind.scopes and meter.scope not in kind.scopes):
        message = f"such a meter gives no {meter.grade} joules of the {meter.scope}; pack the run as it was measured."
        yield Finding(code="claim-grade", path=f"{at}.grade", message=message)
    whole, *parts = _errors_of(meter)
    if min(whole, *parts) < 0 or abs(whole - math.hypot(*parts)) > 1e-6:
        message = "the parts of its error do not make the whole; pack the run again."
        yield Finding(code="claim-error", path=f"{at}.rel_u", message=message)
    elif kind.errors and all(abs(whole - error) > 1e-6 for error in kind.errors):
        message = f"such a meter states {' or '.join(f'{error:.3g}' for error in kind.errors)}; pack the run again."
        yield Finding(code="claim-error", path=f"{at}.rel_u", message=message)


def _check_hardware(meter: MeterInfo, machine: Machine, at: str) -> Iterator[Finding]:
    name = meter_name(meter.id)
    if name in ("rapl", "perf") and (machine.virtualised or not machine.os.startswith("Linux")):
        message = "a virtual machine, or another system than Linux, shows no such counter; measure on the host."
        yield Finding(code="claim-counter", path=f"{at}.id", message=message)
    if name in ("nvml", "nvml-power") and not any(
        gpu.uuid and f"{gpu.name} {gpu.uuid}" == meter.provenance for gpu in machine.accelerators
    ):
        message = "the machine has no such GPU among its accelerators; pack the run as it was measured."
        yield Finding(code="claim-accelerator", path=f"{at}.provenance", message=message)
    if (watts := watts_a_thread(meter)) is not None:
        yield from _check_modelled(meter, machine, watts, at)


def _check_modelled(meter: MeterInfo, machine: Machine, watts: float, at: str) -> Iterator[Finding]:
    """Our own CPU model says which CPU it took the watts of."""
    by_default = meter.source.startswith(_DEFAULT)
    is_named = machine.cpu_model in meter.source or "unknown CPU" in meter.source
    if watts <= 0 or not is_named or (machine.virtualised and not by_default):
        message = f"its watts are not those of {machine.cpu_model or 'this CPU'}; pack the run as it was measured."
        yield Finding(code="claim-machine", path=f"{at}.source", message=message)
    expected = U_TOTAL_DEFAULT if by_default else U_TOTAL_KNOWN
    whole, _, workload = _errors_of(meter)
    if abs(whole - expected) > 1e-6 or abs(workload - U_WORKLOAD) > 1e-6:
        message = f"for such watts it states {expected:g}; pack the run again."
        yield Finding(code="claim-error", path=f"{at}.rel_u", message=message)


def check_machine(sent: Submission) -> Iterator[Finding]:
    """The machine's id is made of what it is, so that another name gives another id."""
    machine = sent.run.machine
    parts = ("joulemark", "machine", machine.hostname_hash, machine.cpu_model)
    digest = hashlib.sha256("\0".join((*parts, str(machine.cpu_count), str(machine.memory_gb))).encode())
    if machine.machine_id != digest.hexdigest()[:12]:
        message = "it is not the id of such a machine; pack the run as it was measured."
        yield Finding(code="claim-machine", path="run.machine.machine_id", message=message)
    if not 1 <= (machine.cpu_count or 0) <= 100_000 or not 0 < (machine.memory_gb or 0.0) <= 1e6:
        yield Finding(code="claim-machine", path="run.machine", message="no machine has such threads or memory.")
