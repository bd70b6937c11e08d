"""``doctor --check``: a known load, seen by every meter at once, and each pair that should agree beside each other.

Three things are asked of the meters, each as the ratio of two mean powers with its bounds:

- two that measure the same kind of thing see the same: 1 lies within the bounds;
- what contains other things draws no less than these together: the upper bound is at least 1;
- a model's share of a package (that of one process tree, on the threads granted to it) is no more than the package.

The bounds come from both meters' uncertainties, which add in quadrature on the log scale. Meters that read one and the
same counter share its calibration, so only what is independent counts between them. All bounds hold together with
95 % (Bonferroni: each has 1 - 0.05 / pairs), so that many pairs raise no more false alarms than one.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import NormalDist
from typing import Any

from joulemark.meters.codecarbon import SecondOpinion
from joulemark.meters.cpumodel import granted_threads
from joulemark.meters.errors import JoulemarkError, MeasuringFailed
from joulemark.meters.naming import meter_name
from joulemark.meters.rapl import REL_U_PACKAGE
from joulemark.meters.registry import Probed
from joulemark.meters.totals import min_window_s
from joulemark.meters.types import GRADES, SCOPE_KINDS, Domain, EnergyRecord, Grade, ScopeKind
from joulemark.meters.window import Recorder

from .alone import measuring_alone

__all__ = ["cross_check", "show_check"]

LEAST_S, MOST_S = 5.0, 60.0
SETTLE_S, MOST_SETTLE_S, SETTLE_TICKS = 1.0, 15.0, 1.5
"""How long the load runs before it is looked at: no figure must be older than the load."""
FALSE_ALARM = 0.05

_HOLDS: dict[ScopeKind, tuple[ScopeKind, ...]] = {
    "wall": ("platform", "soc", "package", "dram", "gpu"),
    "platform": ("soc", "package", "dram", "gpu"),
    "soc": ("package", "dram"),
}
"""What lies inside of what, and so can't draw more than it; the outermost first."""

_BESIDE: tuple[ScopeKind, ...] = ("package", "dram", "gpu")
"""Kinds that lie beside each other, so that their powers add up."""

_ONE_COUNTER = frozenset({"rapl", "perf", "zeus", "codecarbon"})
"""Who reads the CPU's own counters, each by a way of its own: their calibration is the same, so it explains nothing."""
_READING_U = 0.01
"""What may still lie between two meters that begin and end at different moments of a load that is not quite even."""


@dataclass(frozen=True, kw_only=True)
class _Sight:
    """The mean power that one meter saw, by kind of domain, in watts.

    Attributes:
        name: The meter's.
        grade: Of its figures.
        power_w: Mean power.
        calibration_w: Standard uncertainty of it by calibration (and by the model).
        edges_w: Standard uncertainty of it that is independent: of the total, so no less than that of any part.
    """

    name: str
    grade: Grade
    power_w: dict[ScopeKind, float]
    calibration_w: dict[ScopeKind, float]
    edges_w: float


_Part = tuple[_Sight, tuple[ScopeKind, ...]]
"""Some kinds of one meter."""


