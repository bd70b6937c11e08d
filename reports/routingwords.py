"""Routing headroom in words: what each yardstick is, a table, and which cascades the best ones are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .asides import Aside
from .cascades import Outcome
from .names import LISTED
from .routing import MOST, Fixed, Headroom, Line
from .routingplot import picture_alt, picture_caption, picture_legend, picture_svg
from .rows import Row
from .wording import MISSING, fixed, joined, number, safe

__all__ = ["RoutingText", "routing_json", "routing_text"]

TITLE = "Routing headroom: a bound and an estimate, not a measurement"
_INTRODUCTION = (
    "What these models would reach together, if some questions went to one and some to another. The measured frontier "
    "is what there is; a cascade is an estimate from these answers; a perfect router is a bound, not a measurement. "
    "None of it is ranked."
)
_NO = "none"
"""No cascade needs less than the measured models, or reaches more."""
_NOT_JUDGED = "not judged"
_TOLD = 12
"""Models whose best cascade is told in a sentence."""


@dataclass(frozen=True, kw_only=True)
class RoutingText:
    """A section of a report.

    Attributes:
        title: Of the section.
        introduction: What it is about.
        table: An entrant a line.
        columns: What each column of the table is, a sentence or two each.
        cascades: Which cascades the best ones are, a sentence each.
        svg: A picture.
        legend: What its lines are: a small SVG and words each.
        alt: The picture in words.
        caption: What is drawn.
    """

    title: str
    introduction: str
    table: Aside
    columns: tuple[str, ...]
    cascades: tuple[str, ...]
    svg: str
    legend: list[tuple[str, str]]
    alt: str
    caption: str


def routing_text(headroom: Headroom) -> RoutingText:
    """The section of a report."""
    with_cascades = bool(headroom.sure)
    return RoutingText(
        title=TITLE,
        introduction=_INTRODUCTION,
        table=_table(headroom, with_cascades),
        columns=_columns(headroom, with_cascades),
        cascades=_cascades(headroom) if with_cascades else (),
        svg=picture_svg(headroom),
        legend=picture_legend(headroom),
        alt=picture_alt(headroom),
        caption=picture_caption(headroom),
    )


def routing_json(headroom: Headroom) -> dict[str, Any]:
    """The same for ``results.json``; energies in watt-hours per 1,000 answers, ``points`` beyond an entrant's own."""
    return {
        "note": _INTRODUCTION,
        "asked_first": [_who(row) for row in headroom.sure],
        "cascades_of": [_who(row) for row in headroom.tried],
        "entrants": [
            _who(line.row)
            | {
                "frontier_energy_wh_per_1k": line.frontier_wh,
                "router_energy_wh_per_1k": line.router_wh,
                "router_points": line.router_points,
                "cascade_for_quality": _outcome_json(line.cheapest, line.fixed),
                "cascade_for_energy": _outcome_json(line.best, line.fixed_best),
            }
            for line in headroom.lines
        ],
        "cascade_curve": [{"energy_wh_per_1k": wh, "quality": points} for wh, points in headroom.curve],
    }


def _who(row: Row) -> dict[str, Any]:
    return {"model": row.model, "label": row.label, "run_id": row.run_id}


def _outcome_json(told: Outcome | None, chosen: Fixed | None) -> dict[str, Any] | None:
    """What was told of the other half, and the cascade that is chosen with all questions."""
    if told is None:
        return None
    values: dict[str, Any] = {
        "energy_wh_per_1k": told.energy_wh,
        "points": told.quality,
        "escalated": told.escalated,
        "chosen": None,
    }
    if chosen:
        own = {"small": _who(chosen.small), "large": _who(chosen.large), "threshold": chosen.threshold}
        values["chosen"] = own | {f"in_sample_{name}": value for name, value in asdict(chosen.outcome).items()}
    return values


def _table(headroom: Headroom, with_cascades: bool) -> Aside:
    quality, energy = "energy for its quality", "points at its energy"
    heads = [f"Frontier: {quality}"]
    if with_cascades:
        heads += ["Cascade of about its quality: energy (points more or less)", "Cascade of about its energy: points"]
    heads += [f"Perfect router: {quality}", f"Perfect router: {energy}"]
    lines = [(safe(line.row.label), tuple(_cells(line, with_cascades))) for line in headroom.lines]
    return Aside(title="Distance to what choosing could reach", note="", heads=tuple(heads), lines=tuple(lines))


