"""The meter keeps what every meter promises, on a board made of files."""

from pathlib import Path

import pytest
from joulemark_hwmon import hwmon

from joulemark.meters.testing import check_meter


def test_it_keeps_its_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "class" / "hwmon" / "hwmon3"
    folder.mkdir(parents=True)
    (folder / "name").write_text("ina226\n")
    (folder / "power1_input").write_text("12500000\n")
    monkeypatch.setenv("JOULEMARK_SYSFS", str(tmp_path))
    assert [domain.id for domain in check_meter(hwmon)] == ["hwmon:board"]


def test_without_a_sensor_it_says_how_to_find_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEMARK_SYSFS", str(tmp_path))
    assert check_meter(hwmon) == ()
