"""Flags of rows, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from .rows import Row
from .wording import joined, safe

__all__ = ["WHY_NO_QUALITY", "flags_of", "in_words"]

WHY_NO_QUALITY = ("no_quality", "ungraded", "no_items", "no_chance")
"""Flags that say why there is no quality in the task whose name they end with."""

_WORDS = {
    "imprecise": "energy is known less well than the plan asked for, after the most repeats allowed",
    "not_warm": "speed had not settled when it was measured: that may have been cold",
    "prefix_cache": "later passes were much faster than the first: a cache may have answered, energy may be too low",
    "prompt_cut": "prompts longer than a model reads lost a part: what was asked is not what the task says",
    "outside_meter": "computing goes on where the meter does not look, so that the energy is unknown",
    "busy_machine": "other programs worked meanwhile: energy may be too high, and scatters",
    "idle_drifted": "idle power changed by more while measuring than was taken above idle, so there is no net energy",
    "measured_again": "its first measurement was lost with the process or the machine of a cluster that made it",
    "throttled": "heat held the device's clock down: answers took longer, at another power, than they would when cool",
    "no_idle": "the idle power before measuring is not known, so there is no net energy",
    "imported": "read from files: nobody here can check what was measured",
    "whole_process": "the energy is that of the whole process: loading the model and scoring are in it",
    "mean_answer": "the file tells a mean answer's energy alone: how many were asked is not known",
    "steady_state": "the energy is that of a server in its steady state, by token: filling and draining are left out",
    "some_failed": "some requests failed; their energy is in that of the others",
    "unknown_error": "how far off the energy may be is not known, so it has no interval and no rank",
    "net_unresolved": "what is taken above idle is no larger than the error, so there is no net energy",
}
_OF_TASKS = {
    "failed": "every cell tried on {} failed",
    "no_finished_cell": "not finished yet: {}",
    "no_energy": "no energy for {}",
    "uncounted": "no energy per answer for {} (of how many answers it is, is not known)",
    "no_quality": "no quality for {} (the metric is no share of right answers)",
    "ungraded": "no quality for {} (no answers were graded)",
    "no_items": "no quality for {} (nothing is known question by question, so that it would have no interval)",
    "no_chance": "no quality for {} (what a guesser scores is not known)",
}


def flags_of(row: Row) -> list[str]:
    """Its flags, less what may be wrong with an energy that it has not."""
    return [flag for flag in row.flags if flag != "busy_machine" or row.energy_wh_per_1k is not None]


def in_words(flags: Sequence[str]) -> list[str]:
    """What each flag means; those that differ in the task alone share a sentence. Unknown ones stay as they are."""
    tasks: dict[str, list[str]] = defaultdict(list)
    words = []
    for flag in flags:
        name, colon, task = flag.partition(":")
        if colon and name in _OF_TASKS:
            if f"failed:{task}" not in flags or name == "failed":
                tasks[name].append(safe(task))
        else:
            words.append(_WORDS.get(flag, safe(flag)))
    return [_OF_TASKS[name].format(joined(tasks[name])) for name in _OF_TASKS if name in tasks] + words
