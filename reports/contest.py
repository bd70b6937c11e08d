"""Entrants of one view against each other: pairs, ranks, and the frontier with its probability.

Comparisons use what is independent between entrants: items (paired, since all answer the same ones)
and repeats. A meter's scale cancels between entrants of one machine and meter, and counts between others.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .pareto import frontier
from .stats import Floats, holm, p_of_sum, satterthwaite, t_quantile

__all__ = [
    "By",
    "Differences",
    "Entries",
    "ItemTable",
    "Ranks",
    "differences",
    "draw_jointly",
    "draws_lost",
    "judge_draws",
    "judge_frontier",
    "rank_entries",
]

By = Literal["correct_per_wh", "quality", "energy"]
Places = NDArray[np.unsignedinteger[Any]]
DRAWS = 2000
CONFIDENT = 0.95
_BLOCK = 4_000_000
_PART = 5
_LEAST_T = 1.95


@dataclass(frozen=True, kw_only=True)
class ItemTable:
    """Scores of all entrants on one task.

    Attributes:
        scores: Shape (items, entrants); NaN where an entrant was not asked.
        clusters: Shape (items,), numbered from 0; items of one source share a number.
        points: Quality points of the view's mean for one unit of this task's accuracy, shape (entrants,).
    """

    scores: Floats
    clusters: NDArray[np.int64]
    points: Floats


@dataclass(frozen=True, kw_only=True)
class Entries:
    """The entrants of a view as arrays, one element each.

    Attributes:
        quality: Points.
        log_energy: Mean over repeats of ln(Wh per 1,000 items).
        energy_var: Variance of that mean; NaN for one repeat.
        energy_df: Its degrees of freedom.
        scale_var: Squared relative scale uncertainty of the meter.
        yardstick: Number of the machine and meters; a scale cancels between equal ones.
        items: A table for each task.
    """

    quality: Floats
    log_energy: Floats
    energy_var: Floats
    energy_df: Floats
    scale_var: Floats
    yardstick: NDArray[np.int64]
    items: tuple[ItemTable, ...]

    def __len__(self) -> int:
        return len(self.quality)

    @cached_property
    def rates(self) -> Differences:
        """All pairs, by right answers per Wh."""
        return differences(self, "correct_per_wh")

    @cached_property
    def draws(self) -> tuple[Floats, Floats]:
        """As `draw_jointly` makes them, for whoever needs the same ones again."""
        return draw_jointly(self)

    @cached_property
    def lost(self) -> NDArray[np.int64]:
        """`draws_lost` in these draws."""
        return draws_lost(*self.draws)

    @cached_property
    def beats(self) -> NDArray[np.bool_]:
        """Whether the column's entrant beats the row's in both in 0.95 of these draws."""
        return _beaten(self.lost, len(self.draws[0]))

    @cached_property
    def quality_covariance(self) -> tuple[Floats, float]:
        """Covariance of the entrants' qualities over items, points squared, and its degrees of freedom."""
        return _quality_covariance(self.items)

    def only(self, keep: NDArray[np.int64]) -> Entries:
        """These entrants, in this order; the same object where that is all of them, which may be large."""
        if np.array_equal(keep, np.arange(len(self))):
            return self
        tables = tuple(
            ItemTable(scores=t.scores[:, keep], clusters=t.clusters, points=t.points[keep]) for t in self.items
        )
        return Entries(
            quality=self.quality[keep],
            log_energy=self.log_energy[keep],
            energy_var=self.energy_var[keep],
            energy_df=self.energy_df[keep],
            scale_var=self.scale_var[keep],
            yardstick=self.yardstick[keep],
            items=tables,
        )


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Row minus column for all pairs, each of shape (entrants, entrants); larger is better for the row.

    Attributes:
        value: Log ratio of right answers per Wh, points of quality, or minus the log ratio of energies.
        var: Its variance; NaN where one repeat says nothing about energy.
        df: Degrees of freedom.
        scatter: The part of the variance that repeats tell.
        scatter_df: Degrees of freedom of that part.
    """

    value: Floats
    var: Floats
    df: Floats
    scatter: Floats
    scatter_df: Floats

    def only(self, keep: Sequence[int]) -> Differences:
        """Those of these entrants among each other."""
        some = np.ix_(keep, keep)
        found = Differences(**{field.name: getattr(self, field.name)[some] for field in fields(self)})
        found.__dict__["p"] = self.p[some]
        return found

    @cached_property
    def p(self) -> Floats:
        """P value of each pair, shape (entrants, entrants); 1 where no correction could call it significant."""
        n = len(self.value)
        # Student's t needs more than the normal's 1.96, whatever its degrees of freedom.
        row, column = np.nonzero(np.triu(np.abs(self.value) >= _LEAST_T * np.sqrt(self.var), k=1))
        parts = (self.value, self.var, self.df, self.scatter, self.scatter_df)
        p = np.ones((n, n))
        p[row, column] = p[column, row] = p_of_sum(*(part[row, column] for part in parts))
        return p

    def interval(self, row: int, column: int) -> tuple[float, float] | None:
        """95 % interval of one difference, by itself; None where there is none."""
        var = float(self.var[row, column])
        if np.isnan(var):
            return None
        half = t_quantile(float(self.df[row, column])) * var**0.5
        return float(self.value[row, column]) - half, float(self.value[row, column]) + half


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Ranks of entrants: ``rank`` by point estimate, ``low``..``high`` by what is significant (Holm in the view)."""

    rank: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    better: NDArray[np.bool_]
    """Row significantly better than column."""


