"""How often `joulemark gate` fails what it should not, passes what it should not, and sees what it says it would see.

    python benchmarks/gate.py [DRAWS [PART]]

A seeded meter draws energies of a baseline and a candidate, 5,000 times (or DRAWS), and the gate's own functions judge
them. Repeats scatter by 1 to 5 %, normal or with heavy tails (Student's t of 3 degrees of freedom); the machine drifts
by 6 % over the run, which goes there and back (``abba``); days differ by 5 %. Parts: fails (at the margin), passes (at
the margin), power (at the smallest effect that is printed), looks (planned, at the margin), rules (20 at the margin),
precision (runs that go on until energies are known well enough), days (two runs, with a history), refused (what is
called incomparable instead: two runs without a history, and one model measured after the other), quality (points of
items, alone or of shared sources), rate (right answers per watt-hour, of guessers as well), calibration (what ``gate
--calibrate`` foresees).
Prints a line for each figure beside its limits, which allow 3 Monte Carlo standard errors; what is only reported has
limits of 0 and 100 %. Exit code 1 where one is off.
"""

from __future__ import annotations

import itertools
import math
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from joulemark.harness.precision import looks, relative_half_width
from joulemark.reports.contest import Entries, ItemTable, differences
from joulemark.reports.effects import Effect, Energies, one_by_one
from joulemark.reports.gate import decide
from joulemark.reports.gateconfig import GateConfig
from joulemark.reports.gateforesee import MOST, Energy, foresee
from joulemark.reports.gatehistory import Spread, spread_of
from joulemark.reports.gaterules import Outcome, Verdict
from joulemark.reports.gatetests import Test, energy_test, quality_bound, quality_test, rate_test
from joulemark.reports.stats import Floats, Share, accuracy, log_energy, quality

DRAWS = 5000
DRIFT, DAYS, MARGIN = 0.06, 0.05, 0.05
NUMBER_OF_RULES = 20
MOST_REPEATS = 20


@dataclass(frozen=True, kw_only=True)
class Design:
    """A baseline and a candidate of known energies, and the machine that measures them.

    Attributes:
        repeats: Of both.
        spread: Of the log of energy, from repeat to repeat.
        tails: Degrees of freedom of what scatters; infinite: normal. Scaled, so that the spread is the spread.
        drift: Of the machine's power from the first cell to the last, linear, as a share.
        days: Spread of the log of energy between runs.
        alpha: False fails that are allowed.
        rules: How many, independent of each other.
        looks: That are planned.
        history: Days that a history holds; 0: both are measured in one run.
        daily: Runs on each of these days, 5 repeats each.
        hours: Spread of the log of energy between runs of one day.
        precision: Half-width at which a run of at least so many repeats stops, as a share; 0: it keeps to its repeats.
        steady: Whether the baseline scatters a tenth of the spread.
        blocked: Whether the candidate is measured after the baseline, and not in turn with it.
    """

    repeats: int = 6
    spread: float = 0.03
    tails: float = math.inf
    drift: float = DRIFT
    days: float = 0.0
    alpha: float = 0.05
    rules: int = 1
    looks: tuple[int, ...] = ()
    history: int = 0
    daily: int = 1
    hours: float = 0.0
    precision: float = 0.0
    steady: bool = False
    blocked: bool = False

    def __str__(self) -> str:
        told = [f"{self.repeats} repeats of {100 * self.spread:g} %"]
        told += ["heavy tails"] if self.tails < math.inf else []
        told += [f"drift {100 * self.drift:g} %", f"alpha {self.alpha:g}"]
        told += [f"days {100 * self.days:g} %"] if self.days else []
        told += [f"{self.rules} rules"] if self.rules > 1 else []
        told += [f"looks at {', '.join(map(str, self.looks))}"] if self.looks else []
        told += [f"history of {self.history} days"] if self.history else []
        told += [f"{self.daily} runs a day, {100 * self.hours:g} % apart"] if self.daily > 1 else []
        told += [f"until {100 * self.precision:g} % are known"] if self.precision else []
        told += ["steady baseline"] if self.steady else []
        told += ["one after the other"] if self.blocked else []
        return ", ".join(told)

    @property
    def config(self) -> GateConfig:
        """What the gate is asked for."""
        return GateConfig(alpha=self.alpha, looks=self.looks)

    def rng(self, part: str) -> np.random.Generator:
        """Seeded by what is simulated, so that a figure stays as it is when others come or go."""
        return np.random.default_rng(zlib.crc32(f"{part} {self}".encode()))

    def scatter(self, rng: np.random.Generator, *shape: int) -> Floats:
        """What repeats scatter by, on the log scale."""
        if self.tails == math.inf:
            return rng.normal(0, self.spread, size=shape)
        return rng.standard_t(self.tails, size=shape) * self.spread / math.sqrt(self.tails / (self.tails - 2))


