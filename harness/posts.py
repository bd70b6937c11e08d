"""The stations of a Ray cluster, from the driver's side: started, given work, heard from, and found lost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from joulemark.meters.errors import JoulemarkError, MeasuringFailed, UsageError
from joulemark.meters.nvml import NvmlMeter, NvmlPowerMeter

from .measuring import terminable
from .models import parse_models
from .plan import Plan
from .raycluster import connect, labels_of, lives, living_nodes, who_is_there
from .record import Carbon, Station
from .said import one_line
from .schedule import CellPlan
from .station import AtWork, Described

__all__ = ["Post", "Posts"]

_LOOK_EVERY_S = 1.0
"""Ctrl-C is heard so often; a driver that waits takes next to nothing."""
_WAIT_S = 30.0
"""What Ray has at a machine that is not free so long after the first one is ready is done without."""
_READY_S = 600.0
"""The same of a station that has started, but finds no end of looking things up."""
_PATIENCE_S = 5.0
_STARTS = 3
"""Times that a station's process is started on a node that still lives."""
_NODE = 12
"""Letters of a node's id."""
_OF_GPUS_ALONE = {NvmlMeter().id, NvmlPowerMeter().id}
"""Meters that see a GPU and nothing else; where only such are asked for, each GPU may have a station of its own."""
_PARTS = 10_000
"""Into so many parts Ray divides a resource."""


@dataclass
class Post:
    """A station, as the driver sees it.

    Attributes:
        node: Its node's id in Ray, the start of it.
        name: For people.
        labels: Of its node.
        working: What it is at; None while it waits for work.
        cell: Which cell it is measuring.
        begun: Whether it has loaded models.
        loading: Which models it is loading.
        starts: Of its process, since it was last ready.
        starting: Whether it waits for what Ray has there.
        getting_ready: Whether it has that, and looks everything up.
        told: What it said when it was ready; None where it has not said that yet.
        since: When it was last started, or got what it waited for, by the monotonic clock.
    """

    node: str
    name: str
    labels: Mapping[str, str]
    start: Callable[[], Any]
    lives: Callable[[], bool]
    actor: Any = None
    working: Any = None
    cell: CellPlan | None = None
    begun: bool = False
    loading: frozenset[str] = frozenset()
    starts: int = 0
    starting: bool = False
    getting_ready: bool = False
    told: Described | None = None
    since: float = 0.0

    def overdue(self, first: float = 0.0) -> str | None:
        """Why it need not be waited for any longer; None where it may still come.

        Args:
            first: The waiting does not count before, by the monotonic clock.
        """
        waited = time.monotonic() - max(self.since, first)
        if self.starting and waited > _WAIT_S:
            return f"it was not free within {_WAIT_S:.0f} s"
        if self.getting_ready and waited > _READY_S:
            return f"it was not ready within {_READY_S / 60:.0f} minutes"
        return None

    @property
    def described(self) -> Described:
        """What it said when it was ready."""
        assert self.told is not None
        return self.told

    @property
    def machine_id(self) -> str:
        """Its machine's fingerprint."""
        return self.described.header.machine.machine_id

    def open(self) -> None:
        """Start its process."""
        self.actor, self.begun, self.cell, self.loading = self.start(), False, None, frozenset()
        self.starts, self.since, self.starting = self.starts + 1, time.monotonic(), True
        self.working = self.actor.is_here.remote()

    def get_ready(self) -> None:
        """Have it look everything up, now that Ray has given it what it needs."""
        self.since, self.starting, self.getting_ready = time.monotonic(), False, True
        self.working = self.actor.get_ready.remote()

    def stop(self) -> None:
        """It has finished what it was at, or was lost at it."""
        self.working, self.starting, self.getting_ready = None, False, False

    def begin(self, cells: Sequence[CellPlan]) -> None:
        """Have it load the models of these cells and measure the idle power."""
        self.begun, self.cell, self.loading = True, None, frozenset(cell.spec.name for cell in cells)
        self.working = self.actor.begin.remote(list(cells))

    def measure(self, cell: CellPlan, attempt: int) -> None:
        """Have it measure a cell."""
        self.cell, self.loading, self.working = cell, frozenset(), self.actor.measure.remote(cell, attempt)

    def end(self) -> None:
        """Have it measure the idle power after all, and end."""
        self.cell, self.loading, self.working = None, frozenset(), self.actor.end.remote()

    def start_again(self) -> bool:
        """Start its process again, unless that was tried too often."""
        import ray

        if self.starts >= _STARTS:
            return False
        ray.kill(self.actor)
        self.open()
        return True