def _cells(line: Line, with_cascades: bool) -> list[str]:
    own = line.row.energy_wh_per_1k or 0.0
    cells = [_NOT_JUDGED if line.frontier_wh is None else _share(line.frontier_wh / own)]
    if with_cascades:
        cheapest, best = line.cheapest, line.best
        cells.append(f"{_share(cheapest.energy_wh / own)} ({_more(cheapest.quality)})" if cheapest else _NO)
        cells.append(_more(best.quality) if best else _NO)
    cells.append(_share(None if line.router_wh is None else line.router_wh / own))
    return [*cells, _more(line.router_points)]


def _share(value: float | None) -> str:
    """A share in whole percents, which is what its error leaves; the space does not break."""
    return MISSING if value is None else "under 1\u00a0%" if value < 0.01 else f"{100 * value:,.0f}\u00a0%"


def _columns(headroom: Headroom, with_cascades: bool) -> tuple[str, ...]:
    told = [
        "Frontier: the energy of the cheapest measured model that is at least as good, errors aside, as a share of the "
        "model's own; 100 % on the frontier, which is that of the picture at the top."
    ]
    if unjudged := [safe(line.row.label) for line in headroom.lines if line.row.frontier is None]:
        who, verb, it = (joined(unjudged), "is", "it") if len(unjudged) == 1 else (_several(unjudged), "are", "them")
        told.append(
            f"{who} {verb} not judged: what cannot be told from guessing is on no frontier. The perfect router may "
            f"ask {it} all the same."
        )
    if with_cascades:
        told.append(
            "Cascade: a small model answers, and a larger one too where the small one is less sure than a threshold, "
            "the same in all tasks. Pair and threshold are chosen on one half of the questions and told on the other, "
            "both ways, averaged; so the quality may be a little more or less than the model's own, by the points in "
            "brackets, and the energy by a few percent. There is no interval, and deciding costs nothing here. "
            f"{_NO.capitalize()}: a measured model that is as good takes no more, or one that takes as much is as good."
        )
    else:
        told.append(
            "No cascade by confidence could be tried: no model here that has a dearer one beside it tells how sure it "
            "is of every answer."
        )
    if (many := len({line.row.run_id for line in headroom.lines})) > 1:
        told.append(
            f"These answers and energies come from {many} runs: what changed on the machine between them is in no "
            "interval, and is taken for a difference of the models here."
        )
    if with_cascades and len(headroom.lines) > len(headroom.tried):
        told.append(
            f"Cascades are made of {len(headroom.tried)} of the {len(headroom.lines)} models, at most {MOST}: those on "
            "the frontier first, then those that may be."
        )
    told.append(
        "Perfect router: each question asked of the right model, known beforehand and for nothing. A router that has "
        "to find out reaches less."
    )
    return tuple(told)


def _several(names: Sequence[str]) -> str:
    return joined(names) if len(names) <= LISTED else f"{len(names)} models"


def _cascades(headroom: Headroom) -> tuple[str, ...]:
    """Which cascade each is, those of the same one together."""
    groups: dict[str, dict[str, list[str]]] = {}
    for line in headroom.lines:
        name = safe(line.row.label)
        for chosen, aim in ((line.fixed, "quality"), (line.fixed_best, "energy")):
            if chosen:
                groups.setdefault(_in_words(chosen), {}).setdefault(aim, []).append(name)
    sentences = []
    for words, aims in groups.items():
        told = ", and ".join(f"for the {aim} of {joined(names)}" for aim, names in aims.items())
        sentences.append(f"{told[0].upper()}{told[1:]}: {words}.")
    left = len(sentences) - _TOLD
    more = [f"{left} more are in results.json."] if left > 0 else []
    return (*sentences[:_TOLD], *more)


def _in_words(chosen: Fixed) -> str:
    small, large = safe(chosen.small.label), safe(chosen.large.label)
    return (
        f"{small}, then {large} where {small} is less sure than {_threshold(chosen.threshold)} "
        f"({_share(chosen.outcome.escalated)} of the questions)"
    )


def _threshold(value: float) -> str:
    """Between 0 and 1, with as many digits as tell it from 1."""
    decimals = next((d for d in range(2, 9) if 1 - value >= 10.0**-d), 9)
    return f"{value:.{decimals}f}" if value > 0.05 else number(value, 2)


def _more(points: float | None) -> str:
    return fixed(points) if points is None or round(points, 1) <= 0 else f"+{fixed(points)}"