@dataclass(frozen=True, kw_only=True)
class _Power:
    """What some meters saw of some kinds, added up; both uncertainties are relative and standard (k=1)."""

    names: tuple[str, ...]
    scope: str
    modelled: bool
    watts: float
    u_edges: float
    u_calibration: float


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two powers to set beside each other.

    Attributes:
        what: What they are compared as.
        holds: The first contains the second, so it need only be no less.
        added_up: A run would add them up, for a machine with two power supplies.
    """

    first: _Power
    second: _Power
    what: str
    holds: bool
    added_up: bool = False


def cross_check(
    probed: Sequence[Probed], say: Callable[[str], None], *, total: Sequence[Domain] = ()
) -> dict[str, Any]:
    """Run a load on every thread that may be used, and compare what the meters say of it.

    Args:
        probed: The meters.
        say: Is told what takes time.
        total: What a run would add up: plugs that it holds side by side contain the rest together only.

    Returns:
        ``load``: what ran; ``seen``: a row for each meter and kind; ``pairs``: a row for each two that should agree
        (or of which one contains the other), with their ratio, its bounds, and whether they agree; ``lost``: meters
        that failed, and why; ``agree``: whether all pairs do and none was lost; ``notes``: of the second opinion;
        ``problem``: why nothing could be checked, if so.
    """
    found: dict[str, Any] = {"load": None, "seen": [], "pairs": [], "agree": False, "lost": [], "notes": []}
    found["problem"] = None
    try:
        # Two loads at once would be seen as one, and this one by a run that is measuring.
        with contextlib.ExitStack() as stack:
            stack.enter_context(measuring_alone())
            opinion = _second_opinion(probed, stack, found["notes"], say)
            pid, threads = stack.enter_context(_busy())
            sights, seconds = _watch(probed, pid, opinion, found, say)
    except MeasuringFailed as problem:
        found["problem"] = str(problem)
        return found
    pairs = _pairs(sights, total)
    found["load"] = f"{threads} thread{'s' if threads > 1 else ''} busy for {seconds:.0f} s"
    found["seen"] = [_row(sight, kind) for sight in sights for kind in sight.power_w]
    found["pairs"] = [_judge(pair, len(pairs)) for pair in pairs]
    if found["pairs"] or found["lost"]:
        found["agree"] = all(pair["agree"] for pair in found["pairs"]) and not found["lost"]
    else:
        found["agree"] = None
    return found


_LOAD = """
import os, subprocess, sys
os.nice(5)
spin = "import os, sys\\nwhile os.getppid() == int(sys.argv[1]): sum(range(10_000))"
run = [subprocess.Popen([sys.executable, "-c", spin, str(os.getpid())]) for _ in range(int(sys.argv[1]))]
print("ready", flush=True)
sys.stdin.read()
for one in run:
    one.kill()
