"""Energy and power that a Prometheus server collects: from DCGM's, Kepler's and Scaphandre's exporters, or any query.

``dcgm=prometheus:url=http://192.0.2.5:9090,preset=dcgm`` and, for anything else,
``rack=prometheus:url=...,query=pdu_outlet_watts{outlet="7"},unit=W,scope=wall``.
"""

from __future__ import annotations

from dataclasses import replace

from .errors import UsageError
from .http import Http
from .polling import PolledMeter
from .prometheusqueries import PRESETS, find_preset, parse_query
from .prometheusserver import Server
from .remote import USERS_REL_U, parse_login, parse_rel_u, parse_seconds, parse_secret, parse_yes

__all__ = ["prometheus"]


def prometheus(
    name: str,
    url: str,
    preset: str = "",
    query: str = "",
    unit: str = "",
    scope: str = "",
    grade: str = "",
    rel_u: str = "",
    instance: str = "",
    gpu: str = "",
    uuid: str = "",
    where: str = "",
    exporter_s: str = "",
    user: str = "",
    password_env: str = "",
    token_env: str = "",
    verify: str = "yes",
    interval_s: str = "1",
    patience_s: str = "180",
    timeout_s: str = "3",
) -> PolledMeter:
    """Figures of a Prometheus server, or of one that answers like it (Thanos, Mimir, VictoriaMetrics).

    Args:
        name: What to call the meter.
        url: The server's address.
        preset: One of `PRESETS`; else ``query``.
        query: A selector, or ``sum(SELECTOR)``; for anything else a recording rule, whose samples have times.
        unit: Of the query's result: W, mW, uW (a power), J, mJ, uJ (a counter).
        scope: What the query covers: wall, platform, package, dram, gpu, soc.
        grade: Of the query: ``counter`` for joules and ``polled`` for watts if left out; ``modelled`` for shares that
            an exporter gives to processes, containers or pods.
        rel_u: Relative standard uncertainty of the figures.
        instance: Narrows a preset to one target (its label ``instance``).
        gpu: Narrows a preset to one GPU by its number.
        uuid: The same by its UUID.
        where: More label matchers for a preset, in PromQL: ``where=pod_name="llm"``.
        exporter_s: How often the exporter renews its own figures, in seconds.
        user: Login name, where the server asks for one.
        password_env: The environment variable with the password.
        token_env: The environment variable with a bearer token.
        verify: ``no`` where the server has no valid certificate.
        interval_s: How often to ask, in seconds.
        patience_s: For how many seconds there may be nothing new before the meter counts as lost. A counter loses
            nothing by that.
        timeout_s: Seconds for one answer.

    Raises:
        UsageError: An argument makes no sense.
    """
    if bool(preset) == bool(query):
        raise UsageError(f"meter {name!r}: give preset= ({', '.join(PRESETS)}) or query=, one of them")
    for_queries = {"unit": unit, "scope": scope, "grade": grade}
    for_presets = {"instance": instance, "gpu": gpu, "uuid": uuid, "where": where}
    for key, value in (for_queries if preset else for_presets).items():
        if value:
            raise UsageError(f"meter {name!r}: {key}= does not go with {'preset' if preset else 'query'}=")
    if preset:
        wanted = find_preset(preset, {"instance": instance, "gpu": gpu, "UUID": uuid}, where)
    else:
        wanted = parse_query(query, unit, scope, grade)
    if (given := parse_rel_u(rel_u)) is not None:
        wanted = replace(wanted, rel_u_scale=given, source=USERS_REL_U)
    if exporter_s:
        wanted = replace(wanted, exporter_s=parse_seconds("exporter_s", exporter_s))
    login, password = parse_login(user, password_env)
    http = Http(
        url,
        timeout_s=parse_seconds("timeout_s", timeout_s),
        user=login,
        password=password,
        token=parse_secret("token_env", token_env),
        verify=parse_yes("verify", verify),
    )
    times = parse_seconds("interval_s", interval_s), parse_seconds("patience_s", patience_s)
    return PolledMeter(name, Server(name, http, wanted, *times))
