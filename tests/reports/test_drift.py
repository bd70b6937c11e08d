"""Soaks with known truth: what is called a drift, and what is said and drawn of it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from made_runs import COUNTER, write_run

from joulemark.harness.record import Cell, DeviceState, Span
from joulemark.harness.store import Run, RunWriter, read_run
from joulemark.meters.errors import Incomparable, UsageError
from joulemark.reports.drift import FEWEST, drift
from joulemark.reports.soak import as_object, conclude, summed_up
from joulemark.reports.soakplot import picture
from joulemark.reports.soakwords import caveats, print_soak, verdict

EVERY_S = 11.0
BEGAN = datetime(2026, 1, 5, 10, tzinfo=UTC)
Figure = Callable[[float], float]


def autocorrelated(series: int, windows: int, phi: float, seed: int = 3) -> np.ndarray:
    """Stationary series around 100 whose neighbours correlate by ``phi``; 1 % of scatter."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(series, windows + 200)) * np.sqrt(1 - phi**2)
    for at in range(1, windows + 200):
        noise[:, at] += phi * noise[:, at - 1]
    found: np.ndarray = 100 + noise[:, 200:]
    return found


def hours(windows: int) -> list[float]:
    return [number * EVERY_S / 3600 for number in range(windows)]


def called_drifting(series: np.ndarray, percent_per_hour: float = 0.0) -> float:
    at = hours(series.shape[1])
    trend = np.array(at) * percent_per_hour
    return float(np.mean([drift(at, list(one + trend)).direction in ("rising", "falling") for one in series]))


@pytest.mark.parametrize(
    ("windows", "phi", "most"), [(60, 0.0, 0.05), (60, 0.7, 0.055), (330, 0.0, 0.05), (330, 0.8, 0.055)]
)
def test_a_steady_series_is_called_drifting_in_about_5_percent_whatever_its_autocorrelation(
    windows: int, phi: float, most: float
) -> None:
    share = called_drifting(autocorrelated(2000, windows, phi))
    assert abs(share - most) < 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_the_usual_standard_error_would_call_most_of_these_drifting() -> None:
    at = np.array(hours(330))
    wrong = [abs(t_of_ols(at, one)) > 1.97 for one in autocorrelated(400, 330, 0.8)]
    assert np.mean(wrong) > 0.4


def t_of_ols(at: np.ndarray, values: np.ndarray) -> float:
    [slope, _], cov = np.polyfit(at, values, 1, cov=True)
    return float(slope / np.sqrt(cov[0, 0]))


def test_a_real_drift_is_found_and_its_interval_holds_it() -> None:
    series, at = autocorrelated(500, 330, 0.5, seed=4), hours(330)
    assert called_drifting(series, 2.0) > 0.95
    found = [drift(at, list(one + 2.0 * np.array(at))) for one in series]
    covered = [one.low < 2.0 * 100 / (100 + at[-1]) < one.high for one in found]  # type: ignore[operator]
    assert 0.92 < np.mean(covered) < 0.98


def test_a_drift_has_its_sign_and_size_where_windows_are_missing_and_unevenly_spaced() -> None:
    at = [0.1 * number**1.2 for number in range(40)]
    values: list[float | None] = [50.0 - 0.05 * hour for hour in at]
    values[7] = values[20] = None
    found = drift(at, values)
    mean = np.mean([value for value in values if value is not None])
    assert found.percent_per_hour == pytest.approx(-100 * 0.05 / mean)
    assert found.direction == "falling"
    assert found.windows == 38


def test_windows_that_agree_by_luck_are_no_better_known_than_the_meter_allows() -> None:
    exact, known = ([100.0] * 30, [0.002] * 30)
    found = drift(hours(30), exact, known)
    assert found.direction == "none"
    assert found.high is not None
    assert found.high > 1


def test_few_windows_tell_no_drift() -> None:
    found = drift(hours(FEWEST - 1), [100.0 + number for number in range(FEWEST - 1)])
    assert (found.percent_per_hour, found.direction) == (None, "unknown")


