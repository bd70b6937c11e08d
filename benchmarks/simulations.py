"""How often intervals hold the truth, and how often what is not so is claimed: simulated, design by design.

    python benchmarks/simulations.py [DRAWS [PART]]

Runs with known truth are drawn 2,000 times (or DRAWS) and judged as `rank` judges real ones. Parts:
quality, energy, ratio (intervals of one entrant), difference (of two, paired by item), equal (entrants of one worth,
of which any two are called different), frontier (its members that are called dominated), hypervolume (its interval),
paired (`compare`'s interval of energies), told (how often those 10 % apart are told apart, with no limits).
Prints a line for each figure beside its limits, which allow 3 Monte Carlo standard errors. Exit code 1 where a figure
is off and no reason is known for it; those with a reason are printed with it.
"""

from __future__ import annotations

import itertools
import math
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.special import erfinv

from joulemark.reports.contest import By, Entries, ItemTable, differences, draw_jointly, judge_frontier, rank_entries
from joulemark.reports.effects import one_by_one
from joulemark.reports.hypervolume import hypervolume, interval
from joulemark.reports.stats import (
    Floats,
    LogEnergy,
    Share,
    accuracy,
    combine,
    energy,
    log_energy,
    quality,
    right_per_wh,
)

DRAWS = 2000
LOWEST, HIGHEST, FALSE_ALARMS = 0.935, 0.965, 0.05
BYS: tuple[By, ...] = ("quality", "energy", "correct_per_wh")
FEW = 10
FEW_CLUSTERS = 60
_UNEVEN: tuple[tuple[tuple[int, float], ...], ...] = (
    ((30, 0.03), (1319, 0.4)),
    ((30, 0.03), (1319, 0.4), (1000, 0.5)),
    ((30, 0.97), (500, 0.8), (1319, 0.95)),
    ((10, 0.5), (1000, 0.5)),
    ((10, 0.9), (1000, 0.5), (1000, 0.5)),
    ((20, 0.95), *[(1000, 0.5)] * 5),
    ((100, 0.98), (10000, 0.8), (1300, 0.9)),
    ((198, 0.4), (30, 0.1), (30, 0.05), (500, 0.9)),
    (*[(50, 0.99)] * 3, *[(200, 0.99)] * 3),
)


@dataclass(frozen=True, kw_only=True)
class Design:
    """A run with known truth: an accuracy and watt-hours for each entrant, the same in all tasks.

    Attributes:
        right: Accuracies.
        wh: Watt-hours per 1,000 items.
        items: Of a task.
        cluster: Items that share a source.
        spread: Of the log of energy, from repeat to repeat.
        scale: Relative standard uncertainty of the meter that all repeats share.
        uneven: Instead of alike tasks, one entrant's: items and accuracy of each.
    """

    right: tuple[float, ...] = (0.7,)
    wh: tuple[float, ...] = (1.0,)
    items: int = 300
    cluster: int = 1
    tasks: int = 1
    chance: float = 0.0
    repeats: int = 3
    spread: float = 0.03
    scale: float = 0.0
    uneven: tuple[tuple[int, float], ...] = ()

    @property
    def points(self) -> list[float]:
        """The true qualities."""
        if self.uneven:
            return [float(np.mean([100 * right for _, right in self.uneven]))]
        return [100 * (right - self.chance) / (1 - self.chance) for right in self.right]

    @property
    def few(self) -> bool:
        """Whether so few answers are right or wrong in all that no interval can cover 95 %, and not more."""
        return any(self.items * self.tasks * min(right, 1 - right) / self.cluster < FEW for right in self.right)

    def __str__(self) -> str:
        if self.uneven:
            return "1 at " + ", ".join(f"{right:g} of {items:,}" for items, right in self.uneven)
        asked = f"{self.tasks} x {self.items} items" + (f" in {self.cluster}s" if self.cluster > 1 else "")
        worth = " ".join(f"{right:g}" for right in self.right[:5]) + (" ..." if len(self.right) > 5 else "")
        energy = f"{self.repeats} repeats of {100 * self.spread:g} %" + (
            f", scale {self.scale:g}" if self.scale else ""
        )
        return f"{len(self.right)} at {worth}, chance {self.chance:g}, {asked}, {energy}"

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(str(self).encode()))


