"""How to cite a board: as BibTeX and in the Citation File Format. Nothing in it is a stranger's text."""

from __future__ import annotations

import hashlib
import json

from .history import History

__all__ = ["bibtex", "cff", "version_of"]

_TITLE = "Joulemark leaderboard: quality per watt-hour"
_AUTHORS = "Contributors to this Joulemark leaderboard"
_DIGITS = 12


def version_of(history: History) -> str:
    """The day of the last change, and what tells this index from any other; empty without a store."""
    if history.store is None:
        return ""
    digest = hashlib.sha256(history.index).hexdigest()[:_DIGITS]
    return f"{history.newest:%Y-%m-%d}.{digest}" if history.newest else digest


def bibtex(history: History, base_url: str) -> str:
    """An entry for BibTeX; what is not known is left out.

    Args:
        history: What was accepted.
        base_url: An address that needs no escapes (`joulemark leaderboard build` takes no other); empty for none.
    """
    version = version_of(history)
    fields = [f"title = {{{_TITLE}}}", f"author = {{{{{_AUTHORS}}}}}"]
    fields += [f"year = {{{history.newest:%Y}}}"] if history.newest else []
    fields += [f"note = {{Version {version}}}"] if version else []
    fields += [f"howpublished = {{\\url{{{base_url}/}}}}"] if base_url else []
    lines = ",\n".join(f"  {line}" for line in fields)
    return f"@misc{{joulemark-leaderboard,\n{lines}\n}}\n"


def cff(history: History, base_url: str) -> str:
    """``CITATION.cff`` by version 1.2.0 of its schema; a JSON string is a YAML string too."""
    told = {
        "cff-version": "1.2.0",
        "message": "If you use figures of this board, please cite it, and name the view and the version.",
        "type": "dataset",
        "title": _TITLE,
    }
    told |= {"version": version_of(history)} if history.store else {}
    told |= {"date-released": f"{history.newest:%Y-%m-%d}"} if history.newest else {}
    told |= {"url": f"{base_url}/"} if base_url else {}
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in told.items()]
    return "".join([*lines, f"authors:\n  - name: {json.dumps(_AUTHORS)}\n"])