class Posts:
    """All stations of a run; leaving ends them.

    Args:
        plan: What is measured, and on which cluster.
        carbon: What a kilowatt-hour stands for.
        run_id: Of the run.
        known: Machines that the run knows, by their ids.
        nodes: How many machines, or shares of one, measured what is to be finished, by node: these are waited for as
            long as they are there.
        say: Tells people.

    Raises:
        UsageError: There is no such cluster, or no machine in it may measure.
    """

    def __init__(
        self,
        plan: Plan,
        carbon: Carbon | None,
        run_id: str,
        known: Mapping[str, Station],
        nodes: Mapping[str, int],
        say: Callable[[str], None],
    ) -> None:
        self._say, self._nodes = say, nodes
        self._by_gpu = {*(plan.meters or ("all",))} <= _OF_GPUS_ALONE
        self._given = plan, carbon, run_id, dict(known)
        self._rules = [_rule(text) for text in plan.placement]
        names = [spec.name for spec in parse_models(plan.models, here=False)]
        for model in {model for model, _, _ in self._rules if model} - {*names}:
            raise UsageError(f"--place {model}:...: no model is called {model!r}; there are {', '.join(names)}.")
        self.able: list[Post] = []
        connect(plan.executor)

    def __enter__(self) -> Posts:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        import ray

        for post in self.able:
            if post.actor is not None:
                ray.kill(post.actor)
        ray.shutdown()

    @property
    def busy(self) -> bool:
        """Whether any of them is at something."""
        return any(post.working is not None for post in self.able)

    def get_ready(self) -> list[Described]:
        """Start a station wherever one may measure, and hear who is there.

        Raises:
            UsageError: Nowhere, or the plan cannot be measured there.
        """
        self.able = list(self._posts())
        if not self.able:
            raise UsageError(
                f"no machine of the cluster may measure: {_wanted(self._rules)}; there are {who_is_there()}."
            )
        for model in {model for model, _, _ in self._rules if model}:
            self.fit_for(model)
        with terminable():
            return self._wait_for_them()

    def _wait_for_them(self) -> list[Described]:
        for post in self.able:
            post.open()
        began, first, told = time.monotonic(), None, False
        while late := [post for post in self.able if post.told is None]:
            if not told and time.monotonic() - began > _PATIENCE_S:
                told = True
                self._say(self._what_is_waited_for(late))
            for post in late:
                why = post.overdue(first) if first and not self._is_expected(post) else None
                if why:
                    self._say(f"{post.name} is left out: {why}.")
                    self.give_up(post)
            for post, answer in self.finished():
                self._hear(post, answer)
                first = first or (time.monotonic() if post.told else None)
        return [post.described for post in self.able]

    def overdue(self) -> list[tuple[Post, str]]:
        """Stations that were started again and do not come, each with why it need not be waited for."""
        return [(post, why) for post in self.able if (why := post.overdue())]

    def _is_expected(self, post: Post) -> bool:
        """Whether it may be the one that measured what is to be finished."""
        there = sum(other.told is not None for other in self.able if other.node == post.node)
        return there < self._nodes.get(post.node, 0)

    def _what_is_waited_for(self, late: Sequence[Post]) -> str:
        names = ", ".join(post.name for post in late)
        if any(map(self._is_expected, late)):
            return f"Waiting for {names}, of which this run has cells, until other work lets it go; Ctrl-C ends that."
        if len(late) == len(self.able):
            return f"Waiting for {names}: other work on the cluster holds what it needs; Ctrl-C ends that."
        return (
            f"Waiting for {names}: other work may hold it. It is left out if it has not come {_WAIT_S:.0f} s after the "
            "first one."
        )

    def _hear(self, post: Post, answer: Any) -> None:
        """What a new station says of itself; one where nothing can be measured is done without, unless it is the last.

        Raises:
            UsageError: It knows a model or task not, which the others will not either, or nobody is left.
            MeasuringFailed: No meter works on the last one.
        """
        if isinstance(answer, Described):
            post.told, post.starts = answer, 0
            for sentence in answer.said:
                self._say(f"{post.name}: {sentence}")
            return
        if isinstance(answer, UsageError) or (isinstance(answer, JoulemarkError) and len(self.able) == 1):
            raise answer
        if len(self.able) == 1:
            raise UsageError(f"{post.name}: its process did not start; is Joulemark installed there as it is here?")
        self._say(f"{post.name} is left out: {answer or 'its process did not start'}")
        self.give_up(post)

    def finished(self) -> Iterator[tuple[Post, Any]]:
        """Those that have finished what they were at, each with what it hands over.

        That is a JoulemarkError where something cannot be measured, and None where it was lost.
        """
        import ray

        waiting = {post.working: post for post in self.able if post.working is not None}
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=_LOOK_EVERY_S)
        for reference in ready:
            post, result = waiting[reference], _result(reference)
            if post.starting and result is True:
                post.get_ready()
                continue
            post.stop()
            yield post, result

    def fit_for(self, model: str, *, needed: bool = True) -> list[Post]:
        """Those that may measure a model.

        Raises:
            UsageError: None may, and one is needed.
        """
        own = [(key, value) for name, key, value in self._rules if name == model]
        fit = [post for post in self.able if all(post.labels.get(key) == value for key, value in own)]
        if needed and not fit:
            of_all = [f"{key}={value} as all models" for name, key, value in self._rules if not name]
            labels = " and ".join([*(f"{key}={value}" for key, value in own), *of_all])
            raise UsageError(
                f"no machine that may measure {model} is there: it needs {labels}; there are {who_is_there()}."
            )
        return fit

    def give_up(self, post: Post) -> None:
        """Do without a station from now on."""
        import ray

        self.able.remove(post)
        ray.kill(post.actor)

    def _posts(self) -> Iterator[Post]:
        for node in living_nodes():
            if _may_measure(node, self._rules):
                shares = max(1, int(node["Resources"].get("GPU", 0))) if self._by_gpu else 1
                for place in range(1, shares + 1):
                    yield self._post(node, place, shares)

    def _post(self, node: dict[str, Any], place: int, shares: int) -> Post:
        """One station of a node, or one of several that share its CPUs evenly and have a GPU each."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        held = node["Resources"]
        own = next(name for name in held if name.startswith("node:") and name != "node:__internal_head__")
        actor = ray.remote(AtWork).options(
            num_cpus=_share(held["CPU"], shares),
            num_gpus=held.get("GPU", 0) if shares == 1 else 1,
            resources={own: _share(1, shares)},
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        short = str(node["NodeID"])[:_NODE]
        which = f"{short}, station {place} of {shares}" if shares > 1 else short
        name = f"{node['NodeManagerHostname']} ({which})"
        return Post(
            node=short,
            name=name,
            labels=labels_of(node),
            start=lambda: actor.remote(*self._given, share=shares > 1),
            lives=lambda: lives(node["NodeID"]),
        )


def _result(reference: Any) -> Any:
    """What a station hands over; what it raised, as a JoulemarkError; None where it was lost."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as problem:
        cause = problem.cause
        if isinstance(cause, JoulemarkError):
            return cause
        # A full disk, a library that is not there, a fault of Joulemark itself: others may do better.
        return MeasuringFailed(f"{type(cause).__name__}: {one_line(str(cause), 300)}")
    except ray.exceptions.RayError:
        return None


def _rule(text: str) -> tuple[str, str, str]:
    """Model, or nothing for all, key and value."""
    key, _, value = text.partition("=")
    model, _, own = key.rpartition(":")
    return model, own, value


def _may_measure(node: Mapping[str, Any], rules: Sequence[tuple[str, str, str]]) -> bool:
    labels = labels_of(node)
    common = [(key, value) for model, key, value in rules if not model]
    return node["Resources"].get("CPU", 0) >= 1 and all(labels.get(key) == value for key, value in common)


def _share(held: float, shares: int) -> float:
    """An even share of a resource, whole where that is one or more; all of them together never ask for more than it."""
    share = held / shares
    return float(math.floor(share)) if share >= 1 else math.floor(share * _PARTS) / _PARTS


def _wanted(rules: Sequence[tuple[str, str, str]]) -> str:
    common = [f"{key}={value}" for model, key, value in rules if not model]
    return f"none has {', '.join(common)} and a CPU" if common else "none has a CPU for Ray"
