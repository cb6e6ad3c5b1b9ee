"""Cookies, where a request comes from, and how often one may log in."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.http import limits, logins
from api.http.cookies import PLAIN_NAME, SECURE_NAME, cookie_name, is_same_origin, session_token, set_cookie
from api.http.logins import LoginRefused, Logins
from api.http.problems import TooMany
from api.http.sessions import CrossSite, Sessions, check_own_page
from api.passwords import Passwords
from ledger.clock import VirtualClock
from ledger.people import IDLE, LONGEST, Person, PersonSession, csrf_token, new_session_token, session_digest

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
CHEAP = Passwords(memory_kib=8, passes=1)
RIGHT = "mango under the ferry"


def scope(scheme: str = "https", method: str = "POST", client: str = "127.0.0.1", **headers: str) -> Any:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "scheme": scheme, "method": method, "headers": named, "client": (client, 50_000)}


# --- the cookie -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "host", "name"),
    [
        ("https", "ledger.example.org", SECURE_NAME),
        ("https", "127.0.0.1:8480", SECURE_NAME),
        ("http", "127.0.0.1:8480", PLAIN_NAME),
        ("http", "localhost", PLAIN_NAME),
        ("http", "localhost:8480", PLAIN_NAME),
        ("http", "[::1]:8480", PLAIN_NAME),
        ("http", "[::1]", PLAIN_NAME),
        ("http", "ledger.example.org", None),
        ("http", "localhost.example.org", None),
        ("http", "127.0.0.1.example.org:80", None),
        ("http", "192.0.2.1:8480", None),
        ("http", "", None),
    ],
)
def test_a_session_travels_over_tls_or_within_the_machine(scheme: str, host: str, name: str | None) -> None:
    assert cookie_name(scope(scheme, host=host)) == name


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        ("203.0.113.7", {}),
        ("127.0.0.1", {"x_forwarded_for": "203.0.113.7"}),
        ("127.0.0.1", {"x_real_ip": "203.0.113.7"}),
        ("127.0.0.1", {"forwarded": "for=203.0.113.7"}),
        ("127.0.0.1", {"via": "1.1 proxy"}),
    ],
)
def test_what_a_proxy_passes_on_in_the_clear_carries_no_session(client: str, headers: dict[str, str]) -> None:
    assert cookie_name(scope("http", host="127.0.0.1:8480", client=client, **headers)) is None
    assert cookie_name(scope("https", host="127.0.0.1:8480", client=client, **headers)) == SECURE_NAME


def test_the_cookie_is_for_this_host_alone_and_for_no_script() -> None:
    told = set_cookie(SECURE_NAME, "t").split("; ")
    assert told[0] == "__Host-session=t"
    assert {"Path=/", "HttpOnly", "SameSite=Strict", "Secure"} == set(told[1:])
    assert "Secure" not in set_cookie(PLAIN_NAME, "t")
    assert "Max-Age=0" in set_cookie(SECURE_NAME, "")


def test_of_two_cookies_none_counts() -> None:
    assert session_token(scope(cookie=f"a=b; {SECURE_NAME}=t; c=d")) == "t"
    assert session_token(scope(cookie=f"{SECURE_NAME}=t; {SECURE_NAME}=u")) is None
    assert session_token(scope(cookie=f"{PLAIN_NAME}=t")) is None, (
        "a name without the prefix is no proof of TLS"
    )
    assert session_token(scope("http", host="localhost", cookie=f"{SECURE_NAME}=t")) is None
    assert session_token(scope("http", host="ledger.example.org", cookie=f"{PLAIN_NAME}=t")) is None


# --- where it comes from ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({}, True),
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "same-origin", "origin": "https://behind.a.proxy"}, True),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site", "origin": "https://a.example"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"origin": "https://a.example"}, True),
        ({"origin": "https://b.example"}, False),
        ({"origin": "http://a.example"}, False),
        ({"origin": "null"}, False),
    ],
)
def test_where_a_request_comes_from_is_the_browsers_word(headers: dict[str, str], same: bool) -> None:
    assert is_same_origin(scope(host="a.example", **headers)) is same


def test_what_changes_something_needs_the_sessions_own_token() -> None:
    token, other = new_session_token(), new_session_token()
    check_own_page(scope(host="a", x_csrf_token=csrf_token(token)), token)
    check_own_page(scope(host="a"), None)
    check_own_page(scope(method="GET", host="a", sec_fetch_site="cross-site"), token)
    for headers in (
        {},
        {"x_csrf_token": csrf_token(other)},
        {"x_csrf_token": token},
        {"x_csrf_token": "\xff"},
    ):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with pytest.raises(CrossSite):
                check_own_page(scope(method=method, host="a", **headers), token)
    with pytest.raises(CrossSite):
        check_own_page(scope(host="a", x_csrf_token=csrf_token(token), sec_fetch_site="cross-site"), token)


def test_a_socket_is_opened_by_a_page_of_ours_or_by_no_page() -> None:
    token = new_session_token()
    for headers, same in (
        ({"origin": "https://a"}, True),
        ({"sec_fetch_site": "same-origin"}, True),
        ({}, True),
        ({"origin": "https://b"}, False),
        ({"origin": "wss://a"}, False),
    ):
        socket = {**scope("wss", host="a", cookie=f"{SECURE_NAME}={token}", **headers), "type": "websocket"}
        del socket["method"]
        assert session_token(socket) == token
        if same:
            check_own_page(socket, token)
        else:
            with pytest.raises(CrossSite):
                check_own_page(socket, token)


# --- sessions ---------------------------------------------------------------------------------


class Store:
    """People and sessions in memory."""

    def __init__(self) -> None:
        self.asked = 0
        self.sessions: dict[bytes, PersonSession] = {}
        self.people = {"lek": person("lek", CHEAP.hashed(RIGHT))}

    async def session(self, digest: bytes) -> PersonSession | None:
        self.asked += 1
        return self.sessions.get(digest)

    async def seen(self, digest: bytes, now: datetime) -> None:
        self.sessions[digest] = self.sessions[digest]._replace(seen_at=now)

    async def person(self, community: str, name: str) -> Person | None:
        return self.people.get(name)

    async def rehash(self, who: Person, password: str) -> None:
        self.people[who.name] = who._replace(password=password)


def person(name: str, password: str) -> Person:
    return Person("p-1", "campus", name, "building", "b-1", password, NOON, NOON)


async def test_a_session_slides_with_use_and_ends_after_twelve_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.sessions.REMEMBERED_SECONDS", 0.0)
    store, clock, token = Store(), VirtualClock(NOON), new_session_token()
    digest = session_digest(token)
    assert digest is not None
    store.sessions[digest] = PersonSession(digest, "p-1", "campus", "lek", "building", "b-1", NOON, NOON)
    sessions: Any = Sessions(store, clock)  # type: ignore[arg-type]  # one in memory
    while clock.now() + timedelta(minutes=10) < NOON + LONGEST:
        await clock.sleep_until(clock.now() + timedelta(minutes=10))
        assert await sessions.session(token) is not None
    await clock.sleep_until(NOON + LONGEST)
    assert await sessions.session(token) is None


async def test_a_session_that_nobody_uses_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.sessions.REMEMBERED_SECONDS", 0.0)
    store, clock, token = Store(), VirtualClock(NOON), new_session_token()
    digest = session_digest(token)
    assert digest is not None
    store.sessions[digest] = PersonSession(digest, "p-1", "campus", "lek", "building", "b-1", NOON, NOON)
    sessions: Any = Sessions(store, clock)  # type: ignore[arg-type]  # one in memory
    await clock.sleep_until(NOON + IDLE)
    assert await sessions.session(token) is None
    assert await sessions.session(token) is None, "to be asked for does not revive it"


async def test_what_is_no_token_is_not_looked_up() -> None:
    store = Store()
    sessions: Any = Sessions(store, VirtualClock(NOON))  # type: ignore[arg-type]  # one in memory
    for token in ("", "x", "x" * 44, "x" * 42 + "\xe9", "x" * 42 + " "):
        assert await sessions.session(token) is None
    assert store.asked == 0


# --- logging in -------------------------------------------------------------------------------


class Seconds:
    """A clock that stands until it is moved."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    found = Seconds()
    monkeypatch.setattr(limits, "monotonic_seconds", found)
    return found


