"""No honest run is refused: real ones, by several meters and options; and what is done to such a one is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from believable import write_believable_run
from cheats import CHEATS
from hostile import CONTENTS, resealed
from machines import FakePowercap, PowerDriver, wave

from joulemark.harness.store import read_run
from joulemark.leaderboard.audit import audit, notes
from joulemark.leaderboard.findings import Refused
from joulemark.leaderboard.submission import Submission, pack, parse_submission

Content = dict[str, Any]
PLAN = """[run]
models = ["ref/ngram", "ref/dense-60k"]
tasks = ["jm_units", "jm_dates"]
limit = 40
repeats = 3
idle_s = 0.5
meters = ["modelled"]
carbon = 300
log_samples = true
"""


def call(*arguments: str | Path, **environment: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "joulemark.harness.cli", *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two reference models on two tasks, three times, by CPU time."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "plan.toml").write_text(PLAN)
    call("run", folder / "plan.toml", "--out", folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def packed(measured: Path) -> bytes:
    return pack(read_run(measured))


def sent_of(run: Path) -> Submission:
    return parse_submission(pack(read_run(run)))


def told(content: bytes) -> list[str]:
    """Codes of what is wrong."""
    try:
        return [finding.code for finding in audit(parse_submission(content))]
    except Refused as problem:
        return [problem.finding.code]


def changed(content: bytes, change: Callable[[Content], object]) -> bytes:
    parsed = json.loads(content)
    change(parsed)
    try:
        return resealed(parsed)
    except UnicodeEncodeError:
        return json.dumps(parsed).encode()


def test_a_run_by_cpu_time_is_valid(packed: bytes) -> None:
    assert told(packed) == []


def test_a_run_by_counters_is_valid_with_one_item_one_repeat_and_markup_in_what_is_asked(
    powercap: FakePowercap, tmp_path: Path
) -> None:
    names = {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram"}
    zones = [powercap.add(folder, label) for folder, label in names.items()]
    plan = tmp_path / "plan.toml"
    asked = "gen_kwargs = '''until=[\"\\\\n\",\"</s>\"]'''\nsystem_instruction = 'Be <b>short</b>.'\n"
    plan.write_text(
        f"[run]\nmodels = ['ref/ngram']\ntasks = ['jm_units']\nlimit = 1\nrepeats = 1\nidle_s = 0.5\n{asked}"
    )
    with PowerDriver(dict(zip(zones, (1.0, 0.6, 0.1), strict=True)), wave(60, 20)):
        call("run", plan, "--out", tmp_path / "run", JOULEMARK_SYSFS=str(powercap.sysfs))
    sent = sent_of(tmp_path / "run")
    assert {finding.code for finding in audit(sent)} <= {"claim-counter"}
    host = sent.run.machine.model_copy(update={"virtualised": False})
    assert audit(sent.model_copy(update={"run": sent.run.model_copy(update={"machine": host})})) == []


def test_a_run_whose_energy_a_recording_gave_is_valid_and_says_whose_word_it_is(measured: Path, tmp_path: Path) -> None:
    run = read_run(measured)
    spans = [span for span in (run.header.idle.before, run.header.idle.after) if span]
    spans += [span for cell in run.cells for span in cell.windows]
    starts = [datetime.fromisoformat(span.began_at).timestamp() for span in spans]
    times = np.arange(min(starts) - 2, max(starts) + 4, 0.01)
    frame = pd.DataFrame({"time": times, "power_w": 150.0})
    frame.loc[::2, "power_w"] += 0.01
    for cell in run.cells:
        for span in cell.windows:
            began_s = datetime.fromisoformat(span.began_at).timestamp()
            frame.loc[(times >= began_s) & (times <= began_s + span.window_s), "power_w"] = 190.0
    frame.to_csv(tmp_path / "host.csv", index=False)
    meter = f"lab=replay:file={tmp_path / 'host.csv'},scope=package"
    call("remeter", measured, "--meter", meter, "--out", tmp_path / "again")
    sent = sent_of(tmp_path / "again")
    # Two threads of a virtual machine, and 190 W: the host's.
    assert audit(sent) == []
    assert "lab:package" in " ".join(notes(sent))


def test_scores_that_are_no_shares_are_valid_and_have_no_quality(tmp_path: Path) -> None:
    """ROUGE, say, in percent."""
    run = write_believable_run(tmp_path / "run", ["m=hf:pretrained=x"], ["jm_units", "summaries"])

    def in_percent(content: Content) -> None:
        for cell in content["cells"]:
            if cell["task"] == "summaries":
                cell |= {"accuracy": 41.5, "metric": "rouge1"}
                cell.pop("quality"), cell.pop("chance", None)
                outcome = content["items"]["cells"][cell["cell_id"]]
                outcome.pop("right", None), outcome.pop("same_as", None)
                outcome["scores"] = [41.5] * cell["n_items"]

    assert told(changed(pack(run), in_percent)) == []


def test_a_plugins_meter_is_taken_at_its_word_which_is_told(tmp_path: Path) -> None:
    def by_plugin(content: Content) -> None:
        stated = {"id": "hwmon:board", "grade": "polled", "scope": "platform", "rel_u": 0.01, "rel_u_scale": 0.01}
        content["run"]["meters"][0] |= stated | {"rel_u_workload": 0.0, "source": "an INA226's data sheet"}
        content["run"]["plan"]["meters"] = ["hwmon"]
        for cell in content["cells"]:
            cell["energy"] |= {"grade": "polled", "scope": "platform", "rel_u_scale": 0.01, "rel_u_workload": 0.0}
        for each in content["run"]["invocations"]:
            each["before_w"] = content["cells"][0]["energy"]["idle_w"]

    sent = parse_submission(changed(pack(write_believable_run(tmp_path / "run")), by_plugin))
    assert audit(sent) == []
    assert "hwmon:board" in " ".join(notes(sent))


@pytest.mark.parametrize(("code", "change"), [each[1:] for each in CONTENTS], ids=[each[0] for each in CONTENTS])
def test_what_is_done_to_a_real_submission_is_told(
    code: str, change: Callable[[Content], object], packed: bytes
) -> None:
    assert code in told(changed(packed, change))


@pytest.mark.parametrize(("expected", "change"), [each[1:] for each in CHEATS], ids=[each[0] for each in CHEATS])
def test_a_cheat_in_a_real_submission_is_found(
    expected: set[str], change: Callable[[Content], object], packed: bytes
) -> None:
    assert expected <= {*told(changed(packed, change))}
