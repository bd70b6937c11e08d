"""A Ray cluster as the driver finds it: its address, and its nodes with their labels."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulemark.meters.errors import UsageError

__all__ = ["connect", "labels_of", "lives", "living_nodes", "who_is_there"]

_PATIENCE_S = 5.0


def connect(executor: str) -> None:
    """Join the cluster that an executor names, as a driver.

    Raises:
        UsageError: Ray is not installed, or there is no cluster.
    """
    try:
        import ray
    except ImportError as problem:
        raise UsageError("Ray is not installed: `pip install 'joulemark[ray]'`, on all machines.") from problem
    address = executor.partition(":")[2]
    try:
        _knock(address or os.environ.get("RAY_ADDRESS") or _last_address())
        with warnings.catch_warnings():
            # Of what a later release will do.
            warnings.simplefilter("ignore", FutureWarning)
            ray.init(address=address or "auto", log_to_driver=False, logging_level=logging.ERROR)
        _hush()
    except (OSError, ValueError, RuntimeError) as problem:
        raise UsageError(f"no Ray cluster {_nowhere(address, problem)}") from problem


def _hush() -> None:
    """Keep what Ray prints of lost processes off standard output, where --json has one object: the driver tells it."""
    from ray._private import worker

    worker.print_to_stdstream = lambda *_, **__: None


def _nowhere(address: str, problem: Exception) -> str:
    """Where there is none, why, and what to do."""
    why, start = str(problem).splitlines()[0], "start one by `ray start --head`"
    join = "and on each further machine `ray start --address=HEAD:6379`."
    if address:
        return f"answers at {address} ({why}); correct the address, or {start} there, {join}"
    if named := os.environ.get("RAY_ADDRESS"):
        return f"answers at {named}, which RAY_ADDRESS names ({why}); correct it, or {start} there, {join}"
    died = f", and the last one, at {_last_address()}, does not answer ({why})" if _last_address() else ""
    after = ", after `ray stop`" if died else ""
    return f"is running here{died}; {start}{after}, {join} One elsewhere is --executor ray:ADDRESS."


def _last_address() -> str:
    """Of the cluster that was started here, as Ray notes it: it may be gone, where its head was not stopped."""
    noted = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    try:
        return noted.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _knock(address: str) -> None:
    """Raises OSError where nobody answers, which Ray itself takes minutes to say."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()


def living_nodes() -> list[dict[str, Any]]:
    """Those that live, by their ids."""
    import ray

    every: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return sorted((node for node in every if node["Alive"]), key=lambda node: str(node["NodeID"]))


def lives(node_id: str) -> bool:
    """Whether the cluster has a node still."""
    return any(node["NodeID"] == node_id for node in living_nodes())


def labels_of(node: Mapping[str, Any]) -> dict[str, str]:
    """A node's labels, Ray's own without their prefix."""
    return {str(key).removeprefix("ray.io/"): str(value) for key, value in (node.get("Labels") or {}).items()}


def who_is_there() -> str:
    """All nodes with their labels, for people."""
    told = []
    for node in living_nodes():
        labels = [f"{key}={value}" for key, value in labels_of(node).items() if key != "node-id"]
        told.append(f"{node['NodeManagerHostname']} ({', '.join(labels) or 'no labels'})")
    return "; ".join(told)
