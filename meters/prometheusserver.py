"""A Prometheus server, asked for raw samples, and its clock, set against ours.

What a scrape found holds at the scrape's own time, which an instant query does not give (and ``timestamp()`` of a sum
gives the time of the question). So the raw samples of the last while are asked for, ``SELECTOR[30s]``: each comes with
its own time. Sums over series are made here. The server's clock is set against ours as in Cristian's algorithm
(Distributed Computing 3, 1989): the server's ``time()`` was taken at some moment of the question's journey.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import MeterLost
from .http import Answer, Garbled, Http, Refused, Silent
from .polling import NoSample, Sample
from .prometheusqueries import UNITS, Labels, Preset
from .remote import is_login_refused
from .types import Domain, ScopeKind, Unavailable

__all__ = ["Server"]

_SLOWER = 1.5
"""So many times as long as scrapes are apart must renewals be, to be an exporter's own pace."""
_LOOKBACK_S = 300.0
"""For how long Prometheus itself shows the last sample of a series (querying/basics, "Staleness")."""
_MISSED, _GRACE_S = 3.0, 0.5
"""So many scrapes may be missed, and so much later may one come."""
_DRIFT = 2e-4
"""How much two clocks drift apart: 50 ppm of each quartz, and as much again for clocks that are being slewed."""
_CLOCK_STEP_S = 1e-3
"""Prometheus tells times in milliseconds."""
_TELLING = ("instance", "Hostname", "node_name", "modelName", "UUID", "pod_name", "container_name", "comm", "exe")
"""Labels that tell where a series is from."""
_NAMED = 3
"""So many targets of a sum are named, and more are counted."""
_NO_QUERY = {400, 422}
"""How Prometheus answers a query that it does not understand, or cannot answer (its HTTP API, "Format overview")."""
_BLANK = 9.2e18
"""DCGM's way to say that it does not know: 0x7ffffffffffffff0 and a few above it (dcgm_structs.h, DCGM_INT64_BLANK)."""


