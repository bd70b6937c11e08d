"""The only door to lm-eval: load its tasks and models, ask, and take the windows around requests.

Scores are lm-eval's own: its ``evaluate`` runs, with a model in between that starts and stops the
meter around the requests and repeats them until the window is long enough.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import get_model
from lm_eval.evaluator import evaluate
from lm_eval.models import MODEL_MAPPING
from lm_eval.tasks import TaskManager

from joulemark.meters.errors import UsageError

from .types import Answer, Engine, Item, Passes, RequestMeter, TaskResult

__all__ = [
    "EngineLM",
    "ask",
    "backend_names",
    "chance",
    "is_client",
    "load_model",
    "load_task",
    "place_of",
    "stock_task_names",
    "task_hash",
]

SPECS = Path(__file__).parent / "specs"
FEWSHOT_SEED = 1234
WARM_UP_REQUESTS = 32
CACHE_SUSPECTED = 0.5
"""Later passes that take less than this share of the first were answered from a cache."""

REFERENCE_MAX_TOKENS = 48
"""What reference models generate at most, whatever a task allows: a quarter of their context."""


_CLIENTS = frozenset({"TemplateAPI", "AnthropicLM", "GGUFLM", "TextSynthLM", "WatsonxLLM"})
"""lm-eval's model types that are clients of a server, and the base of all further ones."""

_GPU_ENGINES = frozenset({"VLLM", "VLLM_VLM", "SGLangLM", "TRTLLM"})
"""Those that compute on a GPU in processes of their own, where this one sees no sign of it."""


def load_task(name: str, stock: bool = False) -> Any:
    """Load one task by name; ``stock`` indexes lm-eval's own as well, which takes seconds.

    Raises:
        UsageError: There is no such task, or it is a group of tasks.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_path=str(SPECS), include_defaults=stock)
    if name not in manager.all_tasks:
        raise UsageError(f"unknown task {name!r}; `joulemark tasks` lists ours.")
    if name not in manager.all_subtasks:
        raise UsageError(f"task {name!r} is a group; name the tasks in it one by one.")
    return manager.load([name])["tasks"][name]


def stock_task_names() -> tuple[list[str], list[str]]:
    """Names of all single tasks that lm-eval and Joulemark know, and of groups and tags of them. Takes seconds."""
    manager = TaskManager(include_path=str(SPECS))
    single = set(manager.all_subtasks)
    return sorted(single), sorted(set(manager.all_tasks) - single)


def backend_names() -> list[str]:
    """All model types that lm-eval knows."""
    return sorted(MODEL_MAPPING)


def place_of(lm: LM) -> str:
    """Where a model computes: ``server`` (somewhere else, through a client), ``gpu`` or ``cpu``."""
    if is_client(type(lm)):
        return "server"
    if any(base.__name__ in _GPU_ENGINES for base in type(lm).__mro__):
        return "gpu"
    torch = sys.modules.get("torch")
    return "gpu" if torch is not None and torch.cuda.is_initialized() else "cpu"


def is_client(kind: type[LM]) -> bool:
    """Whether models of this type send their work to a server."""
    return any(base.__name__ in _CLIENTS for base in kind.__mro__)


def load_model(backend: str, args: str, batch_size: int) -> LM:
    """Make a model of any lm-eval type from its ``k=v,k=v`` arguments."""
    kind = get_model(backend)
    return kind.create_from_arg_string(args, {"batch_size": batch_size} | _device(kind, args))


def _device(kind: type[LM], args: str) -> dict[str, str]:
    """The CPU for models that would ask for CUDA, as lm-eval's do by default, where there is none."""
    asked = inspect.signature(kind).parameters.get("device")
    if asked is None or asked.default != "cuda" or "device=" in args:
        return {}
    import torch

    return {} if torch.cuda.is_available() else {"device": "cpu"}