def differences(entries: Entries, by: By) -> Differences:
    """All pairs, by what is asked for; items are paired, repeats are not."""
    nothing = np.zeros((len(entries), len(entries)))
    if by == "energy":
        value = -_outer_minus(entries.log_energy)
        return Differences(value=value, **_sum_up(entries, nothing, np.inf, with_energy=True))
    covariance, df = entries.quality_covariance
    if by == "quality":
        spread = _pair_variance(covariance, np.ones(len(entries)))
        return Differences(value=_outer_minus(entries.quality), **_sum_up(entries, spread, df, with_energy=False))
    spread = _pair_variance(covariance, 1 / entries.quality)
    value = _outer_minus(np.log(entries.quality) - entries.log_energy)
    return Differences(value=value, **_sum_up(entries, spread, df, with_energy=True))


def rank_entries(pairs: Differences, worth: Floats) -> Ranks:
    """Ranks by ``worth`` (more is better, equal worth shares a rank) with ranges from the pairs.

    ``low`` is 1 + the entrants significantly better, ``high`` is all less those significantly worse;
    Holm's correction is over all pairs of the view.
    """
    n = len(worth)
    upper = np.triu_indices(n, k=1)
    significant = np.zeros((n, n), dtype=bool)
    significant[upper] = holm(pairs.p[upper])
    better = (significant | significant.T) & (pairs.value > 0)
    rank = 1 + np.sum(worth[None, :] > worth[:, None], axis=1)
    return Ranks(rank=rank, low=1 + better.sum(axis=0), high=n - better.sum(axis=1), better=better)


def judge_frontier(entries: Entries, draws: int = DRAWS, seed: int = 0) -> tuple[Floats, list[str]]:
    """How surely each entrant is on the frontier of quality and energy.

    Items are resampled jointly over entrants, by cluster; log energy is drawn from its t distribution.

    Returns:
        The share of draws in which each entrant is on the frontier, and ``on`` (0.95 or more),
        ``dominated`` (some entrant beats it in both with probability 0.95 or more) or ``unclear``.
    """
    return judge_draws(*draw_jointly(entries, draws, seed))


def judge_draws(points: Floats, logs: Floats, lost: NDArray[np.int64] | None = None) -> tuple[Floats, list[str]]:
    """The same from draws of quality and log energy, each ``(draws, entrants)``, and `draws_lost` where it is known."""
    lost = draws_lost(points, logs) if lost is None else lost
    share = np.zeros(points.shape[1])
    # Who is beaten by one and the same rival in every draw is on no frontier, and keeps nobody else from it.
    able = np.flatnonzero(lost.all(axis=1))
    share[able] = frontier(*(np.take(each, able, axis=1) for each in (logs, points))).mean(axis=0)
    worth, cost = (np.ascontiguousarray(each.T).mean(axis=1) for each in (points, logs))
    better = (worth > worth[:, None]) & (cost < cost[:, None])
    dominated = (_beaten(lost, len(points)) & better).any(axis=1)
    named = np.select([share >= CONFIDENT, dominated], ["on", "dominated"], "unclear")
    return share, [str(name) for name in named]


