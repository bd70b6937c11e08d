"""Models that can be named: the reference models on the shelf, and any that lm-eval can load."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from joulemark.meters.errors import UsageError
from joulemark.tasks.ownargs import split_args

from .endpoints import Endpoint, check_here, endpoint_of
from .record import ModelInfo

__all__ = ["REFERENCE", "ZOO", "ModelSpec", "card", "is_replica", "parse_model", "parse_models", "reference_models"]

ZOO = Path(__file__).parent / "zoo"
REFERENCE = "ref"
_CLIENTS = frozenset({"gguf", "ggml", "textsynth", "watsonx_llm", "anthropic", "anthropic-chat"})
"""lm-eval's clients of servers whose names do not say so."""

_HOME = re.compile(r"(?<![^,])((?:pretrained|tokenizer|peft|delta)=)~/")
"""Where a folder is below the home directory, in the middle of a word, so that no shell has seen it."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model to run.

    Attributes:
        name: What tables call it.
        backend: ``ref`` for a reference model, else a model type of lm-eval.
        args: The reference model's name, or lm-eval's ``k=v,k=v`` and those of ours (`endpoints.Endpoint`).
    """

    name: str
    backend: str
    args: str

    @property
    def takes_gpu(self) -> bool:
        """Whether it computes on a GPU where there is one."""
        return self.backend != REFERENCE and "device=cpu" not in self.args

    @property
    def is_client(self) -> bool:
        """Whether it sends its requests to a server."""
        return self.backend.endswith("completions") or self.backend in _CLIENTS

    @property
    def endpoint(self) -> Endpoint | None:
        """Its server, where its arguments say which process that is, or which meter sees it.

        Raises:
            UsageError: They contradict each other.
        """
        return endpoint_of(self.name, self.args) if self.is_client else None

    @property
    def starts_server(self) -> bool:
        """Whether its server is started for it. Like `seen_by` this is told by its arguments alone: a file that holds
        the number of a process is there only while that runs."""
        return self.is_client and "server" in split_args(self.args)[1]

    @property
    def seen_by(self) -> str | None:
        """The meter that sees its server's machine, where that is another one."""
        return split_args(self.args)[1].get("server_at") if self.is_client else None

    @property
    def usual_batch(self) -> int:
        """Questions that it is given at once where nobody says how many; a client sends them one by one."""
        return 1 if self.is_client else 16

    def cannot(self, key: str, value: Any) -> str | None:
        """Why a setting is impossible for it; None where it is not."""
        if key == "batch_size" and value > 1 and self.backend.endswith("chat-completions"):
            return "a chat has one question at a time"
        if key == "apply_chat_template" and self.backend == REFERENCE:
            return "it has no chat format"
        if key == "threads" and self.is_client and not self.starts_server:
            return "its server has as many as it was started with"
        if key == "concurrency" and value > 1 and not self.is_client:
            return "it computes here, and one batch at a time"
        if key == "power_cap_w" and not self.takes_gpu:
            return "it computes on no GPU here"
        if key == "dtype" and (self.backend == REFERENCE or self.is_client):
            return "its precision is not chosen when it is loaded"
        if key == "dtype" and "dtype=" in self.args:
            return "its own arguments say dtype already"
        return None

    def trusting(self) -> ModelSpec:
        """The same, with leave to run code of its own, as lm-eval's own command puts it into the arguments."""
        if self.backend == REFERENCE or self.is_client or "trust_remote_code=" in self.args:
            return self
        return replace(self, args=f"{self.args},trust_remote_code=True")

    @property
    def weights(self) -> str:
        """What a reference model computes with: its file's SHA-256, and its threshold if any; empty for others."""
        if self.backend != REFERENCE:
            return ""
        facts = card(self.args)
        return f"{facts['sha256']}@{facts['threshold']}" if "threshold" in facts else str(facts["sha256"])

    def info(self) -> ModelInfo:
        """What its card says; empty for a model without one."""
        if self.backend != REFERENCE:
            return ModelInfo(kind="external")
        return ModelInfo.model_validate(card(self.args))


def reference_models() -> list[str]:
    """Names of the shipped models, from the fewest parameters to the most; those trained a second time come last."""
    names = [path.stem for path in ZOO.glob("*.json")]
    return sorted(names, key=lambda name: (is_replica(name), card(name)["kind"] != "ngram", card(name)["params"], name))


def is_replica(name: str) -> bool:
    """Whether a shipped model is another one's recipe with another seed."""
    return "replica_of" in card(name)


@cache
def card(name: str) -> dict[str, Any]:
    """A shipped model's card."""
    content: dict[str, Any] = json.loads((ZOO / f"{name}.json").read_text(encoding="utf-8"))
    return content


def parse_model(text: str, *, here: bool = True) -> ModelSpec:
    """Read ``ref/NAME``, ``LABEL=ref/NAME`` or ``LABEL=BACKEND:k=v,k=v``.

    Args:
        text: As the command line has it.
        here: Also see whether its server can be measured on this machine, now.

    Raises:
        UsageError: It is none of these, or there is no such reference model, or not the server that it names.
    """
    label, labelled, rest = text.partition("=")
    if not labelled:
        label, rest = text, text
    backend, slash, name = rest.partition("/")
    if label and backend == REFERENCE and slash:
        return _reference(label, name)
    backend, colon, args = rest.partition(":")
    if labelled and label and colon and backend:
        for key, option in (("batch_size", "--batch-size"), ("num_concurrent", "--concurrency")):
            if f"{key}=" in split_args(args)[0]:
                raise UsageError(f"model {label!r}: give {key} by {option}, so that the record has it.")
        spec = ModelSpec(name=label, backend=backend, args=_HOME.sub(rf"\g<1>{Path.home()}/", args))
        return _external(spec) if here else spec
    raise UsageError(
        f"model {text!r}: write ref/NAME or LABEL=BACKEND:key=value, such as mine=hf:pretrained=./folder; "
        f"`joulemark models` lists the reference models{_suggest(text)}"
    )


def parse_models(texts: Sequence[str], *, here: bool = True) -> list[ModelSpec]:
    """Read several as `parse_model` does; what is wrong with any of them is told at once.

    Raises:
        UsageError: As `parse_model`.
    """
    specs, problems = [], []
    for text in texts:
        try:
            specs.append(parse_model(text, here=here))
        except UsageError as problem:
            problems.append(str(problem))
    if problems:
        raise UsageError(" ".join(problems))
    return specs


def _external(spec: ModelSpec) -> ModelSpec:
    if split_args(spec.args)[1] and not spec.is_client:
        raise UsageError(f"model {spec.name!r}: {spec.backend} computes here, and has no server to name.")
    if endpoint := spec.endpoint:
        check_here(spec.name, endpoint)
    return spec


def _reference(label: str, name: str) -> ModelSpec:
    if name not in reference_models():
        raise UsageError(f"unknown model 'ref/{name}'; `joulemark models` lists what there is{_suggest(name)}")
    return ModelSpec(name=label, backend=REFERENCE, args=name)


def _suggest(name: str) -> str:
    close = difflib.get_close_matches(name.removeprefix("ref/"), reference_models(), n=1)
    return f"; did you mean ref/{close[0]}?" if close else "."