class EngineLM(LM):  # type: ignore[misc]
    """One of our engines as lm-eval sees it; ``answers`` are those of the last call."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.answers: list[Answer] = []

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """Answer greedily until the requests' stop strings; all share one set of settings."""
        settings = requests[0].args[1]
        prompts = [request.args[0] for request in requests]
        until = settings.get("until") or []
        stops = [until] if isinstance(until, str) else until
        cap = min(settings.get("max_gen_toks", REFERENCE_MAX_TOKENS), REFERENCE_MAX_TOKENS)
        self.answers = self.engine.generate(prompts, stops, cap)
        return [answer.text for answer in self.answers]

    def loglikelihood(self, *_: Any, **__: Any) -> list[tuple[float, bool]]:
        """Refused: reference models only generate."""
        raise UsageError("reference models answer by generating; choose a generate_until task.")

    def loglikelihood_rolling(self, *_: Any, **__: Any) -> list[float]:
        """Refused, as above."""
        raise UsageError("reference models answer by generating; choose a generate_until task.")


class _MeteredLM(LM):  # type: ignore[misc]
    """Stands between lm-eval and a model: warms up, starts the meter, loops, stops the meter."""

    def __init__(self, inner: LM, meter: RequestMeter, window_s: float) -> None:
        super().__init__()
        self.inner, self.meter, self.window_s = inner, meter, window_s
        self.loops: int | None = None
        self.seconds: list[float] = []
        self.shares = [0.0, 0.0, 0.0]
        self.answers: list[Answer] = []

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> Any:  # noqa: ARG002
        return self._measure(self.inner.generate_until, requests)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> Any:  # noqa: ARG002
        return self._measure(self.inner.loglikelihood, requests)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> Any:  # noqa: ARG002
        return self._measure(self.inner.loglikelihood_rolling, requests)

    # LM defines these itself, so they would never reach __getattr__.
    rank = property(lambda self: self.inner.rank)
    world_size = property(lambda self: self.inner.world_size)
    device = property(lambda self: self.inner.device)
    tokenizer_name = property(lambda self: self.inner.tokenizer_name)

    def chat_template(self, chat_template: bool | str = False) -> Any:
        return self.inner.chat_template(chat_template)

    def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> Any:
        return self.inner.apply_chat_template(chat_history, add_generation_prompt=add_generation_prompt)

    def set_cache_hook(self, cache_hook: Any) -> None:
        self.inner.set_cache_hook(cache_hook)

    def all_gather(self, tensor: Any) -> Any:
        return self.inner.all_gather(tensor)

    def gather_object(self, obj: Any, dst: int = 0) -> Any:
        return self.inner.gather_object(obj, dst)

    def barrier(self) -> None:
        self.inner.barrier()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["inner"], name)

    def _measure(self, call: Callable[..., Any], requests: list[Instance]) -> Any:
        quiet = {"disable_tqdm": True} if "disable_tqdm" in inspect.signature(call).parameters else {}
        call([_altered(request) for request in requests[:WARM_UP_REQUESTS]], **quiet)
        before = self._cpu_by_phase()
        self.meter.start()
        # Whatever is done in here besides calling is counted as the model's: so next to nothing is.
        opened = began = time.monotonic()
        answers = call(requests, **quiet)
        self.answers = list(getattr(self.inner, "answers", []))
        ended = time.monotonic()
        seconds = [ended - began]
        # The first call of a task decides how often all of its calls run.
        while len(seconds) < self.loops if self.loops else ended - opened < self.window_s:
            began = ended
            call(requests, **quiet)
            ended = time.monotonic()
            seconds.append(ended - began)
        self.meter.stop()
        self.loops = len(seconds)
        self.seconds += seconds
        self.shares = [s + b - a for s, a, b in zip(self.shares, before, self._cpu_by_phase(), strict=True)]
        return answers

    def _cpu_by_phase(self) -> list[float]:
        engine = getattr(self.inner, "engine", None)
        known = [engine.prefill_s, engine.decode_s] if engine else [0.0, 0.0]
        return [*known, time.process_time()]

    def passes(self) -> Passes:
        prefill, decode, total = self.shares
        told = prefill + decode > 0 and total > 0
        return Passes(
            loops=self.loops or 0,
            seconds=tuple(self.seconds),
            cached=not isinstance(self.inner, EngineLM) and _looks_cached(self.seconds),
            prefill_share=prefill / total if told else None,
            decode_share=decode / total if told else None,
        )


