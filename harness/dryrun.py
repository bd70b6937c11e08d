"""What a plan comes to, told before anything is loaded or measured."""

from __future__ import annotations

from typing import Any

from joulemark.meters.totals import min_window_s

from .precision import looks
from .schedule import schedule, settings
from .session import Session, meter_infos

__all__ = ["foresee", "in_words"]


def foresee(session: Session) -> dict[str, Any]:
    """The plan, its entrants, tasks, cells and meters, and the seconds that its windows take at least.

    Loading, warming up and questions that take longer than a window come on top. Of a precision that is asked for
    nobody knows beforehand how many repeats it takes: counted are those before the first look.
    """
    plan = session.plan
    repeats = next(looks(plan.repeats, plan.max_repeats)) if plan.precision else plan.repeats
    cells = len(schedule(plan, session.specs, range(1, repeats + 1)))
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


def in_words(told: dict[str, Any]) -> list[str]:
    """The same as lines of text."""
    plan, meters = told["plan"], ", ".join(meter["id"] for meter in told["meters"])
    again = f", more until {100 * plan['precision']:.2g} % is reached" if plan["precision"] else ""
    least_s = told["least_s"]
    least = f"{least_s:.0f} s" if least_s < 120 else f"{least_s / 60:.0f} min"
    return [
        f"{_count(told['cells'], 'cell')}: {_count(len(told['entrants']), 'entrant')} x "
        f"{_count(len(told['tasks']), 'task')} x {_count(told['repeats'], 'repeat')}{again}, {plan['order']}.",
        f"Energy: {told['grade']} ({meters}), scope {told['scope']}; windows of at least {told['window_s']:.3g} s.",
        f"Windows take {least} at least; loading, warming up and longer questions come on top.",
        f"Tasks: {', '.join(told['tasks'])}.",
        "Entrants:",
        *(f"  {each['model']}  {_settings(each['setting'])}" for each in told["entrants"]),
    ]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _settings(setting: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in setting.items() if value is not None)
