"""``doctor --check``: a known load, seen by every meter at once, and each pair that should agree beside each other."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from joulemark.meters.codecarbon import SecondOpinion
from joulemark.meters.cpumodel import granted_threads
from joulemark.meters.errors import JoulemarkError, MeasuringFailed
from joulemark.meters.naming import meter_name
from joulemark.meters.rapl import REL_U_PACKAGE
from joulemark.meters.registry import Probed
from joulemark.meters.totals import min_window_s
from joulemark.meters.types import GRADES, Domain, EnergyRecord, ScopeKind
from joulemark.meters.window import Recorder

from .agreement import Sight, compare, explain, relative_u
from .alone import measuring_alone

__all__ = ["cross_check", "show_check"]

LEAST_S, MOST_S = 5.0, 60.0
SETTLE_S, MOST_SETTLE_S, SETTLE_TICKS = 1.0, 15.0, 1.5
"""How long the load runs before it is looked at: no figure must be older than the load."""


def cross_check(
    probed: Sequence[Probed], say: Callable[[str], None], *, total: Sequence[Domain] = ()
) -> dict[str, Any]:
    """Run a load on every thread that may be used, and compare what the meters say of it.

    Args:
        probed: The meters.
        say: Is told what takes time.
        total: What a run would add up.

    Returns:
        ``load``: what ran; ``seen``: a row for each meter and kind; ``pairs``: a row for each two that should agree
        (or of which one contains the other), as `compare` gives them; ``lost``: meters that failed, and why; ``agree``:
        False where a pair differs or a meter was lost, None where no pair can tell; ``notes``: of the second opinion;
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
    found["load"] = f"{threads} thread{'s' if threads > 1 else ''} busy for {seconds:.0f} s"
    found["seen"] = [_row(sight, kind) for sight in sights for kind in sight.power_w]
    found["pairs"] = compare(sights, {meter_name(domain.id) for domain in total})
    found["agree"] = _agree({pair["agree"] for pair in found["pairs"]} | ({False} if found["lost"] else set()))
    return found


def _agree(verdicts: set[bool | None]) -> bool | None:
    """Of all pairs: one that differs is enough to differ, and those that are unclear say nothing."""
    return False if False in verdicts else True if True in verdicts else None


def _row(sight: Sight, kind: ScopeKind) -> dict[str, Any]:
    power_w, rel_u = sight.power_w[kind], relative_u(sight, kind)
    return {"meter": sight.name, "scope": kind, "grade": sight.grade, "power_w": power_w, "rel_u": rel_u}


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
) -> tuple[list[Sight], float]:
    """All meters over the same seconds of a load that goes on, each by a recorder of its own."""
    lost: list[dict[str, str]] = found["lost"]
    # The slowest first: each waits for its source's next figure, and the windows should begin and end together.
    totals = sorted(((p.meter, total) for p in probed if (total := _total(p))), key=lambda pair: -_slowest_s(pair[1]))
    settle_s, seconds = _how_long([total for _, total in totals])
    sights: list[Sight] = []
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


def _end(opinion: SecondOpinion | None, notes: list[str]) -> list[Sight]:
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
        Sight(
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


def _sight(name: str, record: EnergyRecord, domains: Sequence[Domain]) -> Sight:
    power_w: dict[ScopeKind, float] = defaultdict(float)
    calibration_w: dict[ScopeKind, float] = defaultdict(float)
    for domain in domains:
        watts = record.domains[domain.id] / record.window_s
        power_w[domain.kind] += watts
        calibration_w[domain.kind] += watts * domain.rel_u
    return Sight(
        name=name,
        grade=record.grade,
        power_w=dict(power_w),
        calibration_w=dict(calibration_w),
        edges_w=record.u_j / record.window_s,
    )


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
            pair["verdict"].replace("differ", "DIFFER"),
        )
    console.print(table)
    for pair in pairs:
        if (text := explain(pair)) is not None:
            console.print(text)
