"""The door to lm-eval's tasks: find and load them, ask them, and turn what comes back into results.

Scores are lm-eval's own: its ``evaluate`` runs, with a model in between (`metered.MeteredLM`) that starts and stops
the meter around the requests and repeats them until the window is long enough.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from lm_eval._cli.utils import key_val_to_dict, try_parse_json
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate

from joulemark.meters.errors import UsageError

from . import shares
from .index import asked_without_examples, expand_tasks, find_tasks, not_generating, refuse_examples
from .metered import MeteredLM
from .samples import sample_lines
from .sureness import of_choice
from .types import Answer, Asking, Item, RequestMeter, TaskResult
from .watch import Watch

__all__ = [
    "Question",
    "ask",
    "chance",
    "expand_tasks",
    "not_generating",
    "load_task",
    "read_gen_kwargs",
    "refuse_examples",
    "task_hash",
]

FEWSHOT_SEED = 1234
_RANDOM_SEED, _NUMPY_SEED = 0, 1234
"""All as lm-eval's own command has them."""


@dataclass(frozen=True)
class Question:
    """What one cell asks: a task, or a group of tasks whose score is the mean over all of their items.

    Attributes:
        tasks: lm-eval's tasks by name; more than one only in a group.
        groups: Its groups by name; empty for a single task.
        own: By task, the examples that it shows and the settings of generation that it has by itself.
        hash: Of everything that is asked, as the tasks have it by themselves: configuration and documents.
        drawn: How far random numbers had been drawn once it was loaded: each asking begins there, as the only one of
            lm-eval's own command does.
    """

    name: str
    tasks: Mapping[str, Any]
    groups: Mapping[str, Any]
    own: Mapping[str, tuple[int | None, Mapping[str, Any]]]
    hash: str
    drawn: tuple[Any, Any]


def load_task(name: str, stock: bool = False, include: Sequence[str] = ()) -> Question:
    """Load a task or a group by name.

    Args:
        name: As lm-eval knows it.
        stock: Look among lm-eval's own as well, which takes seconds.
        include: Folders with tasks in YAML.

    Raises:
        UsageError: There is no such task, or a group has no score over all of its tasks.
    """
    manager = find_tasks(tuple(include), stock)
    if name not in manager.all_tasks:
        raise UsageError(f"unknown task {name!r}; `joulemark tasks` lists ours.")
    random.seed(_RANDOM_SEED)
    np.random.seed(_NUMPY_SEED)
    loaded = manager.load([name])
    drawn = random.getstate(), np.random.get_state()
    tasks, groups = loaded["tasks"], loaded.get("groups", {})
    if group := groups.get(name):
        _refuse_without_score(group, tasks)
    own = {
        each: (task.get_config("num_fewshot"), dict(task.get_config("generation_kwargs") or {}))
        for each, task in tasks.items()
    }
    return Question(name, tasks, groups, own, _hash_of(tasks), drawn)


def _refuse_without_score(group: Any, tasks: Mapping[str, Any]) -> None:
    metric = group.aggregate_metric_list[0].metric
    without = [name for name, task in tasks.items() if metric not in task.aggregation()]
    if without:
        raise UsageError(f"group {group.name!r} has no {metric} of {', '.join(without)}; name its tasks one by one.")


def ask(
    lm: LM,
    watch: Watch,
    question: Question,
    meter: RequestMeter,
    *,
    window_s: float,
    how: Asking,
    log_samples: bool = False,
) -> TaskResult:
    """Put a task's questions to a model, with the meter running during requests alone.

    Args:
        lm: The model.
        watch: What looks at it, from `lmmodels.watch_of`.
        question: From `load_task`; it may be asked again.
        meter: Told when requests begin and end.
        window_s: The requests are repeated until they took this long.
        how: What is asked of it besides the questions.
        log_samples: Keep what was asked and answered.

    Raises:
        UsageError: The task does not allow what `how` says.
    """
    _configure(question, how)
    random.setstate(question.drawn[0])
    np.random.set_state(question.drawn[1])
    metered = MeteredLM(lm, watch, meter, window_s)
    results = evaluate(
        metered,
        {
            "tasks": dict(question.tasks),
            "groups": dict(question.groups),
            "group_map": {group.name: group.child_names for group in question.groups.values()},
        },
        limit=how.limit,
        bootstrap_iters=0,
        system_instruction=how.system_instruction,
        apply_chat_template=how.apply_chat_template,
        # As lm-eval's own command does unless it is told otherwise.
        fewshot_as_multiturn=how.apply_chat_template,
        confirm_run_unsafe_code=how.allow_unsafe_code,
    )
    metric, chosen = _headline(question, results)
    scored = results["results"][question.name]
    value = _score(scored[f"{metric},{chosen}"])
    samples = {
        name: [sample for sample in results["samples"][name] if sample["filter"] == chosen] for name in question.tasks
    }
    items = _items(question.tasks, samples, metric, _by_doc(metered.told))
    # Values out of range belie what a task says; reports then take no cell of the question for one with quality.
    is_share = shares.is_share(question.tasks.values(), metric) and _fits([value, *(item.score for item in items)])
    guessed = _chance_over(question, samples)
    adjustable = is_share and guessed < 1 and all(math.isfinite(item.score) for item in items)
    headline = {} if is_share or not math.isfinite(value) else {metric: value}
    return TaskResult(
        version=_version(question, results["versions"]),
        hash=question.hash,
        metric=metric,
        accuracy=value if is_share else None,
        chance=guessed if is_share else None,
        quality=100 * (value - guessed) / (1 - guessed) if adjustable else None,
        items=tuple(items),
        passes=metered.passes(),
        others=headline | _others(scored, metric, chosen),
        samples=sample_lines(samples, items) if log_samples else None,
    )


