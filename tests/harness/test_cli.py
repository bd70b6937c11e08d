import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import COMMAND, SMALL, Joulemark

HEAVY = {"torch", "lm_eval", "pandas", "matplotlib", "onnxruntime", "zeus", "codecarbon", "scipy", "datasets"}


def imported(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND[1:], *arguments], capture_output=True, text=True, check=True
    )
    return {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["models"], ["run", "--help"]])
def test_help_and_listings_load_nothing_heavy(arguments: list[str]) -> None:
    assert "click" in imported(*arguments)
    assert not imported(*arguments) & HEAVY


def test_help_names_every_command_in_the_order_of_a_first_session(joulemark: Joulemark) -> None:
    text = joulemark("--help").stdout
    places = [text.index(f"\n  {name} ") for name in ("run", "doctor", "meters", "models", "tasks", "rank", "report")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "No such command 'rum'"),
        (["run", "-m", "ref/dense-61k"], "unknown model 'ref/dense-61k'; .* did you mean ref/dense-60k"),
        (["run", "-m", "dense-60k"], "write ref/NAME"),
        (["run", "-m", "ref/ngram", "-m", "ref/ngram"], "there twice; give each a label"),
        (["run", "-t", "jm_units", "-t", "jm_units"], "task 'jm_units' is there twice"),
        (["run", "-m", "a=hf:pretrained=x,trust_remote_code=True"], "--trust-remote-code"),
        (["run", "-m", "a=hf:pretrained=x,batch_size=4"], "--batch-size"),
        (["run", "-m", "a=hff:pretrained=x"], "unknown model type 'hff'; did you mean hf?"),
        (["run", "-t", "jm_units", "--num-fewshot", "99"], "'jm_units' has 16 examples"),
        (["run", "--executor", "slurm"], "executor: write local, ray or ray:ADDRESS"),
        (["run", "--executor", "ray", "--place", "h100"], "'h100': write KEY=VALUE, or MODEL:KEY=VALUE"),
        (["run", "--place", "gpu=h100"], "give --executor ray with it"),
        (["run", "--out", "."], "is not empty"),
        (["run", "--repeats", "0"], "repeats: input should be greater than or equal to 1"),
        (["run", "nowhere.toml"], "nowhere.toml: No such file"),
        (["run", "--meter", "rappel"], "no meter is called 'rappel'"),
        (["run", "--resume", "nowhere"], "nowhere is not a run directory"),
        (["run", "--resume", "nowhere", "--seed", "1"], "own plan"),
        (["run", "--resume", "nowhere", "--preset", "full"], "own plan"),
        (["rank", "nowhere"], "nowhere is not a run directory"),
    ],
)
def test_a_wrong_word_is_told_in_one_line_with_exit_code_2(
    joulemark: Joulemark, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = joulemark(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert re.search(message, line), line
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


def test_an_unknown_task_is_told_with_what_is_close_to_it(joulemark: Joulemark, tmp_path: Path) -> None:
    done = joulemark("run", "-t", "jm_adition", "--out", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 2
    assert "unknown task 'jm_adition'; did you mean jm_addition?" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_measured(
    joulemark: Joulemark, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = joulemark("run", *SMALL, "--out", tmp_path / "file" / "run")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"joulemark: cannot write to {tmp_path}")


def test_a_run_is_not_measured_over_another(
    joulemark: Joulemark, small_run: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    done = joulemark("run", *SMALL, "--out", small_run[0])
    assert done.returncode == 2
    assert f"run --resume {small_run[0]}" in done.stderr


def test_a_traceback_is_shown_only_when_asked_for(joulemark: Joulemark) -> None:
    assert "Traceback" not in joulemark("run", "-m", "x").stderr
    assert "Traceback" in joulemark("--debug", "run", "-m", "x").stderr


@pytest.mark.parametrize(
    ("command", "schema", "key"),
    [("models", "joulemark.models/1", "models"), ("tasks", "joulemark.tasks/1", "tasks"),
     ("meters", "joulemark.meters/1", "meters")],
)  # fmt: skip
def test_listings_are_one_json_object_on_request(joulemark: Joulemark, command: str, schema: str, key: str) -> None:
    found = json.loads(joulemark(command, "--json").stdout)
    assert found["schema"] == schema
    assert len(found[key]) >= 3
    assert all(entry["name" if key != "meters" else "id"] for entry in found[key])


def test_doctor_names_the_best_meter_and_a_fix_for_each_that_does_not_work(joulemark: Joulemark) -> None:
    done = joulemark("doctor", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["schema"] == "joulemark.doctor/1"
    assert found["best"]["grade"] in {"wall", "counter", "polled", "modelled"}
    assert found["idle"]["power_w"] > 0
    assert all(meter["fix"] and meter["reason"] for meter in found["meters"] if not meter["available"])
    plain = joulemark("doctor").stdout
    assert "joulemark run will use" in plain
    assert all(len(line) <= 80 for line in plain.splitlines())


def test_what_may_be_said_of_a_kind_of_meter_is_told_with_an_example(joulemark: Joulemark) -> None:
    plain = joulemark("meters", "redfish").stdout
    assert "chassis" in plain
    assert "--meter bmc=redfish:host=https://192.0.2.9" in plain
    assert all(len(line) <= 80 for line in plain.splitlines()[:-1])
    found = json.loads(joulemark("meters", "shelly", "--json").stdout)
    assert (found["schema"], found["kind"]) == ("joulemark.kind/1", "shelly")
    assert {"name": "channel", "needed": False, "default": "0", "text": "Which of its outputs."} in found["arguments"]
    assert joulemark("meters", "shely").returncode == 2


def test_completing_a_meter_probes_none_and_is_quick() -> None:
    found = imported_by_completion("joulemark run --meter ")
    assert "click" in found
    assert not found & (HEAVY | {"pynvml"}), "what is not loaded is not asked"


def imported_by_completion(typed: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND[1:]],
        env=os.environ | {"_JOULEMARK_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": "3"},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "plain,rapl" in done.stdout
    return {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}


def test_completion_knows_models_tasks_meters_and_countries(joulemark: Joulemark) -> None:
    for typed, wanted in (
        ("joulemark run -m ref/d", "ref/dense-60k"),
        ("joulemark run -t jm_a", "jm_addition"),
        ("joulemark run --meter nv", "nvml-power"),
        ("joulemark run --meter she", "shelly=shelly:"),
        ("joulemark doctor --meter desk=ta", "desk=tasmota:"),
        ("joulemark meters red", "redfish"),
        ("joulemark run --carbon Ger", "DEU"),
    ):
        words = typed.split()
        done = joulemark(
            _JOULEMARK_COMPLETE="bash_complete",
            COMP_WORDS=typed,
            COMP_CWORD=str(len(words) - 1),
            PATH=os.environ["PATH"],
        )
        assert f"plain,{wanted}" in done.stdout