"""
"""Ends by itself when whoever started it ends; a little nicer than the meters, which must be read in time."""


@contextlib.contextmanager
def _busy() -> Iterator[tuple[int, int]]:
    """A process for every thread that may be used, below one whose tree a meter can follow.

    Raises:
        MeasuringFailed: It does not start, or ends by itself.
    """
    threads = max(1, round(granted_threads(os.getpid())))
    process = subprocess.Popen(
        [sys.executable, "-c", _LOAD, str(threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A session of its own: Ctrl-C is this process's to handle, and the group can be ended as a whole.
        start_new_session=True,
    )
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise MeasuringFailed("the load for the check could not be started")
        yield process.pid, threads
        if process.poll() is not None:
            raise MeasuringFailed("the load for the check ended midway, so what the meters saw is of no use")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _second_opinion(
    probed: Sequence[Probed], stack: contextlib.ExitStack, notes: list[str], say: Callable[[str], None]
) -> SecondOpinion | None:
    """codecarbon, where it can read the counters that we read; it knows no tree but that of ``/sys``."""
    counted = any(domain.kind == "package" and domain.grade == "counter" for p in probed for domain in p.domains)
    if not counted or os.environ.get("JOULEMARK_SYSFS"):
        return None
    say("Asking codecarbon for a second opinion ...")
    try:
        return stack.enter_context(SecondOpinion())
    except MeasuringFailed as problem:
        notes.append(str(problem))
        return None


def _watch(
    probed: Sequence[Probed],
    pid: int,
    opinion: SecondOpinion | None,
    found: dict[str, Any],
    say: Callable[[str], None],
) -> tuple[list[_Sight], float]:
    """All meters over the same seconds of a load that goes on, each by a recorder of its own."""
    lost: list[dict[str, str]] = found["lost"]
    # The slowest first: each waits for its source's next figure, and the windows should begin and end together.
    totals = sorted(((p.meter, total) for p in probed if (total := _total(p))), key=lambda pair: -_slowest_s(pair[1]))
    settle_s, seconds = _how_long([total for _, total in totals])
    sights: list[_Sight] = []
    with contextlib.ExitStack() as stack:
        recorders: dict[str, Recorder] = {}
        for meter, total in totals:
            with _losing(meter.id, lost):
                recorders[meter.id] = stack.enter_context(Recorder([meter], total, pid))
        say(f"Running a known load, about {settle_s + seconds:.0f} s ...")
        time.sleep(settle_s)
        for name, recorder in list(recorders.items()):
            with _losing(name, lost, recorders):
                recorder.start()
        second = _begin(opinion, found["notes"])
        time.sleep(seconds)
        for meter, total in totals:
            if meter.id in recorders:
                with _losing(meter.id, lost):
                    sights.append(_sight(meter.id, recorders[meter.id].stop(), total))
        sights += _end(second, found["notes"])
    order = [*(p.meter.id for p in probed), *(sight.name for sight in sights)]
    return sorted(sights, key=lambda sight: order.index(sight.name)), seconds


def _how_long(totals: Sequence[Sequence[Domain]]) -> tuple[float, float]:
    """Seconds until no figure is older than the load, and seconds to watch it then: as the slowest meter needs."""
    settle_s = max([SETTLE_S, *(SETTLE_TICKS * _slowest_s(total) for total in totals)])
    seconds = max([LEAST_S, *map(min_window_s, totals)])
    return min(settle_s, MOST_SETTLE_S), min(seconds, MOST_S)


@contextlib.contextmanager
def _losing(name: str, lost: list[dict[str, str]], recorders: dict[str, Recorder] | None = None) -> Iterator[None]:
    """Note a meter that fails, drop its recorder, and go on with the others."""
    try:
        yield
    except Exception as problem:
        # A meter from outside may fail in any way.
        reason = str(problem) if isinstance(problem, JoulemarkError) else f"it broke: {problem!r}"
        lost.append({"meter": name, "reason": reason})
        if recorders is not None:
            del recorders[name]


def _begin(opinion: SecondOpinion | None, notes: list[str]) -> SecondOpinion | None:
    """The second opinion, begun; None where there is none."""
    if opinion is None:
        return None
    try:
        opinion.start()
    except MeasuringFailed as problem:
        notes.append(str(problem))
        return None
    return opinion


def _end(opinion: SecondOpinion | None, notes: list[str]) -> list[_Sight]:
    """What it measured, if it measured; what it estimates is no second opinion on anything."""
    if opinion is None:
        return []
    try:
        check = opinion.stop()
    except MeasuringFailed as problem:
        notes.append(str(problem))
        return []
    if check.cpu_w is None:
        notes.append(f"codecarbon gives no second opinion: {check.cpu.how if check.cpu else 'it found no CPU'}")
        return []
    return [
        _Sight(
            name="codecarbon",
            grade="counter",
            power_w={"package": check.cpu_w},
            calibration_w={"package": check.cpu_w * REL_U_PACKAGE},
            edges_w=check.cpu_w * math.sqrt(2) * check.u_edge_s / check.seconds,
        )
    ]


def _total(found: Probed) -> list[Domain]:
    """What a meter sums, of its best grade; where it sums nothing by itself, its first domain."""
    summed = [domain for domain in found.domains if domain.summed] or list(found.domains[:1])
    # A meter is opened once, and a total has one grade.
    best = min((GRADES.index(domain.grade) for domain in summed), default=0)
    return [replace(domain, summed=True) for domain in summed if domain.grade == GRADES[best]]


def _slowest_s(domains: Sequence[Domain]) -> float:
    return max(domain.update_s or 0.0 for domain in domains)


def _sight(name: str, record: EnergyRecord, domains: Sequence[Domain]) -> _Sight:
    power_w: dict[ScopeKind, float] = defaultdict(float)
    calibration_w: dict[ScopeKind, float] = defaultdict(float)
    for domain in domains:
        watts = record.domains[domain.id] / record.window_s
        power_w[domain.kind] += watts
        calibration_w[domain.kind] += watts * domain.rel_u
    return _Sight(
        name=name,
        grade=record.grade,
        power_w=dict(power_w),
        calibration_w=dict(calibration_w),
        edges_w=record.u_j / record.window_s,
    )


def _row(sight: _Sight, kind: ScopeKind) -> dict[str, Any]:
    power = _add([(sight, (kind,))])
    rel_u = math.hypot(power.u_edges, power.u_calibration) if power else None
    return {
        "meter": sight.name, "scope": kind, "grade": sight.grade, "power_w": sight.power_w[kind], "rel_u": rel_u,
    }  # fmt: skip


def _add(parts: Sequence[_Part]) -> _Power | None:
    """Some kinds of some meters together; None where they drew nothing.

    Calibrations of one meter are taken to err the same way, those of different meters have nothing in common.
    """
    watts = sum(sight.power_w[kind] for sight, kinds in parts for kind in kinds)
    if watts <= 0:
        return None
    kinds_there = {kind for _, kinds in parts for kind in kinds}
    calibrations_w = [sum(sight.calibration_w[kind] for kind in kinds) for sight, kinds in parts]
    return _Power(
        names=tuple(dict.fromkeys(sight.name for sight, _ in parts)),
        scope="+".join(kind for kind in SCOPE_KINDS if kind in kinds_there),
        modelled=any(sight.grade == "modelled" for sight, _ in parts),
        watts=watts,
        u_edges=math.hypot(*(sight.edges_w for sight, _ in parts)) / watts,
        u_calibration=math.hypot(*calibrations_w) / watts,
    )


def _pairs(sights: Sequence[_Sight], total: Sequence[Domain]) -> list[_Pair]:
    """What can be set beside each other: equals first, then what contains something."""
    added = {meter_name(domain.id) for domain in total}
    pairs: list[_Pair] = []
    for one, other in combinations(sights, 2):
        for kind in SCOPE_KINDS:
            if kind in one.power_w and kind in other.power_w:
                both = {one.name, other.name} <= added
                pairs += _same(_add([(one, (kind,))]), _add([(other, (kind,))]), added_up=both)
    for outer, kind in _outer(sights, added):
        for inner in _inner([(sight, _inside(kind, sight)) for sight in sights if sight.name not in outer.names]):
            pairs += _holding(outer, _add(inner))
    return pairs


def _same(one: _Power | None, other: _Power | None, *, added_up: bool) -> list[_Pair]:
    """Two of one kind. A model's is a share; two shares, perhaps of different processes, have nothing in common."""
    if one is None or other is None or (one.modelled and other.modelled):
        return []
    if one.modelled:
        one, other = other, one
    what = f"{one.scope} holds modelled share" if other.modelled else one.scope
    return [_Pair(first=one, second=other, what=what, holds=other.modelled, added_up=added_up)]