def _configure(question: Question, how: Asking) -> None:
    """Set what lm-eval's own command sets, before every asking: examples depend on the seed's state."""
    for name, task in question.tasks.items():
        shown, generation = question.own[name]
        if getattr(task, "UNSAFE_CODE", False) and not how.allow_unsafe_code:
            raise UsageError(f"task {name!r} runs what the model writes; allow that by --allow-unsafe-code.")
        if task.get_config("output_type") == "generate_until":
            over = read_gen_kwargs(how.gen_kwargs) if how.gen_kwargs else {}
            over |= {"max_gen_toks": how.max_gen_toks} if how.max_gen_toks else {}
            task.set_config(key="generation_kwargs", value={**generation, **over})
        if shown == 0 and how.num_fewshot:
            raise UsageError(asked_without_examples(name))
        task.set_config(key="num_fewshot", value=(shown or 0) if how.num_fewshot is None else how.num_fewshot)
        task.set_fewshot_seed(FEWSHOT_SEED)


def read_gen_kwargs(settings: str) -> dict[str, Any]:
    """Settings of generation as lm-eval's own command reads them: ``k=v,k=v``, lists in brackets, or one JSON object.

    Raises:
        UsageError: They are not readable.
    """
    try:
        read = try_parse_json(settings)
        return read if isinstance(read, dict) else key_val_to_dict(settings)
    except ValueError as problem:
        raise UsageError(f"--gen-kwargs {settings!r} is not readable: {problem}") from problem


def _headline(question: Question, results: Mapping[str, Any]) -> tuple[str, str]:
    """The metric that is the accuracy, and the filter that it is taken after: the first that the task lists."""
    if group := question.groups.get(question.name):
        metric = group.aggregate_metric_list[0].metric
        filters = [key.partition(",")[2] for key in results["results"][question.name] if key.startswith(f"{metric},")]
        told = [{sample["filter"] for sample in samples} for samples in results["samples"].values()]
        if not filters or not all(filters[0] in names for names in told):
            raise UsageError(f"the tasks of {question.name!r} share no way to read answers; name them one by one.")
        return metric, filters[0]
    [samples] = results["samples"].values()
    return samples[0]["metrics"][0], samples[0]["filter"]


def _fits(values: Sequence[float]) -> bool:
    """Whether values lie in 0..1: that of all items (the first) and that of each which has one."""
    return math.isfinite(values[0]) and all(0 <= value <= 1 for value in values if not math.isnan(value))


def _version(question: Question, versions: Mapping[str, Any]) -> str:
    return str(versions.get(question.name) or versions.get(next(iter(question.tasks))))


def _hash_of(tasks: Mapping[str, Any]) -> str:
    """Of one task its own; of a group that of all its tasks' hashes."""
    hashes = [task_hash(task) for _, task in sorted(tasks.items())]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]


def _chance_over(question: Question, samples: Mapping[str, Sequence[Any]]) -> float:
    """What a guesser scores: the mean over tasks, each by the number of its items."""
    total = sum(map(len, samples.values()))
    return sum(chance(task) * len(samples[name]) for name, task in question.tasks.items()) / total


