"""What is here twice: an imported entrant whose results another run that is given holds as well.

A copy is no new evidence: it would tie with what it was made of, and widen everybody's rank.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from joulemark.harness.said import few
from joulemark.harness.store import canonical_json

from .entrants import Entrant
from .names import LISTED
from .samples import ASKED, Sample
from .wording import joined

__all__ = ["are_copies", "copied_from", "without_copies"]


def without_copies(entrants: Sequence[Entrant]) -> tuple[list[Entrant], tuple[str, ...]]:
    """The entrants without those that others hold as well, and a sentence for each run that lost some.

    What Joulemark measured stays. Of imported ones that stays which has more tasks with quality, or energies; then that
    of the run with more, or of the lesser id: nothing depends on the order in which runs are given.
    """
    if all(entrant.imported is None for entrant in entrants):
        return list(entrants), ()
    kept: dict[str, list[Entrant]] = defaultdict(list)
    staying: dict[int, Entrant] = {}
    left_out: dict[tuple[str, str, str, str], list[Entrant]] = defaultdict(list)
    for entrant in _first_hand_first(entrants):
        same, rest = kept[_who(entrant)], entrant
        for other in same:
            held = _held_by(other, rest)
            rest, before = _without(rest, held), rest
            if held:
                on = "" if not rest.samples and before is entrant else f" on {joined(sorted(held))}"
                more = any(len(before.samples[task].energy_wh) > len(other.samples[task].energy_wh) for task in held)
                also = ", with further repeats that it has" if more else ""
                left_out[entrant.run_name, on, copied_from(entrant, other), also].append(before)
        if rest.samples or rest is entrant:
            same.append(rest)
            staying[id(entrant)] = rest
    told = [_sentence(*key, lost) for key, lost in sorted(left_out.items(), key=lambda pair: pair[0])]
    return [staying[id(entrant)] for entrant in entrants if id(entrant) in staying], tuple(told)


def are_copies(a: Entrant, b: Entrant) -> bool:
    """Whether both are the same results, of which one at least was imported."""
    return _who(a) == _who(b) and _have_one_source(a, b) and (_is_part(a, b) or _is_part(b, a))


def copied_from(copy: Entrant, other: Entrant) -> str:
    """What the copy and the other one are both of, to follow "is" or "are"."""
    shared = sorted(copy.sources & other.sources)
    runs = [name for kind, name in shared if kind == "run"]
    if not runs:
        return f"read from files that {other.run_name} was read from"
    of = f"what Joulemark exported of {'run' if len(runs) == 1 else 'runs'} {joined(runs)}"
    if other.imported is not None:
        return f"{of}, of which {other.run_name} has a copy"
    return f"{of}, which is here" if other.run_id in runs else f"{of}, whose answers {other.run_name} holds"


def _have_one_source(a: Entrant, b: Entrant) -> bool:
    imported = a.imported is not None or b.imported is not None
    return imported and a.run_id != b.run_id and bool(a.sources & b.sources)


def _is_part(a: Entrant, b: Entrant) -> bool:
    """Whether all figures of one are the other's, which may have further tasks or, since an export, further repeats."""
    return bool(a.samples) and all(
        task in b.samples and _is_within(sample, b.samples[task]) for task, sample in a.samples.items()
    )


def _held_by(other: Entrant, entrant: Entrant) -> frozenset[str]:
    """The entrant's tasks of which the other one has figures, too: a file or an import may be of several runs."""
    if not _have_one_source(entrant, other):
        return frozenset()
    both = [(task, own, other.samples[task]) for task, own in entrant.samples.items() if task in other.samples]
    whole = _is_part(entrant, other) or _is_part(other, entrant)
    sure = whole or any(kind == "run" for kind, _ in entrant.sources & other.sources)
    # By a file that they share alone, equal answers may be chance; joules are not.
    return frozenset(
        task
        for task, own, its in both
        if (sure or (own.energy_wh and its.energy_wh)) and (_is_within(own, its) or _is_within(its, own))
    )


def _without(entrant: Entrant, tasks: Collection[str]) -> Entrant:
    if not tasks:
        return entrant
    questions = {task: asked for task, asked in entrant.questions.items() if task not in tasks}
    return replace(entrant, questions=questions, samples={t: s for t, s in entrant.samples.items() if t not in tasks})


def _is_within(a: Sample, b: Sample) -> bool:
    ours, theirs = Counter(a.energy_wh.values()), Counter(b.energy_wh.values())
    # A mean over more repeats is another one.
    return ours <= theirs and (0 < len(ours) < len(theirs) or not _answered_otherwise(a, b))


def _answered_otherwise(a: Sample, b: Sample) -> bool:
    """Whether their answers are not the same, question by question where both are known so, else on the whole."""
    if len(a.scores) and len(b.scores):
        return not np.array_equal(a.scores, b.scores, equal_nan=True)
    ours, theirs = ({**sample.headline, **sample.other_metrics} for sample in (a, b))
    return any(ours[name] != theirs[name] for name in ours.keys() & theirs.keys())


def _who(entrant: Entrant) -> str:
    """The same where model, the way of computing, machine and kind of energy are; what is asked goes with the task."""
    computed = {key: value for key, value in entrant.setting.items() if key not in {*ASKED, "model_args"}}
    return canonical_json([entrant.model, computed, entrant.machine.machine_id, entrant.grade, entrant.scope])


def _first_hand_first(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Ours first, then those that tell more, or whose run does: copies of several are left out of one run alike."""
    runs: dict[str, list[Entrant]] = defaultdict(list)
    for entrant in entrants:
        runs[entrant.run_id].append(entrant)
    of_run = {run_id: _told_by(own) for run_id, own in runs.items()}
    return sorted(entrants, key=lambda e: (e.imported is not None, _told_by([e]), of_run[e.run_id], e.run_id))


def _told_by(entrants: Sequence[Entrant]) -> tuple[int, int, int]:
    """How much they tell, as numbers of which less is more."""
    samples = [sample for entrant in entrants for sample in entrant.samples.values()]
    graded, energies = (sample.chance is not None for sample in samples), (len(s.energy_wh) for s in samples)
    return -len(entrants), -sum(graded), -sum(energies)


def _sentence(name: str, on: str, why: str, also: str, lost: Sequence[Entrant]) -> str:
    models = list(dict.fromkeys(entrant.model for entrant in lost))
    one = len(lost) == 1
    whose = f"{name}'s {few(models, LISTED) if len(models) > LISTED else joined(models)}{on}"
    return f"{whose} {'is' if one else 'are'} {why} as well: {'it is' if one else 'they are'} left out{also}."