def draw(rng: np.random.Generator, design: Design) -> Entries:
    """The entrants as they came out once. They answer the same items, the harder ones worse."""
    cut = math.sqrt(2) * erfinv(2 * np.array(design.right) - 1)
    groups, n = design.items // design.cluster, len(design.right)
    clusters = np.repeat(np.arange(groups), design.cluster)
    tables, points = [], np.full(n, 100 / (1 - design.chance) / design.tasks)
    for _ in range(design.tasks):
        difficulty = rng.normal(size=(len(clusters), 1))
        if design.cluster > 1:
            shared = np.repeat(rng.normal(size=(groups, 1)), design.cluster, axis=0)
            difficulty = math.sqrt(0.5) * (difficulty + shared)
        scores = (0.6 * difficulty + 0.8 * rng.normal(size=(len(clusters), n)) < cut).astype(float)
        tables.append(ItemTable(scores=scores, clusters=clusters, points=points))
    logs = np.log(design.wh) + rng.normal(0, design.spread, size=(design.repeats, n))
    return Entries(
        quality=np.sum([points * (table.scores.mean(axis=0) - design.chance) for table in tables], axis=0),
        log_energy=logs.mean(axis=0),
        energy_var=logs.var(axis=0, ddof=1) / design.repeats,
        energy_df=np.full(n, design.repeats - 1.0),
        scale_var=np.full(n, design.scale**2),
        yardstick=np.zeros(n, dtype=np.int64),
        items=tuple(tables),
    )


def quality_held(design: Design, draws: int = DRAWS) -> float:
    """In what share of draws the interval of the first entrant's quality holds it."""
    rng, hits = design.rng(), 0
    for _ in range(draws):
        told = _uneven(rng, design) if design.uneven else _quality(design, draw(rng, design))
        hits += (told.low or -math.inf) <= design.points[0] <= (told.high or math.inf)
    return hits / draws


def energy_held(design: Design, draws: int = DRAWS) -> float:
    """The same of its energy."""
    rng, hits = design.rng(), 0
    for _ in range(draws):
        told = energy(_log_energy(rng, design), design.scale)
        hits += (told.low or 0.0) <= design.wh[0] <= (told.high or math.inf)
    return hits / draws


def ratio_held(design: Design, draws: int = DRAWS) -> float:
    """The same of its right answers per Wh, in those draws that tell any."""
    rng, hits, shown = design.rng(), 0, 0
    truth = 10 * design.points[0] / design.wh[0]
    for _ in range(draws):
        points = _quality(design, draw(rng, design))
        told = right_per_wh(points, _log_energy(rng, design), design.scale)
        shown += told is not None
        hits += told is not None and (told.low or 0.0) <= truth <= (told.high or math.inf)
    return hits / shown


def difference_held(design: Design, by: By, draws: int = DRAWS) -> float:
    """The same of what the first entrant has more than the second."""
    rng, hits, shown = design.rng(), 0, 0
    first, second = design.points[:2]
    apart = math.log(design.wh[1] / design.wh[0])
    truth = {"quality": first - second, "energy": apart, "correct_per_wh": math.log(first / second) + apart}[by]
    for _ in range(draws):
        entries = draw(rng, design)
        if by == "correct_per_wh" and (entries.quality <= 0).any():
            continue
        shown += 1
        low, high = differences(entries, by).interval(0, 1) or (math.nan, math.nan)
        hits += low <= truth <= high
    return hits / shown


def called_different(design: Design, by: By, draws: int = DRAWS) -> float:
    """In what share of draws any two entrants of equal worth are called different, as ranks' ranges call them."""
    rng, alarms = design.rng(), 0
    for _ in range(draws):
        entries = draw(rng, design)
        entries = entries.only(np.flatnonzero(entries.quality > 0))
        worth = {"quality": entries.quality, "energy": -entries.log_energy}.get(
            by, entries.quality / np.exp(entries.log_energy)
        )
        alarms += bool(rank_entries(differences(entries, by), worth).better.any())
    return alarms / draws


def called_dominated(design: Design, draws: int = DRAWS) -> float:
    """The share of the members of the true frontier that are called dominated; all entrants are members."""
    rng, lost = design.rng(), 0
    for _ in range(draws):
        lost += judge_frontier(draw(rng, design), draws=300)[1].count("dominated")
    return lost / (draws * len(design.right))


def hypervolume_held(design: Design, draws: int = DRAWS) -> float:
    """In what share of draws the interval of what the frontier covers holds it."""
    rng, hits = design.rng(), 0
    truth = float(hypervolume(np.log(design.wh), np.array(design.points)))
    for _ in range(draws):
        entries = draw(rng, design)
        value = float(hypervolume(entries.log_energy, entries.quality))
        low, high = interval(value, *draw_jointly(entries, draws=300))
        hits += low <= truth <= high
    return hits / draws


