"""Models as lm-eval sees them: its own types by name, and ours; where each computes, and what looks at it."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import get_model
from lm_eval.models import MODEL_MAPPING
from lm_eval.utils import simple_parse_args_string

from joulemark.meters.errors import UsageError

from .ownargs import split_args
from .servers import ServerWatch
from .types import Answer, Engine, Noting
from .watch import PlainWatch, TorchWatch, Watch
from .wrongargs import in_plain_words, refuse_ignored

__all__ = ["EngineLM", "backend_names", "is_client", "load_model", "place_of", "set_pace", "watch_of"]

REFERENCE_MAX_TOKENS = 48
"""What reference models generate at most, whatever a task allows: a quarter of their context."""

_CLIENTS = frozenset({"TemplateAPI", "AnthropicLM", "GGUFLM", "TextSynthLM", "WatsonxLLM"})
"""lm-eval's model types that are clients of a server, and the base of all further ones."""

_GPU_ENGINES = frozenset({"VLLM", "VLLM_VLM", "SGLangLM", "TRTLLM"})
"""Those that compute on a GPU in processes of their own, where this one sees no sign of it."""


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


def load_model(backend: str, args: str) -> LM:
    """Make a model of any lm-eval type from its ``k=v,k=v`` arguments; those that are ours it does not see.

    Raises:
        UsageError: It takes no such argument, or there is no model of that name.
        Exception: Whatever else goes wrong while it is made.
    """
    args, _ = split_args(args)
    kind, given = get_model(backend), simple_parse_args_string(args)
    refuse_ignored(backend, kind, given)
    try:
        return kind.create_from_arg_string(args, {"batch_size": 1} | _device(kind, args))
    except Exception as problem:
        plain = in_plain_words(backend, kind, given, problem)
        if plain is None:
            raise
        raise plain from problem


def set_pace(lm: LM, watch: Watch, *, batch_size: int, concurrency: int) -> None:
    """How many requests the model is given at once, and how many of these batches may be under way to a server."""
    for name, value in (
        ("batch_size", batch_size),
        ("batch_size_per_gpu", batch_size),
        ("_batch_size", batch_size),
        ("_concurrent", concurrency),
    ):
        if name in vars(lm):
            setattr(lm, name, value)
    if isinstance(lm, EngineLM):
        lm.engine.batch_size = batch_size
    watch.batch_size = batch_size * concurrency


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


class _EngineWatch:
    """For our own engines, which tell everything; how sure they were once the window is over."""

    may_be_cached = False

    def __init__(self, lm: EngineLM) -> None:
        self.lm = lm
        self.batch_size = lm.engine.batch_size
        self._told: list[Answer] = []

    def begin(self) -> None:
        if isinstance(self.lm.engine, Noting):
            self.lm.engine.note()

    def end(self) -> None:
        self._told = self.lm.answers

    def seconds(self) -> tuple[float, float, float]:
        return self.lm.engine.prefill_s, self.lm.engine.decode_s, time.process_time()

    def answers(self, requests: Sequence[Any], answers: Sequence[Any]) -> list[Answer]:  # noqa: ARG002
        if isinstance(self.lm.engine, Noting):
            sure = self.lm.engine.confidences()
            self._told = [replace(told, confidence=own) for told, own in zip(self._told, sure, strict=True)]
        # Our tokens are characters, and the first of those that the model has no room for never go in.
        asked = zip(self._told, requests, strict=True)
        return [replace(told, cut=(told.prompt_tokens or 0) < len(request.args[0])) for told, request in asked]


def watch_of(lm: LM) -> Watch:
    """What looks at this model while it answers."""
    if isinstance(lm, EngineLM):
        return _EngineWatch(lm)
    # Others have its methods without their meaning: an engine generates in processes of its own.
    if getattr(lm, "backend", None) == "causal" and any(base.__name__ == "HFLM" for base in type(lm).__mro__):
        return TorchWatch(lm)
    if _posts_itself(type(lm)):
        return ServerWatch(lm)
    return PlainWatch(lm)


def _posts_itself(kind: type[LM]) -> bool:
    """Whether it sends its requests as lm-eval's API models do, and not by another library."""
    base = next((base for base in kind.__mro__ if base.__name__ == "TemplateAPI"), None)
    return base is not None and all(
        getattr(kind, name) is getattr(base, name) for name in ("model_call", "amodel_call")
    )
