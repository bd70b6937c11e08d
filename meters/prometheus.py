"""Energy and power that a Prometheus server collects: from DCGM's, Kepler's and Scaphandre's exporters, or any query.

``dcgm=prometheus:url=http://192.0.2.5:9090,preset=dcgm`` and, for anything else,
``rack=prometheus:url=...,query=pdu_outlet_watts{outlet="7"},unit=W,scope=wall``.

What a scrape found holds at the scrape's own time, which an instant query does not give (and ``timestamp()`` of a sum
gives the time of the question). So the raw samples of the last while are asked for, ``SELECTOR[30s]``: each comes with
its own time. Sums over series are made here. The server's clock is set against ours as in Cristian's algorithm
(Distributed Computing 3, 1989): the server's ``time()`` was taken at some moment of the question's journey.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast, get_args

from .errors import MeterLost, UsageError
from .http import Answer, Http, Refused
from .polling import NoSample, PolledMeter, Sample
from .remote import parse_login, parse_seconds, parse_share, parse_yes
from .types import GRADES, Domain, Grade, ScopeKind, Unavailable

__all__ = ["PRESETS", "Preset", "prometheus"]

Labels = Mapping[str, str]

_UNITS = {"W": 1.0, "mW": 1e-3, "uW": 1e-6, "J": 1.0, "mJ": 1e-3, "uJ": 1e-6}
_LOOKBACK_S = 300.0
"""For how long Prometheus itself shows the last sample of a series (querying/basics, "Staleness")."""
_MISSED, _GRACE_S = 3.0, 0.5
"""So many scrapes may be missed, and so much later may one come."""
_DRIFT = 2e-4
"""How much two clocks drift apart: 50 ppm of each quartz, and as much again for clocks that are being slewed."""
_CLOCK_STEP_S = 1e-3
"""Prometheus tells times in milliseconds."""
_BLANK = 9.2e18
"""DCGM's way to say that it does not know: 0x7ffffffffffffff0 and a few above it (dcgm_structs.h, DCGM_INT64_BLANK)."""

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

    @property
    def counts(self) -> bool:
        """Whether it is energy rather than power."""
        return self.unit.endswith("J")

    @property
    def selector(self) -> str:
        """In PromQL."""
        return self.metric + (f"{{{self.matchers}}}" if self.matchers else "")


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


def prometheus(
    name: str,
    url: str,
    preset: str = "",
    query: str = "",
    unit: str = "",
    scope: str = "",
    grade: str = "",
    rel_u: str = "",
    instance: str = "",
    gpu: str = "",
    uuid: str = "",
    where: str = "",
    exporter_s: str = "",
    user: str = "",
    password_env: str = "",
    token_env: str = "",
    verify: str = "yes",
    interval_s: str = "1",
    patience_s: str = "180",
    timeout_s: str = "3",
) -> PolledMeter:
    """Figures of a Prometheus server, or of one that answers like it (Thanos, Mimir, VictoriaMetrics).

    Args:
        name: What to call the meter.
        url: The server's address.
        preset: One of `PRESETS`; else ``query``.
        query: A selector, or ``sum(SELECTOR)``; for anything else a recording rule, whose samples have times.
        unit: Of the query's result: W, mW, uW (a power), J, mJ, uJ (a counter).
        scope: What the query covers: wall, platform, package, dram, gpu, soc.
        grade: Of the query: ``counter`` for joules and ``polled`` for watts if left out; ``modelled`` for shares that
            an exporter gives to processes, containers or pods.
        rel_u: Relative standard uncertainty of the figures.
        instance: Narrows a preset to one target (its label ``instance``).
        gpu: Narrows a preset to one GPU by its number.
        uuid: The same by its UUID.
        where: More label matchers for a preset, in PromQL: ``where=pod_name="llm"``.
        exporter_s: How often the exporter renews its own figures.
        user: Login name, where the server asks for one.
        password_env: The environment variable with the password.
        token_env: The environment variable with a bearer token.
        verify: ``no`` where the server has no valid certificate.
        interval_s: How often to ask.
        patience_s: How long there may be nothing new before the meter counts as lost. A counter loses nothing by that.
        timeout_s: For one answer.

    Raises:
        UsageError: An argument makes no sense.
    """
    if bool(preset) == bool(query):
        raise UsageError(f"meter {name!r}: give preset= ({', '.join(PRESETS)}) or query=, one of them")
    wanted = (
        _by_query(query, unit, scope, grade)
        if query
        else _by_preset(preset, {"instance": instance, "gpu": gpu, "UUID": uuid}, where)
    )
    unused = {"unit": unit, "scope": scope, "grade": grade} if preset else {"instance": instance, "gpu": gpu}
    unused |= {} if preset else {"uuid": uuid, "where": where}
    for key, value in unused.items():
        if value:
            raise UsageError(f"meter {name!r}: {key}= does not go with {'preset' if preset else 'query'}=")
    if rel_u:
        wanted = replace(wanted, rel_u_scale=parse_share("rel_u", rel_u), source="the user's rel_u")
    if exporter_s:
        wanted = replace(wanted, exporter_s=parse_seconds("exporter_s", exporter_s))
    login, password = parse_login(user, password_env)
    if token_env and token_env not in os.environ:
        raise UsageError(f"token_env={token_env}: there is no such environment variable; export it first")
    http = Http(
        url,
        timeout_s=parse_seconds("timeout_s", timeout_s),
        user=login,
        password=password,
        token=os.environ[token_env] if token_env else None,
        verify=parse_yes("verify", verify),
    )
    times = parse_seconds("interval_s", interval_s), parse_seconds("patience_s", patience_s)
    return PolledMeter(name, _Server(name, http, wanted, *times))