def paired_held(design: Design, draws: int = DRAWS, drift: float = 0.0) -> float:
    """In what share of draws `compare`'s interval of a ratio of energies holds it; repeats are taken one by one."""
    truth = design.wh[1] / design.wh[0]
    found = [one_by_one(*own).effect for own in _two_energies(design, draws, drift)]
    return sum((own.low or 0.0) <= truth <= (own.high or math.inf) for own in found) / draws


def told_apart(design: Design, draws: int = DRAWS, drift: float = 0.0, *, paired: bool = True) -> float:
    """In what share of draws two energies are called different: repeats one by one, or as `rank` takes them."""
    told = 0
    for logs in _two_energies(design, draws, drift):
        if paired:
            effect = one_by_one(*logs).effect
            told += not (effect.low or 0.0) <= 1 <= (effect.high or math.inf)
            continue
        nothing = ItemTable(scores=np.zeros((1, 2)), clusters=np.zeros(1, dtype=np.int64), points=np.ones(2))
        entries = Entries(
            quality=np.ones(2), log_energy=logs.mean(axis=1), energy_var=logs.var(axis=1, ddof=1) / design.repeats,
            energy_df=np.full(2, design.repeats - 1.0), scale_var=np.zeros(2), yardstick=np.zeros(2, dtype=np.int64),
            items=(nothing,),
        )  # fmt: skip
        low, high = differences(entries, "energy").interval(0, 1) or (-math.inf, math.inf)
        told += not low <= 0 <= high
    return told / draws


def _two_energies(design: Design, draws: int, drift: float) -> Iterator[Floats]:
    """Log energies, shape (2, repeats); over all repeats the machine drifts by so much, under both."""
    rng, ramp = design.rng(), drift * np.linspace(0, 1, design.repeats)
    for _ in range(draws):
        yield np.log(design.wh)[:, None] + rng.normal(0, design.spread, (2, design.repeats)) + ramp


def _quality(design: Design, entries: Entries) -> Share:
    return combine([quality(accuracy(t.scores[:, 0], t.clusters), design.chance) for t in entries.items])


def _uneven(rng: np.random.Generator, design: Design) -> Share:
    return combine([quality(accuracy((rng.random(n) < right).astype(float)), 0.0) for n, right in design.uneven])


def _log_energy(rng: np.random.Generator, design: Design) -> LogEnergy:
    """With a scale that the meter has in this draw, and no repeat averages out."""
    logs = math.log(design.wh[0]) + rng.normal(0, design.scale) + rng.normal(0, design.spread, design.repeats)
    return log_energy(np.exp(logs).tolist())


@dataclass(frozen=True, kw_only=True)
class Line:
    """A figure beside its limits, of which the lower is missing for false claims."""

    part: str
    design: Design
    share: float
    draws: int
    reason: str

    @property
    def limits(self) -> tuple[float, float]:
        if self.part.startswith("told"):
            return 0.0, 1.0
        low, high = (0.0, FALSE_ALARMS) if self.part.startswith(("equal", "frontier")) else (LOWEST, HIGHEST)
        margin = 3 * math.sqrt(0.95 * 0.05 / self.draws)
        return max(0.0, low - margin), high + margin

    @property
    def is_off(self) -> bool:
        return not self.limits[0] <= self.share <= self.limits[1]


def lines(draws: int, part: str) -> Iterator[Line]:
    """All figures of the parts whose names begin so."""
    for name, design, reason, figure in _figures():
        if name.startswith(part):
            yield Line(part=name, design=design, share=figure(design, draws), draws=draws, reason=reason)


Figure = Callable[[Design, int], float]


def _figures() -> Iterator[tuple[str, Design, str, Figure]]:
    """Part, design, why it may lie outside the limits (empty: it may not), and what makes the figure."""
    for tasks, items, right, cluster, chance in itertools.product(
        (1, 6), (50, 300, 1000), (0.1, 0.5, 0.9, 0.99), (1, 5), (0.0, 0.25)
    ):
        design = Design(tasks=tasks, items=items, right=(right,), cluster=cluster, chance=chance)
        if chance == 0 or (tasks == 1 and right > chance):
            yield "quality", design, _few(design), quality_held
    for uneven in _UNEVEN:
        reason = "six tasks that are nearly all right" if len(uneven) == 6 and uneven[0][1] == 0.99 else ""
        yield "quality", Design(uneven=uneven), reason, quality_held
    for repeats, spread, scale in itertools.product((2, 3, 5, 10), (0.01, 0.05), (0.0, 0.02, 0.4)):
        design = Design(repeats=repeats, spread=spread, scale=scale)
        yield "energy", design, _two(design) if scale else "", energy_held
    for repeats, spread, items, right, chance in itertools.product(
        (2, 3, 5, 10), (0.01, 0.05), (50, 300), (0.5, 0.9, 0.99), (0.0, 0.25)
    ):
        design = Design(repeats=repeats, spread=spread, items=items, right=(right,), chance=chance)
        yield "ratio", design, _two(design) or _few(design), ratio_held
    yield from _of_several()
    yield from _of_two_energies()