def _others(aggregates: dict[str, Any], metric: str, chosen: str) -> dict[str, float]:
    """The task's metrics beside the one that is its accuracy, without lm-eval's own standard errors."""
    found = {}
    for key, value in aggregates.items():
        name, _, filtered = key.partition(",")
        if filtered == chosen and name != metric and not name.endswith("_stderr") and math.isfinite(_score(value)):
            found[name] = float(value)
    return found


@cache
def task_hash(task: Any) -> str:
    """SHA-256 over what the task asks: its configuration and every document, whatever the limit.

    The documents that a task has to show count where it shows some by itself.

    The same in every process: functions count by their source, never by their address.
    """
    config = {
        key: value
        for key, value in task.dump_config().items()
        # Where it was loaded from does not change what is asked; few-shot and limit stand beside the hash.
        if key not in ("metadata", "custom_dataset", "num_fewshot")
    }
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=_stable).encode())
    shown = task.fewshot_docs() if (task.config.num_fewshot or 0) > 0 else []
    for document in (*task.eval_docs, *(shown or [])):
        digest.update(json.dumps(document, sort_keys=True, default=_stable).encode())
    return digest.hexdigest()[:16]


def _stable(value: Any) -> str:
    if callable(value):
        try:
            return inspect.getsource(value)
        except (OSError, TypeError):
            return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    text = str(value)
    return type(value).__qualname__ if " at 0x" in text else text


@cache
def chance(task: Any) -> float:
    """What a guesser scores on all of the task's questions, whatever the limit.

    The larger of the best constant answer's share and, for multiple choice, the mean of 1 / choices.
    """
    documents = list(task.eval_docs)
    targets = Counter(json.dumps(task.doc_to_target(document), default=_stable) for document in documents)
    constant = targets.most_common(1)[0][1] / len(documents)
    if task.OUTPUT_TYPE != "multiple_choice":
        return constant
    choices = [1 / len(task.doc_to_choice(document)) for document in documents]
    return max(constant, sum(choices) / len(choices))


def _confidence(task: Any, sample: dict[str, Any], metric: str, mine: Sequence[Answer]) -> float | None:
    if task.OUTPUT_TYPE == "multiple_choice":
        return of_choice(task, sample, metric)
    return mine[0].confidence if len(mine) == 1 else None


def _total(counts: Sequence[Any]) -> Any:
    """Their sum; None where one of them is not told."""
    told = [count for count in counts if count is not None]
    return sum(told) if told and len(told) == len(counts) else None


def _score(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _by_doc(told: Sequence[tuple[Any, Answer]]) -> dict[tuple[str, int], list[Answer]]:
    found: dict[tuple[str, int], list[Answer]] = {}
    for request, answer in told:
        found.setdefault((request.task_name, request.doc_id), []).append(answer)
    return found


def _items(
    tasks: Mapping[str, Any],
    samples: Mapping[str, Sequence[dict[str, Any]]],
    metric: str,
    answers: Mapping[tuple[str, int], list[Answer]],
) -> list[Item]:
    """All items, those of a group's tasks one after another, with numbers and clusters that no two tasks share."""
    items: list[Item] = []
    for name, own in samples.items():
        prefix, first = (f"{name}/", len(items)) if len(samples) > 1 else ("", 0)
        items += [
            _item(tasks[name], sample, metric, answers.get((name, sample["doc_id"]), []), prefix=prefix, first=first)
            for sample in own
        ]
    return items


def _item(task: Any, sample: dict[str, Any], metric: str, mine: Sequence[Answer], *, prefix: str, first: int) -> Item:
    document = sample["doc"] if isinstance(sample["doc"], dict) else {}
    level = document.get("level")
    return Item(
        doc_id=first + sample["doc_id"],
        doc_hash=sample["doc_hash"],
        score=_score(sample.get(metric)),
        prompt_tokens=_total([a.prompt_tokens for a in mine]),
        generated_tokens=_total([a.generated_tokens for a in mine]),
        computed_tokens=_total([a.computed_tokens for a in mine]),
        latency_s=max((a.latency_s for a in mine if a.latency_s is not None), default=None),
        cluster=prefix + str(document.get("cluster", sample["doc_id"])),
        level=level if isinstance(level, int) else None,
        truncated=any(a.truncated for a in mine) if mine and mine[0].truncated is not None else None,
        cut=any(a.cut for a in mine) if mine and mine[0].cut is not None else None,
        ttft_s=max((a.ttft_s for a in mine if a.ttft_s is not None), default=None),
        share_s=_total([a.share_s for a in mine]),
        layers=_total([a.layers for a in mine]),
        confidence=_confidence(task, sample, metric, mine),
        escalated=any(a.escalated for a in mine) if mine and mine[0].escalated is not None else None,
    )
