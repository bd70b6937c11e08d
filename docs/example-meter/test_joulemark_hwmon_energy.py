"""The counter keeps what every meter promises, on a board made of files."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from joulemark_hwmon_energy import EnergyCounter

from joulemark.meters.errors import MeterLost
from joulemark.meters.testing import check_meter
from joulemark.meters.types import Unavailable

WATTS = 12.5


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that counts microjoules, renewed fifty times a second and never half written."""
    folder = tmp_path / "class" / "hwmon" / "hwmon3"
    folder.mkdir(parents=True)
    (folder / "name").write_text("board\n")
    file, new, ending = folder / "energy1_input", folder / "new", threading.Event()

    def count() -> None:
        while True:
            new.write_text(f"{int(7e9 + WATTS * 1e6 * time.monotonic())}\n")
            new.replace(file)
            if ending.wait(0.02):
                return

    thread = threading.Thread(target=count)
    thread.start()
    monkeypatch.setenv("JOULEMARK_SYSFS", str(tmp_path))
    while not file.exists():
        time.sleep(0.001)
    yield file
    ending.set()
    thread.join()


@pytest.mark.usefixtures("counter")
def test_it_keeps_its_promises() -> None:
    assert [domain.id for domain in check_meter(lambda: EnergyCounter("board"))] == ["hwmon-energy:board"]


def test_a_counter_that_falls_or_vanishes_is_lost_and_no_figure(counter: Path) -> None:
    meter = EnergyCounter("board")
    meter.open(0)
    assert meter.read().values["hwmon-energy:board"] >= 0
    meter._last_uj = 10**18
    with pytest.raises(MeterLost, match="fell"):
        meter.read()
    meter.close()
    (counter.parent / "name").write_text("another\n")
    with pytest.raises(MeterLost):
        meter.open(0)
    assert isinstance(meter.probe(), Unavailable)