def _outer(sights: Sequence[_Sight], added: Collection[str]) -> list[tuple[_Power, ScopeKind]]:
    """What contains other things; plugs that a run adds up are one."""
    plugs = [sight for sight in sights if sight.name in added and "wall" in sight.power_w]
    plugs = plugs if len(plugs) > 1 else []
    holding: list[tuple[list[_Part], ScopeKind]] = [([(plug, ("wall",)) for plug in plugs], "wall")] if plugs else []
    holding += [
        ([(sight, (kind,))], kind)
        for sight in sights
        for kind in sight.power_w
        if kind in _HOLDS and sight not in plugs
    ]
    return [(power, kind) for parts, kind in holding if (power := _add(parts)) is not None]


def _inside(outer: ScopeKind, sight: _Sight) -> tuple[ScopeKind, ...]:
    """The kinds that a meter saw inside of another kind; of those that contain one another, the outermost."""
    held = [kind for kind in _HOLDS[outer] if kind in sight.power_w]
    return tuple(held) if set(held) <= set(_BESIDE) else tuple(held[:1])


def _inner(parts: Sequence[_Part]) -> list[list[_Part]]:
    """What is set beside what contains it: each meter's own sum, a model's only where nothing is measured."""
    there = [part for part in parts if part[1]]
    measured = [part for part in there if part[0].grade != "modelled"]
    return [*([part] for part in measured or there), *_joint(measured)]


