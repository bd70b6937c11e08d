"""The tables' figures as OpenMetrics 1.0 text, for Prometheus and whatever else reads that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from joulemark.harness.store import Run

from ..rows import Row
from ..wording import safe
from .told import Told, all_told

__all__ = ["as_openmetrics"]


@dataclass(frozen=True)
class _Gauge:
    """One figure of a row.

    Attributes:
        field: Its name in a row.
        name: Of the metric, without ``joulemark_``; it ends in the unit.
        unit: As OpenMetrics has it; empty for a count.
        told: What it is.
        has_interval: Whether the row has its 95 % interval, too.
    """

    field: str
    name: str
    unit: str
    told: str
    has_interval: bool = False


_PER_1K = "for 1,000 answers"
_HELD = ", the meter's error included"
_GAUGES = (
    _Gauge("quality", "quality_points", "points", "Quality: 0 is guessing, 100 is perfect.", True),
    _Gauge("accuracy", "accuracy_ratio", "ratio", "Share of right answers, as lm-eval scores it."),
    _Gauge("energy_wh_per_1k", "energy_per_1k_watthours", "watthours", f"Gross energy {_PER_1K}.", True),
    _Gauge("net_energy_wh_per_1k", "net_energy_per_1k_watthours", "watthours", f"Energy above idle {_PER_1K}."),
    _Gauge("rel_u", "energy_relative_uncertainty_ratio", "ratio", "Error of the meter, one standard deviation."),
    _Gauge(
        "correct_per_wh",
        "correct_answers_per_watthour",
        "per_watthour",
        "Right answers beyond those of a guesser for a watt-hour.",
        True,
    ),
    _Gauge("carbon_g_per_1k", "carbon_per_1k_grams", "grams", f"CO2 equivalent {_PER_1K}: energy times what was told."),
    _Gauge("latency_s_p50", "latency_p50_seconds", "seconds", "Time of the middle request."),
    _Gauge("latency_s_p95", "latency_p95_seconds", "seconds", "Time that one request in twenty exceeds."),
    _Gauge("ttft_s_p50", "time_to_first_token_p50_seconds", "seconds", "Time to the middle request's first token."),
    _Gauge("tokens_per_item", "tokens_per_question", "", "Tokens of prompt and answer."),
    _Gauge("generated_per_item", "generated_tokens_per_question", "", "Tokens of the answer."),
    _Gauge("truncated", "truncated_answers_ratio", "ratio", "Share of answers that the cap on tokens cut off."),
    _Gauge("items", "questions", "", "Questions asked."),
    _Gauge("repeats", "repeats", "", "Times that all questions were measured."),
)


def as_openmetrics(run: Run, entrant: str | None = None) -> bytes:
    """A sample for each figure of each entrant, by task and over ``all``; a missing one has none.

    Raises:
        Incomparable: The run has no finished cell.
        UsageError: There is no such entrant, or the run's items cannot be read.
    """
    rows = [(told, task, view.rows[0]) for told in all_told(run, entrant) for task, view in told.views.items()]
    labelled = [(_labels(told, task, row), row) for told, task, row in rows]
    lines = [line for gauge in _GAUGES for line in _families(gauge, labelled)]
    return "\n".join([*lines, *_flags(labelled), *_run_info(run), "# EOF", ""]).encode()


def _labels(told: Told, task: str, row: Row) -> dict[str, str]:
    known = {
        "model": told.label,
        "task": task,
        "grade": row.grade,
        "scope": row.scope,
        "machine_id": row.machine_id,
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def _families(gauge: _Gauge, rows: Sequence[tuple[dict[str, str], Row]]) -> Iterator[str]:
    """A metric of the figure, and one for each end of its interval."""
    yield from _family(gauge.name, gauge.unit, gauge.told, _samples(gauge.field, rows))
    for end, which in (("low", "Lower"), ("high", "Upper")) if gauge.has_interval else ():
        stem = gauge.name.removesuffix(f"_{gauge.unit}")
        told = f"{which} end of the 95 % interval{_HELD * ('watthour' in gauge.unit)}. {gauge.told}"
        yield from _family(f"{stem}_{end}_{gauge.unit}", gauge.unit, told, _samples(f"{gauge.field}_{end}", rows))


def _samples(field: str, rows: Sequence[tuple[dict[str, str], Row]]) -> list[tuple[dict[str, str], float]]:
    return [(labels, value) for labels, row in rows if (value := _figure(row, field)) is not None]


def _figure(row: Row, field: str) -> float | None:
    """A figure of a row; how often all questions were asked nobody knows who does not know how many they are."""
    value: float | None = None if field == "repeats" and row.items is None else getattr(row, field)
    return value


def _family(
    name: str, unit: str, told: str, samples: Sequence[tuple[Mapping[str, str], float]], kind: str = "gauge"
) -> Iterator[str]:
    """A metric's lines; none where it has no sample."""
    if not samples:
        return
    name = f"joulemark_{name}"
    yield f"# TYPE {name} {kind}"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {_escaped(told)}"
    for labels, value in samples:
        inner = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{'_info' if kind == 'info' else ''}{f'{{{inner}}}' if inner else ''} {value!r}"


def _flags(rows: Sequence[tuple[dict[str, str], Row]]) -> Iterator[str]:
    """What a reader must know of the figures."""
    raised = [(labels | {"flag": flag}, 1) for labels, row in rows for flag in row.flags]
    return _family("flag", "", "What a reader must know of the figures with these labels.", raised)


def _run_info(run: Run) -> Iterator[str]:
    header = run.header
    known = {"run_id": header.run_id, "version": header.joulemark_version}
    yield from _family("run", "", "The run that the figures are of.", [(known, 1)], "info")
    machines = {machine.machine_id: machine for machine in (header.machine, *(s.machine for s in header.stations))}
    told = [({"machine_id": name, "cpu_model": own.cpu_model, "os": own.os}, 1) for name, own in machines.items()]
    yield from _family("machine", "", "Where it was measured.", told, "info")
    if header.created_at is None:
        return
    try:
        began = datetime.fromisoformat(header.created_at).timestamp()
    except (ValueError, OverflowError):
        return
    yield from _family("run_created_timestamp_seconds", "seconds", "When the run began.", [({}, began)])


def _escaped(text: str) -> str:
    """Text between quotes; what could steer a terminal is no part of it."""
    return safe(text).replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