class Server:
    """A `polling.Source` of what was asked for."""

    def __init__(self, name: str, http: Http, wanted: Preset, interval_s: float, patience_s: float) -> None:
        """Prepare; nothing is asked yet.

        Args:
            name: The meter's.
            http: The server.
            wanted: What to ask it for.
            interval_s: How often.
            patience_s: How long there may be nothing new.
        """
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
            self._refuse_old(parts, pace, self._now())
            return [self._domain(part, kind, parts, pace) for part, kind in parts.kinds.items()]
        except NoSample as problem:
            return Unavailable(reason=str(problem), fix=self._fix(problem))

    def ask(self) -> Sample:
        """The figures of the newest scrape.

        Raises:
            NoSample: There is none that can be placed in time.
            MeterLost: Powers were missing for so long that what was drawn meanwhile is not known.
        """
        series = self._series(_LOOKBACK_S if self._pace is None else 4 * self._pace.scrape_s + 1)
        pace = self._pace or self._learn_pace(series)
        parts = self._parts(series, pace)
        self._refuse_old(parts, pace, self._now())
        if self._members is not None and parts.members != self._members:
            raise NoSample(f"other series than before make up {self._what}")
        self._members = parts.members
        scrape = (parts.first_s, parts.last_s)
        if self._last is None or self._last[0] != scrape:
            sample = self._sample(parts, pace)
            self._refuse_gap(sample, pace)
            self._last = scrape, sample
        return self._last[1]

    def close(self) -> None:
        """Let go of the connection, and of what was learned about the clock."""
        self._clock, self._members, self._last = _Clock(), None, None
        self._http.close()

    @property
    def _what(self) -> str:
        return f"{self._wanted.query} at {self._http.base}"

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

    def _refuse_gap(self, sample: Sample, pace: _Pace) -> None:
        """Whether powers are too far from the ones before; a counter loses nothing by that."""
        if self._wanted.counts or self._last is None:
            return
        gap_s = (sample.moment_ns - self._last[1].moment_ns) / 1e9
        if gap_s > _MISSED * pace.scrape_s + _GRACE_S:
            raise MeterLost(f"{self._what} told nothing for {gap_s:.1f} s, and what was drawn meanwhile is not known")

    def _refuse_old(self, parts: _Parts, pace: _Pace, now_s: float) -> None:
        """Whether the scrape is recent, by the server's own clock, and from after that clock was last set."""
        if parts.last_s > now_s + _GRACE_S or parts.first_s < self._clock.valid_from_s:
            raise NoSample(f"the clock of {self._http.base} was set {self._clock.stepped_s:+.3f} s; no scrape since")
        if (age_s := now_s - parts.first_s) > _MISSED * pace.scrape_s + _GRACE_S:
            raise NoSample(
                f"{self._what} was last scraped {age_s:.1f} s ago, every {pace.scrape_s:g} s before: its target is gone"
            )

    def _now(self) -> float:
        """The server's time; sets its clock against ours."""
        answer = self._query("time()", "scalar", "vector")
        result = answer.content["data"]["result"]
        try:
            # VictoriaMetrics has no scalars, and gives a series without labels instead.
            now_s = float(result[0]["value"][0] if isinstance(result[0], dict) else result[0])
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
            self._now()
            set_s = self._clock.stepped_s
            why = f": its clock was set {set_s:+.1f} s" if set_s else ""
            raise NoSample(f"there is no {self._what} in the last {math.ceil(back_s)} s{why}")
        return found

    def _query(self, text: str, *kinds: str) -> Answer:
        answer = self._http.get("/api/v1/query", query=text)
        content = answer.content
        data = content.get("data") if isinstance(content, dict) and content.get("status") == "success" else None
        if (
            not isinstance(data, dict)
            or data.get("resultType") not in kinds
            or not isinstance(data.get("result"), list)
        ):
            raise Garbled(f"{self._http.base} does not answer as Prometheus does")
        return answer

    def _learn_pace(self, series: Sequence[_Series]) -> _Pace:
        """From the gaps between scrapes, of the slowest target, and between those that found the figure renewed."""
        gaps = [_median(found) for each in series if (found := _gaps(each.times_s))]
        if not gaps:
            raise _Unclear(
                f"{self._what} was scraped once in {_LOOKBACK_S:.0f} s",
                "wait for the next scrapes, or lower scrape_interval in prometheus.yml: 5s or less is good",
            )
        scrape_s, told_s = max(gaps), self._wanted.exporter_s
        seen_s = self._seen_renewed_s(series)
        if seen_s is None:
            age_s = told_s or scrape_s
        elif seen_s > _SLOWER * scrape_s:
            age_s = seen_s
        else:
            age_s = min(scrape_s, told_s or scrape_s)
        self._pace = _Pace(scrape_s, max(scrape_s, age_s), age_s)
        return self._pace

    def _seen_renewed_s(self, series: Sequence[_Series]) -> float | None:
        """How often scrapes found a figure renewed; None where fewer than two did.

        The median of a counter, which always moves. The least of a power and of what is shared out, which may well stay
        the same for a while.
        """
        gaps = [gap for each in series for gap in _gaps(_renewed(each))]
        if not gaps:
            return None
        return _median(gaps) if self._wanted.grade == "counter" else min(gaps)

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
            figures[part] = figures.get(part, 0.0) + each.values[-1] * UNITS[self._wanted.unit]
        by_labels = frozenset(tuple(sorted(each.labels.items())) for each in fresh)
        members = by_labels if self._wanted.summed else frozenset((("part", part),) for part in figures)
        labels = [each.labels for each in fresh]
        return _Parts(figures, kinds, members, labels, min(each.scraped_s for each in fresh), newest_s)

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

    def _domain(self, part: str, kind: ScopeKind, parts: _Parts, pace: _Pace) -> Domain:
        labels = [each for each in parts.labels if self._wanted.part(each)[0] == part]
        told = ", ".join(_members(labels) if self._wanted.summed else _shared(labels))
        return Domain(
            id=f"{self._name}:{part}",
            kind=kind,
            grade=self._wanted.grade,
            resolution_j=UNITS[self._wanted.unit] if self._wanted.unit in ("mJ", "uJ") else None,
            update_s=pace.update_s,
            range_j=None,
            rel_u_scale=self._wanted.rel_u_scale,
            rel_u_workload=self._wanted.rel_u_workload,
            source=f"{self._wanted.source}; scraped every {pace.scrape_s:g} s, figures up to {pace.age_s:g} s old",
            # Nothing that was measured: a run goes on only where this is the same.
            provenance=f"{self._what}{f' ({told})' if told else ''}",
        )

    def _fix(self, problem: NoSample) -> str:
        if isinstance(problem, _Unclear):
            return problem.fix
        if is_login_refused(problem):
            return "give the login as user=NAME,password_env=VARIABLE or as token_env=VARIABLE, exported before"
        unasked = isinstance(problem, Refused) and problem.status in _NO_QUERY
        if isinstance(problem, Silent | Garbled | Refused) and not unasked:
            return self._http.advise(problem, "Prometheus server", "/-/healthy")
        return (
            f"see whether {self._http.base}/targets shows the exporter as up, and what its graph page finds for "
            f"{self._wanted.selector}"
        )


def _members(labels: Sequence[Labels]) -> list[str]:
    """What is added up: how many series of which targets, and what all of them share."""
    targets = sorted({each.get("instance", "") for each in labels})
    count = f"{len(labels)} series" if len(labels) > 1 else "one series"
    if len(targets) > 1:
        named = f": {', '.join(targets)}" if len(targets) <= _NAMED else ""
        count = f"{count} of {len(targets)} targets{named}"
    return [count, *_shared(labels)]


def _shared(labels: Sequence[Labels]) -> list[str]:
    """What tells where series are from, as far as all of them have it in common."""
    first, *others = labels
    return [
        f"{key}={first[key]}"
        for key in _TELLING
        if key in first and all(key in o and o[key] == first[key] for o in others)
    ]


class _Unclear(NoSample):
    """The answer does not tell which figure is meant; ``fix`` says what would."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


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
    """The newest figures by part, in watts or joules, of which series, and scraped from when to when."""

    figures: Mapping[str, float]
    kinds: Mapping[str, ScopeKind]
    members: frozenset[tuple[tuple[str, str], ...]]
    labels: Sequence[Labels]
    first_s: float
    last_s: float


@dataclass(frozen=True)
class _Pace:
    """How often samples come, and how old their figures may be by then, in seconds."""

    scrape_s: float
    update_s: float
    age_s: float


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