def energies(rng: np.random.Generator, design: Design, ratio: float) -> Iterator[Energies]:
    """What the gate's rules get, one a rule: repeats of one run, measured there and back, or those of two runs."""
    logs = design.scatter(rng, design.rules, 2, design.repeats)
    logs[:, 0] *= 0.1 if design.steady else 1
    logs[:, 1] += math.log(ratio)
    if not design.history:
        logs += _drifted(design) + rng.normal(0, design.days, size=(design.rules, 2, 1))
        yield from (one_by_one(first, second) for first, second in logs)
        return
    logs += rng.normal(0, math.hypot(design.days, design.hours), size=(design.rules, 2, 1))
    for own in logs:
        each = [log_energy(np.exp(log).tolist()) for log in own]
        variances = tuple(log.var for log in each if log.var is not None)
        yield Energies(first=own[0], second=own[1], variances=variances, dfs=tuple(log.df for log in each))


def _drifted(design: Design) -> Floats:
    """Log of the power at each cell: baseline first in every second repeat, so that places go 0 1, 3 2, 4 5, ..."""
    places = np.arange(2 * design.repeats).reshape(-1, 2)
    places[1::2] = places[1::2, ::-1]
    if design.blocked:
        places = np.sort(places, axis=None).reshape(2, -1).T
    drifted: Floats = np.log1p(design.drift * places.T / max(2 * design.repeats - 1, 1))
    return drifted


def spread_of_days(rng: np.random.Generator, design: Design) -> Spread | None:
    """What a history tells of the spread between days; None where both were measured in one run."""
    if not design.history:
        return None
    means = design.scatter(rng, design.history, design.daily, 5).mean(axis=2)
    means += rng.normal(0, design.hours, size=means.shape) + rng.normal(0, design.days, size=(design.history, 1))
    return spread_of(means.tolist())


def verdicts(tests: list[Test], design: Design) -> set[Verdict]:
    """What the rules of one gate come to."""
    return set(_decided(tests, design))


def _decided(tests: list[Test], design: Design) -> list[Verdict]:
    plain = Outcome(
        model="cand", metric="energy", task="t", margin=1 + MARGIN, verdict="inconclusive", repeats=design.repeats
    )
    found = [(plain, test) for test in tests]
    rules, _ = decide(found, design.config, by_precision=design.precision > 0)
    return [rule.verdict for rule in rules]


def tests_of(rng: np.random.Generator, design: Design, ratio: float) -> list[Test]:
    """One gate's tests of energy."""
    tests = [energy_test(own, MARGIN, spread_of_days(rng, design)) for own in energies(rng, design, ratio)]
    return [test for test in tests if test]


def share_of(verdict: Verdict, part: str, design: Design, draws: int, ratio: float = 1 + MARGIN) -> float:
    """In what share of gates some rule comes to this verdict, where every candidate takes this much more energy."""
    rng = design.rng(part)
    return sum(verdict in verdicts(tests_of(rng, design, ratio), design) for _ in range(draws)) / draws


