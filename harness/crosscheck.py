"""``doctor --check``: a known load, seen by every meter at once, and each pair that should agree beside each other."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from joulemark.meters.codecarbon import SecondOpinion
from joulemark.meters.cpumodel import granted_threads
from joulemark.meters.errors import MeasuringFailed
from joulemark.meters.rapl import REL_U_PACKAGE
from joulemark.meters.registry import Probed
from joulemark.meters.totals import min_window_s
from joulemark.meters.types import SCOPE_KINDS, Domain, EnergyRecord, ScopeKind
from joulemark.meters.window import Recorder

__all__ = ["cross_check", "show_check"]

LEAST_S, MOST_S, SETTLE_S = 5.0, 60.0, 1.0
COVERAGE = 1.96

_HOLDS: dict[ScopeKind, frozenset[ScopeKind]] = {
    "wall": frozenset(SCOPE_KINDS) - {"wall"},
    "platform": frozenset({"package", "dram", "gpu", "soc"}),
}
"""What lies inside of what, and so can't draw more than it."""


_ONE_COUNTER = frozenset({"rapl", "perf", "zeus", "codecarbon"})
"""Who reads the CPU's own counters, each by a way of its own: their calibration is the same, so it explains nothing."""
_READING_U = 0.01
"""What may still lie between two of them, which begin and end at different moments of a load that is not quite even."""


@dataclass(frozen=True)
class _Seen:
    """The mean power that one meter saw of one kind of domain.

    ``u_independent`` and ``u_calibration`` are relative standard uncertainties.
    """

    name: str
    kind: ScopeKind
    grade: str
    power_w: float
    u_independent: float
    u_calibration: float

    @property
    def rel_u(self) -> float:
        return math.hypot(self.u_independent, self.u_calibration)


def cross_check(probed: Sequence[Probed], say: Callable[[str], None]) -> dict[str, Any]:
    """Run a load on every thread that may be used, and compare what the meters say of it.

    Returns:
        ``load``: what ran; ``seen``: a row for each meter and kind; ``pairs``: a row for each two that should agree
        (or of which one contains the other), with their ratio, its 95 % bounds by both meters' errors, and whether
        they agree; ``lost``: meters that failed, and why.

    Raises:
        MeasuringFailed: The load does not run.
    """
    with contextlib.ExitStack() as stack:
        lost: list[dict[str, str]] = []
        opinion = _second_opinion(probed, stack, lost)
        pid, threads = stack.enter_context(_busy())
        time.sleep(SETTLE_S)
        seen, seconds = _watch(probed, pid, opinion, lost, say)
    pairs = [pair for one, other in combinations(seen, 2) if (pair := _compare(one, other)) is not None]
    return {
        "load": f"{threads} thread{'s' if threads > 1 else ''} busy for {seconds:.0f} s",
        "seen": [
            {"meter": s.name, "scope": s.kind, "grade": s.grade, "power_w": s.power_w, "rel_u": s.rel_u} for s in seen
        ],
        "pairs": pairs,
        "agree": all(pair["agree"] for pair in pairs) and not lost,
        "lost": lost,
    }