def _altered(request: Instance) -> Instance:
    """A request of the same size that shares no beginning with the asked one, so that no cache is warmed by it."""
    prompt, *rest = request.arguments
    return replace(request, arguments=("." + prompt, *rest)) if type(prompt) is str else request


def _looks_cached(seconds: Sequence[float]) -> bool:
    return len(seconds) > 1 and sum(seconds[1:]) / (len(seconds) - 1) < CACHE_SUSPECTED * seconds[0]


def ask(
    lm: LM,
    task: Any,
    meter: RequestMeter,
    *,
    window_s: float,
    limit: int | None = None,
    num_fewshot: int | None = None,
    allow_unsafe_code: bool = False,
) -> TaskResult:
    """Put a task's questions to a model, with the meter running during requests alone.

    Args:
        lm: The model.
        task: From `load_task`; it may be asked again.
        meter: Told when requests begin and end.
        window_s: The requests are repeated until they took this long.
        limit: Ask only the first so many questions.
        num_fewshot: Examples before each question, in place of the task's own number.
        allow_unsafe_code: Ask tasks that run what the model writes.
    """
    if num_fewshot is not None:
        task.set_config(key="num_fewshot", value=num_fewshot)
    task.set_fewshot_seed(FEWSHOT_SEED)
    metered = _MeteredLM(lm, meter, window_s)
    name = task.task_name
    results = evaluate(
        metered,
        {"tasks": {name: task}, "groups": {}, "group_map": {}},
        limit=limit,
        bootstrap_iters=0,
        confirm_run_unsafe_code=allow_unsafe_code,
    )
    samples = results["samples"][name]
    chosen, metric = samples[0]["filter"], samples[0]["metrics"][0]
    samples = [sample for sample in samples if sample["filter"] == chosen]
    accuracy = float(results["results"][name][f"{metric},{chosen}"])
    guessed = chance(task)
    more_is_better = results["higher_is_better"][name].get(metric, True)
    scores = [_score(sample[metric]) for sample in samples]
    adjustable = more_is_better and guessed < 1 and all(0 <= score <= 1 for score in scores)
    return TaskResult(
        version=str(results["versions"].get(name)),
        hash=task_hash(task),
        metric=metric,
        accuracy=accuracy if math.isfinite(accuracy) else None,
        chance=guessed,
        quality=100 * (accuracy - guessed) / (1 - guessed) if adjustable else None,
        items=tuple(_items(samples, scores, _answers_by_doc(task, metered.answers))),
        passes=metered.passes(),
        others=_others(results["results"][name], metric, chosen),
    )


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


def _total(counts: Sequence[int | None]) -> int | None:
    told = [count for count in counts if count is not None]
    return sum(told) if told else None


def _score(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _answers_by_doc(task: Any, answers: Sequence[Answer]) -> dict[int, list[Answer]]:
    found: dict[int, list[Answer]] = {}
    for instance, answer in zip(task.instances, answers, strict=False):
        found.setdefault(instance.doc_id, []).append(answer)
    return found


def _items(samples: Sequence[dict[str, Any]], scores: Sequence[float], answers: dict[int, list[Answer]]) -> list[Item]:
    items = []
    for sample, score in zip(samples, scores, strict=True):
        mine = answers.get(sample["doc_id"], [])
        document = sample["doc"] if isinstance(sample["doc"], dict) else {}
        level = document.get("level")
        items.append(
            Item(
                doc_id=sample["doc_id"],
                doc_hash=sample["doc_hash"],
                score=score,
                prompt_tokens=sum(a.prompt_tokens for a in mine) if mine else None,
                generated_tokens=sum(a.generated_tokens for a in mine) if mine else None,
                computed_tokens=sum(a.computed_tokens for a in mine) if mine else None,
                latency_s=max(a.latency_s for a in mine) if mine else None,
                cluster=str(document.get("cluster", sample["doc_id"])),
                level=level if isinstance(level, int) else None,
                truncated=any(a.truncated for a in mine) if mine else None,
                layers=_total([a.layers for a in mine]),
                confidence=mine[0].confidence if len(mine) == 1 else None,
                escalated=any(a.escalated for a in mine) if mine and mine[0].escalated is not None else None,
            )
        )
    return items