def share_passed(part: str, design: Design, draws: int) -> float:
    """In what share of gates all rules pass, where one candidate is at its margin and all others far below."""
    rng, passed = design.rng(part), 0
    for _ in range(draws):
        tests = tests_of(rng, design, 1 + MARGIN)
        easy = [replace(test, value=test.value - 1) for test in tests[1:]]
        passed += verdicts([tests[0], *easy], design) == {"pass"}
    return passed / draws


def power(design: Design, draws: int) -> float:
    """How often a candidate fails that truly takes the smallest effect that the true spread would have printed.

    The true error of a mean difference of repeats that neither drift nor have heavy tails is ``spread sqrt(2 / n)``.
    Of several rules the others are at their margins, as they are where the first can be told.
    """
    ideal = Test(
        value=0.0, var=2 * design.spread**2 / design.repeats, df=design.repeats - 1.0, limit=math.log1p(MARGIN)
    )
    shift = ideal.detectable(design.config.alpha_at(design.rules) / design.rules) - math.log1p(MARGIN)
    rng, failed = design.rng("power"), 0
    for _ in range(draws):
        first, *others = tests_of(rng, design, 1 + MARGIN)
        tests = [replace(first, value=first.value + shift), *others]
        failed += _decided(tests, design)[0] == "fail"
    return failed / draws


def calibrated(rng: np.random.Generator, design: Design, repeats: int) -> Energy:
    """What a calibration of so many repeats foresees, one rule."""
    [test] = tests_of(rng, replace(design, repeats=repeats), 1.0)
    one = replace(test, value=0.0, var=test.var * repeats)
    return foresee("t", repeats, [one], test.df, alpha=design.alpha, share=design.alpha)


def power_foreseen(design: Design, repeats: int, draws: int) -> float:
    """How often a candidate fails that takes what a calibration of so many repeats says a gate would see."""
    rng, failed = design.rng(f"calibrated {repeats}"), 0
    for _ in range(draws):
        seen = calibrated(rng, design, repeats).smallest[design.repeats]
        failed += "fail" in verdicts(tests_of(rng, design, seen), design)
    return failed / draws


def passes_foreseen(design: Design, repeats: int, draws: int) -> float:
    """How often a candidate that is just as dear passes after the repeats that a calibration says it needs."""
    rng, passed = design.rng(f"needed {repeats}"), 0
    for _ in range(draws):
        needed = calibrated(rng, design, repeats).to_pass.value
        enough = replace(design, repeats=int(min(needed, MOST)))
        passed += verdicts(tests_of(rng, enough, 1.0), enough) == {"pass"}
    return passed / draws


def failed_at_looks(design: Design, draws: int) -> float:
    """How often a gate fails at any of the planned looks, at the margin; repeats of an earlier look count on."""
    rng, failed = design.rng("looks"), 0
    last = replace(design, repeats=design.looks[-1])
    for _ in range(draws):
        whole = list(energies(rng, last, 1 + MARGIN))
        failed += any("fail" in verdicts(_first(whole, look), replace(design, repeats=look)) for look in design.looks)
    return failed / draws


def _first(whole: list[Energies], look: int) -> list[Test]:
    tests = [energy_test(one_by_one(own.first[:look], own.second[:look]), MARGIN) for own in whole]
    return [test for test in tests if test]


def stopped_share(verdict: Verdict, design: Design, draws: int) -> float:
    """How often a gate at the margin comes to this verdict whose run stops when both energies are known well enough."""
    rng, hits = design.rng("precision"), 0
    last = replace(design, repeats=MOST_REPEATS)
    for _ in range(draws):
        whole = list(energies(rng, last, 1 + MARGIN))
        planned = looks(design.repeats, MOST_REPEATS)
        stop = next(look for look in planned if look == MOST_REPEATS or _is_known(whole, look, design.precision))
        hits += verdict in verdicts(_first(whole, stop), replace(design, repeats=stop))
    return hits / draws