def desk(store: Store) -> Logins:
    return Logins(store, "campus", VirtualClock(NOON), CHEAP)  # type: ignore[arg-type]  # one in memory


async def refused(found: Logins, name: str, network: str, times: int) -> int:
    """How many of so many wrong passwords are looked at."""
    looked, longest = 0, 0
    for _ in range(times):
        try:
            await found.person(name, "wrong", network)
        except LoginRefused:
            looked += 1
        except TooMany as error:
            longest = max(longest, error.seconds)
    assert longest <= 10, "whoever waits for so long is heard again"
    return looked


async def test_guessing_is_slowed_down_and_nobody_is_locked_out(seconds: Seconds) -> None:
    found = desk(Store())
    assert (await found.person(" LEK ", RIGHT, "home")).name == "lek"
    assert await refused(found, "lek", "a", 20) == logins.OF_PLACE
    assert await refused(found, "nobody", "b", 20) == logins.OF_PLACE, "whether there is such a name or not"
    for number in range(20):
        await refused(found, "lek", f"from {number}", 10)
    with pytest.raises(TooMany):
        await found.person("lek", RIGHT, "elsewhere")
    assert (await found.person("lek", RIGHT, "home")).name == "lek", "where one has logged in before"
    seconds.now += 10
    assert (await found.person("lek", RIGHT, "elsewhere")).name == "lek"