@contextlib.contextmanager
def _busy() -> Iterator[tuple[int, int]]:
    """A process for every thread that may be used, below one whose tree a meter can follow."""
    threads = max(1, round(granted_threads(os.getpid())))
    code = (
        "import subprocess, sys\n"
        "run = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(int(sys.argv[1]))]\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
        "for one in run: one.kill()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise MeasuringFailed("the load for the check could not be started")
        yield process.pid, threads
    finally:
        process.communicate()


def _second_opinion(
    probed: Sequence[Probed], stack: contextlib.ExitStack, lost: list[dict[str, str]]
) -> SecondOpinion | None:
    """codecarbon, where it can read the counters that we read; it knows no tree but that of ``/sys``."""
    counted = any(domain.kind == "package" and domain.grade == "counter" for p in probed for domain in p.domains)
    if not counted or os.environ.get("JOULEMARK_SYSFS"):
        return None
    try:
        return stack.enter_context(SecondOpinion())
    except MeasuringFailed as problem:
        lost.append({"meter": "codecarbon", "reason": str(problem)})
        return None


def _watch(
    probed: Sequence[Probed],
    pid: int,
    opinion: SecondOpinion | None,
    lost: list[dict[str, str]],
    say: Callable[[str], None],
) -> tuple[list[_Seen], float]:
    """All meters over the same seconds of a load that goes on, each by a recorder of its own."""
    seconds = min(max([LEAST_S, *(min_window_s(found.domains) for found in probed if found.domains)]), MOST_S)
    say(f"Running a known load, about {seconds:.0f} s ...")
    running: list[tuple[Recorder, list[Domain]]] = []
    for found in probed:
        for total in _totals(found):
            recorder = Recorder([found.meter], total, pid)
            with _losing(found.meter.id, lost, recorder.close):
                recorder.start()
                running.append((recorder, total))
    if opinion is not None:
        opinion.start()
    time.sleep(seconds)
    seen: list[_Seen] = []
    if opinion is not None:
        with _losing("codecarbon", lost):
            check = opinion.stop()
            if check.cpu_w is not None:
                edges = math.sqrt(2) * check.u_edge_s / check.seconds
                seen.append(_Seen("codecarbon", "package", "counter", check.cpu_w, edges, REL_U_PACKAGE))
    for recorder, total in running:
        with _losing(total[0].id.partition(":")[0], lost):
            seen += _seen(recorder.stop(), total)
        recorder.close()
    return seen, seconds


@contextlib.contextmanager
def _losing(name: str, lost: list[dict[str, str]], undo: Callable[[], None] | None = None) -> Iterator[None]:
    """Note a meter that fails, and go on with the others."""
    try:
        yield
    except MeasuringFailed as problem:
        lost.append({"meter": name, "reason": str(problem)})
        if undo is not None:
            undo()


def _totals(found: Probed) -> list[list[Domain]]:
    """One total for all that a meter sums; where it sums nothing by itself, one for its first domain."""
    summed = [domain for domain in found.domains if domain.summed] or list(found.domains[:1])
    return [[replace(domain, summed=True) for domain in summed]] if summed else []


def _seen(record: EnergyRecord, total: Sequence[Domain]) -> list[_Seen]:
    joules: dict[ScopeKind, float] = defaultdict(float)
    for domain in total:
        joules[domain.kind] += record.domains[domain.id]
    return [
        _Seen(
            name=total[0].id.partition(":")[0],
            kind=kind,
            grade=record.grade,
            power_w=joule / record.window_s,
            u_independent=record.u_j / record.gross_j,
            u_calibration=max(domain.rel_u for domain in total if domain.kind == kind),
        )
        for kind, joule in joules.items()
    ]


def _compare(one: _Seen, other: _Seen) -> dict[str, Any] | None:
    """The two beside each other, on the log scale; None where they have nothing to do with one another."""
    if other.kind in _HOLDS.get(one.kind, ()):
        outer, inner = one, other
    elif one.kind in _HOLDS.get(other.kind, ()):
        outer, inner = other, one
    elif one.kind == other.kind and one.name != other.name:
        outer, inner = one, other
    else:
        return None
    if outer.power_w <= 0 or inner.power_w <= 0:
        return None
    contains = outer.kind != inner.kind
    if not contains and {outer.name, inner.name} <= _ONE_COUNTER:
        u = math.hypot(outer.u_independent, inner.u_independent, _READING_U)
    else:
        u = math.hypot(outer.rel_u, inner.rel_u)
    ratio, width = outer.power_w / inner.power_w, math.exp(COVERAGE * u)
    return {
        "first": outer.name,
        "second": inner.name,
        "scope": outer.kind if not contains else f"{outer.kind} holds {inner.kind}",
        "ratio": ratio,
        "low": ratio / width,
        "high": ratio * width,
        "agree": ratio * width >= 1 and (contains or ratio / width <= 1),
    }


def show_check(console: Any, check: dict[str, Any]) -> None:
    """Print what `cross_check` found for people."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console.print()
    console.print(Text(f"Check with a known load ({check['load']})", style="bold"))
    for seen in check["seen"]:
        console.print(f"  {seen['meter']} saw {seen['power_w']:.3g} W ({seen['scope']}, {seen['grade']})")
    for lost in check["lost"]:
        console.print(f"  {lost['meter']} failed: {lost['reason']}")
    if not check["pairs"]:
        console.print("No two meters here see the same thing, so there is nothing to set beside each other.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for head in ("Meters", "What", "Ratio (95 %)", ""):
        table.add_column(head)
    for pair in check["pairs"]:
        table.add_row(
            f"{pair['first']} : {pair['second']}",
            pair["scope"],
            f"{pair['ratio']:.3g} ({pair['low']:.3g}-{pair['high']:.3g})",
            "agree" if pair["agree"] else "DIFFER",
        )
    console.print(table)