def _joint(measured: Sequence[_Part]) -> list[list[_Part]]:
    """The best figure of each kind, where it takes several meters to have them all."""
    chosen: dict[ScopeKind, _Sight] = {}
    for sight, kinds in sorted(measured, key=lambda part: GRADES.index(part[0].grade)):
        for kind in kinds:
            if kind in _BESIDE:
                chosen.setdefault(kind, sight)
    taken = {sight.name: sight for sight in chosen.values()}
    joint = [(sight, tuple(kind for kind in chosen if chosen[kind] is sight)) for sight in taken.values()]
    return [joint] if len(joint) > 1 else []


def _holding(outer: _Power, inner: _Power | None) -> list[_Pair]:
    if inner is None:
        return []
    what = f"{outer.scope} holds {'modelled share' if inner.modelled else inner.scope}"
    return [_Pair(first=outer, second=inner, what=what, holds=True)]


def _judge(pair: _Pair, pairs: int) -> dict[str, Any]:
    """Their ratio on the log scale, its bounds, and the verdict."""
    first, second = pair.first, pair.second
    one_counter = first.scope == second.scope != "gpu" and {*first.names, *second.names} <= _ONE_COUNTER
    calibration = () if one_counter else (first.u_calibration, second.u_calibration)
    u = math.hypot(first.u_edges, second.u_edges, *calibration, _READING_U)
    coverage = NormalDist().inv_cdf(1 - FALSE_ALARM / 2 / pairs)
    ratio, width = first.watts / second.watts, math.exp(coverage * u)
    return {
        "first": "+".join(first.names),
        "second": "+".join(second.names),
        "scope": pair.what,
        "ratio": ratio,
        "low": ratio / width,
        "high": ratio * width,
        "added_up": pair.added_up,
        "agree": ratio * width >= 1 and (pair.holds or ratio / width <= 1),
    }


def show_check(console: Any, check: dict[str, Any]) -> None:
    """Print what `cross_check` found for people."""
    from rich.text import Text

    console.print()
    if check["problem"]:
        console.print(f"The check could not be made: {check['problem']}")
        return
    console.print(Text(f"Check with a known load ({check['load']})", style="bold"))
    for seen in check["seen"]:
        console.print(f"  {seen['meter']} saw {seen['power_w']:.3g} W ({seen['scope']}, {seen['grade']})")
    for lost in check["lost"]:
        console.print(Text(f"  {lost['meter']} FAILED: ", style="bold") + Text(lost["reason"], style="not bold"))
    for note in check["notes"]:
        console.print(f"  {note}")
    if check["pairs"]:
        _show_pairs(console, check["pairs"])
    else:
        console.print("No two meters here see the same thing, so there is nothing to set beside each other.")


def _show_pairs(console: Any, pairs: Sequence[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for head in ("Meters", "What", "Ratio (95 %)", ""):
        table.add_column(head, no_wrap=head in ("Ratio (95 %)", ""))
    for pair in pairs:
        table.add_row(
            f"{pair['first']} : {pair['second']}",
            pair["scope"],
            f"{pair['ratio']:.3g} ({pair['low']:.3g} to {pair['high']:.3g})",
            "agree" if pair["agree"] else "DIFFER",
        )
    console.print(table)
    for pair in pairs:
        if not pair["agree"]:
            console.print(_explain(pair))


def _explain(pair: dict[str, Any]) -> str:
    """What it means that two differ, and what to look at."""
    first, second = pair["first"], pair["second"]
    if " holds " in pair["scope"]:
        return (
            f"{first} says less than {second}, whose power it contains: one of them is wrong, or {first} is not where "
            "this machine draws its power."
        )
    text = f"{first} and {second} measure the same thing and tell different powers: one of them is wrong"
    if pair["added_up"]:
        text += "; unless each feeds a power supply of its own, which is what a run adds them up for"
    return f"{text}."
