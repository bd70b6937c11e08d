"""A run on all machines of a Ray cluster: each measures some of the models, and all cells come into one run directory.

A model stays on one machine, with all its cells: figures of two machines are never averaged into one. On each machine
one station measures at a time, which holds all CPUs and GPUs that Ray has there, and the machine's own resource against
a second driver; where nothing but GPUs is measured, one for each GPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from joulemark.meters.errors import JoulemarkError, UsageError

from .blame import Blame
from .cells import as_failed, failed_cell
from .course import Course, Look, RunResult
from .header import new_run_id, now, stated_carbon, stations_of, with_station
from .homes import Homes
from .measuring import Progress, interruptible, refuse_changed
from .plan import Plan
from .posts import Post, Posts
from .record import Cell, RunHeader, Station
from .said import few
from .schedule import CellPlan
from .session import specs_of
from .station import Described, Parcel
from .store import Run, RunWriter, refuse_used

__all__ = ["AGAIN", "measure_on_cluster", "resume_on_cluster"]

_NAMED = 6
_LOST = ("its process", "no process could be started")
"""How the errors begin of cells whose model's process was lost: they are tried once more."""
AGAIN = "measured_again"
"""Flag of a cell whose first measurement was lost with the process or the machine that made it."""


def measure_on_cluster(plan: Plan, out: Path, progress: Progress) -> RunResult:
    """Measure a plan on the machines of a Ray cluster, into a new run directory here.

    Raises:
        UsageError: There is no such cluster, no machine in it may measure, or as `run.measure`.
        MeasuringFailed: As `run.measure`.
    """
    refuse_used(out)
    with Posts(plan, stated_carbon(plan), new_run_id(), {}, {}, progress.say) as posts:
        described = posts.get_ready()
        with RunWriter(out) as writer:
            return _ClusterRun(writer, progress, posts, None, {}).run(described)


def resume_on_cluster(plan: Plan, header: RunHeader, before: Run, writer: RunWriter, progress: Progress) -> RunResult:
    """Go on with a run; a model whose machine is not here is measured from the start on another one.

    Raises:
        UsageError, MeasuringFailed: As `measure_on_cluster`.
    """
    known = {cell.cell_id: cell for cell in before.cells}
    left = Look(writer, known).find_left(plan, specs_of(plan))
    if not left:
        progress.say("Every cell is measured already; nothing is left to do.")
        return RunResult(writer.path, None)
    measured = [cell for cell in before.cells if cell.status == "ok" and cell.model in left]
    places = {(cell.node, cell.machine_id) for cell in measured}
    nodes = Counter(node for node, _ in places if node)
    with (
        interruptible(writer.path),
        Posts(plan, header.carbon, header.run_id, stations_of(header), nodes, progress.say) as posts,
    ):
        return _ClusterRun(writer, progress, posts, header, known).run(posts.get_ready())


