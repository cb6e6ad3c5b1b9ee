"""The buckets by which requests are counted."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http import limits
from api.http.limits import Limits, RateLimit, network_of
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


def test_a_limit_may_be_a_days_and_count_more_than_one(seconds: Seconds) -> None:
    limit = RateLimit(1_000, "this key", full_seconds=86_400)
    limit.take("a", 900)
    with pytest.raises(TooMany) as refused:
        limit.take("a", 200)
    assert refused.value.seconds == 8_640, "a hundred too many, of a thousand a day"
    assert taken(limit, "a", 200) == 100, "what was refused is not counted"
    seconds.now += refused.value.seconds
    limit.take("a", 100)


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
    assert len(limit._buckets.kept) <= 100  # type: ignore[attr-defined]  # those of a process


def test_processes_that_share_a_folder_count_together(seconds: Seconds, tmp_path: Path) -> None:
    one, other = (Limits(tmp_path).limit("keys", 60, "this key") for _ in range(2))
    alone = Limits().limit("keys", 60, "this key")
    assert taken(one, "a", 40) + taken(other, "a", 40) == taken(alone, "a", 80) == 60
    assert taken(other, "b", 100) == 60, "each name has its own"
    assert taken(Limits(tmp_path).limit("places", 60, "here"), "a", 100) == 60, "and so has each limit"
    seconds.now += 5
    assert taken(other, "a", 3) + taken(one, "a", 9) == 5
    one.give_back("a")
    assert taken(other, "a", 9) == 1


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.booleans(), st.floats(0, 30)), max_size=60))
def test_what_is_shared_counts_as_what_is_not(asked: list[tuple[str, bool, float]]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        clock = Seconds()
        patch.setattr(limits, "monotonic_seconds", clock)
        shared = [Limits(Path(folder)).limit("keys", 7, "this key") for _ in range(2)]
        alone = Limits().limit("keys", 7, "this key")
        for name, is_first, pause in asked:
            clock.now += pause
            assert taken(shared[is_first], name, 3) == taken(alone, name, 3)


def test_a_set_that_is_full_lets_go_of_the_name_that_asked_least(
    seconds: Seconds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SETS", 1)
    limit = Limits(tmp_path).limit("keys", 2, "this key")
    assert taken(limit, "busy", 5) == 2
    for number in range(100):
        limit.take(f"other {number}")
        assert taken(limit, "busy", 1) == 0


def test_a_customers_addresses_of_ipv6_count_as_one() -> None:
    assert network_of("2001:db8:0:1::1") == network_of("2001:db8:0:1:ffff::2") == "2001:db8:0:1::/64"
    assert network_of("2001:db8:0:2::1") != network_of("2001:db8:0:1::1")
    assert network_of("192.0.2.1") == network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("") == ""


@given(st.text(max_size=300))
def test_whatever_a_proxy_says_is_a_name_of_bounded_length(address: str) -> None:
    assert len(network_of(address)) <= 80
