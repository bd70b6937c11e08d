"""Runs with known truth, for all tests of reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import MODELS, write_run

from joulemark.harness.store import Run
from joulemark.reports.views import View, make_views


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Write a small run into a folder of its own; keywords as `write_run`'s."""

    def make(name: str = "run-1", **kwargs: Any) -> Run:
        few = {name: MODELS[name] for name in ("ngram", "dense-60k", "dense-240k")}
        small: dict[str, Any] = {"models": few, "tasks": ("dates", "units"), "items": 120, "compact": False}
        return write_run(tmp_path / name, run_id=name, **(small | kwargs))

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
