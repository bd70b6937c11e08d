"""Whatever a cluster loses: the driver with stations that are made up, since real ones cannot be lost a thousand times.

What real Ray does is in `test_cluster`; here each station hands over at once, and chance decides what is lost when.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.harness.cells import failed_cell
from joulemark.harness.cluster import AGAIN, _ClusterRun
from joulemark.harness.measuring import Progress
from joulemark.harness.plan import Plan
from joulemark.harness.posts import Post
from joulemark.harness.record import NO_ITEMS, Cell, Energy, Idle, Machine, RunHeader
from joulemark.harness.schedule import CellPlan, schedule
from joulemark.harness.session import specs_of
from joulemark.harness.station import Described, Parcel, Stored
from joulemark.harness.store import RunWriter, read_run
from joulemark.meters.errors import MeasuringFailed

MODELS = ("ref/ngram", "ref/dense-60k", "ref/dense-240k", "ref/dense-800k")


def header_of(machine_id: str, plan: Plan) -> RunHeader:
    machine = Machine(
        machine_id=machine_id, hostname_hash="h", os="Linux", kernel="6", cpu_model="made", cpu_count=2, memory_gb=8.0
    )
    return RunHeader(
        run_id="run", created_at="2026-01-05T10:00:00+00:00", joulemark_version=version("joulemark"),
        plan=plan.model_dump(mode="json"), seed=0, machine=machine, software={}, meters=(),
        idle=Idle(before_w=None, after_w=None, duration_s=1.0),
    )  # fmt: skip


@dataclass
class Node:
    """A machine with some GPUs, each a machine of its own to figures; a station that starts takes any free one."""

    name: str
    free: list[str]
    lives: bool = True


@dataclass
class MadePost(Post):
    """A station whose process is a name for what it is at."""

    on: Node | None = None
    gpu: str | None = None

    def open(self) -> None:
        self.begun, self.cell, self.loading, self.starts = False, None, frozenset(), self.starts + 1
        self.working = "get_ready"

    def leave(self) -> None:
        """Give back what it held."""
        if self.gpu and self.on:
            self.on.free.append(self.gpu)
        self.gpu = None

    def start_again(self) -> bool:
        self.leave()
        if self.starts >= 3:
            return False
        self.open()
        return True

    def begin(self, cells: Sequence[CellPlan]) -> None:
        assert cells
        self.begun, self.cell, self.loading = True, None, frozenset(cell.spec.name for cell in cells)
        self.working = "begin"

    def measure(self, cell: CellPlan, attempt: int) -> None:
        self.cell, self.loading, self.working = cell, frozenset(), attempt

    def end(self) -> None:
        self.cell, self.loading, self.working = None, frozenset(), "end"


@dataclass
class Cluster:
    """Stations in the place of `Posts`, some of which are lost as chance will have it."""

    plan: Plan
    chance: Random
    losses: float
    poison: frozenset[str]
    at_loading: bool = False
    kinds: tuple[str, ...] = ("process", "node", "meter")
    able: list[Post] = field(default_factory=list)
    measured: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    whose: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    """By model and cell, the machine whose figures count."""

    @property
    def busy(self) -> bool:
        return any(post.working is not None for post in self.able)

    def overdue(self) -> list[tuple[Post, str]]:
        return []

    def fit_for(self, _model: str, *, needed: bool = True) -> list[Post]:
        assert self.able or not needed
        return list(self.able)

    def give_up(self, post: MadePost) -> None:
        self.able.remove(post)
        post.leave()

    def finished(self) -> Iterator[tuple[Post, Any]]:
        post = self.chance.choice([post for post in self.able if post.working is not None])
        assert isinstance(post, MadePost)
        at, post.working = post.working, None
        yield post, self._result(post, at)

    def _result(self, post: MadePost, at: Any) -> Any:
        assert post.on is not None
        asked = {post.cell.spec.name} if post.cell else post.loading if self.at_loading else set()
        if not post.on.lives or asked & self.poison:
            return None
        if self.chance.random() < self.losses:
            what = self.chance.choice(self.kinds)
            if what == "node" and sum(node.lives for node in {id(p.on): p.on for p in self.able}.values() if node) > 1:
                post.on.lives = False
                return None
            if what == "meter":
                return self.without_meter(post, at)
            if what == "process":
                return None
        if at == "get_ready":
            return self.described(post)
        assert post.told is not None
        stored = ()
        if post.cell is not None:
            self.measured[post.cell.cell_id] += 1
            own, many = self.whose[post.cell.spec.name], len(self.plan.tasks) * most_repeats(self.plan)
            assert len(own) < many or len({*own.values()}) > 1, "what is finished was measured again"
            own[post.cell.cell_id] = post.told.header.machine.machine_id
            cell = made_cell(post.told.header, post.cell, at)
            stored = (Stored(cell=cell, items=None, power=None, samples=None),)
        return Parcel(stored=stored, logs={}, station=post.told.header.station, said=())

    def without_meter(self, post: MadePost, at: Any) -> Any:
        """What a station hands over whose meter was lost: at a cell, that cell as a failed one."""
        if post.cell is None or post.told is None:
            return MeasuringFailed("the meter is gone.")
        header = post.told.header
        cell = made_cell(header, post.cell, at).model_copy(update={"status": "failed", "error": "gone", "flags": ()})
        stored = (Stored(cell=cell, items=None, power=None, samples=None),)
        return Parcel(stored=stored, logs={}, station=header.station, said=(), lost="the meter is gone")

    def described(self, post: MadePost) -> Described:
        """A station is ready, with one of the GPUs that are free."""
        assert post.on is not None
        post.gpu = self.chance.choice(post.on.free)
        post.on.free.remove(post.gpu)
        return Described(
            header=header_of(post.gpu, self.plan), plan=self.plan, version=version("joulemark"), said=(), foreseen={}
        )


def most_repeats(plan: Plan) -> int:
    return plan.max_repeats if plan.precision else plan.repeats


def made_cell(header: RunHeader, plan: CellPlan, attempt: int) -> Cell:
    failed = failed_cell(
        header=header, plan=plan, attempt=attempt, started_at=datetime.now(UTC).isoformat(), duration_s=1.0,
        cooled_s=None, reason="", log=None,
    )  # fmt: skip
    energy = Energy(
        gross_j=1.0 + plan.repeat % 2, net_j=None, idle_j=None, u_j=0.0, rel_u_scale=0.0, rel_u_workload=0.0,
        grade="counter", scope="package", domains={}, idle_w=None, window_s=1.0, loops=1,
    )  # fmt: skip
    known = {"status": "ok", "error": None, "flags": (NO_ITEMS,), "n_items": 10, "energy": energy}
    return failed.model_copy(update=known)


def made_up(
    plan: Plan,
    shares: Sequence[int],
    chance: Random,
    losses: float,
    poison: frozenset[str],
    kind: type[Cluster] = Cluster,
    *,
    at_loading: bool = False,
) -> Cluster:
    cluster = kind(plan, chance, losses, poison, at_loading)
    for number, many in enumerate(shares):
        node = Node(f"node{number}", [f"machine{number}-{gpu}" for gpu in range(many)])
        for place in range(many):
            post = MadePost(
                node=node.name, name=f"{node.name} ({place})", labels={}, start=lambda: None,
                lives=lambda node=node: node.lives, on=node,
            )  # fmt: skip
            post.told = cluster.described(post)
            cluster.able.append(post)
    return cluster


@given(
    shares=st.lists(st.sampled_from([1, 3]), min_size=1, max_size=3),
    models=st.sets(st.sampled_from(MODELS), min_size=1),
    poison=st.sets(st.sampled_from(MODELS), max_size=2),
    at_loading=st.booleans(),
    kinds=st.sampled_from([("process", "node", "meter"), ("node",)]),
    repeats=st.sampled_from([1, 3]),
    losses=st.sampled_from([0.0, 0.1, 0.3]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=250, deadline=None)
def test_whatever_is_lost_each_cell_is_there_once_and_each_model_has_those_of_one_machine(
    shares: list[int],
    models: set[str],
    poison: set[str],
    at_loading: bool,
    kinds: tuple[str, ...],
    repeats: int,
    losses: float,
    seed: int,
) -> None:
    plan = Plan(models=tuple(sorted(models)), tasks=("jm_units", "jm_dates"), repeats=repeats, executor="ray")
    cluster = made_up(plan, shares, Random(seed), losses, frozenset(poison), at_loading=at_loading)
    cluster.kinds = kinds
    asked = {cell.cell_id: cell for cell in schedule(plan, specs_of(plan), range(1, repeats + 1))}
    with tempfile.TemporaryDirectory() as folder:
        with RunWriter(Path(folder) / "run") as writer:
            described = [post.described for post in cluster.able]
            run = _ClusterRun(writer, Progress(), cluster, None, {})  # type: ignore[arg-type]
            result = run.run(described)
        there = read_run(Path(folder) / "run")
    cells = {cell.cell_id: cell for cell in there.cells}
    assert len(cells) == len(there.cells)
    by_model = by_models(cells)
    for model in models & poison:
        assert all(cell.status == "failed" for cell in by_model.get(model, ()))
    stations = {station.machine.machine_id for station in there.header.stations} | {there.header.machine.machine_id}
    assert {cell.machine_id for cell in cells.values()} <= stations, "a cell is of a machine that the run does not know"
    if cluster.able or losses == 0.0:
        assert cells.keys() == asked.keys(), "a cell was never tried, though a machine was there"
    for model, own in by_model.items():
        if len(own) == len(asked) // len(models) and all(cell.status == "ok" for cell in own):
            assert len({cell.machine_id for cell in own}) == 1, f"{model} has figures of two machines"
    if losses == 0.0 or kinds == ("node",):
        assert all(cell.status == "ok" for cell in cells.values() if cell.model not in poison), "the others' fault"
    if losses == 0.0 and len(models & poison) < 2:
        # Two that end their stations at a time may have these change their GPUs.
        assert set(cluster.measured.values()) <= {1}, "a cell was measured twice though nothing was lost"
    if losses == 0.0:
        assert len(cluster.able) == sum(shares), "a model took a machine down"
    assert (result.problem is None) == (cells.keys() == asked.keys() and all(c.status == "ok" for c in cells.values()))
    for cell_id, times in cluster.measured.items():
        assert times == 1 or cell_id not in cells or AGAIN in cells[cell_id].flags or cells[cell_id].status == "failed"


def measured_by(cluster: Cluster, folder: Path) -> tuple[str | None, list[Cell]]:
    with RunWriter(folder) as writer:
        run = _ClusterRun(writer, Progress(), cluster, None, {})  # type: ignore[arg-type]
        problem = run.run([post.described for post in cluster.able]).problem
    return problem, list(read_run(folder).cells)


def test_a_models_last_cell_is_measured_elsewhere_where_its_meter_is_lost(tmp_path: Path) -> None:
    class LosesTheFirst(Cluster):
        def _result(self, post: MadePost, at: Any) -> Any:
            if post.cell is not None and post.node == "node0":
                return self.without_meter(post, at)
            return super()._result(post, at)

    plan = Plan(models=("ref/ngram",), tasks=("jm_units",), repeats=1, executor="ray")
    cluster = made_up(plan, [1, 1], Random(0), 0.0, frozenset(), LosesTheFirst)
    problem, [cell] = measured_by(cluster, tmp_path / "run")
    assert problem is None
    # Three stations of the first machine were lost at it.
    assert (cell.status, cell.attempt) == ("ok", 4)
    assert AGAIN in cell.flags


def test_what_a_lost_machine_had_goes_to_whoever_has_the_least_left_to_do(tmp_path: Path) -> None:
    class LosesTheThird(Cluster):
        def finished(self) -> Iterator[tuple[Post, Any]]:
            """The first machine measures all its models, the third is lost, and only then the second measures."""
            at_work = [post for post in self.able if post.working is not None]
            order = sorted(at_work, key=lambda post: "021".index(post.node[-1]))
            post = order[0]
            assert isinstance(post, MadePost)
            assert post.on is not None
            post.on.lives = post.node != "node2"
            at, post.working = post.working, None
            yield post, self._result(post, at)

    plan = Plan(models=MODELS, tasks=("jm_units", "jm_dates"), repeats=1, executor="ray")
    cluster = made_up(plan, [1, 1, 1], Random(0), 0.0, frozenset(), LosesTheThird)
    problem, cells = measured_by(cluster, tmp_path / "run")
    assert problem is None
    assert Counter(cell.machine_id for cell in cells) == {"machine0-0": 6, "machine1-0": 2}


def test_a_machine_at_which_every_process_ends_keeps_no_model_from_being_measured_on_another(tmp_path: Path) -> None:
    class EndsAll(Cluster):
        def _result(self, post: MadePost, at: Any) -> Any:
            return None if post.node == "node0" and post.begun else super()._result(post, at)

    plan = Plan(models=MODELS, tasks=("jm_units",), repeats=1, executor="ray")
    problem, cells = measured_by(made_up(plan, [1, 1], Random(0), 0.0, frozenset(), EndsAll), tmp_path / "run")
    assert problem is None
    assert {cell.machine_id for cell in cells} == {"machine1-0"}


def test_a_model_at_which_every_meter_is_lost_takes_no_machine_down(tmp_path: Path) -> None:
    class LosesMeters(Cluster):
        def _result(self, post: MadePost, at: Any) -> Any:
            if post.cell is not None and post.cell.spec.name == "ref/ngram":
                return self.without_meter(post, at)
            return super()._result(post, at)

    plan = Plan(models=MODELS, tasks=("jm_units",), repeats=2, executor="ray")
    cluster = made_up(plan, [1, 1, 1], Random(0), 0.0, frozenset(), LosesMeters)
    problem, cells = measured_by(cluster, tmp_path / "run")
    assert problem is not None
    assert problem.startswith("2 of 8 cells failed")
    assert "3 stations in a row were lost at this model: the meter is gone" in problem
    assert {cell.model for cell in cells if cell.status == "ok"} == {*MODELS} - {"ref/ngram"}
    assert len(cluster.able) == 3


def test_a_model_that_ends_its_station_late_is_not_measured_without_end_on_gpus_that_change(tmp_path: Path) -> None:
    class EndsLate(Cluster):
        def _result(self, post: MadePost, at: Any) -> Any:
            return None if post.cell is not None and post.cell.repeat == 2 else super()._result(post, at)

    plan = Plan(models=("ref/ngram",), tasks=("jm_units",), repeats=2, executor="ray")
    cluster = made_up(plan, [1], Random(0), 0.0, frozenset(), EndsLate)
    [post] = cluster.able
    assert isinstance(post, MadePost)
    assert post.on is not None
    post.on.free += ["machine0-1", "machine0-2"]
    problem, cells = measured_by(cluster, tmp_path / "run")
    assert problem is not None
    assert problem.startswith("1 of 2 cells failed")
    assert sorted(cell.status for cell in cells) == ["failed", "ok"]


def test_processes_that_are_lost_now_and_then_do_not_add_up_to_a_model_that_fails(tmp_path: Path) -> None:
    class LosesEachFirst(Cluster):
        def _result(self, post: MadePost, at: Any) -> Any:
            return None if post.cell is not None and at == 1 else super()._result(post, at)

    plan = Plan(models=("ref/ngram",), tasks=("jm_units",), repeats=5, executor="ray")
    cluster = made_up(plan, [1], Random(0), 0.0, frozenset(), LosesEachFirst)
    problem, cells = measured_by(cluster, tmp_path / "run")
    assert problem is None
    assert [cell.attempt for cell in cells] == [2] * 5


def test_what_a_machine_cost_before_it_was_lost_does_not_count_on_the_next(tmp_path: Path) -> None:
    class LosesTwiceThenTheMachine(Cluster):
        def _result(self, post: MadePost, at: Any) -> Any:
            assert post.on is not None
            if post.cell is not None and at in (1, 2, 4):
                return None
            if post.cell is not None and at == 3:
                post.on.lives = False
            return super()._result(post, at)

    plan = Plan(models=("ref/ngram",), tasks=("jm_units",), repeats=1, executor="ray")
    cluster = made_up(plan, [1, 1], Random(0), 0.0, frozenset(), LosesTwiceThenTheMachine)
    problem, [cell] = measured_by(cluster, tmp_path / "run")
    assert problem is None
    assert (cell.machine_id, cell.attempt) == ("machine1-0", 5)


def test_a_model_does_not_go_back_to_the_machine_that_it_left_while_another_is_there(tmp_path: Path) -> None:
    class FirstEndsAllAndSecondIsLost(Cluster):
        def _result(self, post: MadePost, at: Any) -> Any:
            assert post.on is not None
            if post.node == "node1" and post.cell is not None and post.cell.repeat == 2:
                post.on.lives = False
            return None if post.node == "node0" and post.begun else super()._result(post, at)

    plan = Plan(models=MODELS[:3], tasks=("jm_units",), repeats=2, executor="ray")
    cluster = made_up(plan, [1, 1, 1], Random(0), 0.0, frozenset(), FirstEndsAllAndSecondIsLost)
    problem, cells = measured_by(cluster, tmp_path / "run")
    assert problem is None
    assert {cell.machine_id for cell in cells} == {"machine2-0"}


def test_a_model_leaves_a_node_whose_gpus_all_end_its_station_for_another_node(tmp_path: Path) -> None:
    class FirstNodeEndsAll(Cluster):
        def _result(self, post: MadePost, at: Any) -> Any:
            return None if post.node == "node0" and post.begun else super()._result(post, at)

    plan = Plan(models=("ref/ngram", "ref/dense-60k"), tasks=("jm_units",), repeats=1, executor="ray")
    cluster = made_up(plan, [4, 2], Random(0), 0.0, frozenset(), FirstNodeEndsAll)
    problem, cells = measured_by(cluster, tmp_path / "run")
    assert problem is None
    assert all(cell.machine_id.startswith("machine1") for cell in cells)


def test_models_that_end_the_station_as_they_load_fail_and_the_third_is_measured(tmp_path: Path) -> None:
    plan = Plan(models=("ref/ngram", "ref/dense-60k", "ref/dense-240k"), tasks=("jm_units",), repeats=1, executor="ray")
    killers = frozenset({"ref/ngram", "ref/dense-60k"})
    cluster = made_up(plan, [1], Random(0), 0.0, killers, at_loading=True)
    problem, cells = measured_by(cluster, tmp_path / "run")
    assert problem is not None
    assert problem.startswith("2 of 3 cells failed, all for one reason: ")
    assert {cell.model for cell in cells if cell.status == "ok"} == {"ref/dense-240k"}


def test_a_model_that_no_machine_may_measure_ends_no_other_ones_run(tmp_path: Path) -> None:
    class Placed(Cluster):
        def fit_for(self, model: str, *, needed: bool = True) -> list[Post]:
            return super().fit_for(model, needed=needed) if model != "ref/ngram" else []

    plan = Plan(models=("ref/ngram", "ref/dense-60k"), tasks=("jm_units",), repeats=1, executor="ray")
    problem, cells = measured_by(made_up(plan, [1], Random(0), 0.0, frozenset(), Placed), tmp_path / "run")
    assert problem is not None
    assert problem.startswith("no machine is left that may measure ref/ngram. What was measured is kept")
    assert [(cell.model, cell.status) for cell in cells] == [("ref/dense-60k", "ok")]


def test_a_model_without_a_machine_keeps_no_other_from_being_measured_to_its_precision(tmp_path: Path) -> None:
    class LosesTheFirst(Cluster):
        def fit_for(self, model: str, *, needed: bool = True) -> list[Post]:
            every = super().fit_for(model, needed=needed)
            return [post for post in every if model != "ref/ngram" or post.node == "node0"]

        def _result(self, post: MadePost, at: Any) -> Any:
            if post.on is not None and post.cell is not None and post.cell.spec.name == "ref/ngram":
                post.on.lives = post.cell.repeat != 2
            return super()._result(post, at)

    plan = Plan(
        models=("ref/ngram", "ref/dense-60k"), tasks=("jm_units",), repeats=3, executor="ray", precision=0.05,
        max_repeats=5,
    )  # fmt: skip
    cluster = made_up(plan, [1, 1], Random(0), 0.0, frozenset(), LosesTheFirst)
    problem, cells = measured_by(cluster, tmp_path / "run")
    assert problem is not None
    assert problem.startswith("node0 (0): the cluster lost it, and no other machine may measure ref/ngram. ")
    # By chance the first machine is lost early or late; the second one's model is measured to the last look.
    assert sorted(cell.repeat for cell in cells if cell.model == "ref/dense-60k") == [1, 2, 3, 4, 5]
    assert [cell.repeat for cell in cells if cell.model == "ref/ngram"] == [1]


def by_models(cells: Mapping[str, Cell]) -> dict[str, list[Cell]]:
    own: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells.values():
        own[cell.model].append(cell)
    return own
