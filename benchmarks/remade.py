"""A reference model for lm-eval whose graph may be another one, and which may compute more than it has to.

``NAME=remade:graph=FILE,again=PERCENT`` answers so many per cent of its questions twice, and throws the second
answers away. It is loaded by the processes that find the folder of `put_on_path` on their ``PYTHONPATH``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from joulemark.harness.graphs import OnnxEngine
from joulemark.tasks.lmmodels import EngineLM
from joulemark.tasks.types import Answer

__all__ = ["Remade", "put_on_path"]

REGISTER = """
import lm_eval.models
from lm_eval.api.registry import model_registry

lm_eval.models.MODEL_MAPPING["remade"] = "remade:Remade"
model_registry.register("remade", target="remade:Remade")
"""


def put_on_path(folder: Path) -> dict[str, str]:
    """Write into a folder what tells lm-eval of this model; the environment to start processes in."""
    (folder / "sitecustomize.py").write_text(REGISTER, encoding="utf-8")
    others = os.environ.get("PYTHONPATH")
    path = [str(folder), str(Path(__file__).resolve().parent), *([others] if others else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


class Remade(EngineLM):
    """What lm-eval loads."""

    def __init__(self, graph: str, again: float = 0.0, **_: object) -> None:
        super().__init__(_Again(Path(graph), share=float(again) / 100))


class _Again(OnnxEngine):
    def __init__(self, graph: Path, *, share: float) -> None:
        super().__init__(graph, threads=1)
        self.share = share

    def generate(self, prompts: Sequence[str], until: Sequence[str], max_tokens: int) -> list[Answer]:
        answers = super().generate(prompts, until, max_tokens)
        if more := round(self.share * len(prompts)):
            # Evenly spread, so that levels, and with them lengths, are as in the whole.
            super().generate([prompts[at * len(prompts) // more] for at in range(more)], until, max_tokens)
        return answers
