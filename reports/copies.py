"""What is here twice: an imported entrant whose results another run that is given holds as well.

A copy is no new evidence: it would tie with what it was made of, and widen everybody's rank.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

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
    left_out: dict[tuple[str, str], list[Entrant]] = defaultdict(list)
    for entrant in _first_hand_first(entrants):
        same = kept[_who(entrant)]
        held = next((other for other in same if other.samples and are_copies(entrant, other)), None)
        if held is None:
            same.append(entrant)
        else:
            left_out[entrant.run_name, copied_from(entrant, held)].append(entrant)
    staying = {id(entrant) for same in kept.values() for entrant in same}
    told = [_sentence(name, why, lost) for (name, why), lost in sorted(left_out.items(), key=_by_name)]
    return [entrant for entrant in entrants if id(entrant) in staying], tuple(told)


def are_copies(a: Entrant, b: Entrant) -> bool:
    """Whether both are the same results, of which one at least was imported."""
    imported = a.imported is not None or b.imported is not None
    return imported and a.run_id != b.run_id and _who(a) == _who(b) and _have_one_source(a, b)


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
    """Whether they share where they are from, and their figures: a file or an import may be of several runs."""
    return bool(a.sources & b.sources) and (_is_part(a, b) or _is_part(b, a))


def _is_part(a: Entrant, b: Entrant) -> bool:
    """Whether all figures of one are the other's, which may have further tasks or, since an export, further repeats."""
    return bool(a.samples) and all(
        task in b.samples and _is_within(sample, b.samples[task]) for task, sample in a.samples.items()
    )


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


def _by_name(pair: tuple[tuple[str, str], list[Entrant]]) -> tuple[str, str]:
    return pair[0]


def _sentence(name: str, why: str, lost: Sequence[Entrant]) -> str:
    models = list(dict.fromkeys(entrant.model for entrant in lost))
    one = len(lost) == 1
    whose = f"{name}'s {few(models, LISTED) if len(models) > LISTED else joined(models)}"
    return f"{whose} {'is' if one else 'are'} {why} as well: {'it is' if one else 'they are'} left out."