def _is_known(whole: list[Energies], repeats: int, precision: float) -> bool:
    """Whether a run would stop: as in `joulemark.harness.precision.unsure`, of the mean over tasks."""
    for side in ("first", "second"):
        joules = np.mean([np.exp(getattr(own, side)[:repeats]) for own in whole], axis=0)
        if relative_half_width(joules.tolist()) > precision:
            return False
    return True


def quality_share(
    verdict: Verdict, right: tuple[float, float], items: int, draws: int, margin: float = 2.0, of_source: int = 1
) -> float:
    """How often points of quality come to this verdict, paired by item; the second is that much worse by truth.

    Of ``of_source`` items that share a source half are answered as the source is.
    """
    rng, hits = np.random.default_rng(items), 0
    clusters = np.arange(items) // of_source
    for _ in range(draws):
        scores = _answers(rng, right, clusters)
        hits += verdict in verdicts([_quality_test(scores, margin, clusters)], Design())
    return hits / draws


def _answers(rng: np.random.Generator, right: tuple[float, float], clusters: NDArray[np.int64]) -> Floats:
    """Right or wrong, shape (items, 2): the second errs where the first does, and in some more."""
    first, kept = (_shared(rng, share, clusters) for share in (right[0], right[1] / right[0]))
    return np.stack([first, first & kept], axis=1).astype(float)


