"""Rows of tables as HTML: a large board has a hundred thousand, and templates take several times as long.

Whatever is no tag is escaped here, each piece where it is put in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from joulemark.reports.wording import safe

from .names import page_name

__all__ = ["board_row", "figure", "model_row", "with_unit"]

Pair = tuple[str, str]
"""A figure, and its interval or why there is none."""


def board_row(row: Mapping[str, Any], root: str) -> Markup:
    """A line of a view's table, from `sections.line_of`; ``root`` leads from the page to the site's own folder."""
    rank, _, within = row["rank"].partition(" ")
    spread = f' <span class="within">{escape(within)}</span>' if within else ""
    model = f'<a href="{escape(root)}model/{escape(page_name(row["model"]))}.html">{escape(row["label"])}</a>'
    figures = "".join(map(figure, row["figures"]))
    return Markup(
        f'<tr><td class="rank">{escape(rank)}{spread}</td><th scope="row">{model}</th>{figures}{_frontier(row)}</tr>'
    )


def model_row(row: Mapping[str, Any], root: str) -> Markup:
    """A line of the table on a model's page, from `modelpages`."""
    rank, (rate, energy, quality), (rate_unit, energy_unit) = row["rank"], row["figures"], row["units"]
    about = _words(row["why"]) if row["why"] or not rank[:1].isdigit() else _limits(f"of {row['of']}")
    view = f'<a href="{escape(root)}index.html#view={escape(row["view"])}">{escape(row["title"])}</a>'
    run = f'<a href="{escape(root)}run/{escape(row["page"])}.html">{escape(safe(row["run"]))}</a>'
    return Markup(
        f'<tr><th scope="row">{view}{_words(row["kind"])}</th><td class="rank">{escape(rank)}{about}</td>'
        f"{with_unit(rate, rate_unit)}{with_unit(energy, energy_unit)}{figure(quality)}{_frontier(row)}"
        f"<td>{run}</td></tr>"
    )


def figure(pair: Pair) -> Markup:
    """A figure with its interval below it."""
    value, limits = pair
    below = _words(limits) if limits[:1].isalpha() else _limits(limits)
    return Markup(f'<td class="num">{escape(value)}{below}</td>')


def with_unit(pair: Pair, unit: str) -> Markup:
    """The same with its unit, where there is a figure."""
    value, limits = pair
    own = f"{value} {unit}" if unit and value[:1].isdigit() else value
    return Markup(f'<td class="num">{escape(own)}{_limits(limits)}</td>')


def _limits(text: str) -> str:
    return f'<span class="ci">{escape(text)}</span>' if text else ""


def _words(text: str) -> str:
    return f'<span class="ci words">{escape(text)}</span>' if text else ""


def _frontier(row: Mapping[str, Any]) -> str:
    named = row["frontier"]
    mark = f'<span class="mark {escape(named or "none")}">{escape(named or "not judged")}</span>'
    return f"<td>{mark}{_limits(row['likely'])}</td>"
