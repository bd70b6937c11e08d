"""A rule's figures as text: changes of energy in percent, all else in its own unit, and the sentence they make."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .gaterules import Outcome
from .wording import MISSING, Unit, energy_unit, fixed, joined, number, rate_unit, safe, span, times

__all__ = [
    "ARROW",
    "AT_LEAST",
    "AT_MOST",
    "RuleText",
    "counted",
    "is_beyond",
    "more",
    "rule_name",
    "rule_sentence",
    "rule_text",
    "so_many",
]

_NAMES = {
    "task": "all of it",
    "model": "the model itself",
    "max_wh_per_1k": "energy bound",
    "min_quality": "quality bound",
    "min_correct_per_wh": "right per Wh",
}
_PER = "per 1,000 answers"
NONE = "none"
"""Where no change that there can be would have been seen."""
_MOST_POINTS = 100.0
_FAR = 3.0
"""From so many times on a change is told as a factor, not in percent."""
_VERY_FAR = 1_000.0
"""From so many times on nobody needs the number."""
ARROW, AT_MOST, AT_LEAST = "\u2192", "\u2264", "\u2265"


@dataclass(frozen=True, kw_only=True)
class RuleText:
    """A rule's figures as text; `MISSING` where there is none.

    Attributes:
        before: The baseline's.
        after: The candidate's.
        unit: Of both; may be empty.
        per: What the unit is of, such as ``per 1,000 answers``; may be empty.
        change: How much more or less the candidate has.
        interval: The interval of that; may be empty.
        margin: What it must keep to.
        seen: The smallest true change that would most likely have been found.
    """

    before: str = MISSING
    after: str = MISSING
    unit: str = ""
    per: str = ""
    change: str = MISSING
    interval: str = ""
    margin: str = MISSING
    seen: str = MISSING

    def sides(self, between: str = " ") -> str:
        """Baseline and candidate, ``between`` before the arrow; the candidate alone where there is no other."""
        return self.after if self.before == MISSING else f"{self.before}{between}{ARROW} {self.after}"

    def changed(self, between: str = " ") -> str:
        """The change and its interval; of a bound, which has no change, the figure's own."""
        limits = f"({self.interval})" if self.interval else ""
        return limits if self.change == MISSING and limits else between.join(filter(None, (self.change, limits)))


def rule_text(rule: Outcome) -> RuleText:
    """The figures of a rule: changes of energy in percent, all else in its own unit."""
    if rule.metric == "energy":
        return _energy_text(rule)
    if rule.metric == "quality":
        return RuleText(
            before=fixed(rule.baseline),
            after=fixed(rule.candidate),
            unit="points",
            change=_signed(rule.ratio_or_delta, 1),
            interval=span(rule.low, rule.high, 1),
            margin=_plain(rule.margin),
            seen=NONE if (rule.min_detectable or 0.0) < -_MOST_POINTS else _signed(rule.min_detectable, 1),
        )
    return RuleText() if rule.metric in ("task", "model") else _bound_text(rule)


def more(ratio: float) -> str:
    """A finite ratio of energies as what is more, such as ``4.1 %``; as a factor where it is large."""
    if ratio >= _VERY_FAR:
        return f"over {_VERY_FAR:,.0f}\u00d7"
    return times(ratio) if ratio >= _FAR else f"{fixed(100 * (ratio - 1), 1)} %"


def rule_name(rule: Outcome) -> str:
    """What a rule is about, without its task."""
    return _NAMES.get(rule.metric, rule.metric)


def rule_sentence(rule: Outcome, level: str) -> str:
    """What came of a rule, for places that have no table; ``level`` is that of its interval."""
    if rule.reason and rule.ratio_or_delta is None:
        return safe(rule.reason)
    told = rule_text(rule)
    changes = [told.change] * (told.change != MISSING) + [f"{level} interval {told.interval}"] * bool(told.interval)
    change = f" ({', '.join(changes)})" if changes else ""
    seen = f" {told.seen} would most likely have been seen." if told.seen not in (MISSING, NONE) else ""
    seen = " No drop would most likely have been seen: there are too few questions." if told.seen == NONE else seen
    why = f" {safe(rule.reason)[:1].upper()}{safe(rule.reason)[1:]}" if rule.reason else _why(rule)
    name = f"{rule_name(rule)[0].upper()}{rule_name(rule)[1:]}"
    figures = " ".join(filter(None, (told.sides(), told.unit, told.per)))
    return f"{name} in {safe(rule.task)}: {figures}{change}; allowed is {told.margin}.{why}{seen}"