def _shared(rng: np.random.Generator, share: float, clusters: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for this share of the items; half of them as their source says, where they share it."""
    own, source = rng.random(len(clusters)), rng.random(len(clusters))[clusters]
    drawn: Floats = np.where(rng.random(len(clusters)) < 0.5, own, source)
    return drawn < share


def _quality_test(scores: Floats, margin: float, clusters: NDArray[np.int64]) -> Test:
    table = ItemTable(scores=scores, clusters=clusters, points=np.full(2, 100.0))
    none = np.zeros(2)
    entries = Entries(
        quality=100 * scores.mean(axis=0), log_energy=none, energy_var=none, energy_df=np.full(2, np.inf),
        scale_var=none, yardstick=np.zeros(2, dtype=np.int64), items=(table,),
    )  # fmt: skip
    pairs = differences(entries, "quality")
    value, var, df = (float(each[1, 0]) for each in (pairs.value, pairs.var, pairs.df))
    return quality_test(Effect(value=value, var=var, df=df), margin, scores[:, 1], 0.0)


def bound_share(verdict: Verdict, right: float, items: int, draws: int) -> float:
    """How often ``min_quality`` comes to this verdict for a model that has just so many points."""
    rng, hits = np.random.default_rng(items), 0
    for _ in range(draws):
        points: Share = quality(accuracy((rng.random(items) < right).astype(float)), 0.0)
        hits += verdict in verdicts([quality_bound(points, 100 * right)], Design())
    return hits / draws


def rate_share(verdict: Verdict, points: float, design: Design, draws: int, items: int = 300) -> float:
    """How often ``min_correct_per_wh`` comes to this verdict for a model that gives just so many, of 4 choices each.

    Models of few points may be guessing by what they show, and then have an upper end only.
    """
    rng, hits, chance = design.rng(f"rate {points:g}"), 0, 0.25
    right = chance + (1 - chance) * points / 100
    for _ in range(draws):
        shown = quality(accuracy((rng.random(items) < right).astype(float)), chance)
        log = log_energy(np.exp(design.scatter(rng, design.repeats)).tolist())
        test = rate_test(shown, log, 10 * points)
        # What `decide` says of one rule; the ends of its interval, which that has as well, take a hundred tests.
        hits += (test.p_beyond() if verdict == "fail" else test.p_within()) <= design.alpha
    return hits / draws


@dataclass(frozen=True, kw_only=True)
class Line:
    """A figure beside its limits.

    Attributes:
        part: What it is.
        design: Of whom.
        share: The figure.
        lowest: That it may be, without Monte Carlo error.
        highest: That it may be.
        draws: Behind it.
    """

    part: str
    design: str
    share: float
    lowest: float
    highest: float
    draws: int

    @property
    def limits(self) -> tuple[float, float]:
        """With 3 Monte Carlo standard errors."""
        ends = [(end, 3 * math.sqrt(end * (1 - end) / self.draws)) for end in (self.lowest, self.highest)]
        return ends[0][0] - ends[0][1], ends[1][0] + ends[1][1]

    @property
    def is_off(self) -> bool:
        """Whether it lies outside."""
        return not self.limits[0] <= self.share <= self.limits[1]


def lines(draws: int, part: str) -> Iterator[Line]:
    """All figures of the parts whose names begin so."""
    for name, make in _PARTS.items():
        if name.startswith(part):
            yield from make(draws)


def _line(part: str, design: Design | str, share: float, draws: int, highest: float, lowest: float = 0.0) -> Line:
    return Line(part=part, design=str(design), share=share, lowest=lowest, highest=highest, draws=draws)


def _at_the_margin(draws: int) -> Iterator[Line]:
    for design in _designs():
        yield _line("false fails", design, share_of("fail", "fails", design, draws), draws, design.alpha)


def _designs() -> Iterator[Design]:
    for repeats in (2, 3, 4, 5, 6, 10):
        for spread in (0.01, 0.03, 0.05):
            yield Design(repeats=repeats, spread=spread)
        yield Design(repeats=repeats, tails=3)
        yield Design(repeats=repeats, drift=0)
    yield Design(alpha=0.01)


def _passes(draws: int) -> Iterator[Line]:
    for design in (*_designs(), *(Design(spread=spread, rules=NUMBER_OF_RULES) for spread in (0.01, 0.03))):
        yield _line("false passes", design, share_passed("passes", design, draws), draws, design.alpha)


def _power(draws: int) -> Iterator[Line]:
    for repeats in (3, 4, 6, 10):
        for spread in (0.01, 0.03, 0.05):
            design = Design(repeats=repeats, spread=spread, drift=0)
            yield _line("power", design, power(design, draws), draws, 0.83, 0.77)
    with_holm = Design(rules=4, drift=0)
    yield _line("power, Holm", with_holm, power(with_holm, draws), draws, 1.0, 0.77)
    for design in (Design(repeats=4, spread=0.01), Design(spread=0.01), Design(), Design(tails=3, drift=0)):
        yield _line("power, reported", design, power(design, draws), draws, 1.0)


def _looks(draws: int) -> Iterator[Line]:
    for alpha in (0.1, 0.05, 0.01):
        for rules, tails in ((1, math.inf), (1, 3), (NUMBER_OF_RULES, math.inf)):
            design = Design(repeats=10, alpha=alpha, rules=rules, tails=tails, looks=(4, 6, 10))
            yield _line("fails at any look", design, failed_at_looks(design, draws), draws, alpha)


def _rules(draws: int) -> Iterator[Line]:
    for repeats, tails in ((4, math.inf), (6, math.inf), (10, math.inf), (6, 3)):
        design = Design(repeats=repeats, tails=tails, rules=NUMBER_OF_RULES)
        yield _line("any false fail", design, share_of("fail", "rules", design, draws), draws, design.alpha)


def _days(draws: int) -> Iterator[Line]:
    for spread, repeats, tails in ((0.01, 6, math.inf), (0.03, 3, math.inf), (0.05, 6, math.inf), (0.03, 6, 3)):
        several = {"daily": 3, "hours": 0.03} if repeats == 3 else {}
        design = Design(spread=spread, repeats=repeats, tails=tails, days=DAYS, history=20, drift=0, **several)
        for verdict in _VERDICTS:
            share = share_of(verdict, f"days, {verdict}", design, draws)
            yield _line(f"two runs, {verdict}", design, share, draws, design.alpha)


def _precision(draws: int) -> Iterator[Line]:
    plain = [Design(repeats=repeats, spread=0.03, precision=0.025, drift=0) for repeats in (4, 6, 10)]
    plain += [Design(repeats=3, spread=spread, precision=0.75 * spread, drift=0) for spread in (0.01, 0.03, 0.05)]
    plain += [replace(design, steady=True) for design in plain[2:]]
    plain += [replace(plain[-1], **other) for other in ({"tails": 3}, {"rules": 4}, {"alpha": 0.01})]
    for design in plain:
        for verdict in _VERDICTS[: 1 if design.rules > 1 else 2]:
            share = stopped_share(verdict, design, draws)
            yield _line(f"precise, {verdict}", design, share, draws, design.alpha)


def _refused(draws: int) -> Iterator[Line]:
    """Why these are incomparable: figures without limits."""
    for design in (Design(days=DAYS, drift=0), Design(spread=0.01, blocked=True), Design(blocked=True)):
        yield _line("refused: fail", design, share_of("fail", "refused", design, draws), draws, 1.0)


def _quality(draws: int) -> Iterator[Line]:
    for items, first in ((100, 0.9), (300, 0.9), (300, 0.7), (1000, 0.95)):
        design = f"{items} items, {first:g} right, 2 points lost"
        for verdict in _VERDICTS:
            share = quality_share(verdict, (first, first - 0.02), items, draws)
            yield _line(f"quality: {verdict}", design, share, draws, 0.05)
    for verdict in _VERDICTS:
        design = "1500 items of 500 sources, 0.9 right, 2 points lost"
        share = quality_share(verdict, (0.9, 0.88), 1500, draws, of_source=3)
        yield _line(f"quality: {verdict}", design, share, draws, 0.05)
    for items, right in ((50, 0.96), (300, 0.9), (1000, 0.5)):
        design = f"{items} items, {right:g} right, just as asked"
        for verdict in _VERDICTS:
            yield _line(f"min_quality: {verdict}", design, bound_share(verdict, right, items, draws), draws, 0.05)


def _calibration(draws: int) -> Iterator[Line]:
    """Of 40 repeats, which tell the spread; of 10, which tell it roughly, figures without limits."""
    for repeats, least, most in ((40, 0.77, 0.83), (10, 0.0, 1.0)):
        for n in (4, 6, 10):
            design = Design(repeats=n, drift=0)
            share = power_foreseen(design, repeats, draws)
            yield _line(f"foreseen from {repeats}", design, share, draws, most, least)
        for spread in (0.03, 0.05):
            design = Design(spread=spread, drift=0)
            share = passes_foreseen(design, repeats, draws)
            yield _line(f"passes, by {repeats}", f"as many as needed, {100 * spread:g} %", share, draws, 1.0, least)
    for design in (Design(tails=3, drift=0), Design(), Design(spread=0.01)):
        yield _line("foreseen, reported", design, power_foreseen(design, 40, draws), draws, 1.0)


def _rate(draws: int) -> Iterator[Line]:
    for points, design in itertools.product((1, 5, 10, 40, 95), (Design(drift=0), Design(spread=0.2, drift=0))):
        for verdict in _VERDICTS:
            share = rate_share(verdict, points, design, draws)
            yield _line(f"rate: {verdict}", f"{points} points of 300 items, {design}", share, draws, 0.05)


_VERDICTS: tuple[Verdict, ...] = ("fail", "pass")
_PARTS = {
    "fails": _at_the_margin,
    "passes": _passes,
    "power": _power,
    "looks": _looks,
    "rules": _rules,
    "precision": _precision,
    "days": _days,
    "refused": _refused,
    "quality": _quality,
    "rate": _rate,
    "calibration": _calibration,
}


def main() -> int:
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS
    off = 0
    for line in lines(draws, sys.argv[2] if len(sys.argv) > 2 else ""):
        low, high = line.limits
        off += line.is_off
        told = f"{100 * line.share:5.1f} %  ({100 * max(low, 0):.1f} to {100 * min(high, 1):.1f})"
        print(f"{line.part:18} {told:26}  {'OFF' if line.is_off else 'ok':3}  {line.design}", flush=True)
    print(f"{off} off." if off else "None is off.")
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
