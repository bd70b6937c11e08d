"""What a Prometheus server is asked for: presets for known exporters, and queries of the user's own.

A query is a selector or the sum of one, which is added up here: other expressions hide when their samples were taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast, get_args

from .errors import UsageError
from .types import GRADES, Grade, ScopeKind

__all__ = ["PRESETS", "UNITS", "Labels", "Preset", "find_preset", "parse_query"]

Labels = Mapping[str, str]

UNITS = {"W": 1.0, "mW": 1e-3, "uW": 1e-6, "J": 1.0, "mJ": 1e-3, "uJ": 1e-6}
"""Watts or joules of one unit."""

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_MATCHERS = r'\{(?:[^{}"]|"(?:[^"\\]|\\.)*")*\}'
_SELECTOR = re.compile(rf"{_NAME}\s*(?:{_MATCHERS})?|{_MATCHERS}")
_SUM = re.compile(r"sum\s*\(\s*(.*\S)\s*\)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What to ask for, and what the answer is worth.

    Attributes:
        metric: The series' name; empty where ``matchers`` have it.
        matchers: What the labels must be, in PromQL.
        unit: One of W, mW, uW, J, mJ, uJ.
        grade: How the joules are obtained.
        rel_u_scale: As in `Domain`.
        rel_u_workload: As in `Domain`.
        source: Where these come from.
        exporter_s: How often the exporter renews its own figures; None where that is not known.
        part: Names the part (and says its kind) that a series belongs to.
        summed: Whether several series of one part are added up; else there may be only one.
        one_machine: Whether they must come from one target.
        asked: The query as a user wrote it; empty for a preset.
    """

    metric: str
    matchers: str = ""
    unit: str
    grade: Grade
    rel_u_scale: float
    rel_u_workload: float = 0.0
    source: str
    exporter_s: float | None
    part: Callable[[Labels], tuple[str, ScopeKind]]
    summed: bool = False
    one_machine: bool = True
    asked: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is energy rather than power."""
        return self.unit.endswith("J")

    @property
    def selector(self) -> str:
        """In PromQL."""
        return self.metric + (f"{{{self.matchers}}}" if self.matchers else "")

    @property
    def query(self) -> str:
        """What is told of it: the user's query, or the selector."""
        return self.asked or self.selector


def find_preset(preset: str, labels: Labels, where: str) -> Preset:
    """One of `PRESETS`, narrowed.

    Args:
        preset: Its name.
        labels: What labels must be; empty for any.
        where: More label matchers, in PromQL.

    Raises:
        UsageError: There is none of that name, or it cannot be narrowed so.
    """
    if preset not in PRESETS:
        raise UsageError(f"preset={preset}: there are {', '.join(PRESETS)}")
    found = PRESETS[preset]
    if (labels["gpu"] or labels["UUID"]) and preset != "dcgm":
        raise UsageError(f"gpu= and uuid= go with preset=dcgm, not with {preset}")
    matchers = [f'{key}="{_escaped(value)}"' for key, value in labels.items() if value]
    joined = ",".join(part for part in (found.matchers, *matchers, where) if part)
    if joined and not re.fullmatch(_MATCHERS, f"{{{joined}}}"):
        raise UsageError(f'where={where}: it holds label matchers, such as where=pod_name="llm"')
    return replace(found, matchers=joined)