def counted(rules: Sequence[Outcome]) -> str:
    """How many rules of each kind these are, such as ``90 of energy and 90 of quality``."""
    return joined([f"{many:,} of {name}" for name, many in Counter(map(rule_name, rules)).items()]) if rules else ""


def so_many(rules: int, kind: str = "") -> str:
    """So many rules, such as ``1 rule`` or ``1,200 more rules``; ``kind`` is what stands before the word."""
    return f"{rules:,} {kind}{' ' if kind else ''}{'rule' if rules == 1 else 'rules'}"


def _why(rule: Outcome) -> str:
    """Why a rule that was tested is neither kept nor broken."""
    if rule.verdict != "inconclusive" or rule.low is None:
        return ""
    if is_beyond(rule):
        return " By itself it is beyond, but not once all rules are allowed for."
    return " It may lie on either side."


def is_beyond(rule: Outcome) -> bool:
    """Whether a rule's own interval is wholly beyond its margin."""
    if rule.low is None or rule.high is None or rule.margin is None:
        return False
    return rule.low > rule.margin if rule.metric in ("energy", "max_wh_per_1k") else rule.high < rule.margin


def _energy_text(rule: Outcome) -> RuleText:
    unit = energy_unit([rule.baseline if rule.baseline is not None else rule.candidate])
    known = [value for value in (rule.ratio_or_delta, rule.low, rule.high) if value is not None]
    in_percent = max(known, default=1.0) < _FAR
    return RuleText(
        before=_scaled(rule.baseline, unit.factor),
        after=_scaled(rule.candidate, unit.factor),
        unit=unit.name,
        per=_PER,
        change=_more(rule.ratio_or_delta),
        interval=_span_of(rule, in_percent=in_percent),
        margin=MISSING if rule.margin is None else f"{_plain(100 * (rule.margin - 1))} %",
        seen=_more(rule.min_detectable),
    )


def _span_of(rule: Outcome, *, in_percent: bool) -> str:
    if rule.low is None or rule.high is None:
        return ""
    if in_percent:
        return span(100 * (rule.low - 1), 100 * (rule.high - 1), 1)
    return f"{number(rule.low, 2)} to {times(rule.high) if rule.high < 1e6 else 'any'}"


def _bound_text(rule: Outcome) -> RuleText:
    unit = Unit("points", 1.0)
    if rule.metric == "max_wh_per_1k":
        unit = energy_unit([rule.margin])
    elif rule.metric == "min_correct_per_wh":
        unit = rate_unit([rule.candidate or rule.margin])
    factor = unit.factor
    side = AT_MOST if rule.metric == "max_wh_per_1k" else AT_LEAST
    low, high = (None if end is None else end * factor for end in (rule.low, rule.high))
    return RuleText(
        after=_scaled(rule.candidate, factor),
        unit=unit.name,
        per=_PER if rule.metric == "max_wh_per_1k" else "",
        interval=span(low, high),
        margin=MISSING if rule.margin is None else f"{side} {_scaled(rule.margin, factor)}",
        seen=_scaled(rule.min_detectable, factor),
    )


def _scaled(value: float | None, factor: float) -> str:
    return number(None if value is None else value * factor)


def _more(ratio: float | None) -> str:
    """A ratio as a change in percent with its sign, or as a factor where it is large."""
    if ratio is None or not math.isfinite(ratio):
        return MISSING
    return ("+" if ratio < _FAR and round(100 * (ratio - 1), 1) > 0 else "") + more(ratio)


def _signed(value: float | None, decimals: int) -> str:
    if value is None:
        return MISSING
    return ("+" if round(value, decimals) > 0 else "") + fixed(value, decimals)


def _plain(value: float | None) -> str:
    """A margin with no more digits than somebody wrote."""
    if value is None:
        return MISSING
    value = round(value, 6) + 0.0
    decimals = len(f"{value:.6f}".rstrip("0").partition(".")[2])
    return _signed(value, decimals)
