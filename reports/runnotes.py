"""What a reader of a table must know of the runs that its rows are from, a sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from .entrants import Entrant
from .names import LISTED
from .wording import joined

__all__ = ["notes_on_runs", "without_task"]


def notes_on_runs(entrants: Sequence[Entrant], compared: Sequence[Entrant]) -> tuple[str, ...]:
    """Which were not measured by Joulemark, which were metered anew, and what lies between those that are compared.

    Args:
        entrants: Those of a view.
        compared: Those of them that are ranked among each other; none where unlike ones stand side by side.
    """
    told = _imported(entrants) + _remetered(entrants) + _same_answers(entrants)
    return told + (_apart_in_time(compared) or _on_machines(compared) or _from_files(compared))


def without_task(entrants: Sequence[Entrant], task: str) -> tuple[str, ...]:
    """A sentence on the runs that have nothing of a task."""
    having = {entrant.run_name for entrant in entrants if task in entrant.samples}
    names = sorted({entrant.run_name for entrant in entrants} - having)
    return (f"{joined(names)} {'has' if len(names) == 1 else 'have'} nothing of {task}.",) if names else ()


def _imported(entrants: Sequence[Entrant]) -> tuple[str, ...]:
    """A sentence for each run that Joulemark did not measure."""
    told = {entrant.run_name: entrant.imported for entrant in entrants if entrant.imported is not None}
    return tuple(f"{name} was imported from {where}" for name, where in sorted(told.items()))


def _remetered(entrants: Sequence[Entrant]) -> tuple[str, ...]:
    """A sentence for each run whose energy was not measured by it."""
    made = {e.run_name: ", ".join(meter.id for meter in e.meters) for e in entrants if e.remetered_from is not None}
    return tuple(
        f"The energy of {name} was taken afterwards from a recorded trace{meters and f' ({meters})'}, not while it ran."
        for name, meters in sorted(made.items())
    )


def _same_answers(entrants: Sequence[Entrant]) -> tuple[str, ...]:
    """A sentence for each run that stands beside the run whose answers it holds."""
    names = {entrant.run_id: entrant.run_name for entrant in entrants}
    pairs = sorted({(e.run_name, names[e.remetered_from]) for e in entrants if e.remetered_from in names})
    return tuple(
        f"{new} holds the answers of {old}, metered anew: compare their energy; their quality is one and the same."
        for new, old in pairs
    )


def _from_files(entrants: Sequence[Entrant]) -> tuple[str, ...]:
    """What no interval holds, where entrants of one run are compared that were imported, be it in several parts."""
    if len(entrants) <= 1 or all(entrant.imported is None for entrant in entrants):
        return ()
    return (
        "No file tells whether these entrants were measured together: what changed between them is in no interval.",
    )


def _on_machines(entrants: Sequence[Entrant]) -> tuple[str, ...]:
    """What no interval holds, where several machines of one kind measured one run."""
    names = sorted({entrant.machine.machine_id for entrant in entrants})
    if len(names) <= 1:
        return ()
    return (
        f"Measured on {_listed(names, 'machines of this kind')}: between these the meters' own errors count, and what "
        "else differs between them is in no interval. Entrants of one machine compare better.",
    )


def _apart_in_time(entrants: Sequence[Entrant]) -> tuple[str, ...]:
    """What no interval holds, where entrants were measured in several runs; a run metered anew is its first one's."""
    names = {e.measured_in: e.run_name for e in entrants}
    if len(names) <= 1:
        return ()
    return (
        f"Measured in {_listed(sorted(names.values()), 'runs')}: what changed on the machine between them, such as its "
        "heat or other programs, is in no interval, rank or place on the frontier. Entrants of one run compare better.",
    )


def _listed(names: Sequence[str], things: str) -> str:
    """How many there are, with their names where these are few."""
    return f"{len(names)} {things}" + (f" ({joined(names)})" if len(names) <= LISTED else "")