def _by_preset(preset: str, labels: Labels, where: str) -> Preset:
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


def _by_query(query: str, unit: str, scope: str, grade: str) -> Preset:
    inner = _SUM.fullmatch(query.strip())
    selector = inner[1] if inner else query.strip()
    if not _SELECTOR.fullmatch(selector):
        raise UsageError(
            f'query={query}: it is a selector such as pdu_watts{{outlet="7"}}, or sum(SELECTOR), as other expressions '
            "hide when their samples were taken; make a recording rule of it and name that"
        )
    if unit not in _UNITS:
        raise UsageError(f"unit={unit}: a query needs one of {', '.join(_UNITS)}")
    if scope not in get_args(ScopeKind):
        raise UsageError(f"scope={scope}: a query needs one of {', '.join(get_args(ScopeKind))}")
    if grade and grade not in GRADES:
        raise UsageError(f"grade={grade}: it is one of {', '.join(GRADES)}")
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
    )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class _Unclear(NoSample):
    """The answer does not tell which figure is meant; ``fix`` says what would."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


class _Empty(NoSample):
    """There are no samples."""


@dataclass(frozen=True)
class _Series:
    """Raw samples of one series, the oldest first; times by the server's clock, in seconds."""

    labels: Labels
    times_s: Sequence[float]
    values: Sequence[float]

    @property
    def scraped_s(self) -> float:
        return self.times_s[-1]


@dataclass(frozen=True)
class _Parts:
    """The newest figures by part, in watts or joules, and when they were scraped: from the first to the last."""

    figures: Mapping[str, float]
    kinds: Mapping[str, ScopeKind]
    members: frozenset[tuple[tuple[str, str], ...]]
    first_s: float
    last_s: float


@dataclass(frozen=True)
class _Pace:
    """How often samples come, and how old their figures may be by then, in seconds."""

    scrape_s: float
    update_s: float
    age_s: float


