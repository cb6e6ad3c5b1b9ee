"""The buckets by which requests are counted."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http import limits
from api.http.limits import RateLimit, network_of
from api.http.problems import TooMany


class Seconds:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    found = Seconds()
    monkeypatch.setattr(limits, "monotonic_seconds", found)
    return found


def taken(limit: RateLimit, name: str, times: int) -> int:
    """How many of so many requests get through."""
    through = 0
    for _ in range(times):
        with suppress(TooMany):
            limit.take(name)
            through += 1
    return through


def test_a_minutes_worth_at_once_then_a_steady_rate(seconds: Seconds) -> None:
    limit = RateLimit(60, "this key")
    assert taken(limit, "a", 100) == 60
    assert taken(limit, "b", 100) == 60, "each has its own"
    seconds.now += 5
    assert taken(limit, "a", 100) == 5
    seconds.now += 3_600
    assert taken(limit, "a", 100) == 60, "no more than a minute's worth is saved up"


def test_what_is_given_back_was_not_counted(seconds: Seconds) -> None:
    limit = RateLimit(2, "this address")
    for _ in range(10):
        limit.take("a")
        limit.give_back("a")
    assert taken(limit, "a", 5) == 2
    limit.give_back("nobody")


def test_whoever_waits_as_long_as_told_gets_through(seconds: Seconds) -> None:
    limit = RateLimit(7, "this key")
    taken(limit, "a", 7)
    with pytest.raises(TooMany) as refused:
        limit.take("a")
    seconds.now += refused.value.seconds
    limit.take("a")


def test_memory_stays_bounded_and_who_was_seen_last_is_remembered(
    seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BUCKETS_MAX", 100)
    limit = RateLimit(1, "this address")
    limit.take("busy")
    for number in range(1_000):
        limit.take(f"other {number}")
        assert taken(limit, "busy", 1) == 0
    assert len(limit._buckets) <= 100


def test_a_customers_addresses_of_ipv6_count_as_one() -> None:
    assert network_of("2001:db8:0:1::1") == network_of("2001:db8:0:1:ffff::2") == "2001:db8:0:1::/64"
    assert network_of("2001:db8:0:2::1") != network_of("2001:db8:0:1::1")
    assert network_of("192.0.2.1") == network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("") == ""


@given(st.text(max_size=300))
def test_whatever_a_proxy_says_is_a_name_of_bounded_length(address: str) -> None:
    assert len(network_of(address)) <= 80