def parse_query(query: str, unit: str, scope: str, grade: str) -> Preset:
    """What a user asks for by a query, as if it were a preset.

    Args:
        query: A selector, or ``sum(SELECTOR)``.
        unit: Of its result.
        scope: What it covers.
        grade: How its joules are obtained; empty for ``counter`` or ``polled``, by the unit.

    Raises:
        UsageError: It is another expression, or one of the others is unknown.
    """
    inner = _SUM.fullmatch(query.strip())
    selector = inner[1] if inner else query.strip()
    if not _SELECTOR.fullmatch(selector):
        raise UsageError(
            f'query={query}: it is a selector such as pdu_watts{{outlet="7"}}, or sum(SELECTOR), as other expressions '
            "hide when their samples were taken; make a recording rule of it and name that"
        )
    if unit not in UNITS:
        raise UsageError(f"unit={unit}: a query needs one of {', '.join(UNITS)}")
    if scope not in get_args(ScopeKind):
        raise UsageError(f"scope={scope}: a query needs one of {', '.join(get_args(ScopeKind))}")
    if grade and grade not in GRADES:
        raise UsageError(f"grade={grade}: it is one of {', '.join(GRADES)}")
    if grade == "counter" and not unit.endswith("J"):
        raise UsageError(f"grade=counter: unit={unit} is a power, and a counter is of joules")
    metric, brace, matchers = selector.partition("{")
    kind = cast("ScopeKind", scope)
    obtained: Grade = grade or ("counter" if unit.endswith("J") else "polled")

    def part(labels: Labels) -> tuple[str, ScopeKind]:
        return (f"gpu-{labels['gpu']}" if "gpu" in labels and not inner else kind), kind

    return Preset(
        metric=metric.strip(),
        matchers=matchers.rstrip()[:-1] if brace else "",
        unit=unit,
        grade=obtained,
        rel_u_scale=0.1,
        rel_u_workload=0.4 if obtained == "modelled" else 0.0,
        source=_SHARED.format("the exporter")
        if obtained == "modelled"
        else "assumed 10 %, since nothing is known of it",
        exporter_s=None,
        part=part,
        summed=inner is not None,
        one_machine=inner is None,
        asked=query.strip(),
    )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _gpu(labels: Labels) -> tuple[str, ScopeKind]:
    return f"gpu-{labels.get('gpu', '?')}", "gpu"


def _zone(labels: Labels) -> tuple[str, ScopeKind]:
    return ("dram", "dram") if labels.get("zone") == "dram" else ("package", "package")


def _socket(labels: Labels) -> tuple[str, ScopeKind]:
    kind: ScopeKind = "dram" if "domain_name" in labels else "package"
    return f"{kind}-{labels.get('socket_id', '?')}", kind


def _share(_: Labels) -> tuple[str, ScopeKind]:
    return "share", "package"


_RAPL = (
    "as for RAPL, which {} reads: assumed 3 %, as no maker states a calibration (Khan et al., ACM ToMPECS 3(2), 2018)"
)
_SHARED = (
    "not measured: {} shares out a counter by CPU time; such shares err by up to 40 % between kinds of code "
    "(arXiv 2509.22092)"
)


def _kepler_share(level: str) -> Preset:
    """A share of the package's joules by Kepler (docs/user/metrics.md)."""
    return Preset(
        metric=f"kepler_{level}_cpu_joules_total",
        matchers='zone="package"',
        unit="J",
        grade="modelled",
        rel_u_scale=0.03,
        rel_u_workload=0.4,
        source=_SHARED.format("Kepler"),
        exporter_s=5.0,
        part=_share,
    )


PRESETS: dict[str, Preset] = {
    "dcgm": Preset(
        metric="DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        unit="mJ",
        grade="counter",
        rel_u_scale=0.05,
        source="NVIDIA, NVML API reference: power within +-5 % (nvmlDeviceGetPowerUsage), whose counter DCGM reads",
        exporter_s=30.0,
        part=_gpu,
    ),
    "kepler": Preset(
        metric="kepler_node_cpu_joules_total",
        matchers='zone=~"package|dram"',
        unit="J",
        grade="counter",
        rel_u_scale=0.03,
        source=_RAPL.format("Kepler"),
        exporter_s=5.0,
        part=_zone,
        summed=True,
    ),
    "kepler-pod": _kepler_share("pod"),
    "kepler-container": _kepler_share("container"),
    "kepler-process": _kepler_share("process"),
    "scaphandre": Preset(
        metric="",
        matchers='__name__=~"scaph_socket_energy_microjoules|scaph_domain_energy_microjoules",domain_name=~"|dram"',
        unit="uJ",
        grade="counter",
        rel_u_scale=0.03,
        source=_RAPL.format("Scaphandre"),
        exporter_s=2.0,
        part=_socket,
    ),
    "scaphandre-process": Preset(
        metric="scaph_process_power_consumption_microwatts",
        unit="uW",
        grade="modelled",
        rel_u_scale=0.03,
        rel_u_workload=0.4,
        source=_SHARED.format("Scaphandre"),
        exporter_s=2.0,
        part=_share,
    ),
}
"""By name. Renewals: dcgm-exporter collects every 30,000 ms unless told otherwise (``-c``), Kepler every 5 s
(``monitor.interval``), Scaphandre at a scrape if 2 s have passed."""
