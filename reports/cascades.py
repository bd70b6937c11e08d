"""The best fixed cascade by confidence: a small model answers, and a large one too where the small one is unsure.

Which two models, and how sure is sure enough, is chosen on one half of the questions and told on the other, and the
other way round: what is told of the best of many is then no winner's luck. One threshold holds for all tasks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .stats import Floats

__all__ = ["Cascade", "CrossFit", "Items", "Outcome", "Pool", "SureAnswers", "halves", "outcome", "pool"]

Items = tuple[NDArray[np.bool_], ...]
"""Which questions are looked at, an array for each task."""

_THRESHOLDS = 100
"""Thresholds that are tried lie between so many equal parts of the small model's answers."""


@dataclass(frozen=True, kw_only=True)
class SureAnswers:
    """What some models answered to the same questions, an array for each task.

    Attributes:
        scores: 0..1, shape (questions, models).
        confidence: How sure each was, the same shape; NaN in all of a model's where one is missing.
        energy_wh: Watt-hours per 1,000 answers, shape (models,).
        chances: The score of a guesser.
    """

    scores: tuple[Floats, ...]
    confidence: tuple[Floats, ...]
    energy_wh: tuple[Floats, ...]
    chances: tuple[float, ...]

    @property
    def smalls(self) -> NDArray[np.int64]:
        """The models that tell everywhere how sure they are."""
        told = [~np.isnan(part).any(axis=0) for part in self.confidence]
        return np.flatnonzero(np.all(told, axis=0)).astype(np.int64)

    @property
    def mean_wh(self) -> Floats:
        """Watt-hours per 1,000 answers of each model, mean over tasks."""
        return np.asarray(np.mean(self.energy_wh, axis=0))

    def quality(self, items: Items) -> Floats:
        """Points of each model on these questions, the mean over tasks."""
        parts = zip(self.scores, items, self.chances, strict=True)
        return np.asarray(np.mean([_points(scores[own], chance) for scores, own, chance in parts], axis=0))


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """``large`` is asked as well where ``small`` is less sure than ``threshold``; both by their number."""

    small: int
    large: int
    threshold: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a cascade comes to on some questions: mean over tasks of Wh per 1,000 answers, points, share escalated."""

    energy_wh: float
    quality: float
    escalated: float

    def beyond(self, quality: float) -> Outcome:
        """The same with its quality counted from there."""
        return replace(self, quality=self.quality - quality)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """All cascades that may be chosen, by rising energy, each with what it comes to where the choice is made."""

    cascades: tuple[Floats, ...]
    energy_wh: Floats
    quality: Floats

    def cheapest(self, quality: float) -> Cascade | None:
        """The least energy for at least so many points."""
        reached = np.flatnonzero(self.quality >= quality - 1e-9)
        return self._at(int(reached[0])) if len(reached) else None

    def best(self, energy_wh: float) -> Cascade | None:
        """The most points for at most so much energy."""
        upto = int(np.searchsorted(self.energy_wh, energy_wh * (1 + 1e-9), side="right"))
        return self._at(int(np.argmax(self.quality[:upto]))) if upto else None

    def _at(self, place: int) -> Cascade:
        small, large, threshold = (part[place] for part in self.cascades)
        return Cascade(small=int(small), large=int(large), threshold=float(threshold))


def halves(tasks: Sequence[str], clusters: Sequence[NDArray[np.str_]]) -> tuple[Items, Items]:
    """Two halves of each task's questions, the same every time; what shares a cluster stays together.

    Clusters go to one half and the other in turn, in an order that has nothing to do with theirs: levels of difficulty
    come in turn as well.
    """
    first = tuple(_first_half(task, own) for task, own in zip(tasks, clusters, strict=True))
    return first, tuple(~own for own in first)


def pool(answers: SureAnswers, items: Items) -> Pool:
    """Every pair of a model and a dearer one at every threshold, on these questions."""
    parts = [part for small in answers.smalls for part in _with_small(answers, items, int(small))]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [np.zeros(0)] * 5
    order = np.lexsort((-columns[1], columns[0]))
    energy_wh, quality, *cascades = (column[order] for column in columns)
    return Pool(cascades=tuple(cascades), energy_wh=energy_wh, quality=quality)


def outcome(answers: SureAnswers, items: Items, cascade: Cascade) -> Outcome:
    """What a cascade comes to on these questions.

    Energy: that of the small model, and of the large one for the share that it is asked.
    """
    energy, quality, share = [], [], []
    for scores, sure, wh, chance, own in zip(
        answers.scores, answers.confidence, answers.energy_wh, answers.chances, items, strict=True
    ):
        unsure = sure[own, cascade.small] < cascade.threshold
        share.append(unsure.mean())
        energy.append(wh[cascade.small] + unsure.mean() * wh[cascade.large])
        answered = np.where(unsure, scores[own, cascade.large], scores[own, cascade.small])
        quality.append(float(_points(answered, chance)))
    return Outcome(energy_wh=float(np.mean(energy)), quality=float(np.mean(quality)), escalated=float(np.mean(share)))


class CrossFit:
    """Cascades chosen on one half of the questions and told on the other; the mean of both ways."""

    def __init__(self, answers: SureAnswers, first: Items, second: Items) -> None:
        self._answers = answers
        self._ways = (pool(answers, first), second), (pool(answers, second), first)

    def cheapest(self, quality: tuple[float, float]) -> Outcome | None:
        """The least energy for at least so many points on the first half and on the second; None where none has them.

        On the questions that it is told of it may reach less.
        """
        return self._told([chosen.cheapest(own) for (chosen, _), own in zip(self._ways, quality, strict=True)])

    def best(self, energy_wh: float) -> Outcome | None:
        """The most points for at most so much energy; None where all take more."""
        return self._told([chosen.best(energy_wh) for chosen, _ in self._ways])

    def _told(self, picks: Sequence[Cascade | None]) -> Outcome | None:
        both = [outcome(self._answers, other, pick) for pick, (_, other) in zip(picks, self._ways, strict=True) if pick]
        if len(both) < 2:
            return None
        return Outcome(
            energy_wh=sum(way.energy_wh for way in both) / 2,
            quality=sum(way.quality for way in both) / 2,
            escalated=sum(way.escalated for way in both) / 2,
        )


def _with_small(answers: SureAnswers, items: Items, small: int) -> Iterator[tuple[Floats, ...]]:
    """Energy, quality, small, large, threshold of all cascades of a small model, one large model at a time."""
    tasks, models = len(items), len(answers.energy_wh[0])
    gains, costs, sure, start_wh = [], [], [], 0.0
    for scores, confidence, wh, chance, own in zip(
        answers.scores, answers.confidence, answers.energy_wh, answers.chances, items, strict=True
    ):
        weight = 1 / (own.sum() * tasks)
        gains.append((scores[own] - scores[own][:, [small]]) * (100 / (1 - chance) * weight))
        costs.append(np.broadcast_to(wh * weight, (own.sum(), models)))
        sure.append(confidence[own, small])
        start_wh += wh[small] / tasks
    ranked = np.concatenate(sure)
    order = np.argsort(ranked, kind="stable")
    ranked = ranked[order]
    thresholds = np.unique(ranked[np.arange(1, _THRESHOLDS) * len(ranked) // _THRESHOLDS])
    # What is escalated is less sure than the threshold, and something is.
    counts = np.searchsorted(ranked, thresholds, side="left")
    thresholds, counts = thresholds[counts > 0], counts[counts > 0]
    quality = float(answers.quality(items)[small]) + np.cumsum(np.concatenate(gains)[order], axis=0)[counts - 1]
    energy = start_wh + np.cumsum(np.concatenate(costs)[order], axis=0)[counts - 1]
    for large in np.flatnonzero(answers.mean_wh > answers.mean_wh[small]):
        ends = np.full(len(counts), small, dtype=float), np.full(len(counts), large, dtype=float)
        yield energy[:, large], quality[:, large], *ends, thresholds


def _first_half(task: str, clusters: NDArray[np.str_]) -> NDArray[np.bool_]:
    names, own = np.unique(clusters, return_inverse=True)
    shuffled = sorted(range(len(names)), key=lambda at: hashlib.sha256(f"{task}/{names[at]}".encode()).digest())
    place = np.empty(len(names), dtype=np.int64)
    place[shuffled] = np.arange(len(names))
    return np.asarray(place[own] % 2 == 0)


def _points(scores: Floats, chance: float) -> Floats:
    """Quality of each model, shape (models,), from scores of shape (questions, models)."""
    return np.asarray(100 * (scores.mean(axis=0) - chance) / (1 - chance))
