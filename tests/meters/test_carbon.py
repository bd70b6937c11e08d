"""Carbon intensity: what the user says or a named country has, never a guess."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from joulemark.meters.carbon import CarbonIntensity, carbon_intensity, find_countries
from joulemark.meters.errors import UsageError

TRACK = """
import json, sys
from codecarbon import OfflineEmissionsTracker
found = {}
for code in sys.argv[1:]:
    tracker = OfflineEmissionsTracker(country_iso_code=code, output_methods=[], log_level="critical")
    tracker.start()
    tracker.stop()
    told = tracker.final_emissions_data
    found[code] = told.emissions * 1000 / told.energy_consumed
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    "text", ["350", "350 g/kWh", " 350.0g/kWh ", "350 gCO2/kWh", "350 gCO2e/kWh", "350 g CO2eq / kWh", "0.35 kg/kWh"]
)
def test_a_number_is_grams_per_kilowatt_hour_unless_it_says_kilograms(text: str) -> None:
    assert carbon_intensity(text) == CarbonIntensity(
        g_per_kwh=pytest.approx(350), source="given by the user", year=None
    )


@pytest.mark.parametrize("text", ["0.35", "0", "-350", "350000", "3000 kg/kWh"])
def test_a_figure_that_no_electricity_has_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no carbon intensity of electricity"):
        carbon_intensity(text)


@pytest.mark.parametrize("text", ["FRA", "FR", "fr", "France", "france", "French Republic"])
def test_a_country_may_be_named_by_code_or_in_english(text: str) -> None:
    found = carbon_intensity(text)
    assert 10 < found.g_per_kwh < 150, "France runs on nuclear power"
    assert "France (FRA)" in found.source
    assert found.year is not None
    assert 2015 < found.year < 2100
    assert str(found.year) in str(found)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("UK", "GBR"),
        ("USA", "USA"),
        ("U.S.A.", "USA"),
        ("Côte d\u2019Ivoire", "CIV"),
        ("South Korea", "KOR"),
        ("VN", "VNM"),
    ],
)
def test_names_are_found_in_the_ways_they_are_written(text: str, code: str) -> None:
    assert f"({code})" in carbon_intensity(text).source


def test_an_unknown_name_gets_those_that_are_close_and_no_world_average() -> None:
    with pytest.raises(UsageError, match=r"did you mean .*Germany \(DEU\)"):
        carbon_intensity("Germny")


@pytest.mark.parametrize("text", ["", "Atlantis", "350 lb/MWh", "350,5", "world", "1e3"])
def test_what_is_neither_a_number_nor_a_country_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no country"):
        carbon_intensity(text)


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-inf", "-1e3"])
def test_a_number_that_nothing_can_have_is_told_as_a_number_and_not_as_namibia(text: str) -> None:
    with pytest.raises(UsageError, match="above 0 and finite") as refused:
        carbon_intensity(text)
    assert "Namibia" not in str(refused.value)


def test_countries_are_found_by_the_beginning_of_code_or_name_and_each_has_a_figure() -> None:
    assert find_countries("deu") == find_countries("Germ") == {"DEU": "Germany"}
    assert {"FRA", "FRO"} <= find_countries("fr").keys()
    every = find_countries("")
    assert len(every) > 150
    assert all(carbon_intensity(code).g_per_kwh > 0 for code in every)


@pytest.mark.parametrize("text", ["ATA", "Vatican City", "CAF"])
def test_a_country_without_a_figure_or_with_one_of_0_is_no_world_average_either(text: str) -> None:
    with pytest.raises(UsageError, match=r"no carbon intensity of|no country"):
        carbon_intensity(text)


def test_countries_have_what_codecarbons_own_tracker_takes_for_them(tmp_path: Path) -> None:
    codes = ["FRA", "DEU", "USA", "POL", "ISL", "IND"]
    env = {name: value for name, value in os.environ.items() if not name.lower().startswith("codecarbon_")}
    done = subprocess.run(
        [sys.executable, "-c", TRACK, *codes],
        capture_output=True,
        text=True,
        env=env | {"HOME": str(tmp_path)},
        cwd=tmp_path,
        timeout=60,
        check=True,
    )
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert {code: carbon_intensity(code).g_per_kwh for code in codes} == pytest.approx(theirs, rel=1e-6)


def test_codecarbon_is_looked_up_and_not_run() -> None:
    script = (
        "import sys\nfrom joulemark.meters.carbon import carbon_intensity\ncarbon_intensity('FRA')\n"
        "print([name for name in sys.modules if name.startswith(('codecarbon', 'pycountry', 'pandas'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