class _Server:
    """The `Source`."""

    def __init__(self, name: str, http: Http, wanted: Preset, interval_s: float, patience_s: float) -> None:
        self.interval_s, self.patience_s = interval_s, patience_s
        self._name, self._http, self._wanted = name, http, wanted
        self._pace: _Pace | None = None
        self._clock = _Clock()
        self._members: frozenset[tuple[tuple[str, str], ...]] | None = None
        self._last: tuple[tuple[float, float], Sample] | None = None

    def describe(self) -> Sequence[Domain] | Unavailable:
        """The parts that the series make up, and how often they are scraped, by the last five minutes' samples."""
        try:
            series = self._series(_LOOKBACK_S)
            pace = self._learn_pace(series)
            parts = self._parts(series, pace)
            if (age_s := self._now() - parts.first_s) > _MISSED * pace.scrape_s + _GRACE_S:
                raise NoSample(f"{self._what} was last scraped {age_s:.0f} s ago, every {pace.scrape_s:g} s before")
            return [self._domain(part, kind, series, pace) for part, kind in parts.kinds.items()]
        except NoSample as problem:
            return Unavailable(reason=str(problem), fix=self._fix(problem))

    def ask(self) -> Sample:
        """The figures of the newest scrape.

        Raises:
            NoSample: There is none that can be placed in time.
            MeterLost: The series have ended, or the server's clock went back.
        """
        try:
            series = self._series(_LOOKBACK_S if self._pace is None else 4 * self._pace.scrape_s + 1)
        except _Empty:
            self._refuse_set_back(self._now())
            raise
        pace = self._pace or self._learn_pace(series)
        parts = self._parts(series, pace)
        now_s = self._now()
        self._refuse_set_back(now_s)
        self._refuse_old(parts, pace, now_s)
        if self._members is not None and parts.members != self._members:
            raise NoSample(f"other series than before make up {self._what}")
        self._members = parts.members
        scrape = (parts.first_s, parts.last_s)
        if self._last is None or self._last[0] != scrape:
            self._last = scrape, self._sample(parts, pace)
        return self._last[1]

    def close(self) -> None:
        """Let go of the connection, and of what was learned about the clock."""
        self._clock, self._members, self._last = _Clock(), None, None
        self._http.close()

    @property
    def _what(self) -> str:
        return f"{self._wanted.selector} at {self._http.base}"

    def _sample(self, parts: _Parts, pace: _Pace) -> Sample:
        at_ns, u_clock_s = self._clock.ours((parts.first_s + parts.last_s) / 2)
        spread_s = parts.last_s - parts.first_s
        figures = {f"{self._name}:{part}": figure for part, figure in parts.figures.items()}
        return Sample(
            moment_ns=at_ns - pace.age_s / 2 * 1e9,
            u_moment_s=math.hypot(u_clock_s, pace.age_s / math.sqrt(12), spread_s / math.sqrt(12)),
            watts={} if self._wanted.counts else figures,
            joules=figures if self._wanted.counts else {},
        )

    def _refuse_set_back(self, now_s: float) -> None:
        """Prometheus takes no sample that is older than what it has."""
        stepped_s = self._clock.stepped_s
        if self._pace and now_s < self._clock.valid_from_s and -stepped_s > _MISSED * self._pace.scrape_s + _GRACE_S:
            raise MeterLost(
                f"the clock of {self._http.base} went back by {-stepped_s:.1f} s, and it takes no new samples before "
                "it has caught up"
            )

    def _refuse_old(self, parts: _Parts, pace: _Pace, now_s: float) -> None:
        """Whether the scrape is recent, by the server's own clock, and from after that clock was last set."""
        if parts.last_s > now_s + _GRACE_S or parts.first_s < self._clock.valid_from_s:
            raise NoSample(f"the clock of {self._http.base} was set {self._clock.stepped_s:+.3f} s; no scrape since")
        if (age_s := now_s - parts.first_s) > _MISSED * pace.scrape_s + _GRACE_S:
            raise MeterLost(
                f"{self._what} was last scraped {age_s:.1f} s ago, every {pace.scrape_s:g} s before: its target is gone"
            )

    def _now(self) -> float:
        """The server's time; sets its clock against ours."""
        answer = self._query("time()", "scalar")
        try:
            now_s = float(answer.content["data"]["result"][0])
        except (LookupError, TypeError, ValueError) as problem:
            raise NoSample(f"{self._http.base} does not tell its time") from problem
        if not math.isfinite(now_s):
            raise NoSample(f"{self._http.base} tells {now_s} as its time")
        self._clock.see(now_s, answer)
        return now_s

    def _series(self, back_s: float) -> list[_Series]:
        answer = self._query(f"{self._wanted.selector}[{math.ceil(back_s)}s]", "matrix")
        result = answer.content["data"]["result"]
        try:
            found = [
                _Series(
                    {str(key): str(value) for key, value in series["metric"].items()},
                    [float(at) for at, _ in series["values"]],
                    [float(value) for _, value in series["values"]],
                )
                for series in result
                if series.get("values")
            ]
        except (LookupError, TypeError, ValueError, AttributeError) as problem:
            raise NoSample(f"{self._http.base} gave samples in no known form") from problem
        if not found:
            raise _Empty(f"there is no {self._what} in the last {math.ceil(back_s)} s")
        return found

    def _query(self, text: str, kind: str) -> Answer:
        answer = self._http.get("/api/v1/query", query=text)
        content = answer.content
        data = content.get("data") if isinstance(content, dict) and content.get("status") == "success" else None
        if not isinstance(data, dict) or data.get("resultType") != kind or not isinstance(data.get("result"), list):
            raise NoSample(f"{self._http.base} does not answer as Prometheus does")
        return answer

    def _learn_pace(self, series: Sequence[_Series]) -> _Pace:
        """From the gaps between scrapes, and for counters between those that found the figure renewed.

        An exporter that renews its figures less often than it is scraped shows old ones; one of a known pace is at
        most that old.
        """
        gaps = [gap for each in series for gap in _gaps(each.times_s)]
        if not gaps:
            raise _Unclear(
                f"{self._what} was scraped once in {_LOOKBACK_S:.0f} s",
                "wait for the next scrapes, or lower scrape_interval in prometheus.yml: 5s or less is good",
            )
        scrape_s = _median(gaps)
        renewals = [gap for each in series for gap in _gaps(_renewed(each))] if self._wanted.counts else []
        update_s = max(scrape_s, _median(renewals)) if renewals else scrape_s
        age_s = min(update_s, self._wanted.exporter_s if self._wanted.exporter_s is not None else math.inf)
        self._pace = _Pace(scrape_s, update_s, age_s)
        return self._pace

    def _parts(self, series: Sequence[_Series], pace: _Pace) -> _Parts:
        """The newest figure of each part. Series that ended are left out: a pod's labels come and go with it."""
        newest_s = max(each.scraped_s for each in series)
        fresh = [each for each in series if each.scraped_s > newest_s - 1.5 * pace.scrape_s]
        self._refuse_unclear(fresh)
        figures: dict[str, float] = {}
        kinds: dict[str, ScopeKind] = {}
        for each in fresh:
            part, kinds[part] = self._wanted.part(each.labels)
            if not (math.isfinite(each.values[-1]) and each.values[-1] >= 0):
                raise NoSample(f"{part} said {each.values[-1]} {self._wanted.unit}, which cannot be")
            if each.values[-1] >= _BLANK:
                raise NoSample(f"{part}: the exporter says that it does not know ({each.values[-1]:g})")
            figures[part] = figures.get(part, 0.0) + each.values[-1] * _UNITS[self._wanted.unit]
        by_labels = frozenset(tuple(sorted(each.labels.items())) for each in fresh)
        members = by_labels if self._wanted.summed else frozenset((("part", part),) for part in figures)
        return _Parts(figures, kinds, members, min(each.scraped_s for each in fresh), newest_s)

    def _refuse_unclear(self, fresh: Sequence[_Series]) -> None:
        """Figures of several machines, or several of one part that are not to be summed."""
        if any("GPU_I_ID" in each.labels for each in fresh):
            raise _Unclear(
                "a GPU there is split by MIG, and a slice has no energy counter of its own",
                "measure on a whole GPU, and name it with gpu=NUMBER",
            )
        instances = sorted({each.labels.get("instance", "") for each in fresh})
        if len(instances) > 1 and self._wanted.one_machine:
            raise _Unclear(
                f"{self._what} has several machines: {', '.join(instances)[:200]}",
                f'name this machine\'s: instance={instances[0]} with a preset, instance="{instances[0]}" in a query',
            )
        parts = [self._wanted.part(each.labels)[0] for each in fresh]
        if not self._wanted.summed and len(set(parts)) < len(parts):
            raise _Unclear(
                f"{self._what} has {len(fresh)} series, and nothing says which is meant",
                'narrow it to one (where=LABEL="VALUE" with a preset), or write query=sum(SELECTOR) for all together',
            )

    def _domain(self, part: str, kind: ScopeKind, series: Sequence[_Series], pace: _Pace) -> Domain:
        labels = next(each.labels for each in series if self._wanted.part(each.labels)[0] == part)
        known = ("instance", "Hostname", "node_name", "modelName", "UUID", "pod_name", "container_name", "comm", "exe")
        told = ", ".join(f"{key}={labels[key]}" for key in known if key in labels)
        return Domain(
            id=f"{self._name}:{part}",
            kind=kind,
            grade=self._wanted.grade,
            resolution_j=_UNITS[self._wanted.unit] if self._wanted.unit in ("mJ", "uJ") else None,
            update_s=pace.update_s,
            range_j=None,
            rel_u_scale=self._wanted.rel_u_scale,
            rel_u_workload=self._wanted.rel_u_workload,
            source=self._wanted.source,
            provenance=f"{self._what} ({told}), scraped every {pace.scrape_s:g} s, figures up to {pace.age_s:g} s old",
        )

    def _fix(self, problem: NoSample) -> str:
        if isinstance(problem, _Unclear):
            return problem.fix
        if isinstance(problem, Refused) and problem.status in (401, 403):
            return "give the login as user=NAME,password_env=VARIABLE or as token_env=VARIABLE, exported before"
        return (
            f"see whether {self._http.base}/targets shows the exporter as up, and what its graph page finds for "
            f"{self._wanted.selector}"
        )