def made_soak(
    path: Path,
    windows: int = 60,
    *,
    energy: Figure = lambda _: 1.0,
    heat: Figure | None = None,
    scatter: float = 0.004,
    clock_set_s: float = 0.0,
    meter: dict[str, object] = COUNTER,
    change: Callable[[Cell], Cell | None] = lambda cell: cell,
) -> Run:
    """A soak whose energy per item follows ``energy(hours)``, and its temperature ``heat(hours)``."""
    rng = np.random.default_rng(2)

    def window(cell: Cell) -> Cell | None:
        assert cell.energy is not None
        at_h = cell.repeat * EVERY_S / 3600
        joules = cell.energy.gross_j * energy(at_h) * float(np.exp(rng.normal(0, scatter)))
        began = BEGAN + timedelta(seconds=cell.repeat * EVERY_S + (clock_set_s if cell.repeat > windows / 2 else 0))
        clock = None if heat is None else 3400 - 12 * max(0.0, heat(at_h) - 60)
        state = DeviceState(device="host", temperature_c=heat and heat(at_h), clock_mhz=clock)
        hot = heat is not None and heat(at_h) > 78
        return change(
            cell.model_copy(
                update={
                    "energy": cell.energy.model_copy(update={"gross_j": joules, "window_s": 10.0}),
                    "windows": (
                        Span(began_at=began.isoformat(timespec="milliseconds"), window_s=10.0, after=(state,)),
                    ),
                    "flags": ("throttled",) if hot else (),
                    "duration_s": EVERY_S,
                    "order": cell.repeat,
                }
            )
        )

    made = write_run(
        path,
        {"big": (0.7, 0.002, 10)},
        tasks=("units",),
        repeats=windows,
        items=20,
        spread=0,
        meter=meter,
        change=window,
    )
    plan = made.header.plan | {"repeats": None, "soak": {"minutes": windows * EVERY_S / 60, "window_s": 10.0}}
    with RunWriter(path) as writer:
        writer.write_header(made.header.model_copy(update={"plan": plan}))
    return read_run(path)


def warming(at_h: float) -> float:
    return 45 + 37 * (1 - float(np.exp(-at_h / 0.3)))


def said(soak_run: Run) -> str:
    out = io.StringIO()
    print_soak(summed_up(soak_run), out, 100)
    return out.getvalue()


def test_a_steady_soak_says_that_no_drift_was_seen_with_the_interval(tmp_path: Path) -> None:
    text = said(made_soak(tmp_path / "soak"))
    pattern = r"No drift seen: energy per item changed by \S+ % an hour, 95 % \S+ to [\d.]+\."
    assert re.search(pattern, text), text


def test_a_soak_that_heats_up_says_by_how_much_it_drifts_and_that_heat_held_it_back(tmp_path: Path) -> None:
    text = said(made_soak(tmp_path / "soak", 330, energy=lambda h: 1 + 0.03 * h, heat=warming))
    found = re.search(r"Drift: energy per item is rising, by \+(\S+) % an hour", text)
    assert found, text
    assert float(found[1]) == pytest.approx(3.0, abs=0.2)
    assert re.search(r"Heat held a clock down in 1\d\d of 330 windows", text)
    assert "Celsius" in text
    assert len(text.split("\n\n")[0].splitlines()) <= 15


def test_a_short_soak_claims_nothing_it_cannot_know(tmp_path: Path) -> None:
    assert "Too short to tell a drift: 5 windows" in said(made_soak(tmp_path / "five", 5))
    few = summed_up(made_soak(tmp_path / "few", 14, scatter=0.02))
    assert verdict(few) == "No drift seen in 2.5 min, which is too short to tell a slow one."
    assert re.fullmatch(r"Energy per item: \S+ % over 2\.5 min, 95 % \S+ to \S+", caveats(few)[0])
    assert not any("an hour" in text for text in (verdict(few), *caveats(few)))


