"""The reference models' engines, made from their cards."""

from __future__ import annotations

from joulemark.tasks.types import Engine

from .models import ZOO, card

__all__ = ["load_engine"]


def load_engine(name: str, batch_size: int = 1, *, threads: int) -> Engine:
    """The engine of a reference model."""
    facts = card(name)
    if facts["kind"] == "ngram":
        from .ngram import NgramEngine

        return NgramEngine(ZOO / facts["file"])
    if facts["kind"] == "cascade":
        from .cascade import CascadeEngine

        small, large = (
            _graph(member, batch_size, threads, confident=at == 0) for at, member in enumerate(facts["members"])
        )
        return CascadeEngine(small, large, facts["threshold"])
    return _graph(name, batch_size, threads)


def _graph(name: str, batch_size: int, threads: int, *, confident: bool = False) -> Engine:
    from .graphs import OnnxEngine

    facts = card(name)
    return OnnxEngine(
        ZOO / facts["file"],
        batch_size=batch_size,
        threads=threads,
        threshold=facts.get("threshold"),
        confident=confident,
    )