def draw_jointly(entries: Entries, draws: int = DRAWS, seed: int = 0) -> tuple[Floats, Floats]:
    """Quality in points and log energy of all entrants, as they could have come out, each ``(draws, entrants)``."""
    return _resampled_quality(entries.items, draws, seed), _drawn_energy(entries, draws, seed)


def draws_lost(points: Floats, logs: Floats) -> NDArray[np.int64]:
    """In how many draws the column's entrant does not beat the row's in both, each ``(draws, entrants)``.

    A part of the draws shows who has lost too many to count as better; of the others all are looked at, and of those
    the number is all draws.
    """
    worth, cost = _places(points), _places(logs)
    n, draws = worth.shape
    first, rest = slice(draws // _PART), slice(draws // _PART, None)
    few, more = (np.stack([each[:, part] for each in (worth, cost)]) for part in (first, rest))
    lost = np.full((n, n), draws)
    for one in range(n):
        begun = _lost(few, one)
        rivals = np.flatnonzero(_beaten(begun, draws))
        lost[one, rivals] = begun[rivals] + _lost(more, one, rivals)
    return lost


def _beaten(lost: NDArray[np.int64], draws: int) -> NDArray[np.bool_]:
    return lost <= (1 - CONFIDENT) * draws


def _places(values: Floats) -> Places:
    """Each one's place in its draw, from the least on, equal ones sharing theirs; turned round, ``(entrants, draws)``.

    Two bytes compare several times as fast as eight.
    """
    order, sorted_ = np.argsort(values, axis=1), np.sort(values, axis=1)
    apart = sorted_[:, 1:] != sorted_[:, :-1]
    places = np.zeros(values.shape, dtype=np.min_scalar_type(values.shape[1]))
    # Where none are equal, which is nearly always, there is nothing to count.
    steps = np.arange(1, values.shape[1]) if apart.all() else np.cumsum(apart, axis=1)
    np.put_along_axis(places, order[:, 1:], steps.astype(places.dtype), axis=1)
    return np.ascontiguousarray(places.T)


def _lost(places: Places, one: int, rivals: Any = slice(None)) -> NDArray[np.int64]:
    """In how many draws each of the rivals does not beat one in both; places of worth and cost, each as `_places`."""
    worth, cost = places
    both = np.packbits((worth[rivals] > worth[one]) & (cost[rivals] < cost[one]), axis=1)
    return np.asarray(worth.shape[1] - np.bitwise_count(both).sum(axis=1, dtype=np.int64))


def _quality_covariance(tables: tuple[ItemTable, ...]) -> tuple[Floats, float]:
    """Covariance of the entrants' qualities over items, and its degrees of freedom.

    Cluster-robust (arXiv 2411.00640, paired by item). One item's worth is added to the diagonal, which
    adds two made-up disagreements to a pair (Bonett and Price 2012): equal answers prove no equality. Where items
    share sources it is a whole source's.
    """
    n = tables[0].scores.shape[1]
    covariance, df = np.zeros((n, n)), 0.0
    for table in tables:
        asked = ~np.isnan(table.scores)
        count = np.maximum(asked.sum(axis=0), 1)
        residual = np.where(asked, table.scores - np.nansum(table.scores, axis=0) / count, 0.0)
        sums = _by_cluster(residual, table.clusters) * (table.points / count)
        groups = len(sums)
        covariance += sums.T @ sums * (groups / max(groups - 1, 1))
        covariance += np.diag(table.points**2 / ((groups + 2) * (len(table.scores) + 2)))
        df += max(groups - 1, 1)
    return covariance, df


def _pair_variance(covariance: Floats, weight: Floats) -> Floats:
    """Variance of ``weight_i Q_i - weight_j Q_j`` for all pairs."""
    weighted = covariance * np.outer(weight, weight)
    own = np.diag(weighted)
    result: Floats = np.maximum(own[:, None] + own[None, :] - 2 * weighted, 0.0)
    np.fill_diagonal(result, 0.0)
    return result


def _sum_up(entries: Entries, spread: Floats, df: float, *, with_energy: bool) -> dict[str, Floats]:
    if not with_energy:
        same = {"df": df, "scatter": 0.0, "scatter_df": np.inf}
        return {"var": spread} | {name: np.broadcast_to(value, spread.shape) for name, value in same.items()}
    var, freedom = entries.energy_var, np.where(entries.energy_df > 0, entries.energy_df, np.nan)
    apart = entries.yardstick[:, None] != entries.yardstick[None, :]
    scale = apart * (entries.scale_var[:, None] + entries.scale_var[None, :])
    scatter, scatter_df = satterthwaite([var[:, None], var[None, :]], [freedom[:, None], freedom[None, :]])
    total, dfs = satterthwaite(
        [spread, var[:, None], var[None, :], scale], [df, freedom[:, None], freedom[None, :], np.inf]
    )
    return {"var": total, "df": dfs, "scatter": scatter, "scatter_df": scatter_df}


def _outer_minus(values: Floats) -> Floats:
    return np.asarray(values[:, None] - values[None, :])


def _by_cluster(values: Floats, clusters: NDArray[np.int64]) -> Floats:
    """Sums over clusters, shape (clusters, entrants)."""
    groups = int(clusters.max()) + 1 if len(clusters) else 0
    if groups == len(clusters):
        return values
    sums = np.zeros((groups, values.shape[1]))
    np.add.at(sums, clusters, values)
    return sums


def _resampled_quality(tables: tuple[ItemTable, ...], draws: int, seed: int) -> Floats:
    """Quality of each entrant in ``draws`` sets of clusters drawn anew, shape (draws, entrants)."""
    total = np.zeros((draws, tables[0].scores.shape[1]))
    for number, table in enumerate(tables):
        asked = (~np.isnan(table.scores)).astype(float)
        sums, counts = _by_cluster(np.nan_to_num(table.scores), table.clusters), _by_cluster(asked, table.clusters)
        if (counts == counts[:, :1]).all():
            counts = counts[:, :1]
        rng = np.random.default_rng([seed, number, len(sums)])
        block = max(1, _BLOCK // len(sums))
        for start in range(0, draws, block):
            weights = _weights(rng, min(block, draws - start), len(sums))
            mean = (weights @ sums) / np.maximum(weights @ counts, 1)
            total[start : start + block] += mean * table.points
    return total + _offset(tables)


def _weights(rng: np.random.Generator, draws: int, groups: int) -> Floats:
    """How often each of ``groups`` comes up when as many are drawn with replacement, shape (draws, groups)."""
    drawn = rng.integers(groups, size=(draws, groups)) + groups * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * groups).reshape(draws, groups).astype(float)


def _offset(tables: tuple[ItemTable, ...]) -> Floats:
    """What chance takes off: ``100 (a - c)/(1 - c) = points a - (points - 100)``, summed over tasks."""
    return np.asarray(sum(100 / len(tables) - table.points for table in tables))


def _drawn_energy(entries: Entries, draws: int, seed: int) -> Floats:
    """Log energies, shape (draws, entrants). Each entrant's draws depend on its own figures alone, and on no unit."""
    logs = np.empty((draws, len(entries)))
    met: Counter[str] = Counter()
    for at in np.argsort(entries.log_energy, kind="stable"):
        var, df = entries.energy_var[at], entries.energy_df[at]
        own = f"{var:.9g} {df} {entries.quality[at]}"
        # Those that are alike in all of this are told apart by their place among each other, or they would move as one.
        met[own] += 1
        digest = hashlib.sha256(f"{own} {met[own]}".encode()).digest()
        rng = np.random.default_rng([seed, *np.frombuffer(digest[:16], dtype=np.uint32).tolist()])
        # Of two repeats: what Student's t of one degree of freedom is takes half of the time by its own name.
        drawn = rng.standard_cauchy(draws) if df == 1 else rng.standard_t(df, size=draws)
        logs[:, at] = entries.log_energy[at] + drawn * var**0.5
    if len(np.unique(entries.yardstick)) > 1:
        for number in np.unique(entries.yardstick):
            same = entries.yardstick == number
            shift = np.random.default_rng([seed, 1, int(number)]).standard_normal((draws, 1))
            logs[:, same] += shift * np.sqrt(entries.scale_var[same])
    return logs
