"""Meters that a user names: what is understood, and what is said about the rest."""

from __future__ import annotations

import pytest

from joulemark.meters.errors import UsageError
from joulemark.meters.naming import make_named, meter_name, parse_named
from joulemark.meters.types import Meter, Unavailable


class Plugin:
    """A meter from outside that can be named."""

    def __init__(self, name: str, host: str, channel: str = "0") -> None:
        self.id, self.host, self.channel = name, host, channel

    def probe(self) -> Unavailable:
        return Unavailable(reason="it is a test", fix="nothing")


def make(text: str) -> Meter:
    named = parse_named(text)
    assert named is not None
    return make_named(named, {"mine": lambda: Plugin})  # type: ignore[dict-item,return-value]


def test_a_mere_name_and_a_domain_are_no_new_meter() -> None:
    assert parse_named("rapl") is None
    assert parse_named("rapl:package-0") is None


def test_a_name_a_kind_and_values_make_a_meter() -> None:
    named = parse_named("plug=shelly:host=192.0.2.7,channel=1")
    assert named is not None
    assert (named.name, named.kind, dict(named.args)) == ("plug", "shelly", {"host": "192.0.2.7", "channel": "1"})
    made = make("left=mine:host=a")
    assert (made.id, made.host, made.channel) == ("left", "a", "0")  # type: ignore[attr-defined]


def test_commas_and_colons_inside_of_quotes_and_brackets_belong_to_the_value() -> None:
    named = parse_named('p=prometheus:url=http://h:9090,query=sum(x{a="b,c",d=~"e"}) by (g, h),unit=W')
    assert named is not None
    assert dict(named.args) == {
        "url": "http://h:9090",
        "query": 'sum(x{a="b,c",d=~"e"}) by (g, h)',
        "unit": "W",
    }


def test_the_name_is_what_domains_begin_with() -> None:
    assert meter_name("plug=shelly:host=192.0.2.7") == "plug"
    assert meter_name("rapl:package-0") == "rapl"
    assert meter_name("modelled") == "modelled"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x=nonsense:a=b", "there is no kind of meter 'nonsense'"),
        ("x=shely:host=a", "did you mean 'shelly'"),
        ("=mine:host=a", "a meter's name is a letter"),
        ("x y=mine:host=a", "a meter's name is a letter"),
        ("x=mine:host", "'host' should be key=value"),
        ("x=mine:host=a,host=b", "each key once"),
        ("x=mine", "mine needs host="),
        ("x=mine:hots=a", "mine has no 'hots'; did you mean 'host'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        make(text)
    assert "\n" not in str(caught.value)
