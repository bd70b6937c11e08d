"""Runs with known truth, for all tests of reports."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from made_runs import MODELS, write_run

from joulemark.harness.record import Cell
from joulemark.harness.store import Run, read_run
from joulemark.reports.views import View, make_views


def planned(run: Run, **plan: Any) -> Run:
    """The run with this in its plan."""
    header = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    header["plan"] |= plan
    (run.path / "run.json").write_text(json.dumps(header), encoding="utf-8")
    return read_run(run.path)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Write a small run into a folder of its own; keywords as `write_run`'s."""

    def make(name: str = "run-1", **kwargs: Any) -> Run:
        few = {name: MODELS[name] for name in ("ngram", "dense-60k", "dense-240k")}
        small: dict[str, Any] = {"models": few, "tasks": ("dates", "units"), "items": 120, "compact": False}
        return write_run(tmp_path / name, **({"run_id": name} | small | kwargs))

    return make


@pytest.fixture
def make_sweep(make_run: Callable[..., Run]) -> Callable[..., Run]:
    """Write a run of each model in each setting of a grid; keywords as `write_run`'s."""

    def make(
        sweep: Mapping[str, Sequence[Any]],
        models: Mapping[str, tuple[float, float, int]],
        change: Callable[[Cell], Cell | None] = lambda cell: cell,
        **kwargs: Any,
    ) -> Run:
        grid = [dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values())]
        made = {
            f"{name}|{at}": (accuracy, wh * 1.5**at, params)
            for name, (accuracy, wh, params) in models.items()
            for at in range(len(grid))
        }

        def set_up(cell: Cell) -> Cell | None:
            name, _, at = cell.model.partition("|")
            return change(cell.model_copy(update={"model": name, "setting": cell.setting | grid[int(at)]}))

        run = make_run(models=made, change=set_up, **kwargs)
        swept = dict.fromkeys(sweep.keys() & {"batch_size"})
        return planned(run, models=[f"{name}=hf:pretrained=x" for name in models], sweep=dict(sweep), **swept)

    return make


@pytest.fixture(scope="session")
def write() -> Callable[..., Run]:
    """`write_run` itself, for runs that several tests share."""
    return write_run


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Four models, six tasks of 300 items, three repeats, modelled."""
    return write_run(tmp_path_factory.mktemp("demo") / "run-1")


@pytest.fixture(scope="session")
def demo_views(demo_run: Run) -> list[View]:
    """The views of `demo_run`."""
    return make_views([demo_run])
