"""How much carbon a kilowatt-hour stands for: a figure of the user's, or a country's out of codecarbon's table.

Offline, and without running codecarbon's code. Nothing is assumed: no world average, and no country that was not named.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import math
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .errors import UsageError

__all__ = ["CarbonIntensity", "carbon_intensity", "find_countries"]

LEAST_G_PER_KWH, MOST_G_PER_KWH = 1.0, 2_000.0
"""Well outside of what any electricity has over its life cycle: wind's median is 11 g/kWh and coal's 820 (IPCC AR5 WG3,
Annex III, Table A.III.2). Below 1, a figure is most likely one in kg."""

_NUMBER = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(?:(k?g)\s*(?:CO2)?(?:-?eq?)?\s*/\s*kWh)?", re.IGNORECASE)
_RESERVED = {"UK": "GBR"}
"""Alpha-2 codes that ISO 3166-1 reserves for a country without listing them."""


@dataclass(frozen=True, kw_only=True)
class CarbonIntensity:
    """Grams of CO2 equivalent per kilowatt-hour.

    Attributes:
        g_per_kwh: The figure.
        source: Where it comes from.
        year: The year that it is the mean of; None for a figure that the user gave.
    """

    g_per_kwh: float
    source: str
    year: int | None

    def __str__(self) -> str:
        return f"{self.g_per_kwh:g} g/kWh ({self.source}{f', {self.year}' if self.year else ''})"


def carbon_intensity(text: str) -> CarbonIntensity:
    """Read what a user wrote: a number of grams per kilowatt-hour, or a country.

    Args:
        text: ``350``, ``350 g/kWh`` or ``0.35 kg/kWh``; or a country as its ISO 3166-1 code of three or two letters
            or by its English name.

    Raises:
        UsageError: It is neither, is no intensity that electricity can have, or the table lacks that country.
    """
    given = _NUMBER.fullmatch(text.strip())
    if given:
        factor = 1000.0 if (given[2] or "g").lower() == "kg" else 1.0
        return CarbonIntensity(g_per_kwh=_checked(float(given[1]) * factor), source="given by the user", year=None)
    if _is_no_quantity(text):
        raise UsageError(f"{text!r} g/kWh is no carbon intensity: a number must be above 0 and finite, such as 350")
    return _of_country(text)


def find_countries(beginning: str) -> dict[str, str]:
    """Countries with a figure whose code or English name begins so, in any case: names by alpha-3 code.

    Raises:
        UsageError: codecarbon's table cannot be found.
    """
    begin = _plain(beginning)
    known = {code: str(row["country_name"]) for code, row in _table().items() if row.get("carbon_intensity")}
    return {code: name for code, name in sorted(known.items()) if _begins(begin, code, name)}


def _begins(begin: str, *names: str) -> bool:
    return any(_plain(name).startswith(begin) for name in names)


def _is_no_quantity(text: str) -> bool:
    """Whether it is a number that Python knows, such as ``nan``, and that nothing can have so much of."""
    try:
        return not 0 < float(text) < math.inf
    except ValueError:
        return False


def _checked(g_per_kwh: float) -> float:
    if not LEAST_G_PER_KWH <= g_per_kwh <= MOST_G_PER_KWH:
        raise UsageError(
            f"{g_per_kwh:g} g/kWh is no carbon intensity of electricity, which has {LEAST_G_PER_KWH:g} to "
            f"{MOST_G_PER_KWH:,g} over its life cycle; write 350, or 0.35 kg/kWh"
        )
    return g_per_kwh


def _of_country(text: str) -> CarbonIntensity:
    mix, names = _table(), _names()
    code = names.get(_plain(text))
    if code is None:
        raise UsageError(
            f"{text!r} is no country of codecarbon's table and no number of grams per kWh{_hint(text, mix, names)}"
        )
    row = mix.get(code)
    if row is None or not row.get("carbon_intensity"):
        # A figure of 0 is a missing one: all electricity has some.
        raise UsageError(
            f"codecarbon's table has no carbon intensity of {code}; give one in g/kWh, and say where it comes from"
        )
    return CarbonIntensity(
        g_per_kwh=_checked(float(row["carbon_intensity"])),
        source=f"{row['country_name']} ({code}), codecarbon {_codecarbon_version()}'s table of countries",
        year=int(row["year"]) if row.get("year") else None,
    )


def _hint(text: str, mix: dict[str, dict[str, Any]], names: dict[str, str]) -> str:
    close = difflib.get_close_matches(_plain(text), [name for name, code in names.items() if code in mix], n=3)
    found = dict.fromkeys(f"{mix[names[name]]['country_name']} ({names[name]})" for name in close)
    return f"; did you mean {' or '.join(found)}?" if found else "; write 350, or a country such as FRA, FR or France"


@cache
def _names() -> dict[str, str]:
    """Alpha-3 codes by plain code and name, as codecarbon's table and ISO 3166-1 have them."""
    codes: dict[str, str] = {}
    for row in _read("pycountry", "databases", "iso3166-1.json").get("3166-1", []):
        keys = ("alpha_2", "alpha_3", "name", "common_name", "official_name")
        codes |= {_plain(row[key]): row["alpha_3"] for key in keys if key in row}
    codes |= {_plain(row["country_name"]): code for code, row in _table().items()}
    codes |= {_plain(code): code for code in _table()}
    return codes | {_plain(code): whole for code, whole in _RESERVED.items()}


@cache
def _table() -> dict[str, dict[str, Any]]:
    """codecarbon's countries by alpha-3 code; ``carbon_intensity`` is in g/kWh of CO2 equivalent.

    Raises:
        UsageError: It cannot be found.
    """
    found = _read("codecarbon", "data", "private_infra", "global_energy_mix.json")
    if not found:
        raise UsageError(
            "codecarbon's table of countries is not where it is expected; give the carbon intensity in g/kWh, or "
            "pip install 'codecarbon>=3.3'"
        )
    return found


def _read(package: str, *parts: str) -> dict[str, Any]:
    """A JSON file of an installed package, without running its code; empty where there is none."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return {}
    try:
        path = Path(spec.submodule_search_locations[0]).joinpath(*parts)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _codecarbon_version() -> str:
    try:
        return version("codecarbon")
    except PackageNotFoundError:
        return ""


def _plain(name: str) -> str:
    """A name without accents, case and punctuation, for looking it up."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^a-z0-9]+", " ", re.sub("['.\u2019]", "", letters.lower())).split())