def test_a_short_soak_tells_its_drift_over_itself_and_the_hours_in_json_alone(tmp_path: Path) -> None:
    soak = summed_up(made_soak(tmp_path / "soak", 50, energy=lambda h: 1 + h))
    found = re.search(
        r"energy per item is rising, by \+(\S+) % over ([\d.]+) min, 95 % (\S+) to (\S+)\.", verdict(soak)
    )
    assert found, verdict(soak)
    lasted_h = float(found[2]) / 60
    assert float(found[1]) == pytest.approx(100 * lasted_h, rel=0.1)
    told = as_object(soak)["drift"]["energy_per_item"]
    assert told["percent_low"] == pytest.approx(told["low"] * told["percent"] / told["percent_per_hour"])
    assert told["percent_high"] == pytest.approx(float(found[4]), abs=0.5)
    assert told["percent_per_hour"] == pytest.approx(100 * told["percent"] / 100 / lasted_h, rel=0.03)


def test_a_cache_that_may_have_answered_is_told(tmp_path: Path) -> None:
    def cached(cell: Cell) -> Cell:
        return cell.model_copy(update={"flags": ("prefix_cache",)}) if cell.repeat == 1 else cell

    soak = summed_up(made_soak(tmp_path / "soak", change=cached))
    assert any("a cache may have answered" in sentence for sentence in caveats(soak))
    assert as_object(soak)["flags"] == ["prefix_cache"]


def test_modelled_energy_says_that_it_does_not_see_what_heat_does_to_power(tmp_path: Path) -> None:
    modelled = {"grade": "modelled", "scope": "package", "rel_u_scale": 0.4, "rel_u_workload": 0.3}
    assert any("modelled" in sentence for sentence in caveats(summed_up(made_soak(tmp_path / "soak", meter=modelled))))


def test_where_no_meter_sees_the_model_there_is_no_energy_but_its_speed(tmp_path: Path) -> None:
    def outside(cell: Cell) -> Cell:
        assert cell.energy is not None
        return cell.model_copy(update={"energy": cell.energy.model_copy(update={"gross_j": None, "net_j": None})})

    soak = summed_up(made_soak(tmp_path / "soak", change=outside))
    found = as_object(soak)
    assert (found["energy_j_per_item"], found["power_w"], found["drift"]["power"]["low"]) == (None, None, None)
    assert "time per item" in verdict(soak)
    assert picture(soak, "png").startswith(b"\x89PNG")


def test_a_clock_that_is_set_in_the_middle_changes_no_slope(tmp_path: Path) -> None:
    plain, jumped = (
        summed_up(made_soak(tmp_path / name, 60, energy=lambda h: 1 + 0.2 * h, clock_set_s=seconds)).energy
        for name, seconds in (("plain", 0.0), ("jumped", 7200.0))
    )
    assert jumped.percent_per_hour == pytest.approx(plain.percent_per_hour, rel=1e-6)


def test_failed_windows_are_left_out_and_told(tmp_path: Path) -> None:
    def fail_some(cell: Cell) -> Cell:
        lost = {"status": "failed", "error": "gone", "energy": None, "windows": ()}
        return cell.model_copy(update=lost) if cell.repeat in (3, 20, 21) else cell

    soak = summed_up(made_soak(tmp_path / "soak", change=fail_some))
    assert (len(soak.windows), soak.failed) == (57, 3)
    assert "3 windows failed, left out here." in caveats(soak)


def test_the_files_say_the_same_as_the_words_and_are_the_same_bytes_on_a_rerun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_soak(tmp_path / "soak", heat=warming)
    conclude(run.path, as_json=True)
    written = {name: (run.path / "report" / name).read_bytes() for name in ("soak.json", "soak.png", "soak.svg")}
    assert capsys.readouterr().out.encode() == written["soak.json"]
    found = json.loads(written["soak.json"])
    assert found["schema"] == "joulemark.soak/1"
    assert len(found["windows"]) == 60
    assert f"{found['drift']['energy_per_item']['high']:.1f}" in verdict(summed_up(run))
    assert b"<svg" in written["soak.svg"]
    conclude(run.path, as_json=False)
    assert {name: (run.path / "report" / name).read_bytes() for name in written} == written


def test_a_run_is_no_soak_and_a_soak_without_windows_tells_nothing(
    tmp_path: Path, make_run: Callable[..., Run]
) -> None:
    with pytest.raises(UsageError, match="is no soak"):
        summed_up(make_run())
    with pytest.raises(Incomparable, match="no finished window"):
        summed_up(made_soak(tmp_path / "soak", 3, change=lambda _: None))