@dataclass
class _ClusterRun(Course):
    """The driver's side.

    Attributes:
        every: All cells that this invocation has to see to, in the order of measuring.
        fine: Ids of those that are measured, or failed, where they are to be.
        finished: Ids of those that this invocation saw to.
        succeeded: Ids of those that were measured at some time, even if that counts no more.
        again: Ids of those whose measurement was lost.
        retried: Ids of those that were tried once more, since their model's process was lost.
        lost: How often that was, of those that are not stored yet.
        blame: Which models cost stations.
        stranded: Models that are not measured any more, and why.
    """

    writer: RunWriter
    progress: Progress
    posts: Posts
    header: RunHeader | None
    known: dict[str, Cell]
    tried: int = 0
    failed: list[tuple[CellPlan, Cell]] = field(default_factory=list)
    every: list[CellPlan] = field(default_factory=list)
    fine: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)
    succeeded: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    retried: set[str] = field(default_factory=set)
    lost: Counter[str] = field(default_factory=Counter)
    blame: Blame = field(default_factory=Blame)
    stranded: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.homes = Homes(self.posts, self._is_unfinished)

    def run(self, described: Sequence[Described]) -> RunResult:
        """Measure what is left, on the machines that are there."""
        with interruptible(self.writer.path):
            plan = self._write_header(described)
            self.follow(plan, specs_of(plan))
            self._end_all()
        self.writer.compact()
        return RunResult(self.writer.path, self.what_failed(*self._stranded_together()))

    def measure_cells(self, cells: Sequence[CellPlan]) -> str | None:
        """Measure those of these cells that are not there yet, all stations side by side.

        Models that no station may measure any more end none of the others.
        """
        self.every += cells
        self._deal()
        done = sum(cell.cell_id in self.fine for cell in cells)
        if not any(map(self._is_left, self.every)):
            return None
        self.progress.begin(len(cells), done, None)
        try:
            for post in self.posts.able:
                self._go_on(post)
            while self.posts.busy:
                for post, parcel in self.posts.finished():
                    self._take(post, parcel)
                for post, why in self.posts.overdue():
                    self._move(post, why)
        except Exception:
            self._keep_what_is_under_way()
            raise
        return None if {cell.spec.name for cell in cells} - {*self.stranded} else "no machine is left"

    def _stranded_together(self) -> list[str]:
        """Why models are not measured any more, a part of a sentence each."""
        models: dict[str, list[str]] = {}
        for model, why in self.stranded.items():
            models.setdefault(why, []).append(model)
        return [f"{why} may measure {few(own, _NAMED)}" for why, own in models.items()]

    def still_counts(self, model: str) -> bool:
        """Whether how often a model is to be measured asks for its energy, too."""
        return model not in self.stranded

    def _write_header(self, described: Sequence[Described]) -> Plan:
        """Begin the run, or go on with it on these machines; its plan, with groups of tasks taken apart."""
        first = described[0]
        if self.header is None:
            self.header = first.header
        for each in described:
            _refuse_other(each, self.header)
            self._note(each.header.station)
        return first.plan

    def _note(self, station: Station) -> None:
        """Keep what is known of a machine now."""
        assert self.header is not None
        self.header = with_station(self.header, station)
        self.writer.write_header(self.header)

    def _deal(self) -> None:
        """Give each model that is not finished a station; what others measured of it counts no more."""
        dealt = False
        for model in dict.fromkeys(cell.spec.name for cell in self.every if cell.spec.name not in self.stranded):
            self.fine |= {cell.cell_id for cell in self._cells_of(model) if self.is_fine(cell)}
            measured = [cell for cell in self.known.values() if cell.model == model and cell.status == "ok"]
            there, home = Counter(cell.machine_id for cell in measured), self.homes.of(model)
            if home is None and len(there) <= 1 and not self._is_unfinished(model):
                continue
            if home is None and not self.posts.fit_for(model, needed=False):
                self.stranded[model] = "no machine is left that"
                continue
            if home is None:
                home, dealt = self.homes.find(model, there), True
                if there and home.machine_id not in there:
                    self.progress.say(
                        f"{model} is measured from the start on {home.name}: the machine that began it is not here."
                    )
            self._begin_anew(model, home)
        if dealt:
            self.progress.say("\n".join(self.homes.told()))

    def _go_on(self, post: Post) -> None:
        """Give a station its next piece of work, if there is any."""
        todo = self._left_for(post)
        if not todo:
            self._say_what_is_waited_for(post)
            return
        if not post.begun:
            post.begin(self.blame.to_load(todo))
            return
        self.progress.cell(todo[0])
        post.measure(todo[0], self._attempt(todo[0]))

    def _attempt(self, plan: CellPlan) -> int:
        before = self.known.get(plan.cell_id)
        return 1 + (before.attempt if before else 0) + self.lost[plan.cell_id]

    def _left_for(self, post: Post) -> list[CellPlan]:
        return [cell for cell in self.every if self._is_left(cell) and self.homes.of(cell.spec.name) is post]

    def _cells_of(self, model: str) -> list[CellPlan]:
        return [cell for cell in self.every if cell.spec.name == model]

    def _is_unfinished(self, model: str) -> bool:
        return any(map(self._is_left, self._cells_of(model)))

    def _is_left(self, plan: CellPlan) -> bool:
        return plan.cell_id not in self.fine

    def _say_what_is_waited_for(self, post: Post) -> None:
        """Of a station that has measured all its cells, while others have not."""
        left = {other.name: len(self._left_for(other)) for other in self.posts.able}
        waits = [f"{name} ({many} cell{'s' if many > 1 else ''} left)" for name, many in left.items() if many]
        if post.begun and waits:
            self.progress.say(f"{post.name} has measured its models; waiting for {', '.join(waits)}.")

    def _take(self, post: Post, parcel: Any) -> None:
        """Keep what a station hands over, or see to its work where it was lost.

        Raises:
            UsageError: A station says that something cannot be measured anywhere.
        """
        if isinstance(parcel, Described):
            self._welcome(post, parcel)
        elif isinstance(parcel, JoulemarkError) and not post.begun:
            self._move(post, str(parcel).rstrip("."))
        elif isinstance(parcel, UsageError):
            raise parcel
        elif not isinstance(parcel, Parcel):
            self._count_loss(post)
            self._make_good(post, "its process was lost" if parcel is None else str(parcel).rstrip("."))
        else:
            self._keep(post, parcel)
            if parcel.lost and post.cell:
                # The cell is there as a failed one, and is tried again all the same.
                self.again.add(post.cell.cell_id)
                self.fine.discard(post.cell.cell_id)
                self._make_good(post, parcel.lost.rstrip("."))
            else:
                self._go_on(post)

    def _welcome(self, post: Post, told: Described) -> None:
        """A station that was started again is ready; of its machine's GPUs it may have another one now."""
        assert self.header is not None
        post.told, post.starts = told, 0
        try:
            _refuse_other(told, self.header)
        except UsageError as problem:
            self._move(post, str(problem).rstrip("."))
            return
        if post.machine_id not in stations_of(self.header):
            self._note(told.header.station)
        for model in filter(self._is_unfinished, self.homes.models_of(post)):
            self._begin_anew(model, post)
        self._go_on(post)

    def _keep(self, post: Post, parcel: Parcel) -> None:
        for sentence in parcel.said:
            self.progress.say(f"{post.name}: {sentence}")
        for cell_id, text in parcel.logs.items():
            self.writer.keep_log(cell_id, text)
        if parcel.stored:
            self._store(post, parcel)
        self._note(parcel.station)

    def _keep_what_is_under_way(self) -> None:
        """Cells that others are at when the run has to end; nobody gets new work."""
        while self.posts.busy:
            for post, parcel in self.posts.finished():
                if isinstance(parcel, Parcel):
                    self._keep(post, parcel)
            for post, _ in self.posts.overdue():
                self.posts.give_up(post)

    def _store(self, post: Post, parcel: Parcel) -> None:
        plan = post.cell
        assert plan is not None
        for each in parcel.stored:
            flags = (*each.cell.flags, AGAIN) if plan.cell_id in self.again else each.cell.flags
            cell = each.cell.model_copy(update={"node": post.node, "flags": flags})
            kept = each.items, each.power, each.samples
            try:
                refuse_changed(cell, self.known.values())
            except UsageError as problem:
                cell, kept = as_failed(cell, str(problem)), (None, None, None)
            self.known[plan.cell_id] = self.writer.append(cell, *kept)
            self.lost[plan.cell_id] = 0
            if (cell.error or "").startswith(_LOST) and len(parcel.stored) > 1:
                # The station has measured it once more, with no other model loaded.
                self._note_retry(plan)
        cell = self.known[plan.cell_id]
        if (cell.error or "").startswith(_LOST) and plan.cell_id not in self.retried:
            self._note_retry(plan)
            return
        self._finish(plan)

    def _note_retry(self, plan: CellPlan) -> None:
        self.retried.add(plan.cell_id)
        self.again.add(plan.cell_id)

    def _finish(self, plan: CellPlan) -> None:
        cell = self.known[plan.cell_id]
        if cell.status == "ok" and plan.cell_id not in self.succeeded:
            self.succeeded.add(plan.cell_id)
            self.blame.acquit(plan.spec.name)
        self.fine.add(plan.cell_id)
        self.finished.add(plan.cell_id)
        self.tried = len(self.finished)
        self.failed = [(other, lost) for other, lost in self.failed if other.cell_id != plan.cell_id]
        self.progress.done(plan, cell)
        if cell.status != "ok":
            self.failed.append((plan, cell))

    def _make_good(self, post: Post, why: str) -> None:
        """A station was lost: it is started anew where its machine is still there, or its models are moved."""
        if not post.lives():
            self._lose_machines(post)
            return
        models = {post.cell.spec.name} if post.cell else post.loading
        if self.blame.is_enough(models):
            [model] = models
            self._give_up_on(model, post, why)
        if post.start_again():
            self.progress.say(f"{post.name}: {why}; it is started again.")
        else:
            self._move(post, f"its process was lost {post.starts} times")

    def _lose_machines(self, post: Post) -> None:
        """All stations of machines that are not there any more; nobody is to blame for that."""
        gone = [other for other in self.posts.able if not other.lives()]
        for other in gone:
            if other is not post and other.working is not None:
                self._count_loss(other)
            self.posts.give_up(other)
        for other in gone:
            self._move_models(other, "the cluster lost it")

    def _count_loss(self, post: Post) -> None:
        """The cell that a lost station was at is tried again."""
        if post.cell is not None:
            self.again.add(post.cell.cell_id)
            self.lost[post.cell.cell_id] += 1

    def _give_up_on(self, model: str, post: Post, why: str) -> None:
        """A model that costs a machine its stations is tried on one other, unless this one could measure some of it."""
        done = [self.known[cell.cell_id] for cell in self._cells_of(model) if not self._is_left(cell)]
        here = any(cell.status == "ok" and cell.machine_id == post.machine_id for cell in done)
        others = [other for other in self.posts.fit_for(model, needed=False) if other is not post]
        if here or not others or self.homes.has_left(model):
            self._fail(post, model, f"{self.blame.cost[model]} stations in a row were lost at this model: {why}")
            return
        self.homes.leave(model, post)
        self._find_new(model, post, why)

    def _fail(self, post: Post, model: str, reason: str) -> None:
        """Store what is left of a model as failed."""
        assert self.header is not None
        header = self.header.at(post.described.header.station)
        for plan in filter(self._is_left, self._cells_of(model)):
            facts: dict[str, Any] = {"attempt": max(1, self._attempt(plan) - 1), "started_at": now(), "duration_s": 0.0}
            cell = failed_cell(header=header, plan=plan, cooled_s=None, reason=reason, log=None, **facts)
            self.known[plan.cell_id] = self.writer.append(cell.model_copy(update={"node": post.node}))
            self._finish(plan)

    def _move(self, post: Post, why: str) -> None:
        """Do without a station from now on."""
        self.posts.give_up(post)
        self._move_models(post, why)

    def _move_models(self, post: Post, why: str) -> None:
        """Measure a lost station's models elsewhere, all their cells; those that are finished stay as they are."""
        for model in filter(self._is_unfinished, self.homes.take_from(post)):
            if self.posts.fit_for(model, needed=False):
                self._find_new(model, post, why)
            else:
                self.stranded[model] = f"{post.name}: {why}, and no other machine"

    def _find_new(self, model: str, post: Post, why: str) -> None:
        self.blame.acquit(model)
        new = self.homes.find(model, {})
        self.progress.say(f"{post.name}: {why}; {new.name} measures {model}.")
        self._begin_anew(model, new)
        if not new.working:
            self._go_on(new)

    def _begin_anew(self, model: str, post: Post) -> None:
        """What other machines measured of a model counts no more: a figure is of one."""
        done = [self.known[cell.cell_id] for cell in self._cells_of(model) if not self._is_left(cell)]
        other = {cell.cell_id for cell in done if cell.machine_id != post.machine_id}
        self.again |= other
        self.fine -= other

    def _end_all(self) -> None:
        """The idle power after measuring, on every machine that measured."""
        for post in self.posts.able:
            if post.begun:
                post.end()
        while self.posts.busy:
            for post, parcel in self.posts.finished():
                if not isinstance(parcel, Parcel):
                    lost = "its process was lost" if parcel is None else parcel
                    self.progress.say(f"{post.name}: the idle power after measuring is not known: {lost}")
                    continue
                self._keep(post, parcel)


def _refuse_other(each: Described, header: RunHeader) -> None:
    """A machine that the run knows must measure as it did then, and with this version."""
    if each.version != version("joulemark"):
        raise UsageError(
            f"a machine of the cluster has Joulemark {each.version}, and here it is {version('joulemark')}; "
            "install the same on all."
        )
    known, now = stations_of(header).get(each.header.machine.machine_id), each.header
    if known is None:
        return
    meters: list[Any] = [{meter.id: meter.provenance for meter in own.meters} for own in (known, now)]
    for what, then, here in (("by other meters", *meters), ("with other versions", known.software, now.software)):
        if then != here:
            raise UsageError(f"the run was measured {what} ({then}, now {here}); start one of its own with --out.")
