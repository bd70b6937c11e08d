"""What a run says of the machine that it was measured on, and what is refused before anything is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny

from joulemark.harness.plan import make_plan
from joulemark.harness.session import describe_this_machine, prepare
from joulemark.meters.errors import UsageError
from joulemark.meters.registry import Choice
from joulemark.meters.types import Domain


def gpu(name: str, device: str = "", device_id: str = "") -> Domain:
    return Domain(
        id=name,
        kind="gpu",
        grade="counter",
        resolution_j=0.001,
        update_s=0.1,
        range_j=None,
        rel_u_scale=0.05,
        rel_u_workload=0.0,
        source="",
        provenance="http://192.0.2.7:9090, query up",
        device=device,
        device_id=device_id,
    )


def test_a_gpu_is_named_as_its_driver_does_and_otherwise_as_its_meter_and_never_by_where_it_is_read() -> None:
    known, unknown = gpu("nvml:gpu-0", "NVIDIA H200", "GPU-aa11"), gpu("rack:gpu-0")
    machine = describe_this_machine(Choice(meters=(), domains=(known, unknown), grade="counter", scope="gpu"))
    assert [(each.name, each.uuid) for each in machine.accelerators] == [
        ("NVIDIA H200", "GPU-aa11"),
        ("GPU rack:gpu-0", ""),
    ]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"gen_kwargs": "hot"}, "--gen-kwargs 'hot' is not readable"),
        ({"num_fewshot": 2}, "'tiny_sums_bare' is asked without examples; leave --num-fewshot out"),
        ({"tasks": ("tiny_group", "tiny_odd")}, "'tiny_odd' is in 'tiny_group' as well, and would count twice"),
    ],
)
def test_what_a_task_cannot_be_asked_is_refused_before_anything_is_measured(
    given: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    folder = tiny.make_tasks(tmp_path / "tasks")
    usual = {"models": ("ref/ngram",), "tasks": ("tiny_sums_bare",), "include_path": (str(folder),)}
    with pytest.raises(UsageError, match=reason):
        prepare(make_plan(None, usual | given), lambda _: None)