async def test_one_network_cannot_try_many_names(seconds: Seconds) -> None:
    found = desk(Store())
    looked = [await refused(found, f"name {number}", "a", 1) for number in range(100)]
    assert sum(looked) == logins.OF_NETWORK


async def test_who_knows_the_password_may_log_in_as_often_as_they_like(seconds: Seconds) -> None:
    found = desk(Store())
    for _ in range(3 * logins.OF_NETWORK):
        await found.person("lek", RIGHT, "school")


async def test_a_password_is_hashed_anew_when_the_parameters_change(seconds: Seconds) -> None:
    store = Store()
    store.people["lek"] = person("lek", Passwords(memory_kib=16, passes=2).hashed(RIGHT))
    found = await desk(store).person("lek", RIGHT, "a")
    assert found == store.people["lek"]
    assert not CHEAP.is_outdated(found.password)
    assert CHEAP.is_right(found.password, RIGHT)


class Slow(Passwords):
    """Passwords that are verified when somebody says so."""

    def __init__(self) -> None:
        super().__init__(memory_kib=8)
        self.go = threading.Event()
        self.at_work = self.most = 0

    def is_right(self, found: str | None, password: str) -> bool:
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        said = self.go.wait(10)
        self.at_work -= 1
        return said and super().is_right(found, password)


async def test_a_flood_of_logins_is_verified_one_at_a_time_and_keeps_the_loop_free() -> None:
    slow = Slow()
    found = Logins(Store(), "campus", VirtualClock(NOON), slow)  # type: ignore[arg-type]  # one in memory
    flood = [asyncio.ensure_future(found.person("lek", RIGHT, f"from {number}")) for number in range(20)]
    for _ in range(100):  # what else the loop has to do
        await asyncio.sleep(0.001)
    assert not any(each.done() for each in flood)
    slow.go.set()
    assert {each.name for each in await asyncio.gather(*flood)} == {"lek"}
    assert slow.most == 1


def test_a_hash_that_is_not_there_opens_nothing_and_takes_as_long() -> None:
    passwords = Passwords(memory_kib=8)
    assert not passwords.is_right(None, RIGHT)
    assert not passwords.is_right(None, "")
    assert not passwords.is_right("not a hash", RIGHT)
    assert "m=47104,t=1,p=1" in Passwords().hashed(RIGHT)