def _of_several() -> Iterator[tuple[str, Design, str, Figure]]:
    for items, right, cluster, tasks in itertools.product(
        (50, 300, 1000), ((0.7, 0.6), (0.9, 0.88), (0.99, 0.98)), (1, 5), (1, 6)
    ):
        design = Design(items=items, right=right, wh=(0.5, 1.0), cluster=cluster, tasks=tasks, chance=0.25)
        if items * tasks <= 1800:
            for by in BYS[::2]:
                yield f"difference in {by}", design, _few(design) or _clustered(design), _difference(by)
    for repeats, spread in itertools.product((2, 3, 5, 10), (0.01, 0.05)):
        design = Design(right=(0.7, 0.6), wh=(0.5, 1.0), repeats=repeats, spread=spread)
        for by in BYS[1:]:
            yield f"difference in {by}", design, _two(design), _difference(by)
    for n, repeats, spread, (items, share, cluster) in itertools.product(
        (2, 4, 10), (2, 3, 10), (0.01, 0.05), ((50, 0.9, 1), (300, 0.7, 1), (300, 0.7, 5))
    ):
        design = Design(right=(share,) * n, wh=(1.0,) * n, repeats=repeats, spread=spread, items=items, cluster=cluster)
        for by in BYS:
            yield f"equal in {by}", design, "", _different(by)
    scattered = Design(right=(0.7,) * 10, wh=(1.0,) * 10, repeats=3, spread=0.08)
    yield "equal in correct_per_wh", scattered, "", _different("correct_per_wh")
    near = Design(right=(0.45, 0.55, 0.56, 0.7, 0.71), wh=(0.5, 1.0, 1.03, 2.0, 2.05))
    for items, repeats, spread, cluster in (
        (300, 3, 0.03, 1), (50, 3, 0.05, 1), (50, 2, 0.01, 1), (50, 3, 0.01, 5), (1000, 10, 0.01, 1), (300, 3, 0.01, 5)
    ):  # fmt: skip
        design = replace(near, items=items, repeats=repeats, spread=spread, cluster=cluster)
        yield "frontier", design, "", called_dominated
    spread_out = Design(right=(0.4, 0.6, 0.8, 0.9), wh=(0.001, 0.01, 0.1, 1.0))
    alike = Design(right=(0.6,) * 8, wh=(1.0,) * 8)
    for design, reason in ((spread_out, ""), (near, ""), (alike, "all alike")):
        yield "hypervolume", design, reason, hypervolume_held


def _of_two_energies() -> Iterator[tuple[str, Design, str, Figure]]:
    """`compare`'s interval, and how often two energies 10 % apart are told apart with it and with that of `rank`."""
    for repeats, drift in itertools.product((2, 3, 5), (0.0, 0.1)):
        design, name = Design(wh=(1.0, 1.1), repeats=repeats), "drift" if drift else "steady"
        yield f"paired, {name}", design, "", partial(paired_held, drift=drift)
        yield f"told apart paired, {name}", design, "", partial(told_apart, drift=drift)
        yield f"told apart unpaired, {name}", design, "", partial(told_apart, drift=drift, paired=False)


def _difference(by: By) -> Figure:
    return lambda design, draws: difference_held(design, by, draws)


def _different(by: By) -> Figure:
    return lambda design, draws: called_different(design, by, draws)


def _few(design: Design) -> str:
    return f"under {FEW} right or wrong in all" if design.few else ""


def _two(design: Design) -> str:
    return "two repeats" if design.repeats == 2 else ""


def _clustered(design: Design) -> str:
    few = design.cluster > 1 and design.items // design.cluster < FEW_CLUSTERS
    return f"under {FEW_CLUSTERS} clusters" if few else ""


def main() -> int:
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS
    off = 0
    for line in lines(draws, sys.argv[2] if len(sys.argv) > 2 else ""):
        low, high = line.limits
        verdict = "ok" if not line.is_off else f"outside: {line.reason}" if line.reason else "OFF"
        off += verdict == "OFF"
        told = f"{100 * line.share:5.1f} %  ({100 * low:.1f} to {100 * high:.1f})"
        print(f"{line.part:27} {told}  {verdict:8}  {line.design}", flush=True)
    print(f"{off} off, of designs that nothing is known of." if off else "None is off for no known reason.")
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
