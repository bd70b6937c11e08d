"""Zeus's process: told once what to look for, then asked again and again (``python -m joulemark.meters.zeuschild``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from .child import answer_questions
from .zeusamd import Amd
from .zeusd import Zeusd
from .zeusparts import Cannot, Look, Lost, Part
from .zeussoc import Apple, Jetson

__all__ = ["Answering"]

_PARTS: dict[str, Callable[[], Part]] = {
    "apple": Apple,
    "amd": Amd,
    "amd-counters": partial(Amd, counting=True),
    "amd-power": partial(Amd, counting=False),
    "jetson": Jetson,
    "zeusd": Zeusd,
}


class Answering:
    """What answers the meter: ``{"begin": KINDS}`` first, and then any number of looks, ``{}``."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def __call__(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer; what it raises is told as an error."""
        return self._begin(question["begin"]) if "begin" in question else self._look()

    def _begin(self, kinds: Sequence[str]) -> dict[str, Any]:
        problems: list[Cannot] = []
        for kind in kinds:
            try:
                part = _PARTS[kind]()
                part.look()  # Thrown away: Zeus starts its helpers when it is first asked.
            except Exception as problem:
                problems.append(_explain(kind, problem))
            else:
                self._parts.append(part)
        return {
            "kinds": [part.kind for part in self._parts],
            "domains": [asdict(domain) for part in self._parts for domain in part.domains],
            "reason": "; ".join(map(str, problems)),
            "fix": "; ".join(dict.fromkeys(problem.fix for problem in problems)),
        }

    def _look(self) -> dict[str, Any]:
        t0_ns = time.monotonic_ns()
        try:
            looks = [part.look() for part in self._parts]
        except Lost as lost:
            return {"lost": str(lost)}
        return {"t0_ns": t0_ns, "t1_ns": time.monotonic_ns(), **asdict(_together(looks))}


def _together(looks: Sequence[Look]) -> Look:
    """All parts' figures; as means where all power is."""
    return Look(
        watts={name: watts for look in looks for name, watts in look.watts.items()},
        joules={name: joules for look in looks for name, joules in look.joules.items()},
        means=all(look.means for look in looks if look.watts),
    )


def _explain(kind: str, problem: Exception) -> Cannot:
    if isinstance(problem, Cannot):
        return problem
    if isinstance(problem, ImportError):
        return Cannot(
            f"the installed Zeus is not one that Joulemark knows ({problem})", "pip install --upgrade 'joulemark[zeus]'"
        )
    what = f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
    return Cannot(f"Zeus fails at {kind.partition('-')[0]}: {what}", "try again, and report it if it stays")


if __name__ == "__main__":
    answer_questions(Answering())
