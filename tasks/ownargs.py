"""A model's arguments: those that lm-eval takes, and those that say where its server computes."""

from __future__ import annotations

__all__ = ["split_args"]

_OWN = ("server_pid", "server_at")
_COMMAND = "server="


def split_args(args: str) -> tuple[str, dict[str, str]]:
    """Tell lm-eval's arguments of a model from ours: ``server_pid``, ``server_at``, and ``server``.

    ``server=COMMAND`` comes last, and goes to the end, commas and all.
    """
    head, found, command = f",{args}".partition(f",{_COMMAND}")
    theirs, ours = [], {"server": command.strip()} if found else {}
    for part in head.removeprefix(",").split(","):
        key, equals, value = part.partition("=")
        if equals and key.strip() in _OWN:
            ours[key.strip()] = value.strip()
        else:
            theirs.append(part)
    return ",".join(theirs), ours
