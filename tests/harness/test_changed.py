"""What changed between two invocations of a run is not mixed with what did not."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemark.harness.models import parse_model
from joulemark.harness.session import _runs_own_code
from joulemark.harness.store import read_run

from .conftest import Joulemark
from .test_run import lines

OWN = """
task: my_counting
output_type: generate_until
custom_dataset: !function ask.load
test_split: test
doc_to_text: prompt
doc_to_target: answer
generation_kwargs: {until: ["\\n"], max_gen_toks: 4}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
ASK = """
import datasets
def load(**_):
    rows = [{"prompt": f"%s {at} ", "answer": str(at & 1)} for at in range(8)]
    return {"test": datasets.Dataset.from_list(rows)}
"""


def test_a_task_whose_questions_changed_is_not_gone_on_with(joulemark: Joulemark, tmp_path: Path) -> None:
    tasks, path = tmp_path / "tasks", tmp_path / "run"
    tasks.mkdir()
    (tasks / "my_counting.yaml").write_text(OWN)
    (tasks / "ask.py").write_text(ASK % "is odd")
    chosen = (
        "-m",
        "ref/dense-60k",
        "-t",
        "my_counting",
        "--include-path",
        tasks,
        "--repeats",
        "2",
        "--meter",
        "modelled",
    )
    done = joulemark("run", *chosen, "--out", path)
    assert done.returncode == 0, done.stderr
    (path / "cells.jsonl").write_text((path / "cells.jsonl").read_text().splitlines()[0] + "\n")
    (tasks / "ask.py").write_text(ASK % "is it odd")
    done = joulemark("run", "--resume", path)
    assert done.returncode == 5
    assert "my_counting has other questions than when this run began" in done.stderr
    assert [cell.status for cell in read_run(path).cells] == ["ok", "failed"]
    assert len(lines(path)) == 2


@pytest.mark.parametrize("said", ["true", "True", "1", " yes", "on"])
def test_however_code_of_its_own_is_allowed_to_a_model_it_needs_our_leave_too(said: str) -> None:
    assert _runs_own_code(parse_model(f"m=hf:pretrained=x,trust_remote_code={said}"))


@pytest.mark.parametrize(
    "args", ["pretrained=x", "pretrained=x,trust_remote_code=false", "pretrained=trust_remote_code"]
)
def test_a_model_that_brings_none_needs_no_leave(args: str) -> None:
    assert not _runs_own_code(parse_model(f"m=hf:{args}"))