class _Clock:
    """A server's clock against ours: the difference, and by how much it may be wrong.

    Each question bounds the difference to half its journey either way. The tightest bound is kept, and widened with
    time; one that contradicts it means that the server's clock was set. Then the difference is taken anew, and
    samples count from `valid_from_s` on: the clock's time at that moment, or, where it went back, the time that it
    had shown before.
    """

    def __init__(self) -> None:
        self.stepped_s = 0.0
        self.valid_from_s = -math.inf
        self._offset_s = self._half_s = self._seen_s = 0.0

    def see(self, server_s: float, answer: Answer) -> None:
        """Take the server's time in an answer."""
        ours_s = answer.moment_ns / 1e9
        offset_s = ours_s - server_s
        half_s = (answer.t1_ns - answer.t0_ns) / 2e9 + _CLOCK_STEP_S
        if self._seen_s:
            bound_s = self._half_s + _DRIFT * (ours_s - self._seen_s)
            step_s = self._offset_s - offset_s
            if abs(step_s) > bound_s + half_s:
                self.stepped_s, self.valid_from_s = step_s, server_s + max(0.0, -step_s)
            elif half_s > bound_s:
                return
        self._offset_s, self._half_s, self._seen_s = offset_s, half_s, ours_s

    def ours(self, server_s: float) -> tuple[float, float]:
        """A time of the server's by our monotonic clock in nanoseconds, and its standard uncertainty in seconds."""
        bound_s = self._half_s + _DRIFT * (time.monotonic() - self._seen_s)
        return (server_s + self._offset_s) * 1e9, bound_s / math.sqrt(3)


def _gaps(times_s: Sequence[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times_s) if after > before]


def _renewed(series: _Series) -> list[float]:
    """Times of the samples that differ from the one before."""
    pairs = zip(itertools.pairwise(series.values), series.times_s[1:], strict=True)
    return [at for (before, after), at in pairs if before != after]


def _median(numbers: Sequence[float]) -> float:
    """To milliseconds, in which Prometheus tells times."""
    return max(round(sorted(numbers)[len(numbers) // 2], 3), _CLOCK_STEP_S)
