"""What a plan comes to, told before anything is loaded or measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from joulemark.meters.totals import min_window_s

from .header import new_run_id, stated_carbon
from .models import ModelSpec
from .plan import Plan
from .precision import looks
from .schedule import schedule, settings
from .session import Session, meter_infos, specs_of
from .store import refuse_used

__all__ = ["foresee", "foresee_on_cluster", "in_words"]


def foresee(session: Session) -> dict[str, Any]:
    """The plan, its entrants, tasks, cells and meters, and the seconds that its windows take at least.

    Loading, warming up and questions that take longer than a window come on top. Of a precision that is asked for
    nobody knows beforehand how many repeats it takes: counted are those before the first look.
    """
    plan = session.plan
    repeats = len(_first_look(plan))
    cells = len(schedule(plan, session.specs, _first_look(plan)))
    window_s = min_window_s(session.choice.summed)
    return {
        "schema": "joulemark.plan/1",
        "plan": plan.model_dump(mode="json"),
        "entrants": [
            {"model": spec.name, "model_args": f"{spec.backend}:{spec.args}", "setting": setting}
            for spec in session.specs
            for setting in settings(plan, spec)
        ],
        "tasks": list(plan.tasks),
        "repeats": repeats,
        "cells": cells,
        "grade": session.choice.grade,
        "scope": session.choice.scope,
        "meters": [meter.model_dump(mode="json") for meter in meter_infos(session.choice) if meter.summed],
        "window_s": window_s,
        "least_s": cells * window_s + (0 if session.choice.by_cpu_time else 2 * max(plan.idle_s, window_s)),
    }


def foresee_on_cluster(plan: Plan, out: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """The same of a plan for a cluster: ``stations`` says who would measure what, by which meters.

    What else depends on a machine is the first one's, but for ``least_s``, which is that of whoever takes longest.

    Raises:
        UsageError, MeasuringFailed: As `measure_on_cluster`.
    """
    from .homes import Homes
    from .posts import Posts

    if out is not None:
        refuse_used(out)
    with Posts(plan, stated_carbon(plan), new_run_id(), {}, {}, say) as posts:
        first, *_ = posts.get_ready()
        homes, specs = Homes(posts), specs_of(first.plan)
        # As a run deals them: in the order of measuring.
        for model in dict.fromkeys(cell.spec.name for cell in schedule(first.plan, specs, _first_look(first.plan))):
            if posts.fit_for(model, needed=False):
                homes.find(model, {})
            else:
                say(f"No machine is left that may measure {model}.")
        stations = [
            _share(post.described.foreseen, [spec for spec in specs if homes.of(spec.name) is post])
            | {"name": post.name}
            for post in posts.able
        ]
    return first.foreseen | {"least_s": max(own["least_s"] for own in stations), "stations": stations}


def _first_look(plan: Plan) -> range:
    """The repeats that are measured before anybody looks whether energies are known well enough."""
    return range(1, 1 + (next(iter(looks(plan.repeats, plan.max_repeats))) if plan.precision else plan.repeats))


def _share(told: dict[str, Any], specs: Sequence[ModelSpec]) -> dict[str, Any]:
    """What a station has to measure of a plan."""
    names = {spec.name for spec in specs}
    entrants = sum(each["model"] in names for each in told["entrants"])
    cells = told["cells"] * entrants // len(told["entrants"])
    idle_s = told["least_s"] - told["cells"] * told["window_s"]
    own = {name: told[name] for name in ("grade", "scope", "meters", "window_s")}
    least_s = cells * told["window_s"] + idle_s if cells else 0
    return {"models": [spec.name for spec in specs], "cells": cells, **own, "least_s": least_s}


def in_words(told: dict[str, Any]) -> list[str]:
    """The same as lines of text."""
    plan = told["plan"]
    again = f", more until {100 * plan['precision']:.2g} % is reached" if plan["precision"] else ""
    stations = told.get("stations")
    return [
        f"{_count(told['cells'], 'cell')}: {_count(len(told['entrants']), 'entrant')} x "
        f"{_count(len(told['tasks']), 'task')} x {_count(told['repeats'], 'repeat')}{again}, {plan['order']}.",
        *(map(_station, stations) if stations else [f"Energy: {_by(told)}."]),
        f"Windows take {_least(told['least_s'])} at least; loading, warming up and longer questions come on top.",
        f"Tasks: {', '.join(told['tasks'])}.",
        "Entrants:",
        *(f"  {each['model']}  {_settings(each['setting'])}" for each in told["entrants"]),
    ]


def _by(told: dict[str, Any]) -> str:
    meters = ", ".join(meter["id"] for meter in told["meters"])
    return f"{told['grade']} ({meters}), scope {told['scope']}; windows of at least {told['window_s']:.3g} s"


def _station(told: dict[str, Any]) -> str:
    if not told["models"]:
        return f"{told['name']} stands by."
    least = f"{_count(told['cells'], 'cell')}, {_least(told['least_s'])} at least"
    return f"{told['name']} measures {', '.join(told['models'])}: {least}. Energy: {_by(told)}."


def _least(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _settings(setting: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in setting.items() if value is not None)
